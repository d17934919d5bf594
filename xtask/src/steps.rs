//! `cargo xtask test`: everything that a change has to pass, step by step, the tests last.
//!
//! After the test runner's own summary nothing else is printed, so the times of all steps stand before it; what
//! the tests take, the summary says.
//!
//! Steps share artefacts where they can: clippy and the documentation those of `cargo check`, doc tests, benches
//! and tests those of `cargo test`. Flags stand behind `--` or in `RUSTDOCFLAGS`, since a changed `RUSTFLAGS`
//! builds everything again. What needs flags of its own (loom, AddressSanitizer, fuzzing) has its own folder below
//! `target/`.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use clap::builder::PossibleValuesParser;

use crate::planted::{self, Caught};
use crate::toolchain::{self, Nightly};
use crate::{Result, bench, deny, fuzz, install, licences, shell};

/// `cargo xtask test`
#[derive(clap::Args)]
#[command(after_help = help())]
pub(crate) struct Args {
    /// Only these steps
    #[arg(value_name = "STEP", hide_possible_values = true, value_parser = names())]
    only: Vec<String>,
    /// All steps but this one; may be repeated
    #[arg(long, value_name = "STEP", hide_possible_values = true, value_parser = names())]
    skip: Vec<String>,
    /// After a step that failed, go on with the next
    #[arg(long)]
    keep_going: bool,
    /// How long all fuzz targets together run, 5 to 15 seconds each
    #[arg(long, value_name = "N", default_value_t = 60)]
    fuzz_seconds: u64,
}

struct Step {
    name: &'static str,
    about: &'static str,
    run: fn(&Args) -> Result<Done>,
}

/// How a step ended that did not fail.
enum Done {
    Passed,
    /// As far as the machine can tell; the rest is named.
    PassedBut(String),
    Skipped(String),
}

/// The step whose output is the last.
const TESTS: &str = "tests";

/// In the order in which they run: what fails soonest comes first.
const STEPS: &[Step] = &[
    Step {
        name: "setup",
        about: "what is missing is installed",
        run: setup,
    },
    Step {
        name: "fmt",
        about: "the format is rustfmt's",
        run: fmt,
    },
    Step {
        name: "clippy",
        about: "no lint fires",
        run: clippy,
    },
    Step {
        name: "doc",
        about: "the documentation builds, without warnings",
        run: doc,
    },
    Step {
        name: "targets",
        about: "all of it compiles for the other machine that it is for, tine-values for any",
        run: targets,
    },
    Step {
        name: "bare",
        about: "tine-values links without the standard library",
        run: bare,
    },
    Step {
        name: "deny",
        about: "licences and sources are allowed",
        run: licences,
    },
    Step {
        name: "build",
        about: "the tests build",
        run: build,
    },
    Step {
        name: "doctest",
        about: "the documentation's examples run",
        run: doctest,
    },
    Step {
        name: "planted",
        about: "missing syncs are caught when the power is cut",
        run: planted_bugs,
    },
    Step {
        name: "demo",
        about: "the demo runs, built as a user builds it",
        run: demo,
    },
    Step {
        name: "bench",
        about: "each suite of benches runs, shortly",
        run: benches,
    },
    Step {
        name: "valgrind",
        about: "tine-values neither leaks nor touches what is not its own",
        run: valgrind,
    },
    Step {
        name: "loom",
        about: "shared counts are right in every interleaving",
        run: loom,
    },
    Step {
        name: "asan",
        about: "the tests of tine-values and tine-memory, under AddressSanitizer",
        run: asan,
    },
    Step {
        name: "fuzz",
        about: "each fuzz target runs, shortly",
        run: fuzzing,
    },
    Step {
        name: "tests",
        about: "the tests",
        run: tests,
    },
];

/// Where `tine-values` has to compile too: no 64-bit atomics, no operating system, no threads, another vendor's.
const TARGETS: &[&str] = &[
    toolchain::BARE,
    "x86_64-unknown-none",
    "wasm32-unknown-unknown",
    "aarch64-apple-darwin",
    "x86_64-pc-windows-gnu",
];

/// An error or a definite leak is a failure.
const VALGRIND: &[&str] = &[
    "--quiet",
    "--error-exitcode=99",
    "--leak-check=full",
    "--show-leak-kinds=definite",
    "--errors-for-leak-kinds=definite",
    // One thread runs at a time; without it, one that waits for another may run for minutes.
    "--fair-sched=try",
];

