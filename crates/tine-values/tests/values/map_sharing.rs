//! Goal: maps share what they can, and no operation costs more than what it changes.
//! Method: count bytes of nodes, allocations, and calls of `Eq` and of closures, which do not depend on the machine.

use std::cell::Cell;
use std::hash::{Hash, Hasher};

use crate::allocations::allocations;
use tine_values::map::{Iter, Keys, Values};
use tine_values::{Change, Map};

/// An inner node: a count and sixteen children.
const INNER_BYTES: usize = 8 + 16 * 8;
/// A leaf of a tree: a count, a head, eight groups of 15 entries of 16 bytes.
const LEAF_BYTES: usize = 16 + 8 * 256;

fn map_of(keys: u64) -> Map<u64, u64> {
    (0..keys).map(|key| (key, key)).collect()
}

#[test]
fn handles_are_small_and_empty_maps_own_nothing() {
    assert_eq!(size_of::<Map<u64, String>>(), 24);
    assert_eq!(size_of::<Option<Map<u64, String>>>(), 24 + 8);
    let (count, map) = allocations(Map::<u64, u64>::new);
    assert_eq!((count, map.own_bytes(), map.shared_bytes()), (0, 0, 0));
    assert_eq!(allocations(|| (map.get(&1), map.clone().len())).0, 0);
}

#[test]
fn a_small_map_is_one_block() {
    let (count, mut map) = allocations(|| Map::from([0, 1, 2, 3, 4, 5, 6, 7].map(|key: u64| (key, key))));
    assert_eq!(count, 1);
    let used = 8 * 16;
    assert!(
        map.own_bytes() <= used + 64,
        "{} bytes for {used}",
        map.own_bytes()
    );
    let clone = map.clone();
    assert_eq!(allocations(|| map.insert(3, 7)).0, 1, "a copy is one block too");
    assert_eq!(clone[&3], 3);
    assert_eq!(allocations(|| map.insert(3, 8)).0, 0);
}

#[test]
fn entries_take_little_more_than_their_size() {
    for keys in [1000, 10_000, 100_000, 1_000_000] {
        let bytes = map_of(keys).own_bytes() as f64 / keys as f64;
        assert!(
            (16.0..40.0).contains(&bytes),
            "{bytes} bytes each for {keys} entries of 16"
        );
    }
}

#[test]
fn a_clone_shares_everything() {
    let map = map_of(10_000);
    let bytes = map.own_bytes();
    assert_eq!(map.shared_bytes(), 0);
    assert!(map.is_unique());
    let (count, clone) = allocations(|| map.clone());
    assert_eq!(count, 0);
    assert!(clone.ptr_eq(&map) && !map.is_unique());
    assert_eq!((map.own_bytes(), map.shared_bytes()), (0, bytes));
    drop(clone);
    assert_eq!((map.own_bytes(), map.shared_bytes()), (bytes, 0));
}

#[test]
fn a_write_in_a_clone_copies_one_way() {
    let map = map_of(100_000);
    let mut clone = map.clone();
    let (count, _) = allocations(|| clone.insert(5, 1));
    assert!((3..=5).contains(&count), "{count} nodes on the way");
    let own = clone.own_bytes();
    assert!(own <= 4 * INNER_BYTES + LEAF_BYTES, "{own} bytes");
    assert_eq!(
        map.own_bytes(),
        own,
        "what the clone has replaced is the origin's alone"
    );
    assert_eq!(allocations(|| clone.insert(5, 2)).0, 0);
    assert_eq!(clone.own_bytes(), own, "the next write finds it copied");
    assert_eq!((map[&5], clone[&5]), (5, 2));
}

