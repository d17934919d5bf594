//! Batches: many ranges of one branch, written all or none, also after a crash.
//!
//! Invariant: a batch lies in one group, which is the unit of durability, and enters the head under one lock; so nobody
//! sees a part of it, neither a reader nor who opens the store after a crash.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::block::{BLOCK, BLOCK_BYTES, blocks_touched};
use crate::buffer::Chunk;
use crate::error::{Result, StoreError};
use crate::planted::{Bug, planted};
use crate::store::Branch;
use crate::store::branch::{Before, loaded};
use crate::store::head::{GROUP_SLOTS_MAX, NewBlocks};
use crate::store::lookup::Lookup;
use crate::store::state::check_bounds;

/// Blocks that a batch can touch: a group closes itself when it is full.
const BATCH_BLOCKS_MAX: usize = GROUP_SLOTS_MAX - 1;

/// Consecutive blocks of a batch.
struct Run {
    start: u64,
    blocks: NewBlocks,
    chunk: Arc<Chunk>,
}

impl Branch {
    /// Writes many ranges as one: readers see all of them or none, and so does who opens the store after a crash,
    /// flushed or not. Where ranges overlap, later ones win. Costs what writing them one by one does.
    ///
    /// # Errors
    /// [`StoreError::BatchTooLarge`] if they touch more than 4095 blocks, [`StoreError::OutOfBounds`]; and those of
    /// [`Branch::write_at`]. Nothing is written then.
    pub fn write_batch(&self, writes: &[(u64, &[u8])]) -> Result<()> {
        let size = self.size();
        let mut end = 0;
        let mut bytes = 0;
        for (offset, data) in writes {
            check_bounds(*offset, data.len() as u64, size)?;
            end = end.max(offset + data.len() as u64);
            bytes += data.len() as u64;
        }
        // Each block with whether some write covers it wholly.
        let mut touched: BTreeMap<u64, bool> = BTreeMap::new();
        for (offset, data) in writes {
            let blocks = blocks_touched(*offset, data.len() as u64);
            if blocks.end - blocks.start > BATCH_BLOCKS_MAX as u64 {
                return Err(too_large(blocks.end - blocks.start));
            }
            for block in blocks {
                let covered =
                    *offset <= block * BLOCK_BYTES && (block + 1) * BLOCK_BYTES <= offset + data.len() as u64;
                *touched.entry(block).or_default() |= covered;
            }
        }
        if touched.len() > BATCH_BLOCKS_MAX {
            return Err(too_large(touched.len() as u64));
        }
        if touched.is_empty() {
            return Ok(());
        }
        self.engine()
            .make_buffer_room(&self.cell.clock, touched.len() as u64 * BLOCK_BYTES)?;
        loop {
            // Partial blocks are read without the lock; if one has changed by then, again.
            let partial: Vec<(u64, Before, Lookup)> = {
                let head = self.cell.head.read();
                self.check(&head)?;
                let view = loaded(&head)?;
                let partial = touched.iter().filter(|(_, covered)| !**covered);
                let look = |(&block, _): (&u64, &bool)| {
                    let lookup = Lookup::new(view, block..block + 1, Some(&head.stretch));
                    (block, Before::of(view, block), lookup)
                };
                partial.map(look).collect()
            };
            let mut content: BTreeMap<u64, Vec<u8>> =
                touched.keys().map(|&block| (block, vec![0; BLOCK])).collect();
            let mut before = Vec::with_capacity(partial.len());
            for (block, was, lookup) in partial {
                if let Some(bytes) = content.get_mut(&block) {
                    lookup.read(self.index(), bytes, block * BLOCK_BYTES)?;
                }
                before.push((block, was));
            }
            for (offset, data) in writes {
                apply(&mut content, *offset, data);
            }
            let runs = self.runs(content);
            self.engine().hold_room(0)?;
            let _gate = self.cell.gate.read();
            let mut head = self.writable(end)?;
            let view = loaded(&head)?;
            if !before.iter().all(|(block, was)| was.still_is(view, *block)) {
                continue;
            }
            head.make_group_room(touched.len());
            for run in &runs {
                head.write(run.start, &run.blocks, &run.chunk);
                if planted(Bug::BatchSplit) {
                    drop(head);
                    self.engine().flush(&self.cell)?;
                    head = self.writable(end)?;
                }
            }
            drop(head);
            self.engine().user_written.fetch_add(bytes, Ordering::Relaxed);
            return Ok(());
        }
    }

    /// Puts blocks that follow each other together.
    fn runs(&self, content: BTreeMap<u64, Vec<u8>>) -> Vec<Run> {
        let mut joined: Vec<(u64, Vec<u8>)> = Vec::new();
        for (block, bytes) in content {
            match joined.last_mut() {
                Some((start, run)) if *start + (run.len() / BLOCK) as u64 == block => run.extend(bytes),
                _ => joined.push((block, bytes)),
            }
        }
        joined
            .into_iter()
            .map(|(start, bytes)| {
                let (blocks, chunk) = self.prepare(&bytes);
                Run { start, blocks, chunk }
            })
            .collect()
    }
}

fn too_large(blocks: u64) -> StoreError {
    StoreError::BatchTooLarge {
        blocks,
        most: BATCH_BLOCKS_MAX as u64,
    }
}

/// Lays a write over blocks that are all there.
fn apply(content: &mut BTreeMap<u64, Vec<u8>>, offset: u64, data: &[u8]) {
    let mut at = 0;
    while at < data.len() {
        let place = offset + at as u64;
        let skew = (place % BLOCK_BYTES) as usize;
        let length = (BLOCK - skew).min(data.len() - at);
        if let Some(block) = content.get_mut(&(place / BLOCK_BYTES)) {
            block[skew..skew + length].copy_from_slice(&data[at..at + length]);
        }
        at += length;
    }
}
