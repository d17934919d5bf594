//! `tine diff`: the ranges in which two disks differ.

use tine_server::api::{Diff, Difference, Step};
use tine_server::words::{count, human};
use tine_store::{DiffRange, Target};

use crate::args;
use crate::context::Context;
use crate::error::{CommandError, Exit, Outcome};
use crate::progress::Meter;

/// Shows where two branches or snapshots differ
///
/// One range a line: its offset and its length in bytes. Ranges are whole blocks of 4 KiB, except where one of the
/// disks ends; what only the longer one has differs, zeroes too.
#[derive(clap::Args)]
#[command(after_long_help = "\
Examples:
  tine diff golden web1
  tine diff web1@clean web1 --stat
  tine diff web1@clean web1 --exit-code --quiet || echo changed")]
pub(crate) struct Args {
    /// The one
    #[arg(value_name = "A", value_parser = args::target)]
    a: Target,
    /// The other
    #[arg(value_name = "B", value_parser = args::target)]
    b: Target,
    /// Shows only how many ranges and bytes
    #[arg(long)]
    stat: bool,
    /// Exits with 1 when they differ; with `--quiet` that is all
    ///
    /// Then nothing is printed, and the comparison ends at the first difference.
    #[arg(long)]
    exit_code: bool,
}

pub(crate) fn run(args: &Args, context: &Context) -> Outcome {
    let ui = &context.ui;
    let request = Diff {
        a: args.a.clone(),
        b: args.b.clone(),
        whether: args.exit_code && ui.is_quiet(),
    };
    if request.whether {
        let difference = context.follow(request, |_| Ok(()))?;
        return Ok(if differ(&difference) {
            Exit::Differ
        } else {
            Exit::Done
        });
    }
    let mut meter = if args.stat {
        Meter::new(ui, "Comparing")
    } else {
        Meter::beside_output(ui, "Comparing")
    };
    let compared = context.follow(request, |step| match step {
        Step::Progress(progress) => meter.follow(progress),
        Step::Item(_) if args.stat => Ok(()),
        Step::Item(range) if ui.json => ui.object(&range),
        Step::Item(DiffRange { offset, length }) => ui.line(format_args!("{offset:>15} {length:>12}")),
    });
    drop(meter);
    let difference = match compared {
        // The answer is in the exit status, whoever reads the rest of it.
        Err(CommandError::ClosedPipe) if args.exit_code => return Ok(Exit::Differ),
        compared => compared?,
    };
    let summary = summary(&difference);
    let shown = match (args.stat, ui.json) {
        (true, true) => ui.object(&difference),
        (true, false) => ui.line(summary),
        (false, _) => ui.finish().map(|()| ui.say(summary)),
    };
    match (shown, args.exit_code && differ(&difference)) {
        (Ok(()), false) => Ok(Exit::Done),
        (Ok(()) | Err(CommandError::ClosedPipe), true) => Ok(Exit::Differ),
        (Err(error), _) => Err(error),
    }
}

fn differ(difference: &Difference) -> bool {
    difference.ranges > 0 || difference.a_size != difference.b_size
}

fn summary(difference: &Difference) -> String {
    let Difference {
        a,
        b,
        a_size,
        b_size,
        ranges,
        bytes,
    } = difference;
    if !differ(difference) {
        return format!("`{a}` and `{b}` are equal");
    }
    let sizes = if a_size == b_size {
        String::new()
    } else {
        format!("; they are {} and {} long", human(*a_size), human(*b_size))
    };
    format!(
        "`{a}` and `{b}` differ in {}, {}{sizes}",
        count(*ranges, "range"),
        human(*bytes)
    )
}
