#![allow(unsafe_code)]
//! [`InnerMut`]: the children of an inner node without another owner, to be written.
//!
//! Whoever changes the size of a child says so by [`InnerMut::resized`] before anything else can look: ends that tell
//! of elements that are not there would be read from.

use alloc::vec::Vec;
use core::mem::ManuallyDrop;
use core::ptr;
use core::slice;

use crate::detach;

use super::node::{FANOUT, InnerBlock, InnerHead, Node, ends_of, slots};

/// A child and how many elements it has.
pub(super) type Part<T> = (Node<T>, usize);

/// An inner node of a sole owner.
pub(super) struct InnerMut<'a, T> {
    node: &'a mut Node<T>,
}

impl<T> Node<T> {
    /// Returns an inner node of that height with these children, 1 to [`FANOUT`] of the height below.
    pub(super) fn inner(height: u8, parts: impl ExactSizeIterator<Item = Part<T>>) -> Self {
        assert!((1..=FANOUT).contains(&parts.len()));
        let mut node = Self::new_inner(height, true, parts.len());
        let mut inner = InnerMut { node: &mut node };
        for (child, size) in parts {
            inner.write(child, size);
        }
        if Self::would_be_regular(inner.parts()) {
            inner.forget_ends();
        }
        node
    }

    /// Returns the inner node for writing, after a copy if it has other owners, who keep it. The children are shared.
    ///
    /// # Panics
    ///
    /// If it is no inner node.
    #[inline]
    pub(super) fn make_inner_mut(&mut self) -> InnerMut<'_, T> {
        assert!(self.is_inner());
        if !self.is_unique() {
            *self = self.copy_inner();
        }
        InnerMut { node: self }
    }

    #[inline(never)]
    fn copy_inner(&self) -> Self {
        let (children, ends) = (self.children(), self.ends());
        let copy = Self::new_inner(self.height(), ends.is_some(), children.len());
        let block = copy.inner_block();
        // Each count is in another cache line: read first, they are fetched all at once; locked, one after the other.
        for child in children {
            child.is_unique();
        }
        // SAFETY: there is room for as many children and ends. No child's clone panics: it counts, or aborts.
        unsafe {
            for (at, child) in children.iter().enumerate() {
                block.slots().add(at).write(child.clone());
            }
            if let Some(ends) = ends {
                ends_of(block).copy_from_nonoverlapping(ends.as_ptr(), ends.len());
            }
            (*block.header_ptr()).len = children.len() as u8;
        }
        detach::record();
        copy
    }

    /// Takes an inner node apart. Children that other owners have too are shared.
    pub(super) fn into_parts(self) -> Vec<Part<T>> {
        let mut parts = Vec::with_capacity(2 * FANOUT + 2);
        let count = self.children().len();
        let sizes: [usize; FANOUT] =
            core::array::from_fn(|at| if at < count { self.range_of(at).len() } else { 0 });
        if !self.is_unique() {
            detach::record();
            parts.extend(self.children().iter().cloned().zip(sizes));
            return parts;
        }
        let block = ManuallyDrop::new(self).inner_block();
        // SAFETY: nobody else reaches the block. Its children move out, and nothing panics before it is freed.
        unsafe {
            let head = block.header();
            let slots = slots(usize::from(head.capacity), head.is_relaxed);
            parts.extend((0..count).map(|at| block.slots().add(at).read()).zip(sizes));
            block.free(slots);
        }
        parts
    }
}

impl<'a, T> InnerMut<'a, T> {
    #[inline]
    fn block(&self) -> InnerBlock<T> {
        self.node.inner_block()
    }

    #[inline]
    fn head(&self) -> &InnerHead {
        // SAFETY: the block is a live inner node, and the header written only through `self`.
        unsafe { self.block().header() }
    }

    #[inline]
    fn head_mut(&mut self) -> &mut InnerHead {
        // SAFETY: as for `head`; `self` is mutably borrowed.
        unsafe { &mut *self.block().header_ptr() }
    }

    /// Returns how far above the leaves the node is.
    #[inline]
    pub(super) fn height(&self) -> u8 {
        self.head().height
    }

    /// Returns how many children it has.
    #[inline]
    pub(super) fn len(&self) -> usize {
        usize::from(self.head().len)
    }

    /// Returns the node for reading.
    #[inline]
    pub(super) fn node(&self) -> &Node<T> {
        self.node
    }

    /// Returns the children for writing; see [`resized`](Self::resized).
    #[inline]
    pub(super) fn children_mut(&mut self) -> &mut [Node<T>] {
        // SAFETY: the slots are initialised, and `self` is mutably borrowed.
        unsafe { slice::from_raw_parts_mut(self.block().slots(), self.len()) }
    }

