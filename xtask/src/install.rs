//! What the tests use beside Rust, and how it gets onto the machine.
//!
//! **Invariant:** an install adds. Whatever would remove, upgrade or replace something that is there is refused,
//! which a simulation of it tells beforehand.
//!
//! A Debian package that cannot be installed is no error: the tests that need it skip, saying so, and the last
//! line here names it with the command to type.

use std::process::Command;

use crate::toolchain::{self, Nightly};
use crate::{Result, machine, shell};

/// Something from a Debian package.
struct Tool {
    package: &'static str,
    /// It is there when all of these are found.
    programs: &'static [&'static str],
    needed_by: &'static str,
    /// Of no use without a nightly toolchain.
    nightly: bool,
}

const TOOLS: &[Tool] = &[
    Tool {
        package: "e2fsprogs",
        programs: &["mke2fs", "e2fsck"],
        needed_by: "the demo, importing folders, tests with real file systems",
        nightly: false,
    },
    Tool {
        package: "qemu-utils",
        programs: &["qemu-img", "qemu-io"],
        needed_by: "tests with a foreign client, benches against qcow2",
        nightly: false,
    },
    Tool {
        package: "libnbd-bin",
        programs: &["nbdinfo", "nbdcopy"],
        needed_by: "tests with a foreign client",
        nightly: false,
    },
    Tool {
        package: "python3-libnbd",
        programs: &["nbdsh"],
        needed_by: "tests with a foreign client",
        nightly: false,
    },
    Tool {
        package: "nbdkit",
        programs: &["nbdkit"],
        needed_by: "tests with a foreign client, benches against its servers",
        nightly: false,
    },
    Tool {
        package: "fio",
        programs: &["fio"],
        needed_by: "tests with a foreign client, benches of serving",
        nightly: false,
    },
    Tool {
        package: "xfsprogs",
        programs: &["mkfs.xfs"],
        needed_by: "benches against reflinks of XFS",
        nightly: false,
    },
    Tool {
        package: "btrfs-progs",
        programs: &["mkfs.btrfs"],
        needed_by: "benches against reflinks of Btrfs",
        nightly: false,
    },
    Tool {
        package: "fuse3",
        programs: &["fusermount3"],
        needed_by: "power cuts of the real program, on a file system of the tests",
        nightly: false,
    },
    Tool {
        package: "valgrind",
        programs: &["valgrind"],
        needed_by: "instruction counts and memory checks",
        nightly: false,
    },
    Tool {
        package: "php-cli",
        programs: &["php"],
        needed_by: "tests of tine-values against PHP's arrays, benches beside them",
        nightly: false,
    },
    Tool {
        package: "g++",
        programs: &["c++"],
        needed_by: "fuzz targets (libFuzzer's runtime)",
        nightly: true,
    },
];

impl Tool {
    fn is_installed(&self) -> bool {
        self.programs.iter().all(|program| shell::find(program).is_some())
    }
}

/// Installs what is missing, and says what cannot be.
///
/// # Errors
///
/// When cargo-nextest is missing and cannot be installed: without it no test runs.
pub(crate) fn run() -> Result {
    install_packages();
    install_targets();
    if let Err(reason) = machine::install() {
        eprintln!(
            "no virtual machine, tests that boot one are skipped: {reason}; to try again: cargo xtask setup"
        );
    }
    if shell::ask(&mut shell::cargo(["nextest", "--version"])).is_none() {
        // Without the part that replaces itself with a download; 7.5 minutes of processor time as it is.
        let features = ["--no-default-features", "--features", "default-no-update"];
        shell::run(shell::cargo(["install", "cargo-nextest", "--locked"]).args(features))?;
    }
    Ok(())
}

/// Adds the standard libraries for which the code is checked beside this machine's: some seconds where there is a network.
fn install_targets() {
    let wanted = toolchain::MACHINES.iter().chain([&toolchain::BARE]);
    let missing: Vec<_> = wanted.filter(|target| !toolchain::has_target(target)).collect();
    if missing.is_empty() || shell::find("rustup").is_none() {
        return;
    }
    let names = missing
        .iter()
        .map(|target| **target)
        .collect::<Vec<_>>()
        .join(" ");
    let mut rustup = shell::command("rustup");
    // In silence: without a network it has much to say.
    match shell::ask(rustup.args(["target", "add"]).args(missing)) {
        Some(_) => eprintln!("added by rustup: {names}"),
        None => eprintln!("`rustup target add {names}` failed, what needs it is skipped"),
    }
}

