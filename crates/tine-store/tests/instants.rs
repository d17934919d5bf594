//! Goal: who writes to a disk does not wait for its forks and snapshots, however much is unflushed; and a flush behind them
//! makes durable what was written before them.
//! Method: a gate holds the journal's syncs up, so that every fork meets a branch that was written to since it last looked.

mod support;

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use support::gate::{Gate, Gated, Held};
use support::watchdog::Watchdog;
use tine_store::medium::simulated::{Chooser, Fault, SimulatedMedium, SimulatedOptions};
use tine_store::{Branch, BranchName, CreateOptions, OpenOptions, Store, StoreError, Target, UpkeepMode};

/// More than a fork's frame takes.
const MUCH: usize = 2 << 20;

const DISK: u64 = 16 << 20;

fn name(text: &str) -> BranchName {
    text.parse().expect("a valid name")
}

fn options(large_write_bytes: u64) -> OpenOptions {
    OpenOptions {
        upkeep: UpkeepMode::Inline,
        large_write_bytes,
        ..OpenOptions::default()
    }
}

/// Large writes go to memory, or past it.
const WAYS: [u64; 2] = [u64::MAX, 64 << 10];

struct Bed {
    medium: SimulatedMedium,
    gate: Arc<Gate>,
    store: Store,
    disk: Branch,
    _watchdog: Watchdog,
}

impl Bed {
    fn new(large_write_bytes: u64) -> Self {
        let medium = SimulatedMedium::new(SimulatedOptions::default(), Chooser::seeded(1));
        let gate = Gate::new();
        let gated = Gated {
            medium: medium.start(),
            gate: Arc::clone(&gate),
        };
        let store = Store::create_on(
            Arc::new(gated),
            &CreateOptions::default(),
            options(large_write_bytes),
        )
        .expect("a store");
        let disk = store.create_branch(&name("disk"), DISK).expect("a branch");
        Self {
            medium,
            gate,
            store,
            disk,
            _watchdog: Watchdog::new("a gate that stays shut".to_owned(), Duration::from_secs(120)),
        }
    }

    fn fill(&self, byte: u8) {
        for at in (0..DISK).step_by(MUCH) {
            self.disk.write_at(&vec![byte; MUCH], at).expect("a write");
        }
    }
}

/// Returns which byte a disk is full of.
fn filled(disk: &Branch) -> u8 {
    let mut bytes = vec![0; DISK as usize];
    disk.read_at(&mut bytes, 0).expect("a read");
    assert!(bytes.iter().all(|byte| *byte == bytes[0]), "a mixture");
    bytes[0]
}

#[test]
fn a_throwaway_fork_of_what_is_not_flushed_waits_for_nothing() {
    for way in WAYS {
        let bed = Bed::new(way);
        let forks: Vec<_> = (1..=3)
            .map(|byte| {
                bed.fill(byte);
                let before = bed.medium.counters().operations;
                let fork = bed.store.fork_throwaway(&Target::Branch(name("disk")));
                let fork = fork.expect("a fork");
                assert_eq!(bed.medium.counters().operations, before, "the medium was changed");
                (byte, fork)
            })
            .collect();
        for (byte, fork) in &forks {
            assert_eq!(filled(fork), *byte);
        }
        bed.disk.flush().expect("a flush");
        assert_eq!(bed.store.stats().expect("statistics").streams.bytes, 0);
        bed.medium.cut_power();
        let store = Store::open_on(bed.medium.start(), options(way)).expect("it recovers");
        assert_eq!(filled(&store.branch(&name("disk")).expect("it is there")), 3);
    }
}

