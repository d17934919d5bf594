//! Hashes of keys.
//!
//! The rule that this module keeps: of keys of 8 bytes the hash is a permutation, so that the key can be had from its hash and need not
//! be stored beside it.

use super::Plain;

/// Hashes keys, each table by secret numbers of its own, so that nobody can choose keys that meet.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Hasher {
    pub(super) seeds: [u64; 3],
}

impl Hasher {
    /// Returns whether a key can be had from its hash.
    pub(super) const fn keeps<K>() -> bool {
        size_of::<K>() == size_of::<u64>()
    }

    #[inline]
    pub(super) fn hash<K: Plain>(&self, key: &K) -> u64 {
        let bytes = key.as_bytes();
        if let Ok(whole) = bytes.try_into() {
            return self.permute(u64::from_le_bytes(whole));
        }
        let words = bytes.chunks(size_of::<u64>());
        let folded = words.fold(bytes.len() as u64, |state, word| {
            let mut whole = [0; size_of::<u64>()];
            whole[..word.len()].copy_from_slice(word);
            fold(
                state ^ u64::from_le_bytes(whole) ^ self.seeds[0],
                self.seeds[1] | 1,
            )
        });
        self.permute(folded)
    }

    /// Returns the key that has a hash, for keys that are kept by theirs.
    pub(super) fn key<K: Plain>(&self, hash: u64) -> K {
        let bytes = self.restore(hash).to_le_bytes();
        K::read_from_bytes(&bytes).expect("a key that its hash keeps has 8 bytes")
    }

    /// Products and shifts that can each be undone.
    #[inline]
    fn permute(&self, key: u64) -> u64 {
        let mixed = (key ^ self.seeds[0]).wrapping_mul(self.seeds[1] | 1);
        let mixed = (mixed ^ mixed >> 32).wrapping_mul(self.seeds[2] | 1);
        mixed ^ mixed >> 32
    }

    fn restore(&self, hash: u64) -> u64 {
        let mixed = (hash ^ hash >> 32).wrapping_mul(inverse(self.seeds[2] | 1));
        let mixed = (mixed ^ mixed >> 32).wrapping_mul(inverse(self.seeds[1] | 1));
        mixed ^ self.seeds[0]
    }
}

/// Returns what an odd number is to be multiplied by to be 1. Each of Newton's steps makes twice as many bits right, of three at first.
fn inverse(odd: u64) -> u64 {
    (0..5).fold(odd, |inverse, _| {
        inverse.wrapping_mul(2u64.wrapping_sub(odd.wrapping_mul(inverse)))
    })
}

/// The halves of a product, one on the other.
fn fold(one: u64, other: u64) -> u64 {
    let product = u128::from(one) * u128::from(other);
    product as u64 ^ (product >> 64) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASHER: Hasher = Hasher {
        seeds: [
            0x243f_6a88_85a3_08d3,
            0x1319_8a2e_0370_7344,
            0xa409_3822_299f_31d0,
        ],
    };

    #[test]
    fn a_key_of_8_bytes_is_had_from_its_hash() {
        for key in (0..64).map(|bit| 1u64 << bit).chain(0..1000).chain([u64::MAX]) {
            assert_eq!(HASHER.key::<u64>(HASHER.hash(&key)), key);
        }
    }

    /// Keys that follow each other, that are far apart, and that differ in high bits alone fall evenly into what is made of the low,
    /// the middle and the high bits.
    #[test]
    fn hashes_are_spread_evenly() {
        const KEYS: u64 = 100_000;
        const PARTS: usize = 256;
        for step in [1, 2, 4096, 1 << 32, 1 << 40, 0x9e37_79b9_7f4a_7c15] {
            for shift in [0, 8, 24, 40, 48, 56] {
                let spread = |hash: &dyn Fn(u64) -> u64| {
                    let mut counts = [0u32; PARTS];
                    (0..KEYS).for_each(|number| {
                        counts[(hash(u64::wrapping_mul(number, step)) >> shift) as usize % PARTS] += 1;
                    });
                    let mean = KEYS as f64 / PARTS as f64;
                    let squares = counts.iter().map(|&count| (f64::from(count) - mean).powi(2));
                    squares.sum::<f64>() / mean
                };
                // Chi-squared of 255 degrees of freedom: 255 on average, over 400 once in 10^8 draws.
                let short = spread(&|key| HASHER.hash(&key));
                assert!(short < 400.0, "{short} of u64, step {step:#x}, bit {shift}");
                let long = spread(&|key| HASHER.hash(&[7u64, key, 0]));
                assert!(long < 400.0, "{long} of [u64; 3], step {step:#x}, bit {shift}");
            }
        }
    }
}
