//! A set's elements by several threads at once: the leaves are shared out.

use alloc::vec::Vec;
use core::hash::{BuildHasher, Hash};

use rayon::iter::plumbing::UnindexedConsumer;
use rayon::iter::{FromParallelIterator, IntoParallelIterator, ParallelExtend, ParallelIterator};

use super::Set;
use crate::map;

/// The elements of a set, for several threads.
#[derive(Debug)]
pub struct ParIter<'a, T> {
    entries: map::ParIter<'a, T, ()>,
}

impl<'a, T: Send + Sync> ParallelIterator for ParIter<'a, T> {
    type Item = &'a T;

    fn drive_unindexed<C: UnindexedConsumer<&'a T>>(self, consumer: C) -> C::Result {
        self.entries
            .map(|(element, ())| element)
            .drive_unindexed(consumer)
    }
}

impl<'a, T: Send + Sync, S> IntoParallelIterator for &'a Set<T, S> {
    type Item = &'a T;
    type Iter = ParIter<'a, T>;

    /// Returns a parallel iterator over the elements, in the order of [`Set::iter`] for those consumers that keep an order.
    fn into_par_iter(self) -> ParIter<'a, T> {
        ParIter {
            entries: self.map.into_par_iter(),
        }
    }
}

impl<T, S> FromParallelIterator<T> for Set<T, S>
where
    T: Eq + Hash + Clone + Send,
    S: BuildHasher + Default,
{
    fn from_par_iter<I: IntoParallelIterator<Item = T>>(elements: I) -> Self {
        Vec::from_par_iter(elements).into_iter().collect()
    }
}

impl<T: Eq + Hash + Clone + Send, S: BuildHasher> ParallelExtend<T> for Set<T, S> {
    fn par_extend<I: IntoParallelIterator<Item = T>>(&mut self, elements: I) {
        self.extend(Vec::from_par_iter(elements));
    }
}
