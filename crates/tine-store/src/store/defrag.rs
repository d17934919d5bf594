//! Defragmentation: what was written out of order is written again in order.
//!
//! A window of the disk is read, and its blocks enter the head again as one group, which a drain stores sorted in one
//! segment. To journal, drain and checkpoint these are writes like all others, so nothing else has to be safe.
//!
//! Invariant: no content changes. Under the head's lock only those blocks are put that are still what was read; who has
//! written one meanwhile keeps what was written.

use std::ops::ControlFlow;
use std::ops::Range;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::block::{BLOCK, BLOCK_BYTES};
use crate::buffer::StretchId;
use crate::error::Result;
use crate::names::BranchName;
use crate::planted::{Bug, planted};
use crate::store::branch::{Before, loaded};
use crate::store::checkpoint::Merging;
use crate::store::head::Head;
use crate::store::layout::{Walk, Window};
use crate::store::lookup::Lookup;
use crate::store::transfer::{OnProgress, tell};
use crate::store::{Branch, Progress, State, Store};

/// What was put again is drained when it is so much: the data of a segment.
const DRAIN_BYTES: u64 = 16 << 20;

/// What to write anew.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DefragOptions {
    /// Also what the branch shares with snapshots, forks or its origin. It is the branch's own then: this takes the space
    /// of what is written anew, for as long as the others need what they shared.
    pub shared: bool,
}

/// How a branch's data lie on the medium.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fragmentation {
    /// Bytes of data, whole blocks.
    pub data: u64,
    /// Pieces that they lie in: of blocks that follow one another both on the disk and in a segment.
    pub extents: u64,
    /// Bytes that are worth writing anew.
    pub due: u64,
    /// Those of them that are shared: the space that writing them anew takes.
    pub due_shared: u64,
}

impl Fragmentation {
    /// Returns the mean bytes of a piece; 0 for a disk without data.
    pub fn mean_extent(&self) -> u64 {
        self.data.checked_div(self.extents).unwrap_or(0)
    }
}

/// What a defragmentation has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DefragReport {
    /// How the data lay.
    pub before: Fragmentation,
    /// How they lie now.
    pub after: Fragmentation,
    /// Bytes that were written anew.
    pub rewritten: u64,
    /// Those of them that were shared.
    pub unshared: u64,
}

