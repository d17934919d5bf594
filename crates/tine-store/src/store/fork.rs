//! Names and points: fork, snapshot, rollback, drop, rename, resize.
//!
//! Each is a few records in one frame and a change of the catalog under its lock; nothing is read, folded or copied.
//! The parent's unflushed blocks go into the same frame, before the entry of the point, which precedes everything of
//! the stretches that follow it (rule 4).

use std::collections::BTreeSet;
use std::sync::Arc;

use parking_lot::lock_api::ArcRwLockWriteGuard;
use parking_lot::{MutexGuard, RawRwLock};

use crate::block::DISK_BYTES_MAX;
use crate::buffer::StretchId;
use crate::codec::Encoder;
use crate::error::{Result, StoreError};
use crate::journal::commit::{Item, Priority, Ticket};
use crate::journal::record::{BranchMade, Record};
use crate::names::{BranchName, SnapshotName, Target};
use crate::overlay::Overlay;
use crate::planted::{Bug, planted};
use crate::store::catalog::{BranchCell, BranchEntry, Catalog, Snapshot};
use crate::store::flush::Unflushed;
use crate::store::head::Head;
use crate::store::state::State;
use crate::store::stretch::Stretch;
use crate::store::{Branch, Engine, Store, now};

/// After so many attempts to get ahead of a branch's writers, they are held back.
const PATIENCE: usize = 4;

/// A branch that is being frozen: its head becomes a point unless nothing changed since the last one.
struct Frozen {
    name: BranchName,
    head: ArcRwLockWriteGuard<RawRwLock, Head>,
    point: StretchId,
    /// The stretch in which the branch goes on; absent if its last point serves again.
    next: Option<StretchId>,
    /// The last group of the point.
    upto: u64,
}

/// Branches frozen at one instant, and the item that says so; nothing has changed yet.
struct Instant<'a> {
    catalog: MutexGuard<'a, Catalog>,
    frozen: Vec<Frozen>,
    next_stretch: StretchId,
    next_branch: u64,
    item: Item,
    /// Bytes of the item that are unflushed writes.
    unflushed_bytes: usize,
    time: u64,
}

impl Instant<'_> {
    fn record(&mut self, record: &Record) {
        let mut records = Encoder {
            bytes: std::mem::take(&mut self.item.records),
        };
        record.encode(&mut records);
        self.item.records = records.bytes;
    }

    fn new_stretch(&mut self) -> StretchId {
        self.next_stretch += 1;
        self.next_stretch - 1
    }

    /// Returns the point that a target stands for, and its size.
    fn point(&self, target: &Target) -> Result<(StretchId, u64)> {
        let point = match target {
            Target::Snapshot(branch, snapshot) => self.catalog.snapshot(branch, snapshot)?,
            Target::Branch(name) => {
                let frozen = self.frozen.iter().find(|frozen| frozen.name == *name);
                frozen
                    .ok_or_else(|| StoreError::UnknownBranch { name: name.clone() })?
                    .point
            }
        };
        let size = self.catalog.stretch(point)?.state.lock().size();
        Ok((point, size))
    }
}

/// Branches to add to the catalog.
struct NewBranch {
    name: BranchName,
    made: BranchMade,
}

