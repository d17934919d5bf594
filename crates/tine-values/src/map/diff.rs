#![allow(unsafe_code)]
//! Comparing two maps by walking both trees at once, past what they share.
//!
//! ```text
//! ours    [ A | A | B | C ]       A is one leaf, seen from both sides: skipped
//! theirs  [ A | A | D | C ]       B and D: looked into, entry against entry
//! ```
//!
//! Where the trees differ in shape, the entries of the whole *region* are looked up in the other map, each by that map's
//! own hasher. So the answer is right whatever the hashers are: the shapes only tell what needs no look.

use core::fmt;
use core::hash::{BuildHasher, Hash};
use core::iter::FusedIterator;

use super::Map;
use super::leaf::{Entry, Leaf, Place};
use super::node::{FAN, Node, View};
use super::tree::Tree;
use super::walk::{END, Walk};
use crate::change::Change;

/// The keys at which two maps differ: what [`Map::diff`] and [`Map::diff_by`] return.
pub struct Diff<'a, K, V, S, F> {
    ours: &'a Map<K, V, S>,
    theirs: &'a Map<K, V, S>,
    same: F,
    /// What is left of the region at hand, in our map and in theirs.
    our_walk: Walk<K, V>,
    their_walk: Walk<K, V>,
    /// The region's leaves, if it has one on each side, for which most keys are at the same place.
    pair: Option<(Leaf<K, V>, Leaf<K, V>)>,
    /// Where to look for the next region.
    point: u64,
    wants_added: bool,
}

// SAFETY: it is two shared maps and a closure; pointers are into the maps.
unsafe impl<K: Send + Sync, V: Send + Sync, S: Sync, F: Send> Send for Diff<'_, K, V, S, F> {}
// SAFETY: as for `Send`.
unsafe impl<K: Send + Sync, V: Send + Sync, S: Sync, F: Sync> Sync for Diff<'_, K, V, S, F> {}

/// A part of the order of hashes in which two trees differ.
struct Region<K, V> {
    start: u64,
    end: u64,
    pair: Option<(Leaf<K, V>, Leaf<K, V>)>,
}

impl<K, V> Clone for Region<K, V> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K, V> Copy for Region<K, V> {}

/// Returns the first region at or after `point`.
fn region<K, V>(ours: &Tree<K, V>, theirs: &Tree<K, V>, mut point: u64) -> Option<Region<K, V>> {
    let pair = |a: Node<K, V>, b: Node<K, V>| match (a.view(), b.view()) {
        (View::Leaf(a), View::Leaf(b)) => Some((a, b)),
        _ => None,
    };
    let whole = |pair| {
        (point == 0).then_some(Region {
            start: 0,
            end: END,
            pair,
        })
    };
    let (a, b) = match (ours.root, theirs.root) {
        (Some(a), Some(b)) => (a, b),
        (None, None) => return None,
        _ => return whole(None),
    };
    let (View::Inner(a), View::Inner(b)) = (a.view(), b.view()) else {
        return if a == b { None } else { whole(pair(a, b)) };
    };
    if ours.ptr_eq(theirs) {
        return None;
    }
    'root: while point < END {
        let (mut a, mut b) = (a, b);
        let (mut start, mut width) = (0, END / FAN as u64);
        loop {
            // SAFETY: both trees are borrowed, so their nodes are live and not written.
            unsafe {
                let first = ((point - start) / width) as usize;
                let Some(slot) = (first..FAN).find(|&slot| a.get(slot) != b.get(slot)) else {
                    point = start + width * FAN as u64;
                    continue 'root;
                };
                point = point.max(start + width * slot as u64);
                match (a.get(slot).view(), b.get(slot).view()) {
                    (View::Inner(inner_a), View::Inner(inner_b)) => {
                        start += width * slot as u64;
                        width /= FAN as u64;
                        (a, b) = (inner_a, inner_b);
                    }
                    _ => {
                        let ends = (a.end_of(slot), b.end_of(slot));
                        let is_pair = ends.0 == ends.1;
                        return Some(Region {
                            start: start + width * slot as u64,
                            end: start + width * ends.0.max(ends.1) as u64,
                            pair: pair(a.get(slot), b.get(slot)).filter(|_| is_pair),
                        });
                    }
                }
            }
        }
    }
    None
}

