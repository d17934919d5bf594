//! `keep`: a job's throwaway fork becomes a branch; `forget`: it goes at once.

use serde::{Deserialize, Serialize};
use tine_store::BranchName;

use super::fork::free_names;
use super::{Failure, Kind, Method, Request};
use crate::Daemon;

/// Makes the throwaway fork that a job has a branch, durable with all that was written to it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Keep {
    /// The job.
    pub job: BranchName,
    /// The branch's name. Without one it is called after what it was forked from, with the next free number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<BranchName>,
}

/// A throwaway fork that was kept.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Kept {
    /// The branch.
    pub name: BranchName,
    /// The job whose fork it was; who names that still has the same disk, one client at a time.
    pub job: BranchName,
    /// The disk's size in bytes.
    pub size: u64,
}

impl Request for Keep {
    type Answer = Kept;
    const METHOD: Method = Method::Change;
    const VERB: &'static str = "keep";

    fn work(self, daemon: &Daemon) -> Result<Kept, Failure> {
        let Self { job, name } = self;
        if let Some(name) = name {
            let size = daemon.keep(&job, &name)?;
            return Ok(Kept { name, job, size });
        }
        loop {
            let source = daemon.source_of(&job)?;
            for name in free_names(daemon.store(), &source, 1)? {
                match daemon.keep(&job, &name) {
                    Ok(size) => return Ok(Kept { name, job, size }),
                    // Somebody else took the number meanwhile, so that the next is higher.
                    Err(failure) if failure.kind == Kind::Exists => {}
                    Err(failure) => return Err(failure),
                }
            }
        }
    }
}

/// Drops a job's throwaway fork as soon as nobody is connected to it, without waiting for who might come back.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Forget {
    /// The job.
    pub job: BranchName,
}

/// A job that is forgotten.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Forgotten {
    /// The job.
    pub job: BranchName,
    /// Connections that have its fork still. Nobody else gets it, and the name is free when they have left.
    #[serde(default)]
    pub connections: u64,
    /// The branch that its fork was kept as.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept: Option<BranchName>,
}

impl Request for Forget {
    type Answer = Forgotten;
    const METHOD: Method = Method::Change;
    const VERB: &'static str = "forget";

    fn work(self, daemon: &Daemon) -> Result<Forgotten, Failure> {
        daemon.end_job(&self.job)
    }
}
