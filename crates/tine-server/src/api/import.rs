//! `import`: brings a disk in.

use std::ops::ControlFlow;

use serde::{Deserialize, Serialize};
use tine_store::{BranchName, ImportSource, Progress};

use super::{Failure, near};
use crate::Daemon;

/// Makes a branch of an image. It appears when all of it is there.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Import {
    /// The new branch.
    pub name: BranchName,
    /// The disk's size in bytes; without it the disk ends where the data do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
}

/// A branch that was imported.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Imported {
    /// Its name.
    pub name: BranchName,
    /// The disk's size in bytes.
    pub size: u64,
    /// Bytes of it that are not zero.
    pub data: u64,
}

impl Import {
    /// What it is called in the path.
    pub const VERB: &'static str = "import";

    /// Imports, from the first piece of `source` to the last.
    ///
    /// # Errors
    /// Those of [`tine_store::Store::import`]; nothing is left behind then.
    pub fn work(
        self,
        daemon: &Daemon,
        source: ImportSource<'_>,
        progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<Imported, Failure> {
        let store = daemon.store();
        let report = store.import(&self.name, source, progress);
        let report = report.map_err(|error| near::with_near_names(store, error.into()))?;
        Ok(Imported {
            name: self.name,
            size: report.size,
            // Data is counted in blocks, and a disk may end within one.
            data: report.data.min(report.size),
        })
    }
}
