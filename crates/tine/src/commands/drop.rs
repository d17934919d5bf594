//! `tine drop`: forgets branches and snapshots.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use tine_store::{BranchName, PointInfo, SnapshotName, Store, StoreError, Target};

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
struct Dropped {
    name: BranchName,
    #[serde(skip_serializing_if = "Option::is_none")]
    snapshot: Option<SnapshotName>,
}

pub(crate) fn run(args: &Args, context: &Context) -> Outcome {
    let (branches, snapshots) = sort(&args.targets);
    let loss = |store: &Store| loss(store, &branches, &snapshots).map(Some);
    let still_read = confirm::guarded(context, args.yes, loss, |store| {
        let known: BTreeSet<_> = store.branches()?.into_iter().map(|branch| branch.name).collect();
        // All or nothing, as far as mistyped names go.
        if let Some(unknown) = branches.iter().find(|name| !known.contains(name)) {
            return Err(StoreError::UnknownBranch {
                name: unknown.clone(),
            }
            .into());
        }
        for (branch, snapshot) in &snapshots {
            store.drop_snapshot(branch, snapshot)?;
        }
        if !branches.is_empty() {
            store.drop_branches(&branches)?;
        }
        // What is dropped is dropped, whether that can be told or not.
        Ok(store.leased_bytes().unwrap_or(0))
    })?;
    if context.ui.json {
        for name in &branches {
            context.ui.object(&Dropped {
                name: name.clone(),
                snapshot: None,
            })?;
        }
        for (name, snapshot) in &snapshots {
            context.ui.object(&Dropped {
                name: name.clone(),
                snapshot: Some(snapshot.clone()),
            })?;
        }
    }
    context
        .ui
        .say(format_args!("Dropped {}", list(&named(&branches, &snapshots))));
    if still_read > 0 {
        context.ui.say(format_args!(
            "{} come back when the commands that still read them have ended",
            human(still_read)
        ));
    }
    Ok(Exit::Done)
}

/// Sorts what is to go into branches and snapshots, each once and in the order given; a snapshot goes with its branch.
fn sort(targets: &[Target]) -> (Vec<BranchName>, Vec<(BranchName, SnapshotName)>) {
    let mut seen = BTreeSet::new();
    let (mut branches, mut snapshots) = (Vec::new(), Vec::new());
    for target in targets.iter().filter(|target| seen.insert(*target)) {
        match target {
            Target::Branch(branch) => branches.push(branch.clone()),
            Target::Snapshot(branch, snapshot) => snapshots.push((branch.clone(), snapshot.clone())),
        }
    }
    snapshots.retain(|(branch, _)| !seen.contains(&Target::Branch(branch.clone())));
    (branches, snapshots)
}

fn named(branches: &[BranchName], snapshots: &[(BranchName, SnapshotName)]) -> Vec<Target> {
    let branches = branches.iter().map(|branch| Target::Branch(branch.clone()));
    let snapshots = snapshots
        .iter()
        .map(|(branch, snapshot)| Target::Snapshot(branch.clone(), snapshot.clone()));
    branches.chain(snapshots).collect()
}

/// Says what dropping loses; fails when something of it is not there.
fn loss(store: &Store, branches: &[BranchName], snapshots: &[(BranchName, SnapshotName)]) -> Outcome<String> {
    let infos: BTreeMap<_, _> = store
        .branches()?
        .into_iter()
        .map(|info| (info.name.clone(), info))
        .collect();
    let info = |name: &BranchName| {
        infos
            .get(name)
            .ok_or_else(|| StoreError::UnknownBranch { name: name.clone() })
    };
    for (branch, snapshot) in snapshots {
        if !info(branch)?
            .snapshots
            .iter()
            .any(|known| &known.name == snapshot)
        {
            return Err(StoreError::UnknownSnapshot {
                branch: branch.clone(),
                snapshot: snapshot.clone(),
            }
            .into());
        }
    }
    let mut with_them = 0;
    for branch in branches {
        with_them += info(branch)?.snapshots.len() as u64;
    }
    let going = named(branches, snapshots);
    let mut loss = format!("dropping {} loses ", list(&going));
    if branches.is_empty() {
        loss.push_str(if snapshots.len() == 1 {
            "that state of the disk"
        } else {
            "those states of the disks"
        });
    } else {
        let written = written_nowhere_else(&store.points()?, &going.into_iter().collect());
        loss.push_str(&format!("{} that nothing else has", human(written)));
    }
    if with_them > 0 {
        loss.push_str(&format!(", and {}", count(with_them, "snapshot")));
    }
    Ok(loss)
}

/// Sums what was written to points, which come parents first, that nothing but what is `going` needs.
fn written_nowhere_else(points: &[PointInfo], going: &BTreeSet<Target>) -> u64 {
    let goes =
        |target: &Target| going.contains(target) || going.contains(&Target::Branch(target.branch().clone()));
    let mut needed = BTreeSet::new();
    let mut written = 0;
    // From the last, so that what descends from a point has spoken before it.
    for point in points.iter().rev() {
        let head = point.branch.clone().map(Target::Branch);
        if needed.contains(&point.id) || head.iter().chain(&point.snapshots).any(|target| !goes(target)) {
            needed.extend(point.parent);
        } else {
            written += point.written;
        }
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_need_is_not_lost() {
        let target = |name: &str| name.parse::<Target>().unwrap();
        let point = |id, parent, written, branch: Option<&str>, snapshot: Option<&str>| PointInfo {
            id,
            parent,
            size: 1 << 20,
            written,
            branch: branch.map(|name| name.parse().unwrap()),
            snapshots: snapshot.map(target).into_iter().collect(),
        };
        let points = [
            point(1, None, 1000, None, None),
            point(2, Some(1), 200, None, Some("web@clean")),
            point(3, Some(2), 30, Some("web"), None),
            point(4, Some(1), 4, Some("golden"), None),
        ];
        let lost =
            |names: &[&str]| written_nowhere_else(&points, &names.iter().map(|name| target(name)).collect());
        assert_eq!(lost(&["golden"]), 4);
        assert_eq!(lost(&["web"]), 230, "the snapshot goes with its branch");
        assert_eq!(lost(&["web@clean"]), 0, "the branch stands on it");
        assert_eq!(lost(&["web", "golden"]), 1234);
    }
}
