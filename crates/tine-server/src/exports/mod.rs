//! The disks of a store as NBD exports: every branch by its name, its snapshots, and throwaway forks of both.
//!
//! **Invariant:** looking makes nothing: a fork is made when a connection enters transmission with it, never for a listing
//! or a description.

mod context;
mod disk;
mod fault;
mod name;
mod reading;
#[cfg(test)]
mod renamed_tests;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use tine_nbd::{Client, Export, ExportInfo, Exports, Features, Listing, Refusal, RefusalKind};
use tine_store::{Branch, BranchInfo, BranchName, Store, StoreError, Target};

use self::context::Contexts;
use self::disk::{BranchExport, Held, SnapshotExport};
use self::fault::refusal;
pub use self::name::ExportName;
use crate::Daemon;
use crate::attached::{Access, DiskKey};
use crate::throwaway::Fork;
use crate::words::human;

/// A read-only disk: as many clients as like it see the same.
const READ_ONLY: Features = Features {
    read_only: true,
    multi_conn: true,
};

/// One disk for several connections: they share the branch, whose flush covers all of it.
const WRITABLE: Features = Features {
    read_only: false,
    multi_conn: true,
};

/// The disks of a daemon's store. With `only`, nothing but that one, which is then also the default.
pub(crate) struct Disks {
    daemon: Arc<Daemon>,
    only: Option<ExportName>,
}

impl Disks {
    pub(crate) fn new(daemon: Arc<Daemon>, only: Option<ExportName>) -> Self {
        Self { daemon, only }
    }

    fn parse(&self, name: &str) -> Result<ExportName, Refusal> {
        if let Some(only) = &self.only {
            if name.is_empty() || name == only.to_string() {
                return Ok(only.clone());
            }
            return Err(Refusal::new(
                RefusalKind::Unknown,
                format!("nothing but `{only}` is served here"),
            ));
        }
        if name.is_empty() {
            return Err(Refusal::new(
                RefusalKind::Unknown,
                "no disk is named; a URI names one before the `?`: nbd+unix:///NAME?socket=PATH",
            ));
        }
        name.parse().map_err(refused)
    }

    fn features(&self, name: &BranchName, client: &Client) -> Result<Features, Refusal> {
        let store = self.daemon.store();
        let writable = Features {
            // A second connection that would be refused as another client's is not offered.
            multi_conn: self.daemon.attached().may_write_by_several(&client.peer),
            ..WRITABLE
        };
        Ok(
            if store.damage().is_some() || store.is_protected(name).map_err(refused)? {
                READ_ONLY
            } else {
                writable
            },
        )
    }

    /// Describes a branch or a snapshot.
    fn described(&self, target: &Target) -> Result<(u64, String), Refusal> {
        let info = self
            .daemon
            .store()
            .branch_info(target.branch())
            .map_err(refused)?;
        match target {
            Target::Branch(_) => Ok((info.size, of_branch(&info))),
            Target::Snapshot(branch, name) => {
                let snapshot = info.snapshots.iter().find(|snapshot| snapshot.name == *name);
                let snapshot = snapshot.ok_or_else(|| {
                    refused(StoreError::UnknownSnapshot {
                        branch: branch.clone(),
                        snapshot: name.clone(),
                    })
                })?;
                Ok((snapshot.size, of_snapshot(snapshot.size)))
            }
        }
    }

    fn open_disk(&self, target: &Target, export: &str, client: &Client) -> Result<Arc<dyn Export>, Refusal> {
        match target {
            Target::Branch(name) => self.open_branch(name, export, client),
            Target::Snapshot(branch, snapshot) => {
                let store = self.daemon.store();
                loop {
                    let id = store.branch_id(branch).map_err(refused)?;
                    let key = DiskKey {
                        branch: id,
                        snapshot: Some(snapshot.clone()),
                    };
                    let attached = self.daemon.attached();
                    let attachment = attached.attach(key, export, Access::Read, &client.peer)?;
                    let state = store.state(target).map_err(refused)?;
                    // Until a moment ago another branch may have had the name.
                    if store.branch_id(branch).map_err(refused)? == id {
                        return Ok(Arc::new(SnapshotExport {
                            _attachment: attachment,
                            state,
                            contexts: Contexts::new(store, Some((branch.clone(), id))),
                        }));
                    }
                }
            }
        }
    }

    fn open_branch(
        &self,
        name: &BranchName,
        export: &str,
        client: &Client,
    ) -> Result<Arc<dyn Export>, Refusal> {
        let store = self.daemon.store();
        loop {
            let branch = store.branch(name).map_err(refused)?;
            let features = self.features(name, client)?;
            let key = DiskKey {
                branch: branch.id(),
                snapshot: None,
            };
            let access = if features.read_only {
                Access::Read
            } else {
                Access::Write
            };
            let attachment = self.daemon.attached().attach(key, export, access, &client.peer)?;
            // Until a moment ago it may have been dropped, renamed or protected.
            if store.branch_id(name).map_err(refused)? == branch.id()
                && self.features(name, client)? == features
            {
                let held = Held::Named(branch.clone());
                return Ok(Arc::new(BranchExport {
                    attachment,
                    contexts: held.contexts(store),
                    _held: held,
                    branch,
                    features,
                    store: store.clone(),
                }));
            }
        }
    }

