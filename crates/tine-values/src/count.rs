//! The count of owners that every shared allocation begins with.
//!
//! **Invariant:** whoever holds an owner's share may add one; the count is zero only when nobody is left,
//! so a count of one, seen by an owner, stays one for as long as that owner is not cloned.

#[cfg(loom)]
use loom::sync::atomic::{AtomicUsize, Ordering, fence};

#[cfg(not(loom))]
use core::sync::atomic::{AtomicUsize, Ordering, fence};

/// Half of the address space leaves room for every thread to overshoot once before it aborts.
const COUNT_MAX: usize = usize::MAX / 2;

/// How many owners an allocation has. There are no weak references: a sole owner is known by one load.
pub(crate) struct Count(AtomicUsize);

impl Count {
    /// Returns the count of an allocation that has one owner.
    pub(crate) fn one() -> Self {
        Self(AtomicUsize::new(1))
    }

    /// Adds an owner. Aborts the process if there are absurdly many, since a wrapped count would free
    /// what is in use.
    #[inline]
    pub(crate) fn add_owner(&self) {
        // Relaxed: the caller is an owner, so the value is there and stays.
        if self.0.fetch_add(1, Ordering::Relaxed) > COUNT_MAX {
            abort();
        }
    }

    /// Takes an owner away and returns whether it was the last, who then has to free the allocation.
    #[inline]
    #[must_use]
    pub(crate) fn remove_owner(&self) -> bool {
        // No look at the count before: where there are others, as after a clone that was only read, it costs a
        // quarter of the clone and the drop together.
        //
        // Release: what this owner did with the value happens before the last one frees it.
        if self.0.fetch_sub(1, Ordering::Release) != 1 {
            return false;
        }
        fence(Ordering::Acquire);
        true
    }

    /// Does what [`remove_owner`](Self::remove_owner) does, for an owner that is likely the only one, such as a node's
    /// of its child when a whole tree goes: cheaper then, dearer otherwise.
    #[inline]
    #[must_use]
    pub(crate) fn remove_likely_sole_owner(&self) -> bool {
        // A sole owner needs no locked instruction: nobody else is there to change the count.
        self.is_one() || self.remove_owner()
    }

    /// Returns whether the calling owner is the only one. What other owners did before they went
    /// happens before this returns true.
    #[inline]
    pub(crate) fn is_one(&self) -> bool {
        self.0.load(Ordering::Acquire) == 1
    }

    /// Returns how many owners there are, as of some moment.
    pub(crate) fn owners(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// Ends the process. `core` has no stable abort; a panic while a panic unwinds is one.
#[cold]
fn abort() -> ! {
    struct PanicOnDrop;
    impl Drop for PanicOnDrop {
        fn drop(&mut self) {
            panic!("too many owners of a shared value");
        }
    }
    let _second = PanicOnDrop;
    panic!("too many owners of a shared value");
}

#[cfg(all(test, not(loom)))]
mod tests {
    extern crate std;

    use std::process::Command;
    use std::{env, panic};

    use super::*;

    /// Tells the test that it is its own child, which has to abort.
    const CHILD: &str = "TINE_VALUES_TEST_OVERFLOW";

    #[test]
    fn a_count_that_overflows_aborts() {
        if env::var_os(CHILD).is_some() {
            let count = Count(AtomicUsize::new(COUNT_MAX + 1));
            // Were it a mere panic, this would catch it and the child would pass.
            let _ = panic::catch_unwind(|| count.add_owner());
            return;
        }
        let name = "count::tests::a_count_that_overflows_aborts";
        let child = Command::new(env::current_exe().unwrap())
            .args(["--exact", name])
            .env(CHILD, "1")
            .output();
        assert!(!child.unwrap().status.success());
    }

    #[test]
    fn the_last_owner_is_told() {
        let count = Count::one();
        assert!(count.is_one());
        count.add_owner();
        assert_eq!((count.is_one(), count.owners()), (false, 2));
        assert!(!count.remove_owner());
        count.add_owner();
        assert!(!count.remove_likely_sole_owner());
        assert!(count.remove_likely_sole_owner());
    }
}
