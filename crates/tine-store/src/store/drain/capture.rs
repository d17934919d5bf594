//! Capturing: which blocks of a stretch no published segment holds, at one moment.

use std::sync::Arc;

use crate::buffer::{BufferedBlock, Group, Place};
use crate::segment::format::StoredBlock;
use crate::segment::stream::Stream;
use crate::store::catalog::BranchCell;
use crate::store::stream::OpenStream;
use crate::store::stretch::Stretch;

/// What is to be stored of one stretch.
pub(super) struct Captured<'a> {
    pub(super) stretch: Arc<Stretch>,
    pub(super) groups: Vec<CapturedGroup>,
    pub(super) upto: u64,
    pub(super) streams: Vec<TakenStream<'a>>,
}

/// A stream that nobody appends to any more. Unless it was published or given up, who had it gets it back: the stretch, if
/// that is a point by then, else its branch.
pub(super) struct TakenStream<'a> {
    pub(super) open: Option<OpenStream>,
    stretch: Arc<Stretch>,
    /// Absent if the stretch was a point before.
    cell: Option<&'a BranchCell>,
}

impl Drop for TakenStream<'_> {
    fn drop(&mut self) {
        let Some(open) = self.open.take() else { return };
        // Locked by who makes a point of the head.
        let streams = self.cell.map(|cell| cell.streams.lock());
        let mut state = self.stretch.state.lock();
        let whose = match streams {
            _ if state.dropped => return,
            Some(streams) if !state.is_point => streams,
            _ => return state.streams.insert(0, open),
        };
        drop(state);
        let mut streams = whose;
        streams.insert(0, open);
    }
}

/// A group as it was when its stretch was captured.
pub(super) struct CapturedGroup {
    pub(super) group: Arc<Group>,
    pub(super) slots: usize,
    pub(super) blocks: CapturedBlocks,
}

/// Where a group's blocks are.
pub(super) enum CapturedBlocks {
    Buffered(Vec<CapturedBlock>),
    Streamed {
        stream: Arc<Stream>,
        first: u32,
        alive: Vec<StoredBlock>,
    },
}

pub(super) struct CapturedBlock {
    pub(super) slot: usize,
    pub(super) block: u64,
    pub(super) checksum: u32,
    pub(super) data: BufferedBlock,
    pub(super) dead: bool,
}

impl CapturedGroup {
    /// Takes hold of the group's blocks: whatever happens to them next, these versions are stored.
    fn of(group: &Arc<Group>) -> Self {
        let (slots, blocks) = match &*group.source.place.read() {
            Place::Buffered(slots) => {
                // What is dead but pinned is stored too, for those who still look at it.
                let blocks = slots.iter().enumerate().filter_map(|(slot, one)| {
                    Some(CapturedBlock {
                        slot,
                        block: one.block,
                        checksum: one.checksum,
                        data: one.data.clone()?,
                        dead: one.dead,
                    })
                });
                (slots.len(), CapturedBlocks::Buffered(blocks.collect()))
            }
            Place::Streamed { stream, first, slots } => {
                let alive = slots.iter().zip(*first..).filter(|(one, _)| !one.dead);
                let alive = alive.map(|(one, at)| StoredBlock {
                    block: one.block,
                    group: group.number,
                    checksum: one.checksum,
                    at,
                });
                let blocks = CapturedBlocks::Streamed {
                    stream: Arc::clone(stream),
                    first: *first,
                    alive: alive.collect(),
                };
                (slots.len(), blocks)
            }
            Place::Stored { .. } => (0, CapturedBlocks::Buffered(Vec::new())),
        };
        Self {
            group: Arc::clone(group),
            slots,
            blocks,
        }
    }
}

/// Captures a head: closing its group and looking at all its groups is one step for its writers.
pub(super) fn capture_head(cell: &BranchCell) -> Option<Captured<'_>> {
    // Whoever has appended to a stream has told the head when this is locked.
    let mut streams = cell.streams.lock();
    {
        let head = cell.head.read();
        if !head.has_open_writes() && head.stretch.state.lock().groups.is_empty() {
            // What lies in them was overwritten, or is of a state before a rollback.
            streams.clear();
            return None;
        }
    }
    let mut head = cell.head.write();
    head.close_group();
    let mut captured = capture(&head.stretch)?;
    captured.streams = taken(&mut streams, &captured.stretch, Some(cell));
    Some(captured)
}

/// Captures a stretch, of a head without its branch's streams.
pub(super) fn capture<'a>(stretch: &Arc<Stretch>) -> Option<Captured<'a>> {
    let mut state = stretch.state.lock();
    if state.groups.is_empty() || state.dropped {
        return None;
    }
    let groups = state.groups.iter().map(CapturedGroup::of).collect();
    Some(Captured {
        stretch: Arc::clone(stretch),
        groups,
        upto: state.open_group - 1,
        streams: taken(&mut state.streams, stretch, None),
    })
}

fn taken<'a>(
    streams: &mut Vec<OpenStream>,
    stretch: &Arc<Stretch>,
    cell: Option<&'a BranchCell>,
) -> Vec<TakenStream<'a>> {
    let taken = streams.drain(..).map(|open| TakenStream {
        open: Some(open),
        stretch: Arc::clone(stretch),
        cell,
    });
    taken.collect()
}
