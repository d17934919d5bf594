//! Goal: what a medium may do short of a crash costs an error, never data: it is full, refuses to be written twice,
//! or fails while a store is made.
//! Method: the same operations on the simulated medium, set up to do so.

mod support;

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use support::perform::describe;
use support::runner::Config;
use tine_store::medium::ObjectName;
use tine_store::medium::simulated::{Chooser, FileName, SimulatedMedium, SimulatedOptions, Violation};
use tine_store::{BranchName, ExtentKind, ImportSource, Store, StoreError, Target};

const BLOCK: u64 = 4096;
const CONFIG: Config = Config::SMALL;

fn name(text: &str) -> BranchName {
    text.parse().expect("a valid name")
}

fn create(medium: &SimulatedMedium) -> Result<Store, StoreError> {
    Store::create_on(medium.start(), &CONFIG.create_options(), CONFIG.open_options())
}

fn open(medium: &SimulatedMedium) -> Result<Store, StoreError> {
    Store::open_on(medium.start(), CONFIG.open_options())
}

fn block(byte: u8) -> Vec<u8> {
    vec![byte; BLOCK as usize]
}

fn read(store: &Store, branch: &str, at: u64) -> Vec<u8> {
    let mut bytes = block(0xee);
    store
        .branch(&name(branch))
        .expect("the branch")
        .read_at(&mut bytes, at * BLOCK)
        .expect("a read");
    bytes
}

#[test]
fn making_a_store_can_end_at_any_moment() {
    let medium = CONFIG.medium(Chooser::fixed(Vec::new(), 0));
    medium.record();
    drop(create(&medium).expect("a store"));
    let moments = medium.take_recorded();
    assert!(moments.len() > 5);
    for (at, moment) in moments.iter().enumerate() {
        for rest in 0..4 {
            let after = moment.fork();
            after.set_chooser(Chooser::fixed(Vec::new(), rest));
            if rest < 3 {
                after.cut_power();
            }
            // The parameters come last: once they are there, all that they stand for is.
            let made = after.bytes(FileName::Object(ObjectName::Parameters)).is_some();
            match open(&after) {
                Ok(store) => assert_eq!(store.branches().expect("a list").len(), 0),
                Err(error) => assert!(!made, "before change {}, {rest}: {}", at + 1, describe(&error)),
            }
        }
    }
}

#[test]
fn a_full_medium_refuses_writes_and_loses_nothing() {
    const BLOCKS: u64 = 1024;
    let medium = CONFIG.medium(Chooser::fixed(Vec::new(), 0));
    medium.set_capacity(Some(3 << 20));
    let store = create(&medium).expect("a store");
    let small = store.create_branch(&name("small"), 4 * BLOCK).expect("a branch");
    small.write_at(&block(7), 0).expect("a write");
    small.flush().expect("a flush");
    let large = store
        .create_branch(&name("large"), BLOCKS * BLOCK)
        .expect("a branch");
    let mut written = 0;
    let refused = loop {
        match large.write_at(&block(1 + (written % 250) as u8), written * BLOCK) {
            Ok(()) => written += 1,
            Err(error) => break error,
        }
        if written % 16 == 0 {
            large.flush().expect("what was accepted has its space");
        }
        assert!(written < BLOCKS, "the medium was never full");
    };
    assert!(
        matches!(refused, StoreError::NoSpace { .. }),
        "{}",
        describe(&refused)
    );
    assert!(written > 100, "full after {written} blocks");
    large.flush().expect("what was accepted has its space");
    for at in 0..written {
        assert_eq!(
            read(&store, "large", at),
            block(1 + (at % 250) as u8),
            "block {at}"
        );
    }

    // The refusal names what was asked for.
    let small_disk = Target::Branch(name("small"));
    let refused =
        (0..10_000).find_map(|number| store.fork(&small_disk, &name(&format!("fork-{number}"))).err());
    let refused = refused.expect("forks without end on a full medium");
    assert_eq!(refused.to_string(), "no space left for the fork");

    // A process that dies on a full disk comes back.
    drop((store, small, large));
    medium.cut_power();
    let store = open(&medium).expect("the store opens on a full medium");
    for at in 0..written {
        assert_eq!(
            read(&store, "large", at),
            block(1 + (at % 250) as u8),
            "block {at}"
        );
    }

    // Without a restart, space that is given back can be written again.
    store
        .drop_branches(&[name("large")])
        .expect("dropping needs no space");
    let again = store
        .create_branch(&name("again"), BLOCKS * BLOCK)
        .expect("a branch");
    for at in 0..written / 2 {
        again
            .write_at(&block(9), at * BLOCK)
            .expect("there is space again");
    }
    again.flush().expect("a flush");
    assert_eq!(read(&store, "small", 0), block(7));
    assert_eq!(read(&store, "again", written / 2 - 1), block(9));
    store.close().expect("a clean close");
}