impl Engine {
    /// Freezes branches at one instant, lets `plan` add records, queues all of it as one frame and then changes the
    /// catalog: first by the points, then as `apply` says. Returns when it is durable.
    fn at_one_instant<P>(
        &self,
        branches: &BTreeSet<BranchName>,
        mut plan: impl FnMut(&mut Instant<'_>) -> Result<P>,
        apply: impl FnOnce(&mut Catalog, P, Ticket),
    ) -> Result<()> {
        self.check_writable()?;
        let mut apply = Some(apply);
        let mut attempt = 0;
        let ticket = loop {
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
            let mut instant = self.freeze(branches)?;
            if instant.unflushed_bytes > self.frame_data_bytes_max() && attempt <= PATIENCE {
                continue;
            }
            let planned = plan(&mut instant)?;
            let item = std::mem::take(&mut instant.item);
            match self.journal.enqueue(item, Priority::User) {
                Ok(ticket) => {
                    self.finish_points(&mut instant, ticket);
                    if let Some(apply) = apply.take() {
                        apply(&mut instant.catalog, planned, ticket);
                    }
                    break ticket;
                }
                Err(crate::journal::commit::Refused::Failed(error)) => return Err(error),
                Err(crate::journal::commit::Refused::NoRoom) => {
                    drop(instant);
                    drop(gates);
                    self.make_journal_room()?;
                }
            }
        };
        self.wait(ticket)?;
        self.after_commit();
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

    fn freeze(&self, branches: &BTreeSet<BranchName>) -> Result<Instant<'_>> {
        let catalog = self.catalog.lock();
        let (next_stretch, next_branch) = (catalog.next_stretch, catalog.next_branch);
        let mut instant = Instant {
            catalog,
            frozen: Vec::new(),
            next_stretch,
            next_branch,
            item: Item::default(),
            unflushed_bytes: 0,
            time: now(),
        };
        let mut cells = branches
            .iter()
            .map(|name| Ok((name.clone(), Arc::clone(&instant.catalog.entry(name)?.cell))))
            .collect::<Result<Vec<_>>>()?;
        // Heads are locked in the order of their branches' ids.
        cells.sort_by_key(|(_, cell)| cell.id);
        for (name, cell) in cells {
            let mut head = cell.head.write_arc();
            head.close_group();
            let stretch = Arc::clone(&head.stretch);
            let state = stretch.state.lock();
            let unchanged = stretch.parent.filter(|_| state.is_unchanged());
            let upto = state.open_group - 1;
            if let Some(point) = unchanged {
                instant.frozen.push(Frozen {
                    name,
                    head,
                    point,
                    next: None,
                    upto,
                });
                continue;
            }
            let unflushed = Unflushed::of(&stretch, &state);
            drop(state);
            if !unflushed.is_empty() {
                instant.unflushed_bytes += unflushed.bytes();
                unflushed.add_to(&stretch, &mut instant.item);
            }
            let next = instant.new_stretch();
            let size = head.size;
            instant.record(&Record::HeadMoved {
                branch: cell.id,
                stretch: next,
                parent: Some(stretch.id),
                size,
            });
            instant.frozen.push(Frozen {
                name,
                head,
                point: stretch.id,
                next: Some(next),
                upto,
            });
        }
        Ok(instant)
    }

    /// Makes the frozen heads points, and lets their branches go on in new stretches.
    fn finish_points(&self, instant: &mut Instant<'_>, ticket: Ticket) {
        let catalog = &mut *instant.catalog;
        for Frozen { head, next, upto, .. } in &mut instant.frozen {
            let Some(next) = *next else { continue };
            let old = Arc::clone(&head.stretch);
            {
                let mut state = old.state.lock();
                state.is_point = true;
                state.written = state.written.max(*upto);
                state.ticket = state.ticket.max(ticket);
                state.view = head.overlay.clone();
            }
            let overlay = head.overlay.clone();
            let size = head.size;
            self.move_head(
                catalog,
                head,
                Stretch::new(next, Some(old.id), size),
                overlay,
                ticket,
            );
        }
        catalog.next_stretch = catalog.next_stretch.max(instant.next_stretch);
    }

    /// Lets a branch go on in a new stretch; its former one stays only if something else refers to it.
    fn move_head(
        &self,
        catalog: &mut Catalog,
        head: &mut Head,
        stretch: Arc<Stretch>,
        overlay: Option<Overlay>,
        ticket: Ticket,
    ) {
        let old = head.stretch.id;
        let size = stretch.state.lock().size();
        stretch.state.lock().ticket = ticket;
        catalog.add(Arc::clone(&stretch));
        catalog.retain(stretch.id);
        *head = Head::new(stretch, size, overlay);
        catalog.release(old, &self.segments);
    }

    fn add_branch(catalog: &mut Catalog, new: NewBranch, ticket: Ticket) {
        let NewBranch { name, made } = new;
        let stretch = Stretch::new(made.stretch, made.parent, made.size);
        stretch.state.lock().ticket = ticket;
        catalog.add(Arc::clone(&stretch));
        catalog.retain(stretch.id);
        let origin = made.parent.zip(made.origin);
        if let Some((point, _)) = &origin {
            catalog.retain(*point);
        }
        catalog.next_stretch = catalog.next_stretch.max(made.stretch + 1);
        catalog.next_branch = catalog.next_branch.max(made.branch + 1);
        // A disk without ancestors is empty: nothing has to be loaded.
        let overlay = made.parent.is_none().then(Overlay::new);
        let entry = BranchEntry {
            cell: BranchCell::new(made.branch, name.clone(), Head::new(stretch, made.size, overlay)),
            origin,
            created: made.created,
            ephemeral: made.ephemeral,
            snapshots: std::collections::BTreeMap::new(),
        };
        catalog.branches.insert(name, entry);
    }

    /// Loads a branch's head into memory, if it is not there.
    pub(crate) fn load(&self, cell: &BranchCell) -> Result<()> {
        if cell.head.read().overlay.is_some() {
            return Ok(());
        }
        let _upkeep = self.upkeep.lock();
        loop {
            let stretch = {
                let head = cell.head.read();
                if head.overlay.is_some() || head.dropped {
                    return Ok(());
                }
                Arc::clone(&head.stretch)
            };
            let overlay = self.head_view(&stretch)?;
            let mut head = cell.head.write();
            // It may have been forked or rolled back meanwhile, which does not need it loaded.
            if Arc::ptr_eq(&head.stretch, &stretch) {
                head.overlay = Some(overlay);
                return Ok(());
            }
        }
    }

    pub(crate) fn make_branch(&self, name: &BranchName, size: u64, ephemeral: bool) -> Result<BranchName> {
        if size > DISK_BYTES_MAX {
            return Err(StoreError::InvalidSize { size });
        }
        let mut made_name = name.clone();
        self.at_one_instant(
            &BTreeSet::new(),
            |instant| {
                instant.catalog.check_free(name)?;
                let branch = instant.next_branch;
                let name = if ephemeral {
                    BranchName::unfinished(branch)
                } else {
                    name.clone()
                };
                let made = BranchMade {
                    branch,
                    name: name.to_string(),
                    stretch: instant.new_stretch(),
                    parent: None,
                    size,
                    created: instant.time,
                    origin: None,
                    ephemeral,
                };
                instant.record(&Record::BranchMade(made.clone()));
                made_name = name.clone();
                Ok(NewBranch { name, made })
            },
            Self::add_branch,
        )?;
        Ok(made_name)
    }

    /// Forgets branches. Never refused for want of room: dropping is what a full store needs.
    pub(crate) fn forget_branches(&self, names: &[BranchName], unfinished: bool) -> Result<()> {
        let ticket = {
            let mut catalog = self.catalog.lock();
            let mut records = Encoder::default();
            for name in names {
                let entry = match catalog.branches.get(name) {
                    Some(entry) if unfinished || !entry.ephemeral => entry,
                    _ => return Err(StoreError::UnknownBranch { name: name.clone() }),
                };
                Record::BranchDropped {
                    branch: entry.cell.id,
                }
                .encode(&mut records);
            }
            let ticket = self.enqueue_upkeep(Item {
                records: records.bytes,
                ..Item::default()
            })?;
            for name in names {
                let Some(entry) = catalog.branches.remove(name) else {
                    continue;
                };
                let head = {
                    let mut head = entry.cell.head.write();
                    head.dropped = true;
                    head.overlay = None;
                    head.stretch.id
                };
                catalog.release(head, &self.segments);
                for point in entry
                    .snapshots
                    .values()
                    .map(|s| s.point)
                    .chain(entry.origin.map(|(point, _)| point))
                {
                    catalog.release(point, &self.segments);
                }
            }
            ticket
        };
        self.wait(ticket)?;
        self.after_drop()
    }

    /// Gives back what was dropped: at once, or by the store's own thread.
    fn after_drop(&self) -> Result<()> {
        self.after_commit();
        match self.mode {
            crate::options::UpkeepMode::Background => self.wake_thread(),
            crate::options::UpkeepMode::Inline => self.reclaim(&mut self.upkeep.lock())?,
        }
        Ok(())
    }

    pub(crate) fn rename(&self, from: &BranchName, to: &BranchName, unfinished: bool) -> Result<()> {
        let rename = || {
            let catalog = self.catalog.lock();
            if !unfinished {
                catalog.entry(from)?;
            }
            catalog.check_free(to)?;
            let entry = catalog
                .branches
                .get(from)
                .ok_or_else(|| StoreError::UnknownBranch { name: from.clone() })?;
            let mut records = Encoder::default();
            Record::Renamed {
                branch: entry.cell.id,
                name: to.to_string(),
            }
            .encode(&mut records);
            Ok((
                catalog,
                Item {
                    records: records.bytes,
                    ..Item::default()
                },
            ))
        };
        let ticket = self.commit(Priority::User, rename, |mut catalog, _| {
            if let Some(mut entry) = catalog.branches.remove(from) {
                entry.ephemeral = false;
                *entry.cell.name.lock() = to.clone();
                catalog.branches.insert(to.clone(), entry);
            }
        })?;
        self.wait(ticket)
    }
}

impl Store {
    fn engine(&self) -> &Engine {
        &self.running.engine
    }

