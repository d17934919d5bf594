//! Replies of transmission (proto.md, "Simple reply message", "Structured reply chunk message", "Extended reply chunk message").

use crate::error::Fault;
use crate::export::Extent;
use crate::protocol::{EXTENDED_REPLY_MAGIC, Headers, SIMPLE_REPLY_MAGIC, STRUCTURED_REPLY_MAGIC, cut};

/// Chunk types.
pub(crate) mod chunk {
    pub(crate) const NONE: u16 = 0;
    pub(crate) const OFFSET_DATA: u16 = 1;
    pub(crate) const OFFSET_HOLE: u16 = 2;
    pub(crate) const BLOCK_STATUS: u16 = 5;
    pub(crate) const BLOCK_STATUS_EXT: u16 = 6;
    pub(crate) const ERROR: u16 = (1 << 15) + 1;
}

/// `NBD_REPLY_FLAG_DONE`: the last chunk of a reply.
const DONE: u16 = 1;

/// The longest of what this module returns before a reply's data: an extended header, an offset and the size of a hole.
const MAX_HEAD_BYTES: usize = 32 + 8 + 4;

/// To which request a reply belongs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Replying {
    pub(crate) headers: Headers,
    pub(crate) cookie: u64,
    /// Where the request's range begins.
    pub(crate) offset: u64,
}

/// Bytes of a reply that stand before its data, or are all of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Head {
    bytes: [u8; MAX_HEAD_BYTES],
    length: usize,
}

impl Head {
    fn new() -> Self {
        Self {
            bytes: [0; MAX_HEAD_BYTES],
            length: 0,
        }
    }

    fn put<const N: usize>(mut self, field: [u8; N]) -> Self {
        let end = self.length + N;
        self.bytes[self.length..end].copy_from_slice(&field);
        self.length = end;
        self
    }
}

impl std::ops::Deref for Head {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

impl Replying {
    /// Returns the reply to a request that succeeded and has nothing to show.
    pub(crate) fn success(self) -> Head {
        match self.headers {
            // Simple replies stay allowed for all but reads and block status.
            Headers::Simple | Headers::Structured => self.simple(0),
            Headers::Extended => self.chunk(chunk::NONE, true, 0),
        }
    }

    /// Returns the end of a structured or extended reply of which nothing else is left to send.
    pub(crate) fn end(self) -> Head {
        self.chunk(chunk::NONE, true, 0)
    }

    /// Returns the reply to a request that failed: its only chunk, or the one that ends it.
    pub(crate) fn fault(self, fault: &Fault) -> Vec<u8> {
        if self.headers == Headers::Simple {
            return self.simple(fault.errno.number()).to_vec();
        }
        let message = cut(&fault.message).as_bytes();
        let head = self
            .chunk(chunk::ERROR, true, 6 + message.len() as u64)
            .put(fault.errno.number().to_be_bytes())
            .put((message.len() as u16).to_be_bytes());
        [&head, message].concat()
    }

    /// Returns what stands before the data of a read: of all of it for simple replies, else of one chunk.
    pub(crate) fn data(self, offset: u64, length: u32, last: bool) -> Head {
        match self.headers {
            Headers::Simple => self.simple(0),
            Headers::Structured | Headers::Extended => self
                .chunk(chunk::OFFSET_DATA, last, 8 + u64::from(length))
                .put(offset.to_be_bytes()),
        }
    }

    /// Returns a chunk that says of a range that it reads as zeroes. Not for simple replies.
    pub(crate) fn hole(self, offset: u64, length: u32, last: bool) -> Head {
        self.chunk(chunk::OFFSET_HOLE, last, 12)
            .put(offset.to_be_bytes())
            .put(length.to_be_bytes())
    }

