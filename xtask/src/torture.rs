//! `cargo xtask torture`: the long forms of the tests, one part after the other.
//!
//! The tests are those of CI; the numbers in their environment make them longer. The profile `torture` in
//! `.config/nextest.toml` lets them take as long as they want. A part that fails does not keep the others from running:
//! the table at the end tells of each what it did, how long it took, and how to see again what it found.
//!
//! With `--minutes`, the parts that end by themselves run first and whole; each of the others has an equal share of the
//! time that is left, and ends in it. What no time is left for is named.

use std::process::Command;
use std::time::{Duration, Instant};

use clap::builder::PossibleValuesParser;

use crate::planted::{self, Caught};
use crate::{Result, install, shell};

/// The crates that have such tests.
const CRATES: &[&str] = &["tine-store", "tine"];

/// Returns the long forms, in their order: those that last as long as they last come first.
fn parts() -> [Part; 7] {
    [
        Part {
            name: "planted",
            about: "each bug that a power cut can show is planted, and has to be caught",
            run: Run::PlantedBugs,
        },
        Part {
            name: "exhaustive",
            about: "every short history with every crash, --depth operations long",
            run: Run::Tests {
                package: "tine-store",
                program: "exhaustive",
                number: |args| Some(("TINE_DEPTH", args.depth.unwrap_or(args.usual_depth()))),
            },
        },
        Part {
            name: "model",
            about: "--seeds random histories on the simulated medium",
            run: Run::Endless {
                package: "tine-store",
                program: "model",
                variable: "TINE_SEEDS",
                number: |args| args.seeds,
                usual: 100_000,
            },
        },
        Part {
            name: "trees",
            about: "--trees random histories on disks whose index has several levels",
            run: Run::Endless {
                package: "tine-store",
                program: "trees",
                variable: "TINE_TREE_SEEDS",
                number: |args| args.trees,
                usual: 2000,
            },
        },
        Part {
            name: "kill",
            about: "the program is killed --kills times",
            run: Run::Endless {
                package: "tine",
                program: "kill",
                variable: "TINE_KILLS",
                number: |args| args.kills,
                usual: 100,
            },
        },
        Part {
            name: "serve",
            about: "the daemon is killed --kills times under its clients, and serves 256 connections for a minute",
            run: Run::Endless {
                package: "tine",
                program: "serve",
                variable: "TINE_KILLS",
                number: |args| args.kills,
                usual: 100,
            },
        },
        Part {
            name: "power_cut",
            about: "the program's power is cut --cuts times",
            run: Run::Endless {
                package: "tine",
                program: "power_cut",
                variable: "TINE_CUTS",
                number: |args| args.cuts,
                usual: 1000,
            },
        },
    ]
}

/// A number that no run reaches: what ends the tests then is their time.
const UNREACHED: u64 = u32::MAX as u64;

/// What the outcome of a part begins with that could not run here.
const SKIPPED: &str = "skipped: ";

/// `cargo xtask torture`
#[derive(clap::Args)]
#[command(after_help = help())]
pub(crate) struct Args {
    /// How many random histories the model plays [default: 100000, with --minutes as many as there is time for]
    #[arg(long, value_name = "N")]
    seeds: Option<u64>,
    /// How many random histories are played on disks whose index has several levels [default: 2000, or as there is time]
    #[arg(long, value_name = "N")]
    trees: Option<u64>,
    /// How many power cuts the file system of the tests makes [default: 1000, or as there is time]
    #[arg(long, value_name = "N")]
    cuts: Option<u64>,
    /// How often the program is killed under load [default: 100, or as there is time]
    #[arg(long, value_name = "N")]
    kills: Option<u64>,
    /// How many operations the longest exhaustive histories have [default: 5, which takes some 18 minutes of CPU; with
    /// --minutes 4, which takes some minutes]
    #[arg(long, value_name = "N")]
    depth: Option<u64>,
    /// Bounds the whole run, builds not counted: each part that can go on for ever gets its share
    #[arg(long, value_name = "N")]
    minutes: Option<u64>,
    /// Only these parts
    #[arg(value_name = "PART", hide_possible_values = true, value_parser = names())]
    only: Vec<String>,
}

