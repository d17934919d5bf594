//! Keys: a whole number or a text.

use alloc::string::String;
use core::fmt;
use core::hash::{Hash, Hasher};

use equivalent::Equivalent;

use crate::{Text, Value};

/// A key of an [`Array`](super::Array). Numbers come before texts.
///
/// Whatever becomes a key by `From` stays what it is: `Key::from("1")` is a text, and another key than 1. PHP's conversions are in
/// [`php`](Self::php) and [`php_text`](Self::php_text).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// A whole number.
    Int(i64),
    /// A text.
    Text(Text),
}

/// A [`Key`] whose text is borrowed: what a look-up takes, and what iterators give.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum KeyRef<'a> {
    /// A whole number.
    Int(i64),
    /// A text.
    Text(&'a str),
}

/// How many floats there are to a whole number of 64 bits, on both sides of zero.
const TWO_TO_64: f64 = 18_446_744_073_709_551_616.0;

impl Key {
    /// Returns the key that PHP makes of a value: a text that is a whole number as PHP writes it ("1", "-5", but not "01", "+1", "1.0" or
    /// "-0") is that number; a float loses its fraction, and wraps beyond 64 bits; what is not finite is 0; true is 1, false 0; null is "".
    ///
    /// `None` for arrays and objects, which PHP refuses, and for bytes that are no text.
    ///
    /// ```
    /// # use tine_values::{Key, Value};
    /// for value in [Value::from("1"), true.into(), 1.7.into()] {
    ///     assert_eq!(Key::php(&value), Some(Key::Int(1)));
    /// }
    /// assert_eq!(Key::php(&"01".into()), Some(Key::from("01")));
    /// assert_eq!(Key::php(&Value::Null), Some(Key::from("")));
    /// ```
    pub fn php(value: &Value) -> Option<Self> {
        match value {
            Value::Null => Some(Self::Text(Text::new())),
            Value::Bool(value) => Some(Self::Int((*value).into())),
            Value::Int(value) => Some(Self::Int(*value)),
            Value::Float(value) => Some(Self::Int(whole(*value))),
            Value::Text(text) => Some(number(text).map_or_else(|| Self::Text(Text::clone(text)), Self::Int)),
            Value::Bytes(bytes) => Some(Self::php_text(core::str::from_utf8(bytes).ok()?)),
            Value::Array(_) | Value::Object(_) => None,
        }
    }

    /// Returns the key that PHP makes of a text.
    pub fn php_text(text: &str) -> Self {
        number(text).map_or_else(|| Self::Text(text.into()), Self::Int)
    }

    /// Returns the key with its text borrowed.
    #[inline]
    pub fn as_ref(&self) -> KeyRef<'_> {
        match self {
            Self::Int(number) => KeyRef::Int(*number),
            Self::Text(text) => KeyRef::Text(text),
        }
    }
}

/// Returns the whole number that PHP writes as this text, if there is one.
fn number(text: &str) -> Option<i64> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
    let is_plain = !digits.starts_with('0') || text == "0";
    (is_number && is_plain).then(|| text.parse().ok()).flatten()
}

/// Returns what PHP makes of a float where it wants a whole number.
fn whole(float: f64) -> i64 {
    const END: f64 = TWO_TO_64 / 2.0;
    if !float.is_finite() {
        0
    } else if (-END..END).contains(&float) {
        float as i64
    } else {
        // Beyond 2⁵³ there are no fractions; the remainder is exact.
        let rest = float % TWO_TO_64;
        (if rest < 0.0 { rest + TWO_TO_64 } else { rest }) as u64 as i64
    }
}

impl KeyRef<'_> {
    /// Returns the key with a text of its own.
    pub fn to_key(self) -> Key {
        match self {
            Self::Int(number) => Key::Int(number),
            Self::Text(text) => Key::Text(text.into()),
        }
    }
}

impl Hash for KeyRef<'_> {
    /// Hashes the number or the text, and not which it is, which would be one more word to hash.
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        match self {
            Self::Int(number) => number.hash(state),
            Self::Text(text) => text.hash(state),
        }
    }
}

impl Hash for Key {
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_ref().hash(state);
    }
}

impl Equivalent<Key> for KeyRef<'_> {
    #[inline]
    fn equivalent(&self, key: &Key) -> bool {
        *self == key.as_ref()
    }
}

impl PartialEq<Key> for KeyRef<'_> {
    fn eq(&self, other: &Key) -> bool {
        *self == other.as_ref()
    }
}

impl fmt::Debug for KeyRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Int(number) => number.fmt(f),
            Self::Text(text) => text.fmt(f),
        }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_ref().fmt(f)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Int(number) => number.fmt(f),
            Self::Text(text) => text.fmt(f),
        }
    }
}

impl From<Key> for Value {
    fn from(key: Key) -> Self {
        match key {
            Key::Int(number) => number.into(),
            Key::Text(text) => text.into(),
        }
    }
}

macro_rules! from {
    ($($other:ty => $variant:ident;)+) => {
        $(
            impl From<$other> for Key {
                fn from(key: $other) -> Self {
                    Self::$variant(key.into())
                }
            }
        )+
    };
}

from! {
    i64 => Int;
    i32 => Int;
    u32 => Int;
    &str => Text;
    String => Text;
    Text => Text;
}

impl From<KeyRef<'_>> for Key {
    fn from(key: KeyRef<'_>) -> Self {
        key.to_key()
    }
}

impl From<i64> for KeyRef<'_> {
    fn from(number: i64) -> Self {
        Self::Int(number)
    }
}

impl From<i32> for KeyRef<'_> {
    fn from(number: i32) -> Self {
        Self::Int(number.into())
    }
}

impl From<u32> for KeyRef<'_> {
    fn from(number: u32) -> Self {
        Self::Int(number.into())
    }
}

impl<'a> From<&'a str> for KeyRef<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(text)
    }
}

impl<'a> From<&'a Text> for KeyRef<'a> {
    fn from(text: &'a Text) -> Self {
        Self::Text(text)
    }
}

impl<'a> From<&'a Key> for KeyRef<'a> {
    fn from(key: &'a Key) -> Self {
        key.as_ref()
    }
}
