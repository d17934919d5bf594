//! Walking a map in key order.
//!
//! The walk keeps the leaf it is in, not the way there: at a leaf's end it goes down from the root again, to
//! the first leaf or fill at or after the next key. That is one descent for up to 64 entries, and an iterator
//! of a few words.

use core::fmt;
use core::ops::Range;

use super::node::{Node, View};
use super::slots::Slots;
use super::{RadixMap, bits_at, last_key, slot_of};

/// The pieces of a map or of a range of it, in key order: what [`RadixMap::iter`] and [`RadixMap::range`]
/// return.
pub struct Iter<'a, T> {
    map: &'a RadixMap<T>,
    /// What is still to be looked at outside of `leaf`: `first..=last`, unless `first > last`.
    first: u64,
    last: u64,
    leaf: Option<LeafRest<'a, T>>,
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
        }
    }

    /// Goes on behind `key`.
    fn skip_to_after(&mut self, key: u64) {
        if key >= self.last {
            (self.first, self.last) = (1, 0);
        } else {
            self.first = key + 1;
        }
    }
}

impl<'a, T> Iterator for Iter<'a, T> {
    type Item = (Range<u64>, &'a T);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(leaf) = &mut self.leaf
                && let Some((value, entries)) = leaf.entries.split_first()
            {
                let key = leaf.base + u64::from(leaf.bits.trailing_zeros());
                leaf.bits &= leaf.bits - 1;
                leaf.entries = entries;
                return Some((piece(key, key), value));
            }
            if self.first > self.last {
                return None;
            }
            let found = find_in(self.map, self.first);
            let Some(Found { base, last, content }) = found.filter(|found| found.base <= self.last) else {
                (self.first, self.last) = (1, 0);
                self.leaf = None;
                return None;
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
}

impl<'a, T> LeafRest<'a, T> {
    /// Returns what a leaf that begins at `base` has in `from..=to`, which are keys of it.
    fn new(slots: Slots<'a, T>, base: u64, from: u64, to: u64) -> Self {
        let all = slots.bits();
        let before = all & ((1 << slot_of(from, 0)) - 1);
        let bits = all & !before & (u64::MAX >> (63 - slot_of(to, 0)));
        let skipped = before.count_ones() as usize;
        let entries = &slots.entries()[skipped..skipped + bits.count_ones() as usize];
        Self { base, bits, entries }
    }
}

/// Returns the range that is reported for `from..=to`; see "the last key" at [`RadixMap`].
pub(super) fn piece(from: u64, to: u64) -> Range<u64> {
    from..to.saturating_add(1)
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

impl<T> Clone for Iter<'_, T> {
    fn clone(&self) -> Self {
        let leaf = self.leaf.as_ref().map(|leaf| LeafRest { ..*leaf });
        Self {
            map: self.map,
            first: self.first,
            last: self.last,
            leaf,
        }
    }
}

impl<T: fmt::Debug> fmt::Debug for Iter<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.clone()).finish()
    }
}
