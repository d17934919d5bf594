//! What begins at a point: a new branch, a fork, a snapshot, a rollback.
//!
//! Each is a few records in one frame and a change of the catalog under its lock; nothing is read, folded or copied.
//! How branches are frozen at one instant is in `instant.rs`.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::block::DISK_BYTES_MAX;
use crate::buffer::StretchId;
use crate::codec::Encoder;
use crate::error::{Result, StoreError};
use crate::journal::commit::{Item, Priority, Ticket};
use crate::journal::record::{BranchMade, Record};
use crate::names::{BranchName, SnapshotName, Target};
use crate::planted::{Bug, planted};
use crate::store::catalog::{BranchCell, BranchEntry, Catalog, Snapshot, Stay};
use crate::store::instant::Purpose;
use crate::store::stretch::{ReadGuard, Stretch};
use crate::store::view::View;
use crate::store::{Branch, Engine, Store};

/// A branch to add to the catalog.
pub(super) struct NewBranch {
    pub(super) name: BranchName,
    pub(super) made: BranchMade,
    pub(super) stay: Stay,
}

impl Engine {
    pub(super) fn add_branch(&self, catalog: &mut Catalog, new: NewBranch, ticket: Ticket) {
        let NewBranch { name, made, stay } = new;
        let stretch = Stretch::new(made.stretch, made.parent, made.size);
        {
            let mut state = stretch.state.lock();
            state.ticket = ticket;
            state.unjournalled = stay == Stay::Throwaway;
            // The head.
            state.references = 1;
        }
        catalog.add(Arc::clone(&stretch));
        let origin = made.parent.zip(made.origin);
        if let Some((point, _)) = &origin {
            catalog.retain(*point);
        }
        catalog.next_stretch = catalog.next_stretch.max(made.stretch + 1);
        catalog.next_branch = catalog.next_branch.max(made.branch + 1);
        // A disk without ancestors is empty: nothing has to be loaded.
        let view = made.parent.is_none().then(View::empty);
        let entry = BranchEntry {
            cell: BranchCell::new(made.branch, name.clone(), self.head(stretch, made.size, view)),
            origin,
            created: made.created,
            stay,
            protected: false,
            snapshots: std::collections::BTreeMap::new(),
        };
        catalog.branches.insert(name, entry);
    }

    pub(crate) fn make_branch(&self, name: &BranchName, size: u64, stay: Stay) -> Result<BranchName> {
        if size > DISK_BYTES_MAX {
            return Err(StoreError::InvalidSize { size });
        }
        let mut made_name = name.clone();
        self.at_one_instant(
            (Purpose::Points, "the new branch"),
            &BTreeSet::new(),
            |instant| {
                instant.catalog.check_free(name)?;
                let branch = instant.next_branch;
                let name = match stay {
                    Stay::Kept => name.clone(),
                    _ => BranchName::unnamed(branch),
                };
                let made = BranchMade {
                    branch,
                    name: name.to_string(),
                    stretch: instant.new_stretch(),
                    parent: None,
                    size,
                    created: instant.time,
                    origin: None,
                    ephemeral: stay != Stay::Kept,
                };
                instant.record_branch(&made);
                made_name = name.clone();
                Ok(NewBranch { name, made, stay })
            },
            |instant, new, ticket| self.add_branch(&mut instant.catalog, new, ticket),
        )?;
        Ok(made_name)
    }
}

impl Store {
    /// Makes an empty disk of `size` bytes. One frame, one sync.
    ///
    /// # Errors
    /// [`StoreError::BranchExists`], [`StoreError::InvalidSize`], and those of writing.
    pub fn create_branch(&self, name: &BranchName, size: u64) -> Result<Branch> {
        self.engine().make_branch(name, size, Stay::Kept)?;
        self.branch(name)
    }

