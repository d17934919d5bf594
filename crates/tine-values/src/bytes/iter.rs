//! Going through [`Bytes`], and making them of what an iterator gives.

use core::iter::FusedIterator;
use core::slice;

use super::Bytes;

/// Gives the bytes of a [`Bytes`] by value.
#[derive(Clone, Debug, Default)]
pub struct IntoIter {
    bytes: Bytes,
    /// How many have been taken, from the front and from the end.
    taken: (usize, usize),
}

impl IntoIter {
    /// Returns what is left.
    pub fn as_slice(&self) -> &[u8] {
        &self.bytes[self.taken.0..self.bytes.len() - self.taken.1]
    }
}

impl Iterator for IntoIter {
    type Item = u8;

    fn next(&mut self) -> Option<u8> {
        let &next = self.as_slice().first()?;
        self.taken.0 += 1;
        Some(next)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.as_slice().len();
        (left, Some(left))
    }
}

impl DoubleEndedIterator for IntoIter {
    fn next_back(&mut self) -> Option<u8> {
        let &last = self.as_slice().last()?;
        self.taken.1 += 1;
        Some(last)
    }
}

impl ExactSizeIterator for IntoIter {}
impl FusedIterator for IntoIter {}

impl IntoIterator for Bytes {
    type Item = u8;
    type IntoIter = IntoIter;

    fn into_iter(self) -> IntoIter {
        IntoIter {
            bytes: self,
            taken: (0, 0),
        }
    }
}

impl<'a> IntoIterator for &'a Bytes {
    type Item = &'a u8;
    type IntoIter = slice::Iter<'a, u8>;

    fn into_iter(self) -> slice::Iter<'a, u8> {
        self.iter()
    }
}

impl<'a> IntoIterator for &'a mut Bytes {
    type Item = &'a mut u8;
    type IntoIter = slice::IterMut<'a, u8>;

    /// A write: copies the bytes if they are shared or static.
    fn into_iter(self) -> slice::IterMut<'a, u8> {
        self.as_mut_slice().iter_mut()
    }
}

impl Extend<u8> for Bytes {
    fn extend<I: IntoIterator<Item = u8>>(&mut self, bytes: I) {
        let bytes = bytes.into_iter();
        self.reserve(bytes.size_hint().0);
        bytes.for_each(|byte| self.push(byte));
    }
}

impl<'a> Extend<&'a u8> for Bytes {
    fn extend<I: IntoIterator<Item = &'a u8>>(&mut self, bytes: I) {
        self.extend(bytes.into_iter().copied());
    }
}

impl FromIterator<u8> for Bytes {
    fn from_iter<I: IntoIterator<Item = u8>>(bytes: I) -> Self {
        let mut new = Self::new();
        new.extend(bytes);
        new
    }
}
