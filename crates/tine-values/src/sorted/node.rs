#![allow(unsafe_code)]
//! The nodes of a sorted map: counted blocks with two arrays, keys and what goes with them.
//!
//! ```text
//! leaf   | count | head | key 0 | key 1 | ... | value 0 | value 1 | ...
//! inner  | count | head |   -   | key 1 | ... | child 0 | child 1 | ...    key i: not above what is in child i,
//!                                                                         above what is in child i - 1
//! ```
//!
//! An inner node's keys *separate* its children, so there is one less of them; the first place of their array stays
//! free, and where nodes are cut and joined the separator that comes from above or goes there passes through it.
//!
//! **Invariants**, which everything here relies on. None depends on how keys compare.
//! 1. A [`Node`] is one of the owners that its block's count counts.
//! 2. The first `len` values or children are initialised and so are the keys beside them, except an inner node's
//!    first; there is room for `capacity` of both.
//! 3. The children of a node at level `n` are at level `n - 1`; leaves are at level 0.
//! 4. Head and arrays are written only through a [`LeafMut`] or an [`InnerMut`], which exist only while there is one
//!    owner, mutably borrowed. So all others only read, on any thread.

use core::marker::PhantomData;
use core::mem::{self, ManuallyDrop, MaybeUninit};
use core::ptr;
use core::slice;

use super::edit::{InnerMut, LeafMut, NodeMut};
use crate::block::Block;
use crate::detach;
use crate::prefetch::prefetch;
use crate::radix_map::NodeBytes;

/// How many levels a tree has at most. Inner nodes have [`INNER_MIN`](Node::INNER_MIN) children, so no memory is large
/// enough for that many.
pub(super) const LEVELS_MAX: usize = 24;

/// How many bytes a full leaf takes, the count and head with it; as much as glibc keeps in its quickest lists.
const LEAF_BYTES: usize = 1024;

/// How much of a node is fetched ahead: as many lines as processors have on their way at a time.
const PREFETCH_BYTES: usize = 640;

pub(super) struct Head {
    /// How many entries are below an inner node. A leaf's are `len`.
    pub(super) entries: usize,
    pub(super) len: u16,
    pub(super) capacity: u16,
    level: u8,
}

/// What the room of a block is measured in: aligned for keys, values and children.
#[repr(C)]
pub(super) struct Unit<K, V> {
    keys: [K; 0],
    values: [V; 0],
    children: [usize; 0],
    bytes: MaybeUninit<u8>,
}

pub(super) type Raw<K, V> = Block<Head, Unit<K, V>>;

/// One owner of a node.
#[repr(transparent)]
pub(super) struct Node<K, V> {
    block: Raw<K, V>,
    owns: PhantomData<(K, V)>,
}

/// What a node holds.
pub(super) enum View<'a, K, V> {
    Leaf(LeafRef<'a, K, V>),
    Inner(InnerRef<'a, K, V>),
}

/// The entries of a leaf.
pub(super) struct LeafRef<'a, K, V> {
    pub(super) keys: &'a [K],
    pub(super) values: &'a [V],
}

/// The children of an inner node, and what separates them: `separators[i]` is between `children[i]` and the next.
pub(super) struct InnerRef<'a, K, V> {
    pub(super) separators: &'a [K],
    pub(super) children: &'a [Node<K, V>],
}

// SAFETY: owners on several threads share `&K` and `&V`, and the last one, on any thread, drops them.
unsafe impl<K: Send + Sync, V: Send + Sync> Send for Node<K, V> {}
// SAFETY: as for `Send`, since `&Node<K, V>` can be cloned into an owner.
unsafe impl<K: Send + Sync, V: Send + Sync> Sync for Node<K, V> {}

impl<K, V> Node<K, V> {
    /// How many entries a leaf may have.
    pub(super) const LEAF_MAX: usize = {
        let entry = size_of::<K>() + size_of::<V>();
        let fitting = (LEAF_BYTES - Raw::<K, V>::SLOTS_AT) / if entry == 0 { 1 } else { entry };
        if fitting < 4 {
            4
        } else if fitting > 255 {
            255
        } else {
            fitting
        }
    };

    /// How many children an inner node may have: a copy of it costs a count for each, see the table in `mod.rs`.
    pub(super) const INNER_MAX: usize = 16;

    /// How many a node that is not a root should have at least: less is made good when a neighbour is written. A
    /// quarter, not a half, so that a tree that is filled in order may leave its nodes three quarters full.
    pub(super) const LEAF_MIN: usize = Self::LEAF_MAX / 4;
    pub(super) const INNER_MIN: usize = Self::INNER_MAX / 4;

