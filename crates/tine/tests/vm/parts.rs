//! What a machine is made of: unpacked by `cargo xtask setup`, which tells how (`xtask/src/machine.rs`).

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::common;
use crate::initramfs::Archive;

/// The drivers that a virtio disk takes, each after those that it needs.
const MODULES: &[&str] = &[
    "virtio_ring.ko",
    "virtio.ko",
    "virtio_pci_modern_dev.ko",
    "virtio_pci_legacy_dev.ko",
    "virtio_pci.ko",
    "virtio_blk.ko",
];

/// The parts of a machine.
pub(crate) struct Parts {
    folder: PathBuf,
}

impl Parts {
    /// Returns the parts; where something is missing it says that the test is skipped, and why.
    pub(crate) fn find_or_skip(test: &str) -> Option<Self> {
        for program in ["mke2fs", "e2fsck"] {
            if common::tool(program).is_none() {
                println!("skipped: {test}: no {program} (apt-get install e2fsprogs)");
                return None;
            }
        }
        // The artefacts of some steps lie a folder deeper than where the parts are.
        let found = Path::new(env!("CARGO_TARGET_TMPDIR"))
            .ancestors()
            .skip(1)
            .take(3)
            .map(|folder| folder.join("vm"))
            .find(|folder| folder.join("packages").is_file());
        if found.is_none() {
            println!("skipped: {test}: no parts of a virtual machine (`cargo xtask setup` fetches them)");
        }
        found.map(|folder| Self { folder })
    }

    /// Returns the kernel.
    pub(crate) fn kernel(&self) -> PathBuf {
        self.folder.join("vmlinuz")
    }

    /// Returns QEMU, as it runs without being installed.
    pub(crate) fn qemu(&self) -> Command {
        let within = |path: &str| self.folder.join(path);
        let libraries = ["usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu"].map(within);
        let mut qemu = Command::new(within("usr/bin/qemu-system-x86_64"));
        qemu.env("LD_LIBRARY_PATH", env::join_paths(libraries).unwrap())
            .env("QEMU_MODULE_DIR", within("usr/lib/x86_64-linux-gnu/qemu"));
        for firmware in ["usr/share/qemu", "usr/share/seabios"] {
            qemu.arg("-L").arg(within(firmware));
        }
        qemu
    }

    /// Returns what the kernel has for a file system until a disk is mounted: busybox, its drivers and `init`.
    pub(crate) fn initramfs(&self) -> Vec<u8> {
        let read =
            |path: PathBuf| fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let mut archive = Archive::default();
        for folder in ["bin", "dev", "disk", "modules", "proc"] {
            archive.folder(folder);
        }
        archive.program("init", include_bytes!("init"));
        archive.program("bin/busybox", &read(self.folder.join("bin/busybox")));
        archive.file("modules/order", MODULES.join("\n").as_bytes());
        for name in MODULES {
            archive.file(
                &format!("modules/{name}"),
                &read(self.folder.join("modules").join(name)),
            );
        }
        archive.end()
    }
}
