//! The writes to a [`List`] that change more than its ends; `remove.rs` has those that take many elements out.

use core::mem;
use core::ops::{Bound, Range, RangeBounds};

use super::iter::{ChunksMut, IntoIter, IterMut};
use super::node::Node;
use super::trunk::{Place, Trunk};
use super::{List, tree};
use crate::detach;

impl<T> List<T> {
    /// Returns the indices that a range means.
    ///
    /// # Panics
    ///
    /// If its start is behind its end, or its end behind the last element.
    pub(super) fn range_of(&self, range: impl RangeBounds<usize>) -> Range<usize> {
        let len = self.len();
        let start = match range.start_bound() {
            Bound::Included(&start) => start,
            Bound::Excluded(&before) => before.checked_add(1).expect("a range starts at an index"),
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(&last) => last.checked_add(1).expect("a range ends at an index"),
            Bound::Excluded(&end) => end,
            Bound::Unbounded => len,
        };
        assert!(start <= end, "slice index starts at {start} but ends at {end}");
        assert!(
            end <= len,
            "range end index {end} out of range for slice of length {len}"
        );
        start..end
    }
}

impl<T: Clone> List<T> {
    /// Returns an iterator over all elements, to be written. It copies a shared leaf when it comes to it, with what is
    /// shared above.
    pub fn iter_mut(&mut self) -> IterMut<'_, T> {
        IterMut::new(self.chunks_mut())
    }

    /// Returns an iterator over the elements of `range`, to be written, as [`iter_mut`](Self::iter_mut) does over all.
    /// O(log n).
    ///
    /// # Panics
    ///
    /// If the range starts behind its end, or ends behind the last element.
    pub fn range_mut(&mut self, range: impl RangeBounds<usize>) -> IterMut<'_, T> {
        let range = self.range_of(range);
        IterMut::new(ChunksMut::new(self, range))
    }

    /// Returns an iterator over the leaves, as slices to be written, from both ends. Together they have all elements, in
    /// order; none is empty; where one ends is not said. It copies a shared leaf when it comes to it.
    pub fn chunks_mut(&mut self) -> ChunksMut<'_, T> {
        let len = self.len();
        ChunksMut::new(self, 0..len)
    }

    /// Returns the first element for writing.
    pub fn first_mut(&mut self) -> Option<&mut T> {
        self.get_mut(0)
    }

    /// Returns the last element for writing.
    pub fn last_mut(&mut self) -> Option<&mut T> {
        self.get_mut(self.len().checked_sub(1)?)
    }

    /// Puts an element before the one at `index`, or behind the last. O(log n).
    ///
    /// # Panics
    ///
    /// If the index is greater than the length.
    pub fn insert(&mut self, index: usize, value: T) {
        let len = self.len();
        assert!(
            index <= len,
            "insertion index (is {index}) should be <= len (is {len})"
        );
        if index == len {
            return self.push(value);
        }
        let Some(root) = &mut self.root else { return };
        if root.is_leaf() {
            if len < Node::<T>::FLAT {
                let mut leaf = root.make_leaf_mut(super::capacity_for_more(len).min(Node::<T>::FLAT));
                leaf.reserve_back(1, Node::<T>::FLAT);
                leaf.insert(index, value);
                return;
            }
            Self::make_tree(root);
        }
        if let Some(trunk) = Self::make_trunk_mut(root) {
            trunk.insert(index, value);
        }
    }

    /// Does what [`insert`](Self::insert) does, and returns the element in its place.
    ///
    /// # Panics
    ///
    /// If the index is greater than the length.
    pub fn insert_mut(&mut self, index: usize, value: T) -> &mut T {
        self.insert(index, value);
        &mut self[index]
    }

    /// Removes the element at `index` and returns it; those behind it move up. O(log n).
    ///
    /// # Panics
    ///
    /// If the index is out of bounds.
    pub fn remove(&mut self, index: usize) -> T {
        let len = self.len();
        assert!(
            index < len,
            "removal index (is {index}) should be < len (is {len})"
        );
        let root = self.root.as_mut().expect("there is an element");
        match Self::make_trunk_mut(root) {
            Some(trunk) => trunk.remove(index),
            None => root.make_leaf_mut(0).remove(index),
        }
    }

    /// Removes the element at `index` and returns it; the last takes its place. O(log n).
    ///
    /// # Panics
    ///
    /// If the index is out of bounds.
    pub fn swap_remove(&mut self, index: usize) -> T {
        let len = self.len();
        assert!(
            index < len,
            "swap_remove index (is {index}) should be < len (is {len})"
        );
        self.swap(index, len - 1);
        self.pop().expect("there is an element")
    }

    /// Removes the elements from `at` on and returns them as a list of their own. O(log n).
    ///
    /// # Panics
    ///
    /// If `at` is greater than the length.
    #[must_use = "the elements from `at` on are dropped otherwise: see `truncate`"]
    pub fn split_off(&mut self, at: usize) -> Self {
        let len = self.len();
        assert!(
            at <= len,
            "`at` split index (is {at}) should be <= len (is {len})"
        );
        if at == len {
            return Self::new();
        }
        if at == 0 {
            return mem::take(self);
        }
        let (left, right) = self.take_to_change_at([at]).cut(at);
        *self = left;
        right
    }

    /// Returns the first `at` elements, and the others. A clone that panics drops them.
    pub(super) fn cut(mut self, at: usize) -> (Self, Self) {
        if at == 0 {
            return (Self::new(), self);
        }
        if at == self.len() {
            return (self, Self::new());
        }
        if let Some(flat) = self.root.take_if(|root| root.is_leaf()) {
            let (left, right) = flat.split_leaf(at);
            return (Self::from_root(left), Self::from_root(right));
        }
        let (left, right) = self.take_trunk().split(at);
        (Self::from_trunk(left), Self::from_trunk(right))
    }

    /// Returns all of the list, to be cut and joined at these places and put back. If elements have to be cloned for
    /// that it is a clone of the list, which stays as it is: so nothing is lost where that panics.
    pub(super) fn take_to_change_at<const N: usize>(&mut self, places: [usize; N]) -> Self {
        if places.into_iter().all(|place| self.moves_at(place)) {
            mem::take(self)
        } else {
            self.clone()
        }
    }

    /// Returns whether cutting before the element at `index`, or joining what was cut there, moves elements and clones
    /// none.
    fn moves_at(&self, index: usize) -> bool {
        // The leaf on either side is looked at as well: it may become one with what is cut.
        let reach = Node::<T>::FLAT + 1;
        self.is_unique_in(index.saturating_sub(reach)..index.saturating_add(reach))
    }

    /// Moves all elements of `other` behind the last; `other` is empty then. O(log n).
    ///
    /// # Panics
    ///
    /// If there would be more than `isize::MAX` elements; nothing has changed then.
    pub fn append(&mut self, other: &mut Self) {
        let more = other.len();
        if more == 0 {
            return;
        }
        if self.is_empty() {
            mem::swap(self, other);
            return;
        }
        if self.is_short_with(more) {
            // What may panic comes first: then no element has moved.
            self.make_last_leaf_own(more);
            let more = if other.is_all_unique() {
                mem::take(other)
            } else {
                detach::record();
                Self::of_chunks(more, other.chunks())
            };
            self.extend_short(more);
            other.clear();
            return;
        }
        if self.moves_at(self.len()) && other.moves_at(0) {
            *self = mem::take(self).joined(mem::take(other));
        } else {
            *self = self.clone().joined(other.clone());
            other.clear();
        }
    }

    /// Returns a list of all elements of both. A clone that panics drops them, so that both are clones, or move what is
    /// cloned else: see [`moves_at`](Self::moves_at).
    pub(super) fn joined(mut self, mut other: Self) -> Self {
        if other.is_empty() {
            return self;
        }
        if self.is_empty() {
            return other;
        }
        if self.is_short_with(other.len()) {
            self.extend_short(other);
            return self;
        }
        Self::from_trunk(self.take_trunk().join(other.take_trunk()))
    }

    /// Adds the elements of a short list, all at once where both are blocks of their own.
    fn extend_short(&mut self, mut other: Self) {
        let len = self.len() + other.len();
        if len <= Self::FLAT_AGAIN
            && let Some(mut leaf) = self.root.as_mut().and_then(Node::leaf_mut)
            && let Some(mut more) = other.root.as_mut().and_then(Node::leaf_mut)
        {
            leaf.reserve_back(more.len(), Node::<T>::FLAT);
            leaf.append(&mut more);
        } else {
            self.extend(other);
        }
    }

    /// Returns whether so many elements more are too few for a leaf of their own.
    fn is_short_with(&self, more: usize) -> bool {
        joined_len(self.len(), more) <= Self::FLAT_AGAIN || more <= Node::<T>::LEAF / 4
    }

    /// Makes the leaf that the next elements go to this list's own, with room for some of them.
    fn make_last_leaf_own(&mut self, more: usize) {
        let Some(root) = &mut self.root else { return };
        let (len, full) = (root.elements().len(), Node::<T>::LEAF);
        if root.is_leaf() {
            root.make_leaf_mut((len + more).min(Node::<T>::FLAT));
        } else if let Some(trunk) = Self::make_trunk_mut(root)
            && let Some(tail) = &mut trunk.tail
            && tail.elements().len() < full
        {
            tail.make_leaf_mut(full);
        }
    }

    /// Returns a list of the elements of both, one after the other, sharing theirs. O(log n).
    ///
    /// # Panics
    ///
    /// If there would be more than `isize::MAX` elements.
    #[must_use]
    pub fn concat(&self, other: &Self) -> Self {
        let len = joined_len(self.len(), other.len());
        if len <= Self::FLAT_AGAIN {
            return Self::of_chunks(len, self.chunks().chain(other.chunks()));
        }
        let mut all = self.clone();
        all.append(&mut other.clone());
        all
    }

    /// Returns a list of the elements of `range`, sharing this one's. O(log n).
    ///
    /// # Panics
    ///
    /// If the range starts behind its end, or ends behind the last element.
    #[must_use]
    pub fn slice(&self, range: impl RangeBounds<usize>) -> Self {
        let range = self.range_of(range);
        if range == (0..self.len()) {
            return self.clone();
        }
        if range.len() <= Node::<T>::FLAT {
            // Short enough to be copied faster than cut out.
            let flat = self.root.as_ref().map_or(&[][..], Node::elements);
            if let Some(elements) = flat.get(range.clone()) {
                return Self::of_slice(elements);
            }
            return Self::of_chunks(range.len(), self.chunks_of(range));
        }
        let mut slice = self.clone();
        slice.truncate(range.end);
        let behind = slice.split_off(range.start);
        // Not left to the end of the scope: a drop that panics there leaks what is returned (rust-lang/rust#47949).
        drop(slice);
        behind
    }

    /// Removes the elements from `len` on. O(log n), and the time to drop them.
    pub fn truncate(&mut self, len: usize) {
        let Some(beyond) = self.len().checked_sub(len) else {
            return;
        };
        if len == 0 {
            return self.clear();
        }
        if let Some(mut leaf) = self.last_leaf_mut()
            && let Some(keep) = leaf.len().checked_sub(beyond)
        {
            return leaf.truncate(keep);
        }
        drop(self.split_off(len));
    }

    /// Puts the elements that `replace_with` gives in the place of those of `range`, which are returned. O(log n), and
    /// the time that the iterator takes.
    ///
    /// # Panics
    ///
    /// If the range starts behind its end, or ends behind the last element; if there would be more than `isize::MAX`
    /// elements. Nothing has changed then.
    pub fn splice(
        &mut self,
        range: impl RangeBounds<usize>,
        replace_with: impl IntoIterator<Item = T>,
    ) -> IntoIter<T> {
        let range = self.range_of(range);
        let added = Self::from_iter(replace_with);
        joined_len(self.len() - range.len(), added.len());
        self.replace_part(range, added).into_iter()
    }

    /// Puts the elements of `added` in the place of those of `range`, which are returned. If a clone panics, nothing has
    /// changed.
    pub(super) fn replace_part(&mut self, range: Range<usize>, added: Self) -> Self {
        if added.is_empty()
            && let Some(mut flat) = self.root.as_mut().and_then(Node::leaf_mut)
        {
            return Self::from_root(flat.take_out(range));
        }
        let all = if added.moves_at(0) && added.moves_at(added.len()) {
            self.take_to_change_at([range.start, range.end])
        } else {
            self.clone()
        };
        let (rest, behind) = all.cut(range.end);
        let (rest, removed) = rest.cut(range.start);
        *self = rest.joined(added).joined(behind);
        removed
    }

    /// Adds clones of `values` behind the last element.
    pub fn extend_from_slice(&mut self, values: &[T]) {
        self.extend(values.iter().cloned());
    }

    /// Adds the elements of `range` once more, behind the last. Of a large range they are shared, not cloned: O(log n). So
    /// elements that change behind a shared reference (a `Cell`) are the same in both places, as they are in clones of a list.
    ///
    /// # Panics
    ///
    /// If the range starts behind its end, or ends behind the last element; if there would be more than `isize::MAX`
    /// elements. Nothing has changed then.
    pub fn extend_from_within(&mut self, range: impl RangeBounds<usize>) {
        let mut part = self.slice(range);
        self.append(&mut part);
    }

    /// Removes elements at the end, or adds clones of `value`, until there are `len`.
    pub fn resize(&mut self, len: usize, value: T) {
        match len.checked_sub(self.len()) {
            Some(more) => self.extend(core::iter::repeat_n(value, more)),
            None => self.truncate(len),
        }
    }

    /// Removes elements at the end, or adds what `value` returns, until there are `len`.
    pub fn resize_with(&mut self, len: usize, value: impl FnMut() -> T) {
        match len.checked_sub(self.len()) {
            Some(more) => self.extend(core::iter::repeat_with(value).take(more)),
            None => self.truncate(len),
        }
    }

    /// Reverses the order of the elements.
    pub fn reverse(&mut self) {
        let mut elements = self.iter_mut();
        while let (Some(first), Some(last)) = (elements.next(), elements.next_back()) {
            mem::swap(first, last);
        }
    }

    /// Sets every element to a clone of `value`.
    pub fn fill(&mut self, value: T) {
        *self = core::iter::repeat_n(value, self.len()).collect();
    }

    /// Sets every element to what `value` returns, called for each in order. If it panics, nothing has changed.
    pub fn fill_with(&mut self, value: impl FnMut() -> T) {
        *self = core::iter::repeat_with(value).take(self.len()).collect();
    }

    /// Gives back the room that a list of one block has at its ends, if nobody else has the block. A longer one has room
    /// in its first and last leaf only, and keeps it.
    pub fn shrink_to_fit(&mut self) {
        if self.is_empty() {
            self.clear();
        } else if let Some(mut leaf) = self.root.as_mut().and_then(Node::leaf_mut) {
            leaf.shrink();
        }
    }
}

