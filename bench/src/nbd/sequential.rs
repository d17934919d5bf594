//! Large requests in order.

use std::rc::Rc;

use super::bed::{Bed, EXTENDED_L2, LoadRow, Served, add_reflink};
use super::fio::Load;
use super::server;
use crate::Result;
use crate::data::LARGE;
use crate::suite::Context;
use bench_measure::Goal;

const TINE: &str = "tine, fork of golden";
const FILE: &str = "nbdkit file";
const QCOW2: &str = "qcow2 overlay";

/// Random writes to each overlay of a chain.
const WRITES_EACH: u64 = 100;

/// Requests in flight.
const DEPTH: u32 = 4;

fn row(context: &Context<'_>, name: &'static str, load: Load, against_file: f64) -> Result {
    let bed = Bed::new(context, name)?;
    let what = load.direction;
    let title = format!("1 MiB {what} in order, {DEPTH} in flight, one connection");
    let mut row = LoadRow::new(context, name, title, load);
    let tine = bed.tine(&[], 0)?;
    let forked = Rc::clone(&tine);
    row.add(TINE, move |round| {
        Bed::forks(&forked, vec![format!("fork-{round}")])
    });
    row.add("nbdkit memory", |_| {
        Served::by(server::nbdkit_memory(bed.raw.bytes)?)
    });
    row.add(FILE, |_| {
        bed.make_raw_ready(&load)?;
        Served::by(server::nbdkit_file(&bed.golden())?)
    });
    row.add("qemu raw", |_| {
        bed.make_raw_ready(&load)?;
        Served::by(server::qemu_nbd(&bed.golden(), "raw")?)
    });
    row.add(QCOW2, |_| bed.overlay(&[]));
    row.add("qcow2 overlay, extended L2", |_| bed.overlay(EXTENDED_L2));
    add_reflink(&bed, &mut row, name);
    if what == "write" {
        row.add_disk(&bed);
    } else {
        // A smoke run has short ones.
        let depths = [10, 50.min(context.scale.many / 2)];
        for (file, depth) in bed.chain(&depths, WRITES_EACH)?.into_iter().zip(depths) {
            row.add(&format!("qcow2 chain of {depth}"), move |_| {
                Served::by(server::qemu_nbd(&file, "qcow2")?)
            });
        }
    }
    row.comparison
        .target(TINE, Goal::AtLeast(against_file, FILE.into()));
    row.comparison.target(TINE, Goal::AtLeast(2.5, QCOW2.into()));
    row.comparison.target(TINE, Goal::Processor(1.0, FILE.into()));
    context.run(row.comparison);
    Ok(())
}

pub(super) fn write(context: &Context<'_>) -> Result {
    let load = Load::new("write", LARGE as u64, DEPTH);
    row(context, "sequential-write", load, 1.05)
}

pub(super) fn read(context: &Context<'_>) -> Result {
    let load = Load::new("read", LARGE as u64, DEPTH);
    row(context, "sequential-read", load, 1.0)
}
