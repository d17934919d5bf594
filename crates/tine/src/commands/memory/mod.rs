//! `tine memory`: memory that forks, shown beside fork(2).
//!
//! **Invariant:** each figure is beside its rival's, measured in this very run; what it should not have changed is looked at afterwards.

mod demo;
mod peer;

use crate::args;
use crate::context::Context;
use crate::error::Outcome;

/// Shows memory that forks within a process
///
/// What Rust programs have of the crate tine-memory. No store is needed or looked at.
#[derive(clap::Args)]
#[command(after_long_help = "\
Examples:
  tine memory demo
  tine memory demo --size 64MiB --json")]
pub(crate) struct Args {
    /// What to show
    what: What,
    /// How much memory is forked, 1MiB to 64GiB
    ///
    /// Three times as much is taken, for what fork(2) copies and for what is loaded in the end, too; and once as much on disk, in the
    /// directory for temporary files.
    #[arg(long, default_value = "1GiB", value_parser = args::bytes)]
    size: u64,
    /// How many forks to make, 10 to 50000
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = args::number_in(10..=50_000))]
    forks: u32,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum What {
    /// Forks, writes, rolls back and saves memory, and the same by fork(2)
    Demo,
}

pub(crate) fn run(args: &Args, context: &Context) -> Outcome {
    match args.what {
        What::Demo => demo::run(args.size, args.forks, context),
    }
}
