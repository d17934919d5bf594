#![allow(unsafe_code)]
//! How a tree changes its shape: leaves that grow, split, and join again.
//!
//! A leaf that is full grows up to [`Leaf::SHAPE_MAX`]. Then it splits in two by the next bit of the hash: its slots
//! are shared out, and a leaf that has one slot goes down into an inner node of its own first. A leaf whose keys all have
//! the same hash, or that is as deep as a tree gets, grows on instead.
//!
//! A leaf that has lost three quarters joins its *buddy*, the one it would have been split from, or gets smaller; an
//! inner node that has one leaf only is replaced by it.

use core::ops::Range;

use super::leaf::Leaf;
use super::node::{FAN, FAN_BITS, Node, Slots, Spot, View, WAY_BITS};
use super::tree::{Tree, Way, own};
use super::walk::{END, hash_at, point_of};

impl<K, V> Way<K, V> {
    /// Makes the leaf, which is full, one that has more room, or several. The key at hand may still find its leaf full:
    /// then this is to be called again. If `rehash` panics, the tree is as it was.
    ///
    /// # Safety
    ///
    /// All nodes of the way must be the caller's to write. They are another way then.
    #[cold]
    pub(super) unsafe fn make_room(self, rehash: &impl Fn(&K) -> u64) {
        let leaf = self.leaf;
        // SAFETY: the caller may write the leaf and what its spot is in; a leaf that is replaced is not used again.
        unsafe {
            let grown = Leaf::<K, V>::shape_for(leaf.len() + 1);
            if grown.limit() <= Leaf::<K, V>::SHAPE_MAX.limit() {
                self.spot.replace(Node::leaf(leaf.reshaped(grown, rehash)));
                return;
            }
            let hashes = leaf.hashes(rehash);
            let is_one_way = hashes
                .iter()
                .all(|hash| (hash ^ hashes[0]) >> (u64::BITS - WAY_BITS) == 0);
            let run = self.spot.run();
            let is_deepest =
                self.level * FAN_BITS >= WAY_BITS && run.as_ref().is_none_or(|(_, run)| run.len() == 1);
            if is_one_way || is_deepest {
                self.spot.replace(Node::leaf(leaf.reshaped(grown, rehash)));
                return;
            }
            let (slots, run, level) = match run {
                Some((slots, run)) if run.len() > 1 => (slots, run, self.level),
                _ => (self.push_down(), 0..FAN, self.level + 1),
            };
            let middle = run.start + run.len() / 2;
            // The bit of the hash that is the run's highest of a slot's number.
            let bit = u64::BITS - level * FAN_BITS + (run.len() / 2).ilog2();
            let [low, high] = leaf.split(&hashes, bit);
            slots.fill(run.start..middle, Node::leaf(low));
            slots.fill(middle..run.end, Node::leaf(high));
        }
    }

    /// Puts an inner node between the leaf and what it is in, and returns its slots, all of which have the leaf.
    unsafe fn push_down(&self) -> Slots<K, V> {
        let leaf = Node::leaf(self.leaf);
        let inner = Node::inner(|_| leaf);
        // SAFETY: as for `make_room`.
        unsafe { self.spot.replace(inner) };
        let View::Inner(slots) = inner.view() else {
            unreachable!("it was just made one")
        };
        slots
    }
}

impl<K, V> Leaf<K, V> {
    /// Returns whether the leaf is so empty that it should get smaller or, unless it is the whole map, join another.
    ///
    /// # Safety
    ///
    /// The leaf must be live.
    #[inline]
    pub(super) unsafe fn is_sparse(self, is_whole: bool) -> bool {
        // SAFETY: as the caller vouches.
        let (len, limit) = unsafe { (self.len(), self.shape().limit()) };
        len * 4
            <= if is_whole {
                limit
            } else {
                limit.max(Self::SHAPE_MAX.limit())
            }
    }
}

impl<K, V> Tree<K, V> {
    /// Returns an empty tree of the shape that one of `len` entries has.
    pub(super) fn with_room_for(len: usize) -> Self {
        fn node<K, V>(bits: u32) -> Node<K, V> {
            if bits == 0 {
                return Node::leaf(Leaf::with_shape(Leaf::<K, V>::SHAPE_MAX));
            }
            // The first slot of a child makes it; the others have it too.
            let own_bits = bits.min(FAN_BITS);
            let run = FAN >> own_bits;
            let mut last = None;
            Node::inner(|slot| match last {
                Some(child) if slot % run > 0 => child,
                _ => *last.insert(node(bits - own_bits)),
            })
        }
        let mut tree = Self::new();
        let leaf_max = Leaf::<K, V>::SHAPE_MAX.limit();
        tree.root = match len {
            0 => None,
            _ if len <= leaf_max => Some(Node::leaf(Leaf::with_shape(Leaf::<K, V>::shape_for(len)))),
            _ => Some(node(
                len.div_ceil(leaf_max).next_power_of_two().ilog2().min(WAY_BITS),
            )),
        };
        tree
    }
}

