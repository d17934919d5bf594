//! Files of the journal's ring: written and read past the cache where that is possible.
//!
//! Invariant: what is written and could not be made durable is told to each who syncs it, whoever was told before.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::Access;
use super::file::{ALIGNMENT, open_direct, read_past_cache};
use crate::medium::Syncer;

/// A file of the ring. Past the cache a frame's bytes are copied once less, and no page has to be found and written back.
pub(super) struct JournalFile {
    direct: Option<File>,
    /// For each syncer, and for who reads, a file of its own: the kernel tells an error once to each that was open.
    synced: [File; 2],
    read: File,
}

impl JournalFile {
    pub(super) fn open(path: &Path, access: Access) -> io::Result<Self> {
        let mut options = File::options();
        options.read(true).write(access == Access::Write);
        Ok(Self {
            synced: [options.open(path)?, options.open(path)?],
            read: options.open(path)?,
            direct: open_direct(path, &mut options)?,
        })
    }

    pub(super) fn write(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let Some(direct) = &self.direct else {
            return self.read.write_all_at(bytes, offset);
        };
        if bytes.as_ptr().addr().is_multiple_of(ALIGNMENT) {
            return direct.write_all_at(bytes, offset);
        }
        let mut memory = vec![0; bytes.len() + ALIGNMENT];
        let skew = memory.as_ptr().align_offset(ALIGNMENT);
        let aligned = &mut memory[skew..skew + bytes.len()];
        aligned.copy_from_slice(bytes);
        direct.write_all_at(aligned, offset)
    }

    pub(super) fn sync(&self, by: Syncer) -> io::Result<()> {
        let [first, second] = &self.synced;
        match by {
            Syncer::First => first.sync_data(),
            Syncer::Second => second.sync_data(),
        }
    }

    pub(super) fn read(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        read_past_cache(&self.read, self.direct.as_ref(), bytes, offset)
    }

    pub(super) fn length(&self) -> io::Result<u64> {
        Ok(self.read.metadata()?.len())
    }
}
