//! What a read that finds nothing at hand asks of its medium, and when.

use std::io::{self, IoSliceMut};
use std::ops::Range;
use std::sync::Arc;

use parking_lot::Mutex;
use tine_store::medium::{
    Area, DirectoryMedium, Medium, Object, ObjectName, ObjectWriter, Reading, Syncer, Writing,
};
use tine_store::segment::SegmentId;
use tine_store::{Branch, CreateOptions, OpenOptions, Store};

const BLOCK: usize = 4096;
const BLOCKS: u64 = 4096;
const DISK: u64 = BLOCKS * BLOCK as u64;

/// What a medium was asked for, by object.
#[derive(Clone, Debug, PartialEq)]
enum Asked {
    /// A read that does not wait, and what it asks for is not at hand.
    Begun(ObjectName, Range<u64>),
    Hinted(ObjectName, Range<u64>),
    /// A read that waits.
    Waited(ObjectName, Range<u64>),
}

/// A medium with a cache: at hand is what was hinted or read before.
struct Caching {
    medium: DirectoryMedium,
    log: Arc<Mutex<Vec<Asked>>>,
}

struct CachingObject {
    name: ObjectName,
    object: Arc<dyn Object>,
    log: Arc<Mutex<Vec<Asked>>>,
}

impl CachingObject {
    /// Fails if a read of a range must not wait and would have to.
    fn ask(&self, range: Range<u64>, reading: Reading) -> io::Result<()> {
        let mut log = self.log.lock();
        let is_cached = range.clone().step_by(BLOCK).all(|at| {
            log.iter().any(|asked| match asked {
                Asked::Begun(..) => false,
                Asked::Hinted(name, range) | Asked::Waited(name, range) => {
                    *name == self.name && range.contains(&at)
                }
            })
        });
        match reading {
            Reading::PastCache => {}
            _ if is_cached => {}
            Reading::AtHand => {
                log.push(Asked::Begun(self.name, range));
                return Err(io::ErrorKind::WouldBlock.into());
            }
            Reading::Cached => log.push(Asked::Waited(self.name, range)),
        }
        Ok(())
    }
}

impl Object for CachingObject {
    fn length(&self) -> io::Result<u64> {
        self.object.length()
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64, reading: Reading) -> io::Result<()> {
        self.ask(offset..offset + bytes.len() as u64, reading)?;
        self.object.read_at(bytes, offset, Reading::Cached)
    }

    fn read_scattered(
        &self,
        buffers: &mut [IoSliceMut<'_>],
        offset: u64,
        reading: Reading,
    ) -> io::Result<()> {
        let length: usize = buffers.iter().map(|buffer| buffer.len()).sum();
        self.ask(offset..offset + length as u64, reading)?;
        self.object.read_scattered(buffers, offset, Reading::Cached)
    }

    fn will_read(&self, range: Range<u64>) {
        assert!(range.end <= self.object.length().unwrap());
        self.log.lock().push(Asked::Hinted(self.name, range));
    }

    fn sync(&self) -> io::Result<()> {
        self.object.sync()
    }
}

impl Medium for Caching {
    fn create_object(&self, name: ObjectName, writing: Writing) -> io::Result<Box<dyn ObjectWriter>> {
        self.medium.create_object(name, writing)
    }

    fn reads_unfinished(&self) -> bool {
        self.medium.reads_unfinished()
    }

    fn open_object(&self, name: ObjectName) -> io::Result<Arc<dyn Object>> {
        Ok(Arc::new(CachingObject {
            name,
            object: self.medium.open_object(name)?,
            log: Arc::clone(&self.log),
        }))
    }

    fn remove_object(&self, name: ObjectName) -> io::Result<()> {
        self.medium.remove_object(name)
    }

    fn list_objects(&self, area: Area) -> io::Result<Vec<ObjectName>> {
        self.medium.list_objects(area)
    }

    fn sync_area(&self, area: Area) -> io::Result<()> {
        self.medium.sync_area(area)
    }

    fn journal_files(&self) -> io::Result<u32> {
        self.medium.journal_files()
    }

    fn journal_file_bytes(&self, file: u32) -> io::Result<u64> {
        self.medium.journal_file_bytes(file)
    }

    fn create_journal_file(&self, file: u32, bytes: u64) -> io::Result<()> {
        self.medium.create_journal_file(file, bytes)
    }

