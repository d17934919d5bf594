//! What a [`List`] is asked as a whole: its iterators, comparing with slices, searching and sorting.

use alloc::vec::Vec;
use core::cmp::Ordering;
use core::mem;
use core::ops::{Range, RangeBounds};

use super::List;
use super::iter::{Chunks, Iter};
use crate::detach;

impl<T> List<T> {
    /// Returns an iterator over all elements.
    #[inline]
    pub fn iter(&self) -> Iter<'_, T> {
        Iter::new(self, 0..self.len())
    }

    /// Returns an iterator over the elements of `range`. O(log n).
    ///
    /// # Panics
    ///
    /// If the range starts behind its end, or ends behind the last element.
    pub fn range(&self, range: impl RangeBounds<usize>) -> Iter<'_, T> {
        Iter::new(self, self.range_of(range))
    }

    /// Returns an iterator over the leaves, as slices, from both ends. Together they have all elements, in order; none
    /// is empty; where one ends is not said. The fastest way through a list.
    #[inline]
    pub fn chunks(&self) -> Chunks<'_, T> {
        self.chunks_of(0..self.len())
    }

    pub(super) fn chunks_of(&self, range: Range<usize>) -> Chunks<'_, T> {
        Chunks::new(self, range)
    }

    /// Returns the elements in a `Vec`.
    pub fn to_vec(&self) -> Vec<T>
    where
        T: Clone,
    {
        let mut all = Vec::with_capacity(self.len());
        self.chunks().for_each(|chunk| all.extend_from_slice(chunk));
        all
    }

    /// Returns whether some element is equal to `value`.
    pub fn contains(&self, value: &T) -> bool
    where
        T: PartialEq,
    {
        self.chunks().any(|chunk| chunk.contains(value))
    }

    /// Returns whether the first elements are those of `needle`.
    pub fn starts_with(&self, needle: &[T]) -> bool
    where
        T: PartialEq,
    {
        needle.len() <= self.len() && self.range(..needle.len()).eq(needle)
    }

    /// Returns whether the last elements are those of `needle`.
    pub fn ends_with(&self, needle: &[T]) -> bool
    where
        T: PartialEq,
    {
        let start = self.len().checked_sub(needle.len());
        start.is_some_and(|start| self.range(start..).eq(needle))
    }

    /// Returns the index of an element equal to `value`, or where it could be put in, in a list that is sorted.
    ///
    /// # Errors
    ///
    /// If there is none: the index before which it would keep the order.
    pub fn binary_search(&self, value: &T) -> Result<usize, usize>
    where
        T: Ord,
    {
        self.binary_search_by(|element| element.cmp(value))
    }

    /// Returns the index of an element whose key is `value`, as [`binary_search`](Self::binary_search) does.
    ///
    /// # Errors
    ///
    /// If there is none: the index before which it would keep the order.
    pub fn binary_search_by_key<K: Ord>(
        &self,
        value: &K,
        mut key: impl FnMut(&T) -> K,
    ) -> Result<usize, usize> {
        self.binary_search_by(|element| key(element).cmp(value))
    }

    /// Returns the index of an element for which `compare` returns `Equal`, in a list where it returns `Less` for the
    /// elements before, and `Greater` for those behind. O(log n) calls.
    ///
    /// # Errors
    ///
    /// If there is none: the index of the first `Greater`.
    pub fn binary_search_by(&self, mut compare: impl FnMut(&T) -> Ordering) -> Result<usize, usize> {
        let index = self.partition_point(|element| compare(element) == Ordering::Less);
        match self.get(index) {
            Some(element) if compare(element) == Ordering::Equal => Ok(index),
            _ => Err(index),
        }
    }

    /// Returns the index of the first element for which `is_before` returns false, in a list where no later one is true.
    /// O(log n) calls.
    pub fn partition_point(&self, mut is_before: impl FnMut(&T) -> bool) -> usize {
        let mut range = 0..self.len();
        while !range.is_empty() {
            let middle = range.start + range.len() / 2;
            if is_before(&self[middle]) {
                range.start = middle + 1;
            } else {
                range.end = middle;
            }
        }
        range.start
    }

    /// Returns whether the elements are in ascending order.
    pub fn is_sorted(&self) -> bool
    where
        T: PartialOrd,
    {
        self.iter().is_sorted()
    }

    /// Returns whether `ordered` returns true for each element and the next.
    pub fn is_sorted_by(&self, mut ordered: impl FnMut(&T, &T) -> bool) -> bool {
        self.iter().is_sorted_by(|a, b| ordered(a, b))
    }

    /// Returns whether the elements' keys are in ascending order.
    pub fn is_sorted_by_key<K: PartialOrd>(&self, key: impl FnMut(&T) -> K) -> bool {
        self.iter().is_sorted_by_key(key)
    }
}

