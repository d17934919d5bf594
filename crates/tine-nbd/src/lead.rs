//! Leading a connection: reading its requests, and doing at once what needs no waiting.
//!
//! Requests are received as many as there are, done one after the other, and answered by one send. What has to wait becomes a
//! [`Job`], for when the answers are sent and the lead is free. A large payload is received straight into a piece of memory
//! of its own.

use std::sync::Arc;

use crate::buffer::{Piece, Received, first_piece};
use crate::connection::{Connection, Next, Pause};
use crate::error::{Errno, Fault};
use crate::limits::MAX_REQUEST_BYTES;
use crate::protocol::Headers;
use crate::protocol::reply::Replying;
use crate::protocol::request::{
    Command, Header, StatusFilter, check_range, flag, header_bytes, invalid, kind,
};
use crate::socket::Arrived;
use crate::watch::Watchfulness;
use crate::work::{Job, LARGE_BYTES, STREAMED_BYTES, Task, Whole, read_memory};

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

/// A large payload that is being received.
struct Incoming {
    replying: Replying,
    /// Where what comes next belongs on the disk.
    offset: u64,
    /// What is still to come.
    left: usize,
    then: Incomings,
}

/// What becomes of a payload.
enum Incomings {
    /// It is written: pieces of one request.
    Written {
        whole: Arc<Whole>,
        /// The piece that is being filled, and how far it is.
        piece: Option<(Piece, usize)>,
    },
    /// It is passed over: the request cannot be done.
    PassedOver(Fault),
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

    /// Does a request whose payload, of `payload` bytes, is next in what was received; or sees to it that it is done. In
    /// both cases the payload is taken.
    fn answer(&mut self, header: &Header, payload: usize) -> Result<(), Fault> {
        self.received.take(payload);
        let connection = self.connection;
        let headers = connection.headers;
        let replying = replying(header, headers);
        if connection.refuses_requests() {
            return Err(Fault::new(Errno::ShuttingDown, "the server is ending"));
        }
        let (offset, length) = (header.offset, header.length);
        let range = offset..offset.saturating_add(length);
        let size = connection.export.size();
        let command = header.command(headers)?;
        match command {
            Command::Read { whole } => {
                check_read(header, size)?;
                self.read(replying, length, whole)
            }
            Command::Write { fua } => {
                self.check_write(header, size, Errno::NoSpace)?;
                self.write(replying, payload, fua)
            }
            Command::Flush => self.later(0, replying, Task::Flush),
            Command::Trim { fua } => {
                self.check_write(header, size, Errno::Invalid)?;
                self.unless_empty(replying, length, Task::Trim { range, fua })
            }
            Command::WriteZeroes { fua, how } => {
                self.check_write(header, size, Errno::NoSpace)?;
                self.unless_empty(replying, length, Task::WriteZeroes { range, fua, how })
            }
            Command::Cache => {
                check_range(offset, length, size, Errno::Invalid)?;
                self.unless_empty(replying, length, Task::Cache { range })
            }
            Command::BlockStatus { one, filtered } => {
                let filter = match filtered {
                    true => Some(StatusFilter::parse(self.received.last(payload))?),
                    false => None,
                };
                self.block_status(replying, length, one, filter, size)
            }
            Command::Disconnect => Ok(()),
        }
    }

    fn check_write(&self, header: &Header, size: u64, past_end: Errno) -> Result<(), Fault> {
        if self.connection.features.read_only {
            return Err(Fault::new(Errno::NotPermitted, "the export is read-only"));
        }
        check_range(header.offset, header.length, size, past_end)
    }

