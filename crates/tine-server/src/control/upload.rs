//! Requests whose bodies are disks: `import` and `write`.
//!
//! A body that is cut off is no whole disk: an import leaves nothing behind then; a write leaves what came, as a disk
//! does whose cable is pulled.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequest, Request};
use axum::http::header::EXPECT;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http_body_util::BodyExt as _;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tine_nbd::Peer;
use tine_store::{ImportSource, PieceSource};
use tokio::sync::mpsc::{Receiver, Sender, channel};

use super::answer::{defect, from_query, json};
use super::connection::By;
use super::slots::Slot;
use super::stream::{busy, stood_still};
use super::{Desk, Stage, stopping};
use crate::api::{Failure, Import, Imported, Kind, Write, Written};
use crate::wire::CHUNKS_MAX;
use crate::wire::frame::{Decoder, Frame};

/// What is still under way of a body when the request has failed is read and forgotten, for so long at the most: a client
/// that reads only when it has sent all would never see the answer.
const FORGOTTEN_FOR: Duration = Duration::from_secs(10);

/// A request with a disk for its body.
pub(super) struct Upload {
    desk: Arc<Desk>,
    by: Peer,
    query: Option<String>,
    /// The client waits to be told to go on before it sends the body.
    expects: bool,
    body: Body,
}

impl FromRequest<Arc<Desk>> for Upload {
    type Rejection = Response;

    async fn from_request(request: Request, desk: &Arc<Desk>) -> Result<Self, Response> {
        let (parts, body) = request.into_parts();
        // Each connection says whose it is.
        let By(by) = parts
            .extensions
            .get()
            .cloned()
            .ok_or_else(|| defect().into_response())?;
        Ok(Self {
            desk: Arc::clone(desk),
            by,
            query: parts.uri.query().map(str::to_owned),
            expects: parts.headers.contains_key(EXPECT),
            body,
        })
    }
}

pub(super) async fn import(upload: Upload) -> Response {
    upload
        .receive(|desk, request: Import, mut pieces| -> Result<Imported, InPart> {
            let source = ImportSource::Pieces {
                size: request.size,
                pieces: &mut pieces,
            };
            let go_on = &mut |_| std::ops::ControlFlow::Continue(());
            Ok(request.work(&desk.daemon, source, go_on)?)
        })
        .await
}

pub(super) async fn write(upload: Upload) -> Response {
    let by = upload.by.clone();
    upload
        .receive(
            move |desk, request: Write, mut pieces| -> Result<Written, InPart> {
                let mut writing = request.begin(&desk.daemon, &by)?;
                loop {
                    let put = match pieces.next_frame() {
                        Ok(Frame::Data { offset, bytes }) => writing.put(&bytes, offset),
                        Ok(Frame::Hole { offset, length }) => writing.put_zeroes(offset, length),
                        Ok(Frame::Done) => return Ok(writing.finish()?),
                        Ok(Frame::Begin(_) | Frame::Failed(_)) => {
                            Err(Failure::io("read the request", gave_up()))
                        }
                        Err(error) => Err(Failure::io("read the request", error)),
                    };
                    if let Err(failure) = put {
                        return Err(InPart {
                            failure: match writing.stop() {
                                Some(written) => failure.hint_more(written),
                                None => failure,
                            },
                            has_changed: writing.has_changed(),
                        });
                    }
                }
            },
        )
        .await
}

/// A request that failed, and whether anything of it stays.
struct InPart {
    /// If something stays, the hint says how much, if that is known.
    failure: Failure,
    has_changed: bool,
}

impl From<Failure> for InPart {
    /// Nothing of it stays.
    fn from(failure: Failure) -> Self {
        Self {
            failure,
            has_changed: false,
        }
    }
}

impl InPart {
    /// Returns the failure to answer with: a body that this side has cut off failed for the reason of that.
    fn told(self, desk: &Desk, slot: &Slot) -> Failure {
        let Self { failure, has_changed } = self;
        let why = match failure.kind {
            Kind::Caller if desk.is_cut_off() && has_changed => cut_off(),
            Kind::Caller if desk.is_cut_off() => stopping(),
            Kind::Caller if slot.is_lost() => stood_still(),
            _ => return failure,
        };
        match failure.hint {
            Some(stays) if has_changed => why.hint_more(stays),
            _ => why,
        }
    }
}

