//! Damage is found, named, and read around.

use std::fs;
use std::os::unix::fs::FileExt as _;

use crate::common::Bench;

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
    ! hint: `tine check --data` says what is affected; `--read-damaged` reads what was before the damage
    [0]
    $ tine --read-damaged fork other more
    ! warning: the store is damaged: segments/[id] is missing; what follows is from before that
    ! error: the store is damaged: segments/[id] is missing
    ! hint: `tine check --data` says what is affected; `--read-damaged` reads what was before the damage
    [2]
    ");
}
