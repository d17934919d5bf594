//! Goal: whatever is done to a store and whenever it dies, every branch is a prefix of its own history that holds
//! all that was promised, and nothing else changes; what a recovered store showed stays.
//! Method: seeded random histories on the simulated medium, compared with plain arrays after every step and every
//! recovery. In one of four the disks are larger and the nodes of the index small, so that its trees have inner nodes.
//! TINE_SEEDS sets how many, TINE_FIRST_SEED from where on, TINE_SECONDS for how long at most; TINE_SEED runs one alone.
//! Each of the machine's threads plays its own.

mod support;

use support::{history, seeds};

#[test]
fn random_histories_keep_every_promise() {
    let seeds = seeds::chosen("TINE_SEEDS", 5000);
    let played = seeds
        .play(history::run)
        .unwrap_or_else(|failure| panic!("{}", failure.tell()));
    let steps: u64 = played.iter().map(|done| done.steps).sum();
    let recoveries: u64 = played.iter().map(|done| done.recoveries).sum();
    let with_levels = |least| played.iter().filter(|done| done.levels >= least).count();
    println!(
        "done: {} seeds, {steps} steps, {recoveries} recoveries; in {} seeds trees with inner nodes, in {} with inner nodes \
         above inner nodes",
        played.len(),
        with_levels(2),
        with_levels(3),
    );
    if played.len() >= 1000 {
        assert!(
            with_levels(3) * 50 >= played.len(),
            "too few histories have trees of several levels"
        );
    }
}
