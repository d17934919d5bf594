//! The iterators of a [`Set`](super::Set), which are those of its map.

use core::fmt;
use core::hash::{BuildHasher, Hash};
use core::iter::FusedIterator;

use crate::map;

/// The elements of a set: what [`Set::iter`](super::Set::iter) returns.
pub struct Iter<'a, T>(map::Keys<'a, T, ()>);

/// The elements of a set by value: what its `into_iter` returns. Those that others share are cloned.
pub struct IntoIter<T>(map::IntoKeys<T, ()>);

/// The elements that a set had: what [`Set::drain`](super::Set::drain) returns. Those that others share are cloned.
pub struct Drain<'a, T>(map::Drain<'a, T, ()>);

/// The elements that a closure takes out of a set: what [`Set::extract_if`](super::Set::extract_if) returns.
#[must_use = "it removes elements only as it is advanced"]
pub struct ExtractIf<'a, T, S, F>(map::ExtractIf<'a, T, (), S, F>);

impl<'a, T> Iter<'a, T> {
    pub(super) fn new(keys: map::Keys<'a, T, ()>) -> Self {
        Self(keys)
    }
}

impl<T> IntoIter<T> {
    pub(super) fn new(keys: map::IntoKeys<T, ()>) -> Self {
        Self(keys)
    }
}

impl<'a, T> Drain<'a, T> {
    pub(super) fn new(entries: map::Drain<'a, T, ()>) -> Self {
        Self(entries)
    }
}

impl<'a, T, S, F> ExtractIf<'a, T, S, F> {
    pub(super) fn new(entries: map::ExtractIf<'a, T, (), S, F>) -> Self {
        Self(entries)
    }
}

impl<T> Default for Iter<'_, T> {
    fn default() -> Self {
        Self(map::Keys::default())
    }
}

impl<T> Default for IntoIter<T> {
    fn default() -> Self {
        Self(map::IntoKeys::default())
    }
}

impl<T> Clone for Iter<'_, T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<'a, T> Iterator for Iter<'a, T> {
    type Item = &'a T;

    #[inline]
    fn next(&mut self) -> Option<&'a T> {
        self.0.next()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }

    #[inline]
    fn fold<B, F: FnMut(B, &'a T) -> B>(self, init: B, fold: F) -> B {
        self.0.fold(init, fold)
    }
}

impl<T: Clone> Iterator for IntoIter<T> {
    type Item = T;

    #[inline]
    fn next(&mut self) -> Option<T> {
        self.0.next()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

impl<T: Clone> Iterator for Drain<'_, T> {
    type Item = T;

    #[inline]
    fn next(&mut self) -> Option<T> {
        self.0.next().map(|(value, ())| value)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

impl<T: Hash + Clone, S: BuildHasher, F: FnMut(&T) -> bool> Iterator for ExtractIf<'_, T, S, F> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        self.0.next_by_key().map(|(value, ())| value)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, Some(self.0.left_at_most()))
    }
}

impl<T> ExactSizeIterator for Iter<'_, T> {}
impl<T> FusedIterator for Iter<'_, T> {}
impl<T: Clone> ExactSizeIterator for IntoIter<T> {}
impl<T: Clone> FusedIterator for IntoIter<T> {}
impl<T: Clone> ExactSizeIterator for Drain<'_, T> {}
impl<T: Clone> FusedIterator for Drain<'_, T> {}

impl<T: Hash + Clone, S: BuildHasher, F: FnMut(&T) -> bool> FusedIterator for ExtractIf<'_, T, S, F> {}

impl<T: fmt::Debug> fmt::Debug for Iter<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<T> fmt::Debug for IntoIter<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<T> fmt::Debug for Drain<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<T, S, F> fmt::Debug for ExtractIf<'_, T, S, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
