//! The format, byte by byte: a header, records in ascending order of pages, an end.
//!
//! Each checksum goes on from the one before, so that no record can be lost, doubled or moved.

use std::io::{self, Read};

use crc_fast::{CrcAlgorithm, Digest};

use crate::{Error, PAGE_BYTES, Result};

pub(super) const MAGIC: [u8; 8] = *b"tinemem\0";
pub(super) const VERSION: u32 = 1;
pub(super) const HEADER_BYTES: usize = 64;
pub(super) const RECORD_BYTES: usize = 32;

/// The most pages that a record has the contents of.
pub(super) const RECORD_PAGES_MAX: usize = 256;

/// Which state of a region: drawn at random when it is marked.
pub(crate) type StateId = [u8; 16];

/// No state: what a full save continues.
pub(super) const NOTHING: StateId = [0; 16];

/// What a stream holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Header {
    pub(super) length: u64,
    /// The state that it continues, or `NOTHING`.
    pub(super) from: StateId,
    pub(super) to: StateId,
}

/// What a record says of its pages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// Their contents follow.
    Data,
    /// They are zero.
    Zero,
    /// There are none: all was said. Its first page is the region's number of pages, its count that of the records before it.
    End,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Record {
    pub(super) kind: Kind,
    pub(super) first: u64,
    pub(super) count: u64,
}

/// The checksum of all that was written or read.
#[derive(Clone, Copy)]
pub(super) struct Chain(u32);

impl Chain {
    pub(super) fn new() -> Self {
        Self(0)
    }

    /// Goes on with `parts`, and returns the checksum so far.
    pub(super) fn next(&mut self, parts: &[&[u8]]) -> u32 {
        let mut digest = Digest::new(CrcAlgorithm::Crc32Iscsi);
        digest.update(&self.0.to_le_bytes());
        for part in parts {
            digest.update(part);
        }
        // A crc32 has 32 bits.
        self.0 = u32::try_from(digest.finalize()).expect("32 bits");
        self.0
    }
}

impl Header {
    pub(super) fn encode(&self, chain: &mut Chain) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        bytes[12..16].copy_from_slice(&PAGE_U32.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.length.to_le_bytes());
        bytes[24..40].copy_from_slice(&self.from);
        bytes[40..56].copy_from_slice(&self.to);
        let checksum = chain.next(&[&bytes[..60]]);
        bytes[60..].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    pub(super) fn decode(bytes: &[u8; HEADER_BYTES], chain: &mut Chain) -> Result<Self> {
        let damaged = |offset, what| Error::Damaged { offset, what };
        if bytes[..8] != MAGIC {
            return Err(damaged(0, "it does not begin as a saved region does"));
        }
        let version = u32_at(bytes, 8);
        if version != VERSION {
            return Err(Error::Format {
                found: version,
                known: VERSION,
            });
        }
        if u32_at(bytes, 60) != chain.next(&[&bytes[..60]]) {
            return Err(damaged(60, "the header's checksum is wrong"));
        }
        if u32_at(bytes, 12) != PAGE_U32 || bytes[56..60] != [0; 4] {
            return Err(damaged(12, "the header says what is not in this format"));
        }
        let mut header = Self {
            length: u64_at(bytes, 16),
            from: NOTHING,
            to: NOTHING,
        };
        header.from.copy_from_slice(&bytes[24..40]);
        header.to.copy_from_slice(&bytes[40..56]);
        Ok(header)
    }
}

const PAGE_U32: u32 = 4096;
const _: () = assert!(PAGE_U32 as usize == PAGE_BYTES);

impl Record {
    /// Encodes a record for the contents that follow it.
    pub(super) fn encode(&self, content: &[u8], chain: &mut Chain) -> [u8; RECORD_BYTES] {
        let mut bytes = [0; RECORD_BYTES];
        let kind: u32 = match self.kind {
            Kind::Data => 1,
            Kind::Zero => 2,
            Kind::End => 3,
        };
        bytes[..4].copy_from_slice(&kind.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.first.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.count.to_le_bytes());
        let head = chain.next(&[&bytes[..24]]);
        bytes[24..28].copy_from_slice(&head.to_le_bytes());
        let checksum = chain.next(&[content]);
        bytes[28..].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    /// Decodes a record, and returns the checksum that its contents must have.
    pub(super) fn decode(bytes: &[u8; RECORD_BYTES], offset: u64, chain: &mut Chain) -> Result<(Self, u32)> {
        let damaged = |what| Error::Damaged { offset, what };
        // Before anything in it is believed, its length above all.
        if u32_at(bytes, 24) != chain.next(&[&bytes[..24]]) {
            return Err(damaged("a record's checksum is wrong"));
        }
        let kind = match u32_at(bytes, 0) {
            1 => Kind::Data,
            2 => Kind::Zero,
            3 => Kind::End,
            _ => return Err(damaged("a record is of no known kind")),
        };
        if u32_at(bytes, 4) != 0 {
            return Err(damaged("a record's reserved bytes are not zero"));
        }
        let record = Self {
            kind,
            first: u64_at(bytes, 8),
            count: u64_at(bytes, 16),
        };
        Ok((record, u32_at(bytes, 28)))
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(word)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(word)
}

/// Reads what has to be there.
pub(super) fn read_whole(input: &mut impl Read, bytes: &mut [u8], offset: u64) -> Result {
    input.read_exact(bytes).map_err(|error| {
        if error.kind() == io::ErrorKind::UnexpectedEof {
            return Error::Damaged {
                offset,
                what: "it ends before its end",
            };
        }
        Error::stream("reading what was saved")(error)
    })
}
