//! Goal: what the users of other sharing containers ran into does not happen here, with any of the types.
//! Method: each lesson is a test, of bytes, allocations, stack and copies, which do not depend on the machine.

use std::thread;

use crate::allocations::allocations;
use tine_values::{Bytes, List, Map, RadixMap, Set, Shared, SortedMap, SortedSet, Text};

/// A value of which a node by value on the stack would be 16 KB and more.
type Wide = [u64; 32];

/// Another's node of 64 slots was a local variable, and overflowed 2 MB in a debug build, at a few levels.
#[test]
fn nothing_needs_more_than_a_small_stack() {
    let work = || {
        let wide = |number: u64| [number; 32];
        let mut list: List<Wide> = (0..20_000).map(wide).collect();
        let other = list.clone();
        list[7_000] = wide(1);
        list.insert(9_000, wide(2));
        let joined = list.concat(&other);
        assert_eq!((joined.len(), joined.slice(5..30_000).len()), (40_001, 29_995));
        assert_eq!(other.diff(&list).count(), 2);

        let mut map: Map<u64, Wide> = (0..20_000).map(|key| (key, wide(key))).collect();
        let old = map.clone();
        map.insert(3, wide(0));
        map.remove(&9_999);
        assert_eq!(old.diff(&map).count(), 2);

        let mut sorted: SortedMap<u64, Wide> = (0..20_000).map(|key| (key, wide(key))).collect();
        let old = sorted.clone();
        sorted.insert(3, wide(0));
        let behind = sorted.split_off(&10_000);
        assert_eq!((sorted.len(), behind.len(), old.len()), (10_000, 10_000, 20_000));

        let mut pages: RadixMap<Wide> = (0..20_000).map(|key| (key << 20, wide(key))).collect();
        let old = pages.clone();
        pages.insert(3, wide(0));
        assert_eq!(old.diff(&pages).count(), 1);
    };
    let small = thread::Builder::new().stack_size(64 << 10).spawn(work);
    small.expect("a thread").join().expect("its stack suffices");
}

/// Leaves of so many slots are kilobytes for a `u8` and a megabyte for a page.
#[test]
fn a_write_copies_as_many_bytes_whatever_the_size_of_an_element() {
    fn version_of_list<const N: usize>() -> usize {
        let list: List<[u8; N]> = (0..50_000_u64).map(|number| [number as u8; N]).collect();
        let mut version = list.clone();
        version[25_000] = [1; N];
        version.own_bytes()
    }
    let lists = [
        version_of_list::<1>(),
        version_of_list::<16>(),
        version_of_list::<128>(),
        version_of_list::<512>(),
    ];
    assert!(
        lists.iter().all(|&bytes| (1_000..4_500).contains(&bytes)),
        "{lists:?}"
    );

    fn version_of_maps<const N: usize>() -> [usize; 2] {
        let entries = || (0..20_000_u64).map(|key| (key, [key as u8; N]));
        let mut map: Map<u64, [u8; N]> = entries().collect();
        let mut sorted: SortedMap<u64, [u8; N]> = entries().collect();
        let _others = (map.clone(), sorted.clone());
        map.insert(77, [1; N]);
        sorted.insert(77, [1; N]);
        [map.own_bytes(), sorted.own_bytes()]
    }
    let maps = [
        version_of_maps::<8>(),
        version_of_maps::<64>(),
        version_of_maps::<256>(),
    ];
    let bytes = maps.as_flattened();
    assert!(bytes.iter().all(|bytes| (300..9_000).contains(bytes)), "{maps:?}");
}

/// Empty maps of kilobytes made others turn to sorted vectors.
#[test]
fn small_collections_decide() {
    fn count<T>(work: impl FnOnce() -> T) -> usize {
        allocations(work).0
    }
    let empty = [
        count(List::<u64>::new),
        count(Map::<u64, u64>::new),
        count(Set::<u64>::new),
        count(SortedMap::<u64, u64>::new),
        count(SortedSet::<u64>::new),
        count(RadixMap::<u64>::new),
        count(Text::new),
        count(Bytes::new),
    ];
    assert_eq!(empty, [0; 8]);

    let numbers = || 0..8_u64;
    let eight = [
        count(|| numbers().collect::<List<_>>()),
        count(|| numbers().map(|key| (key, key)).collect::<Map<_, _>>()),
        count(|| numbers().collect::<Set<_>>()),
        count(|| Shared::<[u64]>::from([1, 2, 3, 4, 5, 6, 7, 8])),
        count(|| Text::from("eight bytes, and forty more that are not inline")),
    ];
    assert_eq!(eight, [1; 5]);
    // A sorted one sorts what it is made of elsewhere; in itself it is one block, and so is a page table's leaf.
    let sorted: SortedMap<_, _> = numbers().map(|key| (key, key)).collect();
    let pages: RadixMap<_> = numbers().map(|key| (key, key)).collect();
    assert!(sorted.own_bytes() <= 12 * 16 + 32, "{}", sorted.own_bytes());
    assert!(pages.own_bytes() <= 8 * 8 + 16, "{}", pages.own_bytes());
}

