//! The place of a key in a map, for looking, writing and removing in one.

use core::fmt;
use core::mem;

use super::SortedMap;
use crate::sorted::insert::insert_at;
use crate::sorted::path::Place;
use crate::sorted::remove::remove_at;

/// The place of a key: what [`SortedMap::entry`] returns.
#[derive(Debug)]
pub enum Entry<'a, K, V> {
    /// The map does not have the key.
    Vacant(VacantEntry<'a, K, V>),
    /// It has the key.
    Occupied(OccupiedEntry<'a, K, V>),
}

/// The place of a key that the map does not have.
pub struct VacantEntry<'a, K, V> {
    map: &'a mut SortedMap<K, V>,
    place: Place,
    key: K,
}

/// The place of an entry.
pub struct OccupiedEntry<'a, K, V> {
    map: &'a mut SortedMap<K, V>,
    /// Invariant: an entry of the map is there.
    place: Place,
}

impl<'a, K: Clone, V: Clone> Entry<'a, K, V> {
    /// Returns the value, after inserting `default` if there is none.
    pub fn or_insert(self, default: V) -> &'a mut V {
        self.or_insert_with(|| default)
    }

    /// Returns the value, after inserting what `default` returns if there is none.
    pub fn or_insert_with(self, default: impl FnOnce() -> V) -> &'a mut V {
        self.or_insert_with_key(|_| default())
    }

    /// Returns the value, after inserting what `default` returns for the key if there is none.
    pub fn or_insert_with_key(self, default: impl FnOnce(&K) -> V) -> &'a mut V {
        match self {
            Self::Occupied(entry) => entry.into_mut(),
            Self::Vacant(entry) => {
                let value = default(&entry.key);
                entry.insert(value)
            }
        }
    }

    /// Returns the value, after inserting `V::default()` if there is none.
    pub fn or_default(self) -> &'a mut V
    where
        V: Default,
    {
        self.or_insert_with(V::default)
    }

    /// Calls `modify` with the value, if there is one.
    #[must_use]
    pub fn and_modify(mut self, modify: impl FnOnce(&mut V)) -> Self {
        if let Self::Occupied(entry) = &mut self {
            modify(entry.get_mut());
        }
        self
    }

    /// Gives the key the value, and returns the entry.
    pub fn insert_entry(self, value: V) -> OccupiedEntry<'a, K, V> {
        match self {
            Self::Occupied(mut entry) => {
                entry.insert(value);
                entry
            }
            Self::Vacant(entry) => entry.insert_entry(value),
        }
    }
}

impl<K, V> Entry<'_, K, V> {
    /// Returns the key: as the map has it, if it does.
    pub fn key(&self) -> &K {
        match self {
            Self::Vacant(entry) => entry.key(),
            Self::Occupied(entry) => entry.key(),
        }
    }
}

impl<'a, K, V> VacantEntry<'a, K, V> {
    pub(super) fn new(map: &'a mut SortedMap<K, V>, place: Place, key: K) -> Self {
        Self { map, place, key }
    }

    /// Returns the key.
    pub fn key(&self) -> &K {
        &self.key
    }

    /// Gives the key back.
    pub fn into_key(self) -> K {
        self.key
    }
}

impl<'a, K: Clone, V: Clone> VacantEntry<'a, K, V> {
    /// Inserts the value, and returns it to write. Copies the nodes on the way that are shared.
    pub fn insert(self, value: V) -> &'a mut V {
        self.insert_entry(value).into_mut()
    }

    /// Inserts the value, and returns the entry.
    pub fn insert_entry(self, value: V) -> OccupiedEntry<'a, K, V> {
        let Self { map, place, key } = self;
        let place = insert_at(&mut map.root, place, key, value);
        OccupiedEntry { map, place }
    }
}

impl<'a, K, V> OccupiedEntry<'a, K, V> {
    /// Returns the entry at `place`, where one must be.
    pub(super) fn new(map: &'a mut SortedMap<K, V>, place: Place) -> Self {
        Self { map, place }
    }

    fn key_value(&self) -> (&K, &V) {
        let root = self.map.root.as_ref().expect("a map with an entry");
        let leaf = self.place.path.leaf(root);
        (&leaf.keys[self.place.index], &leaf.values[self.place.index])
    }

    /// Returns the key, as the map has it.
    pub fn key(&self) -> &K {
        self.key_value().0
    }

    /// Returns the value.
    pub fn get(&self) -> &V {
        self.key_value().1
    }
}

impl<'a, K: Clone, V: Clone> OccupiedEntry<'a, K, V> {
    /// Returns the value, to write. Copies the nodes on the way that are shared.
    pub fn get_mut(&mut self) -> &mut V {
        value_at(self.map, &self.place)
    }

    /// Returns the value, to write, for as long as the map is borrowed. Copies the nodes on the way that are shared.
    pub fn into_mut(self) -> &'a mut V {
        value_at(self.map, &self.place)
    }

    /// Sets the value and returns the old one. Copies the nodes on the way that are shared.
    pub fn insert(&mut self, value: V) -> V {
        mem::replace(self.get_mut(), value)
    }

    /// Removes the entry and returns its value. Copies the nodes on the way that are shared.
    pub fn remove(self) -> V {
        let (key, value) = self.remove_entry();
        drop(key);
        value
    }

    /// Removes the entry and returns it. Copies the nodes on the way that are shared.
    pub fn remove_entry(self) -> (K, V) {
        remove_at(&mut self.map.root, &self.place)
    }
}

fn value_at<'a, K: Clone, V: Clone>(map: &'a mut SortedMap<K, V>, place: &Place) -> &'a mut V {
    let root = map.root.as_mut().expect("a map with an entry");
    &mut place.path.leaf_mut(root).into_entries().1[place.index]
}

impl<K: fmt::Debug, V> fmt::Debug for VacantEntry<'_, K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("VacantEntry").field(self.key()).finish()
    }
}

impl<K: fmt::Debug, V: fmt::Debug> fmt::Debug for OccupiedEntry<'_, K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OccupiedEntry")
            .field("key", self.key())
            .field("value", self.get())
            .finish()
    }
}
