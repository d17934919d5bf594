//! What the outside was told about a store: every branch with its write history, which part of that history must
//! survive, its snapshots and its origin.

use std::collections::BTreeMap;
use std::ops::Range;

use super::content::{BLOCK, Content, pattern};

/// One branch. Invariant: `states` is never empty and `floor` names one of them.
#[derive(Clone, Debug, PartialEq, Hash)]
pub(crate) struct Branch {
    /// The content after each write since it began or was recovered.
    pub(crate) states: Vec<Content>,
    /// The earliest state that a crash may leave.
    pub(crate) floor: usize,
    pub(crate) origin: Option<Content>,
    pub(crate) snapshots: BTreeMap<String, Content>,
    /// It does not outlive the process.
    pub(crate) is_throwaway: bool,
    pub(crate) is_protected: bool,
}

impl Branch {
    fn new(content: Content, origin: Option<Content>) -> Self {
        Self {
            is_throwaway: false,
            is_protected: false,
            states: vec![content],
            floor: 0,
            origin,
            snapshots: BTreeMap::new(),
        }
    }

    pub(crate) fn now(&self) -> &Content {
        self.states.last().expect("never empty")
    }

    pub(crate) fn change(&mut self, change: impl FnOnce(&mut Content)) {
        let mut next = self.now().clone();
        change(&mut next);
        self.states.push(next);
    }

    pub(crate) fn make_durable(&mut self) {
        self.floor = self.states.len() - 1;
    }
}

/// A branch, or a snapshot of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target(pub(crate) String, pub(crate) Option<String>);

/// A request that the engine has to refuse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    UnknownBranch,
    UnknownSnapshot,
    BranchExists,
    SnapshotExists,
    NoOrigin,
    OutOfBounds,
    NotThrowaway,
}

/// Everything that was told.
#[derive(Clone, Debug, Default, PartialEq, Hash)]
pub(crate) struct World {
    pub(crate) branches: BTreeMap<String, Branch>,
}

type Told = Result<(), Refusal>;

impl World {
    pub(crate) fn branch(&self, name: &str) -> Result<&Branch, Refusal> {
        self.branches.get(name).ok_or(Refusal::UnknownBranch)
    }

    pub(crate) fn branch_mut(&mut self, name: &str) -> Result<&mut Branch, Refusal> {
        self.branches.get_mut(name).ok_or(Refusal::UnknownBranch)
    }

    pub(crate) fn content(&self, target: &Target) -> Result<&Content, Refusal> {
        let branch = self.branch(&target.0)?;
        match &target.1 {
            None => Ok(branch.now()),
            Some(snapshot) => branch.snapshots.get(snapshot).ok_or(Refusal::UnknownSnapshot),
        }
    }

    fn vacant(&self, name: &str) -> Told {
        if self.branches.contains_key(name) {
            Err(Refusal::BranchExists)
        } else {
            Ok(())
        }
    }

    fn add(&mut self, name: &str, content: Content, origin: Option<Content>) -> Told {
        self.vacant(name)?;
        self.branches
            .insert(name.to_owned(), Branch::new(content, origin));
        Ok(())
    }

    pub(crate) fn create(&mut self, name: &str, content: Content) -> Told {
        self.add(name, content, None)
    }

    /// Writes a range. What lies before and behind its whole blocks may be a write of its own, in order, if it is large.
    pub(crate) fn write(&mut self, name: &str, range: Range<u64>, id: u32) -> Told {
        if range.end > self.branch(name)?.now().size() {
            return Err(Refusal::OutOfBounds);
        }
        let block = BLOCK as u64;
        let first = range.start.next_multiple_of(block).min(range.end);
        let last = (range.end - range.end % block).max(first);
        self.write_pieces(name, [range.start..first, first..last, last..range.end], id)
    }

