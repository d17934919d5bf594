#![allow(unsafe_code)]
//! What [`Bytes`](super::Bytes) and [`Text`](crate::Text) are: 24 bytes that hold few bytes themselves or say where more
//! are.
//!
//! ```text
//!          0               8               16            23
//! inline | up to 23 bytes                              | length + 1    |
//! away   | data          | block or null | length      | AWAY          |
//!                            |
//!                            +--> | count | capacity | byte | byte | ... |      data points among these bytes, or,
//!                                                                              where there is no block, to static ones
//! ```
//!
//! Where the block is shared, each handle sees a range of its bytes, and nobody writes. A sole owner may write all of
//! them: those outside its range are nobody's.
//!
//! **Invariants:**
//! 1. The tag, the last byte, is one of 1..=[`AWAY`] and tells what the other bytes are; all 24 are always initialised.
//! 2. Away with a block: this handle is one of the owners that the block's count counts, its header is the block's
//!    capacity, and `length` bytes from `data` on are initialised and among the block's. Without: they are static.
//! 3. A block's bytes are written only through `&mut Raw` of its sole owner.

use core::mem;
use core::num::NonZeroU64;
use core::ops::Range;
use core::ptr;
use core::slice;

use super::copy::copy;
use crate::block::Block;
use crate::detach;

/// As many bytes need no allocation.
pub(crate) const INLINE_MOST: usize = 23;

/// A part of a block that keeps more than so many times its size alive is copied instead.
const KEPT_ALIVE_MOST: usize = 8;

/// The header is the capacity.
type Heap = Block<usize, u8>;

/// The tag of what is not inline. What is has its length and one, so that no tag is zero, which an `Option` uses.
const AWAY: u8 = INLINE_MOST as u8 + 2;

/// What the last word of what is away is more by for each byte more.
const LENGTH_STEP: u64 = if cfg!(target_endian = "little") { 1 } else { 1 << 8 };

/// A sequence of bytes, as the drawing above shows.
#[repr(C, align(8))]
pub(crate) struct Raw {
    data: *const u8,
    block: Option<Heap>,
    /// None where a pointer has eight bytes.
    between: [usize; 16 / size_of::<usize>() - 2],
    /// The tag is its last byte in memory, the other seven are the length of what is away.
    last: NonZeroU64,
}

const _: () = assert!(size_of::<Raw>() == 24 && size_of::<Option<Raw>>() == 24);
const _: () = assert!(mem::offset_of!(Raw, last) == 16);

// SAFETY: bytes are `Send + Sync`, and they are written by a sole owner that is borrowed mutably alone.
unsafe impl Send for Raw {}
// SAFETY: as for `Send`.
unsafe impl Sync for Raw {}

impl Raw {
    /// Returns no bytes.
    pub(crate) const fn new() -> Self {
        Self {
            data: ptr::null(),
            block: None,
            between: [0; 16 / size_of::<usize>() - 2],
            last: last_word(0, 1),
        }
    }

    /// Returns static bytes, where they are.
    pub(crate) const fn from_static(bytes: &'static [u8]) -> Self {
        Self::away(bytes.as_ptr(), None, bytes.len())
    }

    const fn away(data: *const u8, block: Option<Heap>, length: usize) -> Self {
        Self {
            data,
            block,
            between: [0; 16 / size_of::<usize>() - 2],
            last: last_word(length, AWAY),
        }
    }

    /// Returns a copy of the bytes: inline if they fit, else in one allocation.
    #[inline]
    pub(crate) fn copied(bytes: &[u8]) -> Self {
        if bytes.len() <= INLINE_MOST {
            let mut raw = Self::new();
            // SAFETY: they fit, and they are not this value's own.
            unsafe { raw.append(bytes) };
            raw
        } else {
            Self::copied_to_block(bytes, bytes.len())
        }
    }

