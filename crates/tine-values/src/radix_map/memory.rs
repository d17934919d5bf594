#![allow(unsafe_code)]
//! The memory of a leaf or an inner node: how much it is, where the entries are, and how it is given back.
//!
//! **Invariant:** a node's room is that of [`capacity`] for as many entries as it has bits set, unless a builder or a
//! write is at work on it.

use alloc::alloc::{dealloc, handle_alloc_error, realloc};
use core::alloc::Layout;
use core::ptr::{self, NonNull};

use super::slots::Slots;
use crate::count::Count;

/// The bits of a pointer that tell what it points to.
pub(super) const TAG_MASK: usize = 0b11;

/// What a leaf and an inner node begin with. A fill begins with its count too.
#[repr(C)]
pub(super) struct Head {
    pub(super) count: Count,
    pub(super) bits: u64,
}

// The tag needs two low bits of every address.
const _: () = assert!(align_of::<Head>() > TAG_MASK && align_of::<Count>() > TAG_MASK);

/// Returns how many entries a node with `length` of them has room for. Small steps keep sparse nodes small,
/// larger ones later keep inserts from moving the node every time.
#[inline]
pub(super) const fn capacity(length: usize) -> usize {
    match length {
        0..=2 => {
            if length == 2 {
                2
            } else {
                1
            }
        }
        3..=4 => 4,
        5..=32 => length.next_multiple_of(8),
        _ => length.next_multiple_of(16),
    }
}

#[inline]
pub(super) fn slot_bit(slot: usize) -> u64 {
    debug_assert!(slot < 64);
    1 << (slot & 63)
}

/// Returns the number of the entry that belongs to `slot`.
#[inline]
pub(super) fn rank(bits: u64, slot: usize) -> usize {
    let before = slot_bit(slot) - 1;
    // Where the map is dense, which upper nodes mostly are, counting can be spared: without a machine
    // instruction for it, as on plain x86-64, it takes longer than finding the node in the cache.
    if bits & before == before {
        slot
    } else {
        (bits & before).count_ones() as usize
    }
}

#[inline]
pub(super) fn with_tag(head: NonNull<Head>, tag: usize) -> NonNull<Head> {
    head.map_addr(|address| address | tag)
}

#[inline]
pub(super) fn without_tag(tagged: NonNull<Head>) -> NonNull<Head> {
    // SAFETY: an allocation's address is not zero, and it is all above the tag.
    unsafe { NonNull::new_unchecked(tagged.as_ptr().map_addr(|address| address & !TAG_MASK)) }
}

/// Where the entries begin, counted from the head.
const fn entries_offset<E>() -> usize {
    size_of::<Head>().next_multiple_of(align_of::<E>())
}

#[inline]
pub(super) fn layout<E>(capacity: usize) -> Layout {
    let bytes = entries_offset::<E>() + capacity * size_of::<E>();
    let align = if align_of::<E>() > align_of::<Head>() {
        align_of::<E>()
    } else {
        align_of::<Head>()
    };
    Layout::from_size_align(bytes, align).expect("a node of at most 64 entries fits in memory")
}

/// Returns where the entries begin.
#[inline]
pub(super) fn entries<E>(head: NonNull<Head>) -> NonNull<E> {
    // SAFETY: every node is allocated with at least this offset and one entry (`layout`).
    unsafe { head.byte_add(entries_offset::<E>()).cast() }
}

/// Moves an allocation to another size and returns where it is.
///
/// # Safety
///
/// `head` must be an allocation for `from` entries of type `E` that the caller may move, and the initialised
/// ones must fit in `to`.
#[cold]
pub(super) unsafe fn resize<E>(head: NonNull<Head>, from: usize, to: usize) -> NonNull<Head> {
    let new = layout::<E>(to);
    // SAFETY: allocated with this layout; the new size is not zero, and `layout` has checked it.
    let moved = unsafe { realloc(head.as_ptr().cast(), layout::<E>(from), new.size()) };
    let Some(moved) = NonNull::new(moved) else {
        handle_alloc_error(new)
    };
    moved.cast()
}

/// Gives up one owner's share, and frees the node if it was the last.
///
/// # Safety
///
/// `head` must be a leaf or an inner node with entries of type `E`, and the share must be the caller's.
#[inline]
pub(super) unsafe fn release<E>(head: NonNull<Head>) {
    // SAFETY: the caller's share keeps the node alive until it is given up.
    if unsafe { head.as_ref() }.count.remove_likely_sole_owner() {
        // SAFETY: nobody else reaches the node, and nobody has freed it.
        let length = unsafe { Slots::<'_, E>::of(head) }.entries().len();
        // SAFETY: the last owner is gone, so nobody else reaches the node, and its room is that of its length.
        unsafe { free::<E>(head, length, capacity(length)) };
    }
}

/// Drops the first `length` entries and frees the allocation, even if a drop panics.
///
/// # Safety
///
/// `head` must be an allocation for `capacity` entries of type `E`, the first `length` of which are
/// initialised, that nobody else uses from now on.
pub(super) unsafe fn free<E>(head: NonNull<Head>, length: usize, capacity: usize) {
    struct Free {
        head: NonNull<Head>,
        layout: Layout,
    }
    impl Drop for Free {
        fn drop(&mut self) {
            // SAFETY: the head is initialised and was allocated with this layout; nothing uses it any more.
            unsafe {
                self.head.drop_in_place();
                dealloc(self.head.as_ptr().cast(), self.layout);
            }
        }
    }
    let _free = Free {
        head,
        layout: layout::<E>(capacity),
    };
    let dropped = ptr::slice_from_raw_parts_mut(entries::<E>(head).as_ptr(), length);
    // SAFETY: the caller vouches that they are initialised and not used again. A slice's drop goes on with
    // the others when one panics.
    unsafe { dropped.drop_in_place() };
}
