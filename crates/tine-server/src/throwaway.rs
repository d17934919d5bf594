//! Throwaway forks that clients ask for: `golden+fork` for one connection, `golden+fork=JOB` for all that name the job.
//!
//! A job's fork outlives its last connection for a while, so that who was cut off finds its writes again. Then it is
//! dropped, with all that was written to it; a daemon that ends or dies leaves none behind, which the engine sees to.
//!
//! **Invariant:** a job has one fork at a time, however many ask for it at once.
//!
//! **Invariant:** nobody gets an empty fork by the name of a job whose fork went with a daemon, or was kept, and whose name was not
//! freed ([`LostJobs`]).

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use tine_nbd::Peer;
use tine_store::{Branch, BranchName, Store, StoreError, Target};

use crate::api::{self, Failure, Kind};
use crate::exports::{is_there, now_called};
use crate::lost_jobs::{KeptAs, LostJobs};

/// There are never more jobs than this, those that linger included.
const JOBS_MAX: usize = 16_384;

/// One job of so many is kept for those who began fewer than [`FEW_JOBS`] of them.
const KEPT_JOBS: usize = 4;

/// As many as programs begin that are not about to begin them all.
const FEW_JOBS: usize = 64;

/// A fork that goes with the connection that it was made for.
pub(crate) struct Fork {
    store: Store,
    branch: Branch,
}

impl Fork {
    /// Makes one.
    pub(crate) fn new(store: &Store, source: &Target) -> Result<Self, StoreError> {
        Ok(Self {
            store: store.clone(),
            branch: store.fork_throwaway(source)?,
        })
    }

    pub(crate) fn branch(&self) -> &Branch {
        &self.branch
    }
}

impl Drop for Fork {
    fn drop(&mut self) {
        // If this fails, it goes when the store is closed.
        let _ = self.store.drop_branches(&[self.branch.name()]);
    }
}

/// A job's fork. Its users and the moment when the last one left are in [`Jobs`].
struct Job {
    source: Target,
    /// Absent until the first user has made it.
    branch: Mutex<Option<Branch>>,
    kept: AtomicBool,
}

struct Slot {
    job: Arc<Job>,
    /// Who began it, see [`Peer::origin`].
    by: Peer,
    users: u64,
    /// When it is to be forgotten if nobody comes until then.
    end: Option<Instant>,
    /// Nobody is waited for any more.
    is_over: bool,
}

impl Slot {
    /// Tells whether it has a fork that was not kept.
    fn has_throwaway(&self) -> bool {
        // Who holds it is just making it, or keeping it: nobody has been told that.
        let made = self.job.branch.try_lock().is_some_and(|branch| branch.is_some());
        made && !self.job.kept.load(Ordering::Acquire)
    }

    /// Fails if it is over, for who would be one more that has its fork.
    fn check_not_over(&self, name: &BranchName) -> Result<(), Failure> {
        if !self.is_over {
            return Ok(());
        }
        let (users, have) = (
            self.users,
            if self.users == 1 {
                "connection has"
            } else {
                "connections have"
            },
        );
        let words = format!("the job `{name}` is over, and {users} {have} its fork still");
        Err(Failure::new(Kind::Busy, words)
            .hint("its name is free when these have left; who begins anew takes another one"))
    }
}

#[derive(Default)]
struct Slots {
    by_name: BTreeMap<BranchName, Slot>,
    is_ending: bool,
}

impl Slots {
    /// Tells whether there may be one more job, which `by` begins, where `most` may be.
    fn have_room(&self, by: &Peer, most: usize) -> bool {
        let now = self.by_name.len();
        let has_few = || self.by_name.values().filter(|slot| slot.by == *by).count() < FEW_JOBS;
        now < most - most / KEPT_JOBS || now < most && has_few()
    }
}

/// The forks that jobs have.
pub(crate) struct Jobs {
    slots: Mutex<Slots>,
    /// Somebody left, or all is ending.
    changed: Condvar,
    linger: Duration,
    most: usize,
    /// Where jobs are remembered, once the store is served.
    lost: OnceLock<LostJobs>,
}

impl Jobs {
    /// Makes a place for jobs whose forks stay for `linger` after their last connection.
    pub(crate) fn new(linger: Duration) -> Self {
        Self {
            slots: Mutex::default(),
            changed: Condvar::new(),
            linger,
            most: JOBS_MAX,
            lost: OnceLock::new(),
        }
    }

