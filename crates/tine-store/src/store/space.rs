//! Space: a write is acknowledged only when the medium has room for it.
//!
//! What is held back covers everything in memory that no segment holds yet, its footers and runs, the next manifest,
//! and two constants: one that lets upkeep go on when the disk is full, and a file for the journal's ring.
//!
//! **Invariant:** what is held and what was given to objects that are being made cover together what is in memory. What an
//! object was given counts no longer than the blocks for which it was. Until it is written it looks free to the medium; so
//! whoever wants more held has to find more free than all of that, and a write that comes while a drain is under way cannot
//! take the drain's room.

use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering, fence};

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

/// What no segment of the store holds, in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Unstored {
    /// In memory.
    pub(crate) data: u64,
    /// In streams already; their footers and runs are still to come.
    pub(crate) streamed: u64,
}

impl Unstored {
    /// With so much more in memory.
    pub(crate) fn and(self, bytes: u64) -> Self {
        Self {
            data: self.data + bytes,
            ..self
        }
    }

    /// What all of it will take.
    fn needs(self) -> u64 {
        self.data + (self.data + self.streamed) / DATA_PER_INDEX
    }
}

/// What an object that is being made was given of what is held, until it is [written](ObjectRoom::written); else it is held
/// again, where that is possible.
#[must_use = "what is given has to be written"]
pub(crate) struct ObjectRoom<'a> {
    space: &'a Space,
    bytes: u64,
    user: User,
}

/// Who is given room.
#[derive(Clone, Copy, PartialEq, Eq)]
enum User {
    /// What moves what is in memory.
    Object,
    Index,
    /// The next one will need as much.
    Manifest,
    /// A large write that goes to a stream.
    Arriving,
    /// One more file of the journal's ring.
    Ring,
}

impl ObjectRoom<'_> {
    /// Takes note that the object has it. Returns how much of it counts for what is in memory, until that is
    /// [published](Space::published).
    pub(crate) fn written(mut self) -> u64 {
        let mut held = self.space.held.lock();
        held.unwritten -= self.bytes;
        let bytes = std::mem::take(&mut self.bytes);
        match self.user {
            User::Object => bytes,
            User::Index => 0,
            User::Manifest => {
                held.in_use = held.in_use.saturating_sub(bytes);
                self.space.tell(&held);
                0
            }
            User::Arriving => {
                held.arriving -= bytes;
                self.space.tell(&held);
                0
            }
            User::Ring => 0,
        }
    }
}

impl Drop for ObjectRoom<'_> {
    fn drop(&mut self) {
        if self.bytes == 0 {
            return;
        }
        let held = &mut *self.space.held.lock();
        held.unwritten -= self.bytes;
        match self.user {
            User::Arriving => held.arriving -= self.bytes,
            User::Ring => {}
            // Who settled meanwhile has not counted it.
            User::Object | User::Index | User::Manifest => {
                held.in_use = held.in_use.saturating_sub(self.bytes);
            }
        }
        if self.user == User::Index {
            held.in_index = held.in_index.saturating_sub(self.bytes);
        }
        let is_held = self.space.reserve(held, held.reserved + self.bytes).is_ok();
        if is_held && self.user == User::Ring {
            held.ring = self.space.ring.min(held.ring + self.bytes);
        }
        self.space.tell(held);
    }
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
    /// What is held or given for what is unstored; what most writes look at, without the lock.
    covered: AtomicU64,
}

