//! Stretches: what changed on a disk between one point and the next.
//!
//! ```text
//! layers (covered by a manifest) | parts of segments (published) | groups in memory (journalled, or not yet)
//! ------- groups up to `covered`, up to `published`, ascending --------------------------------->
//! ```
//!
//! A stretch that is no branch's head any more is a point: it never changes, only moves from memory to segments and
//! from parts to layers. Layers are of the whole disk, parts and groups of the stretch alone.
//!
//! Lock order: catalog, then a branch's head, then a stretch, then a source, then the journal's queue, then the
//! segment table. None is held across I/O.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering, fence};
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;

use crate::buffer::{Group, StretchId};
use crate::error::StoreError;
use crate::index::layers::Layers;
use crate::index::node::NodeRef;
use crate::journal::commit::Ticket;
use crate::segment::SegmentId;
use crate::segment::format::Part;
use crate::segment::table::SegmentTable;
use crate::store::stream::OpenStream;
use crate::store::view::View;

/// One stretch.
pub(crate) struct Stretch {
    pub(crate) id: StretchId,
    pub(crate) parent: Option<StretchId>,
    /// Views of the head that readers hold: what is overwritten meanwhile stays readable.
    pub(crate) pins: AtomicUsize,
    /// Referred to by reads and views that may still look at what it and its ancestors have in segments; made for the
    /// first, as most of a thousand forks never have one.
    readers: OnceLock<Arc<()>>,
    alive: AtomicU64,
    pub(crate) state: Mutex<StretchState>,
}

/// Stands in for the count of alive blocks while that is not known exactly.
const UNKNOWN: u64 = u64::MAX;

/// The same while a head writes that does not know which blocks are its own: what is counted then is soon wrong.
const UNTRACKED: u64 = u64::MAX - 1;

/// Blocks of each segment that died.
pub(crate) type Deaths = HashMap<SegmentId, u64>;

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
    /// Of a throwaway fork: what is written here goes to segments alone, and what its parent wrote may be like that. Only
    /// what descends from it can be of this kind while this is.
    pub(crate) unjournalled: bool,
    /// A branch went on here before all that it had written was queued for the journal: see
    /// [`Catalog::awaited`](super::catalog::Catalog::awaited).
    pub(crate) awaits: bool,
    /// Of a point: the streams in which some of its groups lie. Those of a head are its branch's.
    pub(crate) streams: Vec<OpenStream>,
    /// Groups that are durable.
    pub(crate) safe: u64,
    /// Groups that are in segments.
    pub(crate) published: u64,
    /// Groups that an announced manifest's root covers.
    pub(crate) covered: u64,
    /// Closed groups in memory, ascending.
    pub(crate) groups: Vec<Arc<Group>>,
    /// Published, not covered; ascending.
    pub(crate) parts: Vec<PublishedPart>,
    /// The disk as of the covered group; absent while nothing is covered: then it is the parent's.
    pub(crate) root: Option<Arc<Layers>>,
    /// Where the set of blocks lies that were written up to the covered group.
    pub(crate) written_at: Option<NodeRef>,
    /// Blocks born here that are alive in each segment; never too few.
    pub(crate) live: HashMap<SegmentId, u64>,
    /// What former roots still show those who read them; given up oldest first, when nobody does any more.
    pub(crate) deaths: VecDeque<(Option<Arc<Layers>>, Deaths)>,
    /// A layer of its root could not be read when it was to be merged: until the store is opened again that is not tried.
    pub(crate) unmergeable: bool,
    /// Why its content cannot be told any more, in a store that is damaged.
    pub(crate) broken: Option<StoreError>,
    /// What was queued last for it, or, unless it awaits them, for its ancestors.
    pub(crate) ticket: Ticket,
    /// The whole disk as of the end of the stretch, once it is a point and was loaded.
    pub(crate) view: Option<View>,
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
            readers: OnceLock::new(),
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
            readers: OnceLock::new(),
            alive,
            state: Mutex::new(state),
        })
    }

    /// Returns how many blocks of data were written in the stretch and not overwritten in it, if that is known
    /// without looking.
    pub(crate) fn alive(&self) -> Option<u64> {
        Some(self.alive.load(Ordering::Relaxed)).filter(|&alive| alive < UNTRACKED)
    }

    /// Sets the count of alive blocks. Called by whoever holds the head, or loads the stretch.
    pub(crate) fn set_alive(&self, alive: u64) {
        self.alive.store(alive, Ordering::Relaxed);
    }

    /// Told by a head that does not keep the count any more.
    pub(crate) fn set_untracked(&self) {
        self.alive.store(UNTRACKED, Ordering::Relaxed);
    }

    pub(crate) fn is_pinned(&self) -> bool {
        self.pins.load(Ordering::Acquire) > 0
    }

    /// Tells whether nobody refers to it any more; who reads it still may.
    pub(crate) fn is_dropped(&self) -> bool {
        self.state.lock().dropped
    }

    /// Tells whether somebody reads it.
    pub(crate) fn is_read(&self) -> bool {
        let readers = self.readers.get();
        let is_read = readers.is_some_and(|readers| Arc::strong_count(readers) > 1);
        // The count is read relaxed; what former readers did is to be over before what is done once there are none.
        fence(Ordering::Acquire);
        is_read
    }
}

