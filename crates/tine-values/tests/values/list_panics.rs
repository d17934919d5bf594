//! Goal: a panic in the caller's code loses no element's drop, drops none twice, and leaves a list that can be used.
//! Method: every operation is run with an element (or closure) that panics at its first call, its second, and so on until
//! none panics any more. Living elements are counted.

use std::cell::Cell;
use std::cmp::Ordering;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;

use tine_values::List;
use tine_values::list::{ChunksMut, IterMut};

/// What all elements of one test have in common.
#[derive(Default)]
struct Ledger {
    living: Cell<isize>,
    /// Calls of the kind that is about to panic, until it does.
    clones_left: Cell<Option<usize>>,
    drops_left: Cell<Option<usize>>,
    /// Of `eq`, `cmp`, `hash`, of closures and iterators.
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

/// So wide that a leaf holds four, and a hundred make a tree with two nodes above the leaves.
struct Element {
    number: u32,
    ledger: Rc<Ledger>,
    _wide: [u64; 60],
}

impl Element {
    fn new(number: u32, ledger: &Rc<Ledger>) -> Self {
        ledger.living.set(ledger.living.get() + 1);
        Self {
            number,
            ledger: ledger.clone(),
            _wide: [0; 60],
        }
    }
}

impl Clone for Element {
    fn clone(&self) -> Self {
        tick(&self.ledger.clones_left);
        Self::new(self.number, &self.ledger)
    }
}

impl Drop for Element {
    fn drop(&mut self) {
        self.ledger.living.set(self.ledger.living.get() - 1);
        tick(&self.ledger.drops_left);
    }
}

impl PartialEq for Element {
    fn eq(&self, other: &Self) -> bool {
        tick(&self.ledger.calls_left);
        self.number == other.number
    }
}

impl Eq for Element {}

impl PartialOrd for Element {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Element {
    fn cmp(&self, other: &Self) -> Ordering {
        tick(&self.ledger.calls_left);
        self.number.cmp(&other.number)
    }
}

impl Hash for Element {
    fn hash<H: Hasher>(&self, state: &mut H) {
        tick(&self.ledger.calls_left);
        self.number.hash(state);
    }
}

type Operation = fn(&mut List<Element>, &Rc<Ledger>);

/// Elements that were not there have numbers from 1,000 on.
fn new(count: u32, ledger: &Rc<Ledger>) -> impl Iterator<Item = Element> {
    (0..count).map(|number| {
        tick(&ledger.calls_left);
        Element::new(1_000 + number, ledger)
    })
}

/// Writes of one element: done or not, whatever panics but a drop.
const SINGLE: [(&str, Operation); 9] = [
    ("push", |list, ledger| list.push(Element::new(1_000, ledger))),
    ("push to the front", |list, ledger| {
        list.push_front(Element::new(1_000, ledger));
    }),
    ("pop", |list, _| drop(list.pop())),
    ("pop from the front", |list, _| drop(list.pop_front())),
    ("set", |list, ledger| {
        let at = list.len() / 2;
        if let Some(element) = list.get_mut(at) {
            *element = Element::new(1_000, ledger);
        }
    }),
    ("insert", |list, ledger| {
        list.insert(list.len() / 2, Element::new(1_000, ledger));
    }),
    ("insert near the front", |list, ledger| {
        list.insert(list.len().min(2), Element::new(1_000, ledger));
    }),
    ("remove", |list, _| {
        if !list.is_empty() {
            drop(list.remove(list.len() / 2));
        }
    }),
    ("clear", |list, _| list.clear()),
];

/// Writes of many elements that are done or not, if a clone panics.
const WHOLE: [(&str, Operation); 19] = [
    ("sort", |list, _| list.sort_by(|a, b| b.cmp(a))),
    ("retain", |list, ledger| {
        list.retain(|element| {
            tick(&ledger.calls_left);
            !element.number.is_multiple_of(3)
        });
    }),
    ("retain most", |list, ledger| {
        list.retain_mut(|element| {
            tick(&ledger.calls_left);
            element.number != 50
        });
    }),
    ("rotate", |list, _| list.rotate_left(list.len() / 3)),
    ("copy within", |list, _| {
        let len = list.len();
        list.copy_within(..len / 3, len / 2);
    }),
    ("copy within, far", |list, _| {
        let len = list.len();
        list.copy_within(len - len / 4.., 0);
    }),
    ("select", |list, _| {
        let at = list.len() / 3;
        list.select_nth_unstable(at).number += 1_000;
    }),
    ("dedup", |list, _| list.dedup()),
    ("dedup by key", |list, ledger| {
        list.dedup_by_key(|element| {
            tick(&ledger.calls_left);
            element.number / 2
        });
    }),
    ("truncate", |list, _| list.truncate(list.len() / 2)),
    ("truncate a little", |list, _| {
        list.truncate(list.len().saturating_sub(2));
    }),
    ("split", |list, _| drop(list.split_off(list.len() / 2))),
    ("keep what is behind", |list, _| {
        *list = list.split_off(list.len() / 3);
    }),
    ("slice", |list, _| {
        *list = list.slice(list.len() / 5..list.len() - list.len() / 5);
    }),
    ("append to itself", |list, _| list.append(&mut list.clone())),
    ("append a few", |list, ledger| {
        list.append(&mut new(3, ledger).collect());
    }),
    ("prepend", |list, ledger| {
        *list = new(21, ledger).collect::<List<_>>().concat(list);
    }),
    ("drain", |list, _| {
        drop(list.drain(list.len() / 4..list.len() / 2));
    }),
    ("splice", |list, ledger| {
        drop(list.splice(list.len() / 4..list.len() / 2, new(11, ledger)));
    }),
];

const OTHERS: [(&str, Operation); 12] = [
    ("pop all", |list, _| while list.pop().is_some() {}),
    (
        "pop all from the front",
        |list, _| while list.pop_front().is_some() {},
    ),
    ("extend", |list, ledger| list.extend(new(20, ledger))),
    ("build", |list, ledger| *list = new(40, ledger).collect()),
    ("drain a little, keeping some", |list, _| {
        let end = list.len().min(7);
        let kept: Vec<_> = list.drain(end / 2..end).take(2).collect();
        list.extend(kept);
    }),
    ("write all", |list, ledger| {
        list.iter_mut()
            .rev()
            .for_each(|element| *element = Element::new(1_000, ledger));
    }),
    ("resize", |list, ledger| {
        list.resize(list.len() + 9, Element::new(1_000, ledger));
    }),
    ("reverse", |list, _| list.reverse()),
    ("take apart from both ends", |list, _| {
        let mut elements = mem::take(list).into_iter();
        while elements.next().is_some() && elements.next_back().is_some() {}
    }),
    ("compare", |list, _| {
        let mut other = list.clone();
        other.push_front(list[list.len() - 1].clone());
        drop(other.pop());
        assert!(other != *list || list.len() < 2);
        assert!(other.cmp(list).is_ne() || list.len() < 2);
    }),
    ("hash and search", |list, ledger| {
        list.hash(&mut DefaultHasher::new());
        let _ = list.binary_search(&Element::new(1_000, ledger));
    }),
    ("a vec and back", |list, _| {
        *list = Vec::from(mem::take(list)).into();
    }),
];

fn numbers(list: &List<Element>) -> Vec<u32> {
    list.iter().map(|element| element.number).collect()
}

/// Lists in one block, just beyond it, and with two nodes above the leaves; one with a head and short leaves.
fn samples(ledger: &Rc<Ledger>) -> [List<Element>; 4] {
    let list = |count: u32| {
        (0..count)
            .map(|number| Element::new(number, ledger))
            .collect::<List<_>>()
    };
    let mut ragged = list(40).slice(3..25);
    for number in 200..206 {
        ragged.push_front(Element::new(number, ledger));
        ragged.insert(9, Element::new(number, ledger));
    }
    [list(9), list(18), list(90), ragged]
}

/// Runs every operation with a panic at each call of a kind in turn. The first of them are done or not.
fn panic_at_every(kind: fn(&Ledger) -> &Cell<Option<usize>>, done_or_not: usize) {
    let mut panics = 0;
    let operations = SINGLE.into_iter().chain(WHOLE).chain(OTHERS);
    for (at, (name, operation)) in operations.enumerate() {
        let is_done_or_not = at < done_or_not;
        for sample in 0..4 {
            for is_shared in [false, true] {
                for stop in 0.. {
                    let ledger = Rc::new(Ledger::default());
                    let mut list = mem::take(&mut samples(&ledger)[sample]);
                    let before = numbers(&list);
                    let origin = is_shared.then(|| list.clone());
                    kind(&ledger).set(Some(stop));
                    let outcome = catch_unwind(AssertUnwindSafe(|| operation(&mut list, &ledger)));
                    kind(&ledger).set(None);

                    let context = format!("{name}, sample {sample}, panic {stop}");
                    let after = numbers(&list);
                    assert!(
                        outcome.is_ok() || !is_done_or_not || after == before,
                        "{context}: half done"
                    );
                    assert!(
                        after
                            .iter()
                            .all(|number| before.contains(number) || *number >= 1_000),
                        "{context}: {after:?}"
                    );
                    assert_eq!(list.len(), after.len(), "{context}");
                    for (index, number) in after.iter().enumerate() {
                        assert_eq!(list[index].number, *number, "{context}");
                    }
                    if let Some(origin) = &origin {
                        assert_eq!(numbers(origin), before, "{context}: the origin changed");
                    }
                    // It still works.
                    list.push(Element::new(1, &ledger));
                    list.push_front(Element::new(2, &ledger));
                    list.insert(list.len() / 2, Element::new(3, &ledger));
                    list.append(&mut list.clone());
                    assert_eq!(list.len(), 2 * (after.len() + 3), "{context}");
                    drop((list, origin));
                    assert_eq!(ledger.living.get(), 0, "{context}: lost or dropped twice");
                    if outcome.is_ok() {
                        break;
                    }
                    panics += 1;
                }
            }
        }
    }
    assert!(panics > 500, "{panics}");
}

#[test]
fn clones_that_panic() {
    panic_at_every(|ledger| &ledger.clones_left, SINGLE.len() + WHOLE.len());
}

/// What is too short for a leaf of its own is moved element by element, or cloned; a longer one is joined.
#[test]
fn a_list_is_appended_or_stays() {
    let cases = (0..4).flat_map(|sample| [(sample, 1), (sample, 9), (sample, 40)]);
    for (sample, more, is_shared) in
        cases.flat_map(|(sample, more)| [(sample, more, false), (sample, more, true)])
    {
        for stop in 0.. {
            let ledger = Rc::new(Ledger::default());
            let mut list = mem::take(&mut samples(&ledger)[sample]);
            let mut other: List<_> = new(more, &ledger).collect();
            let clones = (list.clone(), is_shared.then(|| other.clone()));
            let (len, more) = (list.len(), more as usize);
            ledger.clones_left.set(Some(stop));
            let is_done = catch_unwind(AssertUnwindSafe(|| list.append(&mut other))).is_ok();
            ledger.clones_left.set(None);
            let lens = if is_done { (len + more, 0) } else { (len, more) };
            assert_eq!(
                (list.len(), other.len()),
                lens,
                "sample {sample}, {more} more, panic {stop}"
            );
            drop((list, other, clones));
            assert_eq!(
                ledger.living.get(),
                0,
                "sample {sample}, {more} more, panic {stop}"
            );
            if is_done {
                break;
            }
        }
    }
}

#[test]
fn drops_that_panic() {
    panic_at_every(|ledger| &ledger.drops_left, 0);
}

#[test]
fn comparisons_closures_and_iterators_that_panic() {
    panic_at_every(|ledger| &ledger.calls_left, SINGLE.len());
}

#[test]
fn a_list_whose_elements_panic_when_dropped_frees_the_rest() {
    for stop in 0..100 {
        let ledger = Rc::new(Ledger::default());
        let lists = samples(&ledger);
        ledger.drops_left.set(Some(stop));
        let _ = catch_unwind(AssertUnwindSafe(|| drop(lists)));
        assert_eq!(ledger.living.get(), 0);
    }
}

/// Calls `step` with its number until it gives nothing more, going on behind panics. Returns what it gave, and whether
/// a step panicked.
fn go_on<T>(mut step: impl FnMut(usize) -> Option<T>) -> (Vec<T>, bool) {
    let (mut given, mut panicked) = (Vec::new(), false);
    for turn in 0.. {
        match catch_unwind(AssertUnwindSafe(|| step(turn))) {
            Ok(Some(item)) => given.push(item),
            Ok(None) => break,
            Err(_) => panicked = true,
        }
    }
    (given, panicked)
}

/// Goes through a shared list by `go` with a panic at each clone in turn, of which it is told the number. No element may
/// be given out twice, or in another's place; all are, if nothing is `skipped`.
fn go_on_behind_every_clone(
    name: &str,
    skips: bool,
    go: impl for<'a> Fn(&'a mut List<Element>) -> (Vec<&'a mut Element>, bool),
) {
    for sample in 0..4 {
        for stop in 0.. {
            let ledger = Rc::new(Ledger::default());
            let mut list = mem::take(&mut samples(&ledger)[sample]);
            let before = numbers(&list);
            let origin = list.clone();
            ledger.clones_left.set(Some(stop));
            let (mut given, panicked) = go(&mut list);
            ledger.clones_left.set(None);

            let context = format!("{name}, sample {sample}, panic {stop}");
            assert!(skips || given.len() == before.len(), "{context}: {}", given.len());
            for element in &mut given {
                element.number += 1_000;
            }
            let mut addresses: Vec<_> = given.iter().map(|element| &raw const **element).collect();
            addresses.sort_unstable();
            assert!(addresses.is_sorted_by(|a, b| a < b), "{context}: given out twice");
            let given = given.len();
            let after = numbers(&list);
            let written = after.iter().filter(|&&number| number >= 1_000).count();
            assert_eq!(written, given, "{context}");
            assert!(
                after
                    .iter()
                    .map(|number| number % 1_000)
                    .eq(before.iter().copied())
            );
            assert_eq!(numbers(&origin), before, "{context}: the origin changed");
            drop((list, origin));
            assert_eq!(ledger.living.get(), 0, "{context}: lost or dropped twice");
            if !panicked {
                break;
            }
        }
    }
}

#[test]
fn iterators_go_on_behind_a_clone_that_panics() {
    type OfChunks = for<'a> fn(&mut ChunksMut<'a, Element>, usize) -> Option<&'a mut [Element]>;
    type OfElements = for<'a> fn(&mut IterMut<'a, Element>, usize) -> Option<&'a mut Element>;
    let by_chunks: [(&str, OfChunks); 3] = [
        ("chunks", |chunks, _| chunks.next()),
        ("chunks from the back", |chunks, _| chunks.next_back()),
        ("chunks from both ends", |chunks, turn| match turn % 2 {
            0 => chunks.next(),
            _ => chunks.next_back(),
        }),
    ];
    for (name, step) in by_chunks {
        go_on_behind_every_clone(name, false, |list| {
            let mut chunks = list.chunks_mut();
            let (given, panicked) = go_on(|turn| step(&mut chunks, turn));
            (given.into_iter().flatten().collect(), panicked)
        });
    }
    let by_elements: [(&str, bool, OfElements); 5] = [
        ("elements", false, |elements, _| elements.next()),
        ("elements from the back", false, |elements, _| {
            elements.next_back()
        }),
        ("elements from both ends", false, |elements, turn| {
            match turn % 3 {
                0 => elements.next_back(),
                _ => elements.next(),
            }
        }),
        ("some elements", true, |elements, turn| elements.nth(turn % 7)),
        (
            "some elements and those at the end",
            true,
            |elements, turn| match turn % 2 {
                0 => elements.nth(5),
                _ => elements.next_back(),
            },
        ),
    ];
    for (name, skips, step) in by_elements {
        go_on_behind_every_clone(name, skips, |list| {
            let mut elements = list.iter_mut();
            go_on(|turn| step(&mut elements, turn))
        });
    }
}
