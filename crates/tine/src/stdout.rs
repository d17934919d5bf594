//! Standard output, which may not be there.
//!
//! A process that is started with its standard output closed finds /dev/null there: Rust's runtime opens it before `main`,
//! lest the next file that is opened be taken for it. What is printed would vanish as though somebody had it, so it is
//! noted, before the runtime starts, whether the descriptor is there. Afterwards it cannot be told: a caller may give a
//! command /dev/null in just the same way, and mean it.
//!
//! **Invariant:** who writes data to standard output does so through [`Standard`] or [`file`], or calls [`check`] first.

use std::fs::File;
use std::io::{self, Stdout, Write};
use std::os::fd::AsFd as _;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::io::{Errno, fcntl_getfd};

static WAS_CLOSED: AtomicBool = AtomicBool::new(false);

/// Called by the loader.
extern "C" fn look() {
    let is_closed = fcntl_getfd(rustix::stdio::stdout()) == Err(Errno::BADF);
    WAS_CLOSED.store(is_closed, Ordering::Relaxed);
}

// SAFETY: the loader calls what this section points to once, before `main`, in the C convention; arguments that it passes
// may be ignored there. `look` makes one system call and stores one value: it needs no runtime, and cannot unwind.
#[allow(unsafe_code)]
#[used]
#[unsafe(link_section = ".init_array")]
static LOOK: extern "C" fn() = look;

/// Fails if there is no standard output.
pub(crate) fn check() -> io::Result<()> {
    if WAS_CLOSED.load(Ordering::Relaxed) {
        return Err(Errno::BADF.into());
    }
    Ok(())
}

/// Standard output, as the library buffers it.
pub(crate) struct Standard(Stdout);

impl Standard {
    pub(crate) fn new() -> Self {
        Self(io::stdout())
    }
}

impl Write for Standard {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        check()?;
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Returns standard output without any buffer.
pub(crate) fn file() -> io::Result<File> {
    check()?;
    Ok(io::stdout().as_fd().try_clone_to_owned()?.into())
}
