//! Asking a daemon: the client of the control API, which the command line uses itself.
//!
//! It is synchronous for its caller. HTTP is hyper's, on a runtime of the calling thread that costs some microseconds to
//! start; nothing runs beside the caller.
//!
//! **Invariant:** a connection that breaks is never taken for the end of an answer, and the failure says whether something
//! may have been done: nothing, if the daemon cannot have received the request ([`Kind::Stopping`]: ask again).

mod patience;
mod stream;
mod transfer;

use std::fs;
use std::io;
use std::ops::ControlFlow;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Either, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::HeaderValue;
use hyper::{Request as HttpRequest, Response, StatusCode, header};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::runtime::{Builder, Runtime};

use self::patience::Patience;
use self::stream::{Counting, Sent};
pub use self::transfer::Sending;

use crate::Serving;
use crate::api::{API_VERSION, Failure, Kind, LongRequest, Method, Request, Step, Tell};
use crate::socket;
use crate::wire::body::Chunks;
use crate::wire::line::{Line, Lines};
use crate::wire::{API_HEADER, Hello, JSON, STORE_HEADER, path, store_mark};

/// An answer in one piece is no longer than this: 65,000 forks with the longest names.
const ANSWER_BYTES_MAX: usize = 64 << 20;

type Body = Either<Full<Bytes>, Chunks>;

/// A connection to the daemon of a store.
pub struct Client {
    runtime: Runtime,
    requests: SendRequest<Body>,
    sent: Sent,
    patience: Patience,
    /// The process that listens.
    pid: Option<u32>,
    /// Which store is meant.
    meant: Option<HeaderValue>,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Client")
            .field("pid", &self.pid)
            .finish_non_exhaustive()
    }
}

/// What becomes of a request whose connection breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Changes {
    Nothing,
    Perhaps,
}

impl From<Method> for Changes {
    fn from(method: Method) -> Self {
        match method {
            Method::Look => Self::Nothing,
            Method::Change => Self::Perhaps,
        }
    }
}

impl Client {
    /// Connects to the daemon of the store in a directory, if there is one: a socket that nobody listens on is what a
    /// daemon left that was killed.
    ///
    /// # Errors
    /// Those of the operating system, but for those that only say that there is no daemon, or none for this user.
    pub fn find(store: &Path) -> io::Result<Option<Self>> {
        // Without it the daemon cannot tell whether it is meant.
        let meant = fs::metadata(store).ok();
        let meant = meant.and_then(|folder| store_mark((folder.dev(), folder.ino())).parse().ok());
        let stream = match socket::connect(&store.join(Serving::CONTROL)) {
            Ok(stream) => stream,
            Err(error) if means_none(&error) => return Ok(None),
            Err(error) => return Err(error),
        };
        stream.set_nonblocking(true)?;
        let runtime = Builder::new_current_thread().enable_io().enable_time().build()?;
        let sent = Sent::default();
        let (requests, pid) = runtime.block_on(async {
            let stream = tokio::net::UnixStream::from_std(stream)?;
            // 0 where it is in a namespace that cannot be seen from here.
            let pid = stream.peer_cred().ok().and_then(|daemon| daemon.pid());
            let pid = pid
                .and_then(|pid| u32::try_from(pid).ok())
                .filter(|pid| *pid != 0);
            let stream = Counting {
                stream,
                sent: sent.clone(),
            };
            let (requests, connection) = http1::handshake(TokioIo::new(stream))
                .await
                .map_err(io::Error::other)?;
            // It is driven whenever this client waits for something. How it ends, the request tells.
            tokio::spawn(async move { drop(connection.await) });
            Ok::<_, io::Error>((requests, pid))
        })?;
        Ok(Some(Self {
            runtime,
            requests,
            sent,
            patience: Patience::default(),
            pid,
            meant,
        }))
    }

    /// Has `ask` asked a few times a second while the daemon is waited for, with how long nothing whole has come from it: no
    /// answer, or nothing more of one that comes in parts. A failure ends the waiting.
    pub fn while_waiting(&mut self, ask: impl FnMut(Duration) -> Result<(), Failure> + 'static) {
        self.patience = Patience::new(ask);
    }

    /// Returns the process that listens, if that is known.
    pub fn pid(&self) -> Option<u32> {
        self.pid
    }

    /// Asks who the daemon is.
    ///
    /// # Errors
    /// Those of the connection.
    pub fn hello(&mut self) -> Result<Hello, Failure> {
        let request = self.request(Method::Look, "hello", "", no_body());
        self.answer(request, Changes::Nothing)
    }

