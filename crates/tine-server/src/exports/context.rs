//! Metadata contexts: what is stored where, and what changed since a snapshot.
//!
//! `tine:changed:SNAPSHOT` is about a snapshot of the disk itself, `tine:changed:BRANCH@SNAPSHOT` about one of what it was
//! forked from. A flag of 1 means changed, as in QEMU's dirty bitmaps, so its tools show and use both alike.

use std::ops::{ControlFlow, Range};

use tine_nbd::{BASE_ALLOCATION, Errno, Extent, Fault, STATE_HOLE, STATE_ZERO};
use tine_store::{BranchName, ExtentKind, State, Store, StoreError, Target};

use super::fault::{Request, fault};

/// What the names of contexts that tell changes begin with.
pub(super) const CHANGED: &str = "tine:changed:";

/// Set where something changed.
pub(super) const STATE_CHANGED: u64 = 1;

/// Told one extent after the other, until it has heard enough.
pub(super) type Visit<'a> = &'a mut dyn FnMut(Extent) -> ControlFlow<()>;

/// Returns the contexts that a disk has: those of its own snapshots, and of all the snapshots of what it was forked from.
pub(super) fn names(store: &Store, branch: Option<&BranchName>, origin: Option<&BranchName>) -> Vec<String> {
    let mut names = vec![BASE_ALLOCATION.to_owned()];
    let snapshots = |branch: Option<&BranchName>| {
        let info = branch.and_then(|branch| store.branch_info(branch).ok());
        info.map(|info| info.snapshots).unwrap_or_default()
    };
    for snapshot in snapshots(branch) {
        names.push(format!("{CHANGED}{}", snapshot.name));
    }
    for (origin, snapshot) in origin.iter().flat_map(|origin| {
        snapshots(Some(origin))
            .into_iter()
            .map(move |snapshot| (origin, snapshot))
    }) {
        names.push(format!("{CHANGED}{origin}@{}", snapshot.name));
    }
    names
}

/// Turns what the engine knows of an extent into flags.
pub(super) fn allocation(extent: tine_store::Extent) -> Extent {
    Extent {
        length: extent.length,
        flags: match extent.kind {
            ExtentKind::Data => 0,
            ExtentKind::Zero => STATE_ZERO,
            ExtentKind::Hole => STATE_HOLE | STATE_ZERO,
        },
    }
}

/// Tells where a disk differs from a snapshot. The cost follows the difference within the range.
pub(super) fn changed(
    store: &Store,
    (own, now): (Option<BranchName>, &State),
    snapshot: &str,
    range: Range<u64>,
    visit: Visit<'_>,
) -> Result<(), Fault> {
    let fault = |error| fault(error, Request::Other);
    let target = match (snapshot.contains('@'), own) {
        (true, _) => snapshot.parse().map_err(fault)?,
        (false, Some(own)) => Target::Snapshot(own, snapshot.parse().map_err(fault)?),
        (false, None) => return Err(unknown(&format!("{CHANGED}{snapshot}"))),
    };
    let then = store.state(&target).map_err(|error| match error {
        // The context has gone, not the disk.
        StoreError::UnknownBranch { .. } | StoreError::UnknownSnapshot { .. } => {
            Fault::new(Errno::Invalid, format!("`{target}` is not there any more"))
        }
        error => fault(error),
    })?;
    let mut at = range.start;
    let mut tell = |at: &mut u64, end: u64, flags: u64| {
        if end <= *at {
            return ControlFlow::Continue(());
        }
        let length = end - *at;
        *at = end;
        visit(Extent { length, flags })
    };
    for differs in store.diff_in(&then, now, range.clone()).map_err(fault)? {
        let differs = differs.map_err(fault)?;
        let (start, end) = (differs.offset, differs.offset + differs.length);
        if tell(&mut at, start.min(range.end), 0).is_break()
            || tell(&mut at, end.min(range.end), STATE_CHANGED).is_break()
        {
            return Ok(());
        }
    }
    // The last one, whatever becomes of it.
    let _ = tell(&mut at, range.end, 0);
    Ok(())
}

/// Returns the answer about a context that there is not.
pub(super) fn unknown(context: &str) -> Fault {
    Fault::new(Errno::Invalid, format!("there is no context `{context}` here"))
}
