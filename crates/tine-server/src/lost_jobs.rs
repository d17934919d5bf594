//! Jobs whose forks went with a daemon: who comes back by such a name must not be given an empty one instead.
//!
//! A client that reconnects looks like one that comes for the first time, so the daemon has to remember whom it had. In the
//! store, a file for each job that has a fork is in the folder `jobs`; it names the branch that the fork was kept as, if it
//! was, by its number too, as it may be renamed. What is found there when no daemon has the store is moved to `lost-jobs`,
//! touched: those names are refused until they are forgotten, or for a day from then. So are those of jobs whose forks
//! were kept, when nobody came back to them in time. The files are not synced: when the
//! machine loses its power, the clients, which are on it, are gone, too.
//!
//! **Invariant:** the file of a job is there before anybody has its fork.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use tine_store::BranchName;
use tine_store::medium::{Folder, Inside};

/// A client that was cut off and has not come back in this time will not.
const REFUSED_FOR: Duration = Duration::from_secs(24 * 60 * 60);

/// The jobs that former daemons lost, and the memory of those that this one has.
pub(crate) struct LostJobs {
    has: Inside,
    lost: Inside,
    names: Mutex<BTreeMap<BranchName, Lost>>,
    /// There is room for the files of jobs.
    has_room: bool,
}

/// A job that a former daemon had, or this one, if its fork was kept.
#[derive(Clone, Debug)]
pub(crate) struct Lost {
    since: SystemTime,
    /// The branch that its fork was kept as: nothing was lost but the way to it.
    pub(crate) kept: Option<KeptAs>,
}

/// The branch that a job's fork was kept as. In its file these are two lines.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct KeptAs {
    /// What it was called then.
    pub(crate) name: BranchName,
    /// Its number, which it keeps.
    pub(crate) id: u64,
}

impl KeptAs {
    fn parse(text: &str) -> Option<Self> {
        let (name, id) = text.trim_end().split_once('\n')?;
        Some(Self {
            name: name.parse().ok()?,
            id: id.parse().ok()?,
        })
    }
}

impl fmt::Display for KeptAs {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "{}\n{}", self.name, self.id)
    }
}

impl LostJobs {
    /// Finds out which jobs the former daemon of the store in a directory had. No daemon has it now: all of them are lost.
    ///
    /// # Errors
    /// Those of the operating system.
    pub(crate) fn open(store: &Arc<Folder>) -> io::Result<Self> {
        let (has, lost) = (store.inside("jobs"), store.inside("lost-jobs"));
        let had = names_in(has.as_ref())?;
        if !had.is_empty() {
            make_folder(lost.as_ref())?;
        }
        for name in had {
            let file = file_of(&name, &has);
            // It is lost as of now, however long it was there.
            File::options()
                .write(true)
                .open(&file)?
                .set_modified(SystemTime::now())?;
            fs::rename(&file, file_of(&name, &lost))?;
        }
        let mut names = BTreeMap::new();
        for name in names_in(lost.as_ref())? {
            let file = file_of(&name, &lost);
            let since = fs::metadata(&file)?.modified()?;
            // What makes no sense, or cannot be read, says nothing; lost the job is all the same.
            let kept = fs::read_to_string(&file).ok();
            let kept = kept.and_then(|text| KeptAs::parse(&text));
            names.insert(name, Lost { since, kept });
        }
        let jobs = Self {
            has,
            lost,
            names: Mutex::new(names),
            has_room: false,
        };
        jobs.drop_those_of_the_past();
        Ok(jobs)
    }

    /// Makes room for the files of jobs: from now on they are remembered.
    ///
    /// # Errors
    /// Those of the operating system: none is remembered then.
    pub(crate) fn make_room(&mut self) -> io::Result<()> {
        make_folder(self.has.as_ref())?;
        make_folder(self.lost.as_ref())?;
        self.has_room = true;
        Ok(())
    }

    /// Returns what became of a job's fork if it went with a former daemon, less than a day ago.
    pub(crate) fn find(&self, job: &BranchName) -> Option<Lost> {
        self.find_at(job, SystemTime::now())
    }

    fn find_at(&self, job: &BranchName, now: SystemTime) -> Option<Lost> {
        let names = self.names.lock();
        names.get(job).filter(|lost| !is_past(lost.since, now)).cloned()
    }

    /// Remembers that a job has a fork, if there is room for that.
    ///
    /// # Errors
    /// Those of the operating system.
    pub(crate) fn remember(&self, job: &BranchName) -> io::Result<()> {
        if !self.has_room {
            return Ok(());
        }
        File::create(file_of(job, &self.has)).map(drop)
    }

    /// Remembers as which branch a job's fork was kept.
    pub(crate) fn keep(&self, job: &BranchName, branch: &KeptAs) {
        if self.has_room {
            // Without it the next daemon takes it for one that was not kept, and says so: no data are wrong.
            let _ = fs::write(file_of(job, &self.has), branch.to_string());
        }
    }

    /// Takes a job whose fork was kept for one that is over: who comes back to it is told what became of it.
    pub(crate) fn lose(&self, job: &BranchName) {
        self.drop_those_of_the_past();
        let (here, there) = (file_of(job, &self.has), file_of(job, &self.lost));
        let kept = fs::read_to_string(&here).ok();
        let kept = kept.and_then(|text| KeptAs::parse(&text));
        if kept.is_some() && fs::rename(here, there).is_ok() {
            let since = SystemTime::now();
            self.names.lock().insert(job.clone(), Lost { since, kept });
        } else {
            // Where there was no room for it nobody knows of it.
            self.forget(job);
        }
    }

    /// Forgets a job that has a fork no more.
    pub(crate) fn forget(&self, job: &BranchName) {
        // A file that stays makes the next daemon refuse the name: for a day, and no data are wrong.
        let _ = fs::remove_file(file_of(job, &self.has));
    }