#[derive(Default)]
struct Held {
    /// Bytes that the medium holds back.
    reserved: u64,
    /// Of these, for the ring.
    ring: u64,
    /// Bytes that were held and are given to objects that are being made, for what is counted as being in memory.
    in_use: u64,
    /// Of these, what the index has of them that is being made: others may be finished meanwhile. Never more than was held
    /// for it.
    in_index: u64,
    /// What is given and not written yet.
    unwritten: u64,
    /// Of this, large writes, which are not counted as streamed yet.
    arriving: u64,
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
    /// What the runs of what is published and the next manifest will take.
    fn needed(&self) -> u64 {
        let manifest = self.manifest + self.growth.iter().sum::<u64>();
        self.arriving / DATA_PER_INDEX + self.index + manifest.next_multiple_of(BLOCK_BYTES)
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

    /// Holds room for what is unstored; "no space" is the answer to the write, not a later surprise.
    ///
    /// Without the lock while what is held covers it.
    pub(crate) fn hold(&self, unstored: Unstored) -> Result<()> {
        if self.covers(unstored) {
            return Ok(());
        }
        let mut held = self.held.lock();
        let result = self.hold_more(&mut held, unstored.needs(), "the write");
        self.tell(&held);
        result
    }

    /// Tells whether room for so much is held already. Who asks for a write has counted it as unstored before.
    pub(crate) fn covers(&self, unstored: Unstored) -> bool {
        fence(Ordering::SeqCst);
        unstored.needs() <= self.covered.load(Ordering::Relaxed)
    }

    /// Tells who only looks how much is covered; called after every change of what is held or needed.
    fn tell(&self, held: &Held) {
        let others = held.needed() + self.constant();
        let left = (held.reserved + held.in_use).saturating_sub(others);
        self.covered.store(left, Ordering::Relaxed);
    }

    /// What will be taken by what is unstored and so much ahead, for who is about to hold less, with the lock.
    ///
    /// Tells first that no more than that is covered: a write that looks later sees this, and one that looked before is counted
    /// in what is unstored when it is read again.
    fn due(&self, unstored: impl Fn() -> Unstored, ahead: u64) -> u64 {
        let told = unstored().and(ahead).needs();
        self.covered.fetch_min(told, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        unstored().and(ahead).needs().max(told)
    }

    fn hold_more(&self, held: &mut Held, bytes: u64, what: &'static str) -> Result<()> {
        let needed = bytes + held.needed() + self.constant();
        let covered = held.reserved + held.in_use;
        if needed <= covered {
            return Ok(());
        }
        let step = STEP_BYTES.min(self.spare);
        for target in [needed.next_multiple_of(step), needed] {
            let target = target - held.in_use;
            match self.reserve(held, target) {
                Ok(()) => {
                    held.ring = self.ring.min(target);
                    return Ok(());
                }
                Err(error) if matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded) => {}
                Err(error) => return Err(StoreError::io("space for the store", "reserve", error)),
            }
        }
        Err(StoreError::NoSpace { what: what.into() })
    }

    /// Holds room for what the records of `what` will add to the manifest, beside what is unstored.
    pub(crate) fn hold_records(
        &self,
        records: usize,
        unstored: impl Fn() -> Unstored,
        what: &'static str,
    ) -> Result<()> {
        let mut held = self.held.lock();
        let more = records as u64 * MANIFEST_PER_RECORD;
        held.growth[0] += more;
        let due = self.due(unstored, 0);
        let result = self.hold_more(&mut held, due, what);
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

    /// Has so many bytes held, if there is room for them beside what others were given.
    fn reserve(&self, held: &mut Held, target: u64) -> io::Result<()> {
        let more = target.saturating_sub(held.reserved);
        if more > 0 && held.unwritten > 0 && self.medium.free_bytes()? < more.saturating_add(held.unwritten) {
            return Err(ErrorKind::StorageFull.into());
        }
        self.medium.reserve(target)?;
        held.reserved = target;
        Ok(())
    }

    /// Gives room for an object that is about to be written. What is not held, the object has to find free.
    pub(crate) fn use_for_object(&self, bytes: u64) -> Result<ObjectRoom<'_>> {
        self.take(&mut self.held.lock(), bytes, u64::MAX, User::Object)
    }

    /// As [`Space::use_for_object`], for the index that is being made: it gets what is held for new runs, and the spare
    /// room. What a merge copies beside has to find room that is free, not that of what is in memory.
    pub(crate) fn use_for_index(&self, bytes: u64) -> Result<ObjectRoom<'_>> {
        let mut held = self.held.lock();
        let share = (held.index + self.spare).saturating_sub(held.in_index);
        self.take(&mut held, bytes, share, User::Index)
    }

