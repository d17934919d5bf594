//! What can go wrong, by what a caller can do about it.

use std::io;

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Correct the request.
    #[error("{length} bytes at {offset} are not all inside the region's {region_length}")]
    OutOfRange {
        /// Where the request begins.
        offset: usize,
        /// How much it asked for.
        length: usize,
        /// How long the region is.
        region_length: usize,
    },
    /// Correct the request.
    #[error("a region cannot have {length} bytes")]
    Length {
        /// What was asked for.
        length: u64,
    },
    /// Correct the request: only regions of one length can be compared.
    #[error("a region of {length} bytes cannot be compared with one of {other}")]
    OtherLength {
        /// The region's length.
        length: usize,
        /// The other's.
        other: usize,
    },
    /// Take the descriptor that `Region::fork_fd` gave, and the length of its region.
    #[error(
        "the descriptor is of no file in memory that is sealed against writing and shrinking and has {length} bytes"
    )]
    NotSealed {
        /// What was asked for.
        length: usize,
    },
    /// Drop regions, or raise the bound. Nothing was changed.
    #[error("{mappings} regions are mapped, and this process may have {limit}")]
    TooManyMappings {
        /// How many mappings this crate has.
        mappings: usize,
        /// How many it takes of those that a process may have.
        limit: usize,
    },
    /// Raise the bound. Nothing was changed.
    #[error("files of this process may have {limit} bytes, and the region needs {length}")]
    FileSize {
        /// The bound, `RLIMIT_FSIZE`.
        limit: u64,
        /// What a file would need to have.
        length: usize,
    },
    /// Make a region in this process: those of the process it was forked from are not mapped here.
    #[error("the region belongs to process {owner}, and this is process {process}")]
    OtherProcess {
        /// Who made the region.
        owner: u32,
        /// Who asks.
        process: u32,
    },
    /// Make a table for more entries, and move them there. Nothing was changed.
    #[error("the table has {entries} entries, and its {bytes} bytes of addresses have no room for another")]
    TableFull {
        /// How many it has.
        entries: usize,
        /// How long its region is.
        bytes: usize,
    },
    /// Make the table with the types of what was saved, or take another copy of it.
    #[error("the region is no such table: {what}")]
    NotTable {
        /// What is otherwise.
        what: &'static str,
    },
    /// Another machine or kernel is needed.
    #[error("{what} is not there")]
    Unsupported {
        /// What the kernel or the machine lacks.
        what: &'static str,
    },
    /// See the source; [`Error::hint`] may know more. The region's content is as it was.
    #[error("{action} failed")]
    System {
        /// What was being done.
        action: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
    /// Look to the reader or writer that was handed in.
    #[error("{action} failed")]
    Stream {
        /// What was being done.
        action: &'static str,
        /// What the stream said.
        source: io::Error,
    },
    /// Take another copy of what was saved.
    #[error("what was saved is damaged at byte {offset}: {what}")]
    Damaged {
        /// Where, from the start of the stream.
        offset: u64,
        /// What is wrong there.
        what: &'static str,
    },
    /// Read it with a newer tine.
    #[error("what was saved has format {found}, and this reads {known}")]
    Format {
        /// The version found.
        found: u32,
        /// The version known.
        known: u32,
    },
    /// Load what it was saved since first.
    #[error("what was saved continues another state than this region's")]
    OtherState,
    /// Roll the region back first, or apply to another.
    #[error("the region was written since it was loaded")]
    Written,
}

impl Error {
    /// Returns what a user can do about it, where that is known.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        use rustix::io::Errno;
        match self {
            Self::TooManyMappings { .. } => Some("raise the sysctl vm.max_map_count, or drop regions"),
            Self::FileSize { .. } => Some("raise RLIMIT_FSIZE (`ulimit -f`)"),
            Self::OtherProcess { .. } => Some("make regions after fork(2), or hand one over"),
            Self::Unsupported { .. } => {
                Some("Linux 4.14 or newer, with pages of 4 KiB, has all that is needed")
            }
            Self::System { source, .. } => match Errno::from_io_error(source)? {
                Errno::MFILE => Some("raise RLIMIT_NOFILE (`ulimit -n`), or drop regions"),
                Errno::NFILE => Some("raise the sysctl fs.file-max"),
                Errno::NOMEM => Some(
                    "look at the sysctls vm.max_map_count and vm.overcommit_memory, RLIMIT_AS and the memory cgroup",
                ),
                Errno::NOENT => Some("mount /proc"),
                Errno::ACCESS => Some(
                    "a process that may not read its own /proc/self is to be made dumpable, see prctl(2)",
                ),
                Errno::NOSPC => Some("the memory cgroup or the machine has no memory left"),
                _ => None,
            },
            _ => None,
        }
    }

    pub(crate) fn system(action: &'static str) -> impl FnOnce(rustix::io::Errno) -> Self {
        move |errno| Self::System {
            action,
            source: errno.into(),
        }
    }

    pub(crate) fn stream(action: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Stream { action, source }
    }
}

/// What this crate returns.
pub type Result<T = (), E = Error> = std::result::Result<T, E>;
