//! Who is attached to which disk.
//!
//! A client is a process, by what the kernel says of a unix socket's other end, or else a connection by itself: several
//! connections of one process are one client, as a program that reads with four connections is. A process is its number and
//! when it was started, since numbers are used again. The protocol does not tell
//! who will write, so a client counts as a writing one if its connection may write. A command that writes to a disk is one,
//! too.
//!
//! **Invariant:** a disk has one writing client at a time, unless the store is served to shared ones; or they asked for the
//! same job's fork, which is there to be shared.
//!
//! **Invariant:** while a [`Claim`] lives, nobody new is attached to what it claims.

#[cfg(test)]
mod tests;
mod who;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use parking_lot::{Condvar, Mutex, MutexGuard};
use tine_nbd::{Peer, Refusal, RefusalKind};
use tine_store::SnapshotName;

use self::who::{Who, command_of};
use crate::api::{AttachedClient, Failure, Kind};

/// So long a client waits for the one before it, whose process is there still: it may be just taking its leave.
const LEAVING: Duration = Duration::from_millis(250);

/// So long it waits for one whose process has ended: what that had in flight is still worked on. Well below the time that a
/// handshake may take, so that whoever waited in vain is told.
const ENDED: Duration = Duration::from_secs(5);

/// So long it waits for a rollback, a shrink or a drop.
const CLAIMED: Duration = Duration::from_secs(5);

/// A disk, whatever it is called by now.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct DiskKey {
    /// The number of the branch.
    pub(crate) branch: u64,
    /// One of its snapshots.
    pub(crate) snapshot: Option<SnapshotName>,
}

/// What a client may do with a disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Access {
    /// Reading alone.
    Read,
    /// Writing, unless somebody else does.
    Write,
    /// Writing, beside others who asked for it in the same way.
    WriteShared,
}

/// Under whose feet something cannot be done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Under {
    /// Those of all who are attached.
    All,
    /// Those of who may write.
    Writers,
}

/// One connection to a disk.
struct Entry {
    disk: DiskKey,
    who: Who,
    access: Access,
    export: String,
    peer: Peer,
    command: Option<String>,
    since: SystemTime,
    may_write: Arc<AtomicBool>,
}

impl Entry {
    /// Says who it is, for people.
    fn in_words(&self) -> String {
        match (&self.peer, &self.command) {
            (Peer::Process { pid, .. }, Some(command)) => format!("process {pid} (`{command}`)"),
            (Peer::Process { pid, .. }, None) => format!("process {pid}"),
            (Peer::Address(address), _) => address.to_string(),
            _ => "another client".to_owned(),
        }
    }

    fn may_write(&self) -> bool {
        self.may_write.load(Ordering::Relaxed)
    }

    fn forbids_writing(&self, disk: &DiskKey, who: &Who, access: Access) -> bool {
        self.disk == *disk
            && self.who != *who
            && self.may_write()
            && !(self.access == Access::WriteShared && access == Access::WriteShared)
    }
}

#[derive(Default)]
struct Registry {
    /// In the order in which they came. A connection has one disk.
    entries: BTreeMap<u64, Entry>,
    claims: BTreeMap<u64, Vec<DiskKey>>,
    next: u64,
    /// Counts the connections that have left.
    left: u64,
}

impl Registry {
    /// Returns a number that nothing else has.
    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }
}

/// How many connections there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Connections {
    /// By now.
    pub here: u64,
    /// That have left since the daemon began.
    pub left: u64,
}

/// Why somebody cannot be attached.
enum Obstacle {
    /// Another client, in words.
    Client(String),
    Claim,
}

/// Who is attached to which disk. See the module.
pub(crate) struct Attached {
    registry: Mutex<Registry>,
    /// Somebody left, or a claim ended.
    changed: Condvar,
    shared: bool,
}

impl Attached {
    /// Makes a registry, of clients that may or may not write to the same disk.
    pub(crate) fn new(shared: bool) -> Self {
        Self {
            registry: Mutex::default(),
            changed: Condvar::new(),
            shared,
        }
    }

    /// Tells whether several connections of this client to one disk may all write: that they are one client, or that it
    /// does not matter.
    pub(crate) fn may_write_by_several(&self, peer: &Peer) -> bool {
        self.shared || matches!(Who::of(peer, 0), Who::Process { .. })
    }

