//! Suites: rows that are run one after the other, all of them or those that are asked for.

use std::cell::Cell;

use crate::Result;
use crate::data::Blocks;
use crate::machine::Machine;
use crate::measure::Comparison;
use crate::place::Place;
use crate::scale::Scale;
use crate::table::Printer;

/// A row: its name and what runs it.
pub(crate) type Row = (&'static str, fn(&Context<'_>) -> Result);

/// What all rows share.
pub(crate) struct Context<'a> {
    pub(crate) scale: &'a Scale,
    pub(crate) place: Place,
    pub(crate) blocks: Blocks,
    pub(crate) printer: Printer,
    failures: Cell<u32>,
}

impl Context<'_> {
    /// Runs a comparison and prints it.
    pub(crate) fn run(&self, comparison: Comparison<'_>) {
        self.run_rounds(comparison, self.scale.rounds);
    }

    pub(crate) fn run_rounds(&self, comparison: Comparison<'_>, rounds: u32) {
        let outcome = comparison.run(rounds);
        let failed = outcome.series.iter().filter(|series| series.failure.is_some());
        self.failures.set(self.failures.get() + failed.count() as u32);
        self.printer.outcome(&outcome, self.scale);
    }
}

/// Runs the rows that are asked for, all if none is. A row that fails does not keep the others from running.
///
/// # Errors
///
/// When a row is unknown, there is too little space, or anything did not work; never for being slow.
pub(crate) fn run(rows: &[Row], wanted: &[String], scale: &Scale, printer: Printer) -> Result {
    let names: Vec<&str> = rows.iter().map(|(name, _)| *name).collect();
    if let Some(unknown) = wanted
        .iter()
        .find(|wanted| !names.iter().any(|name| name.starts_with(wanted.as_str())))
    {
        return Err(format!("there is no row `{unknown}`; there are: {}", names.join(", ")).into());
    }
    let context = Context {
        scale,
        place: Place::new()?,
        blocks: Blocks::new(),
        printer,
        failures: Cell::new(0),
    };
    // Three disks at once and something for what is written to them.
    let needed = 3 * scale.disk_bytes + scale.disk_bytes / 2 + (1 << 30);
    let free = context.place.free_bytes()?;
    if free < needed {
        let (needed, place) = (needed >> 20, context.place.path().display());
        return Err(format!(
            "{needed} MiB are needed in {place}, {} are free; TINE_BENCH_DIR names another place",
            free >> 20
        )
        .into());
    }
    context.printer.header(&Machine::of(context.place.path()), scale);
    for &(name, row) in rows {
        // A whole name is that row alone, not those that begin with it.
        let is_wanted = |wanted: &String| {
            name == wanted || (name.starts_with(wanted.as_str()) && !names.contains(&wanted.as_str()))
        };
        if !wanted.is_empty() && !wanted.iter().any(is_wanted) {
            continue;
        }
        if let Err(error) = row(&context) {
            context.printer.failed(name, &error.to_string());
            context.failures.set(context.failures.get() + 1);
        }
    }
    match context.failures.get() {
        0 => Ok(()),
        failures => Err(format!("{failures} of the contestants and rows failed").into()),
    }
}
