//! Requests that may wait for a disk, done by a thread that holds nothing up by waiting.

use std::ops::{ControlFlow, Range};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::buffer::{PIECE_BYTES, Piece, first_piece, piece_memory};
use crate::connection::Connection;
use crate::error::Fault;
use crate::export::{Extent, Zeroing};
use crate::lead::{Leftover, is_zero};
use crate::output::Reply;
use crate::protocol::Headers;
use crate::protocol::reply::Replying;

/// From here on payloads and reads have memory of their own.
pub(crate) const LARGE_BYTES: usize = 64 << 10;

/// Longer reads are sent while they are read, and so need the socket for themselves; none is sent as one chunk.
pub(crate) const STREAMED_BYTES: u64 = 4 << 20;

/// Holes in what was read are looked for in steps of this size: many small chunks cost the client more than zeroes do.
const LOOKED_AT_BYTES: usize = 32 << 10;

/// A hole that the export tells of and that is shorter than this is sent as zeroes.
const SHORTEST_HOLE_BYTES: usize = 4096;

/// A block status reply has so many extents, of all contexts together: 256 KiB at most.
const MAX_EXTENTS: usize = 16 << 10;

/// A request that may wait.
pub(crate) struct Job {
    pub(crate) replying: Replying,
    /// The memory that it holds, or is going to hold.
    pub(crate) held: usize,
    pub(crate) task: Task,
}

/// What is to be done. Ranges are not empty, and were checked.
pub(crate) enum Task {
    Read {
        length: u64,
        /// In one chunk.
        whole: bool,
    },
    Write {
        bytes: Vec<u8>,
        fua: bool,
    },
    WritePiece {
        whole: Arc<Whole>,
        piece: Piece,
        offset: u64,
    },
    Flush,
    Trim {
        range: Range<u64>,
        fua: bool,
    },
    WriteZeroes {
        range: Range<u64>,
        fua: bool,
        how: Zeroing,
    },
    Cache {
        range: Range<u64>,
    },
    BlockStatus {
        range: Range<u64>,
        /// Which of the connection's contexts.
        contexts: Vec<usize>,
        one: bool,
    },
}

/// A write of which pieces are written at the same time. Who ends it last answers.
pub(crate) struct Whole {
    pub(crate) replying: Replying,
    pub(crate) fua: bool,
    /// How many have begun and not ended, the receiving being one of them; and what failed first.
    open: Mutex<(usize, Option<Fault>)>,
}

impl Whole {
    pub(crate) fn new(replying: Replying, fua: bool) -> Self {
        Self {
            replying,
            fua,
            open: Mutex::new((1, None)),
        }
    }

    pub(crate) fn begin(&self) {
        self.open.lock().0 += 1;
    }

    pub(crate) fn fail(&self, fault: Fault) {
        self.open.lock().1.get_or_insert(fault);
    }

    pub(crate) fn has_failed(&self) -> bool {
        self.open.lock().1.is_some()
    }

    /// Returns the result of all if this was the last to end.
    pub(crate) fn end(&self) -> Option<Result<(), Fault>> {
        let mut open = self.open.lock();
        open.0 -= 1;
        (open.0 == 0).then(|| open.1.take().map_or(Ok(()), Err))
    }
}

impl Connection {
    /// Does a job, for which [`Shared::begin_job`](crate::server::Shared::begin_job) was asked, and sends its reply or leaves that
    /// to the thread that sends. Returns the lead if nobody had it by then.
    ///
    /// It is taken before a small reply is sent: that lets a client with one request in flight send the next one, which would
    /// wake another thread if nobody led.
    pub(crate) fn run(self: &Arc<Self>, job: Job) -> Option<Leftover> {
        let place = self.server.place(self.id);
        let Job { replying, held, task } = job;
        let streamed = matches!(task, Task::Read { length, .. } if length > STREAMED_BYTES);
        let mut lead = None;
        if let (true, Task::Read { length, .. }) = (streamed, &task) {
            // It waits for the client, not for a disk: that must not take another job's place.
            drop(place);
            self.stream(replying, *length);
            self.end_streaming();
        } else {
            let reply = self.reply(replying, task);
            drop(place);
            if let Some(reply) = reply {
                if reply.memory() < LARGE_BYTES {
                    lead = self.take_free_lead();
                }
                self.send(reply);
            }
        }
        self.end_waiting(held);
        lead.or_else(|| self.take_lead_back())
    }

