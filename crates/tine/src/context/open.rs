//! The way to the store: where it is, who has it, making it at first use.
//!
//! A daemon is found by the socket in the store. One that is starting has the lock and no socket yet, one that is stopping has
//! it still: both are waited for like any process that has the store.

use std::env;
use std::fs::File;
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use tine_server::api::{Failure, Kind};
use tine_server::client::Client;
use tine_server::{Serving, socket};
use tine_store::{CreateOptions, LockHolder, OpenOptions, Store, StoreError};

use super::Context;
use crate::error::{CommandError, Outcome};
use crate::interrupt;
use crate::ui::tell;

/// Who waits for the store longer says so.
const SILENT: Duration = Duration::from_secs(1);
/// Who waits for the daemon's answer longer says so. Few requests take as long, and none of them is in a hurry.
const SILENT_DAEMON: Duration = Duration::from_secs(3);
/// So long the lock is waited for before it is looked again whether a daemon has come.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// What to do where there is no store yet.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Missing {
    /// Make one: the command brings data.
    Create,
    /// Fail, unless it is the user's own: a mistyped path must not look like an empty store.
    Refuse,
}

/// What damage of the store is to a command.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Damage {
    /// It fails, unless it is told to read what is left.
    IsAnObstacle,
    /// What it is there to find.
    IsNoObstacle,
}

/// Who works on what a command asks.
pub(super) enum Reached {
    /// The daemon that has the store.
    Daemon(Client),
    /// This process, which has it.
    Store(Store),
}

impl Context {
    /// Finds who can work: a daemon that serves the store, or this process, which has it to itself then; waits while
    /// others have it.
    ///
    /// A store that is damaged is opened when that is asked for, and the user is warned.
    pub(super) fn reach(&self, missing: Missing, damage: Damage) -> Outcome<Reached> {
        let reached = self.find(missing, self.read_damaged || damage == Damage::IsNoObstacle)?;
        match &reached {
            Reached::Daemon(client) if self.read_damaged && damage == Damage::IsAnObstacle => {
                let who = client.pid().map(|pid| format!(" (process {pid})"));
                Err(CommandError::new(format!(
                    "`--read-damaged` opens the store itself, but a daemon has it{}",
                    who.unwrap_or_default()
                ))
                .hint(
                    "a store that is served is whole: leave `--read-damaged` out, or stop the daemon first",
                ))
            }
            Reached::Store(store) if damage == Damage::IsAnObstacle => {
                if let Some(damage) = store.damage() {
                    let so = match damage {
                        StoreError::Unwritable { .. } => "it can only be read",
                        _ => "what follows is from before that",
                    };
                    tell(format_args!("warning: {damage}; {so}\n"));
                }
                Ok(reached)
            }
            _ => Ok(reached),
        }
    }

    /// Opens the store to serve it; returns where it is, too.
    pub(crate) fn open_to_serve(&self) -> Outcome<(Store, PathBuf)> {
        let path = self.store_path()?;
        match self.reach(Missing::Refuse, Damage::IsAnObstacle)? {
            Reached::Store(store) => Ok((store, path)),
            Reached::Daemon(client) if is_somebody_elses(&path) => Err(no_daemon(&path, client.pid()).into()),
            Reached::Daemon(client) => Err(served_already(&path, client.pid())),
        }
    }

    fn find(&self, missing: Missing, read_damaged: bool) -> Outcome<Reached> {
        let path = self.store_path()?;
        let begun = Instant::now();
        let mut told = false;
        loop {
            if !self.leads_elsewhere(&path)?
                && let Some(client) = self.client(&path)?
            {
                return Ok(Reached::Daemon(client));
            }
            let options = OpenOptions {
                read_damaged,
                wait: LOOK_AGAIN.min(self.wait.saturating_sub(begun.elapsed())),
                ..OpenOptions::default()
            };
            let waited = match Store::open(&path, options) {
                Err(StoreError::Busy { holder, .. }) if begun.elapsed() < self.wait => {
                    if begun.elapsed() >= SILENT && !told && !self.quiet {
                        told = true;
                        say_who_has_it(holder.as_ref());
                    }
                    interrupt::check()
                }
                Err(StoreError::Busy { path, holder, .. }) => Err(StoreError::Busy {
                    path,
                    holder,
                    waited: begun.elapsed(),
                }
                .into()),
                Err(StoreError::NoStore { .. }) if path.exists() && !path.is_dir() => {
                    Err(no_directory(&path))
                }
                Err(StoreError::NoStore { .. }) if missing == Missing::Create || self.store.is_none() => {
                    match self.create(&path)? {
                        Some(store) => return Ok(Reached::Store(store)),
                        None => self.let_it_be_made(&path, begun),
                    }
                }
                opened => {
                    let opened = opened.map(Reached::Store);
                    return opened.map_err(|error| self.in_vain(error.into()));
                }
            };
            waited?;
        }
    }

