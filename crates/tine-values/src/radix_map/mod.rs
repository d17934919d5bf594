//! [`RadixMap`]: a copy-on-write page table from `u64` to values.
//!
//! ```text
//! height 2          inner                      each slot stands for 16 * 64 keys
//!                  /     \
//! height 1     inner     fill(v)               a whole subrange that holds one value
//!             /     \
//! height 0  leaf   leaf                        each slot stands for one key
//! ```
//!
//! A slot is absent, a child, or a *fill*: one value for the whole range that the slot stands for. A tree is
//! only as high as its largest key asks for, and nodes keep only the slots in use.
//!
//! **Invariants**
//! 1. The root stands for the keys `0..=last_key(height)`; without a root, `height` means nothing.
//! 2. Children of a node at level 1 are leaves or fills; above it, inner nodes or fills.
//! 3. The last key of all, `u64::MAX`, is never part of a fill: no half-open range contains it.
//! 4. Nodes are not empty, except where a value's `Drop` panicked; every reader copes with empty ones.

mod diff;
mod each;
mod edit;
mod entries;
mod entry;
mod into_iter;
mod iter;
mod iter_mut;
mod memory;
mod merge;
mod node;
#[cfg(feature = "proptest")]
mod proptest;
#[cfg(feature = "serde")]
mod serde;
mod slots;
mod traits;

use core::ops::Range;

use alloc::collections::BTreeMap;

use self::edit::Place;
use self::node::{Node, View};

pub use self::diff::Diff;
pub use self::each::{IntoKeys, IntoValues, Keys, Values};
pub use self::entries::ExtractIf;
pub use self::entry::{Entry, OccupiedEntry, VacantEntry};
pub use self::into_iter::IntoIter;
pub use self::iter::Iter;
pub use self::iter_mut::{IterMut, ValuesMut};

/// How many bits of a key choose the slot in a leaf, and in an inner node.
///
/// Measured with `benches/radix_map.rs` (u64, 1M random keys of 4M; slots in a leaf / in an inner node; get,
/// overwrite, fork + one write + drop in ns, bytes of that fork):
///
/// ```text
///  16/16    49  64  1140   704        64/64     32   34  1850  1344
///  32/16    55  54   995   752       128/16     49   40   830   864
///  64/16    38  40   890   720       128/128    54   38  3550  2448
///  64/32    37  38  1290   992
/// ```
///
/// A copied inner node costs one count in each child's memory, a copied leaf nearly nothing: so many slots in
/// a leaf, few in an inner node. Beyond 64 slots one word of bits no longer does.
const LEAF_BITS: u32 = 6;
const NODE_BITS: u32 = 4;
const LEAF_SLOTS: usize = 1 << LEAF_BITS;
const NODE_SLOTS: usize = 1 << NODE_BITS;

/// A map from `u64` to `T` that forks: a clone costs one count, and a write then copies the nodes on the way
/// to its key, the first time only.
///
/// It suits keys that lie close together, as block numbers do. A range of any length can be set to one value
/// at once ([`fill`](Self::fill)).
///
/// ```
/// use tine_values::RadixMap;
///
/// let mut base = RadixMap::new();
/// base.fill(0..1 << 28, "zero", |_, _| ());
/// base.insert(7, "seven");
///
/// let mut fork = base.clone();
/// fork.insert(8, "eight");
/// assert_eq!(base.get(8), Some(&"zero"));
/// assert_eq!(base.diff(&fork).collect::<Vec<_>>(), [(8..9, Some(&"zero"), Some(&"eight"))]);
/// ```
///
/// # Ranges and the last key
///
/// Ranges are half-open, so none contains the key `u64::MAX`. `get`, `insert`, `remove` and `insert_run`
/// reach it; where [`iter`](Self::iter), [`diff`](Self::diff) or a run reports it, its range is
/// `u64::MAX..u64::MAX`, the only empty range that is ever reported. A range whose end is not above its
/// start contains nothing.
///
/// # Panics in the caller's code
///
/// A panic in a closure, in `T::clone` or `T::drop` leaves a map that can be used: each key has its old or
/// its new value, and a clone of the map is never affected.
pub struct RadixMap<T> {
    root: Option<Node<T>>,
    height: u32,
}

impl<T> RadixMap<T> {
    /// Returns an empty map. Allocates nothing.
    pub const fn new() -> Self {
        Self {
            root: None,
            height: 0,
        }
    }

