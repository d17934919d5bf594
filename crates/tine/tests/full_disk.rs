//! Goal: a full disk is an answer, not a disaster.
//! Method: a store on a small file system of its own is filled until it says no. What was flushed before is all
//! there, reads go on, and so does work, in the same process, once something is dropped.
//!
//! Needs root, a loop device and mkfs.ext4; skips by name without them.

#[allow(dead_code, reason = "what other tests need of it")]
#[path = "serve/client.rs"]
mod client;
mod common;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use client::{Client, FLUSH, READ, WRITE};
use common::daemon::Daemon;
use common::{Bench, tool};
use tempfile::TempDir;
use tine::store::{Branch, BranchName, CreateOptions, OpenOptions, Store, StoreError, Target};

const VOLUME_BYTES: u64 = 96 << 20;
const CHUNK_BYTES: usize = 256 << 10;
const ENOSPC: u32 = 28;

#[test]
fn work_goes_on_once_something_is_dropped() {
    let Some(volume) = Volume::new() else { return };
    let store = Store::create(&volume.path("store"), &small_journal(), OpenOptions::default()).unwrap();
    let keep = store.create_branch(&name("keep"), 1 << 30).unwrap();
    for chunk in 0..8 {
        write(&keep, chunk).unwrap();
    }
    keep.flush().unwrap();
    store
        .fork(&Target::Branch(name("keep")), &name("filler"))
        .unwrap();
    let filler = store.branch(&name("filler")).unwrap();

    let flushed = fill(&filler);
    assert!(flushed > 20, "the volume had room for {flushed} chunks only");
    // Full is full, again and again, and reads do not mind.
    assert!(matches!(
        fill_once(&filler, flushed),
        Err(StoreError::NoSpace { .. })
    ));
    for chunk in 0..8 {
        assert!(holds(&keep, chunk));
    }
    for chunk in 0..flushed {
        assert!(holds(&filler, chunk), "chunk {chunk} was flushed");
    }

    drop(filler);
    store.drop_branches(&[name("filler")]).unwrap();
    // What is given back may take the upkeep a moment.
    let patience = Instant::now() + Duration::from_secs(10);
    for chunk in 8..24 {
        while let Err(error) = fill_once(&keep, chunk) {
            assert!(matches!(error, StoreError::NoSpace { .. }), "{error}");
            assert!(Instant::now() < patience, "dropping a fork gave no room: {error}");
            thread::sleep(Duration::from_millis(20));
        }
    }
    drop(keep);
    store.close().unwrap();

    let store = Store::open(&volume.path("store"), OpenOptions::default()).unwrap();
    let keep = store.branch(&name("keep")).unwrap();
    for chunk in 0..24 {
        assert!(holds(&keep, chunk), "chunk {chunk} after opening again");
    }
    let report = store
        .check(true, &mut |_| std::ops::ControlFlow::Continue(()))
        .unwrap();
    assert!(report.damage.is_empty(), "{:?}", report.damage);
    store.close().unwrap();
}

#[test]
fn a_store_that_ends_full_opens_again() {
    let Some(volume) = Volume::new() else { return };
    let path = volume.path("store");
    let store = Store::create(&path, &small_journal(), OpenOptions::default()).unwrap();
    let filler = store.create_branch(&name("filler"), 1 << 30).unwrap();
    let flushed = fill(&filler);
    // As a crash: nothing is put in order.
    drop(filler);
    drop(store);

    let store = Store::open(&path, OpenOptions::default()).unwrap();
    let filler = store.branch(&name("filler")).unwrap();
    for chunk in 0..flushed {
        assert!(holds(&filler, chunk), "chunk {chunk} was flushed");
    }
    drop(filler);
    store.drop_branches(&[name("filler")]).unwrap();
    store.close().unwrap();
}

