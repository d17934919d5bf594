//! Defragmenting: what it says, what it asks first, and that it is done once.

use tine_store::{CreateOptions, OpenOptions, Store};

use crate::common::Bench;

const BLOCK: u64 = 4096;
const BLOCKS: u64 = 512;

/// A store with a disk of 2 MiB that lies in a piece for each block.
fn scattered() -> Bench {
    let bench = Bench::unserved();
    let options = OpenOptions {
        // What is drained at once are no neighbours.
        buffer_bytes: 16 * BLOCK,
        ..OpenOptions::default()
    };
    let store = Store::create(&bench.store(), &CreateOptions::default(), options).unwrap();
    let disk = store
        .create_branch(&"disk".parse().unwrap(), BLOCKS * BLOCK)
        .unwrap();
    for block in (0..BLOCKS).map(|at| at * 101 % BLOCKS) {
        let bytes = vec![1 + block as u8 % 200; BLOCK as usize];
        disk.write_at(&bytes, block * BLOCK).unwrap();
    }
    drop(disk);
    store.close().unwrap();
    bench.complete()
}

#[test]
fn what_lies_in_pieces_is_written_anew_once() {
    let bench = scattered();
    bench.succeeds("tine export disk before.img");
    prints!(bench,
        "tine defrag disk",
        "tine defrag disk",
        "tine defrag disk --json -q",
        "tine defrag disc";
        @r#"
    $ tine defrag disk
    ! Defragmented `disk`: wrote 2.0 MiB anew, in [seconds]; 2.0 MiB in 1 piece, 512 before
    [0]
    $ tine defrag disk
    ! `disk` lies well: 2.0 MiB in 1 piece
    [0]
    $ tine defrag disk --json -q
    {"name":"disk","data":2097152,"rewritten":0,"unshared":0,"extents_before":1,"extents_after":1,"mean_before":2097152,"mean_after":2097152}
    [0]
    $ tine defrag disc
    ! error: no branch named `disc`
    ! hint: did you mean `disk`? `tine ls` shows all branches
    [2]
    "#);
    bench.succeeds("tine export disk after.img && cmp before.img after.img && tine check --data");
}

#[test]
fn what_takes_space_is_asked_first() {
    let bench = scattered();
    bench.succeeds("tine fork disk web");
    prints!(bench,
        "tine defrag web",
        "tine defrag web --shared",
        "tine defrag web --shared --yes",
        "tine defrag web --shared",
        "tine diff disk web --stat",
        "tine ls --json | grep -o '\"written\":[0-9]*'";
        @r#"
    $ tine defrag web
    ! `web` lies well: 2.0 MiB in 512 pieces
    [0]
    $ tine defrag web --shared
    ! error: writing anew what `web` shares with others takes 2.0 MiB more
    ! hint: nothing was changed; `--yes` does it all the same
    [2]
    $ tine defrag web --shared --yes
    ! Defragmented `web`: wrote 2.0 MiB anew, 2.0 MiB of it not shared any more, in [seconds]; 2.0 MiB in 1 piece, 512 before
    [0]
    $ tine defrag web --shared
    ! `web` lies well: 2.0 MiB in 1 piece
    [0]
    $ tine diff disk web --stat
    `disk` and `web` are equal
    [0]
    $ tine ls --json | grep -o '"written":[0-9]*'
    "written":0
    "written":2097152
    [0]
    "#);
}
