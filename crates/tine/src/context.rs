//! What every command works with: the voice, and the way to the store.
//!
//! Commands reach the store only through [`Context::with_store`], or, when they read for long, through
//! [`Context::with_reader`]. That is also the place where a daemon that has the store will be found and asked instead.

use std::env;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use tine_store::{CreateOptions, LockHolder, OpenOptions, Reader, State, Store, StoreError, Target};

use crate::cli::Global;
use crate::error::{CommandError, Outcome};
use crate::near::near;
use crate::ui::{Ui, tell};

/// How long a command waits while another process has the store.
const WAIT: Duration = Duration::from_secs(30);

/// What to do where there is no store yet.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Missing {
    /// Make one: the command brings data.
    Create,
    /// Fail, unless it is the user's own: a mistyped path must not look like an empty store.
    Refuse,
}

/// What every command works with.
pub(crate) struct Context {
    /// The command's voice.
    pub(crate) ui: Ui,
    store: Option<PathBuf>,
    quiet: bool,
    wait: Duration,
    read_damaged: bool,
}

impl Context {
    /// Takes what all commands share from the command line.
    pub(crate) fn new(global: &Global) -> Self {
        Self {
            ui: Ui::new(global.json, global.quiet),
            store: global.store.clone().or_else(environments_store),
            quiet: global.quiet,
            wait: if global.no_wait { Duration::ZERO } else { WAIT },
            read_damaged: global.read_damaged,
        }
    }

    /// Returns where the store is: as told, or in the user's data directory.
    pub(crate) fn store_path(&self) -> Outcome<PathBuf> {
        match &self.store {
            Some(path) => Ok(path.clone()),
            None => users_store(),
        }
    }

    /// Opens the store, does `work` and closes it; an unknown name among its errors gets the names near to it.
    ///
    /// The store is closed when the work fails, too: what it did before stays.
    pub(crate) fn with_store<T>(
        &self,
        missing: Missing,
        work: impl FnOnce(&Store) -> Outcome<T>,
    ) -> Outcome<T> {
        let store = self.open_and_warn(missing)?;
        let result = work(&store).map_err(|error| self.in_vain(with_near_names(&store, error)));
        let closed = store.close();
        let done = result?;
        closed?;
        Ok(done)
    }

    /// Opens the store, lets it go again and does `work` with the disks as they were: others have the store meanwhile,
    /// however long it takes.
    pub(crate) fn with_reader<const N: usize, T>(
        &self,
        targets: [&Target; N],
        work: impl FnOnce(&Reader, [&State; N]) -> Outcome<T>,
    ) -> Outcome<T> {
        let store = self.open_and_warn(Missing::Refuse)?;
        for target in targets {
            // While there is a store that knows the names near to a wrong one.
            if let Err(error) = store.find(target) {
                let error = self.in_vain(with_near_names(&store, error.into()));
                // The error that was first is the one to tell.
                let _ = store.close();
                return Err(error);
            }
        }
        let read = || {
            let reader = store.into_reader(&targets.map(Target::clone))?;
            work(&reader, std::array::from_fn(|at| &reader.states()[at]))
        };
        read().map_err(|error| self.in_vain(error))
    }

    /// Opens the store for a command that only reads it and for whom damage is no obstacle.
    pub(crate) fn open_even_damaged(&self) -> Outcome<Store> {
        self.open(Missing::Refuse, true)
    }

    fn open_and_warn(&self, missing: Missing) -> Outcome<Store> {
        let store = self.open(missing, self.read_damaged)?;
        if let Some(damage) = store.damage() {
            let so = match damage {
                StoreError::Unwritable { .. } => "it can only be read",
                _ => "what follows is from before that",
            };
            tell(format_args!("warning: {damage}; {so}\n"));
        }
        Ok(store)
    }

    /// Takes back the advice to use `--read-damaged` where that was done.
    fn in_vain(&self, error: CommandError) -> CommandError {
        match error.store_error() {
            Some(StoreError::Damaged { .. }) if self.read_damaged => error.hint(
                "what is damaged cannot be read, and nothing can be written: `tine export` what is left and import it \
                 into a new store, or take a backup",
            ),
            _ => error,
        }
    }

    fn open(&self, missing: Missing, read_damaged: bool) -> Outcome<Store> {
        let path = self.store_path()?;
        let options = OpenOptions {
            read_damaged,
            ..self.open_options()
        };
        match Store::open(&path, options) {
            Err(StoreError::NoStore { .. }) if path.exists() && !path.is_dir() => Err(no_directory(&path)),
            Err(StoreError::NoStore { .. }) if missing == Missing::Create || self.store.is_none() => {
                self.create(&path)
            }
            opened => opened.map_err(|error| self.in_vain(error.into())),
        }
    }