    /// Connects to the daemon, if there is one.
    fn client(&self, store: &Path) -> Outcome<Option<Client>> {
        let found = Client::find(store).map_err(|error| not_looked(store, error))?;
        Ok(found.map(|mut client| {
            let mut silence = Silence::new(store, client.pid(), self.quiet);
            client.while_waiting(move |waited| silence.go_on(waited));
            client
        }))
    }

    /// Tells whether what leads to a daemon leads to that of another store: a copy of a store has its links, too. A socket is
    /// not copied.
    fn leads_elsewhere(&self, store: &Path) -> Outcome<bool> {
        if !store.join(Serving::CONTROL).is_symlink() {
            return Ok(false);
        }
        // A daemon has its store as long as it listens.
        if is_free(store) {
            return Ok(true);
        }
        let found = Client::find(store).map_err(|error| not_looked(store, error))?;
        let Some(mut client) = found else {
            return Ok(false);
        };
        // Who does not answer, and who answers something else, does so again when it is asked in earnest.
        client.while_waiting(|waited| match interrupt::go_on() {
            ControlFlow::Continue(()) if waited < SILENT_DAEMON => Ok(()),
            _ => Err(Failure::cancelled()),
        });
        let said = client.hello();
        Ok(said.is_err_and(|failure| failure.kind == Kind::OtherStore))
    }

