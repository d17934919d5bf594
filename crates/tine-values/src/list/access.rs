#![allow(unsafe_code)]
//! Elements by their index, for writing.

use core::ops::{Index, IndexMut};
use core::ptr;
use core::slice::GetDisjointMutError;

use super::List;

impl<T: Clone> List<T> {
    /// Returns where the element at `index` is, for writing: a pointer that goes on being valid while the list is
    /// borrowed, until that element is written otherwise.
    #[inline]
    fn slot_mut(&mut self, index: usize) -> Option<*mut T> {
        // Only this is short enough to be a part of the caller's loop.
        if let Some(root) = &mut self.root
            && let Some(slot) = root.own_leaf_slot(index)
        {
            return Some(slot);
        }
        self.slot_in_tree_mut(index)
    }

    #[inline(never)]
    fn slot_in_tree_mut(&mut self, index: usize) -> Option<*mut T> {
        if let Some(trunk) = self.root.as_mut()?.trunk_mut() {
            return trunk.slot_mut(index);
        }
        // What is not there is not copied for.
        if index >= self.len() {
            return None;
        }
        let root = self.root.as_mut()?;
        if root.is_leaf() {
            return root.make_leaf_mut(0).find(index);
        }
        Self::make_trunk_mut(root)?.slot_mut(index)
    }

    /// Returns the element at `index` for writing, after a copy of what is shared on the way to it. O(log n).
    #[inline]
    pub fn get_mut(&mut self, index: usize) -> Option<&mut T> {
        // SAFETY: the element is initialised, its leaf has no other owner, and `self` stays borrowed.
        self.slot_mut(index).map(|slot| unsafe { &mut *slot })
    }

    /// Swaps two elements. O(log n).
    ///
    /// # Panics
    ///
    /// If either index is out of bounds.
    pub fn swap(&mut self, a: usize, b: usize) {
        self.check_index(a);
        self.check_index(b);
        if let (Some(first), Some(second)) = (self.slot_mut(a), self.slot_mut(b)) {
            // Finding the second moved no element: the nodes on both ways have no other owner by now, or had none.
            // SAFETY: both are initialised, and may be the same.
            unsafe { ptr::swap(first, second) };
        }
    }

    /// Returns several elements for writing at once, after a copy of what is shared on the way to them. O(log n) each.
    ///
    /// # Errors
    ///
    /// If an index is out of bounds, or two are the same.
    pub fn get_disjoint_mut<const N: usize>(
        &mut self,
        indices: [usize; N],
    ) -> Result<[&mut T; N], GetDisjointMutError> {
        let len = self.len();
        for (at, index) in indices.iter().enumerate() {
            if *index >= len {
                return Err(GetDisjointMutError::IndexOutOfBounds);
            }
            if indices[..at].contains(index) {
                return Err(GetDisjointMutError::OverlappingIndices);
            }
        }
        let slots = indices.map(|index| self.slot_mut(index).expect("the index was checked"));
        // SAFETY: all are initialised, no two are the same, and `self` stays borrowed. Finding one has moved none found
        // before, as for `swap`.
        Ok(slots.map(|slot| unsafe { &mut *slot }))
    }

    /// Replaces the element at `index` and returns the old one. O(log n).
    ///
    /// # Panics
    ///
    /// If the index is out of bounds.
    #[inline]
    pub fn replace(&mut self, index: usize, value: T) -> T {
        core::mem::replace(&mut self[index], value)
    }
}

impl<T> List<T> {
    #[inline]
    pub(super) fn check_index(&self, index: usize) {
        let len = self.len();
        assert!(
            index < len,
            "index out of bounds: the len is {len} but the index is {index}"
        );
    }

    #[cold]
    #[inline(never)]
    fn out_of_bounds(&self, index: usize) -> ! {
        self.check_index(index);
        unreachable!("the element is there");
    }
}

impl<T> Index<usize> for List<T> {
    type Output = T;

    /// Returns the element at `index`. O(log n).
    #[inline]
    fn index(&self, index: usize) -> &T {
        match self.get(index) {
            Some(element) => element,
            None => self.out_of_bounds(index),
        }
    }
}

impl<T: Clone> IndexMut<usize> for List<T> {
    /// Returns the element at `index` for writing, after a copy of what is shared on the way to it. O(log n).
    #[inline]
    fn index_mut(&mut self, index: usize) -> &mut T {
        let slot = self.slot_mut(index);
        match slot {
            // SAFETY: as in `get_mut`.
            Some(slot) => unsafe { &mut *slot },
            None => self.out_of_bounds(index),
        }
    }
}
