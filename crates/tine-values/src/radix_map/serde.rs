//! A map as a sequence of ranges and their values, in key order: `[[{"start": 0, "end": 8}, "value"], ...]`. Read from
//! ranges in any order; what comes later replaces what was there. The last key's range is `u64::MAX..u64::MAX`.

use core::fmt;
use core::marker::PhantomData;
use core::ops::Range;

use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::RadixMap;

impl<T: Serialize> Serialize for RadixMap<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self)
    }
}

impl<'de, T: Deserialize<'de> + Clone> Deserialize<'de> for RadixMap<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Runs<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de> + Clone> Visitor<'de> for Runs<T> {
            type Value = RadixMap<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("ranges of keys, each with a value")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<RadixMap<T>, A::Error> {
                let mut map = RadixMap::new();
                while let Some((keys, value)) = access.next_element::<(Range<u64>, T)>()? {
                    if keys == (u64::MAX..u64::MAX) {
                        map.insert(u64::MAX, value);
                    } else if keys.is_empty() {
                        return Err(A::Error::custom("a range without keys"));
                    } else {
                        map.fill(keys, value, |_, _| ());
                    }
                }
                Ok(map)
            }
        }

        deserializer.deserialize_seq(Runs(PhantomData))
    }
}