#[test]
fn a_fork_meets_its_branch_once_however_fast_that_is_written() {
    for way in WAYS {
        let bed = Bed::new(way);
        bed.fill(1);
        let commits = thread::scope(|scope| {
            bed.gate.hold(Held::Commits);
            let fork = scope.spawn(|| bed.store.fork(&Target::Branch(name("disk")), &name("fork")));
            let mut commits = 0;
            loop {
                while !fork.is_finished() && bed.gate.waiting() == 0 {
                    thread::yield_now();
                }
                if fork.is_finished() {
                    fork.join().expect("no panic").expect("a fork");
                    break commits;
                }
                // Whoever waits for a sync has nobody wait for itself.
                bed.fill(2 + commits);
                commits += 1;
                bed.gate.hold(Held::Commits);
            }
        });
        // What was unflushed, and the name.
        assert!(commits <= 2, "{commits} commits");
        bed.gate.hold(Held::Nothing);
        assert_eq!(filled(&bed.store.branch(&name("fork")).expect("it is there")), 1);
        assert_eq!(filled(&bed.disk), 1 + commits);
        bed.medium.cut_power();
        let store = Store::open_on(bed.medium.start(), options(way)).expect("it recovers");
        assert_eq!(filled(&store.branch(&name("fork")).expect("it is durable")), 1);
    }
}

#[test]
fn a_flush_is_not_done_before_what_was_left_behind_is() {
    for way in WAYS {
        let (mut failed, mut flushed) = (0, 0);
        // Whichever sync of storing what was left behind fails.
        for sync in 1.. {
            let bed = Bed::new(way);
            bed.fill(1);
            let fork = bed.store.fork_throwaway(&Target::Branch(name("disk")));
            drop(fork.expect("a fork"));
            // Makes durable that the disk went on, and not what it had.
            bed.store.create_branch(&name("other"), DISK).expect("a branch");
            bed.medium.inject(Fault::Sync, sync);
            let kept = bed.store.fork(&Target::Branch(name("disk")), &name("fork"));
            bed.medium.clear_faults();
            let is_flushed = bed.disk.flush().is_ok();
            if kept.is_ok() {
                assert!(is_flushed && failed > 0 && flushed > 0, "{failed} {flushed}");
                break;
            }
            failed += 1;
            bed.medium.cut_power();
            if is_flushed {
                flushed += 1;
                let store = Store::open_on(bed.medium.start(), options(way)).expect("it recovers");
                assert_eq!(filled(&store.branch(&name("disk")).expect("it is there")), 1);
            }
        }
    }
}

#[test]
fn a_point_that_several_names_stand_for_is_stored_once() {
    for way in WAYS {
        let bed = Bed::new(way);
        let other = bed.store.create_branch(&name("other"), DISK).expect("a branch");
        let before = bed.medium.counters().written_bytes;
        bed.fill(1);
        let throwaway = bed.store.fork_throwaway(&Target::Branch(name("disk")));
        let throwaway = throwaway.expect("a fork");
        other.write_at(&vec![2; MUCH], 0).expect("a write");
        let forks = [
            (Target::Branch(throwaway.name()), name("one")),
            (Target::Branch(name("disk")), name("two")),
            (Target::Branch(name("other")), name("three")),
        ];
        bed.store.fork_many(&forks).expect("forks");
        bed.disk.flush().expect("a flush");
        let written = bed.medium.counters().written_bytes - before;
        assert!(written < DISK * 3 / 2, "{written} bytes of {DISK}");
        bed.medium.cut_power();
        let store = Store::open_on(bed.medium.start(), options(way)).expect("it recovers");
        for fork in ["disk", "one", "two"] {
            assert_eq!(filled(&store.branch(&name(fork)).expect("it is there")), 1);
        }
    }
}

