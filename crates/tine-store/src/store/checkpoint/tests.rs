//! Goal: what a manifest counts and what its reader counts on top of it are each block once; overlays are bounded.
//! Method: a stretch is published while its parent is in memory still, as when a point is made beside a drain; more is
//! discarded than overlays may keep.
//!
//! Goal: however many branches are open and written to, they keep within the bounds of memory all together.
//! Method: three hundred forks are, with bounds that a few of them would fill.
//!
//! Goal: reading pays for a merge of the runs, and then for one of all; neither changes what the disk holds.
//! Method: a tree with two runs beside it is looked into as often as that takes.
//!
//! Goal: what many forks stand on is merged once, for all of them; a disk's layers reach their bounds and keep them.
//! Method: the bytes that a checkpoint writes are counted, with one fork and with a hundred; checkpoints add run after run.
//!
//! Goal: what cannot be read of one disk's index keeps no other disk from being written, and the damaged one can be dropped.
//! Method: nodes are damaged on the medium, and more is written than the journal can hold.

use std::ops::Range;
use std::sync::Arc;

use super::Merging;
use crate::index::leaf::{Piece, PieceContent};
use crate::index::node::NodeRef;
use crate::medium::ObjectName;
use crate::medium::simulated::{Chooser, Fault, FileName, SimulatedMedium, SimulatedOptions};
use crate::{Branch, BranchName, CreateOptions, OpenOptions, Store, StoreError, Target, UpkeepMode};

fn options() -> OpenOptions {
    OpenOptions {
        upkeep: UpkeepMode::Inline,
        ..OpenOptions::default()
    }
}

#[test]
fn blocks_that_no_root_covers_are_counted_once_after_a_crash() {
    let medium = SimulatedMedium::new(SimulatedOptions::default(), Chooser::seeded(1));
    let store = Store::create_on(medium.start(), &CreateOptions::default(), options()).expect("a store");
    let name = "a".parse().expect("a valid name");
    let branch = store.create_branch(&name, 1 << 20).expect("a branch");
    let engine = store.engine();
    branch.write_at(&[1; 4096], 0).expect("written");
    store
        .snapshot(&[(name.clone(), "s".parse().expect("a valid name"))])
        .expect("a snapshot");
    branch.write_at(&[2; 4096], 4096).expect("written");
    branch.flush().expect("flushed");
    let mut upkeep = engine.upkeep.lock();
    engine.drain_branch(&mut upkeep, &branch.cell).expect("a drain");
    engine.save(&mut upkeep, Merging::Paced).expect("a manifest");
    drop(upkeep);
    let head = |store: &Store| {
        let branch = store.branch(&name).expect("a branch");
        let stretch = branch.cell.head.read().stretch.clone();
        let state = stretch.state.lock();
        (state.live.values().sum::<u64>(), state.parts.len())
    };
    assert_eq!(head(&store), (1, 1));
    medium.crash_process(false);
    let again = Store::open_on(medium.start(), options()).expect("the store opens");
    assert_eq!(head(&again).0, 1);
}

