//! Goal: what the small disks of `model.rs` are blind to: trees of many leaves and several levels, shared by points,
//! forks and rollbacks, merged and diffed; and that *written* is exact, after crashes too.
//! Method: seeded random histories on disks of 64k blocks with small nodes, on the simulated medium, compared with plain
//! arrays. TINE_TREE_SEEDS sets how many, TINE_SEED runs one alone.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use parking_lot::Mutex;
use support::catch::catch;
use support::perform::{branch_name, describe, go_on, snapshot_name};
use tine_store::medium::simulated::{Chooser, Fault, SimulatedMedium, SimulatedOptions};
use tine_store::planted::{Bug, plant};
use tine_store::{
    CreateOptions, DefragOptions, ExtentKind, OpenOptions, State, Store, StoreError, Target, UpkeepMode,
    UpkeepStep, make_small_nodes,
};

const BLOCK: u64 = 4096;
const BLOCKS: u64 = 64 << 10;
const BRANCHES_MAX: usize = 6;

/// Planting a bug is for the whole process.
static ALONE: Mutex<()> = Mutex::new(());

/// A disk: which write each block shows; what is absent is zero.
#[derive(Clone, Debug, Default)]
struct Disk {
    size: u64,
    blocks: BTreeMap<u64, u32>,
}

/// A named point, with the blocks that were written in the stretch that ends there.
#[derive(Clone, Debug, Default)]
struct Point {
    disk: Disk,
    written: u64,
}

#[derive(Clone, Debug, Default)]
struct Branch {
    now: Disk,
    /// Blocks that were written since the last point and are not zero.
    written: BTreeSet<u64>,
    changed: bool,
    /// The last point before now.
    last: Point,
    origin: Option<Point>,
    snapshots: BTreeMap<String, Point>,
}

impl Branch {
    fn on(point: Point, origin: Option<Point>) -> Self {
        Self {
            now: point.disk.clone(),
            last: point,
            origin,
            ..Self::default()
        }
    }

    fn freeze(&mut self) -> Point {
        if self.changed {
            self.last = Point {
                disk: self.now.clone(),
                written: self.written.len() as u64,
            };
            self.written.clear();
            self.changed = false;
        }
        self.last.clone()
    }

    fn write(&mut self, range: std::ops::Range<u64>, id: u32) {
        self.changed = true;
        for block in range {
            self.now.blocks.insert(block, id);
            self.written.insert(block);
        }
    }

    fn clear(&mut self, range: std::ops::Range<u64>) {
        self.changed = true;
        let gone: Vec<u64> = self
            .now
            .blocks
            .range(range.clone())
            .map(|(block, _)| *block)
            .collect();
        for block in gone {
            self.now.blocks.remove(&block);
            self.written.remove(&block);
        }
    }
}

fn fill(bytes: &mut [u8], first: u64, id: u32) {
    for (block, number) in bytes.chunks_mut(BLOCK as usize).zip(first..) {
        block.fill(id as u8 | 1);
        block[..8].copy_from_slice(&number.to_le_bytes());
        block[8..12].copy_from_slice(&id.to_le_bytes());
    }
}

struct History {
    chooser: Chooser,
    medium: SimulatedMedium,
    options: fn() -> OpenOptions,
    store: Option<Store>,
    branches: BTreeMap<String, Branch>,
    held: Vec<(State, Disk)>,
    next_id: u32,
}

/// How a history went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// The store shows what was never so.
    Shows,
    /// It says that it is damaged.
    Damage,
    /// It refuses what it should do.
    Refuses,
    /// The engine or the test panicked.
    Panics,
}

struct Wrong {
    kind: Kind,
    why: String,
}

impl Wrong {
    fn at(self, place: impl std::fmt::Display) -> Self {
        let why = format!("{place}: {}", self.why);
        Self { why, ..self }
    }
}

impl From<String> for Wrong {
    fn from(why: String) -> Self {
        Self {
            kind: Kind::Shows,
            why,
        }
    }
}

type Told<T> = Result<T, Wrong>;

