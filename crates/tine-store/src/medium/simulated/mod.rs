//! A medium in memory that does everything a real one may do to what was not synced.
//!
//! ```text
//!   test side                            process side
//!   SimulatedMedium ── start() ───────▶  Arc<dyn Medium>  ───▶  Store
//!     │ crash_process(), kill_readers(),   (refuses everything once its process has ended,
//!     │ cut_power()                         and every change once it has become a reader)
//!     │ inject(), flip(), truncate()
//!     └ fork(): an independent copy that shares its pages
//! ```
//!
//! What is volatile: bytes of journal files and objects until their sync, page by page and (torn) sector by sector;
//! names made or removed until the sync of their area, each on its own. A **process crash** loses nothing but
//! leaves it volatile. A **power cut** keeps any mixture. A **failed sync** leaves its bytes readable and clean in
//! the cache, and any mixture on the medium; a later sync does not write them again. After a failed sync of an
//! area its names are still volatile. Everything that could happen in several ways is asked of a [`Chooser`], so
//! a history is repeated exactly by its seed, and all outcomes of a small one can be gone through.
//!
//! Not modelled: bytes that turn into something that was never written (that is what [`SimulatedMedium::flip`] is
//! for), and another process that writes at the same time: there is one writer, and beside it any number of readers.

mod chooser;
mod digest;
mod file;
mod process;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::hash::Hash;
use std::io;
use std::sync::Arc;

use parking_lot::Mutex;

pub use chooser::Chooser;
pub use digest::Digester;
use file::{FileBytes, Sight};

use super::{Area, Medium, ObjectName};
use crate::segment::SegmentId;

/// What kind of medium to simulate.
#[derive(Clone, Debug, Default)]
pub struct SimulatedOptions {
    /// Bytes that fit; without, any number.
    pub capacity: Option<u64>,
    /// Refuses to write a journal page twice and to remove anything.
    pub write_once: bool,
}

/// What should fail, once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The process dies: this changing operation happens in part, no later call does anything.
    Crash,
    /// A sync fails; see the [module](self).
    Sync,
    /// A write fails after some of its bytes.
    Write,
    /// A read fails.
    Read,
}

/// Something that a file of the medium is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FileName {
    /// A file of the journal's ring.
    Journal(u32),
    /// An object.
    Object(ObjectName),
}

impl FileName {
    fn area(self) -> Area {
        match self {
            Self::Journal(_) => Area::Journal,
            Self::Object(name) => name.area(),
        }
    }
}

/// A use of the medium that [`Medium`] does not allow, or that a write-once medium refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Violation {
    /// A journal access off the 4 KiB grid.
    Misaligned {
        /// The file.
        file: u32,
        /// Where.
        offset: u64,
        /// How much.
        length: usize,
    },
    /// A journal access beyond the file, or in a file that is not there.
    OutsideJournal {
        /// The file.
        file: u32,
        /// Where.
        offset: u64,
    },
    /// An object was opened or removed that is not there.
    Absent(ObjectName),
    /// An object was read beyond its end.
    BeyondEnd(ObjectName),
    /// An object that exists was made again.
    MadeTwice(ObjectName),
    /// An object grew after its bytes were synced.
    AppendedAfterSync(ObjectName),
    /// A journal page of a write-once medium was written again.
    Overwritten {
        /// The file.
        file: u32,
        /// The page's place.
        offset: u64,
    },
    /// An object of a write-once medium was removed.
    Removed(ObjectName),
    /// A reader tried to change something.
    ChangedByReader,
}

/// How much was done so far, by all processes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Calls that change something or sync; the unit of [`Fault::Crash`].
    pub operations: u64,
    /// Calls that write bytes.
    pub writes: u64,
    /// Bytes written.
    pub written_bytes: u64,
    /// Calls that sync bytes or names.
    pub syncs: u64,
    /// Of these, syncs of journal files.
    pub journal_syncs: u64,
    /// Calls that read bytes.
    pub reads: u64,
    /// Bytes read.
    pub read_bytes: u64,
}

/// A simulated medium, from the side of the test.
pub struct SimulatedMedium {
    shared: Arc<Shared>,
}

/// What both sides of a medium share.
struct Shared {
    state: Mutex<State>,
    /// Done before one of the next changes, by the thread that makes it, with no lock held.
    interruption: Mutex<Option<(u64, Interruption)>>,
}

type Interruption = Box<dyn FnOnce() + Send>;

