//! Flush: what was written becomes durable, in one frame if it is little, else in a segment that a frame publishes.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use smallvec::SmallVec;

use crate::block::BLOCK;
use crate::buffer::BufferedBlock;
use crate::codec::Encoder;
use crate::error::{Result, StoreError};
use crate::journal::commit::{Item, Priority, Refused};
use crate::journal::record::Record;
use crate::planted::{Bug, planted};
use crate::store::Engine;
use crate::store::catalog::BranchCell;
use crate::store::durable::Effect;
use crate::store::stretch::{Stretch, StretchState};

/// More than this goes to a segment.
const FRAME_DATA_BYTES_MAX: usize = 1 << 20;

/// What the records of a block or two take.
const RECORD_BYTES: usize = 64;

/// The writes of a stretch that no frame holds yet.
#[derive(Default)]
pub(crate) struct Unflushed {
    pub(crate) records: Vec<u8>,
    pub(crate) payload: SmallVec<[BufferedBlock; 1]>,
    /// Some of it is in a stream, which only a frame that publishes the segment makes durable.
    pub(crate) is_streamed: bool,
    /// The last closed group.
    pub(crate) upto: u64,
}

/// How much no frame holds yet of a stretch.
pub(crate) struct Amount {
    /// About so much of a frame; more than any has if it needs a segment.
    pub(crate) bytes: usize,
    pub(crate) is_resized: bool,
}

impl Amount {
    /// Counts what [`Unflushed::of`] would gather, but for records. The groups are closed.
    pub(crate) fn of(state: &StretchState) -> Self {
        let mut amount = Self {
            bytes: 0,
            is_resized: false,
        };
        for group in state.not_queued() {
            let bytes = match group.is_streamed() && !planted(Bug::StreamUnpublished) {
                true => usize::MAX,
                false => group.alive_slots() * BLOCK + group.tombstones.len() * RECORD_BYTES,
            };
            amount.bytes = amount.bytes.saturating_add(bytes);
            amount.is_resized |= group.size.is_some();
        }
        amount
    }
}

impl Unflushed {
    /// Gathers the newest version of every block in a group that was not queued. The groups are closed.
    pub(crate) fn of(stretch: &Stretch, state: &StretchState) -> Self {
        let mut records = Encoder::with_capacity(RECORD_BYTES);
        let mut payload = SmallVec::new();
        let mut is_streamed = false;
        for group in state.not_queued() {
            if group.is_streamed() {
                is_streamed |= !planted(Bug::StreamUnpublished);
                continue;
            }
            if let Some(size) = group.size {
                Record::Resized {
                    stretch: stretch.id,
                    group: group.number,
                    size,
                }
                .encode(&mut records);
            }
            for tombstone in &group.tombstones {
                let (start, count, hole) = (tombstone.start, tombstone.count, tombstone.hole);
                Record::Zeroes {
                    stretch: stretch.id,
                    group: group.number,
                    start,
                    count,
                    hole,
                }
                .encode(&mut records);
            }
            let mut blocks = Vec::with_capacity(group.alive_slots());
            group.for_each_alive(|_, slot| {
                blocks.push((slot.block, slot.checksum));
                payload.extend(slot.data.clone());
            });
            if !blocks.is_empty() {
                Record::Blocks {
                    stretch: stretch.id,
                    group: group.number,
                    blocks,
                }
                .encode(&mut records);
            }
        }
        Self {
            records: records.bytes,
            payload,
            is_streamed,
            upto: state.open_group - 1,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.records.is_empty() && !self.is_streamed
    }

    /// Returns about how much of a frame it takes; more than any has if it needs a segment.
    pub(crate) fn bytes(&self) -> usize {
        if self.is_streamed {
            return usize::MAX;
        }
        self.records.len() + self.payload.len() * BLOCK
    }

    /// Adds it to an item.
    pub(crate) fn add_to(self, stretch: &Arc<Stretch>, item: &mut Item) {
        if item.records.is_empty() {
            item.records = self.records;
            item.payload = self.payload;
        } else {
            item.records.extend(self.records);
            item.payload.extend(self.payload);
        }
        item.groups.push((stretch.id, self.upto));
        item.effects.push(Effect::Safe {
            stretch: Arc::clone(stretch),
            group: self.upto,
        });
    }
}

impl Engine {
    /// Returns the most bytes of data that a flush or a fork puts into a frame.
    pub(crate) fn frame_data_bytes_max(&self) -> usize {
        FRAME_DATA_BYTES_MAX.min(self.journal.frame_bytes_max() / 2)
    }

    /// Makes everything written to a branch durable; may sleep behind it, so nothing may be locked.
    pub(crate) fn flush(&self, cell: &BranchCell) -> Result<()> {
        if let Some(bytes) = self.flush_unpaced(cell)? {
            self.after_commit(&cell.clock, bytes);
        }
        Ok(())
    }

    /// As [`Engine::flush`], and returns the bytes that the journal took for it, which are to be paced.
    pub(crate) fn flush_unpaced(&self, cell: &BranchCell) -> Result<Option<u64>> {
        loop {
            let mut head = cell.head.write();
            if head.dropped {
                return Err(StoreError::Dropped {
                    name: cell.name.lock().clone(),
                });
            }
            head.close_group();
            cell.unflushed.store(0, Ordering::Relaxed);
            let stretch = Arc::clone(&head.stretch);
            let mut state = stretch.state.lock();
            if state.unjournalled || planted(Bug::FlushForgotten) {
                // Of a throwaway fork the order of its groups is all that is promised.
                return self.check_writable().map(|()| None);
            }
            if state.awaits {
                drop(state);
                drop(head);
                let awaited = self.catalog.lock().awaited(&stretch);
                if awaited.is_empty() {
                    continue;
                }
                return self.flush_by_drain(cell, &awaited).map(|()| None);
            }
            let unflushed = Unflushed::of(&stretch, &state);
            if unflushed.is_empty() {
                let ticket = state.ticket;
                drop(state);
                drop(head);
                return self.wait(ticket).map(|()| None);
            }
            if unflushed.bytes() > self.frame_data_bytes_max() {
                drop(state);
                drop(head);
                return self.flush_by_drain(cell, &[stretch]).map(|()| None);
            }
            let upto = unflushed.upto;
            let mut item = Item::default();
            unflushed.add_to(&stretch, &mut item);
            let bytes = item.bytes() as u64;
            match self.journal.enqueue(item, Priority::User) {
                Ok(ticket) => {
                    state.written = upto;
                    state.ticket = state.ticket.max(ticket);
                    drop(state);
                    drop(head);
                    self.wait(ticket)?;
                    return Ok(Some(bytes));
                }
                Err(Refused::Failed(error)) => return Err(error),
                Err(Refused::NoRoom(item)) => {
                    drop(state);
                    drop(head);
                    self.make_journal_room(item.bytes() as u64)?;
                }
            }
        }
    }

    /// Makes everything written to a branch durable by segments, and with it the stretches that were found unflushed: one of
    /// them may be a point by now.
    fn flush_by_drain(&self, cell: &BranchCell, unflushed: &[Arc<Stretch>]) -> Result<()> {
        self.drained(|upkeep| {
            self.with_dead_space(upkeep, |upkeep| self.drain_branch(upkeep, cell).map(drop))
        })?;
        // Everything from before the call is queued by now; what came since is not waited for.
        let head = Arc::clone(&cell.head.read().stretch);
        let stretches = unflushed.iter().chain([&head]);
        let last = stretches.map(|stretch| stretch.state.lock().ticket).max();
        self.wait(last.unwrap_or_default())?;
        self.after_record();
        Ok(())
    }
}
