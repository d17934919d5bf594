//! Goal: `Bytes` are the vector they claim to be, and no version ever sees another's writes.
//! Method: random operations on eight versions that are cloned and cut from each other, and on a `Vec<u8>` beside each;
//! after each step *every* version is compared with its vector, and two of them with each other. The versions cross the
//! lengths at which they move from the value to the heap and are shared or copied.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::ops::Range;

use proptest::prelude::*;
use tine_values::{Bytes, Overlap};

const VERSIONS: usize = 8;

/// What to do to version `to`, after it has become a clone of `from` or a part of it.
#[derive(Clone, Debug)]
struct Step {
    from: usize,
    to: usize,
    part: Option<(usize, usize)>,
    action: Action,
}

#[derive(Clone, Debug)]
enum Action {
    Nothing,
    Push(u8),
    Extend(Vec<u8>),
    ExtendFromWithin(usize, usize),
    /// Another version is moved behind it.
    Append(usize),
    Insert(usize, u8),
    Remove(usize),
    SwapRemove(usize),
    Pop,
    Truncate(usize),
    SplitOff(usize, usize),
    Clear,
    Resize(usize, u8),
    Retain(u8),
    ReplaceRange(usize, usize, Vec<u8>),
    Drain(usize, usize),
    /// A part is found by a reference into it.
    SliceRef(usize, usize),
    Reverse,
    Reserve(usize),
    Shrink,
    Rebuild,
    Static(bool),
}

fn vectors() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..30),
        prop::collection::vec(0..3_u8, 0..4),
        prop::collection::vec(0..3_u8, 100..300),
    ]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let place = || any::<u16>().prop_map(usize::from);
    let action = prop_oneof![
        1 => Just(Action::Nothing),
        4 => any::<u8>().prop_map(Action::Push),
        4 => vectors().prop_map(Action::Extend),
        2 => (place(), place()).prop_map(|(at, length)| Action::ExtendFromWithin(at, length)),
        2 => (0..VERSIONS).prop_map(Action::Append),
        2 => (place(), any::<u8>()).prop_map(|(at, byte)| Action::Insert(at, byte)),
        2 => place().prop_map(Action::Remove),
        2 => place().prop_map(Action::SwapRemove),
        2 => Just(Action::Pop),
        2 => place().prop_map(Action::Truncate),
        2 => (place(), 0..VERSIONS).prop_map(|(at, other)| Action::SplitOff(at, other)),
        1 => Just(Action::Clear),
        2 => (0..200_usize, any::<u8>()).prop_map(|(length, byte)| Action::Resize(length, byte)),
        1 => (2..5_u8).prop_map(Action::Retain),
        3 => (place(), place(), vectors()).prop_map(|(at, length, with)| Action::ReplaceRange(at, length, with)),
        2 => (place(), place()).prop_map(|(at, length)| Action::Drain(at, length)),
        2 => (place(), place()).prop_map(|(at, length)| Action::SliceRef(at, length)),
        2 => Just(Action::Reverse),
        1 => (0..500_usize).prop_map(Action::Reserve),
        1 => Just(Action::Shrink),
        1 => Just(Action::Rebuild),
        1 => any::<bool>().prop_map(Action::Static),
    ];
    let part = prop::option::of((place(), place()));
    let step = (0..VERSIONS, 0..VERSIONS, part, action).prop_map(|(from, to, part, action)| Step {
        from,
        to,
        part,
        action,
    });
    prop::collection::vec(step, 1..60)
}

/// Returns a place scaled to what has so many bytes.
fn place(len: usize, place: usize) -> usize {
    place % (len + 1)
}

fn range(len: usize, start: usize, length: usize) -> Range<usize> {
    let start = place(len, start);
    start..start + place(len - start, length)
}

#[derive(Clone, Default)]
struct Version {
    bytes: Bytes,
    model: Vec<u8>,
}

