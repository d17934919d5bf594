//! The control plane of a daemon: requests over a unix socket, by HTTP and JSON. docs/control.md describes them.
//!
//! The engine is synchronous, so each request is worked on by a thread of a bounded pool; what is asynchronous only moves
//! bytes. What a slow client holds is bounded: a connection, a request's slot, and the few chunks of `wire`.
//!
//! **Invariant:** no lock of the store is held while a client is waited for: streams are pulled and pushed between the
//! engine's calls.
//!
//! **Invariant:** of what a daemon that stops was sent it does all or nothing, and says which (`connection`).

mod answer;
mod connection;
mod incoming;
mod slots;
mod stream;
mod upload;

use std::io;
use std::os::unix;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::{Next, from_fn_with_state, map_response};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use rustix::net::{Shutdown, shutdown};
use tokio::net::{UnixListener, UnixStream};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::task::JoinHandle;

use self::slots::Slots;
use crate::Daemon;
use crate::api::{API_VERSION, Failure, Kind};
use crate::wire::{API_HEADER, Hello, STORE_HEADER, store_mark};

/// Connections at once; more wait in the kernel's queue.
const CONNECTIONS_MAX: usize = 256;
/// Requests that are worked on at once and answered in one piece; more wait for their turn.
const REQUESTS_MAX: usize = 64;
/// Requests at once that take long; more are told to come again, or take the place of those that have stood still for so
/// long.
const STREAMS_MAX: usize = 64;
const STANDING_STILL: Duration = Duration::from_secs(60);
/// Threads that move bytes: they never wait for the store.
const MOVERS: usize = 2;
/// The most that a request as JSON has: a drop of as many names as a command line takes.
const REQUEST_BYTES_MAX: usize = 8 << 20;
/// Up to here what comes of a request as JSON is gathered at once.
const SMALL_REQUEST_BYTES: usize = 64 << 10;
/// Longer ones at once, from there on until they have been worked on; more are not read any further.
const LARGE_REQUESTS_MAX: usize = 8;
/// A request has come within this time, and so has the next one on its connection.
const REQUEST_WAIT: Duration = Duration::from_secs(30);
/// The most that the head of a request has.
const HEAD_BYTES_MAX: usize = 16 << 10;
/// The most that is read ahead, or waits to be written, of one connection.
const BUFFER_BYTES_MAX: usize = 256 << 10;
/// When accepting is tried again that failed.
const AGAIN: Duration = Duration::from_millis(20);
/// So long those that were cut off may take to say so.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// What all requests share.
pub(crate) struct Desk {
    daemon: Arc<Daemon>,
    requests: Arc<Semaphore>,
    /// Room for requests that are large.
    large: Arc<Semaphore>,
    streams: Arc<Slots>,
    stage: watch::Sender<Stage>,
}

/// How far the end is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Debug)]
enum Stage {
    /// It has not begun.
    Open,
    /// New requests are refused.
    Stopping,
    /// What is under way is cut off.
    CutOff,
}

impl Desk {
    fn new(daemon: Arc<Daemon>, requests: usize, streams: Slots) -> Self {
        Self {
            daemon,
            requests: Arc::new(Semaphore::new(requests)),
            large: Arc::new(Semaphore::new(LARGE_REQUESTS_MAX)),
            streams: Arc::new(streams),
            stage: watch::Sender::new(Stage::Open),
        }
    }

    /// Fails when the daemon is stopping.
    fn check_open(&self) -> Result<(), Failure> {
        match *self.stage.borrow() {
            Stage::Open => Ok(()),
            Stage::Stopping | Stage::CutOff => Err(stopping()),
        }
    }

    fn is_cut_off(&self) -> bool {
        *self.stage.borrow() == Stage::CutOff
    }

    async fn until(&self, stage: Stage) {
        // The sender is the desk's.
        let _ = self.stage.subscribe().wait_for(|now| *now >= stage).await;
    }
}

fn stopping() -> Failure {
    Failure::new(Kind::Stopping, "the daemon is stopping").hint("try again when it has stopped")
}

/// The control plane at work.
#[derive(Debug)]
pub struct Control {
    runtime: Runtime,
    desk: Arc<Desk>,
    accepting: JoinHandle<()>,
}

impl std::fmt::Debug for Desk {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Desk")
            .field("stage", &self.stage)
            .finish_non_exhaustive()
    }
}

