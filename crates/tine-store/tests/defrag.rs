//! Goal: defragmenting changes how a disk lies and nothing that can be read: not the branch, whoever writes to it
//! meanwhile, not what shares with it; and it costs no space that it was not allowed to cost.
//! Method: disks written out of order, compared with what was written, and with how they lie before and after.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use tine_store::{
    Branch, BranchName, CreateOptions, DefragOptions, DefragReport, OpenOptions, Progress, Store, StoreError,
    Target,
};

const BLOCK: u64 = 4096;
/// Two windows and a bit.
const BLOCKS: u64 = 2100;

fn name(text: &str) -> BranchName {
    text.parse().expect("a valid name")
}

fn go_on(_: Progress) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

fn block_of(block: u64, version: u64) -> Vec<u8> {
    (0..BLOCK / 16)
        .flat_map(|_| [block, version])
        .flat_map(u64::to_le_bytes)
        .collect()
}

fn write(branch: &Branch, block: u64, version: u64) {
    branch
        .write_at(&block_of(block, version), block * BLOCK)
        .expect("a write");
}

/// Writes every block, each beside none that was written shortly before.
fn write_scattered(branch: &Branch, version: u64) {
    for at in 0..BLOCKS {
        write(branch, at * 1009 % BLOCKS, version);
    }
}

fn options() -> OpenOptions {
    OpenOptions {
        // What is drained at once are some blocks from everywhere.
        buffer_bytes: 1 << 20,
        ..OpenOptions::default()
    }
}

fn store(directory: &tempfile::TempDir) -> Store {
    Store::create(
        &directory.path().join("store"),
        &CreateOptions::default(),
        options(),
    )
    .expect("a store")
}

fn scattered(store: &Store, of: &str) -> Branch {
    let branch = store.create_branch(&name(of), BLOCKS * BLOCK).expect("a branch");
    write_scattered(&branch, 1);
    branch
}

fn content(branch: &Branch) -> Vec<u8> {
    let mut bytes = vec![0; branch.size() as usize];
    branch.read_at(&mut bytes, 0).expect("a read");
    bytes
}

fn defrag(store: &Store, of: &str, shared: bool) -> DefragReport {
    store
        .defrag(&name(of), &DefragOptions { shared }, &mut go_on)
        .expect("defragmented")
}

#[test]
fn what_was_written_out_of_order_lies_in_order_and_once() {
    let directory = tempfile::tempdir().unwrap();
    let store = store(&directory);
    let branch = scattered(&store, "a");
    let before = content(&branch);
    let report = defrag(&store, "a", false);
    assert_eq!(report.before.data, BLOCKS * BLOCK);
    assert!(report.before.extents > BLOCKS / 2, "{report:?}");
    assert_eq!(report.before.due, BLOCKS * BLOCK);
    assert_eq!((report.rewritten, report.unshared), (BLOCKS * BLOCK, 0));
    // A window is one piece at the least, and those that are drained together are one.
    assert!(report.after.extents <= 3, "{report:?}");
    assert_eq!(report.after.data, BLOCKS * BLOCK);
    assert!(content(&branch) == before);
    // What was replaced has been given back.
    let segments = store.stats().expect("stats").segments;
    assert_eq!(segments.live, BLOCKS * BLOCK);
    assert!(
        segments.bytes - segments.index_bytes < (BLOCKS + BLOCKS / 8) * BLOCK,
        "{segments:?}"
    );
    drop(branch);
    store.close().expect("closed");
    let store = Store::open(&directory.path().join("store"), options()).expect("the store opens");
    assert!(content(&store.branch(&name("a")).expect("a branch")) == before);
    let check = store.check(true, &mut go_on).expect("checked");
    assert!(check.damage.is_empty(), "{check:?}");
}

#[test]
fn a_second_run_writes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let store = store(&directory);
    let branch = scattered(&store, "a");
    defrag(&store, "a", false);
    let written = store.stats().expect("stats").medium_written;
    let again = defrag(&store, "a", false);
    assert_eq!((again.rewritten, again.before), (0, again.after));
    assert_eq!(store.stats().expect("stats").medium_written, written);
    // A few blocks out of place are not worth a window.
    for block in (0..BLOCKS).step_by(100) {
        write(&branch, block, 2);
    }
    assert_eq!(defrag(&store, "a", false).rewritten, 0);
}

