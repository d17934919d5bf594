//! Goal: a `RadixMap` holds what was written to it and none of what was written to its forks.
//! Method: random operations on eight maps, forked from each other, and on a plain model of each; after an
//! operation its map is compared with the model, and at the end all maps are, also those nobody touched.

#![no_main]

use std::collections::BTreeMap;
use std::ops::Range;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use tine_values::RadixMap;

/// On the heap, so that AddressSanitizer sees a value dropped twice or never.
type Value = Box<u8>;

/// A key, likelier where nodes begin and end.
#[derive(Arbitrary, Clone, Copy, Debug)]
enum Key {
    Low(u8),
    /// Near a power of two: the borders of leaves, inner nodes and heights among them.
    Border {
        bits: u8,
        offset: i8,
    },
    Any(u64),
}

impl Key {
    fn get(self) -> u64 {
        match self {
            Self::Low(key) => u64::from(key),
            Self::Border { bits, offset } => (1_u64 << (bits % 64)).wrapping_add_signed(i64::from(offset)),
            Self::Any(key) => key,
        }
    }
}

#[derive(Arbitrary, Debug)]
enum Operation {
    Insert { key: Key, value: u8 },
    InsertRun { start: Key, values: Vec<u8> },
    Remove { key: Key },
    Fill { start: Key, end: Key, value: u8 },
    ClearRange { start: Key, end: Key },
    Clear,
    Read { start: Key, end: Key },
    Fork { to: u8 },
    Diff { with: u8 },
}

/// A run of keys, both ends included, and what they hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Piece<T> {
    first: u64,
    last: u64,
    content: T,
}

/// Appends `piece`, joined with the one before if it continues that.
fn push<T: PartialEq>(pieces: &mut Vec<Piece<T>>, piece: Piece<T>) {
    if let Some(before) = pieces.last_mut() {
        assert!(before.last < piece.first, "pieces are in key order");
        if before.last + 1 == piece.first && before.content == piece.content {
            before.last = piece.last;
            return;
        }
    }
    pieces.push(piece);
}

/// Returns the keys of a range that a map reported, whose `u64::MAX..u64::MAX` is the last key.
fn keys(range: &Range<u64>) -> (u64, u64) {
    let last = if *range == (u64::MAX..u64::MAX) {
        u64::MAX
    } else {
        range.end - 1
    };
    assert!(range.start <= last, "no piece is empty");
    (range.start, last)
}

/// A map as it should be: what holds from each of its keys on, up to the next.
#[derive(Clone)]
struct Model {
    steps: BTreeMap<u64, Option<u8>>,
}

impl Model {
    fn new() -> Self {
        Self {
            steps: BTreeMap::from([(0, None)]),
        }
    }

    fn get(&self, key: u64) -> Option<u8> {
        self.steps.range(..=key).next_back().and_then(|(_, value)| *value)
    }

    fn set(&mut self, first: u64, last: u64, value: Option<u8>) {
        let behind = last.checked_add(1).map(|key| (key, self.get(key)));
        let inside: Vec<u64> = self.steps.range(first..=last).map(|(key, _)| *key).collect();
        for key in inside {
            self.steps.remove(&key);
        }
        self.steps.insert(first, value);
        self.steps.extend(behind);
    }

    /// Returns what `first..=last` holds, joined.
    fn pieces(&self, first: u64, last: u64) -> Vec<Piece<u8>> {
        let mut pieces = Vec::new();
        for (from, to) in self.stretches(first, last) {
            if let Some(content) = self.get(from) {
                push(
                    &mut pieces,
                    Piece {
                        first: from,
                        last: to,
                        content,
                    },
                );
            }
        }
        pieces
    }

    /// Returns where the two differ, joined.
    fn diff(&self, other: &Self) -> Vec<Piece<(Option<u8>, Option<u8>)>> {
        let mut pieces = Vec::new();
        for (first, last) in self.stretches(0, u64::MAX) {
            for (first, last) in other.stretches(first, last) {
                let content = (self.get(first), other.get(first));
                if content.0 != content.1 {
                    push(&mut pieces, Piece { first, last, content });
                }
            }
        }
        pieces
    }

    /// Returns `first..=last` cut where a step begins.
    fn stretches(&self, first: u64, last: u64) -> Vec<(u64, u64)> {
        let mut starts = vec![first];
        starts.extend(
            self.steps
                .range(first..=last)
                .map(|(key, _)| *key)
                .filter(|key| *key > first),
        );
        let ends = starts.iter().skip(1).map(|start| start - 1).chain([last]);
        starts.iter().copied().zip(ends).collect()
    }
}

/// A map and what it should hold.
#[derive(Clone)]
struct Pair {
    map: RadixMap<Value>,
    model: Model,
}

impl Pair {
    fn new() -> Self {
        Self {
            map: RadixMap::new(),
            model: Model::new(),
        }
    }