impl Control {
    /// Begins to answer requests that come to `listener`, with threads of its own.
    ///
    /// # Errors
    /// Those of making threads and of the listener.
    pub fn start(daemon: Arc<Daemon>, listener: unix::net::UnixListener) -> io::Result<Self> {
        let slots = Slots::new(STREAMS_MAX, STANDING_STILL);
        Self::start_at(Desk::new(daemon, REQUESTS_MAX, slots), listener)
    }

    fn start_at(desk: Desk, listener: unix::net::UnixListener) -> io::Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(MOVERS)
            .max_blocking_threads(REQUESTS_MAX + STREAMS_MAX)
            .thread_name("tine-control")
            .enable_io()
            .enable_time()
            .build()?;
        listener.set_nonblocking(true)?;
        let listener = {
            let _inside = runtime.enter();
            UnixListener::from_std(listener)?
        };
        let desk = Arc::new(desk);
        let accepting = runtime.spawn(accept(listener, Arc::clone(&desk)));
        Ok(Self {
            runtime,
            desk,
            accepting,
        })
    }

    /// Ends: new requests are refused as of now, those under way have `grace` to end and are cut off then.
    pub fn stop(self, grace: Duration) {
        let Self {
            runtime,
            desk,
            mut accepting,
        } = self;
        let end = Instant::now() + grace;
        desk.stage.send_replace(Stage::Stopping);
        runtime.block_on(async {
            if tokio::time::timeout_at(end.into(), &mut accepting).await.is_err() {
                desk.stage.send_replace(Stage::CutOff);
                let _ = tokio::time::timeout(LAST_WORDS, accepting).await;
            }
        });
        desk.stage.send_replace(Stage::CutOff);
        runtime.shutdown_timeout(LAST_WORDS);
    }
}

/// Accepts connections until the daemon stops; ends when the last of them has.
async fn accept(listener: UnixListener, desk: Arc<Desk>) {
    let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut stage = desk.stage.subscribe();
    // Each connection has a sender, and nobody sends.
    let (open, mut all_closed) = mpsc::channel::<()>(1);
    let router = router(Arc::clone(&desk));
    let serve = |stream, slot: Option<OwnedSemaphorePermit>| {
        let serving = connection::serve(stream, router.clone(), desk.stage.subscribe());
        let open = open.clone();
        tokio::spawn(async move {
            serving.await;
            drop((slot, open));
        });
    };
    loop {
        let next = async {
            let slot = Arc::clone(&slots).acquire_owned().await;
            (listener.accept().await, slot)
        };
        let (accepted, slot) = tokio::select! {
            biased;
            _ = stage.wait_for(|stage| *stage >= Stage::Stopping) => break,
            next = next => next,
        };
        match accepted {
            Ok((stream, _)) => serve(stream, slot.ok()),
            // No descriptor is free, or the client is gone again.
            Err(_) => tokio::time::sleep(AGAIN).await,
        }
    }
    // From here on connecting is refused, as if nobody listened. Those who had connected are in the queue still.
    let _ = shutdown(&listener, Shutdown::Read);
    // The runtime may not have heard of all of them.
    if let Ok(listener) = listener.into_std() {
        loop {
            match listener.accept().and_then(|(stream, _)| nonblocking(stream)) {
                Ok(stream) => serve(stream, None),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(_) => tokio::time::sleep(AGAIN).await,
            }
        }
    }
    drop(open);
    all_closed.recv().await;
}

fn nonblocking(stream: unix::net::UnixStream) -> io::Result<UnixStream> {
    stream.set_nonblocking(true)?;
    UnixStream::from_std(stream)
}

fn router(desk: Arc<Desk>) -> Router {
    let router = Router::new().route("/v1/hello", get(hello));
    stream::routes(answer::routes(router))
        .fallback(unknown)
        .method_not_allowed_fallback(wrong_method)
        .layer(DefaultBodyLimit::disable())
        .layer(from_fn_with_state(Arc::clone(&desk), meant_for_this_store))
        .layer(map_response(signed))
        .with_state(desk)
}

/// Says who the daemon is, as long as it takes requests.
async fn hello(State(desk): State<Arc<Desk>>) -> Response {
    match desk.check_open() {
        Ok(()) => answer::json(&Hello::of_this_process()),
        Err(failure) => failure.into_response(),
    }
}

