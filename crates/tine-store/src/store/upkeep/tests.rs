//! Goal: of many who meet a bound at once, one makes room for all; and nothing that a client can do without end takes
//! memory or descriptors without end.
//! Method: the test holds the right to do upkeep until everybody waits for it; one thing is done very often, and what is
//! counted is compared with what is really there.

use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use crate::buffer::Place;
use crate::journal::commit::Priority;
use crate::medium::simulated::{Chooser, SimulatedMedium, SimulatedOptions};
use crate::{Branch, CreateOptions, OpenOptions, Store, UpkeepMode};

const BLOCK: usize = 4096;

/// A store whose upkeep is done by whoever meets a bound, and branches of it.
fn store(buffer_bytes: u64, branches: usize) -> (Store, Vec<Branch>) {
    let medium = SimulatedMedium::new(SimulatedOptions::default(), Chooser::seeded(1));
    let create = CreateOptions {
        journal_file_bytes: 64 << 10,
        journal_files: 3,
    };
    let open = OpenOptions {
        buffer_bytes,
        upkeep: UpkeepMode::Inline,
        ..OpenOptions::default()
    };
    let store = Store::create_on(medium.start(), &create, open).expect("a store");
    let made = (0..branches)
        .map(|at| {
            let name = format!("b{at}").parse().expect("a valid name");
            store.create_branch(&name, 1 << 20).expect("a branch")
        })
        .collect();
    (store, made)
}

#[test]
fn a_little_debt_has_no_write_wait_and_too_much_has() {
    let medium = SimulatedMedium::new(SimulatedOptions::default(), Chooser::seeded(1));
    let options = OpenOptions::default();
    let store = Store::create_on(medium.start(), &CreateOptions::default(), options).expect("a store");
    let name = "a".parse().expect("a valid name");
    let branch = store.create_branch(&name, 1 << 20).expect("a branch");
    let engine = store.engine();
    // Nobody saves an index meanwhile.
    let upkeep = engine.upkeep.lock();
    let writes_at_once = |debt| {
        engine.uncovered.store(debt, Ordering::Relaxed);
        branch.write_at_once(&[1; BLOCK], 0).expect("a write")
    };
    // The first one holds room for those after it.
    branch.write_at(&[1; BLOCK], 0).expect("a write");
    assert!(writes_at_once(engine.bounds.debt_soft));
    assert!(writes_at_once(engine.bounds.debt_soft + (1 << 20)));
    assert!(!writes_at_once(engine.bounds.debt_hard + 1));
    drop(upkeep);
}

#[test]
fn one_checkpoint_makes_room_for_all_who_wait() {
    let (store, branches) = store(64 << 20, 8);
    let engine = store.engine();
    for branch in &branches {
        branch.write_at(&[1; BLOCK], 0).expect("a write");
    }
    let before = engine.next_manifest.load(Ordering::Relaxed);
    thread::scope(|scope| {
        let upkeep = engine.upkeep.lock();
        // Without upkeep the ring fills up.
        let filler = &branches[0];
        for at in 1.. {
            if !engine.journal.has_room(2 * BLOCK as u64, Priority::User) {
                break;
            }
            filler.write_at(&[2; BLOCK], at * BLOCK as u64).expect("a write");
            filler.flush().expect("there is room");
        }
        filler.write_at(&[3; BLOCK], 0).expect("a write");
        for branch in &branches {
            scope.spawn(|| branch.flush().expect("a flush"));
        }
        // Long enough for all of them to be refused; were one late, the test would only prove less.
        thread::sleep(Duration::from_millis(200));
        drop(upkeep);
    });
    let manifests = engine.next_manifest.load(Ordering::Relaxed) - before;
    assert_eq!(manifests, 1, "each who waited made a checkpoint of its own");
}

#[test]
fn one_drain_makes_room_for_all_who_wait() {
    const BUFFER: u64 = 64 * BLOCK as u64;
    let (store, branches) = store(BUFFER, 8);
    let engine = store.engine();
    let before = engine.next_segment.load(Ordering::Relaxed);
    thread::scope(|scope| {
        let upkeep = engine.upkeep.lock();
        branches[0]
            .write_at(&vec![1; BUFFER as usize], 0)
            .expect("what fills the buffer");
        for branch in &branches {
            scope.spawn(|| branch.write_at(&[2; BLOCK], 0).expect("a write"));
        }
        thread::sleep(Duration::from_millis(200));
        drop(upkeep);
    });
    let segments = engine.next_segment.load(Ordering::Relaxed) - before;
    assert_eq!(segments, 1, "each who waited drained on its own");
}

