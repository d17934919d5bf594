#![allow(unsafe_code)]
//! Nodes that are written: entries and children that come, go, and move to a neighbour.
//!
//! Nothing here calls the caller's code but where a separator is cloned, which is done before anything moves. So a
//! panic never finds a node half changed.

use core::ptr;
use core::slice;

use super::arrays::Arrays;
use super::node::{self, Node, Raw};

/// A node that has one owner, for writing.
pub(super) enum NodeMut<'a, K, V> {
    Leaf(LeafMut<'a, K, V>),
    Inner(InnerMut<'a, K, V>),
}

/// A leaf that has one owner, for writing.
pub(super) struct LeafMut<'a, K, V> {
    /// Invariant: a leaf, with one owner.
    node: &'a mut Node<K, V>,
}

/// An inner node that has one owner, for writing.
pub(super) struct InnerMut<'a, K, V> {
    /// Invariant: an inner node, with one owner.
    node: &'a mut Node<K, V>,
}

impl<K, V> Node<K, V> {
    /// Returns how many entries or children it may have.
    fn most(&self) -> usize {
        if self.level() == 0 {
            Self::LEAF_MAX
        } else {
            Self::INNER_MAX
        }
    }
}

fn leaf_arrays<K, V>(block: Raw<K, V>, len: usize, capacity: usize) -> Arrays<K, V> {
    Arrays {
        keys: node::keys(block),
        payloads: node::values(block, capacity),
        len,
    }
}

impl<'a, K, V> LeafMut<'a, K, V> {
    /// # Safety
    ///
    /// `node` must be a leaf and have one owner.
    #[inline]
    pub(super) unsafe fn new(node: &'a mut Node<K, V>) -> Self {
        debug_assert!(node.is_unique() && node.level() == 0);
        Self { node }
    }

    #[inline]
    fn arrays(&self) -> Arrays<K, V> {
        let head = self.node.head();
        leaf_arrays(
            self.node.block(),
            usize::from(head.len),
            usize::from(head.capacity),
        )
    }

    /// # Safety
    ///
    /// So many keys and values must be initialised.
    #[inline]
    unsafe fn set_len(&mut self, len: usize) {
        debug_assert!(len <= usize::from(self.node.head().capacity));
        // SAFETY: there is one owner, mutably borrowed, so nobody reads the head.
        unsafe { (*self.node.block().header_ptr()).len = len as u16 };
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        self.node.len()
    }

    #[inline]
    pub(super) fn is_full(&self) -> bool {
        self.len() == Node::<K, V>::LEAF_MAX
    }

    /// Returns the keys, and the values to write, for as long as the leaf is borrowed.
    #[inline]
    pub(super) fn into_entries(self) -> (&'a [K], &'a mut [V]) {
        let Arrays { keys, payloads, len } = self.arrays();
        // SAFETY: so many are initialised; the one owner is mutably borrowed for 'a and `self` is gone, so nothing else
        // leads to them.
        unsafe {
            (
                slice::from_raw_parts(keys, len),
                slice::from_raw_parts_mut(payloads, len),
            )
        }
    }

    /// Returns an entry, its value to write.
    pub(super) fn get_mut(&mut self, at: usize) -> Option<(&K, &mut V)> {
        let Arrays { keys, payloads, len } = self.arrays();
        // SAFETY: it is initialised, and mutably borrowed with `self`.
        (at < len).then(|| unsafe { (&*keys.add(at), &mut *payloads.add(at)) })
    }

    /// Puts a key in the place of one that is equal to it, which is returned.
    pub(super) fn replace_key(&mut self, at: usize, key: K) -> K {
        let Arrays { keys, len, .. } = self.arrays();
        assert!(at < len);
        // SAFETY: it is initialised, and mutably borrowed with `self`.
        unsafe { keys.add(at).replace(key) }
    }

    /// Returns one of the keys.
    #[inline]
    pub(super) fn key(&self, at: usize) -> &K {
        let Arrays { keys, len, .. } = self.arrays();
        assert!(at < len);
        // SAFETY: it is initialised, and borrowed with `self`.
        unsafe { &*keys.add(at) }
    }

