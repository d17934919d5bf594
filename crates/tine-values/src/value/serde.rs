//! A [`Value`] is what it looks like to a format: JSON's six types, and bytes. An object is the map of its properties, a reference
//! its value. Whole numbers beyond 64 bits become floats, as PHP's `json_decode` makes them.
//!
//! **Invariant:** nothing is read or written more levels down than [`DEPTH_MOST`], whatever a format allows: what input claims
//! does not use up the stack.

use core::fmt;

use serde::de::{DeserializeSeed, MapAccess, SeqAccess, Visitor};
use serde::ser::{Error, SerializeMap};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Value;
use crate::array::{Array, Elements};
use crate::{Bytes, Text};

/// Values that are nested more deeply are refused, as by PHP's `json_encode` and `json_decode`: they may be circles.
const DEPTH_MOST: usize = 512;
const TOO_DEEP: &str = "values are nested too deeply, or in a circle: 512 levels are the most";

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        At {
            value: self,
            depth: 0,
        }
        .serialize(serializer)
    }
}

/// A value inside so many others.
struct At<'a> {
    value: &'a Value,
    depth: usize,
}

impl Serialize for At<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.value {
            Value::Null => serializer.serialize_unit(),
            Value::Bool(value) => serializer.serialize_bool(*value),
            Value::Int(value) => serializer.serialize_i64(*value),
            Value::Float(value) => serializer.serialize_f64(*value),
            Value::Text(text) => serializer.serialize_str(text),
            Value::Bytes(bytes) => serializer.serialize_bytes(bytes),
            Value::Array(array) => self.serialize_array(array, array.is_sequence(), serializer),
            Value::Object(object) => self.serialize_array(&object.properties(), false, serializer),
        }
    }
}

/// What an array gives to a format: each element, some levels down.
struct Below<'a> {
    array: &'a Array,
    depth: usize,
}

impl Serialize for Below<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.array.values().map(|value| Owned {
            value,
            depth: self.depth,
        }))
    }
}

struct Owned {
    value: Value,
    depth: usize,
}

impl Serialize for Owned {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (value, depth) = (&self.value, self.depth);
        At { value, depth }.serialize(serializer)
    }
}

impl At<'_> {
    fn serialize_array<S: Serializer>(
        &self,
        array: &Array,
        is_sequence: bool,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let depth = self.depth + 1;
        if depth > DEPTH_MOST {
            return Err(S::Error::custom(TOO_DEEP));
        }
        if is_sequence {
            return Below { array, depth }.serialize(serializer);
        }
        let mut map = serializer.serialize_map(Some(array.len()))?;
        for (key, slot) in array {
            let value = slot.get();
            map.serialize_entry(&key, &At { value: &value, depth })?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Inside { depth: 0 }.deserialize(deserializer)
    }
}

/// Reads a value that is inside so many others.
#[derive(Clone, Copy)]
pub(crate) struct Inside {
    pub(crate) depth: usize,
}

impl Inside {
    /// Returns what reads the values one level further down, if that is not too deep.
    pub(crate) fn below<E: serde::de::Error>(self) -> Result<Self, E> {
        let depth = self.depth + 1;
        if depth > DEPTH_MOST {
            return Err(E::custom(TOO_DEEP));
        }
        Ok(Self { depth })
    }
}

impl<'de> DeserializeSeed<'de> for Inside {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Inside {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        self.below()?.deserialize(deserializer)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(i64::try_from(value).map_or_else(|_| Value::Float(value as f64), Value::Int))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Text::from(text).into())
    }

    fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Value, E> {
        Ok(Bytes::from(bytes).into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, values: A) -> Result<Value, A::Error> {
        Elements(self).visit_seq(values).map(Value::Array)
    }

    fn visit_map<A: MapAccess<'de>>(self, entries: A) -> Result<Value, A::Error> {
        Elements(self).visit_map(entries).map(Value::Array)
    }
}
