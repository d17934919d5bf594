//! The control plane of a daemon: requests over a unix socket, by HTTP and JSON. docs/control.md describes them.
//!
//! The engine is synchronous, so each request is worked on by a thread of a bounded pool; what is asynchronous only moves
//! bytes. What a slow client holds is bounded: a connection, a request's slot, and the few chunks of `wire`.
//!
//! **Invariant:** no lock of the store is held while a client is waited for: streams are pulled and pushed between the
//! engine's calls.

mod answer;
mod stream;
mod upload;

use std::io;
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::map_response;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinHandle;

use crate::Daemon;
use crate::api::{API_VERSION, Failure, Kind};
use crate::wire::{API_HEADER, Hello};

/// Connections at once; more wait in the kernel's queue.
const CONNECTIONS_MAX: usize = 256;
/// Requests that are worked on at once and answered in one piece; more wait for their turn.
const REQUESTS_MAX: usize = 64;
/// Requests at once that take long; more are told to come again.
const STREAMS_MAX: usize = 64;
/// Threads that move bytes: they never wait for the store.
const MOVERS: usize = 2;
/// The most that a request as JSON has: a drop of as many names as a command line takes.
const REQUEST_BYTES_MAX: usize = 8 << 20;
/// A request has come within this time, and so has the next one on its connection.
const REQUEST_WAIT: Duration = Duration::from_secs(30);
/// The most that the head of a request has.
const HEAD_BYTES_MAX: usize = 16 << 10;
/// The most that is read ahead, or waits to be written, of one connection.
const BUFFER_BYTES_MAX: usize = 256 << 10;
/// So long those that were cut off may take to say so.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// What all requests share.
pub(crate) struct Desk {
    daemon: Arc<Daemon>,
    requests: Semaphore,
    streams: Semaphore,
    /// New requests are refused.
    stopping: AtomicBool,
    /// What is under way is cut off.
    cut_off: AtomicBool,
}

impl Desk {
    /// Fails when the daemon is stopping.
    fn check_open(&self) -> Result<(), Failure> {
        if self.stopping.load(Ordering::Acquire) {
            return Err(stopping());
        }
        Ok(())
    }

    fn is_cut_off(&self) -> bool {
        self.cut_off.load(Ordering::Acquire)
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
    stop: oneshot::Sender<()>,
}

impl std::fmt::Debug for Desk {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Desk")
            .field("stopping", &self.stopping)
            .field("cut_off", &self.cut_off)
            .finish_non_exhaustive()
    }
}

impl Control {
    /// Begins to answer requests that come to `listener`, with threads of its own.
    ///
    /// # Errors
    /// Those of making threads and of the listener.
    pub fn start(daemon: Arc<Daemon>, listener: UnixListener) -> io::Result<Self> {
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
            tokio::net::UnixListener::from_std(listener)?
        };
        let desk = Arc::new(Desk {
            daemon,
            requests: Semaphore::new(REQUESTS_MAX),
            streams: Semaphore::new(STREAMS_MAX),
            stopping: AtomicBool::new(false),
            cut_off: AtomicBool::new(false),
        });
        let (stop, stopped) = oneshot::channel();
        let accepting = runtime.spawn(accept(listener, Arc::clone(&desk), stopped));
        Ok(Self {
            runtime,
            desk,
            accepting,
            stop,
        })
    }

    /// Ends: new requests are refused as of now, those under way have `grace` to end and are cut off then.
    pub fn stop(self, grace: Duration) {
        let Self {
            runtime,
            desk,
            mut accepting,
            stop,
        } = self;
        let end = Instant::now() + grace;
        desk.stopping.store(true, Ordering::Release);
        // If nobody takes it, there is nobody to be stopped.
        let _ = stop.send(());
        runtime.block_on(async {
            if tokio::time::timeout_at(end.into(), &mut accepting).await.is_err() {
                desk.cut_off.store(true, Ordering::Release);
                let _ = tokio::time::timeout(LAST_WORDS, accepting).await;
            }
        });
        desk.cut_off.store(true, Ordering::Release);
        runtime.shutdown_timeout(LAST_WORDS);
    }
}

/// Accepts connections until it is told to stop; ends when the last of them has.
async fn accept(listener: tokio::net::UnixListener, desk: Arc<Desk>, mut stop: oneshot::Receiver<()>) {
    let connections = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let service = TowerToHyperService::new(router(desk));
    let open = GracefulShutdown::new();
    loop {
        let next = async {
            let slot = Arc::clone(&connections).acquire_owned().await;
            (listener.accept().await, slot)
        };
        let (accepted, slot) = tokio::select! {
            biased;
            _ = &mut stop => break,
            next = next => next,
        };
        let Ok((stream, _)) = accepted else {
            // No descriptor is free, or the client is gone again.
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        };
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(REQUEST_WAIT)
            .max_header_size(HEAD_BYTES_MAX)
            .max_buf_size(BUFFER_BYTES_MAX)
            .serve_connection(TokioIo::new(stream), service.clone());
        let connection = open.watch(connection);
        tokio::spawn(async move {
            // A client that breaks off or speaks no HTTP ends its own connection only.
            let _ = connection.await;
            drop(slot);
        });
    }
    drop(listener);
    open.shutdown().await;
}

fn router(desk: Arc<Desk>) -> Router {
    let router = Router::new().route("/v1/hello", get(hello));
    stream::routes(answer::routes(router))
        .fallback(unknown)
        .method_not_allowed_fallback(wrong_method)
        .layer(DefaultBodyLimit::disable())
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
