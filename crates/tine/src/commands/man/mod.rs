//! `tine man`: manual pages.

mod page;

use std::fs;
use std::io::{self, IsTerminal as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process;

use clap::Command;

use super::help::{find, whole};
use crate::context::Context;
use crate::error::{CommandError, Exit, Outcome};
use tine_server::words::count;

/// Shows a manual page, or writes all of them to a directory
///
/// On a terminal `man` shows the page; elsewhere the page is printed as it is, in roff.
#[derive(clap::Args)]
#[command(after_long_help = "\
Examples:
  tine man fork
  tine man fork > tine-fork.1
  tine man --dir ~/.local/share/man/man1")]
pub(crate) struct Args {
    /// The command to tell of [default: tine itself]
    command: Option<String>,
    /// Writes all pages to this directory instead
    #[arg(long, conflicts_with = "command")]
    dir: Option<PathBuf>,
}

pub(crate) fn run(args: &Args, context: &Context) -> Outcome {
    let tine = whole();
    if let Some(dir) = &args.dir {
        write_all(&tine, dir, context)?;
        return Ok(Exit::Done);
    }
    let page = match &args.command {
        None => page::of_all(&tine),
        Some(name) => page::of_command(find(&tine, name)?),
    };
    if io::stdout().is_terminal() {
        become_man(&page)?;
    }
    context.ui.bytes(page.as_bytes())?;
    Ok(Exit::Done)
}

/// Lets `man` take this process over to show the page; returns where it is not installed.
fn become_man(page: &str) -> Outcome<()> {
    /// What a pipe takes before anyone reads from it.
    const PIPE_BYTES: usize = 64 << 10;
    if page.len() > PIPE_BYTES {
        return Ok(());
    }
    let failed = |error| CommandError::io("hand the page to `man`", error);
    let (reader, mut writer) = io::pipe().map_err(failed)?;
    writer.write_all(page.as_bytes()).map_err(failed)?;
    drop(writer);
    let error = process::Command::new("man")
        .args(["-l", "-"])
        .stdin(reader)
        .exec();
    match error.kind() {
        io::ErrorKind::NotFound => Ok(()),
        _ => Err(CommandError::io("run `man`", error)),
    }
}

fn write_all(tine: &Command, dir: &Path, context: &Context) -> Outcome<()> {
    let failed = |path: &Path, error| CommandError::io(format!("write `{}`", path.display()), error);
    fs::create_dir_all(dir)
        .map_err(|error| CommandError::io(format!("make the directory `{}`", dir.display()), error))?;
    let mut written = 0;
    let mut write = |name: &str, page: String| {
        let path = dir.join(format!("{name}.1"));
        written += 1;
        fs::write(&path, page).map_err(|error| failed(&path, error))
    };
    write("tine", page::of_all(tine))?;
    for command in tine.get_subcommands() {
        write(&format!("tine-{}", command.get_name()), page::of_command(command))?;
    }
    context.ui.say(format_args!(
        "Wrote {} to `{}`",
        count(written, "page"),
        dir.display()
    ));
    Ok(())
}
