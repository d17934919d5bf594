//! Goal: a full medium is an answer to whoever wants room, and nothing else. What was accepted can be flushed; drop,
//! discard, upkeep and close go on; the writer is never poisoned, and the store opens again after any end.
//! Method: seeded random histories on a simulated medium of little more than the smallest journal, against plain
//! arrays. TINE_SEEDS sets how many; TINE_SEED runs one alone.

mod support;

use std::collections::BTreeMap;

use support::number_from_environment;
use support::perform::{branch_name, describe, go_on, snapshot_name};
use support::runner::Config;
use tine_store::medium::simulated::{Chooser, SimulatedMedium, SimulatedOptions};
use tine_store::{Store, StoreError, Target, UpkeepStep};

const BLOCK: u64 = 4096;
/// Blocks of every disk.
const BLOCKS: usize = 48;

/// A disk's blocks, by the one byte that each is filled with.
type Content = [u8; BLOCKS];

#[derive(Clone)]
struct Branch {
    /// After each write since the last flush.
    states: Vec<Content>,
    snapshots: BTreeMap<String, Content>,
}

impl Branch {
    fn new(content: Content) -> Self {
        Self {
            states: vec![content],
            snapshots: BTreeMap::new(),
        }
    }

    fn now(&self) -> Content {
        *self.states.last().expect("never empty")
    }

    fn flushed(&mut self) {
        self.states.drain(..self.states.len() - 1);
    }
}

/// What a call may answer on a full medium.
fn fits(result: Result<(), StoreError>, may_refuse: bool, what: &str) -> Result<bool, String> {
    match result {
        Ok(()) => Ok(true),
        Err(StoreError::NoSpace { .. }) if may_refuse => Ok(false),
        Err(error) => Err(format!("{what}: {}", describe(&error))),
    }
}

struct History {
    config: Config,
    medium: SimulatedMedium,
    store: Option<Store>,
    branches: BTreeMap<String, Branch>,
    made: u32,
    refused: u32,
}

impl History {
    fn new(chooser: &mut Chooser, seed: u64) -> Result<Self, String> {
        let config = Config {
            journal_file_bytes: [32 << 10, 32 << 10, 64 << 10][chooser.choose(3)],
            journal_files: 3 + chooser.choose(2) as u32,
            buffer_bytes: [64 << 10, 256 << 10, 1 << 20][chooser.choose(3)],
            large_write_bytes: [0, 8 << 10, 128 << 10][chooser.choose(3)],
            write_once: false,
            small_nodes: false,
        };
        let ring = config.journal_file_bytes * u64::from(config.journal_files);
        let options = SimulatedOptions {
            capacity: Some(2 * ring + ((512 + 256 * chooser.choose(4) as u64) << 10)),
            write_once: false,
        };
        let medium = SimulatedMedium::new(options, Chooser::seeded(seed));
        let store = Store::create_on(medium.start(), &config.create_options(), config.open_options())
            .map_err(|error| describe(&error))?;
        Ok(Self {
            config,
            medium,
            store: Some(store),
            branches: BTreeMap::new(),
            made: 0,
            refused: 0,
        })
    }

    fn store(&self) -> &Store {
        self.store.as_ref().expect("open between two steps")
    }

    fn pick(&self, chooser: &mut Chooser) -> Option<String> {
        if self.branches.is_empty() {
            return None;
        }
        self.branches
            .keys()
            .nth(chooser.choose(self.branches.len()))
            .cloned()
    }

    fn handle(&self, name: &str) -> Result<tine_store::Branch, String> {
        let branch = self.store().branch(&branch_name(name));
        branch.map_err(|error| format!("a handle: {}", describe(&error)))
    }

    fn branch(&mut self, name: &str) -> &mut Branch {
        self.branches.get_mut(name).expect("it is in the model")
    }

    fn new_name(&mut self) -> String {
        self.made += 1;
        format!("b{}", self.made)
    }

    fn create(&mut self) -> Result<bool, String> {
        let name = self.new_name();
        let made = self
            .store()
            .create_branch(&branch_name(&name), BLOCKS as u64 * BLOCK);
        let done = fits(made.map(drop), true, "create")?;
        if done {
            self.branches.insert(name, Branch::new([0; BLOCKS]));
        }
        Ok(done)
    }

