//! Goal: who reads for long keeps nobody out and loses nothing, and what it kept comes back when it ends, however that
//! happens and whoever is there to see it.
//! Method: a reader beside other processes that drop what it reads, on the simulated medium and in a directory.

mod support;

use std::fs::{self, File};
use std::ops::ControlFlow;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use support::gate::{Gate, Gated, Held};
use support::perform::{describe, go_on};
use support::runner::Config;
use support::watchdog::Watchdog;
use tine_store::medium::simulated::{Chooser, Fault, FileName, SimulatedMedium, SimulatedOptions, Violation};
use tine_store::medium::{ObjectName, Syncer};
use tine_store::{
    BranchName, CreateOptions, ExportTarget, OpenOptions, Reader, Store, StoreError, Target, UpkeepStep,
};

const BLOCK: u64 = 4096;
const BLOCKS: u64 = 16;
const CONFIG: Config = Config::SMALL;

fn name(text: &str) -> BranchName {
    text.parse().expect("a valid name")
}

fn target(text: &str) -> Target {
    text.parse().expect("a valid target")
}

fn open(medium: &SimulatedMedium) -> Store {
    Store::open_on(medium.start(), CONFIG.open_options()).expect("the store opens")
}

fn content(byte: u8) -> Vec<u8> {
    vec![byte; (BLOCKS * BLOCK) as usize]
}

/// Makes a branch full of a byte, with a segment and a run that are nobody else's.
fn make(store: &Store, branch: &str, byte: u8) {
    let made = store
        .create_branch(&name(branch), BLOCKS * BLOCK)
        .expect("a branch");
    made.write_at(&content(byte), 0).expect("a write");
    store.upkeep(UpkeepStep::Checkpoint).expect("a checkpoint");
}

fn with_branches(options: SimulatedOptions) -> SimulatedMedium {
    let medium = SimulatedMedium::new(options, Chooser::seeded(1));
    let store = Store::create_on(medium.start(), &CONFIG.create_options(), CONFIG.open_options());
    let store = store.expect("a store");
    for (branch, byte) in [("a", 1), ("b", 2), ("c", 3)] {
        make(&store, branch, byte);
    }
    store.close().expect("a clean close");
    medium
}

fn medium() -> SimulatedMedium {
    with_branches(SimulatedOptions::default())
}

fn reader(medium: &SimulatedMedium, targets: &[&str]) -> Reader {
    let targets: Vec<_> = targets.iter().map(|text| target(text)).collect();
    let reader = open(medium).into_reader(&targets).expect("a reader");
    assert!(reader.lets_others_in());
    reader
}

fn exported(reader: &Reader, at: usize) -> Result<Vec<u8>, StoreError> {
    let mut bytes = Vec::new();
    reader.export(&reader.states()[at], ExportTarget::Stream(&mut bytes), &mut go_on)?;
    Ok(bytes)
}

fn segments(medium: &SimulatedMedium) -> usize {
    let is_segment = |name: &FileName| matches!(name, FileName::Object(ObjectName::Segment(_)));
    medium.files().iter().filter(|(name, _)| is_segment(name)).count()
}

fn no_misuse(medium: &SimulatedMedium) {
    let violations = medium.take_violations();
    assert!(violations.is_empty(), "{violations:?}");
}

#[test]
fn what_is_dropped_beside_a_reader_stays_until_it_ends() {
    let medium = medium();
    let before = segments(&medium);
    let reader = reader(&medium, &["a"]);

    let store = open(&medium);
    store.drop_branches(&[name("a"), name("b")]).expect("a drop");
    store.upkeep(UpkeepStep::Checkpoint).expect("a checkpoint");
    let leased = store.leased_bytes().expect("it can be told");
    assert!((BLOCKS * BLOCK..2 * BLOCKS * BLOCK).contains(&leased), "{leased}");
    assert_eq!(store.stats().expect("numbers").segments.leased_bytes, leased);
    assert_eq!(segments(&medium), before - 2, "what nobody reads is given back");
    make(&store, "d", 4);
    assert_eq!(exported(&reader, 0).expect("it reads on"), content(1));

    drop(reader);
    let before = segments(&medium);
    store.upkeep(UpkeepStep::Reclaim).expect("a reclaim");
    assert_eq!(segments(&medium), before - 2);
    assert_eq!(store.leased_bytes().expect("it can be told"), 0);
    store.close().expect("a clean close");
    no_misuse(&medium);
}

