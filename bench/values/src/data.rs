//! What the contestants hold: the same for all, and the same in every run.

use std::rc::Rc;

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

/// Places to look at or write to, one after the other, round and round.
#[derive(Clone)]
pub(crate) struct Places {
    order: Rc<[usize]>,
    at: usize,
}

impl Places {
    /// There are no more places than that, and no fewer, be it the same ones again.
    const MOST: usize = 1 << 16;

    /// Returns the indices of `n` elements in an order of chance.
    pub(crate) fn new(n: usize) -> Self {
        let order = shuffled(n);
        Self {
            order: order.into_iter().cycle().take(Self::MOST).collect(),
            at: 0,
        }
    }

    /// Returns the next place.
    #[inline]
    pub(crate) fn next(&mut self) -> usize {
        self.several(1)[0]
    }

    /// Returns the next places, so many: a loop over them keeps its place in a register, whatever it does to memory.
    #[inline]
    pub(crate) fn several(&mut self, count: usize) -> &[usize] {
        let start = if self.at + count <= self.order.len() {
            self.at
        } else {
            0
        };
        self.at = start + count;
        &self.order[start..self.at]
    }
}
