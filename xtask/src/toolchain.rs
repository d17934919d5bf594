//! What Rust there is: the host, a nightly toolchain, other targets.

use std::path::Path;
use std::process::Command;

use crate::shell;

/// Where tine runs: all of it has to compile for the one of these that this machine is not.
pub(crate) const MACHINES: &[&str] = &["x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu"];

/// A machine with neither an operating system nor 64-bit atomics, as which tine-values has to compile too.
pub(crate) const BARE: &str = "thumbv7em-none-eabihf";

/// A nightly toolchain that is installed and not older than the workspace asks for.
pub(crate) struct Nightly {
    name: String,
    /// What it compiles for when not told otherwise, which is this machine.
    pub(crate) host: String,
}

impl Nightly {
    /// Returns the nightly toolchain, or what to say of its absence. Installs nothing.
    pub(crate) fn find() -> Result<Self, String> {
        const MISSING: &str = "no nightly toolchain (rustup toolchain install nightly)";
        let toolchains = shell::ask(shell::command("rustup").args(["toolchain", "list"])).ok_or(MISSING)?;
        // A dated nightly serves as well as the rolling one.
        let mut nightlies = toolchains.lines().filter(|line| line.starts_with("nightly"));
        let name = nightlies
            .next()
            .and_then(|line| line.split_whitespace().next())
            .ok_or(MISSING)?;

        let version =
            shell::ask(shell::command("rustup").args(["run", name, "rustc", "-vV"])).ok_or(MISSING)?;
        let field = |key: &str| version.lines().find_map(|line| line.strip_prefix(key));
        let (Some(host), Some(release)) = (field("host: "), field("release: ")) else {
            return Err(format!("`rustc -vV` of {name} names no host"));
        };
        let needed = env!("CARGO_PKG_RUST_VERSION");
        if minor(release) < minor(needed) {
            return Err(format!("{name} is Rust {release}, older than {needed}"));
        }
        Ok(Self {
            name: name.to_owned(),
            host: host.to_owned(),
        })
    }

    /// Returns its cargo, with `args`.
    pub(crate) fn cargo<const N: usize>(&self, args: [&str; N]) -> Command {
        let mut cargo = shell::command("rustup");
        cargo.args(["run", &self.name, "cargo"]).args(args);
        cargo
    }
}

/// Returns what the toolchain in use compiles for when not told otherwise, which is this machine.
pub(crate) fn host() -> Option<String> {
    let version = shell::ask(shell::command("rustc").arg("-vV"))?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned)
}

/// Returns whether the toolchain in use has the standard library of `target`.
pub(crate) fn has_target(target: &str) -> bool {
    shell::ask(shell::command("rustc").args(["--print", "sysroot"])).is_some_and(|sysroot| {
        Path::new(sysroot.trim())
            .join("lib/rustlib")
            .join(target)
            .join("lib")
            .is_dir()
    })
}

/// Returns the 95 of `1.95.0-nightly`.
fn minor(release: &str) -> Option<u32> {
    release.strip_prefix("1.")?.split(['.', '-']).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_compare_by_their_minor_number() {
        assert_eq!(minor("1.97.0-nightly"), Some(97));
        assert_eq!(minor("1.95"), Some(95));
        assert_eq!(minor("2.0.0"), None);
        assert!(minor("1.100.0-nightly") > minor("1.95"));
    }
}