    /// Returns whether the map holds no key.
    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }

    /// Returns whether both are the same version: one a clone of the other, and neither written since.
    /// Maps with equal content may be different versions.
    pub fn ptr_eq(&self, other: &Self) -> bool {
        match (&self.root, &other.root) {
            (None, None) => true,
            (Some(a), Some(b)) => a.ptr_eq(b) && self.height == other.height,
            _ => false,
        }
    }

    /// Returns whether no other map has the root: then a write copies none of the nodes but those that are shared further
    /// down. An empty map is unique.
    pub fn is_unique(&self) -> bool {
        self.root.as_ref().is_none_or(|root| root.owners() == 1)
    }

    /// Returns the value at `key`. Costs one step for each level.
    #[inline]
    pub fn get(&self, key: u64) -> Option<&T> {
        let mut node = self.root.as_ref()?;
        if key > last_key(self.height) {
            return None;
        }
        let mut level = self.height;
        loop {
            match node.view() {
                View::Fill(value) => return Some(value),
                View::Leaf(slots) => return slots.get(slot_of(key, 0)),
                View::Inner(slots) => node = slots.get(slot_of(key, level))?,
            }
            level = level.saturating_sub(1);
        }
    }

    /// Sets `key` to `value` and returns its old value. Copies the nodes on the way that are shared.
    #[inline]
    pub fn insert(&mut self, key: u64, value: T) -> Option<T>
    where
        T: Clone,
    {
        match self.place(key) {
            Place::Leaf(mut slots) => slots.insert(slot_of(key, 0), value),
            Place::Absent(vacancy) => {
                vacancy.put(Node::leaf_of_one(slot_of(key, 0), value));
                None
            }
        }
    }

    /// Removes `key` and returns its value. Copies nothing if the key is absent.
    pub fn remove(&mut self, key: u64) -> Option<T>
    where
        T: Clone,
    {
        self.get(key)?;
        let (root, height) = (self.root.as_mut()?, self.height);
        let (value, is_empty) = edit::remove(root, height, key);
        if is_empty {
            self.clear();
        } else {
            self.lower();
        }
        value
    }

    /// Removes everything.
    pub fn clear(&mut self) {
        self.height = 0;
        self.root = None;
    }

    /// Sets every key of `range` to `value`, after calling `on_old` with each piece that this replaces, in
    /// key order.
    ///
    /// Apart from what is replaced, the cost depends on the height and not on the range's length; the value
    /// is cloned for the keys of the two leaves at the ends, and once for all between them. If `on_old` panics,
    /// nothing has changed.
    pub fn fill(&mut self, range: Range<u64>, value: T, mut on_old: impl FnMut(Range<u64>, &T))
    where
        T: Clone,
    {
        if range.is_empty() {
            return;
        }
        self.range(range.clone())
            .for_each(|(piece, old)| on_old(piece, old));
        self.fill_quietly(range.start, range.end - 1, value);
    }

    /// Removes every key of `range`, after calling `on_old` with each piece that this removes, in key order.
    ///
    /// Apart from what is removed, the cost depends on the height and not on the range's length. If `on_old`
    /// panics, nothing has changed.
    pub fn clear_range(&mut self, range: Range<u64>, mut on_old: impl FnMut(Range<u64>, &T))
    where
        T: Clone,
    {
        let mut found = false;
        self.range(range.clone()).for_each(|(piece, old)| {
            found = true;
            on_old(piece, old);
        });
        if found {
            self.clear_quietly(range.start, range.end - 1);
        }
    }

    /// Sets the keys from `start` on to `values`, one after the other, and calls `on_old` with each value that
    /// this replaces. Goes down the tree once for each leaf.
    ///
    /// An iterator that ends before its length was reached ends the run; what it gives beyond is ignored.
    ///
    /// # Panics
    ///
    /// If the run goes beyond `u64::MAX`.
    pub fn insert_run(
        &mut self,
        start: u64,
        mut values: impl ExactSizeIterator<Item = T>,
        mut on_old: impl FnMut(u64, T),
    ) where
        T: Clone,
    {
        let Some(beyond_first) = (values.len() as u64).checked_sub(1) else {
            return;
        };
        let last = start
            .checked_add(beyond_first)
            .expect("a run ends at the last key at most");
        let mut first = start;
        loop {
            let last_here = last.min(first | last_key(0));
            if !self.insert_in_leaf(first, last_here, &mut values, &mut on_old) || last_here == last {
                return;
            }
            first = last_here + 1;
        }
    }

    /// Returns the pieces that `range` has, in key order: a key on its own, or the part of a fill that lies in
    /// the range. Neighbours with the same value are not joined.
    pub fn range(&self, range: Range<u64>) -> Iter<'_, T> {
        match range.end.checked_sub(1) {
            Some(last) => Iter::new(self, range.start, last),
            None => Iter::new(self, 1, 0),
        }
    }

    /// Returns all pieces of the map, in key order, as [`range`](Self::range) does.
    pub fn iter(&self) -> Iter<'_, T> {
        Iter::new(self, 0, u64::MAX)
    }

    /// Returns the key ranges in which the maps differ, in order, with what each has there.
    ///
    /// Nodes that both share are skipped unseen, so the cost follows the difference and not the size. A value
    /// that is not equal to itself counts as a difference only where the node is not shared.
    pub fn diff<'a>(&'a self, other: &'a Self) -> Diff<'a, T, impl Fn(&T, &T) -> bool + use<T>>
    where
        T: PartialEq,
    {
        self.diff_by(other, T::eq)
    }

    /// Returns the key ranges in which the maps differ as `same` judges, as [`diff`](Self::diff) does.
    pub fn diff_by<'a, F>(&'a self, other: &'a Self, same: F) -> Diff<'a, T, F>
    where
        F: Fn(&T, &T) -> bool,
    {
        Diff::new(self, other, same)
    }

    /// Returns how many bytes the nodes take that only this map refers to: what dropping it gives back. What values point
    /// to is not counted. Visits all nodes.
    pub fn own_bytes(&self) -> usize {
        self.node_bytes().own
    }

    /// Returns how many bytes the nodes take that other maps refer to, too. Visits all nodes.
    pub fn shared_bytes(&self) -> usize {
        self.node_bytes().shared
    }

    fn node_bytes(&self) -> NodeBytes {
        let mut bytes = NodeBytes::default();
        // One map may refer to a fill from many slots: it is its own if all owners are slots seen here.
        let mut fills = BTreeMap::new();
        if let Some(root) = &self.root {
            count_bytes(root, true, &mut bytes, &mut fills);
        }
        for fill in fills.values() {
            let owner = if fill.seen == fill.owners {
                &mut bytes.own
            } else {
                &mut bytes.shared
            };
            *owner += fill.bytes;
        }
        bytes
    }
}

