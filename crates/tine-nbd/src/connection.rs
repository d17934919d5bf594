//! A connection in transmission, and who works on it.
//!
//! One thread at a time has the **lead**: it reads the socket and does at once what needs no waiting. Before it waits for
//! a disk it lets the lead go; as soon as the client sends more, another thread takes it up. When the wait is over and nobody has, it takes
//! the lead back, answers and reads on: a client with one request in flight is served by one thread, which never changes.
//!
//! ```text
//!            takes it up                    has to wait, or nothing came for a while
//! epoll ────────────────────> Held ────────────────────────────────────────────────────> Free (epoll watches)
//!                              │  ^── takes it back when it has waited ──────────────────┘
//!                              │  ^── when there is room again ──── Paused (nobody watches: too much waits already)
//!                              └──── the client has ended, or sent garbage ──> Ended
//! ```
//!
//! **Invariant:** a lead that is free is watched by epoll, and one that is paused is taken up by whoever makes the room: each that
//! ends a request or sends a reply looks for it.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use parking_lot::{Condvar, Mutex};

use crate::export::{Export, Features};
use crate::handshake::Opened;
use crate::lead::{Leftover, Workspace};
use crate::output::Output;
use crate::protocol::{Context, Headers};
use crate::server::Shared;
use crate::socket::Stream;
use crate::work::Job;

/// A connection in transmission.
pub(crate) struct Connection {
    pub(crate) id: u64,
    pub(crate) socket: Arc<Stream>,
    pub(crate) export: Arc<dyn Export>,
    pub(crate) features: Features,
    pub(crate) headers: Headers,
    pub(crate) contexts: Vec<Context>,
    pub(crate) server: Arc<Shared>,
    pub(crate) state: Mutex<State>,
    /// Told when the thread that sent has ended doing so.
    pub(crate) sent: Condvar,
}

/// What the threads of a connection share. Held for a few instructions, never while anything waits.
pub(crate) struct State {
    lead: Lead,
    /// Requests that were read and are not done, except what the lead does at once.
    waiting: usize,
    /// What these requests' payloads have, and replies in the queue.
    pub(crate) bytes: usize,
    /// A read that needs the socket for itself is among them.
    streaming: bool,
    pub(crate) output: Output,
}

enum Lead {
    Held,
    Free(Leftover),
    Paused(Leftover, Pause),
    Ended,
}

/// Why no further request is taken on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Pause {
    /// Too many wait, or hold too much.
    Load,
    /// It needs the socket for itself, and another that does is not done.
    Streaming,
}

/// What is to be done with the lead.
pub(crate) enum Next {
    /// Whoever sees first that the client sent something takes it up.
    Watch(Leftover),
    /// It is taken up when there is room.
    Pause(Leftover, Pause),
    /// There is nothing more to read.
    End,
}

impl Connection {
    /// Returns a connection whose lead the caller has.
    pub(crate) fn new(id: u64, socket: Arc<Stream>, opened: Opened, server: Arc<Shared>) -> Self {
        let Opened {
            export,
            features,
            headers,
            contexts,
        } = opened;
        Self {
            id,
            socket,
            export,
            features,
            headers,
            contexts,
            server,
            state: Mutex::new(State {
                lead: Lead::Held,
                waiting: 0,
                bytes: 0,
                streaming: false,
                output: Output::default(),
            }),
            sent: Condvar::new(),
        }
    }

    /// Works for the connection, as the thread that has the lead, until there is nothing to do for this thread.
    pub(crate) fn serve(self: &Arc<Self>, work: &mut Workspace, leftover: Leftover) {
        let mut leftover = leftover;
        loop {
            let jobs = self.lead(work, leftover);
            if jobs.is_empty() {
                self.end_if_over();
                return;
            }
            let mut jobs = jobs.into_iter();
            let first = if self.server.begin_job(self.id) {
                jobs.next()
            } else {
                None
            };
            self.server.share(self, jobs);
            let Some(first) = first else {
                return;
            };
            match self.run(first) {
                Some(left) => leftover = left,
                None => return,
            }
        }
    }

    /// Does a job that another thread has read, and goes on as [`Connection::serve`] if nobody leads then.
    pub(crate) fn serve_job(self: &Arc<Self>, work: &mut Workspace, job: Job) {
        if let Some(leftover) = self.run(job) {
            self.serve(work, leftover);
        }
    }

    /// Takes the lead, after epoll said that the client sent something.
    pub(crate) fn take_lead(&self) -> Option<Leftover> {
        self.state.lock().take_lead(&self.server.limits)
    }

