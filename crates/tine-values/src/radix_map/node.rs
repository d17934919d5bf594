#![allow(unsafe_code)]
//! The nodes of a [`RadixMap`](super::RadixMap): counted, packed, and all the `unsafe` there is.
//!
//! ```text
//! Node --tagged--> leaf   | count | bits | value  | value  | ...   one for each bit that is set
//!                  inner  | count | bits | Node   | Node   | ...   one for each bit that is set
//!                  fill   | count | value |                        stands for every key of its range
//! ```
//!
//! Only the slots in use take space, in the order of their numbers: slot `s` is entry number "how many
//! bits below `s` are set". A node on the way to one key takes 24 bytes, not a page.
//!
//! **Invariants**, which everything here relies on:
//! 1. A [`Node`] is one of the owners that its allocation's count counts; its tag tells what was allocated.
//! 2. The first `bits.count_ones()` entries are initialised, no others; the room is `capacity` of that number.
//! 3. Bits and entries are written only through a [`SlotsMut`], which exists only while there is one owner,
//!    mutably borrowed. So all others only read, on any thread.

use alloc::alloc::{alloc, dealloc, handle_alloc_error, realloc};
use core::alloc::Layout;
use core::marker::PhantomData;
use core::mem;
use core::ptr::{self, NonNull};
use core::slice;

use super::{LEAF_SLOTS, NODE_SLOTS, all_slots};
use crate::count::Count;
use crate::shared::Shared;

const TAG_MASK: usize = 0b11;
const TAG_LEAF: usize = 0;
const TAG_INNER: usize = 1;
const TAG_FILL: usize = 2;

/// What a leaf and an inner node begin with. A fill begins with its count too.
#[repr(C)]
struct Head {
    count: Count,
    bits: u64,
}

// The tag needs two low bits of every address.
const _: () = assert!(align_of::<Head>() > TAG_MASK && align_of::<Count>() > TAG_MASK);

/// One owner of a node.
#[repr(transparent)]
pub(super) struct Node<T> {
    tagged: NonNull<Head>,
    owns: PhantomData<T>,
}

