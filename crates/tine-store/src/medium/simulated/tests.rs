use super::*;
use crate::medium::{Object, Reading, Syncer, Writing};
use crate::segment::SegmentId;

const SEGMENT: ObjectName = ObjectName::Segment(SegmentId { epoch: 1, counter: 1 });
const MANIFEST: ObjectName = ObjectName::Manifest(7);

fn medium(rest: usize) -> SimulatedMedium {
    SimulatedMedium::new(SimulatedOptions::default(), Chooser::fixed(Vec::new(), rest))
}

/// A medium with one synced journal file of four pages.
fn with_journal(rest: usize) -> SimulatedMedium {
    let medium = medium(rest);
    let process = medium.start();
    process.create_journal_file(0, 4 * 4096).unwrap();
    process.sync_journal(0, Syncer::First).unwrap();
    process.sync_area(Area::Journal).unwrap();
    medium
}

fn page(byte: u8) -> Vec<u8> {
    vec![byte; 4096]
}

fn journal_page(process: &dyn Medium, at: u64) -> Vec<u8> {
    let mut bytes = page(0xee);
    process.read_journal(0, at * 4096, &mut bytes).unwrap();
    bytes
}

fn put(process: &dyn Medium, name: ObjectName, bytes: &[u8]) {
    let mut writer = process.create_object(name, Writing::Cached).unwrap();
    writer.append(bytes).unwrap();
    writer.sync().unwrap();
}

fn content(object: &dyn Object, reading: Reading) -> Vec<u8> {
    let mut bytes = vec![0; object.length().unwrap() as usize];
    object.read_at(&mut bytes, 0, reading).unwrap();
    bytes
}

#[test]
fn what_was_synced_survives_a_power_cut() {
    for rest in 0..4 {
        let medium = with_journal(rest);
        let process = medium.start();
        process.write_journal(0, 4096, &page(1)).unwrap();
        process.sync_journal(0, Syncer::First).unwrap();
        put(&*process, SEGMENT, b"some bytes");
        process.sync_area(Area::Segment).unwrap();
        medium.cut_power();
        let process = medium.start();
        assert_eq!(journal_page(&*process, 1), page(1));
        assert_eq!(
            content(&*process.open_object(SEGMENT).unwrap(), Reading::PastCache),
            b"some bytes"
        );
        assert!(!medium.anything_volatile());
    }
}

#[test]
fn an_unsynced_page_has_every_fate() {
    let medium = with_journal(0);
    let process = medium.start();
    process.write_journal(0, 0, &page(1)).unwrap();
    process.sync_journal(0, Syncer::First).unwrap();
    process.write_journal(0, 0, &page(2)).unwrap();
    process.write_journal(0, 0, &page(3)).unwrap();

    let mut fates = std::collections::BTreeSet::new();
    let mut prefix = Some(Vec::new());
    while let Some(now) = prefix {
        let after = medium.fork();
        after.set_chooser(Chooser::fixed(now, 0));
        after.cut_power();
        let bytes = journal_page(&*after.start(), 0);
        fates.insert(bytes.chunks(512).map(|sector| sector[0]).collect::<Vec<_>>());
        prefix = after.chooser().next_prefix();
    }
    for whole in 1..=3 {
        assert!(fates.contains(&vec![whole; 8]), "version {whole}");
    }
    assert!(fates.contains(&vec![3, 1, 1, 1, 1, 1, 1, 1]), "a torn one");
    assert_eq!(fates.len(), 3 + 8);
}

#[test]
fn a_process_crash_keeps_everything_but_volatile() {
    let medium = with_journal(0);
    let process = medium.start();
    process.write_journal(0, 0, &page(1)).unwrap();
    put(&*process, SEGMENT, b"x");
    medium.crash_process(false);
    assert!(
        process.write_journal(0, 0, &page(2)).is_err(),
        "the old process has ended"
    );

    let process = medium.start();
    assert_eq!(journal_page(&*process, 0), page(1));
    assert_eq!(process.list_objects(Area::Segment).unwrap(), [SEGMENT]);
    medium.cut_power();
    let process = medium.start();
    assert_eq!(journal_page(&*process, 0), page(0));
    assert_eq!(process.list_objects(Area::Segment).unwrap(), []);
}

