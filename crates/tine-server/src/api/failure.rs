//! Why a request was refused or failed, as data: a kind for programs, words and the remedy for people.

use std::error::Error;
use std::io;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tine_store::StoreError;

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
    /// It would lose something: agree to that, in the same words, or to all.
    WouldLose,
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
    /// Something is damaged.
    Damaged,
    /// It was stopped because the caller asked, or went away.
    Cancelled,
    /// A file or a stream of the caller's failed.
    Caller,
    /// The two sides speak different versions.
    Version,
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
            source: None,
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
            StoreError::Damaged { .. } | StoreError::BlockDamaged { .. } => Kind::Damaged,
            StoreError::Cancelled => Kind::Cancelled,
            StoreError::Caller { .. } => Kind::Caller,
            _ => Kind::Failed,
        };
        let hint = error.hint();
        let message = chain(&error);
        let source = match error {
            StoreError::Caller { source, .. } => Some(source),
            _ => None,
        };
        Self {
            kind,
            message,
            hint,
            source,
        }
    }
}

/// Says in one line what failed, and why down to the bottom.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut message = error.to_string();
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
