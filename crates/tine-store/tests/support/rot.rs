//! Rot: every byte of what lies on the medium flipped, every file cut and lost, one at a time. A store then gives an
//! error or the right bytes, never wrong ones, and neither panics nor hangs.

use std::time::Duration;

use tine_store::medium::ObjectName;
use tine_store::medium::simulated::{Chooser, FileName, SimulatedMedium};
use tine_store::{OpenOptions, Store, StoreError};

use super::catch::catch;
use super::content::{BLOCK, Content};
use super::expect::tell;
use super::ops::{Fate, Op, Step};
use super::perform::{Names, branch_name, describe, go_on, perform, read_state, snapshot_name};
use super::runner::{Config, Runner, Wrong};
use super::watchdog::Watchdog;
use super::world::{Target, World};

/// Something that lies still, and what it may show.
pub(crate) struct Still {
    name: &'static str,
    medium: SimulatedMedium,
    worlds: Vec<World>,
    /// All that it ever was: what is shown in spite of damage is of one moment.
    past: Vec<World>,
    /// The most pages that are zeroed together.
    hole_pages: u64,
}

/// What was tried, and how often the damage was told by an error of the opening, of a read, or by nothing.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Told {
    pub(crate) refused: u64,
    pub(crate) partly: u64,
    pub(crate) unharmed: u64,
}

const CONFIG: Config = Config {
    journal_file_bytes: 32 << 10,
    journal_files: 3,
    buffer_bytes: 1 << 20,
    large_write_bytes: 128 << 10,
    write_once: false,
    small_nodes: false,
};

/// Never half full, and each file takes many epochs.
const ONE_FILE: Config = Config {
    journal_file_bytes: 256 << 10,
    ..CONFIG
};

/// Never half full: what is written stays in the journal, and there alone.
const ROOMY: Config = Config {
    journal_file_bytes: 64 << 10,
    journal_files: 12,
    ..CONFIG
};

fn write(name: &str, block: u64, blocks: u64, id: u32) -> Op {
    Op::Write {
        name: name.into(),
        offset: block * BLOCK as u64,
        length: blocks * BLOCK as u64,
        id,
    }
}

fn flush(name: &str) -> Op {
    Op::Flush { name: name.into() }
}

/// A history after which journal, manifest, data and index segments all hold something that is needed.
fn history() -> Vec<Op> {
    let a = || Target("a".into(), None);
    vec![
        Op::Create {
            name: "a".into(),
            size: 8 * BLOCK as u64,
        },
        write("a", 0, 3, 1),
        flush("a"),
        Op::Fork {
            source: a(),
            name: "b".into(),
        },
        write("b", 1, 1, 2),
        flush("b"),
        Op::Checkpoint,
        write("a", 4, 2, 3),
        flush("a"),
        Op::Drain,
        Op::Snapshot {
            snapshots: vec![("a".into(), "s".into())],
        },
        write("a", 4, 1, 4),
        write("b", 0, 1, 5),
        flush("a"),
        Op::Fork {
            source: a(),
            name: "c".into(),
        },
        flush("b"),
    ]
}

