//! Walking a map in key order, from both ends.
//!
//! The walk keeps the leaf it is in, not the way there: at a leaf's end it goes down from the root again, to
//! the first leaf or fill at or after the next key. That is one descent for up to 64 entries, and an iterator
//! of a few words.

use core::fmt;
use core::iter::FusedIterator;
use core::ops::{Range, RangeInclusive};

use super::node::{Node, View};
use super::slots::Slots;
use super::{RadixMap, bits_at, last_key, slot_of};

/// The pieces of a map or of a range of it, in key order: what [`RadixMap::iter`] and [`RadixMap::range`]
/// return.
pub struct Iter<'a, T> {
    map: &'a RadixMap<T>,
    /// What is still to be looked at between the two leaves: `first..=last`, unless `first > last`.
    first: u64,
    last: u64,
    /// The leaf that the front is in, and the one that the back is in. Neither has keys of the other.
    leaf: Option<LeafRest<'a, T>>,
    back: Option<LeafRest<'a, T>>,
}

/// What is left of a leaf.
struct LeafRest<'a, T> {
    base: u64,
    bits: u64,
    entries: &'a [T],
}

/// A leaf or a fill, and the keys it stands for.
struct Found<'a, T> {
    base: u64,
    last: u64,
    content: Content<'a, T>,
}

enum Content<'a, T> {
    Leaf(Slots<'a, T>),
    Fill(&'a T),
}

impl<'a, T> Iter<'a, T> {
    /// Returns an iterator over `first..=last`, or over nothing if `first > last`.
    pub(super) fn new(map: &'a RadixMap<T>, first: u64, last: u64) -> Self {
        Self {
            map,
            first,
            last,
            leaf: None,
            back: None,
        }
    }

    /// Goes on behind `key`.
    fn skip_to_after(&mut self, key: u64) {
        if key >= self.last {
            self.set_met();
        } else {
            self.first = key + 1;
        }
    }

    /// Takes note that there is nothing between the two leaves.
    fn set_met(&mut self) {
        (self.first, self.last) = (1, 0);
    }
}

impl<'a, T> Iterator for Iter<'a, T> {
    type Item = (Range<u64>, &'a T);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(entry) = self.leaf.as_mut().and_then(LeafRest::next) {
                return Some(entry);
            }
            if self.first > self.last {
                return self.back.as_mut()?.next();
            }
            let found = find_in(self.map, self.first);
            let Some(Found { base, last, content }) = found.filter(|found| found.base <= self.last) else {
                self.set_met();
                continue;
            };
            let (from, to) = (self.first.max(base), self.last.min(last));
            self.skip_to_after(last);
            match content {
                Content::Fill(value) => {
                    self.leaf = None;
                    return Some((piece(from, to), value));
                }
                Content::Leaf(slots) => self.leaf = Some(LeafRest::new(slots, base, from, to)),
            }
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let in_leaf = |leaf: &Option<LeafRest<'a, T>>| leaf.as_ref().map_or(0, |leaf| leaf.entries.len());
        let least = in_leaf(&self.leaf) + in_leaf(&self.back);
        (least, (self.first > self.last).then_some(least))
    }

    fn last(mut self) -> Option<Self::Item> {
        self.next_back()
    }
}

impl<T> DoubleEndedIterator for Iter<'_, T> {
    #[inline]
    fn next_back(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(entry) = self.back.as_mut().and_then(LeafRest::next_back) {
                return Some(entry);
            }
            if self.first > self.last {
                return self.leaf.as_mut()?.next_back();
            }
            let found = find_back_in(self.map, self.last);
            let Some(Found { base, last, content }) = found.filter(|found| found.last >= self.first) else {
                self.set_met();
                continue;
            };
            let (from, to) = (self.first.max(base), self.last.min(last));
            if base <= self.first {
                self.set_met();
            } else {
                self.last = base - 1;
            }
            match content {
                Content::Fill(value) => {
                    self.back = None;
                    return Some((piece(from, to), value));
                }
                Content::Leaf(slots) => self.back = Some(LeafRest::new(slots, base, from, to)),
            }
        }
    }
}

impl<T> FusedIterator for Iter<'_, T> {}

impl<'a, T> LeafRest<'a, T> {
    /// Returns what a leaf that begins at `base` has in `from..=to`, which are keys of it.
    fn new(slots: Slots<'a, T>, base: u64, from: u64, to: u64) -> Self {
        let all = slots.bits();
        let before = all & ((1 << slot_of(from, 0)) - 1);
        let bits = all & !before & bits_up_to(slot_of(to, 0));
        let skipped = before.count_ones() as usize;
        let entries = &slots.entries()[skipped..skipped + bits.count_ones() as usize];
        Self { base, bits, entries }
    }

