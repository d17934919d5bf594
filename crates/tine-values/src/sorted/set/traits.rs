//! What a set is to the rest of the language.

use alloc::collections::BTreeSet;
use core::cmp::Ordering;
use core::fmt;
use core::hash::{Hash, Hasher};

use super::{IntoIter, Iter, SortedSet};
use crate::sorted::SortedMap;

impl<T> Clone for SortedSet<T> {
    /// Returns a set that shares every node: one atomic increment, whatever the size.
    #[inline]
    fn clone(&self) -> Self {
        Self {
            map: self.map.clone(),
        }
    }
}

impl<T> Default for SortedSet<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: fmt::Debug> fmt::Debug for SortedSet<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self).finish()
    }
}

impl<T: PartialEq> PartialEq for SortedSet<T> {
    /// Returns whether both have the same elements. Nodes that both share are skipped unseen.
    fn eq(&self, other: &Self) -> bool {
        self.map == other.map
    }
}

impl<T: Eq> Eq for SortedSet<T> {}

impl<T: PartialOrd> PartialOrd for SortedSet<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        self.iter().partial_cmp(other)
    }
}

impl<T: Ord> Ord for SortedSet<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.iter().cmp(other)
    }
}

impl<T: Hash> Hash for SortedSet<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_usize(self.len());
        self.iter().for_each(|element| element.hash(state));
    }
}

impl<T: Ord + Clone> FromIterator<T> for SortedSet<T> {
    /// Returns a set of the elements. O(n log n), or O(n) if they are in order.
    fn from_iter<I: IntoIterator<Item = T>>(elements: I) -> Self {
        Self {
            map: SortedMap::from_iter(elements.into_iter().map(|element| (element, ()))),
        }
    }
}

impl<T: Ord + Clone, const N: usize> From<[T; N]> for SortedSet<T> {
    fn from(elements: [T; N]) -> Self {
        Self::from_iter(elements)
    }
}

impl<T: Ord + Clone> From<BTreeSet<T>> for SortedSet<T> {
    fn from(elements: BTreeSet<T>) -> Self {
        Self::from_iter(elements)
    }
}

impl<T: Ord + Clone> From<SortedSet<T>> for BTreeSet<T> {
    fn from(set: SortedSet<T>) -> Self {
        set.into_iter().collect()
    }
}

impl<T: Ord + Clone> Extend<T> for SortedSet<T> {
    fn extend<I: IntoIterator<Item = T>>(&mut self, elements: I) {
        for element in elements {
            self.insert(element);
        }
    }
}

impl<'a, T: Ord + Copy> Extend<&'a T> for SortedSet<T> {
    fn extend<I: IntoIterator<Item = &'a T>>(&mut self, elements: I) {
        self.extend(elements.into_iter().copied());
    }
}

impl<T: Clone> IntoIterator for SortedSet<T> {
    type Item = T;
    type IntoIter = IntoIter<T>;

    fn into_iter(self) -> IntoIter<T> {
        IntoIter::new(self.map.into_keys())
    }
}

impl<'a, T> IntoIterator for &'a SortedSet<T> {
    type Item = &'a T;
    type IntoIter = Iter<'a, T>;

    fn into_iter(self) -> Iter<'a, T> {
        self.iter()
    }
}