#[test]
fn a_delayed_page_arrives_with_the_first_change() {
    let medium = with_journal(1);
    medium.start().write_journal(0, 0, &page(1)).unwrap();
    medium.crash_process(true);
    let process = medium.start();
    assert_eq!(journal_page(&*process, 0), page(0));
    process.write_journal(0, 4096, &page(2)).unwrap();
    assert_eq!(journal_page(&*process, 0), page(1));
    medium.set_chooser(Chooser::fixed(Vec::new(), 0));
    medium.cut_power();
    let process = medium.start();
    assert_eq!(
        (journal_page(&*process, 0), journal_page(&*process, 1)),
        (page(1), page(0))
    );
}

#[test]
fn a_failed_sync_is_never_made_good() {
    let medium = with_journal(0);
    let process = medium.start();
    process.write_journal(0, 0, &page(1)).unwrap();
    let mut writer = process.create_object(SEGMENT, Writing::Cached).unwrap();
    writer.append(&page(5)).unwrap();
    process.sync_area(Area::Segment).unwrap();
    medium.inject(Fault::Sync, 1);
    assert!(process.sync_journal(0, Syncer::First).is_err());
    medium.inject(Fault::Sync, 1);
    assert!(writer.sync().is_err());

    // Nobody is told twice, and each once.
    process.sync_journal(0, Syncer::First).unwrap();
    assert!(process.sync_journal(0, Syncer::Second).is_err());
    process.sync_journal(0, Syncer::Second).unwrap();
    let object = process.open_object(SEGMENT).unwrap();
    object.sync().unwrap();
    assert_eq!(journal_page(&*process, 0), page(0), "the medium never got it");
    assert_eq!(content(&*object, Reading::Cached), page(5));
    assert_eq!(content(&*object, Reading::PastCache), page(0));
    medium.cut_power();
    assert_eq!(medium.bytes(FileName::Object(SEGMENT)), Some(Vec::new()));
}

#[test]
fn names_survive_each_on_its_own() {
    let medium = medium(0);
    let process = medium.start();
    put(&*process, MANIFEST, b"old");
    process.sync_area(Area::Manifest).unwrap();
    process.remove_object(MANIFEST).unwrap();
    put(&*process, SEGMENT, b"new");
    assert_eq!(
        process.open_object(MANIFEST).err().map(|error| error.kind()),
        Some(io::ErrorKind::NotFound)
    );

    let mut outcomes = Vec::new();
    let mut prefix = Some(Vec::new());
    while let Some(now) = prefix {
        let after = medium.fork();
        after.set_chooser(Chooser::fixed(now, 0));
        after.cut_power();
        let process = after.start();
        let count = |area| process.list_objects(area).unwrap().len();
        outcomes.push((count(Area::Manifest), count(Area::Segment)));
        prefix = after.chooser().next_prefix();
    }
    outcomes.sort_unstable();
    assert_eq!(outcomes, [(0, 0), (0, 1), (1, 0), (1, 1)]);
}

#[test]
fn a_name_reused_without_a_sync_can_mean_either() {
    let medium = medium(0);
    let process = medium.start();
    put(&*process, MANIFEST, b"first");
    process.sync_area(Area::Manifest).unwrap();
    process.remove_object(MANIFEST).unwrap();
    put(&*process, MANIFEST, b"second");
    for (rest, left) in [
        (0, Some(b"first".to_vec())),
        (1, Some(b"second".to_vec())),
        (2, None),
    ] {
        let after = medium.fork();
        after.set_chooser(Chooser::fixed(Vec::new(), rest));
        after.cut_power();
        assert_eq!(after.bytes(FileName::Object(MANIFEST)), left);
    }
}

