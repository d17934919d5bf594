//! Goal: a merge of page tables is right at each key, and what compares, hashes and serialises a map sees its keys, not how
//! they are told.
//! Method: random fills, clears and inserts on two versions of one base; each key is checked against the rule, one by one.

use std::collections::BTreeMap;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};

use proptest::prelude::*;
use tine_values::RadixMap;

/// Keys are below, and the last key of all is one as well.
const KEYS: u64 = 200;

#[derive(Clone, Debug)]
enum Write {
    Insert(u64, u8),
    Remove(u64),
    Fill(u64, u64, u8),
    Clear(u64, u64),
}

fn writes() -> impl Strategy<Value = Vec<Write>> {
    let key = || prop_oneof![9 => 0..KEYS, 1 => Just(u64::MAX)];
    let write = prop_oneof![
        (key(), 0..3_u8).prop_map(|(key, value)| Write::Insert(key, value)),
        key().prop_map(Write::Remove),
        (0..KEYS, 0..100_u64, 0..3_u8).prop_map(|(start, length, value)| Write::Fill(
            start,
            start + length,
            value
        )),
        (0..KEYS, 0..100_u64).prop_map(|(start, length)| Write::Clear(start, start + length)),
    ];
    prop::collection::vec(write, 0..12)
}

fn written(mut map: RadixMap<u8>, writes: &[Write]) -> RadixMap<u8> {
    for write in writes {
        match *write {
            Write::Insert(key, value) => drop(map.insert(key, value)),
            Write::Remove(key) => drop(map.remove(key)),
            Write::Fill(start, end, value) => map.fill(start..end, value, |_, _| ()),
            Write::Clear(start, end) => map.clear_range(start..end, |_, _| ()),
        }
    }
    map
}

fn keys() -> impl Iterator<Item = u64> {
    (0..KEYS + 100).chain([u64::MAX])
}

fn as_std(map: &RadixMap<u8>) -> BTreeMap<u64, u8> {
    keys().filter_map(|key| Some((key, *map.get(key)?))).collect()
}

fn hash_of(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

proptest! {
    #[test]
    fn each_key_is_merged_by_itself(base in writes(), ours in writes(), theirs in writes()) {
        let base = written(RadixMap::new(), &base);
        let (ours, theirs) = (written(base.clone(), &ours), written(base.clone(), &theirs));
        let merged = base.merge(&ours, &theirs, |conflict| {
            assert!(conflict.ours != conflict.base && conflict.theirs != conflict.base);
            assert!(conflict.ours != conflict.theirs);
            // What nobody else can give, or nothing.
            Some(10 + conflict.ours? * 3 + conflict.theirs?)
        });
        for key in keys() {
            let [base, ours, theirs] = [&base, &ours, &theirs].map(|map| map.get(key).copied());
            let expected = if ours == theirs || theirs == base {
                ours
            } else if ours == base {
                theirs
            } else {
                ours.and_then(|ours| Some(10 + ours * 3 + theirs?))
            };
            prop_assert_eq!(merged.get(key).copied(), expected, "key {}", key);
        }
    }

    #[test]
    fn maps_compare_and_hash_by_their_keys(ours in writes(), theirs in writes()) {
        let (ours, theirs) = (written(RadixMap::new(), &ours), written(RadixMap::new(), &theirs));
        let (our_std, their_std) = (as_std(&ours), as_std(&theirs));
        prop_assert_eq!(ours.cmp(&theirs), our_std.cmp(&their_std));
        prop_assert_eq!(ours.partial_cmp(&theirs), our_std.partial_cmp(&their_std));
        // The same keys, none of them by a fill.
        let one_by_one: RadixMap<u8> = our_std.iter().map(|(&key, &value)| (key, value)).collect();
        prop_assert_eq!(&one_by_one, &ours);
        prop_assert_eq!(hash_of(&one_by_one), hash_of(&ours));
        prop_assert!(our_std.iter().all(|(&key, value)| ours[key] == *value));
    }

    #[test]
    fn a_map_is_read_as_it_was_written(map in writes(), made in any::<RadixMap<u8>>()) {
        for map in [written(RadixMap::new(), &map), made] {
            let text = serde_json::to_string(&map).unwrap();
            prop_assert_eq!(serde_json::from_str::<RadixMap<u8>>(&text).unwrap(), map);
        }
    }
}

#[test]
fn a_merge_shares_what_only_one_side_changed() {
    let mut base = RadixMap::from_iter((0..100_000).map(|key| (key, key)));
    base.fill(1 << 30..1 << 40, 7, |_, _| ());
    let (mut ours, mut theirs) = (base.clone(), base.clone());
    ours.insert(5, 1);
    theirs.insert(90_000, 2);
    let merged = base.merge(&ours, &theirs, |_| unreachable!("the changes are apart"));
    assert_eq!((merged[5], merged[90_000], merged[6]), (1, 2, 6));
    assert!(merged.own_bytes() < 10_000, "{}", merged.own_bytes());
    assert!(base.merge(&base, &theirs, |_| unreachable!()).ptr_eq(&theirs));
}

#[test]
fn a_range_without_keys_is_refused() {
    let outcome = serde_json::from_str::<RadixMap<u8>>(r#"[[{"start": 5, "end": 5}, 1]]"#);
    assert!(outcome.unwrap_err().to_string().contains("without keys"));
}

#[test]
fn values_without_a_size_are_told_apart_by_their_keys() {
    let keys = |keys: &[u64]| keys.iter().map(|&key| (key, ())).collect::<RadixMap<()>>();
    let (ours, theirs) = (keys(&[0]), keys(&[u64::MAX - 1, u64::MAX]));
    let merged = RadixMap::new().merge(&ours, &theirs, |_| panic!("nothing is in conflict"));
    assert!(merged == keys(&[0, u64::MAX - 1, u64::MAX]));
    for key in [0, u64::MAX - 1, u64::MAX] {
        assert!(merged.get(key).is_some(), "{key}");
    }
}
