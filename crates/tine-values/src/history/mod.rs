//! [`History`]: versions of one value, to go back to, to go on from, and to forget.
//!
//! ```text
//! 0 -- 1 -- 2 -- 3            undo goes left, redo right, along the way that was gone last
//!       \
//!        4 -- 5 *             what is written after an undo begins a branch; nothing is lost
//! ```
//!
//! **Invariants:**
//! 1. `current` is a version, and so is each parent, child and way. A version is among its parent's children, and in no others'; a
//!    parent's number is smaller.
//! 2. `bytes` is the sum of what each version had for itself when it was committed, less what the forgotten had for themselves when they
//!    were forgotten; and what the current version has for itself when a bound has left no other.

mod measured;

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::fmt;

pub use self::measured::Measured;
use crate::Text;

/// The number of a version in a [`History`]. Later versions have larger ones; none is given twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct VersionId(u64);

/// All versions of a value: undo, redo, names, branches, and a bound on memory.
///
/// A version costs what it changed, since versions share: of a [`List`](crate::List) or a [`Map`](crate::Map) some 2 KB, whatever the size. Any type of
/// this crate can be the value, and what is [`Measured`] besides.
///
/// ```
/// use tine_values::{History, List};
///
/// let mut lines = History::new(List::from(["one"]));
/// lines.edit(|lines| lines.push("two"));
/// lines.edit(|lines| lines.push("three"));
/// lines.undo();
/// assert_eq!(*lines.current(), ["one", "two"]);
///
/// // What is written now begins a branch; the other one stays.
/// let before = lines.current_id();
/// lines.edit(|lines| lines.push("3"));
/// assert_eq!(lines.children(before).len(), 2);
/// lines.undo();
/// lines.redo();
/// assert_eq!(*lines.current(), ["one", "two", "3"]);
/// ```
///
/// # Costs
///
/// Committing, undo and redo are O(log v) of v versions, and a look at what the new version alone has. What a history takes is the sum
/// of what its versions added, [`own_bytes`](Self::own_bytes), beside some 100 bytes for each version.
#[derive(Clone)]
pub struct History<T> {
    versions: BTreeMap<VersionId, Version<T>>,
    names: BTreeMap<Text, VersionId>,
    current: VersionId,
    next: VersionId,
    bytes: usize,
    bound: Option<usize>,
}

#[derive(Clone)]
struct Version<T> {
    value: T,
    parent: Option<VersionId>,
    /// By their numbers.
    children: Vec<VersionId>,
    /// Which child was gone to last.
    way: Option<VersionId>,
}

impl<T: Measured> History<T> {
    /// Returns a history with one version.
    pub fn new(value: T) -> Self {
        let first = VersionId(0);
        let bytes = value.own_bytes();
        Self {
            versions: BTreeMap::from([(first, Version::new(value, None))]),
            names: BTreeMap::new(),
            current: first,
            next: VersionId(1),
            bytes,
            bound: None,
        }
    }

    /// Adds a version that `change` makes of the current one, and goes to it. If `change` panics, nothing has changed.
    pub fn edit<R>(&mut self, change: impl FnOnce(&mut T) -> R) -> R {
        let mut value = self.current().clone();
        let result = change(&mut value);
        self.commit(value);
        result
    }

    /// Adds a version behind the current one, and goes to it. Then forgets the oldest, if there is a bound.
    pub fn commit(&mut self, value: T) -> VersionId {
        let id = self.next;
        self.next = VersionId(id.0 + 1);
        // What this one alone has: the others have the rest already.
        self.bytes += value.own_bytes();
        let current = self.version_mut(self.current);
        current.children.push(id);
        current.way = Some(id);
        self.versions.insert(id, Version::new(value, Some(self.current)));
        self.current = id;
        self.keep_bound();
        id
    }

    /// Says how many bytes the versions may take, and forgets the oldest as long as they take more: now, and whenever one is added. The
    /// current version and those that have a name are kept, so they may take more.
    ///
    /// What others have of a version as well, such as a clone of the history, is not given back when it is forgotten; then more are.
    pub fn set_bound(&mut self, bytes: Option<usize>) {
        self.bound = bytes;
        self.keep_bound();
    }

    /// Forgets a version. Those that were made of it are then as if made of its parent. Returns whether there was such a version; the
    /// current one is not forgotten.
    pub fn forget(&mut self, id: VersionId) -> bool {
        if id == self.current {
            return false;
        }
        let Some(version) = self.versions.remove(&id) else {
            return false;
        };
        self.names.retain(|_, named| *named != id);
        for child in &version.children {
            self.version_mut(*child).parent = version.parent;
        }
        if let Some(parent) = version.parent {
            let parent = self.version_mut(parent);
            parent.children.retain(|child| *child != id);
            parent.children.extend(&version.children);
            parent.children.sort_unstable();
            if parent.way == Some(id) {
                parent.way = version.way;
            }
        }
        self.bytes = self.bytes.saturating_sub(version.value.own_bytes());
        true
    }