    /// Lets a job that is lost have a fork again. Tells whether it was one.
    ///
    /// # Errors
    /// Those of the operating system: the job is lost still.
    pub(crate) fn free(&self, job: &BranchName) -> io::Result<bool> {
        let mut names = self.names.lock();
        let is_lost = |lost: &Lost| !is_past(lost.since, SystemTime::now());
        if !names.get(job).is_some_and(is_lost) {
            return Ok(false);
        }
        remove(&file_of(job, &self.lost))?;
        names.remove(job);
        Ok(true)
    }

    /// Forgets those that were lost long ago.
    fn drop_those_of_the_past(&self) {
        let now = SystemTime::now();
        self.names.lock().retain(|name, lost| {
            let past = is_past(lost.since, now);
            if past {
                // It is looked at again by the next who opens this.
                let _ = fs::remove_file(file_of(name, &self.lost));
            }
            !past
        });
    }
}

/// Tells whether nobody comes back any more to what is lost since then. A time in the future is none that tells.
fn is_past(since: SystemTime, now: SystemTime) -> bool {
    now.duration_since(since).is_ok_and(|age| age > REFUSED_FOR)
}

/// Returns the path of a job's file. A folder that is held must outlive it.
fn file_of(job: &BranchName, folder: &Inside) -> PathBuf {
    folder.as_ref().join(job.as_ref())
}

fn make_folder(path: &Path) -> io::Result<()> {
    // That the folder is there already is no error; that something else is, is one.
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

fn remove(file: &Path) -> io::Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Returns the jobs of which there are files; what else is there is nobody's business.
fn names_in(folder: &Path) -> io::Result<Vec<BranchName>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut names = Vec::new();
    for entry in entries {
        let name = entry?.file_name();
        names.extend(OsStr::to_str(&name).and_then(|name| name.parse().ok()));
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_that_was_there_at_the_end_is_lost_until_it_is_forgotten_or_a_day_has_passed() {
        let store = tempfile::tempdir().unwrap();
        let open = || {
            let mut jobs = LostJobs::open(&Folder::hold(store.path()).unwrap()).unwrap();
            jobs.make_room().unwrap();
            jobs
        };
        let [a, b, c]: [BranchName; 3] = ["a", "b", "c"].map(|name| name.parse().unwrap());
        let first = open();
        for job in [&a, &b, &c] {
            first.remember(job).unwrap();
            assert!(first.find(job).is_none());
        }
        first.forget(&a);

        let second = open();
        assert!(second.find(&a).is_none(), "it ended well");
        assert!(second.find(&b).is_some() && second.find(&c).is_some());
        assert!(second.free(&b).unwrap() && second.find(&b).is_none());
        assert!(!second.free(&b).unwrap(), "it was none any more");

        let third = open();
        assert!(
            third.find(&b).is_none() && third.find(&c).is_some(),
            "it outlives another daemon"
        );
        let file = File::open(store.path().join("lost-jobs/c")).unwrap();
        file.set_modified(SystemTime::now() - 2 * REFUSED_FOR).unwrap();
        assert!(open().find(&c).is_none());
        assert!(!store.path().join("lost-jobs/c").exists());
    }

    #[test]
    fn the_day_ends_while_a_daemon_runs_too() {
        let store = tempfile::tempdir().unwrap();
        let job: BranchName = "job".parse().unwrap();
        let mut before = LostJobs::open(&Folder::hold(store.path()).unwrap()).unwrap();
        before.make_room().unwrap();
        before.remember(&job).unwrap();
        // It is lost from the end of its daemon, not from its own beginning.
        let begun = SystemTime::now() - 2 * REFUSED_FOR;
        let file = File::options()
            .write(true)
            .open(store.path().join("jobs/job"))
            .unwrap();
        file.set_modified(begun).unwrap();

        let after = LostJobs::open(&Folder::hold(store.path()).unwrap()).unwrap();
        let opened = SystemTime::now();
        assert!(after.find_at(&job, opened).is_some() && after.find(&job).is_some());
        assert!(
            after.find_at(&job, opened - REFUSED_FOR).is_some(),
            "a clock that was put back"
        );
        assert!(
            after
                .find_at(&job, opened + REFUSED_FOR + Duration::from_secs(1))
                .is_none()
        );
    }

    #[test]
    fn of_a_job_whose_fork_was_kept_it_is_known_as_what() {
        let store = tempfile::tempdir().unwrap();
        let folder = Folder::hold(store.path()).unwrap();
        let [kept, anew, name]: [BranchName; 3] = ["kept", "anew", "web1"].map(|name| name.parse().unwrap());
        let branch = KeptAs { name, id: 7 };
        let mut before = LostJobs::open(&folder).unwrap();
        before.keep(&kept, &branch);
        assert!(!store.path().join("jobs").exists(), "it has no room");
        before.make_room().unwrap();
        for job in [&kept, &anew] {
            before.remember(job).unwrap();
            before.keep(job, &branch);
        }
        // The branch was dropped, and who came again was given another fork.
        before.remember(&anew).unwrap();
        let after = LostJobs::open(&folder).unwrap();
        assert_eq!(after.find(&kept).unwrap().kept, Some(branch));
        assert_eq!(after.find(&anew).unwrap().kept, None);
    }

    #[test]
    fn looking_makes_nothing() {
        let store = tempfile::tempdir().unwrap();
        let jobs = LostJobs::open(&Folder::hold(store.path()).unwrap()).unwrap();
        assert!(!jobs.free(&"job".parse().unwrap()).unwrap());
        assert_eq!(fs::read_dir(store.path()).unwrap().count(), 0);
    }
}
