//! `tine help`: what a command does and takes.

use clap::{ColorChoice, Command, CommandFactory as _};

use crate::cli::Cli;
use crate::context::Context;
use crate::error::{CommandError, Exit, Outcome};
use crate::usage::unknown_command;

/// Explains a command, or lists all of them
#[derive(clap::Args)]
#[command(after_long_help = "\
Examples:
  tine help
  tine help fork")]
pub(crate) struct Args {
    /// The command [default: tine itself]
    command: Option<String>,
}

pub(crate) fn run(args: &Args, context: &Context) -> Outcome {
    let mut tine = whole();
    let command = match &args.command {
        None => &mut tine,
        Some(name) => {
            find(&tine, name)?;
            tine.find_subcommand_mut(name)
                .ok_or_else(|| CommandError::new(unknown_command(name).0))?
        }
    };
    let help = command.render_long_help();
    if context.ui.colours_data() {
        context.ui.bytes(help.ansi().to_string().as_bytes())?;
    } else {
        context.ui.bytes(help.to_string().as_bytes())?;
    }
    Ok(Exit::Done)
}

/// Returns the grammar with all that it hands down to the commands.
pub(super) fn whole() -> Command {
    let mut tine = Cli::command().color(ColorChoice::Always);
    tine.build();
    tine
}

/// Finds a command by its name; an unknown one is an error with the near name.
pub(super) fn find<'a>(tine: &'a Command, name: &str) -> Outcome<&'a Command> {
    tine.find_subcommand(name).ok_or_else(|| {
        let (message, hint) = unknown_command(name);
        CommandError::new(message).hint(hint)
    })
}
