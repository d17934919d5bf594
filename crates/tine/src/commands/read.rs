//! `tine read`: bytes of a disk to standard output.

use std::io::{self, IsTerminal as _};
use std::ops::Range;

use tine_store::{Progress, Target};

use crate::args;
use crate::context::Context;
use crate::error::{CommandError, Exit, Outcome};
use crate::progress::Meter;
use crate::size::human;
use crate::text::count;

/// How much is read at once.
const PIECE: u64 = 1 << 20;

/// Writes bytes of a branch or snapshot to standard output
///
/// Off a terminal they go out as they are; on one only text does.
#[derive(clap::Args)]
#[command(after_long_help = "\
Examples:
  tine read web1 --offset 1MiB --length 4k | hexdump -C
  tine read web1@clean --length 512 > boot-sector")]
pub(crate) struct Args {
    /// The branch or snapshot
    #[arg(value_name = "NAME[@SNAP]", value_parser = args::target)]
    target: Target,
    /// Where to begin
    #[arg(long, default_value = "0", value_name = "BYTES", value_parser = args::bytes)]
    offset: u64,
    /// How much [default: to the end]
    #[arg(long, value_name = "BYTES", value_parser = args::bytes)]
    length: Option<u64>,
}

pub(crate) fn run(args: &Args, context: &Context) -> Outcome {
    if context.ui.json {
        return Err(
            CommandError::new("`tine read` prints bytes as they are: there is no `--json` for it")
                .hint("leave `--json` out; `tine show --json` tells of the disk"),
        );
    }
    let on_terminal = io::stdout().is_terminal();
    let mut meter = Meter::beside_output(&context.ui, "Reading");
    context.with_reader([&args.target], |_, [state]| {
        let mut range = within(&args.target, state.size(), args.offset, args.length)?;
        let (begin, total) = (range.start, range.end - range.start);
        let mut piece = vec![0; usize::try_from(PIECE.min(range.end - range.start)).unwrap_or(0)];
        while range.start < range.end {
            let length = PIECE.min(range.end - range.start);
            let bytes = &mut piece[..usize::try_from(length).unwrap_or(0)];
            state.read_at(bytes, range.start)?;
            if on_terminal && steers_terminals(bytes) {
                return Err(
                    CommandError::new(format!("`{}` has bytes there that are no text", args.target))
                        .hint("send them elsewhere: `| hexdump -C` shows them, `> FILE` keeps them"),
                );
            }
            context.ui.bytes(bytes)?;
            range.start += length;
            meter.show(Progress {
                done: range.start - begin,
                total: Some(total),
            });
        }
        Ok(())
    })?;
    Ok(Exit::Done)
}

/// Tells bytes that would do something to a terminal other than show: whoever wrote the disk could type into it.
fn steers_terminals(bytes: &[u8]) -> bool {
    bytes
        .iter()
        .any(|byte| byte.is_ascii_control() && !byte.is_ascii_whitespace())
}

/// Returns the range that an offset and a length name, or an error when it goes past the end.
pub(super) fn within(target: &Target, size: u64, offset: u64, length: Option<u64>) -> Outcome<Range<u64>> {
    let end = match length {
        Some(length) => offset.checked_add(length),
        None => Some(size),
    };
    match end {
        Some(end) if offset <= size && end <= size => Ok(offset..end),
        _ => {
            let range = match length {
                Some(length) => format!("{} at {offset} would go", count(length, "byte")),
                None => format!("offset {offset} is"),
            };
            Err(
                CommandError::new(format!("{range} past the end of `{target}`")).hint(format!(
                    "it has {} ({})",
                    count(size, "byte"),
                    human(size)
                )),
            )
        }
    }
}
