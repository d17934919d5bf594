//! Goal: whatever is done to a store and whenever it dies, every branch is a prefix of its own history that holds
//! all that was promised, and nothing else changes; what a recovered store showed stays.
//! Method: seeded random histories on the simulated medium, compared with plain arrays after every step and every
//! recovery. TINE_SEEDS sets how many; TINE_SEED runs one alone.

mod support;

use support::history;

#[test]
fn random_histories_keep_every_promise() {
    let seeds = match support::number_from_environment("TINE_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..support::number_from_environment("TINE_SEEDS").unwrap_or(5000),
    };
    let mut total = history::Done::default();
    for seed in seeds {
        match history::run(seed) {
            Ok(done) => {
                total.steps += done.steps;
                total.recoveries += done.recoveries;
            }
            Err(failure) => panic!("{}", failure.tell()),
        }
    }
    println!("{total:?}");
}
