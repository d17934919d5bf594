//! Ways down a tree: which child at each level.
//!
//! A path is numbers, not pointers, so it outlives what a write does to the nodes on it, and costs three words. Going
//! down it again takes a step for each level, through nodes that are in the cache.

use core::cmp::Ordering;

use equivalent::Comparable;

use super::edit::{InnerMut, LeafMut, NodeMut};
use super::node::{LEVELS_MAX, LeafRef, Node, View};

/// The way from a root to a leaf.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Path {
    /// Which child at a level, the highest levels first, so that paths of one tree are in order; at level 0, which has
    /// none, always 0.
    slots: [u8; LEVELS_MAX],
}

/// A place between two entries of a leaf, or at its ends: before the entry that has this index.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) path: Path,
    pub(super) index: usize,
}

impl Path {
    /// Returns the way to the first leaf.
    pub(super) fn first() -> Self {
        Self {
            slots: [0; LEVELS_MAX],
        }
    }

    /// Returns the way to the last leaf.
    pub(super) fn last<K, V>(root: &Node<K, V>) -> Self {
        let mut path = Self::first();
        let mut node = root;
        while let [.., last] = node.children() {
            path.set_slot(node.level(), node.children().len() - 1);
            node = last;
        }
        path
    }

    /// Returns which child it takes at `level`.
    #[inline]
    pub(super) fn slot(&self, level: usize) -> usize {
        usize::from(self.slots[LEVELS_MAX - 1 - level])
    }

    /// Takes another child at `level`.
    #[inline]
    pub(super) fn set_slot(&mut self, level: usize, slot: usize) {
        self.slots[LEVELS_MAX - 1 - level] = slot as u8;
    }

    /// Returns the leaf it leads to.
    #[inline]
    pub(super) fn leaf<'a, K, V>(&self, root: &'a Node<K, V>) -> LeafRef<'a, K, V> {
        let mut node = root;
        loop {
            match node.view() {
                View::Leaf(leaf) => return leaf,
                View::Inner(inner) => node = &inner.children[self.slot(node.level())],
            }
        }
    }

    /// Returns the leaf for writing, after copying each node on the way that is shared. If that panics, the tree is
    /// what it was.
    #[inline]
    pub(super) fn leaf_mut<'a, K: Clone, V: Clone>(&self, root: &'a mut Node<K, V>) -> LeafMut<'a, K, V> {
        let mut node = root;
        loop {
            match node.make_unique() {
                NodeMut::Leaf(leaf) => return leaf,
                NodeMut::Inner(inner) => {
                    let slot = self.slot(inner.level());
                    node = inner.into_child(slot);
                }
            }
        }
    }

    /// Calls `visit` with each inner node on the way, from the root on.
    ///
    /// # Panics
    ///
    /// If one of them is shared: [`leaf_mut`](Self::leaf_mut) comes first.
    #[inline]
    pub(super) fn for_each_inner<K, V>(
        &self,
        root: &mut Node<K, V>,
        mut visit: impl FnMut(&mut InnerMut<'_, K, V>),
    ) {
        let mut node = root;
        while let NodeMut::Inner(mut inner) = node.unique().expect("the path has been made the tree's own") {
            visit(&mut inner);
            let slot = self.slot(inner.level());
            node = inner.into_child(slot);
        }
    }

    /// Returns the node on the way that is at `level`, above 0.
    ///
    /// # Panics
    ///
    /// If one on the way is shared: [`leaf_mut`](Self::leaf_mut) comes first.
    pub(super) fn inner_mut<'a, K, V>(&self, root: &'a mut Node<K, V>, level: usize) -> InnerMut<'a, K, V> {
        let mut node = root;
        loop {
            match node.unique().expect("the path has been made the tree's own") {
                NodeMut::Leaf(_) => unreachable!("inner nodes are above the leaves"),
                NodeMut::Inner(inner) if inner.level() == level => return inner,
                NodeMut::Inner(inner) => {
                    let slot = self.slot(inner.level());
                    node = inner.into_child(slot);
                }
            }
        }
    }

    /// Goes on to the next leaf, and returns it. Stays at the last, and returns nothing.
    pub(super) fn step<'a, K, V>(&mut self, root: &'a Node<K, V>) -> Option<&'a Node<K, V>> {
        self.turn(root, |slot, len| (slot + 1 < len).then_some(slot + 1), |_| 0)
    }

    /// Goes back to the leaf before, and returns it. Stays at the first, and returns nothing.
    pub(super) fn step_back<'a, K, V>(&mut self, root: &'a Node<K, V>) -> Option<&'a Node<K, V>> {
        self.turn(root, |slot, _| slot.checked_sub(1), |len| len - 1)
    }

    /// Takes another turn at the lowest node where `aside` finds one, and goes down from there by `onward`.
    #[inline]
    fn turn<'a, K, V>(
        &mut self,
        root: &'a Node<K, V>,
        aside: impl Fn(usize, usize) -> Option<usize>,
        onward: impl Fn(usize) -> usize,
    ) -> Option<&'a Node<K, V>> {
        let mut turning = None;
        let mut node = root;
        while node.level() > 0 {
            let (children, slot) = (node.children(), self.slot(node.level()));
            if let Some(other) = aside(slot, children.len()) {
                turning = Some((node.level(), other, &children[other]));
            }
            node = &children[slot];
        }
        let (level, slot, mut node) = turning?;
        self.set_slot(level, slot);
        while node.level() > 0 {
            let slot = onward(node.children().len());
            self.set_slot(node.level(), slot);
            node = &node.children()[slot];
        }
        Some(node)
    }
}

