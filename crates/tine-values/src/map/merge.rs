//! Maps made of several versions. What the versions share is neither looked at nor copied.

use core::hash::{BuildHasher, Hash};

use super::Map;
use crate::change::{Change, Conflict, Merged};

impl<K: Eq + Hash + Clone, V: Clone + PartialEq, S: BuildHasher + Clone> Map<K, V, S> {
    /// Returns a map with the changes that both sides have made since this version, which is what both come from.
    ///
    /// A key that only one side has changed gets what that side made of it; so does one that both changed alike. For
    /// the others `resolve` is asked: what it returns is the value, `None` removes the key. The result shares its nodes
    /// with `ours`, but for what `theirs` brings in. Costs what the [`diff`](Self::diff) from this version to
    /// `theirs` costs, and a write for each change.
    ///
    /// ```
    /// use tine_values::Map;
    ///
    /// let base = Map::from([("a", 1), ("b", 1), ("c", 1)]);
    /// let (mut ours, mut theirs) = (base.clone(), base.clone());
    /// ours.extend([("a", 2), ("c", 10)]);
    /// theirs.remove("b");
    /// theirs.insert("c", 100);
    /// let merged = base.merge(&ours, &theirs, |conflict| Some(conflict.ours? + conflict.theirs?));
    /// assert_eq!(merged, Map::from([("a", 2), ("c", 110)]));
    /// ```
    #[must_use]
    pub fn merge(
        &self,
        ours: &Self,
        theirs: &Self,
        mut resolve: impl FnMut(Conflict<'_, K, V>) -> Option<V>,
    ) -> Self {
        if ours.ptr_eq(self) {
            return theirs.clone();
        }
        let mut merged = ours.clone();
        for change in self.diff(theirs) {
            let key = change.key();
            match change.merged(ours.get(key), &mut resolve) {
                Merged::Stays => {}
                Merged::Becomes(value) => drop(merged.insert(key.clone(), value)),
                Merged::Goes => drop(merged.remove(key)),
            }
        }
        merged
    }

    /// Returns a map with the keys of both. Where both have a key and their values differ, `both` makes one of this
    /// map's and the other's; equal values, those in shared nodes among them, stay as they are.
    ///
    /// The result shares its nodes with this map, but for what the other brings in. Costs what [`diff`](Self::diff)
    /// costs, and a write for each difference.
    #[must_use]
    pub fn union_with(&self, other: &Self, mut both: impl FnMut(&K, &V, &V) -> V) -> Self {
        let mut union = self.clone();
        for change in self.diff(other) {
            match change {
                Change::Added { key, value } => drop(union.insert(key.clone(), value.clone())),
                Change::Changed { key, old, new } => drop(union.insert(key.clone(), both(key, old, new))),
                Change::Removed { .. } => {}
            }
        }
        union
    }
}
