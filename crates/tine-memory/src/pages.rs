//! Pages, and sorted runs of them.

use std::ops::Range;

/// The bytes of a page: the unit in which regions share, copy and compare.
pub const PAGE_BYTES: usize = 4096;

/// The content of a page.
pub(crate) type Page = [u8; PAGE_BYTES];

/// Neighbouring pages of a region.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct PageRange {
    /// The first page's number: its place in bytes, divided by [`PAGE_BYTES`].
    pub first: usize,
    /// How many pages, never zero.
    pub count: usize,
}

impl PageRange {
    pub(crate) fn between(pages: Range<usize>) -> Self {
        debug_assert!(!pages.is_empty());
        Self {
            first: pages.start,
            count: pages.len(),
        }
    }

    /// Returns the number of the page behind the last.
    #[must_use]
    pub fn end(&self) -> usize {
        self.first + self.count
    }

    /// Returns the pages' numbers.
    #[must_use]
    pub fn pages(&self) -> Range<usize> {
        self.first..self.end()
    }

    /// Returns where the pages lie in their region, in bytes. The end of a region's last page may lie behind the region's.
    #[must_use]
    pub fn bytes(&self) -> Range<usize> {
        self.first * PAGE_BYTES..self.end() * PAGE_BYTES
    }
}

/// Pages in ascending order, as few runs as possible.
///
/// Invariant: runs are not empty, ascend, and neither overlap nor touch.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Runs(Vec<PageRange>);

impl Runs {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns how many pages there are.
    pub(crate) fn count(&self) -> usize {
        self.0.iter().map(|run| run.count).sum()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = PageRange> {
        self.0.iter().copied()
    }

    pub(crate) fn pages(&self) -> impl Iterator<Item = usize> {
        self.0.iter().flat_map(PageRange::pages)
    }

    pub(crate) fn into_vec(self) -> Vec<PageRange> {
        self.0
    }

    /// Adds pages that begin at or behind the start of the last run.
    pub(crate) fn push(&mut self, pages: Range<usize>) {
        if pages.is_empty() {
            return;
        }
        if let Some(last) = self.0.last_mut()
            && pages.start <= last.end()
        {
            debug_assert!(last.first <= pages.start);
            last.count = last.end().max(pages.end) - last.first;
        } else {
            self.0.push(PageRange::between(pages));
        }
    }

    /// Returns the pages that are in either.
    pub(crate) fn union(&self, other: &Self) -> Self {
        if other.is_empty() {
            return self.clone();
        }
        let mut sorted = [self.0.as_slice(), &other.0].concat();
        sorted.sort_by_key(|run| run.first);
        sorted.into_iter().map(|run| run.pages()).collect()
    }

    /// Returns the pages that `other` has not.
    pub(crate) fn without(&self, other: &Self) -> Self {
        let mut left = Self::default();
        let mut taken = other.0.iter().peekable();
        for run in &self.0 {
            let mut start = run.first;
            while start < run.end() {
                while taken.next_if(|cut| cut.end() <= start).is_some() {}
                let Some(cut) = taken.peek().filter(|cut| cut.first < run.end()) else {
                    left.push(start..run.end());
                    break;
                };
                left.push(start..cut.first.max(start));
                start = cut.end();
            }
        }
        left
    }
}

impl FromIterator<Range<usize>> for Runs {
    /// Collects runs whose starts ascend.
    fn from_iter<I: IntoIterator<Item = Range<usize>>>(runs: I) -> Self {
        let mut all = Self::default();
        runs.into_iter().for_each(|run| all.push(run));
        all
    }
}

/// Returns whether all of `bytes` are zero.
pub(crate) fn is_zero(bytes: &[u8]) -> bool {
    // In pieces, so that the first byte written ends the search and a compiler can still take many at once.
    bytes
        .chunks(256)
        .all(|piece| piece.iter().fold(0, |any, byte| any | byte) == 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn runs(pages: &BTreeSet<usize>) -> Runs {
        pages.iter().map(|&page| page..page + 1).collect()
    }

    #[test]
    fn runs_are_sets_of_pages() {
        let mut state = 1u32;
        let mut some = || -> BTreeSet<usize> {
            (0..20)
                .filter(|_| {
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    state >> 30 < 2
                })
                .collect()
        };
        for _ in 0..500 {
            let (one, other) = (some(), some());
            let both = runs(&one).union(&runs(&other));
            assert_eq!(both, runs(&one.union(&other).copied().collect()));
            let left = runs(&one).without(&runs(&other));
            assert_eq!(left, runs(&one.difference(&other).copied().collect()));
            assert_eq!(left.count(), one.difference(&other).count());
        }
    }

    #[test]
    fn zeros_are_known() {
        let mut page = [0; PAGE_BYTES];
        assert!(is_zero(&page));
        page[PAGE_BYTES - 1] = 1;
        assert!(!is_zero(&page));
    }
}
