//! What std's traits make of a map.
//!
//! There is no `Hash`, as there is none for std's `HashMap`: entries have no order to be hashed in, and a sum of
//! their hashes would promise more than it holds.

use core::fmt;
use core::hash::{BuildHasher, Hash};
use core::ops::Index;
#[cfg(feature = "std")]
use std::collections::HashMap;

use equivalent::Equivalent;

use super::{DefaultHashBuilder, IntoIter, Iter, IterMut, Map};

impl<K, V, S: Clone> Clone for Map<K, V, S> {
    /// Returns a map that shares every node: one atomic increment, whatever the size.
    #[inline]
    fn clone(&self) -> Self {
        Self {
            tree: self.tree.clone(),
            hasher: self.hasher.clone(),
        }
    }
}

impl<K, V, S: Default> Default for Map<K, V, S> {
    fn default() -> Self {
        Self::with_hasher(S::default())
    }
}

impl<K: fmt::Debug, V: fmt::Debug, S> fmt::Debug for Map<K, V, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self).finish()
    }
}

impl<K: Eq + Hash, V: PartialEq, S: BuildHasher> PartialEq for Map<K, V, S> {
    /// Returns whether both have the same values at the same keys. Skips what they share: costs what
    /// [`diff`](Map::diff) costs up to the first difference.
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.diff(other).without_added().next().is_none()
    }
}

impl<K: Eq + Hash, V: Eq, S: BuildHasher> Eq for Map<K, V, S> {}

impl<K, V, Q, S> Index<&Q> for Map<K, V, S>
where
    K: Eq + Hash,
    Q: Hash + Equivalent<K> + ?Sized,
    S: BuildHasher,
{
    type Output = V;

    /// # Panics
    ///
    /// If the key is absent.
    fn index(&self, key: &Q) -> &V {
        self.get(key).expect("no entry found for key")
    }
}

impl<K, V, S> FromIterator<(K, V)> for Map<K, V, S>
where
    K: Eq + Hash + Clone,
    V: Clone,
    S: BuildHasher + Default,
{
    /// Returns a map of all entries; of those with the same key, the last value. Uses the iterator's size hint.
    ///
    /// Entries that are said to take 4 MB or more are collected first, in the order in which they lie in the tree: meanwhile
    /// they are in memory twice.
    fn from_iter<I: IntoIterator<Item = (K, V)>>(entries: I) -> Self {
        let entries = entries.into_iter();
        let len = entries.size_hint().0;
        let mut map = Self::with_room_for(len, S::default());
        if Self::is_larger_than_caches(len) {
            map.insert_in_parts(len, entries);
        } else {
            entries.for_each(|(key, value)| drop(map.insert(key, value)));
        }
        map.give_room_back();
        map
    }
}

impl<K: Eq + Hash + Clone, V: Clone, S: BuildHasher> Extend<(K, V)> for Map<K, V, S> {
    fn extend<I: IntoIterator<Item = (K, V)>>(&mut self, entries: I) {
        for (key, value) in entries {
            self.insert(key, value);
        }
    }
}

impl<'a, K, V, S> Extend<(&'a K, &'a V)> for Map<K, V, S>
where
    K: Eq + Hash + Copy,
    V: Copy,
    S: BuildHasher,
{
    fn extend<I: IntoIterator<Item = (&'a K, &'a V)>>(&mut self, entries: I) {
        self.extend(entries.into_iter().map(|(&key, &value)| (key, value)));
    }
}

impl<K: Eq + Hash + Clone, V: Clone, const N: usize> From<[(K, V); N]> for Map<K, V, DefaultHashBuilder> {
    fn from(entries: [(K, V); N]) -> Self {
        Self::from_iter(entries)
    }
}

#[cfg(feature = "std")]
impl<K: Eq + Hash + Clone, V: Clone, S> From<HashMap<K, V, S>> for Map<K, V, DefaultHashBuilder> {
    fn from(entries: HashMap<K, V, S>) -> Self {
        Self::from_iter(entries)
    }
}

#[cfg(feature = "std")]
impl<K, V, S, H> From<Map<K, V, S>> for HashMap<K, V, H>
where
    K: Eq + Hash + Clone,
    V: Clone,
    H: BuildHasher + Default,
{
    fn from(map: Map<K, V, S>) -> Self {
        map.into_iter().collect()
    }
}

impl<K: Clone, V: Clone, S> IntoIterator for Map<K, V, S> {
    type Item = (K, V);
    type IntoIter = IntoIter<K, V>;

    /// Returns the entries by value. Those that others share are cloned.
    fn into_iter(self) -> IntoIter<K, V> {
        IntoIter::new(self.tree)
    }
}

impl<'a, K, V, S> IntoIterator for &'a Map<K, V, S> {
    type Item = (&'a K, &'a V);
    type IntoIter = Iter<'a, K, V>;

    fn into_iter(self) -> Iter<'a, K, V> {
        self.iter()
    }
}

impl<'a, K: Clone, V: Clone, S> IntoIterator for &'a mut Map<K, V, S> {
    type Item = (&'a K, &'a mut V);
    type IntoIter = IterMut<'a, K, V>;

    fn into_iter(self) -> IterMut<'a, K, V> {
        self.iter_mut()
    }
}
