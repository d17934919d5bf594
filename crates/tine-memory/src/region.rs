//! Regions.
//!
//! ```text
//! what is read:   own page  (private: written, or put there when the region was forked)
//!                 else the base's page (a file in memory, shared by every region on it)
//! origin:         patch's page, else the base's       (what rollback goes back to)
//! ```
//!
//! A region is one mapping. It is *live* as long as nothing refers to its image but itself (a shared mapping: writes go to the image),
//! and *over a base* afterwards (a private mapping: the kernel copies a page of the base when it is first written). Its depth is
//! always one: a fork of a fork of a fork is a mapping of a base, too.
//!
//! Invariants, for a region over a base:
//!
//! 1. A page that is not the mapping's own reads as the base's.
//! 2. Each page of the patch is the mapping's own.
//! 3. What was written since the origin lies inside `written`, in pages that are the mapping's own.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::base::Base;
use crate::pages::{PAGE_BYTES, PageRange, Runs};
use crate::patch::Patch;
use crate::shared::SharedRegion;
use crate::sys::{self, Image, Mapping};
use crate::written::Written;
use crate::{Error, Result};

/// How many pages each read fault may map: the kernel maps as many around the one that was asked for.
const FAULT_AROUND_PAGES: u64 = 16;

/// Page-table entries that are dropped in less time than a scan of them all takes.
const MAPPED_PAGES_FEW: u64 = 32_768;

/// A range of memory that can be forked.
///
/// See the [crate's documentation](crate) for what the operations cost.
pub struct Region {
    pub(crate) map: Mapping,
    pub(crate) length: usize,
    /// What the mapping is of.
    ///
    /// Invariant: while `live`, no other region refers to it.
    pub(crate) base: Arc<Base>,
    /// Whether the mapping is a shared one, so that writing the region writes its base.
    pub(crate) live: bool,
    /// The origin's pages that the base has otherwise.
    pub(crate) patch: Arc<Patch>,
    /// Where the region was written since its origin.
    written: Written,
    /// Whether a pointer was handed out through which it may be written at any time.
    escaped: bool,
    /// Whether threads have written it as a [`SharedRegion`] since its origin.
    pub(crate) written_shared: AtomicBool,
    /// What was spent on forks since the base was made, here and on the way here, as so many pages copied into a new base.
    spent: usize,
    /// The process's page faults when the region was last known to have few pages mapped.
    faults_at_rest: u64,
    pub(crate) faults_at_birth: u64,
    /// What was last loaded into it.
    pub(crate) loaded: Option<[u8; 16]>,
}

impl Region {
    /// Makes a region of zeros. O(1), ten system calls, whatever the length; memory is taken page by page, as it is written (or read
    /// through a slice: files in memory have no page of zeros to share).
    ///
    /// Made to be filled and forked: pages are written where forks will find them, so the first fork copies nothing.
    ///
    /// # Errors
    ///
    /// When `length` is zero or more than there are addresses, or a bound is reached (`Error::hint` names it).
    pub fn zeroed(length: usize) -> Result<Self> {
        let image = Image::zeroed(whole_pages(length as u64)?)?;
        let map = Mapping::shared(&image)?;
        let mut region = Self::new(map, length, Arc::new(Base::new(image)));
        region.live = true;
        Ok(region)
    }

    pub(crate) fn over(base: Arc<Base>, length: usize) -> Result<Self> {
        let map = Mapping::private(base.image())?;
        Ok(Self::new(map, length, base))
    }

    fn new(map: Mapping, length: usize, base: Arc<Base>) -> Self {
        let faults = sys::faults();
        Self {
            map,
            length,
            base,
            live: false,
            patch: Arc::default(),
            written: Written::default(),
            escaped: false,
            written_shared: AtomicBool::new(false),
            spent: 0,
            faults_at_rest: faults,
            faults_at_birth: faults,
            loaded: None,
        }
    }

