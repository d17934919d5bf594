//! What every command works with: the voice, and the way to the store.
//!
//! A command asks by a request of [`tine_server::api`], and [`Context`] finds who works on it: the daemon that has the
//! store, or else this process, which opens it for that. Long readers let the store go meanwhile.

mod open;

use std::cell::{Cell, OnceCell};
use std::ops::{ControlFlow, Range};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use tine_server::Daemon;
use tine_server::api::{
    Failure, Import, Imported, Kind, LongRequest, Pieces, Read, Request, Step, Write, Written, perform,
};
use tine_server::client::Client;
use tine_store::medium::Folder;
use tine_store::{BranchName, ImportSource, Piece, Progress, Store};

use crate::cli::Global;
use crate::error::{CommandError, Outcome};
use crate::interrupt;
use crate::ui::Ui;

pub(crate) use open::Missing;
use open::{Damage, Reached};

/// How long a command waits while another process has the store.
const WAIT: Duration = Duration::from_secs(30);
/// When a daemon that is stopping is asked again.
const AGAIN: Duration = Duration::from_millis(20);

/// What every command works with.
pub(crate) struct Context {
    /// The command's voice.
    pub(crate) ui: Ui,
    store: Option<PathBuf>,
    held: OnceCell<Arc<Folder>>,
    quiet: bool,
    wait: Duration,
    read_damaged: bool,
}

impl Context {
    /// Takes what all commands share from the command line.
    pub(crate) fn new(global: &Global) -> Self {
        Self {
            ui: Ui::new(global.json, global.quiet),
            store: global.store.clone().or_else(open::environments_store),
            held: OnceCell::new(),
            quiet: global.quiet,
            wait: if global.no_wait { Duration::ZERO } else { WAIT },
            read_damaged: global.read_damaged,
        }
    }

    /// Goes on with the store that is there now, wherever it is moved and whatever takes its place.
    pub(crate) fn hold_store(&self) -> Outcome<()> {
        let path = self.store_path()?;
        let held = Folder::hold(&path)
            .map_err(|error| CommandError::io(format_args!("open the store `{}`", path.display()), error))?;
        // Of two that are held the first is meant.
        let _ = self.held.set(held);
        Ok(())
    }

    /// Returns where the store is: as told, or in the user's data directory.
    pub(crate) fn store_path(&self) -> Outcome<PathBuf> {
        if let Some(held) = self.held.get() {
            return Ok(held.path().to_owned());
        }
        match &self.store {
            Some(path) => Ok(path.clone()),
            None => open::users_store(),
        }
    }

    /// Asks for something.
    pub(crate) fn ask<R: Request>(&self, missing: Missing, request: R) -> Outcome<R::Answer> {
        match self.through_daemon(missing, Damage::IsAnObstacle, |mut client| client.ask(&request))? {
            Through::Daemon(answer) => Ok(answer),
            Through::Alone(store) => self.alone(store, |daemon| perform(request, daemon)),
        }
    }

    /// Asks for something that tells how far it is, and part by part what it finds; an error of `tell` ends it.
    pub(crate) fn follow<R: LongRequest>(
        &self,
        request: R,
        tell: impl FnMut(Step<R::Item>) -> Outcome<()>,
    ) -> Outcome<R::Answer> {
        self.follow_with(request, Damage::IsAnObstacle, tell)
    }

    /// Asks as [`Context::follow`] does for what damage is no obstacle to.
    pub(crate) fn follow_even_damaged<R: LongRequest>(
        &self,
        request: R,
        tell: impl FnMut(Step<R::Item>) -> Outcome<()>,
    ) -> Outcome<R::Answer> {
        self.follow_with(request, Damage::IsNoObstacle, tell)
    }

