//! A store served: its sockets, and their end.
//!
//! **Invariant:** the store is open before anybody can connect, and closed after the last request of a client was done.
//!
//! **Invariant:** nobody is answered before all sockets are known to lie where they are meant to: a store may be moved, and
//! another put in its place, at any moment until they do.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::process::{Resource, getrlimit};
use tempfile::TempDir;
use tine_nbd::{Limits, Server};
use tine_store::BranchName;
use tine_store::medium::{Folder, Inside};

use crate::Daemon;
use crate::api::{AttachedClient, Failure, Kind, Served};
use crate::control::Control;
use crate::daemon::Place;
use crate::exports::{Disks, ExportName};
use crate::lost_jobs::LostJobs;
use crate::socket::{self, SocketFile};
use crate::words::list;

/// What cannot even be cut off has so long to end, and so has the closing of the store.
const PATIENCE: Duration = Duration::from_secs(30);

/// Where a store is served.
#[derive(Clone, Debug)]
pub struct Endpoints {
    /// The store.
    pub store: PathBuf,
    /// The socket for NBD.
    pub socket: PathBuf,
    /// The socket of the control API, if not in the store; there a link leads to it.
    pub control: Option<PathBuf>,
    /// An address for NBD by TCP, which is neither encrypted nor authenticated.
    pub listen: Option<SocketAddr>,
    /// The only disk that is served, if it is not all of them.
    pub only: Option<ExportName>,
    /// A folder for a shorter way to a socket whose path is too long for other programs.
    pub short: PathBuf,
}

/// Why a store could not be served: what was tried, and why it failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {what}")]
pub struct ServeError {
    /// What was tried: a verb with its object.
    pub what: String,
    /// Why it failed.
    pub source: io::Error,
}

fn failed(what: impl Into<String>) -> impl FnOnce(io::Error) -> ServeError {
    let what = what.into();
    move |source| ServeError { what, source }
}

/// What lies in the file system while a store is served.
struct Files {
    _sockets: Vec<SocketFile>,
    _links: Vec<Link>,
    /// A folder with a link to the socket for NBD, for programs that cannot connect to longer paths.
    _shorter: Option<TempDir>,
}

/// A symbolic link that goes when it is dropped.
struct Link {
    at: Inside,
    to: String,
}

impl Drop for Link {
    fn drop(&mut self) {
        if fs::read_link(&self.at).is_ok_and(|to| to == Path::new(&self.to)) {
            // Whoever follows it finds that nobody listens.
            let _ = fs::remove_file(&self.at);
        }
    }
}

/// A store that is being served.
pub struct Serving {
    daemon: Arc<Daemon>,
    server: Server,
    control: Control,
    sweeper: JoinHandle<()>,
    files: Files,
    served: Served,
    warning: Option<Failure>,
}

impl std::fmt::Debug for Serving {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Serving")
            .field("served", &self.served)
            .finish_non_exhaustive()
    }
}

/// How serving ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stopped {
    /// What was in flight was done in time; else it was cut off.
    pub in_time: bool,
    /// The jobs whose throwaway forks went, with all that was written to them.
    pub jobs: Vec<BranchName>,
    /// Connections whose throwaway forks went with them.
    pub forks: u64,
}

impl Serving {
    /// What leads to the control API, in the store.
    pub const CONTROL: &str = "control.sock";

