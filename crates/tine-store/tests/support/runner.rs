//! Does a history on the real engine over the simulated medium, and compares it with the model after every step.
//!
//! The runner keeps every world that the outside may still find: one while all is well; after an operation that
//! failed without an end of the process also the one in which it happened all the same, until a later success
//! settles it.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use tine_store::medium::simulated::{Chooser, Fault, SimulatedMedium, SimulatedOptions};
use tine_store::{CreateOptions, OpenOptions, Reader, State, Store, StoreError, UpkeepMode};

use super::content::Content;
use super::expect::{is_durable, parts_done, tell};
use super::ops::{Fate, Op, Step, Trouble};
use super::perform::{Failure, Names, describe, is_refusal, may_refuse, perform, read_state};
use super::world::{Refusal, Shown, Target, World};

/// The store and medium that a history runs on.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(crate) journal_file_bytes: u64,
    pub(crate) journal_files: u32,
    pub(crate) buffer_bytes: u64,
    pub(crate) large_write_bytes: u64,
    pub(crate) write_once: bool,
    /// Disks are larger and nodes of the index small, so that its trees have several levels.
    pub(crate) small_nodes: bool,
}

impl Config {
    pub(crate) const SMALL: Self = Self {
        journal_file_bytes: 64 << 10,
        journal_files: 3,
        buffer_bytes: 1 << 20,
        large_write_bytes: 128 << 10,
        write_once: false,
        small_nodes: false,
    };

    /// Chooses sizes, mostly small ones so that laps and drains happen often.
    pub(crate) fn choose(chooser: &mut Chooser) -> Self {
        Self {
            journal_file_bytes: [32 << 10, 32 << 10, 64 << 10, 256 << 10][chooser.choose(4)],
            journal_files: 3 + chooser.choose(2) as u32,
            buffer_bytes: [64 << 10, 256 << 10, 64 << 20][chooser.choose(3)],
            large_write_bytes: [0, 512, 128 << 10][chooser.choose(3)],
            write_once: chooser.one_in(8),
            small_nodes: chooser.one_in(4),
        }
    }

    pub(crate) fn create_options(&self) -> CreateOptions {
        CreateOptions {
            journal_file_bytes: self.journal_file_bytes,
            journal_files: self.journal_files,
        }
    }

    pub(crate) fn open_options(&self) -> OpenOptions {
        let mut options = OpenOptions {
            buffer_bytes: self.buffer_bytes,
            large_write_bytes: self.large_write_bytes,
            upkeep: UpkeepMode::Inline,
            ..OpenOptions::default()
        };
        if self.small_nodes {
            // Some four extents, and three children.
            (options.bounds.leaf_bytes, options.bounds.children) = (160, 3);
            // And what is a branch's own is known of the first blocks alone: `trees` looks whether it is counted right.
            options.bounds.own_words = 2;
        }
        options
    }

    pub(crate) fn medium(&self, chooser: Chooser) -> SimulatedMedium {
        SimulatedMedium::new(
            SimulatedOptions {
                capacity: None,
                write_once: self.write_once,
            },
            chooser,
        )
    }
}

/// Processes that read beside the one that has the store.
const READERS_MAX: usize = 2;

/// Why a history is wrong.
pub(crate) type Wrong = String;

/// A store under test, and what it has to show.
pub(crate) struct Runner {
    pub(crate) config: Config,
    pub(crate) medium: SimulatedMedium,
    store: Option<Store>,
    pub(super) names: Names,
    /// The world that the running store shows comes first.
    pub(crate) worlds: Vec<World>,
    /// Views that are kept open, with what they showed at first.
    pub(super) held: Vec<(State, Content)>,
    /// Other processes that read, with what they have to show.
    pub(super) readers: Vec<(Reader, Content)>,
    /// Whether an operation has failed that may have poisoned the writer, unnoticed so far.
    suspect: bool,
    delays: usize,
    /// Whether the last [`Op::During`] came to its middle.
    pub(crate) interrupted: bool,
    pub(crate) recoveries: u64,
}
impl Runner {
    /// Makes a store on a new medium.
    pub(crate) fn create(config: Config, chooser: Chooser) -> Result<Self, Wrong> {
        let medium = config.medium(chooser);
        let store = Store::create_on(medium.start(), &config.create_options(), config.open_options())
            .map_err(|error| format!("making the store failed: {}", describe(&error)))?;
        Ok(Self::new(config, medium, Some(store), vec![World::default()]))
    }

