//! Names: the handle or the state that one stands for, another name, another size, and forgetting it.
//!
//! Dropping is never refused for want of room: it is what a full store needs.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::block::DISK_BYTES_MAX;
use crate::buffer::StretchId;
use crate::codec::Encoder;
use crate::error::{Result, StoreError};
use crate::index::written::WrittenBlocks;
use crate::journal::commit::{Item, Priority};
use crate::journal::record::Record;
use crate::names::{BranchName, SnapshotName, Target};
use crate::options::UpkeepMode;
use crate::store::catalog::{BranchCell, Catalog, Stay};
use crate::store::read_ahead::ReadAhead;
use crate::store::report::PointInfo;
use crate::store::state::State;
use crate::store::stretch::{ReadGuard, Stretch};
use crate::store::{Branch, Engine, Store};

impl Engine {
    /// Loads a branch's head into memory, if it is not there.
    pub(crate) fn load(&self, cell: &BranchCell) -> Result<()> {
        if cell.head.read().view.is_some() {
            return Ok(());
        }
        loop {
            // Guarded: the branch may be dropped meanwhile, and its ancestors with it.
            let (stretch, _guard) = {
                let head = cell.head.read();
                if head.view.is_some() || head.dropped {
                    return Ok(());
                }
                (Arc::clone(&head.stretch), ReadGuard::new(&head.stretch))
            };
            let view = self.view(&stretch)?;
            let written = self
                .has_own_room(&stretch)
                .then(|| self.written_set(&stretch, None))
                .transpose()?;
            let mut head = cell.head.write();
            // It may have been forked or rolled back meanwhile, which does not need it loaded.
            if Arc::ptr_eq(&head.stretch, &stretch) {
                if head.view.is_none() && !head.dropped {
                    head.set_loaded(view, written.map(|(written, _)| written));
                }
                return Ok(());
            }
        }
    }

    /// Tells whether there is memory for what a stretch wrote, as far as that was saved.
    fn has_own_room(&self, stretch: &Stretch) -> bool {
        let saved = stretch.state.lock().written_at;
        let entries = saved.map_or(0, |at| WrittenBlocks::entries_saved_in(at.bytes));
        self.own.has_room_for(entries.max(1))
    }

    /// Forgets branches. Never refused for want of room: dropping is what a full store needs.
    pub(crate) fn forget_branches(&self, names: &[BranchName], unfinished: bool) -> Result<()> {
        let mut only_throwaways = true;
        let forget = || {
            only_throwaways = true;
            let catalog = self.catalog.lock();
            let mut records = Encoder::default();
            for name in names {
                let entry = match catalog.branches.get(name) {
                    Some(entry) if unfinished || entry.stay != Stay::Unfinished => entry,
                    _ => return Err(StoreError::UnknownBranch { name: name.clone() }),
                };
                Record::BranchDropped {
                    branch: entry.cell.id,
                }
                .encode(&mut records);
                only_throwaways &= entry.is_throwaway();
            }
            let item = Item {
                records: records.bytes,
                ..Item::default()
            };
            Ok((catalog, item))
        };
        let mut dropped = Vec::new();
        let ticket = self.commit(Priority::Upkeep, forget, |mut catalog, _| {
            for name in names {
                let Some(entry) = catalog.branches.remove(name) else {
                    continue;
                };
                dropped.push(Arc::clone(&entry.cell));
                let head = {
                    let mut head = entry.cell.head.write();
                    head.set_dropped();
                    head.stretch.id
                };
                catalog.release(head, &self.segments);
                for point in entry.points() {
                    catalog.release(point, &self.segments);
                }
            }
        })?;
        // What they have in streams goes too, now that no head is locked.
        for cell in dropped {
            cell.streams.lock().clear();
        }
        if only_throwaways {
            // If this is lost, so are they.
            self.wait_if_much_is_queued(ticket)?;
        } else {
            self.wait(ticket)?;
        }
        self.after_drop()
    }