/// Returns the stores to damage: closed cleanly, and left by a process that died.
pub(crate) fn stores() -> Result<Vec<Still>, Wrong> {
    let mut runner = Runner::create(CONFIG, Chooser::fixed(Vec::new(), 0))?;
    let mut worlds = vec![runner.world().clone()];
    for op in history() {
        runner.step(&Step::plain(op))?;
        worlds.splice(0..0, runner.worlds.iter().cloned());
    }
    let mut past = worlds.clone();
    let crashed = runner.medium.fork();
    crashed.cut_power();
    // Rot in the frames of the last sync, and of the one before if they overlapped, looks like a torn write.
    worlds.truncate(3);
    runner.close()?;
    let closed = Still {
        name: "closed",
        medium: runner.medium.fork(),
        worlds: runner.worlds.clone(),
        past: past.clone(),
        hole_pages: 1,
    };
    let mut found = vec![
        closed,
        Still {
            name: "crashed",
            medium: crashed,
            worlds,
            past: past.clone(),
            hole_pages: 1,
        },
    ];

    // The first epoch's frames are now followed by another's.
    let mut runner = Runner::on(&CONFIG, found[1].medium.fork(), found[1].worlds[..1].to_vec());
    runner.recover(&[])?;
    runner.step(&Step::plain(write("c", 7, 1, 6)))?;
    runner.step(&Step::plain(flush("c")))?;
    past.push(runner.world().clone());
    runner.step(&Step::plain(Op::Crash { fate: Fate::Process }))?;
    let worlds = vec![runner.world().clone()];
    past.extend(worlds.iter().cloned());
    runner.close()?;
    found.push(Still {
        name: "recovered",
        medium: runner.medium.fork(),
        worlds,
        past,
        hole_pages: 1,
    });

    let mut runner = Runner::create(ROOMY, Chooser::fixed(Vec::new(), 0))?;
    let mut past = vec![runner.world().clone()];
    for op in history() {
        if !matches!(op, Op::Checkpoint | Op::Drain) {
            runner.step(&Step::plain(op))?;
            past.push(runner.world().clone());
        }
    }
    // Not recovered by the runner, whose check moves all of it to segments; but an epoch's cut proves every frame.
    let journalled = runner.medium.fork();
    let opened = Store::open_on(journalled.start(), ROOMY.open_options());
    drop(opened.map_err(|error| describe(&error))?);
    found.push(Still {
        name: "journalled",
        medium: journalled,
        worlds: vec![runner.world().clone()],
        past,
        hole_pages: 1,
    });
    found.push(rounds()?);
    Ok(found)
}

/// Takes the newest announced manifest away where an older one is still there: that is damage, never a reason to go on
/// from the older one (rule 6). Returns how it is not told.
pub(crate) fn older_manifest() -> Result<(), Wrong> {
    let mut runner = Runner::create(CONFIG, Chooser::fixed(Vec::new(), 0))?;
    for op in history() {
        runner.step(&Step::plain(op))?;
    }
    let manifests = |medium: &SimulatedMedium| {
        let files = medium.files().into_iter().map(|(name, _)| name);
        files
            .filter(|name| matches!(name, FileName::Object(ObjectName::Manifest(_))))
            .collect::<Vec<_>>()
    };
    let newest = |medium: &SimulatedMedium| manifests(medium).into_iter().max();
    runner.medium.record();
    runner.step(&Step::plain(Op::Checkpoint))?;
    // The older one is removed only once the newer one is announced.
    let last = newest(&runner.medium);
    let both = |medium: &SimulatedMedium| manifests(medium).len() == 2 && newest(medium) == last;
    let moment = runner.medium.take_recorded().into_iter().rfind(both);
    let moment = moment.ok_or("no moment at which both manifests are there")?;
    let whole = Runner::on(&CONFIG, moment.fork(), runner.worlds.clone()).recover(&[]);
    whole.map_err(|why| format!("with both manifests: {why}"))?;
    moment.lose(last.ok_or("no manifest")?);
    match Store::open_on(moment.start(), CONFIG.open_options()) {
        Err(StoreError::Damaged { .. }) => Ok(()),
        Err(error) => Err(format!("a lost manifest is told as: {}", describe(&error))),
        Ok(_) => Err("the store opens from an older manifest than the announced one".to_owned()),
    }
}

/// Returns a store that was closed cleanly again and again, as commands do, all of it in one file of the ring.
///
/// A hole can take its last change along with the only frame that proves that there was one, but no more.
fn rounds() -> Result<Still, Wrong> {
    let medium = ONE_FILE.medium(Chooser::fixed(Vec::new(), 0));
    let made = Store::create_on(
        medium.start(),
        &ONE_FILE.create_options(),
        ONE_FILE.open_options(),
    );
    let mut opened = made;
    let mut still = medium.fork();
    let mut world = World::default();
    let mut past = vec![world.clone()];
    let size = 8 * BLOCK as u64;
    let create = vec![Op::Create {
        name: "a".into(),
        size,
    }];
    let writes = (0..6).map(|round| vec![write("a", u64::from(round), 1, round + 1), flush("a")]);
    let snapshot = |name: &str| Op::Snapshot {
        snapshots: vec![("a".into(), name.into())],
    };
    let snapshots = vec![snapshot("s"), snapshot("t")];
    for ops in [create].into_iter().chain(writes).chain([snapshots]) {
        let store = opened.map_err(|error| describe(&error))?;
        for op in ops {
            perform(&store, &Names::default(), &op).map_err(|failure| format!("{op:?}: {failure:?}"))?;
            world = tell(&world, &op).map_err(|refusal| format!("{op:?}: {refusal:?}"))?;
            past.push(world.clone());
        }
        store.close().map_err(|error| describe(&error))?;
        still = medium.fork();
        opened = Store::open_on(medium.start(), ONE_FILE.open_options());
    }
    Ok(Still {
        name: "rounds",
        medium: still,
        worlds: past.iter().rev().take(2).cloned().collect(),
        past,
        hole_pages: 2,
    })
}

