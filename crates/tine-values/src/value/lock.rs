#![allow(unsafe_code)]
//! [`Lock`]: who may look into what several owners write to. A mutex where there is a standard library.
//!
//! **Invariant:** one thread at a time is in [`Lock::with`]; nobody else touches the value while the lock is shared.

#[cfg(feature = "std")]
pub(super) use self::mutex::Lock;
#[cfg(not(feature = "std"))]
pub(super) use self::spin::Lock;

#[cfg(feature = "std")]
mod mutex {
    use std::sync::{Mutex, PoisonError};

    /// A value that one thread at a time looks at.
    pub(in crate::value) struct Lock<T>(Mutex<T>);

    impl<T> Lock<T> {
        pub(in crate::value) const fn new(value: T) -> Self {
            Self(Mutex::new(value))
        }

        /// Calls `look` with the value when nobody else looks at it. A panic in it leaves the value as it is then.
        pub(in crate::value) fn with<R>(&self, look: impl FnOnce(&mut T) -> R) -> R {
            look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
        }

        pub(in crate::value) fn into_inner(self) -> T {
            self.0.into_inner().unwrap_or_else(PoisonError::into_inner)
        }
    }
}

#[cfg(not(feature = "std"))]
mod spin {
    use core::cell::UnsafeCell;
    use core::hint;
    use core::sync::atomic::{AtomicBool, Ordering};

    /// A value that one thread at a time looks at. Others wait without sleeping: `core` knows no better way.
    pub(in crate::value) struct Lock<T> {
        is_taken: AtomicBool,
        value: UnsafeCell<T>,
    }

    // SAFETY: the value goes from thread to thread, and one at a time has it.
    unsafe impl<T: Send> Sync for Lock<T> {}

    /// Lets the next one in, also when `look` panics.
    struct Taken<'a>(&'a AtomicBool);

    impl Drop for Taken<'_> {
        fn drop(&mut self) {
            self.0.store(false, Ordering::Release);
        }
    }

    impl<T> Lock<T> {
        pub(in crate::value) const fn new(value: T) -> Self {
            Self {
                is_taken: AtomicBool::new(false),
                value: UnsafeCell::new(value),
            }
        }

        /// Calls `look` with the value when nobody else looks at it. A panic in it leaves the value as it is then.
        pub(in crate::value) fn with<R>(&self, look: impl FnOnce(&mut T) -> R) -> R {
            while self.is_taken.swap(true, Ordering::Acquire) {
                hint::spin_loop();
            }
            let _taken = Taken(&self.is_taken);
            // SAFETY: whoever else comes waits until `_taken` is dropped.
            look(unsafe { &mut *self.value.get() })
        }

        pub(in crate::value) fn into_inner(self) -> T {
            self.value.into_inner()
        }
    }
}
