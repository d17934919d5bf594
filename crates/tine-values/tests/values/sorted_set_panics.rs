//! Goal: a panic in the caller's code loses no element, drops none twice, and leaves sets that can be used.
//! Method: every operation is run with elements and closures of which the first call panics, then the second, and so on
//! until none panics any more: a clone, a comparison, a drop, a closure. Living elements are counted. A sorted set is a sorted
//! map, whose own operations `sorted_panics` tries: here are those that only sets have, and those by which it is built
//! and taken apart.

use std::rc::Rc;

use tine_values::SortedSet;

use crate::ledger::Ledger;

/// So large that leaves hold few.
type Item = crate::ledger::Item<112>;

fn item(number: u32, ledger: &Rc<Ledger>) -> Item {
    Item::new(number, ledger)
}

fn content(set: &SortedSet<Item>) -> Vec<u32> {
    set.iter().map(|item| item.number).collect()
}

/// Every element is found, in order, and is counted.
fn check(set: &SortedSet<Item>) {
    assert!(set.iter().all(|item| std::ptr::eq(set.get(item).unwrap(), item)));
    assert!(set.iter().is_sorted());
    assert_eq!(set.len(), set.iter().count());
}

type Operation = fn(&mut SortedSet<Item>, &SortedSet<Item>, &Rc<Ledger>);

/// Each is given a set of even numbers, shared or not, and another that was made of it, less one and with others above.
const OPERATIONS: [(&str, Operation); 18] = [
    ("insert", |set, _, ledger| {
        set.insert(item(5, ledger));
    }),
    ("replace", |set, _, ledger| drop(set.replace(item(4, ledger)))),
    ("replace what is not there", |set, _, ledger| {
        drop(set.replace(item(5, ledger)));
    }),
    ("take", |set, _, ledger| drop(set.take(&item(4, ledger)))),
    ("pop", |set, _, _| drop((set.pop_first(), set.pop_last()))),
    ("retain", |set, _, ledger| {
        set.retain(|item| {
            ledger.tick();
            item.number % 4 == 0
        });
    }),
    ("extract some", |set, _, ledger| {
        let taken = set.extract_if(item(10, ledger).., |item| {
            ledger.tick();
            item.number % 4 == 0
        });
        taken.take(5).for_each(drop);
    }),
    ("split and append", |set, _, ledger| {
        let mut right = set.split_off(&item(50, ledger));
        set.append(&mut right);
    }),
    ("append", |set, other, _| set.append(&mut other.clone())),
    ("build", |set, other, _| {
        *set = other.iter().rev().cloned().collect();
    }),
    ("take apart", |set, _, _| {
        let mut elements = std::mem::take(set).into_iter();
        drop((elements.next(), elements.next_back()));
    }),
    ("intersection", |set, other, _| {
        drop(set.intersection(other).cloned().collect::<Vec<_>>());
    }),
    ("compare", |set, other, _| {
        assert!(*set != *other && Ord::cmp(&*set, other).is_ne());
        assert!(!set.is_subset(other) && !set.is_disjoint(other));
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
                let mut set: SortedSet<Item> =
                    (0..80).step_by(2).map(|number| item(number, &ledger)).collect();
                let mut other = set.clone();
                other.extend((101..110).map(|number| item(number, &ledger)));
                other.remove(&item(2, &ledger));
                set.extend((80..100).step_by(2).map(|number| item(number, &ledger)));
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
