//! [`Bytes`]: a sequence of bytes that is short, static or shared.
//!
//! **Invariant:** there is none beyond that of `raw`, where the sharing is; [`Text`](crate::Text) is the same with
//! UTF-8 in it.

mod compare;
mod copy;
pub(crate) mod edits;
#[cfg(feature = "std")]
mod io;
mod iter;
#[cfg(feature = "proptest")]
mod proptest;
pub(crate) mod raw;
#[cfg(feature = "serde")]
mod serde;

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::ops::{Bound, Deref, Index, IndexMut, Range, RangeBounds};
use core::slice::SliceIndex;

pub use self::iter::IntoIter;
use self::raw::Raw;
use crate::change::{Edit, Overlap};

/// A sequence of bytes that is cheap to clone, to cut and to hold.
///
/// What [`Text`](crate::Text) is to [`str`], this is to `[u8]`: 24 bytes that hold up to 23 themselves, borrow static
/// ones, and keep longer ones in one allocation that clones and slices share. Writes copy what others have, and nothing
/// when this is the only owner; then they cost what a [`Vec`]'s cost.
///
/// ```
/// use tine_values::Bytes;
///
/// let packet = Bytes::from(vec![7; 1500]);
/// let (mut head, body) = (packet.slice(..400), packet.slice(400..));  // no copies
/// head.push(8);                                                       // copies the 400
/// assert_eq!((packet.len(), head.len(), body.len()), (1500, 401, 1100));
/// ```
#[derive(Clone)]
pub struct Bytes(pub(crate) Raw);

impl Bytes {
    /// How many bytes need no allocation.
    pub const INLINE: usize = raw::INLINE_MOST;

    /// Returns no bytes. Allocates nothing.
    pub const fn new() -> Self {
        Self(Raw::new())
    }

    /// Returns static bytes where they are, whatever their length. A write copies them.
    pub const fn from_static(bytes: &'static [u8]) -> Self {
        Self(Raw::from_static(bytes))
    }

    /// Returns no bytes, with room for `capacity` at least: one allocation if that is more than [`INLINE`](Self::INLINE).
    pub fn with_capacity(capacity: usize) -> Self {
        Self(Raw::with_capacity(capacity))
    }

    /// Returns the bytes. Costs a branch.
    #[inline]
    pub fn as_slice(&self) -> &[u8] {
        self.0.as_slice()
    }

    /// Returns how many bytes there are.
    #[inline]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns whether there are none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns how many bytes fit where these are; as many as there are, if a write would copy them.
    pub fn capacity(&self) -> usize {
        self.0.capacity()
    }

    /// Makes room for `additional` more: then appending so many allocates nothing. Copies the bytes if they are shared
    /// or static.
    ///
    /// # Panics
    ///
    /// If so many do not fit the address space, as all that adds bytes does.
    pub fn reserve(&mut self, additional: usize) {
        self.0.reserve(additional);
    }

    /// Gives back what room there is, if nobody else has the bytes.
    pub fn shrink_to_fit(&mut self) {
        self.0.shrink();
    }

    /// Returns whether a write would copy nothing: few bytes, or an allocation that nobody else has. Static bytes are
    /// never unique.
    #[inline]
    pub fn is_unique(&self) -> bool {
        self.0.is_unique()
    }

    /// Returns whether both are the same bytes in memory: one a clone of the other. Of short ones, whether they are equal.
    pub fn ptr_eq(&self, other: &Self) -> bool {
        self.0.ptr_eq(&other.0)
    }

    /// Returns the bytes for writing if that copies nothing.
    #[inline]
    pub fn get_mut(&mut self) -> Option<&mut [u8]> {
        self.0.get_mut()
    }

