//! Goal: a panic in the caller's code loses no key and no value, drops none twice, and leaves a map that can be used.
//! Method: every operation is run with keys, values and closures of which one panics at the first call of a kind, at the
//! second, and so on until none panics any more. Living keys and values are counted.

use std::cell::Cell;
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;

use tine_values::{SortedMap, SortedSet};

/// What all keys and values of one test have in common.
#[derive(Default)]
struct Ledger {
    living: Cell<isize>,
    /// Calls of the kind that is about to panic, until it does.
    clones_left: Cell<Option<usize>>,
    drops_left: Cell<Option<usize>>,
    orders_left: Cell<Option<usize>>,
    equals_left: Cell<Option<usize>>,
    calls_left: Cell<Option<usize>>,
    /// Whether keys are put in an order that contradicts itself.
    is_lying: Cell<bool>,
}

/// Counts down, and panics where the count ends.
fn tick(left: &Cell<Option<usize>>) {
    match left.get() {
        Some(0) => {
            left.set(None);
            // As a panic, without the message.
            resume_unwind(Box::new("planned"));
        }
        Some(more) => left.set(Some(more - 1)),
        None => {}
    }
}

/// A key, and a value of 250 bytes, so that few make a tree of several levels.
struct Item {
    number: u32,
    ledger: Rc<Ledger>,
    room: [u8; 240],
}

fn item(number: u32, ledger: &Rc<Ledger>) -> Item {
    ledger.living.set(ledger.living.get() + 1);
    Item {
        number,
        ledger: ledger.clone(),
        room: [7; 240],
    }
}

impl Clone for Item {
    fn clone(&self) -> Self {
        tick(&self.ledger.clones_left);
        item(self.number, &self.ledger)
    }
}

impl Drop for Item {
    fn drop(&mut self) {
        assert_eq!(self.room, [7; 240]);
        self.ledger.living.set(self.ledger.living.get() - 1);
        tick(&self.ledger.drops_left);
    }
}

impl PartialEq for Item {
    fn eq(&self, other: &Self) -> bool {
        tick(&self.ledger.equals_left);
        self.number == other.number
    }
}

impl Eq for Item {}

