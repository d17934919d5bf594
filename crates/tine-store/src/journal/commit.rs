//! Group commit: what arrives while a sync is under way shares the next frame and the next sync.
//!
//! Items are queued in the order in which they took effect in memory, and become durable in that order. Whoever waits
//! for one leads if nobody does: no thread of its own, so a lone writer pays no hand-over. A commit wakes those whose
//! items it made durable and the next to lead, nobody else.
//!
//! Two commits may be under way: while one is synced the next one's frames are written, and synced beside it. They end in
//! the order in which they were written, whichever sync is done first, as what is behind a lost frame is lost (rule 8).
//!
//! Invariant: once writing or syncing a frame has failed, nothing is written any more, and every waiter is told: those
//! too whose own sync went well, unless their commit had ended.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use parking_lot::{Condvar, Mutex};
use smallvec::SmallVec;

use crate::buffer::{BufferedBlock, StretchId};
use crate::error::{Result, StoreError};
use crate::journal::record::FrameRef;
use crate::journal::ring::{Ring, Room, Unsynced, frame_bytes, frame_bytes_max};
use crate::journal::turn::{Told, Turns, Woken};
use crate::medium::{Medium, Syncer};
use crate::store::durable::Effect;
use crate::store::pace::Level;

/// Something to be written: its records, the blocks they speak of, and what to do once that is durable.
///
/// Most are a flush of one block, which needs no list on the heap but the records'.
#[derive(Default)]
pub(crate) struct Item {
    pub(crate) records: Vec<u8>,
    pub(crate) payload: SmallVec<[BufferedBlock; 1]>,
    pub(crate) groups: SmallVec<[(StretchId, u64); 1]>,
    pub(crate) effects: SmallVec<[Effect; 1]>,
    /// The manifest that it announces.
    pub(crate) announces: Option<u64>,
    /// Nothing may be queued behind it.
    pub(crate) closes: bool,
    /// Told the frame with which everything queued up to here ends.
    pub(crate) mark: Option<Arc<OnceLock<FrameRef>>>,
}

impl Item {
    /// Returns the bytes that it takes in a frame of its own; a mark takes none.
    pub(crate) fn bytes(&self) -> usize {
        if self.records.is_empty() {
            return 0;
        }
        frame_bytes(self.records.len(), self.payload.len())
    }
}

/// Who asks for room in the ring.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Priority {
    /// Refused unless a free file is left afterwards.
    User,
    /// Refused only if it does not fit; then the ring has to grow first.
    Upkeep,
}

impl Priority {
    /// Returns how many free files have to be left.
    fn leaves(self) -> u64 {
        match self {
            Self::User => 1,
            Self::Upkeep => 0,
        }
    }
}

/// Why an item was not taken.
pub(crate) enum Refused {
    /// The ring is too full: upkeep has to free a file first, or to add one.
    NoRoom(Box<Item>),
    Failed(StoreError),
}

/// Names an item in the order of the journal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ticket(u64);

struct Queue {
    items: VecDeque<Item>,
    queued: Ticket,
    durable: Ticket,
    turns: Turns,
    /// Commits that were begun and that have ended.
    begun: u64,
    ended: u64,
    /// The last frame of those.
    synced_through: u64,
    /// Bytes queued or being written, frame by frame at the worst.
    pending: u64,
    room: Room,
    failure: Option<Arc<StoreError>>,
    closed: bool,
}

impl Queue {
    /// Fails if nothing is written any more.
    fn check(&self) -> Result<()> {
        match &self.failure {
            None => Ok(()),
            Some(failure) => Err(StoreError::Poisoned {
                source: Arc::clone(failure),
            }),
        }
    }
}

/// The journal as all threads see it.
pub(crate) struct Journal {
    queue: Mutex<Queue>,
    /// Whether the queue has a failure and whether the ring is half full: for who only looks, on every write.
    failed: AtomicBool,
    half_full: AtomicBool,
    /// A commit has ended, or nothing is written any more.
    ended: Condvar,
    /// Locked before the queue where both are.
    ring: Mutex<Ring>,
    medium: Arc<dyn Medium>,
    file_bytes: u64,
}

