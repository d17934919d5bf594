//! Frames: pieces of a disk in a stream, and how it ended.
//!
//! ```text
//! | kind u8 | zero 3 B | payload bytes u32 | offset u64 | payload |      all numbers little-endian
//! ```
//!
//! **Invariant:** a stream that ends without [`Frame::Done`] or [`Frame::Failed`] was cut off; no other end is taken for
//! a whole one.

use std::ops::Range;

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};

use super::DATA_BYTES_MAX;

/// A failure or an answer is no longer than this.
const TEXT_BYTES_MAX: usize = 1 << 20;
const HEADER_BYTES: usize = 16;

const BEGIN: u8 = 1;
const DATA: u8 = 2;
const HOLE: u8 = 3;
const DONE: u8 = 4;
const FAILED: u8 = 5;

/// One frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Frame {
    /// The range of the disk that follows: the first frame of a response.
    Begin(Range<u64>),
    /// Data.
    Data {
        /// Where they begin, in bytes.
        offset: u64,
        /// What they are, at most 1 MiB.
        bytes: Bytes,
    },
    /// A range that reads as zeroes.
    Hole {
        /// Where it begins, in bytes.
        offset: u64,
        /// Its bytes.
        length: u64,
    },
    /// That was all.
    Done,
    /// That was not all; why, as JSON.
    Failed(Bytes),
}

/// Why bytes are no frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoFrame {
    /// A kind that is not known.
    #[error("a frame of the unknown kind {0}")]
    Kind(u8),
    /// Bytes that must be zero are not.
    #[error("a frame with bytes where zeroes belong")]
    Reserved,
    /// A payload of a length that its kind cannot have.
    #[error("a frame of kind {kind} with {bytes} bytes")]
    Length {
        /// The kind.
        kind: u8,
        /// The length.
        bytes: usize,
    },
    /// A range that goes past what can be addressed, or backwards.
    #[error("a frame with an impossible range")]
    Range,
}

impl Frame {
    /// Appends the frame to `out`.
    ///
    /// # Panics
    /// Panics if the payload is longer than a frame's can be.
    pub(crate) fn encode(&self, out: &mut BytesMut) {
        let mut header = |kind, bytes: usize, offset| {
            assert!(bytes <= DATA_BYTES_MAX.max(TEXT_BYTES_MAX), "a frame is too long");
            out.reserve(HEADER_BYTES + bytes);
            out.put_u8(kind);
            out.put_bytes(0, 3);
            out.put_u32_le(bytes as u32);
            out.put_u64_le(offset);
        };
        match self {
            Self::Begin(range) => {
                header(BEGIN, 8, range.start);
                out.put_u64_le(range.end);
            }
            Self::Data { offset, bytes } => {
                header(DATA, bytes.len(), *offset);
                out.put_slice(bytes);
            }
            Self::Hole { offset, length } => {
                header(HOLE, 8, *offset);
                out.put_u64_le(*length);
            }
            Self::Done => header(DONE, 0, 0),
            Self::Failed(text) => {
                header(FAILED, text.len(), 0);
                out.put_slice(text);
            }
        }
    }
}

/// Appends a frame of data, without a copy of these first.
pub(crate) fn encode_data(offset: u64, bytes: &[u8], out: &mut BytesMut) {
    out.reserve(HEADER_BYTES + bytes.len());
    out.put_u8(DATA);
    out.put_bytes(0, 3);
    out.put_u32_le(bytes.len() as u32);
    out.put_u64_le(offset);
    out.put_slice(bytes);
}

/// Makes frames of bytes that come in chunks of any length. Holds no more than one frame and the chunk that ended it.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    bytes: BytesMut,
}

impl Decoder {
    /// Adds bytes that came.
    pub(crate) fn push(&mut self, chunk: &[u8]) {
        self.bytes.extend_from_slice(chunk);
    }