#[test]
fn what_a_reader_kept_is_given_back_by_a_later_process() {
    // Whether it ends well, is killed, or the power goes; whether those who dropped are still there or not.
    for end in 0..3 {
        for clean in [true, false] {
            let medium = medium();
            let before = segments(&medium);
            let reader = reader(&medium, &["a"]);
            let store = open(&medium);
            store.drop_branches(&[name("a")]).expect("a drop");
            store.upkeep(UpkeepStep::Checkpoint).expect("a checkpoint");
            if clean {
                store.close().expect("a clean close");
            } else {
                drop(store);
            }
            assert_eq!(segments(&medium), before);
            // A process that only looks meets the reader too.
            open(&medium).close().expect("a clean close");
            assert_eq!(segments(&medium), before);
            assert_eq!(exported(&reader, 0).expect("it reads on"), content(1));
            match end {
                0 => drop(reader),
                1 => medium.kill_readers(),
                _ => medium.cut_power(),
            }
            open(&medium).close().expect("a clean close");
            assert_eq!(segments(&medium), before - 2, "end {end}, clean {clean}");
            no_misuse(&medium);
        }
    }
}

#[test]
fn a_reader_shows_what_was_even_if_it_is_only_in_the_journal() {
    let medium = medium();
    let store = open(&medium);
    let branch = store.branch(&name("a")).expect("the branch");
    branch.write_at(&[9; BLOCK as usize], BLOCK).expect("a write");
    branch.flush().expect("a flush");
    drop(branch);
    store
        .snapshot(&[(name("a"), "s".parse().expect("a valid name"))])
        .expect("a snapshot");
    store.close().expect("a clean close");
    let mut expected = content(1);
    expected[BLOCK as usize..2 * BLOCK as usize].fill(9);

    let reader = reader(&medium, &["a@s", "b"]);
    let store = open(&medium);
    store.upkeep(UpkeepStep::Checkpoint).expect("a checkpoint");
    store.drop_branches(&[name("a"), name("b")]).expect("a drop");
    for round in 0..40 {
        // Laps of the journal's ring.
        make(&store, &format!("x{round}"), 5);
    }
    store.close().expect("a clean close");
    assert_eq!(exported(&reader, 0).expect("it reads on"), expected);
    assert_eq!(exported(&reader, 1).expect("it reads on"), content(2));
    let differences = reader
        .diff(&reader.states()[0], &reader.states()[1])
        .expect("a diff");
    let differences: Result<Vec<_>, _> = differences.collect();
    assert_eq!(differences.expect("it reads on").len(), 1);
    no_misuse(&medium);
}

#[test]
fn others_do_not_wait_until_disks_are_loaded() {
    let _watchdog = Watchdog::new("a gate that stays shut".to_owned(), Duration::from_secs(60));
    let medium = medium();
    let gate = Gate::new();
    let gated = Gated {
        medium: medium.start(),
        gate: Arc::clone(&gate),
    };
    let store = Store::open_on(Arc::new(gated), CONFIG.open_options()).expect("the store opens");
    gate.hold(Held::Reads);
    thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let reader = store.into_reader(&[target("a")]).expect("a reader");
            let content = exported(&reader, 0).expect("it reads");
            (reader.lets_others_in(), content)
        });
        // The first read of an index: it comes when the store was let go.
        gate.wait_for_one();
        let store = open(&medium);
        store.drop_branches(&[name("a"), name("b")]).expect("a drop");
        store.upkeep(UpkeepStep::Reclaim).expect("a reclaim");
        store.close().expect("a clean close");
        gate.hold(Held::Nothing);
        assert_eq!(reader.join().expect("no panic"), (true, content(1)));
    });
    no_misuse(&medium);
}

