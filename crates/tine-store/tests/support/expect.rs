//! What an operation makes of the worlds that the model keeps: all of it, a part of it, and whether its success says
//! that it is durable.

use super::content::{Content, pattern};
use super::ops::{Op, names_throwaway};
use super::world::{Refusal, World};

/// Returns whether an operation's success says that it, and everything before it, is durable.
pub(super) fn is_durable(op: &Op) -> bool {
    let lasts = |name: &String| !names_throwaway(name);
    match op {
        Op::Drop { names } => return names.iter().any(lasts),
        Op::Rollback { name, keep, .. } => return lasts(name) || keep.is_some(),
        Op::Resize { name, .. } => return lasts(name),
        _ => {}
    }
    !matches!(
        op,
        Op::Throwaway { .. }
            | Op::Write { .. }
            | Op::Batch { .. }
            | Op::Zero { .. }
            | Op::Discard { .. }
            | Op::Flush { .. }
            | Op::Diff { .. }
            | Op::Hold { .. }
            | Op::Defrag { .. }
            | Op::Drain
            | Op::Checkpoint
            | Op::Reclaim
            | Op::During { .. }
    )
}

/// Returns the worlds that a failed operation may leave: those after all of it, or after some of its pieces.
pub(super) fn parts_done(after: World, op: &Op) -> Vec<World> {
    let (Op::Write { name, .. } | Op::Zero { name, .. } | Op::Discard { name, .. }) = op else {
        return vec![after];
    };
    let mut parts = Vec::new();
    for undone in 0..3 {
        let mut part = after.clone();
        if let Some(branch) = part.branches.get_mut(name) {
            let states = branch.states.len().saturating_sub(undone).max(branch.floor + 1);
            branch.states.truncate(states);
        }
        parts.push(part);
    }
    parts
}

/// Returns the world after an operation.
pub(crate) fn tell(world: &World, op: &Op) -> Result<World, Refusal> {
    let mut world = world.clone();
    match op {
        Op::Create { name, size } => world.create(name, Content::new(*size))?,
        Op::Import { name, size, id } => {
            world.create(name, Content::from_bytes(&pattern(*id, 0, *size as usize)))?;
        }
        Op::Write {
            name,
            offset,
            length,
            id,
        } => world.write(name, *offset..*offset + *length, *id)?,
        Op::Batch { name, writes } => world.write_batch(name, writes)?,
        Op::Zero { name, offset, length } | Op::Discard { name, offset, length } => {
            world.clear(name, *offset..*offset + *length)?;
        }
        Op::Flush { name } => world.flush(name)?,
        Op::Fork { source, name } => world.fork_many(&[(source.clone(), name.clone())])?,
        Op::ForkMany { forks } => world.fork_many(forks)?,
        Op::Throwaway { source, name } => world.throwaway(source, name)?,
        Op::Keep { from, name } => world.keep(from, name)?,
        Op::Snapshot { snapshots } => world.snapshot(snapshots)?,
        Op::Rollback { name, to, keep } => world.rollback(name, to.as_deref(), keep.as_deref())?,
        Op::Drop { names } => world.drop_branches(names)?,
        Op::DropSnapshot { name, snapshot } => world.drop_snapshot(name, snapshot)?,
        Op::Rename { from, to } => world.rename(from, to)?,
        Op::Protect { name, protected } => world.protect(name, *protected)?,
        Op::Resize { name, size } => world.resize(name, *size)?,
        Op::Diff { a, b } => {
            world.content(a)?;
            world.content(b)?;
        }
        Op::Hold { target } => {
            world.content(target)?;
        }
        Op::Defrag { name, .. } => {
            world.branch(name)?;
        }
        Op::Drain
        | Op::Checkpoint
        | Op::Reclaim
        | Op::During { .. }
        | Op::Reopen
        | Op::Leave { .. }
        | Op::Crash { .. } => {}
    }
    Ok(world)
}
