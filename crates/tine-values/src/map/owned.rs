#![allow(unsafe_code)]
//! Iterators that take a map apart.
//!
//! Each leaf is made the tree's own when it is reached, then its entries are popped off. So at any time the tree
//! holds exactly what has not been given yet, and dropping it drops that.

use core::fmt;
use core::iter::FusedIterator;
use core::marker::PhantomData;

use super::leaf::{Entry, Leaf};
use super::tree::Tree;
use super::walk::{END, hash_at};

/// The entries of a map by value: what its `into_iter` returns. Those that others share are cloned.
pub struct IntoIter<K, V> {
    tree: Tree<K, V>,
    /// The leaf at hand, and its group.
    leaf: Option<Leaf<K, V>>,
    group: usize,
    /// The point of the next leaf.
    point: u64,
}

// SAFETY: the leaf is the tree's, which can be sent and shared then.
unsafe impl<K: Send + Sync, V: Send + Sync> Send for IntoIter<K, V> {}
// SAFETY: as for `Send`.
unsafe impl<K: Send + Sync, V: Send + Sync> Sync for IntoIter<K, V> {}

impl<K, V> IntoIter<K, V> {
    pub(super) fn new(tree: Tree<K, V>) -> Self {
        Self {
            tree,
            leaf: None,
            group: 0,
            point: 0,
        }
    }
}

impl<K, V> Default for IntoIter<K, V> {
    /// Returns the entries of an empty map.
    fn default() -> Self {
        Self::new(Tree::new())
    }
}

impl<K, V> Default for IntoKeys<K, V> {
    fn default() -> Self {
        Self(IntoIter::default())
    }
}

impl<K, V> Default for IntoValues<K, V> {
    fn default() -> Self {
        Self(IntoIter::default())
    }
}

impl<K: Clone, V: Clone> Iterator for IntoIter<K, V> {
    type Item = (K, V);

    #[inline]
    fn next(&mut self) -> Option<(K, V)> {
        loop {
            if let Some(leaf) = self.leaf {
                // SAFETY: the leaf is this tree's alone, which nobody else has.
                if let Some(Entry { key, value }) = unsafe { leaf.pop(&mut self.group) } {
                    self.tree.len -= 1;
                    return Some((key, value));
                }
                self.leaf = None;
            }
            if self.point >= END {
                return None;
            }
            let leaf = self.tree.own_way(hash_at(self.point))?.leaf;
            self.point = self.tree.stop_at(self.point)?.end;
            (self.leaf, self.group) = (Some(leaf), 0);
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.tree.len, Some(self.tree.len))
    }
}

/// The entries that a map had: what [`Map::drain`](super::Map::drain) returns. Those that others share are cloned.
pub struct Drain<'a, K, V> {
    entries: IntoIter<K, V>,
    borrows: PhantomData<&'a mut (K, V)>,
}

/// The keys of a map by value: what [`Map::into_keys`](super::Map::into_keys) returns.
pub struct IntoKeys<K, V>(IntoIter<K, V>);

/// The values of a map: what [`Map::into_values`](super::Map::into_values) returns.
pub struct IntoValues<K, V>(IntoIter<K, V>);

impl<K, V> Drain<'_, K, V> {
    pub(super) fn new(tree: Tree<K, V>) -> Self {
        Self {
            entries: IntoIter::new(tree),
            borrows: PhantomData,
        }
    }
}

impl<K, V> IntoKeys<K, V> {
    pub(super) fn new(entries: IntoIter<K, V>) -> Self {
        Self(entries)
    }
}

impl<K, V> IntoValues<K, V> {
    pub(super) fn new(entries: IntoIter<K, V>) -> Self {
        Self(entries)
    }
}

impl<K: Clone, V: Clone> Iterator for Drain<'_, K, V> {
    type Item = (K, V);

    #[inline]
    fn next(&mut self) -> Option<(K, V)> {
        self.entries.next()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.entries.size_hint()
    }
}

impl<K: Clone, V: Clone> Iterator for IntoKeys<K, V> {
    type Item = K;

    #[inline]
    fn next(&mut self) -> Option<K> {
        let (key, value) = self.0.next()?;
        // Here: a `Drop` that panics while a function returns leaks what is returned.
        drop(value);
        Some(key)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

impl<K: Clone, V: Clone> Iterator for IntoValues<K, V> {
    type Item = V;

    #[inline]
    fn next(&mut self) -> Option<V> {
        let (key, value) = self.0.next()?;
        drop(key);
        Some(value)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

impl<K: Clone, V: Clone> ExactSizeIterator for IntoIter<K, V> {}
impl<K: Clone, V: Clone> FusedIterator for IntoIter<K, V> {}
impl<K: Clone, V: Clone> ExactSizeIterator for Drain<'_, K, V> {}
impl<K: Clone, V: Clone> FusedIterator for Drain<'_, K, V> {}
impl<K: Clone, V: Clone> ExactSizeIterator for IntoKeys<K, V> {}
impl<K: Clone, V: Clone> FusedIterator for IntoKeys<K, V> {}
impl<K: Clone, V: Clone> ExactSizeIterator for IntoValues<K, V> {}
impl<K: Clone, V: Clone> FusedIterator for IntoValues<K, V> {}

impl<K, V> fmt::Debug for IntoIter<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IntoIter")
            .field("left", &self.tree.len)
            .finish_non_exhaustive()
    }
}

impl<K, V> fmt::Debug for Drain<'_, K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Drain")
            .field("left", &self.entries.tree.len)
            .finish_non_exhaustive()
    }
}

impl<K, V> fmt::Debug for IntoKeys<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IntoKeys")
            .field("left", &self.0.tree.len)
            .finish_non_exhaustive()
    }
}

impl<K, V> fmt::Debug for IntoValues<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IntoValues")
            .field("left", &self.0.tree.len)
            .finish_non_exhaustive()
    }
}
