//! `cargo xtask deny`: the licences, versions and sources of all dependencies.

use crate::{Result, licences, shell};

/// `cargo xtask deny`
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Also look for known vulnerabilities, which fetches the advisory database
    #[arg(long)]
    advisories: bool,
}

/// Checks what can be told at once, then installs cargo-deny if it is missing and runs it.
pub(crate) fn run(args: &Args) -> Result {
    licences::check()?;
    if !is_installed() {
        shell::run(&mut shell::cargo([
            "install",
            "cargo-deny",
            "--locked",
            "--version",
            "~0.20",
        ]))?;
    }
    check(args.advisories)
}

/// Returns whether cargo-deny is there.
pub(crate) fn is_installed() -> bool {
    shell::ask(&mut shell::cargo(["deny", "--version"])).is_some()
}

/// Runs cargo-deny with the workspace's deny.toml.
pub(crate) fn check(advisories: bool) -> Result {
    let mut deny = shell::cargo(["deny", "--workspace", "check", "licenses", "bans", "sources"]);
    if advisories {
        deny.arg("advisories");
    }
    shell::run(&mut deny)
}
