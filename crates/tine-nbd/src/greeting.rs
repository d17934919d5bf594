//! Running a handshake over a socket, within its limits of time and bytes.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use crate::client::Client;
use crate::export::Exports;
use crate::handshake::{Handshake, Opened, Step};
use crate::limits::Limits;
use crate::socket::{Arrived, Stream};

/// What is received at once: more than most clients send in all.
const RECEIVED_BYTES: usize = 4096;

/// So many lists of exports are made and sent at a time: what waits to be sent is held as a whole.
const LISTS: usize = 8;

/// Who has a list made takes some of it in this time, or others wait for nothing.
const TAKING: Duration = Duration::from_secs(1);

/// So often a client may ask for the list in one handshake: making it is work.
const LISTS_ASKED: usize = 16;

/// Whose turn it is to have the list of exports.
#[derive(Default)]
pub(crate) struct Turns {
    taken: Mutex<usize>,
    given_back: Condvar,
}

impl Turns {
    /// Waits for a turn; `None` if there is none in time.
    fn take(&self, deadline: Instant) -> Option<Turn<'_>> {
        let mut taken = self.taken.lock();
        while *taken >= LISTS {
            if self.given_back.wait_until(&mut taken, deadline).timed_out() {
                return None;
            }
        }
        *taken += 1;
        Some(Turn(self))
    }
}

/// A turn that somebody has.
struct Turn<'a>(&'a Turns);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        *self.0.taken.lock() -= 1;
        self.0.given_back.notify_one();
    }
}

/// Leads a client through the handshake. Returns what was agreed on, and what the client sent after it; `None` if it
/// ended without.
pub(crate) fn greet(
    socket: &Stream,
    exports: &dyn Exports,
    client: &Client,
    limits: &Limits,
    turns: &Turns,
    draining: &AtomicBool,
) -> Option<(Opened, Vec<u8>)> {
    let deadline = Instant::now() + limits.handshake_time;
    let mut out = Vec::new();
    let mut handshake = Handshake::begin(exports, client, &mut out);
    let mut received = Vec::new();
    let mut bytes = 0;
    let mut start = 0;
    let mut lists = 0;
    loop {
        let step = handshake.step(&received[start..], draining.load(Ordering::Acquire), &mut out);
        // Also before the end: the client may be told why.
        send(socket, &out, deadline, limits.handshake_time)?;
        out = Vec::new();
        match step.ok()? {
            Step::Took(taken) => start += taken,
            Step::List(taken) => {
                start += taken;
                lists += 1;
                if lists > LISTS_ASKED {
                    return None;
                }
                let _turn = turns.take(deadline)?;
                handshake.list(&mut |part| send(socket, part, deadline, TAKING))?;
            }
            Step::Transmit(taken, opened) => return Some((opened, received.split_off(start + taken))),
            Step::Over => return None,
            Step::Need(whole) => {
                received.drain(..start);
                start = 0;
                while received.len() < whole {
                    bytes += receive(socket, &mut received, deadline)?;
                    if bytes > limits.handshake_bytes {
                        return None;
                    }
                }
            }
        }
    }
}

fn receive(socket: &Stream, received: &mut Vec<u8>, deadline: Instant) -> Option<usize> {
    let mut arrived = [0; RECEIVED_BYTES];
    socket.set_patience(left(deadline)?, left(deadline)?).ok()?;
    match socket.receive(&mut arrived, true) {
        Arrived::Bytes(bytes) => {
            received.extend_from_slice(&arrived[..bytes]);
            Some(bytes)
        }
        Arrived::Nothing | Arrived::End => None,
    }
}

/// Sends all of `out` to who takes some of it within `patience`.
fn send(socket: &Stream, mut out: &[u8], deadline: Instant, patience: Duration) -> Option<()> {
    while !out.is_empty() {
        let left = left(deadline)?;
        socket.set_patience(left, left.min(patience)).ok()?;
        let sent = socket.send_some(out)?;
        out = &out[sent..];
    }
    Some(())
}

/// Returns how much time there is; `None` if there is none.
fn left(deadline: Instant) -> Option<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    (!left.is_zero()).then_some(left)
}
