//! Turns: which of the threads that wait for the journal goes on when, and which of them writes next.
//!
//! Each thread waits at a place of its own, so a commit wakes exactly those whose items it made durable, and one more:
//! the next to write. What is told is told under the lock of the queue that the turns belong to, and heard without it.
//!
//! **Invariant:** while a thread waits somebody leads, or has been told to: so nobody waits for ever.

#[cfg(loom)]
use loom::{
    sync::Arc,
    sync::atomic::{AtomicU8, Ordering},
    thread::{self, Thread},
};
#[cfg(not(loom))]
use std::{
    sync::Arc,
    sync::atomic::{AtomicU8, Ordering},
    thread::{self, Thread},
};

/// What a waiting thread is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// What it waited for is durable.
    Done,
    /// It is the one who writes next.
    Lead,
    /// Nothing is written any more.
    Failed,
}

const NOTHING: u8 = 0;

/// The place of one waiting thread.
pub(crate) struct Place {
    told: AtomicU8,
    thread: Thread,
}

impl Place {
    /// Waits, without any lock, until the thread is told something.
    pub(crate) fn wait(&self) -> Told {
        loop {
            // Acquire: what the teller did before is seen.
            match self.told.load(Ordering::Acquire) {
                NOTHING => thread::park(),
                1 => return Told::Done,
                2 => return Told::Lead,
                _ => return Told::Failed,
            }
        }
    }
}

/// Threads that have been told something and are still to be woken: outside of the lock, so that they find it free.
#[must_use = "they sleep until they are woken"]
pub(crate) struct Woken(Vec<Arc<Place>>);

impl Woken {
    pub(crate) fn wake(self) {
        for place in self.0 {
            place.thread.unpark();
        }
    }
}

/// The threads that wait, by the tickets that they wait for.
#[derive(Default)]
pub(crate) struct Turns {
    waiting: Vec<(u64, Arc<Place>)>,
    leading: bool,
}

impl Turns {
    /// Takes a turn for a ticket that is not durable: the lead if nobody has it (`None`), else a place to wait at.
    pub(crate) fn take(&mut self, ticket: u64) -> Option<Arc<Place>> {
        if !self.leading {
            self.leading = true;
            return None;
        }
        let place = Arc::new(Place {
            told: AtomicU8::new(NOTHING),
            thread: thread::current(),
        });
        self.waiting.push((ticket, Arc::clone(&place)));
        Some(place)
    }

    /// Ends the lead of this thread, with everything up to `durable` done. One of those who are left leads next.
    pub(crate) fn pass_on(&mut self, durable: u64) -> Woken {
        let mut woken = Vec::new();
        self.waiting.retain(|(ticket, place)| {
            let done = *ticket <= durable;
            if done {
                tell(place, Told::Done, &mut woken);
            }
            !done
        });
        self.leading = !self.waiting.is_empty();
        if self.leading {
            let (_, next) = self.waiting.swap_remove(0);
            tell(&next, Told::Lead, &mut woken);
        }
        Woken(woken)
    }

    /// Tells everybody that nothing is written any more.
    pub(crate) fn fail(&mut self) -> Woken {
        let mut woken = Vec::new();
        for (_, place) in self.waiting.drain(..) {
            tell(&place, Told::Failed, &mut woken);
        }
        self.leading = false;
        Woken(woken)
    }
}

fn tell(place: &Arc<Place>, what: Told, woken: &mut Vec<Arc<Place>>) {
    let what = match what {
        Told::Done => 1,
        Told::Lead => 2,
        Told::Failed => 3,
    };
    place.told.store(what, Ordering::Release);
    woken.push(Arc::clone(place));
}
