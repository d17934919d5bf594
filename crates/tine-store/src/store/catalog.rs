//! The catalog: names, branches and the family tree of points.
//!
//! Invariant: a stretch is in the catalog as long as a head, a snapshot, an origin or a child refers to it.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Weak};

use parking_lot::{Mutex, RwLock};

use crate::buffer::{Source, StretchId};
use crate::error::{Result, StoreError};
use crate::journal::commit::Ticket;
use crate::names::{BranchName, SnapshotName};
use crate::planted::{Bug, planted};
use crate::segment::table::SegmentTable;
use crate::store::branch_streams::BranchStreams;
use crate::store::head::Head;
use crate::store::pace::Clock;
use crate::store::stream::OpenStream;
use crate::store::stretch::Stretch;

/// A branch as handles on it share it.
pub(crate) struct BranchCell {
    pub(crate) id: u64,
    /// For messages; the catalog has the truth.
    pub(crate) name: Mutex<BranchName>,
    pub(crate) head: Arc<RwLock<Head>>,
    /// Writers hold it shared; a fork that cannot keep up with them holds it alone.
    pub(crate) gate: RwLock<()>,
    /// Segments that large writes fill. Locked before the head.
    pub(crate) streams: BranchStreams,
    /// Bytes written since the last flush.
    pub(crate) unflushed: AtomicU64,
    /// When what was written is worked off.
    pub(crate) clock: Clock,
}

impl BranchCell {
    pub(crate) fn new(id: u64, name: BranchName, head: Head) -> Arc<Self> {
        Arc::new(Self {
            id,
            name: Mutex::new(name),
            head: Arc::new(RwLock::new(head)),
            gate: RwLock::new(()),
            streams: BranchStreams::default(),
            unflushed: AtomicU64::new(0),
            clock: Clock::default(),
        })
    }
}

/// A named point.
#[derive(Clone, Debug)]
pub(crate) struct Snapshot {
    pub(crate) point: StretchId,
    pub(crate) created: u64,
}

/// How long a branch stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stay {
    /// Until it is dropped.
    Kept,
    /// It is being made, or was when the store ended: nobody can ask for it.
    Unfinished,
    /// Until the store is closed, or its process ends: only who made it knows its name.
    Throwaway,
}

/// What a name stands for.
pub(crate) struct BranchEntry {
    pub(crate) cell: Arc<BranchCell>,
    pub(crate) origin: Option<(StretchId, String)>,
    /// Nanoseconds since 1970.
    pub(crate) created: u64,
    pub(crate) stay: Stay,
    /// Clients may not write to it.
    pub(crate) protected: bool,
    pub(crate) snapshots: BTreeMap<SnapshotName, Snapshot>,
}

