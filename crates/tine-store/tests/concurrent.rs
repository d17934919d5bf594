//! Goal: threads that read, write, fork and flush at once see only what was written, on a real directory with the
//! engine's own upkeep.
//! Method: every block carries its number and a version that only grows; a reader never sees a version that was not
//! written yet, one older than it saw before, or a mixture.

mod support;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use tine_store::medium::simulated::{Chooser, SimulatedMedium, SimulatedOptions};
use tine_store::{
    BranchName, CreateOptions, OpenOptions, SnapshotName, Store, StoreError, Target, UpkeepStep,
};

const BLOCK: u64 = 4096;

fn name(text: &str) -> BranchName {
    text.parse().expect("a valid name")
}

/// A store whose journal and buffer are small enough that upkeep never rests.
fn store(directory: &tempfile::TempDir) -> Store {
    let create = CreateOptions {
        journal_file_bytes: 1 << 20,
        journal_files: 3,
    };
    Store::create(&directory.path().join("store"), &create, options()).expect("a new store")
}

fn options() -> OpenOptions {
    OpenOptions {
        buffer_bytes: 4 << 20,
        ..OpenOptions::default()
    }
}

fn reopen(directory: &tempfile::TempDir, store: Store) -> Store {
    store.close().expect("a clean close");
    Store::open(&directory.path().join("store"), options()).expect("the store opens")
}

/// A block that tells which one it is, who wrote it and when.
fn block_of(block: u64, writer: u64, version: u64) -> Vec<u8> {
    let words = [block, writer, version];
    (0..BLOCK as usize / 8)
        .flat_map(|at| words[at % 3].to_le_bytes())
        .collect()
}

/// Returns (writer, version), or `None` for a block of zeroes; panics on a mixture.
fn read_block(bytes: &[u8], block: u64) -> Option<(u64, u64)> {
    if bytes.iter().all(|&byte| byte == 0) {
        return None;
    }
    let word = |at: usize| u64::from_le_bytes(bytes[at * 8..at * 8 + 8].try_into().expect("eight bytes"));
    assert_eq!(
        bytes,
        block_of(block, word(1), word(2)),
        "block {block} is a mixture"
    );
    Some((word(1), word(2)))
}

#[test]
fn readers_and_writers_share_a_branch() {
    const BLOCKS: u64 = 64;
    const WRITERS: u64 = 3;
    const VERSIONS: u64 = 150;
    let directory = tempfile::tempdir().expect("a directory");
    let store = store(&directory);
    let branch = store
        .create_branch(&name("shared"), BLOCKS * BLOCK)
        .expect("a branch");
    let running = AtomicBool::new(true);

    thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let branch = branch.clone();
                scope.spawn(move || {
                    for version in 1..=VERSIONS {
                        // Each writer has blocks of its own; neighbours belong to others.
                        for block in (writer..BLOCKS).step_by(WRITERS as usize) {
                            branch
                                .write_at(&block_of(block, writer, version), block * BLOCK)
                                .expect("a write");
                        }
                        if version % 10 == 0 {
                            branch.flush().expect("a flush");
                        }
                    }
                })
            })
            .collect();
        for _ in 0..2 {
            let (branch, running) = (branch.clone(), &running);
            scope.spawn(move || {
                let mut seen = vec![0; BLOCKS as usize];
                let mut bytes = vec![0; (BLOCKS * BLOCK) as usize];
                while running.load(Ordering::Relaxed) {
                    branch.read_at(&mut bytes, 0).expect("a read");
                    for (block, bytes) in bytes.chunks(BLOCK as usize).enumerate() {
                        let version = read_block(bytes, block as u64).map_or(0, |(writer, version)| {
                            assert_eq!(writer, block as u64 % WRITERS);
                            version
                        });
                        assert!(version >= seen[block], "block {block} went back");
                        seen[block] = version;
                    }
                }
            });
        }
        for writer in writers {
            writer.join().expect("a writer");
        }
        running.store(false, Ordering::Relaxed);
    });

    drop(branch);
    let store = reopen(&directory, store);
    let branch = store.branch(&name("shared")).expect("the branch");
    let mut bytes = vec![0; (BLOCKS * BLOCK) as usize];
    branch.read_at(&mut bytes, 0).expect("a read");
    for (block, bytes) in bytes.chunks(BLOCK as usize).enumerate() {
        assert_eq!(
            read_block(bytes, block as u64),
            Some((block as u64 % WRITERS, VERSIONS))
        );
    }
}

