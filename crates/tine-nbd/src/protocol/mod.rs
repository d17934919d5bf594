//! The protocol's numbers and bytes, as pure functions: nothing here knows a socket.
//!
//! **Invariant:** any bytes are parsed without a panic, and without memory beyond what they hold.

pub(crate) mod option;
pub(crate) mod reply;
pub(crate) mod request;

use crate::export::Features;

/// How requests and replies begin, as negotiated (proto.md, "Transmission"). Each includes what the one before it can.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Headers {
    /// Simple replies: a number for an error, and nothing but data for a read.
    Simple,
    /// Structured replies: chunks, and words for errors.
    Structured,
    /// Extended headers: the same, with lengths of 64 bits.
    Extended,
}

/// A context that a client selected, with the number under which replies name it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Context {
    pub(crate) id: u32,
    pub(crate) name: String,
}

/// `NBDMAGIC` and `IHAVEOPT` (proto.md, "Newstyle negotiation").
pub(crate) const GREETING_MAGIC: u64 = 0x4e42_444d_4147_4943;
pub(crate) const OPTION_MAGIC: u64 = 0x4948_4156_454f_5054;
pub(crate) const OPTION_REPLY_MAGIC: u64 = 0x0003_e889_0455_65a9;

/// The first bytes of requests and replies.
pub(crate) const REQUEST_MAGIC: u32 = 0x2560_9513;
pub(crate) const SIMPLE_REPLY_MAGIC: u32 = 0x6744_6698;
pub(crate) const STRUCTURED_REPLY_MAGIC: u32 = 0x668e_33ef;
pub(crate) const EXTENDED_REQUEST_MAGIC: u32 = 0x21e4_1c71;
pub(crate) const EXTENDED_REPLY_MAGIC: u32 = 0x6e8a_278c;

/// The longest string (proto.md, "Conventions").
pub(crate) const MAX_STRING_BYTES: usize = 4096;

/// Flags of the server's greeting and of the client's answer.
pub(crate) const FLAG_FIXED_NEWSTYLE: u16 = 1 << 0;
pub(crate) const FLAG_NO_ZEROES: u16 = 1 << 1;

/// Transmission flags (proto.md, "Transmission flags").
pub(crate) mod transmission {
    pub(crate) const HAS_FLAGS: u16 = 1 << 0;
    pub(crate) const READ_ONLY: u16 = 1 << 1;
    pub(crate) const SEND_FLUSH: u16 = 1 << 2;
    pub(crate) const SEND_FUA: u16 = 1 << 3;
    pub(crate) const SEND_TRIM: u16 = 1 << 5;
    pub(crate) const SEND_WRITE_ZEROES: u16 = 1 << 6;
    pub(crate) const SEND_DF: u16 = 1 << 7;
    pub(crate) const CAN_MULTI_CONN: u16 = 1 << 8;
    pub(crate) const SEND_CACHE: u16 = 1 << 10;
    pub(crate) const SEND_FAST_ZERO: u16 = 1 << 11;
    pub(crate) const BLOCK_STATUS_PAYLOAD: u16 = 1 << 12;
}

/// Returns the transmission flags of an export for a client that negotiated `headers` and, if `has_contexts`, contexts of it.
pub(crate) fn transmission_flags(features: Features, headers: Headers, has_contexts: bool) -> u16 {
    use transmission::*;

    let mut flags = HAS_FLAGS | SEND_FLUSH | SEND_FUA | SEND_CACHE;
    flags |= if features.read_only {
        READ_ONLY
    } else {
        SEND_TRIM | SEND_WRITE_ZEROES | SEND_FAST_ZERO
    };
    if features.multi_conn {
        flags |= CAN_MULTI_CONN;
    }
    if headers >= Headers::Structured {
        flags |= SEND_DF;
    }
    if headers == Headers::Extended && has_contexts {
        flags |= BLOCK_STATUS_PAYLOAD;
    }
    flags
}

/// Returns as much of `text` as a string may have, cut between characters.
pub(crate) fn cut(text: &str) -> &str {
    let end = text.len().min(MAX_STRING_BYTES);
    let end = (0..=end).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    &text[..end]
}

/// Reads numbers, as the protocol has them, from the front of bytes.
#[derive(Clone, Copy)]
pub(crate) struct Fields<'a>(pub(crate) &'a [u8]);

impl<'a> Fields<'a> {
    pub(crate) fn bytes(&mut self, length: usize) -> Option<&'a [u8]> {
        let (front, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(front)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (front, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*front)
    }

    pub(crate) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_text_is_cut_between_characters() {
        let text = "ä".repeat(MAX_STRING_BYTES);
        assert_eq!(cut(&text).len(), MAX_STRING_BYTES);
        let odd = format!("x{text}");
        assert_eq!(cut(&odd).len(), MAX_STRING_BYTES - 1);
        assert_eq!(cut("short"), "short");
    }

    #[test]
    fn a_read_only_export_offers_nothing_that_writes() {
        let features = Features {
            read_only: true,
            multi_conn: true,
        };
        let flags = transmission_flags(features, Headers::Simple, false);
        assert_eq!(flags, 0b101_0000_1111);
    }
}
