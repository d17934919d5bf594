//! The disk behind a mount, and when it fails: what the test and the file system's thread share.
//!
//! A test arms a fault here; the file system asks here before each operation whether there still is a disk.

use crate::disk::Disk;
use crate::random::Random;
use fuser::Errno;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// What a program that is running at the cut sees of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AtCut {
    /// Each call fails with EIO, as though a cable had been pulled: exercises what the program does with errors.
    Fail,
    /// Each call hangs until [`Device::release`]: the program, killed meanwhile, never runs again after the cut.
    Hang,
}

/// What a file system has been asked to do since it was mounted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counters {
    /// Everything that changes or syncs something: what a cut is armed in.
    pub(crate) operations: u64,
    pub(crate) writes: u64,
    pub(crate) written_bytes: u64,
    /// `fsync` and `fdatasync` of files, and writes with `O_DSYNC`.
    pub(crate) syncs: u64,
    pub(crate) directory_syncs: u64,
    /// Names made, moved and removed.
    pub(crate) names: u64,
}

/// What an operation is going to do.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Operation {
    Write {
        bytes: u64,
        synced: bool,
    },
    /// Truncate, allocate, punch.
    Reshape,
    Sync,
    SyncDirectory,
    Name,
}

/// The disk and the faults that await it.
#[derive(Debug)]
pub(crate) struct Device {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
pub(crate) struct State {
    /// The disk while the power is on.
    pub(crate) disk: Disk,
    pub(crate) counters: Counters,
    power: Power,
    /// The operation at which the power is cut, counted like [`Counters::operations`].
    cut_at: Option<(u64, AtCut)>,
    /// The operation at which the program is halted, counted like that, too.
    halt_at: Option<u64>,
    /// The sync that fails, counted like [`Counters::syncs`].
    failing_sync: Option<(u64, Random)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Power {
    On,
    Cut,
    /// Cut, and who asks waits for [`Device::release`].
    CutAndHanging,
    /// On, but who asks waits for [`Device::release`].
    Halted,
}

/// How long a hanging call waits at most: a test that forgot to release it fails instead of hanging itself.
const HANG_MAX: Duration = Duration::from_secs(20);

impl State {
    fn hangs(&self) -> bool {
        matches!(self.power, Power::CutAndHanging | Power::Halted)
    }

    /// Takes the failure that was armed for the sync just begun.
    pub(crate) fn failure_of_sync(&mut self) -> Option<Random> {
        self.failing_sync
            .take_if(|(sync, _)| *sync == self.counters.syncs)
            .map(|(_, random)| random)
    }
}

impl Device {
    /// Returns the device, its power on and no fault armed.
    pub(crate) fn new(disk: Disk) -> Self {
        let state = State {
            disk,
            counters: Counters::default(),
            power: Power::On,
            cut_at: None,
            halt_at: None,
            failing_sync: None,
        };
        Self {
            state: Mutex::new(state),
            changed: Condvar::new(),
        }
    }

    /// Arms a cut at the `nth` (from 1) operation from now; that operation has no effect any more.
    pub(crate) fn arm_cut(&self, nth: u64, at_cut: AtCut) {
        let mut state = self.lock();
        state.cut_at = Some((state.counters.operations + nth, at_cut));
    }

    /// Lets the program hang at the `nth` (from 1) operation from now, which has no effect any more: the test kills it
    /// there. The disk stays on, and with it what is in the page cache.
    pub(crate) fn arm_halt(&self, nth: u64) {
        let mut state = self.lock();
        state.halt_at = Some(state.counters.operations + nth);
    }

    /// Takes back what is armed.
    pub(crate) fn disarm(&self) {
        let mut state = self.lock();
        (state.cut_at, state.halt_at, state.failing_sync) = (None, None, None);
    }

    /// Lets the `nth` (from 1) sync of a file from now fail with EIO; `random` decides what it has written.
    pub(crate) fn arm_failing_sync(&self, nth: u64, random: Random) {
        let mut state = self.lock();
        state.failing_sync = Some((state.counters.syncs + nth, random));
    }