#[derive(Clone, Debug)]
struct State {
    options: SimulatedOptions,
    chooser: Chooser,
    files: BTreeMap<u64, Arc<FileBytes>>,
    entries: BTreeMap<FileName, Entry>,
    next_file: u64,
    /// The process that may use the medium, and what only lives as long as it.
    session: u64,
    /// The medium's digest when the process began, and how often that was drawn from: its random numbers.
    begun: u128,
    draws: u64,
    crashed: bool,
    /// Processes that only read, with the segments that they keep.
    readers: BTreeMap<u64, Vec<SegmentId>>,
    ring_files: u32,
    reserved: u64,
    /// Files of the journal of which a sync failed, and who of its syncers was not told yet.
    untold: [BTreeSet<u64>; 2],
    /// Whether delayed pages wait for the first change.
    delayed: bool,
    faults: Vec<(Fault, u64)>,
    counters: Counters,
    violations: Vec<Violation>,
    /// The state before every change, while that is asked for.
    recorded: Option<Vec<State>>,
}

/// A name: which file it means on the medium and in the cache, and what it meant between since the last sync.
#[derive(Clone, Debug, Default)]
struct Entry {
    durable: Option<u64>,
    cached: Option<u64>,
    pending: Vec<Option<u64>>,
}

impl SimulatedMedium {
    /// Returns an empty medium.
    pub fn new(options: SimulatedOptions, chooser: Chooser) -> Self {
        let state = State {
            options,
            chooser,
            files: BTreeMap::new(),
            entries: BTreeMap::new(),
            next_file: 0,
            session: 0,
            begun: 0,
            draws: 0,
            crashed: false,
            readers: BTreeMap::new(),
            ring_files: 0,
            untold: Default::default(),
            reserved: 0,
            delayed: false,
            faults: Vec::new(),
            counters: Counters::default(),
            violations: Vec::new(),
            recorded: None,
        };
        Self::with(state)
    }

    /// Begins a process and returns its handle. The one before it ends, unless it has become a reader.
    pub fn start(&self) -> Arc<dyn Medium> {
        let mut state = self.shared.state.lock();
        state.end_process();
        state.ring_files = (0..)
            .take_while(|&file| state.cached(FileName::Journal(file)).is_some())
            .count() as u32;
        (state.begun, state.draws) = (state.digest(), 0);
        Arc::new(process::Process::new(Arc::clone(&self.shared), state.session))
    }

    /// Returns an independent medium in the same state, with no process. Costs a pointer for each file.
    pub fn fork(&self) -> Self {
        Self::of(self.shared.state.lock().copy())
    }

    /// Begins to keep a fork of the medium from before every change: what a crash at any moment would find.
    pub fn record(&self) {
        self.shared.state.lock().recorded = Some(Vec::new());
    }

    /// Ends what [`SimulatedMedium::record`] began and returns the forks in order.
    pub fn take_recorded(&self) -> Vec<Self> {
        let recorded = self.shared.state.lock().recorded.take();
        recorded.into_iter().flatten().map(Self::of).collect()
    }

    fn of(mut state: State) -> Self {
        state.end_process();
        state.readers.clear();
        state.faults.clear();
        Self::with(state)
    }

