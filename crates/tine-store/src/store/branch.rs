//! Branches: writable disks.

use std::ops::{ControlFlow, Range};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use parking_lot::RwLockWriteGuard;

use crate::block::{BLOCK, BLOCK_BYTES, blocks_touched, is_zero};
use crate::buffer::Chunk;
use crate::checksum::crc32c;
use crate::error::{Result, StoreError};
use crate::index::Index;
use crate::index::layers::Layers;
use crate::medium::Reading;
use crate::names::BranchName;
use crate::options::UpkeepMode;
use crate::overlay::Entry;
use crate::store::catalog::BranchCell;
use crate::store::head::{Head, NewBlock, NewBlocks};
use crate::store::lookup::Lookup;
use crate::store::read_ahead::ReadAhead;
use crate::store::state::{
    Extent, One, Pin, State, check_bounds, check_range, only_block, visit_extents, was_at_hand,
};
use crate::store::stretch::ReadGuard;
use crate::store::view::View;
use crate::store::{BranchInfo, Engine, Running, Store};

/// Writes are taken in pieces of this size: one allocation, one short hold of the head each.
const PIECE_BYTES: usize = 1 << 20;

/// A handle on a branch: a disk that can be read and written. Cheap to clone.
///
/// A write is acknowledged from memory and durable after [`Branch::flush`]; a crash leaves a prefix of the writes that
/// contains all flushed ones. Any number of threads may read and write; a read or write of one block is atomic.
#[derive(Clone)]
pub struct Branch {
    pub(crate) running: Arc<Running>,
    pub(crate) cell: Arc<BranchCell>,
    pub(crate) ahead: ReadAhead,
}

impl std::fmt::Debug for Branch {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Branch")
            .field("name", &self.name())
            .finish_non_exhaustive()
    }
}

/// What a block was when a partial write of it was prepared.
pub(super) enum Before {
    /// As these layers have it.
    Below(Arc<Layers>),
    Entry(Entry),
}

impl Before {
    pub(super) fn of(view: &View, block: u64) -> Self {
        match view.overlay.get(block) {
            Some(entry) => Self::Entry(entry.clone()),
            None => Self::Below(Arc::clone(&view.base)),
        }
    }

    pub(super) fn still_is(&self, view: &View, block: u64) -> bool {
        match (self, view.overlay.get(block)) {
            // Other layers may hold what was written since and left the overlay.
            (Self::Below(before), None) => Arc::ptr_eq(before, &view.base),
            (Self::Entry(before), Some(now)) => before.same(now),
            _ => false,
        }
    }
}

impl Branch {
    pub(super) fn engine(&self) -> &Engine {
        &self.running.engine
    }

    pub(super) fn index(&self) -> &Index {
        &self.running.engine.index
    }

    /// Returns the branch's name.
    pub fn name(&self) -> BranchName {
        self.cell.name.lock().clone()
    }

    /// Returns the branch's number: it keeps it when it is renamed or kept, and no other ever gets it.
    pub fn id(&self) -> u64 {
        self.cell.id
    }

    /// Returns the disk's size in bytes.
    pub fn size(&self) -> u64 {
        self.cell.head.read().size
    }

    /// Fills `bytes` from `offset`. Every block read from the medium is verified.
    ///
    /// # Errors
    /// [`StoreError::OutOfBounds`], [`StoreError::BlockDamaged`], [`StoreError::Dropped`], and those of the medium.
    pub fn read_at(&self, bytes: &mut [u8], offset: u64) -> Result<()> {
        self.read_from(bytes, offset, Reading::Cached)
    }

    /// As [`Branch::read_at`], but does not wait for the medium: false if it would have to be waited for. Then the medium has
    /// begun to fetch what is missing, and `bytes` hold anything. So who serves many readers need not keep those whose
    /// blocks are in memory waiting for the others.
    ///
    /// # Errors
    /// As [`Branch::read_at`].
    pub fn read_at_once(&self, bytes: &mut [u8], offset: u64) -> Result<bool> {
        was_at_hand(self.read_from(bytes, offset, Reading::AtHand))
    }

