//! `tine check`: is everything as it was written?

use serde::Serialize;
use tine_store::{CheckReport, StoreError};

use crate::context::{Context, Missing};
use crate::error::{CommandError, Exit, Outcome};
use crate::interrupt;
use crate::progress::Meter;
use crate::text::{count, list};

/// Verifies the store, with `--data` every block of it
///
/// Journal, manifest, segments and index are read; says what is damaged and which branches it touches, and exits with 1; repairs nothing.
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
    let mut meter = Meter::new(&context.ui, "Checking");
    let checked = context.with_store(Missing::Refuse, |store| {
        interrupt::catch()?;
        Ok(store.check(args.data, &mut |progress| meter.report(progress))?)
    });
    drop(meter);
    let report = match checked {
        Ok(report) => report,
        // Damaged so badly that it does not open: found, all the same.
        Err(error) if is_damage(&error) => {
            error.report(&context.ui);
            return Ok(Exit::Differ);
        }
        Err(error) => return Err(error),
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

fn is_damage(error: &CommandError) -> bool {
    matches!(
        error.store_error(),
        Some(StoreError::Damaged { .. } | StoreError::BlockDamaged { .. })
    )
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
            ui.line(format_args!("damaged: {}; no branch is touched", damage.what))?;
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
        format!(", {blocks} blocks")
    } else {
        String::new()
    };
    let verdict = match damage.len() {
        0 => "no damage".to_owned(),
        number => count(number, "damage"),
    };
    ui.line(format_args!(
        "Checked {frames} frames, {segments} segments, {runs} runs{blocks_read}: {verdict}"
    ))
}