/// How much memory the nodes of a map take: those that only it refers to, and those that others do, too.
#[derive(Clone, Copy, Default)]
pub(crate) struct NodeBytes {
    pub(crate) own: usize,
    pub(crate) shared: usize,
}

/// What `node_bytes` has learnt of a fill.
struct FillSeen {
    bytes: usize,
    owners: usize,
    /// How many slots of nodes that are the map's own refer to it.
    seen: usize,
}

fn count_bytes<T>(node: &Node<T>, own: bool, bytes: &mut NodeBytes, fills: &mut BTreeMap<usize, FillSeen>) {
    match node.view() {
        View::Fill(_) => {
            let new = FillSeen {
                bytes: node.bytes(),
                owners: node.owners(),
                seen: 0,
            };
            fills.entry(node.address()).or_insert(new).seen += usize::from(own);
        }
        View::Leaf(_) | View::Inner(_) => {
            let own = own && node.owners() == 1;
            *(if own { &mut bytes.own } else { &mut bytes.shared }) += node.bytes();
            if let View::Inner(slots) = node.view() {
                slots
                    .entries()
                    .iter()
                    .for_each(|child| count_bytes(child, own, bytes, fills));
            }
        }
    }
}

/// Returns how many bits of a key a node at `level` and what is below it tell apart.
#[inline]
const fn bits_at(level: u32) -> u32 {
    LEAF_BITS + level * NODE_BITS
}

/// Returns the last key, counted from a node's first, that a node at `level` stands for.
#[inline]
const fn last_key(level: u32) -> u64 {
    let bits = bits_at(level);
    if bits >= u64::BITS {
        u64::MAX
    } else {
        (1 << bits) - 1
    }
}

/// Returns which slot of a node at `level` stands for `key`.
#[inline]
const fn slot_of(key: u64, level: u32) -> usize {
    let slot = if level == 0 {
        key % LEAF_SLOTS as u64
    } else {
        (key >> bits_at(level - 1)) % NODE_SLOTS as u64
    };
    slot as usize
}

/// Returns the bits of all slots of a node at `level`.
#[inline]
const fn all_slots(level: u32) -> u64 {
    u64::MAX >> (64 - if level == 0 { LEAF_SLOTS } else { NODE_SLOTS })
}

/// Returns the least height of a tree that has `key`.
#[inline]
const fn height_for(key: u64) -> u32 {
    (u64::BITS - key.leading_zeros())
        .saturating_sub(LEAF_BITS)
        .div_ceil(NODE_BITS)
}
