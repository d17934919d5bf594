//! Responses that come piece by piece: the lines of long requests, and the frames of a disk that is read.
//!
//! The work is done by a thread that waits for a slow reader between two calls of the engine. It ends when the reader is
//! gone, or when the daemon stops and its time is up.

use std::ops::{ControlFlow, Range};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use bytes::{BufMut as _, Bytes, BytesMut};
use serde::Serialize;
use tine_store::Piece;
use tokio::runtime::Handle;
use tokio::sync::mpsc::Sender;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::oneshot;

use super::answer::{Arrived, defect, from_body, from_query};
use super::slots::Slot;
use super::{Desk, Stage, stopping, upload};
use crate::api::{
    Check, Defrag, Diff, Failure, Import, Kind, LongRequest, Method, Pieces, Read, Step, Write, perform_long,
};
use crate::wire::body::chunks;
use crate::wire::frame::{Frame, encode_data};
use crate::wire::line::Line;
use crate::wire::{FRAMES, LINES, path};

/// Lines are sent when so many bytes have gathered, or after so long.
const GATHERED_BYTES: usize = 16 << 10;
const GATHERED_FOR: Duration = Duration::from_millis(100);

/// Adds the requests that take long.
pub(super) fn routes(router: Router<Arc<Desk>>) -> Router<Arc<Desk>> {
    let router = route::<Diff>(router);
    let router = route::<Check>(router);
    let router = route::<Defrag>(router);
    router
        .route(&path(Read::VERB), get(read))
        .route(&path(Import::VERB), post(upload::import))
        .route(&path(Write::VERB), post(upload::write))
}

fn route<R: LongRequest>(router: Router<Arc<Desk>>) -> Router<Arc<Desk>> {
    let handler = match R::METHOD {
        Method::Look => get(look::<R>),
        Method::Change => post(change::<R>),
    };
    router.route(&path(R::VERB), handler)
}

async fn look<R: LongRequest>(State(desk): State<Arc<Desk>>, RawQuery(query): RawQuery) -> Response {
    match from_query::<R>(query.as_deref()) {
        Ok(request) => follow(desk, Arrived::from(request)).await,
        Err(failure) => failure.into_response(),
    }
}

async fn change<R: LongRequest>(State(desk): State<Arc<Desk>>, body: Body) -> Response {
    match from_body::<R>(&desk, body).await {
        Ok(arrived) => follow(desk, arrived).await,
        Err(failure) => failure.into_response(),
    }
}

async fn follow<R: LongRequest>(desk: Arc<Desk>, arrived: Arrived<R>) -> Response {
    respond(desk, LINES, |desk, out| {
        let Arrived { request, room: _room } = arrived;
        let mut lines = LineOut::<R>::new(out);
        let done = perform_long(request, &desk.daemon, &mut |step| lines.tell(desk, step));
        match done.map_err(|failure| lines.out.told(failure)) {
            Ok(answer) => lines.finish(&Line::Done(answer)),
            Err(failure) if lines.out.has_begun => lines.finish(&Line::Failed(failure)),
            Err(failure) => lines.out.refuse(failure),
        }
    })
    .await
}

async fn read(State(desk): State<Arc<Desk>>, RawQuery(query): RawQuery) -> Response {
    let request = match from_query::<Read>(query.as_deref()) {
        Ok(request) => request,
        Err(failure) => return failure.into_response(),
    };
    respond(desk, FRAMES, |desk, out| {
        let mut frames = FrameOut { out };
        let done = request.work(&desk.daemon, &mut frames);
        match done.map_err(|failure| frames.out.told(failure)) {
            Ok(()) => frames.finish(&Frame::Done),
            Err(failure) if frames.out.has_begun => {
                let text = serde_json::to_vec(&failure).unwrap_or_default();
                frames.finish(&Frame::Failed(text.into()));
            }
            Err(failure) => frames.out.refuse(failure),
        }
    })
    .await
}

/// Has `work` done by a thread, and responds with what it sends. A failure before anything was sent is the whole
/// response, with its status.
async fn respond(
    desk: Arc<Desk>,
    media: &'static str,
    work: impl FnOnce(&Desk, Out) + Send + 'static,
) -> Response {
    if let Err(failure) = desk.check_open() {
        return failure.into_response();
    }
    let Some(slot) = desk.streams.take() else {
        return busy().into_response();
    };
    let (sender, mut body) = chunks();
    let (refuse, refused) = oneshot::channel();
    tokio::task::spawn_blocking(move || {
        let out = Out {
            desk: Arc::clone(&desk),
            slot,
            sender,
            refuse,
            has_begun: false,
        };
        work(&desk, out);
    });
    if body.has_begun().await {
        return ([(header::CONTENT_TYPE, media)], Body::new(body)).into_response();
    }
    // Neither a chunk nor a reason: it panicked.
    refused.await.unwrap_or_else(|_| defect()).into_response()
}

/// Returns the failure of a request for which no slot is free.
pub(super) fn busy() -> Failure {
    Failure::new(
        Kind::Busy,
        "the daemon is busy with as many long requests as it takes",
    )
    .hint("try again when one of them has ended")
}

