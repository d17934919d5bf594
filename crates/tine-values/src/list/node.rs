#![allow(unsafe_code)]
//! The nodes of a [`List`](super::List): what they are made of, and how they are read, shared and given back.
//!
//! ```text
//! leaf   | count | start, end, capacity | ... | element | element | ... |     the elements need not begin at slot 0
//! inner  | count | len, capacity        | child | child | ... |               regular
//! inner  | count | len, capacity        | child | child | ... | end | end ... relaxed
//! trunk  | count | head, tree, tail and how many elements they have |         only as the root of a list
//! ```
//!
//! **Invariants**, which everything here relies on:
//! 1. A [`Node`] is one of the owners that its block's count counts; the first byte of the header, the height, tells
//!    what the block is: 0 a leaf, [`TRUNK`] a trunk, any other an inner node that far above the leaves.
//! 2. Slots `start..end` of a leaf are initialised, no others. The first `len` slots of an inner node are
//!    children, all of the height below, at least one and none empty.
//! 3. A leaf is regular if it starts at slot 0. An inner node is regular if its last child is, and all the others are
//!    regular and full; then child `k` has the elements from `k * full(height - 1)` on, and so on down, so that an
//!    index is found by shifts alone. Any other has for each child the number of elements up to its end.
//! 4. What a block holds is written only while there is one owner, mutably borrowed. So all others only read.

use core::marker::PhantomData;
use core::mem::ManuallyDrop;
use core::ptr;
use core::slice;

use crate::block::Block;
use crate::count::Count;
use crate::prefetch::prefetch;

use super::trunk::Trunk;

/// How many children an inner node has at most.
///
/// A copied inner node costs one count in each child's memory, so this sets what a write to a shared list costs.
pub(super) const FANOUT: usize = 1 << FANOUT_BITS;
pub(super) const FANOUT_BITS: u32 = 4;

/// How many bytes the elements of a full leaf take, but for very large elements.
const LEAF_BYTES: usize = 2048;
/// A leaf has room for so many, however large they are.
const LEAF_SLOTS_MIN: usize = 4;
/// How many leaves fit the largest block that is a whole list: copying 8 KB costs less than a tree.
const FLAT_LEAVES: usize = 4;

/// A node above this height is never regular, so that a shift never exceeds a word.
const REGULAR_HEIGHT_MAX: u8 = 12;

/// The height that a trunk claims.
const TRUNK: u8 = u8::MAX;

#[repr(C)]
pub(super) struct LeafHead {
    height: u8,
    /// Whether it came out of a tree to be the head or the tail of a trunk: see [`Node::end_most`].
    pub(super) was_taken: bool,
    pub(super) start: u16,
    pub(super) end: u16,
    pub(super) capacity: u16,
}

impl LeafHead {
    #[inline]
    pub(super) fn len(&self) -> usize {
        usize::from(self.end) - usize::from(self.start)
    }
}

#[repr(C)]
pub(super) struct InnerHead {
    pub(super) height: u8,
    pub(super) is_relaxed: bool,
    pub(super) len: u8,
    /// A relaxed node has as many slots again, for the ends.
    pub(super) capacity: u8,
}

#[repr(C)]
struct TrunkHead<T> {
    height: u8,
    // Moved out before the block is freed, so that a value's panic as it is dropped leaks no block.
    trunk: ManuallyDrop<Trunk<T>>,
}

pub(super) type LeafBlock<T> = Block<LeafHead, T>;
pub(super) type InnerBlock<T> = Block<InnerHead, Node<T>>;

/// One owner of a node.
#[repr(transparent)]
pub(super) struct Node<T> {
    block: Block<u8, ()>,
    owns: PhantomData<T>,
}

// SAFETY: owners on several threads share `&T`, and the last one, on any thread, drops the elements.
unsafe impl<T: Send + Sync> Send for Node<T> {}
// SAFETY: as for `Send`, since `&Node<T>` can be cloned into an owner.
unsafe impl<T: Send + Sync> Sync for Node<T> {}

impl<T> Node<T> {
    /// How many elements a full leaf has: a power of two.
    pub(super) const LEAF: usize = {
        let bytes = if size_of::<T>() == 0 { 1 } else { size_of::<T>() };
        let slots = LEAF_BYTES / bytes;
        let slots = if slots < LEAF_SLOTS_MIN {
            LEAF_SLOTS_MIN
        } else {
            slots
        };
        1 << slots.ilog2()
    };

    /// How many elements a leaf has at most. Longer than a full one are only those that were lists of their own.
    pub(super) const FLAT: usize = FLAT_LEAVES * Self::LEAF;

    /// How many elements the head or tail of a trunk has at most, if it came out of the tree. When it goes back a full leaf
    /// does, and the rest stays: so the next way down the tree is that many elements off, whether they are added or removed.
    const END: usize = Self::LEAF + Self::LEAF.div_ceil(4);

