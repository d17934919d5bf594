//! What a slip of the keyboard, a missing file or a bad size gets to hear.

use std::fs;

use crate::common::{Bench, tool};

#[test]
fn bad_input_is_told_apart() {
    let bench = Bench::with_disk();
    fs::write(bench.path("empty"), "").unwrap();
    fs::write(bench.path("disk.qcow2"), b"QFI\xfb----").unwrap();
    prints!(bench,
        "tine import missing.img x",
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
    ! error: cannot open `missing.img`: No such file or directory
    ! hint: is the path right?
    [2]
    $ tine import disk.qcow2 x
    ! error: `disk.qcow2` is a qcow2 image; only raw images are read so far
    ! hint: `qemu-img convert -f qcow2 -O raw disk.qcow2 disk.img` makes a raw one (`-` imports any bytes as they are)
    [2]
    $ tine import - x </dev/null
    ! error: standard input is empty
    ! hint: nothing was changed
    [2]
    $ tine create x 12parsecs
    ! error: `12parsecs` is no number of bytes: `parsecs` is no unit
    ! hint: write `4096`, `4k`, `1.5G` or `10GiB` (k, M, G … and KiB, MiB … are powers of 1024; kB, MB … of 1000)
    [2]
    $ tine create 'a b' 4k
    ! error: the name `a b` has a character other than letters, digits, `.`, `_` and `-`
    ! hint: names are 1 to 128 of A-Z, a-z, 0-9, `.`, `_` and `-`, and do not begin with `.` or `-`
    [2]
    $ tine create disk 4k
    ! error: there is already a branch named `disk`
    ! hint: choose another name, or `tine drop disk` first
    [2]
    $ printf x | tine write disk --offset 17M
    ! error: offset 17825792 is past the end of `disk`
    ! hint: it has 16777216 bytes (16.0 MiB)
    [2]
    $ tine write disk </dev/null
    ! error: standard input is empty
    ! hint: nothing was changed
    [2]
    $ printf 'abc' | tine write disk --length 4
    ! error: standard input ended before 4 bytes had come
    ! hint: 3 bytes were written before that
    [2]
    $ head -c 5000 /dev/zero | tine write disk --offset 16773120
    ! error: standard input goes on past the end of `disk`
    ! hint: 4096 bytes were written before that
    [2]
    $ tine read disk --offset 16M --length 1
    ! error: 1 byte at 16777216 would go past the end of `disk`
    ! hint: it has 16777216 bytes (16.0 MiB)
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
    ! error: there is no directory `nowhere`
    ! hint: make it first, or name a file elsewhere
    [2]
    $ tine snapshot disk
    ! error: `disk` does not say what to call the snapshot
    ! hint: put its name behind an `@`: `disk@SNAP`
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
    ! error: cannot write to standard output: No space left on device
    ! hint: free some space there; what the command did before it printed is done
    [2]
    ");
    assert!(!bench.path("new.img.partial").exists());
    assert!(!bench.path("nowhere").exists());
}

#[test]
fn a_size_is_read_or_refused_with_the_remedy() {
    let bench = Bench::new();
    bench.succeeds("tine create first 1");
    prints!(bench,
        "tine create a 10GiB",
        "tine create b 1.5G",
        "tine create c 0",
        "tine create d -1",
        "tine create d 18446744073709551616",
        "tine create d 8E",
        "tine create d 1,5G",
        "tine create d ''",
        "tine read a --offset=-1",
        "tine read a --offset 11G --length 4k",
        "tine read a --offset 10GiB | wc -c",
        "tine resize a 5EiB",
        "tine fork a --count 0",
        "tine fork a --count 65001",
        "tine fork a --count 18446744073709551616";
        @"
    $ tine create a 10GiB
    ! Created `a`, 10.0 GiB, empty
    [0]
    $ tine create b 1.5G
    ! Created `b`, 1.5 GiB, empty
    [0]
    $ tine create c 0
    ! Created `c`, 0 B, empty
    [0]
    $ tine create d -1
    ! error: `tine create` has no option `-1`
    ! hint: nothing is less than 0 here; `tine create --help` shows all
    [2]
    $ tine create d 18446744073709551616
    ! error: `18446744073709551616` is no number of bytes: it is more than 2^64 bytes
    ! hint: write `4096`, `4k`, `1.5G` or `10GiB` (k, M, G … and KiB, MiB … are powers of 1024; kB, MB … of 1000)
    [2]
    $ tine create d 8E
    ! error: a disk cannot have 9223372036854775808 bytes
    ! hint: the largest disk has 4611686018427387904 bytes (4 EiB)
    [2]
    $ tine create d 1,5G
    ! error: `1,5G` is no number of bytes: `,5G` is no unit
    ! hint: write `4096`, `4k`, `1.5G` or `10GiB` (k, M, G … and KiB, MiB … are powers of 1024; kB, MB … of 1000)
    [2]
    $ tine create d ''
    ! error: `` is no number of bytes: it has no number
    ! hint: write `4096`, `4k`, `1.5G` or `10GiB` (k, M, G … and KiB, MiB … are powers of 1024; kB, MB … of 1000)
    [2]
    $ tine read a --offset=-1
    ! error: `--offset`: `-1` is no number of bytes: it cannot be less than 0
    ! hint: write `4096`, `4k`, `1.5G` or `10GiB` (k, M, G … and KiB, MiB … are powers of 1024; kB, MB … of 1000)
    [2]
    $ tine read a --offset 11G --length 4k
    ! error: 4096 bytes at 11811160064 would go past the end of `a`
    ! hint: it has 10737418240 bytes (10.0 GiB)
    [2]
    $ tine read a --offset 10GiB | wc -c
    0
    [0]
    $ tine resize a 5EiB
    ! error: a disk cannot have 5764607523034234880 bytes
    ! hint: the largest disk has 4611686018427387904 bytes (4 EiB)
    [2]
    $ tine fork a --count 0
    ! error: `--count`: `0` is no whole number from 1 to 65000
    ! hint: `tine fork --help` tells more
    [2]
    $ tine fork a --count 65001
    ! error: `--count`: `65001` is no whole number from 1 to 65000
    ! hint: `tine fork --help` tells more
    [2]
    $ tine fork a --count 18446744073709551616
    ! error: `--count`: `18446744073709551616` is no whole number from 1 to 65000
    ! hint: `tine fork --help` tells more
    [2]
    ");
}

#[test]
fn a_name_is_taken_or_refused_with_the_remedy() {
    let bench = Bench::new();
    let (longest, too_long) = ("a".repeat(128), "a".repeat(129));
    bench.succeeds(&format!("tine create {longest} 1M && tine create disk 1M"));
    let refused = bench.run(&format!("tine create {too_long} 1M"));
    assert_eq!(refused.status.code(), Some(2));
    assert!(
        String::from_utf8_lossy(&refused.stderr)
            .contains("is longer than 128 characters\nhint: names are 1 to 128")
    );
    prints!(bench,
        "tine create a/b 1M",
        "tine create -- -a 1M",
        "tine create -a 1M",
        "tine create '' 1M",
        "tine create .hidden 1M",
        "tine create x@y 1M",
        "tine fork disk@ x",
        "tine fork @disk x",
        "tine fork disk@a@b x",
        "tine snapshot disk@a disk@a",
        r"tine show $(printf 'a\033[31mb')";
        @r"
    $ tine create a/b 1M
    ! error: the name `a/b` has a character other than letters, digits, `.`, `_` and `-`
    ! hint: names are 1 to 128 of A-Z, a-z, 0-9, `.`, `_` and `-`, and do not begin with `.` or `-`
    [2]
    $ tine create -- -a 1M
    ! error: the name `-a` begins with a dot or a dash
    ! hint: names are 1 to 128 of A-Z, a-z, 0-9, `.`, `_` and `-`, and do not begin with `.` or `-`
    [2]
    $ tine create -a 1M
    ! error: `tine create` has no option `-a`
    ! hint: `tine create --help` shows all
    [2]
    $ tine create '' 1M
    ! error: a name cannot be empty
    ! hint: names are 1 to 128 of A-Z, a-z, 0-9, `.`, `_` and `-`, and do not begin with `.` or `-`
    [2]
    $ tine create .hidden 1M
    ! error: the name `.hidden` begins with a dot or a dash
    ! hint: names are 1 to 128 of A-Z, a-z, 0-9, `.`, `_` and `-`, and do not begin with `.` or `-`
    [2]
    $ tine create x@y 1M
    ! error: `x@y` is a snapshot; a branch is needed here
    ! hint: its branch is `x`; `tine fork x@y NAME` makes a branch of the snapshot
    [2]
    $ tine fork disk@ x
    ! error: `disk@` has no snapshot behind the `@`
    ! hint: a snapshot is written NAME@SNAP
    [2]
    $ tine fork @disk x
    ! error: `@disk` has no branch before the `@`
    ! hint: a snapshot is written NAME@SNAP
    [2]
    $ tine fork disk@a@b x
    ! error: the name `a@b` has a character other than letters, digits, `.`, `_` and `-`
    ! hint: names are 1 to 128 of A-Z, a-z, 0-9, `.`, `_` and `-`, and do not begin with `.` or `-`
    [2]
    $ tine snapshot disk@a disk@a
    ! error: `disk@a` is named twice
    ! hint: name each snapshot once
    [2]
    $ tine show $(printf 'a\033[31mb')
    ! error: the name `a\u{1b}[31mb` has a character other than letters, digits, `.`, `_` and `-`
    ! hint: names are 1 to 128 of A-Z, a-z, 0-9, `.`, `_` and `-`, and do not begin with `.` or `-`
    [2]
    ");
}

#[test]
fn a_path_that_will_not_do_is_named_with_the_remedy() {
    let bench = Bench::new();
    fs::write(bench.path("golden.img"), [1; 4096]).unwrap();
    fs::write(bench.path("empty"), "").unwrap();
    fs::create_dir(bench.path("folder")).unwrap();
    fs::write(bench.path("folder/file"), "hello\n").unwrap();
    prints!(bench,
        "tine import goldn.img x",
        "tine import golden.img/x x",
        "tine import golden.img x --size 1G",
        "tine --store empty ls",
        "tine --store empty create x 1M",
        "tine --store empty/s create x 1M",
        "tine --store folder create x 1M",
        "tine --store folder ls",
        "tine man --dir empty/man",
        "env -u TINE_STORE -u XDG_DATA_HOME -u HOME tine ls",
        "env -u TINE_STORE -u XDG_DATA_HOME HOME=relative tine ls";
        @"
    $ tine import goldn.img x
    ! error: cannot open `goldn.img`: No such file or directory
    ! hint: did you mean `golden.img`?
    [2]
    $ tine import golden.img/x x
    ! error: cannot open `golden.img/x`: Not a directory
    ! hint: something in that path is no directory; is the path right?
    [2]
    $ tine import golden.img x --size 1G
    ! error: `--size` is for directories: an image has a size of its own
    ! hint: import it first, then `tine resize`
    [2]
    $ tine --store empty ls
    ! error: the store `empty` is not a directory
    ! hint: `--store DIR` or TINE_STORE names another
    [2]
    $ tine --store empty create x 1M
    ! error: the store `empty` is not a directory
    ! hint: `--store DIR` or TINE_STORE names another
    [2]
    $ tine --store empty/s create x 1M
    ! error: cannot make the directory `empty`: File exists
    ! hint: `--store DIR` or TINE_STORE names another place for the store
    [2]
    $ tine --store folder create x 1M
    ! error: cannot make a store at `folder`: it is not an empty directory
    ! hint: name an empty or a new directory
    [2]
    $ tine --store folder ls
    ! error: there is no store at `folder`
    ! hint: `tine import` or `tine create` makes one; `--store` or TINE_STORE names another
    [2]
    $ tine man --dir empty/man
    ! error: cannot make the directory `empty/man`: Not a directory
    ! hint: something in that path is no directory; is the path right?
    [2]
    $ env -u TINE_STORE -u XDG_DATA_HOME -u HOME tine ls
    ! error: no place for the store: neither XDG_DATA_HOME nor HOME is an absolute path
    ! hint: `--store DIR` or TINE_STORE names one
    [2]
    $ env -u TINE_STORE -u XDG_DATA_HOME HOME=relative tine ls
    ! error: no place for the store: neither XDG_DATA_HOME nor HOME is an absolute path
    ! hint: `--store DIR` or TINE_STORE names one
    [2]
    ");
    if tool("mke2fs").is_some() {
        prints!(bench, "tine import folder x --size 0", "tine import folder x --size 4k"; @"
    $ tine import folder x --size 0
    ! error: `folder` does not fit into 0 B: it holds 4.0 KiB in 1 file
    ! hint: a larger `--size` would do, and so would none: tine then takes twice what is in it and more
    [2]
    $ tine import folder x --size 4k
    ! error: `folder` does not fit into 4.0 KiB: it holds 4.0 KiB in 1 file
    ! hint: a larger `--size` would do, and so would none: tine then takes twice what is in it and more
    [2]
    ");
    }
}

#[test]
fn a_path_that_leads_nowhere_is_told_with_its_remedy() {
    let bench = Bench::unserved();
    let long = "x".repeat(300);
    let deep = "y/".repeat(2100);
    bench.succeeds("ln -s b a && ln -s a b");
    bench.succeeds("tine create disk 1M && ln -s control.sock \"$TINE_STORE/control.sock\"");
    // Nobody has the store, so that there is nobody to look for.
    bench.succeeds("tine show disk");
    let held = fs::File::open(bench.store().join("LOCK")).unwrap();
    held.lock().unwrap();
    for (line, parts) in [
        (
            format!("TINE_STORE={long} tine ls"),
            ["File name too long", "name another place"],
        ),
        (
            format!("tine --store {deep} ls"),
            ["File name too long", "name another place"],
        ),
        (
            format!("tine --store {deep} create disk 1M"),
            ["File name too long", "name another place"],
        ),
        (
            format!("tine serve --store {long}"),
            ["File name too long", "name another place"],
        ),
        (
            format!("tine serve --socket {long} --store other"),
            ["no store", "other"],
        ),
        (
            "tine --store a/store ls".to_owned(),
            ["symbolic links", "in a circle"],
        ),
        ("tine import a new".to_owned(), ["symbolic links", "in a circle"]),
        (
            "tine ls".to_owned(),
            ["control.sock`: Too many levels of symbolic links", "remove it"],
        ),
        (
            "tine serve".to_owned(),
            ["control.sock`: Too many levels of symbolic links", "remove it"],
        ),
    ] {
        let output = bench.run(&line);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{line}: {said}");
        for part in parts.into_iter().chain(["hint: "]) {
            assert!(said.contains(part), "{line}: {said}");
        }
    }
    drop(held);
    bench.succeeds("tine show disk");
}
