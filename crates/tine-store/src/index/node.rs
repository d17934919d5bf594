//! Nodes: the leaves and inner nodes of trees, as they lie in index segments and as they are searched.
//!
//! ```text
//! leaf   | level 0 | count | extent ...   start, count, kind and birth, and for data: segment, first block, checksums
//! inner  | level n | count | child ...    first block, segment, offset, bytes, checksum
//! ```
//!
//! Invariant: extents ascend and do not overlap; children ascend, and an extent lies under the last child whose first
//! block is not behind its own.

use std::collections::HashMap;
use std::ops::{Deref, Range};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::RwLock;

use super::extent::{Content, EXTENT_BLOCKS_MAX, Extent};
use super::leaf::{Body, Leaf, LeafBuilder, Origin};
use super::search::{Guess, partition_from};
use crate::codec::{Decoder, Encoder};
use crate::error::Result;
use crate::segment::SegmentId;
use crate::segment::table::{Segment, SegmentTable};

/// Where a node lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct NodeRef {
    pub(crate) segment: SegmentId,
    pub(crate) offset: u64,
    pub(crate) bytes: u32,
    pub(crate) checksum: u32,
}

impl NodeRef {
    pub(crate) fn encode(&self, out: &mut Encoder) {
        out.u64(self.segment.to_u64());
        out.u64(self.offset);
        out.u32(self.bytes);
        out.u32(self.checksum);
    }

    pub(crate) fn decode(from: &mut Decoder<'_>) -> Result<Self> {
        Ok(Self {
            segment: SegmentId::from_u64(from.u64()?),
            offset: from.u64()?,
            bytes: from.u32()?,
            checksum: from.u32()?,
        })
    }
}

/// A node under another, or a root; remembers the node itself while the cache holds it.
pub(crate) struct Child {
    /// No extent under it begins before this block.
    pub(crate) first: u64,
    pub(crate) at: NodeRef,
    node: RwLock<Weak<Node>>,
}

impl Child {
    pub(crate) fn new(first: u64, at: NodeRef) -> Self {
        Self {
            first,
            at,
            node: RwLock::new(Weak::new()),
        }
    }

    #[inline]
    pub(super) fn cached(&self) -> Option<Arc<Node>> {
        self.node.read().upgrade()
    }

    pub(super) fn set_cached(&self, node: &Arc<Node>) {
        *self.node.write() = Arc::downgrade(node);
    }
}

/// A node in memory.
pub(crate) struct Node {
    kind: NodeKind,
    /// Used since the cache looked last.
    touched: AtomicBool,
}

pub(crate) enum NodeKind {
    Leaf(Leaf),
    Inner { level: u8, children: Children },
}

/// The children of an inner node, ascending; there is at least one.
pub(crate) struct Children {
    list: Box<[Child]>,
    guess: Guess,
}

impl Children {
    fn new(list: Vec<Child>) -> Self {
        let first = |child: Option<&Child>| child.map_or(0, |child| child.first);
        Self {
            guess: Guess::new(first(list.first()), first(list.last()), list.len()),
            list: list.into(),
        }
    }

    /// Returns those under which extents of a range can lie.
    pub(crate) fn touching(&self, blocks: &Range<u64>) -> &[Child] {
        let count = self.list.len();
        let place = self.guess.place(blocks.start);
        let first = partition_from(place, count, |at| self.list[at].first <= blocks.start);
        let end = partition_from(first, count, |at| self.list[at].first < blocks.end);
        &self.list[first.saturating_sub(1).min(end)..end]
    }

    fn memory_bytes(&self) -> usize {
        self.list.len() * size_of::<Child>()
    }
}

impl Deref for Children {
    type Target = [Child];

