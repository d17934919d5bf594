//! `create`: an empty disk.

use serde::{Deserialize, Serialize};
use tine_store::BranchName;

use super::{Failure, Method, Request};
use crate::Daemon;

/// Creates an empty branch: a disk that reads as zeroes.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Create {
    /// The new branch.
    pub name: BranchName,
    /// Its size in bytes.
    pub size: u64,
}

/// A branch that was created.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Created {
    /// Its name.
    pub name: BranchName,
    /// Its size in bytes.
    pub size: u64,
}

impl Request for Create {
    type Answer = Created;
    const METHOD: Method = Method::Change;
    const VERB: &'static str = "create";

    fn work(self, daemon: &Daemon) -> Result<Created, Failure> {
        let Self { name, size } = self;
        daemon.store().create_branch(&name, size)?;
        Ok(Created { name, size })
    }
}
