//! Digests of 128 bits: two media, or two answers, with one digest are taken for the same.
//!
//! Not for anything that an adversary chooses. Words are folded into two lanes by multiplication; a billion states
//! meet by chance about as likely as a coin stands on its edge all day.

use std::hash::Hasher;

/// A [`Hasher`] of 128 bits, whose result is the same in every process.
#[derive(Clone, Debug)]
pub struct Digester {
    lanes: [u64; 2],
    bytes: u64,
}

/// Odd, with as many ones as zeroes: digits of the fractions of square roots.
const SEEDS: [u64; 4] = [
    0x6a09_e667_f3bc_c909,
    0xbb67_ae85_84ca_a73b,
    0x3c6e_f372_fe94_f82b,
    0xa54f_f53a_5f1d_36f1,
];

fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}

impl Default for Digester {
    fn default() -> Self {
        Self {
            lanes: [SEEDS[0], SEEDS[2]],
            bytes: 0,
        }
    }
}

impl Digester {
    fn add(&mut self, one: u64, other: u64) {
        let [low, high] = self.lanes;
        self.lanes = [
            fold(one ^ SEEDS[1], other ^ low),
            fold(other ^ SEEDS[3], one.rotate_left(32) ^ high),
        ];
    }

    /// Returns the digest of all that was written.
    pub fn digest(&self) -> u128 {
        let [low, high] = self.lanes;
        let low = fold(low ^ SEEDS[3], high ^ self.bytes ^ SEEDS[0]);
        let high = fold(high ^ SEEDS[2], self.lanes[0].rotate_left(17) ^ SEEDS[1]);
        u128::from(high) << 64 | u128::from(low)
    }
}

impl Hasher for Digester {
    fn write(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        let mut pairs = bytes.chunks_exact(16);
        for pair in &mut pairs {
            let both = u128::from_le_bytes(pair.try_into().expect("sixteen bytes"));
            self.add(both as u64, (both >> 64) as u64);
        }
        let rest = pairs.remainder();
        if !rest.is_empty() {
            let mut last = [0; 16];
            last[..rest.len()].copy_from_slice(rest);
            let both = u128::from_le_bytes(last);
            self.add(both as u64, (both >> 64) as u64 ^ (rest.len() as u64) << 56);
        }
    }

    fn write_u128(&mut self, both: u128) {
        self.bytes += 16;
        self.add(both as u64, (both >> 64) as u64);
    }

    fn write_u64(&mut self, word: u64) {
        self.bytes += 8;
        self.add(word, 8);
    }

    fn write_u32(&mut self, word: u32) {
        self.write_u64(word.into());
    }

    fn write_u8(&mut self, byte: u8) {
        self.write_u64(byte.into());
    }

    fn write_usize(&mut self, word: usize) {
        self.write_u64(word as u64);
    }

    fn write_isize(&mut self, word: isize) {
        self.write_u64(word as u64);
    }

    fn finish(&self) -> u64 {
        self.digest() as u64
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::hash::Hash;

    use super::*;

    fn of(bytes: &[u8]) -> u128 {
        let mut digester = Digester::default();
        digester.write(bytes);
        digester.digest()
    }

    #[test]
    fn what_differs_in_one_bit_place_or_length_has_another_digest() {
        let page = [0; 4096];
        let mut digests = BTreeSet::from([of(&page), of(&page[1..]), of(&[])]);
        let mut count = digests.len();
        for at in 0..4096 {
            for bit in [0, 3, 7] {
                let mut page = page;
                page[at] ^= 1 << bit;
                digests.insert(of(&page));
                page[(at + 8) % 4096] ^= 1 << bit;
                digests.insert(of(&page));
                count += 2;
            }
        }
        assert_eq!(digests.len(), count);
        // Both halves tell all of them apart.
        let halves = |shift: u32| {
            digests
                .iter()
                .map(|digest| (digest >> shift) as u64)
                .collect::<BTreeSet<_>>()
                .len()
        };
        assert_eq!((halves(0), halves(64)), (count, count));
    }

    #[test]
    fn the_order_counts() {
        let of = |words: &[u64]| {
            let mut digester = Digester::default();
            words.hash(&mut digester);
            digester.digest()
        };
        assert_ne!(of(&[1, 2]), of(&[2, 1]));
        assert_ne!(of(&[0]), of(&[0, 0]));
    }
}
