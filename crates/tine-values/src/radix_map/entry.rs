//! The place of a key in a map, for looking, writing and removing in one.

use core::fmt;
use core::mem;

use super::RadixMap;

/// The place of a key: what [`RadixMap::entry`] returns.
#[derive(Debug)]
pub enum Entry<'a, T> {
    /// The map has no value there.
    Vacant(VacantEntry<'a, T>),
    /// It has one.
    Occupied(OccupiedEntry<'a, T>),
}

/// The place of a key that the map does not have.
pub struct VacantEntry<'a, T> {
    map: &'a mut RadixMap<T>,
    key: u64,
}

/// The place of a key that the map has.
pub struct OccupiedEntry<'a, T> {
    /// Invariant: it has the key.
    map: &'a mut RadixMap<T>,
    key: u64,
}

impl<T: Clone> RadixMap<T> {
    /// Returns the place of `key`. Each use of it costs one step for each level.
    pub fn entry(&mut self, key: u64) -> Entry<'_, T> {
        if self.contains_key(key) {
            Entry::Occupied(OccupiedEntry { map: self, key })
        } else {
            Entry::Vacant(VacantEntry { map: self, key })
        }
    }

    /// Returns the place of the first key.
    pub fn first_entry(&mut self) -> Option<OccupiedEntry<'_, T>> {
        let (key, _) = self.first_key_value()?;
        Some(OccupiedEntry { map: self, key })
    }

    /// Returns the place of the last key.
    pub fn last_entry(&mut self) -> Option<OccupiedEntry<'_, T>> {
        let (key, _) = self.last_key_value()?;
        Some(OccupiedEntry { map: self, key })
    }
}

impl<'a, T: Clone> Entry<'a, T> {
    /// Returns the value, after inserting `default` if there is none.
    pub fn or_insert(self, default: T) -> &'a mut T {
        self.or_insert_with(|| default)
    }

    /// Returns the value, after inserting what `default` returns if there is none.
    pub fn or_insert_with(self, default: impl FnOnce() -> T) -> &'a mut T {
        self.or_insert_with_key(|_| default())
    }

    /// Returns the value, after inserting what `default` returns for the key if there is none.
    pub fn or_insert_with_key(self, default: impl FnOnce(u64) -> T) -> &'a mut T {
        match self {
            Self::Occupied(entry) => entry.into_mut(),
            Self::Vacant(entry) => {
                let value = default(entry.key);
                entry.insert(value)
            }
        }
    }

    /// Returns the value, after inserting `T::default()` if there is none.
    pub fn or_default(self) -> &'a mut T
    where
        T: Default,
    {
        self.or_insert_with(T::default)
    }

    /// Calls `modify` with the value, if there is one.
    #[must_use]
    pub fn and_modify(mut self, modify: impl FnOnce(&mut T)) -> Self {
        if let Self::Occupied(entry) = &mut self {
            modify(entry.get_mut());
        }
        self
    }

    /// Gives the key the value, and returns the entry.
    pub fn insert_entry(self, value: T) -> OccupiedEntry<'a, T> {
        match self {
            Self::Occupied(mut entry) => {
                entry.insert(value);
                entry
            }
            Self::Vacant(entry) => entry.insert_entry(value),
        }
    }
}

impl<T> Entry<'_, T> {
    /// Returns the key.
    pub fn key(&self) -> u64 {
        match self {
            Self::Vacant(entry) => entry.key,
            Self::Occupied(entry) => entry.key,
        }
    }
}

impl<T> VacantEntry<'_, T> {
    /// Returns the key.
    pub fn key(&self) -> u64 {
        self.key
    }

    /// Gives the key back.
    pub fn into_key(self) -> u64 {
        self.key
    }
}

impl<'a, T: Clone> VacantEntry<'a, T> {
    /// Inserts the value, and returns it to write. Copies the nodes on the way that are shared.
    pub fn insert(self, value: T) -> &'a mut T {
        self.insert_entry(value).into_mut()
    }

    /// Inserts the value, and returns the entry.
    pub fn insert_entry(self, value: T) -> OccupiedEntry<'a, T> {
        let Self { map, key } = self;
        map.insert(key, value);
        OccupiedEntry { map, key }
    }
}

impl<T> OccupiedEntry<'_, T> {
    /// Returns the key.
    pub fn key(&self) -> u64 {
        self.key
    }

    /// Returns the value.
    pub fn get(&self) -> &T {
        self.map.get(self.key).expect("the map has the key")
    }
}

impl<'a, T: Clone> OccupiedEntry<'a, T> {
    /// Returns the value to write, for as long as the entry is borrowed, as [`RadixMap::get_mut`] does.
    pub fn get_mut(&mut self) -> &mut T {
        self.map.get_mut(self.key).expect("the map has the key")
    }

    /// Returns the value to write, as [`RadixMap::get_mut`] does.
    pub fn into_mut(self) -> &'a mut T {
        self.map.get_mut(self.key).expect("the map has the key")
    }

    /// Replaces the value and returns the old one.
    pub fn insert(&mut self, value: T) -> T {
        mem::replace(self.get_mut(), value)
    }

    /// Removes the key and returns its value.
    pub fn remove(self) -> T {
        self.map.remove(self.key).expect("the map has the key")
    }

    /// Removes the key and returns it with its value.
    pub fn remove_entry(self) -> (u64, T) {
        (self.key, self.remove())
    }
}

impl<T: fmt::Debug> fmt::Debug for VacantEntry<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("VacantEntry").field(&self.key).finish()
    }
}

impl<T: fmt::Debug> fmt::Debug for OccupiedEntry<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OccupiedEntry")
            .field("key", &self.key)
            .field("value", self.get())
            .finish()
    }
}
