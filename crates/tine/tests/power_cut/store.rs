//! `tine` itself: random commands on one store, of which every acknowledged one has to outlast every power cut; and after
//! each cut `tine diff` of what is found names the blocks that differ, and no other.
//!
//! Each process that was killed leaves the journal a file shorter, so that checkpoints make trees and runs and merge them, as
//! `tine defrag` does. No command writes a batch, or makes a tree of several levels: these are for [`crate::library`].

use crate::harness::{Runner, Step, Stop, Workload};
use crate::model::{Bytes, Operation, State, Visible, difference, differing_blocks, named_blocks};
use crate::random::Random;
use crate::torture;
use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

/// The store, as acknowledged.
struct Store {
    binary: OsString,
    directory: PathBuf,
    state: State,
    in_flight: Option<Operation>,
    /// Whether something was ever acknowledged or found: until then there may be no store at all.
    exists: bool,
}

impl Store {
    fn new(binary: &OsStr, root: &Path) -> Self {
        Self {
            binary: binary.to_owned(),
            directory: root.join("store"),
            state: State::default(),
            in_flight: None,
            exists: false,
        }
    }

    fn step(&self, arguments: &[String], input: &[u8]) -> Step {
        let mut command = Command::new(&self.binary);
        command
            .arg("--store")
            .arg(&self.directory)
            .args(arguments)
            .env_remove("TINE_STORE");
        let mut what = format!("tine {}", arguments.join(" "));
        if !input.is_empty() {
            what = format!("{what} < {} bytes", input.len());
        }
        Step {
            command,
            input: input.to_vec(),
            what,
        }
    }

    fn ask(&self, runner: &mut Runner<'_>, arguments: &[&str]) -> Result<Vec<u8>, Stop> {
        let arguments: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        Ok(runner.must_run(self.step(&arguments, &[]))?.stdout)
    }

    /// Reads all that the store shows.
    fn look(&self, runner: &mut Runner<'_>) -> Result<Visible, Stop> {
        let listing = self.ask(runner, &["ls", "--json"])?;
        let targets = targets(&listing).ok_or_else(|| {
            Stop::Violation(format!(
                "`tine ls --json` printed {:?}",
                String::from_utf8_lossy(&listing)
            ))
        })?;
        let mut visible = Visible::new();
        for target in targets {
            let bytes: Bytes = Arc::new(self.ask(runner, &["export", &target, "-"])?);
            visible.insert(target, bytes);
        }
        Ok(visible)
    }

    /// Compares some of what was found with each other, by `tine diff`: what follows each other by name, as a branch and
    /// its snapshots do, and the first with the last.
    fn compare(&self, runner: &mut Runner<'_>, found: &Visible) -> Result<(), Stop> {
        let all: Vec<(&String, &Bytes)> = found.iter().collect();
        let neighbours = all.windows(2).map(|two| (two[0], two[1]));
        let ends = all.first().zip(all.last()).map(|(first, last)| (*first, *last));
        for ((a, x), (b, y)) in neighbours.chain(ends) {
            let printed = self.ask(runner, &["diff", a, b])?;
            let printed = String::from_utf8_lossy(&printed);
            let named: Option<Vec<_>> = printed.lines().map(named_blocks).collect();
            let named: Option<BTreeSet<usize>> = named.map(|ranges| ranges.into_iter().flatten().collect());
            let differing = differing_blocks(x, y);
            if named.as_ref() != Some(&differing) {
                return Err(Stop::Violation(format!(
                    "`tine diff {a} {b}` printed {printed:?}, and the blocks that differ are {differing:?}"
                )));
            }
        }
        Ok(())
    }

    /// Returns the state that was found, if it is one that may be.
    fn recognise(&self, found: &Visible) -> Option<State> {
        let is_found = |state: &State| state.visible() == *found;
        let in_flight = self.in_flight.as_ref();
        let after = in_flight.map(|operation| self.state.after(operation));
        let between = in_flight
            .into_iter()
            .flat_map(|operation| operation.partly(&self.state));
        let whole = after.into_iter().chain([self.state.clone()]);
        whole.chain(between).find(is_found)
    }
}

impl Workload for Store {
    fn next(&mut self, random: &mut Random) -> Step {
        let operation = Operation::random(&self.state, random);
        let step = self.step(&operation.arguments(), operation.input());
        self.in_flight = Some(operation);
        step
    }

    fn acknowledge(&mut self) {
        if let Some(operation) = self.in_flight.take() {
            self.state = self.state.after(&operation);
            self.exists = true;
        }
    }

    fn verify(&mut self, runner: &mut Runner<'_>) -> Result<(), Stop> {
        if !self.exists {
            // What is left of the first command need not be a store; the next one has to make one of it.
            if !runner.run(self.step(&["ls".to_owned()], &[]))?.succeeded {
                self.in_flight = None;
                return Ok(());
            }
            self.exists = true;
        }
        self.ask(runner, &["check", "--data"])?;
        let found = self.look(runner)?;
        let Some(state) = self.recognise(&found) else {
            let expected = difference(&self.state.visible(), &found);
            let in_flight = self.in_flight.as_ref().map(Operation::arguments);
            return Err(Stop::Violation(format!(
                "not as acknowledged: {expected} (in flight: {})",
                in_flight.map_or_else(|| "nothing".to_owned(), |arguments| arguments.join(" "))
            )));
        };
        self.state = state;
        self.in_flight = None;
        self.compare(runner, &found)
    }
}

/// Returns the branches and snapshots that `tine ls --json` lists.
fn targets(listing: &[u8]) -> Option<Vec<String>> {
    let mut targets = Vec::new();
    for line in std::str::from_utf8(listing).ok()?.lines() {
        let branch: serde_json::Value = serde_json::from_str(line).ok()?;
        let name = branch.get("name")?.as_str()?;
        targets.push(name.to_owned());
        for snapshot in branch.get("snapshots")?.as_array()? {
            targets.push(format!("{name}@{}", snapshot.get("snapshot")?.as_str()?));
        }
    }
    Some(targets)
}

pub(crate) fn binary() -> &'static OsStr {
    OsStr::new(env!("CARGO_BIN_EXE_tine"))
}

/// How many cuts a store has to survive if the environment does not say it.
const CUTS: u64 = 50;

#[test]
fn tine_survives_power_cuts() {
    let new = |root: &Path| Store::new(binary(), root);
    torture::survives("tine_survives_power_cuts", CUTS, new);
}

#[test]
fn a_planted_bug_is_caught() {
    let new = |root: &Path| Store::new(binary(), root);
    torture::catches("a_planted_bug_is_caught", CUTS, new);
}