    /// Returns no bytes, with room for so many.
    pub(crate) fn with_capacity(capacity: usize) -> Self {
        if capacity <= INLINE_MOST {
            Self::new()
        } else {
            Self::copied_to_block(&[], capacity)
        }
    }

    /// Returns a copy of the bytes in a block with room for so many at least.
    fn copied_to_block(bytes: &[u8], capacity: usize) -> Self {
        debug_assert!(bytes.len() <= capacity);
        let capacity = rounded(capacity);
        let block = Heap::new(capacity, capacity);
        // SAFETY: the block is new, and there is room.
        unsafe { bytes.as_ptr().copy_to_nonoverlapping(block.slots(), bytes.len()) };
        Self::away(block.slots(), Some(block), bytes.len())
    }

    #[inline]
    fn tag(&self) -> u8 {
        // A byte's load: a word's would wait for the byte's store that has made something inline.
        //
        // SAFETY: the last byte is initialised.
        unsafe { (&raw const *self).cast::<u8>().add(INLINE_MOST).read() }
    }

    #[inline]
    fn is_inline(&self) -> bool {
        self.tag() != AWAY
    }

    /// Returns the block, if there is one.
    #[inline]
    fn block(&self) -> Option<Heap> {
        if self.is_inline() { None } else { self.block }
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        if self.is_inline() {
            usize::from(self.tag()) - 1
        } else {
            self.away_len()
        }
    }

    #[inline]
    fn away_len(&self) -> usize {
        debug_assert!(!self.is_inline());
        let word = self.last.get();
        (if cfg!(target_endian = "little") {
            word & (u64::MAX >> 8)
        } else {
            word >> 8
        }) as usize
    }

    /// Sets the length, and with it the tag of what is inline.
    ///
    /// # Safety
    ///
    /// So many bytes must be initialised, and within the room.
    #[inline]
    unsafe fn set_len(&mut self, length: usize) {
        if self.is_inline() {
            debug_assert!(length <= INLINE_MOST);
            // SAFETY: the last byte is the tag, and not zero.
            unsafe {
                (&raw mut *self)
                    .cast::<u8>()
                    .add(INLINE_MOST)
                    .write(length as u8 + 1);
            }
        } else {
            self.last = last_word(length, AWAY);
        }
    }

    /// Adds to the length, and leaves the tag of what is away as it is: who appends byte by byte waits for nothing but
    /// the addition.
    ///
    /// # Safety
    ///
    /// As for [`set_len`](Self::set_len) with the sum.
    #[inline]
    unsafe fn lengthen(&mut self, more: usize) {
        if self.is_inline() {
            // SAFETY: as the caller vouches.
            unsafe { self.set_len(self.len() + more) };
        } else {
            let step = more as u64 * LENGTH_STEP;
            // SAFETY: the tag is not zero, and no length that memory has room for reaches it.
            self.last = unsafe { NonZeroU64::new_unchecked(self.last.get() + step) };
        }
    }

    #[inline]
    pub(crate) fn as_slice(&self) -> &[u8] {
        let (data, length) = if self.is_inline() {
            ((&raw const *self).cast(), usize::from(self.tag()) - 1)
        } else {
            (self.data, self.away_len())
        };
        // SAFETY: so many are initialised there (invariant 2), and nobody writes them while `self` is borrowed.
        unsafe { slice::from_raw_parts(data, length) }
    }

    /// Returns whether a write needs no copy: what is inline, or in a block that nobody else has.
    #[inline]
    pub(crate) fn is_unique(&self) -> bool {
        match self.block() {
            // SAFETY: `self` is an owner of the block.
            Some(block) => unsafe { block.count() }.is_one(),
            None => self.is_inline(),
        }
    }

    /// Returns the bytes for writing, if that needs no copy.
    #[inline]
    pub(crate) fn get_mut(&mut self) -> Option<&mut [u8]> {
        // SAFETY: unique, so nobody else reaches them while `self` is borrowed mutably (invariant 3).
        self.is_unique()
            .then(|| unsafe { slice::from_raw_parts_mut(self.start(), self.len()) })
    }