impl Args {
    /// How many operations histories have of which all are gone through. One more takes twelve times as long.
    fn usual_depth(&self) -> u64 {
        if self.minutes.is_some() { 4 } else { 5 }
    }
}

struct Part {
    name: &'static str,
    about: &'static str,
    run: Run,
}

enum Run {
    PlantedBugs,
    /// A test program that ends when it has seen everything.
    Tests {
        package: &'static str,
        program: &'static str,
        number: fn(&Args) -> Option<(&'static str, u64)>,
    },
    /// A test program that ends when told: after so many, or so many seconds (TINE_SECONDS).
    Endless {
        package: &'static str,
        program: &'static str,
        variable: &'static str,
        number: fn(&Args) -> Option<u64>,
        usual: u64,
    },
}

impl Part {
    /// Returns the test program, if it is one that is built without bugs.
    fn program(&self) -> Option<&'static str> {
        match self.run {
            Run::PlantedBugs => None,
            Run::Tests { program, .. } | Run::Endless { program, .. } => Some(program),
        }
    }

    /// Returns the test program, and the numbers that it is told. `share` is the time that it may take.
    fn tests(&self, args: &Args, share: Option<Duration>) -> Option<Tests> {
        match self.run {
            Run::PlantedBugs => None,
            Run::Tests {
                package,
                program,
                number,
            } => Some(Tests {
                package,
                program,
                numbers: number(args).into_iter().collect(),
            }),
            Run::Endless {
                package,
                program,
                variable,
                number,
                usual,
            } => {
                let usual = if share.is_some() { UNREACHED } else { usual };
                let number = (variable, number(args).unwrap_or(usual));
                let seconds = share.map(|share| ("TINE_SECONDS", share.as_secs().max(1)));
                Some(Tests {
                    package,
                    program,
                    numbers: std::iter::once(number).chain(seconds).collect(),
                })
            }
        }
    }
}