    fn apply(&mut self, operation: &Operation) {
        match *operation {
            Operation::Insert { key, value } => {
                let key = key.get();
                let old = self.map.insert(key, Value::new(value));
                assert_eq!(old.map(|old| *old), self.model.get(key));
                self.model.set(key, key, Some(value));
            }
            Operation::InsertRun { start, ref values } => self.insert_run(start.get(), values),
            Operation::Remove { key } => {
                let key = key.get();
                assert_eq!(self.map.remove(key).map(|old| *old), self.model.get(key));
                self.model.set(key, key, None);
            }
            Operation::Fill { start, end, value } => {
                let range = start.get()..end.get();
                let mut old = Vec::new();
                let map = &mut self.map;
                map.fill(range.clone(), Value::new(value), |range, value| {
                    note(&mut old, &range, value)
                });
                self.replace(range, &old, Some(value));
            }
            Operation::ClearRange { start, end } => {
                let range = start.get()..end.get();
                let mut old = Vec::new();
                self.map
                    .clear_range(range.clone(), |range, value| note(&mut old, &range, value));
                self.replace(range, &old, None);
            }
            Operation::Clear => {
                self.map.clear();
                self.model = Model::new();
            }
            Operation::Read { start, end } => self.read(start.get()..end.get()),
            Operation::Fork { .. } | Operation::Diff { .. } => {}
        }
    }

    fn insert_run(&mut self, start: u64, values: &[u8]) {
        let Some(beyond_first) = (values.len() as u64).checked_sub(1) else {
            return;
        };
        let start = start.min(u64::MAX - beyond_first);
        let mut old = Vec::new();
        self.map.insert_run(
            start,
            values.iter().map(|value| Value::new(*value)),
            |key, value| {
                push(
                    &mut old,
                    Piece {
                        first: key,
                        last: key,
                        content: *value,
                    },
                );
            },
        );
        assert_eq!(old, self.model.pieces(start, start + beyond_first));
        for (key, value) in (start..=u64::MAX).zip(values) {
            self.model.set(key, key, Some(*value));
        }
    }

    /// Compares what an operation on `range` said that it replaces, then does the same to the model.
    fn replace(&mut self, range: Range<u64>, old: &[Piece<u8>], value: Option<u8>) {
        if range.is_empty() {
            assert!(old.is_empty());
            return;
        }
        assert_eq!(old, self.model.pieces(range.start, range.end - 1));
        self.model.set(range.start, range.end - 1, value);
    }

    fn read(&self, range: Range<u64>) {
        let mut pieces = Vec::new();
        self.map
            .range(range.clone())
            .for_each(|(range, value)| note(&mut pieces, &range, value));
        if range.is_empty() {
            assert!(pieces.is_empty());
        } else {
            assert_eq!(pieces, self.model.pieces(range.start, range.end - 1));
        }
        for key in [range.start, range.end] {
            assert_eq!(self.map.get(key).map(|value| **value), self.model.get(key));
        }
    }

    fn diff(&self, other: &Self) {
        let mut pieces = Vec::new();
        for (range, left, right) in self.map.diff(&other.map) {
            let (first, last) = keys(&range);
            let content = (left.map(|value| **value), right.map(|value| **value));
            push(&mut pieces, Piece { first, last, content });
        }
        assert_eq!(pieces, self.model.diff(&other.model));
        assert_eq!(self.map == other.map, pieces.is_empty());
    }

    fn check(&self) {
        let mut pieces = Vec::new();
        self.map
            .iter()
            .for_each(|(range, value)| note(&mut pieces, &range, value));
        assert_eq!(pieces, self.model.pieces(0, u64::MAX));
        assert_eq!(self.map.is_empty(), pieces.is_empty());
    }
}

/// Appends a piece that a map reported.
fn note(pieces: &mut Vec<Piece<u8>>, range: &Range<u64>, value: &Value) {
    let (first, last) = keys(range);
    push(
        pieces,
        Piece {
            first,
            last,
            content: **value,
        },
    );
}

fuzz_target!(|operations: Vec<(u8, Operation)>| {
    let mut pairs: Vec<Pair> = (0..8).map(|_| Pair::new()).collect();
    for (number, operation) in &operations {
        let at = usize::from(*number) % pairs.len();
        match operation {
            Operation::Fork { to } => {
                let fork = pairs[at].clone();
                assert!(fork.map.ptr_eq(&pairs[at].map));
                let to = usize::from(*to) % pairs.len();
                pairs[to] = fork;
            }
            Operation::Diff { with } => pairs[at].diff(&pairs[usize::from(*with) % pairs.len()]),
            _ => pairs[at].apply(operation),
        }
        pairs[at].check();
    }
    pairs.iter().for_each(Pair::check);
});