    /// Asks for something.
    ///
    /// # Errors
    /// Those of the request; [`Kind::Connection`] and [`Kind::Version`] when there is no answer to be had.
    pub fn ask<R: Request>(&mut self, request: &R) -> Result<R::Answer, Failure> {
        let http = self.stated(R::METHOD, R::VERB, request)?;
        self.answer(http, R::METHOD.into())
    }

    /// Asks for something that tells how far it is; a break of `tell` ends it.
    ///
    /// # Errors
    /// As [`Client::ask`], and [`Kind::Cancelled`].
    pub fn follow<R: LongRequest>(
        &mut self,
        request: &R,
        tell: Tell<'_, R::Item>,
    ) -> Result<R::Answer, Failure> {
        let changes = Changes::from(R::METHOD);
        let http = self.stated(R::METHOD, R::VERB, request)?;
        let response = self.send(http, changes)?;
        let mut body = self.accepted(response, changes)?;
        let mut lines = Lines::default();
        loop {
            while let Some(line) = lines.next_line() {
                self.patience.renew();
                let line = serde_json::from_slice::<Line<R::Item, R::Answer>>(&line);
                let step = match line.map_err(|error| self.misunderstood(&error))? {
                    Line::Progress(progress) => Step::Progress(progress),
                    Line::Item(item) => Step::Item(item),
                    Line::Done(answer) => return Ok(answer),
                    Line::Failed(failure) => return Err(failure),
                };
                if let ControlFlow::Break(()) = tell(step) {
                    return Err(Failure::cancelled());
                }
            }
            let chunk = self.chunk(&mut body, changes)?;
            lines.push(&chunk).map_err(|()| {
                Failure::new(Kind::Version, "the daemon's answer has a line that does not end")
            })?;
        }
    }

    /// Makes a request of one that is data: in the query, or as JSON.
    fn stated<R: Serialize>(
        &self,
        method: Method,
        verb: &str,
        request: &R,
    ) -> Result<HttpRequest<Body>, Failure> {
        let failed = |error: &dyn std::error::Error| {
            Failure::new(Kind::Invalid, format!("the request cannot be sent: {error}"))
        };
        match method {
            Method::Look => {
                let query = serde_urlencoded::to_string(request).map_err(|error| failed(&error))?;
                Ok(self.request(method, verb, &query, no_body()))
            }
            Method::Change => {
                let body = serde_json::to_vec(request).map_err(|error| failed(&error))?;
                Ok(self.request(method, verb, "", Either::Left(Full::new(body.into()))))
            }
        }
    }

