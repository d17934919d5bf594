//! Where a region was written, as far as its own methods tell: so that who wrote little need not look for it in all that is mapped.

use std::ops::Range;

use crate::pages::{PAGE_BYTES, Runs};

/// How many pages are remembered one by one. To look for so many in the page tables costs about what it costs to sort them.
const PAGES_MAX: usize = 4096;

/// Where a region was written since its origin.
#[derive(Default)]
pub(crate) struct Written {
    /// Pages that were written, in any order, some twice.
    pages: Vec<usize>,
    /// Bytes that were lent to be written: pages in there may have been.
    lent: Range<usize>,
}

impl Written {
    pub(crate) fn is_empty(&self) -> bool {
        self.pages.is_empty() && self.lent.is_empty()
    }

    pub(crate) fn clear(&mut self) {
        self.pages.clear();
        self.lent = 0..0;
    }

    /// Notes that these bytes may be written.
    pub(crate) fn lend(&mut self, bytes: Range<usize>) {
        if bytes.is_empty() {
            return;
        }
        self.lent = if self.lent.is_empty() {
            bytes
        } else {
            self.lent.start.min(bytes.start)..self.lent.end.max(bytes.end)
        };
    }

    /// Notes that these bytes are written.
    pub(crate) fn note(&mut self, bytes: Range<usize>) {
        let is_lent = self.lent.start <= bytes.start && bytes.end <= self.lent.end;
        if bytes.is_empty() || is_lent {
            return;
        }
        let pages = bytes.start / PAGE_BYTES..bytes.end.div_ceil(PAGE_BYTES);
        if pages.len() == 1 && self.pages.last() == Some(&pages.start) {
            return;
        }
        if pages.len() > PAGES_MAX / 2 {
            self.lend(bytes);
            return;
        }
        if self.pages.len() + pages.len() > PAGES_MAX {
            self.pages.sort_unstable();
            self.pages.dedup();
            // At least half of the room is there again, or the pages are too many.
            if self.pages.len() > PAGES_MAX / 2 {
                let all = self.pages[0]..self.pages[self.pages.len() - 1] + 1;
                self.pages.clear();
                self.lend(all.start * PAGE_BYTES..all.end * PAGE_BYTES);
                self.lend(bytes);
                return;
            }
        }
        self.pages.extend(pages);
    }

    /// Returns the pages that were written.
    pub(crate) fn pages(&self) -> Runs {
        let mut pages = self.pages.clone();
        pages.sort_unstable();
        pages.into_iter().map(|page| page..page + 1).collect()
    }

    /// Returns the pages that may have been, beside those.
    pub(crate) fn lent(&self) -> Range<usize> {
        self.lent.start / PAGE_BYTES..self.lent.end.div_ceil(PAGE_BYTES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_noted_is_found() {
        let mut written = Written::default();
        assert!(written.is_empty());
        written.note(5..5);
        assert!(written.is_empty());
        let bytes = |page: usize| page * PAGE_BYTES + 7..page * PAGE_BYTES + 8;
        // The same few pages, ever again.
        for round in 0..10 * PAGES_MAX {
            written.note(bytes(10 + round % 7 * 2));
        }
        written.note(4000..5000);
        assert!(written.lent().is_empty());
        let found: Vec<_> = written.pages().pages().collect();
        assert_eq!(found, [0, 1, 10, 12, 14, 16, 18, 20, 22]);
        // Too many.
        (100..100 + 2 * PAGES_MAX).for_each(|page| written.note(bytes(page)));
        let is_found = |page: &usize| {
            written.lent().contains(page) || written.pages().pages().any(|found| found == *page)
        };
        assert!(found.iter().chain(&[100, 5000, 99 + 2 * PAGES_MAX]).all(is_found));
        written.clear();
        assert!(written.is_empty());
        written.note(0..PAGES_MAX * PAGE_BYTES);
        assert_eq!(written.lent(), 0..PAGES_MAX);
    }
}
