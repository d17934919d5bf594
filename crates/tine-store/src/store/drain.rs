//! Draining: blocks in memory go to a segment, and streams get their footers; one frame publishes all of them.
//!
//! Order (rule 5): the segment's bytes are synced, then its directory, only then is the publishing frame written. A
//! segment whose write or sync failed is abandoned; its blocks stay in memory, or come back there from a stream, and go to
//! another (rule 19).

mod capture;
mod plan;

use std::collections::{BTreeMap, BTreeSet};
use std::io::IoSlice;
use std::sync::Arc;

use crate::block::BLOCK_BYTES;
use crate::buffer::{BufferedBlock, StretchId};
use crate::codec::Encoder;
use crate::error::{Result, StoreError};
use crate::journal::commit::{Item, Ticket};
use crate::journal::record::{Record, SegmentPublished};
use crate::medium::{Area, ObjectName};
use crate::planted::{Bug, planted};
use crate::segment::SegmentId;
use crate::segment::format::Part;
use crate::store::Engine;
use crate::store::catalog::BranchCell;
use crate::store::durable::Effect;
use crate::store::segment_writer::{SegmentWriter, Written};
use crate::store::stretch::Stretch;
use crate::store::upkeep::Upkeep;
use capture::{Captured, capture, capture_head};
use plan::{Plan, Planned, PlannedStream, plan};

/// What the publishing frame says of one stretch takes fewer bytes, segments and sizes included.
const PUBLISHED_BYTES_MAX: usize = 128;

/// What it says of one stream.
const STREAM_BYTES_MAX: usize = 64;

/// Blocks appended at once.
const APPEND_BLOCKS: usize = 256;

impl Engine {
    /// Moves everything in memory to segments. Returns whether there was anything.
    pub(crate) fn drain_all(&self, upkeep: &mut Upkeep) -> Result<bool> {
        let number = self.drains.begin();
        self.close_departed_streams();
        let (cells, stretches) = {
            let mut catalog = self.catalog.lock();
            for source in std::mem::take(&mut catalog.departed_sources) {
                source.upgrade().inspect(|source| source.uncount());
            }
            let cells: Vec<_> = catalog
                .branches
                .values()
                .map(|entry| Arc::clone(&entry.cell))
                .collect();
            (cells, catalog.stretches.values().cloned().collect::<Vec<_>>())
        };
        let mut captured: Vec<Captured<'_>> = cells.iter().filter_map(|cell| capture_head(cell)).collect();
        let heads: BTreeSet<u64> = captured.iter().map(|captured| captured.stretch.id).collect();
        captured.extend(
            stretches
                .iter()
                // A head that was not captured above gets its turn next time: its group must be closed first.
                .filter(|stretch| !heads.contains(&stretch.id) && stretch.state.lock().is_point)
                .filter_map(capture),
        );
        let stored = self.store_all(upkeep, captured)?;
        self.drains.end(number);
        Ok(stored)
    }

    /// Publishes the streams, and moves what their branches and points have in memory to segments.
    pub(crate) fn drain_streams(&self, upkeep: &mut Upkeep) -> Result<bool> {
        self.close_departed_streams();
        let (cells, stretches) = {
            let catalog = self.catalog.lock();
            let cells = catalog.branches.values().map(|entry| Arc::clone(&entry.cell));
            let points = catalog.stretches.values();
            let points = points.filter(|stretch| !stretch.state.lock().streams.is_empty());
            (cells.collect::<Vec<_>>(), points.cloned().collect::<Vec<_>>())
        };
        let streaming = cells.iter().filter(|cell| !cell.streams.lock().is_empty());
        let mut captured: Vec<_> = streaming.filter_map(|cell| capture_head(cell)).collect();
        captured.extend(stretches.iter().filter_map(capture));
        self.store_all(upkeep, captured)
    }

    /// Moves what a branch's head has in memory to segments.
    pub(crate) fn drain_branch(&self, upkeep: &mut Upkeep, cell: &BranchCell) -> Result<bool> {
        let captured = capture_head(cell).into_iter().collect();
        // By now it may be another: then what was captured of the former may be a point that this one awaits.
        let head = Arc::clone(&cell.head.read().stretch);
        self.store_with_awaited(upkeep, captured, vec![head])
    }

