//! `tine diff`: the ranges in which two disks differ.

use serde::Serialize;
use tine_store::{DiffRange, Target};

use crate::args;
use crate::context::Context;
use crate::error::{CommandError, Exit, Outcome};
use crate::progress::Meter;
use crate::size::human;
use crate::text::count;

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

#[derive(Serialize)]
struct Stat {
    a: String,
    b: String,
    a_size: u64,
    b_size: u64,
    ranges: u64,
    bytes: u64,
}

pub(crate) fn run(args: &Args, context: &Context) -> Outcome {
    let ui = &context.ui;
    if args.exit_code && ui.is_quiet() {
        return exit_code_alone(args, context);
    }
    let mut meter = if args.stat {
        Meter::new(ui, "Comparing")
    } else {
        Meter::beside_output(ui, "Comparing")
    };
    let report = &mut |progress| meter.report(progress);
    let stat = context.with_reader([&args.a, &args.b], |reader, [a, b]| {
        let mut stat = Stat {
            a: args.a.to_string(),
            b: args.b.to_string(),
            a_size: a.size(),
            b_size: b.size(),
            ranges: 0,
            bytes: 0,
        };
        for range in reader.diff(a, b)?.watched(report) {
            let range = range?;
            stat.ranges += 1;
            stat.bytes += range.length;
            if !args.stat {
                let DiffRange { offset, length, .. } = range;
                let shown = if ui.json {
                    ui.object(&range)
                } else {
                    ui.line(format_args!("{offset:>15} {length:>12}"))
                };
                match shown {
                    // The answer is in the exit status, whoever reads the rest of it.
                    Err(CommandError::ClosedPipe) if args.exit_code => return Ok(None),
                    shown => shown?,
                }
            }
        }
        Ok(Some(stat))
    })?;
    drop(meter);
    let Some(stat) = stat else {
        return Ok(Exit::Differ);
    };
    let differ = stat.ranges > 0 || stat.a_size != stat.b_size;
    let summary = summary(&stat, differ);
    let shown = match (args.stat, ui.json) {
        (true, true) => ui.object(&stat),
        (true, false) => ui.line(summary),
        (false, _) => ui.finish().map(|()| ui.say(summary)),
    };
    match (shown, args.exit_code && differ) {
        (Ok(()), false) => Ok(Exit::Done),
        (Ok(()) | Err(CommandError::ClosedPipe), true) => Ok(Exit::Differ),
        (Err(error), _) => Err(error),
    }
}

/// Compares up to the first difference and prints nothing.
fn exit_code_alone(args: &Args, context: &Context) -> Outcome {
    context.with_reader([&args.a, &args.b], |reader, [a, b]| {
        // Sizes cost nothing to compare.
        let differ = a.size() != b.size() || reader.diff(a, b)?.next().transpose()?.is_some();
        Ok(if differ { Exit::Differ } else { Exit::Done })
    })
}

fn summary(stat: &Stat, differ: bool) -> String {
    let Stat {
        a,
        b,
        a_size,
        b_size,
        ranges,
        bytes,
    } = stat;
    if !differ {
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
