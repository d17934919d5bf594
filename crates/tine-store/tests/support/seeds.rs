//! Which seeds are played, and playing them on all threads of the machine until one goes wrong.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::number_from_environment;

/// Seeds, and when to end before all of them were played.
pub(crate) struct Seeds {
    all: Range<u64>,
    end: Option<Instant>,
}

/// Returns what the environment chooses: TINE_SEED one alone; else `variable` how many, TINE_FIRST_SEED from where on, and
/// TINE_SECONDS for how long at most.
pub(crate) fn chosen(variable: &str, usual: u64) -> Seeds {
    let all = match number_from_environment("TINE_SEED") {
        Some(seed) => seed..seed + 1,
        None => {
            let first = number_from_environment("TINE_FIRST_SEED").unwrap_or(0);
            first..first + number_from_environment(variable).unwrap_or(usual)
        }
    };
    let seconds = number_from_environment("TINE_SECONDS").map(Duration::from_secs);
    Seeds {
        all,
        end: seconds.map(|seconds| Instant::now() + seconds),
    }
}

impl Seeds {
    /// Plays them. Of what goes wrong, what was found first tells as much as any.
    pub(crate) fn play<T: Send, E: Send>(
        &self,
        run: impl Fn(u64) -> Result<T, E> + Sync,
    ) -> Result<Vec<T>, E> {
        let next = AtomicU64::new(self.all.start);
        let failed = AtomicBool::new(false);
        let played: Mutex<Vec<T>> = Mutex::default();
        let failure: Mutex<Option<E>> = Mutex::default();
        let play = || {
            while !failed.load(Ordering::Relaxed) && self.end.is_none_or(|end| Instant::now() < end) {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if !self.all.contains(&seed) {
                    break;
                }
                match run(seed) {
                    Ok(done) => played.lock().push(done),
                    Err(error) => {
                        failed.store(true, Ordering::Relaxed);
                        failure.lock().get_or_insert(error);
                    }
                }
            }
        };
        thread::scope(|scope| {
            for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
                scope.spawn(play);
            }
        });
        match failure.into_inner() {
            Some(failure) => Err(failure),
            None => Ok(played.into_inner()),
        }
    }
}
