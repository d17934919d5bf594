//! Goal: the cost of a diff follows what differs, that of opening a branch what it wrote, and that of an import its extents,
//! however large the disks are; nodes that many disks share are in memory once, and within their bound.
//! Method: reads and bytes are counted on the simulated medium, from which each node comes alone; no clock.

mod support;

use std::io::Cursor;
use std::ops::ControlFlow;

use support::perform::branch_name;
use tine_store::medium::simulated::{Chooser, SimulatedMedium, SimulatedOptions};
use tine_store::{CreateOptions, ImportSource, OpenOptions, Store, Target, UpkeepMode, UpkeepStep};

const BLOCK: u64 = 4096;

fn options() -> OpenOptions {
    OpenOptions {
        upkeep: UpkeepMode::Inline,
        ..OpenOptions::default()
    }
}

fn new_store() -> (SimulatedMedium, Store) {
    let medium = SimulatedMedium::new(SimulatedOptions::default(), Chooser::seeded(1));
    let store = Store::create_on(medium.start(), &CreateOptions::default(), options()).expect("a new store");
    (medium, store)
}

/// Opens the store again, with nothing of its index in memory.
fn again(medium: &SimulatedMedium, store: Store) -> Store {
    store.close().expect("closed");
    Store::open_on(medium.start(), options()).expect("opened")
}

/// Writes every other block of a range: an extent each.
fn write_extents(store: &Store, name: &str, extents: impl IntoIterator<Item = u64>, byte: Option<u8>) {
    let branch = store.branch(&branch_name(name)).expect("a branch");
    for extent in extents {
        let offset = 2 * extent * BLOCK;
        match byte {
            Some(byte) => branch.write_at(&[byte; BLOCK as usize], offset),
            None => branch.write_zeroes(offset, BLOCK),
        }
        .expect("written");
    }
    branch.flush().expect("flushed");
}

/// How a fork differs from what it came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum As {
    /// By a run beside the tree that both have.
    Run,
    /// By a tree of its own, which shares nodes.
    Tree,
}

/// Returns how many reads a diff of a disk of so many extents and a fork with ten other blocks takes.
fn reads_of_diff(extents: u64, byte: Option<u8>, how: As) -> u64 {
    const CHANGED: u64 = 10;
    let (medium, store) = new_store();
    let (golden, web) = (branch_name("golden"), branch_name("web"));
    store
        .create_branch(&golden, 2 * extents * BLOCK)
        .expect("a branch");
    write_extents(&store, "golden", 0..extents, byte);
    for _ in 0..4 {
        store.upkeep(UpkeepStep::Checkpoint).expect("a checkpoint");
    }
    store.fork(&Target::Branch(golden.clone()), &web).expect("a fork");
    let branch = store.branch(&web).expect("the fork");
    let changed: Vec<u64> = (0..CHANGED)
        .map(|at| (2 * at + 1) * extents / (2 * CHANGED) * 2)
        .collect();
    for block in &changed {
        branch
            .write_at(&[9; BLOCK as usize], block * BLOCK)
            .expect("written");
    }
    drop(branch);
    store.upkeep(UpkeepStep::Checkpoint).expect("a checkpoint");
    if how == As::Tree {
        // Reading pays for the merge.
        let branch = store.branch(&web).expect("the fork");
        for look in 0..4 * extents + 10_000 {
            let offset = look % extents * 2 * BLOCK;
            branch.read_at(&mut [0], offset).expect("read");
        }
        drop(branch);
        for _ in 0..4 {
            store.upkeep(UpkeepStep::Checkpoint).expect("a checkpoint");
        }
    }
    let store = again(&medium, store);
    let index = store.stats().expect("stats").index;
    assert_eq!(index.layers, if how == As::Tree { 1 } else { 2 });
    let levels = index.levels;
    let states = [golden, web].map(|name| store.state(&Target::Branch(name)).expect("a state"));
    let before = medium.counters().reads;
    let found: Vec<_> = store
        .diff(&states[0], &states[1])
        .expect("a diff")
        .map(|range| range.expect("a range"))
        .collect();
    let reads = medium.counters().reads - before;
    let blocks: Vec<u64> = found.iter().map(|range| range.offset / BLOCK).collect();
    assert_eq!(blocks, changed);
    assert!(found.iter().all(|range| range.length == BLOCK));
    println!("{extents} extents, {how:?}: {reads} reads, {levels} levels");
    // Each way down in both trees, and no block.
    let most = 2 * CHANGED * levels + 4;
    assert!(reads <= most, "{reads} reads, of at most {most}");
    assert!(
        reads >= CHANGED,
        "{reads} reads: what differs has to be looked at"
    );
    reads
}

