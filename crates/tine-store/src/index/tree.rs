//! Trees: a root with what is under it, immutable.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use super::Nodes;
use super::extent::Extent;
use super::leaf::Piece;
use super::node::{Child, Node, NodeKind, NodeRef};
use crate::codec::{Decoder, Encoder};
use crate::error::Result;
use crate::segment::SegmentId;
use crate::segment::table::SegmentTable;

/// No tree is higher: it would have more leaves than there are bytes.
const LEVEL_MAX: u8 = 16;

/// A tree as manifests name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TreeRecord {
    pub(crate) root: NodeRef,
    /// The root's level: 0 if it is a leaf.
    pub(crate) level: u8,
    /// The blocks between the first extent's start and the last one's end.
    pub(crate) span: Range<u64>,
    pub(crate) extents: u64,
    /// Bytes of all nodes.
    pub(crate) bytes: u64,
    /// The segments in which its nodes lie, with the bytes of them there.
    pub(crate) homes: Vec<(SegmentId, u64)>,
}

impl TreeRecord {
    pub(crate) fn encode(&self, out: &mut Encoder) {
        self.root.encode(out);
        out.u8(self.level);
        out.u64(self.span.start);
        out.u64(self.span.end);
        out.u64(self.extents);
        out.u64(self.bytes);
        out.count(self.homes.len());
        for (segment, bytes) in &self.homes {
            out.u64(segment.to_u64());
            out.u64(*bytes);
        }
    }

    pub(crate) fn decode(from: &mut Decoder<'_>) -> Result<Self> {
        let record = Self {
            root: NodeRef::decode(from)?,
            level: from.u8()?,
            span: from.u64()?..from.u64()?,
            extents: from.u64()?,
            bytes: from.u64()?,
            homes: {
                let count = from.count(16)?;
                (0..count)
                    .map(|_| Ok((SegmentId::from_u64(from.u64()?), from.u64()?)))
                    .collect::<Result<_>>()?
            },
        };
        let bytes = record
            .homes
            .iter()
            .try_fold(0u64, |sum, (_, bytes)| sum.checked_add(*bytes));
        if record.level > LEVEL_MAX || record.span.start >= record.span.end || bytes != Some(record.bytes) {
            return Err(from.invalid("a tree that cannot be"));
        }
        Ok(record)
    }
}

/// A tree. While it lives, the segments of its nodes are in use.
pub(crate) struct Tree {
    pub(crate) record: TreeRecord,
    pub(crate) root: Child,
    segments: Arc<SegmentTable>,
}

impl Tree {
    pub(crate) fn new(record: TreeRecord, segments: &Arc<SegmentTable>) -> Arc<Self> {
        for (segment, _) in &record.homes {
            segments.retain(*segment);
        }
        Arc::new(Self {
            root: Child::new(record.span.start, record.root),
            record,
            segments: Arc::clone(segments),
        })
    }

    /// Says whether a look-up of a range has to descend into it.
    pub(crate) fn reaches(&self, blocks: &Range<u64>) -> bool {
        self.record.span.start < blocks.end && blocks.start < self.record.span.end
    }

    /// Calls `each` with everything that it has of a range, ascending and cut to the range, until that says no.
    /// Returns whether it never did.
    pub(crate) fn scan(
        &self,
        nodes: &dyn Nodes,
        blocks: Range<u64>,
        each: &mut dyn FnMut(Piece<'_>) -> Result<bool>,
    ) -> Result<bool> {
        if !self.reaches(&blocks) {
            return Ok(true);
        }
        scan(nodes, &self.root, self.record.level, &blocks, each)
    }

    /// Returns its extents in order.
    pub(crate) fn cursor<'a>(&self, nodes: &'a dyn Nodes) -> Result<Cursor<'a>> {
        let root = nodes.load(&self.root, self.record.level)?;
        Ok(Cursor {
            nodes,
            path: vec![(root, 0)],
        })
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        for (segment, _) in &self.record.homes {
            self.segments.release(*segment);
        }
    }
}

/// Descends without recursion to where the range begins, so that a look-up of one block is a loop.
fn scan(
    nodes: &dyn Nodes,
    child: &Child,
    level: u8,
    blocks: &Range<u64>,
    each: &mut dyn FnMut(Piece<'_>) -> Result<bool>,
) -> Result<bool> {
    let mut node = nodes.load(child, level)?;
    loop {
        let next = match node.kind() {
            NodeKind::Leaf(leaf) => {
                if blocks.end - blocks.start == 1 && leaf.lacks(blocks.start) {
                    return Ok(true);
                }
                for at in leaf.seek(blocks.start)..leaf.len() {
                    let piece = leaf.piece(at);
                    if piece.start >= blocks.end {
                        break;
                    }
                    if !each(piece.within(blocks.start, blocks.end))? {
                        return Ok(false);
                    }
                }
                return Ok(true);
            }
            NodeKind::Inner { level, children } => {
                let found = children.touching(blocks);
                if found.len() != 1 {
                    for child in found {
                        if !scan(nodes, child, level - 1, blocks, each)? {
                            return Ok(false);
                        }
                    }
                    return Ok(true);
                }
                nodes.load(&found[0], level - 1)?
            }
        };
        node = next;
    }
}

/// The extents of a tree, in order.
pub(crate) struct Cursor<'a> {
    nodes: &'a dyn Nodes,
    /// The nodes from the root to a leaf, each with the number of what comes next in it.
    path: Vec<(Arc<Node>, usize)>,
}

impl Iterator for Cursor<'_> {
    type Item = Result<Extent>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let (node, at) = self.path.last_mut()?;
            let child = match node.kind() {
                NodeKind::Leaf(leaf) if *at < leaf.len() => {
                    *at += 1;
                    return Some(Ok(leaf.piece(*at - 1).to_extent()));
                }
                NodeKind::Inner { level, children } if *at < children.len() => {
                    *at += 1;
                    match self.nodes.load(&children[*at - 1], level - 1) {
                        Ok(child) => child,
                        Err(error) => {
                            self.path.clear();
                            return Some(Err(error));
                        }
                    }
                }
                _ => {
                    self.path.pop();
                    continue;
                }
            };
            self.path.push((child, 0));
        }
    }
}

/// Where nodes lie: bytes by segment.
#[derive(Clone, Default)]
pub(crate) struct Homes(BTreeMap<SegmentId, u64>);

impl Homes {
    pub(crate) fn of(record: &TreeRecord) -> Self {
        Self(record.homes.iter().copied().collect())
    }

    pub(crate) fn add(&mut self, at: &NodeRef) {
        *self.0.entry(at.segment).or_default() += u64::from(at.bytes);
    }

    pub(crate) fn remove(&mut self, at: &NodeRef) {
        if let Some(bytes) = self.0.get_mut(&at.segment) {
            *bytes = bytes.saturating_sub(u64::from(at.bytes));
            if *bytes == 0 {
                self.0.remove(&at.segment);
            }
        }
    }

    pub(crate) fn into_list(self) -> Vec<(SegmentId, u64)> {
        self.0.into_iter().collect()
    }
}