/// Returns the entry of the same key in the other side's map, `map`. `place` is where this side has the key in
/// `leaves.0`; `leaves.1` is the other side's leaf.
fn counterpart<'a, K: Eq + Hash, V, S: BuildHasher>(
    map: &'a Map<K, V, S>,
    leaves: Option<(Leaf<K, V>, Leaf<K, V>)>,
    place: Place,
    key: &K,
) -> Option<&'a Entry<K, V>> {
    if let Some((leaf, other)) = leaves {
        // SAFETY: both leaves are of maps that are borrowed, and the place is the first one's.
        let opposite = unsafe { leaf.opposite(other, place).map(|entry| &*entry) };
        if let Some(entry) = opposite.filter(|entry| entry.key == *key) {
            return Some(entry);
        }
    }
    map.find(key)
}

impl<K, V, S> Map<K, V, S> {
    /// Returns the keys at which the maps differ, and how: from this version to `other`. In no particular order.
    ///
    /// Nodes that both share are skipped unseen, so the cost follows the difference and not the size: about one leaf
    /// for each change. A value that is not equal to itself counts as a difference only where its leaf is not shared.
    pub fn diff<'a>(&'a self, other: &'a Self) -> Diff<'a, K, V, S, impl Fn(&V, &V) -> bool + use<K, V, S>>
    where
        V: PartialEq,
    {
        self.diff_by(other, V::eq)
    }

    /// Returns the keys at which the maps differ as `same` judges their values, as [`diff`](Self::diff) does.
    pub fn diff_by<'a, F>(&'a self, other: &'a Self, same: F) -> Diff<'a, K, V, S, F>
    where
        F: Fn(&V, &V) -> bool,
    {
        Diff {
            ours: self,
            theirs: other,
            same,
            our_walk: Walk::new(END, END),
            their_walk: Walk::new(END, END),
            pair: None,
            point: 0,
            wants_added: true,
        }
    }
}

impl<'a, K: Eq + Hash, V, S: BuildHasher, F: Fn(&V, &V) -> bool> Diff<'a, K, V, S, F> {
    /// Leaves out what only the other map has.
    pub(crate) fn without_added(self) -> Self {
        Self {
            wants_added: false,
            ..self
        }
    }

    fn enter(&mut self, region: &Region<K, V>) {
        self.point = region.end;
        self.pair = region.pair;
        self.our_walk = Walk::new(region.start, region.end);
        if self.wants_added {
            self.their_walk = Walk::new(region.start, region.end);
        }
    }
}

impl<'a, K: Eq + Hash, V, S: BuildHasher, F: Fn(&V, &V) -> bool> Iterator for Diff<'a, K, V, S, F> {
    type Item = Change<'a, K, V>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            // SAFETY: each walk is always given the same tree, which is borrowed.
            while let Some((leaf, place)) = unsafe { self.our_walk.next_place(&self.ours.tree) } {
                // SAFETY: the place has an entry of a map that is borrowed.
                let Entry { key, value } = unsafe { &*leaf.entry(place) };
                match counterpart(self.theirs, self.pair, place, key) {
                    None => return Some(Change::Removed { key, value }),
                    Some(other) if !(self.same)(value, &other.value) => {
                        let (old, new) = (value, &other.value);
                        return Some(Change::Changed { key, old, new });
                    }
                    Some(_) => {}
                }
            }
            let pair = self.pair.map(|(ours, theirs)| (theirs, ours));
            // SAFETY: as above.
            while let Some((leaf, place)) = unsafe { self.their_walk.next_place(&self.theirs.tree) } {
                // SAFETY: as above.
                let Entry { key, value } = unsafe { &*leaf.entry(place) };
                if counterpart(self.ours, pair, place, key).is_none() {
                    return Some(Change::Added { key, value });
                }
            }
            let region = region(&self.ours.tree, &self.theirs.tree, self.point)?;
            self.enter(&region);
        }
    }
}

