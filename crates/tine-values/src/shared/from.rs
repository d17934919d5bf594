#![allow(unsafe_code)]
//! What a [`Shared`] can be made from: values, slices, texts, iterators.
//!
//! **Invariant:** an [`Unfinished`] owns its allocation and the values at its beginning, so a clone that panics leaks
//! nothing; what is made of it has a count of one and all values.

use alloc::alloc::{alloc, dealloc, handle_alloc_error};
use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::alloc::Layout;
use core::marker::PhantomData;
use core::mem;
use core::ptr::{self, NonNull};

use super::{Inner, Shared};
use crate::count::Count;

/// An allocation for a `Shared<[T]>` whose first values are there.
struct Unfinished<T> {
    /// Invariant: allocated with `layout(room)`; the first `length` values are initialised.
    start: NonNull<u8>,
    room: usize,
    length: usize,
    owns: PhantomData<T>,
}

impl<T> Unfinished<T> {
    /// Where the values begin, in bytes.
    const VALUES_AT: usize = size_of::<Count>().next_multiple_of(align_of::<T>());

    fn with_room(room: usize) -> Self {
        let layout = Self::layout(room);
        // SAFETY: the layout has the size of a count at least.
        let Some(start) = NonNull::new(unsafe { alloc(layout) }) else {
            handle_alloc_error(layout)
        };
        Self {
            start,
            room,
            length: 0,
            owns: PhantomData,
        }
    }

    /// Returns the layout that an `Inner<[T]>` of so many values has.
    fn layout(length: usize) -> Layout {
        let values = Layout::array::<T>(length);
        let whole = values.and_then(|values| Layout::new::<Count>().extend(values));
        let (whole, _) = whole.expect("a slice fits the address space");
        whole.pad_to_align()
    }

    fn values(&self) -> *mut T {
        // SAFETY: the offset is within the allocation, or at its end.
        unsafe { self.start.as_ptr().add(Self::VALUES_AT).cast() }
    }

    fn push(&mut self, value: T) {
        assert!(self.length < self.room, "a slice has no room for another value");
        // SAFETY: the place is within the allocation and not yet initialised.
        unsafe { self.values().add(self.length).write(value) };
        self.length += 1;
    }

    /// Moves as many values here as there is room for.
    ///
    /// # Safety
    ///
    /// There must be so many at `values`, apart from this allocation, and the caller must forget them.
    unsafe fn fill_from(&mut self, values: *const T) {
        // SAFETY: as the caller vouches; the room is what was allocated.
        unsafe { values.copy_to_nonoverlapping(self.values(), self.room) };
        self.length = self.room;
    }

    fn finish(self) -> Shared<[T]> {
        assert!(self.length == self.room, "a slice has all of its values");
        // SAFETY: the allocation begins with a count's place.
        unsafe { self.start.cast::<Count>().write(Count::one()) };
        // The pointer to an `Inner<[T]>` has the length of its slice.
        let inner = ptr::slice_from_raw_parts_mut(self.start.as_ptr(), self.length) as *mut Inner<[T]>;
        mem::forget(self);
        Shared {
            // SAFETY: it is where the allocation begins, which is not null.
            inner: unsafe { NonNull::new_unchecked(inner) },
            owns: PhantomData,
        }
    }
}

impl<T> Drop for Unfinished<T> {
    fn drop(&mut self) {
        // SAFETY: so many values are initialised, and nobody else knows of them or of the allocation.
        unsafe {
            ptr::slice_from_raw_parts_mut(self.values(), self.length).drop_in_place();
            dealloc(self.start.as_ptr(), Self::layout(self.room));
        }
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

impl<T: Clone> From<&[T]> for Shared<[T]> {
    /// Clones the values into one allocation.
    fn from(values: &[T]) -> Self {
        let mut unfinished = Unfinished::with_room(values.len());
        for value in values {
            unfinished.push(value.clone());
        }
        unfinished.finish()
    }
}

impl<T, const N: usize> From<[T; N]> for Shared<[T]> {
    /// Moves the values into one allocation.
    fn from(values: [T; N]) -> Self {
        let mut unfinished = Unfinished::with_room(N);
        values.into_iter().for_each(|value| unfinished.push(value));
        unfinished.finish()
    }
}

impl<T> From<Vec<T>> for Shared<[T]> {
    /// Moves the values into an allocation of their own, since a vector's has no place for a count.
    fn from(mut values: Vec<T>) -> Self {
        let mut unfinished = Unfinished::with_room(values.len());
        // SAFETY: the vector has so many; it forgets them, and nothing between the two can panic.
        unsafe {
            unfinished.fill_from(values.as_ptr());
            values.set_len(0);
        }
        unfinished.finish()
    }
}

impl<T> From<Box<[T]>> for Shared<[T]> {
    /// As from a `Vec`.
    fn from(values: Box<[T]>) -> Self {
        Self::from(Vec::from(values))
    }
}

impl<T> FromIterator<T> for Shared<[T]> {
    /// Collects into a `Vec` first, then moves the values into one allocation.
    fn from_iter<I: IntoIterator<Item = T>>(values: I) -> Self {
        Self::from(Vec::from_iter(values))
    }
}

impl<T> Default for Shared<[T]> {
    fn default() -> Self {
        Self::from([])
    }
}

impl From<&str> for Shared<str> {
    /// Copies the text into one allocation.
    fn from(text: &str) -> Self {
        let bytes = Shared::<[u8]>::from(text.as_bytes());
        let inner = bytes.inner.as_ptr() as *mut Inner<str>;
        mem::forget(bytes);
        Self {
            // SAFETY: not null, as it came; its bytes are UTF-8, and the layout of a text is that of its bytes.
            inner: unsafe { NonNull::new_unchecked(inner) },
            owns: PhantomData,
        }
    }
}

impl From<String> for Shared<str> {
    /// Copies the text into one allocation.
    fn from(text: String) -> Self {
        Self::from(text.as_str())
    }
}

impl From<Box<str>> for Shared<str> {
    /// Copies the text into one allocation.
    fn from(text: Box<str>) -> Self {
        Self::from(&*text)
    }
}

impl From<Cow<'_, str>> for Shared<str> {
    /// Copies the text into one allocation.
    fn from(text: Cow<'_, str>) -> Self {
        Self::from(&*text)
    }
}

impl Default for Shared<str> {
    fn default() -> Self {
        Self::from("")
    }
}