/// What a node is.
pub(super) enum View<'a, T> {
    Leaf(Slots<'a, T>),
    Inner(Slots<'a, Node<T>>),
    Fill(&'a T),
}

// SAFETY: owners on several threads share `&T`, and the last one, on any thread, drops the values.
unsafe impl<T: Send + Sync> Send for Node<T> {}
// SAFETY: as for `Send`, since `&Node<T>` can be cloned into an owner.
unsafe impl<T: Send + Sync> Sync for Node<T> {}

impl<T> Node<T> {
    /// Returns a leaf or an inner node with one slot in use.
    pub(super) fn leaf_of_one(slot: usize, value: T) -> Self {
        let mut builder = Builder::with_room(1);
        builder.push(value);
        Self::leaf(builder, 1 << slot)
    }

    /// Returns an inner node with one slot in use.
    pub(super) fn inner_of_one(slot: usize, child: Self) -> Self {
        let mut builder = Builder::with_room(1);
        builder.push(child);
        Self::inner(builder, 1 << slot)
    }

    /// Returns a leaf that has the builder's entries at the slots whose bits are set.
    pub(super) fn leaf(builder: Builder<T>, bits: u64) -> Self {
        Self {
            tagged: with_tag(builder.finish(bits), TAG_LEAF),
            owns: PhantomData,
        }
    }

    /// Returns an inner node that has the builder's entries at the slots whose bits are set.
    pub(super) fn inner(builder: Builder<Self>, bits: u64) -> Self {
        Self {
            tagged: with_tag(builder.finish(bits), TAG_INNER),
            owns: PhantomData,
        }
    }

    /// Returns a node that stands for `value` at every key of its range, wherever it is put.
    pub(super) fn fill(value: Shared<T>) -> Self {
        Self {
            tagged: with_tag(value.into_raw().cast(), TAG_FILL),
            owns: PhantomData,
        }
    }

    #[inline]
    fn tag(&self) -> usize {
        self.tagged.addr().get() & TAG_MASK
    }

    #[inline]
    fn head(&self) -> NonNull<Head> {
        without_tag(self.tagged)
    }

    #[inline]
    fn count(&self) -> &Count {
        // SAFETY: every kind of allocation begins with its count, and lives while `self` owns it.
        unsafe { self.head().cast::<Count>().as_ref() }
    }

    #[inline]
    pub(super) fn view(&self) -> View<'_, T> {
        match self.tag() {
            TAG_LEAF => View::Leaf(Slots {
                head: self.head(),
                entries: PhantomData,
            }),
            TAG_INNER => View::Inner(Slots {
                head: self.head(),
                entries: PhantomData,
            }),
            // SAFETY: the tag says that `Shared<T>::into_raw` made it; `self` owns it while it is
            // borrowed, and a fill is never written.
            _ => View::Fill(unsafe { Shared::value_of(self.head().cast()) }),
        }
    }

    /// Returns whether both are owners of the same node.
    #[inline]
    pub(super) fn ptr_eq(&self, other: &Self) -> bool {
        self.tagged == other.tagged
    }

    /// Returns how many owners the node has.
    pub(super) fn owners(&self) -> usize {
        self.count().owners()
    }

    /// Returns a number that no other living node has.
    pub(super) fn address(&self) -> usize {
        self.tagged.addr().get()
    }

    /// Returns how many bytes this one allocation takes.
    pub(super) fn bytes(&self) -> usize {
        match self.view() {
            View::Leaf(slots) => layout::<T>(capacity(slots.entries().len())).size(),
            View::Inner(slots) => layout::<Self>(capacity(slots.entries().len())).size(),
            View::Fill(_) => Shared::<T>::BYTES,
        }
    }

    /// Returns the slots of an inner node for writing; copies it if it is shared, and a fill becomes an
    /// inner node whose slots are all that fill.
    ///
    /// # Panics
    ///
    /// If the node is a leaf.
    #[inline]
    pub(super) fn inner_mut(&mut self) -> SlotsMut<'_, Self> {
        if self.tag() == TAG_FILL {
            self.split_fill();
        }
        assert!(self.tag() == TAG_INNER, "a leaf where an inner node belongs");
        // SAFETY: the tag says that the entries are nodes.
        unsafe { SlotsMut::own(&mut self.tagged) }
    }

    /// Returns the slots of a leaf for writing; copies it if it is shared, and a fill becomes a leaf whose
    /// slots are all clones of its value.
    ///
    /// # Panics
    ///
    /// If the node is an inner node; if `T::clone` panics, with the node as it was.
    #[inline]
    pub(super) fn leaf_mut(&mut self) -> SlotsMut<'_, T>
    where
        T: Clone,
    {
        if self.tag() == TAG_FILL {
            self.split_fill_to_leaf();
        }
        assert!(self.tag() == TAG_LEAF, "an inner node where a leaf belongs");
        // SAFETY: the tag says that the entries are values.
        unsafe { SlotsMut::own(&mut self.tagged) }
    }

    #[cold]
    fn split_fill(&mut self) {
        let mut builder = Builder::with_room(NODE_SLOTS);
        for _ in 0..NODE_SLOTS {
            builder.push(self.clone());
        }
        *self = Self::inner(builder, all_slots(1));
    }

    #[cold]
    fn split_fill_to_leaf(&mut self)
    where
        T: Clone,
    {
        let View::Fill(value) = self.view() else { return };
        let mut builder = Builder::with_room(LEAF_SLOTS);
        for _ in 0..LEAF_SLOTS {
            builder.push(value.clone());
        }
        *self = Self::leaf(builder, all_slots(0));
    }
}

impl<T> Clone for Node<T> {
    #[inline]
    fn clone(&self) -> Self {
        self.count().add_owner();
        Self {
            tagged: self.tagged,
            owns: PhantomData,
        }
    }
}

