//! A client of the protocol that does exactly what it is told, also what it must not.
//!
//! It shares no code with the server, so that each reads the document for itself.

#![allow(dead_code, reason = "not each program of tests needs all of it")]
#![allow(unreachable_pub, reason = "a module of several programs")]

use std::io::{Read, Write};
use std::net::Shutdown;
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use tine_nbd::Server;

pub const OPT_EXPORT_NAME: u32 = 1;
pub const OPT_ABORT: u32 = 2;
pub const OPT_LIST: u32 = 3;
pub const OPT_STARTTLS: u32 = 5;
pub const OPT_INFO: u32 = 6;
pub const OPT_GO: u32 = 7;
pub const OPT_STRUCTURED_REPLY: u32 = 8;
pub const OPT_LIST_META_CONTEXT: u32 = 9;
pub const OPT_SET_META_CONTEXT: u32 = 10;
pub const OPT_EXTENDED_HEADERS: u32 = 11;

pub const REP_ACK: u32 = 1;
pub const REP_SERVER: u32 = 2;
pub const REP_INFO: u32 = 3;
pub const REP_META_CONTEXT: u32 = 4;
pub const REP_ERR_UNSUP: u32 = 0x8000_0001;
pub const REP_ERR_INVALID: u32 = 0x8000_0003;
pub const REP_ERR_UNKNOWN: u32 = 0x8000_0006;
pub const REP_ERR_SHUTDOWN: u32 = 0x8000_0007;
pub const REP_ERR_TOO_BIG: u32 = 0x8000_0009;
pub const REP_ERR_EXT_HEADER_REQD: u32 = 0x8000_000a;

pub const READ: u16 = 0;
pub const WRITE: u16 = 1;
pub const DISC: u16 = 2;
pub const FLUSH: u16 = 3;
pub const TRIM: u16 = 4;
pub const CACHE: u16 = 5;
pub const WRITE_ZEROES: u16 = 6;
pub const BLOCK_STATUS: u16 = 7;

pub const FUA: u16 = 1;
pub const NO_HOLE: u16 = 2;
pub const DF: u16 = 4;
pub const REQ_ONE: u16 = 8;
pub const FAST_ZERO: u16 = 16;
pub const PAYLOAD_LEN: u16 = 32;

pub const EPERM: u32 = 1;
pub const EIO: u32 = 5;
pub const EINVAL: u32 = 22;
pub const ENOSPC: u32 = 28;
pub const EOVERFLOW: u32 = 75;
pub const ENOTSUP: u32 = 95;
pub const ESHUTDOWN: u32 = 108;

/// So long a test waits for what has to come.
pub const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Style {
    Simple,
    Structured,
    Extended,
}

pub const STYLES: [Style; 3] = [Style::Simple, Style::Structured, Style::Extended];

/// A reply to an option.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OptionReply {
    pub option: u32,
    pub kind: u32,
    pub data: Vec<u8>,
}

/// A chunk of a reply; a simple reply is one, too.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Chunk {
    Simple { errno: u32, data: Vec<u8> },
    None,
    Data { offset: u64, data: Vec<u8> },
    Hole { offset: u64, length: u32 },
    Status { context: u32, extents: Vec<(u64, u64)> },
    Error { errno: u32, message: String },
}

/// What came of a request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    pub cookie: u64,
    pub chunks: Vec<Chunk>,
}

impl Answer {
    /// Returns the error number, 0 for success.
    pub fn errno(&self) -> u32 {
        let errno = |chunk: &Chunk| match chunk {
            Chunk::Simple { errno, .. } | Chunk::Error { errno, .. } => Some(*errno),
            _ => None,
        };
        self.chunks.iter().find_map(errno).unwrap_or(0)
    }

    /// Puts the data of a read together, and checks that it is whole and that no two chunks overlap.
    pub fn data(&self, offset: u64, length: usize) -> Vec<u8> {
        let mut whole = vec![0; length];
        let mut ranges = Vec::new();
        for chunk in &self.chunks {
            let (at, bytes, count) = match chunk {
                Chunk::Simple { errno: 0, data } => (offset, &data[..], data.len()),
                Chunk::Data { offset, data } => (*offset, &data[..], data.len()),
                Chunk::Hole { offset, length } => (*offset, &[][..], *length as usize),
                Chunk::None => continue,
                other => panic!("no part of a read: {other:?}"),
            };
            let begin = (at - offset) as usize;
            whole[begin..begin + bytes.len()].copy_from_slice(bytes);
            ranges.push((begin, begin + count));
        }
        ranges.sort_unstable();
        let end = ranges.into_iter().fold(0, |end, (begin, next)| {
            assert_eq!(begin, end, "chunks leave a gap, or overlap");
            next
        });
        assert_eq!(end, length);
        whole
    }

