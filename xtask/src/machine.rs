//! The parts of a virtual machine for the tests: QEMU with what it needs, a kernel with its drivers, busybox; the program
//! that attaches NBD disks to a kernel, and libvirt.
//!
//! They come from Debian's packages, but are unpacked into a folder instead of being installed: Debian's QEMU may be
//! older than tools that the machine has from elsewhere, and would take their place.
//!
//! ```text
//! target/vm/packages    where all this comes from, a package file a line
//!           vmlinuz     the kernel
//!           modules/    its drivers for virtio, and its NBD client
//!           usr/ lib/   QEMU, its firmware, and the libraries that the machine lacks
//!                       and libvirt
//!           bin/ sbin/  busybox, nbd-client
//! ```
//!
//! **Invariant:** the folder has its name only when it is whole, and nothing outside it changes.

use std::collections::HashSet;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{Result, install, shell};

/// What is wanted; what these depend on comes along.
///
/// The cloud kernel is the smallest that Debian builds, and has ext4 built in.
const WANTED: &[&str] = &[
    "qemu-system-x86",
    "linux-image-cloud-amd64",
    "busybox-static",
    "nbd-client",
    "libvirt-daemon",
    "libvirt-clients",
];

/// Where a machine's drivers are in a kernel's `kernel/`; each is a folder or a file.
const DRIVERS: &[&str] = &[
    "drivers/virtio",
    "drivers/block/virtio_blk.ko",
    "drivers/block/nbd.ko",
    "drivers/net/virtio_net.ko",
    "drivers/net/net_failover.ko",
    "net/core/failover.ko",
];

/// Where Debian's programs for this machine have their libraries.
const LIBRARIES: &[&str] = &["usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu"];

/// Fetches and unpacks the parts, unless they are there.
///
/// # Errors
///
/// When they cannot be had: the reason, for people.
pub(crate) fn install() -> Result {
    let folder = folder();
    if is_whole(&folder) {
        return Ok(());
    }
    if !cfg!(target_arch = "x86_64") {
        return Err("its kernel and QEMU are for x86-64".into());
    }
    for program in ["apt-get", "dpkg-deb", "dpkg-query"] {
        if shell::find(program).is_none() {
            return Err(format!("its parts are Debian packages, and there is no {program}").into());
        }
    }
    // The lists of packages may be absent, or older than what is to be had.
    fetch(&folder).or_else(|_| {
        install::update_lists();
        fetch(&folder)
    })
}

/// Returns where the parts are.
pub(crate) fn folder() -> PathBuf {
    shell::target_dir().join("vm")
}

/// Tells whether all is there that is wanted by now: an older setup fetched less.
fn is_whole(folder: &Path) -> bool {
    let Ok(packages) = fs::read_to_string(folder.join("packages")) else {
        return false;
    };
    let modules = folder.join("modules");
    WANTED.iter().all(|wanted| {
        packages
            .lines()
            .any(|file| file.split('_').next() == Some(wanted))
    }) && DRIVERS
        .iter()
        .filter(|driver| driver.ends_with(".ko"))
        .all(|driver| {
            Path::new(driver)
                .file_name()
                .is_some_and(|name| modules.join(name).is_file())
        })
}

fn fetch(folder: &Path) -> Result {
    let new = folder.with_extension("new");
    let _ = fs::remove_dir_all(&new);
    let packages = new.join("deb");
    fs::create_dir_all(&packages)?;

    let mut download = apt();
    // Root would otherwise do it as a user who may not write here.
    download
        .args(["-qq", "-o", "APT::Sandbox::User=root", "download"])
        .args(missing(&new)?)
        .current_dir(&packages);
    shell::run(&mut download)?;
    let mut files: Vec<OsString> = fs::read_dir(&packages)?
        .map(|entry| Ok(entry?.file_name()))
        .collect::<Result<_>>()?;
    files.sort_unstable();
    for file in &files {
        let unpacked = shell::ask(
            shell::command("dpkg-deb")
                .arg("-x")
                .arg(packages.join(file))
                .arg(&new),
        );
        unpacked.ok_or_else(|| format!("{} cannot be unpacked", file.display()))?;
    }
    sort_out_kernel(&new)?;
    check_qemu(&new)?;

    fs::remove_dir_all(&packages)?;
    let names: Vec<_> = files
        .iter()
        .map(|file| file.to_string_lossy().into_owned() + "\n")
        .collect();
    fs::write(new.join("packages"), names.concat())?;
    if folder.exists() {
        fs::remove_dir_all(folder)?;
    }
    fs::rename(&new, folder)?;
    eprintln!("unpacked into {}: {} packages", folder.display(), files.len());
    Ok(())
}

fn apt() -> Command {
    let mut apt = shell::command("apt-get");
    apt.env("LC_ALL", "C");
    apt
}

