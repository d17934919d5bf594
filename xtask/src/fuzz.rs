//! `cargo xtask fuzz`: the fuzz targets, built with libFuzzer and AddressSanitizer and run for a while.
//!
//! All that this needs is a nightly toolchain (and a C++ compiler for libFuzzer's runtime): the flags below are
//! those that cargo-fuzz sets, so cargo-fuzz works in `fuzz/` too, but need not be there.
//!
//! ```text
//! fuzz/fuzz_targets/NAME.rs   a target, with a [[bin]] of that name in fuzz/Cargo.toml
//! fuzz/seeds/NAME/            where it starts from, and its past failures: in git
//! fuzz/corpus/NAME/           what it found on this machine: not in git
//! fuzz/artifacts/NAME/        inputs that made it fail: not in git until they move to seeds/
//! ```

use std::fs;
use std::path::PathBuf;

use crate::toolchain::Nightly;
use crate::{Result, shell};

/// Coverage for libFuzzer, as cargo-fuzz asks for it, and checks that a fuzzed program is better off with.
const RUSTFLAGS: &[&str] = &[
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Cllvm-args=-simplifycfg-branch-fold-threshold=0",
    "-Zsanitizer=address",
    "-Cdebug-assertions",
    "-Ccodegen-units=1",
    "--cfg=fuzzing",
];

/// One input may take this long; a longer one is reported as a hang.
const INPUT_SECONDS: u64 = 10;

/// `cargo xtask fuzz`
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The target to run; without one, all of them in turn
    target: Option<String>,
    /// How long each target runs
    #[arg(long, value_name = "N", default_value_t = 60)]
    seconds: u64,
    /// Only run the target on these inputs, e.g. on what it left in fuzz/artifacts
    #[arg(long, value_name = "FILE", num_args = 1.., requires = "target", conflicts_with = "seconds")]
    replay: Vec<PathBuf>,
}

/// Builds the targets and runs what `args` asks for.
pub(crate) fn run(args: &Args) -> Result {
    let nightly = Nightly::find()?;
    let all = targets()?;
    let chosen = match &args.target {
        Some(name) if all.contains(name) => vec![name.clone()],
        Some(name) => return Err(format!("no fuzz target `{name}`, there are: {}", all.join(", ")).into()),
        None => all,
    };
    build(&nightly)?;
    for target in &chosen {
        if args.replay.is_empty() {
            fuzz(&nightly, target, args.seconds)?;
        } else {
            replay(&nightly, target, &args.replay)?;
        }
    }
    Ok(())
}

/// Builds all targets and runs each for its share of `seconds`, which is 5 to 15.
pub(crate) fn run_all(nightly: &Nightly, seconds: u64) -> Result {
    let targets = targets()?;
    build(nightly)?;
    let share = (seconds / targets.len().max(1) as u64).clamp(5, 15);
    targets.iter().try_for_each(|target| fuzz(nightly, target, share))
}

/// Returns the names of all targets, sorted.
fn targets() -> Result<Vec<String>> {
    let folder = shell::root().join("fuzz/fuzz_targets");
    let entries =
        fs::read_dir(&folder).map_err(|error| format!("{} cannot be read: {error}", folder.display()))?;
    let mut names = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "rs") {
            names.extend(path.file_stem().and_then(|stem| stem.to_str()).map(str::to_owned));
        }
    }
    names.sort_unstable();
    Ok(names)
}

fn build(nightly: &Nightly) -> Result {
    // With `--target`, the flags are for the targets alone, not for build scripts and procedural macros.
    let mut cargo = nightly.cargo([
        "build",
        "--manifest-path",
        "fuzz/Cargo.toml",
        "--release",
        "--bins",
    ]);
    cargo
        .args(["--target", &nightly.host])
        .arg("--target-dir")
        .arg(target_dir());
    shell::run(cargo.env("RUSTFLAGS", RUSTFLAGS.join(" ")))
}

fn fuzz(nightly: &Nightly, target: &str, seconds: u64) -> Result {
    let corpus = shell::root().join("fuzz/corpus").join(target);
    let artifacts = shell::root().join("fuzz/artifacts").join(target);
    fs::create_dir_all(&corpus)?;
    fs::create_dir_all(&artifacts)?;

    let mut program = program(nightly, target)?;
    program
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-timeout={INPUT_SECONDS}"))
        .args(["-rss_limit_mb=4096", "-verbosity=0", "-print_final_stats=1"])
        .arg(format!("-artifact_prefix=fuzz/artifacts/{target}/"))
        .arg(format!("fuzz/corpus/{target}"));
    let seeds = format!("fuzz/seeds/{target}");
    if shell::root().join(&seeds).is_dir() {
        program.arg(seeds);
    }
    let said = shell::run_quietly(&mut program).map_err(|error| {
        format!("{error}\nhint: the input is in fuzz/artifacts/{target}, see `cargo xtask fuzz {target} --replay FILE`")
    })?;
    let inputs = said
        .lines()
        .find_map(|line| line.strip_prefix("stat::number_of_executed_units:"));
    eprintln!(
        "{target}: {} inputs in {seconds} s",
        inputs.map_or("?", str::trim)
    );
    Ok(())
}

fn replay(nightly: &Nightly, target: &str, inputs: &[PathBuf]) -> Result {
    // The inputs are named from where the user is, the program runs in the root.
    let inputs = inputs
        .iter()
        .map(std::path::absolute)
        .collect::<std::result::Result<Vec<_>, _>>()?;
    shell::run(program(nightly, target)?.args(inputs))
}

fn program(nightly: &Nightly, target: &str) -> Result<std::process::Command> {
    let program = target_dir().join(&nightly.host).join("release").join(target);
    if !program.is_file() {
        return Err(
            format!("fuzz/fuzz_targets/{target}.rs has no [[bin]] of its name in fuzz/Cargo.toml").into(),
        );
    }
    Ok(shell::command(program))
}

fn target_dir() -> PathBuf {
    shell::target_dir().join("fuzz")
}
