//! XFS and Btrfs on loop devices, for reflink copies; only root can make them.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::place::Place;
use crate::{Result, programs};

/// File systems with reflinks: name, program that makes one, its options for a small one with reflinks.
pub(crate) const FILE_SYSTEMS: [(&str, &str, &[&str]); 2] = [
    ("xfs", "mkfs.xfs", &["-q", "-m", "reflink=1"]),
    ("btrfs", "mkfs.btrfs", &["-q"]),
];

/// Smaller than this, XFS refuses.
const BYTES_MIN: u64 = 512 << 20;

/// A file system in a file, mounted for as long as this lives.
pub(crate) struct LoopMount {
    pub(crate) at: PathBuf,
    image: PathBuf,
}

impl LoopMount {
    /// Makes a file system that can hold `bytes`, and mounts it.
    ///
    /// # Errors
    ///
    /// Why it cannot be, to be shown to whoever reads the table.
    pub(crate) fn new(
        place: &Place,
        kind: &str,
        program: &str,
        options: &[&str],
        bytes: u64,
    ) -> Result<Self> {
        if !rustix::process::geteuid().is_root() {
            return Err("only root can mount".into());
        }
        let program = programs::find(program).ok_or_else(|| format!("{program} is not installed"))?;
        let image = place.join(format!("{kind}.img"));
        File::create_new(&image)?.set_len((bytes + bytes / 4).max(BYTES_MIN))?;
        programs::run(Command::new(program).args(options).arg(&image))?;
        let at = place.join(kind);
        fs::create_dir(&at)?;
        programs::run(
            Command::new("mount")
                .args(["-o", "loop", "-t", kind])
                .arg(&image)
                .arg(&at),
        )?;
        Ok(Self { at, image })
    }
}

impl Drop for LoopMount {
    fn drop(&mut self) {
        // Unmounting gives the loop device back too: mount made it, to go with its last user.
        if let Err(error) = programs::run(Command::new("umount").arg(&self.at)) {
            eprintln!("warning: {error}");
            return;
        }
        let _ = fs::remove_file(&self.image);
    }
}

/// Unmounts what a run that was killed has left mounted below a directory.
pub(crate) fn unmount_below(directory: &Path) {
    let Ok(mounts) = fs::read_to_string("/proc/mounts") else {
        return;
    };
    let left = mounts
        .lines()
        .filter_map(|line| line.split(' ').nth(1))
        .filter(|at| Path::new(at).starts_with(directory));
    for at in left {
        if let Err(error) = programs::run(Command::new("umount").arg(at)) {
            eprintln!("warning: {error}");
        }
    }
}
