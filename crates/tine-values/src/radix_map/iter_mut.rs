//! Walking a map in key order, from both ends, to write its values.

use alloc::collections::VecDeque;
use core::fmt;
use core::iter::FusedIterator;
use core::ops::Range;
use core::slice;

use super::iter::{bits_up_to, piece};
use super::node::{Node, ViewMut};
use super::{NODE_BITS, RadixMap, bits_at, last_key, slot_of};

/// The pieces of a map or of a range of it, in key order, to be written: what [`RadixMap::iter_mut`] and
/// [`RadixMap::range_mut`] return.
pub struct IterMut<'a, T> {
    /// What has not been come to, in key order; only what is outermost has been taken apart. A subtree that is come to has
    /// left the queue: if a clone panics then, the walk goes on behind it.
    queue: VecDeque<Rest<'a, T>>,
    /// Nothing outside these keys is given out. No fill lies across their ends.
    first: u64,
    last: u64,
}

/// The values of a map, one for each piece, to be written: what [`RadixMap::values_mut`] returns.
pub struct ValuesMut<'a, T> {
    pieces: IterMut<'a, T>,
}

/// A subtree, or what is left of a leaf.
enum Rest<'a, T> {
    Node {
        node: &'a mut Node<T>,
        level: u32,
        base: u64,
    },
    Leaf {
        base: u64,
        /// Which slots the values are in.
        bits: u64,
        values: slice::IterMut<'a, T>,
    },
}

impl<'a, T> IterMut<'a, T> {
    fn new(map: &'a mut RadixMap<T>, first: u64, last: u64) -> Self {
        let (level, queue) = (map.height, VecDeque::new());
        let mut walk = Self { queue, first, last };
        if let Some(node) = &mut map.root {
            let root = Rest::Node { node, level, base: 0 };
            walk.queue.extend(walk.is_met(0, level).then_some(root));
        }
        walk
    }

    /// Returns whether there are keys to be given out among those of a node.
    fn is_met(&self, base: u64, level: u32) -> bool {
        base <= self.last && base + last_key(level) >= self.first
    }

    fn leaf(&self, base: u64, bits: u64, values: &'a mut [T]) -> Rest<'a, T> {
        let (from, to) = (self.first.max(base), self.last.min(base + last_key(0)));
        let before = bits & ((1 << slot_of(from, 0)) - 1);
        let bits_here = bits & !before & bits_up_to(slot_of(to, 0));
        let skipped = before.count_ones() as usize;
        Rest::Leaf {
            base,
            bits: bits_here,
            values: values[skipped..skipped + bits_here.count_ones() as usize].iter_mut(),
        }
    }

    /// Returns what the children of a node are, in order, of those that have keys to be given out.
    fn children(
        &self,
        level: u32,
        base: u64,
        mut bits: u64,
        nodes: &'a mut [Node<T>],
    ) -> VecDeque<Rest<'a, T>> {
        let level = level - 1;
        let mut children = VecDeque::with_capacity(1 << NODE_BITS);
        for node in nodes {
            let base = base + (u64::from(bits.trailing_zeros()) << bits_at(level));
            bits &= bits - 1;
            if self.is_met(base, level) {
                children.push_back(Rest::Node { node, level, base });
            }
        }
        children
    }
}

impl<'a, T: Clone> Iterator for IterMut<'a, T> {
    type Item = (Range<u64>, &'a mut T);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(Rest::Leaf { base, bits, values }) = self.queue.front_mut()
                && let Some(value) = values.next()
            {
                let key = *base + u64::from(bits.trailing_zeros());
                *bits &= *bits - 1;
                return Some((piece(key, key), value));
            }
            let Rest::Node { node, level, base } = self.queue.pop_front()? else {
                continue;
            };
            match node.view_mut() {
                ViewMut::Fill(value) => return Some((piece(base, base + last_key(level)), value)),
                ViewMut::Leaf(bits, values) => self.queue.push_front(self.leaf(base, bits, values)),
                ViewMut::Inner(bits, nodes) => {
                    let children = self.children(level, base, bits, nodes);
                    children
                        .into_iter()
                        .rev()
                        .for_each(|child| self.queue.push_front(child));
                }
            }
        }
    }

    fn last(mut self) -> Option<Self::Item> {
        self.next_back()
    }
}

