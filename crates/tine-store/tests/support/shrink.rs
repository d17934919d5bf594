//! Makes a failing history short: leaves out steps and troubles as long as it still fails.

use std::time::{Duration, Instant};

use super::ops::{Step, Trouble};

/// Returns the shortest failing history that is found within some seconds, and how it fails.
pub(crate) fn shrink(
    steps: &[Step],
    why: String,
    fails: impl Fn(&[Step]) -> Option<String>,
) -> (Vec<Step>, String) {
    let end = Instant::now() + Duration::from_secs(20);
    let (mut best, mut reason) = (steps.to_vec(), why);
    loop {
        let shorter = candidates(&best)
            .take_while(|_| Instant::now() < end)
            .find_map(|candidate| fails(&candidate).map(|why| (candidate, why)));
        match shorter {
            Some(found) => (best, reason) = found,
            None => return (best, reason),
        }
    }
}

/// Returns simpler histories, the boldest first.
fn candidates(steps: &[Step]) -> impl Iterator<Item = Vec<Step>> + '_ {
    let widths = [16, 8, 4, 2, 1];
    let cuts = widths
        .into_iter()
        .filter(|&width| width <= steps.len())
        .flat_map(move |width| {
            (0..=steps.len() - width)
                .rev()
                .step_by(width.div_ceil(2))
                .map(move |at| {
                    let mut shorter = steps.to_vec();
                    shorter.drain(at..at + width);
                    shorter
                })
        });
    let calmer = (0..steps.len())
        .filter(|&at| steps[at].trouble != Trouble::None)
        .map(|at| {
            let mut calm = steps.to_vec();
            calm[at].trouble = Trouble::None;
            calm
        });
    let once = (0..steps.len())
        .filter(|&at| !steps[at].again.is_empty())
        .map(|at| {
            let mut once = steps.to_vec();
            once[at].again.pop();
            once
        });
    cuts.chain(calmer).chain(once)
}
