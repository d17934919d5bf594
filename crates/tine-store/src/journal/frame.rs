//! Frames: the journal's all-or-nothing units.
//!
//! ```text
//! | header 128 B | records ... | zeroes to 4096 | block | block | ... |
//! ```
//!
//! The header's checksum covers header and records; each block's checksum is in its record. The chain value links a
//! frame to all frames of its epoch before it, beginning with the epoch's random nonce. What a guest wrote into a block
//! can look like a frame, but it knows neither the store's key nor the nonce.

use crate::block::BLOCK;
use crate::checksum::{chain, crc32c_of};
use crate::codec::{Decoder, Encoder};
use crate::error::Result;
use crate::journal::record::{FrameRef, Record};

/// Frames start on multiples of this.
pub(crate) const FRAME_ALIGNMENT: usize = 4096;
/// Bytes of a frame's header.
pub(crate) const HEADER_BYTES: usize = 128;
/// The largest frame, where the ring's files allow it.
pub(crate) const FRAME_BYTES_MAX: usize = 4 << 20;

const MAGIC: [u8; 8] = *b"tineFRM1";
/// Where the chain value lies in the header: the chain covers what is before and behind.
const CHAIN_AT: usize = 40;
/// Where the number of the copy lies, which the chain leaves out.
const COPY_AT: usize = 72;
const KEY_AT: usize = 76;
const RESERVED_AT: usize = 92;
const CHECKSUM_AT: usize = HEADER_BYTES - 4;

/// 128 random bits of the store, in every frame: nothing that a guest can write into a block knows them, nor do the
/// frames of another store.
pub(crate) type JournalKey = [u8; 16];

/// What a frame's header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) frame: FrameRef,
    /// The last frame of this epoch that was known to be durable when this one was written.
    pub(crate) synced_through: u64,
    /// The newest manifest announced up to and including this frame.
    pub(crate) manifest: u64,
    pub(crate) records_bytes: u32,
    pub(crate) payload_blocks: u32,
    /// Which of an epoch's two first frames this is; 0 for all others. Alone outside of the chain.
    pub(crate) copy: u32,
}

impl Header {
    /// Returns the bytes of header and records, rounded up to where the payload begins.
    pub(crate) fn head_bytes(&self) -> usize {
        head_bytes(self.records_bytes as usize)
    }

    /// Returns the bytes of the whole frame.
    pub(crate) fn frame_bytes(&self) -> usize {
        self.head_bytes() + self.payload_blocks as usize * BLOCK
    }
}

/// Returns the bytes that header and `records` bytes of records take, payload not counted.
pub(crate) fn head_bytes(records: usize) -> usize {
    (HEADER_BYTES + records).next_multiple_of(FRAME_ALIGNMENT)
}

/// Returns the value that the chain of an epoch begins with.
pub(crate) fn chain_start(nonce: &[u8; 16]) -> u64 {
    chain(0, &[nonce])
}

/// Writes a frame's head (header, records, zeroes) into `out` and returns the frame's chain value.
///
/// `frame.chain` is ignored: it follows from `previous_chain`.
pub(crate) fn encode_head(
    header: &Header,
    key: &JournalKey,
    previous_chain: u64,
    records: &[u8],
    out: &mut Vec<u8>,
) -> u64 {
    let start = out.len();
    let mut encoder = Encoder {
        bytes: std::mem::take(out),
    };
    encoder.raw(&MAGIC);
    encoder.raw(&header.frame.nonce);
    encoder.u64(header.frame.epoch);
    encoder.u64(header.frame.sequence);
    encoder.u64(0);
    encoder.u64(header.synced_through);
    encoder.u64(header.manifest);
    encoder.count(records.len());
    encoder.u32(header.payload_blocks);
    encoder.u32(header.copy);
    encoder.raw(key);
    encoder.bytes.resize(start + HEADER_BYTES, 0);
    encoder.raw(records);
    *out = encoder.bytes;
    let link = link(previous_chain, &out[start..start + HEADER_BYTES], records);
    out[start + CHAIN_AT..start + CHAIN_AT + 8].copy_from_slice(&link.to_le_bytes());
    let checksum = head_checksum(&out[start..]);
    out[start + CHECKSUM_AT..start + HEADER_BYTES].copy_from_slice(&checksum.to_le_bytes());
    out.resize(start + head_bytes(records.len()), 0);
    link
}

fn link(previous_chain: u64, header: &[u8], records: &[u8]) -> u64 {
    let covered = [
        &header[..CHAIN_AT],
        &header[CHAIN_AT + 8..COPY_AT],
        &header[KEY_AT..CHECKSUM_AT],
        records,
    ];
    chain(previous_chain, &covered)
}

fn head_checksum(head: &[u8]) -> u32 {
    crc32c_of(&[&head[..CHECKSUM_AT], &head[HEADER_BYTES..]])
}

/// Reads a header's fields, without any check of its checksum; `None` if it is no header of this store at all.
pub(crate) fn decode_header(bytes: &[u8], key: &JournalKey) -> Option<Header> {
    let is_header = bytes.len() >= HEADER_BYTES
        && bytes[..8] == MAGIC
        && bytes[KEY_AT..RESERVED_AT] == *key
        && bytes[RESERVED_AT..CHECKSUM_AT].iter().all(|&byte| byte == 0);
    if !is_header {
        return None;
    }
    let mut from = Decoder::new("frame header", &bytes[8..HEADER_BYTES]);
    let nonce = from.nonce().ok()?;
    let (epoch, sequence, chain) = (from.u64().ok()?, from.u64().ok()?, from.u64().ok()?);
    Some(Header {
        frame: FrameRef {
            epoch,
            nonce,
            sequence,
            chain,
        },
        synced_through: from.u64().ok()?,
        manifest: from.u64().ok()?,
        records_bytes: from.u32().ok()?,
        payload_blocks: from.u32().ok()?,
        copy: from.u32().ok()?,
    })
}

/// Tells whether the head (header and records, `head` holding at least those) has its checksum.
pub(crate) fn head_is_whole(header: &Header, head: &[u8]) -> bool {
    let end = HEADER_BYTES + header.records_bytes as usize;
    let stored = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
    head.len() >= end && head_checksum(&head[..end]) == stored(CHECKSUM_AT)
}

/// Tells whether a whole head follows the frame whose chain value is given.
pub(crate) fn follows(header: &Header, head: &[u8], previous_chain: u64) -> bool {
    let records = &head[HEADER_BYTES..HEADER_BYTES + header.records_bytes as usize];
    link(previous_chain, &head[..HEADER_BYTES], records) == header.frame.chain
}

/// Decodes a whole head's records.
pub(crate) fn decode_records(header: &Header, head: &[u8]) -> Result<Vec<Record>> {
    let mut from = Decoder::new(
        "journal",
        &head[HEADER_BYTES..HEADER_BYTES + header.records_bytes as usize],
    );
    let mut records = Vec::new();
    while from.left() > 0 {
        records.push(Record::decode(&mut from)?);
    }
    Ok(records)
}

/// Returns the (stretch, group, block, checksum) of every block of the payload, in order.
pub(crate) fn payload_blocks(records: &[Record]) -> impl Iterator<Item = (u64, u64, u64, u32)> {
    records.iter().flat_map(|record| {
        let (stretch, group, blocks): (_, _, &[(u64, u32)]) = match record {
            Record::Blocks {
                stretch,
                group,
                blocks,
            } => (*stretch, *group, blocks),
            _ => (0, 0, &[]),
        };
        blocks
            .iter()
            .map(move |&(block, checksum)| (stretch, group, block, checksum))
    })
}
