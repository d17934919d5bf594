//! Opening a store of many forks, and the last of a long line of them.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use tine_store::{Branch, BranchName, Target};

use crate::data::{BLOCK, BLOCK_BYTES, Blocks, Random};
use crate::store::bed::{Bed, open_plainly};
use crate::suite::Context;
use crate::{OpenAllArgs, Result};
use bench_measure::{Comparison, Goal, Sample, Unit, timed};

const DISK_BYTES: u64 = 1 << 30;

/// Makes a store with a golden and so many forks of it, and closes it.
fn store_of_forks(context: &Context<'_>, directory: PathBuf) -> Result<Bed> {
    let mut bed = Bed::create(directory, context.scale)?;
    let mut block = vec![0; BLOCK];
    {
        let golden = bed.store()?.create_branch(&"golden".parse()?, DISK_BYTES)?;
        context.blocks.fill(&mut block, 0, 0);
        golden.write_at(&block, 0)?;
    }
    let golden: Target = "golden".parse()?;
    let forks = (0..context.scale.forks)
        .map(|number| Ok((golden.clone(), format!("fork-{number}").parse()?)))
        .collect::<Result<Vec<(Target, BranchName)>>>()?;
    for some in forks.chunks(1000) {
        bed.store()?.fork_many(some)?;
    }
    {
        // So much in the journal that closing saves all forks in a manifest: opening is to read that, not to replay.
        let golden = bed.branch("golden")?;
        for number in 1..=2 * (1 << 20) / BLOCK_BYTES {
            context.blocks.fill(&mut block, number, 0);
            golden.write_at(&block, number * BLOCK_BYTES)?;
            golden.flush()?;
        }
    }
    bed.close()?;
    let manifest = crate::place::allocated_bytes(&bed.directory.join("manifest"))?;
    if manifest < 16 * context.scale.forks {
        return Err(format!("the manifest of {manifest} bytes can not hold all forks").into());
    }
    Ok(bed)
}

fn check_first_block(blocks: &Blocks, branch: &Branch) -> Result {
    let mut block = vec![0; BLOCK];
    branch.read_at(&mut block, 0)?;
    blocks.check(&block, 0, 0)
}

pub(super) fn many(context: &Context<'_>) -> Result {
    let scale = context.scale;
    let room = context.place.room("open")?;
    let bed = store_of_forks(context, room.join("store"))?;
    let title = format!("opening a store with {} forks", scale.forks);
    let mut row = Comparison::new("open", title, Unit::Seconds);
    row.add_fn("reading the manifest", |_| {
        let (elapsed, ()) = timed(|| {
            for entry in fs::read_dir(bed.directory.join("manifest"))? {
                fs::read(entry?.path())?;
            }
            Ok(())
        })?;
        Ok(Sample::each(1, elapsed))
    });
    row.add_fn("tine, open", |_| {
        let (elapsed, store) = timed(|| open_plainly(&bed.directory, scale.buffer_bytes))?;
        let last = format!("fork-{}", scale.forks - 1).parse()?;
        check_first_block(&context.blocks, &store.branch(&last)?)?;
        store.close()?;
        Ok(Sample::each(1, elapsed))
    });
    row.target("tine, open", Goal::Beyond(0.1, "reading the manifest".into()));
    context.run(row);
    Ok(())
}

/// Returns the memory that this process holds.
fn resident_bytes() -> Result<u64> {
    let status = fs::read_to_string("/proc/self/statm")?;
    let pages = status.split(' ').nth(1).ok_or("/proc/self/statm is odd")?;
    Ok(pages.parse::<u64>()? * rustix::param::page_size() as u64)
}

fn descriptors() -> Result<usize> {
    Ok(fs::read_dir("/proc/self/fd")?.count())
}

/// Opens all forks of a store, reads a block of each, and prints the bytes and the descriptors that came on.
///
/// # Errors
///
/// When the store cannot be opened or a fork cannot be read.
pub(crate) fn open_all(args: &OpenAllArgs) -> Result {
    let (blocks, before, files) = (Blocks::new(), resident_bytes()?, descriptors()?);
    let store = open_plainly(&args.store, args.buffer_bytes)?;
    let handles = (0..args.forks)
        .map(|number| Ok(store.branch(&format!("fork-{number}").parse()?)?))
        .collect::<Result<Vec<Branch>>>()?;
    for handle in &handles {
        check_first_block(&blocks, handle)?;
    }
    println!(
        "{} {}",
        resident_bytes()?.saturating_sub(before),
        descriptors()? - files
    );
    Ok(())
}