    /// Makes room for `count` entries in all. May move the leaf to another block.
    ///
    /// # Panics
    ///
    /// If no leaf has so much room.
    #[inline]
    pub(super) fn make_room(&mut self, count: usize) {
        if count > usize::from(self.node.head().capacity) {
            self.grow(count);
        }
    }

    #[cold]
    fn grow(&mut self, count: usize) {
        assert!(count <= Node::<K, V>::LEAF_MAX);
        let mut larger = Node::leaf_with_room(count);
        // SAFETY: it is new.
        LeafMut { node: &mut larger }.append(self);
        *self.node = larger;
    }

    /// Puts an entry before the one at `at`.
    ///
    /// # Panics
    ///
    /// If the leaf is full, or `at` is beyond its end; nothing has changed then.
    #[inline]
    pub(super) fn insert(&mut self, at: usize, key: K, value: V) {
        let len = self.len();
        assert!(at <= len);
        self.make_room(len + 1);
        let arrays = self.arrays();
        // SAFETY: there is room for one more; the gap is written before the length says so.
        unsafe {
            arrays.open(at, 1);
            arrays.keys.add(at).write(key);
            arrays.payloads.add(at).write(value);
            self.set_len(len + 1);
        }
    }

    /// Puts up to `count` entries into an empty leaf that has room for them.
    pub(super) fn fill(&mut self, count: usize, entries: &mut impl Iterator<Item = (K, V)>) {
        let arrays = self.arrays();
        assert!(arrays.len == 0 && count <= usize::from(self.node.head().capacity));
        for (at, (key, value)) in entries.take(count).enumerate() {
            // SAFETY: there is room; the length counts both once they are written. It is written each time, since the
            // iterator may panic.
            unsafe {
                arrays.keys.add(at).write(key);
                arrays.payloads.add(at).write(value);
                self.set_len(at + 1);
            }
        }
    }

    /// Takes out the entry at `at`.
    #[inline]
    pub(super) fn remove(&mut self, at: usize) -> (K, V) {
        let arrays = self.arrays();
        assert!(at < arrays.len);
        // SAFETY: the entry is moved out, the others over it, and the length says so.
        unsafe {
            let entry = (arrays.keys.add(at).read(), arrays.payloads.add(at).read());
            arrays.close(at, 1);
            self.set_len(arrays.len - 1);
            entry
        }
    }

    /// Takes out the entries from `at` on, as a leaf of their own.
    pub(super) fn split_off(&mut self, at: usize) -> Node<K, V> {
        let arrays = self.arrays();
        assert!(at <= arrays.len);
        let count = arrays.len - at;
        let mut node = Node::leaf_with_room(Node::<K, V>::LEAF_MAX);
        let mut right = LeafMut { node: &mut node };
        // SAFETY: the new leaf has room for as many as any leaf has; both lengths say what moved.
        unsafe {
            arrays.copy_to(at, count, &right.arrays(), 0);
            right.set_len(count);
            self.set_len(at);
        }
        node
    }

    /// Moves all entries of `right` to the end of this leaf.
    ///
    /// # Panics
    ///
    /// If no leaf has so much room; nothing has changed then.
    pub(super) fn append(&mut self, right: &mut LeafMut<'_, K, V>) {
        let (count, len) = (right.len(), self.len());
        self.make_room(len + count);
        // SAFETY: there is room; both lengths say what moved.
        unsafe {
            right.arrays().copy_to(0, count, &self.arrays(), len);
            right.set_len(0);
            self.set_len(len + count);
        }
    }

