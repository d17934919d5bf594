//! [`SortedMap`] beside std's `BTreeMap` and the ordered maps of im and imbl: pairs of `u64`.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::ops::Range;

use tine_values::SortedMap;

use crate::contest::{Contest, Row};
use crate::data::shuffled;

const ALL: &[usize] = &[10, 1_000, 100_000, 1_000_000];
const SEVERAL: &[usize] = &[1_000, 100_000, 1_000_000];

pub(crate) const ROWS: &[Row] = &[
    Row::timed("sorted-clone", "SortedMap: clone, drop", ALL, clone),
    Row::timed("sorted-fork", "SortedMap: clone, update one, drop", ALL, fork),
    Row::timed(
        "sorted-insert",
        "SortedMap: insert in an order of chance, an entry",
        ALL,
        insert,
    ),
    Row::timed("sorted-update", "SortedMap: update one, sole owner", ALL, update),
    Row::timed(
        "sorted-remove",
        "SortedMap: remove one and insert it, sole owner",
        ALL,
        remove,
    ),
    Row::timed("sorted-get", "SortedMap: get one", ALL, get),
    Row::timed("sorted-iterate", "SortedMap: iterate, an entry", ALL, iterate),
    Row::timed("sorted-range", "SortedMap: a range of 100", SEVERAL, range),
    Row::timed("sorted-build", "SortedMap: build, an entry", ALL, build),
    Row::timed(
        "sorted-build-in-order",
        "SortedMap: build from what is in order, an entry",
        ALL,
        build_in_order,
    ),
    Row::timed("sorted-drop", "SortedMap: drop, an entry", ALL, drop_last),
    Row::timed(
        "sorted-split-append",
        "SortedMap: split in the middle, append",
        ALL,
        split_append,
    ),
    Row::timed(
        "sorted-diff",
        "SortedMap: diff of two versions with 10 changes",
        SEVERAL,
        diff,
    ),
    Row::timed(
        "sorted-eq",
        "SortedMap: == of two versions, one rebuilt in 10 places",
        SEVERAL,
        eq,
    ),
    Row::weighed(
        "sorted-bytes",
        "SortedMap: bytes for an entry, inserted in an order of chance",
        ALL,
        bytes,
    ),
    Row::weighed(
        "sorted-version-bytes",
        "SortedMap: bytes of a version with one write",
        &[100_000],
        version_bytes,
    ),
];

/// What all contestants do.
trait Contestant: Clone + FromIterator<(u64, u64)> + 'static {
    const NAME: &'static str;

    fn insert(&mut self, key: u64, value: u64);
    fn remove(&mut self, key: u64);
    fn get(&self, key: u64) -> u64;
    fn sum(&self) -> u64;
    fn sum_of(&self, keys: Range<u64>) -> u64;
}

/// How the methods of all of them are called.
macro_rules! contestant {
    ($type:ty, $name:literal) => {
        impl Contestant for $type {
            const NAME: &'static str = $name;

            fn insert(&mut self, key: u64, value: u64) {
                self.insert(key, value);
            }

            fn remove(&mut self, key: u64) {
                self.remove(&key);
            }

            fn get(&self, key: u64) -> u64 {
                self.get(&key).copied().unwrap_or(0)
            }

            fn sum(&self) -> u64 {
                let mut sum = 0_u64;
                for (key, value) in self {
                    sum = sum.wrapping_add(key ^ value);
                }
                sum
            }

            fn sum_of(&self, keys: Range<u64>) -> u64 {
                let mut sum = 0_u64;
                for (key, value) in self.range(keys) {
                    sum = sum.wrapping_add(key ^ value);
                }
                sum
            }
        }
    };
}

contestant!(BTreeMap<u64, u64>, "BTreeMap");
contestant!(im::OrdMap<u64, u64>, "im");
contestant!(imbl::OrdMap<u64, u64>, "imbl");
contestant!(SortedMap<u64, u64>, "tine");

/// The keys of a map of `n`, in an order of chance, over and over.
struct Keys {
    keys: Vec<u64>,
    next: usize,
}

impl Keys {
    fn new(n: usize) -> Self {
        Self {
            keys: shuffled(n).into_iter().map(|key| key as u64).collect(),
            next: 0,
        }
    }

    #[inline]
    fn next(&mut self) -> u64 {
        self.next = if self.next + 1 < self.keys.len() {
            self.next + 1
        } else {
            0
        };
        self.keys[self.next]
    }
}

