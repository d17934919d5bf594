//! `tine-store` as a program that is linked with it: batches over a disk whose index has inner nodes, none of which any
//! power cut parts, and none of which it loses once a flush has returned.
//!
//! Each batch writes its number to blocks far from each other, and one more wherever the number says, so that what a
//! disk has to hold follows from the number of its last batch. The program is this very test binary, whose test [`program`]
//! does what it is told by the environment.

use crate::harness::{Runner, Step, Stop, Workload};
use crate::random::Random;
use crate::torture;
use std::collections::BTreeMap;
use std::error::Error;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tine_store::{
    Branch, BranchName, CreateOptions, DefragOptions, ExtentKind, OpenOptions, Store, StoreError,
};

const BLOCK: u64 = 4096;
/// Every other block is cleared once: as many extents as make a tree of three levels.
const CLEARED: u64 = 100_000;
/// Blocks of which each batch writes all.
const MARKS: [u64; 5] = [1, 20_001, 55_555, 155_557, 2 * CLEARED - 1];
/// Blocks of which each batch writes one, behind what is cleared.
const PLACES: u64 = 5000;
const DISK: u64 = (2 * CLEARED + PLACES) * BLOCK;

/// What the program is to do, and where.
const TASK: &str = "TINE_LIBRARY_TASK";
const STORE: &str = "TINE_LIBRARY_STORE";

/// The test of this file that is the program.
const PROGRAM: &str = "library::program";

/// How many cuts a store has to survive if the environment does not say it.
const CUTS: u64 = 10;

/// A disk, by the number of its last batch.
struct Library {
    directory: PathBuf,
    last: u64,
    /// The number of the last batch that anybody was told to write.
    in_flight: u64,
    /// The disk is there, and its blocks are cleared.
    is_made: bool,
    /// The most levels that an index was seen to have.
    levels: Arc<AtomicU64>,
}

impl Library {
    fn step(&self, task: &str) -> Step {
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        command
            .args(["--ignored", "--exact", PROGRAM, "--nocapture"])
            .env(TASK, task)
            .env(STORE, &self.directory);
        Step {
            command,
            input: Vec::new(),
            what: task.to_owned(),
        }
    }
}

impl Workload for Library {
    fn next(&mut self, random: &mut Random) -> Step {
        if !self.is_made {
            return self.step("make");
        }
        self.in_flight = self.last + 1 + random.below(12);
        let then = if random.chance(20) { "defrag" } else { "close" };
        self.step(&format!("batches {} {} {then}", self.last + 1, self.in_flight))
    }

    fn acknowledge(&mut self) {
        self.is_made = true;
        self.last = self.in_flight;
    }

    fn verify(&mut self, runner: &mut Runner<'_>) -> Result<(), Stop> {
        if !self.is_made {
            // What is left of it need not be a store.
            return Ok(());
        }
        let printed = runner.must_run(self.step("look"))?.stdout;
        let printed = String::from_utf8_lossy(&printed);
        let found = printed
            .lines()
            .find_map(|line| line.split_once("found "))
            .map(|(_, found)| found);
        let mut numbers = found.unwrap_or_default().split(' ').map(str::parse::<u64>);
        let (Some(Ok(last)), Some(Ok(levels))) = (numbers.next(), numbers.next()) else {
            return Err(Stop::Violation(format!("`look` printed {printed:?}")));
        };
        if !(self.last..=self.in_flight).contains(&last) {
            return Err(Stop::Violation(format!(
                "the disk is as of batch {last}: {} was flushed, {} was asked for",
                self.last, self.in_flight
            )));
        }
        self.levels.fetch_max(levels, Ordering::Relaxed);
        (self.last, self.in_flight) = (last, last);
        Ok(())
    }
}

