//! [`Set`] and [`SortedSet`] beside std's sets and those of im, imbl and rpds: sets of `u64`, hash sets with one hasher.

use std::collections::{BTreeSet, HashSet};

use foldhash::fast::RandomState;
use tine_values::{Set, SortedSet};

use crate::contest::{Contest, Row};
use crate::data::shuffled;

const SIZES: &[usize] = &[10, 1000, 100_000, 1_000_000];

/// Of two versions the smaller sizes say nothing.
const LARGE: &[usize] = &[1000, 1_000_000];

pub(crate) const ROWS: &[Row] = &[
    Row::timed("set-fork", "Set: clone, insert one, drop", SIZES, |contest, n| {
        hashed(contest, n, Work::Fork);
        // Of smaller sets no goal was set: a copy of 1,000 elements is one of 16 KB.
        if n >= 100_000 {
            contest.at_most(0.59, "imbl");
        }
    }),
    Row::timed(
        "set-insert",
        "Set: insert one after the other, each",
        SIZES,
        |contest, n| {
            hashed(contest, n, Work::Insert);
            contest.at_most(1.6, "HashSet");
        },
    ),
    Row::timed(
        "set-contains",
        "Set: contains what is there",
        SIZES,
        |contest, n| {
            hashed(contest, n, Work::Contains(0));
            contest.at_most(1.5, "HashSet");
        },
    ),
    Row::timed(
        "set-contains-miss",
        "Set: contains what is not there",
        SIZES,
        |contest, n| {
            hashed(contest, n, Work::Contains(1));
            contest.at_most(1.5, "HashSet");
        },
    ),
    Row::timed("set-iterate", "Set: iterate, each", SIZES, |contest, n| {
        hashed(contest, n, Work::Iterate);
        contest.at_most(1.5, "HashSet");
    }),
    Row::timed(
        "set-union",
        "Set: union of versions 10 changes apart",
        LARGE,
        |contest, n| {
            hashed(contest, n, Work::Union);
            contest.within_ns(10_000.0);
        },
    ),
    Row::timed(
        "set-intersection",
        "Set: intersection of versions 10 changes apart",
        LARGE,
        |contest, n| {
            hashed(contest, n, Work::Intersection);
            contest.within_ns(10_000.0);
        },
    ),
    Row::timed(
        "set-difference",
        "Set: difference of versions 10 changes apart",
        LARGE,
        |contest, n| {
            hashed(contest, n, Work::Difference);
            contest.within_ns(10_000.0);
        },
    ),
    Row::weighed("set-bytes", "Set: bytes, each", SIZES, |contest, n| {
        hashed(contest, n, Work::Bytes);
        contest.at_most(if n < 100 { 1.5 } else { 1.3 }, "HashSet");
    }),
    Row::timed(
        "sorted-set-fork",
        "SortedSet: clone, insert one, drop",
        SIZES,
        |contest, n| {
            sorted(contest, n, Work::Fork);
            match n {
                1_000 => contest.at_most(250.0 / 390.0, "imbl"),
                100_000 => contest.at_most(500.0 / 970.0, "imbl"),
                1_000_000 => contest.at_most(800.0 / 1_690.0, "imbl"),
                _ => {}
            }
        },
    ),
    Row::timed(
        "sorted-set-insert",
        "SortedSet: insert in an order of chance, each",
        SIZES,
        |contest, n| {
            sorted(contest, n, Work::Insert);
            contest.at_most(1.2, "BTreeSet");
        },
    ),
    Row::timed(
        "sorted-set-contains",
        "SortedSet: contains what is there",
        SIZES,
        |contest, n| {
            sorted(contest, n, Work::Contains(0));
            contest.at_most(0.9, "BTreeSet");
        },
    ),
    Row::timed(
        "sorted-set-contains-miss",
        "SortedSet: contains what is not there",
        SIZES,
        |contest, n| {
            sorted(contest, n, Work::Contains(1));
            contest.at_most(0.9, "BTreeSet");
        },
    ),
    Row::timed(
        "sorted-set-iterate",
        "SortedSet: iterate, each",
        SIZES,
        |contest, n| {
            sorted(contest, n, Work::Iterate);
            contest.at_most(1.5, "BTreeSet");
        },
    ),
    Row::timed(
        "sorted-set-union",
        "SortedSet: union of versions 10 changes apart",
        LARGE,
        |contest, n| {
            sorted(contest, n, Work::Union);
            contest.within_ns(10_000.0);
        },
    ),
    Row::timed(
        "sorted-set-intersection",
        "SortedSet: intersection of versions 10 changes apart",
        LARGE,
        |contest, n| {
            sorted(contest, n, Work::Intersection);
            contest.within_ns(10_000.0);
        },
    ),
    Row::timed(
        "sorted-set-difference",
        "SortedSet: difference of versions 10 changes apart",
        LARGE,
        |contest, n| {
            sorted(contest, n, Work::Difference);
            contest.within_ns(10_000.0);
        },
    ),
    Row::weighed(
        "sorted-set-bytes",
        "SortedSet: bytes, each",
        SIZES,
        |contest, n| {
            sorted(contest, n, Work::Bytes);
            contest.at_most(if n < 1_000 { 1.5 } else { 1.3 }, "BTreeSet");
        },
    ),
];