    pub fn extents(&self, id: u32) -> Vec<(u64, u64)> {
        let of = |chunk: &Chunk| match chunk {
            Chunk::Status { context, extents } if *context == id => Some(extents.clone()),
            _ => None,
        };
        self.chunks.iter().find_map(of).expect("the context was answered")
    }

    pub fn message(&self) -> String {
        let message = |chunk: &Chunk| match chunk {
            Chunk::Error { message, .. } => Some(message.clone()),
            _ => None,
        };
        self.chunks.iter().find_map(message).unwrap_or_default()
    }
}

pub struct Raw {
    pub socket: UnixStream,
    pub style: Style,
    next_cookie: u64,
    /// How long each read is, for simple replies do not say.
    reads: std::collections::HashMap<u64, usize>,
}

impl Raw {
    /// Connects; nothing is sent or received yet.
    pub fn connect(server: &Server) -> Self {
        let (ours, theirs) = UnixStream::pair().unwrap();
        server.serve(theirs).unwrap();
        Self::over(ours)
    }

    pub fn over(socket: UnixStream) -> Self {
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.set_write_timeout(Some(PATIENCE)).unwrap();
        Self {
            socket,
            style: Style::Simple,
            next_cookie: 1,
            reads: Default::default(),
        }
    }

    /// Connects and greets with both flags.
    pub fn greeted(server: &Server) -> Self {
        let mut raw = Self::connect(server);
        raw.greet(3);
        raw
    }

    /// Connects, agrees on `style`, selects `contexts` and goes into transmission.
    pub fn attached(server: &Server, name: &str, style: Style, contexts: &[&str]) -> Self {
        let mut raw = Self::greeted(server);
        raw.attach(name, style, contexts);
        raw
    }

