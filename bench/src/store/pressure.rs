//! Writers that outrun the disk: not only how much they get through, but how long a single write may take.
//!
//! The work is more than the buffer holds several times over, and nobody pauses. So the store has to slow the writer down
//! to what the disk takes; the question is whether by a little each time, or by a stop now and then.

use std::time::{Duration, Instant};

use crate::Result;
use crate::data::BLOCK_BYTES;
use crate::store::bed::{Bed, Scattered};
use crate::suite::Context;
use bench_measure::{Comparison, Effort, Goal, Sample, Unit};

/// The disk is so much smaller than those of other rows: it is the buffer that matters, not the disk.
const PART: u64 = 4;

/// What one run took.
struct Run {
    elapsed: Duration,
    /// Of each write, with its flush if it has one; ascending.
    each: Vec<Duration>,
    effort: Effort,
}

impl Run {
    /// Returns what so many of a thousand writes were not slower than.
    fn permille(&self, permille: usize) -> Duration {
        let at = self.each.len() * permille / 1000;
        self.each
            .get(at)
            .or(self.each.last())
            .copied()
            .unwrap_or_default()
    }
}

/// Writes random blocks to a new fork, as fast as it can, and drops it.
fn outrun(context: &Context<'_>, bed: &mut Bed, round: u32, writes: u64, flush: bool) -> Result<Run> {
    let work = Scattered {
        seed: 700 + u64::from(round),
        writes,
        disk_blocks: context.scale.disk_blocks() / PART,
        version: u64::from(round) + 1,
    };
    let run = {
        let fork = bed.fork("golden", "fork")?;
        let mut each = Vec::with_capacity(writes as usize);
        let mark = bed.counts.mark();
        let begun = Instant::now();
        work.each(&context.blocks, |bytes, at| {
            let begun = Instant::now();
            fork.write_at(bytes, at)?;
            if flush {
                fork.flush()?;
            }
            each.push(begun.elapsed());
            Ok(())
        })?;
        let elapsed = begun.elapsed();
        let effort = bed.counts.since(mark, writes);
        fork.flush()?;
        work.verify(&context.blocks, context.scale.verify_all, |bytes, at| {
            Ok(fork.read_at(bytes, at)?)
        })?;
        each.sort_unstable();
        Run {
            elapsed,
            each,
            effort,
        }
    };
    bed.drop_branch("fork")?;
    bed.reopen()?;
    Ok(run)
}

fn compare(context: &Context<'_>, name: &'static str, writes: u64, flush: bool) -> Result {
    let scale = context.scale;
    let room = context.place.room(name)?;
    let mut bed = Bed::create(room.join("store"), scale)?;
    bed.golden_in_order("golden", scale.disk_bytes / PART, &context.blocks)?;
    bed.reopen()?;
    let bed = std::cell::RefCell::new(bed);
    let what = format!(
        "{} random 4 KiB writes{} without a pause, buffer of {} MiB",
        writes,
        if flush { ", a flush after each," } else { "" },
        scale.buffer_bytes >> 20
    );
    let run = |round| outrun(context, &mut bed.borrow_mut(), round, writes, flush);
    let mut rate = Comparison::new(name, format!("{what}: how many a second"), Unit::PerSecond);
    rate.add_fn("tine", |round| {
        let run = run(round)?;
        Ok(Sample::rate(writes, run.elapsed).with(run.effort))
    });
    context.run(rate);
    let mut stalls = Comparison::new(name, format!("{what}: how long one takes"), Unit::Seconds);
    let seconds = |duration: Duration| Sample::new(duration.as_secs_f64());
    stalls.add_fn("tine, half of them less than", |round| {
        Ok(seconds(run(round)?.permille(500)))
    });
    stalls.add_fn("tine, 99 of 100 less than", |round| {
        Ok(seconds(run(round)?.permille(990)))
    });
    stalls.add_fn("tine, 999 of 1,000 less than", |round| {
        Ok(seconds(run(round)?.permille(999)))
    });
    stalls.add_fn("tine, the longest", |round| {
        Ok(seconds(run(round)?.permille(1000)))
    });
    stalls.target("tine, 999 of 1,000 less than", Goal::Within(0.01));
    // What a writer is slowed down by at the most (`pace.rs`): one that stood still meanwhile would be above it.
    stalls.target("tine, the longest", Goal::Within(0.1));
    context.run(stalls);
    Ok(())
}

/// More than the buffer holds, so that it fills up.
pub(super) fn buffer(context: &Context<'_>) -> Result {
    let writes = context.scale.write_bytes / BLOCK_BYTES;
    compare(context, "pressure", writes, false)
}

/// More than the journal holds, so that it fills up.
pub(super) fn journal(context: &Context<'_>) -> Result {
    let writes = context.scale.write_bytes / BLOCK_BYTES / 4;
    compare(context, "pressure-flush", writes, true)
}