/// What the program does: `make`, `batches FIRST LAST close`, `batches FIRST LAST defrag` or `look`.
fn perform(task: &str, directory: &Path) -> Result<(), Box<dyn Error>> {
    let words: Vec<&str> = task.split(' ').collect();
    let name: BranchName = "disk".parse()?;
    // A small journal, so that checkpoints come by.
    let create = CreateOptions {
        journal_file_bytes: 512 << 10,
        journal_files: 3,
    };
    let made = (words == ["make"]).then(|| Store::create(directory, &create, OpenOptions::default()));
    let store = match made {
        Some(Ok(store)) => store,
        // It may be there already, from the last time.
        _ => Store::open(directory, OpenOptions::default())?,
    };
    match words[..] {
        ["make"] => {
            let disk = match store.branch(&name) {
                Err(StoreError::UnknownBranch { .. }) => store.create_branch(&name, DISK)?,
                found => found?,
            };
            for at in 0..CLEARED {
                disk.write_zeroes(2 * at * BLOCK, BLOCK)?;
            }
            disk.flush()?;
        }
        ["batches", first, last, then] => {
            let disk = store.branch(&name)?;
            for number in first.parse()?..=last.parse()? {
                write(&disk, number)?;
                if number % 3 == 0 {
                    disk.flush()?;
                }
            }
            disk.flush()?;
            if then == "defrag" {
                store.defrag(&name, &DefragOptions::default(), &mut |_| {
                    ControlFlow::Continue(())
                })?;
            }
        }
        _ => {
            let report = store.check(true, &mut |_| ControlFlow::Continue(()))?;
            if !report.damage.is_empty() {
                return Err(format!("damage: {:?}", report.damage).into());
            }
            let last = look(&store.branch(&name)?)?;
            println!("found {last} {}", store.stats()?.index.levels);
        }
    }
    Ok(store.close()?)
}

fn block_of(number: u64) -> Vec<u8> {
    number.to_le_bytes().repeat(BLOCK as usize / 8)
}

/// Returns the block that a batch writes beside the marks.
fn place(number: u64) -> u64 {
    2 * CLEARED + Random::new(number).below(PLACES)
}

fn write(disk: &Branch, number: u64) -> Result<(), Box<dyn Error>> {
    let block = block_of(number);
    let blocks = MARKS.into_iter().chain([place(number)]);
    let writes: Vec<(u64, &[u8])> = blocks.map(|at| (at * BLOCK, &block[..])).collect();
    Ok(disk.write_batch(&writes)?)
}

/// Returns the number of a disk's last batch.
///
/// # Errors
///
/// When the disk is not as that batch left it.
fn look(disk: &Branch) -> Result<u64, Box<dyn Error>> {
    let read = |at: u64| -> Result<Vec<u8>, Box<dyn Error>> {
        let mut block = vec![0; BLOCK as usize];
        disk.read_at(&mut block, at * BLOCK)?;
        Ok(block)
    };
    let first = read(MARKS[0])?;
    let last = u64::from_le_bytes(first[..8].try_into()?);
    let mut expected: BTreeMap<u64, u64> = (1..=last).map(|number| (place(number), number)).collect();
    expected.extend(MARKS.map(|mark| (mark, last)));
    for (at, number) in expected {
        if read(at)? != block_of(number) {
            return Err(format!("block {at} is not that of batch {number}, of {last}").into());
        }
    }
    let extents = disk.extents(0..2 * CLEARED * BLOCK)?;
    let cleared = extents.iter().filter(|extent| extent.kind == ExtentKind::Zero);
    let (count, bytes) = cleared.fold((0, 0), |(count, bytes), extent| {
        (count + 1, bytes + extent.length)
    });
    if (count, bytes) != (CLEARED, CLEARED * BLOCK) {
        return Err(format!("{count} extents of {bytes} zeroes").into());
    }
    Ok(last)
}

#[test]
#[ignore = "the program that the others run"]
fn program() {
    let (Ok(task), Some(directory)) = (std::env::var(TASK), std::env::var_os(STORE)) else {
        return;
    };
    if let Err(error) = perform(&task, Path::new(&directory)) {
        eprintln!("{error}");
        // As a program that fails, and does not panic.
        std::process::exit(1);
    }
}

fn library(root: &Path, levels: &Arc<AtomicU64>) -> Library {
    Library {
        directory: root.join("store"),
        last: 0,
        in_flight: 0,
        is_made: false,
        levels: Arc::clone(levels),
    }
}

#[test]
fn batches_survive_power_cuts() {
    let levels = Arc::default();
    if torture::survives("batches_survive_power_cuts", CUTS, |root| library(root, &levels)) {
        let levels = levels.load(Ordering::Relaxed);
        assert!(levels >= 3, "no index had more than {levels} levels");
    }
}

#[test]
fn a_planted_bug_is_caught() {
    let levels = Arc::default();
    torture::catches("a_planted_bug_is_caught", CUTS, |root| library(root, &levels));
}
