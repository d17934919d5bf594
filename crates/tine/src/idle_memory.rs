//! Memory that clients took and that a daemon does not need any more goes back to the system.
//!
//! The allocator keeps what is freed, for each of its arenas: after many clients at once that can be hundreds of megabytes, for
//! as long as the daemon runs. So when clients have left and nobody comes, it is told to give that back.
#![allow(unsafe_code)]

use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use tine_server::{Connections, Daemon};

/// How often it is looked whether somebody left; nobody comes for as long before anything is given back.
const EVERY: Duration = Duration::from_secs(5);

/// Gives memory back each time that as many have left as are there, until the other end of `ended` is dropped.
pub(crate) fn give_back(daemon: &Daemon, ended: &Receiver<()>) {
    let (mut before, mut given_back) = (Connections::default(), 0);
    while let Err(RecvTimeoutError::Timeout) = ended.recv_timeout(EVERY) {
        let now = daemon.connections();
        let left = now.left - given_back;
        // Those who write now would only take it again.
        if now == before && left >= now.here.max(1) {
            trim();
            given_back = now.left;
        }
        before = now;
    }
}

/// Has the allocator give back what is free.
#[cfg(target_env = "gnu")]
fn trim() {
    // SAFETY: it takes its own locks, and touches nothing that is allocated.
    unsafe { libc::malloc_trim(0) };
}

/// Other allocators do that by themselves.
#[cfg(not(target_env = "gnu"))]
fn trim() {}
