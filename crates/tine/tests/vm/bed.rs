//! Where the machines are tried: a store with a golden image, and what judges file systems.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use crate::common::daemon::Daemon;
use crate::common::{self, Bench};
use crate::guest::{Guest, machine};
use crate::parts::Parts;
use crate::told::Told;

/// A store with `golden` in it: an ext4 file system of 64 MiB with some files.
pub(crate) struct Bed {
    pub(crate) bench: Bench,
    pub(crate) parts: Parts,
    golden: Told,
    /// How many machines there were.
    machines: Cell<u32>,
}

impl Bed {
    /// Makes one; where a machine cannot be had it says that the test is skipped, and why.
    pub(crate) fn with_golden(test: &str) -> Option<Self> {
        let parts = Parts::find_or_skip(test)?;
        let bench = Bench::new();
        bench.succeeds(
            "mkdir -p files/etc/deep files/bin && echo golden >files/etc/hostname && : >files/etc/deep/empty \
             && head -c 3000001 /dev/urandom >files/bin/big && head -c 70000 /dev/urandom >files/etc/deep/small",
        );
        let mke2fs = common::tool("mke2fs")?;
        bench.succeeds(&format!(
            "{} -q -t ext4 -d files golden.img 64M && tine import golden.img golden",
            mke2fs.display()
        ));
        let sums = bench.succeeds("cd files && find . -type f -exec sha256sum {} +");
        let sums: BTreeMap<_, _> = sums
            .lines()
            .filter_map(|line| line.split_once("  ./"))
            .map(|(sum, path)| (path.to_owned(), sum.to_owned()))
            .collect();
        assert_eq!(sums.len(), 4);
        Some(Self {
            bench,
            parts,
            golden: Told::of(sums),
            machines: Cell::new(0),
        })
    }

    /// Returns what is on `golden`.
    pub(crate) fn golden(&self) -> Told {
        self.golden.clone()
    }

    /// Boots a machine with these disks, told by their URIs: `vda`, `vdb` …
    pub(crate) fn boot(&self, disks: &[&str]) -> Guest {
        let folder = self.place();
        let disks: Vec<_> = disks.iter().map(|uri| format!("file={uri}")).collect();
        Guest::boot(machine(&self.parts, &folder, &disks, false), &folder)
    }

    /// Boots a machine without a disk, and with a network.
    pub(crate) fn boot_with_network(&self) -> Guest {
        let folder = self.place();
        Guest::boot(machine(&self.parts, &folder, &[], true), &folder)
    }

    /// Boots a machine with a disk that waits for the next daemon when this one ends.
    pub(crate) fn boot_patiently(&self, daemon: &Daemon, export: &str) -> Guest {
        let folder = self.place();
        let disk = format!(
            "file.driver=nbd,file.server.type=unix,file.server.path={},file.export={export},\
             file.reconnect-delay=60",
            daemon.socket.display()
        );
        Guest::boot(machine(&self.parts, &folder, &[disk], false), &folder)
    }

    /// Boots a machine by `tine attach`, with these arguments.
    pub(crate) fn attach(&self, arguments: &str) -> Guest {
        let folder = self.place();
        let qemu = machine(&self.parts, &folder, &["file={}".to_owned()], false);
        let mut command = self
            .bench
            .command(&format!("exec tine attach {arguments} -- \"$@\""));
        command.arg("sh").arg(qemu.get_program()).args(qemu.get_args());
        command.envs(qemu.get_envs().filter_map(|(name, value)| Some((name, value?))));
        Guest::boot(command, &folder)
    }

    /// Makes sure that a file system is whole as it is.
    pub(crate) fn is_clean(&self, disk: &str) {
        self.export(disk);
        self.fsck("-fn", 0);
    }

    /// Makes sure that a file system is what a power cut may leave: whole once its journal has been replayed, and what
    /// was open removed, which is all that `-p` does without asking.
    pub(crate) fn is_crash_consistent(&self, disk: &str) {
        self.export(disk);
        self.fsck("-fp", 1);
        self.fsck("-fn", 0);
    }

    /// Makes sure that nothing has changed `golden`.
    pub(crate) fn golden_is_as_it_was(&self) {
        self.export("golden");
        self.bench.succeeds("cmp golden.img exported.img");
    }

    /// Copies a disk out by nbdcopy, and makes sure that qemu-img reads the same. Returns the sum of all that is on it.
    pub(crate) fn sum_from_outside(&self, uri: &str) -> String {
        let said = self.bench.succeeds(&format!(
            "rm -f copied.img && nbdcopy '{uri}' copied.img && qemu-img compare -f raw -F raw '{uri}' copied.img >&2 \
             && md5sum copied.img"
        ));
        said.split(' ').next().unwrap().to_owned()
    }

    fn export(&self, disk: &str) {
        self.bench
            .succeeds(&format!("rm -f exported.img && tine export {disk} exported.img"));
    }

    /// Checks the exported disk; the exit status is at most `worst`: 1 is for errors that are gone.
    fn fsck(&self, how: &str, worst: i32) {
        let e2fsck = common::tool("e2fsck").unwrap();
        let output = self
            .bench
            .run(&format!("{} {how} exported.img 2>&1", e2fsck.display()));
        assert!(
            output.status.code().is_some_and(|code| code <= worst),
            "e2fsck {how}: {}\n{}",
            output.status,
            String::from_utf8_lossy(&output.stdout)
        );
    }

    /// Returns an empty folder.
    pub(crate) fn place(&self) -> PathBuf {
        self.machines.set(self.machines.get() + 1);
        let folder = self.bench.path(format!("machine-{}", self.machines.get()));
        fs::create_dir(&folder).unwrap();
        folder
    }
}