impl<T: Clone> DoubleEndedIterator for IterMut<'_, T> {
    fn next_back(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(Rest::Leaf { base, bits, values }) = self.queue.back_mut()
                && let Some(value) = values.next_back()
            {
                let slot = bits.ilog2();
                *bits ^= 1 << slot;
                let key = *base + u64::from(slot);
                return Some((piece(key, key), value));
            }
            let Rest::Node { node, level, base } = self.queue.pop_back()? else {
                continue;
            };
            match node.view_mut() {
                ViewMut::Fill(value) => return Some((piece(base, base + last_key(level)), value)),
                ViewMut::Leaf(bits, values) => self.queue.push_back(self.leaf(base, bits, values)),
                ViewMut::Inner(bits, nodes) => {
                    let children = self.children(level, base, bits, nodes);
                    self.queue.extend(children);
                }
            }
        }
    }
}

impl<T: Clone> FusedIterator for IterMut<'_, T> {}

impl<'a, T: Clone> Iterator for ValuesMut<'a, T> {
    type Item = &'a mut T;

    fn next(&mut self) -> Option<&'a mut T> {
        self.pieces.next().map(|(_, value)| value)
    }
}

impl<T: Clone> DoubleEndedIterator for ValuesMut<'_, T> {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.pieces.next_back().map(|(_, value)| value)
    }
}

impl<T: Clone> FusedIterator for ValuesMut<'_, T> {}

impl<T: Clone> RadixMap<T> {
    /// Returns the pieces in key order, as [`iter`](Self::iter) does, their values to be written: that of a range at once
    /// for all its keys. Copies a shared node when it comes to it.
    pub fn iter_mut(&mut self) -> IterMut<'_, T> {
        IterMut::new(self, 0, u64::MAX)
    }

    /// Returns the pieces that `keys` has, their values to be written, as [`iter_mut`](Self::iter_mut) does. A range that has
    /// one value and lies across an end becomes several pieces.
    pub fn range_mut(&mut self, keys: Range<u64>) -> IterMut<'_, T> {
        let Some(last) = keys.end.checked_sub(1).filter(|last| keys.start <= *last) else {
            return IterMut::default();
        };
        self.cut_before(keys.start);
        self.cut_before(keys.end);
        IterMut::new(self, keys.start, last)
    }

    /// Returns the values in the order of their keys, to be written: one for each piece, so that a range that has one value
    /// is written once.
    pub fn values_mut(&mut self) -> ValuesMut<'_, T> {
        ValuesMut {
            pieces: self.iter_mut(),
        }
    }

    /// Sees to it that no fill has both `key` and the one before.
    fn cut_before(&mut self, key: u64) {
        let Some(before) = key.checked_sub(1).filter(|_| key < u64::MAX) else {
            return;
        };
        let both = before..key + 1;
        if self
            .range(both.clone())
            .next()
            .is_some_and(|(keys, _)| keys == both)
        {
            // Goes down to a leaf.
            self.place(key);
        }
    }
}

impl<'a, T: Clone> IntoIterator for &'a mut RadixMap<T> {
    type Item = (Range<u64>, &'a mut T);
    type IntoIter = IterMut<'a, T>;

    fn into_iter(self) -> IterMut<'a, T> {
        self.iter_mut()
    }
}

impl<T> Default for IterMut<'_, T> {
    /// Returns an iterator over nothing.
    fn default() -> Self {
        Self {
            queue: VecDeque::new(),
            first: 1,
            last: 0,
        }
    }
}

impl<T> fmt::Debug for IterMut<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IterMut").finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for ValuesMut<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ValuesMut").finish_non_exhaustive()
    }
}
