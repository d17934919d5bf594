//! Goal: forks whose roots were saved before their point is merged stand on what became of it, and pay for it together.
//! Method: a point with a tree and two runs has forks with a run of their own each; one of them reads until a merge is due.

use std::ops::ControlFlow;
use std::sync::Arc;

use super::super::Merging;
use crate::index::layers::Layers;
use crate::medium::simulated::{Chooser, SimulatedMedium, SimulatedOptions};
use crate::{Branch, BranchName, CreateOptions, OpenOptions, Store, Target, UpkeepMode};

fn options() -> OpenOptions {
    OpenOptions {
        upkeep: UpkeepMode::Inline,
        ..OpenOptions::default()
    }
}

fn checkpoint(store: &Store) {
    let engine = store.engine();
    let saved = engine.checkpoint(&mut engine.upkeep.lock(), Merging::Paced);
    saved.expect("a checkpoint");
}

fn root(branch: &Branch) -> Arc<Layers> {
    let stretch = Arc::clone(&branch.cell.head.read().stretch);
    let root = stretch.state.lock().root.clone();
    root.expect("a root")
}

/// Looks up in vain until that has paid for a merge of all layers.
fn pay(store: &Store, layers: &Layers) {
    while layers.paid_merge() != Some(0) {
        let look = layers.resolve(&store.engine().index, 9..10, &mut |_, _| Ok(true));
        look.expect("read");
    }
}

fn byte(block: u64) -> u8 {
    block as u8 | 1
}

/// Checks blocks of a fork of this number.
fn verify(store: &Store, branch: &Branch, number: u64) {
    for block in (0..40_000).step_by(1000) {
        let mut bytes = [0; 4096];
        branch.read_at(&mut bytes, block * 4096).expect("read");
        assert_eq!(bytes, [byte(block); 4096], "block {block} of fork {number}");
    }
    let mut own = [0; 4096];
    branch.read_at(&mut own, (2 * number + 1) * 4096).expect("read");
    assert_eq!(own, [number as u8 + 1; 4096]);
    let info = store.branch_info(&branch.name()).expect("told");
    assert_eq!(info.written, 4096);
}

/// Returns the bytes that the checkpoint writes which merges the point of so many saved forks.
fn bytes_of_merging(forks: u64) -> u64 {
    let medium = SimulatedMedium::new(SimulatedOptions::default(), Chooser::seeded(1));
    let store = Store::create_on(medium.start(), &CreateOptions::default(), options()).expect("a store");
    let golden: BranchName = "golden".parse().expect("a valid name");
    let branch = store.create_branch(&golden, 256 << 20).expect("a branch");
    // The smaller ones touch each leaf of the largest.
    for (count, stride) in [(20_000, 2), (400, 100), (20, 2000)] {
        for block in (0..count).map(|at| at * stride) {
            branch
                .write_at(&[byte(block); 4096], block * 4096)
                .expect("written");
        }
        checkpoint(&store);
    }
    let names: Vec<BranchName> = (0..forks)
        .map(|at| format!("f{at}").parse().expect("a valid name"))
        .collect();
    let source = Target::Branch(golden);
    let made: Vec<_> = names.iter().map(|name| (source.clone(), name.clone())).collect();
    let point = Arc::clone(&branch.cell.head.read().stretch);
    store.fork_many(&made).expect("forks");
    let point_root = || point.state.lock().root.clone().expect("a root");
    let open = |store: &Store| -> Vec<Branch> {
        let forks = names.iter().map(|name| store.branch(name).expect("a fork"));
        forks.collect()
    };
    let forks = open(&store);
    for (fork, number) in forks.iter().zip(0..) {
        let own = fork.write_at(&[number as u8 + 1; 4096], (2 * number + 1) * 4096);
        own.expect("written");
    }
    checkpoint(&store);
    for fork in &forks {
        let (point, fork) = (point_root(), root(fork));
        assert_eq!((point.trees.len(), fork.trees.len()), (3, 4));
        assert!(
            point
                .trees
                .iter()
                .zip(&fork.trees)
                .all(|(one, other)| Arc::ptr_eq(one, other))
        );
    }

    pay(&store, &root(&forks[0]));
    let before = medium.counters().written_bytes;
    checkpoint(&store);
    let written = medium.counters().written_bytes - before;
    assert_eq!(point_root().trees.len(), 1);
    for (fork, number) in forks.iter().zip(0..) {
        let layers = root(fork);
        assert_eq!(layers.trees.len(), 2, "of fork {number}");
        assert!(
            Arc::ptr_eq(&layers.trees[0], &point_root().trees[0]),
            "of fork {number}"
        );
        let base = Arc::clone(&fork.cell.head.read().view.as_ref().expect("it is open").base);
        assert!(Arc::ptr_eq(&base, &layers), "open fork {number} stands on it");
        verify(&store, fork, number);
    }
    drop((forks, branch));
    store.close().expect("closed");
    let store = Store::open_on(medium.start(), options()).expect("the store opens");
    for (fork, number) in open(&store).iter().zip(0..) {
        assert_eq!(root(fork).trees.len(), 2);
        verify(&store, fork, number);
    }
    let report = store.check(true, &mut |_| ControlFlow::Continue(()));
    assert!(report.expect("checked").damage.is_empty());
    written
}

#[test]
fn forks_that_were_saved_before_stand_on_what_their_point_was_merged_to() {
    let (one, hundred) = (bytes_of_merging(1), bytes_of_merging(100));
    println!("{one} bytes with a fork, {hundred} with a hundred");
    let tree = 20_000 * 24;
    assert!(one > tree, "{one} bytes: nothing was merged");
    // A fork has its records in the manifest: its blocks, and its layers, by their numbers.
    assert!(
        hundred < one + 99 * 512,
        "{one} bytes with a fork, {hundred} with a hundred"
    );
}

#[test]
fn what_a_branch_became_since_is_no_point_that_others_stand_on() {
    let medium = SimulatedMedium::new(SimulatedOptions::default(), Chooser::seeded(1));
    let store = Store::create_on(medium.start(), &CreateOptions::default(), options()).expect("a store");
    let [golden, fork]: [BranchName; 2] = ["golden", "fork"].map(|name| name.parse().expect("a valid name"));
    let branch = store.create_branch(&golden, 256 << 20).expect("a branch");
    for (count, stride) in [(20_000, 2), (400, 100)] {
        for block in (0..count).map(|at| at * stride) {
            branch
                .write_at(&[byte(block); 4096], block * 4096)
                .expect("written");
        }
        checkpoint(&store);
    }
    store.fork(&Target::Branch(golden), &fork).expect("a fork");
    let fork = store.branch(&fork).expect("the fork");
    fork.write_at(&[0; 4096], 4096).expect("written");
    fork.write_at(&[7; 4096], 3 * 4096).expect("written");
    checkpoint(&store);
    // The branch begins with the same layers, but goes on otherwise.
    branch.write_at(&[5; 4096], 3 * 4096).expect("written");
    checkpoint(&store);
    pay(&store, &root(&branch));
    branch.write_at(&[6; 4096], 5 * 4096).expect("written");
    checkpoint(&store);
    let read = |branch: &Branch, block: u64| {
        let mut bytes = [0; 4096];
        branch.read_at(&mut bytes, block * 4096).expect("read");
        bytes[0]
    };
    assert_eq!([3, 5].map(|block| read(&branch, block)), [5, 6]);
    assert_eq!([3, 5].map(|block| read(&fork, block)), [7, 0]);
    assert!(
        Arc::ptr_eq(&root(&branch).trees[0], &root(&fork).trees[0]),
        "the point's, merged"
    );
}
