//! What a [`RadixMap`] has of the names of a `BTreeMap` beside those that `mod.rs` has.

use alloc::vec::Vec;
use core::fmt;
use core::iter::FusedIterator;
use core::ops::Range;

use super::edit::Place;
use super::iter::keys_of;
use super::{RadixMap, slot_of};

impl<T> RadixMap<T> {
    /// Returns how many keys there are; `u64::MAX` if there are all 2⁶⁴. Goes through all pieces.
    pub fn len(&self) -> u64 {
        let lens = self.iter().map(|(keys, _)| (keys.end - keys.start).max(1));
        lens.fold(0, u64::saturating_add)
    }

    /// Returns whether there is a value at `key`.
    #[inline]
    pub fn contains_key(&self, key: u64) -> bool {
        self.get(key).is_some()
    }

    /// Returns the first key and its value.
    pub fn first_key_value(&self) -> Option<(u64, &T)> {
        let (keys, value) = self.iter().next()?;
        Some((keys.start, value))
    }

    /// Returns the last key and its value.
    pub fn last_key_value(&self) -> Option<(u64, &T)> {
        let (keys, value) = self.iter().next_back()?;
        Some((*keys_of(&keys).end(), value))
    }

    /// Returns `key` and its value, if it has one.
    pub fn get_key_value(&self, key: u64) -> Option<(u64, &T)> {
        self.get(key).map(|value| (key, value))
    }
}

impl<T: Clone> RadixMap<T> {
    /// Returns the value at `key` for writing. Copies the nodes on the way that are shared, and a range that has one value
    /// becomes several, of which this key is one; copies nothing if the key is absent.
    #[inline]
    pub fn get_mut(&mut self, key: u64) -> Option<&mut T> {
        self.get(key)?;
        match self.place(key) {
            Place::Leaf(slots) => slots.into_mut(slot_of(key, 0)),
            Place::Absent(_) => None,
        }
    }

    /// Removes `key` and returns it with its value. Copies nothing if the key is absent.
    pub fn remove_entry(&mut self, key: u64) -> Option<(u64, T)> {
        self.remove(key).map(|value| (key, value))
    }

    /// Removes the first key and returns it with its value.
    pub fn pop_first(&mut self) -> Option<(u64, T)> {
        let (key, _) = self.first_key_value()?;
        Some((key, self.remove(key)?))
    }

    /// Removes the last key and returns it with its value.
    pub fn pop_last(&mut self) -> Option<(u64, T)> {
        let (key, _) = self.last_key_value()?;
        Some((key, self.remove(key)?))
    }

    /// Removes the pieces for which `keep` returns false: keys on their own, and ranges that have one value. What is kept is
    /// not copied; if `keep` panics, nothing has changed.
    pub fn retain(&mut self, mut keep: impl FnMut(Range<u64>, &T) -> bool) {
        let all = self.iter();
        let removed: Vec<_> = all
            .filter(|(keys, value)| !keep(keys.clone(), value))
            .map(|(keys, _)| keys_of(&keys))
            .collect();
        for keys in removed {
            self.clear_quietly(*keys.start(), *keys.end());
        }
    }

    /// Removes the keys from `key` on and returns them as a map of their own. Costs what the height does, whatever the
    /// number of keys.
    #[must_use = "the keys from `key` on are dropped otherwise: see `clear_range`"]
    pub fn split_off(&mut self, key: u64) -> Self {
        let mut behind = self.clone();
        if let Some(last_before) = key.checked_sub(1) {
            behind.clear_quietly(0, last_before);
        }
        self.clear_quietly(key, u64::MAX);
        behind
    }

    /// Moves all of `other` into this map; where both have a key, `other`'s value wins. Skips what both share; the rest of
    /// `other` is written to this map piece by piece. If a clone panics, both are as they were.
    pub fn append(&mut self, other: &mut Self) {
        let mut all = self.clone();
        for (keys, _, theirs) in self.diff_by(other, |_, _| false) {
            if let Some(value) = theirs {
                all.put(keys, Some(value.clone()));
            }
        }
        *self = all;
        other.clear();
    }

    /// Removes the pieces in `range` for which `is_taken` returns true, keys on their own and ranges that have one value, and
    /// returns an iterator that does so as it is advanced. A range's value is cloned, a key's is moved.
    pub fn extract_if<F>(&mut self, range: Range<u64>, is_taken: F) -> ExtractIf<'_, T, F>
    where
        F: FnMut(Range<u64>, &T) -> bool,
    {
        ExtractIf {
            map: self,
            rest: range,
            is_taken,
        }
    }
}

/// Removes pieces as it gives them: what [`RadixMap::extract_if`] returns.
#[must_use = "nothing is removed until it is asked: see `retain`"]
pub struct ExtractIf<'a, T, F> {
    map: &'a mut RadixMap<T>,
    /// What it has not come to.
    rest: Range<u64>,
    is_taken: F,
}

impl<T: Clone, F: FnMut(Range<u64>, &T) -> bool> Iterator for ExtractIf<'_, T, F> {
    type Item = (Range<u64>, T);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let (keys, value) = self.map.range(self.rest.clone()).next()?;
            if (self.is_taken)(keys.clone(), value) {
                let value = if keys.end - keys.start == 1 {
                    self.map.remove(keys.start)?
                } else {
                    let value = value.clone();
                    self.map.clear_quietly(keys.start, keys.end - 1);
                    value
                };
                self.rest.start = keys.end;
                return Some((keys, value));
            }
            self.rest.start = keys.end;
        }
    }
}

impl<T: Clone, F: FnMut(Range<u64>, &T) -> bool> FusedIterator for ExtractIf<'_, T, F> {}

impl<T, F> fmt::Debug for ExtractIf<'_, T, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExtractIf").finish_non_exhaustive()
    }
}
