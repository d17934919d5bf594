#![allow(unsafe_code)]
//! [`Shared`]: one value behind one pointer and one count.
//!
//! ```text
//! Shared<T> --> | count | value |              a value of unknown size (a slice, a `str`): a pointer and a length
//! ```
//!
//! **Invariant:** `inner` points to a live [`Inner`] that the global allocator made with the layout of its value, and
//! this handle is one of the owners that its count counts. The value is written only through `&mut Shared` of a sole
//! owner, so owners on several threads only read it.

mod from;
#[cfg(feature = "serde")]
mod serde;

use alloc::alloc::{Layout, dealloc};
use alloc::boxed::Box;
use core::borrow::Borrow;
use core::cmp::Ordering;
use core::fmt;
use core::hash::{Hash, Hasher};
use core::marker::PhantomData;
use core::mem;
use core::ops::Deref;
use core::ptr::{self, NonNull};

use crate::count::Count;
use crate::detach;

/// A value with many owners, who may write to it once they are alone.
///
/// It is what [`Arc`](alloc::sync::Arc) is without weak references: one word smaller on the heap, and a
/// sole owner is found by one load instead of a compare-and-swap, so [`make_mut`](Self::make_mut) costs
/// next to nothing then. A handle is one pointer and never null; of a `[T]` or a `str` it has the length, too.
///
/// ```
/// use tine_values::Shared;
///
/// let monday = Shared::new(vec![1, 2, 3]);
/// let mut tuesday = monday.clone();
/// tuesday.make_mut().push(4);
/// assert_eq!(*monday, [1, 2, 3]);
/// assert_eq!(*tuesday, [1, 2, 3, 4]);
///
/// let mut word: Shared<str> = "tine".into();
/// word.make_mut().make_ascii_uppercase();
/// assert_eq!(&*word, "TINE");
/// ```
#[repr(transparent)]
pub struct Shared<T: ?Sized> {
    inner: NonNull<Inner<T>>,
    owns: PhantomData<Inner<T>>,
}

/// What a `Shared` points to. The count comes first: `radix_map` reaches it without knowing `T`.
#[repr(C)]
struct Inner<T: ?Sized> {
    count: Count,
    value: T,
}

// SAFETY:
// - Owners on different threads all get `&T`, which takes `T: Sync`.
// - The last owner drops the value, or a sole owner writes it, on whatever thread it is: `T: Send`.
unsafe impl<T: ?Sized + Send + Sync> Send for Shared<T> {}
// SAFETY: as for `Send`, since `&Shared<T>` can be cloned into an owner.
unsafe impl<T: ?Sized + Send + Sync> Sync for Shared<T> {}

impl<T> Shared<T> {
    /// Returns the first owner of `value`. One allocation.
    pub fn new(value: T) -> Self {
        let inner = Box::new(Inner {
            count: Count::one(),
            value,
        });
        Self {
            inner: NonNull::from(Box::leak(inner)),
            owns: PhantomData,
        }
    }

    /// Returns the value for writing. If it has other owners they keep it, and this handle gets a clone.
    #[inline]
    pub fn make_mut(&mut self) -> &mut T
    where
        T: Clone,
    {
        self.own(|value| Self::new(value.clone()))
    }

    /// Returns the value itself, moved out, if there is no other owner; else the handle, unchanged.
    ///
    /// # Errors
    ///
    /// When the value has other owners.
    pub fn try_unwrap(self) -> Result<T, Self> {
        if self.is_unique() {
            // SAFETY: this is the sole owner, and it is given up.
            Ok(unsafe { self.take() })
        } else {
            Err(self)
        }
    }

    /// Gives the handle up and returns the value if it was the last. Of owners who all do this, at whatever time and
    /// on whatever threads, one gets the value.
    pub fn into_inner(self) -> Option<T> {
        if self.inner().count.remove_owner() {
            // SAFETY: the last owner is gone but for this handle, and it is given up.
            Some(unsafe { self.take() })
        } else {
            // The share of the count is given up already.
            mem::forget(self);
            None
        }
    }

