#![allow(unsafe_code)]
//! Going through the leaves between two places, from both ends.
//!
//! The walk keeps what is left of the leaf it is in, and takes a step from the root on at a leaf's end. Nothing is
//! compared: how keys compare has no part in what is visited.

use core::iter::{FusedIterator, Zip};
use core::marker::PhantomData;
use core::ptr::NonNull;
use core::slice;

use super::node::{Node, View};
use super::path::{Path, Place};

/// A tree whose leaves can be visited, each once.
pub(super) trait Leaves {
    type Key;
    type Value;

    /// What a leaf has.
    type Entries: DoubleEndedIterator + ExactSizeIterator;

    /// Returns the root.
    fn root(&self) -> &Node<Self::Key, Self::Value>;

    /// Returns a part of the leaf that `path` leads to: from `start` on, up to `end` or the leaf's.
    ///
    /// # Safety
    ///
    /// No leaf may be asked for twice, by this, `step` and `step_back` together.
    unsafe fn entries(&mut self, path: &Path, start: usize, end: Option<usize>) -> Self::Entries;

    /// Goes on to the next leaf, unless this is the last, and returns what it has, unless it is the one of `end`.
    ///
    /// # Safety
    ///
    /// As for [`entries`](Self::entries).
    unsafe fn step(&mut self, path: &mut Path, end: Option<&Path>) -> Option<Self::Entries>;

    /// Goes back to the leaf before, as [`step`](Self::step) goes on.
    ///
    /// # Safety
    ///
    /// As for [`entries`](Self::entries).
    unsafe fn step_back(&mut self, path: &mut Path, end: &Path) -> Option<Self::Entries>;

    /// Returns no entries.
    fn nothing() -> Self::Entries;
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

/// What a leaf has, to read.
type Entries<'a, K, V> = Zip<slice::Iter<'a, K>, slice::Iter<'a, V>>;

/// What a leaf has, with the values to write.
type EntriesMut<'a, K, V> = Zip<slice::Iter<'a, K>, slice::IterMut<'a, V>>;

/// Returns all that a leaf has.
#[inline]
fn all<K, V>(node: &Node<K, V>) -> Entries<'_, K, V> {
    match node.view() {
        View::Leaf(leaf) => leaf.keys.iter().zip(leaf.values),
        View::Inner(_) => unreachable!("paths lead to leaves"),
    }
}

impl<'a, K, V> Leaves for LeavesRef<'a, K, V> {
    type Key = K;
    type Value = V;
    type Entries = Entries<'a, K, V>;

    fn root(&self) -> &Node<K, V> {
        self.0
    }

    #[inline]
    unsafe fn entries(&mut self, path: &Path, start: usize, end: Option<usize>) -> Self::Entries {
        let leaf = path.leaf(self.0);
        let part = start..end.unwrap_or(leaf.keys.len());
        leaf.keys[part.clone()].iter().zip(&leaf.values[part])
    }

    #[inline]
    unsafe fn step(&mut self, path: &mut Path, end: Option<&Path>) -> Option<Self::Entries> {
        let leaf = path.step(self.0)?;
        (end != Some(&*path)).then(|| all(leaf))
    }

    #[inline]
    unsafe fn step_back(&mut self, path: &mut Path, end: &Path) -> Option<Self::Entries> {
        let leaf = path.step_back(self.0)?;
        (end != path).then(|| all(leaf))
    }

    fn nothing() -> Self::Entries {
        [].iter().zip(&[])
    }
}

impl<'a, K: Clone, V: Clone> LeavesMut<'a, K, V> {
    /// Returns all that a leaf has.
    ///
    /// # Safety
    ///
    /// No leaf may be asked for twice.
    unsafe fn all(&mut self, path: &Path) -> EntriesMut<'a, K, V> {
        // SAFETY: mutably borrowed for 'a. The way to the leaf leads through inner nodes, into which no reference has
        // been handed out, and the caller has not asked for this leaf before.
        let (keys, values) = path.leaf_mut(unsafe { self.root.as_mut() }).into_entries();
        keys.iter().zip(values)
    }
}

impl<'a, K: Clone, V: Clone> Leaves for LeavesMut<'a, K, V> {
    type Key = K;
    type Value = V;
    type Entries = EntriesMut<'a, K, V>;

    fn root(&self) -> &Node<K, V> {
        // SAFETY: mutably borrowed for 'a, and for as long as the reference lives nothing is written.
        unsafe { self.root.as_ref() }
    }

    #[inline]
    unsafe fn entries(&mut self, path: &Path, start: usize, end: Option<usize>) -> Self::Entries {
        // SAFETY: as for `all`.
        let (keys, values) = path.leaf_mut(unsafe { self.root.as_mut() }).into_entries();
        let part = start..end.unwrap_or(keys.len());
        keys[part.clone()].iter().zip(&mut values[part])
    }

    #[inline]
    unsafe fn step(&mut self, path: &mut Path, end: Option<&Path>) -> Option<Self::Entries> {
        path.step(self.root())?;
        // SAFETY: the caller's duty.
        (end != Some(&*path)).then(|| unsafe { self.all(path) })
    }

    #[inline]
    unsafe fn step_back(&mut self, path: &mut Path, end: &Path) -> Option<Self::Entries> {
        path.step_back(self.root())?;
        // SAFETY: the caller's duty.
        (end != path).then(|| unsafe { self.all(path) })
    }

    fn nothing() -> Self::Entries {
        [].iter().zip(&mut [])
    }
}

/// The entries between two places to read.
pub(super) type WalkRef<'a, K, V> = Walk<LeavesRef<'a, K, V>, Entries<'a, K, V>>;

