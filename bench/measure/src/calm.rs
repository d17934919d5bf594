//! Calm: whether the host gives this machine the processors that it asks for.
//!
//! A virtual machine is given less when its neighbours are busy, or when it was busy itself for minutes: seen were 40 % less, and back
//! within a minute. That changes ratios too: who needs both processors loses more than who needs one. So before a contestant's
//! turn it is waited for, for a while, and what was taken all the same is printed with the row.

use std::fs;
use std::hint::black_box;
use std::thread;
use std::time::{Duration, Instant};

/// So long the processors are kept busy to see what is taken.
const PROBE: Duration = Duration::from_millis(100);

/// A smaller part does not count.
pub(crate) const LITTLE: f64 = 0.05;

const PAUSE: Duration = Duration::from_secs(5);

/// Nobody waits longer than this for his turn.
const PATIENCE: Duration = Duration::from_secs(60);

/// What all processors did since the machine started, in ticks.
#[derive(Clone, Copy)]
pub(crate) struct Ticks {
    worked: u64,
    taken: u64,
}

impl Ticks {
    /// Returns them as they are now; `None` where the system does not tell.
    pub(crate) fn now() -> Option<Self> {
        Self::parse(&fs::read_to_string("/proc/stat").ok()?)
    }

    fn parse(text: &str) -> Option<Self> {
        // user, nice, system, idle, iowait, irq, softirq, steal: proc_stat(5).
        let line = text.lines().find_map(|line| line.strip_prefix("cpu "))?;
        let ticks: Vec<u64> = line
            .split_whitespace()
            .map_while(|word| word.parse().ok())
            .collect();
        let [user, nice, system, _idle, _waited, hard, soft, taken, ..] = ticks[..] else {
            return None;
        };
        Some(Self {
            worked: user + nice + system + hard + soft,
            taken,
        })
    }

    /// Returns which part of the time that was asked for since `before` was taken away.
    pub(crate) fn taken_since(self, before: Self) -> f64 {
        let taken = self.taken.saturating_sub(before.taken);
        let asked = taken + self.worked.saturating_sub(before.worked);
        taken as f64 / asked.max(1) as f64
    }
}

/// Waits until the host gives what is asked for, for a while.
pub(crate) fn wait() {
    let begin = Instant::now();
    while is_disturbed() && begin.elapsed() < PATIENCE {
        thread::sleep(PAUSE);
    }
}

fn is_disturbed() -> bool {
    let Some(before) = Ticks::now() else { return false };
    let processors = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..processors {
            scope.spawn(|| {
                let begin = Instant::now();
                while begin.elapsed() < PROBE {
                    black_box(begin);
                }
            });
        }
    });
    Ticks::now().is_some_and(|now| now.taken_since(before) > LITTLE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_host_takes_is_a_part_of_what_was_asked_for() {
        let before = Ticks::parse("cpu  100 0 50 1000 7 0 0 5 0 0\ncpu0 1 1 1\n").expect("ticks");
        let now = Ticks::parse("cpu  160 0 60 2000 9 5 5 25 0 0\n").expect("ticks");
        assert!((now.taken_since(before) - 0.2).abs() < 1e-9);
        assert_eq!(before.taken_since(before), 0.0);
    }

    #[test]
    fn a_system_that_does_not_tell_is_calm() {
        assert!(Ticks::parse("cpu  1 2 3\n").is_none());
        assert!(Ticks::parse("").is_none());
    }
}
