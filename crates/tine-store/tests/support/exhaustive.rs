//! Every short history over a small alphabet, with a crash at every change that its last operation makes, bounded
//! subsets of what was not synced, and a second crash at every change of the recovery.
//!
//! Crashes in earlier operations belong to shorter histories. The medium keeps a fork of itself from before every
//! change, so a history runs once for all its crashes.

use tine_store::medium::simulated::{Chooser, SimulatedMedium};

use super::catch::catch;
use super::content::BLOCK;
use super::expect::tell;
use super::ops::{Fate, Op, Step};
use super::runner::{Config, Runner, Wrong};
use super::world::{Target, World};

/// How far to go.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Operations of the longest history.
    pub(crate) depth: usize,
    /// Longest history whose recoveries are interrupted too.
    pub(crate) second_crash: usize,
    /// Longest history in which each unsynced thing is lost and kept on its own.
    pub(crate) subsets: usize,
}

/// What was gone through.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Explored {
    pub(crate) histories: u64,
    pub(crate) recoveries: u64,
}

/// Goes through everything within the bounds; returns the first history that goes wrong, told in words.
pub(crate) fn explore(bounds: Bounds) -> Result<Explored, String> {
    let mut explored = Explored::default();
    let start = catch(start).unwrap_or_else(Err)?;
    // Shortest first, so that the first failure is a short one.
    for depth in 1..=bounds.depth {
        let mut ops = Vec::new();
        each_history(depth, &mut ops, &mut |ops| {
            let result = catch(|| one_history(&start, ops, bounds, &mut explored)).unwrap_or_else(Err);
            result.map_err(|why| format!("{ops:?}:\n  {why}"))
        })?;
    }
    Ok(explored)
}

/// A checkpoint with a burst of writes and flushes in the middle of it, before each of its changes in turn, on rings
/// that are full to some degrees; with a crash at every change of all that.
///
/// The burst of the larger ring goes once round it: it reaches the files that the checkpoint is about to free.
pub(crate) fn explore_interleaved() -> Result<Explored, String> {
    let mut explored = Explored::default();
    for (files, fill, burst) in [
        (3, 0, 10),
        (3, 3, 10),
        (3, 6, 10),
        (6, 9, 24),
        (6, 11, 24),
        (6, 13, 24),
    ] {
        for nth in 1.. {
            let result = catch(|| interleaved(files, fill, burst, nth, &mut explored)).unwrap_or_else(Err);
            let told = |why| {
                format!(
                    "{files} files, {fill} flushes, {burst} more before change {nth} of a checkpoint, {why}"
                )
            };
            if !result.map_err(told)? {
                break;
            }
        }
    }
    Ok(explored)
}

/// Returns whether the checkpoint was long enough to be interrupted there.
fn interleaved(files: u32, fill: u32, burst: u32, nth: u64, explored: &mut Explored) -> Result<bool, Wrong> {
    let config = Config {
        journal_file_bytes: 32 << 10,
        journal_files: files,
        buffer_bytes: 1 << 20,
        write_once: false,
    };
    let mut runner = Runner::create(config.clone(), Chooser::fixed(Vec::new(), 0))?;
    runner.step(&Step::plain(Op::Create {
        name: "a".into(),
        size: 4 * BLOCK as u64,
    }))?;
    let flushed = |id: u32| [write("a", u64::from(id % 4), id), Op::Flush { name: "a".into() }];
    for op in (1..=fill).flat_map(flushed) {
        runner.step(&Step::plain(op))?;
    }
    let others: Vec<Op> = (100..100 + burst).flat_map(flushed).collect();
    let before = runner.worlds.clone();
    runner.medium.record();
    let upkeep = Box::new(Op::Checkpoint);
    runner.step(&Step::plain(Op::During {
        upkeep,
        nth,
        others: others.clone(),
    }))?;
    explored.histories += 1;
    // Which of the others had returned at a moment is not known; what was flushed before them is.
    let mut worlds = before;
    for op in others.iter().filter(|op| matches!(op, Op::Write { .. })) {
        let next = tell(&worlds[0], op).map_err(|refusal| format!("{refusal:?}"))?;
        worlds = vec![next];
    }
    for (at, moment) in runner
        .medium
        .take_recorded()
        .iter()
        .enumerate()
        .skip(nth as usize - 1)
    {
        for (how, medium, _) in outcomes(moment, Variety::Usual) {
            explored.recoveries += 1;
            let mut runner = Runner::on(&config, medium, worlds.clone());
            runner
                .recover(&[])
                .map_err(|why| format!("crash before change {}, {how}: {why}", at + 1))?;
        }
    }
    Ok(runner.interrupted)
}

