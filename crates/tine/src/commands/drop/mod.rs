//! `tine drop`: forgets branches and snapshots.

mod loss;

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use tine_store::{BranchInfo, BranchName, SnapshotName, Store, StoreError, Target};

use crate::context::Context;
use crate::error::{Exit, Outcome};
use crate::size::human;
use crate::text::{count, list};
use crate::{args, confirm};

/// Drops branches with their snapshots, or single snapshots
///
/// Nothing else changes: forks of what is dropped keep all they share with it.
#[derive(clap::Args)]
#[command(after_long_help = "\
Examples:
  tine drop web1
  tine drop web1@clean web2@clean
  tine ls --json | jq -r .name | grep ^job- | xargs tine drop --yes")]
pub(crate) struct Args {
    /// The branches and snapshots
    #[arg(value_name = "NAME[@SNAP]", required = true, value_parser = args::target)]
    targets: Vec<Target>,
    /// Does not ask
    #[arg(short, long)]
    yes: bool,
}

#[derive(Serialize)]
struct Dropped<'a> {
    name: &'a BranchName,
    #[serde(skip_serializing_if = "Option::is_none")]
    snapshot: Option<&'a SnapshotName>,
}

pub(crate) fn run(args: &Args, context: &Context) -> Outcome {
    let loss = |store: &Store| Ok(Some(loss::of(store, &Going::find(store, &args.targets)?)?));
    let (gone, still_read) = confirm::guarded(context, args.yes, loss, |store| {
        // All or nothing, as far as mistyped names go.
        let going = Going::find(store, &args.targets)?;
        for (branch, snapshot) in &going.snapshots {
            store.drop_snapshot(branch, snapshot)?;
        }
        if !going.branches.is_empty() {
            let names: Vec<_> = going.branches.iter().map(|info| info.name.clone()).collect();
            store.drop_branches(&names)?;
        }
        // What is dropped is dropped, whether that can be told or not.
        let still_read = store.leased_bytes().unwrap_or(0);
        Ok((going, still_read))
    })?;
    if context.ui.json {
        for target in gone.everything() {
            let (name, snapshot) = match &target {
                Target::Branch(name) => (name, None),
                Target::Snapshot(name, snapshot) => (name, Some(snapshot)),
            };
            context.ui.object(&Dropped { name, snapshot })?;
        }
    }
    context.ui.say(format_args!("Dropped {}", gone.in_words()));
    if still_read > 0 {
        context.ui.say(format_args!(
            "{} come back when the commands that still read them have ended",
            human(still_read)
        ));
    }
    Ok(Exit::Done)
}

/// What is to go, each once and in the order given; a snapshot that is named beside its branch goes with it.
struct Going {
    branches: Vec<BranchInfo>,
    snapshots: Vec<(BranchName, SnapshotName)>,
}

impl Going {
    /// Looks up what is named; fails when something of it is not there.
    fn find(store: &Store, targets: &[Target]) -> Outcome<Self> {
        let mut known: BTreeMap<BranchName, BranchInfo> = store
            .branches()?
            .into_iter()
            .map(|info| (info.name.clone(), info))
            .collect();
        for target in targets {
            let branch = target.branch();
            let info = known
                .get(branch)
                .ok_or_else(|| StoreError::UnknownBranch { name: branch.clone() })?;
            if let Target::Snapshot(_, snapshot) = target
                && !info.snapshots.iter().any(|known| &known.name == snapshot)
            {
                return Err(StoreError::UnknownSnapshot {
                    branch: branch.clone(),
                    snapshot: snapshot.clone(),
                }
                .into());
            }
        }
        let (mut branches, mut snapshots) = (Vec::new(), Vec::new());
        let mut seen = BTreeSet::new();
        for target in targets.iter().filter(|target| seen.insert(*target)) {
            match target {
                Target::Branch(branch) => branches.extend(known.remove(branch)),
                Target::Snapshot(branch, snapshot) => snapshots.push((branch.clone(), snapshot.clone())),
            }
        }
        snapshots.retain(|(branch, _)| !seen.contains(&Target::Branch(branch.clone())));
        Ok(Self { branches, snapshots })
    }

    /// Returns what was named.
    fn named(&self) -> Vec<Target> {
        let branches = self.branches.iter().map(|info| Target::Branch(info.name.clone()));
        branches.chain(self.single_snapshots()).collect()
    }

    /// Returns everything that goes: the snapshots of the branches, too, each behind its branch.
    fn everything(&self) -> Vec<Target> {
        let whole = |info: &BranchInfo| {
            let name = info.name.clone();
            let snapshots = info.snapshots.iter().map(|snapshot| snapshot.name.clone());
            let of_it: Vec<_> = snapshots
                .map(|snapshot| Target::Snapshot(name.clone(), snapshot))
                .collect();
            std::iter::once(Target::Branch(name)).chain(of_it)
        };
        let branches = self.branches.iter().flat_map(whole);
        branches.chain(self.single_snapshots()).collect()
    }

    fn single_snapshots(&self) -> impl Iterator<Item = Target> {
        self.snapshots
            .iter()
            .map(|(branch, snapshot)| Target::Snapshot(branch.clone(), snapshot.clone()))
    }

    /// Names what was named, and counts the snapshots that go with their branches.
    fn in_words(&self) -> String {
        let names = self.named();
        let its = if names.len() == 1 { "its" } else { "their" };
        let snapshots = self.branches.iter().map(|info| info.snapshots.len() as u64);
        match snapshots.sum() {
            0 => list(&names),
            1 => format!("{} with {its} snapshot", list(&names)),
            number => format!("{} with {its} {}", list(&names), count(number, "snapshot")),
        }
    }
}
