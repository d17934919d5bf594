//! The server's tables: who is connected, what waits for a thread, and whose turn it is.
//!
//! **Invariant:** jobs that wait for a place get it in turns, one of each connection; none that comes later is begun before. The last
//! places are for connections of which no job is being done.
//!
//! **Invariant:** nobody has all connections: the last ones are for those who have few.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use crate::client::Peer;
use crate::connection::Connection;
use crate::limits::Limits;
use crate::server::Shared;
use crate::socket::{Listener, Stream};
use crate::work::Job;

#[derive(Default)]
pub(crate) struct Tables {
    pub(crate) listeners: HashMap<u64, Arc<Listener>>,
    pub(crate) connections: HashMap<u64, Entry>,
    pub(crate) greetings: VecDeque<u64>,
    /// Those of which jobs wait for a place, each once, in the order of their turns.
    pub(crate) waiting: VecDeque<u64>,
    /// How many jobs are being done.
    pub(crate) running: usize,
    pub(crate) threads: usize,
    /// Threads that wait in epoll, or are about to.
    pub(crate) idle: usize,
    pub(crate) stopping: bool,
}

/// A connection, from its acceptance on.
pub(crate) struct Entry {
    pub(crate) socket: Arc<Stream>,
    /// Whose it is, see [`Peer::origin`].
    pub(crate) origin: Peer,
    /// In transmission.
    pub(crate) connection: Option<Arc<Connection>>,
    /// Those that wait for a place.
    pub(crate) jobs: VecDeque<Job>,
    /// How many of its jobs are being done.
    pub(crate) running: usize,
}

/// What is to be done by any thread.
pub(crate) enum Task {
    Greet(u64),
    Job(Arc<Connection>, Job),
}

/// One connection of so many is kept for those who have fewer than [`FEW_CONNECTIONS`].
const KEPT_CONNECTIONS: usize = 5;

/// As many as programs have that are not about to take them all.
const FEW_CONNECTIONS: usize = 16;

/// One place of so many is kept for connections of which no job is being done.
const KEPT_PLACES: usize = 4;

impl Tables {
    /// Tells whether there may be one more connection, which is `origin`'s.
    pub(crate) fn may_admit(&self, origin: &Peer, limits: &Limits) -> bool {
        let (now, most) = (self.connections.len(), limits.connections);
        let has_few = || {
            let of_origin = self.connections.values().filter(|entry| entry.origin == *origin);
            of_origin.count() < FEW_CONNECTIONS
        };
        now < most - most / KEPT_CONNECTIONS || now < most && has_few()
    }

    /// Takes what is to be done next, as far as there is a place for it.
    pub(crate) fn next_task(&mut self, limits: &Limits) -> Option<Task> {
        if let Some(id) = self.greetings.pop_front() {
            return Some(Task::Greet(id));
        }
        let next = self.waiting.iter().position(|id| self.may_begin(*id, limits))?;
        let id = self.waiting.remove(next)?;
        let entry = self.connections.get_mut(&id)?;
        let connection = Arc::clone(entry.connection.as_ref()?);
        let job = entry.jobs.pop_front()?;
        if !entry.jobs.is_empty() {
            self.waiting.push_back(id);
        }
        self.begin(id);
        Some(Task::Job(connection, job))
    }

    /// Tells whether there is a place for a job of a connection.
    pub(crate) fn may_begin(&self, id: u64, limits: &Limits) -> bool {
        let has_none = self.connections.get(&id).is_some_and(|entry| entry.running == 0);
        let kept = if has_none { 0 } else { limits.threads / KEPT_PLACES };
        self.running < limits.threads - kept
    }

    pub(crate) fn begin(&mut self, id: u64) {
        self.running += 1;
        if let Some(entry) = self.connections.get_mut(&id) {
            entry.running += 1;
        }
    }

    pub(crate) fn remove(&mut self, id: u64) -> Option<Entry> {
        let gone = self.connections.remove(&id)?;
        if !gone.jobs.is_empty() {
            self.waiting.retain(|waiting| *waiting != id);
        }
        Some(gone)
    }
}

/// The place of a job that is being done, of the connection with this number.
pub(crate) struct Place<'a>(&'a Arc<Shared>, u64);

impl<'a> Place<'a> {
    pub(crate) fn new(server: &'a Arc<Shared>, connection: u64) -> Self {
        Self(server, connection)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut tables = self.0.tables.lock();
        tables.running -= 1;
        let mut next = 1;
        if let Some(entry) = tables.connections.get_mut(&self.1) {
            entry.running -= 1;
            // It may have one of the places that are kept, and another connection the one that is free now.
            next += usize::from(entry.running == 0 && !entry.jobs.is_empty());
        }
        if !tables.waiting.is_empty() {
            self.0.engage(tables, next);
        }
    }
}
