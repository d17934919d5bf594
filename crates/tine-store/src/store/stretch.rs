//! Stretches: what changed on a disk between one point and the next.
//!
//! ```text
//! runs (covered by a manifest) | parts of segments (published) | groups in memory (journalled, or not yet)
//! ------- groups up to `covered`, up to `published`, ascending --------------------------------->
//! ```
//!
//! A stretch that is no branch's head any more is a point: it never changes, only moves from memory to segments and
//! from parts to runs.
//!
//! Lock order: catalog, then a branch's head, then a stretch, then a source, then the journal's queue, then the
//! segment table. None is held across I/O.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use parking_lot::Mutex;

use crate::buffer::{Group, StretchId};
use crate::error::StoreError;
use crate::journal::commit::Ticket;
use crate::overlay::Overlay;
use crate::run::RunRef;
use crate::segment::SegmentId;
use crate::segment::format::Part;

/// One stretch.
pub(crate) struct Stretch {
    pub(crate) id: StretchId,
    pub(crate) parent: Option<StretchId>,
    /// Views of the head that readers hold: what is overwritten meanwhile stays readable.
    pub(crate) pins: AtomicUsize,
    alive: AtomicU64,
    pub(crate) state: Mutex<StretchState>,
}

/// Stands in for the count of alive blocks while that is not known exactly.
const UNKNOWN: u64 = u64::MAX;

/// Blocks killed in segments by a group that is not known to be durable yet.
pub(crate) type Kills = HashMap<SegmentId, u64>;

/// A part of a segment that no root covers yet.
#[derive(Clone)]
pub(crate) struct PublishedPart {
    pub(crate) segment: SegmentId,
    pub(crate) part: Arc<Part>,
}

/// What changes about a stretch.
#[derive(Default)]
pub(crate) struct StretchState {
    /// Heads, snapshots, origins and child stretches that refer to it.
    pub(crate) references: u64,
    /// No head any more: nothing is written to it.
    pub(crate) is_point: bool,
    /// Nobody refers to it: what is published for it now is dead at birth (rule 22).
    pub(crate) dropped: bool,
    /// The disk's size at its start.
    pub(crate) base_size: u64,
    /// Changes of size, by the group in which they were made, ascending.
    pub(crate) sizes: Vec<(u64, u64)>,
    /// The number of the group that is open, or will be.
    pub(crate) open_group: u64,
    /// Groups that were queued for the journal.
    pub(crate) written: u64,
    /// Groups that are durable.
    pub(crate) safe: u64,
    /// Groups that are in segments.
    pub(crate) published: u64,
    /// Groups that an announced manifest's runs cover.
    pub(crate) covered: u64,
    /// Closed groups in memory, ascending.
    pub(crate) groups: Vec<Arc<Group>>,
    /// Published, not covered; ascending.
    pub(crate) parts: Vec<PublishedPart>,
    pub(crate) runs: Vec<RunRef>,
    /// Blocks alive in each segment; never too few.
    pub(crate) live: HashMap<SegmentId, u64>,
    /// What groups that are not durable yet have killed, ascending by group.
    pub(crate) kills: Vec<(u64, Kills)>,
    /// Why its content cannot be told any more, in a store that is damaged.
    pub(crate) broken: Option<StoreError>,
    /// What was queued last for it.
    pub(crate) ticket: Ticket,
    /// The whole disk as of the end of the stretch, once it is a point and was loaded.
    pub(crate) view: Option<Overlay>,
}

impl Stretch {
    pub(crate) fn new(id: StretchId, parent: Option<StretchId>, size: u64) -> Arc<Self> {
        let state = StretchState {
            base_size: size,
            open_group: 1,
            ..StretchState::default()
        };
        Arc::new(Self {
            id,
            parent,
            pins: AtomicUsize::new(0),
            alive: AtomicU64::new(0),
            state: Mutex::new(state),
        })
    }

    pub(crate) fn recovered(
        id: StretchId,
        parent: Option<StretchId>,
        alive: Option<u64>,
        state: StretchState,
    ) -> Arc<Self> {
        let alive = AtomicU64::new(alive.unwrap_or(UNKNOWN));
        Arc::new(Self {
            id,
            parent,
            pins: AtomicUsize::new(0),
            alive,
            state: Mutex::new(state),
        })
    }

    /// Returns how many blocks of data were written in the stretch and not overwritten in it, if that is known
    /// without looking.
    pub(crate) fn alive(&self) -> Option<u64> {
        Some(self.alive.load(Ordering::Relaxed)).filter(|&alive| alive != UNKNOWN)
    }

    /// Sets the count of alive blocks. Called by whoever holds the head, or loads the stretch.
    pub(crate) fn set_alive(&self, alive: u64) {
        self.alive.store(alive, Ordering::Relaxed);
    }

    pub(crate) fn is_pinned(&self) -> bool {
        self.pins.load(Ordering::Acquire) > 0
    }
}

impl StretchState {
    /// Returns the disk's size as of the end of a group.
    pub(crate) fn size_at(&self, group: u64) -> u64 {
        self.sizes
            .iter()
            .rev()
            .find(|(at, _)| *at <= group)
            .map_or(self.base_size, |(_, size)| *size)
    }

    /// Returns the disk's size now.
    pub(crate) fn size(&self) -> u64 {
        self.size_at(u64::MAX)
    }

    /// Tells whether nothing was ever written in the stretch: its parent is the same disk.
    pub(crate) fn is_unchanged(&self) -> bool {
        self.open_group == 1 && self.covered == 0 && self.safe == 0 && self.sizes.is_empty()
    }

    /// Returns the segments with something that the stretch needs, some of them more than once.
    pub(crate) fn segments(&self) -> impl Iterator<Item = SegmentId> {
        let parts = self.parts.iter().map(|part| part.segment);
        let runs = self.runs.iter().map(|run| run.segment);
        self.live.keys().copied().chain(parts).chain(runs)
    }

    /// Takes note that groups are durable, and returns what they had killed in segments.
    pub(crate) fn make_safe(&mut self, group: u64) -> Vec<SegmentId> {
        self.safe = self.safe.max(group);
        let mut emptied = Vec::new();
        let safe = self.safe;
        let (now, later) = std::mem::take(&mut self.kills)
            .into_iter()
            .partition(|(at, _)| *at <= safe);
        self.kills = later;
        let now: Vec<(u64, Kills)> = now;
        for (segment, count) in now.into_iter().flat_map(|(_, kills)| kills) {
            if let Some(live) = self.live.get_mut(&segment) {
                *live = live.saturating_sub(count);
                if *live == 0 {
                    self.live.remove(&segment);
                    emptied.push(segment);
                }
            }
        }
        emptied
    }
}
