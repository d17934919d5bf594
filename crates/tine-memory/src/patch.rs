//! Patches: pages that a region's origin has otherwise than its base, kept to go back to and to hand to forks.

use std::ptr;
use std::sync::Arc;

use crate::Result;
use crate::pages::{PAGE_BYTES, Page, Runs};
use crate::sys;

/// From how many pages on copies have a mapping of their own, 16 MiB. Below they come from the allocator, which has memory that was used
/// before and costs no faults.
const BLOCK_PAGES_LARGE: usize = 4096;

/// Pages that were copied together.
enum Block {
    Small(Vec<Page>),
    Large(sys::Block),
}

impl Block {
    fn copied<'a>(count: usize, content: impl Iterator<Item = &'a Page>) -> Result<Self> {
        if count < BLOCK_PAGES_LARGE {
            let mut pages = Vec::with_capacity(count);
            pages.extend(content);
            return Ok(Self::Small(pages));
        }
        sys::Block::copied(count, content).map(Self::Large)
    }

    fn pages(&self) -> &[Page] {
        match self {
            Self::Small(pages) => pages,
            Self::Large(block) => block.pages(),
        }
    }
}

/// Where a page's content lies.
#[derive(Clone, Copy)]
struct Entry {
    page: usize,
    block: usize,
    slot: usize,
}

/// Pages with their contents, which never change; regions share patches, and patches share blocks.
///
/// Invariant: `entries` ascend by page, and each is in its block.
#[derive(Default)]
pub(crate) struct Patch {
    entries: Vec<Entry>,
    blocks: Vec<Arc<Block>>,
}

impl Patch {
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    fn content(&self, entry: Entry) -> &Page {
        &self.blocks[entry.block].pages()[entry.slot]
    }

    /// Returns the pages, each with its content.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (usize, &Page)> + Clone {
        self.entries
            .iter()
            .map(|&entry| (entry.page, self.content(entry)))
    }

    /// Returns the pages, each with how many other patches keep its content, too.
    pub(crate) fn keepers(&self) -> impl Iterator<Item = (usize, usize)> {
        let others = |entry: &Entry| Arc::strong_count(&self.blocks[entry.block]) - 1;
        self.entries.iter().map(move |entry| (entry.page, others(entry)))
    }

    pub(crate) fn pages(&self) -> Runs {
        self.entries
            .iter()
            .map(|entry| entry.page..entry.page + 1)
            .collect()
    }

    /// Returns a patch with the pages `changed` as they are in `memory`, and the others as they are here.
    pub(crate) fn extended(&self, changed: &Runs, memory: &[u8]) -> Result<Self> {
        let content = changed.pages().filter_map(|page| memory.as_chunks().0.get(page));
        let new = Arc::new(Block::copied(changed.count(), content)?);
        let mut patch = Self {
            entries: Vec::with_capacity(self.entries.len() + changed.count()),
            blocks: Vec::new(),
        };
        // Only blocks that are still used are kept.
        let mut moved = vec![None; self.blocks.len()];
        let mut keep = |entry: &Entry, patch: &mut Self| {
            let block = *moved[entry.block].get_or_insert_with(|| {
                patch.blocks.push(Arc::clone(&self.blocks[entry.block]));
                patch.blocks.len() - 1
            });
            patch.entries.push(Entry { block, ..*entry });
        };
        let mut kept = self.entries.iter().peekable();
        let mut put = Vec::with_capacity(changed.count());
        for (slot, page) in changed.pages().enumerate() {
            while let Some(entry) = kept.next_if(|entry| entry.page < page) {
                keep(entry, &mut patch);
            }
            kept.next_if(|entry| entry.page == page);
            put.push(patch.entries.len());
            patch.entries.push(Entry { page, block: 0, slot });
        }
        kept.for_each(|entry| keep(entry, &mut patch));
        for at in put {
            patch.entries[at].block = patch.blocks.len();
        }
        patch.blocks.push(new);
        Ok(patch)
    }

    /// Returns which of `pages` are not in `memory` as they are here; pages that are not here at all are among them.
    pub(crate) fn changed_in(&self, pages: &Runs, memory: &[u8]) -> Runs {
        if self.is_empty() {
            return pages.clone();
        }
        let mut known = self.iter().peekable();
        let is_changed = |page: &usize| {
            while known.next_if(|(at, _)| at < page).is_some() {}
            known
                .peek()
                .filter(|(at, _)| at == page)
                .is_none_or(|(_, content)| content[..] != memory[page * PAGE_BYTES..][..PAGE_BYTES])
        };
        pages
            .pages()
            .filter(is_changed)
            .map(|page| page..page + 1)
            .collect()
    }

    /// Returns the pages that only one of the two has, or each its own copy of.
    pub(crate) fn may_differ(&self, other: &Self) -> Runs {
        if ptr::eq(self, other) {
            return Runs::default();
        }
        self.not_in(other).union(&other.not_in(self))
    }

    fn not_in(&self, other: &Self) -> Runs {
        let mut others = other.iter().peekable();
        self.iter()
            .filter(|(page, content)| {
                while others.next_if(|(at, _)| at < page).is_some() {}
                others
                    .peek()
                    .is_none_or(|(_, theirs)| !ptr::eq(*theirs, *content))
            })
            .map(|(page, _)| page..page + 1)
            .collect()
    }
}