    fn write_pieces(&mut self, name: &str, pieces: [Range<u64>; 3], id: u32) -> Told {
        let branch = self.branch_mut(name)?;
        for piece in pieces.into_iter().filter(|piece| !piece.is_empty()) {
            let bytes = pattern(id, piece.start, (piece.end - piece.start) as usize);
            branch.change(|content| content.write(piece.start, &bytes));
        }
        Ok(())
    }

    /// Writes ranges as one.
    pub(crate) fn write_batch(&mut self, name: &str, writes: &[(u64, u64, u32)]) -> Told {
        let branch = self.branch_mut(name)?;
        if writes
            .iter()
            .any(|(offset, length, _)| offset + length > branch.now().size())
        {
            return Err(Refusal::OutOfBounds);
        }
        branch.change(|content| {
            for &(offset, length, id) in writes {
                content.write(offset, &pattern(id, offset, length as usize));
            }
        });
        Ok(())
    }

    /// Clears a range: the partial blocks at its ends are writes of their own, in order.
    pub(crate) fn clear(&mut self, name: &str, range: Range<u64>) -> Told {
        let size = self.branch(name)?.now().size();
        if range.end > size {
            return Err(Refusal::OutOfBounds);
        }
        let block = BLOCK as u64;
        let first = range.start.next_multiple_of(block).min(range.end);
        let last = if range.end == size {
            range.end
        } else {
            (range.end - range.end % block).max(first)
        };
        self.write_pieces(name, [range.start..first, first..last, last..range.end], 0)
    }

    pub(crate) fn flush(&mut self, name: &str) -> Told {
        self.branch_mut(name)?.make_durable();
        Ok(())
    }

    pub(crate) fn fork_many(&mut self, forks: &[(Target, String)]) -> Told {
        let before = self.clone();
        for (source, name) in forks {
            let content = before.content(source)?.clone();
            self.add(name, content.clone(), Some(content))?;
            if source.1.is_none() {
                self.flush(&source.0)?;
            }
        }
        Ok(())
    }

    pub(crate) fn throwaway(&mut self, source: &Target, name: &str) -> Told {
        let content = self.content(source)?.clone();
        self.add(name, content.clone(), Some(content))?;
        self.branch_mut(name)?.is_throwaway = true;
        Ok(())
    }

    /// Makes a throwaway fork a branch like all others.
    pub(crate) fn keep(&mut self, from: &str, name: &str) -> Told {
        if !self.branch(from)?.is_throwaway {
            return Err(Refusal::NotThrowaway);
        }
        self.vacant(name)?;
        let mut branch = self.branches.remove(from).ok_or(Refusal::UnknownBranch)?;
        branch.is_throwaway = false;
        branch.make_durable();
        self.branches.insert(name.to_owned(), branch);
        Ok(())
    }

    /// Ends the process well.
    pub(crate) fn close(&mut self) {
        self.branches.retain(|_, branch| !branch.is_throwaway);
        self.branches.values_mut().for_each(Branch::make_durable);
    }

    pub(crate) fn snapshot(&mut self, snapshots: &[(String, String)]) -> Told {
        for (name, snapshot) in snapshots {
            let branch = self.branch_mut(name)?;
            branch.make_durable();
            if branch
                .snapshots
                .insert(snapshot.clone(), branch.now().clone())
                .is_some()
            {
                return Err(Refusal::SnapshotExists);
            }
        }
        Ok(())
    }

    pub(crate) fn rollback(&mut self, name: &str, to: Option<&str>, keep: Option<&str>) -> Told {
        let branch = self.branch(name)?;
        let content = match to {
            None => branch.origin.clone().ok_or(Refusal::NoOrigin)?,
            Some(snapshot) => branch
                .snapshots
                .get(snapshot)
                .cloned()
                .ok_or(Refusal::UnknownSnapshot)?,
        };
        if let Some(keep) = keep {
            self.fork_many(&[(Target(name.to_owned(), None), keep.to_owned())])?;
        }
        let branch = self.branch_mut(name)?;
        (branch.states, branch.floor) = (vec![content], 0);
        Ok(())
    }

