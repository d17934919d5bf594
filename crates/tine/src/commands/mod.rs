//! The commands, one file each: its arguments with their help, and one function.

mod attach;
mod check;
mod completions;
mod create;
mod defrag;
mod demo;
mod diff;
mod drop;
mod export;
mod forget;
mod fork;
mod help;
mod import;
mod keep;
mod ls;
mod man;
mod memory;
mod protect;
mod read;
mod rename;
mod resize;
mod rollback;
mod serve;
mod show;
mod snapshot;
mod stats;
mod tree;
mod write;

use std::env;
use std::path::PathBuf;

use crate::context::Context;
use crate::error::Outcome;

/// What tine can do.
#[derive(clap::Subcommand)]
pub(crate) enum Command {
    Import(import::Args),
    Create(create::Args),
    Fork(fork::Args),
    Snapshot(snapshot::Args),
    Rollback(rollback::Args),
    Diff(diff::Args),
    Ls(ls::Args),
    Tree(tree::Args),
    Show(show::Args),
    Read(read::Args),
    Write(write::Args),
    Export(export::Args),
    Rename(rename::Args),
    Resize(resize::Args),
    Defrag(defrag::Args),
    Drop(drop::Args),
    Check(check::Args),
    Stats(stats::Args),
    Serve(serve::Args),
    Attach(attach::Args),
    Keep(keep::Args),
    Forget(forget::Args),
    Protect(protect::ProtectArgs),
    Unprotect(protect::UnprotectArgs),
    Demo(demo::Args),
    Memory(memory::Args),
    Completions(completions::Args),
    Man(man::Args),
    Help(help::Args),
}

/// Runs a command.
pub(crate) fn run(command: &Command, context: &Context) -> Outcome {
    match command {
        Command::Import(args) => import::run(args, context),
        Command::Create(args) => create::run(args, context),
        Command::Fork(args) => fork::run(args, context),
        Command::Snapshot(args) => snapshot::run(args, context),
        Command::Rollback(args) => rollback::run(args, context),
        Command::Diff(args) => diff::run(args, context),
        Command::Ls(args) => ls::run(args, context),
        Command::Tree(args) => tree::run(args, context),
        Command::Show(args) => show::run(args, context),
        Command::Read(args) => read::run(args, context),
        Command::Write(args) => write::run(args, context),
        Command::Export(args) => export::run(args, context),
        Command::Rename(args) => rename::run(args, context),
        Command::Resize(args) => resize::run(args, context),
        Command::Defrag(args) => defrag::run(args, context),
        Command::Drop(args) => drop::run(args, context),
        Command::Check(args) => check::run(args, context),
        Command::Stats(args) => stats::run(args, context),
        Command::Serve(args) => serve::run(args, context),
        Command::Attach(args) => attach::run(args, context),
        Command::Keep(args) => keep::run(args, context),
        Command::Forget(args) => forget::run(args, context),
        Command::Protect(args) => protect::protect(args, context),
        Command::Unprotect(args) => protect::unprotect(args, context),
        Command::Demo(args) => demo::run(args, context),
        Command::Memory(args) => memory::run(args, context),
        Command::Completions(args) => completions::run(args, context),
        Command::Man(args) => man::run(args, context),
        Command::Help(args) => help::run(args, context),
    }
}

/// Returns the folder for what lives no longer than this process: the user's own, where there is one.
fn runtime_folder() -> PathBuf {
    env::var_os("XDG_RUNTIME_DIR")
        .map(PathBuf::from)
        .filter(|folder| folder.is_absolute() && folder.is_dir())
        .unwrap_or_else(env::temp_dir)
}
