//! `write`: bytes to a disk, piece after piece.

use serde::{Deserialize, Serialize};
use tine_nbd::Peer;
use tine_store::{Branch, BranchName};

use super::{Failure, near};
use crate::Daemon;
use crate::attached::{Attachment, DiskKey};
use crate::words::count;

/// Writes bytes to a branch. What came before a failure stays.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Write {
    /// The branch.
    pub name: BranchName,
    /// Do it though another client may write to the branch.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub force: bool,
}

/// What was written, all of it durable.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Written {
    /// The bytes.
    pub length: u64,
}

impl Write {
    /// What it is called in the path.
    pub const VERB: &'static str = "write";

    /// Begins to write, with a store that nobody else has.
    ///
    /// # Errors
    /// Those of [`tine_store::Store::branch`].
    pub fn begin_alone(self, daemon: &Daemon) -> Result<Writing, Failure> {
        Ok(Writing {
            branch: self.branch(daemon)?,
            length: 0,
            has_changed: false,
            _attachment: None,
        })
    }

    /// Begins to write for another process, which is a client of the disk until it ends.
    ///
    /// # Errors
    /// [`Kind::Attached`](super::Kind::Attached) when another client may write to it and it is not forced; those of
    /// [`tine_store::Store::branch`].
    pub(crate) fn begin(self, daemon: &Daemon, by: &Peer) -> Result<Writing, Failure> {
        let branch = self.branch(daemon)?;
        let disk = DiskKey {
            branch: branch.id(),
            snapshot: None,
        };
        let attachment = daemon
            .attached()
            .attach_command(disk, self.name.as_ref(), self.force, by)?;
        Ok(Writing {
            branch,
            length: 0,
            has_changed: false,
            _attachment: Some(attachment),
        })
    }

    fn branch(&self, daemon: &Daemon) -> Result<Branch, Failure> {
        let store = daemon.store();
        let branch = store.branch(&self.name);
        branch.map_err(|error| near::with_near_names(store, error.into()))
    }
}

/// Writing to a branch, under way.
#[derive(Debug)]
pub struct Writing {
    branch: Branch,
    length: u64,
    has_changed: bool,
    _attachment: Option<Attachment>,
}

impl Writing {
    /// Returns the disk's size in bytes.
    pub fn size(&self) -> u64 {
        self.branch.size()
    }

    /// Tells whether anything may have been written.
    pub(crate) fn has_changed(&self) -> bool {
        self.has_changed
    }

    /// Writes a piece.
    ///
    /// # Errors
    /// Those of [`Branch::write_at`].
    pub fn put(&mut self, bytes: &[u8], offset: u64) -> Result<(), Failure> {
        self.has_changed = true;
        self.branch.write_at(bytes, offset)?;
        self.length += bytes.len() as u64;
        Ok(())
    }

    /// Writes zeroes; a range of them takes no space.
    ///
    /// # Errors
    /// Those of [`Branch::write_zeroes`].
    pub fn put_zeroes(&mut self, offset: u64, length: u64) -> Result<(), Failure> {
        self.has_changed = true;
        self.branch.write_zeroes(offset, length)?;
        self.length += length;
        Ok(())
    }

    /// Ends before all was written: makes durable what was, and says how much that is. Nothing if that failed.
    pub fn stop(&self) -> Option<String> {
        self.branch.flush().ok()?;
        Some(before_that(self.length))
    }

    /// Makes everything durable.
    ///
    /// # Errors
    /// Those of [`Branch::flush`].
    pub fn finish(self) -> Result<Written, Failure> {
        self.branch.flush()?;
        Ok(Written { length: self.length })
    }
}

/// Says how much was written before a failure.
pub(crate) fn before_that(bytes: u64) -> String {
    let verb = if bytes == 1 { "was" } else { "were" };
    format!("{} {verb} written before that", count(bytes, "byte"))
}
