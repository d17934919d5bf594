#![allow(unsafe_code)]
//! Iterators over a map that stays: to read it, to write its values, to take entries out.

use core::fmt;
use core::hash::{BuildHasher, Hash};
use core::iter::FusedIterator;
use core::marker::PhantomData;

use super::hash_of;
use super::tree::Tree;
use super::walk::{END, Walk};

/// The entries of a map: what [`Map::iter`](super::Map::iter) returns.
pub struct Iter<'a, K, V> {
    tree: &'a Tree<K, V>,
    walk: Walk<K, V>,
    left: usize,
}

impl<'a, K, V> Iter<'a, K, V> {
    pub(super) fn new(tree: &'a Tree<K, V>) -> Self {
        Self {
            tree,
            walk: Walk::new(0, END),
            left: tree.len,
        }
    }
}

impl<'a, K, V> Iter<'a, K, V> {
    const NO_TREE: &'a Tree<K, V> = &Tree::new();
}

impl<K, V> Default for Iter<'_, K, V> {
    /// Returns the entries of an empty map.
    fn default() -> Self {
        Self::new(Self::NO_TREE)
    }
}

impl<K, V> Default for Keys<'_, K, V> {
    fn default() -> Self {
        Self(Iter::default())
    }
}

impl<K, V> Default for Values<'_, K, V> {
    fn default() -> Self {
        Self(Iter::default())
    }
}

impl<'a, K, V> Iterator for Iter<'a, K, V> {
    type Item = (&'a K, &'a V);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        // SAFETY: the tree is borrowed as long as the iterator.
        let entry = unsafe { self.walk.next(self.tree) }?;
        self.left -= 1;
        Some((&entry.key, &entry.value))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }

    fn count(self) -> usize {
        self.left
    }

    #[inline]
    fn fold<B, F: FnMut(B, Self::Item) -> B>(self, init: B, mut fold: F) -> B {
        // SAFETY: the tree is borrowed as long as the iterator.
        unsafe {
            self.walk.fold(self.tree, init, |folded, entry| {
                fold(folded, (&entry.key, &entry.value))
            })
        }
    }
}

impl<K, V> Clone for Iter<'_, K, V> {
    fn clone(&self) -> Self {
        Self {
            walk: self.walk.clone(),
            ..*self
        }
    }
}

/// The entries of a map, whose values can be written: what [`Map::iter_mut`](super::Map::iter_mut) returns.
pub struct IterMut<'a, K, V> {
    // A pointer: entries that were lent out stay so while the tree is used to go on.
    tree: *mut Tree<K, V>,
    walk: Walk<K, V>,
    left: usize,
    borrows: PhantomData<&'a mut Tree<K, V>>,
}

// SAFETY: it is what a `&mut Tree` is.
unsafe impl<K: Send + Sync, V: Send + Sync> Send for IterMut<'_, K, V> {}
// SAFETY: a shared one gives nothing but a number.
unsafe impl<K: Send + Sync, V: Send + Sync> Sync for IterMut<'_, K, V> {}

impl<'a, K, V> IterMut<'a, K, V> {
    pub(super) fn new(tree: &'a mut Tree<K, V>) -> Self {
        Self {
            left: tree.len,
            tree,
            walk: Walk::new(0, END),
            borrows: PhantomData,
        }
    }
}

impl<'a, K: Clone, V: Clone> Iterator for IterMut<'a, K, V> {
    type Item = (&'a K, &'a mut V);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        // SAFETY: the tree is borrowed mutably as long as the iterator; going on writes other leaves than those whose
        // entries were lent out, and each entry is lent out once.
        unsafe {
            let (leaf, place) = self.walk.next_own(&mut *self.tree)?;
            self.left -= 1;
            let entry = leaf.entry(place);
            Some((&(*entry).key, &mut (*entry).value))
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

/// The keys of a map: what [`Map::keys`](super::Map::keys) returns.
pub struct Keys<'a, K, V>(Iter<'a, K, V>);

/// The values of a map: what [`Map::values`](super::Map::values) returns.
pub struct Values<'a, K, V>(Iter<'a, K, V>);

