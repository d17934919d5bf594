//! Upkeep: what keeps buffer, journal and space within their bounds.
//!
//! One lock serialises it, whoever does the work: the store's own thread early on, or the writer that has met a bound.

use parking_lot::{Condvar, Mutex};

use crate::codec::Encoder;
use crate::error::{Result, StoreError};
use crate::journal::commit::{Item, Priority, Refused, Ticket};
use crate::journal::record::Record;
use crate::options::UpkeepMode;
use crate::store::checkpoint::Merging;
use crate::store::durable::Effect;
use crate::store::{Engine, Store};

/// More blocks than this in segments that no root covers make a checkpoint due: some 50 bytes of memory each, and the
/// next opening reads their footers.
const UNCOVERED_MAX: u64 = 1 << 18;

/// The right to do upkeep: whoever holds the lock has it.
#[derive(Default)]
pub(crate) struct Upkeep;

/// Wakes the thread.
#[derive(Default)]
pub(crate) struct Signal {
    state: Mutex<SignalState>,
    changed: Condvar,
}

#[derive(Default)]
struct SignalState {
    woken: bool,
    stopped: bool,
}

impl Signal {
    fn wake(&self) {
        let mut state = self.state.lock();
        if !state.woken {
            state.woken = true;
            self.changed.notify_one();
        }
    }

    fn stop(&self) {
        self.state.lock().stopped = true;
        self.changed.notify_one();
    }

    /// Waits to be woken; false if there is nothing more to do.
    fn wait(&self) -> bool {
        let mut state = self.state.lock();
        while !state.woken && !state.stopped {
            self.changed.wait(&mut state);
        }
        state.woken = false;
        !state.stopped
    }
}

/// The body of the store's own thread.
///
/// An error is not reported from here: it is met again, and then reported, by the writer that runs into the bound.
pub(crate) fn run(engine: &Engine) {
    while engine.signal.wait() {
        let mut upkeep = engine.upkeep.lock();
        if engine.buffered_bytes() > engine.soft_buffer_bytes() {
            let _ = engine.drain_all(&mut upkeep);
        }
        if engine.journal.is_half_full() || engine.uncovered_blocks() > UNCOVERED_MAX {
            let _ = engine.checkpoint(&mut upkeep, Merging::Paced);
        }
        let _ = engine.reclaim(&mut upkeep);
    }
}

impl Engine {
    /// Lets the store's own thread look at the bounds; it is started by the first call.
    pub(crate) fn wake_thread(&self) {
        self.signal.wake();
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
        if let Some(thread) = self.thread.lock().take() {
            // A panic of the thread has poisoned what it held; there is nothing more to do about it here.
            let _ = thread.join();
        }
    }

    pub(crate) fn buffered_bytes(&self) -> u64 {
        self.buffered.load(std::sync::atomic::Ordering::Relaxed)
    }

    /// Holds the room that is needed now: after something was stored, saved or given back.
    pub(crate) fn settle_space(&self) {
        self.space.set_uncovered(self.uncovered_blocks());
        self.space.settle(self.buffered_bytes());
    }

    /// Above this the store's own thread drains.
    pub(crate) fn soft_buffer_bytes(&self) -> u64 {
        self.buffer_bytes / 4
    }

    /// Makes room for a write in memory and on the medium; may drain. What writes no block (0 bytes) needs no room on
    /// the medium: discarding is what a full disk needs.
    pub(crate) fn make_buffer_room(&self, bytes: u64) -> Result<()> {
        self.check_writable()?;
        let wanted = self.buffered_bytes() + bytes;
        if wanted > self.soft_buffer_bytes() && self.mode == UpkeepMode::Background {
            self.wake_thread();
        }
        if wanted > self.buffer_bytes {
            let mut upkeep = self.upkeep.lock();
            if self.buffered_bytes() + bytes > self.buffer_bytes {
                self.drain_all(&mut upkeep)?;
                if self.uncovered_blocks() > UNCOVERED_MAX {
                    self.checkpoint(&mut upkeep, Merging::Paced)?;
                }
            }
        }
        if bytes == 0 {
            return Ok(());
        }
        match self.space.hold(self.buffered_bytes() + bytes) {
            Err(StoreError::NoSpace { .. }) => {
                // What was dropped or overwritten may not have been given back yet.
                self.give_back()?;
                self.space.hold(self.buffered_bytes() + bytes)
            }
            result => result,
        }
    }

    /// Frees files of the journal's ring for a user's frame.
    pub(crate) fn make_journal_room(&self) -> Result<()> {
        self.checkpoint(&mut self.upkeep.lock(), Merging::Paced)
    }

    /// Called after a commit, without any lock.
    pub(crate) fn after_commit(&self) {
        if self.journal.is_half_full() {
            match self.mode {
                UpkeepMode::Background => self.wake_thread(),
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

    /// Gives back what can be on a full disk: first what is known to be dead, then what merging finds.
    fn give_back(&self) -> Result<()> {
        let mut upkeep = self.upkeep.lock();
        let free = || {
            self.medium
                .free_bytes()
                .map_err(|e| StoreError::io("the store", "asking for free space", e))
        };
        let before = free()?;
        self.reclaim(&mut upkeep)?;
        if free()? > before {
            return Ok(());
        }
        match self.checkpoint(&mut upkeep, Merging::Deep) {
            // Then the write has to wait for what others give back.
            Err(StoreError::NoSpace { .. }) => Ok(()),
            result => result,
        }
    }

    /// Lets go what no reader can reach any more: stretches that were dropped, blocks that died.
    fn bury(&self) {
        let mut catalog = self.catalog.lock();
        catalog.release_departed(&self.segments);
        if self.has_deaths.swap(false, std::sync::atomic::Ordering::Relaxed) {
            let mut left = false;
            for stretch in catalog.stretches.values() {
                left |= stretch.state.lock().bury(&self.segments);
            }
            if left {
                self.has_deaths.store(true, std::sync::atomic::Ordering::Relaxed);
            }
        }
    }

    /// Gives back the segments that nothing refers to any more.
    pub(crate) fn reclaim(&self, _upkeep: &mut Upkeep) -> Result<()> {
        if !self.medium.can_overwrite() {
            return Ok(());
        }
        self.check_writable()?;
        self.bury();
        let unused = self.segments.take_unused();
        for chunk in unused.chunks(256) {
            let mut records = Encoder::default();
            for &segment in chunk {
                Record::SegmentRemoved { segment }.encode(&mut records);
            }
            let effects = chunk.iter().map(|&segment| Effect::Remove(segment)).collect();
            self.wait(self.enqueue_upkeep(Item {
                records: records.bytes,
                effects,
                ..Item::default()
            })?)?;
        }
        if !unused.is_empty() {
            self.sync_removals();
            self.settle_space();
        }
        Ok(())
    }

    /// Queues an item that is never refused for want of room.
    pub(crate) fn enqueue_upkeep(&self, item: Item) -> Result<Ticket> {
        self.check_writable()?;
        self.journal
            .enqueue(item, Priority::Upkeep)
            .map_err(|refused| match refused {
                Refused::Failed(error) => error,
                Refused::NoRoom => StoreError::damaged("the journal refused a record of upkeep"),
            })
    }
}

/// A step of upkeep, for tests that choose when each happens.
#[cfg(feature = "simulation")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpkeepStep {
    /// Moves everything in memory to segments.
    Drain,
    /// Drains, saves runs and puts a manifest.
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
            UpkeepStep::Checkpoint => engine.checkpoint(&mut upkeep, Merging::Paced),
            UpkeepStep::Reclaim => engine.reclaim(&mut upkeep),
        }
    }
}