/// Spreads the ids of stretches. They are counted up by the store itself, so nobody can choose them to collide.
#[derive(Default)]
pub(crate) struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, id: u64) {
        self.0 = (self.0 ^ id).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

/// All names and points.
#[derive(Default)]
pub(crate) struct Catalog {
    pub(crate) branches: BTreeMap<BranchName, BranchEntry>,
    pub(crate) stretches: HashMap<StretchId, Arc<Stretch>, BuildHasherDefault<IdHasher>>,
    pub(crate) next_branch: u64,
    pub(crate) next_stretch: StretchId,
    /// Stretches that nobody refers to any more, but that are still read.
    pub(crate) departed: Vec<StretchId>,
    /// What these had in memory, until the next drain takes it out of the count. Not at once: it may be going to a segment.
    pub(crate) departed_sources: Vec<Weak<Source>>,
    /// Streams of points that are gone, which are closed when nothing is locked.
    pub(crate) departed_streams: Vec<OpenStream>,
}

impl BranchEntry {
    /// Tells whether it is a throwaway fork.
    pub(crate) fn is_throwaway(&self) -> bool {
        self.stay == Stay::Throwaway
    }

    /// Tells whether it is a branch that everybody sees.
    pub(crate) fn is_kept(&self) -> bool {
        self.stay == Stay::Kept
    }

    /// Returns the points that it holds on to beside its head: its snapshots and its origin.
    pub(crate) fn points(&self) -> impl Iterator<Item = StretchId> {
        let origin = self.origin.iter().map(|(point, _)| *point);
        self.snapshots
            .values()
            .map(|snapshot| snapshot.point)
            .chain(origin)
    }
}

impl Catalog {
    /// Returns a branch: one that everybody sees, or a throwaway fork by the name that its maker was told.
    pub(crate) fn entry(&self, name: &BranchName) -> Result<&BranchEntry> {
        self.branches
            .get(name)
            .filter(|entry| entry.stay != Stay::Unfinished)
            .ok_or_else(|| StoreError::UnknownBranch { name: name.clone() })
    }

    /// Returns the point of a snapshot.
    pub(crate) fn snapshot(&self, branch: &BranchName, snapshot: &SnapshotName) -> Result<StretchId> {
        let entry = self.entry(branch)?;
        let unknown = || StoreError::UnknownSnapshot {
            branch: branch.clone(),
            snapshot: snapshot.clone(),
        };
        entry
            .snapshots
            .get(snapshot)
            .map(|snapshot| snapshot.point)
            .ok_or_else(unknown)
    }

    pub(crate) fn check_free(&self, name: &BranchName) -> Result<()> {
        if self.branches.contains_key(name) {
            return Err(StoreError::BranchExists { name: name.clone() });
        }
        Ok(())
    }

    pub(crate) fn stretch(&self, id: StretchId) -> Result<Arc<Stretch>> {
        self.stretches
            .get(&id)
            .cloned()
            .ok_or_else(|| StoreError::damaged(format!("point {id} is missing")))
    }

    /// Returns the stretches, from one up, that no frame speaks of yet: parents first. O(1) if there is none.
    pub(crate) fn unjournalled(&self, from: StretchId) -> Vec<Arc<Stretch>> {
        let mut found = Vec::new();
        let mut next = Some(from);
        while let Some(stretch) = next.and_then(|id| self.stretches.get(&id)) {
            if !stretch.state.lock().unjournalled {
                break;
            }
            found.push(Arc::clone(stretch));
            next = stretch.parent;
        }
        found.reverse();
        found
    }

    /// Returns the ancestors of a stretch that have to be queued before anything of it is, parents first: points at which a
    /// branch went on while it had more unflushed than a frame takes. If there are none left, whoever waits for the
    /// stretch waits for them, who need not be durable by now. O(1) if there is none.
    pub(crate) fn awaited(&self, from: &Arc<Stretch>) -> Vec<Arc<Stretch>> {
        let (mut flagged, mut found) = (Vec::new(), Vec::new());
        let mut next = Some(Arc::clone(from));
        let mut ticket = Ticket::default();
        while let Some(stretch) = next.take() {
            let state = stretch.state.lock();
            if !flagged.is_empty() && !state.is_queued() {
                found.push(Arc::clone(&stretch));
            }
            if !state.awaits {
                ticket = state.ticket;
                break;
            }
            drop(state);
            next = stretch.parent.and_then(|id| self.stretches.get(&id)).cloned();
            flagged.push(stretch);
        }
        if found.is_empty() {
            for stretch in flagged.iter().rev() {
                let mut state = stretch.state.lock();
                state.awaits = false;
                state.ticket = state.ticket.max(ticket);
                ticket = state.ticket;
            }
        }
        found.reverse();
        found
    }

    /// Says whether a stretch awaits any of its ancestors, as [`Catalog::awaited`] returns them. O(1) while it does, since the
    /// nearest are queued last.
    pub(crate) fn is_awaiting(&self, from: &Arc<Stretch>) -> bool {
        let mut next = Some(from);
        while let Some(stretch) = next {
            let state = stretch.state.lock();
            if stretch.id != from.id && !state.is_queued() {
                return true;
            }
            if !state.awaits {
                break;
            }
            next = stretch.parent.and_then(|id| self.stretches.get(&id));
        }
        !self.awaited(from).is_empty()
    }

    /// Adds a stretch, which its parent's references then count. Nobody refers to it yet.
    pub(crate) fn add(&mut self, stretch: Arc<Stretch>) {
        if let Some(parent) = stretch.parent.and_then(|id| self.stretches.get(&id)) {
            let (awaits, ticket) = {
                let mut parent = parent.state.lock();
                parent.references += 1;
                (parent.awaits || !parent.is_queued(), parent.ticket)
            };
            let mut state = stretch.state.lock();
            state.awaits = awaits && !planted(Bug::ForkForgotten);
            // The parent may have been queued since the stretch was.
            state.ticket = state.ticket.max(ticket);
        }
        self.stretches.insert(stretch.id, stretch);
    }

    pub(crate) fn retain(&self, id: StretchId) {
        if let Some(stretch) = self.stretches.get(&id) {
            stretch.state.lock().references += 1;
        }
    }

    /// Counts one reference less; a stretch without any goes, and then perhaps its parent. O(stretches freed).
    pub(crate) fn release(&mut self, id: StretchId, segments: &SegmentTable) {
        let mut next = Some(id);
        while let Some(id) = next.take() {
            let Some(stretch) = self.stretches.get(&id) else {
                return;
            };
            let mut state = stretch.state.lock();
            // One that departed earlier is asked again with no reference left.
            state.references = state.references.saturating_sub(1);
            if state.references > 0 {
                return;
            }
            state.dropped = true;
            let groups = std::mem::take(&mut state.groups);
            self.departed_streams.append(&mut state.streams);
            state.view = None;
            if stretch.is_read() {
                self.departed.push(id);
                let sources = groups.iter().map(|group| Arc::downgrade(&group.source));
                self.departed_sources.extend(sources);
                return;
            }
            for segment in std::mem::take(&mut state.live).into_keys() {
                segments.release(segment);
            }
            for part in std::mem::take(&mut state.parts) {
                segments.release(part.segment);
            }
            if let Some(written) = state.written_at.take() {
                segments.release(written.segment);
            }
            state.root = None;
            state.deaths.clear();
            next = stretch.parent;
            drop(state);
            self.stretches.remove(&id);
        }
    }

    /// Lets stretches go that nobody refers to, and nobody reads any more.
    pub(crate) fn release_departed(&mut self, segments: &SegmentTable) {
        for id in std::mem::take(&mut self.departed) {
            self.release(id, segments);
        }
    }
}
