//! Large writes: past the buffer, into a segment that becomes part of the store with the next flush or drain.
//!
//! What is streamed goes past the page cache too: copying into pages that the machine has to find first takes longer than
//! the disk does. It costs a flush the sync of a segment more; so only a branch that has more unflushed than a frame takes
//! streams, which has to be drained by its flush anyhow.
//!
//! Invariant: who appends to a branch's stream tells its head before it lets go of the stream; see [`BranchStreams`].
//!
//! [`BranchStreams`]: crate::store::branch_streams::BranchStreams

use std::io::IoSlice;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::block::{BLOCK, BLOCK_BYTES};
use crate::buffer::{BufferedBlock, Chunk, Group, Place};
use crate::checksum::crc32c;
use crate::error::{Result, StoreError};
use crate::medium::{ObjectName, Reading, Writing};
use crate::options::UpkeepMode;
use crate::segment::stream::Stream;
use crate::store::branch::new_blocks;
use crate::store::head::NewBlocks;
use crate::store::pace::{Clock, Level};
use crate::store::segment_writer::SegmentWriter;
use crate::store::space::ObjectRoom;
use crate::store::{Branch, Engine};

/// A segment gets no further group when it has this many bytes of data.
pub(super) const SEGMENT_DATA_BYTES: u64 = 16 << 20;

/// Above this the store's own thread publishes what is streamed.
const STREAMED_SOFT: u64 = 2 * SEGMENT_DATA_BYTES;
/// Above this writers do.
const STREAMED_HARD: u64 = 8 * SEGMENT_DATA_BYTES;

/// With more streams open than this the store's own thread publishes them, whatever is in them: each takes two descriptors.
const OPEN_SOFT: u64 = 32;
/// With more than this writers do.
const OPEN_HARD: u64 = 64;

/// So many of the smallest large writes are little, if a frame can have them: a flush is better off with a frame.
const LITTLE_LARGE_WRITES: u64 = 8;

/// A stream that is appended to, or full.
pub(crate) struct OpenStream {
    pub(super) stream: Arc<Stream>,
    pub(super) writer: SegmentWriter,
    /// Bytes of its blocks, which count among what is streamed while they can still be published.
    bytes: u64,
    account: Arc<Streamed>,
}

/// What all streams of a store have together.
#[derive(Default)]
pub(crate) struct Streamed {
    bytes: AtomicU64,
    open: AtomicU64,
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.account.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
        self.account.open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Engine {
    /// Bytes that lie in streams.
    pub(crate) fn streamed_bytes(&self) -> u64 {
        self.streamed.bytes.load(Ordering::Relaxed)
    }

    /// Streams that are open, to be appended to or to be published.
    pub(crate) fn open_streams_level(&self) -> Level {
        Level {
            now: self.streamed.open.load(Ordering::Relaxed),
            soft: OPEN_SOFT,
            hard: OPEN_HARD,
        }
    }

    /// Tells whether the store's own thread should publish them.
    pub(crate) fn has_many_streams(&self) -> bool {
        self.streams_level().is_above_soft() || self.open_streams_level().is_above_soft()
    }

    pub(crate) fn streams_level(&self) -> Level {
        Level {
            now: self.streamed_bytes(),
            soft: STREAMED_SOFT,
            hard: STREAMED_HARD,
        }
    }

    /// Makes room for a streamed write on the medium; may drain.
    fn make_stream_room(&self, clock: &Clock, bytes: u64) -> Result<ObjectRoom<'_>> {
        self.check_writable()?;
        self.keep_debt_bounded(clock, bytes)?;
        let open = || self.open_streams_level();
        let is_much = self.streamed_bytes() + bytes > STREAMED_SOFT || open().is_above_soft();
        if is_much && self.mode == UpkeepMode::Background {
            self.wake_thread();
        }
        let is_full = || self.streamed_bytes() + bytes > STREAMED_HARD || open().now >= OPEN_HARD;
        if is_full() {
            self.relieved(|| !is_full(), |upkeep| self.drain_streams(upkeep).map(drop))?;
        }
        self.hold_arriving(bytes)
    }

