//! Goal: what a manifest counts and what its reader counts on top of it are each block once; overlays are bounded.
//! Method: a stretch is published while its parent is in memory still, as when a point is made beside a drain; more is
//! discarded than overlays may keep.
//!
//! Goal: reading pays for a merge of the runs, and then for one of all; neither changes what the disk holds.
//! Method: a tree with two runs beside it is looked into as often as that takes.

use std::ops::Range;

use super::Merging;
use crate::index::leaf::{Piece, PieceContent};
use crate::medium::ObjectName;
use crate::medium::simulated::{Chooser, Fault, FileName, SimulatedMedium, SimulatedOptions};
use crate::{CreateOptions, OpenOptions, Store, UpkeepMode};

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
