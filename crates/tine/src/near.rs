//! "Did you mean …": the command that looks like a mistyped one.

use clap::{Command, CommandFactory as _};
use tine_server::words::near;

use crate::cli::Cli;

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
}
