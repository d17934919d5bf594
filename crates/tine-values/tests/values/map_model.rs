//! Goal: a `Map` is the map it claims to be, and no version ever sees another's writes.
//! Method: random operations on eight versions that are cloned from each other, and on a `BTreeMap` beside each;
//! after each step *every* version is compared with its model, and two or three of them with each other. With good hashes
//! and with bad ones, and with entries so large that leaves hold few of them.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::hash::{BuildHasher, BuildHasherDefault, Hasher};
use std::sync::Arc;

use proptest::prelude::*;
use tine_values::map::{DefaultHashBuilder, Entry};
use tine_values::{Change, Conflict, Map};

use crate::cases::cases;

const VERSIONS: usize = 8;

/// Boxed, so that a key or value lost or dropped twice shows under AddressSanitizer and valgrind.
type Key = Box<u16>;

/// A number in a box, in an entry of `PAD` more words.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Value<const PAD: usize>(Box<u32>, [u64; PAD]);

impl<const PAD: usize> From<u32> for Value<PAD> {
    fn from(number: u32) -> Self {
        Self(Box::new(number), [0; PAD])
    }
}

/// What a map multiplies hashes with, the other way round: a hash times this leads where the hash says.
const UNSPREAD: u64 = 0xf1de_83e1_9937_733d;

/// Hashes integers to what `hash` makes of them.
#[derive(Clone, Default)]
struct Bad<F>(u64, F);

impl<F: Fn(u64) -> u64> Hasher for Bad<F> {
    fn finish(&self) -> u64 {
        (self.1)(self.0).wrapping_mul(UNSPREAD)
    }
    fn write(&mut self, bytes: &[u8]) {
        bytes
            .iter()
            .for_each(|&byte| self.0 = self.0 << 8 | u64::from(byte));
    }
    fn write_u16(&mut self, number: u16) {
        self.0 = u64::from(number);
    }
}

#[derive(Clone, Default)]
struct AllAlike;
#[derive(Clone, Default)]
struct FewValues;
#[derive(Clone, Default)]
struct OneWay;
#[derive(Clone, Default)]
struct LateWay;

macro_rules! hash_as {
    ($builder:ident, $hash:expr) => {
        impl BuildHasher for $builder {
            type Hasher = Bad<fn(u64) -> u64>;
            fn build_hasher(&self) -> Self::Hasher {
                Bad(0, $hash)
            }
        }
    };
}

// Nothing ever splits.
hash_as!(AllAlike, |_| 7);
// Seven hashes, that part early and late.
hash_as!(FewValues, |key| [
    0,
    1,
    1 << 31,
    1 << 32,
    1 << 33,
    1 << 63,
    u64::MAX
][key as usize % 7]);
// All different, but only where no way is chosen any more.
hash_as!(OneWay, |key| key);
// All different, at the last ways that are chosen.
hash_as!(LateWay, |key| key << 30);

/// What to do to version `to`, after it has become a clone of `from`. Numbers are scaled to the universe.
#[derive(Clone, Debug)]
struct Step {
    from: usize,
    to: usize,
    other: usize,
    action: Action,
}

#[derive(Clone, Debug)]
enum Action {
    Insert(u16),
    Remove(u16),
    RemoveEntry(u16),
    GetMut(u16),
    GetDisjointMut(u16, u16),
    EntryOr(u16),
    EntryModify(u16),
    EntryRemove(u16),
    Extend(u16, u16),
    RemoveMany(u16, u16),
    Retain(u16),
    ExtractSome(u16, usize),
    IterMut,
    Clear,
    Drain(usize),
    Rebuild,
    Union,
    Merge,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let key = any::<u16>;
    let action = prop_oneof![
        4 => key().prop_map(Action::Insert),
        3 => key().prop_map(Action::Remove),
        1 => key().prop_map(Action::RemoveEntry),
        2 => key().prop_map(Action::GetMut),
        1 => (key(), key()).prop_map(|(a, b)| Action::GetDisjointMut(a, b)),
        1 => key().prop_map(Action::EntryOr),
        1 => key().prop_map(Action::EntryModify),
        1 => key().prop_map(Action::EntryRemove),
        4 => (key(), key()).prop_map(|(a, b)| Action::Extend(a, b)),
        3 => (key(), key()).prop_map(|(a, b)| Action::RemoveMany(a, b)),
        1 => key().prop_map(Action::Retain),
        1 => (key(), 0..100_usize).prop_map(|(key, count)| Action::ExtractSome(key, count)),
        1 => Just(Action::IterMut),
        1 => Just(Action::Clear),
        1 => (0..100_usize).prop_map(Action::Drain),
        1 => Just(Action::Rebuild),
        2 => Just(Action::Union),
        2 => Just(Action::Merge),
    ];
    let version = || 0..VERSIONS;
    let step = (version(), version(), version(), action).prop_map(|(from, to, other, action)| Step {
        from,
        to,
        other,
        action,
    });
    prop::collection::vec(step, 1..40)
}