/// Returns how many elements two lists have together. Only lists that share nodes can be so long that it matters, and they
/// become so by being joined: elements that come one by one are never so many.
///
/// # Panics
///
/// If that is more than `isize::MAX`.
fn joined_len(len: usize, more: usize) -> usize {
    match len.checked_add(more) {
        Some(joined) if joined <= isize::MAX as usize => joined,
        _ => panic!("capacity overflow"),
    }
}

impl<T: Clone> Trunk<T> {
    fn insert(&mut self, index: usize, value: T) {
        let full = Node::<T>::LEAF;
        match self.place(index) {
            Place::Head(at) if self.head_len < full => {
                let head = self.head.as_mut().expect("it has an element");
                let mut head = head.make_leaf_mut(full);
                head.reserve_front(1, full);
                head.insert(at, value);
                self.head_len += 1;
                return;
            }
            Place::Head(_) => self.flush_head(),
            Place::Tail(at) => {
                let tail = self.tail.as_mut().expect("it has an element");
                if tail.elements().len() < full {
                    let mut tail = tail.make_leaf_mut(full);
                    tail.reserve_back(1, full);
                    tail.insert(at, value);
                    return;
                }
                self.flush_tail();
            }
            Place::Tree(_) => {}
        }
        let at = index - self.head_len;
        let sibling = self.tree.as_mut().and_then(|tree| tree::insert(tree, at, value));
        self.tree_len += 1;
        if let Some(sibling) = sibling {
            self.tree = self
                .tree
                .take()
                .map(|root| tree::with_sibling(root, Some(sibling)));
        }
    }