    fn open_fork(
        &self,
        source: &Target,
        job: Option<&BranchName>,
        export: &str,
        client: &Client,
    ) -> Result<Arc<dyn Export>, Refusal> {
        let store = self.daemon.store();
        let attach = |branch: &Branch, export: &str, access| {
            let key = DiskKey {
                branch: branch.id(),
                snapshot: None,
            };
            self.daemon.attached().attach(key, export, access, &client.peer)
        };
        let (held, features, attachment) = match job {
            None => {
                let held = Held::Fork(Fork::new(store, source).map_err(refused)?);
                // Each connection would have another one.
                let features = Features {
                    read_only: false,
                    multi_conn: false,
                };
                let attachment = attach(held.branch(), export, Access::Write)?;
                (held, features, attachment)
            }
            Some(job) => loop {
                let opened = self.daemon.jobs().open(store, source, job, &client.peer);
                let job = opened.map_err(refusal)?;
                // One that was kept is a branch like others: it may be protected, and one client writes.
                let how = || {
                    let name = job.branch().name();
                    if !job.is_kept() {
                        return (WRITABLE, Access::WriteShared, export.to_owned());
                    }
                    match self.features(&name, client) {
                        Ok(features) if features.read_only => (features, Access::Read, name.to_string()),
                        Ok(features) => (features, Access::Write, name.to_string()),
                        // It was dropped, which is seen below.
                        Err(_) => (READ_ONLY, Access::Read, name.to_string()),
                    }
                };
                let (features, access, shown) = how();
                let attachment = attach(job.branch(), &shown, access)?;
                if how() == (features, access, shown) && is_there(store, job.branch()) {
                    break (Held::Job(job), features, attachment);
                }
            },
        };
        let branch = held.branch().clone();
        Ok(Arc::new(BranchExport {
            attachment,
            contexts: held.contexts(store),
            _held: held,
            branch,
            features,
            store: store.clone(),
        }))
    }
}

impl Exports for Disks {
    fn list(&self, _: &Client) -> Result<Vec<Listing>, Refusal> {
        if let Some(only) = &self.only {
            return Ok(vec![Listing {
                name: only.to_string(),
                description: String::new(),
            }]);
        }
        let mut listing = Vec::new();
        for info in self.daemon.store().branches().map_err(refused)? {
            listing.push(Listing {
                name: info.name.to_string(),
                description: of_branch(&info),
            });
            listing.extend(info.snapshots.iter().map(|snapshot| Listing {
                name: format!("{}@{}", info.name, snapshot.name),
                description: of_snapshot(snapshot.size),
            }));
        }
        Ok(listing)
    }

    fn info(&self, name: &str, client: &Client) -> Result<ExportInfo, Refusal> {
        let export = self.parse(name)?;
        let (size, features, description) = match &export {
            ExportName::Disk(target) => {
                let (size, description) = self.described(target)?;
                let features = match target {
                    Target::Branch(name) => self.features(name, client)?,
                    Target::Snapshot(..) => READ_ONLY,
                };
                (size, features, description)
            }
            ExportName::Fork(source, job) => {
                let (size, _) = self.described(source)?;
                match job {
                    None => {
                        let features = Features {
                            read_only: false,
                            multi_conn: false,
                        };
                        (size, features, format!("a fork of `{source}` for one connection"))
                    }
                    Some(job) => {
                        let made = self.daemon.jobs().size(self.daemon.store(), source, job);
                        let made = made.map_err(refusal)?;
                        let description = format!("a fork of `{source}` for all who name the job `{job}`");
                        (made.unwrap_or(size), WRITABLE, description)
                    }
                }
            }
        };
        Ok(ExportInfo {
            size,
            features,
            name: export.to_string(),
            description,
        })
    }

    fn contexts(&self, name: &str, _: &Client) -> Result<Vec<String>, Refusal> {
        let store = self.daemon.store();
        match self.parse(name)? {
            ExportName::Disk(target) => {
                let branch = target.branch();
                let info = store.branch_info(branch).map_err(refused)?;
                let origin = info.origin.and_then(|origin| origin.name.parse::<Target>().ok());
                Ok(context::names(
                    store,
                    Some(branch),
                    origin.as_ref().map(Target::branch),
                ))
            }
            ExportName::Fork(source, _) => Ok(context::names(store, None, Some(source.branch()))),
        }
    }

    fn open(&self, name: &str, client: &Client) -> Result<Arc<dyn Export>, Refusal> {
        let export = self.parse(name)?;
        let spelled = export.to_string();
        match &export {
            ExportName::Disk(target) => self.open_disk(target, &spelled, client),
            ExportName::Fork(source, job) => self.open_fork(source, job.as_ref(), &spelled, client),
        }
    }
}

/// Tells whether a branch has not been dropped.
pub(crate) fn is_there(store: &Store, branch: &Branch) -> bool {
    store.branch_id(&branch.name()).is_ok_and(|id| id == branch.id())
}

/// Returns what the branch with a number is called by now, if it is there still; it was called `name`.
pub(crate) fn now_called(
    store: &Store,
    name: &BranchName,
    id: u64,
) -> Result<Option<BranchName>, StoreError> {
    let is_it = |name: &BranchName| store.branch_id(name).is_ok_and(|found| found == id);
    if is_it(name) {
        return Ok(Some(name.clone()));
    }
    let mut names = store.branches()?.into_iter().map(|branch| branch.name);
    Ok(names.find(is_it))
}

fn refused(error: StoreError) -> Refusal {
    refusal(error.into())
}

fn of_branch(info: &BranchInfo) -> String {
    let (size, written) = (human(info.size), human(info.written));
    match &info.origin {
        Some(origin) => format!(
            "{size}, a fork of `{}`, {written} written since its last point",
            origin.name
        ),
        None => format!("{size}, {written} written since its last point"),
    }
}

fn of_snapshot(size: u64) -> String {
    format!("{}, a snapshot, read-only", human(size))
}