    fn follow_with<R: LongRequest>(
        &self,
        request: R,
        damage: Damage,
        mut tell: impl FnMut(Step<R::Item>) -> Outcome<()>,
    ) -> Outcome<R::Answer> {
        let mut stopped = None;
        let begun = Cell::new(false);
        let mut tell = |step| {
            begun.set(begun.get() || matches!(step, Step::Item(_)));
            match tell(step) {
                Ok(()) => ControlFlow::Continue(()),
                Err(error) => {
                    stopped = Some(error);
                    ControlFlow::Break(())
                }
            }
        };
        let through = self.through_daemon(Missing::Refuse, damage, |mut client| {
            let followed = client.follow(&request, &mut tell);
            followed.map_err(|failure| once_begun(failure, begun.get()))
        });
        let done = match through {
            Ok(Through::Daemon(answer)) => Ok(answer),
            Ok(Through::Alone(store)) => {
                let done = request.work_alone(store, &mut tell);
                done.map_err(|failure| self.in_vain(failure.into()))
            }
            Err(error) => Err(error),
        };
        match stopped {
            Some(error) => Err(error),
            None => done,
        }
    }

    /// Reads a disk as it is now, however long that takes; others have the store meanwhile.
    pub(crate) fn read(&self, request: Read, reading: &mut dyn Reading) -> Outcome<()> {
        let mut stopping = Stopping::new(reading);
        let through = self.through_daemon(Missing::Refuse, Damage::IsAnObstacle, |mut client| {
            let read = client.read(&request, &mut stopping);
            read.map_err(|failure| once_begun(failure, stopping.begun))
        });
        let done = match through {
            Ok(Through::Daemon(())) => Ok(()),
            Ok(Through::Alone(store)) => {
                let done = request.work_alone(store, &mut stopping);
                done.map_err(|failure| self.in_vain(failure.into()))
            }
            Err(error) => Err(error),
        };
        match stopping.stopped {
            Some(error) => Err(error),
            None => done,
        }
    }

    /// Brings a disk in.
    pub(crate) fn import(
        &self,
        name: BranchName,
        source: ImportSource<'_>,
        progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    ) -> Outcome<Imported> {
        let size = source.size()?;
        let import = |client: Client| client.import(name.clone(), size);
        match self.through_daemon(Missing::Create, Damage::IsAnObstacle, import)? {
            Through::Daemon(sending) => Ok(sending.pour(source, size, progress)?),
            Through::Alone(store) => {
                let request = Import { name, size };
                self.alone(store, |daemon| request.work(daemon, source, progress))
            }
        }
    }

