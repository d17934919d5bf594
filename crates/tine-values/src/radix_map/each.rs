//! Keys and values one by one: a range that has one value has as many as it is long.

use core::fmt;
use core::iter::{FusedIterator, Map};
use core::ops::{Range, RangeInclusive};

use super::iter::keys_of;
use super::{IntoIter, Iter, RadixMap};

/// The keys of a map: what [`RadixMap::keys`] returns.
pub struct Keys<'a, T> {
    each: Each<Iter<'a, T>, &'a T>,
}

/// The values of a map, one for each key: what [`RadixMap::values`] returns.
pub struct Values<'a, T> {
    each: Each<Iter<'a, T>, &'a T>,
}

/// The keys of a map that is given up: what [`RadixMap::into_keys`] returns.
pub struct IntoKeys<T: Clone> {
    each: Each<Map<IntoIter<T>, Valueless<T>>, ()>,
}

/// The values of a map that is given up, one for each key: what [`RadixMap::into_values`] returns.
pub struct IntoValues<T: Clone> {
    each: Each<IntoIter<T>, T>,
}

type Valueless<T> = fn((Range<u64>, T)) -> (Range<u64>, ());

/// What pieces have, key by key.
#[derive(Clone)]
struct Each<P, V> {
    pieces: P,
    /// The pieces that the front and the back are in; their keys are not empty.
    front: Option<(RangeInclusive<u64>, V)>,
    back: Option<(RangeInclusive<u64>, V)>,
}

impl<P, V> Each<P, V>
where
    P: DoubleEndedIterator<Item = (Range<u64>, V)>,
    V: Clone,
{
    fn new(pieces: P) -> Self {
        Self {
            pieces,
            front: None,
            back: None,
        }
    }

    #[inline]
    fn next(&mut self) -> Option<(u64, V)> {
        if self.front.is_none() {
            let piece = self.pieces.next().map(|(keys, value)| (keys_of(&keys), value));
            self.front = piece.or_else(|| self.back.take());
        }
        let (keys, value) = self.front.as_mut()?;
        let value = if keys.start() == keys.end() {
            return self.front.take().map(|(keys, value)| (*keys.start(), value));
        } else {
            value.clone()
        };
        keys.next().map(|key| (key, value))
    }

    #[inline]
    fn next_back(&mut self) -> Option<(u64, V)> {
        if self.back.is_none() {
            let piece = self
                .pieces
                .next_back()
                .map(|(keys, value)| (keys_of(&keys), value));
            self.back = piece.or_else(|| self.front.take());
        }
        let (keys, value) = self.back.as_mut()?;
        let value = if keys.start() == keys.end() {
            return self.back.take().map(|(keys, value)| (*keys.start(), value));
        } else {
            value.clone()
        };
        keys.next_back().map(|key| (key, value))
    }
}

/// What all four are: which of a key and its value they give, and to whom.
macro_rules! each {
    ($each:ident<$($lifetime:lifetime,)? T>, $item:ty, $part:tt, $($bounds:tt)*) => {
        impl<$($lifetime,)? T $($bounds)*> Iterator for $each<$($lifetime,)? T> {
            type Item = $item;

            #[inline]
            fn next(&mut self) -> Option<$item> {
                self.each.next().map(|entry| entry.$part)
            }

            fn last(mut self) -> Option<$item> {
                self.next_back()
            }
        }

        impl<$($lifetime,)? T $($bounds)*> DoubleEndedIterator for $each<$($lifetime,)? T> {
            #[inline]
            fn next_back(&mut self) -> Option<$item> {
                self.each.next_back().map(|entry| entry.$part)
            }
        }

        impl<$($lifetime,)? T $($bounds)*> FusedIterator for $each<$($lifetime,)? T> {}
    };
}

each!(Keys<'a, T>, u64, 0,);
each!(Values<'a, T>, &'a T, 1,);
each!(IntoKeys<T>, u64, 0, : Clone);
each!(IntoValues<T>, T, 1, : Clone);

impl<T> RadixMap<T> {
    /// Returns the keys, in order, one by one: a range that has one value has as many as it is long.
    pub fn keys(&self) -> Keys<'_, T> {
        Keys {
            each: Each::new(self.iter()),
        }
    }

    /// Returns the values in the order of their keys, one for each key: a range that has one value has it as many times
    /// as it is long.
    pub fn values(&self) -> Values<'_, T> {
        Values {
            each: Each::new(self.iter()),
        }
    }
}

impl<T: Clone> RadixMap<T> {
    /// Returns the keys, in order, one by one, and gives the map up.
    pub fn into_keys(self) -> IntoKeys<T> {
        IntoKeys {
            each: Each::new(self.into_iter().map(|(keys, _)| (keys, ()))),
        }
    }

    /// Returns the values in the order of their keys, one for each key, and gives the map up. The value of a range is cloned
    /// for each of its keys.
    pub fn into_values(self) -> IntoValues<T> {
        IntoValues {
            each: Each::new(self.into_iter()),
        }
    }
}

impl<T> Clone for Keys<'_, T> {
    fn clone(&self) -> Self {
        Self {
            each: self.each.clone(),
        }
    }
}

impl<T> Clone for Values<'_, T> {
    fn clone(&self) -> Self {
        Self {
            each: self.each.clone(),
        }
    }
}

impl<T> fmt::Debug for Keys<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.clone()).finish()
    }
}

impl<T: fmt::Debug> fmt::Debug for Values<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.clone()).finish()
    }
}

impl<T: Clone> fmt::Debug for IntoKeys<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IntoKeys").finish_non_exhaustive()
    }
}

impl<T: Clone> fmt::Debug for IntoValues<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IntoValues").finish_non_exhaustive()
    }
}
