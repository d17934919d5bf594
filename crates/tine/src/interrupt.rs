//! Ctrl-C: the first one asks, the second one kills.
//!
//! A signal that was ignored when the process began stays ignored.
//!
//! Only commands with something to clean up catch signals that ask to stop; every other ends by the signal's default, and the
//! store is right all the same: it is at every moment. A file that grows too large is an error for all.

use std::io::{self, Read};
use std::ops::ControlFlow;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGXFSZ};
use signal_hook::flag;

use crate::error::{CommandError, Outcome};
use crate::signals;

/// The signal that was caught, 0 for none. Signals belong to the process, and so does this.
static CAUGHT: OnceLock<Arc<AtomicUsize>> = OnceLock::new();

/// Catches the signals that ask a command to stop, from now on; a second one ends the process at once.
pub(crate) fn catch() -> Outcome<()> {
    let asked = Arc::new(AtomicBool::new(false));
    catch_and(|signal| {
        // In this order: the first signal finds the flag down and raises it.
        flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&asked))?;
        flag::register(signal, Arc::clone(&asked))?;
        Ok(())
    })
}

/// Catches them, and never ends the process by them: for what has to be undone before its end.
pub(crate) fn catch_all() -> Outcome<()> {
    catch_and(|_| Ok(()))
}

fn catch_and(second: impl Fn(i32) -> io::Result<()>) -> Outcome<()> {
    if CAUGHT.get().is_some() {
        return Ok(());
    }
    let caught = CAUGHT.get_or_init(Arc::default);
    for signal in signals::catchable(&[SIGINT, SIGTERM, SIGHUP]) {
        second(signal)
            .and_then(|()| {
                let number = usize::try_from(signal).unwrap_or(0);
                flag::register_usize(signal, Arc::clone(caught), number).map(drop)
            })
            .map_err(|error| CommandError::io("catch signals", error))?;
    }
    Ok(())
}

/// Makes an error, EFBIG, of a write that would let a file grow past its limit (`ulimit -f`), from now on. By default the
/// process is killed. Commands that are run have the default again. Where it is ignored it is such an error anyway.
pub(crate) fn catch_size_limit() {
    if !signals::is_ignored(SIGXFSZ) {
        // If that is refused, the process ends as it would have.
        let _ = flag::register(SIGXFSZ, Arc::default());
    }
}

/// Returns the signal that was caught, if any.
pub(crate) fn caught() -> Option<u8> {
    let signal = CAUGHT.get()?.load(Ordering::Relaxed);
    u8::try_from(signal).ok().filter(|signal| *signal != 0)
}

/// Fails when a signal was caught.
pub(crate) fn check() -> Outcome<()> {
    match caught() {
        Some(signal) => Err(CommandError::Interrupted(signal)),
        None => Ok(()),
    }
}

/// Says whether to go on, as progress callbacks do.
pub(crate) fn go_on() -> ControlFlow<()> {
    match caught() {
        Some(_) => ControlFlow::Break(()),
        None => ControlFlow::Continue(()),
    }
}

/// A stream that a caught signal ends even while it waits for data.
pub(crate) struct Interruptible<R> {
    inner: R,
}

impl<R: Read + AsFd> Interruptible<R> {
    /// Wraps `inner`, which must not have a buffer of its own: the wait is for its descriptor.
    pub(crate) fn new(inner: R) -> Self {
        Self { inner }
    }
}

impl<R: Read + AsFd> Read for Interruptible<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        // A signal may come between the look and the wait, so that the wait is short; it costs nothing while data flows.
        const LOOK_AGAIN: Timespec = Timespec {
            tv_sec: 0,
            tv_nsec: 200_000_000,
        };
        loop {
            if caught().is_some() {
                // Not `Interrupted`, which readers take for "try again".
                return Err(io::Error::other("interrupted"));
            }
            let mut wait = [PollFd::new(&self.inner, PollFlags::IN)];
            match poll(&mut wait, Some(&LOOK_AGAIN)) {
                Ok(0) | Err(rustix::io::Errno::INTR) => {}
                Ok(_) => return self.inner.read(buffer),
                Err(error) => return Err(error.into()),
            }
        }
    }
}