    fn write(&mut self, name: &str, at: usize, byte: u8) -> Result<bool, String> {
        let bytes = [byte; BLOCK as usize];
        let written = self.handle(name)?.write_at(&bytes, at as u64 * BLOCK);
        let done = fits(written, true, "write")?;
        if done {
            let branch = self.branch(name);
            let mut content = branch.now();
            content[at] = byte;
            branch.states.push(content);
        }
        Ok(done)
    }

    fn step(&mut self, chooser: &mut Chooser) -> Result<bool, String> {
        let Some(name) = self.pick(chooser) else {
            return self.create();
        };
        let at = chooser.choose(BLOCKS);
        match chooser.choose(40) {
            0..=15 => {
                let byte = 1 + chooser.choose(255) as u8;
                self.write(&name, at, byte)
            }
            16..=19 => {
                fits(self.handle(&name)?.flush(), false, "flush")?;
                self.branch(&name).flushed();
                Ok(true)
            }
            20..=22 => {
                let to = end_of_range(chooser, at);
                let cleared = self
                    .handle(&name)?
                    .discard(at as u64 * BLOCK, (to - at) as u64 * BLOCK);
                fits(cleared, false, "discard")?;
                let branch = self.branch(&name);
                let mut content = branch.now();
                content[at..to].fill(0);
                branch.states.push(content);
                Ok(true)
            }
            23..=27 => {
                let fork = self.new_name();
                let forked = self
                    .store()
                    .fork(&Target::Branch(branch_name(&name)), &branch_name(&fork));
                let done = fits(forked, true, "fork")?;
                if done {
                    self.branch(&name).flushed();
                    let content = self.branches[&name].now();
                    self.branches.insert(fork, Branch::new(content));
                }
                Ok(done)
            }
            28..=29 => {
                let snapshot = self.new_name();
                let taken = self
                    .store()
                    .snapshot(&[(branch_name(&name), snapshot_name(&snapshot))]);
                let done = fits(taken, true, "snapshot")?;
                if done {
                    let branch = self.branch(&name);
                    branch.flushed();
                    let content = branch.now();
                    branch.snapshots.insert(snapshot, content);
                }
                Ok(done)
            }
            30 => {
                let Some((snapshot, content)) = self.branches[&name].snapshots.clone().pop_first() else {
                    return Ok(true);
                };
                let back = self
                    .store()
                    .rollback(&branch_name(&name), Some(&snapshot_name(&snapshot)), None);
                let done = fits(back, true, "rollback")?;
                if done {
                    self.branch(&name).states = vec![content];
                }
                Ok(done)
            }
            31 => {
                let Some((snapshot, _)) = self.branch(&name).snapshots.pop_first() else {
                    return Ok(true);
                };
                let dropped = self
                    .store()
                    .drop_snapshot(&branch_name(&name), &snapshot_name(&snapshot));
                fits(dropped, false, "drop of a snapshot")
            }
            32..=34 => {
                let dropped = self.store().drop_branches(&[branch_name(&name)]);
                self.branches.remove(&name);
                fits(dropped, false, "drop")
            }
            35..=37 => {
                let step =
                    [UpkeepStep::Drain, UpkeepStep::Checkpoint, UpkeepStep::Reclaim][chooser.choose(3)];
                fits(self.store().upkeep(step), false, &format!("{step:?}"))
            }
            38 => {
                self.reopen(chooser)?;
                Ok(true)
            }
            _ => {
                let renamed = self.new_name();
                let done = fits(
                    self.store().rename(&branch_name(&name), &branch_name(&renamed)),
                    true,
                    "rename",
                )?;
                if done {
                    let branch = self.branches.remove(&name).expect("picked from there");
                    self.branches.insert(renamed, branch);
                }
                Ok(done)
            }
        }
    }

