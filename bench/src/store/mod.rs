//! The suite `store`: the engine as a library, and twice as the command, against what people use instead.

mod bed;
mod commit;
mod crash;
mod fork;
mod import;
mod open;
mod pressure;
mod read;
mod space;
mod write;

use std::cell::Cell;

pub(crate) use crash::write_until_killed;
pub(crate) use open::open_all;

use crate::Result;
use crate::data::Blocks;
use crate::machine::Machine;
use crate::measure::Comparison;
use crate::place::Place;
use crate::scale::Scale;
use crate::table::Printer;

/// A row: its name and what runs it.
type Row = (&'static str, fn(&Context<'_>) -> Result);

const ROWS: [Row; 18] = [
    ("fork", fork::fork),
    ("fork-process", fork::process),
    ("read", read::random),
    ("write", write::random),
    ("sequential-write", write::sequential),
    ("sequential-read", read::sequential),
    ("cold-read", read::cold),
    ("commit", commit::commit),
    ("threads", commit::threads),
    ("pressure", pressure::buffer),
    ("pressure-flush", pressure::journal),
    ("space", space::scattered),
    ("space-forks", space::forks),
    ("open", open::many),
    ("open-memory", open::memory),
    ("open-deep", open::deep),
    ("crash", crash::crash),
    ("import", import::import),
];

/// What all rows share.
struct Context<'a> {
    scale: &'a Scale,
    place: Place,
    blocks: Blocks,
    printer: Printer,
    failures: Cell<u32>,
}

impl Context<'_> {
    /// Runs a comparison and prints it.
    fn run(&self, comparison: Comparison<'_>) {
        self.run_rounds(comparison, self.scale.rounds);
    }

    fn run_rounds(&self, comparison: Comparison<'_>, rounds: u32) {
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
pub(crate) fn run(wanted: &[String], scale: &Scale, printer: Printer) -> Result {
    let names = || ROWS.map(|(name, _)| name).join(", ");
    if let Some(unknown) = wanted
        .iter()
        .find(|wanted| !ROWS.iter().any(|(name, _)| name.starts_with(*wanted)))
    {
        return Err(format!("there is no row `{unknown}`; there are: {}", names()).into());
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
    for (name, row) in ROWS {
        // A whole name is that row alone, not those that begin with it.
        let is_wanted = |wanted: &String| {
            name == wanted
                || (name.starts_with(wanted.as_str()) && !ROWS.iter().any(|(whole, _)| whole == wanted))
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
