//! Views: a whole disk at one moment, as what is newer in memory over the layers of an index.
//!
//! Invariant: a view is complete: what neither overlay nor layers know was never written. An entry of the overlay
//! hides the layers, so the layers under a running head may be replaced by newer ones of the same disk.

use std::ops::Range;
use std::sync::Arc;

use crate::error::Result;
use crate::index::Nodes;
use crate::index::layers::Layers;
use crate::index::leaf::Piece;
use crate::overlay::{Entry, Overlay};

/// A disk at one moment. Clones in O(1).
#[derive(Clone)]
pub(crate) struct View {
    pub(crate) overlay: Overlay,
    /// Blocks and cleared ranges that were laid into the overlay: no fewer than lie in it.
    pub(crate) overlaid: u64,
    pub(crate) base: Arc<Layers>,
}

/// What a view knows of a range.
#[derive(Clone, Copy)]
pub(crate) enum Found<'a> {
    /// Never written.
    Absent,
    Entry(&'a Entry),
    Piece(Piece<'a>),
}

impl View {
    /// The view of a disk to which nothing was ever written.
    pub(crate) fn empty() -> Self {
        Self::on(Layers::empty())
    }

    pub(crate) fn on(base: Arc<Layers>) -> Self {
        Self {
            overlay: Overlay::new(),
            overlaid: 0,
            base,
        }
    }

    /// Calls `each` with all of a range, in order, until it says no. Returns whether it never did.
    ///
    /// Data entries of the overlay come block by block, what the layers have extent by extent.
    pub(crate) fn resolve(
        &self,
        nodes: &dyn Nodes,
        blocks: Range<u64>,
        each: &mut dyn FnMut(Range<u64>, Found<'_>) -> Result<bool>,
    ) -> Result<bool> {
        let below = |blocks: Range<u64>, each: &mut dyn FnMut(Range<u64>, Found<'_>) -> Result<bool>| {
            self.base.resolve(nodes, blocks, &mut |blocks, piece| {
                each(blocks, piece.map_or(Found::Absent, Found::Piece))
            })
        };
        let mut at = blocks.start;
        for (range, entry) in self.overlay.range(blocks.clone()) {
            let range = range.start.max(blocks.start)..range.end.min(blocks.end);
            if at < range.start && !below(at..range.start, each)? {
                return Ok(false);
            }
            at = range.end;
            if !each(range, Found::Entry(entry))? {
                return Ok(false);
            }
        }
        if at < blocks.end {
            return below(at..blocks.end, each);
        }
        Ok(true)
    }
}
