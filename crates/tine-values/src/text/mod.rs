//! [`Text`]: a string that is short, static or shared.
//!
//! **Invariant:** the bytes of a [`Text`] are UTF-8, always; every edit begins and ends between characters.

mod compare;
mod edit;
mod from;
mod iter;
#[cfg(feature = "proptest")]
mod proptest;
#[cfg(feature = "serde")]
mod serde;

use alloc::string::{FromUtf16Error, String};
use core::fmt::{self, Write};
use core::ops::{Deref, Index, IndexMut, RangeBounds};
use core::slice::SliceIndex;
use core::str::Utf8Error;

pub use self::iter::Drain;
use crate::bytes::{Bytes, raw::Raw, within};

/// A string that is cheap to clone, to cut and to hold.
///
/// It takes 24 bytes. Up to 23 bytes of text are in it; a static text is borrowed, whatever its length; a longer one is
/// in one allocation that clones and slices share. A clone costs one count at most, [`slice`](Self::slice) too, and a
/// write copies the text only if somebody else has it. A sole owner writes in place and appends as a [`String`] does.
///
/// It derefs to [`str`], so all that reads a `str` reads it; methods that write have `String`'s names.
///
/// ```
/// use tine_values::{Text, text};
///
/// let page = Text::from("one\ntwo\nthree\nand so on, for longer than fits in the value itself\n");
/// let lines: Vec<Text> = page.lines().map(|line| page.slice_ref(line)).collect();  // nothing long is copied
/// let mut last = lines[3].clone();
/// last.push('!');                                                                  // copies this line
/// assert_eq!(last, text!("{}!", lines[3]));
/// assert!(!page.contains('!'));
/// ```
///
/// # Why this is allowed
///
/// C++98 allowed strings that share, and C++11 forbade them: `operator[]` on a string that is not `const` may be a write, so it has to
/// take its own copy of what is shared, and moves the text away from references, pointers and iterators that somebody still uses.
/// (`char const* p = s.data(); { string t(s); s[0]; } use(p);`: `s[0]` moves `s` to a copy, and with `t` the bytes go that
/// `p` points to.) Here a reference into a text borrows it, and whatever may move the text takes `&mut self`: as long as safe code holds the
/// reference, the compiler lets nobody write. Reading never copies.
///
/// C++11's other reason was the price: a count on every copy, where short strings are copied faster. Hence the 23 bytes.
#[derive(Clone, Default)]
#[repr(transparent)]
pub struct Text(Bytes);

impl Text {
    /// How many bytes of text need no allocation.
    pub const INLINE: usize = Bytes::INLINE;

    /// Returns an empty text. Allocates nothing.
    pub const fn new() -> Self {
        Self(Bytes::new())
    }

    /// Returns a static text where it is, whatever its length. A write copies it.
    pub const fn from_static(text: &'static str) -> Self {
        Self(Bytes::from_static(text.as_bytes()))
    }

    /// Returns an empty text with room for `capacity` bytes at least: one allocation if that is more than
    /// [`INLINE`](Self::INLINE).
    pub fn with_capacity(capacity: usize) -> Self {
        Self(Bytes::with_capacity(capacity))
    }

    /// Returns the formatted text; the macro [`text!`](crate::text!) calls it.
    ///
    /// # Panics
    ///
    /// If something that is formatted says that it cannot be, as [`format!`](alloc::format) does.
    pub fn from_fmt(arguments: fmt::Arguments<'_>) -> Self {
        if let Some(text) = arguments.as_str() {
            return Self::from_static(text);
        }
        let mut text = Self::new();
        let formatted = text.write_fmt(arguments);
        formatted.expect("what is formatted returns no error of its own");
        text
    }

    /// Returns the bytes as a text, without a copy. Reads them once: O(n).
    ///
    /// # Errors
    ///
    /// When they are not UTF-8; the error has them.
    pub fn from_utf8(bytes: Bytes) -> Result<Self, FromUtf8Error> {
        match core::str::from_utf8(&bytes) {
            Ok(_) => Ok(Self(bytes)),
            Err(error) => Err(FromUtf8Error { bytes, error }),
        }
    }

    /// Returns the bytes as a text; what is not UTF-8 is replaced, and then the text is copied.
    pub fn from_utf8_lossy(bytes: Bytes) -> Self {
        Self::from_utf8(bytes).unwrap_or_else(|error| Self::from(String::from_utf8_lossy(&error.bytes)))
    }

    /// Returns the text that is written in UTF-16.
    ///
    /// # Errors
    ///
    /// When a surrogate stands alone.
    pub fn from_utf16(units: &[u16]) -> Result<Self, FromUtf16Error> {
        String::from_utf16(units).map(Self::from)
    }

    /// Returns the text that is written in UTF-16; surrogates that stand alone are replaced.
    pub fn from_utf16_lossy(units: &[u16]) -> Self {
        let characters = char::decode_utf16(units.iter().copied());
        characters
            .map(|character| character.unwrap_or(char::REPLACEMENT_CHARACTER))
            .collect()
    }

    /// Returns the bytes of the text. Copies nothing.
    pub fn into_bytes(self) -> Bytes {
        self.0
    }

