//! Goal: the tests look where it matters: each deliberate bug of the engine is found, within seconds.
//! Method: plant one, run what should find it. A bug that no test finds is a hole in the tests.

mod support;

use std::collections::BTreeMap;

use parking_lot::Mutex;
use support::exhaustive::Alphabet;
use support::{exhaustive, history, interleaved, rot};
use tine_store::planted::{Bug, plant};

/// What should find a bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum By {
    /// `model.rs`, within this many seeds.
    Model(u64),
    /// `exhaustive.rs`, at this depth.
    Exhaustive(Alphabet, usize),
    /// `exhaustive.rs`, with writes in the middle of upkeep.
    Interleaved,
    /// `exhaustive.rs`, with writes in the middle of a defragmentation.
    Defragmentation,
    /// `rot.rs`, the test of the older manifest.
    Rot,
}

/// Which test finds which bug.
const TABLE: &[(&str, By)] = &[
    ("no-sync", By::Exhaustive(Alphabet::Branches, 2)),
    ("no-directory-sync", By::Model(2000)),
    ("publish-unsynced", By::Model(2000)),
    ("unchecked-payload", By::Model(2000)),
    ("append-behind-end", By::Model(2000)),
    ("stale-frame", By::Model(2000)),
    ("frame-order", By::Model(2000)),
    ("replay-from-place", By::Model(2000)),
    ("older-manifest", By::Rot),
    ("cut-forgotten", By::Model(2000)),
    ("reuse-early", By::Interleaved),
    ("shrink-keeps-tail", By::Model(2000)),
    ("rollback-wrong-point", By::Model(2000)),
    ("fsync-retry", By::Model(2000)),
    ("lease-ignored", By::Model(2000)),
    ("merge-loses-extent", By::Model(2000)),
    ("runs-in-wrong-order", By::Model(2000)),
    ("root-unsynced", By::Model(2000)),
    ("tombstone-over-live", By::Model(2000)),
    ("diff-skips-node", By::Model(2000)),
    ("write-into-shared", By::Model(2000)),
    ("keep-without-ancestry", By::Model(6000)),
    ("stream-unpublished", By::Model(2000)),
    ("defrag-overwrites", By::Defragmentation),
    ("flush-forgotten", By::Exhaustive(Alphabet::Branches, 2)),
];

/// Bugs that the short histories have to find as well, and how many operations that takes.
const ALSO_BY_SHORT_HISTORIES: &[(&str, usize)] = &[
    ("no-directory-sync", 1),
    ("publish-unsynced", 1),
    ("unchecked-payload", 1),
    ("append-behind-end", 1),
    ("stale-frame", 1),
    ("older-manifest", 1),
    ("cut-forgotten", 1),
    ("shrink-keeps-tail", 3),
    ("rollback-wrong-point", 3),
];

/// A bug is planted in the whole process, so one at a time.
static PLANTED: Mutex<()> = Mutex::new(());

fn find(by: By) -> Option<String> {
    match by {
        By::Model(seeds) => (0..seeds)
            .find_map(|seed| history::run(seed).err())
            .map(|failure| {
                let how = failure.tell();
                // It would panic for other reasons too.
                assert!(!failure.panicked, "found by a panic alone: {how}");
                how
            }),
        By::Exhaustive(alphabet, depth) => {
            let bounds = exhaustive::Bounds {
                depth,
                subsets: depth,
                second_crash: 1,
                second_usual: 1,
            };
            exhaustive::explore(alphabet, bounds).err()
        }
        By::Defragmentation => interleaved::explore_defragmentation().err(),
        By::Interleaved => interleaved::explore_interleaved().err(),
        By::Rot => rot::older_manifest().err(),
    }
}

/// Plants a bug as long as it lives.
struct Planting;

impl Planting {
    fn new(bug: Bug) -> Self {
        plant(Some(bug));
        Self
    }
}

impl Drop for Planting {
    fn drop(&mut self) {
        plant(None);
    }
}

fn is_found(name: &str) {
    let (_, by) = TABLE
        .iter()
        .find(|(known, _)| *known == name)
        .expect("in the table");
    is_found_by(name, *by);
}

fn is_found_by(name: &str, by: By) {
    let _alone = PLANTED.lock();
    let (_, bug) = Bug::ALL
        .iter()
        .find(|(known, _)| *known == name)
        .expect("known to the engine");
    let planting = Planting::new(*bug);
    let found = find(by);
    drop(planting);
    match found {
        Some(how) => println!("{name} found by {by:?}:\n{how}"),
        None => panic!("{name} is not found by {by:?}"),
    }
}

#[test]
fn the_table_names_every_bug_once() {
    let known: BTreeMap<&str, ()> = Bug::ALL.iter().map(|(name, _)| (*name, ())).collect();
    let table: BTreeMap<&str, ()> = TABLE.iter().map(|(name, _)| (*name, ())).collect();
    assert_eq!(table, known);
    assert_eq!(TABLE.len(), Bug::ALL.len());
}

#[test]
fn short_histories_find_these_too() {
    for &(name, depth) in ALSO_BY_SHORT_HISTORIES {
        is_found_by(name, By::Exhaustive(Alphabet::Branches, depth));
    }
    is_found_by("keep-without-ancestry", By::Exhaustive(Alphabet::Throwaways, 4));
}

macro_rules! found {
    ($($test:ident $name:literal)*) => {
        $(#[test]
        fn $test() {
            is_found($name);
        })*
    };
}

found! {
    no_sync "no-sync"
    no_directory_sync "no-directory-sync"
    publish_unsynced "publish-unsynced"
    unchecked_payload "unchecked-payload"
    append_behind_end "append-behind-end"
    stale_frame "stale-frame"
    frame_order "frame-order"
    replay_from_place "replay-from-place"
    older_manifest "older-manifest"
    cut_forgotten "cut-forgotten"
    reuse_early "reuse-early"
    shrink_keeps_tail "shrink-keeps-tail"
    rollback_wrong_point "rollback-wrong-point"
    fsync_retry "fsync-retry"
    lease_ignored "lease-ignored"
    merge_loses_extent "merge-loses-extent"
    runs_in_wrong_order "runs-in-wrong-order"
    root_unsynced "root-unsynced"
    tombstone_over_live "tombstone-over-live"
    diff_skips_node "diff-skips-node"
    write_into_shared "write-into-shared"
    keep_without_ancestry "keep-without-ancestry"
    defrag_overwrites "defrag-overwrites"
    flush_forgotten "flush-forgotten"
}
