//! Goal: a `RadixMap` is the map it claims to be, and no version ever sees another's writes.
//! Method: random operations on eight versions that are cloned from each other, and on plain models beside
//! them; after each step *every* version is compared with its model, and two of them with each other.
//!
//! Two universes. *Dense*: a few hundred keys around a base, with a `BTreeMap` for a model. *Vast*: the
//! whole key space, cut at the places where trees change shape and near its end; between the cuts
//! every key has the same value, so the model is one value for each piece.

use std::collections::BTreeMap;
use std::ops::Range;

use proptest::prelude::*;
use tine_values::RadixMap;
use tine_values::radix_map::Entry;

const VERSIONS: usize = 8;

/// Boxed, so that a value lost or dropped twice shows under AddressSanitizer and valgrind.
type Value = Box<u32>;

/// What to do to version `to`, after it has become a clone of `from`. Positions are scaled to the universe.
#[derive(Clone, Debug)]
struct Step {
    from: usize,
    to: usize,
    action: Action,
}

#[derive(Clone, Debug)]
enum Action {
    Insert(usize),
    Remove(usize),
    Fill(usize, usize),
    Clear(usize, usize),
    InsertRun(usize, usize),
    GetMut(usize),
    Retain(u32),
    SplitOff(usize, bool),
    Pop,
    /// Writes by `entry`, adds to what is there.
    Entry(usize),
    /// Adds to what a range has.
    RangeMut(usize, usize, bool),
    Extract(usize, usize, u32),
    /// Appends a map with a run of keys and one more.
    Append(usize, usize),
    /// Takes all out and puts it in again.
    Rebuild(bool),
    RemoveAll,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let place = || any::<u16>().prop_map(usize::from);
    let length = || prop_oneof![4 => 0..12_usize, 1 => 0..400_usize];
    let action = prop_oneof![
        6 => place().prop_map(Action::Insert),
        4 => place().prop_map(Action::Remove),
        3 => (place(), length()).prop_map(|(place, length)| Action::Fill(place, length)),
        3 => (place(), length()).prop_map(|(place, length)| Action::Clear(place, length)),
        3 => (place(), length()).prop_map(|(place, length)| Action::InsertRun(place, length)),
        2 => place().prop_map(Action::GetMut),
        1 => (2..5_u32).prop_map(Action::Retain),
        1 => (place(), any::<bool>()).prop_map(|(place, is_kept)| Action::SplitOff(place, is_kept)),
        1 => Just(Action::Pop),
        2 => place().prop_map(Action::Entry),
        2 => (place(), length(), any::<bool>()).prop_map(|(place, length, is_back)| Action::RangeMut(place, length, is_back)),
        1 => (place(), length(), 2..5_u32).prop_map(|(place, length, part)| Action::Extract(place, length, part)),
        1 => (place(), length()).prop_map(|(place, length)| Action::Append(place, length)),
        1 => any::<bool>().prop_map(Action::Rebuild),
        1 => Just(Action::RemoveAll),
    ];
    let step = (0..VERSIONS, 0..VERSIONS, action).prop_map(|(from, to, action)| Step { from, to, action });
    prop::collection::vec(step, 1..50)
}

/// What a map is compared as: pieces with their first and last key, neighbours of one value joined.
type Pieces<V> = Vec<(u64, u64, V)>;

fn join<V: PartialEq>(pieces: impl IntoIterator<Item = (u64, u64, V)>) -> Pieces<V> {
    let mut joined: Pieces<V> = Vec::new();
    for (first, last, value) in pieces {
        match joined.last_mut() {
            Some(end) if end.1.checked_add(1) == Some(first) && end.2 == value => end.1 = last,
            _ => joined.push((first, last, value)),
        }
    }
    joined
}

/// The last key is reported as an empty range.
fn ends(range: &Range<u64>) -> (u64, u64) {
    if *range == (u64::MAX..u64::MAX) {
        return (u64::MAX, u64::MAX);
    }
    assert!(range.start < range.end, "{range:?} is reported");
    (range.start, range.end - 1)
}

fn pieces_of<'a>(pieces: impl Iterator<Item = (Range<u64>, &'a Value)>) -> Pieces<u32> {
    let mut at = None;
    join(pieces.map(|(range, value)| {
        let (first, last) = ends(&range);
        assert!(at.is_none_or(|at| first > at), "{range:?} is out of order");
        at = Some(last);
        (first, last, **value)
    }))
}