    pub(super) const LEAF_BITS: u32 = Self::LEAF.trailing_zeros();

    /// Returns how many elements a full node has, of a height that can be regular.
    #[inline]
    pub(super) const fn full(height: u8) -> usize {
        Self::LEAF << (FANOUT_BITS * height as u32)
    }

    /// Returns a leaf without elements. One allocation.
    pub(super) fn new_leaf(capacity: usize) -> Self {
        debug_assert!(capacity <= Self::FLAT);
        let head = LeafHead {
            height: 0,
            was_taken: false,
            start: 0,
            end: 0,
            capacity: capacity as u16,
        };
        // SAFETY: it is new, and its header says what it holds.
        unsafe { Self::from_block(LeafBlock::<T>::new(head, capacity).cast()) }
    }

    /// Returns an inner node without children, which its caller has to give some. One allocation.
    pub(super) fn new_inner(height: u8, is_relaxed: bool, capacity: usize) -> Self {
        // A tree of as many elements as an index can tell is not nearly so high; one that were would be taken for a trunk.
        assert!(height > 0 && height < TRUNK);
        debug_assert!(capacity <= FANOUT);
        let head = InnerHead {
            height,
            is_relaxed,
            len: 0,
            capacity: capacity as u8,
        };
        // SAFETY: it is new, and its header says what it holds.
        unsafe { Self::from_block(InnerBlock::<T>::new(head, slots(capacity, is_relaxed)).cast()) }
    }

    /// Returns a root that is a trunk. One allocation.
    pub(super) fn new_trunk(trunk: Trunk<T>) -> Self {
        let head = TrunkHead {
            height: TRUNK,
            trunk: ManuallyDrop::new(trunk),
        };
        // SAFETY: it is new, and its header says what it holds.
        unsafe { Self::from_block(Block::<TrunkHead<T>, ()>::new(head, 0).cast()) }
    }

    /// # Safety
    ///
    /// The block must be a leaf, an inner node or a trunk of `T`, and a share of its count the caller's to give.
    unsafe fn from_block(block: Block<u8, ()>) -> Self {
        Self {
            block,
            owns: PhantomData,
        }
    }

    #[inline]
    fn count(&self) -> &Count {
        // SAFETY: the block lives while `self` owns it.
        unsafe { self.block.count() }
    }

    /// Returns whether there is no other owner.
    #[inline]
    pub(super) fn is_unique(&self) -> bool {
        self.count().is_one()
    }

    /// Returns how many owners there are, as of some moment.
    pub(super) fn owners(&self) -> usize {
        self.count().owners()
    }

    /// Returns whether both are owners of the same node.
    #[inline]
    pub(super) fn ptr_eq(&self, other: &Self) -> bool {
        self.block == other.block
    }

    /// Returns a number that no other living node has.
    pub(super) fn address(&self) -> usize {
        self.block.address()
    }

    #[inline]
    fn tag(&self) -> u8 {
        // SAFETY: every kind of header begins with this byte, which is never written.
        unsafe { *self.block.header() }
    }

    /// Returns how far above the leaves an inner node is; 0 for a leaf.
    #[inline]
    pub(super) fn height(&self) -> u8 {
        self.tag()
    }

    #[inline]
    pub(super) fn is_leaf(&self) -> bool {
        self.tag() == 0
    }

    #[inline]
    pub(super) fn is_inner(&self) -> bool {
        !matches!(self.tag(), 0 | TRUNK)
    }

    /// Returns the block as the leaf that it must be to be used so.
    #[inline]
    pub(super) fn leaf_block(&self) -> LeafBlock<T> {
        self.block.cast()
    }

    /// Returns the block as the inner node that it must be to be used so.
    #[inline]
    pub(super) fn inner_block(&self) -> InnerBlock<T> {
        self.block.cast()
    }

    /// Puts what the block has become after a reallocation.
    ///
    /// # Safety
    ///
    /// It must be the block of this node.
    pub(super) unsafe fn set_block<H, U>(&mut self, block: Block<H, U>) {
        self.block = block.cast();
    }

    /// Returns the elements of a leaf; none for other nodes.
    #[inline]
    pub(super) fn elements(&self) -> &[T] {
        if !self.is_leaf() {
            return &[];
        }
        let block = self.leaf_block();
        // SAFETY: it is a leaf, borrowed, so not written; these slots are initialised.
        unsafe {
            let head = block.header();
            slice::from_raw_parts(block.slots().add(usize::from(head.start)), head.len())
        }
    }

    /// Returns how many elements a leaf has, without a look at them; 0 for other nodes.
    #[inline]
    fn leaf_len(&self) -> usize {
        if !self.is_leaf() {
            return 0;
        }
        // SAFETY: it is a leaf, borrowed, so not written.
        unsafe { self.leaf_block().header() }.len()
    }