impl<T> Drop for Node<T> {
    #[inline]
    fn drop(&mut self) {
        match self.tag() {
            // SAFETY: the tag tells the type of the entries, and this owner's share is given up.
            TAG_LEAF => unsafe { release::<T>(self.head()) },
            // SAFETY: as above. Recursion goes no deeper than the tree is high: 16 levels.
            TAG_INNER => unsafe { release::<Self>(self.head()) },
            // SAFETY: the tag says that `Shared<T>::into_raw` made it, and this owner's share is given up.
            _ => drop(unsafe { Shared::<T>::from_raw(self.head().cast()) }),
        }
    }
}

/// The slots of a leaf or an inner node, for reading.
pub(super) struct Slots<'a, E> {
    head: NonNull<Head>,
    entries: PhantomData<&'a E>,
}

impl<E> Clone for Slots<'_, E> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<E> Copy for Slots<'_, E> {}

// SAFETY: it is a `&[E]` and its bits.
unsafe impl<E: Sync> Send for Slots<'_, E> {}
// SAFETY: as for `Send`.
unsafe impl<E: Sync> Sync for Slots<'_, E> {}

impl<'a, E> Slots<'a, E> {
    /// Returns which slots are in use.
    #[inline]
    pub(super) fn bits(self) -> u64 {
        // SAFETY: the node is borrowed for 'a, so it has an owner and nobody writes (invariant 3).
        unsafe { self.head.as_ref().bits }
    }

    /// Returns what the slots in use hold, in order.
    #[inline]
    pub(super) fn entries(self) -> &'a [E] {
        // SAFETY: as many entries as there are bits are initialised (invariant 2); borrowed for 'a.
        unsafe {
            slice::from_raw_parts(
                entries::<E>(self.head).as_ptr(),
                self.bits().count_ones() as usize,
            )
        }
    }

    /// Returns what `slot` holds.
    #[inline]
    pub(super) fn get(self, slot: usize) -> Option<&'a E> {
        let bits = self.bits();
        if bits & slot_bit(slot) == 0 {
            return None;
        }
        // SAFETY: the slot's bit is set, so its entry is initialised (invariant 2); borrowed for 'a.
        Some(unsafe { entries::<E>(self.head).add(rank(bits, slot)).as_ref() })
    }
}

/// The slots of a node that has one owner, for writing.
pub(super) struct SlotsMut<'a, E> {
    /// The owner, which is written when the node moves. Invariant: the node's entries are `E`s, the count is
    /// one, and the owner is borrowed for 'a.
    owner: &'a mut NonNull<Head>,
    entries: PhantomData<&'a mut E>,
}

impl<'a, E> SlotsMut<'a, E> {
    /// Makes `owner` the sole owner of its node, by copying the node if it is shared.
    ///
    /// # Safety
    ///
    /// `owner` must be a leaf's or an inner node's, with entries of type `E`.
    #[inline]
    unsafe fn own(owner: &'a mut NonNull<Head>) -> Self
    where
        E: Clone,
    {
        let head = without_tag(*owner);
        // SAFETY: an owner's node lives.
        if !unsafe { head.as_ref() }.count.is_one() {
            // SAFETY: the caller vouches for the entries.
            unsafe { Self::copy(owner) };
        }
        Self {
            owner,
            entries: PhantomData,
        }
    }

    /// Gives `owner` a node of its own, with clones of the entries.
    ///
    /// # Safety
    ///
    /// As for `own`.
    #[cold]
    unsafe fn copy(owner: &mut NonNull<Head>)
    where
        E: Clone,
    {
        let slots = Slots::<'_, E> {
            head: without_tag(*owner),
            entries: PhantomData,
        };
        let mut builder = Builder::with_room(slots.entries().len());
        for entry in slots.entries() {
            builder.push(entry.clone());
        }
        let tag = owner.addr().get() & TAG_MASK;
        let old = mem::replace(owner, with_tag(builder.finish(slots.bits()), tag));
        // SAFETY: `old` was this owner's, of the same type, and is not used again.
        unsafe { release::<E>(without_tag(old)) };
    }

