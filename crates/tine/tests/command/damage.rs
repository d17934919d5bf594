//! Damage is found, named, and read around.

use std::fs;
use std::os::unix::fs::FileExt as _;

use crate::common::{Bench, is_of_no_daemon};

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
    if is_of_no_daemon() {
        return;
    }
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
    if is_of_no_daemon() {
        return;
    }
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
    damaged: segments/[id] is missing; touched: `disk`
    Checked [n] frames, 1 segment, 0 runs: 1 damage
    [1]
    $ tine --read-damaged read other --length 6
    whole
    ! warning: the store is damaged: segments/[id] is missing; what follows is from before that
    [0]
    $ tine --read-damaged read disk | wc -c
    0
    ! warning: the store is damaged: segments/[id] is missing; what follows is from before that
    ! error: the store is damaged: segments/[id] is missing
    ! hint: what is damaged cannot be read, and nothing can be written: `tine export` what is left and import it into a new store, or take a backup
    [0]
    $ tine --read-damaged fork other more
    ! warning: the store is damaged: segments/[id] is missing; what follows is from before that
    ! error: the store is damaged: segments/[id] is missing
    ! hint: what is damaged cannot be read, and nothing can be written: `tine export` what is left and import it into a new store, or take a backup
    [2]
    ");
}

#[test]
fn a_lost_directory_or_a_bad_header_is_damage() {
    if is_of_no_daemon() {
        return;
    }
    for break_it in [
        "echo garbage >$TINE_STORE/store.json",
        ": >$TINE_STORE/store.json",
        "sed -i s/8388608/4194304/ $TINE_STORE/store.json",
        "sed -i 's/\"tine\"/\"tane\"/' $TINE_STORE/store.json",
        "rm $TINE_STORE/store.json",
        "rm -r $TINE_STORE/manifest",
        "rm $TINE_STORE/manifest/*",
        "rm -r $TINE_STORE/segments",
        "rm -r $TINE_STORE/journal",
        "rm $TINE_STORE/journal/2",
        "truncate -s 24k $TINE_STORE/journal/0",
        ": >$TINE_STORE/journal/3",
    ] {
        let bench = Bench::with_disk();
        bench.succeeds(break_it);
        for (line, status) in [
            ("tine check --json", 1),
            ("tine ls", 2),
            ("tine create other 1M", 2),
        ] {
            let output = bench.run(line);
            let said = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(status), "{break_it}; {line}: {said}");
            if status == 2 {
                assert!(
                    said.starts_with("error: the store is damaged: "),
                    "{break_it}; {line}: {said}"
                );
                assert!(said.contains("\nhint: `tine check"), "{break_it}; {line}: {said}");
            } else {
                let found = String::from_utf8_lossy(&output.stdout);
                assert!(found.starts_with(r#"{"type":"damage""#), "{break_it}: {found}");
            }
        }
    }
}

#[test]
fn what_cannot_be_checked_is_no_damage() {
    if is_of_no_daemon() {
        return;
    }
    let bench = Bench::with_disk();
    fs::write(bench.path("file"), "").unwrap();
    prints!(bench, "tine check --store nowhere", "tine check --store file"; @"
    $ tine check --store nowhere
    ! error: there is no store at `nowhere`
    ! hint: `tine import` or `tine create` makes one; `--store` or TINE_STORE names another
    [2]
    $ tine check --store file
    ! error: the store `file` is not a directory
    ! hint: `--store DIR` or TINE_STORE names another
    [2]
    ");
    bench.succeeds(
        r#"sed -i 's/"version": 4/"version": 9/; s/"block_bytes"/"later_bytes"/' $TINE_STORE/store.json"#,
    );
    prints!(bench, "tine check", "tine ls"; @"
    $ tine check
    ! error: cannot read this store: its format is `tine` version 9, this is for `tine` version 4
    ! hint: open it with the version of tine that made it, or a newer one
    [2]
    $ tine ls
    ! error: cannot read this store: its format is `tine` version 9, this is for `tine` version 4
    ! hint: open it with the version of tine that made it, or a newer one
    [2]
    ");
}

#[test]
fn no_advice_is_given_that_was_taken() {
    if is_of_no_daemon() {
        return;
    }
    let bench = Bench::with_disk();
    bench.succeeds("rm -r $TINE_STORE/journal");
    prints!(bench,
        "tine --read-damaged ls",
        "tine --read-damaged tree",
        "tine --read-damaged create x 1M";
        @"
    $ tine --read-damaged ls
    ! warning: the store is damaged: journal/0 is missing; what follows is from before that
    ! No branch can be read any more
    [0]
    $ tine --read-damaged tree
    ! warning: the store is damaged: journal/0 is missing; what follows is from before that
    ! No branch can be read any more
    [0]
    $ tine --read-damaged create x 1M
    ! warning: the store is damaged: journal/0 is missing; what follows is from before that
    ! error: the store is damaged: journal/0 is missing
    ! hint: what is damaged cannot be read, and nothing can be written: `tine export` what is left and import it into a new store, or take a backup
    [2]
    ");
    bench.succeeds("rm -r $TINE_STORE/manifest");
    prints!(bench, "tine --read-damaged ls", "tine check"; @"
    $ tine --read-damaged ls
    ! error: the store is damaged: the directory manifest/ is missing
    ! hint: what is damaged cannot be read, and nothing can be written: `tine export` what is left and import it into a new store, or take a backup
    [2]
    $ tine check
    damaged: the directory manifest/ is missing; the store does not open
    Checked [n] frames, 0 segments, 0 runs: 1 damage
    [1]
    ");
}
