//! Goal: a `Map` and a `Set` do with serde, rayon and proptest what std's do.

#![cfg(all(feature = "serde", feature = "rayon", feature = "proptest"))]

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::prelude::*;
use rayon::prelude::*;
use tine_values::{Map, Set};

/// In no block, in one, in a tree, and in one that has lost most of its entries.
fn maps() -> [Map<u64, u64>; 4] {
    let long: Map<u64, u64> = (0..5_000).map(|key| (key, key * 2)).collect();
    let mut sparse = long.clone();
    sparse.retain(|key, _| key % 50 == 0);
    [Map::new(), (0..9).map(|key| (key, key)).collect(), long, sparse]
}

#[test]
fn to_a_format_they_are_a_map_and_a_sequence() {
    for map in maps() {
        let json = serde_json::to_string(&map).unwrap();
        let model: BTreeMap<u64, u64> = serde_json::from_str(&json).unwrap();
        assert!(model.len() == map.len() && model.iter().all(|(key, value)| map[key] == *value));
        assert_eq!(serde_json::from_str::<Map<u64, u64>>(&json).unwrap(), map);

        let set: Set<u64> = map.keys().copied().collect();
        let json = serde_json::to_string(&set).unwrap();
        let model: BTreeSet<u64> = serde_json::from_str(&json).unwrap();
        assert!(model.len() == set.len() && model.iter().all(|number| set.contains(number)));
        assert_eq!(serde_json::from_str::<Set<u64>>(&json).unwrap(), set);
    }
    let twice: Map<u64, u64> = serde_json::from_str(r#"{"1": 1, "1": 2}"#).unwrap();
    assert_eq!(twice, Map::from([(1, 2)]));
    assert!(serde_json::from_str::<Map<u64, u64>>("[1]").is_err());
    assert!(serde_json::from_str::<Set<u64>>("[1, true]").is_err());
}

#[test]
fn in_parallel_they_have_the_same_entries_in_the_same_order() {
    for map in maps() {
        let entries: Vec<_> = map.iter().collect();
        assert_eq!(map.par_iter().collect::<Vec<_>>(), entries);
        let set: Set<u64> = map.par_iter().map(|(&key, _)| key).collect();
        assert_eq!(set.len(), map.len());
        let elements: Vec<_> = set.iter().collect();
        assert_eq!(set.par_iter().collect::<Vec<_>>(), elements);
        let mut again: Map<u64, u64> = map.par_iter().map(|(&key, &value)| (key, value)).collect();
        assert_eq!(again, map);
        again.par_extend((0..100_u64).into_par_iter().map(|key| (key, 7)));
        assert!((0..100).all(|key| again[&key] == 7));
        let mut more = set.clone();
        more.par_extend((0..100_u64).into_par_iter());
        assert!(set.is_subset(&more) && (0..100).all(|number| more.contains(&number)));
    }
}

#[test]
fn the_leaves_are_shared_out() {
    let map: Map<u64, u64> = (0..20_000).map(|key| (key, key)).collect();
    let pool = rayon::ThreadPoolBuilder::new().num_threads(4).build().unwrap();
    let (parts, most) = pool.install(|| {
        let most = AtomicUsize::new(0);
        let parts = map
            .par_iter()
            .fold(|| 0_usize, |count, _| count + 1)
            .map(|count| {
                most.fetch_max(count, Ordering::Relaxed);
                1_usize
            });
        (parts.sum::<usize>(), most.into_inner())
    });
    assert!(parts >= 4 && most < 15_000, "{parts} parts, the largest {most}");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 16, ..ProptestConfig::default() })]

    #[test]
    fn strategies_make_maps_and_sets(
        map in any_with::<Map<u8, bool>>(((2..200).into(), (), ())),
        set in any_with::<Set<u32>>(((3..=3).into(), ())),
        some in any::<Map<String, u8>>(),
    ) {
        prop_assert!((1..200).contains(&map.len()) && (1..=3).contains(&set.len()));
        let model: HashMap<_, _> = some.clone().into_iter().collect();
        prop_assert!(model.len() == some.len() && model.iter().all(|(key, value)| some[key] == *value));
    }
}