    /// Does a task; returns the reply, unless another piece's job has it.
    fn reply(&self, replying: Replying, task: Task) -> Option<Reply> {
        let done = match task {
            Task::Read { length, whole } => self.read(replying, length, whole),
            Task::BlockStatus { range, contexts, one } => self.block_status(replying, &range, &contexts, one),
            Task::WritePiece { whole, piece, offset } => {
                if let Err(fault) = self.export.write(&piece, offset) {
                    whole.fail(fault);
                }
                let ended = whole.end()?;
                self.durable(ended, whole.fua).map(|()| success(replying))
            }
            Task::Write { bytes, fua } => {
                let written = self.export.write(&bytes, replying.offset);
                self.durable(written, fua).map(|()| success(replying))
            }
            Task::Flush => self.export.flush().map(|()| success(replying)),
            Task::Trim { range, fua } => {
                let trimmed = self.export.trim(range);
                self.durable(trimmed, fua).map(|()| success(replying))
            }
            Task::WriteZeroes { range, fua, how } => {
                let written = self.export.write_zeroes(range, how);
                self.durable(written, fua).map(|()| success(replying))
            }
            Task::Cache { range } => self.export.cache(range).map(|()| success(replying)),
        };
        Some(done.unwrap_or_else(|fault| replying.fault(&fault).into()))
    }

    /// Makes durable what `done` did, if that is asked for.
    fn durable(&self, done: Result<(), Fault>, fua: bool) -> Result<(), Fault> {
        match fua {
            true => done.and_then(|()| self.export.flush()),
            false => done,
        }
    }

    fn read(&self, replying: Replying, length: u64, whole: bool) -> Result<Reply, Fault> {
        if length < LARGE_BYTES as u64 {
            return self.read_small(replying, length as usize, whole);
        }
        let in_one = whole || self.headers == Headers::Simple;
        let mut reply = Reply::default();
        if in_one {
            reply.put_head(replying.data(replying.offset, length as u32, true));
        }
        for (offset, bytes, last) in pieces(replying.offset, length) {
            let mut piece = self.server.pieces.get(offset, bytes);
            if in_one {
                self.export.read(&mut piece, offset)?;
                let number = reply.add_piece(piece);
                reply.put_data(number, 0..bytes);
            } else {
                self.read_chunks(replying, piece, offset, last, &mut reply)?;
            }
        }
        Ok(reply)
    }

    fn read_small(&self, replying: Replying, length: usize, whole: bool) -> Result<Reply, Fault> {
        let offset = replying.offset;
        let head = replying.data(offset, length as u32, true);
        let mut bytes = vec![0; head.len() + length];
        bytes[..head.len()].copy_from_slice(&head);
        let into = &mut bytes[head.len()..];
        self.export.read(into, offset)?;
        if self.headers >= Headers::Structured && !whole && is_zero(into) {
            let mut reply = Reply::default();
            reply.put_head(replying.hole(offset, length as u32, true));
            return Ok(reply);
        }
        Ok(bytes.into())
    }

    /// Reads a piece and puts the chunks that it makes.
    fn read_chunks(
        &self,
        replying: Replying,
        mut piece: Piece,
        offset: u64,
        last: bool,
        reply: &mut Reply,
    ) -> Result<(), Fault> {
        let mut holes = Vec::new();
        self.export
            .read_sparse(&mut piece, offset, &mut |hole| holes.push(hole))?;
        let runs = runs(&mut piece, &holes);
        // Of what is all holes, nothing is kept.
        let has_data = runs.iter().any(|(_, is_hole)| !is_hole);
        let number = if has_data { reply.add_piece(piece) } else { 0 };
        let count = runs.len();
        for (at, (range, is_hole)) in runs.into_iter().enumerate() {
            let (begin, length) = (offset + range.start as u64, range.len() as u32);
            let last = last && at + 1 == count;
            if is_hole {
                reply.put_head(replying.hole(begin, length, last));
            } else {
                reply.put_head(replying.data(begin, length, last));
                reply.put_data(number, range);
            }
        }
        Ok(())
    }

    /// Reads and sends piece by piece, so that a large read holds little memory.
    fn stream(&self, replying: Replying, length: u64) {
        if !self.wait_to_send() {
            return;
        }
        let sent = match self.headers {
            Headers::Simple => self.stream_simple(replying, length),
            Headers::Structured | Headers::Extended => self.stream_chunks(replying, length),
        };
        self.send_queued(sent);
    }

    fn stream_chunks(&self, replying: Replying, length: u64) -> bool {
        for (offset, bytes, last) in pieces(replying.offset, length) {
            let piece = self.server.pieces.get(offset, bytes);
            let mut reply = Reply::default();
            if let Err(fault) = self.read_chunks(replying, piece, offset, last, &mut reply) {
                return self.send_now(&replying.fault(&fault).into());
            }
            // Between chunks there is room for other replies.
            if !self.send_now(&reply) || !self.send_waiting() {
                return false;
            }
        }
        true
    }