    /// Takes the lead, if nobody has it and there is something that could be done. Otherwise this may have been the last that the connection
    /// needed.
    pub(crate) fn take_lead_back(self: &Arc<Self>) -> Option<Leftover> {
        let taken = self.take_lead_if(|_| true);
        if taken.is_none() {
            self.end_if_over();
        }
        taken
    }

    /// Takes the lead if epoll alone has it.
    pub(crate) fn take_free_lead(&self) -> Option<Leftover> {
        self.take_lead_if(|lead| matches!(lead, Lead::Free(_)))
    }

    fn take_lead_if(&self, is_wanted: impl FnOnce(&Lead) -> bool) -> Option<Leftover> {
        let mut state = self.state.lock();
        // What comes next epoll tells, in its turn: others wait for this thread too.
        let others_wait = matches!(state.lead, Lead::Free(_)) && self.server.is_short();
        if others_wait || !is_wanted(&state.lead) {
            return None;
        }
        let taken = state.take_lead(&self.server.limits)?;
        drop(state);
        // Else the next request would wake another thread.
        self.server.unwatch(self);
        Some(taken)
    }

    /// Gives the lead away. Returns what was left over if it is to be had again at once.
    pub(crate) fn put_lead(self: &Arc<Self>, next: Next) -> Option<Leftover> {
        let mut state = self.state.lock();
        match next {
            Next::Watch(leftover) => {
                state.lead = Lead::Free(leftover);
                drop(state);
                self.server.watch(self);
                None
            }
            Next::Pause(leftover, pause) => {
                state.lead = Lead::Paused(leftover, pause);
                // Room may have been made since this was found necessary.
                state.take_lead(&self.server.limits)
            }
            Next::End => {
                state.lead = Lead::Ended;
                None
            }
        }
    }

    /// Takes note of a request that is going to wait, with what its payload or its reply holds. Returns whether it is the last for now.
    pub(crate) fn begin_waiting(&self, bytes: usize) -> bool {
        let mut state = self.state.lock();
        state.waiting += 1;
        state.bytes += bytes;
        state.is_full(&self.server.limits)
    }

    /// Takes note that such a request is done; its reply was sent, or is in the queue.
    pub(crate) fn end_waiting(&self, bytes: usize) {
        let mut state = self.state.lock();
        state.waiting -= 1;
        state.bytes -= bytes;
    }

    /// Tells whether no further request can be taken on.
    pub(crate) fn is_full(&self) -> bool {
        self.state.lock().is_full(&self.server.limits)
    }

    /// Tells whether a read that needs the socket for itself is under way.
    pub(crate) fn is_streaming(&self) -> bool {
        self.state.lock().streaming
    }

    /// Takes note of such a read. The lead alone begins one, and none while there is one.
    pub(crate) fn begin_streaming(&self) {
        self.state.lock().streaming = true;
    }

    /// Takes note that there is none any more.
    pub(crate) fn end_streaming(&self) {
        self.state.lock().streaming = false;
    }

    /// Tells whether requests are refused, as the server is ending.
    ///
    /// Not where all that comes was sent before it began to end: a client that waits for the next server sends again what was
    /// not answered, but takes a refusal for an error of the disk.
    pub(crate) fn refuses_requests(&self) -> bool {
        self.server.draining.load(Ordering::Acquire) && !self.socket.stops_sender()
    }

    /// Takes on nothing more, whatever its state.
    pub(crate) fn abandon(&self) {
        self.state.lock().lead = Lead::Ended;
    }

    /// Lets the server forget the connection if all is done.
    fn end_if_over(&self) {
        let over = {
            let state = self.state.lock();
            matches!(state.lead, Lead::Ended) && state.waiting == 0 && state.output.is_idle()
        };
        if over {
            self.socket.end();
            self.server.forget(self.id);
        }
    }
}

impl State {
    fn is_full(&self, limits: &crate::limits::Limits) -> bool {
        self.waiting >= limits.requests_waiting || self.bytes >= limits.bytes_waiting
    }

    fn take_lead(&mut self, limits: &crate::limits::Limits) -> Option<Leftover> {
        let possible = match &self.lead {
            Lead::Free(_) => true,
            Lead::Paused(_, Pause::Load) => !self.is_full(limits),
            Lead::Paused(_, Pause::Streaming) => !self.streaming,
            Lead::Held | Lead::Ended => false,
        };
        if !possible {
            return None;
        }
        match std::mem::replace(&mut self.lead, Lead::Held) {
            Lead::Free(leftover) | Lead::Paused(leftover, _) => Some(leftover),
            Lead::Held | Lead::Ended => None,
        }
    }
}
