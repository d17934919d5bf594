//! Random histories on disks of 64k blocks: what is done to the store and to the model.

use std::collections::BTreeMap;
use std::ops::Range;

use tine_store::medium::simulated::{Chooser, Fault, SimulatedMedium, SimulatedOptions};
use tine_store::{
    BranchName, CreateOptions, DefragOptions, ExtentKind, OpenOptions, State, Store, StoreError, Target,
    UpkeepMode, UpkeepStep,
};

use super::disk::{Branch, Disk};
use super::look::{compare, fill};
use super::support::perform::{branch_name, go_on, snapshot_name};
use super::told::{Told, told};

pub(crate) const BLOCK: u64 = 4096;
pub(crate) const BLOCKS: u64 = 64 << 10;
const BRANCHES_MAX: usize = 6;

/// What a history has met.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Met {
    /// Levels of the tallest tree.
    pub(crate) levels: u64,
    pub(crate) recoveries: u64,
    /// Recoveries after which something was gone that nobody had been promised.
    pub(crate) losses: u64,
    /// Syncs, writes and reads that failed, and the process went on.
    pub(crate) survived: u64,
    /// Those that ended the process.
    pub(crate) poisoned: u64,
    pub(crate) throwaways: u64,
    pub(crate) batches: u64,
}

pub(crate) struct History {
    pub(super) chooser: Chooser,
    medium: SimulatedMedium,
    options: Options,
    store: Option<Store>,
    pub(super) branches: BTreeMap<BranchName, Branch>,
    pub(super) held: Vec<(State, Disk)>,
    next_id: u32,
    pub(crate) met: Met,
}

/// How a history opens its store.
#[derive(Clone, Copy)]
struct Options {
    small_nodes: bool,
    small_memory: bool,
}

impl Options {
    fn open(self) -> OpenOptions {
        let mut options = OpenOptions {
            upkeep: UpkeepMode::Inline,
            ..OpenOptions::default()
        };
        if self.small_nodes {
            (options.bounds.leaf_bytes, options.bounds.children) = (400, 6);
        }
        if self.small_memory {
            options.buffer_bytes = 4 << 20;
            options.large_write_bytes = 16 << 10;
            options.index_cache_bytes = 32 << 10;
            options.bounds.own_words = 100;
        }
        options
    }
}

impl History {
    pub(crate) fn new(seed: u64) -> Told<Self> {
        let mut chooser = Chooser::seeded(seed);
        let medium = SimulatedMedium::new(
            SimulatedOptions {
                capacity: None,
                write_once: false,
            },
            Chooser::seeded(seed ^ 0x5eed),
        );
        let options = Options {
            small_nodes: !chooser.one_in(4),
            small_memory: chooser.one_in(2),
        };
        let create = CreateOptions {
            journal_file_bytes: 8 << 20,
            journal_files: 3,
        };
        let store = told(
            Store::create_on(medium.start(), &create, options.open()),
            "making",
        )?;
        let first = branch_name("b0");
        told(store.create_branch(&first, BLOCKS * BLOCK), "creating")?;
        Ok(Self {
            chooser,
            medium,
            options,
            store: Some(store),
            branches: BTreeMap::from([(first, Branch::new(BLOCKS))]),
            held: Vec::new(),
            next_id: 1,
            met: Met::default(),
        })
    }

    fn below(&mut self, count: u64) -> u64 {
        self.chooser.choose(count as usize) as u64
    }

    pub(super) fn store(&self) -> Store {
        self.store.clone().expect("open between steps")
    }

    fn name(&mut self) -> BranchName {
        let at = self.chooser.choose(self.branches.len());
        self.branches.keys().nth(at).expect("counted").clone()
    }

    fn known(&mut self, name: &BranchName) -> &mut Branch {
        self.branches.get_mut(name).expect("there")
    }

    /// Tells whether nothing would be left without it once the process has ended.
    fn is_last_kept(&self, name: &BranchName) -> bool {
        let mut others = self.branches.iter().filter(|(other, _)| *other != name);
        others.all(|(_, branch)| branch.is_throwaway)
    }

    fn target(&mut self) -> (Target, Disk) {
        let name = self.name();
        let branch = &self.branches[&name];
        let at = self.chooser.choose(branch.snapshots.len() + 1);
        match branch.snapshots.iter().nth(at) {
            Some((snapshot, point)) => (
                Target::Snapshot(name, snapshot_name(snapshot)),
                point.disk.clone(),
            ),
            None => (Target::Branch(name), branch.now.clone()),
        }
    }

    fn range(&mut self, size: u64, most: u64) -> Range<u64> {
        let start = self.below(size);
        start..size.min(start + 1 + self.below(most))
    }

