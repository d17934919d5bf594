//! `tine snapshot`: points to come back to.

use serde::Serialize;
use tine_server::api::Snapshot;
use tine_server::words::list;
use tine_store::{BranchName, SnapshotName, Target};

use crate::context::{Context, Missing};
use crate::error::{Exit, Outcome};
use crate::{args, freeze};

/// Names the present state of branches, to come back to
///
/// A snapshot can be rolled back to, forked, compared and exported. Several branches are taken at one instant, all or none: a
/// machine with two disks stays in step with itself.
///
/// Those who write to a disk meanwhile are not held up: the snapshot is what a power cut would have left. A hook can make
/// them write down what they have first, and stop for that moment.
#[derive(clap::Args)]
#[command(after_long_help = "\
Examples:
  tine snapshot web1@clean
  tine snapshot db-data@monday db-log@monday
  tine snapshot db@clean --freeze-hook 'ssh db fsfreeze-hook'")]
pub(crate) struct Args {
    /// The branch, and the snapshot's name
    #[arg(value_name = "NAME@SNAP", required = true, value_parser = args::snapshot)]
    snapshots: Vec<(BranchName, SnapshotName)>,
    /// Runs `CMD freeze NAME…` before and `CMD thaw NAME…` after it
    ///
    /// By the shell, with the names of the branches. When the freeze fails, nothing is taken; the thaw is run in any case,
    /// also after Ctrl-C.
    #[arg(long, value_name = "CMD")]
    freeze_hook: Option<String>,
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
    let mut branches: Vec<_> = args.snapshots.iter().map(|(branch, _)| branch.clone()).collect();
    branches.sort();
    branches.dedup();
    let taken = freeze::around(args.freeze_hook.as_deref(), &branches, || {
        context.ask(Missing::Refuse, request)
    })?
    .snapshots;
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
