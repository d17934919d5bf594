//! The memory of the write buffer: counted while it is held, and used again for later writes.
//!
//! Counted are the blocks, and the books that are kept of them: a block that is overwritten again and again gives its
//! memory back each time, and a cleared range has none, but both are known until they are drained.
//!
//! A block is written by one thread and given up by another, the one that drains. Left to the allocator, that costs
//! glibc a system call to make a thread's heap one page longer, a fault and a page of zeroes for nearly every block
//! that is written; so blocks that are given up wait here for the next write.
//!
//! Invariant: what is held and what is spare are different blocks, and no more than `spare_max` are spare.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;
use smallvec::SmallVec;

use crate::block::{BLOCK, BLOCK_BYTES};

/// The memory of one block.
type BlockMemory = Box<[u8; BLOCK]>;

/// Blocks of a large write of the usual length, of which the memory is kept: others are not all of one size.
const LARGE_BLOCKS: usize = (1 << 20) / BLOCK;

/// Memory that nothing uses.
#[derive(Default)]
struct Spare {
    blocks: Vec<BlockMemory>,
    /// Empty, with room for [`LARGE_BLOCKS`].
    large: Vec<Vec<AlignedBlock>>,
}

impl Spare {
    fn count(&self) -> usize {
        self.blocks.len() + self.large.len() * LARGE_BLOCKS
    }
}

/// What the buffer of one store has in memory.
pub(crate) struct BufferMemory {
    held: AtomicU64,
    books: AtomicU64,
    cleared: AtomicU64,
    spare: Mutex<Spare>,
    /// In blocks.
    spare_max: usize,
}

impl BufferMemory {
    /// Returns the memory of a buffer for so many bytes. Of these, half stay with it when nothing is buffered.
    pub(crate) fn new(buffer_bytes: u64) -> Arc<Self> {
        Arc::new(Self {
            held: AtomicU64::new(0),
            books: AtomicU64::new(0),
            cleared: AtomicU64::new(0),
            spare: Mutex::default(),
            spare_max: usize::try_from(buffer_bytes / 2 / BLOCK_BYTES).unwrap_or(usize::MAX),
        })
    }

    /// Returns how many bytes of blocks are held now: what segments will take.
    pub(crate) fn held(&self) -> u64 {
        self.held.load(Ordering::Relaxed)
    }

    /// Returns how many bytes all of it takes in memory, but for what is spare.
    pub(crate) fn in_use(&self) -> u64 {
        self.held() + self.books.load(Ordering::Relaxed)
    }

    /// Returns how many ranges are cleared by what is not drained.
    pub(crate) fn cleared(&self) -> u64 {
        self.cleared.load(Ordering::Relaxed)
    }

    /// Returns how many bytes wait for the next writes.
    pub(crate) fn spare(&self) -> u64 {
        self.spare.lock().count() as u64 * BLOCK_BYTES
    }

    fn copy_of(&self, block: &[u8; BLOCK]) -> BlockMemory {
        // Others are not kept waiting while this copies.
        let spare = self.spare.lock().blocks.pop();
        match spare {
            Some(mut memory) => {
                memory.copy_from_slice(block);
                memory
            }
            None => Box::new(*block),
        }
    }

    /// Returns empty memory for so many blocks of a large write.
    fn for_large(&self, count: usize) -> Vec<AlignedBlock> {
        let spare = match count {
            LARGE_BLOCKS => self.spare.lock().large.pop(),
            _ => None,
        };
        // At once: what grows moves all that it has.
        spare.unwrap_or_else(|| Vec::with_capacity(count))
    }
}

/// Counts what is kept of a group beside its blocks, while it is.
pub(crate) struct Books {
    memory: Arc<BufferMemory>,
    bytes: u64,
    cleared: u64,
}

impl Books {
    pub(crate) fn new(memory: &Arc<BufferMemory>) -> Self {
        Self {
            memory: Arc::clone(memory),
            bytes: 0,
            cleared: 0,
        }
    }

    /// Begins those of another group of the same buffer.
    pub(crate) fn next(&self) -> Self {
        Self::new(&self.memory)
    }

