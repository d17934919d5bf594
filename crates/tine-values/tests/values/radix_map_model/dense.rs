//! A few hundred keys around a base, with a `BTreeMap` for a model.

use std::collections::BTreeMap;
use std::ops::Range;

use tine_values::RadixMap;

use super::{Action, Differences, Value, check_alone, extract, join, pieces_of, rebuilt, write};

#[derive(Clone, Default)]
pub(super) struct Dense {
    pub(super) map: RadixMap<Value>,
    pub(super) model: BTreeMap<u64, u32>,
}

impl Dense {
    pub(super) fn run(&mut self, base: u64, size: usize, action: &Action, value: u32) {
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

    pub(super) fn check(&self, base: u64, size: usize) {
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

    pub(super) fn differences(&self, other: &Self, base: u64, size: usize) -> Differences {
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
