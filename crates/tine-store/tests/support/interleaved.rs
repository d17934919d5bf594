//! Upkeep that is interrupted: other operations in the middle of a checkpoint, before each of its changes in turn, and
//! a crash at every change of all that.

use tine_store::medium::simulated::Chooser;

use super::alphabet::write;
use super::catch::catch;
use super::content::BLOCK;
use super::expect::tell;
use super::ops::{Op, Step};
use super::outcomes::Variety;
use super::prover::{Proved, Prover};
use super::runner::{Config, Runner, Wrong};

/// A checkpoint with a burst of writes and flushes in the middle of it, before each of its changes in turn, on rings
/// that are full to some degrees; with a crash at every change of all that.
///
/// The burst of the larger ring goes once round it: it reaches the files that the checkpoint is about to free.
pub(crate) fn explore_interleaved() -> Result<(u64, Proved), String> {
    let mut histories = 0;
    let mut proved = Proved::default();
    for (files, fill, burst) in [
        (3, 0, 10),
        (3, 3, 10),
        (3, 6, 10),
        (6, 9, 24),
        (6, 11, 24),
        (6, 13, 24),
    ] {
        let config = Config {
            journal_file_bytes: 32 << 10,
            journal_files: files,
            buffer_bytes: 1 << 20,
            large_write_bytes: 128 << 10,
            write_once: false,
            small_nodes: false,
        };
        let prover = Prover::new(config.clone());
        for nth in 1.. {
            histories += 1;
            let result = catch(|| interleaved(&config, &prover, fill, burst, nth)).unwrap_or_else(Err);
            let told = |why| {
                format!(
                    "{files} files, {fill} flushes, {burst} more before change {nth} of a checkpoint, {why}"
                )
            };
            if !result.map_err(told)? {
                break;
            }
        }
        proved = proved + prover.proved();
    }
    Ok((histories, proved))
}

/// Returns whether the checkpoint was long enough to be interrupted there.
fn interleaved(config: &Config, prover: &Prover, fill: u32, burst: u32, nth: u64) -> Result<bool, Wrong> {
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
        prover
            .prove(moment, &worlds, Variety::Usual, None)
            .map_err(|why| format!("crash before change {}, {why}", at + 1))?;
    }
    Ok(runner.interrupted)
}

/// A defragmentation with writes to what it moves in the middle of it, before each of its changes in turn. Returns how
/// many that were.
pub(crate) fn explore_defragmentation() -> Result<u64, String> {
    for nth in 1.. {
        let interrupted = catch(|| defragmented(nth)).unwrap_or_else(Err);
        if !interrupted.map_err(|why| format!("writes before change {nth} of a defragmentation, {why}"))? {
            return Ok(nth - 1);
        }
    }
    unreachable!("it has an end")
}

/// Returns whether the defragmentation was long enough to be interrupted there.
fn defragmented(nth: u64) -> Result<bool, Wrong> {
    let config = Config {
        buffer_bytes: 64 << 10,
        ..Config::SMALL
    };
    let mut runner = Runner::create(config, Chooser::fixed(Vec::new(), 0))?;
    let create = |name: &str| Op::Create {
        name: name.into(),
        size: 12 * BLOCK as u64,
    };
    let halves = [(0..12).step_by(2), (1..12).step_by(2)];
    let scattered = halves.into_iter().flat_map(|half| {
        let writes = half.map(|block| write("a", block, 1 + block as u32));
        writes.chain([Op::Drain])
    });
    // What waits in memory besides is drained before the blocks have room that were found to be moved.
    let waiting = (0..12).map(|block| write("b", block, 50 + block as u32));
    for op in [create("a"), create("b")]
        .into_iter()
        .chain(scattered)
        .chain(waiting)
    {
        runner.step(&Step::plain(op))?;
    }
    let upkeep = Box::new(Op::Defrag {
        name: "a".into(),
        shared: false,
    });
    let others = vec![write("a", 3, 100), write("a", 8, 101)];
    runner.step(&Step::plain(Op::During { upkeep, nth, others }))?;
    Ok(runner.interrupted)
}
