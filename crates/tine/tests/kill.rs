//! Goal: `kill -9` at any moment loses nothing that a command said was done, and nothing is ever half done.
//! Method: one process after the other writes, forks, takes snapshots, rolls back and drops; at a random moment the one
//! at work is killed. Once alone, and once beside others that do the same with disks of their own and are killed at the same moment. Then the store must be whole and equal to the model; what was at work may have happened or not,
//! and a write may have happened as far as some block. TINE_KILLS rounds (10), for at most
//! TINE_SECONDS, from the seed TINE_SEED.
//!
//! The page cache outlives a killed process, so this says nothing about syncs: `power_cut` does.

mod common;

use std::collections::BTreeMap;
use std::env;
use std::io::Write as _;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use common::Bench;

const DISK_BYTES: usize = 8 << 20;
const BLOCK_BYTES: usize = 4096;
const BRANCHES_MAX: usize = 6;

/// Processes that work at once.
const WORKERS: usize = 4;

#[test]
fn killed_at_any_moment() {
    play(1);
}

/// All at once, so that some are killed while they have the store and others while they wait for it.
#[test]
fn killed_while_others_work() {
    play(WORKERS);
}

fn play(workers: usize) {
    let rounds: u32 = env::var("TINE_KILLS").map_or(10, |text| text.parse().expect("TINE_KILLS is a number"));
    let seed: u64 = env::var("TINE_SEED").map_or_else(
        |_| {
            SystemTime::UNIX_EPOCH
                .elapsed()
                .map_or(1, |time| u64::from(time.subsec_nanos()) | 1)
        },
        |text| text.parse().expect("TINE_SEED is a number"),
    );
    let end = env::var("TINE_SECONDS")
        .ok()
        .map(|text| text.parse().expect("TINE_SECONDS is a number"))
        .map(|seconds| Instant::now() + Duration::from_secs(seconds));
    println!("TINE_SEED={seed} repeats the choices (not the moments)");
    let bench = Bench::new();
    let mut random = Random(seed);
    let mut workers: Vec<Worker> = (0..workers)
        .map(|number| {
            let disk = format!("disk{number}");
            bench.succeeds(&format!("tine create {disk} {DISK_BYTES}"));
            Worker {
                world: World::new(disk),
                random: Random(random.next() | 1),
                done: 0,
            }
        })
        .collect();
    let (mut killed, mut played) = (0, 0);
    for round in 0..rounds {
        if end.is_some_and(|end| Instant::now() >= end) {
            break;
        }
        played += 1;
        let moment = Instant::now() + Duration::from_millis(random.below(400) * workers.len() as u64);
        let steps: Vec<Option<Step>> = thread::scope(|scope| {
            let bench = &bench;
            let working: Vec<_> = workers
                .iter_mut()
                .map(|worker| scope.spawn(move || worker.work_until(bench, moment)))
                .collect();
            working
                .into_iter()
                .map(|worker| worker.join().expect("a worker"))
                .collect()
        });
        for (worker, step) in workers.iter_mut().zip(steps) {
            if let Some(step) = step {
                killed += 1;
                worker.world = judge(&bench, &worker.world, &step, round);
            }
        }
    }
    for worker in &workers {
        assert!(
            judge_equal(&bench, &worker.world),
            "what was done is there at the end"
        );
    }
    let done: u64 = workers.iter().map(|worker| worker.done).sum();
    println!("done: {played} rounds, {done} commands done, {killed} killed");
}

/// One of those who work, on a disk of its own and what comes of that.
struct Worker {
    world: World,
    random: Random,
    done: u64,
}

impl Worker {
    /// Does one step after the other; returns the one that was killed at the moment.
    fn work_until(&mut self, bench: &Bench, moment: Instant) -> Option<Step> {
        while Instant::now() < moment {
            let step = self.world.next_step(&mut self.random);
            if !run_until(bench, &step, moment) {
                return Some(step);
            }
            self.world = self.world.after(&step);
            self.done += 1;
        }
        None
    }
}

/// What the store should hold of a disk and its forks: content by name, snapshots as `branch@snapshot`.
#[derive(Clone, PartialEq)]
struct World {
    /// The first disk; the names of its forks begin with its own and a dash.
    disk: String,
    disks: BTreeMap<String, Disk>,
    /// What a branch was when it was forked.
    origins: BTreeMap<String, Disk>,
    next: u64,
}

/// One number for each block: 0, or the write that it comes from.
type Disk = Vec<u64>;