fn told<T>(result: Result<T, StoreError>, what: &str) -> Told<T> {
    result.map_err(|error| Wrong {
        kind: match error {
            StoreError::Damaged { .. } | StoreError::BlockDamaged { .. } => Kind::Damage,
            _ => Kind::Refuses,
        },
        why: format!("{what}: {}", describe(&error)),
    })
}

fn small() -> OpenOptions {
    OpenOptions {
        buffer_bytes: 4 << 20,
        large_write_bytes: 16 << 10,
        index_cache_bytes: 32 << 10,
        upkeep: UpkeepMode::Inline,
        ..OpenOptions::default()
    }
}

fn large() -> OpenOptions {
    OpenOptions {
        upkeep: UpkeepMode::Inline,
        ..OpenOptions::default()
    }
}

impl History {
    fn new(seed: u64) -> Told<Self> {
        let mut chooser = Chooser::seeded(seed);
        let medium = SimulatedMedium::new(
            SimulatedOptions {
                capacity: None,
                write_once: false,
            },
            Chooser::seeded(seed ^ 0x5eed),
        );
        let options = [small, large][chooser.choose(2)];
        let create = CreateOptions {
            journal_file_bytes: 8 << 20,
            journal_files: 3,
        };
        let store = told(Store::create_on(medium.start(), &create, options()), "making")?;
        told(
            store.create_branch(&branch_name("b0"), BLOCKS * BLOCK),
            "creating",
        )?;
        let disk = Disk {
            size: BLOCKS,
            ..Disk::default()
        };
        let branch = Branch {
            now: disk,
            // It has no point yet that could serve again.
            changed: true,
            ..Branch::default()
        };
        Ok(Self {
            chooser,
            medium,
            options,
            store: Some(store),
            branches: BTreeMap::from([("b0".to_owned(), branch)]),
            held: Vec::new(),
            next_id: 1,
        })
    }

    fn below(&mut self, count: u64) -> u64 {
        self.chooser.choose(count as usize) as u64
    }

    fn store(&self) -> Store {
        self.store.clone().expect("open between steps")
    }

    fn name(&mut self) -> String {
        let at = self.chooser.choose(self.branches.len());
        self.branches.keys().nth(at).expect("counted").clone()
    }

    fn target(&mut self) -> (Target, Disk) {
        let name = self.name();
        let at = self.chooser.choose(self.branches[&name].snapshots.len() + 1);
        match self.branches[&name].snapshots.iter().nth(at) {
            Some((snapshot, point)) => (
                Target::Snapshot(branch_name(&name), snapshot_name(snapshot)),
                point.disk.clone(),
            ),
            None => (
                Target::Branch(branch_name(&name)),
                self.branches[&name].now.clone(),
            ),
        }
    }

    fn range(&mut self, size: u64, most: u64) -> std::ops::Range<u64> {
        let start = self.below(size);
        start..size.min(start + 1 + self.below(most))
    }