    /// Makes the store, unless another process is quicker.
    fn create(&self, path: &Path) -> Outcome<Option<Store>> {
        let elsewhere = "`--store DIR` or TINE_STORE names another place for the store";
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).map_err(|error| {
                CommandError::io(format_args!("make the directory `{}`", parent.display()), error)
                    .hint(elsewhere)
            })?;
        }
        match Store::create(path, &CreateOptions::default(), OpenOptions::default()) {
            Ok(store) => {
                self.ui
                    .say(format_args!("Created the store `{}`", path.display()));
                Ok(Some(store))
            }
            Err(StoreError::StoreExists { .. }) => Ok(None),
            // Another place is no remedy for a limit of this process.
            Err(error @ StoreError::Io { .. }) if !is_too_large(&error) => {
                Err(CommandError::from(error).hint(elsewhere))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Waits a moment for another process that was quicker, or is about to be; fails if there is something else.
    fn let_it_be_made(&self, path: &Path, begun: Instant) -> Outcome<()> {
        if is_store(path) {
            return Ok(());
        }
        if !is_locked(path) {
            // It may have been made since.
            if is_store(path) {
                return Ok(());
            }
            return Err(StoreError::StoreExists {
                path: path.to_owned(),
            }
            .into());
        }
        if begun.elapsed() >= self.wait {
            let making = format!("another process is making the store at `{}`", path.display());
            return Err(CommandError::new(making).hint("try again when it is done"));
        }
        thread::sleep(Duration::from_millis(10));
        interrupt::check()
    }
}

/// Returns the error of who cannot even look whether there is a daemon.
fn not_looked(store: &Path, error: io::Error) -> CommandError {
    let socket = shown(store).join(Serving::CONTROL);
    let leads_nowhere = Errno::from_io_error(&error) == Some(Errno::LOOP) && socket.is_symlink();
    let what = format!("look for a daemon at `{}`", socket.display());
    let error = CommandError::io(what, error);
    if leads_nowhere {
        return error.hint("it is a symbolic link in a circle: remove it");
    }
    error
}

/// Returns the error of who would serve a store that is served: that would not end by waiting.
fn served_already(store: &Path, pid: Option<u32>) -> CommandError {
    let (process, end) = match pid {
        Some(pid) => (format!("process {pid}"), format!("end it first (`kill {pid}`)")),
        None => ("another process".to_owned(), "end it first".to_owned()),
    };
    CommandError::new(format!(
        "{process} serves the store `{}` already",
        shown(store).display()
    ))
    .hint(format!("{end}, or use it: clients and commands go through it"))
}

/// Returns a store's path as people know it: that of one that is held is where that is now.
fn shown(store: &Path) -> PathBuf {
    let is_held = store.starts_with("/proc/self/fd");
    let place = is_held.then(|| std::fs::read_link(store).ok()).flatten();
    place.unwrap_or_else(|| store.to_owned())
}

fn say_who_has_it(holder: Option<&LockHolder>) {
    match holder {
        Some(holder) => tell(format_args!(
            "Waiting for the store: process {} has it (`{}`)\n",
            holder.pid, holder.command
        )),
        None => tell(format_args!("Waiting for the store: another process has it\n")),
    }
}

/// A daemon that does not answer: the user is told once, and may give up.
struct Silence {
    store: PathBuf,
    pid: Option<u32>,
    told: bool,
}

impl Silence {
    fn new(store: &Path, pid: Option<u32>, quiet: bool) -> Self {
        Self {
            store: store.to_owned(),
            pid,
            told: quiet,
        }
    }

    fn go_on(&mut self, waited: Duration) -> Result<(), Failure> {
        if waited >= SILENT_DAEMON && is_free(&self.store) {
            return Err(no_daemon(&self.store, self.pid));
        }
        if waited >= SILENT_DAEMON && !self.told {
            self.told = true;
            let socket = shown(&self.store).join(Serving::CONTROL);
            let socket = socket.display();
            match self.pid {
                Some(pid) if is_stopped(pid) => tell(format_args!(
                    "Waiting for the daemon at `{socket}`: process {pid} was stopped by a signal\n\
                     hint: `kill -CONT {pid}` lets it go on; Ctrl-C gives up\n"
                )),
                Some(pid) => tell(format_args!(
                    "Waiting for the daemon at `{socket}`: process {pid} has not answered yet\n\
                     hint: Ctrl-C gives up; if it hangs, `kill -9 {pid}` ends it: what was flushed is safe\n"
                )),
                None => tell(format_args!(
                    "Waiting for the daemon at `{socket}`: it has not answered yet\nhint: Ctrl-C gives up\n"
                )),
            }
        }
        match interrupt::go_on() {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(Failure::cancelled()),
        }
    }
}

/// Tells whether a process stands still until it is sent SIGCONT.
fn is_stopped(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The state is behind the name, which may contain anything.
    stat.rsplit_once(") ")
        .is_some_and(|(_, rest)| rest.starts_with(['T', 't']))
}

/// Tells whether there is a store by now.
fn is_store(path: &Path) -> bool {
    path.join("store.json").is_file()
}

/// Tells whether another process holds the lock of a store, or of what will be one.
fn is_locked(path: &Path) -> bool {
    look_at_lock(path) == Some(Err(Errno::WOULDBLOCK))
}

/// Tells whether nobody has a store. Who looks has its lock for a moment, so this is for who found something amiss.
fn is_free(path: &Path) -> bool {
    look_at_lock(path) == Some(Ok(()))
}

/// Tells whether it is no daemon of tine that listens where that of a store would: a daemon has the store as long as it
/// listens.
pub(super) fn is_somebody_elses(store: &Path) -> bool {
    is_free(store) && socket::connect(&store.join(Serving::CONTROL)).is_ok() && is_free(store)
}

/// Returns what comes of trying the lock of a store, if it has one.
fn look_at_lock(path: &Path) -> Option<Result<(), Errno>> {
    let file = File::open(path.join("LOCK")).ok()?;
    Some(flock(&file, FlockOperation::NonBlockingLockShared))
}

/// Returns the failure of who asks somebody that listens in a daemon's place, while nobody has the store.
pub(super) fn no_daemon(store: &Path, pid: Option<u32>) -> Failure {
    let socket = shown(store).join(Serving::CONTROL);
    let socket = socket.display();
    let (who, end) = match pid {
        // Through a link it may be the daemon of another store.
        _ if store.join(Serving::CONTROL).is_symlink() => ("another process".to_owned(), String::new()),
        Some(pid) => (format!("process {pid}"), format!("end it (`kill {pid}`), or ")),
        None => ("another process".to_owned(), "end it, or ".to_owned()),
    };
    Failure::new(
        Kind::Connection,
        format!("{who} listens at `{socket}` and is no daemon of this store: nobody has it"),
    )
    .hint(format!("{end}remove `{socket}`; nothing was changed"))
}

/// Tells whether a file of the store may not be as large as it has to be.
fn is_too_large(error: &StoreError) -> bool {
    matches!(error, StoreError::Io { source, .. } if source.kind() == io::ErrorKind::FileTooLarge)
}

fn no_directory(path: &Path) -> CommandError {
    CommandError::new(format!("the store `{}` is not a directory", path.display()))
        .hint("`--store DIR` or TINE_STORE names another")
}

/// Returns the store that TINE_STORE names; an empty one names none.
pub(super) fn environments_store() -> Option<PathBuf> {
    env::var_os("TINE_STORE")
        .filter(|path| !path.is_empty())
        .map(PathBuf::from)
}

/// Returns the user's own store: `tine/store` in the data directory.
pub(super) fn users_store() -> Outcome<PathBuf> {
    let data = env::var_os("XDG_DATA_HOME")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute());
    let home = || {
        env::var_os("HOME")
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    match data.or_else(|| Some(home()?.join(".local/share"))) {
        Some(data) => Ok(data.join("tine/store")),
        None => Err(CommandError::new(
            "no place for the store: neither XDG_DATA_HOME nor HOME is an absolute path",
        )
        .hint("`--store DIR` or TINE_STORE names one")),
    }
}
