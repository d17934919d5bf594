//! Upkeep: what keeps buffer, journal and space within their bounds.
//!
//! One lock serialises it, whoever does the work: the store's own thread early on, or the writer that has met a bound.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use crate::block::BLOCK_BYTES;
use crate::codec::Encoder;
use crate::error::{Result, StoreError};
use crate::journal::commit::{Item, Priority, Refused, Ticket};
use crate::journal::record::Record;
use crate::options::UpkeepMode;
use crate::store::checkpoint::Merging;
use crate::store::durable::Effect;
use crate::store::pace::{Clock, Level, Pacer};
use crate::store::reader::leased;
use crate::store::space::{ObjectRoom, Unstored};
use crate::store::stretch::Stretch;
use crate::store::{Engine, Store};

/// Checkpoints in a row that may free nothing of a journal that is full, before that is an error.
const STUCK_MAX: u32 = 16;

/// Segments that one frame says are removed.
const REMOVALS_AT_ONCE: usize = 256;

/// What a run takes beside its extents, and an extent of one block in it, at the most.
const RUN_BYTES: u64 = 64;
/// With a word of the set of written blocks.
const EXTENT_BYTES: u64 = 64;

/// What a cleared range in memory takes of a footer and of a run, at the most.
const CLEARED_BYTES: u64 = 24 + EXTENT_BYTES;

/// So many cleared ranges need no room of their own: they go into what is spare.
const CLEARED_SPARE_MAX: u64 = 4096;

/// The medium may keep what makes it quick until nothing was to be done for so long.
const IDLE: Duration = Duration::from_secs(2);
/// Then it gives that back in pieces, with such pauses: somebody may write again.
const IDLE_STEP: Duration = Duration::from_millis(50);

/// The right to do upkeep: whoever holds the lock has it.
#[derive(Default)]
pub(crate) struct Upkeep;

/// Slows writers down, each for one thing that they fill.
#[derive(Default)]
pub(crate) struct Pacers {
    pub(crate) buffer: Pacer,
    pub(crate) journal: Pacer,
    pub(crate) debt: Pacer,
    /// Of what is done to several branches at once.
    pub(crate) of_several: Clock,
}

/// Wakes the thread.
#[derive(Default)]
pub(crate) struct Signal {
    /// Woken and not yet awake: then there is nothing to do for who wakes.
    asked: AtomicBool,
    state: Mutex<SignalState>,
    changed: Condvar,
}

/// Why the thread goes on.
enum Wake {
    Asked,
    /// Nobody asked for as long as it would wait.
    Idle,
    Stopped,
}

#[derive(Default)]
struct SignalState {
    woken: bool,
    stopped: bool,
}

impl Signal {
    /// Returns false if the thread was woken already.
    fn wake(&self) -> bool {
        if self.asked.load(Ordering::Relaxed) || self.asked.swap(true, Ordering::AcqRel) {
            return false;
        }
        self.state.lock().woken = true;
        self.changed.notify_one();
        true
    }

    fn stop(&self) {
        self.state.lock().stopped = true;
        self.changed.notify_one();
    }

    /// Waits to be woken, no longer than `most` if there is such a bound.
    fn wait(&self, most: Option<Duration>) -> Wake {
        let mut state = self.state.lock();
        let until = most.map(|most| Instant::now() + most);
        while !state.woken && !state.stopped {
            match until {
                None => self.changed.wait(&mut state),
                Some(until) if self.changed.wait_until(&mut state, until).timed_out() => break,
                Some(_) => {}
            }
        }
        if state.stopped {
            return Wake::Stopped;
        }
        if !std::mem::take(&mut state.woken) {
            return Wake::Idle;
        }
        // Before the bounds are looked at: what comes after this look asks again.
        self.asked.store(false, Ordering::Release);
        Wake::Asked
    }
}

/// The body of the store's own thread.
///
/// An error is not reported from here: it is met again, and then reported, by the writer that runs into the bound.
pub(crate) fn run(engine: &Engine) {
    let mut patience = None;
    loop {
        match engine.signal.wait(patience) {
            Wake::Stopped => return,
            Wake::Idle => {
                patience = engine.medium.give_back().then_some(IDLE_STEP);
                continue;
            }
            Wake::Asked => patience = Some(IDLE),
        }
        let mut upkeep = engine.upkeep.lock();
        let _ = engine.drain_if_due(&mut upkeep);
        let merge = engine.index.take_merge();
        if merge || engine.journal.is_half_full() || engine.debt_level().is_above_soft() {
            let _ = engine.checkpoint(&mut upkeep, Merging::Paced);
        }
        let _ = engine.reclaim(&mut upkeep);
    }
}

