//! Goal: forks whose roots were saved before their point is merged stand on what became of it, and pay for it together.
//! Method: a point with a tree and two runs has forks with a run of their own each; one of them reads until a merge is due.

use std::ops::ControlFlow;
use std::sync::Arc;

use super::super::Merging;
use crate::index::layers::Layers;
use crate::medium::simulated::{Chooser, SimulatedMedium, SimulatedOptions};
use crate::{Branch, BranchName, CreateOptions, OpenOptions, SnapshotName, Store, Target, UpkeepMode};

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

fn look(store: &Store, layers: &Layers) {
    let look = layers.resolve(&store.engine().index, 9..10, &mut |_, _| Ok(true));
    look.expect("read");
}

/// Looks up in vain until that has paid for a merge of all layers.
fn pay(store: &Store, layers: &Layers) {
    while layers.paid_merge() != Some(0) {
        look(store, layers);
    }
}

/// The same through a fork of this number that goes on to write, with a checkpoint as soon as upkeep is told that some merge
/// is paid. The last of them merges.
fn pay_with_upkeep(store: &Store, branch: &Branch, number: u64) {
    let (begun, all) = (root(branch), 4 * 20_500);
    let mut merges = Vec::new();
    for _ in 0..all {
        look(store, &root(branch));
        if store.engine().index.take_merge() {
            merges.push(root(branch).paid_merge());
            let before = root(branch);
            checkpoint(store);
            if merges.last() == Some(&Some(0)) {
                assert_eq!(merges, [Some(1), Some(0)]);
                return;
            }
            assert!(Arc::ptr_eq(&before, &root(branch)), "it is the point's run too");
            write_own(branch, number);
            checkpoint(store);
            let now = root(branch);
            assert!(
                begun
                    .trees
                    .iter()
                    .zip(&now.trees)
                    .take(2)
                    .all(|(one, other)| Arc::ptr_eq(one, other))
            );
        }
    }
    panic!("upkeep was told of {merges:?} alone");
}

