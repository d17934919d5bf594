//! Nodes: the leaves and inner nodes of trees, as they lie in index segments and as they are searched.
//!
//! ```text
//! leaf   | level 0 | count | extent ...   start, count, kind and birth, and for data: segment, first block, checksums
//! inner  | level n | count | child ...    first block, segment, offset, bytes, checksum
//! ```
//!
//! Invariant: extents ascend and do not overlap; children ascend, and an extent lies under the last child whose first
//! block is not behind its own.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::RwLock;

use super::extent::{Content, EXTENT_BLOCKS_MAX, Extent};
use crate::buffer::StretchId;
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
    Inner { level: u8, children: Box<[Child]> },
}

/// Extents, in columns: what a search looks at lies together.
pub(crate) struct Leaf {
    starts: Box<[u64]>,
    extents: Box<[LeafExtent]>,
    checksums: Box<[u32]>,
    /// The segments that extents name, resolved once. Weak: a node in the cache keeps no segment from being removed.
    homes: Box<[(SegmentId, Weak<Segment>)]>,
}

struct LeafExtent {
    count: u64,
    birth: StretchId,
    kind: Kind,
    home: u32,
    first: u32,
    /// Of one block its checksum; of several, where theirs begin among the leaf's. So a look-up of blocks that were
    /// written one by one touches a cache line less.
    checksum: u32,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Data = 1,
    Zero = 2,
    Hole = 3,
}

/// An extent in a leaf, or a part of it.
#[derive(Clone, Copy)]
pub(crate) struct Piece<'a> {
    pub(crate) start: u64,
    pub(crate) end: u64,
    pub(crate) birth: StretchId,
    pub(crate) content: PieceContent<'a>,
}

#[derive(Clone, Copy)]
pub(crate) enum PieceContent<'a> {
    Data {
        home: &'a (SegmentId, Weak<Segment>),
        first: u32,
        checksums: &'a [u32],
    },
    Zero,
    Hole,
}

impl Piece<'_> {
    /// Returns what is left of it within a range; the two overlap.
    pub(crate) fn within(mut self, start: u64, end: u64) -> Self {
        let (from, to) = (self.start.max(start), self.end.min(end));
        debug_assert!(from < to);
        if let PieceContent::Data { first, checksums, .. } = &mut self.content {
            let skip = (from - self.start) as usize;
            *checksums = &checksums[skip..skip + (to - from) as usize];
            *first += skip as u32;
        }
        (self.start, self.end) = (from, to);
        self
    }

    pub(crate) fn to_extent(self) -> Extent {
        Extent {
            start: self.start,
            count: self.end - self.start,
            birth: self.birth,
            content: match self.content {
                PieceContent::Data {
                    home,
                    first,
                    checksums,
                } => Content::Data {
                    segment: home.0,
                    first,
                    checksums: checksums.to_vec(),
                },
                PieceContent::Zero => Content::Zero,
                PieceContent::Hole => Content::Hole,
            },
        }
    }
}

impl Leaf {
    /// Returns how many extents it has.
    pub(crate) fn len(&self) -> usize {
        self.starts.len()
    }

    /// Returns the number of the first extent that ends behind a block.
    pub(crate) fn seek(&self, block: u64) -> usize {
        let behind = self.starts.partition_point(|&start| start <= block);
        match behind.checked_sub(1) {
            Some(last) if self.starts[last] + self.extents[last].count > block => last,
            _ => behind,
        }
    }

    pub(crate) fn piece(&self, at: usize) -> Piece<'_> {
        let (start, extent) = (self.starts[at], &self.extents[at]);
        let content = match extent.kind {
            Kind::Data => PieceContent::Data {
                home: &self.homes[extent.home as usize],
                first: extent.first,
                checksums: match extent.count {
                    1 => std::slice::from_ref(&extent.checksum),
                    count => &self.checksums[extent.checksum as usize..][..count as usize],
                },
            },
            Kind::Zero => PieceContent::Zero,
            Kind::Hole => PieceContent::Hole,
        };
        Piece {
            start,
            end: start + extent.count,
            birth: extent.birth,
            content,
        }
    }
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
            NodeKind::Leaf(leaf) => {
                leaf.starts.len() * (8 + size_of::<LeafExtent>())
                    + leaf.checksums.len() * 4
                    + leaf.homes.len() * size_of::<(SegmentId, Weak<Segment>)>()
            }
            NodeKind::Inner { children, .. } => children.len() * size_of::<Child>(),
        };
        (size_of::<Self>() + body) as u64
    }
}

fn decode_leaf(from: &mut Decoder<'_>, segments: &SegmentTable) -> Result<Leaf> {
    let count = from.count(EMPTY_EXTENT_BYTES)?;
    let mut starts = Vec::with_capacity(count);
    let mut extents = Vec::with_capacity(count);
    let mut checksums = Vec::new();
    let mut homes: Vec<(SegmentId, Weak<Segment>)> = Vec::new();
    let mut behind = 0u64;
    for _ in 0..count {
        let (start, count, word) = (from.u64()?, from.u64()?, from.u64()?);
        let end = start.checked_add(count).filter(|_| start >= behind && count > 0);
        behind = end.ok_or_else(|| from.invalid("the extents are not in order"))?;
        let kind = match word >> BIRTH_BITS {
            1 if count <= EXTENT_BLOCKS_MAX => Kind::Data,
            2 => Kind::Zero,
            3 => Kind::Hole,
            _ => return Err(from.invalid("an extent of unknown kind or length")),
        };
        let mut extent = LeafExtent {
            count,
            birth: word & ((1 << BIRTH_BITS) - 1),
            kind,
            home: 0,
            first: 0,
            checksum: checksums.len() as u32,
        };
        if kind == Kind::Data {
            let segment = SegmentId::from_u64(from.u64()?);
            extent.first = from.u32()?;
            if extent.first.checked_add(count as u32).is_none() {
                return Err(from.invalid("an extent overflows its segment"));
            }
            // Neighbours mostly lie in the same segment.
            let known = homes.iter().rposition(|(id, _)| *id == segment);
            extent.home = known.unwrap_or(homes.len()) as u32;
            if known.is_none() {
                homes.push((segment, segments.weak(segment)));
            }
            if count == 1 {
                extent.checksum = from.u32()?;
            } else {
                for _ in 0..count {
                    checksums.push(from.u32()?);
                }
            }
        }
        starts.push(start);
        extents.push(extent);
    }
    Ok(Leaf {
        starts: starts.into(),
        extents: extents.into(),
        checksums: checksums.into(),
        homes: homes.into(),
    })
}

fn decode_children(from: &mut Decoder<'_>) -> Result<Box<[Child]>> {
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
    Ok(children.into())
}
