//! The rows: what is compared, and what is to come of it.

use std::fs;
use std::hint::black_box;
use std::io::{Seek, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use bench_measure::{Comparison, Goal, Result, Sample, Unit, timed};
use tine_memory::{PAGE_BYTES, Region, Save};

use crate::peer::{Forked, Plain};
use crate::table;

/// A row of the suite: contestants over regions of so many bytes.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) compare: fn(&'static str, usize) -> Result<Comparison<'static>>,
}

pub(crate) const ROWS: &[Row] = &[
    row("fork", fork),
    row("fork-many", fork_many),
    row("fork-bytes", fork_bytes),
    row("fork-first", fork_first),
    row("refork-10", |name, bytes| {
        refork(name, bytes, 10, Goal::Faster(3.0, FORK.into()))
    }),
    row("refork-1000", |name, bytes| {
        refork(name, bytes, 1000, Goal::AtMost(2.5, FORK.into()))
    }),
    row("refork-many", refork_many),
    row("first-write", first_write),
    row("rollback", |name, bytes| rollback(name, bytes, false)),
    row("rollback-read", |name, bytes| rollback(name, bytes, true)),
    row("save", save),
    row("save-incremental", save_incremental),
    row("table-bytes", table::table_bytes),
    row("table-worst-insert", table::table_worst_insert),
    row("table-insert", table::table_insert),
    row("table-get", |name, bytes| table::table_get(name, bytes, true)),
    row("table-miss", |name, bytes| table::table_get(name, bytes, false)),
];

const fn row(name: &'static str, compare: fn(&'static str, usize) -> Result<Comparison<'static>>) -> Row {
    Row { name, compare }
}

pub(crate) const TINE: &str = "tine";
const FORK: &str = "fork(2)";

/// How often a short thing is done in a round.
const REPEATED: usize = 20;

/// How often fork(2) is called where a thousand calls would take a quarter of a minute.
const FORKS_SAMPLED: u32 = 20;

/// A region with something in each page.
fn filled(bytes: usize) -> Result<Region> {
    let mut region = Region::zeroed(bytes)?;
    region.as_mut_slice().fill(1);
    Ok(region)
}

fn frozen(bytes: usize) -> Result<Region> {
    let mut region = filled(bytes)?;
    region.freeze()?;
    Ok(region)
}

/// Different pages, at random places that are the same in each run.
fn some_pages(bytes: usize, count: usize, round: u32) -> Vec<usize> {
    let pages = bytes / PAGE_BYTES;
    let mut state = u64::from(round) + 1;
    let mut chosen: Vec<usize> = (0..count.min(pages / 2))
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) as usize % pages
        })
        .collect();
    chosen.sort_unstable();
    chosen.dedup();
    chosen
}

fn write(region: &mut Region, pages: &[usize]) -> Result {
    for page in pages {
        region.write_at(&[2], page * PAGE_BYTES)?;
    }
    Ok(())
}

/// Returns the median of what a thing takes, done several times.
fn median(mut once: impl FnMut() -> Result<Duration>) -> Result<Sample> {
    let mut times = (0..REPEATED).map(|_| once()).collect::<Result<Vec<_>>>()?;
    times.sort_unstable();
    Ok(Sample::each(1, times[REPEATED / 2]))
}

/// Adds fork(2) of this process with so much in memory, beside which the others are shown.
fn add_fork(comparison: &mut Comparison<'static>, bytes: usize) -> Result {
    let plain = Plain::filled(bytes)?;
    comparison.add_fn(FORK, move |_| {
        let _in_memory = &plain;
        median(|| Ok(Forked::new()?.1))
    });
    comparison.baseline(FORK);
    Ok(())
}

