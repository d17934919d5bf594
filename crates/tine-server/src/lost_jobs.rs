//! Jobs whose forks went with a daemon: who comes back by such a name must not be given an empty one instead.
//!
//! A client that reconnects looks like one that comes for the first time, so the daemon has to remember whom it had. In the
//! store, an empty file for each job that has a fork is in the folder `jobs`. What is found there when no daemon has the store
//! is moved to `lost-jobs`, touched: those names are refused until they are forgotten, or for a day from then. The files are
//! not synced: when the machine loses its power, the clients, which are on it, are gone, too.
//!
//! **Invariant:** the file of a job is there before anybody has its fork.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use tine_store::BranchName;

/// A client that was cut off and has not come back in this time will not.
const REFUSED_FOR: Duration = Duration::from_secs(24 * 60 * 60);

/// The jobs that former daemons lost, and the memory of those that this one has.
pub(crate) struct LostJobs {
    has: PathBuf,
    lost: PathBuf,
    /// Since when each is lost.
    names: Mutex<BTreeMap<BranchName, SystemTime>>,
    /// There is room for the files of jobs.
    has_room: bool,
}

impl LostJobs {
    /// Finds out which jobs the former daemon of the store in a directory had. No daemon has it now: all of them are lost.
    ///
    /// # Errors
    /// Those of the operating system.
    pub(crate) fn open(store: &Path) -> io::Result<Self> {
        let (has, lost) = (store.join("jobs"), store.join("lost-jobs"));
        let had = names_in(&has)?;
        if !had.is_empty() {
            make_folder(&lost)?;
        }
        for name in had {
            let file = has.join(name.as_ref());
            // It is lost as of now, however long it was there.
            File::options()
                .write(true)
                .open(&file)?
                .set_modified(SystemTime::now())?;
            fs::rename(&file, lost.join(name.as_ref()))?;
        }
        let mut names = BTreeMap::new();
        for name in names_in(&lost)? {
            let since = fs::metadata(lost.join(name.as_ref()))?.modified()?;
            names.insert(name, since);
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
        make_folder(&self.has)?;
        make_folder(&self.lost)?;
        self.has_room = true;
        Ok(())
    }

    /// Tells whether a job's fork went with a former daemon, less than a day ago.
    pub(crate) fn contains(&self, job: &BranchName) -> bool {
        self.contains_at(job, SystemTime::now())
    }

    fn contains_at(&self, job: &BranchName, now: SystemTime) -> bool {
        let names = self.names.lock();
        names.get(job).is_some_and(|since| !is_past(*since, now))
    }

    /// Remembers that a job has a fork, if there is room for that.
    ///
    /// # Errors
    /// Those of the operating system.
    pub(crate) fn remember(&self, job: &BranchName) -> io::Result<()> {
        if !self.has_room {
            return Ok(());
        }
        File::create(self.has.join(job.as_ref())).map(drop)
    }

    /// Forgets a job that has a fork no more.
    pub(crate) fn forget(&self, job: &BranchName) {
        // A file that stays makes the next daemon refuse the name: for a day, and no data are wrong.
        let _ = fs::remove_file(self.has.join(job.as_ref()));
    }

    /// Lets a job that is lost have a fork again. Tells whether it was one.
    ///
    /// # Errors
    /// Those of the operating system: the job is lost still.
    pub(crate) fn free(&self, job: &BranchName) -> io::Result<bool> {
        let mut names = self.names.lock();
        let is_lost = |since: &SystemTime| !is_past(*since, SystemTime::now());
        if !names.get(job).is_some_and(is_lost) {
            return Ok(false);
        }
        remove(&self.lost.join(job.as_ref()))?;
        names.remove(job);
        Ok(true)
    }

    /// Forgets those that were lost long ago.
    fn drop_those_of_the_past(&self) {
        let now = SystemTime::now();
        self.names.lock().retain(|name, since| {
            let past = is_past(*since, now);
            if past {
                // It is looked at again by the next who opens this.
                let _ = fs::remove_file(self.lost.join(name.as_ref()));
            }
            !past
        });
    }
}

/// Tells whether nobody comes back any more to what is lost since then. A time in the future is none that tells.
fn is_past(since: SystemTime, now: SystemTime) -> bool {
    now.duration_since(since).is_ok_and(|age| age > REFUSED_FOR)
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
            let mut jobs = LostJobs::open(store.path()).unwrap();
            jobs.make_room().unwrap();
            jobs
        };
        let [a, b, c]: [BranchName; 3] = ["a", "b", "c"].map(|name| name.parse().unwrap());
        let first = open();
        for job in [&a, &b, &c] {
            first.remember(job).unwrap();
            assert!(!first.contains(job));
        }
        first.forget(&a);

        let second = open();
        assert!(!second.contains(&a), "it ended well");
        assert!(second.contains(&b) && second.contains(&c));
        assert!(second.free(&b).unwrap() && !second.contains(&b));
        assert!(!second.free(&b).unwrap(), "it was none any more");

        let third = open();
        assert!(
            !third.contains(&b) && third.contains(&c),
            "it outlives another daemon"
        );
        let file = File::open(store.path().join("lost-jobs/c")).unwrap();
        file.set_modified(SystemTime::now() - 2 * REFUSED_FOR).unwrap();
        assert!(!open().contains(&c));
        assert!(!store.path().join("lost-jobs/c").exists());
    }

    #[test]
    fn the_day_ends_while_a_daemon_runs_too() {
        let store = tempfile::tempdir().unwrap();
        let job: BranchName = "job".parse().unwrap();
        let mut before = LostJobs::open(store.path()).unwrap();
        before.make_room().unwrap();
        before.remember(&job).unwrap();
        // It is lost from the end of its daemon, not from its own beginning.
        let begun = SystemTime::now() - 2 * REFUSED_FOR;
        let file = File::options()
            .write(true)
            .open(store.path().join("jobs/job"))
            .unwrap();
        file.set_modified(begun).unwrap();

        let after = LostJobs::open(store.path()).unwrap();
        let opened = SystemTime::now();
        assert!(after.contains_at(&job, opened) && after.contains(&job));
        assert!(
            after.contains_at(&job, opened - REFUSED_FOR),
            "a clock that was put back"
        );
        assert!(!after.contains_at(&job, opened + REFUSED_FOR + Duration::from_secs(1)));
    }

    #[test]
    fn looking_makes_nothing() {
        let store = tempfile::tempdir().unwrap();
        let jobs = LostJobs::open(store.path()).unwrap();
        assert!(!jobs.free(&"job".parse().unwrap()).unwrap());
        assert_eq!(fs::read_dir(store.path()).unwrap().count(), 0);
    }
}
