//! The segments of a store: which there are, and the objects that are open for reading.
//!
//! Invariant: whoever may still read a segment holds its [`Segment`], or in another process a lease; the object is
//! removed only when the table alone does and nobody leases it.

use std::collections::{BTreeMap, HashSet};
use std::io::{self, IoSliceMut};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use crate::block::{BLOCK, BLOCK_BYTES};
use crate::error::{Result, StoreError};
use crate::medium::{Medium, Object, ObjectName, Reading};
use crate::segment::SegmentId;
use crate::segment::format::{
    Part, SEGMENT_HEADER_BYTES, SegmentKind, TRAILER_BYTES, check_header, decode_footer, decode_trailer,
};
use crate::segment::opened::{Opened, Place};
use crate::store::pace::Level;

/// One segment.
pub(crate) struct Segment {
    pub(crate) id: SegmentId,
    pub(super) this: Weak<Self>,
    pub(super) place: Place,
    opened: Arc<Opened>,
    /// It is no part of the store yet: whoever refers to it last removes the object.
    is_stream: AtomicBool,
}

impl Drop for Segment {
    fn drop(&mut self) {
        self.opened.forget(&mut self.place);
        if *self.is_stream.get_mut() {
            self.opened.remove(self.name());
        }
    }
}

impl Segment {
    fn new(id: SegmentId, opened: &Arc<Opened>) -> Arc<Self> {
        Arc::new_cyclic(|this| Self {
            id,
            this: Weak::clone(this),
            place: Place::default(),
            opened: Arc::clone(opened),
            is_stream: AtomicBool::new(false),
        })
    }

    /// Says whether the segment is a stream, so no part of the store yet.
    pub(super) fn set_stream(&self, is_stream: bool) {
        self.is_stream.store(is_stream, Ordering::Relaxed);
    }

    fn name(&self) -> ObjectName {
        ObjectName::Segment(self.id)
    }

    #[cfg(test)]
    pub(super) fn opened(&self) -> &Arc<Opened> {
        &self.opened
    }

    /// Asks something of the object.
    fn ask<T>(&self, doing: &'static str, ask: impl FnOnce(&dyn Object) -> io::Result<T>) -> Result<T> {
        let mut is_open = false;
        let asked = self.opened.read(self, self.name(), |object| {
            is_open = true;
            ask(object)
        });
        asked.map_err(|error| match error.kind() {
            io::ErrorKind::NotFound if !is_open => StoreError::damaged(format!("{} is missing", self.name())),
            _ => StoreError::io(self.name(), if is_open { doing } else { "open" }, error),
        })
    }

    /// Reads bytes.
    pub(crate) fn read(&self, bytes: &mut [u8], offset: u64, reading: Reading) -> Result<()> {
        self.ask("read", |object| object.read_at(bytes, offset, reading))
    }

    /// Returns the bytes of the object.
    pub(crate) fn length(&self) -> Result<u64> {
        self.ask("find the length of", |object| object.length())
    }

    /// Reads whole blocks that lie one behind the other. Their checksums are the caller's to verify.
    pub(crate) fn read_blocks(&self, bytes: &mut [u8], first: u32, reading: Reading) -> Result<()> {
        debug_assert!(bytes.len().is_multiple_of(BLOCK));
        self.read(bytes, block_offset(first), reading)
    }

    /// Reads as [`Segment::read_blocks`] does, into places that do not lie together. Tells whether the bytes are there:
    /// they may not be if they are not at hand, and only that was asked for.
    pub(crate) fn read_scattered(
        &self,
        targets: &mut [IoSliceMut<'_>],
        first: u32,
        reading: Reading,
    ) -> Result<bool> {
        debug_assert!(targets.iter().all(|target| target.len().is_multiple_of(BLOCK)));
        self.ask("read", |object| {
            match object.read_scattered(targets, block_offset(first), reading) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && reading == Reading::AtHand => {
                    Ok(false)
                }
                read => read.map(|()| true),
            }
        })
    }

    /// Lets the medium begin to fetch blocks that lie one behind the other.
    pub(crate) fn will_read_blocks(&self, blocks: Range<u32>) -> Result<()> {
        self.ask("read", |object| {
            object.will_read(block_offset(blocks.start)..block_offset(blocks.end));
            Ok(())
        })
    }

    /// Reads and verifies header, trailer and footer of a data segment, past the cache.
    pub(crate) fn read_parts(&self, expected: Option<(u64, u32)>) -> Result<Vec<Part>> {
        let bad = |what: &str| StoreError::damaged(format!("{}: {what}", self.name()));
        let length = self.length()?;
        if expected.is_some_and(|(expected, _)| expected != length)
            || length < SEGMENT_HEADER_BYTES + TRAILER_BYTES as u64
        {
            return Err(bad("the length is wrong"));
        }
        let mut header = vec![0; SEGMENT_HEADER_BYTES as usize];
        self.read(&mut header, 0, Reading::PastCache)?;
        check_header(&header, self.id, SegmentKind::Data)?;
        let mut trailer = [0; TRAILER_BYTES];
        self.read(&mut trailer, length - TRAILER_BYTES as u64, Reading::PastCache)?;
        let trailer = decode_trailer(&trailer).map_err(|_| bad("the trailer is bad"))?;
        let end = trailer.footer_offset.checked_add(trailer.footer_bytes);
        if end != Some(length - TRAILER_BYTES as u64)
            || expected.is_some_and(|(_, footer)| footer != trailer.footer_checksum)
        {
            return Err(bad("the trailer does not fit"));
        }
        let blocks_end = trailer.footer_offset.checked_sub(SEGMENT_HEADER_BYTES);
        let Some(blocks) = blocks_end
            .filter(|bytes| bytes.is_multiple_of(BLOCK_BYTES))
            .map(|bytes| bytes / BLOCK_BYTES)
        else {
            return Err(bad("the footer does not begin where blocks end"));
        };
        let mut footer = vec![0; trailer.footer_bytes as usize];
        self.read(&mut footer, trailer.footer_offset, Reading::PastCache)?;
        if crate::checksum::crc32c(&footer) != trailer.footer_checksum {
            return Err(bad("the footer is bad"));
        }
        let parts = decode_footer(&footer)?;
        if parts
            .iter()
            .flat_map(|part| &part.blocks)
            .any(|stored| u64::from(stored.at) >= blocks)
        {
            return Err(bad("the footer names blocks that are not there"));
        }
        Ok(parts)
    }
}

