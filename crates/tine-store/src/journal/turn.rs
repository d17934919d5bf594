//! Turns: which of the threads that wait for the journal goes on when, and which of them writes next.
//!
//! The threads whose items one commit writes wait at one place, and are woken by one system call: to wake them one by one
//! takes longer than the commit, as each that is woken runs at once, in place of who wakes. One of them is called to
//! write; who comes along before it runs writes in its place. What is told is told under the lock of the queue that the
//! turns belong to, and heard without it.
//!
//! **Invariant:** while a thread waits somebody leads, or has been called to: so nobody waits for ever. Who leads finds its
//! own item among what is queued, as nobody else takes anything before it has.

#[cfg(loom)]
use loom::{
    sync::Arc,
    sync::atomic::{AtomicU32, Ordering},
};
use std::collections::VecDeque;
#[cfg(not(loom))]
use std::{
    sync::Arc,
    sync::atomic::{AtomicU32, Ordering},
};

/// Commits that may be under way at once: while one is synced the next is written, and synced beside it.
const UNDER_WAY_MAX: usize = 2;

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

const NOTHING: u32 = 0;
const DONE: u32 = 1;
/// One of those who wait is to lead.
const LEAD: u32 = 2;
const FAILED: u32 = 3;

/// Where those wait whose items one commit writes.
#[derive(Default)]
pub(crate) struct Place {
    told: AtomicU32,
    futex: futex::Futex,
}

impl Place {
    /// Waits, without any lock, until the thread is told something.
    pub(crate) fn wait(&self) -> Told {
        loop {
            // Acquire: what the teller did before is seen.
            match self.told.load(Ordering::Acquire) {
                NOTHING => self.futex.wait(&self.told, NOTHING),
                LEAD if self.answers() => return Told::Lead,
                LEAD => {}
                DONE => return Told::Done,
                _ => return Told::Failed,
            }
        }
    }

    /// Answers a call to lead: true for one thread.
    fn answers(&self) -> bool {
        let answer = self
            .told
            .compare_exchange(LEAD, NOTHING, Ordering::AcqRel, Ordering::Acquire);
        answer.is_ok()
    }
}

/// Threads that have been told something and are still to be woken: outside of the lock, so that they find it free.
#[must_use = "they sleep until they are woken"]
#[derive(Default)]
pub(crate) struct Woken {
    leads: Option<Arc<Place>>,
    rest: Vec<Arc<Place>>,
}

impl Woken {
    pub(crate) fn wake(self) {
        // First who writes: meanwhile the others are woken.
        if let Some(place) = self.leads {
            place.futex.wake_one(&place.told);
        }
        for place in self.rest {
            place.futex.wake_all(&place.told);
        }
    }
}

/// A commit that is under way.
struct UnderWay {
    upto: u64,
    place: Arc<Place>,
    waiting: usize,
}

/// The threads that wait, by the tickets that they wait for.
#[derive(Default)]
pub(crate) struct Turns {
    /// Where those wait whose items are queued, and how many.
    place: Arc<Place>,
    waiting: usize,
    /// Somebody leads, or is called to, who has not taken what is queued.
    takes: bool,
    /// Oldest first, which is the order in which they end.
    under_way: VecDeque<UnderWay>,
}

impl Turns {
    /// Takes a turn for a ticket that is not durable: the lead (`None`), else a place to wait at.
    pub(crate) fn take(&mut self, ticket: u64) -> Option<Arc<Place>> {
        if let Some(commit) = self.under_way.iter_mut().find(|commit| ticket <= commit.upto) {
            commit.waiting += 1;
            return Some(Arc::clone(&commit.place));
        }
        self.waiting += 1;
        if self.may_lead() {
            self.takes = true;
            return None;
        }
        // Who was called is still on its way.
        if self.takes && self.place.answers() {
            return None;
        }
        Some(Arc::clone(&self.place))
    }

    /// Tells whether one of those who wait for what is queued may lead.
    ///
    /// Beside a commit that is under way, only for at least half as many as wait for that one: for few the disk would be
    /// kept busy with syncs, and they would keep the many waiting.
    fn may_lead(&self) -> bool {
        let under_way: usize = self.under_way.iter().map(|commit| commit.waiting).sum();
        let beside = self.under_way.len() < UNDER_WAY_MAX && self.waiting * 2 >= under_way;
        !self.takes && self.waiting > 0 && (self.under_way.is_empty() || beside)
    }

    /// Calls one of those who wait to lead, if one may.
    fn call(&mut self) -> Option<Arc<Place>> {
        self.may_lead().then(|| {
            self.takes = true;
            self.place.told.store(LEAD, Ordering::Release);
            Arc::clone(&self.place)
        })
    }

    /// Told by who leads that it takes what is queued, up to a ticket. From now on another may lead beside it.
    pub(crate) fn took(&mut self, upto: u64) {
        self.takes = false;
        self.under_way.push_back(UnderWay {
            upto,
            place: std::mem::take(&mut self.place),
            waiting: std::mem::take(&mut self.waiting),
        });
    }

    /// Ends the oldest commit, which is durable. One of those who wait for what is queued leads next.
    pub(crate) fn pass_on(&mut self) -> Woken {
        let ended = self.under_way.pop_front();
        let ended = ended.inspect(|commit| commit.place.told.store(DONE, Ordering::Release));
        Woken {
            leads: self.call(),
            // Who led it does not wait.
            rest: ended
                .filter(|commit| commit.waiting > 1)
                .map(|commit| commit.place)
                .into_iter()
                .collect(),
        }
    }

    /// Tells everybody that nothing is written any more.
    pub(crate) fn fail(&mut self) -> Woken {
        let under_way = self.under_way.drain(..).map(|commit| commit.place);
        let rest: Vec<_> = under_way.chain([std::mem::take(&mut self.place)]).collect();
        for place in &rest {
            place.told.store(FAILED, Ordering::Release);
        }
        Woken { leads: None, rest }
    }
}

/// Sleeping until a word changes.
#[cfg(not(loom))]
mod futex {
    use std::sync::atomic::AtomicU32;

    use rustix::thread::futex::{Flags, wait, wake};

    #[derive(Default)]
    pub(super) struct Futex;

    impl Futex {
        pub(super) fn wait(&self, word: &AtomicU32, while_it_is: u32) {
            // Whatever the reason for which this returns, the word is looked at again.
            let _ = wait(word, Flags::PRIVATE, while_it_is, None);
        }

        pub(super) fn wake_one(&self, word: &AtomicU32) {
            // Fails only for memory that is not there.
            let _ = wake(word, Flags::PRIVATE, 1);
        }

        pub(super) fn wake_all(&self, word: &AtomicU32) {
            let _ = wake(word, Flags::PRIVATE, i32::MAX as u32);
        }
    }
}

/// The same of what loom has.
#[cfg(loom)]
mod futex {
    use loom::sync::atomic::{AtomicU32, Ordering};
    use loom::sync::{Condvar, Mutex};

    #[derive(Default)]
    pub(super) struct Futex {
        lock: Mutex<()>,
        changed: Condvar,
    }

    impl Futex {
        pub(super) fn wait(&self, word: &AtomicU32, while_it_is: u32) {
            let guard = self.lock.lock().unwrap();
            if word.load(Ordering::Acquire) == while_it_is {
                drop(self.changed.wait(guard));
            }
        }

        pub(super) fn wake_one(&self, _word: &AtomicU32) {
            let _guard = self.lock.lock();
            self.changed.notify_one();
        }

        pub(super) fn wake_all(&self, _word: &AtomicU32) {
            let _guard = self.lock.lock();
            self.changed.notify_all();
        }
    }
}
