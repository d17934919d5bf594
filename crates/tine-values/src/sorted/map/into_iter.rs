//! Iterating over a map's entries by value.

use core::fmt;
use core::iter::FusedIterator;

use super::SortedMap;
use super::iter::picking;
use crate::sorted::drain::{LeafDrain, take_first, take_last};
use crate::sorted::join::Tree;

/// The entries of a map, by value, in key order: what [`SortedMap`]'s `into_iter` returns.
///
/// Entries of leaves that no other map shares are moved out; the others are cloned, a leaf at a time.
pub struct IntoIter<K, V> {
    front: LeafDrain<K, V>,
    between: Tree<K, V>,
    back: LeafDrain<K, V>,
    len: usize,
}

/// The keys of a map, by value, in order: what [`SortedMap::into_keys`] returns.
pub struct IntoKeys<K, V> {
    iter: IntoIter<K, V>,
}

/// The values of a map, by value, in the order of their keys: what [`SortedMap::into_values`] returns.
pub struct IntoValues<K, V> {
    iter: IntoIter<K, V>,
}

impl<K: Clone, V: Clone> IntoKeys<K, V> {
    pub(super) fn new(iter: IntoIter<K, V>) -> Self {
        Self { iter }
    }
}

impl<K: Clone, V: Clone> IntoValues<K, V> {
    pub(super) fn new(iter: IntoIter<K, V>) -> Self {
        Self { iter }
    }
}

impl<K: Clone, V: Clone> Default for IntoIter<K, V> {
    fn default() -> Self {
        SortedMap::new().into_iter()
    }
}

impl<K: Clone, V: Clone> Default for IntoKeys<K, V> {
    fn default() -> Self {
        Self::new(IntoIter::default())
    }
}

impl<K: Clone, V: Clone> Default for IntoValues<K, V> {
    fn default() -> Self {
        Self::new(IntoIter::default())
    }
}

impl<K: Clone, V: Clone> IntoIterator for SortedMap<K, V> {
    type Item = (K, V);
    type IntoIter = IntoIter<K, V>;

    fn into_iter(self) -> IntoIter<K, V> {
        IntoIter {
            len: self.len(),
            front: LeafDrain::empty(),
            between: self.root,
            back: LeafDrain::empty(),
        }
    }
}

impl<K: Clone, V: Clone> Iterator for IntoIter<K, V> {
    type Item = (K, V);

    #[inline]
    fn next(&mut self) -> Option<(K, V)> {
        loop {
            if let Some(entry) = self.front.next() {
                self.len -= 1;
                return Some(entry);
            }
            let Some((leaf, _)) = take_first(&mut self.between) else {
                let entry = self.back.next()?;
                self.len -= 1;
                return Some(entry);
            };
            self.front = LeafDrain::new(leaf);
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.len, Some(self.len))
    }
}

impl<K: Clone, V: Clone> DoubleEndedIterator for IntoIter<K, V> {
    #[inline]
    fn next_back(&mut self) -> Option<(K, V)> {
        loop {
            if let Some(entry) = self.back.next_back() {
                self.len -= 1;
                return Some(entry);
            }
            let Some(leaf) = take_last(&mut self.between) else {
                let entry = self.front.next_back()?;
                self.len -= 1;
                return Some(entry);
            };
            self.back = LeafDrain::new(leaf);
        }
    }
}

impl<K: Clone, V: Clone> ExactSizeIterator for IntoIter<K, V> {
    fn len(&self) -> usize {
        self.len
    }
}

impl<K: Clone, V: Clone> FusedIterator for IntoIter<K, V> {}

picking!(IntoKeys<K, V>, K, key_of, [K: Clone, V: Clone]);
picking!(IntoValues<K, V>, V, value_of, [K: Clone, V: Clone]);

// What is dropped goes first: what is on its way to the caller is lost if that panics.
fn key_of<K, V>((key, value): (K, V)) -> K {
    drop(value);
    key
}

fn value_of<K, V>((key, value): (K, V)) -> V {
    drop(key);
    value
}

impl<K: Clone, V: Clone> fmt::Debug for IntoIter<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IntoIter")
            .field("len", &self.len)
            .finish_non_exhaustive()
    }
}

impl<K: Clone, V: Clone> fmt::Debug for IntoKeys<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IntoKeys")
            .field("len", &self.iter.len)
            .finish_non_exhaustive()
    }
}

impl<K: Clone, V: Clone> fmt::Debug for IntoValues<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IntoValues")
            .field("len", &self.iter.len)
            .finish_non_exhaustive()
    }
}
