//! Planning: which captured blocks go to which segment, and what the footers say of them.
//!
//! Invariant: no block has two versions among what was captured of a stretch, and none lies under a range that was cleared
//! after it was written: what was overwritten or cleared is dead. So the first part of a stretch holds all of its cleared
//! ranges, and the order of its other parts is of no consequence.

use std::sync::Arc;

use super::capture::{Captured, CapturedBlock, CapturedBlocks, CapturedGroup, TakenStream};
use crate::block::BLOCK_BYTES;
use crate::buffer::{BufferedBlock, Group, NOT_STORED};
use crate::error::{Result, StoreError};
use crate::medium::Writing;
use crate::segment::format::{Part, StoredBlock};
use crate::store::durable::NewPart;
use crate::store::stream::SEGMENT_DATA_BYTES;
use crate::store::stretch::Stretch;

/// What goes where.
#[derive(Default)]
pub(super) struct Plan<'a> {
    pub(super) segments: Vec<Planned>,
    pub(super) streams: Vec<PlannedStream<'a>>,
}

/// A segment that is to be written from memory.
#[derive(Default)]
pub(super) struct Planned {
    pub(super) data: Vec<BufferedBlock>,
    parts: Vec<PlannedPart>,
}

/// A stream that is to be ended.
pub(super) struct PlannedStream<'a> {
    pub(super) taken: TakenStream<'a>,
    part: PlannedPart,
}

/// A part, with its groups: which of their slots is which block of the segment.
struct PlannedPart {
    stretch: Arc<Stretch>,
    part: Part,
    groups: Vec<(Arc<Group>, Box<[u32]>)>,
}

/// Which part of a plan.
#[derive(Clone, Copy)]
enum At {
    Segment(usize, usize),
    Stream(usize),
}