    /// Returns how many elements a leaf may have as the head or tail of a trunk. A full one that has grown by single
    /// elements goes into the tree as it is; one that came from there has to be longer to go back.
    pub(super) fn end_most(&self) -> usize {
        // SAFETY: it is a leaf, borrowed, so not written.
        if self.is_leaf() && unsafe { self.leaf_block().header() }.was_taken {
            Self::END
        } else {
            Self::LEAF
        }
    }

    /// Returns the children of an inner node; none for other nodes.
    #[inline]
    pub(super) fn children(&self) -> &[Self] {
        if !self.is_inner() {
            return &[];
        }
        let block = self.inner_block();
        // SAFETY: it is an inner node, borrowed, so not written; these slots are initialised.
        unsafe { slice::from_raw_parts(block.slots(), usize::from(block.header().len)) }
    }

    /// Returns the nodes that this one owns, whatever it is.
    pub(super) fn below(&self) -> impl Iterator<Item = &Self> {
        let parts = self.trunk().map(Trunk::all_parts).into_iter().flatten();
        parts.chain(self.children())
    }

    /// Returns the trunk, if this is one.
    #[inline]
    pub(super) fn trunk(&self) -> Option<&Trunk<T>> {
        if self.tag() != TRUNK {
            return None;
        }
        // SAFETY: it is a trunk, borrowed, so not written.
        Some(unsafe { &self.block.cast::<TrunkHead<T>, ()>().header().trunk })
    }

    /// Returns the trunk for writing, if this is one without another owner.
    #[inline]
    pub(super) fn trunk_mut(&mut self) -> Option<&mut Trunk<T>> {
        if self.tag() != TRUNK || !self.is_unique() {
            return None;
        }
        // SAFETY: it is a trunk of a sole owner.
        Some(unsafe { self.trunk_unchecked_mut() })
    }

    /// Returns the trunk for writing.
    ///
    /// # Safety
    ///
    /// It must be a trunk, without another owner.
    #[inline]
    pub(super) unsafe fn trunk_unchecked_mut(&mut self) -> &mut Trunk<T> {
        debug_assert!(self.tag() == TRUNK && self.is_unique());
        // SAFETY: as the caller vouches; `self` is mutably borrowed.
        unsafe { &mut (*self.block.cast::<TrunkHead<T>, ()>().header_ptr()).trunk }
    }

    /// Returns, for a relaxed node, how many elements there are up to the end of each child.
    #[inline]
    pub(super) fn ends(&self) -> Option<&[usize]> {
        if !self.is_inner() {
            return None;
        }
        let block = self.inner_block();
        // SAFETY: it is an inner node, borrowed, so not written; a relaxed one has an end for each child.
        unsafe {
            let head = block.header();
            head.is_relaxed
                .then(|| slice::from_raw_parts(ends_of(block), usize::from(head.len)))
        }
    }

    /// Returns whether an index is found by shifts alone.
    #[inline]
    pub(super) fn is_regular(&self) -> bool {
        if self.is_leaf() {
            // SAFETY: it is a leaf, borrowed, so not written.
            return unsafe { self.leaf_block().header().start == 0 };
        }
        // SAFETY: a trunk is never asked; it is an inner node, borrowed, so not written.
        self.is_inner() && unsafe { !self.inner_block().header().is_relaxed }
    }

    /// Returns whether it is regular and has all the elements that its height allows.
    pub(super) fn is_full(&self) -> bool {
        self.is_regular() && self.height() <= REGULAR_HEIGHT_MAX && self.len() == Self::full(self.height())
    }

    /// Returns whether a node whose other children are full is regular with this one as its last. O(1).
    pub(super) fn may_be_last_of_regular(&self) -> bool {
        // An inner node that is regular has no more than a full one.
        self.height() < REGULAR_HEIGHT_MAX && self.is_regular() && self.leaf_len() <= Self::LEAF
    }

