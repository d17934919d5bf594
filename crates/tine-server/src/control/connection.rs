//! One connection of the control socket, and how it ends when the daemon does.
//!
//! A unix socket is a queue in the kernel, which tells both sides exactly what got into it. So a daemon that stops closes the
//! queue first, and then reads it to its end.
//!
//! **Invariant:** when the daemon stops, what a client had sent whole is answered, if only by saying that it is stopping; and
//! what it sends later does not arrive, as its own kernel tells it. So nobody has to wonder, unless the daemon dies.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::Router;
use axum::body::{Body, Bytes};
use hyper::Request;
use hyper::body::{self, Body as HttpBody, Frame, SizeHint};
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tine_nbd::Peer;
use tokio::net::UnixStream;
use tokio::sync::watch;

use super::incoming::Incoming;
use super::{BUFFER_BYTES_MAX, HEAD_BYTES_MAX, REQUEST_WAIT, Stage};

/// Answers the requests of a connection until the client leaves, or until the daemon stops and nothing is under way.
pub(super) async fn serve(stream: UnixStream, router: Router, mut stage: watch::Receiver<Stage>) {
    let by = By(peer(&stream));
    let (under_way, mut idle) = watch::channel(0);
    let under_way = Arc::new(under_way);
    let router = TowerToHyperService::new(router);
    let answering = service_fn(move |mut request: Request<body::Incoming>| {
        request.extensions_mut().insert(by.clone());
        let under_way = UnderWay::new(&under_way);
        let response = router.call(request);
        async move {
            let response = response.await?;
            Ok::<_, Infallible>(response.map(|body| Answer {
                body,
                _under_way: under_way,
            }))
        }
    });
    let stopped = async move {
        // The sender of each outlives this.
        let _ = stage.wait_for(|stage| *stage >= Stage::Stopping).await;
        let _ = idle.wait_for(|under_way| *under_way == 0).await;
    };
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        // Else the end of what can be read would end what is under way. That a client is gone, writing to it tells.
        .half_close(true)
        .header_read_timeout(REQUEST_WAIT)
        .max_header_size(HEAD_BYTES_MAX)
        .max_buf_size(BUFFER_BYTES_MAX)
        .serve_connection(TokioIo::new(Incoming::until(stopped, stream)), answering);
    // A client that breaks off or speaks no HTTP ends its own connection only.
    let _ = connection.await;
}

/// Who sent a request.
#[derive(Clone, Debug)]
pub(super) struct By(pub(super) Peer);

/// Returns the other end of a connection, as it was when it connected.
fn peer(stream: &UnixStream) -> Peer {
    match stream.peer_cred() {
        Ok(credentials) => Peer::Process {
            // 0 where it is in a namespace that cannot be seen from here.
            pid: credentials.pid().map_or(0, i32::cast_unsigned),
            uid: credentials.uid(),
            gid: credentials.gid(),
        },
        Err(_) => Peer::Process {
            pid: 0,
            uid: 0,
            gid: 0,
        },
    }
}

/// A request that is not answered yet, counted as long as this lives.
struct UnderWay(Arc<watch::Sender<usize>>);

impl UnderWay {
    fn new(count: &Arc<watch::Sender<usize>>) -> Self {
        count.send_modify(|count| *count += 1);
        Self(Arc::clone(count))
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

/// The body of an answer, under way until it is sent.
struct Answer {
    body: Body,
    _under_way: UnderWay,
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
