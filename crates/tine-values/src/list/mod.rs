//! [`List`]: a sequence that shares, with `Vec`'s names.
//!
//! ```text
//! up to 8 KB:  List --> | element | element | ... |
//!
//! above:       List --> trunk --> head leaf
//!                            \--> tree:  inner --> inner --> leaf of 2 KB
//!                            |                         \--> leaf of 2 KB
//!                            |                \--> inner ...
//!                            \--> tail leaf
//! ```
//!
//! What is pushed one by one or collected is found by shifts alone. Where lists were joined, cut or inserted into, nodes
//! keep how many elements are below them.
//!
//! **Invariants**
//! 1. The root is a leaf, or a trunk.
//! 2. See `node.rs` for what a node is, `tree.rs` for how trees stay low, `trunk.rs` for the ends.

mod access;
mod bytes;
mod diff;
mod edit;
mod find;
mod inner;
mod iter;
mod leaf;
mod merge;
mod node;
mod own;
mod parts;
#[cfg(feature = "proptest")]
mod proptest;
#[cfg(feature = "rayon")]
mod rayon;
mod remove;
mod sequence;
#[cfg(feature = "serde")]
mod serde;
mod traits;
mod tree;
mod trunk;

use core::ops::Range;

use crate::detach;

use self::leaf::LeafMut;
use self::node::Node;
use self::tree::End;
use self::trunk::Trunk;

pub use self::diff::Diff;
pub use self::iter::{Chunks, ChunksMut, IntoIter, Iter, IterMut};
#[cfg(feature = "proptest")]
pub use self::proptest::strategy;
#[cfg(feature = "rayon")]
pub use self::rayon::{IntoParIter, IterChunksMut, ParIter, ParIterMut};
pub use self::remove::ExtractIf;

/// A sequence that is cloned in nanoseconds: a `Vec` whose clones share what neither has written since.
///
/// A clone costs one count, whatever the length. A write copies what is shared on the way to the place written: up to
/// some 8 KB of elements the list is one block, and is copied whole as a `Vec` is; a longer one is a tree, of which a
/// leaf of 2 KB and two or three nodes above it are copied, the first time only. A sole owner writes in place, and
/// copies nothing.
///
/// ```
/// use tine_values::List;
///
/// let monday: List<u32> = (0..1_000_000).collect();
/// let mut tuesday = monday.clone();
/// tuesday[500_000] = 7;
/// tuesday.push(8);
/// assert_eq!((monday.len(), monday[500_000]), (1_000_000, 500_000));
/// assert_eq!((tuesday.len(), tuesday[500_000]), (1_000_001, 7));
/// ```
///
/// # Costs
///
/// Both ends are as a `VecDeque`'s: amortised O(1), in whatever order elements come and go. What is said to
/// be O(log n) moves or clones the elements of a few leaves as well; joining and cutting is such.
///
/// # Sharing
///
/// Whatever gives out `&mut T` copies what is shared first, so it asks for `T: Clone`: [`get_mut`](Self::get_mut),
/// `list[index] = value`, [`iter_mut`](Self::iter_mut). [`is_unique`](Self::is_unique) tells whether there is another
/// owner of all of it; [`bytes`](Self::own_bytes) tell how much is shared.
///
/// # Panics in the caller's code
///
/// A panic in a closure, an iterator, or in `T`'s `clone`, `eq`, `cmp` or `drop` leaves a list that can be used, and no
/// clone of it is affected. A write of one element has been done or not; so have, if a `clone` panics, sorting, `retain`,
/// `dedup` and all that cuts or joins. Adding or writing many may have been done for some. Elements that panic in `drop`
/// may take others with them.
pub struct List<T> {
    root: Option<Node<T>>,
}

impl<T> List<T> {
    /// Returns an empty list. Allocates nothing.
    #[inline]
    pub const fn new() -> Self {
        Self { root: None }
    }

    /// Returns an empty list that has room for `capacity` elements, or for as many as one block holds.
    pub fn with_capacity(capacity: usize) -> Self {
        if capacity == 0 {
            return Self::new();
        }
        Self::from_root(Node::new_leaf(capacity.min(Node::<T>::FLAT)))
    }

    fn from_root(root: Node<T>) -> Self {
        Self { root: Some(root) }
    }

    /// Returns how many elements there are. O(1).
    #[inline]
    pub fn len(&self) -> usize {
        let Some(root) = &self.root else { return 0 };
        root.trunk().map_or_else(|| root.elements().len(), Trunk::len)
    }

    /// Returns whether there is no element.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the element at `index`. O(log n).
    #[inline]
    pub fn get(&self, index: usize) -> Option<&T> {
        let root = self.root.as_ref()?;
        if root.is_leaf() {
            return root.elements().get(index);
        }
        root.trunk()?.get(index)
    }