#[test]
fn look_ups_in_vain_merge_the_runs_and_then_all() {
    let medium = SimulatedMedium::new(SimulatedOptions::default(), Chooser::seeded(1));
    let store = Store::create_on(medium.start(), &CreateOptions::default(), options()).expect("a store");
    let name = "a".parse().expect("a valid name");
    let branch = store.create_branch(&name, 64 << 20).expect("a branch");
    let engine = store.engine();
    let checkpoint = || {
        let saved = engine.checkpoint(&mut engine.upkeep.lock(), Merging::Paced);
        saved.expect("a checkpoint");
    };
    let root = || {
        let stretch = branch.cell.head.read().stretch.clone();
        let root = stretch.state.lock().root.clone();
        root.expect("a root")
    };
    // Block by block; what was discarded is a hole in a run, and nothing in the lowest tree.
    let content = || {
        let mut found = Vec::new();
        let mut each = |range: Range<u64>, piece: Option<Piece<'_>>| {
            let piece = piece.filter(|piece| !matches!(piece.content, PieceContent::Hole));
            found.extend(range.map(|block| piece.map(|piece| piece.within(block, block + 1).to_extent())));
            Ok(true)
        };
        root().resolve(&engine.index, 0..16384, &mut each).expect("read");
        found
    };
    // No two blocks lie together, so that each is an extent.
    for (version, count) in [(1, 8000), (2, 100), (3, 20)] {
        for at in 0..count {
            branch.write_at(&[version; 4096], at * 2 * 4096).expect("written");
        }
        branch.discard(12_000 * 4096, 4096).expect("discarded");
        checkpoint();
    }
    let before = content();
    assert_eq!((before.len(), before[12_000].is_none()), (16384, true));
    assert_eq!(root().trees.len(), 3);
    for left in [2, 1] {
        let layers = root();
        while layers.paid_merge().is_none() {
            let look = layers.resolve(&engine.index, 9..10, &mut |_, _| Ok(true));
            look.expect("read");
        }
        assert_eq!(layers.paid_merge(), Some(left - 1));
        checkpoint();
        assert_eq!(root().trees.len(), left);
        assert_eq!(content(), before);
    }
}

#[test]
fn a_file_that_the_ring_grew_by_is_missed() {
    let medium = SimulatedMedium::new(SimulatedOptions::default(), Chooser::seeded(1));
    let create = CreateOptions {
        journal_file_bytes: 32 << 10,
        journal_files: 3,
    };
    let store = Store::create_on(medium.start(), &create, options()).expect("a store");
    let engine = store.engine();
    let more_than_there_is = 8 * create.journal_file_bytes;
    engine.journal.grow(more_than_there_is).expect("another file");
    let mut upkeep = engine.upkeep.lock();
    engine
        .checkpoint(&mut upkeep, Merging::Paced)
        .expect("a manifest");
    drop(upkeep);
    store.close().expect("a clean close");
    let damage = |harm: &dyn Fn(&SimulatedMedium) -> bool| {
        let harmed = medium.fork();
        assert!(harm(&harmed));
        let opened = Store::open_on(harmed.start(), options());
        opened.err().map(|error| error.to_string()).unwrap_or_default()
    };
    let grown = FileName::Journal(3);
    let lost = damage(&|medium| medium.lose(grown));
    assert!(lost.contains("journal/3 is missing"), "{lost}");
    let cut = damage(&|medium| medium.truncate(grown, 0));
    assert!(cut.contains("journal/3 is cut"), "{cut}");
}

#[test]
fn zeroes_count_against_the_budget_of_overlays() {
    let medium = SimulatedMedium::new(SimulatedOptions::default(), Chooser::seeded(1));
    let store = Store::create_on(medium.start(), &CreateOptions::default(), options()).expect("a store");
    let name = "a".parse().expect("a valid name");
    let branch = store.create_branch(&name, 64 << 30).expect("a branch");
    for at in 0..super::OVERLAID_MAX + 1000 {
        branch.discard(at * 3 * 4096, 4096).expect("discarded");
    }
    // One that only reads has the same overlay, and no root of its own that would know it.
    let idle = "idle".parse().expect("a valid name");
    store
        .fork(&"a".parse().expect("a valid name"), &idle)
        .expect("a fork");
    let idle = store.branch(&idle).expect("a branch");
    let engine = store.engine();
    engine
        .checkpoint(&mut engine.upkeep.lock(), Merging::Paced)
        .expect("a checkpoint");
    for branch in [branch, idle] {
        let head = branch.cell.head.read();
        let view = head.view.as_ref().expect("loaded");
        assert_eq!(view.overlay.iter().count(), 0, "of `{}`", branch.name());
    }
}

