//! What the store must show: each branch as a plain array, and what each command does to it.

use crate::random::Random;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

const BLOCK_BYTES: usize = 4096;
const BRANCHES_MAX: usize = 6;
const SNAPSHOTS_MAX: usize = 2;
/// The sizes of new disks, likely ones more than once. The last holds more than one journal frame may carry.
const SIZES: [usize; 6] = [64 << 10, 64 << 10, 256 << 10, 256 << 10, 1 << 20, 6 << 20];

/// A disk's content.
pub(crate) type Bytes = Arc<Vec<u8>>;

/// A branch: what it is, what it was, and what it was forked from.
#[derive(Clone, Debug)]
struct Branch {
    bytes: Bytes,
    snapshots: BTreeMap<String, Bytes>,
    origin: Option<Bytes>,
}

/// All branches.
#[derive(Clone, Debug, Default)]
pub(crate) struct State(BTreeMap<String, Branch>);

/// What a program can see of a state: each `NAME` and `NAME@SNAP` with its bytes.
pub(crate) type Visible = BTreeMap<String, Bytes>;

/// A command that changes the store, or only how it lies there.
#[derive(Clone, Debug)]
pub(crate) enum Operation {
    Create {
        name: String,
        size: usize,
    },
    Write {
        name: String,
        offset: usize,
        bytes: Vec<u8>,
    },
    Fork {
        source: String,
        name: String,
    },
    Snapshot {
        target: String,
    },
    Rollback {
        target: String,
    },
    Drop {
        target: String,
    },
    Rename {
        name: String,
        new_name: String,
    },
    Resize {
        name: String,
        size: usize,
    },
    /// Writes anew what lies in pieces, and merges the index over it: nothing that can be seen changes.
    Defrag {
        name: String,
        shared: bool,
    },
}

impl Operation {
    /// Returns an operation that `state` allows.
    pub(crate) fn random(state: &State, random: &mut Random) -> Self {
        let names: Vec<&String> = state.0.keys().collect();
        if names.is_empty() {
            return Self::create(state, random);
        }
        let name = (*random.pick(&names)).clone();
        let branch = &state.0[&name];
        let snapshots: Vec<&String> = branch.snapshots.keys().collect();
        let has_room = names.len() < BRANCHES_MAX;
        match random.below(100) {
            0..7 if has_room => Self::create(state, random),
            7..22 if has_room => {
                let source = match snapshots.as_slice() {
                    some @ [_, ..] if random.chance(40) => format!("{name}@{}", random.pick(some)),
                    _ => name,
                };
                Self::Fork {
                    source,
                    name: free_name(state, random),
                }
            }
            22..32 if snapshots.len() < SNAPSHOTS_MAX => {
                let taken = |snapshot: &String| branch.snapshots.contains_key(snapshot);
                let snapshot = (0..)
                    .map(|number| format!("s{number}"))
                    .find(|snapshot| !taken(snapshot));
                Self::Snapshot {
                    target: format!("{name}@{}", snapshot.expect("numbers do not end")),
                }
            }
            32..38 if !snapshots.is_empty() => Self::Rollback {
                target: format!("{name}@{}", random.pick(&snapshots)),
            },
            38..43 if branch.origin.is_some() => Self::Rollback { target: name },
            43..46 if !snapshots.is_empty() => Self::Drop {
                target: format!("{name}@{}", random.pick(&snapshots)),
            },
            46..52 if names.len() > 1 => Self::Drop { target: name },
            52..56 => Self::Rename {
                name,
                new_name: free_name(state, random),
            },
            56..62 => Self::Resize {
                name,
                size: (1 + random.below(80) as usize) * BLOCK_BYTES,
            },
            62..70 => Self::Defrag {
                name,
                shared: random.chance(50),
            },
            _ => Self::write(name, branch.bytes.len(), random),
        }
    }

    fn create(state: &State, random: &mut Random) -> Self {
        Self::Create {
            name: free_name(state, random),
            size: *random.pick(&SIZES),
        }
    }

