//! Leading a connection: reading its requests, and doing at once what needs no waiting.
//!
//! Requests are received as many as there are, done one after the other, and answered by one send. What has to wait becomes a
//! [`Job`], for when the answers are sent and the lead is free. A large payload is received straight into a piece of memory
//! of its own.

mod answer;
mod payload;

use std::sync::Arc;

pub(crate) use self::answer::is_zero;
use self::payload::{Incoming, Incomings};
use crate::buffer::Received;
use crate::connection::{Connection, Next, Pause};
use crate::error::Fault;
use crate::protocol::Headers;
use crate::protocol::reply::Replying;
use crate::protocol::request::{Header, header_bytes, kind};
use crate::socket::Arrived;
use crate::watch::Watchfulness;
use crate::work::{Job, LARGE_BYTES, STREAMED_BYTES};

/// What is received at once. More than the most that is awaited as a whole: a header and a payload below [`LARGE_BYTES`].
const RECEIVED_BYTES: usize = 256 << 10;

/// Replies are sent when they are so many, at the latest.
const REPLIES_BYTES: usize = 256 << 10;

/// What a thread works with. Untouched memory costs nothing, and it goes with the thread.
pub(crate) struct Workspace {
    received: Received,
    replies: Replies,
    watchfulness: Watchfulness,
}

impl Workspace {
    pub(crate) fn new() -> Self {
        Self {
            received: Received::new(RECEIVED_BYTES),
            replies: Replies {
                memory: vec![0; REPLIES_BYTES].into(),
                length: 0,
            },
            watchfulness: Watchfulness::default(),
        }
    }
}

/// What was read and not worked on when the lead was given away.
#[derive(Default)]
pub(crate) struct Leftover {
    received: Vec<u8>,
    incoming: Option<Incoming>,
    after_large: bool,
}

impl From<Vec<u8>> for Leftover {
    fn from(received: Vec<u8>) -> Self {
        assert!(received.len() <= RECEIVED_BYTES);
        Self {
            received,
            ..Self::default()
        }
    }
}

/// Replies of the lead itself, gathered.
struct Replies {
    memory: Box<[u8]>,
    length: usize,
}

impl Replies {
    fn has_room(&self, bytes: usize) -> bool {
        self.memory.len() - self.length >= bytes
    }

    fn put(&mut self, bytes: &[u8]) {
        self.memory[self.length..][..bytes.len()].copy_from_slice(bytes);
        self.length += bytes.len();
    }
}

/// How the working on what was received ended.
enum Stop {
    /// More has to come.
    Hungry,
    Pause(Pause),
    /// The client has ended, or does not speak the protocol.
    End,
}

struct Leading<'a> {
    connection: &'a Arc<Connection>,
    received: &'a mut Received,
    replies: &'a mut Replies,
    watchfulness: &'a mut Watchfulness,
    incoming: Option<Incoming>,
    later: Vec<Job>,
    /// No further request can be taken on, as far as was seen.
    full: bool,
    /// The last request had a large payload: the next header is received alone, as its payload may be large too.
    after_large: bool,
}

impl Connection {
    /// Leads, which the caller does, until the lead is given away. Returns what is to be done then.
    pub(crate) fn lead(self: &Arc<Self>, work: &mut Workspace, leftover: Leftover) -> Vec<Job> {
        let mut leading = Leading {
            connection: self,
            received: &mut work.received,
            replies: &mut work.replies,
            watchfulness: &mut work.watchfulness,
            incoming: None,
            later: Vec::new(),
            full: false,
            after_large: false,
        };
        leading.take(leftover);
        leading.run();
        leading.later
    }
}

