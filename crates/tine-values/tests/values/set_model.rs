//! Goal: a `Set` is the set it claims to be, its operators are those of std's, and versions do not see each other's writes.
//! Method: random operations on eight versions cloned from each other, and on a `BTreeSet` beside each; after each step
//! every version is compared with its model, and the one written is combined with another in every way. Versions begin
//! with hashers of their own, so that some that are combined share nodes and some cannot.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::hash::Hash;
use std::mem;

use proptest::prelude::*;
use tine_values::{Change, Set};

use crate::cases::cases;

const VERSIONS: usize = 8;

/// An element that owns memory, so that one lost or dropped twice shows under AddressSanitizer.
trait Element: Eq + Hash + Clone + Debug {
    fn new(number: u16) -> Self;
    fn number(&self) -> u16;
}

impl Element for Box<u16> {
    fn new(number: u16) -> Self {
        Box::new(number)
    }

    fn number(&self) -> u16 {
        **self
    }
}

/// An element so large that leaves hold few.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Large(Box<u16>, [u64; 15]);

impl Element for Large {
    fn new(number: u16) -> Self {
        Self(Box::new(number), [0; 15])
    }

    fn number(&self) -> u16 {
        *self.0
    }
}

#[derive(Clone, Debug)]
enum Action {
    Insert(u16),
    Replace(u16),
    Remove(u16),
    Take(u16),
    Extend(u16, u16),
    RemoveMany(u16, u16),
    Retain(u16),
    Extract(u16),
    ExtractSome(u16),
    Rebuild,
    Clear,
    Drain,
    Union,
    Intersect,
    Subtract,
    Differ,
    Merge,
}

/// An action on the version `from`, with `other`, that gives the version `to`.
#[derive(Clone, Debug)]
struct Step {
    from: usize,
    to: usize,
    other: usize,
    action: Action,
}

fn steps(numbers: u16) -> impl Strategy<Value = Vec<Step>> {
    let number = move || 0..numbers;
    let action = prop_oneof![
        3 => number().prop_map(Action::Insert),
        1 => number().prop_map(Action::Replace),
        2 => number().prop_map(Action::Remove),
        1 => number().prop_map(Action::Take),
        5 => (number(), number()).prop_map(|(a, b)| Action::Extend(a.min(b), a.max(b))),
        2 => (number(), number()).prop_map(|(a, b)| Action::RemoveMany(a.min(b), a.max(b))),
        1 => number().prop_map(Action::Retain),
        1 => number().prop_map(Action::Extract),
        1 => number().prop_map(Action::ExtractSome),
        1 => Just(Action::Rebuild),
        1 => Just(Action::Clear),
        1 => Just(Action::Drain),
        2 => Just(Action::Union),
        1 => Just(Action::Intersect),
        1 => Just(Action::Subtract),
        1 => Just(Action::Differ),
        2 => Just(Action::Merge),
    ];
    let step = (0..VERSIONS, 0..VERSIONS, 0..VERSIONS, action);
    let step = step.prop_map(|(from, to, other, action)| Step {
        from,
        to,
        other,
        action,
    });
    prop::collection::vec(step, 1..40)
}

#[derive(Clone)]
struct Version<T> {
    set: Set<T>,
    model: BTreeSet<u16>,
}

fn numbers<'a, T: Element + 'a>(elements: impl IntoIterator<Item = &'a T>) -> Vec<u16> {
    let mut numbers: Vec<_> = elements.into_iter().map(T::number).collect();
    numbers.sort_unstable();
    numbers
}

impl<T: Element> Version<T> {
    fn empty() -> Self {
        Self {
            set: Set::new(),
            model: BTreeSet::new(),
        }
    }

