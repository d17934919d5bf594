//! Forking: durable when it returns, whatever the branch is like, beside one small durable write.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use tine_store::{Branch, BranchName, Target};

use crate::data::{BLOCK, BLOCK_BYTES, Blocks, LARGE};
use crate::memory::have_backed;
use crate::raw::RawFile;
use crate::reflink::{FILE_SYSTEMS, LoopMount};
use crate::store::bed::{Bed, Scattered};
use crate::suite::Context;
use crate::{Result, programs};
use bench_measure::{Comparison, Effort, Goal, Peer, Sample, Unit, median_of, timed};

const GIB: u64 = 1 << 30;

/// More than a thousand forks take of memory.
const MANY_FORKS_BYTES: u64 = 64 << 20;

/// What a fork is made of.
enum Source {
    /// A branch of its own for each fork, of so many bytes, with some blocks written.
    Fresh(u64),
    /// One branch for all.
    Same(&'static str),
}

/// tine's forks, one after another, each of a branch that has been written to since its last one.
struct Forks<'a> {
    name: String,
    bed: &'a Bed,
    blocks: &'a Blocks,
    source: Source,
    /// Bytes that are in the write buffer when the fork is made.
    buffered: u64,
    samples: u32,
    /// Counts the names that were given.
    made: u32,
}

impl Forks<'_> {
    fn source(&mut self) -> Result<(String, Branch)> {
        self.made += 1;
        match self.source {
            Source::Same(name) => Ok((name.to_owned(), self.bed.branch(name)?)),
            Source::Fresh(bytes) => {
                let name = format!("{}-{}", self.name.replace([' ', ','], ""), self.made);
                let branch = self.bed.store()?.create_branch(&name.parse()?, bytes)?;
                Ok((name, branch))
            }
        }
    }

    fn write(&self, branch: &Branch) -> Result {
        let version = u64::from(self.made);
        if self.buffered == 0 {
            Scattered {
                seed: version,
                writes: 4,
                disk_blocks: branch.size() / BLOCK_BYTES,
                version,
            }
            .each(self.blocks, |bytes, at| Ok(branch.write_at(bytes, at)?))?;
            // The one that is looked at in the fork.
            super::bed::write_in_order(branch, BLOCK_BYTES, self.blocks, version)?;
            return Ok(branch.flush()?);
        }
        super::bed::write_in_order(branch, self.buffered, self.blocks, version)
    }
}

impl Peer for Forks<'_> {
    fn name(&self) -> &str {
        &self.name
    }

    fn round(&mut self, _: u32) -> Result<Sample> {
        let mut effort = (0.0, 0.0);
        let mut made = Vec::new();
        let value = median_of(self.samples, || {
            let (source, branch) = self.source()?;
            self.write(&branch)?;
            let target: Target = source.parse()?;
            let name: BranchName = format!("{source}-fork-{}", self.made).parse()?;
            let mark = self.bed.counts.mark();
            let (elapsed, ()) = timed(|| Ok(self.bed.store()?.fork(&target, &name)?))?;
            let cost = self.bed.counts.since(mark, u64::from(self.samples));
            effort.0 += cost.syncs.unwrap_or_default();
            effort.1 += cost.bytes.unwrap_or_default();
            let fork = self.bed.store()?.branch(&name)?;
            verify(self.blocks, &branch, &fork, u64::from(self.made))?;
            made.push(name);
            if let Source::Fresh(_) = self.source {
                made.push(source.parse()?);
            }
            Ok(elapsed)
        })?;
        self.bed.store()?.drop_branches(&made)?;
        let (syncs, bytes) = (Some(effort.0), Some(effort.1));
        Ok(Sample::new(value).with(Effort {
            syncs,
            bytes,
            ..Effort::default()
        }))
    }
}

/// Checks that a fork has what was written to its source last, at the beginning.
fn verify(blocks: &Blocks, source: &Branch, fork: &Branch, version: u64) -> Result {
    let mut block = vec![0; BLOCK];
    fork.read_at(&mut block, 0)?;
    blocks.check(&block, 0, version)?;
    if fork.size() == source.size() {
        Ok(())
    } else {
        Err("a fork is not as large as its source".into())
    }
}

