//! What the tests share.

#![allow(dead_code, reason = "not each program of tests needs all of it")]
#![allow(unreachable_pub, reason = "a module of several programs")]

pub mod client;
pub mod ram_disk;

use std::io::Write as _;
use std::ops::{ControlFlow, Range};
use std::sync::Arc;
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use tine_nbd::{Errno, Export, Extent, Fault, Features, Limits, Server, Zeroing};

use client::Raw;
use ram_disk::{RamDisk, RamDisks};

pub const MIB: u64 = 1 << 20;

/// Serves `disks` within the default limits.
pub fn serve(disks: impl IntoIterator<Item = (&'static str, Arc<dyn Export>)>) -> Server {
    serve_within(Limits::default(), disks)
}

pub fn serve_within(
    limits: Limits,
    disks: impl IntoIterator<Item = (&'static str, Arc<dyn Export>)>,
) -> Server {
    let exports = RamDisks::default();
    for (name, disk) in disks {
        exports.insert(name, disk);
    }
    Server::new(Arc::new(exports), limits).unwrap()
}

/// Serves one empty disk of 64 MiB, named `ram`.
pub fn serve_ram() -> (Server, Arc<RamDisk>) {
    let disk = Arc::new(RamDisk::new(64 * MIB));
    let exported: Arc<dyn Export> = Arc::<RamDisk>::clone(&disk);
    (serve([("ram", exported)]), disk)
}

/// Waits until `condition` holds.
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !condition() {
        assert!(begin.elapsed() < client::PATIENCE, "in vain: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// A gate that is closed or open.
#[derive(Default)]
pub struct Gate {
    closed: Mutex<bool>,
    opened: Condvar,
    waiting: Mutex<usize>,
}

impl Gate {
    pub fn close(&self) {
        *self.closed.lock() = true;
    }

    pub fn open(&self) {
        *self.closed.lock() = false;
        self.opened.notify_all();
    }

    pub fn pass(&self) {
        *self.waiting.lock() += 1;
        let mut closed = self.closed.lock();
        while *closed {
            self.opened.wait(&mut closed);
        }
        drop(closed);
        *self.waiting.lock() -= 1;
    }

    /// Returns how many wait at it.
    pub fn waiting(&self) -> usize {
        *self.waiting.lock()
    }
}

/// A disk whose slow parts wait at gates, and that fails where it is told to.
pub struct Troubled {
    pub disk: RamDisk,
    /// Flushes, and whatever has to wait for the medium, pass this.
    pub flushing: Gate,
    pub reading: Gate,
    pub writing: Gate,
    /// Whether nothing is done at once.
    pub slow: bool,
    /// Reads and writes that touch this fail.
    pub bad: Range<u64>,
    pub fault: Fault,
    /// Which threads flushed it, one after the other.
    pub flushed_by: Mutex<Vec<ThreadId>>,
}

impl Troubled {
    pub fn new(size: u64) -> Self {
        Self {
            disk: RamDisk::new(size),
            flushing: Gate::default(),
            reading: Gate::default(),
            writing: Gate::default(),
            slow: false,
            bad: 0..0,
            fault: Fault::new(Errno::Io, "block 7 fails its checksum"),
            flushed_by: Mutex::default(),
        }
    }

    fn check(&self, offset: u64, length: usize) -> Result<(), Fault> {
        match offset < self.bad.end && self.bad.start < offset + length as u64 {
            true => Err(self.fault.clone()),
            false => Ok(()),
        }
    }
}

impl Export for Troubled {
    fn size(&self) -> u64 {
        self.disk.size()
    }

    fn features(&self) -> Features {
        self.disk.features()
    }

    fn read_at_once(&self, into: &mut [u8], offset: u64) -> Result<bool, Fault> {
        self.check(offset, into.len())?;
        match self.slow {
            true => Ok(false),
            false => self.disk.read_at_once(into, offset),
        }
    }

    fn read(&self, into: &mut [u8], offset: u64) -> Result<(), Fault> {
        self.reading.pass();
        self.check(offset, into.len())?;
        self.disk.read(into, offset)
    }

    fn write_at_once(&self, bytes: &[u8], offset: u64) -> Result<bool, Fault> {
        self.check(offset, bytes.len())?;
        match self.slow {
            true => Ok(false),
            false => self.disk.write_at_once(bytes, offset),
        }
    }

    fn write(&self, bytes: &[u8], offset: u64) -> Result<(), Fault> {
        self.writing.pass();
        self.check(offset, bytes.len())?;
        self.disk.write(bytes, offset)
    }

    fn write_zeroes(&self, range: Range<u64>, how: Zeroing) -> Result<(), Fault> {
        if how.fast {
            return Err(Fault::new(
                Errno::NotSupported,
                "zeroes are written one by one here",
            ));
        }
        self.disk.write_zeroes(range, how)
    }

    fn trim(&self, range: Range<u64>) -> Result<(), Fault> {
        self.disk.trim(range)
    }

    fn flush(&self) -> Result<(), Fault> {
        self.flushing.pass();
        self.flushed_by.lock().push(thread::current().id());
        self.disk.flush()
    }

    fn extents(
        &self,
        context: &str,
        range: Range<u64>,
        visit: &mut dyn FnMut(Extent) -> ControlFlow<()>,
    ) -> Result<(), Fault> {
        self.disk.extents(context, range, visit)
    }
}

/// Sends as much as the server takes, until nothing moves any more. Returns how many requests it took.
pub fn flood(raw: &mut Raw, request: &[u8]) -> usize {
    raw.socket
        .set_write_timeout(Some(Duration::from_millis(300)))
        .unwrap();
    let mut taken = 0;
    while raw.socket.write_all(request).is_ok() {
        taken += 1;
        assert!(taken < 1_000_000, "it takes whatever comes");
    }
    taken
}