    fn request(&self, method: Method, verb: &str, query: &str, body: Body) -> HttpRequest<Body> {
        let mut target = path(verb);
        if !query.is_empty() {
            target.push('?');
            target.push_str(query);
        }
        let method = match method {
            Method::Look => hyper::Method::GET,
            Method::Change => hyper::Method::POST,
        };
        let mut request = HttpRequest::new(body);
        *request.method_mut() = method;
        // A path and a query that were written by us are valid.
        *request.uri_mut() = target.parse().unwrap_or_default();
        let headers = request.headers_mut();
        headers.insert(header::HOST, HeaderValue::from_static("tine"));
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(JSON));
        if let Some(meant) = &self.meant {
            headers.insert(STORE_HEADER, meant.clone());
        }
        request
    }

    fn send(&mut self, request: HttpRequest<Body>, changes: Changes) -> Result<Response<Incoming>, Failure> {
        let before = self.sent.bytes();
        self.patience.renew();
        let requests = &mut self.requests;
        let sending = async {
            requests.ready().await?;
            requests.send_request(request).await
        };
        match self.patience.wait(&self.runtime, sending) {
            Ok(Err(error)) if error.is_parse() => Err(self.misunderstood(&error)),
            Ok(sent) => sent.map_err(|_| self.broken_since(before, changes)),
            Err(failure) => Err(given_up(failure, changes)),
        }
    }

    /// Receives an answer in one piece.
    fn answer<A: DeserializeOwned>(
        &mut self,
        request: HttpRequest<Body>,
        changes: Changes,
    ) -> Result<A, Failure> {
        let response = self.send(request, changes)?;
        let body = self.accepted(response, changes)?;
        let body = self.whole(body, changes)?;
        serde_json::from_slice(&body).map_err(|error| self.misunderstood(&error))
    }

    /// Returns the body of a response that is an answer; fails with the failure that another is.
    fn accepted(&mut self, response: Response<Incoming>, changes: Changes) -> Result<Incoming, Failure> {
        let version = response.headers().get(API_HEADER).cloned();
        let version = version
            .as_ref()
            .and_then(|version| version.to_str().ok()?.parse().ok());
        let server = response.headers().get(header::SERVER).cloned();
        if version != Some(API_VERSION) {
            let server = server.as_ref().and_then(|server| server.to_str().ok());
            return Err(self.other_version(version, server));
        }
        if response.status() == StatusCode::OK {
            return Ok(response.into_body());
        }
        let body = self.whole(response.into_body(), changes)?;
        Err(serde_json::from_slice(&body).unwrap_or_else(|error| self.misunderstood(&error)))
    }

    /// Receives all of a body.
    fn whole(&mut self, mut body: Incoming, changes: Changes) -> Result<Vec<u8>, Failure> {
        let mut bytes = Vec::new();
        loop {
            match self.patience.wait(&self.runtime, body.frame()) {
                Err(failure) => return Err(given_up(failure, changes)),
                Ok(None) => return Ok(bytes),
                Ok(Some(Ok(frame))) => bytes.extend_from_slice(frame.data_ref().map_or(&[], Bytes::as_ref)),
                Ok(Some(Err(_))) => return Err(self.broken(changes)),
            }
            if bytes.len() > ANSWER_BYTES_MAX {
                return Err(Failure::new(Kind::Version, "the daemon's answer does not end"));
            }
        }
    }

    /// Receives the next chunk of a body; at its end, whatever that is, it has broken.
    fn chunk(&mut self, body: &mut Incoming, changes: Changes) -> Result<Bytes, Failure> {
        match self.patience.wait(&self.runtime, body.frame()) {
            Err(failure) => Err(given_up(failure, changes)),
            Ok(Some(Ok(frame))) => Ok(frame.into_data().unwrap_or_default()),
            Ok(None | Some(Err(_))) => Err(self.broken(changes)),
        }
    }

    fn who(&self) -> String {
        match self.pid {
            Some(pid) => format!("the daemon (process {pid})"),
            None => "the daemon".to_owned(),
        }
    }

    /// Returns the failure of a connection that broke in the midst of a request, of which the first byte was number `before`.
    fn broken_since(&self, before: u64, changes: Changes) -> Failure {
        if self.sent.is_short(before) {
            let words = format!("{} ended before it had received the request", self.who());
            return Failure::new(Kind::Stopping, words)
                .hint("nothing was changed by this command; try again");
        }
        self.broken(changes)
    }

    /// Returns the failure of a connection that broke.
    fn broken(&self, changes: Changes) -> Failure {
        let words = format!("{} ended before it had answered", self.who());
        let failure = Failure::new(Kind::Connection, words);
        failure.hint(match changes {
            Changes::Nothing => "nothing was changed by this command; try again",
            Changes::Perhaps => NOT_KNOWN,
        })
    }

    fn misunderstood(&self, error: &dyn std::error::Error) -> Failure {
        Failure::new(
            Kind::Version,
            format!("the answer of {} is not understood: {error}", self.who()),
        )
        .hint("restart the daemon with this version of tine, or use the tine that it is of")
    }

    fn other_version(&self, version: Option<u32>, server: Option<&str>) -> Failure {
        let ours = env!("CARGO_PKG_VERSION");
        let theirs = match (server, version) {
            (Some(server), Some(version)) => {
                format!("is {server} and speaks version {version} of the control API")
            }
            _ => "does not speak the control API of tine".to_owned(),
        };
        Failure::new(
            Kind::Version,
            format!(
                "{} {theirs}; this is tine/{ours} with version {API_VERSION}",
                self.who()
            ),
        )
        .hint("restart the daemon with this version of tine, or use the tine that it is of")
    }
}

const NOT_KNOWN: &str = "whether it was done is not known: `tine ls` and `tine show NAME` tell what there is, with a daemon and without";

/// Returns the failure of who has waited long enough, and said why.
fn given_up(failure: Failure, changes: Changes) -> Failure {
    match changes {
        Changes::Perhaps if failure.kind == Kind::Cancelled => failure.hint(NOT_KNOWN),
        _ => failure,
    }
}

fn no_body() -> Body {
    Either::Left(Full::default())
}

/// Tells the errors of connecting that only say that nobody is there, or nobody for this user.
fn means_none(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::NotADirectory
            | io::ErrorKind::PermissionDenied
    )
}
