//! `protect`: a branch that clients can only read, and one that they can write again.

use serde::{Deserialize, Serialize};
use tine_store::BranchName;

use super::{Failure, Method, Request};
use crate::Daemon;

/// Makes a branch read-only to clients, or writable again. Forks of it are writable either way, and commands write to it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Protect {
    /// The branch.
    pub name: BranchName,
    /// Whether clients can only read it from now on.
    pub protected: bool,
    /// Whether those who are writing to it now are stopped.
    #[serde(default)]
    pub force: bool,
}

/// A branch that was protected, or is no more.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Protected {
    /// The branch.
    pub name: BranchName,
    /// Whether clients can only read it.
    pub protected: bool,
    /// Whether that is what it was before.
    pub was: bool,
}

impl Request for Protect {
    type Answer = Protected;
    const METHOD: Method = Method::Change;
    const VERB: &'static str = "protect";

    fn work(self, daemon: &Daemon) -> Result<Protected, Failure> {
        let Self {
            name,
            protected,
            force,
        } = self;
        let was = daemon.store().is_protected(&name)?;
        if was != protected {
            daemon.protect(&name, protected, force)?;
        }
        Ok(Protected { name, protected, was })
    }
}
