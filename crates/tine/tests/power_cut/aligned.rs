//! Reading past the page cache.

use nix::fcntl::OFlag;
use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

pub(crate) const PAGE: usize = 4096;

/// A buffer on a page boundary, as `O_DIRECT` wants it.
#[repr(C, align(4096))]
pub(crate) struct Aligned(pub(crate) [u8; PAGE]);

/// Returns the whole file as it is on the medium.
pub(crate) fn read_direct(path: &Path) -> io::Result<Vec<u8>> {
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(OFlag::O_DIRECT.bits())
        .open(path)?;
    let mut bytes = Vec::new();
    let mut page = Box::new(Aligned([0; PAGE]));
    loop {
        let length = file.read_at(&mut page.0, bytes.len() as u64)?;
        bytes.extend_from_slice(&page.0[..length]);
        if length < PAGE {
            return Ok(bytes);
        }
    }
}
