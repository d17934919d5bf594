//! `tine resize`: another size for a disk.

use serde::Serialize;
use tine_store::{BranchName, ExtentKind, Store};

use crate::context::Context;
use crate::error::{Exit, Outcome};
use crate::size::human;
use crate::{args, confirm};

/// Changes the size of a branch
///
/// A larger disk reads as zeroes where it is new. A smaller one loses what lies beyond its end; a file system on it has to
/// be shrunk first.
#[derive(clap::Args)]
#[command(after_long_help = "\
Examples:
  tine resize web1 20GiB
  tine resize web1 5GiB --yes")]
pub(crate) struct Args {
    /// The branch
    #[arg(value_parser = args::branch)]
    name: BranchName,
    /// Its new size
    #[arg(value_parser = args::bytes)]
    size: u64,
    /// Does not ask before data is cut off
    #[arg(short, long)]
    yes: bool,
}

#[derive(Serialize)]
struct Resized<'a> {
    name: &'a BranchName,
    size: u64,
    was: u64,
}

pub(crate) fn run(args: &Args, context: &Context) -> Outcome {
    let &Args { ref name, size, yes } = args;
    let was = confirm::guarded(
        context,
        yes,
        |store| loss(store, name, size),
        |store| {
            let was = store.branch_info(name)?.size;
            store.resize(name, size)?;
            Ok(was)
        },
    )?;
    if was == size {
        context
            .ui
            .say(format_args!("`{name}` is {} already", human(size)));
    } else {
        context.ui.say(format_args!(
            "Resized `{name}` from {} to {}",
            human(was),
            human(size)
        ));
    }
    if context.ui.json {
        context.ui.object(&Resized { name, size, was })?;
    }
    Ok(Exit::Done)
}

fn loss(store: &Store, name: &BranchName, size: u64) -> Outcome<Option<String>> {
    let branch = store.branch(name)?;
    let was = branch.size();
    if size >= was {
        return Ok(None);
    }
    let cut = branch.extents(size..was)?;
    let data: u64 = cut
        .iter()
        .filter(|extent| matches!(extent.kind, ExtentKind::Data))
        .map(|extent| extent.length)
        .sum();
    Ok((data > 0).then(|| {
        format!(
            "shrinking `{name}` from {} to {} loses {} of data beyond the new end",
            human(was),
            human(size),
            human(data)
        )
    }))
}
