//! `tine memory demo`: forks, writes, rollback and saves, each beside its rival.

use std::fs::File;
use std::io::{self, Seek as _, Write as _};
use std::time::{Duration, Instant};

use serde::Serialize;
use tine_memory::{PAGE_BYTES, Region, Save};
use tine_server::words::{count, human};

use super::peer::{Forked, own_bytes};
use crate::context::Context;
use crate::error::{CommandError, Exit, Outcome};
use crate::text::columns;

/// How often fork(2) is called where a region is forked a thousand times: its calls are long and alike.
const FORKS_OF_PEER: u32 = 10;

/// How many pages are written in each fork, and in one to be rolled back.
const PAGES_EACH: usize = 10;

/// How many pages are written to see what a first write costs.
const PAGES_WRITTEN: usize = 1000;

const FORK: &str = "fork(2)";

/// What was measured: one thing, here and by a rival.
#[derive(Serialize)]
struct Row {
    what: String,
    /// Nanoseconds.
    tine_time: u64,
    /// What is taken for it, where that is the point.
    tine_bytes: Option<u64>,
    peer: &'static str,
    peer_time: u64,
    peer_bytes: Option<u64>,
}

pub(super) fn run(size: u64, forks: u32, context: &Context) -> Outcome {
    let length = usize::try_from(size)
        .ok()
        .filter(|_| (1 << 20..=64 << 30).contains(&size));
    let length = length.ok_or_else(|| {
        CommandError::new(format!("memory of {size} bytes cannot be shown")).hint("take 1MiB to 64GiB")
    })?;
    let rows = measure(length, forks)?;
    if context.ui.json {
        for row in &rows {
            context.ui.object(row)?;
        }
        return Ok(Exit::Done);
    }
    context.ui.line(format_args!(
        "{} of memory, all of it written. What should not have changed has not.\n",
        human(size)
    ))?;
    let mut table = vec![["", "TINE", "", "RIVAL", "", ""].map(str::to_owned)];
    table.extend(rows.iter().map(line));
    for (number, line) in columns(&table, &[1, 2, 4, 5]).into_iter().enumerate() {
        if number == 0 {
            context.ui.heading(line)?;
        } else {
            context.ui.line(line)?;
        }
    }
    Ok(Exit::Done)
}

fn line(row: &Row) -> [String; 6] {
    let bytes = |bytes: Option<u64>| bytes.map(human).unwrap_or_default();
    [
        row.what.clone(),
        in_words(row.tine_time),
        bytes(row.tine_bytes),
        row.peer.to_owned(),
        in_words(row.peer_time),
        bytes(row.peer_bytes),
    ]
}

fn in_words(nanoseconds: u64) -> String {
    let time = nanoseconds as f64;
    match nanoseconds {
        0..1_000 => format!("{nanoseconds} ns"),
        1_000..1_000_000 => format!("{:.1} µs", time / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} ms", time / 1e6),
        _ => format!("{:.2} s", time / 1e9),
    }
}

fn measure(length: usize, forks: u32) -> Outcome<Vec<Row>> {
    let mut rows = Vec::new();
    let mut row = |what: String, tine: (Duration, Option<u64>), peer, rival: (Duration, Option<u64>)| {
        let nanoseconds = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        rows.push(Row {
            what,
            tine_time: nanoseconds(tine.0),
            tine_bytes: tine.1,
            peer,
            peer_time: nanoseconds(rival.0),
            peer_bytes: rival.1,
        });
    };

    // Regions are not mapped in a process made by fork(2): what it copies is this.
    let mut plain = vec![1; length];
    let mut golden = Region::zeroed(length).map_err(failed)?;
    golden.as_mut_slice().fill(1);

    let first_of_peer = forked()?;
    let peer_bytes = first_of_peer.bytes().map_err(asked)?;
    let peer_time = first_of_peer.took;
    drop(first_of_peer);
    let (time, first) = timed(|| golden.fork());
    drop(first.map_err(failed)?);
    row("first fork".to_owned(), (time, None), FORK, (peer_time, None));

    let mut peer_time = Duration::ZERO;
    for _ in 0..FORKS_OF_PEER {
        peer_time += forked()?.took;
    }
    let peer_time = peer_time / FORKS_OF_PEER;
    let before = own_bytes().map_err(asked)?;
    let (time, all) = timed(|| golden.fork_many(forks as usize));
    let mut all = all.map_err(failed)?;
    let each = |now: u64| now.saturating_sub(before) / u64::from(forks);
    let bytes = each(own_bytes().map_err(asked)?);
    row(
        format!("each of {}", count(u64::from(forks), "fork")),
        (time / forks, Some(bytes)),
        FORK,
        (peer_time, Some(peer_bytes)),
    );

    let pages = spread(length, PAGES_EACH);
    let (time, written) = timed(|| all.iter_mut().try_for_each(|fork| write(fork, &pages)));
    written.map_err(failed)?;
    let bytes = each(own_bytes().map_err(asked)?);
    let child = forked()?;
    let (peer_time, ()) = timed(|| pages.iter().for_each(|page| plain[page * PAGE_BYTES] = 2));
    drop(child);
    row(
        format!("{} written in each", count(pages.len() as u64, "page")),
        (time / forks, Some(bytes)),
        FORK,
        (peer_time, Some(peer_bytes + (pages.len() * PAGE_BYTES) as u64)),
    );

    let child = forked()?;
    let many = spread(length, PAGES_WRITTEN);
    let (peer_time, ()) = timed(|| many.iter().for_each(|page| plain[page * PAGE_BYTES] = 3));
    drop(child);
    let mut fork = golden.fork().map_err(failed)?;
    let (time, written) = timed(|| write(&mut fork, &many));
    written.map_err(failed)?;
    let writes = u32::try_from(many.len()).unwrap_or(u32::MAX);
    row(
        "first write to a page".to_owned(),
        (time / writes, None),
        FORK,
        (peer_time / writes, None),
    );

    let job = all.last_mut().ok_or_else(|| broken("there are no forks"))?;
    let (time, again) = timed(|| job.fork());
    drop(again.map_err(failed)?);
    let peer_time = forked()?.took;
    row(
        format!("fork of a fork with {}", count(pages.len() as u64, "page")),
        (time, None),
        FORK,
        (peer_time, None),
    );

    let job = &mut all[0];
    let (time, rolled_back) = timed(|| job.rollback());
    rolled_back.map_err(failed)?;
    let peer_time = forked()?.took;
    row(
        format!("rollback of {}", count(pages.len() as u64, "page")),
        (time, None),
        "a new fork(2)",
        (peer_time, None),
    );
    let is_as_it_was = |region: &Region| region.as_slice() == golden.as_slice();
    if !is_as_it_was(&all[0]) || golden.as_slice().iter().any(|&byte| byte != 1) {
        return Err(broken("a write in a fork is seen elsewhere"));
    }
    drop((all, fork));
    save(&mut golden, &plain, &mut row)?;
    Ok(rows)
}

