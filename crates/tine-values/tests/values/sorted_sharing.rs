//! Goal: versions share what they have in common, and nobody looks at what is shared.
//! Method: bytes and counts of copies; keys that count how often they are compared.

use std::cell::Cell;
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound::{Excluded, Included};

use tine_values::sorted_map::{Iter, Keys, Range, Values};
use tine_values::{Change, SortedMap, SortedSet, sorted_set};

const MANY: u64 = 100_000;

fn numbers(count: u64) -> SortedMap<u64, u64> {
    (0..count).map(|key| (key, key)).collect()
}

#[test]
fn a_clone_shares_everything_until_it_is_written() {
    let base = numbers(MANY);
    assert!(base.is_unique());
    assert_eq!(base.shared_bytes(), 0);
    let mut fork = base.clone();
    assert!(fork.ptr_eq(&base) && !fork.is_unique() && fork == base);
    assert_eq!((fork.own_bytes(), fork.shared_bytes()), (0, base.shared_bytes()));

    fork.insert(MANY / 2, 0);
    assert!(!fork.ptr_eq(&base));
    // A leaf, and an inner node for each level.
    assert!((1_024..2_500).contains(&fork.own_bytes()), "{}", fork.own_bytes());
    assert!(fork.shared_bytes() > 16 * MANY as usize - 2_500);
    assert_eq!(base.get(&(MANY / 2)), Some(&(MANY / 2)));
    drop(base);
    assert!(fork.is_unique());
    assert_eq!(fork.shared_bytes(), 0);
}

#[test]
fn what_finds_nothing_to_write_copies_nothing() {
    let base = numbers(MANY);
    let mut fork = base.clone();
    assert_eq!(fork.remove(&MANY), None);
    assert_eq!(fork.get_mut(&MANY), None);
    assert_eq!(fork.entry(5).key(), &5);
    assert!(fork.ptr_eq(&base));

    let base: SortedSet<u64> = (0..MANY).collect();
    let mut fork = base.clone();
    assert!(!fork.insert(7));
    assert!(fork.ptr_eq(&base));
}

#[test]
fn memory_follows_the_number_of_entries() {
    let empty = SortedMap::<u64, u64>::new();
    assert_eq!((empty.own_bytes(), size_of_val(&empty)), (0, size_of::<usize>()));
    let few = numbers(8);
    assert_eq!(few.own_bytes(), 24 + 12 * 16);
    assert!(numbers(MANY).own_bytes() < 18 * MANY as usize);
    // A set pays nothing for values that it does not have.
    let set: SortedSet<u64> = (0..MANY).collect();
    assert!(set.own_bytes() < 9 * MANY as usize);
    // Filled in order, one by one, leaves are three quarters full.
    let mut map = SortedMap::new();
    map.extend((0..MANY).map(|key| (key, key)));
    assert!(map.own_bytes() < 24 * MANY as usize);
}

#[test]
fn cut_maps_share_with_what_they_were_cut_from() {
    let base = numbers(MANY);
    let mut left = base.clone();
    let mut right = left.split_off(&(MANY / 3));
    assert_eq!(
        (left.len() as u64, right.len() as u64),
        (MANY / 3, MANY - MANY / 3)
    );
    assert!(left.own_bytes() < 4_000 && right.own_bytes() < 4_000);
    left.append(&mut right);
    assert_eq!(left, base);
    assert!(left.own_bytes() < 8_000, "{}", left.own_bytes());
}

#[test]
fn writing_by_iterator_copies_the_leaves_it_comes_to() {
    let base = numbers(MANY);
    let mut fork = base.clone();
    fork.iter_mut().take(100).for_each(|(_, value)| *value += 1);
    assert!(fork.own_bytes() < 5_000, "{}", fork.own_bytes());
    let mut fork = base.clone();
    fork.extract_if(500..600, |key, _| key % 2 == 0).for_each(drop);
    assert_eq!(fork.len() as u64, MANY - 50);
    assert!(fork.own_bytes() < 16_000, "{}", fork.own_bytes());
}

thread_local! {
    static COMPARED: Cell<usize> = const { Cell::new(0) };
}

/// Counts how often numbers like it are compared, in order or for equality.
#[derive(Clone, Debug)]
struct Counted(u64);

impl Ord for Counted {
    fn cmp(&self, other: &Self) -> Ordering {
        COMPARED.set(COMPARED.get() + 1);
        self.0.cmp(&other.0)
    }
}

