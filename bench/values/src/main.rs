//! `bench-values`: tine-values beside std's types and its peers, as `cargo xtask bench values` runs it.
//!
//! A crate of its own, so that nothing else waits for its peers to build, and so that their licences stay out of what
//! tine is made of. How to add a row: `contest.rs`.

mod array;
mod contest;
mod data;
mod heap;
mod interner;
mod list;
mod map;
mod set;
mod shared;
mod sorted;
mod suite;
mod text;
mod versions;

use std::process::ExitCode;

use bench_measure::{Result, SuiteArgs};
use clap::{Parser, Subcommand};

/// Compares tine-values with its peers
#[derive(Parser)]
#[command(name = "bench-values")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Prints the suites, one a line
    List,
    /// Texts, lists, maps and sets against std's, im, imbl, rpds, ecow, hipstr, compact_str, lasso, triomphe, PHP
    Values(SuiteArgs),
}

fn run(cli: Cli) -> Result {
    match cli.command {
        Command::List => {
            println!(
                "values  texts, lists, maps and sets against std's and those of im, imbl, rpds and others"
            );
            Ok(())
        }
        Command::Values(args) => suite::run(
            &[
                versions::ROWS,
                list::ROWS,
                map::ROWS,
                set::ROWS,
                shared::ROWS,
                text::ROWS,
                sorted::ROWS,
                interner::ROWS,
                array::ROWS,
            ],
            &args,
        ),
    }
}

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