    /// Moves entries between this leaf and the one to its right, until this one has `count`. Returns the separator
    /// that belongs between them now. If cloning it panics, nothing has changed.
    fn balance(&mut self, right: &mut LeafMut<'_, K, V>, count: usize) -> K
    where
        K: Clone,
    {
        let (left_len, right_len) = (self.len(), right.len());
        assert!(0 < count && count < left_len + right_len);
        if count < left_len {
            let moved = left_len - count;
            let separator = self.key(count).clone();
            right.make_room(right_len + moved);
            let arrays = right.arrays();
            // SAFETY: there is room for those that move; both lengths say what moved.
            unsafe {
                arrays.open(0, moved);
                self.arrays().copy_to(count, moved, &arrays, 0);
                right.set_len(right_len + moved);
                self.set_len(count);
            }
            separator
        } else {
            let moved = count - left_len;
            let separator = right.key(moved).clone();
            self.make_room(count);
            let arrays = right.arrays();
            // SAFETY: as above.
            unsafe {
                arrays.copy_to(0, moved, &self.arrays(), left_len);
                arrays.close(0, moved);
                right.set_len(right_len - moved);
                self.set_len(count);
            }
            separator
        }
    }
}

impl<'a, K, V> InnerMut<'a, K, V> {
    /// # Safety
    ///
    /// `node` must be an inner node and have one owner.
    #[inline]
    pub(super) unsafe fn new(node: &'a mut Node<K, V>) -> Self {
        debug_assert!(node.is_unique() && node.level() > 0);
        Self { node }
    }

    #[inline]
    fn arrays(&self) -> Arrays<K, Node<K, V>> {
        let head = self.node.head();
        let block = self.node.block();
        Arrays {
            keys: node::keys(block),
            payloads: node::children(block, usize::from(head.capacity)),
            len: usize::from(head.len),
        }
    }

    /// # Safety
    ///
    /// So many children must be initialised, and keys but the first; `entries` must be what is below them.
    #[inline]
    unsafe fn set_len(&mut self, len: usize, entries: usize) {
        debug_assert!(len <= usize::from(self.node.head().capacity));
        // SAFETY: there is one owner, mutably borrowed, so nobody reads the head.
        unsafe {
            let head = self.node.block().header_ptr();
            (*head).len = len as u16;
            (*head).entries = entries;
        }
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        self.node.len()
    }

    #[inline]
    pub(super) fn is_full(&self) -> bool {
        self.len() == Node::<K, V>::INNER_MAX
    }

    #[inline]
    pub(super) fn level(&self) -> usize {
        self.node.level()
    }

    /// Sets how many entries are below, after a child has got more or fewer.
    #[inline]
    pub(super) fn add_entries(&mut self, count: isize) {
        let entries = self.node.head().entries.wrapping_add_signed(count);
        // SAFETY: there is one owner, mutably borrowed, so nobody reads the head. A wrong number would be no harm to
        // memory.
        unsafe { (*self.node.block().header_ptr()).entries = entries };
    }

    /// Returns the children, to write.
    #[inline]
    pub(super) fn children_mut(&mut self) -> &mut [Node<K, V>] {
        let Arrays { payloads, len, .. } = self.arrays();
        // SAFETY: so many are initialised; the one owner is mutably borrowed with `self`.
        unsafe { slice::from_raw_parts_mut(payloads, len) }
    }

    /// Returns a child, for as long as the node is borrowed.
    #[inline]
    pub(super) fn into_child(self, at: usize) -> &'a mut Node<K, V> {
        let Arrays { payloads, len, .. } = self.arrays();
        assert!(at < len);
        // SAFETY: it is initialised; the one owner is mutably borrowed for 'a and `self` is gone.
        unsafe { &mut *payloads.add(at) }
    }

    /// Puts the first child into an empty node.
    pub(super) fn insert_only(&mut self, child: Node<K, V>) {
        let arrays = self.arrays();
        assert!(arrays.len == 0 && child.level() + 1 == self.level());
        let entries = child.entries();
        // SAFETY: there is room for it; it needs no key.
        unsafe {
            arrays.payloads.write(child);
            self.set_len(1, entries);
        }
    }