#[test]
fn a_write_once_medium_is_never_overwritten() {
    let options = SimulatedOptions {
        write_once: true,
        ..SimulatedOptions::default()
    };
    let medium = SimulatedMedium::new(options, Chooser::seeded(1));
    let mut store = create(&medium).expect("a store");
    store.create_branch(&name("a"), 16 * BLOCK).expect("a branch");
    for round in 0..60_u64 {
        let branch = store.branch(&name("a")).expect("the branch");
        branch
            .write_at(&block(round as u8 + 1), round % 16 * BLOCK)
            .expect("a write");
        branch.flush().expect("a flush");
        drop(branch);
        if round % 20 == 19 {
            store.close().expect("a clean close");
            store = open(&medium).expect("the store opens");
        }
        if round % 20 == 9 {
            drop(store);
            medium.cut_power();
            store = open(&medium).expect("the store opens");
        }
    }
    for at in 0..16 {
        let last = (0..60).rev().find(|round| round % 16 == at).expect("written") as u8 + 1;
        assert_eq!(read(&store, "a", at), block(last), "block {at}");
    }
    let refused: Vec<_> = medium
        .take_violations()
        .into_iter()
        .filter(|violation| matches!(violation, Violation::Overwritten { .. } | Violation::Removed(_)))
        .collect();
    assert_eq!(refused, []);
}

#[test]
fn what_is_done_to_a_huge_disk_costs_what_is_written() {
    const SIZE: u64 = 1 << 40;
    let begun = Instant::now();
    let medium = CONFIG.medium(Chooser::seeded(1));
    let store = create(&medium).expect("a store");
    let branch = store.create_branch(&name("huge"), SIZE).expect("a branch");
    for at in [0, SIZE / 2, SIZE - BLOCK] {
        branch.write_at(&block(1), at).expect("a write");
    }
    branch.flush().expect("a flush");
    store
        .fork(&Target::Branch(name("huge")), &name("copy"))
        .expect("a fork");
    branch.discard(0, SIZE).expect("a discard");
    branch.write_zeroes(SIZE / 4, SIZE / 2).expect("zeroes");
    branch
        .write_at(&block(2), SIZE / 3 / BLOCK * BLOCK)
        .expect("a write");
    branch.flush().expect("a flush");
    drop((branch, store));
    medium.cut_power();

    let store = open(&medium).expect("the store opens");
    let mut found = Vec::new();
    for branch in ["huge", "copy"] {
        let extents = store
            .branch(&name(branch))
            .and_then(|branch| branch.extents(0..SIZE))
            .expect("extents");
        assert_eq!(extents.iter().map(|extent| extent.length).sum::<u64>(), SIZE);
        let data = extents.iter().filter(|extent| extent.kind == ExtentKind::Data);
        found.push(
            data.map(|extent| (extent.offset, extent.length))
                .collect::<Vec<_>>(),
        );
    }
    assert_eq!(found[0], [(SIZE / 3 / BLOCK * BLOCK, BLOCK)]);
    assert_eq!(found[1], [(0, BLOCK), (SIZE / 2, BLOCK), (SIZE - BLOCK, BLOCK)]);
    assert!(
        begun.elapsed() < Duration::from_secs(10),
        "took {:?}",
        begun.elapsed()
    );
    assert!(medium.counters().written_bytes < 4 << 20);
}

/// A stream that goes on for some reads, and then shows the medium as it is.
struct Dying<'a> {
    medium: &'a SimulatedMedium,
    reads: u64,
    left: Option<SimulatedMedium>,
}

impl std::io::Read for Dying<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> std::io::Result<usize> {
        if self.reads == 0 {
            self.left = Some(self.medium.fork());
            return Err(std::io::Error::other("the process is killed"));
        }
        self.reads -= 1;
        bytes.fill(7);
        Ok(bytes.len())
    }
}

#[test]
fn an_import_that_dies_leaves_neither_a_name_nor_bytes() {
    let medium = CONFIG.medium(Chooser::fixed(Vec::new(), 0));
    let store = create(&medium).expect("a store");
    let mut dying = Dying {
        medium: &medium,
        reads: 4,
        left: None,
    };
    // More than the buffer holds, so that some of it is in segments.
    store
        .import(&name("half"), ImportSource::Stream(&mut dying), &mut |_| {
            ControlFlow::Continue(())
        })
        .expect_err("the stream breaks");
    let left = dying.left.expect("the medium as the process left it");
    let segments = |medium: &SimulatedMedium| {
        let files = medium.files().into_iter().map(|(file, _)| file);
        files
            .filter(|file| matches!(file, FileName::Object(ObjectName::Segment(_))))
            .count()
    };
    assert!(segments(&left) > 0);
    let store = open(&left).expect("the store opens");
    store
        .create_branch(&name("half"), BLOCK)
        .expect("the name is free");
    store.close().expect("a clean close");
    assert_eq!(segments(&left), 0);
}
