//! A disk as one connection has it: a branch, or a snapshot, which is read-only.

use std::ops::{ControlFlow, Range};

use tine_nbd::{BASE_ALLOCATION, Errno, Export, Extent, Fault, Features, Zeroing};
use tine_store::{BLOCK_BYTES, Branch, State, Store};

use super::context::Contexts;
use super::fault::{Request, fault};
use super::reading;
use crate::attached::Attachment;
use crate::throwaway::{Fork, JobUse};

/// What a branch that is served goes with.
pub(super) enum Held {
    /// It has a name of its own.
    Named(Branch),
    /// Made for this connection.
    Fork(Fork),
    /// A job's.
    Job(JobUse),
}

impl Held {
    pub(super) fn branch(&self) -> &Branch {
        match self {
            Self::Named(branch) => branch,
            Self::Fork(fork) => fork.branch(),
            Self::Job(job) => job.branch(),
        }
    }

    /// Returns the contexts of who has it. What is made for one connection has no snapshots of its own.
    pub(super) fn contexts(&self, store: &Store) -> Contexts {
        let own = match self {
            Self::Fork(_) => None,
            Self::Named(branch) => Some(branch),
            Self::Job(job) => Some(job.branch()),
        };
        Contexts::new(store, own.map(|branch| (branch.name(), branch.id())))
    }
}

/// A branch, served to one connection.
pub(super) struct BranchExport {
    // Before the fork goes, nobody is attached to it any more.
    pub(super) attachment: Attachment,
    pub(super) _held: Held,
    /// The branch, once more, a step nearer.
    pub(super) branch: Branch,
    pub(super) features: Features,
    pub(super) contexts: Contexts,
    pub(super) store: Store,
}

/// So much is copied and summed by a thread that holds nobody up.
const LARGE: usize = 64 << 10;

impl BranchExport {
    /// Fails if the branch has been protected since it was opened.
    fn check_writable(&self) -> Result<(), Fault> {
        if self.attachment.may_write() {
            return Ok(());
        }
        Err(Fault::new(
            Errno::NotPermitted,
            format!(
                "`{}` is protected: it is read-only to clients",
                self.branch.name()
            ),
        ))
    }
}

impl Export for BranchExport {
    fn size(&self) -> u64 {
        self.branch.size()
    }

    fn features(&self) -> Features {
        self.features
    }

    fn read_at_once(&self, into: &mut [u8], offset: u64) -> Result<bool, Fault> {
        reading::read_at_once(&self.branch, into, offset)
    }

    fn read(&self, into: &mut [u8], offset: u64) -> Result<(), Fault> {
        reading::read(&self.branch, into, offset)
    }

    fn read_sparse(
        &self,
        into: &mut [u8],
        offset: u64,
        hole: &mut dyn FnMut(Range<usize>),
    ) -> Result<(), Fault> {
        reading::read_sparse(&self.branch, into, offset, hole)
    }

    fn write_at_once(&self, bytes: &[u8], offset: u64) -> Result<bool, Fault> {
        if bytes.len() >= LARGE {
            return Ok(false);
        }
        self.check_writable()?;
        self.branch
            .write_at_once(bytes, offset)
            .map_err(|error| fault(error, Request::Writes))
    }

    fn write(&self, bytes: &[u8], offset: u64) -> Result<(), Fault> {
        self.check_writable()?;
        self.branch
            .write_at(bytes, offset)
            .map_err(|error| fault(error, Request::Writes))
    }

    fn write_zeroes(&self, range: Range<u64>, how: Zeroing) -> Result<(), Fault> {
        self.check_writable()?;
        // Only whole blocks are zeroed without being written. The last one may be cut by the disk's end.
        let end = whole_until(range.end, self.branch.size());
        if how.fast && range.start.next_multiple_of(BLOCK_BYTES) >= end {
            return Err(Fault::new(
                Errno::NotSupported,
                format!("less than a block of {BLOCK_BYTES} bytes is zeroed no faster than it is written"),
            ));
        }
        let length = range.end - range.start;
        let done = if how.no_hole {
            self.branch.write_zeroes(range.start, length)
        } else {
            self.branch.discard(range.start, length)
        };
        done.map_err(|error| fault(error, Request::Writes))
    }