    /// Attaches a client to a disk that it asked for as `export`, until what is returned is dropped. Waits for a moment
    /// for who is about to leave.
    ///
    /// # Errors
    /// When somebody else writes to it, or it is being rolled back, shrunk or dropped for too long.
    pub(crate) fn attach(
        self: &Arc<Self>,
        disk: DiskKey,
        export: &str,
        access: Access,
        peer: &Peer,
    ) -> Result<Attachment, Refusal> {
        self.try_attach(disk, export, (access, false), peer)
            .map_err(|obstacle| {
                let words = match obstacle {
                    Obstacle::Client(words) => format!(
                        "`{export}` is attached by {words}, and one client at a time writes; attach a fork (`{export}+fork`) \
                         or a snapshot of it, let `tine protect` make it read-only for all, or serve it with `--shared`"
                    ),
                    Obstacle::Claim => format!("`{export}` is being rolled back, shrunk or dropped; try again"),
                };
                Refusal::new(RefusalKind::Policy, words)
            })
    }

    /// Attaches a command that writes to the branch that is called `name`, until what is returned is dropped; beside whoever
    /// else writes if that is forced.
    ///
    /// # Errors
    /// [`Kind::Attached`] when somebody else writes to it; [`Kind::Busy`] when it is being rolled back, shrunk or dropped
    /// for too long.
    pub(crate) fn attach_command(
        self: &Arc<Self>,
        disk: DiskKey,
        name: &str,
        force: bool,
        peer: &Peer,
    ) -> Result<Attachment, Failure> {
        self.try_attach(disk, name, (Access::Write, force), peer)
            .map_err(|obstacle| match obstacle {
                Obstacle::Client(words) => Failure::new(
                    Kind::Attached,
                    format!("`{name}` is attached by {words}, and one client at a time writes"),
                )
                .hint("nothing was changed; write to a fork of it, wait until it is detached, or `--force` writes all the same"),
                Obstacle::Claim => Failure::new(
                    Kind::Busy,
                    format!("`{name}` is being rolled back, shrunk or dropped"),
                )
                .hint("try again when that is done"),
            })
    }

    fn try_attach(
        self: &Arc<Self>,
        disk: DiskKey,
        export: &str,
        (access, force): (Access, bool),
        peer: &Peer,
    ) -> Result<Attachment, Obstacle> {
        let command = match peer {
            Peer::Process { pid, .. } => command_of(*pid),
            _ => None,
        };
        let begun = Instant::now();
        let mut registry = self.registry.lock();
        let number = registry.number();
        let who = Who::of(peer, number);
        loop {
            let claimed = registry.claims.values().any(|claimed| claimed.contains(&disk));
            let other = registry.entries.values().find(|entry| {
                !self.shared && !force && access != Access::Read && entry.forbids_writing(&disk, &who, access)
            });
            let patience = match other {
                _ if claimed => CLAIMED,
                Some(other) if other.who.has_ended() => ENDED,
                Some(_) => LEAVING,
                None => break,
            };
            let waited = begun.elapsed();
            if waited < patience {
                // Nobody tells when a process ends, so that is looked at again before long.
                self.changed
                    .wait_for(&mut registry, (patience - waited).min(LEAVING / 4));
                continue;
            }
            return Err(match other {
                Some(other) if !claimed => Obstacle::Client(other.in_words()),
                _ => Obstacle::Claim,
            });
        }
        let may_write = Arc::new(AtomicBool::new(access != Access::Read));
        registry.entries.insert(
            number,
            Entry {
                disk,
                who,
                access,
                export: export.to_owned(),
                peer: peer.clone(),
                command,
                since: SystemTime::now(),
                may_write: Arc::clone(&may_write),
            },
        );
        Ok(Attachment {
            attached: Arc::clone(self),
            number,
            may_write,
        })
    }

