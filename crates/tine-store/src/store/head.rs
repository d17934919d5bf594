//! Heads: the changing end of a branch, and how a write goes into it.
//!
//! Invariant: every entry of the overlay whose birth is the head's stretch is either in the open group or in a closed
//! one of the stretch, and not dead.

use std::ops::Range;
use std::sync::Arc;

use smallvec::SmallVec;

use crate::block::block_count;
use crate::buffer::{Books, BufferedBlock, Chunk, GROUP_BYTES, Group, Slot, Source, StretchId, Tombstone};
use crate::index::written::WrittenBlocks;
use crate::overlay::{Entry, Zero};
use crate::planted::{Bug, planted};
use crate::segment::stream::Stream;
use crate::store::own_blocks::OwnBlocks;
use crate::store::stretch::Stretch;
use crate::store::view::View;

/// A group is closed when it has this many slots, so that it always fits into one segment.
pub(crate) const GROUP_SLOTS_MAX: usize = 4096;

/// The group that takes writes.
struct OpenGroup {
    number: u64,
    /// Made by the first block: most heads of a thousand forks never get one.
    source: Option<Arc<Source>>,
    slots: usize,
    tombstones: Vec<Tombstone>,
    size: Option<u64>,
    books: Books,
}

impl OpenGroup {
    fn new(number: u64, books: Books) -> Self {
        Self {
            number,
            source: None,
            slots: 0,
            tombstones: Vec::new(),
            size: None,
            books,
        }
    }

    fn is_empty(&self) -> bool {
        self.slots == 0 && self.tombstones.is_empty() && self.size.is_none()
    }
}

/// A branch's head.
pub(crate) struct Head {
    pub(crate) stretch: Arc<Stretch>,
    pub(crate) size: u64,
    /// Absent until the branch is used.
    pub(crate) view: Option<View>,
    /// The blocks of data that were born in the stretch and are its own still; right if there is a view.
    own: OwnBlocks,
    pub(crate) dropped: bool,
    open: OpenGroup,
}

/// What is to be written: mostly one block, or a few.
pub(crate) type NewBlocks = SmallVec<[NewBlock; 4]>;

/// A block that is to be written.
pub(crate) enum NewBlock {
    Zero,
    Data { index: u32, checksum: u32 },
}

impl NewBlock {
    pub(crate) fn is_zero(&self) -> bool {
        matches!(self, Self::Zero)
    }

    /// Returns the checksum of data; of zeroes none is kept.
    fn checksum(&self) -> u32 {
        match self {
            Self::Zero => 0,
            Self::Data { checksum, .. } => *checksum,
        }
    }
}

impl Head {
    /// Makes the head of a stretch to which nothing was written in this process yet.
    pub(crate) fn new(
        stretch: Arc<Stretch>,
        size: u64,
        view: Option<View>,
        books: Books,
        own: OwnBlocks,
    ) -> Self {
        let open = OpenGroup::new(stretch.state.lock().open_group, books);
        Self {
            stretch,
            size,
            view,
            own,
            dropped: false,
            open,
        }
    }

    /// Begins the head of another stretch in the place of this one.
    pub(crate) fn move_to(&mut self, stretch: Arc<Stretch>, size: u64, view: Option<View>) {
        *self = Self::new(stretch, size, view, self.open.books.next(), self.own.next());
    }

    /// Takes a view of the disk, with what the stretch wrote of it, if that is known.
    pub(crate) fn set_loaded(&mut self, view: View, written: Option<WrittenBlocks>) {
        if let Some(written) = &written {
            self.stretch.set_alive(written.count());
        }
        self.view = Some(view);
        self.own.set(written);
    }

    /// Gives up what is in memory of a branch that is dropped: handles on it may stay.
    ///
    /// Its last group closes, so that it goes with the others when the stretch is released.
    pub(crate) fn set_dropped(&mut self) {
        self.close_group();
        self.dropped = true;
        self.view = None;
        self.own.set(None);
    }

    /// Makes sure that so many blocks, fewer than a group can have, go into one.
    pub(crate) fn make_group_room(&mut self, blocks: usize) {
        if self.open.slots.max(self.open.tombstones.len()) + blocks >= GROUP_SLOTS_MAX {
            self.close_group();
        }
    }

    /// Writes consecutive blocks whose data lie in `chunk`. The head is loaded.
    pub(crate) fn write(&mut self, start: u64, blocks: &[NewBlock], chunk: &Arc<Chunk>) {
        self.write_with(start, blocks, |index| Some(BufferedBlock::new(chunk, index)));
    }

    /// Writes consecutive blocks, fewer than a group can have, whose data lie in a stream from its block `first` on: as
    /// a group of their own. The head is loaded.
    pub(crate) fn write_streamed(
        &mut self,
        start: u64,
        blocks: &[NewBlock],
        stream: &Arc<Stream>,
        first: u32,
    ) {
        debug_assert!(blocks.len() < GROUP_SLOTS_MAX);
        self.close_group();
        self.open.source = Some(Source::streamed(self.stretch.id, stream, first));
        self.write_with(start, blocks, |_| None);
        self.close_group();
    }

    fn write_with(&mut self, start: u64, blocks: &[NewBlock], data: impl Fn(u32) -> Option<BufferedBlock>) {
        let mut at = 0;
        while at < blocks.len() {
            let zero = blocks[at].is_zero();
            let alike = blocks[at..].iter().take_while(|block| block.is_zero() == zero);
            let room = GROUP_SLOTS_MAX - self.open.slots;
            let count = if zero {
                alike.count()
            } else {
                alike.count().min(room)
            };
            let first = start + at as u64;
            if zero {
                self.write_zeroes(first..first + count as u64, false);
            } else {
                self.write_data(first, &blocks[at..at + count], &data);
            }
            at += count;
        }
    }

