//! A client of our own, as small as one can be: attaches to an export by name and reads its first bytes.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use crate::Result;

const OPTION_MAGIC: u64 = u64::from_be_bytes(*b"IHAVEOPT");
const OPTION_REPLY_MAGIC: u64 = 0x0003_e889_0455_65a9;
const REQUEST_MAGIC: u32 = 0x2560_9513;
const REPLY_MAGIC: u32 = 0x6744_6698;
const WRITE: u16 = 1;
const FLUSH: u16 = 3;
const GO: u32 = 7;
const ACK: u32 = 1;
/// Fixed newstyle, no zeroes.
const CLIENT_FLAGS: u32 = 3;

/// Attaches: everything up to the moment at which a disk can be read.
///
/// # Errors
///
/// When the server refuses, or does not speak the protocol.
pub(super) fn attach(socket: &Path, export: &str) -> Result<UnixStream> {
    let mut stream = UnixStream::connect(socket)?;
    let mut greeting = [0; 18];
    stream.read_exact(&mut greeting)?;
    if &greeting[..16] != b"NBDMAGICIHAVEOPT" {
        return Err("this is no newstyle NBD server".into());
    }
    let mut hello = CLIENT_FLAGS.to_be_bytes().to_vec();
    hello.extend(OPTION_MAGIC.to_be_bytes());
    hello.extend(GO.to_be_bytes());
    hello.extend((export.len() as u32 + 6).to_be_bytes());
    hello.extend((export.len() as u32).to_be_bytes());
    hello.extend(export.as_bytes());
    hello.extend(0u16.to_be_bytes());
    stream.write_all(&hello)?;
    loop {
        let mut head = [0; 20];
        stream.read_exact(&mut head)?;
        let word = |at: usize| u32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        if head[..8] != OPTION_REPLY_MAGIC.to_be_bytes() {
            return Err("an option's reply begins with something else".into());
        }
        let (kind, length) = (word(12), word(16));
        let mut data = vec![0; length as usize];
        stream.read_exact(&mut data)?;
        match kind {
            ACK => return Ok(stream),
            kind if kind >> 31 == 1 => {
                let said = String::from_utf8_lossy(&data).into_owned();
                return Err(format!("`{export}` is refused: {said}").into());
            }
            _ => {}
        }
    }
}

/// A disk that is written by a program of ours: it sees how long each request takes.
pub(super) struct Disk {
    stream: UnixStream,
    sent: u64,
}

impl Disk {
    /// Attaches.
    ///
    /// # Errors
    ///
    /// See [`attach`].
    pub(super) fn attach(socket: &Path, export: &str) -> Result<Self> {
        Ok(Self {
            stream: attach(socket, export)?,
            sent: 0,
        })
    }

    /// Sends a write; its number is what [`Disk::wait`] returns.
    ///
    /// # Errors
    ///
    /// When the connection is broken.
    pub(super) fn send_write(&mut self, at: u64, bytes: &[u8]) -> Result<u64> {
        self.send(WRITE, at, bytes.len() as u32, bytes)
    }

    /// Sends a flush.
    ///
    /// # Errors
    ///
    /// When the connection is broken.
    pub(super) fn send_flush(&mut self) -> Result<u64> {
        self.send(FLUSH, 0, 0, &[])
    }

    fn send(&mut self, command: u16, at: u64, length: u32, payload: &[u8]) -> Result<u64> {
        let mut message = Vec::with_capacity(28 + payload.len());
        message.extend(REQUEST_MAGIC.to_be_bytes());
        message.extend([0; 2]);
        message.extend(command.to_be_bytes());
        message.extend(self.sent.to_be_bytes());
        message.extend(at.to_be_bytes());
        message.extend(length.to_be_bytes());
        message.extend(payload);
        self.stream.write_all(&message)?;
        self.sent += 1;
        Ok(self.sent - 1)
    }

    /// Waits for the next reply, which has no payload; returns the number of what is done.
    ///
    /// # Errors
    ///
    /// When the request failed, or the connection did.
    pub(super) fn wait(&mut self) -> Result<u64> {
        let mut reply = [0; 16];
        self.stream.read_exact(&mut reply)?;
        if reply[..4] != REPLY_MAGIC.to_be_bytes() || reply[4..8] != [0; 4] {
            return Err("a request failed".into());
        }
        let (_, cookie) = reply.split_at(8);
        Ok(cookie
            .iter()
            .fold(0, |number, byte| (number << 8) | u64::from(*byte)))
    }
}

/// Reads the first bytes of what was attached.
///
/// # Errors
///
/// When that fails.
pub(super) fn read_first(stream: &mut UnixStream, bytes: &mut [u8]) -> Result {
    let mut request = REQUEST_MAGIC.to_be_bytes().to_vec();
    // No flags, a read, cookie and offset 0.
    request.extend([0; 20]);
    request.extend((bytes.len() as u32).to_be_bytes());
    stream.write_all(&request)?;
    let mut reply = [0; 16];
    stream.read_exact(&mut reply)?;
    if reply[..4] != REPLY_MAGIC.to_be_bytes() || reply[4..8] != [0; 4] {
        return Err("the read failed".into());
    }
    Ok(stream.read_exact(bytes)?)
}
