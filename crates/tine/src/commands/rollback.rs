//! `tine rollback`: a branch as it was.

use serde::Serialize;
use tine_server::api::{Lost, Rollback, RolledBack, destination_in_words};
use tine_server::words::human;
use tine_store::{BranchName, Target};

use crate::context::{Context, Missing};
use crate::error::{Exit, Outcome};
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
    /// Does it though clients are attached to the branch
    #[arg(long)]
    force: bool,
}

#[derive(Serialize)]
struct Told<'a> {
    name: &'a BranchName,
    to: String,
    lost: u64,
    kept: Option<&'a BranchName>,
}

pub(crate) fn run(args: &Args, context: &Context) -> Outcome {
    let rolled = confirm::guarded(args.yes, |consent| {
        let request = Rollback {
            target: args.target.clone(),
            keep: args.keep.clone(),
            consent,
            force: args.force,
        };
        context.ask(Missing::Refuse, request)
    })?;
    let RolledBack { name, to, lost, kept } = rolled;
    let ui = &context.ui;
    let back = format!(
        "Rolled `{name}` back to {}",
        destination_in_words(&args.target, &to)
    );
    match (&kept, lost) {
        (Some(kept), _) => ui.say(format_args!("{back}; what it was is kept as `{kept}`")),
        (None, Lost::Nothing) => ui.say(format_args!("{back}; nothing was lost")),
        (None, Lost::Written(bytes)) => {
            ui.say(format_args!("{back}; {} written since are gone", human(bytes)));
        }
        (None, Lost::Changed(bytes)) => {
            ui.say(format_args!("{back}; changes to {} since are gone", human(bytes)));
        }
    }
    if ui.json {
        ui.object(&Told {
            name: &name,
            to,
            lost: lost.bytes(),
            kept: kept.as_ref(),
        })?;
    }
    Ok(Exit::Done)
}
