//! A medium whose calls of a kind can be held up, so that what others do meanwhile happens at every run.

use std::io;
use std::sync::Arc;

use parking_lot::{Condvar, Mutex};
use tine_store::medium::{Area, Medium, Object, ObjectName, ObjectWriter, Reading, Syncer, Writing};
use tine_store::segment::SegmentId;

/// What a gate holds up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Held {
    Nothing,
    /// Reads of objects through the cache: loading a branch.
    Reads,
    /// Syncs of the journal.
    Commits,
    /// The first sync of the journal; others pass.
    OneCommit,
    /// Syncs of the journal that failed, before anybody is told.
    Failures,
    /// Syncs of a directory: publishing what was drained.
    Directories,
}

/// A gate: open, or shut for one kind of call.
pub(crate) struct Gate {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    held: Held,
    /// How often it was shut or opened.
    turn: u64,
    /// Calls that are held up now.
    waiting: usize,
    /// Calls of the kind that passed since it was shut, or are about to return.
    passed: usize,
}

impl Gate {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State {
                held: Held::Nothing,
                turn: 0,
                waiting: 0,
                passed: 0,
            }),
            changed: Condvar::new(),
        })
    }

    /// Shuts the gate for one kind of call; those that were held up go on.
    pub(crate) fn hold(&self, what: Held) {
        let mut state = self.state.lock();
        *state = State {
            held: what,
            turn: state.turn + 1,
            waiting: 0,
            passed: 0,
        };
        self.changed.notify_all();
    }

    /// Waits until a call is held up.
    pub(crate) fn wait_for_one(&self) {
        self.wait_for(1);
    }

    /// Waits until so many calls are held up.
    pub(crate) fn wait_for(&self, calls: usize) {
        let mut state = self.state.lock();
        while state.waiting < calls {
            self.changed.wait(&mut state);
        }
    }

    /// Returns how many calls are held up now.
    pub(crate) fn waiting(&self) -> usize {
        self.state.lock().waiting
    }

    /// Waits until a call has passed that the gate did not hold up.
    pub(crate) fn wait_for_another(&self) {
        let mut state = self.state.lock();
        while state.passed == 0 {
            self.changed.wait(&mut state);
        }
    }

    fn pass(&self, what: Held) {
        let mut state = self.state.lock();
        let held = state.held;
        if held == what || held == Held::OneCommit && what == Held::Commits && state.waiting == 0 {
            state.waiting += 1;
            self.changed.notify_all();
            let turn = state.turn;
            while state.turn == turn {
                self.changed.wait(&mut state);
            }
        }
    }

    fn passed(&self) {
        let mut state = self.state.lock();
        state.passed += 1;
        self.changed.notify_all();
    }
}

/// A medium behind a gate.
pub(crate) struct Gated {
    pub(crate) medium: Arc<dyn Medium>,
    pub(crate) gate: Arc<Gate>,
}

struct GatedObject {
    object: Arc<dyn Object>,
    gate: Arc<Gate>,
}

impl Object for GatedObject {
    fn length(&self) -> io::Result<u64> {
        self.object.length()
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64, reading: Reading) -> io::Result<()> {
        if reading != Reading::PastCache {
            self.gate.pass(Held::Reads);
        }
        self.object.read_at(bytes, offset, reading)
    }

    fn sync(&self) -> io::Result<()> {
        self.object.sync()
    }
}

impl Medium for Gated {
    fn create_object(&self, name: ObjectName, writing: Writing) -> io::Result<Box<dyn ObjectWriter>> {
        self.medium.create_object(name, writing)
    }

    fn reads_unfinished(&self) -> bool {
        self.medium.reads_unfinished()
    }

    fn open_object(&self, name: ObjectName) -> io::Result<Arc<dyn Object>> {
        Ok(Arc::new(GatedObject {
            object: self.medium.open_object(name)?,
            gate: Arc::clone(&self.gate),
        }))
    }

    fn remove_object(&self, name: ObjectName) -> io::Result<()> {
        self.medium.remove_object(name)
    }

    fn list_objects(&self, area: Area) -> io::Result<Vec<ObjectName>> {
        self.medium.list_objects(area)
    }

    fn sync_area(&self, area: Area) -> io::Result<()> {
        self.gate.pass(Held::Directories);
        self.medium.sync_area(area)
    }

    fn journal_files(&self) -> io::Result<u32> {
        self.medium.journal_files()
    }

    fn journal_file_bytes(&self, file: u32) -> io::Result<u64> {
        self.medium.journal_file_bytes(file)
    }

    fn create_journal_file(&self, file: u32, bytes: u64) -> io::Result<()> {
        self.medium.create_journal_file(file, bytes)
    }

    fn write_journal(&self, file: u32, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.medium.write_journal(file, offset, bytes)
    }

    fn sync_journal(&self, file: u32, by: Syncer) -> io::Result<()> {
        self.gate.pass(Held::Commits);
        let result = self.medium.sync_journal(file, by);
        if result.is_err() {
            self.gate.pass(Held::Failures);
        }
        self.gate.passed();
        result
    }

    fn read_journal(&self, file: u32, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        self.medium.read_journal(file, offset, bytes)
    }

    fn can_overwrite(&self) -> bool {
        self.medium.can_overwrite()
    }

    fn free_bytes(&self) -> io::Result<u64> {
        self.medium.free_bytes()
    }

    fn reserve(&self, bytes: u64) -> io::Result<()> {
        self.medium.reserve(bytes)
    }

    fn become_reader(&self, kept: &[SegmentId]) -> io::Result<()> {
        self.medium.become_reader(kept)
    }

    fn leased(&self) -> io::Result<Vec<SegmentId>> {
        self.medium.leased()
    }
}
