//! `tine fork`: independent writable copies.

use std::collections::HashSet;

use serde::Serialize;
use tine_store::{BranchName, Store, StoreError, Target};

use crate::args;
use crate::context::{Context, Missing};
use crate::error::{CommandError, Exit, Outcome};
use crate::size::human;
use crate::text::count;

/// Makes independent writable copies that share everything
///
/// A fork takes as long for a disk of any size, with any number of forks before it. Without a NAME the fork is called after
/// its source, with the next free number, and its name is printed. With `--count` there are NAME-1 to NAME-N, of one
/// instant, all or none; their names are printed one a line.
#[derive(clap::Args)]
#[command(after_long_help = "\
Examples:
  tine fork golden web1
  tine fork web1@clean web2
  name=$(tine fork golden)
  tine fork golden --count 1000 job")]
pub(crate) struct Args {
    /// The branch or snapshot to fork
    #[arg(value_name = "SOURCE", value_parser = args::target)]
    source: Target,
    /// The new branch [default: SOURCE with a number]
    #[arg(value_parser = args::branch)]
    name: Option<BranchName>,
    /// How many forks to make, at most 65000
    ///
    /// They are one record of the journal, in which each takes as much room as its name and that of the source: 9000
    /// fit with any names.
    #[arg(long, value_name = "N", value_parser = args::number_in(1..=65_000))]
    count: Option<u32>,
}

#[derive(Serialize)]
struct Forked<'a> {
    name: &'a BranchName,
    origin: String,
    size: u64,
}

pub(crate) fn run(args: &Args, context: &Context) -> Outcome {
    let (names, size) = context.with_store(Missing::Refuse, |store| {
        let names = names(args, store)?;
        let forks: Vec<_> = names
            .iter()
            .map(|name| (args.source.clone(), name.clone()))
            .collect();
        store
            .fork_many(&forks)
            .map_err(|error| failed(error, args, forks.len()))?;
        let size = store.state(&args.source)?.size();
        Ok((names, size))
    })?;
    let (source, ui) = (&args.source, &context.ui);
    if ui.json {
        for name in &names {
            ui.object(&Forked {
                name,
                origin: source.to_string(),
                size,
            })?;
        }
    } else if args.name.is_none() || args.count.is_some() {
        for name in &names {
            ui.line(name)?;
        }
    }
    ui.finish()?;
    match names.as_slice() {
        [name] => ui.say(format_args!(
            "Forked `{source}` as `{name}` (shares {})",
            human(size)
        )),
        [first, .., last] => ui.say(format_args!(
            "Forked `{source}` as `{first}` to `{last}` ({}, each shares {})",
            count(names.len() as u64, "branch"),
            human(size)
        )),
        [] => {}
    }
    Ok(Exit::Done)
}

/// Puts what the engine refused into the words of the command.
fn failed(error: StoreError, args: &Args, count: usize) -> CommandError {
    match error {
        StoreError::TooLarge { .. } => {
            CommandError::new(format!("{count} forks with names as long are too many at once"))
                .hint("make them in several calls; 9000 at once fit with any names")
        }
        error => CommandError::from(error).sparing(args.source.branch()),
    }
}

/// Returns the names for the forks: as given, numbered from 1, or the next free numbers after the source's name.
fn names(args: &Args, store: &Store) -> Outcome<Vec<BranchName>> {
    match (&args.name, args.count) {
        (Some(name), None) => Ok(vec![name.clone()]),
        (Some(name), Some(count)) => (1..=count)
            .map(|number| numbered(name.as_ref(), number))
            .collect(),
        (None, count) => {
            let stem = stem(args.source.branch().as_ref());
            let taken: HashSet<String> = store
                .branches()?
                .into_iter()
                .map(|branch| branch.name.to_string())
                .collect();
            // After the highest, not in the gaps: a dropped fork's name does not come back as another's.
            let highest = taken
                .iter()
                .filter_map(|name| name.strip_prefix(stem)?.strip_prefix('-')?.parse::<u32>().ok())
                .max()
                .unwrap_or(0);
            (1..=count.unwrap_or(1))
                .map(|number| numbered(stem, highest.saturating_add(number)))
                .collect()
        }
    }
}

/// Returns what a numbered name starts with: the fork of `web-3` is `web-4`, not `web-3-1`; a long one is shortened.
fn stem(name: &str) -> &str {
    let stem = match name.rsplit_once('-') {
        Some((stem, number)) if !stem.is_empty() && number.parse::<u32>().is_ok() => stem,
        _ => name,
    };
    // Names are ASCII and at most 128 bytes; a hyphen and ten digits must fit.
    &stem[..stem.len().min(117)]
}

fn numbered(name: &str, number: u32) -> Outcome<BranchName> {
    let numbered = format!("{name}-{number}");
    numbered.parse().map_err(|error: StoreError| {
        CommandError::from(error).hint("a number is put behind the name: choose a shorter one")
    })
}

#[cfg(test)]
mod tests {
    use super::stem;

    #[test]
    fn numbers_replace_numbers() {
        assert_eq!(stem("golden"), "golden");
        assert_eq!(stem("golden-7"), "golden");
        assert_eq!(stem("debian-12-base"), "debian-12-base");
        assert_eq!(stem(&"a".repeat(128)).len(), 117);
    }
}