fn write_own(fork: &Branch, number: u64) {
    let own = fork.write_at(&[number as u8 + 1; 4096], (2 * number + 1) * 4096);
    own.expect("written");
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

/// Returns the bytes that the checkpoints write which merge the point of so many saved forks, one tree and these runs.
fn bytes_of_merging(forks: u64, runs: &[(u64, u64)], pay: impl Fn(&Store, &Branch)) -> u64 {
    let medium = SimulatedMedium::new(SimulatedOptions::default(), Chooser::seeded(1));
    let store = Store::create_on(medium.start(), &CreateOptions::default(), options()).expect("a store");
    let golden: BranchName = "golden".parse().expect("a valid name");
    let branch = store.create_branch(&golden, 256 << 20).expect("a branch");
    // The smaller ones touch each leaf of the largest.
    for &(count, stride) in [(20_000, 2)].iter().chain(runs) {
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
        write_own(fork, number);
    }
    checkpoint(&store);
    for fork in &forks {
        let (point, fork) = (point_root(), root(fork));
        let layers = 1 + runs.len();
        assert_eq!((point.trees.len(), fork.trees.len()), (layers, layers + 1));
        assert!(
            point
                .trees
                .iter()
                .zip(&fork.trees)
                .all(|(one, other)| Arc::ptr_eq(one, other))
        );
    }

    let before = medium.counters().written_bytes;
    pay(&store, &forks[0]);
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
    let runs = [(400, 100), (20, 2000)];
    let pay = |store: &Store, fork: &Branch| pay(store, &root(fork));
    check_bytes(
        1,
        bytes_of_merging(1, &runs, pay),
        bytes_of_merging(100, &runs, pay),
    );
}

/// What pays for a merge of a fork's run with that of its point would part it from the point long before all is paid for.
#[test]
fn a_fork_whose_runs_were_paid_for_waits_for_its_point() {
    let runs = [(400, 100)];
    let pay = |store: &Store, fork: &Branch| pay_with_upkeep(store, fork, 0);
    check_bytes(
        4,
        bytes_of_merging(1, &runs, pay),
        bytes_of_merging(100, &runs, pay),
    );
}

/// Checks what so many checkpoints, of which one merges the point, cost with one fork and with a hundred.
fn check_bytes(checkpoints: u64, one: u64, hundred: u64) {
    println!("{one} bytes with a fork, {hundred} with a hundred");
    let tree = 20_000 * 24;
    assert!(one > tree, "{one} bytes: nothing was merged");
    // A fork has its records in each manifest: its blocks, and its layers, by their numbers.
    assert!(
        hundred < one + 99 * 512 * checkpoints,
        "{one} bytes with a fork, {hundred} with a hundred"
    );
}

/// A branch with a tree and a run, and the names of others.
fn golden<const N: usize>(store: &Store, names: [&str; N]) -> (Branch, [BranchName; N]) {
    let branch = store.create_branch(&"golden".parse().expect("a valid name"), 256 << 20);
    let branch = branch.expect("a branch");
    for (count, stride) in [(20_000, 2), (400, 100)] {
        for block in (0..count).map(|at| at * stride) {
            branch
                .write_at(&[byte(block); 4096], block * 4096)
                .expect("written");
        }
        checkpoint(store);
    }
    (branch, names.map(|name| name.parse().expect("a valid name")))
}

#[test]
fn what_a_branch_became_since_is_no_point_that_others_stand_on() {
    let medium = SimulatedMedium::new(SimulatedOptions::default(), Chooser::seeded(1));
    let store = Store::create_on(medium.start(), &CreateOptions::default(), options()).expect("a store");
    let (branch, [fork]) = golden(&store, ["fork"]);
    let snapshot: SnapshotName = "s".parse().expect("a valid name");
    store
        .snapshot(&[(branch.name(), snapshot.clone())])
        .expect("a snapshot");
    // The head has the same trees as the point, in a root of its own.
    branch.resize(512 << 20).expect("resized");
    checkpoint(&store);
    store
        .fork(&Target::Snapshot(branch.name(), snapshot), &fork)
        .expect("a fork");
    let fork = store.branch(&fork).expect("the fork");
    fork.write_at(&[7; 4096], 3 * 4096).expect("written");
    checkpoint(&store);
    assert_eq!((root(&branch).trees.len(), root(&fork).trees.len()), (2, 3));
    // And goes on otherwise.
    branch.write_at(&[5; 4096], 3 * 4096).expect("written");
    branch.write_at(&[6; 4096], 5 * 4096).expect("written");
    checkpoint(&store);
    assert!(root(&branch).trees.len() > 2);
    let read = |branch: &Branch| {
        [3, 5].map(|block| {
            let mut bytes = [0; 4096];
            branch.read_at(&mut bytes, block * 4096).expect("read");
            bytes[0]
        })
    };
    assert_eq!((read(&branch), read(&fork)), ([5, 6], [7, 0]));
    // Through the fork the point is merged, and not the branch with it.
    pay(&store, &root(&fork));
    checkpoint(&store);
    assert_eq!((read(&branch), read(&fork)), ([5, 6], [7, 0]));
    assert_eq!(root(&fork).trees.len(), 2);
}

#[test]
fn of_points_with_the_same_layers_the_oldest_is_merged_for_all() {
    let medium = SimulatedMedium::new(SimulatedOptions::default(), Chooser::seeded(1));
    let store = Store::create_on(medium.start(), &CreateOptions::default(), options()).expect("a store");
    let (branch, [fork]) = golden(&store, ["fork"]);
    let oldest = Arc::clone(&branch.cell.head.read().stretch);
    store.fork(&Target::Branch(branch.name()), &fork).expect("a fork");
    let fork = store.branch(&fork).expect("the fork");
    write_own(&fork, 0);
    let mut points = vec![oldest];
    for (name, mib) in [("one", 512), ("two", 1024)] {
        branch.resize(mib << 20).expect("resized");
        points.push(Arc::clone(&branch.cell.head.read().stretch));
        let name = name.parse().expect("a valid name");
        store.snapshot(&[(branch.name(), name)]).expect("a snapshot");
        checkpoint(&store);
    }
    let forked = fork.cell.head.read().stretch.id;
    assert!(points[0].id < forked && forked < points[2].id);
    let layers = || -> Vec<_> {
        let roots = points.iter().map(|point| point.state.lock().root.clone());
        roots
            .chain([Some(root(&fork))])
            .map(|root| root.expect("a root").trees.len())
            .collect()
    };
    assert_eq!(layers(), [2, 2, 2, 3]);
    pay(&store, &root(&fork));
    checkpoint(&store);
    assert_eq!(layers(), [1, 1, 1, 2]);
    verify(&store, &fork, 0);
}

#[test]
fn a_point_is_merged_as_far_as_anybody_paid_for() {
    let medium = SimulatedMedium::new(SimulatedOptions::default(), Chooser::seeded(1));
    let store = Store::create_on(medium.start(), &CreateOptions::default(), options()).expect("a store");
    let (branch, [fork]) = golden(&store, ["fork"]);
    for block in (0..20).map(|at| at * 2000) {
        let same = branch.write_at(&[byte(block); 4096], block * 4096);
        same.expect("written");
    }
    checkpoint(&store);
    let point = Arc::clone(&branch.cell.head.read().stretch);
    store.fork(&Target::Branch(branch.name()), &fork).expect("a fork");
    let fork = store.branch(&fork).expect("the fork");
    write_own(&fork, 0);
    checkpoint(&store);
    let point_root = || point.state.lock().root.clone().expect("a root");
    assert_eq!((point_root().trees.len(), root(&fork).trees.len()), (3, 4));
    while root(&fork).paid_merge().is_none() {
        look(&store, &root(&fork));
    }
    pay(&store, &point_root());
    assert_eq!(root(&fork).paid_merge(), Some(1));
    checkpoint(&store);
    assert_eq!((point_root().trees.len(), root(&fork).trees.len()), (1, 2));
    verify(&store, &fork, 0);
}
