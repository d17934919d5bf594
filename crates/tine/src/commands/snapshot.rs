//! `tine snapshot`: points to come back to.

use serde::Serialize;
use tine_server::api::Snapshot;
use tine_server::words::list;
use tine_store::{BranchName, SnapshotName, Target};

use crate::args;
use crate::context::{Context, Missing};
use crate::error::{Exit, Outcome};

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

/// A branch or snapshot as JSON.
#[derive(Serialize)]
pub(super) struct Named<'a> {
    name: &'a BranchName,
    #[serde(skip_serializing_if = "Option::is_none")]
    snapshot: Option<&'a SnapshotName>,
}

impl<'a> Named<'a> {
    pub(super) fn new(target: &'a Target) -> Self {
        let (name, snapshot) = match target {
            Target::Branch(name) => (name, None),
            Target::Snapshot(name, snapshot) => (name, Some(snapshot)),
        };
        Self { name, snapshot }
    }
}

pub(crate) fn run(args: &Args, context: &Context) -> Outcome {
    let snapshots = args.snapshots.iter().cloned();
    let request = Snapshot {
        snapshots: snapshots
            .map(|(branch, snapshot)| Target::Snapshot(branch, snapshot))
            .collect(),
    };
    let taken = context.ask(Missing::Refuse, request)?.snapshots;
    if context.ui.json {
        for target in &taken {
            context.ui.object(&Named::new(target))?;
        }
    }
    if let Some(first) = taken.first() {
        context.ui.say(format_args!(
            "Made {}; `tine rollback {first}` goes back to it",
            list(&taken)
        ));
    }
    Ok(Exit::Done)
}
