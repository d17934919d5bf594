//! Sending replies: one thread of a connection at a time, and nobody waits for it.
//!
//! Who has a reply while another thread sends leaves it in the connection's queue and goes on; the one that sends takes
//! it along. So a client that does not take its replies holds one thread in sending, and what the queue may hold.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::ops::Range;

use crate::buffer::Piece;
use crate::connection::Connection;
use crate::protocol::reply::Head;

/// So many replies that wait are sent by one call.
const GATHERED_REPLIES: usize = 64;

/// A reply, or a part of one, ready to be sent.
#[derive(Default)]
pub(crate) struct Reply {
    pieces: Vec<Piece>,
    parts: Vec<Part>,
}

enum Part {
    Head(Head),
    Bytes(Vec<u8>),
    /// A range of one of the pieces.
    Data(usize, Range<usize>),
}

impl Reply {
    pub(crate) fn put_head(&mut self, head: Head) {
        self.parts.push(Part::Head(head));
    }

    pub(crate) fn put_bytes(&mut self, bytes: Vec<u8>) {
        self.parts.push(Part::Bytes(bytes));
    }

    /// Adds memory for [`Reply::put_data`]; returns its number.
    pub(crate) fn add_piece(&mut self, piece: Piece) -> usize {
        self.pieces.push(piece);
        self.pieces.len() - 1
    }

    /// Puts a range of that piece.
    pub(crate) fn put_data(&mut self, piece: usize, range: Range<usize>) {
        self.parts.push(Part::Data(piece, range));
    }

    /// Returns the memory that it holds while it waits: also that of pieces of which it sends little.
    pub(crate) fn memory(&self) -> usize {
        let pieces: usize = self.pieces.iter().map(Piece::memory).sum();
        let bytes = |part: &Part| match part {
            Part::Bytes(bytes) => bytes.capacity(),
            Part::Head(_) | Part::Data(..) => 0,
        };
        let parts = self.parts.capacity() * size_of::<Part>();
        size_of::<Self>() + parts + self.parts.iter().map(bytes).sum::<usize>() + pieces
    }

    fn slices(&self) -> impl Iterator<Item = IoSlice<'_>> {
        self.parts.iter().map(|part| match part {
            Part::Head(head) => IoSlice::new(head),
            Part::Bytes(bytes) => IoSlice::new(bytes),
            Part::Data(piece, range) => IoSlice::new(&self.pieces[*piece][range.clone()]),
        })
    }
}

impl From<Vec<u8>> for Reply {
    fn from(bytes: Vec<u8>) -> Self {
        let mut reply = Self::default();
        reply.put_bytes(bytes);
        reply
    }
}

/// The sending side of a connection.
#[derive(Default)]
pub(crate) struct Output {
    /// A thread sends, or reads what it is going to send.
    sending: bool,
    queue: VecDeque<Reply>,
    /// Nothing can be sent any more.
    broken: bool,
}

impl Output {
    /// Tells whether nothing is left to send.
    pub(crate) fn is_idle(&self) -> bool {
        !self.sending && self.queue.is_empty()
    }

    /// Takes some of what waits; nothing if nothing does.
    fn gather(&mut self) -> Vec<Reply> {
        let count = self.queue.len().min(GATHERED_REPLIES);
        self.queue.drain(..count).collect()
    }
}

impl Connection {
    /// Sends `bytes`, which are whole replies, at once, or leaves a copy of them to the thread that sends. Returns
    /// whether they were sent.
    pub(crate) fn send_bytes(&self, bytes: &[u8]) -> bool {
        {
            let mut state = self.state.lock();
            if state.output.broken {
                return false;
            }
            if state.output.sending {
                let reply = Reply::from(bytes.to_vec());
                state.bytes += reply.memory();
                state.output.queue.push_back(reply);
                return false;
            }
            state.output.sending = true;
        }
        let sent = self.socket.send_bytes(bytes).is_ok();
        self.send_queued(sent);
        sent
    }

    /// Sends a reply at once, or leaves it to the thread that sends.
    pub(crate) fn send(&self, reply: Reply) {
        {
            let mut state = self.state.lock();
            if state.output.broken {
                return;
            }
            if state.output.sending {
                state.bytes += reply.memory();
                state.output.queue.push_back(reply);
                return;
            }
            state.output.sending = true;
        }
        let sent = self.send_now(&reply);
        drop(reply);
        self.send_queued(sent);
    }

    /// Waits until nobody sends; then this thread does, until [`Connection::send_queued`]. Returns whether anything can be sent.
    pub(crate) fn wait_to_send(&self) -> bool {
        let mut state = self.state.lock();
        while state.output.sending && !state.output.broken {
            self.sent.wait(&mut state);
        }
        let possible = !state.output.broken;
        state.output.sending |= possible;
        possible
    }

    /// Sends a reply, as the thread that sends.
    pub(crate) fn send_now(&self, reply: &Reply) -> bool {
        let mut slices: Vec<_> = reply.slices().collect();
        self.socket.send(&mut slices).is_ok()
    }

    /// Sends what waits, as the thread that sends. Returns whether anything can still be sent.
    pub(crate) fn send_waiting(&self) -> bool {
        loop {
            let replies = self.state.lock().output.gather();
            if replies.is_empty() {
                return true;
            }
            if !self.send_gathered(replies) {
                return false;
            }
        }
    }

    /// Sends what others left meanwhile, and then is not the thread that sends any more. `sent`: all went well so far.
    pub(crate) fn send_queued(&self, mut sent: bool) {
        loop {
            let replies = {
                let mut state = self.state.lock();
                if !sent {
                    let left: usize = state.output.queue.drain(..).map(|reply| reply.memory()).sum();
                    state.bytes -= left;
                    state.output.broken = true;
                    // Whoever waits for the client's requests finds out.
                    self.socket.end();
                }
                let replies = state.output.gather();
                if replies.is_empty() {
                    state.output.sending = false;
                    self.sent.notify_all();
                    return;
                }
                replies
            };
            sent = self.send_gathered(replies);
        }
    }

    fn send_gathered(&self, replies: Vec<Reply>) -> bool {
        let mut slices: Vec<_> = replies.iter().flat_map(Reply::slices).collect();
        let sent = self.socket.send(&mut slices).is_ok();
        let bytes: usize = replies.iter().map(Reply::memory).sum();
        drop(slices);
        drop(replies);
        self.state.lock().bytes -= bytes;
        sent
    }
}
