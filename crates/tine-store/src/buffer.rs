//! The write buffer: blocks in memory, in groups, until a segment holds them.
//!
//! ```text
//! overlay entry ──> (Source, slot)        Source: Buffered  slots ──> chunks of memory
//!                                                 Streamed  slots ──> blocks of a segment that is being written
//!                                                 Stored    slots ──> blocks of a segment
//! ```
//!
//! Each stretch's writes are cut into numbered **groups**. All overlays that share a group's blocks, those of a
//! thousand forks too, name them by its [`Source`]; publishing moves them all by changing that one place.
//!
//! Invariant: a slot's bytes never change, and a closed group gains none. A slot whose block was overwritten within
//! the same stretch is dead: it gives its memory back at once, unless the stretch is pinned by a reader's view; then
//! it is kept, and stored like the others, for as long as somebody may look.

mod memory;

use std::sync::Arc;

use parking_lot::RwLock;

use crate::segment::stream::Stream;
use crate::segment::table::Segment;

pub(crate) use self::memory::{Books, BufferMemory, Chunk};

/// The number of a stretch, unique in the store and increasing.
pub(crate) type StretchId = u64;

/// One block in memory.
#[derive(Clone)]
pub(crate) struct BufferedBlock {
    chunk: Arc<Chunk>,
    index: u32,
}

impl BufferedBlock {
    pub(crate) fn new(chunk: &Arc<Chunk>, index: u32) -> Self {
        Self {
            chunk: Arc::clone(chunk),
            index,
        }
    }

    /// Tells whether it came by a large write.
    pub(crate) fn is_of_large_write(&self) -> bool {
        self.chunk.is_aligned()
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        self.chunk.block(self.index as usize)
    }
}

/// A written block of a group that no published segment holds.
pub(crate) struct Slot {
    pub(crate) block: u64,
    pub(crate) checksum: u32,
    /// Absent if it was streamed; gone when the block was overwritten and nobody pinned the stretch.
    pub(crate) data: Option<BufferedBlock>,
    /// Overwritten within its stretch.
    pub(crate) dead: bool,
}

/// Marks a slot that its segment does not hold, since its memory was given back before the segment was written.
pub(crate) const NOT_STORED: u32 = u32::MAX;

/// Where the blocks of a source are.
pub(crate) enum Place {
    /// In memory.
    Buffered(Vec<Slot>),
    /// In a segment that is no part of the store yet, one behind the other from the block `first` on.
    Streamed {
        stream: Arc<Stream>,
        first: u32,
        slots: Vec<Slot>,
    },
    /// In a segment; `blocks` maps slots to its blocks, absent if they are the same.
    Stored {
        segment: Arc<Segment>,
        blocks: Option<Box<[u32]>>,
    },
}

/// Where the data of a group, or of a part of a segment, is; shared by all overlays that refer to it.
pub(crate) struct Source {
    pub(crate) stretch: StretchId,
    pub(crate) place: RwLock<Place>,
}

/// A block that was looked up: it stays readable for as long as this lives.
pub(crate) enum Located {
    Memory(BufferedBlock),
    Segment { segment: Arc<Segment>, block: u32 },
}

impl Source {
    /// Takes what it has in memory out of the count, as it will never be stored.
    pub(crate) fn uncount(&self) {
        if let Place::Buffered(slots) = &*self.place.read() {
            let blocks = slots.iter().filter_map(|slot| slot.data.as_ref());
            blocks.for_each(|block| block.chunk.uncount());
        }
    }

    pub(crate) fn buffered(stretch: StretchId) -> Arc<Self> {
        Arc::new(Self {
            stretch,
            place: RwLock::new(Place::Buffered(Vec::new())),
        })
    }

    pub(crate) fn streamed(stretch: StretchId, stream: &Arc<Stream>, first: u32) -> Arc<Self> {
        Arc::new(Self {
            stretch,
            place: RwLock::new(Place::Streamed {
                stream: Arc::clone(stream),
                first,
                slots: Vec::new(),
            }),
        })
    }

    pub(crate) fn in_segment(stretch: StretchId, segment: Arc<Segment>) -> Arc<Self> {
        Arc::new(Self {
            stretch,
            place: RwLock::new(Place::Stored {
                segment,
                blocks: None,
            }),
        })
    }