    /// Keeps disks, by the names that they have now, for what cannot be done under a client's feet, or of those who write alone.
    ///
    /// # Errors
    /// [`Kind::Attached`] when such clients are attached, unless it is forced.
    pub(crate) fn claim(
        &self,
        disks: Vec<(DiskKey, String)>,
        (doing, under): (&str, Under),
        force: bool,
    ) -> Result<Claim<'_>, Failure> {
        let mut registry = self.registry.lock();
        let attached = || {
            registry
                .entries
                .values()
                .filter(|entry| under == Under::All || entry.may_write())
                .filter_map(|entry| Some((entry, disks.iter().find(|(disk, _)| *disk == entry.disk)?)))
        };
        if !force && let Some((_, (_, name))) = attached().next() {
            let mut words = Vec::new();
            for (entry, _) in attached() {
                let one = entry.in_words();
                if !words.contains(&one) {
                    words.push(one);
                }
            }
            let more = words.len().saturating_sub(3);
            words.truncate(3);
            let mut words = words.join(", ");
            if more > 0 {
                words = format!("{words} and {more} more");
            }
            let is_one = !words.contains(", ") && more == 0;
            return Err(Failure::new(
                Kind::Attached,
                format!(
                    "{doing} `{}` would pull it out from under {}, which {} attached",
                    name,
                    words,
                    if is_one { "is" } else { "are" }
                ),
            )
            .hint("nothing was changed; wait until it is detached, or `--force` does it all the same"));
        }
        let number = registry.number();
        let disks = disks.into_iter().map(|(disk, _)| disk).collect();
        registry.claims.insert(number, disks);
        Ok(Claim {
            attached: self,
            number,
        })
    }

    /// Returns how many connections there are, and how many there were that have left.
    pub(crate) fn connections(&self) -> Connections {
        let registry = self.registry.lock();
        Connections {
            here: registry.entries.len() as u64,
            left: registry.left,
        }
    }

    /// Returns the clients with what they have, each once for a disk, in the order in which they came.
    pub(crate) fn clients(&self) -> Vec<(DiskKey, AttachedClient)> {
        let registry = self.registry.lock();
        let mut clients: Vec<(&Entry, AttachedClient)> = Vec::new();
        for entry in registry.entries.values() {
            let same = clients
                .iter_mut()
                .find(|(first, _)| first.who == entry.who && first.export == entry.export);
            if let Some((_, client)) = same {
                client.connections += 1;
                client.writes |= entry.may_write();
                continue;
            }
            let (pid, user, address) = match entry.peer {
                Peer::Process { pid, uid, .. } => (Some(pid), Some(uid), None),
                Peer::Address(address) => (None, None, Some(address.to_string())),
                _ => (None, None, None),
            };
            let client = AttachedClient {
                export: entry.export.clone(),
                disk: None,
                writes: entry.may_write(),
                connections: 1,
                pid,
                user,
                command: entry.command.clone(),
                address,
                since: entry.since.into(),
            };
            clients.push((entry, client));
        }
        clients
            .into_iter()
            .map(|(entry, client)| (entry.disk.clone(), client))
            .collect()
    }

    /// Lets nobody who is attached to a disk write any more. What is being written may still be.
    pub(crate) fn stop_writing(&self, disk: &DiskKey) {
        self.change(|registry| {
            for entry in registry.entries.values().filter(|entry| entry.disk == *disk) {
                entry.may_write.store(false, Ordering::Relaxed);
            }
        });
    }

    fn change(&self, change: impl FnOnce(&mut MutexGuard<'_, Registry>)) {
        change(&mut self.registry.lock());
        self.changed.notify_all();
    }
}

/// A connection's place among those who are attached, until it is dropped.
pub(crate) struct Attachment {
    attached: Arc<Attached>,
    number: u64,
    may_write: Arc<AtomicBool>,
}

impl Attachment {
    /// Tells whether the connection may write, still.
    pub(crate) fn may_write(&self) -> bool {
        self.may_write.load(Ordering::Relaxed)
    }
}

impl std::fmt::Debug for Attachment {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Attachment")
            .field("number", &self.number)
            .finish_non_exhaustive()
    }
}

impl Drop for Attachment {
    fn drop(&mut self) {
        self.attached.change(|registry| {
            registry.entries.remove(&self.number);
            registry.left += 1;
        });
    }
}

/// Disks to which nobody new is attached until this is dropped.
#[must_use = "clients are kept away only while it lives"]
pub(crate) struct Claim<'a> {
    attached: &'a Attached,
    number: u64,
}

impl std::fmt::Debug for Claim<'_> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Claim")
            .field("number", &self.number)
            .finish_non_exhaustive()
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        self.attached.change(|registry| {
            registry.claims.remove(&self.number);
        });
    }
}