#[test]
fn gaps_stay_and_a_disk_in_order_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let store = store(&directory);
    // Beyond many windows of nothing.
    let branch = store.create_branch(&name("a"), 1 << 50).expect("a branch");
    for block in (1 << 30..(1 << 30) + 900).step_by(3) {
        write(&branch, block, 1);
    }
    branch.write_zeroes(1 << 20, 1 << 20).expect("zeroes");
    let extents = || branch.extents(0..1 << 50).expect("extents");
    let before = extents();
    // In as many pieces as there are gaps between them: nothing is to be had.
    let report = defrag(&store, "a", false);
    assert_eq!((report.before.extents, report.rewritten), (300, 0));
    for at in 0..600 {
        let block = at * 7 % 600;
        write(&branch, block * 3 / 2 + 5000, 1);
    }
    let written = extents();
    assert_ne!(written, before);
    let report = defrag(&store, "a", false);
    // Two blocks, then a gap.
    assert_eq!(report.after.extents, 300 + 300);
    assert_eq!(report.rewritten, 600 * BLOCK, "{report:?}");
    assert_eq!(extents(), written);
}

#[test]
fn what_is_shared_is_left_alone_unless_that_is_asked_for() {
    let directory = tempfile::tempdir().unwrap();
    let store = store(&directory);
    let golden = scattered(&store, "golden");
    store
        .snapshot(&[(name("golden"), "s".parse().expect("a valid name"))])
        .expect("a snapshot");
    store
        .fork(&Target::Branch(name("golden")), &name("web"))
        .expect("a fork");
    let web = store.branch(&name("web")).expect("a branch");
    // Half of the first window is the fork's own.
    for at in 0..512 {
        write(&web, at * 37 % 512, 2);
        write(&web, at * 37 % 512, 3);
    }
    let (before, of_golden) = (content(&web), content(&golden));
    let own = defrag(&store, "web", false);
    assert_eq!((own.before.due_shared, own.unshared), (0, 0));
    assert!(own.rewritten <= 512 * BLOCK, "{own:?}");
    assert_eq!(
        store.branch_info(&name("web")).expect("info").written,
        512 * BLOCK
    );
    let plan = store
        .fragmentation(&name("web"), &DefragOptions { shared: true }, &mut go_on)
        .expect("fragmentation");
    assert_eq!(plan.due_shared, (BLOCKS - 512) * BLOCK);
    let all = defrag(&store, "web", true);
    assert_eq!(all.unshared, plan.due_shared);
    assert!(all.after.extents <= 4, "{all:?}");
    assert_eq!(
        store.branch_info(&name("web")).expect("info").written,
        BLOCKS * BLOCK
    );
    assert!(content(&web) == before);
    assert!(content(&golden) == of_golden);
    let snapshot = store.state(&Target::Snapshot(name("golden"), "s".parse().unwrap()));
    let snapshot = snapshot.expect("a view");
    let mut bytes = vec![0; of_golden.len()];
    snapshot.read_at(&mut bytes, 0).expect("a read");
    assert!(bytes == of_golden);
    assert!(
        defrag(&store, "golden", false).rewritten == 0,
        "all of it is the snapshot's"
    );
}

#[test]
fn who_writes_meanwhile_keeps_what_was_written() {
    let directory = tempfile::tempdir().unwrap();
    let store = store(&directory);
    let branch = scattered(&store, "a");
    let done = AtomicBool::new(false);
    let versions = thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut versions = vec![1; BLOCKS as usize];
            for at in 0.. {
                if done.load(Ordering::Relaxed) {
                    break;
                }
                let block = at * 611 % BLOCKS;
                versions[block as usize] = 2 + at;
                write(&branch, block, 2 + at);
                let mut bytes = vec![0; BLOCK as usize];
                branch.read_at(&mut bytes, block * BLOCK).expect("a read");
                assert!(bytes == block_of(block, 2 + at), "block {block} was put back");
            }
            versions
        });
        for _ in 0..20 {
            defrag(&store, "a", false);
        }
        done.store(true, Ordering::Relaxed);
        writer.join().expect("a writer")
    });
    for (block, bytes) in content(&branch).chunks(BLOCK as usize).enumerate() {
        assert!(
            bytes == block_of(block as u64, versions[block]),
            "block {block} is another"
        );
    }
}

#[test]
fn a_run_that_is_cancelled_changes_nothing_and_another_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    let store = store(&directory);
    let branch = scattered(&store, "a");
    let before = content(&branch);
    let mut told = Vec::new();
    let mut stop = |progress: Progress| {
        told.push(progress);
        if progress.done > 0 {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    };
    let cancelled = store.defrag(&name("a"), &DefragOptions::default(), &mut stop);
    assert!(matches!(cancelled, Err(StoreError::Cancelled)), "{cancelled:?}");
    let last = told.last().expect("progress");
    assert_eq!((last.done, last.total), (1024 * BLOCK, Some(BLOCKS * BLOCK)));
    assert!(content(&branch) == before);
    let rest = defrag(&store, "a", false);
    assert_eq!(rest.rewritten, (BLOCKS - 1024) * BLOCK);
    assert!(rest.after.extents <= 3, "{rest:?}");
    assert!(content(&branch) == before);
}
