//! Disks that one request at a time changes as a whole.
//!
//! A resize finds out whether a disk becomes smaller, a rollback what would be lost, and what they do then has to be what they found:
//! while one of them is at it others wait, each for its own disks only.
//!
//! **Invariant:** who has disks alone waits for no others to have them, too: all that a request wants it takes at once.

use std::collections::{BTreeSet, HashSet};

use parking_lot::{Condvar, Mutex};
use tine_store::{BranchName, StoreError};

use crate::Daemon;

/// The disks that somebody has alone, by their branches' numbers.
#[derive(Default)]
pub(crate) struct Busy {
    disks: Mutex<HashSet<u64>>,
    /// Somebody is done.
    changed: Condvar,
}

impl Busy {
    /// Waits until nobody has any of these disks, and takes them.
    fn take(&self, disks: BTreeSet<u64>) -> Alone<'_> {
        let mut busy = self.disks.lock();
        while disks.iter().any(|disk| busy.contains(disk)) {
            self.changed.wait(&mut busy);
        }
        busy.extend(&disks);
        drop(busy);
        Alone { busy: self, disks }
    }
}

/// Disks that nobody else changes as a whole until this is dropped.
#[must_use = "others are kept away only while it lives"]
pub(crate) struct Alone<'a> {
    busy: &'a Busy,
    disks: BTreeSet<u64>,
}

impl Drop for Alone<'_> {
    fn drop(&mut self) {
        let mut busy = self.busy.disks.lock();
        busy.retain(|disk| !self.disks.contains(disk));
        drop(busy);
        self.busy.changed.notify_all();
    }
}

impl Daemon {
    /// Takes branches alone, for what changes them as a whole: others who want any of them wait until what is returned is dropped.
    ///
    /// # Errors
    /// [`StoreError::UnknownBranch`].
    pub(crate) fn alone(&self, names: &[&BranchName]) -> Result<Alone<'_>, StoreError> {
        let ids = names.iter().map(|name| self.store().branch_id(name));
        Ok(self.busy().take(ids.collect::<Result<_, _>>()?))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::mpsc::channel;
    use std::thread;
    use std::time::Duration;

    use tine_store::{CreateOptions, OpenOptions, Store, Target};

    use super::*;
    use crate::api::{Consent, Request as _, Resize, Rollback};

    fn name(name: &str) -> BranchName {
        name.parse().unwrap()
    }

    /// A store with two disks `a` and `b` that have a snapshot `s` each.
    fn two_disks() -> (tempfile::TempDir, Arc<Daemon>) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        let store = Store::create(&path, &CreateOptions::default(), OpenOptions::default()).unwrap();
        for disk in ["a", "b"] {
            store.create_branch(&name(disk), 1 << 20).unwrap();
            store.snapshot(&[(name(disk), "s".parse().unwrap())]).unwrap();
        }
        (folder, Arc::new(Daemon::new(store)))
    }

    fn resize(disk: &str) -> Resize {
        Resize {
            name: name(disk),
            size: 2 << 20,
            consent: Consent::default(),
            force: false,
        }
    }

    fn rollback(disk: &str) -> Rollback {
        Rollback {
            target: Target::Snapshot(name(disk), "s".parse().unwrap()),
            keep: None,
            consent: Consent::All,
            force: false,
        }
    }

    #[test]
    fn what_changes_a_disk_as_a_whole_waits_for_nothing_on_other_disks() {
        let (_folder, daemon) = two_disks();
        let (done, has_done) = channel();
        let a = name("a");
        let alone = daemon.alone(&[&a]).unwrap();
        let run = |disk: &'static str| {
            let (daemon, done) = (Arc::clone(&daemon), done.clone());
            thread::spawn(move || {
                resize(disk).work(&daemon).unwrap();
                rollback(disk).work(&daemon).unwrap();
                done.send(disk).unwrap();
            })
        };
        let both = [run("a"), run("b")];
        assert_eq!(has_done.recv_timeout(Duration::from_secs(20)), Ok("b"));
        assert!(has_done.recv_timeout(Duration::from_millis(100)).is_err());
        drop(alone);
        assert_eq!(has_done.recv_timeout(Duration::from_secs(20)), Ok("a"));
        for thread in both {
            thread.join().unwrap();
        }
    }
}