#[test]
fn forks_under_load_are_moments_of_their_parent() {
    const BLOCKS: u64 = 32;
    const FORKS: u64 = 40;
    let directory = tempfile::tempdir().expect("a directory");
    let store = store(&directory);
    let parent = store
        .create_branch(&name("parent"), BLOCKS * BLOCK)
        .expect("a branch");
    let running = AtomicBool::new(true);
    let written = AtomicU64::new(0);

    thread::scope(|scope| {
        scope.spawn(|| {
            let mut version = 0;
            while running.load(Ordering::Relaxed) {
                version += 1;
                for block in 0..BLOCKS {
                    parent
                        .write_at(&block_of(block, 0, version), block * BLOCK)
                        .expect("a write");
                }
                written.store(version, Ordering::Release);
            }
        });
        for fork in 0..FORKS {
            let before = written.load(Ordering::Acquire);
            let name = name(&format!("fork{fork}"));
            store
                .fork(&Target::Branch(self::name("parent")), &name)
                .expect("a fork");
            let branch = store.branch(&name).expect("the fork");
            check_moment(&branch, before);
            // The fork goes its own way, which the parent must never see.
            branch.write_at(&block_of(1, 1, fork), BLOCK).expect("a write");
            if fork % 3 == 0 {
                branch.flush().expect("a flush");
            }
            if fork % 4 == 3 {
                store
                    .drop_branches(&[self::name(&format!("fork{}", fork - 1))])
                    .expect("a drop");
            }
        }
        running.store(false, Ordering::Relaxed);
    });

    let store = {
        drop(parent);
        reopen(&directory, store)
    };
    for fork in (0..FORKS).filter(|fork| fork % 4 != 2) {
        let branch = store.branch(&name(&format!("fork{fork}"))).expect("the fork");
        let mut bytes = vec![0; BLOCK as usize];
        branch.read_at(&mut bytes, BLOCK).expect("a read");
        assert_eq!(read_block(&bytes, 1), Some((1, fork)));
    }
    let mut bytes = vec![0; BLOCK as usize];
    store
        .branch(&name("parent"))
        .expect("the parent")
        .read_at(&mut bytes, BLOCK)
        .expect("a read");
    assert_eq!(read_block(&bytes, 1).map(|(writer, _)| writer), Some(0));
    assert!(
        store
            .check(true, &mut |_| std::ops::ControlFlow::Continue(()))
            .expect("a check")
            .damage
            .is_empty()
    );
}

/// The parent's one writer goes through the blocks in order, so a moment of it is a version up to some block and the
/// one before from there on.
fn check_moment(branch: &tine_store::Branch, at_least: u64) {
    let mut bytes = vec![0; branch.size() as usize];
    branch.read_at(&mut bytes, 0).expect("a read");
    let versions: Vec<u64> = bytes
        .chunks(BLOCK as usize)
        .enumerate()
        .map(|(block, bytes)| read_block(bytes, block as u64).map_or(0, |(_, version)| version))
        .collect();
    let (first, last) = (versions[0], versions[versions.len() - 1]);
    assert!(
        last >= at_least,
        "a write that had completed is missing: {versions:?}"
    );
    assert!(
        first - last <= 1 && versions.is_sorted_by(|a, b| a >= b),
        "no moment of the parent: {versions:?}"
    );
}

#[test]
fn many_branches_are_written_at_once() {
    const THREADS: u64 = 6;
    const BLOCKS: u64 = 96;
    let directory = tempfile::tempdir().expect("a directory");
    let store = store(&directory);
    let base = store
        .create_branch(&name("base"), BLOCKS * BLOCK)
        .expect("a branch");
    for block in 0..BLOCKS {
        base.write_at(&block_of(block, 99, 1), block * BLOCK)
            .expect("a write");
    }
    let forks: Vec<_> = (0..THREADS)
        .map(|at| (Target::Branch(name("base")), name(&format!("t{at}"))))
        .collect();
    store.fork_many(&forks).expect("the forks");

    thread::scope(|scope| {
        for at in 0..THREADS {
            let store = store.clone();
            scope.spawn(move || {
                let branch = store.branch(&name(&format!("t{at}"))).expect("the fork");
                for version in 1..=20 {
                    for block in (0..BLOCKS).filter(|block| block % THREADS != at) {
                        branch
                            .write_at(&block_of(block, at, version), block * BLOCK)
                            .expect("a write");
                    }
                    branch.flush().expect("a flush");
                    check_fork(&branch, at, version);
                }
            });
        }
    });

    drop(base);
    let store = reopen(&directory, store);
    for at in 0..THREADS {
        check_fork(&store.branch(&name(&format!("t{at}"))).expect("the fork"), at, 20);
    }
}

