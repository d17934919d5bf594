//! The command line's grammar: what all commands share.
//!
//! Help, completions and manual pages come from the text here and in `commands/`.

use std::path::PathBuf;

use clap::builder::styling::{AnsiColor, Styles};

use crate::commands::Command;

const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Green.on_default().bold())
    .usage(AnsiColor::Green.on_default().bold())
    .literal(AnsiColor::Cyan.on_default().bold())
    .placeholder(AnsiColor::Cyan.on_default());

/// Forks disks: a fork costs nothing until it is written, and then exactly what is written
#[derive(clap::Parser)]
#[command(
    name = "tine",
    version,
    styles = STYLES,
    max_term_width = 100,
    disable_help_subcommand = true,
    arg_required_else_help = true,
    after_help = "`tine demo` shows it all at work; `tine help COMMAND` has an example of each.",
    after_long_help = "\
Examples:
  tine import disk.img golden        a raw image becomes the branch `golden`
  tine fork golden web1              an independent writable copy, at once
  tine fork golden --count 1000 job  a thousand of them
  tine snapshot web1@clean           a point to come back to
  tine diff golden web1              the ranges in which two disks differ
  tine rollback web1@clean           as if nothing had happened
  tine export web1 web1.img          a raw image again

Sizes and offsets: `4096`, `1_000`, `4k`, `10GiB`, `1.5G` (k, M, G, T, P, E and KiB … are powers
of 1024; kB, MB … are powers of 1000).

Exit status: 0 done; 1 they differ (`diff --exit-code`) or damage was found (`check`); 2 error;
130 interrupted."
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The options that every command takes.
#[derive(clap::Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    // TINE_STORE is read where the store is looked for: clap would refuse an empty one, and would show the option in
    // the usage of every error as if it had been given.
    /// The store [env: TINE_STORE] [default: in the user's data directory]
    ///
    /// Without it and without TINE_STORE, `tine/store` in the user's data directory ($XDG_DATA_HOME or
    /// ~/.local/share), which is made at first use.
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) store: Option<PathBuf>,
    /// Prints data as JSON, one object a line
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Says only what goes wrong
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
    /// Fails at once when another process has the store
    ///
    /// Otherwise a command waits up to 30 s for it.
    #[arg(long, global = true)]
    pub(crate) no_wait: bool,
    /// Reads what is left of a damaged store
    ///
    /// As it was before the damage, with a warning; nothing can be written. Export what you need, and make a new store
    /// of it or of a backup.
    #[arg(long, global = true)]
    pub(crate) read_damaged: bool,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn grammar_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_has_an_example_and_a_help_that_fits_a_screen() {
        for command in Cli::command().get_subcommands_mut() {
            let name = command.get_name().to_owned();
            assert!(command.get_after_long_help().is_some(), "{name} has no example");
            let lines = command.render_help().to_string().lines().count();
            assert!(lines <= 24, "`tine {name} -h` has {lines} lines");
        }
    }
}
