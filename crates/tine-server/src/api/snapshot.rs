//! `snapshot`: points to come back to.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};
use tine_store::{BranchName, SnapshotName, Target};

use super::{Failure, Kind, Method, Request};
use crate::Daemon;

/// Names the present state of branches, all of one instant, all or none.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Snapshot {
    /// The snapshots: each its branch, and its name there.
    pub snapshots: Vec<Target>,
}

/// Snapshots that were made.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Snapshotted {
    /// Them, in the order in which they were named.
    pub snapshots: Vec<Target>,
}

impl Request for Snapshot {
    type Answer = Snapshotted;
    const METHOD: Method = Method::Change;
    const VERB: &'static str = "snapshot";

    fn work(self, daemon: &Daemon) -> Result<Snapshotted, Failure> {
        let mut seen = HashSet::new();
        let mut pairs: Vec<(BranchName, SnapshotName)> = Vec::new();
        for target in &self.snapshots {
            if !seen.insert(target) {
                return Err(Failure::new(Kind::Invalid, format!("`{target}` is named twice"))
                    .hint("name each snapshot once"));
            }
            match target {
                Target::Snapshot(branch, snapshot) => pairs.push((branch.clone(), snapshot.clone())),
                Target::Branch(branch) => {
                    let words = format!("`{branch}` does not say what to call the snapshot");
                    return Err(Failure::new(Kind::Invalid, words)
                        .hint(format!("put its name behind an `@`: `{branch}@SNAP`")));
                }
            }
        }
        daemon.store().snapshot(&pairs)?;
        Ok(Snapshotted {
            snapshots: self.snapshots,
        })
    }
}
