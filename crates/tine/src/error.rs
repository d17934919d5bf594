//! How a command ends: its exit status, and what it says when it fails.

use std::io;
use std::process::ExitCode;

use tine_server::api::{Failure, Kind};
use tine_store::StoreError;

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
    /// That of the command which was run.
    Code(u8),
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        match exit {
            Exit::Done => Self::SUCCESS,
            Exit::Differ => Self::from(1),
            Exit::Code(code) => Self::from(code),
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

impl CommandError {
    /// Returns a failure of the command's own.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self::Failed(Box::new(Failure::new(Kind::Failed, message)))
    }

    /// Returns a failure of the operating system's: `what` names what was tried and with what, after "cannot".
    pub(crate) fn io(what: impl std::fmt::Display, source: io::Error) -> Self {
        Self::Failed(Box::new(Failure::io(what, source)))
    }

    /// Adds the remedy.
    pub(crate) fn hint(self, hint: impl Into<String>) -> Self {
        match self {
            Self::Failed(failure) => Self::Failed(Box::new(failure.hint(hint))),
            other => other,
        }
    }

    /// Adds what else there is to know to the remedy that is there already.
    pub(crate) fn hint_more(self, more: impl Into<String>) -> Self {
        match self {
            Self::Failed(failure) => Self::Failed(Box::new(failure.hint_more(more))),
            other => other,
        }
    }

    /// Returns the failure, if that is what this is.
    pub(crate) fn failure(&self) -> Option<&Failure> {
        match self {
            Self::Failed(failure) => Some(failure),
            Self::Interrupted(_) | Self::ClosedPipe => None,
        }
    }

    /// Tells standard error what happened and returns the exit status.
    pub(crate) fn report(&self, ui: &Ui) -> ExitCode {
        match self {
            Self::Failed(failure) => {
                ui.error(&failure.message);
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

impl From<Failure> for CommandError {
    fn from(failure: Failure) -> Self {
        match interrupt::caught() {
            // With a hint there is more to say: not all may be as it was.
            Some(signal) if failure.kind == Kind::Cancelled && failure.hint.is_none() => {
                Self::Interrupted(signal)
            }
            _ => Self::Failed(Box::new(failure)),
        }
    }
}

impl From<StoreError> for CommandError {
    fn from(error: StoreError) -> Self {
        Failure::from(error).into()
    }
}
