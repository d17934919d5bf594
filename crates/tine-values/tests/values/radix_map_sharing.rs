//! Goal: maps share what they can, and no operation costs more than what it changes.
//! Method: count the bytes of nodes and the calls of closures, which do not depend on the machine.

use std::cell::Cell;

use tine_values::RadixMap;

/// A leaf of `u64`s that is full: a head and 64 values.
const LEAF_BYTES: usize = 16 + 64 * 8;
/// An inner node that is full: a head and 16 children.
const INNER_BYTES: usize = 16 + 16 * 8;

fn full_map(keys: u64) -> RadixMap<u64> {
    let mut map = RadixMap::new();
    map.insert_run(0, (0..keys as usize).map(|key| key as u64), |_, _| ());
    map
}

fn bytes<T>(map: &RadixMap<T>) -> (usize, usize) {
    (map.own_bytes(), map.shared_bytes())
}

#[test]
fn a_map_is_dropped_no_deeper_than_it_is_high() {
    // The highest tree there is, with many nodes on every level: dropped on a stack that has room for little.
    let mut map: RadixMap<Box<u64>> = (0..10_000_u64)
        .map(|number| number.wrapping_mul(0x9E37_79B9_7F4A_7C15))
        .map(|key| (key, Box::new(key)))
        .collect();
    map.insert(u64::MAX, Box::new(0));
    let small = std::thread::Builder::new().stack_size(32 << 10);
    small.spawn(move || drop(map)).unwrap().join().unwrap();
}

#[test]
fn handles_are_small_and_empty_maps_own_nothing() {
    assert_eq!(size_of::<RadixMap<u64>>(), 16);
    assert_eq!(bytes(&RadixMap::<u64>::new()), (0, 0));
}

#[test]
fn a_clone_shares_everything() {
    let map = full_map(100_000);
    let alone = map.own_bytes();
    assert!(map.is_unique() && map.shared_bytes() == 0);
    let clone = map.clone();
    assert!(clone.ptr_eq(&map));
    assert!(!map.is_unique());
    assert_eq!(bytes(&map), (0, alone));
    drop(clone);
    assert_eq!(bytes(&map), (alone, 0));
}

#[test]
fn a_write_in_a_fork_copies_one_path() {
    // 2^18 keys: a leaf and three inner nodes, all full.
    let map = full_map(1 << 18);
    let path = LEAF_BYTES + 3 * INNER_BYTES;
    let mut fork = map.clone();
    for key in [5, 6, 60] {
        fork.insert(key, 1);
        assert_eq!(
            fork.own_bytes(),
            path,
            "the first write copies the path, the others find it copied"
        );
    }
    assert_eq!(
        map.own_bytes(),
        path,
        "what the fork has replaced is the origin's alone"
    );
    fork.insert(64, 1);
    assert_eq!(
        fork.own_bytes(),
        path + LEAF_BYTES,
        "the leaf beside it shares the inner nodes"
    );
}

#[test]
fn what_changes_nothing_copies_nothing() {
    let map = RadixMap::from_iter((0..10_000).step_by(100).map(|key| (key, key)));
    let mut fork = map.clone();
    assert_eq!(fork.remove(5), None);
    assert_eq!(fork.remove(u64::MAX), None);
    fork.clear_range(1..100, |_, _| unreachable!("nothing is there"));
    fork.clear_range(20_000..u64::MAX, |_, _| unreachable!("nothing is there"));
    fork.clear_range(50..50, |_, _| unreachable!("nothing is there"));
    fork.fill(7..7, 1, |_, _| unreachable!("nothing is there"));
    fork.insert_run(9, std::iter::empty(), |_, _| unreachable!("nothing is there"));
    assert!(fork.ptr_eq(&map));
}

#[test]
fn a_sparse_map_is_small() {
    let map = RadixMap::from_iter([(1 << 27, 7_u64)]);
    // A leaf and six inner nodes, of one entry each.
    assert_eq!(map.own_bytes(), 7 * 24);
    assert_eq!(RadixMap::from_iter([(3, 7_u64)]).own_bytes(), 24);
}

#[test]
fn a_tree_gets_lower_when_its_high_keys_go() {
    let mut map = RadixMap::from_iter([(3, 7_u64), (u64::MAX, 8)]);
    assert!(map.own_bytes() > 16 * 24);
    assert_eq!(map.remove(u64::MAX), Some(8));
    assert_eq!(map.own_bytes(), 24);
    map.insert(1 << 50, 9);
    map.clear_range(1 << 40..1 << 60, |_, _| ());
    assert_eq!(map.own_bytes(), 24);
}

