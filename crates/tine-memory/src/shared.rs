//! Regions that threads write at the same time.
//!
//! The rule that this module keeps: while a region is shared, its memory is read and written by atomic words of 8 bytes alone, aligned,
//! and no slice of it is given out. So a read beside a write is no data race: each word is one that was written, though words of one
//! call may be of different writes.

#![allow(unsafe_code)]

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::{Region, Result};

const WORD_BYTES: usize = 8;

/// A region that threads read and write through shared references.
///
/// Lent by [`Region::share`], or made of a region for good (`SharedRegion::from`), for an `Arc` or a static. Each aligned word of 8 bytes is read
/// and written whole, without an order among words: what several threads write to the same place at the same time may be mixed. Who
/// wants to see another thread's write waits for it by other means (a lock, a channel, a join).
///
/// No slices can be had of it; forks, rollbacks and comparisons are had from [`SharedRegion::get_mut`], when no other thread has a
/// reference.
#[repr(transparent)]
pub struct SharedRegion(Region);

impl SharedRegion {
    pub(crate) fn of(region: &mut Region) -> &Self {
        // SAFETY: the layouts are one (`repr(transparent)`). The region is borrowed exclusively as long as the reference lives, so there
        // are no slices of its memory meanwhile.
        unsafe { &*std::ptr::from_mut(region).cast_const().cast::<Self>() }
    }

    /// Returns the region, which nobody else has now. If any thread wrote, all of it counts as possibly written: nobody tells where.
    #[must_use]
    pub fn get_mut(&mut self) -> &mut Region {
        &mut self.0
    }

    /// Returns the region.
    #[must_use]
    pub fn into_inner(self) -> Region {
        self.0
    }

    /// Returns the length in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns whether the region has no bytes, which none has not.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Copies bytes out of the region.
    ///
    /// # Errors
    ///
    /// When they are not all inside it.
    pub fn read_at(&self, target: &mut [u8], offset: usize) -> Result {
        self.0.check(offset, target.len())?;
        let mut target = target;
        for (index, bytes) in words(offset, target.len()) {
            let word = self.word(index).load(Ordering::Relaxed).to_ne_bytes();
            let (now, later) = target.split_at_mut(bytes.len());
            now.copy_from_slice(&word[bytes]);
            target = later;
        }
        Ok(())
    }

    /// Copies bytes into the region.
    ///
    /// # Errors
    ///
    /// When they are not all inside it.
    pub fn write_at(&self, source: &[u8], offset: usize) -> Result {
        self.0.check(offset, source.len())?;
        // Most often it is there already: then no other core's copy of the flag is taken away.
        if !self.0.written_shared.load(Ordering::Relaxed) {
            self.0.written_shared.store(true, Ordering::Relaxed);
        }
        let mut source = source;
        for (index, bytes) in words(offset, source.len()) {
            let (now, later) = source.split_at(bytes.len());
            let word = self.word(index);
            if let Ok(whole) = now.try_into() {
                word.store(u64::from_ne_bytes(whole), Ordering::Relaxed);
            } else {
                // The other bytes of the word may be another thread's to write at this moment.
                let put = |old: u64| {
                    let mut new = old.to_ne_bytes();
                    new[bytes.clone()].copy_from_slice(now);
                    Some(u64::from_ne_bytes(new))
                };
                word.fetch_update(Ordering::Relaxed, Ordering::Relaxed, put)
                    .expect("a word can always be put");
            }
            source = later;
        }
        Ok(())
    }

    /// Returns a word of the memory.
    fn word(&self, index: usize) -> &AtomicU64 {
        debug_assert!(index < self.0.pages() * (crate::PAGE_BYTES / WORD_BYTES));
        // SAFETY:
        // - A mapping begins at a page, and has whole pages, so its words are aligned and inside it.
        // - It lives as long as `self`, and is accessed by such words alone meanwhile.
        unsafe { AtomicU64::from_ptr(self.0.map.as_ptr().cast::<u64>().add(index)) }
    }
}

impl From<Region> for SharedRegion {
    fn from(region: Region) -> Self {
        Self(region)
    }
}

/// Returns the words that a range of bytes touches, and which of its bytes in each.
fn words(offset: usize, length: usize) -> impl Iterator<Item = (usize, Range<usize>)> {
    let end = offset + length;
    (offset / WORD_BYTES..end.div_ceil(WORD_BYTES)).map(move |index| {
        let start = index * WORD_BYTES;
        (
            index,
            offset.max(start) - start..end.min(start + WORD_BYTES) - start,
        )
    })
}
