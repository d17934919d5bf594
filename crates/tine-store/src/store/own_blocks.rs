//! Which blocks of a branch are its own: what makes *written* exact at once, for as long as there is memory for it.
//!
//! A set is saved with each root, and laid anew over that from what is newer; so a head that gives its own up loses nothing
//! but the speed of the answer.
//!
//! Invariant: all heads of a store together know about as many words as the bound says, whatever they are.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::index::written::WrittenBlocks;

/// The memory for the sets of all heads.
pub(crate) struct OwnMemory {
    entries: AtomicU64,
    most: u64,
}

impl OwnMemory {
    pub(crate) fn new(most: u64) -> Arc<Self> {
        Arc::new(Self {
            entries: AtomicU64::new(0),
            most,
        })
    }

    /// Tells whether there is room for so many more.
    pub(crate) fn has_room_for(&self, entries: u64) -> bool {
        entries <= self.most.saturating_sub(self.entries())
    }

    /// Returns how many words, or runs of equal ones, heads know.
    pub(crate) fn entries(&self) -> u64 {
        self.entries.load(Ordering::Relaxed)
    }
}

/// The blocks that were born in a head's stretch and are its own still.
pub(crate) struct OwnBlocks {
    /// Absent if there was no memory for them.
    known: Option<WrittenBlocks>,
    counted: u64,
    memory: Arc<OwnMemory>,
}

impl OwnBlocks {
    /// Those of a stretch to which nothing was written.
    pub(crate) fn none(memory: &Arc<OwnMemory>) -> Self {
        Self {
            known: Some(WrittenBlocks::default()),
            counted: 0,
            memory: Arc::clone(memory),
        }
    }

    /// Begins those of another stretch of the same store.
    pub(crate) fn next(&self) -> Self {
        Self::none(&self.memory)
    }

    /// Takes what is known of them.
    pub(crate) fn set(&mut self, known: Option<WrittenBlocks>) {
        self.known = known;
        self.count();
    }

    /// Adds blocks and returns how many were not among them; `None` if that is not known.
    pub(crate) fn insert(&mut self, blocks: Range<u64>) -> Option<u64> {
        let added = self.known.as_mut()?.insert(blocks);
        self.count();
        Some(added)
    }

    /// Takes blocks out and returns how many were among them; `None` if that is not known.
    pub(crate) fn remove(&mut self, blocks: Range<u64>) -> Option<u64> {
        let removed = self.known.as_mut()?.remove(blocks);
        self.count();
        Some(removed)
    }

    /// Counts what is known, and gives it up if that is too much.
    fn count(&mut self) {
        let entries = self.known.as_ref().map_or(0, WrittenBlocks::entries);
        if entries == self.counted {
            return;
        }
        // Wraps when it is less.
        let change = entries.wrapping_sub(self.counted);
        let before = self.memory.entries.fetch_add(change, Ordering::Relaxed);
        let grows = entries > self.counted;
        self.counted = entries;
        if grows && before.wrapping_add(change) > self.memory.most {
            self.known = None;
            self.memory.entries.fetch_sub(self.counted, Ordering::Relaxed);
            self.counted = 0;
        }
    }
}

impl Drop for OwnBlocks {
    fn drop(&mut self) {
        self.memory.entries.fetch_sub(self.counted, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_would_pass_the_bound_gives_its_own_up_and_the_others_keep_theirs() {
        let memory = OwnMemory::new(10);
        let (mut small, mut large) = (OwnBlocks::none(&memory), OwnBlocks::none(&memory));
        for word in 0..4 {
            assert_eq!(small.insert(word * 64..word * 64 + 2), Some(2));
        }
        for word in 0..6 {
            assert_eq!(large.insert(word * 640..word * 640 + 1), Some(1));
        }
        assert_eq!((memory.entries(), memory.has_room_for(1)), (10, false));
        assert_eq!(
            large.insert(64_000..64_001),
            Some(1),
            "what it knew was right to the end"
        );
        assert_eq!((large.insert(0..1), large.remove(0..1)), (None, None));
        assert_eq!((memory.entries(), memory.has_room_for(1)), (4, true));
        assert_eq!(small.insert(0..1), Some(0));
        assert_eq!(small.remove(0..64), Some(2));
        assert_eq!(memory.entries(), 3);
        drop((small, large));
        assert_eq!(memory.entries(), 0);
    }

    #[test]
    fn what_is_taken_over_counts_from_then_on() {
        let memory = OwnMemory::new(3);
        let mut own = OwnBlocks::none(&memory);
        let mut saved = WrittenBlocks::default();
        saved.insert(0..128);
        own.set(Some(saved));
        assert_eq!(memory.entries(), 2);
        own.set(None);
        assert_eq!((memory.entries(), own.insert(0..1)), (0, None));
        assert_eq!(own.next().insert(0..1), Some(1), "a new stretch has none yet");
    }
}
