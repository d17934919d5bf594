//! The engine's errors, as the protocol tells them: a number for programs, the engine's words for people.

use tine_nbd::{Errno, Fault, Refusal, RefusalKind};
use tine_store::StoreError;

use crate::api::{Failure, Kind};

/// What a request was about: an access past the end has one number for what writes and another for all else.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Request {
    Writes,
    Other,
}

/// Returns how the protocol tells an error (proto.md, "Error values").
pub(super) fn fault(error: StoreError, request: Request) -> Fault {
    let errno = match &error {
        StoreError::OutOfBounds { .. } if request == Request::Writes => Errno::NoSpace,
        StoreError::OutOfBounds { .. }
        | StoreError::UnknownSnapshot { .. }
        | StoreError::InvalidName { .. } => Errno::Invalid,
        StoreError::NoSpace { .. } => Errno::NoSpace,
        StoreError::ReadOnly | StoreError::Unwritable { .. } => Errno::NotPermitted,
        StoreError::UnknownBranch { .. } | StoreError::Dropped { .. } | StoreError::Closed => {
            Errno::ShuttingDown
        }
        _ => Errno::Io,
    };
    Fault::new(errno, in_words(error.into()))
}

/// Returns how the protocol tells why an export cannot be had (proto.md, "Option reply types").
pub(super) fn refusal(failure: Failure) -> Refusal {
    let kind = match failure.kind {
        Kind::NotFound => RefusalKind::Unknown,
        Kind::Invalid => RefusalKind::Invalid,
        Kind::Stopping => RefusalKind::ShuttingDown,
        _ => RefusalKind::Policy,
    };
    Refusal::new(kind, in_words(failure))
}

fn in_words(failure: Failure) -> String {
    match failure.hint {
        Some(hint) => format!("{}; {hint}", failure.message),
        None => failure.message,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_medium_and_a_write_past_the_end_are_the_same_to_a_client() {
        let full = || StoreError::NoSpace {
            what: "a segment".into(),
        };
        let past = || StoreError::OutOfBounds {
            offset: 8,
            length: 1,
            size: 8,
        };
        assert_eq!(fault(full(), Request::Writes).errno, Errno::NoSpace);
        assert_eq!(fault(past(), Request::Writes).errno, Errno::NoSpace);
        assert_eq!(fault(past(), Request::Other).errno, Errno::Invalid);
        assert!(fault(full(), Request::Writes).message.contains("free some space"));
    }
}