    #[inline]
    fn next(&mut self) -> Option<(Range<u64>, &'a T)> {
        let (value, entries) = self.entries.split_first()?;
        let key = self.base + u64::from(self.bits.trailing_zeros());
        self.bits &= self.bits - 1;
        self.entries = entries;
        Some((piece(key, key), value))
    }

    #[inline]
    fn next_back(&mut self) -> Option<(Range<u64>, &'a T)> {
        let (value, entries) = self.entries.split_last()?;
        let slot = self.bits.ilog2();
        self.bits ^= 1 << slot;
        self.entries = entries;
        let key = self.base + u64::from(slot);
        Some((piece(key, key), value))
    }
}

/// Returns the range that is reported for `from..=to`; see "the last key" at [`RadixMap`].
pub(super) fn piece(from: u64, to: u64) -> Range<u64> {
    from..to.saturating_add(1)
}

/// Returns the keys of a range that is reported.
pub(super) fn keys_of(piece: &Range<u64>) -> RangeInclusive<u64> {
    piece.start..=(piece.end - 1).max(piece.start)
}

/// Returns the first leaf or fill of `map` that has something at or after `key`.
fn find_in<T>(map: &RadixMap<T>, key: u64) -> Option<Found<'_, T>> {
    if key > last_key(map.height) {
        return None;
    }
    find(map.root.as_ref()?, map.height, 0, key)
}

/// Returns the first leaf or fill below `node`, which begins at `base`, that has something at or after `key`,
/// which is not before `base`.
fn find<T>(node: &Node<T>, level: u32, base: u64, key: u64) -> Option<Found<'_, T>> {
    let slots = match node.view() {
        View::Fill(value) => {
            return Some(Found {
                base,
                last: base + last_key(level),
                content: Content::Fill(value),
            });
        }
        View::Leaf(slots) => {
            let found = Found {
                base,
                last: base + last_key(0),
                content: Content::Leaf(slots),
            };
            return (slots.bits() >> slot_of(key, 0) != 0).then_some(found);
        }
        View::Inner(slots) => slots,
    };
    let mut bits = slots.bits() & (u64::MAX << slot_of(key, level));
    while bits != 0 {
        let slot = bits.trailing_zeros();
        bits &= bits - 1;
        let child_base = base + (u64::from(slot) << bits_at(level - 1));
        let child = slots.get(slot as usize)?;
        let found = find(child, level - 1, child_base, key.max(child_base));
        if found.is_some() {
            return found;
        }
    }
    None
}

/// Returns the last leaf or fill of `map` that has something at or before `key`.
fn find_back_in<T>(map: &RadixMap<T>, key: u64) -> Option<Found<'_, T>> {
    find_back(map.root.as_ref()?, map.height, 0, key.min(last_key(map.height)))
}

/// Returns the last leaf or fill below `node`, which begins at `base`, that has something at or before `key`, which is
/// not behind what `node` stands for.
fn find_back<T>(node: &Node<T>, level: u32, base: u64, key: u64) -> Option<Found<'_, T>> {
    let slots = match node.view() {
        View::Inner(slots) => slots,
        View::Leaf(slots) => {
            let found = Found {
                base,
                last: base + last_key(0),
                content: Content::Leaf(slots),
            };
            return (slots.bits() & bits_up_to(slot_of(key, 0)) != 0).then_some(found);
        }
        // It has something at its first key, if at any.
        View::Fill(_) => return find(node, level, base, base),
    };
    let mut bits = slots.bits() & bits_up_to(slot_of(key, level));
    while bits != 0 {
        let slot = bits.ilog2();
        bits ^= 1 << slot;
        let child_base = base + (u64::from(slot) << bits_at(level - 1));
        let child = slots.get(slot as usize)?;
        let found = find_back(
            child,
            level - 1,
            child_base,
            key.min(child_base + last_key(level - 1)),
        );
        if found.is_some() {
            return found;
        }
    }
    None
}

/// Returns the bits of all slots up to this one.
pub(super) fn bits_up_to(slot: usize) -> u64 {
    u64::MAX >> (63 - slot)
}

impl<T> Clone for LeafRest<'_, T> {
    fn clone(&self) -> Self {
        Self { ..*self }
    }
}

impl<T> Clone for Iter<'_, T> {
    fn clone(&self) -> Self {
        Self {
            map: self.map,
            first: self.first,
            last: self.last,
            leaf: self.leaf.clone(),
            back: self.back.clone(),
        }
    }
}

impl<T: fmt::Debug> fmt::Debug for Iter<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.clone()).finish()
    }
}
