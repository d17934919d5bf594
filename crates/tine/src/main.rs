//! The command `tine`: disks that fork, at the prompt.
//!
//! **Invariant:** all that prints, reads the environment or ends the process is in this crate; the libraries do none
//! of it. Data goes to standard output, everything else to standard error.

mod args;
mod cli;
mod commands;
mod confirm;
mod context;
mod error;
mod freeze;
mod idle_memory;
mod image;
mod input;
mod interrupt;
mod near;
mod progress;
mod signals;
mod size;
mod stdout;
mod text;
mod ui;
mod usage;

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    interrupt::catch_size_limit();
    let cli = match cli::Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage::report(&error, &ui::Ui::new(false, false)),
    };
    let context = context::Context::new(&cli.global);
    let outcome = commands::run(&cli.command, &context);
    // What a command printed before it failed is still the caller's.
    let printed = context.ui.finish();
    match (outcome, printed) {
        // Who has seen enough has not changed the answer.
        (Ok(exit), Ok(()) | Err(error::CommandError::ClosedPipe)) => exit.into(),
        (Err(error), _) | (Ok(_), Err(error)) => error.report(&context.ui),
    }
}
