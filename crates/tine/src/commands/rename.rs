//! `tine rename`: another name for a branch.

use tine_server::api::Rename;
use tine_store::BranchName;

use crate::args;
use crate::context::{Context, Missing};
use crate::error::{Exit, Outcome};

/// Renames a branch
///
/// Its snapshots go with it, its forks stay as they are.
#[derive(clap::Args)]
#[command(after_long_help = "\
Example:
  tine rename web1 shop")]
pub(crate) struct Args {
    /// The branch
    #[arg(value_parser = args::branch)]
    name: BranchName,
    /// Its new name
    #[arg(value_name = "NEW", value_parser = args::branch)]
    new: BranchName,
}

pub(crate) fn run(args: &Args, context: &Context) -> Outcome {
    let request = Rename {
        name: args.name.clone(),
        new: args.new.clone(),
    };
    let renamed = context.ask(Missing::Refuse, request)?;
    context
        .ui
        .say(format_args!("Renamed `{}` to `{}`", renamed.was, renamed.name));
    if context.ui.json {
        context.ui.object(&renamed)?;
    }
    Ok(Exit::Done)
}