/// The entries of a map whose keys another map has too: what an intersection of sets is. Where both share a node, its
/// entries are given without a look-up.
pub(crate) struct Common<'a, K, V, S> {
    ours: &'a Map<K, V, S>,
    theirs: &'a Map<K, V, S>,
    /// What is left of the stretch at hand, which is shared, or a region.
    walk: Walk<K, V>,
    is_shared: bool,
    pair: Option<(Leaf<K, V>, Leaf<K, V>)>,
    /// The region that follows the stretch at hand.
    region: Option<Region<K, V>>,
    /// Where the stretch at hand ends.
    point: u64,
}

// SAFETY: it is two shared maps; pointers are into the maps.
unsafe impl<K: Send + Sync, V: Send + Sync, S: Sync> Send for Common<'_, K, V, S> {}
// SAFETY: as for `Send`.
unsafe impl<K: Send + Sync, V: Send + Sync, S: Sync> Sync for Common<'_, K, V, S> {}

impl<K, V, S> Map<K, V, S> {
    /// Returns the entries whose keys `other` has too.
    pub(crate) fn common<'a>(&'a self, other: &'a Self) -> Common<'a, K, V, S> {
        Common {
            ours: self,
            theirs: other,
            walk: Walk::new(END, END),
            is_shared: true,
            pair: None,
            region: None,
            point: 0,
        }
    }
}

impl<K, V, S> Common<'_, K, V, S> {
    /// Goes on to the next stretch. Returns whether there is one.
    fn advance(&mut self) -> bool {
        let region = self
            .region
            .take()
            .or_else(|| region(&self.ours.tree, &self.theirs.tree, self.point));
        match region {
            Some(region) if region.start <= self.point => {
                self.walk = Walk::new(region.start, region.end);
                (self.is_shared, self.pair, self.point) = (false, region.pair, region.end);
            }
            shared_until if self.point < END => {
                let end = shared_until.as_ref().map_or(END, |region| region.start);
                self.walk = Walk::new(self.point, end);
                (self.is_shared, self.region, self.point) = (true, shared_until, end);
            }
            _ => return false,
        }
        true
    }
}

impl<'a, K: Eq + Hash, V, S: BuildHasher> Iterator for Common<'a, K, V, S> {
    type Item = (&'a K, &'a V);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            // SAFETY: the walk is always given the same tree, which is borrowed.
            while let Some((leaf, place)) = unsafe { self.walk.next_place(&self.ours.tree) } {
                // SAFETY: the place has an entry of a map that is borrowed.
                let Entry { key, value } = unsafe { &*leaf.entry(place) };
                if self.is_shared || counterpart(self.theirs, self.pair, place, key).is_some() {
                    return Some((key, value));
                }
            }
            if !self.advance() {
                return None;
            }
        }
    }
}

impl<K, V, S> Clone for Common<'_, K, V, S> {
    fn clone(&self) -> Self {
        Self {
            walk: self.walk.clone(),
            ..*self
        }
    }
}

impl<K, V, S, F: Clone> Clone for Diff<'_, K, V, S, F> {
    fn clone(&self) -> Self {
        Self {
            same: self.same.clone(),
            our_walk: self.our_walk.clone(),
            their_walk: self.their_walk.clone(),
            ..*self
        }
    }
}

impl<K: Eq + Hash, V, S: BuildHasher, F: Fn(&V, &V) -> bool> FusedIterator for Diff<'_, K, V, S, F> {}

impl<K, V, S, F> fmt::Debug for Diff<'_, K, V, S, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Diff").finish_non_exhaustive()
    }
}
