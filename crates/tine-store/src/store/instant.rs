//! One instant: several branches frozen at once, and what is made of their points.
//!
//! What a caller adds goes into one frame with the branches' unflushed blocks and the records of their points, so it
//! happens as a whole or not at all; a point's record precedes everything of the stretches that follow it (rule 4).
//!
//! What is more than a frame takes is left behind: the branches go on from their points at once, whose blocks are stored
//! while they are written to, before anything of what follows becomes durable. So nobody who writes waits for a fork.
//!
//! **Invariant:** neither catalog nor heads change before the journal has taken the frame, and the heads stay locked
//! until both have changed: no write falls between a point and what follows it.
//!
//! **Invariant:** what is durable has durable ancestors: a frame on which somebody waits has what no frame has yet of the
//! throwaway forks among them (rule 23), and comes behind those that publish the points that were left behind.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use parking_lot::lock_api::ArcRwLockWriteGuard;
use parking_lot::{MutexGuard, RawRwLock};

use crate::buffer::StretchId;
use crate::codec::Encoder;
use crate::error::{Result, StoreError};
use crate::journal::commit::{Item, Priority, Refused, Ticket};
use crate::journal::record::{BranchMade, Record};
use crate::names::{BranchName, Target};
use crate::planted::{Bug, planted};
use crate::store::branch_streams::AllStreams;
use crate::store::catalog::{BranchCell, Catalog};
use crate::store::flush::{Amount, Unflushed};
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
    /// Points that last, of branches that begin anew elsewhere at the same instant: nothing of them can be left behind.
    Replacing,
}

/// A branch that is being frozen: its head becomes a point unless nothing changed since the last one.
struct Frozen<'a> {
    head: ArcRwLockWriteGuard<RawRwLock, Head>,
    /// What the branch streamed; locked if it has anything.
    streams: Option<AllStreams<'a>>,
    /// The stretch in which the branch goes on; absent if its last point serves again.
    next: Option<StretchId>,
    is_throwaway: bool,
    /// The last group of the point.
    upto: u64,
}

/// What a frame has of what the frozen branches have not flushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Data {
    /// All of it.
    Framed,
    /// Nothing: it is too much.
    LeftBehind,
}

/// Points at which branches were frozen before what is made of them can be: they stay as long as this lives.
struct Pinned<'a> {
    engine: &'a Engine,
    /// By the name that each branch had then.
    points: BTreeMap<BranchName, (Arc<BranchCell>, StretchId)>,
}

impl Drop for Pinned<'_> {
    fn drop(&mut self) {
        {
            let mut catalog = self.engine.catalog.lock();
            for &(_, point) in self.points.values() {
                catalog.release(point, &self.engine.segments);
            }
        }
        // Their branches may have been dropped meanwhile.
        self.engine.close_departed_streams();
    }
}

/// Why branches could not be frozen as they are.
enum Unfrozen {
    /// One of them is being streamed to.
    Streaming,
    /// What one of them has not flushed cannot be left behind: it has changed its size (rule 24), or begins anew elsewhere.
    Unflushed,
    /// A name stands for another branch by now.
    Renamed,
}

