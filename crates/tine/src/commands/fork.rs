//! `tine fork`: independent writable copies.

use serde::Serialize;
use tine_server::api::{FORKS_MAX, Fork, Forked};
use tine_server::words::{count, human};
use tine_store::{BranchName, Target};

use crate::context::{Context, Missing};
use crate::error::{CommandError, Exit, Outcome};
use crate::{args, freeze};

/// Makes independent writable copies that share everything
///
/// A fork takes as long for a disk of any size, with any number of forks before it. Without a NAME the fork is called after
/// its source, with the next free number, and its name is printed. With `--count` there are NAME-1 to NAME-N, of one
/// instant, all or none; their names are printed one a line.
#[derive(clap::Args)]
#[command(after_long_help = "\
Examples:
  tine fork golden web1
  tine fork web1@clean web2
  name=$(tine fork golden)
  tine fork golden --count 1000 job")]
pub(crate) struct Args {
    /// The branch or snapshot to fork
    #[arg(value_name = "SOURCE", value_parser = args::target)]
    source: Target,
    /// The new branch [default: SOURCE with a number]
    #[arg(value_parser = args::branch)]
    name: Option<BranchName>,
    /// How many forks to make, at most 65000
    ///
    /// They are one record of the journal, in which each takes as much room as its name and that of the source: 9000
    /// fit with any names.
    #[arg(long, value_name = "N", value_parser = args::number_in(1..=FORKS_MAX))]
    count: Option<u32>,
    /// Runs `CMD freeze SOURCE` before and `CMD thaw SOURCE` after it
    ///
    /// By the shell. When the freeze fails, nothing is forked; the thaw is run in any case, also after Ctrl-C.
    #[arg(long, value_name = "CMD")]
    freeze_hook: Option<String>,
}

#[derive(Serialize)]
struct Made<'a> {
    name: &'a BranchName,
    origin: &'a Target,
    size: u64,
}

pub(crate) fn run(args: &Args, context: &Context) -> Outcome {
    let request = Fork {
        source: args.source.clone(),
        name: args.name.clone(),
        count: args.count,
    };
    if args.freeze_hook.is_some() && matches!(args.source, Target::Snapshot(..)) {
        return Err(CommandError::new(format!(
            "`{}` never changes: there is nothing to freeze",
            args.source
        ))
        .hint("leave `--freeze-hook` out"));
    }
    let source = [args.source.branch().clone()];
    let Forked { names, origin, size } = freeze::around(args.freeze_hook.as_deref(), &source, || {
        context.ask(Missing::Refuse, request)
    })?;
    let ui = &context.ui;
    if ui.json {
        for name in &names {
            ui.object(&Made {
                name,
                origin: &origin,
                size,
            })?;
        }
    } else if args.name.is_none() || args.count.is_some() {
        for name in &names {
            ui.line(name)?;
        }
    }
    ui.finish()?;
    match names.as_slice() {
        [name] => ui.say(format_args!(
            "Forked `{origin}` as `{name}` (shares {})",
            human(size)
        )),
        [first, .., last] => ui.say(format_args!(
            "Forked `{origin}` as `{first}` to `{last}` ({}, each shares {})",
            count(names.len() as u64, "branch"),
            human(size)
        )),
        [] => {}
    }
    Ok(Exit::Done)
}
