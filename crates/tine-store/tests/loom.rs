//! Goal: whoever waits for the journal goes on once its item is durable or nothing is written any more, in every
//! interleaving; commits end in their order; and who leads has something to write.
//! Method: loom runs a queue with all schedules (`RUSTFLAGS="--cfg loom" cargo nextest run -p tine-store --test loom
//! --release`). It has the steps of `journal/commit.rs` around the turns themselves, without the ring. A thread that is
//! forgotten is a deadlock, which loom reports.
#![cfg(loom)]

#[path = "../src/journal/turn.rs"]
mod turn;

use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;
use turn::{Told, Turns};

#[derive(Default)]
struct Queue {
    queued: u64,
    /// What was taken to be written.
    taken: u64,
    durable: u64,
    begun: u64,
    ended: u64,
    failed: bool,
    turns: Turns,
}

struct Journal {
    queue: Mutex<Queue>,
    ended: Condvar,
}

impl Journal {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            queue: Mutex::new(Queue::default()),
            ended: Condvar::new(),
        })
    }

    fn enqueue(&self) -> u64 {
        let mut queue = self.queue.lock().unwrap();
        queue.queued += 1;
        queue.queued
    }

    /// Returns whether the item became durable.
    fn wait(&self, ticket: u64) -> bool {
        let mut queue = self.queue.lock().unwrap();
        if queue.durable >= ticket {
            return true;
        }
        if queue.failed {
            return false;
        }
        if let Some(place) = queue.turns.take(ticket) {
            drop(queue);
            let told = place.wait();
            if told == Told::Done {
                assert!(self.queue.lock().unwrap().durable >= ticket, "told too early");
                return true;
            }
            queue = self.queue.lock().unwrap();
            if queue.failed {
                return false;
            }
            assert_eq!(told, Told::Lead);
        }
        assert!(ticket > queue.taken, "another has taken what this one leads for");
        let (number, last) = (queue.begun, queue.queued);
        queue.begun += 1;
        queue.taken = last;
        queue.turns.took(last);
        drop(queue);
        // Here frames are written and synced; others may do so beside it.
        let mut queue = self.queue.lock().unwrap();
        while queue.ended < number && !queue.failed {
            queue = self.ended.wait(queue).unwrap();
        }
        if queue.failed {
            return false;
        }
        queue.ended += 1;
        queue.durable = last;
        let woken = queue.turns.pass_on();
        drop(queue);
        self.ended.notify_all();
        woken.wake();
        true
    }

    fn fail(&self) {
        let mut queue = self.queue.lock().unwrap();
        queue.failed = true;
        let woken = queue.turns.fail();
        drop(queue);
        self.ended.notify_all();
        woken.wake();
    }
}

fn explore(body: impl Fn() + Sync + Send + 'static) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(body);
}

#[test]
fn everybody_who_waits_goes_on() {
    explore(|| {
        let journal = Journal::new();
        let threads: Vec<_> = (0..2)
            .map(|_| {
                let journal = Arc::clone(&journal);
                thread::spawn(move || assert!(journal.wait(journal.enqueue())))
            })
            .collect();
        for _ in 0..2 {
            assert!(journal.wait(journal.enqueue()));
        }
        for thread in threads {
            thread.join().unwrap();
        }
        let queue = journal.queue.lock().unwrap();
        assert_eq!(queue.durable, queue.queued);
    });
}

#[test]
fn everybody_is_told_that_nothing_is_written_any_more() {
    explore(|| {
        let journal = Journal::new();
        let threads: Vec<_> = (0..2)
            .map(|_| {
                let journal = Arc::clone(&journal);
                thread::spawn(move || {
                    let ticket = journal.enqueue();
                    // Durable or failed; but back.
                    journal.wait(ticket);
                })
            })
            .collect();
        journal.fail();
        for thread in threads {
            thread.join().unwrap();
        }
    });
}