    /// Adds slots to a group that is still open and returns the number of the first.
    pub(crate) fn push(&self, new: impl IntoIterator<Item = Slot>) -> u32 {
        match &mut *self.place.write() {
            Place::Buffered(slots) | Place::Streamed { slots, .. } => {
                let first = slots.len();
                slots.extend(new);
                first as u32
            }
            Place::Stored { .. } => unreachable!("only closed groups are stored, and they gain no slots"),
        }
    }

    /// Finds the block of a slot that an overlay refers to.
    ///
    /// The overlay is either the branch's own and locked, or that of a point or of a pinned view: so the slot was
    /// neither given back nor left out of its segment.
    pub(crate) fn locate(&self, slot: u32) -> Located {
        match &*self.place.read() {
            Place::Buffered(slots) => {
                let data = slots[slot as usize].data.clone();
                Located::Memory(data.expect("a slot that an overlay refers to is kept"))
            }
            Place::Streamed { stream, first, .. } => Located::Segment {
                segment: Arc::clone(&stream.segment),
                block: first + slot,
            },
            Place::Stored { segment, blocks } => {
                let block = blocks.as_ref().map_or(slot, |blocks| blocks[slot as usize]);
                debug_assert_ne!(block, NOT_STORED);
                Located::Segment {
                    segment: Arc::clone(segment),
                    block,
                }
            }
        }
    }

    /// Returns the block of a segment in which a slot is stored; `None` while no segment of the store has it.
    pub(crate) fn stored(&self, slot: u32) -> Option<(Arc<Segment>, u32)> {
        match &*self.place.read() {
            Place::Buffered(_) | Place::Streamed { .. } => None,
            Place::Stored { segment, blocks } => {
                let block = blocks.as_ref().map_or(slot, |blocks| blocks[slot as usize]);
                (block != NOT_STORED).then(|| (Arc::clone(segment), block))
            }
        }
    }

    /// A deliberate bug: changes a slot that others may refer to.
    pub(crate) fn write_into(&self, slot: u32, data: BufferedBlock) {
        if let Place::Buffered(slots) = &mut *self.place.write()
            && let Some(old) = &mut slots[slot as usize].data
        {
            *old = data;
        }
    }

    /// Takes note that the slot's block was overwritten within its own stretch; its memory is kept if the stretch is
    /// `pinned`. What is stored already dies when the index learns of it.
    pub(crate) fn kill(&self, slot: u32, pinned: bool) {
        if let Place::Buffered(slots) | Place::Streamed { slots, .. } = &mut *self.place.write() {
            let slot = &mut slots[slot as usize];
            slot.dead = true;
            if !pinned {
                slot.data = None;
            }
        }
    }
}

/// A range of blocks that reads as zeroes, and stops the look into what lies below.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tombstone {
    pub(crate) start: u64,
    pub(crate) count: u64,
    /// Made by a discard, not by a write of zeroes.
    pub(crate) hole: bool,
}

/// A group that is closed: it gains no more writes.
pub(crate) struct Group {
    pub(crate) number: u64,
    pub(crate) source: Arc<Source>,
    pub(crate) tombstones: Vec<Tombstone>,
    /// The disk's new size, if it was changed in this group.
    pub(crate) size: Option<u64>,
    /// Counts the slots, which are kept when they are dead, and the tombstones.
    pub(crate) _books: Books,
}

/// About what a group takes in memory, with its source, beside slots and tombstones.
pub(crate) const GROUP_BYTES: usize = 256;

impl Group {
    /// Tells whether nothing is left of the group that would have to be made durable.
    pub(crate) fn is_spent(&self) -> bool {
        self.tombstones.is_empty() && self.size.is_none() && self.alive_slots() == 0
    }

    /// Tells whether its blocks are in a segment that is no part of the store yet.
    pub(crate) fn is_streamed(&self) -> bool {
        matches!(&*self.source.place.read(), Place::Streamed { .. })
    }

    /// Calls `each` with every slot that is not dead, and its number.
    pub(crate) fn for_each_alive(&self, mut each: impl FnMut(u32, &Slot)) {
        if let Place::Buffered(slots) | Place::Streamed { slots, .. } = &*self.source.place.read() {
            for (number, slot) in slots.iter().enumerate().filter(|(_, slot)| !slot.dead) {
                each(number as u32, slot);
            }
        }
    }

    pub(crate) fn alive_slots(&self) -> usize {
        let mut count = 0;
        self.for_each_alive(|_, _| count += 1);
        count
    }
}