    /// Returns the first element.
    #[inline]
    pub fn first(&self) -> Option<&T> {
        self.get(0)
    }

    /// Returns the last element.
    #[inline]
    pub fn last(&self) -> Option<&T> {
        self.get(self.len().checked_sub(1)?)
    }

    /// Removes all elements; other owners keep theirs.
    pub fn clear(&mut self) {
        self.root = None;
    }

    /// Returns whether this is the only owner of the list's root, so that writes copy nothing but what parts of other
    /// lists share. An empty list has no other owner.
    #[inline]
    pub fn is_unique(&self) -> bool {
        self.root.as_ref().is_none_or(Node::is_unique)
    }

    /// Returns whether both are the same version: one a clone of the other, and neither written since. Lists with equal
    /// elements may be different versions.
    #[inline]
    pub fn ptr_eq(&self, other: &Self) -> bool {
        match (&self.root, &other.root) {
            (None, None) => true,
            (Some(root), Some(other)) => root.ptr_eq(other),
            _ => false,
        }
    }

    /// Returns whether no node has a second owner, so that elements can be moved out. Visits all nodes.
    fn is_all_unique(&self) -> bool {
        self.is_unique_in(0..self.len())
    }

    /// Returns whether no node that has elements of `range` has a second owner. Visits these nodes.
    fn is_unique_in(&self, range: Range<usize>) -> bool {
        fn is_unique_below<T>(node: &Node<T>, before: usize, range: &Range<usize>) -> bool {
            let in_range =
                |part: &Range<usize>| before + part.start < range.end && range.start < before + part.end;
            let mut children = (node.children().iter().enumerate())
                .map(|(at, child)| (child, node.range_of(at)))
                .filter(|(_, part)| in_range(part));
            node.is_unique()
                && children.all(|(child, part)| is_unique_below(child, before + part.start, range))
        }
        let Some(root) = &self.root else { return true };
        let Some(trunk) = root.trunk() else {
            return root.is_unique();
        };
        let mut start = 0;
        root.is_unique()
            && trunk.all_parts().all(|part| {
                let before = start;
                start += part.len();
                before >= range.end || start <= range.start || is_unique_below(part, before, &range)
            })
    }

    /// Returns the leaf that the last element is in, if an element can be added or removed there without a copy.
    #[inline]
    fn last_leaf_mut(&mut self) -> Option<LeafMut<'_, T>> {
        self.root.as_mut()?.last_leaf_mut()
    }

    /// Returns the root's trunk for writing, if it is one; a copy of it if it is shared.
    fn make_trunk_mut(root: &mut Node<T>) -> Option<&mut Trunk<T>> {
        if !root.is_unique()
            && let Some(trunk) = root.trunk()
        {
            let trunk = trunk.clone();
            *root = Node::new_trunk(trunk);
            detach::record();
        }
        root.trunk_mut()
    }

    /// Takes everything out, in parts.
    fn take_trunk(&mut self) -> Trunk<T> {
        let Some(root) = self.root.take() else {
            return Trunk::new(None, None, None);
        };
        root.into_trunk().unwrap_or_else(|root| {
            if let Some(trunk) = root.trunk() {
                detach::record();
                return trunk.clone();
            }
            let tree = (!root.elements().is_empty()).then_some(root);
            Trunk::new(None, tree, None)
        })
    }

    /// Returns the list of what is in these parts: one leaf if it is in one anyway.
    fn from_trunk(mut trunk: Trunk<T>) -> Self {
        trunk.tree = trunk.tree.and_then(tree::lowered);
        trunk.head.take_if(|head| head.elements().is_empty());
        trunk.tail.take_if(|tail| tail.elements().is_empty());
        let root = match trunk {
            Trunk {
                head: None,
                tree: None,
                tail: None,
                ..
            } => return Self::new(),
            Trunk {
                head: Some(leaf),
                tree: None,
                tail: None,
                ..
            }
            | Trunk {
                head: None,
                tree: None,
                tail: Some(leaf),
                ..
            } => leaf,
            Trunk {
                head: None,
                tree: Some(tree),
                tail: None,
                ..
            } if tree.is_leaf() => tree,
            trunk => Node::new_trunk(trunk),
        };
        Self::from_root(root)
    }
}

impl<T: Clone> List<T> {
    /// Returns a list of one block, with clones of `elements`.
    fn of_slice(elements: &[T]) -> Self {
        if elements.is_empty() {
            return Self::new();
        }
        Self::from_root(Node::leaf_of(elements, elements.len()))
    }

