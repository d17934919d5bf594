//! Goal: a store with changed bytes does not open, fails to read, or shows what it held at some moment, also when it
//! is opened in spite of its damage, which changes nothing; it never shows anything else, panics or hangs. If the
//! checksums are made right again, it may show anything, but no more.
//! Method: a few stores lie on simulated media; each input changes one of them, opens it, compares all disks with
//! every moment of the store's history, and goes on to check it and to write to it.

#![no_main]

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::OnceLock;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use tine_store::decoders::repair;
use tine_store::medium::simulated::{Chooser, FileName, SimulatedMedium, SimulatedOptions};
use tine_store::{CreateOptions, OpenOptions, Result, State, Store, Target, UpkeepMode, UpkeepStep};

const BLOCK: usize = 4096;

/// What happens to a file; numbers are taken modulo what there is.
#[derive(Arbitrary, Debug)]
enum Change {
    /// In one of the bytes that mean something.
    Flip {
        spot: u16,
        mask: u8,
    },
    /// From one of those bytes on.
    Set {
        spot: u16,
        bytes: Vec<u8>,
    },
    /// A number, near the ends of what it can be.
    Number {
        spot: u16,
        near: i8,
        wide: bool,
    },
    /// Bytes of another place: a whole page, as by a write that went astray.
    Page {
        from: (u8, u8),
        to: (u8, u8),
    },
    Truncate {
        file: u8,
        length: u32,
    },
    Lose {
        file: u8,
    },
}

#[derive(Arbitrary, Debug)]
struct Input {
    store: u8,
    repaired: bool,
    changes: Vec<Change>,
}

/// All disks at one moment: branches, and snapshots as `branch@snapshot`.
type Moment = BTreeMap<String, Vec<u8>>;

/// A store that lies still, and all that it ever was.
struct Still {
    medium: SimulatedMedium,
    moments: Vec<Moment>,
    /// The bytes that mean something: neither padding nor a block's.
    spots: Vec<(FileName, u64)>,
}

impl Still {
    fn new(medium: SimulatedMedium, moments: &[Moment]) -> Self {
        let mut spots = Vec::new();
        for (file, _) in medium.files() {
            let bytes = medium.bytes(file).unwrap_or_default();
            for (page, bytes) in bytes.chunks(BLOCK).enumerate() {
                let is_block = bytes.iter().all(|byte| *byte == bytes[0]);
                // Nonces are random; in steps an input means the same in every run.
                let end = bytes
                    .iter()
                    .rposition(|&byte| byte != 0)
                    .map_or(0, |last| last + 1);
                let end = end.next_multiple_of(64).min(bytes.len());
                let meant = (0..end).filter(|at| !is_block && (*at < 512 || *at >= BLOCK - 8));
                spots.extend(meant.map(|at| (file, (page * BLOCK + at) as u64)));
            }
        }
        Self {
            medium,
            moments: moments.to_vec(),
            spots,
        }
    }
}

fn open_options() -> OpenOptions {
    OpenOptions {
        upkeep: UpkeepMode::Inline,
        buffer_bytes: 1 << 20,
        ..OpenOptions::default()
    }
}

fn name<T: std::str::FromStr<Err = tine_store::StoreError>>(text: &str) -> T {
    text.parse().expect("a good name")
}

fn content(state: &State) -> Result<Vec<u8>> {
    let mut bytes = vec![0; state.size() as usize];
    state.read_at(&mut bytes, 0)?;
    Ok(bytes)
}

fn targets(store: &Store) -> Result<Vec<Target>> {
    let branches = store.branches()?;
    Ok(branches
        .into_iter()
        .flat_map(|info| {
            let branch = info.name.clone();
            let snapshots = info.snapshots.into_iter();
            let snapshots = snapshots.map(move |snapshot| Target::Snapshot(branch.clone(), snapshot.name));
            [Target::Branch(info.name)].into_iter().chain(snapshots)
        })
        .collect())
}

fn moment(store: &Store) -> Moment {
    let targets = targets(store).expect("an unharmed store lists its branches");
    let read = |target: &Target| content(&store.state(target)?);
    targets
        .iter()
        .map(|target| {
            (
                target.to_string(),
                read(target).expect("an unharmed store is read"),
            )
        })
        .collect()
}

fn stores() -> &'static [Still] {
    static STORES: OnceLock<Vec<Still>> = OnceLock::new();
    STORES.get_or_init(|| history().expect("the history is a good one"))
}

/// Makes the stores: one closed well, one left by a crash, and one that recovered from that and crashed again.
fn history() -> Result<Vec<Still>> {
    let medium = SimulatedMedium::new(SimulatedOptions::default(), Chooser::fixed(Vec::new(), 0));
    let create = CreateOptions {
        journal_file_bytes: 32 << 10,
        journal_files: 4,
    };
    let mut moments = vec![Moment::new()];
    let store = Store::create_on(medium.start(), &create, open_options())?;
    let a = store.create_branch(&name("a"), 8 * BLOCK as u64)?;
    moments.push(moment(&store));
    a.write_at(&[1; 3 * BLOCK], 0)?;
    a.flush()?;
    moments.push(moment(&store));
    store.fork(&name("a"), &name("b"))?;
    moments.push(moment(&store));
    let b = store.branch(&name("b"))?;
    b.write_at(&[2; BLOCK], BLOCK as u64)?;
    b.flush()?;
    moments.push(moment(&store));
    store.upkeep(UpkeepStep::Checkpoint)?;
    a.write_at(&[3; 2 * BLOCK], 4 * BLOCK as u64)?;
    a.discard(0, BLOCK as u64)?;
    store.upkeep(UpkeepStep::Drain)?;
    moments.push(moment(&store));
    store.snapshot(&[(name("a"), name("s"))])?;
    moments.push(moment(&store));
    a.write_at(b"some bytes", 5 * BLOCK as u64 + 7)?;
    a.write_zeroes(4 * BLOCK as u64, BLOCK as u64)?;
    a.flush()?;
    moments.push(moment(&store));
    let crashed = medium.fork();
    crashed.cut_power();
    store.close()?;
    let again = crashed.fork();
    let mut found = vec![Still::new(medium.fork(), &moments), Still::new(crashed, &moments)];

    let store = Store::open_on(again.start(), open_options())?;
    moments.push(moment(&store));
    store.resize(&name("b"), 2 * BLOCK as u64)?;
    moments.push(moment(&store));
    store.drop_snapshot(&name("a"), &name("s"))?;
    moments.push(moment(&store));
    drop(store);
    again.crash_process(false);
    again.cut_power();
    found.push(Still::new(again, &moments));
    Ok(found)
}

