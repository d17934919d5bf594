//! Iterators over a set's elements, in order.

use core::fmt;
use core::iter::FusedIterator;
use core::ops::RangeBounds;

use crate::sorted::SortedMap;
use crate::sorted::map;
use crate::sorted::map::iter::picking;

/// The elements of a set: what [`SortedSet::iter`](super::SortedSet::iter) returns.
pub struct Iter<'a, T> {
    iter: map::Keys<'a, T, ()>,
}

/// The elements of a range of a set: what [`SortedSet::range`](super::SortedSet::range) returns.
pub struct Range<'a, T> {
    range: map::Range<'a, T, ()>,
}

/// The elements of a set, by value: what [`SortedSet`](super::SortedSet)'s `into_iter` returns.
pub struct IntoIter<T> {
    iter: map::IntoKeys<T, ()>,
}

/// An iterator that removes what it gives: what [`SortedSet::extract_if`](super::SortedSet::extract_if) returns.
#[must_use = "it removes elements only as it is advanced"]
pub struct ExtractIf<'a, T: Clone, F> {
    entries: map::Extraction<'a, T, ()>,
    is_taken: F,
}

impl<'a, T> Iter<'a, T> {
    pub(super) fn new(iter: map::Keys<'a, T, ()>) -> Self {
        Self { iter }
    }
}

impl<'a, T> Range<'a, T> {
    pub(super) fn new(range: map::Range<'a, T, ()>) -> Self {
        Self { range }
    }
}

impl<T: Clone> IntoIter<T> {
    pub(super) fn new(iter: map::IntoKeys<T, ()>) -> Self {
        Self { iter }
    }
}

impl<'a, T: Clone, F> ExtractIf<'a, T, F> {
    pub(super) fn new(map: &'a mut SortedMap<T, ()>, range: impl RangeBounds<T>, is_taken: F) -> Self
    where
        T: Ord,
    {
        let entries = map::Extraction::new(map, &range);
        // As in `SortedMap::extract_if`.
        drop(range);
        Self { entries, is_taken }
    }
}

picking!(Iter<'a, T>, &'a T, |element| element, ['a, T]);
picking!(IntoIter<T>, T, |element| element, [T: Clone]);

impl<'a, T> Iterator for Range<'a, T> {
    type Item = &'a T;

    #[inline]
    fn next(&mut self) -> Option<&'a T> {
        self.range.next().map(|(element, ())| element)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.range.size_hint()
    }

    fn fold<B, F: FnMut(B, &'a T) -> B>(self, init: B, mut f: F) -> B {
        self.range.fold(init, |folded, (element, ())| f(folded, element))
    }

    fn last(mut self) -> Option<&'a T> {
        self.next_back()
    }
}

impl<'a, T> DoubleEndedIterator for Range<'a, T> {
    #[inline]
    fn next_back(&mut self) -> Option<&'a T> {
        self.range.next_back().map(|(element, ())| element)
    }
}

impl<T> FusedIterator for Range<'_, T> {}

impl<T: Clone, F: FnMut(&T) -> bool> Iterator for ExtractIf<'_, T, F> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        self.entries.next(&mut self.is_taken).map(|(element, ())| element)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, Some(self.entries.left()))
    }
}

impl<T: Clone, F: FnMut(&T) -> bool> FusedIterator for ExtractIf<'_, T, F> {}

impl<T> Default for Iter<'_, T> {
    fn default() -> Self {
        Self::new(map::Keys::default())
    }
}

impl<T> Default for Range<'_, T> {
    fn default() -> Self {
        Self::new(map::Range::default())
    }
}

impl<T: Clone> Default for IntoIter<T> {
    fn default() -> Self {
        Self::new(map::IntoKeys::default())
    }
}

impl<T> Clone for Iter<'_, T> {
    fn clone(&self) -> Self {
        Self {
            iter: self.iter.clone(),
        }
    }
}

impl<T> Clone for Range<'_, T> {
    fn clone(&self) -> Self {
        Self {
            range: self.range.clone(),
        }
    }
}

impl<T: fmt::Debug> fmt::Debug for Iter<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.clone()).finish()
    }
}

impl<T: fmt::Debug> fmt::Debug for Range<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.clone()).finish()
    }
}

impl<T: Clone> fmt::Debug for IntoIter<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IntoIter")
            .field("len", &self.iter.len())
            .finish_non_exhaustive()
    }
}

impl<T: Clone, F> fmt::Debug for ExtractIf<'_, T, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExtractIf").finish_non_exhaustive()
    }
}
