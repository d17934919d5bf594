//! Goal: a virtual machine has a fork for its disk, and what it synced is there whatever ends it.
//!
//! Method: QEMU boots Debian's kernel with an initramfs of ours ([`parts`], [`initramfs`]) and a fork as its disk. The
//! guest ([`guest`], `init`) writes files and tells on a serial line what it has synced; then it is cut off, or the
//! daemon is killed, and a machine that boots again must find all of it ([`told`]). The file system is judged by the
//! guest's kernel, which mounts it and replays its journal, and by e2fsck here.
//!
//! QEMU interprets the guest (TCG), so this needs no KVM. `cargo xtask setup` fetches the parts.
//!
//! That killing the daemon shows a flush that was lost: `cargo xtask test planted` plants one (`tine_store::planted`), in the
//! daemon alone, and [`a_planted_bug_is_caught`].

#[path = "../common/mod.rs"]
mod common;

mod bed;
mod guest;
mod initramfs;
mod libvirt;
mod parts;
mod told;

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};

use bed::Bed;
use common::daemon::Daemon;
use guest::Guest;
use told::Told;

/// More than a guest writes while a test looks.
const ENDLESS: u32 = 1_000_000;

#[test]
fn a_guest_that_is_cut_off_finds_what_it_synced() {
    let Some(bed) = Bed::with_golden("a_guest_that_is_cut_off_finds_what_it_synced") else {
        return;
    };
    let daemon = Daemon::start(&bed.bench, "");
    bed.bench.succeeds("tine fork golden a && tine fork golden b");
    let mut told = bed.golden();

    let mut guest = bed.boot(&[&daemon.uri("a")]);
    guest.mount("vda");
    told.check(guest.sums());
    guest.write("first", ENDLESS);
    told.listen_into_midst(&guest, 24);
    told.listen_to_cut(guest);
    bed.is_crash_consistent("a");

    let mut guest = bed.boot(&[&daemon.uri("a")]);
    guest.mount("vda");
    assert!(
        guest.console().contains("recovery complete"),
        "{}",
        guest.console()
    );
    told.check(guest.sums());
    guest.write("second", 3);
    told.listen_to_end(&guest);
    told.check(guest.sums());
    guest.unmount();
    assert!(guest.power_off().success());
    bed.is_clean("a");

    let mut guest = bed.boot(&[&daemon.uri("b"), &daemon.uri("a+fork")]);
    guest.mount("vda");
    bed.golden().check(guest.sums());
    guest.unmount();
    guest.mount("vdb");
    told.check(guest.sums());
    guest.unmount();
    assert!(guest.power_off().success());
    bed.is_clean("b");

    bed.golden_is_as_it_was();
    daemon.stop();
    bed.bench.succeeds("tine check --data");
}

#[test]
fn what_a_guest_synced_outlives_the_daemon() {
    let Some(bed) = Bed::with_golden("what_a_guest_synced_outlives_the_daemon") else {
        return;
    };
    let (daemon, mut guest, mut told) = kill_the_daemon_of_a_guest(&bed, ":");

    // One that ends well has saved all that it has acknowledged, so a client that waits for the next goes on with it.
    guest.write("second", 16);
    told.listen(&guest, 6);
    daemon.stop();
    let daemon = Daemon::start(&bed.bench, "");
    told.listen_to_end(&guest);
    told.check(guest.sums());
    guest.unmount();
    assert!(guest.power_off().success());
    daemon.stop();
    bed.is_clean("a");
    bed.golden_is_as_it_was();
    bed.bench.succeeds("tine check --data");
}

/// Kills a daemon while a guest writes to `a`; the shell that starts it does something first. Finds all that the guest has
/// synced, in a machine that boots on `a` by another daemon.
fn kill_the_daemon_of_a_guest(bed: &Bed, first: &str) -> (Daemon, Guest, Told) {
    bed.bench.succeeds("tine fork golden a");
    let daemon = Daemon::start_after(&bed.bench, first, "");
    let mut told = bed.golden();
    let mut guest = bed.boot(&[&daemon.uri("a")]);
    guest.mount("vda");
    guest.write("first", ENDLESS);
    told.listen_into_midst(&guest, 24);
    daemon.end("-KILL");
    // For the guest it is a disk that has gone.
    told.listen_to_failure(&guest);
    guest.cut_off();
    bed.is_crash_consistent("a");

    let daemon = Daemon::start(&bed.bench, "");
    let mut guest = bed.boot_patiently(&daemon, "a");
    guest.mount("vda");
    told.check(guest.sums());
    (daemon, guest, told)
}

