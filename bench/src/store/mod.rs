//! The suite `store`: the engine as a library, and twice as the command, against what people use instead.

mod bed;
mod commit;
mod crash;
mod fork;
mod import;
mod open;
mod pressure;
mod read;
mod space;
mod write;

pub(crate) use crash::write_until_killed;
pub(crate) use open::open_all;

use crate::suite::Row;

pub(crate) const ROWS: [Row; 18] = [
    ("fork", fork::fork),
    ("fork-process", fork::process),
    ("read", read::random),
    ("write", write::random),
    ("sequential-write", write::sequential),
    ("sequential-read", read::sequential),
    ("cold-read", read::cold),
    ("commit", commit::commit),
    ("threads", commit::threads),
    ("pressure", pressure::buffer),
    ("pressure-flush", pressure::journal),
    ("space", space::scattered),
    ("space-forks", space::forks),
    ("open", open::many),
    ("open-memory", open::memory),
    ("open-deep", open::deep),
    ("crash", crash::crash),
    ("import", import::import),
];
