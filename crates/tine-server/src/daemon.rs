//! A store and those who use its disks.

use std::fmt;
use std::path::{Path, PathBuf};
use std::slice;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tine_store::medium::{Folder, Inside};
use tine_store::{BranchName, Store, StoreError, Target};

use crate::alone::Busy;
use crate::api::{self, AttachedClient, Failure, Served};
use crate::attached::{Attached, Connections, DiskKey, Under};
use crate::exports::{ExportName, now_called};
use crate::lost_jobs::LostJobs;
use crate::socket::folder_of;
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
    served: OnceLock<Place>,
    busy: Busy,
}

/// Where a store is served: as it was told at first, and the directories of what is there, which may be moved.
pub(crate) struct Place {
    pub(crate) served: Served,
    pub(crate) store: Arc<Folder>,
    /// Nothing where a link to it was told.
    pub(crate) socket: Option<Inside>,
    pub(crate) control: Inside,
}

impl Place {
    /// Returns where it is served now.
    fn now(&self) -> Served {
        let mut now = self.served.clone();
        if let Some(moved) = moved(Path::new(&now.store), &self.store) {
            now.store = moved.display().to_string();
        }
        let sockets = [
            (&mut now.socket, self.socket.as_ref()),
            (&mut now.control, Some(&self.control)),
        ];
        for (told, file) in sockets {
            let path = Path::new(&*told);
            if let Some(file) = file
                && let Some(folder) = moved(folder_of(path), file.folder())
                && let Some(name) = path.file_name()
            {
                *told = folder.join(name).display().to_string();
            }
        }
        now
    }
}

/// Returns where a directory is now, if it is not where it was told.
fn moved(told: &Path, folder: &Folder) -> Option<PathBuf> {
    if folder.is_at(told) {
        return None;
    }
    folder.place()
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
            busy: Busy::default(),
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

    /// Returns where the store is served, if it is: where it is now, if it was moved.
    pub fn served(&self) -> Option<Served> {
        self.served.get().map(Place::now)
    }

    pub(crate) fn set_served(&self, place: Place) {
        // It is served once in its life.
        let _ = self.served.set(place);
    }

    /// Returns the clients that are attached to disks.
    pub fn clients(&self) -> Vec<AttachedClient> {
        let named = self.attached.clients().into_iter().map(|(disk, mut client)| {
            client.disk = self.name_now(&disk, &client.export);
            client
        });
        named.collect()
    }

    /// Returns how many connections to disks there are and were.
    pub fn connections(&self) -> Connections {
        self.attached.connections()
    }

    /// Returns what a disk is called by now that was attached as `export`, if that is another name.
    fn name_now(&self, disk: &DiskKey, export: &str) -> Option<String> {
        let Ok(ExportName::Disk(asked)) = export.parse() else {
            return None;
        };
        let now = now_called(&self.store, asked.branch(), disk.branch).ok()??;
        (now != *asked.branch()).then(|| match &disk.snapshot {
            Some(snapshot) => format!("{now}@{snapshot}"),
            None => now.to_string(),
        })
    }

    /// Returns how many connections have throwaway forks of their own.
    pub(crate) fn connection_forks(&self) -> u64 {
        let clients = self.attached.clients();
        let own = clients.iter().map(|(_, client)| client).filter(|client| {
            let export = client.export.parse();
            matches!(export, Ok(ExportName::Fork(_, None)))
        });
        own.map(|client| client.connections).sum()
    }

    /// Returns the jobs that have throwaway forks, by name.
    pub fn throwaways(&self) -> Vec<api::Job> {
        self.jobs.list()
    }

    /// Makes a branch read-only to clients, or writable again; durable on return. Those who read go on, and who came while it
    /// was read-only has to come again to write.
    ///
    /// # Errors
    /// [`Kind::Attached`](api::Kind::Attached) when somebody may write to it, unless it is forced: then they cannot any
    /// more. Those of [`Store::protect`].
    pub fn protect(&self, name: &BranchName, protected: bool, force: bool) -> Result<(), Failure> {
        let alone = self.alone(std::iter::once(name))?;
        let disk = Target::Branch(name.clone());
        let disks = if protected { slice::from_ref(&disk) } else { &[] };
        let _claim = alone.claim(disks, ("protecting", Under::Writers), force)?;
        self.store.protect(name, protected)?;
        if protected && let Some(key) = alone.key(&disk) {
            self.attached.stop_writing(&key);
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
    pub fn end_job(&self, job: &BranchName) -> Result<api::Forgotten, Failure> {
        if let (None, Some(folder)) = (self.served.get(), self.store.folder()) {
            if self.store.damage().is_some() {
                return Err(StoreError::ReadOnly.into());
            }
            let lost = LostJobs::open(folder);
            let lost = lost.map_err(|error| Failure::io("look which jobs are lost", error))?;
            self.jobs.remember(lost);
        }
        self.jobs.end(job)
    }

    pub(crate) fn busy(&self) -> &Busy {
        &self.busy
    }

    pub(crate) fn attached(&self) -> &Arc<Attached> {
        &self.attached
    }

    pub(crate) fn jobs(&self) -> &Arc<Jobs> {
        &self.jobs
    }
}