/// Branches frozen at one instant, and the item that says so; nothing has changed yet.
pub(super) struct Instant<'a> {
    pub(super) catalog: MutexGuard<'a, Catalog>,
    purpose: Purpose,
    data: Data,
    frozen: Vec<Frozen<'a>>,
    /// The points that the frozen branches stand for.
    points: BTreeMap<BranchName, StretchId>,
    /// Stretches of throwaway forks that the item makes durable, each up to a group.
    settled: Vec<(Arc<Stretch>, u64)>,
    next_stretch: StretchId,
    pub(super) next_branch: u64,
    item: Item,
    /// Bytes of the item that are unflushed writes.
    unflushed_bytes: usize,
    /// Something that is asked for awaits a point that was left behind.
    awaits: bool,
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
        if self.purpose == Purpose::Throwaways || self.data == Data::LeftBehind {
            return;
        }
        if let Some(stretch) = self.catalog.stretches.get(&last) {
            let is_frozen = self.frozen.iter().any(|frozen| frozen.head.stretch.id == last);
            let is_queued = stretch.state.lock().is_queued();
            self.awaits |= !is_frozen && !is_queued || self.catalog.is_awaiting(stretch);
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

    /// Lets the only branch that was frozen go on in another stretch than the one behind its point.
    pub(super) fn move_head(&mut self, engine: &Engine, stretch: Arc<Stretch>, view: View, ticket: Ticket) {
        if let [frozen] = &mut self.frozen[..] {
            engine.move_head(&mut self.catalog, &mut frozen.head, stretch, Some(view), ticket);
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
        apply: impl FnOnce(&mut Instant<'_>, P, Ticket),
    ) -> Result<()> {
        self.check_writable()?;
        let mut apply = Some(apply);
        let (mut attempt, mut is_streaming) = (0, false);
        let (mut flush_first, mut drain_first) = (false, false);
        // Bytes of records for which there is room in the manifest.
        let mut held = 0;
        let mut pinned: Option<Pinned<'_>> = None;
        let (ticket, bytes, cells) = loop {
            let cells = self.cells(branches)?;
            attempt += 1;
            let gates: Vec<_> = cells
                .iter()
                .filter(|_| attempt > PATIENCE || is_streaming)
                .map(|cell| cell.gate.write())
                .collect();
            let is_flushed = std::mem::take(&mut flush_first);
            if is_flushed {
                for cell in &cells {
                    self.flush_unpaced(cell)?;
                }
            }
            if std::mem::take(&mut drain_first) {
                self.drained(|upkeep| {
                    self.with_dead_space(upkeep, |upkeep| self.drain_all(upkeep).map(drop))
                })?;
            }
            let is_gated = !gates.is_empty();
            let mut instant = match self.freeze(purpose, branches, &cells, is_gated, pinned.as_ref())? {
                Ok(instant) => instant,
                Err(Unfrozen::Streaming) => {
                    // Whoever streams now ends its write, and nobody begins another.
                    is_streaming = true;
                    continue;
                }
                Err(Unfrozen::Unflushed) => {
                    flush_first = true;
                    continue;
                }
                Err(Unfrozen::Renamed) => {
                    pinned = None;
                    continue;
                }
            };
            // What is made of points that are left behind has to wait for them, unless nobody waits for that itself.
            let is_whole = instant.data == Data::Framed || purpose == Purpose::Throwaways;
            let planned = if is_whole {
                Some(plan(&mut instant)?)
            } else {
                // What is refused is refused before anything has changed.
                self.rehearse(&mut instant, &mut plan)?;
                None
            };
            // Nobody has written since the flush if the branches were gated then and are still.
            let is_settled = is_flushed && is_gated;
            let is_much = instant.unflushed_bytes > self.frame_data_bytes_max() && !is_settled;
            if is_whole && (instant.awaits || is_much) {
                // A flush leaves throwaway forks in memory.
                drain_first = instant.awaits || !instant.settled.is_empty();
                flush_first = is_much;
                continue;
            }
            let item = std::mem::take(&mut instant.item);
            let (records, bytes) = (item.records.len(), item.bytes() as u64);
            if records > held {
                if let Err(StoreError::NoSpace { .. }) =
                    self.space.hold_records(records - held, || self.unstored(), what)
                {
                    drop(instant);
                    drop(gates);
                    self.make_record_room(records - held, what)?;
                    held = records;
                    continue;
                }
                held = records;
            }
            let ticket = match self.journal.enqueue(item, Priority::User) {
                Ok(ticket) => ticket,
                Err(Refused::Failed(error)) => return Err(error),
                Err(Refused::NoRoom(item)) => {
                    drop(instant);
                    drop(gates);
                    self.make_journal_room(item.bytes() as u64)?;
                    continue;
                }
            };
            self.finish_points(&mut instant, ticket);
            if let Some(planned) = planned {
                if let Some(apply) = apply.take() {
                    apply(&mut instant, planned, ticket);
                }
                drop((instant, gates));
                break (ticket, bytes, cells);
            }
            // Several names may stand for one point.
            let (mut points, mut stretches) = (BTreeMap::new(), BTreeMap::new());
            for (name, point) in std::mem::take(&mut instant.points) {
                let cell = Arc::clone(&instant.catalog.entry(&name)?.cell);
                stretches.insert(point, instant.catalog.stretch(point)?);
                instant.catalog.retain(point);
                points.insert(name, (cell, point));
            }
            drop(instant);
            drop(gates);
            // That was for the records of this frame.
            held = 0;
            pinned = Some(Pinned { engine: self, points });
            is_streaming = false;
            self.drained(|upkeep| {
                self.with_dead_space(upkeep, |upkeep| self.drain_points(upkeep, &stretches).map(drop))
            })?;
        };
        if purpose == Purpose::Throwaways {
            return self.wait_if_much_is_queued(ticket);
        }
        self.wait(ticket)?;
        // What is of one branch alone is paced with what is written to it.
        let clock = match &cells[..] {
            [cell] => &cell.clock,
            _ => &self.pacers.of_several,
        };
        self.after_commit(clock, bytes);
        Ok(())
    }

    /// Finds out whether something can be made of points that are left behind, once they are stored.
    fn rehearse<P>(
        &self,
        instant: &mut Instant<'_>,
        plan: &mut impl FnMut(&mut Instant<'_>) -> Result<P>,
    ) -> Result<()> {
        let records = instant.item.records.len();
        let next = (instant.next_stretch, instant.next_branch);
        plan(instant)?;
        self.journal.check_size(instant.item.bytes())?;
        instant.item.records.truncate(records);
        (instant.next_stretch, instant.next_branch) = next;
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

    /// Locks the heads of branches, or takes the points at which they were frozen before, and makes an item of what follows.
    /// With `is_gated` nobody is streaming to them.
    fn freeze<'a>(
        &'a self,
        purpose: Purpose,
        branches: &BTreeSet<BranchName>,
        cells: &'a [Arc<BranchCell>],
        is_gated: bool,
        pinned: Option<&Pinned<'_>>,
    ) -> Result<Result<Instant<'a>, Unfrozen>> {
        let catalog = self.catalog.lock();
        let (next_stretch, next_branch) = (catalog.next_stretch, catalog.next_branch);
        let mut instant = Instant {
            catalog,
            purpose,
            data: Data::Framed,
            frozen: Vec::new(),
            points: BTreeMap::new(),
            settled: Vec::new(),
            next_stretch,
            next_branch,
            item: Item::default(),
            unflushed_bytes: 0,
            awaits: false,
            time: now(&*self.medium),
        };
        let mut named = branches
            .iter()
            .map(|name| instant.catalog.entry(name).map(|entry| (name, entry)))
            .collect::<Result<Vec<_>>>()?;
        // Heads are locked in the order of their branches' ids.
        named.sort_by_key(|(_, entry)| entry.cell.id);
        if named
            .iter()
            .zip(cells)
            .any(|((_, entry), cell)| !Arc::ptr_eq(&entry.cell, cell))
        {
            return Ok(Err(Unfrozen::Renamed));
        }
        if let Some(pinned) = pinned {
            for (name, entry) in named {
                match pinned.points.get(name) {
                    Some((cell, point)) if Arc::ptr_eq(cell, &entry.cell) => {
                        instant.points.insert(name.clone(), *point);
                    }
                    _ => return Ok(Err(Unfrozen::Renamed)),
                }
            }
            return Ok(Ok(instant));
        }
        let mut locked = Vec::with_capacity(cells.len());
        let (mut bytes, mut is_resized) = (0_usize, false);
        for ((name, entry), cell) in named.into_iter().zip(cells) {
            let streams = if is_gated {
                Some(cell.streams.lock())
            } else {
                cell.streams.try_lock()
            };
            let Some(streams) = streams else {
                return Ok(Err(Unfrozen::Streaming));
            };
            let mut head = cell.head.write_arc();
            head.close_group();
            let stretch = &head.stretch;
            let is_behind = instant.catalog.is_awaiting(stretch);
            let state = stretch.state.lock();
            let unchanged = stretch.parent.filter(|_| state.is_unchanged());
            let stays = (purpose == Purpose::Keeping).then_some(stretch.id);
            let same = stays.or(unchanged);
            if same.is_none() && !entry.is_throwaway() {
                let unflushed = Amount::of(&state);
                // What is behind a point that was left behind cannot come before it.
                bytes = bytes.saturating_add(if is_behind { usize::MAX } else { unflushed.bytes });
                is_resized |= unflushed.is_resized;
            }
            drop(state);
            let streams = Some(streams).filter(|streams| !streams.is_empty());
            locked.push((name.clone(), cell.id, entry.is_throwaway(), same, streams, head));
        }
        if bytes > self.frame_data_bytes_max() {
            if is_resized || purpose == Purpose::Replacing {
                return Ok(Err(Unfrozen::Unflushed));
            }
            instant.data = Data::LeftBehind;
        }
        for (name, branch, is_throwaway, same, streams, head) in locked {
            let stretch = Arc::clone(&head.stretch);
            let upto = stretch.state.lock().open_group - 1;
            let mut next = None;
            if let Some(point) = same {
                instant.settle(point);
            } else {
                if is_throwaway {
                    instant.settle(stretch.id);
                } else if instant.data == Data::Framed {
                    let unflushed = Unflushed::of(&stretch, &stretch.state.lock());
                    if !unflushed.is_empty() {
                        instant.unflushed_bytes = instant.unflushed_bytes.saturating_add(unflushed.bytes());
                        unflushed.add_to(&stretch, &mut instant.item);
                    }
                }
                let stretch = instant.new_stretch();
                instant.record(&Record::HeadMoved {
                    branch,
                    stretch,
                    parent: Some(head.stretch.id),
                    size: head.size,
                });
                next = Some(stretch);
            }
            instant.points.insert(name, same.unwrap_or(stretch.id));
            instant.frozen.push(Frozen {
                head,
                streams,
                next,
                is_throwaway,
                upto,
            });
        }
        Ok(Ok(instant))
    }

    /// Makes the frozen heads points, and lets their branches go on in new stretches.
    fn finish_points(&self, instant: &mut Instant<'_>, ticket: Ticket) {
        let catalog = &mut *instant.catalog;
        let is_framed = instant.data == Data::Framed;
        for (stretch, upto) in &instant.settled {
            let mut state = stretch.state.lock();
            state.unjournalled = false;
            state.written = state.written.max(*upto);
            state.ticket = state.ticket.max(ticket);
        }
        for Frozen {
            head,
            streams,
            next,
            is_throwaway,
            upto,
        } in &mut instant.frozen
        {
            let Some(next) = *next else { continue };
            let old = Arc::clone(&head.stretch);
            {
                let mut state = old.state.lock();
                state.is_point = true;
                if !*is_throwaway && is_framed {
                    state.written = state.written.max(*upto);
                }
                if let Some(streams) = streams
                    && !state.groups.is_empty()
                {
                    state.streams.append(streams);
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
