#![allow(unsafe_code)]
//! [`Block`]: the counted allocation that every node of a collection is, behind one thin pointer.
//!
//! ```text
//! Block<H, T> --> | count | header H | slot | slot | ...        as many slots as were asked for
//! ```
//!
//! How many slots there are, and which of them hold a `T`, is for the owner's header to tell: a block knows neither.
//!
//! **Invariant:** a block that has not been freed points to a live allocation of [`Block::layout`], made by the global
//! allocator, whose count and header are initialised. Copies of the pointer are not owners: who copies it counts.

use alloc::alloc::{alloc, dealloc, handle_alloc_error, realloc};
use core::alloc::Layout;
use core::marker::PhantomData;
use core::ptr::NonNull;

use crate::count::Count;

/// A pointer to a counted allocation. A word, never null, compared by address.
pub(crate) struct Block<H, T> {
    prefix: NonNull<Prefix<H>>,
    slots: PhantomData<T>,
}

/// What the allocation begins with, whatever its slots are.
#[repr(C)]
struct Prefix<H> {
    count: Count,
    header: H,
}

impl<H, T> Block<H, T> {
    /// Where the slots begin, in bytes.
    pub(crate) const SLOTS_AT: usize = size_of::<Prefix<H>>().next_multiple_of(align_of::<T>());

    const ALIGN: usize = {
        let of_prefix = align_of::<Prefix<H>>();
        let of_slots = align_of::<T>();
        let of_both = if of_prefix > of_slots { of_prefix } else { of_slots };
        // Room for a tag, also where a count is four bytes.
        if of_both > Self::TAGS { of_both } else { Self::TAGS }
    };

    /// Returns a block with one owner, its header, and room for `capacity` slots, none of them initialised. One
    /// allocation.
    ///
    /// # Panics
    ///
    /// If so many slots do not fit the address space. Memory that is not there ends the process, as for a `Vec`.
    pub(crate) fn new(header: H, capacity: usize) -> Self {
        let layout = Self::layout(capacity);
        // SAFETY: the layout has the size of a count at least.
        let start = unsafe { alloc(layout) }.cast::<Prefix<H>>();
        let Some(prefix) = NonNull::new(start) else {
            handle_alloc_error(layout)
        };
        let count = Count::one();
        // SAFETY: the allocation is new, large enough for a prefix and aligned for it.
        unsafe { prefix.write(Prefix { count, header }) };
        Self {
            prefix,
            slots: PhantomData,
        }
    }

    /// Returns the block with room for `capacity` slots instead of `old`: moved, with what fits of its slots' bytes.
    ///
    /// # Safety
    ///
    /// `old` must be the capacity that it has; the caller must be its only owner and forget every copy of this pointer.
    ///
    /// # Panics
    ///
    /// As for [`new`](Self::new); the block is as it was then.
    pub(crate) unsafe fn resized(self, old: usize, capacity: usize) -> Self {
        let layout = Self::layout(capacity);
        // SAFETY: the allocation has that layout, as the caller vouches; the new size is not zero, and `layout` has
        // found it to fit.
        let start = unsafe { realloc(self.prefix.as_ptr().cast(), Self::layout(old), layout.size()) };
        let Some(prefix) = NonNull::new(start.cast()) else {
            handle_alloc_error(layout)
        };
        Self {
            prefix,
            slots: PhantomData,
        }
    }

    /// Drops the header and gives the allocation back. What the slots hold is not dropped.
    ///
    /// # Safety
    ///
    /// `capacity` must be the capacity that it has, and the last owner must be gone ([`Count::remove_owner`]).
    pub(crate) unsafe fn free(self, capacity: usize) {
        // SAFETY: nobody else reaches it, and its prefix is initialised; the layout is the one it was made with.
        unsafe {
            self.prefix.drop_in_place();
            dealloc(self.prefix.as_ptr().cast(), Self::layout(capacity));
        }
    }

    /// Returns the count of owners.
    ///
    /// # Safety
    ///
    /// The block must not be freed during `'a`.
    #[inline]
    pub(crate) unsafe fn count<'a>(self) -> &'a Count {
        // SAFETY: it is live, as the caller vouches, and its count initialised; nobody writes a count but by its methods.
        unsafe { &(*self.prefix.as_ptr()).count }
    }

    /// Returns the header.
    ///
    /// # Safety
    ///
    /// The block must not be freed, and its header not be written, during `'a`.
    #[inline]
    pub(crate) unsafe fn header<'a>(self) -> &'a H {
        // SAFETY: as the caller vouches.
        unsafe { &(*self.prefix.as_ptr()).header }
    }