impl Leading<'_> {
    fn take(&mut self, leftover: Leftover) {
        self.received.put(&leftover.received);
        self.incoming = leftover.incoming;
        self.after_large = leftover.after_large;
        self.full = self.connection.is_full();
    }

    fn leave(&mut self) -> Leftover {
        Leftover {
            received: self.received.drain(),
            incoming: self.incoming.take(),
            after_large: self.after_large,
        }
    }

    fn run(&mut self) {
        let mut has_heard = false;
        loop {
            let stop = self.work_off();
            self.send_replies();
            let next = match stop {
                // Others wait to be heard if no thread is there for them.
                Stop::Hungry if has_heard && self.connection.server.is_short() => Next::Watch(self.leave()),
                Stop::Hungry if self.later.is_empty() => match self.receive() {
                    Arrived::Bytes(_) => {
                        has_heard = true;
                        continue;
                    }
                    Arrived::Nothing => Next::Watch(self.leave()),
                    Arrived::End => Next::End,
                },
                Stop::Hungry => Next::Watch(self.leave()),
                Stop::Pause(pause) => Next::Pause(self.leave(), pause),
                Stop::End => Next::End,
            };
            if matches!(next, Next::End) {
                self.received.drain();
            }
            match self.connection.put_lead(next) {
                Some(leftover) => self.take(leftover),
                None => return,
            }
        }
    }

    /// Receives what there is, or waits for it.
    fn receive(&mut self) -> Arrived {
        let (socket, server) = (&self.connection.socket, &self.connection.server);
        let (lookouts, waits) = (&server.lookouts, !server.is_short());
        let header = header_bytes(self.connection.headers);
        if let Some(incoming) = &mut self.incoming
            && let Incomings::Written { piece, .. } = &mut incoming.then
            && let Some((piece, filled)) = piece
        {
            let rest = piece.len() - *filled;
            // What follows the payload is the next header.
            let next = if incoming.left == rest { header } else { 0 };
            let (payload, next) = (&mut piece[*filled..], self.received.room(next));
            let arrived = self.watchfulness.wait(lookouts, |may_wait| {
                socket.receive_both(payload, next, may_wait && waits)
            });
            if let Arrived::Bytes(bytes) = arrived {
                let payload = bytes.min(rest);
                *filled += payload;
                incoming.left -= payload;
                self.received.filled(bytes - payload);
            }
            return arrived;
        }
        // A header that is known says what to wait for, and what is passed over goes nowhere: both take as much as comes.
        let have = self.received.bytes().len();
        let alone = self.after_large && self.incoming.is_none() && have < header;
        let most = if alone { header - have } else { RECEIVED_BYTES };
        let room = self.received.room(most);
        let arrived = self
            .watchfulness
            .wait(lookouts, |may_wait| socket.receive(room, may_wait && waits));
        if let Arrived::Bytes(bytes) = arrived {
            self.received.filled(bytes);
        }
        arrived
    }

    /// Works on what was received, as far as it goes.
    fn work_off(&mut self) -> Stop {
        loop {
            if self.incoming.is_some()
                && let Some(stop) = self.work_off_payload()
            {
                return stop;
            }
            if self.is_full() {
                return Stop::Pause(Pause::Load);
            }
            let headers = self.connection.headers;
            let header = match Header::parse(self.received.bytes(), headers) {
                Ok(Some(header)) => header,
                Ok(None) => return Stop::Hungry,
                Err(_) => return Stop::End,
            };
            let Ok(payload) = header.payload_bytes(headers) else {
                return Stop::End;
            };
            let large = payload >= LARGE_BYTES;
            let whole = header_bytes(headers) + if large { 0 } else { payload };
            if self.received.bytes().len() < whole {
                return Stop::Hungry;
            }
            self.after_large = large;
            if header.kind == kind::DISCONNECT {
                return Stop::End;
            }
            let streamed = header.kind == kind::READ && header.length > STREAMED_BYTES;
            if streamed && self.connection.is_streaming() {
                return Stop::Pause(Pause::Streaming);
            }
            self.received.take(header_bytes(headers));
            if large {
                self.begin_payload(&header, payload);
                continue;
            }
            if let Err(fault) = self.answer(&header, payload) {
                self.put_fault(replying(&header, headers), &fault);
            }
        }
    }

    /// Tells whether no further request is to be taken on; that is looked up only after it was so.
    fn is_full(&mut self) -> bool {
        self.full = self.full && self.connection.is_full();
        self.full
    }

    fn put(&mut self, bytes: &[u8]) {
        self.make_room(bytes.len());
        self.replies.put(bytes);
    }

    fn put_fault(&mut self, replying: Replying, fault: &Fault) {
        self.put(&replying.fault(fault));
    }

    fn make_room(&mut self, bytes: usize) {
        if !self.replies.has_room(bytes) {
            self.send_replies();
        }
    }

    fn send_replies(&mut self) {
        if self.replies.length > 0 {
            let replies = &self.replies.memory[..self.replies.length];
            // They may have joined a queue that the client does not take.
            self.full |= !self.connection.send_bytes(replies);
            self.replies.length = 0;
        }
    }
}

fn replying(header: &Header, headers: Headers) -> Replying {
    Replying {
        headers,
        cookie: header.cookie,
        offset: header.offset,
    }
}