    /// Puts `child` at `at`, which is not the first place, and `separator` between it and the one before.
    ///
    /// # Panics
    ///
    /// If the node is full, or the child does not belong at its level; nothing has changed then.
    #[inline]
    pub(super) fn insert(&mut self, at: usize, separator: K, child: Node<K, V>) {
        let arrays = self.arrays();
        assert!(0 < at && at <= arrays.len && !self.is_full() && child.level() + 1 == self.level());
        let entries = self.node.entries() + child.entries();
        // SAFETY: there is room for one more; the gap is written before the length says so.
        unsafe {
            arrays.open(at, 1);
            arrays.keys.add(at).write(separator);
            arrays.payloads.add(at).write(child);
            self.set_len(arrays.len + 1, entries);
        }
    }

    /// Puts `child` before all others, and `separator` between it and them.
    ///
    /// # Panics
    ///
    /// As for [`insert`](Self::insert); or if the node is empty.
    pub(super) fn insert_first(&mut self, child: Node<K, V>, separator: K) {
        let arrays = self.arrays();
        assert!(arrays.len > 0 && !self.is_full() && child.level() + 1 == self.level());
        let entries = self.node.entries() + child.entries();
        // SAFETY: there is room for one more; the first key moves with the others, and is then what was missing.
        unsafe {
            arrays.open(0, 1);
            arrays.keys.add(1).write(separator);
            arrays.payloads.write(child);
            self.set_len(arrays.len + 1, entries);
        }
    }

    /// Takes out the child at `at`, which is not the first, with the separator before it.
    pub(super) fn remove(&mut self, at: usize) -> (K, Node<K, V>) {
        let arrays = self.arrays();
        assert!(0 < at && at < arrays.len);
        // SAFETY: both are moved out, the others over them, and the length says so.
        unsafe {
            let (separator, child) = (arrays.keys.add(at).read(), arrays.payloads.add(at).read());
            arrays.close(at, 1);
            self.set_len(arrays.len - 1, self.node.entries() - child.entries());
            (separator, child)
        }
    }

    /// Takes out the first child, with the separator behind it if there is another child.
    pub(super) fn remove_first(&mut self) -> (Node<K, V>, Option<K>) {
        let arrays = self.arrays();
        assert!(arrays.len > 0);
        // SAFETY: the child is moved out, and the next one's separator, which is no longer needed; the others move over
        // them, and the length says so.
        unsafe {
            let child = arrays.payloads.read();
            let separator = (arrays.len > 1).then(|| arrays.keys.add(1).read());
            arrays.close(0, 1);
            self.set_len(arrays.len - 1, self.node.entries() - child.entries());
            (child, separator)
        }
    }

    /// Takes out the last child.
    pub(super) fn remove_last(&mut self) -> Node<K, V> {
        match self.len() {
            1 => self.remove_first().0,
            len => {
                let (separator, child) = self.remove(len - 1);
                // Dropped on the way out, a key that panics would have the child lost (rust#47949).
                drop(separator);
                child
            }
        }
    }

    /// Takes out the children from `at` on, as a node of their own, with the separator before them. Neither node is
    /// left empty.
    pub(super) fn split_off(&mut self, at: usize) -> (K, Node<K, V>) {
        let arrays = self.arrays();
        assert!(0 < at && at < arrays.len);
        let count = arrays.len - at;
        let moved = self.children_mut()[at..].iter().map(Node::entries).sum();
        let mut node = Node::inner(self.level());
        let mut right = InnerMut { node: &mut node };
        // SAFETY: the new node has room for as many as any has. Its first key is the separator, which is moved out;
        // both lengths say what moved.
        let separator = unsafe {
            let right_arrays = right.arrays();
            arrays.copy_to(at, count, &right_arrays, 0);
            right.set_len(count, moved);
            self.set_len(at, self.node.entries() - moved);
            right_arrays.keys.read()
        };
        (separator, node)
    }

