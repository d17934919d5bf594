//! A map's entries by several threads at once: the leaves are shared out.

use alloc::vec::Vec;
use rayon::iter::{FromParallelIterator, IntoParallelIterator, ParallelExtend, ParallelIterator};

use super::SortedMap;
use crate::sorted::node::{LeafRef, Node, View};

/// The entries of a map, for several threads.
pub struct ParIter<'a, K, V> {
    leaves: Vec<LeafRef<'a, K, V>>,
}

impl<K, V> core::fmt::Debug for ParIter<'_, K, V> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("ParIter").finish_non_exhaustive()
    }
}

impl<'a, K: Sync, V: Sync> ParallelIterator for ParIter<'a, K, V> {
    type Item = (&'a K, &'a V);

    fn drive_unindexed<C>(self, consumer: C) -> C::Result
    where
        C: rayon::iter::plumbing::UnindexedConsumer<Self::Item>,
    {
        let entries = |leaf: LeafRef<'a, K, V>| leaf.keys.iter().zip(leaf.values);
        self.leaves
            .into_par_iter()
            .flat_map_iter(entries)
            .drive_unindexed(consumer)
    }
}

impl<'a, K: Sync, V: Sync> IntoParallelIterator for &'a SortedMap<K, V> {
    type Item = (&'a K, &'a V);
    type Iter = ParIter<'a, K, V>;

    /// Returns a parallel iterator over the entries, in key order for those consumers that keep an order.
    fn into_par_iter(self) -> ParIter<'a, K, V> {
        let mut leaves = Vec::new();
        if let Some(root) = &self.root {
            push_leaves(root, &mut leaves);
        }
        ParIter { leaves }
    }
}

fn push_leaves<'a, K, V>(node: &'a Node<K, V>, leaves: &mut Vec<LeafRef<'a, K, V>>) {
    match node.view() {
        View::Leaf(leaf) => leaves.push(leaf),
        View::Inner(inner) => inner.children.iter().for_each(|child| push_leaves(child, leaves)),
    }
}

impl<K: Ord + Clone + Send, V: Clone + Send> FromParallelIterator<(K, V)> for SortedMap<K, V> {
    /// Returns a map of the entries; of those with the same key, the last.
    fn from_par_iter<I: IntoParallelIterator<Item = (K, V)>>(entries: I) -> Self {
        Vec::from_par_iter(entries).into_iter().collect()
    }
}

impl<K: Ord + Clone + Send, V: Clone + Send> ParallelExtend<(K, V)> for SortedMap<K, V> {
    fn par_extend<I: IntoParallelIterator<Item = (K, V)>>(&mut self, entries: I) {
        self.extend(Vec::from_par_iter(entries));
    }
}