/// A commit whose frames are written.
struct Written {
    number: u64,
    last: Ticket,
    unsynced: Unsynced,
    effects: Vec<Effect>,
}

impl Journal {
    pub(crate) fn new(ring: Ring) -> Self {
        let queue = Queue {
            items: VecDeque::new(),
            queued: Ticket(0),
            durable: Ticket(0),
            turns: Turns::default(),
            begun: 0,
            ended: 0,
            synced_through: ring.synced_through,
            pending: 0,
            room: ring.room(),
            failure: None,
            closed: false,
        };
        Self {
            half_full: AtomicBool::new(queue.room.is_half_full()),
            failed: AtomicBool::new(false),
            queue: Mutex::new(queue),
            ended: Condvar::new(),
            file_bytes: ring.shape.file_bytes,
            medium: Arc::clone(ring.medium()),
            ring: Mutex::new(ring),
        }
    }

    /// Returns the most bytes that one item's frame may have.
    pub(crate) fn frame_bytes_max(&self) -> usize {
        frame_bytes_max(self.file_bytes)
    }

    /// Queues an item; it takes effect in memory at the caller's hands, under the same locks.
    pub(crate) fn enqueue(&self, item: Item, priority: Priority) -> Result<Ticket, Refused> {
        let bytes = item.bytes();
        self.check_size(bytes).map_err(Refused::Failed)?;
        let mut queue = self.queue.lock();
        queue.check().map_err(Refused::Failed)?;
        if queue.closed {
            return Err(Refused::Failed(StoreError::Closed));
        }
        // Checked before anything is queued: a frame that finds no room on the medium would end all writing.
        if !self.fits(&queue, bytes as u64, priority) {
            return Err(Refused::NoRoom(Box::new(item)));
        }
        queue.pending += bytes as u64;
        queue.closed = item.closes;
        queue.items.push_back(item);
        queue.queued.0 += 1;
        Ok(queue.queued)
    }

    /// Says whether an item of so many bytes fits into a frame.
    pub(crate) fn check_size(&self, bytes: usize) -> Result<()> {
        let most = self.frame_bytes_max();
        if bytes > most {
            return Err(StoreError::TooLarge { bytes, most });
        }
        Ok(())
    }

    /// Tells whether `bytes` more leave what they have to. Each file holds at least what a largest frame leaves of it.
    fn fits(&self, queue: &Queue, bytes: u64, priority: Priority) -> bool {
        if bytes == 0 || queue.room.on_demand && priority == Priority::Upkeep {
            return true;
        }
        let wanted = queue.pending + bytes;
        let least = self.file_bytes - self.frame_bytes_max() as u64;
        let files = if wanted <= queue.room.tail {
            0
        } else {
            wanted.div_ceil(least)
        };
        queue.room.free_files >= files + priority.leaves()
    }

    /// Tells whether there is room for an item of so many bytes now.
    pub(crate) fn has_room(&self, bytes: u64, priority: Priority) -> bool {
        self.fits(&self.queue.lock(), bytes, priority)
    }

    /// Tells whether more is queued, for which nobody may be waiting, than one frame takes.
    pub(crate) fn has_much_queued(&self) -> bool {
        self.queue.lock().pending > self.frame_bytes_max() as u64
    }

    /// Tells whether no file is free.
    pub(crate) fn is_full(&self) -> bool {
        self.queue.lock().room.free_files == 0
    }

    /// Adds a file to the ring, unless there is room for an item of so many bytes by now. Without space for it nothing
    /// has changed, and nothing ends.
    pub(crate) fn grow(&self, bytes: u64) -> Result<()> {
        let mut ring = self.ring.lock();
        if self.has_room(bytes, Priority::Upkeep) {
            return Ok(());
        }
        let result = ring.grow();
        self.set_room(&mut self.queue.lock(), &ring);
        drop(ring);
        if let Err(error) = &result
            && !matches!(error, StoreError::NoSpace { .. })
        {
            self.poison(error.clone());
        }
        result.map(|_| ())
    }

