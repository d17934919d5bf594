#![allow(unsafe_code)]
//! [`LeafMut`]: the elements of a leaf without another owner, to be written.
//!
//! Elements stay together and may begin at any slot, so that both ends can grow. Nothing here calls the caller's code
//! while the leaf's header says anything but what its slots hold.

use core::ops::Range;
use core::ptr;

use crate::detach;

use super::node::{LeafBlock, LeafHead, Node};

/// A leaf of a sole owner. The elements it has are what [`Node::elements`] returns.
pub(super) struct LeafMut<'a, T> {
    node: &'a mut Node<T>,
}

impl<T> Node<T> {
    /// Returns the leaf for writing, if it is one without another owner.
    #[inline]
    pub(super) fn leaf_mut(&mut self) -> Option<LeafMut<'_, T>> {
        (self.is_leaf() && self.is_unique()).then_some(LeafMut { node: self })
    }

    /// Returns where the element at `index` is, for writing, if this is a leaf without another owner that has it.
    #[inline]
    pub(super) fn own_leaf_slot(&mut self, index: usize) -> Option<*mut T> {
        // Read once: the count's load lets nothing be reused that was read before it.
        let block = self.leaf_block();
        if !self.is_leaf() || !self.is_unique() {
            return None;
        }
        // SAFETY: it is a leaf, borrowed, so not written.
        let head = unsafe { block.header() };
        let start = usize::from(head.start);
        (index < head.len()).then(|| block.slots().wrapping_add(start + index))
    }

    /// Returns the leaf at the end of a root, the root itself or a trunk's tail, if no other list reaches it.
    #[inline]
    pub(super) fn last_leaf_mut(&mut self) -> Option<LeafMut<'_, T>> {
        if !self.is_unique() {
            return None;
        }
        let leaf = if self.is_leaf() {
            self
        } else {
            // SAFETY: a root that is no leaf is a trunk, and this one has no other owner.
            let tail = unsafe { self.trunk_unchecked_mut() }.tail.as_mut()?;
            if !tail.is_unique() {
                return None;
            }
            tail
        };
        Some(LeafMut { node: leaf })
    }

    /// Returns the leaf for writing. If it has other owners they keep it, and this becomes a copy with room for
    /// `capacity` elements, or as many as there are.
    ///
    /// # Panics
    ///
    /// If it is no leaf.
    #[inline]
    pub(super) fn make_leaf_mut(&mut self, capacity: usize) -> LeafMut<'_, T>
    where
        T: Clone,
    {
        assert!(self.is_leaf());
        if !self.is_unique() {
            let elements = self.elements();
            let copy = Self::leaf_of(elements, capacity.max(elements.len()));
            detach::record();
            *self = copy;
        }
        LeafMut { node: self }
    }

    /// Returns a leaf with clones of `elements`.
    pub(super) fn leaf_of(elements: &[T], capacity: usize) -> Self
    where
        T: Clone,
    {
        let mut leaf = Self::new_leaf(capacity);
        LeafMut { node: &mut leaf }.fill(elements.iter().cloned());
        leaf
    }

    /// Returns the leaf's elements in two leaves, the first with `at` of them. None is empty: `at` is neither 0 nor
    /// all. Moves what no other owner has.
    pub(super) fn split_leaf(mut self, at: usize) -> (Self, Self)
    where
        T: Clone,
    {
        if self.is_unique() {
            let right = LeafMut { node: &mut self }.split_off(at, 0);
            return (self, right);
        }
        let (left, right) = self.elements().split_at(at);
        let parts = (Self::leaf_of(left, left.len()), Self::leaf_of(right, right.len()));
        detach::record();
        parts
    }

    /// Returns the elements of both leaves in one. Moves what no other owner has.
    pub(super) fn merge_leaves(mut left: Self, mut right: Self) -> Self
    where
        T: Clone,
    {
        let len = left.elements().len() + right.elements().len();
        let mut merged = left.make_leaf_mut(len);
        match right.leaf_mut() {
            Some(mut right) => merged.append(&mut right),
            None => merged.extend_from_slice(right.elements()),
        }
        left
    }
}

