//! Which blocks a leaf may have something of: a bit for each block, or for each few, between its first and its last.
//!
//! A read looks into the runs before it looks into the tree, and a run that was written at random has few of the blocks that it
//! spans. To find that out among its extents costs two or three cache lines that no cache holds; its bits are one line, of
//! a hundredth of the bytes.
//!
//! Invariant: a block whose bit is clear is in no extent of the leaf.

use std::ops::Range;

/// Bits for each extent at the most; if its blocks are more, a bit is for several.
const BITS_PER_EXTENT: u64 = 16;

/// The bits of a leaf.
pub(super) struct Presence {
    first: u64,
    /// A bit is for two to the power of this many blocks.
    shift: u32,
    /// Empty where bits would spare little: nothing is said then.
    words: Box<[u64]>,
}

impl Presence {
    /// Notes the blocks of `count` extents: ascending, and none overlaps another. O(extents).
    pub(super) fn new(count: usize, extents: impl Iterator<Item = Range<u64>> + Clone) -> Self {
        let first = extents.clone().next().map_or(0, |extent| extent.start);
        let (end, held) = extents.clone().fold((first, 0), |(_, held), extent| {
            (extent.end, held + (extent.end - extent.start))
        });
        let span = end - first;
        let mut presence = Self {
            first,
            shift: 0,
            words: Box::default(),
        };
        if held > span / 2 {
            return presence;
        }
        while span >> presence.shift > count as u64 * BITS_PER_EXTENT {
            presence.shift += 1;
        }
        let bits = (span >> presence.shift) as usize + 1;
        presence.words = vec![0; bits.div_ceil(64)].into();
        for extent in extents {
            let (from, to) = (presence.bit(extent.start), presence.bit(extent.end - 1));
            for bit in from..=to {
                presence.words[bit / 64] |= 1 << (bit % 64);
            }
        }
        presence
    }

    fn bit(&self, block: u64) -> usize {
        ((block - self.first) >> self.shift) as usize
    }

    /// Says whether the leaf has surely nothing of a block.
    #[inline]
    pub(super) fn lacks(&self, block: u64) -> bool {
        if self.words.is_empty() {
            return false;
        }
        if block < self.first {
            return true;
        }
        let bit = self.bit(block);
        self.words
            .get(bit / 64)
            .is_none_or(|word| word >> (bit % 64) & 1 == 0)
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.words.len() * 8
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::medium::simulated::Chooser;

    fn presence(extents: &[Range<u64>]) -> Presence {
        Presence::new(extents.len(), extents.iter().cloned())
    }

    /// Extents with gaps between them, alike or as unlike as they can be.
    fn extents(seed: u64) -> Vec<Range<u64>> {
        const SIZES: [usize; 5] = [2, 20, 300, 1 << 20, 1 << 40];
        let mut chooser = Chooser::seeded(seed);
        let count = chooser.choose(200);
        let (gaps, counts) = (chooser.choose(SIZES.len()), chooser.choose(SIZES.len()));
        let mut at = 0;
        let mut next = || {
            let start = at + chooser.choose(SIZES[gaps]) as u64;
            at = start + 1 + chooser.choose(SIZES[counts]) as u64;
            start..at
        };
        (0..count).map(|_| next()).collect()
    }

    /// Goal: what a leaf has is never said to be missing.
    /// Method: the ends of every extent and a block inside, of many leaves; and how much the bits take.
    #[test]
    fn no_block_that_is_there_is_missed() {
        let mut with_bits = 0;
        for seed in 0..2000 {
            let extents = extents(seed);
            let presence = presence(&extents);
            for Range { start, end } in extents.iter().cloned() {
                for block in [start, start + (end - start) / 2, end - 1] {
                    assert!(!presence.lacks(block), "seed {seed}: block {block}");
                }
            }
            let most = (extents.len() * BITS_PER_EXTENT as usize).div_ceil(8) + 16;
            assert!(
                presence.memory_bytes() <= most,
                "seed {seed}: {} bytes",
                presence.memory_bytes()
            );
            with_bits += u32::from(presence.shift > 0 && presence.memory_bytes() > 8);
        }
        assert!(
            with_bits > 200,
            "only {with_bits} leaves had bits for several blocks"
        );
    }

    #[test]
    fn where_a_bit_is_for_one_block_every_gap_is_told() {
        let presence = presence(&[10..11, 13..14, 20..22]);
        let there: Vec<u64> = (0..100).filter(|block| !presence.lacks(*block)).collect();
        assert_eq!(there, [10, 13, 20, 21]);
    }

    #[test]
    fn few_blocks_far_apart_are_told_from_nearly_all_others() {
        let extents: Vec<Range<u64>> = (0..100).map(|at| at * 1000..at * 1000 + 1).collect();
        let presence = presence(&extents);
        let missed = (0..99_000).filter(|block| presence.lacks(*block)).count();
        assert!(
            missed > 90_000,
            "of 99,000 blocks {missed} are known to be missing"
        );
        assert!(presence.lacks(u64::MAX));
    }

    #[test]
    fn a_leaf_that_has_most_of_its_blocks_takes_no_memory_for_bits() {
        let presence = presence(&[0..10, 11..20]);
        assert_eq!(presence.memory_bytes(), 0);
        assert!(!presence.lacks(10));
    }
}