impl PartialOrd for Counted {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Counted {
    fn eq(&self, other: &Self) -> bool {
        COMPARED.set(COMPARED.get() + 1);
        self.0 == other.0
    }
}

impl Eq for Counted {}

fn compared<R>(work: impl FnOnce() -> R) -> (R, usize) {
    COMPARED.set(0);
    let result = work();
    (result, COMPARED.get())
}

fn counted(count: u64) -> SortedMap<Counted, Counted> {
    (0..count).map(|key| (Counted(key), Counted(key))).collect()
}

#[test]
fn comparing_costs_what_differs() {
    let base = counted(MANY);
    let mut fork = base.clone();
    for key in (0..10).map(|at| at * (MANY / 10)) {
        fork.insert(Counted(key), Counted(MANY));
    }
    fork.remove(&Counted(77));
    fork.insert(Counted(MANY), Counted(MANY));
    let (changes, count) = compared(|| base.diff(&fork).count());
    assert_eq!(changes, 12);
    assert!(count < 12 * 400, "{count} comparisons");

    // The same content, in nodes of its own at ten places.
    let mut same = base.clone();
    for key in (0..10).map(|at| at * (MANY / 10)) {
        same.insert(Counted(key), Counted(key));
    }
    let (is_equal, count) = compared(|| same == base);
    assert!(is_equal && count < 10 * 400, "{count} comparisons");

    let theirs = fork;
    let mut ours = base.clone();
    ours.insert(Counted(55_555), Counted(0));
    let (merged, count) = compared(|| base.merge(&ours, &theirs, |_| unreachable!("no conflicts")));
    assert!(count < 12 * 500, "{count} comparisons");
    assert_eq!(merged.diff(&base).count(), 13);
    assert!(merged.own_bytes() < 30_000);
}

#[test]
fn appending_costs_what_the_shorter_one_has() {
    let large = counted(MANY);
    let small: SortedMap<_, _> = (0..10).map(|at| (Counted(at * 20_000), Counted(MANY))).collect();
    for [one, other] in [[&small, &large], [&large, &small]] {
        let (mut all, mut more) = (one.clone(), other.clone());
        let ((), count) = compared(|| all.append(&mut more));
        assert!(count < 10 * 40, "{count} comparisons");
        assert_eq!((all.len(), more.len()), (MANY as usize + 5, 0));
        let values = [all[&Counted(20_000)].0, all[&Counted(180_000)].0];
        assert_eq!(values, [other[&Counted(20_000)].0, MANY], "the other's wins");
        assert!(all.own_bytes() < 30_000, "{}", all.own_bytes());
    }
}

#[test]
fn an_element_is_replaced_where_it_is() {
    let mut set: SortedSet<Counted> = (0..MANY).map(Counted).collect();
    let origin = set.clone();
    let (there, look) = compared(|| set.contains(&Counted(MANY / 3)));
    let (old, count) = compared(|| set.replace(Counted(MANY / 3)));
    assert!(there && old == Some(Counted(MANY / 3)));
    assert!(count <= look, "{count} comparisons, {look} to find it");
    assert_eq!(set.len(), origin.len());
    assert!(set.own_bytes() < 2_500, "{}", set.own_bytes());
    assert_eq!(set.replace(Counted(MANY)), None);
    assert_eq!((set.len(), origin.len()), (MANY as usize + 1, MANY as usize));
}

#[test]
fn combining_sets_looks_only_at_what_differs() {
    let base: SortedSet<Counted> = (0..MANY).map(Counted).collect();
    let (mut ours, mut theirs) = (base.clone(), base.clone());
    for number in 0..5 {
        ours.insert(Counted(MANY + number));
        theirs.remove(&Counted(number * 1_000));
    }
    let many = MANY as usize;
    type Work<'a> = &'a dyn Fn() -> usize;
    let works: [(&str, usize, Work<'_>); 13] = [
        ("diff", 10, &|| ours.diff(&theirs).count()),
        ("difference", 10, &|| ours.difference(&theirs).count()),
        ("symmetric difference", 10, &|| {
            ours.symmetric_difference(&theirs).count()
        }),
        ("union", many + 5, &|| ours.union(&theirs).count()),
        ("intersection", many - 5, &|| ours.intersection(&theirs).count()),
        ("subset", 0, &|| usize::from(ours.is_subset(&theirs))),
        ("superset", 1, &|| usize::from(ours.is_superset(&base))),
        ("disjoint", 0, &|| usize::from(ours.is_disjoint(&theirs))),
        ("or", many + 5, &|| (&ours | &theirs).len()),
        ("and", many - 5, &|| (&ours & &theirs).len()),
        ("sub", 10, &|| (&ours - &theirs).len()),
        ("xor", 10, &|| (&ours ^ &theirs).len()),
        ("merge", many, &|| base.merge(&ours, &theirs).len()),
    ];
    for (name, expected, work) in works {
        let (len, count) = compared(work);
        assert_eq!(len, expected, "{name}");
        assert!(count < 10 * 400, "{name}: {count} comparisons");
    }
}

#[test]
fn nodes_are_found_shared_though_the_trees_have_other_shapes() {
    let base = counted(MANY);
    let mut fork = base.clone();
    // Takes out half of what is there, which moves everything behind it to other parents.
    let mut behind = fork.split_off(&Counted(MANY / 2));
    let mut behind = behind.split_off(&Counted(MANY / 2 + 10_000));
    fork.append(&mut behind);
    let (removed, count) = compared(|| base.diff(&fork).count());
    assert_eq!(removed, 10_000);
    assert!(count < 25_000, "{count} comparisons");
}

#[test]
fn sets_made_by_operators_share_with_what_they_are_made_of() {
    let base: SortedSet<u64> = (0..MANY).map(|key| key * 2).collect();
    let mut more = base.clone();
    more.extend([1, 50_001, 100_001]);
    let union = &base | &more;
    assert!(union.ptr_eq(&more) && (&more | &base).ptr_eq(&more));
    assert!((&base & &more).ptr_eq(&base) && (&more & &base).ptr_eq(&base));
    assert_eq!(
        (&more - &base).iter().copied().collect::<Vec<_>>(),
        [1, 50_001, 100_001]
    );
    assert!((&base - &more).is_empty() && (&base ^ &base).is_empty());
    let few = SortedSet::from([4, 7]);
    assert!((&base - &few).own_bytes() < 3_000 && (&base | &few).own_bytes() < 5_000);
    let apart: SortedSet<u64> = (MANY * 2..MANY * 3).collect();
    assert!((&base | &apart).own_bytes() < 5_000 && (&base - &apart).ptr_eq(&base));
    let mut fewer = base.clone();
    fewer.retain(|key| *key != 20);
    let changes: Vec<_> = base.diff(&fewer).collect();
    assert_eq!(changes, [Change::Removed { key: &20, value: &() }]);
    assert_eq!(base.merge(&fewer, &more).len(), base.len() + 2);
}

#[test]
#[cfg(debug_assertions)]
fn copies_are_counted() {
    let base = numbers(1_000);
    let mut fork = base.clone();
    let before = tine_values::detaches();
    fork.insert(1, 1);
    // Others count too, in tests that run at once; a tree of three levels copies three nodes.
    assert!(tine_values::detaches() - before >= 3);
}

#[test]
fn ranges_that_make_no_sense_panic_as_in_std() {
    use std::ops::Bound::{Excluded, Included};
    use std::panic::catch_unwind;
    let map = numbers(10);
    let model: BTreeMap<u64, u64> = map.clone().into_iter().collect();
    for bounds in [
        (Included(5), Excluded(4)),
        (Excluded(5), Excluded(5)),
        (Excluded(5), Included(5)),
        (Included(5), Excluded(5)),
        (Excluded(20), Included(30)),
    ] {
        let ours = catch_unwind(|| map.range(bounds).count()).ok();
        assert_eq!(
            ours,
            catch_unwind(|| model.range(bounds).count()).ok(),
            "{bounds:?}"
        );
    }
    assert!(catch_unwind(|| map[&10]).is_err());
    assert_eq!(map[&9], 9);
}

#[test]
fn keys_are_looked_up_by_what_they_borrow_as_and_by_what_compares() {
    use std::ops::Bound::{Excluded, Unbounded};
    struct Prefix<'a>(&'a str);
    impl equivalent::Equivalent<String> for Prefix<'_> {
        fn equivalent(&self, key: &String) -> bool {
            key.starts_with(self.0)
        }
    }
    impl equivalent::Comparable<String> for Prefix<'_> {
        fn compare(&self, key: &String) -> Ordering {
            if key.starts_with(self.0) {
                Ordering::Equal
            } else {
                self.0.cmp(key)
            }
        }
    }
    let mut map = SortedMap::from([("pear".to_owned(), 1), ("plum".to_owned(), 2)]);
    assert_eq!(map.get("plum"), Some(&2));
    assert_eq!(map.get(&Prefix("pe")), Some(&1));
    *map.get_mut("pear").unwrap() += 1;
    assert_eq!(map.range::<str, _>((Excluded("pear"), Unbounded)).count(), 1);
    assert_eq!(map.remove("pear"), Some(2));
}

