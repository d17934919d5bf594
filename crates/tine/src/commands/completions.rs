//! `tine completions`: for shells.

use clap::CommandFactory as _;
use clap_complete::Shell;

use crate::cli::Cli;
use crate::context::Context;
use crate::error::{Exit, Outcome};

/// Prints the completions for a shell
#[derive(clap::Args)]
#[command(after_long_help = "\
Examples:
  tine completions bash > ~/.local/share/bash-completion/completions/tine
  tine completions fish > ~/.config/fish/completions/tine.fish")]
pub(crate) struct Args {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

pub(crate) fn run(args: &Args, context: &Context) -> Outcome {
    // Into memory first: the generator panics on a closed pipe.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "tine", &mut script);
    context.ui.bytes(&script)?;
    Ok(Exit::Done)
}