    /// Returns an empty leaf with room for `len` entries at least.
    pub(super) fn leaf_with_room(len: usize) -> Self {
        Self::with_room(0, leaf_room(len, Self::LEAF_MAX))
    }

    /// Returns an empty inner node.
    pub(super) fn inner(level: usize) -> Self {
        debug_assert!(level > 0);
        Self::with_room(level, Self::INNER_MAX)
    }

    fn with_room(level: usize, capacity: usize) -> Self {
        assert!(level < LEVELS_MAX, "a tree is not that high");
        let head = Head {
            entries: 0,
            len: 0,
            capacity: u16::try_from(capacity).expect("nodes are small"),
            level: level as u8,
        };
        Self {
            block: Block::new(head, units::<K, V>(level, capacity)),
            owns: PhantomData,
        }
    }

    #[inline]
    pub(super) fn head(&self) -> &Head {
        // SAFETY: the block lives while `self` owns it, and its head is written only through `&mut Node`.
        unsafe { self.block.header() }
    }

    /// Returns the block, for those who write.
    #[inline]
    pub(super) fn block(&self) -> Raw<K, V> {
        self.block
    }

    /// Returns how far above the leaves the node is.
    #[inline]
    pub(super) fn level(&self) -> usize {
        usize::from(self.head().level)
    }

    /// Returns how many entries or children it has.
    #[inline]
    pub(super) fn len(&self) -> usize {
        usize::from(self.head().len)
    }

    /// Returns how many entries are in it and below it.
    #[inline]
    pub(super) fn entries(&self) -> usize {
        let head = self.head();
        if head.level == 0 {
            usize::from(head.len)
        } else {
            head.entries
        }
    }

    /// Returns whether it has too little to stay as it is, unless it is the root.
    #[inline]
    pub(super) fn is_underfull(&self) -> bool {
        let least = if self.level() == 0 {
            Self::LEAF_MIN
        } else {
            Self::INNER_MIN
        };
        self.len() < least
    }

