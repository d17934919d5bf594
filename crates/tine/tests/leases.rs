//! Goal: a command that reads for long keeps nobody waiting, and shows what was when it began, whatever others do.
//! Method: the real binary writes into a pipe that nobody empties, or is stopped; others work meanwhile with `--no-wait`,
//! with which any wait for the store is an error. Then it goes on, or is killed.

mod common;

use std::fs;
use std::io::Read as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use common::Bench;

const DISK_BYTES: usize = 24 << 20;

/// Longer than anything here takes, on a machine that is busy with other things.
const PATIENCE: Duration = Duration::from_secs(60);

/// Makes a store with `disk`, of which a part is in segments and a part in the journal alone, and returns its bytes.
fn with_full_disk(bench: &Bench) -> Vec<u8> {
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut image: Vec<u8> = (0..DISK_BYTES / 8)
        .flat_map(|_| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random.to_le_bytes()
        })
        .collect();
    fs::write(bench.path("disk.img"), &image).unwrap();
    bench.succeeds("tine import disk.img disk");
    // More than a journal keeps after a close, so that there is a checkpoint; then less.
    for (offset, length) in [(1 << 20, 500_000), (8192, 5000)] {
        let piece = &mut image[offset..offset + length];
        piece.fill(7);
        fs::write(bench.path("piece"), piece).unwrap();
        bench.succeeds(&format!("tine write disk --offset {offset} < piece"));
    }
    assert!(stat(bench, "index_bytes") > 0);
    image
}

/// Files in one of the store's directories.
fn files(bench: &Bench, folder: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(bench.store().join(folder)).unwrap();
    entries.map(|entry| entry.unwrap().path()).collect()
}

fn segment_bytes(bench: &Bench) -> u64 {
    let files = files(bench, "segments");
    files.iter().map(|path| fs::metadata(path).unwrap().len()).sum()
}

fn stat(bench: &Bench, name: &str) -> u64 {
    let stats = bench.succeeds("tine stats --json --no-wait");
    let value = stats.split(&format!("\"{name}\":")).nth(1).unwrap();
    value.split([',', '}']).next().unwrap().parse().unwrap()
}

/// Starts a command and waits until it has let the store go.
fn start(bench: &Bench, line: &str, stdout: Stdio) -> Child {
    let before = files(bench, "readers");
    let child = bench
        .command(&format!("exec {line}"))
        .stdout(stdout)
        .spawn()
        .unwrap();
    let begun = Instant::now();
    // The text is there when the lease is: it is taken before the store is let go. Leases from before may end meanwhile.
    let leased = || {
        files(bench, "readers")
            .iter()
            .any(|lease| !before.contains(lease))
    };
    while !leased() || bench.run("tine ls --no-wait").status.code() == Some(2) {
        assert!(begun.elapsed() < PATIENCE, "`{line}` does not let the store go");
        thread::sleep(Duration::from_millis(5));
    }
    child
}

fn signal(child: &Child, signal: &str) -> bool {
    let kill = Command::new("sh")
        .args(["-c", &format!("kill -{signal} {}", child.id())])
        .stderr(Stdio::null())
        .status();
    kill.unwrap().success()
}

#[test]
fn others_go_on_while_an_export_is_slow() {
    let bench = Bench::new();
    let image = with_full_disk(&bench);
    let begun = Instant::now();
    for number in 0..5 {
        bench.succeeds(&format!(
            "tine fork disk before-{number} --quiet --no-wait && tine drop before-{number} --yes --quiet"
        ));
    }
    let alone = begun.elapsed();
    let mut export = start(&bench, "tine export disk -", Stdio::piped());

    let mut times: Vec<Duration> = (0..20)
        .map(|_| {
            let begun = Instant::now();
            bench.succeeds("tine fork disk --quiet --no-wait");
            begun.elapsed()
        })
        .collect();
    times.sort();
    println!("20 forks beside an export: {:?} to {:?}", times[0], times[19]);
    // None waits for the export's end; a slow machine was as slow before it.
    assert!(times[10] < Duration::from_secs(1) + alone, "{times:?}, {alone:?}");

    bench.succeeds("yes | head -c 5M | tine write disk --no-wait");
    bench.succeeds("yes no | head -c 9M | tine write disk-1 --offset 3M --no-wait");
    bench.succeeds("tine snapshot disk@later --no-wait");
    bench.succeeds("tine rollback disk-2 --yes --no-wait");
    assert_eq!(stat(&bench, "leased_bytes"), 0);
    let dropped = bench
        .run("tine ls --json --no-wait | grep -o 'disk[-0-9]*' | sort -u | xargs tine drop --yes --no-wait");
    let said = String::from_utf8_lossy(&dropped.stderr).into_owned();
    assert!(dropped.status.success(), "{said}");
    assert!(
        said.contains("MiB come back when the commands that still read them have ended"),
        "{said}"
    );
    assert!(stat(&bench, "leased_bytes") > DISK_BYTES as u64);
    // What nobody reads any more has come back, and what is written now takes new space.
    assert!(segment_bytes(&bench) < DISK_BYTES as u64 * 5 / 4);
    bench.succeeds("tine import disk.img other --no-wait");

    let mut found = Vec::new();
    export.stdout.take().unwrap().read_to_end(&mut found).unwrap();
    assert!(export.wait().unwrap().success());
    assert!(found == image, "the export is of when it began");

    assert_eq!(files(&bench, "readers").len(), 0);
    bench.succeeds("tine drop other --yes");
    assert_eq!(segment_bytes(&bench), 0);
    bench.succeeds("tine check --data");
}