pub(super) fn memory(context: &Context<'_>) -> Result {
    let scale = context.scale;
    let room = context.place.room("open-memory")?;
    let bed = store_of_forks(context, room.join("store"))?;
    let title = format!("memory of an open idle fork, of {}", scale.forks);
    let mut row = Comparison::new("open-memory", title, Unit::Bytes);
    // In a process of its own: here, memory that other rows have freed would serve again, and nothing be seen.
    let mut child = Command::new(std::env::current_exe()?);
    child.arg("open-all").arg(&bed.directory);
    child
        .arg(scale.forks.to_string())
        .arg(scale.buffer_bytes.to_string());
    let printed = bench_measure::first_line(&mut child).ok_or("opening all forks failed")?;
    let (bytes, files) = printed.split_once(' ').ok_or("open-all printed something odd")?;
    let (bytes, files): (u64, u64) = (bytes.parse()?, files.parse()?);
    row.add_fn("tine, an open fork", |_| {
        Ok(Sample::new(bytes as f64 / scale.forks as f64))
    });
    row.target("tine, an open fork", Goal::Within(16384.0));
    row.note("each was opened and one block of it read; its share of the open store itself is counted too");
    row.note(format!(
        "all {} forks and the store together hold {files} descriptors",
        scale.forks
    ));
    context.run_rounds(row, 1);
    if files > 64 + scale.forks / 100 {
        return Err(format!("{files} descriptors: they are not shared").into());
    }
    Ok(())
}

/// Blocks that are read of the first and of the last of a long line.
const DEEP_READS: usize = 100;

pub(super) fn deep(context: &Context<'_>) -> Result {
    let scale = context.scale;
    let room = context.place.room("open-deep")?;
    let mut bed = Bed::create(room.join("store"), scale)?;
    let count = scale.forks;
    // Both disks are as large, and their indexes too: the first is of one generation, the last of all, a block of each.
    let order = Random::new(3).shuffled(count);
    let mut block = vec![0; BLOCK];
    drop(bed.golden_at_random("fork-0", count * BLOCK_BYTES, &context.blocks)?);
    for (generation, &number) in (1..).zip(&order) {
        let branch = bed.fork(&format!("fork-{}", generation - 1), &format!("fork-{generation}"))?;
        context.blocks.fill(&mut block, number, 1);
        branch.write_at(&block, number * BLOCK_BYTES)?;
    }
    bed.close()?;
    let title =
        format!("the first and the last of {count} forks of forks: opened, and {DEEP_READS} blocks read");
    let mut row = Comparison::new("open-deep", title, Unit::Seconds);
    let measure = |name: String, version: u64| -> Result<Duration> {
        // Opened anew each time: what one of them loaded is not to help the other.
        let store = open_plainly(&bed.directory, scale.buffer_bytes)?;
        let name: BranchName = name.parse()?;
        let mut buffer = vec![0; BLOCK];
        let (elapsed, ()) = timed(|| {
            let branch = store.branch(&name)?;
            // But for the one block that the first wrote itself.
            for &number in order.iter().skip(1).take(DEEP_READS) {
                branch.read_at(&mut buffer, number * BLOCK_BYTES)?;
                context.blocks.check(&buffer, number, version)?;
            }
            Ok(())
        })?;
        store.close()?;
        Ok(elapsed)
    };
    row.add_fn("tine, the first", |_| {
        Ok(Sample::each(1, measure("fork-1".into(), 0)?))
    });
    row.add_fn("tine, the last", |_| {
        Ok(Sample::each(1, measure(format!("fork-{count}"), 1)?))
    });
    row.target("tine, the last", Goal::AtMost(1.25, "tine, the first".into()));
    row.note("the same blocks of both, each once; the first's were written at random by one branch, the last's by one fork each");
    context.run(row);
    Ok(())
}