    /// Makes an empty disk of `size` bytes. One frame, one sync.
    ///
    /// # Errors
    /// [`StoreError::BranchExists`], [`StoreError::InvalidSize`], and those of writing.
    pub fn create_branch(&self, name: &BranchName, size: u64) -> Result<Branch> {
        self.engine().make_branch(name, size, false)?;
        self.branch(name)
    }

    /// Returns a handle on a branch. The first one loads the branch's index.
    ///
    /// # Errors
    /// [`StoreError::UnknownBranch`], and those of reading.
    pub fn branch(&self, name: &BranchName) -> Result<Branch> {
        let cell = Arc::clone(&self.engine().catalog.lock().entry(name)?.cell);
        self.handle(cell)
    }

    pub(crate) fn handle(&self, cell: Arc<BranchCell>) -> Result<Branch> {
        self.engine().load(&cell)?;
        Ok(Branch {
            running: Arc::clone(&self.running),
            cell,
        })
    }

    /// Returns a disk as it is now, with what was not flushed, or as a snapshot has it.
    ///
    /// # Errors
    /// [`StoreError::UnknownBranch`], [`StoreError::UnknownSnapshot`], and those of reading.
    pub fn state(&self, target: &Target) -> Result<State> {
        let Target::Snapshot(branch, snapshot) = target else {
            return self.branch(target.branch())?.state();
        };
        let engine = self.engine();
        let _upkeep = engine.upkeep.lock();
        let stretch = {
            let catalog = engine.catalog.lock();
            let point = catalog.snapshot(branch, snapshot)?;
            catalog.stretch(point)?
        };
        let size = stretch.state.lock().size();
        Ok(State {
            overlay: engine.point_view(stretch.id)?,
            size,
            stretch: stretch.id,
            pin: None,
            _running: Arc::clone(&self.running),
        })
    }