    #[inline]
    fn head(&self) -> NonNull<Head> {
        without_tag(*self.owner)
    }

    /// Returns which slots are in use.
    #[inline]
    pub(super) fn bits(&self) -> u64 {
        self.as_slots().bits()
    }

    /// Returns the same for reading.
    #[inline]
    pub(super) fn as_slots(&self) -> Slots<'_, E> {
        Slots {
            head: self.head(),
            entries: PhantomData,
        }
    }

    /// Returns what `slot` holds, for as long as the node is borrowed.
    #[inline]
    pub(super) fn into_mut(self, slot: usize) -> Option<&'a mut E> {
        let bits = self.bits();
        if bits & slot_bit(slot) == 0 {
            return None;
        }
        // SAFETY: the slot's bit is set, so its entry is initialised; the sole owner is borrowed mutably
        // for 'a and `self` is gone, so this is the only way to it.
        Some(unsafe { entries::<E>(self.head()).add(rank(bits, slot)).as_mut() })
    }

    /// Returns what `slot` holds.
    pub(super) fn get_mut(&mut self, slot: usize) -> Option<&mut E> {
        SlotsMut {
            owner: &mut *self.owner,
            entries: PhantomData,
        }
        .into_mut(slot)
    }

    /// Puts `entry` at `slot` and returns what was there.
    #[inline]
    pub(super) fn insert(&mut self, slot: usize, entry: E) -> Option<E> {
        let bits = self.bits();
        if let Some(old) = self.get_mut(slot) {
            return Some(mem::replace(old, entry));
        }
        let length = bits.count_ones() as usize;
        self.set_room(length, length + 1);
        let at = rank(bits, slot);
        // SAFETY:
        // - There is room for one more entry, so `at + 1 + (length - at)` is within it.
        // - The entries from `at` on move up by one, and the gap is written before the bit says so.
        // - Nothing here can panic.
        unsafe {
            let place = entries::<E>(self.head()).add(at);
            place.copy_to(place.add(1), length - at);
            place.write(entry);
            self.head().as_mut().bits = bits | slot_bit(slot);
        }
        None
    }

    /// Takes out what `slot` holds.
    pub(super) fn remove(&mut self, slot: usize) -> Option<E> {
        let bits = self.bits();
        if bits & slot_bit(slot) == 0 {
            return None;
        }
        let (at, length) = (rank(bits, slot), bits.count_ones() as usize);
        // SAFETY: the entry is initialised; it is moved out, the bit says so, and those above it move down
        // over it. Nothing here can panic.
        let entry = unsafe {
            let place = entries::<E>(self.head()).add(at);
            let entry = place.read();
            place.add(1).copy_to(place, length - at - 1);
            self.head().as_mut().bits = bits & !slot_bit(slot);
            entry
        };
        self.set_room(length, length - 1);
        Some(entry)
    }

    /// Moves the node, if need be, from the room that goes with `from` entries to that of `to`.
    #[inline]
    fn set_room(&mut self, from: usize, to: usize) {
        if capacity(from) != capacity(to) {
            let tag = self.owner.addr().get() & TAG_MASK;
            // SAFETY: `from` entries' room is what the node has (invariant 2); the caller keeps as many
            // entries as fit in both.
            let head = unsafe { resize::<E>(self.head(), capacity(from), capacity(to)) };
            *self.owner = with_tag(head, tag);
        }
    }
}

/// A node in the making: entries are pushed in the order of their slots. Dropped unfinished, it drops them.
pub(super) struct Builder<E> {
    /// Invariant: room for `capacity(room)` entries, the first `length` of which are initialised.
    head: NonNull<Head>,
    room: usize,
    length: usize,
    owns: PhantomData<E>,
}