impl Engine {
    /// Lets the store's own thread look at the bounds; it is started by the first call.
    pub(crate) fn wake_thread(&self) {
        if !self.signal.wake() {
            return;
        }
        let mut thread = self.thread.lock();
        if thread.is_none()
            && let Some(engine) = self.me.upgrade()
        {
            // Without a thread the writers do the work when they meet a bound.
            let builder = std::thread::Builder::new().name("tine-upkeep".into());
            *thread = builder.spawn(move || run(&engine)).ok();
        }
    }

    /// Ends the thread when it has finished what it is at.
    pub(crate) fn stop_thread(&self) {
        self.signal.stop();
        let thread = self.thread.lock().take();
        if let Some(thread) = thread {
            // A panic of the thread has poisoned what it held; there is nothing more to do about it here.
            let _ = thread.join();
        }
    }

    /// Bytes of blocks in memory that no segment holds.
    pub(crate) fn buffered_bytes(&self) -> u64 {
        self.buffered.held()
    }

    /// What no segment of the store holds, with what the cleared ranges will take of footers and runs.
    pub(super) fn unstored(&self) -> Unstored {
        Unstored {
            data: self.buffered_bytes() + self.cleared_bytes(),
            streamed: self.streamed_bytes(),
        }
    }

    fn cleared_bytes(&self) -> u64 {
        self.buffered.cleared().saturating_sub(CLEARED_SPARE_MAX) * CLEARED_BYTES
    }

    /// Holds the room that is needed now, and counts the debt: after something was stored, saved or given back.
    pub(crate) fn settle_space(&self) {
        let index = self.index_bytes_due();
        self.space.settle(|| self.unstored(), index);
    }

    /// Tells whether what is in memory has its room on the medium.
    pub(crate) fn has_room(&self) -> bool {
        self.space.covers(self.unstored())
    }

    /// Holds room on the medium for a write of so many bytes beside what is in memory.
    pub(crate) fn hold_room(&self, bytes: u64) -> Result<()> {
        self.hold_space(|| self.space.hold(self.unstored().and(bytes)))
    }

    /// Returns about what the runs of the next checkpoint will take at the most.
    fn index_bytes_due(&self) -> u64 {
        let mut blocks = 0;
        let due = |stretch: &Arc<Stretch>| {
            let state = stretch.state.lock();
            let parts = state.parts.iter().map(|published| {
                let part = &published.part;
                blocks += part.blocks.len() as u64;
                RUN_BYTES + EXTENT_BYTES * (part.blocks.len() + part.tombstones.len()) as u64
            });
            let parts: u64 = parts.sum();
            // The set of written blocks is written anew as a whole.
            let written = state.written_at.filter(|_| !state.parts.is_empty());
            parts + written.map_or(0, |at| u64::from(at.bytes))
        };
        let bytes = self.catalog.lock().stretches.values().map(due).sum();
        self.uncovered.store(blocks * BLOCK_BYTES, Ordering::Relaxed);
        bytes
    }

    /// Bytes of memory for what no segment holds; the store's own thread drains above the soft bound.
    pub(crate) fn buffer_level(&self) -> Level {
        Level {
            now: self.buffered.in_use(),
            soft: self.buffer_bytes / 4,
            hard: self.buffer_bytes,
        }
    }

    /// Bytes in segments that no root covers, as of the last drain or checkpoint.
    pub(crate) fn debt_level(&self) -> Level {
        Level {
            now: self.uncovered.load(Ordering::Relaxed),
            soft: self.bounds.debt_soft,
            hard: self.bounds.debt_hard,
        }
    }

    /// Drains what is above its soft bound.
    pub(crate) fn drain_if_due(&self, upkeep: &mut Upkeep) -> Result<()> {
        if self.buffer_level().is_above_soft() {
            self.make_buffer_empty(upkeep)?;
        } else if self.has_many_streams() {
            self.drain_streams(upkeep)?;
        }
        Ok(())
    }

    /// Drains everything, and takes note of how long that took.
    fn make_buffer_empty(&self, upkeep: &mut Upkeep) -> Result<()> {
        let (begun, before) = (Instant::now(), self.medium_written.load(Ordering::Relaxed));
        self.drain_all(upkeep)?;
        let stored = self.medium_written.load(Ordering::Relaxed) - before;
        self.pacers.buffer.note(stored, begun.elapsed());
        Ok(())
    }

