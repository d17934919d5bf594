//! The index: for each disk, which extent of which segment holds a block.
//!
//! ```text
//! Layers   newest ▸ run  ┐ a tree each, that of a run over the changed blocks alone
//!                   run  ┘
//!          oldest ▸ tree   of the whole disk: what is not in it was never written
//!
//! Tree     root node ─▸ inner nodes ─▸ leaves: extents, with a checksum for each block
//! ```
//!
//! A checkpoint adds what is new as a run (its cost is that of the changes, not of the leaves they fall into); runs
//! merge into each other and into the tree when they are big enough to be worth it. Points share trees with all that
//! descend from them. A node never changes: it is named by segment, place and checksum, so a root vouches for
//! everything under it, data included.
//!
//! Invariant: an extent in a higher layer hides what lower ones say of its blocks.

pub(crate) mod build;
pub(crate) mod cache;
pub(crate) mod extent;
pub(crate) mod layers;
pub(crate) mod leaf;
pub(crate) mod merge;
pub(crate) mod node;
mod presence;
mod search;
#[cfg(test)]
mod tests;
pub(crate) mod tree;
pub(crate) mod unshared;
pub(crate) mod written;

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use crate::checksum::crc32c;
use crate::error::{Result, StoreError};
use crate::medium::Reading;
use crate::segment::SegmentId;
use crate::segment::table::{Segment, SegmentTable};
use cache::NodeCache;
use leaf::Home;
use node::{Child, Node, NodeRef};

/// From where nodes are read: through the cache, or also from a segment that is being written.
pub(crate) trait Nodes {
    /// Returns a node of the given level; leaves have level 0.
    fn load(&self, child: &Child, level: u8) -> Result<Arc<Node>>;

    /// Told when layers have been looked into in vain so often that a merge is worth its cost.
    fn note_due(&self) {}
}

/// The nodes of a store, in segments, with a bounded cache in front that all views share.
pub(crate) struct Index {
    cache: NodeCache,
    segments: Arc<SegmentTable>,
    merge: AtomicU8,
}

/// No layers are due to be merged; some are; and upkeep was told.
const NONE_DUE: u8 = 0;
const DUE: u8 = 1;
const TOLD: u8 = 2;

impl Index {
    /// Makes an index whose cache holds about so many bytes at the most.
    pub(crate) fn new(segments: Arc<SegmentTable>, cache_bytes: u64) -> Self {
        Self {
            cache: NodeCache::new(cache_bytes),
            segments,
            merge: AtomicU8::new(NONE_DUE),
        }
    }

    /// Takes a node that was just written into the cache, so that who reads what was written need not load it. Returns the
    /// bytes that it takes in memory.
    pub(crate) fn keep(&self, at: &NodeRef, bytes: &[u8]) -> Result<u64> {
        let node = Node::decode(bytes, &self.segments)?;
        Ok(self.cache.add(at, node))
    }

    /// Returns how many bytes the cache holds at the most.
    pub(crate) fn cache_bytes(&self) -> u64 {
        self.cache.bytes().1
    }

    /// Tells once that layers are due to be merged.
    pub(crate) fn wants_merge(&self) -> bool {
        self.merge.load(Ordering::Relaxed) == DUE
            && self
                .merge
                .compare_exchange(DUE, TOLD, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
    }

    /// Tells upkeep whether layers are due, and forgets it.
    pub(crate) fn take_merge(&self) -> bool {
        self.merge.swap(NONE_DUE, Ordering::Relaxed) != NONE_DUE
    }

    /// Returns the bytes of nodes in memory, and how many there may be.
    pub(crate) fn cached(&self) -> (u64, u64) {
        self.cache.bytes()
    }

    /// Returns a segment, which need not be in use any more.
    pub(crate) fn segment(&self, id: SegmentId) -> Arc<Segment> {
        self.segments.handle(id)
    }

    /// Returns the segment that a piece lies in; see [`Index::segment`].
    pub(crate) fn resolve(&self, home: &Home<'_>) -> Arc<Segment> {
        home.handle.upgrade().unwrap_or_else(|| self.segment(home.id()))
    }

    /// Returns its nodes for one who reads them so.
    pub(crate) fn nodes(&self, reading: Reading) -> NodesFrom<'_> {
        NodesFrom { index: self, reading }
    }

    /// Reads and verifies a node, past every cache.
    pub(crate) fn read_node(&self, at: &NodeRef, level: u8) -> Result<Node> {
        let node = Node::decode(&self.read(at, Reading::PastCache)?, &self.segments)?;
        check_level(&node, at, level)?;
        Ok(node)
    }

    /// Reads bytes of an index segment and verifies their checksum.
    pub(crate) fn read(&self, at: &NodeRef, reading: Reading) -> Result<Vec<u8>> {
        let segment = self.segments.handle(at.segment);
        // Never more memory than there are bytes, whatever a parent says.
        let end = at.offset.checked_add(u64::from(at.bytes));
        if end.is_none_or(|end| segment.length().is_ok_and(|length| end > length)) {
            return Err(StoreError::damaged(format!(
                "segments/{}: it ends before the node at {}",
                at.segment, at.offset
            )));
        }
        let mut bytes = vec![0; at.bytes as usize];
        segment.read(&mut bytes, at.offset, reading)?;
        if crc32c(&bytes) != at.checksum {
            return Err(StoreError::damaged(format!(
                "segments/{}: the node at {} does not have its checksum",
                at.segment, at.offset
            )));
        }
        Ok(bytes)
    }
}

/// The nodes of an index as one who reads asks for them.
pub(crate) struct NodesFrom<'a> {
    index: &'a Index,
    reading: Reading,
}

impl Nodes for NodesFrom<'_> {
    fn load(&self, child: &Child, level: u8) -> Result<Arc<Node>> {
        let index = self.index;
        let node = index.cache.load(child, || {
            let bytes = index.read(&child.at, self.reading)?;
            Node::decode(&bytes, &index.segments)
        })?;
        check_level(&node, &child.at, level)?;
        Ok(node)
    }

    fn note_due(&self) {
        self.index.note_due();
    }
}

impl Nodes for Index {
    fn load(&self, child: &Child, level: u8) -> Result<Arc<Node>> {
        self.nodes(Reading::Cached).load(child, level)
    }

    fn note_due(&self) {
        let _ = self
            .merge
            .compare_exchange(NONE_DUE, DUE, Ordering::Relaxed, Ordering::Relaxed);
    }
}

/// Levels fall towards the leaves, so that no chain of nodes is endless.
fn check_level(node: &Node, at: &NodeRef, level: u8) -> Result<()> {
    if node.level() == level {
        return Ok(());
    }
    Err(StoreError::damaged(format!(
        "segments/{}: the node at {} is of level {}, not {level}",
        at.segment,
        at.offset,
        node.level()
    )))
}