/// A test program and the numbers in its environment.
struct Tests {
    package: &'static str,
    program: &'static str,
    numbers: Vec<(&'static str, u64)>,
}

/// What a part came to.
struct Outcome {
    part: &'static str,
    took: Duration,
    /// What it did, in its own words.
    did: String,
    /// How to see again what went wrong.
    violation: Option<String>,
}

/// Builds the tests optimised and runs the parts that `args` chooses.
///
/// # Errors
///
/// When a part fails; it is named.
pub(crate) fn run(args: &Args) -> Result {
    install::run()?;
    let chosen: Vec<_> = parts()
        .into_iter()
        .filter(|part| args.only.is_empty() || args.only.iter().any(|name| name == part.name))
        .collect();
    // What is built is no part's time.
    let programs = chosen.iter().filter_map(Part::program);
    let programs: Vec<_> = programs.flat_map(|program| ["--test", program]).collect();
    if !programs.is_empty() {
        shell::run(nextest().args(programs).arg("--no-run"))?;
    }
    let end = args
        .minutes
        .map(|minutes| Instant::now() + Duration::from_secs(60 * minutes));
    let mut outcomes = Vec::new();
    for (index, part) in chosen.iter().enumerate() {
        let share =
            end.map(|end| end.saturating_duration_since(Instant::now()) / (chosen.len() - index) as u32);
        eprintln!("\n==> {}: {}", part.name, part.about);
        let start = Instant::now();
        let mut outcome = if share == Some(Duration::ZERO) {
            Outcome::left_out(part.name, "no time was left for it")
        } else {
            one(part, args, share)
        };
        outcome.took = start.elapsed();
        outcomes.push(outcome);
    }
    print(&outcomes);
    let failed: Vec<_> = outcomes
        .iter()
        .filter(|outcome| outcome.violation.is_some())
        .collect();
    if failed.is_empty() {
        return Ok(());
    }
    let names: Vec<_> = failed.iter().map(|outcome| outcome.part).collect();
    Err(format!("failed: {}", names.join(", ")).into())
}

fn one(part: &Part, args: &Args, share: Option<Duration>) -> Outcome {
    let Some(tests) = part.tests(args, share) else {
        return planted_bugs(part.name);
    };
    let mut command = nextest();
    command
        // The others need not be built.
        .args(["--profile", "torture", "--test", tests.program])
        .envs(
            tests
                .numbers
                .iter()
                .map(|(name, number)| (name, number.to_string())),
        )
        .env("PATH", shell::path_with_sbin());
    let mut said = Said::default();
    let result = shell::run_and_listen(&mut command, |line| said.hear(line));
    Outcome {
        part: part.name,
        took: Duration::ZERO,
        did: said.told(),
        violation: result.err().map(|error| said.replay(&tests, &error.to_string())),
    }
}

fn planted_bugs(part: &'static str) -> Outcome {
    match planted::ALL.catch(nextest) {
        Ok(Caught::All) => Outcome {
            part,
            took: Duration::ZERO,
            did: "all caught".to_owned(),
            violation: None,
        },
        Ok(Caught::Unknown(why)) => Outcome::left_out(part, &why),
        Err(error) => Outcome {
            part,
            took: Duration::ZERO,
            did: String::new(),
            violation: Some(error.to_string()),
        },
    }
}

impl Outcome {
    fn left_out(part: &'static str, why: &str) -> Self {
        eprintln!("{SKIPPED}{why}");
        Self {
            part,
            took: Duration::ZERO,
            did: format!("{SKIPPED}{why}"),
            violation: None,
        }
    }
}

/// What the tests of a part print for the table.
///
/// ```text
/// done: WHAT A TEST DID
/// skipped: TEST: WHY
/// … TINE_SEED=N …
/// ```
#[derive(Default)]
struct Said {
    did: Vec<String>,
    skipped: Vec<String>,
    /// The last one told: the test runner repeats at its end what failed.
    seed: Option<String>,
}

impl Said {
    fn hear(&mut self, line: &str) {
        let line = line.trim();
        if let Some(did) = line.strip_prefix("done: ") {
            self.did.push(did.to_owned());
        } else if line.starts_with(SKIPPED) {
            self.skipped.push(line.to_owned());
        }
        if let Some((_, seed)) = line.split_once("TINE_SEED=") {
            let digits = seed
                .split(|c: char| !c.is_ascii_digit())
                .next()
                .unwrap_or_default();
            self.seed = Some(digits.to_owned()).filter(|digits| !digits.is_empty());
        }
    }

    /// Returns what was done; what was skipped only if that was all: beside a test that ran there are some that had
    /// nothing to do.
    fn told(&self) -> String {
        let lines = if self.did.is_empty() {
            &self.skipped
        } else {
            &self.did
        };
        lines.join("; ")
    }

