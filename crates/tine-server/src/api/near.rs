//! What to do about an unknown name: the names that are near to it.

use tine_store::{BranchName, SnapshotName, Store, Target};

use super::{Failure, Kind};
use crate::words::near;

/// Adds to a failure about an unknown name the names that are near to it.
pub(super) fn with_near_names(store: &Store, failure: Failure) -> Failure {
    let hint = match (&failure.kind, &failure.name) {
        (Kind::NotFound, Some(Target::Branch(name))) => of_branch(store, name),
        (Kind::NotFound, Some(Target::Snapshot(branch, snapshot))) => of_snapshot(store, branch, snapshot),
        _ => None,
    };
    match hint {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

fn of_branch(store: &Store, name: &BranchName) -> Option<String> {
    let branches = store.branches().ok()?;
    let near = near(name.as_ref(), branches.iter().map(|branch| branch.name.as_ref()));
    Some(match (branches.is_empty(), did_you_mean(&near)) {
        (true, _) => "the store is empty; `tine import FILE NAME` brings a disk in".to_owned(),
        (false, Some(question)) => format!("{question} `tine ls` shows all branches"),
        (false, None) => "`tine ls` shows all branches".to_owned(),
    })
}

fn of_snapshot(store: &Store, branch: &BranchName, snapshot: &SnapshotName) -> Option<String> {
    let info = store.branch_info(branch).ok()?;
    let near = near(
        snapshot.as_ref(),
        info.snapshots.iter().map(|snapshot| snapshot.name.as_ref()),
    );
    let near: Vec<String> = near
        .iter()
        .filter_map(|snapshot| Some(Target::Snapshot(branch.clone(), snapshot.parse().ok()?).to_string()))
        .collect();
    Some(match (info.snapshots.is_empty(), did_you_mean(&near)) {
        (true, _) => format!("`{branch}` has no snapshots; `tine snapshot {branch}@NAME` makes one"),
        (false, Some(question)) => format!("{question} `tine show {branch}` shows its snapshots"),
        (false, None) => format!("`tine show {branch}` shows its snapshots"),
    })
}

fn did_you_mean<T: std::fmt::Display>(names: &[T]) -> Option<String> {
    let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    (!names.is_empty()).then(|| format!("did you mean {}?", names.join(" or ")))
}