#[test]
fn many_written_branches_that_are_open_keep_all_bounds_together() {
    const FORKS: u64 = 300;
    /// Of each fork: more in all than overlays may keep.
    const CLEARED: u64 = 4000;
    const WRITTEN: u64 = 20;
    let options = OpenOptions {
        buffer_bytes: 4 << 20,
        index_cache_bytes: 1 << 20,
        ..options()
    };
    let medium = SimulatedMedium::new(SimulatedOptions::default(), Chooser::seeded(1));
    let store = Store::create_on(medium.start(), &CreateOptions::default(), options).expect("a store");
    let name = |text: &str| text.parse::<BranchName>().expect("a valid name");
    store.create_branch(&name("golden"), 64 << 30).expect("a branch");
    let golden = Target::Branch(name("golden"));
    let made: Vec<_> = (0..FORKS)
        .map(|number| (golden.clone(), name(&format!("fork-{number}"))))
        .collect();
    store.fork_many(&made).expect("forks");
    let forks: Vec<Branch> = made
        .iter()
        .map(|(_, name)| store.branch(name).expect("a fork"))
        .collect();
    let engine = store.engine();
    for (number, fork) in (0..).zip(&forks) {
        for at in 0..CLEARED {
            fork.discard((at * 3 + 1) * 4096, 4096).expect("discarded");
        }
        for at in 0..WRITTEN {
            let block = [number as u8 ^ at as u8; 4096];
            fork.write_at(&block, at * 3 * 4096).expect("written");
        }
        let buffer = store.stats().expect("statistics").buffer;
        assert!(
            buffer.bytes <= buffer.hard,
            "{} bytes behind fork {number}",
            buffer.bytes
        );
    }
    engine
        .checkpoint(&mut engine.upkeep.lock(), Merging::Paced)
        .expect("a checkpoint");
    for (number, fork) in (0..).zip(&forks) {
        for at in 0..WRITTEN {
            let mut block = [0; 4096];
            fork.read_at(&mut block, at * 3 * 4096).expect("read");
            assert_eq!(
                block,
                [number as u8 ^ at as u8; 4096],
                "block {at} of fork {number}"
            );
        }
    }
    let heads = forks.iter().map(|fork| fork.cell.head.read());
    let overlaid: u64 = heads
        .map(|head| head.view.as_ref().map_or(0, |view| view.overlaid))
        .sum();
    assert!(overlaid <= super::OVERLAID_MAX, "{overlaid} blocks in overlays");
    let stats = store.stats().expect("statistics");
    let (cached, most) = (stats.index.cached_bytes, stats.index.hard);
    assert!(
        (1..=most).contains(&cached),
        "{cached} bytes of nodes, of at most {most}"
    );
    assert!(
        stats.descriptors.open <= stats.descriptors.hard,
        "{:?}",
        stats.descriptors
    );
}

#[test]
fn a_manifest_that_could_not_be_put_is_removed() {
    let mut failed = 0;
    for nth in 1..8 {
        let medium = SimulatedMedium::new(SimulatedOptions::default(), Chooser::seeded(1));
        let store = Store::create_on(medium.start(), &CreateOptions::default(), options()).expect("a store");
        let name = "a".parse().expect("a valid name");
        let branch = store.create_branch(&name, 1 << 20).expect("a branch");
        branch.write_at(&[1; 4096], 0).expect("written");
        let engine = store.engine();
        medium.inject(Fault::Sync, nth);
        let saved = engine.checkpoint(&mut engine.upkeep.lock(), Merging::Paced);
        if saved.is_ok() || engine.check_writable().is_err() {
            // Nothing was to sync any more, or it was the journal.
            continue;
        }
        let is_manifest = |name: &FileName| matches!(name, FileName::Object(ObjectName::Manifest(_)));
        let manifests = medium.files().into_iter().filter(|(name, _)| is_manifest(name));
        assert_eq!(manifests.count(), 1, "after the failure of sync {nth}");
        failed += 1;
    }
    assert!(failed >= 2, "the segment's sync and the manifest's can fail");
}

/// Adds a run of some blocks to a disk, by a checkpoint.
fn add_run(store: &Store, branch: &Branch, blocks: impl Iterator<Item = u64>, merging: Merging) {
    for block in blocks {
        branch
            .write_at(&[block as u8 | 1; 4096], block * 4096)
            .expect("written");
    }
    let engine = store.engine();
    let saved = engine.checkpoint(&mut engine.upkeep.lock(), merging);
    saved.expect("a checkpoint");
}

