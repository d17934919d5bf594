//! Writes to more than one element: parts and orders.

use alloc::vec::Vec;
use core::cmp::Ordering;
use core::ops::{Range, RangeBounds};

use super::inner::Inner;
use super::{Array, Key, KeyRef};
use crate::bytes::within;
use crate::value::{Slot, Value};

impl Array {
    /// Takes the first element out and renumbers the others: `array_shift`. O(log n) in the packed form, else O(n).
    pub fn pop_front(&mut self) -> Option<Value> {
        if self.is_empty() {
            return None;
        }
        let len = self.len();
        let inner = self.make_mut();
        let walks = inner.take_walks(|place| {
            if place < len {
                place.saturating_sub(1)
            } else {
                place
            }
        });
        if let Some(slot) = inner.pop_front_packed() {
            inner.set_walks(walks);
            return Some(slot.into_value());
        }
        let mut entries = inner.take_entries().into_iter();
        let (_, first) = entries.next()?;
        *inner = renumbered(entries);
        inner.set_next(inner.next());
        inner.set_walks(walks);
        Some(first.into_value())
    }

    /// Puts values before the first element and renumbers: `array_unshift`. O(n).
    pub fn push_front(&mut self, values: impl IntoIterator<Item = impl Into<Value>>) {
        drop(self.splice(0..0, values));
    }

    /// Takes the elements at these places out, puts values there, renumbers the rest, and returns what was there, renumbered
    /// as well: `array_splice`. Texts stay the keys that they are. In the packed form O(log n) and the number of values, if there are no
    /// references; else O(n).
    ///
    /// # Panics
    ///
    /// If the range starts behind its end or ends behind the last element; nothing has changed then.
    ///
    /// ```
    /// # use tine_values::{Array, Value};
    /// let mut list = Array::from_list(["a", "b", "c", "d"]);
    /// let removed = list.splice(1..3, ["X"]);
    /// assert_eq!(removed, Array::from_list(["b", "c"]));
    /// assert_eq!(list, Array::from_list(["a", "X", "d"]));
    /// ```
    pub fn splice(
        &mut self,
        range: impl RangeBounds<usize>,
        values: impl IntoIterator<Item = impl Into<Value>>,
    ) -> Self {
        let range = within(range, self.len());
        let mut values: Vec<Slot> = values
            .into_iter()
            .map(|value| Slot::Value(value.into()))
            .collect();
        let (len, added) = (self.len(), values.len());
        let inner = self.make_mut();
        let walks = inner.take_walks(|place| {
            let moved = place.max(range.end) - range.len() + added;
            // What is appended is before a walk, also if that was at the end, from where PHP takes none back.
            match place {
                _ if place < range.start || range.start == len => place,
                _ if place < len => moved,
                _ => moved.max(place),
            }
        });
        if let Some(removed) = inner.splice_packed(range.clone(), &mut values) {
            inner.set_walks(walks);
            return Self::of(removed);
        }
        let mut rest = inner.take_entries();
        let behind = rest.split_off(range.end);
        let removed = rest.split_off(range.start);
        let values = values.into_iter().map(|slot| (Key::Int(0), slot));
        *inner = renumbered(rest.into_iter().chain(values).chain(behind));
        inner.set_walks(walks);
        Self::of(renumbered(removed.into_iter()))
    }

    /// Returns the elements at these places, renumbered: `array_slice`. Texts stay the keys that they are. References that others
    /// have stay references. In the packed form O(log n), and what is returned shares what it has, if there are no references; else O(n).
    ///
    /// # Panics
    ///
    /// If the range starts behind its end or ends behind the last element.
    pub fn slice(&self, range: impl RangeBounds<usize>) -> Self {
        let range = within(range, self.len());
        let Some(inner) = self.inner() else {
            return Self::new();
        };
        let part = inner.slice_packed(range.clone());
        Self::of(part.unwrap_or_else(|| renumbered(self.copied(range))))
    }

    /// Returns the elements at these places with their keys: `array_slice` with `preserve_keys`. O(n).
    ///
    /// # Panics
    ///
    /// If the range starts behind its end or ends behind the last element.
    pub fn slice_with_keys(&self, range: impl RangeBounds<usize>) -> Self {
        let range = within(range, self.len());
        Self::of(Inner::of_entries(self.copied(range)))
    }

    fn copied(&self, range: Range<usize>) -> impl Iterator<Item = (Key, Slot)> {
        let elements = self.iter().skip(range.start).take(range.len());
        elements.map(|(key, slot)| (key.to_key(), slot.copied()))
    }

    /// Sorts the values, those that are equal in the order in which they were, and numbers them from 0: `usort`, or `sort`. References move
    /// as they are. If `compare` panics, nothing has changed.
    ///
    /// ```
    /// # use tine_values::{Array, Value};
    /// let mut list = Array::from_list([3, 1, 2]);
    /// list.sort_by(|one, other| one.as_int().cmp(&other.as_int()));
    /// assert_eq!(list, Array::from_list([1, 2, 3]));
    /// ```
    pub fn sort_by(&mut self, mut compare: impl FnMut(&Value, &Value) -> Ordering) {
        if self.is_empty() {
            return;
        }
        let order = self.order(|one, other| compare(&one.1, &other.1));
        let inner = self.make_mut();
        let mut slots: Vec<_> = inner
            .take_entries()
            .into_iter()
            .map(|(_, slot)| Some(slot))
            .collect();
        *inner = Inner::of_slots(order.into_iter().filter_map(|place| slots[place].take()));
    }

    /// Sorts the pairs, those that are equal in the order in which they were; each value keeps its key: `uasort`, `uksort`, `asort`, `ksort`.
    /// If `compare` panics, nothing has changed.
    pub fn sort_pairs_by(
        &mut self,
        mut compare: impl FnMut((KeyRef<'_>, &Value), (KeyRef<'_>, &Value)) -> Ordering,
    ) {
        if self.is_empty() {
            return;
        }
        let order = self.order(|one, other| compare((one.0, &one.1), (other.0, &other.1)));
        let inner = self.make_mut();
        let next = inner.raw_next();
        let mut entries: Vec<_> = inner.take_entries().into_iter().map(Some).collect();
        *inner = Inner::of_entries(order.into_iter().filter_map(|place| entries[place].take()));
        inner.set_next(next);
    }

    /// Returns the places of the elements in the order that `compare` wants.
    fn order(&self, mut compare: impl FnMut(&Pair<'_>, &Pair<'_>) -> Ordering) -> Vec<usize> {
        let pairs: Vec<Pair<'_>> = self.iter().map(|(key, slot)| (key, slot.get())).collect();
        let mut order: Vec<usize> = (0..pairs.len()).collect();
        order.sort_by(|&one, &other| compare(&pairs[one], &pairs[other]));
        order
    }
}

/// A key and its value.
type Pair<'a> = (KeyRef<'a>, Value);

/// Returns elements with the numbers among their keys replaced by 0, 1, 2, ...
fn renumbered(entries: impl Iterator<Item = (Key, Slot)>) -> Inner {
    let mut number = 0..;
    Inner::of_entries(entries.map(|(key, slot)| match key {
        Key::Int(_) => (Key::Int(number.next().unwrap_or(i64::MAX)), slot),
        text => (text, slot),
    }))
}