#[test]
fn a_snapshot_is_of_the_branch_that_has_its_name() {
    for way in WAYS {
        let bed = Bed::new(way);
        bed.store.create_branch(&name("other"), DISK).expect("a branch");
        bed.fill(1);
        let snapshot = || "now".parse().expect("a name");
        thread::scope(|scope| {
            bed.gate.hold(Held::Directories);
            let both = [(name("disk"), snapshot()), (name("other"), snapshot())];
            let store = &bed.store;
            let taken = scope.spawn(move || store.snapshot(&both));
            bed.gate.wait_for_one();
            for (from, to) in [("disk", "third"), ("other", "disk"), ("third", "other")] {
                bed.store.rename(&name(from), &name(to)).expect("a rename");
            }
            bed.gate.hold(Held::Nothing);
            taken.join().expect("no panic").expect("a snapshot");
        });
        for (branch, byte) in [("disk", 0), ("other", 1)] {
            let state = bed.store.state(&Target::Snapshot(name(branch), snapshot()));
            let mut bytes = vec![9; DISK as usize];
            state
                .expect("it is there")
                .read_at(&mut bytes, 0)
                .expect("a read");
            assert!(
                bytes.iter().all(|found| *found == byte),
                "{branch}@now has {}",
                bytes[0]
            );
        }
    }
}

#[test]
fn what_no_fork_needs_any_more_leaves_nothing_behind() {
    for way in WAYS {
        let bed = Bed::new(way);
        for byte in 1..=3 {
            bed.fill(byte);
            let fork = bed
                .store
                .fork_throwaway(&Target::Branch(name("disk")))
                .expect("a fork");
            bed.store.drop_branches(&[fork.name()]).expect("dropped");
        }
        bed.store.drop_branches(&[name("disk")]).expect("dropped");
        let stats = bed.store.stats().expect("statistics");
        assert_eq!(
            (stats.buffer.bytes, stats.streams.bytes, stats.streams.open),
            (0, 0, 0)
        );
    }
}

#[test]
fn a_rollback_keeps_what_was_written_until_then() {
    for way in WAYS {
        let bed = Bed::new(way);
        bed.fill(1);
        let (snapshot, kept) = ("s".parse().expect("a valid name"), name("kept"));
        bed.store
            .snapshot(&[(name("disk"), "s".parse().expect("a valid name"))])
            .expect("a snapshot");
        bed.fill(2);
        let last = thread::scope(|scope| {
            bed.gate.hold(Held::Commits);
            let rollback = scope.spawn(|| bed.store.rollback(&name("disk"), Some(&snapshot), Some(&kept)));
            let mut last = 2;
            loop {
                while !rollback.is_finished() && bed.gate.waiting() == 0 {
                    thread::yield_now();
                }
                if rollback.is_finished() {
                    rollback.join().expect("no panic").expect("a rollback");
                    break last;
                }
                // Twice, and then it gets its turn.
                if last < 4 {
                    last += 1;
                    bed.fill(last);
                }
                bed.gate
                    .hold(if last < 4 { Held::Commits } else { Held::Nothing });
            }
        });
        assert_eq!(last, 4, "it waited for nothing");
        let shown =
            |store: &Store| [&name("disk"), &kept].map(|of| filled(&store.branch(of).expect("it is there")));
        assert_eq!(shown(&bed.store), [1, last]);
        bed.medium.cut_power();
        let store = Store::open_on(bed.medium.start(), options(way)).expect("it recovers");
        assert_eq!(shown(&store), [1, last]);
    }
}

#[test]
fn a_fork_that_is_refused_has_changed_nothing() {
    let bed = Bed::new(u64::MAX);
    bed.store.create_branch(&name("taken"), DISK).expect("a branch");
    bed.fill(1);
    let source = Target::Branch(name("disk"));
    let before = bed.medium.counters().operations;
    let taken = bed.store.fork(&source, &name("taken"));
    assert!(matches!(taken, Err(StoreError::BranchExists { .. })), "{taken:?}");
    let many: Vec<_> = (0..100_000)
        .map(|at| (source.clone(), name(&format!("fork-{at}"))))
        .collect();
    let too_many = bed.store.fork_many(&many);
    assert!(
        matches!(too_many, Err(StoreError::TooLarge { .. })),
        "{too_many:?}"
    );
    assert_eq!(bed.medium.counters().operations, before, "the medium was changed");
    bed.store.fork(&source, &name("fork")).expect("a fork");
    assert_eq!(filled(&bed.store.branch(&name("fork")).expect("it is there")), 1);
}
