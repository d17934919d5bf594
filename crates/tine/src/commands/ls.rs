//! `tine ls`: the branches.

use tine_server::api::{Branch, Listed, Ls};
use tine_server::words::human;

use crate::context::{Context, Missing};
use crate::error::{Exit, Outcome};
use crate::text::{columns, when};

/// Lists the branches
///
/// WRITTEN is what was written since the branch's last point: since it was made, forked or snapshotted.
#[derive(clap::Args)]
#[command(after_long_help = "\
Examples:
  tine ls
  tine ls --json | jq -r 'select(.written > 0) | .name'")]
pub(crate) struct Args {}

pub(crate) fn run(_: &Args, context: &Context) -> Outcome {
    let Listed { branches, damaged } = context.ask(Missing::Refuse, Ls {})?;
    let ui = &context.ui;
    if ui.json {
        for branch in &branches {
            ui.object(branch)?;
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

fn row(branch: &Branch) -> [String; 6] {
    [
        branch.name.to_string(),
        human(branch.size),
        human(branch.written),
        branch.origin.clone().unwrap_or_else(|| "-".to_owned()),
        branch.snapshots.len().to_string(),
        when(branch.created),
    ]
}
