//! `resize`: another size for a disk.

use serde::{Deserialize, Serialize};
use tine_store::{BranchName, ExtentKind, Store, Target};

use super::{Consent, Failure, Method, Request};
use crate::Daemon;
use crate::words::human;

/// Changes the size of a branch.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Resize {
    /// The branch.
    pub name: BranchName,
    /// Its new size in bytes.
    pub size: u64,
    /// To losing what lies beyond the new end.
    #[serde(default)]
    pub consent: Consent,
    /// Make it smaller though clients are attached to it.
    #[serde(default)]
    pub force: bool,
}

/// A branch that was resized.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Resized {
    /// Its name.
    pub name: BranchName,
    /// Its size in bytes.
    pub size: u64,
    /// The size that it had.
    pub was: u64,
}

impl Request for Resize {
    type Answer = Resized;
    const METHOD: Method = Method::Change;
    const VERB: &'static str = "resize";

    fn work(self, daemon: &Daemon) -> Result<Resized, Failure> {
        let Self {
            name,
            size,
            consent,
            force,
        } = self;
        let store = daemon.store();
        let was = store.branch(&name)?.size();
        let _claim = (size < was)
            .then(|| daemon.claim(&[Target::Branch(name.clone())], "shrinking", force))
            .transpose()?;
        consent.covers(|| loss(store, &name, size))?;
        store.resize(&name, size)?;
        Ok(Resized { name, size, was })
    }
}

fn loss(store: &Store, name: &BranchName, size: u64) -> Result<Option<String>, Failure> {
    let branch = store.branch(name)?;
    let was = branch.size();
    if size >= was {
        return Ok(None);
    }
    let cut = branch.extents(size..was)?;
    let data: u64 = cut
        .iter()
        .filter(|extent| matches!(extent.kind, ExtentKind::Data))
        .map(|extent| extent.length)
        .sum();
    Ok((data > 0).then(|| {
        format!(
            "shrinking `{name}` from {} to {} loses {} of data beyond the new end",
            human(was),
            human(size),
            human(data)
        )
    }))
}