/// Returns the failure of what was cut off when a part of it was done: trying again would not be as if nothing had been.
fn cut_off() -> Failure {
    Failure::new(
        Kind::Cancelled,
        "the daemon is stopping and cut this off in the midst",
    )
    .hint("what was sent later is not written")
}

impl Upload {
    /// Has `work` done by a thread with the frames of the body.
    async fn receive<R, A>(
        self,
        work: impl FnOnce(&Desk, R, Received) -> Result<A, InPart> + Send + 'static,
    ) -> Response
    where
        R: DeserializeOwned + Send + 'static,
        A: Serialize + Send + 'static,
    {
        let Self {
            desk,
            query,
            expects,
            body,
            ..
        } = self;
        let ready = from_query::<R>(query.as_deref()).and_then(|request| desk.check_open().map(|()| request));
        let taken = ready.and_then(|request| Ok((request, desk.streams.take().ok_or_else(busy)?)));
        let (request, slot) = match taken {
            Ok((request, slot)) => (request, Arc::new(slot)),
            Err(failure) => {
                // Who expects to be told to continue has sent nothing yet; all others would not see the answer.
                if !expects {
                    tokio::spawn(forget(body));
                }
                return failure.into_response();
            }
        };
        let (sender, chunks) = channel(CHUNKS_MAX);
        tokio::spawn(pump(Arc::clone(&desk), Arc::clone(&slot), body, sender));
        let (worked_for, its_slot) = (Arc::clone(&desk), Arc::clone(&slot));
        let done = tokio::task::spawn_blocking(move || {
            // Whoever asked may be gone by the time that it is done: the slot is the work's.
            let _slot = its_slot;
            work(&worked_for, request, Received::new(chunks))
        });
        match done.await.unwrap_or_else(|_| Err(defect().into())) {
            Ok(answer) => json(&answer),
            Err(failed) => failed.told(&desk, &slot).into_response(),
        }
    }
}

/// Hands a body on, chunk by chunk, as long as somebody takes it and its slot is not lost; then forgets the rest.
async fn pump(desk: Arc<Desk>, slot: Arc<Slot>, mut body: Body, chunks: Sender<io::Result<Bytes>>) {
    loop {
        let frame = tokio::select! {
            frame = slot.wait(body.frame()) => frame,
            () = chunks.closed() => break,
            () = desk.until(Stage::CutOff) => return,
        };
        let chunk = match frame {
            None | Some(None) => return,
            Some(Some(Ok(frame))) => frame.into_data().map_err(|_| io::ErrorKind::InvalidData.into()),
            Some(Some(Err(error))) => Err(io::Error::other(error)),
        };
        if chunks.send(chunk).await.is_err() {
            break;
        }
    }
    drop(slot);
    forget(body).await;
}

/// Reads the rest of a body, for the sake of who reads no answer before it has sent all.
pub(super) async fn forget(mut body: Body) {
    let forget = async { while let Some(Ok(_)) = body.frame().await {} };
    let _ = tokio::time::timeout(FORGOTTEN_FOR, forget).await;
}

/// The frames of a body, as pieces of a disk.
struct Received {
    chunks: Receiver<io::Result<Bytes>>,
    decoder: Decoder,
    bytes: Bytes,
}

impl Received {
    fn new(chunks: Receiver<io::Result<Bytes>>) -> Self {
        Self {
            chunks,
            decoder: Decoder::default(),
            bytes: Bytes::new(),
        }
    }

    fn next_frame(&mut self) -> io::Result<Frame> {
        loop {
            if let Some(frame) = self.decoder.next_frame().map_err(io::Error::other)? {
                return Ok(frame);
            }
            let chunk = self.chunks.blocking_recv().ok_or(io::ErrorKind::UnexpectedEof)?;
            self.decoder.push(&chunk?);
        }
    }
}

fn gave_up() -> io::Error {
    io::Error::other("the sender gave up")
}

impl PieceSource for Received {
    fn next(&mut self) -> io::Result<Option<(u64, &[u8])>> {
        loop {
            match self.next_frame()? {
                Frame::Data { offset, bytes } => {
                    self.bytes = bytes;
                    return Ok(Some((offset, &self.bytes)));
                }
                Frame::Hole { .. } => {}
                Frame::Done => return Ok(None),
                Frame::Begin(_) | Frame::Failed(_) => {
                    return Err(gave_up());
                }
            }
        }
    }
}
