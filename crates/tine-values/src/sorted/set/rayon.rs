//! A set's elements by several threads at once: the leaves are shared out.

use alloc::vec::Vec;
use rayon::iter::plumbing::UnindexedConsumer;
use rayon::iter::{FromParallelIterator, IntoParallelIterator, ParallelExtend, ParallelIterator};

use super::SortedSet;
use crate::sorted::map;

/// The elements of a set, for several threads.
#[derive(Debug)]
pub struct ParIter<'a, T> {
    entries: map::ParIter<'a, T, ()>,
}

impl<'a, T: Sync> ParallelIterator for ParIter<'a, T> {
    type Item = &'a T;

    fn drive_unindexed<C: UnindexedConsumer<&'a T>>(self, consumer: C) -> C::Result {
        self.entries
            .map(|(element, ())| element)
            .drive_unindexed(consumer)
    }
}

impl<'a, T: Sync> IntoParallelIterator for &'a SortedSet<T> {
    type Item = &'a T;
    type Iter = ParIter<'a, T>;

    /// Returns a parallel iterator over the elements, in order for those consumers that keep an order.
    fn into_par_iter(self) -> ParIter<'a, T> {
        ParIter {
            entries: self.map.into_par_iter(),
        }
    }
}

impl<T: Ord + Clone + Send> FromParallelIterator<T> for SortedSet<T> {
    fn from_par_iter<I: IntoParallelIterator<Item = T>>(elements: I) -> Self {
        Vec::from_par_iter(elements).into_iter().collect()
    }
}

impl<T: Ord + Clone + Send> ParallelExtend<T> for SortedSet<T> {
    fn par_extend<I: IntoParallelIterator<Item = T>>(&mut self, elements: I) {
        self.extend(Vec::from_par_iter(elements));
    }
}
