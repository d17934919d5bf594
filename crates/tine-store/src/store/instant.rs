//! One instant: several branches frozen at once, and what is made of their points.
//!
//! What a caller adds goes into one frame with the branches' unflushed blocks and the records of their points, so it
//! happens as a whole or not at all; a point's record precedes everything of the stretches that follow it (rule 4).
//!
//! **Invariant:** neither catalog nor heads change before the journal has taken the frame, and the heads stay locked
//! until both have changed: no write falls between a point and what follows it.
//!
//! **Invariant:** what is durable has durable ancestors: a frame on which somebody waits has what no frame has yet of the
//! throwaway forks among them (rule 23).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use parking_lot::lock_api::ArcRwLockWriteGuard;
use parking_lot::{MutexGuard, RawRwLock};

use crate::buffer::StretchId;
use crate::codec::Encoder;
use crate::error::{Result, StoreError};
use crate::journal::commit::{Item, Priority, Ticket};
use crate::journal::record::{BranchMade, Record};
use crate::names::{BranchName, Target};
use crate::planted::{Bug, planted};
use crate::store::catalog::{BranchCell, Catalog};
use crate::store::flush::Unflushed;
use crate::store::head::Head;
use crate::store::stretch::Stretch;
use crate::store::view::View;
use crate::store::{Engine, now};

/// After so many attempts to get ahead of a branch's writers, they are held back.
const PATIENCE: usize = 4;

/// What branches are frozen for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Points that last.
    Points,
    /// Points of which only throwaway forks are made: nobody waits for the journal.
    Throwaways,
    /// Making throwaway forks durable, whose heads stay what they are.
    Keeping,
}

/// A branch that is being frozen: its head becomes a point unless nothing changed since the last one.
struct Frozen {
    head: ArcRwLockWriteGuard<RawRwLock, Head>,
    /// The stretch in which the branch goes on; absent if its last point serves again.
    next: Option<StretchId>,
    is_throwaway: bool,
    /// The last group of the point.
    upto: u64,
}

/// Branches frozen at one instant, and the item that says so; nothing has changed yet.
pub(super) struct Instant<'a> {
    pub(super) catalog: MutexGuard<'a, Catalog>,
    purpose: Purpose,
    frozen: Vec<Frozen>,
    /// The points that the frozen branches stand for.
    points: BTreeMap<BranchName, StretchId>,
    /// Stretches of throwaway forks that the item makes durable, each up to a group.
    settled: Vec<(Arc<Stretch>, u64)>,
    next_stretch: StretchId,
    pub(super) next_branch: u64,
    item: Item,
    /// Bytes of the item that are unflushed writes.
    unflushed_bytes: usize,
    pub(super) time: u64,
}

impl Instant<'_> {
    pub(super) fn record(&mut self, record: &Record) {
        self.append(|records| record.encode(records));
    }

    pub(super) fn record_branch(&mut self, made: &BranchMade) {
        self.append(|records| made.encode(records));
    }

    fn append(&mut self, encode: impl FnOnce(&mut Encoder)) {
        let mut records = Encoder {
            bytes: std::mem::take(&mut self.item.records),
        };
        encode(&mut records);
        self.item.records = records.bytes;
    }

    pub(super) fn new_stretch(&mut self) -> StretchId {
        self.next_stretch += 1;
        self.next_stretch - 1
    }

    /// Adds what no frame has yet of a point, or a frozen head, and of its ancestors.
    pub(super) fn settle(&mut self, last: StretchId) {
        if self.purpose == Purpose::Throwaways {
            return;
        }
        let mut unjournalled = self.catalog.unjournalled(last);
        if planted(Bug::KeepWithoutAncestry) {
            unjournalled.drain(..unjournalled.len().saturating_sub(1));
        }
        for stretch in unjournalled {
            if self.settled.iter().any(|(settled, _)| settled.id == stretch.id) {
                continue;
            }
            let unflushed = Unflushed::of(&stretch, &stretch.state.lock());
            let upto = unflushed.upto;
            if !unflushed.is_empty() {
                self.unflushed_bytes = self.unflushed_bytes.saturating_add(unflushed.bytes());
                unflushed.add_to(&stretch, &mut self.item);
            }
            self.settled.push((stretch, upto));
        }
    }

    /// Returns the point that a target stands for, and its size.
    pub(super) fn point(&mut self, target: &Target) -> Result<(StretchId, u64)> {
        let point = match target {
            Target::Snapshot(branch, snapshot) => self.catalog.snapshot(branch, snapshot)?,
            Target::Branch(name) => {
                let point = self.points.get(name);
                *point.ok_or_else(|| StoreError::UnknownBranch { name: name.clone() })?
            }
        };
        self.settle(point);
        let size = self.catalog.stretch(point)?.state.lock().size();
        Ok((point, size))
    }
}

