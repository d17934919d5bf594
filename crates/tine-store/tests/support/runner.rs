//! Does a history on the real engine over the simulated medium, and compares it with the model after every step.
//!
//! The runner keeps every world that the outside may still find: one while all is well; after an operation that
//! failed without an end of the process also the one in which it happened all the same, until a later success
//! settles it.

use std::collections::BTreeMap;
use std::io::Cursor;
use std::ops::ControlFlow;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use tine_store::medium::simulated::{Chooser, Fault, SimulatedMedium, SimulatedOptions, Violation};
use tine_store::{
    BranchName, CreateOptions, ExtentKind, ImportSource, OpenOptions, Reader, SnapshotName, State, Store,
    StoreError, UpkeepMode, UpkeepStep,
};

use super::content::{BLOCK, Content, pattern};
use super::ops::{Fate, Op, Step, Trouble};
use super::world::{Branch, Refusal, Shown, Target, World};

/// The store and medium that a history runs on.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(crate) journal_file_bytes: u64,
    pub(crate) journal_files: u32,
    pub(crate) buffer_bytes: u64,
    pub(crate) write_once: bool,
}

impl Config {
    pub(crate) const SMALL: Self = Self {
        journal_file_bytes: 64 << 10,
        journal_files: 3,
        buffer_bytes: 1 << 20,
        write_once: false,
    };

    /// Chooses sizes, mostly small ones so that laps and drains happen often.
    pub(crate) fn choose(chooser: &mut Chooser) -> Self {
        Self {
            journal_file_bytes: [32 << 10, 32 << 10, 64 << 10, 256 << 10][chooser.choose(4)],
            journal_files: 3 + chooser.choose(2) as u32,
            buffer_bytes: [64 << 10, 256 << 10, 64 << 20][chooser.choose(3)],
            write_once: chooser.one_in(8),
        }
    }

    pub(crate) fn create_options(&self) -> CreateOptions {
        CreateOptions {
            journal_file_bytes: self.journal_file_bytes,
            journal_files: self.journal_files,
        }
    }

    pub(crate) fn open_options(&self) -> OpenOptions {
        OpenOptions {
            buffer_bytes: self.buffer_bytes,
            upkeep: UpkeepMode::Inline,
            ..OpenOptions::default()
        }
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
    /// The world that the running store shows comes first.
    pub(crate) worlds: Vec<World>,
    held: Vec<(State, Content)>,
    /// Other processes that read, with what they have to show.
    readers: Vec<(Reader, Content)>,
    /// Whether an operation has failed that may have poisoned the writer, unnoticed so far.
    suspect: bool,
    delays: usize,
    /// Whether the last [`Op::During`] came to its middle.
    pub(crate) interrupted: bool,
    pub(crate) recoveries: u64,
}

pub(crate) fn branch_name(name: &str) -> BranchName {
    name.parse().expect("a valid name")
}

pub(crate) fn snapshot_name(name: &str) -> SnapshotName {
    name.parse().expect("a valid name")
}

fn target(target: &Target) -> tine_store::Target {
    match &target.1 {
        None => tine_store::Target::Branch(branch_name(&target.0)),
        Some(snapshot) => tine_store::Target::Snapshot(branch_name(&target.0), snapshot_name(snapshot)),
    }
}

pub(crate) fn go_on(_: tine_store::Progress) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

pub(crate) fn describe(error: &StoreError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text += &format!(": {error}");
        cause = error.source();
    }
    text
}

/// Returns what a model's refusal looks like in the engine.
fn is_refusal(error: &StoreError, refusal: Refusal) -> bool {
    match refusal {
        Refusal::UnknownBranch => matches!(error, StoreError::UnknownBranch { .. }),
        Refusal::UnknownSnapshot => matches!(error, StoreError::UnknownSnapshot { .. }),
        Refusal::BranchExists => matches!(error, StoreError::BranchExists { .. }),
        Refusal::SnapshotExists => matches!(error, StoreError::SnapshotExists { .. }),
        Refusal::NoOrigin => matches!(error, StoreError::NoOrigin { .. }),
        Refusal::OutOfBounds => matches!(error, StoreError::OutOfBounds { .. }),
    }
}