/// The values of a map for writing: what [`Map::values_mut`](super::Map::values_mut) returns.
pub struct ValuesMut<'a, K, V>(IterMut<'a, K, V>);

impl<'a, K, V> Keys<'a, K, V> {
    pub(super) fn new(entries: Iter<'a, K, V>) -> Self {
        Self(entries)
    }
}

impl<'a, K, V> Values<'a, K, V> {
    pub(super) fn new(entries: Iter<'a, K, V>) -> Self {
        Self(entries)
    }
}

impl<'a, K, V> ValuesMut<'a, K, V> {
    pub(super) fn new(entries: IterMut<'a, K, V>) -> Self {
        Self(entries)
    }
}

impl<K, V> Clone for Keys<'_, K, V> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<K, V> Clone for Values<'_, K, V> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<'a, K, V> Iterator for Keys<'a, K, V> {
    type Item = &'a K;

    #[inline]
    fn next(&mut self) -> Option<&'a K> {
        self.0.next().map(|(key, _)| key)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }

    #[inline]
    fn fold<B, F: FnMut(B, Self::Item) -> B>(self, init: B, mut fold: F) -> B {
        self.0.fold(init, |folded, (key, _)| fold(folded, key))
    }
}

impl<'a, K, V> Iterator for Values<'a, K, V> {
    type Item = &'a V;

    #[inline]
    fn next(&mut self) -> Option<&'a V> {
        self.0.next().map(|(_, value)| value)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }

    #[inline]
    fn fold<B, F: FnMut(B, Self::Item) -> B>(self, init: B, mut fold: F) -> B {
        self.0.fold(init, |folded, (_, value)| fold(folded, value))
    }
}

impl<'a, K: Clone, V: Clone> Iterator for ValuesMut<'a, K, V> {
    type Item = &'a mut V;

    #[inline]
    fn next(&mut self) -> Option<&'a mut V> {
        self.0.next().map(|(_, value)| value)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

/// The entries that a closure takes out of a map: what [`Map::extract_if`](super::Map::extract_if) returns.
pub struct ExtractIf<'a, K, V, S, F> {
    tree: &'a mut Tree<K, V>,
    hasher: &'a S,
    walk: Walk<K, V>,
    /// Where the leaf at hand ended when the iterator was advanced last. Those before are brought into shape when the walk
    /// has gone on, up to the point `settled` so far.
    point: u64,
    settled: u64,
    is_taken: F,
}

impl<'a, K, V, S, F> ExtractIf<'a, K, V, S, F> {
    pub(super) fn new(tree: &'a mut Tree<K, V>, hasher: &'a S, is_taken: F) -> Self {
        Self {
            tree,
            hasher,
            walk: Walk::new(0, END),
            point: 0,
            settled: 0,
            is_taken,
        }
    }

    /// Returns how many entries are left at the most.
    pub(crate) fn left_at_most(&self) -> usize {
        self.tree.len
    }
}

impl<K: Hash + Clone, V: Clone, S: BuildHasher, F> ExtractIf<'_, K, V, S, F> {
    /// Brings into shape what the walk has left behind: it has gone on from `point`, so no leaf before that is at hand.
    #[inline]
    fn settle_passed(&mut self) {
        if self.point != self.walk.point() {
            self.settle_before(self.point);
            self.point = self.walk.point();
        }
    }

    #[cold]
    fn settle_before(&mut self, end: u64) {
        let hash = |key: &K| hash_of(self.hasher, key);
        self.settled = self.tree.settle_range(self.settled, end, &hash);
    }
}

