//! Goal: a panic in the caller's code loses no entry, drops none twice, and leaves maps that can be used.
//! Method: every operation is run with keys and values of which the first call panics (of `Clone`, `Drop`, `Eq`, `Hash` or
//! a closure), then the second, and so on until none panics any more. Living keys and values are counted.

use std::rc::Rc;

use tine_values::Map;
use tine_values::map::DefaultHashBuilder;

use crate::ledger::Ledger;

type Item = crate::ledger::Item<0>;
type ItemMap = Map<Item, Item, DefaultHashBuilder>;

fn map_of(numbers: std::ops::Range<u32>, ledger: &Rc<Ledger>) -> ItemMap {
    let item = |number| (Item::new(number, ledger), Item::new(number + 1000, ledger));
    numbers.map(item).collect()
}

fn content(map: &ItemMap) -> Vec<(u32, u32)> {
    let mut content: Vec<_> = map
        .iter()
        .map(|(key, value)| (key.number, value.number))
        .collect();
    content.sort_unstable();
    content
}

/// Every entry is found, and is counted.
fn check(map: &ItemMap) {
    for (key, value) in map {
        assert!(std::ptr::eq(map.get(key).unwrap(), value));
    }
    assert_eq!(map.len(), map.iter().count());
}

/// Runs `operation` on a map of its own and on one that a clone shares, once for each call that can panic. `kept` tells
/// which keys it may not touch.
fn every_panic(sizes: &[u32], operation: impl Fn(&mut ItemMap, &Rc<Ledger>), kept: impl Fn(u32) -> bool) {
    for (&size, is_shared) in sizes.iter().flat_map(|size| [(size, false), (size, true)]) {
        let mut panics = 0;
        for calls in 0.. {
            let ledger = Rc::new(Ledger::default());
            let mut map = map_of(0..size, &ledger);
            let clone = is_shared.then(|| map.clone());
            let before = content(&map);

            let was_reached = ledger.panics_at(calls, || operation(&mut map, &ledger));

            check(&map);
            let after = content(&map);
            let of = |all: &[(u32, u32)]| -> Vec<_> {
                all.iter().copied().filter(|(key, _)| kept(*key)).collect()
            };
            assert_eq!(of(&after), of(&before), "call {calls} of {size} entries");
            if let Some(clone) = clone {
                assert_eq!(content(&clone), before);
                check(&clone);
            }
            // The map can be written.
            let item = |number| Item::new(number, &ledger);
            map.insert(item(5000), item(1));
            map.remove(&item(0));
            check(&map);
            drop(map);
            assert_eq!(ledger.living(), 0, "call {calls} of {size} entries");
            if !was_reached {
                break;
            }
            panics += 1;
        }
        assert!(panics > 0 || size == 0, "nothing panicked at {size} entries");
    }
}

/// A leaf with room, a full one, two levels of leaves; where a leaf is about to split.
const SIZES: &[u32] = &[1, 3, 15, 40, 52, 130];

#[test]
fn inserting() {
    let insert = |map: &mut ItemMap, ledger: &Rc<Ledger>| {
        map.insert(Item::new(2000, ledger), Item::new(1, ledger));
    };
    every_panic(SIZES, insert, |key| key != 2000);
}

#[test]
fn inserting_many() {
    let extend = |map: &mut ItemMap, ledger: &Rc<Ledger>| {
        map.extend((2000..2070).map(|key| (Item::new(key, ledger), Item::new(1, ledger))));
    };
    every_panic(&[1, 40], extend, |key| key < 2000);
}

#[test]
fn overwriting() {
    let insert = |map: &mut ItemMap, ledger: &Rc<Ledger>| {
        map.insert(Item::new(0, ledger), Item::new(1, ledger));
    };
    every_panic(SIZES, insert, |key| key != 0);
}

#[test]
fn removing() {
    let remove = |map: &mut ItemMap, ledger: &Rc<Ledger>| {
        map.remove(&Item::new(0, ledger));
    };
    every_panic(SIZES, remove, |key| key != 0);
}

#[test]
fn removing_until_leaves_join() {
    let remove = |map: &mut ItemMap, ledger: &Rc<Ledger>| {
        (3..200).for_each(|key| drop(map.remove(&Item::new(key, ledger))));
    };
    every_panic(&[130], remove, |key| key < 3);
}

#[test]
fn entries() {
    let entry = |map: &mut ItemMap, ledger: &Rc<Ledger>| {
        let item = |number| Item::new(number, ledger);
        map.entry(item(0))
            .and_modify(|value| *value = item(3))
            .or_insert_with(|| item(4));
        map.entry(item(2000)).or_insert_with_key(|key| {
            key.ledger.tick();
            item(4)
        });
        drop(map.entry(item(2001)).insert_entry(item(3)).remove_entry());
    };
    every_panic(&[1, 40, 130], entry, |key| key > 0 && key < 2000);
}

