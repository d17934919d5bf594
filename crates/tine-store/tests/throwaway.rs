//! Goal: throwaway forks cost no sync, leave nothing behind, and are as safe as any branch once they are kept.
//! Method: counts of the simulated medium and of the journal; what a crash may do to them is in `model.rs` and
//! `exhaustive.rs`.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use support::perform::{branch_name, snapshot_name};
use tine_store::medium::simulated::{Chooser, SimulatedMedium, SimulatedOptions};
use tine_store::{
    Branch, BranchName, CreateOptions, OpenOptions, Store, StoreError, Target, UpkeepMode, UpkeepStep,
};

const BLOCK: usize = 4096;
const SIZE: u64 = 16 << 20;

fn open_options() -> OpenOptions {
    OpenOptions {
        upkeep: UpkeepMode::Inline,
        ..OpenOptions::default()
    }
}

/// A store with a disk `golden`, saved and idle.
fn golden() -> (SimulatedMedium, Store) {
    let medium = SimulatedMedium::new(SimulatedOptions::default(), Chooser::seeded(7));
    let create = CreateOptions {
        journal_file_bytes: 256 << 10,
        journal_files: 4,
    };
    let store = Store::create_on(medium.start(), &create, open_options()).expect("a store");
    let golden = store
        .create_branch(&branch_name("golden"), SIZE)
        .expect("a branch");
    golden.write_at(&vec![1; 256 * BLOCK], 0).expect("a write");
    golden.flush().expect("a flush");
    store
        .snapshot(&[(branch_name("golden"), snapshot_name("clean"))])
        .expect("a snapshot");
    store.upkeep(UpkeepStep::Checkpoint).expect("a checkpoint");
    (medium, store)
}

fn target(name: &BranchName) -> Target {
    Target::Branch(name.clone())
}

fn throwaway(store: &Store, source: &BranchName) -> Branch {
    store.fork_throwaway(&target(source)).expect("a throwaway fork")
}

/// Returns the first byte of a block.
fn shows(store: &Store, name: &str, block: u64) -> u8 {
    let mut byte = [0];
    let branch = store.branch(&branch_name(name)).expect("the branch");
    branch.read_at(&mut byte, block * BLOCK as u64).expect("a read");
    byte[0]
}

#[test]
fn neither_forking_nor_flushing_nor_dropping_waits_for_the_medium() {
    let (medium, store) = golden();
    let before = medium.counters();
    for round in 1..=10 {
        let fork = throwaway(&store, &branch_name("golden"));
        fork.write_at(&[round; 3 * BLOCK], 0).expect("a write");
        fork.flush().expect("a flush");
        let again = throwaway(&store, &fork.name());
        again.write_at(&[2 * round; BLOCK], 0).expect("a write");
        again.flush().expect("a flush");
        let mut byte = [0];
        fork.read_at(&mut byte, 0).expect("a read");
        assert_eq!(byte[0], round);
        store
            .drop_branches(&[fork.name(), again.name()])
            .expect("dropping them");
    }
    let after = medium.counters();
    assert_eq!(after.operations, before.operations, "the medium was changed");
}

#[test]
fn a_multitude_that_nobody_waits_for_does_not_fill_journal_or_memory() {
    let (_medium, store) = golden();
    for _ in 0..5000 {
        let fork = throwaway(&store, &branch_name("golden"));
        store.drop_branches(&[fork.name()]).expect("dropping it");
    }
    let stats = store.stats().expect("statistics");
    assert_eq!((stats.branches, stats.journal.files), (1, 4));
    assert_eq!(stats.buffer.bytes, 0);
}

#[test]
fn they_are_gone_after_a_close_and_after_a_crash_with_all_of_their_space() {
    for crash in [false, true] {
        let (medium, store) = golden();
        let before = store.stats().expect("statistics").segments;
        let fork = throwaway(&store, &branch_name("golden"));
        fork.write_at(&vec![9; 512 * BLOCK], 0).expect("a write");
        store
            .snapshot(&[(fork.name(), snapshot_name("mark"))])
            .expect("a snapshot");
        let again = store
            .fork_throwaway(&Target::Snapshot(fork.name(), snapshot_name("mark")))
            .expect("a throwaway fork");
        again.write_at(&vec![8; 100 * BLOCK], 0).expect("a write");
        store.upkeep(UpkeepStep::Checkpoint).expect("a checkpoint");
        let name = fork.name();
        assert!(
            store
                .branches()
                .expect("branches")
                .iter()
                .all(|info| info.name != name)
        );
        assert!(store.stats().expect("statistics").segments.bytes > before.bytes + (512 * BLOCK) as u64);
        drop((fork, again));
        if crash {
            drop(store);
            medium.cut_power();
        } else {
            store.close().expect("a close");
        }
        let store = Store::open_on(medium.start(), open_options()).expect("opening");
        assert!(matches!(
            store.branch(&name),
            Err(StoreError::UnknownBranch { .. })
        ));
        assert_eq!(shows(&store, "golden", 0), 1);
        store.upkeep(UpkeepStep::Checkpoint).expect("a checkpoint");
        store.upkeep(UpkeepStep::Reclaim).expect("reclaiming");
        let after = store.stats().expect("statistics").segments;
        assert_eq!(after.live, before.live, "crash {crash}");
        assert!(after.bytes < before.bytes + (64 * BLOCK) as u64, "{after:?}");
    }
}

