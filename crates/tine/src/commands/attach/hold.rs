//! A connection that holds a disk: a job's fork stays as long as somebody is connected to it, and goes if this process dies.
//!
//! As much of an NBD client as that takes. Sections cited as "proto.md" are those of the public protocol document.

use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

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
/// The daemon answers at once, but for who waits for another client to leave. So long its whole answer is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

/// `NBD_CMD_DISC`, whole (proto.md, "Request message").
const DISCONNECT: [u8; 28] = {
    let mut request = [0; 28];
    [request[0], request[1], request[2], request[3]] = 0x2560_9513_u32.to_be_bytes();
    request[7] = 2;
    request
};
/// So long a daemon is given to let go of what was held; what it still has then it lets go of later.
const LEAVING: Duration = Duration::from_secs(10);

/// What is asked of the server.
#[derive(Clone, Copy)]
#[repr(u32)]
pub(super) enum Option {
    /// `NBD_OPT_INFO`: tells whether the disk is there.
    Look = 6,
    /// `NBD_OPT_GO`: has it.
    Have = 7,
}

/// Fills `into`, if what is read comes in time, whether at once or byte by byte.
fn read_until(end: Instant, mut stream: &UnixStream, mut into: &mut [u8]) -> io::Result<()> {
    while !into.is_empty() {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(left))?;
        match stream.read(into) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => into = &mut into[read..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Err(io::ErrorKind::TimedOut.into());
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Takes leave: when this returns the server has let go of what was held, unless it takes too long for that.
pub(super) fn leave(mut held: &UnixStream) {
    if held.write_all(&DISCONNECT).is_ok() {
        // It has nothing to say, but ends the connection.
        let _ = read_until(Instant::now() + LEAVING, held, &mut [0]);
    }
}

/// Asks for an export, which the user called `disk`; as long as the connection lives, it is held if it was to be had.
pub(super) fn ask(server: &Path, export: &str, disk: &ExportName, option: Option) -> Outcome<UnixStream> {
    let asking = || -> io::Result<Result<UnixStream, String>> {
        let mut stream = socket::connect(server)?;
        let end = Instant::now() + PATIENCE;
        let mut greeting = [0; 18];
        read_until(end, &stream, &mut greeting)?;
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
            read_until(end, &stream, &mut head)?;
            let number = |at: usize| u32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
            let (kind, length) = (number(12), number(16));
            if head[..8] != REPLY_MAGIC || length > REPLY_BYTES_MAX {
                return Err(io::Error::other("the NBD server's answer makes no sense"));
            }
            let mut payload = vec![0; length as usize];
            read_until(end, &stream, &mut payload)?;
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

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn who_drips_is_not_waited_for_longer_than_who_is_silent() {
        let (here, mut there) = UnixStream::pair().unwrap();
        let dripping = thread::spawn(move || {
            while there.write_all(b"x").is_ok() {
                thread::sleep(Duration::from_millis(20));
            }
        });
        let begun = Instant::now();
        let mut bytes = [0; 1000];
        let end = begun + Duration::from_millis(200);
        let late = read_until(end, &here, &mut bytes).unwrap_err();
        assert_eq!(late.kind(), io::ErrorKind::TimedOut);
        assert!(bytes[0] == b'x' && begun.elapsed() < Duration::from_secs(10));
        read_until(begun + PATIENCE, &here, &mut bytes[..3]).unwrap();
        drop(here);
        dripping.join().unwrap();
    }
}
