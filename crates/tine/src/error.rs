//! How a command ends: its exit status, and what it says when it fails.

use std::error::Error;
use std::io;
use std::process::ExitCode;

use rustix::io::Errno;
use tine_store::{BranchName, StoreError};

use crate::interrupt;
use crate::ui::Ui;

/// What a command returns.
pub(crate) type Outcome<T = Exit> = Result<T, CommandError>;

/// The exit status of a command that did its work.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Exit {
    /// 0: done.
    Done,
    /// 1: the two differ, or damage was found.
    Differ,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        match exit {
            Exit::Done => Self::SUCCESS,
            Exit::Differ => Self::from(1),
        }
    }
}

/// Why a command stopped.
#[derive(Debug)]
pub(crate) enum CommandError {
    /// It failed: exit status 2.
    Failed(Box<Failure>),
    /// It was asked to stop by a signal and left all as it was: exit status 128 and the signal, so 130 for Ctrl-C.
    Interrupted(u8),
    /// Whoever read its output has seen enough: no error.
    ClosedPipe,
}

/// What went wrong, and the remedy.
#[derive(Debug)]
pub(crate) struct Failure {
    cause: Cause,
    hint: Option<String>,
}

#[derive(Debug)]
enum Cause {
    Store(StoreError),
    Io { what: String, source: io::Error },
    Said(String),
}

impl CommandError {
    /// Returns a failure of the command's own.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self::failed(Cause::Said(message.into()), None)
    }

    /// Returns a failure of the operating system's: `what` names what was tried and with what, after "cannot".
    pub(crate) fn io(what: impl Into<String>, source: io::Error) -> Self {
        let hint = remedy(&source).map(str::to_owned);
        Self::failed(
            Cause::Io {
                what: what.into(),
                source,
            },
            hint,
        )
    }

    /// Adds the remedy.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        if let Self::Failed(failure) = &mut self {
            failure.hint = Some(hint.into());
        }
        self
    }

    /// Adds what else there is to know to the remedy that is there already.
    pub(crate) fn hint_more(mut self, more: impl Into<String>) -> Self {
        if let Self::Failed(failure) = &mut self {
            let more = more.into();
            failure.hint = Some(match failure.hint.take() {
                Some(hint) => format!("{hint}; {more}"),
                None => more,
            });
        }
        self
    }

    /// Takes back the advice to drop the branch that is in the way when it is `source`, which the command works on.
    pub(crate) fn sparing(self, source: &BranchName) -> Self {
        match self.store_error() {
            Some(StoreError::BranchExists { name }) if name == source => self.hint("choose another name"),
            _ => self,
        }
    }

    /// Returns the engine's error if that is what this is.
    pub(crate) fn store_error(&self) -> Option<&StoreError> {
        match self {
            Self::Failed(failure) => match &failure.cause {
                Cause::Store(error) => Some(error),
                Cause::Io { .. } | Cause::Said(_) => None,
            },
            Self::Interrupted(_) | Self::ClosedPipe => None,
        }
    }

    fn failed(cause: Cause, hint: Option<String>) -> Self {
        Self::Failed(Box::new(Failure { cause, hint }))
    }

    /// Tells standard error what happened and returns the exit status.
    pub(crate) fn report(&self, ui: &Ui) -> ExitCode {
        match self {
            Self::Failed(failure) => {
                ui.error(&failure.message());
                if let Some(hint) = &failure.hint {
                    ui.hint(hint);
                }
                ExitCode::from(2)
            }
            Self::Interrupted(signal) => ExitCode::from(128 + signal),
            Self::ClosedPipe => ExitCode::SUCCESS,
        }
    }
}

impl Failure {
    /// Says in one line what failed, and why down to the bottom.
    fn message(&self) -> String {
        let (mut message, mut next) = match &self.cause {
            Cause::Store(error) => (error.to_string(), error.source()),
            Cause::Io { what, source } => (format!("cannot {what}"), Some(source as &dyn Error)),
            Cause::Said(message) => (message.clone(), None),
        };
        while let Some(cause) = next {
            message.push_str(": ");
            message.push_str(without_number(&cause.to_string()));
            next = cause.source();
        }
        message
    }
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
        io::ErrorKind::IsADirectory => "that is a directory; name a file",
        _ => match Errno::from_io_error(error) {
            Some(Errno::MFILE | Errno::NFILE) => "too many files are open: raise the limit (`ulimit -n`)",
            Some(Errno::IO) => "the device failed: the kernel's log (`dmesg`) may say why",
            _ => return None,
        },
    })
}

impl From<StoreError> for CommandError {
    fn from(error: StoreError) -> Self {
        if matches!(error, StoreError::Cancelled)
            && let Some(signal) = interrupt::caught()
        {
            return Self::Interrupted(signal);
        }
        let hint = error.hint();
        Self::failed(Cause::Store(error), hint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(error: CommandError) -> (String, Option<String>) {
        match error {
            CommandError::Failed(failure) => (failure.message(), failure.hint),
            CommandError::Interrupted(_) | CommandError::ClosedPipe => panic!("no failure"),
        }
    }

    #[test]
    fn failures_read_alike_wherever_they_come_from() {
        let refused = || io::Error::from(Errno::ACCESS);
        let (message, hint) = shown(CommandError::io("open `disk.img`", refused()));
        assert_eq!(message, "cannot open `disk.img`: Permission denied");
        assert!(hint.is_some());
        let of_store = StoreError::Io {
            object: "journal/3".into(),
            action: "open",
            source: std::sync::Arc::new(refused()),
        };
        let (message, hint) = shown(of_store.into());
        assert_eq!(message, "cannot open journal/3: Permission denied");
        assert!(hint.is_some());
    }
}
