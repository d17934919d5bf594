//! `rollback`: a branch as it was.

use std::collections::{HashMap, HashSet};

use serde::{Deserialize, Serialize};
use tine_store::{BranchInfo, BranchName, PointInfo, Store, StoreError, Target};

use super::{Consent, Failure, Method, Request};
use crate::Daemon;
use crate::attached::Under;
use crate::words::human;

/// Makes a branch equal to its snapshot or origin again.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rollback {
    /// The branch, to go back to what it was forked from; or the branch and its snapshot.
    pub target: Target,
    /// Keep what would be lost as a fork of this name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep: Option<BranchName>,
    /// To losing what was written since.
    #[serde(default)]
    pub consent: Consent,
    /// Do it though clients are attached to the branch.
    #[serde(default)]
    pub force: bool,
}

/// A branch that was rolled back.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RolledBack {
    /// The branch.
    pub name: BranchName,
    /// What it went back to, as that was called and as it was then.
    pub to: String,
    /// What was lost of what was there.
    pub lost: Lost,
    /// The fork that keeps it.
    pub kept: Option<BranchName>,
}

impl Request for Rollback {
    type Answer = RolledBack;
    const METHOD: Method = Method::Change;
    const VERB: &'static str = "rollback";

    fn work(self, daemon: &Daemon) -> Result<RolledBack, Failure> {
        let Self {
            target,
            keep,
            consent,
            force,
        } = self;
        let (store, branch) = (daemon.store(), target.branch());
        let alone = daemon.alone(std::iter::once(branch))?;
        let (to, point) = destination(&store.branch_info(branch)?, &target)?;
        let _claim = alone.claim(
            &[Target::Branch(branch.clone())],
            ("rolling back", Under::All),
            force,
        )?;
        let lost = match &keep {
            Some(_) => Lost::Nothing,
            None => lost_by(store, branch, point)?,
        };
        consent.covers(|| Ok(in_words(&target, &to, lost)))?;
        let snapshot = match &target {
            Target::Branch(_) => None,
            Target::Snapshot(_, snapshot) => Some(snapshot),
        };
        store
            .rollback(branch, snapshot, keep.as_ref())
            .map_err(|error| Failure::from(error).sparing(branch))?;
        Ok(RolledBack {
            name: branch.clone(),
            to,
            lost,
            kept: keep,
        })
    }
}

/// Says what is lost.
fn in_words(target: &Target, to: &str, lost: Lost) -> Option<String> {
    let back = format!(
        "rolling `{}` back to {}",
        target.branch(),
        destination_in_words(target, to)
    );
    match lost {
        Lost::Nothing => None,
        Lost::Written(bytes) => Some(format!("{back} loses {} written since", human(bytes))),
        Lost::Changed(bytes) => Some(format!(
            "{back} loses changes to {} since: zeroes, discards or another size",
            human(bytes)
        )),
    }
}

/// Says what the branch goes back to. The origin has gone on since, or is gone: its name alone would promise too much.
pub fn destination_in_words(target: &Target, to: &str) -> String {
    match target {
        Target::Branch(_) => format!("what it was forked from (`{to}` then)"),
        Target::Snapshot(..) => format!("`{to}`"),
    }
}

/// What a rollback loses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lost {
    /// Nothing.
    Nothing,
    /// Bytes of data that were written.
    Written(u64),
    /// No data; but so many bytes read otherwise than in the state that stays: zeroes are no written bytes.
    Changed(u64),
}

impl Lost {
    /// Returns the bytes of either kind.
    pub fn bytes(self) -> u64 {
        match self {
            Self::Nothing => 0,
            Self::Written(bytes) | Self::Changed(bytes) => bytes,
        }
    }
}

/// Finds what a branch has that no snapshot has, nor the point that it goes back to.
fn lost_by(store: &Store, branch: &BranchName, destination: u64) -> Result<Lost, Failure> {
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

fn destination(info: &BranchInfo, target: &Target) -> Result<(String, u64), Failure> {
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
    use crate::api::testing::point;

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