    /// Remembers jobs from now on, and refuses those that a former daemon lost. Of two memories the first is kept.
    pub(crate) fn remember(&self, lost: LostJobs) {
        let _ = self.lost.set(lost);
    }

    /// Returns the job's fork for a client, who begins the job if there is none.
    ///
    /// # Errors
    /// When the job has a fork of something else, or had one that is lost; when there are too many; and those of [`Store::fork_throwaway`].
    pub(crate) fn open(
        self: &Arc<Self>,
        store: &Store,
        source: &Target,
        name: &BranchName,
        by: &Peer,
    ) -> Result<JobUse, Failure> {
        self.check_not_lost(store, name)?;
        let by = by.origin();
        let (in_use, job, over) = {
            let mut slots = self.slots.lock();
            let over = self.take_over(&mut slots, name);
            if !slots.by_name.contains_key(name) && !slots.have_room(&by, self.most) {
                return Err(Failure::new(
                    Kind::Busy,
                    format!("there are {} jobs with forks already", slots.by_name.len()),
                )
                .hint(
                    "wait until some are forgotten; a shorter `tine serve --linger` forgets them earlier",
                ));
            }
            let slot = slots.by_name.entry(name.clone()).or_insert_with(|| Slot {
                job: Arc::new(Job {
                    source: source.clone(),
                    branch: Mutex::default(),
                    kept: AtomicBool::new(false),
                }),
                by,
                users: 0,
                end: None,
                is_over: false,
            });
            if slot.job.source != *source {
                return Err(other_source(name, &slot.job.source, source));
            }
            slot.check_not_over(name)?;
            slot.users += 1;
            slot.end = None;
            (self.in_use(name), Arc::clone(&slot.job), over)
        };
        drop_forks(store, over.as_slice());
        // Whoever asks for the same job meanwhile waits here; all others go on.
        let mut branch = job.branch.lock();
        let branch = match &*branch {
            Some(made) if is_there(store, made) => made.clone(),
            // There was none, or it was kept and the branch dropped since.
            _ => {
                if let Some(lost) = self.lost.get() {
                    lost.remember(name)
                        .map_err(|error| Failure::io(format_args!("remember the job `{name}`"), error))?;
                }
                let made = branch.insert(store.fork_throwaway(source)?).clone();
                job.kept.store(false, Ordering::Release);
                made
            }
        };
        Ok(JobUse {
            branch,
            job: Arc::clone(&job),
            _in_use: in_use,
        })
    }

    /// Takes out a job that is over and that nobody has: it is as good as swept, and who comes by its name begins anew.
    fn take_over(&self, slots: &mut Slots, name: &BranchName) -> Option<Slot> {
        let slot = slots.by_name.get(name)?;
        if !slot.is_over || slot.users > 0 {
            return None;
        }
        if let Some(lost) = self.lost.get() {
            lost.forget(name);
        }
        slots.by_name.remove(name)
    }

    /// Returns the size of a job's fork, if there is one.
    ///
    /// # Errors
    /// When it is one of something else, or was one that is lost.
    pub(crate) fn size(
        &self,
        store: &Store,
        source: &Target,
        name: &BranchName,
    ) -> Result<Option<u64>, Failure> {
        self.check_not_lost(store, name)?;
        let job = match self.slots.lock().by_name.get(name) {
            Some(slot) if slot.job.source != *source => {
                return Err(other_source(name, &slot.job.source, source));
            }
            Some(slot) if slot.users > 0 => {
                slot.check_not_over(name)?;
                Arc::clone(&slot.job)
            }
            Some(slot) => Arc::clone(&slot.job),
            None => return Ok(None),
        };
        let branch = job.branch.lock();
        Ok(branch.as_ref().map(Branch::size))
    }

    /// Returns what a job's fork was forked from.
    ///
    /// # Errors
    /// [`Kind::NotFound`].
    pub(crate) fn source(&self, name: &BranchName) -> Result<Target, Failure> {
        let slots = self.slots.lock();
        let slot = slots.by_name.get(name).ok_or_else(|| unknown(name))?;
        Ok(slot.job.source.clone())
    }