impl<E> Builder<E> {
    /// Returns a builder that `room` entries can be pushed to.
    #[inline]
    pub(super) fn with_room(room: usize) -> Self {
        let layout = layout::<E>(capacity(room));
        // SAFETY: the layout holds a head, so its size is not zero.
        let Some(head) = NonNull::new(unsafe { alloc(layout) }) else {
            handle_alloc_error(layout)
        };
        let head = head.cast::<Head>();
        // SAFETY: freshly allocated with room and alignment for a head.
        unsafe {
            head.write(Head {
                count: Count::one(),
                bits: 0,
            });
        };
        Self {
            head,
            room,
            length: 0,
            owns: PhantomData,
        }
    }

    /// Returns how many entries there are.
    pub(super) fn len(&self) -> usize {
        self.length
    }

    /// Adds an entry.
    ///
    /// # Panics
    ///
    /// If there is no room for it.
    #[inline]
    pub(super) fn push(&mut self, entry: E) {
        assert!(self.length < self.room, "a node has no room for another entry");
        // SAFETY: the place is within the room and not yet initialised.
        unsafe { entries::<E>(self.head).add(self.length).write(entry) };
        self.length += 1;
    }

    /// Returns the node, whose entries belong to the slots in `bits`.
    #[inline]
    fn finish(self, bits: u64) -> NonNull<Head> {
        assert!(
            bits.count_ones() as usize == self.length,
            "a node needs one entry for each slot in use"
        );
        let mut head = self.head;
        if capacity(self.room) != capacity(self.length) {
            // SAFETY: the room is what was allocated, and the entries fit in less.
            head = unsafe { resize::<E>(head, capacity(self.room), capacity(self.length)) };
        }
        // SAFETY: the head is initialised and nobody else knows of it.
        unsafe { head.as_mut().bits = bits };
        mem::forget(self);
        head
    }
}

impl<E> Drop for Builder<E> {
    fn drop(&mut self) {
        // SAFETY: unfinished, so `length` entries are initialised, in the room allocated, and nobody else
        // knows of them.
        unsafe { free::<E>(self.head, self.length, capacity(self.room)) };
    }
}

/// Returns how many entries a node with `length` of them has room for. Small steps keep sparse nodes small,
/// larger ones later keep inserts from moving the node every time.
#[inline]
const fn capacity(length: usize) -> usize {
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
fn slot_bit(slot: usize) -> u64 {
    debug_assert!(slot < 64);
    1 << (slot & 63)
}

/// Returns the number of the entry that belongs to `slot`.
#[inline]
fn rank(bits: u64, slot: usize) -> usize {
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
fn with_tag(head: NonNull<Head>, tag: usize) -> NonNull<Head> {
    head.map_addr(|address| address | tag)
}

#[inline]
fn without_tag(tagged: NonNull<Head>) -> NonNull<Head> {
    // SAFETY: an allocation's address is not zero, and it is all above the tag.
    unsafe { NonNull::new_unchecked(tagged.as_ptr().map_addr(|address| address & !TAG_MASK)) }
}

/// Where the entries begin, counted from the head.
const fn entries_offset<E>() -> usize {
    size_of::<Head>().next_multiple_of(align_of::<E>())
}

#[inline]
fn layout<E>(capacity: usize) -> Layout {
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
fn entries<E>(head: NonNull<Head>) -> NonNull<E> {
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
unsafe fn resize<E>(head: NonNull<Head>, from: usize, to: usize) -> NonNull<Head> {
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
unsafe fn release<E>(head: NonNull<Head>) {
    // SAFETY: the caller's share keeps the node alive until it is given up.
    if unsafe { head.as_ref() }.count.remove_likely_sole_owner() {
        let length = Slots::<'_, E> {
            head,
            entries: PhantomData,
        }
        .entries()
        .len();
        // SAFETY: the last owner is gone, so nobody else reaches the node; invariant 2.
        unsafe { free::<E>(head, length, capacity(length)) };
    }
}

/// Drops the first `length` entries and frees the allocation, even if a drop panics.
///
/// # Safety
///
/// `head` must be an allocation for `capacity` entries of type `E`, the first `length` of which are
/// initialised, that nobody else uses from now on.
unsafe fn free<E>(head: NonNull<Head>, length: usize, capacity: usize) {
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
