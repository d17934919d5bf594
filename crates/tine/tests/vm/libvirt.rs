//! A machine of libvirt's, whose disk is what docs/serving.md says.

use std::fs;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use crate::bed::Bed;
use crate::common::daemon::Daemon;
use crate::guest::{Guest, console};
use crate::parts::{LIBVIRTD, Parts, VIRSH};

/// What the machine is called.
const NAME: &str = "tine-test";

/// Seconds after which libvirt's daemon ends when it has no machine and nobody asks it anything.
const IDLE_SECONDS: &str = "3";

/// A machine that is libvirt's, whose end would not be that of a test that fails: it goes when this is dropped, before the
/// guest and with it libvirt's daemon.
pub(crate) struct Kept<'a> {
    bed: &'a Bed,
    folder: PathBuf,
}

impl Drop for Kept<'_> {
    fn drop(&mut self) {
        // It may have ended, and the daemon, too.
        let _ = virsh(self.bed, &self.folder, &["destroy", NAME]).output();
    }
}

/// Defines and starts a machine that has `export` for its disk.
pub(crate) fn boot<'a>(bed: &'a Bed, daemon: &Daemon, export: &str) -> (Guest, Kept<'a>) {
    let folder = bed.place();
    let emulator = folder.join("qemu");
    fs::write(&emulator, wrapper(&bed.parts)).unwrap();
    let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(&emulator, executable).unwrap();
    fs::write(folder.join("initramfs"), bed.parts.initramfs(false)).unwrap();
    fs::write(folder.join("machine.xml"), machine(bed, daemon, export, &folder)).unwrap();

    // Else another daemon would be needed, for what QEMU says.
    fs::create_dir(folder.join("libvirt")).unwrap();
    fs::write(folder.join("libvirt/qemu.conf"), "stdio_handler = \"file\"\n").unwrap();

    let log = fs::File::create(folder.join("libvirtd.log")).unwrap();
    let process = bed
        .parts
        .libvirt(LIBVIRTD, &folder)
        .args(["--timeout", IDLE_SECONDS])
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap();
    daemon.wait_until("libvirt listens", || folder.join("libvirt/libvirt-sock").exists());
    tell(bed, &folder, &["define", "--validate", "machine.xml"]);
    tell(bed, &folder, &["start", NAME]);
    let kept = Kept {
        bed,
        folder: folder.clone(),
    };
    let serial = folder.join("serial");
    daemon.wait_until("the machine has its serial line", || serial.exists());
    let stream = UnixStream::connect(serial).unwrap();
    let guest = Guest::over(process, stream.try_clone().unwrap(), stream, &folder);
    (guest, kept)
}

fn virsh(bed: &Bed, folder: &Path, words: &[&str]) -> Command {
    let mut virsh = bed.parts.libvirt(VIRSH, folder);
    virsh
        .args(["--connect", "qemu:///session"])
        .args(words)
        .current_dir(folder)
        .env("LIBVIRT_AUTOSTART", "0");
    virsh
}

/// Has virsh do something that must succeed.
fn tell(bed: &Bed, folder: &Path, words: &[&str]) {
    // It may not have begun to listen.
    for attempt in 0.. {
        let output = virsh(bed, folder, words).output().unwrap();
        if output.status.success() {
            return;
        }
        let said = String::from_utf8_lossy(&output.stderr);
        let log = fs::read_to_string(folder.join("libvirtd.log")).unwrap();
        assert!(
            said.contains("failed to connect") && attempt < 50,
            "virsh {words:?}: {said}\n{log}"
        );
        thread::sleep(Duration::from_millis(100));
    }
}

/// Returns a program that is the machine's QEMU, wherever it was unpacked.
fn wrapper(parts: &Parts) -> String {
    let qemu = parts.qemu();
    let mut script = "#!/bin/sh\n".to_owned();
    for (name, value) in qemu.get_envs() {
        let value = value.unwrap_or_default().display();
        script.push_str(&format!("export {}='{value}'\n", name.display()));
    }
    script.push_str(&format!("exec '{}'", qemu.get_program().display()));
    for argument in qemu.get_args() {
        script.push_str(&format!(" '{}'", argument.display()));
    }
    script + " \"$@\"\n"
}

/// Returns the description of the machine.
fn machine(bed: &Bed, daemon: &Daemon, export: &str, folder: &Path) -> String {
    let disk = documented_disk()
        .replace("/home/me/forks/nbd.sock", &daemon.socket.display().to_string())
        .replace("name='web1'", &format!("name='{export}'"));
    let (kernel, console) = (bed.parts.kernel(), console(folder));
    let (kernel, console, folder) = (kernel.display(), console.display(), folder.display());
    format!(
        "<domain type='qemu'>
  <name>{NAME}</name>
  <memory unit='MiB'>128</memory>
  <vcpu>1</vcpu>
  <os>
    <type arch='x86_64' machine='q35'>hvm</type>
    <kernel>{kernel}</kernel>
    <initrd>{folder}/initramfs</initrd>
    <cmdline>console=ttyS0 panic=-1</cmdline>
  </os>
  <features><acpi/></features>
  <on_reboot>destroy</on_reboot>
  <devices>
    <emulator>{folder}/qemu</emulator>
{disk}
    <serial type='file'><source path='{console}'/><target port='0'/></serial>
    <serial type='unix'><source mode='bind' path='{folder}/serial'/><target port='1'/></serial>
    <controller type='usb' model='none'/>
    <memballoon model='none'/>
  </devices>
  <seclabel type='none'/>
</domain>
"
    )
}

/// Returns the disk as docs/serving.md has it.
fn documented_disk() -> String {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/serving.md");
    let page = fs::read_to_string(page).unwrap();
    let (_, behind) = page.split_once("```xml\n").expect("what to tell libvirt");
    let (disk, _) = behind.split_once("```").expect("its end");
    disk.to_owned()
}
