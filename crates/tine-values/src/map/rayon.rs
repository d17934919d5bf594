#![allow(unsafe_code)]
//! A map's entries by several threads at once: the hashes are shared out, and so the leaves.

use alloc::vec::Vec;
use core::fmt;
use core::hash::{BuildHasher, Hash};

use rayon::iter::plumbing::{Folder, UnindexedConsumer, UnindexedProducer, bridge_unindexed};
use rayon::iter::{FromParallelIterator, IntoParallelIterator, ParallelExtend, ParallelIterator};

use super::Map;
use super::tree::Tree;
use super::walk::{END, Walk};

/// The entries of a map, for several threads.
pub struct ParIter<'a, K, V> {
    tree: &'a Tree<K, V>,
}

/// The leaves that begin at some points.
struct Part<'a, K, V> {
    tree: &'a Tree<K, V>,
    /// Where a leaf begins, and where one does or the map ends.
    start: u64,
    end: u64,
}

impl<'a, K: Send + Sync, V: Send + Sync> UnindexedProducer for Part<'a, K, V> {
    type Item = (&'a K, &'a V);

    /// Splits near the middle, since hashes are spread evenly.
    fn split(self) -> (Self, Option<Self>) {
        let Self { tree, start, end } = self;
        let Some(stop) = tree.stop_at(start.midpoint(end)) else {
            return (self, None);
        };
        let middle = if stop.start > start { stop.start } else { stop.end };
        if middle >= end {
            return (self, None);
        }
        let part = |start, end| Self { tree, start, end };
        (part(start, middle), Some(part(middle, end)))
    }

    fn fold_with<F: Folder<Self::Item>>(self, folder: F) -> F {
        let mut walk = Walk::new(self.start, self.end);
        // SAFETY: the tree is borrowed as long as the part.
        let entries = core::iter::from_fn(|| unsafe { walk.next(self.tree) });
        folder.consume_iter(entries.map(|entry| (&entry.key, &entry.value)))
    }
}

impl<'a, K: Send + Sync, V: Send + Sync> ParallelIterator for ParIter<'a, K, V> {
    type Item = (&'a K, &'a V);

    fn drive_unindexed<C: UnindexedConsumer<Self::Item>>(self, consumer: C) -> C::Result {
        let all = Part {
            tree: self.tree,
            start: 0,
            end: END,
        };
        bridge_unindexed(all, consumer)
    }
}

impl<K, V> fmt::Debug for ParIter<'_, K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ParIter").finish_non_exhaustive()
    }
}

impl<'a, K: Send + Sync, V: Send + Sync, S> IntoParallelIterator for &'a Map<K, V, S> {
    type Item = (&'a K, &'a V);
    type Iter = ParIter<'a, K, V>;

    /// Returns a parallel iterator over the entries, in the order of [`Map::iter`] for those consumers that keep an order.
    fn into_par_iter(self) -> ParIter<'a, K, V> {
        ParIter { tree: &self.tree }
    }
}

impl<K, V, S> FromParallelIterator<(K, V)> for Map<K, V, S>
where
    K: Eq + Hash + Clone + Send,
    V: Clone + Send,
    S: BuildHasher + Default,
{
    /// Returns a map of the entries; of those with the same key, the last.
    fn from_par_iter<I: IntoParallelIterator<Item = (K, V)>>(entries: I) -> Self {
        Vec::from_par_iter(entries).into_iter().collect()
    }
}

impl<K, V, S> ParallelExtend<(K, V)> for Map<K, V, S>
where
    K: Eq + Hash + Clone + Send,
    V: Clone + Send,
    S: BuildHasher,
{
    fn par_extend<I: IntoParallelIterator<Item = (K, V)>>(&mut self, entries: I) {
        self.extend(Vec::from_par_iter(entries));
    }
}
