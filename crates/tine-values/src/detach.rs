//! How often a write had to copy what was shared: counted in builds with debug assertions, so that a copy nobody meant
//! can be found.

#[cfg(debug_assertions)]
use core::sync::atomic::{AtomicUsize, Ordering};

#[cfg(debug_assertions)]
static DETACHES: AtomicUsize = AtomicUsize::new(0);

/// Returns how many shared values and nodes have been copied by writes, in this process so far, by any thread. The value of a
/// [`RadixMap`](crate::RadixMap)'s fill is shared by its keys, also where the map has no other owner.
///
/// There only in builds with debug assertions: other builds do not count.
#[cfg(debug_assertions)]
pub fn detaches() -> usize {
    DETACHES.load(Ordering::Relaxed)
}

/// Counts a copy that a write has made of what is shared.
#[inline]
pub(crate) fn record() {
    #[cfg(debug_assertions)]
    DETACHES.fetch_add(1, Ordering::Relaxed);
}
