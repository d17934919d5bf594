//! The whole key space, cut at the places where trees change shape and near its end.

use std::ops::Range;

use tine_values::RadixMap;
use tine_values::radix_map::Entry;

use super::{Action, Differences, Pieces, Value, check_alone, extract, join, pieces_of, rebuilt, write};

/// Where the pieces of the key space begin; the last one is the last key alone.
pub(super) fn cuts() -> Vec<u64> {
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
pub(super) struct Vast {
    pub(super) map: RadixMap<Value>,
    /// The value of each piece.
    pub(super) model: Vec<Option<u32>>,
}

impl Vast {
    pub(super) fn run(&mut self, cuts: &[u64], action: &Action, value: u32) {
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

    pub(super) fn check(&self, cuts: &[u64]) {
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

    pub(super) fn differences(&self, other: &Self, cuts: &[u64]) -> Differences {
        let pairs = (0..cuts.len()).filter(|&at| self.model[at] != other.model[at]);
        join(pairs.map(|at| (cuts[at], last_of(cuts, at), (self.model[at], other.model[at]))))
    }
}

fn last_of(cuts: &[u64], at: usize) -> u64 {
    cuts.get(at + 1).map_or(u64::MAX, |next| next - 1)
}
