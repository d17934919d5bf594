//! Every short history over a small alphabet, with a crash before every change that its last operation makes and one
//! after it, bounded subsets of what was not synced, and a second crash at every change of the recovery.
//!
//! | operations | in every run | with `TINE_DEPTH=5` |
//! |---|---|---|
//! | 1 | subsets; second crashes, usual | subsets; second crashes, usual |
//! | 2 | subsets; second crashes, few | subsets; second crashes, usual |
//! | 3 | subsets | subsets; second crashes, usual |
//! | 4 | few | subsets; second crashes, few |
//! | 5 | | subsets |
//!
//! *Few* outcomes of a crash: the process dies, or the power is cut and all that was not synced is lost. *Usual*: also
//! all of it is kept, or torn, or the process dies and unsynced pages of the journal arrive late. *Subsets*: also each of
//! the first twelve unsynced things is lost where the others are kept or torn, and kept where they are lost. A *second
//! crash* follows where the process died, where all was lost and where all was kept; it comes before every change that
//! the recovery makes and after its end. There is none behind a torn or a mixed outcome.
//!
//! Crashes in earlier operations belong to shorter histories. The medium keeps a fork of itself from before every
//! change, so a history runs once for all its crashes, and [`Prover`] recovers from each state of the medium once for
//! all histories. Left out are histories that are others in disguise:
//!
//! - with a refused operation: it changes nothing (what is refused is what the random histories of `model.rs` look at);
//! - with a flush, drain or reclaim that neither changed the medium nor what was told. None of the three does anything
//!   in memory when it finds nothing to do. So the history is a shorter one;
//! - with a write to one branch right behind a write or a flush of the other. A write that fits into the buffer, as all of
//!   them do together, only touches its own head, and a flush its own branch and the journal; so both orders lead to the
//!   same engine, and the one in which the write comes first (of two writes, that to `a`) is gone through. (Not so where
//!   writes go past the buffer: they make segments.)
//! - with a crash or a clean close after which medium and world are those of another history that has as many operations
//!   left: a process that begins knows nothing else. Numbers of writes may differ, since those still to come were in
//!   neither history used before.

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread;

use parking_lot::Mutex;
use tine_store::medium::simulated::{Chooser, Digester, SimulatedMedium};

use super::alphabet::{Alphabet, CHECKPOINT, CONFIG, branches, write};
use super::catch::catch;
use super::content::BLOCK;
use super::expect::tell;
use super::ops::{Op, Step};
use super::outcomes::Variety;
use super::prover::{Proved, Prover};
use super::runner::{Config, Runner, Wrong};
use super::world::{Target, World};

/// How far to go: the longest histories for which each thing is done.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Anything: a crash at every change, with [`Variety::Few`] outcomes.
    pub(crate) depth: usize,
    /// [`Variety::Subsets`] outcomes of these crashes.
    pub(crate) subsets: usize,
    /// Second crashes with [`Variety::Few`] outcomes.
    pub(crate) second_crash: usize,
    /// Second crashes with [`Variety::Usual`] outcomes.
    pub(crate) second_usual: usize,
}

impl Bounds {
    /// What the tests of every day go through.
    pub(crate) const SHORT: Self = Self {
        depth: 4,
        subsets: 3,
        second_crash: 2,
        second_usual: 1,
    };

    /// What is gone through with time: subsets everywhere, second crashes in histories shorter by one (or as told), with
    /// more outcomes in those shorter by two.
    pub(crate) fn of(depth: usize, second_crash: Option<usize>) -> Self {
        Self {
            depth,
            subsets: depth,
            second_crash: second_crash.unwrap_or(depth.saturating_sub(1)),
            second_usual: depth.saturating_sub(2),
        }
    }

    fn variety(&self, depth: usize) -> Variety {
        if depth <= self.subsets {
            Variety::Subsets
        } else {
            Variety::Few
        }
    }

    fn again(&self, depth: usize) -> Option<Variety> {
        if depth <= self.second_usual {
            Some(Variety::Usual)
        } else {
            (depth <= self.second_crash).then_some(Variety::Few)
        }
    }
}

/// What was gone through.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Explored {
    /// Histories that ran.
    pub(crate) histories: u64,
    /// Histories that turned out to be shorter ones, or others with the operations in another order, and all that begin
    /// like them.
    pub(crate) disguised: u64,
    /// Histories that came to a crash or a close with nothing new, and all that begin like them.
    pub(crate) merged: u64,
    pub(crate) proved: Proved,
}

impl fmt::Display for Explored {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            histories,
            disguised,
            merged,
            proved,
        } = self;
        write!(
            out,
            "{histories} histories ({disguised} in disguise and {merged} that met others left out), {proved}"
        )
    }
}

