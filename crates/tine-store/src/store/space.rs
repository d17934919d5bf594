//! Space: a write is acknowledged only when the medium has room for it.
//!
//! What is held back covers everything in memory that no segment holds yet, its footers and runs, the next manifest,
//! and two constants: one that lets upkeep go on when the disk is full, and a file for the journal's ring.
//!
//! **Invariant:** what is held and what was given to objects that are being made cover together what is in memory; so
//! a write that comes while a drain is under way cannot take the room that the drain was given.

use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::block::BLOCK_BYTES;
use crate::error::{Result, StoreError};
use crate::medium::Medium;

/// Reservations grow in steps, so that most writes cost no system call.
const STEP_BYTES: u64 = 4 << 20;

/// So much is held at most for what is still to come.
const AHEAD_BYTES_MAX: u64 = 32 << 20;

/// And no more than one byte of so many that are free.
const FREE_PER_AHEAD: u64 = 16;

/// The least that is held for what the estimates leave out: headers, whole blocks, directories.
const SPARE_BYTES_MIN: u64 = 64 << 10;

/// One byte for so many of data in memory: of each block a footer's entry, a run's extent, a manifest's counts.
const DATA_PER_INDEX: u64 = 16;

/// What a record of the journal adds to a manifest, in its two copies, is at the most so many times as long.
const MANIFEST_PER_RECORD: u64 = 8;

/// What has to be held now, but for what is in memory.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Due {
    /// The runs of what no run covers.
    pub(crate) index: u64,
    /// Bytes in memory that no segment holds.
    pub(crate) data: u64,
    /// Bytes that lie in streams already; their footers and runs are still to come.
    pub(crate) streamed: u64,
}

/// The space held back for what is in memory.
pub(crate) struct Space {
    medium: Arc<dyn Medium>,
    /// For what the estimates leave out; upkeep may use it.
    spare: u64,
    /// For one more file of the journal's ring: upkeep takes it when the ring has to grow on a full disk, and the next
    /// opening finds it free. Nothing else may use it.
    ring: u64,
    held: Mutex<Held>,
    /// So many bytes of data in memory are covered by what is held; what most writes look at, without the lock.
    covered: AtomicU64,
}

#[derive(Default)]
struct Held {
    /// Bytes that the medium holds back.
    reserved: u64,
    /// Of these, for the ring.
    ring: u64,
    /// Bytes that were held and are given to objects that are being made.
    in_use: u64,
    /// Of these, what the index has of them that is being made: others may be finished meanwhile. Never more than was held
    /// for it.
    in_index: u64,
    /// What the runs of published blocks will take.
    index: u64,
    /// The newest manifest.
    manifest: u64,
    /// What it will be longer by: since it was described, and since the one before was.
    growth: [u64; 2],
    /// Bytes given to objects since it was last settled what is due.
    taken: u64,
    /// Data in memory that is still to come and has its room, if there is plenty: a store that is written to all the time asks the
    /// medium when it drains, and its writers do not.
    ahead: u64,
}

impl Held {
    /// What `data` bytes in memory, the runs of what is published and the next manifest will take.
    fn needed(&self, data: u64) -> u64 {
        let manifest = self.manifest + self.growth.iter().sum::<u64>();
        data + data / DATA_PER_INDEX + self.index + manifest.next_multiple_of(BLOCK_BYTES)
    }
}

impl Space {
    /// `manifest` bytes has the newest manifest, `records` those of the journal since.
    pub(crate) fn new(medium: Arc<dyn Medium>, file_bytes: u64, manifest: u64, records: u64) -> Self {
        let held = Held {
            manifest,
            growth: [records * MANIFEST_PER_RECORD, 0],
            ..Held::default()
        };
        Self {
            medium,
            spare: STEP_BYTES.min(file_bytes).max(SPARE_BYTES_MIN),
            ring: file_bytes,
            held: Mutex::new(held),
            covered: AtomicU64::new(0),
        }
    }

    fn constant(&self) -> u64 {
        self.spare + self.ring
    }

    /// Holds room for `data` bytes in memory; "no space" is the answer to the write, not a later surprise.
    ///
    /// Without the lock while what is held covers it. A write that looked just before less was held is not covered: one
    /// of each thread at the most, which the spare room is for; the next one finds it counted.
    pub(crate) fn hold(&self, data: u64) -> Result<()> {
        if self.covers(data) {
            return Ok(());
        }
        let mut held = self.held.lock();
        let result = self.hold_more(&mut held, data, "the write");
        self.tell(&held);
        result
    }

    /// Tells whether room for so much data is held already.
    pub(crate) fn covers(&self, data: u64) -> bool {
        data <= self.covered.load(Ordering::Relaxed)
    }