#[derive(Clone, Default)]
struct Version<S, const PAD: usize> {
    map: Map<Key, Value<PAD>, S>,
    model: BTreeMap<u16, u32>,
}

fn number<const PAD: usize>(value: &Value<PAD>) -> u32 {
    *value.0
}

impl<S: BuildHasher + Clone + Default, const PAD: usize> Version<S, PAD> {
    fn run(&mut self, action: &Action, size: u16, value: u32, other: &Self, base: &Self) {
        let Self { map, model } = self;
        let scaled = |key: u16| key % size;
        // Every third key from one to the other, in an order that is not theirs.
        let many = |a: u16, b: u16| {
            let (first, last) = (scaled(a).min(scaled(b)), scaled(a).max(scaled(b)));
            (first..=last).rev().step_by(3)
        };
        match *action {
            Action::Insert(key) => {
                let key = scaled(key);
                let old = map.insert(Box::new(key), value.into());
                assert_eq!(old.as_ref().map(number), model.insert(key, value));
            }
            Action::Remove(key) => {
                let key = scaled(key);
                assert_eq!(map.remove(&key).as_ref().map(number), model.remove(&key));
            }
            Action::RemoveEntry(key) => {
                let key = scaled(key);
                let old = map.remove_entry(&key).map(|(key, value)| (*key, number(&value)));
                assert_eq!(old, model.remove_entry(&key));
            }
            Action::GetMut(key) => {
                let key = scaled(key);
                let (found, expected) = (map.get_mut(&key), model.get_mut(&key));
                assert_eq!(found.is_some(), expected.is_some());
                if let (Some(found), Some(expected)) = (found, expected) {
                    assert_eq!(number(found), *expected);
                    (*found.0, *expected) = (value, value);
                }
            }
            Action::GetDisjointMut(a, b) => {
                let (a, b) = (scaled(a), scaled(b));
                if a == b {
                    return;
                }
                let found = map.get_disjoint_mut([&a, &b]);
                for (key, found) in [a, b].into_iter().zip(found) {
                    assert_eq!(found.as_deref().map(number), model.get(&key).copied());
                    if let Some(found) = found {
                        *found.0 = value + u32::from(key);
                        model.insert(key, value + u32::from(key));
                    }
                }
            }
            Action::EntryOr(key) => {
                let key = scaled(key);
                let found = map
                    .entry(Box::new(key))
                    .or_insert_with_key(|key| u32::from(**key).into());
                let expected = model.entry(key).or_insert_with_key(|key| u32::from(*key));
                assert_eq!(number(found), *expected);
                (*found.0, *expected) = (value, value);
            }
            Action::EntryModify(key) => {
                let key = scaled(key);
                let entry = map.entry(Box::new(key)).and_modify(|found| *found.0 += 1);
                assert_eq!(**entry.key(), key);
                let entry = entry.insert_entry(value.into());
                assert_eq!((**entry.key(), number(entry.get())), (key, value));
                model.insert(key, value);
            }
            Action::EntryRemove(key) => {
                let key = scaled(key);
                let old = match map.entry(Box::new(key)) {
                    Entry::Occupied(mut entry) => {
                        let old = entry.insert(value.into());
                        assert_eq!(number(&entry.remove()), value);
                        Some(number(&old))
                    }
                    Entry::Vacant(entry) => {
                        assert_eq!(*entry.into_key(), key);
                        None
                    }
                };
                assert_eq!(old, model.remove(&key));
            }
            Action::Extend(a, b) => {
                map.extend(many(a, b).map(|key| (Box::new(key), value.into())));
                model.extend(many(a, b).map(|key| (key, value)));
            }
            Action::RemoveMany(a, b) => {
                for key in many(a, b) {
                    assert_eq!(map.remove(&key).as_ref().map(number), model.remove(&key));
                }
            }
            Action::Retain(key) => {
                let modulus = 2 + key % 5;
                map.retain(|key, value| {
                    *value.0 += 1;
                    **key % modulus == 0
                });
                model.retain(|key, value| {
                    *value += 1;
                    key % modulus == 0
                });
            }
            Action::ExtractSome(key, count) => {
                let modulus = 2 + key % 5;
                let taken: Vec<_> = map
                    .extract_if(|key, _| **key % modulus == 1)
                    .take(count)
                    .collect();
                for (key, value) in taken {
                    assert!(*key % modulus == 1);
                    assert_eq!(model.remove(&key), Some(number(&value)));
                }
            }
            Action::IterMut => {
                let before = map.len();
                let mut seen = 0;
                for (key, found) in &mut *map {
                    seen += 1;
                    *found.0 = value ^ u32::from(**key);
                }
                assert_eq!(seen, before);
                model
                    .iter_mut()
                    .for_each(|(key, found)| *found = value ^ u32::from(*key));
                map.values_mut().for_each(|found| *found.0 ^= 1);
                model.values_mut().for_each(|found| *found ^= 1);
            }
            Action::Clear => {
                map.clear();
                model.clear();
            }
            Action::Drain(count) => {
                let drained: Vec<_> = map.drain().take(count).collect();
                assert_eq!(drained.len(), count.min(model.len()));
                for (key, value) in drained {
                    assert_eq!(model.remove(&key), Some(number(&value)));
                }
                model.clear();
            }
            Action::Rebuild => {
                let keys = map.clone().into_keys();
                assert_eq!(keys.len(), model.len());
                let values = map.clone().into_values();
                *map = keys.zip(values).collect();
            }
            Action::Union => {
                let both = |key: &Key, a: &Value<PAD>, b: &Value<PAD>| {
                    assert_ne!(a, b);
                    (number(a) ^ number(b) ^ u32::from(**key)).into()
                };
                *map = map.union_with(&other.map, both);
                for (&key, &theirs) in &other.model {
                    let ours = model.entry(key).or_insert(theirs);
                    if *ours != theirs {
                        *ours ^= theirs ^ u32::from(key);
                    }
                }
            }
            Action::Merge => {
                let asked = Cell::new(0);
                let resolve = |conflict: Conflict<'_, Key, Value<PAD>>| {
                    asked.set(asked.get() + 1);
                    assert!(conflict.ours != conflict.theirs && conflict.base != conflict.theirs);
                    let sum =
                        [conflict.base, conflict.ours, conflict.theirs].map(|value| value.map_or(1, number));
                    (sum[1] % 2 == 0).then(|| sum.iter().fold(0, |sum, n| sum ^ n).into())
                };
                *map = base.map.merge(map, &other.map, resolve);
                let mut merged = BTreeMap::new();
                for key in 0..size {
                    let [base, ours, theirs] =
                        [&base.model, model, &other.model].map(|model| model.get(&key).copied());
                    let sum = [base, ours, theirs].map(|value| value.unwrap_or(1));
                    let value = match () {
                        () if ours == theirs || base == theirs => ours,
                        () if base == ours => theirs,
                        () => (sum[1] % 2 == 0).then(|| sum.iter().fold(0, |sum, n| sum ^ n)),
                    };
                    merged.extend(value.map(|value| (key, value)));
                }
                *model = merged;
            }
        }
    }

    fn check(&self, size: u16) {
        let Self { map, model } = self;
        assert_eq!((map.len(), map.is_empty()), (model.len(), model.is_empty()));
        let mut content: Vec<_> = map.iter().map(|(key, value)| (**key, number(value))).collect();
        content.sort_unstable();
        assert!(
            content
                .iter()
                .copied()
                .eq(model.iter().map(|(&key, &value)| (key, value)))
        );
        for key in 0..size {
            assert_eq!(map.get(&key).map(number), model.get(&key).copied());
        }
        let clone = map.clone();
        assert!(clone.ptr_eq(map) && clone == *map);
        assert_eq!(clone.own_bytes(), 0, "a clone owns nothing alone");
        assert_eq!(clone.shared_bytes() == 0, model.is_empty());
    }

    fn check_pair(&self, other: &Self) {
        let changes = self.map.diff(&other.map).map(|change| match change {
            Change::Added { key, value } => (**key, None, Some(number(value))),
            Change::Removed { key, value } => (**key, Some(number(value)), None),
            Change::Changed { key, old, new } => (**key, Some(number(old)), Some(number(new))),
        });
        let mut changes: Vec<_> = changes.collect();
        changes.sort_unstable();
        let keys: std::collections::BTreeSet<_> = self.model.keys().chain(other.model.keys()).collect();
        let of = |model: &BTreeMap<u16, u32>, key| model.get(key).copied();
        let expected = keys
            .into_iter()
            .map(|key| (*key, of(&self.model, key), of(&other.model, key)));
        let expected: Vec<_> = expected.filter(|(_, ours, theirs)| ours != theirs).collect();
        assert_eq!(changes, expected);
        assert_eq!(self.map == other.map, self.model == other.model);
    }
}

