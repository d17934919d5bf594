//! The demo's stage: a temporary directory, and commands that are typed, run and timed there.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::broken;
use crate::error::{CommandError, Outcome};
use crate::interrupt;
use crate::ui::Ui;
use tine_server::words::count;

/// How much of a command's output is shown.
#[derive(Clone, Copy)]
pub(super) enum Show {
    All,
    /// So many lines, and how many more there are.
    Lines(usize),
    /// So many lines, as `head` would, and nothing from standard error.
    Head(usize),
}

/// Where the demo plays.
pub(super) struct Stage<'a> {
    ui: &'a Ui,
    folder: TempDir,
    tine: PathBuf,
}

impl<'a> Stage<'a> {
    /// Makes a temporary directory for the demo.
    pub(super) fn new(ui: &'a Ui) -> Outcome<Self> {
        let tine = std::env::current_exe().map_err(|error| CommandError::io("find this program", error))?;
        let folder = tempfile::Builder::new()
            .prefix("tine-demo-")
            .tempdir()
            .map_err(|error| CommandError::io("make a temporary directory", error))?;
        Ok(Self { ui, folder, tine })
    }

    /// Returns the directory that everything is in.
    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Removes the directory.
    pub(super) fn clear(self) -> Outcome<()> {
        self.folder
            .close()
            .map_err(|error| CommandError::io("remove the demo's directory", error))
    }

    /// Says what comes next.
    pub(super) fn scene(&self, words: &str) -> Outcome<()> {
        self.ui.line(format_args!("\n# {words}"))?;
        self.ui.finish()
    }

    /// Says something beside the play.
    pub(super) fn remark(&self, words: impl std::fmt::Display) -> Outcome<()> {
        self.ui.line(words)?;
        self.ui.finish()
    }

    /// Runs `tine` with these arguments and returns what it printed.
    pub(super) fn tine(&self, args: &[&str], show: Show) -> Outcome<Vec<u8>> {
        self.typed(
            &format!("tine {}", args.join(" ")),
            self.tine_command(args),
            None,
            show,
        )
    }

    /// Runs `tine` with `input` at its standard input, which a user would make by `producer`.
    pub(super) fn tine_with(&self, input: Vec<u8>, producer: &str, args: &[&str], show: Show) -> Outcome<()> {
        let line = format!("{producer} | tine {}", args.join(" "));
        self.typed(&line, self.tine_command(args), Some(input), show)
            .map(drop)
    }

    /// Runs another program and returns what it printed.
    pub(super) fn program(&self, line: &str, program: &Path, args: &[&str], show: Show) -> Outcome<Vec<u8>> {
        let mut command = Command::new(program);
        command.args(args);
        self.typed(line, command, None, show)
    }

    /// Compares two files byte by byte.
    pub(super) fn compare(&self, a: &str, b: &str) -> Outcome<()> {
        self.type_line(&format!("cmp {a} {b}"))?;
        let started = Instant::now();
        let same = same_bytes(&self.folder().join(a), &self.folder().join(b))
            .map_err(|error| CommandError::io(format!("compare `{a}` and `{b}`"), error))?;
        if !same {
            return Err(broken(format_args!("`{a}` and `{b}` differ")));
        }
        self.ui.line("the same, byte for byte")?;
        self.took(started.elapsed())
    }

    /// Returns `tine` with these arguments, on the demo's store.
    pub(super) fn tine_command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.tine);
        command.args(args).env("TINE_STORE", self.folder().join("store"));
        command
    }

    fn typed(
        &self,
        line: &str,
        mut command: Command,
        input: Option<Vec<u8>>,
        show: Show,
    ) -> Outcome<Vec<u8>> {
        self.type_line(line)?;
        let started = Instant::now();
        let output = self
            .output_of(&mut command, input)
            .map_err(|error| CommandError::io(format!("run `{line}`"), error))?;
        let took = started.elapsed();
        // Ctrl-C reaches the whole process group, so the child's end may be ours.
        interrupt::check()?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(broken(format_args!(
                "`{line}` ended with {}: {}",
                output.status,
                said.trim()
            )));
        }
        self.show(&output, show)?;
        self.took(took)?;
        Ok(output.stdout)
    }

    fn output_of(&self, command: &mut Command, input: Option<Vec<u8>>) -> std::io::Result<Output> {
        command
            .current_dir(self.folder())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let Some(input) = input else {
            return command.stdin(Stdio::null()).output();
        };
        let mut child = command.stdin(Stdio::piped()).spawn()?;
        let feeder = child.stdin.take().map(|mut stdin| {
            thread::spawn(move || {
                // A child that reads no further says why itself.
                let _ = stdin.write_all(&input);
            })
        });
        let output = child.wait_with_output();
        if let Some(feeder) = feeder {
            let _ = feeder.join();
        }
        output
    }

    /// Shows a line as a user types it.
    pub(super) fn type_line(&self, line: &str) -> Outcome<()> {
        self.ui.heading(format_args!("$ {line}"))?;
        self.ui.finish()
    }

    fn show(&self, output: &Output, show: Show) -> Outcome<()> {
        let limit = match show {
            Show::All => usize::MAX,
            Show::Lines(limit) | Show::Head(limit) => limit,
        };
        let text = String::from_utf8_lossy(&output.stdout);
        for line in text.lines().take(limit) {
            self.ui.line(line)?;
        }
        if matches!(show, Show::Head(_)) {
            return Ok(());
        }
        let more = text.lines().count().saturating_sub(limit);
        if more > 0 {
            self.ui
                .line(format_args!("… and {}", count(more as u64, "more line")))?;
        }
        for line in String::from_utf8_lossy(&output.stderr).lines() {
            self.ui.line(line)?;
        }
        Ok(())
    }

    /// Shows how long the line took.
    pub(super) fn took(&self, time: Duration) -> Outcome<()> {
        self.ui.line(format_args!("  [{}]", in_words(time)))?;
        self.ui.finish()
    }
}

fn in_words(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    if seconds < 1.0 {
        format!("{:.1} ms", seconds * 1e3)
    } else {
        format!("{seconds:.2} s")
    }
}

fn same_bytes(a: &Path, b: &Path) -> std::io::Result<bool> {
    let (mut a, mut b) = (File::open(a)?, File::open(b)?);
    let length = a.metadata()?.len();
    if length != b.metadata()?.len() {
        return Ok(false);
    }
    let (mut left, mut right) = (vec![0; 1 << 20], vec![0; 1 << 20]);
    let mut remaining = length;
    while remaining > 0 {
        let piece = usize::try_from(remaining).map_or(left.len(), |remaining| remaining.min(left.len()));
        a.read_exact(&mut left[..piece])?;
        b.read_exact(&mut right[..piece])?;
        if left[..piece] != right[..piece] {
            return Ok(false);
        }
        remaining -= piece as u64;
    }
    Ok(true)
}
