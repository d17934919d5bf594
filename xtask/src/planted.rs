//! Planted bugs: the proof that the tests that cut the power, or kill, find what they are for.
//!
//! The engine's feature `planted-bugs` compiles deliberate bugs in, `TINE_PLANTED_BUG` chooses one, and a test
//! `a_planted_bug_is_caught` cuts the power of that binary, or kills it, until it breaks a promise. That the same binary keeps
//! its promises without a bug is what the test beside it shows.

use std::process::Command;

use crate::{Result, shell};

/// The cargo feature with which the binary under test is built.
const FEATURE: &str = "tine-store/planted-bugs";

/// Where bugs are to be caught: a test of a program.
#[derive(Clone, Copy)]
struct By {
    program: &'static str,
    test: &'static str,
}

/// Commands under power cuts.
const COMMANDS: By = By {
    program: "power_cut",
    test: "store::a_planted_bug_is_caught",
};

/// A daemon under power cuts.
const DAEMON: By = By {
    program: "power_cut",
    test: "served::a_planted_bug_is_caught",
};

/// A program with the library under power cuts.
const LIBRARY: By = By {
    program: "power_cut",
    test: "library::a_planted_bug_is_caught",
};

/// A daemon that is killed under a virtual machine.
const MACHINE: By = By {
    program: "vm",
    test: "a_planted_bug_is_caught",
};

/// Bugs that show within a few cuts.
pub(crate) const SOON: Bugs = Bugs {
    names: &[
        ("no-sync", COMMANDS),
        ("no-directory-sync", COMMANDS),
        ("flush-forgotten", DAEMON),
        ("flush-forgotten", MACHINE),
    ],
    cuts: 50,
};

/// All bugs that a power cut can show; the most hidden, `frame-order`, took 185 cuts.
pub(crate) const ALL: Bugs = Bugs {
    names: &[
        ("no-sync", COMMANDS),
        ("no-directory-sync", COMMANDS),
        ("publish-unsynced", COMMANDS),
        ("fsync-retry", COMMANDS),
        ("rollback-wrong-point", COMMANDS),
        ("shrink-keeps-tail", COMMANDS),
        ("frame-order", COMMANDS),
        ("root-unsynced", LIBRARY),
        ("batch-split", LIBRARY),
        ("no-sync", DAEMON),
        ("flush-forgotten", DAEMON),
    ],
    cuts: 1000,
};

/// What is to be caught.
pub(crate) struct Bugs {
    names: &'static [(&'static str, By)],
    /// How many power cuts each bug may survive.
    cuts: u64,
}

/// Whether there was something to see.
pub(crate) enum Caught {
    All,
    /// The machine cannot tell, for this reason.
    Unknown(String),
}

impl Bugs {
    /// Plants each bug in the build that `nextest` makes and waits until it is caught.
    ///
    /// # Errors
    ///
    /// When a bug is not caught.
    pub(crate) fn catch(&self, nextest: impl Fn() -> Command) -> Result<Caught> {
        let build = || {
            let mut nextest = nextest();
            nextest.args(["--features", FEATURE]);
            // The others need not be built.
            let mut programs: Vec<_> = self.names.iter().map(|(_, by)| by.program).collect();
            programs.dedup();
            for program in programs {
                nextest.args(["--test", program]);
            }
            nextest
        };
        shell::run(build().arg("--no-run"))?;
        let mut unknown = None;
        for (bug, by) in self.names {
            let By { program, test: name } = by;
            let mut test = build();
            test.args(["--success-output", "immediate", "--filterset"])
                .arg(format!("binary(={program}) & test(={name})"))
                .env("TINE_PLANTED_BUG", bug)
                .env("TINE_CUTS", self.cuts.to_string())
                .env_remove("TINE_SEED");
            let said =
                shell::run_quietly(&mut test).map_err(|error| format!("{bug} is not caught: {error}"))?;
            match outcome(&said) {
                Some(Outcome::Caught(how)) => eprintln!("{bug} is caught: {how}"),
                Some(Outcome::Skipped(why)) => unknown = Some(why.to_owned()),
                None => return Err(format!("{program} {name} does not say whether it caught {bug}").into()),
            }
        }
        Ok(unknown.map_or(Caught::All, Caught::Unknown))
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Outcome<'a> {
    Caught(&'a str),
    Skipped(&'a str),
}

/// Returns how a test ended that passed, from what it and the test runner printed.
///
/// ```text
/// caught: WHAT WAS SEEN
/// skipped: TEST: WHY
/// ```
fn outcome(said: &str) -> Option<Outcome<'_>> {
    said.lines().map(str::trim).find_map(|line| {
        if let Some(how) = line.strip_prefix("caught: ") {
            return Some(Outcome::Caught(how));
        }
        let (_test, why) = line.strip_prefix("skipped: ")?.split_once(": ")?;
        Some(Outcome::Skipped(why))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tests_own_words_tell_how_it_ended() {
        let caught = "    running 1 test\n    caught: `b11` is missing\n    after 4 cuts\n";
        assert_eq!(outcome(caught), Some(Outcome::Caught("`b11` is missing")));
        let skipped = "    skipped: a_planted_bug_is_caught: no FUSE file system: not found\n";
        assert_eq!(
            outcome(skipped),
            Some(Outcome::Skipped("no FUSE file system: not found"))
        );
        assert_eq!(
            outcome("    PASS 1/1 a_planted_bug_is_caught, 2 skipped: no\n"),
            None
        );
    }
}
