//! Requests: what a client asks for in transmission (proto.md, "Request message", "Request types").

use crate::error::{Errno, Fault};
use crate::export::Zeroing;
use crate::limits::MAX_REQUEST_BYTES;
use crate::protocol::{EXTENDED_REQUEST_MAGIC, Fields, Headers, REQUEST_MAGIC};

/// Request types.
pub(crate) mod kind {
    pub(crate) const READ: u16 = 0;
    pub(crate) const WRITE: u16 = 1;
    pub(crate) const DISCONNECT: u16 = 2;
    pub(crate) const FLUSH: u16 = 3;
    pub(crate) const TRIM: u16 = 4;
    pub(crate) const CACHE: u16 = 5;
    pub(crate) const WRITE_ZEROES: u16 = 6;
    pub(crate) const BLOCK_STATUS: u16 = 7;
}

/// Command flags.
pub(crate) mod flag {
    pub(crate) const FUA: u16 = 1 << 0;
    pub(crate) const NO_HOLE: u16 = 1 << 1;
    pub(crate) const DF: u16 = 1 << 2;
    pub(crate) const REQ_ONE: u16 = 1 << 3;
    pub(crate) const FAST_ZERO: u16 = 1 << 4;
    pub(crate) const PAYLOAD_LEN: u16 = 1 << 5;
}

/// The longest header: an extended one.
pub(crate) const MAX_HEADER_BYTES: usize = 32;

/// What a request begins with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Header {
    pub(crate) flags: u16,
    pub(crate) kind: u16,
    pub(crate) cookie: u64,
    pub(crate) offset: u64,
    /// Of the range that it is about, or of its payload.
    pub(crate) length: u64,
}

/// The client does not speak the protocol, or not any more: nothing that it sends can be understood.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Garbage;

/// What a request wants, as far as that can be told without knowing the disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Command {
    Read {
        /// In one chunk.
        whole: bool,
    },
    Write {
        fua: bool,
    },
    Disconnect,
    Flush,
    Trim {
        fua: bool,
    },
    Cache,
    WriteZeroes {
        fua: bool,
        how: Zeroing,
    },
    BlockStatus {
        one: bool,
        /// The range's length and the contexts that are asked about are in the payload.
        filtered: bool,
    },
}

/// Returns how long each header is.
pub(crate) fn header_bytes(headers: Headers) -> usize {
    match headers {
        Headers::Simple | Headers::Structured => 28,
        Headers::Extended => MAX_HEADER_BYTES,
    }
}

impl Header {
    /// Parses the header that `bytes` begin with; `None` while it is not whole.
    ///
    /// # Errors
    /// When it cannot be one.
    pub(crate) fn parse(bytes: &[u8], headers: Headers) -> Result<Option<Self>, Garbage> {
        let mut fields = Fields(bytes);
        let Some(magic) = fields.u32() else {
            return Ok(None);
        };
        let expected = match headers {
            Headers::Simple | Headers::Structured => REQUEST_MAGIC,
            Headers::Extended => EXTENDED_REQUEST_MAGIC,
        };
        if magic != expected {
            return Err(Garbage);
        }
        Ok(Self::parse_fields(fields, headers))
    }

    fn parse_fields(mut fields: Fields<'_>, headers: Headers) -> Option<Self> {
        Some(Self {
            flags: fields.u16()?,
            kind: fields.u16()?,
            cookie: fields.u64()?,
            offset: fields.u64()?,
            length: match headers {
                Headers::Simple | Headers::Structured => fields.u32()?.into(),
                Headers::Extended => fields.u64()?,
            },
        })
    }

    /// Returns how many bytes follow the header.
    ///
    /// # Errors
    /// When they are more than anyone may send: there is no telling where the next request would begin.
    pub(crate) fn payload_bytes(&self, headers: Headers) -> Result<usize, Garbage> {
        // With extended headers a write has to say that it has a payload. QEMU's client, 10.0 at least, does not say it, and has one.
        let says_so = headers == Headers::Extended && self.flags & flag::PAYLOAD_LEN != 0;
        let has_payload = self.kind == kind::WRITE || says_so;
        match has_payload {
            false => Ok(0),
            true if self.length > MAX_REQUEST_BYTES.into() => Err(Garbage),
            true => Ok(self.length as usize),
        }
    }