const LONG: &[u8] = b"static bytes that are longer than what fits in the value";

impl Version {
    fn run(&mut self, action: &Action) {
        let Self { bytes, model } = self;
        let len = model.len();
        match action {
            Action::Nothing | Action::Append(_) | Action::SplitOff(..) => {}
            Action::Push(byte) => {
                bytes.push(*byte);
                model.push(*byte);
            }
            Action::Extend(more) => {
                // In the two ways that there are.
                bytes.extend(&more[..more.len() / 2]);
                bytes.extend_from_slice(&more[more.len() / 2..]);
                model.extend(more);
            }
            Action::ExtendFromWithin(at, length) => {
                let range = range(len, *at, *length);
                bytes.extend_from_within(range.clone());
                model.extend_from_within(range);
            }
            Action::Insert(at, byte) => {
                let at = place(len, *at);
                bytes.insert(at, *byte);
                model.insert(at, *byte);
            }
            Action::Remove(at) if len > 0 => assert_eq!(bytes.remove(at % len), model.remove(at % len)),
            Action::SwapRemove(at) if len > 0 => {
                assert_eq!(bytes.swap_remove(at % len), model.swap_remove(at % len));
            }
            Action::Remove(_) | Action::SwapRemove(_) | Action::Pop => assert_eq!(bytes.pop(), model.pop()),
            Action::Truncate(at) => {
                bytes.truncate(place(len, *at));
                model.truncate(place(len, *at));
            }
            Action::Clear => {
                bytes.clear();
                model.clear();
            }
            Action::Resize(length, byte) => {
                bytes.resize(*length, *byte);
                model.resize(*length, *byte);
            }
            Action::Retain(part) => {
                bytes.retain(|byte| byte % part > 0);
                model.retain(|byte| byte % part > 0);
            }
            Action::ReplaceRange(at, length, with) => {
                let range = range(len, *at, *length);
                bytes.replace_range(range.clone(), with);
                model.splice(range, with.iter().copied());
            }
            Action::Drain(at, length) => {
                let range = range(len, *at, *length);
                assert!(bytes.drain(range.clone()).rev().eq(model.drain(range).rev()));
            }
            Action::SliceRef(at, length) => {
                let range = range(len, *at, *length);
                *bytes = bytes.slice_ref(&bytes[range.clone()]);
                *model = model[range].to_vec();
            }
            Action::Reverse => {
                bytes[..].reverse();
                model.reverse();
                assert!(bytes.is_unique() && bytes.get_mut().is_some());
            }
            Action::Reserve(additional) => {
                bytes.reserve(*additional);
                assert!(bytes.capacity() >= len + additional);
            }
            Action::Shrink => bytes.shrink_to_fit(),
            Action::Rebuild => {
                let vec = Vec::from(std::mem::take(bytes));
                assert_eq!(vec, *model);
                *bytes = vec.into_iter().collect();
            }
            Action::Static(long) => {
                let new = if *long { LONG } else { b"ab" };
                *bytes = Bytes::from_static(new);
                *model = new.to_owned();
            }
        }
    }

    fn check(&self) {
        let Self { bytes, model } = self;
        assert_eq!(bytes, model);
        assert_eq!((bytes.len(), bytes.is_empty()), (model.len(), model.is_empty()));
        assert!(bytes.clone().into_iter().eq(model.iter().copied()));
        assert!(bytes.capacity() >= bytes.len());
        let heap = bytes.own_bytes() + bytes.shared_bytes();
        assert!(heap == 0 || heap > bytes.len(), "{heap} for {}", bytes.len());
        let clone = bytes.clone();
        assert!(clone.ptr_eq(bytes) && clone == *bytes);
        assert_eq!(clone.own_bytes(), 0);
    }
}