    pub(crate) fn step(&mut self) -> Told<()> {
        let store = self.store();
        let name = self.name();
        let branch = told(store.branch(&name), "opening a branch")?;
        let size = self.branches[&name].now.size;
        let id = self.next_id;
        self.next_id += 1;
        match self.chooser.choose(30) {
            0..=4 => {
                // Scattered: an extent each.
                let window = self.range(size, 8192);
                let stride = 1 + self.below(9);
                let count = 1 + self.below(400);
                for _ in 0..count {
                    let block = (window.start + self.below(window.end - window.start) / stride * stride)
                        .min(window.end - 1);
                    let mut bytes = [0; BLOCK as usize];
                    fill(&mut bytes, block, id);
                    // Half of them as a server does it.
                    let at_once =
                        id.is_multiple_of(2) && told(branch.write_at_once(&bytes, block * BLOCK), "writing")?;
                    if !at_once {
                        told(branch.write_at(&bytes, block * BLOCK), "writing")?;
                    }
                    self.known(&name).write(block..block + 1, id);
                }
            }
            5..=6 => {
                let range = self.range(size, 1200);
                let mut bytes = vec![0; ((range.end - range.start) * BLOCK) as usize];
                fill(&mut bytes, range.start, id);
                told(branch.write_at(&bytes, range.start * BLOCK), "writing")?;
                self.known(&name).write(range, id);
            }
            7..=8 => {
                let most = [8, 300, BLOCKS][self.chooser.choose(3)];
                for _ in 0..1 + self.below(6) {
                    let range = self.range(size, most);
                    let (offset, length) = (range.start * BLOCK, (range.end - range.start) * BLOCK);
                    let result = match self.chooser.choose(2) {
                        0 => branch.write_zeroes(offset, length),
                        _ => branch.discard(offset, length),
                    };
                    told(result, "clearing")?;
                    self.known(&name).clear(range);
                }
            }
            9..=11 if self.branches.len() < BRANCHES_MAX => {
                let new = branch_name(&format!("f{id}"));
                let (target, _) = self.target();
                told(store.fork(&target, &new), "forking")?;
                let made = self.fork_of(&target);
                self.branches.insert(new, made);
            }
            12..=13 => {
                let snapshot = format!("s{id}");
                told(
                    store.snapshot(&[(name.clone(), snapshot_name(&snapshot))]),
                    "a snapshot",
                )?;
                let branch = self.known(&name);
                let point = branch.freeze();
                branch.snapshots.insert(snapshot, point);
            }
            14 => {
                let names: Vec<String> = self.branches[&name].snapshots.keys().cloned().collect();
                if !names.is_empty() {
                    let snapshot = names[self.chooser.choose(names.len())].clone();
                    told(
                        store.drop_snapshot(&name, &snapshot_name(&snapshot)),
                        "dropping a snapshot",
                    )?;
                    self.known(&name).snapshots.remove(&snapshot);
                }
            }
            15 => {
                let known = &self.branches[&name];
                let names: Vec<Option<String>> = known
                    .snapshots
                    .keys()
                    .cloned()
                    .map(Some)
                    .chain(known.origin.as_ref().map(|_| None))
                    .collect();
                if !names.is_empty() {
                    let to = names[self.chooser.choose(names.len())].clone();
                    let snapshot = to.as_deref().map(snapshot_name);
                    told(store.rollback(&name, snapshot.as_ref(), None), "a rollback")?;
                    let branch = self.known(&name);
                    let point = match &to {
                        Some(snapshot) => branch.snapshots[snapshot].clone(),
                        None => branch.origin.clone().expect("chosen"),
                    };
                    branch.roll_back(point);
                }
            }
            16 if self.branches.len() > 2 && !self.is_last_kept(&name) => {
                told(store.drop_branches(std::slice::from_ref(&name)), "dropping")?;
                self.branches.remove(&name);
            }
            17 => {
                let new = 1 + self.below(BLOCKS);
                told(store.resize(&name, new * BLOCK), "resizing")?;
                self.known(&name).resize(new);
            }
            18 if self.held.len() < 3 => {
                let (target, disk) = self.target();
                self.held.push((told(store.state(&target), "holding")?, disk));
            }
            18 => {
                let (state, disk) = self.held.remove(0);
                compare(&state, &disk, None).map_err(|wrong| wrong.at("a held view"))?;
            }
            19..=21 => {
                let step = [
                    UpkeepStep::Drain,
                    UpkeepStep::Checkpoint,
                    UpkeepStep::Checkpoint,
                    UpkeepStep::Checkpoint,
                    UpkeepStep::Reclaim,
                ][self.chooser.choose(5)];
                told(store.upkeep(step), "upkeep")?;
                if id.is_multiple_of(4) {
                    let options = DefragOptions::default();
                    let done = store.defrag(&name, &options, &mut go_on);
                    told(done, "defragmenting")?;
                }
            }
            22 => {
                let ((a, x), (b, y)) = (self.target(), self.target());
                self.diff(&a, &x, &b, &y)?;
            }
            23..=24 => {
                let ranges: Vec<_> = (0..1 + self.below(60)).map(|_| self.range(size, 3)).collect();
                self.write_batch(&branch, &name, ranges, id)?;
            }
            25 => self.throwaway()?,
            26 => self.keep(id)?,
            27 => {
                told(branch.flush(), "flushing")?;
                if !self.branches[&name].is_throwaway {
                    self.known(&name).make_durable();
                }
            }
            28 => {
                drop((store, branch));
                return self.meet_fault();
            }
            _ => {
                drop((store, branch));
                return self.end();
            }
        }
        Ok(())
    }