    fn new(config: Config, medium: SimulatedMedium, store: Option<Store>, worlds: Vec<World>) -> Self {
        Self {
            config,
            medium,
            store,
            names: Names::default(),
            worlds,
            held: Vec::new(),
            readers: Vec::new(),
            suspect: false,
            delays: 0,
            interrupted: false,
            recoveries: 0,
        }
    }

    /// Returns a runner that goes on from a state of the medium, with no process running.
    pub(crate) fn on(config: &Config, medium: SimulatedMedium, worlds: Vec<World>) -> Self {
        Self::new(config.clone(), medium, None, worlds)
    }

    pub(crate) fn world(&self) -> &World {
        &self.worlds[0]
    }

    pub(crate) fn store(&self) -> &Store {
        self.store.as_ref().expect("a store is open between steps")
    }

    /// Returns the levels of the tallest tree that the store has now.
    pub(crate) fn levels(&self) -> u64 {
        self.store().stats().map_or(0, |stats| stats.index.levels)
    }

    /// Closes the store; what is left to do with the medium is the caller's.
    pub(crate) fn close(&mut self) -> Result<(), Wrong> {
        self.held.clear();
        self.names.forget();
        match self.store.take().map(Store::close) {
            Some(Err(error)) => Err(format!("closing failed: {}", describe(&error))),
            _ => Ok(()),
        }
    }

    /// Does one step, its troubles and the recoveries after it.
    pub(crate) fn step(&mut self, step: &Step) -> Result<(), Wrong> {
        self.medium.set_chooser(Chooser::seeded(step.seed));
        let fate = match step.trouble {
            Trouble::None => None,
            Trouble::Crash { nth, fate } => {
                self.medium.inject(Fault::Crash, nth);
                Some(fate)
            }
            Trouble::Sync { nth, fate } => {
                self.medium.inject(Fault::Sync, nth);
                Some(fate)
            }
            Trouble::Write { nth, fate } => {
                self.medium.inject(Fault::Write, nth);
                Some(fate)
            }
            Trouble::Read { nth, fate } => {
                self.medium.inject(Fault::Read, nth);
                Some(fate)
            }
        };
        match &step.op {
            Op::Crash { fate } => self.die(*fate, &step.again)?,
            Op::Reopen => self.reopen(None, fate, &step.again)?,
            Op::Leave { target } => self.reopen(Some(target), fate, &step.again)?,
            Op::During { upkeep, nth, others } => {
                let result = self.during(upkeep, *nth, others);
                self.settle_during(result, others, step.trouble, fate, &step.again)?;
            }
            op => self.operate(op, step.trouble, fate, &step.again)?,
        }
        self.medium.clear_faults();
        self.check_use()
    }

    /// Does an operation and settles what it has led to.
    fn operate(
        &mut self,
        op: &Op,
        trouble: Trouble,
        fate: Option<Fate>,
        again: &[(u64, Fate)],
    ) -> Result<(), Wrong> {
        let expected: Vec<_> = self.worlds.iter().map(|world| tell(world, op)).collect();
        let found = self.perform(op);
        if let (Some(fate), true) = (fate, matches!(trouble, Trouble::Crash { .. })) {
            self.settle_crash(op, expected, found)?;
            return self.die(fate, again);
        }
        self.medium.clear_faults();
        match (found, &expected[0]) {
            (Ok(()), Ok(_)) => {
                // Upkeep that comes with an operation may have failed unnoticed.
                self.suspect = trouble != Trouble::None || self.suspect && !is_durable(op);
                self.succeeded(op, expected);
                self.check_after(op)
            }
            (Err(Failure::Refused(error)), Err(refusal)) if may_refuse(op, &error, *refusal) => Ok(()),
            (Err(Failure::Refused(error)), Err(refusal)) => Err(format!(
                "{op:?} should be refused by {refusal:?} and was by: {}",
                describe(&error)
            )),
            (Ok(()), Err(refusal)) => Err(format!("{op:?} was done and should be refused: {refusal:?}")),
            (Err(Failure::Wrong(why)), _) => Err(why),
            (Err(Failure::Refused(error)), Ok(_)) => Err(format!(
                "{op:?} was refused though nothing is wrong with it: {}",
                describe(&error)
            )),
            (Err(Failure::Failed(StoreError::Poisoned { .. })), _)
                if self.suspect && trouble == Trouble::None =>
            {
                self.die(Fate::Process, again)
            }
            (Err(Failure::Failed(error)), _) if trouble == Trouble::None => {
                Err(format!("{op:?} failed: {}", describe(&error)))
            }
            (Err(Failure::Failed(_)), _) => self.settle_failure(op, expected, fate, again),
        }
    }

