//! Goal: what the queue knows of the ring's room is never older than the ring.
//! Method: one thread looks at the ring and is held up before it can tell what it saw, while another commits. When both
//! are done, queue and ring have to agree.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::*;
use crate::codec::Encoder;
use crate::journal::record::Record;
use crate::journal::ring::Shape;
use crate::medium::Medium;
use crate::medium::simulated::{Chooser, SimulatedMedium, SimulatedOptions};

const FILE_BYTES: u64 = 64 << 10;
const FILES: u32 = 3;

fn journal() -> Journal {
    let medium: Arc<dyn Medium> =
        SimulatedMedium::new(SimulatedOptions::default(), Chooser::seeded(1)).start();
    let shape = Shape {
        file_bytes: FILE_BYTES,
        files: FILES,
        key: [7; 16],
    };
    Ring::create(Arc::clone(&medium), shape).expect("a ring");
    let ring = Ring::begin_epoch(medium, shape, 0, VecDeque::new(), None);
    Journal::new(ring.expect("an epoch"))
}

fn item() -> Item {
    let mut records = Encoder::default();
    Record::Announced { manifest: 1 }.encode(&mut records);
    Item {
        records: records.bytes,
        ..Item::default()
    }
}

#[test]
fn the_room_is_never_older_than_the_ring() {
    let journal = journal();
    for round in 0..300 {
        let looked = AtomicBool::new(false);
        thread::scope(|scope| {
            let ticket = journal.enqueue(item(), Priority::Upkeep);
            let ticket = ticket.unwrap_or_else(|_| panic!("no room in round {round}"));
            // Who looks at the ring has seen it, and has to wait before it can tell.
            let mut queue = journal.queue.lock();
            assert!(queue.turns.take(ticket.0).is_none(), "nobody else leads");
            scope.spawn(|| {
                journal.with_ring(|_| looked.store(true, Ordering::Release));
            });
            while !looked.load(Ordering::Acquire) {
                thread::yield_now();
            }
            drop(queue);
            journal.lead(&|_| {}).expect("a commit");
            journal.wait(ticket, &|_| {}).expect("durable");
        });
        let ring = journal.ring.lock();
        assert_eq!(journal.queue.lock().room, ring.room(), "in round {round}");
        let last = ring.last();
        drop(ring);
        // As though a manifest had been announced.
        journal.with_ring(|ring| ring.trim(&last));
    }
}
