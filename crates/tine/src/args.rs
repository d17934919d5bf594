//! Readers of arguments: names, sizes, and what else is more than a word.
//!
//! A reader that refuses says why and what would do, as [`Refused`]; [`crate::usage`] prints that like every error.

use std::error::Error;
use std::fmt::{self, Display};
use std::ops::RangeInclusive;
use std::str::FromStr;

use tine_server::ExportName;
use tine_store::{BranchName, SnapshotName, StoreError, Target};

use crate::size;

/// Why an argument will not do, and what would.
#[derive(Debug)]
pub(crate) struct Refused {
    message: String,
    pub(crate) hint: Option<String>,
}

impl Refused {
    pub(crate) fn new(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            hint: Some(hint.into()),
        }
    }
}

impl Display for Refused {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.message)
    }
}

impl Error for Refused {}

impl From<StoreError> for Refused {
    fn from(error: StoreError) -> Self {
        Self {
            message: error.to_string(),
            hint: error.hint(),
        }
    }
}

/// Reads the name of a branch.
pub(crate) fn branch(text: &str) -> Result<BranchName, Refused> {
    match text.parse() {
        Ok(Target::Snapshot(branch, _)) => Err(Refused::new(
            format!("`{text}` is a snapshot; a branch is needed here"),
            format!("its branch is `{branch}`; `tine fork {text} NAME` makes a branch of the snapshot"),
        )),
        _ => named(text),
    }
}

/// Reads `NAME` or `NAME@SNAP`.
pub(crate) fn target(text: &str) -> Result<Target, Refused> {
    named(text)
}

/// Reads what clients attach: `NAME`, `NAME@SNAP`, `SOURCE+fork` or `SOURCE+fork=JOB`.
pub(crate) fn export(text: &str) -> Result<ExportName, Refused> {
    named(text)
}

/// Reads `NAME@SNAP`.
pub(crate) fn snapshot(text: &str) -> Result<(BranchName, SnapshotName), Refused> {
    match named::<Target>(text)? {
        Target::Snapshot(branch, snapshot) => Ok((branch, snapshot)),
        Target::Branch(branch) => Err(Refused::new(
            format!("`{branch}` does not say what to call the snapshot"),
            format!("put its name behind an `@`: `{branch}@SNAP`"),
        )),
    }
}

fn named<T: FromStr<Err = StoreError>>(text: &str) -> Result<T, Refused> {
    text.parse().map_err(|error| {
        let refused = Refused::from(error);
        if text.is_empty() {
            return Refused {
                message: "a name cannot be empty".to_owned(),
                ..refused
            };
        }
        match text.split_once('@') {
            Some(("", _)) => Refused::new(
                format!("`{text}` has no branch before the `@`"),
                "a snapshot is written NAME@SNAP",
            ),
            Some((_, "")) => Refused::new(
                format!("`{text}` has no snapshot behind the `@`"),
                "a snapshot is written NAME@SNAP",
            ),
            _ => refused,
        }
    })
}

/// Reads a number of bytes.
pub(crate) fn bytes(text: &str) -> Result<u64, Refused> {
    size::parse(text).map_err(|why| {
        Refused::new(
            format!("`{text}` is no number of bytes: {why}"),
            "write `4096`, `4k`, `1.5G` or `10GiB` (k, M, G … and KiB, MiB … are powers of 1024; kB, MB … of 1000)",
        )
    })
}

/// Returns a reader of whole numbers within a range.
pub(crate) fn number_in(range: RangeInclusive<u32>) -> impl Fn(&str) -> Result<u32, Refused> + Clone {
    move |text: &str| {
        let (least, most) = (range.start(), range.end());
        text.parse()
            .ok()
            .filter(|number| range.contains(number))
            .ok_or_else(|| Refused {
                message: format!("`{text}` is no whole number from {least} to {most}"),
                hint: None,
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_refused_is_told_what_would_do() {
        for (refused, words) in [
            (branch("web1@clean").unwrap_err(), "is a snapshot"),
            (target("web1@").unwrap_err(), "behind the `@`"),
            (target("@clean").unwrap_err(), "before the `@`"),
            (target("a/b").unwrap_err(), "character"),
            (snapshot("web1").unwrap_err(), "call the snapshot"),
            (bytes("4 parsecs").unwrap_err(), "unit"),
        ] {
            assert!(refused.to_string().contains(words), "{refused}");
            assert!(refused.hint.is_some(), "{refused}");
        }
        let reader = number_in(1..=9);
        assert_eq!(reader("9").ok(), Some(9));
        for text in ["0", "10", "-1", "x", "99999999999"] {
            assert!(reader(text).unwrap_err().to_string().contains("1 to 9"), "{text}");
        }
    }
}