    fn reopen(&mut self, chooser: &mut Chooser) -> Result<(), String> {
        let store = self.store.take().expect("open between two steps");
        match chooser.choose(3) {
            0 => {
                fits(store.close(), false, "close")?;
                self.branches.values_mut().for_each(Branch::flushed);
            }
            1 => {
                drop(store);
                self.medium.crash_process(false);
            }
            _ => {
                drop(store);
                self.medium.cut_power();
            }
        }
        let opened = Store::open_on(self.medium.start(), self.config.open_options());
        self.store = Some(opened.map_err(|error| format!("opening: {}", describe(&error)))?);
        self.compare(true)
    }

    /// Compares everything; after a crash a branch is any of its states.
    fn compare(&mut self, recovered: bool) -> Result<(), String> {
        let names: Vec<String> = self.branches.keys().cloned().collect();
        for name in names {
            let mut found = [0; BLOCKS];
            let handle = self.handle(&name)?;
            for (at, found) in found.iter_mut().enumerate() {
                let mut block = [0; BLOCK as usize];
                handle
                    .read_at(&mut block, at as u64 * BLOCK)
                    .map_err(|error| format!("a read: {}", describe(&error)))?;
                if block.iter().any(|byte| *byte != block[0]) {
                    return Err(format!("block {at} of {name} is a mixture"));
                }
                *found = block[0];
            }
            let branch = self.branch(&name);
            let known = if recovered {
                branch.states.contains(&found)
            } else {
                branch.now() == found
            };
            if !known {
                return Err(format!("{name} is {found:?}, none of {:?}", branch.states));
            }
            branch.states = vec![found];
        }
        Ok(())
    }

    /// Drops everything: whatever happened, that must be possible, and give the room back.
    fn end(&mut self) -> Result<(), String> {
        self.compare(false)?;
        for name in std::mem::take(&mut self.branches).into_keys() {
            fits(
                self.store().drop_branches(&[branch_name(&name)]),
                false,
                "the last drops",
            )?;
        }
        fits(
            self.store().upkeep(UpkeepStep::Checkpoint),
            false,
            "the last checkpoint",
        )?;
        if !self.create()? {
            return Err("no room for a branch in an empty store".into());
        }
        let name = self.branches.keys().next().expect("just made").clone();
        for at in 0..BLOCKS / 2 {
            if !self.write(&name, at, 7)? {
                return Err(format!("an empty store had room for {at} blocks only"));
            }
        }
        let store = self.store.take().expect("open between two steps");
        let report = store.check(true, &mut go_on).map_err(|error| describe(&error))?;
        if !report.damage.is_empty() {
            return Err(format!("{:?}", report.damage));
        }
        fits(store.close(), false, "the last close").map(drop)
    }
}

/// The end of a range that begins at `at`.
fn end_of_range(chooser: &mut Chooser, at: usize) -> usize {
    at + 1 + chooser.choose(BLOCKS - at)
}

fn run(seed: u64) -> Result<u32, String> {
    let mut chooser = Chooser::seeded(seed);
    let mut history = History::new(&mut chooser, seed)?;
    for step in 0..400 {
        let done = history
            .step(&mut chooser)
            .map_err(|wrong| format!("step {step}: {wrong}"))?;
        history.refused += u32::from(!done);
    }
    history.end()?;
    let violations = history.medium.take_violations();
    if !violations.is_empty() {
        return Err(format!("{violations:?}"));
    }
    Ok(history.refused)
}

#[test]
fn a_full_medium_never_poisons_the_writer() {
    let seeds = match number_from_environment("TINE_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number_from_environment("TINE_SEEDS").unwrap_or(300),
    };
    let mut refused = 0;
    let mut wrong = Vec::new();
    for seed in seeds.clone() {
        match run(seed) {
            Ok(count) => refused += count,
            Err(why) => wrong.push(format!("seed {seed}: {why}")),
        }
    }
    let shown = wrong.iter().take(20).cloned().collect::<Vec<_>>().join("\n");
    assert!(wrong.is_empty(), "{} of {seeds:?} fail:\n{shown}", wrong.len());
    println!("{refused} refusals");
    // Else the medium was never full.
    assert!(refused > (seeds.end - seeds.start) as u32, "{refused} refusals");
}