    fn read_from(&self, bytes: &mut [u8], offset: u64, reading: Reading) -> Result<()> {
        let head = self.cell.head.read();
        self.check(&head)?;
        check_bounds(offset, bytes.len() as u64, head.size)?;
        let view = loaded(&head)?;
        let result = match only_block(offset, bytes.len()) {
            Some((block, skip)) => {
                let found = One::new(view, block, Some(&head.stretch));
                drop(head);
                found.read(self.index(), block, skip, bytes, reading)
            }
            None => {
                let bytes_read = bytes.len() as u64;
                let blocks = blocks_touched(offset, bytes_read);
                let lookup = Lookup::new(view, blocks, Some(&head.stretch));
                drop(head);
                lookup.read_and(self.index(), bytes, offset, reading, |waits| {
                    let read = offset..offset + bytes_read;
                    if let Some(range) = self.ahead.note(read, waits) {
                        // Whoever reads there is told what is wrong.
                        let _ = self.will_read(range);
                    }
                })
            }
        };
        if self.index().wants_merge() && self.engine().mode == UpkeepMode::Background {
            self.engine().wake_thread();
        }
        result
    }

    /// Lets the medium begin to fetch a range, so that reading it waits less. What lies beyond the end does not count.
    ///
    /// # Errors
    /// [`StoreError::Dropped`], and those of reading the index.
    pub fn will_read(&self, range: Range<u64>) -> Result<()> {
        let lookup = {
            let head = self.cell.head.read();
            self.check(&head)?;
            let end = range.end.min(head.size);
            let blocks = blocks_touched(range.start, end.saturating_sub(range.start));
            Lookup::new(loaded(&head)?, blocks, Some(&head.stretch))
        };
        lookup.will_read(self.index())
    }

    /// Writes `bytes` at `offset`; they are in memory when this returns, and durable after [`Branch::flush`].
    ///
    /// Blocks that are all zeroes take no space. A partial block costs reading it.
    ///
    /// # Errors
    /// [`StoreError::OutOfBounds`] before anything is written; [`StoreError::NoSpace`], [`StoreError::Dropped`],
    /// [`StoreError::Poisoned`] and those of the medium, then a prefix may have been written.
    pub fn write_at(&self, bytes: &[u8], offset: u64) -> Result<()> {
        check_bounds(offset, bytes.len() as u64, self.size())?;
        self.write_pieces(bytes, offset).map_err(|error| match error {
            // Whatever it was that found none, of all that a write may have to store first.
            StoreError::NoSpace { .. } => StoreError::NoSpace {
                what: "the write".into(),
            },
            error => error,
        })
    }

    fn write_pieces(&self, bytes: &[u8], offset: u64) -> Result<()> {
        let mut at = 0;
        while at < bytes.len() {
            // All pieces but the first begin on a block.
            let skew = ((offset + at as u64) % BLOCK_BYTES) as usize;
            let left = bytes.len() - at;
            let whole = (left / BLOCK * BLOCK).min(PIECE_BYTES);
            let length = if skew == 0 && whole > 0 && self.streams(left) {
                self.write_streamed(&bytes[at..at + whole], offset + at as u64)?;
                whole
            } else {
                let length = if skew + left > 2 * BLOCK && self.streams(left) {
                    // What follows begins on a block.
                    BLOCK - skew
                } else {
                    left.min(PIECE_BYTES - skew)
                };
                self.write_piece(&bytes[at..at + length], offset + at as u64)?;
                length
            };
            self.cell.unflushed.fetch_add(length as u64, Ordering::Relaxed);
            at += length;
        }
        self.engine()
            .user_written
            .fetch_add(bytes.len() as u64, Ordering::Relaxed);
        Ok(())
    }

