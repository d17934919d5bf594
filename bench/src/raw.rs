//! The plainest peer: a raw file, preallocated and written once, with `pread` and `pwrite`.
//!
//! Its random overwrites through the cache have two speeds. Where readahead or a sequential write brought the file in
//! as large folios, the kernel (seen with ext4 on 6.18) takes some twenty times as long as on an empty cache. So a
//! comparison says in which state the file was.

use std::fs::File;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::OFlags;

use crate::Result;
use crate::data::{BLOCK, BLOCK_BYTES, Blocks, LARGE};
use crate::place::drop_cache;

/// A raw file.
pub(crate) struct RawFile {
    pub(crate) file: File,
    /// The same file, past the cache.
    direct: File,
    pub(crate) bytes: u64,
}

impl RawFile {
    /// Writes a file in order, every block of version 0, and syncs it.
    pub(crate) fn create(path: &Path, bytes: u64, blocks: &Blocks) -> Result<Self> {
        let file = File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .open(path)?;
        rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, bytes)?;
        let mut buffer = vec![0; LARGE];
        let mut at = 0;
        while at < bytes {
            let part = (bytes - at).min(LARGE as u64) as usize;
            blocks.fill(&mut buffer[..part], at / BLOCK_BYTES, 0);
            file.write_all_at(&buffer[..part], at)?;
            at += part as u64;
        }
        file.sync_all()?;
        let direct = File::options()
            .read(true)
            .write(true)
            .custom_flags(OFlags::DIRECT.bits() as i32)
            .open(path)?;
        Ok(Self { file, direct, bytes })
    }

    pub(crate) fn drop_cache(&self) -> Result {
        drop_cache(&self.file)
    }

    /// Reads all of it in order, so that the cache holds it as readahead brings it in.
    pub(crate) fn read_all(&self) -> Result {
        let mut buffer = vec![0; LARGE];
        let mut at = 0;
        while at < self.bytes {
            let part = (self.bytes - at).min(LARGE as u64) as usize;
            self.file.read_exact_at(&mut buffer[..part], at)?;
            at += part as u64;
        }
        Ok(())
    }

    /// Writes a block, makes it durable, through the cache.
    pub(crate) fn write_synced(&self, block: &[u8], number: u64) -> Result {
        self.file.write_all_at(block, number * BLOCK_BYTES)?;
        Ok(self.file.sync_data()?)
    }

    /// Writes an aligned block, makes it durable, past the cache.
    pub(crate) fn write_synced_direct(&self, block: &[u8], number: u64) -> Result {
        self.direct.write_all_at(block, number * BLOCK_BYTES)?;
        Ok(self.direct.sync_data()?)
    }
}

/// A block in memory as O_DIRECT wants it: on a multiple of its size.
pub(crate) struct AlignedBlock {
    memory: Vec<u8>,
    skew: usize,
}

impl AlignedBlock {
    pub(crate) fn new() -> Self {
        let memory = vec![0; 2 * BLOCK];
        let skew = memory.as_ptr().align_offset(BLOCK);
        Self { memory, skew }
    }

    pub(crate) fn bytes(&mut self) -> &mut [u8] {
        &mut self.memory[self.skew..self.skew + BLOCK]
    }
}
