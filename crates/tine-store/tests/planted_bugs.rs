//! Goal: the tests look where it matters: each deliberate bug of the engine is found, within seconds.
//! Method: plant one, run what should find it. A bug that no test finds is a hole in the tests.

mod support;

use std::collections::BTreeMap;

use parking_lot::Mutex;
use support::alphabet::Alphabet;
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

/// Says which test finds which bug: the table, and for each of its lines a test that plants it.
macro_rules! found {
    ($($test:ident $name:literal by $by:expr;)*) => {
        const TABLE: &[(&str, By)] = &[$(($name, $by)),*];

        $(#[test]
        fn $test() {
            is_found_by($name, $by);
        })*
    };
}

found! {
    no_sync "no-sync" by By::Exhaustive(Alphabet::Branches, 2);
    no_directory_sync "no-directory-sync" by By::Model(2000);
    publish_unsynced "publish-unsynced" by By::Model(2000);
    unchecked_payload "unchecked-payload" by By::Model(2000);
    append_behind_end "append-behind-end" by By::Model(2000);
    stale_frame "stale-frame" by By::Model(2000);
    frame_order "frame-order" by By::Model(2000);
    replay_from_place "replay-from-place" by By::Model(2000);
    older_manifest "older-manifest" by By::Rot;
    cut_forgotten "cut-forgotten" by By::Model(2000);
    reuse_early "reuse-early" by By::Interleaved;
    shrink_keeps_tail "shrink-keeps-tail" by By::Model(2000);
    rollback_wrong_point "rollback-wrong-point" by By::Model(2000);
    fsync_retry "fsync-retry" by By::Model(2000);
    lease_ignored "lease-ignored" by By::Model(2000);
    merge_loses_extent "merge-loses-extent" by By::Model(2000);
    runs_in_wrong_order "runs-in-wrong-order" by By::Model(2000);
    root_unsynced "root-unsynced" by By::Model(2000);
    tombstone_over_live "tombstone-over-live" by By::Model(2000);
    diff_skips_node "diff-skips-node" by By::Model(2000);
    write_into_shared "write-into-shared" by By::Model(2000);
    keep_without_ancestry "keep-without-ancestry" by By::Model(6000);
    stream_unpublished "stream-unpublished" by By::Model(2000);
    defrag_overwrites "defrag-overwrites" by By::Defragmentation;
    flush_forgotten "flush-forgotten" by By::Exhaustive(Alphabet::Branches, 2);
    batch_split "batch-split" by By::Exhaustive(Alphabet::Batches, 1);
    fork_forgotten "fork-forgotten" by By::Model(2_000);
}
