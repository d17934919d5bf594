//! Standard input, and other streams.

use std::fs::File;
use std::io::{self, IsTerminal as _, Read};
use std::os::fd::AsFd as _;

use crate::error::{CommandError, Outcome};
use crate::interrupt::{self, Interruptible};
use crate::ui::Ui;

/// How much is read before the store is opened.
const FIRST_BYTES: usize = 64 << 10;

/// A stream of which something has come.
///
/// A command waits for that before it opens the store, and keeps nobody else from it until there is something to do.
pub(crate) struct Input {
    file: File,
    first: Vec<u8>,
}

impl Input {
    /// Opens standard input and waits for its first bytes. An empty one is an error: more often a slip than meant.
    pub(crate) fn standard(ui: &Ui) -> Outcome<Self> {
        if io::stdin().is_terminal() {
            ui.say("Reading from the terminal; Ctrl-D ends it");
        }
        // Past the library's buffer: a wait for the descriptor must not miss what lies in one.
        let stdin = io::stdin().as_fd().try_clone_to_owned();
        let stdin = stdin.map_err(|error| CommandError::io("open standard input", error))?;
        Self::new(stdin.into(), "standard input")
    }

    /// Waits for the first bytes of a stream that is called `name`.
    pub(crate) fn new(file: File, name: &str) -> Outcome<Self> {
        let mut first = vec![0; FIRST_BYTES];
        let read = Interruptible::new(&file).read(&mut first);
        interrupt::check()?;
        let length = read.map_err(|error| CommandError::io(format!("read {name}"), error))?;
        if length == 0 {
            return Err(CommandError::new(format!("{name} is empty")).hint("nothing was changed"));
        }
        first.truncate(length);
        Ok(Self { file, first })
    }

    /// Returns all of the stream, from its beginning; a caught signal ends it with an error.
    pub(crate) fn reader(&self) -> impl Read + '_ {
        self.first.as_slice().chain(Interruptible::new(&self.file))
    }
}
