//! Goal: a panic in the caller's code loses no value, drops none twice, and leaves a map that can be used.
//! Method: every operation is run with a value (or closure) that panics at its first call, its second, and
//! so on until none panics any more. Living values are counted.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;

use tine_values::RadixMap;

/// What all values of one test have in common.
#[derive(Default)]
struct Ledger {
    living: Cell<isize>,
    /// Calls of the kind that is about to panic, until it does.
    clones_left: Cell<Option<usize>>,
    drops_left: Cell<Option<usize>>,
    calls_left: Cell<Option<usize>>,
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

struct Value {
    number: u32,
    ledger: Rc<Ledger>,
}

impl Value {
    fn new(number: u32, ledger: &Rc<Ledger>) -> Self {
        ledger.living.set(ledger.living.get() + 1);
        Self {
            number,
            ledger: ledger.clone(),
        }
    }
}

impl Clone for Value {
    fn clone(&self) -> Self {
        tick(&self.ledger.clones_left);
        Self::new(self.number, &self.ledger)
    }
}

impl Drop for Value {
    fn drop(&mut self) {
        self.ledger.living.set(self.ledger.living.get() - 1);
        tick(&self.ledger.drops_left);
    }
}

type Map = RadixMap<Value>;
type Operation = fn(&mut Map, &Rc<Ledger>);

/// Each is tried on a sole owner and on a fork. New values have numbers from 1,000 on.
const OPERATIONS: [(&str, Operation); 20] = [
    ("insert over a value", |map, ledger| {
        drop(map.insert(3, Value::new(1000, ledger)));
    }),
    ("insert into a gap", |map, ledger| {
        drop(map.insert(33, Value::new(1000, ledger)));
    }),
    ("insert into a fill", |map, ledger| {
        drop(map.insert(2_000, Value::new(1000, ledger)));
    }),
    ("insert far away", |map, ledger| {
        drop(map.insert(u64::MAX, Value::new(1000, ledger)));
    }),
    ("remove", |map, _| drop(map.remove(3))),
    ("remove the only one of a leaf", |map, _| drop(map.remove(70))),
    ("remove from a fill", |map, _| drop(map.remove(1_500))),
    ("fill across everything", |map, ledger| {
        let old = ledger.clone();
        map.fill(2..20_000, Value::new(1000, ledger), |_, _| tick(&old.calls_left));
    }),
    ("fill a part of a leaf", |map, ledger| {
        let old = ledger.clone();
        map.fill(1..30, Value::new(1000, ledger), |_, _| tick(&old.calls_left));
    }),
    ("fill a part of a fill", |map, ledger| {
        let old = ledger.clone();
        map.fill(1_100..1_400, Value::new(1000, ledger), |_, _| {
            tick(&old.calls_left);
        });
    }),
    ("clear a range", |map, ledger| {
        map.clear_range(5..1_500, |_, _| tick(&ledger.calls_left));
    }),
    ("clear all", |map, ledger| {
        map.clear_range(0..u64::MAX, |_, _| tick(&ledger.calls_left));
    }),
    ("insert a run over values", |map, ledger| {
        let values = (0..150_usize).map(|number| Value::new(1000 + number as u32, ledger));
        map.insert_run(2, values, |_, _| tick(&ledger.calls_left));
    }),
    ("write all", |map, _| {
        map.iter_mut().for_each(|(_, value)| value.number = 1000);
    }),
    ("write a part, from the back", |map, _| {
        let part = map.range_mut(10..1_500);
        part.rev().for_each(|(_, value)| value.number = 1000);
    }),
    ("take apart", |map, _| {
        let mut pieces = std::mem::take(map).into_iter();
        drop((pieces.next(), pieces.next_back(), pieces.next_back()));
    }),
    ("extract some", |map, ledger| {
        let taken = map.extract_if(5..1_100, |_, value| {
            tick(&ledger.calls_left);
            value.number % 2 == 0
        });
        taken.for_each(drop);
    }),
    ("append", |map, ledger| {
        let mut other = map.clone();
        other.fill(10..50, Value::new(1000, ledger), |_, _| ());
        map.append(&mut other);
    }),
    ("entry", |map, ledger| {
        let entry = map.entry(2_000).and_modify(|value| value.number = 1000);
        entry.or_insert_with(|| Value::new(1001, ledger));
        map.entry(30).or_insert_with(|| {
            tick(&ledger.calls_left);
            Value::new(1000, ledger)
        });
    }),
    ("insert a run by an iterator that panics", |map, ledger| {
        let values = (0..150_usize).map(|number| {
            tick(&ledger.calls_left);
            Value::new(1000 + number as u32, ledger)
        });
        map.insert_run(10_000, values, |_, _| ());
    }),
];

/// Two leaves, one with gaps and one with a single value, and a fill between values.
fn sample(ledger: &Rc<Ledger>) -> Map {
    let mut map = Map::new();
    for key in (0..20).chain([40, 41, 63, 70]) {
        map.insert(key, Value::new(key as u32, ledger));
    }
    map.fill(1_000..3_000, Value::new(500, ledger), |_, _| ());
    map
}

fn content(map: &Map) -> BTreeMap<u64, u32> {
    let mut content = BTreeMap::new();
    for (range, value) in map {
        let last = range
            .end
            .max(range.start + u64::from(range.is_empty() && range.start < u64::MAX));
        content.insert(range.start, value.number);
        content.extend((range.start..last).map(|key| (key, value.number)));
    }
    content
}

/// Runs every operation with a panic at each call of a kind in turn.
fn panic_at_every(kind: fn(&Ledger) -> &Cell<Option<usize>>) {
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

                for (key, number) in content(&map) {
                    let is_old = before.get(&key) == Some(&number);
                    assert!(
                        is_old || number >= 1000,
                        "{name}, panic {stop}: {key} has {number}"
                    );
                    assert_eq!(
                        map.get(key).map(|value| value.number),
                        Some(number),
                        "{name}, panic {stop}"
                    );
                }
                if let Some(origin) = &origin {
                    assert_eq!(
                        content(origin),
                        before,
                        "{name}, panic {stop}: the origin changed"
                    );
                    map.diff_by(origin, |a, b| a.number == b.number).for_each(drop);
                }
                // It still works.
                map.insert(12, Value::new(7, &ledger));
                map.fill(40..2_000, Value::new(8, &ledger), |_, _| ());
                assert_eq!(map.get(12).map(|value| value.number), Some(7));
                map.clear_range(0..u64::MAX, |_, _| ());
                drop(map.remove(u64::MAX));
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
    assert!(panics > 0);
}

#[test]
fn clones_that_panic() {
    panic_at_every(|ledger| &ledger.clones_left);
}

#[test]
fn drops_that_panic() {
    panic_at_every(|ledger| &ledger.drops_left);
}

#[test]
fn closures_and_iterators_that_panic() {
    panic_at_every(|ledger| &ledger.calls_left);
}

#[test]
fn a_map_whose_values_panic_when_dropped_frees_the_rest() {
    for stop in 0..30 {
        let ledger = Rc::new(Ledger::default());
        let map = sample(&ledger);
        ledger.drops_left.set(Some(stop));
        let _ = catch_unwind(AssertUnwindSafe(|| drop(map)));
        assert_eq!(ledger.living.get(), 0);
    }
}

#[test]
fn what_is_appended_is_there_or_where_it_was() {
    for is_shared in [false, true] {
        let mut panics = 0;
        for stop in 0.. {
            let ledger = Rc::new(Ledger::default());
            let (mut map, mut other) = (sample(&ledger), Map::new());
            other.fill(10..1_200, Value::new(1000, &ledger), |_, _| ());
            let origin = is_shared.then(|| (map.clone(), other.clone()));
            let before = (content(&map), content(&other));
            ledger.clones_left.set(Some(stop));
            let outcome = catch_unwind(AssertUnwindSafe(|| map.append(&mut other)));
            ledger.clones_left.set(None);

            let after = (content(&map), content(&other));
            if outcome.is_ok() {
                let mut all = before.0;
                all.extend(before.1);
                assert_eq!(after, (all, BTreeMap::new()));
                break;
            }
            assert_eq!(after, before, "panic {stop}");
            drop((map, other, origin));
            assert_eq!(ledger.living.get(), 0);
            panics += 1;
        }
        assert!(panics > 20);
    }
}

#[test]
fn a_closure_that_panics_leaves_a_fill_undone() {
    let ledger = Rc::new(Ledger::default());
    let mut map = sample(&ledger);
    let before = content(&map);
    for stop in 0..5 {
        ledger.calls_left.set(Some(stop));
        let fill = || {
            map.fill(0..10_000, Value::new(1000, &ledger), |_, _| {
                tick(&ledger.calls_left);
            });
        };
        assert!(catch_unwind(AssertUnwindSafe(fill)).is_err());
        assert_eq!(content(&map), before);
    }
}