/// Returns the failure of a request that lost its slot.
pub(super) fn stood_still() -> Failure {
    Failure::new(
        Kind::Busy,
        "the other end stood still for too long, and another request needed the place",
    )
    .hint("try again, and let what is slow come from a file, or go to one")
}

/// Where the work sends its chunks.
struct Out {
    desk: Arc<Desk>,
    slot: Slot,
    sender: Sender<Bytes>,
    refuse: oneshot::Sender<Failure>,
    has_begun: bool,
}

impl Out {
    /// Sends a chunk, when there is room for it. Breaks when nobody reads any more, or has for too long.
    fn send(&mut self, chunk: Bytes) -> ControlFlow<()> {
        self.has_begun = true;
        let chunk = match self.sender.try_send(chunk) {
            Ok(()) => return ControlFlow::Continue(()),
            Err(TrySendError::Closed(_)) => return ControlFlow::Break(()),
            Err(TrySendError::Full(chunk)) => chunk,
        };
        let sending = async {
            tokio::select! {
                sent = self.sender.send(chunk) => sent.is_ok(),
                () = self.desk.until(Stage::CutOff) => false,
            }
        };
        match Handle::current().block_on(self.slot.wait(sending)) {
            Some(true) => ControlFlow::Continue(()),
            Some(false) | None => ControlFlow::Break(()),
        }
    }

    /// Sends the last chunk, whenever there is room for it: nothing but that waits for who reads.
    fn finish(&mut self, chunk: Bytes) {
        if let Err(TrySendError::Full(chunk)) = self.sender.try_send(chunk) {
            let sender = self.sender.clone();
            // Whoever is gone has not waited for it.
            Handle::current().spawn(async move { drop(sender.send(chunk).await) });
        }
    }

    /// Says of work that was ended why it was.
    fn told(&self, failure: Failure) -> Failure {
        match failure.kind {
            Kind::Cancelled if self.desk.is_cut_off() => stopping(),
            Kind::Cancelled if self.slot.is_lost() => stood_still(),
            _ => failure,
        }
    }

    /// Ends before anything was sent.
    fn refuse(self, failure: Failure) {
        // If nobody waits for it, nobody is left.
        let _ = self.refuse.send(failure);
    }
}

/// Sends lines, several in a chunk.
struct LineOut<R: LongRequest> {
    out: Out,
    gathered: BytesMut,
    sent: Instant,
    request: std::marker::PhantomData<R>,
}

impl<R: LongRequest> LineOut<R> {
    fn new(out: Out) -> Self {
        Self {
            out,
            gathered: BytesMut::new(),
            sent: Instant::now(),
            request: std::marker::PhantomData,
        }
    }

    fn tell(&mut self, desk: &Desk, step: Step<R::Item>) -> ControlFlow<()> {
        if desk.is_cut_off() || self.out.sender.is_closed() {
            return ControlFlow::Break(());
        }
        let is_due = self.sent.elapsed() >= GATHERED_FOR;
        // Progress is for people: ten times a second is more than they can read.
        if is_due || matches!(step, Step::Item(_)) {
            self.put(&step.into());
        }
        if is_due || self.gathered.len() >= GATHERED_BYTES {
            return self.send();
        }
        ControlFlow::Continue(())
    }

    fn put(&mut self, line: &Line<R::Item, R::Answer>) {
        put_line(line, &mut self.gathered);
    }

    fn send(&mut self) -> ControlFlow<()> {
        self.sent = Instant::now();
        let chunk = self.gathered.split().freeze();
        self.out.send(chunk)
    }

    fn finish(&mut self, line: &Line<R::Item, R::Answer>) {
        self.put(line);
        self.out.finish(self.gathered.split().freeze());
    }
}

fn put_line(line: &impl Serialize, out: &mut BytesMut) {
    // Half a line at the end is a cut, which is what it should look like.
    let _ = serde_json::to_writer(out.writer(), line);
    out.put_u8(b'\n');
}

/// Sends the frames of a disk.
struct FrameOut {
    out: Out,
}

impl FrameOut {
    fn finish(&mut self, frame: &Frame) {
        let mut chunk = BytesMut::new();
        frame.encode(&mut chunk);
        self.out.finish(chunk.freeze());
    }

    fn send(&mut self, frame: &Frame) -> Result<(), Failure> {
        let mut chunk = BytesMut::new();
        frame.encode(&mut chunk);
        self.send_chunk(chunk)
    }

    fn send_chunk(&mut self, chunk: BytesMut) -> Result<(), Failure> {
        match self.out.send(chunk.freeze()) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(Failure::cancelled()),
        }
    }
}

impl Pieces for FrameOut {
    fn begin(&mut self, range: Range<u64>) -> Result<(), Failure> {
        self.send(&Frame::Begin(range))
    }

    fn piece(&mut self, piece: Piece<'_>) -> Result<(), Failure> {
        if self.out.desk.is_cut_off() {
            return Err(Failure::cancelled());
        }
        match piece {
            Piece::Data { offset, bytes } => {
                let mut chunk = BytesMut::new();
                encode_data(offset, bytes, &mut chunk);
                self.send_chunk(chunk)
            }
            Piece::Hole { offset, length } => self.send(&Frame::Hole { offset, length }),
        }
    }
}
