//! Disks over the control socket: reading them, bringing them in, writing to them.

use std::ops::ControlFlow;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http_body_util::Either;
use hyper::Response;
use hyper::body::Incoming;
use hyper::header::{EXPECT, HeaderValue};
use serde::Serialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use tine_store::{BranchName, ImportSource, Piece, Progress, StoreError, Target};
use tokio::sync::Notify;
use tokio::sync::mpsc::Sender;
use tokio::task::JoinHandle;

use super::{Changes, Client, given_up};
use crate::api::{
    Failure, Import, Imported, Kind, Method, Pieces, Read, Show, Shown, Write, Written, before_that,
};
use crate::wire::DATA_BYTES_MAX;
use crate::wire::body::chunks;
use crate::wire::frame::{Decoder, Frame, encode_data};

impl Client {
    /// Reads bytes of a disk.
    ///
    /// # Errors
    /// Those of [`Client::ask`], and of `pieces`.
    pub fn read(&mut self, request: &Read, pieces: &mut dyn Pieces) -> Result<(), Failure> {
        let http = self.stated(Method::Look, Read::VERB, request)?;
        let response = self.send(http, Changes::Nothing)?;
        let mut body = self.accepted(response, Changes::Nothing)?;
        let mut decoder = Decoder::default();
        loop {
            while let Some(frame) = decoder.next_frame().map_err(|error| self.misunderstood(&error))? {
                self.patience.renew();
                match frame {
                    Frame::Begin(range) => pieces.begin(range)?,
                    Frame::Data { offset, bytes } => pieces.piece(Piece::Data {
                        offset,
                        bytes: &bytes,
                    })?,
                    Frame::Hole { offset, length } => pieces.piece(Piece::Hole { offset, length })?,
                    Frame::Done => return Ok(()),
                    Frame::Failed(text) => {
                        let failure = serde_json::from_slice(&text);
                        return Err(failure.unwrap_or_else(|error| self.misunderstood(&error)));
                    }
                }
            }
            decoder.push(&self.chunk(&mut body, Changes::Nothing)?);
        }
    }

    /// Begins to bring a disk in, when the daemon has admitted that: nothing of the source is needed before.
    ///
    /// # Errors
    /// Those of [`Client::ask`].
    pub fn import(self, name: BranchName, size: Option<u64>) -> Result<Sending, Failure> {
        self.upload(Import::VERB, &Import { name, size })
    }

    /// Begins to write to a branch, when the daemon has admitted that. Returns the disk's size and the way for the bytes.
    ///
    /// # Errors
    /// Those of [`Client::ask`].
    pub fn write(mut self, request: &Write) -> Result<(u64, Sending), Failure> {
        let target = Target::Branch(request.name.clone());
        let size = match self.ask(&Show { target })? {
            Shown::Branch(branch) => branch.size,
            Shown::Snapshot { snapshot, .. } => snapshot.size,
        };
        Ok((size, self.upload(Write::VERB, request)?))
    }

    fn upload<R: Serialize>(mut self, verb: &str, request: &R) -> Result<Sending, Failure> {
        let query = serde_urlencoded::to_string(request).map_err(|error| self.misunderstood(&error))?;
        let (chunks, body) = chunks();
        let mut request = self.request(Method::Change, verb, &query, Either::Right(body));
        let expect = HeaderValue::from_static("100-continue");
        request.headers_mut().insert(EXPECT, expect);
        let admitted = Arc::new(Notify::new());
        let admitting = Arc::clone(&admitted);
        hyper::ext::on_informational(&mut request, move |_| admitting.notify_one());
        self.patience.renew();
        let (before, requests) = (self.sent.bytes(), &mut self.requests);
        let sending = async {
            requests.ready().await?;
            let mut response = tokio::spawn(requests.send_request(request));
            let refused = tokio::select! {
                () = admitted.notified() => None,
                refused = &mut response => Some(refused),
            };
            Ok::<_, hyper::Error>((response, refused))
        };
        match self.patience.wait(&self.runtime, sending) {
            Err(failure) => Err(given_up(failure, Changes::Nothing)),
            Ok(Err(_) | Ok((_, Some(Ok(Err(_)))))) => Err(self.broken_since(before, Changes::Nothing)),
            Ok(Ok((_, Some(refused)))) => Err(refusal(&mut self, refused, Changes::Nothing)),
            Ok(Ok((response, None))) => Ok(Sending {
                client: self,
                chunks,
                response: Some(response),
            }),
        }
    }
}

/// A disk, or a part of one, on its way to the daemon. Dropped before it is finished, it is cut off.
pub struct Sending {
    client: Client,
    chunks: Sender<Bytes>,
    response: Option<JoinHandle<hyper::Result<Response<Incoming>>>>,
}

