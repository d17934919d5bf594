//! Ends a test program that hangs, and says in which history.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// So often it is looked whether the end has come.
const LOOK: Duration = Duration::from_millis(500);

/// Ends the program, with a message, unless it is dropped in time.
pub(crate) struct Watchdog {
    done: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Watchdog {
    pub(crate) fn new(what: String, limit: Duration) -> Self {
        let done = Arc::new(AtomicBool::new(false));
        let watched = Arc::clone(&done);
        let thread = thread::spawn(move || {
            // A program that is stopped for a while does not hang: such a while counts for little.
            let mut waited = Duration::ZERO;
            while !watched.load(Ordering::Acquire) {
                let looked = Instant::now();
                thread::park_timeout(LOOK);
                waited += looked.elapsed().min(2 * LOOK);
                if waited > limit && !watched.load(Ordering::Acquire) {
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
