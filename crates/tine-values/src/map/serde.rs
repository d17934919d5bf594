//! A map as serde has them: entries in no particular order.

use core::fmt;
use core::hash::{BuildHasher, Hash};
use core::marker::PhantomData;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Map;

/// Lengths come from the input: no more room than for so many entries is made before they are there.
const ROOM_MAX: usize = 4096;

impl<K: Serialize, V: Serialize, S> Serialize for Map<K, V, S> {
    fn serialize<Z: Serializer>(&self, serializer: Z) -> Result<Z::Ok, Z::Error> {
        serializer.collect_map(self)
    }
}

impl<'de, K, V, S> Deserialize<'de> for Map<K, V, S>
where
    K: Deserialize<'de> + Eq + Hash + Clone,
    V: Deserialize<'de> + Clone,
    S: BuildHasher + Default,
{
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries<K, V, S>(PhantomData<(K, V, S)>);

        impl<'de, K, V, S> Visitor<'de> for Entries<K, V, S>
        where
            K: Deserialize<'de> + Eq + Hash + Clone,
            V: Deserialize<'de> + Clone,
            S: BuildHasher + Default,
        {
            type Value = Map<K, V, S>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Self::Value, A::Error> {
                let room = access.size_hint().unwrap_or(0).min(ROOM_MAX);
                let mut map = Map::with_room_for(room, S::default());
                while let Some((key, value)) = access.next_entry()? {
                    map.insert(key, value);
                }
                map.give_room_back();
                Ok(map)
            }
        }

        deserializer.deserialize_map(Entries(PhantomData))
    }
}
