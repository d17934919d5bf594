//! `tine ls`: the branches.

use serde::Serialize;
use tine_store::{BranchInfo, BranchName, SnapshotName};

use crate::context::{Context, Missing};
use crate::error::{Exit, Outcome};
use crate::size::human;
use crate::text::{columns, rfc3339, when};

/// Lists the branches
///
/// WRITTEN is what was written since the branch's last point: since it was made, forked or snapshotted.
#[derive(clap::Args)]
#[command(after_long_help = "\
Examples:
  tine ls
  tine ls --json | jq -r 'select(.written > 0) | .name'")]
pub(crate) struct Args {}

/// A branch as JSON; `tine show` prints the same.
#[derive(Serialize)]
pub(super) struct Listed<'a> {
    name: &'a BranchName,
    size: u64,
    written: u64,
    created: String,
    origin: Option<&'a str>,
    snapshots: Vec<ListedSnapshot<'a>>,
}

#[derive(Serialize)]
struct ListedSnapshot<'a> {
    snapshot: &'a SnapshotName,
    size: u64,
    created: String,
}

impl<'a> Listed<'a> {
    pub(super) fn new(branch: &'a BranchInfo) -> Self {
        let snapshots = branch.snapshots.iter().map(|snapshot| ListedSnapshot {
            snapshot: &snapshot.name,
            size: snapshot.size,
            created: rfc3339(snapshot.created),
        });
        Self {
            name: &branch.name,
            size: branch.size,
            written: branch.written,
            created: rfc3339(branch.created),
            origin: branch.origin.as_ref().map(|origin| origin.name.as_str()),
            snapshots: snapshots.collect(),
        }
    }
}

pub(crate) fn run(_: &Args, context: &Context) -> Outcome {
    let (branches, damaged) = context.with_store(Missing::Refuse, |store| {
        Ok((store.branches()?, store.damage().is_some()))
    })?;
    let ui = &context.ui;
    if ui.json {
        for branch in &branches {
            ui.object(&Listed::new(branch))?;
        }
        return Ok(Exit::Done);
    }
    if branches.is_empty() {
        ui.say(no_branches(damaged));
        return Ok(Exit::Done);
    }
    let mut rows =
        vec![["NAME", "SIZE", "WRITTEN", "ORIGIN", "SNAPSHOTS", "CREATED (UTC)"].map(str::to_owned)];
    rows.extend(branches.iter().map(row));
    let mut lines = columns(&rows, &[1, 2, 4]).into_iter();
    if let Some(heading) = lines.next() {
        ui.heading(heading)?;
    }
    for line in lines {
        ui.line(line)?;
    }
    Ok(Exit::Done)
}

/// Says that there are none: of a damaged store that is no news of a new one.
pub(super) fn no_branches(damaged: bool) -> &'static str {
    if damaged {
        "No branch can be read any more"
    } else {
        "No branches yet; `tine import FILE NAME` brings a disk in"
    }
}

fn row(branch: &BranchInfo) -> [String; 6] {
    [
        branch.name.to_string(),
        human(branch.size),
        human(branch.written),
        branch
            .origin
            .as_ref()
            .map_or_else(|| "-".to_owned(), |origin| origin.name.clone()),
        branch.snapshots.len().to_string(),
        when(branch.created),
    ]
}