/// What a row has all contestants do.
#[derive(Clone, Copy)]
enum Work {
    Fork,
    Insert,
    /// Of the elements of a part: 0 is there, 1 is not.
    Contains(u64),
    Iterate,
    Union,
    Intersection,
    Difference,
    Bytes,
}

/// What all sets can do.
trait Peer: Clone + FromIterator<u64> + 'static {
    const NAME: &'static str;
    fn put(&mut self, element: u64);
    fn take(&mut self, element: u64);
    fn has(&self, element: u64) -> bool;
    fn sum(&self) -> u64;
    fn union(&self, other: &Self) -> Self;
    fn intersection(&self, other: &Self) -> Self;
    fn difference(&self, other: &Self) -> Self;
}

/// How those are called whose methods have std's names, and what makes a set of two.
macro_rules! peer {
    ($set:ty, $name:literal, $put:ident, $take:ident, $union:expr, $intersection:expr, $difference:expr) => {
        impl Peer for $set {
            const NAME: &'static str = $name;

            fn put(&mut self, element: u64) {
                self.$put(element);
            }

            fn take(&mut self, element: u64) {
                self.$take(&element);
            }

            fn has(&self, element: u64) -> bool {
                self.contains(&element)
            }

            fn sum(&self) -> u64 {
                self.iter()
                    .fold(0, |sum, element| sum.wrapping_add(*element))
            }

            fn union(&self, other: &Self) -> Self {
                let union: fn(&Self, &Self) -> Self = $union;
                union(self, other)
            }

            fn intersection(&self, other: &Self) -> Self {
                let intersection: fn(&Self, &Self) -> Self = $intersection;
                intersection(self, other)
            }

            fn difference(&self, other: &Self) -> Self {
                let difference: fn(&Self, &Self) -> Self = $difference;
                difference(self, other)
            }
        }
    };
    ($set:ty, $name:literal, operators) => {
        peer!(
            $set,
            $name,
            insert,
            remove,
            |a, b| a | b,
            |a, b| a & b,
            |a, b| a - b
        );
    };
    ($set:ty, $name:literal, by value) => {
        peer!(
            $set,
            $name,
            insert,
            remove,
            |a, b| a.clone().union(b.clone()),
            |a, b| a.clone().intersection(b.clone()),
            |a, b| a.clone().relative_complement(b.clone())
        );
    };
    ($set:ty, $name:literal, by element) => {
        peer!(
            $set,
            $name,
            insert_mut,
            remove_mut,
            |a, b| b.iter().fold(a.clone(), |mut set, element| {
                set.insert_mut(*element);
                set
            }),
            |a, b| a
                .iter()
                .filter(|element| b.contains(*element))
                .copied()
                .collect(),
            |a, b| a
                .iter()
                .filter(|element| !b.contains(*element))
                .copied()
                .collect()
        );
    };
}