    /// `bytes` will be written to it, about.
    fn open_stream(&self, bytes: u64) -> Result<OpenStream> {
        let id = self.new_segment_id();
        let writer = SegmentWriter::create(self, id, Writing::PastCache { bytes })?;
        let segment = self.segments.handle(id);
        self.streamed.open.fetch_add(1, Ordering::Relaxed);
        Ok(OpenStream {
            stream: Stream::new(segment),
            writer,
            bytes: 0,
            account: Arc::clone(&self.streamed),
        })
    }

    /// Takes the blocks of a stream that cannot be stored into memory, so that they go to another segment (rule 19): the
    /// cache still has them, and their checksums tell whether that is so. If not, nothing may be called durable any
    /// more.
    pub(super) fn rescue<'a>(&self, groups: impl IntoIterator<Item = &'a Arc<Group>>) {
        if let Err(error) = self.take_into_memory(groups) {
            self.journal.poison(error);
        }
    }

    fn take_into_memory<'a>(&self, groups: impl IntoIterator<Item = &'a Arc<Group>>) -> Result<()> {
        for group in groups {
            let mut place = group.source.place.write();
            let Place::Streamed { stream, first, slots } = &mut *place else {
                continue;
            };
            let mut bytes = vec![0; slots.len() * BLOCK].into_boxed_slice();
            stream.segment.read_blocks(&mut bytes, *first, Reading::Cached)?;
            for (block, slot) in bytes.chunks(BLOCK).zip(slots.iter()) {
                if crc32c(block) != slot.checksum {
                    return Err(StoreError::damaged(format!(
                        "{}: blocks that were written to it are lost",
                        ObjectName::Segment(stream.segment.id)
                    )));
                }
            }
            let chunk = Chunk::read(bytes, &self.buffered);
            let mut slots = std::mem::take(slots);
            for (slot, index) in slots.iter_mut().zip(0..) {
                slot.data = Some(BufferedBlock::new(&chunk, index));
            }
            *place = Place::Buffered(slots);
        }
        Ok(())
    }
}

