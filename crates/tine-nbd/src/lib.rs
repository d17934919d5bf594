//! The NBD protocol, server side, over traits of its own.
//!
//! Who implements [`Exports`] and [`Export`] has a server of disks: any NBD client attaches them by name. The crate knows
//! the protocol and sockets, and nothing of what a disk is made of. Sections cited as "proto.md" are those of the
//! [public document](https://github.com/NetworkBlockDevice/nbd/blob/master/doc/proto.md).

mod buffer;
mod client;
mod connection;
#[cfg(feature = "fuzzing")]
pub mod decoders;
mod error;
mod export;
mod greeting;
mod handshake;
mod lead;
mod limits;
mod output;
mod protocol;
mod server;
mod socket;
mod tables;
mod watch;
mod work;

pub use client::{Client, Peer};
pub use error::{Errno, Fault, Refusal, RefusalKind};
pub use export::{
    BASE_ALLOCATION, Export, ExportInfo, Exports, Extent, Features, Listing, STATE_HOLE, STATE_ZERO, Zeroing,
};
pub use limits::{Limits, MAX_REQUEST_BYTES, MIN_BLOCK_BYTES, PREFERRED_BLOCK_BYTES};
pub use server::Server;
pub use socket::{Listener, Stream};