type ImblSet = imbl::GenericHashSet<u64, RandomState, imbl::shared_ptr::DefaultSharedPtr>;
type RpdsSet = rpds::HashTrieSetSync<u64, RandomState>;
type RpdsSortedSet = rpds::RedBlackTreeSetSync<u64>;

peer!(HashSet<u64, RandomState>, "HashSet", operators);
peer!(im::HashSet<u64, RandomState>, "im", by value);
peer!(ImblSet, "imbl", by value);
peer!(RpdsSet, "rpds", by element);
peer!(Set<u64>, "tine", operators);
peer!(BTreeSet<u64>, "BTreeSet", operators);
peer!(im::OrdSet<u64>, "im", by value);
peer!(imbl::OrdSet<u64>, "imbl", by value);
peer!(RpdsSortedSet, "rpds", by element);
peer!(SortedSet<u64>, "tine", operators);

fn hashed(contest: &mut Contest, n: usize, work: Work) {
    add::<HashSet<u64, RandomState>>(contest, n, work);
    add::<im::HashSet<u64, RandomState>>(contest, n, work);
    add::<ImblSet>(contest, n, work);
    add::<RpdsSet>(contest, n, work);
    add::<Set<u64>>(contest, n, work);
}

fn sorted(contest: &mut Contest, n: usize, work: Work) {
    add::<BTreeSet<u64>>(contest, n, work);
    add::<im::OrdSet<u64>>(contest, n, work);
    add::<imbl::OrdSet<u64>>(contest, n, work);
    add::<RpdsSortedSet>(contest, n, work);
    add::<SortedSet<u64>>(contest, n, work);
}

/// Returns `n` elements in an order of chance; those of one part are not those of the other.
fn elements(n: usize, part: u64) -> Vec<u64> {
    shuffled(n)
        .into_iter()
        .map(|number| number as u64 * 2 + part)
        .collect()
}

fn set<P: Peer>(n: usize) -> P {
    elements(n, 0).into_iter().collect()
}

fn add<P: Peer>(contest: &mut Contest, n: usize, work: Work) {
    match work {
        Work::Fork => {
            let set = set::<P>(n);
            let mut elements = elements(n, 1).into_iter().cycle();
            contest.repeat(P::NAME, 1, move || {
                let mut fork = set.clone();
                fork.put(elements.next().expect("they go round"));
                fork
            });
        }
        Work::Insert => {
            let elements = elements(n, 0);
            contest.consume(
                P::NAME,
                n,
                || P::from_iter([]),
                move |mut set| {
                    elements.iter().for_each(|&element| set.put(element));
                    set
                },
            );
        }
        Work::Contains(part) => {
            let set = set::<P>(n);
            let mut elements = elements(n, part).into_iter().cycle();
            contest.repeat(P::NAME, 1, move || {
                elements.next().is_some_and(|element| set.has(element))
            });
        }
        Work::Iterate => {
            let set = set::<P>(n);
            contest.repeat(P::NAME, n, move || set.sum());
        }
        Work::Union => combine::<P>(contest, n, P::union),
        Work::Intersection => combine::<P>(contest, n, P::intersection),
        Work::Difference => combine::<P>(contest, n, P::difference),
        Work::Bytes => contest.bytes(P::NAME, n, || (), move |()| set::<P>(n)),
    }
}

/// Adds what makes a set of two versions of one that are ten changes apart: one lacks five elements, one has five more.
fn combine<P: Peer>(contest: &mut Contest, n: usize, combine: fn(&P, &P) -> P) {
    let base = set::<P>(n);
    let (mut ours, mut theirs) = (base.clone(), base);
    elements(n, 0)
        .into_iter()
        .take(5)
        .for_each(|element| ours.take(element));
    elements(n, 1)
        .into_iter()
        .take(5)
        .for_each(|element| theirs.put(element));
    contest.repeat(P::NAME, 1, move || combine(&ours, &theirs));
}
