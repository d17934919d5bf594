//! The bytes that are written, and the order in which: the same for every contestant, and verifiable.
//!
//! A block tells which one it is and by which write it came: its place and a version are stamped into bytes that do
//! not compress. Making one costs as much as a copy, so that it does not drown what is measured.

use crate::Result;

/// Bytes of a block, the unit of all random work here.
pub(crate) const BLOCK_BYTES: u64 = 4096;
pub(crate) const BLOCK: usize = BLOCK_BYTES as usize;

/// Bytes of a large read or write.
pub(crate) const LARGE: usize = 1 << 20;

/// A generator of numbers that look random (splitmix64).
#[derive(Clone)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Returns a number below `end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// Returns all blocks below `end`, each once, in random order.
    pub(crate) fn shuffled(&mut self, end: u64) -> Vec<u64> {
        let mut blocks: Vec<u64> = (0..end).collect();
        for last in (1..blocks.len()).rev() {
            blocks.swap(last, self.below(last as u64 + 1) as usize);
        }
        blocks
    }
}

/// Different contents, so that a block in the wrong place shows beyond its stamp; few, so that they stay in cache.
const TEMPLATES: u64 = 16;

/// Makes and recognises blocks.
pub(crate) struct Blocks {
    templates: Vec<u8>,
}

impl Blocks {
    pub(crate) fn new() -> Self {
        let mut random = Random::new(1);
        let words = TEMPLATES as usize * BLOCK / 8;
        Self {
            templates: (0..words).flat_map(|_| random.next().to_le_bytes()).collect(),
        }
    }

    fn template(&self, block: u64) -> &[u8] {
        let start = (block % TEMPLATES) as usize * BLOCK;
        &self.templates[start..start + BLOCK]
    }

    /// Makes consecutive blocks from `first` on, of one version.
    pub(crate) fn fill(&self, bytes: &mut [u8], first: u64, version: u64) {
        for (block, number) in bytes.chunks_exact_mut(BLOCK).zip(first..) {
            block.copy_from_slice(self.template(number));
            block[..8].copy_from_slice(&number.to_le_bytes());
            block[8..16].copy_from_slice(&version.to_le_bytes());
        }
    }

    /// Returns the version of a block that was read.
    ///
    /// # Errors
    ///
    /// When it is not that block: a benchmark that reads wrong data is worth nothing.
    pub(crate) fn version(&self, bytes: &[u8], number: u64) -> Result<u64> {
        let word = |at: usize| bytes[at..at + 8].try_into().map(u64::from_le_bytes);
        if word(0)? != number || bytes[16..] != self.template(number)[16..] {
            return Err(format!("block {number} was read and holds other bytes").into());
        }
        Ok(word(8)?)
    }

    /// Checks consecutive blocks from `first` on.
    ///
    /// # Errors
    ///
    /// When a block is another, or of another version.
    pub(crate) fn check(&self, bytes: &[u8], first: u64, version: u64) -> Result {
        for (block, number) in bytes.chunks_exact(BLOCK).zip(first..) {
            let found = self.version(block, number)?;
            if found != version {
                return Err(format!("block {number} is of write {found}, not of {version}").into());
            }
        }
        Ok(())
    }

    /// Checks the stamp alone, as cheap as a benchmark's loop needs it.
    ///
    /// # Errors
    ///
    /// When it is another block's.
    pub(crate) fn glance(bytes: &[u8], number: u64) -> Result {
        if bytes[..8] != number.to_le_bytes() {
            return Err(format!("block {number} was read and holds other bytes").into());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_recognised_and_others_are_not() {
        let blocks = Blocks::new();
        let mut bytes = vec![0; 2 * BLOCK];
        blocks.fill(&mut bytes, 7, 3);
        assert!(blocks.check(&bytes, 7, 3).is_ok());
        assert!(blocks.check(&bytes, 8, 3).is_err());
        assert!(blocks.check(&bytes, 7, 4).is_err());
        bytes[BLOCK + 99] ^= 1;
        assert!(blocks.check(&bytes, 7, 3).is_err());
        assert!(Blocks::glance(&bytes, 7).is_ok());
    }

    #[test]
    fn a_shuffle_has_every_block_once() {
        let mut blocks = Random::new(5).shuffled(1000);
        assert_ne!(blocks, (0..1000).collect::<Vec<_>>());
        blocks.sort_unstable();
        assert_eq!(blocks, (0..1000).collect::<Vec<_>>());
    }
}