fn run<S: BuildHasher + Clone + Default, const PAD: usize>(size: u16, steps: &[Step]) {
    let mut versions: [Version<S, PAD>; VERSIONS] = std::array::from_fn(|_| Version::default());
    for (value, step) in steps.iter().enumerate() {
        let mut version = versions[step.from].clone();
        let (other, base) = (versions[step.other].clone(), versions[step.to].clone());
        // Numbers that every action leaves apart from each other's.
        version.run(&step.action, size, (value as u32 + 1) << 12, &other, &base);
        versions[step.to] = version;
        versions.iter().for_each(|version| version.check(size));
        versions[step.to].check_pair(&versions[step.other]);
        versions[step.other].check_pair(&base);
    }
}

proptest! {
    #![proptest_config(cases(60))]

    #[test]
    fn a_map_is_a_map(steps in steps()) {
        run::<DefaultHashBuilder, 0>(700, &steps);
    }

    #[test]
    fn a_map_of_large_entries_is_a_map(steps in steps()) {
        run::<DefaultHashBuilder, 14>(200, &steps);
    }

    #[test]
    fn maps_of_one_hash_are_maps(steps in steps()) {
        run::<AllAlike, 14>(60, &steps);
        run::<AllAlike, 0>(300, &steps);
    }

    #[test]
    fn maps_of_few_hashes_are_maps(steps in steps()) {
        run::<FewValues, 14>(150, &steps);
    }

    #[test]
    fn maps_of_hashes_that_never_part_are_maps(steps in steps()) {
        run::<OneWay, 14>(100, &steps);
    }

    #[test]
    fn maps_of_hashes_that_part_late_are_maps(steps in steps()) {
        run::<LateWay, 14>(150, &steps);
    }

    #[test]
    fn maps_of_hashers_of_their_own_compare(mine in prop::collection::vec(any::<u8>(), 0..200), yours in prop::collection::vec(any::<u8>(), 0..200)) {
        let version = |keys: &[u8]| Version::<DefaultHashBuilder, 14> {
            map: keys.iter().map(|&key| (Box::new(u16::from(key)), u32::from(key).into())).collect(),
            model: keys.iter().map(|&key| (u16::from(key), u32::from(key))).collect(),
        };
        version(&mine).check_pair(&version(&yours));
        version(&mine).check_pair(&version(&mine));
    }
}