#[derive(Clone, Debug)]
enum Step {
    Write {
        branch: String,
        first: usize,
        blocks: usize,
        stamp: u64,
    },
    Fork {
        source: String,
        names: Vec<String>,
    },
    Snapshot {
        names: Vec<String>,
    },
    RollBack {
        target: String,
    },
    Drop {
        names: Vec<String>,
    },
}

impl World {
    fn new(disk: String) -> Self {
        let disks = BTreeMap::from([(disk.clone(), vec![0; DISK_BYTES / BLOCK_BYTES])]);
        Self {
            disk,
            disks,
            origins: BTreeMap::new(),
            next: 1,
        }
    }

    fn next_step(&mut self, random: &mut Random) -> Step {
        self.next += 1;
        let next = self.next;
        let names: Vec<String> = self.disks.keys().cloned().collect();
        let (snapshots, branches): (Vec<String>, Vec<String>) =
            names.iter().cloned().partition(|name| name.contains('@'));
        if branches.len() > BRANCHES_MAX {
            return Step::Drop {
                names: branches
                    .into_iter()
                    .filter(|name| *name != self.disk)
                    .take(3)
                    .collect(),
            };
        }
        match random.below(10) {
            0..4 => {
                let first = random.index(DISK_BYTES / BLOCK_BYTES);
                let most = DISK_BYTES / BLOCK_BYTES - first;
                // Mostly small, sometimes most of the disk.
                let blocks = if random.below(3) == 0 {
                    1 + random.index(most)
                } else {
                    1 + random.index(most.min(16))
                };
                Step::Write {
                    branch: random.pick(&branches),
                    first,
                    blocks,
                    stamp: next,
                }
            }
            4..6 => Step::Fork {
                source: random.pick(&names),
                names: (1..=1 + random.index(3))
                    .map(|number| format!("{}-fork{next}-{number}", self.disk))
                    .collect(),
            },
            6..8 if snapshots.len() < 8 => Step::Snapshot {
                names: branches
                    .iter()
                    .take(2)
                    .map(|branch| format!("{branch}@snap{next}"))
                    .collect(),
            },
            8 if !snapshots.is_empty() => Step::Drop {
                names: vec![random.pick(&snapshots)],
            },
            _ => {
                let targets: Vec<String> = snapshots
                    .into_iter()
                    .chain(self.origins.keys().cloned())
                    .collect();
                if targets.is_empty() {
                    return Step::Snapshot {
                        names: vec![format!("{}@snap{next}", self.disk)],
                    };
                }
                Step::RollBack {
                    target: random.pick(&targets),
                }
            }
        }
    }

    /// Returns the world in which `step` has happened.
    fn after(&self, step: &Step) -> Self {
        let mut world = self.clone();
        match step {
            Step::Write {
                branch,
                first,
                blocks,
                stamp,
            } => {
                let disk = world.disks.get_mut(branch).unwrap();
                for (place, block) in disk[*first..][..*blocks].iter_mut().enumerate() {
                    *block = stamp_of(*stamp, place);
                }
            }
            Step::Fork { source, names } => {
                for name in names {
                    let disk = self.disks[source].clone();
                    world.origins.insert(name.clone(), disk.clone());
                    world.disks.insert(name.clone(), disk);
                }
            }
            Step::Snapshot { names } => {
                for name in names {
                    world
                        .disks
                        .insert(name.clone(), self.disks[branch_of(name)].clone());
                }
            }
            Step::RollBack { target } => {
                let disk = if target.contains('@') {
                    &self.disks[target]
                } else {
                    &self.origins[target]
                };
                world.disks.insert(branch_of(target).to_owned(), disk.clone());
            }
            Step::Drop { names } => {
                for name in names {
                    let snapshots = format!("{name}@");
                    world
                        .disks
                        .retain(|other, _| other != name && !other.starts_with(&snapshots));
                    world.origins.remove(name);
                }
            }
        }
        world
    }
}

fn branch_of(name: &str) -> &str {
    name.split('@').next().unwrap_or(name)
}

fn stamp_of(stamp: u64, place: usize) -> u64 {
    stamp << 32 | place as u64
}

/// Makes a block that carries its number in each of its words.
fn block_of(stamp: u64) -> impl Iterator<Item = u8> {
    (0..BLOCK_BYTES / 8).flat_map(move |_| stamp.to_le_bytes())
}

