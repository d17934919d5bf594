//! Readers: who reads for long lets the store go and reads on, while other processes write.
//!
//! Before it lets go a reader leaves a lease: the segments that the books of its disks' stretches name. What no segment
//! held by then it has in its own memory, as every store that is open, so nothing is drained for it; and loading the
//! disks, which takes long for large ones, comes afterwards. Other processes leave
//! leased segments where they are; nothing refers to these any more when their time comes, and the first reclaim
//! after the reader's end, in whatever process, takes them.
//!
//! Invariant: the store is let go only when no other handle on it is left in this process, so that nobody reads what no lease
//! names, or writes.

use std::collections::{BTreeSet, HashSet};
use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;

use crate::buffer::StretchId;
use crate::error::{Result, StoreError};
use crate::medium::Medium;
use crate::names::Target;
use crate::planted::{Bug, planted};
use crate::segment::SegmentId;
use crate::store::{Diff, Engine, ExportReport, ExportTarget, Progress, State, Store};

/// Disks as they were when the store was let go. Other processes may have it meanwhile; what they do, dropping the disks
/// included, changes nothing here.
pub struct Reader {
    states: Vec<State>,
    store: Store,
    lets_others_in: bool,
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Reader")
            .field("states", &self.states)
            .field("lets_others_in", &self.lets_others_in)
            .finish_non_exhaustive()
    }
}

impl Store {
    /// Ends the writing as [`Store::close`] does, and goes on reading disks as they are now. Other processes can have the
    /// store at once; they give back the space of these disks only after the reader has ended, however it ends.
    ///
    /// The store stays with this process where letting it go would not be safe or makes no sense: there are other
    /// handles on it, it is damaged, or nothing can be written where it lies.
    ///
    /// # Errors
    /// Those of [`Store::state`] and [`Store::close`].
    pub fn into_reader(self, targets: &[Target]) -> Result<Reader> {
        let alone = self.is_alone();
        let engine = &self.running.engine;
        let stretches = targets.iter().map(|target| engine.stretch_of(target));
        let stretches = stretches.collect::<Result<Vec<_>>>()?;
        self.finish()?;
        // Nobody has written since, as this handle is the only one: the books say where what is loaded now is.
        let lets_others_in = alone && engine.let_go(&engine.reached(&stretches));
        let states = targets.iter().map(|target| self.state(target));
        let states = states.collect::<Result<Vec<_>>>()?;
        Ok(Reader {
            states,
            store: self,
            lets_others_in,
        })
    }

    /// Fails unless there is a disk of that name. O(1).
    ///
    /// # Errors
    /// [`StoreError::UnknownBranch`], [`StoreError::UnknownSnapshot`].
    pub fn find(&self, target: &Target) -> Result<()> {
        self.running.engine.stretch_of(target).map(drop)
    }

    /// Tells whether this is the only handle on the store, with no view and no work of its own beside it; then no other
    /// can appear.
    pub(crate) fn is_alone(&self) -> bool {
        self.running.engine.stop_thread();
        Arc::strong_count(&self.running) == 1
    }

    /// Returns the bytes that nothing in the store needs any more but processes that still read them.
    ///
    /// # Errors
    /// Those of asking the medium who reads.
    pub fn leased_bytes(&self) -> Result<u64> {
        let engine = &self.running.engine;
        let unused = engine.segments.unused();
        if unused.is_empty() {
            return Ok(0);
        }
        let leased = leased(&*engine.medium).map_err(|e| StoreError::io("the store", "tell who reads", e))?;
        let leased = unused.into_iter().filter(|(segment, _)| leased.contains(segment));
        Ok(leased.map(|(_, bytes)| bytes).sum())
    }
}

impl Reader {
    /// Returns the disks, in the order in which they were asked for.
    pub fn states(&self) -> &[State] {
        &self.states
    }

    /// Writes a disk out; see [`Store::export`].
    ///
    /// # Errors
    /// As [`Store::export`].
    pub fn export(
        &self,
        state: &State,
        to: ExportTarget<'_>,
        progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<ExportReport> {
        self.store.export(state, to, progress)
    }

    /// Compares two disks; see [`Store::diff`].
    ///
    /// # Errors
    /// As [`Store::diff`].
    pub fn diff<'a>(&self, a: &'a State, b: &'a State) -> Result<Diff<'a>> {
        self.store.diff(a, b)
    }

    /// Tells whether other processes can have the store meanwhile.
    pub fn lets_others_in(&self) -> bool {
        self.lets_others_in
    }
}

impl Engine {
    /// Lets other processes have the store, except for segments that this one goes on reading. Returns whether that was
    /// possible; otherwise all stays as it was. Nobody writes any more.
    pub(crate) fn let_go(&self, kept: &[SegmentId]) -> bool {
        // A damaged store is left alone; ground that cannot be written counts as damage here.
        if self.damage.is_some() {
            return false;
        }
        // Where nothing is ever removed there is nothing to protect.
        let kept = if self.medium.can_overwrite() { kept } else { &[] };
        self.medium.become_reader(kept).is_ok()
    }

    /// Returns the stretch at whose end a disk is.
    fn stretch_of(&self, target: &Target) -> Result<StretchId> {
        let catalog = self.catalog.lock();
        match target {
            Target::Branch(name) => Ok(catalog.entry(name)?.cell.head.read().stretch.id),
            Target::Snapshot(branch, snapshot) => catalog.snapshot(branch, snapshot),
        }
    }

    /// Returns the segments that hold what disks show, and more of the same stretches at most. O(stretches and segments),
    /// not blocks.
    fn reached(&self, ends: &[StretchId]) -> Vec<SegmentId> {
        let catalog = self.catalog.lock();
        let (mut seen, mut reached) = (HashSet::new(), BTreeSet::new());
        for end in ends {
            let mut next = Some(*end);
            while let Some(stretch) = next
                .filter(|id| seen.insert(*id))
                .and_then(|id| catalog.stretches.get(&id))
            {
                reached.extend(stretch.state.lock().segments());
                next = stretch.parent;
            }
        }
        reached.into_iter().collect()
    }
}

/// Returns the segments that other processes still read.
pub(crate) fn leased(medium: &dyn Medium) -> io::Result<HashSet<SegmentId>> {
    if planted(Bug::LeaseIgnored) {
        return Ok(HashSet::new());
    }
    Ok(medium.leased()?.into_iter().collect())
}
