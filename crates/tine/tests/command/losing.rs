//! Nothing is lost unasked, and what would be lost is told.

use crate::common::Bench;

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
    ! hint: `--yes` does it all the same
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
    ! error: dropping `disk` and `broken` loses 1.0 MiB that nothing else has, and 1 snapshot
    ! hint: `--yes` does it all the same
    [2]
    $ tine resize disk 16k
    ! error: shrinking `disk` from 16.0 MiB to 16.0 KiB loses 1008.0 KiB of data beyond the new end
    ! hint: `--yes` does it all the same
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
    ! hint: `--yes` does it all the same
    [2]
    $ tine rollback web --yes --json
    {"name":"web","to":"disk","lost":4096,"kept":null}
    ! Rolled `web` back to what it was forked from (`disk` then); 4.0 KiB written since are gone
    [0]
    $ tine diff disk web --exit-code --quiet
    [1]
    "#);
}
