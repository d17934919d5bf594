//! What happens when a frame is durable, in the order of the journal.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::buffer::{Group, Place};
use crate::index::layers::Layers;
use crate::index::node::NodeRef;
use crate::journal::record::FrameRef;
use crate::medium::{Area, ObjectName};
use crate::segment::SegmentId;
use crate::segment::format::{Part, SegmentKind};
use crate::segment::table::Segment;
use crate::store::Engine;
use crate::store::stretch::{Deaths, PublishedPart, Stretch};

/// Something to do once the frame that speaks of it is durable.
pub(crate) enum Effect {
    /// Groups of a stretch are durable.
    Safe { stretch: Arc<Stretch>, group: u64 },
    /// A segment is part of the store.
    Published {
        segment: Arc<Segment>,
        bytes: u64,
        /// What it was given that counts for what is in memory.
        given: u64,
        parts: Vec<NewPart>,
    },
    /// Nobody needs an object any more.
    Remove(SegmentId),
    /// A manifest is the newest one.
    Announced {
        number: u64,
        floor: FrameRef,
        roots: Vec<NewRoot>,
    },
}

/// A part of a new segment, with the groups that it holds: which of their slots is which block of the segment.
pub(crate) struct NewPart {
    pub(crate) stretch: Arc<Stretch>,
    pub(crate) part: Arc<Part>,
    pub(crate) groups: Vec<(Arc<Group>, Box<[u32]>)>,
}

/// The root of a stretch as a new manifest has it.
#[derive(Clone)]
pub(crate) struct NewRoot {
    pub(crate) stretch: Arc<Stretch>,
    pub(crate) covered: u64,
    pub(crate) layers: Arc<Layers>,
    /// It is a point, all of which the root covers: children may stand on it.
    pub(crate) is_final: bool,
    pub(crate) written: Option<NodeRef>,
    /// How many blocks are in that set, if it was made for this root.
    pub(crate) alive: Option<u64>,
    /// What is in segments and that it does not show any more.
    pub(crate) deaths: Deaths,
}

impl Engine {
    /// Waits until what was queued is durable.
    pub(crate) fn wait(&self, ticket: crate::journal::commit::Ticket) -> crate::Result<()> {
        self.journal.wait(ticket, &|effect| self.apply(effect))
    }

    fn apply(&self, effect: Effect) {
        match effect {
            Effect::Safe { stretch, group } => {
                let mut state = stretch.state.lock();
                state.safe = state.safe.max(group);
            }
            Effect::Published {
                segment,
                bytes,
                given,
                parts,
            } => {
                self.space.end_given(given);
                self.segments.add(Arc::clone(&segment), SegmentKind::Data, bytes);
                for part in parts {
                    self.publish(&segment, part);
                }
            }
            // Not here: a file system may take long for it, and whoever ends a commit is here.
            Effect::Remove(segment) => self.removals.lock().push(segment),
            Effect::Announced { number, floor, roots } => {
                self.journal.with_ring(|ring| ring.trim(&floor));
                for root in roots {
                    self.adopt_root(root);
                }
                self.newest_manifest.store(number, Ordering::Relaxed);
            }
        }
    }

    /// Blocks of segments that no root covers: the next opening reads their footers.
    pub(crate) fn uncovered_blocks(&self) -> u64 {
        let catalog = self.catalog.lock();
        let blocks = |stretch: &Arc<Stretch>| -> u64 {
            stretch
                .state
                .lock()
                .parts
                .iter()
                .map(|part| part.part.blocks.len() as u64)
                .sum()
        };
        catalog.stretches.values().map(blocks).sum()
    }

    fn publish(&self, segment: &Arc<Segment>, new: NewPart) {
        let mut state = new.stretch.state.lock();
        if state.dropped {
            return;
        }
        let stored = new.part.blocks.len() as u64;
        let mut held = new.groups.iter().map(|(group, _)| group.number).peekable();
        // Both ascend.
        state.groups.retain(|group| {
            while held.next_if(|&number| number < group.number).is_some() {}
            held.peek() != Some(&group.number)
        });
        drop(held);
        for (group, blocks) in new.groups {
            *group.source.place.write() = Place::Stored {
                segment: Arc::clone(segment),
                blocks: Some(blocks),
            };
        }
        let upto = new.part.upto;
        state.published = state.published.max(upto);
        state.safe = state.safe.max(upto);
        if stored > 0 {
            self.segments.retain(segment.id);
            state.live.insert(segment.id, stored);
        }
        self.segments.retain(segment.id);
        state.parts.push(PublishedPart {
            segment: segment.id,
            part: new.part,
        });
    }

    /// The root that a durable manifest has takes the place of the parts that it covers.
    fn adopt_root(&self, root: NewRoot) {
        let mut state = root.stretch.state.lock();
        if state.dropped {
            return;
        }
        if let Some(written) = root.written {
            self.segments.retain(written.segment);
        }
        if let Some(written) = std::mem::replace(&mut state.written_at, root.written) {
            self.segments.release(written.segment);
        }
        let former = state.root.replace(root.layers);
        if former.is_some() || !root.deaths.is_empty() {
            state.deaths.push_back((former, root.deaths));
        }
        state.covered = root.covered;
        let (covered, left) = std::mem::take(&mut state.parts)
            .into_iter()
            .partition(|part| part.part.upto <= root.covered);
        state.parts = left;
        let covered: Vec<PublishedPart> = covered;
        for part in covered {
            let blocks = part.part.blocks.len() as u64;
            self.covered_blocks.fetch_add(blocks, Ordering::Relaxed);
            self.segments.release(part.segment);
        }
        self.has_deaths.store(true, Ordering::Relaxed);
    }

    /// Removes the object of a segment that is durably no part of the store; false if there is none. A failure leaves an
    /// orphan, which the next opening removes.
    pub(crate) fn remove_dead_segment(&self) -> bool {
        let Some(segment) = self.removals.lock().pop() else {
            return false;
        };
        let name = ObjectName::Segment(segment);
        if self.medium.can_overwrite() && self.medium.retire_object(name).is_ok() {
            self.removed_since_sync.store(true, Ordering::Relaxed);
        }
        true
    }

    /// Makes removals durable; only saves space after a crash, so an error is no failure.
    pub(crate) fn sync_removals(&self) {
        if self.removed_since_sync.swap(false, Ordering::Relaxed) {
            let _ = self.medium.sync_area(Area::Segment);
        }
    }
}
