//! `rename`: another name for a branch.

use serde::{Deserialize, Serialize};
use tine_store::BranchName;

use super::{Failure, Method, Request};
use crate::Daemon;

/// Renames a branch; its snapshots go with it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rename {
    /// The branch.
    pub name: BranchName,
    /// Its new name.
    pub new: BranchName,
}

/// A branch that was renamed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Renamed {
    /// Its name.
    pub name: BranchName,
    /// The name that it had.
    pub was: BranchName,
}

impl Request for Rename {
    type Answer = Renamed;
    const METHOD: Method = Method::Change;
    const VERB: &'static str = "rename";

    fn work(self, daemon: &Daemon) -> Result<Renamed, Failure> {
        let Self { name, new } = self;
        let _alone = daemon.alone(std::iter::once(&name))?;
        daemon
            .store()
            .rename(&name, &new)
            .map_err(|error| Failure::from(error).sparing(&name))?;
        Ok(Renamed { name: new, was: name })
    }
}