    /// Returns the text. Costs a branch.
    #[inline]
    #[allow(
        unsafe_code,
        reason = "one of the two places that rely on the module's invariant"
    )]
    pub fn as_str(&self) -> &str {
        // SAFETY: the bytes are UTF-8 (invariant).
        unsafe { core::str::from_utf8_unchecked(self.0.as_slice()) }
    }

    /// Returns how many bytes the text has.
    #[inline]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns whether the text has no characters.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns how many bytes fit where these are; as many as there are, if a write would copy them.
    pub fn capacity(&self) -> usize {
        self.0.capacity()
    }

    /// Makes room for `additional` bytes: then appending so many allocates nothing. Copies the text if it is shared or
    /// static.
    ///
    /// # Panics
    ///
    /// If so many do not fit the address space, as all that adds text does.
    pub fn reserve(&mut self, additional: usize) {
        self.0.reserve(additional);
    }

    /// Gives back what room there is, if nobody else has the text.
    pub fn shrink_to_fit(&mut self) {
        self.0.shrink_to_fit();
    }

    /// Returns whether a write would copy nothing: a short text, or an allocation that nobody else has. A static text is
    /// never unique.
    #[inline]
    pub fn is_unique(&self) -> bool {
        self.0.is_unique()
    }

    /// Returns whether both are the same text in memory: one a clone of the other. Of short ones, whether they are equal.
    pub fn ptr_eq(&self, other: &Self) -> bool {
        self.0.ptr_eq(&other.0)
    }

    /// Returns the text for writing if that copies nothing.
    #[inline]
    #[allow(
        unsafe_code,
        reason = "a `&mut str` keeps the invariant, as one of a `String` does"
    )]
    pub fn get_mut(&mut self) -> Option<&mut str> {
        // SAFETY: the bytes are UTF-8 (invariant), and remain so.
        let text = |bytes| unsafe { core::str::from_utf8_unchecked_mut(bytes) };
        self.0.get_mut().map(text)
    }

    /// Returns the text for writing, for what leaves its length, such as
    /// [`make_ascii_uppercase`](str::make_ascii_uppercase). Copies it if it is shared or static: O(n) then.
    #[inline]
    #[allow(unsafe_code, reason = "as in `get_mut`")]
    pub fn as_mut_str(&mut self) -> &mut str {
        // SAFETY: the bytes are UTF-8 (invariant), and remain so.
        unsafe { core::str::from_utf8_unchecked_mut(self.0.as_mut_slice()) }
    }

    /// Returns a part of the text. O(1): the part shares the allocation, unless it has at most
    /// [`INLINE`](Self::INLINE) bytes or would keep more than 8 times its size alive. Then it is a copy.
    ///
    /// # Panics
    ///
    /// If the range is not within the text or cuts a character, as indexing a `str` does.
    #[inline]
    pub fn slice(&self, range: impl RangeBounds<usize>) -> Self {
        let range = within(range, self.len());
        Self(self.0.slice(self.checked(range)))
    }

    /// Returns the part of the text that `part` is, as [`slice`](Self::slice) does: what a method of `str` has found
    /// becomes a `Text` without a copy, be it by `trim`, `split_at`, `lines` or a regular expression.
    ///
    /// # Panics
    ///
    /// If `part` is not a part of this text, and not empty.
    ///
    /// ```
    /// # use tine_values::Text;
    /// let line = Text::from_static("  key = value  ");
    /// let parts: Vec<Text> = line.split('=').map(|part| line.slice_ref(part.trim())).collect();
    /// assert_eq!(parts, ["key", "value"]);
    /// ```
    pub fn slice_ref(&self, part: &str) -> Self {
        Self(self.0.slice_ref(part.as_bytes()))
    }

    /// Returns how many bytes of the heap only this text refers to: what dropping it gives back.
    pub fn own_bytes(&self) -> usize {
        self.0.own_bytes()
    }

    /// Returns how many bytes of the heap others refer to, too: the whole allocation, also if this is a part of it.
    pub fn shared_bytes(&self) -> usize {
        self.0.shared_bytes()
    }

    fn from_raw(raw: Raw) -> Self {
        Self(Bytes(raw))
    }
}

/// Makes a [`Text`] as [`format!`](alloc::format) makes a `String`. Up to 23 bytes, and a text without arguments, need no allocation.
///
/// ```
/// use tine_values::text;
///
/// assert_eq!(text!("{}-{:03}", "item", 7), "item-007");
/// ```
#[macro_export]
macro_rules! text {
    ($($arguments:tt)*) => {
        $crate::Text::from_fmt(::core::format_args!($($arguments)*))
    };
}

/// Bytes that are no text. What [`Text::from_utf8`] fails with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FromUtf8Error {
    bytes: Bytes,
    error: Utf8Error,
}

impl FromUtf8Error {
    /// Returns the bytes.
    pub fn into_bytes(self) -> Bytes {
        self.bytes
    }

    /// Returns where they are no text, and why.
    pub fn utf8_error(&self) -> Utf8Error {
        self.error
    }
}

impl fmt::Display for FromUtf8Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl core::error::Error for FromUtf8Error {}

impl Deref for Text {
    type Target = str;

    #[inline]
    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl<I: SliceIndex<str>> Index<I> for Text {
    type Output = I::Output;

    #[inline]
    fn index(&self, index: I) -> &I::Output {
        &self.as_str()[index]
    }
}

impl<I: SliceIndex<str>> IndexMut<I> for Text {
    /// A write: copies the text if it is shared or static.
    #[inline]
    fn index_mut(&mut self, index: I) -> &mut I::Output {
        &mut self.as_mut_str()[index]
    }
}

impl fmt::Write for Text {
    #[inline]
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.push_str(text);
        Ok(())
    }

    #[inline]
    fn write_char(&mut self, character: char) -> fmt::Result {
        self.push(character);
        Ok(())
    }
}
