//! Jobs whose forks went with a daemon: who comes back by such a name must not be given an empty one instead.
//!
//! A client that reconnects looks like one that comes for the first time, so the daemon has to remember whom it had. In the
//! store, an empty file for each job that has a fork is in the folder `jobs`. What the next daemon finds there it moves to
//! `lost-jobs`: those names are refused until they are forgotten, or for a day. The files are not synced: when the machine
//! loses its power, the clients, which are on it, are gone, too.
//!
//! **Invariant:** the file of a job is there before anybody has its fork.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
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
    names: Mutex<BTreeSet<BranchName>>,
}

impl LostJobs {
    /// Finds out which jobs the former daemon of the store in a directory had.
    ///
    /// # Errors
    /// Those of the operating system.
    pub(crate) fn open(store: &Path) -> io::Result<Self> {
        let (has, lost) = (store.join("jobs"), store.join("lost-jobs"));
        fs::create_dir_all(&has)?;
        fs::create_dir_all(&lost)?;
        for name in names_in(&has)? {
            // It is lost as of now, however long it was there.
            File::create(lost.join(name.as_ref()))?;
            fs::remove_file(has.join(name.as_ref()))?;
        }
        let now = SystemTime::now();
        let mut names = BTreeSet::new();
        for name in names_in(&lost)? {
            let file = lost.join(name.as_ref());
            let age = now.duration_since(fs::metadata(&file)?.modified()?);
            if age.is_ok_and(|age| age > REFUSED_FOR) {
                fs::remove_file(&file)?;
            } else {
                names.insert(name);
            }
        }
        Ok(Self {
            has,
            lost,
            names: Mutex::new(names),
        })
    }

    /// Tells whether a job's fork went with a former daemon.
    pub(crate) fn contains(&self, job: &BranchName) -> bool {
        self.names.lock().contains(job)
    }

    /// Remembers that a job has a fork.
    ///
    /// # Errors
    /// Those of the operating system.
    pub(crate) fn remember(&self, job: &BranchName) -> io::Result<()> {
        File::create(self.has.join(job.as_ref())).map(drop)
    }

    /// Forgets a job. Tells whether it was one that is lost.
    pub(crate) fn forget(&self, job: &BranchName) -> bool {
        // A file that stays makes the next daemon refuse the name: for a day, and no data are wrong.
        let _ = fs::remove_file(self.has.join(job.as_ref()));
        let was_lost = self.names.lock().remove(job);
        if was_lost {
            let _ = fs::remove_file(self.lost.join(job.as_ref()));
        }
        was_lost
    }
}

/// Returns the jobs of which there are files; what else is there is nobody's business.
fn names_in(folder: &Path) -> io::Result<Vec<BranchName>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
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
        let open = || LostJobs::open(store.path()).unwrap();
        let [a, b, c]: [BranchName; 3] = ["a", "b", "c"].map(|name| name.parse().unwrap());
        let first = open();
        for job in [&a, &b, &c] {
            first.remember(job).unwrap();
            assert!(!first.contains(job));
        }
        assert!(!first.forget(&a), "it ended well");

        let second = open();
        assert!(!second.contains(&a) && second.contains(&b) && second.contains(&c));
        assert!(second.forget(&b) && !second.contains(&b));

        let third = open();
        assert!(
            !third.contains(&b) && third.contains(&c),
            "it outlives another daemon"
        );
        let file = File::open(store.path().join("lost-jobs/c")).unwrap();
        file.set_modified(SystemTime::now() - 2 * REFUSED_FOR).unwrap();
        assert!(!open().contains(&c));
    }
}
