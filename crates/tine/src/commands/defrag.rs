//! `tine defrag`: writes anew what lies in pieces.

use std::time::Instant;

use serde::Serialize;
use tine_server::api::{Defrag, Step};
use tine_server::words::human;
use tine_store::{BranchName, DefragReport, Fragmentation};

use crate::context::Context;
use crate::error::{Exit, Outcome};
use crate::progress::Meter;
use crate::{args, confirm, interrupt};

/// Writes what lies in many small pieces anew, in order
///
/// A disk that was written at random is read in order more slowly than it could be. Its content stays as it is, and others
/// may go on once this ends. Only what the branch wrote since its last snapshot or fork is written anew: what it shares
/// would be its own then and take space. `--shared` does that too, and asks first.
#[derive(clap::Args)]
#[command(after_long_help = "\
Examples:
  tine defrag web1
  tine defrag web1 --shared --yes")]
pub(crate) struct Args {
    /// The branch
    #[arg(value_parser = args::branch)]
    name: BranchName,
    /// Also what it shares with snapshots, forks or its origin, which takes space
    #[arg(long)]
    shared: bool,
    /// Does not ask before space is taken
    #[arg(short, long)]
    yes: bool,
}

#[derive(Serialize)]
struct Defragmented<'a> {
    name: &'a BranchName,
    data: u64,
    rewritten: u64,
    unshared: u64,
    extents_before: u64,
    extents_after: u64,
    mean_before: u64,
    mean_after: u64,
}

pub(crate) fn run(args: &Args, context: &Context) -> Outcome {
    let &Args {
        ref name,
        shared,
        yes,
    } = args;
    interrupt::catch()?;
    let started = Instant::now();
    let report = confirm::guarded(yes, |consent| {
        let mut meter = Meter::new(&context.ui, "Defragmenting");
        let request = Defrag {
            name: name.clone(),
            shared,
            consent,
        };
        context.follow(request, |step| match step {
            Step::Progress(progress) => meter.follow(progress),
            Step::Item(never) => match never {},
        })
    })?;
    let DefragReport { before, after, .. } = report;
    if report.rewritten == 0 {
        context
            .ui
            .say(format_args!("`{name}` lies well: {}", words(&after)));
    } else {
        let unshared = match report.unshared {
            0 => String::new(),
            unshared => format!(", {} of it not shared any more", human(unshared)),
        };
        context.ui.say(format_args!(
            "Defragmented `{name}`: wrote {} anew{unshared}, in {:.1} s; {}, {} before",
            human(report.rewritten),
            started.elapsed().as_secs_f64(),
            words(&after),
            before.extents
        ));
    }
    if context.ui.json {
        context.ui.object(&Defragmented {
            name,
            data: after.data,
            rewritten: report.rewritten,
            unshared: report.unshared,
            extents_before: before.extents,
            extents_after: after.extents,
            mean_before: before.mean_extent(),
            mean_after: after.mean_extent(),
        })?;
    }
    Ok(Exit::Done)
}

fn words(layout: &Fragmentation) -> String {
    let pieces = if layout.extents == 1 { "piece" } else { "pieces" };
    format!("{} in {} {pieces}", human(layout.data), layout.extents)
}