#[test]
fn a_store_that_cannot_be_let_go_is_kept() {
    let medium = medium();
    // No lease can be written.
    let store = open(&medium);
    let state = store.state(&target("a")).expect("a state");
    drop(state);
    let closing = {
        let counted = medium.fork();
        let store = open(&counted);
        let before = counted.counters().writes;
        store.close().expect("a clean close");
        counted.counters().writes - before
    };
    medium.inject(Fault::Write, closing + 1);
    let reader = store.into_reader(&[target("a")]).expect("a reader");
    assert!(!reader.lets_others_in());
    assert_eq!(exported(&reader, 0).expect("it reads"), content(1));
    drop(reader);

    // Somebody else in this process could write, or read what no lease names.
    let store = open(&medium);
    let other = store.clone();
    let reader = store.into_reader(&[target("a")]).expect("a reader");
    assert!(!reader.lets_others_in());
    let branch = other.branch(&name("b")).expect("the branch");
    assert!(matches!(branch.flush(), Ok(()) | Err(StoreError::Closed)));
    drop((branch, other, reader));

    // What there is not is an error, and no reader.
    let error = open(&medium)
        .into_reader(&[target("nothing")])
        .expect_err("no such branch");
    assert!(
        matches!(error, StoreError::UnknownBranch { .. }),
        "{}",
        describe(&error)
    );
    no_misuse(&medium);
}

#[test]
fn a_check_lets_others_in_and_is_of_what_was() {
    let medium = Arc::new(medium());
    let beside = Arc::clone(&medium);
    let mut steps = 0;
    let options = || OpenOptions {
        read_damaged: true,
        ..CONFIG.open_options()
    };
    let store = Store::open_on(medium.start(), options()).expect("the store opens");
    let before = medium.counters().operations;
    let report = store.into_check(true, &mut |_| {
        steps += 1;
        if steps == 1 {
            // Taking the lease is all that it changed.
            assert_eq!(beside.counters().operations, before + 1);
            let store = open(&beside);
            let all = ["a", "b", "c"].map(name);
            store.drop_branches(&all).expect("a drop");
            make(&store, "d", 4);
            store.close().expect("a clean close");
        }
        ControlFlow::Continue(())
    });
    let report = report.expect("a report");
    assert_eq!(report.damage, []);
    assert_eq!(report.blocks, 3 * BLOCKS);
    let kept = segments(&medium);
    open(&medium).close().expect("a clean close");
    assert_eq!(segments(&medium), kept - 6, "the check kept everything");
    no_misuse(&medium);

    // A damaged store is not touched, and not let go.
    medium.flip(FileName::Object(segment_of(&medium)), 9000, 1);
    let store = Store::open_on(medium.start(), options()).expect("the store opens");
    let before = medium.counters().operations;
    let manifest = medium
        .files()
        .into_iter()
        .find_map(|(name, _)| matches!(name, FileName::Object(ObjectName::Manifest(_))).then_some(name));
    medium.flip(manifest.expect("a manifest"), 100, 1);
    let report = store.into_check(true, &mut go_on).expect("a report");
    assert_eq!(report.damage.len(), 2, "{:?}", report.damage);
    assert_eq!(medium.counters().operations, before);
}

fn segment_of(medium: &SimulatedMedium) -> ObjectName {
    let mut segments = medium
        .files()
        .into_iter()
        .filter_map(|(name, length)| match name {
            FileName::Object(name @ ObjectName::Segment(_)) if length > BLOCKS * BLOCK => Some(name),
            _ => None,
        });
    segments.next_back().expect("a data segment")
}

