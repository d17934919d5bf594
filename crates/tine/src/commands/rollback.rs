//! `tine rollback`: a branch as it was.

use std::collections::{HashMap, HashSet};

use serde::Serialize;
use tine_store::{BranchInfo, BranchName, PointInfo, Store, StoreError, Target};

use crate::context::Context;
use crate::error::{CommandError, Exit, Outcome};
use crate::size::human;
use crate::{args, confirm};

/// Makes a branch equal to its snapshot or origin again
///
/// NAME@SNAP goes back to that snapshot, NAME to what the branch was forked from. What was written since is lost, unless
/// `--keep` makes a fork of it first. Snapshots stay, also later ones.
#[derive(clap::Args)]
#[command(after_long_help = "\
Examples:
  tine rollback web1@clean
  tine rollback web1 --keep web1-broken
  tine rollback web1 --yes")]
pub(crate) struct Args {
    /// The branch, or the branch and its snapshot
    #[arg(value_name = "NAME[@SNAP]", value_parser = args::target)]
    target: Target,
    /// Keeps what would be lost as a fork of this name
    #[arg(long, value_name = "NEW", value_parser = args::branch)]
    keep: Option<BranchName>,
    /// Does not ask
    #[arg(short, long)]
    yes: bool,
}

#[derive(Serialize)]
struct RolledBack<'a> {
    name: &'a BranchName,
    to: String,
    lost: u64,
    kept: Option<&'a BranchName>,
}

pub(crate) fn run(args: &Args, context: &Context) -> Outcome {
    let (branch, ui) = (args.target.branch(), &context.ui);
    let loss = |store: &Store| {
        let (to, written) = written_since(store, &args.target)?;
        let loss = format!(
            "rolling `{branch}` back to {} loses {} written since",
            words(&args.target, &to),
            human(written)
        );
        Ok((written > 0 && args.keep.is_none()).then_some(loss))
    };
    let (to, written) = confirm::guarded(context, args.yes, loss, |store| {
        let (to, written) = written_since(store, &args.target)?;
        let snapshot = match &args.target {
            Target::Branch(_) => None,
            Target::Snapshot(_, snapshot) => Some(snapshot),
        };
        store
            .rollback(branch, snapshot, args.keep.as_ref())
            .map_err(|error| CommandError::from(error).sparing(branch))?;
        Ok((to, written))
    })?;
    let back = format!("Rolled `{branch}` back to {}", words(&args.target, &to));
    match &args.keep {
        Some(keep) => ui.say(format_args!("{back}; what it was is kept as `{keep}`")),
        None if written == 0 => ui.say(format_args!("{back}; nothing was lost")),
        None => ui.say(format_args!("{back}; {} written since are gone", human(written))),
    }
    if ui.json {
        let lost = if args.keep.is_some() { 0 } else { written };
        ui.object(&RolledBack {
            name: branch,
            to,
            lost,
            kept: args.keep.as_ref(),
        })?;
    }
    Ok(Exit::Done)
}

/// Says what the branch goes back to. The origin has gone on since, or is gone: its name alone would promise too much.
fn words(target: &Target, to: &str) -> String {
    match target {
        Target::Branch(_) => format!("what it was forked from (`{to}` then)"),
        Target::Snapshot(..) => format!("`{to}`"),
    }
}

/// Returns what the branch goes back to, as it is called, and the bytes written since that no snapshot has.
fn written_since(store: &Store, target: &Target) -> Outcome<(String, u64)> {
    let info = store.branch_info(target.branch())?;
    let (to, point) = destination(&info, target)?;
    Ok((to, written_after(&store.points()?, &info.name, point)))
}

fn destination(info: &BranchInfo, target: &Target) -> Outcome<(String, u64)> {
    let branch = info.name.clone();
    match target {
        Target::Branch(_) => match &info.origin {
            Some(origin) => Ok((origin.name.clone(), origin.point)),
            None => Err(StoreError::NoOrigin { branch }.into()),
        },
        Target::Snapshot(_, wanted) => {
            match info.snapshots.iter().find(|snapshot| &snapshot.name == wanted) {
                Some(snapshot) => Ok((target.to_string(), snapshot.point)),
                None => Err(StoreError::UnknownSnapshot {
                    branch,
                    snapshot: wanted.clone(),
                }
                .into()),
            }
        }
    }
}

/// Sums what was written from the branch's head back to where it meets the line of `destination`, or to a snapshot:
/// that stays.
fn written_after(points: &[PointInfo], branch: &BranchName, destination: u64) -> u64 {
    let by_id: HashMap<u64, &PointInfo> = points.iter().map(|point| (point.id, point)).collect();
    let line_of = |start: Option<u64>| {
        std::iter::successors(start.and_then(|id| by_id.get(&id)), |point| {
            by_id.get(&point.parent?)
        })
        .copied()
    };
    let kept: HashSet<u64> = line_of(Some(destination)).map(|point| point.id).collect();
    let head = points
        .iter()
        .find(|point| point.branch.as_ref() == Some(branch))
        .map(|point| point.id);
    line_of(head)
        .take_while(|point| !kept.contains(&point.id) && point.snapshots.is_empty())
        .map(|point| point.written)
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(
        id: u64,
        parent: Option<u64>,
        written: u64,
        branch: Option<&str>,
        snapshot: Option<&str>,
    ) -> PointInfo {
        PointInfo {
            id,
            parent,
            size: 1 << 20,
            written,
            branch: branch.map(|name| name.parse().unwrap()),
            snapshots: snapshot.map(|name| name.parse().unwrap()).into_iter().collect(),
        }
    }

    #[test]
    fn loss_is_what_no_snapshot_has() {
        let web: BranchName = "web".parse().unwrap();
        let points = [
            point(1, None, 1000, None, Some("golden@v1")),
            point(2, Some(1), 200, None, Some("web@clean")),
            point(3, Some(2), 30, None, None), // a fork was made here, and dropped
            point(4, Some(3), 4, Some("web"), None),
        ];
        assert_eq!(written_after(&points, &web, 2), 34);
        assert_eq!(written_after(&points, &web, 1), 34, "`web@clean` stays");
        assert_eq!(written_after(&points, &web, 3), 4);
    }
}