    /// Returns the bytes for writing. Copies them if they are shared or static: O(n) then.
    #[inline]
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        self.0.make_mut()
    }

    /// Returns a part of the bytes. O(1): the part shares the allocation, unless it has at most
    /// [`INLINE`](Self::INLINE) bytes or would keep more than 8 times its size alive. Then it is a copy.
    ///
    /// # Panics
    ///
    /// If the range is not within the bytes, as indexing a slice does.
    #[inline]
    pub fn slice(&self, range: impl RangeBounds<usize>) -> Self {
        Self(self.0.slice(within(range, self.len())))
    }

    /// Returns the part of the bytes that `part` is, as [`slice`](Self::slice) does: what a method of `[u8]` has found
    /// becomes `Bytes` without a copy.
    ///
    /// # Panics
    ///
    /// If `part` is not a part of these bytes, and not empty.
    ///
    /// ```
    /// # use tine_values::Bytes;
    /// let line = Bytes::from_static(b"  key = value  ");
    /// assert_eq!(line.slice_ref(line.trim_ascii()), *b"key = value");
    /// ```
    pub fn slice_ref(&self, part: &[u8]) -> Self {
        Self(self.0.slice(self.range_of(part)))
    }

    /// Returns where `part` is among the bytes. An empty part may have come from elsewhere, as by `unwrap_or_default`.
    pub(crate) fn range_of(&self, part: &[u8]) -> Range<usize> {
        if part.is_empty() {
            return 0..0;
        }
        let start = part.as_ptr().addr().wrapping_sub(self.as_slice().as_ptr().addr());
        let end = start.checked_add(part.len()).filter(|&end| end <= self.len());
        start..end.expect("a part of these bytes")
    }

    /// Appends a byte. Amortised O(1) for a sole owner.
    #[inline]
    pub fn push(&mut self, byte: u8) {
        self.0.push(byte);
    }

    /// Appends bytes.
    #[inline]
    pub fn extend_from_slice(&mut self, bytes: &[u8]) {
        self.0.extend(bytes);
    }

    /// Removes the last byte and returns it.
    pub fn pop(&mut self) -> Option<u8> {
        let &last = self.last()?;
        self.0.keep(0..self.len() - 1);
        Some(last)
    }

    /// Puts a byte before the one at `index`. O(n).
    ///
    /// # Panics
    ///
    /// If `index` is beyond the end.
    pub fn insert(&mut self, index: usize, byte: u8) {
        self.0.replace(index..index, &[byte]);
    }

    /// Removes the byte at `index` and returns it. O(n).
    ///
    /// # Panics
    ///
    /// If `index` is not within the bytes.
    pub fn remove(&mut self, index: usize) -> u8 {
        let byte = self[index];
        self.0.replace(index..index + 1, &[]);
        byte
    }

    /// Keeps the first `length` bytes; does nothing if there are no more. A sole owner keeps its room.
    pub fn truncate(&mut self, length: usize) {
        if length < self.len() {
            self.0.keep(0..length);
        }
    }

    /// Removes all bytes. A sole owner keeps its room.
    pub fn clear(&mut self) {
        self.truncate(0);
    }

    /// Makes the length `length`, by bytes `byte` at the end or by taking some away.
    pub fn resize(&mut self, length: usize, byte: u8) {
        self.truncate(length);
        self.reserve(length - self.len());
        while self.len() < length {
            let zeros = [byte; 64];
            self.extend_from_slice(&zeros[..zeros.len().min(length - self.len())]);
        }
    }

    /// Keeps the bytes for which `keep` is true. O(n). A panic in `keep` leaves all of them.
    pub fn retain(&mut self, mut keep: impl FnMut(u8) -> bool) {
        let Some(first) = self.iter().position(|&byte| !keep(byte)) else {
            return;
        };
        let mut kept = Vec::with_capacity(self.len() - first - 1);
        kept.extend(self[first + 1..].iter().copied().filter(|&byte| keep(byte)));
        self.0.replace(first..self.len(), &kept);
    }

    /// Moves all bytes of `other` behind these; `other` is empty then. Copies them, unless there are none here.
    pub fn append(&mut self, other: &mut Self) {
        if self.is_empty() {
            *self = core::mem::take(other);
        } else {
            self.extend_from_slice(other);
            *other = Self::new();
        }
    }

    /// Appends a range of the bytes once more.
    ///
    /// # Panics
    ///
    /// If the range is not within the bytes.
    pub fn extend_from_within(&mut self, range: impl RangeBounds<usize>) {
        let range = within(range, self.len());
        self.reserve(range.len());
        let part = Self::from(&self[range]);
        self.extend_from_slice(&part);
    }

    /// Removes the byte at `index` and returns it; the last takes its place.
    ///
    /// # Panics
    ///
    /// If the index is out of bounds.
    pub fn swap_remove(&mut self, index: usize) -> u8 {
        let removed = self[index];
        let last = self.pop().expect("there is a byte");
        if index < self.len() {
            self[index] = last;
        }
        removed
    }

    /// Puts `bytes` in the place of a range. O(n).
    ///
    /// # Panics
    ///
    /// If the range is not within the bytes.
    pub fn replace_range(&mut self, range: impl RangeBounds<usize>, bytes: &[u8]) {
        self.0.replace(within(range, self.len()), bytes);
    }

    /// Removes a range and returns what it had. Unlike a `Vec`'s, the range is gone even if the result is forgotten.
    ///
    /// # Panics
    ///
    /// If the range is not within the bytes.
    pub fn drain(&mut self, range: impl RangeBounds<usize>) -> IntoIter {
        let range = within(range, self.len());
        let drained = Self::from(&self[range.clone()]);
        self.0.replace(range, &[]);
        drained.into_iter()
    }

    /// Removes what is behind `at` and returns it, as [`slice`](Self::slice) does; both share the allocation then.
    ///
    /// # Panics
    ///
    /// If `at` is beyond the end.
    #[must_use = "`truncate` removes without a result"]
    pub fn split_off(&mut self, at: usize) -> Self {
        let behind = self.slice(at..);
        self.truncate(at);
        behind
    }

    /// Returns in which ranges the two differ, in order.
    ///
    /// What both share is skipped without looking: for clones and parts of one allocation this is O(1), unless the parts have one
    /// length and may be equal. Otherwise the beginning and the end that are equal cost a comparison, O(n). What lies between
    /// costs O(d²) for `d` bytes that were put in or taken out, O(n · d) where it repeats itself, up to 512; if there are
    /// more, which costs some 130,000 steps to find, it is one edit. There are no edits exactly if both are equal.
    /// What is equal between two edits has at least 8 bytes.
    pub fn diff(&self, other: &Self) -> impl Iterator<Item = Edit> + use<> {
        edits::between(self, other).into_iter()
    }

    /// Returns these bytes with the edits that both sides made of them. What both edited in different ways `resolve` is asked for,
    /// and returns what is to be there.
    ///
    /// Costs two times [`diff`](Self::diff) and a copy of the result, unless only one side has changed.
    pub fn merge(&self, ours: &Self, theirs: &Self, mut resolve: impl FnMut(Overlap) -> Self) -> Self {
        let edits = |side: &Self| edits::between(self, side);
        Self(edits::merge(
            [&self.0, &ours.0, &theirs.0],
            (edits(ours), edits(theirs)),
            |overlap| resolve(overlap).0,
        ))
    }

    /// Returns how many bytes of the heap only this value refers to: what dropping it gives back.
    pub fn own_bytes(&self) -> usize {
        self.0
            .block_bytes()
            .map_or(0, |(bytes, is_own)| if is_own { bytes } else { 0 })
    }

    /// Returns how many bytes of the heap others refer to, too: the whole allocation, also if this is a part of it.
    pub fn shared_bytes(&self) -> usize {
        self.0
            .block_bytes()
            .map_or(0, |(bytes, is_own)| if is_own { 0 } else { bytes })
    }
}