    /// Returns how full the ring is; users' frames leave one file free.
    pub(crate) fn level(&self) -> Level {
        let Room {
            tail,
            free_files,
            files,
            ..
        } = self.queue.lock().room;
        Level {
            // A store that is only read may have lost its ring.
            now: (files.saturating_sub(free_files) * self.file_bytes).saturating_sub(tail),
            soft: files / 2 * self.file_bytes,
            hard: files.saturating_sub(1) * self.file_bytes,
        }
    }

    /// Tells whether half of the ring holds what recovery could need: time for a manifest.
    pub(crate) fn is_half_full(&self) -> bool {
        // Only a hint: what comes too late here is met again by the next commit.
        self.half_full.load(Ordering::Relaxed)
    }

    /// Tells the queue how much room the ring has. The ring is locked: whoever looks at it next must not be overtaken by
    /// what it was before.
    fn set_room(&self, queue: &mut Queue, ring: &Ring) {
        queue.room = ring.room();
        self.half_full.store(queue.room.is_half_full(), Ordering::Relaxed);
    }

    /// Waits until an item is durable, writing it if nobody else does. `apply` is given what became durable, in order.
    pub(crate) fn wait(&self, ticket: Ticket, apply: &dyn Fn(Effect)) -> Result<()> {
        let mut queue = self.queue.lock();
        if queue.durable >= ticket {
            return Ok(());
        }
        queue.check()?;
        let place = queue.turns.take(ticket.0);
        drop(queue);
        if let Some(place) = place {
            match place.wait() {
                Told::Done => return Ok(()),
                Told::Failed => return self.queue.lock().check(),
                Told::Lead => {}
            }
        }
        self.lead(apply)
    }

    /// Makes what is queued durable. This thread has the lead, and passes it on.
    fn lead(&self, apply: &dyn Fn(Effect)) -> Result<()> {
        let abandoned = Abandoned { journal: self };
        let written = self.write_queued().and_then(|written| {
            let by = Syncer::of_commit(written.number);
            written.unsynced.sync(&*self.medium, by)?;
            Ok(written)
        });
        let result = match written {
            Ok(written) => self.end(written, apply),
            Err(error) => {
                self.poison(error);
                self.queue.lock().check()
            }
        };
        std::mem::forget(abandoned);
        result
    }

    /// Writes what is queued, and lets somebody lead beside this thread.
    fn write_queued(&self) -> Result<Written> {
        let mut ring = self.ring.lock();
        let mut queue = self.queue.lock();
        queue.check()?;
        let next = VecDeque::with_capacity(queue.items.len());
        let items = std::mem::replace(&mut queue.items, next);
        let (number, last) = (queue.begun, queue.queued);
        queue.begun += 1;
        ring.synced_through = queue.synced_through;
        queue.turns.took(last.0);
        drop(queue);
        let bytes: u64 = items.iter().map(|item| item.bytes() as u64).sum();
        let result = write_frames(&mut ring, items);
        let mut queue = self.queue.lock();
        queue.pending -= bytes;
        self.set_room(&mut queue, &ring);
        let unsynced = ring.take_unsynced();
        let effects = match result {
            Ok(effects) => effects,
            Err(error) => {
                // Before anybody else can write: behind a frame that is lost nothing may follow.
                let woken = self.fail(&mut queue, error.clone());
                drop((queue, ring));
                woken.wake();
                return Err(error);
            }
        };
        drop((queue, ring));
        Ok(Written {
            number,
            last,
            unsynced,
            effects,
        })
    }