impl<'a, T> LeafMut<'a, T> {
    #[inline]
    fn block(&self) -> LeafBlock<T> {
        self.node.leaf_block()
    }

    #[inline]
    fn head(&self) -> &LeafHead {
        // SAFETY: the block is a live leaf, and the header written only through `self`.
        unsafe { self.block().header() }
    }

    #[inline]
    fn head_mut(&mut self) -> &mut LeafHead {
        // SAFETY: as for `head`; `self` is mutably borrowed.
        unsafe { &mut *self.block().header_ptr() }
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        let head = self.head();
        usize::from(head.end) - usize::from(head.start)
    }

    #[inline]
    fn capacity(&self) -> usize {
        usize::from(self.head().capacity)
    }

    /// Returns how many elements fit behind the last.
    #[inline]
    pub(super) fn room_back(&self) -> usize {
        let head = self.head();
        usize::from(head.capacity) - usize::from(head.end)
    }

    /// Returns how many elements fit before the first.
    #[inline]
    pub(super) fn room_front(&self) -> usize {
        usize::from(self.head().start)
    }

    /// Returns where element `index` is, or would be.
    #[inline]
    fn slot(&self, index: usize) -> *mut T {
        let start = usize::from(self.head().start);
        self.block().slots().wrapping_add(start + index)
    }

    /// Returns where the element at `index` is, if there is one.
    #[inline]
    pub(super) fn find(&self, index: usize) -> Option<*mut T> {
        (index < self.len()).then(|| self.slot(index))
    }

    /// Returns where the elements are, without a borrow of them.
    pub(super) fn into_raw(self) -> *mut [T] {
        ptr::slice_from_raw_parts_mut(self.slot(0), self.len())
    }

    /// Adds an element behind the last, where there has to be room.
    #[inline]
    pub(super) fn push(&mut self, value: T) {
        debug_assert!(self.room_back() > 0);
        let block = self.block();
        // SAFETY: the block is a live leaf that nobody else reaches, and the caller has found room.
        unsafe {
            let end = (*block.header_ptr()).end;
            block.slots().add(usize::from(end)).write(value);
            (*block.header_ptr()).end = end + 1;
        }
    }

    /// Adds an element before the first, where there has to be room.
    #[inline]
    pub(super) fn push_front(&mut self, value: T) {
        debug_assert!(self.room_front() > 0);
        let head = self.head_mut();
        head.start -= 1;
        // SAFETY: the slot is new.
        unsafe { self.slot(0).write(value) };
    }

    /// Removes the last element.
    #[inline]
    pub(super) fn pop(&mut self) -> Option<T> {
        let last = self.len().checked_sub(1)?;
        self.head_mut().end -= 1;
        // SAFETY: it was initialised, and is no element any more.
        Some(unsafe { self.slot(last).read() })
    }

    /// Removes the first element.
    #[inline]
    pub(super) fn pop_front(&mut self) -> Option<T> {
        self.len().checked_sub(1)?;
        let first = self.slot(0);
        let head = self.head_mut();
        head.start += 1;
        // SAFETY: it was initialised, and is no element any more.
        Some(unsafe { first.read() })
    }

    /// Puts an element before element `at`, at most the number of elements; moves the shorter side if it can. There has
    /// to be room, at any end.
    pub(super) fn insert(&mut self, at: usize, value: T) {
        let len = self.len();
        assert!(at <= len && len < self.capacity());
        let forwards = self.room_front() > 0 && (at < len / 2 || self.room_back() == 0);
        let first = self.slot(0);
        // SAFETY: the elements moved stay inside the block, as there is room; the slot they leave is not one of an
        // element until the header says so.
        unsafe {
            if forwards {
                ptr::copy(first, first.sub(1), at);
                first.add(at).sub(1).write(value);
                self.head_mut().start -= 1;
            } else {
                ptr::copy(first.add(at), first.add(at + 1), len - at);
                first.add(at).write(value);
                self.head_mut().end += 1;
            }
        }
    }

