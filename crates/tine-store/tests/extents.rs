//! Goal: `extents` tells what was never written, or given up, from zeroes that were written, wherever the disk lies:
//! in memory, in segments, in runs and merged trees, in forks and snapshots, after the store was opened again.
//! Method: seeded random histories on a disk of 48 blocks on the simulated medium, compared with an array of kinds after
//! every step.

mod support;

use support::perform::{branch_name, snapshot_name};
use tine_store::ExtentKind::{Data, Hole, Zero};
use tine_store::medium::simulated::{Chooser, SimulatedMedium, SimulatedOptions};
use tine_store::{
    Branch, CreateOptions, ExtentKind, OpenOptions, State, Store, Target, UpkeepMode, UpkeepStep,
};

const BLOCK: u64 = 4096;
const BLOCKS: usize = 48;

fn options() -> OpenOptions {
    OpenOptions {
        upkeep: UpkeepMode::Inline,
        ..OpenOptions::default()
    }
}

/// Returns what each block is told to be.
fn kinds(state: &State) -> Vec<ExtentKind> {
    let extents = state.extents(0..state.size()).expect("extents");
    let blocks = extents
        .iter()
        .flat_map(|extent| vec![extent.kind; (extent.length / BLOCK) as usize]);
    blocks.collect()
}

/// What a step did, for messages, and what it makes of some blocks.
fn step(branch: &Branch, chooser: &mut Chooser) -> (&'static str, std::ops::Range<usize>, ExtentKind) {
    let start = chooser.choose(BLOCKS);
    let end = start + 1 + chooser.choose((BLOCKS - start).min(9));
    let (offset, length) = (start as u64 * BLOCK, (end - start) as u64 * BLOCK);
    let (what, kind, done) = match chooser.choose(5) {
        0 => ("data", Data, branch.write_at(&vec![7; length as usize], offset)),
        1 => (
            "a write of zeroes",
            Zero,
            branch.write_at(&vec![0; length as usize], offset),
        ),
        2 => (
            "a batch of zeroes",
            Zero,
            branch.write_batch(&[(offset, &vec![0; length as usize])]),
        ),
        3 => ("zeroes", Zero, branch.write_zeroes(offset, length)),
        _ => ("a discard", Hole, branch.discard(offset, length)),
    };
    done.expect(what);
    (what, start..end, kind)
}

fn play(seed: u64) {
    let mut chooser = Chooser::seeded(seed);
    let medium = SimulatedMedium::new(SimulatedOptions::default(), Chooser::seeded(seed));
    let mut store =
        Store::create_on(medium.start(), &CreateOptions::default(), options()).expect("a new store");
    let mut name = branch_name("a");
    let mut branch = store
        .create_branch(&name, BLOCKS as u64 * BLOCK)
        .expect("a branch");
    let mut now = vec![Hole; BLOCKS];
    let mut snapshots: Vec<(Target, Vec<ExtentKind>)> = Vec::new();
    for at in 0..60 {
        let what = match chooser.choose(12) {
            0..6 => {
                let (what, blocks, kind) = step(&branch, &mut chooser);
                now[blocks].fill(kind);
                what
            }
            6 => {
                branch.flush().expect("flushed");
                "a flush"
            }
            7..9 => {
                let step = [UpkeepStep::Drain, UpkeepStep::Checkpoint][chooser.choose(2)];
                store.upkeep(step).expect("upkeep");
                "upkeep"
            }
            9 => {
                let snapshot = snapshot_name(&format!("s{at}"));
                store
                    .snapshot(&[(name.clone(), snapshot.clone())])
                    .expect("a snapshot");
                snapshots.push((Target::Snapshot(name.clone(), snapshot), now.clone()));
                "a snapshot"
            }
            10 => {
                let fork = branch_name(&format!("f{at}"));
                store.fork(&Target::Branch(name.clone()), &fork).expect("a fork");
                name = fork;
                branch = store.branch(&name).expect("the fork");
                "a fork"
            }
            _ => {
                drop(branch);
                store.close().expect("closed");
                store = Store::open_on(medium.start(), options()).expect("opened");
                branch = store.branch(&name).expect("the branch");
                "an opening"
            }
        };
        let shown = kinds(&branch.state().expect("a state"));
        assert_eq!(shown, now, "seed {seed}, step {at}: after {what}");
        for (target, then) in &snapshots {
            let shown = kinds(&store.state(target).expect("a state"));
            assert_eq!(shown, *then, "seed {seed}, step {at}: {target:?} after {what}");
        }
    }
}

#[test]
fn a_hole_is_told_from_written_zeroes() {
    for seed in 0..60 {
        play(seed);
    }
}

/// What lay behind the new end is given up for good; what a disk grows by was never written.
#[test]
fn what_a_disk_grows_by_is_a_hole() {
    let medium = SimulatedMedium::new(SimulatedOptions::default(), Chooser::seeded(1));
    let store = Store::create_on(medium.start(), &CreateOptions::default(), options()).expect("a new store");
    let name = branch_name("a");
    let branch = store.create_branch(&name, 8 * BLOCK).expect("a branch");
    branch.write_at(&vec![7; 4 * BLOCK as usize], 0).expect("written");
    branch.write_zeroes(4 * BLOCK, 4 * BLOCK).expect("zeroes");
    store.resize(&name, 2 * BLOCK).expect("shrunk");
    store.resize(&name, 8 * BLOCK).expect("grown");
    let expected = [Data, Data, Hole, Hole, Hole, Hole, Hole, Hole];
    for _ in 0..5 {
        assert_eq!(kinds(&branch.state().expect("a state")), expected);
        store.upkeep(UpkeepStep::Checkpoint).expect("a checkpoint");
    }
}