    /// Moves all children of `right` to the end of this node, with `separator` before them. `right` is left without any.
    fn append(&mut self, separator: K, right: &mut InnerMut<'_, K, V>) {
        let (from, to) = (right.arrays(), self.arrays());
        assert!(from.len + to.len <= Node::<K, V>::INNER_MAX && self.level() == right.level());
        let entries = self.node.entries() + right.node.entries();
        // SAFETY: there is room; the first key to come is the separator, and both lengths say what moved.
        unsafe {
            from.keys.write(separator);
            from.copy_to(0, from.len, &to, to.len);
            right.set_len(0, 0);
            self.set_len(from.len + to.len, entries);
        }
    }

    /// Moves children between this node and the one to its right, until this one has `count`. `separator` is what is
    /// between them, and is what belongs there afterwards.
    fn balance(&mut self, separator: &mut K, right: &mut InnerMut<'_, K, V>, count: usize) {
        let (left, other) = (self.arrays(), right.arrays());
        let total = left.len + other.len;
        let most = Node::<K, V>::INNER_MAX;
        assert!(0 < count && count < total && count <= most && total - count <= most);
        let entries = self.node.entries() + right.node.entries();
        // SAFETY:
        // - With the separator as the right node's first key, all keys from the left node's second on are there: they
        //   move with their children, and the key that is the right node's first then is the separator.
        // - Both lengths say what moved, and nothing here can panic.
        unsafe {
            other.keys.write(ptr::read(separator));
            if count < left.len {
                let moved = left.len - count;
                other.open(0, moved);
                left.copy_to(count, moved, &other, 0);
            } else {
                let moved = count - left.len;
                other.copy_to(0, moved, &left, left.len);
                other.close(0, moved);
            }
            ptr::write(separator, other.keys.read());
            let below = slice::from_raw_parts(left.payloads, count)
                .iter()
                .map(Node::entries)
                .sum();
            self.set_len(count, below);
            right.set_len(total - count, entries - below);
        }
    }

    /// Makes good that the child at `at` has too little, if it has: joins it to a neighbour, or gives it some of the
    /// neighbour's, whichever fits. Copies both if they are shared; if that panics, the tree is as it was.
    pub(super) fn mend(&mut self, at: usize)
    where
        K: Clone,
        V: Clone,
    {
        if self.len() < 2 || !self.children_mut()[at].is_underfull() {
            return;
        }
        let right_at = at.max(1);
        let Arrays { keys, .. } = self.arrays();
        let [left, right] = self
            .children_mut()
            .get_disjoint_mut([right_at - 1, right_at])
            .expect("two neighbours");
        let (total, most) = (left.len() + right.len(), left.most());
        let (left, right) = (left.make_unique(), right.make_unique());
        if total <= most {
            return self.join_neighbours(right_at);
        }
        // SAFETY: it is initialised and no part of the children; `self` is mutably borrowed.
        let separator = unsafe { &mut *keys.add(right_at) };
        match (left, right) {
            (NodeMut::Leaf(mut left), NodeMut::Leaf(mut right)) => {
                // Everything is in its place before the old separator's `Drop` may panic.
                *separator = left.balance(&mut right, total / 2);
            }
            (NodeMut::Inner(mut left), NodeMut::Inner(mut right)) => {
                left.balance(separator, &mut right, total / 2);
            }
            _ => unreachable!("neighbours are at one level"),
        }
    }

    /// Moves all of the child at `right_at` to the one before it. Both have one owner, and fit into one node.
    fn join_neighbours(&mut self, right_at: usize) {
        let entries = self.node.entries();
        let (separator, mut right) = self.remove(right_at);
        let left = self.children_mut()[right_at - 1].unique();
        let unused = match (left, right.unique()) {
            (Some(NodeMut::Leaf(mut left)), Some(NodeMut::Leaf(mut right))) => {
                left.append(&mut right);
                Some(separator)
            }
            (Some(NodeMut::Inner(mut left)), Some(NodeMut::Inner(mut right))) => {
                left.append(separator, &mut right);
                None
            }
            _ => unreachable!("neighbours are at one level, and have one owner"),
        };
        let missing = entries - self.node.entries();
        self.add_entries(missing as isize);
        // Everything is in its place before its `Drop` may panic.
        drop(unused);
    }
}