    /// Returns the children for writing; sizes must not change.
    #[inline]
    pub(super) fn into_children(self) -> &'a mut [Node<T>] {
        // SAFETY: the slots are initialised, and nobody else reaches them during `'a`.
        unsafe { slice::from_raw_parts_mut(self.block().slots(), self.len()) }
    }

    /// Returns where the children are, without a borrow of them.
    pub(super) fn into_raw_children(self) -> *mut [Node<T>] {
        ptr::slice_from_raw_parts_mut(self.block().slots(), self.len())
    }

    fn ends_mut(&mut self) -> Option<&mut [usize]> {
        // SAFETY: a relaxed node has an end for each child, and `self` is mutably borrowed.
        let ends = || unsafe { slice::from_raw_parts_mut(ends_of(self.block()), self.len()) };
        self.head().is_relaxed.then(ends)
    }

    fn parts(&self) -> impl DoubleEndedIterator<Item = (&Node<T>, usize)> {
        let children = self.node.children().iter().enumerate();
        children.map(|(at, child)| (child, self.node.range_of(at).len()))
    }

    /// Adds the last child of a relaxed node that has room for it.
    fn write(&mut self, child: Node<T>, size: usize) {
        let (len, block) = (self.len(), self.block());
        debug_assert!(len < usize::from(self.head().capacity) && self.head().is_relaxed);
        // SAFETY: there is room for a child and its end, and an end before.
        unsafe {
            let before = if len == 0 { 0 } else { *ends_of(block).add(len - 1) };
            block.slots().add(len).write(child);
            ends_of(block).add(len).write(before + size);
        }
        self.head_mut().len += 1;
    }

    /// Makes a relaxed node regular, whose children have to be fit for it.
    fn forget_ends(&mut self) {
        let capacity = usize::from(self.head().capacity);
        self.resize(slots(capacity, true), capacity);
        self.head_mut().is_relaxed = false;
    }

    /// Makes the node relaxed, with the sizes that its children have. Room for all the children that there can be.
    fn relax(&mut self) {
        let head = self.head();
        if head.is_relaxed {
            return;
        }
        self.resize(usize::from(head.capacity), slots(FANOUT, true));
        let head = self.head_mut();
        head.is_relaxed = true;
        head.capacity = FANOUT as u8;
        self.measure();
    }

    /// Sets the ends of a relaxed node from what its children have.
    fn measure(&mut self) {
        let mut end = 0;
        let block = self.block();
        for (at, child) in self.node.children().iter().enumerate() {
            end += child.len();
            // SAFETY: the node is relaxed: it has room for an end for each child.
            unsafe { ends_of(block).add(at).write(end) };
        }
    }

    /// Makes room for one child more, of which there may be [`FANOUT`].
    fn reserve(&mut self) {
        let (capacity, is_relaxed) = (usize::from(self.head().capacity), self.head().is_relaxed);
        assert!(self.len() < FANOUT);
        if self.len() < capacity {
            return;
        }
        self.resize(slots(capacity, is_relaxed), slots(FANOUT, is_relaxed));
        if is_relaxed {
            let (block, len) = (self.block(), self.len());
            // SAFETY: the ends move from where the old capacity put them to where the new one does, in one block.
            unsafe {
                let old = block.slots().add(capacity).cast::<usize>();
                ptr::copy(old, block.slots().add(FANOUT).cast(), len);
            }
        }
        self.head_mut().capacity = FANOUT as u8;
    }

    fn resize(&mut self, old: usize, new: usize) {
        if old == new {
            return;
        }
        // SAFETY: that is its capacity, and the node that is its only owner forgets where it was.
        unsafe {
            let block = self.block().resized(old, new);
            self.node.set_block(block);
        }
    }

    /// Takes note that child `at` has `more` elements now (or fewer, wrapped).
    pub(super) fn resized(&mut self, at: usize, more: usize) {
        if let Some(ends) = self.ends_mut() {
            for end in &mut ends[at..] {
                *end = end.wrapping_add(more);
            }
            return;
        }
        // Being the last child of a regular node, or the only one, it may have any size, but not any shape.
        if at + 1 < self.len() || !self.node.children()[at].may_be_last_of_regular() {
            self.relax();
        }
    }

    /// Adds a child before child `at`. There have to be fewer than [`FANOUT`].
    pub(super) fn insert(&mut self, at: usize, child: Node<T>) {
        let len = self.len();
        assert!(at <= len);
        let stays_regular = !self.head().is_relaxed
            && if at == len {
                self.node.children().last().is_none_or(Node::is_full) && child.may_be_last_of_regular()
            } else {
                child.is_full()
            };
        if !stays_regular {
            self.relax();
        }
        self.reserve();
        let block = self.block();
        // SAFETY: there is room for one more.
        unsafe {
            let slot = block.slots().add(at);
            ptr::copy(slot, slot.add(1), len - at);
            slot.write(child);
            if !stays_regular {
                let end = ends_of(block).add(at);
                ptr::copy(end, end.add(1), len - at);
                end.write(if at == 0 { 0 } else { *end.sub(1) });
            }
        }
        self.head_mut().len += 1;
        if !stays_regular {
            self.resized(at, self.node.children()[at].len());
        }
    }

    /// Adds a child behind the last. There have to be fewer than [`FANOUT`].
    pub(super) fn push(&mut self, child: Node<T>) {
        self.insert(self.len(), child);
    }

    /// Removes child `at`; a node without children has to go.
    pub(super) fn remove(&mut self, at: usize) -> Node<T> {
        let len = self.len();
        assert!(at < len);
        let size = self.node.range_of(at).len();
        let block = self.block();
        self.head_mut().len -= 1;
        // SAFETY: the child was there, and those behind take its place.
        let child = unsafe {
            let slot = block.slots().add(at);
            let child = slot.read();
            ptr::copy(slot.add(1), slot, len - at - 1);
            if self.head().is_relaxed {
                let end = ends_of(block).add(at);
                ptr::copy(end.add(1), end, len - at - 1);
            }
            child
        };
        // Without one of its full children a regular node stays what it is.
        if let Some(ends) = self.ends_mut() {
            for end in &mut ends[at..] {
                *end -= size;
            }
        }
        child
    }
}
