//! What a [`Text`] is made from, and what is made from it.

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::convert::Infallible;
use core::error::Error;
use core::str::FromStr;

use super::{FromUtf8Error, Text};
use crate::bytes::Bytes;

impl From<&str> for Text {
    /// Copies the text.
    #[inline]
    fn from(text: &str) -> Self {
        Self(Bytes::from(text.as_bytes()))
    }
}

impl From<&mut str> for Text {
    /// Copies the text.
    fn from(text: &mut str) -> Self {
        Self::from(&*text)
    }
}

impl From<String> for Text {
    /// Copies the text: a `String`'s allocation has no place for a count.
    fn from(text: String) -> Self {
        Self::from(&*text)
    }
}

impl From<&String> for Text {
    /// Copies the text.
    fn from(text: &String) -> Self {
        Self::from(text.as_str())
    }
}

impl From<Box<str>> for Text {
    /// Copies the text.
    fn from(text: Box<str>) -> Self {
        Self::from(&*text)
    }
}

impl From<Cow<'_, str>> for Text {
    /// Copies the text.
    fn from(text: Cow<'_, str>) -> Self {
        Self::from(&*text)
    }
}

impl From<char> for Text {
    /// Allocates nothing.
    fn from(character: char) -> Self {
        Self::from(&*character.encode_utf8(&mut [0; 4]))
    }
}

impl FromStr for Text {
    type Err = Infallible;

    /// Copies the text; never fails.
    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self::from(text))
    }
}

impl TryFrom<Bytes> for Text {
    type Error = FromUtf8Error;

    /// Copies nothing; [`from_utf8`](Text::from_utf8).
    fn try_from(bytes: Bytes) -> Result<Self, FromUtf8Error> {
        Self::from_utf8(bytes)
    }
}

impl From<Text> for Bytes {
    /// Copies nothing.
    fn from(text: Text) -> Self {
        text.into_bytes()
    }
}

impl From<&Text> for Text {
    /// Clones the text.
    fn from(text: &Text) -> Self {
        text.clone()
    }
}

impl From<Text> for String {
    /// Copies the text.
    fn from(text: Text) -> Self {
        Self::from(text.as_str())
    }
}

impl From<&Text> for String {
    /// Copies the text.
    fn from(text: &Text) -> Self {
        Self::from(text.as_str())
    }
}

impl From<Text> for Box<str> {
    /// Copies the text.
    fn from(text: Text) -> Self {
        Self::from(text.as_str())
    }
}

/// Copies the text into what owns a `str`, or takes one.
macro_rules! into_owned {
    ($($other:ty;)*) => {$(
        impl From<Text> for $other {
            /// Copies the text.
            fn from(text: Text) -> Self {
                Self::from(text.as_str())
            }
        }
    )*};
}

into_owned! {
    Arc<str>;
    Rc<str>;
    Vec<u8>;
    Box<dyn Error>;
    Box<dyn Error + Send + Sync>;
}

impl From<Text> for Cow<'_, str> {
    /// Copies the text.
    fn from(text: Text) -> Self {
        Cow::Owned(text.into())
    }
}

impl<'a> From<&'a Text> for Cow<'a, str> {
    /// Borrows the text.
    fn from(text: &'a Text) -> Self {
        Cow::Borrowed(text)
    }
}