    /// Serves a store from now on.
    ///
    /// # Errors
    /// When something else is where a socket should be, or listens there, or when the store is moved meanwhile.
    pub fn start(daemon: Daemon, endpoints: &Endpoints) -> Result<Self, ServeError> {
        let serve = format!("serve the store `{}`", endpoints.store.display());
        let Some(folder) = daemon.store().folder().cloned() else {
            return Err(failed(serve)(io::Error::other("it is in no directory")));
        };
        let warning = remember_jobs(&daemon, &folder, &endpoints.store).err();
        let daemon = Arc::new(daemon);
        let disks = Disks::new(Arc::clone(&daemon), endpoints.only.clone());
        let server = Server::new(Arc::new(disks), limits()).map_err(failed("start serving"))?;
        // Who connects from here on waits until it is sure that this is the store that is meant.
        let (for_disks, file) = bind(&endpoints.socket)?;
        let mut sockets = vec![file];
        let by_tcp = match endpoints.listen {
            Some(listen) => {
                let listening = || {
                    let listener = TcpListener::bind(listen)?;
                    let address = listener.local_addr()?;
                    io::Result::Ok((listener, address))
                };
                Some(listening().map_err(failed(format!("listen at {listen}")))?)
            }
            None => None,
        };
        let socket = absolute(&endpoints.socket);
        let (shorter, shown, followed) = if socket::fits(Path::new(&socket)) {
            (None, socket, Some(sockets[0].file().clone()))
        } else {
            let (folder, shown) = shorten(&socket, &endpoints.short)?;
            (Some(folder), shown, None)
        };
        let found_at = endpoints.store.join(Self::CONTROL);
        let control_path = match &endpoints.control {
            // However it is spelled.
            Some(path) if !is_in(&folder, Self::CONTROL.as_ref(), path) => path.clone(),
            _ => found_at.clone(),
        };
        let name = endpoints.socket.file_name();
        if name.is_some_and(|name| is_in(sockets[0].file().folder(), name, &control_path)) {
            let words = "the socket for disks is there, and commands need one of their own";
            let same = io::Error::new(io::ErrorKind::InvalidInput, words);
            return Err(failed(format!("listen at `{}`", control_path.display()))(same));
        }
        if control_path == found_at {
            remove_link(folder.inside(Self::CONTROL))
                .map_err(failed(format!("remove the link `{}`", found_at.display())))?;
        }
        let (for_commands, file) = bind(&control_path)?;
        let served = Served {
            pid: std::process::id(),
            store: absolute(&endpoints.store),
            socket: shown,
            control: absolute(&control_path),
            listen: by_tcp.as_ref().map(|(_, address)| address.to_string()),
            only: endpoints.only.as_ref().map(ToString::to_string),
        };
        daemon.set_served(Place {
            served: served.clone(),
            store: Arc::clone(&folder),
            socket: followed,
            control: file.file().clone(),
        });
        sockets.push(file);
        let mut links = Vec::new();
        if control_path != found_at {
            links.push(link(&served.control, folder.inside(Self::CONTROL), &found_at)?);
        }
        if !folder.is_at(&endpoints.store) {
            // Sockets may have come to lie in what took its place, where others would be taken for its clients. They go, and
            // nobody who waits at one has been served.
            return Err(failed(serve)(io::Error::other("it was moved just now")));
        }
        server
            .listen(for_disks)
            .map_err(failed(format!("listen at `{}`", endpoints.socket.display())))?;
        if let Some((listener, address)) = by_tcp {
            server
                .listen(listener)
                .map_err(failed(format!("listen at {address}")))?;
        }
        let control =
            Control::start(Arc::clone(&daemon), for_commands).map_err(failed("start the control plane"))?;
        let sweeper = {
            let (jobs, store) = (Arc::clone(daemon.jobs()), daemon.store().clone());
            thread::Builder::new()
                .name("tine-jobs".into())
                .spawn(move || jobs.sweep(&store))
                .map_err(failed("start a thread"))?
        };
        Ok(Self {
            daemon,
            server,
            control,
            sweeper,
            files: Files {
                _sockets: sockets,
                _links: links,
                _shorter: shorter,
            },
            served,
            warning,
        })
    }

    /// Returns what is less than it should be though the store is served: what failed, and what that means.
    pub fn warning(&self) -> Option<&Failure> {
        self.warning.as_ref()
    }

    /// Returns where it is served.
    pub fn served(&self) -> &Served {
        &self.served
    }

    /// Returns the store and those who use its disks.
    pub fn daemon(&self) -> &Daemon {
        &self.daemon
    }

    /// Ends serving and closes the store: nobody new is let in, and what is in flight has `grace` to finish. Everything
    /// that was acknowledged is durable then, but for throwaway forks: they are gone.
    ///
    /// What does not return even when it was cut off, as a call that waits for a disk that hangs, has half a minute, and so has the
    /// closing; then this returns all the same, and the caller does best to end the process.
    ///
    /// # Errors
    /// Those of closing the store, and when something does not end.
    pub fn stop(self, grace: Duration) -> Result<Stopped, Failure> {
        self.stop_within(grace, PATIENCE)
    }

    fn stop_within(self, grace: Duration, patience: Duration) -> Result<Stopped, Failure> {
        let Self {
            daemon,
            server,
            control,
            sweeper,
            files,
            served: _,
            warning: _,
        } = self;
        let forks = daemon.connection_forks();
        let in_time = thread::scope(|scope| {
            // Each has its own clients to wait for.
            scope.spawn(|| control.stop(grace));
            server.drain(grace)
        });
        let all_ended = within(patience, move || drop(server)).is_some();
        let under_way = daemon.clients();
        let jobs = daemon.jobs().stop();
        // Who comes now waits for the store itself.
        drop(files);
        let store = daemon.store().clone();
        let closed = within(patience, move || {
            // It only waits; if it has panicked, what it would have dropped goes with the close.
            let _ = sweeper.join();
            store.close()
        });
        match closed {
            Some(closed) => closed?,
            None => return Err(not_closed(patience, &under_way)),
        }
        if !all_ended {
            return Err(still_under_way(&under_way));
        }
        Ok(Stopped { in_time, jobs, forks })
    }
}

