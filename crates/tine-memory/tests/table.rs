//! Goal: a table is a map, whatever it is forked from, rolled back to or loaded from.
//! Method: four tables, each beside a `HashMap` of its own and of its origin's entries; random histories, in which few keys meet often and
//! many make groups grow and split.

mod forked;

use std::collections::HashMap;
use std::hash::Hash;

use proptest::prelude::*;
use tine_memory::{Error, Mark, PAGE_BYTES, Plain, Region, Save, SparseTable};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

const LIVE: usize = 4;

#[derive(Clone, Debug)]
enum Step {
    Insert { at: usize, key: u16, value: u8 },
    InsertMany { at: usize, first: u16, count: u16 },
    Add { at: usize, key: u16 },
    Change { at: usize, key: u16, value: u8 },
    Remove { at: usize, key: u16 },
    RemoveMany { at: usize, first: u16, count: u16 },
    Clear { at: usize },
    Fork { from: usize, to: usize },
    Freeze { at: usize },
    Rollback { at: usize },
    Save { from: usize, to: usize },
    SaveSince { from: usize, to: usize },
}

fn step() -> impl Strategy<Value = Step> {
    let at = || 0..LIVE;
    let few = || prop_oneof![0..8u16, any::<u16>()];
    prop_oneof![
        8 => (at(), few(), any::<u8>()).prop_map(|(at, key, value)| Step::Insert { at, key, value }),
        4 => (at(), any::<u16>(), 1..6000u16).prop_map(|(at, first, count)| Step::InsertMany { at, first, count }),
        3 => (at(), few()).prop_map(|(at, key)| Step::Add { at, key }),
        3 => (at(), few(), any::<u8>()).prop_map(|(at, key, value)| Step::Change { at, key, value }),
        6 => (at(), few()).prop_map(|(at, key)| Step::Remove { at, key }),
        3 => (at(), any::<u16>(), 1..6000u16).prop_map(|(at, first, count)| Step::RemoveMany { at, first, count }),
        1 => at().prop_map(|at| Step::Clear { at }),
        4 => (at(), at()).prop_map(|(from, to)| Step::Fork { from, to }),
        1 => at().prop_map(|at| Step::Freeze { at }),
        3 => at().prop_map(|at| Step::Rollback { at }),
        1 => (at(), at()).prop_map(|(from, to)| Step::Save { from, to }),
        1 => (at(), at()).prop_map(|(from, to)| Step::SaveSince { from, to }),
    ]
}

/// What of the model's small keys and values is made in a table.
trait Made: Plain + Eq + Hash + std::fmt::Debug {
    fn made(from: u16) -> Self;
}

impl Made for u64 {
    fn made(from: u16) -> Self {
        u64::from(from) << 17
    }
}

impl Made for u16 {
    fn made(from: u16) -> Self {
        from
    }
}

impl Made for () {
    fn made(_: u16) {}
}

/// A key of odd size, and a value of which seven make a block.
impl<const N: usize> Made for [u8; N] {
    fn made(from: u16) -> Self {
        let mut bytes = [7; N];
        bytes[N - 2..].copy_from_slice(&from.to_le_bytes());
        bytes
    }
}

/// A value with an alignment.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Pair {
    one: u64,
    other: u64,
}

impl Made for Pair {
    fn made(from: u16) -> Self {
        Self {
            one: from.into(),
            other: !u64::from(from),
        }
    }
}

/// A table, the entries that it should have, and those that it should roll back to.
struct Beside<K, V> {
    table: SparseTable<K, V>,
    map: HashMap<K, V>,
    origin: HashMap<K, V>,
    /// What was saved of it last.
    saved: Option<(Mark, Vec<u8>)>,
}

impl<K: Made, V: Made> Beside<K, V> {
    fn new() -> Self {
        Self {
            table: SparseTable::with_capacity(80_000).unwrap(),
            map: HashMap::new(),
            origin: HashMap::new(),
            saved: None,
        }
    }

    fn like(table: SparseTable<K, V>, map: &HashMap<K, V>) -> Self {
        Self {
            table,
            map: map.clone(),
            origin: map.clone(),
            saved: None,
        }
    }

    fn insert(&mut self, key: u16, value: u16) {
        let (key, value) = (K::made(key), V::made(value));
        assert_eq!(
            self.table.insert(key, value).unwrap(),
            self.map.insert(key, value)
        );
    }

    fn check(&self) {
        assert_eq!(self.table.len(), self.map.len());
        let mut entries = 0;
        for (key, value) in self.table.iter() {
            assert_eq!(self.map.get(&key), Some(value));
            entries += 1;
        }
        assert_eq!(entries, self.map.len());
        for key in self.map.keys().chain([&K::made(1), &K::made(40_000)]) {
            assert_eq!(self.table.get(key), self.map.get(key));
        }
    }
}

