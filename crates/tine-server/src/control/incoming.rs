//! A connection's socket, whose incoming queue is closed when the time has come.
//!
//! It is closed by the same task that reads it, just before it reads: that takes no descriptor beside the socket's own, of
//! which there may be none left, and so no connection that was accepted is dropped.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use rustix::net::{Shutdown, shutdown};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::UnixStream;

/// A socket. What is in its queue when `F` has come to its end comes out, and nothing more gets in.
pub(super) struct Incoming<F> {
    stream: UnixStream,
    /// Absent once the queue is closed.
    end: Option<Pin<Box<F>>>,
}

impl<F> Incoming<F> {
    /// Closes the queue of `stream` at `end`, or when it is read the next time after that.
    pub(super) fn until(end: F, stream: UnixStream) -> Self {
        Self {
            stream,
            end: Some(Box::pin(end)),
        }
    }
}

impl<F: Future<Output = ()>> AsyncRead for Incoming<F> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let end = self.end.as_mut();
        if end.is_some_and(|end| end.as_mut().poll(context).is_ready()) {
            self.end = None;
            // It fails where the other end is gone, which reading tells.
            let _ = shutdown(&self.stream, Shutdown::Read);
        }
        Pin::new(&mut self.stream).poll_read(context, into)
    }
}

impl<F> AsyncWrite for Incoming<F> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, bytes)
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