type Differences = Pieces<(Option<u32>, Option<u32>)>;

fn differences(left: &RadixMap<Value>, right: &RadixMap<Value>) -> Differences {
    differences_from(left, right, 0)
}

fn differences_from(left: &RadixMap<Value>, right: &RadixMap<Value>, key: u64) -> Differences {
    let mut diff = left.diff(right);
    diff.skip_before(key);
    join(diff.map(|(range, left, right)| {
        let (first, last) = ends(&range);
        (
            first,
            last,
            (left.map(|value| **value), right.map(|value| **value)),
        )
    }))
}

/// Skipping what lies before a key leaves exactly what lies behind it.
fn check_skipping(left: &RadixMap<Value>, right: &RadixMap<Value>, keys: impl IntoIterator<Item = u64>) {
    let all = differences(left, right);
    for key in keys {
        let behind = all.iter().filter(|(_, last, _)| *last >= key);
        let expected: Differences = behind
            .map(|&(first, last, values)| (first.max(key), last, values))
            .collect();
        assert_eq!(differences_from(left, right, key), expected, "from {key}");
    }
}

/// What holds for every map, whatever is in it.
fn check_alone(map: &RadixMap<Value>, expected: &Pieces<u32>) {
    assert_eq!(&pieces_of(map.iter()), expected);
    check_from_both_ends(map);
    assert_eq!(map.is_empty(), expected.is_empty());
    let len = expected
        .iter()
        .map(|(first, last, _)| u128::from(last - first) + 1)
        .sum::<u128>();
    assert_eq!(u128::from(map.len()), len.min(u128::from(u64::MAX)));
    let first = map.first_key_value().map(|(key, value)| (key, **value));
    assert_eq!(first, expected.first().map(|&(first, _, value)| (first, value)));
    let last = map.last_key_value().map(|(key, value)| (key, **value));
    assert_eq!(last, expected.last().map(|&(_, last, value)| (last, value)));
    assert!(map.keys().take(9).eq(all_keys(expected).take(9)));
    assert!(map.keys().rev().take(9).eq(all_keys(expected).rev().take(9)));
    assert_eq!(map.own_bytes() + map.shared_bytes() == 0, expected.is_empty());
    let clone = map.clone();
    assert!(clone.ptr_eq(map) && clone == *map);
    assert_eq!(clone.is_unique(), expected.is_empty());
    assert_eq!(clone.own_bytes(), 0, "a clone owns nothing alone");
}

fn all_keys(pieces: &Pieces<u32>) -> impl DoubleEndedIterator<Item = u64> {
    pieces.iter().flat_map(|&(first, last, _)| first..=last)
}

/// In whatever turns the ends are asked, there are the same pieces.
fn check_from_both_ends(map: &RadixMap<Value>) {
    let pieces: Vec<_> = map.iter().collect();
    for turns in [1, 2, 3, 7] {
        let (mut left, mut front, mut back) = (map.iter(), Vec::new(), Vec::new());
        for turn in 1.. {
            let (least, most) = left.size_hint();
            let rest = pieces.len() - front.len() - back.len();
            assert!(least <= rest && most.is_none_or(|most| most == rest));
            let next = if turn % turns == 0 {
                left.next_back()
            } else {
                left.next()
            };
            match next {
                Some(piece) if turn % turns == 0 => back.push(piece),
                Some(piece) => front.push(piece),
                None => break,
            }
        }
        assert!(left.next().is_none() && left.next_back().is_none());
        front.extend(back.into_iter().rev());
        assert_eq!(front, pieces, "each {turns}th from the back");
    }
}

/// Adds one to all that a range has, from the front or the back. Returns what was there.
fn write(map: &mut RadixMap<Value>, range: Range<u64>, is_back: bool) -> Pieces<u32> {
    let add = |(keys, value): (Range<u64>, &mut Value)| {
        let (first, last) = ends(&keys);
        **value += 1;
        (first, last, **value - 1)
    };
    let written = map.range_mut(range);
    if is_back {
        let mut written: Vec<_> = written.rev().map(add).collect();
        written.reverse();
        return written;
    }
    written.map(add).collect()
}

/// Takes out what a range has of some values.
fn extract(map: &mut RadixMap<Value>, range: Range<u64>, part: u32) -> Pieces<u32> {
    let extracted = map.extract_if(range, |_, value| **value % 7 < part);
    join(extracted.map(|(keys, value)| {
        let (first, last) = ends(&keys);
        (first, last, *value)
    }))
}

