#![allow(unsafe_code)]
//! [`Tags`]: the sixteen bytes that tell where in a group a key can be, looked at all at once.
//!
//! ```text
//! | tag | tag | ... | 0 | 0 | passed |      a tag for each entry, from the first on; byte 15 counts who passed by
//! ```
//!
//! A tag is eight bits of a key's hash, never 0. Entries lie close: the first zero is the end.

/// How many entries a group has room for.
pub(super) const SLOTS: usize = 15;

/// How many bytes the tags take.
pub(super) const TAG_BYTES: usize = 16;

/// The bits of all slots.
const SLOT_BITS: u32 = (1 << SLOTS) - 1;

/// Returns the tag of a key with this hash.
#[inline]
pub(super) fn tag_of(hash: u64) -> u8 {
    let tag = hash as u8;
    tag + u8::from(tag == 0)
}

/// The tags of one group, as they were when it was looked at.
#[derive(Clone, Copy)]
pub(super) struct Tags(wide::Bytes);

impl Tags {
    /// Looks at a group.
    ///
    /// # Safety
    ///
    /// `at` must point to the sixteen bytes of a group, which nobody writes meanwhile.
    #[inline]
    pub(super) unsafe fn load(at: *const u8) -> Self {
        // SAFETY: as the caller vouches.
        Self(unsafe { wide::load(at) })
    }

    /// Returns the slots that have this tag.
    #[inline]
    pub(super) fn matching(self, tag: u8) -> Slots {
        Slots(wide::equal(self.0, tag) & SLOT_BITS)
    }

    /// Returns whether entries that belong here have gone on to another group.
    #[inline]
    pub(super) fn is_passed(self) -> bool {
        wide::equal(self.0, 0) >> SLOTS & 1 == 0
    }

    /// Returns how many entries the group has.
    #[inline]
    pub(super) fn len(self) -> usize {
        // The byte behind the slots counts as a zero.
        (wide::equal(self.0, 0) | 1 << SLOTS).trailing_zeros() as usize
    }
}

/// Some slots of a group, in order.
#[derive(Clone, Copy)]
pub(super) struct Slots(u32);

impl Iterator for Slots {
    type Item = usize;

    #[inline]
    fn next(&mut self) -> Option<usize> {
        if self.0 == 0 {
            return None;
        }
        let slot = self.0.trailing_zeros() as usize;
        self.0 &= self.0 - 1;
        Some(slot)
    }
}

/// Sixteen bytes in a vector: every x86-64 has SSE2.
#[cfg(target_arch = "x86_64")]
mod wide {
    use core::arch::x86_64::{__m128i, _mm_cmpeq_epi8, _mm_loadu_si128, _mm_movemask_epi8, _mm_set1_epi8};

    pub(super) type Bytes = __m128i;

    /// # Safety
    ///
    /// `at` must point to sixteen bytes.
    #[inline]
    pub(super) unsafe fn load(at: *const u8) -> Bytes {
        // SAFETY: as the caller vouches; the load asks for no alignment.
        unsafe { _mm_loadu_si128(at.cast()) }
    }

    /// Returns a bit for each byte that is `byte`.
    #[inline]
    pub(super) fn equal(bytes: Bytes, byte: u8) -> u32 {
        // SAFETY: the target has SSE2.
        unsafe { _mm_movemask_epi8(_mm_cmpeq_epi8(bytes, _mm_set1_epi8(byte.cast_signed()))) }.cast_unsigned()
    }
}

/// Sixteen bytes in two words.
#[cfg(any(not(target_arch = "x86_64"), all(test, not(loom))))]
mod words {
    pub(super) type Bytes = [u64; 2];

    /// # Safety
    ///
    /// `at` must point to sixteen bytes.
    #[inline]
    pub(super) unsafe fn load(at: *const u8) -> Bytes {
        // SAFETY: as the caller vouches; the read asks for no alignment.
        unsafe { at.cast::<Bytes>().read_unaligned() }.map(u64::from_le)
    }

    /// Returns a bit for each byte that is `byte`.
    #[inline]
    pub(super) fn equal(bytes: Bytes, byte: u8) -> u32 {
        let [low, high] = bytes.map(|word| zeros(word ^ u64::from_ne_bytes([byte; 8])));
        low | high << 8
    }

    /// Returns a bit for each byte of `word` that is 0.
    #[inline]
    fn zeros(word: u64) -> u32 {
        const LOW: u64 = u64::from_ne_bytes([0x7f; 8]);
        // A byte's upper bit is set if any of its bits is: no carry leaves a byte.
        let is_zero = !(((word & LOW) + LOW) | word | LOW);
        // Bit 8 i goes to bit 56 + i; no two summands of the product meet.
        ((is_zero >> 7).wrapping_mul(0x0102_0408_1020_4080) >> 56) as u32
    }
}

#[cfg(not(target_arch = "x86_64"))]
use words as wide;

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn words_find_what_is_equal_byte_for_byte() {
        let mut bytes = [0_u8; 16];
        let mut random = 1_u64;
        for _ in 0..20_000 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            // Few values, those that carry among them.
            bytes[(random >> 33) as usize % 16] = [0, 1, 0x7f, 0x80, 0x81, 0xff][(random >> 40) as usize % 6];
            for byte in [0, 1, 0x7f, 0x80, 0xff] {
                let expected = (0..16).fold(0, |bits, at| bits | u32::from(bytes[at] == byte) << at);
                // SAFETY: there are sixteen bytes.
                let (words, wide) = unsafe { (words::load(bytes.as_ptr()), wide::load(bytes.as_ptr())) };
                assert_eq!(words::equal(words, byte), expected, "{byte} in {bytes:?}");
                assert_eq!(wide::equal(wide, byte), expected, "{byte} in {bytes:?}");
            }
        }
    }

    #[test]
    fn a_full_group_has_fifteen_entries() {
        let mut bytes = [7; 16];
        // SAFETY: there are sixteen bytes.
        assert_eq!(unsafe { Tags::load(bytes.as_ptr()) }.len(), SLOTS);
        bytes[3] = 0;
        // SAFETY: there are sixteen bytes.
        let tags = unsafe { Tags::load(bytes.as_ptr()) };
        assert_eq!(tags.len(), 3);
        assert_eq!(tags.matching(7).count(), SLOTS - 1);
        assert_eq!((tag_of(0x100), tag_of(0x2ff)), (1, 0xff));
    }
}
