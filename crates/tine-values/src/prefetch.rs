#![allow(unsafe_code)]
//! Telling the processor what will be read soon.

/// Begins to bring the cache line of `place` into the cache, on processors for which there is a stable way to say so.
/// Any address will do.
#[inline]
pub(crate) fn prefetch<T>(place: *const T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the instruction is a hint that never faults; every x86-64 has it.
    unsafe {
        core::arch::x86_64::_mm_prefetch::<{ core::arch::x86_64::_MM_HINT_T0 }>(place.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = place;
}
