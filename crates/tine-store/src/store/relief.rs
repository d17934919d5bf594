//! Relief: who waits for memory to be drained does not wait for a long merge too.
//!
//! One lock serialises upkeep, and merging a large disk's index can hold it for seconds. So the merge drains in between,
//! whenever that is due or somebody waits for it; and who waits looks again and again whether that has happened.
//!
//! Invariant: a drain that is counted as ended has captured all that was closed before it was counted as begun.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::error::Result;
use crate::store::Engine;
use crate::store::upkeep::Upkeep;

/// How long somebody waits for the lock before looking whether a merge has done what it is wanted for.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// The drains of everything, and who waits for one.
#[derive(Default)]
pub(crate) struct Drains {
    begun: AtomicU64,
    /// The last that ended well.
    ended: AtomicU64,
    /// One more than the number of the last one that had begun when somebody wanted another; 0 if nobody did.
    wanted_after: AtomicU64,
}

impl Drains {
    /// Counts a drain of everything that is about to begin; returns its number. The right to do upkeep is held.
    pub(crate) fn begin(&self) -> u64 {
        self.begun.fetch_add(1, Ordering::SeqCst) + 1
    }

    /// Counts that it ended well.
    pub(crate) fn end(&self, number: u64) {
        self.ended.store(number, Ordering::SeqCst);
    }

    fn last_begun(&self) -> u64 {
        self.begun.load(Ordering::SeqCst)
    }

    fn has_ended_since(&self, begun: u64) -> bool {
        self.ended.load(Ordering::SeqCst) > begun
    }

    /// Asks for one that begins from now on.
    fn want(&self) {
        self.wanted_after
            .fetch_max(self.last_begun() + 1, Ordering::SeqCst);
    }

    /// Tells whether somebody wants one that has not come yet.
    fn is_wanted(&self) -> bool {
        let wanted = self.wanted_after.load(Ordering::SeqCst);
        wanted > 0 && !self.has_ended_since(wanted - 1)
    }
}

impl Engine {
    /// Lets `drain` store what has been closed up to now, unless a drain of everything does so first.
    pub(crate) fn drained(&self, drain: impl FnOnce(&mut Upkeep) -> Result<()>) -> Result<()> {
        let begun = self.drains.last_begun();
        self.relieved(|| self.drains.has_ended_since(begun), drain)
    }

    /// Lets `drain` do what is wanted, unless others do it while this waits for the right to.
    pub(crate) fn relieved(
        &self,
        is_done: impl Fn() -> bool,
        drain: impl FnOnce(&mut Upkeep) -> Result<()>,
    ) -> Result<()> {
        loop {
            let upkeep = self.upkeep.try_lock().or_else(|| {
                self.drains.want();
                self.upkeep.try_lock_for(LOOK_EVERY)
            });
            if is_done() {
                return Ok(());
            }
            if let Some(mut upkeep) = upkeep {
                return drain(&mut upkeep);
            }
        }
    }

    /// Tells a merge whether others wait for a drain, or would soon.
    pub(crate) fn is_drain_due(&self) -> bool {
        self.drains.is_wanted() || self.buffer_level().is_above_soft() || self.has_many_streams()
    }

