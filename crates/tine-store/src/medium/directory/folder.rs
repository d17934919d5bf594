//! A store's directory, held: it is the same one wherever it is moved, and whatever takes its place.
//!
//! A store that is served, or that a long command has, may be moved, and another put there: a backup, say. By its path, new
//! segments of the one would come to lie in the other then, and what was flushed would be lost when the process ends. So
//! everything is reached through a descriptor, by way of `/proc/self/fd`. Without /proc it is reached by its path.
//!
//! **Invariant:** a path through the descriptor is used as long as that is open only: [`Inside`] holds it.

use std::fs;
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{Mode, OFlags, fstat, open};

/// A directory that is held.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    descriptor: OwnedFd,
}

/// A path of something in a directory that is held.
#[derive(Clone, Debug)]
pub struct Inside {
    path: PathBuf,
    folder: Arc<Folder>,
}

impl Folder {
    /// Holds the directory that is at `root` now.
    ///
    /// # Errors
    /// Those of the operating system: `NotADirectory` if something else is there.
    pub fn hold(root: &Path) -> io::Result<Arc<Self>> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let descriptor = open(root, flags, Mode::empty())?;
        let through = PathBuf::from(format!("/proc/self/fd/{}", descriptor.as_raw_fd()));
        let mut folder = Self {
            path: root.to_path_buf(),
            descriptor,
        };
        if folder.is_at(&through) {
            folder.path = through;
        }
        Ok(Arc::new(folder))
    }

    /// Returns a path to it, for as long as this is borrowed.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns its device and its number there, which no two directories share.
    ///
    /// # Errors
    /// Those of the operating system.
    pub fn identity(&self) -> io::Result<(u64, u64)> {
        let held = fstat(&self.descriptor)?;
        Ok((held.st_dev, held.st_ino))
    }

    /// Tells whether it is what a path leads to.
    pub fn is_at(&self, path: &Path) -> bool {
        let (Ok(held), Ok(found)) = (self.identity(), fs::metadata(path)) else {
            return false;
        };
        held == (found.dev(), found.ino())
    }

    /// Returns where it is now, if that can be told.
    pub fn place(&self) -> Option<PathBuf> {
        // The kernel's words for what was removed are no path of it.
        fs::read_link(&self.path).ok().filter(|place| self.is_at(place))
    }

    /// Returns the path of something in it.
    pub fn inside(self: &Arc<Self>, path: impl AsRef<Path>) -> Inside {
        Inside {
            path: self.path.join(path),
            folder: Arc::clone(self),
        }
    }
}

impl Inside {
    /// Returns the directory that it is in.
    pub fn folder(&self) -> &Arc<Folder> {
        &self.folder
    }
}

impl AsRef<Path> for Inside {
    fn as_ref(&self) -> &Path {
        &self.path
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_same_one_whatever_takes_its_place() {
        let place = tempfile::tempdir().unwrap();
        let (store, moved) = (place.path().join("store"), place.path().join("moved"));
        fs::create_dir(&store).unwrap();
        let inside = Folder::hold(&store).unwrap().inside("segment");
        fs::rename(&store, &moved).unwrap();
        fs::create_dir(&store).unwrap();
        // The descriptor is this path's by now.
        fs::write(&inside, b"bytes").unwrap();
        assert_eq!(fs::read(moved.join("segment")).unwrap(), b"bytes");
        assert_eq!(fs::read_dir(&store).unwrap().count(), 0);
        assert_eq!(inside.folder().place().unwrap(), moved.canonicalize().unwrap());
        assert!(inside.folder().is_at(&moved) && !inside.folder().is_at(&store));
        fs::remove_dir_all(&moved).unwrap();
        assert_eq!(inside.folder().place(), None);
    }

    #[test]
    fn what_is_no_directory_is_held_by_nobody() {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("file");
        fs::write(&file, b"").unwrap();
        for (path, kind) in [
            (file, io::ErrorKind::NotADirectory),
            (place.path().join("nothing"), io::ErrorKind::NotFound),
        ] {
            assert_eq!(Folder::hold(&path).err().unwrap().kind(), kind);
        }
    }
}
