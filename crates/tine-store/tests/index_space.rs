//! Goal: what the index counts and holds is what somebody needs, with checkpoints, readers and writers at once.
//! Method: the simulated medium, one reader or checker beside many checkpoints.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use support::perform::{branch_name, go_on};
use tine_store::medium::simulated::{Chooser, SimulatedMedium, SimulatedOptions};
use tine_store::{CreateOptions, OpenOptions, Store, UpkeepMode, UpkeepStep};

const BLOCK: usize = 4096;

fn options() -> OpenOptions {
    OpenOptions {
        upkeep: UpkeepMode::Inline,
        ..OpenOptions::default()
    }
}

fn new_store() -> (SimulatedMedium, Store) {
    let medium = SimulatedMedium::new(
        SimulatedOptions {
            capacity: None,
            write_once: false,
        },
        Chooser::seeded(1),
    );
    let create = CreateOptions {
        journal_file_bytes: 4 << 20,
        journal_files: 3,
    };
    let store = Store::create_on(medium.start(), &create, options()).expect("a new store");
    (medium, store)
}

/// Ends a thread's loop when the test fails, too.
struct Stop(Arc<AtomicBool>);

impl Drop for Stop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_long_reader_holds_what_it_reads_and_not_every_root_since() {
    let (_medium, store) = new_store();
    let branch = store
        .create_branch(&branch_name("a"), 64 << 20)
        .expect("a branch");
    branch.write_at(&[1; 8 << 20], 0).expect("written");
    store.upkeep(UpkeepStep::Checkpoint).expect("a checkpoint");
    let held = branch.state().expect("a state");
    for round in 0..100u64 {
        branch
            .write_at(&[round as u8 + 2; BLOCK], round * 7 % 2000 * BLOCK as u64)
            .expect("written");
        store.upkeep(UpkeepStep::Checkpoint).expect("a checkpoint");
    }
    store.upkeep(UpkeepStep::Reclaim).expect("reclaimed");
    let segments = store.stats().expect("stats").segments;
    let mut bytes = vec![0; 8 << 20];
    held.read_at(&mut bytes, 0).expect("readable");
    assert!(bytes.iter().all(|&byte| byte == 1));
    drop(held);
    store.upkeep(UpkeepStep::Reclaim).expect("reclaimed");
    let after = store.stats().expect("stats").segments;
    println!("{segments:?} then {after:?}");
    assert!(
        segments.index_bytes < 2 * after.index_bytes + (64 << 10),
        "{segments:?} then {after:?}"
    );
}

#[test]
fn a_check_beside_checkpoints_finds_no_damage() {
    let (_medium, store) = new_store();
    let branch = store
        .create_branch(&branch_name("a"), 64 << 20)
        .expect("a branch");
    branch.write_at(&[1; BLOCK], 0).expect("written");
    let stop = Stop(Arc::new(AtomicBool::new(false)));
    let thread = {
        let (store, stop) = (store.clone(), Arc::clone(&stop.0));
        thread::spawn(move || {
            let mut round = 0u64;
            while !stop.load(Ordering::Relaxed) {
                round += 1;
                branch
                    .write_at(&[round as u8 | 1; BLOCK], round % 1000 * BLOCK as u64)
                    .expect("written");
                store.upkeep(UpkeepStep::Checkpoint).expect("a checkpoint");
            }
        })
    };
    for round in 0..50 {
        let report = store.check(round % 8 == 0, &mut go_on).expect("a check");
        assert!(report.damage.is_empty(), "round {round}: {:?}", report.damage);
    }
    drop(stop);
    thread.join().expect("no panic");
}