/// A block is the fork's own version, or the base's where the fork never wrote.
fn check_fork(branch: &tine_store::Branch, writer: u64, version: u64) {
    let mut bytes = vec![0; branch.size() as usize];
    branch.read_at(&mut bytes, 0).expect("a read");
    for (block, bytes) in bytes.chunks(BLOCK as usize).enumerate() {
        let own = block as u64 % 6 != writer;
        let expected = if own { (writer, version) } else { (99, 1) };
        assert_eq!(read_block(bytes, block as u64), Some(expected));
    }
}

#[test]
fn large_writes_to_one_branch_go_on_beside_each_other_and_beside_forks() {
    const THREADS: u64 = 6;
    const BLOCKS: u64 = 256;
    let directory = tempfile::tempdir().expect("a directory");
    let options = || OpenOptions {
        // So that these writes go past the buffer.
        large_write_bytes: BLOCKS * BLOCK,
        buffer_bytes: 1 << 20,
        ..OpenOptions::default()
    };
    let path = directory.path().join("store");
    let create = CreateOptions::default();
    let store = Store::create(&path, &create, options()).expect("a new store");
    let size = THREADS * BLOCKS * BLOCK;
    let branch = store.create_branch(&name("base"), size).expect("a branch");
    let whole = |version: u64, writer: u64| -> Vec<u8> {
        let blocks = writer * BLOCKS..(writer + 1) * BLOCKS;
        blocks
            .flat_map(|block| block_of(block, writer, version))
            .collect()
    };
    // Each writer's blocks are of one version, as nothing else is one write.
    let check = |branch: &tine_store::Branch, least: &[u64], most: u64| {
        let mut bytes = vec![0; size as usize];
        branch.read_at(&mut bytes, 0).expect("a read");
        for (writer, (least, bytes)) in (0..).zip(least.iter().zip(bytes.chunks((BLOCKS * BLOCK) as usize))) {
            let found = read_block(&bytes[..BLOCK as usize], writer * BLOCKS);
            let version = found.map_or(0, |(_, version)| version);
            assert!((*least..=most).contains(&version), "{version} of {writer}");
            assert!(version == 0 || bytes == whole(version, writer));
        }
    };
    let done: [AtomicU64; THREADS as usize] = Default::default();
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let writers: Vec<_> = (0..THREADS)
            .map(|writer| {
                let (branch, done) = (&branch, &done);
                scope.spawn(move || {
                    for version in 1..=40 {
                        let at = writer * BLOCKS * BLOCK;
                        branch.write_at(&whole(version, writer), at).expect("a write");
                        done[writer as usize].store(version, Ordering::SeqCst);
                        if version % 8 == writer {
                            branch.flush().expect("a flush");
                        }
                    }
                })
            })
            .collect();
        let over = &is_over;
        let (store, done) = (&store, &done);
        scope.spawn(move || {
            while !over.load(Ordering::SeqCst) {
                let before: Vec<u64> = done.iter().map(|done| done.load(Ordering::SeqCst)).collect();
                let target = Target::Branch(name("base"));
                store.fork(&target, &name("fork")).expect("a fork");
                check(&store.branch(&name("fork")).expect("the fork"), &before, 40);
                store.drop_branches(&[name("fork")]).expect("dropped");
            }
        });
        for writer in writers {
            writer.join().expect("a writer");
        }
        is_over.store(true, Ordering::SeqCst);
    });
    drop(branch);
    store.close().expect("a clean close");
    let store = Store::open(&path, options()).expect("the store opens");
    check(
        &store.branch(&name("base")).expect("the branch"),
        &[40; THREADS as usize],
        40,
    );
    let segments = std::fs::read_dir(path.join("segments")).expect("listed");
    let spare = segments.filter(|entry| {
        let name = entry.as_ref().expect("an entry").file_name();
        name.to_string_lossy().starts_with("00000000-")
    });
    assert_eq!(spare.count(), 0, "files are kept while the store is open only");
}

