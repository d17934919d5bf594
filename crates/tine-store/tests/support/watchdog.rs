//! Ends a test program that hangs, and says in which history.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Ends the program, with a message, unless it is dropped in time.
pub(crate) struct Watchdog {
    done: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Watchdog {
    pub(crate) fn new(what: String, limit: Duration) -> Self {
        let done = Arc::new(AtomicBool::new(false));
        let watched = Arc::clone(&done);
        let begun = Instant::now();
        let thread = thread::spawn(move || {
            while !watched.load(Ordering::Acquire) {
                thread::park_timeout(Duration::from_millis(500));
                if begun.elapsed() > limit && !watched.load(Ordering::Acquire) {
                    eprintln!("{what}: no end after {} s", limit.as_secs());
                    std::process::exit(1);
                }
            }
        });
        Self {
            done,
            thread: Some(thread),
        }
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.done.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // The thread only sleeps and looks; it cannot fail.
            let _ = thread.join();
        }
    }
}