/// Appends to a new file and syncs, as often as told; returns the median time and the file's path.
fn append(path: &Path, samples: u32, bytes: u64) -> Result<Sample> {
    let mut file = File::create(path)?;
    let piece = vec![0x5a; bytes.min(LARGE as u64) as usize];
    let value = median_of(samples, || {
        let begun = Instant::now();
        let mut left = bytes;
        while left > 0 {
            let part = left.min(piece.len() as u64);
            file.write_all(&piece[..part as usize])?;
            left -= part;
        }
        file.sync_data()?;
        Ok(begun.elapsed())
    })?;
    fs::remove_file(path)?;
    Ok(Sample::new(value).with(Effort::of(1, bytes, 1)))
}

/// So many that what the row commits to the store does not fill half of them.
const UNMERGED_JOURNAL_FILES: u32 = 64;

pub(super) fn fork(context: &Context<'_>) -> Result {
    let scale = context.scale;
    let room = context.place.room("fork")?;
    let bed = Bed::create(room.join("store"), scale)?;
    let unmerged = Bed::create_with(room.join("unmerged"), scale, UNMERGED_JOURNAL_FILES)?;
    let many = scale.many;
    deepen(context, &bed, "deep", many)?;
    deepen(context, &bed, "shallow", 1)?;
    {
        let branch = unmerged
            .store()?
            .create_branch(&"scattered".parse()?, scale.disk_bytes)?;
        Scattered {
            seed: 3,
            writes: scale.fragments,
            disk_blocks: scale.disk_blocks(),
            version: 0,
        }
        .each(&context.blocks, |bytes, at| Ok(branch.write_at(bytes, at)?))?;
        branch.flush()?;
    }
    let unmerged_since = unmerged.store()?.stats()?.manifest;
    let full = bed
        .store()?
        .stats()?
        .buffer
        .soft
        .saturating_sub(LARGE as u64)
        .max(LARGE as u64);

    let mut row = Comparison::new(
        "fork",
        "a fork, durable; the source was written to since its last",
        Unit::Seconds,
    );
    let forks = |name: &str, bed, source, buffered, samples| Forks {
        name: name.to_owned(),
        bed,
        blocks: &context.blocks,
        source,
        buffered,
        samples,
        made: 0,
    };
    let samples = scale.samples;
    let few = (samples / 20).max(1);
    let tine = "tine, 1 GiB branch";
    let shallow = "tine, 1 ancestor";
    let deep = format!("tine, {many} ancestors");
    let extents = format!("tine, {} extents", scale.fragments);
    row.add_fn("append + fdatasync", |_| {
        append(&room.join("append"), samples, BLOCK_BYTES)
    });
    row.add(forks(tine, &bed, Source::Fresh(GIB), 0, samples));
    row.add(forks(
        "tine, 1 TiB branch",
        &bed,
        Source::Fresh(GIB << 10),
        0,
        samples,
    ));
    row.add(forks(shallow, &bed, Source::Same("shallow"), 0, samples));
    row.add(forks(&deep, &bed, Source::Same("deep"), 0, samples));
    row.add(forks(&extents, &unmerged, Source::Same("scattered"), 0, samples));
    row.add(forks("tine, full buffer", &bed, Source::Fresh(GIB), full, few));
    row.add_fn("that many bytes + fdatasync", |_| {
        append(&room.join("append"), few, full)
    });
    let at_once = format!("tine, {many} in one call");
    row.add_fn(at_once.as_str(), |round| {
        many_at_once(&bed, &context.blocks, many, round)
    });
    let qemu = "qemu-img create -b";
    match QcowForks::new(&room.join("qcow2"), scale.disk_bytes) {
        Ok(mut forks) => row.add_fn(qemu, move |_| forks.round(scale.processes)),
        Err(error) => context.printer.skipped("fork", qemu, &error.to_string()),
    }
    let mut mounts = Vec::new();
    for (kind, program, options) in FILE_SYSTEMS {
        let name = format!("reflink, {kind}, fragmented");
        // The disk, and what the writes to its fork add.
        let bytes = scale.disk_bytes + 2 * scale.fragments * BLOCK_BYTES;
        let made = LoopMount::new(&room, kind, program, options, bytes)
            .and_then(|mount| Ok((fragmented(context, &mount.at)?, mount)));
        match made {
            Ok((file, mount)) => {
                row.target(tine, Goal::Faster(1000.0, name.clone()));
                let copy = mount.at.join("copy");
                row.add_fn(name, move |_| reflink(&file, &copy));
                mounts.push(mount);
            }
            Err(error) => context.printer.skipped("fork", &name, &error.to_string()),
        }
    }
    row.target(tine, Goal::AtMost(3.0, "append + fdatasync".into()));
    row.target(
        "tine, full buffer",
        Goal::AtMostPlus(
            3.0,
            "append + fdatasync".into(),
            "that many bytes + fdatasync".into(),
        ),
    );
    row.target(&at_once, Goal::AtMost(10.0, tine.into()));
    for other in ["tine, 1 TiB branch", &extents] {
        row.target(other, Goal::AtMost(1.2, tine.into()));
    }
    row.target(&deep, Goal::AtMost(1.2, shallow.into()));
    row.target(tine, Goal::Faster(20.0, qemu.into()));
    row.note("qemu-img and reflinks do not sync; qemu-img's time includes the start of its process");
    row.note(format!(
        "a full buffer: {} MiB, above which the store's own thread drains",
        full >> 20
    ));
    // The row, which borrows what is on the mounts, ends before they do.
    let ran = context.run_and_look(row, || still_unmerged(&unmerged, unmerged_since));
    drop(mounts);
    ran
}