/// Runs the steps that `args` chooses.
///
/// # Errors
///
/// When a step fails; it is named.
pub(crate) fn run(args: &Args) -> Result {
    let chosen = |step: &&Step| {
        let named = |names: &[String]| names.iter().any(|name| name == step.name);
        (args.only.is_empty() || named(&args.only)) && !named(&args.skip)
    };
    let mut report = Report::default();
    for step in STEPS.iter().filter(chosen) {
        if step.name == TESTS {
            report.print();
        }
        eprintln!("\n==> {}: {}", step.name, step.about);
        let start = Instant::now();
        let result = (step.run)(args);
        report.add(step.name, start.elapsed(), result);
        if report.failed.is_some() && !args.keep_going {
            break;
        }
    }
    if report.lines.last().is_none_or(|line| line.name != TESTS) {
        report.print();
    }
    report
        .failed
        .map_or(Ok(()), |failed| Err(format!("failed: {failed}").into()))
}

/// The steps so far.
#[derive(Default)]
struct Report {
    lines: Vec<Line>,
    /// The names of those that failed.
    failed: Option<String>,
}

struct Line {
    name: &'static str,
    took: Duration,
    outcome: String,
}

impl Report {
    fn add(&mut self, name: &'static str, took: Duration, result: Result<Done>) {
        let outcome = match result {
            Ok(Done::Passed) => String::new(),
            Ok(Done::PassedBut(why) | Done::Skipped(why)) => {
                eprintln!("skipped: {why}");
                format!("skipped: {why}")
            }
            Err(error) => {
                eprintln!("error: {error}");
                let failed = self.failed.take();
                self.failed =
                    Some(failed.map_or_else(|| name.to_owned(), |others| format!("{others}, {name}")));
                format!("FAILED: {error}")
            }
        };
        self.lines.push(Line { name, took, outcome });
    }

    fn print(&self) {
        let total: Duration = self.lines.iter().map(|line| line.took).sum();
        eprintln!("\n{:<8} {:>9}", "step", "seconds");
        for Line { name, took, outcome } in &self.lines {
            eprintln!(
                "{}",
                format!("{name:<8} {:>9.1}  {outcome}", took.as_secs_f64()).trim_end()
            );
        }
        eprintln!("{:<8} {:>9.1}", "total", total.as_secs_f64());
    }
}

fn names() -> PossibleValuesParser {
    STEPS.iter().map(|step| step.name).collect::<Vec<_>>().into()
}

fn help() -> String {
    let lines = STEPS
        .iter()
        .map(|step| format!("  {:<8} {}\n", step.name, step.about));
    format!("Steps, in their order:\n{}", lines.collect::<String>())
}

fn setup(_: &Args) -> Result<Done> {
    install::run()?;
    Ok(Done::Passed)
}

fn fmt(_: &Args) -> Result<Done> {
    shell::run(&mut shell::cargo(["fmt", "--all", "--check"]))?;
    shell::run(&mut shell::cargo([
        "fmt",
        "--manifest-path",
        "fuzz/Cargo.toml",
        "--check",
    ]))?;
    Ok(Done::Passed)
}

fn clippy(_: &Args) -> Result<Done> {
    let deny = ["--", "--deny", "warnings"];
    shell::run(shell::cargo(["clippy", "--workspace", "--all-targets"]).args(deny))?;
    // Its tests, and so all of the above, have every feature.
    for features in [&[][..], &["--features", "serde"]] {
        let mut bare = shell::cargo(["clippy", "--package", "tine-values", "--lib"]);
        bare.arg("--no-default-features").args(features);
        shell::run(bare.args(deny))?;
    }
    // Without libFuzzer's runtime, so this needs neither a nightly toolchain nor C++.
    let mut fuzz = shell::cargo([
        "clippy",
        "--manifest-path",
        "fuzz/Cargo.toml",
        "--no-default-features",
    ]);
    shell::run(fuzz.arg("--target-dir").arg(shell::target_dir()).args(deny))?;
    Ok(Done::Passed)
}

fn doc(_: &Args) -> Result<Done> {
    let mut doc = shell::cargo(["doc", "--workspace", "--no-deps"]);
    shell::run(doc.env("RUSTDOCFLAGS", "--deny warnings"))?;
    Ok(Done::Passed)
}