#[test]
fn a_fill_costs_its_height_and_not_its_length() {
    let clones = Cell::new(0);
    let value = CountsClones(&clones);
    let mut map = RadixMap::new();
    map.fill(0..1 << 28, value.clone(), |_, _| ());
    assert!(map.own_bytes() < 1000, "{:?}", bytes(&map));
    assert_eq!(
        map.shared_bytes(),
        0,
        "slots of one map that share a fill are one owner"
    );
    assert!(map.iter().count() <= 16);

    map.fill(1..(1 << 62) + 1, value.clone(), |_, _| ());
    assert!(map.own_bytes() < 5_000, "{:?}", bytes(&map));

    clones.set(0);
    map.fill(64..1 << 50, value, |_, _| ());
    assert_eq!(clones.get(), 1, "one for all slots together");
    map.clear_range(0..1 << 63, |_, _| ());
    assert!(map.is_empty());
    assert_eq!(bytes(&map), (0, 0));
}

#[derive(Debug)]
struct CountsClones<'a>(&'a Cell<usize>);

impl Clone for CountsClones<'_> {
    fn clone(&self) -> Self {
        self.0.set(self.0.get() + 1);
        Self(self.0)
    }
}

#[test]
fn a_write_into_a_fill_splits_one_path() {
    let mut map = RadixMap::new();
    map.fill(0..1 << 26, 1_u64, |_, _| ());
    assert_eq!(map.own_bytes(), 16, "the root is the fill");
    assert_eq!(map.insert(12_345_678, 2), Some(1));
    assert_eq!(map.own_bytes(), LEAF_BYTES + 5 * INNER_BYTES + 16);
    assert_eq!(map.iter().count(), 5 * 15 + 64);
    assert_eq!((map.get(12_345_677), map.get(12_345_678)), (Some(&1), Some(&2)));
}

#[test]
fn a_fill_that_two_maps_have_is_shared() {
    let mut map = RadixMap::new();
    map.fill(0..1 << 18, 1_u64, |_, _| ());
    map.insert(0, 2);
    let mut fork = map.clone();
    fork.insert(1, 3);
    // The fork has its own path, full of the same fill.
    assert_eq!(bytes(&fork), (LEAF_BYTES + 3 * INNER_BYTES, 16));
}

#[test]
fn a_diff_looks_only_at_what_differs() {
    let map = full_map(1 << 20);
    let mut fork = map.clone();
    let changed = [0, 1, 77_777, 500_000, (1 << 20) - 1];
    fork.extend(changed.map(|key| (key, u64::MAX)));

    let looks = Cell::new(0);
    let same = |left: &u64, right: &u64| {
        looks.set(looks.get() + 1);
        left == right
    };
    let found: Vec<_> = map.diff_by(&fork, same).map(|(range, ..)| range.start).collect();
    assert_eq!(found, changed);
    assert_eq!(looks.get(), 4 * 64, "the values of four leaves");

    looks.set(0);
    let mut rest = map.diff_by(&fork, same);
    rest.skip_before(77_778);
    assert_eq!(
        rest.map(|(range, ..)| range.start).collect::<Vec<_>>(),
        changed[3..]
    );
    assert!(looks.get() <= 3 * 64, "{} values were looked at", looks.get());

    looks.set(0);
    assert_eq!(map.diff_by(&map.clone(), same).count(), 0);
    assert_eq!(looks.get(), 0);
}

#[test]
fn a_diff_of_trees_of_different_height_still_shares() {
    let map = full_map(1 << 12);
    let mut fork = map.clone();
    fork.insert(u64::MAX, 1);
    let looks = Cell::new(0);
    let found: Vec<_> = map
        .diff_by(&fork, |_, _| {
            looks.set(looks.get() + 1);
            false
        })
        .collect();
    assert_eq!(found, [(u64::MAX..u64::MAX, None, Some(&1))]);
    assert_eq!(looks.get(), 0);
}

#[test]
fn a_diff_of_a_fill_and_nothing_is_few_pieces() {
    let mut map = RadixMap::new();
    map.fill(0..1 << 40, "old", |_, _| ());
    let mut fork = map.clone();
    fork.clear_range(100..1 << 39, |_, _| ());
    fork.insert(5, "new");
    let found: Vec<_> = map.diff(&fork).collect();
    assert_eq!(found[0], (5..6, Some(&"old"), Some(&"new")));
    // Equal neighbours are joined as far as they have one value on each side, not only equal values.
    assert!(found.len() < 20, "{found:?}");
    assert_eq!(found[1].0.start, 100);
    assert_eq!(found.last().map(|(range, ..)| range.end), Some(1 << 39));
}