    /// Tells what is wanted.
    ///
    /// # Errors
    /// An unknown type, or flags that do not go with it (proto.md, "Error values").
    pub(crate) fn command(&self, headers: Headers) -> Result<Command, Fault> {
        let has = |bit| self.flags & bit != 0;
        // FUA is to be accepted with every command, whether or not it means anything there.
        let mut known = flag::FUA;
        let fua = has(flag::FUA);
        let command = match self.kind {
            kind::READ => {
                if headers >= Headers::Structured {
                    known |= flag::DF;
                }
                Command::Read { whole: has(flag::DF) }
            }
            kind::WRITE => {
                if headers == Headers::Extended {
                    known |= flag::PAYLOAD_LEN;
                }
                Command::Write { fua }
            }
            kind::DISCONNECT => Command::Disconnect,
            kind::FLUSH if self.offset != 0 || self.length != 0 => {
                return Err(invalid("a flush has no offset and no length"));
            }
            kind::FLUSH => Command::Flush,
            kind::TRIM => Command::Trim { fua },
            kind::CACHE => Command::Cache,
            kind::WRITE_ZEROES => {
                known |= flag::NO_HOLE | flag::FAST_ZERO;
                let how = Zeroing {
                    no_hole: has(flag::NO_HOLE),
                    fast: has(flag::FAST_ZERO),
                };
                Command::WriteZeroes { fua, how }
            }
            kind::BLOCK_STATUS => {
                known |= flag::REQ_ONE;
                if headers == Headers::Extended {
                    known |= flag::PAYLOAD_LEN;
                }
                Command::BlockStatus {
                    one: has(flag::REQ_ONE),
                    filtered: has(flag::PAYLOAD_LEN),
                }
            }
            unknown => return Err(invalid(format!("no command has the number {unknown}"))),
        };
        match self.flags & !known {
            0 => Ok(command),
            odd => Err(invalid(format!(
                "command {} does not take the flags {odd:#x}",
                self.kind
            ))),
        }
    }
}

/// The payload of a block status request: for how many bytes, and about which contexts (proto.md, "EXTENDED_HEADERS").
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct StatusFilter {
    pub(crate) length: u64,
    pub(crate) ids: Vec<u32>,
}

impl StatusFilter {
    /// Parses a payload.
    ///
    /// # Errors
    /// When it is malformed, or names no context or one twice.
    pub(crate) fn parse(payload: &[u8]) -> Result<Self, Fault> {
        let mut fields = Fields(payload);
        let length = fields.u64();
        let (Some(length), true) = (length, fields.0.len().is_multiple_of(4)) else {
            return Err(invalid("the payload is a length and numbers of contexts"));
        };
        let mut ids = Vec::with_capacity(fields.0.len() / 4);
        while let Some(id) = fields.u32() {
            ids.push(id);
        }
        let mut sorted = ids.clone();
        sorted.sort_unstable();
        if ids.is_empty() || sorted.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(invalid("the payload names each context once, and one at least"));
        }
        Ok(Self { length, ids })
    }
}

/// Checks that a range lies within a disk of `size` bytes.
///
/// # Errors
/// `past_end`, the number that the kind of command asks for.
pub(crate) fn check_range(offset: u64, length: u64, size: u64, past_end: Errno) -> Result<(), Fault> {
    match offset.checked_add(length) {
        Some(end) if end <= size => Ok(()),
        _ => Err(Fault::new(
            past_end,
            format!("{length} bytes at {offset} go past the end of the disk, which has {size} bytes"),
        )),
    }
}