    /// Returns where the header is.
    #[inline]
    pub(crate) fn header_ptr(self) -> *mut H {
        // SAFETY: it stays inside the allocation, or what was one: no reference is made.
        unsafe { &raw mut (*self.prefix.as_ptr()).header }
    }

    /// Returns where the first slot is.
    #[inline]
    pub(crate) fn slots(self) -> *mut T {
        self.prefix.as_ptr().wrapping_byte_add(Self::SLOTS_AT).cast()
    }

    /// Returns how many bytes a block with so many slots takes.
    pub(crate) fn bytes(capacity: usize) -> usize {
        Self::layout(capacity).size()
    }

    /// Returns a number that no other live block has.
    #[inline]
    pub(crate) fn address(self) -> usize {
        self.prefix.addr().get()
    }

    /// Returns the block as one of other types, for pointers that a tag tells apart.
    #[inline]
    pub(crate) fn cast<I, U>(self) -> Block<I, U> {
        Block {
            prefix: self.prefix.cast(),
            slots: PhantomData,
        }
    }

    /// How many tags a pointer can have: as many as alignment leaves.
    pub(crate) const TAGS: usize = 8;

    /// Returns the pointer with a tag in its lowest bits, to tell kinds of blocks apart. Unless the tag is 0, no block is
    /// there: [`untagged`](Self::untagged) gives the block back. The pointer must have no tag.
    #[inline]
    pub(crate) fn tagged(self, tag: usize) -> Self {
        debug_assert!(tag < Self::TAGS && self.tag() == 0);
        self.at(self.prefix.as_ptr().wrapping_byte_add(tag))
    }

    /// Returns the block whose pointer was [`tagged`](Self::tagged).
    #[inline]
    pub(crate) fn untagged(self) -> Self {
        self.at(self
            .prefix
            .as_ptr()
            .map_addr(|address| address & !(Self::TAGS - 1)))
    }

    /// Returns the pointer's tag.
    #[inline]
    pub(crate) fn tag(self) -> usize {
        self.address() & (Self::TAGS - 1)
    }

    #[inline]
    fn at(self, address: *mut Prefix<H>) -> Self {
        // SAFETY: some bytes forth or back inside of an allocation, which never begins at 0.
        let prefix = unsafe { NonNull::new_unchecked(address) };
        Self { prefix, ..self }
    }

    fn layout(capacity: usize) -> Layout {
        let bytes = capacity
            .checked_mul(size_of::<T>())
            .and_then(|bytes| bytes.checked_add(Self::SLOTS_AT));
        bytes
            .and_then(|bytes| Layout::from_size_align(bytes, Self::ALIGN).ok())
            .expect("a collection fits the address space")
    }
}

impl<H, T> Clone for Block<H, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<H, T> Copy for Block<H, T> {}

impl<H, T> PartialEq for Block<H, T> {
    fn eq(&self, other: &Self) -> bool {
        self.prefix == other.prefix
    }
}

impl<H, T> Eq for Block<H, T> {}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_block_keeps_its_header_and_slots_when_it_grows() {
        let mut block = Block::<u8, u64>::new(7, 2);
        // SAFETY: slots within the capacity; there is one owner, who frees it once.
        unsafe {
            block.slots().write(1);
            block.slots().add(1).write(2);
            block = block.resized(2, 400);
            assert_eq!((*block.header(), *block.slots().add(1)), (7, 2));
            assert!(block.count().is_one());
            assert!(block.count().remove_owner());
            block.free(400);
        }
    }

    #[test]
    fn a_tagged_pointer_is_told_apart_and_gives_the_block_back() {
        let block = Block::<u8, u64>::new(7, 1);
        for tag in 0..Block::<u8, u64>::TAGS {
            assert_eq!((block.tag(), block.tagged(tag).tag()), (0, tag));
            assert!((block.tagged(tag) == block) == (tag == 0));
            assert!(block.tagged(tag).untagged() == block);
        }
        // SAFETY: its only owner frees it.
        unsafe { block.free(1) };
    }

    #[test]
    fn slots_are_aligned_whatever_the_header_is() {
        #[repr(align(64))]
        struct Line;
        let block = Block::<u8, Line>::new(1, 1);
        assert_eq!(block.slots().addr() % 64, 0);
        assert_eq!(Block::<u32, u8>::SLOTS_AT, size_of::<usize>() + 8);
        // SAFETY: its only owner frees it.
        unsafe { block.free(1) };
    }

    #[test]
    #[should_panic(expected = "fits the address space")]
    fn more_slots_than_memory_are_refused() {
        let _ = Block::<(), u64>::new((), usize::MAX / 8);
    }
}
