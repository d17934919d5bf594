//! Maps made of two versions and the one that both come from. What the versions share is neither looked at nor copied.

use core::ops::Range;

use super::RadixMap;
use crate::change::{Conflict, Merged};

impl<T: Clone + PartialEq> RadixMap<T> {
    /// Returns a map with the changes that both sides have made since this version, which is what both come from.
    ///
    /// Keys that only one side has changed get what that side made of them; so do those that both changed alike. For the
    /// others `resolve` is asked, once for a range in which all three have one value each, or none: what it returns is the
    /// value there, `None` removes the keys. The result shares its nodes with `ours`, but for what `theirs` brings in. Costs what
    /// the [`diff`](Self::diff) from this version to `theirs` costs, and a write for each range that differs.
    ///
    /// ```
    /// use tine_values::RadixMap;
    ///
    /// let mut base = RadixMap::new();
    /// base.fill(0..100, 1, |_, _| ());
    /// let (mut ours, mut theirs) = (base.clone(), base.clone());
    /// ours.fill(0..10, 2, |_, _| ());
    /// theirs.fill(5..20, 30, |_, _| ());
    /// theirs.clear_range(90..100, |_, _| ());
    /// let merged = base.merge(&ours, &theirs, |conflict| Some(conflict.ours? + conflict.theirs?));
    /// assert_eq!([0, 5, 10, 20, 90].map(|key| merged.get(key).copied()), [Some(2), Some(32), Some(30), Some(1), None]);
    /// ```
    #[must_use]
    pub fn merge(
        &self,
        ours: &Self,
        theirs: &Self,
        mut resolve: impl FnMut(Conflict<'_, Range<u64>, T>) -> Option<T>,
    ) -> Self {
        if ours.ptr_eq(self) {
            return theirs.clone();
        }
        let mut merged = ours.clone();
        for (keys, base, theirs) in self.diff(theirs) {
            for (keys, ours) in ours.pieces(keys) {
                let versions = Conflict {
                    key: &keys,
                    base,
                    ours,
                    theirs,
                };
                match versions.merged(&mut resolve) {
                    Merged::Stays => {}
                    Merged::Becomes(value) => merged.put(keys, Some(value)),
                    Merged::Goes => merged.put(keys, None),
                }
            }
        }
        merged
    }
}

impl<T> RadixMap<T> {
    /// Returns what the map has in a range that a diff reports, and where it has nothing.
    fn pieces(&self, keys: Range<u64>) -> impl Iterator<Item = (Range<u64>, Option<&T>)> {
        // The last key's range is empty.
        let last = keys.is_empty().then(|| (keys.clone(), self.get(keys.start)));
        let mut done = keys.start;
        let present = self.range(keys.clone()).map(|(keys, value)| (keys, Some(value)));
        let end = (!keys.is_empty()).then_some((keys.end..keys.end, None));
        let runs = present.chain(end).flat_map(move |(run, value)| {
            let gap = (done < run.start).then_some((done..run.start, None));
            done = run.end;
            let run = (!run.is_empty()).then_some((run, value));
            gap.into_iter().chain(run)
        });
        runs.chain(last)
    }

    /// Gives a range that a diff reports one value, or none.
    pub(super) fn put(&mut self, keys: Range<u64>, value: Option<T>)
    where
        T: Clone,
    {
        match value {
            Some(value) if keys.end - keys.start <= 1 => drop(self.insert(keys.start, value)),
            Some(value) => self.fill(keys, value, |_, _| ()),
            None if keys.is_empty() => drop(self.remove(keys.start)),
            None => self.clear_range(keys, |_, _| ()),
        }
    }
}
