//! Serves a disk in memory on a unix socket, until it is killed.
//!
//! ```console
//! $ cargo run --release -p tine-nbd --example ram_disk -- /tmp/ram.sock 4294967296 &
//! $ nbdinfo 'nbd+unix:///ram?socket=/tmp/ram.sock'
//! ```

#[path = "../tests/support/ram_disk.rs"]
mod ram_disk;

use std::os::unix::net::UnixListener;
use std::sync::Arc;

use ram_disk::{RamDisk, RamDisks};
use tine_nbd::{Limits, Server};

fn main() -> std::io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let (Some(socket), Some(size)) = (arguments.next(), arguments.next()) else {
        eprintln!("usage: ram_disk SOCKET BYTES");
        std::process::exit(2);
    };
    let size = size.parse().map_err(std::io::Error::other)?;
    let disks = RamDisks::default();
    disks.insert("ram", Arc::new(RamDisk::new(size)));

    let server = Server::new(Arc::new(disks), Limits::default())?;
    server.listen(UnixListener::bind(socket)?)?;
    loop {
        std::thread::park();
    }
}