#[test]
fn for_loops_write_through_a_mutable_reference() {
    let mut list: List<u64> = (0..3_000).collect();
    let mut map: Map<u64, u64> = (0..3_000).map(|key| (key, key)).collect();
    let mut sorted: SortedMap<u64, u64> = (0..3_000).map(|key| (key, key)).collect();
    let others = (list.clone(), map.clone(), sorted.clone());
    for element in &mut list {
        *element += 1;
    }
    for (_, value) in &mut map {
        *value += 1;
    }
    for (_, value) in &mut sorted {
        *value += 1;
    }
    assert!(
        (0..3_000)
            .all(|key| list[key as usize] == key + 1 && map[&key] == key + 1 && sorted[&key] == key + 1)
    );
    assert!(others.0.iter().copied().eq(0..3_000));
    assert!(others.1.iter().chain(&others.2).all(|(key, value)| key == value));
}

#[test]
fn keys_are_looked_up_by_what_is_equal_without_a_turbofish() {
    let map = Map::from([("pear".to_owned(), 1)]);
    let set = Set::from(["pear".to_owned()]);
    let sorted = SortedMap::from([("pear".to_owned(), 1), ("plum".to_owned(), 2)]);
    let texts = Map::from([(Text::from("pear"), 1)]);
    assert_eq!(
        (map.get("pear"), sorted.get("pear"), texts.get("pear")),
        (Some(&1), Some(&1), Some(&1))
    );
    assert!(set.contains("pear") && !map.contains_key("plum"));
    assert_eq!(sorted.range("pj".to_owned()..).count(), 1);
}

#[test]
fn what_never_copies_says_no_instead() {
    let (mut value, mut text, mut bytes) = (
        Shared::new(1),
        Text::from("x".repeat(50)),
        Bytes::from(vec![1; 50]),
    );
    assert!(value.get_mut().is_some() && text.get_mut().is_some() && bytes.get_mut().is_some());
    let others = (value.clone(), text.clone(), bytes.clone());
    assert!(value.get_mut().is_none() && text.get_mut().is_none() && bytes.get_mut().is_none());
    assert!(!value.is_unique() && !text.is_unique() && !bytes.is_unique());
    assert!(value.ptr_eq(&others.0) && text.ptr_eq(&others.1) && bytes.ptr_eq(&others.2));
}

/// Each type's writes to what is shared are counted, its reads and a sole owner's writes are not.
#[test]
#[cfg(debug_assertions)]
fn detaching_is_counted() {
    /// Returns how many copies the first and the second write of a version make, and reading before.
    fn counted<T: Clone>(original: T, read: impl Fn(&T) -> bool, write: impl Fn(&mut T)) -> [usize; 3] {
        let mut version = original.clone();
        let since = |before: usize| tine_values::detaches() - before;
        let start = tine_values::detaches();
        assert!(read(&version));
        let reads = since(start);
        write(&mut version);
        let first = since(start) - reads;
        let start = tine_values::detaches();
        write(&mut version);
        [reads, first.min(1), since(start)]
    }
    let pairs = || (0..5_000_u64).map(|key| (key, key));
    let filled = |range| {
        let mut map = RadixMap::new();
        map.fill(range, 7_u64, |_, _| ());
        map
    };
    let all = [
        counted(
            Shared::new(1),
            |value| **value == 1,
            |value| *value.make_mut() = 2,
        ),
        counted(
            Text::from("x".repeat(99)),
            |text| text.contains('x'),
            |text| text.push('!'),
        ),
        counted(
            Bytes::from(vec![1; 99]),
            |bytes| bytes.contains(&1),
            |bytes| bytes.push(2),
        ),
        counted(
            (0..5_000_u64).collect::<List<_>>(),
            |list| list.contains(&9),
            |list| list[9] = 0,
        ),
        counted(
            pairs().collect::<Map<_, _>>(),
            |map| map[&9] == 9,
            |map| assert!(map.insert(9, 0).is_some()),
        ),
        counted(
            (0..5_000_u64).collect::<Set<_>>(),
            |set| set.contains(&9),
            |set| assert!(set.remove(&9) && set.insert(9)),
        ),
        counted(
            pairs().collect::<SortedMap<_, _>>(),
            |map| map[&9] == 9,
            |map| assert!(map.insert(9, 0).is_some()),
        ),
        counted(
            (0..5_000_u64).collect::<SortedSet<_>>(),
            |set| set.contains(&9),
            |set| assert!(set.remove(&9) && set.insert(9)),
        ),
        counted(
            pairs().collect::<RadixMap<_>>(),
            |map| map[9] == 9,
            |map| assert!(map.insert(9, 0).is_some()),
        ),
        counted(
            filled(0..5_000),
            |map| map[9] == 7,
            |map| assert!(map.insert(9, 0).is_some()),
        ),
    ];
    assert_eq!(all, [[0, 1, 0]; 10]);
}
