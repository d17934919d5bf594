//! Goal: a `List` is the `Vec` it claims to be, and no version ever sees another's writes.
//! Method: random operations on eight versions that are cloned from each other, and on plain `Vec`s beside them; after
//! each step *every* version is compared with its model, and two of them with each other.
//!
//! Elements of two sizes: small ones, of which a block holds many, and ones so wide that a leaf holds four, so that a few
//! hundred make a tree three nodes high. Both are boxed, so that an element lost or dropped twice shows under
//! AddressSanitizer and valgrind.

mod pairs;

use std::fmt::{self, Debug, Formatter};
use std::hash::Hash;
use std::mem;

use proptest::prelude::*;
use tine_values::List;

use self::pairs::{check_merge, check_pair, hash};

const VERSIONS: usize = 8;

/// Small ones, and ones on both sides of where a list of either element becomes a tree, or its tree higher.
const START_LENGTHS: [u32; VERSIONS] = [0, 3, 16, 65, 300, 1_023, 1_025, 1_700];

trait Element: Clone + Ord + Hash + Debug {
    fn new(number: u32) -> Self;
    fn number(&self) -> u32;
    fn set(&mut self, number: u32);
}

impl Element for Box<u32> {
    fn new(number: u32) -> Self {
        Self::new(number)
    }
    fn number(&self) -> u32 {
        **self
    }
    fn set(&mut self, number: u32) {
        **self = number;
    }
}

/// A leaf of 2 KB holds four.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Wide(Box<u32>, [u64; 59]);

impl Debug for Wide {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Element for Wide {
    fn new(number: u32) -> Self {
        Self(Box::new(number), [u64::from(number); 59])
    }
    fn number(&self) -> u32 {
        assert_eq!(self.1[58], u64::from(*self.0), "torn");
        *self.0
    }
    fn set(&mut self, number: u32) {
        *self = Self::new(number);
    }
}

/// What to do to version `to`, after it has become a clone of `from`. Places are scaled to the length.
#[derive(Clone, Debug)]
struct Step {
    from: usize,
    to: usize,
    action: Action,
}

type Place = u16;

#[derive(Clone, Debug)]
enum Action {
    Push(usize),
    PushFront(usize),
    Pop(usize),
    PopFront(usize),
    Insert(Place, usize),
    Remove(Place, usize),
    SwapRemove(Place),
    Set(Place),
    Swap(Place, Place),
    Extend(usize),
    Truncate(Place),
    KeepBehind(Place),
    Slice(Place, Place),
    Append(usize),
    Concat(usize),
    Drain(Place, Place),
    Splice(Place, Place, usize),
    Retain(u32),
    RetainMut(u32),
    Dedup(u32),
    AddToAll,
    AddFromBothEnds,
    AddByChunks,
    Reverse,
    SortDescending,
    Rotate(Place),
    Resize(usize),
    Rebuild,
    Clear,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let place = any::<Place>;
    let few = || 1..4_usize;
    let many = || prop_oneof![3 => 1..12_usize, 2 => 10..80_usize, 1 => 100..700_usize];
    let action = prop_oneof![
        6 => many().prop_map(Action::Push),
        6 => many().prop_map(Action::PushFront),
        4 => many().prop_map(Action::Pop),
        4 => many().prop_map(Action::PopFront),
        10 => (place(), many()).prop_map(|(at, count)| Action::Insert(at, count)),
        8 => (place(), many()).prop_map(|(at, count)| Action::Remove(at, count)),
        1 => place().prop_map(Action::SwapRemove),
        6 => place().prop_map(Action::Set),
        1 => (place(), place()).prop_map(|(a, b)| Action::Swap(a, b)),
        5 => many().prop_map(Action::Extend),
        2 => place().prop_map(Action::Truncate),
        2 => place().prop_map(Action::KeepBehind),
        3 => (place(), place()).prop_map(|(a, b)| Action::Slice(a, b)),
        4 => (0..VERSIONS).prop_map(Action::Append),
        4 => (0..VERSIONS).prop_map(Action::Concat),
        5 => (place(), place()).prop_map(|(a, b)| Action::Drain(a, b)),
        4 => (place(), place(), many()).prop_map(|(a, b, count)| Action::Splice(a, b, count)),
        2 => (2..300_u32).prop_map(Action::Retain),
        1 => (2..300_u32).prop_map(Action::RetainMut),
        1 => (2..9_u32).prop_map(Action::Dedup),
        1 => Just(Action::AddToAll),
        1 => Just(Action::AddFromBothEnds),
        1 => Just(Action::AddByChunks),
        1 => Just(Action::Reverse),
        1 => Just(Action::SortDescending),
        1 => place().prop_map(Action::Rotate),
        2 => many().prop_map(Action::Resize),
        1 => few().prop_map(|_| Action::Rebuild),
        1 => Just(Action::Clear),
    ];
    let step = (0..VERSIONS, 0..VERSIONS, action).prop_map(|(from, to, action)| Step { from, to, action });
    prop::collection::vec(step, 1..40)
}

#[derive(Clone)]
struct Version<T> {
    list: List<T>,
    model: Vec<u32>,
}

fn numbers<'a, T: Element + 'a>(elements: impl IntoIterator<Item = &'a T>) -> Vec<u32> {
    elements.into_iter().map(T::number).collect()
}

/// What is removed is returned.
fn check_removed<T: Element>(removed: impl IntoIterator<Item = T>, model: impl IntoIterator<Item = u32>) {
    assert!(removed.into_iter().map(|element| element.number()).eq(model));
}

impl<T: Element> Version<T> {
    /// Returns an index up to the length.
    fn at(&self, place: Place) -> usize {
        (usize::from(place) * (self.model.len() + 1)) >> 16
    }

