//! From nothing to the first byte of a new fork, and what so many of them take.

use std::rc::Rc;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::bed::Bed;
use super::client;
use super::server::{self, Server};
use crate::Result;
use crate::suite::Context;
use bench_measure::{Comparison, Goal, Sample, Unit, median_of, timed};

/// Attaches to a throwaway fork and reads its first bytes; returns how long that took.
fn attach_and_read(server: &Server) -> Result<Duration> {
    let (elapsed, stream) = timed(|| {
        let mut stream = client::attach(server.socket(), "golden+fork")?;
        let mut bytes = [0; 512];
        client::read_first(&mut stream, &mut bytes)?;
        Ok(stream)
    })?;
    drop(stream);
    Ok(elapsed)
}

/// Does `work`, which attaches so many times, and returns its value with the processor time that each took, by what was `spent`
/// before and after.
fn with_processor(
    attaches: u32,
    spent: impl Fn() -> Result<Duration>,
    work: impl FnOnce() -> Result<f64>,
) -> Result<Sample> {
    let before = spent()?;
    let mut sample = Sample::new(work()?);
    sample.effort.processor = Some((spent()? - before).as_secs_f64() / f64::from(attaches));
    Ok(sample)
}

pub(super) fn first_byte(context: &Context<'_>) -> Result {
    let bed = Bed::new(context, "attach")?;
    let tine = bed.tine(&[], 0)?;
    let title = "golden+fork: connected, forked, and its first 512 bytes read";
    let mut row = Comparison::new("attach", title, Unit::Seconds);
    let samples = context.scale.samples;
    let (at_median, at_99) = (Rc::clone(&tine), tine);
    row.add_fn("tine, the median", move |_| {
        let server = &at_median.server;
        let spent = || server.processor_time();
        with_processor(samples, spent, || median_of(samples, || attach_and_read(server)))
    });
    row.add_fn("tine, 99 of 100", move |_| {
        let spent = || at_99.server.processor_time();
        with_processor(10 * samples, spent, || {
            let times = (0..10 * samples)
                .map(|_| Ok(attach_and_read(&at_99.server)?.as_secs_f64()))
                .collect::<Result<Vec<f64>>>();
            let mut times = times?;
            times.sort_by(f64::total_cmp);
            Ok(times[times.len() * 99 / 100])
        })
    });
    row.target("tine, the median", Goal::Within(1e-3));
    row.target("tine, 99 of 100", Goal::Within(5e-3));
    context.run(row);
    Ok(())
}

pub(super) fn against_qemu(context: &Context<'_>) -> Result {
    let bed = Bed::new(context, "attach-qemu")?;
    let tine = bed.tine(&[], 0)?;
    let title = "from nothing to the first 512 bytes of a new fork";
    let mut row = Comparison::new("attach-qemu", title, Unit::Seconds);
    let samples = context.scale.processes;
    row.add_fn("tine, golden+fork", move |_| {
        let spent = || tine.server.processor_time();
        with_processor(samples, spent, || {
            median_of(samples, || attach_and_read(&tine.server))
        })
    });
    row.add_fn("qemu-img create, qemu-nbd", |_| {
        let overlay = bed.room.join("overlay");
        // Of both programs: each has ended before the next fork.
        with_processor(samples, server::processor_time_of_ended, || {
            median_of(samples, || {
                let (elapsed, ended) = timed(|| {
                    server::overlay(&overlay, &bed.golden(), "raw", &[])?;
                    let server = server::qemu_nbd(&overlay, "qcow2")?;
                    let mut stream = client::attach(server.socket(), "")?;
                    let mut bytes = [0; 512];
                    client::read_first(&mut stream, &mut bytes)?;
                    Ok((stream, server))
                })?;
                // The connection first, so that the server need not wait for it.
                drop(ended.0);
                drop(ended.1);
                Ok(elapsed)
            })
        })
    });
    row.target(
        "tine, golden+fork",
        Goal::Faster(10.0, "qemu-img create, qemu-nbd".into()),
    );
    context.run(row);
    Ok(())
}

pub(super) fn memory(context: &Context<'_>) -> Result {
    let many = context.scale.many;
    let before = getrlimit(Resource::Nofile);
    setrlimit(
        Resource::Nofile,
        Rlimit {
            current: before.maximum,
            ..before
        },
    )?;
    let bed = Bed::new(context, "attach-memory")?;
    let title = "the daemon's memory, with throwaway forks attached at once";
    let mut row = Comparison::new("attach-memory", title, Unit::Bytes);
    let attached = |tine: &server::Tine, count: u64| -> Result<Sample> {
        let mut streams = Vec::new();
        let before = tine.server.processor_time()?;
        for _ in 0..count {
            let mut stream = client::attach(tine.server.socket(), "golden+fork")?;
            client::read_first(&mut stream, &mut [0; 4096])?;
            streams.push(stream);
        }
        let spent = tine.server.processor_time()? - before;
        let mut sample = Sample::new(tine.server.memory_bytes()? as f64);
        sample.effort.processor = Some(spent.as_secs_f64() / count as f64);
        Ok(sample)
    };
    let tine = bed.tine(&[], 0)?;
    let path = bed.room.join("store");
    drop(tine);
    for count in [1, many] {
        let path = path.clone();
        row.add_fn(format!("tine, {count} attached"), move |_| {
            attached(&server::Tine::serve(&path)?, count)
        });
    }
    row.target(
        &format!("tine, {many} attached"),
        Goal::Beyond(f64::from(64 << 20), "tine, 1 attached".into()),
    );
    context.run(row);
    Ok(())
}
