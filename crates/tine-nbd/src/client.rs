//! Who is at the other end of a connection.

use std::net::SocketAddr;

/// The other end of one connection. Its id tells connections apart for as long as the process runs.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Client {
    /// Different for each connection of a process, from 1 on; never used again.
    pub connection: u64,
    /// Who connected.
    pub peer: Peer,
}

/// What the kernel says about who connected.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Peer {
    /// A process on this machine, by a unix socket: `SO_PEERCRED`, as it was when the process connected.
    Process {
        /// Its process id, as seen from here; 0 when it is in a namespace that cannot be seen from here.
        pid: u32,
        /// Its user.
        uid: u32,
        /// Its group.
        gid: u32,
    },
    /// An address, by TCP.
    Address(SocketAddr),
}

impl std::fmt::Display for Client {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.peer {
            Peer::Process { pid, uid, .. } => write!(out, "process {pid} of user {uid}"),
            Peer::Address(address) => write!(out, "{address}"),
        }
    }
}
