//! Goal: a `Text` is the string it claims to be, and no version ever sees another's writes.
//! Method: random operations on eight versions that are cloned and cut from each other, and on a `String` beside each;
//! after each step *every* version is compared with its `String`, and two of them with each other. The characters have one to
//! four bytes; the versions cross the lengths at which they move from the value to the heap and are shared or copied.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};

use proptest::prelude::*;
use tine_values::{Overlap, Text};

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
    Push(char),
    PushStr(String),
    ExtendFromWithin(usize, usize),
    /// Another version is appended.
    PushOther(usize),
    Insert(usize, char),
    InsertStr(usize, String),
    Remove(usize),
    Pop,
    Truncate(usize),
    SplitOff(usize, usize),
    Clear,
    Retain(u32),
    ReplaceRange(usize, usize, String),
    Drain(usize, usize),
    Uppercase,
    Reserve(usize),
    Shrink,
    Bytes,
    Static(bool),
}

fn strings() -> impl Strategy<Value = String> {
    prop_oneof!["[a-cé€😀]{0,30}", "[a-c]{0,3}", "[aé]{100,300}"]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let place = || any::<u16>().prop_map(usize::from);
    let character = || prop::sample::select(vec!['a', 'b', 'é', '€', '😀']);
    let action = prop_oneof![
        1 => Just(Action::Nothing),
        4 => character().prop_map(Action::Push),
        4 => strings().prop_map(Action::PushStr),
        2 => (place(), place()).prop_map(|(at, length)| Action::ExtendFromWithin(at, length)),
        2 => (0..VERSIONS).prop_map(Action::PushOther),
        2 => (place(), character()).prop_map(|(at, character)| Action::Insert(at, character)),
        2 => (place(), strings()).prop_map(|(at, text)| Action::InsertStr(at, text)),
        2 => place().prop_map(Action::Remove),
        2 => Just(Action::Pop),
        2 => place().prop_map(Action::Truncate),
        2 => (place(), 0..VERSIONS).prop_map(|(at, other)| Action::SplitOff(at, other)),
        1 => Just(Action::Clear),
        1 => any::<u32>().prop_map(Action::Retain),
        3 => (place(), place(), strings()).prop_map(|(at, length, text)| Action::ReplaceRange(at, length, text)),
        2 => (place(), place()).prop_map(|(at, length)| Action::Drain(at, length)),
        2 => Just(Action::Uppercase),
        1 => (0..500_usize).prop_map(Action::Reserve),
        1 => Just(Action::Shrink),
        1 => Just(Action::Bytes),
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

/// Returns the boundary between characters at or before a place scaled to the text.
fn boundary(text: &str, place: usize) -> usize {
    text.floor_char_boundary(place % (text.len() + 1))
}

fn range(text: &str, start: usize, length: usize) -> std::ops::Range<usize> {
    let start = boundary(text, start);
    start..start + boundary(&text[start..], length)
}

#[derive(Clone, Default)]
struct Version {
    text: Text,
    model: String,
}

const LONG: &str = "a static text that is longer than what fits in the value";

impl Version {
    fn run(&mut self, action: &Action) {
        let Self { text, model } = self;
        match action {
            Action::Nothing | Action::PushOther(_) | Action::SplitOff(..) => {}
            Action::Push(character) => {
                text.push(*character);
                model.push(*character);
            }
            Action::PushStr(more) => {
                *text += more;
                *model += more;
            }
            Action::ExtendFromWithin(at, length) => {
                let range = range(model, *at, *length);
                text.extend_from_within(range.clone());
                model.extend_from_within(range);
            }
            Action::Insert(at, character) => {
                let at = boundary(model, *at);
                text.insert(at, *character);
                model.insert(at, *character);
            }
            Action::InsertStr(at, more) => {
                let at = boundary(model, *at);
                text.insert_str(at, more);
                model.insert_str(at, more);
            }
            Action::Remove(at) => {
                let at = boundary(model, *at);
                if at < model.len() {
                    assert_eq!(text.remove(at), model.remove(at));
                }
            }
            Action::Pop => assert_eq!(text.pop(), model.pop()),
            Action::Truncate(at) => {
                let at = boundary(model, *at);
                text.truncate(at);
                model.truncate(at);
            }
            Action::Clear => {
                text.clear();
                model.clear();
            }
            Action::Retain(bits) => {
                let keep = |character: char| bits >> (character as u32 % 32) & 1 == 1;
                text.retain(keep);
                model.retain(keep);
            }
            Action::ReplaceRange(at, length, with) => {
                let range = range(model, *at, *length);
                text.replace_range(range.clone(), with);
                model.replace_range(range, with);
            }
            Action::Drain(at, length) => {
                let range = range(model, *at, *length);
                assert!(text.drain(range.clone()).eq(model.drain(range)));
            }
            Action::Uppercase => {
                text.as_mut_str().make_ascii_uppercase();
                model.make_ascii_uppercase();
                assert!(text.is_unique() && text.get_mut().is_some());
            }
            Action::Reserve(additional) => {
                text.reserve(*additional);
                assert!(text.capacity() >= model.len() + additional);
            }
            Action::Shrink => text.shrink_to_fit(),
            Action::Bytes => {
                let mut bytes = std::mem::take(text).into_bytes();
                bytes.push(0xFF);
                let error = Text::from_utf8(bytes).unwrap_err();
                assert_eq!(error.utf8_error().valid_up_to(), model.len());
                bytes = error.into_bytes();
                assert_eq!(bytes.pop(), Some(0xFF));
                *text = Text::from_utf8(bytes).unwrap();
            }
            Action::Static(long) => {
                let new = if *long { LONG } else { "ab" };
                *text = Text::from_static(new);
                *model = new.to_owned();
            }
        }
    }

    fn check(&self) {
        let Self { text, model } = self;
        assert_eq!(text, model);
        assert_eq!((text.len(), text.is_empty()), (model.len(), model.is_empty()));
        assert!(text.capacity() >= text.len());
        let heap = text.own_bytes() + text.shared_bytes();
        assert!(heap == 0 || heap > text.len(), "{heap} for {}", text.len());
        let clone = text.clone();
        assert!(clone.ptr_eq(text) && clone == *text);
        assert_eq!(clone.own_bytes(), 0);
    }
}

fn hash(value: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// Makes the other text by what the diff says.
fn compare(one: &Version, other: &Version) {
    assert_eq!(one.text == other.text, one.model == other.model);
    assert_eq!(one.text.cmp(&other.text), one.model.cmp(&other.model));
    assert_eq!(hash(&one.text), hash(one.model.as_str()));
    let (mut made, mut at) = (String::new(), 0);
    let edits: Vec<_> = one.text.diff(&other.text).collect();
    assert_eq!(edits.is_empty(), one.model == other.model);
    for edit in edits {
        assert!(!(edit.ours.is_empty() && edit.theirs.is_empty()));
        assert!(edit.ours.start > at || at == 0);
        made.push_str(&one.model[at..edit.ours.start]);
        made.push_str(&other.model[edit.theirs]);
        at = edit.ours.end;
    }
    made.push_str(&one.model[at..]);
    assert_eq!(made, other.model);
}

/// Merges what only one side has changed, or both in the same way, each in memory of its own.
fn merge(one: &Version, other: &Version) {
    let nobody = |_: Overlap| unreachable!("only one side has changed");
    assert_eq!(one.text.merge(&other.text, &one.text, nobody), other.text);
    assert_eq!(one.text.merge(&one.text, &other.text, nobody), other.text);
    assert_eq!(one.text.merge(&other.text, &other.text, nobody), other.text);
    let again = Text::from(&*other.model);
    assert_eq!(one.text.merge(&other.text, &again, nobody), other.text);
    assert_eq!(one.text.merge(&again, &other.text, nobody), other.text);
}

/// A part says by memory what was taken away, a text of its own by what it has.
#[test]
fn one_change_that_is_told_in_two_ways_is_made_once() {
    let nobody = |_: Overlap| unreachable!("both sides have made one change");
    let base = Text::from("ab".repeat(50));
    let (ours, theirs) = (base.slice(2..), Text::from("ab".repeat(49)));
    assert_ne!(
        base.diff(&ours).collect::<Vec<_>>(),
        base.diff(&theirs).collect::<Vec<_>>()
    );
    assert_eq!(base.merge(&ours, &theirs, nobody), theirs);
    assert_eq!(base.merge(&theirs, &ours, nobody), theirs);
    let [base, ours, theirs] = [base, ours, theirs].map(Text::into_bytes);
    let nobody = |_: Overlap| unreachable!("both sides have made one change");
    assert_eq!(base.merge(&ours, &theirs, nobody), theirs);
    assert_eq!(base.merge(&theirs, &ours, nobody), theirs);
}

/// Where a text repeats itself, two parts of it may be equal.
#[test]
fn parts_that_are_equal_have_no_edits() {
    let whole = Text::from("ab".repeat(50));
    let (one, other) = (whole.slice(..50), whole.slice(2..52));
    assert_eq!(one, other);
    assert_eq!(one.diff(&other).count(), 0);
    assert_eq!(whole.slice(..50).diff(&whole.slice(1..51)).count(), 2);
    let theirs = Text::from("ab!".repeat(9));
    let merged = one.merge(&other, &theirs, |_| unreachable!("only they have changed"));
    assert_eq!(merged, theirs);
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
                    let Version { text, model } = &versions[*from];
                    let range = range(model, *start, *length);
                    let part = text.slice(range.clone());
                    // Of a whole that is shared, a part that keeps too much alive is a copy.
                    prop_assert!(part.ptr_eq(text) || part.shared_bytes() < 8 * (part.len() + 1));
                    Version { text: part, model: model[range].to_owned() }
                }
            };
            match action {
                Action::PushOther(other) => {
                    let other = versions[*other].clone();
                    versions[*to].text.push_str(&other.text);
                    versions[*to].model.push_str(&other.model);
                }
                Action::SplitOff(at, other) => {
                    let Version { text, model } = &mut versions[*to];
                    let at = boundary(model, *at);
                    let new = Version { text: text.split_off(at), model: model.split_off(at) };
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
        (left, right) in ("[a-zé]{30,60}", "[A-Z€]{30,60}"),
        (left_at, right_at) in (0..30_usize, 0..30_usize),
        (left_new, right_new) in ("[0-9]{1,9}", "[0-9]{1,9}"),
    ) {
        let base = Text::from(format!("{left}|||||||||{right}"));
        let (mut new_left, mut new_right) = (left.clone(), right.clone());
        new_left.insert_str(boundary(&left, left_at), &left_new);
        new_right.insert_str(boundary(&right, right_at + 1), &right_new);
        let ours = Text::from(format!("{new_left}|||||||||{right}"));
        let theirs = Text::from(format!("{left}|||||||||{new_right}"));
        let merged = base.merge(&ours, &theirs, |overlap| panic!("{overlap:?}"));
        prop_assert_eq!(merged, format!("{new_left}|||||||||{new_right}"));
    }
}
