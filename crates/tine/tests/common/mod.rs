//! A place to try the command in: a directory with a store of its own.

// Each test binary uses a part of it.
#![allow(dead_code)]

pub(crate) mod daemon;

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use tine_server::{Daemon, Endpoints, Serving};
use tine_store::{CreateOptions, OpenOptions, Store, StoreError};

/// Whether commands go through a daemon: the same tests are built twice, as `command` and as `served`.
pub(crate) const SERVED: bool = matches!(env!("CARGO_CRATE_NAME").as_bytes(), b"served");

/// A directory with a store in it, both removed at the end.
pub(crate) struct Bench {
    folder: TempDir,
    beside: TempDir,
    serving: Option<Serving>,
}

impl Drop for Bench {
    fn drop(&mut self) {
        if let Some(serving) = self.serving.take() {
            // A test that fails has more to say than this.
            let _ = serving.stop(Duration::from_secs(5));
        }
    }
}

impl Bench {
    /// Makes an empty directory; there is no store yet, or else an empty one that is served.
    pub(crate) fn new() -> Self {
        Self::unserved().complete()
    }

    /// Serves the store that was made in a bench that was not served, if commands are to go through a daemon.
    pub(crate) fn complete(mut self) -> Self {
        if SERVED {
            self.serve();
        }
        self
    }

    /// Makes an empty directory; there is no store yet.
    pub(crate) fn unserved() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            beside: tempfile::tempdir().unwrap(),
            serving: None,
        }
    }

    /// Serves the store, which is made for that if there is none, from this process.
    pub(crate) fn serve(&mut self) {
        let store = self.store();
        let opened = match Store::open(&store, OpenOptions::default()) {
            Err(StoreError::NoStore { .. }) => {
                Store::create(&store, &CreateOptions::default(), OpenOptions::default())
            }
            opened => opened,
        };
        let endpoints = Endpoints {
            socket: store.join("nbd.sock"),
            store,
            control: None,
            listen: None,
            only: None,
            short: self.beside.path().to_owned(),
        };
        self.serving = Some(Serving::start(Daemon::new(opened.unwrap()), &endpoints).unwrap());
    }

    /// Makes a store with a branch `disk` of 16 MiB, with something in its first megabyte.
    pub(crate) fn with_disk() -> Self {
        let bench = Self::new();
        bench.succeeds("tine create disk 16MiB");
        bench.succeeds("yes tine | head -c 1M | tine write disk");
        bench
    }

    /// Returns a path in the directory.
    pub(crate) fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Returns where the store is.
    pub(crate) fn store(&self) -> PathBuf {
        self.beside.path().join("store")
    }

    /// Returns a line of shell as a command: in the directory, in an environment that is the same everywhere.
    pub(crate) fn command(&self, line: &str) -> Command {
        let tine = Path::new(env!("CARGO_BIN_EXE_tine"));
        let path = format!(
            "{}:{}",
            tine.parent().unwrap().display(),
            std::env::var("PATH").unwrap_or_default()
        );
        // What runs the tests may ignore signals, and tine goes on ignoring them.
        let mut command = Command::new("env");
        command
            .args(["--default-signal", "sh", "-c", line])
            .current_dir(self.folder.path())
            .env("PATH", path)
            .env("TINE_STORE", self.store())
            .env("LC_ALL", "C.UTF-8")
            .env_remove("COLUMNS")
            .env_remove("TMPDIR")
            // Where one is planted, a test says.
            .env_remove("TINE_PLANTED_BUG")
            .stdin(Stdio::null());
        command
    }

    /// Runs a line of shell.
    pub(crate) fn run(&self, line: &str) -> Output {
        self.command(line).output().unwrap()
    }

    /// Runs a line of shell that must succeed, and returns what it printed.
    pub(crate) fn succeeds(&self, line: &str) -> String {
        let output = self.run(line);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success(),
            "`{line}` ended with {}: {said}",
            output.status
        );
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Runs a line of shell and returns it with all it printed and its exit status, as in a terminal.
    pub(crate) fn session(&self, line: &str) -> String {
        let output = self.run(line);
        let stdout = String::from_utf8_lossy(&output.stdout);
        let stderr = String::from_utf8_lossy(&output.stderr);
        let status = output
            .status
            .code()
            .map_or_else(|| output.status.to_string(), |code| code.to_string());
        let marked = |mark: &str, text: &str| {
            text.lines()
                .map(|line| format!("{mark}{line}\n"))
                .collect::<String>()
        };
        let text = format!(
            "$ {line}\n{}{}[{status}]\n",
            marked("", &stdout),
            marked("! ", &stderr)
        );
        text.replace(&self.store().display().to_string(), "[store]")
    }
}

/// Returns the path of a program, also of those for the administrator.
pub(crate) fn tool(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|folder| folder.join(program))
        .find(|candidate| candidate.is_file())
}

/// Returns a Python that has libnbd's bindings; says which test is skipped if there is none.
pub(crate) fn python_with_libnbd(bench: &Bench, test: &str) -> Option<&'static str> {
    // The bindings are the system's, which need not be the first Python on the path.
    let python = ["python3", "/usr/bin/python3"]
        .into_iter()
        .find(|python| bench.run(&format!("{python} -c 'import nbd'")).status.success());
    if python.is_none() {
        eprintln!("skipped: {test}: python3-libnbd is missing");
    }
    python
}

/// Tells whether a test is to be left out, because it is of what only a command does that opens the store itself.
pub(crate) fn is_of_no_daemon() -> bool {
    if SERVED {
        eprintln!("left out: with a daemon no command opens the store");
    }
    SERVED
}
