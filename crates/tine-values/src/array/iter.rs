//! Going through an [`Array`]: as it is now, or as it was.

use core::iter::FusedIterator;
use core::ops::Range;

use super::inner::Inner;
use super::{Array, Key, KeyRef};
use crate::value::{Slot, Value};

/// The elements of a borrowed [`Array`], by [`Array::iter`].
#[derive(Clone)]
pub struct Iter<'a> {
    inner: Option<&'a Inner>,
    places: Range<usize>,
    left: usize,
}

impl<'a> Iter<'a> {
    pub(super) fn new(array: &'a Array) -> Self {
        let inner = array.inner();
        Self {
            inner,
            places: 0..inner.map_or(0, Inner::places),
            left: array.len(),
        }
    }
}

impl<'a> Iterator for Iter<'a> {
    type Item = (KeyRef<'a>, &'a Slot);

    fn next(&mut self) -> Option<Self::Item> {
        let inner = self.inner?;
        let next = self.places.find_map(|place| inner.at(place))?;
        self.left -= 1;
        Some(next)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl DoubleEndedIterator for Iter<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        let inner = self.inner?;
        let next = self.places.by_ref().rev().find_map(|place| inner.at(place))?;
        self.left -= 1;
        Some(next)
    }
}

impl ExactSizeIterator for Iter<'_> {}

impl FusedIterator for Iter<'_> {}

/// The elements of an [`Array`] as it was: `foreach` by value. It has a clone of the array, which costs a count, so the array may be
/// changed meanwhile.
pub struct IntoIter {
    array: Array,
    places: Range<usize>,
    left: usize,
}

impl Iterator for IntoIter {
    type Item = (Key, Value);

    fn next(&mut self) -> Option<Self::Item> {
        let inner = self.array.inner()?;
        let (key, slot) = self.places.find_map(|place| inner.at(place))?;
        self.left -= 1;
        Some((key.to_key(), slot.get()))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for IntoIter {}

impl FusedIterator for IntoIter {}

impl IntoIterator for Array {
    type Item = (Key, Value);
    type IntoIter = IntoIter;

    /// `foreach ($array as $key => $value)` over what the array is now: `for (key, value) in array.clone()`.
    fn into_iter(self) -> IntoIter {
        IntoIter {
            places: 0..self.inner().map_or(0, Inner::places),
            left: self.len(),
            array: self,
        }
    }
}

impl<'a> IntoIterator for &'a Array {
    type Item = (KeyRef<'a>, &'a Slot);
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}
