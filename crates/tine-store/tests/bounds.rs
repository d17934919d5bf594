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
use tine_store::{
    BufferStats, CreateOptions, DebtStats, JournalStats, OpenOptions, Store, StoreStats, UpkeepMode,
    UpkeepStep,
};

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
    const BRANCHES: u64 = 400;
    const THREADS: u64 = 16;
    let _alone = ALONE.lock();
    let limit = getrlimit(Resource::Nofile);
    // The bound follows from it.
    let lower = Rlimit {
        current: Some(256),
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

/// The most that was seen while eight threads wrote, each to a branch, and what is told afterwards.
struct Seen {
    buffer: u64,
    journal: u64,
    debt: u64,
    after: StoreStats,
}

const WRITERS: u64 = 8;

/// Lets eight threads write single blocks, each flushing once in so many.
fn write_from_eight_threads(options: OpenOptions, create: &CreateOptions, flush_in: u64) -> Seen {
    const WRITES: u64 = 4000;
    const DISK_BLOCKS: u64 = 4096;
    let directory = tempfile::tempdir().expect("a directory");
    let store = Store::create(&directory.path().join("store"), create, options).expect("a store");
    let stop = AtomicBool::new(false);
    let (buffer, journal, debt) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
    thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let stats = store.stats().expect("statistics");
                buffer.fetch_max(stats.buffer.bytes, Ordering::Relaxed);
                journal.fetch_max(stats.journal.used, Ordering::Relaxed);
                debt.fetch_max(stats.debt.bytes, Ordering::Relaxed);
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
                        if write % flush_in == writer % flush_in {
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
    let after = store.stats().expect("statistics");
    store.close().expect("a close");
    let seen = Seen {
        buffer: buffer.into_inner(),
        journal: journal.into_inner(),
        debt: debt.into_inner(),
        after,
    };
    let Seen {
        buffer,
        journal,
        debt,
        after,
    } = &seen;
    println!("at the most: buffer {buffer}, journal {journal}, debt {debt}; {after:?}");
    seen
}

#[test]
fn memory_meets_its_bound_under_eight_writers_and_keeps_it() {
    let _alone = ALONE.lock();
    let options = OpenOptions {
        buffer_bytes: 2 << 20,
        ..OpenOptions::default()
    };
    let seen = write_from_eight_threads(options, &CreateOptions::default(), 1000);
    let BufferStats {
        soft,
        hard,
        held_back,
        ..
    } = seen.after.buffer;
    // Each of them may have looked just before the others wrote.
    let hard = hard + WRITERS * BLOCK;
    assert!(
        seen.buffer <= hard,
        "{} bytes in memory, of at most {hard}",
        seen.buffer
    );
    assert!(
        seen.buffer > soft.midpoint(hard),
        "{} bytes in memory: the bound was not met",
        seen.buffer
    );
    assert!(held_back > 0, "nobody was slowed down");
}

#[test]
fn the_journal_meets_its_bound_under_eight_writers_and_keeps_it() {
    let _alone = ALONE.lock();
    let create = CreateOptions {
        journal_file_bytes: 256 << 10,
        journal_files: 4,
    };
    let seen = write_from_eight_threads(OpenOptions::default(), &create, 8);
    let JournalStats {
        soft,
        hard,
        held_back,
        files,
        ..
    } = seen.after.journal;
    assert!(
        seen.journal > soft.midpoint(hard),
        "{} bytes of the journal: the bound was not met",
        seen.journal
    );
    assert!(held_back > 0, "nobody was slowed down");
    // Users' frames leave a file free, which upkeep's own may take; that was enough, or the ring would have grown.
    let hard = hard + create.journal_file_bytes;
    assert!(
        seen.journal <= hard,
        "{} bytes of the journal, of at most {hard}",
        seen.journal
    );
    assert_eq!(files, u64::from(create.journal_files));
}

#[test]
fn debt_meets_its_bound_under_eight_writers_and_keeps_it() {
    let _alone = ALONE.lock();
    let mut options = OpenOptions {
        buffer_bytes: 2 << 20,
        ..OpenOptions::default()
    };
    // With nothing between the two nobody is slowed down before the hard one.
    (options.bounds.debt_soft, options.bounds.debt_hard) = (4 << 20, 4 << 20);
    let seen = write_from_eight_threads(options, &CreateOptions::default(), 1000);
    let DebtStats { hard, .. } = seen.after.debt;
    assert!(
        seen.debt > hard,
        "{} bytes of debt: the bound was not met",
        seen.debt
    );
    // What is in memory becomes debt without anybody being asked.
    let hard = hard + 2 * seen.after.buffer.hard;
    assert!(
        seen.debt <= hard,
        "{} bytes of debt, of at most {hard}",
        seen.debt
    );
}

#[test]
fn debt_slows_eight_writers_down_between_its_bounds() {
    let _alone = ALONE.lock();
    let mut options = OpenOptions {
        buffer_bytes: 16 << 20,
        ..OpenOptions::default()
    };
    let (soft, hard) = (2 << 20, 24 << 20);
    (options.bounds.debt_soft, options.bounds.debt_hard) = (soft, hard);
    let seen = write_from_eight_threads(options, &CreateOptions::default(), 1000);
    assert!(
        seen.debt > soft,
        "{} bytes of debt: the bound was not met",
        seen.debt
    );
    assert!(seen.after.debt.held_back > 0, "nobody was slowed down");
    // What is in memory becomes debt without anybody being asked.
    let hard = hard + 2 * seen.after.buffer.hard;
    assert!(
        seen.debt <= hard,
        "{} bytes of debt, of at most {hard}",
        seen.debt
    );
}

#[test]
fn what_is_streamed_meets_its_bounds_and_keeps_them() {
    const WRITE: u64 = 1 << 20;
    let _alone = ALONE.lock();
    for upkeep in [UpkeepMode::Inline, UpkeepMode::Background] {
        let directory = tempfile::tempdir().expect("a directory");
        let options = OpenOptions {
            // Above its soft bound large writes pass the buffer by.
            buffer_bytes: 4 << 20,
            upkeep,
            ..OpenOptions::default()
        };
        let path = directory.path().join("store");
        let store = Store::create(&path, &CreateOptions::default(), options).expect("a store");
        let branch = store
            .create_branch(&branch_name("a"), 256 << 20)
            .expect("a branch");
        let mut most = 0;
        for write in 0..200 {
            let bytes = vec![write as u8 | 1; WRITE as usize];
            branch.write_at(&bytes, write * WRITE).expect("a write");
            most = most.max(store.stats().expect("statistics").streams.bytes);
        }
        let streams = store.stats().expect("statistics").streams;
        println!("{upkeep:?}: {most} bytes, {streams:?}");
        assert!(most <= streams.hard, "{most} bytes, of at most {}", streams.hard);
        // Without a thread of the store's own nobody drains them before a writer has to.
        let met = match upkeep {
            UpkeepMode::Inline => streams.hard - 2 * WRITE,
            UpkeepMode::Background => streams.soft,
        };
        assert!(
            most > met,
            "{upkeep:?}: {most} bytes: the bound of {met} was not met"
        );
        store.close().expect("a close");
    }
}

#[test]
fn open_streams_meet_their_bound_and_keep_it() {
    let _alone = ALONE.lock();
    let directory = tempfile::tempdir().expect("a directory");
    let options = OpenOptions {
        large_write_bytes: BLOCK,
        upkeep: UpkeepMode::Inline,
        ..OpenOptions::default()
    };
    let path = directory.path().join("store");
    let store = Store::create(&path, &CreateOptions::default(), options).expect("a store");
    let mut most = 0;
    for at in 0..200 {
        let branch = store
            .create_branch(&branch_name(&format!("b{at}")), 1 << 20)
            .expect("a branch");
        branch.write_at(&[7; 16 * BLOCK as usize], 0).expect("a write");
        most = most.max(store.stats().expect("statistics").streams.open);
    }
    let streams = store.stats().expect("statistics").streams;
    assert_eq!(most, streams.open_hard, "{streams:?}");
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
