//! The overlay: for each block of a disk, where its content is.
//!
//! A [`RadixMap`], so that a fork clones it in O(1). What it does not know is as the layers below have it.

use std::sync::Arc;

use tine_values::RadixMap;

use crate::buffer::{Source, StretchId};

/// Blocks to their places.
pub(crate) type Overlay = RadixMap<Entry>;

/// What an overlay knows of a block.
#[derive(Clone)]
pub(crate) enum Entry {
    /// Content, with its checksum.
    Data {
        source: Arc<Source>,
        slot: u32,
        checksum: u32,
    },
    /// Zeroes.
    Zero(Zero),
}

/// Zeroes: who wrote them, and whether by a discard. One word, so that an [`Entry`] stays two.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Zero(u64);

const HOLE: u64 = 1 << 63;

impl Zero {
    pub(crate) fn new(stretch: StretchId, hole: bool) -> Self {
        Self(stretch | if hole { HOLE } else { 0 })
    }

    pub(crate) fn is_hole(self) -> bool {
        self.0 & HOLE != 0
    }

    pub(crate) fn stretch(self) -> StretchId {
        self.0 & !HOLE
    }
}

const _: () = assert!(size_of::<Entry>() == 16);

impl Entry {
    /// Returns the stretch that wrote it.
    pub(crate) fn birth(&self) -> StretchId {
        match self {
            Self::Data { source, .. } => source.stretch,
            Self::Zero(zero) => zero.stretch(),
        }
    }

    /// Tells whether two entries are of the same write, so that their content is the same.
    pub(crate) fn same(&self, other: &Self) -> bool {
        match (self, other) {
            (
                Self::Data {
                    source: a, slot: x, ..
                },
                Self::Data {
                    source: b, slot: y, ..
                },
            ) => Arc::ptr_eq(a, b) && x == y,
            (Self::Zero(_), Self::Zero(_)) => true,
            _ => false,
        }
    }
}