    /// Returns a fork of what is named, which is durable then.
    fn fork_of(&mut self, target: &Target) -> Branch {
        Branch::on(match target {
            Target::Branch(name) => self.known(name).freeze(),
            Target::Snapshot(name, snapshot) => self.known(name).snapshots[&snapshot.to_string()].clone(),
        })
    }

    fn write_batch(
        &mut self,
        branch: &tine_store::Branch,
        name: &BranchName,
        ranges: Vec<Range<u64>>,
        id: u32,
    ) -> Told<()> {
        let filled = |range: &Range<u64>| {
            let mut bytes = vec![0; ((range.end - range.start) * BLOCK) as usize];
            fill(&mut bytes, range.start, id);
            (range.start * BLOCK, bytes)
        };
        let data: Vec<(u64, Vec<u8>)> = ranges.iter().map(filled).collect();
        let writes: Vec<(u64, &[u8])> = data.iter().map(|(offset, bytes)| (*offset, &bytes[..])).collect();
        told(branch.write_batch(&writes), "a batch")?;
        self.known(name).write_batch(ranges, id);
        self.met.batches += 1;
        Ok(())
    }

    /// Makes a throwaway fork, if there are few branches.
    fn throwaway(&mut self) -> Told<()> {
        if self.branches.len() >= BRANCHES_MAX {
            return Ok(());
        }
        let store = self.store();
        let (target, _) = self.target();
        let made = told(store.fork_throwaway(&target), "a throwaway fork")?;
        let mut fork = self.fork_of(&target);
        fork.is_throwaway = true;
        self.branches.insert(made.name(), fork);
        self.met.throwaways += 1;
        // The point that it began at is not durable yet; what is flushed behind it makes it so.
        if let Target::Branch(source) = &target {
            self.change_for_certain(source)?;
        }
        Ok(())
    }

    /// Writes a block of a branch, and flushes it.
    fn change_for_certain(&mut self, name: &BranchName) -> Told<()> {
        let branch = told(self.store().branch(name), "opening a branch")?;
        let id = self.next_id;
        self.next_id += 1;
        self.write_batch(&branch, name, std::iter::once(0..1).collect(), id)?;
        told(branch.flush(), "flushing")?;
        self.known(name).make_durable();
        Ok(())
    }

    /// Makes a throwaway fork a branch, if there is one.
    fn keep(&mut self, id: u32) -> Told<()> {
        let found = self.branches.iter().find(|(_, branch)| branch.is_throwaway);
        let Some(throwaway) = found.map(|(name, _)| name.clone()) else {
            return Ok(());
        };
        let name = branch_name(&format!("k{id}"));
        told(self.store().keep(&throwaway, &name), "keeping")?;
        let mut branch = self.branches.remove(&throwaway).expect("found");
        branch.is_throwaway = false;
        branch.make_durable();
        self.branches.insert(name, branch);
        Ok(())
    }

    /// Lets a sync, a write or a read fail in the middle of upkeep or a flush; whatever comes of it, nothing changes that
    /// is shown, and if the store cannot go on, nothing is lost that was promised.
    fn meet_fault(&mut self) -> Told<()> {
        let store = self.store();
        let fault = [Fault::Sync, Fault::Write, Fault::Read][self.chooser.choose(3)];
        let most = [4, 60][self.chooser.choose(2)];
        let nth = 1 + self.below(most);
        self.medium.inject(fault, nth);
        let mut failed = false;
        for _ in 0..1 + self.chooser.choose(4) {
            let name = self.name();
            let result = match self.chooser.choose(6) {
                0 => store.branch(&name).and_then(|branch| branch.flush()),
                1 => store.upkeep(UpkeepStep::Drain),
                2 => store
                    .defrag(&name, &DefragOptions::default(), &mut go_on)
                    .map(drop),
                3 => store.upkeep(UpkeepStep::Reclaim),
                _ => store.upkeep(UpkeepStep::Checkpoint),
            };
            failed |= result.is_err();
        }
        self.medium.clear_faults();
        match self.flush_all().and_then(|()| self.write_and_flush()) {
            Ok(()) => {
                self.met.survived += u64::from(failed);
                Ok(())
            }
            Err(StoreError::Poisoned { .. }) => {
                self.met.poisoned += 1;
                drop(store);
                self.die()
            }
            result => told(result, "flushing after a failure"),
        }
    }