    pub(super) fn write_piece(&self, bytes: &[u8], offset: u64) -> Result<()> {
        let blocks = blocks_touched(offset, bytes.len() as u64);
        let end = offset + bytes.len() as u64;
        self.engine()
            .make_buffer_room(&self.cell.clock, (blocks.end - blocks.start) * BLOCK_BYTES)?;
        let aligned = offset.is_multiple_of(BLOCK_BYTES) && end.is_multiple_of(BLOCK_BYTES);
        if aligned {
            let (new, chunk) = self.prepare_with_room(bytes)?;
            let _gate = self.cell.gate.read();
            let mut head = self.writable(end)?;
            head.write(blocks.start, &new, &chunk);
            return Ok(());
        }
        loop {
            // The partial blocks at both ends are read without the lock; if one has changed by then, again.
            let edges = [blocks.start, blocks.end - 1];
            let (before, lookup) = {
                let head = self.cell.head.read();
                self.check(&head)?;
                let view = loaded(&head)?;
                let before = edges.map(|block| Before::of(view, block));
                let lookup = |block| Lookup::new(view, block..block + 1, Some(&head.stretch));
                (before, edges.map(lookup))
            };
            let [first, second] = lookup;
            let mut whole = vec![0; (blocks.end - blocks.start) as usize * BLOCK];
            let last = whole.len() - BLOCK;
            second.read(self.index(), &mut whole[last..], edges[1] * BLOCK_BYTES)?;
            first.read(self.index(), &mut whole[..BLOCK], edges[0] * BLOCK_BYTES)?;
            let skew = (offset - blocks.start * BLOCK_BYTES) as usize;
            whole[skew..skew + bytes.len()].copy_from_slice(bytes);
            let (new, chunk) = self.prepare_with_room(&whole)?;
            let _gate = self.cell.gate.read();
            let mut head = self.writable(end)?;
            let view = loaded(&head)?;
            if before
                .iter()
                .zip(edges)
                .all(|(before, block)| before.still_is(view, block))
            {
                head.write(blocks.start, &new, &chunk);
                return Ok(());
            }
        }
    }

    /// As [`Branch::write_at`], but does not wait for the medium: false, with nothing written, if it would have to. That is so
    /// where a block is covered in part, where so much is written that it goes past the buffer, and while writers are
    /// slowed down.
    ///
    /// # Errors
    /// As [`Branch::write_at`].
    pub fn write_at_once(&self, bytes: &[u8], offset: u64) -> Result<bool> {
        let length = bytes.len() as u64;
        let end = offset.saturating_add(length);
        check_bounds(offset, length, self.size())?;
        let is_whole = offset.is_multiple_of(BLOCK_BYTES) && length.is_multiple_of(BLOCK_BYTES);
        let engine = self.engine();
        engine.check_writable()?;
        if !is_whole || bytes.len() > PIECE_BYTES || self.streams(bytes.len()) {
            return Ok(false);
        }
        let Some(_gate) = self.cell.gate.try_read() else {
            return Ok(false);
        };
        if !engine.adds_at_once(&self.cell.clock, length) {
            return Ok(false);
        }
        let (new, chunk) = self.prepare(bytes);
        if !engine.has_room() {
            return Ok(false);
        }
        let mut head = self.writable(end)?;
        head.write(offset / BLOCK_BYTES, &new, &chunk);
        drop(head);
        self.cell.unflushed.fetch_add(length, Ordering::Relaxed);
        engine.user_written.fetch_add(length, Ordering::Relaxed);
        Ok(true)
    }

    /// As [`Branch::prepare`], and there is room on the medium for it beside what others prepared meanwhile: each looked
    /// for its own alone before.
    pub(super) fn prepare_with_room(&self, bytes: &[u8]) -> Result<(NewBlocks, Arc<Chunk>)> {
        let prepared = self.prepare(bytes);
        self.engine().hold_room(0)?;
        Ok(prepared)
    }

