#![allow(unsafe_code)]
//! The nodes of a [`RadixMap`](super::RadixMap): counted and packed. `slots.rs` has what is in them, `memory.rs` where
//! that is; there is no other `unsafe`.
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

use alloc::vec;
use core::marker::PhantomData;
use core::mem;
use core::ptr::NonNull;

use super::memory::{Head, TAG_MASK, capacity, layout, release, with_tag, without_tag};
use super::slots::{Builder, Slots, SlotsMut};
use super::{LEAF_SLOTS, NODE_SLOTS, all_slots};
use crate::count::Count;
use crate::detach;
use crate::shared::Shared;

const TAG_LEAF: usize = 0;
const TAG_INNER: usize = 1;
const TAG_FILL: usize = 2;

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

/// What a node is that has one owner, for writing: of its slots, which are in use.
pub(super) enum ViewMut<'a, T> {
    Leaf(u64, &'a mut [T]),
    Inner(u64, &'a mut [Node<T>]),
    Fill(&'a mut T),
}

/// What a node held: of its slots, which were in use.
pub(super) enum Content<T> {
    Leaf(u64, vec::IntoIter<T>),
    Inner(u64, vec::IntoIter<Node<T>>),
    Fill(T),
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
            // SAFETY: the tag tells the type of the entries; `self` owns the node while it is borrowed.
            TAG_LEAF => View::Leaf(unsafe { Slots::of(self.head()) }),
            // SAFETY: as above.
            TAG_INNER => View::Inner(unsafe { Slots::of(self.head()) }),
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

    /// Returns what it is, for writing; copies it if it is shared. If `T::clone` panics, the node is as it was.
    pub(super) fn view_mut(&mut self) -> ViewMut<'_, T>
    where
        T: Clone,
    {
        match self.tag() {
            TAG_LEAF => {
                let (bits, values) = self.leaf_mut().into_entries();
                ViewMut::Leaf(bits, values)
            }
            TAG_INNER => {
                let (bits, children) = self.inner_mut().into_entries();
                ViewMut::Inner(bits, children)
            }
            _ => ViewMut::Fill(self.fill_mut()),
        }
    }

    fn fill_mut(&mut self) -> &mut T
    where
        T: Clone,
    {
        if !self.count().is_one()
            && let View::Fill(value) = self.view()
        {
            *self = Self::fill(Shared::new(value.clone()));
            detach::record();
        }
        assert!(self.tag() == TAG_FILL);
        // SAFETY: the tag says that `Shared<T>::into_raw` made it; this is the sole owner, mutably borrowed.
        unsafe { Shared::value_of_mut(self.head().cast()) }
    }

    /// Returns what it holds, moved out if there is no other owner, else a clone.
    pub(super) fn into_content(mut self) -> Content<T>
    where
        T: Clone,
    {
        match self.tag() {
            TAG_LEAF => {
                let (bits, values) = self.leaf_mut().take_all();
                Content::Leaf(bits, values.into_iter())
            }
            TAG_INNER => {
                let (bits, children) = self.inner_mut().take_all();
                Content::Inner(bits, children.into_iter())
            }
            _ => {
                let head = self.head().cast();
                mem::forget(self);
                // SAFETY: the tag says that `Shared<T>::into_raw` made it, and this owner's share is given up.
                Content::Fill(unsafe { Shared::<T>::from_raw(head) }.unwrap_or_clone())
            }
        }
    }

    #[cold]
    fn split_fill(&mut self) {
        let mut builder = Builder::with_room(NODE_SLOTS);
        for _ in 0..NODE_SLOTS {
            builder.push(self.clone());
        }
        *self = Self::inner(builder, all_slots(1));
        detach::record();
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
        detach::record();
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