/// Runs a step until it ends or the moment comes; returns whether it was done.
fn run_until(bench: &Bench, step: &Step, moment: Instant) -> bool {
    let (line, input) = match step {
        Step::Write {
            branch,
            first,
            blocks,
            stamp,
        } => {
            let input: Vec<u8> = (0..*blocks)
                .flat_map(|place| block_of(stamp_of(*stamp, place)))
                .collect();
            (
                format!("exec tine write {branch} --offset {}", first * BLOCK_BYTES),
                input,
            )
        }
        Step::Fork { source, names } if names.len() == 1 => {
            (format!("exec tine fork {source} {}", names[0]), Vec::new())
        }
        Step::Fork { source, names } => {
            let stem = names[0].rsplit_once('-').unwrap().0;
            (
                format!("exec tine fork {source} --count {} {stem}", names.len()),
                Vec::new(),
            )
        }
        Step::Snapshot { names } => (format!("exec tine snapshot {}", names.join(" ")), Vec::new()),
        Step::RollBack { target } => (format!("exec tine rollback {target} --yes"), Vec::new()),
        Step::Drop { names } => (format!("exec tine drop {} --yes", names.join(" ")), Vec::new()),
    };
    let mut command = bench.command(&line);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let feeder = thread::spawn(move || {
        // A killed reader closes the pipe.
        let _ = stdin.write_all(&input);
    });
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if Instant::now() >= moment {
            child.kill().unwrap();
            break child.wait().unwrap();
        }
        thread::sleep(Duration::from_micros(500));
    };
    feeder.join().unwrap();
    if let Some(code) = status.code() {
        let mut said = String::new();
        std::io::Read::read_to_string(&mut child.stderr.take().unwrap(), &mut said).unwrap();
        assert_eq!(code, 0, "{line}: {said}");
    }
    status.success()
}

/// Makes sure that the store is whole and holds what it should, and returns what that is, now that it is known.
fn judge(bench: &Bench, before: &World, killed: &Step, round: u32) -> World {
    bench.succeeds("tine check --data");
    let (seen, after) = (read_all(bench, &before.disk), before.after(killed));
    if seen == after.disks {
        return after;
    }
    if seen == before.disks {
        return before.clone();
    }
    if let Step::Write {
        branch,
        first,
        blocks,
        ..
    } = killed
    {
        for done in 0..*blocks {
            let mut part = before.clone();
            let written = *first..first + done;
            part.disks.get_mut(branch).unwrap()[written.clone()]
                .copy_from_slice(&after.disks[branch][written]);
            if seen == part.disks {
                return part;
            }
        }
    }
    let names = |disks: &BTreeMap<String, Disk>| disks.keys().cloned().collect::<Vec<_>>();
    let changed: Vec<_> = seen
        .iter()
        .filter(|(name, disk)| before.disks.get(*name).is_some_and(|other| other != *disk))
        .collect();
    panic!(
        "round {round}, killed in {killed:?}: there are {:?}, there were {:?}; changed: {:?}",
        names(&seen),
        names(&before.disks),
        changed.iter().map(|(name, _)| name).collect::<Vec<_>>()
    );
}

fn judge_equal(bench: &Bench, world: &World) -> bool {
    read_all(bench, &world.disk) == world.disks
}

/// Reads every branch and snapshot that there is of a disk and its forks.
fn read_all(bench: &Bench, disk: &str) -> BTreeMap<String, Disk> {
    let mut disks = BTreeMap::new();
    for line in bench.succeeds("tine ls --json").lines() {
        let branch: serde_json::Value = serde_json::from_str(line).unwrap();
        let name = branch["name"].as_str().unwrap();
        if !name
            .strip_prefix(disk)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
        {
            continue;
        }
        let snapshots = branch["snapshots"].as_array().unwrap().iter();
        let snapshots =
            snapshots.map(|snapshot| format!("{name}@{}", snapshot["snapshot"].as_str().unwrap()));
        for name in std::iter::once(name.to_owned()).chain(snapshots) {
            let output = bench.run(&format!("tine read {name}"));
            assert!(
                output.status.success(),
                "{}",
                String::from_utf8_lossy(&output.stderr)
            );
            disks.insert(name.clone(), stamps(&name, &output.stdout));
        }
    }
    disks
}

fn stamps(name: &str, bytes: &[u8]) -> Disk {
    assert_eq!(bytes.len(), DISK_BYTES, "{name}");
    bytes
        .chunks(BLOCK_BYTES)
        .enumerate()
        .map(|(place, block)| {
            let stamp = u64::from_le_bytes(block[..8].try_into().unwrap());
            assert!(
                block.iter().copied().eq(block_of(stamp)),
                "{name}: block {place} is torn"
            );
            stamp
        })
        .collect()
}

/// xorshift64*.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, end: u64) -> u64 {
        (self.next() >> 32) % end
    }

    fn index(&mut self, end: usize) -> usize {
        usize::try_from(self.below(end as u64)).unwrap()
    }

    fn pick(&mut self, names: &[String]) -> String {
        names[self.index(names.len())].clone()
    }
}
