//! Goal: what a person or a script sees is what was meant, word for word.
//! Method: the real binary, its standard output, standard error and exit status as one snapshot, with times, places
//! and process ids filtered.

mod common;

use std::fs;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::process::{Command, Stdio};
use std::thread;

use common::{Bench, tool};

/// Compares what a step printed with the snapshot beside it.
macro_rules! prints {
    ($bench:expr, $($line:expr),+ ; @$expected:literal) => {{
        let mut printed = String::new();
        $(printed.push_str(&$bench.session($line));)+
        insta::with_settings!({ filters => vec![
            (r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\dZ?", "[time]"),
            (r"in \d+\.\d s\b", "in [seconds]"),
            (r"process \d+", "process [pid]"),
            (r"\d+ frames?", "[n] frames"),
            (r#""frames":\d+"#, r#""frames":[n]"#),
            (r"segments/[0-9a-f-]+", "segments/[id]"),
            (r"checksum (is )?[0-9a-f]{8}, not [0-9a-f]{8}", "checksum ${1}[this], not [that]"),
        ] }, { insta::assert_snapshot!(printed, @$expected) });
    }};
}

#[test]
fn help_tells_everything() {
    let bench = Bench::new();
    insta::assert_snapshot!("help", bench.session("tine --help"));
}

#[test]
fn story_of_the_readme() {
    let (Some(mke2fs), Some(e2fsck)) = (tool("mke2fs"), tool("e2fsck")) else {
        return eprintln!("skipped: mke2fs and e2fsck are needed (package e2fsprogs)");
    };
    let bench = Bench::new();
    fs::create_dir(bench.path("rootfs")).unwrap();
    fs::write(bench.path("rootfs/hello.txt"), "hello\n".repeat(1000)).unwrap();
    let made = Command::new(mke2fs)
        .args(["-q", "-t", "ext4", "-d", "rootfs", "golden.img", "64M"])
        .current_dir(bench.path(""))
        .output()
        .unwrap();
    assert!(made.status.success());

    bench.succeeds("tine import golden.img golden");
    bench.succeeds("tine fork golden web1");
    bench.succeeds("tine snapshot web1@clean");
    prints!(bench,
        "printf 'what a mess' | tine write web1 --offset 4096",
        "tine diff golden web1",
        "tine diff web1@clean web1 --stat --json",
        "tine ls",
        "tine tree";
        @r#"
    $ printf 'what a mess' | tine write web1 --offset 4096
    ! Wrote 11 B to `web1` at 4096
    [0]
    $ tine diff golden web1
               4096         4096
    ! `golden` and `web1` differ in 1 range, 4.0 KiB
    [0]
    $ tine diff web1@clean web1 --stat --json
    {"a":"web1@clean","b":"web1","a_size":67108864,"b_size":67108864,"ranges":1,"bytes":4096}
    [0]
    $ tine ls
    NAME        SIZE  WRITTEN  ORIGIN  SNAPSHOTS  CREATED (UTC)
    golden  64.0 MiB      0 B  -               0  [time]
    web1    64.0 MiB  4.0 KiB  golden          1  [time]
    [0]
    $ tine tree
    web1@clean, (golden when it was forked) [320.0 KiB]
    ├─ golden
    └─ web1 [4.0 KiB]
    [0]
    "#);
    bench.succeeds("tine rollback web1@clean --yes");
    bench.succeeds("tine export web1 web1.img");
    assert!(fs::read(bench.path("golden.img")).unwrap() == fs::read(bench.path("web1.img")).unwrap());
    let judged = Command::new(e2fsck)
        .args(["-fn", "web1.img"])
        .current_dir(bench.path(""))
        .output()
        .unwrap();
    assert!(
        judged.status.success(),
        "{}",
        String::from_utf8_lossy(&judged.stdout)
    );
    prints!(bench, "tine rollback web1", "tine check --data >/dev/null"; @"
    $ tine rollback web1
    ! Rolled `web1` back to what it was forked from (`golden` then); nothing was lost
    [0]
    $ tine check --data >/dev/null
    [0]
    ");
}

#[test]
fn a_directory_becomes_a_file_system() {
    if tool("mke2fs").is_none() {
        return eprintln!("skipped: mke2fs is needed (package e2fsprogs)");
    }
    let bench = Bench::new();
    fs::create_dir(bench.path("rootfs")).unwrap();
    fs::write(bench.path("rootfs/hello.txt"), "hello\n").unwrap();
    bench.succeeds("tine import rootfs golden --size 32MiB");
    bench.succeeds("tine export golden golden.img");
    let image = fs::File::open(bench.path("golden.img")).unwrap();
    let mut magic = [0; 2];
    image.read_exact_at(&mut magic, 1024 + 0x38).unwrap();
    assert_eq!(magic, [0x53, 0xef], "an ext4 superblock");
    assert_eq!(image.metadata().unwrap().len(), 32 << 20);
}

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

#[test]
fn bytes_come_back_as_they_went_in() {
    let bench = Bench::with_disk();
    prints!(bench,
        "printf 'hello' | tine write disk --offset 1_000",
        "tine read disk --offset 998 --length 9 | tr '\\0' .",
        "tine write disk --offset 16777214 --length 2 </dev/zero --json",
        "tine diff disk disk --exit-code",
        "tine fork disk other --quiet && printf x | tine write other --quiet && tine diff disk other --exit-code --json";
        @r#"
    $ printf 'hello' | tine write disk --offset 1_000
    ! Wrote 5 B to `disk` at 1000
    [0]
    $ tine read disk --offset 998 --length 9 | tr '\0' .
    e
    helloti
    [0]
    $ tine write disk --offset 16777214 --length 2 </dev/zero --json
    {"name":"disk","offset":16777214,"length":2}
    ! Wrote 2 B to `disk` at 16777214
    [0]
    $ tine diff disk disk --exit-code
    ! `disk` and `disk` are equal
    [0]
    $ tine fork disk other --quiet && printf x | tine write other --quiet && tine diff disk other --exit-code --json
    {"offset":0,"length":4096}
    ! `disk` and `other` differ in 1 range, 4.0 KiB
    [1]
    "#);
}

#[test]
fn a_question_of_scripts_is_answered_by_the_status_alone() {
    let bench = Bench::with_disk();
    bench.succeeds("tine fork disk same && tine fork disk other && printf x | tine write other");
    bench.succeeds("tine create long 10MiB && tine create short 10000001");
    prints!(bench,
        "tine diff disk same --exit-code --quiet",
        "tine diff disk other --exit-code --quiet",
        "tine diff disk other --exit-code --quiet --stat --json",
        "tine diff disk other --quiet",
        "tine diff short long --exit-code --quiet",
        "tine diff short long";
        @"
    $ tine diff disk same --exit-code --quiet
    [0]
    $ tine diff disk other --exit-code --quiet
    [1]
    $ tine diff disk other --exit-code --quiet --stat --json
    [1]
    $ tine diff disk other --quiet
                  0         4096
    [0]
    $ tine diff short long --exit-code --quiet
    [1]
    $ tine diff short long
           10000001       485759
    ! `short` and `long` differ in 1 range, 474.4 KiB; they are 9.5 MiB and 10.0 MiB long
    [0]
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

#[test]
fn an_export_refuses_what_would_do_harm() {
    let bench = Bench::with_disk();
    bench.succeeds("tine create huge 4EiB");
    prints!(bench,
        "tine export disk newd/",
        "tine export disk $TINE_STORE/store.json --force",
        "tine export disk $TINE_STORE/segments/../new.img",
        r"tine export disk $(printf '\376.img') --json --quiet";
        @r#"
    $ tine export disk newd/
    ! error: there is no directory `newd/`
    [2]
    $ tine export disk $TINE_STORE/store.json --force
    ! error: `[store]/store.json` is within the store
    ! hint: name a file elsewhere
    [2]
    $ tine export disk $TINE_STORE/segments/../new.img
    ! error: `[store]/segments/../new.img` is within the store
    ! hint: name a file elsewhere
    [2]
    $ tine export disk $(printf '\376.img') --json --quiet
    {"name":"disk","file":"�.img","size":16777216,"data":1048576}
    [0]
    "#);
    // A file system such as tmpfs takes it.
    let image = bench.path("huge.img");
    if fs::File::create(&image).unwrap().set_len(4 << 60).is_err() {
        fs::remove_file(&image).unwrap();
        prints!(bench, "tine export huge huge.img"; @"
    $ tine export huge huge.img
    ! error: `huge.img`: its file system takes no file of 4.0 EiB
    ! hint: name a file on another, or `tine export huge - | …` without one
    [2]
    ");
        assert!(!bench.path("huge.img.partial").exists());
    }
    bench.succeeds("tine check --data");
}

#[test]
fn an_image_that_replaces_another_is_no_more_public() {
    let bench = Bench::with_disk();
    prints!(bench,
        "umask 022 && tine export disk new.img --quiet && stat -c %a new.img",
        "chmod 600 new.img && umask 022 && tine export disk new.img --quiet --force && stat -c %a new.img",
        "chmod 664 new.img && umask 077 && tine export disk new.img --quiet --force && stat -c %a new.img",
        "touch new.img.partial && tine export disk new.img --quiet --force && ls";
        @"
    $ umask 022 && tine export disk new.img --quiet && stat -c %a new.img
    644
    [0]
    $ chmod 600 new.img && umask 022 && tine export disk new.img --quiet --force && stat -c %a new.img
    600
    [0]
    $ chmod 664 new.img && umask 077 && tine export disk new.img --quiet --force && stat -c %a new.img
    664
    [0]
    $ touch new.img.partial && tine export disk new.img --quiet --force && ls
    new.img
    [0]
    ");
    let owner = (1234, 4321);
    if std::os::unix::fs::chown(bench.path("new.img"), Some(owner.0), Some(owner.1)).is_err() {
        return eprintln!("the owner is left out: only root can give files away");
    }
    bench.succeeds("tine export disk new.img --force");
    let replaced = fs::metadata(bench.path("new.img")).unwrap();
    assert_eq!((replaced.uid(), replaced.gid()), owner);
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
fn usage_shows_what_is_needed_and_no_more() {
    let bench = Bench::new();
    prints!(bench,
        "tine fork",
        "tine ls --store ''",
        "tine snapshot --help | head -5";
        @"
    $ tine fork
    ! error: the following required arguments were not provided:
    !   <SOURCE>
    ! 
    ! Usage: tine fork <SOURCE> [NAME]
    ! 
    ! For more information, try '--help'.
    [2]
    $ tine ls --store ''
    ! error: a value is required for '--store <DIR>' but none was supplied
    ! 
    ! For more information, try '--help'.
    [2]
    $ tine snapshot --help | head -5
    Names the present state of branches, to come back to

    A snapshot can be rolled back to, forked, compared and exported. Several branches are taken at one
    instant, all or none: a machine with two disks stays in step with itself.

    [0]
    ");
}

#[test]
fn damage_is_found_and_named() {
    let bench = Bench::with_disk();
    bench.succeeds("tine fork disk web");
    // A bit of the first block of every segment; the index says where it is, so this is data.
    for segment in fs::read_dir(bench.store().join("segments")).unwrap() {
        let file = fs::File::options()
            .read(true)
            .write(true)
            .open(segment.unwrap().path())
            .unwrap();
        let mut byte = [0];
        file.read_exact_at(&mut byte, 5000).unwrap();
        file.write_all_at(&[byte[0] ^ 1], 5000).unwrap();
    }
    prints!(bench, "tine check", "tine check --data", "tine read web | wc -c", "tine check --data --json"; @r#"
    $ tine check
    Checked [n] frames, 1 segment, 0 runs: no damage
    [0]
    $ tine check --data
    damaged: segments/[id]: block 0 (bytes 0 to 4096 of the disk) has checksum [this], not [that]; touched: `disk` and `web`
    Checked [n] frames, 1 segment, 0 runs, 256 blocks: 1 damage
    [1]
    $ tine read web | wc -c
    0
    ! error: segments/[id]: block 0 is damaged: its checksum is [this], not [that]
    ! hint: `tine check --data` says which branches are affected; other blocks can still be read
    [0]
    $ tine check --data --json
    {"type":"damage","what":"segments/[id]: block 0 (bytes 0 to 4096 of the disk) has checksum [this], not [that]","branches":["disk","web"]}
    {"type":"summary","frames":[n],"segments":1,"runs":0,"blocks":256,"damage":1}
    [1]
    "#);
    for manifest in fs::read_dir(bench.store().join("manifest")).unwrap() {
        fs::write(manifest.unwrap().path(), "nothing").unwrap();
    }
    prints!(bench, "tine check", "tine ls"; @"
    $ tine check
    damaged: there is no manifest that was announced and can be read; the store does not open
    Checked [n] frames, 0 segments, 0 runs: 1 damage
    [1]
    $ tine ls
    ! error: the store is damaged: there is no manifest that was announced and can be read
    ! hint: `tine check --data` says what is affected; `--read-damaged` reads what was before the damage
    [2]
    ");
}

#[test]
fn what_damage_leaves_can_be_read() {
    let bench = Bench::with_disk();
    bench.succeeds("tine create other 1MiB");
    bench.succeeds("echo whole | tine write other");
    for segment in fs::read_dir(bench.store().join("segments")).unwrap() {
        fs::remove_file(segment.unwrap().path()).unwrap();
    }
    prints!(bench, "tine ls", "tine check", "tine --read-damaged read other --length 6",
        "tine --read-damaged read disk | wc -c", "tine --read-damaged fork other more"; @"
    $ tine ls
    ! error: the store is damaged: segments/[id] is missing
    ! hint: `tine check --data` says what is affected; `--read-damaged` reads what was before the damage
    [2]
    $ tine check
    damaged: segments/[id] is missing
    damaged: segments/[id] is missing; touched: `disk`
    Checked [n] frames, 1 segment, 0 runs: 2 damages
    [1]
    $ tine --read-damaged read other --length 6
    whole
    ! warning: the store is damaged: segments/[id] is missing; what follows is from before that
    [0]
    $ tine --read-damaged read disk | wc -c
    0
    ! warning: the store is damaged: segments/[id] is missing; what follows is from before that
    ! error: the store is damaged: segments/[id] is missing
    ! hint: `tine check --data` says what is affected; `--read-damaged` reads what was before the damage
    [0]
    $ tine --read-damaged fork other more
    ! warning: the store is damaged: segments/[id] is missing; what follows is from before that
    ! error: the store is damaged: segments/[id] is missing
    ! hint: `tine check --data` says what is affected; `--read-damaged` reads what was before the damage
    [2]
    ");
}

#[test]
fn a_closed_pipe_is_no_error() {
    let bench = Bench::with_disk();
    for line in [
        "tine ls",
        "tine --help",
        "tine man",
        "tine export disk -",
        "tine read disk",
        "tine tree --json",
    ] {
        // The reader is gone before the first byte is written.
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = bench
            .command(line)
            .stdout(writer)
            .stderr(Stdio::piped())
            .output()
            .unwrap();
        assert!(output.status.success(), "{line}: {:?}", output.status);
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{line}");
    }
}

#[test]
fn fifty_processes_fork_at_once() {
    let bench = Bench::with_disk();
    thread::scope(|scope| {
        let forks: Vec<_> = (0..50)
            .map(|_| scope.spawn(|| bench.run("tine fork disk --quiet")))
            .collect();
        for fork in forks {
            let output = fork.join().unwrap();
            assert!(
                output.status.success(),
                "{}",
                String::from_utf8_lossy(&output.stderr)
            );
        }
    });
    let names: Vec<_> = (1..=50).map(|number| format!("disk-{number}")).collect();
    let listed = bench.succeeds("tine ls");
    for name in names {
        assert!(
            listed.lines().any(|line| line.split(' ').next() == Some(&name)),
            "{name} is missing"
        );
    }
}

#[test]
fn a_first_use_makes_the_users_store_once() {
    let bench = Bench::new();
    let home = bench.path("home");
    let in_home = |line: &str| {
        let mut command = bench.command(line);
        command
            .env_remove("TINE_STORE")
            .env_remove("XDG_DATA_HOME")
            .env("HOME", &home);
        let output = command.output().unwrap();
        assert!(output.status.success());
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(
        in_home("tine ls").starts_with("Created the store `"),
        "the first use says so"
    );
    assert!(home.join(".local/share/tine/store").is_dir());
    assert_eq!(in_home("tine create disk 1M"), "Created `disk`, 1.0 MiB, empty\n");
    assert_eq!(in_home("tine ls --quiet"), "");
    assert_eq!(
        in_home("TINE_STORE= tine drop disk --yes"),
        "Dropped `disk`\n",
        "empty is unset"
    );
}

#[test]
fn interrupts_leave_nothing_behind() {
    let bench = Bench::with_disk();
    for signal in ["INT", "TERM"] {
        let mut import = bench.command("exec tine import - half");
        let mut child = import
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        std::io::Write::write_all(&mut stdin, &[7; 1 << 20]).unwrap();
        thread::sleep(std::time::Duration::from_millis(300));
        // The pipe stays open: the import is waiting for more when the signal comes.
        // The shell has `kill` built in; the program is in a package.
        let killed = bench.run(&format!("kill -{signal} {}", child.id())).status;
        assert!(killed.success());
        let status = child.wait().unwrap();
        assert_eq!(status.code(), Some(if signal == "INT" { 130 } else { 143 }));
        drop(stdin);
    }
    let listed = bench.succeeds("tine ls");
    assert!(!listed.contains("half"), "{listed}");
    bench.succeeds("tine check --data");
}

#[test]
fn demo_holds() {
    let bench = Bench::new();
    let shown = bench.succeeds("TMPDIR=$PWD tine demo --forks 20");
    assert!(shown.contains("Everything held."), "{shown}");
    assert!(
        fs::read_dir(bench.path("")).unwrap().next().is_none(),
        "the demo cleans up"
    );
}

#[test]
fn manual_and_completions_are_whole() {
    let bench = Bench::new();
    bench.succeeds("tine man --dir man");
    let pages = fs::read_dir(bench.path("man")).unwrap().count();
    assert_eq!(pages, 21, "a page for tine and for each command");
    assert!(bench.succeeds("tine man fork").contains(".SH EXAMPLES"));
    for shell in ["bash", "zsh", "fish"] {
        assert!(
            bench
                .succeeds(&format!("tine completions {shell}"))
                .contains("rollback")
        );
    }
}
