//! `bench`: tine side by side with its peers, as `cargo xtask bench` runs it.
//!
//! A suite is a list of rows, a row a comparison of contestants that take turns within one run. What is asserted is
//! only that everything works and that the bytes are right; how fast it was is printed beside the targets, met or not.

mod count;
mod data;
mod machine;
mod measure;
mod nbd;
mod place;
mod programs;
mod raw;
mod reflink;
mod scale;
mod store;
mod suite;
mod table;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::scale::Scale;
use crate::table::{Format, Printer};

/// What anything here can fail with: it is printed, not matched.
type Result<T = ()> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

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
    /// Works beside the build's target directory, or in TINE_BENCH_DIR; takes up to 15 GiB there.
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
struct SuiteArgs {
    /// The rows to run: their names, or what these begin with [default: all]
    rows: Vec<String>,
    /// Runs every row in its smallest form and verifies every byte; measures nothing
    #[arg(long, conflicts_with = "scale")]
    smoke: bool,
    /// How large: disks of 512 MiB or of 4 GiB
    #[arg(long, value_enum, default_value_t = ScaleName::Full)]
    scale: ScaleName,
    /// How many rounds each contestant has [default: as the scale says]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: Option<u32>,
    /// Prints one object a line instead of tables
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum ScaleName {
    Small,
    Full,
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

impl SuiteArgs {
    fn run(&self, rows: &[suite::Row]) -> Result {
        let format = if self.json {
            Format::JsonLines
        } else {
            Format::Table
        };
        suite::run(rows, &self.rows, &self.scale(), Printer::new(format))
    }

    fn scale(&self) -> Scale {
        let mut scale = match self.scale {
            _ if self.smoke => Scale::smoke(),
            ScaleName::Small => Scale::small(),
            ScaleName::Full => Scale::full(),
        };
        if let Some(rounds) = self.rounds {
            scale.rounds = rounds;
        }
        scale
    }
}

fn run(cli: Cli) -> Result {
    match cli.command {
        Command::List => {
            println!("store  the storage engine against raw files, qcow2 and reflinks");
            println!("nbd    the daemon against nbdkit, qemu-nbd, qcow2 overlays and chains");
            Ok(())
        }
        Command::Store(args) => args.run(&store::ROWS),
        Command::Nbd(args) => args.run(&nbd::ROWS),
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