impl PartialOrd for Item {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Item {
    fn cmp(&self, other: &Self) -> Ordering {
        tick(&self.ledger.orders_left);
        if self.ledger.is_lying.get() {
            // Depends on more than the numbers, and is not even the same the other way round.
            return (self.number.wrapping_mul(2_654_435_761) >> 7 ^ other.number).cmp(&other.number);
        }
        self.number.cmp(&other.number)
    }
}

type Map = SortedMap<Item, Item>;
/// What counts the calls of a kind.
type Kind = fn(&Ledger) -> &Cell<Option<usize>>;
type Operation = fn(&mut Map, &Rc<Ledger>);

/// Each is tried on a sole owner and on a fork. Keys are even; new values are from 1,000 on.
const OPERATIONS: [(&str, Operation); 18] = [
    ("insert over a value", |map, ledger| {
        drop(map.insert(item(4, ledger), item(1000, ledger)));
    }),
    ("insert into gaps", |map, ledger| {
        for key in [5, 7, 9, 11, 13, 15] {
            drop(map.insert(item(key, ledger), item(1000, ledger)));
        }
    }),
    ("insert behind all", |map, ledger| {
        for key in 500..510 {
            drop(map.insert(item(key, ledger), item(1000, ledger)));
        }
    }),
    ("get for writing", |map, ledger| {
        if let Some(value) = map.get_mut(&item(20, ledger)) {
            value.number = 1000;
        }
    }),
    ("remove", |map, ledger| drop(map.remove(&item(4, ledger)))),
    ("remove many", |map, ledger| {
        for key in (20..60).step_by(2) {
            drop(map.remove(&item(key, ledger)));
        }
    }),
    ("pop from both ends", |map, _| {
        for _ in 0..10 {
            drop((map.pop_first(), map.pop_last()));
        }
    }),
    ("entry", |map, ledger| {
        map.entry(item(33, ledger)).or_insert_with(|| {
            tick(&ledger.calls_left);
            item(1000, ledger)
        });
        let modify = |value: &mut Item| value.number = 1000;
        map.entry(item(34, ledger))
            .and_modify(modify)
            .insert_entry(item(1001, ledger));
    }),
    ("retain", |map, ledger| {
        map.retain(|key, _| {
            tick(&ledger.calls_left);
            key.number % 6 > 0
        });
    }),
    ("extract a part", |map, ledger| {
        let range = item(20, ledger)..=item(90, ledger);
        let mut taken = map.extract_if(range, |key, _| {
            tick(&ledger.calls_left);
            key.number % 8 > 0
        });
        drop(taken.by_ref().take(20).collect::<Vec<_>>());
    }),
    ("split and append", |map, ledger| {
        let mut right = map.split_off(&item(51, ledger));
        map.append(&mut right);
    }),
    ("append what interleaves", |map, ledger| {
        let other = (1..40)
            .step_by(2)
            .map(|key| (item(key, ledger), item(1000, ledger)));
        map.append(&mut other.collect());
    }),
    ("iterate for writing", |map, _| {
        map.iter_mut()
            .step_by(5)
            .for_each(|(_, value)| value.number = 1000);
    }),
    ("iterate a range for writing", |map, ledger| {
        let range = item(20, ledger)..item(60, ledger);
        map.range_mut(range)
            .rev()
            .for_each(|(_, value)| value.number = 1000);
    }),
    ("iterate by value", |map, _| {
        let mut entries = std::mem::take(map).into_iter();
        drop((entries.next(), entries.next_back()));
        *map = entries.collect();
    }),
    ("build out of order", |map, ledger| {
        let entries = (0..60).map(|at| {
            tick(&ledger.calls_left);
            (item(at * 37 % 50, ledger), item(1000 + at, ledger))
        });
        *map = entries.collect();
    }),
    ("merge", |map, ledger| {
        let (mut ours, mut theirs) = (map.clone(), map.clone());
        ours.insert(item(8, ledger), item(1001, ledger));
        theirs.insert(item(8, ledger), item(1002, ledger));
        theirs.remove(&item(30, ledger));
        *map = map.merge(&ours, &theirs, |conflict| {
            tick(&ledger.calls_left);
            conflict.theirs.cloned()
        });
    }),
    ("clear", |map, _| map.clear()),
];

fn sample(ledger: &Rc<Ledger>) -> Map {
    (0..80)
        .map(|key| (item(key * 2, ledger), item(key, ledger)))
        .collect()
}

fn content(map: &Map) -> BTreeMap<u32, u32> {
    map.iter()
        .map(|(key, value)| (key.number, value.number))
        .collect()
}

/// Runs every operation with a panic at each call of a kind in turn. Returns how many panics there were.
fn panic_at_every(kind: Kind) -> usize {
    let mut panics = 0;
    for (name, operation) in OPERATIONS {
        for is_shared in [false, true] {
            for stop in 0.. {
                let ledger = Rc::new(Ledger::default());
                let mut map = sample(&ledger);
                let before = content(&map);
                let origin = is_shared.then(|| map.clone());
                kind(&ledger).set(Some(stop));
                let outcome = catch_unwind(AssertUnwindSafe(|| operation(&mut map, &ledger)));
                kind(&ledger).set(None);

                assert_eq!(map.iter().count(), map.len(), "{name}, panic {stop}");
                assert!(map.keys().is_sorted(), "{name}, panic {stop}");
                for (key, value) in &map {
                    let is_old = before.get(&key.number) == Some(&value.number);
                    assert!(is_old || value.number >= 1000, "{name}, panic {stop}");
                    assert!(map.get(key).is_some(), "{name}, panic {stop}");
                }
                if let Some(origin) = &origin {
                    assert_eq!(
                        content(origin),
                        before,
                        "{name}, panic {stop}: the origin changed"
                    );
                    map.diff(origin).for_each(drop);
                    let _ = map == *origin;
                }
                // It still works.
                for key in 30..60 {
                    drop(map.insert(item(key, &ledger), item(7, &ledger)));
                }
                for key in 0..200 {
                    drop(map.remove(&item(key, &ledger)));
                }
                while map.pop_first().is_some() {}
                assert!(map.is_empty(), "{name}, panic {stop}");
                drop((map, origin));
                assert_eq!(
                    ledger.living.get(),
                    0,
                    "{name}, panic {stop}: lost or dropped twice"
                );
                if outcome.is_ok() {
                    break;
                }
                panics += 1;
            }
        }
    }
    panics
}

#[test]
fn clones_that_panic() {
    assert!(panic_at_every(|ledger| &ledger.clones_left) > 500);
}

#[test]
fn drops_that_panic() {
    assert!(panic_at_every(|ledger| &ledger.drops_left) > 500);
}

#[test]
fn orders_that_panic() {
    assert!(panic_at_every(|ledger| &ledger.orders_left) > 500);
}

#[test]
fn equalities_that_panic() {
    assert!(panic_at_every(|ledger| &ledger.equals_left) > 50);
}

#[test]
fn closures_and_iterators_that_panic() {
    assert!(panic_at_every(|ledger| &ledger.calls_left) > 100);
}

#[test]
fn orders_that_contradict_themselves_are_no_harm() {
    let ledger = Rc::new(Ledger::default());
    for (_, operation) in OPERATIONS {
        for is_shared in [false, true] {
            let mut map = sample(&ledger);
            let origin = is_shared.then(|| map.clone());
            ledger.is_lying.set(true);
            for _ in 0..3 {
                // Whatever comes of it, a panic included.
                let _ = catch_unwind(AssertUnwindSafe(|| operation(&mut map, &ledger)));
                let _ = catch_unwind(AssertUnwindSafe(|| {
                    let range = item(40, &ledger)..item(100, &ledger);
                    map.range_mut(range).for_each(|(_, value)| value.number += 1);
                }));
            }
            ledger.is_lying.set(false);
            assert_eq!(map.iter().count(), map.len());
            drop((map, origin));
            assert_eq!(ledger.living.get(), 0);
        }
    }
}

#[test]
fn a_map_whose_entries_panic_when_dropped_frees_the_rest() {
    for stop in 0..170 {
        let ledger = Rc::new(Ledger::default());
        let map = sample(&ledger);
        ledger.drops_left.set(Some(stop));
        let outcome = catch_unwind(AssertUnwindSafe(|| drop(map)));
        // There are separators, too.
        assert!(outcome.is_err() || stop >= 160);
        assert_eq!(ledger.living.get(), 0);
    }
}

/// Runs `operation` on `map`, shared or not, with a panic at the first call of a kind, the second, and so on. `check` is
/// told what there was, what there is now, and whether there was a panic.
fn with_panics<R>(
    sample: impl Fn(&Rc<Ledger>) -> (Map, Map),
    operation: impl Fn(&mut Map, &mut Map, &Rc<Ledger>) -> R,
    check: impl Fn(&(Content, Content), &(Content, Content), Option<R>),
) {
    let kinds: [Kind; 2] = [|ledger| &ledger.clones_left, |ledger| &ledger.orders_left];
    for (kind, is_shared) in kinds.into_iter().flat_map(|kind| [(kind, false), (kind, true)]) {
        for stop in 0.. {
            let ledger = Rc::new(Ledger::default());
            let (mut map, mut other) = sample(&ledger);
            let origin = is_shared.then(|| (map.clone(), other.clone()));
            let before = (content(&map), content(&other));
            kind(&ledger).set(Some(stop));
            let outcome = catch_unwind(AssertUnwindSafe(|| operation(&mut map, &mut other, &ledger)));
            kind(&ledger).set(None);

            let is_done = outcome.is_ok();
            for map in [&map, &other] {
                assert_eq!((map.len(), map.keys().is_sorted()), (map.iter().count(), true));
                assert!(map.keys().all(|key| map.contains_key(key)));
            }
            check(&before, &(content(&map), content(&other)), outcome.ok());
            if let Some((map, other)) = &origin {
                assert_eq!(
                    (content(map), content(other)),
                    before,
                    "panic {stop}: the origin changed"
                );
            }
            drop((map, other, origin));
            assert_eq!(ledger.living.get(), 0, "panic {stop}: lost or dropped twice");
            if is_done {
                break;
            }
        }
    }
}

type Content = BTreeMap<u32, u32>;

/// Returns maps of these keys, each with its own number as its value.
fn maps_of(ledger: &Rc<Ledger>, keys: [impl Iterator<Item = u32>; 2]) -> (Map, Map) {
    let [ours, theirs] = keys.map(|keys| {
        let mut map = Map::new();
        // One by one: leaves that are not full are joined, and share out.
        keys.for_each(|key| drop(map.insert(item(key, ledger), item(key, ledger))));
        map
    });
    (ours, theirs)
}

#[test]
fn a_cut_is_made_or_not() {
    for (len, at) in [(3, 1), (30, 9), (80, 1), (80, 33), (80, 40), (80, 78)] {
        with_panics(
            |ledger| maps_of(ledger, [0..len, 0..0]),
            |map, _, ledger| content(&map.split_off(&item(at, ledger))),
            |(before, _), (after, _), right| match right {
                None => assert_eq!(after, before, "{len} cut at {at}"),
                Some(right) => {
                    assert!(after.keys().copied().eq(0..at) && right.into_keys().eq(at..len));
                }
            },
        );
    }
}

#[test]
fn what_is_appended_is_there_or_where_it_was() {
    for (len, more) in [(1, 1), (3, 3), (2, 40), (40, 1), (60, 60), (90, 9)] {
        for is_behind in [true, false] {
            let (ours, theirs) = if is_behind {
                (0..len, len..len + more)
            } else {
                (more..more + len, 0..more)
            };
            with_panics(
                |ledger| maps_of(ledger, [ours.clone(), theirs.clone()]),
                |map, other, _| map.append(other),
                |before, (ours, theirs), outcome| match outcome {
                    None => assert!((ours, theirs) == (&before.0, &before.1), "{len} and {more}"),
                    Some(()) => assert!(ours.keys().copied().eq(0..len + more) && theirs.is_empty()),
                },
            );
        }
    }
}

#[test]
fn what_interleaves_is_in_one_of_two_maps_at_any_time() {
    for (len, more) in [(10, 40), (40, 10)] {
        with_panics(
            |ledger| {
                let (ours, mut theirs) = maps_of(ledger, [0..len, 0..0]);
                for key in (0..more).map(|at| at * 2) {
                    drop(theirs.insert(item(key, ledger), item(1000 + key, ledger)));
                }
                (ours, theirs)
            },
            |map, other, _| map.append(other),
            |before, (ours, theirs), outcome| {
                let both = |ours: &Content, theirs: &Content| {
                    let mut all = ours.clone();
                    all.extend(theirs);
                    all
                };
                assert_eq!(both(ours, theirs), both(&before.0, &before.1), "{len} and {more}");
                assert_eq!(theirs.is_empty(), outcome.is_some());
            },
        );
    }
}

#[test]
fn an_element_is_replaced_or_stays() {
    let kinds: [Kind; 2] = [|ledger| &ledger.clones_left, |ledger| &ledger.orders_left];
    let mut panics = 0;
    for (kind, is_shared, number) in kinds.into_iter().flat_map(|kind| {
        [
            (kind, false, 4),
            (kind, true, 4),
            (kind, false, 5),
            (kind, true, 5),
        ]
    }) {
        for stop in 0.. {
            let ledger = Rc::new(Ledger::default());
            let mut set: SortedSet<Item> = (0..80).map(|at| item(at * 2, &ledger)).collect();
            let origin = is_shared.then(|| set.clone());
            let new = item(number, &ledger);
            kind(&ledger).set(Some(stop));
            let outcome = catch_unwind(AssertUnwindSafe(|| set.replace(new)));
            kind(&ledger).set(None);

            let is_new = number == 5 && outcome.is_ok();
            let before = (0..80).map(|at| at * 2);
            let expected = before.clone().chain(is_new.then_some(5)).collect();
            let after: BTreeSet<u32> = set.iter().map(|item| item.number).collect();
            assert_eq!(after, expected, "{number}, panic {stop}");
            assert_eq!((set.len(), set.iter().is_sorted()), (expected.len(), true));
            if let Some(origin) = &origin {
                assert!(
                    origin.iter().map(|item| item.number).eq(before),
                    "the origin changed"
                );
            }
            let has_panicked = outcome.is_err();
            drop((set, origin, outcome));
            assert_eq!(
                ledger.living.get(),
                0,
                "{number}, panic {stop}: lost or dropped twice"
            );
            if !has_panicked {
                break;
            }
            panics += 1;
        }
    }
    assert!(panics > 50, "{panics}");
}
