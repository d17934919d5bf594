//! `cargo xtask bench`: the comparisons with peers, and their smoke run.
//!
//! What it asks of a program of benches: `PROGRAM list` prints one suite a line (its name, then whatever else),
//! `PROGRAM SUITE [--smoke] …` runs it, and with `--smoke` a run proves in seconds that the suite still works.

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

/// A package that has suites.
struct Program {
    package: &'static str,
    /// Whether its rows run the command.
    runs_tine: bool,
}

const PROGRAMS: [Program; 3] = [
    Program {
        package: "bench",
        runs_tine: true,
    },
    // Its own, so that nobody waits for the crates that values are compared with.
    Program {
        package: "bench-values",
        runs_tine: false,
    },
    // Its own, so that nothing else has pages of the process that it forks.
    Program {
        package: "bench-memory",
        runs_tine: false,
    },
];

/// The suites whose programs are known without asking: whoever measures values need not build the others.
const VALUES: &str = "values";
const MEMORY: &str = "memory";

/// Runs a suite, optimised, with the arguments as they are; lists the suites if there are none.
pub(crate) fn run(args: &Args) -> Result {
    let Some(suite) = args.args.first() else {
        return PROGRAMS
            .iter()
            .try_for_each(|program| shell::run(program.command(&["--release"]).arg("list")));
    };
    let [disks, values, memory] = &PROGRAMS;
    let program = match suite.as_str() {
        VALUES => values,
        MEMORY => memory,
        _ => disks,
    };
    program.build_what_it_runs(&["--release"])?;
    shell::run(program.command(&["--release"]).args(&args.args))
}

/// Runs each suite's smoke run and returns how many there were.
///
/// Not optimised: a smoke run measures nothing, and the tests need the same build.
pub(crate) fn smoke() -> Result<usize> {
    let mut ran = 0;
    for program in &PROGRAMS {
        program.build_what_it_runs(&[])?;
        let list = shell::read(program.command(&[]).arg("list"))?;
        for suite in list.lines().filter_map(|line| line.split_whitespace().next()) {
            shell::run(program.command(&[]).args([suite, "--smoke"]))?;
            ran += 1;
        }
    }
    Ok(ran)
}

impl Program {
    /// Builds `tine` beside the program, where the rows look for it that run it.
    fn build_what_it_runs(&self, flags: &[&str]) -> Result {
        if !self.runs_tine {
            return Ok(());
        }
        shell::run(shell::cargo(["build", "--quiet", "--package", "tine"]).args(flags))
    }

    fn command(&self, flags: &[&str]) -> Command {
        let mut bench = shell::cargo(["run", "--quiet", "--package", self.package]);
        bench.args(flags).arg("--").env("PATH", shell::path_with_sbin());
        bench
    }
}
