//! Opening after a writer was killed at a random moment: how long it takes, and whether every flushed write is there.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::data::{BLOCK, BLOCK_BYTES, Blocks, Random};
use crate::place::drop_cache_of_all;
use crate::store::bed::{Bed, open_plainly};
use crate::suite::Context;
use crate::{CrashWriterArgs, Result};
use bench_measure::{Comparison, Goal, Sample, Unit, timed};

/// Where the writer notes how many of its writes are durable; the page cache outlives it.
const ACKNOWLEDGED: &str = "acknowledged";

/// Writes random blocks to the branch `disk` until the process is killed.
///
/// # Errors
///
/// When the store cannot be opened or written.
pub(crate) fn write_until_killed(args: &CrashWriterArgs) -> Result {
    let store = open_plainly(&args.directory.join("store"), args.buffer_bytes)?;
    let branch = store.branch(&"disk".parse()?)?;
    let note = File::create(args.directory.join(ACKNOWLEDGED))?;
    let blocks = Blocks::new();
    let mut random = Random::new(args.seed);
    let mut buffer = vec![0; BLOCK];
    for version in 1u64.. {
        let block = random.below(branch.size() / BLOCK_BYTES);
        blocks.fill(&mut buffer, block, version);
        branch.write_at(&buffer, block * BLOCK_BYTES)?;
        if args.flush {
            branch.flush()?;
        }
        if args.flush || version == 1 {
            // Without flushes it only says that the writing has begun.
            let durable = if args.flush { version } else { 0 };
            note.write_all_at(&durable.to_le_bytes(), 0)?;
        }
    }
    Ok(())
}

/// Lets a process write for a while, kills it, and returns how many writes it knew to be durable.
fn killed_writer(context: &Context<'_>, directory: &Path, seed: u64, flush: bool) -> Result<u64> {
    let scale = context.scale;
    let mut writer = Command::new(std::env::current_exe()?);
    writer.arg("crash-writer").arg(directory).arg(seed.to_string());
    writer
        .arg(scale.buffer_bytes.to_string())
        .args(flush.then_some("--flush"));
    let mut child = writer.stdin(Stdio::null()).stdout(Stdio::null()).spawn()?;
    let note = directory.join(ACKNOWLEDGED);
    let begun = Instant::now();
    let started = loop {
        if fs::metadata(&note).is_ok_and(|note| note.len() > 0) {
            break true;
        }
        if begun.elapsed() > Duration::from_secs(30) || child.try_wait()?.is_some() {
            break false;
        }
        std::thread::sleep(Duration::from_millis(1));
    };
    if started {
        let most = scale.crash_after.as_micros() as u64;
        let micros = most / 4 + Random::new(seed).below(most * 3 / 4);
        std::thread::sleep(Duration::from_micros(micros));
    }
    let ended = child.try_wait()?;
    child.kill()?;
    child.wait()?;
    if !started || ended.is_some() {
        return Err(format!("the writer ended by itself ({ended:?})").into());
    }
    let mut word = [0; 8];
    File::open(note)?.read_exact_at(&mut word, 0)?;
    Ok(u64::from_le_bytes(word))
}

/// Checks that what was flushed is there, or what was written after it.
fn verify(blocks: &Blocks, branch: &tine_store::Branch, seed: u64, durable: u64) -> Result {
    let mut random = Random::new(seed);
    let disk_blocks = branch.size() / BLOCK_BYTES;
    let mut newest = std::collections::HashMap::new();
    for version in 1..=durable {
        newest.insert(random.below(disk_blocks), version);
    }
    let mut buffer = vec![0; BLOCK];
    for (block, version) in newest {
        branch.read_at(&mut buffer, block * BLOCK_BYTES)?;
        let found = blocks.version(&buffer, block)?;
        if found < version {
            return Err(
                format!("block {block} lost its flushed write {version}: it is of write {found}").into(),
            );
        }
    }
    Ok(())
}

fn round(
    context: &Context<'_>,
    room: &crate::place::Place,
    seed: u64,
    flush: bool,
    cold: bool,
) -> Result<Sample> {
    let directory = room.room("crash")?;
    let path = directory.join("store");
    {
        let mut bed = Bed::create(path.clone(), context.scale)?;
        bed.golden_in_order("disk", context.scale.disk_bytes / 4, &context.blocks)?;
        bed.close()?;
    }
    let durable = killed_writer(context, directory.path(), seed, flush)?;
    if cold {
        drop_cache_of_all(&path)?;
    }
    let (elapsed, (store, branch)) = timed(|| {
        let store = open_plainly(&path, context.scale.buffer_bytes)?;
        let branch = store.branch(&"disk".parse()?)?;
        branch.read_at(&mut [0; BLOCK], 0)?;
        Ok((store, branch))
    })?;
    verify(&context.blocks, &branch, seed, durable)?;
    drop(branch);
    store.close()?;
    Ok(Sample::each(1, elapsed))
}

pub(super) fn crash(context: &Context<'_>) -> Result {
    let room = context.place.room("crashes")?;
    let title = "opening after kill -9 of a process that writes 4 KiB at random, first read included";
    let mut row = Comparison::new("crash", title, Unit::Seconds);
    let room = &room;
    for (name, flush, cold, within) in [
        ("tine, a flush after each, warm", true, false, 1.0),
        ("tine, a flush after each, cold", true, true, 2.0),
        ("tine, no flush, warm", false, false, 1.0),
        ("tine, no flush, cold", false, true, 2.0),
    ] {
        row.add_fn(name, move |number| {
            round(
                context,
                room,
                500 + u64::from(number) + (u64::from(cold) << 8),
                flush,
                cold,
            )
        });
        row.target(name, Goal::Within(within));
    }
    row.note(format!(
        "killed within {:?}; every flushed write is verified",
        context.scale.crash_after
    ));
    context.run(row);
    Ok(())
}