    fn deref(&self) -> &[Child] {
        &self.list
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Data = 1,
    Zero = 2,
    Hole = 3,
}

/// Bytes of a node before its extents or children.
pub(crate) const NODE_HEADER_BYTES: usize = 5;
/// Bytes of a child.
pub(crate) const CHILD_BYTES: usize = 32;
/// Bytes of an extent without content in a segment.
const EMPTY_EXTENT_BYTES: usize = 24;
/// Bytes of a data extent without its checksums.
const DATA_EXTENT_BYTES: usize = 36;
/// Bits of the word that holds an extent's kind and birth that are the birth.
const BIRTH_BITS: u32 = 60;

/// Returns the bytes that an extent takes in a leaf.
pub(crate) fn extent_bytes(extent: &Extent) -> usize {
    match &extent.content {
        Content::Data { checksums, .. } => DATA_EXTENT_BYTES + 4 * checksums.len(),
        Content::Zero | Content::Hole => EMPTY_EXTENT_BYTES,
    }
}

/// Appends a leaf's bytes.
pub(crate) fn encode_leaf(extents: &[Extent], out: &mut Encoder) {
    out.u8(0);
    out.count(extents.len());
    for extent in extents {
        let kind = match extent.content {
            Content::Data { .. } => Kind::Data,
            Content::Zero => Kind::Zero,
            Content::Hole => Kind::Hole,
        };
        out.u64(extent.start);
        out.u64(extent.count);
        out.u64((kind as u64) << BIRTH_BITS | extent.birth);
        if let Content::Data {
            segment,
            first,
            checksums,
        } = &extent.content
        {
            out.u64(segment.to_u64());
            out.u32(*first);
            for checksum in checksums {
                out.u32(*checksum);
            }
        }
    }
}

/// Appends an inner node's bytes.
pub(crate) fn encode_inner(level: u8, children: &[(u64, NodeRef)], out: &mut Encoder) {
    out.u8(level);
    out.count(children.len());
    for (first, at) in children {
        out.u64(*first);
        at.encode(out);
    }
}

impl Node {
    /// Reads a node whose checksum was verified.
    pub(crate) fn decode(bytes: &[u8], segments: &SegmentTable) -> Result<Self> {
        let mut from = Decoder::new("index node", bytes);
        let kind = match from.u8()? {
            0 => NodeKind::Leaf(decode_leaf(&mut from, segments)?),
            level => NodeKind::Inner {
                level,
                children: decode_children(&mut from)?,
            },
        };
        from.end()?;
        Ok(Self {
            kind,
            touched: AtomicBool::new(false),
        })
    }

    pub(crate) fn kind(&self) -> &NodeKind {
        &self.kind
    }

    pub(crate) fn level(&self) -> u8 {
        match &self.kind {
            NodeKind::Leaf(_) => 0,
            NodeKind::Inner { level, .. } => *level,
        }
    }

    /// Takes note that it is used. Written only if that is news, so that readers do not contend.
    pub(super) fn touch(&self) {
        if !self.touched.load(Ordering::Relaxed) {
            self.touched.store(true, Ordering::Relaxed);
        }
    }

    pub(super) fn take_touched(&self) -> bool {
        self.touched.swap(false, Ordering::Relaxed)
    }

    /// Returns about how much memory it takes.
    pub(super) fn memory_bytes(&self) -> u64 {
        let body = match &self.kind {
            NodeKind::Leaf(leaf) => leaf.memory_bytes(),
            NodeKind::Inner { children, .. } => children.memory_bytes(),
        };
        (size_of::<Self>() + body) as u64
    }
}

fn decode_leaf(from: &mut Decoder<'_>, segments: &SegmentTable) -> Result<Leaf> {
    let count = from.count(EMPTY_EXTENT_BYTES)?;
    let mut leaf = LeafBuilder::with_capacity(count);
    let mut handles: HashMap<SegmentId, Weak<Segment>> = HashMap::new();
    let mut behind = 0u64;
    for _ in 0..count {
        let (start, count, word) = (from.u64()?, from.u64()?, from.u64()?);
        let end = start.checked_add(count).filter(|_| start >= behind && count > 0);
        behind = end.ok_or_else(|| from.invalid("the extents are not in order"))?;
        let mut origin = Origin {
            birth: word & ((1 << BIRTH_BITS) - 1),
            segment: SegmentId { epoch: 0, counter: 0 },
        };
        let body = match word >> BIRTH_BITS {
            kind if kind == Kind::Data as u64 && count <= EXTENT_BLOCKS_MAX => {
                origin.segment = SegmentId::from_u64(from.u64()?);
                let first = from.u32()?;
                if first.checked_add(count as u32).is_none() {
                    return Err(from.invalid("an extent overflows its segment"));
                }
                let segment = handles
                    .entry(origin.segment)
                    .or_insert_with(|| segments.weak(origin.segment));
                Body::Data {
                    count: count as u16,
                    first,
                    segment: Weak::clone(segment),
                    checksum: match count {
                        1 => from.u32()?,
                        count => {
                            let checksums = (0..count).map(|_| from.u32()).collect::<Result<Vec<_>>>()?;
                            leaf.push_checksums(checksums)
                        }
                    },
                }
            }
            kind if kind == Kind::Zero as u64 => Body::Zero { count },
            kind if kind == Kind::Hole as u64 => Body::Hole { count },
            _ => return Err(from.invalid("an extent of unknown kind or length")),
        };
        leaf.push(start, body, origin);
    }
    Ok(leaf.build())
}

fn decode_children(from: &mut Decoder<'_>) -> Result<Children> {
    let count = from.count(CHILD_BYTES)?;
    let mut children: Vec<Child> = Vec::with_capacity(count);
    for _ in 0..count {
        let child = Child::new(from.u64()?, NodeRef::decode(from)?);
        if children.last().is_some_and(|last| last.first >= child.first) {
            return Err(from.invalid("the children are not in order"));
        }
        children.push(child);
    }
    if children.is_empty() {
        return Err(from.invalid("an inner node without children"));
    }
    Ok(Children::new(children))
}
