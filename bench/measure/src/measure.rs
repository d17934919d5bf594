//! Measuring: contestants take turns within one run, and what counts is how they stand to each other in a round.
//!
//! The machine is shared and its speed drifts, so a ratio is taken within each round, between neighbours in time; the
//! median of these ratios is the result and their range the spread.

use std::time::{Duration, Instant};

use crate::Result;
use crate::calm::{self, Ticks};

/// What a value is, and so which is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Seconds for one operation.
    Seconds,
    /// Operations a second.
    PerSecond,
    /// Bytes a second.
    BytesPerSecond,
    /// Bytes of space.
    Bytes,
}

/// What an operation cost the disk, on average; `None` where it cannot be counted.
#[derive(Clone, Copy, Debug, Default)]
pub struct Effort {
    /// Syncs of files.
    pub syncs: Option<f64>,
    /// Bytes written.
    pub bytes: Option<f64>,
    /// Seconds of a server's processor time.
    pub processor: Option<f64>,
    /// Seconds of its client's, which are no fault of the server's; but no server can be seen to do more than its client.
    pub client: Option<f64>,
}

impl Effort {
    /// Returns what each of `operations` cost.
    pub fn of(syncs: u64, bytes: u64, operations: u64) -> Self {
        let each = |all: u64| Some(all as f64 / operations.max(1) as f64);
        Self {
            syncs: each(syncs),
            bytes: each(bytes),
            processor: None,
            client: None,
        }
    }
}

/// What a contestant did in one round.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// The result, in the comparison's unit.
    pub value: f64,
    /// What it took beside time.
    pub effort: Effort,
}

impl Sample {
    /// Returns a sample of this value.
    pub fn new(value: f64) -> Self {
        Self {
            value,
            effort: Effort::default(),
        }
    }

    /// Returns the rate of `operations` in `elapsed`.
    pub fn rate(operations: u64, elapsed: Duration) -> Self {
        Self::new(operations as f64 / elapsed.as_secs_f64())
    }

    /// Returns the time that each of `operations` took.
    pub fn each(operations: u64, elapsed: Duration) -> Self {
        Self::new(elapsed.as_secs_f64() / operations as f64)
    }

    /// Returns the sample with what it took.
    #[must_use]
    pub fn with(self, effort: Effort) -> Self {
        Self { effort, ..self }
    }
}

/// A contestant. All of a comparison do the same work with the same durability; where that cannot be, the name says so.
pub trait Peer {
    /// Returns the name, unique within the comparison.
    fn name(&self) -> &str;

    /// Prepares a round, does its work under a clock of its own, and verifies what it wrote.
    ///
    /// # Errors
    ///
    /// When anything did not work: the contestant has no further rounds then.
    fn round(&mut self, round: u32) -> Result<Sample>;
}

/// A contestant that is one function.
struct FnPeer<F> {
    name: String,
    run: F,
}

impl<F: FnMut(u32) -> Result<Sample>> Peer for FnPeer<F> {
    fn name(&self) -> &str {
        &self.name
    }

    fn round(&mut self, round: u32) -> Result<Sample> {
        (self.run)(round)
    }
}

/// How a contestant is to stand to others.
#[derive(Clone, Debug)]
pub enum Goal {
    /// At most so many times the value of the other.
    AtMost(f64, String),
    /// At least so many times the value of the other.
    AtLeast(f64, String),
    /// The other's value is at least so many times as large.
    Faster(f64, String),
    /// At most so many times the first other's value plus the second's.
    AtMostPlus(f64, String, String),
    /// Not more than this above the other's value.
    Beyond(f64, String),
    /// Not more than this.
    Within(f64),
    /// At most so many times the processor time that the other took for an operation.
    Processor(f64, String),
}

impl Goal {
    /// Returns the others that it speaks of.
    fn others(&self) -> Vec<&str> {
        match self {
            Self::AtMost(_, other)
            | Self::AtLeast(_, other)
            | Self::Faster(_, other)
            | Self::Processor(_, other)
            | Self::Beyond(_, other) => {
                vec![other]
            }
            Self::AtMostPlus(_, other, plus) => vec![other, plus],
            Self::Within(_) => Vec::new(),
        }
    }

    /// Returns what is held against the bound, from the values of one round.
    fn measure(&self, subject: &Sample, others: &[&Sample]) -> f64 {
        if let Self::Processor(..) = self {
            let of = |sample: &Sample| sample.effort.processor.unwrap_or(f64::NAN);
            return of(subject) / of(others[0]);
        }
        let (subject, others) = (
            subject.value,
            others.iter().map(|other| other.value).collect::<Vec<_>>(),
        );
        match self {
            Self::AtMost(..) | Self::AtLeast(..) => subject / others[0],
            Self::Faster(..) => others[0] / subject,
            Self::AtMostPlus(times, ..) => subject / (times * others[0] + others[1]),
            Self::Beyond(..) => subject - others[0],
            Self::Within(_) | Self::Processor(..) => subject,
        }
    }

