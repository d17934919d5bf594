//! `cargo xtask torture`: the long forms of the tests.
//!
//! The tests are those of CI; `TINE_TORTURE=1` and the numbers beside it make them longer. The profile `torture`
//! in `.config/nextest.toml` lets them take as long as they want. Before them, all bugs that a power cut can show are
//! planted and have to be caught.

use std::process::Command;

use crate::planted::{self, Caught};
use crate::{Result, install, shell};

/// The crates that have such tests.
const CRATES: &[&str] = &["tine-store", "tine"];

/// Test programs all of whose tests have a long form; elsewhere, those with `torture` in their names.
const PROGRAMS: &[&str] = &["exhaustive", "kill", "model", "power_cut"];

/// `cargo xtask torture`
#[derive(clap::Args)]
#[command(after_help = "A number without a default is each test's own, unless given.")]
pub(crate) struct Args {
    /// How many random histories each model test plays (TINE_SEEDS)
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    seeds: u64,
    /// How many power cuts the file system of the tests makes (TINE_CUTS)
    #[arg(long, value_name = "N", default_value_t = 1000)]
    cuts: u64,
    /// How often the program is killed under load (TINE_KILLS)
    #[arg(long, value_name = "N", default_value_t = 100)]
    kills: u64,
    /// How long tests that go on for a while do so (TINE_MINUTES)
    #[arg(long, value_name = "N")]
    minutes: Option<u64>,
    /// How many operations the exhaustive histories have (TINE_DEPTH)
    #[arg(long, value_name = "N")]
    depth: Option<u64>,
    /// Only tests whose name contains one of these
    #[arg(value_name = "TEST")]
    tests: Vec<String>,
}

impl Args {
    /// Returns the environment that tells the tests how long to go on.
    fn variables(&self) -> impl Iterator<Item = (&'static str, String)> {
        let numbers = [
            ("TINE_SEEDS", Some(self.seeds)),
            ("TINE_CUTS", Some(self.cuts)),
            ("TINE_KILLS", Some(self.kills)),
            ("TINE_MINUTES", self.minutes),
            ("TINE_DEPTH", self.depth),
        ];
        let given = numbers
            .into_iter()
            .filter_map(|(name, number)| Some((name, number?)));
        std::iter::once(("TINE_TORTURE", 1))
            .chain(given)
            .map(|(name, number)| (name, number.to_string()))
    }
}

/// Builds the tests optimised and runs their long forms.
pub(crate) fn run(args: &Args) -> Result {
    install::run()?;
    // Who asks for some tests gets them alone.
    if args.tests.is_empty()
        && let Caught::Unknown(why) = planted::ALL.catch(nextest)?
    {
        eprintln!("skipped: planted bugs: {why}");
    }
    let mut nextest = nextest();
    nextest.args(["--profile", "torture"]);
    nextest.args(["--filterset", &filter()]).args(&args.tests);
    shell::run(
        nextest
            .envs(args.variables())
            .env("PATH", shell::path_with_sbin()),
    )
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

/// Returns which tests have a long form. The test runner refuses names of programs that don't exist.
fn filter() -> String {
    let exists = |program: &&&str| {
        CRATES.iter().any(|name| {
            let tests = shell::root().join("crates").join(name).join("tests");
            tests.join(format!("{program}.rs")).is_file() || tests.join(program).join("main.rs").is_file()
        })
    };
    let programs = PROGRAMS
        .iter()
        .filter(exists)
        .map(|program| format!("binary(={program})"));
    std::iter::once("test(torture)".to_owned())
        .chain(programs)
        .collect::<Vec<_>>()
        .join(" | ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_numbers_that_are_given_or_have_a_default_reach_the_tests() {
        let args = Args {
            seeds: 1000,
            cuts: 60,
            kills: 5,
            minutes: Some(7),
            depth: None,
            tests: vec![],
        };
        let variables: Vec<_> = args.variables().collect();
        let expected = [
            ("TINE_TORTURE", "1"),
            ("TINE_SEEDS", "1000"),
            ("TINE_CUTS", "60"),
            ("TINE_KILLS", "5"),
            ("TINE_MINUTES", "7"),
        ];
        assert_eq!(variables, expected.map(|(name, value)| (name, value.to_owned())));
    }
}
