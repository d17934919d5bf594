//! What short histories are made of: the letters of [`exhaustive`](super::exhaustive), few enough to go through all of them.

use super::content::BLOCK;
use super::ops::{Fate, Op};
use super::runner::Config;
use super::world::Target;

/// The smallest ring that there may be, so that even a short history comes round to files that were used.
pub(super) const CONFIG: Config = Config {
    journal_file_bytes: 32 << 10,
    ..Config::SMALL
};

/// A write of one block.
pub(crate) fn write(name: &str, block: u64, id: u32) -> Op {
    Op::Write {
        name: name.into(),
        offset: block * BLOCK as u64,
        length: BLOCK as u64,
        id,
    }
}

/// The letter of a checkpoint.
pub(super) const CHECKPOINT: usize = 12;

/// What histories are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Alphabet {
    /// What is done to branches.
    Branches,
    /// What is done to throwaway forks, and forks of these.
    Throwaways,
    /// What is done to branches whose whole blocks go past the buffer.
    Streams,
    /// What is done to a branch to which ranges are written as one.
    Batches,
}

impl Alphabet {
    pub(super) fn config(self) -> Config {
        match self {
            Self::Branches | Self::Throwaways | Self::Batches => CONFIG,
            Self::Streams => Config {
                large_write_bytes: 0,
                ..CONFIG
            },
        }
    }

    /// Returns how many blocks the disks have.
    pub(super) fn disk_blocks(self) -> u64 {
        match self {
            Self::Branches | Self::Throwaways | Self::Streams => 2,
            // What lies together is one run; a batch of two needs a block between them.
            Self::Batches => 3,
        }
    }

    /// Tells whether writes touch only their own branch; see [`exhaustive`](super::exhaustive).
    pub(super) fn writes_swap(self) -> bool {
        self != Self::Streams
    }

    /// Returns what may come next, always as many. Writes are numbered by branch.
    pub(super) fn letters(self, ops: &[Op]) -> Vec<Op> {
        match self {
            Self::Branches => branches(ops),
            Self::Throwaways => throwaways(ops),
            Self::Streams => streams(ops),
            Self::Batches => batches(ops),
        }
    }
}

/// The next write to a branch.
fn next_write(ops: &[Op], name: &str, blocks: u64, first: u32) -> Op {
    let is_one = |op: &&Op| matches!(op, Op::Write { name: other, .. } if other == name);
    Op::Write {
        name: name.into(),
        offset: 0,
        length: blocks * BLOCK as u64,
        id: first + ops.iter().filter(is_one).count() as u32,
    }
}

fn throwaways(ops: &[Op]) -> Vec<Op> {
    let throwaway = |source: &str, name: &str| Op::Throwaway {
        source: Target(source.into(), None),
        name: name.into(),
    };
    let keep = |from: &str, name: &str| Op::Keep {
        from: from.into(),
        name: name.into(),
    };
    vec![
        next_write(ops, "a", 2, 10),
        Op::Flush { name: "a".into() },
        throwaway("a", "t0"),
        next_write(ops, "t0", 1, 20),
        Op::Flush { name: "t0".into() },
        throwaway("t0", "t1"),
        next_write(ops, "t1", 2, 30),
        keep("t0", "c"),
        keep("t1", "d"),
        Op::Fork {
            source: Target("t1".into(), None),
            name: "e".into(),
        },
        Op::Snapshot {
            snapshots: vec![("t0".into(), "s".into())],
        },
        Op::Rollback {
            name: "t0".into(),
            to: None,
            keep: None,
        },
        Op::Drop {
            names: vec!["t0".into()],
        },
        Op::Checkpoint,
        Op::Reopen,
        Op::Crash { fate: Fate::Process },
        Op::Crash { fate: Fate::Power },
    ]
}

fn streams(ops: &[Op]) -> Vec<Op> {
    let flush = |name: &str| Op::Flush { name: name.into() };
    vec![
        next_write(ops, "a", 2, 10),
        next_write(ops, "b", 1, 20),
        // A part of a block goes through the buffer, into the same group.
        Op::Write {
            name: "a".into(),
            offset: 700,
            length: 300,
            id: 80,
        },
        flush("a"),
        flush("b"),
        Op::Fork {
            source: Target("a".into(), None),
            name: "c".into(),
        },
        Op::Rollback {
            name: "b".into(),
            to: None,
            keep: None,
        },
        Op::Drop {
            names: vec!["a".into()],
        },
        Op::Drain,
        Op::Checkpoint,
        Op::Reclaim,
        Op::Reopen,
        Op::Crash { fate: Fate::Process },
        Op::Crash { fate: Fate::Power },
    ]
}

fn batches(ops: &[Op]) -> Vec<Op> {
    let block = BLOCK as u64;
    let is_batch = |op: &&Op| matches!(op, Op::Batch { .. });
    let id = 40 + 2 * ops.iter().filter(is_batch).count() as u32;
    vec![
        Op::Batch {
            name: "a".into(),
            writes: vec![(700, 300, id), (2 * block, block, id + 1)],
        },
        next_write(ops, "a", 3, 10),
        Op::Flush { name: "a".into() },
        Op::Fork {
            source: Target("a".into(), None),
            name: "c".into(),
        },
        Op::Drain,
        Op::Checkpoint,
        Op::Reopen,
        Op::Crash { fate: Fate::Process },
        Op::Crash { fate: Fate::Power },
    ]
}

pub(super) fn branches(ops: &[Op]) -> Vec<Op> {
    let write = |name: &str, blocks: u64, first: u32| next_write(ops, name, blocks, first);
    let flush = |name: &str| Op::Flush { name: name.into() };
    let resize = |size: u64| Op::Resize {
        name: "a".into(),
        size,
    };
    vec![
        write("a", 2, 10),
        write("b", 1, 20),
        flush("a"),
        flush("b"),
        Op::Fork {
            source: Target("a".into(), None),
            name: "c".into(),
        },
        Op::Snapshot {
            snapshots: vec![("a".into(), "s".into())],
        },
        Op::Rollback {
            name: "a".into(),
            to: Some("s".into()),
            keep: None,
        },
        Op::Rollback {
            name: "b".into(),
            to: None,
            keep: None,
        },
        Op::Drop {
            names: vec!["b".into()],
        },
        resize(100),
        resize(2 * BLOCK as u64),
        Op::Drain,
        Op::Checkpoint,
        Op::Reclaim,
        Op::Reopen,
        Op::Crash { fate: Fate::Process },
        Op::Crash { fate: Fate::Power },
    ]
}
