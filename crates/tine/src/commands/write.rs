//! `tine write`: bytes from standard input to a disk.

use std::io::{self, Read};
use std::ops::Range;

use serde::Serialize;
use tine_server::api::{Write, within};
use tine_server::words::human;
use tine_store::{BranchName, Progress, Target};

use crate::args;
use crate::context::{Context, Put};
use crate::error::{CommandError, Exit, Outcome};
use crate::input::Input;
use crate::progress::Meter;

/// How much is written at once, aligned to itself on the disk.
const PIECE: u64 = 1 << 20;

/// Writes standard input to a branch
///
/// When the command has ended without an error, all of it is durable. From the first byte to the last no other command can use
/// the store, unless a daemon serves it: of a slow stream make a file first. With a daemon the command is a client of the disk,
/// of which one at a time writes.
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
    /// Does it though another client may write to the branch
    #[arg(long)]
    force: bool,
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
    let target = Target::Branch(args.name.clone());
    let range = |size| Ok(within(&target, size, args.offset, args.length)?);
    let request = Write {
        name: args.name.clone(),
        force: args.force,
    };
    let length = context.write(request, range, |range, put| {
        let mut follow = |done| {
            meter.show(Progress {
                done,
                total: args.length,
            });
        };
        copy(&mut input.reader(), args, range, put, &mut follow)
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

/// Copies from `input` to a range of the branch, which ends where the room, or what was asked for, ends; `follow` is told
/// how much was copied.
fn copy(
    input: &mut impl Read,
    args: &Args,
    range: Range<u64>,
    put: &mut Put<'_>,
    follow: &mut impl FnMut(u64),
) -> Outcome<()> {
    let (mut position, end) = (range.start, range.end);
    let mut piece = vec![0; usize::try_from(PIECE).unwrap_or(0)];
    let failed = |error| CommandError::io("read standard input", error);
    while position < end {
        let wanted = (PIECE - position % PIECE).min(end - position);
        let bytes = &mut piece[..usize::try_from(wanted).unwrap_or(0)];
        let read = fill(input, bytes).map_err(failed)?;
        put(&bytes[..read], position)?;
        position += read as u64;
        follow(position - range.start);
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
