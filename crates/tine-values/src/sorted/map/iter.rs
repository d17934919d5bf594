//! Iterators over a map's entries, keys and values, all in key order.

use core::fmt;
use core::iter::FusedIterator;

use crate::sorted::walk::{WalkMut, WalkRef};

/// The entries of a range of a map: what [`SortedMap::range`](super::SortedMap::range) returns.
pub struct Range<'a, K, V> {
    walk: Option<WalkRef<'a, K, V>>,
}

/// The entries of a range of a map, with the values to write: what
/// [`SortedMap::range_mut`](super::SortedMap::range_mut) returns.
pub struct RangeMut<'a, K, V> {
    walk: Option<WalkMut<'a, K, V>>,
}

/// The entries of a map: what [`SortedMap::iter`](super::SortedMap::iter) returns.
pub struct Iter<'a, K, V> {
    range: Range<'a, K, V>,
    len: usize,
}

/// The entries of a map, with the values to write: what [`SortedMap::iter_mut`](super::SortedMap::iter_mut) returns.
pub struct IterMut<'a, K, V> {
    range: RangeMut<'a, K, V>,
    len: usize,
}

/// The keys of a map: what [`SortedMap::keys`](super::SortedMap::keys) returns.
pub struct Keys<'a, K, V> {
    iter: Iter<'a, K, V>,
}

/// The values of a map: what [`SortedMap::values`](super::SortedMap::values) returns.
pub struct Values<'a, K, V> {
    iter: Iter<'a, K, V>,
}

/// The values of a map, to write: what [`SortedMap::values_mut`](super::SortedMap::values_mut) returns.
pub struct ValuesMut<'a, K, V> {
    iter: IterMut<'a, K, V>,
}

impl<'a, K, V> Range<'a, K, V> {
    pub(super) fn new(walk: Option<WalkRef<'a, K, V>>) -> Self {
        Self { walk }
    }
}

impl<'a, K, V> RangeMut<'a, K, V> {
    pub(super) fn new(walk: Option<WalkMut<'a, K, V>>) -> Self {
        Self { walk }
    }
}

impl<'a, K, V> Iter<'a, K, V> {
    /// Returns an iterator over `walk`, which has `len` entries.
    pub(super) fn new(walk: Option<WalkRef<'a, K, V>>, len: usize) -> Self {
        Self {
            range: Range::new(walk),
            len,
        }
    }
}

impl<'a, K, V> IterMut<'a, K, V> {
    /// Returns an iterator over `walk`, which has `len` entries.
    pub(super) fn new(walk: Option<WalkMut<'a, K, V>>, len: usize) -> Self {
        Self {
            range: RangeMut::new(walk),
            len,
        }
    }
}

impl<'a, K, V> Keys<'a, K, V> {
    pub(super) fn new(iter: Iter<'a, K, V>) -> Self {
        Self { iter }
    }
}

impl<'a, K, V> Values<'a, K, V> {
    pub(super) fn new(iter: Iter<'a, K, V>) -> Self {
        Self { iter }
    }
}

impl<'a, K, V> ValuesMut<'a, K, V> {
    pub(super) fn new(iter: IterMut<'a, K, V>) -> Self {
        Self { iter }
    }
}

/// Implements the iterators that go through a walk and do not know how far.
macro_rules! walking {
    ($name:ident, $item:ty, $($bound:tt)*) => {
        impl<'a, $($bound)*> Iterator for $name<'a, K, V> {
            type Item = $item;

            #[inline]
            fn next(&mut self) -> Option<$item> {
                self.walk.as_mut()?.next()
            }

            fn size_hint(&self) -> (usize, Option<usize>) {
                self.walk.as_ref().map_or((0, Some(0)), Iterator::size_hint)
            }

            fn fold<B, F: FnMut(B, $item) -> B>(self, init: B, f: F) -> B {
                match self.walk {
                    Some(walk) => walk.fold(init, f),
                    None => init,
                }
            }

            fn last(mut self) -> Option<$item> {
                self.next_back()
            }

            fn min(mut self) -> Option<$item>
            where
                $item: Ord,
            {
                self.next()
            }

            fn max(mut self) -> Option<$item>
            where
                $item: Ord,
            {
                self.next_back()
            }
        }

        impl<'a, $($bound)*> DoubleEndedIterator for $name<'a, K, V> {
            #[inline]
            fn next_back(&mut self) -> Option<$item> {
                self.walk.as_mut()?.next_back()
            }
        }

        impl<$($bound)*> FusedIterator for $name<'_, K, V> {}
    };
}

walking!(Range, (&'a K, &'a V), K, V);
walking!(RangeMut, (&'a K, &'a mut V), K: Clone, V: Clone);