/// Says how much of a store no index knows.
///
/// # Errors
///
/// When it saved one after the manifest `since`.
fn still_unmerged(bed: &Bed, since: u64) -> Result<String> {
    let stats = bed.store()?.stats()?;
    if stats.manifest != since {
        return Err(format!(
            "the extents were merged while the row ran: manifest {} after {since}",
            stats.manifest
        )
        .into());
    }
    Ok(format!(
        "the extents were not merged to the end: {} blocks are in segments that no saved index covers, {} KiB in memory",
        stats.debt.bytes / BLOCK_BYTES,
        stats.buffer.bytes >> 10
    ))
}

/// Makes a branch with so many ancestors, each with a write of its own.
fn deepen(context: &Context<'_>, bed: &Bed, name: &str, ancestors: u64) -> Result {
    let store = bed.store()?;
    let mut branch = store.create_branch(&format!("{name}-0").parse()?, GIB)?;
    let mut block = vec![0; BLOCK];
    for generation in 1..=ancestors {
        context.blocks.fill(&mut block, generation, generation);
        branch.write_at(&block, generation * BLOCK_BYTES)?;
        branch = bed.fork(branch.name().as_ref(), &format!("{name}-{generation}"))?;
    }
    store.rename(&branch.name(), &name.parse()?)?;
    Ok(())
}

fn many_at_once(bed: &Bed, blocks: &Blocks, many: u64, round: u32) -> Result<Sample> {
    let store = bed.store()?;
    let source = format!("many-{round}");
    let branch = store.create_branch(&source.parse()?, GIB)?;
    let mut block = vec![0; BLOCK];
    blocks.fill(&mut block, 0, 1);
    branch.write_at(&block, 0)?;
    branch.flush()?;
    let forks = (0..many)
        .map(|number| Ok((source.parse()?, format!("{source}-{number}").parse()?)))
        .collect::<Result<Vec<(Target, BranchName)>>>()?;
    // A single fork uses memory again that was in use a moment ago; these want some hundreds of pages more.
    have_backed(MANY_FORKS_BYTES);
    let mark = bed.counts.mark();
    let (elapsed, ()) = timed(|| Ok(store.fork_many(&forks)?))?;
    let effort = bed.counts.since(mark, 1);
    let mut names: Vec<BranchName> = forks.into_iter().map(|(_, name)| name).collect();
    if let Some(last) = names.last() {
        verify(blocks, &branch, &store.branch(last)?, 1)?;
    }
    names.push(source.parse()?);
    store.drop_branches(&names)?;
    Ok(Sample::each(1, elapsed).with(effort))
}