/// Returns the map, taken apart from the front or the back and put together.
fn rebuilt(map: RadixMap<Value>, is_back: bool) -> RadixMap<Value> {
    let mut rebuilt = RadixMap::new();
    let put = |(keys, value): (Range<u64>, Value)| match ends(&keys) {
        (first, last) if first == last => drop(rebuilt.insert(first, value)),
        _ => rebuilt.fill(keys, value, |_, _| ()),
    };
    if is_back {
        map.into_iter().rev().for_each(put);
    } else {
        map.into_iter().for_each(put);
    }
    rebuilt
}

/// What is written or taken out comes from both ends in whatever turns, too; keys and values go together.
fn check_other_walks(map: &RadixMap<Value>) {
    let pieces: Vec<_> = map.iter().map(|(keys, value)| (keys, **value)).collect();
    let mut fork = map.clone();
    let (mut owned, mut written) = (map.clone().into_iter(), fork.iter_mut());
    let (mut front, mut back) = (Vec::new(), Vec::new());
    for turn in 0.. {
        let (piece, other) = if turn % 3 == 2 {
            (owned.next_back(), written.next_back())
        } else {
            (owned.next(), written.next())
        };
        let piece = piece.map(|(keys, value)| (keys, *value));
        assert_eq!(piece, other.map(|(keys, value)| (keys, **value)));
        match piece {
            Some(piece) if turn % 3 == 2 => back.push(piece),
            Some(piece) => front.push(piece),
            None => break,
        }
    }
    assert!(owned.next().is_none() && written.next_back().is_none());
    front.extend(back.into_iter().rev());
    assert_eq!(front, pieces);
    assert!(fork == *map && fork.values_mut().count() == pieces.len());
    let entries = || map.keys().zip(map.values());
    assert!(entries().take(9).all(|(key, value)| map.get(key) == Some(value)));
    let mut both = (map.keys().rev(), map.values().rev());
    for _ in 0..9 {
        assert_eq!(both.0.next().and_then(|key| map.get(key)), both.1.next());
    }
    assert!(map.clone().into_keys().take(9).eq(map.keys().take(9)));
    assert!(
        map.clone()
            .into_values()
            .take(9)
            .eq(map.values().take(9).cloned())
    );
}

// ---- The dense universe ----

#[derive(Clone, Default)]
struct Dense {
    map: RadixMap<Value>,
    model: BTreeMap<u64, u32>,
}

