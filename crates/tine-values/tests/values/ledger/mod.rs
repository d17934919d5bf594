//! Items whose calls are counted: the n-th one panics, and who is alive is known.

use std::cell::Cell;
use std::cmp::Ordering;
use std::hash::{Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;

/// What all items of one test have in common.
#[derive(Default)]
pub(crate) struct Ledger {
    living: Cell<isize>,
    /// Calls until one panics.
    calls_left: Cell<Option<usize>>,
}

impl Ledger {
    /// Counts a call, and panics where the count ends.
    pub(crate) fn tick(&self) {
        match self.calls_left.get() {
            Some(0) => {
                self.calls_left.set(None);
                // As a panic, without the message.
                resume_unwind(Box::new("planned"));
            }
            Some(left) => self.calls_left.set(Some(left - 1)),
            None => {}
        }
    }

    /// Runs `operation`, in which the call with this number panics. Returns whether there were so many.
    pub(crate) fn panics_at(&self, call: usize, operation: impl FnOnce()) -> bool {
        self.calls_left.set(Some(call));
        let outcome = catch_unwind(AssertUnwindSafe(operation));
        let was_reached = self.calls_left.replace(None).is_none();
        assert_eq!(outcome.is_err(), was_reached, "call {call}");
        was_reached
    }

    /// Returns how many items there are.
    pub(crate) fn living(&self) -> isize {
        self.living.get()
    }
}

/// An item that counts all that is asked of it, with so many bytes of room.
pub(crate) struct Item<const ROOM: usize> {
    pub(crate) number: u32,
    pub(crate) ledger: Rc<Ledger>,
    _room: [u8; ROOM],
}

impl<const ROOM: usize> Item<ROOM> {
    pub(crate) fn new(number: u32, ledger: &Rc<Ledger>) -> Self {
        ledger.living.set(ledger.living.get() + 1);
        Self {
            number,
            ledger: ledger.clone(),
            _room: [0; ROOM],
        }
    }
}

impl<const ROOM: usize> Clone for Item<ROOM> {
    fn clone(&self) -> Self {
        self.ledger.tick();
        Self::new(self.number, &self.ledger)
    }
}

impl<const ROOM: usize> Drop for Item<ROOM> {
    fn drop(&mut self) {
        self.ledger.living.set(self.ledger.living.get() - 1);
        self.ledger.tick();
    }
}

impl<const ROOM: usize> PartialEq for Item<ROOM> {
    fn eq(&self, other: &Self) -> bool {
        self.ledger.tick();
        self.number == other.number
    }
}

impl<const ROOM: usize> Eq for Item<ROOM> {}

impl<const ROOM: usize> PartialOrd for Item<ROOM> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<const ROOM: usize> Ord for Item<ROOM> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.ledger.tick();
        self.number.cmp(&other.number)
    }
}

impl<const ROOM: usize> Hash for Item<ROOM> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.ledger.tick();
        state.write_u32(self.number);
    }
}
