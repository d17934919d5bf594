//! `tine keep`: a throwaway fork that is worth keeping.

use tine_server::api::Keep;
use tine_server::words::human;
use tine_store::BranchName;

use crate::args;
use crate::context::{Context, Missing};
use crate::error::{Exit, Outcome};

/// Makes the throwaway fork of a job a branch
///
/// The fork that clients have by the name `SOURCE+fork=JOB` becomes durable, with all that was written to it. Those who are
/// connected go on with it. It can be kept as long as it is there: while somebody is connected, and a while after.
#[derive(clap::Args)]
#[command(after_long_help = "\
Example:
  tine keep build-17 failed-build")]
pub(crate) struct Args {
    /// The job, as clients name it behind `+fork=`
    #[arg(value_name = "JOB", value_parser = args::branch)]
    job: BranchName,
    /// The new branch [default: the fork's source with a number]
    #[arg(value_parser = args::branch)]
    name: Option<BranchName>,
}

pub(crate) fn run(args: &Args, context: &Context) -> Outcome {
    let request = Keep {
        job: args.job.clone(),
        name: args.name.clone(),
    };
    let kept = context.ask(Missing::Refuse, request)?;
    if context.ui.json {
        context.ui.object(&kept)?;
    } else if args.name.is_none() {
        context.ui.line(&kept.name)?;
    }
    context.ui.finish()?;
    context.ui.say(format_args!(
        "Kept the fork of job `{}` as `{}`, {}",
        kept.job,
        kept.name,
        human(kept.size)
    ));
    Ok(Exit::Done)
}