    fn create(&self, path: &Path) -> Outcome<Store> {
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).map_err(|error| {
                let hint = "`--store DIR` or TINE_STORE names another place for the store";
                CommandError::io(format!("make the directory `{}`", parent.display()), error).hint(hint)
            })?;
        }
        let begun = Instant::now();
        loop {
            match Store::create(path, &CreateOptions::default(), self.open_options()) {
                Ok(store) => {
                    self.ui
                        .say(format_args!("Created the store `{}`", path.display()));
                    return Ok(store);
                }
                Err(StoreError::StoreExists { .. }) => {}
                Err(error @ StoreError::Io { .. }) => {
                    let hint = "`--store DIR` or TINE_STORE names another place for the store";
                    return Err(CommandError::from(error).hint(hint));
                }
                Err(error) => return Err(error.into()),
            }
            // Another process was quicker, or is about to be, or there is something else.
            let in_the_making = is_locked(path);
            match Store::open(path, self.open_options()) {
                Err(StoreError::NoStore { .. }) if in_the_making && begun.elapsed() < self.wait => {
                    thread::sleep(Duration::from_millis(10));
                }
                Err(StoreError::NoStore { .. }) if in_the_making => {
                    let making = format!("another process is making the store at `{}`", path.display());
                    return Err(CommandError::new(making).hint("try again when it is done"));
                }
                Err(StoreError::NoStore { .. }) => {
                    return Err(StoreError::StoreExists {
                        path: path.to_owned(),
                    }
                    .into());
                }
                opened => return Ok(opened?),
            }
        }
    }

    fn open_options(&self) -> OpenOptions {
        let quiet = self.quiet;
        let on_wait = move |holder: Option<&LockHolder>| {
            if quiet {
                return;
            }
            match holder {
                Some(holder) => {
                    tell(format_args!(
                        "Waiting for the store: process {} has it (`{}`)\n",
                        holder.pid, holder.command
                    ));
                }
                None => tell(format_args!("Waiting for the store: another process has it\n")),
            }
        };
        OpenOptions {
            wait: self.wait,
            on_wait: Some(Box::new(on_wait)),
            ..OpenOptions::default()
        }
    }
}

/// Tells whether another process holds the lock of a store, or of what will be one.
fn is_locked(path: &Path) -> bool {
    let Ok(file) = File::open(path.join("LOCK")) else {
        return false;
    };
    matches!(
        flock(&file, FlockOperation::NonBlockingLockShared),
        Err(Errno::WOULDBLOCK)
    )
}

fn no_directory(path: &Path) -> CommandError {
    CommandError::new(format!("the store `{}` is not a directory", path.display()))
        .hint("`--store DIR` or TINE_STORE names another")
}

/// Returns the store that TINE_STORE names; an empty one names none.
fn environments_store() -> Option<PathBuf> {
    env::var_os("TINE_STORE")
        .filter(|path| !path.is_empty())
        .map(PathBuf::from)
}

/// Returns the user's own store: `tine/store` in the data directory.
fn users_store() -> Outcome<PathBuf> {
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

/// Adds to an error about an unknown name the names that are near to it.
fn with_near_names(store: &Store, error: CommandError) -> CommandError {
    let hint = match error.store_error() {
        Some(StoreError::UnknownBranch { name }) => hint_branch(store, name.as_ref()),
        Some(StoreError::UnknownSnapshot { branch, snapshot }) => {
            hint_snapshot(store, branch.as_ref(), snapshot.as_ref())
        }
        _ => None,
    };
    match hint {
        Some(hint) => error.hint(hint),
        None => error,
    }
}

fn hint_branch(store: &Store, name: &str) -> Option<String> {
    let branches = store.branches().ok()?;
    let near = near(name, branches.iter().map(|branch| branch.name.as_ref()));
    Some(match (branches.is_empty(), did_you_mean(&near)) {
        (true, _) => "the store is empty; `tine import FILE NAME` brings a disk in".to_owned(),
        (false, Some(question)) => format!("{question} `tine ls` shows all branches"),
        (false, None) => "`tine ls` shows all branches".to_owned(),
    })
}

fn hint_snapshot(store: &Store, branch: &str, snapshot: &str) -> Option<String> {
    let info = store.branch_info(&branch.parse().ok()?).ok()?;
    let near = near(
        snapshot,
        info.snapshots.iter().map(|snapshot| snapshot.name.as_ref()),
    );
    let near: Vec<String> = near
        .iter()
        .filter_map(|snapshot| Some(Target::Snapshot(info.name.clone(), snapshot.parse().ok()?).to_string()))
        .collect();
    Some(match (info.snapshots.is_empty(), did_you_mean(&near)) {
        (true, _) => format!("`{branch}` has no snapshots; `tine snapshot {branch}@NAME` makes one"),
        (false, Some(question)) => format!("{question} `tine show {branch}` shows its snapshots"),
        (false, None) => format!("`tine show {branch}` shows its snapshots"),
    })
}

fn did_you_mean<T: std::fmt::Display>(names: &[T]) -> Option<String> {
    let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    (!names.is_empty()).then(|| format!("did you mean {}?", names.join(" or ")))
}