impl Dense {
    fn run(&mut self, base: u64, size: usize, action: &Action, value: u32) {
        let key = |place: usize| base + (place % size) as u64;
        let range = |place: usize, length: usize| {
            let first = place % size;
            key(first)..base + (first + length).min(size - 1) as u64
        };
        let in_model = |model: &BTreeMap<u64, u32>, range: Range<u64>| {
            join(model.range(range).map(|(&key, &old)| (key, key, old)))
        };
        match *action {
            Action::Insert(place) => {
                let old = self.map.insert(key(place), Box::new(value));
                assert_eq!(old.map(|old| *old), self.model.insert(key(place), value));
            }
            Action::Remove(place) => {
                assert_eq!(
                    self.map.remove(key(place)).map(|old| *old),
                    self.model.remove(&key(place))
                );
            }
            Action::Fill(place, length) => {
                let range = range(place, length);
                let mut old = Vec::new();
                self.map.fill(range.clone(), Box::new(value), |range, value| {
                    old.push((range, value.clone()));
                });
                let old = pieces_of(old.iter().map(|(range, value)| (range.clone(), value)));
                assert_eq!(old, in_model(&self.model, range.clone()));
                self.model.extend(range.map(|key| (key, value)));
            }
            Action::Clear(place, length) => {
                let range = range(place, length);
                let mut old = Vec::new();
                self.map
                    .clear_range(range.clone(), |range, value| old.push((range, value.clone())));
                let old = pieces_of(old.iter().map(|(range, value)| (range.clone(), value)));
                assert_eq!(old, in_model(&self.model, range.clone()));
                self.model.retain(|key, _| !range.contains(key));
            }
            Action::InsertRun(place, length) => {
                let first = place % size;
                // Up to and including the last key of the universe, which can be the last of all.
                let values: Vec<_> = (0..length.min(size - first) as u32)
                    .map(|more| value + more)
                    .collect();
                let mut old = Vec::new();
                self.map.insert_run(
                    key(first),
                    values.iter().map(|&value| Box::new(value)),
                    |key, value| {
                        old.push((key, key, *value));
                    },
                );
                let mut replaced = Vec::new();
                for (key, value) in (key(first)..=u64::MAX).zip(values) {
                    replaced.extend(self.model.insert(key, value).map(|old| (key, key, old)));
                }
                assert_eq!(old, replaced);
            }
            Action::GetMut(place) => {
                let found = self.map.get_mut(key(place)).map(|found| **found = value);
                let expected = self.model.get_mut(&key(place)).map(|found| *found = value);
                assert_eq!(found, expected);
            }
            Action::Retain(part) => {
                self.map.retain(|_, value| **value % 7 < part);
                self.model.retain(|_, value| *value % 7 < part);
            }
            Action::SplitOff(place, is_kept) => {
                let mut behind = (self.map.split_off(key(place)), self.model.split_off(&key(place)));
                if is_kept {
                    (self.map, self.model) = behind;
                } else {
                    assert_eq!(
                        behind.0.pop_first().map(|(key, value)| (key, *value)),
                        behind.1.pop_first()
                    );
                    assert_eq!(behind.0.len(), behind.1.len() as u64);
                }
            }
            Action::Entry(place) => {
                let key = key(place);
                let ours = self
                    .map
                    .entry(key)
                    .and_modify(|old| **old += 1)
                    .or_insert(Box::new(value));
                let theirs = self.model.entry(key).and_modify(|old| *old += 1).or_insert(value);
                assert_eq!(**ours, *theirs);
            }
            Action::RangeMut(place, length, is_back) => {
                let range = range(place, length);
                let written = write(&mut self.map, range.clone(), is_back);
                assert_eq!(join(written), in_model(&self.model, range.clone()));
                self.model.range_mut(range).for_each(|(_, value)| *value += 1);
            }
            Action::Extract(place, length, part) => {
                let range = range(place, length);
                let mut expected = in_model(&self.model, range.clone());
                expected.retain(|(_, _, value)| value % 7 < part);
                assert_eq!(extract(&mut self.map, range.clone(), part), expected);
                self.model
                    .retain(|key, value| !(range.contains(key) && *value % 7 < part));
            }
            Action::Append(place, length) => {
                let range = range(place, length);
                let mut other = RadixMap::from([(key(place), Box::new(value + 1))]);
                other.fill(range.clone(), Box::new(value), |_, _| ());
                let all = (0..size as u64)
                    .map(|more| base + more)
                    .filter_map(|key| Some((key, **other.get(key)?)));
                self.model.extend(all);
                self.map.append(&mut other);
                assert!(other.is_empty());
            }
            Action::Rebuild(is_back) => self.map = rebuilt(std::mem::take(&mut self.map), is_back),
            Action::Pop => {
                let unbox = |(key, value): (u64, Value)| (key, *value);
                assert_eq!(self.map.pop_first().map(unbox), self.model.pop_first());
                assert_eq!(self.map.pop_last().map(unbox), self.model.pop_last());
            }
            Action::RemoveAll => {
                self.map.clear();
                self.model.clear();
            }
        }
    }

    fn check(&self, base: u64, size: usize) {
        check_alone(
            &self.map,
            &join(self.model.iter().map(|(&key, &value)| (key, key, value))),
        );
        for key in (0..size as u64).map(|offset| base + offset) {
            assert_eq!(
                self.map.get(key).map(|value| **value),
                self.model.get(&key).copied()
            );
        }
        let part = base + size as u64 / 3..base + size as u64 / 2;
        let expected = join(
            self.model
                .range(part.clone())
                .map(|(&key, &value)| (key, key, value)),
        );
        assert_eq!(pieces_of(self.map.range(part)), expected);
    }

    fn differences(&self, other: &Self, base: u64, size: usize) -> Differences {
        let keys = (0..size as u64).map(|offset| base + offset);
        let pairs = keys.map(|key| {
            (
                key,
                (self.model.get(&key).copied(), other.model.get(&key).copied()),
            )
        });
        join(
            pairs
                .filter(|(_, (left, right))| left != right)
                .map(|(key, pair)| (key, key, pair)),
        )
    }
}

// ---- The vast universe ----