    fn write(name: String, size: usize, random: &mut Random) -> Self {
        let wanted = match random.below(10) {
            // Parts of blocks.
            0..4 => 1 + random.below(3 * BLOCK_BYTES as u64) as usize,
            4..8 => (1 + random.below(8) as usize) * BLOCK_BYTES,
            // What does not fit a frame goes to a segment.
            _ => (1 + random.below(1300) as usize) * BLOCK_BYTES,
        };
        let length = wanted.min(size);
        let offset = random.below((size - length) as u64 + 1) as usize;
        let offset = if length.is_multiple_of(BLOCK_BYTES) {
            offset / BLOCK_BYTES * BLOCK_BYTES
        } else {
            offset
        };
        let bytes = if random.chance(10) {
            vec![0; length]
        } else {
            random.bytes(length)
        };
        Self::Write { name, offset, bytes }
    }

    /// Returns the arguments with which `tine` does this.
    pub(crate) fn arguments(&self) -> Vec<String> {
        match self {
            Self::Create { name, size } => words(&["create", name, &size.to_string()]),
            Self::Write { name, offset, .. } => words(&["write", name, "--offset", &offset.to_string()]),
            Self::Fork { source, name } => words(&["fork", source, name]),
            Self::Snapshot { target } => words(&["snapshot", target]),
            Self::Rollback { target } => words(&["rollback", target, "--yes"]),
            Self::Drop { target } => words(&["drop", target, "--yes"]),
            Self::Rename { name, new_name } => words(&["rename", name, new_name]),
            Self::Resize { name, size } => words(&["resize", name, &size.to_string(), "--yes"]),
            Self::Defrag { name, shared: false } => words(&["defrag", name]),
            Self::Defrag { name, shared: true } => words(&["defrag", name, "--shared", "--yes"]),
        }
    }

    /// Returns what `tine` reads for it.
    pub(crate) fn input(&self) -> &[u8] {
        match self {
            Self::Write { bytes, .. } => bytes,
            _ => &[],
        }
    }

    /// Returns the states between before and after that a cut may leave, the latest first. Only a write has some:
    /// its first blocks.
    pub(crate) fn partly(&self, before: &State) -> impl Iterator<Item = State> {
        let between = match self {
            Self::Write { name, offset, bytes } => {
                let first = offset.next_multiple_of(BLOCK_BYTES) - offset;
                let ends = (first..bytes.len())
                    .step_by(BLOCK_BYTES)
                    .rev()
                    .filter(|end| *end > 0);
                Some(ends.map(move |end| Self::Write {
                    name: name.clone(),
                    offset: *offset,
                    bytes: bytes[..end].to_vec(),
                }))
            }
            _ => None,
        };
        between.into_iter().flatten().map(|write| before.after(&write))
    }
}

impl State {
    /// Returns the state after `operation`, which this one allows.
    pub(crate) fn after(&self, operation: &Operation) -> Self {
        let mut state = self.clone();
        state.apply(operation).expect("the operation is allowed");
        state
    }

    fn apply(&mut self, operation: &Operation) -> Option<()> {
        let branches = &mut self.0;
        match operation {
            Operation::Create { name, size } => {
                branches.insert(name.clone(), Branch::new(Arc::new(vec![0; *size]), None));
            }
            Operation::Write { name, offset, bytes } => {
                let disk = Arc::make_mut(&mut branches.get_mut(name)?.bytes);
                disk[*offset..offset + bytes.len()].copy_from_slice(bytes);
            }
            Operation::Fork { source, name } => {
                let bytes = self.bytes(source)?;
                self.0
                    .insert(name.clone(), Branch::new(Arc::clone(&bytes), Some(bytes)));
            }
            Operation::Snapshot { target } => {
                let (name, snapshot) = target.split_once('@')?;
                let branch = branches.get_mut(name)?;
                branch
                    .snapshots
                    .insert(snapshot.to_owned(), Arc::clone(&branch.bytes));
            }
            Operation::Rollback { target } => {
                let bytes = match target.contains('@') {
                    true => self.bytes(target)?,
                    false => branches.get(target)?.origin.clone()?,
                };
                self.0.get_mut(target.split('@').next()?)?.bytes = bytes;
            }
            Operation::Drop { target } => match target.split_once('@') {
                Some((name, snapshot)) => drop(branches.get_mut(name)?.snapshots.remove(snapshot)?),
                None => drop(branches.remove(target)?),
            },
            Operation::Rename { name, new_name } => {
                let branch = branches.remove(name)?;
                branches.insert(new_name.clone(), branch);
            }
            Operation::Resize { name, size } => {
                Arc::make_mut(&mut branches.get_mut(name)?.bytes).resize(*size, 0);
            }
            Operation::Defrag { .. } => {}
        }
        Some(())
    }