impl Engine {
    /// Freezes branches at one instant, lets `plan` add records, queues all of it as one frame and then changes the
    /// catalog: first by the points, then as `apply` says. Returns when it is durable; for throwaway forks when it is queued.
    /// `what` it is that there may be no space for.
    pub(super) fn at_one_instant<P>(
        &self,
        (purpose, what): (Purpose, &'static str),
        branches: &BTreeSet<BranchName>,
        mut plan: impl FnMut(&mut Instant<'_>) -> Result<P>,
        apply: impl FnOnce(&mut Catalog, P, Ticket),
    ) -> Result<()> {
        self.check_writable()?;
        let mut apply = Some(apply);
        let mut attempt = 0;
        let mut much_is_unjournalled = false;
        // Bytes of records for which there is room in the manifest.
        let mut held = 0;
        let (ticket, bytes) = loop {
            let cells = self.cells(branches)?;
            attempt += 1;
            let gates: Vec<_> = cells
                .iter()
                .filter(|_| attempt > PATIENCE)
                .map(|cell| cell.gate.write())
                .collect();
            if attempt > 1 {
                for cell in &cells {
                    self.flush(cell)?;
                }
            }
            if much_is_unjournalled {
                self.drained(|upkeep| {
                    self.with_dead_space(upkeep, |upkeep| self.drain_all(upkeep).map(drop))
                })?;
            }
            let mut instant = self.freeze(purpose, branches)?;
            let planned = plan(&mut instant)?;
            // What is streamed no frame can have: another branch may have got the name meanwhile.
            let is_streamed = instant.unflushed_bytes == usize::MAX;
            if is_streamed || (instant.unflushed_bytes > self.frame_data_bytes_max() && attempt <= PATIENCE) {
                // A flush leaves throwaway forks in memory.
                much_is_unjournalled = !instant.settled.is_empty();
                continue;
            }
            let item = std::mem::take(&mut instant.item);
            let (records, bytes) = (item.records.len(), item.bytes() as u64);
            if records > held {
                if let Err(StoreError::NoSpace { .. }) =
                    self.space
                        .hold_records(records - held, self.unstored_bytes(), what)
                {
                    drop(instant);
                    drop(gates);
                    self.make_record_room(records - held, what)?;
                    held = records;
                    continue;
                }
                held = records;
            }
            match self.journal.enqueue(item, Priority::User) {
                Ok(ticket) => {
                    self.finish_points(&mut instant, ticket);
                    if let Some(apply) = apply.take() {
                        apply(&mut instant.catalog, planned, ticket);
                    }
                    break (ticket, bytes);
                }
                Err(crate::journal::commit::Refused::Failed(error)) => return Err(error),
                Err(crate::journal::commit::Refused::NoRoom(item)) => {
                    drop(instant);
                    drop(gates);
                    self.make_journal_room(item.bytes() as u64)?;
                }
            }
        };
        if purpose == Purpose::Throwaways {
            return self.wait_if_much_is_queued(ticket);
        }
        self.wait(ticket)?;
        self.after_commit(&self.pacers.of_several, bytes);
        Ok(())
    }

    fn cells(&self, branches: &BTreeSet<BranchName>) -> Result<Vec<Arc<BranchCell>>> {
        let catalog = self.catalog.lock();
        let mut cells = branches
            .iter()
            .map(|name| Ok(Arc::clone(&catalog.entry(name)?.cell)))
            .collect::<Result<Vec<_>>>()?;
        cells.sort_by_key(|cell| cell.id);
        Ok(cells)
    }

    fn freeze(&self, purpose: Purpose, branches: &BTreeSet<BranchName>) -> Result<Instant<'_>> {
        let catalog = self.catalog.lock();
        let (next_stretch, next_branch) = (catalog.next_stretch, catalog.next_branch);
        let mut instant = Instant {
            catalog,
            purpose,
            frozen: Vec::new(),
            points: BTreeMap::new(),
            settled: Vec::new(),
            next_stretch,
            next_branch,
            item: Item::default(),
            unflushed_bytes: 0,
            time: now(&*self.medium),
        };
        let mut cells = branches
            .iter()
            .map(|name| {
                let entry = instant.catalog.entry(name)?;
                Ok((name.clone(), Arc::clone(&entry.cell), entry.is_throwaway()))
            })
            .collect::<Result<Vec<_>>>()?;
        // Heads are locked in the order of their branches' ids.
        cells.sort_by_key(|(_, cell, _)| cell.id);
        for (name, cell, is_throwaway) in cells {
            let mut head = cell.head.write_arc();
            head.close_group();
            let stretch = Arc::clone(&head.stretch);
            let state = stretch.state.lock();
            let unchanged = stretch.parent.filter(|_| state.is_unchanged());
            let upto = state.open_group - 1;
            let stays = (purpose == Purpose::Keeping).then_some(stretch.id);
            if let Some(point) = stays.or(unchanged) {
                drop(state);
                instant.settle(point);
                instant.points.insert(name, point);
                instant.frozen.push(Frozen {
                    head,
                    next: None,
                    is_throwaway,
                    upto,
                });
                continue;
            }
            if is_throwaway {
                drop(state);
                instant.settle(stretch.id);
            } else {
                let unflushed = Unflushed::of(&stretch, &state);
                drop(state);
                if !unflushed.is_empty() {
                    instant.unflushed_bytes = instant.unflushed_bytes.saturating_add(unflushed.bytes());
                    unflushed.add_to(&stretch, &mut instant.item);
                }
            }
            let next = instant.new_stretch();
            let size = head.size;
            instant.record(&Record::HeadMoved {
                branch: cell.id,
                stretch: next,
                parent: Some(stretch.id),
                size,
            });
            instant.points.insert(name, stretch.id);
            instant.frozen.push(Frozen {
                head,
                next: Some(next),
                is_throwaway,
                upto,
            });
        }
        Ok(instant)
    }

    /// Makes the frozen heads points, and lets their branches go on in new stretches.
    fn finish_points(&self, instant: &mut Instant<'_>, ticket: Ticket) {
        let catalog = &mut *instant.catalog;
        for (stretch, upto) in &instant.settled {
            let mut state = stretch.state.lock();
            state.unjournalled = false;
            state.written = state.written.max(*upto);
            state.ticket = state.ticket.max(ticket);
        }
        for Frozen {
            head,
            next,
            is_throwaway,
            upto,
            ..
        } in &mut instant.frozen
        {
            let Some(next) = *next else { continue };
            let old = Arc::clone(&head.stretch);
            {
                let mut state = old.state.lock();
                state.is_point = true;
                if !*is_throwaway {
                    state.written = state.written.max(*upto);
                }
                state.ticket = state.ticket.max(ticket);
                // What a root covers wholly needs no view to be kept.
                if state.root.is_none() || !state.parts.is_empty() || !state.groups.is_empty() {
                    state.view = head.view.clone();
                }
            }
            let view = head.view.clone();
            let size = head.size;
            let next = Stretch::new(next, Some(old.id), size);
            next.state.lock().unjournalled = *is_throwaway;
            self.move_head(catalog, head, next, view, ticket);
        }
        catalog.next_stretch = catalog.next_stretch.max(instant.next_stretch);
    }

    /// Lets a branch go on in a new stretch; its former one stays only if something else refers to it.
    pub(super) fn move_head(
        &self,
        catalog: &mut Catalog,
        head: &mut Head,
        stretch: Arc<Stretch>,
        view: Option<View>,
        ticket: Ticket,
    ) {
        let old = head.stretch.id;
        let size = stretch.state.lock().size();
        stretch.state.lock().ticket = ticket;
        catalog.add(Arc::clone(&stretch));
        catalog.retain(stretch.id);
        head.move_to(stretch, size, view);
        catalog.release(old, &self.segments);
    }
}
