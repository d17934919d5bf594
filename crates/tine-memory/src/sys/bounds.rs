//! What a process may have, asked before it is taken, and what it has used.

// One question of the kernel that rustix does not know.
#![allow(unsafe_code)]

use std::fs;
use std::mem::MaybeUninit;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::process::{Resource, getrlimit};

use crate::{Error, PAGE_BYTES, Result};

/// How many mappings regions have now.
static MAPPINGS: AtomicUsize = AtomicUsize::new(0);

/// What Linux allows a process when nobody said otherwise.
const MAPPINGS_DEFAULT: usize = 65_530;

/// A place among the mappings that a process may have; given back when dropped.
pub(crate) struct Place(());

impl Place {
    /// Takes a place, or says that there is none.
    ///
    /// An eighth of what a process may have is left to everything else in it: an allocator that gets no mapping ends the
    /// process, a region that gets none is an error.
    pub(crate) fn take() -> Result<Self> {
        let limit = mappings_limit();
        MAPPINGS
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |taken| {
                (taken < limit).then_some(taken + 1)
            })
            .map_err(|mappings| Error::TooManyMappings { mappings, limit })?;
        Ok(Self(()))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        MAPPINGS.fetch_sub(1, Ordering::Relaxed);
    }
}

fn mappings_limit() -> usize {
    static LIMIT: OnceLock<usize> = OnceLock::new();
    *LIMIT.get_or_init(|| {
        let read = fs::read_to_string("/proc/sys/vm/max_map_count").ok();
        let all = read
            .and_then(|text| text.trim().parse().ok())
            .unwrap_or(MAPPINGS_DEFAULT);
        all - all / 8
    })
}

/// Checks that a file may have `bytes`: the kernel's own answer would be a signal that ends the process.
pub(crate) fn file_may_have(bytes: usize) -> Result {
    match getrlimit(Resource::Fsize).current {
        Some(limit) if limit < bytes as u64 => Err(Error::FileSize { limit, length: bytes }),
        _ => Ok(()),
    }
}

/// Checks that the machine's pages are as this crate takes them to be.
pub(crate) fn pages_are_known() -> Result {
    if rustix::param::page_size() == PAGE_BYTES {
        Ok(())
    } else {
        Err(Error::Unsupported {
            what: "a kernel with pages of 4 KiB",
        })
    }
}

/// Returns how many page faults this process has had.
pub(crate) fn faults() -> u64 {
    let mut usage = MaybeUninit::<libc::rusage>::uninit();
    // SAFETY: `usage` has the size that the kernel fills.
    let done = unsafe { libc::getrusage(libc::RUSAGE_SELF, usage.as_mut_ptr()) };
    if done != 0 {
        // Cannot be, with these arguments; as many as can be is the answer that decides nothing wrongly.
        return u64::MAX;
    }
    // SAFETY: the kernel filled it.
    let usage = unsafe { usage.assume_init() };
    usage.ru_minflt.cast_unsigned() + usage.ru_majflt.cast_unsigned()
}
