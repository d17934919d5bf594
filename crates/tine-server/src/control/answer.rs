//! Requests that are answered in one piece: JSON, or a failure with the HTTP status of its kind.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::OwnedSemaphorePermit;

use super::upload::forget;
use super::{
    Desk, LARGE_REQUESTS_MAX, REQUEST_BYTES_MAX, REQUEST_WAIT, SMALL_REQUEST_BYTES, Stage, stopping,
};
use crate::api::{
    Create, Drop, Failure, Forget, Fork, Keep, Kind, Ls, Method, Protect, Rename, Request, Resize, Rollback,
    Show, Snapshot, Stats, Status, Tree, perform,
};
use crate::wire::{JSON, path};

/// Adds the requests that are answered in one piece.
pub(super) fn routes(router: Router<Arc<Desk>>) -> Router<Arc<Desk>> {
    let router = route::<Create>(router);
    let router = route::<Fork>(router);
    let router = route::<Snapshot>(router);
    let router = route::<Rollback>(router);
    let router = route::<Drop>(router);
    let router = route::<Rename>(router);
    let router = route::<Resize>(router);
    let router = route::<Ls>(router);
    let router = route::<Show>(router);
    let router = route::<Tree>(router);
    let router = route::<Stats>(router);
    let router = route::<Status>(router);
    let router = route::<Protect>(router);
    let router = route::<Keep>(router);
    route::<Forget>(router)
}

fn route<R: Request>(router: Router<Arc<Desk>>) -> Router<Arc<Desk>> {
    let handler = match R::METHOD {
        Method::Look => get(look::<R>),
        Method::Change => post(change::<R>),
    };
    router.route(&path(R::VERB), handler)
}

async fn look<R: Request>(State(desk): State<Arc<Desk>>, RawQuery(query): RawQuery) -> Response {
    match from_query::<R>(query.as_deref()) {
        Ok(request) => work(desk, Arrived::from(request)).await,
        Err(failure) => failure.into_response(),
    }
}

async fn change<R: Request>(State(desk): State<Arc<Desk>>, body: Body) -> Response {
    match from_body::<R>(&desk, body).await {
        Ok(arrived) => work(desk, arrived).await,
        Err(failure) => failure.into_response(),
    }
}

async fn work<R: Request>(desk: Arc<Desk>, arrived: Arrived<R>) -> Response {
    if let Err(failure) = desk.check_open() {
        return failure.into_response();
    }
    let slot = tokio::select! {
        biased;
        slot = Arc::clone(&desk.requests).acquire_owned() => slot,
        () = desk.until(Stage::CutOff) => return stopping().into_response(),
    };
    let daemon = Arc::clone(&desk.daemon);
    let work = move || {
        // Whoever asked may be gone by the time that it is done: the slot is the work's.
        let (_slot, _room) = (slot, arrived.room);
        perform(arrived.request, &daemon)
    };
    let done = tokio::task::spawn_blocking(work).await;
    match done.unwrap_or_else(|_| Err(defect())) {
        Ok(answer) => json(&answer),
        Err(failure) => failure.into_response(),
    }
}

/// Returns the failure of work that panicked: a defect of tine's.
pub(super) fn defect() -> Failure {
    Failure::new(Kind::Failed, "the daemon met a defect while it worked on this")
        .hint("whether it was done is not known; please report it")
}

/// Reads a request from the query of its path.
pub(super) fn from_query<R: DeserializeOwned>(query: Option<&str>) -> Result<R, Failure> {
    serde_urlencoded::from_str(query.unwrap_or_default()).map_err(|error| misunderstood("query", &error))
}

/// A request that has come, and the room that it takes.
pub(super) struct Arrived<R> {
    pub(super) request: R,
    /// To be kept until the request was worked on: it may hold more than its body did.
    pub(super) room: Room,
}

/// Room for a large request; a small one needs none.
pub(super) type Room = Option<OwnedSemaphorePermit>;

impl<R> From<R> for Arrived<R> {
    /// Of a request that is small.
    fn from(request: R) -> Self {
        Self { request, room: None }
    }
}

/// Reads a request from its body, unless the daemon stops before all of it has come.
pub(super) async fn from_body<R: DeserializeOwned>(desk: &Desk, body: Body) -> Result<Arrived<R>, Failure> {
    let whole = tokio::select! {
        biased;
        whole = whole(desk, body) => whole,
        () = desk.until(Stage::Stopping) => return Err(stopping()),
    };
    let (body, room) = whole.map_err(|failure| match desk.check_open() {
        // It was this side that cut it off.
        Err(stopping) if failure.kind == Kind::Caller => stopping,
        _ => failure,
    })?;
    let request = serde_json::from_slice(&body).map_err(|error| misunderstood("body", &error))?;
    Ok(Arrived { request, room })
}

