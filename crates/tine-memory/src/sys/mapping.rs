//! A range of addresses that is a region's alone.
//!
//! ```text
//! 0                                   bytes
//! | private pages over an image: a page of the image until it is written, then its own copy |   MAP_PRIVATE
//! | the image itself: what is written is written to it                                      |   MAP_SHARED, while nothing else refers to it
//! ```
//!
//! The rule that this module keeps: addresses are unmapped, replaced or given out only by the `Mapping` that has them, in
//! the process that made it. A process made by fork(2) does not get them (MADV_DONTFORK), so that one which writes an image
//! does so for itself alone; whatever it may map there later is not ours to unmap.

#![allow(unsafe_code)]

use std::ffi::c_void;
use std::io;
use std::process;
use std::ptr::{self, NonNull};
use std::slice;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::io::Errno;
use rustix::mm::{self, Advice, MapFlags, ProtFlags};

use super::Image;
use super::block::HUGE_PAGE_BYTES;
use super::bounds::Place;
use super::process::this_process;
use crate::pages::{PAGE_BYTES, Runs};
use crate::{Error, Result};

/// How many ranges the kernel takes in one call: `UIO_MAXIOV`.
const VECTORS: usize = 1024;

/// A range of addresses, readable and writable.
///
/// Invariant: `base..base + bytes` is mapped whole and by nobody else, in process `owner`; `bytes` is a number of whole
/// pages, and not zero.
pub(crate) struct Mapping {
    base: NonNull<u8>,
    bytes: usize,
    owner: u32,
    _place: Place,
}