    /// Counts so many bytes more.
    pub(crate) fn add(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
        self.memory.books.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Counts a cleared range more, which takes so many bytes.
    pub(crate) fn add_cleared(&mut self, bytes: usize) {
        self.add(bytes);
        self.cleared += 1;
        self.memory.cleared.fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for Books {
    fn drop(&mut self) {
        self.memory.books.fetch_sub(self.bytes, Ordering::Relaxed);
        self.memory.cleared.fetch_sub(self.cleared, Ordering::Relaxed);
    }
}

/// Whole blocks of one write, shared by the slots of its blocks; counts itself while it lives, or until its disk is gone.
pub(crate) struct Chunk {
    content: Content,
    memory: Arc<BufferMemory>,
    is_counted: AtomicBool,
}

enum Content {
    /// Of a small write: most have one block.
    Blocks(SmallVec<[BlockMemory; 1]>),
    /// As it was read.
    Read(Box<[u8]>),
    /// Of a large write, which goes to the medium past its cache: that wants memory that is aligned.
    Aligned(Vec<AlignedBlock>),
}

/// A block in memory that is aligned to its size.
#[repr(C, align(4096))]
struct AlignedBlock([u8; BLOCK]);

impl Content {
    fn bytes(&self) -> u64 {
        match self {
            Self::Blocks(blocks) => blocks.len() as u64 * BLOCK_BYTES,
            Self::Read(bytes) => bytes.len() as u64,
            Self::Aligned(blocks) => blocks.len() as u64 * BLOCK_BYTES,
        }
    }
}

impl Chunk {
    /// Copies the blocks of a small write.
    pub(crate) fn copy<'a>(
        blocks: impl Iterator<Item = &'a [u8; BLOCK]>,
        memory: &Arc<BufferMemory>,
    ) -> Arc<Self> {
        let blocks = blocks.map(|block| memory.copy_of(block));
        Self::of(Content::Blocks(blocks.collect()), memory)
    }

    /// Copies the blocks of a large write, which are `count`.
    pub(crate) fn copy_aligned<'a>(
        blocks: impl Iterator<Item = &'a [u8; BLOCK]>,
        count: usize,
        memory: &Arc<BufferMemory>,
    ) -> Arc<Self> {
        let mut copied = memory.for_large(count);
        copied.extend(blocks.map(|block| AlignedBlock(*block)));
        Self::of(Content::Aligned(copied), memory)
    }

    /// Takes over whole blocks that were read.
    pub(crate) fn read(bytes: Box<[u8]>, memory: &Arc<BufferMemory>) -> Arc<Self> {
        Self::of(Content::Read(bytes), memory)
    }

    fn of(content: Content, memory: &Arc<BufferMemory>) -> Arc<Self> {
        memory.held.fetch_add(content.bytes(), Ordering::Relaxed);
        Arc::new(Self {
            content,
            memory: Arc::clone(memory),
            is_counted: AtomicBool::new(true),
        })
    }

    /// Takes it out of the count: no segment will ever have it, so that no drain could make room of it.
    pub(crate) fn uncount(&self) {
        if self.is_counted.swap(false, Ordering::Relaxed) {
            self.memory
                .held
                .fetch_sub(self.content.bytes(), Ordering::Relaxed);
        }
    }

    /// Tells whether it came by a large write.
    pub(crate) fn is_aligned(&self) -> bool {
        matches!(self.content, Content::Aligned(_))
    }

    /// Returns the block with this number.
    pub(crate) fn block(&self, index: usize) -> &[u8] {
        match &self.content {
            Content::Blocks(blocks) => &blocks[index][..],
            Content::Read(bytes) => &bytes[index * BLOCK..(index + 1) * BLOCK],
            Content::Aligned(blocks) => &blocks[index].0,
        }
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        self.uncount();
        let (spare, most) = (&self.memory.spare, self.memory.spare_max);
        // What goes instead is freed when others need not wait for that.
        match &mut self.content {
            Content::Blocks(blocks) => {
                let mut spare = spare.lock();
                let is_full = spare.count() + blocks.len() > most;
                let _gone = if is_full { spare.large.pop() } else { None };
                let room = most.saturating_sub(spare.count());
                let kept = blocks.len().min(room);
                spare.blocks.extend(blocks.drain(..kept));
                drop(spare);
            }
            Content::Aligned(blocks) if blocks.capacity() == LARGE_BLOCKS => {
                let mut kept = std::mem::take(blocks);
                kept.clear();
                let mut spare = spare.lock();
                let is_full = spare.count() + LARGE_BLOCKS > most;
                let left = spare.blocks.len().saturating_sub(LARGE_BLOCKS);
                let _gone = is_full.then(|| spare.blocks.split_off(left));
                if spare.count() + LARGE_BLOCKS <= most {
                    spare.large.push(kept);
                }
                drop(spare);
            }
            Content::Aligned(_) | Content::Read(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_up_is_used_again_up_to_half_of_the_buffer() {
        let memory = BufferMemory::new(8 * BLOCK_BYTES);
        let written = [[1; BLOCK], [2; BLOCK]];
        let chunks: Vec<_> = (0..3).map(|_| Chunk::copy(written.iter(), &memory)).collect();
        assert_eq!(memory.held(), 6 * BLOCK_BYTES);
        drop(chunks);
        assert_eq!((memory.held(), memory.spare.lock().count()), (0, 4));

        let again = Chunk::copy([[3; BLOCK]].iter(), &memory);
        assert_eq!((memory.held(), memory.spare.lock().count()), (BLOCK_BYTES, 3));
        assert_eq!(again.block(0), [3; BLOCK]);
    }

    #[test]
    fn large_writes_of_the_usual_length_use_theirs_again_and_make_room_for_each_other() {
        let blocks = LARGE_BLOCKS as u64 * BLOCK_BYTES;
        let memory = BufferMemory::new(4 * blocks);
        let written = |value| [[value; BLOCK]; LARGE_BLOCKS];
        let large = |value| Chunk::copy_aligned(written(value).iter(), LARGE_BLOCKS, &memory);
        let first = large(1);
        let at = first.block(0).as_ptr();
        drop(first);
        let again = large(2);
        assert_eq!(
            (again.block(0).as_ptr(), again.block(LARGE_BLOCKS - 1)),
            (at, &[2; BLOCK][..])
        );
        assert_eq!((memory.held(), memory.spare()), (blocks, 0));
        drop((large(3), large(4), again));
        assert_eq!(
            (memory.held(), memory.spare()),
            (0, 2 * blocks),
            "half of the buffer"
        );
        // Small ones take their place, and the other way round.
        drop(Chunk::copy(written(5).iter(), &memory));
        let spare = || {
            let spare = memory.spare.lock();
            (spare.blocks.len(), spare.large.len())
        };
        assert_eq!(spare(), (LARGE_BLOCKS, 1));
        drop((large(6), large(7)));
        assert_eq!(spare(), (0, 2));
    }

    #[test]
    fn books_count_until_they_are_closed() {
        let memory = BufferMemory::new(8 * BLOCK_BYTES);
        let mut books = Books::new(&memory);
        books.add(100);
        books.add_cleared(20);
        let mut next = books.next();
        next.add_cleared(3);
        assert_eq!((memory.in_use(), memory.cleared(), memory.held()), (123, 2, 0));
        drop(books);
        assert_eq!((memory.in_use(), memory.cleared()), (3, 1));
        drop(next);
        assert_eq!((memory.in_use(), memory.cleared()), (0, 0));
    }

    #[test]
    fn what_was_read_or_is_of_an_unusual_length_is_counted_and_not_kept() {
        let memory = BufferMemory::new(8 * BLOCK_BYTES);
        let read = Chunk::read(vec![7; 2 * BLOCK].into(), &memory);
        let large = Chunk::copy_aligned([[9; BLOCK]].iter(), 1, &memory);
        assert_eq!(memory.held(), 3 * BLOCK_BYTES);
        assert_eq!(
            (read.block(1), large.block(0)),
            (&[7; BLOCK][..], &[9; BLOCK][..])
        );
        assert!(large.is_aligned() && !read.is_aligned());
        assert_eq!(large.block(0).as_ptr().addr() % BLOCK, 0);
        drop((read, large));
        assert_eq!((memory.held(), memory.spare.lock().count()), (0, 0));
    }
}
