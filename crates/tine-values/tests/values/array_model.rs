//! Goal: an `Array` is the list of pairs that it claims to be, and no version ever sees another's writes.
//! Method: random operations on eight versions that are cloned from each other, and on plain `Vec`s of pairs beside them; after each step every
//! version is compared with its model. What references do, `php.rs` asks PHP.

use proptest::prelude::*;
use tine_values::{Array, Key, KeyRef, Value};

const VERSIONS: usize = 8;

/// On both sides of where a list becomes a tree.
const START_LENGTHS: [i64; VERSIONS] = [0, 1, 3, 20, 127, 513, 600, 900];

#[derive(Clone, Debug)]
enum Action {
    Push(usize),
    Insert(i64, usize),
    InsertText(u8, usize),
    Remove(u16, usize),
    RemoveMissing,
    Pop(usize),
    PopFront,
    PushFront(usize),
    Splice(u16, u16, usize),
    Slice(u16, u16),
    SliceWithKeys(u16, u16),
    Update(u16),
    Sort,
    SortKeys,
    Clear,
}

#[derive(Clone, Debug)]
struct Step {
    from: usize,
    to: usize,
    action: Action,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let place = any::<u16>;
    let many = || prop_oneof![3 => 1..6_usize, 1 => 50..300_usize];
    let action = prop_oneof![
        4 => many().prop_map(Action::Push),
        4 => (-5..2000_i64, many()).prop_map(|(from, count)| Action::Insert(from, count)),
        4 => (any::<u8>(), many()).prop_map(|(from, count)| Action::InsertText(from, count)),
        4 => (place(), many()).prop_map(|(at, count)| Action::Remove(at, count)),
        1 => Just(Action::RemoveMissing),
        2 => many().prop_map(Action::Pop),
        1 => Just(Action::PopFront),
        1 => (0..5_usize).prop_map(Action::PushFront),
        3 => (place(), place(), many()).prop_map(|(a, b, count)| Action::Splice(a, b, count)),
        2 => (place(), place()).prop_map(|(a, b)| Action::Slice(a, b)),
        2 => (place(), place()).prop_map(|(a, b)| Action::SliceWithKeys(a, b)),
        3 => place().prop_map(Action::Update),
        1 => Just(Action::Sort),
        1 => Just(Action::SortKeys),
        1 => Just(Action::Clear),
    ];
    let step = (0..VERSIONS, 0..VERSIONS, action).prop_map(|(from, to, action)| Step { from, to, action });
    prop::collection::vec(step, 1..40)
}

/// What an array is to be.
#[derive(Clone)]
struct Model {
    pairs: Vec<(Key, u32)>,
    next: i64,
}

/// A version, beside its model. Values are texts, so that one lost or dropped twice shows under AddressSanitizer.
#[derive(Clone)]
struct Twin {
    array: Array,
    model: Model,
}

fn value(number: u32) -> Value {
    format!("{number} and so on").into()
}

impl Model {
    fn see(&mut self, key: &Key) {
        if let Key::Int(number) = key {
            self.next = self.next.max(number + 1);
        }
    }

    fn insert(&mut self, key: Key, number: u32) {
        self.see(&key);
        match self.pairs.iter_mut().find(|(known, _)| *known == key) {
            Some((_, known)) => *known = number,
            None => self.pairs.push((key, number)),
        }
    }

    fn of(pairs: impl IntoIterator<Item = (Key, u32)>, renumbers: bool) -> Self {
        let mut model = Self {
            pairs: Vec::new(),
            next: i64::MIN,
        };
        let mut number = 0..;
        for (key, value) in pairs {
            let key = match key {
                Key::Int(_) if renumbers => Key::Int(number.next().unwrap()),
                key => key,
            };
            model.see(&key);
            model.pairs.push((key, value));
        }
        model
    }

    fn next_key(&self) -> i64 {
        if self.next == i64::MIN { 0 } else { self.next }
    }

    fn range(&self, one: u16, other: u16) -> std::ops::Range<usize> {
        let [one, other] = [one, other].map(|place| usize::from(place) % (self.pairs.len() + 1));
        one.min(other)..one.max(other)
    }
}

impl Twin {
    fn new(len: i64) -> Self {
        let pairs = (0..len).map(|key| (Key::Int(key), key as u32));
        Self {
            array: Array::from_list((0..len).map(|key| value(key as u32))),
            model: Model::of(pairs, false),
        }
    }