    /// Slows down who is about to write, if the buffer or the debt is above its soft bound.
    fn pace_writer(&self, clock: &Clock, bytes: u64) {
        let (buffer, debt) = (self.buffer_level(), self.debt_level());
        if buffer.now + bytes > buffer.soft || debt.is_above_soft() {
            self.wake_thread();
            let slowing = buffer.slowing_from_halfway();
            self.pacers.buffer.pace(clock, bytes, slowing);
            self.pacers.debt.pace(clock, bytes, debt);
        }
    }

    /// Tells whether there is room for a write in memory and on the medium and nobody slows it down; if so, it is on the clock.
    pub(crate) fn adds_at_once(&self, clock: &Clock, bytes: u64) -> bool {
        let (buffer, debt) = (self.buffer_level(), self.debt_level());
        if buffer.now + bytes > buffer.hard || !self.space.covers(self.unstored().and(bytes)) {
            return false;
        }
        if buffer.now + bytes <= buffer.soft && !debt.is_above_soft() {
            return true;
        }
        if self.mode == UpkeepMode::Inline {
            return !debt.is_above_soft();
        }
        self.wake_thread();
        if debt.now > debt.hard {
            return false;
        }
        let delay = self.pacers.buffer.delay(bytes, buffer.slowing_from_halfway());
        clock.passes(delay + self.pacers.debt.delay(bytes, debt))
    }

    /// Makes room for a write in memory and on the medium; may drain. Takes no lock while there is room: what is in memory
    /// can then pass the bound by as many writes as there are threads that looked at once, each of a piece at the most.
    /// What writes no block (0 bytes) needs no room on
    /// the medium: discarding is what a full disk needs.
    pub(crate) fn make_buffer_room(&self, clock: &Clock, bytes: u64) -> Result<()> {
        self.check_writable()?;
        if self.mode == UpkeepMode::Background {
            self.pace_writer(clock, bytes);
        }
        let is_full = || self.buffered.in_use() + bytes > self.buffer_bytes;
        if is_full() {
            self.relieved(|| !is_full(), |upkeep| self.make_buffer_empty(upkeep))?;
        }
        self.pay_debt()?;
        if bytes > 0 {
            return self.hold_room(bytes);
        }
        // On a full disk what is cleared is drained while the spare room is enough for it.
        if self.buffered.cleared() > CLEARED_SPARE_MAX && self.space.hold(self.unstored()).is_err() {
            let mut upkeep = self.upkeep.lock();
            self.with_dead_space(&mut upkeep, |upkeep| self.make_buffer_empty(upkeep))?;
        }
        Ok(())
    }

    /// Slows down who is about to write past the buffer, if the debt is above its soft bound; above the hard one it is paid
    /// first.
    pub(crate) fn keep_debt_bounded(&self, clock: &Clock, bytes: u64) -> Result<()> {
        if self.mode == UpkeepMode::Background {
            let debt = self.debt_level();
            if debt.is_above_soft() {
                self.wake_thread();
                self.pacers.debt.pace(clock, bytes, debt);
            }
        }
        self.pay_debt()
    }

    /// Saves the index if the debt is above the bound at which writers have to.
    fn pay_debt(&self) -> Result<()> {
        let has_debt = || {
            let debt = self.debt_level();
            match self.mode {
                UpkeepMode::Background => debt.now > debt.hard,
                UpkeepMode::Inline => debt.is_above_soft(),
            }
        };
        if has_debt() {
            let mut upkeep = self.upkeep.lock();
            if has_debt() {
                self.checkpoint(&mut upkeep, Merging::Paced)?;
            }
        }
        Ok(())
    }

    /// Holds room on the medium for what a user's records will add to the manifest.
    pub(crate) fn make_record_room(&self, records: usize, what: &'static str) -> Result<()> {
        self.hold_space(|| self.space.hold_records(records, || self.unstored(), what))
    }