    /// Removes element `at`. The elements behind move up, so that a leaf that begins at slot 0 goes on doing so.
    pub(super) fn remove(&mut self, at: usize) -> T {
        let len = self.len();
        assert!(at < len);
        let slot = self.slot(at);
        self.head_mut().end -= 1;
        // SAFETY: the element was initialised, and those behind take its place.
        unsafe {
            let value = slot.read();
            ptr::copy(slot.add(1), slot, len - at - 1);
            value
        }
    }

    /// Removes the elements from `at` on and drops them.
    pub(super) fn truncate(&mut self, at: usize) {
        let len = self.len();
        if at >= len {
            return;
        }
        let gone = ptr::slice_from_raw_parts_mut(self.slot(at), len - at);
        self.head_mut().end -= (len - at) as u16;
        // SAFETY: they were initialised, and are no elements any more.
        unsafe { gone.drop_in_place() };
    }

    /// Moves the elements from `at` on into a leaf of their own, with room for `capacity`, or as many as there are.
    pub(super) fn split_off(&mut self, at: usize, capacity: usize) -> Node<T> {
        let count = self.len() - at;
        let right = Node::new_leaf(count.max(capacity));
        let to = right.leaf_block();
        // SAFETY: the elements move into slots of a new leaf with room for them, and are none of this one any more.
        unsafe {
            ptr::copy_nonoverlapping(self.slot(at), to.slots(), count);
            (*to.header_ptr()).end = count as u16;
        }
        self.head_mut().end -= count as u16;
        right
    }

    /// Moves the elements of `range` into a leaf of their own; those behind move up.
    ///
    /// # Panics
    ///
    /// If there are fewer.
    pub(super) fn take_out(&mut self, range: Range<usize>) -> Node<T> {
        let (count, len) = (range.len(), self.len());
        assert!(range.start <= range.end && range.end <= len);
        let taken = Node::new_leaf(count);
        let to = taken.leaf_block();
        // SAFETY: as for `split_off`; those behind move over them.
        unsafe {
            let gap = self.slot(range.start);
            ptr::copy_nonoverlapping(gap, to.slots(), count);
            (*to.header_ptr()).end = count as u16;
            ptr::copy(self.slot(range.end), gap, len - range.end);
        }
        self.head_mut().end -= count as u16;
        taken
    }

    /// Moves the first `count` elements into a leaf of their own; the others move to the block's beginning.
    pub(super) fn split_first(&mut self, count: usize) -> Node<T> {
        debug_assert!(count < self.len());
        let left = Node::new_leaf(count);
        let to = left.leaf_block();
        // SAFETY: the elements move into slots of a new leaf with room for them, and are none of this one any more.
        unsafe {
            ptr::copy_nonoverlapping(self.slot(0), to.slots(), count);
            (*to.header_ptr()).end = count as u16;
        }
        self.head_mut().start += count as u16;
        self.slide(0);
        left
    }

    /// Takes note that the leaf was in a tree and is the end of a trunk now.
    pub(super) fn set_taken(&mut self) {
        self.head_mut().was_taken = true;
    }

    /// Returns whether an element more at an end without room would move all, and so soon again.
    pub(super) fn is_cramped(&self) -> bool {
        let most = Node::<T>::FLAT;
        self.capacity() >= most && self.len() > most - most / 4
    }

    /// Makes room for so many elements more behind the last. The block grows to twice its capacity, up to `limit`; or the
    /// elements slide, if that leaves room in proportion, so that either costs a constant per element.
    pub(super) fn reserve_back(&mut self, more: usize, limit: usize) {
        if self.room_back() >= more {
            return;
        }
        if let Some(room) = self.room_without_growth(more, limit) {
            // A part of a trunk grows at one end only.
            let start = if limit < Node::<T>::FLAT {
                0
            } else {
                (room - more) / 2
            };
            self.slide(start);
            return;
        }
        self.slide(0);
        self.grow(more, limit);
    }

