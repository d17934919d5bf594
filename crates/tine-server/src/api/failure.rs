//! Why a request was refused or failed, as data: a kind for programs, words and the remedy for people.

use std::error::Error;
use std::io;
use std::sync::Arc;

use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use tine_store::{BranchName, StoreError, Target};

/// What kind of failure it is, by what the caller can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Kind {
    /// The request cannot be meant: correct it.
    Invalid,
    /// What is named is not there.
    NotFound,
    /// A name is taken.
    Exists,
    /// It would lose something, or take much space: agree to that, in the words of the message, or to all.
    Unconfirmed,
    /// Clients are attached: wait for them, or force it.
    Attached,
    /// The store, or the daemon, is busy: try again.
    Busy,
    /// The daemon is stopping: try again, the store will be free or served anew.
    Stopping,
    /// The store can only be read.
    ReadOnly,
    /// The medium is full.
    NoSpace,
    /// The store is damaged.
    Damaged,
    /// A block is damaged; others can still be read.
    BlockDamaged,
    /// It was stopped because the caller asked, or went away.
    Cancelled,
    /// A file or a stream of the caller's failed.
    Caller,
    /// The two sides speak different versions.
    Version,
    /// The daemon has another store than the one that was meant.
    OtherStore,
    /// The connection to the daemon broke.
    Connection,
    /// The operating system or the store failed.
    Failed,
    /// A kind that a later version knows.
    #[serde(other)]
    Unknown,
}

/// Why a request was refused or failed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Failure {
    /// What kind it is.
    pub kind: Kind,
    /// What failed, and why down to the bottom, in one line.
    pub message: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The branch or snapshot that is not there, or whose name is taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Target>,
    /// The error of the caller's own file or stream; it does not travel.
    #[serde(skip)]
    pub source: Option<Arc<io::Error>>,
}

impl Failure {
    /// Returns a failure of a kind, in words.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            hint: None,
            name: None,
            source: None,
        }
    }

    /// Returns what a failure of the operating system's is for a caller: `what` names what was tried and with what, after
    /// "cannot".
    pub fn io(what: impl std::fmt::Display, source: io::Error) -> Self {
        let hint = remedy(&source).map(str::to_owned);
        let message = format!("cannot {what}: {}", chain(&source));
        Self {
            hint,
            source: Some(Arc::new(source)),
            ..Self::new(Kind::Caller, message)
        }
    }

    /// Returns the failure of work that was stopped.
    pub fn cancelled() -> Self {
        StoreError::Cancelled.into()
    }

    /// Takes back the advice to drop the branch that is in the way when it is `source`, which the request works on.
    pub(super) fn sparing(self, source: &BranchName) -> Self {
        match &self.name {
            Some(Target::Branch(name)) if self.kind == Kind::Exists && name == source => {
                self.hint("choose another name")
            }
            _ => self,
        }
    }

    /// Adds the remedy.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds what else there is to know to the remedy that is there already.
    #[must_use]
    pub fn hint_more(mut self, more: impl Into<String>) -> Self {
        let more = more.into();
        self.hint = Some(match self.hint.take() {
            Some(hint) => format!("{hint}; {more}"),
            None => more,
        });
        self
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(&self.message)
    }
}

