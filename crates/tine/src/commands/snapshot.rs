//! `tine snapshot`: points to come back to.

use std::collections::HashSet;

use serde::Serialize;
use tine_store::{BranchName, SnapshotName, Target};

use crate::args;
use crate::context::{Context, Missing};
use crate::error::{CommandError, Exit, Outcome};
use crate::text::list;

/// Names the present state of branches, to come back to
///
/// A snapshot can be rolled back to, forked, compared and exported. Several branches are taken at one instant, all or none: a
/// machine with two disks stays in step with itself.
#[derive(clap::Args)]
#[command(after_long_help = "\
Examples:
  tine snapshot web1@clean
  tine snapshot db-data@monday db-log@monday")]
pub(crate) struct Args {
    /// The branch, and the snapshot's name
    #[arg(value_name = "NAME@SNAP", required = true, value_parser = args::snapshot)]
    snapshots: Vec<(BranchName, SnapshotName)>,
}

#[derive(Serialize)]
struct Taken<'a> {
    name: &'a BranchName,
    snapshot: &'a SnapshotName,
}

pub(crate) fn run(args: &Args, context: &Context) -> Outcome {
    let mut seen = HashSet::new();
    if let Some((branch, snapshot)) = args.snapshots.iter().find(|snapshot| !seen.insert(*snapshot)) {
        return Err(CommandError::new(format!("`{branch}@{snapshot}` is named twice"))
            .hint("name each snapshot once"));
    }
    context.with_store(Missing::Refuse, |store| Ok(store.snapshot(&args.snapshots)?))?;
    if context.ui.json {
        for (name, snapshot) in &args.snapshots {
            context.ui.object(&Taken { name, snapshot })?;
        }
    }
    let names: Vec<Target> = args
        .snapshots
        .iter()
        .map(|(branch, snapshot)| Target::Snapshot(branch.clone(), snapshot.clone()))
        .collect();
    context.ui.say(format_args!(
        "Made {}; `tine rollback {}` goes back to it",
        list(&names),
        names[0]
    ));
    Ok(Exit::Done)
}
