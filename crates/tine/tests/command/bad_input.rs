//! What a slip of the keyboard, a missing file or a bad size gets to hear.

use std::fs;

use crate::common::Bench;

#[test]
fn bad_input_is_told_apart() {
    let bench = Bench::with_disk();
    fs::write(bench.path("empty"), "").unwrap();
    fs::write(bench.path("disk.qcow2"), b"QFI\xfb----").unwrap();
    prints!(bench,
        "tine import missing.img x",
        "tine import empty x",
        "tine import disk.qcow2 x",
        "tine import - x </dev/null",
        "tine create x 12parsecs",
        "tine create 'a b' 4k",
        "tine create disk 4k",
        "printf x | tine write disk --offset 17M",
        "tine write disk </dev/null",
        "printf 'abc' | tine write disk --length 4",
        "head -c 5000 /dev/zero | tine write disk --offset 16773120",
        "tine read disk --offset 16M --length 1",
        "tine export disk .",
        "tine export disk empty",
        "tine export disk /dev/null",
        "tine export dissk new.img",
        "tine export disk nowhere/new.img",
        "tine snapshot disk",
        "tine show disk@a",
        "tine --store nowhere ls",
        "tine ls >/dev/full";
        @"
    $ tine import missing.img x
    ! error: opening `missing.img` failed
    ! caused by: No such file or directory (os error 2)
    [2]
    $ tine import empty x
    ! error: nothing to import: `empty` is empty
    [2]
    $ tine import disk.qcow2 x
    ! error: `disk.qcow2` is a qcow2 image; only raw images are read so far
    ! hint: `qemu-img convert -f qcow2 -O raw disk.qcow2 disk.img` makes a raw one (`-` imports any bytes as they are)
    [2]
    $ tine import - x </dev/null
    ! error: standard input is empty
    [2]
    $ tine create x 12parsecs
    ! error: invalid value '12parsecs' for '<SIZE>': `parsecs` is no unit of size (B, k, M, G, T, P, E, KiB …, kB …)
    ! 
    ! For more information, try '--help'.
    [2]
    $ tine create 'a b' 4k
    ! error: invalid value 'a b' for '<NAME>': the name `a b` has a character other than letters, digits, `.`, `_` and `-` (names are 1 to 128 letters, digits, `.`, `_` and `-`, and begin with a letter or a digit)
    ! 
    ! For more information, try '--help'.
    [2]
    $ tine create disk 4k
    ! error: there is already a branch named `disk`
    ! hint: choose another name, or `tine drop disk` first
    [2]
    $ printf x | tine write disk --offset 17M
    ! error: offset 17825792 is past the end of `disk`
    ! hint: it is 16777216 bytes long (16.0 MiB)
    [2]
    $ tine write disk </dev/null
    ! error: standard input is empty
    [2]
    $ printf 'abc' | tine write disk --length 4
    ! error: standard input ended before 4 bytes
    ! hint: 3 bytes were written
    [2]
    $ head -c 5000 /dev/zero | tine write disk --offset 16773120
    ! error: standard input goes on past the end of `disk`
    ! hint: 4096 bytes were written
    [2]
    $ tine read disk --offset 16M --length 1
    ! error: 1 bytes at 16777216 go past the end of `disk`
    ! hint: it is 16777216 bytes long (16.0 MiB)
    [2]
    $ tine export disk .
    ! error: `.` is a directory
    ! hint: name a file in it, such as `./disk.img`
    [2]
    $ tine export disk empty
    ! error: `empty` exists
    ! hint: `--force` replaces it
    [2]
    $ tine export disk /dev/null
    ! error: `/dev/null` is not a regular file
    ! hint: `tine export disk - | dd of=/dev/null bs=1M conv=fsync` writes to it
    [2]
    $ tine export dissk new.img
    ! error: no branch named `dissk`
    ! hint: did you mean `disk`? `tine ls` shows all branches
    [2]
    $ tine export disk nowhere/new.img
    ! error: creating `nowhere/new.img.partial` failed
    ! caused by: No such file or directory (os error 2)
    [2]
    $ tine snapshot disk
    ! error: invalid value 'disk' for '<NAME@SNAP>...': a snapshot has a name of its own: `disk@SNAP`
    ! 
    ! For more information, try '--help'.
    [2]
    $ tine show disk@a
    ! error: branch `disk` has no snapshot named `a`
    ! hint: `disk` has no snapshots; `tine snapshot disk@NAME` makes one
    [2]
    $ tine --store nowhere ls
    ! error: there is no store at `nowhere`
    ! hint: `tine import` or `tine create` makes one; `--store` or TINE_STORE names another
    [2]
    $ tine ls >/dev/full
    ! error: writing to standard output failed
    ! caused by: No space left on device (os error 28)
    ! hint: free some space there; what the command did before it printed is done
    [2]
    ");
    assert!(!bench.path("new.img.partial").exists());
    assert!(!bench.path("nowhere").exists());
}
