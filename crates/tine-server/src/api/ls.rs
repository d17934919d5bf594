//! `ls` and `show`: the branches and their snapshots.

use serde::{Deserialize, Serialize};
use tine_store::{BranchInfo, BranchName, SnapshotInfo, SnapshotName, StoreError, Target};

use super::{Failure, Method, Request, Time};
use crate::Daemon;

/// Lists the branches.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ls {}

/// The branches.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Listed {
    /// Them, sorted by name.
    pub branches: Vec<Branch>,
    /// Whether the store is damaged, so that there may have been more.
    pub damaged: bool,
}

/// A branch.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Branch {
    /// Its name.
    pub name: BranchName,
    /// The disk's size in bytes.
    pub size: u64,
    /// Bytes of data written since its last point.
    pub written: u64,
    /// When it was made.
    pub created: Time,
    /// What it was forked from, as that was called then.
    pub origin: Option<String>,
    /// Whether NBD clients can only read it.
    #[serde(default)]
    pub protected: bool,
    /// Its snapshots, by name.
    pub snapshots: Vec<SnapshotOf>,
}

/// A snapshot of a branch that is known.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SnapshotOf {
    /// Its name.
    pub snapshot: SnapshotName,
    /// The disk's size in bytes.
    pub size: u64,
    /// When it was made.
    pub created: Time,
}

impl From<BranchInfo> for Branch {
    fn from(info: BranchInfo) -> Self {
        Self {
            name: info.name,
            size: info.size,
            written: info.written,
            created: info.created.into(),
            origin: info.origin.map(|origin| origin.name),
            protected: info.protected,
            snapshots: info.snapshots.into_iter().map(SnapshotOf::from).collect(),
        }
    }
}

impl From<SnapshotInfo> for SnapshotOf {
    fn from(info: SnapshotInfo) -> Self {
        Self {
            snapshot: info.name,
            size: info.size,
            created: info.created.into(),
        }
    }
}

impl Request for Ls {
    type Answer = Listed;
    const METHOD: Method = Method::Look;
    const VERB: &'static str = "ls";

    fn work(self, daemon: &Daemon) -> Result<Listed, Failure> {
        let store = daemon.store();
        Ok(Listed {
            branches: store.branches()?.into_iter().map(Branch::from).collect(),
            damaged: store.damage().is_some(),
        })
    }
}

/// Shows one branch with its snapshots, or one snapshot.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Show {
    /// The branch or snapshot.
    pub target: Target,
}

/// A branch or a snapshot.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Shown {
    /// A branch.
    Branch(Branch),
    /// A snapshot.
    Snapshot {
        /// Its branch.
        name: BranchName,
        /// It.
        #[serde(flatten)]
        snapshot: SnapshotOf,
    },
}

impl Request for Show {
    type Answer = Shown;
    const METHOD: Method = Method::Look;
    const VERB: &'static str = "show";

    fn work(self, daemon: &Daemon) -> Result<Shown, Failure> {
        let branch = daemon.store().branch_info(self.target.branch())?;
        match self.target {
            Target::Branch(_) => Ok(Shown::Branch(branch.into())),
            Target::Snapshot(name, wanted) => {
                let found = branch.snapshots.into_iter().find(|found| found.name == wanted);
                match found {
                    Some(snapshot) => Ok(Shown::Snapshot {
                        name,
                        snapshot: snapshot.into(),
                    }),
                    None => Err(StoreError::UnknownSnapshot {
                        branch: name,
                        snapshot: wanted,
                    }
                    .into()),
                }
            }
        }
    }
}
