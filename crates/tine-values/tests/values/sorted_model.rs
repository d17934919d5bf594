//! Goal: a `SortedMap` is the map it claims to be, and no version ever sees another's writes.
//! Method: random operations on eight versions that are cloned from each other, and on std's maps beside them; after
//! each step *every* version is compared with its model, and the one that was written with all others.
//!
//! Two sorts of values: small ones, of which a leaf holds dozens, and large ones, four to a leaf, so that a few hundred
//! make a tree of several levels. Both are boxed, so that one lost or dropped twice shows under AddressSanitizer.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::ops::Bound;

use proptest::prelude::*;
use tine_values::{Change, Conflict, SortedMap, SortedSet};

use crate::cases::cases;

const VERSIONS: usize = 8;

type Key = Box<u16>;

trait Value: Clone + PartialEq + Debug {
    fn new(number: u32) -> Self;
}

impl Value for Box<u32> {
    fn new(number: u32) -> Self {
        Box::new(number)
    }
}

/// Four to a leaf.
#[derive(Clone, PartialEq, Debug)]
struct Large {
    number: Box<u32>,
    room: [u64; 31],
}

impl Value for Large {
    fn new(number: u32) -> Self {
        Self {
            number: Box::new(number),
            room: [0; 31],
        }
    }
}

/// What to do to version `to`, after it has become a clone of `from`.
#[derive(Clone, Debug)]
struct Step {
    from: usize,
    to: usize,
    action: Action,
}

#[derive(Clone, Debug)]
enum Action {
    Insert(u16),
    Remove(u16),
    InsertRun(u16, u16),
    InsertRunBackwards(u16, u16),
    Extend(Vec<u16>),
    Collect(Vec<u16>),
    ExtractRange(u16, u16),
    Retain(u16),
    PopFirst(u16),
    PopLast(u16),
    Entry(u16),
    InsertEntry(u16),
    FirstAndLastEntry,
    RangeMut(Bound<u16>, Bound<u16>),
    IterMut(usize, usize),
    SplitOff(u16, u16),
    Append(usize),
    IntoIter(usize, usize),
    Clear,
}

fn steps(keys: u16) -> impl Strategy<Value = Vec<Step>> {
    let key = move || 0..keys;
    let few = move || 0..keys / 4;
    let bound = move || {
        prop_oneof![
            key().prop_map(Bound::Included),
            key().prop_map(Bound::Excluded),
            Just(Bound::Unbounded)
        ]
    };
    let action = prop_oneof![
        4 => key().prop_map(Action::Insert),
        4 => key().prop_map(Action::Remove),
        4 => (key(), few()).prop_map(|(first, count)| Action::InsertRun(first, count)),
        2 => (key(), few()).prop_map(|(first, count)| Action::InsertRunBackwards(first, count)),
        4 => prop::collection::vec(key(), 0..200).prop_map(Action::Extend),
        1 => prop::collection::vec(key(), 0..200).prop_map(Action::Collect),
        3 => (key(), few()).prop_map(|(first, count)| Action::ExtractRange(first, count)),
        1 => (2..5_u16).prop_map(Action::Retain),
        1 => few().prop_map(Action::PopFirst),
        1 => few().prop_map(Action::PopLast),
        2 => key().prop_map(Action::Entry),
        2 => key().prop_map(Action::InsertEntry),
        1 => Just(Action::FirstAndLastEntry),
        2 => (bound(), bound()).prop_map(|(from, to)| Action::RangeMut(from, to)),
        1 => (0..200_usize, 0..200_usize).prop_map(|(front, back)| Action::IterMut(front, back)),
        3 => (key(), few()).prop_map(|(at, removed)| Action::SplitOff(at, removed)),
        1 => (0..VERSIONS).prop_map(Action::Append),
        1 => (0..200_usize, 0..200_usize).prop_map(|(front, back)| Action::IntoIter(front, back)),
        1 => Just(Action::Clear),
    ];
    let step = (0..VERSIONS, 0..VERSIONS, action).prop_map(|(from, to, action)| Step { from, to, action });
    prop::collection::vec(step, 1..30)
}

#[derive(Clone)]
struct Version<V> {
    map: SortedMap<Key, V>,
    model: BTreeMap<Key, V>,
}