    /// Closes the streams of points that nobody refers to any more.
    pub(super) fn close_departed_streams(&self) {
        let departed = std::mem::take(&mut self.catalog.lock().departed_streams);
        // Their objects are removed: nobody waits for that at the catalog.
        drop(departed);
    }

    /// Moves what points have in memory, or streamed, to segments.
    pub(crate) fn drain_points(
        &self,
        upkeep: &mut Upkeep,
        points: &BTreeMap<StretchId, Arc<Stretch>>,
    ) -> Result<bool> {
        let captured = points.values().filter_map(capture).collect();
        self.store_with_awaited(upkeep, captured, points.values().cloned().collect())
    }

    fn store_all(&self, upkeep: &mut Upkeep, captured: Vec<Captured<'_>>) -> Result<bool> {
        let stretches = captured
            .iter()
            .map(|captured| Arc::clone(&captured.stretch))
            .collect();
        self.store_with_awaited(upkeep, captured, stretches)
    }

    /// Stores what was captured, with what `stretches` await: before it, or in the same frame.
    fn store_with_awaited(
        &self,
        upkeep: &mut Upkeep,
        mut captured: Vec<Captured<'_>>,
        stretches: Vec<Arc<Stretch>>,
    ) -> Result<bool> {
        let mut found: BTreeSet<u64> = captured.iter().map(|captured| captured.stretch.id).collect();
        for stretch in stretches {
            let mut awaited = self.catalog.lock().awaited(&stretch);
            awaited.retain(|stretch| found.insert(stretch.id));
            captured.extend(awaited.iter().filter_map(capture));
        }
        captured.sort_by_key(|captured| captured.stretch.id);
        // One frame speaks of all that is stored at once, so that is bounded too.
        let most = self.journal.frame_bytes_max();
        let mut stored = false;
        let (mut some, mut bytes) = (Vec::new(), 0);
        for one in captured {
            let more = PUBLISHED_BYTES_MAX + one.streams.len() * STREAM_BYTES_MAX;
            if bytes + more > most {
                stored |= self.store(upkeep, std::mem::take(&mut some))?;
                bytes = 0;
            }
            bytes += more;
            some.push(one);
        }
        Ok(self.store(upkeep, some)? | stored)
    }

    fn store(&self, _upkeep: &mut Upkeep, captured: Vec<Captured<'_>>) -> Result<bool> {
        if captured.is_empty() {
            return Ok(false);
        }
        self.check_writable()?;
        let mut records = Encoder::default();
        let written: Vec<(Arc<Stretch>, u64)> = captured
            .iter()
            .map(|one| (Arc::clone(&one.stretch), one.upto))
            .collect();
        // Segments hold blocks only; a change of size goes with the frame that publishes its group.
        for one in &captured {
            for group in one.groups.iter().map(|one| &one.group) {
                if let Some(size) = group.size {
                    Record::Resized {
                        stretch: one.stretch.id,
                        group: group.number,
                        size,
                    }
                    .encode(&mut records);
                }
            }
        }
        let Plan {
            segments,
            mut streams,
        } = plan(captured)?;
        let (mut ended, mut kept) = (0, Vec::new());
        let published = self.publish_all(segments, &mut streams, &mut ended, &mut kept, records);
        if published.is_err() {
            for planned in &mut streams[..ended] {
                self.give_up(planned);
            }
            // What was made is gone again.
            self.settle_space();
        }
        let ticket = published?;
        for (stretch, upto) in written {
            let mut state = stretch.state.lock();
            state.written = state.written.max(upto);
            state.ticket = state.ticket.max(ticket);
        }
        self.wait(ticket)?;
        drop(kept);
        self.settle_space();
        Ok(true)
    }