impl OpenStream {
    fn count(&mut self, bytes: u64) {
        self.bytes += bytes;
        self.account.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    fn discount(&mut self, bytes: u64) {
        self.bytes -= bytes;
        self.account.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    pub(super) fn is_full(&self) -> bool {
        u64::from(self.writer.blocks()) * BLOCK_BYTES >= SEGMENT_DATA_BYTES
    }
}

impl Branch {
    /// Tells whether a write of so many bytes should pass the buffer by.
    pub(super) fn streams(&self, bytes: usize) -> bool {
        let (engine, bytes) = (self.engine(), bytes as u64);
        if bytes < engine.large_write_bytes || !engine.medium.reads_unfinished() {
            return false;
        }
        // While the store's own thread keeps up, it writes and the caller goes on; else the caller writes too.
        if engine.mode == UpkeepMode::Background
            && engine.buffered_bytes() + bytes <= engine.buffer_level().soft
        {
            return false;
        }
        let little = LITTLE_LARGE_WRITES.saturating_mul(engine.large_write_bytes);
        let little = little.min(engine.frame_data_bytes_max() as u64);
        self.cell.unflushed.load(Ordering::Relaxed) + bytes > little && !self.is_unjournalled()
    }

    /// Tells whether the branch is a throwaway fork, whose flushes publish nothing.
    fn is_unjournalled(&self) -> bool {
        let head = self.cell.head.read();
        let state = head.stretch.state.lock();
        state.unjournalled
    }

    /// Writes whole blocks past the buffer, fewer than a group can have.
    pub(super) fn write_streamed(&self, bytes: &[u8], offset: u64) -> Result<()> {
        let engine = self.engine();
        let (new, pieces) = divide(bytes);
        if pieces.is_empty() {
            return self.write_piece(bytes, offset);
        }
        let length: u64 = pieces.iter().map(|piece| piece.len() as u64).sum();
        let room = engine.make_stream_room(&self.cell.clock, length)?;
        let gate = self.cell.gate.read();
        let mut taken = self.cell.streams.take(engine.open_streams_level().now);
        let end = offset + bytes.len() as u64;
        // Who drops the branch says so first, and then takes the streams away: nothing is appended behind that.
        drop(self.writable(end)?);
        // Who has written much since the last flush writes as much again before the next.
        let unflushed = self.cell.unflushed.load(Ordering::Relaxed);
        let expected = unflushed.max(length).min(SEGMENT_DATA_BYTES);
        let open = taken.get(|| engine.open_stream(expected))?;
        let first = open.writer.blocks();
        // While it still has its room: its footer's has to be found with it.
        open.count(length);
        if let Err(error) = open.writer.append(engine, &pieces, room) {
            if matches!(error, StoreError::NoSpace { .. }) {
                open.discount(length);
                return Err(error);
            }
            if let Some(open) = taken.remove() {
                engine.rescue(&self.groups_in(&open.stream));
            }
            drop((taken, gate));
            // Only upkeep settles, which may wait for the gate.
            let upkeep = engine.upkeep.lock();
            engine.settle_space();
            drop(upkeep);
            return Err(error);
        }
        let mut head = self.writable(end)?;
        head.write_streamed(offset / BLOCK_BYTES, &new, &open.stream, first);
        Ok(())
    }

    /// Returns the head's groups that lie in a stream.
    fn groups_in(&self, stream: &Arc<Stream>) -> Vec<Arc<Group>> {
        let head = self.cell.head.read();
        let state = head.stretch.state.lock();
        let mut groups = state.groups.clone();
        groups.retain(|group| match &*group.source.place.read() {
            Place::Streamed { stream: its, .. } => Arc::ptr_eq(its, stream),
            _ => false,
        });
        groups
    }
}

/// Finds the zeroes among whole blocks, and the pieces between them; computes the checksums.
fn divide(bytes: &[u8]) -> (NewBlocks, Vec<IoSlice<'_>>) {
    let new = new_blocks(bytes);
    let pieces = new.chunk_by(|a, b| a.is_zero() == b.is_zero());
    let mut at = 0;
    let pieces = pieces.filter_map(|alike| {
        let begun = at;
        at += alike.len() * BLOCK;
        (!alike[0].is_zero()).then(|| IoSlice::new(&bytes[begun..at]))
    });
    let pieces = pieces.collect();
    (new, pieces)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;
    use crate::medium::simulated::{Chooser, FileName, SimulatedMedium, SimulatedOptions};
    use crate::{CreateOptions, OpenOptions, Store, Target};

    /// A store in which every write of whole blocks is streamed, with a branch and what lies on its medium.
    fn store() -> (SimulatedMedium, Store, Branch) {
        let medium = SimulatedMedium::new(SimulatedOptions::default(), Chooser::seeded(1));
        let options = OpenOptions {
            upkeep: UpkeepMode::Inline,
            large_write_bytes: 0,
            ..OpenOptions::default()
        };
        let store = Store::create_on(medium.start(), &CreateOptions::default(), options).expect("a store");
        let branch = store
            .create_branch(&"a".parse().expect("a valid name"), 1 << 20)
            .expect("a branch");
        (medium, store, branch)
    }

    fn segments(medium: &SimulatedMedium) -> usize {
        let files = medium.files().into_iter();
        files
            .filter(|(name, _)| matches!(name, FileName::Object(ObjectName::Segment(_))))
            .count()
    }

    #[test]
    fn nothing_is_left_of_what_was_streamed_to_a_dropped_branch() {
        let (medium, store, branch) = store();
        branch.write_at(&[1; 4 * BLOCK], 0).expect("written");
        assert_eq!(
            (store.engine().streamed_bytes(), segments(&medium)),
            (4 * BLOCK_BYTES, 1)
        );
        store.drop_branches(&[branch.name()]).expect("dropped");
        for _ in 0..3 {
            let refused = branch.write_at(&[2; 4 * BLOCK], 0);
            assert!(matches!(refused, Err(StoreError::Dropped { .. })), "{refused:?}");
        }
        assert_eq!((store.engine().streamed_bytes(), segments(&medium)), (0, 0));
    }

    #[test]
    fn nobody_waits_at_the_catalog_for_streams_that_are_closed() {
        let (medium, store, branch) = store();
        branch.write_at(&[1; 4 * BLOCK], 0).expect("written");
        let fork = store
            .fork_throwaway(&Target::Branch(branch.name()))
            .expect("a fork");
        store.drop_branches(&[branch.name()]).expect("dropped");
        assert_eq!(segments(&medium), 1, "the fork has it still");
        let (engine, is_free) = (store.engine().me.upgrade(), Arc::new(AtomicBool::new(false)));
        let found = Arc::clone(&is_free);
        medium.interrupt(1, move || {
            let free = engine.is_some_and(|engine| engine.catalog.try_lock().is_some());
            found.store(free, Ordering::Relaxed);
        });
        store.drop_branches(&[fork.name()]).expect("dropped");
        assert_eq!(segments(&medium), 0);
        assert!(
            is_free.load(Ordering::Relaxed),
            "the catalog was locked meanwhile"
        );
    }

    #[test]
    fn a_dropped_branch_keeps_no_blocks_for_its_handles() {
        let (_medium, store, branch) = store();
        branch.write_at(&[1; 100], 0).expect("written");
        branch.write_at(&[0; BLOCK], BLOCK_BYTES).expect("written");
        assert!(store.engine().buffered.in_use() > 0);
        store.drop_branches(&[branch.name()]).expect("dropped");
        assert_eq!(
            (store.engine().buffered_bytes(), store.engine().buffered.in_use()),
            (0, 0)
        );
        drop(branch);
    }

    #[test]
    fn nothing_is_left_of_what_was_streamed_before_a_rollback() {
        let (medium, store, branch) = store();
        let snapshot = "s".parse().expect("a valid name");
        store.snapshot(&[(branch.name(), snapshot)]).expect("a snapshot");
        let snapshot = "s".parse().expect("a valid name");
        branch.write_at(&[1; 4 * BLOCK], 0).expect("written");
        store
            .rollback(&branch.name(), Some(&snapshot), None)
            .expect("rolled back");
        let engine = store.engine();
        engine.drain_streams(&mut engine.upkeep.lock()).expect("a drain");
        assert_eq!((engine.streamed_bytes(), segments(&medium)), (0, 0));
    }

    #[test]
    fn a_read_that_is_under_way_keeps_what_is_streamed() {
        let (medium, store, branch) = store();
        branch.write_at(&[7; 2 * BLOCK], 0).expect("written");
        let state = branch.state().expect("a view");
        store.drop_branches(&[branch.name()]).expect("dropped");
        let mut bytes = [0; 2 * BLOCK];
        state.read_at(&mut bytes, 0).expect("it is kept");
        assert!(bytes.iter().all(|&byte| byte == 7));
        drop(state);
        assert_eq!(segments(&medium), 0);
    }

    #[test]
    fn a_stream_whose_sync_fails_comes_back_into_memory() {
        let (medium, store, branch) = store();
        branch.write_at(&[7; 2 * BLOCK], 0).expect("written");
        medium.inject(crate::medium::simulated::Fault::Sync, 1);
        branch.flush().expect_err("the segment's sync failed");
        assert_eq!(store.engine().streamed_bytes(), 0);
        assert_eq!(store.engine().buffered_bytes(), 2 * BLOCK_BYTES);
        branch.flush().expect("it goes elsewhere");
        let mut bytes = [0; 2 * BLOCK];
        branch.read_at(&mut bytes, 0).expect("read");
        assert!(bytes.iter().all(|&byte| byte == 7));
    }
}