    /// Makes room for so many elements more before the first, as [`reserve_back`](Self::reserve_back) does behind the last.
    pub(super) fn reserve_front(&mut self, more: usize, limit: usize) {
        if self.room_front() >= more {
            return;
        }
        if let Some(room) = self.room_without_growth(more, limit) {
            let start = if limit < Node::<T>::FLAT {
                room
            } else {
                (room + more) / 2
            };
            self.slide(start);
            return;
        }
        self.grow(more, limit);
        self.slide(self.capacity() - self.len());
    }

    /// Returns how many slots have no element, if there are enough or there must not be more.
    fn room_without_growth(&self, more: usize, limit: usize) -> Option<usize> {
        let (len, capacity) = (self.len(), self.capacity());
        let is_enough = len + more + len / 2 <= capacity || (len + more <= capacity && capacity >= limit);
        is_enough.then(|| capacity - len)
    }

    /// Moves all elements so that the first is in slot `start`.
    fn slide(&mut self, start: usize) {
        let len = self.len();
        debug_assert!(start + len <= self.capacity());
        // SAFETY: both places are inside the block.
        unsafe { ptr::copy(self.slot(0), self.block().slots().add(start), len) };
        let head = self.head_mut();
        (head.start, head.end) = (start as u16, (start + len) as u16);
    }

    fn grow(&mut self, more: usize, limit: usize) {
        let (len, old) = (self.len() + more, self.capacity());
        debug_assert!(len <= Node::<T>::FLAT);
        let capacity = (2 * old).max(Self::FEW).min(limit).max(len);
        if capacity <= old {
            return;
        }
        // SAFETY: that is its capacity, and the node that is its only owner forgets where it was.
        unsafe {
            let block = self.block().resized(old, capacity);
            self.node.set_block(block);
        }
        self.head_mut().capacity = capacity as u16;
    }

    /// Gives back the room at both ends.
    pub(super) fn shrink(&mut self) {
        let (len, old) = (self.len(), self.capacity());
        if len == old {
            return;
        }
        self.slide(0);
        // SAFETY: that is its capacity, all elements fit, and the node that is its only owner forgets where it was.
        unsafe {
            let block = self.block().resized(old, len);
            self.node.set_block(block);
        }
        self.head_mut().capacity = len as u16;
    }

    /// How many elements the first allocation has room for, as a `Vec`'s.
    const FEW: usize = if size_of::<T>() <= 1 { 8 } else { 4 };

    /// Moves the elements of the other leaf behind the last of this.
    pub(super) fn append(&mut self, other: &mut LeafMut<'_, T>) {
        let count = other.len();
        self.reserve_back(count, 0);
        // SAFETY: there is room, and the other leaf gives its elements up.
        unsafe { ptr::copy_nonoverlapping(other.slot(0), self.slot(self.len()), count) };
        other.head_mut().end -= count as u16;
        self.head_mut().end += count as u16;
    }

    /// Adds clones of `values` behind the last element. If a clone panics, those before it have been added.
    pub(super) fn extend_from_slice(&mut self, values: &[T])
    where
        T: Clone,
    {
        self.reserve_back(values.len(), 0);
        self.fill(values.iter().map(T::clone));
    }

    /// Adds what the iterator gives, while there is room. If it panics, what it gave before has been added.
    pub(super) fn fill(&mut self, values: impl Iterator<Item = T>) {
        let room = self.room_back();
        let first = self.slot(self.len());
        // Counted in a local, which the compiler can keep in a register.
        let mut added = Added { leaf: self, count: 0 };
        values.take(room).for_each(|value| {
            // SAFETY: there is room for so many.
            unsafe { first.add(added.count).write(value) };
            added.count += 1;
        });
    }
}

/// Says in the header what has been added, when it goes out of scope, by a panic or not.
struct Added<'b, 'a, T> {
    leaf: &'b mut LeafMut<'a, T>,
    count: usize,
}

impl<T> Drop for Added<'_, '_, T> {
    fn drop(&mut self) {
        let added = self.count as u16;
        self.leaf.head_mut().end += added;
    }
}
