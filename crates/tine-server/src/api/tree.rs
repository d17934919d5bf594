//! `tree`: which branch comes from which.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use tine_store::{BranchInfo, BranchName, Target};

use super::{Failure, Method, Request};
use crate::Daemon;

/// Shows which branch and snapshot comes from which.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tree {}

/// The family tree.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Family {
    /// Its points and the heads of branches, parents before their children.
    pub points: Vec<Point>,
    /// Whether the store is damaged, so that there may have been more.
    pub damaged: bool,
}

/// A point, or the head of a branch.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Point {
    /// Its number.
    pub point: u64,
    /// The point that it follows.
    pub parent: Option<u64>,
    /// The disk's size in bytes.
    pub size: u64,
    /// Bytes of data written between the parent and this.
    pub written: u64,
    /// The branch whose head it is.
    pub name: Option<BranchName>,
    /// The snapshots that name it.
    pub snapshots: Vec<Target>,
    /// What it was called when it was forked first, if there is a branch that was forked from it.
    pub forked_as: Option<String>,
}

impl Request for Tree {
    type Answer = Family;
    const METHOD: Method = Method::Look;
    const VERB: &'static str = "tree";

    fn work(self, daemon: &Daemon) -> Result<Family, Failure> {
        let store = daemon.store();
        let (points, branches) = (store.points()?, store.branches()?);
        let origins = origins(&branches);
        let points = points.into_iter().map(|point| Point {
            point: point.id,
            parent: point.parent,
            size: point.size,
            written: point.written,
            name: point.branch,
            snapshots: point.snapshots,
            forked_as: origins.get(&point.id).map(|name| (*name).to_owned()),
        });
        Ok(Family {
            points: points.collect(),
            damaged: store.damage().is_some(),
        })
    }
}

/// Returns what points were called when they were forked.
fn origins(branches: &[BranchInfo]) -> HashMap<u64, &str> {
    let mut forks: Vec<_> = branches
        .iter()
        .filter_map(|fork| Some((fork.created, fork.origin.as_ref()?)))
        .collect();
    forks.sort_by_key(|(created, _)| *created);
    let mut origins = HashMap::new();
    // The same point serves forks of forks that wrote nothing: the first one says what it was.
    for (_, origin) in forks {
        origins.entry(origin.point).or_insert(origin.name.as_str());
    }
    origins
}
