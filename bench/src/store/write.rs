//! Writing a lot, made durable once at the end.

use std::os::unix::fs::FileExt;

use crate::Result;
use crate::data::{BLOCK_BYTES, LARGE};
use crate::memory::have_backed;
use crate::raw::RawFile;
use crate::store::bed::{Bed, Scattered, read_in_order, write_in_order};
use crate::suite::Context;
use bench_measure::{Comparison, Effort, Goal, Sample, Unit, timed};

fn scattered(context: &Context<'_>, round: u32) -> Scattered {
    Scattered {
        seed: 200 + u64::from(round),
        writes: context.scale.write_bytes / BLOCK_BYTES,
        disk_blocks: context.scale.disk_blocks(),
        version: u64::from(round) + 1,
    }
}

/// Overwrites random blocks of a raw file, then syncs.
fn overwrite(context: &Context<'_>, raw: &RawFile, round: u32) -> Result<Sample> {
    let writes = scattered(context, round);
    have_backed(context.scale.backed_bytes);
    let (elapsed, ()) = timed(|| {
        writes.each(&context.blocks, |bytes, at| {
            Ok(raw.file.write_all_at(bytes, at)?)
        })?;
        Ok(raw.file.sync_data()?)
    })?;
    writes.verify(&context.blocks, context.scale.verify_all, |bytes, at| {
        Ok(raw.file.read_exact_at(bytes, at)?)
    })?;
    let effort = Effort::of(1, context.scale.write_bytes, writes.writes);
    Ok(Sample::rate(writes.writes, elapsed).with(effort))
}

/// Writes random blocks to a new fork of a golden that has just been read, then flushes.
fn write_to_fork(context: &Context<'_>, bed: &mut Bed, round: u32) -> Result<Sample> {
    let writes = scattered(context, round);
    let sample = {
        let golden = bed.branch("golden")?;
        read_in_order(
            context.scale.disk_bytes,
            |bytes, at| Ok(golden.read_at(bytes, at)?),
            |_, _| Ok(()),
        )?;
        let fork = bed.fork("golden", "fork")?;
        have_backed(context.scale.backed_bytes);
        let mark = bed.counts.mark();
        let (elapsed, ()) = timed(|| {
            writes.each(&context.blocks, |bytes, at| Ok(fork.write_at(bytes, at)?))?;
            Ok(fork.flush()?)
        })?;
        let effort = bed.counts.since(mark, writes.writes);
        writes.verify(&context.blocks, context.scale.verify_all, |bytes, at| {
            Ok(fork.read_at(bytes, at)?)
        })?;
        Sample::rate(writes.writes, elapsed).with(effort)
    };
    // What was written is given back here, not under the next contestant's clock.
    bed.drop_branch("fork")?;
    bed.reopen()?;
    Ok(sample)
}

pub(super) fn random(context: &Context<'_>) -> Result {
    let scale = context.scale;
    let room = context.place.room("write")?;
    let raw = RawFile::create(&room.join("raw"), scale.disk_bytes, &context.blocks)?;
    let mut bed = Bed::create(room.join("store"), scale)?;
    bed.golden_in_order("golden", scale.disk_bytes, &context.blocks)?;
    bed.reopen()?;

    let title = format!(
        "4 KiB random write of {} MiB, buffer of {} MiB, final flush included",
        scale.write_bytes >> 20,
        scale.buffer_bytes >> 20
    );
    let mut row = Comparison::new("write", title, Unit::PerSecond);
    row.add_fn("tine, new fork, golden just read", |round| {
        write_to_fork(context, &mut bed, round)
    });
    row.add_fn("pwrite, file just read", |round| {
        raw.drop_cache()?;
        raw.read_all()?;
        overwrite(context, &raw, round)
    });
    row.add_fn("pwrite, cache dropped", |round| {
        raw.drop_cache()?;
        overwrite(context, &raw, round)
    });
    let tine = "tine, new fork, golden just read";
    row.target(tine, Goal::AtLeast(5.0, "pwrite, file just read".into()));
    row.target(tine, Goal::AtLeast(0.6, "pwrite, cache dropped".into()));
    row.note(
        "a raw file that readahead brought in has large folios, in which ext4 is slow to overwrite 4 KiB",
    );
    row.note("pwrite may keep everything in memory until its sync, tine no more than its buffer");
    context.run(row);
    Ok(())
}

pub(super) fn sequential(context: &Context<'_>) -> Result {
    let scale = context.scale;
    let bytes = scale.write_bytes;
    let room = context.place.room("sequential-write")?;
    let raw = RawFile::create(&room.join("raw"), bytes, &context.blocks)?;
    let mut bed = Bed::create(room.join("store"), scale)?;
    bed.golden_in_order("golden", bytes, &context.blocks)?;
    bed.reopen()?;

    let title = format!(
        "1 MiB sequential write of {} MiB, final flush included",
        bytes >> 20
    );
    let mut row = Comparison::new("sequential-write", title, Unit::BytesPerSecond);
    let writes = bytes.div_ceil(LARGE as u64);
    row.add_fn("tine, new fork", |round| {
        let version = u64::from(round) + 1;
        let sample = {
            let fork = bed.fork("golden", "fork")?;
            have_backed(context.scale.backed_bytes);
            let mark = bed.counts.mark();
            let (elapsed, ()) = timed(|| {
                write_in_order(&fork, bytes, &context.blocks, version)?;
                Ok(fork.flush()?)
            })?;
            let effort = bed.counts.since(mark, writes);
            read_in_order(
                bytes,
                |piece, at| Ok(fork.read_at(piece, at)?),
                |piece, first| context.blocks.check(piece, first, version),
            )?;
            Sample::rate(bytes, elapsed).with(effort)
        };
        bed.drop_branch("fork")?;
        bed.reopen()?;
        Ok(sample)
    });
    row.add_fn("pwrite", |round| {
        let version = u64::from(round) + 1;
        let mut buffer = vec![0; LARGE];
        have_backed(context.scale.backed_bytes);
        let (elapsed, ()) = timed(|| {
            for at in (0..bytes).step_by(LARGE) {
                let part = (bytes - at).min(LARGE as u64) as usize;
                context
                    .blocks
                    .fill(&mut buffer[..part], at / BLOCK_BYTES, version);
                raw.file.write_all_at(&buffer[..part], at)?;
            }
            Ok(raw.file.sync_data()?)
        })?;
        read_in_order(
            bytes,
            |piece, at| Ok(raw.file.read_exact_at(piece, at)?),
            |piece, first| context.blocks.check(piece, first, version),
        )?;
        Ok(Sample::rate(bytes, elapsed).with(Effort::of(1, bytes, writes)))
    });
    row.target("tine, new fork", Goal::AtLeast(0.85, "pwrite".into()));
    context.run(row);
    Ok(())
}