    fn write_journal(&self, file: u32, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.medium.write_journal(file, offset, bytes)
    }

    fn sync_journal(&self, file: u32, by: Syncer) -> io::Result<()> {
        self.medium.sync_journal(file, by)
    }

    fn read_journal(&self, file: u32, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        self.medium.read_journal(file, offset, bytes)
    }

    fn can_overwrite(&self) -> bool {
        true
    }

    fn free_bytes(&self) -> io::Result<u64> {
        self.medium.free_bytes()
    }

    fn reserve(&self, bytes: u64) -> io::Result<()> {
        self.medium.reserve(bytes)
    }

    fn become_reader(&self, kept: &[SegmentId]) -> io::Result<()> {
        self.medium.become_reader(kept)
    }

    fn leased(&self) -> io::Result<Vec<SegmentId>> {
        self.medium.leased()
    }
}

fn content(block: u64) -> [u8; BLOCK] {
    let mut bytes = [0x5a; BLOCK];
    bytes[..8].copy_from_slice(&block.to_le_bytes());
    bytes
}

/// Has a disk whose blocks were written in the order of `step`, an odd number; nothing of it is at hand.
fn with_disk(step: u64, test: impl FnOnce(&Store, &Branch, &Mutex<Vec<Asked>>)) {
    let directory = tempfile::tempdir().unwrap();
    let log = Arc::new(Mutex::new(Vec::new()));
    let root = directory.path().join("store");
    let options = || OpenOptions {
        buffer_bytes: 1 << 20,
        ..OpenOptions::default()
    };
    let open = |medium| {
        Arc::new(Caching {
            medium,
            log: Arc::clone(&log),
        })
    };
    let made = open(DirectoryMedium::create(&root).unwrap().unwrap());
    let store = Store::create_on(made, &CreateOptions::default(), options()).unwrap();
    let branch = store.create_branch(&"disk".parse().unwrap(), DISK).unwrap();
    for at in 0..BLOCKS {
        let block = at * step % BLOCKS;
        branch.write_at(&content(block), block * BLOCK as u64).unwrap();
    }
    drop(branch);
    store.close().unwrap();
    let opened = DirectoryMedium::open(&root, tine_store::medium::Access::Write).unwrap();
    let store = Store::open_on(open(opened.unwrap()), options()).unwrap();
    let branch = store.branch(&"disk".parse().unwrap()).unwrap();
    log.lock().clear();
    test(&store, &branch, &log);
}

fn check(bytes: &[u8], first: u64) {
    for (found, block) in bytes.chunks(BLOCK).zip(first..) {
        assert!(found == content(block), "block {block}");
    }
}

#[test]
fn what_a_read_lacks_is_asked_for_before_any_of_it_is_waited_for() {
    with_disk(1025, |_, branch, log| {
        let mut bytes = vec![0; 64 * BLOCK];
        branch.read_at(&mut bytes, 0).unwrap();
        check(&bytes, 0);
        let log = log.lock();
        let data: Vec<&Asked> = {
            let begun = |name| {
                log.iter()
                    .any(|asked| matches!(asked, Asked::Begun(begun, _) if *begun == name))
            };
            let of_data = |asked: &&Asked| match asked {
                Asked::Begun(name, _) | Asked::Hinted(name, _) | Asked::Waited(name, _) => begun(*name),
            };
            log.iter().filter(of_data).collect()
        };
        let begun = data
            .iter()
            .take_while(|asked| matches!(asked, Asked::Begun(..)))
            .count();
        assert!(begun >= 4, "written at random, but {begun} requests");
        assert_eq!(data.len(), 2 * begun);
        assert!(
            data[begun..]
                .iter()
                .all(|asked| matches!(asked, Asked::Waited(..)))
        );
    });
}

/// Reads a disk in order in pieces that do not end on blocks; returns how often that waited.
fn waits(log: &Mutex<Vec<Asked>>, mut read: impl FnMut(&mut [u8], u64)) -> usize {
    let (mut whole, mut at) = (vec![0; DISK as usize], 0);
    while at < whole.len() {
        let end = (at + 30_000).min(whole.len());
        read(&mut whole[at..end], at as u64);
        at = end;
    }
    check(&whole, 0);
    let log = log.lock();
    let is_begun = |asked: &&Asked| matches!(asked, Asked::Begun(..));
    log.iter().filter(is_begun).count()
}

#[test]
fn who_reads_in_order_soon_waits_no_more() {
    for step in [1, 1025] {
        with_disk(step, |_, branch, log| {
            let waits = waits(log, |bytes, at| branch.read_at(bytes, at).unwrap());
            assert!(waits > 0 && waits < 100, "step {step}: {waits}");
        });
        with_disk(step, |_, branch, log| {
            let state = branch.state().unwrap();
            let waits = waits(log, |bytes, at| state.read_at(bytes, at).unwrap());
            assert!(waits > 0 && waits < 100, "step {step}: {waits}, of a state");
        });
    }
}

#[test]
fn who_reads_at_random_has_nothing_fetched_beside_it() {
    with_disk(1025, |_, branch, log| {
        let mut bytes = vec![0; 4 * BLOCK];
        for at in (0..BLOCKS - 4).step_by(4).map(|at| at * 1365 % (BLOCKS - 4)) {
            branch.read_at(&mut bytes, at * BLOCK as u64).unwrap();
            check(&bytes, at);
        }
        let hinted = |asked: &Asked| matches!(asked, Asked::Hinted(..));
        assert!(!log.lock().iter().any(hinted));
    });
}

/// Reads until all is at hand; returns how often it was not. `wait` reads, and waits.
fn insist(
    log: &Mutex<Vec<Asked>>,
    once: impl Fn(&mut [u8]) -> bool,
    wait: impl Fn(&mut [u8]),
    bytes: &mut [u8],
) -> usize {
    let mut tries = 0;
    while !once(bytes) {
        let of_reads = |asked: &Asked| matches!(asked, Asked::Waited(..));
        assert!(tries > 0 || !log.lock().iter().any(of_reads), "it waited");
        tries += 1;
        assert!(tries < 100, "what was asked for never comes");
        wait(&mut vec![0; bytes.len()]);
    }
    tries
}

#[test]
fn a_read_at_once_never_waits() {
    for blocks in [1, 64] {
        with_disk(1025, |_, branch, log| {
            let mut bytes = vec![0; blocks * BLOCK];
            let at = 77 * BLOCK as u64;
            let tries = insist(
                log,
                |bytes| branch.read_at_once(bytes, at).unwrap(),
                |bytes| branch.read_at(bytes, at).unwrap(),
                &mut bytes,
            );
            assert!(tries > 0, "nothing is at hand in a store that was just opened");
            check(&bytes, 77);
            let before = log.lock().len();
            assert!(branch.read_at_once(&mut bytes, at).unwrap());
            assert_eq!(log.lock().len(), before);
            assert!(branch.state().unwrap().read_at_once(&mut bytes, at).unwrap());
            check(&bytes, 77);

            branch.write_at(&content(0), DISK - BLOCK as u64).unwrap();
            let written = &mut bytes[..BLOCK];
            assert!(branch.read_at_once(written, DISK - BLOCK as u64).unwrap());
            check(written, 0);
            assert!(branch.read_at_once(&mut bytes, DISK).is_err());
        });
    }
}

#[test]
fn a_write_at_once_is_whole_or_not_at_all() {
    with_disk(1, |_, branch, _| {
        let size = DISK;
        let new = content(99);
        let mut first = true;
        // Room on the medium is held in large steps: who takes the first of a step may have to wait for it.
        while !branch.write_at_once(&new, 3 * BLOCK as u64).unwrap() {
            assert!(std::mem::take(&mut first), "there is room after one write");
            branch.write_at(&content(0), 0).unwrap();
        }
        let mut bytes = [0; BLOCK];
        branch.read_at(&mut bytes, 3 * BLOCK as u64).unwrap();
        check(&bytes, 99);
        for (length, offset) in [(100, 0), (BLOCK, 1), (2 << 20, 0)] {
            let bytes = vec![0xee; length];
            assert!(
                !branch.write_at_once(&bytes, offset).unwrap(),
                "{length} at {offset}"
            );
        }
        assert!(branch.write_at_once(&new, size).is_err());
        let mut whole = vec![0; size as usize];
        branch.read_at(&mut whole, 0).unwrap();
        check(&whole[4 * BLOCK..], 4);
    });
}