    fn is_met(&self, measured: f64) -> bool {
        match self {
            Self::AtLeast(bound, _) | Self::Faster(bound, _) => measured >= *bound,
            Self::AtMostPlus(..) => measured <= 1.0,
            Self::AtMost(bound, _)
            | Self::Beyond(bound, _)
            | Self::Within(bound)
            | Self::Processor(bound, _) => measured <= *bound,
        }
    }
}

/// A median and the range around it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// The value in the middle.
    pub median: f64,
    /// The least value.
    pub least: f64,
    /// The greatest value.
    pub most: f64,
}

impl Spread {
    /// Returns the spread of some values; `None` if there are none.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let (&least, &most) = (values.first()?, values.last()?);
        let middle = values.len() / 2;
        let median = if values.len().is_multiple_of(2) {
            f64::midpoint(values[middle - 1], values[middle])
        } else {
            values[middle]
        };
        Some(Self { median, least, most })
    }
}

/// Calls `operation` some times and returns the median of what it took, in seconds.
///
/// # Errors
///
/// Those of `operation`.
pub fn median_of(samples: u32, mut operation: impl FnMut() -> Result<Duration>) -> Result<f64> {
    let times = (0..samples)
        .map(|_| Ok(operation()?.as_secs_f64()))
        .collect::<Result<Vec<_>>>()?;
    Ok(Spread::of(times).map_or(0.0, |spread| spread.median))
}

/// Returns how long `work` took, if it succeeded.
///
/// # Errors
///
/// Those of `work`.
pub fn timed<T>(work: impl FnOnce() -> Result<T>) -> Result<(Duration, T)> {
    let begun = Instant::now();
    let done = work()?;
    Ok((begun.elapsed(), done))
}

/// Contestants, and how they are to stand to each other.
pub struct Comparison<'a> {
    row: &'static str,
    title: String,
    unit: Unit,
    peers: Vec<Box<dyn Peer + 'a>>,
    targets: Vec<(String, Goal)>,
    notes: Vec<String>,
    baseline: Option<String>,
    waits_for_calm: bool,
}

/// A contestant's rounds.
pub struct Series {
    /// The contestant's.
    pub name: String,
    /// One a round.
    pub samples: Vec<Sample>,
    /// Why it has no more rounds.
    pub failure: Option<String>,
}

/// A target, and how it was met.
pub struct Verdict {
    /// Who was to meet it.
    pub subject: String,
    /// The target.
    pub goal: Goal,
    /// What was held against the bound, and whether its median met it; `None` if a contestant was missing.
    pub measured: Option<(Spread, bool)>,
}

impl Verdict {
    /// Tells whether every round says the same.
    pub fn is_clear(&self) -> bool {
        self.measured.as_ref().is_some_and(|(spread, met)| {
            let ends = [spread.least, spread.most];
            ends.iter().all(|end| self.goal.is_met(*end) == *met)
        })
    }
}

/// What came out of a comparison.
pub struct Outcome {
    /// The row's name.
    pub row: &'static str,
    /// What is compared.
    pub title: String,
    /// What the values are.
    pub unit: Unit,
    /// The contestants, as they were added.
    pub series: Vec<Series>,
    /// The targets, as they were set.
    pub verdicts: Vec<Verdict>,
    /// What a reader has to know.
    pub notes: Vec<String>,
    /// Whom all others are shown beside.
    pub baseline: Option<String>,
    /// Which part of the processors the host took away, in the turn in which that was most.
    pub taken: f64,
}

impl Outcome {
    /// Returns how many times the baseline's value a contestant has: a ratio within each round.
    pub fn ratio_to_baseline(&self, series: &Series) -> Option<Spread> {
        let baseline = self.baseline.as_ref()?;
        let baseline = self.series.iter().find(|series| series.name == *baseline)?;
        let rounds = series.samples.iter().zip(&baseline.samples);
        Spread::of(rounds.map(|(sample, baseline)| sample.value / baseline.value))
    }
}

impl<'a> Comparison<'a> {
    /// Returns a comparison without contestants.
    pub fn new(row: &'static str, title: impl Into<String>, unit: Unit) -> Self {
        Self {
            row,
            title: title.into(),
            unit,
            peers: Vec::new(),
            targets: Vec::new(),
            notes: Vec::new(),
            baseline: None,
            waits_for_calm: false,
        }
    }

    /// Has each turn begin when the host gives the processors that are asked for, or has not for a minute.
    pub fn wait_for_calm(&mut self) {
        self.waits_for_calm = true;
    }

    /// Adds a contestant.
    pub fn add(&mut self, peer: impl Peer + 'a) {
        debug_assert!(self.peers.iter().all(|known| known.name() != peer.name()));
        self.peers.push(Box::new(peer));
    }