#[test]
fn a_rollback_to_a_snapshot_that_is_made_anew_shows_no_gap() {
    const ROUNDS: u64 = 300;
    let snapshot: SnapshotName = "s".parse().expect("a valid name");
    let simulated = SimulatedMedium::new(SimulatedOptions::default(), Chooser::seeded(1));
    let create = CreateOptions {
        journal_file_bytes: 1 << 20,
        journal_files: 3,
    };
    let store = Store::create_on(simulated.start(), &create, options()).expect("a store");
    let branch = store.create_branch(&name("a"), 8 * BLOCK).expect("a branch");
    branch.write_at(&block_of(0, 0, 1), 0).expect("a write");
    store
        .snapshot(&[(name("a"), snapshot.clone())])
        .expect("a snapshot");
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..ROUNDS {
                match store.rollback(&name("a"), Some(&snapshot), None) {
                    Ok(()) | Err(StoreError::UnknownSnapshot { .. }) => {}
                    Err(error) => panic!("a rollback: {error}"),
                }
            }
            over.store(true, Ordering::Relaxed);
        });
        scope.spawn(|| {
            for round in 2.. {
                if over.load(Ordering::Relaxed) {
                    break;
                }
                store.drop_snapshot(&name("a"), &snapshot).expect("it is there");
                branch.write_at(&block_of(0, 0, round), 0).expect("a write");
                store
                    .snapshot(&[(name("a"), snapshot.clone())])
                    .expect("a snapshot");
            }
        });
        let mut bytes = vec![0; BLOCK as usize];
        while !over.load(Ordering::Relaxed) {
            branch
                .read_at(&mut bytes, 0)
                .expect("a branch can be read at every moment");
            assert!(read_block(&bytes, 0).is_some());
        }
    });
}

#[test]
fn a_check_keeps_no_writer_waiting() {
    const BRANCHES: u64 = 4;
    const BLOCKS: u64 = 256;
    let directory = tempfile::tempdir().expect("a directory");
    let create = CreateOptions {
        journal_file_bytes: 256 << 10,
        journal_files: 3,
    };
    let small = || OpenOptions {
        buffer_bytes: 256 << 10,
        ..OpenOptions::default()
    };
    let store = Store::create(&directory.path().join("store"), &create, small()).expect("a new store");
    let branch_name = |at: u64| name(&format!("b{at}"));
    let write = |store: &Store, at: u64, version: u64| {
        let branch = store.branch(&name(&format!("b{at}"))).expect("the branch");
        for block in 0..BLOCKS {
            branch
                .write_at(&block_of(block, at, version), block * BLOCK)
                .expect("a write");
        }
        branch.flush().expect("a flush");
    };
    for at in 0..BRANCHES {
        store
            .create_branch(&branch_name(at), BLOCKS * BLOCK)
            .expect("a branch");
        write(&store, at, 1);
    }
    store.upkeep(UpkeepStep::Checkpoint).expect("a checkpoint");

    // Between two parts of the check the others meet every bound, and what was to be looked at goes.
    let mut calls = 0;
    let report = store.check(true, &mut |_| {
        calls += 1;
        let (done, finished) = std::sync::mpsc::channel();
        let (store, calls) = (store.clone(), calls);
        thread::spawn(move || {
            for at in 0..BRANCHES - 1 {
                write(&store, at, 1 + calls);
            }
            if calls == 1 {
                store
                    .drop_branches(&[name(&format!("b{}", BRANCHES - 1))])
                    .expect("a drop");
            }
            store.upkeep(UpkeepStep::Checkpoint).expect("a checkpoint");
            store.upkeep(UpkeepStep::Reclaim).expect("a reclaim");
            done.send(()).expect("the check waits");
        });
        let patience = std::time::Duration::from_secs(60);
        assert_eq!(
            finished.recv_timeout(patience),
            Ok(()),
            "writers stand still during a check"
        );
        std::ops::ControlFlow::Continue(())
    });
    let report = report.expect("a check");
    assert_eq!(report.damage, []);
    assert!(calls > 1 && report.blocks >= BLOCKS, "{report:?}, {calls} calls");
    let report = store.check(true, &mut |_| std::ops::ControlFlow::Continue(()));
    assert_eq!(report.expect("another check").damage, []);
}

#[test]
fn look_ups_in_vain_pay_for_a_merge() {
    const BLOCKS: u64 = 64;
    let directory = tempfile::tempdir().expect("a directory");
    let store = store(&directory);
    let branch = store.create_branch(&name("a"), BLOCKS * BLOCK).expect("a branch");
    let layers = || store.stats().expect("statistics").index.layers;
    let mut version = 0;
    // Checkpoints merge more or less in turn; at some of them there are several layers.
    while layers() < 2 {
        version += 1;
        // Both ends, so that what is between them is looked for in each layer.
        for at in [0, version * 7 % BLOCKS, BLOCKS - 1] {
            branch
                .write_at(&block_of(0, at, version), at * BLOCK)
                .expect("a write");
        }
        store.upkeep(UpkeepStep::Checkpoint).expect("a checkpoint");
    }
    // Opened anew, so that what is read comes from the index.
    drop(branch);
    store.close().expect("a clean close");
    let store = Store::open(&directory.path().join("store"), options()).expect("the store opens");
    let branch = store.branch(&name("a")).expect("the branch");
    let mut bytes = vec![0; BLOCK as usize];
    let begun = std::time::Instant::now();
    while store.stats().expect("statistics").index.layers > 1 {
        for at in 0..BLOCKS {
            branch.read_at(&mut bytes, at * BLOCK).expect("a read");
        }
        assert!(begun.elapsed().as_secs() < 60, "nobody merges");
    }
}

