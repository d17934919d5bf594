//! Small durable writes, for long enough that what was written has to be drained meanwhile.

use std::cell::Cell;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tine_store::Branch;

use crate::Result;
use crate::data::{BLOCK, BLOCK_BYTES, Random};
use crate::place::Place;
use crate::raw::{AlignedBlock, RawFile};
use crate::store::bed::Bed;
use crate::suite::Context;
use bench_measure::{Comparison, Effort, Goal, Sample, Unit};

const THREADS: u64 = 16;

/// Writes random blocks, each made durable, until the time is up. Returns which blocks, with their last versions, and
/// how many writes that took.
fn commit_for(
    context: &Context<'_>,
    duration: Duration,
    seed: u64,
    disk_blocks: u64,
    mut write: impl FnMut(&[u8], u64) -> Result,
) -> Result<(HashMap<u64, u64>, u64, Duration)> {
    let mut random = Random::new(seed);
    let mut aligned = AlignedBlock::new();
    let mut written = Vec::new();
    let begun = Instant::now();
    while begun.elapsed() < duration {
        let block = random.below(disk_blocks);
        let version = written.len() as u64 + 1;
        let bytes = aligned.bytes();
        context.blocks.fill(bytes, block, version);
        write(bytes, block)?;
        written.push(block);
    }
    let elapsed = begun.elapsed();
    let count = written.len() as u64;
    Ok((written.into_iter().zip(1..).collect(), count, elapsed))
}

/// Reads back what was written, or some of it.
fn verify(
    context: &Context<'_>,
    written: &HashMap<u64, u64>,
    mut read: impl FnMut(&mut [u8], u64) -> Result,
) -> Result {
    let most = if context.scale.verify_all {
        usize::MAX
    } else {
        2000
    };
    let mut buffer = vec![0; BLOCK];
    for (&block, &version) in written.iter().take(most) {
        read(&mut buffer, block * BLOCK_BYTES)?;
        context.blocks.check(&buffer, block, version)?;
    }
    Ok(())
}

pub(super) fn commit(context: &Context<'_>) -> Result {
    let scale = context.scale;
    let room = context.place.room("commit")?;
    let raw = RawFile::create(&room.join("raw"), scale.disk_bytes, &context.blocks)?;
    let mut bed = Bed::create(room.join("store"), scale)?;
    bed.golden_in_order("golden", scale.disk_bytes, &context.blocks)?;
    bed.reopen()?;
    let (duration, disk_blocks) = (scale.sustained, scale.disk_blocks());
    let raw_round = |round: u32, write: &dyn Fn(&[u8], u64) -> Result| -> Result<Sample> {
        use std::os::unix::fs::FileExt;
        raw.drop_cache()?;
        let seed = 300 + u64::from(round);
        let (written, count, elapsed) = commit_for(context, duration, seed, disk_blocks, write)?;
        verify(context, &written, |bytes, at| {
            Ok(raw.file.read_exact_at(bytes, at)?)
        })?;
        Ok(Sample::rate(count, elapsed).with(Effort::of(1, BLOCK_BYTES, 1)))
    };

    let drained = Cell::new(0);
    let title = format!("4 KiB random write, each flushed, sustained for {duration:?}");
    let mut row = Comparison::new("commit", title, Unit::PerSecond);
    row.add_fn("tine", |round| {
        let sample = {
            let fork = bed.fork("golden", "fork")?;
            let before = bed.store()?.stats()?.segments.bytes;
            let mark = bed.counts.mark();
            let seed = 300 + u64::from(round);
            let (written, count, elapsed) =
                commit_for(context, duration, seed, disk_blocks, |bytes, block| {
                    fork.write_at(bytes, block * BLOCK_BYTES)?;
                    Ok(fork.flush()?)
                })?;
            let effort = bed.counts.since(mark, count);
            let now = bed.store()?.stats()?.segments.bytes;
            drained.set(drained.get().max(now.saturating_sub(before)));
            verify(context, &written, |bytes, at| Ok(fork.read_at(bytes, at)?))?;
            Sample::rate(count, elapsed).with(effort)
        };
        bed.drop_branch("fork")?;
        bed.reopen()?;
        Ok(sample)
    });
    row.add_fn("pwrite + fdatasync", |round| {
        raw_round(round, &|bytes, block| raw.write_synced(bytes, block))
    });
    row.add_fn("O_DIRECT pwrite + fdatasync", |round| {
        raw_round(round, &|bytes, block| raw.write_synced_direct(bytes, block))
    });
    row.target("tine", Goal::AtLeast(0.9, "pwrite + fdatasync".into()));
    row.target("tine", Goal::AtLeast(0.7, "O_DIRECT pwrite + fdatasync".into()));
    row.note("the raw file is at its best: preallocated, written once, its cache dropped");
    context.run_and_look(row, || Ok(drained_note(drained.get())))
}