    /// Returns the bytes for writing; they are copied first if somebody else has them, or if they are static.
    #[inline]
    pub(crate) fn make_mut(&mut self) -> &mut [u8] {
        if !self.is_unique() {
            *self = self.detached(self.len());
        }
        // SAFETY: as in `get_mut`.
        unsafe { slice::from_raw_parts_mut(self.start(), self.len()) }
    }

    /// Returns where the bytes begin, for writing by who knows that they are unique.
    #[inline]
    fn start(&mut self) -> *mut u8 {
        if self.is_inline() {
            (&raw mut *self).cast()
        } else {
            self.data.cast_mut()
        }
    }

    /// Returns a copy with room for `capacity` in all, and counts it if it is of what others have.
    #[cold]
    fn detached(&self, capacity: usize) -> Self {
        if self.block().is_some() {
            detach::record();
        }
        if capacity <= INLINE_MOST {
            Self::copied(self.as_slice())
        } else {
            Self::copied_to_block(self.as_slice(), capacity)
        }
    }

    /// Returns how many bytes can be appended where the bytes are; none if they are shared or static.
    #[inline]
    fn room(&self) -> usize {
        match self.block() {
            Some(block) => {
                // SAFETY: `self` is an owner of the block.
                if !unsafe { block.count() }.is_one() {
                    return 0;
                }
                self.end_of(block) - self.data.addr() - self.away_len()
            }
            None if self.is_inline() => INLINE_MOST - self.len(),
            None => 0,
        }
    }

    /// Returns the address behind a block's last byte.
    #[inline]
    fn end_of(&self, block: Heap) -> usize {
        // SAFETY: `self` is an owner of the block, whose header nobody writes but a sole owner.
        block.slots().addr() + unsafe { block.header() }
    }

    /// Returns how many bytes fit without another allocation, these included.
    pub(crate) fn capacity(&self) -> usize {
        self.len() + self.room()
    }

    /// Makes room for `additional` bytes behind these, unique as they are then.
    ///
    /// # Panics
    ///
    /// If so many do not fit the address space.
    #[inline]
    pub(crate) fn reserve(&mut self, additional: usize) {
        if self.room() < additional {
            self.grow(additional);
        }
    }

    #[cold]
    fn grow(&mut self, additional: usize) {
        let length = self.len();
        let needed = length
            .checked_add(additional)
            .expect("bytes fit the address space");
        // Doubled, so that appending costs O(1) for each byte on average; a copy of what is shared or static is no
        // sign of more to come.
        let doubled = needed.max(2 * length).max(2 * INLINE_MOST);
        let Some(block) = self.block().filter(|_| self.is_unique()) else {
            let capacity = if self.is_inline() { doubled } else { needed };
            *self = self.detached(capacity);
            return;
        };
        let before = self.data.addr() - block.slots().addr();
        // SAFETY: `self` is an owner of the block.
        let capacity = unsafe { *block.header() };
        if before >= length && needed <= capacity {
            // In front there is as much room as bytes that have to be moved: who took them away has paid for this.
            //
            // SAFETY: the block is this owner's alone, and the ranges do not meet.
            unsafe { self.data.copy_to_nonoverlapping(block.slots(), length) };
            self.data = block.slots();
        } else if before == 0 {
            let wanted = rounded(doubled);
            // SAFETY: that is its capacity, and this is its only owner, whose pointer is replaced.
            let block = unsafe { block.resized(capacity, wanted) };
            // SAFETY: nobody else reads the header.
            unsafe { block.header_ptr().write(wanted) };
            // The old handle's block has moved: it must not be dropped.
            mem::forget(mem::replace(self, Self::away(block.slots(), Some(block), length)));
        } else {
            *self = Self::copied_to_block(self.as_slice(), doubled);
        }
    }