    #[inline]
    pub(super) fn view(&self) -> View<'_, K, V> {
        let head = self.head();
        let (len, capacity) = (usize::from(head.len), usize::from(head.capacity));
        let keys = keys(self.block);
        if head.level == 0 {
            // SAFETY: as many keys and values are initialised (invariant 2), and nobody writes them while `self` is
            // borrowed (invariant 4).
            View::Leaf(unsafe {
                LeafRef {
                    keys: slice::from_raw_parts(keys, len),
                    values: slice::from_raw_parts(values(self.block, capacity), len),
                }
            })
        } else {
            // SAFETY: as above; the first key is left out, and an inner node is never left without a child.
            View::Inner(unsafe {
                InnerRef {
                    separators: slice::from_raw_parts(keys.add(1), len.saturating_sub(1)),
                    children: slice::from_raw_parts(children(self.block, capacity), len),
                }
            })
        }
    }

    /// Returns the children of an inner node. Does not look at a leaf's entries, into which references may have been
    /// handed out.
    #[inline]
    pub(super) fn children(&self) -> &[Self] {
        if self.level() == 0 {
            return &[];
        }
        let children = children(self.block, usize::from(self.head().capacity));
        // SAFETY: as many are initialised (invariant 2), and nobody writes them while `self` is borrowed.
        unsafe { slice::from_raw_parts(children, self.len()) }
    }

    /// Begins to bring the keys, and an inner node's children, into the cache. `level` is the node's.
    ///
    /// A search reads from several lines, each found by what another holds; so it waits for memory once, not thrice.
    #[inline]
    pub(super) fn prefetch(&self, level: usize) {
        let beside = if level == 0 {
            Self::LEAF_MAX * size_of::<K>()
        } else {
            Self::INNER_MAX * (size_of::<K>() + size_of::<Self>())
        };
        let bytes = (Raw::<K, V>::SLOTS_AT + beside).min(PREFETCH_BYTES);
        for line in (0..bytes).step_by(64) {
            prefetch(self.block.header_ptr().wrapping_byte_add(line));
        }
    }

    /// Returns whether both are owners of the same node.
    #[inline]
    pub(super) fn ptr_eq(&self, other: &Self) -> bool {
        self.block == other.block
    }

    /// Returns whether this is the only owner.
    #[inline]
    pub(super) fn is_unique(&self) -> bool {
        // SAFETY: the block lives while `self` owns it.
        unsafe { self.block.count() }.is_one()
    }

    /// Returns whether this is the only owner, and so for all nodes below.
    pub(super) fn is_unique_below(&self) -> bool {
        self.is_unique()
            && match self.view() {
                View::Leaf(_) => true,
                View::Inner(inner) => inner.children.iter().all(Self::is_unique_below),
            }
    }

    /// Adds the bytes of the nodes to `bytes`; `is_own` tells whether those above have one owner each.
    pub(super) fn count_bytes(&self, is_own: bool, bytes: &mut NodeBytes) {
        let is_own = is_own && self.is_unique();
        *(if is_own { &mut bytes.own } else { &mut bytes.shared }) += self.bytes();
        if let View::Inner(inner) = self.view() {
            inner
                .children
                .iter()
                .for_each(|child| child.count_bytes(is_own, bytes));
        }
    }

    /// Returns how many bytes this one allocation takes.
    pub(super) fn bytes(&self) -> usize {
        Raw::<K, V>::bytes(units::<K, V>(self.level(), usize::from(self.head().capacity)))
    }

    /// Returns the node for writing, after copying it if it is shared. If that panics, the node is as it was.
    #[inline]
    pub(super) fn make_unique(&mut self) -> NodeMut<'_, K, V>
    where
        K: Clone,
        V: Clone,
    {
        if !self.is_unique() {
            *self = self.copied();
        }
        self.unique().expect("just copied if need be")
    }

    /// Returns the node for writing, if it is not shared.
    #[inline]
    pub(super) fn unique(&mut self) -> Option<NodeMut<'_, K, V>> {
        if !self.is_unique() {
            return None;
        }
        // SAFETY: there is one owner, mutably borrowed, and the level tells which it is.
        Some(unsafe {
            if self.level() == 0 {
                NodeMut::Leaf(LeafMut::new(self))
            } else {
                NodeMut::Inner(InnerMut::new(self))
            }
        })
    }

    #[cold]
    #[inline(never)]
    fn copied(&self) -> Self
    where
        K: Clone,
        V: Clone,
    {
        detach::record();
        match self.view() {
            View::Leaf(leaf) => {
                let copy = Self::leaf_with_room(leaf.keys.len());
                let capacity = usize::from(copy.head().capacity);
                let mut keys_copy = Filling::new(keys(copy.block));
                keys_copy.fill(leaf.keys);
                let mut values_copy = Filling::new(values(copy.block, capacity));
                values_copy.fill(leaf.values);
                mem::forget((keys_copy, values_copy));
                // SAFETY: nobody else knows the copy, and it has as many keys and values now.
                unsafe { (*copy.block.header_ptr()).len = self.head().len };
                copy
            }
            View::Inner(inner) => {
                let copy = Self::inner(self.level());
                let capacity = usize::from(copy.head().capacity);
                let mut keys_copy = Filling::new(keys(copy.block).wrapping_add(1));
                keys_copy.fill(inner.separators);
                mem::forget(keys_copy);
                // A count that is far away is waited for; not so if they all are on their way.
                inner
                    .children
                    .iter()
                    .for_each(|child| prefetch(child.block.header_ptr()));
                let to = children(copy.block, capacity);
                for (at, child) in inner.children.iter().enumerate() {
                    // SAFETY: there is room for all children; a clone of one is a count and cannot unwind.
                    unsafe { to.add(at).write(child.clone()) };
                }
                // SAFETY: nobody else knows the copy; it has as many children, and keys but the first.
                unsafe {
                    let head = copy.block.header_ptr();
                    (*head).len = self.head().len;
                    (*head).entries = self.head().entries;
                }
                copy
            }
        }
    }

    /// Drops what the node holds, and its block. The keys go first; each drop that panics leaves the rest to go on.
    ///
    /// # Safety
    ///
    /// The last owner must be gone.
    #[inline(never)]
    unsafe fn free(&mut self) {
        struct Free<K, V>(Raw<K, V>, usize);
        impl<K, V> Drop for Free<K, V> {
            fn drop(&mut self) {
                // SAFETY: the block was made with so many units; nobody reaches it any more.
                unsafe { self.0.free(self.1) };
            }
        }
        struct DropAll<T>(*mut [T]);
        impl<T> Drop for DropAll<T> {
            fn drop(&mut self) {
                // SAFETY: they are initialised (invariant 2) and not used again. Recursion by children goes no deeper
                // than the tree is high.
                unsafe { self.0.drop_in_place() };
            }
        }
        let (level, len) = (self.level(), self.len());
        let capacity = usize::from(self.head().capacity);
        let _block = Free(self.block, units::<K, V>(level, capacity));
        if level == 0 {
            let _values = DropAll(ptr::slice_from_raw_parts_mut(values(self.block, capacity), len));
            let _keys = DropAll(ptr::slice_from_raw_parts_mut(keys(self.block), len));
        } else {
            let separators = keys(self.block).wrapping_add(1);
            let below = children(self.block, capacity).cast::<ManuallyDrop<Self>>();
            // SAFETY: they are initialised (invariant 2) and not used again.
            let _children = Release(unsafe { slice::from_raw_parts_mut(below, len) }.iter_mut());
            let _keys = DropAll(ptr::slice_from_raw_parts_mut(separators, len.saturating_sub(1)));
        }
    }
}