    /// Makes an independent branch that shares everything with its source, as it is when this is called: every write
    /// that completed before is in it. Durable on return: one frame with the source's unflushed blocks, one sync.
    ///
    /// # Errors
    /// [`StoreError::UnknownBranch`], [`StoreError::UnknownSnapshot`], [`StoreError::BranchExists`], and those of
    /// writing.
    pub fn fork(&self, source: &Target, name: &BranchName) -> Result<()> {
        self.fork_many(&[(source.clone(), name.clone())])
    }

    /// Makes many forks at one instant, all or none, in one frame.
    ///
    /// # Errors
    /// As [`Store::fork`]; [`StoreError::TooLarge`] if the records do not fit into a frame.
    pub fn fork_many(&self, forks: &[(Target, BranchName)]) -> Result<()> {
        let branches = forks.iter().filter_map(|(source, _)| match source {
            Target::Branch(name) => Some(name.clone()),
            Target::Snapshot(..) => None,
        });
        self.engine().at_one_instant(
            &branches.collect(),
            |instant| {
                let mut new = Vec::with_capacity(forks.len());
                let mut names = BTreeSet::new();
                for (source, name) in forks {
                    instant.catalog.check_free(name)?;
                    if !names.insert(name) {
                        return Err(StoreError::BranchExists { name: name.clone() });
                    }
                    let (point, size) = instant.point(source)?;
                    let made = BranchMade {
                        branch: instant.next_branch,
                        name: name.to_string(),
                        stretch: instant.new_stretch(),
                        parent: Some(point),
                        size,
                        created: instant.time,
                        origin: Some(source.to_string()),
                        ephemeral: false,
                    };
                    instant.next_branch += 1;
                    instant.record(&Record::BranchMade(made.clone()));
                    new.push(NewBranch {
                        name: name.clone(),
                        made,
                    });
                }
                Ok(new)
            },
            |catalog, new, ticket| {
                for branch in new {
                    Engine::add_branch(catalog, branch, ticket);
                }
            },
        )
    }

