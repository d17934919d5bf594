//! How two versions of a map differ.

use core::fmt;
use core::iter::FusedIterator;

use super::SortedMap;
use crate::change::Change;
use crate::sorted::compare::{Found, Side, is_equal, step};

/// How two maps differ, in key order: what [`SortedMap::diff`] returns.
pub struct Diff<'a, K, V> {
    left: Side<'a, K, V>,
    right: Side<'a, K, V>,
}

impl<K: Ord, V: PartialEq> SortedMap<K, V> {
    /// Returns an iterator over what has to change in this map to make it `other`, in key order.
    ///
    /// Nodes that both share are skipped unseen, so the cost follows the difference and not the size, for maps that are
    /// clones of each other or of a third. A value that is not equal to itself counts as a change only where its node is
    /// not shared.
    pub fn diff<'a>(&'a self, other: &'a Self) -> Diff<'a, K, V> {
        Diff {
            left: Side::new(self.root.as_ref()),
            right: Side::new(other.root.as_ref()),
        }
    }
}

impl<'a, K: Ord, V: PartialEq> Iterator for Diff<'a, K, V> {
    type Item = Change<'a, K, V>;

    fn next(&mut self) -> Option<Change<'a, K, V>> {
        loop {
            return Some(match step(&mut self.left, &mut self.right)? {
                Found::Left(key, value) => Change::Removed { key, value },
                Found::Right(key, value) => Change::Added { key, value },
                Found::Both((_, old), (_, new)) if old == new => continue,
                Found::Both((key, old), (_, new)) => Change::Changed { key, old, new },
            });
        }
    }
}

impl<K: Ord, V: PartialEq> FusedIterator for Diff<'_, K, V> {}

impl<K, V> fmt::Debug for Diff<'_, K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Diff").finish_non_exhaustive()
    }
}

impl<K: PartialEq, V: PartialEq> PartialEq for SortedMap<K, V> {
    /// Returns whether both have the same entries. Nodes that both share are skipped unseen, as by
    /// [`diff`](SortedMap::diff).
    fn eq(&self, other: &Self) -> bool {
        is_equal(self.root.as_ref(), other.root.as_ref(), |one, other| one == other)
    }
}

impl<K: Eq, V: Eq> Eq for SortedMap<K, V> {}
