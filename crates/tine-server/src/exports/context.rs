//! Metadata contexts: what is stored where, and what changed since a snapshot.
//!
//! `tine:changed:SNAPSHOT` is about a snapshot of the disk itself, `tine:changed:BRANCH@SNAPSHOT` about one of what it was
//! forked from. A flag of 1 means changed, as in QEMU's dirty bitmaps, so its tools show and use both alike.
//!
//! **Invariant:** what a context is about does not change while a connection has it, whatever is renamed, dropped or made
//! meanwhile: a map that was asked for in parts is of one snapshot, or fails.

use std::collections::BTreeMap;
use std::ops::{ControlFlow, Range};

use parking_lot::Mutex;
use tine_nbd::{BASE_ALLOCATION, Errno, Extent, Fault, STATE_HOLE, STATE_ZERO};
use tine_store::{BranchName, ExtentKind, State, Store, StoreError, Target};

use super::fault::{Request, fault};
use super::now_called;

/// What the names of contexts that tell changes begin with.
const CHANGED: &str = "tine:changed:";

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

/// The branch whose own snapshots contexts are about.
struct Own {
    id: u64,
    /// As it was called when it was last looked for.
    called: Mutex<BranchName>,
}

/// The contexts that one connection has.
pub(super) struct Contexts {
    store: Store,
    own: Option<Own>,
    /// The points that those are about which were selected, or asked for.
    pinned: Mutex<BTreeMap<String, u64>>,
}

impl Contexts {
    /// Those of a disk: of the branch with this name and number, if it has snapshots of its own.
    pub(super) fn new(store: &Store, own: Option<(BranchName, u64)>) -> Self {
        Self {
            store: store.clone(),
            own: own.map(|(name, id)| Own {
                id,
                called: Mutex::new(name),
            }),
            pinned: Mutex::default(),
        }
    }

    /// Settles what a context is about. If that fails, so does asking for it.
    pub(super) fn select(&self, context: &str) {
        if let Some(snapshot) = context.strip_prefix(CHANGED) {
            let _ = self.snapshot(snapshot);
        }
    }

    /// Tells where a disk differs from the snapshot that `context` is about.
    pub(super) fn changed(
        &self,
        context: &str,
        now: &State,
        range: Range<u64>,
        visit: Visit<'_>,
    ) -> Result<(), Fault> {
        let snapshot = context.strip_prefix(CHANGED).ok_or_else(|| unknown(context))?;
        changed(&self.store, (&self.snapshot(snapshot)?, now), range, visit)
    }

    /// Returns the snapshot that a context names; the same as the first time.
    fn snapshot(&self, snapshot: &str) -> Result<State, Fault> {
        let fault = |error| fault(error, Request::Other);
        let gone = |what: &str| Fault::new(Errno::Invalid, format!("`{what}` is not there any more"));
        let target = match (snapshot.contains('@'), &self.own) {
            (true, _) => snapshot.parse().map_err(fault)?,
            (false, Some(own)) => {
                let mut called = own.called.lock();
                let now = now_called(&self.store, &called, own.id).map_err(fault)?;
                *called = now.ok_or_else(|| gone(snapshot))?;
                Target::Snapshot(called.clone(), snapshot.parse().map_err(fault)?)
            }
            (false, None) => return Err(unknown(&format!("{CHANGED}{snapshot}"))),
        };
        let state = self.store.state(&target).map_err(|error| match error {
            // The context has gone, not the disk.
            StoreError::UnknownBranch { .. } | StoreError::UnknownSnapshot { .. } => {
                gone(&target.to_string())
            }
            error => fault(error),
        })?;
        let mut pinned = self.pinned.lock();
        if *pinned.entry(snapshot.to_owned()).or_insert(state.point()) == state.point() {
            return Ok(state);
        }
        Err(Fault::new(
            Errno::Invalid,
            format!("`{target}` is another snapshot by now; who connects again is told of that one"),
        ))
    }
}

/// Tells where a disk differs from what it was then. The cost follows the difference within the range.
fn changed(
    store: &Store,
    (then, now): (&State, &State),
    range: Range<u64>,
    visit: Visit<'_>,
) -> Result<(), Fault> {
    let fault = |error| fault(error, Request::Other);
    let mut at = range.start;
    let mut tell = |at: &mut u64, end: u64, flags: u64| {
        if end <= *at {
            return ControlFlow::Continue(());
        }
        let length = end - *at;
        *at = end;
        visit(Extent { length, flags })
    };
    for differs in store.diff_in(then, now, range.clone()).map_err(fault)? {
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
fn unknown(context: &str) -> Fault {
    Fault::new(Errno::Invalid, format!("there is no context `{context}` here"))
}
