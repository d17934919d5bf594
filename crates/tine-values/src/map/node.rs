#![allow(unsafe_code)]
//! [`Node`]: a leaf, or an inner node that leads to sixteen, chosen by four bits of the hash.
//!
//! ```text
//! inner | count | A | A | A | A | B | B | C | i | D | D | D | D | D | D | D | D |
//! ```
//!
//! A leaf stands in one slot, or in 2, 4, 8 or all 16 that begin at a multiple of that number: it splits in two when it
//! is full, so that leaves are never less than half full because of the fan-out. An inner node stands in one slot.
//!
//! **Invariants** of a live inner node:
//! 1. Every slot has a live node, of which the inner node is one owner, however many slots it is in.
//! 2. The slots of a node are next to each other.

use core::ptr;

use super::leaf::{Head, Leaf, Unit};
use crate::block::Block;
use crate::count::Count;

/// How many bits of a hash an inner node tells apart, from the highest of the hash on.
///
/// A copied inner node costs one count in each child's memory: a larger fan-out makes writes to shared maps dearer,
/// a smaller one look-ups.
pub(super) const FAN_BITS: u32 = 4;
pub(super) const FAN: usize = 1 << FAN_BITS;

/// How many bits of a hash choose the leaf, at most: what then has more keys than a leaf should has bad hashes.
pub(super) const WAY_BITS: u32 = 32;

/// Which child of the root a hash leads to; shifted by [`FAN_BITS`] for each level, which of that child's.
#[inline]
pub(super) fn slot_of(hash: u64) -> usize {
    (hash >> (u64::BITS - FAN_BITS)) as usize
}

type Inner<K, V> = Block<(), Node<K, V>>;

/// A pointer to a node, with a tag if it is a leaf. A copy is not an owner; who calls its methods vouches that
/// the node is live.
pub(super) struct Node<K, V>(Block<Head, Unit<K, V>>);

impl<K, V> Clone for Node<K, V> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K, V> Copy for Node<K, V> {}

impl<K, V> PartialEq for Node<K, V> {
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

/// The slots of an inner node.
pub(super) struct Slots<K, V>(*mut Node<K, V>);

impl<K, V> Clone for Slots<K, V> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K, V> Copy for Slots<K, V> {}

/// What a node is.
pub(super) enum View<K, V> {
    Leaf(Leaf<K, V>),
    Inner(Slots<K, V>),
}

impl<K, V> Node<K, V> {
    pub(super) fn leaf(leaf: Leaf<K, V>) -> Self {
        Self(leaf.0)
    }

    /// Returns an inner node whose children are what `child` gives for each slot. One allocation.
    pub(super) fn inner(mut child: impl FnMut(usize) -> Self) -> Self {
        let inner = Inner::new((), FAN);
        for slot in 0..FAN {
            // SAFETY: the block is new, and has room for so many.
            unsafe { inner.slots().add(slot).write(child(slot)) };
        }
        // The tag that no leaf has.
        Self(inner.cast())
    }

    #[inline]
    pub(super) fn view(self) -> View<K, V> {
        if self.0.tag() == 0 {
            View::Inner(Slots(self.as_inner().slots()))
        } else {
            View::Leaf(Leaf(self.0))
        }
    }

    #[inline]
    fn as_inner(self) -> Inner<K, V> {
        self.0.cast::<(), Self>()
    }

    // From here on: see the type for what a caller vouches.

    #[inline]
    pub(super) unsafe fn count<'a>(self) -> &'a Count {
        // SAFETY: the node is live, and its tag tells what it is.
        unsafe {
            match self.view() {
                View::Leaf(leaf) => leaf.count(),
                View::Inner(_) => self.as_inner().count(),
            }
        }
    }

    pub(super) unsafe fn bytes(self) -> usize {
        match self.view() {
            // SAFETY: the leaf is live.
            View::Leaf(leaf) => unsafe { leaf.bytes() },
            View::Inner(_) => Inner::<K, V>::bytes(FAN),
        }
    }

    /// Returns a node with one owner and the same content: entries are cloned, children shared.
    pub(super) unsafe fn copied(self) -> Self
    where
        K: Clone,
        V: Clone,
    {
        // SAFETY: the node is live, and so are its children, of which the copy becomes an owner.
        unsafe {
            match self.view() {
                View::Leaf(leaf) => Self::leaf(leaf.copied()),
                View::Inner(slots) => {
                    slots.children().for_each(|child| child.count().add_owner());
                    Self::inner(|slot| slots.get(slot))
                }
            }
        }
    }

    /// Takes an owner away; the last one frees the node and what only it owned, also if a `Drop` panics. Goes down as
    /// deep as the tree is high, which is eight inner nodes at most.
    pub(super) unsafe fn release(self) {
        // SAFETY: the caller gives up its share; the last owner may free, once.
        unsafe {
            if self.count().remove_owner() {
                self.free();
            }
        }
    }

