//! How a map is changed below its surface: the way down to a leaf, and ranges.
//!
//! Keys are given as the map's own at the root, and counted from a node's first key further down, so that
//! no sum overflows at the end of the key space.

use super::node::{Node, View};
use super::slots::{Builder, SlotsMut};
use super::{LEAF_SLOTS, NODE_SLOTS, RadixMap, height_for, last_key, slot_of};
use crate::shared::Shared;

/// Where a key belongs.
pub(super) enum Place<'a, T> {
    /// In this leaf.
    Leaf(SlotsMut<'a, T>),
    /// In a leaf that is not there yet.
    Absent(Vacancy<'a, T>),
}

/// A slot that could lead to a leaf.
pub(super) struct Vacancy<'a, T> {
    key: u64,
    /// The level of what belongs into the slot.
    level: u32,
    parent: Parent<'a, T>,
}

enum Parent<'a, T> {
    Root(&'a mut Option<Node<T>>),
    Node(SlotsMut<'a, Node<T>>),
}

impl<T> Vacancy<'_, T> {
    /// Puts a leaf into the tree, with what it takes to reach it.
    pub(super) fn put(self, leaf: Node<T>) {
        let node = (1..=self.level).fold(leaf, |child, level| {
            Node::inner_of_one(slot_of(self.key, level), child)
        });
        match self.parent {
            Parent::Root(root) => *root = Some(node),
            Parent::Node(mut slots) => drop(slots.insert(slot_of(self.key, self.level + 1), node)),
        }
    }
}

impl<T> RadixMap<T> {
    /// Goes down to the leaf of `key`, and gives this map a copy of each shared node on the way.
    #[inline]
    pub(super) fn place(&mut self, key: u64) -> Place<'_, T>
    where
        T: Clone,
    {
        if self.root.is_none() || key > last_key(self.height) {
            self.raise(key);
        }
        let mut level = self.height;
        if self.root.is_none() {
            return Place::Absent(Vacancy {
                key,
                level,
                parent: Parent::Root(&mut self.root),
            });
        }
        let mut node = self.root.as_mut().expect("just seen");
        while level > 0 {
            let slots = node.inner_mut();
            let slot = slot_of(key, level);
            level -= 1;
            if slots.bits() & (1 << slot) == 0 {
                return Place::Absent(Vacancy {
                    key,
                    level,
                    parent: Parent::Node(slots),
                });
            }
            node = slots.into_mut(slot).expect("just seen");
        }
        Place::Leaf(node.leaf_mut())
    }

    /// Makes the tree high enough for `key`.
    #[cold]
    fn raise(&mut self, key: u64) {
        let height = height_for(key);
        if self.root.is_none() {
            self.height = height;
        }
        while self.height < height {
            self.root = self.root.take().map(|root| Node::inner_of_one(0, root));
            self.height += 1;
        }
    }

    /// Makes the tree as low as its content allows.
    pub(super) fn lower(&mut self) {
        while let Some(root) = &self.root {
            let View::Inner(slots) = root.view() else { return };
            if slots.bits() != 1 {
                return;
            }
            self.root = slots.get(0).cloned();
            self.height -= 1;
        }
    }

    /// Sets the keys `first..=last`, all of one leaf, to what `values` gives. Returns whether it gave enough.
    pub(super) fn insert_in_leaf(
        &mut self,
        first: u64,
        last: u64,
        values: &mut impl Iterator<Item = T>,
        on_old: &mut impl FnMut(u64, T),
    ) -> bool
    where
        T: Clone,
    {
        match self.place(first) {
            Place::Leaf(mut slots) => {
                for key in first..=last {
                    let Some(value) = values.next() else { return false };
                    if let Some(old) = slots.insert(slot_of(key, 0), value) {
                        on_old(key, old);
                    }
                }
                true
            }
            Place::Absent(vacancy) => {
                let wanted = (last - first) as usize + 1;
                let mut builder = Builder::with_room(wanted);
                values.take(wanted).for_each(|value| builder.push(value));
                let given = builder.len();
                if given > 0 {
                    vacancy.put(Node::leaf(builder, slot_bits(slot_of(first, 0), given)));
                }
                given == wanted
            }
        }
    }

    /// Sets the keys `first..=last` to `value`; `last` is not `u64::MAX`.
    pub(super) fn fill_quietly(&mut self, first: u64, last: u64, value: T)
    where
        T: Clone,
    {
        if self.root.is_none() || last > last_key(self.height) {
            self.raise(last);
        }
        let filler = Filler { value, shared: None };
        fill_root(&mut self.root, self.height, first, last, filler);
    }

    /// Removes the keys `first..=last`.
    pub(super) fn clear_quietly(&mut self, first: u64, last: u64)
    where
        T: Clone,
    {
        let Some(root) = &mut self.root else { return };
        let last_here = last_key(self.height);
        if first > last_here {
            return;
        }
        let last = last.min(last_here);
        if (first == 0 && last == last_here) || clear(root, self.height, first, last) {
            self.clear();
        } else {
            self.lower();
        }
    }
}

/// The value that a range gets: its own clone for a key in a leaf, one node for all larger pieces.
struct Filler<T> {
    value: T,
    shared: Option<Node<T>>,
}

