//! Goal: what grows while a store is used stays within its bounds, however many write, and however much is open.
//! Method: real directories and threads; descriptors are those that the kernel counts, memory is what the engine counts.

mod support;

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use parking_lot::Mutex;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use support::perform::branch_name;
use tine_store::{CreateOptions, OpenOptions, Store, UpkeepMode, UpkeepStep};

const BLOCK: u64 = 4096;

/// Descriptors are counted in the whole process.
static ALONE: Mutex<()> = Mutex::new(());

fn descriptors(below: &Path) -> u64 {
    let open = fs::read_dir("/proc/self/fd").expect("/proc");
    let points_below = |entry: std::io::Result<fs::DirEntry>| {
        let target = entry.ok().and_then(|entry| fs::read_link(entry.path()).ok());
        target.is_some_and(|target| target.starts_with(below))
    };
    open.filter_map(|entry| points_below(entry).then_some(())).count() as u64
}

#[test]
fn descriptors_are_bounded_however_many_segments_are_read() {
    const BRANCHES: u64 = 1600;
    const THREADS: u64 = 16;
    let _alone = ALONE.lock();
    let limit = getrlimit(Resource::Nofile);
    // The bound follows from it.
    let lower = Rlimit {
        current: Some(1024),
        ..limit
    };
    setrlimit(Resource::Nofile, lower).expect("a lower limit");
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("store");
    let options = OpenOptions {
        upkeep: UpkeepMode::Inline,
        // Nodes are read again and again.
        index_cache_bytes: 4096,
        ..OpenOptions::default()
    };
    let store = Store::create(&path, &CreateOptions::default(), options).expect("a store");
    let branches: Vec<_> = (0..BRANCHES)
        .map(|at| {
            let name = branch_name(&format!("b{at}"));
            let branch = store.create_branch(&name, 1 << 20).expect("a branch");
            branch
                .write_at(&[at as u8 | 1; BLOCK as usize], 0)
                .expect("a write");
            // A segment for each.
            store.upkeep(UpkeepStep::Drain).expect("a drain");
            branch
        })
        .collect();
    let segments = path.join("segments");
    let (most, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                most.fetch_max(descriptors(&segments), Ordering::Relaxed);
                thread::sleep(Duration::from_micros(200));
            }
        });
        let readers: Vec<_> = (0..THREADS)
            .map(|thread| {
                let branches = &branches;
                scope.spawn(move || {
                    for step in 0..3 * BRANCHES {
                        let at = (thread * 97 + step * 7) % BRANCHES;
                        let mut bytes = [0; BLOCK as usize];
                        branches[at as usize].read_at(&mut bytes, 0).expect("a read");
                        assert_eq!(bytes, [at as u8 | 1; BLOCK as usize]);
                    }
                })
            })
            .collect();
        readers
            .into_iter()
            .for_each(|reader| reader.join().expect("a reader"));
        stop.store(true, Ordering::Relaxed);
    });
    let stats = store.stats().expect("statistics").descriptors;
    assert!(
        stats.hard < BRANCHES,
        "too few segments to meet a bound of {}",
        stats.hard
    );
    let most = most.into_inner();
    assert!(
        most <= stats.hard,
        "{most} descriptors, of at most {}",
        stats.hard
    );
    assert!(most * 2 > stats.soft, "{most} descriptors: the bound was not met");
    assert_eq!(stats.open, descriptors(&segments));
    assert!(stats.open <= stats.soft, "{stats:?}");
}

#[test]
fn memory_journal_and_debt_are_bounded_under_eight_writers() {
    const WRITERS: u64 = 8;
    const WRITES: u64 = 6000;
    const DISK_BLOCKS: u64 = 4096;
    let _alone = ALONE.lock();
    let directory = tempfile::tempdir().expect("a directory");
    let options = OpenOptions {
        buffer_bytes: 2 << 20,
        ..OpenOptions::default()
    };
    let create = CreateOptions {
        journal_file_bytes: 256 << 10,
        journal_files: 4,
    };
    let store = Store::create(&directory.path().join("store"), &create, options).expect("a store");
    let stop = AtomicBool::new(false);
    let (most, journal) = (AtomicU64::new(0), AtomicU64::new(0));
    thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let stats = store.stats().expect("statistics");
                most.fetch_max(stats.buffer.bytes, Ordering::Relaxed);
                journal.fetch_max(stats.journal.used, Ordering::Relaxed);
                thread::sleep(Duration::from_micros(100));
            }
        });
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let name = branch_name(&format!("w{writer}"));
                let branch = store.create_branch(&name, DISK_BLOCKS * BLOCK).expect("a branch");
                scope.spawn(move || {
                    for write in 1..=WRITES {
                        let block = write * 7919 % DISK_BLOCKS;
                        branch
                            .write_at(&[write as u8 | 1; BLOCK as usize], block * BLOCK)
                            .expect("a write");
                        if write % 64 == writer {
                            branch.flush().expect("a flush");
                        }
                    }
                })
            })
            .collect();
        writers
            .into_iter()
            .for_each(|writer| writer.join().expect("a writer"));
        stop.store(true, Ordering::Relaxed);
    });
    let stats = store.stats().expect("statistics");
    let most = most.into_inner();
    // Each of them may have looked just before the others wrote.
    let hard = stats.buffer.hard + WRITERS * BLOCK;
    assert!(most <= hard, "{most} bytes in memory, of at most {hard}");
    assert!(most > stats.buffer.soft, "{most} bytes: the bound was not met");
    assert!(stats.buffer.held_back > 0, "nobody was slowed down");
    // Upkeep's own frames may take the file that users leave free.
    let ring = stats.journal.bytes;
    assert!(journal.into_inner() <= ring, "more in use than the ring has");
    assert!(stats.debt.bytes <= stats.debt.soft);
    assert!(stats.index.layers <= stats.index.layers_hard);
    store.close().expect("a close");
}

#[test]
fn who_does_its_own_upkeep_is_never_slowed_down() {
    let _alone = ALONE.lock();
    let directory = tempfile::tempdir().expect("a directory");
    let options = OpenOptions {
        buffer_bytes: 1 << 20,
        upkeep: UpkeepMode::Inline,
        ..OpenOptions::default()
    };
    let create = CreateOptions {
        journal_file_bytes: 256 << 10,
        journal_files: 3,
    };
    let store = Store::create(&directory.path().join("store"), &create, options).expect("a store");
    let branch = store
        .create_branch(&branch_name("a"), 16 << 20)
        .expect("a branch");
    for write in 0..2000 {
        branch
            .write_at(&[3; BLOCK as usize], write * 31 % 4096 * BLOCK)
            .expect("a write");
        if write % 16 == 0 {
            branch.flush().expect("a flush");
        }
    }
    let stats = store.stats().expect("statistics");
    assert!(stats.segments.count > 1, "nothing was drained");
    assert_eq!(
        (
            stats.buffer.held_back,
            stats.journal.held_back,
            stats.debt.held_back
        ),
        (0, 0, 0)
    );
}