    /// Copies what is not zero into memory of its own, and computes its checksums. Of whole blocks.
    pub(super) fn prepare(&self, bytes: &[u8]) -> (NewBlocks, Arc<Chunk>) {
        let engine = self.engine();
        let new = new_blocks(bytes);
        let data = blocks(bytes).zip(&new).filter(|(_, new)| !new.is_zero());
        let data = data.map(|(block, _)| block);
        let chunk = if bytes.len() as u64 >= engine.large_write_bytes {
            let count = new.iter().filter(|new| !new.is_zero()).count();
            Chunk::copy_aligned(data, count, &engine.buffered)
        } else {
            Chunk::copy(data, &engine.buffered)
        };
        (new, chunk)
    }

    /// Makes a range read as zeroes. O(1) for whole blocks; the partial blocks at the ends are written.
    ///
    /// # Errors
    /// As [`Branch::write_at`].
    pub fn write_zeroes(&self, offset: u64, length: u64) -> Result<()> {
        self.clear(offset, length, false)
    }

    /// Tells that a range is not needed any more; it reads as zeroes from now on. O(1) for whole blocks; the partial
    /// blocks at the ends are written.
    ///
    /// # Errors
    /// As [`Branch::write_at`].
    pub fn discard(&self, offset: u64, length: u64) -> Result<()> {
        self.clear(offset, length, true)
    }

    fn clear(&self, offset: u64, length: u64, hole: bool) -> Result<()> {
        loop {
            let size = self.size();
            check_bounds(offset, length, size)?;
            let end = offset + length;
            let first = offset.next_multiple_of(BLOCK_BYTES);
            // The last block of a disk may be partial: cleared from its beginning to the end, it is cleared whole.
            let rest = if end == size { 0 } else { end % BLOCK_BYTES };
            let last = (end - rest).next_multiple_of(BLOCK_BYTES);
            if first >= last {
                return self.write_zero_bytes(offset, end);
            }
            self.write_zero_bytes(offset, first)?;
            self.engine().make_buffer_room(&self.cell.clock, 0)?;
            {
                let _gate = self.cell.gate.read();
                let mut head = self.writable(end)?;
                if head.size != size {
                    // What was the last block may not be it any more.
                    continue;
                }
                head.write_zeroes(first / BLOCK_BYTES..last / BLOCK_BYTES, hole);
            }
            return self.write_zero_bytes(last, end);
        }
    }

    /// Writes zeroes into parts of one or two blocks.
    fn write_zero_bytes(&self, from: u64, to: u64) -> Result<()> {
        if from >= to {
            return Ok(());
        }
        self.write_piece(&vec![0; (to - from) as usize], from)
    }

    /// Returns when everything written before the call is durable: one write and one sync, shared with others that
    /// flush at the same time. A throwaway fork is never durable: of that it only closes a group.
    ///
    /// # Errors
    /// [`StoreError::Poisoned`] if the journal could not be written or synced: then only opening the store again
    /// tells what is durable. [`StoreError::NoSpace`] loses nothing, and may be tried again.
    pub fn flush(&self) -> Result<()> {
        self.engine().flush(&self.cell)
    }

    /// Changes the disk's size; durable when this returns. What a smaller disk loses reads as zeroes when it grows.
    pub(crate) fn resize(&self, size: u64) -> Result<()> {
        loop {
            let skew = (size % BLOCK_BYTES) as usize;
            let block = size / BLOCK_BYTES;
            let (old, before, lookup) = {
                let head = self.cell.head.read();
                self.check(&head)?;
                let view = loaded(&head)?;
                (
                    head.size,
                    Before::of(view, block),
                    Lookup::new(view, block..block + 1, Some(&head.stretch)),
                )
            };
            let partial = skew > 0 && size < old;
            let mut edge = vec![0; if partial { BLOCK } else { 0 }];
            if partial {
                lookup.read(self.index(), &mut edge, block * BLOCK_BYTES)?;
                edge[skew..].fill(0);
            }
            self.engine()
                .make_buffer_room(&self.cell.clock, edge.len() as u64)?;
            let (new, chunk) = self.prepare_with_room(&edge)?;
            {
                let _gate = self.cell.gate.read();
                let mut head = self.cell.head.write();
                self.check(&head)?;
                if head.size != old || !before.still_is(loaded(&head)?, block) {
                    continue;
                }
                head.resize(size, new.first().map(|new| (new, &chunk)));
            }
            return self.flush();
        }
    }