impl Store {
    /// Returns how a branch's data lie, and what [`Store::defrag`] would do. What is in memory is
    /// stored first; for the rest the index is read alone.
    ///
    /// # Errors
    /// [`StoreError::UnknownBranch`](crate::StoreError::UnknownBranch),
    /// [`StoreError::Cancelled`](crate::StoreError::Cancelled), and those of storing and of
    /// reading the index.
    pub fn fragmentation(
        &self,
        name: &BranchName,
        options: &DefragOptions,
        progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<Fragmentation> {
        let branch = self.branch(name)?;
        if self.running.engine.check_writable().is_ok() {
            branch.settle(options)?;
        }
        branch.fragmentation(options, progress)
    }

    /// Writes what lies in many small pieces anew, in order; what lies well is left alone, so that a second run does
    /// nothing. Anybody may read and write the branch meanwhile. Its content, and all other branches and snapshots, stay
    /// as they are; the space of what was replaced comes back at the end, but for what others share.
    ///
    /// If it is cancelled or fails, what was written anew so far stays, and another run goes on from there.
    ///
    /// # Errors
    /// [`StoreError::UnknownBranch`](crate::StoreError::UnknownBranch),
    /// [`StoreError::Cancelled`](crate::StoreError::Cancelled), and those of reading and writing the branch.
    pub fn defrag(
        &self,
        name: &BranchName,
        options: &DefragOptions,
        progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<DefragReport> {
        self.running.engine.check_writable()?;
        let branch = self.branch(name)?;
        branch.settle(options)?;
        let before = branch.fragmentation(options, progress)?;
        if before.due == 0 {
            return Ok(DefragReport {
                before,
                after: before,
                rewritten: 0,
                unshared: 0,
            });
        }
        let Put { blocks, shared } = branch.rewrite(options, before.due, progress)?;
        Ok(DefragReport {
            before,
            after: branch.fragmentation(options, progress)?,
            rewritten: blocks * BLOCK_BYTES,
            unshared: shared * BLOCK_BYTES,
        })
    }
}

/// Blocks that were put again.
#[derive(Default)]
struct Put {
    blocks: u64,
    shared: u64,
}

impl Branch {
    /// Stores what is in memory of what may be moved: in which pieces it lies is not settled before.
    fn settle(&self, options: &DefragOptions) -> Result<()> {
        let engine = self.engine();
        let mut upkeep = engine.upkeep.lock();
        // What is shared may still be in memory too, of any ancestor.
        let stored = if options.shared {
            engine.drain_all(&mut upkeep)
        } else {
            engine.drain_branch(&mut upkeep, &self.cell)
        };
        stored.map(drop)
    }

    fn fragmentation(&self, options: &DefragOptions, progress: OnProgress<'_>) -> Result<Fragmentation> {
        let state = self.state()?;
        let mut walk = Walk::new(options.shared);
        let (mut at, mut data, mut due, mut due_shared) = (0, 0, 0, 0);
        while let Some(window) = walk.next(&state, at)? {
            at = window.end;
            data += window.data;
            if window.is_due() {
                due += window.blocks;
                due_shared += window.shared;
            }
            tell(progress, 0, None)?;
        }
        Ok(Fragmentation {
            data: data * BLOCK_BYTES,
            extents: walk.pieces(),
            due: due * BLOCK_BYTES,
            due_shared: due_shared * BLOCK_BYTES,
        })
    }

    /// Puts all windows that are due again, and merges the index over them.
    fn rewrite(&self, options: &DefragOptions, due: u64, progress: OnProgress<'_>) -> Result<Put> {
        let engine = self.engine();
        let (mut all, mut stretch) = (Put::default(), None);
        let (mut at, mut waiting) = (0, 0);
        tell(progress, 0, Some(due))?;
        loop {
            // A view for each window: what others overwrite is kept for no longer than that.
            let state = self.state()?;
            let Some(window) = Walk::new(options.shared).next(&state, at)? else {
                break;
            };
            if !window.is_due() {
                at = window.end;
                continue;
            }
            let Some(put) = self.put_again(&state, &window)? else {
                continue;
            };
            at = window.end;
            stretch = Some(state.stretch);
            drop(state);
            all.blocks += put.blocks;
            all.shared += put.shared;
            waiting += put.blocks * BLOCK_BYTES;
            if waiting >= DRAIN_BYTES {
                waiting = 0;
                self.store_again(stretch)?;
            }
            // Others may make more of it due meanwhile.
            tell(progress, (all.blocks * BLOCK_BYTES).min(due), Some(due))?;
        }
        // A run beside the tree would be looked into by every read, and would keep what it hides from being given back.
        let merging = stretch.map_or(Merging::Paced, Merging::Whole);
        engine.checkpoint(&mut engine.upkeep.lock(), merging)?;
        Ok(all)
    }

    /// Drains what was put again, and bounds what no root covers.
    fn store_again(&self, stretch: Option<StretchId>) -> Result<()> {
        let engine = self.engine();
        let mut upkeep = engine.upkeep.lock();
        engine.drain_branch(&mut upkeep, &self.cell)?;
        if engine.debt_level().is_above_soft() {
            let merging = stretch.map_or(Merging::Paced, Merging::Whole);
            engine.checkpoint(&mut upkeep, merging)?;
        }
        Ok(())
    }

    /// Puts the movable blocks of a window again, as one group; `None` if the disk stands on something else by now, so that
    /// it cannot be told what has changed.
    fn put_again(&self, state: &State, window: &Window) -> Result<Option<Put>> {
        self.engine()
            .make_buffer_room(&self.cell.clock, window.blocks * BLOCK_BYTES)?;
        let mut bytes = vec![0; window.blocks as usize * BLOCK];
        let mut rest = bytes.as_mut_slice();
        for run in &window.movable {
            let (target, behind) = rest.split_at_mut((run.end - run.start) as usize * BLOCK);
            Lookup::new(&state.view, run.clone(), None).read(
                self.index(),
                target,
                run.start * BLOCK_BYTES,
            )?;
            rest = behind;
        }
        let (new, chunk) = self.prepare_with_room(&bytes)?;
        drop(bytes);
        let _gate = self.cell.gate.read();
        let mut head = self.cell.head.write();
        self.check(&head)?;
        let now = loaded(&head)?;
        if head.stretch.id != state.stretch
            || head.size != state.size
            || !Arc::ptr_eq(&now.base, &state.view.base)
        {
            return Ok(None);
        }
        // Blocks of the disk, and which of the new ones these are.
        let mut runs: Vec<(u64, Range<usize>)> = Vec::new();
        for (number, block) in window.movable.iter().cloned().flatten().enumerate() {
            let same = Before::of(&state.view, block).still_is(now, block);
            if !same && !planted(Bug::DefragOverwrites) {
                continue;
            }
            match runs.last_mut() {
                Some((start, run)) if run.end == number && *start + run.len() as u64 == block => run.end += 1,
                _ => runs.push((block, number..number + 1)),
            }
        }
        head.make_group_room(window.blocks as usize);
        let own = |head: &Head| head.stretch.alive();
        let before = own(&head);
        for (start, run) in &runs {
            head.write(*start, &new[run.clone()], &chunk);
        }
        let blocks = runs.iter().map(|(_, run)| run.len() as u64).sum();
        Ok(Some(Put {
            blocks,
            shared: match (own(&head), before) {
                (Some(now), Some(before)) => now.saturating_sub(before),
                // As it was when that was looked at: of less that is put again.
                _ => window.shared.min(blocks),
            },
        }))
    }
}

#[cfg(test)]
mod tests;
