//! Goal: of many who meet a bound at once, one makes room for all.
//! Method: the test holds the right to do upkeep until everybody waits for it.

use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

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