impl<T: Clone> List<T> {
    /// Sorts the elements; equal ones stay in their order. Takes room for all of them.
    pub fn sort(&mut self)
    where
        T: Ord,
    {
        self.with_vec(|all| all.sort());
    }

    /// Sorts the elements by `compare`; equal ones stay in their order. Takes room for all of them.
    pub fn sort_by(&mut self, compare: impl FnMut(&T, &T) -> Ordering) {
        self.with_vec(|all| all.sort_by(compare));
    }

    /// Sorts the elements by their keys; equal ones stay in their order. Takes room for all of them.
    pub fn sort_by_key<K: Ord>(&mut self, key: impl FnMut(&T) -> K) {
        self.with_vec(|all| all.sort_by_key(key));
    }

    /// Sorts the elements by keys that are asked for once each; equal ones stay in their order. Takes room for all of
    /// them, and the keys.
    pub fn sort_by_cached_key<K: Ord>(&mut self, key: impl FnMut(&T) -> K) {
        self.with_vec(|all| all.sort_by_cached_key(key));
    }

    /// Sorts the elements; the order of equal ones is not said. Takes room for all of them.
    pub fn sort_unstable(&mut self)
    where
        T: Ord,
    {
        self.with_vec(|all| all.sort_unstable());
    }

    /// Sorts the elements by `compare`; the order of equal ones is not said. Takes room for all of them.
    pub fn sort_unstable_by(&mut self, compare: impl FnMut(&T, &T) -> Ordering) {
        self.with_vec(|all| all.sort_unstable_by(compare));
    }

    /// Sorts the elements by their keys; the order of equal ones is not said. Takes room for all of them.
    pub fn sort_unstable_by_key<K: Ord>(&mut self, key: impl FnMut(&T) -> K) {
        self.with_vec(|all| all.sort_unstable_by_key(key));
    }

    /// Moves the elements so that none before the one at `index` is greater than it, and none behind less; returns it. Takes
    /// room for all of them.
    ///
    /// # Panics
    ///
    /// If the index is out of bounds.
    pub fn select_nth_unstable(&mut self, index: usize) -> &mut T
    where
        T: Ord,
    {
        self.select_nth_unstable_by(index, T::cmp)
    }

    /// Does what [`select_nth_unstable`](Self::select_nth_unstable) does, by `compare`.
    ///
    /// # Panics
    ///
    /// If the index is out of bounds.
    pub fn select_nth_unstable_by(
        &mut self,
        index: usize,
        compare: impl FnMut(&T, &T) -> Ordering,
    ) -> &mut T {
        let len = self.len();
        assert!(
            index < len,
            "partition_at_index index {index} greater than length of slice {len}"
        );
        self.with_vec(|all| {
            all.select_nth_unstable_by(index, compare);
        });
        &mut self[index]
    }

    /// Does what [`select_nth_unstable`](Self::select_nth_unstable) does, by the elements' keys.
    ///
    /// # Panics
    ///
    /// If the index is out of bounds.
    pub fn select_nth_unstable_by_key<K: Ord>(
        &mut self,
        index: usize,
        mut key: impl FnMut(&T) -> K,
    ) -> &mut T {
        self.select_nth_unstable_by(index, |a, b| key(a).cmp(&key(b)))
    }

    /// Moves the elements so that the one at `mid` is the first. O(log n).
    ///
    /// # Panics
    ///
    /// If `mid` is greater than the length.
    pub fn rotate_left(&mut self, mid: usize) {
        let len = self.len();
        assert!(mid <= len, "cannot rotate by more than there is");
        let (front, behind) = self.take_to_change_at([0, mid, len]).cut(mid);
        *self = behind.joined(front);
    }

    /// Moves the elements so that the last `count` are the first. O(log n).
    ///
    /// # Panics
    ///
    /// If `count` is greater than the length.
    pub fn rotate_right(&mut self, count: usize) {
        assert!(count <= self.len(), "cannot rotate by more than there is");
        self.rotate_left(self.len() - count);
    }

    /// Calls `write` with all elements in a row, and takes them back, even if it panics. If any is shared they are clones;
    /// a panic leaves the list as it was then.
    fn with_vec(&mut self, write: impl FnOnce(&mut Vec<T>)) {
        struct TakeBack<'a, T: Clone>(&'a mut List<T>, Vec<T>);
        impl<T: Clone> Drop for TakeBack<'_, T> {
            fn drop(&mut self) {
                *self.0 = List::from(mem::take(&mut self.1));
            }
        }
        if !self.is_all_unique() {
            let mut all = self.to_vec();
            detach::record();
            write(&mut all);
            *self = all.into();
            return;
        }
        let all = mem::take(self).into();
        write(&mut TakeBack(self, all).1);
    }
}