    /// Appends bytes.
    ///
    /// # Panics
    ///
    /// As for [`reserve`](Self::reserve).
    #[inline]
    pub(crate) fn extend(&mut self, bytes: &[u8]) {
        self.reserve(bytes.len());
        // SAFETY: there is room now; a `&mut self` cannot have lent them.
        unsafe { self.append(bytes) };
    }

    /// Appends one byte.
    ///
    /// # Panics
    ///
    /// As for [`reserve`](Self::reserve).
    #[inline]
    pub(crate) fn push(&mut self, byte: u8) {
        if self.is_inline() {
            let length = self.len();
            if length < INLINE_MOST {
                // SAFETY: there is room.
                unsafe {
                    self.start().add(length).write(byte);
                    self.set_len(length + 1);
                }
                return;
            }
        } else if let Some(block) = self.block {
            // Before the count is asked: its load lets nothing be reused that was read before it.
            let end = self.data.cast_mut().wrapping_add(self.away_len());
            let more = self.last.get() + LENGTH_STEP;
            // SAFETY: `self` is an owner of the block.
            if unsafe { block.count() }.is_one() && end.addr() < self.end_of(block) {
                // SAFETY: there is room, and it is unique; the tag is not zero, and no length that memory has room for
                // reaches it.
                unsafe {
                    end.write(byte);
                    self.last = NonZeroU64::new_unchecked(more);
                }
                return;
            }
        }
        self.push_growing(byte);
    }

    #[cold]
    fn push_growing(&mut self, byte: u8) {
        self.extend(&[byte]);
    }

    /// Appends bytes where there is room.
    ///
    /// # Safety
    ///
    /// There must be room for them, and they must not be this value's own.
    #[inline]
    unsafe fn append(&mut self, bytes: &[u8]) {
        // SAFETY: the room behind is unique; as the caller vouches.
        unsafe {
            let end = self.start().add(self.len());
            copy(bytes, end);
            self.lengthen(bytes.len());
        }
    }

    /// Puts `bytes` where `range` is. Where the bytes are if they are unique and there is room, else to a new place.
    ///
    /// # Panics
    ///
    /// If the range is not within the bytes, or they do not fit the address space then.
    pub(crate) fn replace(&mut self, range: Range<usize>, bytes: &[u8]) {
        let length = self.len();
        assert!(
            range.start <= range.end && range.end <= length,
            "a range within the bytes"
        );
        if !self.is_unique() {
            let (before, behind) = (&self.as_slice()[..range.start], &self.as_slice()[range.end..]);
            let kept = before.len() + behind.len();
            let mut copy = Self::with_capacity(
                kept.checked_add(bytes.len())
                    .expect("bytes fit the address space"),
            );
            [before, bytes, behind].iter().for_each(|part| copy.extend(part));
            if self.block().is_some() {
                detach::record();
            }
            *self = copy;
            return;
        }
        self.reserve(bytes.len().saturating_sub(range.len()));
        // SAFETY:
        // - Unique, so all of the room may be written; there is enough for the new length.
        // - What is behind the range moves first, then the bytes fill the place; they are not this value's own.
        unsafe {
            let place = self.start().add(range.start);
            let behind = length - range.end;
            place.add(range.len()).copy_to(place.add(bytes.len()), behind);
            bytes.as_ptr().copy_to_nonoverlapping(place, bytes.len());
            self.set_len(range.start + bytes.len() + behind);
        }
    }

    /// Keeps the bytes within `range` alone. A sole owner keeps its room; a part of shared bytes stays shared, unless
    /// it is small.
    ///
    /// # Panics
    ///
    /// If the range is not within the bytes.
    pub(crate) fn keep(&mut self, range: Range<usize>) {
        if self.is_inline() || !self.is_unique() {
            *self = self.slice(range);
            return;
        }
        assert!(
            range.start <= range.end && range.end <= self.len(),
            "a range within the bytes"
        );
        // SAFETY: both stay within the block, whose bytes there are initialised.
        unsafe {
            self.data = self.data.add(range.start);
            self.set_len(range.len());
        }
    }

