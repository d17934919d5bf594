#![allow(unsafe_code)]
//! [`Tree`]: the nodes of one map, and the ways to a key: to read it, and to write it.
//!
//! **Invariant:** a tree is one of the owners of its root, and `len` is the number of entries below it. A node is written
//! only through `&mut Tree`, and only if it and all nodes above it have one owner, which then is this tree; so all others
//! only read, on any thread.

use core::marker::PhantomData;
use core::mem;

use super::leaf::{Entry, Found, Leaf};
use super::node::{FAN_BITS, Node, Spot, View, slot_of};
use crate::detach;

/// One owner of a tree of entries. It knows hashes, not the hasher.
pub(super) struct Tree<K, V> {
    pub(super) root: Option<Node<K, V>>,
    pub(super) len: usize,
    owns: PhantomData<Entry<K, V>>,
}

// SAFETY: owners on several threads share `&K` and `&V`, and the last one, on any thread, drops them.
unsafe impl<K: Send + Sync, V: Send + Sync> Send for Tree<K, V> {}
// SAFETY: as for `Send`, since `&Tree` can be cloned into an owner.
unsafe impl<K: Send + Sync, V: Send + Sync> Sync for Tree<K, V> {}

/// The way to a leaf of which every node has one owner.
pub(super) struct Way<K, V> {
    pub(super) leaf: Leaf<K, V>,
    /// Where the leaf is.
    pub(super) spot: Spot<K, V>,
    /// Where the inner node above it is.
    pub(super) above: Option<Spot<K, V>>,
    /// How many inner nodes are above it.
    pub(super) level: u32,
}

impl<K, V> Tree<K, V> {
    pub(super) const fn new() -> Self {
        Self {
            root: None,
            len: 0,
            owns: PhantomData,
        }
    }

    /// Looks for a key in order to read there. An empty tree does not ask for its hash.
    #[inline]
    pub(super) fn find(
        &self,
        hash: impl FnOnce() -> u64,
        is_key: impl FnMut(&K) -> bool,
    ) -> Option<&Entry<K, V>> {
        let mut node = self.root?;
        let hash = hash();
        let mut way = hash;
        loop {
            match node.view() {
                View::Leaf(leaf) => {
                    // SAFETY: what the tree owns is live, and is not written while the tree is borrowed.
                    return unsafe { leaf.find(hash, is_key).map(|found| &*found.entry) };
                }
                // SAFETY: as above.
                View::Inner(slots) => node = unsafe { slots.get(slot_of(way)) },
            }
            way <<= FAN_BITS;
        }
    }

    /// Returns the leaf that a key with this hash is in, if it is anywhere.
    fn leaf_of(&self, hash: u64) -> Option<Leaf<K, V>> {
        let mut node = self.root?;
        let mut way = hash;
        loop {
            match node.view() {
                View::Leaf(leaf) => return Some(leaf),
                // SAFETY: what the tree owns is live, and is not written while the tree is borrowed.
                View::Inner(slots) => node = unsafe { slots.get(slot_of(way)) },
            }
            way <<= FAN_BITS;
        }
    }

    /// Returns whether the leaf of `hash` and all above it are this tree's alone.
    pub(super) fn is_own_way(&self, hash: u64) -> bool {
        let mut node = self.root;
        let mut way = hash;
        while let Some(at) = node {
            // SAFETY: what the tree owns is live, and is not written while the tree is borrowed.
            unsafe {
                if !at.count().is_one() {
                    return false;
                }
                node = match at.view() {
                    View::Leaf(_) => None,
                    View::Inner(slots) => Some(slots.get(slot_of(way))),
                };
            }
            way <<= FAN_BITS;
        }
        true
    }

    /// Looks for a key in order to write there. Copies nothing yet.
    #[inline]
    pub(super) fn search(
        &mut self,
        hash: u64,
        is_key: impl FnMut(&K) -> bool,
    ) -> Result<Occupied<'_, K, V>, Vacant<'_, K, V>> {
        let Some(mut node) = self.root else {
            return Err(Vacant {
                tree: self,
                hash,
                room: None,
            });
        };
        let mut way = hash;
        let mut is_own = true;
        loop {
            // SAFETY: what the tree owns is live, and is not written meanwhile. A node with one owner below nodes
            // with one owner is this tree's alone.
            unsafe {
                is_own &= node.count().is_one();
                match node.view() {
                    View::Inner(slots) => node = slots.get(slot_of(way)),
                    View::Leaf(leaf) => {
                        let Some(found) = leaf.find(hash, is_key) else {
                            let room = (is_own && leaf.has_room()).then_some(leaf);
                            return Err(Vacant {
                                tree: self,
                                hash,
                                room,
                            });
                        };
                        let tree = self;
                        return Ok(Occupied {
                            tree,
                            hash,
                            leaf,
                            found,
                            is_own,
                        });
                    }
                }
            }
            way <<= FAN_BITS;
        }
    }

