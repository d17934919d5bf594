//! `tine show`: one branch or snapshot, in full.

use tine_server::api::{Branch, Show, Shown, SnapshotOf};
use tine_server::words::human;
use tine_store::{BranchName, Target};

use crate::args;
use crate::context::{Context, Missing};
use crate::error::{Exit, Outcome};
use crate::text::{columns, when};

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

pub(crate) fn run(args: &Args, context: &Context) -> Outcome {
    let target = args.target.clone();
    let shown = context.ask(Missing::Refuse, Show { target })?;
    if context.ui.json {
        context.ui.object(&shown)?;
        return Ok(Exit::Done);
    }
    match &shown {
        Shown::Branch(branch) => show_branch(context, branch)?,
        Shown::Snapshot { name, snapshot } => show_snapshot(context, name, snapshot)?,
    }
    Ok(Exit::Done)
}

fn show_branch(context: &Context, branch: &Branch) -> Outcome<()> {
    let ui = &context.ui;
    ui.heading(&branch.name)?;
    ui.line(format_args!("  size       {}", exact(branch.size)))?;
    ui.line(format_args!(
        "  written    {} since its last point",
        exact(branch.written)
    ))?;
    ui.line(format_args!("  created    {} UTC", when(branch.created)))?;
    ui.line(format_args!(
        "  origin     {}",
        branch.origin.as_deref().unwrap_or("none")
    ))?;
    if branch.protected {
        ui.line("  protected  read-only to clients")?;
    }
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
                format!("    {}@{}", branch.name, snapshot.snapshot),
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

fn show_snapshot(context: &Context, name: &BranchName, snapshot: &SnapshotOf) -> Outcome<()> {
    let ui = &context.ui;
    ui.heading(format_args!("{name}@{}", snapshot.snapshot))?;
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