/// Damages a store in every way, one at a time.
pub(crate) fn damage_everything(still: &Still, stride: u64) -> Result<Told, Wrong> {
    let mut told = Told::default();
    for (file, length) in still.medium.files() {
        let bytes = still.medium.bytes(file).expect("listed");
        for offset in places(&bytes, stride) {
            let mask = 1 << (offset % 8);
            let what = format!("bit {} of byte {offset} of {file:?} flipped", offset % 8);
            one(still, &what, &mut told, |medium| medium.flip(file, offset, mask))?;
        }
        for cut in (0..length)
            .step_by(BLOCK)
            .flat_map(|page| [page, page + 1, page + 100])
        {
            one(
                still,
                &format!("{file:?} cut to {cut} bytes"),
                &mut told,
                |medium| medium.truncate(file, cut),
            )?;
        }
        for (page, pages) in (0..length.div_ceil(BLOCK as u64))
            .flat_map(|page| (1..=still.hole_pages).map(move |pages| (page, pages)))
        {
            let hole = (page * BLOCK as u64)..((page + pages) * BLOCK as u64).min(length);
            let bytes = &bytes[hole.start as usize..hole.end as usize];
            one(
                still,
                &format!("bytes {hole:?} of {file:?} zeroed"),
                &mut told,
                |medium| {
                    let set = hole.clone().zip(bytes).filter(|&(_, &byte)| byte != 0);
                    set.fold(false, |_, (at, &byte)| medium.flip(file, at, byte))
                },
            )?;
        }
        one(still, &format!("{file:?} lost"), &mut told, |medium| {
            medium.lose(file)
        })?;
    }
    Ok(told)
}

/// Returns the bytes to flip: all that could be a header, a record or an entry, and some of each rest.
fn places(bytes: &[u8], stride: u64) -> Vec<u64> {
    let mut places = Vec::new();
    for (page, content) in bytes.chunks(BLOCK).enumerate() {
        let used = content
            .iter()
            .rposition(|&byte| byte != 0)
            .map_or(0, |last| last + 1);
        // A page of a few records is looked at whole; a block of a guest, or what is all zeroes, here and there.
        let dense = if used < 2048 { used } else { 256 };
        let sparse = (dense..content.len()).step_by(97);
        places.extend((0..dense).chain(sparse).map(|at| (page * BLOCK + at) as u64));
    }
    places.into_iter().step_by(stride as usize).collect()
}

fn one(
    still: &Still,
    what: &str,
    told: &mut Told,
    damage: impl FnOnce(&SimulatedMedium) -> bool,
) -> Result<(), Wrong> {
    let _watchdog = (told.refused + told.partly + told.unharmed)
        .is_multiple_of(256)
        .then(|| Watchdog::new(what.to_owned(), Duration::from_secs(60)));
    let medium = still.medium.fork();
    if !damage(&medium) {
        return Ok(());
    }
    let result = catch(|| look(&medium, still)).unwrap_or_else(Err);
    match result.map_err(|why| format!("{} store, {what}: {why}", still.name))? {
        Sight::Refused => told.refused += 1,
        Sight::Partly => told.partly += 1,
        Sight::Unharmed => told.unharmed += 1,
    }
    Ok(())
}

enum Sight {
    Refused,
    Partly,
    Unharmed,
}

/// Opens a damaged store and compares whatever it shows.
fn look(medium: &SimulatedMedium, still: &Still) -> Result<Sight, Wrong> {
    let Ok(store) = Store::open_on(medium.start(), CONFIG.open_options()) else {
        return look_in_spite(medium, &still.past).map(|()| Sight::Refused);
    };
    let mut whys = Vec::new();
    for world in &still.worlds {
        match compare(&store, world) {
            Ok(0) => return Ok(Sight::Unharmed),
            Ok(unreadable) => {
                let report = store.check(true, &mut go_on);
                return match report {
                    Ok(report) if report.damage.is_empty() => {
                        Err(format!("{unreadable} reads fail and check finds nothing"))
                    }
                    _ => Ok(Sight::Partly),
                };
            }
            Err(why) => whys.push(why),
        }
    }
    Err(whys.join("\n  or "))
}