/// The children of a node that goes, given up one after the other when this is dropped.
struct Release<'a, K, V>(slice::IterMut<'a, ManuallyDrop<Node<K, V>>>);

impl<K, V> Drop for Release<'_, K, V> {
    fn drop(&mut self) {
        // If the drop of what is in a child panics, the others are given up while that unwinds.
        struct Others<'a, 'b, K, V>(&'b mut slice::IterMut<'a, ManuallyDrop<Node<K, V>>>);
        impl<K, V> Drop for Others<'_, '_, K, V> {
            fn drop(&mut self) {
                release(self.0);
            }
        }
        let others = Others(&mut self.0);
        release(others.0);
    }
}

/// Gives up nodes: of a tree that goes they likely have one owner, of a version that goes likely more, all but one. So
/// the first is looked at before its count is written, and the others as long as that was right.
fn release<K, V>(nodes: &mut slice::IterMut<'_, ManuallyDrop<Node<K, V>>>) {
    let mut is_likely_sole = true;
    for node in nodes {
        // SAFETY: the owner's share is given up, once; the last one frees the block.
        unsafe {
            let count = node.block.count();
            is_likely_sole = is_likely_sole && count.is_one();
            if is_likely_sole || count.remove_owner() {
                node.free();
            }
        }
    }
}

impl<K, V> Clone for Node<K, V> {
    #[inline]
    fn clone(&self) -> Self {
        // SAFETY: the block lives while `self` owns it.
        unsafe { self.block.count() }.add_owner();
        Self {
            block: self.block,
            owns: PhantomData,
        }
    }
}

impl<K, V> Drop for Node<K, V> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: this owner's share is given up; the last one frees the block.
        unsafe {
            if self.block.count().remove_owner() {
                self.free();
            }
        }
    }
}

impl<'a, K, V> Clone for LeafRef<'a, K, V> {
    #[inline]
    fn clone(&self) -> Self {
        *self
    }
}

impl<K, V> Copy for LeafRef<'_, K, V> {}

/// Clones that are written one after the other. Dropped, it drops them; forgotten, they stay.
struct Filling<T> {
    start: *mut T,
    done: usize,
}

impl<T: Clone> Filling<T> {
    fn new(start: *mut T) -> Self {
        Self { start, done: 0 }
    }

    fn fill(&mut self, from: &[T]) {
        for (at, item) in from.iter().enumerate() {
            // SAFETY: the start is that of an array with room for as many.
            unsafe { self.start.add(at).write(item.clone()) };
            self.done = at + 1;
        }
    }
}

impl<T> Drop for Filling<T> {
    fn drop(&mut self) {
        // SAFETY: so many have been written, and nobody else knows of them.
        unsafe { ptr::slice_from_raw_parts_mut(self.start, self.done).drop_in_place() };
    }
}

/// Returns how much room a leaf for `len` entries has: at most a third more than that, or twelve, so that few bytes
/// lie idle and few insertions move it.
pub(super) fn leaf_room(len: usize, most: usize) -> usize {
    let step = (len.next_power_of_two() / 4).max(4);
    len.next_multiple_of(step).max(12).min(most)
}

/// Returns where the keys are.
#[inline]
pub(super) fn keys<K, V>(block: Raw<K, V>) -> *mut K {
    block.slots().cast()
}

/// Returns where the values of a leaf with room for `capacity` are.
#[inline]
pub(super) fn values<K, V>(block: Raw<K, V>, capacity: usize) -> *mut V {
    block.slots().wrapping_byte_add(beside::<K, V>(capacity)).cast()
}

/// Returns where the children of an inner node with room for `capacity` are.
#[inline]
pub(super) fn children<K, V>(block: Raw<K, V>, capacity: usize) -> *mut Node<K, V> {
    let after_keys = beside::<K, Node<K, V>>(capacity);
    block.slots().wrapping_byte_add(after_keys).cast()
}

/// Returns how far behind `capacity` keys an array of `P` begins.
#[inline]
const fn beside<K, P>(capacity: usize) -> usize {
    (capacity * size_of::<K>()).next_multiple_of(align_of::<P>())
}

pub(super) fn units<K, V>(level: usize, capacity: usize) -> usize {
    let bytes = if level == 0 {
        beside::<K, V>(capacity) + capacity * size_of::<V>()
    } else {
        beside::<K, Node<K, V>>(capacity) + capacity * size_of::<Node<K, V>>()
    };
    bytes.div_ceil(size_of::<Unit<K, V>>())
}
