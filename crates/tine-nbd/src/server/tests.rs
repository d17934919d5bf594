//! Goal: the server goes on with the threads that it has when it can have no more.
//! Method: threads of more stack than there is cannot be started.

use std::io::{Read as _, Write as _};
use std::ops::Range;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::thread;

use super::*;
use crate::client::Client;
use crate::error::{Fault, Refusal};
use crate::export::{Export, ExportInfo, Features, Listing, Zeroing};

/// More than there is.
const TOO_MUCH: usize = 1 << 60;

const PATIENCE: Duration = Duration::from_secs(60);

/// A disk of zeroes.
struct Zeroes;

impl Export for Zeroes {
    fn size(&self) -> u64 {
        1 << 20
    }

    fn features(&self) -> Features {
        Features::default()
    }

    fn read(&self, into: &mut [u8], _: u64) -> Result<(), Fault> {
        into.fill(0);
        Ok(())
    }

    fn write(&self, _: &[u8], _: u64) -> Result<(), Fault> {
        Ok(())
    }

    fn write_zeroes(&self, _: Range<u64>, _: Zeroing) -> Result<(), Fault> {
        Ok(())
    }

    fn trim(&self, _: Range<u64>) -> Result<(), Fault> {
        Ok(())
    }

    fn flush(&self) -> Result<(), Fault> {
        Ok(())
    }
}

impl Exports for Zeroes {
    fn list(&self, _: &Client) -> Result<Vec<Listing>, Refusal> {
        Ok(Vec::new())
    }

    fn info(&self, _: &str, _: &Client) -> Result<ExportInfo, Refusal> {
        Ok(ExportInfo::default())
    }

    fn contexts(&self, _: &str, _: &Client) -> Result<Vec<String>, Refusal> {
        Ok(Vec::new())
    }

    fn open(&self, _: &str, _: &Client) -> Result<Arc<dyn Export>, Refusal> {
        Ok(Arc::new(Zeroes))
    }
}

/// Connects and enters transmission.
fn connect(path: &Path) -> UnixStream {
    let mut socket = UnixStream::connect(path).expect("a listener");
    socket.set_read_timeout(Some(PATIENCE)).expect("a time");
    // NBD_OPT_EXPORT_NAME of nothing, without zeroes.
    let hello = [
        &3_u32.to_be_bytes()[..],
        b"IHAVEOPT",
        &1_u32.to_be_bytes(),
        &[0; 4],
    ]
    .concat();
    socket.write_all(&hello).expect("it is taken");
    socket.read_exact(&mut [0; 18 + 10]).expect("a greeting in time");
    socket
}

/// Asks for a request of this kind over 512 bytes, and takes so many bytes of answer.
fn ask(socket: &mut UnixStream, kind: u16, answer: usize) -> io::Result<()> {
    let mut request = [0; 28];
    request[..4].copy_from_slice(&0x2560_9513_u32.to_be_bytes());
    request[6..8].copy_from_slice(&kind.to_be_bytes());
    if kind == 0 {
        request[26] = 2;
    }
    socket.write_all(&request)?;
    socket.read_exact(&mut vec![0; 16 + answer])
}

/// Raises a flag when it is dropped.
struct Raised<'a>(&'a AtomicBool);

impl Drop for Raised<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn busy_clients_do_not_keep_the_only_thread_from_the_others() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("nbd.sock");
    let server = Server::new(Arc::new(Zeroes), Limits::default()).expect("a server");
    server
        .listen(UnixListener::bind(&path).expect("a socket"))
        .expect("a thread");
    server.shared.stack_bytes.store(TOO_MUCH, Ordering::Relaxed);
    let are_late_ones_done = AtomicBool::new(false);
    thread::scope(|scope| {
        // Also when this fails: it waits for the busy ones then.
        let done = Raised(&are_late_ones_done);
        for kind in [0, 3] {
            // Never quiet for as long as a thread waits for its client, and some of it takes a thread of its own.
            let mut busy = connect(&path);
            let are_late_ones_done = &are_late_ones_done;
            scope.spawn(move || {
                while !are_late_ones_done.load(Ordering::Relaxed) {
                    ask(&mut busy, kind, if kind == 0 { 512 } else { 0 }).expect("an answer");
                }
            });
        }
        thread::sleep(Duration::from_millis(50));
        // Whoever comes is let in, and heard again when it was quiet.
        let mut late = [connect(&path), connect(&path)];
        for _ in 0..3 {
            for socket in &mut late {
                ask(socket, 0, 512).expect("an answer");
            }
            thread::sleep(Duration::from_millis(150));
        }
        assert_eq!(server.shared.tables.lock().threads, 1);
        drop(done);
    });
    // As soon as threads can be had again there are some.
    server.shared.stack_bytes.store(STACK_BYTES, Ordering::Relaxed);
    ask(&mut connect(&path), 3, 0).expect("an answer");
    assert!(server.shared.tables.lock().threads > 1);
}

#[test]
fn without_any_thread_nothing_is_promised() {
    let directory = tempfile::tempdir().expect("a directory");
    let listener = || UnixListener::bind(directory.path().join("nbd.sock")).expect("a socket");
    let server = Server::new(Arc::new(Zeroes), Limits::default()).expect("a server");
    server.shared.stack_bytes.store(TOO_MUCH, Ordering::Relaxed);
    assert!(server.listen(listener()).is_err());
    let (_ours, theirs) = UnixStream::pair().expect("two sockets");
    assert!(server.serve(theirs).is_err());
    assert_eq!(server.connections(), 0);
}