#[test]
fn a_killed_export_gives_back_at_the_next_command() {
    for how in ["KILL", "INT"] {
        let bench = Bench::new();
        with_full_disk(&bench);
        let mut export = start(&bench, "tine export disk -", Stdio::piped());
        bench.succeeds("tine drop disk --yes --quiet --no-wait");
        assert!(segment_bytes(&bench) > DISK_BYTES as u64);
        bench.succeeds("tine ls --no-wait");
        assert!(segment_bytes(&bench) > DISK_BYTES as u64);

        assert!(signal(&export, how));
        assert!(!export.wait().unwrap().success());
        bench.succeeds("tine ls");
        assert_eq!(segment_bytes(&bench), 0, "after {how}");
        assert_eq!(files(&bench, "readers").len(), 0);
    }
}

#[test]
fn an_export_to_a_file_that_is_interrupted_leaves_no_lease() {
    let bench = Bench::new();
    let image = with_full_disk(&bench);
    let mut export = bench.command("exec tine export disk out.img").spawn().unwrap();
    let begun = Instant::now();
    while files(&bench, "readers").is_empty() && export.try_wait().unwrap().is_none() {
        assert!(begun.elapsed() < PATIENCE);
    }
    signal(&export, "INT");
    // It may have been quicker.
    match export.wait().unwrap().code() {
        Some(0) => assert!(fs::read(bench.path("out.img")).unwrap() == image),
        // Before the signal was caught, its default.
        Some(130) | None => assert!(!bench.path("out.img").exists()),
        code => panic!("{code:?}"),
    }
    bench.succeeds("tine ls");
    assert_eq!(files(&bench, "readers").len(), 0);
}

#[test]
fn diffs_and_reads_keep_nobody_waiting() {
    let bench = Bench::new();
    let image = with_full_disk(&bench);
    bench.succeeds("tine fork disk changed");
    // Every second block of some, so that the ranges are more than fit into a pipe.
    let blocks = 6000;
    let mut other = image.clone();
    for block in (0..blocks).step_by(2) {
        other[block * 4096..(block + 1) * 4096].fill(9);
    }
    fs::write(bench.path("other.img"), &other).unwrap();
    bench.succeeds("tine write changed < other.img");
    let expected = bench.succeeds("tine diff disk changed");
    assert!(expected.len() > 80_000, "{}", expected.len());

    let mut diff = start(&bench, "tine diff disk changed", Stdio::piped());
    let mut read = start(&bench, "tine read disk", Stdio::piped());
    bench.succeeds("tine drop disk changed --yes --no-wait");
    bench.succeeds("tine create new 1G --no-wait");
    let mut found = String::new();
    diff.stdout.take().unwrap().read_to_string(&mut found).unwrap();
    assert!(diff.wait().unwrap().success());
    assert_eq!(found, expected);
    let mut found = Vec::new();
    read.stdout.take().unwrap().read_to_end(&mut found).unwrap();
    assert!(read.wait().unwrap().success());
    assert!(found == image);
    bench.succeeds("tine ls");
    assert_eq!(segment_bytes(&bench), 0);
}

#[test]
fn a_check_keeps_nobody_waiting() {
    let bench = Bench::new();
    with_full_disk(&bench);
    for number in 1..6 {
        bench.succeeds(&format!("tine import disk.img disk{number}"));
    }
    let begun = Instant::now();
    // It is stopped in the middle; where it was quicker than that, again.
    let mut check = loop {
        assert!(begun.elapsed() < PATIENCE, "no check could be stopped");
        let mut check = bench
            .command("exec tine check --data")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        while files(&bench, "readers").is_empty() && check.try_wait().unwrap().is_none() {}
        if signal(&check, "STOP")
            && bench.run("tine ls --no-wait").status.success()
            && !files(&bench, "readers").is_empty()
        {
            break check;
        }
        signal(&check, "CONT");
        check.wait().unwrap();
    };
    bench.succeeds("tine fork disk copy --no-wait");
    bench.succeeds("tine drop disk disk1 disk2 disk3 disk4 --yes --no-wait");
    assert!(segment_bytes(&bench) > 6 * DISK_BYTES as u64);
    bench.succeeds("tine import disk.img more --no-wait");
    assert!(signal(&check, "CONT"));
    let mut said = String::new();
    check.stdout.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(check.wait().unwrap().success(), "{said}");
    let blocks = (6 * DISK_BYTES / 4096).to_string();
    assert!(said.ends_with(": no damage\n"), "{said}");
    assert!(said.contains(&format!(" {blocks} blocks")), "{said}");
    bench.succeeds("tine ls");
    assert!(segment_bytes(&bench) < 4 * DISK_BYTES as u64);
}