/// Returns the bytes that a checkpoint writes which finds a point with layers that reading has paid to merge, and so many
/// forks that stand on it, each with a block of its own; and those of the next process's first checkpoint, after it has
/// opened and read all forks.
fn bytes_of_merging(forks: u64) -> (u64, u64) {
    let medium = SimulatedMedium::new(SimulatedOptions::default(), Chooser::seeded(1));
    let store = Store::create_on(medium.start(), &CreateOptions::default(), options()).expect("a store");
    let golden: BranchName = "golden".parse().expect("a valid name");
    let branch = store.create_branch(&golden, 256 << 20).expect("a branch");
    // The smaller ones touch each leaf of the largest.
    for (count, stride) in [(20_000, 2), (400, 100), (20, 2000)] {
        add_run(&store, &branch, (0..count).map(|at| at * stride), Merging::Paced);
    }
    let names: Vec<BranchName> = (0..forks)
        .map(|at| format!("f{at}").parse().expect("a valid name"))
        .collect();
    let source = Target::Branch(golden);
    let made: Vec<_> = names.iter().map(|name| (source.clone(), name.clone())).collect();
    let point = branch.cell.head.read().stretch.clone();
    store.fork_many(&made).expect("forks");
    let root = || point.state.lock().root.clone().expect("a root");
    assert_eq!(root().trees.len(), 3);
    for (name, at) in names.iter().zip(0..) {
        let fork = store.branch(name).expect("a fork");
        fork.write_at(&[9; 4096], at * 4096).expect("written");
    }
    let looked_at = root();
    while looked_at.paid_merge() != Some(0) {
        let look = looked_at.resolve(&store.engine().index, 9..10, &mut |_, _| Ok(true));
        look.expect("read");
    }
    let written = |store: &Store| {
        let before = medium.counters().written_bytes;
        let engine = store.engine();
        let saved = engine.checkpoint(&mut engine.upkeep.lock(), Merging::Paced);
        saved.expect("a checkpoint");
        medium.counters().written_bytes - before
    };
    let merging = written(&store);
    assert_eq!(root().trees.len(), 1);
    store.close().expect("closed");
    let store = Store::open_on(medium.start(), options()).expect("the store opens");
    for name in &names {
        let fork = store.branch(name).expect("a fork");
        for block in 0..400 {
            fork.read_at(&mut [0; 4096], block * 8192).expect("read");
        }
    }
    (merging, written(&store))
}

#[test]
fn a_point_is_merged_once_for_all_forks_that_stand_on_it() {
    let ((one, after_one), (hundred, after_hundred)) = (bytes_of_merging(1), bytes_of_merging(100));
    println!("{one} bytes with a fork, {hundred} with a hundred; then {after_one} and {after_hundred}");
    let tree = 20_000 * 24;
    assert!(one > tree, "{one} bytes: nothing was merged");
    // A fork has its block, its run, its set of written blocks and its records in the manifest.
    let more = 99 * 6 * 1024;
    assert!(
        hundred < one + more,
        "{one} bytes with a fork, {hundred} with a hundred"
    );
    assert!(after_one < tree / 10, "{after_one} bytes after a fork was opened");
    assert!(
        after_hundred < after_one + 99 * 1024,
        "{after_hundred} bytes after a hundred forks were opened"
    );
}

