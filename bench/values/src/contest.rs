//! Rows, and how their contestants are measured.
//!
//! To add a row, write a function that adds its contestants for one number of elements, and name it in the `ROWS` of
//! its module, which `main.rs` lists:
//!
//! ```ignore
//! pub(crate) const ROWS: &[Row] = &[Row::timed("list-clone", "clone, drop", &[10, 1_000_000], clone)];
//!
//! fn clone(contest: &mut Contest, n: usize) {
//!     let (vec, list) = (Vec::from_iter(0..n), List::from_iter(0..n));  // set up: outside the clock
//!     contest.repeat("Vec", 1, move || vec.clone());                    // first: the others are shown beside it
//!     contest.repeat("tine", 1, move || list.clone());
//!     contest.at_most(0.5, "Vec");                                      // what `tine` is to reach; may depend on `n`
//! }
//! ```
//!
//! - [`repeat`](Contest::repeat): what can be done over and over to the same thing. What it returns is dropped under
//!   the clock.
//! - [`consume`](Contest::consume): what uses something up that has to be made first (build, push, drop). What it
//!   is given is made, and what it returns dropped, outside the clock.
//! - [`in_threads`](Contest::in_threads): what some threads do at once to one thing.
//! - [`timed_elsewhere`](Contest::timed_elsewhere): what another program does, and times.
//! - [`bytes`](Contest::bytes): what something takes of the heap. Its row is [`Row::weighed`].
//!
//! Everything returned goes through `black_box`; what an operation is given should, too, if it is a constant.

use std::hint::{self, black_box};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use bench_measure::{Comparison, Goal, Outcome, Sample, Spread, Unit};

use crate::heap;

/// Our contestant's name, in every row.
const OURS: &str = "tine";

/// A comparison, made once for each number of elements.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    /// What is done.
    pub(crate) title: &'static str,
    pub(crate) unit: Unit,
    /// How many elements the contestants have. A scale caps them; `compare` is told which it is.
    pub(crate) sizes: &'static [usize],
    pub(crate) compare: fn(&mut Contest, usize),
}

impl Row {
    /// Returns a row of times.
    pub(crate) const fn timed(
        name: &'static str,
        title: &'static str,
        sizes: &'static [usize],
        compare: fn(&mut Contest, usize),
    ) -> Self {
        Self {
            name,
            title,
            unit: Unit::Seconds,
            sizes,
            compare,
        }
    }

    /// Returns a row of bytes.
    pub(crate) const fn weighed(
        name: &'static str,
        title: &'static str,
        sizes: &'static [usize],
        compare: fn(&mut Contest, usize),
    ) -> Self {
        Self {
            unit: Unit::Bytes,
            ..Self::timed(name, title, sizes, compare)
        }
    }
}

/// The contestants of a row, for one number of elements.
pub(crate) struct Contest {
    comparison: Comparison<'static>,
    sample: Duration,
    is_empty: bool,
}

/// A sample is the median of so many stretches of work, so that one that was interrupted does not count.
const STRETCHES: u32 = 5;

/// A batch of inputs is made at once; more would leave the caches.
const BATCH_MOST: u64 = 4096;

impl Contest {
    pub(crate) fn new(row: &Row, n: usize, sample: Duration) -> Self {
        let title = format!("{}, n = {n}", row.title);
        Self {
            comparison: Comparison::new(row.name, title, row.unit),
            sample,
            is_empty: true,
        }
    }

    /// Adds a contestant whose `operation` does `operations` things each time it is called.
    pub(crate) fn repeat<R>(
        &mut self,
        name: &str,
        operations: usize,
        mut operation: impl FnMut() -> R + 'static,
    ) {
        self.add_timed(name, operations, move |times| {
            let begun = Instant::now();
            for _ in 0..times {
                drop(black_box(operation()));
            }
            begun.elapsed()
        });
    }

    /// Adds a contestant whose `operation` does `operations` things to what `set_up` makes for it each time.
    pub(crate) fn consume<S, R>(
        &mut self,
        name: &str,
        operations: usize,
        mut set_up: impl FnMut() -> S + 'static,
        mut operation: impl FnMut(S) -> R + 'static,
    ) {
        self.add_timed(name, operations, move |times| {
            let mut elapsed = Duration::ZERO;
            let mut left = times;
            while left > 0 {
                let batch = left.min(BATCH_MOST);
                let inputs: Vec<S> = (0..batch).map(|_| black_box(set_up())).collect();
                let mut outputs = Vec::with_capacity(inputs.len());
                let begun = Instant::now();
                for input in inputs {
                    outputs.push(operation(input));
                }
                elapsed += begun.elapsed();
                black_box(outputs);
                left -= batch;
            }
            elapsed
        });
    }

    /// Adds a contestant whose `operation` so many threads do at once; the value is the time that one of them takes.
    pub(crate) fn in_threads<R>(
        &mut self,
        name: &str,
        threads: usize,
        operation: impl Fn() -> R + Sync + 'static,
    ) {
        self.add_timed(name, 1, move |times| {
            let waiting = AtomicUsize::new(threads);
            let work = || {
                // Spinning: who sleeps at a barrier may be woken on another's core, and run when that is done.
                waiting.fetch_sub(1, Ordering::AcqRel);
                while waiting.load(Ordering::Acquire) > 0 {
                    hint::spin_loop();
                }
                let begun = Instant::now();
                for _ in 0..times {
                    drop(black_box(operation()));
                }
                begun.elapsed()
            };
            thread::scope(|scope| {
                let running: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
                let elapsed = running
                    .into_iter()
                    .map(|thread| thread.join().expect("a thread ends"));
                elapsed.sum::<Duration>() / threads as u32
            })
        });
    }