    fn range(&self, a: Place, b: Place) -> (usize, usize) {
        let (a, b) = (self.at(a), self.at(b));
        (a.min(b), a.max(b))
    }

    fn run(&mut self, action: &Action, others: &[Self], first: u32) {
        let new = |count: usize| (first..).take(count);
        let at_most = |count: usize, len: usize| 0..count.min(len);
        match *action {
            Action::Push(count) => new(count).for_each(|number| {
                self.list.push(T::new(number));
                self.model.push(number);
            }),
            Action::PushFront(count) => new(count).for_each(|number| {
                self.list.push_front(T::new(number));
                self.model.insert(0, number);
            }),
            Action::Pop(count) => (0..count).for_each(|_| {
                check_removed(self.list.pop(), self.model.pop());
            }),
            Action::PopFront(count) => {
                let count = at_most(count, self.model.len());
                count
                    .clone()
                    .for_each(|at| check_removed(self.list.pop_front(), [self.model[at]]));
                self.model.drain(count);
                if self.model.is_empty() {
                    assert_eq!(self.list.pop_front(), None);
                }
            }
            Action::Insert(place, count) => {
                let at = self.at(place);
                new(count).for_each(|number| self.list.insert(at, T::new(number)));
                self.model
                    .splice(at..at, new(count).collect::<Vec<_>>().into_iter().rev());
            }
            Action::Remove(place, count) => {
                let at = self.at(place);
                let count = at_most(count, self.model.len() - at).len();
                for number in self.model.drain(at..at + count) {
                    assert_eq!(self.list.remove(at).number(), number);
                }
            }
            Action::SwapRemove(place) => {
                let at = self.at(place);
                if at < self.model.len() {
                    assert_eq!(self.list.swap_remove(at).number(), self.model.swap_remove(at));
                }
            }
            Action::Set(place) => {
                let at = self.at(place);
                assert_eq!(self.list.get_mut(at).is_some(), at < self.model.len());
                if at < self.model.len() {
                    let old = self.list.replace(at, T::new(first));
                    assert_eq!(old.number(), mem::replace(&mut self.model[at], first));
                }
            }
            Action::Swap(a, b) => {
                let (a, b) = self.range(a, b);
                if b < self.model.len() {
                    self.list.swap(a, b);
                    self.model.swap(a, b);
                }
            }
            Action::Extend(count) => {
                self.list.extend(new(count).map(T::new));
                self.model.extend(new(count));
            }
            Action::Truncate(place) => {
                let at = self.at(place);
                self.list.truncate(at);
                self.model.truncate(at);
            }
            Action::KeepBehind(place) => {
                let at = self.at(place);
                let behind = self.list.split_off(at);
                let model = self.model.split_off(at);
                assert_eq!(numbers(&self.list), self.model);
                (self.list, self.model) = (behind, model);
            }
            Action::Slice(a, b) => {
                let (a, b) = self.range(a, b);
                self.list = self.list.slice(a..b);
                self.model = self.model[a..b].to_vec();
            }
            Action::Append(other) => {
                let other = &others[other];
                let mut list = other.list.clone();
                self.list.append(&mut list);
                assert!(list.is_empty());
                self.model.extend(&other.model);
            }
            Action::Concat(other) => {
                let other = &others[other];
                self.list = other.list.concat(&self.list);
                self.model.splice(0..0, other.model.iter().copied());
            }
            Action::Drain(a, b) => {
                let (a, b) = self.range(a, b);
                let removed = self.list.drain(a..b);
                assert_eq!(removed.len(), b - a);
                check_removed(removed, self.model.drain(a..b));
            }
            Action::Splice(a, b, count) => {
                let (a, b) = self.range(a, b);
                let removed = self.list.splice(a..b, new(count).map(T::new));
                check_removed(removed, self.model.splice(a..b, new(count)));
            }
            Action::Retain(each) => {
                self.list.retain(|element| !element.number().is_multiple_of(each));
                self.model.retain(|number| !number.is_multiple_of(each));
            }
            Action::RetainMut(each) => {
                self.list.retain_mut(|element| {
                    element.set(element.number() ^ 1);
                    element.number() % each > 0
                });
                self.model.retain_mut(|number| {
                    *number ^= 1;
                    *number % each > 0
                });
            }
            Action::Dedup(per) => {
                self.list.dedup_by_key(|element| element.number() / per);
                self.model.dedup_by_key(|number| *number / per);
                let mut twice = self
                    .list
                    .concat(&self.list.slice(self.list.len().saturating_sub(1)..));
                twice.dedup();
                assert_eq!(numbers(&twice), self.model);
            }
            Action::AddToAll => {
                self.list
                    .iter_mut()
                    .for_each(|element| element.set(element.number() + 1));
                self.model.iter_mut().for_each(|number| *number += 1);
            }
            Action::AddFromBothEnds => {
                let mut elements = self.list.iter_mut();
                let mut model = self.model.iter_mut();
                for turn in 0.. {
                    assert_eq!(elements.len(), model.len());
                    let (element, number) = match turn % 7 {
                        0..3 => (elements.next(), model.next()),
                        3 => (elements.nth(2), model.nth(2)),
                        _ => (elements.next_back(), model.next_back()),
                    };
                    assert_eq!(element.is_some(), number.is_some());
                    let (Some(element), Some(number)) = (element, number) else {
                        break;
                    };
                    *number += turn;
                    element.set(*number);
                }
            }
            Action::AddByChunks => {
                let mut chunks = self.list.chunks_mut();
                while let Some(chunk) = chunks.next() {
                    chunk
                        .iter_mut()
                        .for_each(|element| element.set(element.number() + 1));
                    let behind = chunks.next_back().unwrap_or_default();
                    behind
                        .iter_mut()
                        .for_each(|element| element.set(element.number() + 1));
                }
                self.model.iter_mut().for_each(|number| *number += 1);
            }
            Action::Reverse => {
                self.list.reverse();
                self.model.reverse();
            }
            Action::SortDescending => {
                self.list.sort_by(|a, b| b.cmp(a));
                self.model.sort_by(|a, b| b.cmp(a));
                let probe = T::new(first);
                assert_eq!(
                    self.list.binary_search_by(|element| probe.cmp(element)).is_ok(),
                    self.list.contains(&probe)
                );
            }
            Action::Rotate(place) => {
                let at = self.at(place);
                self.list.rotate_left(at);
                self.model.rotate_left(at);
            }
            Action::Resize(len) => {
                self.list.resize(len, T::new(first));
                self.model.resize(len, first);
            }
            Action::Rebuild => {
                let elements = Vec::from(mem::take(&mut self.list));
                self.list = elements.into();
            }
            Action::Clear => {
                self.list.clear();
                self.model.clear();
            }
        }
    }