/// Where the pieces of the key space begin; the last one is the last key alone.
fn cuts() -> Vec<u64> {
    let mut cuts = vec![0, 5, 6, 1 << 28, u64::MAX / 3, u64::MAX / 3 + 1];
    for bits in [6, 7, 10, 14, 18, 33, 62, 63] {
        cuts.extend((1_u64 << bits) - 2..(1 << bits) + 3);
    }
    for back in [1, 2, 3, 63, 64, 65, 1023, 1024, 1025, 16_383, 16_384] {
        cuts.push(u64::MAX - back + 1);
        cuts.push(u64::MAX - back);
    }
    cuts.sort_unstable();
    cuts.dedup();
    cuts
}

#[derive(Clone)]
struct Vast {
    map: RadixMap<Value>,
    /// The value of each piece.
    model: Vec<Option<u32>>,
}

impl Vast {
    fn run(&mut self, cuts: &[u64], action: &Action, value: u32) {
        let count = cuts.len();
        // A single key needs a piece of its own.
        let single = |place: usize| {
            (0..count)
                .map(|more| (place + more) % count)
                .find(|&at| last_of(cuts, at) == cuts[at])
                .unwrap()
        };
        let range = |place: usize, length: usize| {
            let from = place % count;
            from..(from + length).min(count - 1)
        };
        match *action {
            Action::Insert(place) => {
                let at = single(place);
                let old = self.map.insert(cuts[at], Box::new(value));
                assert_eq!(old.map(|old| *old), self.model[at].replace(value));
            }
            Action::Remove(place) => {
                let at = single(place);
                assert_eq!(self.map.remove(cuts[at]).map(|old| *old), self.model[at].take());
            }
            Action::Fill(place, length) => {
                let range = range(place, length);
                let mut old = Vec::new();
                let keys = cuts[range.start]..cuts[range.end];
                self.map.fill(keys, Box::new(value), |range, value| {
                    old.push((range, value.clone()));
                });
                let old = pieces_of(old.iter().map(|(range, value)| (range.clone(), value)));
                assert_eq!(old, self.pieces(cuts, range.clone()));
                self.model[range].fill(Some(value));
            }
            Action::Clear(place, length) => {
                let range = range(place, length);
                let mut old = Vec::new();
                let keys = cuts[range.start]..cuts[range.end];
                self.map
                    .clear_range(keys, |range, value| old.push((range, value.clone())));
                let old = pieces_of(old.iter().map(|(range, value)| (range.clone(), value)));
                assert_eq!(old, self.pieces(cuts, range.clone()));
                self.model[range].fill(None);
            }
            Action::InsertRun(place, length) => {
                let first = single(place);
                let follows = |&at: &usize| cuts[at] - cuts[first] == (at - first) as u64;
                let run = (first..count).take_while(|at| follows(at) && last_of(cuts, *at) == cuts[*at]);
                let run = first..first + run.take(length).count();
                let values = run.clone().map(|at| Box::new(value + at as u32));
                let mut old = Vec::new();
                self.map
                    .insert_run(cuts[first], values, |key, value| old.push((key, key, *value)));
                assert_eq!(join(old), self.pieces(cuts, run.clone()));
                for at in run {
                    self.model[at] = Some(value + at as u32);
                }
            }
            Action::GetMut(place) => {
                let at = single(place);
                let found = self.map.get_mut(cuts[at]).map(|found| **found = value);
                assert_eq!(found, self.model[at].as_mut().map(|found| *found = value));
            }
            Action::Retain(part) => {
                self.map.retain(|_, value| **value % 7 < part);
                for value in &mut self.model {
                    value.take_if(|value| *value % 7 >= part);
                }
            }
            Action::SplitOff(place, is_kept) => {
                let at = place % count;
                let behind = self.map.split_off(cuts[at]);
                if is_kept {
                    self.map = behind;
                    self.model[..at].fill(None);
                } else {
                    self.model[at..].fill(None);
                }
            }
            Action::Entry(place) => {
                let at = single(place);
                match self.map.entry(cuts[at]) {
                    Entry::Occupied(entry) => assert_eq!(Some(*entry.remove()), self.model[at].take()),
                    Entry::Vacant(entry) => {
                        entry.insert(Box::new(value));
                        assert_eq!(self.model[at].replace(value), None);
                    }
                }
            }
            Action::RangeMut(place, length, is_back) => {
                let range = range(place, length);
                let keys = cuts[range.start]..cuts[range.end];
                let written = write(&mut self.map, keys, is_back);
                assert_eq!(join(written), self.pieces(cuts, range.clone()));
                self.model[range]
                    .iter_mut()
                    .flatten()
                    .for_each(|value| *value += 1);
            }
            Action::Extract(place, length, part) => {
                let range = range(place, length);
                let mut expected = self.pieces(cuts, range.clone());
                expected.retain(|(_, _, value)| value % 7 < part);
                let keys = cuts[range.start]..cuts[range.end];
                assert_eq!(extract(&mut self.map, keys, part), expected);
                for value in &mut self.model[range] {
                    value.take_if(|value| *value % 7 < part);
                }
            }
            Action::Append(place, length) => {
                let range = range(place, length);
                let mut other = RadixMap::new();
                other.fill(cuts[range.start]..cuts[range.end], Box::new(value), |_, _| ());
                self.map.append(&mut other);
                assert!(other.is_empty());
                self.model[range].fill(Some(value));
            }
            Action::Rebuild(is_back) => self.map = rebuilt(std::mem::take(&mut self.map), is_back),
            // A piece would have to be cut.
            Action::Pop => {}
            Action::RemoveAll => {
                self.map.clear();
                self.model.fill(None);
            }
        }
    }