    fn keep_bound(&mut self) {
        let Some(bound) = self.bound else { return };
        if self.bytes <= bound {
            return;
        }
        let named: BTreeSet<VersionId> = self.names.values().copied().collect();
        let mut from = VersionId(0);
        while self.bytes > bound {
            let is_kept = |id: &VersionId| *id == self.current || named.contains(id);
            let oldest = self
                .versions
                .range(from..)
                .map(|(id, _)| *id)
                .find(|id| !is_kept(id));
            let Some(oldest) = oldest else { break };
            self.forget(oldest);
            from = oldest;
        }
        if self.versions.len() == 1 {
            // What others had of the forgotten is counted no longer.
            self.bytes = self.current().own_bytes();
        }
    }

    /// Returns how many bytes only this version has: what forgetting it gives back.
    pub fn bytes_of(&self, id: VersionId) -> Option<usize> {
        Some(self.get(id)?.own_bytes())
    }
}

impl<T> History<T> {
    /// Returns the current version's value.
    pub fn current(&self) -> &T {
        &self.version(self.current).value
    }

    /// Returns the current version's number.
    pub fn current_id(&self) -> VersionId {
        self.current
    }

    /// Returns a version's value.
    pub fn get(&self, id: VersionId) -> Option<&T> {
        self.versions.get(&id).map(|version| &version.value)
    }

    /// Returns how many versions there are: one at least.
    #[allow(clippy::len_without_is_empty, reason = "there is always one")]
    pub fn len(&self) -> usize {
        self.versions.len()
    }

    /// Returns the versions, the oldest first.
    pub fn versions(&self) -> impl DoubleEndedIterator<Item = (VersionId, &T)> {
        self.versions.iter().map(|(id, version)| (*id, &version.value))
    }

    /// Goes to the version of which the current one was made. Returns false if that is not known.
    pub fn undo(&mut self) -> bool {
        self.version(self.current)
            .parent
            .is_some_and(|parent| self.go_to(parent))
    }

    /// Goes back to where undo came from, or to the version that was made last of this one. Returns false if there is none.
    pub fn redo(&mut self) -> bool {
        self.version(self.current).way.is_some_and(|way| self.go_to(way))
    }

    /// Goes to a version. Undo leads from there to what it was made of, and redo then back to it. Returns false if it is not known.
    pub fn go_to(&mut self, id: VersionId) -> bool {
        let Some(version) = self.versions.get(&id) else {
            return false;
        };
        if let Some(parent) = version.parent {
            self.version_mut(parent).way = Some(id);
        }
        self.current = id;
        true
    }

    /// Returns the version of which this one was made.
    pub fn parent(&self, id: VersionId) -> Option<VersionId> {
        self.versions.get(&id)?.parent
    }

    /// Returns the versions that were made of this one, the oldest first.
    pub fn children(&self, id: VersionId) -> &[VersionId] {
        self.versions.get(&id).map_or(&[], |version| &version.children)
    }

    /// Returns the ends of all branches: versions of which none was made, the oldest first.
    pub fn tips(&self) -> impl Iterator<Item = VersionId> {
        let tips = self
            .versions
            .iter()
            .filter(|(_, version)| version.children.is_empty());
        tips.map(|(id, _)| *id)
    }

    /// Gives the current version a name, which no other has then. A bound does not forget it.
    pub fn name(&mut self, name: impl Into<Text>) {
        self.names.insert(name.into(), self.current);
    }

    /// Takes a name away. Returns the version that had it.
    pub fn unname(&mut self, name: &str) -> Option<VersionId> {
        self.names.remove(name)
    }

    /// Returns the version with this name.
    pub fn named(&self, name: &str) -> Option<VersionId> {
        self.names.get(name).copied()
    }

    /// Returns the names and their versions, by name.
    pub fn names(&self) -> impl Iterator<Item = (&Text, VersionId)> {
        self.names.iter().map(|(name, id)| (name, *id))
    }

    /// Returns how many bytes the versions take together, as far as nobody else had what they have when they were committed.
    pub fn own_bytes(&self) -> usize {
        self.bytes
    }

    fn version(&self, id: VersionId) -> &Version<T> {
        self.versions.get(&id).expect("a version of the history")
    }

    fn version_mut(&mut self, id: VersionId) -> &mut Version<T> {
        self.versions.get_mut(&id).expect("a version of the history")
    }
}

impl<T> Version<T> {
    fn new(value: T, parent: Option<VersionId>) -> Self {
        Self {
            value,
            parent,
            children: Vec::new(),
            way: None,
        }
    }
}

impl<T: Measured + Default> Default for History<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl<T: fmt::Debug> fmt::Debug for History<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.versions()).finish()
    }
}