/// Keeps what a stretch and its ancestors have in segments from being given back while it is read.
///
/// One reference, not a count beside one: every read takes a guard.
pub(crate) struct ReadGuard {
    _readers: Arc<()>,
}

impl ReadGuard {
    /// Guards a stretch. Whoever calls this knows that it is not dropped: the head or the catalog is locked.
    pub(crate) fn new(stretch: &Arc<Stretch>) -> Self {
        Self {
            _readers: Arc::clone(stretch.readers.get_or_init(Arc::default)),
        }
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
        let trees = self.root.iter().flat_map(|root| root.segments());
        let written = self.written_at.iter().map(|at| at.segment);
        self.live.keys().copied().chain(parts).chain(trees).chain(written)
    }

    /// Returns the closed groups that were not queued for the journal.
    pub(crate) fn not_queued(&self) -> &[Arc<Group>] {
        // Ascending, and mostly queued: with a flush behind each write there are thousands until they are drained.
        let queued = self.groups.partition_point(|group| group.number <= self.written);
        &self.groups[queued..]
    }

    /// Tells whether everything in its closed groups was queued for the journal, or will never be asked for.
    pub(crate) fn is_queued(&self) -> bool {
        self.unjournalled
            || self
                .groups
                .last()
                .is_none_or(|group| group.number <= self.written)
    }

    /// Tells whether everything written is in segments.
    pub(crate) fn is_published(&self) -> bool {
        self.groups.is_empty()
    }

    /// Returns what is alive as of a group that a root covers, which kills `more`, once nobody reads former roots: what is
    /// published behind it is counted by whoever reads its parts again.
    pub(crate) fn live_at(&self, covered: u64, more: Option<&Deaths>) -> HashMap<SegmentId, u64> {
        let mut live = self.live.clone();
        let deaths = self.deaths.iter().map(|(_, deaths)| deaths);
        for (segment, count) in deaths.chain(more).flatten() {
            take_from(&mut live, *segment, *count);
        }
        for part in self.parts.iter().filter(|part| part.part.upto > covered) {
            take_from(&mut live, part.segment, part.part.blocks.len() as u64);
        }
        live
    }

    /// Lets the dead go that no reader can reach any more, and the former roots that nobody reads. Returns whether any
    /// dead are left.
    pub(crate) fn bury(&mut self, segments: &SegmentTable) -> bool {
        let mut left: VecDeque<(Option<Arc<Layers>>, Deaths)> = VecDeque::new();
        for (root, deaths) in std::mem::take(&mut self.deaths) {
            if root.as_ref().is_some_and(|root| Arc::strong_count(root) > 1) {
                left.push_back((root, deaths));
                continue;
            }
            for (segment, count) in deaths {
                match left.back_mut() {
                    // An older root that is read may still show them.
                    Some((_, later)) => *later.entry(segment).or_default() += count,
                    None if take_from(&mut self.live, segment, count) => segments.release(segment),
                    None => {}
                }
            }
        }
        self.deaths = left;
        !self.deaths.is_empty()
    }
}

/// Takes dead blocks from a count; true if none are left.
fn take_from(live: &mut HashMap<SegmentId, u64>, segment: SegmentId, count: u64) -> bool {
    let Some(blocks) = live.get_mut(&segment) else {
        return false;
    };
    *blocks = blocks.saturating_sub(count);
    if *blocks > 0 {
        return false;
    }
    live.remove(&segment);
    true
}