impl<T: Clone> Filler<T> {
    fn node(&mut self) -> Node<T> {
        self.shared
            .get_or_insert_with(|| Node::fill(Shared::new(self.value.clone())))
            .clone()
    }
}

fn fill_root<T: Clone>(
    root: &mut Option<Node<T>>,
    height: u32,
    first: u64,
    last: u64,
    mut filler: Filler<T>,
) {
    match root {
        Some(node) if first > 0 || last < last_key(height) => fill(node, height, first, last, &mut filler),
        _ => *root = Some(filled(height, first, last, &mut filler)),
    }
}

/// Sets a part of what `node` stands for.
fn fill<T: Clone>(node: &mut Node<T>, level: u32, first: u64, last: u64, filler: &mut Filler<T>) {
    if level == 0 {
        let mut slots = node.leaf_mut();
        for key in first..=last {
            drop(slots.insert(slot_of(key, 0), filler.value.clone()));
        }
        return;
    }
    let mut slots = node.inner_mut();
    for part in parts(level, first, last) {
        match slots.get_mut(part.slot) {
            Some(child) if !part.is_whole => fill(child, level - 1, part.first, part.last, filler),
            _ => drop(slots.insert(part.slot, filled(level - 1, part.first, part.last, filler))),
        }
    }
}

/// Returns a node that has the filler's value in `first..=last` and nothing else.
fn filled<T: Clone>(level: u32, first: u64, last: u64, filler: &mut Filler<T>) -> Node<T> {
    if first == 0 && last == last_key(level) {
        return filler.node();
    }
    let (from, to) = (slot_of(first, level), slot_of(last, level));
    let bits = slot_bits(from, to - from + 1);
    if level == 0 {
        let mut builder = Builder::with_room(to - from + 1);
        (from..=to).for_each(|_| builder.push(filler.value.clone()));
        return Node::leaf(builder, bits);
    }
    let mut builder = Builder::with_room(to - from + 1);
    for part in parts(level, first, last) {
        builder.push(filled(level - 1, part.first, part.last, filler));
    }
    Node::inner(builder, bits)
}

/// Removes a part of what `node` stands for. Returns whether nothing is left.
fn clear<T: Clone>(node: &mut Node<T>, level: u32, first: u64, last: u64) -> bool {
    if level == 0 {
        let View::Leaf(slots) = node.view() else {
            return clear_leaf(node, first, last);
        };
        let cleared = slot_bits(slot_of(first, 0), (last - first) as usize + 1);
        return match slots.bits() & !cleared {
            0 => true,
            left if left == slots.bits() => false,
            _ => clear_leaf(node, first, last),
        };
    }
    if let View::Inner(slots) = node.view() {
        let (from, to) = (slot_of(first, level), slot_of(last, level));
        if slots.bits() & slot_bits(from, to - from + 1) == 0 {
            return false;
        }
    }
    let mut slots = node.inner_mut();
    for part in parts(level, first, last) {
        let Some(child) = slots.get_mut(part.slot) else {
            continue;
        };
        if part.is_whole || clear(child, level - 1, part.first, part.last) {
            drop(slots.remove(part.slot));
        }
    }
    slots.bits() == 0
}

fn clear_leaf<T: Clone>(node: &mut Node<T>, first: u64, last: u64) -> bool {
    let mut slots = node.leaf_mut();
    for key in first..=last {
        drop(slots.remove(slot_of(key, 0)));
    }
    slots.bits() == 0
}

/// Removes a key that is there. Returns its value, and whether nothing is left.
pub(super) fn remove<T: Clone>(node: &mut Node<T>, level: u32, key: u64) -> (Option<T>, bool) {
    let slot = slot_of(key, level);
    if level == 0 {
        let mut slots = node.leaf_mut();
        let value = slots.remove(slot);
        return (value, slots.bits() == 0);
    }
    let mut slots = node.inner_mut();
    let Some(child) = slots.get_mut(slot) else {
        return (None, false);
    };
    let (value, is_empty) = remove(child, level - 1, key);
    if is_empty {
        drop(slots.remove(slot));
    }
    (value, slots.bits() == 0)
}

/// The part of a range that falls to one slot.
struct Part {
    slot: usize,
    /// Counted from the child's first key.
    first: u64,
    last: u64,
    is_whole: bool,
}

/// Splits `first..=last` among the slots of a node at `level`, which is above 0.
fn parts(level: u32, first: u64, last: u64) -> impl Iterator<Item = Part> {
    let child_last = last_key(level - 1);
    let (from, to) = (slot_of(first, level), slot_of(last, level));
    (from..=to).map(move |slot| {
        let first = if slot == from { first & child_last } else { 0 };
        let last = if slot == to { last & child_last } else { child_last };
        Part {
            slot,
            first,
            last,
            is_whole: first == 0 && last == child_last,
        }
    })
}

/// Returns the bits of `count` slots from `slot` on; `count` is not 0.
fn slot_bits(slot: usize, count: usize) -> u64 {
    debug_assert!(count > 0 && slot + count <= LEAF_SLOTS.max(NODE_SLOTS));
    (u64::MAX >> (64 - count)) << slot
}
