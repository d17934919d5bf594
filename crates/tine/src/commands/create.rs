//! `tine create`: an empty disk.

use tine_server::api::Create;
use tine_server::words::human;
use tine_store::BranchName;

use crate::args;
use crate::context::{Context, Missing};
use crate::error::{Exit, Outcome};

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

pub(crate) fn run(args: &Args, context: &Context) -> Outcome {
    let request = Create {
        name: args.name.clone(),
        size: args.size,
    };
    let created = context.ask(Missing::Create, request)?;
    context.ui.say(format_args!(
        "Created `{}`, {}, empty",
        created.name,
        human(created.size)
    ));
    if context.ui.json {
        context.ui.object(&created)?;
    }
    Ok(Exit::Done)
}
