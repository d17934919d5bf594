//! Which blocks of a disk were written since its last point: what makes *written* exact.
//!
//! One bit a block, in words of 64 that lie in a [`RadixMap`].

use std::ops::Range;

use tine_values::RadixMap;

use crate::block::{BLOCK_BYTES, DISK_BYTES_MAX};
use crate::codec::{Decoder, Encoder};
use crate::error::Result;

const WORD: u64 = 64;

/// What a run takes where the set is written down.
const RUN_BYTES: usize = 24;

/// A set of blocks. Clones in O(1).
#[derive(Clone, Default)]
pub(crate) struct WrittenBlocks {
    words: RadixMap<u64>,
    /// How many pieces the map has: words, and runs of equal ones that it keeps as one.
    entries: u64,
}

impl WrittenBlocks {
    /// Adds blocks and returns how many were not in it.
    pub(crate) fn insert(&mut self, blocks: Range<u64>) -> u64 {
        let mut added = 0;
        for (word, mask) in words(&blocks) {
            let old = self.words.get(word).copied().unwrap_or(0);
            if old | mask != old {
                self.set(word, old, old | mask);
                added += u64::from((mask & !old).count_ones());
            }
        }
        added
    }

    /// Takes blocks out and returns how many were in it. O(words in it within the range).
    pub(crate) fn remove(&mut self, blocks: Range<u64>) -> u64 {
        let mut removed = 0;
        let whole = blocks.start.div_ceil(WORD)..blocks.end / WORD;
        if whole.start < whole.end {
            self.change(whole.clone(), |words| {
                words.clear_range(whole.clone(), |range, old| {
                    removed += (range.end - range.start) * u64::from(old.count_ones());
                });
            });
            removed += self.remove_bits(blocks.start..whole.start * WORD);
            removed += self.remove_bits(whole.end * WORD..blocks.end);
        } else {
            removed += self.remove_bits(blocks);
        }
        removed
    }

    fn remove_bits(&mut self, blocks: Range<u64>) -> u64 {
        let mut removed = 0;
        for (word, mask) in words(&blocks) {
            let old = self.words.get(word).copied().unwrap_or(0);
            if old & mask != 0 {
                self.set(word, old, old & !mask);
                removed += u64::from((old & mask).count_ones());
            }
        }
        removed
    }

    fn set(&mut self, word: u64, old: u64, new: u64) {
        let put = |words: &mut RadixMap<u64>| match new {
            0 => drop(words.remove(word)),
            new => drop(words.insert(word, new)),
        };
        if old != 0 && self.piece_around(word) != (word..word + 1) {
            return self.change(word..word + 1, put);
        }
        self.entries = self.entries + u64::from(old == 0) - u64::from(new == 0);
        put(&mut self.words);
    }

    /// Changes words, and counts the pieces that there are more or less: a run that is split becomes many.
    fn change(&mut self, range: Range<u64>, change: impl FnOnce(&mut RadixMap<u64>)) {
        let around = self.piece_around(range.start).start..self.piece_around(range.end - 1).end;
        let pieces = |words: &RadixMap<u64>| words.range(around.clone()).count() as u64;
        let before = pieces(&self.words);
        change(&mut self.words);
        self.entries = self.entries - before + pieces(&self.words);
    }

    /// Returns the words of the piece that has a word. Those of a run are as many as a power of two, and begin at a multiple
    /// of that.
    fn piece_around(&self, word: u64) -> Range<u64> {
        let mut found = word..word + 1;
        loop {
            let length = 2 * (found.end - found.start);
            let start = word / length * length;
            let wider = start..start + length;
            match self.words.range(wider.clone()).next() {
                Some((piece, _)) if piece == wider => found = wider,
                _ => return found,
            }
        }
    }

    /// Returns how many words, or runs of equal ones, it has in memory.
    pub(crate) fn entries(&self) -> u64 {
        self.entries
    }

    /// Counts its blocks. O(words).
    pub(crate) fn count(&self) -> u64 {
        self.words
            .iter()
            .map(|(range, word)| (range.end - range.start) * u64::from(word.count_ones()))
            .sum()
    }

    /// Appends it: a list of runs of equal words.
    pub(crate) fn encode(&self, out: &mut Encoder) {
        let mut runs: Vec<(Range<u64>, u64)> = Vec::new();
        for (range, &word) in &self.words {
            match runs.last_mut() {
                Some((last, same)) if last.end == range.start && *same == word => last.end = range.end,
                _ => runs.push((range, word)),
            }
        }
        out.count(runs.len());
        for (range, word) in runs {
            out.u64(range.start);
            out.u64(range.end - range.start);
            out.u64(word);
        }
    }