fn fork(name: &'static str, bytes: usize) -> Result<Comparison<'static>> {
    let mut comparison = Comparison::new(name, "fork of a clean region, all of it in memory", Unit::Seconds);
    add_fork(&mut comparison, bytes)?;
    let mut golden = frozen(bytes)?;
    comparison.add_fn(TINE, move |_| median(|| Ok(timed(|| Ok(golden.fork()?))?.0)));
    comparison.target(TINE, Goal::Faster(5000.0, FORK.into()));
    Ok(comparison)
}

fn fork_many(name: &'static str, bytes: usize) -> Result<Comparison<'static>> {
    let mut comparison = Comparison::new(name, "1,000 forks of a clean region", Unit::Seconds);
    let mut golden = frozen(bytes)?;
    comparison.add_fn(TINE, move |_| {
        let (elapsed, forks) = timed(|| Ok(golden.fork_many(1000)?))?;
        drop(forks);
        Ok(Sample::each(1, elapsed))
    });
    comparison.target(TINE, Goal::Within(5e-3));
    Ok(comparison)
}

fn fork_bytes(name: &'static str, bytes: usize) -> Result<Comparison<'static>> {
    let mut comparison = Comparison::new(
        name,
        "what each of 1,000 forks takes before it is written",
        Unit::Bytes,
    );
    let mut golden = frozen(bytes)?;
    comparison.add_fn(TINE, move |_| {
        let before = memory_of_this_process()?;
        let forks = golden.fork_many(1000)?;
        let taken = memory_of_this_process()?.saturating_sub(before);
        drop(forks);
        Ok(Sample::new(taken as f64 / 1000.0))
    });
    comparison.target(TINE, Goal::Within(8192.0));
    comparison.note(
        "VmRSS and VmPTE of /proc/self/status; the kernel's record of a mapping, some 200 B, is not in them",
    );
    Ok(comparison)
}

/// Returns the bytes of this process and of its page tables.
pub(crate) fn memory_of_this_process() -> Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let kib = |field: &str| -> Option<u64> {
        let line = status.lines().find_map(|line| line.strip_prefix(field))?;
        line.trim().trim_end_matches(" kB").parse().ok()
    };
    let both = kib("VmRSS:")
        .zip(kib("VmPTE:"))
        .ok_or("/proc/self/status has no sizes")?;
    Ok((both.0 + both.1) << 10)
}

fn fork_first(name: &'static str, bytes: usize) -> Result<Comparison<'static>> {
    let mut comparison = Comparison::new(name, "first fork of a region just filled", Unit::Seconds);
    add_fork(&mut comparison, bytes)?;
    comparison.add_fn(TINE, move |_| {
        let mut region = filled(bytes)?;
        let (elapsed, fork) = timed(|| Ok(region.fork()?))?;
        drop(fork);
        Ok(Sample::each(1, elapsed))
    });
    for (peer, part) in [("tine, then a tenth is read", 10), ("tine, then all is read", 1)] {
        comparison.add_fn(peer, move |_| {
            let mut region = filled(bytes)?;
            let begun = Instant::now();
            let fork = region.fork()?;
            let read = &region.as_slice()[..bytes / part];
            black_box(
                read.iter()
                    .step_by(PAGE_BYTES)
                    .map(|&byte| u64::from(byte))
                    .sum::<u64>(),
            );
            let elapsed = begun.elapsed();
            drop(fork);
            Ok(Sample::each(1, elapsed))
        });
    }
    comparison.target(TINE, Goal::AtMost(1.0, FORK.into()));
    comparison.target("tine, then a tenth is read", Goal::AtMost(1.0, FORK.into()));
    comparison.target("tine, then all is read", Goal::AtMost(1.0, FORK.into()));
    Ok(comparison)
}

fn refork(name: &'static str, bytes: usize, dirty: usize, goal: Goal) -> Result<Comparison<'static>> {
    let title = format!("fork of a fork with {dirty} pages written");
    let mut comparison = Comparison::new(name, title, Unit::Seconds);
    let mut plain = Plain::over_image(bytes)?;
    comparison.add_fn(FORK, move |round| {
        plain.remap()?;
        plain.write(&some_pages(bytes, dirty, round));
        median(|| Ok(Forked::new()?.1))
    });
    comparison.baseline(FORK);
    let mut golden = frozen(bytes)?;
    comparison.add_fn(TINE, move |round| {
        median(|| {
            let mut child = golden.fork()?;
            write(&mut child, &some_pages(bytes, dirty, round))?;
            Ok(timed(|| Ok(child.fork()?))?.0)
        })
    });
    let own = "tine, a base of its own";
    let mut region = frozen(bytes)?;
    comparison.add_fn(own, move |round| {
        median(|| {
            write(&mut region, &some_pages(bytes, dirty, round))?;
            Ok(timed(|| Ok(region.fork()?))?.0)
        })
    });
    comparison.target(TINE, goal.clone());
    comparison.target(own, goal);
    Ok(comparison)
}

fn refork_many(name: &'static str, bytes: usize) -> Result<Comparison<'static>> {
    const DIRTY: usize = 100_000;
    let mut comparison = Comparison::new(
        name,
        "1,000 forks, one by one, of a fork with 100,000 pages written",
        Unit::Seconds,
    );
    let mut plain = Plain::over_image(bytes)?;
    comparison.add_fn(FORK, move |round| {
        plain.remap()?;
        plain.write(&some_pages(bytes, DIRTY, round));
        let mut all = Duration::ZERO;
        for _ in 0..FORKS_SAMPLED {
            all += Forked::new()?.1;
        }
        Ok(Sample::each(1, all * 1000 / FORKS_SAMPLED))
    });
    comparison.baseline(FORK);
    let mut golden = frozen(bytes)?;
    comparison.add_fn(TINE, move |round| {
        let mut child = golden.fork()?;
        write(&mut child, &some_pages(bytes, DIRTY, round))?;
        let (elapsed, forks) = timed(|| {
            let forks = (0..1000).map(|_| child.fork());
            Ok(forks.collect::<tine_memory::Result<Vec<_>>>()?)
        })?;
        drop(forks);
        Ok(Sample::each(1, elapsed))
    });
    comparison.target(TINE, Goal::Faster(10.0, FORK.into()));
    comparison.note("fork(2) is called 20 times, and counted 50 times each");
    Ok(comparison)
}

fn first_write(name: &'static str, bytes: usize) -> Result<Comparison<'static>> {
    const WRITES: usize = 2000;
    let mut comparison = Comparison::new(name, "first write to a page, at random", Unit::Seconds);
    let each = |elapsed, writes: usize| Ok(Sample::each(writes as u64, elapsed));
    let mut plain = Plain::filled(bytes)?;
    comparison.add_fn(FORK, move |round| {
        let pages = some_pages(bytes, WRITES, round);
        let (forked, _) = Forked::new()?;
        let (elapsed, ()) = timed(|| {
            plain.write(&pages);
            Ok(())
        })?;
        drop(forked);
        each(elapsed, pages.len())
    });
    comparison.baseline(FORK);
    let mut golden = frozen(bytes)?;
    comparison.add_fn(TINE, move |round| {
        let pages = some_pages(bytes, WRITES, round);
        let mut fork = golden.fork()?;
        let memory = fork.as_mut_slice();
        let begun = Instant::now();
        for page in &pages {
            memory[page * PAGE_BYTES] = 2;
        }
        each(begun.elapsed(), pages.len())
    });
    comparison.target(TINE, Goal::AtMost(1.1, FORK.into()));
    comparison.note("fork(2)'s page tables are there already; a fork's are made by these writes");
    Ok(comparison)
}

fn rollback(name: &'static str, bytes: usize, read: bool) -> Result<Comparison<'static>> {
    const DIRTY: usize = 10;
    let remapped = "munmap, mmap";
    let title = if read {
        "rollback of 10 pages, all others were read"
    } else {
        "rollback of 10 pages"
    };
    let mut comparison = Comparison::new(name, title, Unit::Seconds);
    add_fork(&mut comparison, bytes)?;
    let touch = move |memory: &[u8]| {
        if read {
            black_box(
                memory
                    .iter()
                    .step_by(PAGE_BYTES)
                    .map(|&byte| u64::from(byte))
                    .sum::<u64>(),
            );
        }
    };
    let mut plain = Plain::over_image(bytes)?;
    comparison.add_fn(remapped, move |round| {
        median(|| {
            touch(plain.memory());
            plain.write(&some_pages(bytes, DIRTY, round));
            Ok(timed(|| plain.remap())?.0)
        })
    });
    let mut golden = frozen(bytes)?;
    let mut fork = golden.fork()?;
    comparison.add_fn(TINE, move |round| {
        median(|| {
            touch(fork.as_slice());
            write(&mut fork, &some_pages(bytes, DIRTY, round))?;
            Ok(timed(|| Ok(fork.rollback()?))?.0)
        })
    });
    comparison.target(TINE, Goal::Faster(5.0, FORK.into()));
    comparison.target(TINE, Goal::AtMost(1.0, remapped.into()));
    Ok(comparison)
}

/// Returns where there is room: beside the build's target directory, or where `TINE_BENCH_DIR` says.
fn place() -> PathBuf {
    std::env::var_os("TINE_BENCH_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from)
}

fn save(name: &'static str, bytes: usize) -> Result<Comparison<'static>> {
    let written = "write, 1 MiB each";
    let mut comparison = Comparison::new(name, "save to a file, not synced", Unit::BytesPerSecond);
    let rate = move |elapsed| Ok(Sample::rate(bytes as u64, elapsed));
    fs::create_dir_all(place())?;
    let mut file = tempfile::tempfile_in(place())?;
    // The content of a region's own memory, as dd would have read it.
    let content = filled(bytes)?;
    comparison.add_fn(written, move |_| {
        file.set_len(0)?;
        file.rewind()?;
        let (elapsed, ()) = timed(|| {
            for some in content.as_slice().chunks(1 << 20) {
                file.write_all(some)?;
            }
            Ok(())
        })?;
        rate(elapsed)
    });
    comparison.baseline(written);
    let mut file = tempfile::tempfile_in(place())?;
    let mut region = frozen(bytes)?;
    comparison.add_fn(TINE, move |_| {
        file.set_len(0)?;
        file.rewind()?;
        let (elapsed, mark) = timed(|| Ok(region.save(&mut file, Save::Full)?))?;
        drop(mark);
        rate(elapsed)
    });
    comparison.target(TINE, Goal::AtLeast(0.8, written.into()));
    Ok(comparison)
}

fn save_incremental(name: &'static str, bytes: usize) -> Result<Comparison<'static>> {
    const FULL: &str = "all";
    let title = "save of what was written since the last one, to a file, not synced";
    let mut comparison = Comparison::new(name, title, Unit::Seconds);
    fs::create_dir_all(place())?;
    let mut file = tempfile::tempfile_in(place())?;
    let mut region = frozen(bytes)?;
    comparison.add_fn(FULL, move |_| {
        file.set_len(0)?;
        file.rewind()?;
        let (elapsed, mark) = timed(|| Ok(region.save(&mut file, Save::Full)?))?;
        drop(mark);
        Ok(Sample::each(1, elapsed))
    });
    comparison.baseline(FULL);
    // A hundred times as many pages take at most half as long again as a hundred times as much.
    for (peer, dirty, goal) in [
        ("10 pages", 10, Goal::Faster(1000.0, FULL.into())),
        ("1,000 pages", 1000, Goal::AtMost(150.0, "10 pages".into())),
        (
            "100,000 pages",
            100_000,
            Goal::AtMost(150.0, "1,000 pages".into()),
        ),
    ] {
        let mut file = tempfile::tempfile_in(place())?;
        let mut region = frozen(bytes)?;
        let mut last = region.mark()?;
        comparison.add_fn(peer, move |round| {
            write(&mut region, &some_pages(bytes, dirty, round))?;
            file.set_len(0)?;
            file.rewind()?;
            let (elapsed, mark) = timed(|| Ok(region.save(&mut file, Save::Since(&last))?))?;
            last = mark;
            Ok(Sample::each(1, elapsed))
        });
        comparison.target(peer, goal);
    }
    comparison.note("with the fork that keeps what is saved, whose cost is that of the rows refork");
    Ok(comparison)
}
