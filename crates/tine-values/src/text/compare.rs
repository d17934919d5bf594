//! How a [`Text`] compares, hashes and shows: as `str` does.

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::string::String;
use core::borrow::Borrow;
use core::cmp::Ordering;
use core::fmt;
use core::hash::{Hash, Hasher};
#[cfg(feature = "std")]
use std::{ffi::OsStr, path::Path};

use super::Text;

impl PartialEq for Text {
    /// The same text in memory is equal unseen.
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl Eq for Text {}

impl PartialOrd for Text {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Text {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_str().cmp(other)
    }
}

impl Hash for Text {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_str().fmt(f)
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_str().fmt(f)
    }
}

impl Borrow<str> for Text {
    fn borrow(&self) -> &str {
        self
    }
}

/// Lends the text as something else.
macro_rules! lends {
    ($($(#[$condition:meta])* $other:ty;)*) => {$(
        $(#[$condition])*
        impl AsRef<$other> for Text {
            fn as_ref(&self) -> &$other {
                self.as_str().as_ref()
            }
        }
    )*};
}

lends! {
    str;
    [u8];
    #[cfg(feature = "std")]
    OsStr;
    #[cfg(feature = "std")]
    Path;
}

/// Compares with what derefs to `str`, both ways around.
macro_rules! compares_with {
    ($($other:ty;)*) => {$(
        impl PartialEq<$other> for Text {
            fn eq(&self, other: &$other) -> bool {
                self.as_str() == &other[..]
            }
        }

        impl PartialEq<Text> for $other {
            fn eq(&self, other: &Text) -> bool {
                &self[..] == other.as_str()
            }
        }

        impl PartialOrd<$other> for Text {
            fn partial_cmp(&self, other: &$other) -> Option<Ordering> {
                self.as_str().partial_cmp(&other[..])
            }
        }

        impl PartialOrd<Text> for $other {
            fn partial_cmp(&self, other: &Text) -> Option<Ordering> {
                self[..].partial_cmp(other.as_str())
            }
        }
    )*};
}

compares_with! {
    str;
    &str;
    String;
    Box<str>;
    Cow<'_, str>;
}
