//! Suites: rows that are run one after the other, all of them or those that are asked for.

use std::cell::Cell;
use std::process::Command;

use bench_measure::{Comparison, Machine, Outcome, Printer, SuiteArgs, bytes, first_line};

use crate::Result;
use crate::data::Blocks;
use crate::place::{self, Place};
use crate::scale::Scale;

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
        self.print(&self.rounds_of(comparison, rounds));
    }

    fn rounds_of(&self, mut comparison: Comparison<'_>, rounds: u32) -> Outcome {
        // A smoke's figures mean nothing.
        if !self.scale.verify_all {
            comparison.wait_for_calm();
        }
        comparison.run(rounds)
    }

    /// Runs a comparison and prints it with what `look` says afterwards.
    ///
    /// # Errors
    ///
    /// That of `look`: then what was compared is not what the row says.
    pub(crate) fn run_and_look(
        &self,
        comparison: Comparison<'_>,
        look: impl FnOnce() -> Result<String>,
    ) -> Result {
        let mut outcome = self.rounds_of(comparison, self.scale.rounds);
        let seen = look().map(|note| outcome.notes.push(note));
        self.print(&outcome);
        seen
    }

    fn print(&self, outcome: &Outcome) {
        let failed = outcome.series.iter().filter(|series| series.failure.is_some());
        self.failures.set(self.failures.get() + failed.count() as u32);
        self.printer.outcome(outcome);
    }
}

/// Runs the rows that are asked for, all if none is. A row that fails does not keep the others from running.
///
/// # Errors
///
/// When a row is unknown, there is too little space, or anything did not work; never for being slow.
pub(crate) fn run(rows: &[Row], args: &SuiteArgs) -> Result {
    let names: Vec<&str> = rows.iter().map(|(name, _)| *name).collect();
    let wanted = args.choose(&names)?;
    let scale = &Scale::asked_for(args);
    let context = Context {
        scale,
        place: Place::new()?,
        blocks: Blocks::new(),
        printer: Printer::new(args.format(), args.smoke),
        failures: Cell::new(0),
    };
    // `sequential-read` keeps four disks and writes one of them anew before the old one is given back. Beside them: indexes,
    // checksums, and each store's journal.
    let needed = 5 * scale.disk_bytes + scale.disk_bytes / 4 + (1 << 30);
    let free = context.place.free_bytes()?;
    if free < needed {
        let (needed, place) = (needed >> 20, context.place.path().display());
        return Err(format!(
            "{needed} MiB are needed in {place}, {} are free; TINE_BENCH_DIR names another place",
            free >> 20
        )
        .into());
    }
    let mut machine = Machine::here();
    machine.add("file system", place::file_system(context.place.path()));
    for program in ["qemu-img", "cp"] {
        machine.add(program, first_line(Command::new(program).arg("--version")));
    }
    let disks = format!("disks of {}", bytes(scale.disk_bytes as f64));
    context.printer.header(&machine, scale.name, &disks, scale.rounds);
    for &(name, row) in rows.iter().filter(|(name, _)| wanted.contains(name)) {
        if let Err(error) = row(&context) {
            context.printer.failed(name, &bench_measure::with_causes(&*error));
            context.failures.set(context.failures.get() + 1);
        }
    }
    match context.failures.get() {
        0 => Ok(()),
        failures => Err(format!("{failures} of the contestants and rows failed").into()),
    }
}
