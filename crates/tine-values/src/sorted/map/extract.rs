//! Removing entries while going through a map.

use core::fmt;
use core::iter::FusedIterator;
use core::mem;
use core::ops::RangeBounds;

use super::{SortedMap, check_order, places};
use crate::sorted::drain::take_first;
use crate::sorted::edit::NodeMut;
use crate::sorted::join::{Tree, join, split};
use crate::sorted::node::{Node, View};
use crate::sorted::path::Place;
use crate::sorted::remove::settle;

/// An iterator that removes what it gives: what [`SortedMap::extract_if`] returns.
#[must_use = "it removes entries only as it is advanced"]
pub struct ExtractIf<'a, K: Clone, V: Clone, F> {
    entries: Extraction<'a, K, V>,
    is_taken: F,
}

/// A map that is gone through and written.
///
/// ```text
/// | done | leaf | rest | behind |      the map is put together again when this is dropped
/// ```
pub(in crate::sorted) struct Extraction<'a, K: Clone, V: Clone> {
    map: &'a mut SortedMap<K, V>,
    /// What has been gone through, and what is before the range.
    done: Tree<K, V>,
    leaf: Piece<K, V>,
    /// The next entry of the leaf.
    index: usize,
    rest: Piece<K, V>,
    /// What is behind the range.
    behind: Piece<K, V>,
}

/// A tree, and the separator before it, if there is anything before it.
struct Piece<K, V> {
    separator: Option<K>,
    tree: Tree<K, V>,
}

impl<K: Clone, V: Clone> Piece<K, V> {
    const fn empty() -> Self {
        Self {
            separator: None,
            tree: None,
        }
    }

    /// Cuts off what is behind the place. If cloning panics, the piece is as it was, or empty.
    fn split_off(&mut self, place: &Place) -> Self {
        let Some(root) = &mut self.tree else {
            return Self::empty();
        };
        let Some(separator) = place.key(root).cloned() else {
            return Self::empty();
        };
        // What may panic while the tree is whole does so now.
        place.path.leaf_mut(root);
        let root = self.tree.take().expect("just seen");
        let (left, right) = split(root, place);
        self.tree = left;
        Self {
            separator: Some(separator),
            tree: right,
        }
    }

    /// Moves the piece behind `done`.
    fn move_behind(&mut self, done: &mut Tree<K, V>) {
        let separator = self.separator.take();
        let mut tree = self.tree.take();
        settle(&mut tree);
        match (done.take(), separator) {
            (None, separator) => {
                *done = tree;
                // Only now: a key whose drop panics must not take the tree with it.
                drop(separator);
            }
            (left, None) => {
                debug_assert!(tree.is_none(), "a piece that is not the first has a separator");
                *done = left;
            }
            (left, Some(separator)) if tree.is_none() => {
                *done = left;
                drop(separator);
            }
            (left, Some(separator)) => *done = join(left, separator, tree),
        }
    }
}

impl<'a, K: Clone, V: Clone> Extraction<'a, K, V> {
    pub(in crate::sorted) fn new(map: &'a mut SortedMap<K, V>, range: &impl RangeBounds<K>) -> Self
    where
        K: Ord,
    {
        check_order(range);
        let rest = Piece {
            separator: None,
            tree: map.root.take(),
        };
        // From here on a panic puts the map together again.
        let mut this = Self {
            map,
            done: None,
            leaf: Piece::empty(),
            index: 0,
            rest,
            behind: Piece::empty(),
        };
        if let Some(root) = &this.rest.tree
            && let (_, Some(to)) = places(root, range)
        {
            this.behind = this.rest.split_off(&to);
        }
        if let Some(root) = &this.rest.tree {
            let (from, _) = places(root, range);
            let in_range = this.rest.split_off(&from);
            this.done = this.rest.tree.take();
            this.rest = in_range;
        }
        this
    }

    /// Takes out the next entry for which `is_taken` returns true. Copies the leaves that it comes to.
    fn next_mut(&mut self, mut is_taken: impl FnMut(&K, &mut V) -> bool) -> Option<(K, V)> {
        loop {
            while let Some(leaf) = &mut self.leaf.tree
                && let NodeMut::Leaf(mut leaf) = leaf.make_unique()
                && let Some((key, value)) = leaf.get_mut(self.index)
            {
                if is_taken(key, value) {
                    return Some(leaf.remove(self.index));
                }
                self.index += 1;
            }
            self.step()?;
        }
    }

    /// Takes out the next entry for whose key `is_taken` returns true. Copies a leaf when there is one in it.
    pub(in crate::sorted) fn next(&mut self, mut is_taken: impl FnMut(&K) -> bool) -> Option<(K, V)> {
        loop {
            while let Some(leaf) = &mut self.leaf.tree
                && let View::Leaf(entries) = leaf.view()
                && let Some(key) = entries.keys.get(self.index)
            {
                if is_taken(key)
                    && let NodeMut::Leaf(mut leaf) = leaf.make_unique()
                {
                    return Some(leaf.remove(self.index));
                }
                self.index += 1;
            }
            self.step()?;
        }
    }

    /// Goes on to the next leaf.
    fn step(&mut self) -> Option<()> {
        self.leaf.move_behind(&mut self.done);
        self.index = 0;
        let (leaf, behind) = take_first(&mut self.rest.tree)?;
        self.leaf = Piece {
            separator: mem::replace(&mut self.rest.separator, behind),
            tree: Some(leaf),
        };
        Some(())
    }

    /// Returns how many entries are left to look at.
    pub(in crate::sorted) fn left(&self) -> usize {
        let rest = self.rest.tree.as_ref().map_or(0, Node::entries);
        let leaf = self.leaf.tree.as_ref().map_or(0, Node::entries);
        rest + leaf.saturating_sub(self.index)
    }
}

impl<K: Clone, V: Clone> Drop for Extraction<'_, K, V> {
    fn drop(&mut self) {
        for piece in [&mut self.leaf, &mut self.rest, &mut self.behind] {
            piece.move_behind(&mut self.done);
        }
        self.map.root = self.done.take();
    }
}

impl<'a, K: Clone, V: Clone, F> ExtractIf<'a, K, V, F> {
    pub(super) fn new(map: &'a mut SortedMap<K, V>, range: &impl RangeBounds<K>, is_taken: F) -> Self
    where
        K: Ord,
    {
        Self {
            entries: Extraction::new(map, range),
            is_taken,
        }
    }
}

impl<K: Clone, V: Clone, F: FnMut(&K, &mut V) -> bool> Iterator for ExtractIf<'_, K, V, F> {
    type Item = (K, V);

    fn next(&mut self) -> Option<(K, V)> {
        self.entries.next_mut(&mut self.is_taken)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, Some(self.entries.left()))
    }
}

impl<K: Clone, V: Clone, F: FnMut(&K, &mut V) -> bool> FusedIterator for ExtractIf<'_, K, V, F> {}

impl<K: Clone, V: Clone, F> fmt::Debug for ExtractIf<'_, K, V, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExtractIf").finish_non_exhaustive()
    }
}