#[test]
fn the_parameters_appear_when_they_are_synced() {
    let medium = medium(1);
    let process = medium.start();
    let mut writer = process
        .create_object(ObjectName::Parameters, Writing::Cached)
        .unwrap();
    writer.append(b"{}").unwrap();
    assert_eq!(process.list_objects(Area::Root).unwrap(), []);
    writer.sync().unwrap();
    assert_eq!(
        process.list_objects(Area::Root).unwrap(),
        [ObjectName::Parameters]
    );
}

#[test]
fn a_crash_ends_everything_at_the_nth_change() {
    let medium = with_journal(0);
    let process = medium.start();
    medium.inject(Fault::Crash, 2);
    process.write_journal(0, 0, &page(1)).unwrap();
    assert!(process.sync_journal(0, Syncer::First).is_err());
    assert!(medium.crashed());
    assert!(process.read_journal(0, 0, &mut page(0)).is_err());
    assert!(process.list_objects(Area::Segment).is_err());
    medium.crash_process(false);
    assert_eq!(journal_page(&*medium.start(), 0), page(1));
    assert!(medium.anything_volatile());
}

#[test]
fn reads_and_writes_fail_when_told() {
    let medium = with_journal(0);
    let process = medium.start();
    medium.inject(Fault::Read, 2);
    medium.inject(Fault::Write, 2);
    assert_eq!(journal_page(&*process, 0), page(0));
    assert!(process.read_journal(0, 0, &mut page(0)).is_err());
    assert_eq!(journal_page(&*process, 0), page(0));
    process.write_journal(0, 0, &page(1)).unwrap();
    assert!(process.write_journal(0, 4096, &page(1)).is_err());
    process.write_journal(0, 4096, &page(1)).unwrap();
}

#[test]
fn a_full_medium_refuses_and_keeps_what_is_reserved() {
    let full = |error: io::Error| error.kind() == io::ErrorKind::StorageFull;
    let medium = with_journal(0);
    medium.set_capacity(Some(8 * 4096));
    let process = medium.start();
    assert_eq!(process.free_bytes().unwrap(), 4 * 4096);
    process.reserve(3 * 4096).unwrap();
    assert!(process.reserve(5 * 4096).is_err_and(full));
    assert_eq!(process.free_bytes().unwrap(), 4096, "what was held stays held");
    let mut writer = process.create_object(SEGMENT, Writing::Cached).unwrap();
    writer.append(&page(1)).unwrap();
    assert!(writer.append(b"x").is_err_and(full));
    process.reserve(0).unwrap();
    writer.append(b"x").unwrap();
    assert!(process.create_journal_file(1, 4 * 4096).is_err_and(full));
    process.remove_object(SEGMENT).unwrap();
    process.create_journal_file(1, 4 * 4096).unwrap();
    assert_eq!(medium.take_violations(), []);
}

#[test]
fn a_new_journal_file_can_be_short_or_gone() {
    let medium = with_journal(0);
    medium.start().create_journal_file(1, 8192).unwrap();
    for (prefix, count, whole) in [(vec![0], 1, false), (vec![1, 0], 2, false), (vec![1, 1], 2, true)] {
        let after = medium.fork();
        after.set_chooser(Chooser::fixed(prefix, 0));
        after.cut_power();
        let process = after.start();
        assert_eq!(process.journal_files().unwrap(), count);
        assert_eq!(process.read_journal(1, 4096, &mut page(0)).is_ok(), whole);
        // A short file can be made again, a whole one is never cleared.
        assert_eq!(process.create_journal_file(1, 8192).is_ok(), !whole);
        process.write_journal(1, 4096, &page(1)).unwrap();
    }
}