fn run<K: Made, V: Made>(steps: Vec<Step>, often: bool) {
    let mut all: Vec<Beside<K, V>> = (0..LIVE).map(|_| Beside::new()).collect();
    for step in steps {
        match step {
            Step::Insert { at, key, value } => all[at].insert(key, value.into()),
            Step::InsertMany { at, first, count } => {
                (0..count).for_each(|more| all[at].insert(first.wrapping_add(more), more));
            }
            Step::Add { at, key } => {
                let Beside { table, map, .. } = &mut all[at];
                let (key, value) = (K::made(key), V::made(9));
                assert_eq!(
                    table.get_or_insert_with(key, || value).unwrap(),
                    map.entry(key).or_insert(value)
                );
            }
            Step::Change { at, key, value } => {
                let Beside { table, map, .. } = &mut all[at];
                let (there, expected) = (table.get_mut(&K::made(key)), map.get_mut(&K::made(key)));
                assert_eq!(there, expected);
                if let (Some(there), Some(expected)) = (there, expected) {
                    (*there, *expected) = (V::made(value.into()), V::made(value.into()));
                }
            }
            Step::Remove { at, key } => {
                let Beside { table, map, .. } = &mut all[at];
                let key = K::made(key);
                assert_eq!(table.remove(&key), map.remove(&key));
                assert!(!table.contains_key(&key));
            }
            Step::RemoveMany { at, first, count } => {
                let Beside { table, map, .. } = &mut all[at];
                for more in 0..count {
                    let key = K::made(first.wrapping_add(more));
                    assert_eq!(table.remove(&key), map.remove(&key));
                }
            }
            Step::Clear { at } => {
                all[at].table.clear();
                all[at].map.clear();
            }
            Step::Fork { from, to } => {
                let beside = &mut all[from];
                let fork = Beside::like(beside.table.fork().unwrap(), &beside.map);
                beside.origin.clone_from(&beside.map);
                if from != to {
                    all[to] = fork;
                } else {
                    fork.check();
                }
            }
            Step::Freeze { at } => {
                all[at].table.freeze().unwrap();
                all[at].origin = all[at].map.clone();
            }
            Step::Rollback { at } => {
                all[at].table.rollback().unwrap();
                all[at].map = all[at].origin.clone();
            }
            Step::Save { from, to } => {
                let beside = &mut all[from];
                let mut stream = Vec::new();
                let mark = beside.table.save(&mut stream, Save::Full).unwrap();
                beside.origin.clone_from(&beside.map);
                let loaded = SparseTable::open(Region::load(&mut &stream[..]).unwrap()).unwrap();
                let loaded = Beside::like(loaded, &beside.map);
                beside.saved = Some((mark, stream));
                all[to] = loaded;
            }
            Step::SaveSince { from, to } => {
                let beside = &mut all[from];
                let Some((mark, stream)) = &beside.saved else {
                    continue;
                };
                let mut since = Vec::new();
                beside.table.save(&mut since, Save::Since(mark)).unwrap();
                beside.origin.clone_from(&beside.map);
                let mut loaded = Region::load(&mut &stream[..]).unwrap();
                loaded.load_since(&mut &since[..]).unwrap();
                let loaded = SparseTable::open(loaded).unwrap();
                all[to] = Beside::like(loaded, &all[from].map);
            }
        }
        if often {
            all.iter().for_each(Beside::check);
        }
    }
    all.iter().for_each(Beside::check);
}

fn steps() -> impl Strategy<Value = (Vec<Step>, bool)> {
    (prop::collection::vec(step(), 1..60), any::<bool>())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn a_table_of_numbers_is_a_map((steps, often) in steps()) {
        run::<u64, u64>(steps, often);
    }

    #[test]
    fn a_table_of_small_keys_is_a_map((steps, often) in steps()) {
        run::<u16, Pair>(steps, often);
    }

    #[test]
    fn a_table_of_long_keys_is_a_map((steps, often) in steps()) {
        run::<[u8; 43], [u8; 500]>(steps, often);
    }

    #[test]
    fn a_table_without_values_is_a_set((steps, often) in steps()) {
        run::<[u8; 12], ()>(steps, often);
    }
}

#[test]
fn a_table_that_is_full_says_so_and_stays_as_it_was() {
    for capacity in [0, 1, 300, 5000, 40_000] {
        let mut table = SparseTable::<u64, u64>::with_capacity(capacity).unwrap();
        let mut entries = 0;
        let error = loop {
            match table.insert(entries, !entries) {
                Ok(there) => assert_eq!(there, None),
                Err(error) => break error,
            }
            entries += 1;
        };
        assert!(
            entries >= capacity as u64,
            "{capacity} were to have room, not {entries}"
        );
        let check = |table: &SparseTable<u64, u64>| {
            assert_eq!(table.len() as u64, entries);
            assert!((0..entries).all(|key| table.get(&key) == Some(&!key)));
            assert_eq!(table.get(&entries), None);
        };
        check(&table);
        let region = table.into_region();
        let bytes = region.len();
        check(&SparseTable::open(region).unwrap());
        assert!(
            matches!(error, Error::TableFull { entries: there, bytes: all } if there as u64 == entries && all == bytes)
        );
    }
}

