//! `tine read`: bytes of a disk to standard output.

use std::io::{self, IsTerminal as _};
use std::ops::Range;

use tine_server::api::Read;
use tine_store::{Piece, Progress, Target};

use crate::args;
use crate::context::{Context, Reading};
use crate::error::{CommandError, Exit, Outcome};
use crate::progress::Meter;
use crate::ui::Ui;

/// What a hole reads as, so much at once.
static ZEROES: [u8; 64 << 10] = [0; 64 << 10];

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
    let request = Read {
        target: args.target.clone(),
        offset: args.offset,
        length: args.length,
    };
    let mut printing = Printing {
        target: &args.target,
        ui: &context.ui,
        on_terminal: io::stdout().is_terminal(),
        meter: Meter::beside_output(&context.ui, "Reading"),
        range: 0..0,
    };
    context.read(request, &mut printing)?;
    Ok(Exit::Done)
}

/// Sends what is read to standard output.
struct Printing<'a> {
    target: &'a Target,
    ui: &'a Ui,
    on_terminal: bool,
    meter: Meter,
    range: Range<u64>,
}

impl Reading for Printing<'_> {
    fn begin(&mut self, range: Range<u64>) -> Outcome<()> {
        self.range = range;
        Ok(())
    }

    fn piece(&mut self, piece: Piece<'_>) -> Outcome<()> {
        match piece {
            Piece::Data { offset, bytes } => self.print(offset, bytes),
            Piece::Hole { offset, length } => {
                let (mut at, end) = (offset, offset + length);
                while at < end {
                    let bytes = &ZEROES
                        [..usize::try_from(end - at).map_or(ZEROES.len(), |left| left.min(ZEROES.len()))];
                    self.print(at, bytes)?;
                    at += bytes.len() as u64;
                }
                Ok(())
            }
        }
    }
}

impl Printing<'_> {
    fn print(&mut self, offset: u64, bytes: &[u8]) -> Outcome<()> {
        if self.on_terminal && steers_terminals(bytes) {
            return Err(
                CommandError::new(format!("`{}` has bytes there that are no text", self.target))
                    .hint("send them elsewhere: `| hexdump -C` shows them, `> FILE` keeps them"),
            );
        }
        self.ui.bytes(bytes)?;
        self.meter.show(Progress {
            done: offset + bytes.len() as u64 - self.range.start,
            total: Some(self.range.end - self.range.start),
        });
        Ok(())
    }
}

/// Tells bytes that would do something to a terminal other than show: whoever wrote the disk could type into it.
fn steers_terminals(bytes: &[u8]) -> bool {
    bytes
        .iter()
        .any(|byte| byte.is_ascii_control() && !byte.is_ascii_whitespace())
}