/// Returns whether an error is a fit answer: where several things are named, any wrong one may be told first.
fn may_refuse(op: &Op, error: &StoreError, refusal: Refusal) -> bool {
    let several = matches!(
        op,
        Op::Fork { .. } | Op::ForkMany { .. } | Op::Snapshot { .. } | Op::Rollback { .. } | Op::Rename { .. }
    );
    if several {
        is_any_refusal(error)
    } else {
        is_refusal(error, refusal)
    }
}

fn is_any_refusal(error: &StoreError) -> bool {
    use Refusal::{BranchExists, NoOrigin, OutOfBounds, SnapshotExists, UnknownBranch, UnknownSnapshot};
    [
        UnknownBranch,
        UnknownSnapshot,
        BranchExists,
        SnapshotExists,
        NoOrigin,
        OutOfBounds,
    ]
    .into_iter()
    .any(|refusal| is_refusal(error, refusal))
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

    /// Closes the store; what is left to do with the medium is the caller's.
    pub(crate) fn close(&mut self) -> Result<(), Wrong> {
        self.held.clear();
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
                let parts = before.iter().filter_map(|world| half_done(world, op));
                self.worlds = expected
                    .into_iter()
                    .flatten()
                    .chain(parts)
                    .chain(before.iter().cloned())
                    .collect();
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
        let after = before
            .iter()
            .zip(expected)
            .filter_map(|(before, after)| Some((before, after.ok()?)));
        let after: Vec<World> = after
            .flat_map(|(before, after)| parts_done(before, after, op))
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
        self.medium.interrupt(nth, move || {
            let (done, wait) = mpsc::channel();
            let thread = thread::spawn(move || {
                let results = others.iter().map(|op| perform(&store, op)).collect::<Vec<_>>();
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
        if let Err(Failure::Failed(error) | Failure::Refused(error)) = upkeep {
            failed.get_or_insert(error);
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
        let store = self.store.take().expect("open");
        let mut closed = store.close();
        if let (Ok(()), Some(read)) = (&closed, read) {
            closed = self.begin_to_read(read);
        }
        match (closed, fate) {
            (Ok(()), _) => {
                for world in &mut self.worlds {
                    world.branches.values_mut().for_each(Branch::make_durable);
                }
                match fate {
                    // What was injected goes on in the opening.
                    Some(fate) => {
                        self.open_in_trouble()?;
                        self.die(fate, again)
                    }
                    None => self.recover(&[]),
                }
            }
            (Err(StoreError::Poisoned { .. }), None) if self.suspect => self.die(Fate::Process, again),
            (Err(error), None) => Err(format!("closing failed: {}", describe(&error))),
            (Err(_), Some(fate)) => self.die(fate, again),
        }
    }

    /// Lets a process of its own become a reader.
    fn begin_to_read(&mut self, read: &Target) -> Result<(), StoreError> {
        let store = Store::open_on(self.medium.start(), self.config.open_options())?;
        let reader = match (store.into_reader(&[target(read)]), self.world().content(read)) {
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

    fn end(&mut self, fate: Fate) {
        self.held.clear();
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

    pub(crate) fn check_damage(&self) -> Result<(), Wrong> {
        let report = self
            .store()
            .check(true, &mut go_on)
            .map_err(|error| format!("check: {}", describe(&error)))?;
        if report.damage.is_empty() {
            Ok(())
        } else {
            Err(format!("check finds damage: {:?}", report.damage))
        }
    }

    /// Reads everything that the store shows.
    pub(crate) fn shown(&self) -> Result<Shown, StoreError> {
        let store = self.store();
        let mut shown = BTreeMap::new();
        for info in store.branches()? {
            let mut snapshots = BTreeMap::new();
            for snapshot in &info.snapshots {
                let target = tine_store::Target::Snapshot(info.name.clone(), snapshot.name.clone());
                snapshots.insert(snapshot.name.to_string(), read_state(&store.state(&target)?)?);
            }
            let branch = store.branch(&info.name)?;
            let mut bytes = vec![0; branch.size() as usize];
            branch.read_at(&mut bytes, 0)?;
            shown.insert(info.name.to_string(), (Content::from_bytes(&bytes), snapshots));
        }
        Ok(shown)
    }

    /// Compares everything shown with the first world.
    pub(crate) fn check_all(&self) -> Result<(), Wrong> {
        let shown = self
            .shown()
            .map_err(|error| format!("reading: {}", describe(&error)))?;
        self.world().running(&shown)?;
        let readers = self
            .readers
            .iter()
            .map(|(reader, content)| (&reader.states()[0], content));
        let held = self.held.iter().map(|(state, content)| (state, content));
        for (state, content) in held.chain(readers) {
            let now =
                read_state(state).map_err(|error| format!("reading a held view: {}", describe(&error)))?;
            if now != *content {
                return Err(format!(
                    "a held view is [{}] and was [{}]",
                    now.describe(),
                    content.describe()
                ));
            }
        }
        Ok(())
    }

    /// Checks the branches that an operation touched, everything after rare ones.
    fn check_after(&self, op: &Op) -> Result<(), Wrong> {
        match op {
            Op::Write { name, .. }
            | Op::Zero { name, .. }
            | Op::Discard { name, .. }
            | Op::Flush { name } => self.check_branch(name),
            _ => self.check_all(),
        }
    }

    fn check_branch(&self, name: &str) -> Result<(), Wrong> {
        let told = self.world().branches[name].now();
        let failed = |error: StoreError| format!("reading {name}: {}", describe(&error));
        let branch = self.store().branch(&branch_name(name)).map_err(failed)?;
        let mut bytes = vec![0; branch.size() as usize];
        branch.read_at(&mut bytes, 0).map_err(failed)?;
        let found = Content::from_bytes(&bytes);
        if found != *told {
            return Err(format!(
                "{name} shows [{}], not [{}]",
                found.describe(),
                told.describe()
            ));
        }
        let mut at = 0;
        for extent in branch.extents(0..branch.size()).map_err(failed)? {
            let end = extent.offset + extent.length;
            if extent.offset != at || extent.length == 0 {
                return Err(format!(
                    "{name}: an extent begins at {}, not at {at}",
                    extent.offset
                ));
            }
            let range = &bytes[extent.offset as usize..end as usize];
            if extent.kind != ExtentKind::Data && range.iter().any(|&byte| byte != 0) {
                return Err(format!("{name}: {extent:?} is not zero"));
            }
            at = end;
        }
        if at == branch.size() {
            Ok(())
        } else {
            Err(format!("{name}: the extents end at {at}"))
        }
    }

    /// Reports what the engine did that no medium promises to bear.
    fn check_use(&self) -> Result<(), Wrong> {
        let wrong: Vec<Violation> = self
            .medium
            .take_violations()
            .into_iter()
            .filter(|violation| !matches!(violation, Violation::Absent(_) | Violation::BeyondEnd(_)))
            .collect();
        if wrong.is_empty() {
            Ok(())
        } else {
            Err(format!("misuse of the medium: {wrong:?}"))
        }
    }

    fn perform(&mut self, op: &Op) -> Result<(), Failure> {
        let store = self.store().clone();
        match op {
            Op::Diff { a, b } => self.compare(&store, a, b),
            Op::Hold { target: held } => {
                let state = store.state(&target(held))?;
                let content = read_state(&state)?;
                self.held.push((state, content));
                Ok(())
            }
            op => perform(&store, op),
        }
    }

    /// Compares the engine's diff with the real differences.
    fn compare(&self, store: &Store, a: &Target, b: &Target) -> Result<(), Failure> {
        let (one, other) = (store.state(&target(a))?, store.state(&target(b))?);
        let (Ok(told), Ok(told_other)) = (self.world().content(a), self.world().content(b)) else {
            return Ok(());
        };
        let size = one.size().max(other.size());
        let mut covered = vec![false; (size as usize).div_ceil(BLOCK)];
        let mut end = 0;
        for range in store.diff(&one, &other)? {
            let range = range?;
            if range.length == 0 || range.offset < end || range.offset + range.length > size {
                return Err(Failure::Wrong(format!(
                    "diff {a:?} {b:?}: {range:?} after {end} of {size}"
                )));
            }
            end = range.offset + range.length;
            covered[range.offset as usize / BLOCK..(end as usize).div_ceil(BLOCK)].fill(true);
        }
        for block in told.differing_blocks(told_other) {
            if !covered[block] {
                return Err(Failure::Wrong(format!(
                    "diff {a:?} {b:?} leaves out block {block}"
                )));
            }
        }
        Ok(())
    }
}

/// How an operation on the real store did not succeed.
enum Failure {
    /// The request was wrong.
    Refused(StoreError),
    /// The store or the medium failed.
    Failed(StoreError),
    /// The answer is wrong.
    Wrong(String),
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        if is_any_refusal(&error) {
            Self::Refused(error)
        } else {
            Self::Failed(error)
        }
    }
}

pub(crate) fn read_state(state: &State) -> Result<Content, StoreError> {
    let mut bytes = vec![0; state.size() as usize];
    state.read_at(&mut bytes, 0)?;
    Ok(Content::from_bytes(&bytes))
}

/// Does an operation that needs nothing but the store.
fn perform(store: &Store, op: &Op) -> Result<(), Failure> {
    let branch = |name: &str| store.branch(&branch_name(name));
    match op {
        Op::Create { name, size } => {
            store.create_branch(&branch_name(name), *size)?;
        }
        Op::Import { name, size, id } => {
            let bytes = pattern(*id, 0, *size as usize);
            let report = store.import(
                &branch_name(name),
                ImportSource::Stream(&mut Cursor::new(bytes)),
                &mut go_on,
            )?;
            if report.size != *size {
                return Err(Failure::Wrong(format!(
                    "imported {} of {size} bytes",
                    report.size
                )));
            }
        }
        Op::Write {
            name,
            offset,
            length,
            id,
        } => {
            branch(name)?.write_at(&pattern(*id, *offset, *length as usize), *offset)?;
        }
        Op::Zero { name, offset, length } => branch(name)?.write_zeroes(*offset, *length)?,
        Op::Discard { name, offset, length } => branch(name)?.discard(*offset, *length)?,
        Op::Flush { name } => branch(name)?.flush()?,
        Op::Fork { source, name } => store.fork(&target(source), &branch_name(name))?,
        Op::ForkMany { forks } => {
            let forks: Vec<_> = forks
                .iter()
                .map(|(source, name)| (target(source), branch_name(name)))
                .collect();
            store.fork_many(&forks)?;
        }
        Op::Snapshot { snapshots } => {
            let snapshots: Vec<_> = snapshots
                .iter()
                .map(|(name, snapshot)| (branch_name(name), snapshot_name(snapshot)))
                .collect();
            store.snapshot(&snapshots)?;
        }
        Op::Rollback { name, to, keep } => {
            let to = to.as_deref().map(snapshot_name);
            let keep = keep.as_deref().map(branch_name);
            store.rollback(&branch_name(name), to.as_ref(), keep.as_ref())?;
        }
        Op::Drop { names } => {
            store.drop_branches(&names.iter().map(|name| branch_name(name)).collect::<Vec<_>>())?;
        }
        Op::DropSnapshot { name, snapshot } => {
            store.drop_snapshot(&branch_name(name), &snapshot_name(snapshot))?;
        }
        Op::Rename { from, to } => store.rename(&branch_name(from), &branch_name(to))?,
        Op::Resize { name, size } => store.resize(&branch_name(name), *size)?,
        Op::Drain => store.upkeep(UpkeepStep::Drain)?,
        Op::Checkpoint => store.upkeep(UpkeepStep::Checkpoint)?,
        Op::Reclaim => store.upkeep(UpkeepStep::Reclaim)?,
        Op::Diff { .. }
        | Op::Hold { .. }
        | Op::During { .. }
        | Op::Reopen
        | Op::Leave { .. }
        | Op::Crash { .. } => {
            unreachable!("not done by the store alone")
        }
    }
    Ok(())
}

/// Returns whether an operation's success says that it, and everything before it, is durable.
fn is_durable(op: &Op) -> bool {
    !matches!(
        op,
        Op::Write { .. }
            | Op::Zero { .. }
            | Op::Discard { .. }
            | Op::Flush { .. }
            | Op::Diff { .. }
            | Op::Hold { .. }
            | Op::Drain
            | Op::Checkpoint
            | Op::Reclaim
            | Op::During { .. }
    )
}

/// Returns the world after a part of an operation, where that is one that a crash may leave.
fn half_done(world: &World, op: &Op) -> Option<World> {
    match op {
        Op::Rollback {
            name,
            keep: Some(keep),
            ..
        } => {
            let fork = Op::Fork {
                source: Target(name.clone(), None),
                name: keep.clone(),
            };
            tell(world, &fork).ok()
        }
        _ => None,
    }
}

/// Returns the worlds that a failed operation may leave: those after all of it, or after some of its pieces.
fn parts_done(before: &World, after: World, op: &Op) -> Vec<World> {
    let (Op::Zero { name, .. } | Op::Discard { name, .. }) = op else {
        return half_done(before, op).into_iter().chain([after]).collect();
    };
    let mut parts = Vec::new();
    for undone in 0..3 {
        let mut part = after.clone();
        if let Some(branch) = part.branches.get_mut(name) {
            let states = branch.states.len().saturating_sub(undone).max(branch.floor + 1);
            branch.states.truncate(states);
        }
        parts.push(part);
    }
    parts
}

/// Returns the world after an operation.
pub(crate) fn tell(world: &World, op: &Op) -> Result<World, Refusal> {
    let mut world = world.clone();
    match op {
        Op::Create { name, size } => world.create(name, Content::new(*size))?,
        Op::Import { name, size, id } => {
            world.create(name, Content::from_bytes(&pattern(*id, 0, *size as usize)))?;
        }
        Op::Write {
            name,
            offset,
            length,
            id,
        } => world.write(name, *offset..*offset + *length, *id)?,
        Op::Zero { name, offset, length } | Op::Discard { name, offset, length } => {
            world.clear(name, *offset..*offset + *length)?;
        }
        Op::Flush { name } => world.flush(name)?,
        Op::Fork { source, name } => world.fork_many(&[(source.clone(), name.clone())])?,
        Op::ForkMany { forks } => world.fork_many(forks)?,
        Op::Snapshot { snapshots } => world.snapshot(snapshots)?,
        Op::Rollback { name, to, keep } => world.rollback(name, to.as_deref(), keep.as_deref())?,
        Op::Drop { names } => world.drop_branches(names)?,
        Op::DropSnapshot { name, snapshot } => world.drop_snapshot(name, snapshot)?,
        Op::Rename { from, to } => world.rename(from, to)?,
        Op::Resize { name, size } => world.resize(name, *size)?,
        Op::Diff { a, b } => {
            world.content(a)?;
            world.content(b)?;
        }
        Op::Hold { target } => {
            world.content(target)?;
        }
        Op::Drain
        | Op::Checkpoint
        | Op::Reclaim
        | Op::During { .. }
        | Op::Reopen
        | Op::Leave { .. }
        | Op::Crash { .. } => {}
    }
    Ok(world)
}
