#![allow(unsafe_code)]
//! Going through the leaves between two places, from both ends.
//!
//! The walk keeps what is left of the leaf it is in, and takes a step from the root on at a leaf's end. Nothing is
//! compared: how keys compare has no part in what is visited.

use core::iter::{FusedIterator, Zip};
use core::marker::PhantomData;
use core::ops::Range;
use core::ptr::NonNull;
use core::slice;

use super::node::Node;
use super::path::{Path, Place};

/// A tree whose leaves can be visited, each once.
pub(super) trait Leaves {
    /// What a leaf has.
    type Entries: DoubleEndedIterator + ExactSizeIterator;

    /// Returns the root.
    fn root(&self) -> &Node<Self::Key, Self::Value>;

    /// Returns a part of a leaf: of all of it, if `part` is `None`.
    ///
    /// # Safety
    ///
    /// No leaf may be asked for twice.
    unsafe fn entries(&mut self, path: &Path, part: Option<Range<usize>>) -> Self::Entries;

    /// Returns no entries.
    fn nothing() -> Self::Entries;

    type Key;
    type Value;
}

/// Leaves to read.
pub(super) struct LeavesRef<'a, K, V>(&'a Node<K, V>);

/// Leaves to write. Each is copied, if it is shared, when the walk comes to it.
pub(super) struct LeavesMut<'a, K, V> {
    /// Borrowed mutably for 'a. What has been handed out is in leaves, and never the leaf that is visited next.
    root: NonNull<Node<K, V>>,
    borrows: PhantomData<&'a mut Node<K, V>>,
}

// SAFETY: it is a `&mut Node`.
unsafe impl<K: Send + Sync, V: Send + Sync> Send for LeavesMut<'_, K, V> {}
// SAFETY: as for `Send`: shared, it can only be read.
unsafe impl<K: Send + Sync, V: Send + Sync> Sync for LeavesMut<'_, K, V> {}

impl<K, V> Clone for LeavesRef<'_, K, V> {
    fn clone(&self) -> Self {
        Self(self.0)
    }
}

impl<'a, K, V> Leaves for LeavesRef<'a, K, V> {
    type Key = K;
    type Value = V;
    type Entries = Zip<slice::Iter<'a, K>, slice::Iter<'a, V>>;

    fn root(&self) -> &Node<K, V> {
        self.0
    }

    #[inline]
    unsafe fn entries(&mut self, path: &Path, part: Option<Range<usize>>) -> Self::Entries {
        let leaf = path.leaf(self.0);
        let part = part.unwrap_or(0..leaf.keys.len());
        leaf.keys[part.clone()].iter().zip(&leaf.values[part])
    }

    fn nothing() -> Self::Entries {
        [].iter().zip(&[])
    }
}

impl<'a, K: Clone, V: Clone> Leaves for LeavesMut<'a, K, V> {
    type Key = K;
    type Value = V;
    type Entries = Zip<slice::Iter<'a, K>, slice::IterMut<'a, V>>;

    fn root(&self) -> &Node<K, V> {
        // SAFETY: mutably borrowed for 'a, and for as long as the reference lives nothing is written.
        unsafe { self.root.as_ref() }
    }

    #[inline]
    unsafe fn entries(&mut self, path: &Path, part: Option<Range<usize>>) -> Self::Entries {
        // SAFETY: mutably borrowed for 'a. The way to the leaf leads through inner nodes, into which no reference has
        // been handed out, and the caller has not asked for this leaf before.
        let (keys, values) = path.leaf_mut(unsafe { self.root.as_mut() }).into_entries();
        let part = part.unwrap_or(0..keys.len());
        keys[part.clone()].iter().zip(&mut values[part])
    }

    fn nothing() -> Self::Entries {
        [].iter().zip(&mut [])
    }
}

/// The entries between two places.
pub(super) struct Walk<L: Leaves> {
    leaves: L,
    front: End<L>,
    back: End<L>,
    /// Whether both ends are in one leaf, or in two that are neighbours: there is no other leaf between them.
    met: bool,
}

/// What is left of the leaf that one end is in.
struct End<L: Leaves> {
    path: Path,
    entries: L::Entries,
}

