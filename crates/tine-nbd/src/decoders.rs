//! What reads a client's bytes, for fuzz targets. Not public API: only there with the feature `fuzzing`.
//!
//! Invariant of all: no panic, no endless loop, no memory beyond what the bytes could describe.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::client::{Client, Peer};
use crate::error::{Fault, Refusal, RefusalKind};
use crate::export::{BASE_ALLOCATION, Export, ExportInfo, Exports, Features, Listing, Zeroing};
use crate::handshake::{Handshake, Step};
use crate::limits::MAX_REQUEST_BYTES;
use crate::protocol::request::{Header, StatusFilter, header_bytes};
use crate::protocol::{Fields, Headers, OPTION_REPLY_MAGIC};

/// Reads `bytes` as requests with their payloads, one after the other, in each style of headers. A header is found as
/// soon as it is whole, and garbage as soon as its first four bytes are there.
pub fn request(bytes: &[u8]) {
    for headers in [Headers::Simple, Headers::Structured, Headers::Extended] {
        let mut rest = bytes;
        while let Ok(Some(header)) = Header::parse(rest, headers) {
            let length = header_bytes(headers);
            assert_eq!(Header::parse(&rest[..length - 1], headers), Ok(None));
            assert_eq!(Header::parse(&rest[..length], headers), Ok(Some(header)));
            let command = header.command(headers);
            assert!(command.is_ok() || command.is_err_and(|fault| !fault.message.is_empty()));
            let Ok(payload) = header.payload_bytes(headers) else {
                break;
            };
            assert!(payload <= MAX_REQUEST_BYTES as usize);
            let Some((payload, next)) = rest[length..].split_at_checked(payload) else {
                break;
            };
            if let Ok(filter) = StatusFilter::parse(payload) {
                assert_eq!(8 + 4 * filter.ids.len(), payload.len());
            }
            rest = next;
        }
        if rest.len() >= 4 && Header::parse(&rest[..4], headers).is_err() {
            assert!(Header::parse(rest, headers).is_err());
        }
    }
}

/// Leads `bytes` through a handshake, byte by byte and in one go: both must answer the same, in whole replies, and open an
/// export once at most.
pub fn handshake(bytes: &[u8]) {
    let (whole, whole_end) = shake_hands(bytes, bytes.len().max(1));
    let (single, single_end) = shake_hands(bytes, 1);
    assert_eq!(whole_end, single_end);
    assert_eq!(whole, single);
}

/// How a handshake ended: what followed it, if it led to transmission.
#[derive(PartialEq, Eq, Debug)]
enum End {
    Unfinished,
    Over,
    Transmission(Vec<u8>),
}

fn shake_hands(bytes: &[u8], step: usize) -> (Vec<u8>, End) {
    let exports = Few::default();
    let peer = Peer::Process {
        pid: 1,
        uid: 1,
        gid: 1,
    };
    let client = Client { connection: 1, peer };
    let mut out = Vec::new();
    let mut handshake = Handshake::begin(&exports, &client, &mut out);
    assert_eq!(out.len(), 18);
    out.clear();
    let mut end = End::Unfinished;
    let (mut taken, mut there) = (0, 0);
    while end == End::Unfinished {
        let received = &bytes[taken..there];
        let before = out.len();
        match handshake.step(received, false, &mut out) {
            Ok(Step::Need(needed)) => {
                assert!(needed > received.len());
                if there == bytes.len() {
                    break;
                }
                there = bytes.len().min(there + step);
            }
            Ok(Step::Took(bytes)) => {
                assert!(bytes > 0 && bytes <= received.len());
                taken += bytes;
            }
            Ok(Step::List(bytes)) => {
                taken += bytes;
                let mut send = |part: &[u8]| {
                    out.extend(part);
                    Some(())
                };
                assert_eq!(handshake.list(&mut send), Some(()));
            }
            Ok(Step::Transmit(bytes_taken, opened)) => {
                assert_eq!(exports.opened.load(Ordering::Relaxed), 1);
                assert!(opened.contexts.len() <= 1);
                end = End::Transmission(bytes[taken + bytes_taken..].to_vec());
            }
            Ok(Step::Over) | Err(_) => end = End::Over,
        }
        if !matches!(end, End::Transmission(_)) {
            check_replies(&out[before..]);
            assert_eq!(exports.opened.load(Ordering::Relaxed), 0);
        }
    }
    (out, end)
}

/// Checks that there are whole replies to options, and nothing else.
fn check_replies(replies: &[u8]) {
    let mut fields = Fields(replies);
    while !fields.0.is_empty() {
        assert_eq!(fields.u64(), Some(OPTION_REPLY_MAGIC));
        let (_, kind, length) = (fields.u32(), fields.u32(), fields.u32());
        assert!(kind.is_some());
        assert!(fields.bytes(length.unwrap_or(u32::MAX) as usize).is_some());
    }
}

/// Two exports, and a count of how often one was opened.
#[derive(Default)]
struct Few {
    opened: AtomicUsize,
}

impl Few {
    fn find(name: &str) -> Result<ExportInfo, Refusal> {
        match name {
            "" | "web" | "db" => Ok(ExportInfo {
                size: 1 << 20,
                name: name.to_owned(),
                ..ExportInfo::default()
            }),
            _ => Err(Refusal::new(RefusalKind::Unknown, format!("no `{name}`"))),
        }
    }
}

impl Exports for Few {
    fn list(&self, _: &Client) -> Result<Vec<Listing>, Refusal> {
        let listing = |name: &str| Listing {
            name: name.to_owned(),
            description: String::new(),
        };
        Ok(vec![listing("web"), listing("db")])
    }

    fn info(&self, name: &str, _: &Client) -> Result<ExportInfo, Refusal> {
        Self::find(name)
    }

    fn contexts(&self, name: &str, _: &Client) -> Result<Vec<String>, Refusal> {
        Self::find(name).map(|_| vec![BASE_ALLOCATION.to_owned()])
    }

    fn open(&self, name: &str, _: &Client) -> Result<Arc<dyn Export>, Refusal> {
        Self::find(name)?;
        self.opened.fetch_add(1, Ordering::Relaxed);
        Ok(Arc::new(Nothing))
    }
}

/// A disk on which nothing is ever done.
struct Nothing;

impl Export for Nothing {
    fn size(&self) -> u64 {
        1 << 20
    }

    fn features(&self) -> Features {
        Features::default()
    }

    fn read(&self, _: &mut [u8], _: u64) -> Result<(), Fault> {
        Ok(())
    }

    fn write(&self, _: &[u8], _: u64) -> Result<(), Fault> {
        Ok(())
    }

    fn write_zeroes(&self, _: std::ops::Range<u64>, _: Zeroing) -> Result<(), Fault> {
        Ok(())
    }

    fn trim(&self, _: std::ops::Range<u64>) -> Result<(), Fault> {
        Ok(())
    }

    fn flush(&self) -> Result<(), Fault> {
        Ok(())
    }
}
