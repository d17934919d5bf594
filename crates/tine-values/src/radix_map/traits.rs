//! The traits of std that a [`RadixMap`] has.
//!
//! One map can be told in several ways, a range by one fill or by its keys: what compares or hashes sees the keys.

use core::cmp::Ordering;
use core::fmt;
use core::hash::{Hash, Hasher};
use core::ops::{Index, Range};

use super::{Iter, RadixMap};

impl<T> Clone for RadixMap<T> {
    /// Returns a map that shares every node: one atomic increment, whatever the size.
    #[inline]
    fn clone(&self) -> Self {
        Self {
            root: self.root.clone(),
            height: self.height,
        }
    }
}

impl<T> Default for RadixMap<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: fmt::Debug> fmt::Debug for RadixMap<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self).finish()
    }
}

impl<T: PartialEq> PartialEq for RadixMap<T> {
    /// Returns whether both have the same values at the same keys; costs what [`diff`](RadixMap::diff) costs up
    /// to the first difference.
    fn eq(&self, other: &Self) -> bool {
        self.diff(other).next().is_none()
    }
}

impl<T: Eq> Eq for RadixMap<T> {}

impl<T: Clone> FromIterator<(u64, T)> for RadixMap<T> {
    fn from_iter<I: IntoIterator<Item = (u64, T)>>(entries: I) -> Self {
        let mut map = Self::new();
        map.extend(entries);
        map
    }
}

impl<T: Clone> Extend<(u64, T)> for RadixMap<T> {
    fn extend<I: IntoIterator<Item = (u64, T)>>(&mut self, entries: I) {
        for (key, value) in entries {
            self.insert(key, value);
        }
    }
}

impl<'a, T: Copy + 'a> Extend<(u64, &'a T)> for RadixMap<T> {
    fn extend<I: IntoIterator<Item = (u64, &'a T)>>(&mut self, entries: I) {
        self.extend(entries.into_iter().map(|(key, &value)| (key, value)));
    }
}

impl<'a, T: Copy + 'a> Extend<(&'a u64, &'a T)> for RadixMap<T> {
    fn extend<I: IntoIterator<Item = (&'a u64, &'a T)>>(&mut self, entries: I) {
        self.extend(entries.into_iter().map(|(&key, &value)| (key, value)));
    }
}

impl<T: Clone, const N: usize> From<[(u64, T); N]> for RadixMap<T> {
    fn from(entries: [(u64, T); N]) -> Self {
        entries.into_iter().collect()
    }
}

impl<'a, T> IntoIterator for &'a RadixMap<T> {
    type Item = (Range<u64>, &'a T);
    type IntoIter = Iter<'a, T>;

    fn into_iter(self) -> Iter<'a, T> {
        self.iter()
    }
}

impl<T: PartialOrd> PartialOrd for RadixMap<T> {
    /// Compares key by key, the keys first, as a `BTreeMap` does. Costs what the common beginning has of ranges.
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        compare(self, other, T::partial_cmp)
    }
}

impl<T: Ord> Ord for RadixMap<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        compare(self, other, |ours, theirs| Some(ours.cmp(theirs))).unwrap_or(Ordering::Equal)
    }
}

/// Compares two maps by what `values` says of two values at one key.
fn compare<T>(
    ours: &RadixMap<T>,
    theirs: &RadixMap<T>,
    values: impl Fn(&T, &T) -> Option<Ordering>,
) -> Option<Ordering> {
    let (mut ours, mut theirs) = (ours.iter(), theirs.iter());
    let (mut our_run, mut their_run) = (ours.next(), theirs.next());
    loop {
        let ((our_keys, our_value), (their_keys, their_value)) = match (&mut our_run, &mut their_run) {
            (Some(ours), Some(theirs)) => (ours, theirs),
            (ours, theirs) => return Some(ours.is_some().cmp(&theirs.is_some())),
        };
        let order = our_keys.start.cmp(&their_keys.start);
        if order.is_ne() {
            return Some(order);
        }
        let order = values(our_value, their_value)?;
        if order.is_ne() {
            return Some(order);
        }
        // The last key's range is empty, and nothing follows it.
        let end = our_keys.end.min(their_keys.end);
        (our_keys.start, their_keys.start) = (end, end);
        if our_keys.is_empty() {
            our_run = ours.next();
        }
        if their_keys.is_empty() {
            their_run = theirs.next();
        }
    }
}

impl<T: Hash + PartialEq> Hash for RadixMap<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let mut runs = self.iter().peekable();
        while let Some((mut keys, value)) = runs.next() {
            // As long as it gets: the same for every way to tell the map.
            while let Some((more, _)) =
                runs.next_if(|(next, other)| next.start == keys.end && *other == value)
            {
                keys.end = more.end;
            }
            keys.hash(state);
            value.hash(state);
        }
        // No run begins there but the last key's, whose end is not 0.
        (u64::MAX, 0_u64).hash(state);
    }
}

impl<T> Index<u64> for RadixMap<T> {
    type Output = T;

    /// Returns the value at `key`.
    ///
    /// # Panics
    ///
    /// If there is none.
    #[inline]
    fn index(&self, key: u64) -> &T {
        self.get(key).expect("no entry found for key")
    }
}
