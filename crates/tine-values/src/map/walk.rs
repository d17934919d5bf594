#![allow(unsafe_code)]
//! Walking the entries of a tree, leaf by leaf, in the order of the hashes that lead there.
//!
//! The walk keeps the leaf it is in and a *point*: how far in the order it has come, as the upper bits of a hash. At a
//! leaf's end it goes down from the root again, to the leaf at the point. That is one descent for dozens of entries,
//! and an iterator of a few words.

use core::{mem, ptr, slice};

use super::leaf::{Entry, Groups, Leaf, Place};
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

impl<K, V> Stop<K, V> {
    /// Returns the point behind the leaf and the one that it could join, its buddy; behind the end if it has none.
    pub(super) fn end_of_both(&self) -> u64 {
        (self.start | (2 * (self.end - self.start) - 1)) + 1
    }
}

/// Returns the point that a hash leads to.
#[inline]
pub(super) fn point_of(hash: u64) -> u64 {
    hash >> (u64::BITS - WAY_BITS)
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
    /// What is left of the leaf at hand, behind the group at hand.
    groups: Option<Groups<K, V>>,
    /// The group at hand, how many entries it has, and how many of them are still to come, from `entry` on.
    group: usize,
    len: usize,
    left: usize,
    // For reading: who writes asks the leaf. So the walk, and what reads by it, may be of keys that live shorter.
    entry: *const Entry<K, V>,
    /// The point of the next leaf, and where to end.
    point: u64,
    end: u64,
}

// SAFETY: they are but pointers: who follows them vouches for them.
unsafe impl<K, V> Send for Walk<K, V> {}
// SAFETY: as for `Send`.
unsafe impl<K, V> Sync for Walk<K, V> {}

impl<K, V> Walk<K, V> {
    /// Returns a walk over all leaves that begin at `start..end`.
    pub(super) const fn new(start: u64, end: u64) -> Self {
        Self {
            groups: None,
            group: 0,
            len: 0,
            left: 0,
            entry: ptr::null(),
            point: start,
            end,
        }
    }

    /// Returns the point behind the leaf at hand: those before it have been passed.
    #[inline]
    pub(super) fn point(&self) -> u64 {
        self.point
    }

    /// Goes to the next group of the leaf at hand. Returns whether there is one.
    ///
    /// # Safety
    ///
    /// The leaf must be live, and written only by who has the walk.
    #[inline]
    unsafe fn enter_group(&mut self) -> bool {
        let Some(groups) = &mut self.groups else {
            return false;
        };
        let leaf = groups.leaf();
        let Some((group, len)) = groups.next() else {
            return false;
        };
        self.group = group;
        self.entry = leaf.entries_at(group);
        (self.len, self.left) = (len, len);
        true
    }

    fn enter(&mut self, stop: &Stop<K, V>) {
        self.point = stop.end;
        // SAFETY: who goes on in the leaf vouches for it.
        self.groups = Some(unsafe { stop.leaf.used_groups() });
    }

    /// Goes to the next group that has entries. Returns whether there is one.
    ///
    /// # Safety
    ///
    /// As for [`next`](Self::next).
    #[inline(never)]
    unsafe fn go_on(&mut self, tree: &Tree<K, V>) -> bool {
        // SAFETY: the leaf at hand is the tree's.
        while unsafe { !self.enter_group() } {
            self.groups = None;
            let stop = (self.point < self.end).then(|| tree.stop_at(self.point));
            let Some(stop) = stop.flatten() else { return false };
            self.enter(&stop);
        }
        true
    }

    /// Takes the next entry of the group at hand, which has one.
    #[inline]
    fn step(&mut self) -> *const Entry<K, V> {
        let entry = self.entry;
        self.entry = entry.wrapping_add(1);
        self.left -= 1;
        entry
    }

    /// Returns the next entry.
    ///
    /// # Safety
    ///
    /// It must always be the same version of the same tree, which nobody writes meanwhile.
    #[inline]
    pub(super) unsafe fn next<'a>(&mut self, tree: &'a Tree<K, V>) -> Option<&'a Entry<K, V>> {
        // SAFETY: the leaf at hand is the tree's, and an entry is where the walk is.
        unsafe {
            if self.left == 0 && !self.go_on(tree) {
                return None;
            }
            Some(&*self.step())
        }
    }

    /// Folds all entries that are left.
    ///
    /// # Safety
    ///
    /// As for [`next`](Self::next).
    #[inline]
    pub(super) unsafe fn fold<'a, B>(
        mut self,
        tree: &'a Tree<K, V>,
        init: B,
        mut fold: impl FnMut(B, &'a Entry<K, V>) -> B,
    ) -> B {
        let mut folded = init;
        // SAFETY: as in `next`; so many entries are there.
        unsafe {
            while self.left > 0 || self.go_on(tree) {
                folded = slice::from_raw_parts(self.entry, self.left)
                    .iter()
                    .fold(folded, &mut fold);
                self.left = 0;
            }
        }
        folded
    }

    /// Returns where the next entry is.
    ///
    /// # Safety
    ///
    /// As for [`next`](Self::next).
    #[inline]
    pub(super) unsafe fn next_place(&mut self, tree: &Tree<K, V>) -> Option<(Leaf<K, V>, Place)> {
        // SAFETY: the leaf at hand is the tree's.
        if self.left == 0 && unsafe { !self.go_on(tree) } {
            return None;
        }
        Some(self.step_place())
    }

    #[inline]
    fn step_place(&mut self) -> (Leaf<K, V>, Place) {
        let place = Place {
            group: self.group,
            slot: self.len - self.left,
        };
        self.step();
        let groups = self.groups.as_ref().expect("the group at hand is a leaf's");
        (groups.leaf(), place)
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
        // SAFETY: the leaf at hand is the tree's alone.
        while self.left == 0 && unsafe { !self.enter_group() } {
            self.groups = None;
            if self.point >= self.end {
                return None;
            }
            tree.own_way(hash_at(self.point))?;
            self.enter(&tree.stop_at(self.point)?);
        }
        Some(self.step_place())
    }

    /// Makes the leaf of the entry that [`next_place`](Self::next_place) gave last the tree's alone, and returns it. Its
    /// entries have the places they had. If that panics, the walk goes on behind the leaf.
    ///
    /// # Safety
    ///
    /// As for [`next_own`](Self::next_own).
    pub(super) unsafe fn own(&mut self, tree: &mut Tree<K, V>) -> Leaf<K, V>
    where
        K: Clone,
        V: Clone,
    {
        let groups = self.groups.take().expect("an entry was given");
        let left = mem::take(&mut self.left);
        let way = tree.own_way(hash_at(self.point - 1));
        let leaf = way.expect("the leaf at hand is there").leaf;
        self.groups = Some(groups.in_copy(leaf));
        self.left = left;
        self.entry = leaf.entries_at(self.group).wrapping_add(self.len - left);
        leaf
    }

    /// Takes out the entry that was given last.
    ///
    /// # Safety
    ///
    /// As for [`next_own`](Self::next_own); `found` must be where the entry is, in a leaf that is the tree's alone.
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
        // The group's last entry is there now, and is still to come, unless this was it.
        self.entry = self.entry.wrapping_sub(1);
        self.len -= 1;
        entry
    }
}

impl<K, V> Clone for Walk<K, V> {
    fn clone(&self) -> Self {
        Self {
            groups: self.groups.clone(),
            ..*self
        }
    }
}
