//! Importing an image of which half is holes.

use std::fs::{self, File};
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;

use tine_store::ImportSource;

use crate::data::{BLOCK_BYTES, LARGE};
use crate::store::bed::{Bed, read_in_order};
use crate::suite::Context;
use crate::{Result, programs};
use bench_measure::{Comparison, Effort, Goal, Sample, Unit, timed};

/// Makes the image: stripes of data and of holes in turn, in the page cache and on disk.
fn half_empty(context: &Context<'_>, path: &Path) -> Result<File> {
    let bytes = context.scale.disk_bytes;
    let stripe = (16 << 20).min(bytes / 4);
    let file = File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .open(path)?;
    file.set_len(bytes)?;
    let mut buffer = vec![0; LARGE];
    for start in (0..bytes).step_by(2 * stripe as usize) {
        for at in (start..start + stripe).step_by(LARGE) {
            context.blocks.fill(&mut buffer, at / BLOCK_BYTES, 0);
            file.write_all_at(&buffer, at)?;
        }
    }
    file.sync_all()?;
    Ok(file)
}

/// Runs a program that copies, syncs the copy, and removes it.
fn copied(command: &mut Command, target: &Path) -> Result<Sample> {
    let (elapsed, ()) = timed(|| {
        programs::time(command)?;
        Ok(File::open(target)?.sync_all()?)
    })?;
    fs::remove_file(target)?;
    Ok(Sample::each(1, elapsed))
}

pub(super) fn import(context: &Context<'_>) -> Result {
    let scale = context.scale;
    let room = context.place.room("import")?;
    let image = room.join("image");
    let file = half_empty(context, &image)?;
    let (copy, converted) = (room.join("copy"), room.join("qcow2"));
    let mut bed = Bed::create(room.join("store"), scale)?;

    let title = format!(
        "import of a raw image of {} MiB, half of it holes, durable",
        scale.disk_bytes >> 20
    );
    let mut row = Comparison::new("import", title, Unit::Seconds);
    row.add_fn("tine", |_| {
        let name = "image".parse()?;
        let mark = bed.counts.mark();
        let (elapsed, report) = timed(|| {
            let source = ImportSource::File(&file);
            Ok(bed
                .store()?
                .import(&name, source, &mut |_| ControlFlow::Continue(()))?)
        })?;
        let effort: Effort = bed.counts.since(mark, 1);
        if report.size != scale.disk_bytes || report.data != scale.disk_bytes / 2 {
            return Err(format!("the import reports {report:?}").into());
        }
        {
            let branch = bed.store()?.branch(&name)?;
            let mut wanted = vec![0; LARGE];
            read_in_order(
                scale.disk_bytes,
                |bytes, at| Ok(branch.read_at(bytes, at)?),
                |bytes, first| {
                    file.read_exact_at(&mut wanted[..bytes.len()], first * BLOCK_BYTES)?;
                    if wanted[..bytes.len()] == *bytes {
                        return Ok(());
                    }
                    Err(format!("what was imported differs at block {first}").into())
                },
            )?;
        }
        bed.drop_branch("image")?;
        bed.reopen()?;
        Ok(Sample::each(1, elapsed).with(effort))
    });
    row.add_fn("cp --sparse=always, sync", |_| {
        copied(
            Command::new("cp").arg("--sparse=always").arg(&image).arg(&copy),
            &copy,
        )
    });
    row.target("tine", Goal::AtMost(1.0, "cp --sparse=always, sync".into()));
    let qemu = "qemu-img convert -O qcow2, sync";
    if programs::find("qemu-img").is_some() {
        row.add_fn(qemu, |_| {
            let mut convert = Command::new("qemu-img");
            convert.args(["convert", "-f", "raw", "-O", "qcow2"]).arg(&image);
            copied(convert.arg(&converted), &converted)
        });
        row.target("tine", Goal::Faster(1.3, qemu.into()));
    } else {
        context
            .printer
            .skipped("import", qemu, "qemu-img is not installed");
    }
    row.note("tine makes a checksum of every block; the image is in the page cache");
    context.run(row);
    Ok(())
}
