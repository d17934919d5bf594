//! Goal: a `RadixMap` is the map it claims to be, and no version ever sees another's writes.
//! Method: random operations on eight versions that are cloned from each other, and on plain models beside
//! them; after each step *every* version is compared with its model, and two of them with each other.
//!
//! Two universes. *Dense*: a few hundred keys around a base, with a `BTreeMap` for a model. *Vast*: the
//! whole key space, cut at the places where trees change shape and near its end; between the cuts
//! every key has the same value, so the model is one value for each piece.

mod dense;
mod vast;

use std::ops::Range;

use proptest::prelude::*;
use tine_values::RadixMap;

use self::dense::Dense;
use self::vast::{Vast, cuts};

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
