//! [`SortedSet`]: a set in order that shares what its clones have in common.

mod iter;
mod operations;
#[cfg(feature = "proptest")]
mod proptest;
#[cfg(feature = "rayon")]
mod rayon;
#[cfg(feature = "serde")]
mod serde;
mod traits;

use core::borrow::Borrow;
use core::ops::RangeBounds;

use equivalent::Comparable;

pub use self::iter::{ExtractIf, IntoIter, Iter, Range};
pub use self::operations::{Difference, Intersection, SymmetricDifference, Union};
#[cfg(feature = "rayon")]
pub use self::rayon::ParIter;
use super::SortedMap;
use super::map::Diff;

/// A set in order that forks: what std's [`BTreeSet`](alloc::collections::BTreeSet) is, and a clone costs one count,
/// whatever it holds.
///
/// It is a [`SortedMap`] without values; what is said there of costs, look-ups, copies and panics holds here. `|`, `&`,
/// `-` and `^` make sets that share nodes with what they are made of, and do not look at what both sides share.
///
/// ```
/// use tine_values::SortedSet;
///
/// let monday = SortedSet::from(["ann", "bob"]);
/// let mut tuesday = monday.clone();
/// tuesday.insert("cid");
/// assert_eq!(&tuesday - &monday, SortedSet::from(["cid"]));
/// assert!(monday.is_subset(&tuesday));
/// ```
pub struct SortedSet<T> {
    map: SortedMap<T, ()>,
}

impl<T> SortedSet<T> {
    /// Returns an empty set. Allocates nothing.
    pub const fn new() -> Self {
        Self {
            map: SortedMap::new(),
        }
    }

    /// Returns how many elements there are. O(1).
    #[inline]
    pub fn len(&self) -> usize {
        self.map.len()
    }

    /// Returns whether there are no elements.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.map.is_empty()
    }

    /// Removes all elements.
    pub fn clear(&mut self) {
        self.map.clear();
    }

    /// Returns whether both are the same version: one a clone of the other, and neither written since. O(1).
    pub fn ptr_eq(&self, other: &Self) -> bool {
        self.map.ptr_eq(&other.map)
    }

    /// Returns whether no other set shares any of this one's nodes; see [`SortedMap::is_unique`].
    pub fn is_unique(&self) -> bool {
        self.map.is_unique()
    }

    /// Returns how many bytes the nodes take that only this set refers to. Visits all nodes.
    pub fn own_bytes(&self) -> usize {
        self.map.own_bytes()
    }

    /// Returns how many bytes the nodes take that other sets refer to too. Visits all nodes.
    pub fn shared_bytes(&self) -> usize {
        self.map.shared_bytes()
    }

    /// Returns whether `value` is in the set. O(log n).
    #[inline]
    pub fn contains<Q: ?Sized + Comparable<T>>(&self, value: &Q) -> bool {
        self.map.contains_key(value)
    }

    /// Returns the element that is equal to `value`. O(log n).
    #[inline]
    pub fn get<Q: ?Sized + Comparable<T>>(&self, value: &Q) -> Option<&T> {
        self.map.get_key_value(value).map(|(element, ())| element)
    }

    /// Returns the least element. O(log n).
    pub fn first(&self) -> Option<&T> {
        self.iter().next()
    }

    /// Returns the greatest element. O(log n).
    pub fn last(&self) -> Option<&T> {
        self.iter().next_back()
    }

    /// Returns an iterator over the elements, in order.
    pub fn iter(&self) -> Iter<'_, T> {
        Iter::new(self.map.keys())
    }

    /// Returns an iterator over the elements in `range`, in order. O(log n) and what is taken.
    ///
    /// # Panics
    ///
    /// If the range starts behind its end, or starts and ends at the same element and contains neither bound.
    pub fn range<K, R>(&self, range: R) -> Range<'_, T>
    where
        K: ?Sized + Ord,
        T: Borrow<K>,
        R: RangeBounds<K>,
    {
        Range::new(self.map.range(range))
    }
}

