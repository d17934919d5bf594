//! `bench-memory`: tine-memory beside fork(2), and its tables beside hash tables, as `cargo xtask bench memory` runs it.
//!
//! A crate of its own: a process is forked here, so it has nothing in it but what is measured. Regions are not mapped in a forked
//! process (MADV_DONTFORK), so what fork(2) copies is the peer's memory alone.

mod peer;
mod rows;
mod table;

use std::process::ExitCode;

use bench_measure::{Machine, Printer, Result, ScaleName, SuiteArgs};
use clap::{Parser, Subcommand};

/// Compares tine-memory with fork(2)
#[derive(Parser)]
#[command(name = "bench-memory")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Prints the suites, one a line
    List,
    /// Regions against fork(2), munmap and mmap, and write; tables against HashMap and hashbrown
    ///
    /// Takes up to 6 GiB of memory, and 2 GiB beside the build's target directory, or in TINE_BENCH_DIR.
    Memory(SuiteArgs),
}

fn run(cli: Cli) -> Result {
    match cli.command {
        Command::List => {
            println!(
                "memory  regions against fork(2), mmap and write, their tables against HashMap and hashbrown"
            );
            Ok(())
        }
        Command::Memory(args) => measure(&args),
    }
}

/// Runs the rows that are asked for, all if none is.
fn measure(args: &SuiteArgs) -> Result {
    let (name, bytes, rounds) = match args.scale {
        _ if args.smoke => ("smoke", 4 << 20, 1),
        ScaleName::Small => ("small", 64 << 20, 5),
        ScaleName::Full => ("full", 1 << 30, 9),
    };
    let rounds = args.rounds.unwrap_or(rounds);
    let names: Vec<&str> = rows::ROWS.iter().map(|row| row.name).collect();
    let wanted = args.choose(&names)?;
    let printer = Printer::new(args.format(), args.smoke);
    let size = format!("regions of {}", bench_measure::bytes(bytes as f64));
    printer.header(&Machine::here(), name, &size, rounds);
    let mut failures = 0;
    for row in rows::ROWS.iter().filter(|row| wanted.contains(&row.name)) {
        let outcome = (row.compare)(row.name, bytes)?.run(rounds);
        let failed = outcome.series.iter().filter(|series| series.failure.is_some());
        failures += failed.count();
        printer.outcome(&outcome);
    }
    match failures {
        0 => Ok(()),
        failures => Err(format!("{failures} of the contestants failed").into()),
    }
}

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", bench_measure::with_causes(&*error));
            ExitCode::FAILURE
        }
    }
}
