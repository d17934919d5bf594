//! Slots for requests that take long: who stands still keeps one only as long as nobody else wants it.
//!
//! A disk may come from a pipe, or go to a pager, and rest for hours. That is no reason to cut it off; that all slots are
//! taken, and somebody waits, is one.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::watch;

/// A bounded number of slots.
pub(super) struct Slots {
    taken: Mutex<Vec<Arc<Holder>>>,
    max: usize,
    /// So long a holder may have waited for its client when somebody else wants its slot.
    patience: Duration,
}

struct Holder {
    /// Since when it waits for its client.
    waits_since: Mutex<Option<Instant>>,
    has_lost: watch::Sender<bool>,
}

impl Slots {
    pub(super) fn new(max: usize, patience: Duration) -> Self {
        Self {
            taken: Mutex::default(),
            max,
            patience,
        }
    }

    /// Takes a slot: a free one, or that of whoever has stood still for the longest; none if nobody has for long enough.
    pub(super) fn take(self: &Arc<Self>) -> Option<Slot> {
        let holder = Arc::new(Holder {
            waits_since: Mutex::default(),
            has_lost: watch::Sender::new(false),
        });
        let mut taken = self.taken.lock();
        if taken.len() >= self.max {
            let standing_still = |(place, holder): (usize, &Arc<Holder>)| {
                let since = (*holder.waits_since.lock())?;
                (since.elapsed() >= self.patience).then_some((since, place))
            };
            let (_, place) = taken.iter().enumerate().filter_map(standing_still).min()?;
            taken.swap_remove(place).has_lost.send_replace(true);
        }
        taken.push(Arc::clone(&holder));
        Some(Slot {
            slots: Arc::clone(self),
            holder,
        })
    }
}

/// One of them, until it is dropped.
pub(super) struct Slot {
    slots: Arc<Slots>,
    holder: Arc<Holder>,
}

impl Slot {
    /// Waits for the client; nothing when the slot was lost meanwhile.
    pub(super) async fn wait<T>(&self, client: impl Future<Output = T>) -> Option<T> {
        let mut lost = self.holder.has_lost.subscribe();
        *self.holder.waits_since.lock() = Some(Instant::now());
        let came = tokio::select! {
            biased;
            came = client => Some(came),
            // The sender is the holder's.
            _ = lost.wait_for(|lost| *lost) => None,
        };
        *self.holder.waits_since.lock() = None;
        came
    }

    /// Tells whether somebody else has it by now.
    pub(super) fn is_lost(&self) -> bool {
        *self.holder.has_lost.borrow()
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut taken = self.slots.taken.lock();
        taken.retain(|holder| !Arc::ptr_eq(holder, &self.holder));
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::task::{Context, Waker};

    use super::*;

    const PATIENCE: Duration = Duration::from_millis(20);

    #[test]
    fn who_stands_still_makes_room_for_others_and_who_works_does_not() {
        let slots = Arc::new(Slots::new(2, PATIENCE));
        let (working, still) = (slots.take().unwrap(), slots.take().unwrap());
        let mut waiting = Box::pin(still.wait(pending::<()>()));
        let mut context = Context::from_waker(Waker::noop());
        assert!(waiting.as_mut().poll(&mut context).is_pending());
        assert!(slots.take().is_none(), "it has only just begun to wait");
        std::thread::sleep(2 * PATIENCE);
        let third = slots.take().expect("the slot of who stands still");
        assert!(waiting.as_mut().poll(&mut context).is_ready());
        drop(waiting);
        assert!(still.is_lost() && !working.is_lost() && !third.is_lost());
        assert!(slots.take().is_none(), "both work");
        drop(still);
        assert!(slots.take().is_none(), "it had none to give back");
        drop(working);
        assert!(slots.take().is_some());
    }
}
