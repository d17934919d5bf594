//! How [`Bytes`] compare, hash and show: as `[u8]` does.

use alloc::borrow::Cow;
use alloc::vec::Vec;
use core::borrow::Borrow;
use core::cmp::Ordering;
use core::fmt;
use core::hash::{Hash, Hasher};

use super::Bytes;

impl PartialEq for Bytes {
    /// The same bytes in memory are equal unseen.
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        let (ours, theirs) = (self.as_slice(), other.as_slice());
        ours.len() == theirs.len() && (ours.as_ptr() == theirs.as_ptr() || ours == theirs)
    }
}

impl Eq for Bytes {}

impl PartialOrd for Bytes {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Bytes {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_slice().cmp(other)
    }
}

impl Hash for Bytes {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_slice().hash(state);
    }
}

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_slice().fmt(f)
    }
}

impl AsRef<[u8]> for Bytes {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl Borrow<[u8]> for Bytes {
    fn borrow(&self) -> &[u8] {
        self
    }
}

/// Compares with what derefs to `[u8]`, both ways around.
macro_rules! compares_with {
    ($($other:ty $(, $size:ident)?;)*) => {$(
        impl<$(const $size: usize)?> PartialEq<$other> for Bytes {
            fn eq(&self, other: &$other) -> bool {
                self.as_slice() == &other[..]
            }
        }

        impl<$(const $size: usize)?> PartialEq<Bytes> for $other {
            fn eq(&self, other: &Bytes) -> bool {
                &self[..] == other.as_slice()
            }
        }

        impl<$(const $size: usize)?> PartialOrd<$other> for Bytes {
            fn partial_cmp(&self, other: &$other) -> Option<Ordering> {
                self.as_slice().partial_cmp(&other[..])
            }
        }

        impl<$(const $size: usize)?> PartialOrd<Bytes> for $other {
            fn partial_cmp(&self, other: &Bytes) -> Option<Ordering> {
                self[..].partial_cmp(other.as_slice())
            }
        }
    )*};
}

compares_with! {
    [u8];
    &[u8];
    [u8; N], N;
    &[u8; N], N;
    Vec<u8>;
    Cow<'_, [u8]>;
}