/// Small writes and large ones, of several at once, while upkeep drains: whoever was told that a write is done can flush it.
#[test]
fn what_was_acknowledged_can_be_flushed_whoever_else_finds_no_room() {
    const WRITERS: usize = 6;
    for round in 0..4 {
        let Some(volume) = Volume::new() else { return };
        let path = volume.path("store");
        let options = OpenOptions {
            buffer_bytes: 16 << 20,
            ..OpenOptions::default()
        };
        let store = Store::create(&path, &small_journal(), options).unwrap();
        thread::scope(|scope| {
            for writer in 0..WRITERS {
                let branch = store
                    .create_branch(&name(&format!("disk-{writer}")), 1 << 30)
                    .unwrap();
                scope.spawn(move || {
                    let bytes = content(writer).repeat(4);
                    let length = [8 << 10, 64 << 10, 1 << 20][writer % 3];
                    let mut at = 0;
                    let refused = loop {
                        match branch.write_at(&bytes[..length], at) {
                            Ok(()) => at += length as u64,
                            Err(refused) => break refused,
                        }
                    };
                    assert!(matches!(refused, StoreError::NoSpace { .. }), "{refused:?}");
                    branch
                        .flush()
                        .unwrap_or_else(|error| panic!("round {round}: {at} bytes were written: {error}"));
                    let mut read = vec![0; length];
                    for offset in (0..at).step_by(length) {
                        branch.read_at(&mut read, offset).unwrap();
                        assert!(read == bytes[..length], "at {offset}");
                    }
                });
            }
        });
        store.close().unwrap();
    }
}

#[test]
fn a_tiny_journal_on_a_full_disk_goes_on() {
    const FORKS: usize = 120;
    let Some(volume) = Volume::new() else { return };
    let path = volume.path("store");
    let store = Store::create(&path, &tiny_journal(), OpenOptions::default()).unwrap();
    let base = store.create_branch(&name("base"), 1 << 30).unwrap();
    write(&base, 0).unwrap();
    base.flush().unwrap();
    let fork_name = |at: usize| name(&format!("fork-{at}"));
    let forks: Vec<_> = (0..FORKS)
        .map(|at| (Target::Branch(name("base")), fork_name(at)))
        .collect();
    for some in forks.chunks(20) {
        store.fork_many(some).unwrap();
    }
    for at in 0..FORKS {
        let fork = store.branch(&fork_name(at)).unwrap();
        fork.write_at(&content(at)[..8192], 0).unwrap();
    }
    let filler = store.branch(&fork_name(0)).unwrap();
    let flushed = fill(&filler);
    drop(filler);
    // Others take what is left, but for what the store holds.
    let ballast = fs::write(volume.path("ballast"), vec![1; VOLUME_BYTES as usize]);
    assert!(ballast.is_err(), "the volume is larger than it should be");

    // All at once drop, discard and flush: each takes its place in a ring of a few frames.
    thread::scope(|scope| {
        for part in 0..4 {
            let (store, fork_name) = (&store, &fork_name);
            scope.spawn(move || {
                for at in (1..FORKS).filter(|at| at % 4 == part) {
                    let fork = store.branch(&fork_name(at)).unwrap();
                    fork.discard(0, 1 << 20).unwrap();
                    fork.flush().unwrap();
                    drop(fork);
                    store.drop_branches(&[fork_name(at)]).unwrap();
                }
            });
        }
    });
    let filler = store.branch(&fork_name(0)).unwrap();
    for chunk in 1..flushed {
        assert!(holds(&filler, chunk), "chunk {chunk} was flushed");
    }
    drop((filler, base));
    store.close().unwrap();

    let store = Store::open(&path, OpenOptions::default()).unwrap();
    assert!(holds(&store.branch(&name("base")).unwrap(), 0));
    store.drop_branches(&[fork_name(0)]).unwrap();
    store.close().unwrap();
    let store = Store::open(&path, OpenOptions::default()).unwrap();
    let base = store.branch(&name("base")).unwrap();
    for chunk in 1..flushed / 2 {
        fill_once(&base, chunk).unwrap();
    }
    drop(base);
    store.close().unwrap();
}

#[test]
fn the_command_says_what_to_do() {
    let Some(volume) = Volume::new() else { return };
    let alone = commands_on(&volume, &Bench::new());
    drop(volume);
    let Some(volume) = Volume::new() else { return };
    let bench = Bench::new();
    bench.succeeds(&format!(
        "tine --store {} create first 1",
        volume.path("store").display()
    ));
    let daemon = Daemon::start(&bench, &format!("--store {}", volume.path("store").display()));
    let served = commands_on(&volume, &bench);
    daemon.stop();
    assert_eq!(alone, served, "a daemon says the same");
}

