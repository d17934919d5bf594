//! Which process this is, without a system call: each operation asks.
//!
//! A page that fork(2) wipes (MADV_WIPEONFORK) keeps the number; where it reads as zero, a new process asks the kernel once. One made by
//! vfork(2), which shares the memory, takes itself for its parent, whose mappings it has.

#![allow(unsafe_code)]

use std::process;
use std::ptr::{self, NonNull};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::mm::{self, Advice, MapFlags, ProtFlags};

use crate::pages::PAGE_BYTES;

/// Returns this process's number.
pub(crate) fn this_process() -> u32 {
    static KEPT: OnceLock<Option<&'static AtomicU32>> = OnceLock::new();
    let Some(kept) = KEPT.get_or_init(wiped_by_fork) else {
        return process::id();
    };
    match kept.load(Ordering::Relaxed) {
        0 => {
            let process = process::id();
            kept.store(process, Ordering::Relaxed);
            process
        }
        process => process,
    }
}

/// Returns a number that is zero at first, and in each process made by fork(2) again; nothing where the kernel has no such memory.
fn wiped_by_fork() -> Option<&'static AtomicU32> {
    let access = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: the kernel picks a range that nothing else uses, and it stays as long as the process.
    unsafe {
        let page = mm::mmap_anonymous(ptr::null_mut(), PAGE_BYTES, access, MapFlags::PRIVATE).ok()?;
        if mm::madvise(page, PAGE_BYTES, Advice::LinuxWipeOnFork).is_err() {
            let _kept = mm::munmap(page, PAGE_BYTES);
            return None;
        }
        // A page is aligned for a number, and zeros are one.
        NonNull::new(page.cast::<AtomicU32>()).map(|number| number.as_ref())
    }
}
