//! Reading, the page cache warm or cold.

use std::ops::ControlFlow;
use std::os::unix::fs::FileExt;
use std::time::Instant;

use tine_store::{Branch, DefragOptions};

use crate::Result;
use crate::data::{BLOCK, BLOCK_BYTES, Blocks, LARGE, Random};
use crate::place::{Place, drop_cache_of_all};
use crate::raw::RawFile;
use crate::store::bed::{Bed, open_plainly, read_in_order};
use crate::suite::Context;
use bench_measure::{Comparison, Goal, Sample, Unit, timed};

/// Reads random blocks and has a glance at each.
fn read_at_random(
    context: &Context<'_>,
    round: u32,
    mut read: impl FnMut(&mut [u8], u64) -> Result,
) -> Result<Sample> {
    let scale = context.scale;
    let mut random = Random::new(100 + u64::from(round));
    let mut buffer = vec![0; BLOCK];
    let begun = Instant::now();
    for _ in 0..scale.reads {
        let block = random.below(scale.disk_blocks());
        read(&mut buffer, block * BLOCK_BYTES)?;
        Blocks::glance(&buffer, block)?;
    }
    Ok(Sample::each(scale.reads, begun.elapsed()))
}

/// Reads all of a branch once: verifies it, and warms the cache.
fn warm(context: &Context<'_>, branch: &Branch) -> Result {
    read_in_order(
        branch.size(),
        |bytes, at| Ok(branch.read_at(bytes, at)?),
        |bytes, first| context.blocks.check(bytes, first, 0),
    )
}

/// Makes a branch called `last` whose blocks were written at random over so many generations of forks.
fn generations(context: &Context<'_>, bed: &Bed, count: u64) -> Result {
    let scale = context.scale;
    let order = Random::new(2).shuffled(scale.disk_blocks());
    let mut branch = bed.store()?.create_branch(&"g-0".parse()?, scale.disk_bytes)?;
    let mut buffer = vec![0; BLOCK];
    for (generation, part) in order.chunks(order.len().div_ceil(count as usize)).enumerate() {
        for &block in part {
            context.blocks.fill(&mut buffer, block, 0);
            branch.write_at(&buffer, block * BLOCK_BYTES)?;
        }
        branch = bed.fork(branch.name().as_ref(), &format!("g-{}", generation + 1))?;
    }
    Ok(bed.store()?.rename(&branch.name(), &"last".parse()?)?)
}

pub(super) fn random(context: &Context<'_>) -> Result {
    let scale = context.scale;
    let room = context.place.room("read")?;
    let raw = RawFile::create(&room.join("raw"), scale.disk_bytes, &context.blocks)?;
    let mut flat = Bed::create(room.join("flat"), scale)?;
    flat.golden_at_random("golden", scale.disk_bytes, &context.blocks)?;
    flat.fork("golden", "last")?;
    let mut deep = Bed::create(room.join("deep"), scale)?;
    generations(context, &deep, scale.many)?;
    flat.close()?;
    deep.close()?;
    // Syncs are not counted here: a read takes so little that counting would show.
    let flat = open_plainly(&flat.directory, scale.buffer_bytes)?;
    let deep = open_plainly(&deep.directory, scale.buffer_bytes)?;
    let (shallow, deeper) = (flat.branch(&"last".parse()?)?, deep.branch(&"last".parse()?)?);
    raw.read_all()?;
    warm(context, &shallow)?;
    warm(context, &deeper)?;

    let mut row = Comparison::new(
        "read",
        "4 KiB random read, cache warm, a fork of a branch fully written at random",
        Unit::Seconds,
    );
    let depth = format!("tine, depth {}", scale.many);
    row.add_fn("pread", |round| {
        read_at_random(context, round, |bytes, at| {
            Ok(raw.file.read_exact_at(bytes, at)?)
        })
    });
    row.add_fn("tine, depth 1", |round| {
        read_at_random(context, round, |bytes, at| Ok(shallow.read_at(bytes, at)?))
    });
    row.add_fn(depth.as_str(), |round| {
        read_at_random(context, round, |bytes, at| Ok(deeper.read_at(bytes, at)?))
    });
    row.target("tine, depth 1", Goal::AtMost(1.5, "pread".into()));
    row.target(&depth, Goal::AtMost(1.1, "tine, depth 1".into()));
    row.note("tine verifies a checksum of every block, pread none");
    context.run_and_look(row, || {
        let (flat, deep) = (flat.stats()?, deep.stats()?);
        Ok(format!(
            "at depth 1 an index of {} layers over {} segments, at depth {} one of {} over {}",
            flat.index.layers, flat.segments.count, scale.many, deep.index.layers, deep.segments.count
        ))
    })
}

