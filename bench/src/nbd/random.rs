//! Small requests in random order.

use std::rc::Rc;

use super::bed::{Bed, EXTENDED_L2, LoadRow, Served, add_reflink};
use super::fio::Load;
use super::server;
use crate::Result;
use crate::data::BLOCK_BYTES;
use crate::place::drop_cache_of_all;
use crate::suite::Context;
use bench_measure::Goal;

const TINE: &str = "tine, fork of golden";
const MEMORY: &str = "nbdkit memory";
const FILE: &str = "nbdkit file";
const QCOW2: &str = "qcow2 overlay";

/// How many connections the row of many forks has.
const CONNECTIONS: usize = 16;

/// Random writes to each disk of a long line.
const WRITES_EACH: u64 = 100;

/// Adds tine and the peers that all rows of one connection have.
fn contestants<'a>(bed: &'a Bed<'a>, row: &mut LoadRow<'a>, name: &'static str, load: Load) -> Result {
    let reads = load.direction.contains("read");
    let tine = bed.tine(&[], 0)?;
    row.add(TINE, move |round| {
        Bed::forks(&tine, vec![format!("fork-{round}")])
    });
    row.add(MEMORY, |_| Served::by(server::nbdkit_memory(bed.raw.bytes)?));
    row.add(FILE, move |_| {
        bed.make_raw_ready(&load)?;
        Served::by(server::nbdkit_file(&bed.golden())?)
    });
    if !reads {
        row.add("nbdkit file, just read", |_| {
            bed.raw.drop_cache()?;
            bed.raw.read_all()?;
            Served::by(server::nbdkit_file(&bed.golden())?)
        });
    }
    row.add("qemu raw", move |_| {
        bed.make_raw_ready(&load)?;
        Served::by(server::qemu_nbd(&bed.golden(), "raw")?)
    });
    row.add(QCOW2, |_| bed.overlay(&[]));
    row.add("qcow2 overlay, extended L2", |_| bed.overlay(EXTENDED_L2));
    add_reflink(bed, row, name);
    Ok(())
}

/// A row of one connection; `goals` are what tine is held to.
fn one_connection(
    context: &Context<'_>,
    name: &'static str,
    what: &str,
    load: Load,
    goals: &[Goal],
) -> Result {
    let bed = Bed::new(context, name)?;
    let title = format!("{what}, {} in flight, one connection", load.depth);
    let mut row = LoadRow::new(context, name, title, load);
    contestants(&bed, &mut row, name, load)?;
    if load.flush {
        row.add_disk(&bed);
    }
    for goal in goals {
        row.comparison.target(TINE, goal.clone());
    }
    row.comparison.target(TINE, Goal::Processor(1.0, FILE.into()));
    if load.direction.contains("write") {
        row.comparison.note(
            "nbdkit file has its file's cache dropped, which is its best state; just read is the state that a \
             sequential read leaves",
        );
    }
    context.run(row.comparison);
    Ok(())
}

pub(super) fn write_1(context: &Context<'_>) -> Result {
    let goals = [Goal::AtLeast(1.3, MEMORY.into())];
    let load = Load::new("randwrite", BLOCK_BYTES, 1);
    one_connection(context, "random-write-1", "4 KiB random write", load, &goals)
}

pub(super) fn write_32(context: &Context<'_>) -> Result {
    let goals = [
        Goal::AtLeast(1.3, MEMORY.into()),
        Goal::AtLeast(1.3, FILE.into()),
        Goal::AtLeast(12.0, QCOW2.into()),
    ];
    let load = Load::new("randwrite", BLOCK_BYTES, 32);
    one_connection(context, "random-write-32", "4 KiB random write", load, &goals)
}

pub(super) fn read_1(context: &Context<'_>) -> Result {
    let goals = [Goal::AtLeast(1.2, FILE.into())];
    let load = Load::new("randread", BLOCK_BYTES, 1);
    one_connection(context, "random-read-1", "4 KiB random read", load, &goals)
}

pub(super) fn read_16(context: &Context<'_>) -> Result {
    let goals = [Goal::AtLeast(1.6, FILE.into())];
    let load = Load::new("randread", BLOCK_BYTES, 16);
    one_connection(context, "random-read-16", "4 KiB random read", load, &goals)
}

pub(super) fn write_flush(context: &Context<'_>) -> Result {
    let goals = [Goal::AtLeast(1.3, FILE.into()), Goal::AtLeast(5.0, QCOW2.into())];
    let load = Load {
        flush: true,
        ..Load::new("randwrite", BLOCK_BYTES, 1)
    };
    one_connection(
        context,
        "write-flush",
        "4 KiB random write and a flush",
        load,
        &goals,
    )
}

