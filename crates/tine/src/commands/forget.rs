//! `tine forget`: a job whose fork nobody waits for any more.

use tine_server::api::Forget;
use tine_store::BranchName;

use crate::args;
use crate::context::{Context, Missing};
use crate::error::{Exit, Outcome};

/// Forgets a job: its name is free for a new throwaway fork
///
/// The fork that clients have by the name `SOURCE+fork=JOB` is dropped when the last of them has left, without waiting for who
/// might come back. When the fork went with a daemon that ended, the name is refused until it is forgotten, or for a day.
#[derive(clap::Args)]
#[command(after_long_help = "\
Example:
  tine forget build-17")]
pub(crate) struct Args {
    /// The job, as clients name it behind `+fork=`
    #[arg(value_name = "JOB", value_parser = args::branch)]
    job: BranchName,
}

pub(crate) fn run(args: &Args, context: &Context) -> Outcome {
    let request = Forget {
        job: args.job.clone(),
    };
    let forgotten = context.ask(Missing::Refuse, request)?;
    if context.ui.json {
        context.ui.object(&forgotten)?;
        context.ui.finish()?;
    }
    let job = &forgotten.job;
    match forgotten.connections {
        0 => context.ui.say(format_args!("Forgot the job `{job}`")),
        1 => context.ui.say(format_args!(
            "The job `{job}` is over; its name is free when the connection that has its fork has left"
        )),
        more => context.ui.say(format_args!(
            "The job `{job}` is over; its name is free when the {more} connections that have its fork have left"
        )),
    }
    Ok(Exit::Done)
}