    /// Holds room on the medium for a large write of so many bytes, and gives it to that.
    pub(super) fn hold_arriving(&self, bytes: u64) -> Result<ObjectRoom<'_>> {
        self.hold_space(|| self.space.use_for_arriving(|| self.unstored(), bytes))
    }

    fn hold_space<T>(&self, hold: impl Fn() -> Result<T>) -> Result<T> {
        match hold() {
            Err(StoreError::NoSpace { .. }) => {
                // What was dropped may not have been given back yet, and a drain may hold what it does not need.
                let mut upkeep = self.upkeep.lock();
                self.reclaim(&mut upkeep)?;
                self.settle_space();
                match hold() {
                    Err(StoreError::NoSpace { .. }) if self.find_dead(&mut upkeep)? => hold(),
                    result => result,
                }
            }
            result => result,
        }
    }

    /// Merges all runs, so that every block that was overwritten is known to be dead, and gives back what comes free of
    /// that; false if nothing was stored since that was done last.
    fn find_dead(&self, upkeep: &mut Upkeep) -> Result<bool> {
        let stored = self.medium_written.load(Ordering::Relaxed);
        if self.dead_found_at.swap(stored, Ordering::Relaxed) == stored {
            return Ok(false);
        }
        match self.checkpoint(upkeep, Merging::Deep) {
            // Then the write has to wait for what others give back.
            Ok(()) | Err(StoreError::NoSpace { .. }) => {}
            Err(error) => return Err(error),
        }
        let stored = self.medium_written.load(Ordering::Relaxed);
        self.dead_found_at.store(stored, Ordering::Relaxed);
        Ok(true)
    }

    /// Does a step of upkeep; without space for it, once more after dead space was given back (rule 19).
    pub(crate) fn with_dead_space<T>(
        &self,
        upkeep: &mut Upkeep,
        step: impl Fn(&mut Upkeep) -> Result<T>,
    ) -> Result<T> {
        let result = step(upkeep);
        if let Err(StoreError::NoSpace { .. }) = result {
            let before = self.segments.count();
            self.reclaim(upkeep)?;
            self.settle_space();
            if self.segments.count() < before {
                return step(upkeep);
            }
        }
        result
    }

    /// Frees files of the journal's ring for a user's frame of so many bytes.
    pub(crate) fn make_journal_room(&self, bytes: u64) -> Result<()> {
        let mut upkeep = self.upkeep.lock();
        // Of all who wait for the lock the first makes room for the others.
        if self.journal.has_room(bytes, Priority::User) {
            return Ok(());
        }
        let oldest = || {
            self.journal
                .with_ring(|ring| ring.log().front().map(|logged| logged.frame))
        };
        let before = oldest();
        self.checkpoint(&mut upkeep, Merging::Paced)?;
        // A journal that nothing frees would be waited for without end.
        let stuck = oldest() == before && !self.journal.has_room(bytes, Priority::User);
        let times = if stuck {
            self.stuck.fetch_add(1, Ordering::Relaxed)
        } else {
            self.stuck.swap(0, Ordering::Relaxed)
        };
        if times >= STUCK_MAX {
            return Err(StoreError::damaged(
                "the journal: its oldest frame is needed although everything was saved",
            ));
        }
        Ok(())
    }

    /// Adds a file to the ring for upkeep's frame of so many bytes, on a full disk out of what is held for that.
    pub(crate) fn grow_ring(&self, bytes: u64) -> Result<()> {
        match self.journal.grow(bytes) {
            Err(StoreError::NoSpace { .. }) => {
                let room = self.space.use_for_ring()?;
                self.journal.grow(bytes)?;
                room.written();
                Ok(())
            }
            result => result,
        }
    }

    /// Called without any lock after a commit of what is not to be slowed down.
    pub(crate) fn after_record(&self) {
        self.after_commit(&self.pacers.of_several, 0);
    }

    /// Called after a commit of so many bytes, without any lock.
    pub(crate) fn after_commit(&self, clock: &Clock, bytes: u64) {
        if self.journal.is_half_full() || self.debt_level().is_above_soft() {
            match self.mode {
                UpkeepMode::Background => {
                    self.wake_thread();
                    let level = self.journal.level().slowing_from_halfway();
                    self.pacers.journal.pace(clock, bytes, level);
                }
                // An error is met again by the frame that finds no room.
                UpkeepMode::Inline => {
                    // Whoever holds the lock is at it already.
                    if let Some(mut upkeep) = self.upkeep.try_lock() {
                        drop(self.checkpoint(&mut upkeep, Merging::Paced));
                    }
                }
            }
        }
    }

    /// Lets go what no reader can reach any more: stretches that were dropped, blocks that died.
    fn bury(&self) {
        let mut catalog = self.catalog.lock();
        catalog.release_departed(&self.segments);
        if self.has_deaths.swap(false, Ordering::Relaxed) {
            let mut left = false;
            for stretch in catalog.stretches.values() {
                left |= stretch.state.lock().bury(&self.segments);
            }
            if left {
                self.has_deaths.store(true, Ordering::Relaxed);
            }
        }
    }

    /// Gives back the segments that nothing refers to any more and nobody reads.
    pub(crate) fn reclaim(&self, upkeep: &mut Upkeep) -> Result<()> {
        self.close_departed_streams();
        if !self.medium.can_overwrite() {
            return Ok(());
        }
        self.check_writable()?;
        self.bury();
        if self.segments.unused().is_empty() {
            return Ok(());
        }
        // While it cannot be told who reads, all stays. What stays is met again by the next reclaim, of whatever process.
        let Ok(leased) = leased(&*self.medium) else {
            return Ok(());
        };
        let mut unused = self.segments.take_unused(&leased);
        let any = !unused.is_empty();
        while !unused.is_empty() {
            let rest = unused.split_off(unused.len().min(REMOVALS_AT_ONCE));
            let chunk = std::mem::replace(&mut unused, rest);
            let mut records = Encoder::default();
            for segment in chunk.iter().map(|taken| taken.id) {
                Record::SegmentRemoved { segment }.encode(&mut records);
            }
            let effects = chunk.iter().map(|taken| Effect::Remove(taken.id)).collect();
            let item = Item {
                records: records.bytes,
                effects,
                ..Item::default()
            };
            match self.enqueue_upkeep(item) {
                Ok(ticket) => {
                    self.wait(ticket)?;
                    self.remove_dead_segments(upkeep);
                }
                Err(error) => {
                    self.segments.put_back(chunk.into_iter().chain(unused));
                    return Err(error);
                }
            }
        }
        if any {
            self.sync_removals();
            self.settle_space();
        }
        Ok(())
    }

    /// Removes the objects of segments that are durably no part of the store. Each may take the medium long, so who waits for
    /// a drain gets half of the time.
    fn remove_dead_segments(&self, upkeep: &mut Upkeep) {
        let mut works_until = Instant::now();
        while self.remove_dead_segment() {
            let begun = Instant::now();
            if self.mode == UpkeepMode::Background && begun >= works_until && self.is_drain_due() {
                // They meet an error again, and report it.
                let _ = self.give_way(upkeep);
                works_until = Instant::now() + begun.elapsed();
            }
        }
    }

    /// Queues an item for which the ring grows if it has to; no lock but that of upkeep is held, unless the item is
    /// a mark. Refused only if the disk is full and what was held for the ring is used up; then nothing has changed.
    pub(crate) fn enqueue_upkeep(&self, mut item: Item) -> Result<Ticket> {
        self.check_writable()?;
        loop {
            match self.journal.enqueue(item, Priority::Upkeep) {
                Ok(ticket) => return Ok(ticket),
                Err(Refused::Failed(error)) => return Err(error),
                Err(Refused::NoRoom(refused)) => {
                    self.grow_ring(refused.bytes() as u64)?;
                    item = *refused;
                }
            }
        }
    }
}

/// A step of upkeep, for tests that choose when each happens.
#[cfg(feature = "simulation")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpkeepStep {
    /// Moves everything in memory to segments.
    Drain,
    /// Drains, saves roots and puts a manifest; merges little, much or as it would by itself, in turn.
    Checkpoint,
    /// Removes the segments that nothing refers to.
    Reclaim,
}

impl Store {
    /// Does a step of upkeep now.
    ///
    /// # Errors
    /// Those of the medium.
    #[cfg(feature = "simulation")]
    pub fn upkeep(&self, step: UpkeepStep) -> Result<()> {
        let engine = &self.running.engine;
        let mut upkeep = engine.upkeep.lock();
        match step {
            UpkeepStep::Drain => engine.drain_all(&mut upkeep).map(drop),
            UpkeepStep::Checkpoint => {
                let turn = engine.next_manifest.load(Ordering::Relaxed) % 4;
                let merging = [Merging::Paced, Merging::Least, Merging::Least, Merging::Deep][turn as usize];
                engine.checkpoint(&mut upkeep, merging)
            }
            UpkeepStep::Reclaim => engine.reclaim(&mut upkeep),
        }
    }
}

#[cfg(test)]
mod tests;
