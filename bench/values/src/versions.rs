//! What is asked of every type, of those whose own modules do not ask it: a clone for a count, alone and from two threads,
//! and what two versions of a million elements with ten changes cost.

use std::sync::Arc;

use tine_values::{Bytes, RadixMap, Set, SortedMap, SortedSet, Text};

use crate::contest::{Contest, Row};
use crate::data::shuffled;

const CLONED: &[usize] = &[10, 1_000_000];
const ONE: &[usize] = &[1000];
const VERSIONS: &[usize] = &[1000, 1_000_000];
const ONE_MORE: &[usize] = &[100_000];

/// The rows that a type has, each under its name.
macro_rules! rows {
    ($($row:literal, $title:literal, $sizes:ident, $compare:ident::<$type:ty>;)*) => {
        pub(crate) const ROWS: &[Row] = &[
            $(Row::timed($row, $title, $sizes, $compare::<$type>),)*
            Row::weighed("set-version-bytes", "Set: bytes of a version with one write", ONE_MORE, version_bytes::<Set<u64>>),
            Row::weighed("sorted-set-version-bytes", "SortedSet: bytes of a version with one write", ONE_MORE, version_bytes::<SortedSet<u64>>),
            Row::weighed("radix-version-bytes", "RadixMap: bytes of a version with one write", ONE_MORE, version_bytes::<RadixMap<u64>>),
            Row::weighed("radix-bytes", "RadixMap: bytes, each", &[10, 1000, 100_000, 1_000_000], radix_bytes),
            Row::weighed("bytes-bytes", "Bytes: heap bytes of 64, 1,000 and 100,000", &[64, 1000, 100_000], bytes_bytes),
        ];
    };
}

rows! {
    "set-clone", "Set: clone, drop", CLONED, clone::<Set<u64>>;
    "sorted-set-clone", "SortedSet: clone, drop", CLONED, clone::<SortedSet<u64>>;
    "radix-clone", "RadixMap: clone, drop", CLONED, clone::<RadixMap<u64>>;
    "bytes-clone", "Bytes: clone, drop", CLONED, clone::<Bytes>;
    "set-clone-threads", "Set: two threads clone and drop one", ONE, clone_in_threads::<Set<u64>>;
    "sorted-clone-threads", "SortedMap: two threads clone and drop one", ONE, clone_in_threads::<SortedMap<u64, u64>>;
    "sorted-set-clone-threads", "SortedSet: two threads clone and drop one", ONE, clone_in_threads::<SortedSet<u64>>;
    "radix-clone-threads", "RadixMap: two threads clone and drop one", ONE, clone_in_threads::<RadixMap<u64>>;
    "bytes-clone-threads", "Bytes: two threads clone and drop one", ONE, clone_in_threads::<Bytes>;
    "set-eq", "Set: ==, ten changes written back", VERSIONS, eq::<Set<u64>>;
    "sorted-set-eq", "SortedSet: ==, ten changes written back", VERSIONS, eq::<SortedSet<u64>>;
    "radix-eq", "RadixMap: ==, ten changes written back", VERSIONS, eq::<RadixMap<u64>>;
    "text-eq", "Text: ==, ten changes written back", VERSIONS, eq::<Text>;
    "bytes-eq", "Bytes: ==, ten changes written back", VERSIONS, eq::<Bytes>;
    "set-diff", "Set: diff, ten changes apart", VERSIONS, diff::<Set<u64>>;
    "sorted-set-diff", "SortedSet: diff, ten changes apart", VERSIONS, diff::<SortedSet<u64>>;
    "radix-diff", "RadixMap: diff, ten changes apart", VERSIONS, diff::<RadixMap<u64>>;
    "text-diff-changed", "Text: diff, ten changes apart", VERSIONS, diff::<Text>;
    "bytes-diff", "Bytes: diff, ten changes apart", VERSIONS, diff::<Bytes>;
    "set-merge", "Set: merge five changes with five others", VERSIONS, merge::<Set<u64>>;
    "sorted-merge", "SortedMap: merge five changes with five others", VERSIONS, merge::<SortedMap<u64, u64>>;
    "sorted-set-merge", "SortedSet: merge five changes with five others", VERSIONS, merge::<SortedSet<u64>>;
    "radix-merge", "RadixMap: merge five changes with five others", VERSIONS, merge::<RadixMap<u64>>;
    "text-merge", "Text: merge five changes with five others", VERSIONS, merge::<Text>;
    "bytes-merge", "Bytes: merge five changes with five others", VERSIONS, merge::<Bytes>;
    "sorted-union", "SortedMap: union of versions ten changes apart", VERSIONS, union::<SortedMap<u64, u64>>;
    "radix-union", "RadixMap: append a version ten changes apart", VERSIONS, union::<RadixMap<u64>>;
}

