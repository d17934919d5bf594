//! `tine drop`: forgets branches and snapshots.

use tine_server::api::Drop;
use tine_server::words::human;
use tine_store::Target;

use super::snapshot::Named;
use crate::context::{Context, Missing};
use crate::error::{Exit, Outcome};
use crate::{args, confirm};

/// Drops branches with their snapshots, or single snapshots
///
/// Nothing else changes: forks of what is dropped keep all they share with it.
#[derive(clap::Args)]
#[command(after_long_help = "\
Examples:
  tine drop web1
  tine drop web1@clean web2@clean
  tine ls --json | jq -r .name | grep ^job- | xargs tine drop --yes")]
pub(crate) struct Args {
    /// The branches and snapshots
    #[arg(value_name = "NAME[@SNAP]", required = true, value_parser = args::target)]
    targets: Vec<Target>,
    /// Does not ask
    #[arg(short, long)]
    yes: bool,
    /// Drops what clients are attached to, too
    #[arg(long)]
    force: bool,
}

pub(crate) fn run(args: &Args, context: &Context) -> Outcome {
    let gone = confirm::guarded(args.yes, |consent| {
        let request = Drop {
            targets: args.targets.clone(),
            consent,
            force: args.force,
        };
        context.ask(Missing::Refuse, request)
    })?;
    if context.ui.json {
        for target in &gone.dropped {
            context.ui.object(&Named::new(target))?;
        }
    }
    context.ui.say(format_args!("Dropped {}", gone.words));
    if gone.still_read > 0 {
        context.ui.say(format_args!(
            "{} come back when the commands that still read them have ended",
            human(gone.still_read)
        ));
    }
    Ok(Exit::Done)
}