/// Returns the fault of a malformed request.
pub(crate) fn invalid(message: impl Into<String>) -> Fault {
    Fault::new(Errno::Invalid, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compact(flags: u16, kind: u16, length: u32) -> Vec<u8> {
        let mut bytes = REQUEST_MAGIC.to_be_bytes().to_vec();
        bytes.extend(flags.to_be_bytes());
        bytes.extend(kind.to_be_bytes());
        bytes.extend(7_u64.to_be_bytes());
        bytes.extend(4096_u64.to_be_bytes());
        bytes.extend(length.to_be_bytes());
        bytes
    }

    fn command(flags: u16, kind: u16, headers: Headers) -> Result<Command, Errno> {
        let header = Header {
            flags,
            kind,
            cookie: 1,
            offset: 0,
            length: 0,
        };
        header.command(headers).map_err(|fault| fault.errno)
    }

    #[test]
    fn a_header_is_understood_when_it_is_whole() {
        let bytes = compact(flag::FUA, kind::WRITE, 512);
        for end in 0..bytes.len() {
            assert_eq!(
                Header::parse(&bytes[..end], Headers::Structured),
                Ok(None),
                "{end}"
            );
        }
        let header = Header {
            flags: flag::FUA,
            kind: kind::WRITE,
            cookie: 7,
            offset: 4096,
            length: 512,
        };
        assert_eq!(Header::parse(&bytes, Headers::Structured), Ok(Some(header)));
        assert_eq!(header.payload_bytes(Headers::Structured), Ok(512));
    }

    #[test]
    fn a_magic_of_another_kind_is_garbage() {
        let bytes = compact(0, kind::READ, 1);
        assert_eq!(Header::parse(&bytes, Headers::Extended), Err(Garbage));
        assert_eq!(Header::parse(&bytes[1..], Headers::Simple), Err(Garbage));
    }

    #[test]
    fn a_payload_beyond_the_bound_is_garbage_and_a_range_is_not() {
        let mut header = Header {
            flags: 0,
            kind: kind::WRITE,
            cookie: 0,
            offset: 0,
            length: u64::from(MAX_REQUEST_BYTES) + 1,
        };
        assert_eq!(header.payload_bytes(Headers::Simple), Err(Garbage));
        header.kind = kind::TRIM;
        assert_eq!(header.payload_bytes(Headers::Simple), Ok(0));
        header.flags = flag::PAYLOAD_LEN;
        assert_eq!(header.payload_bytes(Headers::Extended), Err(Garbage));
    }

    #[test]
    fn each_command_takes_its_own_flags_and_fua() {
        use kind::*;
        let own = [
            (READ, flag::DF),
            (WRITE, 0),
            (FLUSH, 0),
            (TRIM, 0),
            (CACHE, 0),
            (WRITE_ZEROES, flag::NO_HOLE | flag::FAST_ZERO),
            (BLOCK_STATUS, flag::REQ_ONE),
        ];
        for (kind, own) in own {
            for bit in (0..16).map(|bit| 1_u16 << bit) {
                let expected = bit == flag::FUA || own & bit != 0;
                assert_eq!(
                    command(bit, kind, Headers::Structured).is_ok(),
                    expected,
                    "{kind} {bit}"
                );
            }
        }
        assert_eq!(command(flag::DF, READ, Headers::Simple), Err(Errno::Invalid));
        let write = Ok(Command::Write { fua: false });
        assert_eq!(command(0, WRITE, Headers::Extended), write);
        assert_eq!(command(flag::PAYLOAD_LEN, WRITE, Headers::Extended), write);
        assert_eq!(
            command(flag::PAYLOAD_LEN, READ, Headers::Extended),
            Err(Errno::Invalid)
        );
        assert_eq!(command(0, 8, Headers::Structured), Err(Errno::Invalid));
    }

    #[test]
    fn a_range_ends_where_the_disk_does() {
        assert!(check_range(0, 4096, 4096, Errno::NoSpace).is_ok());
        assert!(check_range(4096, 0, 4096, Errno::NoSpace).is_ok());
        let past = check_range(1, 4096, 4096, Errno::NoSpace);
        assert_eq!(past.map_err(|fault| fault.errno), Err(Errno::NoSpace));
        let wrapped = check_range(u64::MAX, 2, 4096, Errno::Invalid);
        assert_eq!(wrapped.map_err(|fault| fault.errno), Err(Errno::Invalid));
    }

    #[test]
    fn a_filter_names_each_context_once() {
        let payload = |ids: &[u32]| {
            let ids = ids.iter().flat_map(|id| id.to_be_bytes());
            9_u64.to_be_bytes().into_iter().chain(ids).collect::<Vec<_>>()
        };
        let filter = StatusFilter {
            length: 9,
            ids: vec![2, 1],
        };
        assert_eq!(StatusFilter::parse(&payload(&[2, 1])), Ok(filter));
        for bad in [
            payload(&[]),
            payload(&[1, 1]),
            payload(&[1])[..11].to_vec(),
            vec![0; 7],
        ] {
            assert!(StatusFilter::parse(&bad).is_err(), "{bad:?}");
        }
    }
}