/// Hashes an integer to itself.
#[derive(Default)]
struct Itself(u64);

impl Hasher for Itself {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, _: &[u8]) {
        unreachable!("only integers are hashed");
    }
    fn write_u64(&mut self, number: u64) {
        self.0 = number;
    }
}

#[test]
fn integers_that_hash_to_themselves_spread() {
    for step in [1, 16, 1 << 20, 1 << 32] {
        let mut map = Map::<u64, u64, BuildHasherDefault<Itself>>::default();
        map.extend((0..20_000).map(|key| (key * step, key)));
        assert!((0..20_000).all(|key| map[&(key * step)] == key));
        assert!((1..20_000).all(|key| !map.contains_key(&(key * step + 1)) || step == 1));
        assert_eq!(map.len(), 20_000);
    }
}

#[test]
fn a_map_that_is_built_part_by_part_has_each_keys_first_key_and_last_value() {
    // Five megabytes, more than caches are taken to hold.
    let entry = |number: u64| (Arc::new(number % 4000), [number; 128]);
    let entries: Vec<_> = (0..5000).map(entry).collect();
    let map: Map<_, _> = entries.iter().cloned().collect();
    assert_eq!(map.len(), 4000);
    for (number, (key, _)) in entries.iter().take(4000).enumerate() {
        let (found, value) = map.get_key_value(&**key).unwrap();
        assert!(Arc::ptr_eq(found, key));
        let last = if number < 1000 { number + 4000 } else { number };
        assert_eq!(value[0], last as u64);
    }
}

#[test]
fn large_maps_come_and_go() {
    let mut map = Map::new();
    for key in 0..200_000_u32 {
        assert_eq!(map.insert(key, key), None);
    }
    let full = map.clone();
    for key in 0..200_000_u32 {
        assert_eq!(map.remove(&key), Some(key));
    }
    assert!(map.is_empty() && map.own_bytes() == 0);
    assert_eq!(full.len(), 200_000);
    assert!((0..200_000).all(|key| full[&key] == key));
    let taken: Map<_, _> = full.into_iter().filter(|(key, _)| key % 2 == 0).collect();
    assert_eq!(
        taken.keys().map(|&key| u64::from(key)).sum::<u64>(),
        (0..100_000).map(|key| key * 2).sum::<u64>()
    );
}

#[test]
fn nothing_and_everything_of_no_size() {
    let mut map = Map::new();
    assert_eq!(map.insert((), ()), None);
    assert_eq!(map.insert((), ()), Some(()));
    assert_eq!(map.iter().count(), 1);
    assert_eq!(map.clone().into_iter().count(), 1);
    assert_eq!(map.remove(&()), Some(()));
    assert!(map.is_empty());
}
