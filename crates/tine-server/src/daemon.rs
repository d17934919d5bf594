//! A store and those who use its disks.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tine_store::{BranchName, Store, StoreError, Target};

use crate::api::{self, AttachedClient, Failure, Served};
use crate::attached::{Attached, Claim, DiskKey};
use crate::lost_jobs::LostJobs;
use crate::throwaway::Jobs;

/// How a store is served.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Policy {
    /// Several clients may write to one disk.
    pub shared: bool,
    /// How long a job's fork stays after its last connection.
    pub linger: Duration,
}

impl Default for Policy {
    /// One client writes to a disk; a job's fork stays for 30 s.
    fn default() -> Self {
        Self {
            shared: false,
            linger: Duration::from_secs(30),
        }
    }
}

/// A store and those who use its disks.
///
/// A command that opens the store itself makes one, too; nobody is attached to its disks.
pub struct Daemon {
    store: Store,
    attached: Arc<Attached>,
    jobs: Arc<Jobs>,
    served: OnceLock<Served>,
    /// The store's directory, where nobody serves it and it is looked for what former daemons left there.
    folder: Option<PathBuf>,
}

impl fmt::Debug for Daemon {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Daemon").finish_non_exhaustive()
    }
}

impl Daemon {
    /// Takes charge of an open store. Starts nothing.
    pub fn new(store: Store) -> Self {
        Self::with_policy(store, Policy::default())
    }

    /// Takes charge of an open store that is to be served.
    pub fn with_policy(store: Store, policy: Policy) -> Self {
        Self {
            store,
            attached: Arc::new(Attached::new(policy.shared)),
            jobs: Arc::new(Jobs::new(policy.linger)),
            served: OnceLock::new(),
            folder: None,
        }
    }

    /// Tells in which directory the store is, for what lies there beside the disks: the jobs that a former daemon lost. A
    /// store that is served is told by its [`Endpoints`](crate::Endpoints).
    #[must_use]
    pub fn in_folder(self, folder: PathBuf) -> Self {
        Self {
            folder: Some(folder),
            ..self
        }
    }

    /// Returns the store.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Returns the store again, to close it or to read on from it.
    pub fn into_store(self) -> Store {
        self.store
    }

    /// Returns where the store is served, if it is.
    pub fn served(&self) -> Option<&Served> {
        self.served.get()
    }

    pub(crate) fn set_served(&self, served: Served) {
        // It is served once in its life.
        let _ = self.served.set(served);
    }

    /// Returns the clients that are attached to disks.
    pub fn clients(&self) -> Vec<AttachedClient> {
        self.attached.clients()
    }

    /// Returns the jobs that have throwaway forks, by name.
    pub fn throwaways(&self) -> Vec<api::Job> {
        self.jobs.list()
    }

    /// Keeps disks for what cannot be done under a client's feet, such as `dropping` them: nobody new is attached while
    /// what is returned lives. Names that are not there are passed over.
    ///
    /// # Errors
    /// [`Kind::Attached`](api::Kind::Attached) when clients are attached to any of them, unless it is forced.
    pub fn claim(&self, disks: &[Target], doing: &str, force: bool) -> Result<Claim<'_>, Failure> {
        let key = |disk: &Target| {
            Some(DiskKey {
                branch: self.store.branch_id(disk.branch()).ok()?,
                snapshot: match disk {
                    Target::Branch(_) => None,
                    Target::Snapshot(_, snapshot) => Some(snapshot.clone()),
                },
            })
        };
        self.attached
            .claim(disks.iter().filter_map(key).collect(), (doing, false), force)
    }

    /// Makes a branch read-only to clients, or writable again; durable on return. Those who read go on, and who came while it
    /// was read-only has to come again to write.
    ///
    /// # Errors
    /// [`Kind::Attached`](api::Kind::Attached) when somebody may write to it, unless it is forced: then they cannot any
    /// more. Those of [`Store::protect`].
    pub fn protect(&self, name: &BranchName, protected: bool, force: bool) -> Result<(), Failure> {
        let disk = DiskKey {
            branch: self.store.branch_id(name)?,
            snapshot: None,
        };
        let disks = if protected { vec![disk.clone()] } else { Vec::new() };
        let _claim = self.attached.claim(disks, ("protecting", true), force)?;
        self.store.protect(name, protected)?;
        if protected {
            self.attached.stop_writing(&disk);
        }
        Ok(())
    }

    /// Makes a job's throwaway fork a branch of that name, durable on return; returns its size. Those who are connected stay
    /// connected, to that branch.
    ///
    /// # Errors
    /// [`Kind::NotFound`](api::Kind::NotFound) for the job, and those of [`Store::keep`].
    pub fn keep(&self, job: &BranchName, name: &BranchName) -> Result<u64, Failure> {
        self.jobs.keep(&self.store, job, name)
    }

    /// Returns what a job's throwaway fork was forked from.
    ///
    /// # Errors
    /// [`Kind::NotFound`](api::Kind::NotFound) for the job.
    pub fn source_of(&self, job: &BranchName) -> Result<Target, Failure> {
        self.jobs.source(job)
    }

    /// Drops a job's fork as soon as nobody is connected to it, without waiting for who might come back. One that a former
    /// daemon lost is forgotten at once.
    ///
    /// # Errors
    /// [`Kind::NotFound`](api::Kind::NotFound) for the job, and those of the operating system.
    pub fn end_job(&self, job: &BranchName) -> Result<(), Failure> {
        if let (None, Some(folder)) = (self.served(), &self.folder) {
            if self.store.damage().is_some() {
                return Err(StoreError::ReadOnly.into());
            }
            let lost = LostJobs::open(folder);
            let lost = lost.map_err(|error| Failure::io("look which jobs are lost", error))?;
            self.jobs.remember(lost);
        }
        self.jobs.end(job)
    }

    pub(crate) fn attached(&self) -> &Arc<Attached> {
        &self.attached
    }

    pub(crate) fn jobs(&self) -> &Arc<Jobs> {
        &self.jobs
    }
}