/// Returns the packages that this machine would need for those that are wanted, were it to have them.
fn missing(scratch: &Path) -> Result<Vec<String>> {
    // As if nothing were installed: what is there cannot be in the way then.
    let nothing = scratch.join("nothing");
    fs::write(&nothing, "")?;
    let mut plan = apt();
    plan.arg("-s")
        .arg("-o")
        .arg(format!("Dir::State::status={}", nothing.display()))
        // A cache of this state would be wrong for all others.
        .args(["-o", "Dir::Cache::pkgcache=", "-o", "Dir::Cache::srcpkgcache="])
        .args(["install", "--no-install-recommends"])
        .args(WANTED);
    let plan = shell::read(&mut plan)?;
    let mut query = shell::command("dpkg-query");
    let installed = shell::read(query.args(["-W", "-f", "${db:Status-Status} ${Package}\\n"]))?;
    fs::remove_file(nothing)?;
    Ok(added(&plan, &installed))
}

/// Returns the packages of `plan`, what `apt-get -s install` printed, that are not `installed`; and those that are wanted, which
/// are looked for in the folder alone.
fn added(plan: &str, installed: &str) -> Vec<String> {
    let installed: HashSet<_> = installed
        .lines()
        .filter_map(|line| line.strip_prefix("installed "))
        .collect();
    plan.lines()
        .filter_map(|line| line.strip_prefix("Inst ")?.split_whitespace().next())
        .filter(|name| WANTED.contains(name) || !installed.contains(name))
        .map(str::to_owned)
        .collect()
}

/// Puts the kernel and its drivers where they are looked for, and removes the rest of it: most of all the bytes.
fn sort_out_kernel(new: &Path) -> Result {
    let kernel = only_in(&new.join("lib/modules"), |_| true)?;
    let vmlinuz = only_in(&new.join("boot"), |name| name.starts_with("vmlinuz-"))?;
    fs::rename(vmlinuz, new.join("vmlinuz"))?;
    let modules = new.join("modules");
    fs::create_dir(&modules)?;
    for driver in DRIVERS {
        let driver = kernel.join("kernel").join(driver);
        let files = if driver.is_dir() {
            let entries = fs::read_dir(&driver)?;
            entries
                .map(|entry| Ok(entry?.path()))
                .collect::<Result<Vec<_>>>()?
        } else {
            vec![driver]
        };
        for file in files {
            let name = file.file_name().unwrap_or(file.as_os_str());
            fs::rename(&file, modules.join(name)).map_err(|error| format!("{}: {error}", file.display()))?;
        }
    }
    fs::remove_dir_all(new.join("lib/modules"))?;
    fs::remove_dir_all(new.join("boot"))?;
    Ok(())
}

/// Returns the entry of a folder whose name is the right one.
fn only_in(folder: &Path, is_right: fn(&str) -> bool) -> Result<PathBuf> {
    let entries = fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    for entry in entries {
        let entry = entry?;
        if is_right(&entry.file_name().to_string_lossy()) {
            return Ok(entry.path());
        }
    }
    Err(format!("what is looked for in {} is not there", folder.display()).into())
}

/// Makes sure that QEMU finds all that it is linked with.
fn check_qemu(new: &Path) -> Result {
    let libraries = std::env::join_paths(LIBRARIES.iter().map(|folder| new.join(folder)))?;
    let mut qemu = shell::command(new.join("usr/bin/qemu-system-x86_64"));
    qemu.arg("--version").env("LD_LIBRARY_PATH", libraries);
    shell::run_quietly(&mut qemu)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_installed_is_not_fetched() {
        let plan = "Reading package lists...\n\
                    Inst libc6 (2.36-9 Debian:12.14/oldstable [amd64]) []\n\
                    Inst seabios (1.16.2-1 Debian:12.14/oldstable [all])\n\
                    Inst cpio (2.13 Debian:12.14/oldstable [amd64])\n\
                    Inst nbd-client (1:3.24-1.1 Debian:12.14/oldstable [amd64])\n\
                    Conf seabios (1.16.2-1 Debian:12.14/oldstable [all])\n";
        let installed = "installed libc6\nconfig-files cpio\ninstalled nbd-client\n";
        assert_eq!(added(plan, installed), ["seabios", "cpio", "nbd-client"]);
    }

    #[test]
    fn what_an_older_setup_left_is_not_whole() {
        let folder = std::env::temp_dir().join(format!("machine-{}", std::process::id()));
        fs::create_dir_all(folder.join("modules")).unwrap();
        let listed = WANTED
            .iter()
            .map(|name| format!("{name}_1_amd64.deb\n"))
            .collect::<String>();
        fs::write(folder.join("packages"), &listed).unwrap();
        for driver in DRIVERS {
            assert!(!is_whole(&folder), "without {driver}");
            fs::write(
                folder
                    .join("modules")
                    .join(Path::new(driver).file_name().unwrap()),
                "",
            )
            .unwrap();
        }
        assert!(is_whole(&folder));
        fs::write(folder.join("packages"), listed.replace("nbd-client", "")).unwrap();
        assert!(!is_whole(&folder));
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn what_is_not_there_is_named() {
        let error = only_in(&shell::root().join("xtask"), |name| name == "nothing").unwrap_err();
        assert!(error.to_string().contains("xtask"), "{error}");
    }
}
