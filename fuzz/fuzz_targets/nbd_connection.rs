//! Goal: whatever a client sends after the handshake, the server answers in whole replies or ends the connection, forgets it
//! then, and serves on.
//! Method: each input goes over a real connection to a small disk in memory, half of whose requests have to wait; then the
//! client has no more to send, and takes what comes. The first byte chooses the style of headers, and what is wrong with the disk.

#![no_main]

use std::io::{Read, Write};
use std::ops::{ControlFlow, Range};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use tine_nbd::{
    BASE_ALLOCATION, Client, Errno, Export, ExportInfo, Exports, Extent, Fault, Features, Limits, Listing,
    Refusal, Server, Zeroing,
};

const SIZE: usize = 1 << 20;

/// A small disk; an odd offset has to wait, and where the offset is a multiple of 13 reading fails.
struct Disk(Mutex<Vec<u8>>);

struct Disks(Arc<Disk>);

fn fault_at(offset: u64) -> Result<(), Fault> {
    match offset % 13 {
        12 => Err(Fault::new(Errno::Io, "bad luck")),
        _ => Ok(()),
    }
}

impl Export for Disk {
    fn size(&self) -> u64 {
        SIZE as u64
    }

    fn features(&self) -> Features {
        Features::default()
    }

    fn read_at_once(&self, into: &mut [u8], offset: u64) -> Result<bool, Fault> {
        match offset % 2 {
            0 => self.read(into, offset).map(|()| true),
            _ => Ok(false),
        }
    }

    fn read(&self, into: &mut [u8], offset: u64) -> Result<(), Fault> {
        fault_at(offset)?;
        into.copy_from_slice(&self.0.lock().unwrap()[offset as usize..][..into.len()]);
        Ok(())
    }

    fn write_at_once(&self, bytes: &[u8], offset: u64) -> Result<bool, Fault> {
        match offset % 2 {
            0 => self.write(bytes, offset).map(|()| true),
            _ => Ok(false),
        }
    }

    fn write(&self, bytes: &[u8], offset: u64) -> Result<(), Fault> {
        self.0.lock().unwrap()[offset as usize..][..bytes.len()].copy_from_slice(bytes);
        Ok(())
    }

    fn write_zeroes(&self, range: Range<u64>, _: Zeroing) -> Result<(), Fault> {
        self.0.lock().unwrap()[range.start as usize..range.end as usize].fill(0);
        Ok(())
    }

    fn trim(&self, range: Range<u64>) -> Result<(), Fault> {
        fault_at(range.start)
    }

    fn flush(&self) -> Result<(), Fault> {
        Ok(())
    }

    fn extents(
        &self,
        _: &str,
        range: Range<u64>,
        visit: &mut dyn FnMut(Extent) -> ControlFlow<()>,
    ) -> Result<(), Fault> {
        fault_at(range.start)?;
        // More than was asked for, and pieces of nothing: both are the crate's to put right.
        for length in [0, 1, 511, u64::MAX] {
            let flags = length % 3;
            if visit(Extent { length, flags }).is_break() {
                break;
            }
        }
        Ok(())
    }
}

impl Exports for Disks {
    fn list(&self, _: &Client) -> Result<Vec<Listing>, Refusal> {
        Ok(Vec::new())
    }

    fn info(&self, _: &str, _: &Client) -> Result<ExportInfo, Refusal> {
        Ok(ExportInfo::default())
    }

    fn contexts(&self, _: &str, _: &Client) -> Result<Vec<String>, Refusal> {
        Ok(vec![BASE_ALLOCATION.to_owned()])
    }

    fn open(&self, _: &str, _: &Client) -> Result<Arc<dyn Export>, Refusal> {
        Ok(Arc::clone(&self.0) as _)
    }
}

fn server() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| {
        let disks = Disks(Arc::new(Disk(Mutex::new(vec![7; SIZE]))));
        Server::new(Arc::new(disks), Limits::default()).unwrap()
    })
}

fn option(option: u32, data: &[u8]) -> Vec<u8> {
    let mut bytes = b"IHAVEOPT".to_vec();
    bytes.extend(option.to_be_bytes());
    bytes.extend((data.len() as u32).to_be_bytes());
    bytes.extend(data);
    bytes
}

/// Checks that `replies` are whole ones.
fn check(mut replies: &[u8], extended: bool) {
    let mut take = |count: usize| {
        let (front, rest) = replies.split_at_checked(count)?;
        replies = rest;
        Some(front)
    };
    while let Some(magic) = take(4) {
        let head = match magic {
            // Structured replies were agreed on, so this is none with data.
            b"\x67\x44\x66\x98" if !extended => {
                assert!(take(12).is_some());
                continue;
            }
            b"\x66\x8e\x33\xef" if !extended => take(16),
            b"\x6e\x8a\x27\x8c" if extended => take(28),
            other => panic!("no reply begins with {other:x?}"),
        };
        let head = head.expect("a whole head");
        let length = u32::from_be_bytes(head[head.len() - 4..].try_into().unwrap());
        assert!(take(length as usize).is_some(), "a whole chunk of {length} bytes");
    }
}

fuzz_target!(|bytes: &[u8]| {
    let Some((style, requests)) = bytes.split_first() else {
        return;
    };
    let extended = style & 1 != 0;
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    ours.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    server().serve(theirs).unwrap();
    let mut hello = 3_u32.to_be_bytes().to_vec();
    hello.extend(option(if extended { 11 } else { 8 }, &[]));
    hello.extend(option(10, b"\0\0\0\x01x\0\0\0\x01\0\0\0\x0fbase:allocation"));
    hello.extend(option(7, b"\0\0\0\x01x\0\0"));
    ours.write_all(&hello).unwrap();
    // The greeting; each option's acknowledgement, one context, one description.
    let handshake = 18 + 20 + (20 + 4 + 15 + 20) + (20 + 12 + 20);
    ours.read_exact(&mut vec![0; handshake]).unwrap();

    let sender = ours.try_clone().unwrap();
    let requests = requests.to_vec();
    let sending = std::thread::spawn(move || {
        // It fails when the server has seen enough.
        let _ = (&sender).write_all(&requests);
        let _ = sender.shutdown(std::net::Shutdown::Write);
    });
    let mut replies = Vec::new();
    match ours.read_to_end(&mut replies) {
        Ok(_) => check(&replies, extended),
        // What it did not read is lost with the connection, and with it perhaps a reply.
        Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset),
    }
    sending.join().unwrap();
});