    /// Returns whether an inner node with these children, of these sizes, is regular.
    pub(super) fn would_be_regular<'a>(mut parts: impl DoubleEndedIterator<Item = (&'a Self, usize)>) -> bool
    where
        T: 'a,
    {
        let Some((last, _)) = parts.next_back() else {
            return true;
        };
        last.may_be_last_of_regular()
            && parts.all(|(child, size)| size == Self::full(child.height()) && child.is_regular())
    }

    /// Returns how many elements there are in a leaf, or below an inner node. O(height).
    pub(super) fn len(&self) -> usize {
        let mut node = self;
        let mut before = 0;
        loop {
            let Some((last, others)) = node.children().split_last() else {
                return before + node.leaf_len();
            };
            if let Some(ends) = node.ends() {
                return before + ends[ends.len() - 1];
            }
            before += others.len() * Self::full(last.height());
            node = last;
        }
    }

    /// Returns how many bytes this one allocation takes.
    pub(super) fn bytes(&self) -> usize {
        // SAFETY: the tag says what the block is.
        unsafe {
            match self.tag() {
                0 => LeafBlock::<T>::bytes(usize::from(self.leaf_block().header().capacity)),
                TRUNK => Block::<TrunkHead<T>, ()>::bytes(0),
                _ => {
                    let head = self.inner_block().header();
                    InnerBlock::<T>::bytes(slots(usize::from(head.capacity), head.is_relaxed))
                }
            }
        }
    }

    /// Takes the trunk out of a root that has no other owner; gives any other root back.
    pub(super) fn into_trunk(self) -> Result<Trunk<T>, Self> {
        if self.tag() != TRUNK || !self.is_unique() {
            return Err(self);
        }
        let block = ManuallyDrop::new(self).block.cast::<TrunkHead<T>, ()>();
        // SAFETY: it is a trunk, and nobody else reaches it; what is moved out is not dropped with the header.
        unsafe {
            let trunk = ptr::read(&raw const (*block.header_ptr()).trunk);
            block.free(0);
            Ok(ManuallyDrop::into_inner(trunk))
        }
    }

    /// Gives the node up, as the handle of a list does, which often has others beside it.
    #[inline]
    pub(super) fn give_up(self) {
        let mut node = ManuallyDrop::new(self);
        if node.count().remove_owner() {
            // SAFETY: the last owner is gone, and `node` is not dropped again.
            unsafe { node.release() }
        }
    }

    /// Gives the block back, with all that only it owns.
    ///
    /// # Safety
    ///
    /// The last owner must be gone.
    #[inline(never)]
    unsafe fn release(&mut self) {
        // SAFETY: nobody else reaches the block; the tag says what it is, and its header which slots are initialised.
        // Each is dropped once, and the block is freed even if that panics.
        unsafe {
            match self.tag() {
                0 => {
                    let block = self.leaf_block();
                    let head = block.header();
                    let elements = block.slots().add(usize::from(head.start));
                    let _free = Free(block, usize::from(head.capacity));
                    ptr::slice_from_raw_parts_mut(elements, head.len()).drop_in_place();
                }
                TRUNK => {
                    let block = self.block.cast::<TrunkHead<T>, ()>();
                    let trunk = ptr::read(&raw const (*block.header_ptr()).trunk);
                    block.free(0);
                    drop(ManuallyDrop::into_inner(trunk));
                }
                _ => {
                    let block = self.inner_block();
                    let head = block.header();
                    let (len, capacity) = (usize::from(head.len), usize::from(head.capacity));
                    let _free = Free(block, slots(capacity, head.is_relaxed));
                    let children = ptr::slice_from_raw_parts_mut(block.slots(), len);
                    // Each child's count is read, and its allocation's size beside it.
                    for child in &*children {
                        prefetch(child.block.header_ptr());
                    }
                    children.drop_in_place();
                }
            }
        }
    }
}

impl<T> Clone for Node<T> {
    #[inline]
    fn clone(&self) -> Self {
        self.count().add_owner();
        Self {
            block: self.block,
            owns: PhantomData,
        }
    }
}

impl<T> Drop for Node<T> {
    /// Frees what only this owner reached. Recurs no deeper than the tree is high.
    #[inline]
    fn drop(&mut self) {
        if self.count().remove_likely_sole_owner() {
            // SAFETY: the last owner is gone.
            unsafe { self.release() }
        }
    }
}

/// Frees a block whose header has nothing to drop when it goes out of scope.
struct Free<H, U>(Block<H, U>, usize);

impl<H, U> Drop for Free<H, U> {
    fn drop(&mut self) {
        // SAFETY: made only where the last owner of the block is gone, with its capacity.
        unsafe { self.0.free(self.1) }
    }
}

/// Returns how many slots an inner node takes.
#[inline]
pub(super) const fn slots(capacity: usize, is_relaxed: bool) -> usize {
    if is_relaxed { 2 * capacity } else { capacity }
}

/// Returns where the ends of a relaxed node are.
///
/// # Safety
///
/// The block must be live, and a relaxed inner node.
#[inline]
pub(super) unsafe fn ends_of<T>(block: InnerBlock<T>) -> *mut usize {
    // SAFETY: as the caller vouches.
    let capacity = usize::from(unsafe { block.header() }.capacity);
    block.slots().wrapping_add(capacity).cast()
}

// The ends take the place of children.
const _: () = assert!(size_of::<Node<u8>>() == size_of::<usize>());
const _: () = assert!(size_of::<LeafHead>() <= 8 && size_of::<InnerHead>() <= 8);
