//! What std's traits make of a set. There is no `Hash`: see [`Map`](crate::Map).

use core::fmt;
use core::hash::{BuildHasher, Hash};
#[cfg(feature = "std")]
use std::collections::HashSet;

use super::{IntoIter, Iter, Set};
use crate::map::{DefaultHashBuilder, Map};

impl<T, S: Clone> Clone for Set<T, S> {
    /// Returns a set that shares every node: one atomic increment, whatever the size.
    #[inline]
    fn clone(&self) -> Self {
        Self {
            map: self.map.clone(),
        }
    }
}

impl<T, S: Default> Default for Set<T, S> {
    fn default() -> Self {
        Self { map: Map::default() }
    }
}

impl<T: fmt::Debug, S> fmt::Debug for Set<T, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self).finish()
    }
}

impl<T: Eq + Hash, S: BuildHasher> PartialEq for Set<T, S> {
    /// Returns whether both have the same elements. Skips what they share.
    fn eq(&self, other: &Self) -> bool {
        self.map == other.map
    }
}

impl<T: Eq + Hash, S: BuildHasher> Eq for Set<T, S> {}

impl<T: Eq + Hash + Clone, S: BuildHasher + Default> FromIterator<T> for Set<T, S> {
    /// Returns a set of all elements; of equal ones, the first. Uses the iterator's size hint, and
    /// memory as a [`Map`] does that is made of entries.
    fn from_iter<I: IntoIterator<Item = T>>(values: I) -> Self {
        let map = values.into_iter().map(|value| (value, ())).collect();
        Self { map }
    }
}

impl<T: Eq + Hash + Clone, S: BuildHasher> Extend<T> for Set<T, S> {
    fn extend<I: IntoIterator<Item = T>>(&mut self, values: I) {
        // Not by the map, which would write the value of an element that is there.
        for value in values {
            self.insert(value);
        }
    }
}

impl<'a, T: Eq + Hash + Copy, S: BuildHasher> Extend<&'a T> for Set<T, S> {
    fn extend<I: IntoIterator<Item = &'a T>>(&mut self, values: I) {
        self.extend(values.into_iter().copied());
    }
}

impl<T: Eq + Hash + Clone, const N: usize> From<[T; N]> for Set<T, DefaultHashBuilder> {
    fn from(values: [T; N]) -> Self {
        Self::from_iter(values)
    }
}

#[cfg(feature = "std")]
impl<T: Eq + Hash + Clone, S> From<HashSet<T, S>> for Set<T, DefaultHashBuilder> {
    fn from(elements: HashSet<T, S>) -> Self {
        Self::from_iter(elements)
    }
}

#[cfg(feature = "std")]
impl<T: Eq + Hash + Clone, S, H: BuildHasher + Default> From<Set<T, S>> for HashSet<T, H> {
    fn from(set: Set<T, S>) -> Self {
        set.into_iter().collect()
    }
}

impl<T: Clone, S> IntoIterator for Set<T, S> {
    type Item = T;
    type IntoIter = IntoIter<T>;

    /// Returns the elements by value. Those that others share are cloned.
    fn into_iter(self) -> IntoIter<T> {
        IntoIter::new(self.map.into_keys())
    }
}

impl<'a, T, S> IntoIterator for &'a Set<T, S> {
    type Item = &'a T;
    type IntoIter = Iter<'a, T>;

    fn into_iter(self) -> Iter<'a, T> {
        self.iter()
    }
}