#[test]
fn a_batch_is_seen_as_a_whole_or_not_at_all() {
    const FAR: u64 = 1000;
    let directory = tempfile::tempdir().expect("a directory");
    let store = store(&directory);
    let branch = store
        .create_branch(&name("a"), (FAR + 1) * BLOCK)
        .expect("a branch");
    let write = |version: u64| {
        let (near, far) = (block_of(0, 0, version), block_of(FAR, 0, version));
        // A part of a block goes with them, read and written anew.
        let bytes = version.to_le_bytes();
        let writes = [
            (0, &near[..]),
            (FAR * BLOCK, &far[..]),
            (5 * BLOCK + 17, &bytes[..]),
        ];
        branch.write_batch(&writes).expect("a batch");
    };
    write(1);
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            for version in 2..3000 {
                write(version);
                if version % 100 == 0 {
                    branch.flush().expect("a flush");
                }
            }
            over.store(true, Ordering::Relaxed);
        });
        let mut bytes = vec![0; BLOCK as usize];
        while !over.load(Ordering::Relaxed) {
            let state = branch.state().expect("a state");
            let mut version = |block: u64| {
                state.read_at(&mut bytes, block * BLOCK).expect("a read");
                read_block(&bytes, block).expect("a whole block").1
            };
            let near = version(0);
            assert_eq!(near, version(FAR));
            let mut part = [0; 8];
            state.read_at(&mut part, 5 * BLOCK + 17).expect("a read");
            assert_eq!(u64::from_le_bytes(part), near);
        }
    });
    // What does not fit into one group is refused before anything is written.
    let large = vec![1; 4096 * BLOCK as usize];
    store.resize(&name("a"), 5000 * BLOCK).expect("another size");
    let refused = branch.write_batch(&[(0, &large[..])]);
    assert!(matches!(refused, Err(StoreError::BatchTooLarge { .. })));
    let mut bytes = vec![0; BLOCK as usize];
    branch.read_at(&mut bytes, 0).expect("a read");
    assert_eq!(read_block(&bytes, 0), Some((0, 2999)));
}

#[test]
fn a_point_that_is_only_read_still_is_no_point_any_more() {
    let medium = SimulatedMedium::new(SimulatedOptions::default(), Chooser::seeded(1));
    let options = OpenOptions {
        buffer_bytes: 4 << 20,
        upkeep: tine_store::UpkeepMode::Inline,
        ..OpenOptions::default()
    };
    let store = Store::create_on(medium.start(), &CreateOptions::default(), options).expect("a store");
    let branch = store.create_branch(&name("a"), 4 << 20).expect("a branch");
    let bytes = vec![7; 400 << 10];
    for at in (0..bytes.len()).step_by(BLOCK as usize) {
        branch
            .write_at(&bytes[at..at + BLOCK as usize], at as u64)
            .expect("a write");
    }
    let snapshot: SnapshotName = "s".parse().expect("a valid name");
    store
        .snapshot(&[(name("a"), snapshot.clone())])
        .expect("a snapshot");
    let target = Target::Snapshot(name("a"), snapshot);
    let held = store.state(&target).expect("a state");
    let buffered = store.stats().expect("statistics").buffer.bytes;
    assert!(buffered >= bytes.len() as u64, "{buffered} bytes are in memory");
    let points = store.points().expect("told");
    let point = points.iter().find(|point| point.snapshots.contains(&target));
    let point = point.expect("the snapshot's point");
    drop(branch);
    store.drop_branches(&[name("a")]).expect("dropped");

    assert!(store.points().expect("told").is_empty());
    let found = store.point_state(point);
    assert!(matches!(found, Err(StoreError::UnknownPoint { .. })), "{found:?}");
    // What it has in memory can go nowhere, and is in no writer's way.
    store.upkeep(UpkeepStep::Drain).expect("a drain");
    assert_eq!(store.stats().expect("statistics").buffer.bytes, 0);
    let mut read = vec![0; bytes.len()];
    held.read_at(&mut read, 0).expect("a read");
    assert!(read == bytes, "what is read still is not what it was");
}