/// The entries between two places, with the values to write.
pub(super) type WalkMut<'a, K, V> = Walk<LeavesMut<'a, K, V>, EntriesMut<'a, K, V>>;

/// The entries between two places. `E` is always `L::Entries`: it is named apart because by way of a trait a walk
/// would be invariant in keys and values, and so would all that reads a map.
pub(super) struct Walk<L, E> {
    front: E,
    /// Whether there is no other leaf between both ends.
    met: bool,
    front_path: Path,
    /// What is left of the leaf that the back end is in. None if the walk goes on to the last leaf and the back has not
    /// been asked for: most walks are one-way.
    back: Option<End<E>>,
    leaves: L,
}

/// What is left of the leaf that the back end is in.
struct End<E> {
    path: Path,
    entries: E,
}

impl<'a, K, V> WalkRef<'a, K, V> {
    /// Returns the entries from `from` up to `to`, which is not before it, or all behind `from`.
    #[inline]
    pub(super) fn new(root: &'a Node<K, V>, from: &Place, to: Option<&Place>) -> Self {
        Self::between(LeavesRef(root), from, to)
    }
}

impl<'a, K: Clone, V: Clone> WalkMut<'a, K, V> {
    /// Returns the entries from `from` up to `to`, which is not before it, or all behind `from`.
    #[inline]
    pub(super) fn new_mut(root: &'a mut Node<K, V>, from: &Place, to: Option<&Place>) -> Self {
        let leaves = LeavesMut {
            root: NonNull::from(root),
            borrows: PhantomData,
        };
        Self::between(leaves, from, to)
    }
}

impl<L: Leaves> Walk<L, L::Entries> {
    #[inline]
    fn between(mut leaves: L, from: &Place, to: Option<&Place>) -> Self {
        assert!(
            to.is_none_or(|to| !from.is_behind(to)),
            "`Ord` contradicts itself"
        );
        let met = to.is_some_and(|to| from.path == to.path);
        let front_end = to.filter(|_| met).map(|to| to.index);
        // SAFETY: a leaf is asked for by the front only, or by the back if it is another.
        let (front, back) = unsafe {
            (
                leaves.entries(&from.path, from.index, front_end),
                to.map(|to| End {
                    path: to.path,
                    entries: if met {
                        L::nothing()
                    } else {
                        leaves.entries(&to.path, 0, Some(to.index))
                    },
                }),
            )
        };
        Self {
            front,
            met,
            front_path: from.path,
            back,
            leaves,
        }
    }

    /// Goes on to the next leaf, unless that is where the back is.
    #[cold]
    #[inline(never)]
    fn step(&mut self) -> bool {
        if !self.met {
            let end = self.back.as_ref().map(|back| &back.path);
            // SAFETY: the front comes to a leaf in which it has not been; neither has the back, unless it is there now.
            match unsafe { self.leaves.step(&mut self.front_path, end) } {
                Some(entries) => self.front = entries,
                None => self.met = true,
            }
        }
        !self.met
    }

    /// Goes back to the leaf before, unless that is where the front is.
    #[cold]
    #[inline(never)]
    fn step_back(&mut self) -> bool {
        if self.met {
            return false;
        }
        let found = match &mut self.back {
            // SAFETY: as for the front.
            Some(back) => unsafe { self.leaves.step_back(&mut back.path, &self.front_path) },
            back @ None => {
                let path = Path::last(self.leaves.root());
                *back = Some(End {
                    path,
                    entries: L::nothing(),
                });
                // SAFETY: the back has been nowhere, and the front is not here.
                (path != self.front_path).then(|| unsafe { self.leaves.entries(&path, 0, None) })
            }
        };
        match (found, &mut self.back) {
            (Some(entries), Some(back)) => back.entries = entries,
            _ => self.met = true,
        }
        !self.met
    }
}

type Item<L> = <<L as Leaves>::Entries as Iterator>::Item;

impl<L: Leaves> Iterator for Walk<L, L::Entries> {
    type Item = Item<L>;

    #[inline]
    fn next(&mut self) -> Option<Item<L>> {
        loop {
            if let Some(entry) = self.front.next() {
                return Some(entry);
            }
            if !self.step() {
                return self.back.as_mut()?.entries.next();
            }
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let back = self.back.as_ref().map_or(0, |back| back.entries.len());
        let least = self.front.len() + back;
        (least, self.met.then_some(least))
    }

    fn fold<B, F: FnMut(B, Item<L>) -> B>(mut self, init: B, mut f: F) -> B {
        let mut folded = self.front.by_ref().fold(init, &mut f);
        while self.step() {
            folded = self.front.by_ref().fold(folded, &mut f);
        }
        match self.back {
            Some(back) => back.entries.fold(folded, f),
            None => folded,
        }
    }
}

impl<L: Leaves> DoubleEndedIterator for Walk<L, L::Entries> {
    #[inline]
    fn next_back(&mut self) -> Option<Item<L>> {
        loop {
            if let Some(entry) = self.back.as_mut().and_then(|back| back.entries.next_back()) {
                return Some(entry);
            }
            if !self.step_back() {
                return self.front.next_back();
            }
        }
    }
}

impl<L: Leaves> FusedIterator for Walk<L, L::Entries> {}

impl<L: Clone, E: Clone> Clone for Walk<L, E> {
    fn clone(&self) -> Self {
        Self {
            front: self.front.clone(),
            met: self.met,
            front_path: self.front_path,
            back: self.back.as_ref().map(|back| End {
                path: back.path,
                entries: back.entries.clone(),
            }),
            leaves: self.leaves.clone(),
        }
    }
}