/// Reads a whole disk in order, in large pieces.
fn read_all_in_order(bytes: u64, read: &mut dyn FnMut(&mut [u8], u64) -> Result) -> Result<Sample> {
    let glance = |bytes: &[u8], first| Blocks::glance(bytes, first);
    let (elapsed, ()) = timed(|| read_in_order(bytes, &mut *read, glance))?;
    Ok(Sample::rate(bytes, elapsed))
}

pub(super) fn sequential(context: &Context<'_>) -> Result {
    let scale = context.scale;
    let bytes = scale.disk_bytes;
    let room = context.place.room("sequential-read")?;
    let raw = RawFile::create(&room.join("raw"), bytes, &context.blocks)?;
    let (mut ordered, mut rewritten) = two_beds(context, &room)?;
    let mut moved = Bed::create(room.join("defragmented"), scale)?;
    moved.golden_rewritten("golden", bytes, &context.blocks)?;
    let begun = Instant::now();
    let report = moved
        .store()?
        .defrag(&"golden".parse()?, &DefragOptions::default(), &mut |_| {
            ControlFlow::Continue(())
        })?;
    let took = begun.elapsed();
    moved.fork("golden", "last")?;
    for bed in [&mut ordered, &mut rewritten, &mut moved] {
        bed.reopen()?;
    }
    let (in_order, at_random) = (ordered.branch("last")?, rewritten.branch("last")?);
    let defragmented = moved.branch("last")?;
    raw.read_all()?;
    for branch in [&in_order, &at_random, &defragmented] {
        warm(context, branch)?;
    }

    let mut row = Comparison::new(
        "sequential-read",
        "1 MiB sequential read, cache warm",
        Unit::BytesPerSecond,
    );
    row.add_fn("pread", |_| {
        read_all_in_order(bytes, &mut |bytes, at| Ok(raw.file.read_exact_at(bytes, at)?))
    });
    row.add_fn("tine", |_| {
        read_all_in_order(bytes, &mut |bytes, at| Ok(in_order.read_at(bytes, at)?))
    });
    row.add_fn("tine, rewritten at random", |_| {
        read_all_in_order(bytes, &mut |bytes, at| Ok(at_random.read_at(bytes, at)?))
    });
    row.add_fn("tine, then defragmented", |_| {
        read_all_in_order(bytes, &mut |bytes, at| Ok(defragmented.read_at(bytes, at)?))
    });
    row.baseline("tine");
    row.target("tine", Goal::AtLeast(0.9, "pread".into()));
    row.target("tine, then defragmented", Goal::AtLeast(0.95, "tine".into()));
    row.note("tine verifies a checksum of every block, pread none");
    row.note(format!(
        "defragmenting wrote {} MiB in {:.1} s: {} pieces became {}",
        report.rewritten >> 20,
        took.as_secs_f64(),
        report.before.extents,
        report.after.extents
    ));
    context.run(row);
    Ok(())
}