#[test]
fn an_entry_whose_copy_panics_is_still_an_entry() {
    for calls in 0..200 {
        let ledger = Rc::new(Ledger::default());
        let mut map = map_of(0..50, &ledger);
        let clone = map.clone();
        let tine_values::map::Entry::Occupied(mut entry) = map.entry(Item::new(7, &ledger)) else {
            unreachable!("it was inserted")
        };
        let panicked = ledger.panics_at(calls, || entry.get_mut().number = 1);
        drop(clone);
        let expected = if panicked { 1007 } else { 1 };
        assert_eq!((entry.key().number, entry.get().number), (7, expected));
        entry.get_mut().number = 2;
        assert_eq!(map[&Item::new(7, &ledger)].number, 2);
        drop(map);
        assert_eq!(ledger.living(), 0);
    }
}

#[test]
fn writing_values() {
    let write = |map: &mut ItemMap, ledger: &Rc<Ledger>| {
        let keys = [0, 1, 2].map(|key| Item::new(key, ledger));
        let values = map.get_disjoint_mut([&keys[0], &keys[1], &keys[2]]);
        values.into_iter().flatten().for_each(|value| value.number = 1);
        for (key, value) in &mut *map {
            if key.number == 0 {
                value.number = 1;
            }
        }
    };
    every_panic(&[1, 40, 130], write, |key| key > 2);
}

#[test]
fn keeping_some() {
    let retain = |map: &mut ItemMap, ledger: &Rc<Ledger>| {
        map.retain(|key, _| {
            ledger.tick();
            key.number % 4 == 0
        });
    };
    every_panic(&[1, 40, 130], retain, |key| key % 4 == 0);
}

#[test]
fn taking_some_out() {
    let extract = |map: &mut ItemMap, _: &Rc<Ledger>| {
        let taken: Vec<_> = map.extract_if(|key, _| key.number % 2 == 1).take(9).collect();
        assert!(taken.iter().all(|(key, _)| key.number % 2 == 1));
    };
    every_panic(&[2, 40, 130], extract, |key| key % 2 == 0);
}

#[test]
fn taking_all_out() {
    let drain = |map: &mut ItemMap, _: &Rc<Ledger>| {
        // It ends in the middle of a leaf.
        assert!(map.drain().take(4).count() > 0);
    };
    every_panic(&[1, 40, 130], drain, |_| false);
    let clear = |map: &mut ItemMap, ledger: &Rc<Ledger>| {
        map.clear();
        ledger.tick();
    };
    every_panic(&[1, 40, 130], clear, |_| false);
}

#[test]
fn consuming() {
    let consume = |map: &mut ItemMap, _: &Rc<Ledger>| {
        let map = std::mem::take(map);
        assert!(
            map.into_iter()
                .all(|(key, value)| key.number + 1000 == value.number)
        );
    };
    every_panic(&[1, 40, 130], consume, |_| false);
}

/// Entries as large as these are built part by part when there are `LARGE` of them.
type LargeItem = crate::ledger::Item<{ 64 << 10 }>;
const LARGE: u32 = 65;

#[test]
fn building_part_by_part() {
    const { assert!(size_of::<(LargeItem, Item)>() * LARGE as usize >= 4 << 20) };
    let mut panics = 0;
    for calls in 0.. {
        let ledger = Rc::new(Ledger::default());
        let mut built = None;
        let was_reached = ledger.panics_at(calls, || {
            // The last five are there already: their keys are compared and dropped, and so are the values they replace.
            let entries = (0..LARGE).map(|number| {
                ledger.tick();
                let key = LargeItem::new(number % (LARGE - 5), &ledger);
                (key, Item::new(number, &ledger))
            });
            let map: Map<_, _, DefaultHashBuilder> = entries.collect();
            built = Some(map);
        });
        assert_eq!(built.is_none(), was_reached);
        if let Some(map) = built {
            assert_eq!(map.len(), LARGE as usize - 5);
            for (key, value) in &map {
                let last = if key.number < 5 {
                    key.number + LARGE - 5
                } else {
                    key.number
                };
                assert_eq!(value.number, last);
                assert!(std::ptr::eq(map.get(key).unwrap(), value));
            }
        }
        assert_eq!(ledger.living(), 0, "call {calls}");
        if !was_reached {
            break;
        }
        panics += 1;
    }
    // What the iterator does and each key's hash, and what becomes of those that were there.
    assert!(panics > 2 * LARGE as usize + 10, "{panics}");
}

#[test]
fn comparing_and_merging() {
    let merge = |map: &mut ItemMap, ledger: &Rc<Ledger>| {
        let item = |number| Item::new(number, ledger);
        let (mut ours, mut theirs) = (map.clone(), map.clone());
        ours.insert(item(0), item(1));
        theirs.insert(item(0), item(2));
        theirs.insert(item(3000), item(3));
        let merged = map.merge(&ours, &theirs, |conflict| {
            ledger.tick();
            conflict.ours.cloned()
        });
        assert_eq!(merged.len(), map.len() + 1);
        assert!(map.union_with(&theirs, |_, old, _| old.clone()) != ours);
    };
    every_panic(&[3, 60], merge, |_| true);
}
