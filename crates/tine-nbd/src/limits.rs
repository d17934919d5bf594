//! How much a server lets its clients have.

use std::time::Duration;

/// The smallest unit that a client may address, as told by `NBD_INFO_BLOCK_SIZE`.
pub const MIN_BLOCK_BYTES: u32 = 1;

/// The unit that clients do best to address, as told by `NBD_INFO_BLOCK_SIZE`.
pub const PREFERRED_BLOCK_BYTES: u32 = 4096;

/// The most that one read or write may carry, as told by `NBD_INFO_BLOCK_SIZE`. Longer reads are refused; a longer write
/// ends its connection.
pub const MAX_REQUEST_BYTES: u32 = 32 << 20;

/// Bounds of a server, each for itself. Where 0 would mean that nothing is ever done it is taken as 1.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Connections at a time; one more is closed as soon as it is accepted. The last fifth is for those who have fewer than 16.
    pub connections: usize,
    /// How long a client has from connecting to the begin of transmission.
    pub handshake_time: Duration,
    /// What a client may send until then.
    pub handshake_bytes: usize,
    /// Requests of one connection that wait for a disk at a time; while they are so many, no further one is read from its socket.
    pub requests_waiting: usize,
    /// Memory that one connection's requests hold: payloads that are being written, replies that were not taken yet. While it
    /// is more, no further request is read from its socket; so one more request may exceed it.
    pub bytes_waiting: usize,
    /// Requests of all connections that wait for a disk at a time, each with a thread of its own; further ones wait for one of these to
    /// be done. There may be three more threads for each connection.
    pub threads: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 1280,
            handshake_time: Duration::from_secs(10),
            handshake_bytes: 1 << 20,
            requests_waiting: 64,
            bytes_waiting: 8 << 20,
            threads: 512,
        }
    }
}
