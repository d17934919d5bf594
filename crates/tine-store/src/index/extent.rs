//! Extents: consecutive blocks with content of one kind, written in one stretch.

use crate::buffer::StretchId;
use crate::segment::SegmentId;

/// The most blocks of a data extent: 1 KiB of checksums.
pub(crate) const EXTENT_BLOCKS_MAX: u64 = 256;

/// What an extent's blocks hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    /// Blocks that lie one behind the other in a segment, with the checksum of each.
    Data {
        segment: SegmentId,
        first: u32,
        checksums: Vec<u32>,
    },
    /// Zeroes that were written.
    Zero,
    /// Zeroes since a discard.
    Hole,
}

/// Consecutive blocks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Extent {
    pub(crate) start: u64,
    pub(crate) count: u64,
    /// The stretch that wrote them.
    pub(crate) birth: StretchId,
    pub(crate) content: Content,
}

impl Extent {
    /// Returns the first block behind it.
    pub(crate) fn end(&self) -> u64 {
        self.start + self.count
    }

    /// Cuts off what lies before `block`, which is inside, and returns it.
    pub(crate) fn cut_front(&mut self, block: u64) -> Self {
        debug_assert!(self.start < block && block < self.end());
        let taken = block - self.start;
        let content = match &mut self.content {
            Content::Data {
                segment,
                first,
                checksums,
            } => {
                let rest = checksums.split_off(taken as usize);
                let front = Content::Data {
                    segment: *segment,
                    first: *first,
                    checksums: std::mem::replace(checksums, rest),
                };
                *first += taken as u32;
                front
            }
            Content::Zero => Content::Zero,
            Content::Hole => Content::Hole,
        };
        let front = Self {
            start: self.start,
            count: taken,
            birth: self.birth,
            content,
        };
        self.start = block;
        self.count -= taken;
        front
    }

    /// Takes in an extent that goes on where this one ends; gives it back if the two are not one.
    pub(crate) fn append(&mut self, next: Self) -> Result<(), Self> {
        let end = self.end();
        if end != next.start || self.birth != next.birth {
            return Err(next);
        }
        match (&mut self.content, &next.content) {
            (Content::Zero, Content::Zero) | (Content::Hole, Content::Hole) => {}
            (
                Content::Data {
                    segment,
                    first,
                    checksums,
                },
                Content::Data {
                    segment: next_segment,
                    first: next_first,
                    checksums: more,
                },
            ) if segment == next_segment
                && u64::from(*first) + self.count == u64::from(*next_first)
                && self.count + next.count <= EXTENT_BLOCKS_MAX =>
            {
                checksums.extend_from_slice(more);
            }
            _ => return Err(next),
        }
        self.count += next.count;
        Ok(())
    }
}