#[test]
fn a_full_medium_waits_for_readers_and_goes_on_without_a_restart() {
    let medium = medium();
    let reader = reader(&medium, &["a"]);
    let store = open(&medium);
    store.drop_branches(&[name("a")]).expect("a drop");
    let used: u64 = medium
        .files()
        .iter()
        .map(|(_, length)| length.next_multiple_of(BLOCK))
        .sum();
    medium.set_capacity(Some(used + (256 << 10)));
    let large = store.create_branch(&name("large"), 1 << 20).expect("a branch");
    let mut at = 0;
    let refused = loop {
        match large.write_at(&[7; BLOCK as usize], at) {
            Ok(()) => at += BLOCK,
            Err(error) => break error,
        }
    };
    assert!(
        matches!(refused, StoreError::NoSpace { .. }),
        "{}",
        describe(&refused)
    );
    assert_eq!(exported(&reader, 0).expect("it reads on"), content(1));
    drop(reader);
    large
        .write_at(&[7; BLOCK as usize], at)
        .expect("the reader's space has come back");
    no_misuse(&medium);
}

#[test]
fn on_a_write_once_medium_nothing_is_in_the_way_of_readers() {
    let medium = with_branches(SimulatedOptions {
        write_once: true,
        ..SimulatedOptions::default()
    });
    let reader = reader(&medium, &["a"]);
    let store = open(&medium);
    store.drop_branches(&[name("a")]).expect("a drop");
    store.upkeep(UpkeepStep::Checkpoint).expect("a checkpoint");
    assert_eq!(exported(&reader, 0).expect("it reads on"), content(1));
    no_misuse(&medium);
}

#[test]
fn a_reader_that_changes_something_is_noticed() {
    let medium = medium();
    let process = medium.start();
    process.become_reader(&[]).expect("a reader");
    assert!(process.open_object(ObjectName::Parameters).is_ok());
    let changes = [
        process.reserve(0),
        process.sync_journal(0, Syncer::First),
        process.remove_object(ObjectName::Parameters),
        process.become_reader(&[]),
    ];
    assert!(changes.iter().all(Result::is_err));
    assert_eq!(
        medium.take_violations(),
        [const { Violation::ChangedByReader }; 4]
    );
    // The lease goes with the handle, and so does the right to read.
    let object = process.open_object(ObjectName::Parameters).expect("it opens");
    drop(process);
    assert!(object.length().is_err());
}

/// The names in `readers/` of a store.
fn leases(store: &Path) -> Vec<String> {
    let entries = fs::read_dir(store.join("readers")).expect("a directory");
    entries
        .map(|entry| {
            entry
                .expect("an entry")
                .file_name()
                .to_string_lossy()
                .into_owned()
        })
        .collect()
}

fn directory_with_branches(path: &Path) {
    let store = Store::create(path, &CreateOptions::default(), OpenOptions::default()).expect("a store");
    make(&store, "a", 1);
    make(&store, "b", 2);
    store.close().expect("a clean close");
}

fn open_directory(path: &Path) -> Store {
    let options = OpenOptions {
        wait: Duration::ZERO,
        ..OpenOptions::default()
    };
    Store::open(path, options).expect("nobody is in the way")
}

fn files(path: &Path) -> usize {
    fs::read_dir(path.join("segments")).expect("a directory").count()
}