    /// Returns a list of one block, which has room for `len` elements, with clones of those of `chunks`.
    fn of_chunks<'a>(len: usize, chunks: impl Iterator<Item = &'a [T]>) -> Self
    where
        T: 'a,
    {
        let mut list = Self::with_capacity(len);
        if let Some(mut leaf) = list.last_leaf_mut() {
            chunks.for_each(|chunk| leaf.extend_from_slice(chunk));
        }
        list
    }

    /// Adds an element behind the last. Amortised O(1).
    #[inline]
    pub fn push(&mut self, value: T) {
        if let Some(mut leaf) = self.last_leaf_mut()
            && leaf.room_back() > 0
        {
            leaf.push(value);
            return;
        }
        self.push_slow(value);
    }

    #[inline(never)]
    fn push_slow(&mut self, value: T) {
        let root = self.root.get_or_insert_with(|| Node::new_leaf(0));
        if root.is_leaf() {
            if let Some(mut leaf) = Self::flat_for_more(root) {
                leaf.reserve_back(1, Node::<T>::FLAT);
                leaf.push(value);
                return;
            }
            Self::make_tree(root);
        }
        let Some(trunk) = Self::make_trunk_mut(root) else {
            return;
        };
        trunk.spill_tail();
        let full = Node::<T>::LEAF;
        let tail = trunk.tail.get_or_insert_with(|| Node::new_leaf(full));
        let most = tail.end_most();
        let mut tail = tail.make_leaf_mut(full);
        tail.reserve_back(1, most);
        tail.push(value);
    }

    /// Returns the one block of a list for writing, if it is to be one with an element more at an end.
    fn flat_for_more(root: &mut Node<T>) -> Option<LeafMut<'_, T>> {
        let (len, most) = (root.elements().len(), Node::<T>::FLAT);
        if len == most || root.leaf_mut().is_some_and(|leaf| leaf.is_cramped()) {
            return None;
        }
        Some(root.make_leaf_mut(capacity_for_more(len).min(most)))
    }

    /// Does what [`push`](Self::push) does, and returns the element in its place.
    #[inline]
    pub fn push_mut(&mut self, value: T) -> &mut T {
        self.push(value);
        self.last_mut().expect("an element was pushed")
    }

    /// Does what [`push_front`](Self::push_front) does, and returns the element in its place.
    #[inline]
    pub fn push_front_mut(&mut self, value: T) -> &mut T {
        self.push_front(value);
        self.first_mut().expect("an element was pushed")
    }

    /// Adds an element before the first. Amortised O(1).
    #[inline]
    pub fn push_front(&mut self, value: T) {
        if let Some(root) = &mut self.root {
            if let Some(mut leaf) = root.leaf_mut() {
                if leaf.room_front() > 0 {
                    leaf.push_front(value);
                    return;
                }
            } else if let Some(trunk) = root.trunk_mut()
                && let Some(head) = &mut trunk.head
                && let Some(mut head) = head.leaf_mut()
                && head.room_front() > 0
            {
                head.push_front(value);
                trunk.head_len += 1;
                return;
            }
        }
        self.push_front_slow(value);
    }

    #[inline(never)]
    fn push_front_slow(&mut self, value: T) {
        let root = self.root.get_or_insert_with(|| Node::new_leaf(0));
        if root.is_leaf() {
            if let Some(mut leaf) = Self::flat_for_more(root) {
                leaf.reserve_front(1, Node::<T>::FLAT);
                leaf.push_front(value);
                return;
            }
            Self::make_tree(root);
        }
        let Some(trunk) = Self::make_trunk_mut(root) else {
            return;
        };
        trunk.spill_head();
        let full = Node::<T>::LEAF;
        let head = trunk.head.get_or_insert_with(|| Node::new_leaf(full));
        let most = head.end_most();
        let mut head = head.make_leaf_mut(full);
        head.reserve_front(1, most);
        head.push_front(value);
        trunk.head_len += 1;
    }

    /// Removes the last element and returns it. Amortised O(1).
    #[inline]
    pub fn pop(&mut self) -> Option<T> {
        if let Some(mut leaf) = self.last_leaf_mut()
            && let Some(value) = leaf.pop()
        {
            return Some(value);
        }
        self.pop_slow()
    }

    #[inline(never)]
    fn pop_slow(&mut self) -> Option<T> {
        let mut was_taken = false;
        loop {
            let root = self.root.as_mut()?;
            if root.is_leaf() {
                return pop_from_leaf(root, End::Last);
            }
            let trunk = Self::make_trunk_mut(root)?;
            if let Some(tail) = &mut trunk.tail
                && !tail.elements().is_empty()
            {
                return pop_from_end(tail, End::Last, was_taken);
            }
            if trunk.len() <= Self::FLAT_AGAIN {
                self.flatten();
                continue;
            }
            trunk.tail = tree::pop(&mut trunk.tree, End::Last);
            if let Some(tail) = &trunk.tail {
                trunk.tree_len -= tail.elements().len();
                was_taken = true;
            } else {
                trunk.tail = trunk.head.take();
                trunk.head_len = 0;
            }
        }
    }

    /// Removes the first element and returns it. Amortised O(1).
    #[inline]
    pub fn pop_front(&mut self) -> Option<T> {
        if let Some(root) = &mut self.root {
            if let Some(mut leaf) = root.leaf_mut() {
                return leaf.pop_front();
            }
            if let Some(trunk) = root.trunk_mut()
                && let Some(head) = &mut trunk.head
                && let Some(mut head) = head.leaf_mut()
                && let Some(value) = head.pop_front()
            {
                trunk.head_len -= 1;
                return Some(value);
            }
        }
        self.pop_front_slow()
    }

    #[inline(never)]
    fn pop_front_slow(&mut self) -> Option<T> {
        let mut was_taken = false;
        loop {
            let root = self.root.as_mut()?;
            if root.is_leaf() {
                return pop_from_leaf(root, End::First);
            }
            let trunk = Self::make_trunk_mut(root)?;
            if let Some(head) = &mut trunk.head
                && trunk.head_len > 0
            {
                let value = pop_from_end(head, End::First, was_taken);
                trunk.head_len -= 1;
                return value;
            }
            if trunk.len() <= Self::FLAT_AGAIN {
                self.flatten();
                continue;
            }
            trunk.head = tree::pop(&mut trunk.tree, End::First);
            if let Some(head) = &trunk.head {
                trunk.head_len = head.elements().len();
                trunk.tree_len -= trunk.head_len;
                was_taken = true;
            } else {
                trunk.head = trunk.tail.take();
                trunk.head_len = trunk.head_elements().len();
            }
        }
    }

    /// A tree that has no more elements is made one block: half of what a block holds, so that an element more or less
    /// does not make it a tree and a block in turns.
    const FLAT_AGAIN: usize = Node::<T>::FLAT / 2;

    /// Makes the one block of a list a tree of full leaves.
    fn make_tree(root: &mut Node<T>) {
        let mut leaf = root.make_leaf_mut(0);
        let mut tree = None;
        let (mut len, full) = (leaf.len(), Node::<T>::LEAF);
        while let Some(last) = len.checked_sub(1) {
            len = last / full * full;
            tree::prepend(&mut tree, leaf.split_off(len, full));
        }
        *root = Node::new_trunk(Trunk::new(None, tree, None));
    }

    /// Makes a short list one block. If a clone panics, nothing has changed.
    fn flatten(&mut self) {
        let len = self.len();
        let mut flat = Node::new_leaf(len);
        if let Some(mut flat) = flat.leaf_mut() {
            if self.is_all_unique() {
                let mut trunk = self.take_trunk();
                trunk.flush_head();
                trunk.flush_tail();
                while let Some(mut leaf) = tree::pop(&mut trunk.tree, End::First) {
                    if let Some(mut leaf) = leaf.leaf_mut() {
                        flat.append(&mut leaf);
                    }
                }
            } else {
                for chunk in self.chunks() {
                    flat.extend_from_slice(chunk);
                }
            }
        }
        self.root = (len > 0).then_some(flat);
    }
}

/// Returns how much room a shared block's copy gets for an element more: some, as the next may follow.
fn capacity_for_more(len: usize) -> usize {
    len + len / 4 + 1
}

/// Removes the element at one end of a trunk's head or tail, of which `was_taken` says whether it was in the tree just now.
fn pop_from_end<T: Clone>(node: &mut Node<T>, end: End, was_taken: bool) -> Option<T> {
    let value = pop_from_leaf(node, end);
    if was_taken && let Some(mut leaf) = node.leaf_mut() {
        leaf.set_taken();
    }
    value
}

/// Removes the element at one end of a leaf and returns it. A shared leaf is copied without it.
fn pop_from_leaf<T: Clone>(node: &mut Node<T>, end: End) -> Option<T> {
    if let Some(mut leaf) = node.leaf_mut() {
        return match end {
            End::First => leaf.pop_front(),
            End::Last => leaf.pop(),
        };
    }
    let (value, others) = match end {
        End::First => node.elements().split_first()?,
        End::Last => node.elements().split_last()?,
    };
    let value = value.clone();
    let others = Node::leaf_of(others, others.len());
    detach::record();
    *node = others;
    Some(value)
}