    /// Adds a contestant that is one function.
    pub fn add_fn(&mut self, name: impl Into<String>, run: impl FnMut(u32) -> Result<Sample> + 'a) {
        self.add(FnPeer {
            name: name.into(),
            run,
        });
    }

    /// Says beside whom the others' values are shown as ratios.
    pub fn baseline(&mut self, name: &str) {
        self.baseline = Some(name.to_owned());
    }

    /// Says how a contestant is to stand to others.
    pub fn target(&mut self, subject: &str, goal: Goal) {
        self.targets.push((subject.to_owned(), goal));
    }

    /// Says what a reader has to know.
    pub fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    /// Lets the contestants take turns. One that fails has no further rounds; the others go on.
    pub fn run(mut self, rounds: u32) -> Outcome {
        let mut series: Vec<Series> = self
            .peers
            .iter()
            .map(|peer| Series {
                name: peer.name().to_owned(),
                samples: Vec::new(),
                failure: None,
            })
            .collect();
        let count = self.peers.len();
        let mut most_taken: f64 = 0.0;
        for round in 0..rounds {
            // Each round begins with another one, so that nobody always runs behind the same neighbour.
            for turn in 0..count {
                let at = (turn + round as usize) % count;
                if series[at].failure.is_some() {
                    continue;
                }
                if self.waits_for_calm {
                    calm::wait();
                }
                let before = Ticks::now();
                let sample = self.peers[at].round(round);
                let taken = Ticks::now()
                    .zip(before)
                    .map(|(now, before)| now.taken_since(before));
                most_taken = most_taken.max(taken.unwrap_or(0.0));
                match sample {
                    Ok(sample) => series[at].samples.push(sample),
                    Err(error) => series[at].failure = Some(crate::with_causes(&*error)),
                }
            }
        }
        let verdicts = self
            .targets
            .into_iter()
            .map(|(subject, goal)| judge(&series, subject, goal))
            .collect();
        Outcome {
            row: self.row,
            title: self.title,
            unit: self.unit,
            series,
            verdicts,
            notes: self.notes,
            baseline: self.baseline,
            taken: most_taken,
        }
    }
}

fn judge(series: &[Series], subject: String, goal: Goal) -> Verdict {
    let find = |name: &str| {
        let found = series.iter().find(|series| series.name == name);
        found.filter(|series| series.failure.is_none())
    };
    let others: Option<Vec<&Series>> = goal.others().into_iter().map(find).collect();
    let measured = find(&subject).zip(others).and_then(|(subject, others)| {
        let rounds = subject.samples.iter().enumerate();
        let spread = Spread::of(rounds.map(|(round, sample)| {
            let others: Vec<&Sample> = others.iter().map(|other| &other.samples[round]).collect();
            goal.measure(sample, &others)
        }))?;
        Some((spread, goal.is_met(spread.median)))
    });
    Verdict {
        subject,
        goal,
        measured,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_lies_in_the_middle() {
        let spread = |values: &[f64]| Spread::of(values.iter().copied());
        assert_eq!(spread(&[]), None);
        assert_eq!(spread(&[3.0, 1.0, 2.0]).map(|spread| spread.median), Some(2.0));
        assert_eq!(
            spread(&[4.0, 1.0]),
            Some(Spread {
                median: 2.5,
                least: 1.0,
                most: 4.0
            })
        );
    }

    #[test]
    fn ratios_are_taken_within_a_round() {
        let mut comparison = Comparison::new("row", "title", Unit::Seconds);
        // Both drift by a factor of ten, together.
        comparison.add_fn("tine", |round| {
            Ok(Sample::new(2.0 * 10f64.powf(f64::from(round))))
        });
        comparison.add_fn("peer", |round| Ok(Sample::new(10f64.powf(f64::from(round)))));
        comparison.target("tine", Goal::AtMost(2.5, "peer".into()));
        comparison.target("tine", Goal::Faster(20.0, "peer".into()));
        comparison.target("tine", Goal::AtMost(1.0, "nobody".into()));
        let outcome = comparison.run(3);
        let measured: Vec<_> = outcome.verdicts.iter().map(|verdict| verdict.measured).collect();
        let exactly = |value| Spread {
            median: value,
            least: value,
            most: value,
        };
        assert!(outcome.verdicts[0].is_clear());
        assert_eq!(
            measured,
            [Some((exactly(2.0), true)), Some((exactly(0.5), false)), None]
        );
    }

    #[test]
    fn a_contestant_that_fails_leaves_the_others_running() {
        let mut comparison = Comparison::new("row", "title", Unit::Seconds);
        comparison.add_fn("bad", |_| Err("broken".into()));
        comparison.add_fn("good", |_| Ok(Sample::new(1.0)));
        comparison.target("good", Goal::AtMost(1.0, "bad".into()));
        let outcome = comparison.run(2);
        assert_eq!(outcome.series[0].failure.as_deref(), Some("broken"));
        assert_eq!(outcome.series[1].samples.len(), 2);
        assert!(outcome.verdicts[0].measured.is_none());
    }
}