impl<T: Ord> SortedSet<T> {
    /// Returns an iterator over what has to come and go to make this set `other`, in order. A change is never
    /// [`Changed`](crate::Change::Changed). Nodes that both share are skipped unseen, as by [`SortedMap::diff`].
    pub fn diff<'a>(&'a self, other: &'a Self) -> Diff<'a, T, ()> {
        self.map.diff(&other.map)
    }
}

impl<T: Clone> SortedSet<T> {
    /// Removes `value` and returns whether it was there. O(log n). Copies nothing if it was not.
    pub fn remove<Q: ?Sized + Comparable<T>>(&mut self, value: &Q) -> bool {
        self.take(value).is_some()
    }

    /// Removes the element that is equal to `value` and returns it. O(log n). Copies nothing if there is none.
    pub fn take<Q: ?Sized + Comparable<T>>(&mut self, value: &Q) -> Option<T> {
        self.map.remove_entry(value).map(|(element, ())| element)
    }

    /// Removes the least element and returns it. O(log n).
    pub fn pop_first(&mut self) -> Option<T> {
        self.map.pop_first().map(|(element, ())| element)
    }

    /// Removes the greatest element and returns it. O(log n).
    pub fn pop_last(&mut self) -> Option<T> {
        self.map.pop_last().map(|(element, ())| element)
    }

    /// Keeps the elements for which `keep` returns true. O(n). Leaves in which nothing goes stay shared.
    pub fn retain(&mut self, mut keep: impl FnMut(&T) -> bool)
    where
        T: Ord,
    {
        self.extract_if(.., |element| !keep(element)).for_each(drop);
    }

    /// Removes the elements that are in `range` and for which `is_taken` returns true, and returns an iterator that does
    /// so as it is advanced; see [`SortedMap::extract_if`].
    ///
    /// # Panics
    ///
    /// As [`range`](Self::range).
    pub fn extract_if<R, F>(&mut self, range: R, is_taken: F) -> ExtractIf<'_, T, F>
    where
        T: Ord,
        R: RangeBounds<T>,
        F: FnMut(&T) -> bool,
    {
        ExtractIf::new(&mut self.map, range, is_taken)
    }

    /// Removes the elements from `value` on and returns them. O(log n), whatever their number.
    #[must_use]
    pub fn split_off<Q: ?Sized + Comparable<T>>(&mut self, value: &Q) -> Self {
        Self {
            map: self.map.split_off(value),
        }
    }
}

impl<T: Ord + Clone> SortedSet<T> {
    /// Adds `value`, unless it is there, and returns whether that was done. O(log n). Copies nothing if it was there.
    #[inline]
    pub fn insert(&mut self, value: T) -> bool {
        self.map.insert_or(value, (), |_, _, ()| ()).is_none()
    }

    /// Adds `value`, and returns the element equal to it that it replaces. O(log n).
    pub fn replace(&mut self, value: T) -> Option<T> {
        self.map
            .insert_or(value, (), |way, value, ()| way.replace_key(value))
    }

    /// Moves all elements of `other` into this set. O(log n) if the elements of one are all above the other's, else
    /// an insertion for each element of the smaller set. Which of two equal elements stays is not said. A panic in an
    /// element's code loses none, see [`SortedMap::append`].
    pub fn append(&mut self, other: &mut Self) {
        self.map.append(&mut other.map);
    }

    /// Returns a set with the changes that both sides have made since this version, which is what both come from. What
    /// both changed they changed alike, so there are no conflicts. Costs what [`diff`](Self::diff) to `theirs` costs, and
    /// a write for each change of `theirs`.
    #[must_use]
    pub fn merge(&self, ours: &Self, theirs: &Self) -> Self {
        Self {
            map: self
                .map
                .merge(&ours.map, &theirs.map, |conflict| conflict.theirs.copied()),
        }
    }
}