fn targets(_: &Args) -> Result<Done> {
    let host = toolchain::host();
    let machines = toolchain::MACHINES
        .iter()
        .filter(|machine| host.as_deref() != Some(machine));
    let checks: Vec<(&str, &[&str])> = machines
        .map(|target| (*target, &["--workspace"][..]))
        .chain(TARGETS.iter().map(|target| {
            (
                *target,
                &["--package", "tine-values", "--no-default-features"][..],
            )
        }))
        .collect();
    let (installed, missing): (Vec<_>, Vec<_>) = checks
        .into_iter()
        .partition(|(target, _)| toolchain::has_target(target));
    for (target, packages) in &installed {
        shell::run(shell::cargo(["check", "--target", target]).args(*packages))?;
    }
    let missing: Vec<_> = missing.into_iter().map(|(target, _)| target).collect();
    Ok(match (installed.is_empty(), missing.is_empty()) {
        (_, true) => Done::Passed,
        (empty, _) => {
            let why = format!("not installed (rustup target add): {}", missing.join(" "));
            if empty {
                Done::Skipped(why)
            } else {
                Done::PassedBut(why)
            }
        }
    })
}

fn bare(_: &Args) -> Result<Done> {
    const PROGRAM: &str = "xtask/bare.rs";
    const EDITION: [&str; 2] = ["--edition", "2024"];
    let built = shell::target_dir().join("bare");
    // Unwinding is the standard library's.
    let mut values = shell::cargo(["build", "--package", "tine-values", "--lib"]);
    values.arg("--no-default-features");
    values.arg("--target-dir").arg(&built);
    shell::run(values.env("CARGO_PROFILE_DEV_PANIC", "abort"))?;
    let library = built.join("debug/libtine_values.rlib");
    let mut external = std::ffi::OsString::from("tine_values=");
    external.push(library);
    shell::run(
        shell::command("rustfmt")
            .arg("--check")
            .args(EDITION)
            .arg(PROGRAM),
    )?;
    let mut program = shell::command("rustc");
    program
        .args(EDITION)
        .args([
            "--crate-type",
            "staticlib",
            "--codegen",
            "panic=abort",
            "--deny",
            "warnings",
        ])
        .arg("--extern")
        .arg(external)
        // What it depends on itself.
        .arg("-L")
        .arg(format!("dependency={}", built.join("debug/deps").display()))
        .arg("--out-dir")
        .arg(&built);
    shell::run(program.arg(PROGRAM))?;
    Ok(Done::Passed)
}

fn licences(_: &Args) -> Result<Done> {
    licences::check()?;
    // Building it takes minutes that are better spent on tests.
    if !deny::is_installed() {
        return Ok(Done::PassedBut(
            "what cargo-deny tells beyond that (`cargo xtask deny` installs it)".to_owned(),
        ));
    }
    deny::check(false)?;
    Ok(Done::Passed)
}

fn build(_: &Args) -> Result<Done> {
    shell::run(&mut shell::cargo(["nextest", "run", "--workspace", "--no-run"]))?;
    Ok(Done::Passed)
}

fn doctest(_: &Args) -> Result<Done> {
    shell::run(&mut shell::cargo(["test", "--quiet", "--workspace", "--doc"]))?;
    Ok(Done::Passed)
}

fn planted_bugs(_: &Args) -> Result<Done> {
    // The same build as the tests': tine-store's own tests ask for the feature, so all of it has it.
    let nextest = || shell::cargo(["nextest", "run", "--workspace"]);
    Ok(match planted::SOON.catch(nextest)? {
        Caught::All => Done::Passed,
        Caught::Unknown(why) => Done::Skipped(why),
    })
}

fn demo(_: &Args) -> Result<Done> {
    // The workspace's tests have planted bugs and simulated media built in; what a user runs has neither.
    let mut demo = shell::cargo(["run", "--quiet", "--release", "--", "demo"]);
    shell::run(demo.env("PATH", shell::path_with_sbin()))?;
    Ok(Done::Passed)
}

fn benches(_: &Args) -> Result<Done> {
    match bench::smoke()? {
        0 => Ok(Done::Skipped("there is no suite yet".to_owned())),
        _ => Ok(Done::Passed),
    }
}

