//! What this process inherited of signals, and what commands that it runs inherit in turn.
//!
//! Who ignores a signal and then runs a program wants it ignored there: `nohup` does, and a shell with what it runs in the
//! background. Rust's runtime ignores SIGPIPE before `main` and lets what is run have the default, so what was before that is
//! looked at before `main`, too.
//!
//! **Invariant:** a signal that was ignored when this process began is never caught.
#![allow(unsafe_code)]

use std::mem::MaybeUninit;
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::ptr;
use std::sync::atomic::{AtomicU32, Ordering};

use libc::{SIG_IGN, SIGHUP, SIGINT, SIGPIPE, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGXFSZ};

/// The signals that were ignored when the process began, of those that it does something about: a bit for each.
static IGNORED: AtomicU32 = AtomicU32::new(0);

/// Run by the loader before `main`, and before Rust's runtime.
#[used]
#[unsafe(link_section = ".init_array")]
static LOOK: extern "C" fn() = look;

extern "C" fn look() {
    for signal in [
        SIGHUP, SIGINT, SIGPIPE, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGXFSZ,
    ] {
        let mut found = MaybeUninit::<libc::sigaction>::uninit();
        // SAFETY: nothing is set, and what is there is written to memory for it. It is read if that was done.
        let ignored = unsafe {
            libc::sigaction(signal, ptr::null(), found.as_mut_ptr()) == 0
                && found.assume_init().sa_sigaction == SIG_IGN
        };
        if ignored {
            IGNORED.fetch_or(1 << signal, Ordering::Relaxed);
        }
    }
}

/// Tells whether a signal was ignored when this process began, and so is to be.
pub(crate) fn is_ignored(signal: i32) -> bool {
    IGNORED.load(Ordering::Relaxed) & (1 << signal) != 0
}

/// Returns those of `signals` that may be caught.
pub(crate) fn catchable(signals: &[i32]) -> impl Iterator<Item = i32> {
    signals.iter().copied().filter(|signal| !is_ignored(*signal))
}

/// Lets a command ignore what this process was to ignore. What this process catches, it gets as the default anyway.
pub(crate) fn pass_on(command: &mut Command) {
    if !is_ignored(SIGPIPE) {
        return;
    }
    // SAFETY: between fork and exec it does nothing but this call, which is safe there.
    unsafe {
        command.pre_exec(|| {
            libc::signal(SIGPIPE, SIG_IGN);
            Ok(())
        });
    }
}
