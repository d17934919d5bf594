//! Goal: what is equal to a key, and hashes as it does, finds it; keys that lie are no harm; entries show themselves.
//! Method: each with a map of its own.

use std::cell::Cell;
use std::fmt::Debug;
use std::hash::{Hash, Hasher};

use tine_values::Map;

/// Equal to nothing, not even itself; its hash is never the same.
#[derive(Clone)]
struct Liar;

impl PartialEq for Liar {
    fn eq(&self, _: &Self) -> bool {
        false
    }
}

impl Eq for Liar {}

impl Hash for Liar {
    fn hash<H: Hasher>(&self, state: &mut H) {
        thread_local!(static NEXT: Cell<u64> = const { Cell::new(0) });
        NEXT.set(NEXT.get() + 1);
        state.write_u64(NEXT.get());
    }
}

#[test]
fn lies_lead_to_keys_that_are_not_found_and_to_nothing_worse() {
    let mut map = Map::new();
    for number in 0..3000 {
        map.insert(Liar, Box::new(number));
        assert!(map.remove(&Liar).is_none());
    }
    assert_eq!(map.len(), 3000);
    let clone = map.clone();
    let mut numbers: Vec<_> = map.values().map(|number| **number).collect();
    numbers.sort_unstable();
    assert!(numbers.into_iter().eq(0..3000));
    map.retain(|_, number| **number % 3 == 0);
    assert_eq!((map.len(), map.iter().count()), (1000, 1000));
    map.extend((0..500).map(|number| (Liar, Box::new(number))));
    assert_eq!(map.into_iter().count(), 1500);
    assert_eq!(
        clone.into_values().map(|number| *number).sum::<i32>(),
        (0..3000).sum::<i32>()
    );
}

#[test]
#[should_panic(expected = "duplicate keys found")]
fn the_same_key_twice_cannot_be_written() {
    let mut map = Map::from([("a", 1)]);
    map.get_disjoint_mut(["a", "a"]);
}

#[test]
#[should_panic(expected = "no entry found for key")]
fn an_absent_key_has_no_value() {
    let _ = Map::from([("a", 1)])["b"];
}

#[test]
fn look_ups_take_what_is_equivalent() {
    let mut map = Map::from([(String::from("one"), 1), (String::from("two"), 2)]);
    assert_eq!(map.get("one"), Some(&1));
    assert_eq!(map.get(&String::from("two")), Some(&2));
    assert_eq!(map.get_key_value("two"), Some((&String::from("two"), &2)));
    assert!(map.contains_key("one") && !map.contains_key("three"));
    assert_eq!(map.remove("one"), Some(1));
    assert_eq!(map["two"], 2);
    assert_eq!(format!("{map:?}"), r#"{"two": 2}"#);
}

/// What it hashes and compares to decides, not its type.
#[test]
fn entries_show_themselves() {
    fn shown(value: impl Debug) -> String {
        format!("{value:?}")
    }
    let mut map = Map::from([(1, 'a')]);
    assert_eq!(shown(map.iter()), "[(1, 'a')]");
    assert_eq!(
        (shown(map.keys()), shown(map.values())),
        ("[1]".into(), "['a']".into())
    );
    assert_eq!(
        shown(map.entry(1)),
        "Entry(OccupiedEntry { key: 1, value: 'a', .. })"
    );
    assert_eq!(shown(map.entry(2)), "Entry(VacantEntry(2))");
}