    /// Returns what the bytes of a range are, without reading them.
    ///
    /// # Errors
    /// [`StoreError::OutOfBounds`], [`StoreError::Dropped`].
    pub fn extents(&self, range: Range<u64>) -> Result<Vec<Extent>> {
        let mut extents = Vec::new();
        self.visit_extents(range, &mut |extent| {
            extents.push(extent);
            ControlFlow::Continue(())
        })?;
        Ok(extents)
    }

    /// Tells `each` what the bytes of a range are, in order, until it has heard enough. O(pieces up to there), which may be
    /// many more than the extents told.
    ///
    /// # Errors
    /// As [`Branch::extents`].
    pub fn visit_extents(
        &self,
        range: Range<u64>,
        each: &mut dyn FnMut(Extent) -> ControlFlow<()>,
    ) -> Result<()> {
        let (view, stretch, _guard) = {
            let head = self.cell.head.read();
            self.check(&head)?;
            check_range(&range, head.size)?;
            (
                loaded(&head)?.clone(),
                head.stretch.id,
                ReadGuard::new(&head.stretch),
            )
        };
        visit_extents(&view, self.index(), range, stretch, each)
    }

    /// Returns the disk as it is now, with what was not flushed. O(1).
    ///
    /// # Errors
    /// [`StoreError::Dropped`].
    pub fn state(&self) -> Result<State> {
        let head = self.cell.head.write();
        self.check(&head)?;
        Ok(State {
            view: loaded(&head)?.clone(),
            size: head.size,
            stretch: head.stretch.id,
            pin: Some(Pin::new(&head.stretch)),
            _guard: ReadGuard::new(&head.stretch),
            ahead: ReadAhead::default(),
            running: Arc::clone(&self.running),
        })
    }

    /// Returns size, written bytes, origin and snapshots.
    ///
    /// # Errors
    /// [`StoreError::Dropped`].
    pub fn stats(&self) -> Result<BranchInfo> {
        let store = Store {
            running: Arc::clone(&self.running),
        };
        store.branch_info(&self.name()).map_err(|error| match error {
            StoreError::UnknownBranch { name } => StoreError::Dropped { name },
            other => other,
        })
    }

    pub(super) fn check(&self, head: &Head) -> Result<()> {
        if head.dropped {
            return Err(StoreError::Dropped { name: self.name() });
        }
        Ok(())
    }

    pub(super) fn writable(&self, end: u64) -> Result<RwLockWriteGuard<'_, Head>> {
        let head = self.cell.head.write();
        self.check(&head)?;
        // It may have shrunk since the caller looked.
        check_bounds(0, end, head.size)?;
        loaded(&head)?;
        Ok(head)
    }
}

/// Tells what whole blocks are, with their checksums.
pub(super) fn new_blocks(bytes: &[u8]) -> NewBlocks {
    let mut kept = 0..;
    let mut new = |block: &[u8; BLOCK]| {
        if is_zero(block) {
            return NewBlock::Zero;
        }
        NewBlock::Data {
            index: kept
                .next()
                .expect("a write has fewer blocks than there are numbers"),
            checksum: crc32c(block),
        }
    };
    blocks(bytes).map(&mut new).collect()
}

fn blocks(bytes: &[u8]) -> impl Iterator<Item = &[u8; BLOCK]> {
    let (blocks, rest) = bytes.as_chunks();
    debug_assert!(rest.is_empty());
    blocks.iter()
}

/// Returns the view of a head; handles are only given out for heads that are loaded.
pub(super) fn loaded(head: &Head) -> Result<&View> {
    head.view
        .as_ref()
        .ok_or_else(|| StoreError::damaged("a branch is used before it was loaded"))
}