#[test]
fn an_nbd_client_is_told_and_goes_on() {
    let Some(volume) = Volume::new() else { return };
    let bench = Bench::new();
    let store = volume.path("store").display().to_string();
    bench.succeeds(&format!(
        "tine --store {store} create keep 1GiB && tine --store {store} create filler 1GiB"
    ));
    let daemon = Daemon::start(&bench, &format!("--store {store}"));
    let connect = |disk| Client::connect_for_words(&daemon.socket, disk).unwrap();
    let put = |client: &mut Client, chunk: usize| {
        let (offset, bytes) = ((chunk * CHUNK_BYTES) as u64, content(chunk));
        let written = client.try_to(WRITE, offset, CHUNK_BYTES as u32, &bytes).unwrap();
        written.and_then(|_| client.try_to(FLUSH, 0, 0, &[]).unwrap())
    };
    let holds = |client: &mut Client, chunk: usize| {
        let read = client.try_to(READ, (chunk * CHUNK_BYTES) as u64, CHUNK_BYTES as u32, &[]);
        read.unwrap().unwrap() == content(chunk)
    };
    let (mut keep, mut filler) = (connect("keep"), connect("filler"));
    for chunk in 0..8 {
        put(&mut keep, chunk).unwrap();
    }
    let mut flushed = 0;
    let (number, words) = loop {
        match put(&mut filler, flushed) {
            Ok(_) => flushed += 1,
            Err(refused) => break refused,
        }
    };
    assert!(flushed > 20, "the volume had room for {flushed} chunks only");
    assert_eq!(number, ENOSPC, "{words}");
    assert!(words.contains("no space left"), "{words}");
    assert!(words.contains("free some space"), "{words}");
    // The same connections go on: reading now, and writing when there is room.
    assert_eq!(put(&mut filler, flushed).unwrap_err().0, ENOSPC);
    for chunk in 0..8 {
        assert!(holds(&mut keep, chunk));
    }
    for chunk in 0..flushed {
        assert!(holds(&mut filler, chunk), "chunk {chunk} was flushed");
    }
    filler.leave().unwrap();
    bench.succeeds(&format!("tine --store {store} drop filler --yes"));
    let patience = Instant::now() + Duration::from_secs(10);
    for chunk in 8..24 {
        while let Err((number, words)) = put(&mut keep, chunk) {
            assert_eq!(number, ENOSPC, "{words}");
            assert!(Instant::now() < patience, "dropping a disk gave no room: {words}");
            thread::sleep(Duration::from_millis(20));
        }
    }
    assert!((0..24).all(|chunk| holds(&mut keep, chunk)));
    keep.leave().unwrap();
    daemon.stop();
}