    fn read(&mut self, replying: Replying, length: u64, whole: bool) -> Result<(), Fault> {
        let structured = self.connection.headers >= Headers::Structured;
        if length == 0 {
            let head = if structured {
                replying.end()
            } else {
                replying.success()
            };
            self.put(&head);
            return Ok(());
        }
        let task = Task::Read { length, whole };
        if length >= LARGE_BYTES as u64 {
            if length > STREAMED_BYTES {
                self.connection.begin_streaming();
                return self.later(0, replying, task);
            }
            return self.later(read_memory(replying.offset, length), replying, task);
        }
        let (length, offset) = (length as usize, replying.offset);
        let head = replying.data(offset, length as u32, true);
        self.make_room(head.len() + length);
        let start = self.replies.length + head.len();
        let into = &mut self.replies.memory[start..][..length];
        if !self.connection.export.read_at_once(into, offset)? {
            return self.later(length, replying, task);
        }
        if structured && !whole && is_zero(into) {
            self.put(&replying.hole(offset, length as u32, true));
            return Ok(());
        }
        self.replies.put(&head);
        self.replies.length += length;
        Ok(())
    }

    fn write(&mut self, replying: Replying, payload: usize, fua: bool) -> Result<(), Fault> {
        if payload == 0 {
            self.put(&replying.success());
            return Ok(());
        }
        let bytes = self.received.last(payload);
        if self.connection.export.write_at_once(bytes, replying.offset)? {
            return self.written(replying, fua);
        }
        let bytes = bytes.to_vec();
        self.later(payload, replying, Task::Write { bytes, fua })
    }

    /// Goes on with a request that was written.
    fn written(&mut self, replying: Replying, fua: bool) -> Result<(), Fault> {
        if fua {
            return self.later(0, replying, Task::Flush);
        }
        self.put(&replying.success());
        Ok(())
    }

    /// Does `task` later, unless it is about nothing.
    fn unless_empty(&mut self, replying: Replying, length: u64, task: Task) -> Result<(), Fault> {
        if length == 0 {
            self.put(&replying.success());
            return Ok(());
        }
        self.later(0, replying, task)
    }

    fn block_status(
        &mut self,
        replying: Replying,
        length: u64,
        one: bool,
        filter: Option<StatusFilter>,
        size: u64,
    ) -> Result<(), Fault> {
        let connection = self.connection;
        let length = filter.as_ref().map_or(length, |filter| filter.length);
        let mut contexts: Vec<usize> = (0..connection.contexts.len()).collect();
        if let Some(filter) = filter {
            let number = |id: &u32| connection.contexts.iter().position(|context| context.id == *id);
            let chosen: Option<Vec<_>> = filter.ids.iter().map(number).collect();
            contexts = chosen.ok_or_else(|| invalid("a context was not selected"))?;
        }
        if contexts.is_empty() {
            return Err(invalid("no context was selected"));
        }
        if length == 0 {
            return Err(invalid("block status of nothing"));
        }
        check_range(replying.offset, length, size, Errno::Invalid)?;
        let range = replying.offset..replying.offset + length;
        self.later(0, replying, Task::BlockStatus { range, contexts, one })
    }

    /// Leaves a task until the lead is free; it holds so much memory then.
    fn later(&mut self, held: usize, replying: Replying, task: Task) -> Result<(), Fault> {
        self.full = self.connection.begin_waiting(held);
        self.later.push(Job { replying, held, task });
        Ok(())
    }

    /// Begins to receive a large payload, of which what was received already is the begin.
    fn begin_payload(&mut self, header: &Header, payload: usize) {
        let connection = self.connection;
        let replying = replying(header, connection.headers);
        let command = match connection.refuses_requests() {
            true => Err(Fault::new(Errno::ShuttingDown, "the server is ending")),
            false => header.command(connection.headers),
        };
        let size = connection.export.size();
        let checked = command.and_then(|command| match command {
            Command::Write { fua } => {
                self.check_write(header, size, Errno::NoSpace)?;
                Ok(fua)
            }
            _ => Err(invalid("no command but a write has a payload of such a length")),
        });
        self.incoming = Some(Incoming {
            replying,
            offset: header.offset,
            left: payload,
            then: match checked {
                Ok(fua) => Incomings::Written {
                    whole: Arc::new(Whole::new(replying, fua)),
                    piece: None,
                },
                Err(fault) => Incomings::PassedOver(fault),
            },
        });
    }

