//! `tine protect` and `tine unprotect`: what clients can only read.

use tine_server::api::Protect;
use tine_store::BranchName;

use crate::args;
use crate::context::{Context, Missing};
use crate::error::{Exit, Outcome};

/// Makes a branch read-only to NBD clients
///
/// Any number of them can read it then, and none can write to it by mistake. Forks of it can be written as ever, and
/// commands (`tine write`, `tine rollback`) still change it. `tine unprotect` takes it back.
#[derive(clap::Args)]
#[command(after_long_help = "\
Example:
  tine protect golden")]
pub(crate) struct ProtectArgs {
    /// The branch
    #[arg(value_parser = args::branch)]
    name: BranchName,
    /// Also while a client may write to it: it cannot any more
    #[arg(long)]
    force: bool,
}

/// Lets NBD clients write to a branch again
///
/// Clients that attached while it was protected, or lost the writing to `tine protect --force`, go on reading until they attach
/// anew; those that attach from now on can write.
#[derive(clap::Args)]
#[command(after_long_help = "\
Example:
  tine unprotect golden")]
pub(crate) struct UnprotectArgs {
    /// The branch
    #[arg(value_parser = args::branch)]
    name: BranchName,
}

pub(crate) fn protect(args: &ProtectArgs, context: &Context) -> Outcome {
    set(&args.name, true, args.force, context)
}

pub(crate) fn unprotect(args: &UnprotectArgs, context: &Context) -> Outcome {
    set(&args.name, false, false, context)
}

fn set(name: &BranchName, protected: bool, force: bool, context: &Context) -> Outcome {
    let request = Protect {
        name: name.clone(),
        protected,
        force,
    };
    let answer = context.ask(Missing::Refuse, request)?;
    let already = if answer.was == protected { " already" } else { "" };
    let is = if protected { "read-only" } else { "writable" };
    context
        .ui
        .say(format_args!("`{}` is {is} to clients{already}", answer.name));
    if context.ui.json {
        context.ui.object(&answer)?;
    }
    Ok(Exit::Done)
}
