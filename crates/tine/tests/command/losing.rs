//! Nothing is lost unasked, and what would be lost is told.

use crate::common::{Bench, tool};

#[test]
fn what_destroys_asks_first() {
    let bench = Bench::with_disk();
    bench.succeeds("tine snapshot disk@clean");
    bench.succeeds("head -c 8192 /dev/urandom | tine write disk --offset 1M");
    prints!(bench,
        "tine rollback disk@clean",
        "tine rollback disk@clean --keep broken",
        "tine rollback disk@clean",
        "tine rollback broken --json --yes",
        "tine drop disk broken",
        "tine resize disk 16k",
        "tine resize disk 16k --yes",
        "tine drop disk@clean --yes",
        "tine drop disk broken --yes",
        "tine ls";
        @r#"
    $ tine rollback disk@clean
    ! error: rolling `disk` back to `disk@clean` loses 8.0 KiB written since
    ! hint: nothing was changed; `--yes` does it all the same
    [2]
    $ tine rollback disk@clean --keep broken
    ! Rolled `disk` back to `disk@clean`; what it was is kept as `broken`
    [0]
    $ tine rollback disk@clean
    ! Rolled `disk` back to `disk@clean`; nothing was lost
    [0]
    $ tine rollback broken --json --yes
    {"name":"broken","to":"disk","lost":0,"kept":null}
    ! Rolled `broken` back to what it was forked from (`disk` then); nothing was lost
    [0]
    $ tine drop disk broken
    ! error: dropping `disk` and `broken` with their snapshot loses 1.0 MiB that nothing else has
    ! hint: nothing was changed; `--yes` does it all the same
    [2]
    $ tine resize disk 16k
    ! error: shrinking `disk` from 16.0 MiB to 16.0 KiB loses 1008.0 KiB of data beyond the new end
    ! hint: nothing was changed; `--yes` does it all the same
    [2]
    $ tine resize disk 16k --yes
    ! Resized `disk` from 16.0 MiB to 16.0 KiB
    [0]
    $ tine drop disk@clean --yes
    ! Dropped `disk@clean`
    [0]
    $ tine drop disk broken --yes
    ! Dropped `disk` and `broken`
    [0]
    $ tine ls
    ! No branches yet; `tine import FILE NAME` brings a disk in
    [0]
    "#);
}

#[test]
fn a_rollback_names_the_origin_as_it_was() {
    let bench = Bench::with_disk();
    bench.succeeds(
        "tine fork disk web && head -c 1M /dev/zero | tine write disk && printf x | tine write web",
    );
    prints!(bench,
        "tine rollback web",
        "tine rollback web --yes --json",
        "tine diff disk web --exit-code --quiet";
        @r#"
    $ tine rollback web
    ! error: rolling `web` back to what it was forked from (`disk` then) loses 4.0 KiB written since
    ! hint: nothing was changed; `--yes` does it all the same
    [2]
    $ tine rollback web --yes --json
    {"name":"web","to":"disk","lost":4096,"kept":null}
    ! Rolled `web` back to what it was forked from (`disk` then); 4.0 KiB written since are gone
    [0]
    $ tine diff disk web --exit-code --quiet
    [1]
    "#);
}

#[test]
fn dropping_says_truly_what_is_lost() {
    let bench = Bench::with_disk();
    bench.succeeds("tine create empty 1M && tine fork disk web");
    prints!(bench,
        "tine drop empty",
        "tine drop web",
        "tine drop disk web";
        @"
    $ tine drop empty
    ! error: dropping `empty` loses no data: none was written
    ! hint: nothing was changed; `--yes` does it all the same
    [2]
    $ tine drop web
    ! error: dropping `web` loses nothing but the name: `disk` is the same disk
    ! hint: nothing was changed; `--yes` does it all the same
    [2]
    $ tine drop disk web
    ! error: dropping `disk` and `web` loses 1.0 MiB that nothing else has
    ! hint: nothing was changed; `--yes` does it all the same
    [2]
    ");
    bench.succeeds("printf x | tine write web");
    prints!(bench, "tine drop web", "tine drop disk", "tine drop web disk"; @"
    $ tine drop web
    ! error: dropping `web` loses 4.0 KiB that nothing else has
    ! hint: nothing was changed; `--yes` does it all the same
    [2]
    $ tine drop disk
    ! error: dropping `disk` loses what others have overwritten since and only it has still
    ! hint: nothing was changed; `--yes` does it all the same
    [2]
    $ tine drop web disk
    ! error: dropping `web` and `disk` loses 1.0 MiB that nothing else has
    ! hint: nothing was changed; `--yes` does it all the same
    [2]
    ");
    bench.succeeds("tine snapshot disk@v1 && printf y | tine write disk --offset 1000");
    prints!(bench, "tine drop web", "tine drop disk", "tine drop disk@v1", "tine drop disk@v1 web"; @"
    $ tine drop web
    ! error: dropping `web` loses 4.0 KiB that nothing else has
    ! hint: nothing was changed; `--yes` does it all the same
    [2]
    $ tine drop disk
    ! error: dropping `disk` with its snapshot loses 4.0 KiB that nothing else has, and what others have overwritten since and only it has still
    ! hint: nothing was changed; `--yes` does it all the same
    [2]
    $ tine drop disk@v1
    ! error: dropping `disk@v1` loses what others have overwritten since and only it has still
    ! hint: nothing was changed; `--yes` does it all the same
    [2]
    $ tine drop disk@v1 web
    ! error: dropping `web` and `disk@v1` loses 4.0 KiB that nothing else has, and what others have overwritten since and only they have still
    ! hint: nothing was changed; `--yes` does it all the same
    [2]
    ");
}

#[test]
fn zeroes_over_shared_data_are_no_written_bytes_but_no_twin_either() {
    let bench = Bench::with_disk();
    bench.succeeds("tine fork disk web && head -c 1M /dev/zero | tine write disk");
    prints!(bench, "tine ls --json | grep -c '\"written\":0'", "tine drop web"; @r#"
    $ tine ls --json | grep -c '"written":0'
    2
    [0]
    $ tine drop web
    ! error: dropping `web` loses what others have overwritten since and only it has still
    ! hint: nothing was changed; `--yes` does it all the same
    [2]
    "#);
}

#[test]
fn zeroes_and_another_size_are_lost_like_data() {
    let bench = Bench::with_disk();
    bench.succeeds("tine fork disk zeroed --quiet && head -c 1M /dev/zero | tine write zeroed");
    bench.succeeds("tine fork disk longer && tine resize longer 32M");
    bench.succeeds("tine fork disk back && tine snapshot back@s && head -c 8k /dev/zero | tine write back");
    prints!(bench,
        "tine rollback zeroed",
        "tine rollback longer",
        "tine rollback back",
        "tine drop zeroed",
        "tine drop longer back",
        "tine rollback zeroed --keep kept",
        "tine rollback zeroed",
        "tine rollback longer --yes --json",
        "tine rollback back@s --yes --json",
        "tine rollback back --json",
        "tine drop zeroed";
        @r#"
    $ tine rollback zeroed
    ! error: rolling `zeroed` back to what it was forked from (`disk` then) loses changes to 1.0 MiB since: zeroes, discards or another size
    ! hint: nothing was changed; `--yes` does it all the same
    [2]
    $ tine rollback longer
    ! error: rolling `longer` back to what it was forked from (`disk` then) loses changes to 16.0 MiB since: zeroes, discards or another size
    ! hint: nothing was changed; `--yes` does it all the same
    [2]
    $ tine rollback back
    ! error: rolling `back` back to what it was forked from (`disk` then) loses changes to 8.0 KiB since: zeroes, discards or another size
    ! hint: nothing was changed; `--yes` does it all the same
    [2]
    $ tine drop zeroed
    ! error: dropping `zeroed` loses changes to 1.0 MiB that nothing else has: zeroes, discards or another size
    ! hint: nothing was changed; `--yes` does it all the same
    [2]
    $ tine drop longer back
    ! error: dropping `longer` and `back` with their snapshot loses changes to 16.0 MiB that nothing else has: zeroes, discards or another size
    ! hint: nothing was changed; `--yes` does it all the same
    [2]
    $ tine rollback zeroed --keep kept
    ! Rolled `zeroed` back to what it was forked from (`disk` then); what it was is kept as `kept`
    [0]
    $ tine rollback zeroed
    ! Rolled `zeroed` back to what it was forked from (`disk` then); nothing was lost
    [0]
    $ tine rollback longer --yes --json
    {"name":"longer","to":"disk","lost":16777216,"kept":null}
    ! Rolled `longer` back to what it was forked from (`disk` then); changes to 16.0 MiB since are gone
    [0]
    $ tine rollback back@s --yes --json
    {"name":"back","to":"back@s","lost":8192,"kept":null}
    ! Rolled `back` back to `back@s`; changes to 8.0 KiB since are gone
    [0]
    $ tine rollback back --json
    {"name":"back","to":"disk","lost":0,"kept":null}
    ! Rolled `back` back to what it was forked from (`disk` then); nothing was lost
    [0]
    $ tine drop zeroed
    ! error: dropping `zeroed` loses nothing but the name: `back@s` is the same disk
    ! hint: nothing was changed; `--yes` does it all the same
    [2]
    "#);
}

#[test]
fn everything_dropped_is_named_in_json() {
    let bench = Bench::with_disk();
    bench.succeeds("tine fork disk web && tine snapshot disk@a disk@b web@a");
    prints!(bench,
        "tine drop web@a disk@a disk disk --yes --json",
        "tine drop web nowhere --yes --json",
        "tine drop web@b web --yes --json",
        "tine drop web --yes --json";
        @r#"
    $ tine drop web@a disk@a disk disk --yes --json
    {"name":"disk"}
    {"name":"disk","snapshot":"a"}
    {"name":"disk","snapshot":"b"}
    {"name":"web","snapshot":"a"}
    ! Dropped `disk` and `web@a` with their 2 snapshots
    [0]
    $ tine drop web nowhere --yes --json
    ! error: no branch named `nowhere`
    ! hint: `tine ls` shows all branches
    [2]
    $ tine drop web@b web --yes --json
    ! error: branch `web` has no snapshot named `b`
    ! hint: `web` has no snapshots; `tine snapshot web@NAME` makes one
    [2]
    $ tine drop web --yes --json
    {"name":"web"}
    ! Dropped `web`
    [0]
    "#);
}

#[test]
fn on_a_terminal_the_answer_decides() {
    if tool("script").is_none() {
        return eprintln!("skipped: script is needed (package bsdutils)");
    }
    let bench = Bench::with_disk();
    let answer = |answer: &str| {
        let line = format!("(sleep 0.1; echo {answer}) | NO_COLOR=1 script -qec 'tine drop disk' /dev/null");
        let output = bench.run(&line);
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let question = "dropping `disk` loses 1.0 MiB that nothing else has\r\nGo on? [y/N] ";
    for refusal in ["n", "''", "yess"] {
        let (status, shown) = answer(refusal);
        assert_eq!(status, Some(2), "{refusal}: {shown}");
        assert!(shown.contains(question), "{shown:?}");
        assert!(shown.contains("not confirmed: nothing was changed"), "{shown:?}");
    }
    assert_eq!(bench.succeeds("tine ls --json").lines().count(), 1);
    let (status, shown) = answer("y");
    assert_eq!(status, Some(0), "{shown}");
    assert!(
        shown.contains(question) && shown.contains("Dropped `disk`"),
        "{shown:?}"
    );
    assert_eq!(bench.succeeds("tine ls --json"), "");
}
