//! An [`Array`] is a sequence to a format if its keys are 0..n in this order, else a map, in its order. A format's keys are texts, so those that are
//! whole numbers as PHP writes them come back as numbers.

use core::fmt;

use serde::de::{Error, MapAccess, SeqAccess, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Array, Key, KeyRef};
use crate::value::Value;
use crate::value::serde::Inside;

impl Serialize for Array {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // A clone is a count.
        Value::Array(self.clone()).serialize(serializer)
    }
}

impl Array {
    /// Returns whether the keys are 0..n in this order.
    pub(crate) fn is_sequence(&self) -> bool {
        self.is_packed() || self.keys().eq((0..self.len() as i64).map(KeyRef::Int))
    }
}

impl Serialize for Key {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.as_ref().serialize(serializer)
    }
}

impl Serialize for KeyRef<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Int(number) => serializer.serialize_i64(*number),
            Self::Text(text) => serializer.serialize_str(text),
        }
    }
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OneKey)
    }
}

struct OneKey;

impl Visitor<'_> for OneKey {
    type Value = Key;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key: a whole number of 64 bits or a text")
    }

    fn visit_i64<E>(self, number: i64) -> Result<Key, E> {
        Ok(Key::Int(number))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Key, E> {
        let whole = i64::try_from(number).map(Key::Int);
        whole.map_err(|_| E::invalid_value(Unexpected::Unsigned(number), &self))
    }

    fn visit_str<E>(self, text: &str) -> Result<Key, E> {
        Ok(Key::php_text(text))
    }

    fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Key, E> {
        let text = core::str::from_utf8(bytes).map(Key::php_text);
        text.map_err(|_| E::invalid_value(Unexpected::Bytes(bytes), &self))
    }
}

impl<'de> Deserialize<'de> for Array {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Elements(Inside { depth: 0 }))
    }
}

/// Reads the elements of an array that is there.
pub(crate) struct Elements(pub(crate) Inside);

impl<'de> Visitor<'de> for Elements {
    type Value = Array;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a sequence or a map")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut values: A) -> Result<Array, A::Error> {
        let (element, mut array) = (self.0.below()?, Array::new());
        while let Some(value) = values.next_element_seed(element)? {
            array.push(value);
        }
        Ok(array)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Array, A::Error> {
        let (element, mut array) = (self.0.below()?, Array::new());
        while let Some(key) = entries.next_key::<Key>()? {
            array.insert(key, entries.next_value_seed(element)?);
        }
        Ok(array)
    }
}
