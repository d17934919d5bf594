#![allow(unsafe_code)]
//! The way to a key by pointers: what a single write needs when nothing is shared.
//!
//! A [`Path`] has to be gone down again to write, which is what a tree with shared nodes needs anyway. A way does not: it
//! knows the leaf, and whether that and all nodes above have one owner.

use core::marker::PhantomData;
use core::ptr::NonNull;

use equivalent::Comparable;

use super::edit::LeafMut;
use super::node::{self, Node, View};
use super::path::{Path, Place, is_at, lower_bound, upper_bound};

/// Where a key is, or would be, in a tree that is mutably borrowed.
///
/// The path is the caller's, and only referred to: a way that had it inside would be copied with what has just been
/// written to it, and wait for the writes.
pub(super) struct Way<'a, 'p, K, V> {
    path: &'p Path,
    pub(super) index: usize,
    /// Whether an entry with the key is at the place.
    pub(super) is_found: bool,
    /// Whether the leaf and all nodes above have one owner each.
    is_own: bool,
    /// Where its parent, or the tree, has the leaf.
    leaf: NonNull<Node<K, V>>,
    root: NonNull<Node<K, V>>,
    borrows: PhantomData<&'a mut Node<K, V>>,
}

impl<'a, 'p, K, V> Way<'a, 'p, K, V> {
    /// Returns the way to `key`, whose `path` is the first one before. O(log n).
    #[inline]
    pub(super) fn to<Q: ?Sized + Comparable<K>>(
        root: &'a mut Node<K, V>,
        key: &Q,
        path: &'p mut Path,
    ) -> Self {
        let mut is_own = true;
        let root = NonNull::from(root);
        let mut slot = root;
        loop {
            // SAFETY: it is the root, or a child of a node that lives while the root is borrowed; nobody writes yet.
            let node = unsafe { slot.as_ref() };
            is_own &= node.is_unique();
            match node.view() {
                View::Inner(inner) => {
                    let at = upper_bound(inner.separators, key);
                    let (level, capacity) = (node.level(), usize::from(node.head().capacity));
                    path.set_slot(level, at);
                    let children = node::children(node.block(), capacity);
                    debug_assert!(at < inner.children.len());
                    // SAFETY: there is one child more than separators.
                    slot = unsafe { NonNull::new_unchecked(children.add(at)) };
                    // SAFETY: as above.
                    unsafe { slot.as_ref() }.prefetch(level - 1);
                }
                View::Leaf(leaf) => {
                    let index = lower_bound(leaf.keys, key);
                    return Self {
                        path,
                        index,
                        is_found: is_at(leaf.keys, index, key),
                        is_own,
                        leaf: slot,
                        root,
                        borrows: PhantomData,
                    };
                }
            }
        }
    }

    /// Returns the place of the key, which does not borrow the tree.
    pub(super) fn place(&self) -> Place {
        Place {
            path: *self.path,
            index: self.index,
        }
    }

    /// Returns the leaf for writing, unless it or a node above is shared.
    #[inline]
    pub(super) fn leaf_mut(&mut self) -> Option<LeafMut<'_, K, V>> {
        // SAFETY: it is a leaf with one owner, and so are those above; the root is mutably borrowed.
        self.is_own.then(|| unsafe { LeafMut::new(self.leaf.as_mut()) })
    }

    /// Returns the value that has been found, after copying what is shared on the way.
    #[inline]
    pub(super) fn into_value(self) -> &'a mut V
    where
        K: Clone,
        V: Clone,
    {
        let index = self.index;
        &mut self.into_leaf().into_entries().1[index]
    }

    /// Puts `key` in the place of the one that has been found, which is equal to it, and returns that. Copies what is
    /// shared on the way; if that panics, nothing has changed.
    pub(super) fn replace_key(self, key: K) -> K
    where
        K: Clone,
        V: Clone,
    {
        let index = self.index;
        self.into_leaf().replace_key(index, key)
    }

    /// Returns the leaf for writing, after copying what is shared on the way.
    #[inline]
    fn into_leaf(mut self) -> LeafMut<'a, K, V>
    where
        K: Clone,
        V: Clone,
    {
        if self.is_own {
            // SAFETY: as for `leaf_mut`; the root is borrowed for 'a, and `self` is gone.
            unsafe { LeafMut::new(self.leaf.as_mut()) }
        } else {
            // SAFETY: the root is mutably borrowed for 'a, and `self` is gone.
            self.path.leaf_mut(unsafe { self.root.as_mut() })
        }
    }

    /// Counts entries that have come or gone, in the nodes above.
    ///
    /// # Panics
    ///
    /// If a node is shared.
    #[inline]
    pub(super) fn add_entries(&mut self, count: isize) {
        assert!(self.is_own);
        let mut slot = self.root;
        // SAFETY: all nodes on the way have one owner, mutably borrowed with the root; the path leads to children that
        // are there, as none have come or gone since it was found.
        unsafe {
            let mut level = slot.as_ref().level();
            while level > 0 {
                let block = slot.as_ref().block();
                let head = block.header_ptr();
                (*head).entries = (*head).entries.wrapping_add_signed(count);
                let children = node::children(block, usize::from((*head).capacity));
                slot = NonNull::new_unchecked(children.add(self.path.slot(level)));
                level -= 1;
            }
        }
    }
}
