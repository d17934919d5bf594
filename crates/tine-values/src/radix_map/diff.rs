//! Comparing two maps by walking both trees at once, past what they share.
//!
//! ```text
//! left    [ A | B | - | fill 7 ]       A is one node, seen from both sides: skipped
//! right   [ A | C | D | fill 7 ]       B and C, - and D: looked into; two fills: compared once
//! ```
//!
//! Where one side is constant (a fill, or nothing) and the other has a node, the constant goes down with the
//! node; neighbouring slots in which both sides are constant and the same are one piece. A lower tree is seen
//! as the first slot of a higher one that has nothing else.

use core::fmt;
use core::iter::FusedIterator;
use core::ops::Range;
use core::ptr;

use alloc::vec::Vec;

use super::iter::piece;
use super::node::{Node, View};
use super::{RadixMap, all_slots, bits_at, last_key};

/// The key ranges in which two maps differ: what [`RadixMap::diff`] and [`RadixMap::diff_by`] return.
pub struct Diff<'a, T, F> {
    same: F,
    /// What is still to be compared, the first keys on top.
    pairs: Vec<Pair<'a, T>>,
}

/// What both maps have in `first..=last`.
struct Pair<'a, T> {
    first: u64,
    last: u64,
    /// The level of a node that stands for the range. No matter if both sides are constant.
    level: u32,
    left: Side<'a, T>,
    right: Side<'a, T>,
}

/// What one map has in a range.
enum Side<'a, T> {
    Absent,
    /// One value at every key.
    Value(&'a T),
    /// A node of a level, which has the beginning of the range if its level is lower than the pair's, and
    /// nothing beyond.
    Node(&'a Node<T>, u32),
}

impl<T> Clone for Side<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Side<'_, T> {}

impl<'a, T> Side<'a, T> {
    /// Returns what `node` is to a pair at `level`.
    fn of(node: &'a Node<T>, node_level: u32, level: u32) -> Self {
        match node.view() {
            View::Fill(value) if node_level == level => Self::Value(value),
            _ => Self::Node(node, node_level),
        }
    }

    /// Returns which slots of a pair at `level` this side has something in.
    fn bits(self, level: u32) -> u64 {
        match self {
            Self::Absent => 0,
            Self::Value(_) => all_slots(level),
            Self::Node(_, node_level) if node_level < level => 1,
            Self::Node(node, _) => match node.view() {
                View::Leaf(slots) => slots.bits(),
                View::Inner(slots) => slots.bits(),
                View::Fill(_) => all_slots(level),
            },
        }
    }

    /// Returns what this side has in a slot of a pair at `level`.
    fn child(self, slot: usize, level: u32) -> Self {
        let Self::Node(node, node_level) = self else {
            return self;
        };
        if node_level < level {
            return if slot == 0 {
                Self::of(node, node_level, level - 1)
            } else {
                Self::Absent
            };
        }
        match node.view() {
            View::Leaf(slots) => slots.get(slot).map_or(Self::Absent, Self::Value),
            View::Inner(slots) => slots
                .get(slot)
                .map_or(Self::Absent, |child| Self::of(child, level - 1, level - 1)),
            View::Fill(value) => Self::Value(value),
        }
    }

    fn value(self) -> Option<&'a T> {
        if let Self::Value(value) = self {
            Some(value)
        } else {
            None
        }
    }

    fn is_constant(self) -> bool {
        !matches!(self, Self::Node(..))
    }

    /// Returns whether both are one and the same, which needs no further look.
    fn is_identical(self, other: Self) -> bool {
        match (self, other) {
            (Self::Absent, Self::Absent) => true,
            (Self::Value(a), Self::Value(b)) => ptr::eq(a, b),
            (Self::Node(a, a_level), Self::Node(b, b_level)) => a_level == b_level && a.ptr_eq(b),
            _ => false,
        }
    }
}

impl<'a, T> Pair<'a, T> {
    fn is_constant(&self) -> bool {
        self.left.is_constant() && self.right.is_constant()
    }

    /// Returns whether both pairs are constant, and the same on each side, and a range can tell of both.
    fn continues(&self, next: &Self) -> bool {
        // Values without a size all have one address: of them the last key could seem to be a piece with others.
        next.last != u64::MAX
            && self.last.checked_add(1) == Some(next.first)
            && self.is_constant()
            && self.left.is_identical(next.left)
            && self.right.is_identical(next.right)
    }
}

impl<'a, T, F> Diff<'a, T, F> {
    pub(super) fn new(left: &'a RadixMap<T>, right: &'a RadixMap<T>, same: F) -> Self {
        let level = left.height.max(right.height);
        let side = |map: &'a RadixMap<T>| match &map.root {
            Some(root) => Side::of(root, map.height, level),
            None => Side::Absent,
        };
        let mut diff = Self {
            same,
            pairs: Vec::new(),
        };
        diff.push(Pair {
            first: 0,
            last: last_key(level),
            level,
            left: side(left),
            right: side(right),
        });
        diff
    }

    /// Adds a pair that lies before all others, unless it is known to be equal.
    fn push(&mut self, pair: Pair<'a, T>) {
        if pair.left.is_identical(pair.right) {
            return;
        }
        match self.pairs.last_mut() {
            Some(next) if pair.continues(next) => next.first = pair.first,
            _ => self.pairs.push(pair),
        }
    }

    /// Adds what a pair's slots have, in place of the pair.
    fn push_children(&mut self, pair: &Pair<'a, T>) {
        let Pair {
            first,
            level,
            left,
            right,
            ..
        } = *pair;
        let child_bits = if level == 0 { 0 } else { bits_at(level - 1) };
        let child_last = if level == 0 { 0 } else { last_key(level - 1) };
        let mut bits = left.bits(level) | right.bits(level);
        while bits != 0 {
            let slot = bits.ilog2();
            bits &= !(1 << slot);
            let first = first + (u64::from(slot) << child_bits);
            self.push(Pair {
                first,
                last: first + child_last,
                level: level.saturating_sub(1),
                left: left.child(slot as usize, level),
                right: right.child(slot as usize, level),
            });
        }
    }
}

impl<T, F> Diff<'_, T, F> {
    /// Passes over everything before `key`, without looking into what lies there. O(height).
    ///
    /// A range that reaches over `key` is returned from there on.
    pub fn skip_before(&mut self, key: u64) {
        while let Some(pair) = self.pairs.pop_if(|pair| pair.first < key) {
            if pair.last < key {
                continue;
            }
            if pair.is_constant() {
                self.pairs.push(Pair { first: key, ..pair });
                return;
            }
            self.push_children(&pair);
        }
    }
}

impl<'a, T, F: Fn(&T, &T) -> bool> Iterator for Diff<'a, T, F> {
    type Item = (Range<u64>, Option<&'a T>, Option<&'a T>);

    fn next(&mut self) -> Option<Self::Item> {
        while let Some(pair) = self.pairs.pop() {
            if !pair.is_constant() {
                self.push_children(&pair);
                continue;
            }
            let (left, right) = (pair.left.value(), pair.right.value());
            let is_same = match (left, right) {
                (Some(left), Some(right)) => (self.same)(left, right),
                _ => false,
            };
            if !is_same {
                return Some((piece(pair.first, pair.last), left, right));
            }
        }
        None
    }
}

impl<T, F: Fn(&T, &T) -> bool> FusedIterator for Diff<'_, T, F> {}

impl<T, F> fmt::Debug for Diff<'_, T, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Diff").finish_non_exhaustive()
    }
}
