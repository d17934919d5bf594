//! Errors: few kinds, named by what the caller can do; [`StoreError::hint`] tells the remedy.
//!
//! **Invariant:** a failure of the operating system reads "cannot DO THING", and why is its source: so `action` is a
//! verb, and whatever prints the error with its sources says all of it in one line.

use std::borrow::Cow;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::block::DISK_BYTES_MAX;
use crate::names::{BranchName, SnapshotName};

/// A result of the engine.
pub type Result<T, E = StoreError> = std::result::Result<T, E>;

/// The process that holds a store, as it wrote itself into the lock file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockHolder {
    /// Its process id.
    pub pid: u32,
    /// Its command line.
    pub command: String,
}

/// What went wrong.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// There is no store at a path.
    #[error("there is no store at `{}`", path.display())]
    NoStore {
        /// Where one was expected.
        path: PathBuf,
    },
    /// A store, or something else, is where one should be made.
    #[error("cannot make a store at `{}`: it is not an empty directory", path.display())]
    StoreExists {
        /// Where it should have been made.
        path: PathBuf,
    },
    /// Another process holds the store.
    #[error(
        "the store at `{}` is in use{}{}", path.display(),
        holder.as_ref().map(|h| format!(" by process {} (`{}`)", h.pid, h.command)).unwrap_or_default(),
        in_words(*waited)
    )]
    Busy {
        /// The store.
        path: PathBuf,
        /// Who holds it, if that can be told.
        holder: Option<LockHolder>,
        /// How long was waited.
        waited: Duration,
    },
    /// The store was made by something newer, or is no store.
    #[error("cannot read this store: {what}")]
    Unsupported {
        /// What is not understood, by name.
        what: String,
    },
    /// A name breaks the rules for names.
    #[error("the name `{name}` {reason}")]
    InvalidName {
        /// The name.
        name: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// No branch of that name.
    #[error("no branch named `{name}`")]
    UnknownBranch {
        /// The name.
        name: BranchName,
    },
    /// Only a throwaway fork can be kept.
    #[error("branch `{name}` is no throwaway fork")]
    NotThrowaway {
        /// The name.
        name: BranchName,
    },
    /// No snapshot of that name.
    #[error("branch `{branch}` has no snapshot named `{snapshot}`")]
    UnknownSnapshot {
        /// The branch.
        branch: BranchName,
        /// The name.
        snapshot: SnapshotName,
    },
    /// Nothing stands on the point any more.
    #[error("point {point} is gone: what stood on it was dropped")]
    UnknownPoint {
        /// Its number in the family tree.
        point: u64,
    },
    /// The name of a branch is taken.
    #[error("there is already a branch named `{name}`")]
    BranchExists {
        /// The name.
        name: BranchName,
    },
    /// The name of a snapshot is taken.
    #[error("branch `{branch}` already has a snapshot named `{snapshot}`")]
    SnapshotExists {
        /// The branch.
        branch: BranchName,
        /// The name.
        snapshot: SnapshotName,
    },
    /// A branch that was not forked has no origin to go back to.
    #[error("branch `{branch}` was not forked from anything")]
    NoOrigin {
        /// The branch.
        branch: BranchName,
    },
    /// The branch was dropped or its content replaced while it was in use.
    #[error("branch `{name}` was dropped")]
    Dropped {
        /// The name that it had.
        name: BranchName,
    },
    /// A size that no disk can have.
    #[error("a disk cannot have {size} bytes")]
    InvalidSize {
        /// The size.
        size: u64,
    },
    /// An access beyond the end of the disk.
    #[error("{length} bytes at {offset} are not within the disk of {size} bytes")]
    OutOfBounds {
        /// Where it begins.
        offset: u64,
        /// How long it is.
        length: u64,
        /// The disk's size.
        size: u64,
    },
    /// One operation asks for more than one journal frame can hold.
    #[error("the operation needs {bytes} bytes of journal records; {most} is the most")]
    TooLarge {
        /// What it needs.
        bytes: usize,
        /// The bound.
        most: usize,
    },
    /// A batch touches more blocks than can be written as one.
    #[error("the batch touches {blocks} blocks; {most} is the most that can be written as one")]
    BatchTooLarge {
        /// The blocks that it touches, at least.
        blocks: u64,
        /// The bound.
        most: u64,
    },
    /// The store lies where nothing can be written, or not by this user.
    #[error("the store at `{}` cannot be written", path.display())]
    Unwritable {
        /// The store.
        path: PathBuf,
    },
    /// The store was opened for reading only.
    #[error("the store was opened for reading only")]
    ReadOnly,
    /// The medium is full.
    #[error("no space left for {what}")]
    NoSpace {
        /// What needed it.
        what: Cow<'static, str>,
    },
    /// The store was damaged; it can only be read.
    #[error("the store is damaged: {what}")]
    Damaged {
        /// What is damaged.
        what: String,
    },
    /// A block's content is not what was written.
    #[error("{object}: block {block} is damaged: {what}")]
    BlockDamaged {
        /// The object.
        object: String,
        /// The block in it.
        block: u64,
        /// What was expected and found.
        what: String,
    },
    /// The medium failed.
    #[error("cannot {action} {object}")]
    Io {
        /// The object.
        object: String,
        /// What was tried with it: a verb.
        action: &'static str,
        /// Why it failed.
        source: Arc<io::Error>,
    },
    /// A sync of the journal failed earlier: what is durable is known only after opening the store again.
    #[error("the store stopped writing after an error")]
    Poisoned {
        /// The error.
        source: Arc<StoreError>,
    },
    /// The store was closed; handles on it cannot write any more.
    #[error("the store was closed")]
    Closed,
    /// The caller's progress callback asked to stop.
    #[error("cancelled")]
    Cancelled,
    /// A source or a sink of the caller's failed.
    #[error("cannot {action}")]
    Caller {
        /// What was tried: a verb with its object.
        action: &'static str,
        /// Why it failed.
        source: Arc<io::Error>,
    },
}

