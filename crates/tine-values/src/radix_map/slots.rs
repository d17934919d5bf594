#![allow(unsafe_code)]
//! What a leaf or an inner node has in its slots: read through [`Slots`], written through [`SlotsMut`], made by a
//! [`Builder`].
//!
//! **Invariant:** those of `node.rs`, of which these types keep the second and the third.

use alloc::alloc::{alloc, handle_alloc_error};
use alloc::vec::Vec;
use core::marker::PhantomData;
use core::mem;
use core::ptr::NonNull;
use core::slice;

use super::memory::{
    Head, TAG_MASK, capacity, entries, free, layout, rank, release, resize, slot_bit, with_tag, without_tag,
};
use crate::count::Count;
use crate::detach;

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
    /// Returns the slots of a node.
    ///
    /// # Safety
    ///
    /// `head` must be a leaf or an inner node with entries of type `E`, which has an owner, borrowed for `'a`.
    #[inline]
    pub(super) unsafe fn of(head: NonNull<Head>) -> Self {
        Self {
            head,
            entries: PhantomData,
        }
    }

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
    pub(super) unsafe fn own(owner: &'a mut NonNull<Head>) -> Self
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
        detach::record();
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

    /// Returns which slots are in use, and what they hold, in order, for as long as the node is borrowed.
    pub(super) fn into_entries(self) -> (u64, &'a mut [E]) {
        let bits = self.bits();
        // SAFETY: as many entries as there are bits are initialised; the sole owner is borrowed mutably for 'a and `self` is
        // gone, so this is the only way to them.
        let entries = unsafe {
            slice::from_raw_parts_mut(entries::<E>(self.head()).as_ptr(), bits.count_ones() as usize)
        };
        (bits, entries)
    }

    /// Takes out what all slots hold, and returns which were in use.
    pub(super) fn take_all(&mut self) -> (u64, Vec<E>) {
        let bits = self.bits();
        let length = bits.count_ones() as usize;
        let mut all = Vec::with_capacity(length);
        // SAFETY: as many entries are initialised; they are moved out, and the bits and the length say so. Nothing here can
        // panic.
        unsafe {
            entries::<E>(self.head())
                .as_ptr()
                .copy_to_nonoverlapping(all.as_mut_ptr(), length);
            self.head().as_mut().bits = 0;
            all.set_len(length);
        }
        self.set_room(length, 0);
        (bits, all)
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
    pub(super) fn finish(self, bits: u64) -> NonNull<Head> {
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