    /// Names the present state of branches, all at one instant, all or none. Durable on return.
    ///
    /// # Errors
    /// [`StoreError::UnknownBranch`], [`StoreError::SnapshotExists`], and those of writing.
    pub fn snapshot(&self, snapshots: &[(BranchName, SnapshotName)]) -> Result<()> {
        self.engine().at_one_instant(
            &snapshots.iter().map(|(branch, _)| branch.clone()).collect(),
            |instant| {
                let mut made = Vec::with_capacity(snapshots.len());
                let mut names = BTreeSet::new();
                for (branch, name) in snapshots {
                    let entry = instant.catalog.entry(branch)?;
                    if entry.snapshots.contains_key(name) || !names.insert((branch, name)) {
                        return Err(StoreError::SnapshotExists {
                            branch: branch.clone(),
                            snapshot: name.clone(),
                        });
                    }
                    let id = entry.cell.id;
                    let (point, _) = instant.point(&Target::Branch(branch.clone()))?;
                    let created = instant.time;
                    let name_text = name.to_string();
                    instant.record(&Record::SnapshotMade {
                        branch: id,
                        name: name_text,
                        point,
                        created,
                    });
                    made.push((branch.clone(), name.clone(), Snapshot { point, created }));
                }
                Ok(made)
            },
            |catalog, made, _| {
                for (branch, name, snapshot) in made {
                    catalog.retain(snapshot.point);
                    if let Some(entry) = catalog.branches.get_mut(&branch) {
                        entry.snapshots.insert(name, snapshot);
                    }
                }
            },
        )
    }

