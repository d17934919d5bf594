//! Goal: a panic in the caller's code loses no element, drops none twice, and leaves sets that can be used.
//! Method: every operation is run with elements and closures of which the first call panics, then the second, and so on
//! until none panics any more. Living elements are counted. A set is a map, whose own operations `map_panics` tries: here
//! are those that only sets have.

use std::rc::Rc;

use tine_values::Set;

use crate::ledger::Ledger;

/// So large that leaves hold few.
type Item = crate::ledger::Item<112>;

fn item(number: u32, ledger: &Rc<Ledger>) -> Item {
    Item::new(number, ledger)
}

fn content(set: &Set<Item>) -> Vec<u32> {
    let mut content: Vec<_> = set.iter().map(|item| item.number).collect();
    content.sort_unstable();
    content
}

/// Every element is found, and is counted.
fn check(set: &Set<Item>) {
    assert!(set.iter().all(|item| std::ptr::eq(set.get(item).unwrap(), item)));
    assert_eq!(set.len(), set.iter().count());
}

type Operation = fn(&mut Set<Item>, &Set<Item>, &Rc<Ledger>);

/// Each is given a set of even numbers, shared or not, and another that shares what is below 30 with it.
const OPERATIONS: [(&str, Operation); 11] = [
    ("replace", |set, _, ledger| drop(set.replace(item(4, ledger)))),
    ("replace what is not there", |set, _, ledger| {
        drop(set.replace(item(5, ledger)));
    }),
    ("retain", |set, _, ledger| {
        set.retain(|item| {
            ledger.tick();
            item.number % 4 == 0
        });
    }),
    ("extract some", |set, _, ledger| {
        let taken = set.extract_if(|item| {
            ledger.tick();
            item.number % 4 == 0
        });
        taken.take(5).for_each(drop);
    }),
    ("drain", |set, _, _| set.drain().take(5).for_each(drop)),
    ("intersection", |set, other, _| {
        drop(set.intersection(other).cloned().collect::<Vec<_>>());
    }),
    ("or", |set, other, _| *set = &*set | other),
    ("and", |set, other, _| *set = &*set & other),
    ("sub", |set, other, _| *set = &*set - other),
    ("xor", |set, other, _| *set = &*set ^ other),
    ("merge", |set, other, ledger| {
        let base = set.clone();
        set.insert(item(7, ledger));
        *set = base.merge(set, other);
    }),
];

#[test]
fn every_call_may_panic() {
    for (name, operation) in OPERATIONS {
        for is_shared in [false, true] {
            let mut panics = 0;
            for calls in 0.. {
                let ledger = Rc::new(Ledger::default());
                let mut set: Set<Item> = (0..30).step_by(2).map(|number| item(number, &ledger)).collect();
                let mut other = set.clone();
                other.extend((101..110).map(|number| item(number, &ledger)));
                other.remove(&item(2, &ledger));
                set.extend((30..40).step_by(2).map(|number| item(number, &ledger)));
                let clone = is_shared.then(|| set.clone());
                let (before, others) = (content(&set), content(&other));

                let was_reached = ledger.panics_at(calls, || operation(&mut set, &other, &ledger));

                check(&set);
                check(&other);
                assert_eq!(content(&other), others, "{name}, call {calls}");
                if let Some(clone) = clone {
                    assert_eq!(content(&clone), before, "{name}, call {calls}");
                }
                // The set can be written.
                set.insert(item(5000, &ledger));
                set.remove(&item(0, &ledger));
                check(&set);
                drop((set, other));
                assert_eq!(
                    ledger.living(),
                    0,
                    "{name}, call {calls}: leaked, or dropped twice"
                );
                if !was_reached {
                    break;
                }
                panics += 1;
            }
            assert!(panics > 0, "{name}: nothing panicked");
        }
    }
}
