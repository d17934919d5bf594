//! The socket to the daemon, and how much of a request got through it.
//!
//! The daemon works on nothing that it has not received whole. So nothing was done of a request, however the daemon ended, when
//! the kernel did not take all of it, or when the daemon went and had not read all that the kernel took: then reading is
//! ECONNRESET, and not the end that comes otherwise. No request is sent before the former is answered, so it is of this one
//! that something was not read.
//!
//! Who cannot send any more reads on: an answer may be there, that this was too much.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::UnixStream;

/// What the kernel took so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Sent(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    bytes: AtomicU64,
    /// The daemon has not read, and will not read, all that there is.
    was_refused: AtomicBool,
}

impl Sent {
    /// Returns how many bytes that is.
    pub(super) fn bytes(&self) -> u64 {
        self.0.bytes.load(Ordering::Relaxed)
    }

    /// Tells whether the daemon cannot have all of a request that began after `before` bytes, and whose connection broke.
    pub(super) fn is_short(&self, before: u64) -> bool {
        self.bytes() == before || self.0.was_refused.load(Ordering::Relaxed)
    }

    /// Counts what the kernel took of `wanted` bytes. What it refuses because nobody will read it goes nowhere, as if it had
    /// been sent.
    fn count(&self, written: Poll<io::Result<usize>>, wanted: usize) -> Poll<io::Result<usize>> {
        match written {
            Poll::Ready(Ok(bytes)) => {
                self.0.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
                Poll::Ready(Ok(bytes))
            }
            Poll::Ready(Err(error)) => {
                self.refuse();
                if is_of_other_end(&error) {
                    Poll::Ready(Ok(wanted))
                } else {
                    Poll::Ready(Err(error))
                }
            }
            Poll::Pending => Poll::Pending,
        }
    }

    fn refuse(&self) {
        self.0.was_refused.store(true, Ordering::Relaxed);
    }
}

/// Tells the errors that say that the other end reads no more.
fn is_of_other_end(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset
    )
}

/// A socket that counts.
pub(super) struct Counting {
    pub(super) stream: UnixStream,
    pub(super) sent: Sent,
}

impl AsyncRead for Counting {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.stream).poll_read(context, into);
        if let Poll::Ready(Err(error)) = &read
            && is_of_other_end(error)
        {
            self.sent.refuse();
        }
        read
    }
}

impl AsyncWrite for Counting {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.sent.count(written, bytes.len())
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let wanted = bytes.iter().map(|bytes| bytes.len()).sum();
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, bytes);
        self.sent.count(written, wanted)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
