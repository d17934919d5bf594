//! What the contestants hold: the same for all, and the same in every run.

/// Marsaglia's xorshift, scrambled: fast, and the same everywhere.
pub(crate) struct Random(pub(crate) u64);

impl Iterator for Random {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        Some(self.0.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 20)
    }
}

/// Returns the numbers below `n`, each once, in an order of chance.
pub(crate) fn shuffled(n: usize) -> Vec<usize> {
    let mut numbers: Vec<usize> = (0..n).collect();
    for (at, random) in (1..n).rev().zip(Random(1)) {
        numbers.swap(at, random as usize % (at + 1));
    }
    numbers
}
