//! Goal: what the small disks of `model.rs` are blind to: trees of many leaves and several levels, shared by points,
//! forks, throwaway forks and rollbacks, merged, diffed and defragmented; and that *written* is exact, after crashes too.
//! Method: seeded random histories on disks of 64k blocks with small nodes, on the simulated medium, compared with plain
//! arrays. Syncs, writes and reads fail in the middle of upkeep, and the process dies with and without all flushed: each
//! branch then is a prefix of its writes and batches. TINE_TREE_SEEDS sets how many, TINE_FIRST_SEED from where on,
//! TINE_SECONDS for how long at most; TINE_SEED runs one alone. Each of the machine's threads plays its own.

mod disk;
mod history;
mod look;
#[path = "../support/mod.rs"]
mod support;
mod told;

use history::{History, Met};
use parking_lot::Mutex;
use support::catch::catch;
use support::seeds;
use tine_store::planted::{Bug, plant};
use told::{Kind, Told, Wrong};

/// Planting a bug is for the whole process.
static ALONE: Mutex<()> = Mutex::new(());

fn play(seed: u64) -> Told<Met> {
    let mut history = History::new(seed)?;
    let steps = 20 + history.chooser.choose(60);
    for at in 0..steps {
        history
            .step()
            .and_then(|()| history.note())
            .map_err(|wrong| wrong.at(format_args!("step {at}")))?;
        if at % 8 == 7 {
            history
                .check()
                .map_err(|wrong| wrong.at(format_args!("after step {at}")))?;
        }
    }
    history.check()?;
    history.drop_all()?;
    Ok(history.met)
}

fn run(seed: u64) -> Result<Met, Wrong> {
    let panics = |why| Wrong {
        kind: Kind::Panics,
        why,
    };
    let result = catch(|| play(seed)).map_err(panics).and_then(|told| told);
    result.map_err(|wrong| wrong.at(format_args!("seed {seed} (TINE_SEED={seed} runs it alone)")))
}

#[test]
fn large_trees_show_what_was_written() {
    let _alone = ALONE.lock();
    let seeds = seeds::chosen("TINE_TREE_SEEDS", 60);
    let played = seeds.play(run).unwrap_or_else(|wrong| panic!("{}", wrong.why));
    let most = |of: fn(&Met) -> u64| played.iter().map(of).max().unwrap_or(0);
    let sum = |of: fn(&Met) -> u64| played.iter().map(of).sum::<u64>();
    println!(
        "done: {} seeds, trees of up to {} levels, {} recoveries of which {} lost what was not flushed, {} failures \
         survived and {} not, {} throwaway forks, {} batches",
        played.len(),
        most(|met| met.levels),
        sum(|met| met.recoveries),
        sum(|met| met.losses),
        sum(|met| met.survived),
        sum(|met| met.poisoned),
        sum(|met| met.throwaways),
        sum(|met| met.batches),
    );
    if played.len() >= 60 {
        assert!(
            most(|met| met.levels) >= 4,
            "no tree has inner nodes above inner nodes above them"
        );
        for (what, times) in [
            ("loss", sum(|met| met.losses)),
            ("failure that is survived", sum(|met| met.survived)),
            ("failure that ends the process", sum(|met| met.poisoned)),
            ("throwaway fork", sum(|met| met.throwaways)),
            ("batch", sum(|met| met.batches)),
        ] {
            assert!(times >= 5, "too few histories have a {what}: {times}");
        }
    }
}

/// Each bug is found as what it is: the test itself, or a check within the engine, would panic for other reasons too.
#[test]
fn planted_bugs_of_the_trees_are_found() {
    let _alone = ALONE.lock();
    for bug in [
        Bug::MergeLosesExtent,
        Bug::RunsInWrongOrder,
        Bug::TombstoneOverLive,
        Bug::DiffSkipsNode,
        Bug::WriteIntoShared,
    ] {
        plant(Some(bug));
        let found = (0..40).find_map(|seed| run(seed).err());
        plant(None);
        match found {
            Some(Wrong { kind, why }) => {
                println!("{bug:?}: {why}");
                assert_eq!(kind, Kind::Shows, "{bug:?}: {why}");
            }
            None => panic!("{bug:?} is not found"),
        }
    }
}
