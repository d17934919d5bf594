//! What a region's memory is made of: copy-on-write's page table, made visible.

use std::fmt;
use std::sync::Arc;

use crate::pages::{PAGE_BYTES, PageRange, Runs};
use crate::sys;
use crate::{Region, Result};

/// What a region's memory is made of, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Stats {
    /// Mapped at this moment, own or shared.
    pub resident: usize,
    /// Only this region refers to it: what dropping it gives back.
    pub own: usize,
    /// Other regions refer to it, too.
    pub shared: usize,
    /// Never written: takes no memory.
    pub zero: usize,
    /// Kept for rollback and forks beside what is mapped, part of `own` or `shared`.
    pub patch: usize,
    /// Page faults of the whole process since the region was made: the kernel counts none of a region alone.
    pub process_faults: u64,
}

/// Where a page of a region comes from.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum PageSource {
    /// It was never written.
    Zero,
    /// It was written since the region was last forked, frozen or loaded.
    Written,
    /// A private copy of a page that was written before the region was last forked, and kept for rollback.
    Patch,
    /// A page of a frozen base.
    Base {
        /// The base's number, which no other has had in this process.
        id: u64,
    },
}

/// Neighbouring pages that come from the same place.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub struct PageRun {
    /// Which pages.
    pub pages: PageRange,
    /// Where they come from.
    pub source: PageSource,
    /// How many others refer to what they come from: regions to a base, origins of regions to the page of a patch.
    pub others: usize,
}

/// For each page of a region, where it comes from and how many others refer to that.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PageMap {
    runs: Vec<PageRun>,
}

impl PageMap {
    /// Returns the runs, in order; together they are all pages of the region.
    #[must_use]
    pub fn runs(&self) -> &[PageRun] {
        &self.runs
    }

    fn push(&mut self, page: usize, source: PageSource, others: usize) {
        if let Some(last) = self.runs.last_mut()
            && (last.source, last.others, last.pages.end()) == (source, others, page)
        {
            last.pages.count += 1;
            return;
        }
        self.runs.push(PageRun {
            pages: PageRange::between(page..page + 1),
            source,
            others,
        });
    }
}

impl fmt::Display for PageMap {
    /// Writes a line for each run.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for run in &self.runs {
            let PageRange { first, count } = run.pages;
            let last = run.pages.end() - 1;
            write!(f, "{first:>8} ..{last:>8} {count:>8}  ")?;
            match run.source {
                PageSource::Zero => writeln!(f, "zero")?,
                PageSource::Written => writeln!(f, "own, written")?,
                PageSource::Patch => {
                    writeln!(f, "own, a copy; its original is kept by {} more", run.others)?;
                }
                PageSource::Base { id } => {
                    writeln!(f, "base {id}, shared by {} more", run.others)?;
                }
            }
        }
        Ok(())
    }
}

impl Region {
    /// Returns what the region's memory is made of. O(pages mapped, and runs of data in its base).
    ///
    /// # Errors
    ///
    /// When the kernel cannot say.
    pub fn stats(&self) -> Result<Stats> {
        let all = PageRange::between(0..self.pages());
        let private = self.private()?;
        let data = self.base.image().data()?;
        let under = data.without(&private);
        let base_is_own = Arc::strong_count(&self.base) == 1;
        let (patch_own, patch_shared) = self.patch_pages();
        // A base that is the region's alone goes with it, with the pages that private ones lie over.
        let (own, shared) = if base_is_own {
            (private.count() + data.count(), 0)
        } else {
            (private.count(), under.count())
        };
        Ok(Stats {
            resident: sys::resident_pages(&self.map, all)?.count() * PAGE_BYTES,
            own: (own + patch_own) * PAGE_BYTES,
            shared: (shared + patch_shared) * PAGE_BYTES,
            zero: (all.count - private.union(&data).count()) * PAGE_BYTES,
            patch: self.patch.len() * PAGE_BYTES,
            process_faults: sys::faults().saturating_sub(self.faults_at_birth),
        })
    }

    /// Returns for each page where it comes from and who else refers to that. O(pages).
    ///
    /// # Errors
    ///
    /// When the kernel cannot say.
    pub fn page_map(&self) -> Result<PageMap> {
        let (mut private, mut data) = (
            Members::of(self.private()?),
            Members::of(self.base.image().data()?),
        );
        let mut changed = Members::of(self.changed()?);
        let mut patch = self.patch.keepers().peekable();
        let base = PageSource::Base { id: self.base.id() };
        let base_others = Arc::strong_count(&self.base) - 1;
        let mut map = PageMap { runs: Vec::new() };
        for page in 0..self.pages() {
            let patched = patch.next_if(|(at, _)| *at == page);
            let is_private = private.has(page);
            let is_data = data.has(page);
            match patched {
                _ if changed.has(page) => map.push(page, PageSource::Written, 0),
                // A patch that several regions share counts once for each.
                Some((_, others)) => {
                    map.push(
                        page,
                        PageSource::Patch,
                        others + Arc::strong_count(&self.patch) - 1,
                    );
                }
                // Written before the origin moved on; the same bytes are in the base.
                None if is_private => map.push(page, PageSource::Written, 0),
                None if is_data => map.push(page, base, base_others),
                None => map.push(page, PageSource::Zero, 0),
            }
        }
        Ok(map)
    }

    /// Returns the pages that the mapping alone has.
    fn private(&self) -> Result<Runs> {
        if self.live {
            return Ok(Runs::default());
        }
        sys::own_pages(&self.map, PageRange::between(0..self.pages()))
    }

    /// Returns how many pages of the patch nobody else keeps, and how many others do.
    fn patch_pages(&self) -> (usize, usize) {
        if Arc::strong_count(&self.patch) > 1 {
            return (0, self.patch.len());
        }
        let own = self.patch.keepers().filter(|(_, others)| *others == 0).count();
        (own, self.patch.len() - own)
    }
}

/// Asks in ascending order whether pages are in runs.
struct Members {
    runs: std::iter::Peekable<std::vec::IntoIter<PageRange>>,
}

impl Members {
    fn of(runs: Runs) -> Self {
        Self {
            runs: runs.into_vec().into_iter().peekable(),
        }
    }

    fn has(&mut self, page: usize) -> bool {
        while self.runs.next_if(|run| run.end() <= page).is_some() {}
        self.runs.peek().is_some_and(|run| run.first <= page)
    }
}