    fn flush_all(&mut self) -> Result<(), StoreError> {
        let store = self.store();
        for (name, known) in &mut self.branches {
            store.branch(name)?.flush()?;
            if !known.is_throwaway {
                known.make_durable();
            }
        }
        Ok(())
    }

    /// Writes to some branch and flushes it: flushes of what is flushed need not notice that nothing can be written any more.
    fn write_and_flush(&mut self) -> Result<(), StoreError> {
        let mut kept = self.branches.iter().filter(|(_, branch)| !branch.is_throwaway);
        let name = kept.next().expect("one is left").0.clone();
        let (branch, id) = (self.store().branch(&name)?, self.next_id);
        self.next_id += 1;
        let mut bytes = [0; BLOCK as usize];
        fill(&mut bytes, 0, id);
        branch.write_at(&bytes, 0)?;
        self.known(&name).write(0..1, id);
        branch.flush()?;
        self.known(&name).make_durable();
        Ok(())
    }

    /// Ends the process, well or in the middle of upkeep, and opens the store again.
    fn end(&mut self) -> Told<()> {
        if self.chooser.one_in(3) {
            self.held.clear();
            let store = self.store.take().expect("open between steps");
            told(store.close(), "closing")?;
            self.branches.values_mut().for_each(Branch::make_durable);
            return self.recover();
        }
        if self.chooser.one_in(2) {
            told(self.flush_all(), "flushing")?;
        }
        let store = self.store();
        self.medium
            .inject(Fault::Crash, 1 + self.chooser.choose(60) as u64);
        for _ in 0..self.chooser.choose(4) {
            let step = [UpkeepStep::Drain, UpkeepStep::Checkpoint, UpkeepStep::Reclaim];
            if store.upkeep(step[self.chooser.choose(3)]).is_err() {
                break;
            }
        }
        drop(store);
        self.die()
    }

    /// The process dies, and perhaps the power goes too.
    fn die(&mut self) -> Told<()> {
        self.held.clear();
        self.store = None;
        self.medium.clear_faults();
        if self.chooser.one_in(2) {
            self.medium.cut_power();
        } else {
            self.medium.crash_process(false);
        }
        self.recover()
    }

    /// Opens the store, and finds out what is left of what was never flushed.
    fn recover(&mut self) -> Told<()> {
        self.branches.retain(|_, branch| !branch.is_throwaway);
        let store = told(
            Store::open_on(self.medium.start(), self.options.open()),
            "opening",
        )?;
        self.met.recoveries += 1;
        let (mut any_lost, mut in_doubt) = (false, Vec::new());
        for (name, known) in &mut self.branches {
            let state = told(store.state(&Target::Branch(name.clone())), "a state")?;
            let found = told(read(&state), "reading")?;
            let Some(recovered) = known.recover(&found) else {
                return Err(format!("after recovery {name} is what it never was since its flush").into());
            };
            any_lost |= recovered.lost > 0;
            if recovered.may_be_unchanged {
                in_doubt.push(name.clone());
            }
        }
        self.met.losses += u64::from(any_lost);
        self.store = Some(store);
        for name in in_doubt {
            self.change_for_certain(&name)?;
        }
        Ok(())
    }

    /// Takes note of what the store has come to.
    pub(crate) fn note(&mut self) -> Told<()> {
        let stats = told(self.store().stats(), "stats")?;
        self.met.levels = self.met.levels.max(stats.index.levels);
        Ok(())
    }
}

/// Returns which write each block is of that is not zero, as it says itself.
fn read(state: &State) -> Result<BTreeMap<u64, u32>, StoreError> {
    let mut found = BTreeMap::new();
    let mut bytes = Vec::new();
    for extent in state.extents(0..state.size())? {
        if extent.kind == ExtentKind::Data {
            bytes.resize(extent.length as usize, 0);
            state.read_at(&mut bytes, extent.offset)?;
            for (block, number) in bytes.chunks(BLOCK as usize).zip(extent.offset / BLOCK..) {
                found.insert(
                    number,
                    u32::from_le_bytes([block[8], block[9], block[10], block[11]]),
                );
            }
        }
    }
    Ok(found)
}
