#![allow(unsafe_code)]
//! The heap, counted while somebody asks: the bytes that malloc sets aside, not those that were asked for.
//!
//! **Invariant:** only one measurement runs at a time, and no other thread allocates meanwhile; while none runs, an
//! allocation costs one load more than it would.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

#[global_allocator]
static HEAP: Counted = Counted;

static COUNTING: AtomicBool = AtomicBool::new(false);
static BYTES: AtomicI64 = AtomicI64::new(0);

struct Counted;

/// Returns what `work` returns and by how many bytes the heap has grown meanwhile.
pub(crate) fn growth<R>(work: impl FnOnce() -> R) -> (R, i64) {
    BYTES.store(0, Ordering::Relaxed);
    COUNTING.store(true, Ordering::Relaxed);
    let result = work();
    COUNTING.store(false, Ordering::Relaxed);
    (result, BYTES.load(Ordering::Relaxed))
}

/// glibc's malloc keeps a word beside each allocation, in steps of 16 bytes, 32 at least.
fn set_aside(bytes: usize) -> i64 {
    (bytes + 8).next_multiple_of(16).max(32) as i64
}

fn count(bytes: i64) {
    if COUNTING.load(Ordering::Relaxed) {
        BYTES.fetch_add(bytes, Ordering::Relaxed);
    }
}

// SAFETY: everything is the system's; what is counted changes nothing of it.
unsafe impl GlobalAlloc for Counted {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(set_aside(layout.size()));
        // SAFETY: the caller's duties are the system's.
        unsafe { System.alloc(layout) }
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(set_aside(layout.size()));
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    #[inline]
    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(set_aside(size) - set_aside(layout.size()));
        // SAFETY: as above.
        unsafe { System.realloc(place, layout, size) }
    }

    #[inline]
    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        count(-set_aside(layout.size()));
        // SAFETY: as above.
        unsafe { System.dealloc(place, layout) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn malloc_rounds() {
        assert_eq!([1, 24, 25, 40, 1000].map(set_aside), [32, 32, 48, 48, 1008]);
    }
}
