//! Goal: two commits are under way at once, and none of it shows: they end in their order, fail together, and a crash leaves
//! a prefix of them.
//! Method: a gate holds syncs of the journal up while others flush; what the simulated medium holds then is cut from power
//! in many ways, or fails.

mod support;

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use support::gate::{Gate, Gated, Held};
use support::watchdog::Watchdog;
use tine_store::medium::simulated::{Chooser, Fault, SimulatedMedium, SimulatedOptions};
use tine_store::{Branch, BranchName, CreateOptions, OpenOptions, Store, StoreError, UpkeepMode};

const BLOCK: usize = 4096;

fn name(text: &str) -> BranchName {
    text.parse().expect("a valid name")
}

fn options() -> OpenOptions {
    OpenOptions {
        upkeep: UpkeepMode::Inline,
        ..OpenOptions::default()
    }
}

/// A store with two branches, behind a gate.
struct Bed {
    medium: SimulatedMedium,
    gate: Arc<Gate>,
    /// Behind the other.
    failures: Arc<Gate>,
    branches: [Branch; 2],
    _watchdog: Watchdog,
}

impl Bed {
    fn new() -> Self {
        let medium = SimulatedMedium::new(SimulatedOptions::default(), Chooser::seeded(1));
        let store = Store::create_on(medium.start(), &CreateOptions::default(), options()).expect("a store");
        for branch in ["first", "second"] {
            store.create_branch(&name(branch), 1 << 20).expect("a branch");
        }
        store.close().expect("a clean close");
        let (gate, failures) = (Gate::new(), Gate::new());
        let gated = Gated {
            medium: medium.start(),
            gate: Arc::clone(&failures),
        };
        let gated = Gated {
            medium: Arc::new(gated),
            gate: Arc::clone(&gate),
        };
        let store = Store::open_on(Arc::new(gated), options()).expect("the store opens");
        let branches = ["first", "second"].map(|branch| store.branch(&name(branch)).expect("it is there"));
        Self {
            medium,
            gate,
            failures,
            branches,
            _watchdog: Watchdog::new("a gate that stays shut".to_owned(), Duration::from_secs(120)),
        }
    }

    /// Writes and flushes one branch; returns whether that went well.
    fn commit(&self, branch: usize) -> Result<(), StoreError> {
        let branch = &self.branches[branch];
        branch.write_at(&[7; BLOCK], 0)?;
        branch.flush()
    }
}

/// Tells which of both writes a medium has after its power was cut.
fn left(medium: &SimulatedMedium) -> [bool; 2] {
    medium.cut_power();
    let store = Store::open_on(medium.start(), options()).expect("it recovers");
    ["first", "second"].map(|branch| {
        let mut block = [0; BLOCK];
        let branch = store.branch(&name(branch)).expect("it is there");
        branch.read_at(&mut block, 0).expect("a read");
        assert!(block == [0; BLOCK] || block == [7; BLOCK], "a mixture");
        block[0] == 7
    })
}

#[test]
fn a_commit_is_synced_beside_another_and_ends_behind_it() {
    let bed = Bed::new();
    thread::scope(|scope| {
        bed.gate.hold(Held::OneCommit);
        let first = scope.spawn(|| bed.commit(0));
        bed.gate.wait_for_one();
        let second = scope.spawn(|| bed.commit(1));
        bed.gate.wait_for_another();
        // Its own sync is done. Of what is before it nobody knows yet.
        thread::sleep(Duration::from_millis(50));
        assert!(!first.is_finished() && !second.is_finished());
        bed.gate.hold(Held::Nothing);
        for flush in [first, second] {
            flush.join().expect("no panic").expect("durable");
        }
    });
    assert_eq!(left(&bed.medium), [true, true]);
}

#[test]
fn of_two_commits_that_are_not_synced_a_prefix_is_left() {
    let bed = Bed::new();
    let mut seen = std::collections::BTreeSet::new();
    thread::scope(|scope| {
        bed.gate.hold(Held::Commits);
        scope.spawn(|| bed.commit(0));
        bed.gate.wait_for(1);
        scope.spawn(|| bed.commit(1));
        bed.gate.wait_for(2);
        for seed in 0..300 {
            let moment = bed.medium.fork();
            moment.set_chooser(Chooser::seeded(seed));
            seen.insert(left(&moment));
        }
        bed.gate.hold(Held::Nothing);
    });
    let prefixes = [[false, false], [true, false], [true, true]];
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), prefixes);
    assert_eq!(left(&bed.medium), [true, true], "both flushes returned");
}

#[test]
fn a_commit_behind_one_that_failed_fails_though_its_own_sync_went_well() {
    let bed = Bed::new();
    thread::scope(|scope| {
        bed.gate.hold(Held::OneCommit);
        let first = scope.spawn(|| bed.commit(0));
        bed.gate.wait_for_one();
        let second = scope.spawn(|| bed.commit(1));
        bed.gate.wait_for_another();
        bed.medium.inject(Fault::Sync, 1);
        bed.gate.hold(Held::Nothing);
        for flush in [first, second] {
            let result = flush.join().expect("no panic");
            assert!(matches!(result, Err(StoreError::Poisoned { .. })), "{result:?}");
        }
    });
    let next = bed.commit(0);
    assert!(matches!(next, Err(StoreError::Poisoned { .. })), "{next:?}");
}

#[test]
fn a_commit_whose_bytes_another_sync_lost_fails_though_nobody_has_told_of_that_yet() {
    let bed = Bed::new();
    thread::scope(|scope| {
        bed.gate.hold(Held::OneCommit);
        let first = scope.spawn(|| bed.commit(0));
        bed.gate.wait_for_one();
        bed.failures.hold(Held::Failures);
        bed.medium.inject(Fault::Sync, 1);
        let second = scope.spawn(|| bed.commit(1));
        // What both have written is lost, and only the medium knows.
        bed.failures.wait_for_one();
        bed.gate.hold(Held::Nothing);
        while !first.is_finished() && bed.failures.waiting() < 2 {
            thread::yield_now();
        }
        bed.failures.hold(Held::Nothing);
        for flush in [first, second] {
            let result = flush.join().expect("no panic");
            assert!(matches!(result, Err(StoreError::Poisoned { .. })), "{result:?}");
        }
    });
}

#[test]
fn who_waits_behind_a_commit_that_failed_is_told() {
    let bed = Bed::new();
    thread::scope(|scope| {
        bed.gate.hold(Held::OneCommit);
        let first = scope.spawn(|| bed.commit(0));
        bed.gate.wait_for_one();
        // Its sync fails while the one before is under way, which nobody can count on then.
        bed.medium.inject(Fault::Sync, 1);
        let second = scope.spawn(|| bed.commit(1));
        let result = second.join().expect("no panic");
        assert!(matches!(result, Err(StoreError::Poisoned { .. })), "{result:?}");
        bed.gate.hold(Held::Nothing);
        let result = first.join().expect("no panic");
        assert!(matches!(result, Err(StoreError::Poisoned { .. })), "{result:?}");
    });
}
