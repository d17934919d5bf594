//! `cargo xtask bench`: the comparisons with peers, and their smoke run.
//!
//! What it asks of the `bench` program: `bench list` prints one suite a line (its name, then whatever else),
//! `bench SUITE [--smoke] …` runs it, and with `--smoke` a run proves in seconds that the suite still works.

use std::process::Command;

use crate::{Result, shell};

/// `cargo xtask bench [SUITE] [ARGS]`
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The suite and what it is to be told; without one, the suites are listed
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "SUITE [ARGS]"
    )]
    args: Vec<String>,
}

/// Runs the `bench` program, optimised, with the arguments as they are.
pub(crate) fn run(args: &Args) -> Result {
    build_command(["--release"])?;
    let mut bench = bench(["--release"]);
    if args.args.is_empty() {
        bench.arg("list");
    }
    shell::run(bench.args(&args.args))
}

/// Runs each suite's smoke run and returns how many there were.
///
/// Not optimised: a smoke run measures nothing, and the tests need the same build.
pub(crate) fn smoke() -> Result<usize> {
    build_command([])?;
    let list = shell::read(bench([]).arg("list"))?;
    let suites = list.lines().filter_map(|line| line.split_whitespace().next());
    let mut ran = 0;
    for suite in suites {
        shell::run(bench([]).args([suite, "--smoke"]))?;
        ran += 1;
    }
    Ok(ran)
}

/// Builds `tine` beside `bench`, where the rows look for it that run it.
fn build_command<const N: usize>(flags: [&str; N]) -> Result {
    shell::run(shell::cargo(["build", "--quiet", "--package", "tine"]).args(flags))
}

fn bench<const N: usize>(flags: [&str; N]) -> Command {
    let mut bench = shell::cargo(["run", "--quiet", "--package", "bench"]);
    bench.args(flags).arg("--").env("PATH", shell::path_with_sbin());
    bench
}