    /// Called by a merge in between: drains if that is due, or if somebody waits for it. An error is met again by them.
    pub(crate) fn give_way(&self, upkeep: &mut Upkeep) -> Result<()> {
        if self.drains.is_wanted() {
            return self.drain_all(upkeep).map(drop);
        }
        self.drain_if_due(upkeep)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;
    use std::thread;

    use super::*;
    use crate::medium::simulated::{Chooser, SimulatedMedium, SimulatedOptions};
    use crate::store::checkpoint::Merging;
    use crate::{Branch, CreateOptions, OpenOptions, Store, UpkeepMode};

    const BLOCK: usize = 4096;

    fn store(buffer_bytes: u64) -> (Store, Branch) {
        let medium = SimulatedMedium::new(SimulatedOptions::default(), Chooser::seeded(1));
        let open = OpenOptions {
            buffer_bytes,
            upkeep: UpkeepMode::Inline,
            ..OpenOptions::default()
        };
        let store = Store::create_on(medium.start(), &CreateOptions::default(), open).expect("a store");
        let branch = store
            .create_branch(&"a".parse().expect("a valid name"), 1 << 30)
            .expect("a branch");
        (store, branch)
    }

    /// Lets `wait` go on beside what holds the right to do upkeep and gives way, and does not end before.
    fn beside_a_merge(store: &Store, wait: impl FnOnce() + Send) {
        let engine = store.engine();
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            let mut upkeep = engine.upkeep.lock();
            scope.spawn(|| {
                wait();
                is_over.store(true, Ordering::Release);
            });
            while !is_over.load(Ordering::Acquire) {
                engine.give_way(&mut upkeep).expect("a drain");
            }
        });
    }

    #[test]
    fn a_large_flush_does_not_wait_for_a_merge() {
        let (store, branch) = store(64 << 20);
        branch.write_at(&vec![7; 3 << 20], 0).expect("a write");
        beside_a_merge(&store, || branch.flush().expect("a flush"));
        let stretch = branch.cell.head.read().stretch.clone();
        let state = stretch.state.lock();
        assert!(state.groups.is_empty() && state.safe + 1 == state.open_group);
    }

    #[test]
    fn a_writer_that_met_the_bound_does_not_wait_for_a_merge() {
        let (store, branch) = store(1 << 20);
        beside_a_merge(&store, || {
            for at in 0..1000 {
                branch.write_at(&[7; BLOCK], at * BLOCK as u64).expect("a write");
            }
        });
        assert!(store.engine().buffered.in_use() <= 1 << 20);
    }

    #[test]
    fn a_merge_gives_way_between_its_nodes() {
        let (store, branch) = store(64 << 20);
        let engine = store.engine();
        for run in 0..2_u8 {
            for at in 0..60_000 {
                branch
                    .write_at(&[run + 1; BLOCK], at * 3 * BLOCK as u64)
                    .expect("a write");
            }
            engine
                .checkpoint(&mut engine.upkeep.lock(), Merging::Least)
                .expect("a run");
        }
        let whole = Merging::Whole(branch.cell.head.read().stretch.id);
        let before = engine.drains.last_begun();
        let (has_begun, is_over) = (AtomicBool::new(false), AtomicBool::new(false));
        let mut upkeep = engine.upkeep.lock();
        thread::scope(|scope| {
            scope.spawn(|| {
                while !is_over.load(Ordering::Acquire) {
                    engine.drains.want();
                    has_begun.store(true, Ordering::Release);
                    thread::yield_now();
                }
            });
            while !has_begun.load(Ordering::Acquire) {
                thread::yield_now();
            }
            engine.checkpoint(&mut upkeep, whole).expect("a merge");
            is_over.store(true, Ordering::Release);
        });
        let drains = engine.drains.last_begun() - before;
        // The first is the checkpoint's own.
        assert!(drains > 2, "{drains} drains while a tree was written");
    }

    #[test]
    fn one_drain_serves_all_who_wanted_one_before() {
        let (store, branch) = store(64 << 20);
        let engine = store.engine();
        assert!(!engine.drains.is_wanted());
        branch.write_at(&[1; BLOCK], 0).expect("a write");
        engine.drains.want();
        engine.drains.want();
        assert!(engine.drains.is_wanted());
        let mut upkeep = engine.upkeep.lock();
        engine.give_way(&mut upkeep).expect("a drain");
        let begun = engine.drains.last_begun();
        engine.give_way(&mut upkeep).expect("nothing to do");
        assert!(!engine.drains.is_wanted() && engine.drains.last_begun() == begun);
    }
}