impl Place {
    /// Returns the place before all entries.
    pub(super) fn first() -> Self {
        Self {
            path: Path::first(),
            index: 0,
        }
    }

    /// Returns the place of the first entry.
    pub(super) fn of_first<K, V>(root: &Node<K, V>) -> Option<Self> {
        let mut place = Self::first();
        while place.path.leaf(root).keys.is_empty() {
            place.path.step(root)?;
        }
        Some(place)
    }

    /// Returns the place of the last entry.
    pub(super) fn of_last<K, V>(root: &Node<K, V>) -> Option<Self> {
        let mut path = Path::last(root);
        loop {
            if let Some(index) = path.leaf(root).keys.len().checked_sub(1) {
                return Some(Self { path, index });
            }
            path.step_back(root)?;
        }
    }

    /// Returns the key of the entry that is at this place, or is the next behind it.
    pub(super) fn key<'a, K, V>(&self, root: &'a Node<K, V>) -> Option<&'a K> {
        let mut path = self.path;
        let mut keys = &path.leaf(root).keys[self.index..];
        while keys.is_empty() {
            path.step(root)?;
            keys = path.leaf(root).keys;
        }
        keys.first()
    }

    /// Returns the place behind the entry that is at this one.
    pub(super) fn next(self) -> Self {
        Self {
            index: self.index + 1,
            ..self
        }
    }

    /// Returns whether this place is behind `other` in the same tree.
    pub(super) fn is_behind(&self, other: &Self) -> bool {
        (self.path.slots, self.index) > (other.path.slots, other.index)
    }
}

/// Returns where `key` is (`Ok`), or would be.
#[inline]
pub(super) fn find<K, V, Q>(root: &Node<K, V>, key: &Q) -> Result<Place, Place>
where
    Q: ?Sized + Comparable<K>,
{
    let mut path = Path::first();
    let mut node = root;
    loop {
        match node.view() {
            View::Inner(inner) => {
                let slot = upper_bound(inner.separators, key);
                path.set_slot(node.level(), slot);
                let level = node.level();
                node = &inner.children[slot];
                node.prefetch(level - 1);
            }
            View::Leaf(leaf) => {
                let index = lower_bound(leaf.keys, key);
                let place = Place { path, index };
                return if is_at(leaf.keys, index, key) {
                    Ok(place)
                } else {
                    Err(place)
                };
            }
        }
    }
}

/// Returns the entry that `key` has.
#[inline]
pub(super) fn get<'a, K, V, Q>(root: &'a Node<K, V>, key: &Q) -> Option<(&'a K, &'a V)>
where
    Q: ?Sized + Comparable<K>,
{
    let mut node = root;
    loop {
        match node.view() {
            View::Inner(inner) => {
                let level = node.level();
                node = &inner.children[upper_bound(inner.separators, key)];
                node.prefetch(level - 1);
            }
            View::Leaf(leaf) => {
                let index = lower_bound(leaf.keys, key);
                return is_at(leaf.keys, index, key).then(|| (&leaf.keys[index], &leaf.values[index]));
            }
        }
    }
}

/// Returns how many of `keys` come before `key`.
#[inline]
pub(super) fn lower_bound<K, Q: ?Sized + Comparable<K>>(keys: &[K], key: &Q) -> usize {
    keys.partition_point(|other| key.compare(other) == Ordering::Greater)
}

/// Returns how many of `keys` come before `key` or are it.
#[inline]
pub(super) fn upper_bound<K, Q: ?Sized + Comparable<K>>(keys: &[K], key: &Q) -> usize {
    keys.partition_point(|other| key.compare(other) != Ordering::Less)
}

#[inline]
pub(super) fn is_at<K, Q: ?Sized + Comparable<K>>(keys: &[K], index: usize, key: &Q) -> bool {
    keys.get(index)
        .is_some_and(|found| key.compare(found) == Ordering::Equal)
}