    /// Makes an independent branch that shares everything with its source, as it is when this is called: every write
    /// that completed before is in it. Durable on return: one frame with the source's unflushed blocks, one sync; if these are
    /// more than 1 MiB, they are drained before. Who writes to the source does not wait for that.
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
            (Purpose::Points, "the fork"),
            &branches.collect(),
            |instant| {
                let mut new = Vec::with_capacity(forks.len());
                let mut names = BTreeSet::new();
                // Mostly one source has many forks: it is looked up once.
                let mut last: Option<(&Target, StretchId, u64)> = None;
                for (source, name) in forks {
                    instant.catalog.check_free(name)?;
                    if !names.insert(name) {
                        return Err(StoreError::BranchExists { name: name.clone() });
                    }
                    let (point, size) = match last {
                        Some((same, point, size)) if same == source => (point, size),
                        _ => instant.point(source)?,
                    };
                    last = Some((source, point, size));
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
                    instant.record_branch(&made);
                    new.push(NewBranch {
                        name: name.clone(),
                        made,
                        stay: Stay::Kept,
                    });
                }
                Ok(new)
            },
            |instant, new, ticket| {
                for branch in new {
                    self.engine().add_branch(&mut instant.catalog, branch, ticket);
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
            (Purpose::Points, "the snapshot"),
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
            |instant, made, _| {
                let catalog = &mut instant.catalog;
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
    /// has written since is gone, unless `keep` names a fork that keeps it, up to the last write before the rollback.
    /// Durable on return; a crash before that leaves both the fork and the rollback, or neither. One frame, one sync; with `keep`
    /// what the branch has not flushed goes with it, or is stored before.
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
        // The snapshot may be dropped and made again while its view is loaded.
        while !match keep {
            Some(keep) => engine.begin_anew_keeping(branch, keep, &find)?,
            None => engine.begin_anew(branch, &find)?,
        } {}
        engine.after_drop()
    }
}

/// Finds the point at which a branch is to begin anew.
type Find<'a> = &'a dyn Fn(&Catalog) -> Result<StretchId>;

impl Engine {
    /// Returns a point and what it shows: read before anything is locked; a point does not change.
    fn load_point(&self, find: Find<'_>) -> Result<(StretchId, View)> {
        // Guarded: if it is dropped meanwhile, that is what is told, and not that something is missing.
        let (point, stretch, _guard) = {
            let catalog = self.catalog.lock();
            let point = find(&catalog)?;
            let stretch = catalog.stretch(point)?;
            let guard = ReadGuard::new(&stretch);
            (point, stretch, guard)
        };
        Ok((point, self.view(&stretch)?))
    }

    /// Lets a branch begin anew at a point; false if that was another by then.
    fn begin_anew(&self, branch: &BranchName, find: Find<'_>) -> Result<bool> {
        let (point, view) = self.load_point(find)?;
        let mut is_throwaway = false;
        let prepare = || {
            let catalog = self.catalog.lock();
            if find(&catalog)? != point {
                return Ok((None, Item::default()));
            }
            let entry = catalog.entry(branch)?;
            let cell = Arc::clone(&entry.cell);
            is_throwaway = entry.is_throwaway();
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
            let stretch = Stretch::new(stretch, Some(point), size);
            stretch.state.lock().unjournalled = is_throwaway;
            Ok((Some((catalog, head, stretch)), item))
        };
        let mut has_moved = false;
        let ticket = self.commit(Priority::User, prepare, |ready, ticket| {
            if let Some((mut catalog, mut head, stretch)) = ready {
                catalog.next_stretch = stretch.id + 1;
                self.move_head(&mut catalog, &mut head, stretch, Some(view), ticket);
                has_moved = true;
            }
        })?;
        if is_throwaway {
            self.wait_if_much_is_queued(ticket)?;
        } else {
            self.wait(ticket)?;
        }
        Ok(has_moved)
    }

    /// As [`Engine::begin_anew`], with a fork of what the branch was until then, at the same instant.
    fn begin_anew_keeping(&self, branch: &BranchName, keep: &BranchName, find: Find<'_>) -> Result<bool> {
        let (point, view) = self.load_point(find)?;
        let mut is_another = false;
        let done = self.at_one_instant(
            (Purpose::Replacing, "the fork"),
            &BTreeSet::from([branch.clone()]),
            |instant| {
                instant.catalog.check_free(keep)?;
                is_another = find(&instant.catalog)? != point;
                if is_another {
                    // Nothing has changed yet: it is done again.
                    return Err(StoreError::UnknownBranch { name: branch.clone() });
                }
                let (kept, size) = instant.point(&Target::Branch(branch.clone()))?;
                let made = BranchMade {
                    branch: instant.next_branch,
                    name: keep.to_string(),
                    stretch: instant.new_stretch(),
                    parent: Some(kept),
                    size,
                    created: instant.time,
                    origin: Some(branch.to_string()),
                    ephemeral: false,
                };
                instant.record_branch(&made);
                let stretch = instant.new_stretch();
                let size = instant.catalog.stretch(point)?.state.lock().size();
                let entry = instant.catalog.entry(branch)?;
                let (id, is_throwaway) = (entry.cell.id, entry.is_throwaway());
                instant.record(&Record::HeadMoved {
                    branch: id,
                    stretch,
                    parent: Some(point),
                    size,
                });
                let stretch = Stretch::new(stretch, Some(point), size);
                stretch.state.lock().unjournalled = is_throwaway;
                let new = NewBranch {
                    name: keep.clone(),
                    made,
                    stay: Stay::Kept,
                };
                Ok((new, stretch))
            },
            |instant, (new, stretch), ticket| {
                self.add_branch(&mut instant.catalog, new, ticket);
                instant.move_head(self, stretch, view, ticket);
            },
        );
        match done {
            Err(_) if is_another => Ok(false),
            done => done.map(|()| true),
        }
    }
}