#[test]
fn leases_in_a_directory_end_with_their_holder() {
    let folder = tempfile::tempdir().expect("a directory");
    let path = &folder.path().join("store");
    directory_with_branches(path);
    let before = files(path);
    // As a process of another namespace with the same id, or of the same id before, may have left it.
    let stale = format!("{}-0", std::process::id());
    fs::write(path.join("readers").join(&stale), "1 tine export\nnonsense\n").expect("a file");
    fs::write(path.join("readers/README"), "not ours").expect("a file");

    let store = open_directory(path);
    assert_eq!(leases(path), ["README"], "opening removes what is void");
    fs::write(path.join("readers").join(&stale), "").expect("a file");
    let one = store.into_reader(&[target("a")]).expect("a reader");
    let other = open_directory(path)
        .into_reader(&[target("a"), target("b")])
        .expect("a reader");
    assert!(one.lets_others_in() && other.lets_others_in());
    let mut names = leases(path);
    names.sort();
    let own = |number| format!("{}-{number}", std::process::id());
    assert!(names.contains(&own(1)), "{names:?}");
    assert_eq!(names.len(), 3, "{names:?}");

    let store = open_directory(path);
    store.drop_branches(&[name("a"), name("b")]).expect("a drop");
    store.upkeep(UpkeepStep::Reclaim).expect("a reclaim");
    assert_eq!(files(path), before);
    drop(other);
    store.upkeep(UpkeepStep::Reclaim).expect("a reclaim");
    assert_eq!(files(path), before - 2, "the one reader needs what it needs");
    store.close().expect("a clean close");
    assert_eq!(exported(&one, 0).expect("it reads on"), content(1));
    drop(one);
    assert_eq!(leases(path), ["README"]);
    open_directory(path).close().expect("a clean close");
    assert_eq!(files(path), 0);
}

#[test]
fn while_it_cannot_be_told_who_reads_all_stays() {
    let folder = tempfile::tempdir().expect("a directory");
    let path = &folder.path().join("store");
    directory_with_branches(path);
    let before = files(path);
    let lease = path.join("readers/1-0");
    fs::write(&lease, "1 tine export\nfrom the future\n").expect("a file");
    let held = File::open(&lease).expect("a file");
    flock(&held, FlockOperation::LockExclusive).expect("a lock");

    let store = open_directory(path);
    store.drop_branches(&[name("a")]).expect("a drop is no reading");
    store.upkeep(UpkeepStep::Checkpoint).expect("a checkpoint");
    assert!(files(path) >= before);
    drop(held);
    store.upkeep(UpkeepStep::Reclaim).expect("a reclaim");
    assert_eq!(files(path), before - 2);
    assert_eq!(leases(path), Vec::<String>::new());
    store.close().expect("a clean close");

    // A store from before there were readers.
    fs::remove_dir(path.join("readers")).expect("an empty directory");
    let reader = open_directory(path)
        .into_reader(&[target("b")])
        .expect("a reader");
    assert!(reader.lets_others_in());
    assert_eq!(leases(path).len(), 1);
    open_directory(path).close().expect("a clean close");
}

#[test]
fn no_child_inherits_a_lock() {
    let folder = tempfile::tempdir().expect("a directory");
    let path = &folder.path().join("store");
    directory_with_branches(path);
    let reader = open_directory(path)
        .into_reader(&[target("a")])
        .expect("a reader");
    let _store = open_directory(path);
    let own: Vec<_> = descriptors("self");
    let child = Command::new("ls")
        .args(["-l", "/proc/self/fd"])
        .output()
        .expect("ls");
    let child = String::from_utf8_lossy(&child.stdout).into_owned();
    for lock in [path.join("LOCK"), path.join("readers").join(&leases(path)[0])] {
        let lock = lock.canonicalize().expect("a path").display().to_string();
        assert!(own.contains(&lock), "{lock} is open here: {own:?}");
        assert!(!child.contains(&lock), "{lock} is open there: {child}");
    }
    assert!(reader.lets_others_in());
}

fn descriptors(process: &str) -> Vec<String> {
    let entries = fs::read_dir(format!("/proc/{process}/fd")).expect("descriptors");
    entries
        .filter_map(|entry| fs::read_link(entry.ok()?.path()).ok())
        .map(|path| path.display().to_string())
        .collect()
}