#[test]
fn what_is_kept_is_durable_with_all_that_it_came_from() {
    // Little is kept in one frame; more than a frame takes goes to segments first.
    for blocks in [1, 600] {
        let (medium, store) = golden();
        let first = throwaway(&store, &branch_name("golden"));
        first
            .write_at(&vec![2; blocks * BLOCK], 0)
            .expect("a write to the first");
        let second = throwaway(&store, &first.name());
        second
            .write_at(&vec![3; blocks * BLOCK], (1000 * BLOCK) as u64)
            .expect("a write to the second");
        store
            .snapshot(&[(second.name(), snapshot_name("mark"))])
            .expect("a snapshot");
        let third = throwaway(&store, &second.name());
        third
            .write_at(&[4; BLOCK], (2000 * BLOCK) as u64)
            .expect("a write");
        store.drop_branches(&[first.name()]).expect("dropping the first");
        store
            .keep(&third.name(), &branch_name("kept"))
            .expect("keeping the third");
        assert_eq!(third.name(), branch_name("kept"));
        // From now on it is a branch like all others.
        third
            .write_at(&[5; BLOCK], (2001 * BLOCK) as u64)
            .expect("a write");
        third.flush().expect("a flush");
        drop((first, second, third, store));
        medium.cut_power();
        let store = Store::open_on(medium.start(), open_options()).expect("opening");
        let names: Vec<_> = store
            .branches()
            .expect("branches")
            .into_iter()
            .map(|info| info.name)
            .collect();
        assert_eq!(names, [branch_name("golden"), branch_name("kept")]);
        for (block, expected) in [(0, 2), (1000, 3), (2000, 4), (2001, 5)] {
            assert_eq!(shows(&store, "kept", block), expected, "block {block}");
        }
        assert_eq!(shows(&store, "golden", 0), 1);
    }
}

#[test]
fn a_branch_cannot_be_kept_and_a_throwaway_fork_not_renamed() {
    let (_medium, store) = golden();
    let fork = throwaway(&store, &branch_name("golden"));
    let error = store.keep(&branch_name("golden"), &branch_name("other"));
    assert!(matches!(error, Err(StoreError::NotThrowaway { .. })), "{error:?}");
    let error = store.keep(&fork.name(), &branch_name("golden"));
    assert!(matches!(error, Err(StoreError::BranchExists { .. })), "{error:?}");
    let error = store.rename(&fork.name(), &branch_name("other"));
    assert!(
        matches!(error, Err(StoreError::UnknownBranch { .. })),
        "{error:?}"
    );
    store
        .keep(&fork.name(), &branch_name("other"))
        .expect("keeping it");
}

#[test]
fn keeping_under_load_takes_all_that_was_written_before() {
    let (medium, store) = golden();
    let fork = throwaway(&store, &branch_name("golden"));
    let (stop, written) = (Arc::new(AtomicBool::new(false)), fork.clone());
    let writer = thread::spawn({
        let stop = Arc::clone(&stop);
        move || {
            let mut at = 0;
            while !stop.load(Ordering::Relaxed) {
                let block = 100 + at % 3000;
                written
                    .write_at(&[6; BLOCK], block * BLOCK as u64)
                    .expect("a write");
                at += 1;
            }
        }
    });
    for round in 1..=20 {
        fork.write_at(&[round; BLOCK], u64::from(round) * BLOCK as u64)
            .expect("a write");
    }
    store
        .keep(&fork.name(), &branch_name("kept"))
        .expect("keeping it");
    stop.store(true, Ordering::Relaxed);
    writer.join().expect("the writer");
    drop((fork, store));
    medium.cut_power();
    let store = Store::open_on(medium.start(), open_options()).expect("opening");
    for round in 1..=20 {
        assert_eq!(shows(&store, "kept", u64::from(round)), round);
    }
}