    /// The same by TCP.
    pub fn attached_by_tcp(server: &Server, name: &str, style: Style) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let ours = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        server.serve(listener.accept().unwrap().0).unwrap();
        // A stream is a stream.
        let mut raw = Self::over(OwnedFd::from(ours).into());
        raw.greet(3);
        raw.attach(name, style, &[]);
        raw
    }

    fn attach(&mut self, name: &str, style: Style, contexts: &[&str]) {
        self.agree(style);
        if !contexts.is_empty() {
            let selected = self.contexts(OPT_SET_META_CONTEXT, name, contexts);
            assert_eq!(selected.len(), contexts.len());
        }
        let replies = self.option(OPT_GO, &inquiry(name, &[]));
        assert_eq!(replies.last().unwrap().kind, REP_ACK, "{replies:?}");
    }

    pub fn send(&mut self, bytes: &[u8]) {
        self.socket.write_all(bytes).unwrap();
    }

    pub fn receive(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.socket.read_exact(&mut bytes).unwrap();
        bytes
    }

    /// Asserts that the server ends the connection, and returns what it sent before.
    pub fn expect_end(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        match self.socket.read_to_end(&mut bytes) {
            Ok(_) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => bytes,
            Err(error) => panic!("the server keeps the connection: {error}"),
        }
    }

    pub fn end_sending(&self) {
        self.socket.shutdown(Shutdown::Write).unwrap();
    }

    pub fn greet(&mut self, flags: u32) {
        assert_eq!(self.receive(18), b"NBDMAGICIHAVEOPT\x00\x03");
        self.send(&flags.to_be_bytes());
    }

    pub fn agree(&mut self, style: Style) {
        let option = match style {
            Style::Simple => return,
            Style::Structured => OPT_STRUCTURED_REPLY,
            Style::Extended => OPT_EXTENDED_HEADERS,
        };
        assert_eq!(self.option(option, &[]).last().unwrap().kind, REP_ACK);
        self.style = style;
    }

    pub fn send_option(&mut self, option: u32, data: &[u8]) {
        self.send(&option_bytes(option, data));
    }

    /// Sends an option and returns all its replies: up to the first that is neither data nor a list.
    pub fn option(&mut self, option: u32, data: &[u8]) -> Vec<OptionReply> {
        self.send_option(option, data);
        self.option_replies()
    }

    pub fn option_replies(&mut self) -> Vec<OptionReply> {
        let mut replies = Vec::new();
        loop {
            let reply = self.option_reply();
            let is_last = reply.kind == REP_ACK || reply.kind & 0x8000_0000 != 0;
            replies.push(reply);
            if is_last {
                return replies;
            }
        }
    }

    fn option_reply(&mut self) -> OptionReply {
        let head = self.receive(20);
        assert_eq!(head[..8], 0x0003_e889_0455_65a9_u64.to_be_bytes());
        let length = be32(&head[16..]) as usize;
        OptionReply {
            option: be32(&head[8..]),
            kind: be32(&head[12..]),
            data: self.receive(length),
        }
    }

    /// Returns the numbers and names of the contexts that an option answers with.
    pub fn contexts(&mut self, option: u32, name: &str, queries: &[&str]) -> Vec<(u32, String)> {
        let replies = self.option(option, &context_queries(name, queries));
        let (last, contexts) = replies.split_last().unwrap();
        assert_eq!(last.kind, REP_ACK, "{last:?}");
        contexts
            .iter()
            .map(|reply| {
                assert_eq!(reply.kind, REP_META_CONTEXT);
                let name = String::from_utf8(reply.data[4..].to_vec()).unwrap();
                (be32(&reply.data), name)
            })
            .collect()
    }

    /// Sends a request with what it carries, and returns its cookie.
    pub fn request(&mut self, flags: u16, kind: u16, offset: u64, length: u64, payload: &[u8]) -> u64 {
        let cookie = self.next_cookie;
        self.next_cookie += 1;
        if kind == READ {
            self.reads.insert(cookie, length as usize);
        }
        let flags = match (self.style, kind) {
            (Style::Extended, WRITE) => flags | PAYLOAD_LEN,
            _ => flags,
        };
        let mut bytes = request_bytes(self.style, flags, kind, cookie, offset, length);
        bytes.extend(payload);
        self.send(&bytes);
        cookie
    }

    /// Receives the next answer, which may be to any request. Chunks of several answers do not mix in what these tests ask for, except
    /// where they use [`Raw::chunk`].
    pub fn answer(&mut self) -> Answer {
        let mut chunks = Vec::new();
        loop {
            let (cookie, chunk, last) = self.chunk();
            chunks.push(chunk);
            if last {
                return Answer { cookie, chunks };
            }
        }
    }

    pub fn chunk(&mut self) -> (u64, Chunk, bool) {
        let magic = be32(&self.receive(4));
        match magic {
            0x6744_6698 => {
                assert_ne!(self.style, Style::Extended);
                let head = self.receive(12);
                let (errno, cookie) = (be32(&head), be64(&head[4..]));
                let read = self.reads.remove(&cookie);
                // Simple replies to reads are only for who has nothing better.
                assert!(read.is_none() || self.style == Style::Simple);
                let length = if errno == 0 { read.unwrap_or(0) } else { 0 };
                let data = self.receive(length);
                (cookie, Chunk::Simple { errno, data }, true)
            }
            0x668e_33ef => {
                assert_eq!(self.style, Style::Structured);
                let head = self.receive(16);
                let length = be32(&head[12..]) as usize;
                self.typed_chunk(&head, length)
            }
            0x6e8a_278c => {
                assert_eq!(self.style, Style::Extended);
                let head = self.receive(28);
                let length = be64(&head[20..]) as usize;
                self.typed_chunk(&head, length)
            }
            other => panic!("no reply begins with {other:#x}"),
        }
    }

    fn typed_chunk(&mut self, head: &[u8], length: usize) -> (u64, Chunk, bool) {
        let (flags, kind, cookie) = (be16(head), be16(&head[2..]), be64(&head[4..]));
        assert!(flags <= 1);
        let data = self.receive(length);
        let chunk = match kind {
            0 => {
                assert!(data.is_empty() && flags == 1);
                Chunk::None
            }
            1 => {
                assert!(data.len() > 8);
                Chunk::Data {
                    offset: be64(&data),
                    data: data[8..].to_vec(),
                }
            }
            2 => {
                assert_eq!(data.len(), 12);
                Chunk::Hole {
                    offset: be64(&data),
                    length: be32(&data[8..]),
                }
            }
            5 => {
                assert_eq!(self.style, Style::Structured);
                let extents = data[4..].chunks_exact(8);
                assert!(extents.remainder().is_empty() && extents.len() > 0);
                Chunk::Status {
                    context: be32(&data),
                    extents: extents.map(|e| (be32(e).into(), be32(&e[4..]).into())).collect(),
                }
            }
            6 => {
                assert_eq!(self.style, Style::Extended);
                let extents = data[8..].chunks_exact(16);
                assert_eq!(extents.len(), be32(&data[4..]) as usize);
                assert!(extents.remainder().is_empty() && extents.len() > 0);
                Chunk::Status {
                    context: be32(&data),
                    extents: extents.map(|e| (be64(e), be64(&e[8..]))).collect(),
                }
            }
            0x8001 => {
                assert_eq!(data.len(), 6 + usize::from(be16(&data[4..])));
                Chunk::Error {
                    errno: be32(&data),
                    message: String::from_utf8(data[6..].to_vec()).unwrap(),
                }
            }
            other => panic!("no chunk has the type {other}"),
        };
        if flags == 1 {
            self.reads.remove(&cookie);
        }
        (cookie, chunk, flags == 1)
    }

    /// Does one request and returns its answer.
    pub fn ask(&mut self, flags: u16, kind: u16, offset: u64, length: u64, payload: &[u8]) -> Answer {
        let cookie = self.request(flags, kind, offset, length, payload);
        let answer = self.answer();
        assert_eq!(answer.cookie, cookie);
        answer
    }

    pub fn read(&mut self, offset: u64, length: usize) -> Vec<u8> {
        self.ask(0, READ, offset, length as u64, &[]).data(offset, length)
    }

    pub fn write(&mut self, offset: u64, bytes: &[u8]) {
        assert_eq!(self.ask(0, WRITE, offset, bytes.len() as u64, bytes).errno(), 0);
    }

    /// Takes its leave, and asserts that the server does, too.
    pub fn disconnect(mut self) {
        self.request(0, DISC, 0, 0, &[]);
        assert_eq!(self.expect_end(), b"");
    }
}