#[test]
fn an_open_fork_that_wrote_nothing_stands_on_what_its_point_was_merged_to() {
    let medium = SimulatedMedium::new(SimulatedOptions::default(), Chooser::seeded(1));
    let store = Store::create_on(medium.start(), &CreateOptions::default(), options()).expect("a store");
    let [golden, fork]: [BranchName; 2] = ["golden", "fork"].map(|name| name.parse().expect("a valid name"));
    let branch = store.create_branch(&golden, 64 << 20).expect("a branch");
    for (count, stride) in [(4000, 2), (80, 100)] {
        add_run(&store, &branch, (0..count).map(|at| at * stride), Merging::Paced);
    }
    store.fork(&Target::Branch(golden), &fork).expect("a fork");
    let fork = store.branch(&fork).expect("the fork");
    let base = || {
        let head = fork.cell.head.read();
        Arc::clone(&head.view.as_ref().expect("it is open").base)
    };
    let before = base();
    assert_eq!(before.trees.len(), 2);
    while before.paid_merge() != Some(0) {
        let look = before.resolve(&store.engine().index, 9..10, &mut |_, _| Ok(true));
        look.expect("read");
    }
    let engine = store.engine();
    let saved = engine.checkpoint(&mut engine.upkeep.lock(), Merging::Paced);
    saved.expect("a checkpoint");
    assert_eq!((base().owner, base().trees.len()), (before.owner, 1));
    let mut bytes = [0; 4096];
    fork.read_at(&mut bytes, 100 * 4096).expect("read");
    assert_eq!(bytes, [101; 4096]);
}

#[test]
fn layers_reach_their_bounds_and_keep_them() {
    let medium = SimulatedMedium::new(SimulatedOptions::default(), Chooser::seeded(1));
    let store = Store::create_on(medium.start(), &CreateOptions::default(), options()).expect("a store");
    let name = "a".parse().expect("a valid name");
    let branch = store.create_branch(&name, 256 << 20).expect("a branch");
    add_run(&store, &branch, (0..20_000).map(|at| at * 2), Merging::Paced);
    let most = |runs: Range<u64>, merging| {
        let mut most = 0;
        for run in runs {
            // Smaller and smaller, so that they do not merge for being alike.
            let blocks = (2000 >> (2 * (run % 6))) + 1;
            add_run(&store, &branch, (0..blocks).map(|at| (at * 5 + run) * 2), merging);
            most = most.max(store.stats().expect("stats").index.layers);
        }
        most
    };
    let index = store.stats().expect("stats").index;
    assert_eq!(most(0..60, Merging::Paced), index.layers_soft);
    // As on a full disk, which has no room for merges.
    let least = 60..60 + index.layers_hard + 20;
    assert_eq!(most(least, Merging::Least), index.layers_hard);
    assert!(most(200..201, Merging::Paced) <= index.layers_soft);
}

/// Damages every node, or what else lies there, within some bytes of a segment.
fn damage(medium: &SimulatedMedium, at: &NodeRef) {
    let file = FileName::Object(ObjectName::Segment(at.segment));
    for offset in (at.offset..at.offset + u64::from(at.bytes)).step_by(64) {
        assert!(medium.flip(file, offset, 1), "nothing lies there");
    }
}

/// A store with a small journal and two disks, `a` with a tree, opened again after what was written to `a` since was flushed.
fn store_to_damage() -> (SimulatedMedium, Store, [BranchName; 2]) {
    let medium = SimulatedMedium::new(SimulatedOptions::default(), Chooser::seeded(1));
    let create = CreateOptions {
        journal_file_bytes: 256 << 10,
        journal_files: 4,
    };
    let store = Store::create_on(medium.start(), &create, options()).expect("a store");
    let names: [BranchName; 2] = ["a", "b"].map(|name| name.parse().expect("a valid name"));
    let [a, _] = names
        .each_ref()
        .map(|name| store.create_branch(name, 64 << 20).expect("a branch"));
    add_run(&store, &a, (0..100).map(|at| at * 2), Merging::Paced);
    for block in 0..100 {
        a.write_at(&[7; 4096], block * 4 * 4096).expect("written");
    }
    a.flush().expect("flushed");
    drop(a);
    medium.crash_process(false);
    let store = Store::open_on(medium.start(), options()).expect("the store opens");
    (medium, store, names)
}