    fn remove(&mut self, index: usize) -> T {
        match (self.place(index), &mut self.head, &mut self.tree, &mut self.tail) {
            (Place::Head(at), Some(head), ..) => {
                let value = head.make_leaf_mut(0).remove(at);
                self.head_len -= 1;
                value
            }
            (Place::Tree(at), _, Some(tree), _) => {
                let value = tree::remove(tree, at);
                self.tree_len -= 1;
                self.tree = match self.tree_len {
                    0 => None,
                    _ => self.tree.take().and_then(tree::lowered),
                };
                value
            }
            (Place::Tail(at), .., Some(tail)) => tail.make_leaf_mut(0).remove(at),
            _ => unreachable!("the index is that of an element"),
        }
    }

    /// Returns the first `at` elements, at least one, and the others, at least one.
    fn split(self, at: usize) -> (Self, Self) {
        match self.place(at) {
            Place::Head(at) => {
                let (left, right) = cut(self.head, at);
                (
                    Self::new(left, None, None),
                    Self::new(right, self.tree, self.tail),
                )
            }
            Place::Tree(at) => {
                let (left, right) = cut(self.tree, at);
                (
                    Self::new(self.head, left, None),
                    Self::new(None, right, self.tail),
                )
            }
            Place::Tail(at) => {
                let (left, right) = cut(self.tail, at);
                (
                    Self::new(self.head, self.tree, left),
                    Self::new(None, None, right),
                )
            }
        }
    }

    /// Returns the elements of both, one after the other.
    fn join(self, other: Self) -> Self {
        let nodes = [self.tree, self.tail, other.head, other.tree];
        let filled = nodes.into_iter().flatten().filter(|node| node.len() > 0);
        let tree = filled.reduce(|left, right| {
            let (first, second) = tree::join(left, right);
            tree::with_sibling(first, second)
        });
        Self::new(self.head, tree, other.tail)
    }
}

fn cut<T: Clone>(node: Option<Node<T>>, at: usize) -> (Option<Node<T>>, Option<Node<T>>) {
    let Some(node) = node else { return (None, None) };
    let len = node.len();
    let (left, right) = tree::split(node, at, len);
    (left.and_then(tree::lowered), right.and_then(tree::lowered))
}
