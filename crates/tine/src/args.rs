//! Readers of arguments: names, and what else is more than a word.
//!
//! A reader's error becomes clap's, so it carries the remedy in its own text.

use std::str::FromStr;

use tine_store::{BranchName, SnapshotName, StoreError, Target};

/// Reads the name of a branch.
pub(crate) fn branch(text: &str) -> Result<BranchName, String> {
    if text.contains('@') && text.parse::<Target>().is_ok() {
        return Err(format!("`{text}` is a snapshot; a branch is needed here"));
    }
    with_hint(text)
}

/// Reads `NAME` or `NAME@SNAP`.
pub(crate) fn target(text: &str) -> Result<Target, String> {
    with_hint(text)
}

/// Reads `NAME@SNAP`.
pub(crate) fn snapshot(text: &str) -> Result<(BranchName, SnapshotName), String> {
    match with_hint::<Target>(text)? {
        Target::Snapshot(branch, snapshot) => Ok((branch, snapshot)),
        Target::Branch(branch) => Err(format!("a snapshot has a name of its own: `{branch}@SNAP`")),
    }
}

fn with_hint<T: FromStr<Err = StoreError>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|error: StoreError| match error.hint() {
        Some(hint) => format!("{error} ({hint})"),
        None => error.to_string(),
    })
}