#[test]
fn a_full_table_takes_changes_and_what_comes_for_what_goes() {
    let mut table = SparseTable::<u64, u64>::with_capacity(1000).unwrap();
    let entries = (0..).find(|&key| table.insert(key, 0).is_err()).unwrap();
    assert_eq!(table.insert(7, 1).unwrap(), Some(0));
    *table.get_or_insert_with(8, || unreachable!()).unwrap() = 2;
    (0..entries).for_each(|key| assert!(table.remove(&key).is_some()));
    assert!(table.is_empty());
    (0..1000).for_each(|key| assert_eq!(table.insert(!key, key).unwrap(), None));
    assert_eq!(table.len(), 1000);
}

#[test]
fn a_table_takes_memory_for_what_it_holds_and_forks_for_what_they_change() {
    const ENTRIES: u64 = 200_000;
    let mut golden = SparseTable::<u64, u64>::with_capacity(1 << 32).unwrap();
    assert!(golden.stats().unwrap().own <= 3 * PAGE_BYTES);
    (0..ENTRIES).for_each(|key| assert_eq!(golden.insert(key, key).unwrap(), None));
    let own = golden.stats().unwrap().own;
    let bytes = golden.bytes();
    assert!(own <= bytes && bytes <= 19 * ENTRIES as usize, "{own}, {bytes}");

    let mut fork = golden.fork().unwrap();
    assert_eq!(fork.stats().unwrap().own, 0);
    *fork.get_mut(&7).unwrap() = 0;
    fork.remove(&8).unwrap();
    // A value's page; those of an entry, its tags, its group's record, and the header.
    assert!(fork.stats().unwrap().own <= 5 * PAGE_BYTES);
    assert_eq!((golden.get(&7), golden.get(&8)), (Some(&7), Some(&8)));
    assert_eq!(golden.stats().unwrap().shared, own);
    drop(fork);
    assert_eq!(golden.stats().unwrap().shared, 0);

    // A table that goes takes its memory along.
    let status = forked::in_forked_process(|| {
        let before = memory_of_files();
        let mut table = SparseTable::<u64, u64>::with_capacity(1 << 32).unwrap();
        (0..ENTRIES).for_each(|key| assert_eq!(table.insert(key, key).unwrap(), None));
        let fork = table.fork().unwrap();
        assert!(fork.iter().count() == ENTRIES as usize);
        let with = memory_of_files();
        drop((table, fork));
        let after = memory_of_files();
        i32::from(with < before + 3000 || after > before + 100)
    });
    assert_eq!(status, 0);
}

/// Returns how much memory of files in memory this process has, in KiB.
fn memory_of_files() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssShmem:"));
    line.unwrap().trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn what_is_no_such_table_is_refused() {
    fn no_table<K: Plain, V: Plain>(region: &mut Region) -> bool {
        let opened = SparseTable::<K, V>::open(region.fork().unwrap());
        matches!(opened, Err(Error::NotTable { .. }))
    }
    let mut empty = Region::zeroed(100 * PAGE_BYTES).unwrap();
    assert!(no_table::<u64, u64>(&mut empty));
    let short = SparseTable::<u64, u64>::open(Region::zeroed(100).unwrap());
    assert!(matches!(short, Err(Error::Length { .. })));

    let mut table = SparseTable::<u64, u64>::with_capacity(10_000).unwrap();
    (0..5000).for_each(|key| assert_eq!(table.insert(key, 0).unwrap(), None));
    let mut region = table.into_region();
    assert!(!no_table::<u64, u64>(&mut region));
    assert!(no_table::<u64, u32>(&mut region));
    assert!(no_table::<u32, u64>(&mut region));
    region.write_at(&[9], 8).unwrap();
    let newer = SparseTable::<u64, u64>::open(region.fork().unwrap());
    assert!(matches!(newer, Err(Error::Format { found: 9, .. })));
    region.write_at(&[1], 8).unwrap();

    // Whatever byte of the header or a group's record is wrong: refused, or never noticed but by what is found.
    let mut refused = 0;
    for offset in (0..96).chain(PAGE_BYTES..PAGE_BYTES + 64) {
        let mut damaged = region.fork().unwrap();
        let mut byte = [0];
        damaged.read_at(&mut byte, offset).unwrap();
        damaged.write_at(&[byte[0] ^ 0x55], offset).unwrap();
        match SparseTable::<u64, u64>::open(damaged) {
            Ok(table) => assert!(table.get(&7).is_none_or(|&value| value == 0)),
            Err(_) => refused += 1,
        }
    }
    // All but the seeds, what is behind the header, and pages of the record that it does not have.
    assert!(refused > 60, "{refused} were refused");
}