/// Does `work`, but waits for it no longer than `limit`: then it goes on by itself.
fn within<T: Send + 'static>(limit: Duration, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let deadline = Instant::now() + limit;
    let (done, wait) = mpsc::channel();
    let working = move || {
        // Nobody waits any more when it is late.
        let _ = done.send(work());
    };
    thread::Builder::new()
        .name("tine-end".into())
        .spawn(working)
        .ok()?;
    wait.recv_timeout(deadline.saturating_duration_since(Instant::now()))
        .ok()
}

fn still_under_way(clients: &[AttachedClient]) -> Failure {
    let message = format!("requests{} do not end", of_clients(clients));
    Failure::new(Kind::Failed, message).hint(
        "the store is closed without them, and everything that was answered is saved; see whether its disk answers",
    )
}

fn not_closed(patience: Duration, clients: &[AttachedClient]) -> Failure {
    let under_way = match clients {
        [] => String::new(),
        _ => format!(", and requests{} do not end", of_clients(clients)),
    };
    let message = format!(
        "the store could not be closed within {} s{under_way}",
        patience.as_secs()
    );
    Failure::new(Kind::Failed, message).hint(
        "what was flushed is saved, and what was only written may be lost; see whether its disk answers",
    )
}

fn of_clients(clients: &[AttachedClient]) -> String {
    let exports: Vec<&str> = clients.iter().map(|client| client.export.as_str()).collect();
    match exports.as_slice() {
        [] => String::new(),
        exports => format!(" to {}", list(exports)),
    }
}

/// Returns the bounds of the server for disks: clients leave descriptors for the store, whose files they would else fail.
fn limits() -> Limits {
    let most = Limits::default();
    let descriptors = getrlimit(Resource::Nofile).current;
    Limits {
        connections: connections_of(descriptors).min(most.connections),
        ..most
    }
}

/// Returns how many connections there may be for a limit of descriptors: a quarter of it.
fn connections_of(descriptors: Option<u64>) -> usize {
    let most = descriptors.map_or(usize::MAX, |most| usize::try_from(most).unwrap_or(usize::MAX));
    (most / 4).max(1)
}

/// Lets jobs be remembered, and refused if a former daemon lost them; else says what comes of that.
fn remember_jobs(daemon: &Daemon, folder: &Arc<Folder>, store: &Path) -> Result<(), Failure> {
    let in_vain = |what, error| {
        let failure = Failure::io(format_args!("{what} in `{}`", store.display()), error);
        failure.hint_more(
            "who comes back to `DISK+fork=JOB` after its daemon has ended is not refused now, but given an empty fork",
        )
    };
    let mut lost = LostJobs::open(folder).map_err(|error| in_vain("look which jobs are lost", error))?;
    let made = lost.make_room();
    daemon.jobs().remember(lost);
    made.map_err(|error| in_vain("remember jobs", error))
}

fn bind(path: &Path) -> Result<(UnixListener, SocketFile), ServeError> {
    socket::bind(path).map_err(failed(format!("listen at `{}`", path.display())))
}

/// Removes the link that a daemon left which was killed and had its control socket elsewhere. The store is this process's
/// alone, so nobody's socket is found by it.
fn remove_link(at: Inside) -> io::Result<()> {
    match fs::symlink_metadata(&at) {
        Ok(metadata) if metadata.is_symlink() => fs::remove_file(at),
        // What else is there, who listens there finds.
        _ => Ok(()),
    }
}

/// Tells whether a path is that of `name` in a directory, however it is spelled.
fn is_in(folder: &Folder, name: &OsStr, path: &Path) -> bool {
    let directory = match path.parent() {
        Some(here) if here.as_os_str().is_empty() => Path::new("."),
        Some(directory) => directory,
        None => return false,
    };
    path.file_name().is_some_and(|last| last == name) && folder.is_at(directory)
}

/// Lets who looks in the store find the control socket that is elsewhere.
fn link(to: &str, at: Inside, shown: &Path) -> Result<Link, ServeError> {
    let linking = || {
        // The store is this process's alone, so what is there is of the dead.
        match fs::remove_file(&at) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        symlink(to, &at)?;
        let to = to.to_owned();
        Ok(Link { at, to })
    };
    linking().map_err(failed(format!("link `{}` to `{to}`", shown.display())))
}

/// Makes a short way to a socket, for this user alone.
fn shorten(socket: &str, folder: &Path) -> Result<(TempDir, String), ServeError> {
    let making = || {
        // For its owner alone, and by a name that nobody can have taken.
        let folder = tempfile::Builder::new().prefix("tine-").tempdir_in(folder)?;
        let short = folder.path().join("nbd.sock");
        symlink(socket, &short)?;
        Ok((folder, absolute(&short)))
    };
    making().map_err(failed(format!(
        "make a link to `{socket}`, which is too long a path for a socket"
    )))
}