/// A type of which versions are made.
trait Versioned: Clone + PartialEq + Send + Sync + 'static {
    fn of(n: usize) -> Self;
    /// Makes a change at a place, an even one of `0..2 * n`, and takes it back if that was done before.
    fn change(&mut self, place: usize);
    fn count_changes(&self, other: &Self) -> usize;
    fn merged(&self, ours: &Self, theirs: &Self) -> Self;
}

/// Those that make one of two.
trait Joined: Versioned {
    fn united(&self, other: &Self) -> Self;
}

const NEVER: &str = "the changes are apart";

/// Sets have the even numbers, and a change adds the odd one behind or removes it.
macro_rules! set {
    ($set:ty) => {
        impl Versioned for $set {
            fn of(n: usize) -> Self {
                shuffled(n)
                    .into_iter()
                    .map(|number| 2 * number as u64)
                    .collect()
            }
            fn change(&mut self, place: usize) {
                let element = place as u64 + 1;
                if !self.insert(element) {
                    self.remove(&element);
                }
            }
            fn count_changes(&self, other: &Self) -> usize {
                self.diff(other).count()
            }
            fn merged(&self, ours: &Self, theirs: &Self) -> Self {
                self.merge(ours, theirs)
            }
        }
    };
}

set!(Set<u64>);
set!(SortedSet<u64>);

impl Versioned for SortedMap<u64, u64> {
    fn of(n: usize) -> Self {
        shuffled(n)
            .into_iter()
            .map(|number| (2 * number as u64, 0))
            .collect()
    }
    fn change(&mut self, place: usize) {
        let key = place as u64;
        let old = self.insert(key, 1);
        if old == Some(1) {
            self.insert(key, 0);
        }
    }
    fn count_changes(&self, other: &Self) -> usize {
        self.diff(other).count()
    }
    fn merged(&self, ours: &Self, theirs: &Self) -> Self {
        self.merge(ours, theirs, |_| unreachable!("{NEVER}"))
    }
}

impl Joined for SortedMap<u64, u64> {
    fn united(&self, other: &Self) -> Self {
        self.union_with(other, |_, _, theirs| *theirs)
    }
}

impl Versioned for RadixMap<u64> {
    fn of(n: usize) -> Self {
        (0..n as u64).map(|key| (key, 0)).collect()
    }
    fn change(&mut self, place: usize) {
        let key = place as u64 / 2;
        let old = self.insert(key, 1);
        if old == Some(1) {
            self.insert(key, 0);
        }
    }
    fn count_changes(&self, other: &Self) -> usize {
        self.diff(other).count()
    }
    fn merged(&self, ours: &Self, theirs: &Self) -> Self {
        self.merge(ours, theirs, |_| unreachable!("{NEVER}"))
    }
}

impl Joined for RadixMap<u64> {
    fn united(&self, other: &Self) -> Self {
        let mut all = self.clone();
        all.append(&mut other.clone());
        all
    }
}

impl Versioned for Bytes {
    fn of(n: usize) -> Self {
        (b'a'..=b'z').cycle().take(n).collect()
    }
    fn change(&mut self, place: usize) {
        self.as_mut_slice()[place / 2] ^= 0x20;
    }
    fn count_changes(&self, other: &Self) -> usize {
        self.diff(other).count()
    }
    fn merged(&self, ours: &Self, theirs: &Self) -> Self {
        self.merge(ours, theirs, |_| unreachable!("{NEVER}"))
    }
}