impl<V: Value> Version<V> {
    fn run(&mut self, action: &Action, other: &Self, number: u32) {
        let Self { map, model } = self;
        let mut numbers = number..;
        let mut entry = |key: u16| (Box::new(key), V::new(numbers.next().unwrap()));
        match *action {
            Action::Insert(key) => {
                let (key, value) = entry(key);
                assert_eq!(map.insert(key.clone(), value.clone()), model.insert(key, value));
            }
            Action::Remove(key) => assert_eq!(map.remove_entry(&key), model.remove_entry(&key)),
            Action::InsertRun(first, count) => {
                for key in first..first + count {
                    let (key, value) = entry(key);
                    assert_eq!(map.insert(key.clone(), value.clone()), model.insert(key, value));
                }
            }
            Action::InsertRunBackwards(first, count) => {
                for key in (first..first + count).rev() {
                    let (key, value) = entry(key);
                    assert_eq!(map.insert(key.clone(), value.clone()), model.insert(key, value));
                }
            }
            Action::Extend(ref keys) => {
                let entries: Vec<_> = keys.iter().map(|&key| entry(key)).collect();
                map.extend(entries.clone());
                model.extend(entries);
            }
            Action::Collect(ref keys) => {
                let entries: Vec<_> = keys.iter().map(|&key| entry(key)).collect();
                *map = entries.iter().cloned().collect();
                *model = entries.into_iter().collect();
            }
            Action::ExtractRange(first, count) => {
                let (from, to) = (Box::new(first), Box::new(first + count));
                let taken = |key: &Key, _: &mut V| !key.is_multiple_of(3);
                let ours: Vec<_> = map.extract_if(from.clone()..to.clone(), taken).collect();
                let theirs: Vec<_> = model.extract_if(from..to, taken).collect();
                assert_eq!(ours, theirs);
            }
            Action::Retain(divisor) => {
                map.retain(|key, _| !key.is_multiple_of(divisor));
                model.retain(|key, _| !key.is_multiple_of(divisor));
            }
            Action::PopFirst(count) => {
                (0..count).for_each(|_| assert_eq!(map.pop_first(), model.pop_first()));
            }
            Action::PopLast(count) => {
                (0..count).for_each(|_| assert_eq!(map.pop_last(), model.pop_last()));
            }
            Action::Entry(key) => {
                let (key, value) = entry(key);
                let (_, next) = entry(0);
                let modify = |value: &mut V| *value = next.clone();
                let ours = map.entry(key.clone()).and_modify(modify).or_insert(value.clone());
                let theirs = model.entry(key).and_modify(modify).or_insert(value);
                assert_eq!(ours, theirs);
            }
            Action::InsertEntry(key) => {
                let (key, value) = entry(key);
                let (_, next) = entry(0);
                let mut ours = map.entry(key.clone()).insert_entry(value.clone());
                let mut theirs = model.entry(key).insert_entry(value);
                assert_eq!((ours.key(), ours.get()), (theirs.key(), theirs.get()));
                assert_eq!(ours.insert(next.clone()), theirs.insert(next));
            }
            Action::FirstAndLastEntry => {
                for at_end in [false, true] {
                    let ours = if at_end {
                        map.last_entry()
                    } else {
                        map.first_entry()
                    };
                    let theirs = if at_end {
                        model.last_entry()
                    } else {
                        model.first_entry()
                    };
                    assert_eq!(ours.is_some(), theirs.is_some());
                    if let (Some(mut ours), Some(mut theirs)) = (ours, theirs) {
                        let (_, value) = entry(0);
                        assert_eq!(ours.insert(value.clone()), theirs.insert(value));
                        assert_eq!(ours.remove_entry(), theirs.remove_entry());
                    }
                }
            }
            Action::RangeMut(from, to) => {
                let (from, to) = in_order(from, to);
                let ours = map.range_mut((from, to));
                let theirs = model.range_mut((from, to));
                for ((key, ours), (their_key, theirs)) in ours.zip(theirs) {
                    assert_eq!((key, &*ours), (their_key, &*theirs));
                    let (_, value) = entry(0);
                    *ours = value.clone();
                    *theirs = value;
                }
            }
            Action::IterMut(front, back) => {
                let (mut ours, mut theirs) = (map.iter_mut(), model.iter_mut());
                let mut set = |ours: Option<(&Key, &mut V)>, theirs: Option<(&Key, &mut V)>| {
                    assert_eq!(ours, theirs);
                    let (_, value) = entry(0);
                    if let (Some((_, ours)), Some((_, theirs))) = (ours, theirs) {
                        *ours = value.clone();
                        *theirs = value;
                    }
                };
                (0..front).for_each(|_| set(ours.next(), theirs.next()));
                (0..back).for_each(|_| set(ours.next_back(), theirs.next_back()));
                assert_eq!(ours.len(), theirs.len());
            }
            Action::SplitOff(at, removed) => {
                let (mut ours, mut theirs) = (map.split_off(&at), model.split_off(&at));
                assert!(ours.iter().eq(&theirs) && map.iter().eq(model.iter()));
                for key in at..at + removed {
                    assert_eq!(ours.remove(&key), theirs.remove(&key));
                }
                map.append(&mut ours);
                model.append(&mut theirs);
                assert!(ours.is_empty());
            }
            Action::Append(_) => {
                map.append(&mut other.map.clone());
                model.append(&mut other.model.clone());
            }
            Action::IntoIter(front, back) => {
                let (mut ours, mut theirs) = (map.clone().into_iter(), model.clone().into_iter());
                if front.is_multiple_of(2) {
                    // One whose nodes are its own.
                    ours = map.clone().into_iter().collect::<SortedMap<_, _>>().into_iter();
                }
                (0..front).for_each(|_| assert_eq!(ours.next(), theirs.next()));
                (0..back).for_each(|_| assert_eq!(ours.next_back(), theirs.next_back()));
                assert_eq!(ours.len(), theirs.len());
                assert!(ours.eq(theirs));
            }
            Action::Clear => {
                map.clear();
                model.clear();
            }
        }
    }