    /// Makes a job's fork a branch of that name, durable on return. Who is connected, or comes again by the job's name, has
    /// that branch.
    ///
    /// # Errors
    /// [`Kind::NotFound`] for the job; when its fork was kept already; and those of [`Store::keep`].
    pub(crate) fn keep(
        self: &Arc<Self>,
        store: &Store,
        name: &BranchName,
        branch: &BranchName,
    ) -> Result<u64, Failure> {
        let (_in_use, job) = {
            let mut slots = self.slots.lock();
            let slot = slots.by_name.get_mut(name).ok_or_else(|| unknown(name))?;
            slot.users += 1;
            (self.in_use(name), Arc::clone(&slot.job))
        };
        let fork = job.branch.lock();
        let fork = fork.as_ref().ok_or_else(|| unknown(name))?;
        if job.kept.load(Ordering::Acquire) && is_there(store, fork) {
            let kept = fork.name();
            let words = format!("the fork of the job `{name}` was kept already, as the branch `{kept}`");
            return Err(Failure::new(Kind::Invalid, words)
                .hint(format!("`tine rename {kept} NAME` gives it another name")));
        }
        store.keep(&fork.name(), branch)?;
        job.kept.store(true, Ordering::Release);
        if let Some(lost) = self.lost.get() {
            let (name_then, id) = (branch.clone(), fork.id());
            lost.keep(name, &KeptAs { name: name_then, id });
        }
        Ok(fork.size())
    }

    /// Forgets a job as soon as nobody has its fork: nobody new gets it, and nobody is waited for. A fork that was not kept is
    /// dropped then. One that is lost is forgotten at once: the name can be used again.
    ///
    /// # Errors
    /// [`Kind::NotFound`], and those of the operating system for one that is lost.
    pub(crate) fn end(&self, name: &BranchName) -> Result<api::Forgotten, Failure> {
        let mut forgotten = api::Forgotten {
            job: name.clone(),
            connections: 0,
            kept: None,
        };
        if let Some(lost) = self.lost.get()
            && lost
                .free(name)
                .map_err(|error| Failure::io(format_args!("forget the job `{name}`"), error))?
        {
            return Ok(forgotten);
        }
        let mut slots = self.slots.lock();
        let slot = slots.by_name.get_mut(name).ok_or_else(|| unknown(name))?;
        slot.is_over = true;
        slot.end = (slot.users == 0).then(Instant::now);
        forgotten.connections = slot.users;
        let job = Arc::clone(&slot.job);
        drop(slots);
        self.changed.notify_all();
        if job.kept.load(Ordering::Acquire) {
            forgotten.kept = job.branch.lock().as_ref().map(Branch::name);
        }
        Ok(forgotten)
    }

    /// Returns the jobs that have a fork, by name.
    pub(crate) fn list(&self) -> Vec<api::Job> {
        let now = Instant::now();
        let slots = self.slots.lock();
        let made = slots.by_name.iter().filter_map(|(name, slot)| {
            let branch = slot.job.branch.try_lock()?.clone()?;
            let kept = slot.job.kept.load(Ordering::Acquire);
            Some(api::Job {
                job: name.to_string(),
                source: slot.job.source.to_string(),
                size: branch.size(),
                kept: kept.then(|| branch.name().to_string()),
                connections: slot.users,
                forgotten_in: slot.end.map(|end| {
                    u64::try_from(end.saturating_duration_since(now).as_millis()).unwrap_or(u64::MAX)
                }),
            })
        });
        made.collect()
    }

    /// Drops the forks of jobs that nobody came back to, until [`Jobs::stop`]. For a thread of its own.
    pub(crate) fn sweep(&self, store: &Store) {
        let mut slots = self.slots.lock();
        while !slots.is_ending {
            let now = Instant::now();
            let due: Vec<BranchName> = slots
                .by_name
                .iter()
                .filter(|(_, slot)| slot.users == 0 && slot.end.is_some_and(|end| end <= now))
                .map(|(name, _)| name.clone())
                .collect();
            let gone: Vec<Slot> = due.iter().filter_map(|name| slots.by_name.remove(name)).collect();
            if !gone.is_empty() {
                if let Some(lost) = self.lost.get() {
                    // Before the name is free for a new one.
                    for (name, slot) in due.iter().zip(&gone) {
                        if slot.job.kept.load(Ordering::Acquire) && !slot.is_over {
                            lost.lose(name);
                        } else {
                            lost.forget(name);
                        }
                    }
                }
                parking_lot::MutexGuard::unlocked(&mut slots, || drop_forks(store, &gone));
                continue;
            }
            let unused = slots.by_name.values().filter(|slot| slot.users == 0);
            match unused.filter_map(|slot| slot.end).min() {
                Some(next) => {
                    self.changed.wait_until(&mut slots, next);
                }
                None => self.changed.wait(&mut slots),
            }
        }
    }