    /// Takes note of a success. One that had to reach the medium settles what was open.
    fn succeeded(&mut self, op: &Op, expected: Vec<Result<World, Refusal>>) {
        if is_durable(op) {
            self.worlds.truncate(1);
        }
        for (world, after) in self.worlds.iter_mut().zip(expected) {
            // In a world where it could not be done it changed nothing.
            if let Ok(after) = after {
                *world = after;
            }
        }
    }

    /// The process was to die during or after the operation.
    fn settle_crash(
        &mut self,
        op: &Op,
        expected: Vec<Result<World, Refusal>>,
        found: Result<(), Failure>,
    ) -> Result<(), Wrong> {
        match found {
            Ok(()) => {
                if let Err(refusal) = expected[0] {
                    return Err(format!("{op:?} was done and should be refused: {refusal:?}"));
                }
                self.succeeded(op, expected);
            }
            Err(Failure::Wrong(why)) => return Err(why),
            Err(Failure::Refused(_)) => {}
            Err(Failure::Failed(error)) => {
                if !self.medium.crashed() && !self.suspect {
                    return Err(format!("{op:?} failed before the crash: {}", describe(&error)));
                }
                // It may have happened or not, in each of the worlds that are possible.
                let before = std::mem::take(&mut self.worlds);
                self.worlds = expected.into_iter().flatten().chain(before).collect();
            }
        }
        Ok(())
    }

    /// The operation met a failing medium: the store shows it or not, and reopening may find either.
    fn settle_failure(
        &mut self,
        op: &Op,
        expected: Vec<Result<World, Refusal>>,
        fate: Option<Fate>,
        again: &[(u64, Fate)],
    ) -> Result<(), Wrong> {
        let shown = self
            .shown()
            .map_err(|error| format!("after a failure: {}", describe(&error)))?;
        let before = std::mem::take(&mut self.worlds);
        let after: Vec<World> = expected
            .into_iter()
            .flatten()
            .flat_map(|after| parts_done(after, op))
            .collect();
        let mut worlds: Vec<World> = before.into_iter().chain(after).collect();
        let Some(now) = worlds.iter().position(|world| world.running(&shown).is_ok()) else {
            let why = worlds[0].running(&shown).err().unwrap_or_default();
            return Err(format!(
                "after a failed operation the store shows neither before nor after: {why}"
            ));
        };
        worlds.swap(0, now);
        self.worlds = worlds;
        // A writer that was poisoned refuses; then the process ends, as an administrator would end it.
        let flushed = (|| {
            let mut flushed = Vec::new();
            for branch in self.store().branches()? {
                self.store().branch(&branch.name)?.flush()?;
                flushed.push(branch.name.to_string());
            }
            Ok::<_, StoreError>(flushed)
        })();
        match flushed {
            Ok(flushed) => {
                self.suspect = true;
                for world in &mut self.worlds {
                    let branches = world
                        .branches
                        .iter_mut()
                        .filter(|(name, _)| flushed.contains(name));
                    branches.for_each(|(_, branch)| branch.make_durable());
                }
                Ok(())
            }
            Err(_) => self.die(fate.unwrap_or(Fate::Process), again),
        }
    }

    /// Does a step of upkeep, and in the middle of it, in a thread of their own, other operations. Returns how it
    /// ended and how those did that were begun.
    fn during(
        &mut self,
        upkeep: &Op,
        nth: u64,
        others: &[Op],
    ) -> (Result<(), Failure>, Vec<Result<(), Failure>>) {
        let store = self.store().clone();
        let (others, (send, receive)) = (others.to_vec(), mpsc::channel());
        let names = self.names.clone();
        self.medium.interrupt(nth, move || {
            let (done, wait) = mpsc::channel();
            let thread = thread::spawn(move || {
                let results = others
                    .iter()
                    .map(|op| perform(&store, &names, op))
                    .collect::<Vec<_>>();
                // Whoever interrupted may have stopped waiting.
                let _ = done.send(());
                results
            });
            // What waits for the upkeep to end goes on afterwards.
            let _ = wait.recv_timeout(Duration::from_millis(20));
            let _ = send.send(thread);
        });
        let result = self.perform(upkeep);
        self.medium.clear_interruption();
        let others = receive
            .recv()
            .map(|thread| thread.join().expect("a thread beside upkeep panicked"));
        self.interrupted = others.is_ok();
        (result, others.unwrap_or_default())
    }

