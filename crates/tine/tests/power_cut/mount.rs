//! A mounted disk in a temporary directory, whose power a test can cut.

use crate::device::{Counters, Device};
use crate::disk::{Disk, Survival};
use crate::random::Random;
use crate::serve::Server;
use fuser::{BackgroundSession, Config, MountOption, Session};
use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags};
use nix::sched::CloneFlags;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A file system that forgets at a cut what was not synced. Unmounted when dropped.
///
/// As root it is mounted in a mount namespace of the calling thread, seen only by that thread and what it starts: so
/// nothing is left behind even if the test is killed.
#[derive(Debug)]
pub(crate) struct Mount {
    device: Arc<Device>,
    session: Option<BackgroundSession>,
    directory: TempDir,
    counted_before: Counters,
}

impl Mount {
    /// Mounts an empty disk, or says on stderr why `test` is skipped.
    pub(crate) fn new_or_skip(test: &str) -> Option<Self> {
        match Self::new() {
            Ok(mount) => Some(mount),
            Err(error) => {
                eprintln!("skipped: {test}: no FUSE file system can be mounted here: {error}");
                None
            }
        }
    }

    fn new() -> io::Result<Self> {
        enter_namespace()?;
        let directory = tempfile::Builder::new().prefix("tine-power-cut-").tempdir()?;
        let owner = (nix::unistd::getuid().as_raw(), nix::unistd::getgid().as_raw());
        let device = Arc::new(Device::new(Disk::new(owner)));
        let session = Some(serve(&device, directory.path())?);
        Ok(Self {
            device,
            session,
            directory,
            counted_before: Counters::default(),
        })
    }

    /// Returns the root directory.
    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Returns the path of `name` in the root directory.
    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    /// Returns the device, to arm faults on.
    pub(crate) fn device(&self) -> &Device {
        &self.device
    }

    /// Returns what has been done since the first mount.
    pub(crate) fn counters(&self) -> Counters {
        let mut counters = self.counted_before;
        counters += self.device.counters();
        counters
    }

    /// Cuts the power, if it isn't cut already, and turns it on again: what is mounted now is what was synced and what
    /// `survival` leaves of the rest.
    pub(crate) fn cut_power(&mut self, survival: Survival, random: Random) -> io::Result<()> {
        self.counted_before = self.counters();
        let disk = self.device.take_disk().after_cut(survival, random);
        self.unmount()?;
        self.device = Arc::new(Device::new(disk));
        self.session = Some(serve(&self.device, self.directory.path())?);
        Ok(())
    }

    /// Unmounts, and waits for the thread that served the mount unless somebody still has a file open.
    fn unmount(&mut self) -> io::Result<()> {
        self.device.release();
        let Some(session) = self.session.take() else {
            return Ok(());
        };
        let give_up = Instant::now() + Duration::from_secs(30);
        loop {
            match nix::mount::umount2(self.directory.path(), MntFlags::empty()) {
                // Unmounted it is; so may the kernel tell the thread that serves it.
                Ok(()) => match session.join() {
                    Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => return Ok(()),
                    joined => return joined,
                },
                Err(Errno::EBUSY) if Instant::now() < give_up => std::thread::sleep(Duration::from_millis(2)),
                Err(Errno::EBUSY) => {
                    nix::mount::umount2(self.directory.path(), MntFlags::MNT_DETACH)?;
                    return Err(io::Error::other("a program still has a file open after the cut"));
                }
                // Without privileges: by fusermount.
                Err(Errno::EPERM) => return session.umount_and_join(),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        self.device.cut();
        if let Err(error) = self.unmount() {
            eprintln!("{}: {error}", self.directory.path().display());
        }
    }
}

/// Mounts `device` and serves it in the background.
fn serve(device: &Arc<Device>, directory: &Path) -> io::Result<BackgroundSession> {
    let mut config = Config::default();
    config.mount_options = vec![
        MountOption::FSName("tine-power-cut".to_owned()),
        MountOption::DefaultPermissions,
        MountOption::NoAtime,
        MountOption::NoSuid,
        MountOption::NoDev,
    ];
    Session::new(Server::new(Arc::clone(device)), directory, &config)?.spawn()
}

/// Gives this thread mounts of its own, which end with it and its children. Without privileges it keeps the system's.
fn enter_namespace() -> io::Result<()> {
    match nix::sched::unshare(CloneFlags::CLONE_NEWNS) {
        Ok(()) => {
            let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
            nix::mount::mount(None::<&str>, "/", None::<&str>, private, None::<&str>)?;
            Ok(())
        }
        Err(Errno::EPERM) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