    /// Returns the bytes of `range`: inline if they fit, shared if they are much of what there is, else copied.
    ///
    /// # Panics
    ///
    /// If the range is not within the bytes.
    #[inline]
    pub(crate) fn slice(&self, range: Range<usize>) -> Self {
        let part = &self.as_slice()[range.clone()];
        if part.len() <= INLINE_MOST {
            return Self::copied(part);
        }
        // Too long to be inline, so neither is the whole.
        if let Some(block) = self.block {
            // SAFETY: `self` is an owner of the block.
            let bytes = unsafe { *block.header() } + Heap::SLOTS_AT;
            if bytes / KEPT_ALIVE_MOST > part.len() {
                return Self::copied(part);
            }
            // SAFETY: as above.
            unsafe { block.count() }.add_owner();
        }
        // Not by way of `part`: a sole owner may write what it points to.
        //
        // SAFETY: within the bytes, as indexing has found.
        Self::away(unsafe { self.data.add(range.start) }, self.block, part.len())
    }

    /// Gives back what room there is behind the bytes, and in front.
    pub(crate) fn shrink(&mut self) {
        let Some(block) = self.block().filter(|_| self.is_unique()) else {
            return;
        };
        // SAFETY: `self` is an owner of the block.
        if rounded(self.len()) < unsafe { *block.header() } || self.len() <= INLINE_MOST {
            *self = Self::copied(self.as_slice());
        }
    }

    /// Returns whether both are the same bytes in memory; what is inline is compared.
    pub(crate) fn ptr_eq(&self, other: &Self) -> bool {
        if self.is_inline() {
            return other.is_inline() && self.as_slice() == other.as_slice();
        }
        !other.is_inline() && self.data == other.data && self.away_len() == other.away_len()
    }

    /// Returns the bytes of the block, if there is one, and whether this is its only owner.
    pub(crate) fn block_bytes(&self) -> Option<(usize, bool)> {
        // SAFETY: `self` is an owner of the block.
        self.block()
            .map(|block| unsafe { (Heap::bytes(*block.header()), block.count().is_one()) })
    }

    #[cold]
    fn free(block: Heap) {
        // SAFETY: called by the last owner; the header is the capacity.
        unsafe { block.free(*block.header()) };
    }
}

impl Clone for Raw {
    #[inline]
    fn clone(&self) -> Self {
        if let Some(block) = self.block() {
            // SAFETY: `self` is an owner of the block.
            unsafe { block.count() }.add_owner();
        }
        // SAFETY: the copy is an owner of its own, counted above, or there is nothing to own.
        unsafe { ptr::read(self) }
    }
}

impl Drop for Raw {
    #[inline]
    fn drop(&mut self) {
        if let Some(block) = self.block() {
            // SAFETY: this owner's share is given up.
            if unsafe { block.count() }.remove_owner() {
                Self::free(block);
            }
        }
    }
}

/// Returns the last eight bytes: seven of a length and the tag.
#[inline]
const fn last_word(length: usize, tag: u8) -> NonZeroU64 {
    let length = length as u64;
    debug_assert!(length <= u64::MAX >> 8, "bytes fit the address space");
    let word = if cfg!(target_endian = "little") {
        (tag as u64) << 56 | length
    } else {
        length << 8 | tag as u64
    };
    NonZeroU64::new(word).expect("no tag is zero")
}

/// Returns the capacity of a block for so many bytes: malloc hands out steps of 16, and a word of them is its own.
fn rounded(capacity: usize) -> usize {
    const BESIDE: usize = Heap::SLOTS_AT + size_of::<usize>();
    match capacity.checked_add(BESIDE + 15) {
        Some(bytes) => bytes / 16 * 16 - BESIDE,
        None => capacity,
    }
}