    fn bytes(&self, target: &str) -> Option<Bytes> {
        match target.split_once('@') {
            Some((name, snapshot)) => self.0.get(name)?.snapshots.get(snapshot).cloned(),
            None => self.0.get(target).map(|branch| Arc::clone(&branch.bytes)),
        }
    }

    /// Returns what a program can see.
    pub(crate) fn visible(&self) -> Visible {
        let mut visible = Visible::new();
        for (name, branch) in &self.0 {
            visible.insert(name.clone(), Arc::clone(&branch.bytes));
            for (snapshot, bytes) in &branch.snapshots {
                visible.insert(format!("{name}@{snapshot}"), Arc::clone(bytes));
            }
        }
        visible
    }
}

impl Branch {
    fn new(bytes: Bytes, origin: Option<Bytes>) -> Self {
        Self {
            bytes,
            snapshots: BTreeMap::new(),
            origin,
        }
    }
}

/// Returns the blocks in which two disks differ; what only one of them has differs.
pub(crate) fn differing_blocks(a: &[u8], b: &[u8]) -> BTreeSet<usize> {
    let blocks = a.len().max(b.len()).div_ceil(BLOCK_BYTES);
    let block = |disk: &[u8], at: usize| {
        let disk = disk.get(at * BLOCK_BYTES..)?;
        (!disk.is_empty()).then(|| disk[..disk.len().min(BLOCK_BYTES)].to_vec())
    };
    (0..blocks).filter(|&at| block(a, at) != block(b, at)).collect()
}

/// Returns the blocks that a line of `tine diff` names, its offset and its length; `None` if they are no whole blocks.
pub(crate) fn named_blocks(line: &str) -> Option<Range<usize>> {
    let mut numbers = line.split_whitespace().map(str::parse);
    let (offset, length): (usize, usize) = (numbers.next()?.ok()?, numbers.next()?.ok()?);
    let is_whole = offset.is_multiple_of(BLOCK_BYTES) && length.is_multiple_of(BLOCK_BYTES) && length > 0;
    (is_whole && numbers.next().is_none()).then(|| offset / BLOCK_BYTES..(offset + length) / BLOCK_BYTES)
}

/// Says how two views differ, for people.
pub(crate) fn difference(expected: &Visible, found: &Visible) -> String {
    let mut lines = Vec::new();
    for (name, bytes) in expected {
        match found.get(name) {
            None => lines.push(format!("`{name}` is missing")),
            Some(other) if other.len() != bytes.len() => {
                lines.push(format!(
                    "`{name}` has {} bytes instead of {}",
                    other.len(),
                    bytes.len()
                ));
            }
            Some(other) => {
                let blocks = bytes.chunks(BLOCK_BYTES).zip(other.chunks(BLOCK_BYTES));
                let differ = (0..).zip(blocks).filter(|(_, (a, b))| a != b);
                let differing: Vec<usize> = differ.map(|(block, _)| block).collect();
                if let (Some(first), Some(last)) = (differing.first(), differing.last()) {
                    let count = differing.len();
                    lines.push(format!("`{name}` differs in {count} blocks, {first} to {last}"));
                }
            }
        }
    }
    let surplus = found.keys().filter(|name| !expected.contains_key(*name));
    lines.extend(surplus.map(|name| format!("`{name}` should not be there")));
    lines.join("; ")
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn free_name(state: &State, random: &mut Random) -> String {
    loop {
        let name = format!("b{}", random.below(20));
        if !state.0.contains_key(&name) {
            return name;
        }
    }
}