fn install_packages() {
    let has_nightly = Nightly::find().is_ok();
    let wanted = || TOOLS.iter().filter(|tool| has_nightly || !tool.nightly);
    let missing: Vec<_> = wanted().filter(|tool| !tool.is_installed()).collect();
    if missing.is_empty() {
        eprintln!("all there: {}", names(wanted()));
        return;
    }

    eprintln!("missing: {}", names(missing.iter().copied()));
    match Apt::find() {
        Some(apt) => {
            apt.update();
            for tool in missing {
                if let Err(reason) = apt.install(tool.package) {
                    eprintln!("{} is not installed: {reason}", tool.package);
                }
            }
        }
        None => eprintln!(
            "nothing can be installed here: that takes apt-get, and root or sudo without a password"
        ),
    }

    let missing: Vec<_> = wanted().filter(|tool| !tool.is_installed()).collect();
    if !missing.is_empty() {
        let uses = missing
            .iter()
            .map(|tool| format!("{} ({})", tool.package, tool.needed_by));
        let packages = names(missing.iter().copied());
        eprintln!(
            "still missing, what needs it is skipped: {}; to install: sudo apt-get install {packages}",
            uses.collect::<Vec<_>>().join(", ")
        );
    }
}

/// Brings the lists of packages up to date, where this process may.
pub(crate) fn update_lists() {
    if let Some(apt) = Apt::find() {
        apt.update();
    }
}

fn names<'a>(tools: impl Iterator<Item = &'a Tool>) -> String {
    tools.map(|tool| tool.package).collect::<Vec<_>>().join(" ")
}

/// apt-get, run with the right to install.
struct Apt {
    /// What comes before `apt-get`, for who is not root.
    sudo: &'static [&'static str],
}

impl Apt {
    fn find() -> Option<Self> {
        shell::find("apt-get")?;
        if shell::ask(shell::command("id").arg("-u"))?.trim() == "0" {
            return Some(Self { sudo: &[] });
        }
        shell::ask(shell::command("sudo").args(["-n", "true"]))?;
        Some(Self {
            sudo: &["sudo", "-n"],
        })
    }

    /// Brings the package lists up to date; without a network the old ones have to do.
    fn update(&self) {
        if let Err(error) = shell::run(&mut self.get(&["update"])) {
            eprintln!("{error}");
        }
    }

    /// Installs `package` and what it depends on, if that changes nothing else.
    fn install(&self, package: &str) -> Result {
        let arguments = [
            "install",
            "-y",
            "--no-install-recommends",
            "--no-upgrade",
            "--no-remove",
            package,
        ];
        let mut simulation = self.get(&["-s"]);
        let plan = shell::read(simulation.args(arguments))?;
        let changes = changes(&plan);
        if !changes.is_empty() {
            return Err(format!("it would remove or upgrade {}", changes.join(", ")).into());
        }
        shell::run(self.get(&[]).args(arguments))
    }

    fn get(&self, arguments: &[&str]) -> Command {
        // Through `env`, since sudo drops the environment. Waits are bounded: for the network, for another apt.
        let environment = ["env", "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C"];
        let limits = [
            "-o",
            "Acquire::http::Timeout=30",
            "-o",
            "Acquire::Retries=2",
            "-o",
            "DPkg::Lock::Timeout=120",
        ];
        let quiet = ["-qq", "-o", "Dpkg::Use-Pty=0"];
        let words = self
            .sudo
            .iter()
            .copied()
            .chain(environment)
            .chain(["apt-get"])
            .chain(limits)
            .chain(quiet);
        let mut words = words.chain(arguments.iter().copied());
        let mut command = shell::command(words.next().unwrap_or("env"));
        command.args(words);
        command
    }
}

/// Returns the installed packages that `plan`, what `apt-get -s install` printed, removes or upgrades.
///
/// ```text
/// Inst new (1.0 Debian:12 [amd64])
/// Inst upgraded [1.0] (1.1 Debian:12 [amd64])
/// Remv removed [1.0]
/// ```
fn changes(plan: &str) -> Vec<&str> {
    let changed = |line: &&str| {
        let mut words = line.split_whitespace();
        match words.next() {
            Some("Remv" | "Purg") => true,
            Some("Inst") => words.nth(1).is_some_and(|word| word.starts_with('[')),
            _ => false,
        }
    };
    plan.lines()
        .filter(changed)
        .filter_map(|line| line.split_whitespace().nth(1))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_that_only_adds_changes_nothing() {
        let plan = "Reading package lists...\n\
                    0 upgraded, 2 newly installed, 0 to remove and 80 not upgraded.\n\
                    Inst libfuse3-3 (3.14.0-4 Debian:12.14/oldstable [amd64])\n\
                    Inst fuse3 (3.14.0-4 Debian:12.14/oldstable [amd64]) []\n\
                    Conf fuse3 (3.14.0-4 Debian:12.14/oldstable [amd64])\n";
        assert!(changes(plan).is_empty());
    }

    #[test]
    fn upgrades_and_removals_are_named() {
        let plan = "Remv fuse [2.9.9-6]\n\
                    Inst libc6 [2.36-9] (2.36-10 Debian:12.14/oldstable [amd64]) []\n\
                    Inst libc6-dbg (2.36-10 Debian:12.14/oldstable [amd64])\n\
                    Conf libc6 (2.36-10 Debian:12.14/oldstable [amd64])\n";
        assert_eq!(changes(plan), ["fuse", "libc6"]);
    }
}