impl<'a, K, V> Walk<LeavesRef<'a, K, V>> {
    /// Returns the entries from `from` up to `to`, which is not before it.
    pub(super) fn new(root: &'a Node<K, V>, from: &Place, to: &Place) -> Self {
        Self::between(LeavesRef(root), from, to)
    }
}

impl<'a, K: Clone, V: Clone> Walk<LeavesMut<'a, K, V>> {
    /// Returns the entries from `from` up to `to`, which is not before it.
    pub(super) fn new_mut(root: &'a mut Node<K, V>, from: &Place, to: &Place) -> Self {
        let leaves = LeavesMut {
            root: NonNull::from(root),
            borrows: PhantomData,
        };
        Self::between(leaves, from, to)
    }
}

impl<L: Leaves> Walk<L> {
    fn between(mut leaves: L, from: &Place, to: &Place) -> Self {
        assert!(!from.is_behind(to), "`Ord` contradicts itself");
        let met = from.path == to.path;
        // SAFETY: these are two leaves, or one that is asked for once.
        let (front, back) = unsafe {
            if met {
                let entries = leaves.entries(&from.path, Some(from.index..to.index));
                (entries, L::nothing())
            } else {
                let len = from.path.leaf(leaves.root()).keys.len();
                (
                    leaves.entries(&from.path, Some(from.index..len)),
                    leaves.entries(&to.path, Some(0..to.index)),
                )
            }
        };
        Self {
            leaves,
            front: End {
                path: from.path,
                entries: front,
            },
            back: End {
                path: to.path,
                entries: back,
            },
            met,
        }
    }

    /// Goes on to the next leaf, unless that is where the back is.
    #[cold]
    #[inline(never)]
    fn step(&mut self) -> bool {
        self.met = self.met || !self.front.path.step(self.leaves.root()) || self.front.path == self.back.path;
        if !self.met {
            // SAFETY: the front has just come to this leaf, and the back has not been here.
            self.front.entries = unsafe { self.leaves.entries(&self.front.path, None) };
        }
        !self.met
    }

    #[cold]
    #[inline(never)]
    fn step_back(&mut self) -> bool {
        self.met =
            self.met || !self.back.path.step_back(self.leaves.root()) || self.front.path == self.back.path;
        if !self.met {
            // SAFETY: the back has just come to this leaf, and the front has not been here.
            self.back.entries = unsafe { self.leaves.entries(&self.back.path, None) };
        }
        !self.met
    }
}

type Item<L> = <<L as Leaves>::Entries as Iterator>::Item;

impl<L: Leaves> Iterator for Walk<L> {
    type Item = Item<L>;

    #[inline]
    fn next(&mut self) -> Option<Item<L>> {
        loop {
            if let Some(entry) = self.front.entries.next() {
                return Some(entry);
            }
            if !self.step() {
                return self.back.entries.next();
            }
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let least = self.front.entries.len() + self.back.entries.len();
        (least, self.met.then_some(least))
    }

    fn fold<B, F: FnMut(B, Item<L>) -> B>(mut self, init: B, mut f: F) -> B {
        let mut folded = self.front.entries.by_ref().fold(init, &mut f);
        while self.step() {
            folded = self.front.entries.by_ref().fold(folded, &mut f);
        }
        self.back.entries.fold(folded, f)
    }
}

impl<L: Leaves> DoubleEndedIterator for Walk<L> {
    #[inline]
    fn next_back(&mut self) -> Option<Item<L>> {
        loop {
            if let Some(entry) = self.back.entries.next_back() {
                return Some(entry);
            }
            if !self.step_back() {
                return self.front.entries.next_back();
            }
        }
    }
}

impl<L: Leaves> FusedIterator for Walk<L> {}

impl<L: Leaves<Entries: Clone> + Clone> Clone for Walk<L> {
    fn clone(&self) -> Self {
        Self {
            leaves: self.leaves.clone(),
            front: self.front.clone(),
            back: self.back.clone(),
            met: self.met,
        }
    }
}

impl<L: Leaves<Entries: Clone>> Clone for End<L> {
    fn clone(&self) -> Self {
        Self {
            path: self.path,
            entries: self.entries.clone(),
        }
    }
}
