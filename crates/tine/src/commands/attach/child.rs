//! The command that has the disk: its arguments, its signals, its end.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command};
use std::thread;

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, getpgrp, kill_process, waitid};
use rustix::stdio::stdin;
use rustix::termios::tcgetpgrp;
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook::iterator::Signals;

use crate::error::{CommandError, Exit, Outcome};
use crate::signals;

/// A command that runs. Signals are the command's; those that were ignored it ignores, too.
pub(super) struct Running {
    child: Child,
    signals: Signals,
}

/// Runs a command with a URI. After an error it has never run.
pub(super) fn start(command: &[OsString], uri: &str) -> Outcome<Running> {
    let [program, args @ ..] = command else {
        return Err(CommandError::new("no command is given"));
    };
    // From before it runs until it has ended: it ends by a signal, not this process.
    let caught = [SIGINT, SIGQUIT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2];
    let signals = Signals::new(signals::catchable(&caught))
        .map_err(|error| CommandError::io("catch signals", error))?;
    let mut command = Command::new(with_uri(program, uri));
    command
        .args(args.iter().map(|arg| with_uri(arg, uri)))
        .env("TINE_URI", uri);
    signals::pass_on(&mut command);
    let child = command.spawn().map_err(|error| not_run(program, error))?;
    Ok(Running { child, signals })
}

impl Running {
    /// Waits for its end and returns its exit status, as a shell tells it.
    pub(super) fn wait(mut self) -> Outcome {
        let handle = self.signals.handle();
        let forwarding = thread::spawn(pass_on(self.signals, &self.child));
        if let Some(pid) = pid_of(&self.child) {
            // Its number is its own until it was waited for, so as long as signals are passed on to it. An error comes
            // again.
            let _ = waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT);
        }
        handle.close();
        // It only passes signals on; nothing depends on how it ended.
        let _ = forwarding.join();
        let status = self
            .child
            .wait()
            .map_err(|error| CommandError::io("wait for the command", error))?;
        let code = status.code().or_else(|| Some(128 + status.signal()?));
        Ok(Exit::Code(
            code.and_then(|code| u8::try_from(code).ok()).unwrap_or(2),
        ))
    }
}

/// Returns the error of a command that does not run.
fn not_run(program: &OsStr, error: io::Error) -> CommandError {
    let hint = match error.kind() {
        io::ErrorKind::NotFound => Some("is it installed, and its folder in $PATH?"),
        io::ErrorKind::PermissionDenied => Some("is it a program, and one that you may run?"),
        _ => None,
    };
    let error = CommandError::io(format_args!("run `{}`", program.to_string_lossy()), error);
    match hint {
        Some(hint) => error.hint(hint),
        None => error,
    }
}

fn pid_of(child: &Child) -> Option<Pid> {
    i32::try_from(child.id()).ok().and_then(Pid::from_raw)
}

/// Passes signals on to the command. What a terminal's keys send, they send to the command, too.
fn pass_on(mut signals: Signals, child: &Child) -> impl FnOnce() + Send + use<> {
    let child = pid_of(child);
    move || {
        for signal in signals.forever() {
            let by_key = matches!(signal, SIGINT | SIGQUIT) && is_in_foreground();
            if let (Some(child), Some(signal)) = (child, Signal::from_named_raw(signal))
                && !by_key
            {
                // It may have ended just now.
                let _ = kill_process(child, signal);
            }
        }
    }
}

/// Tells whether a terminal's keys reach this process, and the command with it.
fn is_in_foreground() -> bool {
    tcgetpgrp(stdin()).is_ok_and(|foreground| foreground == getpgrp())
}

/// Puts the URI in place of each `{}`.
fn with_uri(arg: &OsStr, uri: &str) -> OsString {
    let mut rest = arg.as_bytes();
    let mut replaced = Vec::with_capacity(rest.len());
    while let Some(at) = rest.windows(2).position(|two| two == b"{}") {
        replaced.extend(&rest[..at]);
        replaced.extend(uri.as_bytes());
        rest = &rest[at + 2..];
    }
    replaced.extend(rest);
    OsString::from_vec(replaced)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn braces_are_the_uri_wherever_they_stand() {
        let replaced = |text: &str| with_uri(OsStr::new(text), "U").into_string().unwrap();
        assert_eq!(replaced("file={},format=raw"), "file=U,format=raw");
        assert_eq!(replaced("{}{}"), "UU");
        assert_eq!(replaced("{ }"), "{ }");
        assert_eq!(replaced(""), "");
    }
}