/// What std's maps and sets take without a word on the type of a range's bounds, ours do as well.
macro_rules! ranges_without_types {
    ($map:ident, $set:ident) => {{
        let mut map: $map<i32, i32> = (0..10).map(|key| (key, key)).collect();
        let text: $map<&str, i32> = [("a", 1), ("b", 2)].into();
        let set: $set<i32> = (0..10).collect();
        [
            map.range(..).count(),
            map.range(2..5).count(),
            map.range(&2..&5).count(),
            map.range((Excluded(&2), Included(&5))).count(),
            map.range_mut(..).count(),
            map.range_mut(&7..).count(),
            text.range("a".."b").count(),
            set.range(..).count(),
            set.range(..=&4).count(),
        ]
    }};
}

#[test]
fn ranges_need_no_types_where_those_of_std_need_none() {
    let expected = [10, 3, 3, 3, 10, 3, 1, 10, 5];
    assert_eq!(ranges_without_types!(BTreeMap, BTreeSet), expected);
    assert_eq!(ranges_without_types!(SortedMap, SortedSet), expected);
}

#[test]
#[cfg(feature = "serde")]
fn maps_and_sets_are_read_back() {
    let map = numbers(200);
    let text = serde_json::to_string(&map).unwrap();
    assert_eq!(serde_json::from_str::<SortedMap<u64, u64>>(&text).unwrap(), map);
    let set: SortedSet<u64> = serde_json::from_str("[3, 1, 2, 1]").unwrap();
    assert_eq!(serde_json::to_string(&set).unwrap(), "[1,2,3]");
}

