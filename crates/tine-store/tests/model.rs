//! Goal: whatever is done to a store and whenever it dies, every branch is a prefix of its own history that holds
//! all that was promised, and nothing else changes; what a recovered store showed stays.
//! Method: seeded random histories on the simulated medium, compared with plain arrays after every step and every
//! recovery. TINE_SEEDS sets how many, TINE_SECONDS for how long at most; TINE_SEED runs one alone.

mod support;

use std::time::{Duration, Instant};

use support::history;

#[test]
fn random_histories_keep_every_promise() {
    let seeds = match support::number_from_environment("TINE_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..support::number_from_environment("TINE_SEEDS").unwrap_or(5000),
    };
    let end = support::number_from_environment("TINE_SECONDS")
        .map(|seconds| Instant::now() + Duration::from_secs(seconds));
    let mut total = history::Done::default();
    let mut played = 0;
    for seed in seeds {
        if end.is_some_and(|end| Instant::now() >= end) {
            break;
        }
        match history::run(seed) {
            Ok(done) => {
                total.steps += done.steps;
                total.recoveries += done.recoveries;
                played += 1;
            }
            Err(failure) => panic!("{}", failure.tell()),
        }
    }
    let history::Done { steps, recoveries } = total;
    println!("done: {played} seeds, {steps} steps, {recoveries} recoveries");
}