    /// Settles what others have done beside a step of upkeep, which itself changes nothing that is shown.
    fn settle_during(
        &mut self,
        (upkeep, found): (Result<(), Failure>, Vec<Result<(), Failure>>),
        others: &[Op],
        trouble: Trouble,
        fate: Option<Fate>,
        again: &[(u64, Fate)],
    ) -> Result<(), Wrong> {
        let crashing = matches!(trouble, Trouble::Crash { .. });
        let calm = trouble == Trouble::None && !self.suspect;
        let mut failed = None;
        for (op, found) in others.iter().zip(found) {
            let expected: Vec<_> = self.worlds.iter().map(|world| tell(world, op)).collect();
            match (found, &expected[0]) {
                (Err(Failure::Failed(error)), _) => {
                    // After the first that fails no other can reach the medium: either has happened or not.
                    failed.get_or_insert(error);
                    let before = std::mem::take(&mut self.worlds);
                    self.worlds = expected.into_iter().flatten().chain(before).collect();
                }
                _ if failed.is_some() => {}
                (Ok(()), Ok(_)) => self.succeeded(op, expected),
                (Err(Failure::Refused(error)), Err(refusal)) if may_refuse(op, &error, *refusal) => {}
                (Err(Failure::Refused(error)), told) => {
                    return Err(format!(
                        "{op:?} beside upkeep: {}; {:?}",
                        describe(&error),
                        told.as_ref().err()
                    ));
                }
                (Err(Failure::Wrong(why)), _) => return Err(why),
                (Ok(()), Err(refusal)) => {
                    return Err(format!("{op:?} was done and should be refused: {refusal:?}"));
                }
            }
        }
        match upkeep {
            // What was to be defragmented may be gone, or never was.
            Ok(()) | Err(Failure::Refused(_) | Failure::Failed(StoreError::Dropped { .. })) => {}
            Err(Failure::Failed(error)) => {
                failed.get_or_insert(error);
            }
            Err(Failure::Wrong(why)) => return Err(why),
        }
        match failed {
            None if crashing => self.die(fate.unwrap_or(Fate::Process), again),
            None => self.check_all(),
            Some(error) if calm || crashing && !self.medium.crashed() && !self.suspect => {
                Err(format!("beside upkeep: {}", describe(&error)))
            }
            Some(_) => self.die(fate.unwrap_or(Fate::Process), again),
        }
    }

    /// Closes the store and opens it again; between that another process may become a reader of `read`.
    fn reopen(
        &mut self,
        read: Option<&Target>,
        fate: Option<Fate>,
        again: &[(u64, Fate)],
    ) -> Result<(), Wrong> {
        self.held.clear();
        self.names.forget();
        let store = self.store.take().expect("open");
        let mut closed = store.close();
        if closed.is_ok() {
            self.worlds.iter_mut().for_each(World::close);
        }
        if let (Ok(()), Some(read)) = (&closed, read) {
            closed = self.begin_to_read(read);
        }
        match (closed, fate) {
            (Ok(()), None) => self.recover(&[]),
            // What was injected goes on in the opening.
            (Ok(()), Some(fate)) => {
                self.open_in_trouble()?;
                self.die(fate, again)
            }
            (Err(StoreError::Poisoned { .. }), None) if self.suspect => self.die(Fate::Process, again),
            (Err(error), None) => Err(format!("closing failed: {}", describe(&error))),
            (Err(_), Some(fate)) => self.die(fate, again),
        }
    }