    fn with(state: State) -> Self {
        let shared = Shared {
            state: Mutex::new(state),
            interruption: Mutex::new(None),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Sets what answers the questions from here on.
    pub fn set_chooser(&self, chooser: Chooser) {
        self.shared.state.lock().chooser = chooser;
    }

    /// Returns a copy of the chooser with what it has answered.
    pub fn chooser(&self) -> Chooser {
        self.shared.state.lock().chooser.clone()
    }

    /// Lets the `nth` call that a fault applies to fail, counted from now and from 1.
    pub fn inject(&self, fault: Fault, nth: u64) {
        self.shared.state.lock().faults.push((fault, nth.max(1)));
    }

    /// Lets `action` happen right before the `nth` change from now, in the thread that makes it: what others could do
    /// in the middle of an operation happens there at every run.
    pub fn interrupt(&self, nth: u64, action: impl FnOnce() + Send + 'static) {
        *self.shared.interruption.lock() = Some((nth.max(1), Box::new(action)));
    }

    /// Forgets an interruption that has not happened.
    pub fn clear_interruption(&self) {
        *self.shared.interruption.lock() = None;
    }

    /// Forgets the faults that have not happened.
    pub fn clear_faults(&self) {
        self.shared.state.lock().faults.clear();
    }

    /// Returns whether [`Fault::Crash`] has happened to the current process.
    pub fn crashed(&self) -> bool {
        self.shared.state.lock().crashed
    }

    /// Ends all readers, as `kill -9` does. Those that end by themselves drop their handle.
    pub fn kill_readers(&self) {
        self.shared.state.lock().readers.clear();
    }

    /// Ends the process; what it wrote stays readable and volatile, and readers go on.
    ///
    /// With `delay`, some unsynced journal pages are missed by the reads of the next process until its first
    /// change: they were on their way to the medium.
    pub fn crash_process(&self, delay: bool) {
        let mut state = self.shared.state.lock();
        state.end_process();
        if delay {
            let State {
                files,
                chooser,
                entries,
                ..
            } = &mut *state;
            for (name, entry) in entries {
                if let (FileName::Journal(_), Some(id)) = (name, entry.cached) {
                    Arc::make_mut(files.get_mut(&id).expect("an entry names a file")).delay(chooser);
                }
            }
            state.delayed = true;
        }
    }

    /// Cuts the power: any mixture of what was not synced survives.
    pub fn cut_power(&self) {
        let mut state = self.shared.state.lock();
        state.end_process();
        state.readers.clear();
        state.delayed = false;
        let State {
            files,
            chooser,
            entries,
            ..
        } = &mut *state;
        for entry in entries.values_mut() {
            let pending = std::mem::take(&mut entry.pending);
            entry.reach(&pending, chooser);
            entry.cached = entry.durable;
        }
        entries.retain(|_, entry| entry.durable.is_some());
        let named: Vec<u64> = entries.values().filter_map(|entry| entry.durable).collect();
        files.retain(|id, _| named.contains(id));
        for file in files.values_mut() {
            Arc::make_mut(file).cut_power(chooser);
        }
    }

    /// Returns whether a power cut could lose anything.
    pub fn anything_volatile(&self) -> bool {
        let state = self.shared.state.lock();
        state.entries.values().any(|entry| !entry.pending.is_empty())
            || state.files.values().any(|file| file.is_dirty())
    }

    /// Returns a digest of all that a later process can see and a crash can leave: media with the same digest behave
    /// alike from here on, whatever their past, but for the answers of their choosers.
    pub fn digest(&self) -> u128 {
        self.shared.state.lock().digest()
    }

    /// Returns what has been done so far.
    pub fn counters(&self) -> Counters {
        self.shared.state.lock().counters
    }

    /// Returns and forgets the violations so far.
    pub fn take_violations(&self) -> Vec<Violation> {
        std::mem::take(&mut self.shared.state.lock().violations)
    }

    /// Returns every file with its length.
    pub fn files(&self) -> Vec<(FileName, u64)> {
        let state = self.shared.state.lock();
        let entries = state.entries.iter();
        entries
            .filter_map(|(&name, entry)| Some((name, state.files[&entry.cached?].length())))
            .collect()
    }

    /// Returns the bytes of a file as the cache shows them, or `None` if there is no such file.
    pub fn bytes(&self, name: FileName) -> Option<Vec<u8>> {
        let state = self.shared.state.lock();
        let file = &state.files[&state.cached(name)?];
        let mut bytes = vec![0; file.length() as usize];
        file.read(&mut bytes, 0, Sight::Cache).ok()?;
        Some(bytes)
    }

    /// Inverts the bits of `mask` in one byte of a file, as rot does; returns whether there is such a byte.
    pub fn flip(&self, name: FileName, offset: u64, mask: u8) -> bool {
        let mut state = self.shared.state.lock();
        let Some(file) = state.file_mut(name).filter(|file| offset < file.length()) else {
            return false;
        };
        file.flip(offset, mask);
        true
    }

    /// Cuts a file to `length` bytes, as rot does; returns whether it was longer.
    pub fn truncate(&self, name: FileName, length: u64) -> bool {
        let mut state = self.shared.state.lock();
        let Some(file) = state.file_mut(name).filter(|file| length < file.length()) else {
            return false;
        };
        file.truncate(length);
        true
    }

    /// Takes a file away, as a careless administrator does; returns whether it was there.
    pub fn lose(&self, name: FileName) -> bool {
        self.shared.state.lock().entries.remove(&name).is_some()
    }

    /// Changes how much fits.
    pub fn set_capacity(&self, capacity: Option<u64>) {
        self.shared.state.lock().options.capacity = capacity;
    }
}

impl fmt::Debug for SimulatedMedium {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("SimulatedMedium")
            .field("state", &*self.shared.state.lock())
            .finish_non_exhaustive()
    }
}

impl Shared {
    /// Does what was to happen before this change.
    fn interrupt(&self) {
        let due = {
            let mut interruption = self.interruption.lock();
            match &mut *interruption {
                Some((left, _)) if *left > 1 => {
                    *left -= 1;
                    None
                }
                _ => interruption.take(),
            }
        };
        if let Some((_, action)) = due {
            action();
        }
    }
}

impl Entry {
    /// Lets any of the meanings that the name had since the last sync be the durable one.
    fn reach(&mut self, pending: &[Option<u64>], chooser: &mut Chooser) {
        let Some((&last, earlier)) = pending.split_last() else {
            return;
        };
        match chooser.choose(2 + earlier.len()) {
            0 => {}
            1 => self.durable = last,
            pick => self.durable = earlier[pick - 2],
        }
    }

