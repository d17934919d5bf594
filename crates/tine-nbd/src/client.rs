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

impl Peer {
    /// Returns what is the same for all connections that count as one's when there are many: those of a process, or where it cannot
    /// be seen from here of a user; and by TCP those from a machine.
    pub fn origin(&self) -> Self {
        match *self {
            Self::Process { pid: 0, uid, .. } => Self::Process { pid: 0, uid, gid: 0 },
            Self::Process { pid, .. } => Self::Process { pid, uid: 0, gid: 0 },
            Self::Address(address) => Self::Address(SocketAddr::new(address.ip().to_canonical(), 0)),
        }
    }
}

impl std::fmt::Display for Client {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.peer {
            Peer::Process { pid, uid, .. } => write!(out, "process {pid} of user {uid}"),
            Peer::Address(address) => write!(out, "{address}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_of_a_process_a_user_or_a_machine_have_one_origin() {
        let process = |pid, uid| Peer::Process { pid, uid, gid: 7 }.origin();
        assert_eq!(process(3, 1), process(3, 2));
        assert_ne!(process(3, 1), process(4, 1));
        assert_ne!(process(0, 1), process(0, 2));
        let from = |address: &str| Peer::Address(address.parse().expect("an address")).origin();
        assert_eq!(from("10.0.0.1:5"), from("[::ffff:10.0.0.1]:6"));
        assert_ne!(from("10.0.0.1:5"), from("10.0.0.2:5"));
    }
}