    /// What holds for every version after every step.
    fn check(&self) {
        assert_eq!(self.list.len(), self.model.len());
        assert_eq!(numbers(self.list.chunks().flatten()), self.model);
    }

    /// What holds for the version that has just been written.
    fn check_all(&self) {
        let len = self.model.len();
        assert_eq!(self.list.is_empty(), len == 0);
        for (index, number) in self.model.iter().enumerate() {
            assert_eq!(self.list[index].number(), *number, "at {index}");
        }
        assert_eq!(self.list.get(len), None);
        assert!(
            self.list
                .iter()
                .rev()
                .map(T::number)
                .eq(self.model.iter().rev().copied())
        );
        let mut chunks = self.list.chunks();
        let mut backwards = Vec::new();
        while let Some(chunk) = chunks.next_back() {
            assert!(!chunk.is_empty());
            backwards.extend(chunk.iter().rev().map(T::number));
        }
        assert!(backwards.iter().rev().eq(&self.model));
        for start in [0, 1, len / 3, len / 2] {
            let range = start.min(len)..len - len / 5 - usize::from(len > 9);
            if range.start <= range.end {
                assert_eq!(
                    numbers(self.list.range(range.clone())),
                    &self.model[range.clone()]
                );
                assert_eq!(
                    self.list.range(range.clone()).nth(17).map(T::number),
                    self.model[range.clone()].get(17).copied()
                );
                let mut both = self.list.range(range.clone());
                let mut model = self.model[range].iter();
                for _ in 0..len {
                    assert_eq!(both.next().map(T::number), model.next().copied());
                    assert_eq!(both.next_back().map(T::number), model.next_back().copied());
                }
            }
        }
        let copy: List<T> = self.model.iter().copied().map(T::new).collect();
        assert!(copy == self.list && self.list == copy.to_vec());
        assert_eq!(hash(&copy), hash(&self.list));
        let clone = self.list.clone();
        assert!(clone.ptr_eq(&self.list) && (len == 0 || !self.list.is_unique()));
        assert_eq!(clone.own_bytes(), 0, "a clone owns nothing alone");
        assert!(
            clone
                .into_iter()
                .map(|element| element.number())
                .eq(self.model.iter().copied())
        );
    }
}

fn run<T: Element>(steps: &[Step]) {
    let mut versions = START_LENGTHS.map(|len| Version {
        list: (0..len).map(T::new).collect(),
        model: (0..len).collect(),
    });
    for (number, step) in steps.iter().enumerate() {
        let mut version = versions[step.from].clone();
        // Growth without end would only make the test slow.
        if version.model.len() < 5_000 || !matches!(step.action, Action::Append(_) | Action::Concat(_)) {
            version.run(&step.action, &versions, 1_000 * (number as u32 + 1));
        }
        version.check_all();
        let base = mem::replace(&mut versions[step.to], version);
        check_merge(&base, &versions[step.from], &versions[step.to]);
        check_merge(
            &versions[step.from],
            &versions[number % VERSIONS],
            &versions[step.to],
        );
        versions.iter().for_each(Version::check);
        check_pair(&versions[step.from], &versions[step.to]);
        check_pair(&versions[number % VERSIONS], &versions[step.to]);
    }
}

/// A step compares all versions, so each case is worth several.
fn config() -> ProptestConfig {
    let default = ProptestConfig::default();
    let cases = default.cases.min(64);
    ProptestConfig {
        cases,
        failure_persistence: None,
        ..default
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn small_elements(steps in steps()) {
        run::<Box<u32>>(&steps);
    }

    #[test]
    fn wide_elements(steps in steps()) {
        run::<Wide>(&steps);
    }
}

/// What was put before the base in one list may have been put behind it in the other, when both end with what the base is.
#[test]
fn one_change_that_is_told_in_two_ways_is_made_once() {
    let part = |len| Version::<Wide> {
        list: (0..len).map(Wide::new).collect(),
        model: (0..len).collect(),
    };
    let (base, mut ours) = (part(3), part(16));
    ours.run(&Action::Append(0), std::slice::from_ref(&base), 0);
    let mut theirs = ours.clone();
    theirs.run(&Action::Rebuild, &[], 0);
    check_merge(&base, &ours, &theirs);
    check_merge(&base, &theirs, &ours);
}

/// The lengths at which others' trees have failed, and those at which ours become higher.
#[test]
fn lengths_around_the_ends_of_nodes() {
    let lengths = [
        255, 256, 257, 1_023, 1_024, 1_025, 4_035, 4_095, 4_096, 4_097, 4_099, 65_535, 65_536, 65_537,
        100_000,
    ];
    for len in lengths {
        let mut version = Version::<Box<u32>> {
            list: (0..len).map(Box::new).collect(),
            model: (0..len).collect(),
        };
        version.check();
        let clone = version.clone();
        for (action, first) in [
            (Action::Push(2), 0),
            (Action::PushFront(2), 7),
            (Action::Insert(1 << 15, 2), 9),
        ] {
            version.run(&action, &[], first);
            version.check();
        }
        for at in [1, 255, 256, 257, len as usize / 2, len as usize - 1] {
            let mut list = version.list.clone();
            let behind = list.split_off(at.min(list.len()));
            assert!(list.iter().chain(&behind).eq(&version.list), "{len} cut at {at}");
            assert_eq!(
                behind.concat(&list).slice(behind.len()..),
                list,
                "{len} cut at {at}"
            );
            list.append(&mut behind.clone());
            assert_eq!(list, version.list, "{len} cut at {at}");
        }
        for index in (0..version.model.len()).step_by(97) {
            assert_eq!(*version.list[index], version.model[index]);
        }
        clone.check();
    }
}
