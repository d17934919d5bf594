//! `tine serve` and those who use it: the real program, and the clients that people have.
//!
//! What another program is needed for is skipped where that is missing, by name.

#[path = "../common/mod.rs"]
mod common;

mod attach;
mod attached;
mod client;
mod cold;
mod copying;
mod daemon;
mod damaged;
mod ending;
mod hostile;
mod killed;
mod libnbd;
mod load;
mod looking;
mod size_limit;
mod spelling;
mod throwaway;
