//! An NBD client as small as can be, where hundreds of connections, or wrong ones, are wanted. It negotiates nothing, so
//! replies are simple ones, unless a test wants the words of a refusal.

use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use crate::common::daemon::Daemon;

pub(crate) const READ: u16 = 0;
pub(crate) const WRITE: u16 = 1;
pub(crate) const DISCONNECT: u16 = 2;
pub(crate) const FLUSH: u16 = 3;
pub(crate) const CACHE: u16 = 5;
pub(crate) const REQUEST_MAGIC: u32 = 0x2560_9513;
const REPLY_MAGIC: u32 = 0x6744_6698;
const CHUNK_MAGIC: u32 = 0x668e_33ef;
const OPTION_REPLY_MAGIC: u64 = 0x0003_e889_0455_65a9;
const EXPORT_NAME: u32 = 1;
pub(crate) const LIST: u32 = 3;
pub(crate) const INFO: u32 = 6;
const GO: u32 = 7;
const STRUCTURED_REPLY: u32 = 8;
const ACK: u32 = 1;

/// A connection to an export.
pub(crate) struct Client {
    pub(crate) stream: UnixStream,
    next: u64,
}

impl Client {
    /// Connects and enters transmission; a refusal is an error with the server's words.
    pub(crate) fn connect(socket: &Path, export: &str) -> io::Result<Self> {
        Self::connect_with(socket, &option(GO, export))
    }

    /// Connects for [`Client::try_to`], and for nothing else.
    pub(crate) fn connect_for_words(socket: &Path, export: &str) -> io::Result<Self> {
        let mut structured = b"IHAVEOPT".to_vec();
        structured.extend(STRUCTURED_REPLY.to_be_bytes());
        structured.extend([0; 4]);
        Self::connect_with(socket, &[structured, option(GO, export)].concat())
    }

    /// Connects as clients did before there was [`GO`]: a refusal is an end.
    pub(crate) fn connect_by_name(socket: &Path, export: &str) -> io::Result<Self> {
        let mut request = b"IHAVEOPT".to_vec();
        request.extend(EXPORT_NAME.to_be_bytes());
        request.extend((export.len() as u32).to_be_bytes());
        request.extend(export.as_bytes());
        let mut stream = greeted(socket, &request)?;
        // Its size and flags; there are no zeroes behind them.
        stream.read_exact(&mut [0; 10])?;
        Ok(Self { stream, next: 1 })
    }

    fn connect_with(socket: &Path, options: &[u8]) -> io::Result<Self> {
        let mut stream = greeted(socket, options)?;
        await_acknowledgement(&mut stream, GO)?;
        Ok(Self { stream, next: 1 })
    }

    /// Sends a request and returns its cookie.
    pub(crate) fn send(&mut self, command: u16, offset: u64, length: u32, payload: &[u8]) -> io::Result<u64> {
        let cookie = self.next;
        self.next += 1;
        let mut message = request(command, cookie, offset, length).to_vec();
        message.extend(payload);
        self.stream.write_all(&message)?;
        Ok(cookie)
    }

    /// Waits for the next reply: its cookie and error number. What a read brings is put into `into`.
    pub(crate) fn reply(&mut self, into: &mut [u8]) -> io::Result<(u64, u32)> {
        let mut head = [0; 16];
        self.stream.read_exact(&mut head)?;
        assert_eq!(head[..4], REPLY_MAGIC.to_be_bytes());
        let error = u32::from_be_bytes(head[4..8].try_into().unwrap());
        if error == 0 {
            self.stream.read_exact(into)?;
        }
        Ok((u64::from_be_bytes(head[8..].try_into().unwrap()), error))
    }

    fn one(
        &mut self,
        command: u16,
        offset: u64,
        length: u32,
        payload: &[u8],
        into: &mut [u8],
    ) -> io::Result<()> {
        let cookie = self.send(command, offset, length, payload)?;
        let (replied, error) = self.reply(into)?;
        assert_eq!(replied, cookie);
        match error {
            0 => Ok(()),
            number => Err(io::Error::from_raw_os_error(number as i32)),
        }
    }

