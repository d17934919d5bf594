//! A client of the daemon, as small as the test needs it: one request at a time, simple replies.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

const OPTION_MAGIC: u64 = u64::from_be_bytes(*b"IHAVEOPT");
const REQUEST_MAGIC: u32 = 0x2560_9513;
const REPLY_MAGIC: u32 = 0x6744_6698;

/// How long an answer may take before the daemon counts as dead: longer than the harness lets a command take.
const PATIENCE: Duration = Duration::from_secs(90);

/// What can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    Read = 0,
    Write = 1,
    Disconnect = 2,
    Flush = 3,
    Trim = 4,
    WriteZeroes = 6,
}

/// A connection to an export.
#[derive(Debug)]
pub(crate) struct Client {
    stream: UnixStream,
}

impl Client {
    /// Attaches to an export.
    pub(crate) fn attach(socket: &Path, export: &str) -> io::Result<Self> {
        let mut stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.read_exact(&mut [0; 18])?;
        let mut hello = 3u32.to_be_bytes().to_vec();
        hello.extend(OPTION_MAGIC.to_be_bytes());
        hello.extend(7u32.to_be_bytes());
        hello.extend((export.len() as u32 + 6).to_be_bytes());
        hello.extend((export.len() as u32).to_be_bytes());
        hello.extend(export.as_bytes());
        hello.extend([0; 2]);
        stream.write_all(&hello)?;
        loop {
            let mut head = [0; 20];
            stream.read_exact(&mut head)?;
            let word = |at: usize| u32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
            let mut data = vec![0; word(16) as usize];
            stream.read_exact(&mut data)?;
            match word(12) {
                1 => return Ok(Self { stream }),
                kind if kind >> 31 == 1 => {
                    return Err(io::Error::other(String::from_utf8_lossy(&data).into_owned()));
                }
                _ => {}
            }
        }
    }

    /// Returns the process at the other end.
    pub(crate) fn server(&self) -> io::Result<i32> {
        let peer = nix::sys::socket::getsockopt(&self.stream, nix::sys::socket::sockopt::PeerCredentials)?;
        Ok(peer.pid())
    }

    fn ask(
        &mut self,
        command: Command,
        fua: bool,
        offset: usize,
        length: usize,
        payload: &[u8],
    ) -> io::Result<()> {
        let mut request = REQUEST_MAGIC.to_be_bytes().to_vec();
        request.extend(u16::from(fua).to_be_bytes());
        request.extend((command as u16).to_be_bytes());
        request.extend([0; 8]);
        request.extend((offset as u64).to_be_bytes());
        request.extend((length as u32).to_be_bytes());
        request.extend(payload);
        self.stream.write_all(&request)
    }

    /// Does a request that returns nothing. Returns when it was answered well.
    pub(crate) fn run(
        &mut self,
        command: Command,
        fua: bool,
        offset: usize,
        length: usize,
        payload: &[u8],
    ) -> io::Result<()> {
        self.ask(command, fua, offset, length, payload)?;
        let mut reply = [0; 16];
        self.stream.read_exact(&mut reply)?;
        if reply[..4] != REPLY_MAGIC.to_be_bytes() {
            return Err(io::ErrorKind::InvalidData.into());
        }
        match u32::from_be_bytes([reply[4], reply[5], reply[6], reply[7]]) {
            0 => Ok(()),
            error => Err(io::Error::from_raw_os_error(error as i32)),
        }
    }

    /// Reads.
    pub(crate) fn read(&mut self, offset: usize, length: usize) -> io::Result<Vec<u8>> {
        self.run(Command::Read, false, offset, length, &[])?;
        let mut bytes = vec![0; length];
        self.stream.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    /// Takes leave.
    pub(crate) fn disconnect(mut self) -> io::Result<()> {
        self.ask(Command::Disconnect, false, 0, 0, &[])
    }
}
