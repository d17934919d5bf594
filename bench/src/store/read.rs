//! Reading, the page cache warm.

use std::os::unix::fs::FileExt;
use std::time::Instant;

use tine_store::Branch;

use crate::Result;
use crate::data::{BLOCK, BLOCK_BYTES, Blocks, Random};
use crate::measure::{Comparison, Goal, Sample, Unit, timed};
use crate::raw::RawFile;
use crate::store::Context;
use crate::store::bed::{Bed, read_in_order};

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
    flat.reopen()?;
    deep.reopen()?;
    let (shallow, deeper) = (flat.branch("last")?, deep.branch("last")?);
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
    context.run(row);
    Ok(())
}

pub(super) fn sequential(context: &Context<'_>) -> Result {
    let scale = context.scale;
    let room = context.place.room("sequential-read")?;
    let raw = RawFile::create(&room.join("raw"), scale.disk_bytes, &context.blocks)?;
    let mut bed = Bed::create(room.join("store"), scale)?;
    bed.golden_in_order("golden", scale.disk_bytes, &context.blocks)?;
    bed.fork("golden", "last")?;
    bed.reopen()?;
    let branch = bed.branch("last")?;
    raw.read_all()?;
    warm(context, &branch)?;

    let mut row = Comparison::new(
        "sequential-read",
        "1 MiB sequential read, cache warm",
        Unit::BytesPerSecond,
    );
    let all = |read: &mut dyn FnMut(&mut [u8], u64) -> Result| {
        let glance = |bytes: &[u8], first| Blocks::glance(bytes, first);
        let (elapsed, ()) = timed(|| read_in_order(scale.disk_bytes, &mut *read, glance))?;
        Ok(Sample::rate(scale.disk_bytes, elapsed))
    };
    row.add_fn("pread", |_| {
        all(&mut |bytes, at| Ok(raw.file.read_exact_at(bytes, at)?))
    });
    row.add_fn("tine", |_| all(&mut |bytes, at| Ok(branch.read_at(bytes, at)?)));
    row.target("tine", Goal::AtLeast(0.9, "pread".into()));
    row.note("tine verifies a checksum of every block, pread none");
    context.run(row);
    Ok(())
}
