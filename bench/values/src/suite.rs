//! The suite: which rows run, with how many elements, and for how long.

use std::time::Duration;

use bench_measure::{Machine, Printer, Result, ScaleName, SuiteArgs};

use crate::contest::{Contest, Row};

/// How large and how long.
struct Scale {
    name: &'static str,
    /// No collection has more elements.
    most: usize,
    /// How long a contestant works in a round; none in a smoke run, which does each thing once.
    sample: Duration,
    rounds: u32,
}

impl Scale {
    fn asked_for(args: &SuiteArgs) -> Self {
        let (name, most, milliseconds, rounds) = match args.scale {
            _ if args.smoke => ("smoke", 1000, 0, 1),
            ScaleName::Small => ("small", 100_000, 5, 5),
            ScaleName::Full => ("full", usize::MAX, 20, 11),
        };
        Self {
            name,
            most,
            sample: Duration::from_millis(milliseconds),
            rounds: args.rounds.unwrap_or(rounds),
        }
    }

    /// Returns the sizes of a row, none above the scale's.
    fn sizes(&self, row: &Row) -> Vec<usize> {
        let mut sizes: Vec<_> = row.sizes.iter().map(|&n| n.min(self.most)).collect();
        sizes.dedup();
        sizes
    }
}

/// Runs the rows that are asked for, all if none is.
///
/// # Errors
///
/// When a row is unknown or a contestant did not work; never for being slow.
pub(crate) fn run(rows: &[&[Row]], args: &SuiteArgs) -> Result {
    let scale = Scale::asked_for(args);
    let rows: Vec<&Row> = rows.iter().copied().flatten().collect();
    let names: Vec<&str> = rows.iter().map(|row| row.name).collect();
    let wanted = args.choose(&names)?;
    let printer = Printer::new(args.format(), args.smoke);
    let sizes = match scale.most {
        usize::MAX => "every n".to_owned(),
        most => format!("n up to {most}"),
    };
    printer.header(&Machine::here(), scale.name, &sizes, scale.rounds);
    let mut failures = 0;
    for row in rows.iter().filter(|row| wanted.contains(&row.name)) {
        for n in scale.sizes(row) {
            let mut contest = Contest::new(row, n, scale.sample);
            (row.compare)(&mut contest, n);
            let outcome = contest.run(scale.rounds);
            failures += outcome
                .series
                .iter()
                .filter(|series| series.failure.is_some())
                .count();
            printer.outcome(&outcome);
        }
    }
    match failures {
        0 => Ok(()),
        failures => Err(format!("{failures} of the contestants failed").into()),
    }
}
