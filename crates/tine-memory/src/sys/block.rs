//! Memory for copies of many pages, in huge pages where the kernel has them: a page that is copied into then costs its copying alone,
//! not a fault and a page's zeroing too.

#![allow(unsafe_code)]

use std::ffi::c_void;
use std::ptr::{self, NonNull};
use std::slice;

use rustix::mm::{self, Advice, MapFlags, ProtFlags};

use super::bounds::Place;
use crate::pages::Page;
use crate::{Error, Result};

/// What the kernel makes of one entry in a directory of page tables.
pub(crate) const HUGE_PAGE_BYTES: usize = 2 << 20;

/// Pages that were copied once and never change.
///
/// Invariant: `count` pages at `pages` are initialised, inside the `reserved` bytes at `base`, which are mapped and nobody else's.
pub(crate) struct Block {
    pages: NonNull<Page>,
    count: usize,
    base: *mut c_void,
    reserved: usize,
    _place: Place,
}

// SAFETY: the memory is as good on any thread, and never changes.
unsafe impl Send for Block {}
// SAFETY: likewise.
unsafe impl Sync for Block {}

impl Block {
    /// Copies `count` pages.
    pub(crate) fn copied<'a>(count: usize, content: impl Iterator<Item = &'a Page>) -> Result<Self> {
        let place = Place::take()?;
        // Room to begin at a huge page, and to end with one.
        let reserved = (count * size_of::<Page>()).next_multiple_of(HUGE_PAGE_BYTES) + HUGE_PAGE_BYTES;
        let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
        // SAFETY: the kernel picks a range that nothing else uses.
        let base = unsafe {
            mm::mmap_anonymous(
                ptr::null_mut(),
                reserved,
                ProtFlags::READ | ProtFlags::WRITE,
                flags,
            )
        }
        .map_err(Error::system("taking memory to copy pages to"))?;
        // SAFETY: the range is ours; without huge pages it is only slower.
        let _without = unsafe { mm::madvise(base, reserved, Advice::LinuxHugepage) };
        let start = base
            .map_addr(|at| at.next_multiple_of(HUGE_PAGE_BYTES))
            .cast::<Page>();
        let mut block = Self {
            pages: NonNull::new(start).ok_or(Error::Unsupported {
                what: "an address other than null for a mapping",
            })?,
            count: 0,
            base,
            reserved,
            _place: place,
        };
        for page in content.take(count) {
            // SAFETY: there is room for `count` pages from `pages` on, and fewer than that were copied.
            unsafe {
                let target = block.pages.add(block.count);
                target.copy_from_nonoverlapping(NonNull::from(page), 1);
            }
            block.count += 1;
        }
        Ok(block)
    }

    pub(crate) fn pages(&self) -> &[Page] {
        // SAFETY: the invariant's.
        unsafe { slice::from_raw_parts(self.pages.as_ptr(), self.count) }
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        // SAFETY: the range is the block's alone, and nothing borrows it any more. A process made by fork(2) has its own.
        let unmapped = unsafe { mm::munmap(self.base, self.reserved) };
        debug_assert!(unmapped.is_ok());
    }
}