    /// Returns the value itself if there is no other owner, else a clone of it.
    pub fn unwrap_or_clone(self) -> T
    where
        T: Clone,
    {
        self.try_unwrap().unwrap_or_else(|shared| T::clone(&shared))
    }

    /// Moves the value out and frees the allocation.
    ///
    /// # Safety
    ///
    /// Nobody else may have a share of it.
    unsafe fn take(self) -> T {
        let inner = self.inner.as_ptr();
        mem::forget(self);
        // SAFETY: as the caller vouches, nobody else reaches it, and `Box` made it.
        unsafe { Box::from_raw(inner) }.value
    }

    /// Gives the handle up for a pointer that `from_raw` turns back; the pointer begins with the count.
    pub(crate) fn into_raw(self) -> NonNull<Count> {
        let inner = self.inner;
        mem::forget(self);
        inner.cast()
    }

    /// Returns the handle that `into_raw` gave up.
    ///
    /// # Safety
    ///
    /// `raw` must come from `into_raw` of a `Shared<T>` of the same type, and its share of the count must
    /// be the caller's to give.
    pub(crate) unsafe fn from_raw(raw: NonNull<Count>) -> Self {
        Self {
            inner: raw.cast(),
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
        unsafe { &raw.cast::<Inner<T>>().as_ref().value }
    }

    /// Returns the value behind a pointer of `into_raw`, for writing.
    ///
    /// # Safety
    ///
    /// `raw` must come from `into_raw` of a `Shared<T>` of the same type, and be the sole owner, borrowed mutably
    /// during `'a`.
    pub(crate) unsafe fn value_of_mut<'a>(raw: NonNull<Count>) -> &'a mut T {
        // SAFETY: the caller vouches for the type, and that nobody else reaches the value.
        unsafe { &mut raw.cast::<Inner<T>>().as_mut().value }
    }

    /// How many bytes the allocation takes, count included.
    pub(crate) const BYTES: usize = size_of::<Inner<T>>();
}

impl<T> Shared<[T]> {
    /// Returns the slice for writing. If it has other owners they keep it, and this handle gets a clone.
    #[inline]
    pub fn make_mut(&mut self) -> &mut [T]
    where
        T: Clone,
    {
        self.own(|values| Self::from(values))
    }
}

impl Shared<str> {
    /// Returns the text for writing. If it has other owners they keep it, and this handle gets a copy.
    #[inline]
    pub fn make_mut(&mut self) -> &mut str {
        self.own(|text| Self::from(text))
    }
}

impl<T: ?Sized> Shared<T> {
    fn inner(&self) -> &Inner<T> {
        // SAFETY: it lives while it has an owner, and `self` is one.
        unsafe { self.inner.as_ref() }
    }

    /// Returns whether there is no other owner.
    #[inline]
    pub fn is_unique(&self) -> bool {
        self.inner().count.is_one()
    }

    /// Returns the value for writing if there is no other owner. Never copies.
    #[inline]
    pub fn get_mut(&mut self) -> Option<&mut T> {
        if !self.is_unique() {
            return None;
        }
        // SAFETY: a sole owner that is borrowed mutably cannot be cloned meanwhile, so nobody else
        // reaches the value.
        Some(unsafe { &mut self.inner.as_mut().value })
    }

    /// Returns the value for writing, after making this handle the owner of a copy if there are others.
    #[inline]
    fn own(&mut self, copy: impl FnOnce(&T) -> Self) -> &mut T {
        if !self.is_unique() {
            self.replace_by(copy);
        }
        // SAFETY: `self` is the sole owner, either found so or just made; as in `get_mut`.
        unsafe { &mut self.inner.as_mut().value }
    }

    #[cold]
    fn replace_by(&mut self, copy: impl FnOnce(&T) -> Self) {
        *self = copy(self);
        detach::record();
    }

    /// Returns whether both are owners of the same value.
    #[inline]
    pub fn ptr_eq(&self, other: &Self) -> bool {
        ptr::addr_eq(self.inner.as_ptr(), other.inner.as_ptr())
    }

    /// Returns how many bytes the allocation takes, count included, if only this handle reaches it: what dropping it gives
    /// back. What the value points to is not counted. O(1).
    pub fn own_bytes(&self) -> usize {
        if self.is_unique() { self.bytes() } else { 0 }
    }

