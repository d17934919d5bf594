//! Runs: what a checkpoint saves of a stretch, sorted by block.
//!
//! ```text
//! | count | extent | extent | ... |
//! extent: start, count, kind, and for data: segment, first block, a checksum for each block
//! ```
//!
//! A run is named by where it lies and its checksum ([`RunRef`]), so a manifest vouches for its runs, and they for
//! the data.

use crate::codec::{Decoder, Encoder};
use crate::error::Result;
use crate::segment::SegmentId;

/// The most blocks of a data extent: 1 KiB of checksums.
pub(crate) const EXTENT_BLOCKS_MAX: usize = 256;

/// Where a run lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RunRef {
    pub(crate) segment: SegmentId,
    pub(crate) offset: u64,
    pub(crate) bytes: u64,
    pub(crate) checksum: u32,
    pub(crate) extents: u32,
}

impl RunRef {
    pub(crate) fn encode(&self, out: &mut Encoder) {
        out.u64(self.segment.to_u64());
        out.u64(self.offset);
        out.u64(self.bytes);
        out.u32(self.checksum);
        out.u32(self.extents);
    }

    pub(crate) fn decode(from: &mut Decoder<'_>) -> Result<Self> {
        Ok(Self {
            segment: SegmentId::from_u64(from.u64()?),
            offset: from.u64()?,
            bytes: from.u64()?,
            checksum: from.u32()?,
            extents: from.u32()?,
        })
    }
}

/// Consecutive blocks with content of one kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RunExtent {
    /// Blocks that lie one behind the other in a segment.
    Data {
        start: u64,
        segment: SegmentId,
        first: u32,
        checksums: Vec<u32>,
    },
    /// Blocks that read as zeroes.
    Zero { start: u64, count: u64, hole: bool },
}

const DATA: u8 = 1;
const ZERO: u8 = 2;
const HOLE: u8 = 3;

/// Appends a run's bytes.
pub(crate) fn encode(extents: &[RunExtent], out: &mut Encoder) {
    out.count(extents.len());
    for extent in extents {
        match extent {
            RunExtent::Data {
                start,
                segment,
                first,
                checksums,
            } => {
                out.u64(*start);
                out.u64(checksums.len() as u64);
                out.u8(DATA);
                out.u64(segment.to_u64());
                out.u32(*first);
                for checksum in checksums {
                    out.u32(*checksum);
                }
            }
            RunExtent::Zero { start, count, hole } => {
                out.u64(*start);
                out.u64(*count);
                out.u8(if *hole { HOLE } else { ZERO });
            }
        }
    }
}

/// Reads a run whose checksum was verified.
pub(crate) fn decode(bytes: &[u8]) -> Result<Vec<RunExtent>> {
    let mut from = Decoder::new("run", bytes);
    let count = from.count(17)?;
    let mut extents = Vec::with_capacity(count);
    let mut end = 0u64;
    for _ in 0..count {
        let (start, count) = (from.u64()?, from.u64()?);
        let next = start.checked_add(count).filter(|_| start >= end && count > 0);
        end = next.ok_or_else(|| from.invalid("the extents are not in order"))?;
        extents.push(match from.u8()? {
            DATA if count <= EXTENT_BLOCKS_MAX as u64 => {
                let (segment, first) = (SegmentId::from_u64(from.u64()?), from.u32()?);
                first
                    .checked_add(count as u32)
                    .ok_or_else(|| from.invalid("an extent overflows its segment"))?;
                let checksums = (0..count).map(|_| from.u32()).collect::<Result<_>>()?;
                RunExtent::Data {
                    start,
                    segment,
                    first,
                    checksums,
                }
            }
            ZERO => RunExtent::Zero {
                start,
                count,
                hole: false,
            },
            HOLE => RunExtent::Zero {
                start,
                count,
                hole: true,
            },
            _ => return Err(from.invalid("an extent of unknown kind or length")),
        });
    }
    from.end()?;
    Ok(extents)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_encoded_is_decoded_and_cut_short_is_refused() {
        let segment = SegmentId { epoch: 3, counter: 4 };
        let extents = vec![
            RunExtent::Zero {
                start: 0,
                count: 1 << 40,
                hole: true,
            },
            RunExtent::Data {
                start: 1 << 40,
                segment,
                first: 7,
                checksums: vec![1, 2, 3],
            },
        ];
        let mut out = Encoder::default();
        encode(&extents, &mut out);
        assert_eq!(decode(&out.bytes).unwrap(), extents);
        for length in 0..out.bytes.len() {
            assert!(decode(&out.bytes[..length]).is_err(), "{length} bytes");
        }
    }
}
