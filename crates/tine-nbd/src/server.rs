//! The server: its threads, its listeners, its connections.
//!
//! Threads that have nothing to do wait in one epoll for all: for connections, for clients that send something while nobody
//! leads their connection, for jobs. Whoever takes one of these up sees to it that somebody else waits there.
//!
//! **Invariant:** a connection holds three threads at most beside those of its jobs: one that leads, one that sends, and one whose
//! read is sent while it is read. There may be so many for all, and [`Limits::threads`] more, which is how many jobs run at a time. So
//! clients that do not take their replies hold up nobody else, and however many jobs wait for a disk, every connection is led.
//!
//! **Invariant:** when no thread waits in epoll, and none can be started, those that lead let go after what they have just received. So
//! somebody always comes to wait there.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex, MutexGuard};
use rustix::event::{EventfdFlags, Timespec, epoll, eventfd};
use rustix::fd::OwnedFd;

use crate::buffer::Pieces;
use crate::client::Client;
use crate::connection::Connection;
use crate::export::Exports;
use crate::greeting::{Turns, greet};
use crate::lead::Workspace;
use crate::limits::Limits;
use crate::socket::{Listener, Stream};
use crate::tables::{Entry, Place, Tables, Task};
use crate::watch::Lookouts;
use crate::work::Job;

/// So long a thread waits for something to do before it ends; the last one waits on.
const IDLE: Timespec = Timespec {
    tv_sec: 5,
    tv_nsec: 0,
};

/// So long the thread that leads a connection waits for its client, before it lets epoll do that.
const LEADING: Duration = Duration::from_millis(100);

/// What the operating system refuses, descriptors above all, is tried again after so long.
const SHORTAGE: Duration = Duration::from_millis(50);

/// The stack of a thread: room for an engine's call, untouched memory costs nothing.
const STACK_BYTES: usize = 512 << 10;

/// The eventfd's place in epoll; connections and listeners have theirs from 1 on.
const JOBS: u64 = 0;

/// Tells connections apart, in the whole process.
static NEXT_ID: AtomicU64 = AtomicU64::new(1);

/// A server of exports. It has threads of its own, from the first connection on.
///
/// Dropping it ends all connections, and waits for what their requests are doing.
pub struct Server {
    shared: Arc<Shared>,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Server")
            .field("connections", &self.connections())
            .field("limits", &self.shared.limits)
            .finish_non_exhaustive()
    }
}

/// What all threads of a server share.
pub(crate) struct Shared {
    pub(crate) exports: Arc<dyn Exports>,
    pub(crate) limits: Limits,
    pub(crate) pieces: Arc<Pieces>,
    pub(crate) lookouts: Lookouts,
    turns: Turns,
    /// No new requests are taken on.
    pub(crate) draining: AtomicBool,
    epoll: OwnedFd,
    /// Counts the jobs for which nobody was woken yet.
    wake: OwnedFd,
    pub(crate) tables: Mutex<Tables>,
    /// Told when a connection has ended.
    ended: Condvar,
    crew: Arc<Crew>,
    /// A thread is wanted that could not be started.
    is_short: AtomicBool,
    /// What threads are given. Tests ask for more than there is.
    stack_bytes: AtomicUsize,
}

/// The threads of one connection beside those of its jobs.
const THREADS_OF_A_CONNECTION: usize = 3;

impl Server {
    /// Returns a server that has no connections yet.
    ///
    /// # Errors
    /// When there are no descriptors for it.
    pub fn new(exports: Arc<dyn Exports>, limits: Limits) -> io::Result<Self> {
        // With less of any of these nothing would ever be done.
        let limits = Limits {
            requests_waiting: limits.requests_waiting.max(1),
            bytes_waiting: limits.bytes_waiting.max(1),
            threads: limits.threads.max(1),
            ..limits
        };
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK | EventfdFlags::SEMAPHORE;
        let wake = eventfd(0, flags)?;
        epoll::add(
            &epoll,
            &wake,
            epoll::EventData::new_u64(JOBS),
            epoll::EventFlags::IN,
        )?;
        let shared = Arc::new(Shared {
            exports,
            limits,
            pieces: Arc::default(),
            lookouts: Lookouts::new(),
            turns: Turns::default(),
            draining: AtomicBool::new(false),
            epoll,
            wake,
            tables: Mutex::default(),
            ended: Condvar::new(),
            crew: Arc::default(),
            is_short: AtomicBool::new(false),
            stack_bytes: AtomicUsize::new(STACK_BYTES),
        });
        Ok(Self { shared })
    }