    /// Returns how many runs so many bytes of it may be.
    pub(crate) fn entries_saved_in(bytes: u32) -> u64 {
        u64::from(bytes) / RUN_BYTES as u64
    }

    /// Reads it from bytes whose checksum was verified.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self> {
        let mut from = Decoder::new("written blocks", bytes);
        let count = from.count(RUN_BYTES)?;
        let mut words = RadixMap::new();
        let mut behind = 0;
        for _ in 0..count {
            let (start, count, word) = (from.u64()?, from.u64()?, from.u64()?);
            let end = start
                .checked_add(count)
                .filter(|&end| start >= behind && count > 0 && end <= DISK_BYTES_MAX / BLOCK_BYTES / WORD);
            behind = end.ok_or_else(|| from.invalid("the runs are not in order"))?;
            words.fill(start..behind, word, |_, _| ());
        }
        from.end()?;
        let entries = words.iter().count() as u64;
        Ok(Self { words, entries })
    }
}

/// Returns the words that a range of blocks touches, with its bits in each.
fn words(blocks: &Range<u64>) -> impl Iterator<Item = (u64, u64)> + use<> {
    let (start, end) = (blocks.start, blocks.end.max(blocks.start));
    (start / WORD..end.div_ceil(WORD)).filter_map(move |word| {
        let from = start.saturating_sub(word * WORD).min(WORD);
        let to = (end - word * WORD).min(WORD);
        let ones = |count: u64| if count == WORD { u64::MAX } else { (1 << count) - 1 };
        let mask = ones(to) & !ones(from);
        (mask != 0).then_some((word, mask))
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn it_counts_as_a_set_does_and_survives_being_written_down() {
        let mut model = BTreeSet::new();
        let mut written = WrittenBlocks::default();
        let mut state = 7u64;
        let mut random = |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) % below
        };
        for _ in 0..2000 {
            let start = random(1000);
            let range = start..start + 1 + random(200);
            if random(2) == 0 {
                let added = range.clone().filter(|&block| model.insert(block)).count();
                assert_eq!(written.insert(range), added as u64);
            } else {
                let removed = range.clone().filter(|block| model.remove(block)).count();
                assert_eq!(written.remove(range), removed as u64);
            }
            assert_eq!(written.count(), model.len() as u64);
            assert_eq!(written.entries(), written.words.iter().count() as u64);
        }
        let mut out = Encoder::default();
        written.encode(&mut out);
        let again = WrittenBlocks::decode(&out.bytes).unwrap();
        assert_eq!(again.count(), model.len() as u64);
        for block in 0..1300 {
            let mut one = again.clone();
            assert_eq!(one.insert(block..block + 1), u64::from(!model.contains(&block)));
        }
    }

    #[test]
    fn a_whole_disk_is_one_run() {
        let mut written = WrittenBlocks::default();
        assert_eq!(written.remove(0..1 << 40), 0);
        assert_eq!(written.insert(0..1000), 1000);
        assert_eq!(written.remove(0..1 << 40), 1000);
    }

    /// What a split run takes is counted, whatever was taken out of it, and given back.
    #[test]
    fn a_run_that_is_split_counts_as_all_that_it_became() {
        const WORDS: u64 = 1 << 22;
        let mut out = Encoder::default();
        out.count(1);
        for number in [0, WORDS, u64::MAX] {
            out.u64(number);
        }
        let mut written = WrittenBlocks::decode(&out.bytes).unwrap();
        let whole = written.entries();
        assert!(whole < 64, "{whole}");
        let pieces = |written: &WrittenBlocks| written.words.iter().count() as u64;
        for at in 0..1000 {
            assert_eq!(written.remove(at * 64 * 4096..at * 64 * 4096 + 1), 1);
        }
        assert_eq!(written.entries(), pieces(&written));
        assert!(
            written.entries() > 64 * 1000,
            "{} after a thousand",
            written.entries()
        );
        let mut state = 7u64;
        for _ in 0..1000 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let (start, length) = ((state >> 20) % (WORDS * 64), (state >> 50) % 10_000);
            if state & (1 << 10) == 0 {
                written.insert(start..start + length);
            } else {
                written.remove(start..start + length);
            }
            assert_eq!(written.entries(), pieces(&written));
        }
        let memory = written.words.own_bytes() as u64;
        assert!(
            memory < written.entries() * 100,
            "{memory} bytes of {}",
            written.entries()
        );
        written.remove(0..WORDS * 128);
        assert_eq!((written.entries(), written.count()), (0, 0));
    }
}
