//! A body whose chunks come from elsewhere, a few at a time.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame};
use tokio::sync::mpsc::{Receiver, Sender, channel};

use super::CHUNKS_MAX;

/// The reading end. When the sender is gone, the body is over.
pub(crate) struct Chunks {
    first: Option<Bytes>,
    rest: Receiver<Bytes>,
}

/// Makes a body and the end that fills it: who fills it waits for who reads it.
pub(crate) fn chunks() -> (Sender<Bytes>, Chunks) {
    let (sender, rest) = channel(CHUNKS_MAX);
    (sender, Chunks { first: None, rest })
}

impl Chunks {
    /// Waits for the first chunk; it stays. Returns whether there is one.
    pub(crate) async fn has_begun(&mut self) -> bool {
        self.first = self.rest.recv().await;
        self.first.is_some()
    }
}

impl Body for Chunks {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let next = match self.first.take() {
            Some(first) => Poll::Ready(Some(first)),
            None => self.rest.poll_recv(context),
        };
        next.map(|chunk| chunk.map(|chunk| Ok(Frame::data(chunk))))
    }
}