    fn pieces(&self, cuts: &[u64], range: Range<usize>) -> Pieces<u32> {
        let piece = |at: usize| self.model[at].map(|value| (cuts[at], last_of(cuts, at), value));
        join(range.filter_map(piece))
    }

    fn check(&self, cuts: &[u64]) {
        check_alone(&self.map, &self.pieces(cuts, 0..cuts.len()));
        for (at, &value) in self.model.iter().enumerate() {
            for key in [cuts[at], last_of(cuts, at)] {
                assert_eq!(self.map.get(key).map(|value| **value), value, "key {key}");
            }
        }
        let part = cuts.len() / 4..cuts.len() - 7;
        let found = pieces_of(self.map.range(cuts[part.start]..cuts[part.end]));
        assert_eq!(found, self.pieces(cuts, part));
    }

    fn differences(&self, other: &Self, cuts: &[u64]) -> Differences {
        let pairs = (0..cuts.len()).filter(|&at| self.model[at] != other.model[at]);
        join(pairs.map(|at| (cuts[at], last_of(cuts, at), (self.model[at], other.model[at]))))
    }
}

fn last_of(cuts: &[u64], at: usize) -> u64 {
    cuts.get(at + 1).map_or(u64::MAX, |next| next - 1)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn dense_versions_follow_their_models(
        steps in steps(),
        (base, size) in prop_oneof![
            Just((0, 300)),
            Just((1024 - 70, 200)),
            Just(((1 << 40) - 100, 200)),
            Just((u64::MAX - 199, 200)),
        ],
    ) {
        let mut versions = vec![Dense::default(); VERSIONS];
        for (value, step) in (0..).step_by(1000).zip(&steps) {
            versions[step.to] = versions[step.from].clone();
            versions[step.to].run(base, size, &step.action, value);
            check_other_walks(&versions[step.to].map);
            versions.iter().for_each(|version| version.check(base, size));
            for other in &versions {
                let one = &versions[step.to];
                prop_assert_eq!(differences(&one.map, &other.map), one.differences(other, base, size));
                check_skipping(&one.map, &other.map, [base, base + size as u64 / 3, base + (size as u64 - 1)]);
                prop_assert_eq!(one.map == other.map, one.model == other.model);
            }
        }
        // What was built on the way is what is built at once.
        for version in &versions {
            let built = version.model.iter().map(|(&key, &value)| (key, Box::new(value)));
            prop_assert!(built.collect::<RadixMap<_>>() == version.map);
        }
    }

    #[test]
    fn vast_versions_follow_their_models(steps in steps()) {
        let cuts = cuts();
        let empty = Vast { map: RadixMap::new(), model: vec![None; cuts.len()] };
        let mut versions = vec![empty; VERSIONS];
        for (value, step) in (0..).step_by(1000).zip(&steps) {
            versions[step.to] = versions[step.from].clone();
            versions[step.to].run(&cuts, &step.action, value);
            check_other_walks(&versions[step.to].map);
            versions.iter().for_each(|version| version.check(&cuts));
            for other in &versions {
                let one = &versions[step.to];
                prop_assert_eq!(differences(&one.map, &other.map), one.differences(other, &cuts));
                check_skipping(&one.map, &other.map, cuts.iter().copied().step_by(7));
                prop_assert_eq!(one.map == other.map, one.model == other.model);
            }
        }
    }
}