impl std::fmt::Debug for Sending {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Sending").finish_non_exhaustive()
    }
}

impl Sending {
    /// Sends a piece, when there is room for it on the way.
    ///
    /// # Errors
    /// The daemon's, as soon as it has one; then nothing more can be sent.
    pub fn put(&mut self, bytes: &[u8], offset: u64) -> Result<(), Failure> {
        for (number, piece) in (0..).zip(bytes.chunks(DATA_BYTES_MAX)) {
            let mut chunk = BytesMut::new();
            encode_data(offset + number * DATA_BYTES_MAX as u64, piece, &mut chunk);
            self.send(chunk)?;
        }
        Ok(())
    }

    fn send(&mut self, chunk: BytesMut) -> Result<(), Failure> {
        let Some(response) = &mut self.response else {
            return Err(self.client.broken(Changes::Perhaps));
        };
        let chunks = &self.chunks;
        let sending = async {
            tokio::select! {
                biased;
                early = &mut *response => Some(early),
                sent = chunks.send(chunk.freeze()) => match sent {
                    Ok(()) => None,
                    // The connection has taken its end: why, it says.
                    Err(_) => Some((&mut *response).await),
                },
            }
        };
        let Client {
            patience, runtime, ..
        } = &mut self.client;
        // What was sent before has been taken.
        patience.renew();
        match patience.wait(runtime, sending) {
            Err(failure) => Err(given_up(failure, Changes::Perhaps)),
            Ok(None) => Ok(()),
            Ok(Some(early)) => {
                self.response = None;
                Err(refusal(&mut self.client, early, Changes::Perhaps))
            }
        }
    }

    /// Sends all of a disk, which ends it.
    ///
    /// # Errors
    /// The daemon's and those of `source`; [`Kind::Cancelled`] after a break of `progress`. Nothing is left behind then.
    pub fn pour(
        mut self,
        source: ImportSource<'_>,
        size: Option<u64>,
        progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<Imported, Failure> {
        let mut failed = None;
        let mut end = 0;
        let visited = source.visit(size, &mut |offset, bytes| {
            self.put(bytes, offset).map_err(|failure| {
                failed = Some(failure);
                StoreError::Cancelled
            })?;
            end = end.max(offset + bytes.len() as u64);
            match progress(Progress {
                done: end,
                total: size,
            }) {
                ControlFlow::Continue(()) => Ok(()),
                ControlFlow::Break(()) => Err(StoreError::Cancelled),
            }
        });
        match (failed, visited) {
            (Some(failure), _) => Err(failure),
            (None, Err(error)) => Err(error.into()),
            (None, Ok(())) => self.finish(),
        }
    }

    /// Says that this was all, and returns the daemon's answer.
    ///
    /// # Errors
    /// The daemon's, and those of the connection.
    pub fn finish<A: DeserializeOwned>(mut self) -> Result<A, Failure> {
        let mut end = BytesMut::new();
        Frame::Done.encode(&mut end);
        self.send(end)?;
        let Some(response) = self.response.take() else {
            return Err(self.client.broken(Changes::Perhaps));
        };
        // The end of the body follows the end of what is sent.
        let Self {
            mut client, chunks, ..
        } = self;
        drop(chunks);
        match client.patience.wait(&client.runtime, response) {
            Err(failure) => Err(given_up(failure, Changes::Perhaps)),
            Ok(response) => receive(&mut client, response, Changes::Perhaps),
        }
    }

    /// Ends a write before all was written: what was is made durable. Says how much that is; nothing if the daemon has
    /// failed, and said so.
    pub fn stop(self) -> Option<String> {
        self.response.as_ref()?;
        let written: Written = self.finish().ok()?;
        Some(before_that(written.length))
    }
}

type Arrived = Result<hyper::Result<Response<Incoming>>, tokio::task::JoinError>;

fn receive<A: DeserializeOwned>(
    client: &mut Client,
    response: Arrived,
    changes: Changes,
) -> Result<A, Failure> {
    let Ok(Ok(response)) = response else {
        return Err(client.broken(changes));
    };
    let body = client.accepted(response, changes)?;
    let body = client.whole(body, changes)?;
    serde_json::from_slice(&body).map_err(|error| client.misunderstood(&error))
}

/// Returns the failure that a response is which came before all was sent.
fn refusal(client: &mut Client, response: Arrived, changes: Changes) -> Failure {
    let failed = receive::<IgnoredAny>(client, response, changes).err();
    failed.unwrap_or_else(|| Failure::new(Kind::Version, "the daemon answered before it had everything"))
}
