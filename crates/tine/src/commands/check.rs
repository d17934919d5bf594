//! `tine check`: is everything as it was written?

use serde::Serialize;
use tine_server::api::{Check, Kind, Step};
use tine_server::words::{count, list};
use tine_store::{CheckReport, Damage};

use crate::context::Context;
use crate::error::{CommandError, Exit, Outcome};
use crate::interrupt;
use crate::progress::Meter;

/// Verifies the store, with `--data` every block of it
///
/// Journal, manifest, segments and index are read; says what is damaged and which branches it touches, and exits with 1;
/// repairs nothing. A store so damaged that it does not open is damage found. One that could not be checked (there is none,
/// a later version made it, the operating system does not let tine read it) is an error: 2.
///
/// Other commands go on meanwhile, unless the store is damaged; the check is of the store as it was at its start, and
/// space that is freed comes back when it has ended.
#[derive(clap::Args)]
#[command(after_long_help = "\
Examples:
  tine check
  tine check --data")]
pub(crate) struct Args {
    /// Reads every block, too
    #[arg(long)]
    data: bool,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum Finding<'a> {
    Damage {
        what: &'a str,
        branches: &'a [String],
    },
    Summary {
        frames: u64,
        segments: u64,
        runs: u64,
        blocks: u64,
        damage: usize,
    },
}

pub(crate) fn run(args: &Args, context: &Context) -> Outcome {
    interrupt::catch()?;
    let mut meter = Meter::new(&context.ui, "Checking");
    let checked = context.follow_even_damaged(Check { data: args.data }, |step| match step {
        Step::Progress(progress) => meter.follow(progress),
        Step::Item(never) => match never {},
    });
    drop(meter);
    let report = match checked {
        Ok(report) => report,
        Err(error) => match error.failure() {
            // Damaged so badly that it does not open: found, all the same.
            Some(failure) if failure.kind == Kind::Damaged => beyond_opening(&failure.message),
            _ => return Err(error),
        },
    };
    match tell(&report, args.data, context).and_then(|()| context.ui.finish()) {
        // The answer is in the exit status, whoever read the rest of it.
        Ok(()) | Err(CommandError::ClosedPipe) => {}
        Err(error) => return Err(error),
    }
    Ok(if report.damage.is_empty() {
        Exit::Done
    } else {
        Exit::Differ
    })
}

/// Returns the report on a store of which nothing can be read.
fn beyond_opening(what: &str) -> CheckReport {
    let what = what.strip_prefix("the store is damaged: ").unwrap_or(what);
    let damage = Damage {
        what: format!("{what}; the store does not open"),
        branches: Vec::new(),
    };
    CheckReport {
        damage: vec![damage],
        ..CheckReport::default()
    }
}

fn tell(report: &CheckReport, data: bool, context: &Context) -> Outcome<()> {
    let ui = &context.ui;
    let &CheckReport {
        frames,
        segments,
        runs,
        blocks,
        ref damage,
        ..
    } = report;
    for damage in damage {
        if ui.json {
            ui.object(&Finding::Damage {
                what: &damage.what,
                branches: &damage.branches,
            })?;
        } else if damage.branches.is_empty() {
            ui.line(format_args!("damaged: {}", damage.what))?;
        } else {
            ui.line(format_args!(
                "damaged: {}; touched: {}",
                damage.what,
                list(&damage.branches)
            ))?;
        }
    }
    if ui.json {
        return ui.object(&Finding::Summary {
            frames,
            segments,
            runs,
            blocks,
            damage: damage.len(),
        });
    }
    let blocks_read = if data {
        format!(", {}", count(blocks, "block"))
    } else {
        String::new()
    };
    let verdict = match damage.len() as u64 {
        0 => "no damage".to_owned(),
        number => count(number, "damage"),
    };
    ui.line(format_args!(
        "Checked {}, {}, {}{blocks_read}: {verdict}",
        count(frames, "frame"),
        count(segments, "segment"),
        count(runs, "run")
    ))
}