/// Returns the memory that is counted, and checks it with the groups that a branch has.
fn in_use(store: &Store, branch: &Branch) -> u64 {
    let stretch = branch.cell.head.read().stretch.clone();
    let kept: usize = stretch
        .state
        .lock()
        .groups
        .iter()
        .map(|group| match &*group.source.place.read() {
            Place::Buffered(slots) => size_of_val(&slots[..]) + size_of_val(&group.tombstones[..]),
            _ => 0,
        })
        .sum();
    let counted = store.engine().buffered.in_use();
    assert!(kept as u64 <= counted, "{kept} bytes are kept, {counted} counted");
    counted
}

const BOUND: u64 = 1 << 20;

#[test]
fn a_block_that_is_overwritten_for_ever_takes_bounded_memory() {
    let (store, branches) = store(BOUND, 1);
    let branch = &branches[0];
    let throwaway = store
        .fork_throwaway(&"b0".parse().expect("a valid name"))
        .expect("a fork");
    for round in 0..200_000_u32 {
        let bytes = [round as u8 | 1; BLOCK];
        branch.write_at(&bytes, 0).expect("a write");
        if round % 5 == 0 {
            throwaway.write_at(&bytes, 0).expect("a write");
            // Of a throwaway fork nothing is saved by that.
            throwaway.flush().expect("a flush");
        }
        if round % 1000 == 0 {
            let most = in_use(&store, branch).max(in_use(&store, &throwaway));
            assert!(most <= BOUND, "{most} bytes after {round} writes");
        }
    }
    drop((throwaway, branches));
}

#[test]
fn zeroes_take_bounded_memory_however_they_are_written() {
    let (store, branches) = store(BOUND, 2);
    for branch in &branches {
        store.resize(&branch.name(), 1 << 30).expect("a larger disk");
    }
    for block in (0..(1 << 30) / BLOCK as u64).step_by(2) {
        let offset = block * BLOCK as u64;
        branches[0].write_at(&[0; BLOCK], offset).expect("a write");
        branches[1].discard(offset, BLOCK as u64).expect("a discard");
        if block % 1000 == 0 {
            let most = in_use(&store, &branches[0]).max(in_use(&store, &branches[1]));
            assert!(most <= BOUND, "{most} bytes after {block} blocks");
        }
    }
}

#[test]
fn what_is_drained_is_counted_no_more() {
    let (store, branches) = store(BOUND, 2);
    branches[0].write_at(&[1; BLOCK], 0).expect("a write");
    branches[0].discard(8192, 4096).expect("a discard");
    branches[1].write_at(&[1; BLOCK], 0).expect("a write");
    let engine = store.engine();
    assert!(engine.buffered.in_use() > 2 * BLOCK as u64 && engine.buffered.cleared() == 1);
    store.drop_branches(&[branches[1].name()]).expect("a drop");
    engine.drain_all(&mut engine.upkeep.lock()).expect("a drain");
    drop(branches);
    assert_eq!((engine.buffered.in_use(), engine.buffered.cleared()), (0, 0));
}

#[test]
fn streams_take_a_bounded_number_of_descriptors() {
    let medium = SimulatedMedium::new(SimulatedOptions::default(), Chooser::seeded(1));
    let open = OpenOptions {
        upkeep: UpkeepMode::Inline,
        large_write_bytes: 0,
        ..OpenOptions::default()
    };
    let store = Store::create_on(medium.start(), &CreateOptions::default(), open).expect("a store");
    let engine = store.engine();
    let mut most = 0;
    for at in 0..200 {
        let name = format!("b{at}").parse().expect("a valid name");
        let branch = store.create_branch(&name, 1 << 20).expect("a branch");
        branch.write_at(&[1; 4 * BLOCK], 0).expect("a write");
        let level = engine.open_streams_level();
        most = most.max(level.now);
        assert!(
            level.now <= level.hard,
            "{} streams after {at} branches",
            level.now
        );
    }
    assert_eq!(most, engine.open_streams_level().hard);
}