    /// Ends a commit that is synced, once all before it have ended.
    fn end(&self, written: Written, apply: &dyn Fn(Effect)) -> Result<()> {
        let mut queue = self.queue.lock();
        while queue.ended < written.number && queue.failure.is_none() {
            self.ended.wait(&mut queue);
        }
        queue.check()?;
        drop(queue);
        for effect in written.effects {
            apply(effect);
        }
        let mut queue = self.queue.lock();
        queue.ended += 1;
        queue.durable = written.last;
        queue.synced_through = written.unsynced.through;
        let woken = queue.turns.pass_on();
        drop(queue);
        self.ended.notify_all();
        woken.wake();
        Ok(())
    }

    /// Ends all writing, for the first reason there is.
    fn fail(&self, queue: &mut Queue, error: StoreError) -> Woken {
        queue.failure.get_or_insert_with(|| Arc::new(error));
        self.failed.store(true, Ordering::Release);
        self.ended.notify_all();
        queue.turns.fail()
    }

    /// Returns why nothing is written any more, if that is so.
    pub(crate) fn failure(&self) -> Option<Arc<StoreError>> {
        if !self.failed.load(Ordering::Acquire) {
            return None;
        }
        self.queue.lock().failure.clone()
    }

    /// Stops all writing, for a reason outside of the journal itself (a manifest that could not be synced).
    pub(crate) fn poison(&self, error: StoreError) {
        let woken = self.fail(&mut self.queue.lock(), error);
        woken.wake();
    }

    /// Looks at the ring while nothing is written to it; up to two commits may be written and not synced.
    pub(crate) fn with_ring<T>(&self, look: impl FnOnce(&mut Ring) -> T) -> T {
        let mut ring = self.ring.lock();
        let result = look(&mut ring);
        self.set_room(&mut self.queue.lock(), &ring);
        result
    }

    /// Returns the bytes of the frames that the next opening would replay.
    pub(crate) fn replay_bytes(&self) -> u64 {
        self.ring.lock().replay_bytes()
    }
}

/// Poisons the journal if the leading thread unwinds, so that nobody waits for ever.
struct Abandoned<'a> {
    journal: &'a Journal,
}

impl Drop for Abandoned<'_> {
    fn drop(&mut self) {
        self.journal.poison(StoreError::damaged(
            "a thread panicked while it wrote the journal",
        ));
    }
}

/// Writes items into as few frames as they fit in; returns their effects, in order.
fn write_frames(ring: &mut Ring, items: VecDeque<Item>) -> Result<Vec<Effect>> {
    let most = frame_bytes_max(ring.shape.file_bytes);
    let mut effects = Vec::with_capacity(items.len());
    let mut frame = Frame {
        records: Vec::with_capacity(items.iter().map(|item| item.records.len()).sum()),
        payload: Vec::with_capacity(items.iter().map(|item| item.payload.len()).sum()),
        groups: Vec::with_capacity(items.len()),
    };
    for item in items {
        if frame_bytes(
            frame.records.len() + item.records.len(),
            frame.payload.len() + item.payload.len(),
        ) > most
        {
            frame.write(ring)?;
        }
        frame.records.extend_from_slice(&item.records);
        frame.payload.extend(item.payload);
        frame.groups.extend(item.groups);
        effects.extend(item.effects);
        if let Some(manifest) = item.announces {
            ring.manifest = manifest;
        }
        if let Some(mark) = item.mark {
            frame.write(ring)?;
            // Set once: each mark is queued once.
            let _ = mark.set(ring.last());
        }
    }
    frame.write(ring)?;
    Ok(effects)
}

#[derive(Default)]
struct Frame {
    records: Vec<u8>,
    payload: Vec<BufferedBlock>,
    groups: Vec<(StretchId, u64)>,
}

impl Frame {
    fn write(&mut self, ring: &mut Ring) -> Result<()> {
        if self.records.is_empty() {
            return Ok(());
        }
        let Self {
            records,
            payload,
            groups,
        } = std::mem::take(self);
        ring.write(&records, payload.len() as u32, groups, |buffer| {
            for block in &payload {
                buffer.extend_from_slice(block.bytes());
            }
        })
    }
}

#[cfg(test)]
mod tests;
