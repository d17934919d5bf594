//! The content of one file, as the page cache has it and as the medium has it.
//!
//! ```text
//!            write, truncate              sync
//! program ───────────────────> cached ──────────> durable
//!                                │ pending: what sync will copy,
//!                                │ or a power cut may have copied
//! ```
//!
//! **Invariant:** a page in which `cached` and `durable` differ has a pending change or is `stale`; the latter only
//! after a failed sync, which no later sync repairs.

use super::fate::Fate;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

pub(crate) const PAGE_BYTES: u64 = 4096;
pub(crate) const SECTOR_BYTES: u64 = 512;
const SECTORS: usize = (PAGE_BYTES / SECTOR_BYTES) as usize;

type Page = [u8; PAGE_BYTES as usize];

/// A sparse file: a page that is not there is a hole. No page lies wholly beyond the size, and bytes beyond it are zero.
#[derive(Clone, Debug, Default)]
struct Pages {
    pages: BTreeMap<u64, Arc<Page>>,
    size: u64,
}

/// How a program reaches the file: through the page cache or past it (`O_DIRECT`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    Cached,
    Direct,
}

/// A change that is not synced yet.
#[derive(Debug)]
struct Change {
    order: u64,
    what: What,
}

#[derive(Debug)]
enum What {
    /// The page becomes what it was after the write, in these sectors.
    Page {
        index: u64,
        sectors: Range<usize>,
        after: Option<Arc<Page>>,
    },
    Size(u64),
}

/// One file's bytes.
#[derive(Debug, Default)]
pub(crate) struct Data {
    cached: Pages,
    durable: Pages,
    pending: Vec<Change>,
    /// The pages that a failed sync left different on the medium, as they are there.
    stale: BTreeMap<u64, Option<Arc<Page>>>,
}

impl Pages {
    fn set(&mut self, index: u64, page: Option<Arc<Page>>) {
        match page {
            Some(page) => self.pages.insert(index, page),
            None => self.pages.remove(&index),
        };
    }

    /// Does what `change` did, of a page only `sectors`.
    fn apply(&mut self, what: &What, kept: impl Fn(usize) -> bool) {
        match what {
            What::Size(size) => self.size = *size,
            What::Page {
                index,
                sectors,
                after,
            } => {
                if *sectors == (0..SECTORS) && (0..SECTORS).all(&kept) {
                    return self.set(*index, after.clone());
                }
                let page = Arc::make_mut(self.pages.entry(*index).or_insert_with(empty));
                for sector in sectors.clone().filter(|sector| kept(*sector)) {
                    let bytes = sector * SECTOR_BYTES as usize..(sector + 1) * SECTOR_BYTES as usize;
                    match after {
                        Some(after) => page[bytes.clone()].copy_from_slice(&after[bytes]),
                        None => page[bytes].fill(0),
                    }
                }
            }
        }
    }

    /// Drops what lies beyond the size: sizes and pages survive a cut independently.
    fn trim(&mut self) {
        let whole = self.size / PAGE_BYTES;
        let tail = (self.size % PAGE_BYTES) as usize;
        drop(self.pages.split_off(&self.size.div_ceil(PAGE_BYTES)));
        if let Some(page) = self.pages.get_mut(&whole)
            && page[tail..].iter().any(|byte| *byte != 0)
        {
            Arc::make_mut(page)[tail..].fill(0);
        }
    }
}

impl Data {
    /// Returns the size that programs see.
    pub(crate) fn size(&self) -> u64 {
        self.cached.size
    }

    /// Returns how many bytes programs see allocated.
    pub(crate) fn allocated_bytes(&self) -> u64 {
        self.cached.pages.len() as u64 * PAGE_BYTES
    }

    /// Reads up to `length` bytes at `offset`, fewer at the end.
    pub(crate) fn read(&self, access: Access, offset: u64, length: u64) -> Vec<u8> {
        let end = offset.saturating_add(length).min(self.cached.size);
        if end <= offset {
            return Vec::new();
        }
        let mut bytes = Vec::with_capacity((end - offset) as usize);
        for (index, part) in pages_of(offset, end) {
            let page = match self.stale.get(&index) {
                Some(page) if access == Access::Direct => page.as_ref(),
                _ => self.cached.pages.get(&index),
            };
            match page {
                Some(page) => bytes.extend_from_slice(&page[part]),
                None => bytes.resize(bytes.len() + part.len(), 0),
            }
        }
        bytes
    }

    /// Writes `bytes` at `offset`, as the change numbered `order`.
    pub(crate) fn write(&mut self, order: u64, access: Access, offset: u64, bytes: &[u8]) {
        let end = offset + bytes.len() as u64;
        for (index, part) in pages_of(offset, end) {
            let from = (index * PAGE_BYTES + part.start as u64 - offset) as usize;
            let bytes = &bytes[from..from + part.len()];
            self.change(order, access, index, part, |part| part.copy_from_slice(bytes));
        }
        self.grow(order, end);
    }

    /// Makes the file at least `size` long; what is new reads as zeroes.
    pub(crate) fn grow(&mut self, order: u64, size: u64) {
        if size > self.cached.size {
            self.set_size(order, size);
        }
    }

    /// Cuts or extends the file.
    pub(crate) fn resize(&mut self, order: u64, size: u64) {
        if size < self.cached.size {
            self.clear(order, size, self.cached.size - size);
        }
        if size != self.cached.size {
            self.set_size(order, size);
        }
    }

