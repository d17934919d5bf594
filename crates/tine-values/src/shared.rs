#![allow(unsafe_code)]
//! [`Shared`]: one value behind one pointer and one count.
//!
//! ```text
//! Shared<T> --> | count | value |
//! ```
//!
//! **Invariant:** `block` points to a live [`Block`] made by `Box`, and this handle is one of the owners
//! that its count counts. The value is written only through `&mut Shared` of a sole owner, so owners on
//! several threads only read it.

use alloc::boxed::Box;
use core::borrow::Borrow;
use core::cmp::Ordering;
use core::fmt;
use core::hash::{Hash, Hasher};
use core::marker::PhantomData;
use core::ops::Deref;
use core::ptr::NonNull;

use crate::count::Count;
use crate::detach;

/// A value with many owners, who may write to it once they are alone.
///
/// It is what [`Arc`](alloc::sync::Arc) is without weak references: one word smaller on the heap, and a
/// sole owner is found by one load instead of a compare-and-swap, so [`make_mut`](Self::make_mut) costs
/// next to nothing then. A handle is one pointer and never null.
///
/// ```
/// use tine_values::Shared;
///
/// let monday = Shared::new(vec![1, 2, 3]);
/// let mut tuesday = monday.clone();
/// tuesday.make_mut().push(4);
/// assert_eq!(*monday, [1, 2, 3]);
/// assert_eq!(*tuesday, [1, 2, 3, 4]);
/// ```
#[repr(transparent)]
pub struct Shared<T> {
    block: NonNull<Block<T>>,
    owns: PhantomData<Block<T>>,
}

/// What a `Shared` points to. The count comes first: `radix_map` reaches it without knowing `T`.
#[repr(C)]
struct Block<T> {
    count: Count,
    value: T,
}

// SAFETY:
// - Owners on different threads all get `&T`, which takes `T: Sync`.
// - The last owner drops the value, or a sole owner writes it, on whatever thread it is: `T: Send`.
unsafe impl<T: Send + Sync> Send for Shared<T> {}
// SAFETY: as for `Send`, since `&Shared<T>` can be cloned into an owner.
unsafe impl<T: Send + Sync> Sync for Shared<T> {}

impl<T> Shared<T> {
    /// Returns the first owner of `value`. One allocation.
    pub fn new(value: T) -> Self {
        let block = Box::new(Block {
            count: Count::one(),
            value,
        });
        Self {
            block: NonNull::from(Box::leak(block)),
            owns: PhantomData,
        }
    }

    fn block(&self) -> &Block<T> {
        // SAFETY: the block lives while it has an owner, and `self` is one.
        unsafe { self.block.as_ref() }
    }

    /// Returns whether there is no other owner.
    #[inline]
    pub fn is_unique(&self) -> bool {
        self.block().count.is_one()
    }

    /// Returns the value for writing if there is no other owner. Never copies.
    #[inline]
    pub fn get_mut(&mut self) -> Option<&mut T> {
        if !self.is_unique() {
            return None;
        }
        // SAFETY: a sole owner that is borrowed mutably cannot be cloned meanwhile, so nobody else
        // reaches the value.
        Some(unsafe { &mut self.block.as_mut().value })
    }

    /// Returns the value for writing. If it has other owners they keep it, and this handle gets a clone.
    #[inline]
    pub fn make_mut(&mut self) -> &mut T
    where
        T: Clone,
    {
        if !self.is_unique() {
            *self = Self::new(T::clone(self));
            detach::record();
        }
        // SAFETY: `self` is the sole owner, either found so or just made; as in `get_mut`.
        unsafe { &mut self.block.as_mut().value }
    }

    /// Returns whether both are owners of the same value.
    #[inline]
    pub fn ptr_eq(&self, other: &Self) -> bool {
        self.block == other.block
    }

    /// Returns where the value is. It stays there while it has an owner.
    #[inline]
    pub fn as_ptr(&self) -> *const T {
        &raw const self.block().value
    }

    /// Gives the handle up for a pointer that `from_raw` turns back; the pointer begins with the count.
    pub(crate) fn into_raw(self) -> NonNull<Count> {
        let block = self.block;
        core::mem::forget(self);
        block.cast()
    }

    /// Returns the handle that `into_raw` gave up.
    ///
    /// # Safety
    ///
    /// `raw` must come from `into_raw` of a `Shared<T>` of the same type, and its share of the count must
    /// be the caller's to give.
    pub(crate) unsafe fn from_raw(raw: NonNull<Count>) -> Self {
        Self {
            block: raw.cast(),
            owns: PhantomData,
        }
    }

    /// Returns the value behind a pointer of `into_raw`.
    ///
    /// # Safety
    ///
    /// `raw` must come from `into_raw` of a `Shared<T>` of the same type, and some owner must live, and not
    /// write, during `'a`.
    #[inline]
    pub(crate) unsafe fn value_of<'a>(raw: NonNull<Count>) -> &'a T {
        // SAFETY: the caller vouches for the type and for an owner.
        unsafe { &raw.cast::<Block<T>>().as_ref().value }
    }

    /// How many bytes the allocation takes, count included.
    pub(crate) const BYTES: usize = size_of::<Block<T>>();
}

impl<T> Clone for Shared<T> {
    /// Adds an owner: one atomic increment, whatever the value.
    #[inline]
    fn clone(&self) -> Self {
        self.block().count.add_owner();
        Self {
            block: self.block,
            owns: PhantomData,
        }
    }
}

impl<T> Drop for Shared<T> {
    #[inline]
    fn drop(&mut self) {
        if self.block().count.remove_owner() {
            // SAFETY: the last owner is gone, so nobody else reaches the block, which `Box` made.
            drop(unsafe { Box::from_raw(self.block.as_ptr()) });
        }
    }
}

impl<T> Deref for Shared<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.block().value
    }
}

impl<T> AsRef<T> for Shared<T> {
    fn as_ref(&self) -> &T {
        self
    }
}

impl<T> Borrow<T> for Shared<T> {
    fn borrow(&self) -> &T {
        self
    }
}

impl<T> From<T> for Shared<T> {
    fn from(value: T) -> Self {
        Self::new(value)
    }
}

impl<T: Default> Default for Shared<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl<T: fmt::Debug> fmt::Debug for Shared<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        T::fmt(self, f)
    }
}

impl<T: fmt::Display> fmt::Display for Shared<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        T::fmt(self, f)
    }
}

impl<T: PartialEq> PartialEq for Shared<T> {
    fn eq(&self, other: &Self) -> bool {
        T::eq(self, other)
    }
}

impl<T: Eq> Eq for Shared<T> {}

impl<T: PartialOrd> PartialOrd for Shared<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        T::partial_cmp(self, other)
    }
}

impl<T: Ord> Ord for Shared<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        T::cmp(self, other)
    }
}

impl<T: Hash> Hash for Shared<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        T::hash(self, state);
    }
}
