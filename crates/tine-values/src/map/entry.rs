//! The place of a key in a map: [`Entry`] and what it can be.

use core::fmt;
use core::hash::{BuildHasher, Hash};
use core::mem;

use super::tree::{Occupied, Vacant};
use super::{hash_of, leaf};

/// The place of a key in a map: what [`Map::entry`](super::Map::entry) returns.
pub enum Entry<'a, K, V, S> {
    /// The key is there.
    Occupied(OccupiedEntry<'a, K, V, S>),
    /// The key is not there.
    Vacant(VacantEntry<'a, K, V, S>),
}

/// The place of a key that a map has. Reading copies nothing; the first write copies what is shared on the way.
pub struct OccupiedEntry<'a, K, V, S> {
    occupied: Occupied<'a, K, V>,
    hasher: &'a S,
}

/// The place that a key would have in a map.
pub struct VacantEntry<'a, K, V, S> {
    vacant: Vacant<'a, K, V>,
    key: K,
    hasher: &'a S,
}

impl<'a, K, V, S> Entry<'a, K, V, S> {
    /// Returns the key.
    pub fn key(&self) -> &K {
        match self {
            Self::Occupied(entry) => entry.key(),
            Self::Vacant(entry) => entry.key(),
        }
    }
}

impl<'a, K: Eq + Hash + Clone, V: Clone, S: BuildHasher> Entry<'a, K, V, S> {
    /// Returns the value, which is `default` if there was none.
    #[inline]
    pub fn or_insert(self, default: V) -> &'a mut V {
        self.or_insert_with(|| default)
    }

    /// Returns the value, which is what `default` returns if there was none.
    #[inline]
    pub fn or_insert_with(self, default: impl FnOnce() -> V) -> &'a mut V {
        self.or_insert_with_key(|_| default())
    }

    /// Returns the value, which is what `default` makes of the key if there was none.
    #[inline]
    pub fn or_insert_with_key(self, default: impl FnOnce(&K) -> V) -> &'a mut V {
        match self {
            Self::Occupied(entry) => entry.into_mut(),
            Self::Vacant(entry) => {
                let value = default(entry.key());
                entry.insert(value)
            }
        }
    }

    /// Returns the value, which is the type's default if there was none.
    #[inline]
    pub fn or_default(self) -> &'a mut V
    where
        V: Default,
    {
        self.or_insert_with(V::default)
    }

    /// Lets `modify` write the value, if there is one.
    #[inline]
    pub fn and_modify(mut self, modify: impl FnOnce(&mut V)) -> Self {
        if let Self::Occupied(entry) = &mut self {
            modify(entry.get_mut());
        }
        self
    }

    /// Sets the value, and returns the place.
    pub fn insert_entry(self, value: V) -> OccupiedEntry<'a, K, V, S> {
        match self {
            Self::Occupied(mut entry) => {
                entry.insert(value);
                entry
            }
            Self::Vacant(entry) => entry.insert_entry(value),
        }
    }
}

impl<'a, K, V, S> OccupiedEntry<'a, K, V, S> {
    #[inline]
    pub(super) fn new(occupied: Occupied<'a, K, V>, hasher: &'a S) -> Self {
        Self { occupied, hasher }
    }

    /// Returns the key, as the map has it.
    pub fn key(&self) -> &K {
        &self.occupied.get().key
    }

    /// Returns the value.
    pub fn get(&self) -> &V {
        &self.occupied.get().value
    }
}

impl<'a, K: Eq + Hash + Clone, V: Clone, S: BuildHasher> OccupiedEntry<'a, K, V, S> {
    /// Returns the value for writing, for as long as this place is borrowed.
    #[inline]
    pub fn get_mut(&mut self) -> &mut V {
        &mut self.occupied.get_mut().value
    }

    /// Returns the value for writing, for as long as the map is borrowed.
    #[inline]
    pub fn into_mut(self) -> &'a mut V {
        &mut self.occupied.into_mut().value
    }

    /// Sets the value and returns the old one.
    #[inline]
    pub fn insert(&mut self, value: V) -> V {
        mem::replace(self.get_mut(), value)
    }

    /// Removes the entry and returns its value.
    pub fn remove(self) -> V {
        let (key, value) = self.remove_entry();
        drop(key);
        value
    }

    /// Removes the entry and returns it.
    pub fn remove_entry(self) -> (K, V) {
        let entry = self.occupied.remove(&|key| hash_of(self.hasher, key));
        (entry.key, entry.value)
    }
}

impl<'a, K, V, S> VacantEntry<'a, K, V, S> {
    #[inline]
    pub(super) fn new(vacant: Vacant<'a, K, V>, key: K, hasher: &'a S) -> Self {
        Self { vacant, key, hasher }
    }

    /// Returns the key that would be inserted.
    pub fn key(&self) -> &K {
        &self.key
    }

    /// Returns the key.
    pub fn into_key(self) -> K {
        self.key
    }
}

impl<'a, K: Eq + Hash + Clone, V: Clone, S: BuildHasher> VacantEntry<'a, K, V, S> {
    /// Adds the key with a value, which is returned for writing.
    #[inline]
    pub fn insert(self, value: V) -> &'a mut V {
        self.insert_entry(value).into_mut()
    }

    /// Adds the key with a value, and returns the place.
    #[inline]
    pub fn insert_entry(self, value: V) -> OccupiedEntry<'a, K, V, S> {
        let Self { vacant, key, hasher } = self;
        let entry = leaf::Entry { key, value };
        OccupiedEntry {
            occupied: vacant.insert(entry, &|key| hash_of(hasher, key)),
            hasher,
        }
    }
}

impl<K: fmt::Debug, V: fmt::Debug, S> fmt::Debug for Entry<'_, K, V, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Occupied(entry) => f.debug_tuple("Entry").field(entry).finish(),
            Self::Vacant(entry) => f.debug_tuple("Entry").field(entry).finish(),
        }
    }
}

impl<K: fmt::Debug, V: fmt::Debug, S> fmt::Debug for OccupiedEntry<'_, K, V, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OccupiedEntry")
            .field("key", self.key())
            .field("value", self.get())
            .finish_non_exhaustive()
    }
}

impl<K: fmt::Debug, V, S> fmt::Debug for VacantEntry<'_, K, V, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("VacantEntry").field(self.key()).finish()
    }
}
