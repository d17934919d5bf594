//! Space that small writes take, with the index of them. It does not vary, so there is one round.

use std::fmt::Write;
use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, Stdio};

use tine_store::{BranchName, Target};

use crate::data::{BLOCK, BLOCK_BYTES, Random};
use crate::store::bed::{Bed, Scattered};
use crate::suite::Context;
use crate::{Result, programs};
use bench_measure::{Comparison, Effort, Goal, Sample, Unit};

/// Returns random writes to different blocks: what is overwritten would make the share smaller.
fn distinct(context: &Context<'_>) -> Vec<u64> {
    let mut order = Random::new(5).shuffled(context.scale.disk_blocks());
    order.truncate(context.scale.scattered as usize);
    order
}

/// When the bytes on disk are counted.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Counted {
    /// When the last flush returns: with what of the journal's ring is in use then.
    AtOnce,
    /// When all is drained and the index is saved: without the journal.
    Drained,
}

/// Writes to a new fork and returns the bytes that came on.
fn written_to_fork(context: &Context<'_>, bed: &mut Bed, flush: bool, counted: Counted) -> Result<Sample> {
    let blocks = &context.blocks;
    let before = bed.allocated_bytes()?;
    let writes = distinct(context);
    let mark = bed.counts.mark();
    {
        let fork = bed.fork("golden", "fork")?;
        let mut buffer = vec![0; BLOCK];
        for &block in &writes {
            blocks.fill(&mut buffer, block, 1);
            fork.write_at(&buffer, block * BLOCK_BYTES)?;
            if flush {
                fork.flush()?;
            }
        }
        fork.flush()?;
    }
    let effort = bed.counts.since(mark, writes.len() as u64);
    let at_once = bed.allocated_bytes()?.saturating_sub(before) + bed.store()?.stats()?.journal.used;
    bed.save()?;
    let drained = bed.allocated_bytes()?.saturating_sub(before);
    {
        let fork = bed.branch("fork")?;
        let mut buffer = vec![0; BLOCK];
        for &block in &writes {
            fork.read_at(&mut buffer, block * BLOCK_BYTES)?;
            blocks.check(&buffer, block, 1)?;
        }
    }
    bed.drop_branch("fork")?;
    bed.save()?;
    let bytes = match counted {
        Counted::AtOnce => at_once,
        Counted::Drained => drained,
    };
    Ok(Sample::new(bytes as f64).with(effort))
}

/// Has qemu-io write blocks of an image.
fn qemu_write(image: &Path, blocks: impl Iterator<Item = u64>) -> Result {
    let mut script = String::new();
    for block in blocks {
        writeln!(script, "write -q -P 90 {} {BLOCK_BYTES}", block * BLOCK_BYTES)?;
    }
    let mut child = Command::new("qemu-io")
        .args(["-t", "writeback", "-f", "qcow2"])
        .arg(image)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(script.as_bytes())?;
    }
    let status = child.wait()?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("qemu-io failed ({status})").into())
    }
}

fn overlay(base: &Path, overlay: &Path, options: &[&str]) -> Result {
    let mut create = Command::new("qemu-img");
    create
        .args(["create", "-q", "-f", "qcow2", "-F", "raw"])
        .args(options);
    programs::run(create.arg("-b").arg(base).arg(overlay))
}

fn has_qemu() -> bool {
    ["qemu-img", "qemu-io"]
        .iter()
        .all(|program| programs::find(program).is_some())
}

