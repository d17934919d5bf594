//! `drop`: forgets branches and snapshots.

mod loss;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use tine_store::{BranchInfo, BranchName, SnapshotName, Store, StoreError, Target};

use super::{Consent, Failure, Method, Request};
use crate::Daemon;
use crate::attached::Under;
use crate::words::{count, list};

/// Drops branches with their snapshots, or single snapshots.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Drop {
    /// The branches and snapshots.
    pub targets: Vec<Target>,
    /// To losing what only they have.
    #[serde(default)]
    pub consent: Consent,
    /// Drop branches though clients are attached to them.
    #[serde(default)]
    pub force: bool,
}

/// What was dropped.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Dropped {
    /// All that went: a branch is followed by its snapshots.
    pub dropped: Vec<Target>,
    /// What was named, in words: names, and how many snapshots went with them.
    pub words: String,
    /// Bytes that come back when those who still read them have ended.
    pub still_read: u64,
}

impl Request for Drop {
    type Answer = Dropped;
    const METHOD: Method = Method::Change;
    const VERB: &'static str = "drop";

    fn work(self, daemon: &Daemon) -> Result<Dropped, Failure> {
        let Self {
            targets,
            consent,
            force,
        } = self;
        let store = daemon.store();
        let alone = daemon.alone(targets.iter().map(Target::branch))?;
        // All or nothing, as far as mistyped names go.
        let going = Going::find(store, &targets)?;
        let _claim = alone.claim(&going.everything(), ("dropping", Under::All), force)?;
        let branches: Vec<_> = going.branches.iter().map(|info| info.name.clone()).collect();
        consent.covers(|| loss::of(store, &going).map(Some))?;
        for (branch, snapshot) in &going.snapshots {
            store.drop_snapshot(branch, snapshot)?;
        }
        if !branches.is_empty() {
            store.drop_branches(&branches)?;
        }
        Ok(Dropped {
            dropped: going.everything(),
            words: going.in_words(),
            // What is dropped is dropped, whether that can be told or not.
            still_read: store.leased_bytes().unwrap_or(0),
        })
    }
}

/// What is to go, each once and in the order given; a snapshot that is named beside its branch goes with it.
struct Going {
    branches: Vec<BranchInfo>,
    snapshots: Vec<(BranchName, SnapshotName)>,
}

impl Going {
    /// Looks up what is named; fails when something of it is not there.
    fn find(store: &Store, targets: &[Target]) -> Result<Self, Failure> {
        let mut known: BTreeMap<BranchName, BranchInfo> = store
            .branches()?
            .into_iter()
            .map(|info| (info.name.clone(), info))
            .collect();
        for target in targets {
            let branch = target.branch();
            let info = known
                .get(branch)
                .ok_or_else(|| StoreError::UnknownBranch { name: branch.clone() })?;
            if let Target::Snapshot(_, snapshot) = target
                && !info.snapshots.iter().any(|known| &known.name == snapshot)
            {
                return Err(StoreError::UnknownSnapshot {
                    branch: branch.clone(),
                    snapshot: snapshot.clone(),
                }
                .into());
            }
        }
        let (mut branches, mut snapshots) = (Vec::new(), Vec::new());
        let mut seen = BTreeSet::new();
        for target in targets.iter().filter(|target| seen.insert(*target)) {
            match target {
                Target::Branch(branch) => branches.extend(known.remove(branch)),
                Target::Snapshot(branch, snapshot) => snapshots.push((branch.clone(), snapshot.clone())),
            }
        }
        snapshots.retain(|(branch, _)| !seen.contains(&Target::Branch(branch.clone())));
        Ok(Self { branches, snapshots })
    }

    /// Returns what was named.
    fn named(&self) -> Vec<Target> {
        let branches = self.branches.iter().map(|info| Target::Branch(info.name.clone()));
        branches.chain(self.single_snapshots()).collect()
    }

    /// Returns everything that goes: the snapshots of the branches, too, each behind its branch.
    fn everything(&self) -> Vec<Target> {
        let whole = |info: &BranchInfo| {
            let name = info.name.clone();
            let snapshots = info.snapshots.iter().map(|snapshot| snapshot.name.clone());
            let of_it: Vec<_> = snapshots
                .map(|snapshot| Target::Snapshot(name.clone(), snapshot))
                .collect();
            std::iter::once(Target::Branch(name)).chain(of_it)
        };
        let branches = self.branches.iter().flat_map(whole);
        branches.chain(self.single_snapshots()).collect()
    }

    fn single_snapshots(&self) -> impl Iterator<Item = Target> {
        self.snapshots
            .iter()
            .map(|(branch, snapshot)| Target::Snapshot(branch.clone(), snapshot.clone()))
    }

    /// Names what was named, and counts the snapshots that go with their branches.
    fn in_words(&self) -> String {
        let names = self.named();
        let its = if names.len() == 1 { "its" } else { "their" };
        let snapshots = self.branches.iter().map(|info| info.snapshots.len() as u64);
        match snapshots.sum() {
            0 => list(&names),
            1 => format!("{} with {its} snapshot", list(&names)),
            number => format!("{} with {its} {}", list(&names), count(number, "snapshot")),
        }
    }
}
