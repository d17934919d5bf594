//! Does operations on the real engine, and tells how one did not succeed: refused, failed or answered wrongly.

use std::collections::BTreeMap;
use std::io::Cursor;
use std::ops::ControlFlow;
use std::sync::Arc;

use parking_lot::Mutex;
use tine_store::{
    BranchName, DefragOptions, ImportSource, SnapshotName, State, Store, StoreError, UpkeepStep,
};

use super::content::{Content, pattern};
use super::ops::Op;
use super::world::{Refusal, Target};

pub(crate) fn branch_name(name: &str) -> BranchName {
    name.parse().expect("a valid name")
}

pub(crate) fn snapshot_name(name: &str) -> SnapshotName {
    name.parse().expect("a valid name")
}

/// What the engine calls branches: those that are kept as the model does, throwaway forks by names of its own.
#[derive(Clone, Default)]
pub(crate) struct Names(Arc<Mutex<BTreeMap<String, BranchName>>>);

impl Names {
    pub(super) fn branch(&self, name: &str) -> BranchName {
        let known = self.0.lock().get(name).cloned();
        known.unwrap_or_else(|| branch_name(name))
    }

    pub(super) fn target(&self, target: &Target) -> tine_store::Target {
        match &target.1 {
            None => tine_store::Target::Branch(self.branch(&target.0)),
            Some(snapshot) => tine_store::Target::Snapshot(self.branch(&target.0), snapshot_name(snapshot)),
        }
    }

    /// Returns the throwaway forks that were made and not dropped, as far as is known, with their names in the engine.
    pub(super) fn throwaways(&self) -> Vec<(String, BranchName)> {
        let known = self.0.lock();
        known
            .iter()
            .map(|(name, real)| (name.clone(), real.clone()))
            .collect()
    }

    /// The process has ended.
    pub(super) fn forget(&self) {
        self.0.lock().clear();
    }
}

pub(crate) fn go_on(_: tine_store::Progress) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

pub(crate) fn describe(error: &StoreError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text += &format!(": {error}");
        cause = error.source();
    }
    text
}

/// How an operation on the real store did not succeed.
#[derive(Debug)]
pub(super) enum Failure {
    /// The request was wrong.
    Refused(StoreError),
    /// The store or the medium failed.
    Failed(StoreError),
    /// The answer is wrong.
    Wrong(String),
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        if is_any_refusal(&error) {
            Self::Refused(error)
        } else {
            Self::Failed(error)
        }
    }
}

/// Returns what a model's refusal looks like in the engine.
pub(super) fn is_refusal(error: &StoreError, refusal: Refusal) -> bool {
    match refusal {
        Refusal::UnknownBranch => matches!(error, StoreError::UnknownBranch { .. }),
        Refusal::UnknownSnapshot => matches!(error, StoreError::UnknownSnapshot { .. }),
        Refusal::BranchExists => matches!(error, StoreError::BranchExists { .. }),
        Refusal::SnapshotExists => matches!(error, StoreError::SnapshotExists { .. }),
        Refusal::NoOrigin => matches!(error, StoreError::NoOrigin { .. }),
        Refusal::OutOfBounds => matches!(error, StoreError::OutOfBounds { .. }),
        Refusal::NotThrowaway => matches!(error, StoreError::NotThrowaway { .. }),
    }
}

/// Returns whether an error is a fit answer: where several things are named, any wrong one may be told first.
pub(super) fn may_refuse(op: &Op, error: &StoreError, refusal: Refusal) -> bool {
    let several = matches!(
        op,
        Op::Fork { .. }
            | Op::ForkMany { .. }
            | Op::Throwaway { .. }
            | Op::Keep { .. }
            | Op::Snapshot { .. }
            | Op::Rollback { .. }
            | Op::Rename { .. }
    );
    if several {
        is_any_refusal(error)
    } else {
        is_refusal(error, refusal)
    }
}

fn is_any_refusal(error: &StoreError) -> bool {
    use Refusal::{
        BranchExists, NoOrigin, NotThrowaway, OutOfBounds, SnapshotExists, UnknownBranch, UnknownSnapshot,
    };
    [
        UnknownBranch,
        UnknownSnapshot,
        BranchExists,
        SnapshotExists,
        NoOrigin,
        OutOfBounds,
        NotThrowaway,
    ]
    .into_iter()
    .any(|refusal| is_refusal(error, refusal))
}

pub(crate) fn read_state(state: &State) -> Result<Content, StoreError> {
    let mut bytes = vec![0; state.size() as usize];
    state.read_at(&mut bytes, 0)?;
    Ok(Content::from_bytes(&bytes))
}