    /// Returns the chunk that tells what one context says. Not for simple replies.
    pub(crate) fn extents(self, context: u32, extents: &[Extent], last: bool) -> Vec<u8> {
        let count = extents.len();
        if self.headers == Headers::Extended {
            let head = self
                .chunk(chunk::BLOCK_STATUS_EXT, last, 8 + 16 * count as u64)
                .put(context.to_be_bytes())
                .put((count as u32).to_be_bytes());
            let mut bytes = head.to_vec();
            for extent in extents {
                bytes.extend(extent.length.to_be_bytes());
                bytes.extend(extent.flags.to_be_bytes());
            }
            return bytes;
        }
        let head = self.chunk(chunk::BLOCK_STATUS, last, 4 + 8 * count as u64);
        let mut bytes = head.put(context.to_be_bytes()).to_vec();
        for extent in extents {
            bytes.extend((extent.length as u32).to_be_bytes());
            bytes.extend((extent.flags as u32).to_be_bytes());
        }
        bytes
    }

    fn simple(self, errno: u32) -> Head {
        Head::new()
            .put(SIMPLE_REPLY_MAGIC.to_be_bytes())
            .put(errno.to_be_bytes())
            .put(self.cookie.to_be_bytes())
    }

    fn chunk(self, kind: u16, last: bool, length: u64) -> Head {
        let flags = if last { DONE } else { 0 };
        let extended = self.headers == Headers::Extended;
        let magic = if extended {
            EXTENDED_REPLY_MAGIC
        } else {
            STRUCTURED_REPLY_MAGIC
        };
        let head = Head::new()
            .put(magic.to_be_bytes())
            .put(flags.to_be_bytes())
            .put(kind.to_be_bytes())
            .put(self.cookie.to_be_bytes());
        match extended {
            true => head.put(self.offset.to_be_bytes()).put(length.to_be_bytes()),
            false => head.put((length as u32).to_be_bytes()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Errno;

    fn replying(headers: Headers) -> Replying {
        Replying {
            headers,
            cookie: 0x0102_0304_0506_0708,
            offset: 0x10,
        }
    }

    #[test]
    fn heads_are_as_long_as_the_protocol_says() {
        let simple = replying(Headers::Simple);
        let structured = replying(Headers::Structured);
        let extended = replying(Headers::Extended);
        assert_eq!(simple.success().len(), 16);
        assert_eq!(structured.success().len(), 16);
        assert_eq!(extended.success().len(), 32);
        assert_eq!(simple.data(0, 1, true).len(), 16);
        assert_eq!(structured.data(0, 1, true).len(), 28);
        assert_eq!(extended.data(0, 1, true).len(), 40);
        assert_eq!(structured.hole(0, 1, true).len(), 32);
        assert_eq!(extended.hole(0, 1, true).len(), MAX_HEAD_BYTES);
    }

    #[test]
    fn a_fault_has_words_where_they_can_be_sent() {
        let fault = Fault::new(Errno::NoSpace, "full");
        assert_eq!(replying(Headers::Simple).fault(&fault)[4..8], [0, 0, 0, 28]);
        let bytes = replying(Headers::Structured).fault(&fault);
        assert_eq!(bytes[..8], [0x66, 0x8e, 0x33, 0xef, 0, 1, 0x80, 1]);
        assert_eq!(bytes[16..], *b"\0\0\0\x0a\0\0\0\x1c\0\x04full");
    }

    #[test]
    fn extended_extents_have_64_bits() {
        let extent = Extent {
            length: 1 << 40,
            flags: 3,
        };
        let bytes = replying(Headers::Extended).extents(5, &[extent], true);
        assert_eq!(bytes.len(), 32 + 8 + 16);
        assert_eq!(bytes[32..40], [0, 0, 0, 5, 0, 0, 0, 1]);
        assert_eq!(bytes[40..48], (1_u64 << 40).to_be_bytes());
        let short = Extent {
            length: 512,
            flags: 3,
        };
        let bytes = replying(Headers::Structured).extents(5, &[short, short], false);
        assert_eq!(bytes.len(), 20 + 4 + 16);
        assert_eq!(bytes[16..20], [0, 0, 0, 20]);
    }
}