/// Returns a closed store with two branches, and what it was told.
fn start() -> Result<(SimulatedMedium, World), Wrong> {
    let mut runner = Runner::create(Config::SMALL, Chooser::fixed(Vec::new(), 0))?;
    for op in [
        Op::Create {
            name: "a".into(),
            size: 2 * BLOCK as u64,
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
    Ok((runner.medium.fork(), world))
}

fn write(name: &str, block: u64, id: u32) -> Op {
    Op::Write {
        name: name.into(),
        offset: block * BLOCK as u64,
        length: BLOCK as u64,
        id,
    }
}

/// Returns the alphabet at a place of the history; writes are numbered by their place.
fn alphabet(at: usize) -> Vec<Op> {
    let id = 10 + at as u32;
    let flush = |name: &str| Op::Flush { name: name.into() };
    vec![
        write("a", 0, id),
        write("b", 0, id),
        flush("a"),
        flush("b"),
        Op::Fork {
            source: Target("a".into(), None),
            name: "c".into(),
        },
        Op::Snapshot {
            snapshots: vec![("a".into(), "s".into())],
        },
        Op::Rollback {
            name: "a".into(),
            to: Some("s".into()),
            keep: None,
        },
        Op::Rollback {
            name: "b".into(),
            to: None,
            keep: None,
        },
        Op::Drop {
            names: vec!["b".into()],
        },
        Op::Resize {
            name: "a".into(),
            size: if at.is_multiple_of(2) {
                100
            } else {
                2 * BLOCK as u64
            },
        },
        Op::Drain,
        Op::Checkpoint,
        Op::Reclaim,
        Op::Reopen,
        Op::Crash { fate: Fate::Process },
        Op::Crash { fate: Fate::Power },
    ]
}

fn each_history(
    depth: usize,
    ops: &mut Vec<Op>,
    run: &mut impl FnMut(&[Op]) -> Result<(), String>,
) -> Result<(), String> {
    if ops.len() == depth {
        return run(ops);
    }
    for op in alphabet(ops.len()) {
        ops.push(op);
        each_history(depth, ops, run)?;
        ops.pop();
    }
    Ok(())
}

fn one_history(
    start: &(SimulatedMedium, World),
    ops: &[Op],
    bounds: Bounds,
    explored: &mut Explored,
) -> Result<(), Wrong> {
    let (last, before) = ops.split_last().expect("at least one operation");
    let mut runner = Runner::on(&Config::SMALL, start.0.fork(), vec![start.1.clone()]);
    runner.recover(&[])?;
    for op in before {
        // A history with a refused operation is a shorter one in disguise.
        if tell(runner.world(), op).is_err() {
            return Ok(());
        }
        runner.step(&Step::plain(op.clone()))?;
    }
    if tell(runner.world(), last).is_err() {
        return Ok(());
    }
    explored.histories += 1;
    let mut worlds = runner.worlds.clone();
    runner.medium.record();
    runner.step(&Step::plain(last.clone()))?;
    let moments = runner.medium.take_recorded();
    let end = (runner.medium.fork(), runner.worlds.clone());
    if !matches!(last, Op::Crash { .. }) {
        worlds.splice(0..0, end.1.iter().cloned());
    }
    for (at, moment) in moments.iter().enumerate() {
        crash_at(moment, &worlds, ops.len(), bounds, explored)
            .map_err(|why| format!("crash before change {} of the last operation, {why}", at + 1))?;
    }
    crash_at(&end.0, &end.1, ops.len(), bounds, explored).map_err(|why| format!("crash at the end, {why}"))
}

/// Lets the process die at a moment, in every way within the bounds, and recovers.
fn crash_at(
    moment: &SimulatedMedium,
    worlds: &[World],
    depth: usize,
    bounds: Bounds,
    explored: &mut Explored,
) -> Result<(), Wrong> {
    let variety = if depth <= bounds.subsets {
        Variety::Subsets
    } else {
        Variety::Usual
    };
    for (how, medium, twice) in outcomes(moment, variety) {
        let mut runner = Runner::on(&Config::SMALL, medium, worlds.to_vec());
        let twice = twice && depth <= bounds.second_crash;
        let second = if depth < bounds.second_crash {
            Variety::Usual
        } else {
            Variety::Few
        };
        if twice {
            runner.medium.record();
        }
        explored.recoveries += 1;
        runner.recover(&[]).map_err(|why| format!("{how}: {why}"))?;
        let after = runner.worlds.clone();
        let moments = runner.medium.take_recorded();
        for (at, moment) in moments.iter().enumerate() {
            for (then, medium, _) in outcomes(moment, second) {
                explored.recoveries += 1;
                // Nothing was answered before the opening was through, so the second one may end elsewhere.
                let mut runner = Runner::on(&Config::SMALL, medium, worlds.to_vec());
                runner
                    .recover(&[])
                    .map_err(|why| format!("{how}, again before change {}, {then}: {why}", at + 1))?;
            }
        }
        if twice {
            // What was shown stays, whatever happens to what the opening left unsynced.
            for (then, medium, _) in outcomes(&runner.medium, second) {
                explored.recoveries += 1;
                let mut runner = Runner::on(&Config::SMALL, medium, after.clone());
                runner
                    .recover(&[])
                    .map_err(|why| format!("{how}, opened, {then}: {why}"))?;
            }
        }
    }
    Ok(())
}

/// How many of the things that a crash may leave are tried.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Variety {
    /// Nothing is lost, or everything that was not synced.
    Few,
    /// Also all of it kept, all torn, and all arriving late.
    Usual,
    /// Also each lost or kept on its own.
    Subsets,
}

/// Returns what a crash may leave, with what was not synced lost, kept or torn, and whether a second crash should follow.
fn outcomes(moment: &SimulatedMedium, variety: Variety) -> Vec<(String, SimulatedMedium, bool)> {
    let process = moment.fork();
    process.crash_process(false);
    let mut found = vec![("the process dies".to_owned(), process, true)];
    if !moment.anything_volatile() {
        return found;
    }
    let cut = |prefix: Vec<usize>, rest: usize| {
        let medium = moment.fork();
        medium.set_chooser(Chooser::fixed(prefix, rest));
        medium.cut_power();
        medium
    };
    for (rest, how) in [
        (0, "unsynced is lost"),
        (1, "unsynced is kept"),
        (2, "unsynced is torn"),
    ] {
        let all = cut(Vec::new(), rest);
        let questions = all.chooser().sizes().len();
        found.push((how.to_owned(), all, rest < 2));
        if variety == Variety::Few {
            return found;
        }
        if variety == Variety::Usual || questions < 2 {
            continue;
        }
        for one in 0..questions.min(12) {
            let mut prefix = vec![rest; one];
            prefix.push(1 - rest.min(1));
            found.push((format!("{how} but number {one}"), cut(prefix, rest), false));
        }
    }
    if let Some(delayed) = delayed(moment) {
        found.push((
            "the process dies, unsynced pages arrive late".to_owned(),
            delayed,
            false,
        ));
    }
    found
}

fn delayed(moment: &SimulatedMedium) -> Option<SimulatedMedium> {
    let medium = moment.fork();
    medium.set_chooser(Chooser::fixed(Vec::new(), 1));
    medium.crash_process(true);
    (!medium.chooser().taken().is_empty()).then_some(medium)
}