    /// Writes to a branch: `start` is told the disk's size and says which range is meant, `copy` puts pieces of it. Returns
    /// the bytes that were written, all durable.
    ///
    /// What came before an error stays, so it is made durable and the error tells how much.
    pub(crate) fn write(
        &self,
        request: Write,
        start: impl FnOnce(u64) -> Outcome<Range<u64>>,
        copy: impl FnOnce(Range<u64>, &mut Put<'_>) -> Outcome<()>,
    ) -> Outcome<u64> {
        let in_part = |error: CommandError, written: Option<String>| match written {
            Some(written) => error.hint_more(written),
            None => error,
        };
        let write = |client: Client| client.write(&request);
        match self.through_daemon(Missing::Refuse, Damage::IsAnObstacle, write)? {
            Through::Daemon((size, mut sending)) => {
                let range = start(size)?;
                match copy(range, &mut |bytes, offset| Ok(sending.put(bytes, offset)?)) {
                    Ok(()) => Ok(sending.finish::<Written>()?.length),
                    Err(error) => Err(in_part(error, sending.stop())),
                }
            }
            Through::Alone(store) => self.alone(store, |daemon| {
                let mut writing = request.clone().begin_alone(daemon)?;
                let range = start(writing.size())?;
                match copy(range, &mut |bytes, offset| Ok(writing.put(bytes, offset)?)) {
                    Ok(()) => Ok::<_, CommandError>(writing.finish()?.length),
                    Err(error) => Err(in_part(error, writing.stop())),
                }
            }),
        }
    }

    /// Has `ask` ask the daemon, if there is one. One that is stopping is waited for: afterwards the store is free, or
    /// served anew.
    fn through_daemon<T>(
        &self,
        missing: Missing,
        damage: Damage,
        mut ask: impl FnMut(Client) -> Result<T, Failure>,
    ) -> Outcome<Through<T>> {
        let begun = Instant::now();
        loop {
            let client = match self.reach(missing, damage)? {
                Reached::Store(store) => return Ok(Through::Alone(store)),
                Reached::Daemon(client) => client,
            };
            let pid = client.pid();
            let failure = match ask(client) {
                Ok(answer) => return Ok(Through::Daemon(answer)),
                Err(failure) => failure,
            };
            if matches!(failure.kind, Kind::Stopping | Kind::Connection | Kind::Version)
                && let store = self.store_path()?
                && open::is_somebody_elses(&store)
            {
                return Err(open::no_daemon(&store, pid).into());
            }
            if failure.kind != Kind::Stopping || begun.elapsed() >= self.wait {
                return Err(failure.into());
            }
            thread::sleep(AGAIN);
            interrupt::check()?;
        }
    }

    /// Works on a store that was opened for that, and closes it when the work fails, too: what it did before stays.
    fn alone<T, E: Into<CommandError>>(
        &self,
        store: Store,
        work: impl FnOnce(&Daemon) -> Result<T, E>,
    ) -> Outcome<T> {
        let daemon = Daemon::new(store);
        let result = work(&daemon).map_err(|error| self.in_vain(error.into()));
        let closed = daemon.into_store().close();
        let done = result?;
        closed?;
        Ok(done)
    }

    /// Takes back the advice to use `--read-damaged` where that was done.
    fn in_vain(&self, error: CommandError) -> CommandError {
        match error.failure() {
            Some(failure) if failure.kind == Kind::Damaged && self.read_damaged => error.hint(
                "what is damaged cannot be read, and nothing can be written: `tine export` what is left and import it \
                 into a new store, or take a backup",
            ),
            _ => error,
        }
    }
}

/// Returns what a request failed with: what has `begun` to come is not asked for again, as it would come twice.
fn once_begun(failure: Failure, begun: bool) -> Failure {
    match failure.kind {
        Kind::Stopping if begun => Failure {
            kind: Kind::Connection,
            ..failure
        },
        _ => failure,
    }
}

/// What came of asking the daemon.
enum Through<T> {
    /// Its answer.
    Daemon(T),
    /// There is none: the store is this process's.
    Alone(Store),
}

/// Puts bytes where they belong on a disk.
pub(crate) type Put<'a> = dyn FnMut(&[u8], u64) -> Outcome<()> + 'a;

/// Takes what is read of a disk; an error ends the reading.
pub(crate) trait Reading {
    /// Told the range that is going to be read, once and first.
    fn begin(&mut self, range: Range<u64>) -> Outcome<()>;
    /// Takes the next piece of it, in order.
    fn piece(&mut self, piece: Piece<'_>) -> Outcome<()>;
}

/// Reading that keeps the error that ended it, which says more than a [`Failure`] can.
struct Stopping<'a> {
    reading: &'a mut dyn Reading,
    begun: bool,
    stopped: Option<CommandError>,
}

impl<'a> Stopping<'a> {
    fn new(reading: &'a mut dyn Reading) -> Self {
        Self {
            reading,
            begun: false,
            stopped: None,
        }
    }

    fn keep(&mut self, outcome: Outcome<()>) -> Result<(), Failure> {
        outcome.map_err(|error| {
            self.stopped = Some(error);
            Failure::cancelled()
        })
    }
}

impl Pieces for Stopping<'_> {
    fn begin(&mut self, range: Range<u64>) -> Result<(), Failure> {
        self.begun = true;
        let outcome = self.reading.begin(range);
        self.keep(outcome)
    }

    fn piece(&mut self, piece: Piece<'_>) -> Result<(), Failure> {
        let outcome = self.reading.piece(piece);
        self.keep(outcome)
    }
}