    /// Makes zeroes of the range, within the file; whole pages become holes.
    pub(crate) fn clear(&mut self, order: u64, offset: u64, length: u64) {
        let end = offset
            .saturating_add(length)
            .min(self.cached.size.next_multiple_of(PAGE_BYTES));
        if end <= offset {
            return;
        }
        let touched = offset / PAGE_BYTES..end.div_ceil(PAGE_BYTES);
        let indexes: Vec<u64> = self
            .cached
            .pages
            .range(touched)
            .map(|(index, _)| *index)
            .collect();
        for index in indexes {
            let start = offset.saturating_sub(index * PAGE_BYTES).min(PAGE_BYTES) as usize;
            let stop = (end - index * PAGE_BYTES).min(PAGE_BYTES) as usize;
            if start == 0 && stop == PAGE_BYTES as usize {
                self.cached.pages.remove(&index);
                self.note_page(order, index, 0..SECTORS);
            } else {
                self.change(order, Access::Cached, index, start..stop, |part| part.fill(0));
            }
        }
    }

    /// Returns the first place from `offset` on that is data, or a hole; the end of the file is a hole.
    pub(crate) fn seek(&self, offset: u64, data: bool) -> Option<u64> {
        if offset >= self.cached.size {
            return None;
        }
        let first = offset / PAGE_BYTES;
        let found = if data {
            self.cached.pages.range(first..).next().map(|(index, _)| *index)
        } else {
            let run = self.cached.pages.range(first..).zip(first..);
            Some(
                first
                    + run
                        .take_while(|((index, _), expected)| **index == *expected)
                        .count() as u64,
            )
        };
        let place = (found? * PAGE_BYTES).max(offset);
        if data {
            (place < self.cached.size).then_some(place)
        } else {
            Some(place.min(self.cached.size))
        }
    }

    /// Returns the number of the earliest change that is not synced.
    pub(crate) fn first_unsynced(&self) -> Option<u64> {
        self.pending.first().map(|change| change.order)
    }

    /// Makes everything durable.
    pub(crate) fn sync(&mut self) {
        for Change { what, .. } in self.pending.drain(..) {
            self.durable.apply(&what, |_| true);
        }
        self.durable.trim();
    }

    /// Fails as Linux does: each page got to the medium or did not, the page cache has them all, and none is dirty any
    /// more. The size is metadata, so it stays to be synced.
    pub(crate) fn fail_to_sync(&mut self, fate: &mut Fate) {
        let pending = std::mem::take(&mut self.pending);
        for change in pending {
            match change.what {
                What::Size(_) => self.pending.push(change),
                What::Page { index, .. } => {
                    Self::survive(&mut self.durable, &change, fate);
                    self.stale.insert(index, self.durable.pages.get(&index).cloned());
                }
            }
        }
        let cached = &self.cached;
        self.stale
            .retain(|index, page| page.as_ref() != cached.pages.get(index));
    }

    /// Returns what is found after a power cut.
    pub(crate) fn after_cut(mut self, fate: &mut Fate) -> Self {
        for change in &self.pending {
            Self::survive(&mut self.durable, change, fate);
        }
        self.durable.trim();
        Self {
            cached: self.durable.clone(),
            durable: self.durable,
            ..Self::default()
        }
    }

    /// Puts on the medium what `fate` lets survive of `change`.
    fn survive(durable: &mut Pages, change: &Change, fate: &mut Fate) {
        let kept: [bool; SECTORS] = if fate.tears() && matches!(change.what, What::Page { .. }) {
            std::array::from_fn(|_| fate.keeps(change.order))
        } else {
            [fate.keeps(change.order); SECTORS]
        };
        if kept.contains(&true) {
            durable.apply(&change.what, |sector| kept[sector]);
        }
    }

    fn set_size(&mut self, order: u64, size: u64) {
        self.cached.size = size;
        self.pending.push(Change {
            order,
            what: What::Size(size),
        });
    }

    /// Changes `part` of a page in the cache, and notes what a sync will write.
    fn change(
        &mut self,
        order: u64,
        access: Access,
        index: u64,
        part: Range<usize>,
        edit: impl Fn(&mut [u8]),
    ) {
        let page = Arc::make_mut(self.cached.pages.entry(index).or_insert_with(empty));
        edit(&mut page[part.clone()]);
        match access {
            // The kernel writes back whole pages, also what an earlier failed sync had left out.
            Access::Cached => self.note_page(order, index, 0..SECTORS),
            Access::Direct => {
                if let Some(page) = self.stale.get_mut(&index) {
                    edit(&mut Arc::make_mut(page.get_or_insert_with(empty))[part.clone()]);
                }
                let sector = SECTOR_BYTES as usize;
                let sectors = part.start / sector..part.end.div_ceil(sector);
                self.pending.push(Change {
                    order,
                    what: self.page_now(index, sectors),
                });
            }
        }
    }

    fn note_page(&mut self, order: u64, index: u64, sectors: Range<usize>) {
        self.stale.remove(&index);
        self.pending.push(Change {
            order,
            what: self.page_now(index, sectors),
        });
    }

    fn page_now(&self, index: u64, sectors: Range<usize>) -> What {
        What::Page {
            index,
            sectors,
            after: self.cached.pages.get(&index).cloned(),
        }
    }
}

fn empty() -> Arc<Page> {
    Arc::new([0; PAGE_BYTES as usize])
}

/// Returns the pages of a range of bytes that does not end before it starts, each with the part of it that lies in the range.
fn pages_of(offset: u64, end: u64) -> impl Iterator<Item = (u64, Range<usize>)> {
    (offset / PAGE_BYTES..end.div_ceil(PAGE_BYTES)).map(move |index| {
        let start = offset.saturating_sub(index * PAGE_BYTES);
        let stop = (end - index * PAGE_BYTES).min(PAGE_BYTES);
        (index, start as usize..stop as usize)
    })
}