    /// Returns whether a sync that was to fail is still to come.
    pub(crate) fn awaits_failing_sync(&self) -> bool {
        self.lock().failing_sync.is_some()
    }

    /// Returns whether the power was cut.
    pub(crate) fn is_cut(&self) -> bool {
        matches!(self.lock().power, Power::Cut | Power::CutAndHanging)
    }

    /// Returns whether who asks for the disk hangs, until [`Device::release`].
    pub(crate) fn hangs(&self) -> bool {
        self.lock().hangs()
    }

    /// Waits until a cut or a halt strikes, but not longer than `limit`. Returns whether it did.
    pub(crate) fn wait_for_strike(&self, limit: Duration) -> bool {
        let waited = self
            .changed
            .wait_timeout_while(self.lock(), limit, |state| state.power == Power::On);
        waited.unwrap_or_else(PoisonError::into_inner).0.power != Power::On
    }

    /// Cuts the power now; calls fail from here on.
    pub(crate) fn cut(&self) {
        self.lock().power = Power::Cut;
        self.changed.notify_all();
    }

    /// Lets calls that hang fail; those that follow fail after a cut, and succeed after a halt.
    pub(crate) fn release(&self) {
        let mut state = self.lock();
        state.power = match state.power {
            Power::On | Power::Halted => Power::On,
            Power::Cut | Power::CutAndHanging => Power::Cut,
        };
        self.changed.notify_all();
    }

    /// Returns what has been done so far.
    pub(crate) fn counters(&self) -> Counters {
        self.lock().counters
    }

    /// Cuts the power and takes the disk out.
    pub(crate) fn take_disk(&self) -> Disk {
        self.cut();
        std::mem::replace(&mut self.lock().disk, Disk::new((0, 0)))
    }

    /// Begins an operation that changes nothing.
    pub(crate) fn begin_read(&self) -> Result<MutexGuard<'_, State>, Errno> {
        self.powered(self.lock())
    }

    /// Counts and begins an operation, unless the power is cut or is cut by it.
    pub(crate) fn begin(&self, operation: Operation) -> Result<MutexGuard<'_, State>, Errno> {
        let mut state = self.powered(self.lock())?;
        let next = state.counters.operations + 1;
        let cut = state.cut_at.filter(|(nth, _)| *nth == next);
        let strikes = match cut {
            Some((_, AtCut::Fail)) => Some(Power::Cut),
            Some((_, AtCut::Hang)) => Some(Power::CutAndHanging),
            None => state.halt_at.take_if(|nth| *nth == next).map(|_| Power::Halted),
        };
        if let Some(power) = strikes {
            state.power = power;
            self.changed.notify_all();
            return self.powered(state);
        }
        state.counters.count(operation);
        Ok(state)
    }

    /// Returns the state if the power is on, else the error that the program gets; so does a call that had to wait, as
    /// the program was killed meanwhile.
    fn powered<'a>(&self, mut state: MutexGuard<'a, State>) -> Result<MutexGuard<'a, State>, Errno> {
        if state.power == Power::On {
            return Ok(state);
        }
        let give_up = Instant::now() + HANG_MAX;
        while state.hangs() && Instant::now() < give_up {
            let waited = self.changed.wait_timeout(state, HANG_MAX / 100);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        Err(Errno::EIO)
    }

    /// A panic in one operation must not hide what the test was about to say.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counters {
    fn count(&mut self, operation: Operation) {
        self.operations += 1;
        match operation {
            Operation::Write { bytes, synced } => {
                self.writes += 1;
                self.written_bytes += bytes;
                self.syncs += u64::from(synced);
            }
            Operation::Reshape => {}
            Operation::Sync => self.syncs += 1,
            Operation::SyncDirectory => self.directory_syncs += 1,
            Operation::Name => self.names += 1,
        }
    }
}

impl std::ops::AddAssign for Counters {
    fn add_assign(&mut self, other: Self) {
        self.operations += other.operations;
        self.writes += other.writes;
        self.written_bytes += other.written_bytes;
        self.syncs += other.syncs;
        self.directory_syncs += other.directory_syncs;
        self.names += other.names;
    }
}