    fn change(&mut self, to: Option<u64>) {
        self.cached = to;
        self.pending.push(to);
    }
}

impl State {
    /// Clones everything but what was recorded.
    fn copy(&mut self) -> Self {
        let recorded = self.recorded.take();
        let copy = self.clone();
        self.recorded = recorded;
        copy
    }

    /// Keeps the state of this moment if that is asked for.
    fn record(&mut self) {
        if self.recorded.is_some() {
            let copy = self.copy();
            self.recorded.get_or_insert_default().push(copy);
        }
    }

    fn digest(&self) -> u128 {
        let mut digester = Digester::default();
        (self.options.capacity, self.options.write_once, self.delayed).hash(&mut digester);
        for kept in self.readers.values() {
            kept.hash(&mut digester);
        }
        // Files are told apart by the order in which names mean them: their ids tell their past.
        let mut met = Vec::new();
        for (name, entry) in &self.entries {
            name.hash(&mut digester);
            entry.pending.len().hash(&mut digester);
            for id in [entry.durable, entry.cached].iter().chain(&entry.pending) {
                let place = id.map(|id| met.iter().position(|&known| known == id).unwrap_or(met.len()));
                place.hash(&mut digester);
                if let (Some(id), true) = (id, place == Some(met.len())) {
                    met.push(*id);
                    self.files[id].hash(&mut digester);
                }
            }
        }
        digester.digest()
    }

    fn end_process(&mut self) {
        self.session += 1;
        self.crashed = false;
        self.reserved = 0;
        self.untold = Default::default();
    }

    fn cached(&self, name: FileName) -> Option<u64> {
        self.entries.get(&name)?.cached
    }

    fn file_mut(&mut self, name: FileName) -> Option<&mut FileBytes> {
        let id = self.cached(name)?;
        self.files.get_mut(&id).map(Arc::make_mut)
    }

    /// Makes a file that has no name yet.
    fn new_file(&mut self, bytes: FileBytes) -> u64 {
        self.next_file += 1;
        self.files.insert(self.next_file, Arc::new(bytes));
        self.next_file
    }

    fn name_file(&mut self, name: FileName, id: Option<u64>) {
        self.entries.entry(name).or_default().change(id);
    }

    fn sync_names(&mut self, area: Area) {
        for (_, entry) in self.entries.iter_mut().filter(|(name, _)| name.area() == area) {
            entry.durable = entry.cached;
            entry.pending.clear();
        }
        self.entries
            .retain(|_, entry| entry.durable.is_some() || !entry.pending.is_empty());
    }

    fn fail_names(&mut self, area: Area) {
        let State { entries, chooser, .. } = self;
        for (_, entry) in entries.iter_mut().filter(|(name, _)| name.area() == area) {
            let pending = entry.pending.clone();
            entry.reach(&pending, chooser);
        }
    }

    /// Returns the bytes that are neither used nor held back.
    fn free_bytes(&self) -> u64 {
        let Some(capacity) = self.options.capacity else {
            return u64::MAX;
        };
        let named = self.entries.values().filter_map(|entry| entry.cached);
        let used: u64 = named
            .map(|id| self.files[&id].length().next_multiple_of(4096))
            .sum();
        capacity.saturating_sub(used).saturating_sub(self.reserved)
    }

    /// Counts a call down for its faults; returns whether one happens now.
    fn fails(&mut self, which: Fault) -> bool {
        let mut hit = false;
        self.faults.retain_mut(|(fault, left)| {
            if *fault == which {
                *left -= 1;
                hit |= *left == 0;
            }
            *left > 0
        });
        hit
    }

    fn violate(&mut self, violation: Violation, kind: io::ErrorKind) -> io::Error {
        self.violations.push(violation);
        kind.into()
    }
}

#[cfg(test)]
mod tests;