#[test]
fn a_write_once_medium_refuses_a_second_write_and_a_removal() {
    let options = SimulatedOptions {
        write_once: true,
        ..SimulatedOptions::default()
    };
    let medium = SimulatedMedium::new(options, Chooser::fixed(Vec::new(), 0));
    let process = medium.start();
    assert!(!process.can_overwrite());
    process.create_journal_file(0, 8192).unwrap();
    process.write_journal(0, 0, &page(1)).unwrap();
    put(&*process, SEGMENT, b"x");
    assert!(process.write_journal(0, 0, &[page(1), page(2)].concat()).is_err());
    assert!(process.remove_object(SEGMENT).is_err());
    let expected = [
        Violation::Overwritten { file: 0, offset: 0 },
        Violation::Removed(SEGMENT),
    ];
    assert_eq!(medium.take_violations(), expected);
    assert_eq!(
        content(&*process.open_object(SEGMENT).unwrap(), Reading::Cached),
        b"x"
    );
}

#[test]
fn misuse_is_recorded() {
    let medium = with_journal(0);
    let process = medium.start();
    assert!(process.write_journal(0, 100, &page(1)).is_err());
    assert!(process.write_journal(0, 4 * 4096, &page(1)).is_err());
    assert!(process.read_journal(3, 0, &mut page(1)).is_err());
    assert!(process.open_object(SEGMENT).is_err());
    let mut writer = process.create_object(SEGMENT, Writing::Cached).unwrap();
    writer.sync().unwrap();
    assert!(writer.append(b"x").is_err());
    assert!(process.create_object(SEGMENT, Writing::Cached).is_err());
    let expected = [
        Violation::Misaligned {
            file: 0,
            offset: 100,
            length: 4096,
        },
        Violation::OutsideJournal {
            file: 0,
            offset: 4 * 4096,
        },
        Violation::OutsideJournal { file: 3, offset: 0 },
        Violation::Absent(SEGMENT),
        Violation::AppendedAfterSync(SEGMENT),
        Violation::MadeTwice(SEGMENT),
    ];
    assert_eq!(medium.take_violations(), expected);
}

#[test]
fn a_fork_of_the_medium_is_independent() {
    let medium = with_journal(0);
    let process = medium.start();
    process.write_journal(0, 0, &page(1)).unwrap();
    let fork = medium.fork();
    process.write_journal(0, 0, &page(2)).unwrap();
    fork.start().write_journal(0, 4096, &page(3)).unwrap();
    let (process, forked) = (medium.start(), fork.start());
    assert_eq!(
        (journal_page(&*process, 0), journal_page(&*process, 1)),
        (page(2), page(0))
    );
    assert_eq!(
        (journal_page(&*forked, 0), journal_page(&*forked, 1)),
        (page(1), page(3))
    );
}

#[test]
fn rot_changes_medium_and_cache() {
    let medium = medium(0);
    let process = medium.start();
    put(&*process, SEGMENT, &page(1));
    process.sync_area(Area::Segment).unwrap();
    let name = FileName::Object(SEGMENT);
    assert!(medium.flip(name, 10, 0x81));
    assert!(!medium.flip(name, 4096, 1));
    let object = process.open_object(SEGMENT).unwrap();
    assert_eq!(content(&*object, Reading::PastCache)[10], 0x80);
    assert_eq!(content(&*object, Reading::Cached)[10], 0x80);
    assert!(medium.truncate(name, 100));
    assert_eq!(object.length().unwrap(), 100);
    assert!(medium.lose(name));
    assert_eq!(medium.files(), []);
}

#[test]
fn a_removed_object_can_be_read_by_who_has_it_open() {
    let medium = medium(0);
    let process = medium.start();
    put(&*process, SEGMENT, b"still here");
    let object = process.open_object(SEGMENT).unwrap();
    process.remove_object(SEGMENT).unwrap();
    process.sync_area(Area::Segment).unwrap();
    assert_eq!(content(&*object, Reading::Cached), b"still here");
}

