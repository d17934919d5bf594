#![allow(unsafe_code)]
//! Short copies, which most texts' are.

/// Copies bytes: few of them without a call, by two words that may overlap.
///
/// # Safety
///
/// There must be room for them at `to`, which must not be among them.
#[inline]
pub(super) unsafe fn copy(bytes: &[u8], to: *mut u8) {
    let (from, length) = (bytes.as_ptr(), bytes.len());
    macro_rules! two {
        ($word:ty) => {{
            // SAFETY: the length is that of one word at least and of two at the most; as the caller vouches.
            unsafe {
                let behind = length - size_of::<$word>();
                let words = (
                    from.cast::<$word>().read_unaligned(),
                    from.add(behind).cast::<$word>().read_unaligned(),
                );
                to.cast::<$word>().write_unaligned(words.0);
                to.add(behind).cast::<$word>().write_unaligned(words.1);
            }
        }};
    }
    match length {
        0 => {}
        1 => two!(u8),
        2..=3 => two!(u16),
        4..=7 => two!(u32),
        8..=15 => two!(u64),
        16..=32 => two!(u128),
        // SAFETY: as the caller vouches.
        _ => unsafe { from.copy_to_nonoverlapping(to, length) },
    }
}