    /// Returns the length in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.length
    }

    /// Returns whether the region has no bytes, which none has not.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Returns the number of pages, the last of which the region may fill in part.
    #[must_use]
    pub fn pages(&self) -> usize {
        self.map.pages()
    }

    /// Returns the bytes. The address stays the same as long as the region lives, whatever is done to it.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        &self.map.as_slice()[..self.length]
    }

    /// Returns the bytes, to be written. System calls may read into them as into any memory.
    ///
    /// Costs nothing here, but the whole region counts as possibly written: the next fork, rollback or comparison scans for what was,
    /// which takes O(pages that are mapped). `slice_mut` and `write_at` tell more.
    #[must_use]
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        self.lend_all();
        &mut self.map.as_mut_slice()[..self.length]
    }

    /// Returns some of the bytes, to be written.
    ///
    /// # Errors
    ///
    /// When they are not all inside the region.
    pub fn slice_mut(&mut self, bytes: Range<usize>) -> Result<&mut [u8]> {
        // One that ends before it begins has no bytes, and is nowhere.
        let length = bytes.end.checked_sub(bytes.start).unwrap_or(usize::MAX);
        self.check(bytes.start, length)?;
        self.written.lend(bytes.clone());
        Ok(&mut self.map.as_mut_slice()[bytes])
    }

    /// Returns a pointer to the first byte, to be written through at any time, as an interpreter or a virtual machine does.
    ///
    /// From then on the region always counts as possibly written. The caller answers for what Rust cannot see: that nothing is written
    /// through the pointer while a method borrows the region, or after the region is dropped.
    #[must_use]
    pub fn as_mut_ptr(&mut self) -> *mut u8 {
        self.escaped = true;
        self.lend_all();
        self.map.as_ptr()
    }

    /// Copies bytes out of the region.
    ///
    /// # Errors
    ///
    /// When they are not all inside it.
    pub fn read_at(&self, target: &mut [u8], offset: usize) -> Result {
        self.check(offset, target.len())?;
        target.copy_from_slice(&self.as_slice()[offset..][..target.len()]);
        Ok(())
    }

    /// Copies bytes into the region. To write from several threads at once, see [`Region::share`].
    ///
    /// # Errors
    ///
    /// When they are not all inside it.
    pub fn write_at(&mut self, source: &[u8], offset: usize) -> Result {
        self.check(offset, source.len())?;
        let bytes = offset..offset + source.len();
        self.map.as_mut_slice()[bytes.clone()].copy_from_slice(source);
        self.written.note(bytes);
        Ok(())
    }

    /// Lends the region to several threads, which read and write through `&SharedRegion`.
    #[must_use]
    pub fn share(&mut self) -> &SharedRegion {
        SharedRegion::of(self)
    }

    pub(crate) fn check(&self, offset: usize, length: usize) -> Result {
        if offset <= self.length && length <= self.length - offset {
            return Ok(());
        }
        Err(Error::OutOfRange {
            offset,
            length,
            region_length: self.length,
        })
    }

    /// Notes that the region may be written anywhere.
    pub(crate) fn lend_all(&mut self) {
        self.written.lend(0..self.length);
    }

    /// The origin is now: nothing was written since.
    fn note_origin(&mut self) {
        self.written.clear();
        *self.written_shared.get_mut() = false;
        if self.escaped {
            self.lend_all();
        }
    }

    /// Returns which pages are not as in the origin. O(1) for a region not written since; else O(pages mapped inside what was
    /// written) and a comparison of the patch's pages there.
    pub(crate) fn changed(&self) -> Result<Runs> {
        self.map.in_owner()?;
        if self.live {
            // The origin is all zeros.
            return self.base.image().data();
        }
        let own = self.own_where_written()?;
        Ok(self.patch.changed_in(&own, self.map.as_slice()))
    }

    fn own_where_written(&self) -> Result<Runs> {
        let written = self.written.pages();
        let lent = if self.written_shared.load(Ordering::Relaxed) {
            0..self.pages()
        } else {
            self.written.lent()
        };
        if lent.is_empty() {
            return Ok(written);
        }
        let own = sys::own_pages(&self.map, PageRange::between(lent))?;
        Ok(own.union(&written))
    }

    /// Makes an independent region with the same content; neither sees what is written to the other from now on. Now is what both roll
    /// back to.
    ///
    /// - A clean region (not written since it was forked, frozen or loaded) whose base has all its content: one mapping, two system calls.
    /// - A live region: it is frozen first, see [`Region::freeze`]; nothing is copied.
    /// - A region that was written and alone has its base: what was written is moved into the base, one copy of each page written.
    /// - A region that was written and shares its base: what was written is copied into the fork, two copies of each page, or, as
    ///   soon as forks have copied about as much as the base holds, into a base of its own, which later forks share.
    ///
    /// So forking costs O(pages written) at most, but for a new base now and then, which is paid for by the copies that it saves.
    ///
    /// # Errors
    ///
    /// When a bound is reached or there is no memory for the copies. The region's content is as it was.
    pub fn fork(&mut self) -> Result<Self> {
        self.settle(Forks::Some(1))?;
        self.child()
    }

    /// Makes several independent regions at once. What was written is copied in the way that is cheapest for so many.
    ///
    /// # Errors
    ///
    /// As for [`Region::fork`]; no fork is kept then.
    pub fn fork_many(&mut self, count: usize) -> Result<Vec<Self>> {
        self.settle(Forks::Some(count))?;
        (0..count).map(|_| self.child()).collect()
    }

    /// Makes the present content a base, so that each later fork is one mapping until the region is written again. Now is what it rolls
    /// back to.
    ///
    /// - A live region: three system calls and O(length / 2 MiB), no copy; what is read later is mapped again, page by page.
    /// - A region that was written and alone has its base: one copy of each page written.
    /// - A region that was written and shares its base: a copy of all that it holds.
    ///
    /// # Errors
    ///
    /// As for [`Region::fork`].
    pub fn freeze(&mut self) -> Result {
        self.settle(Forks::All)
    }

    /// Goes back to the region's origin: its content when it was last forked, frozen or loaded, or when it was itself made by a fork;
    /// else as it began.
    ///
    /// A region that was not written since: nothing. Else O(pages written) if few are mapped, O(pages mapped) if many are.
    ///
    /// # Errors
    ///
    /// When the kernel refuses to give pages back, which then read as they did.
    pub fn rollback(&mut self) -> Result {
        self.map.in_owner()?;
        if self.live {
            self.sole_base().image_mut().clear()?;
        } else if self.written.is_empty() && !*self.written_shared.get_mut() {
            return Ok(());
        } else if self.patch.is_empty() && self.few_are_mapped() {
            self.map.forget_all()?;
            self.faults_at_rest = sys::faults();
        } else {
            let own = self.own_where_written()?;
            self.map.forget(&own.without(&self.patch.pages()))?;
            // These are the mapping's own, so writing them is only a copy.
            let memory = self.map.as_mut_slice();
            for (page, content) in self.patch.iter() {
                let target = &mut memory[page * PAGE_BYTES..][..PAGE_BYTES];
                if target != content {
                    target.copy_from_slice(content);
                }
            }
        }
        self.note_origin();
        Ok(())
    }

    /// Returns whether so few pages can be mapped that to forget them all is cheaper than to look for those written.
    fn few_are_mapped(&self) -> bool {
        let faults = sys::faults().saturating_sub(self.faults_at_rest);
        faults.saturating_mul(FAULT_AROUND_PAGES) <= MAPPED_PAGES_FEW
    }

    /// Makes a region like this one.
    fn child(&mut self) -> Result<Self> {
        debug_assert!(!self.live);
        let mut child = Self::over(Arc::clone(&self.base), self.length)?;
        if !self.patch.is_empty() {
            sys::install(&mut child.map, self.patch.iter())?;
            child.patch = Arc::clone(&self.patch);
            self.spent += 2 * self.patch.len();
            child.spent = self.spent;
        }
        child.loaded = self.loaded;
        Ok(child)
    }

    /// Makes the present content the origin, a base and a patch, for so many forks.
    fn settle(&mut self, forks: Forks) -> Result {
        self.map.in_owner()?;
        if self.live {
            return self.freeze_live();
        }
        let changed = self.changed()?;
        if !changed.is_empty() {
            self.loaded = None;
        }
        let apart = self.patch.pages().union(&changed);
        if apart.is_empty() {
            self.note_origin();
            return Ok(());
        }
        if let Some(base) = Arc::get_mut(&mut self.base)
            && !base.image().is_sealed()
        {
            amend(base, &self.map, &apart)?;
            self.map.forget(&apart)?;
            self.forget_patch();
        } else if self
            .base
            .image()
            .has_at_most(forks.cost(apart.count()).saturating_add(self.spent))?
        {
            let flat = flatten(&self.base, &self.map, &apart)?;
            self.map.replace(flat.image())?;
            self.base = Arc::new(flat);
            self.faults_at_rest = sys::faults();
            self.forget_patch();
        } else {
            self.patch = Arc::new(self.patch.extended(&changed, self.map.as_slice())?);
            self.spent += 2 * changed.count();
        }
        self.note_origin();
        Ok(())
    }

    fn forget_patch(&mut self) {
        self.patch = Arc::default();
        self.spent = 0;
    }

    /// Returns the base of a live region.
    fn sole_base(&mut self) -> &mut Base {
        debug_assert!(self.live);
        Arc::get_mut(&mut self.base).expect("a live region's base is its own")
    }

    fn freeze_live(&mut self) -> Result {
        let aside = self.map.step_aside(self.base.image())?;
        self.sole_base().keep(aside);
        self.live = false;
        self.faults_at_rest = sys::faults();
        self.note_origin();
        Ok(())
    }
}