pub fn option_bytes(option: u32, data: &[u8]) -> Vec<u8> {
    let mut bytes = b"IHAVEOPT".to_vec();
    bytes.extend(option.to_be_bytes());
    bytes.extend((data.len() as u32).to_be_bytes());
    bytes.extend(data);
    bytes
}

pub fn request_bytes(style: Style, flags: u16, kind: u16, cookie: u64, offset: u64, length: u64) -> Vec<u8> {
    let magic: u32 = match style {
        Style::Extended => 0x21e4_1c71,
        _ => 0x2560_9513,
    };
    let mut bytes = magic.to_be_bytes().to_vec();
    bytes.extend(flags.to_be_bytes());
    bytes.extend(kind.to_be_bytes());
    bytes.extend(cookie.to_be_bytes());
    bytes.extend(offset.to_be_bytes());
    match style {
        Style::Extended => bytes.extend(length.to_be_bytes()),
        _ => bytes.extend(u32::try_from(length).unwrap().to_be_bytes()),
    }
    bytes
}

/// Returns the data of `OPT_INFO` and `OPT_GO`.
pub fn inquiry(name: &str, wanted: &[u16]) -> Vec<u8> {
    let mut data = (name.len() as u32).to_be_bytes().to_vec();
    data.extend(name.as_bytes());
    data.extend((wanted.len() as u16).to_be_bytes());
    data.extend(wanted.iter().flat_map(|wanted| wanted.to_be_bytes()));
    data
}

/// Returns the data of `OPT_LIST_META_CONTEXT` and `OPT_SET_META_CONTEXT`.
pub fn context_queries(name: &str, queries: &[&str]) -> Vec<u8> {
    let mut data = (name.len() as u32).to_be_bytes().to_vec();
    data.extend(name.as_bytes());
    data.extend((queries.len() as u32).to_be_bytes());
    for query in queries {
        data.extend((query.len() as u32).to_be_bytes());
        data.extend(query.as_bytes());
    }
    data
}

pub fn be16(bytes: &[u8]) -> u16 {
    u16::from_be_bytes(bytes[..2].try_into().unwrap())
}

pub fn be32(bytes: &[u8]) -> u32 {
    u32::from_be_bytes(bytes[..4].try_into().unwrap())
}

pub fn be64(bytes: &[u8]) -> u64 {
    u64::from_be_bytes(bytes[..8].try_into().unwrap())
}

/// Returns bytes that differ at each place and with each seed, none of them zero.
pub fn pattern(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..length)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32) as u8 | 1
        })
        .collect()
}
