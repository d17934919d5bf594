//! Where a run works: a directory of its own, which goes away with it.

use std::env;
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Advice, fadvise};

use crate::Result;

const PREFIX: &str = "bench-work-";

/// A directory that is removed with all that is in it.
pub(crate) struct Place {
    root: PathBuf,
}

impl Place {
    /// Makes a directory in TINE_BENCH_DIR, else beside this program: on the file system of the build's target.
    ///
    /// What a run that was killed has left there is removed.
    pub(crate) fn new() -> Result<Self> {
        let base = match env::var_os("TINE_BENCH_DIR") {
            Some(directory) => PathBuf::from(directory),
            None => match env::current_exe()?.parent() {
                Some(directory) => directory.to_owned(),
                None => env::current_dir()?,
            },
        };
        fs::create_dir_all(&base)?;
        for entry in fs::read_dir(&base)?.flatten() {
            let name = entry.file_name();
            let owner = name
                .to_str()
                .and_then(|name| name.strip_prefix(PREFIX)?.parse::<u32>().ok());
            if owner.is_some_and(|owner| !Path::new("/proc").join(owner.to_string()).exists()) {
                crate::reflink::unmount_below(&entry.path());
                fs::remove_dir_all(entry.path())?;
            }
        }
        Self::at(
            base.canonicalize()?
                .join(format!("{PREFIX}{}", std::process::id())),
        )
    }

    fn at(root: PathBuf) -> Result<Self> {
        fs::create_dir(&root)?;
        Ok(Self { root })
    }

    /// Makes a place within this one, for as long as something needs it.
    pub(crate) fn room(&self, name: &str) -> Result<Self> {
        Self::at(self.root.join(name))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.root
    }

    pub(crate) fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.root.join(name)
    }

    /// Returns the bytes that the file system still has.
    pub(crate) fn free_bytes(&self) -> Result<u64> {
        let status = rustix::fs::statvfs(&self.root)?;
        Ok(status.f_bavail * status.f_frsize)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.root) {
            eprintln!("warning: {} could not be removed: {error}", self.root.display());
        }
    }
}

/// Makes the kernel forget a file's pages; they are written out first.
pub(crate) fn drop_cache(file: &File) -> Result {
    file.sync_all()?;
    fadvise(file, 0, None, Advice::DontNeed)?;
    Ok(())
}

/// Makes the kernel forget the pages of all files in a directory.
pub(crate) fn drop_cache_of_all(directory: &Path) -> Result {
    for_each_file(directory, &mut |file| drop_cache(&File::open(file)?))
}

/// Returns the bytes that the files in a directory occupy on disk.
pub(crate) fn allocated_bytes(directory: &Path) -> Result<u64> {
    let mut bytes = 0;
    for_each_file(directory, &mut |file| {
        bytes += file.metadata()?.blocks() * 512;
        Ok(())
    })?;
    Ok(bytes)
}

fn for_each_file(directory: &Path, each: &mut dyn FnMut(&Path) -> Result) -> Result {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            for_each_file(&entry.path(), each)?;
        } else {
            each(&entry.path())?;
        }
    }
    Ok(())
}

/// Returns the type of the file system that holds `place`, and its device and options.
pub(crate) fn file_system(place: &Path) -> Option<String> {
    let mounts = fs::read_to_string("/proc/mounts").ok()?;
    let place = place.canonicalize().ok()?;
    mounts
        .lines()
        .filter_map(|line| {
            let mut words = line.split(' ');
            let (device, at, kind, options) = (words.next()?, words.next()?, words.next()?, words.next()?);
            place
                .starts_with(at)
                .then(|| (at.len(), format!("{kind} on {device} ({options})")))
        })
        // Of two mounts in one place, the later one is seen.
        .max_by_key(|(length, _)| *length)
        .map(|(_, found)| found)
}