/// Returns a map into which keys have been put one by one, in an order of chance.
fn filled<M: Contestant>(n: usize) -> M {
    let mut map = M::from_iter([]);
    for key in Keys::new(n).keys {
        map.insert(key, key);
    }
    map
}

/// Adds every contestant by the function that adds one.
macro_rules! all {
    ($contest:ident, $n:ident, $add:ident) => {{
        $add::<BTreeMap<u64, u64>>($contest, $n);
        $add::<im::OrdMap<u64, u64>>($contest, $n);
        $add::<imbl::OrdMap<u64, u64>>($contest, $n);
        $add::<SortedMap<u64, u64>>($contest, $n);
    }};
}

fn clone(contest: &mut Contest, n: usize) {
    fn add<M: Contestant>(contest: &mut Contest, n: usize) {
        let map = filled::<M>(n);
        contest.repeat(M::NAME, 1, move || map.clone());
    }
    let arc = triomphe::Arc::new(1_u64);
    contest.repeat("triomphe", 1, move || arc.clone());
    add::<im::OrdMap<u64, u64>>(contest, n);
    add::<imbl::OrdMap<u64, u64>>(contest, n);
    add::<SortedMap<u64, u64>>(contest, n);
    contest.at_most(1.1, "triomphe");
}

fn fork(contest: &mut Contest, n: usize) {
    fn add<M: Contestant>(contest: &mut Contest, n: usize) {
        let (map, mut keys) = (filled::<M>(n), Keys::new(n));
        contest.repeat(M::NAME, 1, move || {
            let mut fork = map.clone();
            fork.insert(keys.next(), 1);
            fork
        });
    }
    add::<imbl::OrdMap<u64, u64>>(contest, n);
    add::<im::OrdMap<u64, u64>>(contest, n);
    if n <= 1_000 {
        add::<BTreeMap<u64, u64>>(contest, n);
    }
    add::<SortedMap<u64, u64>>(contest, n);
    // 250, 500 and 800 ns where imbl took 390, 970 and 1,690.
    let (ours, theirs) = match n {
        1_000 => (250.0, 390.0),
        100_000 => (500.0, 970.0),
        1_000_000 => (800.0, 1_690.0),
        _ => return,
    };
    contest.at_most(ours / theirs, "imbl");
    contest.within_ns(ours);
}

fn insert(contest: &mut Contest, n: usize) {
    fn add<M: Contestant>(contest: &mut Contest, n: usize) {
        let keys = Keys::new(n).keys;
        contest.consume(
            M::NAME,
            n,
            || M::from_iter([]),
            move |mut map| {
                for &key in &keys {
                    map.insert(key, key);
                }
                map
            },
        );
    }
    all!(contest, n, add);
    contest.at_most(1.2, "BTreeMap");
}

fn update(contest: &mut Contest, n: usize) {
    fn add<M: Contestant>(contest: &mut Contest, n: usize) {
        let (mut map, mut keys) = (filled::<M>(n), Keys::new(n));
        contest.repeat(M::NAME, 1, move || map.insert(keys.next(), 1));
    }
    all!(contest, n, add);
    contest.at_most(1.0, "BTreeMap");
}

fn remove(contest: &mut Contest, n: usize) {
    fn add<M: Contestant>(contest: &mut Contest, n: usize) {
        let (mut map, mut keys) = (filled::<M>(n), Keys::new(n));
        contest.repeat(M::NAME, 1, move || {
            let key = keys.next();
            map.remove(key);
            map.insert(key, 1);
        });
    }
    all!(contest, n, add);
}

fn get(contest: &mut Contest, n: usize) {
    fn add<M: Contestant>(contest: &mut Contest, n: usize) {
        let (map, mut keys) = (filled::<M>(n), Keys::new(n));
        contest.repeat(M::NAME, 1, move || map.get(keys.next()));
    }
    all!(contest, n, add);
    contest.at_most(0.9, "BTreeMap");
}

fn iterate(contest: &mut Contest, n: usize) {
    fn add<M: Contestant>(contest: &mut Contest, n: usize) {
        let map = filled::<M>(n);
        contest.repeat(M::NAME, n, move || black_box(&map).sum());
    }
    all!(contest, n, add);
    contest.at_most(1.5, "BTreeMap");
}

