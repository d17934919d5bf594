//! The streams of one branch: who writes takes one for itself, so that several writes are on their way to the medium at
//! once.
//!
//! **Invariant:** who has a stream for itself tells the branch's head what it has appended before it lets go of it, or
//! takes it away for good. So whoever has locked them all, and then the head, finds each block of a stream in a group.

use parking_lot::{Condvar, MappedRwLockWriteGuard, Mutex, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::error::Result;
use crate::store::stream::OpenStream;

/// So many write at once to one branch: more make no disk quicker, and each stream is a segment of its own.
const WRITERS_MAX: usize = 4;

/// With so many streams open in the store one writes at a time: each that is not full when it is published is a segment
/// more to sync, as when a branch is forked while it is written.
const OPEN_FEW: u64 = 8;

/// The streams of a branch, all of them.
pub(crate) type AllStreams<'a> = MappedRwLockWriteGuard<'a, Vec<OpenStream>>;

/// The streams of a branch.
#[derive(Default)]
pub(crate) struct BranchStreams {
    /// Held shared by those who have a stream.
    all: RwLock<Mutex<Idle>>,
    /// Told when a stream is let go of.
    let_go: Condvar,
}

#[derive(Default)]
struct Idle {
    streams: Vec<OpenStream>,
    /// So many are somebody's.
    taken: usize,
}

/// Somebody's stream. It goes back to the others when this is dropped, unless it is to go for good.
pub(super) struct WriterStream<'a> {
    streams: &'a BranchStreams,
    idle: RwLockReadGuard<'a, Mutex<Idle>>,
    open: Option<OpenStream>,
}

impl BranchStreams {
    /// Locks all streams, once nobody has one.
    pub(super) fn lock(&self) -> AllStreams<'_> {
        RwLockWriteGuard::map(self.all.write(), |idle| &mut idle.get_mut().streams)
    }

    /// As [`BranchStreams::lock`], if nobody has one now.
    pub(super) fn try_lock(&self) -> Option<AllStreams<'_>> {
        let all = self.all.try_write()?;
        Some(RwLockWriteGuard::map(all, |idle| &mut idle.get_mut().streams))
    }

    /// Gets the right to a stream; which it is, is told by [`WriterStream::get`]. Waits while too many have one; in the store
    /// are `open` of them.
    pub(super) fn take(&self, open: u64) -> WriterStream<'_> {
        let most = if open < OPEN_FEW { WRITERS_MAX } else { 1 };
        let idle = self.all.read();
        {
            let mut idle = idle.lock();
            while idle.taken >= most {
                self.let_go.wait(&mut idle);
            }
            idle.taken += 1;
        }
        WriterStream {
            streams: self,
            idle,
            open: None,
        }
    }
}

impl WriterStream<'_> {
    /// Returns a stream that has room: one that nobody has, or what `open` makes.
    pub(super) fn get(&mut self, open: impl FnOnce() -> Result<OpenStream>) -> Result<&mut OpenStream> {
        if self.open.is_none() {
            let mut idle = self.idle.lock();
            let with_room = idle.streams.iter().rposition(|open| !open.is_full());
            self.open = with_room.map(|at| idle.streams.remove(at));
        }
        match &mut self.open {
            Some(open) => Ok(open),
            none => Ok(none.insert(open()?)),
        }
    }

    /// Takes the stream away: the branch goes on without it.
    pub(super) fn remove(&mut self) -> Option<OpenStream> {
        self.open.take()
    }
}

impl Drop for WriterStream<'_> {
    fn drop(&mut self) {
        let mut idle = self.idle.lock();
        idle.streams.extend(self.open.take());
        idle.taken -= 1;
        self.streams.let_go.notify_one();
    }
}