/// Implements the iterators that go through all of a map and know how much is left.
macro_rules! counting {
    ($name:ident, $item:ty, $($bound:tt)*) => {
        impl<'a, $($bound)*> Iterator for $name<'a, K, V> {
            type Item = $item;

            #[inline]
            fn next(&mut self) -> Option<$item> {
                let entry = self.range.next()?;
                self.len -= 1;
                Some(entry)
            }

            fn size_hint(&self) -> (usize, Option<usize>) {
                (self.len, Some(self.len))
            }

            fn fold<B, F: FnMut(B, $item) -> B>(self, init: B, f: F) -> B {
                self.range.fold(init, f)
            }

            fn count(self) -> usize {
                self.len
            }

            fn last(mut self) -> Option<$item> {
                self.next_back()
            }

            fn min(mut self) -> Option<$item>
            where
                $item: Ord,
            {
                self.next()
            }

            fn max(mut self) -> Option<$item>
            where
                $item: Ord,
            {
                self.next_back()
            }
        }

        impl<'a, $($bound)*> DoubleEndedIterator for $name<'a, K, V> {
            #[inline]
            fn next_back(&mut self) -> Option<$item> {
                let entry = self.range.next_back()?;
                self.len -= 1;
                Some(entry)
            }
        }

        impl<$($bound)*> ExactSizeIterator for $name<'_, K, V> {
            fn len(&self) -> usize {
                self.len
            }
        }

        impl<$($bound)*> FusedIterator for $name<'_, K, V> {}
    };
}

counting!(Iter, (&'a K, &'a V), K, V);
counting!(IterMut, (&'a K, &'a mut V), K: Clone, V: Clone);

/// Implements the iterators that give a part of each entry of another.
macro_rules! picking {
    ($name:ty, $item:ty, $pick:expr, [$($generics:tt)*]) => {
        impl<$($generics)*> Iterator for $name {
            type Item = $item;

            #[inline]
            fn next(&mut self) -> Option<$item> {
                self.iter.next().map($pick)
            }

            fn size_hint(&self) -> (usize, Option<usize>) {
                self.iter.size_hint()
            }

            fn fold<B, F: FnMut(B, $item) -> B>(self, init: B, mut f: F) -> B {
                self.iter.fold(init, |folded, entry| f(folded, $pick(entry)))
            }

            fn count(self) -> usize {
                self.iter.len()
            }

            fn last(mut self) -> Option<$item> {
                self.next_back()
            }
        }

        impl<$($generics)*> DoubleEndedIterator for $name {
            #[inline]
            fn next_back(&mut self) -> Option<$item> {
                self.iter.next_back().map($pick)
            }
        }

        impl<$($generics)*> ExactSizeIterator for $name {
            fn len(&self) -> usize {
                self.iter.len()
            }
        }

        impl<$($generics)*> core::iter::FusedIterator for $name {}
    };
}
pub(in crate::sorted) use picking;

picking!(Keys<'a, K, V>, &'a K, |(key, _)| key, ['a, K, V]);
picking!(Values<'a, K, V>, &'a V, |(_, value)| value, ['a, K, V]);
picking!(ValuesMut<'a, K, V>, &'a mut V, |(_, value)| value, ['a, K: Clone, V: Clone]);

impl<K, V> Clone for Range<'_, K, V> {
    fn clone(&self) -> Self {
        Self {
            walk: self.walk.clone(),
        }
    }
}

impl<K, V> Clone for Iter<'_, K, V> {
    fn clone(&self) -> Self {
        Self {
            range: self.range.clone(),
            len: self.len,
        }
    }
}

impl<K, V> Clone for Keys<'_, K, V> {
    fn clone(&self) -> Self {
        Self {
            iter: self.iter.clone(),
        }
    }
}

impl<K, V> Clone for Values<'_, K, V> {
    fn clone(&self) -> Self {
        Self {
            iter: self.iter.clone(),
        }
    }
}

impl<K, V> Default for Range<'_, K, V> {
    fn default() -> Self {
        Self { walk: None }
    }
}

impl<K, V> Default for RangeMut<'_, K, V> {
    fn default() -> Self {
        Self { walk: None }
    }
}

impl<K, V> Default for Iter<'_, K, V> {
    fn default() -> Self {
        Self::new(None, 0)
    }
}

impl<K, V> Default for Keys<'_, K, V> {
    fn default() -> Self {
        Self::new(Iter::default())
    }
}

impl<K, V> Default for Values<'_, K, V> {
    fn default() -> Self {
        Self::new(Iter::default())
    }
}

impl<K, V> Default for IterMut<'_, K, V> {
    fn default() -> Self {
        Self::new(None, 0)
    }
}

impl<K, V> Default for ValuesMut<'_, K, V> {
    fn default() -> Self {
        Self::new(IterMut::default())
    }
}

impl<K: fmt::Debug, V: fmt::Debug> fmt::Debug for Range<'_, K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.clone()).finish()
    }
}

impl<K: fmt::Debug, V: fmt::Debug> fmt::Debug for Iter<'_, K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.clone()).finish()
    }
}

impl<K: fmt::Debug, V> fmt::Debug for Keys<'_, K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.clone()).finish()
    }
}

impl<K, V: fmt::Debug> fmt::Debug for Values<'_, K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.clone()).finish()
    }
}

impl<K, V> fmt::Debug for RangeMut<'_, K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RangeMut").finish_non_exhaustive()
    }
}

impl<K, V> fmt::Debug for IterMut<'_, K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IterMut")
            .field("len", &self.len)
            .finish_non_exhaustive()
    }
}

impl<K, V> fmt::Debug for ValuesMut<'_, K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ValuesMut").finish_non_exhaustive()
    }
}