/// Fills the volume by commands, makes room again, and returns what was said on the way, without figures.
fn commands_on(volume: &Volume, bench: &Bench) -> Vec<String> {
    let tine = |line: &str| {
        let output = bench
            .command(line)
            .env("TINE_STORE", volume.path("store"))
            .output()
            .unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let mut told = Vec::new();
    let mut without_figures = |said: &str| told.push(said.replace(|c: char| c.is_ascii_digit(), ""));
    assert_eq!(tine("tine create keep 1GiB").0, Some(0));
    assert_eq!(tine("echo precious | tine write keep").0, Some(0));
    assert_eq!(tine("tine fork keep filler").0, Some(0));
    let (status, said) = tine("head -c 512M /dev/urandom | tine write filler --offset 4k");
    assert_eq!(status, Some(2), "{said}");
    assert!(said.contains("no space left"), "{said}");
    assert!(said.contains("hint: free some space"), "{said}");
    without_figures(&said);
    // Nor is there room for a disk that is new; nothing of it stays.
    let (status, said) = tine("head -c 512M /dev/urandom | tine import - big --quiet");
    assert_eq!(status, Some(2), "{said}");
    // At which of its steps, is a matter of what upkeep had given back by then.
    without_figures(&said.replace("the new branch", "the write"));
    assert_eq!(tine("tine show big").0, Some(2));
    // Not even a full disk may keep one from dropping.
    let (status, said) = tine("tine drop filler --yes");
    assert_eq!(status, Some(0), "{said}");
    let (status, said) = tine("head -c 8M /dev/urandom | tine write keep --offset 4k");
    assert_eq!(status, Some(0), "{said}");
    assert_eq!(
        tine("test \"$(tine read keep --length 8)\" = precious").0,
        Some(0)
    );
    assert_eq!(tine("tine check --data").0, Some(0));

    fs::write(volume.path("image"), "").unwrap();
    let (status, said) = tine(&format!(
        "tine write keep --offset 16M --length 24M </dev/urandom && tine export keep {}",
        volume.path("new.img").display()
    ));
    assert_eq!(status, Some(2), "{said}");
    assert!(
        !volume.path("new.img").exists() && !volume.path("new.img.partial").exists(),
        "nothing half made"
    );
    told
}

/// Writes and flushes chunk after chunk until there is no room; returns how many were flushed.
fn fill(branch: &Branch) -> usize {
    for chunk in 0.. {
        match fill_once(branch, chunk) {
            Ok(()) => {}
            Err(StoreError::NoSpace { .. }) => return chunk,
            Err(error) => panic!("a full disk must be told as such: {error:?}"),
        }
    }
    unreachable!("a chunk more always fits")
}

fn fill_once(branch: &Branch, chunk: usize) -> Result<(), StoreError> {
    write(branch, chunk)?;
    branch.flush()
}

fn write(branch: &Branch, chunk: usize) -> Result<(), StoreError> {
    branch.write_at(&content(chunk), (chunk * CHUNK_BYTES) as u64)
}

fn holds(branch: &Branch, chunk: usize) -> bool {
    let mut bytes = vec![0; CHUNK_BYTES];
    branch.read_at(&mut bytes, (chunk * CHUNK_BYTES) as u64).unwrap();
    bytes == content(chunk)
}

/// Bytes that differ from block to block and from chunk to chunk.
fn content(chunk: usize) -> Vec<u8> {
    (0..CHUNK_BYTES / 8)
        .flat_map(|word| ((chunk as u64 + 1) << 32 | word as u64).to_le_bytes())
        .collect()
}

fn name(name: &str) -> BranchName {
    name.parse().unwrap()
}

fn small_journal() -> CreateOptions {
    CreateOptions {
        journal_file_bytes: 1 << 20,
        journal_files: 4,
    }
}

/// As little as a store takes.
fn tiny_journal() -> CreateOptions {
    CreateOptions {
        journal_file_bytes: 32 << 10,
        journal_files: 3,
    }
}

/// A small file system of its own.
struct Volume {
    folder: TempDir,
}

impl Volume {
    /// Makes and mounts it, or says why not.
    fn new() -> Option<Self> {
        let skipped = |why: &str| {
            println!("skipped: {why}");
            None
        };
        let Some(mkfs) = tool("mkfs.ext4") else {
            return skipped("mkfs.ext4 is needed (package e2fsprogs)");
        };
        let folder = tempfile::tempdir().unwrap();
        let image = folder.path().join("volume.img");
        File::create(&image).unwrap().set_len(VOLUME_BYTES).unwrap();
        assert!(
            Command::new(mkfs)
                .arg("-q")
                .arg(&image)
                .status()
                .unwrap()
                .success()
        );
        fs::create_dir(folder.path().join("mnt")).unwrap();
        let mount = Command::new("mount")
            .args(["-o", "loop"])
            .arg(&image)
            .arg(folder.path().join("mnt"))
            .output();
        match mount {
            Ok(output) if output.status.success() => Some(Self { folder }),
            Ok(output) => skipped(&format!(
                "cannot mount a loop device: {}",
                String::from_utf8_lossy(&output.stderr).trim()
            )),
            Err(error) => skipped(&format!("cannot run mount: {error}")),
        }
    }

    fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.folder.path().join("mnt").join(name)
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        let _ = Command::new("umount")
            .arg(self.folder.path().join("mnt"))
            .status();
    }
}
