#![allow(unsafe_code)]
//! Taking a tree apart, leaf by leaf, from both ends.
//!
//! What is left is a tree whose nodes may be small, and is only read, taken apart further, or dropped.

use core::mem::ManuallyDrop;
use core::ops::Range;

use super::edit::NodeMut;
use super::join::Tree;
use super::node::{self, Node};

/// Takes the first leaf out of a tree, with the separator behind it if there are more.
pub(super) fn take_first<K: Clone, V: Clone>(tree: &mut Tree<K, V>) -> Option<(Node<K, V>, Option<K>)> {
    let root = tree.as_mut()?;
    if root.level() == 0 {
        return tree.take().map(|leaf| (leaf, None));
    }
    let (leaf, separator) = take_first_below(root);
    if root.len() == 0 {
        *tree = None;
    }
    Some((leaf, separator))
}

fn take_first_below<K: Clone, V: Clone>(node: &mut Node<K, V>) -> (Node<K, V>, Option<K>) {
    let NodeMut::Inner(mut inner) = node.make_unique() else {
        unreachable!("leaves are taken by what is above them");
    };
    if inner.level() == 1 {
        return inner.remove_first();
    }
    let child = &mut inner.children_mut()[0];
    let (leaf, separator) = take_first_below(child);
    let is_empty = child.len() == 0;
    inner.add_entries(-(leaf.len() as isize));
    if is_empty {
        let (empty, behind) = inner.remove_first();
        drop(empty);
        return (leaf, behind);
    }
    (leaf, separator)
}

/// Takes the last leaf out of a tree.
pub(super) fn take_last<K: Clone, V: Clone>(tree: &mut Tree<K, V>) -> Option<Node<K, V>> {
    let root = tree.as_mut()?;
    if root.level() == 0 {
        return tree.take();
    }
    let leaf = take_last_below(root);
    if root.len() == 0 {
        *tree = None;
    }
    Some(leaf)
}

fn take_last_below<K: Clone, V: Clone>(node: &mut Node<K, V>) -> Node<K, V> {
    let NodeMut::Inner(mut inner) = node.make_unique() else {
        unreachable!("leaves are taken by what is above them");
    };
    if inner.level() == 1 {
        return inner.remove_last();
    }
    let last = inner.len() - 1;
    let child = &mut inner.children_mut()[last];
    let leaf = take_last_below(child);
    let is_empty = child.len() == 0;
    inner.add_entries(-(leaf.len() as isize));
    if is_empty {
        drop(inner.remove_last());
    }
    leaf
}

/// The entries of a leaf, moved out one by one.
pub(super) struct LeafDrain<K, V> {
    /// Invariant: a leaf with one owner, or none at all; only what is in `rest` is still there.
    leaf: Option<ManuallyDrop<Node<K, V>>>,
    rest: Range<usize>,
}

impl<K, V> LeafDrain<K, V> {
    pub(super) const fn empty() -> Self {
        Self {
            leaf: None,
            rest: 0..0,
        }
    }

    pub(super) fn new(mut leaf: Node<K, V>) -> Self
    where
        K: Clone,
        V: Clone,
    {
        assert!(leaf.level() == 0);
        leaf.make_unique();
        let rest = 0..leaf.len();
        Self {
            leaf: Some(ManuallyDrop::new(leaf)),
            rest,
        }
    }

    /// Returns the entry that is at `at`.
    ///
    /// # Safety
    ///
    /// It must have been in `rest`, and be no longer.
    #[inline]
    unsafe fn read(&self, at: usize) -> Option<(K, V)> {
        let leaf = self.leaf.as_ref()?;
        let capacity = usize::from(leaf.head().capacity);
        // SAFETY: it is initialised, and nobody reads it again.
        Some(unsafe {
            (
                node::keys(leaf.block()).add(at).read(),
                node::values(leaf.block(), capacity).add(at).read(),
            )
        })
    }

    #[inline]
    pub(super) fn next(&mut self) -> Option<(K, V)> {
        let at = self.rest.next()?;
        // SAFETY: just taken from `rest`.
        unsafe { self.read(at) }
    }

    #[inline]
    pub(super) fn next_back(&mut self) -> Option<(K, V)> {
        let at = self.rest.next_back()?;
        // SAFETY: just taken from `rest`.
        unsafe { self.read(at) }
    }
}

impl<K, V> Drop for LeafDrain<K, V> {
    fn drop(&mut self) {
        let Some(leaf) = &mut self.leaf else { return };
        let (from, len) = (self.rest.start, self.rest.len());
        let capacity = usize::from(leaf.head().capacity);
        // SAFETY: what is left moves to where a leaf's entries begin, and the length says how many they are. Then the
        // leaf is whole, and is dropped once.
        unsafe {
            let (keys, values) = (node::keys(leaf.block()), node::values(leaf.block(), capacity));
            keys.add(from).copy_to(keys, len);
            values.add(from).copy_to(values, len);
            (*leaf.block().header_ptr()).len = len as u16;
            ManuallyDrop::drop(leaf);
        }
    }
}
