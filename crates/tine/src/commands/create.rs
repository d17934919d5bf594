//! `tine create`: an empty disk.

use serde::Serialize;
use tine_store::BranchName;

use crate::args;
use crate::context::{Context, Missing};
use crate::error::{Exit, Outcome};
use crate::size::human;

/// Creates an empty branch: a disk that reads as zeroes
#[derive(clap::Args)]
#[command(after_long_help = "\
Example:
  tine create scratch 100GiB")]
pub(crate) struct Args {
    /// The new branch
    #[arg(value_parser = args::branch)]
    name: BranchName,
    /// Its size
    #[arg(value_parser = args::bytes)]
    size: u64,
}

#[derive(Serialize)]
struct Created<'a> {
    name: &'a BranchName,
    size: u64,
}

pub(crate) fn run(args: &Args, context: &Context) -> Outcome {
    context.with_store(Missing::Create, |store| {
        Ok(store.create_branch(&args.name, args.size)?)
    })?;
    context.ui.say(format_args!(
        "Created `{}`, {}, empty",
        args.name,
        human(args.size)
    ));
    if context.ui.json {
        context.ui.object(&Created {
            name: &args.name,
            size: args.size,
        })?;
    }
    Ok(Exit::Done)
}
