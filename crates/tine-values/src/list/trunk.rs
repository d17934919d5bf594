#![allow(unsafe_code)]
//! [`Trunk`]: the root of a list that one leaf does not hold.
//!
//! ```text
//! | head | tree ................................ | tail |
//! ```
//!
//! The first and the last elements may be in leaves of their own, which the trunk owns directly: an element more or
//! less at an end then needs no way down the tree.
//!
//! **Invariant:** the numbers are those of the elements in `head` and `tree`. Head and tail may be empty leaves, no node
//! of the tree is.

use super::node::Node;
use super::tree;

/// The parts of a list, in their order.
pub(super) struct Trunk<T> {
    pub(super) head_len: usize,
    pub(super) tree_len: usize,
    /// A leaf or an inner node.
    pub(super) tree: Option<Node<T>>,
    pub(super) head: Option<Node<T>>,
    pub(super) tail: Option<Node<T>>,
}

/// Which part of a trunk an index is in, and where there.
pub(super) enum Place {
    Head(usize),
    Tree(usize),
    /// Or beyond all of it.
    Tail(usize),
}

impl<T> Clone for Trunk<T> {
    /// Shares the parts.
    fn clone(&self) -> Self {
        Self {
            head_len: self.head_len,
            tree_len: self.tree_len,
            tree: self.tree.clone(),
            head: self.head.clone(),
            tail: self.tail.clone(),
        }
    }
}

impl<T> Trunk<T> {
    /// Returns the trunk that has what is in these parts.
    pub(super) fn new(head: Option<Node<T>>, tree: Option<Node<T>>, tail: Option<Node<T>>) -> Self {
        Self {
            head_len: head.as_ref().map_or(0, Node::len),
            tree_len: tree.as_ref().map_or(0, Node::len),
            tree,
            head,
            tail,
        }
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        self.head_len + self.tree_len + self.tail.as_ref().map_or(0, Node::len)
    }

    pub(super) fn head_elements(&self) -> &[T] {
        self.head.as_ref().map_or(&[], Node::elements)
    }

    #[inline]
    pub(super) fn tail_elements(&self) -> &[T] {
        self.tail.as_ref().map_or(&[], Node::elements)
    }

    #[inline]
    pub(super) fn place(&self, index: usize) -> Place {
        match index.checked_sub(self.head_len) {
            None => Place::Head(index),
            Some(index) if index < self.tree_len => Place::Tree(index),
            Some(index) => Place::Tail(index - self.tree_len),
        }
    }

    /// Returns the element at `index`.
    #[inline]
    pub(super) fn get(&self, index: usize) -> Option<&T> {
        match (self.place(index), &self.tree) {
            // SAFETY: the tree has `tree_len` elements.
            (Place::Tree(index), Some(tree)) => Some(unsafe { &*tree.slot(index) }),
            (Place::Head(index), _) => self.head_elements().get(index),
            (Place::Tail(index) | Place::Tree(index), _) => self.tail_elements().get(index),
        }
    }

    /// Returns where the element at `index` is, for writing; nowhere if there is none, and nothing is copied then.
    #[inline]
    pub(super) fn slot_mut(&mut self, index: usize) -> Option<*mut T>
    where
        T: Clone,
    {
        match (self.place(index), &mut self.tree) {
            // SAFETY: the tree has `tree_len` elements.
            (Place::Tree(index), Some(tree)) => Some(unsafe { tree.slot_mut(index) }),
            (Place::Head(index), _) => leaf_slot_mut(self.head.as_mut()?, index),
            (Place::Tail(index) | Place::Tree(index), _) => leaf_slot_mut(self.tail.as_mut()?, index),
        }
    }

    /// Returns the parts that there are, in their order.
    pub(super) fn all_parts(&self) -> impl DoubleEndedIterator<Item = &Node<T>> + use<'_, T> {
        [&self.head, &self.tree, &self.tail].into_iter().flatten()
    }

    /// Gives the tree what a tail that can have no more elements has: all of it, or a full leaf of it.
    pub(super) fn spill_tail(&mut self)
    where
        T: Clone,
    {
        let full = Node::<T>::LEAF;
        match &mut self.tail {
            Some(tail) if tail.elements().len() < tail.end_most() => {}
            Some(tail) if tail.elements().len() > full => {
                let first = tail.make_leaf_mut(0).split_first(full);
                tree::append(&mut self.tree, first);
                self.tree_len += full;
            }
            _ => self.flush_tail(),
        }
    }

    /// Gives the tree what a head that can have no more elements has: all of it, or a full leaf of it.
    pub(super) fn spill_head(&mut self)
    where
        T: Clone,
    {
        let full = Node::<T>::LEAF;
        match &mut self.head {
            Some(head) if self.head_len < head.end_most() => {}
            Some(head) if self.head_len > full => {
                let keep = self.head_len - full;
                let last = head.make_leaf_mut(0).split_off(keep, full);
                self.head_len = keep;
                tree::prepend(&mut self.tree, last);
                self.tree_len += full;
            }
            _ => self.flush_head(),
        }
    }

    /// Makes the tail a part of the tree.
    pub(super) fn flush_tail(&mut self) {
        if let Some(tail) = self.tail.take_if(|tail| !tail.elements().is_empty()) {
            let len = tail.elements().len();
            tree::append(&mut self.tree, tail);
            self.tree_len += len;
        }
    }

    /// Makes the head a part of the tree.
    pub(super) fn flush_head(&mut self) {
        if let Some(head) = self.head.take_if(|head| !head.elements().is_empty()) {
            self.tree_len += self.head_len;
            self.head_len = 0;
            tree::prepend(&mut self.tree, head);
        }
    }
}

/// Returns where an element of a leaf is, for writing.
fn leaf_slot_mut<T: Clone>(leaf: &mut Node<T>, index: usize) -> Option<*mut T> {
    if index >= leaf.elements().len() {
        return None;
    }
    leaf.make_leaf_mut(0).find(index)
}
