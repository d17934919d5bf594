//! A connection that holds a disk: a job's fork stays as long as somebody is connected to it, and goes if this process dies.
//!
//! As much of an NBD client as that takes. Sections cited as "proto.md" are those of the public protocol document.

use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use tine_server::{ExportName, socket};

use crate::error::{CommandError, Outcome};

/// "NBDMAGIC" and "IHAVEOPT" (proto.md, "Newstyle negotiation").
const GREETING: [u8; 16] = *b"NBDMAGICIHAVEOPT";
/// What begins each reply to an option (proto.md, "Fixed newstyle negotiation").
const REPLY_MAGIC: [u8; 8] = 0x0003_e889_0455_65a9_u64.to_be_bytes();
/// `NBD_FLAG_C_FIXED_NEWSTYLE` and `NBD_FLAG_C_NO_ZEROES`.
const CLIENT_FLAGS: [u8; 4] = 3_u32.to_be_bytes();
/// `NBD_REP_ACK`.
const ACK: u32 = 1;
/// Set in the types of all replies that are errors.
const ERROR: u32 = 1 << 31;
/// No reply to these options is longer.
const REPLY_BYTES_MAX: u32 = 64 << 10;
/// The daemon answers at once, but for who waits for another client to leave.
const PATIENCE: Duration = Duration::from_secs(60);

/// What is asked of the server.
#[derive(Clone, Copy)]
#[repr(u32)]
pub(super) enum Option {
    /// `NBD_OPT_INFO`: tells whether the disk is there.
    Look = 6,
    /// `NBD_OPT_GO`: has it.
    Have = 7,
}

/// Asks for an export, which the user called `disk`; as long as the connection lives, it is held if it was to be had.
pub(super) fn ask(server: &Path, export: &str, disk: &ExportName, option: Option) -> Outcome<UnixStream> {
    let asking = || -> io::Result<Result<UnixStream, String>> {
        let mut stream = socket::connect(server)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut greeting = [0; 18];
        stream.read_exact(&mut greeting)?;
        if greeting[..16] != GREETING {
            return Err(io::Error::other("that is no NBD server"));
        }
        let name = export.as_bytes();
        let name_bytes = u32::try_from(name.len()).map_err(io::Error::other)?;
        let mut request = CLIENT_FLAGS.to_vec();
        request.extend(b"IHAVEOPT");
        request.extend((option as u32).to_be_bytes());
        // The name with its length, and no requests for information (proto.md, "NBD_OPT_INFO").
        request.extend((name_bytes + 6).to_be_bytes());
        request.extend(name_bytes.to_be_bytes());
        request.extend(name);
        request.extend([0, 0]);
        stream.write_all(&request)?;
        loop {
            let mut head = [0; 20];
            stream.read_exact(&mut head)?;
            let number = |at: usize| u32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
            let (kind, length) = (number(12), number(16));
            if head[..8] != REPLY_MAGIC || length > REPLY_BYTES_MAX {
                return Err(io::Error::other("the NBD server's answer makes no sense"));
            }
            let mut payload = vec![0; length as usize];
            stream.read_exact(&mut payload)?;
            if kind == ACK {
                return Ok(Ok(stream));
            }
            if kind & ERROR != 0 {
                return Ok(Err(String::from_utf8_lossy(&payload).into_owned()));
            }
        }
    };
    match asking() {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(refusal)) => {
            // What to do about it stands behind.
            let (why, hint) = refusal.split_once("; ").unwrap_or((&refusal, ""));
            let error = CommandError::new(format!("`{disk}` cannot be attached: {why}"));
            Err(if hint.is_empty() { error } else { error.hint(hint) })
        }
        Err(error) => {
            let has_ended = matches!(
                error.kind(),
                io::ErrorKind::BrokenPipe
                    | io::ErrorKind::ConnectionReset
                    | io::ErrorKind::ConnectionRefused
                    | io::ErrorKind::NotFound
                    | io::ErrorKind::UnexpectedEof
            );
            let error = CommandError::io(format_args!("attach `{disk}`"), error);
            Err(if has_ended {
                error.hint("the daemon has just ended; nothing was run, try again")
            } else {
                error
            })
        }
    }
}
