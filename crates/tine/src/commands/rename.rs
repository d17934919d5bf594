//! `tine rename`: another name for a branch.

use serde::Serialize;
use tine_store::BranchName;

use crate::args;
use crate::context::{Context, Missing};
use crate::error::{CommandError, Exit, Outcome};

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

#[derive(Serialize)]
struct Renamed<'a> {
    name: &'a BranchName,
    was: &'a BranchName,
}

pub(crate) fn run(args: &Args, context: &Context) -> Outcome {
    let Args { name, new } = args;
    context.with_store(Missing::Refuse, |store| {
        store
            .rename(name, new)
            .map_err(|error| CommandError::from(error).sparing(name))
    })?;
    context.ui.say(format_args!("Renamed `{name}` to `{new}`"));
    if context.ui.json {
        context.ui.object(&Renamed { name: new, was: name })?;
    }
    Ok(Exit::Done)
}