/// Goes through everything within the bounds; returns the first history that goes wrong, told in words. Of those as long
/// as it, others may be wrong too.
pub(crate) fn explore(alphabet: Alphabet, bounds: Bounds) -> Result<Explored, String> {
    let config = alphabet.config();
    let start = catch(|| start(&config, alphabet.disk_blocks())).unwrap_or_else(Err)?;
    let search = Search {
        alphabet,
        bounds,
        prover: Prover::new(config.clone()),
        config,
        bases: Mutex::default(),
        histories: AtomicU64::new(0),
        disguised: AtomicU64::new(0),
        merged: AtomicU64::new(0),
    };
    // Shortest first, so that the first failure is a short one.
    for depth in 1..=bounds.depth {
        search.level(&start, depth)?;
        if bounds.depth > 3 {
            println!("up to {depth} operations: {}", search.explored());
        }
    }
    Ok(search.explored())
}

/// Does some histories twice and returns how many; fails where the media differ. On that all skipping stands.
pub(crate) fn repeat() -> Result<u64, String> {
    let start = catch(|| start(&CONFIG, 2)).unwrap_or_else(Err)?;
    // No letter, but a write of one block.
    const ONE_BLOCK: usize = usize::MAX;
    let letters = branches(&[]).len();
    let mut histories = 0;
    for (first, second) in (0..letters).flat_map(|first| (0..letters).map(move |second| (first, second))) {
        let once = || {
            let mut runner = Runner::on(&CONFIG, start.medium.fork(), vec![start.world.clone()]);
            runner.recover(&[])?;
            let mut ops = Vec::new();
            // What has most to put in some order: a run for each of three branches, and two segments of one stretch.
            for letter in [0, 1, 4, 0, first, CHECKPOINT, ONE_BLOCK, second, CHECKPOINT] {
                let op = match letter {
                    ONE_BLOCK => write("a", 1, 90),
                    letter => branches(&ops).swap_remove(letter),
                };
                if tell(runner.world(), &op).is_ok() {
                    runner.step(&Step::plain(op.clone()))?;
                    ops.push(op);
                }
            }
            Ok((ops, runner.medium.digest()))
        };
        let (ops, one) = catch(once).unwrap_or_else(Err)?;
        let (_, other) = catch(once).unwrap_or_else(Err)?;
        if one != other {
            return Err(format!("{ops:?} leads to two media"));
        }
        histories += 1;
    }
    Ok(histories)
}

/// A store that no process has open, and what it has to show.
struct Base {
    medium: SimulatedMedium,
    world: World,
}

/// A place in the tree of histories.
#[derive(Clone)]
struct Place<'a> {
    base: &'a Base,
    /// All operations.
    ops: Vec<Op>,
    /// How many of them are behind the base.
    since: usize,
    /// The world after them.
    world: World,
}

struct Search {
    alphabet: Alphabet,
    config: Config,
    bounds: Bounds,
    prover: Prover,
    /// Which history first came to a base with so many operations left.
    bases: Mutex<HashMap<u128, Vec<Op>>>,
    histories: AtomicU64,
    disguised: AtomicU64,
    merged: AtomicU64,
}

/// The letters with which a thread's share of the histories begins.
type Share = [usize; 2];

impl Search {
    fn explored(&self) -> Explored {
        Explored {
            histories: self.histories.load(Ordering::Relaxed),
            disguised: self.disguised.load(Ordering::Relaxed),
            merged: self.merged.load(Ordering::Relaxed),
            proved: self.prover.proved(),
        }
    }