    /// Accepts connections on `listener` from now on.
    ///
    /// # Errors
    /// When the operating system refuses.
    pub fn listen(&self, listener: impl Into<Listener>) -> io::Result<()> {
        let shared = &self.shared;
        let listener = Arc::new(listener.into());
        listener.prepare()?;
        shared.ensure_watcher()?;
        let id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
        let kept = Arc::clone(&listener);
        shared.tables.lock().listeners.insert(id, kept);
        epoll::add(&shared.epoll, &*listener, epoll::EventData::new_u64(id), WATCHED)?;
        Ok(())
    }

    /// Serves a connection that was accepted elsewhere, or one end of a pair of sockets. Returns at once.
    ///
    /// # Errors
    /// When there are as many connections as [`Limits::connections`] allows, or the operating system refuses. The connection
    /// is closed then.
    pub fn serve(&self, stream: impl Into<Stream>) -> io::Result<()> {
        self.shared.ensure_watcher()?;
        let id = self.shared.admit(stream.into())?;
        let mut tables = self.shared.tables.lock();
        tables.greetings.push_back(id);
        self.shared.engage(tables, 1);
        Ok(())
    }

    /// Returns how many connections there are, those that have not chosen an export yet included.
    pub fn connections(&self) -> usize {
        self.shared.tables.lock().connections.len()
    }

    /// Ends the serving: accepts no more, finishes what is in flight, and ends each connection after that. What was sent
    /// by a unix socket before is in flight; what comes by TCP from now on is answered with `NBD_ESHUTDOWN`. What is not
    /// done after `limit` is cut off.
    ///
    /// Returns whether everything was finished in time.
    pub fn drain(&self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        self.shared.draining.store(true, Ordering::Release);
        let mut tables = self.shared.tables.lock();
        tables.listeners.clear();
        for entry in tables.connections.values() {
            entry.socket.end_receiving();
        }
        while !tables.connections.is_empty() {
            if self.shared.ended.wait_until(&mut tables, deadline).timed_out() {
                break;
            }
        }
        for entry in tables.connections.values() {
            entry.socket.end();
        }
        tables.connections.is_empty()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.drain(Duration::ZERO);
        let shared = &self.shared;
        let mut tables = shared.tables.lock();
        while !tables.connections.is_empty() {
            shared.ended.wait(&mut tables);
        }
        tables.stopping = true;
        let threads = tables.threads;
        drop(tables);
        shared.wake_threads(threads);
        shared.crew.wait_for_all();
    }
}

/// The threads that still have a part in a server.
#[derive(Default)]
struct Crew {
    count: Mutex<usize>,
    none: Condvar,
}

impl Crew {
    fn join(&self) {
        *self.count.lock() += 1;
    }

    fn leave(&self) {
        *self.count.lock() -= 1;
        self.none.notify_all();
    }

    fn wait_for_all(&self) {
        let mut count = self.count.lock();
        while *count > 0 {
            self.none.wait(&mut count);
        }
    }
}

/// A source that is watched until it reports something, once.
const WATCHED: epoll::EventFlags = epoll::EventFlags::IN
    .union(epoll::EventFlags::RDHUP)
    .union(epoll::EventFlags::ONESHOT);

impl Shared {
    /// Has epoll tell when the client sends something, once.
    pub(crate) fn watch(&self, connection: &Connection) {
        self.set_watched(&connection.socket, connection.id, WATCHED);
    }

    /// Has epoll tell no more.
    pub(crate) fn unwatch(&self, connection: &Connection) {
        self.set_watched(&connection.socket, connection.id, epoll::EventFlags::ONESHOT);
    }

    fn set_watched(&self, source: &impl std::os::fd::AsFd, id: u64, flags: epoll::EventFlags) {
        // The source is in epoll for as long as it is open, so this cannot fail.
        let set = epoll::modify(&self.epoll, source, epoll::EventData::new_u64(id), flags);
        debug_assert!(set.is_ok(), "{set:?}");
    }

    /// Lets other threads do jobs of a connection, as soon as there is a place for them.
    pub(crate) fn share(
        self: &Arc<Self>,
        connection: &Arc<Connection>,
        jobs: impl ExactSizeIterator<Item = Job>,
    ) {
        let count = jobs.len();
        if count == 0 {
            return;
        }
        let mut tables = self.tables.lock();
        // One that was abandoned has no jobs any more.
        let Some(entry) = tables.connections.get_mut(&connection.id) else {
            return;
        };
        let is_new = entry.jobs.is_empty();
        entry.jobs.extend(jobs);
        if is_new {
            tables.waiting.push_back(connection.id);
        }
        let places = self.limits.threads.saturating_sub(tables.running);
        self.engage(tables, count.min(places));
    }

    /// Takes a place for a job of a connection; `false` if there is none.
    pub(crate) fn begin_job(&self, id: u64) -> bool {
        let mut tables = self.tables.lock();
        // Who waits already comes first.
        let begins = tables.waiting.is_empty() && tables.may_begin(id, &self.limits);
        if begins {
            tables.begin(id);
        }
        begins
    }

