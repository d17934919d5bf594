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
    let since = |store: &Store| {
        let info = store.branch_info(branch)?;
        let (to, point) = destination(&info, &args.target)?;
        let lost = match &args.keep {
            Some(_) => Lost::Nothing,
            None => lost_by(store, branch, point)?,
        };
        Ok::<_, CommandError>((to, lost))
    };
    let loss = |store: &Store| {
        let (to, lost) = since(store)?;
        let back = format!("rolling `{branch}` back to {}", words(&args.target, &to));
        Ok(match lost {
            Lost::Nothing => None,
            Lost::Written(bytes) => Some(format!("{back} loses {} written since", human(bytes))),
            Lost::Changed(bytes) => Some(format!(
                "{back} loses changes to {} since: zeroes, discards or another size",
                human(bytes)
            )),
        })
    };
    let (to, lost) = confirm::guarded(context, args.yes, loss, |store| {
        let (to, lost) = since(store)?;
        let snapshot = match &args.target {
            Target::Branch(_) => None,
            Target::Snapshot(_, snapshot) => Some(snapshot),
        };
        store
            .rollback(branch, snapshot, args.keep.as_ref())
            .map_err(|error| CommandError::from(error).sparing(branch))?;
        Ok((to, lost))
    })?;
    let back = format!("Rolled `{branch}` back to {}", words(&args.target, &to));
    match (&args.keep, lost) {
        (Some(keep), _) => ui.say(format_args!("{back}; what it was is kept as `{keep}`")),
        (None, Lost::Nothing) => ui.say(format_args!("{back}; nothing was lost")),
        (None, Lost::Written(bytes)) => {
            ui.say(format_args!("{back}; {} written since are gone", human(bytes)));
        }
        (None, Lost::Changed(bytes)) => {
            ui.say(format_args!("{back}; changes to {} since are gone", human(bytes)));
        }
    }
    if ui.json {
        ui.object(&RolledBack {
            name: branch,
            to,
            lost: lost.bytes(),
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

/// What a rollback loses.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Lost {
    Nothing,
    /// Bytes of data that were written.
    Written(u64),
    /// No data; but so many bytes read otherwise than in the state that stays: zeroes are no written bytes.
    Changed(u64),
}

impl Lost {
    fn bytes(self) -> u64 {
        match self {
            Self::Nothing => 0,
            Self::Written(bytes) | Self::Changed(bytes) => bytes,
        }
    }
}

/// Finds what a branch has that no snapshot has, nor the point that it goes back to.
fn lost_by(store: &Store, branch: &BranchName, destination: u64) -> Outcome<Lost> {
    let points = store.points()?;
    let (written, stays) = since_what_stays(&points, branch, destination);
    if written > 0 {
        return Ok(Lost::Written(written));
    }
    let Some(stays) = stays else {
        return Ok(Lost::Nothing);
    };
    let (now, then) = (
        store.state(&Target::Branch(branch.clone()))?,
        store.point_state(stays)?,
    );
    let mut changed = 0;
    for range in store.diff(&now, &then)? {
        changed += range?.length;
    }
    Ok(match changed {
        0 => Lost::Nothing,
        bytes => Lost::Changed(bytes),
    })
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

/// Sums what was written from the branch's head back to where it meets the line of `destination`, or a snapshot: that
/// point stays, and is returned, too.
fn since_what_stays<'a>(
    points: &'a [PointInfo],
    branch: &BranchName,
    destination: u64,
) -> (u64, Option<&'a PointInfo>) {
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
    let mut written = 0;
    for point in line_of(head) {
        if kept.contains(&point.id) || !point.snapshots.is_empty() {
            return (written, Some(point));
        }
        written += point.written;
    }
    (written, None)
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
        let since = |destination| {
            let (written, stays) = since_what_stays(&points, &web, destination);
            (written, stays.map(|point| point.id))
        };
        assert_eq!(since(2), (34, Some(2)));
        assert_eq!(since(1), (34, Some(2)), "`web@clean` stays");
        assert_eq!(since(3), (4, Some(3)));
    }
}