    /// Returns how many bytes the allocation takes, count included, if others reach it, too. O(1).
    pub fn shared_bytes(&self) -> usize {
        if self.is_unique() { 0 } else { self.bytes() }
    }

    fn bytes(&self) -> usize {
        Layout::for_value(self.inner()).size()
    }

    /// Returns the value that both sides have made of this one, which is what both come from: the other's if one side has
    /// left it as it was or both are equal, else what `resolve` makes of this one, `ours` and `theirs`. What is one value is
    /// not looked at: O(1).
    ///
    /// ```
    /// use tine_values::Shared;
    ///
    /// let base = Shared::new(1);
    /// let (ours, mut theirs) = (base.clone(), base.clone());
    /// *theirs.make_mut() += 10;
    /// let merged = base.merge(&ours, &theirs, |_, _, _| unreachable!("one side changed it"));
    /// assert!(merged.ptr_eq(&theirs));
    /// ```
    #[must_use]
    pub fn merge(&self, ours: &Self, theirs: &Self, resolve: impl FnOnce(&Self, &Self, &Self) -> Self) -> Self
    where
        T: PartialEq,
    {
        let are_one = |one: &Self, other: &Self| one.ptr_eq(other) || one == other;
        if theirs.ptr_eq(self) || are_one(ours, theirs) {
            ours.clone()
        } else if are_one(self, ours) {
            theirs.clone()
        } else if are_one(self, theirs) {
            ours.clone()
        } else {
            resolve(self, ours, theirs)
        }
    }

    /// Returns where the value is. It stays there while it has an owner.
    #[inline]
    pub fn as_ptr(&self) -> *const T {
        &raw const self.inner().value
    }

    /// Drops the value and frees the allocation, even if the drop panics.
    ///
    /// # Safety
    ///
    /// The last share of it must have been given up, and this handle never be used again.
    unsafe fn free(&mut self) {
        struct Free(NonNull<u8>, Layout);
        impl Drop for Free {
            fn drop(&mut self) {
                // SAFETY: it was allocated with the layout of what it holds; nothing uses it any more.
                unsafe { dealloc(self.0.as_ptr(), self.1) };
            }
        }
        let _free = Free(self.inner.cast(), Layout::for_value(self.inner()));
        // SAFETY: as the caller vouches, nobody else reaches it; a slice's drop goes on with the others if one panics.
        unsafe { self.inner.drop_in_place() };
    }
}

impl<T: ?Sized> Clone for Shared<T> {
    /// Adds an owner: one atomic increment, whatever the value.
    #[inline]
    fn clone(&self) -> Self {
        self.inner().count.add_owner();
        Self {
            inner: self.inner,
            owns: PhantomData,
        }
    }
}

impl<T: ?Sized> Drop for Shared<T> {
    #[inline]
    fn drop(&mut self) {
        if self.inner().count.remove_owner() {
            // SAFETY: the last owner is gone, and its handle with it.
            unsafe { self.free() };
        }
    }
}

impl<T: ?Sized> Deref for Shared<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.inner().value
    }
}

impl<T: ?Sized> AsRef<T> for Shared<T> {
    fn as_ref(&self) -> &T {
        self
    }
}

impl<T: ?Sized> Borrow<T> for Shared<T> {
    fn borrow(&self) -> &T {
        self
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for Shared<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        T::fmt(self, f)
    }
}

impl<T: ?Sized + fmt::Display> fmt::Display for Shared<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        T::fmt(self, f)
    }
}

impl<T: ?Sized + PartialEq> PartialEq for Shared<T> {
    fn eq(&self, other: &Self) -> bool {
        T::eq(self, other)
    }
}

impl<T: ?Sized + Eq> Eq for Shared<T> {}

impl<T: ?Sized + PartialOrd> PartialOrd for Shared<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        T::partial_cmp(self, other)
    }
}

impl<T: ?Sized + Ord> Ord for Shared<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        T::cmp(self, other)
    }
}

impl<T: ?Sized + Hash> Hash for Shared<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        T::hash(self, state);
    }
}
