//! Where words go: data to standard output, everything else to standard error.
//!
//! **Invariant:** nothing here panics. A closed pipe is [`CommandError::ClosedPipe`], which is no error; words for
//! standard error that cannot be said are dropped.

use std::cell::RefCell;
use std::fmt::{self, Display};
use std::io::{self, BufWriter, IsTerminal as _, Write};

use anstyle::{AnsiColor, Style};
use serde::Serialize;

use crate::error::{CommandError, Outcome};
use crate::stdout::Standard;

const ERROR: Style = AnsiColor::Red.on_default().bold();
const HINT: Style = AnsiColor::Cyan.on_default().bold();
const HEAD: Style = Style::new().bold();

/// The command's voice.
pub(crate) struct Ui {
    out: RefCell<BufWriter<Standard>>,
    /// Whether data goes out as JSON.
    pub(crate) json: bool,
    quiet: bool,
    colour_out: bool,
    colour_err: bool,
}

impl Ui {
    /// Makes a voice; colour depends on the terminal and on NO_COLOR.
    pub(crate) fn new(json: bool, quiet: bool) -> Self {
        let has_colour = |choice| choice != anstream::ColorChoice::Never;
        Self {
            out: RefCell::new(BufWriter::with_capacity(64 << 10, Standard::new())),
            json,
            quiet,
            colour_out: has_colour(anstream::AutoStream::choice(&io::stdout())),
            colour_err: has_colour(anstream::AutoStream::choice(&io::stderr())),
        }
    }

    /// Prints a line of data.
    pub(crate) fn line(&self, line: impl Display) -> Outcome<()> {
        writeln!(self.out.borrow_mut(), "{line}").map_err(output_failed)
    }

    /// Prints a line of headings.
    pub(crate) fn heading(&self, line: impl Display) -> Outcome<()> {
        if self.colour_out {
            self.line(format_args!("{HEAD}{line}{HEAD:#}"))
        } else {
            self.line(line)
        }
    }

    /// Prints an object as one line of JSON.
    pub(crate) fn object(&self, object: &impl Serialize) -> Outcome<()> {
        // Whole before the first byte goes out: half an object would be worse than none.
        let mut line = serde_json::to_vec(object).map_err(|error| output_failed(error.into()))?;
        line.push(b'\n');
        self.bytes(&line)
    }

    /// Prints bytes as they are.
    pub(crate) fn bytes(&self, bytes: &[u8]) -> Outcome<()> {
        self.out.borrow_mut().write_all(bytes).map_err(output_failed)
    }

    /// Sends on what is still buffered.
    pub(crate) fn finish(&self) -> Outcome<()> {
        self.out.borrow_mut().flush().map_err(output_failed)
    }

    /// Says what was done, unless asked to be quiet.
    pub(crate) fn say(&self, words: impl Display) {
        if !self.quiet {
            tell(format_args!("{words}\n"));
        }
    }

    /// Returns whether only what goes wrong is to be said.
    pub(crate) fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// Returns whether data goes out in colour.
    pub(crate) fn colours_data(&self) -> bool {
        self.colour_out
    }

    /// Returns whether a bar or other passing words may be drawn.
    pub(crate) fn may_draw(&self) -> bool {
        !self.quiet
            && io::stderr().is_terminal()
            && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
    }

    /// Says that something went wrong.
    pub(crate) fn error(&self, message: &str) {
        self.labelled("error", ERROR, message);
    }

    /// Says that something is less than it should be, and that the command goes on.
    pub(crate) fn warning(&self, message: &str) {
        self.labelled("warning", HINT, message);
    }

    /// Says how a command is called.
    pub(crate) fn usage(&self, usage: &str) {
        self.labelled("usage", HINT, usage.strip_prefix("Usage: ").unwrap_or(usage));
    }

    /// Says what to do about it.
    pub(crate) fn hint(&self, hint: &str) {
        self.labelled("hint", HINT, hint);
    }

    fn labelled(&self, label: &str, style: Style, words: &str) {
        let words = printable(words);
        if self.colour_err {
            tell(format_args!("{style}{label}:{style:#} {words}\n"));
        } else {
            tell(format_args!("{label}: {words}\n"));
        }
    }
}

/// Spells out what would steer a terminal: names of files and messages of other programs are not ours.
pub(crate) fn printable(words: &str) -> String {
    let mut text = String::with_capacity(words.len());
    for c in words.chars() {
        if c.is_control() && c != '\n' {
            text.extend(c.escape_default());
        } else {
            text.push(c);
        }
    }
    text
}

/// Writes to standard error, whatever becomes of it.
pub(crate) fn tell(words: fmt::Arguments<'_>) {
    // One write, so that the lines of several processes do not mix.
    let _ = io::stderr().write_all(words.to_string().as_bytes());
}

/// Turns a failure to print into the command's end.
pub(crate) fn output_failed(error: io::Error) -> CommandError {
    if error.kind() == io::ErrorKind::BrokenPipe {
        return CommandError::ClosedPipe;
    }
    let is_full = error.kind() == io::ErrorKind::StorageFull;
    let error = CommandError::io("write to standard output", error);
    if is_full {
        // Not "and try again": the forks whose names found no room are made.
        error.hint("free some space there; what the command did before it printed is done")
    } else {
        error
    }
}