    fn trim(&self, range: Range<u64>) -> Result<(), Fault> {
        self.check_writable()?;
        // A block of which only a part is not needed any more is needed.
        let start = range.start.next_multiple_of(BLOCK_BYTES);
        let end = whole_until(range.end, self.branch.size());
        if start >= end {
            return Ok(());
        }
        self.branch
            .discard(start, end - start)
            .map_err(|error| fault(error, Request::Other))
    }

    fn cache(&self, range: Range<u64>) -> Result<(), Fault> {
        reading::cache(&self.branch, range)
    }

    fn flush(&self) -> Result<(), Fault> {
        // What others wrote is asked for, too; a store that can only be read has nothing that is not durable.
        if self.store.damage().is_some() {
            return Ok(());
        }
        self.branch.flush().map_err(|error| fault(error, Request::Other))
    }

    fn select(&self, context: &str) {
        self.contexts.select(context);
    }

    fn extents(
        &self,
        context: &str,
        range: Range<u64>,
        visit: &mut dyn FnMut(Extent) -> ControlFlow<()>,
    ) -> Result<(), Fault> {
        if context == BASE_ALLOCATION {
            return reading::allocation(&self.branch, range, visit);
        }
        let now = self
            .branch
            .state()
            .map_err(|error| fault(error, Request::Other))?;
        self.contexts.changed(context, &now, range, visit)
    }
}

/// Returns where the last whole block of a range ends: the disk's end makes any block whole.
fn whole_until(end: u64, size: u64) -> u64 {
    if end == size {
        end
    } else {
        end / BLOCK_BYTES * BLOCK_BYTES
    }
}

/// A snapshot, served to one connection. Who has it keeps it, even if its name is dropped meanwhile.
pub(super) struct SnapshotExport {
    pub(super) _attachment: Attachment,
    pub(super) state: State,
    pub(super) contexts: Contexts,
}

/// Answers who wants to change a snapshot.
fn refuses() -> Fault {
    Fault::new(
        Errno::NotPermitted,
        "a snapshot is read-only; a fork of it is not",
    )
}

impl Export for SnapshotExport {
    fn size(&self) -> u64 {
        self.state.size()
    }

    fn features(&self) -> Features {
        Features {
            read_only: true,
            multi_conn: true,
        }
    }

    fn read_at_once(&self, into: &mut [u8], offset: u64) -> Result<bool, Fault> {
        reading::read_at_once(&self.state, into, offset)
    }

    fn read(&self, into: &mut [u8], offset: u64) -> Result<(), Fault> {
        reading::read(&self.state, into, offset)
    }

    fn read_sparse(
        &self,
        into: &mut [u8],
        offset: u64,
        hole: &mut dyn FnMut(Range<usize>),
    ) -> Result<(), Fault> {
        reading::read_sparse(&self.state, into, offset, hole)
    }

    fn write(&self, _: &[u8], _: u64) -> Result<(), Fault> {
        Err(refuses())
    }

    fn write_zeroes(&self, _: Range<u64>, _: Zeroing) -> Result<(), Fault> {
        Err(refuses())
    }

    fn trim(&self, _: Range<u64>) -> Result<(), Fault> {
        Err(refuses())
    }

    fn cache(&self, range: Range<u64>) -> Result<(), Fault> {
        reading::cache(&self.state, range)
    }

    fn flush(&self) -> Result<(), Fault> {
        Ok(())
    }

    fn select(&self, context: &str) {
        self.contexts.select(context);
    }

    fn extents(
        &self,
        context: &str,
        range: Range<u64>,
        visit: &mut dyn FnMut(Extent) -> ControlFlow<()>,
    ) -> Result<(), Fault> {
        if context == BASE_ALLOCATION {
            return reading::allocation(&self.state, range, visit);
        }
        self.contexts.changed(context, &self.state, range, visit)
    }
}