    /// Lets a process of its own become a reader.
    fn begin_to_read(&mut self, read: &Target) -> Result<(), StoreError> {
        let store = Store::open_on(self.medium.start(), self.config.open_options())?;
        let reader = match (
            store.into_reader(&[self.names.target(read)]),
            self.world().content(read),
        ) {
            (Err(error), Err(refusal)) if is_refusal(&error, refusal) => return Ok(()),
            (reader, _) => reader?,
        };
        // One that could not let the store go ends with it.
        if let (true, Ok(content)) = (reader.lets_others_in(), self.world().content(read)) {
            self.readers.push((reader, content.clone()));
        }
        if self.readers.len() > READERS_MAX {
            self.readers.remove(0);
        }
        Ok(())
    }

    /// Opens where a fault is about to happen; any error will do, a store that opens has to be right.
    fn open_in_trouble(&mut self) -> Result<(), Wrong> {
        if let Ok(store) = Store::open_on(self.medium.start(), self.config.open_options()) {
            self.store = Some(store);
            if !self.medium.crashed() {
                self.medium.clear_faults();
                self.settle_recovery()?;
            }
        }
        Ok(())
    }

    /// Ends the process, lets the fate happen, and recovers.
    fn die(&mut self, fate: Fate, again: &[(u64, Fate)]) -> Result<(), Wrong> {
        self.end(fate);
        self.recover(again)
    }

    /// Ends the process, and lets the fate happen to what it wrote.
    pub(crate) fn end(&mut self, fate: Fate) {
        self.held.clear();
        self.names.forget();
        self.store = None;
        self.suspect = false;
        self.medium.clear_faults();
        match fate {
            Fate::Process => self.medium.crash_process(false),
            // One late arrival in a history is enough to be nasty.
            Fate::Delay => {
                self.medium.crash_process(self.delays == 0);
                self.delays += 1;
            }
            Fate::Power => {
                self.medium.cut_power();
                self.readers.clear();
            }
        }
    }

    /// Opens the store, interrupted as told, and checks what it shows.
    pub(crate) fn recover(&mut self, again: &[(u64, Fate)]) -> Result<(), Wrong> {
        for &(nth, fate) in again {
            self.medium.inject(Fault::Crash, nth);
            let opened = Store::open_on(self.medium.start(), self.config.open_options());
            match opened {
                // It may end in work that nobody waits for, and then in a crash that nobody notices.
                Ok(_) if self.medium.crashed() => {}
                Ok(store) => {
                    // The whole recovery took fewer changes.
                    self.store = Some(store);
                    self.medium.clear_faults();
                    self.settle_recovery()?;
                }
                Err(error) if !self.medium.crashed() => {
                    return Err(format!("the store cannot be opened: {}", describe(&error)));
                }
                Err(_) => {}
            }
            self.end(fate);
        }
        let opened = Store::open_on(self.medium.start(), self.config.open_options());
        self.store =
            Some(opened.map_err(|error| format!("the store cannot be opened: {}", describe(&error)))?);
        self.settle_recovery()
    }

    /// Opens the store and returns what it shows, whatever that is.
    pub(crate) fn open(&mut self) -> Result<Shown, Wrong> {
        let opened = Store::open_on(self.medium.start(), self.config.open_options());
        self.store =
            Some(opened.map_err(|error| format!("the store cannot be opened: {}", describe(&error)))?);
        let shown = self
            .shown()
            .map_err(|error| format!("after recovery: {}", describe(&error)))?;
        self.check_damage()?;
        self.check_use()?;
        Ok(shown)
    }

    /// Compares a store that was just opened with every world that it may be in.
    fn settle_recovery(&mut self) -> Result<(), Wrong> {
        self.recoveries += 1;
        let shown = self
            .shown()
            .map_err(|error| format!("after recovery: {}", describe(&error)))?;
        let mut whys = Vec::new();
        for world in &self.worlds {
            match world.recovered(&shown) {
                Ok(world) => {
                    self.worlds = vec![world];
                    return self.check_damage();
                }
                Err(why) => whys.push(why),
            }
        }
        Err(format!("after recovery:\n    {}", whys.join("\n  or\n    ")))
    }

    fn perform(&mut self, op: &Op) -> Result<(), Failure> {
        let store = self.store().clone();
        match op {
            Op::Diff { a, b } => self.compare(&store, a, b),
            Op::Hold { target: held } => {
                let state = store.state(&self.names.target(held))?;
                let content = read_state(&state)?;
                self.held.push((state, content));
                Ok(())
            }
            op => perform(&store, &self.names, op),
        }
    }
}