/// Makes two stores with a fork called `last` each: of a branch that was written in order, and of one that was rewritten
/// block by block at random after that.
fn two_beds(context: &Context<'_>, room: &Place) -> Result<(Bed, Bed)> {
    let scale = context.scale;
    let ordered = Bed::create(room.join("in-order"), scale)?;
    ordered.golden_in_order("golden", scale.disk_bytes, &context.blocks)?;
    ordered.fork("golden", "last")?;
    let rewritten = Bed::create(room.join("rewritten"), scale)?;
    rewritten.golden_rewritten("golden", scale.disk_bytes, &context.blocks)?;
    rewritten.fork("golden", "last")?;
    Ok((ordered, rewritten))
}

/// Opens a fork with nothing in any cache: neither in the kernel's nor in the store's.
fn open_cold(bed: &mut Bed) -> Result<Branch> {
    bed.close()?;
    drop_cache_of_all(&bed.directory)?;
    bed.open()?;
    bed.branch("last")
}

fn read_cold(bed: &mut Bed, bytes: u64) -> Result<Sample> {
    let branch = open_cold(bed)?;
    read_all_in_order(bytes, &mut |bytes, at| Ok(branch.read_at(bytes, at)?))
}

/// Large reads of a row of them at random places.
const SCATTERED_READS: u64 = 32;

/// Reads large pieces at random places.
fn read_large_at_random(
    bytes: u64,
    round: u32,
    mut read: impl FnMut(&mut [u8], u64) -> Result,
) -> Result<Sample> {
    let mut random = Random::new(200 + u64::from(round));
    let mut buffer = vec![0; LARGE];
    let begun = Instant::now();
    for _ in 0..SCATTERED_READS {
        let block = random.below((bytes - LARGE as u64) / BLOCK_BYTES);
        read(&mut buffer, block * BLOCK_BYTES)?;
        Blocks::glance(&buffer, block)?;
    }
    Ok(Sample::each(SCATTERED_READS, begun.elapsed()))
}

pub(super) fn cold(context: &Context<'_>) -> Result {
    let bytes = context.scale.disk_bytes;
    let room = context.place.room("cold-read")?;
    let raw = RawFile::create(&room.join("raw"), bytes, &context.blocks)?;
    let (mut ordered, mut rewritten) = two_beds(context, &room)?;

    let mut row = Comparison::new(
        "cold-read",
        "1 MiB sequential read, nothing in the cache",
        Unit::BytesPerSecond,
    );
    row.add_fn("pread", |_| {
        raw.drop_cache()?;
        read_all_in_order(bytes, &mut |bytes, at| Ok(raw.file.read_exact_at(bytes, at)?))
    });
    row.add_fn("tine", |_| read_cold(&mut ordered, bytes));
    row.add_fn("tine, rewritten at random", |_| read_cold(&mut rewritten, bytes));
    row.baseline("tine");
    row.target("tine", Goal::AtLeast(0.9, "pread".into()));
    row.target("tine, rewritten at random", Goal::AtLeast(0.5, "pread".into()));
    row.note("tine verifies a checksum of every block, pread none");
    context.run(row);

    let mut row = Comparison::new(
        "cold-read",
        "1 MiB read at a random place, nothing in the cache",
        Unit::Seconds,
    );
    row.add_fn("pread", |round| {
        raw.drop_cache()?;
        read_large_at_random(bytes, round, |bytes, at| Ok(raw.file.read_exact_at(bytes, at)?))
    });
    row.add_fn("tine", |round| {
        let branch = open_cold(&mut ordered)?;
        read_large_at_random(bytes, round, |bytes, at| Ok(branch.read_at(bytes, at)?))
    });
    row.add_fn("tine, rewritten at random", |round| {
        let branch = open_cold(&mut rewritten)?;
        read_large_at_random(bytes, round, |bytes, at| Ok(branch.read_at(bytes, at)?))
    });
    row.note("index nodes are read too; of what was rewritten at random a read covers hundreds of extents");
    context.run(row);
    Ok(())
}