/// Receives all of a body, unless that is too long; there are only so many long ones at a time.
async fn whole(desk: &Desk, mut body: Body) -> Result<(BytesMut, Room), Failure> {
    let mut bytes = BytesMut::new();
    if receive(&mut body, &mut bytes, SMALL_REQUEST_BYTES).await? {
        return Ok((bytes, None));
    }
    let room = Arc::clone(&desk.large).acquire_owned();
    let room = tokio::time::timeout(REQUEST_WAIT, room).await.map_err(|_| {
        let words = format!("the daemon is at {LARGE_REQUESTS_MAX} requests as long as this one");
        Failure::new(Kind::Busy, words).hint("try again, or name less in one request, and send several")
    })?;
    if receive(&mut body, &mut bytes, REQUEST_BYTES_MAX).await? {
        return Ok((bytes, room.ok()));
    }
    tokio::spawn(forget(body));
    let words = format!("the request is longer than {} MiB", REQUEST_BYTES_MAX >> 20);
    Err(Failure::new(Kind::Invalid, words).hint("name less in one request, and send several"))
}

/// Receives what comes of a body, until there is more than `most` of it. Returns whether that is all.
async fn receive(body: &mut Body, bytes: &mut BytesMut, most: usize) -> Result<bool, Failure> {
    let receiving = async {
        while bytes.len() <= most {
            let Some(frame) = body.frame().await else {
                return Ok(true);
            };
            let frame = frame.map_err(|_| Failure::new(Kind::Caller, "the request was cut off"))?;
            if let Some(data) = frame.data_ref() {
                bytes.extend_from_slice(data);
            }
        }
        Ok(false)
    };
    let received = tokio::time::timeout(REQUEST_WAIT, receiving).await;
    received.unwrap_or_else(|_| {
        let words = format!(
            "the request did not come to its end within {} s",
            REQUEST_WAIT.as_secs()
        );
        Err(Failure::new(Kind::Invalid, words))
    })
}

fn misunderstood(part: &str, error: &dyn std::error::Error) -> Failure {
    Failure::new(
        Kind::Invalid,
        format!("the {part} of the request is not understood: {error}"),
    )
    .hint("docs/control.md describes the requests; one of a later tine needs a later daemon")
}

/// Makes a response of an answer.
pub(super) fn json<T: Serialize>(answer: &T) -> Response {
    match serde_json::to_vec(answer) {
        Ok(body) => ([(header::CONTENT_TYPE, JSON)], Bytes::from(body)).into_response(),
        Err(_) => defect().into_response(),
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let body = serde_json::to_vec(&self).unwrap_or_default();
        (
            status(self.kind),
            [(header::CONTENT_TYPE, JSON)],
            Bytes::from(body),
        )
            .into_response()
    }
}

/// Returns the HTTP status of a kind of failure.
fn status(kind: Kind) -> StatusCode {
    match kind {
        Kind::Invalid | Kind::Caller => StatusCode::BAD_REQUEST,
        Kind::ReadOnly => StatusCode::FORBIDDEN,
        Kind::NotFound | Kind::Version => StatusCode::NOT_FOUND,
        Kind::Exists | Kind::Attached | Kind::Unconfirmed => StatusCode::CONFLICT,
        Kind::Busy | Kind::Stopping => StatusCode::SERVICE_UNAVAILABLE,
        Kind::OtherStore => StatusCode::MISDIRECTED_REQUEST,
        Kind::NoSpace => StatusCode::INSUFFICIENT_STORAGE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};
    use std::sync::{LazyLock, Mutex};
    use std::time::Duration;

    use serde::Deserialize;
    use tine_store::{CreateOptions, OpenOptions, Store};

    use super::*;
    use crate::Daemon;
    use crate::control::slots::Slots;

    /// Two ends of a channel, for one request.
    type Gate = (Mutex<Sender<()>>, Mutex<Receiver<()>>);
    static BEGUN: LazyLock<Gate> = LazyLock::new(gate);
    static GO_ON: LazyLock<Gate> = LazyLock::new(gate);

    fn gate() -> Gate {
        let (sender, receiver) = channel();
        (Mutex::new(sender), Mutex::new(receiver))
    }

    /// Work that takes as long as the test likes.
    #[derive(Serialize, Deserialize)]
    struct Wait {}

    impl Request for Wait {
        type Answer = ();
        const METHOD: Method = Method::Change;
        const VERB: &'static str = "wait";

        fn work(self, _: &Daemon) -> Result<(), Failure> {
            BEGUN.0.lock().unwrap().send(()).unwrap();
            GO_ON.1.lock().unwrap().recv().unwrap();
            Ok(())
        }
    }

    #[test]
    fn work_keeps_its_slot_when_nobody_waits_for_it_any_more() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::create(
            &folder.path().join("store"),
            &CreateOptions::default(),
            OpenOptions::default(),
        );
        let daemon = Arc::new(Daemon::new(store.unwrap()));
        let desk = Arc::new(Desk::new(daemon, 1, Slots::new(1, Duration::ZERO)));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        runtime.block_on(async {
            let asking = work(Arc::clone(&desk), Arrived::from(Wait {}));
            let begun = tokio::task::spawn_blocking(|| BEGUN.1.lock().unwrap().recv());
            tokio::select! {
                biased;
                _ = asking => panic!("it waits"),
                begun = begun => begun.unwrap().unwrap(),
            }
            // Its connection broke.
            tokio::time::sleep(Duration::from_millis(50)).await;
            assert_eq!(desk.requests.available_permits(), 0);
            GO_ON.0.lock().unwrap().send(()).unwrap();
            let _next = desk.requests.acquire().await.unwrap();
        });
    }
}