/// qcow2 overlays over one raw file.
struct QcowForks {
    program: PathBuf,
    directory: PathBuf,
}

impl QcowForks {
    fn new(directory: &Path, disk_bytes: u64) -> Result<Self> {
        let program = programs::find("qemu-img").ok_or("qemu-img is not installed")?;
        fs::create_dir(directory)?;
        File::create_new(directory.join("base"))?.set_len(disk_bytes)?;
        Ok(Self {
            program,
            directory: directory.to_owned(),
        })
    }

    fn round(&mut self, processes: u32) -> Result<Sample> {
        let overlay = self.directory.join("overlay");
        let value = median_of(processes, || {
            let mut create = Command::new(&self.program);
            create.args(["create", "-q", "-f", "qcow2", "-F", "raw", "-b"]);
            let elapsed = programs::time(create.arg(self.directory.join("base")).arg(&overlay))?;
            fs::remove_file(&overlay)?;
            Ok(elapsed)
        })?;
        Ok(Sample::new(value))
    }
}

/// Makes a file whose blocks were rewritten at random after a reflink copy, so that it is in many extents.
fn fragmented(context: &Context<'_>, directory: &Path) -> Result<File> {
    let path = directory.join("disk");
    let raw = RawFile::create(&path, context.scale.disk_bytes, &context.blocks)?;
    // The copy is kept: without it the old extents could be written again.
    let copy = File::create_new(directory.join("first"))?;
    rustix::fs::ioctl_ficlone(&copy, &raw.file)?;
    let writes = Scattered {
        seed: 4,
        writes: context.scale.fragments,
        disk_blocks: context.scale.disk_blocks(),
        version: 1,
    };
    writes.each(&context.blocks, |bytes, at| {
        use std::os::unix::fs::FileExt;
        Ok(raw.file.write_all_at(bytes, at)?)
    })?;
    raw.file.sync_all()?;
    Ok(raw.file)
}

fn reflink(source: &File, path: &Path) -> Result<Sample> {
    let (elapsed, _) = timed(|| {
        let copy = File::create_new(path)?;
        Ok(rustix::fs::ioctl_ficlone(&copy, source)?)
    })?;
    fs::remove_file(path)?;
    Ok(Sample::each(1, elapsed))
}

pub(super) fn process(context: &Context<'_>) -> Result {
    let scale = context.scale;
    let skipped = |what, why: &str| {
        context.printer.skipped("fork-process", what, why);
        Ok(())
    };
    let tine = std::env::current_exe()?.with_file_name("tine");
    if !programs::is_executable(&tine) {
        return skipped("tine fork", &format!("{} is not built", tine.display()));
    }
    let room = context.place.room("fork-process")?;
    let mut qemu = match QcowForks::new(&room.join("qcow2"), scale.disk_bytes) {
        Ok(qemu) => qemu,
        Err(error) => return skipped("qemu-img create -b", &error.to_string()),
    };
    let store = room.join("store");
    let size = scale.disk_bytes.to_string();
    let command = |words: &[&str]| {
        let mut command = Command::new(&tine);
        command.arg("--store").arg(&store).args(words);
        command
    };
    programs::run(&mut command(&["create", "golden", &size]))?;
    let mut row = Comparison::new(
        "fork-process",
        "a fork, from the start of a process to its end",
        Unit::Seconds,
    );
    row.add_fn("tine fork", |round| {
        let mut number = 0;
        let value = median_of(scale.processes, || {
            number += 1;
            programs::time(&mut command(&[
                "fork",
                "golden",
                &format!("fork-{round}-{number}"),
            ]))
        })?;
        Ok(Sample::new(value))
    });
    row.add_fn("qemu-img create -b", |_| qemu.round(scale.processes));
    row.target("tine fork", Goal::AtMost(0.5, "qemu-img create -b".into()));
    row.note("`tine fork` is durable when it ends; `qemu-img create` is not");
    context.run(row);
    Ok(())
}
