//! [`Value`]: one of PHP's, JSON's or a template's values, in 16 bytes.
//!
//! All but a [`Reference`] and an [`Object`] are copied when they are written to while somebody else has them; a clone costs
//! one count at most.

mod lock;
mod reference;
#[cfg(feature = "serde")]
pub(crate) mod serde;
pub(crate) mod teardown;

use alloc::string::String;
use core::{fmt, mem, ptr};

pub use self::reference::{Object, Reference};
use crate::array::Array;
use crate::{Bytes, Shared, Text};

/// A value of one of eight types, as PHP, JSON and templates have them.
///
/// ```
/// use tine_values::{Array, Value};
///
/// let mut page = Array::new();
/// page.insert("title", "Trees");
/// page.insert("leaves", Array::from_list([1, 2, 3]));
/// let mut draft = Value::from(page);
/// let published = draft.clone();  // a count
/// if let Value::Array(page) = &mut draft {
///     page.insert("title", "Forests");
/// }
/// assert_eq!(published.as_array().and_then(|page| page.get("title")), Some("Trees".into()));
/// ```
///
/// It takes 16 bytes where a pointer has eight; a text or a byte string is one pointer to a counted [`Text`] or [`Bytes`], so up
/// to 23 bytes of text cost one allocation of 32.
///
/// `==` is PHP's `===`: the types are the same, and arrays have equal pairs in the same order. It goes as deep as values
/// are nested; only clones and drops do not.
// The tag has as many bytes as what follows: two words are moved, where a tag of one byte and 15 others take several moves that
// overlap, and a load of what two of them stored waits for both.
#[repr(u64)]
#[derive(Default)]
pub enum Value {
    /// Nothing.
    #[default]
    Null,
    /// True or false.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A number.
    Float(f64),
    /// A text.
    Text(Shared<Text>),
    /// Bytes that need not be a text.
    Bytes(Shared<Bytes>),
    /// Values by keys, in an order.
    Array(Array),
    /// Something that is the same for all who have it.
    Object(Object),
}

/// What an [`Array`] has at a key: a value, or a reference to one.
#[derive(Clone)]
pub enum Slot {
    /// A value.
    Value(Value),
    /// A cell that others may have as well. If nobody has, it is as good as a value, and becomes one when the array is copied.
    Reference(Reference),
}

const _: () = assert!(size_of::<Value>() <= 16 && size_of::<Slot>() <= 16);
#[cfg(target_pointer_width = "64")]
const _: () = assert!(size_of::<Value>() == 16 && size_of::<Slot>() == 16 && size_of::<Option<Slot>>() == 16);

impl Value {
    /// Returns whether it is null.
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// Returns the truth value, if it is one.
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Bool(value) => Some(*value),
            _ => None,
        }
    }

    /// Returns the whole number, if it is one.
    pub fn as_int(&self) -> Option<i64> {
        match self {
            Self::Int(value) => Some(*value),
            _ => None,
        }
    }

    /// Returns the number, if it is a float.
    pub fn as_float(&self) -> Option<f64> {
        match self {
            Self::Float(value) => Some(*value),
            _ => None,
        }
    }

    /// Returns the text, if it is one.
    pub fn as_text(&self) -> Option<&Text> {
        match self {
            Self::Text(value) => Some(value),
            _ => None,
        }
    }

    /// Returns the bytes, if that is what it is.
    pub fn as_bytes(&self) -> Option<&Bytes> {
        match self {
            Self::Bytes(value) => Some(value),
            _ => None,
        }
    }

    /// Returns the array, if it is one.
    pub fn as_array(&self) -> Option<&Array> {
        match self {
            Self::Array(value) => Some(value),
            _ => None,
        }
    }

    /// Returns the array for writing, if it is one.
    pub fn as_array_mut(&mut self) -> Option<&mut Array> {
        match self {
            Self::Array(value) => Some(value),
            _ => None,
        }
    }

    /// Returns the object, if it is one.
    pub fn as_object(&self) -> Option<&Object> {
        match self {
            Self::Object(value) => Some(value),
            _ => None,
        }
    }

    #[inline]
    pub(crate) fn is_container(&self) -> bool {
        matches!(self, Self::Array(_) | Self::Object(_))
    }

    /// Returns another owner of what is counted, of which there is not room in each caller's code.
    #[inline(never)]
    fn share(&self) -> Self {
        match self {
            Self::Text(value) => Self::Text(value.clone()),
            Self::Bytes(value) => Self::Bytes(value.clone()),
            Self::Array(value) => Self::Array(value.clone()),
            Self::Object(value) => Self::Object(value.clone()),
            Self::Null | Self::Bool(_) | Self::Int(_) | Self::Float(_) => unreachable!("it is not counted"),
        }
    }
}

