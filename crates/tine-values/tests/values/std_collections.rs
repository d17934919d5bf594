//! Goal: maps and sets become std's and back.
//! Method: each way, of few entries and of many.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use tine_values::{Map, Set, SortedMap, SortedSet};

#[test]
fn maps_and_sets_become_those_of_std_and_back() {
    for count in [0, 1, 5_000_u64] {
        let entries = || (0..count).map(|key| (key, key.to_string()));
        let hashed: HashMap<_, _> = entries().collect();
        let map = Map::from(hashed.clone());
        assert_eq!(map, entries().collect());
        assert_eq!(HashMap::from(map.clone()), hashed);

        let elements: HashSet<_> = (0..count).collect();
        let set = Set::from(elements.clone());
        assert_eq!(set, (0..count).collect());
        assert_eq!(HashSet::from(set), elements);

        let sorted: BTreeMap<_, _> = entries().collect();
        let map = SortedMap::from(sorted.clone());
        assert_eq!(map, entries().collect());
        assert_eq!(BTreeMap::from(map.clone()), sorted);

        let elements: BTreeSet<_> = (0..count).collect();
        let set = SortedSet::from(elements.clone());
        assert_eq!(set, (0..count).collect());
        assert_eq!(BTreeSet::from(set), elements);
    }
}