    fn check(&self) {
        let Self { map, model } = self;
        assert_eq!(map.len(), model.len());
        assert!(map.iter().eq(model));
    }

    /// What costs more to check.
    fn check_closely(&self, keys: u16) {
        let Self { map, model } = self;
        assert!(map.iter().rev().eq(model.iter().rev()));
        assert!(map.keys().eq(model.keys()) && map.values().rev().eq(model.values().rev()));
        assert_eq!(map.first_key_value(), model.first_key_value());
        assert_eq!(map.last_key_value(), model.last_key_value());
        for key in 0..keys {
            assert_eq!(map.get_key_value(&key), model.get_key_value(&key));
        }
        let bounds = [
            (Bound::Included(keys / 5), Bound::Excluded(keys / 2)),
            (Bound::Excluded(keys / 7), Bound::Included(keys / 3 * 2)),
            (Bound::Unbounded, Bound::Included(keys / 2)),
            (Bound::Excluded(keys / 3), Bound::Unbounded),
            (Bound::Included(keys / 2), Bound::Excluded(keys / 2)),
        ];
        for bounds in bounds {
            let (mut ours, mut theirs) = (map.range(bounds), model.range(bounds));
            assert!(ours.clone().eq(theirs.clone()));
            assert!(ours.clone().rev().eq(theirs.clone().rev()));
            assert_eq!(ours.clone().count(), ours.clone().fold(0, |count, _| count + 1));
            while let Some(entry) = theirs.next() {
                assert_eq!(ours.next(), Some(entry));
                assert_eq!(ours.next_back(), theirs.next_back());
            }
            assert_eq!((ours.next(), ours.next_back()), (None, None));
        }
        assert_eq!(map.iter().fold(0, |count, _| count + 1), model.len());
    }

    fn merged(&self, ours: &Self, theirs: &Self) -> BTreeMap<Key, V> {
        let mut merged = ours.model.clone();
        let keys: BTreeSet<_> = self.model.keys().chain(theirs.model.keys()).collect();
        for key in keys {
            let [base, ours, theirs] = [self, ours, theirs].map(|version| version.model.get(key));
            if base == theirs || ours == theirs {
                continue;
            }
            let value = if base == ours {
                theirs.cloned()
            } else {
                ours.and(theirs).cloned()
            };
            match value {
                Some(value) => merged.insert(key.clone(), value),
                None => merged.remove(key),
            };
        }
        merged
    }