impl Slot {
    /// Returns the value: a clone.
    #[inline]
    pub fn get(&self) -> Value {
        match self {
            Self::Value(value) => value.clone(),
            Self::Reference(reference) => reference.get(),
        }
    }

    /// Returns whether it is a reference that others have, too.
    pub fn is_shared_reference(&self) -> bool {
        matches!(self, Self::Reference(reference) if !reference.is_unique())
    }

    /// Returns what a copy of the array has here: a reference that nobody else has is a value again.
    pub(crate) fn copied(&self) -> Self {
        match self {
            Self::Reference(reference) if reference.is_unique() => Self::Value(reference.get()),
            slot => slot.clone(),
        }
    }

    /// Assigns, and returns the value before: to the cell, if others have it.
    #[inline]
    pub(crate) fn assign(&mut self, value: Value) -> Value {
        match self {
            Self::Value(known) => mem::replace(known, value),
            Self::Reference(reference) if reference.is_unique() => {
                mem::replace(self, Self::Value(value)).into_value()
            }
            Self::Reference(reference) => reference.replace(value),
        }
    }

    /// Returns the value.
    pub(crate) fn into_value(self) -> Value {
        match self {
            Self::Value(value) => value,
            Self::Reference(reference) => reference.get(),
        }
    }

    #[inline]
    pub(crate) fn is_container(&self) -> bool {
        match self {
            Self::Value(value) => value.is_container(),
            Self::Reference(_) => true,
        }
    }
}

impl Clone for Value {
    /// Returns the value: one count at most.
    #[inline]
    #[allow(unsafe_code)]
    fn clone(&self) -> Self {
        match self {
            Self::Text(_) | Self::Bytes(_) | Self::Array(_) | Self::Object(_) => self.share(),
            // SAFETY: the other types are `Copy`. One move for all, where a `match` that names them becomes a jump to each.
            Self::Null | Self::Bool(_) | Self::Int(_) | Self::Float(_) => unsafe { ptr::read(self) },
        }
    }
}

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Null, Self::Null) => true,
            (Self::Bool(one), Self::Bool(other)) => one == other,
            (Self::Int(one), Self::Int(other)) => one == other,
            (Self::Float(one), Self::Float(other)) => one == other,
            (Self::Text(one), Self::Text(other)) => one == other,
            (Self::Bytes(one), Self::Bytes(other)) => one == other,
            (Self::Array(one), Self::Array(other)) => one == other,
            (Self::Object(one), Self::Object(other)) => one == other,
            _ => false,
        }
    }
}

impl PartialEq for Slot {
    /// Whether the values are equal.
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Value(one), Self::Value(other)) => one == other,
            (Self::Reference(one), Self::Reference(other)) if one.ptr_eq(other) => true,
            _ => self.get() == other.get(),
        }
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool(value) => value.fmt(f),
            Self::Int(value) => value.fmt(f),
            Self::Float(value) => value.fmt(f),
            Self::Text(value) => value.fmt(f),
            Self::Bytes(value) => value.fmt(f),
            Self::Array(value) => value.fmt(f),
            Self::Object(value) => value.fmt(f),
        }
    }
}

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Value(value) => value.fmt(f),
            Self::Reference(reference) => write!(f, "&{reference:?}"),
        }
    }
}

macro_rules! from {
    ($($other:ty: $value:ident => $made:expr;)+) => {
        $(impl From<$other> for Value {
            fn from($value: $other) -> Self {
                $made
            }
        })+
    };
}

from! {
    bool: value => Self::Bool(value);
    i64: value => Self::Int(value);
    i32: value => Self::Int(value.into());
    u32: value => Self::Int(value.into());
    f64: value => Self::Float(value);
    &str: value => Self::Text(Shared::new(value.into()));
    String: value => Self::Text(Shared::new(value.into()));
    Text: value => Self::Text(Shared::new(value));
    Bytes: value => Self::Bytes(Shared::new(value));
    Array: value => Self::Array(value);
    Object: value => Self::Object(value);
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}