    /// Makes a branch equal to one of its snapshots again, or, with `None`, to what it was forked from. What it
    /// has written since is gone, unless `keep` names a fork that keeps it. Durable on return; a crash before that may leave
    /// the fork without the rollback, never the rollback without the fork.
    ///
    /// # Errors
    /// [`StoreError::UnknownBranch`], [`StoreError::UnknownSnapshot`], [`StoreError::NoOrigin`],
    /// [`StoreError::BranchExists`] for `keep`, and those of reading and writing.
    pub fn rollback(
        &self,
        branch: &BranchName,
        to: Option<&SnapshotName>,
        keep: Option<&BranchName>,
    ) -> Result<()> {
        let engine = self.engine();
        let find = |catalog: &Catalog| {
            let point = match to {
                Some(snapshot) => catalog.snapshot(branch, snapshot)?,
                None => match &catalog.entry(branch)?.origin {
                    Some((point, _)) => *point,
                    None => {
                        return Err(StoreError::NoOrigin {
                            branch: branch.clone(),
                        });
                    }
                },
            };
            let wrong = catalog
                .stretch(point)?
                .parent
                .filter(|_| planted(Bug::RollbackWrongPoint));
            Ok(wrong.unwrap_or(point))
        };
        find(&engine.catalog.lock())?;
        if let Some(keep) = keep {
            self.fork(&Target::Branch(branch.clone()), keep)?;
        }
        // Loaded before anything is locked; a point does not change.
        let loaded = {
            let _upkeep = engine.upkeep.lock();
            let point = find(&engine.catalog.lock())?;
            (point, engine.point_view(point)?)
        };
        let prepare = || {
            let catalog = engine.catalog.lock();
            let point = find(&catalog)?;
            let cell = Arc::clone(&catalog.entry(branch)?.cell);
            // Waits for the writes that are under way.
            let head = cell.head.write_arc();
            let stretch = catalog.next_stretch;
            let size = catalog.stretch(point)?.state.lock().size();
            let mut records = Encoder::default();
            Record::HeadMoved {
                branch: cell.id,
                stretch,
                parent: Some(point),
                size,
            }
            .encode(&mut records);
            let item = Item {
                records: records.bytes,
                ..Item::default()
            };
            Ok(((catalog, head, point, stretch, size), item))
        };
        let ticket = engine.commit(
            Priority::User,
            prepare,
            |(mut catalog, mut head, point, stretch, size), ticket| {
                // The snapshot may have been dropped and made again since its view was loaded.
                let overlay = (loaded.0 == point).then_some(loaded.1);
                catalog.next_stretch = stretch + 1;
                engine.move_head(
                    &mut catalog,
                    &mut head,
                    Stretch::new(stretch, Some(point), size),
                    overlay,
                    ticket,
                );
            },
        )?;
        engine.wait(ticket)?;
        let cell = Arc::clone(&engine.catalog.lock().entry(branch)?.cell);
        engine.load(&cell)?;
        engine.after_drop()
    }

    /// Forgets branches and their snapshots, all or none. Forks of them stay what they are. Durable on return; the
    /// space of what was theirs alone comes back soon after.
    ///
    /// # Errors
    /// [`StoreError::UnknownBranch`], and those of writing.
    pub fn drop_branches(&self, names: &[BranchName]) -> Result<()> {
        let unique: BTreeSet<BranchName> = names.iter().cloned().collect();
        self.engine()
            .forget_branches(&unique.into_iter().collect::<Vec<_>>(), false)
    }

    /// Forgets a snapshot. Durable on return.
    ///
    /// # Errors
    /// [`StoreError::UnknownBranch`], [`StoreError::UnknownSnapshot`], and those of writing.
    pub fn drop_snapshot(&self, branch: &BranchName, snapshot: &SnapshotName) -> Result<()> {
        let engine = self.engine();
        let ticket = {
            let mut catalog = engine.catalog.lock();
            let point = catalog.snapshot(branch, snapshot)?;
            let id = catalog.entry(branch)?.cell.id;
            let mut records = Encoder::default();
            Record::SnapshotDropped {
                branch: id,
                name: snapshot.to_string(),
            }
            .encode(&mut records);
            let ticket = engine.enqueue_upkeep(Item {
                records: records.bytes,
                ..Item::default()
            })?;
            catalog.entry_mut(branch)?.snapshots.remove(snapshot);
            catalog.release(point, &engine.segments);
            ticket
        };
        engine.wait(ticket)?;
        engine.after_drop()
    }

    /// Gives a branch another name. Durable on return.
    ///
    /// # Errors
    /// [`StoreError::UnknownBranch`], [`StoreError::BranchExists`], and those of writing.
    pub fn rename(&self, from: &BranchName, to: &BranchName) -> Result<()> {
        self.engine().rename(from, to, false)
    }

    /// Changes a disk's size. What a smaller disk loses reads as zeroes if it grows again. Durable on return.
    ///
    /// # Errors
    /// [`StoreError::UnknownBranch`], [`StoreError::InvalidSize`], and those of writing.
    pub fn resize(&self, name: &BranchName, size: u64) -> Result<()> {
        if size > DISK_BYTES_MAX {
            return Err(StoreError::InvalidSize { size });
        }
        self.branch(name)?.resize(size)
    }
}