    fn apply(&mut self, action: Action, number: u32) {
        let Self { array, model } = self;
        match action {
            Action::Push(count) => {
                for _ in 0..count {
                    let key = model.next_key();
                    assert_eq!(array.push(value(number)), key);
                    model.insert(Key::Int(key), number);
                }
            }
            Action::Insert(from, count) => {
                for key in from..from + count as i64 {
                    array.insert(key, value(number));
                    model.insert(Key::Int(key), number);
                }
            }
            Action::InsertText(from, count) => {
                for name in (u16::from(from)..).take(count.min(20)) {
                    let name = format!("key {name}");
                    array.insert(name.as_str(), value(number));
                    model.insert(Key::from(name), number);
                }
            }
            Action::Remove(at, count) => {
                for _ in 0..count.min(model.pairs.len()) {
                    let (key, known) = model.pairs.remove(usize::from(at) % model.pairs.len());
                    assert_eq!(array.remove(&key), Some(value(known)));
                }
            }
            Action::RemoveMissing => assert_eq!(array.remove("no such key"), None),
            Action::Pop(count) => {
                for _ in 0..count {
                    let popped = model.pairs.pop();
                    if let Some((Key::Int(key), _)) = popped
                        && key + 1 == model.next
                    {
                        model.next = key;
                    }
                    assert_eq!(array.pop(), popped.map(|(_, known)| value(known)));
                }
            }
            Action::PopFront => {
                let first = (!model.pairs.is_empty()).then(|| model.pairs.remove(0).1);
                assert_eq!(array.pop_front(), first.map(value));
                if first.is_some() {
                    *model = Model::of(model.pairs.drain(..), true);
                    model.next = model.next_key();
                }
            }
            Action::PushFront(count) => {
                array.push_front(vec![value(number); count]);
                let new = vec![(Key::Int(0), number); count];
                *model = Model::of(new.into_iter().chain(model.pairs.drain(..)), true);
            }
            Action::Splice(one, other, count) => {
                let range = model.range(one, other);
                let removed = array.splice(range.clone(), vec![value(number); count]);
                let mut pairs = model.pairs.clone();
                let gone = Model::of(pairs.splice(range, vec![(Key::Int(0), number); count]), true);
                *model = Model::of(pairs, true);
                Twin {
                    array: removed,
                    model: gone,
                }
                .check();
            }
            Action::Slice(one, other) => {
                let range = model.range(one, other);
                *array = array.slice(range.clone());
                *model = Model::of(model.pairs[range].to_vec(), true);
            }
            Action::SliceWithKeys(one, other) => {
                let range = model.range(one, other);
                *array = array.slice_with_keys(range.clone());
                *model = Model::of(model.pairs[range].to_vec(), false);
            }
            Action::Update(at) => {
                let Some(at) = usize::from(at).checked_rem(model.pairs.len()) else {
                    return;
                };
                array.update(model.pairs[at].0.clone(), |known| *known = value(number));
                model.pairs[at].1 = number;
            }
            Action::Sort => {
                array.sort_by(|one, other| one.as_text().cmp(&other.as_text()));
                if !model.pairs.is_empty() {
                    model
                        .pairs
                        .sort_by_key(|(_, known)| known.to_string() + " and so on");
                    let pairs = model.pairs.drain(..).enumerate();
                    *model = Model::of(
                        pairs.map(|(key, (_, known))| (Key::Int(key as i64), known)),
                        false,
                    );
                }
            }
            Action::SortKeys => {
                array.sort_pairs_by(|one, other| one.0.cmp(&other.0));
                model.pairs.sort_by(|one, other| one.0.cmp(&other.0));
            }
            Action::Clear => {
                array.clear();
                *model = Model::of([], false);
            }
        }
    }

    fn check(&self) {
        let Self { array, model } = self;
        assert_eq!(
            (array.len(), array.next_key()),
            (model.pairs.len(), model.next_key())
        );
        let pairs = array.iter().map(|(key, slot)| (key.to_key(), slot.get()));
        assert!(
            pairs.eq(model
                .pairs
                .iter()
                .map(|(key, known)| (key.clone(), value(*known))))
        );
        let backwards = array.iter().rev().map(|(key, _)| key);
        assert!(backwards.eq(model.pairs.iter().rev().map(|(key, _)| key.as_ref())));
        for (key, known) in model.pairs.iter().step_by(7) {
            assert_eq!(array.get(key), Some(value(*known)));
        }
        assert!(array.get(KeyRef::Int(i64::MAX)).is_none() && array.get("no such key").is_none());
        let is_list = model
            .pairs
            .iter()
            .zip(0..)
            .all(|((key, _), number)| *key == Key::Int(number));
        assert!(is_list || !array.is_packed());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases.min(64), ..ProptestConfig::default() })]
    #[test]
    fn eight_versions_are_what_their_models_are(steps in steps()) {
        let mut versions = START_LENGTHS.map(Twin::new);
        for (number, Step { from, to, action }) in (0..).zip(steps) {
            if from != to {
                versions[to] = versions[from].clone();
            }
            versions[to].apply(action, number);
            versions.iter().for_each(Twin::check);
            let [one, other] = [&versions[from], &versions[to]];
            let equal = one.model.pairs == other.model.pairs;
            prop_assert_eq!(one.array == other.array, equal);
        }
    }
}
