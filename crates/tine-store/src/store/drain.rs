//! Draining: blocks in memory go to a segment, which one frame publishes.
//!
//! Order (rule 5): the segment's bytes are synced, then its directory, only then is the publishing frame written. A
//! segment whose write or sync failed is abandoned; its blocks stay in memory and go to another (rule 19).

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::block::{BLOCK, BLOCK_BYTES};
use crate::buffer::{BufferedBlock, Group, NOT_STORED, Place};
use crate::checksum::crc32c;
use crate::codec::Encoder;
use crate::error::{Result, StoreError};
use crate::journal::commit::Item;
use crate::journal::record::{Record, SegmentPublished};
use crate::medium::{Area, ObjectName, ObjectWriter};
use crate::planted::{Bug, planted};
use crate::segment::SegmentId;
use crate::segment::format::{
    Part, SEGMENT_HEADER_BYTES, SegmentKind, StoredBlock, TRAILER_BYTES, Trailer, encode_footer,
    encode_header, encode_trailer,
};
use crate::store::Engine;
use crate::store::catalog::BranchCell;
use crate::store::durable::{Effect, NewPart};
use crate::store::stretch::Stretch;
use crate::store::upkeep::Upkeep;

/// A segment gets no further group when it has this many bytes of data.
const SEGMENT_DATA_BYTES: u64 = 16 << 20;

/// What the publishing frame says of one stretch takes fewer bytes, segments and sizes included.
const PUBLISHED_BYTES_MAX: usize = 128;

const APPEND_BYTES: usize = 1 << 20;

/// What is to be stored of one stretch.
struct Captured {
    stretch: Arc<Stretch>,
    groups: Vec<CapturedGroup>,
    upto: u64,
}

/// A group as it was when its stretch was captured.
struct CapturedGroup {
    group: Arc<Group>,
    slots: usize,
    blocks: Vec<CapturedBlock>,
}

struct CapturedBlock {
    slot: usize,
    stored: StoredBlock,
    data: BufferedBlock,
    dead: bool,
}

impl CapturedGroup {
    /// Takes hold of the group's blocks: whatever happens to them next, these versions are stored.
    fn of(group: &Arc<Group>) -> Self {
        let mut captured = Self {
            group: Arc::clone(group),
            slots: 0,
            blocks: Vec::new(),
        };
        if let Place::Buffered(slots) = &*group.source.place.read() {
            captured.slots = slots.len();
            // What is dead but pinned is stored too, for those who still look at it.
            captured
                .blocks
                .extend(slots.iter().enumerate().filter_map(|(slot, one)| {
                    let stored = StoredBlock {
                        block: one.block,
                        group: group.number,
                        checksum: one.checksum,
                    };
                    Some(CapturedBlock {
                        slot,
                        stored,
                        data: one.data.clone()?,
                        dead: one.dead,
                    })
                }));
        }
        captured
    }
}

/// A segment that is being put together.
#[derive(Default)]
struct Planned {
    data: Vec<BufferedBlock>,
    parts: Vec<NewPart>,
}

impl Engine {
    /// Moves everything in memory to segments. Returns whether there was anything.
    pub(crate) fn drain_all(&self, upkeep: &mut Upkeep) -> Result<bool> {
        let (cells, stretches) = {
            let catalog = self.catalog.lock();
            let cells: Vec<_> = catalog
                .branches
                .values()
                .map(|entry| Arc::clone(&entry.cell))
                .collect();
            (cells, catalog.stretches.values().cloned().collect::<Vec<_>>())
        };
        let mut captured: Vec<Captured> = cells.iter().filter_map(|cell| capture_head(cell)).collect();
        let heads: BTreeSet<u64> = captured.iter().map(|captured| captured.stretch.id).collect();
        captured.extend(
            stretches
                .iter()
                // A head that was not captured above gets its turn next time: its group must be closed first.
                .filter(|stretch| !heads.contains(&stretch.id) && stretch.state.lock().is_point)
                .filter_map(capture),
        );
        captured.sort_by_key(|captured| captured.stretch.id);
        // One frame speaks of all that is stored at once, so that is bounded too.
        let at_once = self.journal.frame_bytes_max() / PUBLISHED_BYTES_MAX;
        let mut stored = false;
        while !captured.is_empty() {
            let rest = captured.split_off(captured.len().min(at_once));
            stored |= self.store(upkeep, std::mem::replace(&mut captured, rest))?;
        }
        Ok(stored)
    }