    fn step(&mut self) -> Told<()> {
        let store = self.store();
        let name = self.name();
        let branch = told(store.branch(&branch_name(&name)), "opening a branch")?;
        let size = self.branches[&name].now.size;
        let id = self.next_id;
        self.next_id += 1;
        match self.chooser.choose(24) {
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
                    told(branch.write_at(&bytes, block * BLOCK), "writing")?;
                    self.branches
                        .get_mut(&name)
                        .expect("there")
                        .write(block..block + 1, id);
                }
            }
            5..=6 => {
                let range = self.range(size, 1200);
                let mut bytes = vec![0; ((range.end - range.start) * BLOCK) as usize];
                fill(&mut bytes, range.start, id);
                told(branch.write_at(&bytes, range.start * BLOCK), "writing")?;
                self.branches.get_mut(&name).expect("there").write(range, id);
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
                    self.branches.get_mut(&name).expect("there").clear(range);
                }
            }
            9..=11 if self.branches.len() < BRANCHES_MAX => {
                let new = format!("f{id}");
                let (target, _) = self.target();
                told(store.fork(&target, &branch_name(&new)), "forking")?;
                let point = match &target {
                    Target::Branch(name) => self.branches.get_mut(&name.to_string()).expect("there").freeze(),
                    Target::Snapshot(name, snapshot) => {
                        self.branches[&name.to_string()].snapshots[&snapshot.to_string()].clone()
                    }
                };
                self.branches.insert(new, Branch::on(point.clone(), Some(point)));
            }
            12..=13 => {
                let snapshot = format!("s{id}");
                told(
                    store.snapshot(&[(branch_name(&name), snapshot_name(&snapshot))]),
                    "a snapshot",
                )?;
                let branch = self.branches.get_mut(&name).expect("there");
                let point = branch.freeze();
                branch.snapshots.insert(snapshot, point);
            }
            14 => {
                let names: Vec<String> = self.branches[&name].snapshots.keys().cloned().collect();
                if !names.is_empty() {
                    let snapshot = names[self.chooser.choose(names.len())].clone();
                    told(
                        store.drop_snapshot(&branch_name(&name), &snapshot_name(&snapshot)),
                        "dropping a snapshot",
                    )?;
                    self.branches
                        .get_mut(&name)
                        .expect("there")
                        .snapshots
                        .remove(&snapshot);
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
                    told(
                        store.rollback(&branch_name(&name), snapshot.as_ref(), None),
                        "a rollback",
                    )?;
                    let branch = self.branches.get_mut(&name).expect("there");
                    let point = match &to {
                        Some(snapshot) => branch.snapshots[snapshot].clone(),
                        None => branch.origin.clone().expect("chosen"),
                    };
                    (branch.now, branch.last) = (point.disk.clone(), point);
                    branch.written.clear();
                    branch.changed = false;
                }
            }
            16 if self.branches.len() > 2 => {
                told(store.drop_branches(&[branch_name(&name)]), "dropping")?;
                self.branches.remove(&name);
            }
            17 => {
                let new = 1 + self.below(BLOCKS);
                told(store.resize(&branch_name(&name), new * BLOCK), "resizing")?;
                let branch = self.branches.get_mut(&name).expect("there");
                branch.clear(new..u64::MAX);
                branch.changed = true;
                branch.now.size = new;
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
                    let done = store.defrag(&branch_name(&name), &options, &mut go_on);
                    told(done, "defragmenting")?;
                }
            }
            22 => {
                let ((a, x), (b, y)) = (self.target(), self.target());
                self.diff(&a, &x, &b, &y)?;
            }
            _ => {
                drop((store, branch));
                return self.end();
            }
        }
        Ok(())
    }

    /// Ends the process, well or in the middle of upkeep, and opens the store again.
    fn end(&mut self) -> Told<()> {
        self.held.clear();
        let store = self.store.take().expect("open between steps");
        match self.chooser.choose(3) {
            0 => told(store.close(), "closing")?,
            kind => {
                for name in self.branches.keys() {
                    let branch = told(store.branch(&branch_name(name)), "opening a branch")?;
                    told(branch.flush(), "flushing")?;
                }
                self.medium
                    .inject(Fault::Crash, 1 + self.chooser.choose(60) as u64);
                for _ in 0..self.chooser.choose(4) {
                    let step = [UpkeepStep::Drain, UpkeepStep::Checkpoint, UpkeepStep::Reclaim];
                    if store.upkeep(step[self.chooser.choose(3)]).is_err() {
                        break;
                    }
                }
                drop(store);
                self.medium.clear_faults();
                if kind == 1 {
                    self.medium.cut_power();
                } else {
                    self.medium.crash_process(false);
                }
            }
        }
        self.store = Some(told(
            Store::open_on(self.medium.start(), (self.options)()),
            "opening",
        )?);
        Ok(())
    }

    fn diff(&self, a: &Target, x: &Disk, b: &Target, y: &Disk) -> Told<()> {
        let store = self.store();
        let (left, right) = (told(store.state(a), "a state")?, told(store.state(b), "a state")?);
        let mut found = BTreeSet::new();
        for range in told(store.diff(&left, &right), "a diff")? {
            let range = told(range, "a diff")?;
            found.extend(range.offset / BLOCK..(range.offset + range.length) / BLOCK);
        }
        let (short, long) = (x.size.min(y.size), x.size.max(y.size));
        let mut expected: BTreeSet<u64> = (short..long).collect();
        let both = x
            .blocks
            .keys()
            .chain(y.blocks.keys())
            .filter(|block| **block < short);
        expected.extend(both.filter(|block| x.blocks.get(block) != y.blocks.get(block)));
        if found == expected {
            return self.diff_parts(&left, &right, &found);
        }
        let missed = expected.difference(&found).count();
        let wrong = found.difference(&expected).count();
        Err(
            format!("the diff of {a:?} and {b:?} misses {missed} blocks and has {wrong} that are equal")
                .into(),
        )
    }

    /// Compares the parts of two disks whose differing blocks are known.
    fn diff_parts(&self, left: &State, right: &State, differing: &BTreeSet<u64>) -> Told<()> {
        let ends = [0, 1, 1000, BLOCKS / 3, BLOCKS / 2 + 1, BLOCKS, 2 * BLOCKS];
        for (from, to) in ends.into_iter().zip(ends.into_iter().skip(1)) {
            let mut found = BTreeSet::new();
            for range in told(
                self.store().diff_in(left, right, from * BLOCK..to * BLOCK),
                "a diff",
            )? {
                let range = told(range, "a diff")?;
                found.extend(range.offset / BLOCK..(range.offset + range.length) / BLOCK);
            }
            if !found.iter().eq(differing.range(from..to)) {
                return Err(
                    format!("the diff of the blocks {from}..{to} is not that part of the whole").into(),
                );
            }
        }
        Ok(())
    }

    /// Compares all that the store shows.
    fn check(&mut self) -> Told<()> {
        let store = self.store();
        for (name, known) in &self.branches {
            // Before the branch is loaded, in some histories: what was not loaded counts as well.
            let info = told(store.branch_info(&branch_name(name)), "info")?;
            let expected = known.written.len() as u64 * BLOCK;
            if info.written != expected {
                return Err(format!("{name}: {} bytes written, not {expected}", info.written).into());
            }
            let state = told(store.state(&Target::Branch(branch_name(name))), "a state")?;
            compare(&state, &known.now, Some(&known.written)).map_err(|wrong| wrong.at(name))?;
            for (snapshot, point) in &known.snapshots {
                let target = Target::Snapshot(branch_name(name), snapshot_name(snapshot));
                let state = told(store.state(&target), "a state")?;
                compare(&state, &point.disk, None)
                    .map_err(|wrong| wrong.at(format_args!("{name}@{snapshot}")))?;
            }
        }
        for point in told(store.points(), "points")? {
            for target in point.snapshots {
                let Target::Snapshot(name, snapshot) = &target else {
                    continue;
                };
                let known = &self.branches[&name.to_string()].snapshots[&snapshot.to_string()];
                if point.written != known.written * BLOCK {
                    let expected = known.written * BLOCK;
                    return Err(
                        format!("{target:?}: {} bytes written, not {expected}", point.written).into(),
                    );
                }
            }
        }
        for (state, disk) in &self.held {
            compare(state, disk, None).map_err(|wrong| wrong.at("a held view"))?;
        }
        let report = told(store.check(false, &mut go_on), "checking")?;
        if report.damage.is_empty() {
            Ok(())
        } else {
            Err(Wrong {
                kind: Kind::Damage,
                why: format!("check finds damage: {:?}", report.damage),
            })
        }
    }

    /// Drops everything, and sees that all space comes back.
    fn drop_all(&mut self) -> Told<()> {
        self.held.clear();
        let store = self.store();
        let names: Vec<_> = self.branches.keys().map(|name| branch_name(name)).collect();
        told(store.drop_branches(&names), "dropping all")?;
        for _ in 0..2 {
            told(store.upkeep(UpkeepStep::Checkpoint), "upkeep")?;
            told(store.upkeep(UpkeepStep::Reclaim), "upkeep")?;
        }
        let left = told(store.stats(), "stats")?.segments;
        if left.count == 0 {
            Ok(())
        } else {
            Err(format!("nothing is left, and of its space {left:?}").into())
        }
    }
}

