//! A client of our own, as small as one can be: attaches to an export by name and reads its first bytes.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use crate::Result;

const OPTION_MAGIC: u64 = u64::from_be_bytes(*b"IHAVEOPT");
const OPTION_REPLY_MAGIC: u64 = 0x0003_e889_0455_65a9;
const REQUEST_MAGIC: u32 = 0x2560_9513;
const REPLY_MAGIC: u32 = 0x6744_6698;
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