    /// Writes segments, ends streams, and queues the frame that publishes them all. `ended` counts the streams that
    /// nothing more can be done with; `kept` are the blocks of the segments, which count as long as what these were given.
    fn publish_all(
        &self,
        segments: Vec<Planned>,
        streams: &mut [PlannedStream<'_>],
        ended: &mut usize,
        kept: &mut Vec<BufferedBlock>,
        mut records: Encoder,
    ) -> Result<Ticket> {
        let mut item = Item::default();
        let mut unpublished = Unpublished {
            engine: self,
            segments: Vec::new(),
            given: 0,
        };
        for planned in segments {
            let id = self.new_segment_id();
            unpublished.segments.push(id);
            let parts = planned.parts();
            let written = self.put_data_segment(id, &planned, &parts, &mut unpublished.given)?;
            published(id, written, &parts).encode(&mut records);
            item.groups.extend(groups(&parts));
            let (new, data) = planned.into_new_parts();
            kept.extend(data);
            item.effects.push(Effect::Published {
                segment: self.segments.handle(id),
                bytes: written.length,
                given: written.given,
                parts: new,
            });
        }
        for planned in &mut *streams {
            let new = planned.new_part();
            let parts = std::slice::from_ref(&*new.part);
            let Some(open) = &mut planned.taken.open else {
                continue;
            };
            let written = open.writer.end(self, parts);
            // Without space all is as it was, and the branch goes on with the stream.
            if !matches!(written, Err(StoreError::NoSpace { .. })) {
                *ended += 1;
            }
            let written = written?;
            open.writer.sync()?;
            published(open.writer.id, written, parts).encode(&mut records);
            item.groups.extend(groups(parts));
            item.effects.push(Effect::Published {
                segment: Arc::clone(&open.stream.segment),
                bytes: written.length,
                given: written.given,
                parts: vec![new],
            });
        }
        item.records = records.bytes;
        self.space.add_records(item.records.len());
        if !planted(Bug::NoDirectorySync) {
            self.medium
                .sync_area(Area::Segment)
                .map_err(|e| StoreError::io("segments/", "sync", e))?;
        }
        let ticket = self.enqueue_upkeep(item)?;
        unpublished.keep();
        for open in streams.iter_mut().filter_map(|planned| planned.taken.open.take()) {
            open.stream.set_published();
        }
        Ok(ticket)
    }

    /// Takes the blocks of a stream that was ended and will not be published into memory.
    fn give_up(&self, planned: &mut PlannedStream<'_>) {
        planned.taken.open = None;
        self.rescue(planned.groups());
    }

    /// Adds to `given` what counts for what is in memory, also if it fails.
    fn put_data_segment(
        &self,
        id: SegmentId,
        planned: &Planned,
        parts: &[Part],
        given: &mut u64,
    ) -> Result<Written> {
        let mut writer = SegmentWriter::create(self, id, planned.writing())?;
        let written = self.put_blocks(&mut writer, planned, parts);
        *given += writer.given();
        written
    }

    fn put_blocks(&self, writer: &mut SegmentWriter, planned: &Planned, parts: &[Part]) -> Result<Written> {
        for blocks in planned.data.chunks(APPEND_BLOCKS) {
            let pieces: Vec<_> = blocks.iter().map(|block| IoSlice::new(block.bytes())).collect();
            let room = self.space.use_for_object(blocks.len() as u64 * BLOCK_BYTES)?;
            writer.append(self, &pieces, room)?;
        }
        let written = writer.end(self, parts)?;
        writer.sync()?;
        Ok(written)
    }
}

fn published(segment: SegmentId, written: Written, parts: &[Part]) -> Record {
    Record::Published(SegmentPublished {
        segment,
        length: written.length,
        footer: written.footer,
        parts: groups(parts).collect(),
    })
}

/// The groups up to which parts are.
fn groups(parts: &[Part]) -> impl Iterator<Item = (u64, u64)> {
    parts.iter().map(|part| (part.stretch, part.upto))
}

/// Removes what was made when it will not be published.
struct Unpublished<'a> {
    engine: &'a Engine,
    segments: Vec<SegmentId>,
    /// What they were given that counts for what is in memory.
    given: u64,
}

impl Unpublished<'_> {
    /// Leaves them: they are the store's now.
    fn keep(mut self) {
        self.segments.clear();
        self.given = 0;
    }
}

impl Drop for Unpublished<'_> {
    fn drop(&mut self) {
        // Before their room is there for others.
        self.engine.space.end_given(self.given);
        for &segment in &self.segments {
            self.engine.abandon(ObjectName::Segment(segment));
        }
    }
}