fn block_offset(block: u32) -> u64 {
    SEGMENT_HEADER_BYTES + u64::from(block) * BLOCK_BYTES
}

/// What the table knows of a segment.
struct Known {
    segment: Arc<Segment>,
    kind: SegmentKind,
    bytes: u64,
    /// Stretches with live blocks in it, trees with nodes in it.
    users: u64,
}

/// A segment that was taken out of the table.
pub(crate) struct Taken {
    pub(crate) id: SegmentId,
    known: Known,
}

/// All segments that are part of the store.
pub(crate) struct SegmentTable {
    opened: Arc<Opened>,
    known: Mutex<BTreeMap<SegmentId, Known>>,
}

impl SegmentTable {
    pub(crate) fn new(medium: Arc<dyn Medium>) -> Self {
        Self::keeping(Opened::new(medium))
    }

    pub(super) fn keeping(opened: Opened) -> Self {
        Self {
            opened: Arc::new(opened),
            known: Mutex::new(BTreeMap::new()),
        }
    }

    /// Returns a handle on a segment that need not be in the table (yet, or any more).
    pub(crate) fn handle(&self, id: SegmentId) -> Arc<Segment> {
        if let Some(known) = self.known.lock().get(&id) {
            return Arc::clone(&known.segment);
        }
        Segment::new(id, &self.opened)
    }

    /// Returns how many objects are open, how many are kept so, and how many there are at the most.
    pub(crate) fn descriptors(&self) -> Level {
        self.opened.level()
    }

    /// Returns a segment without keeping it from being removed; dangling if it is not in the table.
    pub(crate) fn weak(&self, id: SegmentId) -> Weak<Segment> {
        let known = self.known.lock();
        known
            .get(&id)
            .map_or_else(Weak::new, |known| Arc::downgrade(&known.segment))
    }

    /// Returns a handle on a segment of the table.
    pub(crate) fn get(&self, id: SegmentId) -> Option<Arc<Segment>> {
        self.known.lock().get(&id).map(|known| Arc::clone(&known.segment))
    }

    /// Adds a segment; nothing uses it yet.
    pub(crate) fn add(&self, segment: Arc<Segment>, kind: SegmentKind, bytes: u64) {
        self.known.lock().entry(segment.id).or_insert(Known {
            segment,
            kind,
            bytes,
            users: 0,
        });
    }

    /// Takes note of a segment's bytes once it is whole.
    pub(crate) fn set_bytes(&self, id: SegmentId, bytes: u64) {
        if let Some(known) = self.known.lock().get_mut(&id) {
            known.bytes = bytes;
        }
    }

    /// Takes a segment out: a frame says that it was removed.
    pub(crate) fn forget(&self, id: SegmentId) {
        self.known.lock().remove(&id);
    }

    pub(crate) fn contains(&self, id: SegmentId) -> bool {
        self.known.lock().contains_key(&id)
    }

    /// Counts one more user. A segment that is not in the table was removed while an older root still names it.
    pub(crate) fn retain(&self, id: SegmentId) {
        if let Some(known) = self.known.lock().get_mut(&id) {
            known.users += 1;
        }
    }

    /// Counts one user less.
    pub(crate) fn release(&self, id: SegmentId) {
        if let Some(known) = self.known.lock().get_mut(&id) {
            debug_assert!(known.users > 0);
            known.users -= 1;
        }
    }

    /// Returns the segments that nothing in the store refers to, with their bytes; somebody may still read them.
    pub(crate) fn unused(&self) -> Vec<(SegmentId, u64)> {
        let known = self.known.lock();
        let unused = known.iter().filter(|(_, known)| known.users == 0);
        unused.map(|(id, known)| (*id, known.bytes)).collect()
    }

    /// Takes the segments out that nothing in the store refers to and nobody reads any more: nobody in this process,
    /// nor in another, as those `leased` are. In one step, as a handle can be asked for at any moment.
    pub(crate) fn take_unused(&self, leased: &HashSet<SegmentId>) -> Vec<Taken> {
        let mut known = self.known.lock();
        let taken = known.extract_if(.., |id, known| {
            known.users == 0 && Arc::strong_count(&known.segment) == 1 && !leased.contains(id)
        });
        taken.map(|(id, known)| Taken { id, known }).collect()
    }

    /// Puts segments back whose removal was refused.
    pub(crate) fn put_back(&self, taken: impl IntoIterator<Item = Taken>) {
        let taken = taken.into_iter().map(|taken| (taken.id, taken.known));
        self.known.lock().extend(taken);
    }

    /// Returns how many segments there are.
    pub(crate) fn count(&self) -> usize {
        self.known.lock().len()
    }

    /// Returns every segment with its kind and bytes, in the order of their ids.
    pub(crate) fn list(&self) -> Vec<(SegmentId, SegmentKind, u64)> {
        self.known
            .lock()
            .iter()
            .map(|(id, known)| (*id, known.kind, known.bytes))
            .collect()
    }
}