/// Plans for everything that was captured: small stretches share a segment, and a group never straddles two.
///
/// # Errors
/// [`StoreError::Damaged`] if a group's stream is gone: its blocks could not be published.
pub(super) fn plan(captured: Vec<Captured<'_>>) -> Result<Plan<'_>> {
    let mut plan = Plan::default();
    for captured in captured {
        plan.add(captured)?;
    }
    Ok(plan)
}

impl<'a> Plan<'a> {
    fn add(&mut self, captured: Captured<'a>) -> Result<()> {
        let Captured {
            stretch,
            groups,
            upto,
            streams,
        } = captured;
        let tombstones: Vec<_> = groups
            .iter()
            .flat_map(|one| {
                let group = &one.group;
                group
                    .tombstones
                    .iter()
                    .map(|&tombstone| (group.number, tombstone))
            })
            .collect();
        let mut numbers: Vec<u64> = groups.iter().map(|one| one.group.number).collect();
        numbers.sort_unstable();
        let is_streamed = |one: &CapturedGroup| matches!(one.blocks, CapturedBlocks::Streamed { .. });
        let (mut streamed, buffered): (Vec<_>, Vec<_>) = groups.into_iter().partition(is_streamed);
        let mut parts = self.add_buffered(&stretch, &buffered);
        for mut taken in streams {
            let of_it = |one: &mut CapturedGroup| match (&one.blocks, &taken.open) {
                (CapturedBlocks::Streamed { stream, .. }, Some(open)) => Arc::ptr_eq(stream, &open.stream),
                _ => false,
            };
            let groups: Vec<_> = streamed.extract_if(.., of_it).collect();
            if groups.is_empty() {
                // No group needs it any more; it goes when nobody reads it.
                taken.open = None;
                continue;
            }
            parts.push(At::Stream(self.streams.len()));
            let part = PlannedPart::streamed(&stretch, groups);
            self.streams.push(PlannedStream { taken, part });
        }
        if !streamed.is_empty() {
            return Err(StoreError::damaged(
                "a group lies in a stream that its branch does not have",
            ));
        }
        // Ascending, and below that of any group to come.
        let last = parts.len().saturating_sub(1);
        for (number, &at) in parts.iter().enumerate() {
            self.part(at).part.upto = if number == last { upto } else { numbers[number] };
        }
        if let Some(&first) = parts.first() {
            self.part(first).part.tombstones = tombstones;
        }
        Ok(())
    }

    fn part(&mut self, at: At) -> &mut PlannedPart {
        match at {
            At::Segment(segment, part) => &mut self.segments[segment].parts[part],
            At::Stream(stream) => &mut self.streams[stream].part,
        }
    }

    /// Distributes groups that are in memory.
    fn add_buffered(&mut self, stretch: &Arc<Stretch>, groups: &[CapturedGroup]) -> Vec<At> {
        let mut parts = Vec::new();
        let mut left = groups;
        while !left.is_empty() {
            if self.segments.last().is_none_or(Planned::is_full) {
                self.segments.push(Planned::default());
            }
            let number = self.segments.len() - 1;
            let segment = &mut self.segments[number];
            let taken = segment.take(stretch, left);
            parts.push(At::Segment(number, segment.parts.len() - 1));
            left = &left[taken..];
        }
        parts
    }
}

impl Planned {
    fn is_full(&self) -> bool {
        self.data.len() as u64 * BLOCK_BYTES >= SEGMENT_DATA_BYTES
    }

    /// Takes as many groups of a stretch as fit, in the order of their blocks, and returns how many.
    fn take(&mut self, stretch: &Arc<Stretch>, groups: &[CapturedGroup]) -> usize {
        let mut found: Vec<(usize, &CapturedBlock)> = Vec::new();
        let mut taken = 0;
        while taken < groups.len()
            && ((self.data.len() + found.len()) as u64 * BLOCK_BYTES) < SEGMENT_DATA_BYTES
        {
            if let CapturedBlocks::Buffered(blocks) = &groups[taken].blocks {
                found.extend(blocks.iter().map(|block| (taken, block)));
            }
            taken += 1;
        }
        let groups = &groups[..taken];
        found.sort_by_key(|(group, block)| (block.block, groups[*group].group.number));
        let mut maps: Vec<Box<[u32]>> = groups
            .iter()
            .map(|group| vec![NOT_STORED; group.slots].into_boxed_slice())
            .collect();
        let mut blocks = Vec::with_capacity(found.len());
        // What is dead but pinned lies behind the part: those who look at it know where, the index does not.
        let (dead, alive): (Vec<_>, Vec<_>) = found.into_iter().partition(|(_, block)| block.dead);
        for (group, block) in alive.into_iter().chain(dead) {
            let at = self.data.len() as u32;
            maps[group][block.slot] = at;
            self.data.push(block.data.clone());
            if !block.dead {
                blocks.push(StoredBlock {
                    block: block.block,
                    group: groups[group].group.number,
                    checksum: block.checksum,
                    at,
                });
            }
        }
        let groups = groups.iter().map(|one| Arc::clone(&one.group)).zip(maps);
        self.parts
            .push(PlannedPart::new(stretch, blocks, groups.collect()));
        taken
    }

    /// Returns how it is to be written: past the cache if most of it came by large writes.
    pub(super) fn writing(&self) -> Writing {
        let large = self.data.iter().filter(|block| block.is_of_large_write());
        if large.count() * 2 > self.data.len() {
            let bytes = self.data.len() as u64 * BLOCK_BYTES;
            Writing::PastCache { bytes }
        } else {
            Writing::Cached
        }
    }

    /// Returns the parts, as they are now.
    pub(super) fn parts(&self) -> Vec<Part> {
        self.parts.iter().map(|new| new.part.clone()).collect()
    }

    /// Returns the parts, and the blocks.
    pub(super) fn into_new_parts(self) -> (Vec<NewPart>, Vec<BufferedBlock>) {
        let parts = self.parts.into_iter().map(PlannedPart::into_new).collect();
        (parts, self.data)
    }
}

impl PlannedStream<'_> {
    pub(super) fn groups(&self) -> impl Iterator<Item = &Arc<Group>> {
        self.part.groups.iter().map(|(group, _)| group)
    }

    /// Returns the part, as it is now.
    pub(super) fn new_part(&self) -> NewPart {
        NewPart {
            stretch: Arc::clone(&self.part.stretch),
            part: Arc::new(self.part.part.clone()),
            groups: self.part.groups.clone(),
        }
    }
}

impl PlannedPart {
    fn new(stretch: &Arc<Stretch>, blocks: Vec<StoredBlock>, groups: Vec<(Arc<Group>, Box<[u32]>)>) -> Self {
        Self {
            stretch: Arc::clone(stretch),
            part: Part {
                stretch: stretch.id,
                upto: 0,
                blocks,
                tombstones: Vec::new(),
            },
            groups,
        }
    }

    /// What groups have in one stream.
    fn streamed(stretch: &Arc<Stretch>, groups: Vec<CapturedGroup>) -> Self {
        let mut blocks = Vec::new();
        let groups = groups
            .into_iter()
            .filter_map(|one| {
                let CapturedBlocks::Streamed { first, alive, .. } = one.blocks else {
                    return None;
                };
                blocks.extend(alive);
                // The dead ones lie there too, for those who still look at them.
                let map = (first..first + one.slots as u32).collect();
                Some((one.group, map))
            })
            .collect();
        blocks.sort_unstable_by_key(|stored| (stored.block, stored.group));
        Self::new(stretch, blocks, groups)
    }

    fn into_new(self) -> NewPart {
        NewPart {
            stretch: self.stretch,
            part: Arc::new(self.part),
            groups: self.groups,
        }
    }
}