    /// Goes to the leaf of `hash`, and gives this tree a copy of each shared node on the way. `None` without a root.
    pub(super) fn own_way(&mut self, hash: u64) -> Option<Way<K, V>>
    where
        K: Clone,
        V: Clone,
    {
        let mut spot = Spot::root(self.root.as_mut()?);
        let (mut above, mut level, mut way) = (None, 0, hash);
        loop {
            // SAFETY: the root or the inner node that the spot is in is this tree's alone.
            let node = unsafe { own(spot) };
            match node.view() {
                View::Leaf(leaf) => {
                    return Some(Way {
                        leaf,
                        spot,
                        above,
                        level,
                    });
                }
                View::Inner(slots) => {
                    above = Some(spot);
                    spot = Spot::child(slots, slot_of(way));
                }
            }
            way <<= FAN_BITS;
            level += 1;
        }
    }

    /// Adds an entry whose key is not there, wherever its leaf is.
    fn insert_new(
        &mut self,
        hash: u64,
        entry: Entry<K, V>,
        rehash: &impl Fn(&K) -> u64,
    ) -> (Leaf<K, V>, Found<K, V>)
    where
        K: Clone,
        V: Clone,
    {
        loop {
            let Some(way) = self.own_way(hash) else {
                self.root = Some(Node::leaf(Leaf::with_shape(Leaf::<K, V>::shape_for(1))));
                continue;
            };
            // SAFETY: the leaf and all above it are this tree's alone.
            unsafe {
                if way.leaf.has_room() {
                    let found = way.leaf.push(hash, entry);
                    self.len += 1;
                    return (way.leaf, found);
                }
                way.make_room(rehash);
            }
        }
    }

    /// Returns the values of several keys for writing; each is told by its hash and a test. Copies what is shared.
    ///
    /// # Panics
    ///
    /// If two of the keys are the same.
    pub(super) fn disjoint<const N: usize>(
        &mut self,
        keys: [(u64, impl FnMut(&K) -> bool); N],
    ) -> [Option<&mut V>; N]
    where
        K: Clone,
        V: Clone,
    {
        let mut places = [None; N];
        for (place, (hash, is_key)) in places.iter_mut().zip(keys) {
            if let Ok(mut occupied) = self.search(hash, is_key) {
                // A leaf that is made this tree's own stays where it is while other ways are.
                occupied.own();
                *place = Some((occupied.leaf, occupied.found.place));
            }
        }
        for (number, place) in places.iter().enumerate() {
            let is_twice = place.is_some() && places[..number].contains(place);
            assert!(!is_twice, "duplicate keys found");
        }
        // SAFETY: the leaves are this tree's alone, which is borrowed as long as the values, and the places differ.
        places.map(|place| place.map(|(leaf, place)| unsafe { &mut (*leaf.entry(place)).value }))
    }

    /// Returns whether both own the same root.
    #[inline]
    pub(super) fn ptr_eq(&self, other: &Self) -> bool {
        self.root == other.root
    }

    pub(super) fn is_unique(&self) -> bool {
        // SAFETY: the tree owns its root.
        self.root.is_none_or(|root| unsafe { root.count().is_one() })
    }

    /// Returns how many bytes of nodes only this tree reaches, and how many others reach too.
    pub(super) fn bytes(&self) -> (usize, usize) {
        fn add<K, V>(node: Node<K, V>, is_own: bool, bytes: &mut (usize, usize)) {
            // SAFETY: the tree that is borrowed owns the node.
            unsafe {
                let is_own = is_own && node.count().is_one();
                *(if is_own { &mut bytes.0 } else { &mut bytes.1 }) += node.bytes();
                if let View::Inner(slots) = node.view() {
                    slots.children().for_each(|child| add(child, is_own, bytes));
                }
            }
        }
        let mut bytes = (0, 0);
        if let Some(root) = self.root {
            add(root, true, &mut bytes);
        }
        bytes
    }
}

/// Makes the node at `spot` one with one owner, and returns it.
///
/// # Safety
///
/// What the spot is in must be the caller's to write.
#[inline]
pub(super) unsafe fn own<K: Clone, V: Clone>(spot: Spot<K, V>) -> Node<K, V> {
    // SAFETY: the node is live; it is replaced before its share is given up, whatever a `Drop` does then.
    unsafe {
        let node = spot.get();
        if node.count().is_one() {
            return node;
        }
        let copy = node.copied();
        detach::record();
        spot.replace(copy);
        node.release();
        copy
    }
}

/// A key that a tree has.
pub(super) struct Occupied<'a, K, V> {
    tree: &'a mut Tree<K, V>,
    hash: u64,
    leaf: Leaf<K, V>,
    found: Found<K, V>,
    /// Whether the leaf and all above it are this tree's alone.
    is_own: bool,
}

// SAFETY: it is a `&mut Tree`; pointers are into that.
unsafe impl<K: Send + Sync, V: Send + Sync> Send for Occupied<'_, K, V> {}
// SAFETY: as for `Send`: shared, it can only be read.
unsafe impl<K: Send + Sync, V: Send + Sync> Sync for Occupied<'_, K, V> {}

