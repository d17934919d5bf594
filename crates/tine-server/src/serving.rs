//! A store served: its sockets, and their end.
//!
//! **Invariant:** the store is open before anybody can connect, and closed after the last request of a client was done.

use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tempfile::TempDir;
use tine_nbd::{Limits, Server};
use tine_store::StoreError;

use crate::Daemon;
use crate::api::{Failure, Served};
use crate::control::Control;
use crate::exports::{Disks, ExportName};
use crate::lost_jobs::LostJobs;
use crate::socket::{self, SocketFile};

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
struct Link(PathBuf);

impl Drop for Link {
    fn drop(&mut self) {
        // Whoever follows it finds that nobody listens.
        let _ = fs::remove_file(&self.0);
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

impl Serving {
    /// What leads to the control API, in the store.
    pub const CONTROL: &str = "control.sock";

    /// Serves a store from now on.
    ///
    /// # Errors
    /// When something else is where a socket should be, or listens there.
    pub fn start(daemon: Daemon, endpoints: &Endpoints) -> Result<Self, ServeError> {
        let warning = remember_jobs(&daemon, &endpoints.store).err();
        let daemon = Arc::new(daemon);
        let disks = Disks::new(Arc::clone(&daemon), endpoints.only.clone());
        let server = Server::new(Arc::new(disks), Limits::default()).map_err(failed("start serving"))?;
        let (listener, file) = bind(&endpoints.socket)?;
        let mut sockets = vec![file];
        server
            .listen(listener)
            .map_err(failed(format!("listen at `{}`", endpoints.socket.display())))?;
        let mut address = None;
        if let Some(listen) = endpoints.listen {
            let listening = || {
                let listener = TcpListener::bind(listen)?;
                let address = listener.local_addr()?;
                server.listen(listener)?;
                io::Result::Ok(address)
            };
            address = Some(listening().map_err(failed(format!("listen at {listen}")))?);
        }
        let socket = absolute(&endpoints.socket);
        let (shorter, shown) = if socket::fits(Path::new(&socket)) {
            (None, socket)
        } else {
            let (folder, shown) = shorten(&socket, &endpoints.short)?;
            (Some(folder), shown)
        };
        let found_at = endpoints.store.join(Self::CONTROL);
        let control_path = endpoints.control.clone().unwrap_or_else(|| found_at.clone());
        let served = Served {
            pid: std::process::id(),
            store: absolute(&endpoints.store),
            socket: shown,
            control: absolute(&control_path),
            listen: address.map(|address| address.to_string()),
            only: endpoints.only.as_ref().map(ToString::to_string),
        };
        daemon.set_served(served.clone());
        if control_path == found_at {
            remove_link(&found_at).map_err(failed(format!("remove the link `{}`", found_at.display())))?;
        }
        let (listener, file) = bind(&control_path)?;
        sockets.push(file);
        let control =
            Control::start(Arc::clone(&daemon), listener).map_err(failed("start the control plane"))?;
        let mut links = Vec::new();
        if control_path != found_at {
            links.push(link(&served.control, &found_at)?);
        }
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
    /// that was acknowledged is durable then. Returns whether all finished in time.
    ///
    /// # Errors
    /// Those of closing the store.
    pub fn stop(self, grace: Duration) -> Result<bool, StoreError> {
        let Self {
            daemon,
            server,
            control,
            sweeper,
            files,
            served: _,
            warning: _,
        } = self;
        let in_time = thread::scope(|scope| {
            // Each has its own clients to wait for.
            scope.spawn(|| control.stop(grace));
            server.drain(grace)
        });
        drop(server);
        daemon.jobs().stop();
        // It only waits; if it has panicked, what it would have dropped goes with the close.
        let _ = sweeper.join();
        // Who comes now waits for the store itself.
        drop(files);
        daemon.store().clone().close()?;
        Ok(in_time)
    }
}

/// Lets jobs be remembered, and refused if a former daemon lost them; else says what comes of that.
fn remember_jobs(daemon: &Daemon, store: &Path) -> Result<(), Failure> {
    let in_vain = |what, error| {
        let failure = Failure::io(format_args!("{what} in `{}`", store.display()), error);
        failure.hint_more(
            "who comes back to `DISK+fork=JOB` after its daemon has ended is not refused now, but given an empty fork",
        )
    };
    let mut lost = LostJobs::open(store).map_err(|error| in_vain("look which jobs are lost", error))?;
    let made = lost.make_room();
    daemon.jobs().remember(lost);
    made.map_err(|error| in_vain("remember jobs", error))
}

fn bind(path: &Path) -> Result<(UnixListener, SocketFile), ServeError> {
    socket::bind(path).map_err(failed(format!("listen at `{}`", path.display())))
}

/// Removes the link that a daemon left which was killed and had its control socket elsewhere. The store is this process's
/// alone, so nobody's socket is found by it.
fn remove_link(at: &Path) -> io::Result<()> {
    match fs::symlink_metadata(at) {
        Ok(metadata) if metadata.is_symlink() => fs::remove_file(at),
        // What else is there, who listens there finds.
        _ => Ok(()),
    }
}

/// Lets who looks in the store find the control socket that is elsewhere.
fn link(to: &str, at: &Path) -> Result<Link, ServeError> {
    let linking = || {
        // The store is this process's alone, so what is there is of the dead.
        match fs::remove_file(at) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        symlink(to, at)?;
        Ok(Link(at.to_owned()))
    };
    linking().map_err(failed(format!("link `{}` to `{to}`", at.display())))
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