    fn differences<'a>(&'a self, other: &'a Self) -> Vec<Change<'a, Key, V>> {
        let (ours, theirs) = (&self.model, &other.model);
        let mut keys: Vec<_> = ours.keys().chain(theirs.keys()).collect();
        keys.sort();
        keys.dedup();
        let change = |key| match (ours.get(key), theirs.get(key)) {
            (Some(old), Some(new)) if old == new => None,
            (Some(old), Some(new)) => Some(Change::Changed { key, old, new }),
            (Some(value), None) => Some(Change::Removed { key, value }),
            (None, Some(value)) => Some(Change::Added { key, value }),
            (None, None) => None,
        };
        keys.into_iter().filter_map(change).collect()
    }
}

/// Removes what either side removed, and otherwise takes theirs.
fn resolve<V: Clone>(conflict: Conflict<'_, Key, V>) -> Option<V> {
    conflict.ours.and(conflict.theirs).cloned()
}

fn in_order(from: Bound<u16>, to: Bound<u16>) -> (Bound<u16>, Bound<u16>) {
    let (Bound::Included(start) | Bound::Excluded(start), Bound::Included(end) | Bound::Excluded(end)) =
        (from, to)
    else {
        return (from, to);
    };
    if start == end {
        return (Bound::Included(start), to);
    }
    if start < end { (from, to) } else { (to, from) }
}

fn versions_follow_their_models<V: Value>(steps: &[Step], keys: u16) {
    let empty = Version::<V> {
        map: SortedMap::new(),
        model: BTreeMap::new(),
    };
    let mut versions = vec![empty; VERSIONS];
    for (number, step) in (0..).step_by(10_000).zip(steps) {
        let mut version = versions[step.from].clone();
        let other = match step.action {
            Action::Append(other) => other,
            _ => 0,
        };
        version.run(&step.action, &versions[other], number);
        version.check_closely(keys);
        versions[step.to] = version;
        let version = &versions[step.to];
        for other in &versions {
            other.check();
            let found: Vec<_> = version.map.diff(&other.map).collect();
            assert_eq!(found, version.differences(other));
            assert_eq!(version.map == other.map, version.model == other.model);
            let base = &versions[step.from];
            let merged = base.map.merge(&version.map, &other.map, resolve);
            assert!(merged.iter().eq(&base.merged(version, other)));
            let united = version.map.union_with(&other.map, |_, ours, _| ours.clone());
            let mut model = other.model.clone();
            model.extend(version.model.clone());
            assert!(united.iter().eq(&model));
        }
    }
    // What was built on the way is what is built at once.
    for version in &versions {
        let built: SortedMap<_, _> = version.model.clone().into_iter().collect();
        assert!(built == version.map);
    }
}

/// What to do to set `to`, after it has become a clone of `from`.
#[derive(Clone, Debug)]
enum SetAction {
    Insert(u16),
    Replace(u16),
    Remove(u16),
    Run(u16, u16),
    Retain(u16),
    ExtractRange(u16, u16),
    PopBoth,
    Or(usize),
    And(usize),
    Sub(usize),
    Xor(usize),
    SplitOff(u16),
    Append(usize),
}

fn set_steps(keys: u16) -> impl Strategy<Value = Vec<(usize, usize, SetAction)>> {
    let key = move || 0..keys;
    let count = move || prop_oneof![0..10_u16, 0..keys];
    let action = prop_oneof![
        3 => key().prop_map(SetAction::Insert),
        1 => key().prop_map(SetAction::Replace),
        3 => key().prop_map(SetAction::Remove),
        5 => (key(), count()).prop_map(|(first, count)| SetAction::Run(first, count)),
        1 => (2..5_u16).prop_map(SetAction::Retain),
        2 => (key(), count()).prop_map(|(first, count)| SetAction::ExtractRange(first, count)),
        1 => Just(SetAction::PopBoth),
        1 => (0..VERSIONS).prop_map(SetAction::Or),
        1 => (0..VERSIONS).prop_map(SetAction::And),
        1 => (0..VERSIONS).prop_map(SetAction::Sub),
        1 => (0..VERSIONS).prop_map(SetAction::Xor),
        1 => key().prop_map(SetAction::SplitOff),
        1 => (0..VERSIONS).prop_map(SetAction::Append),
    ];
    prop::collection::vec((0..VERSIONS, 0..VERSIONS, action), 1..30)
}

