//! `tine resize`: another size for a disk.

use tine_server::api::{Resize, Resized};
use tine_server::words::human;
use tine_store::BranchName;

use crate::context::{Context, Missing};
use crate::error::{Exit, Outcome};
use crate::{args, confirm};

/// Changes the size of a branch
///
/// A larger disk reads as zeroes where it is new. A smaller one loses what lies beyond its end; a file system on it has to
/// be shrunk first.
#[derive(clap::Args)]
#[command(after_long_help = "\
Examples:
  tine resize web1 20GiB
  tine resize web1 5GiB --yes")]
pub(crate) struct Args {
    /// The branch
    #[arg(value_parser = args::branch)]
    name: BranchName,
    /// Its new size
    #[arg(value_parser = args::bytes)]
    size: u64,
    /// Does not ask before data is cut off
    #[arg(short, long)]
    yes: bool,
    /// Makes it smaller though clients are attached to it
    #[arg(long)]
    force: bool,
}

pub(crate) fn run(args: &Args, context: &Context) -> Outcome {
    let resized = confirm::guarded(args.yes, |consent| {
        let request = Resize {
            name: args.name.clone(),
            size: args.size,
            consent,
            force: args.force,
        };
        context.ask(Missing::Refuse, request)
    })?;
    let &Resized { ref name, size, was } = &resized;
    if was == size {
        context
            .ui
            .say(format_args!("`{name}` is {} already", human(size)));
    } else {
        context.ui.say(format_args!(
            "Resized `{name}` from {} to {}",
            human(was),
            human(size)
        ));
    }
    if context.ui.json {
        context.ui.object(&resized)?;
    }
    Ok(Exit::Done)
}