fn valgrind(_: &Args) -> Result<Done> {
    // One that is there may lack what it looks into, such as the symbols of the C library.
    if shell::ask(shell::command("valgrind").args([VALGRIND, &["true"]].concat())).is_none() {
        return Ok(Done::Skipped(
            "no valgrind that works (apt-get install valgrind)".to_owned(),
        ));
    }
    let Some(host) = toolchain::host() else {
        return Ok(Done::Skipped("`rustc -vV` names no host".to_owned()));
    };
    // A runner is not part of the build: what runs is what the tests built.
    let under = |mut tests: Command| {
        tests
            .env(
                format!(
                    "CARGO_TARGET_{}_RUNNER",
                    host.to_uppercase().replace(['-', '.'], "_")
                ),
                format!("valgrind {}", VALGRIND.join(" ")),
            )
            .env("PROPTEST_CASES", "10");
        shell::run(&mut tests)
    };
    let mut nextest = shell::cargo(["nextest", "run", "--workspace", "--filterset"]);
    nextest.arg("package(=tine-values) & !binary(=values)");
    under(nextest)?;
    // All of one program in one process: valgrind takes seconds to read its symbols. What panics takes minutes here, and
    // AddressSanitizer has it too.
    let mut values = shell::cargo(["test", "--quiet", "--workspace", "--test", "values"]);
    values.args(["--", "--test-threads", "1", "--skip", "_panics::"]);
    under(values)?;
    Ok(Done::Passed)
}

fn loom(_: &Args) -> Result<Done> {
    let crates = crates_with("cfg(loom)")?;
    if crates.is_empty() {
        return Ok(Done::Skipped("no crate has loom tests".to_owned()));
    }
    // The runner, unlike `cargo test`, ends a test that never ends and refuses to run none.
    for name in &crates {
        // A test program of that name, or tests beside the code, found by theirs.
        let has_program = shell::root()
            .join("crates")
            .join(name)
            .join("tests/loom.rs")
            .is_file();
        let what = if has_program {
            ["--test", "loom"]
        } else {
            ["--lib", "loom"]
        };
        let mut loom = shell::cargo(["nextest", "run", "--release", "--package", name]);
        loom.args(what).env("RUSTFLAGS", "--cfg loom");
        shell::run(loom.arg("--target-dir").arg(shell::target_dir().join("loom")))?;
    }
    Ok(Done::Passed)
}

fn asan(_: &Args) -> Result<Done> {
    let nightly = match Nightly::find() {
        Ok(nightly) => nightly,
        Err(why) => return Ok(Done::Skipped(why)),
    };
    // With `--target`, the flags are for the tests alone, not for build scripts and procedural macros.
    let mut cargo = nightly.cargo(["nextest", "run"]);
    cargo
        .args(["--package", "tine-values", "--package", "tine-memory"])
        // It needs mappings itself, and ends where there are none.
        .args(["--filterset", "!(package(=tine-memory) & binary(=mappings))"])
        .args(["--target", &nightly.host])
        .arg("--target-dir")
        .arg(shell::target_dir().join("asan"));
    shell::run(cargo.env("RUSTFLAGS", "-Zsanitizer=address"))?;
    Ok(Done::Passed)
}

fn fuzzing(args: &Args) -> Result<Done> {
    let nightly = match Nightly::find() {
        Ok(nightly) => nightly,
        Err(why) => return Ok(Done::Skipped(why)),
    };
    if shell::find("c++").is_none() {
        return Ok(Done::Skipped(
            "no C++ compiler for libFuzzer (apt-get install g++)".to_owned(),
        ));
    }
    fuzz::run_all(&nightly, args.fuzz_seconds)?;
    Ok(Done::Passed)
}

fn tests(_: &Args) -> Result<Done> {
    let mut nextest = shell::cargo(["nextest", "run", "--workspace"]);
    shell::run(nextest.env("PATH", shell::path_with_sbin()))?;
    Ok(Done::Passed)
}

/// Returns the names of the crates that have `text` somewhere in their sources.
fn crates_with(text: &str) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(shell::root().join("crates"))? {
        let entry = entry?;
        if any_source_has(&entry.path().join("src"), text)? {
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    names.sort_unstable();
    Ok(names)
}

fn any_source_has(folder: &Path, text: &str) -> Result<bool> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let found = if path.is_dir() {
            any_source_has(&path, text)?
        } else {
            path.extension().is_some_and(|extension| extension == "rs")
                && fs::read_to_string(&path)?.contains(text)
        };
        if found {
            return Ok(true);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tests_come_last_and_every_name_is_its_own() {
        let mut names: Vec<_> = STEPS.iter().map(|step| step.name).collect();
        assert_eq!(names.last(), Some(&TESTS));
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), STEPS.len());
    }

    #[test]
    fn every_step_that_failed_is_named() {
        let mut report = Report::default();
        report.add("fmt", Duration::ZERO, Err("not formatted".into()));
        report.add("doc", Duration::ZERO, Ok(Done::Passed));
        report.add("loom", Duration::ZERO, Err("a race".into()));
        assert_eq!(report.failed.as_deref(), Some("fmt, loom"));
    }
}