type Sets = (SortedSet<Key>, BTreeSet<Key>);

fn run_on_set((set, model): &mut Sets, action: &SetAction, others: &[Sets]) {
    match *action {
        SetAction::Insert(key) => assert_eq!(set.insert(Box::new(key)), model.insert(Box::new(key))),
        SetAction::Replace(key) => assert_eq!(set.replace(Box::new(key)), model.replace(Box::new(key))),
        SetAction::Remove(key) => assert_eq!(set.take(&key), model.take(&key)),
        SetAction::Run(first, count) => {
            set.extend((first..first + count).map(Box::new));
            model.extend((first..first + count).map(Box::new));
        }
        SetAction::Retain(divisor) => {
            set.retain(|key| !key.is_multiple_of(divisor));
            model.retain(|key| !key.is_multiple_of(divisor));
        }
        SetAction::ExtractRange(first, count) => {
            let range = Box::new(first)..=Box::new(first + count);
            let ours: Vec<_> = set.extract_if(range.clone(), |key| **key % 3 > 0).collect();
            let theirs: Vec<_> = model.extract_if(range, |key| **key % 3 > 0).collect();
            assert_eq!(ours, theirs);
        }
        SetAction::PopBoth => {
            assert_eq!(
                (set.pop_first(), set.pop_last()),
                (model.pop_first(), model.pop_last())
            );
        }
        SetAction::Or(other) => (*set, *model) = (&*set | &others[other].0, &*model | &others[other].1),
        SetAction::And(other) => (*set, *model) = (&*set & &others[other].0, &*model & &others[other].1),
        SetAction::Sub(other) => (*set, *model) = (&*set - &others[other].0, &*model - &others[other].1),
        SetAction::Xor(other) => (*set, *model) = (&*set ^ &others[other].0, &*model ^ &others[other].1),
        SetAction::SplitOff(key) => {
            let (ours, theirs) = (set.split_off(&key), model.split_off(&key));
            assert!(ours.iter().eq(&theirs));
        }
        SetAction::Append(other) => {
            set.append(&mut others[other].0.clone());
            model.append(&mut others[other].1.clone());
        }
    }
}

fn check_pair((one, one_model): &Sets, (other, other_model): &Sets) {
    assert!(one.union(other).eq(one_model.union(other_model)));
    assert!(one.intersection(other).eq(one_model.intersection(other_model)));
    assert!(one.difference(other).eq(one_model.difference(other_model)));
    assert!(
        one.symmetric_difference(other)
            .eq(one_model.symmetric_difference(other_model))
    );
    assert!((one | other).iter().eq(&(one_model | other_model)));
    assert!((one & other).iter().eq(&(one_model & other_model)));
    assert!((one - other).iter().eq(&(one_model - other_model)));
    assert!((one ^ other).iter().eq(&(one_model ^ other_model)));
    assert_eq!(one.is_subset(other), one_model.is_subset(other_model));
    assert_eq!(one.is_superset(other), one_model.is_superset(other_model));
    assert_eq!(one.is_disjoint(other), one_model.is_disjoint(other_model));
    assert_eq!(one == other, one_model == other_model);
    assert_eq!(one.cmp(other), one_model.cmp(other_model));
    assert!(
        one.diff(other)
            .map(|change| change.key())
            .eq(one_model.symmetric_difference(other_model))
    );
}

proptest! {
    #![proptest_config(cases(64))]

    #[test]
    fn versions_of_small_values_follow_their_models(steps in steps(900)) {
        versions_follow_their_models::<Box<u32>>(&steps, 900);
    }

    #[test]
    fn versions_of_large_values_follow_their_models(steps in steps(300)) {
        versions_follow_their_models::<Large>(&steps, 300);
    }

    #[test]
    fn sets_follow_their_models(steps in set_steps(1_500)) {
        let mut sets = vec![Sets::default(); VERSIONS];
        for (from, to, action) in &steps {
            let mut written = sets[*from].clone();
            run_on_set(&mut written, action, &sets);
            sets[*to] = written;
            for other in &sets {
                prop_assert!(other.0.len() == other.1.len() && other.0.iter().eq(&other.1));
                check_pair(&sets[*to], other);
            }
        }
    }
}