    fn run(&mut self, action: &Action, other: &Self, base: &Self) {
        let Self { set, model } = self;
        match *action {
            Action::Insert(number) => assert_eq!(set.insert(T::new(number)), model.insert(number)),
            Action::Replace(number) => {
                let old = set.replace(T::new(number)).map(|element| element.number());
                assert_eq!(old, model.replace(number));
            }
            Action::Remove(number) => assert_eq!(set.remove(&T::new(number)), model.remove(&number)),
            Action::Take(number) => {
                let taken = set.take(&T::new(number)).map(|element| element.number());
                assert_eq!(taken, model.take(&number));
            }
            Action::Extend(start, end) => {
                set.extend((start..end).step_by(2).map(T::new));
                model.extend((start..end).step_by(2));
            }
            Action::RemoveMany(start, end) => {
                for number in start..end {
                    assert_eq!(set.remove(&T::new(number)), model.remove(&number));
                }
            }
            Action::Retain(number) => {
                set.retain(|element| element.number() % 3 != number % 3);
                model.retain(|element| element % 3 != number % 3);
            }
            Action::Extract(number) => {
                let taken = set.extract_if(|element| element.number() % 3 == number % 3);
                let taken: Vec<_> = taken.collect();
                let expected = model.extract_if(.., |element| element % 3 == number % 3);
                assert!(expected.eq(numbers(&taken)));
            }
            Action::ExtractSome(number) => {
                // Whatever order they come in, and though nobody asks for all.
                let taken = set.extract_if(|element| element.number() % 2 == 0);
                for element in taken.take(usize::from(number % 9)) {
                    assert!(element.number().is_multiple_of(2) && model.remove(&element.number()));
                }
            }
            Action::Rebuild => *set = mem::take(set).into_iter().collect(),
            Action::Clear => {
                set.clear();
                model.clear();
            }
            Action::Drain => {
                let drained: Vec<_> = set.drain().collect();
                assert!(numbers(&drained).into_iter().eq(mem::take(model)));
            }
            Action::Union => (*set, *model) = (&*set | &other.set, &*model | &other.model),
            Action::Intersect => (*set, *model) = (&*set & &other.set, &*model & &other.model),
            Action::Subtract => (*set, *model) = (&*set - &other.set, &*model - &other.model),
            Action::Differ => (*set, *model) = (&*set ^ &other.set, &*model ^ &other.model),
            Action::Merge => {
                *set = base.set.merge(set, &other.set);
                let removed = &base.model - &other.model;
                *model = &(&*model - &removed) | &(&other.model - &base.model);
            }
        }
    }

    fn check(&self) {
        assert_eq!(self.set.len(), self.model.len());
        assert!(numbers(&self.set).iter().eq(&self.model));
        assert!(self.model.is_empty() != (self.set.own_bytes() + self.set.shared_bytes() > 0));
    }

    fn check_closely(&self, numbers: u16) {
        for number in 0..numbers {
            let element = T::new(number);
            let is_there = self.model.contains(&number);
            assert_eq!(self.set.contains(&element), is_there);
            assert_eq!(self.set.get(&element), is_there.then_some(&element));
        }
    }

    fn check_pair(&self, other: &Self) {
        let (a, b) = (&self.set, &other.set);
        let (x, y) = (&self.model, &other.model);
        assert!(numbers(a.union(b)).iter().eq(x.union(y)));
        assert!(numbers(a.intersection(b)).iter().eq(x.intersection(y)));
        assert!(numbers(a.difference(b)).iter().eq(x.difference(y)));
        let differences = numbers(a.symmetric_difference(b));
        assert!(differences.iter().eq(x.symmetric_difference(y)));
        assert_eq!(a.is_subset(b), x.is_subset(y));
        assert_eq!(a.is_superset(b), x.is_superset(y));
        assert_eq!(a.is_disjoint(b), x.is_disjoint(y));
        assert_eq!(a == b, x == y);
        for change in a.diff(b) {
            let number = change.key().number();
            match change {
                Change::Added { .. } => assert!(y.contains(&number) && !x.contains(&number)),
                Change::Removed { .. } => assert!(x.contains(&number) && !y.contains(&number)),
                Change::Changed { .. } => unreachable!("an element is there or not"),
            }
        }
        assert_eq!(a.diff(b).count(), differences.len());
    }
}

fn versions_follow_their_models<T: Element>(steps: &[Step], numbers: u16) {
    let mut versions: [Version<T>; VERSIONS] = std::array::from_fn(|_| Version::empty());
    for step in steps {
        let mut version = versions[step.from].clone();
        version.run(&step.action, &versions[step.other], &versions[step.to]);
        versions[step.to] = version;
        versions.iter().for_each(Version::check);
        versions[step.to].check_closely(numbers);
        versions[step.to].check_pair(&versions[step.other]);
    }
}

proptest! {
    #![proptest_config(cases(64))]

    #[test]
    fn sets_of_small_elements_follow_their_models(steps in steps(1_500)) {
        versions_follow_their_models::<Box<u16>>(&steps, 1_500);
    }

    #[test]
    fn sets_of_large_elements_follow_their_models(steps in steps(300)) {
        versions_follow_their_models::<Large>(&steps, 300);
    }
}