    /// Moves what a branch's head has in memory to segments.
    pub(crate) fn drain_branch(&self, upkeep: &mut Upkeep, cell: &BranchCell) -> Result<bool> {
        self.store(upkeep, capture_head(cell).into_iter().collect())
    }

    fn store(&self, _upkeep: &mut Upkeep, captured: Vec<Captured>) -> Result<bool> {
        if captured.is_empty() {
            return Ok(false);
        }
        self.check_writable()?;
        let mut item = Item::default();
        let mut records = Encoder::default();
        let written: Vec<(Arc<Stretch>, u64)> = captured
            .iter()
            .map(|one| (Arc::clone(&one.stretch), one.upto))
            .collect();
        // Segments hold blocks only; a change of size goes with the frame that publishes its group.
        for one in &captured {
            for CapturedGroup { group, .. } in &one.groups {
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
        let mut unpublished = Unpublished {
            engine: self,
            segments: Vec::new(),
        };
        for planned in plan(captured) {
            let segment = self.new_segment_id();
            unpublished.segments.push(segment);
            let (published, bytes) = self.put_data_segment(segment, &planned)?;
            item.groups.extend(published.parts.iter().copied());
            Record::Published(published).encode(&mut records);
            let handle = self.segments.handle(segment);
            item.effects.push(Effect::Published {
                segment: handle,
                bytes,
                parts: planned.parts,
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
        unpublished.segments.clear();
        for (stretch, upto) in written {
            let mut state = stretch.state.lock();
            state.written = state.written.max(upto);
            state.ticket = state.ticket.max(ticket);
        }
        self.wait(ticket)?;
        self.settle_space();
        Ok(true)
    }

    fn put_data_segment(&self, id: SegmentId, planned: &Planned) -> Result<(SegmentPublished, u64)> {
        let name = ObjectName::Segment(id);
        let parts: Vec<Part> = planned.parts.iter().map(|new| (*new.part).clone()).collect();
        let footer = encode_footer(&parts);
        let footer_offset = SEGMENT_HEADER_BYTES + planned.data.len() as u64 * BLOCK_BYTES;
        let length = footer_offset + footer.len() as u64 + TRAILER_BYTES as u64;
        self.space.use_for_object(length)?;
        let mut writer = self
            .medium
            .create_object(name)
            .map_err(|e| StoreError::io(name, "make", e))?;
        let mut put = |bytes: &[u8]| self.append(&mut *writer, name, bytes);
        put(&encode_header(id, SegmentKind::Data))?;
        let mut buffer = Vec::with_capacity(APPEND_BYTES.min(planned.data.len() * BLOCK));
        for blocks in planned.data.chunks(APPEND_BYTES / BLOCK) {
            buffer.clear();
            for block in blocks {
                buffer.extend_from_slice(block.bytes());
            }
            put(&buffer)?;
        }
        let trailer = Trailer {
            footer_offset,
            footer_bytes: footer.len() as u64,
            footer_checksum: crc32c(&footer),
        };
        put(&footer)?;
        put(&encode_trailer(&trailer))?;
        if !planted(Bug::PublishUnsynced) {
            writer.sync().map_err(|e| StoreError::io(name, "sync", e))?;
        }
        let parts = parts.iter().map(|part| (part.stretch, part.upto)).collect();
        Ok((
            SegmentPublished {
                segment: id,
                length,
                footer: trailer.footer_checksum,
                parts,
            },
            length,
        ))
    }

    /// Removes an object that will not be part of the store. What cannot be removed is an orphan, which the next
    /// opening removes where it can.
    pub(crate) fn abandon(&self, name: ObjectName) {
        if self.medium.can_overwrite() {
            let _ = self.medium.remove_object(name);
        }
    }

    /// Appends to an object that is being made.
    pub(crate) fn append(&self, writer: &mut dyn ObjectWriter, name: ObjectName, bytes: &[u8]) -> Result<()> {
        self.medium_written
            .fetch_add(bytes.len() as u64, std::sync::atomic::Ordering::Relaxed);
        writer.append(bytes).map_err(|e| StoreError::io(name, "write", e))
    }
}

/// Removes what was made when it will not be published.
struct Unpublished<'a> {
    engine: &'a Engine,
    segments: Vec<SegmentId>,
}

impl Drop for Unpublished<'_> {
    fn drop(&mut self) {
        for &segment in &self.segments {
            self.engine.abandon(ObjectName::Segment(segment));
        }
    }
}

/// Captures a head: closing its group and looking at all its groups is one step for its writers.
fn capture_head(cell: &BranchCell) -> Option<Captured> {
    {
        let head = cell.head.read();
        if !head.has_open_writes() && head.stretch.state.lock().groups.is_empty() {
            return None;
        }
    }
    let mut head = cell.head.write();
    head.close_group();
    capture(&head.stretch)
}

fn capture(stretch: &Arc<Stretch>) -> Option<Captured> {
    let state = stretch.state.lock();
    if state.groups.is_empty() || state.dropped {
        return None;
    }
    let groups = state.groups.iter().map(CapturedGroup::of).collect();
    Some(Captured {
        stretch: Arc::clone(stretch),
        groups,
        upto: state.open_group - 1,
    })
}

/// Distributes what was captured over segments: small stretches share one, and a group never straddles two.
fn plan(captured: Vec<Captured>) -> Vec<Planned> {
    let mut planned = vec![Planned::default()];
    for Captured {
        stretch,
        groups,
        upto,
    } in captured
    {
        let mut left = groups.as_slice();
        while !left.is_empty() {
            let segment = planned.last_mut().filter(|last| !last.is_full());
            let segment = match segment {
                Some(segment) => segment,
                None => {
                    planned.push(Planned::default());
                    planned.last_mut().expect("one was pushed")
                }
            };
            let taken = segment.take(&stretch, left, upto);
            left = &left[taken..];
        }
    }
    planned.retain(|segment| !segment.parts.is_empty());
    planned
}

impl Planned {
    fn is_full(&self) -> bool {
        self.data.len() as u64 * BLOCK_BYTES >= SEGMENT_DATA_BYTES
    }

    /// Takes as many groups of a stretch as fit, in the order of their blocks, and returns how many.
    fn take(&mut self, stretch: &Arc<Stretch>, groups: &[CapturedGroup], upto: u64) -> usize {
        let mut found: Vec<(usize, &CapturedBlock)> = Vec::new();
        let mut taken = 0;
        while taken < groups.len()
            && ((self.data.len() + found.len()) as u64 * BLOCK_BYTES) < SEGMENT_DATA_BYTES
        {
            found.extend(groups[taken].blocks.iter().map(|block| (taken, block)));
            taken += 1;
        }
        let groups_left = groups.len() - taken;
        let groups = &groups[..taken];
        found.sort_by_key(|(_, block)| (block.stored.block, block.stored.group));
        let mut maps: Vec<Box<[u32]>> = groups
            .iter()
            .map(|group| vec![NOT_STORED; group.slots].into_boxed_slice())
            .collect();
        let first = self.data.len() as u32;
        // What is dead but pinned lies behind the part: those who look at it know where, the index does not.
        let (dead, alive): (Vec<_>, Vec<_>) = found.into_iter().partition(|(_, block)| block.dead);
        for (group, block) in alive.iter().chain(&dead) {
            maps[*group][block.slot] = self.data.len() as u32;
            self.data.push(block.data.clone());
        }
        let tombstones = groups.iter().flat_map(|CapturedGroup { group, .. }| {
            group
                .tombstones
                .iter()
                .map(|tombstone| (group.number, *tombstone))
        });
        let part = Part {
            stretch: stretch.id,
            // The last part of a stretch is as of its last closed group, even if that has nothing left.
            upto: if groups_left == 0 {
                upto
            } else {
                groups[taken - 1].group.number
            },
            first,
            blocks: alive.iter().map(|(_, block)| block.stored).collect(),
            tombstones: tombstones.collect(),
        };
        self.parts.push(NewPart {
            stretch: Arc::clone(stretch),
            part: Arc::new(part),
            groups: groups
                .iter()
                .map(|group| Arc::clone(&group.group))
                .zip(maps)
                .collect(),
        });
        taken
    }
}
