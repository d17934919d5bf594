//! The format of segments.
//!
//! ```text
//! | header 4096 | block | block | ... | footer | trailer 32 |      data segments
//! | header 4096 | node | node | ... |            trailer 32 |      index segments
//! ```
//!
//! A footer says which block of which stretch and group each block of the segment is. Nodes are found by their parents, roots by manifests.

use crate::buffer::{StretchId, Tombstone};
use crate::checksum::crc32c;
use crate::codec::{Decoder, Encoder};
use crate::error::{Result, StoreError};
use crate::segment::SegmentId;

/// Bytes of a segment's header; the first block follows.
pub(crate) const SEGMENT_HEADER_BYTES: u64 = 4096;
/// Bytes of a segment's trailer.
pub(crate) const TRAILER_BYTES: usize = 32;

const HEADER_MAGIC: [u8; 8] = *b"tineSEG1";
const TRAILER_MAGIC: [u8; 8] = *b"tineEND1";

/// What a segment holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SegmentKind {
    /// Blocks, and a footer.
    Data = 1,
    /// Runs.
    Index = 2,
}

/// Returns a segment's header.
pub(crate) fn encode_header(id: SegmentId, kind: SegmentKind) -> Vec<u8> {
    let mut out = Encoder::default();
    out.raw(&HEADER_MAGIC);
    out.u64(id.to_u64());
    out.u32(kind as u32);
    out.bytes.resize(SEGMENT_HEADER_BYTES as usize - 4, 0);
    let checksum = crc32c(&out.bytes);
    out.u32(checksum);
    out.bytes
}

/// Checks a segment's header.
pub(crate) fn check_header(bytes: &[u8], id: SegmentId, kind: SegmentKind) -> Result<()> {
    if bytes == encode_header(id, kind) {
        Ok(())
    } else {
        Err(StoreError::damaged(format!("segments/{id}: the header is bad")))
    }
}

/// One block of a data segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StoredBlock {
    pub(crate) block: u64,
    pub(crate) group: u64,
    pub(crate) checksum: u32,
    /// Which of the segment's blocks it is.
    pub(crate) at: u32,
}

/// All of one stretch that a segment holds, in the order of the blocks' numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) stretch: StretchId,
    /// Of the parts of a stretch that one frame publishes the last one's is the group up to which all of them together
    /// hold everything that no earlier part does; theirs ascend.
    pub(crate) upto: u64,
    pub(crate) blocks: Vec<StoredBlock>,
    pub(crate) tombstones: Vec<(u64, Tombstone)>,
}

/// Returns a data segment's footer.
pub(crate) fn encode_footer(parts: &[Part]) -> Vec<u8> {
    let mut out = Encoder::default();
    out.count(parts.len());
    for part in parts {
        out.u64(part.stretch);
        out.u64(part.upto);
        out.count(part.blocks.len());
        for stored in &part.blocks {
            out.u64(stored.block);
            out.u64(stored.group);
            out.u32(stored.checksum);
            out.u32(stored.at);
        }
        out.count(part.tombstones.len());
        for (group, tombstone) in &part.tombstones {
            out.u64(*group);
            out.u64(tombstone.start);
            out.u64(tombstone.count);
            out.u8(u8::from(tombstone.hole));
        }
    }
    out.bytes
}

/// Reads a footer whose checksum was verified.
pub(crate) fn decode_footer(bytes: &[u8]) -> Result<Vec<Part>> {
    let mut from = Decoder::new("segment footer", bytes);
    let count = from.count(24)?;
    let mut parts = Vec::with_capacity(count);
    for _ in 0..count {
        let (stretch, upto) = (from.u64()?, from.u64()?);
        let blocks = from.count(24)?;
        let blocks = (0..blocks)
            .map(|_| {
                Ok(StoredBlock {
                    block: from.u64()?,
                    group: from.u64()?,
                    checksum: from.u32()?,
                    at: from.u32()?,
                })
            })
            .collect::<Result<Vec<_>>>()?;
        let tombstones = from.count(25)?;
        let tombstones = (0..tombstones)
            .map(|_| {
                let group = from.u64()?;
                Ok((
                    group,
                    Tombstone {
                        start: from.u64()?,
                        count: from.u64()?,
                        hole: from.flag()?,
                    },
                ))
            })
            .collect::<Result<Vec<_>>>()?;
        parts.push(Part {
            stretch,
            upto,
            blocks,
            tombstones,
        });
    }
    from.end()?;
    Ok(parts)
}

/// What a segment's last bytes say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Trailer {
    pub(crate) footer_offset: u64,
    pub(crate) footer_bytes: u64,
    pub(crate) footer_checksum: u32,
}

/// Returns a trailer.
pub(crate) fn encode_trailer(trailer: &Trailer) -> Vec<u8> {
    let mut out = Encoder::default();
    out.u64(trailer.footer_offset);
    out.u64(trailer.footer_bytes);
    out.u32(trailer.footer_checksum);
    let checksum = crc32c(&out.bytes);
    out.u32(checksum);
    out.raw(&TRAILER_MAGIC);
    out.bytes
}

/// Reads a trailer.
pub(crate) fn decode_trailer(bytes: &[u8]) -> Result<Trailer> {
    let mut from = Decoder::new("segment trailer", bytes);
    let trailer = Trailer {
        footer_offset: from.u64()?,
        footer_bytes: from.u64()?,
        footer_checksum: from.u32()?,
    };
    let checksum = from.u32()?;
    if checksum != crc32c(&bytes[..20]) || from.raw(8)? != TRAILER_MAGIC {
        return Err(from.invalid("is bad"));
    }
    Ok(trailer)
}