#[test]
fn maps_of_the_same_content_are_equal_however_they_came_about() {
    let mut filled = RadixMap::new();
    filled.fill(0..5000, 7, |_, _| ());
    let mut run = RadixMap::new();
    run.insert_run(0, [7; 5000].into_iter(), |_, _| ());
    assert_eq!(filled, run);
    assert!(!filled.ptr_eq(&run));
    run.remove(4999);
    assert_ne!(filled, run);
}

#[test]
fn the_last_key_is_reported_as_an_empty_range() {
    let mut map = RadixMap::from_iter([(u64::MAX, 'z')]);
    map.fill(u64::MAX - 2..u64::MAX, 'y', |_, _| ());
    let all: Vec<_> = map.iter().collect();
    let max = u64::MAX;
    assert_eq!(
        all,
        [(max - 2..max - 1, &'y'), (max - 1..max, &'y'), (max..max, &'z')]
    );
    assert_eq!(map.range(0..max).count(), 2, "no range contains it");
    map.clear_range(0..max, |_, _| ());
    assert_eq!(map.iter().collect::<Vec<_>>(), [(max..max, &'z')]);
    let mut old = Vec::new();
    map.insert_run(max - 1, ['a', 'b'].into_iter(), |key, value| {
        old.push((key, value));
    });
    assert_eq!(old, [(max, 'z')]);
    assert_eq!(
        format!("{map:?}"),
        format!("{{{:?}: 'a', {:?}: 'b'}}", max - 1..max, max..max)
    );
}

#[test]
#[should_panic(expected = "a run ends at the last key at most")]
fn a_run_beyond_the_last_key_panics() {
    RadixMap::new().insert_run(u64::MAX, [1, 2].into_iter(), |_, _| ());
}

#[test]
fn a_run_follows_its_iterator_and_not_its_length() {
    /// Promises `promised` and gives what `values` has.
    struct Liar {
        promised: usize,
        values: std::vec::IntoIter<u64>,
    }
    impl Iterator for Liar {
        type Item = u64;
        fn next(&mut self) -> Option<u64> {
            self.values.next()
        }
        fn size_hint(&self) -> (usize, Option<usize>) {
            (self.promised, Some(self.promised))
        }
    }
    impl ExactSizeIterator for Liar {}

    for promised in [1, 63, 64, 65, 200] {
        for given in [0, 1, 64, 70, 300] {
            for mut map in [RadixMap::new(), full_map(128)] {
                let before = map.clone();
                map.insert_run(
                    10,
                    Liar {
                        promised,
                        values: vec![9; given].into_iter(),
                    },
                    |_, _| (),
                );
                let count = promised.min(given) as u64;
                for key in 0..400 {
                    let is_set = (10..10 + count).contains(&key);
                    assert_eq!(map.get(key), if is_set { Some(&9) } else { before.get(key) });
                }
                assert_eq!(map.is_empty(), count == 0 && before.is_empty());
            }
        }
    }
}

#[test]
fn it_is_made_of_what_a_btree_map_is_made_of() {
    let mut map = RadixMap::from([(1, 2), (3, 4)]);
    map.extend([(5, &6)]);
    map.extend(&std::collections::BTreeMap::from([(u64::MAX, 7)]));
    assert!(map.contains_key(5) && !map.contains_key(6));
    assert!(map.keys().eq([1, 3, 5, u64::MAX]));
    assert_eq!(
        (map.len(), map.iter().last()),
        (4, Some((u64::MAX..u64::MAX, &7)))
    );
    assert_eq!(format!("{:?}", map.keys()), format!("{:?}", [1, 3, 5, u64::MAX]));
}

/// What is not removed is not copied, and what is not there is not made.
#[test]
fn names_of_a_btree_map_copy_no_more_than_they_change() {
    let base: RadixMap<u64> = (0..10_000).map(|key| (key, key)).collect();
    let mut fork = base.clone();
    assert_eq!(fork.get_mut(10_000), None);
    fork.retain(|_, _| true);
    assert!(fork.ptr_eq(&base));
    fork.retain(|_, value| *value != 5_000);
    assert!(fork.own_bytes() < 1_200, "{}", fork.own_bytes());
    let behind = fork.split_off(7_000);
    assert!(behind.own_bytes() + fork.own_bytes() < 3_600);
    assert_eq!((fork.len(), behind.len()), (6_999, 3_000));
}
