//! `bench`: tine side by side with its peers, as `cargo xtask bench` runs it.
//!
//! A suite is a list of rows, a row a comparison of contestants that take turns within one run. What is asserted is
//! only that everything works and that the bytes are right; how fast it was is printed beside the targets, met or not.

mod count;
mod data;
mod memory;
mod nbd;
mod place;
mod programs;
mod raw;
mod reflink;
mod scale;
mod store;
mod suite;

use std::path::PathBuf;
use std::process::ExitCode;

use bench_measure::{Result, SuiteArgs};
use clap::{Parser, Subcommand};

/// Compares tine with its peers
#[derive(Parser)]
#[command(name = "bench")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Prints the suites, one a line
    List,
    /// The storage engine against raw files, qcow2 and reflinks
    ///
    /// Works beside the build's target directory, or in TINE_BENCH_DIR; takes up to 22 GiB there.
    Store(SuiteArgs),
    /// The daemon against nbdkit, qemu-nbd, qcow2 overlays and chains, with fio's nbd engine
    ///
    /// Works beside the build's target directory, or in TINE_BENCH_DIR; takes up to 30 GiB there, and as much memory as a
    /// disk has.
    Nbd(SuiteArgs),
    /// Writes into a store until it is killed (a contestant of the row `crash`)
    #[command(hide = true)]
    CrashWriter(CrashWriterArgs),
    /// Opens all forks of a store and prints what that takes (for the row `open-memory`)
    #[command(hide = true)]
    OpenAll(OpenAllArgs),
}

#[derive(clap::Args)]
pub(crate) struct CrashWriterArgs {
    directory: PathBuf,
    seed: u64,
    buffer_bytes: u64,
    #[arg(long)]
    flush: bool,
}

#[derive(clap::Args)]
pub(crate) struct OpenAllArgs {
    store: PathBuf,
    forks: u64,
    buffer_bytes: u64,
}

fn run(cli: Cli) -> Result {
    match cli.command {
        Command::List => {
            println!("store  the storage engine against raw files, qcow2 and reflinks");
            println!("nbd    the daemon against nbdkit, qemu-nbd, qcow2 overlays and chains");
            Ok(())
        }
        Command::Store(args) => suite::run(&store::ROWS, &args),
        Command::Nbd(args) => suite::run(&nbd::ROWS, &args),
        Command::CrashWriter(args) => store::write_until_killed(&args),
        Command::OpenAll(args) => store::open_all(&args),
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
