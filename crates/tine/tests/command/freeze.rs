//! The hook around snapshots and forks: told to freeze, it is told to thaw.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::thread;
use std::time::{Duration, Instant};

use crate::common::Bench;

/// A disk, and a hook that notes what it is told, and then does `more`.
fn with_hook(more: &str) -> Bench {
    let bench = Bench::with_disk();
    let script = format!(
        "#!/bin/sh\necho \"$@\" >>{}\n{more}\n",
        bench.path("told").display()
    );
    fs::write(bench.path("hook"), script).unwrap();
    fs::set_permissions(bench.path("hook"), fs::Permissions::from_mode(0o755)).unwrap();
    bench
}

#[test]
fn a_hook_is_run_before_and_after() {
    let bench = with_hook("echo \"a hook says $1\"");
    bench.succeeds("tine create log 1M");
    prints!(bench,
        "tine snapshot disk@a log@a disk@b --freeze-hook ./hook",
        "tine fork disk --freeze-hook './hook --loud'",
        "tine fork disk@a --freeze-hook ./hook",
        "tine snapshot disk@a --freeze-hook ./hook",
        "cat told";
        @r#"
    $ tine snapshot disk@a log@a disk@b --freeze-hook ./hook
    ! a hook says freeze
    ! a hook says thaw
    ! Made `disk@a`, `log@a` and `disk@b`; `tine rollback disk@a` goes back to it
    [0]
    $ tine fork disk --freeze-hook './hook --loud'
    disk-1
    ! a hook says --loud
    ! a hook says --loud
    ! Forked `disk` as `disk-1` (shares 16.0 MiB)
    [0]
    $ tine fork disk@a --freeze-hook ./hook
    ! error: `disk@a` never changes: there is nothing to freeze
    ! hint: leave `--freeze-hook` out
    [2]
    $ tine snapshot disk@a --freeze-hook ./hook
    ! a hook says freeze
    ! a hook says thaw
    ! error: branch `disk` already has a snapshot named `a`
    ! hint: choose another name, or `tine drop disk@a` first
    [2]
    $ cat told
    freeze disk log
    thaw disk log
    --loud freeze disk
    --loud thaw disk
    freeze disk
    thaw disk
    [0]
    "#);
}

#[test]
fn a_hook_that_fails_is_told_all_the_same_to_thaw() {
    let bench = with_hook("[ $1 = thaw ]");
    prints!(bench,
        "tine snapshot disk@a --freeze-hook ./hook",
        "tine fork disk x --freeze-hook false",
        "tine show disk --json | grep -c '\"snapshots\":\\[\\]'",
        "cat told";
        @r#"
    $ tine snapshot disk@a --freeze-hook ./hook
    ! error: `./hook freeze` ended with exit status 1: nothing was taken
    ! hint: `./hook thaw` was run; without `--freeze-hook` it works, as after a power cut
    [2]
    $ tine fork disk x --freeze-hook false
    ! error: `false freeze` ended with exit status 1: nothing was taken
    ! hint: `false thaw` was run; without `--freeze-hook` it works, as after a power cut; `false thaw` failed, too: whoever was frozen may still be
    [2]
    $ tine show disk --json | grep -c '"snapshots":\[\]'
    1
    [0]
    $ cat told
    freeze disk
    thaw disk
    [0]
    "#);
    let bench = with_hook("[ $1 = freeze ]");
    prints!(bench, "tine snapshot disk@a --freeze-hook ./hook", "tine show disk@a -q | head -n 1", "cat told"; @r#"
    $ tine snapshot disk@a --freeze-hook ./hook
    ! error: it was done, but `./hook thaw` ended with exit status 1
    ! hint: whoever was frozen may still be: thaw them by hand
    [2]
    $ tine show disk@a -q | head -n 1
    disk@a
    [0]
    $ cat told
    freeze disk
    thaw disk
    [0]
    "#);
}

#[test]
fn an_interrupt_between_thaws_first() {
    let bench = with_hook("[ $1 = thaw ] || exec sleep 60");
    let mut child = bench
        .command("exec tine snapshot disk@a --freeze-hook ./hook")
        .spawn()
        .unwrap();
    let patience = Instant::now() + Duration::from_secs(20);
    while !fs::read_to_string(bench.path("told")).is_ok_and(|told| told.contains("freeze disk")) {
        assert!(Instant::now() < patience, "the hook is run");
        thread::sleep(Duration::from_millis(5));
    }
    // Twice: the second does not end it either, before the thaw.
    for _ in 0..2 {
        bench.succeeds(&format!("kill -INT {}", child.id()));
    }
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert_eq!(
        fs::read_to_string(bench.path("told")).unwrap(),
        "freeze disk\nthaw disk\n"
    );
    assert!(!bench.succeeds("tine show disk").contains("disk@a"));
}