/// Refuses what is meant for another store: a copy of a store that was served has the link to its control socket, too.
async fn meant_for_this_store(State(desk): State<Arc<Desk>>, request: Request, next: Next) -> Response {
    let folder = desk.daemon.store().folder();
    let ours = folder.and_then(|folder| folder.identity().ok()).map(store_mark);
    match (request.headers().get(STORE_HEADER), ours) {
        (Some(meant), Some(ours)) if meant.as_bytes() != ours.as_bytes() => {
            let which = desk.daemon.served().map(|served| format!(": `{}`", served.store));
            let pid = std::process::id();
            let words = format!("process {pid} serves another store{}", which.unwrap_or_default());
            let failure = Failure::new(Kind::OtherStore, words);
            failure
                .hint("`control.sock` in the store leads to it, as in a copy of a store that was served: remove it")
                .into_response()
        }
        _ => next.run(request).await,
    }
}

/// Says on each response who answers.
async fn signed(mut response: Response) -> Response {
    let server = HeaderValue::from_static(concat!("tine/", env!("CARGO_PKG_VERSION")));
    let headers = response.headers_mut();
    headers.insert(header::SERVER, server);
    headers.insert(API_HEADER, HeaderValue::from(API_VERSION));
    response
}

async fn unknown(uri: Uri) -> Failure {
    let words = format!(
        "this daemon (tine {}) does not know `{}`",
        env!("CARGO_PKG_VERSION"),
        uri.path()
    );
    Failure::new(Kind::Version, words).hint("restart the daemon with the version of tine that asks")
}

async fn wrong_method(method: Method, uri: Uri) -> (StatusCode, Response) {
    let words = format!("`{}` is not asked by {method}", uri.path());
    let failure =
        Failure::new(Kind::Invalid, words).hint("GET looks, POST changes: docs/control.md lists them");
    (StatusCode::METHOD_NOT_ALLOWED, failure.into_response())
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};

    use tine_store::{CreateOptions, OpenOptions, Store};

    use super::*;
    use crate::socket;

    const STANDING_STILL: Duration = Duration::from_millis(100);

    /// Sends a request until the daemon takes it, and waits until it is at it.
    fn begin(path: &std::path::Path, request: &str) -> unix::net::UnixStream {
        let end = Instant::now() + Duration::from_secs(20);
        loop {
            let mut stream = socket::connect(path).unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            stream.write_all(request.as_bytes()).unwrap();
            let mut status = [0; 12];
            stream.read_exact(&mut status).unwrap();
            if status != *b"HTTP/1.1 503" {
                return stream;
            }
            assert!(Instant::now() < end, "no place becomes free");
            std::thread::sleep(STANDING_STILL / 2);
        }
    }

    fn rest(mut stream: unix::net::UnixStream) -> String {
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).unwrap();
        String::from_utf8_lossy(&rest).into_owned()
    }

    #[test]
    fn who_stands_still_gives_its_place_to_the_next_and_is_told_why() {
        const READ: &str = "GET /v1/read?target=disk HTTP/1.1\r\nhost: tine\r\nconnection: close\r\n\r\n";
        const IMPORT: &str = "POST /v1/import?name=new HTTP/1.1\r\nhost: tine\r\nexpect: 100-continue\r\n\
                              connection: close\r\ntransfer-encoding: chunked\r\n\r\n";
        let folder = tempfile::tempdir().unwrap();
        let store = Store::create(
            &folder.path().join("store"),
            &CreateOptions::default(),
            OpenOptions::default(),
        );
        let store = store.unwrap();
        let disk = store.create_branch(&"disk".parse().unwrap(), 16 << 20).unwrap();
        disk.write_at(&vec![7; 16 << 20], 0).unwrap();
        let path = folder.path().join("control");
        let (listener, _file) = socket::bind(&path).unwrap();
        let desk = Desk::new(Arc::new(Daemon::new(store)), 1, Slots::new(1, STANDING_STILL));
        let control = Control::start_at(desk, listener).unwrap();

        let (reading, importing, last) = (begin(&path, READ), begin(&path, IMPORT), begin(&path, READ));
        for slow in [reading, importing] {
            let rest = rest(slow);
            assert!(rest.contains("stood still for too long"), "{rest}");
        }
        assert!(rest(last).len() > 16 << 20);
        control.stop(Duration::from_secs(5));
    }
}