/// What [`what_a_guest_synced_outlives_the_daemon`] looks at is lost when the daemon that is killed has the bug that
/// TINE_PLANTED_BUG names, by `--features tine-store/planted-bugs` in the binary; nothing else has it.
#[test]
fn a_planted_bug_is_caught() {
    let test = "a_planted_bug_is_caught";
    let Ok(bug) = std::env::var("TINE_PLANTED_BUG") else {
        println!("skipped: {test}: TINE_PLANTED_BUG names none");
        return;
    };
    let Some(bed) = Bed::with_golden(test) else {
        return;
    };
    let first = format!("export TINE_PLANTED_BUG={bug}");
    let survived = catch_unwind(AssertUnwindSafe(|| {
        drop(kill_the_daemon_of_a_guest(&bed, &first));
    }));
    let Err(panic) = survived else {
        panic!("the bug was not caught");
    };
    let words = panic.downcast::<String>().expect("an assertion with words");
    let of_the_disk = ["synced and not there", "e2fsck", "the guest failed"];
    assert!(of_the_disk.iter().any(|part| words.contains(part)), "{words}");
    println!("caught: {}", words.lines().next().unwrap_or_default());
}

#[test]
fn libvirt_keeps_a_machine_on_a_fork() {
    let test = "libvirt_keeps_a_machine_on_a_fork";
    let Some(bed) = Bed::with_golden(test).filter(|bed| bed.parts.can_unshare_or_skip(test)) else {
        return;
    };
    let daemon = Daemon::start(&bed.bench, "");
    bed.bench.succeeds("tine fork golden a");
    let mut told = bed.golden();
    let (mut guest, _kept) = libvirt::boot(&bed, &daemon, "a");
    guest.mount("vda");
    told.check(guest.sums());
    guest.write("first", 6);
    told.listen_to_end(&guest);
    told.check(guest.sums());
    guest.unmount();
    assert!(guest.power_off().success());
    bed.is_clean("a");
    let mut guest = bed.boot(&[&daemon.uri("a")]);
    guest.mount("vda");
    told.check(guest.sums());
    guest.unmount();
    assert!(guest.power_off().success());
    bed.golden_is_as_it_was();
    daemon.stop();
}

#[test]
fn a_kernel_attaches_a_disk_by_its_own_client() {
    let test = "a_kernel_attaches_a_disk_by_its_own_client";
    if let Some(missing) = ["nbdcopy", "qemu-img"]
        .into_iter()
        .find(|program| common::tool(program).is_none())
    {
        println!("skipped: {test}: no {missing}");
        return;
    }
    let Some(bed) = Bed::with_golden(test) else {
        return;
    };
    let serve = || {
        let daemon = Daemon::start(&bed.bench, "--listen 127.0.0.1:0 --insecure-loopback");
        let listens = daemon.announced["listen"].as_str().unwrap().rsplit(':').next();
        let port: u64 = listens.unwrap().parse().unwrap();
        (daemon, port)
    };
    let (daemon, port) = serve();
    bed.bench.succeeds("tine fork golden a");
    let mut told = bed.golden();
    let mut guest = bed.boot_with_network();
    assert_eq!(guest.attach("nbd0", port, "a"), 64 << 20);
    guest.mount("nbd0");
    told.check(guest.sums());
    guest.write("first", 6);
    told.listen_to_end(&guest);
    guest.unmount();
    guest.detach("nbd0");

    // What the kernel wrote is what others read, and what it reads when it comes back.
    daemon.wait_until("it has left", || {
        !bed.bench.succeeds("tine stats --json").contains("127.0.0.1")
    });
    let outside = bed.sum_from_outside(&daemon.uri("a"));
    bed.is_clean("a");
    guest.attach("nbd0", port, "a");
    assert_eq!(guest.sum_of("nbd0"), outside);
    guest.mount("nbd0");
    told.check(guest.sums());

    // What it synced outlives the daemon.
    guest.write("second", ENDLESS);
    told.listen_into_midst(&guest, 6);
    daemon.end("-KILL");
    told.listen_to_failure(&guest);
    guest.unmount();
    guest.detach("nbd0");
    bed.is_crash_consistent("a");
    let (daemon, port) = serve();
    guest.attach("nbd1", port, "a");
    guest.mount("nbd1");
    told.check(guest.sums());
    guest.unmount();
    guest.detach("nbd1");
    // One that is to be read alone is that to the kernel, too.
    bed.bench.succeeds("tine snapshot a@done");
    guest.attach("nbd2", port, "a@done");
    let outside = bed.sum_from_outside(&daemon.uri("a@done"));
    assert_eq!(guest.sum_of("nbd2"), outside);
    guest.detach("nbd2");
    assert!(guest.power_off().success());
    daemon.stop();
    bed.is_clean("a");
    bed.golden_is_as_it_was();
    bed.bench.succeeds("tine check --data");
}