/// What was just written is read, beside the golden disk.
fn read_back(context: &Context<'_>, name: &'static str, depth: u32) -> Result {
    let bed = Bed::new(context, name)?;
    let load = Load::new("randread", BLOCK_BYTES, depth);
    let title = format!("4 KiB random read, {depth} in flight, one connection");
    let mut row = LoadRow::new(context, name, title, load);
    let tine = bed.tine(&[], 0)?;
    let golden = Rc::clone(&tine);
    row.add("tine, golden", move |_| {
        Ok(Served::branch(&golden, "golden".into()))
    });
    const WRITTEN: &str = "tine, a fork just written";
    row.add(WRITTEN, move |round| {
        let served = Bed::forks(&tine, vec![format!("fork-{round}")])?;
        Load::new("randwrite", BLOCK_BYTES, 32).run(&served.uris(), context.scale)?;
        Ok(served)
    });
    row.comparison
        .target(WRITTEN, Goal::AtLeast(0.9, "tine, golden".into()));
    context.run(row.comparison);
    Ok(())
}

pub(super) fn read_back_1(context: &Context<'_>) -> Result {
    read_back(context, "read-back-1", 1)
}

pub(super) fn read_back_16(context: &Context<'_>) -> Result {
    read_back(context, "read-back-16", 16)
}

pub(super) fn deep(context: &Context<'_>) -> Result {
    let name = "deep-read-16";
    let bed = Bed::new(context, name)?;
    let load = Load::new("randread", BLOCK_BYTES, 16);
    let title = format!(
        "4 KiB random read of the last of a line, {WRITES_EACH} writes in each, {} in flight",
        load.depth
    );
    let mut row = LoadRow::new(context, name, title, load);
    // A smoke run has short lines.
    let (middle, deepest) = (50.min(context.scale.many / 2), context.scale.many);
    let tine = bed.tine(&[1, middle, deepest], WRITES_EACH)?;
    let called = |depth: u64| format!("tine, depth {depth}");
    for depth in [1, middle, deepest] {
        let tine = Rc::clone(&tine);
        row.add(&called(depth), move |_| {
            Ok(Served::branch(&tine, format!("depth-{depth}")))
        });
    }
    let chain = bed.chain(&[1, 10, middle], WRITES_EACH)?;
    for (file, depth) in chain.into_iter().zip([1, 10, middle]) {
        row.add(&format!("qcow2 chain of {depth}"), move |_| {
            Served::by(server::qemu_nbd(&file, "qcow2")?)
        });
    }
    for depth in [middle, deepest] {
        row.comparison
            .target(&called(depth), Goal::AtLeast(0.95, called(1)));
    }
    row.comparison.target(
        &called(middle),
        Goal::AtLeast(15.0, format!("qcow2 chain of {middle}")),
    );
    context.run(row.comparison);
    Ok(())
}

pub(super) fn cold(context: &Context<'_>) -> Result {
    let name = "cold-read-16";
    let bed = Bed::new(context, name)?;
    let load = Load::new("randread", BLOCK_BYTES, 16);
    let title = format!(
        "4 KiB random read, {} in flight, nothing in the cache",
        load.depth
    );
    let mut row = LoadRow::new(context, name, title, load);
    let tine = bed.tine(&[], 0)?;
    let segments = bed.room.join("store/segments");
    row.add(TINE, move |round| {
        let served = Bed::forks(&tine, vec![format!("fork-{round}")])?;
        drop_cache_of_all(&segments)?;
        Ok(served)
    });
    row.add(FILE, |_| {
        bed.raw.drop_cache()?;
        Served::by(server::nbdkit_file(&bed.golden())?)
    });
    row.add(QCOW2, |_| {
        let served = bed.overlay(&[])?;
        // Which brings the golden disk into the cache.
        bed.raw.drop_cache()?;
        Ok(served)
    });
    row.comparison.target(TINE, Goal::AtLeast(1.1, FILE.into()));
    row.comparison.target(TINE, Goal::Processor(1.0, FILE.into()));
    context.run(row.comparison);
    Ok(())
}

pub(super) fn many_forks(context: &Context<'_>) -> Result {
    let name = "many-forks";
    let bed = Bed::new(context, name)?;
    let load = Load {
        flush: true,
        ..Load::new("randwrite", BLOCK_BYTES, 1)
    };
    let title = format!("4 KiB random write and a flush, {CONNECTIONS} connections to as many forks");
    let mut row = LoadRow::new(context, name, title, load);
    let tine = bed.tine(&[], 0)?;
    row.add("tine", move |round| {
        let names = (0..CONNECTIONS).map(|number| format!("fork-{round}-{number}"));
        Bed::forks(&tine, names.collect())
    });
    row.add("qcow2 overlays", |_| {
        let names: Vec<String> = (0..CONNECTIONS)
            .map(|number| format!("overlay-{number}"))
            .collect();
        bed.overlays(&names, &[])
    });
    row.comparison
        .target("tine", Goal::AtLeast(5.0, "qcow2 overlays".into()));
    context.run(row.comparison);
    Ok(())
}