    /// Takes the next frame, if all of it has come.
    ///
    /// # Errors
    /// [`NoFrame`]; what follows cannot be understood.
    pub(crate) fn next_frame(&mut self) -> Result<Option<Frame>, NoFrame> {
        let Some(mut header) = self.bytes.get(..HEADER_BYTES) else {
            return Ok(None);
        };
        let kind = header.get_u8();
        let reserved = [header.get_u8(), header.get_u8(), header.get_u8()];
        let bytes = header.get_u32_le() as usize;
        let offset = header.get_u64_le();
        // An end has no place on the disk.
        if reserved != [0; 3] || (matches!(kind, DONE | FAILED) && offset != 0) {
            return Err(NoFrame::Reserved);
        }
        let fits = match kind {
            BEGIN | HOLE => bytes == 8,
            DATA => (1..=DATA_BYTES_MAX).contains(&bytes),
            DONE => bytes == 0,
            FAILED => bytes <= TEXT_BYTES_MAX,
            kind => return Err(NoFrame::Kind(kind)),
        };
        if !fits {
            return Err(NoFrame::Length { kind, bytes });
        }
        if self.bytes.len() < HEADER_BYTES + bytes {
            return Ok(None);
        }
        self.bytes.advance(HEADER_BYTES);
        let mut payload = self.bytes.split_to(bytes).freeze();
        let frame = match kind {
            BEGIN => Frame::Begin(offset..payload.get_u64_le()),
            DATA => Frame::Data {
                offset,
                bytes: payload,
            },
            HOLE => Frame::Hole {
                offset,
                length: payload.get_u64_le(),
            },
            DONE => Frame::Done,
            _ => Frame::Failed(payload),
        };
        let possible = match &frame {
            Frame::Begin(range) => range.start <= range.end,
            Frame::Data { offset, bytes } => offset.checked_add(bytes.len() as u64).is_some(),
            Frame::Hole { offset, length } => offset.checked_add(*length).is_some(),
            Frame::Done | Frame::Failed(_) => true,
        };
        if !possible {
            return Err(NoFrame::Range);
        }
        Ok(Some(frame))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames() -> Vec<Frame> {
        vec![
            Frame::Begin(4096..1 << 40),
            Frame::Data {
                offset: 4096,
                bytes: Bytes::from_static(b"tine"),
            },
            Frame::Hole {
                offset: 8192,
                length: u64::MAX - 8192,
            },
            Frame::Failed(Bytes::from_static(b"{}")),
            Frame::Done,
        ]
    }

    #[test]
    fn frames_come_back_however_they_are_cut() {
        let mut bytes = BytesMut::new();
        frames().iter().for_each(|frame| frame.encode(&mut bytes));
        for chunk in 1..bytes.len() {
            let (mut decoder, mut found) = (Decoder::default(), Vec::new());
            for chunk in bytes.chunks(chunk) {
                decoder.push(chunk);
                while let Some(frame) = decoder.next_frame().unwrap() {
                    found.push(frame);
                }
            }
            assert_eq!(found, frames());
        }
    }

    #[test]
    fn what_is_no_frame_is_refused_before_it_takes_memory() {
        let refused = |bytes: &[u8]| {
            let mut decoder = Decoder::default();
            decoder.push(bytes);
            decoder.next_frame().unwrap_err()
        };
        let header = |kind: u8, bytes: u32, offset: u64| {
            let mut header = vec![kind, 0, 0, 0];
            header.extend(bytes.to_le_bytes());
            header.extend(offset.to_le_bytes());
            header
        };
        assert_eq!(refused(&header(9, 0, 0)), NoFrame::Kind(9));
        assert_eq!(
            refused(&[4, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
            NoFrame::Reserved
        );
        assert_eq!(refused(&header(DONE, 0, 1)), NoFrame::Reserved);
        assert_eq!(refused(&header(FAILED, 0, 1)), NoFrame::Reserved);
        for (kind, bytes) in [
            (DATA, u32::MAX),
            (DATA, 0),
            (HOLE, 4),
            (BEGIN, 0),
            (DONE, 1),
            (FAILED, 1 << 30),
        ] {
            let length = NoFrame::Length {
                kind,
                bytes: bytes as usize,
            };
            assert_eq!(refused(&header(kind, bytes, 0)), length);
        }
        let mut hole = header(HOLE, 8, 2);
        hole.extend(u64::MAX.to_le_bytes());
        assert_eq!(refused(&hole), NoFrame::Range);
    }
}