    /// Has a request done, and returns what a read brought; or the number and the words of the refusal.
    pub(crate) fn try_to(
        &mut self,
        command: u16,
        offset: u64,
        length: u32,
        payload: &[u8],
    ) -> io::Result<Result<Vec<u8>, (u32, String)>> {
        let cookie = self.send(command, offset, length, payload)?;
        let mut read = vec![0; if command == READ { length as usize } else { 0 }];
        let mut refused = None;
        loop {
            let mut head = [0; 20];
            self.stream.read_exact(&mut head[..16])?;
            if head[..4] == REPLY_MAGIC.to_be_bytes() {
                // As it may be where there is nothing to tell.
                assert_eq!(
                    (&head[4..8], &head[8..16]),
                    (&[0; 4][..], &cookie.to_be_bytes()[..])
                );
                return Ok(Ok(read));
            }
            self.stream.read_exact(&mut head[16..])?;
            assert_eq!(head[..4], CHUNK_MAGIC.to_be_bytes());
            assert_eq!(head[8..16], cookie.to_be_bytes());
            let mut chunk = vec![0; u32::from_be_bytes(head[16..].try_into().unwrap()) as usize];
            self.stream.read_exact(&mut chunk)?;
            match u16::from_be_bytes([head[6], head[7]]) {
                0 => (),
                1 => {
                    let at = u64::from_be_bytes(chunk[..8].try_into().unwrap()) - offset;
                    read[at as usize..][..chunk.len() - 8].copy_from_slice(&chunk[8..]);
                }
                // A hole: zeroes.
                2 => (),
                error => {
                    assert!(error >= 1 << 15, "{error}");
                    let number = u32::from_be_bytes(chunk[..4].try_into().unwrap());
                    let words = u16::from_be_bytes([chunk[4], chunk[5]]) as usize;
                    let words = String::from_utf8(chunk[6..][..words].to_vec()).unwrap();
                    refused.get_or_insert((number, words));
                }
            }
            let is_last = head[5] & 1 != 0;
            if is_last {
                return Ok(refused.map_or(Ok(read), Err));
            }
        }
    }

    pub(crate) fn read(&mut self, into: &mut [u8], offset: u64) -> io::Result<()> {
        self.one(READ, offset, into.len() as u32, &[], into)
    }

    pub(crate) fn write(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.one(WRITE, offset, bytes.len() as u32, bytes, &mut [])
    }

    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.one(FLUSH, 0, 0, &[], &mut [])
    }

    /// Takes leave; the server has nothing of this connection any more when this returns.
    pub(crate) fn leave(mut self) -> io::Result<()> {
        self.send(DISCONNECT, 0, 0, &[])?;
        match self.stream.read(&mut [0])? {
            0 => Ok(()),
            _ => Err(io::Error::other("a reply to a farewell")),
        }
    }
}

/// Connects, agrees on the newest style and sends options.
fn greeted(socket: &Path, options: &[u8]) -> io::Result<UnixStream> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    let mut greeting = [0; 18];
    stream.read_exact(&mut greeting)?;
    assert_eq!(&greeting[..16], b"NBDMAGICIHAVEOPT");
    let mut request = 3_u32.to_be_bytes().to_vec();
    request.extend(options);
    stream.write_all(&request)?;
    Ok(stream)
}

/// Waits until an option is acknowledged; a refusal is an error with the server's words.
fn await_acknowledgement(stream: &mut UnixStream, option: u32) -> io::Result<()> {
    loop {
        let mut head = [0; 20];
        stream.read_exact(&mut head)?;
        assert_eq!(head[..8], OPTION_REPLY_MAGIC.to_be_bytes());
        let asked = u32::from_be_bytes(head[8..12].try_into().unwrap());
        let kind = u32::from_be_bytes(head[12..16].try_into().unwrap());
        let mut payload = vec![0; u32::from_be_bytes(head[16..].try_into().unwrap()) as usize];
        stream.read_exact(&mut payload)?;
        if kind == ACK && asked == option {
            return Ok(());
        }
        if kind & (1 << 31) != 0 {
            return Err(io::Error::other(String::from_utf8_lossy(&payload).into_owned()));
        }
    }
}

/// Asks about an export, or for all with [`LIST`], and stays in the handshake.
pub(crate) fn look(socket: &Path, asking: u32, export: &str) -> io::Result<UnixStream> {
    let mut request = option(asking, export);
    if asking == LIST {
        // It takes nothing.
        request.truncate(12);
        request.extend([0; 4]);
    }
    let mut stream = greeted(socket, &request)?;
    await_acknowledgement(&mut stream, asking)?;
    Ok(stream)
}

impl Daemon {
    /// Connects to an export that is there.
    pub(crate) fn connect(&self, export: &str) -> Client {
        Client::connect(&self.socket, export).unwrap()
    }
}

/// Returns an option that names an export and asks for no information.
pub(crate) fn option(option: u32, export: &str) -> Vec<u8> {
    let mut bytes = b"IHAVEOPT".to_vec();
    bytes.extend(option.to_be_bytes());
    bytes.extend((export.len() as u32 + 6).to_be_bytes());
    bytes.extend((export.len() as u32).to_be_bytes());
    bytes.extend(export.as_bytes());
    bytes.extend([0, 0]);
    bytes
}

/// Returns the head of a request.
pub(crate) fn request(command: u16, cookie: u64, offset: u64, length: u32) -> [u8; 28] {
    let mut head = [0; 28];
    head[..4].copy_from_slice(&REQUEST_MAGIC.to_be_bytes());
    head[6..8].copy_from_slice(&command.to_be_bytes());
    head[8..16].copy_from_slice(&cookie.to_be_bytes());
    head[16..24].copy_from_slice(&offset.to_be_bytes());
    head[24..].copy_from_slice(&length.to_be_bytes());
    head
}
