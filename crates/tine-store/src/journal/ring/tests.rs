use super::*;
use crate::medium::simulated::{Chooser, FileName, SimulatedMedium, SimulatedOptions};

const FILE_BYTES: u64 = 32 << 10;

/// A new store's ring of three files on a medium that has room for no more.
fn full() -> (SimulatedMedium, Shape) {
    let medium = SimulatedMedium::new(SimulatedOptions::default(), Chooser::seeded(1));
    let shape = Shape {
        file_bytes: FILE_BYTES,
        files: 3,
        key: [7; 16],
    };
    Ring::create(medium.start(), shape).unwrap();
    medium.set_capacity(Some(3 * FILE_BYTES + 4096));
    (medium, shape)
}

/// A process died on a full disk while it made the ring larger: its file must not be counted on, as to make it whole
/// takes space when none is left and a frame has to be written.
#[test]
fn a_file_that_was_left_short_is_not_free() {
    let (medium, shape) = full();
    medium.set_capacity(None);
    let process = medium.start();
    process.create_journal_file(3, FILE_BYTES).unwrap();
    medium.truncate(FileName::Journal(3), 4096);
    medium.set_capacity(Some(3 * FILE_BYTES + 4096));

    let mut ring = Ring::begin_epoch(medium.start(), shape, 0, VecDeque::new(), None).unwrap();
    assert_eq!(ring.room().free_files, 2, "one is written to, one is short");
    assert!(matches!(ring.grow(), Err(StoreError::NoSpace { .. })));
    let frame = vec![0; frame_bytes_max(FILE_BYTES) - 2 * FRAME_ALIGNMENT];
    for _ in 0..5 {
        ring.write(&frame, 0, Vec::new(), |_| ()).unwrap();
    }
    ring.sync().unwrap();

    medium.set_capacity(None);
    let free = ring.room().free_files;
    assert_eq!(ring.grow().unwrap(), 3, "the short one first");
    assert_eq!((ring.files(), ring.room().free_files), (4, free + 1));
    assert_eq!(ring.durable_files(), 4);
    assert_eq!(ring.grow().unwrap(), 4);
}

/// A file that is whole for those who do not look past the cache is synced before a frame lies in it.
#[test]
fn a_file_whose_maker_died_is_synced_before_it_is_used() {
    let (medium, shape) = full();
    medium.set_capacity(None);
    medium.start().create_journal_file(3, FILE_BYTES).unwrap();
    let mut ring = Ring::begin_epoch(medium.start(), shape, 0, VecDeque::new(), None).unwrap();
    assert_eq!((ring.room().free_files, ring.durable_files()), (3, 3));
    let frame = vec![0; frame_bytes_max(FILE_BYTES) - 2 * FRAME_ALIGNMENT];
    while ring.room().free_files > 0 {
        ring.write(&frame, 0, Vec::new(), |_| ()).unwrap();
    }
    ring.sync().unwrap();
    assert_eq!(ring.durable_files(), 4);
    assert!(!medium.anything_volatile());
}

/// What holds frames that recovery could need is never made anew, though it is short by damage.
#[test]
fn a_short_file_that_holds_frames_is_left_alone() {
    let (medium, shape) = full();
    medium.set_capacity(None);
    medium.start().create_journal_file(3, FILE_BYTES).unwrap();
    let mut ring = Ring::begin_epoch(medium.start(), shape, 0, VecDeque::new(), None).unwrap();
    let frame = vec![0; frame_bytes_max(FILE_BYTES) - 2 * FRAME_ALIGNMENT];
    while ring.room().free_files > 0 {
        ring.write(&frame, 0, Vec::new(), |_| ()).unwrap();
    }
    ring.sync().unwrap();
    let log = ring.log().clone();
    drop(ring);
    medium.truncate(FileName::Journal(3), 8192);
    let mut ring = Ring::detached(medium.start(), shape, 0, log).unwrap();
    ring.count_held();
    assert_eq!(ring.grow().unwrap(), 4, "a new file, not the one with frames");
}
