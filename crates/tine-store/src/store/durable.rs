//! What happens when a frame is durable, in the order of the journal.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::buffer::{Group, Place};
use crate::journal::record::FrameRef;
use crate::journal::ring::Ring;
use crate::medium::{Area, ObjectName};
use crate::run::RunRef;
use crate::segment::SegmentId;
use crate::segment::format::{Part, SegmentKind};
use crate::segment::table::Segment;
use crate::store::Engine;
use crate::store::stretch::{PublishedPart, Stretch};

/// Something to do once the frame that speaks of it is durable.
pub(crate) enum Effect {
    /// Groups of a stretch are durable.
    Safe { stretch: Arc<Stretch>, group: u64 },
    /// A segment is part of the store.
    Published {
        segment: Arc<Segment>,
        bytes: u64,
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

/// The runs of a stretch as a new manifest has them.
pub(crate) struct NewRoot {
    pub(crate) stretch: Arc<Stretch>,
    pub(crate) covered: u64,
    pub(crate) runs: Vec<RunRef>,
}

impl Engine {
    /// Waits until what was queued is durable.
    pub(crate) fn wait(&self, ticket: crate::journal::commit::Ticket) -> crate::Result<()> {
        self.journal
            .wait(ticket, &|effect, ring| self.apply(effect, ring))
    }

    fn apply(&self, effect: Effect, ring: &mut Ring) {
        match effect {
            Effect::Safe { stretch, group } => self.make_safe(&stretch, group),
            Effect::Published {
                segment,
                bytes,
                parts,
            } => {
                self.segments.add(Arc::clone(&segment), SegmentKind::Data, bytes);
                for part in parts {
                    self.publish(&segment, part);
                }
            }
            Effect::Remove(segment) => self.remove_segment(segment),
            Effect::Announced { number, floor, roots } => {
                ring.trim(&floor);
                for root in roots {
                    self.adopt_root(root);
                }
                self.newest_manifest.store(number, Ordering::Relaxed);
            }
        }
    }

    fn make_safe(&self, stretch: &Stretch, group: u64) {
        let emptied = stretch.state.lock().make_safe(group);
        for segment in emptied {
            self.segments.release(segment);
        }
    }

    /// Blocks of segments that no run covers: the next opening reads their footers.
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
        let indexed = new.part.first..new.part.first + new.part.blocks.len() as u32;
        // What was overwritten since the segment was written is dead in it, once the overwriting group is durable.
        let mut died: BTreeMap<u64, u64> = BTreeMap::new();
        for (group, blocks) in new.groups {
            let mut place = group.source.place.write();
            if let Place::Buffered(slots) = &*place {
                let dead = slots
                    .iter()
                    .zip(&blocks)
                    .filter(|(slot, block)| slot.is_dead() && indexed.contains(block));
                for (slot, _) in dead {
                    *died.entry(slot.killer).or_default() += 1;
                }
            }
            *place = Place::Stored {
                segment: Arc::clone(segment),
                blocks: Some(blocks),
            };
        }
        let upto = new.part.upto;
        state.groups.retain(|group| group.number > upto);
        state.published = state.published.max(upto);
        if stored > 0 {
            self.segments.retain(segment.id);
            state.live.insert(segment.id, stored);
        }
        let kills = died
            .into_iter()
            .map(|(killer, count)| (killer, [(segment.id, count)].into()));
        state.kills.extend(kills);
        self.segments.retain(segment.id);
        state.parts.push(PublishedPart {
            segment: segment.id,
            part: new.part,
        });
        drop(state);
        self.make_safe(&new.stretch, upto);
    }

    /// The runs that a durable manifest has take the place of the parts that they cover.
    fn adopt_root(&self, root: NewRoot) {
        let mut state = root.stretch.state.lock();
        if state.dropped {
            // Never counted as used: the new runs' segment is released by whoever wrote it.
            return;
        }
        for run in &root.runs {
            self.segments.retain(run.segment);
        }
        for run in std::mem::replace(&mut state.runs, root.runs) {
            self.segments.release(run.segment);
        }
        state.covered = root.covered;
        let (covered, left) = std::mem::take(&mut state.parts)
            .into_iter()
            .partition(|part| part.part.upto <= root.covered);
        state.parts = left;
        let covered: Vec<PublishedPart> = covered;
        for part in covered {
            self.segments.release(part.segment);
        }
    }

    /// Removes a segment's object. A failure leaves an orphan, which the next opening removes.
    fn remove_segment(&self, segment: SegmentId) {
        if self.medium.can_overwrite() {
            let name = ObjectName::Segment(segment);
            if self.medium.remove_object(name).is_ok() {
                self.removed_since_sync.store(true, Ordering::Relaxed);
            }
        }
    }

    /// Makes removals durable; only saves space after a crash, so an error is no failure.
    pub(crate) fn sync_removals(&self) {
        if self.removed_since_sync.swap(false, Ordering::Relaxed) {
            let _ = self.medium.sync_area(Area::Segment);
        }
    }
}
