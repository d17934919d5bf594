//! Running a handshake over a socket, within its limits of time and bytes.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::client::Client;
use crate::export::Exports;
use crate::handshake::{Handshake, Opened, Step};
use crate::limits::Limits;
use crate::socket::{Arrived, Stream};

/// What is received at once: more than most clients send in all.
const RECEIVED_BYTES: usize = 4096;

/// Leads a client through the handshake. Returns what was agreed on, and what the client sent after it; `None` if it
/// ended without.
pub(crate) fn greet(
    socket: &Stream,
    exports: &dyn Exports,
    client: &Client,
    limits: &Limits,
    draining: &AtomicBool,
) -> Option<(Opened, Vec<u8>)> {
    let deadline = Instant::now() + limits.handshake_time;
    let mut out = Vec::new();
    let mut handshake = Handshake::begin(exports, client, &mut out);
    let mut received = Vec::new();
    let mut bytes = 0;
    let mut start = 0;
    loop {
        let step = handshake.step(&received[start..], draining.load(Ordering::Acquire), &mut out);
        // Also before the end: the client may be told why.
        send(socket, &out, deadline)?;
        out = Vec::new();
        match step.ok()? {
            Step::Took(taken) => start += taken,
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

fn send(socket: &Stream, mut out: &[u8], deadline: Instant) -> Option<()> {
    while !out.is_empty() {
        socket.set_patience(left(deadline)?, left(deadline)?).ok()?;
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
