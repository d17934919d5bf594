//! Forks and their names; hints about names.

use crate::common::Bench;

#[test]
fn forks_are_named_and_told() {
    let bench = Bench::with_disk();
    prints!(bench,
        "tine fork disk",
        "tine fork disk --count 2",
        "tine fork disk-3 web",
        "tine fork disk --count 2 job --quiet",
        "tine fork disk@nowhere",
        "tine fork disk web",
        "tine fork dsk --json",
        "tine fork web other --json";
        @r#"
    $ tine fork disk
    disk-1
    ! Forked `disk` as `disk-1` (shares 16.0 MiB)
    [0]
    $ tine fork disk --count 2
    disk-2
    disk-3
    ! Forked `disk` as `disk-2` to `disk-3` (2 branches, each shares 16.0 MiB)
    [0]
    $ tine fork disk-3 web
    ! Forked `disk-3` as `web` (shares 16.0 MiB)
    [0]
    $ tine fork disk --count 2 job --quiet
    job-1
    job-2
    [0]
    $ tine fork disk@nowhere
    ! error: branch `disk` has no snapshot named `nowhere`
    ! hint: `disk` has no snapshots; `tine snapshot disk@NAME` makes one
    [2]
    $ tine fork disk web
    ! error: there is already a branch named `web`
    ! hint: choose another name, or `tine drop web` first
    [2]
    $ tine fork dsk --json
    ! error: no branch named `dsk`
    ! hint: did you mean `disk`? `tine ls` shows all branches
    [2]
    $ tine fork web other --json
    {"name":"other","origin":"web","size":16777216}
    ! Forked `web` as `other` (shares 16.0 MiB)
    [0]
    "#);
}

#[test]
fn no_hint_drops_what_it_is_about() {
    let bench = Bench::with_disk();
    bench.succeeds("tine fork disk web && tine snapshot web@clean");
    prints!(bench,
        "tine rename web web",
        "tine fork web web",
        "tine fork web@clean web",
        "tine rollback web@clean --keep web",
        "tine fork disk web";
        @"
    $ tine rename web web
    ! error: there is already a branch named `web`
    ! hint: choose another name
    [2]
    $ tine fork web web
    ! error: there is already a branch named `web`
    ! hint: choose another name
    [2]
    $ tine fork web@clean web
    ! error: there is already a branch named `web`
    ! hint: choose another name
    [2]
    $ tine rollback web@clean --keep web
    ! error: there is already a branch named `web`
    ! hint: choose another name
    [2]
    $ tine fork disk web
    ! error: there is already a branch named `web`
    ! hint: choose another name, or `tine drop web` first
    [2]
    ");
}

#[test]
fn as_many_forks_as_promised_fit_into_one_call() {
    let bench = Bench::new();
    let long = |first: &str, length: usize| format!("{first}{}", "x".repeat(length - 1));
    let (source, fork) = (long("s", 128), long("f", 123));
    bench.succeeds(&format!(
        "tine create {source} 1M && tine snapshot {source}@{source}"
    ));
    bench.succeeds(&format!("tine fork {source}@{source} {fork} --count 9000"));
    bench.succeeds("tine create d 1M && tine fork d --count 65000 e");
    let refused = bench.run(&format!("tine fork {source} --count 50000 e2"));
    assert_eq!(
        String::from_utf8(refused.stderr).unwrap(),
        "error: 50000 forks with names as long are too many at once\n\
         hint: make them in several calls; 9000 at once fit with any names\n"
    );
}