    /// Gives back what was dropped: at once, or by the store's own thread.
    pub(super) fn after_drop(&self) -> Result<()> {
        self.after_record();
        self.close_departed_streams();
        match self.mode {
            UpkeepMode::Background => self.wake_thread(),
            UpkeepMode::Inline => match self.reclaim(&mut self.upkeep.lock()) {
                // What was dropped is dropped; its space is asked for again by whoever needs some.
                Err(StoreError::NoSpace { .. }) => {}
                result => result?,
            },
        }
        Ok(())
    }

    /// Gives a branch that is kept another name, or one that was being made its first.
    pub(crate) fn rename(&self, from: &BranchName, to: &BranchName, stay: Stay) -> Result<()> {
        let find = |catalog: &Catalog| {
            catalog.check_free(to)?;
            let entry = catalog.branches.get(from).filter(|entry| entry.stay == stay);
            match entry {
                Some(entry) => Ok(entry.cell.id),
                None => Err(StoreError::UnknownBranch { name: from.clone() }),
            }
        };
        // The next manifest has the new name, which may be longer. Nothing is held for what is refused.
        find(&self.catalog.lock())?;
        self.make_record_room(to.to_string().len(), "the new name")?;
        let rename = || {
            let catalog = self.catalog.lock();
            let branch = find(&catalog)?;
            let mut records = Encoder::default();
            Record::Renamed {
                branch,
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
                entry.stay = Stay::Kept;
                *entry.cell.name.lock() = to.clone();
                catalog.branches.insert(to.clone(), entry);
            }
        })?;
        self.wait(ticket)
    }
}

impl Store {
    pub(super) fn engine(&self) -> &Engine {
        &self.running.engine
    }

    /// Returns a handle on a branch. The first one loads the branch's index.
    ///
    /// # Errors
    /// [`StoreError::UnknownBranch`], and those of reading.
    pub fn branch(&self, name: &BranchName) -> Result<Branch> {
        let cell = Arc::clone(&self.engine().catalog.lock().entry(name)?.cell);
        self.handle(cell)
    }

    /// Returns a branch's number, as [`Branch::id`] does, without loading it.
    ///
    /// # Errors
    /// [`StoreError::UnknownBranch`].
    pub fn branch_id(&self, name: &BranchName) -> Result<u64> {
        Ok(self.engine().catalog.lock().entry(name)?.cell.id)
    }

    /// Tells whether a branch is protected from those to whom it is served; see [`Store::protect`]. O(1).
    ///
    /// # Errors
    /// [`StoreError::UnknownBranch`].
    pub fn is_protected(&self, name: &BranchName) -> Result<bool> {
        Ok(self.engine().catalog.lock().entry(name)?.protected)
    }