    /// Frees a node that has no owner any more, and what only it owned.
    unsafe fn free(self) {
        // SAFETY: nobody else reaches the node.
        unsafe {
            match self.view() {
                View::Leaf(leaf) => leaf.free_with_entries(),
                View::Inner(slots) => drop(
                    Orphans {
                        inner: self,
                        slots,
                        slot: 0,
                    }
                    .released(),
                ),
            }
        }
    }

    /// Frees an inner node of which the caller is the only owner, whose share of the children it takes over.
    pub(super) unsafe fn free_inner(self) {
        // SAFETY: as the caller vouches.
        unsafe { self.as_inner().free(FAN) };
    }
}

/// The children of an inner node without owners, from `slot` on.
struct Orphans<K, V> {
    inner: Node<K, V>,
    slots: Slots<K, V>,
    slot: usize,
}

impl<K, V> Orphans<K, V> {
    /// Releases them all.
    fn released(mut self) -> Self {
        self.release_rest();
        self
    }

    fn release_rest(&mut self) {
        while self.slot < FAN {
            // SAFETY: the inner node is still live, though without owners, and its share of each child is given up
            // once, since the number goes up first.
            unsafe {
                let child = self.slots.get(self.slot);
                self.slot = self.slots.end_of(self.slot);
                if child.count().remove_likely_sole_owner() {
                    child.free();
                }
            }
        }
    }
}

impl<K, V> Drop for Orphans<K, V> {
    fn drop(&mut self) {
        // After a panic: what is left.
        self.release_rest();
        // SAFETY: it has no owner, and its children are given up.
        unsafe { self.inner.free_inner() };
    }
}

impl<K, V> Slots<K, V> {
    #[inline]
    pub(super) unsafe fn get(self, slot: usize) -> Node<K, V> {
        debug_assert!(slot < FAN);
        // SAFETY: the inner node is live and has that slot.
        unsafe { *self.0.add(slot) }
    }

    /// Returns the first slot behind `slot` that has another node.
    #[inline]
    pub(super) unsafe fn end_of(self, slot: usize) -> usize {
        // SAFETY: the inner node is live and has those slots.
        unsafe {
            let node = self.get(slot);
            (slot + 1..FAN)
                .find(|&slot| self.get(slot) != node)
                .unwrap_or(FAN)
        }
    }

    /// Returns the first slot that has the node of `slot`.
    pub(super) unsafe fn start_of(self, slot: usize) -> usize {
        // SAFETY: the inner node is live and has those slots.
        unsafe {
            let node = self.get(slot);
            (0..slot)
                .rev()
                .find(|&slot| self.get(slot) != node)
                .map_or(0, |slot| slot + 1)
        }
    }

    /// Returns each child once.
    pub(super) unsafe fn children(self) -> impl Iterator<Item = Node<K, V>> {
        let mut last = None;
        // SAFETY: the inner node is live.
        let all = (0..FAN).map(move |slot| unsafe { self.get(slot) });
        all.filter(move |&node| last.replace(node) != Some(node))
    }
}

/// Where the pointer to a node is: in a slot of an inner node, or the root.
pub(super) struct Spot<K, V> {
    slots: *mut Node<K, V>,
    slot: usize,
    is_root: bool,
}

impl<K, V> Clone for Spot<K, V> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K, V> Copy for Spot<K, V> {}

impl<K, V> Spot<K, V> {
    #[inline]
    pub(super) fn root(root: &mut Node<K, V>) -> Self {
        Self {
            slots: ptr::from_mut(root),
            slot: 0,
            is_root: true,
        }
    }

    #[inline]
    pub(super) fn child(slots: Slots<K, V>, slot: usize) -> Self {
        Self {
            slots: slots.0,
            slot,
            is_root: false,
        }
    }

    #[inline]
    pub(super) unsafe fn get(self) -> Node<K, V> {
        // SAFETY: the caller vouches for the root or the inner node.
        unsafe { *self.slots.add(self.slot) }
    }

    /// Returns the inner node's slots, and which of them have the node; `None` for the root.
    pub(super) unsafe fn run(self) -> Option<(Slots<K, V>, core::ops::Range<usize>)> {
        if self.is_root {
            return None;
        }
        let slots = Slots(self.slots);
        // SAFETY: the caller vouches for the inner node.
        Some(unsafe { (slots, slots.start_of(self.slot)..slots.end_of(self.slot)) })
    }

    /// Puts `node` wherever the node is. The caller may write the inner node, and takes the old node's owner.
    pub(super) unsafe fn replace(self, node: Node<K, V>) {
        // SAFETY: as the caller vouches.
        unsafe {
            match self.run() {
                None => *self.slots = node,
                Some((slots, run)) => slots.fill(run, node),
            }
        }
    }
}

impl<K, V> Slots<K, V> {
    /// Puts `node` into all slots of a range. The caller may write the inner node, and minds the owners.
    pub(super) unsafe fn fill(self, range: core::ops::Range<usize>, node: Node<K, V>) {
        for slot in range {
            // SAFETY: as the caller vouches; the range is of slots.
            unsafe { *self.0.add(slot) = node };
        }
    }
}