#[test]
fn what_was_just_written_is_read_without_loading_its_nodes() {
    let medium = SimulatedMedium::new(SimulatedOptions::default(), Chooser::seeded(1));
    let store = Store::create_on(medium.start(), &CreateOptions::default(), options()).expect("a store");
    let branch = store
        .create_branch(&"a".parse().expect("a valid name"), 64 << 20)
        .expect("a branch");
    add_run(&store, &branch, (0..2000).map(|at| at * 2), Merging::Paced);
    let root = {
        let head = branch.cell.head.read();
        let state = head.stretch.state.lock();
        let root = state.root.as_ref().expect("a root");
        root.trees[0].record.root
    };
    damage(&medium, &root);
    let read = |branch: &Branch| branch.read_at(&mut [0; 4096], 1000 * 2 * 4096);
    read(&branch).expect("read without the medium's");
    drop(branch);
    store.close().expect("closed");
    let store = Store::open_on(medium.start(), options()).expect("the store opens");
    let branch = store.branch(&"a".parse().expect("a valid name")).expect("there");
    assert!(matches!(read(&branch), Err(StoreError::Damaged { .. })));
}

#[test]
fn a_disk_whose_index_cannot_be_read_keeps_no_other_from_being_written() {
    let (medium, store, [a, b]) = store_to_damage();
    let trees: Vec<NodeRef> = {
        let catalog = store.engine().catalog.lock();
        let head = catalog.branches[&a].cell.head.read();
        let state = head.stretch.state.lock();
        let root = state.root.as_ref().expect("a root");
        root.trees.iter().map(|tree| tree.record.root).collect()
    };
    assert_eq!(trees.len(), 1);
    damage(&medium, &trees[0]);
    let branch = store.branch(&b).expect("the other disk");
    let ring = store.stats().expect("stats").journal.hard;
    for write in 0..3 * ring / 8192 {
        let block = write % 1000;
        branch
            .write_at(&[write as u8 | 1; 4096], block * 4096)
            .expect("written");
        branch.flush().expect("flushed");
    }
    let engine = store.engine();
    let saved = engine.checkpoint(&mut engine.upkeep.lock(), Merging::Paced);
    saved.expect("a checkpoint");
    // What was written of it since can be read; what its tree had cannot, and is not told as zeroes.
    let damaged = store.state(&Target::Branch(a.clone())).expect("a view");
    let mut bytes = [0; 4096];
    damaged.read_at(&mut bytes, 4 * 4096).expect("read");
    assert_eq!(bytes, [7; 4096]);
    let lost = damaged.read_at(&mut bytes, 2 * 4096);
    assert!(matches!(lost, Err(StoreError::Damaged { .. })), "{lost:?}");
    let stretch = engine.catalog.lock().branches[&a].cell.head.read().stretch.id;
    let whole = engine.checkpoint(&mut engine.upkeep.lock(), Merging::Whole(stretch));
    assert!(matches!(whole, Err(StoreError::Damaged { .. })), "{whole:?}");
    drop(damaged);
    store.drop_branches(&[a]).expect("dropped");
    drop(branch);
    store.close().expect("closed");
    let store = Store::open_on(medium.start(), options()).expect("the store opens");
    assert_eq!(store.branches().expect("told").len(), 1);
    let report = store.check(true, &mut |_| std::ops::ControlFlow::Continue(()));
    assert!(report.expect("checked").damage.is_empty());
}

#[test]
fn a_set_of_written_blocks_that_cannot_be_read_is_found_anew() {
    let (medium, store, [a, _]) = store_to_damage();
    let written = |store: &Store| store.branch_info(&a).expect("told").written;
    let expected = written(&store);
    // A hundred, and a hundred of which fifty are among them.
    assert_eq!(expected, 150 * 4096);
    medium.crash_process(false);
    let store = Store::open_on(medium.start(), options()).expect("the store opens");
    let at = {
        let catalog = store.engine().catalog.lock();
        let head = catalog.branches[&a].cell.head.read();
        let state = head.stretch.state.lock();
        state.written_at.expect("a set")
    };
    damage(&medium, &at);
    let branch = store.branch(&a).expect("the disk");
    branch.write_at(&[9; 4096], 1001 * 4096).expect("written");
    let engine = store.engine();
    let saved = engine.checkpoint(&mut engine.upkeep.lock(), Merging::Paced);
    saved.expect("a checkpoint");
    drop(branch);
    store.close().expect("closed");
    let store = Store::open_on(medium.start(), options()).expect("the store opens");
    assert_eq!(written(&store), expected + 4096);
}