impl Error for Failure {}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let kind = match &error {
            StoreError::NoStore { .. }
            | StoreError::UnknownBranch { .. }
            | StoreError::UnknownSnapshot { .. }
            | StoreError::UnknownPoint { .. }
            | StoreError::NoOrigin { .. }
            | StoreError::Dropped { .. } => Kind::NotFound,
            StoreError::BranchExists { .. }
            | StoreError::SnapshotExists { .. }
            | StoreError::StoreExists { .. } => Kind::Exists,
            StoreError::InvalidName { .. }
            | StoreError::NotThrowaway { .. }
            | StoreError::InvalidSize { .. }
            | StoreError::OutOfBounds { .. }
            | StoreError::TooLarge { .. }
            | StoreError::BatchTooLarge { .. } => Kind::Invalid,
            StoreError::Busy { .. } => Kind::Busy,
            StoreError::ReadOnly | StoreError::Unwritable { .. } => Kind::ReadOnly,
            StoreError::NoSpace { .. } => Kind::NoSpace,
            StoreError::Damaged { .. } => Kind::Damaged,
            StoreError::BlockDamaged { .. } => Kind::BlockDamaged,
            StoreError::Cancelled => Kind::Cancelled,
            StoreError::Caller { .. } => Kind::Caller,
            _ => Kind::Failed,
        };
        let hint = error.hint();
        let message = chain(&error);
        let (mut name, mut source) = (None, None);
        match error {
            StoreError::UnknownBranch { name: branch } | StoreError::BranchExists { name: branch } => {
                name = Some(Target::Branch(branch));
            }
            StoreError::UnknownSnapshot { branch, snapshot }
            | StoreError::SnapshotExists { branch, snapshot } => {
                name = Some(Target::Snapshot(branch, snapshot));
            }
            StoreError::Caller { source: error, .. } => source = Some(error),
            _ => {}
        }
        Self {
            kind,
            message,
            hint,
            name,
            source,
        }
    }
}

/// Says in one line what failed, and why down to the bottom.
fn chain(error: &dyn Error) -> String {
    let mut message = without_number(&error.to_string()).to_owned();
    let mut next = error.source();
    while let Some(cause) = next {
        message.push_str(": ");
        message.push_str(without_number(&cause.to_string()));
        next = cause.source();
    }
    message
}

/// Leaves out the number that the library puts behind the operating system's words.
fn without_number(words: &str) -> &str {
    match words.rsplit_once(" (os error ") {
        Some((words, _)) => words,
        None => words,
    }
}

/// Returns what to do when the operating system refuses something, where all such refusals have one remedy.
fn remedy(error: &io::Error) -> Option<&'static str> {
    Some(match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "free some space and try again",
        io::ErrorKind::PermissionDenied => "run this as a user who may do that, or name another place",
        io::ErrorKind::ReadOnlyFilesystem => {
            "that file system is mounted for reading only; name another place"
        }
        io::ErrorKind::NotFound => "is the path right?",
        io::ErrorKind::NotADirectory => "something in that path is no directory; is the path right?",
        io::ErrorKind::AddrInUse => "name another place, or end the process that has this one",
        io::ErrorKind::IsADirectory => "that is a directory; name a file",
        io::ErrorKind::InvalidFilename => "a name in that path is too long, or all of it; name another place",
        io::ErrorKind::FileTooLarge => {
            "raise the limit of the size of files (`ulimit -f unlimited`), or name a file system that takes larger ones"
        }
        _ => match Errno::from_io_error(error) {
            Some(Errno::MFILE | Errno::NFILE) => "too many files are open: raise the limit (`ulimit -n`)",
            Some(Errno::LOOP) => {
                "symbolic links in that path lead in a circle; name another place, or mend the links"
            }
            Some(Errno::IO) => "the device failed: the kernel's log (`dmesg`) may say why",
            _ => return None,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_read_alike_wherever_they_come_from() {
        let refused = || io::Error::from(Errno::ACCESS);
        let failure = Failure::io("open `disk.img`", refused());
        assert_eq!(failure.message, "cannot open `disk.img`: Permission denied");
        assert!(failure.hint.is_some());
        let of_store = StoreError::Io {
            object: "journal/3".into(),
            action: "open",
            source: Arc::new(refused()),
        };
        let failure = Failure::from(of_store);
        assert_eq!(failure.message, "cannot open journal/3: Permission denied");
        assert!(failure.hint.is_some());
    }

    #[test]
    fn a_kind_that_is_not_known_yet_is_no_reason_to_fail() {
        let failure: Failure = serde_json::from_str(r#"{"kind":"tired","message":"no"}"#).unwrap();
        assert_eq!(failure.kind, Kind::Unknown);
    }
}