pub(super) fn scattered(context: &Context<'_>) -> Result {
    let scale = context.scale;
    let room = context.place.room("space")?;
    let writes = scale.scattered;
    for (how, at_random) in [("in order", false), ("at random", true)] {
        let store = room.join("store");
        let mut bed = Bed::create(store.clone(), scale)?;
        if at_random {
            bed.golden_at_random("golden", scale.disk_bytes, &context.blocks)?;
        } else {
            bed.golden_in_order("golden", scale.disk_bytes, &context.blocks)?;
        }
        // Twice: what the first opening gives back is not to be counted as won.
        bed.save()?;
        bed.save()?;
        let bed = std::cell::RefCell::new(bed);
        let title =
            format!("bytes on disk for {writes} random 4 KiB writes to a fork of a golden written {how}");
        let mut row = Comparison::new("space", title, Unit::Bytes);
        row.add_fn("what was written", |_| {
            Ok(Sample::new(
                writes.min(scale.disk_blocks()) as f64 * BLOCK_BYTES as f64,
            ))
        });
        for (name, flush) in [("tine, no flush", false), ("tine, a flush after each", true)] {
            let bed = &bed;
            row.add_fn(name, move |_| {
                written_to_fork(context, &mut bed.borrow_mut(), flush, Counted::Drained)
            });
            row.target(name, Goal::AtMost(1.1, "what was written".into()));
            row.add_fn(format!("{name}, before draining"), move |_| {
                written_to_fork(context, &mut bed.borrow_mut(), flush, Counted::AtOnce)
            });
        }
        if has_qemu() && !at_random {
            let (base, image) = (room.join("base"), room.join("overlay"));
            File::create(&base)?.set_len(scale.disk_bytes)?;
            for (name, options) in [
                ("qcow2", &[][..]),
                ("qcow2, extended L2", &["-o", "extended_l2=on,cluster_size=128k"]),
            ] {
                let (base, image) = (base.clone(), image.clone());
                row.add_fn(name, move |_| {
                    overlay(&base, &image, options)?;
                    qemu_write(&image, distinct(context).into_iter())?;
                    let bytes = image.metadata()?.blocks() * 512;
                    fs::remove_file(&image)?;
                    Ok(Sample::new(bytes as f64))
                });
            }
        } else if !at_random {
            context
                .printer
                .skipped("space", "qcow2", "qemu-img and qemu-io are not installed");
        }
        row.note(
            "drained, with the index and the manifest, the journal's ring not counted; before draining: what of the ring is \
             in use is counted; syncs and bytes are those before draining",
        );
        context.run_rounds(row, 1);
        drop(bed);
        fs::remove_dir_all(store)?;
    }
    Ok(())
}

pub(super) fn forks(context: &Context<'_>) -> Result {
    let scale = context.scale;
    let room = context.place.room("space-forks")?;
    let many = scale.many;
    let mut bed = Bed::create(room.join("store"), scale)?;
    bed.golden_in_order("golden", 16 << 20, &context.blocks)?;
    bed.save()?;
    bed.save()?;
    let title = format!("bytes on disk for each of {many} forks with one 4 KiB write each");
    let mut row = Comparison::new("space-forks", title, Unit::Bytes);
    row.add_fn("tine", |_| {
        let before = bed.allocated_bytes()?;
        let golden: Target = "golden".parse()?;
        let names = (0..many)
            .map(|number| Ok((golden.clone(), format!("fork-{number}").parse()?)))
            .collect::<Result<Vec<(Target, BranchName)>>>()?;
        bed.store()?.fork_many(&names)?;
        let write = |number: u64| Scattered {
            seed: number,
            writes: 1,
            disk_blocks: (16 << 20) / BLOCK_BYTES,
            version: number + 1,
        };
        for (number, (_, name)) in (0..).zip(&names) {
            let fork = bed.store()?.branch(name)?;
            write(number).each(&context.blocks, |bytes, at| Ok(fork.write_at(bytes, at)?))?;
        }
        bed.save()?;
        let after = bed.allocated_bytes()?;
        for (number, (_, name)) in (0..).zip(&names) {
            let fork = bed.store()?.branch(name)?;
            write(number).verify(&context.blocks, true, |bytes, at| Ok(fork.read_at(bytes, at)?))?;
        }
        Ok(Sample::new(after.saturating_sub(before) as f64 / many as f64))
    });
    row.target("tine", Goal::Within(8192.0));
    if has_qemu() {
        let base = room.join("base");
        File::create(&base)?.set_len(16 << 20)?;
        let directory = room.path();
        row.add_fn("qcow2", move |_| {
            let count = 10;
            let mut bytes = 0;
            for number in 0..count {
                let image = directory.join(format!("overlay-{number}"));
                overlay(&base, &image, &[])?;
                qemu_write(&image, std::iter::once(number))?;
                bytes += image.metadata()?.blocks() * 512;
            }
            Ok(Sample::new(bytes as f64 / count as f64).with(Effort::default()))
        });
    } else {
        context
            .printer
            .skipped("space-forks", "qcow2", "qemu-img and qemu-io are not installed");
    }
    row.note("drained, with the index and the manifest; the journal's ring not counted");
    context.run_rounds(row, 1);
    Ok(())
}