#[test]
#[cfg(feature = "rayon")]
fn threads_share_the_leaves_out() {
    use rayon::prelude::*;
    let map = numbers(MANY);
    let sum: u64 = map.par_iter().map(|(key, value)| key + value).sum();
    assert_eq!(sum, MANY * (MANY - 1));
    let doubled: SortedMap<u64, u64> = map.par_iter().map(|(key, value)| (*key, value * 2)).collect();
    assert_eq!(doubled.get(&70), Some(&140));
    let mut set: SortedSet<u64> = (0..100_u64).into_par_iter().collect();
    set.par_extend(50..150_u64);
    assert_eq!(set.par_iter().count(), 150);
}

#[test]
#[cfg(feature = "proptest")]
fn strategies_make_maps_and_sets() {
    use proptest::prelude::*;
    use proptest::strategy::ValueTree;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let sizes = (0..50).map(|_| {
        let (map, set) = any::<(SortedMap<u8, u8>, SortedSet<u8>)>()
            .new_tree(&mut runner)
            .unwrap()
            .current();
        assert!(map.keys().is_sorted() && set.iter().is_sorted());
        map.len() + set.len()
    });
    assert!(sizes.sum::<usize>() > 100);
}

#[test]
fn iterators_of_nothing_are_there_by_default() {
    use tine_values::{sorted_map, sorted_set};
    assert!(sorted_map::Keys::<u8, u8>::default().next().is_none());
    assert!(sorted_map::Values::<u8, u8>::default().next_back().is_none());
    assert!(sorted_map::ValuesMut::<u8, u8>::default().next().is_none());
    assert!(sorted_map::IntoIter::<u8, u8>::default().next().is_none());
    assert!(sorted_map::IntoKeys::<u8, u8>::default().next().is_none());
    assert!(sorted_map::IntoValues::<u8, u8>::default().next_back().is_none());
    assert!(
        sorted_set::Iter::<u8>::default().next().is_none()
            && sorted_set::Range::<u8>::default().next().is_none()
    );
    assert!(sorted_set::IntoIter::<u8>::default().next().is_none());
}

/// What reads a map or a set of what is static does so as one of what lives shorter.
fn _covariant<'a>(
    map: SortedMap<&'static str, &'static str>,
    set: SortedSet<&'static str>,
) -> (SortedMap<&'a str, &'a str>, SortedSet<&'a str>) {
    (map, set)
}

fn _covariant_entries<'a, 'b>(
    entries: Iter<'b, &'static str, &'static str>,
    range: Range<'b, &'static str, &'static str>,
) -> (Iter<'b, &'a str, &'a str>, Range<'b, &'a str, &'a str>) {
    (entries, range)
}

fn _covariant_parts<'a, 'b>(
    keys: Keys<'b, &'static str, &'static str>,
    values: Values<'b, &'static str, &'static str>,
) -> (Keys<'b, &'a str, &'a str>, Values<'b, &'a str, &'a str>) {
    (keys, values)
}

fn _covariant_elements<'a, 'b>(
    elements: sorted_set::Iter<'b, &'static str>,
    range: sorted_set::Range<'b, &'static str>,
    union: sorted_set::Union<'b, &'static str>,
) -> (
    sorted_set::Iter<'b, &'a str>,
    sorted_set::Range<'b, &'a str>,
    sorted_set::Union<'b, &'a str>,
) {
    (elements, range, union)
}
