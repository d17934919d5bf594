//! `tine memory demo`: each thing is measured here and by its rival, and no store is made.

use std::fs;

use serde_json::Value;

use crate::common::Bench;

#[test]
fn memory_is_shown_beside_fork() {
    let bench = Bench::new();
    let shown = bench.succeeds("TMPDIR=$PWD tine memory demo --size 2MiB --forks 20");
    let names = [
        "first fork",
        "each of 20 forks",
        "10 pages written in each",
        "first write to a page",
        "fork of a fork with 10 pages",
        "rollback of 10 pages",
        "save",
        "save of 10 pages since",
    ];
    let lines: Vec<_> = shown.lines().collect();
    assert!(lines[0].starts_with("2.0 MiB of memory"), "{shown}");
    assert!(lines[2].trim_start().starts_with("TINE"), "{shown}");
    assert_eq!(lines.len(), 3 + names.len(), "{shown}");
    for (line, name) in lines[3..].iter().zip(names) {
        assert!(line.starts_with(name), "{name}: {shown}");
        assert!(line.contains("fork(2)") || line.contains("write(2)"), "{line}");
    }

    let printed = bench.succeeds("TMPDIR=$PWD tine memory demo --size 2MiB --forks 20 --json");
    let rows: Vec<Value> = printed
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert!(rows.iter().map(|row| row["what"].as_str().unwrap()).eq(names));
    let is_time = |row: &Value| row["tine_time"].is_u64() && row["peer_time"].as_u64().unwrap() > 0;
    assert!(rows.iter().all(is_time), "{printed}");
    // Each of the 2 MiB's pages, and what tells of them; ten of them.
    let bytes = |row: usize| rows[row]["tine_bytes"].as_u64().unwrap();
    assert!((2 << 20..3 << 20).contains(&bytes(6)), "{printed}");
    assert!((40_960..60_000).contains(&bytes(7)), "{printed}");
    assert!(
        fs::read_dir(bench.path("")).unwrap().next().is_none(),
        "nothing is left"
    );
}

#[test]
fn memory_of_no_size_is_refused() {
    let bench = Bench::new();
    prints!(bench,
        "tine memory demo --size 1k";
        @"
    $ tine memory demo --size 1k
    ! error: memory of 1024 bytes cannot be shown
    ! hint: take 1MiB to 64GiB
    [2]
    ");
}
