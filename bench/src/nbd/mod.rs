//! The suite `nbd`: `tine serve` against the servers that people use, each with the same client.
//!
//! All run on this machine's cores, the client too. Each contestant has its server started anew or, if it is tine, a
//! fork made anew for each round; processor time is the server's alone.

mod attach;
mod bed;
mod beside;
mod client;
mod fio;
mod random;
mod sequential;
mod server;

use crate::suite::Row;

pub(crate) const ROWS: [Row; 18] = [
    ("random-write-1", random::write_1),
    ("random-write-32", random::write_32),
    ("random-read-1", random::read_1),
    ("random-read-16", random::read_16),
    ("read-back-1", random::read_back_1),
    ("read-back-16", random::read_back_16),
    ("deep-read-16", random::deep),
    ("cold-read-16", random::cold),
    ("write-flush", random::write_flush),
    ("many-forks", random::many_forks),
    ("sequential-write", sequential::write),
    ("sequential-read", sequential::read),
    ("neighbour-write", beside::neighbour_write),
    ("neighbour-flush", beside::neighbour_flush),
    ("longest-write-beside-forks", beside::forks),
    ("attach", attach::first_byte),
    ("attach-qemu", attach::against_qemu),
    ("attach-memory", attach::memory),
];
