//! An [`Array`] is a sequence to a format if its keys are 0..n in this order, else a map, in its order. A format's keys are texts, so those that are
//! whole numbers as PHP writes them come back as numbers.

use core::fmt;

use serde::de::{Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Array, Key, KeyRef};
use crate::value::Value;

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
        let value = Value::deserialize(deserializer)?;
        Key::php(&value).ok_or_else(|| D::Error::custom("a key is a number or a text"))
    }
}

impl<'de> Deserialize<'de> for Array {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Visited)
    }
}

pub(crate) struct Visited;

impl<'de> Visitor<'de> for Visited {
    type Value = Array;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a sequence or a map")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut values: A) -> Result<Array, A::Error> {
        let mut array = Array::new();
        while let Some(value) = values.next_element::<Value>()? {
            array.push(value);
        }
        Ok(array)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Array, A::Error> {
        let mut array = Array::new();
        while let Some((key, value)) = entries.next_entry::<Key, Value>()? {
            array.insert(key, value);
        }
        Ok(array)
    }
}