impl StoreError {
    /// Makes an error of the medium, telling a full disk from the rest.
    pub(crate) fn io(object: impl ToString, action: &'static str, source: io::Error) -> Self {
        if matches!(
            source.kind(),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
        ) {
            return Self::NoSpace {
                what: object.to_string().into(),
            };
        }
        Self::Io {
            object: object.to_string(),
            action,
            source: Arc::new(source),
        }
    }

    /// The answer to one who wants only what the medium need not be waited for.
    pub(crate) fn not_at_hand() -> Self {
        Self::io("a block", "read at once", io::ErrorKind::WouldBlock.into())
    }

    /// Tells whether the medium would have to be waited for.
    pub(crate) fn is_not_at_hand(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == io::ErrorKind::WouldBlock)
    }

    pub(crate) fn damaged(what: impl Into<String>) -> Self {
        Self::Damaged { what: what.into() }
    }

    /// Returns what to do about it, where there is something.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NoStore { .. } => "`tine import` or `tine create` makes one; `--store` or TINE_STORE names another".into(),
            Self::StoreExists { .. } => "name an empty or a new directory".into(),
            Self::Busy { holder: Some(holder), .. } => {
                format!("wait for process {} or end it; the lock goes with the process", holder.pid)
            }
            Self::Busy { holder: None, .. } => "wait for the other process, or end it".into(),
            Self::InvalidSize { .. } => format!("the largest disk has {DISK_BYTES_MAX} bytes (4 EiB)"),
            Self::Unsupported { .. } => "open it with the version of tine that made it, or a newer one".into(),
            Self::InvalidName { .. } => {
                "names are 1 to 128 of A-Z, a-z, 0-9, `.`, `_` and `-`, and do not begin with `.` or `-`".into()
            }
            Self::UnknownBranch { .. } => "`tine ls` shows all branches".into(),
            Self::NotThrowaway { name } => format!("it is kept already; `tine rename {name} NAME` gives it another name"),
            Self::UnknownSnapshot { branch, .. } => format!("`tine show {branch}` lists its snapshots"),
            Self::UnknownPoint { .. } => "`tine tree` shows what there is".into(),
            Self::BranchExists { name } => format!("choose another name, or `tine drop {name}` first"),
            Self::SnapshotExists { branch, snapshot } => {
                format!("choose another name, or `tine drop {branch}@{snapshot}` first")
            }
            Self::NoOrigin { branch } => format!("name a snapshot: `tine rollback {branch}@SNAPSHOT`"),
            Self::TooLarge { .. } | Self::BatchTooLarge { .. } => "do it in several smaller calls".into(),
            Self::NoSpace { .. } => {
                "free some space (drop branches, or remove other files) and try again; nothing flushed is lost".into()
            }
            Self::Damaged { .. } => {
                "`tine check --data` says what is affected; `--read-damaged` reads what was before the damage".into()
            }
            Self::BlockDamaged { .. } => {
                "`tine check --data` says which branches are affected; other blocks can still be read".into()
            }
            Self::ReadOnly => "leave `--read-damaged` out".into(),
            Self::Unwritable { .. } => {
                "to change it, run this as its owner, or make its file system writable; `--read-damaged` reads it as it is"
                    .into()
            },
            Self::Poisoned { source } => {
                let again = "open the store again: everything that was flushed is there";
                match &**source {
                    Self::Io { source, .. } if source.kind() == io::ErrorKind::FileTooLarge => {
                        format!("{SIZE_LIMIT}; then {again}")
                    }
                    _ => again.into(),
                }
            }
            Self::Io { source, .. } => remedy(source).into(),
            _ => return None,
        })
    }
}

