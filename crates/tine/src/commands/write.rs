//! `tine write`: bytes from standard input to a disk.

use std::io::{self, Read};

use serde::Serialize;
use tine_store::{Branch, BranchName, Progress, Target};

use super::read::within;
use crate::args;
use crate::context::{Context, Missing};
use crate::error::{CommandError, Exit, Outcome};
use crate::input::Input;
use crate::progress::Meter;
use crate::size::human;
use crate::text::count;

/// How much is written at once, aligned to itself on the disk.
const PIECE: u64 = 1 << 20;

/// Writes standard input to a branch
///
/// When the command has ended without an error, all of it is durable. From the first byte to the last no other command can use
/// the store: of a slow stream make a file first.
#[derive(clap::Args)]
#[command(after_long_help = "\
Examples:
  echo hello | tine write web1 --offset 1MiB
  head -c 512 boot.img | tine write web1 --length 512")]
pub(crate) struct Args {
    /// The branch
    #[arg(value_parser = args::branch)]
    name: BranchName,
    /// Where to begin
    #[arg(long, default_value = "0", value_name = "BYTES", value_parser = args::bytes)]
    offset: u64,
    /// How much; less from standard input is an error [default: all there is]
    #[arg(long, value_name = "BYTES", value_parser = args::bytes)]
    length: Option<u64>,
}

#[derive(Serialize)]
struct Written<'a> {
    name: &'a BranchName,
    offset: u64,
    length: u64,
}

pub(crate) fn run(args: &Args, context: &Context) -> Outcome {
    let input = Input::standard(&context.ui)?;
    let mut meter = Meter::new(&context.ui, "Writing");
    let length = context.with_store(Missing::Refuse, |store| {
        let branch = store.branch(&args.name)?;
        let target = Target::Branch(args.name.clone());
        let end = within(&target, branch.size(), args.offset, args.length)?.end;
        let mut position = args.offset;
        let mut follow = |done| {
            meter.show(Progress {
                done,
                total: args.length,
            });
        };
        let copied = copy(
            &mut input.reader(),
            &branch,
            args,
            end,
            &mut position,
            &mut follow,
        );
        let written = position - args.offset;
        // What came before an error stays, so it is made durable and the error tells how much.
        let flushed = branch.flush();
        match copied {
            Ok(()) => {
                flushed?;
                Ok(written)
            }
            Err(error) if flushed.is_ok() => {
                Err(error.hint_more(format!("{} written before that", was_written(written))))
            }
            Err(error) => Err(error),
        }
    })?;
    drop(meter);
    let &Args { ref name, offset, .. } = args;
    context
        .ui
        .say(format_args!("Wrote {} to `{name}` at {offset}", human(length)));
    if context.ui.json {
        context.ui.object(&Written { name, offset, length })?;
    }
    Ok(Exit::Done)
}

fn was_written(bytes: u64) -> String {
    let verb = if bytes == 1 { "was" } else { "were" };
    format!("{} {verb}", count(bytes, "byte"))
}

/// Copies from `input` to the branch; `end` is where the room, or what was asked for, ends. `position` follows, and `follow`
/// is told how much was copied.
fn copy(
    input: &mut impl Read,
    branch: &Branch,
    args: &Args,
    end: u64,
    position: &mut u64,
    follow: &mut impl FnMut(u64),
) -> Outcome<()> {
    let mut piece = vec![0; usize::try_from(PIECE).unwrap_or(0)];
    let failed = |error| CommandError::io("read standard input", error);
    while *position < end {
        let wanted = (PIECE - *position % PIECE).min(end - *position);
        let bytes = &mut piece[..usize::try_from(wanted).unwrap_or(0)];
        let read = fill(input, bytes).map_err(failed)?;
        branch.write_at(&bytes[..read], *position)?;
        *position += read as u64;
        follow(*position - args.offset);
        if read < bytes.len() {
            return match args.length {
                Some(length) => Err(CommandError::new(format!(
                    "standard input ended before {length} bytes had come"
                ))),
                None => Ok(()),
            };
        }
    }
    if args.length.is_none() && fill(input, &mut [0]).map_err(failed)? == 1 {
        return Err(CommandError::new(format!(
            "standard input goes on past the end of `{}`",
            args.name
        )));
    }
    Ok(())
}

/// Reads until `buffer` is full or the input ends.
fn fill(input: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match input.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}