#[test]
fn what_changes_nothing_copies_nothing() {
    let map = map_of(10_000);
    let mut clone = map.clone();
    assert_eq!(clone.remove(&20_000), None);
    assert_eq!(clone.get_mut(&20_000), None);
    assert_eq!(clone.get_disjoint_mut([&20_000, &20_001]), [None, None]);
    let tine_values::map::Entry::Occupied(entry) = clone.entry(5) else {
        unreachable!("it is there")
    };
    assert_eq!(entry.get(), &5);
    assert_eq!(clone.entry(20_000).key(), &20_000);
    assert!(clone.ptr_eq(&map));
}

#[test]
fn a_map_gets_smaller_with_its_content() {
    let mut map = map_of(20_000);
    let full = map.own_bytes();
    for key in 100..20_000 {
        map.remove(&key);
    }
    assert!(
        map.own_bytes() < 4 * LEAF_BYTES,
        "{} bytes left of {full}",
        map.own_bytes()
    );
    let mut map = map_of(20_000);
    map.retain(|key, _| key % 200 == 0);
    assert_eq!(map.len(), 100);
    assert!(
        map.own_bytes() < 4 * LEAF_BYTES,
        "{} bytes left of {full}",
        map.own_bytes()
    );
    map.retain(|_, _| false);
    assert_eq!((map.len(), map.own_bytes()), (0, 0));
}

#[test]
fn an_iterator_that_takes_out_leaves_nothing_empty_behind_it() {
    let full = map_of(20_000).own_bytes();
    let mut map = map_of(20_000);
    let mut others = map.extract_if(|key, _| key % 200 != 0);
    assert_eq!(others.by_ref().take(19_000).count(), 19_000);
    drop(others);
    assert_eq!(map.len(), 1_000);
    assert!(map.own_bytes() < full / 8, "{} of {full}", map.own_bytes());
    assert!((0..20_000).step_by(200).all(|key| map[&key] == key));
    assert_eq!(map.iter().filter(|(key, _)| **key % 200 != 0).count(), 900);

    let mut others = map.extract_if(|key, _| key % 200 != 0);
    assert_eq!(others.by_ref().count(), 900);
    assert!(others.next().is_none());
    drop(others);
    assert!(map.own_bytes() < 4 * LEAF_BYTES, "{} of {full}", map.own_bytes());
    let mut all = map.extract_if(|_, _| true);
    assert_eq!((all.by_ref().count(), all.next()), (100, None));
    drop(all);
    assert_eq!((map.len(), map.own_bytes()), (0, 0));
}

#[test]
fn what_comes_and_goes_leaves_nothing_behind() {
    let mut map = map_of(1000);
    let full = map.own_bytes();
    for key in 1000..200_000 {
        map.insert(key, key);
        map.remove(&(key - 1000));
    }
    assert_eq!(map.len(), 1000);
    assert!(
        map.own_bytes() < 2 * full,
        "{} bytes after many writes, {full} before",
        map.own_bytes()
    );
}

/// Counts how often it is compared.
#[derive(Clone, Copy, Eq, Debug)]
struct Counted(u64);

thread_local!(static LOOKS: Cell<usize> = const { Cell::new(0) });

impl PartialEq for Counted {
    fn eq(&self, other: &Self) -> bool {
        LOOKS.set(LOOKS.get() + 1);
        self.0 == other.0
    }
}

impl Hash for Counted {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0);
    }
}

fn looks<T>(work: impl FnOnce() -> T) -> (usize, T) {
    LOOKS.set(0);
    let result = work();
    (LOOKS.get(), result)
}