    /// Works on a large payload. Returns why it cannot go on; if it can, the payload is done.
    fn work_off_payload(&mut self) -> Option<Stop> {
        while let Some(mut incoming) = self.incoming.take() {
            if let Incomings::PassedOver(fault) = &incoming.then {
                let passed = incoming.left.min(self.received.bytes().len());
                self.received.take(passed);
                incoming.left -= passed;
                if incoming.left > 0 {
                    self.incoming = Some(incoming);
                    return Some(Stop::Hungry);
                }
                self.put_fault(incoming.replying, fault);
                return None;
            }
            let Incomings::Written { whole, piece } = &mut incoming.then else {
                return None;
            };
            let Some((mut memory, mut filled)) = piece.take() else {
                if self.is_full() {
                    self.incoming = Some(incoming);
                    return Some(Stop::Pause(Pause::Load));
                }
                let length = first_piece(incoming.offset, incoming.left as u64);
                let memory = self.connection.server.pieces.get(incoming.offset, length);
                *piece = Some((memory, 0));
                self.incoming = Some(incoming);
                continue;
            };
            let there = self.received.bytes().len().min(memory.len() - filled);
            memory[filled..][..there].copy_from_slice(self.received.take(there));
            filled += there;
            incoming.left -= there;
            if filled < memory.len() {
                *piece = Some((memory, filled));
                self.incoming = Some(incoming);
                return Some(Stop::Hungry);
            }
            let (whole, offset) = (Arc::clone(whole), incoming.offset);
            incoming.offset += memory.len() as u64;
            self.write_piece(&whole, memory, offset);
            if incoming.left == 0 {
                self.end_payload(&whole);
                return None;
            }
            self.incoming = Some(incoming);
        }
        None
    }

    fn write_piece(&mut self, whole: &Arc<Whole>, piece: Piece, offset: u64) {
        if whole.has_failed() {
            return;
        }
        match self.connection.export.write_at_once(&piece, offset) {
            Ok(true) => (),
            Ok(false) => {
                whole.begin();
                let (held, replying) = (piece.memory(), whole.replying);
                let task = Task::WritePiece {
                    whole: Arc::clone(whole),
                    piece,
                    offset,
                };
                // Nothing can fail here.
                let _ = self.later(held, replying, task);
            }
            Err(fault) => whole.fail(fault),
        }
    }

    /// Takes note that all of a payload is here.
    fn end_payload(&mut self, whole: &Whole) {
        let done = match whole.end() {
            Some(Ok(())) => self.written(whole.replying, whole.fua),
            Some(Err(fault)) => Err(fault),
            // Whoever writes the last piece answers.
            None => Ok(()),
        };
        if let Err(fault) = done {
            self.put_fault(whole.replying, &fault);
        }
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

fn check_read(header: &Header, size: u64) -> Result<(), Fault> {
    if header.length > MAX_REQUEST_BYTES.into() {
        return Err(invalid(format!(
            "a read has at most {MAX_REQUEST_BYTES} bytes, not {}",
            header.length
        )));
    }
    check_range(header.offset, header.length, size, Errno::Invalid)?;
    if header.flags & flag::DF != 0 && header.length > STREAMED_BYTES {
        return Err(Fault::new(
            Errno::Overflow,
            format!("one chunk has at most {STREAMED_BYTES} bytes"),
        ));
    }
    Ok(())
}

/// Tells whether all of `bytes` is zero; it is found out soon if not.
pub(crate) fn is_zero(bytes: &[u8]) -> bool {
    let (chunks, rest) = bytes.as_chunks::<64>();
    rest.iter().all(|byte| *byte == 0)
        && chunks
            .iter()
            .all(|chunk| chunk.iter().fold(0, |all, byte| all | byte) == 0)
}