    /// Tells who only looks how much data is covered; called after every change of what is held or needed.
    fn tell(&self, held: &Held) {
        let others = held.needed(0) + self.constant();
        let left = (held.reserved + held.in_use).saturating_sub(others);
        let data = left / (DATA_PER_INDEX + 1) * DATA_PER_INDEX;
        self.covered.store(data, Ordering::Relaxed);
    }

    fn hold_more(&self, held: &mut Held, data: u64, what: &'static str) -> Result<()> {
        let needed = held.needed(data) + self.constant();
        let covered = held.reserved + held.in_use;
        if needed <= covered {
            return Ok(());
        }
        let step = STEP_BYTES.min(self.spare);
        for target in [needed.next_multiple_of(step), needed] {
            let target = target - held.in_use;
            match self.medium.reserve(target) {
                Ok(()) => {
                    held.reserved = target;
                    held.ring = self.ring.min(target);
                    return Ok(());
                }
                Err(error) if matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded) => {}
                Err(error) => return Err(StoreError::io("space for the store", "reserve", error)),
            }
        }
        Err(StoreError::NoSpace { what: what.into() })
    }

    /// Holds room for what the records of `what` will add to the manifest, with `data` bytes in memory.
    pub(crate) fn hold_records(&self, records: usize, data: u64, what: &'static str) -> Result<()> {
        let mut held = self.held.lock();
        let more = records as u64 * MANIFEST_PER_RECORD;
        held.growth[0] += more;
        let result = self.hold_more(&mut held, data, what);
        if result.is_err() {
            held.growth[0] -= more;
        }
        self.tell(&held);
        result
    }

    /// Takes note of what upkeep's own records will add to the manifest.
    pub(crate) fn add_records(&self, records: usize) {
        let mut held = self.held.lock();
        held.growth[0] += records as u64 * MANIFEST_PER_RECORD;
        self.tell(&held);
    }

    /// Gives room back for an object that is about to be written.
    pub(crate) fn use_for_object(&self, bytes: u64) -> Result<()> {
        let mut held = self.held.lock();
        self.take(&mut held, bytes, u64::MAX);
        self.let_go(&held)
    }

    /// As [`Space::use_for_object`], for the index that is being made: it gets what is held for new runs, and the spare
    /// room. What a merge copies beside has to find room that is free, not that of what is in memory.
    pub(crate) fn use_for_index(&self, bytes: u64) -> Result<()> {
        let mut held = self.held.lock();
        let share = (held.index + self.spare).saturating_sub(held.in_index);
        held.in_index += self.take(&mut held, bytes, share);
        self.let_go(&held)
    }

    /// Takes at most `most` from what is held for an object of so many bytes; returns how many it got.
    fn take(&self, held: &mut Held, bytes: u64, most: u64) -> u64 {
        debug_assert!(held.ring <= held.reserved);
        // Media allocate whole blocks. What is not held, the object has to find free.
        let free = held.reserved.saturating_sub(held.ring);
        let taken = bytes.next_multiple_of(BLOCK_BYTES).min(free).min(most);
        held.reserved -= taken;
        held.in_use += taken;
        held.taken += taken;
        self.tell(held);
        taken
    }

    /// Takes note that no index is being made any more.
    pub(crate) fn end_index(&self) {
        self.held.lock().in_index = 0;
    }

    /// As [`Space::use_for_object`], for a manifest: the next one will not be much longer.
    pub(crate) fn use_for_manifest(&self, bytes: u64) -> Result<()> {
        {
            let mut held = self.held.lock();
            held.manifest = bytes;
            // What came since this one was described is not in it; when that was is not known, so it counts once more.
            held.growth = [0, held.growth[0]];
        }
        self.use_for_object(bytes)
    }

    /// Gives back what is held for a file of the ring.
    pub(crate) fn use_for_ring(&self) -> Result<()> {
        let mut held = self.held.lock();
        held.reserved = held.reserved.saturating_sub(std::mem::take(&mut held.ring));
        self.tell(&held);
        self.let_go(&held)
    }

    fn let_go(&self, held: &Held) -> Result<()> {
        self.medium
            .reserve(held.reserved)
            .map_err(|e| StoreError::io("space of the store", "release", e))
    }

    /// Holds what is due, once no object but those of the index is being made, and where there is plenty of room as much ahead as was
    /// used lately. If there is not so much as is due, it holds what there is, which covers no more data: the next write has to find
    /// room first.
    pub(crate) fn settle(&self, due: Due) {
        let mut held = self.held.lock();
        // More than is due for the index now would pass for room of what is in memory.
        held.in_index = held.in_index.min(due.index + self.spare);
        held.in_use = due.streamed + held.in_index;
        held.index = due.index;
        let needed = |held: &Held, ahead: u64| {
            let needed = held.needed(due.data + due.streamed + ahead) + self.constant();
            needed.saturating_sub(held.in_use)
        };
        // A drain takes as long as the next one's blocks take to come, or longer; and between two of them others settle.
        let ahead = (2 * std::mem::take(&mut held.taken)).max(held.ahead / 2);
        let free = self.medium.free_bytes().unwrap_or(0);
        held.ahead = ahead.min(AHEAD_BYTES_MAX).min(free / FREE_PER_AHEAD);
        for target in [needed(&held, held.ahead), needed(&held, 0)] {
            if self.medium.reserve(target).is_ok() {
                held.reserved = target;
                held.ring = self.ring.min(target);
                return self.tell(&held);
            }
        }
        let needed = needed(&held, 0);
        let rest = needed.min(held.reserved.saturating_add(free / BLOCK_BYTES * BLOCK_BYTES));
        if rest > held.reserved && self.medium.reserve(rest).is_ok() {
            held.reserved = rest;
            // What lies in memory comes first: without its room it could not be flushed.
            held.ring = self.ring.min(rest.saturating_sub(needed - self.ring));
        }
        self.tell(&held);
    }

    /// Gives everything back.
    pub(crate) fn release(&self) {
        let mut held = self.held.lock();
        (held.reserved, held.ring) = (0, 0);
        self.tell(&held);
        // What stays held goes with the file when the store is opened again.
        let _ = self.medium.reserve(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::medium::Medium;
    use crate::medium::simulated::{Chooser, SimulatedMedium, SimulatedOptions};

    const MIB: u64 = 1 << 20;

    fn space(capacity: u64) -> (Arc<dyn Medium>, Space) {
        let options = SimulatedOptions {
            capacity: Some(capacity),
            write_once: false,
        };
        let medium: Arc<dyn Medium> = SimulatedMedium::new(options, Chooser::seeded(1)).start();
        (Arc::clone(&medium), Space::new(medium, 8 * MIB, 0, 0))
    }

    #[test]
    fn an_index_that_outgrows_its_room_takes_nobody_elses() {
        let (medium, space) = space(1 << 30);
        let due = Due {
            index: MIB,
            data: 16 * MIB,
            streamed: 0,
        };
        space.settle(due);
        for _ in 0..50 {
            space.use_for_index(MIB).expect("room");
            // Somebody drains in between.
            space.settle(due);
            let held = space.held.lock();
            assert!(held.ring == 8 * MIB && held.reserved >= held.ring + due.data);
        }
        let covered = 16 * MIB;
        assert!(space.covers(covered) && !space.covers(2 * covered));
        let free = medium.free_bytes().expect("told");
        assert!(free <= (1 << 30) - 8 * MIB - covered, "{free} bytes are free");
        space.end_index();
        space.use_for_object(covered).expect("room");
        space.use_for_ring().expect("the ring's file");
    }

    #[test]
    fn who_writes_all_the_time_finds_room_held_already() {
        let (medium, space) = space(1 << 30);
        space.hold(16 * MIB).expect("room");
        space.use_for_object(16 * MIB).expect("room");
        let due = Due {
            data: 12 * MIB,
            ..Due::default()
        };
        space.settle(due);
        assert!(space.covers(44 * MIB), "twice what was used, beside what is due");
        // What nobody uses is given back.
        for _ in 0..30 {
            space.settle(due);
        }
        assert!(space.covers(12 * MIB) && !space.covers(13 * MIB));
        assert!(medium.free_bytes().expect("told") > (1 << 30) - 26 * MIB);
    }

    #[test]
    fn where_room_is_scarce_none_is_held_ahead() {
        let (medium, space) = space(64 * MIB);
        space.hold(16 * MIB).expect("room");
        space.use_for_object(16 * MIB).expect("room");
        let free = medium.free_bytes().expect("told");
        space.settle(Due::default());
        let held_ahead = space.held.lock().ahead;
        assert!(held_ahead <= free / FREE_PER_AHEAD, "{held_ahead} of {free}");
    }

    #[test]
    fn what_is_held_for_the_ring_is_part_of_what_is_held() {
        let (_, space) = space(40 * MIB);
        space.hold(16 * MIB).expect("room");
        space.use_for_object(20 * MIB).expect("room");
        space.use_for_ring().expect("the ring's file");
        // What is given to an object is not free for the next write.
        for data in [17, 18, 40] {
            let _ = space.hold(data * MIB);
            let held = space.held.lock();
            assert!(held.ring <= held.reserved, "{} of {}", held.ring, held.reserved);
        }
        space.use_for_object(8 * MIB).expect("room");
        space.settle(Due::default());
        assert_eq!(space.held.lock().ring, 8 * MIB);
    }
}
