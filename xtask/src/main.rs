//! The developers' commands: `cargo xtask test`, `bench`, `torture` and their smaller friends.
//!
//! Each command is a list of ordinary `cargo` calls that are printed before they run, so whatever fails can be
//! repeated by hand. What a machine lacks (a nightly toolchain, a Debian package) is skipped by name; what the
//! code gets wrong fails.
//!
//! **Invariant:** nothing here changes what is in git, apart from lock files that a changed manifest left behind.
//! What is made lies in `target/`, `fuzz/corpus/` and `fuzz/artifacts/`.

mod bench;
mod deny;
#[cfg(test)]
mod documents;
mod fuzz;
mod install;
mod licences;
mod machine;
mod planted;
mod shell;
mod steps;
mod toolchain;
mod torture;

use std::error::Error;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// What a command of this crate returns: the error's text is all that its user needs.
type Result<T = ()> = std::result::Result<T, Box<dyn Error>>;

/// The developers' commands of tine.
#[derive(Parser)]
#[command(
    name = "cargo xtask",
    bin_name = "cargo xtask",
    disable_help_subcommand = true
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Checks everything: format, lints, documentation, licences, fuzzing, sanitizers, benches, tests
    Test(steps::Args),
    /// Runs a suite of side-by-side comparisons, optimised
    Bench(bench::Args),
    /// Runs the long forms of the tests: more seeds, more cuts, more kills
    Torture(torture::Args),
    /// Builds the fuzz targets and runs one or all of them (needs a nightly toolchain)
    Fuzz(fuzz::Args),
    /// Checks the licences and sources of all dependencies; installs cargo-deny if it is missing
    Deny(deny::Args),
    /// Installs what the tests need and is missing, and says what cannot be installed
    Setup,
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Test(args) => steps::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Torture(args) => torture::run(&args),
        Command::Fuzz(args) => fuzz::run(&args),
        Command::Deny(args) => deny::run(&args),
        Command::Setup => install::run(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