#[test]
fn a_diff_costs_what_differs_not_what_the_disks_hold() {
    // Zeroes are extents like others, only cheaper to write.
    for (extents, byte, how) in [
        (100_000, None, As::Run),
        (8000, Some(1), As::Run),
        (8000, Some(1), As::Tree),
    ] {
        let small = reads_of_diff(extents, byte, how);
        let large = reads_of_diff(2 * extents, byte, how);
        // A level more, at the most.
        assert!(large <= small + 20, "{how:?}: {large} reads after {small}");
    }
}

/// Returns how many reads opening branches of a store takes that was just opened: a fork to which nothing was written, and
/// one with ten blocks of its own that are in the index.
fn reads_of_opening(extents: u64) -> [u64; 2] {
    let (medium, store) = new_store();
    let [golden, fresh, wrote] = ["golden", "fresh", "wrote"].map(branch_name);
    store
        .create_branch(&golden, 2 * extents * BLOCK)
        .expect("a branch");
    write_extents(&store, "golden", 0..extents, None);
    store.upkeep(UpkeepStep::Checkpoint).expect("a checkpoint");
    let forks = [&fresh, &wrote].map(|name| (Target::Branch(golden.clone()), name.clone()));
    store.fork_many(&forks).expect("forks");
    write_extents(&store, "wrote", 0..10, Some(3));
    store.upkeep(UpkeepStep::Checkpoint).expect("a checkpoint");
    let store = again(&medium, store);
    assert!(store.stats().expect("stats").index.levels > 1);
    [(fresh, 0), (wrote, 3)].map(|(name, byte)| {
        let before = medium.counters().reads;
        let branch = store.branch(&name).expect("a branch");
        let reads = medium.counters().reads - before;
        // The first read looks into the index.
        let mut bytes = [9; BLOCK as usize];
        branch.read_at(&mut bytes, 0).expect("read");
        assert_eq!(bytes, [byte; BLOCK as usize]);
        assert!(
            medium.counters().reads > before + reads,
            "{name}: read without the index"
        );
        reads
    })
}

#[test]
fn opening_a_branch_reads_what_it_wrote_and_no_index() {
    for extents in [2000, 50_000] {
        // Of its own blocks the one read is that of the set of them.
        assert_eq!(reads_of_opening(extents), [0, 1], "{extents} extents");
    }
}

#[test]
fn a_diff_skips_what_layers_share() {
    // The fork's checkpoint merges its run with the one that it shared: of both runs the root, and the leaves that they do
    // not share, are read.
    diff_costs(0, 2, 2 + 2 * CHANGED);
    // Or it lays its run on top: of that its only leaf is read, and of what both have what is found there instead.
    diff_costs(1, 3, 2 + CHANGED);
}

const CHANGED: u64 = 10;

/// Compares a disk of two layers with its fork that wrote some blocks and was saved after so many idle checkpoints; then it has
/// so many layers, and the diff reads no more than `most` times.
fn diff_costs(idle: u32, layers: u64, most: u64) {
    const TREE: u64 = 200_000;
    /// Far enough from each other that a merge with the tree would write most of its leaves.
    const RUN: u64 = 5000;
    let spread = |extents: u64| (0..TREE).step_by((TREE / extents) as usize);
    let (medium, store) = new_store();
    let [golden, web] = ["golden", "web"].map(branch_name);
    store.create_branch(&golden, 2 * TREE * BLOCK).expect("a branch");
    write_extents(&store, "golden", 0..TREE, None);
    store.upkeep(UpkeepStep::Checkpoint).expect("a checkpoint");
    write_extents(&store, "golden", spread(RUN), Some(1));
    store.upkeep(UpkeepStep::Checkpoint).expect("a checkpoint");
    store.fork(&Target::Branch(golden.clone()), &web).expect("a fork");
    for _ in 0..idle {
        store.upkeep(UpkeepStep::Checkpoint).expect("a checkpoint");
    }
    write_extents(&store, "web", spread(CHANGED), Some(2));
    store.upkeep(UpkeepStep::Checkpoint).expect("a checkpoint");
    let store = again(&medium, store);
    let index = store.stats().expect("stats").index;
    assert_eq!(index.layers, layers, "a tree, and runs");
    let states = [golden, web].map(|name| store.state(&Target::Branch(name)).expect("a state"));
    let before = medium.counters().reads;
    let differ = store.diff(&states[0], &states[1]).expect("a diff");
    let differ: Vec<u64> = differ
        .map(|range| range.expect("a range").offset / BLOCK)
        .collect();
    let reads = medium.counters().reads - before;
    assert_eq!(
        differ,
        spread(CHANGED).map(|extent| 2 * extent).collect::<Vec<_>>()
    );
    println!("{reads} reads, {layers} layers, {} levels", index.levels);
    assert!(reads <= most, "{reads} reads, of at most {most}");
}