    /// Returns what to type to see a failure again.
    fn replay(&self, tests: &Tests, error: &str) -> String {
        let variables = match &self.seed {
            Some(seed) => format!("TINE_SEED={seed} "),
            // What tells no seed is no matter of chance.
            None => tests
                .numbers
                .iter()
                .map(|(name, number)| format!("{name}={number} "))
                .collect(),
        };
        let Tests { package, program, .. } = tests;
        format!(
            "{error}\nreplay: {variables}cargo nextest run --release --package {package} --test {program}"
        )
    }
}

fn print(outcomes: &[Outcome]) {
    eprintln!(
        "\n{:<10} {:>9}  {:<10}  what was done",
        "part", "seconds", "violations"
    );
    for outcome in outcomes {
        let violations = match outcome.violation {
            Some(_) => "FOUND",
            None if outcome.did.starts_with(SKIPPED) => "-",
            None => "0",
        };
        let seconds = outcome.took.as_secs_f64();
        let line = format!(
            "{:<10} {seconds:>9.1}  {violations:<10}  {}",
            outcome.part, outcome.did
        );
        eprintln!("{}", line.trim_end());
    }
    for Outcome { part, violation, .. } in outcomes {
        if let Some(violation) = violation {
            eprintln!("\n{part}: {violation}");
        }
    }
}

/// Returns the test runner, for tests that are optimised.
///
/// What they are built of knows bugs and simulated disks, which no binary in `target/release` ever should.
fn nextest() -> Command {
    let mut nextest = shell::cargo(["nextest", "run", "--release"]);
    nextest.args(CRATES.iter().flat_map(|name| ["--package", name]));
    nextest
        .arg("--target-dir")
        .arg(shell::target_dir().join("torture"));
    nextest
}

fn names() -> PossibleValuesParser {
    parts().iter().map(|part| part.name).collect::<Vec<_>>().into()
}

fn help() -> String {
    let lines = parts().map(|part| format!("  {:<10} {}\n", part.name, part.about));
    format!("Parts, in their order:\n{}", lines.concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ARGS: Args = Args {
        seeds: None,
        trees: None,
        cuts: Some(60),
        kills: None,
        depth: Some(3),
        minutes: None,
        only: vec![],
    };

    fn numbers(name: &str, share: Option<Duration>) -> Vec<(&'static str, u64)> {
        let mut parts = parts().into_iter();
        let part = parts
            .find(|part| part.name == name)
            .expect("there is such a part");
        part.tests(&ARGS, share).expect("it runs tests").numbers
    }

    #[test]
    fn a_number_that_is_given_holds_and_the_usual_one_only_without_a_time() {
        let share = Some(Duration::from_secs(90));
        assert_eq!(numbers("model", None), [("TINE_SEEDS", 100_000)]);
        assert_eq!(
            numbers("model", share),
            [("TINE_SEEDS", UNREACHED), ("TINE_SECONDS", 90)]
        );
        assert_eq!(numbers("trees", None), [("TINE_TREE_SEEDS", 2000)]);
        assert_eq!(
            numbers("power_cut", share),
            [("TINE_CUTS", 60), ("TINE_SECONDS", 90)]
        );
        assert_eq!(numbers("exhaustive", share), [("TINE_DEPTH", 3)]);
    }

    #[test]
    fn the_exhaustive_histories_are_as_long_as_there_is_time_for() {
        let usual = |minutes| {
            let depth = None;
            Args {
                depth,
                minutes,
                ..ARGS
            }
            .usual_depth()
        };
        assert_eq!((usual(None), usual(Some(30))), (5, 4));
    }

    #[test]
    fn a_failure_is_replayed_with_the_seed_that_was_told_last() {
        let mut said = Said::default();
        for line in [
            "    done: 7 seeds",
            "TINE_SEED=3 repeats the choices",
            "  seed 41 (TINE_SEED=41 runs it alone)",
        ] {
            said.hear(line);
        }
        said.hear("skipped: a_planted_bug_is_caught: TINE_PLANTED_BUG names none");
        assert_eq!(said.told(), "7 seeds");
        let tests = Tests {
            package: "tine-store",
            program: "model",
            numbers: vec![("TINE_SEEDS", 9)],
        };
        let of_chance = said.replay(&tests, "it failed");
        assert_eq!(
            of_chance,
            "it failed\nreplay: TINE_SEED=41 cargo nextest run --release --package tine-store --test model"
        );
        let of_none = Said::default().replay(&tests, "it failed");
        assert!(
            of_none.contains("replay: TINE_SEEDS=9 cargo nextest"),
            "{of_none}"
        );
    }

    #[test]
    fn every_part_has_a_name_of_its_own() {
        let mut names = parts().map(|part| part.name).to_vec();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), parts().len());
    }
}
