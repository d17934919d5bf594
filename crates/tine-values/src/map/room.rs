//! [`Shape`]: how much room a leaf has, and how much one that has so many entries should have.

use super::leaf::{Entry, Leaf, TAG_LARGE};
use super::tags::{SLOTS, TAG_BYTES};

/// A leaf of a tree takes no more than this: a copied leaf is cheap beside the counts of a copied inner node.
const LEAF_BYTES: usize = 2048 + 512;

/// How much room a leaf has: how many groups, less one, in the lower bits; the slots of a leaf of one group above.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Shape(u32);

const GROUP_BITS: u32 = 28;
const GROUP_MASK: u32 = (1 << GROUP_BITS) - 1;

impl Shape {
    const fn single(slots: usize) -> Self {
        debug_assert!(slots > 0 && slots <= SLOTS);
        Self((slots as u32) << GROUP_BITS)
    }

    /// `groups` is a power of two.
    fn groups_of(groups: usize) -> Self {
        assert!(groups <= GROUP_MASK as usize, "a leaf has fewer than 2^28 groups");
        Self(groups as u32 - 1)
    }

    #[inline]
    pub(super) fn mask(self) -> usize {
        (self.0 & GROUP_MASK) as usize
    }

    #[inline]
    pub(super) fn groups(self) -> usize {
        self.mask() + 1
    }

    /// Returns the tag of a pointer to such a leaf.
    pub(super) fn tag(self) -> usize {
        (self.groups().ilog2() as usize + 1).min(TAG_LARGE)
    }

    /// Returns how many entries fit.
    #[inline]
    pub(super) fn limit(self) -> usize {
        match self.0 >> GROUP_BITS {
            // Two of fifteen stay free, so that few keys have to leave their group.
            0 => self.groups() * (SLOTS - 2),
            slots => slots as usize,
        }
    }

    const fn less_one(self) -> Self {
        Self(self.0 - 1)
    }
}

impl<K, V> Leaf<K, V> {
    /// The most room that a leaf has unless it cannot be split.
    pub(super) const SHAPE_MAX: Shape = {
        let groups = LEAF_BYTES / Self::GROUP_BYTES;
        if groups > 1 {
            Shape(1 << groups.ilog2()).less_one()
        } else {
            let entry = if size_of::<Entry<K, V>>() == 0 {
                1
            } else {
                size_of::<Entry<K, V>>()
            };
            let slots = LEAF_BYTES.saturating_sub(TAG_BYTES) / entry;
            // Large entries: few of them, but not so few that the tree is larger than its content.
            Shape::single(if slots < 4 {
                4
            } else if slots > SLOTS {
                SLOTS
            } else {
                slots
            })
        }
    };

    /// Returns the least room that `len` entries fit in; `len` is not 0. Small leaves grow by half or more each time.
    pub(super) fn shape_for(len: usize) -> Shape {
        let most = Self::SHAPE_MAX.limit().min(SLOTS);
        if len > most {
            let groups = len.div_ceil(SLOTS - 2).next_power_of_two();
            return Shape::groups_of(groups.max(2));
        }
        let slots = [1, 3, 6, 10].into_iter().find(|&slots| slots >= len);
        Shape::single(slots.unwrap_or(most).min(most))
    }

    pub(super) fn units(shape: Shape) -> usize {
        let bytes = match shape.0 >> GROUP_BITS {
            0 => shape.groups().checked_mul(Self::GROUP_BYTES),
            slots => (slots as usize)
                .checked_mul(size_of::<Entry<K, V>>())
                .and_then(|bytes| bytes.checked_add(Self::ENTRIES_AT)),
        };
        bytes
            .expect("a leaf fits the address space")
            .div_ceil(Self::ALIGN)
    }
}