/// Returns the range as indexing a slice of `length` would take it, within or not.
pub(crate) fn within(range: impl RangeBounds<usize>, length: usize) -> Range<usize> {
    let start = match range.start_bound() {
        Bound::Included(&start) => start,
        Bound::Excluded(&before) => before.checked_add(1).expect("a range within the bytes"),
        Bound::Unbounded => 0,
    };
    let end = match range.end_bound() {
        Bound::Included(&last) => last.checked_add(1).expect("a range within the bytes"),
        Bound::Excluded(&end) => end,
        Bound::Unbounded => length,
    };
    start..end
}

impl Deref for Bytes {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        self.as_slice()
    }
}

impl Default for Bytes {
    fn default() -> Self {
        Self::new()
    }
}

impl<I: SliceIndex<[u8]>> Index<I> for Bytes {
    type Output = I::Output;

    #[inline]
    fn index(&self, index: I) -> &I::Output {
        &self.as_slice()[index]
    }
}

impl<I: SliceIndex<[u8]>> IndexMut<I> for Bytes {
    /// A write: copies the bytes if they are shared or static.
    #[inline]
    fn index_mut(&mut self, index: I) -> &mut I::Output {
        &mut self.as_mut_slice()[index]
    }
}

impl From<&[u8]> for Bytes {
    /// Copies the bytes.
    #[inline]
    fn from(bytes: &[u8]) -> Self {
        Self(Raw::copied(bytes))
    }
}

impl<const N: usize> From<[u8; N]> for Bytes {
    /// Copies the bytes.
    fn from(bytes: [u8; N]) -> Self {
        Self::from(&bytes[..])
    }
}

impl From<Vec<u8>> for Bytes {
    /// Copies the bytes: a vector's allocation has no place for a count.
    fn from(bytes: Vec<u8>) -> Self {
        Self::from(&bytes[..])
    }
}

impl From<Box<[u8]>> for Bytes {
    /// Copies the bytes.
    fn from(bytes: Box<[u8]>) -> Self {
        Self::from(&bytes[..])
    }
}

impl<const N: usize> From<&[u8; N]> for Bytes {
    /// Copies the bytes.
    fn from(bytes: &[u8; N]) -> Self {
        Self::from(&bytes[..])
    }
}

impl From<&str> for Bytes {
    /// Copies the text's bytes.
    fn from(text: &str) -> Self {
        Self::from(text.as_bytes())
    }
}

impl From<String> for Bytes {
    /// Copies the text's bytes.
    fn from(text: String) -> Self {
        Self::from(text.as_bytes())
    }
}

impl From<Cow<'_, [u8]>> for Bytes {
    /// Copies the bytes.
    fn from(bytes: Cow<'_, [u8]>) -> Self {
        Self::from(&bytes[..])
    }
}

impl From<Bytes> for Vec<u8> {
    /// Copies the bytes.
    fn from(bytes: Bytes) -> Self {
        bytes.to_vec()
    }
}

impl From<Bytes> for Box<[u8]> {
    /// Copies the bytes.
    fn from(bytes: Bytes) -> Self {
        Self::from(&bytes[..])
    }
}

impl<'a> From<&'a Bytes> for Cow<'a, [u8]> {
    /// Borrows the bytes.
    fn from(bytes: &'a Bytes) -> Self {
        Cow::Borrowed(bytes)
    }
}
