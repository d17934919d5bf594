//! Cutting the power of one store after the other, as often as the environment says (`main.rs`).

use crate::harness::{Report, Violation, Workload, survive};
use crate::mount::Mount;
use std::path::Path;
use std::time::{Duration, Instant};

/// How many cuts one store has to survive, before the next seed begins with an empty disk.
const CUTS_EACH: u64 = 10;

/// Fails unless all is survived; false if the power cannot be cut here. `cuts` is for where the environment does not say how many.
pub(crate) fn survives<W: Workload>(test: &str, cuts: u64, new: impl Fn(&Path) -> W) -> bool {
    match torture(test, cuts, new) {
        Some(Ok(report)) => {
            println!("done: {report}");
            true
        }
        Some(Err(violation)) => panic!("a power cut is not survived: {violation}"),
        None => false,
    }
}

/// Fails unless the bug that the environment plants is caught.
pub(crate) fn catches<W: Workload>(test: &str, cuts: u64, new: impl Fn(&Path) -> W) {
    if std::env::var_os("TINE_PLANTED_BUG").is_none() {
        println!("skipped: {test}: TINE_PLANTED_BUG names none");
        return;
    }
    match torture(test, cuts, new) {
        Some(Ok(report)) => panic!("the bug was not caught: {report}"),
        Some(Err(violation)) => println!("caught: {violation}"),
        None => {}
    }
}

/// Returns a number from the environment.
fn number(variable: &str) -> Option<u64> {
    let value = std::env::var(variable).ok()?;
    Some(
        value
            .parse()
            .unwrap_or_else(|_| panic!("{variable} is a number, not {value:?}")),
    )
}

/// None is returned where no file system can be mounted.
fn torture<W: Workload>(
    test: &str,
    cuts: u64,
    new: impl Fn(&Path) -> W,
) -> Option<Result<Report, Box<Violation>>> {
    let only_seed = number("TINE_SEED");
    let cuts = number("TINE_CUTS").unwrap_or(cuts);
    let end = number("TINE_SECONDS").map(|seconds| Instant::now() + Duration::from_secs(seconds));
    let mut total = Report::default();
    for seed in only_seed.unwrap_or(0).. {
        let mut mount = Mount::new_or_skip(test)?;
        let mut workload = new(mount.path());
        // A cut of the last store more than asked for does no harm; a seed has to mean the same in every run.
        match survive(&mut mount, &mut workload, seed, CUTS_EACH) {
            Ok(report) => total += report,
            Err(mut violation) => {
                total += violation.report;
                violation.report = total;
                return Some(Err(violation));
            }
        }
        if only_seed.is_some() || total.cuts >= cuts || end.is_some_and(|end| Instant::now() >= end) {
            break;
        }
    }
    Some(Ok(total))
}