/// Says how long was waited, if at all: one look at the lock is none.
fn in_words(waited: Duration) -> String {
    if waited < Duration::from_millis(100) {
        String::new()
    } else {
        format!("; waited {:.1} s", waited.as_secs_f64())
    }
}

/// What to do when a file of the store may not be as large as it has to be.
const SIZE_LIMIT: &str = "raise the limit of the size of files (`ulimit -f unlimited`), or put the store on a file system \
    that takes larger ones";

/// Returns what to do when the operating system refuses something to the store.
fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            "the store is another user's: run this as its owner, or give its files to yourself (`chown -R`)"
        }
        io::ErrorKind::NotFound => "a part of the store is missing: `tine check` says what is affected",
        io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists => {
            "something else is where a part of the store belongs: `--store` or TINE_STORE names another store"
        }
        io::ErrorKind::FileTooLarge => SIZE_LIMIT,
        _ => match rustix::io::Errno::from_io_error(error) {
            Some(rustix::io::Errno::MFILE | rustix::io::Errno::NFILE) => {
                "too many files are open: raise the limit (`ulimit -n`)"
            }
            _ => "the file system under the store failed: the kernel's log (`dmesg`) may say why",
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_names_what_was_tried_and_the_remedy() {
        let failed = |kind: io::ErrorKind| StoreError::io("journal/3", "sync", kind.into());
        let denied = failed(io::ErrorKind::PermissionDenied);
        assert_eq!(denied.to_string(), "cannot sync journal/3");
        assert!(denied.hint().unwrap().contains("owner"));
        let full = failed(io::ErrorKind::StorageFull);
        assert!(matches!(full, StoreError::NoSpace { .. }));
        assert_eq!(full.to_string(), "no space left for journal/3");
        let errno = |errno: rustix::io::Errno| StoreError::io("journal/3", "open", errno.into());
        assert!(errno(rustix::io::Errno::MFILE).hint().unwrap().contains("ulimit"));
        assert!(errno(rustix::io::Errno::IO).hint().unwrap().contains("dmesg"));
        let too_large = errno(rustix::io::Errno::FBIG);
        assert!(too_large.hint().unwrap().contains("ulimit -f"));
        let poisoned = StoreError::Poisoned {
            source: Arc::new(too_large),
        };
        assert!(poisoned.hint().unwrap().contains("ulimit -f"));
    }

    #[test]
    fn only_who_waited_is_told_how_long() {
        let busy = |waited| StoreError::Busy {
            path: "s".into(),
            holder: None,
            waited,
        };
        let at_once = Duration::from_micros(300);
        assert_eq!(busy(at_once).to_string(), "the store at `s` is in use");
        assert_eq!(
            busy(Duration::from_secs(30)).to_string(),
            "the store at `s` is in use; waited 30.0 s"
        );
    }
}