/// Every other block is data.
fn image(extents: u64) -> Vec<u8> {
    let mut image = vec![0; (2 * extents * BLOCK) as usize];
    for (at, block) in image.chunks_mut(2 * BLOCK as usize).enumerate() {
        block[..8].copy_from_slice(&(at as u64 + 1).to_le_bytes());
    }
    image
}

#[test]
fn an_import_makes_its_index_at_once() {
    let imported = |extents: u64| {
        let (medium, store) = new_store();
        let before = medium.counters().written_bytes;
        let mut source = Cursor::new(image(extents));
        let mut go_on = |_| ControlFlow::Continue(());
        store
            .import(
                &branch_name("golden"),
                ImportSource::Stream(&mut source),
                &mut go_on,
            )
            .expect("an import");
        store.upkeep(UpkeepStep::Checkpoint).expect("a checkpoint");
        let stats = store.stats().expect("stats");
        assert_eq!(stats.index.layers, 1, "one tree, and no run beside it");
        // What was written of the index and thrown away again counts too.
        let beside_data = medium.counters().written_bytes - before - extents * BLOCK;
        println!(
            "{extents} extents: {} bytes of index, {beside_data} written beside the data",
            stats.segments.index_bytes
        );
        [stats.segments.index_bytes, beside_data].map(|bytes| bytes / extents)
    };
    for extents in [4000, 16_000, 64_000] {
        let [index, beside_data] = imported(extents);
        assert!(index <= 70, "{index} bytes of index for an extent");
        assert!(beside_data <= 130, "{beside_data} bytes beside an extent's data");
    }
}

#[test]
fn the_nodes_of_all_disks_are_in_memory_once_and_within_their_bound() {
    const EXTENTS: u64 = 50_000;
    let (medium, store) = new_store();
    let golden = branch_name("golden");
    store
        .create_branch(&golden, 2 * EXTENTS * BLOCK)
        .expect("a branch");
    write_extents(&store, "golden", 0..EXTENTS, None);
    store.upkeep(UpkeepStep::Checkpoint).expect("a checkpoint");
    let forks: Vec<_> = (0..20).map(|at| branch_name(&format!("web{at}"))).collect();
    let asked: Vec<_> = forks
        .iter()
        .map(|name| (Target::Branch(golden.clone()), name.clone()))
        .collect();
    store.fork_many(&asked).expect("forks");
    for (at, _) in forks.iter().enumerate() {
        write_extents(&store, &format!("web{at}"), 0..10, Some(3));
    }
    store.upkeep(UpkeepStep::Checkpoint).expect("a checkpoint");
    store.close().expect("closed");
    // Reads all of each fork and returns how often the medium was read for it, and the most that was in memory.
    let look_through = |index_cache_bytes: u64| {
        let options = OpenOptions {
            index_cache_bytes,
            ..options()
        };
        let store = Store::open_on(medium.start(), options).expect("opened");
        let branches: Vec<_> = forks
            .iter()
            .map(|name| store.branch(name).expect("a fork"))
            .collect();
        let mut bytes = vec![0; 1 << 20];
        let mut most = 0;
        let reads: Vec<u64> = branches
            .iter()
            .map(|branch| {
                let before = medium.counters().reads;
                for offset in (0..2 * EXTENTS * BLOCK).step_by(bytes.len()) {
                    let length = (2 * EXTENTS * BLOCK - offset).min(bytes.len() as u64);
                    branch
                        .read_at(&mut bytes[..length as usize], offset)
                        .expect("read");
                    most = most.max(store.stats().expect("stats").index.cached_bytes);
                }
                medium.counters().reads - before
            })
            .collect();
        store.close().expect("closed");
        (reads, most)
    };
    let (reads, all) = look_through(64 << 20);
    let own = reads[1..].iter().max().expect("reads");
    assert!(
        *own <= 30 && reads[0] > 2 * own,
        "{reads:?} reads: those after the first find the golden's nodes"
    );
    let bound = all / 4;
    let (reads, most) = look_through(bound);
    assert!(most <= bound, "{most} bytes in memory, of at most {bound}");
    assert!(
        reads[1] > 2 * own,
        "{reads:?} reads: the nodes are more than what is kept"
    );
}
