#![allow(unsafe_code)]
//! Walking the entries of a tree, leaf by leaf, in the order of the hashes that lead there.
//!
//! The walk keeps the leaf it is in and a *point*: how far in the order it has come, as the upper bits of a hash. At a
//! leaf's end it goes down from the root again, to the leaf at the point. That is one descent for dozens of entries,
//! and an iterator of a few words.

use super::leaf::{Entry, Leaf, Place, Places};
use super::node::{FAN, FAN_BITS, View, WAY_BITS, slot_of};
use super::tree::Tree;

/// The point behind all leaves.
pub(super) const END: u64 = 1 << WAY_BITS;

/// A leaf on the walk.
pub(super) struct Stop<K, V> {
    pub(super) leaf: Leaf<K, V>,
    /// The leaf's first point, and the first behind it.
    pub(super) start: u64,
    pub(super) end: u64,
}

/// Returns a hash that leads to a point, which is not the end.
#[inline]
pub(super) fn hash_at(point: u64) -> u64 {
    point << (u64::BITS - WAY_BITS)
}

impl<K, V> Tree<K, V> {
    /// Returns the leaf at a point.
    pub(super) fn stop_at(&self, point: u64) -> Option<Stop<K, V>> {
        if point >= END {
            return None;
        }
        let mut node = self.root?;
        let mut way = hash_at(point);
        let (mut start, mut width, mut run) = (0, END, 0..1);
        loop {
            match node.view() {
                View::Leaf(leaf) => {
                    let end = start + width * run.end;
                    start += width * run.start;
                    return Some(Stop { leaf, start, end });
                }
                // SAFETY: what the tree owns is live, and is not written while the tree is borrowed.
                View::Inner(slots) => unsafe {
                    let slot = slot_of(way);
                    node = slots.get(slot);
                    start += width * run.start;
                    width /= FAN as u64;
                    run = slots.start_of(slot) as u64..slots.end_of(slot) as u64;
                },
            }
            way <<= FAN_BITS;
        }
    }
}

/// Entries that are still to come: what all iterators are made of. It owns nothing and borrows nothing.
pub(super) struct Walk<K, V> {
    places: Option<Places<K, V>>,
    /// The point of the next leaf, and where to end.
    point: u64,
    end: u64,
}

impl<K, V> Walk<K, V> {
    /// Returns a walk over all leaves that begin at `start..end`.
    pub(super) const fn new(start: u64, end: u64) -> Self {
        Self {
            places: None,
            point: start,
            end,
        }
    }

    /// Returns the next entry of the leaf at hand, if there is one.
    ///
    /// # Safety
    ///
    /// The leaf must be live, and written only by who has the walk.
    #[inline]
    unsafe fn next_in_leaf(&mut self) -> Option<(Leaf<K, V>, Place)> {
        let places = self.places.as_mut()?;
        Some((places.leaf(), places.next()?))
    }

    fn enter(&mut self, stop: &Stop<K, V>) {
        self.point = stop.end;
        // SAFETY: who goes on in the leaf vouches for it.
        self.places = Some(unsafe { stop.leaf.places() });
    }

    /// Returns the next entry.
    ///
    /// # Safety
    ///
    /// It must always be the same version of the same tree, which nobody writes meanwhile.
    #[inline]
    pub(super) unsafe fn next<'a>(&mut self, tree: &'a Tree<K, V>) -> Option<&'a Entry<K, V>> {
        // SAFETY: the leaf at hand is the tree's.
        unsafe {
            let (leaf, place) = self.next_place(tree)?;
            Some(&*leaf.entry(place))
        }
    }

    /// Returns where the next entry is.
    ///
    /// # Safety
    ///
    /// As for [`next`](Self::next).
    #[inline]
    pub(super) unsafe fn next_place(&mut self, tree: &Tree<K, V>) -> Option<(Leaf<K, V>, Place)> {
        loop {
            // SAFETY: the leaf at hand is the tree's.
            if let Some(found) = unsafe { self.next_in_leaf() } {
                return Some(found);
            }
            if self.point >= self.end {
                self.places = None;
                return None;
            }
            self.enter(&tree.stop_at(self.point)?);
        }
    }

    /// Returns where the next entry is, in a leaf that is the tree's alone. Copies what is shared.
    ///
    /// # Safety
    ///
    /// It must always be the same tree. Meanwhile only who has the walk may write it, and only entries that the walk
    /// has given, or by [`remove`](Self::remove).
    #[inline]
    pub(super) unsafe fn next_own(&mut self, tree: &mut Tree<K, V>) -> Option<(Leaf<K, V>, Place)>
    where
        K: Clone,
        V: Clone,
    {
        loop {
            // SAFETY: the leaf at hand is the tree's.
            if let Some(found) = unsafe { self.next_in_leaf() } {
                return Some(found);
            }
            self.places = None;
            if self.point >= self.end {
                return None;
            }
            tree.own_way(hash_at(self.point))?;
            self.enter(&tree.stop_at(self.point)?);
        }
    }

    /// Takes out the entry that [`next_own`](Self::next_own) gave last.
    ///
    /// # Safety
    ///
    /// As for `next_own`; `found` must be what that gave.
    pub(super) unsafe fn remove(
        &mut self,
        tree: &mut Tree<K, V>,
        found: (Leaf<K, V>, Place),
        hash: impl FnOnce(&K) -> u64,
    ) -> Entry<K, V> {
        let (leaf, place) = found;
        // SAFETY: the leaf is the tree's alone, and the place has an entry.
        let entry = unsafe { leaf.remove(place, hash) };
        tree.len -= 1;
        if let Some(places) = &mut self.places {
            places.step_back();
        }
        entry
    }
}

impl<K, V> Clone for Walk<K, V> {
    fn clone(&self) -> Self {
        Self {
            places: self.places.clone(),
            ..*self
        }
    }
}
