//! What a [`History`](super::History) asks of a value.

use crate::{Array, Bytes, List, Map, RadixMap, Set, Shared, SortedMap, SortedSet, Text, Value};

/// What knows how many bytes it has for itself.
pub trait Measured: Clone {
    /// Returns how many bytes dropping this value gives back: what others have, too, is not counted, nor, in a collection, what elements
    /// point to.
    fn own_bytes(&self) -> usize;
}

macro_rules! measured {
    ($([$($name:ident $(: $bound:ident)?),*] $type:ty;)+) => {
        $(impl<$($name $(: $bound)?),*> Measured for $type {
            fn own_bytes(&self) -> usize {
                // The type's own method of that name.
                <$type>::own_bytes(self)
            }
        })+
    };
}

measured! {
    [] Text;
    [] Bytes;
    [T] List<T>;
    [K, V, S: Clone] Map<K, V, S>;
    [T, S: Clone] Set<T, S>;
    [K, V] SortedMap<K, V>;
    [T] SortedSet<T>;
    [T] RadixMap<T>;
    [] Array;
}

impl<T: ?Sized> Measured for Shared<T> {
    fn own_bytes(&self) -> usize {
        Self::own_bytes(self)
    }
}

impl Measured for Value {
    /// Those of a text's own memory, of bytes', or of an array's elements; an object is nobody's own.
    fn own_bytes(&self) -> usize {
        match self {
            Self::Text(text) => with_value(text),
            Self::Bytes(bytes) => with_value(bytes),
            Self::Array(array) => array.own_bytes(),
            Self::Null | Self::Bool(_) | Self::Int(_) | Self::Float(_) | Self::Object(_) => 0,
        }
    }
}

/// Returns the bytes of an allocation and of what is in it, as far as nobody else has them.
fn with_value<T: Measured>(shared: &Shared<T>) -> usize {
    let of_value = if shared.is_unique() {
        T::own_bytes(shared)
    } else {
        0
    };
    shared.own_bytes() + of_value
}