    fn write_data(
        &mut self,
        start: u64,
        blocks: &[NewBlock],
        data_of: impl Fn(u32) -> Option<BufferedBlock>,
    ) {
        let data = blocks.iter().filter_map(|block| match block {
            NewBlock::Data { index, checksum } => Some((*index, *checksum)),
            NewBlock::Zero => None,
        });
        let slots = data.zip(start..).map(|((index, checksum), block)| Slot {
            block,
            checksum,
            data: data_of(index),
            dead: false,
        });
        let stretch = self.stretch.id;
        let source = self.open.source.get_or_insert_with(|| Source::buffered(stretch));
        let first = source.push(slots);
        let entries = blocks.iter().enumerate().map(|(at, block)| Entry::Data {
            source: Arc::clone(source),
            slot: first + at as u32,
            checksum: block.checksum(),
        });
        let (stretch, pinned) = (self.stretch.id, self.stretch.is_pinned());
        if let Some(view) = &mut self.view {
            view.overlaid += blocks.len() as u64;
            view.overlay.insert_run(start, entries, |block, old| {
                if planted(Bug::WriteIntoShared)
                    && let Entry::Data { source, slot, .. } = &old
                    && let NewBlock::Data { index, .. } = &blocks[(block - start) as usize]
                    && let Some(data) = data_of(*index)
                {
                    source.write_into(*slot, data);
                }
                kill(&old, stretch, pinned);
            });
        }
        self.open.slots += blocks.len();
        self.open.books.add(blocks.len() * size_of::<Slot>());
        let born = self.own.insert(start..start + blocks.len() as u64);
        self.adjust_alive(born, Some(0));
        if self.open.slots >= GROUP_SLOTS_MAX {
            self.close_group();
        }
    }

    /// Makes blocks read as zeroes.
    pub(crate) fn write_zeroes(&mut self, range: Range<u64>, hole: bool) {
        let zero = Entry::Zero(Zero::new(self.stretch.id, hole));
        let (stretch, pinned) = (self.stretch.id, self.stretch.is_pinned());
        if let Some(view) = &mut self.view {
            view.overlaid += 1;
            view.overlay
                .fill(range.clone(), zero, |_, old| kill(old, stretch, pinned));
        }
        let died = self.own.remove(range.clone());
        self.adjust_alive(Some(0), died);
        let count = range.end - range.start;
        match self.open.tombstones.last_mut() {
            Some(last) if last.start + last.count == range.start && last.hole == hole => last.count += count,
            _ => {
                self.open.tombstones.push(Tombstone {
                    start: range.start,
                    count,
                    hole,
                });
                self.open.books.add_cleared(size_of::<Tombstone>());
            }
        }
        if self.open.tombstones.len() >= GROUP_SLOTS_MAX {
            self.close_group();
        }
    }

    fn adjust_alive(&self, born: Option<u64>, died: Option<u64>) {
        match (born, died, self.stretch.alive()) {
            (Some(born), Some(died), Some(alive)) => {
                self.stretch.set_alive((alive + born).saturating_sub(died));
            }
            (Some(_), Some(_), None) => {}
            _ => self.stretch.set_untracked(),
        }
    }

    /// Changes the size. Shrinking writes a tombstone over the tail, and `edge`, the last block with zeroes behind the
    /// end, if that is partial: all in one group, so that a crash leaves all of it or nothing.
    pub(crate) fn resize(&mut self, size: u64, edge: Option<(&NewBlock, &Arc<Chunk>)>) {
        self.close_group();
        let (new, old) = (block_count(size), block_count(self.size));
        if let Some((block, chunk)) = edge {
            self.write(new - 1, std::slice::from_ref(block), chunk);
        }
        if new < old && !planted(Bug::ShrinkKeepsTail) {
            self.write_zeroes(new..old, true);
        }
        self.open.size = Some(size);
        self.size = size;
        self.close_group();
    }

    /// Closes the open group, if it has anything, and returns the number of the last closed one.
    pub(crate) fn close_group(&mut self) -> u64 {
        let mut state = self.stretch.state.lock();
        if !self.open.is_empty() {
            state.open_group += 1;
            let next = OpenGroup::new(state.open_group, self.open.books.next());
            let mut open = std::mem::replace(&mut self.open, next);
            let number = open.number;
            if let Some(size) = open.size {
                state.sizes.push((number, size));
            }
            open.books.add(GROUP_BYTES);
            let group = Group {
                number,
                source: open.source.unwrap_or_else(|| Source::buffered(self.stretch.id)),
                tombstones: open.tombstones,
                size: open.size,
                _books: open.books,
            };
            if !group.is_spent() {
                state.groups.push(Arc::new(group));
            }
        }
        state.open_group - 1
    }

    /// Tells whether the open group has anything.
    pub(crate) fn has_open_writes(&self) -> bool {
        !self.open.is_empty()
    }
}

/// Takes note of what a write replaces: what was born in the same stretch and is in memory is dead at once; what is
/// older belongs to a point.
fn kill(old: &Entry, stretch: StretchId, pinned: bool) {
    if let Entry::Data { source, slot, .. } = old
        && source.stretch == stretch
    {
        source.kill(*slot, pinned);
    }
}