    pub(crate) fn drop_branches(&mut self, names: &[String]) -> Told {
        for name in names {
            self.branches.remove(name).ok_or(Refusal::UnknownBranch)?;
        }
        Ok(())
    }

    pub(crate) fn drop_snapshot(&mut self, name: &str, snapshot: &str) -> Told {
        self.branch_mut(name)?
            .snapshots
            .remove(snapshot)
            .ok_or(Refusal::UnknownSnapshot)?;
        Ok(())
    }

    pub(crate) fn rename(&mut self, from: &str, to: &str) -> Told {
        if self.branch(from)?.is_throwaway {
            return Err(Refusal::UnknownBranch);
        }
        self.vacant(to)?;
        let branch = self.branches.remove(from).ok_or(Refusal::UnknownBranch)?;
        self.branches.insert(to.to_owned(), branch);
        Ok(())
    }

    pub(crate) fn protect(&mut self, name: &str, protected: bool) -> Told {
        let branch = self.branch_mut(name)?;
        if branch.is_throwaway {
            return Err(Refusal::UnknownBranch);
        }
        branch.is_protected = protected;
        Ok(())
    }

    pub(crate) fn resize(&mut self, name: &str, size: u64) -> Told {
        let branch = self.branch_mut(name)?;
        branch.change(|content| content.resize(size));
        branch.make_durable();
        Ok(())
    }
}

/// What a store shows of a branch after it was opened.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ShownBranch {
    pub(crate) content: Content,
    pub(crate) snapshots: BTreeMap<String, Content>,
    pub(crate) is_protected: bool,
}

/// What a store shows after it was opened, by name.
pub(crate) type Shown = BTreeMap<String, ShownBranch>;

impl World {
    /// Returns the world as it goes on after a recovery that shows `shown`, or why no crash may leave that.
    pub(crate) fn recovered(&self, shown: &Shown) -> Result<Self, String> {
        let mut world = self.clone();
        world.branches.retain(|_, branch| !branch.is_throwaway);
        world.found(shown)
    }

    /// Returns the world as it goes on where `shown` is found, or why that is none of what it may show.
    fn found(self, shown: &Shown) -> Result<Self, String> {
        let names = |world: Vec<&String>| format!("{world:?}");
        let (told, found) = (
            names(self.branches.keys().collect()),
            names(shown.keys().collect()),
        );
        if told != found {
            return Err(format!("the branches are {found} and should be {told}"));
        }
        let mut world = self;
        for (name, branch) in &mut world.branches {
            let ShownBranch {
                content,
                snapshots,
                is_protected,
            } = &shown[name];
            if branch.is_protected != *is_protected {
                return Err(format!(
                    "{name} is protected: {is_protected}; should be: {}",
                    branch.is_protected
                ));
            }
            let told: Vec<_> = branch.snapshots.keys().collect();
            let found: Vec<_> = snapshots.keys().collect();
            if told != found {
                return Err(format!(
                    "the snapshots of {name} are {found:?} and should be {told:?}"
                ));
            }
            for (snapshot, told) in &branch.snapshots {
                if *told != snapshots[snapshot] {
                    let found = snapshots[snapshot].describe();
                    return Err(format!(
                        "{name}@{snapshot} is [{found}], not [{}]",
                        told.describe()
                    ));
                }
            }
            if !branch.states[branch.floor..].contains(content) {
                let mut why = format!("{name} is [{}], which is none of", content.describe());
                for (at, state) in branch.states.iter().enumerate() {
                    let mark = if at == branch.floor { " (durable)" } else { "" };
                    why += &format!("\n      {at}: [{}]{mark}", state.describe());
                }
                return Err(why);
            }
            (branch.states, branch.floor) = (vec![content.clone()], 0);
        }
        Ok(world)
    }

    /// Returns why `shown` is not exactly what a running store has to show.
    pub(crate) fn running(&self, shown: &Shown) -> Result<(), String> {
        let mut strict = self.clone();
        for branch in strict.branches.values_mut() {
            branch.make_durable();
        }
        strict.found(shown).map(|_| ())
    }
}