impl<K: Clone, V: Clone> Tree<K, V> {
    /// Brings the leaf of `hash`, which has lost entries, into shape. If `rehash` panics, nothing is lost.
    #[cold]
    pub(super) fn settle(&mut self, hash: u64, rehash: &impl Fn(&K) -> u64) {
        if self.len == 0 {
            return self.clear();
        }
        self.settle_within(hash, END, rehash);
    }

    /// Brings a leaf into shape, and touches no leaf that does not end before the point `end`.
    fn settle_within(&mut self, hash: u64, end: u64, rehash: &impl Fn(&K) -> u64) {
        // SAFETY: the nodes of the way are this tree's alone, and looked up anew after each change.
        unsafe {
            while let Some(way) = self.own_way(hash) {
                if way.lift() {
                    continue;
                }
                if !way.leaf.is_sparse(false) {
                    return;
                }
                let reach = self
                    .stop_at(point_of(hash))
                    .map_or(END, |stop| stop.end_of_both());
                if reach > end {
                    return way.shrink(rehash);
                }
                if !way.join(rehash) {
                    return;
                }
            }
        }
    }
}

impl<K: Clone, V: Clone> Tree<K, V> {
    /// Brings all leaves into shape that have lost entries, unless others share them: those have lost none.
    /// If `rehash` panics, nothing is lost.
    pub(super) fn settle_all(&mut self, rehash: &impl Fn(&K) -> u64) {
        if self.len == 0 {
            return self.clear();
        }
        self.settle_range(0, END, rehash);
    }

    /// Does what [`settle_all`](Self::settle_all) does, with the leaves that begin at the point `start` and end before `end`,
    /// which may join those before them. Leaves that reach further are not touched. Returns the point it came to.
    pub(super) fn settle_range(&mut self, start: u64, end: u64, rehash: &impl Fn(&K) -> u64) -> u64 {
        let mut point = start;
        while let Some(stop) = self.stop_at(point).filter(|stop| stop.end <= end) {
            let hash = hash_at(stop.start);
            // SAFETY: the leaf is this tree's, and is only looked at.
            if unsafe { stop.leaf.is_sparse(false) } && self.is_own_way(hash) {
                self.settle_within(hash, end, rehash);
            }
            // The leaf may reach further now, but it has no buddy any more that it could join.
            point = stop.end;
        }
        point
    }
}

impl<K: Clone, V: Clone> Way<K, V> {
    /// Puts the leaf in place of the inner node above it, if it is all that has. Returns whether it did.
    unsafe fn lift(&self) -> bool {
        // SAFETY: the nodes of the way are the caller's to write; the inner node's share of the leaf goes where that was.
        unsafe {
            let is_alone = self.spot.run().is_some_and(|(_, run)| run.len() == FAN);
            if let Some(above) = self.above.filter(|_| is_alone) {
                let inner = above.get();
                above.replace(Node::leaf(self.leaf));
                inner.free_inner();
            }
            is_alone
        }
    }

    /// Joins the leaf, which is not alone, with its buddy, or makes it smaller. Returns whether there may be more to do.
    unsafe fn join(self, rehash: &impl Fn(&K) -> u64) -> bool {
        let leaf = self.leaf;
        // SAFETY: the nodes of the way are the caller's to write; a leaf that is replaced is not used again.
        unsafe {
            let Some((slots, run)) = self.spot.run() else {
                self.shrink(rehash);
                return false;
            };
            let both = (run.start & !(run.len() * 2 - 1))..(run.start | (run.len() * 2 - 1)) + 1;
            let len = buddy_len(slots, &run, &both).map(|len| leaf.len() + len);
            if len.is_none_or(|len| len * 2 > Leaf::<K, V>::SHAPE_MAX.limit()) {
                self.shrink(rehash);
                return false;
            }
            let buddy_at = if run.start == both.start {
                run.end
            } else {
                both.start
            };
            let View::Leaf(buddy) = own(Spot::child(slots, buddy_at)).view() else {
                unreachable!("a buddy is a leaf")
            };
            let shape = Leaf::<K, V>::shape_for((leaf.len() + buddy.len()) * 3 / 2 + 1);
            slots.fill(both, Node::leaf(leaf.merged(buddy, shape, rehash)));
            true
        }
    }

    /// Gives the leaf a block that it fills by half, if its own is more than twice as large.
    unsafe fn shrink(self, rehash: &impl Fn(&K) -> u64) {
        // SAFETY: as for `join`.
        unsafe {
            let shape = Leaf::<K, V>::shape_for((self.leaf.len() * 2).max(1));
            if shape.limit() * 2 <= self.leaf.shape().limit() {
                self.spot.replace(Node::leaf(self.leaf.reshaped(shape, rehash)));
            }
        }
    }
}

/// Returns the length of the leaf that has the slots of `both` that are not of `run`, if that is one leaf.
unsafe fn buddy_len<K, V>(slots: Slots<K, V>, run: &Range<usize>, both: &Range<usize>) -> Option<usize> {
    let buddy_at = if run.start == both.start {
        run.end
    } else {
        both.start
    };
    // SAFETY: the caller vouches for the inner node, and so for its children.
    unsafe {
        let View::Leaf(buddy) = slots.get(buddy_at).view() else {
            return None;
        };
        (slots.end_of(buddy_at) - slots.start_of(buddy_at) == run.len()).then(|| buddy.len())
    }
}