    /// Returns the place that was taken for a job of a connection; dropping it lets the next one have it.
    pub(crate) fn place(self: &Arc<Self>, id: u64) -> Place<'_> {
        Place::new(self, id)
    }

    /// Lets go of a connection that has ended.
    pub(crate) fn forget(&self, id: u64) {
        // Dropped after the lock is let go: with it the export goes, which may take its time.
        let gone = self.tables.lock().remove(id);
        drop(gone);
        self.ended.notify_all();
    }

    /// Sees to it that so many threads come for what is in the tables.
    pub(crate) fn engage(self: &Arc<Self>, mut tables: MutexGuard<'_, Tables>, count: usize) {
        let missing = count.saturating_sub(tables.idle);
        // Without more, those that are there come.
        let _ = self.spawn(&mut tables, missing);
        drop(tables);
        if count > 0 {
            self.wake_threads(count);
        }
    }

    fn wake_threads(&self, count: usize) {
        // It fails when the counter would overflow, and then all are awake.
        let _ = rustix::io::write(&self.wake, &(count as u64).to_ne_bytes());
    }

    /// Sees to it that a thread waits in epoll, or comes to.
    fn ensure_watcher(self: &Arc<Self>) -> io::Result<()> {
        let mut tables = self.tables.lock();
        if tables.idle > 0 {
            return Ok(());
        }
        let spawned = self.spawn(&mut tables, 1);
        if tables.threads == 0 { spawned } else { Ok(()) }
    }

    /// Tells whether no thread waits in epoll, or for what there is to do, and none could be started.
    pub(crate) fn is_short(&self) -> bool {
        self.is_short.load(Ordering::Relaxed)
    }

    /// Adds threads, as far as there may be more. Where none can be started the next that gives its connection's lead away does the work.
    fn spawn(self: &Arc<Self>, tables: &mut Tables, count: usize) -> io::Result<()> {
        let most = THREADS_OF_A_CONNECTION * self.limits.connections + self.limits.threads;
        for _ in 0..count.min(most.saturating_sub(tables.threads)) {
            let shared = Arc::clone(self);
            let thread = std::thread::Builder::new()
                .name("nbd".into())
                .stack_size(self.stack_bytes.load(Ordering::Relaxed));
            let crew = Arc::clone(&self.crew);
            crew.join();
            let spawned = thread.spawn(move || {
                let crew = Arc::clone(&shared.crew);
                // With it goes what the server serves, if this was the last.
                shared.run_thread();
                crew.leave();
            });
            match spawned {
                Ok(_) => {
                    tables.threads += 1;
                    tables.idle += 1;
                }
                Err(error) => {
                    crew.leave();
                    self.is_short.store(true, Ordering::Relaxed);
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    fn run_thread(self: Arc<Self>) {
        let mut work = Workspace::new();
        while let Some(task) = self.next_task() {
            self.run(task, &mut work);
            let mut tables = self.tables.lock();
            tables.idle += 1;
            self.is_short.store(false, Ordering::Relaxed);
        }
        self.tables.lock().threads -= 1;
    }

    /// Waits for something to do; `None` if the thread is to end. The thread counts as idle until this returns.
    fn next_task(self: &Arc<Self>) -> Option<Assignment> {
        loop {
            {
                let mut tables = self.tables.lock();
                if let Some(task) = tables.next_task(&self.limits) {
                    self.leave_idle(&mut tables);
                    return Some(Assignment::Task(task));
                }
                if tables.stopping {
                    tables.idle -= 1;
                    return None;
                }
            }
            let mut event = Vec::with_capacity(1);
            let waited = epoll::wait(
                &self.epoll,
                rustix::buffer::spare_capacity(&mut event),
                Some(&IDLE),
            );
            let mut tables = self.tables.lock();
            match event.first().map(|event: &epoll::Event| event.data.u64()) {
                Some(JOBS) => {
                    // Another thread may have been quicker.
                    let _ = rustix::io::read(&self.wake, &mut [0; 8]);
                }
                Some(id) => {
                    let assignment = if let Some(listener) = tables.listeners.get(&id) {
                        Some(Assignment::Accept(id, Arc::clone(listener)))
                    } else {
                        let entry = tables.connections.get(&id);
                        let connection = entry.and_then(|entry| entry.connection.clone());
                        connection.map(Assignment::Lead)
                    };
                    if let Some(assignment) = assignment {
                        self.leave_idle(&mut tables);
                        return Some(assignment);
                    }
                }
                // Interrupted.
                None if waited.is_err() => (),
                None if tables.idle > 1 && tables.greetings.is_empty() && tables.waiting.is_empty() => {
                    tables.idle -= 1;
                    return None;
                }
                None => (),
            }
        }
    }

    /// Takes this thread from those that wait, and sees to it that one does.
    fn leave_idle(self: &Arc<Self>, tables: &mut Tables) {
        tables.idle -= 1;
        if tables.idle == 0 {
            // If none can be had, this one lets go of what it takes up, and then it is tried again.
            let _ = self.spawn(tables, 1);
        }
    }

    fn run(self: &Arc<Self>, assignment: Assignment, work: &mut Workspace) {
        let of = match &assignment {
            Assignment::Lead(connection) | Assignment::Task(Task::Job(connection, _)) => Some(connection.id),
            Assignment::Task(Task::Greet(id)) => Some(*id),
            // Who is accepted is greeted as a task of its own.
            Assignment::Accept(..) => None,
        };
        let done = catch_unwind(AssertUnwindSafe(|| match assignment {
            Assignment::Accept(id, listener) => self.accept(id, &listener, work),
            Assignment::Lead(connection) => {
                if let Some(leftover) = connection.take_lead() {
                    connection.serve(work, leftover);
                }
            }
            Assignment::Task(Task::Job(connection, job)) => connection.serve_job(work, job),
            Assignment::Task(Task::Greet(id)) => self.greet(id, work),
        }));
        // An export's panic ends its connection, and no other.
        if done.is_err() {
            *work = Workspace::new();
            if let Some(id) = of {
                self.abandon(id);
            }
        }
    }

    /// Ends a connection for good, however far it is.
    fn abandon(&self, id: u64) {
        let gone = self.tables.lock().remove(id);
        if let Some(entry) = &gone {
            if let Some(connection) = &entry.connection {
                connection.abandon();
            }
            entry.socket.end();
        }
        // With it the export goes, which may take its time.
        drop(gone);
        self.ended.notify_all();
    }

    /// Takes the next connection, and serves it.
    fn accept(self: &Arc<Self>, id: u64, listener: &Listener, work: &mut Workspace) {
        let accepted = listener.accept();
        let is_short = matches!(&accepted, Err(error) if error.kind() != io::ErrorKind::WouldBlock);
        if is_short {
            std::thread::sleep(SHORTAGE);
        }
        self.set_watched(listener, id, WATCHED);
        // One too many is closed by not being kept.
        if let Ok(stream) = accepted
            && let Ok(connection) = self.admit(stream)
        {
            self.run(Assignment::Task(Task::Greet(connection)), work);
        }
    }

    /// Takes a connection in, if there may be one more. Returns its id.
    fn admit(&self, stream: Stream) -> io::Result<u64> {
        stream.prepare()?;
        let origin = stream.peer()?.origin();
        let id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
        let mut tables = self.tables.lock();
        if !tables.may_admit(&origin, &self.limits) || self.draining.load(Ordering::Acquire) {
            return Err(io::Error::new(
                io::ErrorKind::ConnectionRefused,
                format!("there are {} connections already", tables.connections.len()),
            ));
        }
        let entry = Entry {
            socket: Arc::new(stream),
            origin,
            connection: None,
            jobs: VecDeque::new(),
            running: 0,
        };
        tables.connections.insert(id, entry);
        Ok(id)
    }

    /// Leads a connection through the handshake, and then in transmission.
    fn greet(self: &Arc<Self>, id: u64, work: &mut Workspace) {
        let socket = {
            let tables = self.tables.lock();
            tables.connections.get(&id).map(|entry| Arc::clone(&entry.socket))
        };
        let Some(socket) = socket else {
            return;
        };
        let connection = self.begin(id, &socket);
        let Some((connection, leftover)) = connection else {
            socket.end();
            self.forget(id);
            return;
        };
        connection.serve(work, leftover.into());
    }

    fn begin(self: &Arc<Self>, id: u64, socket: &Arc<Stream>) -> Option<(Arc<Connection>, Vec<u8>)> {
        let peer = socket.peer().ok()?;
        let client = Client { connection: id, peer };
        let (exports, limits) = (&*self.exports, &self.limits);
        let (opened, leftover) = greet(socket, exports, &client, limits, &self.turns, &self.draining)?;
        socket.set_patience(LEADING, Duration::ZERO).ok()?;
        let unwatched = epoll::EventFlags::ONESHOT;
        epoll::add(&self.epoll, &**socket, epoll::EventData::new_u64(id), unwatched).ok()?;
        let connection = Connection::new(id, Arc::clone(socket), opened, Arc::clone(self));
        let connection = Arc::new(connection);
        let mut tables = self.tables.lock();
        let entry = tables.connections.get_mut(&id)?;
        entry.connection = Some(Arc::clone(&connection));
        Some((connection, leftover))
    }
}

/// What a thread has to do.
enum Assignment {
    Accept(u64, Arc<Listener>),
    /// The client sent something.
    Lead(Arc<Connection>),
    Task(Task),
}
