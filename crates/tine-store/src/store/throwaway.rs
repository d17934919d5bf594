//! Throwaway forks: for a test run, or one client's connection, that nobody will ask for again.
//!
//! One is a branch without a name whose records are queued for the journal like all others, in their order, but nobody
//! waits for them; and what is written to it goes to segments when memory is short, never to the journal. It goes when it
//! is dropped, when the store is closed, or when that is opened after a crash; unless it was kept.
//!
//! **Invariant:** what is not flagged as [unjournalled](super::stretch::StretchState::unjournalled) has no ancestor that is.

use std::collections::BTreeSet;

use crate::error::{Result, StoreError};
use crate::journal::commit::Ticket;
use crate::journal::record::{BranchMade, Record};
use crate::names::{BranchName, Target};
use crate::store::catalog::Stay;
use crate::store::fork::NewBranch;
use crate::store::instant::Purpose;
use crate::store::{Branch, Engine, Store};

impl Engine {
    /// Leaves what was queued to whoever needs the journal next, unless much has gathered.
    pub(super) fn wait_if_much_is_queued(&self, ticket: Ticket) -> Result<()> {
        if self.journal.has_much_queued() {
            self.wait(ticket)?;
            self.after_record();
        }
        Ok(())
    }

    /// Drops all throwaway forks.
    pub(super) fn forget_throwaways(&self) -> Result<()> {
        let names: Vec<BranchName> = {
            let catalog = self.catalog.lock();
            let throwaways = catalog.branches.iter().filter(|(_, entry)| entry.is_throwaway());
            throwaways.map(|(name, _)| name.clone()).collect()
        };
        if names.is_empty() {
            return Ok(());
        }
        self.forget_branches(&names, false)
    }
}

impl Store {
    /// Makes a fork for a while: as [`Store::fork`], but without a name that anybody else could ask for, and without
    /// waiting for the medium, however much of the source is unflushed. It is dropped by [`Store::drop_branches`] with the name that [`Branch::name`] tells, when
    /// the store is closed, and by a crash; [`Branch::flush`] of it only orders its writes. All else can be done with
    /// it that can be done with a branch. [`Store::keep`] makes it durable.
    ///
    /// # Errors
    /// As [`Store::fork`].
    pub fn fork_throwaway(&self, source: &Target) -> Result<Branch> {
        let branches = match source {
            Target::Branch(name) => BTreeSet::from([name.clone()]),
            Target::Snapshot(..) => BTreeSet::new(),
        };
        let mut name = None;
        self.engine().at_one_instant(
            (Purpose::Throwaways, "the fork"),
            &branches,
            |instant| {
                let (point, size) = instant.point(source)?;
                let made = BranchMade {
                    branch: instant.next_branch,
                    name: BranchName::unnamed(instant.next_branch).to_string(),
                    stretch: instant.new_stretch(),
                    parent: Some(point),
                    size,
                    created: instant.time,
                    origin: Some(source.to_string()),
                    ephemeral: true,
                };
                instant.record(&Record::BranchMade(made.clone()));
                Ok(NewBranch {
                    name: BranchName::unnamed(made.branch),
                    made,
                    stay: Stay::Throwaway,
                })
            },
            |instant, new, ticket| {
                name = Some(new.name.clone());
                self.engine().add_branch(&mut instant.catalog, new, ticket);
            },
        )?;
        let name = name.ok_or_else(|| StoreError::damaged("a fork was made without a name"))?;
        self.branch(&name).inspect_err(|_| {
            // Nobody knows it; if this fails too, it goes when the store is closed.
            let _ = self.engine().forget_branches(&[name], false);
        })
    }

    /// Makes a throwaway fork a branch of that name, with its snapshots and all that was written to it. Durable on return,
    /// in one frame with whatever no frame has yet of it and of the throwaway forks that it came from.
    ///
    /// # Errors
    /// [`StoreError::UnknownBranch`] or [`StoreError::NotThrowaway`] for `throwaway`, [`StoreError::BranchExists`] for
    /// `name`, and those of writing.
    pub fn keep(&self, throwaway: &BranchName, name: &BranchName) -> Result<()> {
        self.engine().at_one_instant(
            (Purpose::Keeping, "the fork that is to be kept"),
            &BTreeSet::from([throwaway.clone()]),
            |instant| {
                let entry = instant.catalog.entry(throwaway)?;
                if !entry.is_throwaway() {
                    return Err(StoreError::NotThrowaway {
                        name: throwaway.clone(),
                    });
                }
                let (branch, points) = (entry.cell.id, entry.points().collect::<Vec<_>>());
                instant.catalog.check_free(name)?;
                points.into_iter().for_each(|point| instant.settle(point));
                instant.record(&Record::Renamed {
                    branch,
                    name: name.to_string(),
                });
                Ok(())
            },
            |instant, (), _| {
                let catalog = &mut instant.catalog;
                if let Some(mut entry) = catalog.branches.remove(throwaway) {
                    entry.stay = Stay::Kept;
                    *entry.cell.name.lock() = name.clone();
                    catalog.branches.insert(name.clone(), entry);
                }
            },
        )
    }
}