#[test]
fn every_moment_can_be_recorded() {
    let medium = with_journal(0);
    let process = medium.start();
    medium.record();
    process.write_journal(0, 0, &page(1)).unwrap();
    process.sync_journal(0, Syncer::First).unwrap();
    process.write_journal(0, 4096, &page(2)).unwrap();
    let moments = medium.take_recorded();
    let pages = |medium: &SimulatedMedium| {
        let process = medium.start();
        (journal_page(&*process, 0)[0], journal_page(&*process, 1)[0])
    };
    assert_eq!(
        moments.iter().map(pages).collect::<Vec<_>>(),
        [(0, 0), (1, 0), (1, 0)]
    );
    assert_eq!(
        moments
            .iter()
            .map(SimulatedMedium::anything_volatile)
            .collect::<Vec<_>>(),
        [false, true, false]
    );
}

#[test]
fn something_else_can_happen_in_the_middle() {
    let medium = with_journal(0);
    let process = medium.start();
    let other = std::sync::Arc::clone(&process);
    medium.interrupt(2, move || other.write_journal(0, 4096, &page(2)).unwrap());
    process.write_journal(0, 0, &page(1)).unwrap();
    assert_eq!(journal_page(&*process, 1), page(0));
    process.sync_journal(0, Syncer::First).unwrap();
    assert_eq!(journal_page(&*process, 1), page(2));
    assert!(!medium.anything_volatile(), "it came before the sync");
}

#[test]
fn the_digest_is_of_all_that_can_be_seen_or_lost() {
    let base = with_journal(0);
    let after = |what: &dyn Fn(&SimulatedMedium, &dyn Medium)| {
        let medium = base.fork();
        what(&medium, &*medium.start());
        medium.digest()
    };
    let nothing = after(&|_, _| {});
    assert_eq!(nothing, base.digest());
    let written = |_: &SimulatedMedium, process: &dyn Medium| process.write_journal(0, 0, &page(1)).unwrap();
    let synced = |medium: &SimulatedMedium, process: &dyn Medium| {
        written(medium, process);
        process.sync_journal(0, Syncer::First).unwrap();
    };
    let named = |_: &SimulatedMedium, process: &dyn Medium| put(process, SEGMENT, b"some bytes");
    let digests = [
        nothing,
        after(&written),
        after(&synced),
        after(&|medium, process| {
            written(medium, process);
            written(medium, process);
        }),
        after(&|medium, process| {
            synced(medium, process);
            written(medium, process);
        }),
        after(&|medium, process| {
            medium.inject(Fault::Sync, 1);
            written(medium, process);
            process.sync_journal(0, Syncer::First).unwrap_err();
        }),
        after(&|medium, process| {
            written(medium, process);
            medium.set_chooser(Chooser::fixed(Vec::new(), 1));
            medium.crash_process(true);
        }),
        after(&named),
        after(&|medium, process| {
            named(medium, process);
            process.sync_area(Area::Segment).unwrap();
        }),
        after(&|medium, process| {
            named(medium, process);
            process.sync_area(Area::Segment).unwrap();
            process.remove_object(SEGMENT).unwrap();
        }),
        after(&|medium, _| medium.set_capacity(Some(1 << 20))),
    ];
    let different: std::collections::BTreeSet<_> = digests.iter().collect();
    assert_eq!(different.len(), digests.len(), "{digests:x?}");
    // What leaves no trace is not in it.
    let undone = after(&|medium, process| {
        written(medium, process);
        named(medium, process);
        medium.cut_power();
    });
    // A power cut leaves the cache as it finds the medium.
    assert_eq!(undone, after(&|medium, _| medium.cut_power()));
}

#[test]
fn random_bits_follow_from_the_medium_and_never_repeat_on_it() {
    let medium = with_journal(0);
    let other = medium.fork();
    let (process, other_process) = (medium.start(), other.start());
    let first = process.random_bits().unwrap();
    assert_eq!(other_process.random_bits().unwrap(), first);
    let second = process.random_bits().unwrap();
    assert_ne!(second, first);
    process.write_journal(0, 0, &page(1)).unwrap();
    assert_ne!(medium.start().random_bits().unwrap(), first);
}