/// Returns a path that is right from any folder.
fn absolute(path: &Path) -> String {
    std::path::absolute(path)
        .unwrap_or_else(|_| path.to_owned())
        .display()
        .to_string()
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::os::unix::net::UnixStream;

    use parking_lot::Mutex;
    use tempfile::TempDir;
    use tine_nbd::{Client, Export, ExportInfo, Exports, Listing, Refusal, RefusalKind};
    use tine_store::{CreateOptions, OpenOptions, Store};

    use super::*;

    const GRACE: Duration = Duration::from_millis(100);
    const PATIENCE: Duration = Duration::from_millis(500);

    /// Exports whose listing waits for a disk that hangs, and is long.
    struct Hanging {
        disk: Arc<Mutex<()>>,
        asked: mpsc::SyncSender<()>,
    }

    impl Exports for Hanging {
        fn list(&self, _: &Client) -> Result<Vec<Listing>, Refusal> {
            let _ = self.asked.send(());
            let _disk = self.disk.lock();
            let line = Listing {
                name: "x".repeat(4000),
                description: String::new(),
            };
            Ok(vec![line; 2000])
        }

        fn info(&self, _: &str, _: &Client) -> Result<ExportInfo, Refusal> {
            Err(Refusal::new(RefusalKind::Unknown, "nothing is there"))
        }

        fn contexts(&self, _: &str, _: &Client) -> Result<Vec<String>, Refusal> {
            Ok(Vec::new())
        }

        fn open(&self, _: &str, _: &Client) -> Result<Arc<dyn Export>, Refusal> {
            Err(Refusal::new(RefusalKind::Unknown, "nothing is there"))
        }
    }

    /// Serves a store with exports that hang, and a client that has asked for their list and takes nothing.
    fn asked(disk: &Arc<Mutex<()>>) -> (Serving, PathBuf, UnixStream, TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let store = folder.path().join("store");
        let opened = Store::create(&store, &CreateOptions::default(), OpenOptions::default()).unwrap();
        let endpoints = Endpoints {
            store: store.clone(),
            socket: folder.path().join("nbd.sock"),
            control: None,
            listen: None,
            only: None,
            short: folder.path().to_owned(),
        };
        let mut serving = Serving::start(Daemon::new(opened), &endpoints).unwrap();
        let (asked, is_asked) = mpsc::sync_channel(1);
        let disk = Arc::clone(disk);
        serving.server = Server::new(Arc::new(Hanging { disk, asked }), Limits::default()).unwrap();
        let (mut client, served) = UnixStream::pair().unwrap();
        serving.server.serve(served).unwrap();
        client.read_exact(&mut [0; 18]).unwrap();
        client.write_all(b"\0\0\0\x03IHAVEOPT\0\0\0\x03\0\0\0\0").unwrap();
        is_asked.recv().unwrap();
        (serving, store, client, folder)
    }

    #[test]
    fn a_call_that_does_not_return_does_not_keep_the_daemon() {
        let disk = Arc::new(Mutex::new(()));
        let hangs = disk.lock();
        let (serving, store, _client, _folder) = asked(&disk);
        let begin = Instant::now();
        let failure = serving.stop_within(GRACE, PATIENCE).expect_err("it hangs");
        assert!(begin.elapsed() < Duration::from_secs(5));
        assert_eq!(failure.message, "requests do not end");
        // The store was closed without it.
        let opened = Store::open(&store, OpenOptions::default()).expect("it is closed");
        drop((opened, hangs));
    }

    #[test]
    fn a_client_that_takes_nothing_does_not_keep_the_daemon() {
        let (serving, _, _client, _folder) = asked(&Arc::default());
        let begin = Instant::now();
        let stopped = serving.stop_within(GRACE, PATIENCE).expect("it ends");
        assert!(!stopped.in_time);
        assert!(begin.elapsed() < Duration::from_secs(5));
    }

    #[test]
    fn clients_leave_descriptors_for_the_store() {
        assert_eq!(connections_of(Some(1024)), 256);
        assert_eq!(connections_of(Some(3)), 1);
        assert!(connections_of(None) > 1024);
        assert!(limits().connections <= Limits::default().connections);
    }

    #[test]
    fn a_close_that_does_not_return_is_told_with_what_is_under_way() {
        let (_hangs, never) = mpsc::channel::<()>();
        assert_eq!(within(GRACE, move || never.recv()), None);
        assert_eq!(within(PATIENCE, || 7), Some(7));
        let failure = not_closed(Duration::from_secs(30), &[]);
        assert_eq!(failure.message, "the store could not be closed within 30 s");
    }
}
