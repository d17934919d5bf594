//! "Did you mean …": the names that look like a mistyped one.

use clap::{Command, CommandFactory as _};

use crate::cli::Cli;

/// Returns up to three of `names` that are near to `wanted`, the nearest first.
pub(crate) fn near<'a>(wanted: &str, names: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    // One slip in three letters, rounded: more is another word.
    let slips = (wanted.chars().count() + 1) / 3;
    let mut near: Vec<(usize, &str)> = names
        .into_iter()
        .map(|name| {
            (
                strsim::damerau_levenshtein(&wanted.to_lowercase(), &name.to_lowercase()),
                name,
            )
        })
        .filter(|(distance, name)| *distance <= slips || (wanted.len() >= 3 && name.starts_with(wanted)))
        .collect();
    near.sort();
    near.into_iter().take(3).map(|(_, name)| name).collect()
}

/// What other tools call what ours does.
const ELSEWHERE: [(&str, &str); 22] = [
    ("add", "import"),
    ("branch", "fork"),
    ("clone", "fork"),
    ("commit", "snapshot"),
    ("copy", "fork"),
    ("cp", "fork"),
    ("delete", "drop"),
    ("destroy", "drop"),
    ("fsck", "check"),
    ("info", "show"),
    ("init", "create"),
    ("list", "ls"),
    ("log", "tree"),
    ("mv", "rename"),
    ("new", "create"),
    ("remove", "drop"),
    ("reset", "rollback"),
    ("restore", "rollback"),
    ("revert", "rollback"),
    ("rm", "drop"),
    ("status", "stats"),
    ("verify", "check"),
];

/// Returns the command that was meant, if one is near or does what `wanted` does elsewhere.
pub(crate) fn near_command(wanted: &str) -> Option<String> {
    let elsewhere = ELSEWHERE.iter().find(|(name, _)| *name == wanted.to_lowercase());
    if let Some((_, ours)) = elsewhere {
        return Some((*ours).to_owned());
    }
    let tine = Cli::command();
    let near = near(wanted, tine.get_subcommands().map(Command::get_name));
    near.first().map(|name| (*name).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_known_by_their_names_elsewhere() {
        let tine = Cli::command();
        for (name, ours) in ELSEWHERE {
            assert!(tine.find_subcommand(ours).is_some(), "{ours}");
            assert!(tine.find_subcommand(name).is_none(), "{name}");
        }
        assert_eq!(near_command("rm").as_deref(), Some("drop"));
        assert_eq!(near_command("frok").as_deref(), Some("fork"));
        assert_eq!(near_command("lis").as_deref(), Some("ls"));
        assert_eq!(near_command("levitate"), None);
    }

    #[test]
    fn slips_are_found_and_strangers_are_not() {
        let names = ["trial", "golden", "web1", "web2"];
        assert_eq!(near("tria", names), ["trial"]);
        assert_eq!(near("Goldne", names), ["golden"]);
        assert_eq!(near("web3", names), ["web1", "web2"]);
        assert!(near("database", names).is_empty());
        assert!(near("b", ["a"]).is_empty());
    }
}