impl Versioned for Text {
    fn of(n: usize) -> Self {
        ('a'..='z').cycle().take(n).collect()
    }
    fn change(&mut self, place: usize) {
        let at = place / 2;
        let letter = self.as_bytes()[at] ^ 0x20;
        self.replace_range(at..=at, char::from(letter).encode_utf8(&mut [0; 4]));
    }
    fn count_changes(&self, other: &Self) -> usize {
        self.diff(other).count()
    }
    fn merged(&self, ours: &Self, theirs: &Self) -> Self {
        self.merge(ours, theirs, |_| unreachable!("{NEVER}"))
    }
}

/// Returns ten places, far apart.
fn places(n: usize) -> impl Iterator<Item = usize> {
    (0..10).map(move |at| 2 * (n / 10 * at + n / 20))
}

/// Makes those of the ten changes whose numbers are these.
fn changed<V: Versioned>(base: &V, n: usize, changes: impl Fn(usize) -> bool) -> V {
    let mut changed = base.clone();
    let places = places(n).enumerate().filter(|(at, _)| changes(*at));
    places.for_each(|(_, place)| changed.change(place));
    changed
}

fn clone<V: Versioned>(contest: &mut Contest, n: usize) {
    let (triomphe, ours) = (triomphe::Arc::new(1_u64), V::of(n));
    contest.repeat("triomphe", 1, move || triomphe.clone());
    contest.repeat("tine", 1, move || ours.clone());
    contest.at_most(1.1, "triomphe");
}

fn clone_in_threads<V: Versioned>(contest: &mut Contest, n: usize) {
    let (arc, triomphe, ours) = (Arc::new(1_u64), triomphe::Arc::new(1_u64), V::of(n));
    contest.in_threads("Arc", 2, move || arc.clone());
    contest.in_threads("triomphe", 2, move || triomphe.clone());
    contest.in_threads("tine", 2, move || ours.clone());
    contest.at_most(1.2, "triomphe");
}

fn eq<V: Versioned>(contest: &mut Contest, n: usize) {
    let base = V::of(n);
    let mut same = changed(&base, n, |_| true);
    places(n).for_each(|place| same.change(place));
    contest.repeat("tine", 1, move || assert!(base == same));
    contest.within_ns(10_000.0);
}

fn diff<V: Versioned>(contest: &mut Contest, n: usize) {
    let base = V::of(n);
    let other = changed(&base, n, |_| true);
    contest.repeat("tine", 1, move || base.count_changes(&other));
    contest.within_ns(10_000.0);
}

fn merge<V: Versioned>(contest: &mut Contest, n: usize) {
    let base = V::of(n);
    let (ours, theirs) = (
        changed(&base, n, |at| at % 2 == 0),
        changed(&base, n, |at| at % 2 == 1),
    );
    contest.repeat("tine", 1, move || base.merged(&ours, &theirs));
    contest.within_ns(10_000.0);
}

fn union<V: Joined>(contest: &mut Contest, n: usize) {
    let base = V::of(n);
    let (ours, theirs) = (
        changed(&base, n, |at| at % 2 == 0),
        changed(&base, n, |at| at % 2 == 1),
    );
    contest.repeat("tine", 1, move || ours.united(&theirs));
    contest.within_ns(10_000.0);
}

fn version_bytes<V: Versioned>(contest: &mut Contest, n: usize) {
    let set_up = move || V::of(n);
    contest.bytes("tine", 1, set_up, move |base| changed(base, n, |at| at == 3));
    contest.within_bytes(2_500.0);
}

fn radix_bytes(contest: &mut Contest, n: usize) {
    contest.bytes("Vec", n, || (), move |()| vec![0_u64; n]);
    contest.bytes("tine", n, || (), move |()| RadixMap::<u64>::of(n));
    contest.at_most(if n < 1000 { 1.5 } else { 1.3 }, "Vec");
}

fn bytes_bytes(contest: &mut Contest, n: usize) {
    contest.bytes(
        "Vec",
        1,
        || (),
        move |()| Vec::from_iter((0..n).map(|at| at as u8)),
    );
    contest.bytes("tine", 1, || (), move |()| Bytes::of(n));
    contest.at_most(if n < 1000 { 1.5 } else { 1.3 }, "Vec");
}