// SAFETY: the addresses are as good on any thread, and are given out by borrows of the mapping.
unsafe impl Send for Mapping {}
// SAFETY: likewise; through a shared borrow they are only read.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps the image itself: what is written becomes its content.
    ///
    /// Where directories of page tables begin, if that can be had, so that these can be moved whole ([`Self::step_aside`]).
    pub(crate) fn shared(image: &Image) -> Result<Self> {
        Self::new(free_addresses(image.bytes()), image, MapFlags::SHARED)
    }

    /// Maps the image privately: one system call and a half, nothing is read or copied.
    pub(crate) fn private(image: &Image) -> Result<Self> {
        Self::new(ptr::null_mut(), image, MapFlags::PRIVATE)
    }

    /// Maps an image at `wish` if these addresses are free, else where the kernel likes.
    fn new(wish: *mut c_void, image: &Image, sharing: MapFlags) -> Result<Self> {
        // SAFETY: without `MapFlags::FIXED`, the kernel picks a range that nothing else uses.
        let mapping = Self::made(image.bytes(), || unsafe { map(wish, image, sharing) })?;
        mapping.keep_from_forks()?;
        Ok(mapping)
    }

    fn made(bytes: usize, map: impl FnOnce() -> Result<*mut c_void>) -> Result<Self> {
        let place = Place::take()?;
        let base = NonNull::new(map()?.cast()).ok_or(Error::Unsupported {
            what: "an address other than null for a mapping",
        })?;
        Ok(Self {
            base,
            bytes,
            owner: this_process(),
            _place: place,
        })
    }

    /// Maps the image privately where the mapping is, instead of what is there.
    ///
    /// # Errors
    ///
    /// When the kernel would not map it; what is there stays.
    pub(crate) fn replace(&mut self, image: &Image) -> Result {
        self.in_owner()?;
        assert_eq!(self.bytes, image.bytes(), "an image of a region has its length");
        // Elsewhere first: if the process may have no more mappings, that is an error and nothing else.
        // SAFETY: the kernel picks a range that nothing else uses, and it is unmapped before anything refers to it.
        unsafe {
            let elsewhere = map(ptr::null_mut(), image, MapFlags::PRIVATE)?;
            mm::munmap(elsewhere, self.bytes).map_err(Error::system("unmapping a region"))?;
        }
        let at = self.base.as_ptr().cast();
        // SAFETY: the range is this mapping's alone, and borrowed exclusively, so that nothing refers into it.
        let mapped = unsafe { map(at, image, MapFlags::PRIVATE | MapFlags::FIXED) };
        if mapped.is_err() || self.keep_from_forks().is_err() {
            // The kernel may have unmapped what was there before it found that it had no memory for the new mapping. Another
            // thread may get these addresses at any moment, and references of safe code would point there.
            process::abort();
        }
        Ok(())
    }

    /// Maps the image privately where the mapping is, and returns what was there, elsewhere, with the page tables it has.
    ///
    /// To take page tables down costs more than to copy them: 1 GiB of them is 262,144 entries, each with a look at its page. So they are
    /// moved, a directory at a time, and taken down when the image is forgotten, which would cost that anyway. Returns nothing where
    /// the kernel cannot move them (before Linux 5.13); then they are taken down here.
    pub(crate) fn step_aside(&mut self, image: &Image) -> Result<Option<Self>> {
        self.in_owner()?;
        let aside = self.move_page_tables();
        self.replace(image)?;
        Ok(aside)
    }

    fn move_page_tables(&mut self) -> Option<Self> {
        static CANNOT_MOVE: AtomicBool = AtomicBool::new(false);
        if CANNOT_MOVE.load(Ordering::Relaxed) {
            return None;
        }
        let place = Place::take().ok()?;
        let flags = libc::MREMAP_MAYMOVE | libc::MREMAP_DONTUNMAP;
        let wish = free_addresses(self.bytes);
        // SAFETY:
        // - The range is this mapping's and borrowed exclusively; it stays mapped, of the same file, without page tables.
        // - Without `MREMAP_FIXED`, the kernel picks a range that nothing else uses: what is wished for if it is free.
        let moved = unsafe { libc::mremap(self.as_ptr().cast(), self.bytes, self.bytes, flags, wish) };
        if moved == libc::MAP_FAILED {
            // Else it is for want of memory or mappings, which may be had another time.
            if Errno::from_io_error(&io::Error::last_os_error()) == Some(Errno::INVAL) {
                CANNOT_MOVE.store(true, Ordering::Relaxed);
            }
            return None;
        }
        Some(Self {
            base: NonNull::new(moved.cast())?,
            bytes: self.bytes,
            owner: self.owner,
            _place: place,
        })
    }

    /// See `madvise(2)`, `MADV_DONTFORK`.
    fn keep_from_forks(&self) -> Result {
        // SAFETY: the range is this mapping's, and the advice changes nothing in this process.
        unsafe { mm::madvise(self.base.as_ptr().cast(), self.bytes, Advice::LinuxDontFork) }
            .map_err(Error::system("keeping a region from fork(2)"))
    }

    /// Answers an error in a process that did not make the mapping.
    pub(crate) fn in_owner(&self) -> Result {
        let process = this_process();
        if process == self.owner {
            return Ok(());
        }
        Err(Error::OtherProcess {
            owner: self.owner,
            process,
        })
    }

    pub(crate) fn pages(&self) -> usize {
        self.bytes / PAGE_BYTES
    }

    pub(crate) fn as_ptr(&self) -> *mut u8 {
        self.base.as_ptr()
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        // SAFETY:
        // - The range is mapped and readable as long as `self` lives, and every bit pattern is a byte.
        // - Who writes to it borrows `self` exclusively. What is under private pages does not change meanwhile: an image is
        //   written only by its sole owner, and no file's that others can shorten (see `Image`).
        unsafe { slice::from_raw_parts(self.base.as_ptr(), self.bytes) }
    }

    pub(crate) fn as_mut_slice(&mut self) -> &mut [u8] {
        // SAFETY: as above, and `self` is borrowed exclusively.
        unsafe { slice::from_raw_parts_mut(self.base.as_ptr(), self.bytes) }
    }

    /// Forgets all private pages: what is under them is seen again.
    pub(crate) fn forget_all(&mut self) -> Result {
        self.in_owner()?;
        // SAFETY: the range is this mapping's and borrowed exclusively; what comes back are bytes, too.
        unsafe { mm::madvise(self.as_ptr().cast(), self.bytes, Advice::LinuxDontNeed) }
            .map_err(Error::system("giving private pages back"))
    }

    /// Forgets some private pages.
    pub(crate) fn forget(&mut self, runs: &Runs) -> Result {
        self.in_owner()?;
        let vectors: Vec<libc::iovec> = runs
            .iter()
            .map(|run| libc::iovec {
                iov_base: self.as_ptr().wrapping_add(run.bytes().start).cast(),
                iov_len: run.bytes().len(),
            })
            .collect();
        for some in vectors.chunks(VECTORS) {
            if !forget_together(some) {
                for one in some {
                    // SAFETY: as in `forget_all`; the runs are of pages of this mapping.
                    unsafe { mm::madvise(one.iov_base, one.iov_len, Advice::LinuxDontNeed) }
                        .map_err(Error::system("giving private pages back"))?;
                }
            }
        }
        Ok(())
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        if self.in_owner().is_ok() {
            // SAFETY: the range is this mapping's, and nothing borrows it any more.
            let unmapped = unsafe { mm::munmap(self.base.as_ptr().cast(), self.bytes) };
            // Fails only when a mapping must be cut in two and no more are to be had; then the addresses stay taken.
            debug_assert!(unmapped.is_ok());
        }
    }
}