    /// Adds a contestant that takes its times itself: `seconds` returns what an operation took.
    pub(crate) fn timed_elsewhere(&mut self, name: &str, mut seconds: impl FnMut() -> f64 + 'static) {
        self.add(name, move || Sample::new(seconds()));
    }

    /// Adds a contestant whose value is the bytes of the heap that what `build` returns takes, for each of `elements`,
    /// beside what `set_up` made.
    pub(crate) fn bytes<S, R>(
        &mut self,
        name: &str,
        elements: usize,
        mut set_up: impl FnMut() -> S + 'static,
        mut build: impl FnMut(&mut S) -> R + 'static,
    ) {
        self.add(name, move || {
            let mut beside = set_up();
            let (built, bytes) = heap::growth(|| build(&mut beside));
            drop((built, beside));
            Sample::new(bytes as f64 / elements as f64)
        });
    }

    /// Says how many times the value of another ours may have.
    pub(crate) fn at_most(&mut self, times: f64, other: &str) {
        self.comparison
            .target(OURS, Goal::AtMost(times, other.to_owned()));
    }

    /// Says how many nanoseconds ours may take.
    pub(crate) fn within_ns(&mut self, nanoseconds: f64) {
        self.comparison.target(OURS, Goal::Within(nanoseconds * 1e-9));
    }

    /// Says how many bytes ours may have.
    pub(crate) fn within_bytes(&mut self, bytes: f64) {
        self.comparison.target(OURS, Goal::Within(bytes));
    }

    /// Says what a reader has to know.
    pub(crate) fn note(&mut self, note: &str) {
        self.comparison.note(note);
    }

    /// Lets the contestants take turns.
    pub(crate) fn run(self, rounds: u32) -> Outcome {
        self.comparison.run(rounds)
    }

    fn add(&mut self, name: &str, mut sample: impl FnMut() -> Sample + 'static) {
        if self.is_empty {
            self.comparison.baseline(name);
            self.is_empty = false;
        }
        self.comparison.add_fn(name, move |_| Ok(sample()));
    }

    /// Adds a contestant that works so many times and says how long that took.
    fn add_timed(&mut self, name: &str, operations: usize, mut work: impl FnMut(u64) -> Duration + 'static) {
        let stretch = self.sample / STRETCHES;
        // Found once, in the first round, which warms everything up as well.
        let mut times = None;
        self.add(name, move || {
            let times = *times.get_or_insert_with(|| times_that_take(stretch, &mut work));
            let mut samples = Vec::new();
            let begun = Instant::now();
            for _ in 0..STRETCHES {
                samples.push(work(times).as_secs_f64());
                // What takes that long once needs no median.
                if begun.elapsed() > 10 * stretch * STRETCHES || stretch.is_zero() {
                    break;
                }
            }
            let elapsed = Spread::of(samples).map_or(0.0, |spread| spread.median);
            Sample::new(elapsed / (times * operations as u64) as f64)
        });
    }
}

/// Returns how often to work so that it takes about `stretch`, or ten times that with what is prepared for it.
fn times_that_take(stretch: Duration, work: &mut impl FnMut(u64) -> Duration) -> u64 {
    let mut times = 1;
    while !stretch.is_zero() {
        let begun = Instant::now();
        let elapsed = work(times);
        let whole = begun.elapsed();
        if elapsed >= stretch / 2 || whole >= 5 * stretch {
            break;
        }
        let missing = |all: Duration, spent: Duration| all.as_secs_f64() / spent.as_secs_f64().max(1e-9);
        let factor = missing(stretch, elapsed).min(missing(10 * stretch, whole));
        times = (times as f64 * factor.clamp(2.0, 100.0)) as u64;
    }
    times
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROW: Row = Row {
        name: "row",
        title: "title",
        unit: Unit::Seconds,
        sizes: &[1],
        compare: |_, _| (),
    };

    #[test]
    fn work_is_repeated_until_it_takes_long_enough() {
        let mut works = |times: u64| Duration::from_nanos(10) * times as u32;
        let times = times_that_take(Duration::from_millis(1), &mut works);
        assert!((50_000..=200_000).contains(&times), "{times}");
        assert_eq!(times_that_take(Duration::ZERO, &mut works), 1);
    }

    #[test]
    fn what_is_prepared_is_not_timed() {
        let mut contest = Contest::new(&ROW, 1, Duration::from_millis(5));
        let pause = Duration::from_millis(2);
        contest.consume("slow to prepare", 1, move || thread::sleep(pause), |()| ());
        contest.consume("slow to drop", 1, || (), move |()| SleepsOnDrop(pause));
        contest.repeat("slow", 1, move || thread::sleep(pause));
        let outcome = contest.run(1);
        let seconds: Vec<_> = outcome
            .series
            .iter()
            .map(|series| series.samples[0].value)
            .collect();
        assert!(
            seconds[0] < 1e-3 && seconds[1] < 1e-3 && seconds[2] >= 2e-3,
            "{seconds:?}"
        );
    }

    struct SleepsOnDrop(Duration);

    impl Drop for SleepsOnDrop {
        fn drop(&mut self) {
            thread::sleep(self.0);
        }
    }
}