fn change(still: &Still, medium: &SimulatedMedium, change: &Change) {
    let spot = |spot: u16| still.spots[usize::from(spot) % still.spots.len()];
    let files = medium.files();
    let pick = |file: u8| files.get(usize::from(file) % files.len().max(1)).copied();
    let set = |file: FileName, offset: u64, bytes: &[u8]| {
        let before = medium.bytes(file).unwrap_or_default();
        for (at, byte) in (offset..).zip(bytes) {
            if let Some(old) = before.get(at as usize).filter(|old| *old != byte) {
                medium.flip(file, at, old ^ byte);
            }
        }
    };
    match change {
        Change::Flip { spot: at, mask } => {
            let (file, offset) = spot(*at);
            medium.flip(file, offset, *mask);
        }
        Change::Set { spot: at, bytes } => {
            let (file, offset) = spot(*at);
            set(file, offset, bytes);
        }
        Change::Number { spot: at, near, wide } => {
            let (file, offset) = spot(*at);
            let bytes = i64::from(*near).to_le_bytes();
            set(file, offset, &bytes[..if *wide { 8 } else { 4 }]);
        }
        Change::Page { from, to } => {
            let page = |(file, page): (u8, u8)| {
                let (file, length) = pick(file)?;
                let pages = (length as usize).div_ceil(BLOCK);
                Some((file, usize::from(page) % pages.max(1) * BLOCK))
            };
            if let (Some((from, start)), Some((to, offset))) = (page(*from), page(*to)) {
                let bytes = medium.bytes(from).unwrap_or_default();
                let end = bytes.len().min(start + BLOCK);
                set(to, offset as u64, bytes.get(start..end).unwrap_or_default());
            }
        }
        Change::Truncate { file, length } => {
            if let Some((file, most)) = pick(*file) {
                medium.truncate(file, u64::from(*length) % (most + 1));
            }
        }
        Change::Lose { file } => {
            if let Some((file, _)) = pick(*file) {
                medium.lose(file);
            }
        }
    }
}

/// Tells whether what can be read of the store is what it held at that moment.
fn shows(store: &Store, moment: &Moment) -> bool {
    let Ok(found) = targets(store) else { return true };
    found.len() == moment.len()
        && found.iter().all(|target| {
            let Some(expected) = moment.get(&target.to_string()) else {
                return false;
            };
            let Ok(state) = store.state(target) else {
                return true;
            };
            state.size() == expected.len() as u64
                && expected.chunks(BLOCK).enumerate().all(|(block, expected)| {
                    let mut found = vec![0; expected.len()];
                    let read = state.read_at(&mut found, (block * BLOCK) as u64);
                    read.is_err() || found == expected
                })
        })
}

/// Reads, checks and writes; errors are as good as anything.
fn use_it(store: &Store) {
    let _ = store.check(true, &mut |_| ControlFlow::Continue(()));
    let _ = store.points();
    let _ = store.stats();
    for target in targets(store).unwrap_or_default() {
        // A hostile size is not to be read as a whole.
        if let Ok(state) = store.state(&target) {
            let mut bytes = vec![0; state.size().min(1 << 16) as usize];
            let _ = state.read_at(&mut bytes, 0);
            let _ = state.extents(0..state.size());
        }
        if let Target::Branch(name) = target
            && let Ok(branch) = store.branch(&name)
        {
            let _ = branch.write_at(&[9; BLOCK], 0).and_then(|()| branch.flush());
            let _ = store.branch_info(&name);
        }
    }
    let _ = store.upkeep(UpkeepStep::Checkpoint);
}

fuzz_target!(|input: Input| {
    let still = &stores()[usize::from(input.store) % stores().len()];
    let medium = still.medium.fork();
    for one in input.changes.iter().take(16) {
        change(still, &medium, one);
    }
    if input.repaired {
        repair(&still.medium, &medium);
    }
    let opened = Store::open_on(medium.start(), open_options());
    let store = match opened {
        Ok(store) => store,
        Err(_) => {
            let options = OpenOptions {
                read_damaged: true,
                ..open_options()
            };
            match Store::open_on(medium.start(), options) {
                Ok(store) => store,
                Err(_) => return,
            }
        }
    };
    if !input.repaired {
        assert!(
            still.moments.iter().any(|moment| shows(&store, moment)),
            "a state that never was"
        );
    }
    if store.damage().is_some() {
        let before = medium.counters().operations;
        use_it(&store);
        let _ = store.close();
        assert_eq!(
            medium.counters().operations,
            before,
            "a damaged store was changed"
        );
        return;
    }
    use_it(&store);
    if store.close().is_ok() {
        // What was written well is read again.
        let store = Store::open_on(medium.start(), open_options());
        assert!(
            store.is_ok() || input.repaired,
            "closed well, and does not open: {:?}",
            store.err()
        );
    }
});