/// Returns free addresses for a mapping that begin where a directory of page tables does: a wish, since others may take them
/// before. Null, which wishes nothing, where it would not matter.
fn free_addresses(bytes: usize) -> *mut c_void {
    if bytes < HUGE_PAGE_BYTES {
        return ptr::null_mut();
    }
    let all = bytes + HUGE_PAGE_BYTES;
    let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
    // SAFETY: the kernel picks a range that nothing else uses, and it is unmapped before anything refers to it.
    let found = unsafe {
        mm::mmap_anonymous(ptr::null_mut(), all, ProtFlags::empty(), flags)
            .and_then(|base| mm::munmap(base, all).map(|()| base))
    };
    found.map_or(ptr::null_mut(), |base| {
        base.map_addr(|at| at.next_multiple_of(HUGE_PAGE_BYTES))
    })
}

/// Maps an image, whole.
///
/// # Safety
///
/// With `MapFlags::FIXED`, `at` begins a range of the image's length that the caller may replace.
unsafe fn map(at: *mut c_void, image: &Image, flags: MapFlags) -> Result<*mut c_void> {
    // No swap is reserved: a thousand forks of a region would each count whole, though few of their pages are ever written.
    let flags = flags | MapFlags::NORESERVE;
    let protection = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY:
    // - The caller's, for `at`.
    // - `Image` promises a file that keeps its length.
    unsafe { mm::mmap(at, image.bytes(), protection, flags, image.file(), 0) }
        .map_err(Error::system("mapping a region"))
}

/// Forgets the pages of several ranges in one call; false where that is not to be had, which changes nothing that
/// forgetting them again would not.
fn forget_together(vectors: &[libc::iovec]) -> bool {
    /// Since Linux 6.14 and for every earlier kernel's refusal: a descriptor that means this process.
    const PIDFD_SELF: libc::c_int = -10_000;
    if vectors.len() < 4 {
        return false;
    }
    let bytes: usize = vectors.iter().map(|vector| vector.iov_len).sum();
    // SAFETY: the caller's ranges are its own to forget; the vectors live through the call.
    let done = unsafe {
        libc::syscall(
            libc::SYS_process_madvise,
            PIDFD_SELF,
            vectors.as_ptr(),
            vectors.len(),
            libc::MADV_DONTNEED,
            0,
        )
    };
    usize::try_from(done) == Ok(bytes)
}