/// Opens a store in spite of its damage: its branches are those of one moment, and each is an error or as it was once
/// (not all of one moment: what one had flushed and another had not is there and is not).
fn look_in_spite(medium: &SimulatedMedium, past: &[World]) -> Result<(), Wrong> {
    let options = OpenOptions {
        read_damaged: true,
        ..CONFIG.open_options()
    };
    let Ok(store) = Store::open_on(medium.start(), options) else {
        return Ok(());
    };
    if let Ok(report) = store.check(true, &mut go_on)
        && report.damage.is_empty()
    {
        return Err("the store does not open and check finds nothing".to_owned());
    }
    let Ok(branches) = store.branches() else {
        return Ok(());
    };
    let names: Vec<String> = branches.iter().map(|info| info.name.to_string()).collect();
    if !past.iter().any(|world| world.branches.keys().eq(&names)) {
        return Err(format!(
            "in spite of the damage the branches are {names:?}, which they never were"
        ));
    }
    for name in names {
        let target = tine_store::Target::Branch(branch_name(&name));
        let was = past.iter().filter_map(|world| world.branches.get(&name));
        let is_once = |told: &Content| compare_content(&name, store.state(&target), told).is_ok();
        if !was.rev().any(|told| is_once(told.now())) {
            return Err(format!("in spite of the damage {name} is as it never was"));
        }
    }
    Ok(())
}

/// Returns how many reads fail, or what is shown that is not so.
fn compare(store: &Store, world: &World) -> Result<usize, Wrong> {
    let mut unreadable = 0;
    let Ok(branches) = store.branches() else {
        return Ok(1);
    };
    let found: Vec<String> = branches.iter().map(|info| info.name.to_string()).collect();
    let expected: Vec<String> = world.branches.keys().cloned().collect();
    if found != expected {
        return Err(format!("the branches are {found:?}, not {expected:?}"));
    }
    for (info, (name, told)) in branches.iter().zip(&world.branches) {
        let found = info.snapshots.iter().map(|snapshot| snapshot.name.to_string());
        if !found.eq(told.snapshots.keys().cloned()) {
            return Err(format!("{name} has other snapshots"));
        }
        let state = store.state(&tine_store::Target::Branch(branch_name(name)));
        unreadable += compare_content(name, state, told.now())?;
        for (snapshot, told) in &told.snapshots {
            let target = tine_store::Target::Snapshot(branch_name(name), snapshot_name(snapshot));
            unreadable += compare_content(&format!("{name}@{snapshot}"), store.state(&target), told)?;
        }
    }
    Ok(unreadable)
}

fn compare_content(
    name: &str,
    state: Result<tine_store::State, StoreError>,
    told: &Content,
) -> Result<usize, Wrong> {
    let Ok(state) = state else { return Ok(1) };
    if state.size() != told.size() {
        return Err(format!("{name} has {} bytes, not {}", state.size(), told.size()));
    }
    match read_state(&state) {
        Ok(content) if content == *told => return Ok(0),
        Ok(content) => {
            return Err(format!(
                "{name} is [{}], not [{}]",
                content.describe(),
                told.describe()
            ));
        }
        Err(_) => {}
    }
    // Block by block: what can be read is right.
    let bytes = told.bytes();
    let mut failing = 0;
    for (block, expected) in bytes.chunks(BLOCK).enumerate() {
        let mut found = vec![0; expected.len()];
        match state.read_at(&mut found, (block * BLOCK) as u64) {
            Ok(()) if found == expected => {}
            Ok(()) => return Err(format!("block {block} of {name} is wrong")),
            Err(error @ (StoreError::OutOfBounds { .. } | StoreError::Poisoned { .. })) => {
                return Err(format!("block {block} of {name}: {}", describe(&error)));
            }
            Err(_) => failing += 1,
        }
    }
    if failing == 0 {
        Err(format!("{name} cannot be read at once, but block by block"))
    } else {
        Ok(failing)
    }
}