impl<K, V, S, F> Iterator for ExtractIf<'_, K, V, S, F>
where
    K: Hash + Clone,
    V: Clone,
    S: BuildHasher,
    F: FnMut(&K, &mut V) -> bool,
{
    type Item = (K, V);

    fn next(&mut self) -> Option<(K, V)> {
        if self.tree.len == 0 {
            return None;
        }
        self.settle_passed();
        let hash = |key: &K| hash_of(self.hasher, key);
        // SAFETY: the tree is borrowed mutably as long as the iterator; no entry is lent out longer than the closure runs.
        unsafe {
            while let Some((leaf, place)) = self.walk.next_own(self.tree) {
                let entry = &mut *leaf.entry(place);
                if (self.is_taken)(&entry.key, &mut entry.value) {
                    let entry = self.walk.remove(self.tree, (leaf, place), hash);
                    return Some((entry.key, entry.value));
                }
            }
        }
        self.settle_before(END);
        None
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, Some(self.left_at_most()))
    }
}

impl<K: Hash + Clone, V: Clone, S: BuildHasher, F: FnMut(&K) -> bool> ExtractIf<'_, K, V, S, F> {
    /// Takes out the next entry for whose key `is_taken` is true. Copies a leaf only when something in it is taken.
    pub(crate) fn next_by_key(&mut self) -> Option<(K, V)> {
        if self.tree.len == 0 {
            return None;
        }
        self.settle_passed();
        let hash = |key: &K| hash_of(self.hasher, key);
        // SAFETY: the tree is borrowed mutably as long as the iterator; no entry is lent out longer than the closure runs.
        unsafe {
            while let Some((leaf, place)) = self.walk.next_place(self.tree) {
                if (self.is_taken)(&(*leaf.entry(place)).key) {
                    let leaf = self.walk.own(self.tree);
                    let entry = self.walk.remove(self.tree, (leaf, place), hash);
                    return Some((entry.key, entry.value));
                }
            }
        }
        self.settle_before(END);
        None
    }
}

impl<K, V, S, F> Drop for ExtractIf<'_, K, V, S, F> {
    /// A map whose last entry was taken holds nothing, also if nobody asked for one more.
    fn drop(&mut self) {
        if self.tree.len == 0 {
            *self.tree = Tree::new();
        }
    }
}

impl<K, V, S, F> FusedIterator for ExtractIf<'_, K, V, S, F>
where
    K: Hash + Clone,
    V: Clone,
    S: BuildHasher,
    F: FnMut(&K, &mut V) -> bool,
{
}
impl<K, V> ExactSizeIterator for Iter<'_, K, V> {}
impl<K, V> FusedIterator for Iter<'_, K, V> {}
impl<K, V> ExactSizeIterator for Keys<'_, K, V> {}
impl<K, V> FusedIterator for Keys<'_, K, V> {}
impl<K, V> ExactSizeIterator for Values<'_, K, V> {}
impl<K, V> FusedIterator for Values<'_, K, V> {}
impl<K: Clone, V: Clone> ExactSizeIterator for IterMut<'_, K, V> {}
impl<K: Clone, V: Clone> FusedIterator for IterMut<'_, K, V> {}
impl<K: Clone, V: Clone> ExactSizeIterator for ValuesMut<'_, K, V> {}
impl<K: Clone, V: Clone> FusedIterator for ValuesMut<'_, K, V> {}

impl<K: fmt::Debug, V: fmt::Debug> fmt::Debug for Iter<'_, K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.clone()).finish()
    }
}

impl<K: fmt::Debug, V> fmt::Debug for Keys<'_, K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.clone()).finish()
    }
}

impl<K, V: fmt::Debug> fmt::Debug for Values<'_, K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.clone()).finish()
    }
}

impl<K, V> fmt::Debug for IterMut<'_, K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IterMut")
            .field("left", &self.left)
            .finish_non_exhaustive()
    }
}

impl<K, V> fmt::Debug for ValuesMut<'_, K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ValuesMut")
            .field("left", &self.0.left)
            .finish_non_exhaustive()
    }
}

impl<K, V, S, F> fmt::Debug for ExtractIf<'_, K, V, S, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExtractIf").finish_non_exhaustive()
    }
}
