//! `tine man`: manual pages.

use std::fs;
use std::path::{Path, PathBuf};

use clap::{Command, CommandFactory as _};

use crate::cli::Cli;
use crate::context::Context;
use crate::error::{CommandError, Exit, Outcome};
use crate::near::near;
use crate::text::count;

/// Prints a manual page, or writes all of them to a directory
#[derive(clap::Args)]
#[command(after_long_help = "\
Examples:
  tine man | man -l -
  tine man fork | man -l -
  tine man --dir ~/.local/share/man/man1")]
pub(crate) struct Args {
    /// The command to tell of [default: tine itself]
    command: Option<String>,
    /// Writes all pages to this directory instead
    #[arg(long, conflicts_with = "command")]
    dir: Option<PathBuf>,
}

pub(crate) fn run(args: &Args, context: &Context) -> Outcome {
    let mut tine = Cli::command().disable_help_subcommand(true);
    tine.build();
    match (&args.dir, &args.command) {
        (Some(dir), _) => write_all(&tine, dir, context)?,
        (None, None) => context.ui.bytes(&page(&tine)?)?,
        (None, Some(name)) => context.ui.bytes(&page(find(&tine, name)?)?)?,
    }
    Ok(Exit::Done)
}

fn find<'a>(tine: &'a Command, name: &str) -> Outcome<&'a Command> {
    tine.find_subcommand(name).ok_or_else(|| {
        let error = CommandError::new(format!("no command named `{name}`"));
        match near(name, tine.get_subcommands().map(Command::get_name)).first() {
            Some(near) => error.hint(format!("did you mean `{near}`?")),
            None => error.hint("`tine --help` shows all commands"),
        }
    })
}

fn write_all(tine: &Command, dir: &Path, context: &Context) -> Outcome<()> {
    let failed = |path: &Path, error| CommandError::io(format!("writing `{}`", path.display()), error);
    fs::create_dir_all(dir).map_err(|error| failed(dir, error))?;
    let mut written = 0;
    for command in std::iter::once(tine).chain(tine.get_subcommands()) {
        let path = dir.join(format!("{}.1", page_name(command)));
        fs::write(&path, page(command)?).map_err(|error| failed(&path, error))?;
        written += 1;
    }
    context.ui.say(format_args!(
        "Wrote {} to `{}`",
        count(written, "page"),
        dir.display()
    ));
    Ok(())
}

fn page(command: &Command) -> Outcome<Vec<u8>> {
    let mut page = Vec::new();
    let command = command.clone().name(page_name(command));
    clap_mangen::Man::new(command)
        .render(&mut page)
        .map_err(|error| CommandError::io("writing the manual page", error))?;
    Ok(with_examples(&page))
}

/// Gives the examples their own heading; the generator calls what follows the help "extra".
fn with_examples(page: &[u8]) -> Vec<u8> {
    let page = String::from_utf8_lossy(page);
    page.replace(".SH EXTRA\nExamples:\n", ".SH EXAMPLES\n")
        .replace(".SH EXTRA\nExample:\n", ".SH EXAMPLES\n")
        .into_bytes()
}

fn page_name(command: &Command) -> String {
    match command.get_name() {
        "tine" => "tine".to_owned(),
        name => format!("tine-{name}"),
    }
}