#[test]
fn comparing_versions_looks_only_at_what_differs() {
    let map: Map<_, _> = (0..100_000).map(|key| (Counted(key), key)).collect();
    let mut other = map.clone();
    let keys = [0, 1, 77_777, 50_000, 99_999];
    for key in keys {
        other.insert(Counted(key), key + 1);
    }
    // Five leaves of up to 104 entries, each key compared once from either side.
    let most = 5 * 2 * 110;

    let (count, changes) = looks(|| map.diff(&other).count());
    assert_eq!(changes, 5);
    assert!(count <= most, "{count} looks for a diff");
    let (count, is_same) = looks(|| map == other);
    assert!(!is_same && count <= most, "{count} looks for a comparison");
    let (count, is_same) = looks(|| map == map.clone());
    assert_eq!((count, is_same), (0, true));

    let mut theirs = map.clone();
    theirs.remove(&Counted(5));
    theirs.insert(Counted(200_000), 1);
    let (count, merged) =
        looks(|| map.merge(&other, &theirs, |_| unreachable!("different keys are written")));
    assert_eq!((merged.len(), merged[&Counted(0)]), (100_000, 1));
    assert!(count <= most, "{count} looks for a merge");
    // Two leaves are written, and the one that is put into makes two if it was full, with an inner node above them if it
    // had a slot of its own.
    let written = 3 * LEAF_BYTES + 6 * INNER_BYTES;
    assert!(
        merged.own_bytes() <= written,
        "{} bytes, not {written}: the rest is shared",
        merged.own_bytes()
    );

    let (count, union) = looks(|| map.union_with(&other, |_, old, new| old + new));
    assert_eq!((union.len(), union[&Counted(1)]), (100_000, 3));
    assert!(count <= most, "{count} looks for a union");
}

#[test]
fn a_merge_with_what_is_unchanged_is_the_other() {
    let map = map_of(1000);
    let mut other = map.clone();
    other.insert(5, 1);
    let none = |_: tine_values::Conflict<'_, u64, u64>| unreachable!("only one side writes");
    assert!(map.merge(&other, &map, none).ptr_eq(&other));
    assert!(map.merge(&map, &other, none).ptr_eq(&other));
}

#[test]
fn versions_of_different_shape_compare() {
    let small = map_of(90);
    let mut large = small.clone();
    large.extend((90..5000).map(|key| (key, key)));
    assert_eq!(small.diff(&large).count(), 4910);
    assert!(
        small
            .diff(&large)
            .all(|change| matches!(change, Change::Added { key: 90.., .. }))
    );
    assert!(
        large
            .diff(&small)
            .all(|change| matches!(change, Change::Removed { key: 90.., .. }))
    );
    large.retain(|key, _| *key < 90);
    assert_eq!(small, large);
    assert!(!small.ptr_eq(&large));
    assert_eq!(Map::new(), Map::<u64, u64>::new());
    assert_eq!(Map::new().diff(&small).count(), 90);
    assert_eq!(small.diff(&Map::new()).count(), 90);
}

#[test]
fn a_copy_is_counted_while_debugging() {
    #[cfg(debug_assertions)]
    {
        let map = map_of(1);
        let mut clone = map.clone();
        let before = tine_values::detaches();
        clone.insert(0, 1);
        assert!(tine_values::detaches() > before);
    }
}

#[test]
fn iterators_of_nothing_are_there_by_default() {
    use tine_values::{map, set};
    assert_eq!(map::Iter::<String, u8>::default().len(), 0);
    assert!(
        map::Keys::<u8, u8>::default().next().is_none() && map::Values::<u8, u8>::default().next().is_none()
    );
    assert!(
        map::IntoKeys::<u8, u8>::default().next().is_none()
            && map::IntoIter::<u8, u8>::default().next().is_none()
    );
    assert!(map::IntoValues::<u8, u8>::default().next().is_none());
    assert!(set::Iter::<u8>::default().next().is_none() && set::IntoIter::<u8>::default().next().is_none());
}

/// What reads a map of what is static does so as one of what lives shorter.
fn _covariant<'a, 'b>(
    map: Map<&'static str, &'static str>,
    entries: Iter<'b, &'static str, &'static str>,
) -> (Map<&'a str, &'a str>, Iter<'b, &'a str, &'a str>) {
    (map, entries)
}

fn _covariant_parts<'a, 'b>(
    keys: Keys<'b, &'static str, &'static str>,
    values: Values<'b, &'static str, &'static str>,
) -> (Keys<'b, &'a str, &'a str>, Values<'b, &'a str, &'a str>) {
    (keys, values)
}