/// Saves the region, whole and once more, beside writing as much memory to a file.
fn save(
    golden: &mut Region,
    plain: &[u8],
    row: &mut impl FnMut(String, (Duration, Option<u64>), &'static str, (Duration, Option<u64>)),
) -> Outcome<()> {
    let file = || tempfile::tempfile().map_err(|error| CommandError::io("make a temporary file", error));
    let mut rival = file()?;
    let (peer_time, written) = timed(|| rival.write_all(plain));
    written.map_err(|error| CommandError::io("write a temporary file", error))?;
    let peer_bytes = Some(plain.len() as u64);
    drop(rival);
    let mut saved = file()?;
    let (time, mark) = timed(|| golden.save(&mut saved, Save::Full));
    let mark = mark.map_err(failed)?;
    row(
        "save".to_owned(),
        (time, Some(end(&saved)?)),
        "write(2)",
        (peer_time, peer_bytes),
    );
    let pages = spread(golden.len(), PAGES_EACH);
    write(golden, &pages).map_err(failed)?;
    let mut since = file()?;
    let (time, mark) = timed(|| golden.save(&mut since, Save::Since(&mark)));
    mark.map_err(failed)?;
    row(
        format!("save of {} since", count(pages.len() as u64, "page")),
        (time, Some(end(&since)?)),
        "write(2)",
        (peer_time, peer_bytes),
    );
    let rewound = saved.rewind().and_then(|()| since.rewind());
    rewound.map_err(|error| CommandError::io("read a temporary file", error))?;
    let mut loaded = Region::load(&mut saved).map_err(failed)?;
    loaded.load_since(&mut since).map_err(failed)?;
    if loaded.as_slice() == golden.as_slice() {
        Ok(())
    } else {
        Err(broken("what was saved is not what is loaded"))
    }
}

/// Returns the length of a file.
fn end(file: &File) -> Outcome<u64> {
    let metadata = file.metadata();
    Ok(metadata
        .map_err(|error| CommandError::io("look at a temporary file", error))?
        .len())
}

fn timed<T>(work: impl FnOnce() -> T) -> (Duration, T) {
    let begun = Instant::now();
    let done = work();
    (begun.elapsed(), done)
}

/// Returns so many pages, far from each other, at most half of all.
fn spread(length: usize, count: usize) -> Vec<usize> {
    let pages = length / PAGE_BYTES;
    let count = count.min(pages / 2);
    (0..count).map(|number| number * (pages / count)).collect()
}

fn write(region: &mut Region, pages: &[usize]) -> tine_memory::Result {
    let mut write = |page: &usize| region.write_at(&[2], page * PAGE_BYTES);
    pages.iter().try_for_each(&mut write)
}

fn forked() -> Outcome<Forked> {
    Forked::new().map_err(|error| CommandError::io("call fork(2), which is to be measured beside", error))
}

fn asked(error: io::Error) -> CommandError {
    CommandError::io("ask how much memory is taken", error)
}

fn failed(error: tine_memory::Error) -> CommandError {
    let mut message = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(error) = cause {
        message = format!("{message}: {error}");
        cause = error.source();
    }
    let failure = CommandError::new(message);
    match error.hint() {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

/// Returns the error of a demo that did not show what it should: a defect of tine's.
fn broken(what: &str) -> CommandError {
    CommandError::new(format!("the demo went wrong: {what}"))
        .hint("this is a defect of tine; please report it")
}
