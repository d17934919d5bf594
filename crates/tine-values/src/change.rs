//! What the comparing and merging methods of maps and sets speak of.

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