/// Does an operation that needs nothing but the store.
pub(super) fn perform(store: &Store, names: &Names, op: &Op) -> Result<(), Failure> {
    let branch = |name: &str| store.branch(&names.branch(name));
    match op {
        Op::Create { name, size } => {
            store.create_branch(&names.branch(name), *size)?;
        }
        Op::Import { name, size, id } => {
            let bytes = pattern(*id, 0, *size as usize);
            let report = store.import(
                &names.branch(name),
                ImportSource::Stream(&mut Cursor::new(bytes)),
                &mut go_on,
            )?;
            if report.size != *size {
                return Err(Failure::Wrong(format!(
                    "imported {} of {size} bytes",
                    report.size
                )));
            }
        }
        Op::Write {
            name,
            offset,
            length,
            id,
        } => {
            let (branch, bytes) = (branch(name)?, pattern(*id, *offset, *length as usize));
            // Each second one as a server does it.
            if id % 2 == 1 || !branch.write_at_once(&bytes, *offset)? {
                branch.write_at(&bytes, *offset)?;
            }
        }
        Op::Batch { name, writes } => {
            let data: Vec<(u64, Vec<u8>)> = writes
                .iter()
                .map(|&(offset, length, id)| (offset, pattern(id, offset, length as usize)))
                .collect();
            let writes: Vec<(u64, &[u8])> = data.iter().map(|(offset, data)| (*offset, &data[..])).collect();
            branch(name)?.write_batch(&writes)?;
        }
        Op::Zero { name, offset, length } => branch(name)?.write_zeroes(*offset, *length)?,
        Op::Discard { name, offset, length } => branch(name)?.discard(*offset, *length)?,
        Op::Flush { name } => branch(name)?.flush()?,
        Op::Fork { source, name } => store.fork(&names.target(source), &names.branch(name))?,
        Op::ForkMany { forks } => {
            let forks: Vec<_> = forks
                .iter()
                .map(|(source, name)| (names.target(source), names.branch(name)))
                .collect();
            store.fork_many(&forks)?;
        }
        Op::Snapshot { snapshots } => {
            let snapshots: Vec<_> = snapshots
                .iter()
                .map(|(name, snapshot)| (names.branch(name), snapshot_name(snapshot)))
                .collect();
            store.snapshot(&snapshots)?;
        }
        Op::Rollback { name, to, keep } => {
            let to = to.as_deref().map(snapshot_name);
            let keep = keep.as_deref().map(|name| names.branch(name));
            store.rollback(&names.branch(name), to.as_ref(), keep.as_ref())?;
        }
        Op::Drop { names: dropped } => {
            let real: Vec<_> = dropped.iter().map(|name| names.branch(name)).collect();
            store.drop_branches(&real)?;
            names.0.lock().retain(|name, _| !dropped.contains(name));
        }
        Op::Throwaway { source, name } => {
            // The engine finds a name itself; that one is taken among those of the history is for us to refuse, or a
            // history that is made shorter fails for no reason. A drop that failed has happened all the same.
            let real = names.0.lock().get(name).cloned();
            if real.is_some_and(|real| store.branch_info(&real).is_ok()) {
                let name = branch_name(name);
                return Err(Failure::Refused(StoreError::BranchExists { name }));
            }
            let made = store.fork_throwaway(&names.target(source))?;
            names.0.lock().insert(name.clone(), made.name());
        }
        Op::Keep { from, name } => {
            store.keep(&names.branch(from), &branch_name(name))?;
            names.0.lock().remove(from);
        }
        Op::DropSnapshot { name, snapshot } => {
            store.drop_snapshot(&names.branch(name), &snapshot_name(snapshot))?;
        }
        Op::Rename { from, to } => store.rename(&names.branch(from), &branch_name(to))?,
        Op::Protect { name, protected } => store.protect(&names.branch(name), *protected)?,
        Op::Resize { name, size } => store.resize(&names.branch(name), *size)?,
        Op::Defrag { name, shared } => {
            let options = DefragOptions { shared: *shared };
            store.defrag(&names.branch(name), &options, &mut go_on)?;
        }
        Op::Drain => store.upkeep(UpkeepStep::Drain)?,
        Op::Checkpoint => store.upkeep(UpkeepStep::Checkpoint)?,
        Op::Reclaim => store.upkeep(UpkeepStep::Reclaim)?,
        Op::Diff { .. }
        | Op::Hold { .. }
        | Op::During { .. }
        | Op::Reopen
        | Op::Leave { .. }
        | Op::Crash { .. } => {
            unreachable!("not done by the store alone")
        }
    }
    Ok(())
}