    /// Ends [`Jobs::sweep`]. What is left goes with the store's close: returns the jobs whose forks these are.
    pub(crate) fn stop(&self) -> Vec<BranchName> {
        let mut slots = self.slots.lock();
        slots.is_ending = true;
        let mut gone = Vec::new();
        for (name, slot) in &slots.by_name {
            if slot.is_over && slot.users == 0 {
                // All others may come back, and find the next daemon.
                if let Some(lost) = self.lost.get() {
                    lost.forget(name);
                }
            } else if slot.has_throwaway() {
                gone.push(name.clone());
            }
        }
        drop(slots);
        self.changed.notify_all();
        gone
    }

    fn check_not_lost(&self, store: &Store, name: &BranchName) -> Result<(), Failure> {
        let Some(lost) = self.lost.get().and_then(|lost| lost.find(name)) else {
            return Ok(());
        };
        let anew = format!(
            "who begins anew takes another name for the job, or frees this one: `tine forget {name}`"
        );
        let is_over = "and the job is over";
        let (words, hint) = match lost.kept {
            Some(kept) => match now_called(store, &kept.name, kept.id)? {
                Some(now) => (
                    format!("the fork of the job `{name}` was kept and is the branch `{now}`, {is_over}"),
                    format!("attach `{now}`; {anew}"),
                ),
                None => (
                    format!(
                        "the fork of the job `{name}` was kept as `{}`, which was dropped since, {is_over}",
                        kept.name
                    ),
                    anew,
                ),
            },
            None => (
                format!(
                    "the fork of the job `{name}` went with the daemon that ended, and all that was written to it"
                ),
                anew,
            ),
        };
        Err(Failure::new(Kind::Exists, words).hint(hint))
    }

    fn in_use(self: &Arc<Self>, name: &BranchName) -> InUse {
        InUse {
            jobs: Arc::clone(self),
            name: name.clone(),
        }
    }
}

fn drop_forks(store: &Store, gone: &[Slot]) {
    for slot in gone {
        let branch = slot.job.branch.lock().take();
        if let Some(branch) = branch.filter(|_| !slot.job.kept.load(Ordering::Acquire)) {
            // If this fails, it goes when the store is closed.
            let _ = store.drop_branches(&[branch.name()]);
        }
    }
}

fn unknown(name: &BranchName) -> Failure {
    Failure::new(Kind::NotFound, format!("no throwaway fork has the job `{name}`"))
        .hint("`tine stats` shows the jobs; one is forgotten a while after its last connection")
}

fn other_source(name: &BranchName, source: &Target, asked: &Target) -> Failure {
    Failure::new(
        Kind::Invalid,
        format!("the job `{name}` has a fork of `{source}`, not of `{asked}`"),
    )
    .hint("a job has one fork; choose another name for the job")
}

/// One of those who have a job's fork.
struct InUse {
    jobs: Arc<Jobs>,
    name: BranchName,
}

impl Drop for InUse {
    fn drop(&mut self) {
        let mut slots = self.jobs.slots.lock();
        if let Some(slot) = slots.by_name.get_mut(&self.name) {
            slot.users -= 1;
            if slot.users == 0 {
                // Where no fork could be made there is nothing to come back to.
                let wait = !slot.is_over && slot.job.branch.try_lock().is_none_or(|branch| branch.is_some());
                let linger = if wait { self.jobs.linger } else { Duration::ZERO };
                slot.end = Some(Instant::now() + linger);
            }
        }
        drop(slots);
        self.jobs.changed.notify_all();
    }
}

/// A connection's hold on its job's fork.
pub(crate) struct JobUse {
    branch: Branch,
    job: Arc<Job>,
    _in_use: InUse,
}

impl JobUse {
    pub(crate) fn branch(&self) -> &Branch {
        &self.branch
    }