/// For how many forks a region is made ready.
#[derive(Clone, Copy)]
enum Forks {
    Some(usize),
    /// As many as may come: each is to be one mapping.
    All,
}

impl Forks {
    /// Returns what it costs to keep `apart` beside the base, as so many pages copied into a new base: each is copied into the patch and
    /// into each fork, which takes about twice as long, since it is done page by page.
    fn cost(self, apart: usize) -> usize {
        match self {
            Self::Some(count) => apart.saturating_mul(count.saturating_add(1)).saturating_mul(2),
            Self::All => usize::MAX,
        }
    }
}

/// Moves pages of a mapping into its base, which nothing else refers to.
fn amend(base: &mut Base, map: &Mapping, apart: &Runs) -> Result {
    let holes = base.image().pages_in_memory()? < map.pages();
    let image = base.amend(apart.clone());
    if holes {
        // First, so that a region that gets no memory keeps its origin whole.
        image.reserve(apart)?;
    }
    copy_in(image, map, apart)
}

/// Makes a base of what a mapping shows: the base's pages, and those apart.
fn flatten(base: &Base, map: &Mapping, apart: &Runs) -> Result<Base> {
    let mut image = Image::zeroed(base.image().bytes())?;
    let all = base.image().data()?.union(apart);
    copy_in(&mut image, map, &all)?;
    Ok(base.descend(image, apart.clone()))
}

fn copy_in(image: &mut Image, map: &Mapping, runs: &Runs) -> Result {
    runs.iter()
        .try_for_each(|run| image.write(run, &map.as_slice()[run.bytes()]))
}

/// Returns the bytes of the pages that `length` bytes take.
pub(crate) fn whole_pages(length: u64) -> Result<usize> {
    usize::try_from(length)
        .ok()
        .and_then(|bytes| bytes.checked_next_multiple_of(PAGE_BYTES))
        .filter(|&bytes| bytes > 0 && isize::try_from(bytes).is_ok())
        .ok_or(Error::Length { length })
}
