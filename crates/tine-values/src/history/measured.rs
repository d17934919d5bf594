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

impl<T> Measured for Shared<T> {
    fn own_bytes(&self) -> usize {
        if self.is_unique() { Self::BYTES } else { 0 }
    }
}

impl Measured for Value {
    /// Those of a text's own memory, of bytes', or of an array's elements; an object is nobody's own.
    fn own_bytes(&self) -> usize {
        match self {
            Self::Text(text) => {
                text.own_bytes()
                    + if text.is_unique() {
                        Text::own_bytes(text)
                    } else {
                        0
                    }
            }
            Self::Bytes(bytes) => {
                bytes.own_bytes()
                    + if bytes.is_unique() {
                        Bytes::own_bytes(bytes)
                    } else {
                        0
                    }
            }
            Self::Array(array) => array.own_bytes(),
            Self::Null | Self::Bool(_) | Self::Int(_) | Self::Float(_) | Self::Object(_) => 0,
        }
    }
}
