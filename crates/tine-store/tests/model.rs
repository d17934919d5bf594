//! Goal: whatever is done to a store and whenever it dies, every branch is a prefix of its own history that holds
//! all that was promised, and nothing else changes; what a recovered store showed stays.
//! Method: seeded random histories on the simulated medium, compared with plain arrays after every step and every
//! recovery. TINE_SEEDS sets how many, TINE_FIRST_SEED from where on, TINE_SECONDS for how long at most; TINE_SEED runs
//! one alone. Each of the machine's threads plays its own.

mod support;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use support::history::{self, Done, Failure};
use support::number_from_environment;

#[test]
fn random_histories_keep_every_promise() {
    let seeds = match number_from_environment("TINE_SEED") {
        Some(seed) => seed..seed + 1,
        None => {
            let first = number_from_environment("TINE_FIRST_SEED").unwrap_or(0);
            first..first + number_from_environment("TINE_SEEDS").unwrap_or(5000)
        }
    };
    let end =
        number_from_environment("TINE_SECONDS").map(|seconds| Instant::now() + Duration::from_secs(seconds));
    let next = AtomicU64::new(seeds.start);
    let failed = AtomicBool::new(false);
    let total: Mutex<(u64, Done)> = Mutex::default();
    let failures: Mutex<Vec<Failure>> = Mutex::default();
    let play = || {
        while !failed.load(Ordering::Relaxed) && end.is_none_or(|end| Instant::now() < end) {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if !seeds.contains(&seed) {
                break;
            }
            match history::run(seed) {
                Ok(done) => {
                    let (played, total) = &mut *total.lock();
                    *played += 1;
                    total.steps += done.steps;
                    total.recoveries += done.recoveries;
                }
                Err(failure) => {
                    failed.store(true, Ordering::Relaxed);
                    failures.lock().push(failure);
                }
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(play);
        }
    });
    // What was found first tells as much as any.
    if let Some(failure) = failures.into_inner().first() {
        panic!("{}", failure.tell());
    }
    let (played, Done { steps, recoveries }) = total.into_inner();
    println!("done: {played} seeds, {steps} steps, {recoveries} recoveries");
}
