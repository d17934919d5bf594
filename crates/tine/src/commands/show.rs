//! `tine show`: one branch or snapshot, in full.

use serde::Serialize;
use tine_store::{BranchInfo, BranchName, SnapshotInfo, SnapshotName, StoreError, Target};

use super::ls::Listed;
use crate::args;
use crate::context::{Context, Missing};
use crate::error::{Exit, Outcome};
use crate::size::human;
use crate::text::{columns, rfc3339, when};

/// Shows one branch with its snapshots, or one snapshot
#[derive(clap::Args)]
#[command(after_long_help = "\
Examples:
  tine show web1
  tine show web1@clean --json")]
pub(crate) struct Args {
    /// The branch or snapshot
    #[arg(value_name = "NAME[@SNAP]", value_parser = args::target)]
    target: Target,
}

#[derive(Serialize)]
struct Shown<'a> {
    name: &'a BranchName,
    snapshot: &'a SnapshotName,
    size: u64,
    created: String,
}

pub(crate) fn run(args: &Args, context: &Context) -> Outcome {
    let branch = context.with_store(Missing::Refuse, |store| {
        let branch = store.branch_info(args.target.branch())?;
        if let Target::Snapshot(name, snapshot) = &args.target
            && find(&branch, snapshot).is_none()
        {
            return Err(StoreError::UnknownSnapshot {
                branch: name.clone(),
                snapshot: snapshot.clone(),
            }
            .into());
        }
        Ok(branch)
    })?;
    let snapshot = match &args.target {
        Target::Branch(_) => None,
        Target::Snapshot(_, snapshot) => find(&branch, snapshot),
    };
    match snapshot {
        Some(snapshot) => show_snapshot(context, &branch.name, snapshot)?,
        None => show_branch(context, &branch)?,
    }
    Ok(Exit::Done)
}

fn find<'a>(branch: &'a BranchInfo, name: &SnapshotName) -> Option<&'a SnapshotInfo> {
    branch.snapshots.iter().find(|snapshot| &snapshot.name == name)
}

fn show_branch(context: &Context, branch: &BranchInfo) -> Outcome<()> {
    let ui = &context.ui;
    if ui.json {
        return ui.object(&Listed::new(branch));
    }
    ui.heading(&branch.name)?;
    ui.line(format_args!("  size       {}", exact(branch.size)))?;
    ui.line(format_args!(
        "  written    {} since its last point",
        exact(branch.written)
    ))?;
    ui.line(format_args!("  created    {} UTC", when(branch.created)))?;
    ui.line(format_args!(
        "  origin     {}",
        branch
            .origin
            .as_ref()
            .map_or("none", |origin| origin.name.as_str())
    ))?;
    ui.line(
        format_args!(
            "  snapshots  {}",
            if branch.snapshots.is_empty() { "none" } else { "" }
        )
        .to_string()
        .trim_end(),
    )?;
    let rows: Vec<_> = branch
        .snapshots
        .iter()
        .map(|snapshot| {
            [
                format!("    {}@{}", branch.name, snapshot.name),
                human(snapshot.size),
                when(snapshot.created),
            ]
        })
        .collect();
    for line in columns(&rows, &[1]) {
        ui.line(line)?;
    }
    Ok(())
}

fn show_snapshot(context: &Context, name: &BranchName, snapshot: &SnapshotInfo) -> Outcome<()> {
    let ui = &context.ui;
    if ui.json {
        let created = rfc3339(snapshot.created);
        return ui.object(&Shown {
            name,
            snapshot: &snapshot.name,
            size: snapshot.size,
            created,
        });
    }
    ui.heading(format_args!("{name}@{}", snapshot.name))?;
    ui.line(format_args!("  size     {}", exact(snapshot.size)))?;
    ui.line(format_args!("  created  {} UTC", when(snapshot.created)))
}

fn exact(bytes: u64) -> String {
    if bytes < 1024 {
        human(bytes)
    } else {
        format!("{} ({bytes} bytes)", human(bytes))
    }
}