/// Says how much went from the journal to its place beside the commits of a round.
fn drained_note(bytes: u64) -> String {
    format!(
        "in a round up to {} MiB of segments came from draining",
        bytes >> 20
    )
}

/// Lets every thread commit for a while; returns the rate of all together and the writes.
fn together(
    context: &Context<'_>,
    round: u32,
    disk_blocks: u64,
    write: impl Fn(u64, &[u8], u64) -> Result + Sync,
    read: impl Fn(u64, &mut [u8], u64) -> Result + Sync,
) -> Result<(Sample, u64)> {
    let duration = context.scale.sustained;
    let total = AtomicU64::new(0);
    let blocks = &context.blocks;
    let begun = Instant::now();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                let (total, write) = (&total, &write);
                scope.spawn(move || -> Result<u64> {
                    let mut random = Random::new(400 + u64::from(round) * THREADS + thread);
                    let mut buffer = vec![0; BLOCK];
                    let mut last = 0;
                    let mut count = 0;
                    while begun.elapsed() < duration {
                        // Its own blocks, so that on one branch too it can tell what it wrote.
                        last = random.below(disk_blocks / THREADS) * THREADS + thread;
                        count += 1;
                        blocks.fill(&mut buffer, last, count);
                        write(thread, &buffer, last)?;
                    }
                    total.fetch_add(count, Ordering::Relaxed);
                    // The last write is the block's newest version, whichever block that is.
                    Ok(last)
                })
            })
            .collect();
        let ended = threads
            .into_iter()
            .map(|thread| thread.join().map_err(|_| "a thread panicked")?)
            .collect::<Result<Vec<u64>>>();
        let elapsed = begun.elapsed();
        let mut buffer = vec![0; BLOCK];
        for (thread, block) in (0..).zip(ended?) {
            read(thread, &mut buffer, block * BLOCK_BYTES)?;
            blocks.version(&buffer, block)?;
        }
        let total = total.load(Ordering::Relaxed);
        Ok((Sample::rate(total, elapsed), total))
    })
}

/// Files that were preallocated and written once, one for each thread.
fn files(context: &Context<'_>, room: &Place, bytes: u64) -> Result<Vec<RawFile>> {
    (0..THREADS)
        .map(|thread| RawFile::create(&room.join(format!("raw-{thread}")), bytes, &context.blocks))
        .collect()
}

pub(super) fn threads(context: &Context<'_>) -> Result {
    use std::os::unix::fs::FileExt;
    let scale = context.scale;
    let room = context.place.room("threads")?;
    let bytes = scale.disk_bytes / THREADS;
    let disk_blocks = bytes / BLOCK_BYTES;
    let files = files(context, &room, bytes)?;
    let bed = Bed::create(room.join("store"), scale)?;
    bed.golden_in_order("golden", bytes, &context.blocks)?;
    let forks = (0..THREADS)
        .map(|thread| bed.fork("golden", &format!("fork-{thread}")))
        .collect::<Result<Vec<Branch>>>()?;
    let drained = Cell::new(0);
    let tine = |round, branch: &(dyn Fn(u64) -> usize + Sync)| -> Result<Sample> {
        let before = bed.store()?.stats()?.segments.bytes;
        let mark = bed.counts.mark();
        let (sample, writes) = together(
            context,
            round,
            disk_blocks,
            |thread, piece, block| {
                let fork = &forks[branch(thread)];
                fork.write_at(piece, block * BLOCK_BYTES)?;
                Ok(fork.flush()?)
            },
            |thread, piece, at| Ok(forks[branch(thread)].read_at(piece, at)?),
        )?;
        let effort = bed.counts.since(mark, writes);
        let now = bed.store()?.stats()?.segments.bytes;
        drained.set(drained.get().max(now.saturating_sub(before)));
        Ok(sample.with(effort))
    };

    let title = format!(
        "4 KiB random write, each flushed, {THREADS} threads, for {:?}",
        scale.sustained
    );
    let mut row = Comparison::new("threads", title, Unit::PerSecond);
    row.add_fn("tine, a branch each", |round| {
        tine(round, &|thread| thread as usize)
    });
    row.add_fn("tine, one branch", |round| tine(round, &|_| 0));
    row.add_fn("pwrite + fdatasync, a file each", |round| {
        for file in &files {
            file.drop_cache()?;
        }
        let (sample, _) = together(
            context,
            round,
            disk_blocks,
            |thread, piece, block| files[thread as usize].write_synced(piece, block),
            |thread, piece, at| Ok(files[thread as usize].file.read_exact_at(piece, at)?),
        )?;
        Ok(sample.with(Effort::of(1, BLOCK_BYTES, 1)))
    });
    let peer = "pwrite + fdatasync, a file each";
    row.target("tine, a branch each", Goal::AtLeast(0.9, peer.into()));
    row.target("tine, one branch", Goal::AtLeast(0.8, peer.into()));
    row.note("the raw files are at their best: preallocated, written once, their cache dropped");
    context.run_and_look(row, || Ok(drained_note(drained.get())))
}
