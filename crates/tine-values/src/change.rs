//! What the comparing and merging methods speak of: of maps and sets [`Change`] and [`Conflict`], of sequences [`Edit`]
//! and [`Overlap`].

use core::ops::Range;

/// How two versions of a map differ at one key, or of a set at one element (`V` is `()` then). What a `diff` yields:
/// from the version it is called on to the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change<'a, K, V> {
    /// Only the other version has it.
    Added {
        /// The key, as the other version has it.
        key: &'a K,
        /// The value that came.
        value: &'a V,
    },
    /// Only this version has it.
    Removed {
        /// The key, as this version has it.
        key: &'a K,
        /// The value that went.
        value: &'a V,
    },
    /// Both have it, with different values.
    Changed {
        /// The key, as this version has it.
        key: &'a K,
        /// This version's value.
        old: &'a V,
        /// The other version's value.
        new: &'a V,
    },
}

impl<'a, K, V> Change<'a, K, V> {
    /// Returns the key that differs.
    pub fn key(&self) -> &'a K {
        match self {
            Self::Added { key, .. } | Self::Removed { key, .. } | Self::Changed { key, .. } => key,
        }
    }
}

/// What a three-way merge does at a key.
pub(crate) enum Merged<V> {
    /// Our side has what is to be.
    Stays,
    Becomes(V),
    Goes,
}

impl<'a, K, V: Clone + PartialEq> Change<'a, K, V> {
    /// Returns what to do at the key that `theirs` changed since the base, where `ours` is what our side has there.
    pub(crate) fn merged(
        self,
        ours: Option<&'a V>,
        resolve: impl FnOnce(Conflict<'a, K, V>) -> Option<V>,
    ) -> Merged<V> {
        let (key, base, theirs) = match self {
            Self::Added { key, value } => (key, None, Some(value)),
            Self::Removed { key, value } => (key, Some(value), None),
            Self::Changed { key, old, new } => (key, Some(old), Some(new)),
        };
        let versions = Conflict {
            key,
            base,
            ours,
            theirs,
        };
        versions.merged(resolve)
    }
}

/// What a three-way merge asks about: a key that both sides changed since their base, and not to the same value.
/// `None` is a version that does not have the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conflict<'a, K, V> {
    /// The key.
    pub key: &'a K,
    /// What both sides started from.
    pub base: Option<&'a V>,
    /// What one side made of it.
    pub ours: Option<&'a V>,
    /// What the other side made of it.
    pub theirs: Option<&'a V>,
}

impl<K, V: Clone + PartialEq> Conflict<'_, K, V> {
    /// Returns what to do at the key. Asks `resolve` only if it is a conflict: both sides may have done the same, or one
    /// of them nothing.
    pub(crate) fn merged(self, resolve: impl FnOnce(Self) -> Option<V>) -> Merged<V> {
        if self.ours == self.theirs {
            return Merged::Stays;
        }
        let value = if self.ours == self.base {
            self.theirs.cloned()
        } else {
            resolve(self)
        };
        value.map_or(Merged::Goes, Merged::Becomes)
    }
}

/// How two versions of a sequence differ in one place: what `ours` holds in the one version, `theirs` holds in the other
/// instead. One of the ranges may be empty, never both. What a `diff` yields, in order, with something equal between
/// any two.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit {
    /// Where it is in the version that the diff is called on.
    pub ours: Range<usize>,
    /// Where it is in the other version.
    pub theirs: Range<usize>,
}

/// What a three-way merge of sequences asks about: a place that both sides edited since their base, not in the same way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overlap {
    /// Where it is in what both sides started from.
    pub base: Range<usize>,
    /// What one side made of it.
    pub ours: Range<usize>,
    /// What the other side made of it.
    pub theirs: Range<usize>,
}
