//! fork(2), called as a rival.
//!
//! The rule that this module keeps: a process that is made here does nothing but wait for its end.
#![allow(unsafe_code)]

use std::fs;
use std::io;
use std::time::{Duration, Instant};

/// A process with all of this one's memory, until it is dropped.
pub(super) struct Forked {
    process: libc::pid_t,
    /// How long this process was held up.
    pub(super) took: Duration,
}

impl Forked {
    pub(super) fn new() -> io::Result<Self> {
        let begun = Instant::now();
        // SAFETY: the new process makes two calls that are safe in any state of this one.
        let process = unsafe { libc::fork() };
        let took = begun.elapsed();
        match process {
            -1 => Err(io::Error::last_os_error()),
            0 => loop {
                // SAFETY: waits for a signal; the one that comes ends the process, or its parent's end does.
                unsafe {
                    libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                    libc::pause();
                }
            },
            _ => Ok(Self { process, took }),
        }
    }

    /// Returns the bytes of its page tables, which is what it takes before anything is written.
    pub(super) fn bytes(&self) -> io::Result<u64> {
        sizes(&format!("/proc/{}/status", self.process), &["VmPTE:"])
    }
}

impl Drop for Forked {
    fn drop(&mut self) {
        // SAFETY: a child of this process that nobody else waits for; its number is not another's before it was waited for.
        unsafe {
            libc::kill(self.process, libc::SIGKILL);
            libc::waitpid(self.process, std::ptr::null_mut(), 0);
        }
    }
}

/// Returns the bytes of this process's memory and of its page tables.
pub(super) fn own_bytes() -> io::Result<u64> {
    sizes("/proc/self/status", &["VmRSS:", "VmPTE:"])
}

fn sizes(path: &str, fields: &[&str]) -> io::Result<u64> {
    let status = fs::read_to_string(path)?;
    let kib = |field: &&str| -> Option<u64> {
        let line = status.lines().find_map(|line| line.strip_prefix(*field))?;
        line.trim().trim_end_matches(" kB").parse().ok()
    };
    let sizes: Option<Vec<u64>> = fields.iter().map(kib).collect();
    let sizes = sizes.ok_or_else(|| io::Error::other(format!("{path} has no {}", fields.join(" or "))))?;
    Ok(sizes.iter().sum::<u64>() << 10)
}