    /// Goes through all histories of a length, on all processors.
    fn level(&self, start: &Base, depth: usize) -> Result<(), String> {
        let letters = self.alphabet.letters(&[]).len();
        let shares: Vec<Share> = (0..letters)
            .flat_map(|first| (0..letters).map(move |second| [first, second]))
            .collect();
        let (next, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
        let failures = Mutex::new(Vec::new());
        let work = || {
            while !stop.load(Ordering::Relaxed) {
                let at = next.fetch_add(1, Ordering::Relaxed);
                let Some(share) = shares.get(at) else { return };
                let place = Place {
                    base: start,
                    ops: Vec::new(),
                    since: 0,
                    world: start.world.clone(),
                };
                if let Err(why) = self.below(&place, depth, share) {
                    failures.lock().push((at, why));
                    stop.store(true, Ordering::Relaxed);
                }
            }
        };
        let threads = thread::available_parallelism().map_or(1, usize::from);
        thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(work);
            }
        });
        // Shares are taken in order and those begun are finished, so usually it is the same one in every run.
        let first = failures.into_inner().into_iter().min();
        first.map_or(Ok(()), |(_, why)| Err(why))
    }

    /// Goes through all histories of a length that begin with a place, as far as they are of this thread's share.
    fn below(&self, place: &Place<'_>, depth: usize, share: &Share) -> Result<(), String> {
        let at = place.ops.len();
        for (letter, op) in self.alphabet.letters(&place.ops).into_iter().enumerate() {
            let mine = match share.get(at) {
                Some(&mine) => mine == letter,
                None => true,
            };
            // Shares of histories that have but one letter differ in nothing.
            if !mine || depth == 1 && share[1] > 0 {
                continue;
            }
            if self.alphabet.writes_swap() && swaps(place.ops.last(), &op) {
                self.disguised.fetch_add(1, Ordering::Relaxed);
                continue;
            }
            let Ok(world) = tell(&place.world, &op) else {
                continue;
            };
            let mut next = place.clone();
            next.ops.push(op);
            next.since += 1;
            next.world = world;
            let failed = |why| format!("{:?}:\n  {why}", next.ops);
            if next.ops.len() == depth {
                catch(|| self.history(&next))
                    .unwrap_or_else(Err)
                    .map_err(failed)?;
                continue;
            }
            let step = catch(|| self.step(&next, depth))
                .unwrap_or_else(Err)
                .map_err(failed)?;
            match step {
                Way::On(world) => {
                    next.world = world;
                    self.below(&next, depth, share)?;
                }
                Way::Rebased(base) => {
                    next.base = &base;
                    next.since = 0;
                    next.world = base.world.clone();
                    self.below(&next, depth, share)?;
                }
                Way::Nowhere => {}
            }
        }
        Ok(())
    }

    /// Does the operations up to the last one.
    fn runner(&self, place: &Place<'_>) -> Result<Runner, Wrong> {
        let (base, since) = (place.base, &place.ops[place.ops.len() - place.since..]);
        let mut runner = Runner::on(&self.config, base.medium.fork(), vec![base.world.clone()]);
        runner.recover(&[])?;
        for op in &since[..since.len() - 1] {
            runner.step(&Step::plain(op.clone()))?;
        }
        Ok(runner)
    }

    /// Does the last operation of a place and returns where that leads.
    fn step(&self, place: &Place<'_>, depth: usize) -> Result<Way, Wrong> {
        let mut runner = self.runner(place)?;
        let op = place.ops.last().expect("at least one operation");
        let before = (runner.world().clone(), runner.medium.counters().operations);
        match op {
            Op::Reopen => {
                runner.close()?;
                runner.worlds.iter_mut().for_each(World::close);
            }
            Op::Crash { fate } => {
                runner.medium.set_chooser(Chooser::seeded(0));
                runner.end(*fate);
            }
            op => {
                runner.step(&Step::plain(op.clone()))?;
                let idle = matches!(op, Op::Flush { .. } | Op::Drain | Op::Reclaim)
                    && before == (runner.world().clone(), runner.medium.counters().operations);
                if idle {
                    self.disguised.fetch_add(1, Ordering::Relaxed);
                    return Ok(Way::Nowhere);
                }
                return Ok(Way::On(runner.world().clone()));
            }
        }
        let medium = runner.medium.fork();
        runner.recover(&[])?;
        let world = runner.world().clone();
        let mut digester = Digester::default();
        (medium.digest(), &world, depth - place.ops.len()).hash(&mut digester);
        let mut bases = self.bases.lock();
        let first = bases
            .entry(digester.digest())
            .or_insert_with(|| place.ops.clone());
        if *first == place.ops {
            Ok(Way::Rebased(Base { medium, world }))
        } else {
            self.merged.fetch_add(1, Ordering::Relaxed);
            Ok(Way::Nowhere)
        }
    }

    /// Crashes at every change of a place's last operation, and after it.
    fn history(&self, place: &Place<'_>) -> Result<(), Wrong> {
        let depth = place.ops.len();
        let last = place.ops.last().expect("at least one operation");
        self.histories.fetch_add(1, Ordering::Relaxed);
        let mut runner = self.runner(place)?;
        let mut worlds = runner.worlds.clone();
        runner.medium.record();
        runner.step(&Step::plain(last.clone()))?;
        let moments = runner.medium.take_recorded();
        if !matches!(last, Op::Crash { .. }) {
            worlds.splice(0..0, runner.worlds.iter().cloned());
        }
        let (variety, again) = (self.bounds.variety(depth), self.bounds.again(depth));
        for (at, moment) in moments.iter().enumerate() {
            self.prover
                .prove(moment, &worlds, variety, again)
                .map_err(|why| format!("crash before change {} of the last operation, {why}", at + 1))?;
        }
        self.prover
            .prove(&runner.medium, &runner.worlds, variety, again)
            .map_err(|why| format!("crash at the end, {why}"))
    }
}

/// Where an operation leads.
enum Way {
    On(World),
    /// To a store that no process has open.
    Rebased(Base),
    /// To where another history leads too.
    Nowhere,
}

/// Tells whether an operation changes places with the one before it: see the [module](self).
fn swaps(before: Option<&Op>, op: &Op) -> bool {
    let Op::Write { name, .. } = op else { return false };
    match before {
        Some(Op::Write { name: before, .. }) => name < before,
        Some(Op::Flush { name: before }) => name != before,
        _ => false,
    }
}

/// Returns a closed store with two branches of so many blocks, and what it was told.
fn start(config: &Config, blocks: u64) -> Result<Base, Wrong> {
    let mut runner = Runner::create(config.clone(), Chooser::fixed(Vec::new(), 0))?;
    for op in [
        Op::Create {
            name: "a".into(),
            size: blocks * BLOCK as u64,
        },
        write("a", 0, 1),
        Op::Fork {
            source: Target("a".into(), None),
            name: "b".into(),
        },
        Op::Reopen,
    ] {
        runner.step(&Step::plain(op))?;
    }
    let world = runner.world().clone();
    runner.close()?;
    Ok(Base {
        medium: runner.medium.fork(),
        world,
    })
}
