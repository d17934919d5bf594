//! Disks that one request at a time changes as a whole.
//!
//! A resize finds out whether a disk becomes smaller, a rollback what would be lost, and what they do then has to be what they found:
//! while one of them is at it others wait, each for its own disks only.
//!
//! **Invariant:** while somebody has a branch alone its name is its own. All that takes names away waits: drops and renames, and who
//! waited for a branch looks whether the name is still that branch's. So a claim, which is on a number, is on what the deed, which is by
//! name, is done to.
//!
//! **Invariant:** who has disks alone waits for no others to have them, too: all that a request wants it takes at once.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use parking_lot::{Condvar, Mutex};
use tine_store::{BranchName, StoreError, Target};

use crate::Daemon;
use crate::api::Failure;
use crate::attached::{Attached, Claim, DiskKey, Under};

/// The disks that somebody has alone, by their branches' numbers.
#[derive(Default)]
pub(crate) struct Busy {
    disks: Mutex<HashSet<u64>>,
    /// Somebody is done.
    changed: Condvar,
}

impl Busy {
    /// Waits until nobody has any of these disks, and takes them.
    fn take(&self, disks: BTreeSet<u64>) -> Taken<'_> {
        let mut busy = self.disks.lock();
        while disks.iter().any(|disk| busy.contains(disk)) {
            self.changed.wait(&mut busy);
        }
        busy.extend(&disks);
        drop(busy);
        Taken { busy: self, disks }
    }
}

/// Disks that are somebody's, until this is dropped.
struct Taken<'a> {
    busy: &'a Busy,
    disks: BTreeSet<u64>,
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        let mut busy = self.busy.disks.lock();
        busy.retain(|disk| !self.disks.contains(disk));
        drop(busy);
        self.busy.changed.notify_all();
    }
}

/// Branches that nobody else changes as a whole until this is dropped. They keep their names.
#[must_use = "others are kept away only while it lives"]
pub(crate) struct Alone<'a> {
    attached: &'a Attached,
    ids: BTreeMap<BranchName, u64>,
    _taken: Taken<'a>,
}

impl<'a> Alone<'a> {
    /// Keeps disks for what cannot be done under a client's feet, such as `dropping` them, or under the feet of those alone who may
    /// write: nobody new is attached while what is returned lives. Of what is not of these branches nothing is kept.
    ///
    /// # Errors
    /// [`Kind::Attached`](crate::api::Kind::Attached) when such clients are attached to any of them, unless it is forced.
    pub(crate) fn claim(
        &self,
        disks: &[Target],
        doing: (&str, Under),
        force: bool,
    ) -> Result<Claim<'a>, Failure> {
        let disks = disks
            .iter()
            .filter_map(|disk| Some((self.key(disk)?, disk.to_string())));
        self.attached.claim(disks.collect(), doing, force)
    }

    /// Returns what a disk is known by, if it is of one of these branches.
    pub(crate) fn key(&self, disk: &Target) -> Option<DiskKey> {
        Some(DiskKey {
            branch: *self.ids.get(disk.branch())?,
            snapshot: match disk {
                Target::Branch(_) => None,
                Target::Snapshot(_, snapshot) => Some(snapshot.clone()),
            },
        })
    }
}

impl Daemon {
    /// Takes branches alone, for what changes them as a whole: others who want any of them wait until what is returned is dropped.
    ///
    /// # Errors
    /// [`StoreError::UnknownBranch`].
    pub(crate) fn alone<'a>(
        &self,
        names: impl Iterator<Item = &'a BranchName> + Clone,
    ) -> Result<Alone<'_>, StoreError> {
        let now = || {
            let ids = names
                .clone()
                .map(|name| Ok((name.clone(), self.store().branch_id(name)?)));
            ids.collect::<Result<BTreeMap<_, _>, StoreError>>()
        };
        let mut ids = now()?;
        loop {
            let taken = self.busy().take(ids.values().copied().collect());
            // While these were waited for, other disks may have got their names.
            let then = std::mem::replace(&mut ids, now()?);
            if then == ids {
                return Ok(Alone {
                    attached: self.attached(),
                    ids,
                    _taken: taken,
                });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::mpsc::channel;
    use std::thread;
    use std::time::Duration;

    use tine_nbd::Peer;
    use tine_store::{CreateOptions, OpenOptions, Store};

    use super::*;
    use crate::api::{Consent, Drop, Kind, Rename, Request as _, Resize, Rollback};
    use crate::attached::Access;

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
        let alone = daemon.alone([&a].into_iter()).unwrap();
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

    #[test]
    fn what_is_done_by_name_is_done_to_what_was_claimed() {
        let drops = |daemon: &Daemon| {
            let targets = vec![Target::Branch(name("a"))];
            let (consent, force) = (Consent::All, false);
            Drop {
                targets,
                consent,
                force,
            }
            .work(daemon)
            .err()
        };
        let rolls = |daemon: &Daemon| rollback("a").work(daemon).err();
        let deeds: [fn(&Daemon) -> Option<Failure>; 2] = [drops, rolls];
        for deed in deeds {
            let (_folder, daemon) = two_disks();
            let (store, a, b) = (daemon.store(), name("a"), name("b"));
            let alone = daemon.alone([&a].into_iter()).unwrap();
            let doing = {
                let daemon = Arc::clone(&daemon);
                thread::spawn(move || deed(&daemon))
            };
            // It waits for the disk that has the name, and then another has it, with a client.
            thread::sleep(Duration::from_millis(100));
            store.rename(&a, &name("old")).unwrap();
            store.rename(&b, &a).unwrap();
            let branch = store.branch(&a).unwrap();
            let disk = DiskKey {
                branch: branch.id(),
                snapshot: None,
            };
            let (pid, uid, gid) = (std::process::id(), 0, 0);
            let peer = Peer::Process { pid, uid, gid };
            let _client = daemon.attached().attach(disk, "a", Access::Write, &peer).unwrap();
            drop(alone);
            let refused = doing.join().unwrap().expect("a client is attached");
            assert_eq!(refused.kind, Kind::Attached);
        }
    }

    #[test]
    fn a_disk_keeps_its_name_while_somebody_has_it_alone() {
        let (_folder, daemon) = two_disks();
        let (a, c) = (name("a"), name("c"));
        let alone = daemon.alone([&a].into_iter()).unwrap();
        let renaming = {
            let (daemon, name, new) = (Arc::clone(&daemon), a.clone(), c.clone());
            thread::spawn(move || Rename { name, new }.work(&daemon).unwrap())
        };
        thread::sleep(Duration::from_millis(100));
        assert!(daemon.store().branch_id(&a).is_ok());
        drop(alone);
        renaming.join().unwrap();
        assert!(daemon.store().branch_id(&c).is_ok());
    }
}