impl<'a, K, V> Occupied<'a, K, V> {
    #[inline]
    pub(super) fn get(&self) -> &Entry<K, V> {
        // SAFETY: the tree, borrowed here, owns the leaf, and the entry is there.
        unsafe { &*self.found.entry }
    }

    #[inline]
    fn own(&mut self)
    where
        K: Clone,
        V: Clone,
    {
        if !self.is_own {
            self.own_slowly();
        }
    }

    #[cold]
    fn own_slowly(&mut self)
    where
        K: Clone,
        V: Clone,
    {
        /// Finds the leaf again, also after a panic: it can have been replaced by then.
        struct Relocated<'b, 'a, K, V>(&'b mut Occupied<'a, K, V>);
        impl<K, V> Drop for Relocated<'_, '_, K, V> {
            fn drop(&mut self) {
                self.0.leaf = self.0.tree.leaf_of(self.0.hash).expect("the way was gone before");
                // A copy has its entries at the same places.
                self.0.found.entry = self.0.leaf.entry(self.0.found.place);
            }
        }
        let relocated = Relocated(self);
        let _ = relocated.0.tree.own_way(relocated.0.hash);
        relocated.0.is_own = true;
    }

    /// Returns the entry for writing. Copies what is shared on the way.
    #[inline]
    pub(super) fn get_mut(&mut self) -> &mut Entry<K, V>
    where
        K: Clone,
        V: Clone,
    {
        self.own();
        // SAFETY: the leaf is this tree's alone, which is borrowed mutably.
        unsafe { &mut *self.found.entry }
    }

    #[inline]
    pub(super) fn into_mut(mut self) -> &'a mut Entry<K, V>
    where
        K: Clone,
        V: Clone,
    {
        self.own();
        // SAFETY: as in `get_mut`; the tree is borrowed as long as the entry.
        unsafe { &mut *self.found.entry }
    }

    /// Takes the entry out. If `rehash` panics, it may be gone; nothing else is.
    #[inline]
    pub(super) fn remove(mut self, rehash: &impl Fn(&K) -> u64) -> Entry<K, V>
    where
        K: Clone,
        V: Clone,
    {
        self.own();
        // SAFETY: the leaf is this tree's alone.
        unsafe {
            let entry = self.leaf.remove(self.found.place, |_| self.hash);
            self.tree.len -= 1;
            // What is the whole map has nobody to join.
            let is_whole = self.leaf.len() == self.tree.len;
            if self.leaf.is_sparse(is_whole) {
                self.tree.settle(self.hash, rehash);
            }
            entry
        }
    }
}

/// A key that a tree does not have.
pub(super) struct Vacant<'a, K, V> {
    tree: &'a mut Tree<K, V>,
    hash: u64,
    /// The leaf it belongs to, if that has room and is this tree's alone.
    room: Option<Leaf<K, V>>,
}

// SAFETY: it is a `&mut Tree`; pointers are into that.
unsafe impl<K: Send + Sync, V: Send + Sync> Send for Vacant<'_, K, V> {}
// SAFETY: as for `Send`: shared, it gives nothing.
unsafe impl<K: Send + Sync, V: Send + Sync> Sync for Vacant<'_, K, V> {}

impl<'a, K, V> Vacant<'a, K, V> {
    /// Adds the entry, whose key must have the hash that was searched for. Copies what is shared on the way.
    #[inline]
    pub(super) fn insert(self, entry: Entry<K, V>, rehash: &impl Fn(&K) -> u64) -> Occupied<'a, K, V>
    where
        K: Clone,
        V: Clone,
    {
        let (leaf, found) = match self.room {
            // SAFETY: nothing was written since it was seen to have room.
            Some(leaf) => unsafe {
                self.tree.len += 1;
                (leaf, leaf.push(self.hash, entry))
            },
            None => self.tree.insert_new(self.hash, entry, rehash),
        };
        Occupied {
            tree: self.tree,
            hash: self.hash,
            leaf,
            found,
            is_own: true,
        }
    }
}

impl<K, V> Clone for Tree<K, V> {
    #[inline]
    fn clone(&self) -> Self {
        if let Some(root) = self.root {
            // SAFETY: the tree owns its root.
            unsafe { root.count().add_owner() };
        }
        Self { ..*self }
    }
}

impl<K, V> Drop for Tree<K, V> {
    #[inline]
    fn drop(&mut self) {
        self.clear();
    }
}

impl<K, V> Tree<K, V> {
    /// Removes everything.
    #[inline]
    pub(super) fn clear(&mut self) {
        self.len = 0;
        if let Some(root) = self.root.take() {
            // SAFETY: the tree gives its share up.
            unsafe { root.release() };
        }
    }

    /// Returns the tree, and leaves an empty one.
    pub(super) fn take(&mut self) -> Self {
        mem::replace(self, Self::new())
    }
}
