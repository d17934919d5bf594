//! Leaves in memory: extents as they are searched.
//!
//! What a look-up needs of an extent lies in half a cache line, the segment itself included, and is found by a guess:
//! most of the cost of a random read beside the read itself is that of lines that no cache holds. What only a walk
//! needs, who wrote an extent and the name of its segment, lies apart.

use std::sync::Weak;

use super::extent::{Content, Extent};
use super::presence::Presence;
use super::search::{Guess, partition_from};
use crate::buffer::StretchId;
use crate::segment::SegmentId;
use crate::segment::table::Segment;

/// The extents of a leaf, ascending.
pub(crate) struct Leaf {
    extents: Box<[LeafExtent]>,
    guess: Guess,
    presence: Presence,
    checksums: Box<[u32]>,
    origins: Box<[Origin]>,
}

/// So aligned that none lies in two cache lines.
#[repr(align(32))]
struct LeafExtent {
    start: u64,
    body: Body,
}

const _: () = assert!(size_of::<LeafExtent>() == 32);

/// What a look-up finds.
pub(super) enum Body {
    Data {
        count: u16,
        /// Of one block its checksum; of several, where theirs begin among the leaf's. So a look-up of blocks that
        /// were written one by one touches a cache line less.
        checksum: u32,
        first: u32,
        /// Weak: a node in the cache keeps no segment from being removed.
        segment: Weak<Segment>,
    },
    Zero {
        count: u64,
    },
    Hole {
        count: u64,
    },
}

/// Where an extent comes from.
#[derive(Clone, Copy)]
pub(super) struct Origin {
    pub(super) birth: StretchId,
    /// Of no meaning unless it has data.
    pub(super) segment: SegmentId,
}

impl LeafExtent {
    fn count(&self) -> u64 {
        match self.body {
            Body::Data { count, .. } => u64::from(count),
            Body::Zero { count } | Body::Hole { count } => count,
        }
    }
}

/// An extent in a leaf, or a part of it.
#[derive(Clone, Copy)]
pub(crate) struct Piece<'a> {
    pub(crate) start: u64,
    pub(crate) end: u64,
    origin: &'a Origin,
    pub(crate) content: PieceContent<'a>,
}

#[derive(Clone, Copy)]
pub(crate) enum PieceContent<'a> {
    Data {
        home: Home<'a>,
        first: u32,
        checksums: &'a [u32],
    },
    Zero,
    Hole,
}

/// The segment that a piece lies in.
#[derive(Clone, Copy)]
pub(crate) struct Home<'a> {
    /// Resolved once, when the leaf was read; dangling if the segment was not in the table, or is there no more.
    pub(crate) handle: &'a Weak<Segment>,
    origin: &'a Origin,
}

impl Home<'_> {
    pub(crate) fn id(&self) -> SegmentId {
        self.origin.segment
    }
}

impl Piece<'_> {
    /// Returns the stretch that wrote it.
    pub(crate) fn birth(&self) -> StretchId {
        self.origin.birth
    }

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
            birth: self.birth(),
            content: match self.content {
                PieceContent::Data {
                    home,
                    first,
                    checksums,
                } => Content::Data {
                    segment: home.id(),
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
        self.extents.len()
    }

    /// Says whether it has surely nothing of a block; a look that misses fewer lines of the processor's cache than a search.
    #[inline]
    pub(super) fn lacks(&self, block: u64) -> bool {
        self.presence.lacks(block)
    }

    /// Returns the number of the first extent that ends behind a block.
    pub(crate) fn seek(&self, block: u64) -> usize {
        let place = self.guess.place(block);
        // Extents do not overlap: one that has the block needs no look at its neighbour.
        let has = |extent: &LeafExtent| extent.start <= block && block - extent.start < extent.count();
        if self.extents.get(place).is_some_and(has) {
            return place;
        }
        let behind = partition_from(place, self.extents.len(), |at| self.extents[at].start <= block);
        match behind.checked_sub(1) {
            Some(last) if has(&self.extents[last]) => last,
            _ => behind,
        }
    }

    #[inline]
    pub(crate) fn piece(&self, at: usize) -> Piece<'_> {
        let (extent, origin) = (&self.extents[at], &self.origins[at]);
        let content = match &extent.body {
            Body::Data {
                count,
                checksum,
                first,
                segment: handle,
            } => PieceContent::Data {
                home: Home { handle, origin },
                first: *first,
                checksums: match count {
                    1 => std::slice::from_ref(checksum),
                    count => &self.checksums[*checksum as usize..][..usize::from(*count)],
                },
            },
            Body::Zero { .. } => PieceContent::Zero,
            Body::Hole { .. } => PieceContent::Hole,
        };
        Piece {
            start: extent.start,
            end: extent.start + extent.count(),
            origin,
            content,
        }
    }

    /// Returns about how much memory it takes, beside itself.
    pub(super) fn memory_bytes(&self) -> usize {
        self.extents.len() * (size_of::<LeafExtent>() + size_of::<Origin>())
            + self.checksums.len() * 4
            + self.presence.memory_bytes()
    }
}

/// A leaf that is being read: extents come in their order.
pub(super) struct LeafBuilder {
    extents: Vec<LeafExtent>,
    checksums: Vec<u32>,
    origins: Vec<Origin>,
}

impl LeafBuilder {
    pub(super) fn with_capacity(count: usize) -> Self {
        Self {
            extents: Vec::with_capacity(count),
            checksums: Vec::new(),
            origins: Vec::with_capacity(count),
        }
    }

    /// Adds checksums of an extent of several blocks; returns where they begin.
    pub(super) fn push_checksums(&mut self, checksums: impl IntoIterator<Item = u32>) -> u32 {
        let begin = self.checksums.len() as u32;
        self.checksums.extend(checksums);
        begin
    }

    pub(super) fn push(&mut self, start: u64, body: Body, origin: Origin) {
        self.extents.push(LeafExtent { start, body });
        self.origins.push(origin);
    }

    pub(super) fn build(self) -> Leaf {
        let starts = |extent: Option<&LeafExtent>| extent.map_or(0, |extent| extent.start);
        let (first, last) = (starts(self.extents.first()), starts(self.extents.last()));
        let blocks = self
            .extents
            .iter()
            .map(|extent| extent.start..extent.start + extent.count());
        Leaf {
            presence: Presence::new(self.extents.len(), blocks),
            guess: Guess::new(first, last, self.extents.len()),
            extents: self.extents.into(),
            checksums: self.checksums.into(),
            origins: self.origins.into(),
        }
    }
}
