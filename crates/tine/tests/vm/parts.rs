//! What a machine is made of: unpacked by `cargo xtask setup`, which tells how (`xtask/src/machine.rs`).

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::common;
use crate::initramfs::Archive;

/// What attaches disks by NBD in a guest.
const NBD_CLIENT: &str = "sbin/nbd-client";

/// What keeps machines.
pub(crate) const LIBVIRTD: &str = "usr/sbin/libvirtd";

/// What tells it to.
pub(crate) const VIRSH: &str = "usr/bin/virsh";

/// The drivers that a virtio disk takes, each after those that it needs.
const MODULES: &[&str] = &[
    "virtio_ring.ko",
    "virtio.ko",
    "virtio_pci_modern_dev.ko",
    "virtio_pci_legacy_dev.ko",
    "virtio_pci.ko",
    "virtio_blk.ko",
];

/// The drivers of its network, and those of NBD disks.
const NETWORK_MODULES: &[&str] = &["failover.ko", "net_failover.ko", "virtio_net.ko", "nbd.ko"];

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
            .find(|folder| {
                [NBD_CLIENT, LIBVIRTD]
                    .iter()
                    .all(|program| folder.join(program).is_file())
            });
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
        let mut qemu = Command::new(within("usr/bin/qemu-system-x86_64"));
        qemu.env("LD_LIBRARY_PATH", self.libraries())
            .env("QEMU_MODULE_DIR", within("usr/lib/x86_64-linux-gnu/qemu"));
        for firmware in ["usr/share/qemu", "usr/share/seabios"] {
            qemu.arg("-L").arg(within(firmware));
        }
        qemu
    }

    /// Returns one of libvirt's programs, as it runs without being installed and without having a machine's rights: what it looks for
    /// in `/usr/share` is laid over that, for it alone, and root is somebody else, so that it keeps to folders of its own.
    pub(crate) fn libvirt(&self, program: &str, folder: &Path) -> Command {
        let mut command = self.unshared();
        command
            .arg(self.folder.join(program))
            .env("LD_LIBRARY_PATH", self.libraries())
            .env(
                "LIBVIRT_DRIVER_DIR",
                self.folder
                    .join("usr/lib/x86_64-linux-gnu/libvirt/connection-driver"),
            );
        for variable in [
            "HOME",
            "XDG_RUNTIME_DIR",
            "XDG_CONFIG_HOME",
            "XDG_CACHE_HOME",
            "XDG_DATA_HOME",
        ] {
            command.env(variable, folder);
        }
        command
    }

    /// Tells whether [`Parts::libvirt`] can be had here; says that the test is skipped if not, and why.
    pub(crate) fn can_unshare_or_skip(&self, test: &str) -> bool {
        let output = self.unshared().arg("true").output().unwrap();
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            println!(
                "skipped: {test}: no namespaces of users and mounts here: {}",
                said.trim()
            );
        }
        output.status.success()
    }

    /// Returns what runs a program, which is added, where the parts' `/usr/share` is laid over this machine's.
    fn unshared(&self) -> Command {
        let script = "mount -t overlay overlay -o \"lowerdir=$0/usr/share:/usr/share\" /usr/share \
                      && exec unshare --user --map-user=65534 --map-group=65534 -- \"$@\"";
        let mut command = Command::new("unshare");
        command
            .args(["--map-root-user", "--mount", "--", "sh", "-c", script])
            .arg(&self.folder);
        command
    }

    /// Returns what the kernel has for a file system until a disk is mounted: busybox, its drivers and `init`; and what
    /// attaches disks by NBD, if it has a network.
    pub(crate) fn initramfs(&self, network: bool) -> Vec<u8> {
        let mut archive = Archive::default();
        for folder in ["bin", "dev", "disk", "modules", "proc"] {
            archive.folder(folder);
        }
        archive.program("init", include_bytes!("init"));
        archive.program("bin/busybox", &read(&self.folder.join("bin/busybox")));
        let mut modules = MODULES.to_vec();
        if network {
            modules.extend(NETWORK_MODULES);
            self.add_nbd_client(&mut archive);
        }
        archive.file("modules/order", modules.join("\n").as_bytes());
        for name in modules {
            archive.file(
                &format!("modules/{name}"),
                &read(&self.folder.join("modules").join(name)),
            );
        }
        archive.end()
    }

    /// Adds nbd-client with the libraries that it is linked with, from where Debian's loader looks for them.
    fn add_nbd_client(&self, archive: &mut Archive) {
        let program = self.folder.join(NBD_CLIENT);
        let linked = Command::new("ldd")
            .arg(&program)
            .env("LD_LIBRARY_PATH", self.libraries())
            .output()
            .unwrap();
        let linked = String::from_utf8(linked.stdout).unwrap();
        for folder in ["lib", "lib64"] {
            archive.folder(folder);
        }
        // `NAME => PATH (ADDRESS)`, `PATH (ADDRESS)` for the loader, and the kernel's own without a path.
        for line in linked.lines().filter(|line| line.contains('/')) {
            let path = line.split_whitespace().find(|word| word.starts_with('/'));
            let path = Path::new(path.unwrap_or_else(|| panic!("`{line}` names no library")));
            let name = path.file_name().unwrap().to_str().unwrap();
            let folder = if name.starts_with("ld-linux") {
                "lib64"
            } else {
                "lib"
            };
            archive.program(&format!("{folder}/{name}"), &read(path));
        }
        archive.program("bin/nbd-client", &read(&program));
    }

    /// Returns where the libraries are that this machine lacks.
    fn libraries(&self) -> OsString {
        let folders = ["usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu"];
        env::join_paths(folders.map(|folder| self.folder.join(folder))).unwrap()
    }
}

fn read(path: &Path) -> Vec<u8> {
    fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