/// Compares a disk with what the model has: kinds everywhere, and the bytes of all data.
fn compare(state: &State, disk: &Disk, written: Option<&BTreeSet<u64>>) -> Told<()> {
    if state.size() != disk.size * BLOCK {
        return Err(format!("{} bytes, not {}", state.size(), disk.size * BLOCK).into());
    }
    let mut known = disk.blocks.iter().peekable();
    let mut bytes = Vec::new();
    let extents = told(state.extents(0..state.size()), "extents")?;
    let mut first = Vec::new();
    let visited = state.visit_extents(0..state.size(), &mut |extent| {
        first.push(extent);
        if first.len() < 3 {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    });
    told(visited, "visiting extents")?;
    if first != extents[..extents.len().min(3)] {
        return Err(format!("the first extents are {first:?} for who stops there").into());
    }
    for extent in extents {
        let blocks = extent.offset / BLOCK..(extent.offset + extent.length) / BLOCK;
        if extent.kind != ExtentKind::Data {
            if let Some((block, id)) = known.peek().filter(|(block, _)| **block < blocks.end) {
                return Err(format!("block {block} is {:?}, not of write {id}", extent.kind).into());
            }
            continue;
        }
        bytes.resize(extent.length as usize, 0);
        told(state.read_at(&mut bytes, extent.offset), "reading")?;
        for (block, found) in blocks.zip(bytes.chunks(BLOCK as usize)) {
            let Some((_, &id)) = known.next_if(|(known, _)| **known == block) else {
                return Err(format!("block {block} has data and should be zero").into());
            };
            let mut expected = [0; BLOCK as usize];
            fill(&mut expected, block, id);
            if found != expected {
                let shown = u32::from_le_bytes([found[8], found[9], found[10], found[11]]);
                return Err(format!("block {block} is of write {shown}, not {id}").into());
            }
            if let Some(written) = written
                && extent.shared == written.contains(&block)
            {
                return Err(format!("block {block}: shared is told to be {}", extent.shared).into());
            }
        }
    }
    match known.next() {
        Some((block, _)) => Err(format!("block {block} is behind the last extent").into()),
        None => Ok(()),
    }
}

fn play(seed: u64) -> Told<()> {
    let mut history = History::new(seed)?;
    let steps = 20 + history.chooser.choose(60);
    for at in 0..steps {
        history
            .step()
            .map_err(|wrong| wrong.at(format_args!("step {at}")))?;
        if at % 8 == 7 {
            history
                .check()
                .map_err(|wrong| wrong.at(format_args!("after step {at}")))?;
        }
    }
    history.check()?;
    history.drop_all()
}

fn run(seed: u64) -> Option<Wrong> {
    make_small_nodes(seed % 4 != 3);
    let panics = |why| Wrong {
        kind: Kind::Panics,
        why,
    };
    let result = catch(|| play(seed)).map_err(panics).and_then(|told| told);
    result
        .err()
        .map(|wrong| wrong.at(format_args!("seed {seed} (TINE_SEED={seed} runs it alone)")))
}

#[test]
fn large_trees_show_what_was_written() {
    let _alone = ALONE.lock();
    let seeds = match support::number_from_environment("TINE_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..support::number_from_environment("TINE_TREE_SEEDS").unwrap_or(60),
    };
    for seed in seeds {
        if let Some(Wrong { why, .. }) = run(seed) {
            panic!("{why}");
        }
    }
}

/// Each bug is found as what it is: the test itself, or a check within the engine, would panic for other reasons too.
#[test]
fn planted_bugs_of_the_trees_are_found() {
    let _alone = ALONE.lock();
    for bug in [
        Bug::MergeLosesExtent,
        Bug::RunsInWrongOrder,
        Bug::TombstoneOverLive,
        Bug::DiffSkipsNode,
        Bug::WriteIntoShared,
    ] {
        plant(Some(bug));
        let found = (0..40).find_map(run);
        plant(None);
        match found {
            Some(Wrong { kind, why }) => {
                println!("{bug:?}: {why}");
                assert_eq!(kind, Kind::Shows, "{bug:?}: {why}");
            }
            None => panic!("{bug:?} is not found"),
        }
    }
}