    pub(crate) fn handle(&self, cell: Arc<BranchCell>) -> Result<Branch> {
        self.engine().load(&cell)?;
        Ok(Branch {
            running: Arc::clone(&self.running),
            cell,
            ahead: ReadAhead::default(),
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
        self.state_at(|catalog| catalog.snapshot(branch, snapshot))
    }

    /// Returns the state at a point of the family tree, whether it has a name or not; of a branch's head as it is now.
    ///
    /// # Errors
    /// [`StoreError::UnknownPoint`] once nothing stands on it any more, and those of reading.
    pub fn point_state(&self, point: &PointInfo) -> Result<State> {
        if let Some(branch) = &point.branch {
            return self.branch(branch)?.state();
        }
        self.state_at(|catalog| {
            let found = catalog.stretches.get(&point.id);
            // One that departed is read still by who found it before.
            let is_there = found.is_some_and(|stretch| !stretch.is_dropped());
            is_there
                .then_some(point.id)
                .ok_or(StoreError::UnknownPoint { point: point.id })
        })
    }

    /// Returns the state at the point that `find` names.
    fn state_at(&self, find: impl Fn(&Catalog) -> Result<StretchId>) -> Result<State> {
        let engine = self.engine();
        loop {
            let (stretch, guard) = {
                let catalog = engine.catalog.lock();
                let stretch = catalog.stretch(find(&catalog)?)?;
                let guard = ReadGuard::new(&stretch);
                (stretch, guard)
            };
            let view = engine.view(&stretch);
            let size = {
                let state = stretch.state.lock();
                if state.dropped {
                    // What it had in memory went with it, so the view may lack that; nor is it found any more.
                    continue;
                }
                state.size()
            };
            return Ok(State {
                view: view?,
                size,
                stretch: stretch.id,
                pin: None,
                _guard: guard,
                ahead: ReadAhead::default(),
                running: Arc::clone(&self.running),
            });
        }
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
        let forget = || {
            let catalog = engine.catalog.lock();
            let point = catalog.snapshot(branch, snapshot)?;
            let id = catalog.entry(branch)?.cell.id;
            let mut records = Encoder::default();
            Record::SnapshotDropped {
                branch: id,
                name: snapshot.to_string(),
            }
            .encode(&mut records);
            let item = Item {
                records: records.bytes,
                ..Item::default()
            };
            Ok(((catalog, point), item))
        };
        let ticket = engine.commit(Priority::Upkeep, forget, |(mut catalog, point), _| {
            if let Some(entry) = catalog.branches.get_mut(branch) {
                entry.snapshots.remove(snapshot);
            }
            catalog.release(point, &engine.segments);
        })?;
        engine.wait(ticket)?;
        engine.after_drop()
    }

    /// Gives a branch another name. Durable on return.
    ///
    /// # Errors
    /// [`StoreError::UnknownBranch`], [`StoreError::BranchExists`], and those of writing.
    pub fn rename(&self, from: &BranchName, to: &BranchName) -> Result<()> {
        self.engine().rename(from, to, Stay::Kept)
    }

    /// Says whether those to whom the branch is served may write to it: a mark that servers heed, and that forks do not
    /// inherit. The engine itself writes to a protected branch like to any. Durable on return.
    ///
    /// # Errors
    /// [`StoreError::UnknownBranch`], and those of writing.
    pub fn protect(&self, name: &BranchName, protected: bool) -> Result<()> {
        let engine = self.engine();
        let protect = || {
            let catalog = engine.catalog.lock();
            let entry = catalog.entry(name)?;
            if !entry.is_kept() {
                return Err(StoreError::UnknownBranch { name: name.clone() });
            }
            let mut records = Encoder::default();
            Record::Protected {
                branch: entry.cell.id,
                protected,
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
        let ticket = engine.commit(Priority::User, protect, |mut catalog, _| {
            if let Some(entry) = catalog.branches.get_mut(name) {
                entry.protected = protected;
            }
        })?;
        engine.wait(ticket)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::medium::simulated::{Chooser, SimulatedMedium, SimulatedOptions};
    use crate::{CreateOptions, OpenOptions};

    #[test]
    fn what_is_dropped_before_it_was_read_is_not_found() {
        let medium = SimulatedMedium::new(SimulatedOptions::default(), Chooser::seeded(1));
        let store = Store::create_on(medium.start(), &CreateOptions::default(), OpenOptions::default())
            .expect("a store");
        let (name, snapshot): (BranchName, SnapshotName) =
            ("a".parse().expect("valid"), "s".parse().expect("valid"));
        let branch = store.create_branch(&name, 1 << 20).expect("a branch");
        branch.write_at(&[7; 4096], 0).expect("written");
        store
            .snapshot(&[(name.clone(), snapshot.clone())])
            .expect("a snapshot");
        let point = {
            let catalog = store.engine().catalog.lock();
            let id = catalog.snapshot(&name, &snapshot).expect("it is there");
            catalog.stretch(id).expect("a point")
        };
        let target = Target::Snapshot(name.clone(), snapshot.clone());
        std::thread::scope(|scope| {
            // Who reads it has found it by now, and waits.
            let mut state = point.state.lock();
            let reader = scope.spawn(|| store.state(&target));
            while !point.is_read() {
                std::thread::yield_now();
            }
            // As a drop does it.
            let mut catalog = store.engine().catalog.lock();
            let entry = catalog.branches.get_mut(&name).expect("it is there");
            entry.snapshots.remove(&snapshot);
            (state.dropped, state.view) = (true, None);
            state.groups.clear();
            drop((catalog, state));
            let found = reader.join().expect("no panic");
            assert!(
                matches!(found, Err(StoreError::UnknownSnapshot { .. })),
                "{found:?}"
            );
        });
    }
}