    fn stream_simple(&self, replying: Replying, length: u64) -> bool {
        for (offset, bytes, _) in pieces(replying.offset, length) {
            let mut piece = self.server.pieces.get(offset, bytes);
            let is_first = offset == replying.offset;
            if let Err(fault) = self.export.read(&mut piece, offset) {
                // A simple reply cannot take back that all went well: then the connection ends.
                return is_first && self.send_now(&replying.fault(&fault).into());
            }
            let mut reply = Reply::default();
            if is_first {
                reply.put_head(replying.success());
            }
            let number = reply.add_piece(piece);
            reply.put_data(number, 0..bytes);
            if !self.send_now(&reply) {
                return false;
            }
        }
        true
    }

    fn block_status(
        &self,
        replying: Replying,
        range: &Range<u64>,
        contexts: &[usize],
        one: bool,
    ) -> Result<Reply, Fault> {
        let most = if one {
            1
        } else {
            (MAX_EXTENTS / contexts.len()).max(1)
        };
        let mut reply = Reply::default();
        for (at, number) in contexts.iter().enumerate() {
            let context = &self.contexts[*number];
            let extents = self.extents(&context.name, range, most)?;
            let last = at + 1 == contexts.len();
            reply.put_bytes(replying.extents(context.id, &extents, last));
        }
        Ok(reply)
    }

    /// Returns at most `most` extents from the begin of a range, at least one; neighbours differ.
    fn extents(&self, context: &str, range: &Range<u64>, most: usize) -> Result<Vec<Extent>, Fault> {
        let mut extents: Vec<Extent> = Vec::new();
        let mut left = range.end - range.start;
        self.export.extents(context, range.clone(), &mut |extent| {
            let length = extent.length.min(left);
            let next = Extent { length, ..extent };
            let count = extents.len();
            match extents.last_mut() {
                _ if length == 0 => (),
                Some(last) if last.flags == next.flags => last.length += length,
                _ if count == most => return ControlFlow::Break(()),
                _ => extents.push(next),
            }
            left -= length;
            match left {
                0 => ControlFlow::Break(()),
                _ => ControlFlow::Continue(()),
            }
        })?;
        if extents.is_empty() {
            let length = left;
            extents.push(Extent { length, flags: 0 });
        }
        Ok(extents)
    }
}

fn success(replying: Replying) -> Reply {
    let mut reply = Reply::default();
    reply.put_head(replying.success());
    reply
}

/// Returns the pieces of a range: where each begins, its length, whether it is the last.
fn pieces(offset: u64, length: u64) -> impl Iterator<Item = (u64, usize, bool)> {
    let end = offset + length;
    let mut next = offset;
    std::iter::from_fn(move || {
        let begin = next;
        let length = first_piece(begin, end - begin);
        next += length as u64;
        (length > 0).then_some((begin, length, next == end))
    })
}

/// Returns how much memory a read takes.
pub(crate) fn read_memory(offset: u64, length: u64) -> usize {
    pieces(offset, length)
        .map(|(_, bytes, _)| piece_memory(bytes))
        .sum()
}

/// Cuts a piece into runs of data and holes, in order: those the export told of, and what was read and is zero. Holes that
/// are too short to be worth a chunk become zeroes.
fn runs(piece: &mut [u8], holes: &[Range<usize>]) -> Vec<(Range<usize>, bool)> {
    let mut runs: Vec<(Range<usize>, bool)> = Vec::new();
    let mut put = |range: Range<usize>, is_hole: bool| match runs.last_mut() {
        Some((last, kind)) if *kind == is_hole => last.end = range.end,
        _ => runs.push((range, is_hole)),
    };
    let mut begin = 0;
    for hole in holes {
        let hole = hole.start.max(begin)..hole.end.min(piece.len());
        if hole.is_empty() {
            continue;
        }
        if hole.len() < SHORTEST_HOLE_BYTES {
            piece[hole].fill(0);
            continue;
        }
        put_read(&piece[..hole.start], begin, &mut put);
        begin = hole.end;
        put(hole, true);
    }
    put_read(piece, begin, &mut put);
    runs
}

/// Puts what was read, from `begin` on to the end of `bytes`, as data and zeroes.
fn put_read(bytes: &[u8], begin: usize, put: &mut impl FnMut(Range<usize>, bool)) {
    let mut at = begin;
    while at < bytes.len() {
        let end = bytes.len().min(at + LOOKED_AT_BYTES);
        put(at..end, is_zero(&bytes[at..end]));
        at = end;
    }
}

/// What the whole of a read may be asked for as one chunk.
const _: () = assert!(STREAMED_BYTES >= 65_536 && STREAMED_BYTES.is_multiple_of(PIECE_BYTES as u64));
