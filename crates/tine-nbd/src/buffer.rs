//! Memory that requests pass through.
//!
//! **Invariant:** what is received or read is written over whatever the memory held before, or not sent: buffers are used again.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use parking_lot::Mutex;

/// A large request is worked on in pieces of this size.
pub(crate) const PIECE_BYTES: usize = 1 << 20;

/// Where memory pages begin, and what disks like transfers to be aligned to.
const PAGE_BYTES: usize = 4096;

/// So many free pieces are kept: 8 MiB.
const KEPT_PIECES: usize = 8;

/// Pieces up to here have just the memory that they need, and are not kept: they are cheap to make.
const SMALL_BYTES: usize = 256 << 10;

/// Pieces that nothing uses, to be used again: new memory costs a page fault for each page.
#[derive(Default)]
pub(crate) struct Pieces {
    free: Mutex<Vec<Box<[u8]>>>,
}

/// Up to [`PIECE_BYTES`] of memory that lie to pages as their range does on the disk.
pub(crate) struct Piece {
    /// Empty only while it is dropped.
    memory: Box<[u8]>,
    start: usize,
    length: usize,
    home: Arc<Pieces>,
}

/// Returns the length of the first piece of a range: all of it, or so much that the next one begins at a page.
pub(crate) fn first_piece(offset: u64, length: u64) -> usize {
    let piece = PIECE_BYTES as u64;
    match length <= piece {
        true => length as usize,
        false => PIECE_BYTES - shift(offset),
    }
}

/// Returns how far `offset` is from a page's begin.
fn shift(offset: u64) -> usize {
    (offset % PAGE_BYTES as u64) as usize
}

impl Pieces {
    /// Returns a piece for `length` bytes from `offset` of a disk on, holding anything.
    pub(crate) fn get(self: &Arc<Self>, offset: u64, length: usize) -> Piece {
        assert!(length <= PIECE_BYTES);
        let is_small = length <= SMALL_BYTES;
        let free = if is_small { None } else { self.free.lock().pop() };
        let memory = free.unwrap_or_else(|| vec![0; piece_memory(length)].into());
        let page = memory.as_ptr().addr().next_multiple_of(PAGE_BYTES) - memory.as_ptr().addr();
        Piece {
            memory,
            start: page + shift(offset),
            length,
            home: Arc::clone(self),
        }
    }
}

/// Returns the bytes of memory that a piece of a length holds: those that are kept to be used again are all of one size.
pub(crate) fn piece_memory(length: usize) -> usize {
    let bytes = if length <= SMALL_BYTES {
        length
    } else {
        PIECE_BYTES
    };
    bytes + 2 * PAGE_BYTES
}

impl Piece {
    /// Returns the bytes of memory that it holds, which may be more than it has room for.
    pub(crate) fn memory(&self) -> usize {
        self.memory.len()
    }
}

impl Deref for Piece {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.memory[self.start..][..self.length]
    }
}

impl DerefMut for Piece {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.memory[self.start..][..self.length]
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        if self.memory.len() <= PIECE_BYTES {
            return;
        }
        let mut free = self.home.free.lock();
        if free.len() < KEPT_PIECES {
            free.push(std::mem::take(&mut self.memory));
        }
    }
}

/// What was received and is not worked on yet: a window on memory that is filled at its end and taken from its begin.
pub(crate) struct Received {
    memory: Box<[u8]>,
    start: usize,
    end: usize,
}

impl Received {
    pub(crate) fn new(bytes: usize) -> Self {
        Self {
            memory: vec![0; bytes].into(),
            start: 0,
            end: 0,
        }
    }

    /// Returns what is there.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.memory[self.start..self.end]
    }

    /// Takes `length` bytes, which are there, from the begin.
    pub(crate) fn take(&mut self, length: usize) -> &[u8] {
        let start = self.start;
        assert!(length <= self.end - start);
        self.start += length;
        &self.memory[start..self.start]
    }

    /// Returns the `length` bytes that were taken last; they stay until there is to be room.
    pub(crate) fn last(&self, length: usize) -> &[u8] {
        &self.memory[self.start - length..self.start]
    }

    /// Returns the room behind what is there, at most `most` bytes and at least one.
    pub(crate) fn room(&mut self, most: usize) -> &mut [u8] {
        if self.start > 0 {
            self.memory.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        let end = self.memory.len().min(self.end + most);
        &mut self.memory[self.end..end]
    }

    /// Takes note that `bytes` of the room were filled.
    pub(crate) fn filled(&mut self, bytes: usize) {
        self.end += bytes;
        assert!(self.end <= self.memory.len());
    }

    /// Puts `bytes`, which there is room for, to the end.
    pub(crate) fn put(&mut self, bytes: &[u8]) {
        self.room(usize::MAX - self.memory.len())[..bytes.len()].copy_from_slice(bytes);
        self.filled(bytes.len());
    }

    /// Takes all of it.
    pub(crate) fn drain(&mut self) -> Vec<u8> {
        let bytes = self.bytes().to_vec();
        (self.start, self.end) = (0, 0);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_lies_to_pages_as_its_range_does() {
        let pieces = Arc::new(Pieces::default());
        for (offset, length) in [
            (0, PIECE_BYTES),
            (4095, PIECE_BYTES),
            (8192 + 512, 100),
            (0, 300_000),
        ] {
            let piece = pieces.get(offset, length);
            assert_eq!(piece.len(), length);
            assert_eq!(piece.as_ptr().addr() as u64 % 4096, offset % 4096);
        }
        assert_eq!(pieces.free.lock().len(), 1, "the piece was used again");
    }

    #[test]
    fn no_more_pieces_are_kept_than_said() {
        let pieces = Arc::new(Pieces::default());
        drop(pieces.get(0, SMALL_BYTES));
        assert_eq!(pieces.free.lock().len(), 0);
        let used: Vec<_> = (0..KEPT_PIECES + 3)
            .map(|_| pieces.get(0, SMALL_BYTES + 1))
            .collect();
        drop(used);
        assert_eq!(pieces.free.lock().len(), KEPT_PIECES);
    }

    #[test]
    fn pieces_after_the_first_begin_at_a_page() {
        assert_eq!(first_piece(512, PIECE_BYTES as u64), PIECE_BYTES);
        assert_eq!(first_piece(512, PIECE_BYTES as u64 + 1), PIECE_BYTES - 512);
        assert_eq!(first_piece(8192, 5 << 20), PIECE_BYTES);
    }

    #[test]
    fn what_is_received_in_parts_is_taken_whole() {
        let mut received = Received::new(8);
        received.put(b"abcdef");
        assert_eq!(received.take(4), b"abcd");
        assert_eq!(received.room(usize::MAX - 8).len(), 6);
        received.put(b"ghijkl");
        assert_eq!(received.bytes(), b"efghijkl");
        assert_eq!(received.room(1).len(), 0);
        assert_eq!(received.drain(), b"efghijkl");
        assert_eq!(received.room(3).len(), 3);
    }
}