fn range(contest: &mut Contest, n: usize) {
    fn add<M: Contestant>(contest: &mut Contest, n: usize) {
        let (map, mut keys) = (filled::<M>(n), Keys::new(n - 100));
        contest.repeat(M::NAME, 1, move || {
            let first = keys.next();
            map.sum_of(first..first + 100)
        });
    }
    all!(contest, n, add);
    contest.at_most(1.3, "BTreeMap");
}

fn build(contest: &mut Contest, n: usize) {
    fn add<M: Contestant>(contest: &mut Contest, n: usize) {
        let keys = Keys::new(n).keys;
        contest.consume(
            M::NAME,
            n,
            || (),
            move |()| keys.iter().map(|&key| (key, key)).collect::<M>(),
        );
    }
    all!(contest, n, add);
    contest.at_most(1.3, "BTreeMap");
}

fn build_in_order(contest: &mut Contest, n: usize) {
    fn add<M: Contestant>(contest: &mut Contest, n: usize) {
        contest.consume(
            M::NAME,
            n,
            || (),
            move |()| (0..n as u64).map(|key| (key, key)).collect::<M>(),
        );
    }
    all!(contest, n, add);
    contest.at_most(1.0, "BTreeMap");
}

fn drop_last(contest: &mut Contest, n: usize) {
    fn add<M: Contestant>(contest: &mut Contest, n: usize) {
        contest.consume(M::NAME, n, move || filled::<M>(n), drop);
    }
    all!(contest, n, add);
    contest.at_most(2.0, "BTreeMap");
}

fn split_append(contest: &mut Contest, n: usize) {
    let (mut std, mut ours) = (filled::<BTreeMap<u64, u64>>(n), filled::<SortedMap<u64, u64>>(n));
    let middle = n as u64 / 2;
    if n <= 1_000 {
        contest.repeat("BTreeMap", 1, move || {
            let mut right = std.split_off(&middle);
            std.append(&mut right);
        });
    }
    contest.repeat("tine", 1, move || {
        let mut right = ours.split_off(&middle);
        ours.append(&mut right);
    });
    contest.within_ns(5_000.0);
}

/// Returns a map of `n`, and a version of it with other values at ten keys.
fn versions<M: Contestant>(n: usize) -> (M, M) {
    let map = filled::<M>(n);
    let mut other = map.clone();
    for change in 0..10 {
        other.insert((n / 10 * change) as u64 + 5, u64::MAX);
    }
    (map, other)
}

fn diff(contest: &mut Contest, n: usize) {
    let (map, other) = versions::<imbl::OrdMap<u64, u64>>(n);
    contest.repeat("imbl", 1, move || map.diff(&other).count());
    let (map, other) = versions::<im::OrdMap<u64, u64>>(n);
    contest.repeat("im", 1, move || map.diff(&other).count());
    let (map, other) = versions::<SortedMap<u64, u64>>(n);
    contest.repeat("tine", 1, move || map.diff(&other).count());
    contest.within_ns(10_000.0);
}

fn eq(contest: &mut Contest, n: usize) {
    fn rebuilt<M: Contestant>(n: usize) -> (M, M) {
        let (map, mut other) = versions::<M>(n);
        for change in 0..10 {
            let key = (n / 10 * change) as u64 + 5;
            other.insert(key, key);
        }
        (map, other)
    }
    if n <= 1_000 {
        let (map, other) = rebuilt::<imbl::OrdMap<u64, u64>>(n);
        contest.repeat("imbl", 1, move || map == other);
    }
    let (map, other) = rebuilt::<SortedMap<u64, u64>>(n);
    contest.repeat("tine", 1, move || assert!(map == other));
    contest.within_ns(10_000.0);
}

fn bytes(contest: &mut Contest, n: usize) {
    fn add<M: Contestant>(contest: &mut Contest, n: usize) {
        contest.bytes(M::NAME, n, || (), move |()| filled::<M>(n));
    }
    all!(contest, n, add);
    contest.at_most(if n < 1_000 { 1.5 } else { 1.3 }, "BTreeMap");
}

fn version_bytes(contest: &mut Contest, n: usize) {
    fn add<M: Contestant>(contest: &mut Contest, n: usize) {
        contest.bytes(
            M::NAME,
            1,
            move || filled::<M>(n),
            move |map| {
                let mut version = map.clone();
                version.insert(n as u64 / 2, 0);
                version
            },
        );
    }
    all!(contest, n, add);
    contest.within_bytes(2_500.0);
}
