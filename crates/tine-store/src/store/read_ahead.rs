//! Reading ahead: who reads a disk in order, and finds that the medium is waited for, has the next blocks fetched.
//!
//! A kernel reads ahead too, within a file. It cannot know in which segment a disk goes on; its index tells.
//!
//! Invariant: nothing depends on it. What is fetched is a hint to the medium, and what a hint meets (damage, a medium that
//! fails) is left for the read that comes there.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

/// The first window.
const WINDOW_BYTES_MIN: u64 = 128 << 10;

/// The largest window: at most so much is fetched that nobody asked for.
const WINDOW_BYTES_MAX: u64 = 8 << 20;

/// When nothing was waited for over so many bytes, they are in a cache, and asking it costs more than it saves.
const CALM_BYTES: u64 = 8 * WINDOW_BYTES_MAX;

/// How a handle reads. Several threads that share one handle read in no order.
#[derive(Default)]
pub(crate) struct ReadAhead {
    /// Where the last read ended.
    next: AtomicU64,
    /// 0 while the handle reads in no order, or the medium is not waited for.
    window: AtomicU64,
    /// Up to where blocks are being fetched.
    ahead: AtomicU64,
    /// Where the medium was last waited for.
    waited: AtomicU64,
}

/// A clone is another reader.
impl Clone for ReadAhead {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl ReadAhead {
    /// Takes note of a read, and of whether it has to wait. Returns what to fetch beside it.
    pub(crate) fn note(&self, read: Range<u64>, waits: bool) -> Option<Range<u64>> {
        let in_order = self.next.load(Ordering::Relaxed) == read.start && read.start > 0;
        self.next.store(read.end, Ordering::Relaxed);
        let window = self.window.load(Ordering::Relaxed);
        if waits {
            self.waited.store(read.end, Ordering::Relaxed);
        }
        let calm = read.end.saturating_sub(self.waited.load(Ordering::Relaxed)) > CALM_BYTES;
        if !in_order || calm || (window == 0 && !waits) {
            if window != 0 {
                self.window.store(0, Ordering::Relaxed);
            }
            return None;
        }
        let ahead = match window {
            0 => read.end,
            _ => self.ahead.load(Ordering::Relaxed).max(read.end),
        };
        if ahead - read.end > window / 2 {
            return None;
        }
        let window = (2 * window.max(read.end - read.start)).clamp(WINDOW_BYTES_MIN, WINDOW_BYTES_MAX);
        self.window.store(window, Ordering::Relaxed);
        self.ahead.store(read.end + window, Ordering::Relaxed);
        Some(ahead..read.end + window)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const READ: u64 = 64 << 10;

    /// Reads in order from the first byte; `waits` says whether it has to wait at an offset.
    fn read_in_order(reads: u64, waits: impl Fn(u64) -> bool) -> Vec<Range<u64>> {
        let ahead = ReadAhead::default();
        let offsets = (0..reads).map(|read| read * READ);
        offsets
            .filter_map(|at| ahead.note(at..at + READ, waits(at)))
            .collect()
    }

    #[test]
    fn what_is_fetched_follows_the_reads_without_gap_and_grows() {
        let fetched = read_in_order(1000, |at| at < 4 * READ);
        assert_eq!(fetched[0].start, 2 * READ);
        assert!(fetched.windows(2).all(|two| two[0].end == two[1].start));
        let last = &fetched[fetched.len() - 1];
        assert!(last.end > 900 * READ && last.end <= 1000 * READ + WINDOW_BYTES_MAX);
        let lengths: Vec<u64> = fetched.iter().map(|range| range.end - range.start).collect();
        assert!(lengths[0] >= WINDOW_BYTES_MIN && lengths[0] <= 4 * READ);
        assert!(lengths.iter().any(|&length| length >= WINDOW_BYTES_MAX / 2));
        assert!(lengths.iter().all(|&length| length <= WINDOW_BYTES_MAX));
    }

    #[test]
    fn who_never_waits_has_nothing_fetched_and_who_stops_waiting_soon_neither() {
        assert_eq!(read_in_order(10_000, |_| false), []);
        let fetched = read_in_order(10_000, |at| at < 4 * READ);
        let last = &fetched[fetched.len() - 1];
        assert!(last.end <= CALM_BYTES + 4 * READ + WINDOW_BYTES_MAX);
    }

    #[test]
    fn reads_in_no_order_have_nothing_fetched() {
        let ahead = ReadAhead::default();
        for at in [9, 2, 7, 4, 0, 3, 1, 6] {
            assert_eq!(ahead.note(at * READ..(at + 1) * READ, true), None);
        }
    }

    #[test]
    fn a_jump_ends_the_run() {
        let ahead = ReadAhead::default();
        assert_eq!(ahead.note(0..READ, true), None);
        assert!(ahead.note(READ..2 * READ, true).is_some());
        assert_eq!(ahead.note(100 * READ..101 * READ, true), None);
        let next = ahead.note(101 * READ..102 * READ, true);
        assert_eq!(next.map(|range| range.start), Some(102 * READ));
    }
}
