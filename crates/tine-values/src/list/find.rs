#![allow(unsafe_code)]
//! How an element is found by its index: the way down a tree.
//!
//! Where a node is regular, so is all below it, and each step is a shift, with nothing looked at but the child. This is
//! what a list that was collected or pushed costs; a relaxed node is searched for the child instead.

use core::ops::Range;

use super::node::{FANOUT, FANOUT_BITS, Node};

impl<T> Node<T> {
    /// Returns which child of an inner node has the element at `index`, and how many elements are before that child.
    #[inline]
    pub(super) fn locate(&self, index: usize) -> (usize, usize) {
        let below = self.height() - 1;
        match self.ends() {
            None => {
                let child = index >> Self::bits(below);
                (child, child << Self::bits(below))
            }
            Some(ends) => locate_among(ends, index, Self::bits(below)),
        }
    }

    /// Returns the elements that child `at` of an inner node has: their indices.
    pub(super) fn range_of(&self, at: usize) -> Range<usize> {
        match self.ends() {
            Some(ends) => at.checked_sub(1).map_or(0, |before| ends[before])..ends[at],
            None => {
                let (full, children) = (Self::full(self.height() - 1), self.children());
                let is_last = at + 1 == children.len();
                at * full..at * full + if is_last { children[at].len() } else { full }
            }
        }
    }

    /// Returns how far to shift an index to get the number of a node of this height.
    #[inline]
    const fn bits(height: u8) -> u32 {
        let bits = Self::LEAF_BITS + FANOUT_BITS * height as u32;
        // Only a guess, above the greatest regular height.
        if bits < usize::BITS { bits } else { usize::BITS - 1 }
    }

    /// Returns where the element at `index` is.
    ///
    /// # Safety
    ///
    /// It must be a leaf or an inner node with more than `index` elements.
    #[inline]
    pub(super) unsafe fn slot(&self, mut index: usize) -> *const T {
        let mut node = self;
        loop {
            if node.is_leaf() {
                // SAFETY: it is a leaf, borrowed, so not written.
                let start = usize::from(unsafe { node.leaf_block().header() }.start);
                return node.leaf_block().slots().wrapping_add(start + index);
            }
            // SAFETY: it is an inner node, borrowed, so not written.
            if !unsafe { node.inner_block().header() }.is_relaxed {
                // SAFETY: it is regular, and the index in it.
                return unsafe { node.regular_slot(index) };
            }
            let (child, before) = node.locate(index);
            // SAFETY: it is an inner node, and `locate` finds a child of it.
            node = unsafe { &*node.inner_block().slots().add(child) };
            index -= before;
        }
    }

    /// Returns where the element at `index` is, by shifts alone.
    ///
    /// # Safety
    ///
    /// It must be a regular inner node with more than `index` elements.
    #[inline]
    unsafe fn regular_slot(&self, index: usize) -> *const T {
        // SAFETY: below a regular node all are, and every child before the one with the last element is full.
        let down = |node: &Self, height: u8| unsafe { &*node.regular_child(index, height) };
        // The usual heights have no loop, so that the processor looks for several elements at once.
        let leaf = match self.height() {
            1 => down(self, 1),
            2 => down(down(self, 2), 1),
            3 => down(down(down(self, 3), 2), 1),
            height => (1..=height).rev().fold(self, down),
        };
        leaf.leaf_block().slots().wrapping_add(index % Self::LEAF)
    }

    /// Returns where the child that has the element at `index` is, in a regular node of that height, or in one of a
    /// regular tree with that element.
    #[inline]
    fn regular_child(&self, index: usize, height: u8) -> *mut Self {
        let child = (index >> Self::bits(height - 1)) % FANOUT;
        self.inner_block().slots().wrapping_add(child)
    }

    /// Returns where the element at `index` is, for writing: copies the nodes on the way that have other owners.
    ///
    /// # Safety
    ///
    /// It must be a leaf or an inner node with more than `index` elements.
    #[inline]
    pub(super) unsafe fn slot_mut(&mut self, index: usize) -> *mut T
    where
        T: Clone,
    {
        // SAFETY: as the caller vouches.
        match unsafe { self.unique_regular_slot(index) } {
            Some(slot) => slot,
            // SAFETY: as the caller vouches.
            None => unsafe { self.make_slot_mut(index) },
        }
    }

    /// Returns where the element at `index` is, for writing, if it is found by shifts alone and no node on the way has
    /// another owner.
    ///
    /// # Safety
    ///
    /// As for [`slot_mut`](Self::slot_mut).
    #[inline]
    unsafe fn unique_regular_slot(&mut self, index: usize) -> Option<*mut T> {
        // SAFETY: as in `regular_slot`; a child that is unique, below nodes that are, is reached by this borrow alone.
        let down = |node: &Self, height: u8| unsafe {
            let child = &*node.regular_child(index, height);
            child.is_unique().then_some(child)
        };
        if !self.is_inner() || !self.is_regular() || !self.is_unique() {
            return None;
        }
        let leaf = match self.height() {
            1 => down(self, 1)?,
            2 => down(down(self, 2)?, 1)?,
            3 => down(down(down(self, 3)?, 2)?, 1)?,
            _ => return None,
        };
        Some(leaf.leaf_block().slots().wrapping_add(index % Self::LEAF))
    }

    /// Does what [`slot_mut`](Self::slot_mut) does.
    ///
    /// # Safety
    ///
    /// As for it.
    #[inline(never)]
    unsafe fn make_slot_mut(&mut self, mut index: usize) -> *mut T
    where
        T: Clone,
    {
        let mut node = self;
        while !node.is_leaf() {
            let (child, before) = node.locate(index);
            index -= before;
            // SAFETY: it is an inner node, and `locate` finds a child of it.
            node = unsafe { node.make_inner_mut().into_children().get_unchecked_mut(child) };
        }
        let start = node.make_leaf_mut(0).room_front();
        node.leaf_block().slots().wrapping_add(start + index)
    }
}

/// Returns which child has the element at `index`, and how many are before it. Children of a relaxed node are mostly
/// near full, so the search begins where the child would be if all were.
#[inline]
fn locate_among(ends: &[usize], index: usize, bits: u32) -> (usize, usize) {
    let mut child = (index >> bits).min(ends.len() - 1);
    while child > 0 && ends[child - 1] > index {
        child -= 1;
    }
    while ends[child] <= index {
        child += 1;
    }
    (child, child.checked_sub(1).map_or(0, |before| ends[before]))
}
