//! A directory as an ext4 image, by mke2fs, without root.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::error::{CommandError, Outcome};
use tine_server::words::{count, human};

/// Where Debian and others keep the programs of the administrator, who need not be the one who calls us.
const SBIN: [&str; 3] = ["/usr/local/sbin", "/usr/sbin", "/sbin"];

/// Returns the path of a program, also of those for the administrator, or `None` when it is not installed.
pub(crate) fn installed(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(SBIN.iter().map(PathBuf::from))
        .map(|folder| folder.join(program))
        .find(|candidate| candidate.is_file())
}

/// Makes an ext4 image of what is in `folder`, in a nameless file under `scratch`: it is gone when it is closed,
/// however the process ends.
///
/// Without a size it gets room for as much again and more; holes cost nothing.
pub(crate) fn ext4(folder: &Path, size: Option<u64>, scratch: &Path) -> Outcome<File> {
    let mke2fs = installed("mke2fs").ok_or_else(|| {
        CommandError::new("making a file system of a directory needs mke2fs, which is not installed")
            .hint("it is in the package e2fsprogs (`apt install e2fsprogs`)")
    })?;
    let content = Content::of(folder)?;
    let size = size.unwrap_or_else(|| content.roomy_size());
    if size < content.least_size() {
        return Err(CommandError::new(format!(
            "`{}` does not fit into {}: it holds {} in {}",
            folder.display(),
            human(size),
            human(content.bytes),
            count(content.files, "file"),
        ))
        .hint(
            "a larger `--size` would do, and so would none: tine then takes twice what is in it and more",
        ));
    }
    let image = tempfile::tempfile_in(scratch).map_err(|error| {
        CommandError::io(format!("make a temporary file in `{}`", scratch.display()), error)
    })?;
    image
        .set_len(size)
        .map_err(|error| CommandError::io("set the size of the image", error))?;

    let output = Command::new(mke2fs)
        .args([
            "-q",
            "-F",
            "-t",
            "ext4",
            "-N",
            &content.inodes(size).to_string(),
            "-d",
        ])
        .arg(folder)
        // The file has no name; the child reaches it through ours.
        .arg(format!("/proc/{}/fd/{}", std::process::id(), image.as_raw_fd()))
        .stdin(Stdio::null())
        .output()
        .map_err(|error| CommandError::io("run mke2fs", error))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let said: Vec<_> = said
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
            .collect();
        let said = said.join(" ");
        return Err(
            CommandError::new(format!("mke2fs failed on `{}`: {said}", folder.display())).hint(format!(
                "the directory holds {} in {}; `--size` sets the size of the file system (it was {})",
                human(content.bytes),
                count(content.files, "file"),
                human(size),
            )),
        );
    }
    Ok(image)
}

/// How much there is to put into a file system.
struct Content {
    files: u64,
    bytes: u64,
}

impl Content {
    fn of(folder: &Path) -> Outcome<Self> {
        let mut content = Self { files: 0, bytes: 0 };
        let mut folders = vec![folder.to_owned()];
        while let Some(folder) = folders.pop() {
            let failed = |error: io::Error| {
                CommandError::io(format!("read the directory `{}`", folder.display()), error)
            };
            for entry in fs::read_dir(&folder).map_err(failed)? {
                let entry = entry.map_err(failed)?;
                let metadata = entry.metadata().map_err(failed)?;
                content.files += 1;
                // A sparse file stays sparse: mke2fs skips zeroes.
                content.bytes += metadata.len().min(metadata.blocks() * 512).next_multiple_of(4096);
                if metadata.is_dir() {
                    folders.push(entry.path());
                }
            }
        }
        Ok(content)
    }

    /// What no file system with this in it can be smaller than: the content, an inode for each file, and the least
    /// that ext4 is made of.
    fn least_size(&self) -> u64 {
        self.bytes + self.files * 256 + (64 << 10)
    }

    /// Twice the content, 256 bytes for each inode twice over, and 64 MiB for the journal and to begin with.
    fn roomy_size(&self) -> u64 {
        (self.bytes * 2 + self.files * 512 + (64 << 20)).next_multiple_of(1 << 20)
    }

    /// What is there, half as much again and a few; at least mke2fs's own ratio of one to 16 KiB.
    fn inodes(&self, size: u64) -> u64 {
        (size / 16_384).max(self.files * 3 / 2 + 64)
    }
}