    /// Holds room as [`Space::hold`] for a large write beside what is unstored, and gives it to that at once: what is held for
    /// others is not there for it.
    pub(crate) fn use_for_arriving(
        &self,
        unstored: impl Fn() -> Unstored,
        bytes: u64,
    ) -> Result<ObjectRoom<'_>> {
        let mut held = self.held.lock();
        let arriving = Unstored::default().and(bytes).needs() + 1;
        let due = self.due(unstored, 0);
        let result = self.hold_more(&mut held, due + arriving, "the write");
        if result.is_err() {
            self.tell(&held);
        }
        result?;
        self.take(&mut held, bytes, u64::MAX, User::Arriving)
    }

    /// Takes at most `most` from what is held for an object of so many bytes.
    fn take(&self, held: &mut Held, bytes: u64, most: u64, user: User) -> Result<ObjectRoom<'_>> {
        debug_assert!(held.ring <= held.reserved);
        // Media allocate whole blocks.
        let free = held.reserved.saturating_sub(held.ring);
        let bytes = bytes.next_multiple_of(BLOCK_BYTES).min(free).min(most);
        self.let_go(held, bytes)?;
        held.unwritten += bytes;
        held.taken += bytes;
        match user {
            User::Object | User::Manifest => held.in_use += bytes,
            User::Index => {
                held.in_use += bytes;
                held.in_index += bytes;
            }
            User::Arriving => held.arriving += bytes,
            User::Ring => {}
        }
        self.tell(held);
        Ok(ObjectRoom {
            space: self,
            bytes,
            user,
        })
    }

    /// Takes note that what an object was given `bytes` for is about to be counted as stored, or that the object is about to be
    /// removed; before it is.
    pub(crate) fn end_given(&self, bytes: u64) {
        let mut held = self.held.lock();
        held.in_use = held.in_use.saturating_sub(bytes);
        self.tell(&held);
    }

    /// Takes note that no index is being made any more; one that is about to be removed stands for nothing.
    pub(crate) fn end_index(&self, is_finished: bool) {
        let mut held = self.held.lock();
        let bytes = std::mem::take(&mut held.in_index);
        if !is_finished {
            held.in_use = held.in_use.saturating_sub(bytes);
            self.tell(&held);
        }
    }

    /// As [`Space::use_for_object`], for a manifest: the next one will not be much longer.
    pub(crate) fn use_for_manifest(&self, bytes: u64) -> Result<ObjectRoom<'_>> {
        let mut held = self.held.lock();
        held.manifest = bytes;
        // What came since this one was described is not in it; when that was is not known, so it counts once more.
        held.growth = [0, held.growth[0]];
        self.take(&mut held, bytes, u64::MAX, User::Manifest)
    }

    /// Gives what is held for a file of the ring to that.
    pub(crate) fn use_for_ring(&self) -> Result<ObjectRoom<'_>> {
        let held = &mut *self.held.lock();
        let bytes = held.ring;
        self.let_go(held, bytes)?;
        held.ring = 0;
        held.unwritten += bytes;
        self.tell(held);
        Ok(ObjectRoom {
            space: self,
            bytes,
            user: User::Ring,
        })
    }

    /// Lets go of some of what is held.
    fn let_go(&self, held: &mut Held, bytes: u64) -> Result<()> {
        let rest = held.reserved.saturating_sub(bytes);
        self.medium
            .reserve(rest)
            .map_err(|e| StoreError::io("space of the store", "release", e))?;
        held.reserved = rest;
        Ok(())
    }

    /// Holds what is due, once no object but those of the index is being made: for what is unstored, and `index` bytes for the runs
    /// of what no run covers; and where there is plenty of room as much ahead as was used lately. If there is not so much as is
    /// due, it holds what there is, which covers no more data: the next write has to find room first.
    pub(crate) fn settle(&self, unstored: impl Fn() -> Unstored, index: u64) {
        let held = &mut *self.held.lock();
        // More than is due for the index now would pass for room of what is in memory.
        held.in_index = held.in_index.min(index + self.spare);
        held.in_use = held.in_index;
        held.index = index;
        let target =
            |held: &Held, due: u64| (due + held.needed() + self.constant()).saturating_sub(held.in_use);
        // A drain takes as long as the next one's blocks take to come, or longer; and between two of them others settle.
        let ahead = (2 * std::mem::take(&mut held.taken)).max(held.ahead / 2);
        let free = self.medium.free_bytes().unwrap_or(0);
        held.ahead = ahead.min(AHEAD_BYTES_MAX).min(free / FREE_PER_AHEAD);
        for ahead in [held.ahead, 0] {
            let target = target(held, self.due(&unstored, ahead));
            if self.reserve(held, target).is_ok() {
                held.ring = self.ring.min(target);
                return self.tell(held);
            }
        }
        // Until it is known, what is held covers nothing.
        self.covered.store(0, Ordering::Relaxed);
        let target = target(held, self.due(&unstored, 0));
        let free = free.saturating_sub(held.unwritten) / BLOCK_BYTES * BLOCK_BYTES;
        let rest = target.min(held.reserved.saturating_add(free));
        if rest > held.reserved {
            let _ = self.reserve(held, rest);
        }
        // What lies in memory comes before the ring: without its room it could not be flushed.
        held.ring = self.ring.min(held.reserved.saturating_sub(target - self.ring));
        self.tell(held);
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

    fn data(data: u64) -> Unstored {
        Unstored { data, streamed: 0 }
    }

    #[test]
    fn an_index_that_outgrows_its_room_takes_nobody_elses() {
        let (medium, space) = space(1 << 30);
        let due = data(16 * MIB);
        space.settle(|| due, MIB);
        for _ in 0..50 {
            space.use_for_index(MIB).expect("room").written();
            // Somebody drains in between.
            space.settle(|| due, MIB);
            let held = space.held.lock();
            assert!(held.ring == 8 * MIB && held.reserved >= held.ring + due.data);
        }
        let covered = 16 * MIB;
        assert!(space.covers(data(covered)) && !space.covers(data(2 * covered)));
        let free = medium.free_bytes().expect("told");
        assert!(free <= (1 << 30) - 8 * MIB - covered, "{free} bytes are free");
        space.end_index(true);
        space.use_for_object(covered).expect("room").written();
        space.use_for_ring().expect("the ring's file").written();
    }

    #[test]
    fn what_an_object_was_given_and_has_not_written_is_not_there_for_the_next_write() {
        let (medium, space) = space(36 * MIB);
        space.hold(data(16 * MIB)).expect("room");
        let free = medium.free_bytes().expect("told");
        let room = space.use_for_object(16 * MIB).expect("room");
        assert!(matches!(
            space.hold(data(24 * MIB)),
            Err(StoreError::NoSpace { .. })
        ));
        assert_eq!(medium.free_bytes().expect("told"), free + 16 * MIB, "it is there");
        // It was not written: then it is held again.
        drop(room);
        assert_eq!(medium.free_bytes().expect("told"), free);
        assert!(space.covers(data(16 * MIB)));
        let held = space.held.lock();
        assert_eq!((held.in_use, held.unwritten), (0, 0));
    }

    #[test]
    fn what_the_ring_was_given_is_not_there_for_the_next_write() {
        let (medium, space) = space(36 * MIB);
        space.hold(data(16 * MIB)).expect("room");
        let free = medium.free_bytes().expect("told");
        let room = space.use_for_ring().expect("room");
        assert_eq!(medium.free_bytes().expect("told"), free + 8 * MIB, "it is there");
        assert!(matches!(
            space.hold(data(20 * MIB)),
            Err(StoreError::NoSpace { .. })
        ));
        drop(room);
        assert_eq!(medium.free_bytes().expect("told"), free);
        assert_eq!(space.held.lock().ring, 8 * MIB, "held again");
    }

    #[test]
    fn what_a_removed_object_was_given_covers_nothing_any_more() {
        let (_, space) = space(256 * MIB);
        space.hold(data(16 * MIB)).expect("room");
        let given = space.use_for_object(16 * MIB).expect("room").written();
        assert!(space.covers(data(16 * MIB)), "it stands for what is in memory");
        space.end_given(given);
        assert!(!space.covers(data(8 * MIB)));
        space.hold(data(17 * MIB)).expect("room for that and one more");
        let held = space.held.lock().reserved;
        assert!(held >= (17 + 8) * MIB, "{held} for all of it and the ring");
    }

    #[test]
    fn two_large_writes_at_once_are_not_given_the_same_room() {
        let (medium, space) = space(32 * MIB);
        space.hold(data(4 * MIB)).expect("room");
        let first = space.use_for_arriving(|| data(4 * MIB), 12 * MIB).expect("room");
        let second = space.use_for_arriving(|| data(4 * MIB), 12 * MIB);
        assert!(matches!(second, Err(StoreError::NoSpace { .. })));
        // Others may settle meanwhile.
        space.settle(|| data(4 * MIB), 0);
        let held = space.held.lock().reserved;
        assert!(
            held >= 16 * MIB,
            "{held} for what is in memory, the ring and the rest"
        );
        assert!(medium.free_bytes().expect("told") >= 12 * MIB, "for the first");
        first.written();
        let held = space.held.lock();
        assert_eq!((held.unwritten, held.arriving), (0, 0));
    }

    #[test]
    fn a_write_that_comes_while_less_is_about_to_be_held_is_counted_or_finds_less() {
        let (_, space) = space(256 * MIB);
        space.settle(|| data(64 * MIB), 0);
        // A writer counts its block and looks for room at any moment: `looks` of those whose turn it is to hold less.
        type HoldLess = fn(&Space, &dyn Fn() -> Unstored);
        let ways: [HoldLess; 3] = [
            |space, unstored| space.settle(unstored, 0),
            |space, unstored| drop(space.use_for_arriving(unstored, 32 * MIB).expect("room")),
            |space, unstored| space.hold_records(5 << 20, unstored, "many").expect("room"),
        ];
        for hold_less in ways {
            for moment in 0..2 {
                space.settle(|| data(64 * MIB), 0);
                let (looks, written) = (std::cell::Cell::new(0), std::cell::Cell::new(0));
                hold_less(&space, &|| {
                    let unstored = data(4 * MIB + written.get());
                    if looks.replace(looks.get() + 1) == moment && space.covers(unstored.and(32 * MIB)) {
                        written.set(32 * MIB);
                    }
                    unstored
                });
                let acknowledged = data(4 * MIB + written.get());
                assert!(space.covers(acknowledged), "{acknowledged:?} at {moment}");
            }
        }
    }

    #[test]
    fn who_writes_all_the_time_finds_room_held_already() {
        let (medium, space) = space(1 << 30);
        space.hold(data(16 * MIB)).expect("room");
        space.use_for_object(16 * MIB).expect("room").written();
        let due = data(12 * MIB);
        space.settle(|| due, 0);
        assert!(
            space.covers(data(44 * MIB)),
            "twice what was used, beside what is due"
        );
        // What nobody uses is given back.
        for _ in 0..30 {
            space.settle(|| due, 0);
        }
        assert!(space.covers(data(12 * MIB)) && !space.covers(data(13 * MIB)));
        assert!(medium.free_bytes().expect("told") > (1 << 30) - 26 * MIB);
    }

    #[test]
    fn where_room_is_scarce_none_is_held_ahead() {
        let (medium, space) = space(64 * MIB);
        space.hold(data(16 * MIB)).expect("room");
        space.use_for_object(16 * MIB).expect("room").written();
        let free = medium.free_bytes().expect("told");
        space.settle(Unstored::default, 0);
        let held_ahead = space.held.lock().ahead;
        assert!(held_ahead <= free / FREE_PER_AHEAD, "{held_ahead} of {free}");
    }

    #[test]
    fn what_is_held_for_the_ring_is_part_of_what_is_held() {
        let (_, space) = space(40 * MIB);
        space.hold(data(16 * MIB)).expect("room");
        space.use_for_object(20 * MIB).expect("room").written();
        space.use_for_ring().expect("the ring's file").written();
        // What is given to an object is not free for the next write.
        for more in [17, 18, 40] {
            let _ = space.hold(data(more * MIB));
            let held = space.held.lock();
            assert!(held.ring <= held.reserved, "{} of {}", held.ring, held.reserved);
        }
        space.use_for_object(8 * MIB).expect("room").written();
        space.settle(Unstored::default, 0);
        assert_eq!(space.held.lock().ring, 8 * MIB);
    }
}
