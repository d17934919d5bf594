//! Goal: *written* is what it was at some moment while it was asked for, and is not counted again without need.
//! Method: stores whose heads have no memory for which blocks are their own.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::medium::simulated::{Chooser, SimulatedMedium, SimulatedOptions};
use crate::store::checkpoint::Merging;
use crate::store::stretch::Stretch;
use crate::{Branch, BranchName, CreateOptions, OpenOptions, Store, StoreError, UpkeepMode};

const BLOCK: u64 = 4096;

fn options(own_words: u64) -> OpenOptions {
    let mut options = OpenOptions {
        upkeep: UpkeepMode::Inline,
        ..OpenOptions::default()
    };
    options.bounds.own_words = own_words;
    options
}

fn medium() -> SimulatedMedium {
    SimulatedMedium::new(SimulatedOptions::default(), Chooser::seeded(1))
}

fn create(medium: &SimulatedMedium, own_words: u64) -> Store {
    let store = Store::create_on(medium.start(), &CreateOptions::default(), options(own_words));
    store.expect("a store")
}

fn name(name: &str) -> BranchName {
    name.parse().expect("a valid name")
}

fn write(branch: &Branch, block: u64) {
    branch.write_at(&[7; 4096], block * BLOCK).expect("written");
}

fn checkpoint(store: &Store) {
    let engine = store.engine();
    let saved = engine.checkpoint(&mut engine.upkeep.lock(), Merging::Paced);
    saved.expect("a checkpoint");
}

fn stretch(store: &Store, branch: &BranchName) -> Arc<Stretch> {
    let catalog = store.engine().catalog.lock();
    let entry = catalog.entry(branch).expect("a branch");
    Arc::clone(&entry.cell.head.read().stretch)
}

#[test]
fn what_is_told_while_blocks_are_overwritten_was_true_at_some_moment() {
    const BLOCKS: u64 = 64;
    let medium = medium();
    let store = create(&medium, 0);
    let name = name("a");
    let branch = store.create_branch(&name, 1 << 20).expect("a branch");
    (0..BLOCKS).for_each(|block| write(&branch, block));
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                (0..BLOCKS).for_each(|block| write(&branch, block));
            }
        });
        let told: Vec<u64> = (0..2000)
            .map(|at| {
                let points = || store.points().expect("told")[0].written;
                let written = || store.branch_info(&name).expect("told").written;
                if at % 2 == 0 { points() } else { written() }
            })
            .collect();
        is_over.store(true, Ordering::Relaxed);
        assert!(told.iter().all(|&written| written == BLOCKS * BLOCK), "{told:?}");
    });
}

#[test]
fn what_was_counted_is_known_until_something_is_written() {
    let medium = medium();
    let store = create(&medium, 0);
    let name = name("a");
    let branch = store.create_branch(&name, 1 << 30).expect("a branch");
    let alive = |store: &Store| stretch(store, &name).alive();
    (0..100).for_each(|block| write(&branch, block * 100));
    assert_eq!(alive(&store), None, "there is no memory for it");
    let written = |store: &Store| store.branch_info(&name).expect("told").written;
    assert_eq!((written(&store), alive(&store)), (100 * BLOCK, Some(100)));
    write(&branch, 1);
    assert_eq!(alive(&store), None);
    assert_eq!((written(&store), alive(&store)), (101 * BLOCK, Some(101)));
    // Who only saves counts too.
    write(&branch, 2);
    checkpoint(&store);
    assert_eq!(alive(&store), None);
    drop(branch);
    drop(store);
    let store = Store::open_on(medium.start(), options(0)).expect("the store opens");
    assert_eq!(alive(&store), Some(102));
    let branch = store.branch(&name).expect("the branch");
    assert_eq!(alive(&store), Some(102), "it is in use, and nothing was written");
    branch.discard(0, 2 * BLOCK).expect("discarded");
    assert_eq!((alive(&store), written(&store)), (None, 100 * BLOCK));
}

#[test]
fn a_set_for_which_there_is_no_room_is_not_read() {
    const WORDS: u64 = 4000;
    let medium = medium();
    let store = create(&medium, 1 << 19);
    let name = name("a");
    let branch = store.create_branch(&name, 4 << 30).expect("a branch");
    (0..WORDS).for_each(|word| write(&branch, word * 128));
    checkpoint(&store);
    drop(branch);
    store.close().expect("closed");
    let read_with = |own_words: u64| {
        let store = Store::open_on(medium.start(), options(own_words)).expect("the store opens");
        let before = medium.counters().read_bytes;
        let _branch = store.branch(&name).expect("the branch");
        let read = medium.counters().read_bytes - before;
        assert_eq!(store.branch_info(&name).expect("told").written, WORDS * BLOCK);
        store.close().expect("closed");
        read
    };
    assert!(read_with(1 << 19) >= WORDS * 24);
    assert_eq!(read_with(WORDS / 2), 0);
}

#[test]
fn a_branch_that_was_dropped_keeps_nothing_in_memory_for_its_handles() {
    let medium = medium();
    let store = create(&medium, 100);
    let name = name("a");
    let branch = store.create_branch(&name, 1 << 20).expect("a branch");
    write(&branch, 0);
    assert_eq!(store.engine().own.entries(), 1);
    store.drop_branches(&[name]).expect("dropped");
    assert_eq!(store.engine().own.entries(), 0);
    drop(branch);
}

#[test]
fn a_branch_that_is_dropped_while_it_is_counted_is_unknown() {
    let medium = medium();
    let store = create(&medium, 0);
    for round in 0..200 {
        let name = name(&format!("b{round}"));
        let branch = store.create_branch(&name, 1 << 30).expect("a branch");
        (0..100).for_each(|block| write(&branch, block * 100));
        thread::scope(|scope| {
            let asked = scope.spawn(|| {
                loop {
                    let _ = branch.write_at(&[8; 4096], 0);
                    match store.branch_info(&name) {
                        Ok(info) => assert_eq!(info.written, 100 * BLOCK),
                        Err(StoreError::UnknownBranch { .. }) => break,
                        Err(error) => panic!("{error}"),
                    }
                }
            });
            store.drop_branches(std::slice::from_ref(&name)).expect("dropped");
            asked.join().expect("told");
        });
    }
}