    /// Tells whether the fork is a branch by now.
    pub(crate) fn is_kept(&self) -> bool {
        self.job.kept.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use tine_store::medium::Folder;
    use tine_store::{CreateOptions, OpenOptions};

    use super::*;

    fn client(pid: u32) -> Peer {
        Peer::Process { pid, uid: 0, gid: 0 }
    }

    #[test]
    fn nobody_has_all_jobs() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        let store = Store::create(&path, &CreateOptions::default(), OpenOptions::default()).unwrap();
        let golden: BranchName = "golden".parse().unwrap();
        store.create_branch(&golden, 1 << 20).unwrap();
        let source = Target::Branch(golden);
        let jobs = Arc::new(Jobs {
            most: 400,
            ..Jobs::new(Duration::from_secs(30))
        });
        // They linger.
        let begin = |pid| {
            let began = (0..400).take_while(|at| {
                let job = format!("job{pid}-{at}").parse().unwrap();
                jobs.open(&store, &source, &job, &client(pid)).is_ok()
            });
            began.count()
        };
        assert_eq!([begin(1), begin(2), begin(1), begin(3)], [300, 64, 300, 36]);
    }

    #[test]
    fn who_comes_to_a_job_that_is_over_begins_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        let store = Store::create(&path, &CreateOptions::default(), OpenOptions::default()).unwrap();
        let [golden, job, web1, web2]: [BranchName; 4] =
            ["golden", "job", "web1", "web2"].map(|name| name.parse().unwrap());
        store.create_branch(&golden, 1 << 20).unwrap();
        let source = Target::Branch(golden);
        let jobs = Arc::new(Jobs::new(Duration::ZERO));
        // Nobody sweeps, as when there was no time for it yet.
        for kept in [&web1, &web2] {
            let user = jobs.open(&store, &source, &job, &client(1)).unwrap();
            jobs.keep(&store, &job, kept).unwrap();
            jobs.end(&job).unwrap();
            drop(user);
        }
        let user = jobs.open(&store, &source, &job, &client(1)).unwrap();
        user.branch().write_at(&[1; 4096], 0).unwrap();
        jobs.end(&job).unwrap();
        drop(user);
        let user = jobs.open(&store, &source, &job, &client(1)).unwrap();
        let mut byte = [9];
        user.branch().read_at(&mut byte, 0).unwrap();
        assert_eq!(byte, [0], "what is over is not come back to");
    }

    #[test]
    fn who_comes_back_late_to_what_was_kept_is_told_so_until_the_job_is_freed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        let store = Store::create(&path, &CreateOptions::default(), OpenOptions::default()).unwrap();
        let [golden, kept, over, web1, web2]: [BranchName; 5] =
            ["golden", "kept", "over", "web1", "web2"].map(|name| name.parse().unwrap());
        store.create_branch(&golden, 1 << 20).unwrap();
        let source = Target::Branch(golden);
        let jobs = Arc::new(Jobs::new(Duration::ZERO));
        let mut lost = LostJobs::open(&Folder::hold(&path).unwrap()).unwrap();
        lost.make_room().unwrap();
        jobs.remember(lost);
        let sweeping = {
            let (jobs, store) = (Arc::clone(&jobs), store.clone());
            thread::spawn(move || jobs.sweep(&store))
        };
        for (job, branch) in [(&kept, &web1), (&over, &web2)] {
            let user = jobs.open(&store, &source, job, &client(1)).unwrap();
            jobs.keep(&store, job, branch).unwrap();
            if job == &over {
                jobs.end(job).unwrap();
            }
            drop(user);
        }
        let begin = Instant::now();
        while !jobs.slots.lock().by_name.is_empty() {
            assert!(begin.elapsed() < Duration::from_secs(10), "they linger");
            thread::sleep(Duration::from_millis(1));
        }
        let refused = jobs
            .open(&store, &source, &kept, &client(1))
            .err()
            .expect("it is known still");
        assert!(refused.message.contains("is the branch `web1`"), "{refused:?}");
        assert!(jobs.size(&store, &source, &kept).is_err());
        // Nobody is waited for who said that it is over.
        drop(jobs.open(&store, &source, &over, &client(1)).unwrap());
        jobs.end(&kept).unwrap();
        drop(jobs.open(&store, &source, &kept, &client(1)).unwrap());
        jobs.stop();
        sweeping.join().unwrap();
    }
}