#[test]
fn a_snapshot_of_a_running_guest_is_crash_consistent() {
    let Some(bed) = Bed::with_golden("a_snapshot_of_a_running_guest_is_crash_consistent") else {
        return;
    };
    let daemon = Daemon::start(&bed.bench, "");
    bed.bench.succeeds("tine fork golden a");
    let mut told = bed.golden();
    let mut guest = bed.boot(&[&daemon.uri("a")]);
    guest.mount("vda");
    guest.write("first", ENDLESS);
    told.listen(&guest, 24);
    let before = told.clone();
    bed.bench.succeeds("tine snapshot a@live");
    // What is heard of from now on may be in it or not.
    let mut touched = told.listen(&guest, 12);
    touched.extend(told.listen_to_cut(guest));
    let mut at_live = before.but_for(touched);
    bed.is_crash_consistent("a@live");

    let mut guest = bed.boot(&[&daemon.uri("a@live+fork"), &daemon.uri("a")]);
    guest.mount("vda");
    at_live.check(guest.sums());
    guest.unmount();
    guest.mount("vdb");
    told.check(guest.sums());
    guest.unmount();
    assert!(guest.power_off().success());
    bed.golden_is_as_it_was();
    daemon.stop();
}

#[test]
fn a_snapshot_of_two_disks_of_a_guest_is_of_one_instant() {
    let Some(bed) = Bed::with_golden("a_snapshot_of_two_disks_of_a_guest_is_of_one_instant") else {
        return;
    };
    let daemon = Daemon::start(&bed.bench, "");
    bed.bench.succeeds("tine create a 1M && tine create b 1M");
    let mut guest = bed.boot(&[&daemon.uri("a"), &daemon.uri("b")]);
    guest.count("vda", "vdb", 300);
    let mut snapshots = 0;
    while !guest.has_counted() {
        bed.bench
            .succeeds(&format!("tine snapshot a@s{snapshots} b@s{snapshots} --quiet"));
        snapshots += 1;
    }
    assert!(guest.power_off().success());
    let number = |disk: &str, snapshot: u32| -> u32 {
        let bytes = bed
            .bench
            .succeeds(&format!("tine read {disk}@s{snapshot} --length 8 | tr -d '\\0'"));
        if bytes.is_empty() {
            0
        } else {
            bytes.parse().unwrap()
        }
    };
    let mut seen = BTreeSet::new();
    for snapshot in 0..snapshots {
        let (a, b) = (number("a", snapshot), number("b", snapshot));
        assert!(a == b || a == b + 1, "`a` has {a}, and `b` {b} by then");
        seen.insert((a, a == b));
    }
    // While it counted, and on both sides of the step from one disk to the other.
    assert!(seen.len() > 4, "{seen:?}");
    assert!(
        seen.iter().any(|(_, same)| *same) && seen.iter().any(|(_, same)| !*same),
        "{seen:?}"
    );
    daemon.stop();
}

#[test]
fn attach_gives_a_guest_a_fork_and_keeps_or_drops_it() {
    let Some(bed) = Bed::with_golden("attach_gives_a_guest_a_fork_and_keeps_or_drops_it") else {
        return;
    };
    let mut told = bed.golden();
    let mut guest = bed.attach("golden+fork --keep kept");
    guest.mount("vda");
    told.check(guest.sums());
    guest.write("first", 3);
    told.listen_to_end(&guest);
    guest.unmount();
    assert!(guest.power_off().success(), "the exit status is the machine's");
    bed.is_clean("kept");
    bed.golden_is_as_it_was();

    let mut guest = bed.attach("kept");
    guest.mount("vda");
    told.check(guest.sums());
    guest.unmount();
    assert!(guest.power_off().success());

    let names = || {
        bed.bench
            .succeeds("tine ls --json | grep -o '^{\"name\":\"[^\"]*\"'")
    };
    let before = names();
    let mut guest = bed.attach("kept+fork --drop");
    guest.mount("vda");
    guest.write("dropped", 3);
    told.clone().listen_to_end(&guest);
    guest.unmount();
    assert!(guest.power_off().success());
    assert_eq!(names(), before, "nothing is left of it");
    let mut guest = bed.attach("kept");
    guest.mount("vda");
    told.check(guest.sums());
    guest.unmount();
    assert!(guest.power_off().success());
    bed.bench.succeeds("tine check --data");
}