fn hash(value: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// Makes the other by what the diff says.
fn compare(one: &Version, other: &Version) {
    assert_eq!(one.bytes == other.bytes, one.model == other.model);
    assert_eq!(one.bytes.cmp(&other.bytes), one.model.cmp(&other.model));
    assert_eq!(hash(&one.bytes), hash(one.model.as_slice()));
    let (mut made, mut at) = (Vec::<u8>::new(), 0);
    let edits: Vec<_> = one.bytes.diff(&other.bytes).collect();
    assert_eq!(edits.is_empty(), one.model == other.model);
    for edit in edits {
        assert!(!(edit.ours.is_empty() && edit.theirs.is_empty()));
        assert!(edit.ours.start > at || at == 0);
        made.extend(&one.model[at..edit.ours.start]);
        made.extend(&other.model[edit.theirs]);
        at = edit.ours.end;
    }
    made.extend(&one.model[at..]);
    assert_eq!(made, other.model);
}

/// Merges what only one side has changed, or both in the same way, each in memory of its own.
fn merge(one: &Version, other: &Version) {
    let nobody = |_: Overlap| unreachable!("only one side has changed");
    assert_eq!(one.bytes.merge(&other.bytes, &one.bytes, nobody), other.bytes);
    assert_eq!(one.bytes.merge(&one.bytes, &other.bytes, nobody), other.bytes);
    assert_eq!(one.bytes.merge(&other.bytes, &other.bytes, nobody), other.bytes);
    let again = Bytes::from(&*other.model);
    assert_eq!(one.bytes.merge(&other.bytes, &again, nobody), other.bytes);
    assert_eq!(one.bytes.merge(&again, &other.bytes, nobody), other.bytes);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn versions_follow_their_models(steps in steps()) {
        let mut versions = vec![Version::default(); VERSIONS];
        for Step { from, to, part, action } in &steps {
            versions[*to] = match part {
                None => versions[*from].clone(),
                Some((start, length)) => {
                    let Version { bytes, model } = &versions[*from];
                    let range = range(model.len(), *start, *length);
                    let part = bytes.slice(range.clone());
                    // Of a whole that is shared, a part that keeps too much alive is a copy.
                    prop_assert!(part.ptr_eq(bytes) || part.shared_bytes() < 8 * (part.len() + 1));
                    Version { bytes: part, model: model[range].to_owned() }
                }
            };
            match action {
                Action::Append(other) => {
                    let mut other = versions[*other].clone();
                    versions[*to].bytes.append(&mut other.bytes);
                    versions[*to].model.append(&mut other.model);
                    prop_assert!(other.bytes.is_empty());
                }
                Action::SplitOff(at, other) => {
                    let Version { bytes, model } = &mut versions[*to];
                    let at = place(model.len(), *at);
                    let new = Version { bytes: bytes.split_off(at), model: model.split_off(at) };
                    versions[*other] = new;
                }
                _ => versions[*to].run(action),
            }
            versions.iter().for_each(Version::check);
            compare(&versions[*from], &versions[*to]);
            if from == &0 {
                merge(&versions[*from], &versions[*to]);
            }
        }
    }

    /// Each side edits one half of the base: nothing overlaps, so both edits are in the merge.
    #[test]
    fn edits_of_two_halves_merge(
        (left, right) in (prop::collection::vec(0..9_u8, 30..60), prop::collection::vec(10..19_u8, 30..60)),
        (left_at, right_at) in (0..30_usize, 1..30_usize),
        new in 20..29_u8,
    ) {
        let (mut new_left, mut new_right) = (left.clone(), right.clone());
        new_left.insert(left_at, new);
        new_right.insert(right_at, new);
        let between = [255_u8; 9];
        let all = |left: &[u8], right: &[u8]| Bytes::from([left, &between[..], right].concat());
        let base = all(&left, &right);
        let (ours, theirs) = (all(&new_left, &right), all(&left, &new_right));
        let merged = base.merge(&ours, &theirs, |overlap| panic!("{overlap:?}"));
        prop_assert_eq!(merged, all(&new_left, &new_right));
    }
}
