//! A store to measure, and what is done to every store here.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tine_store::medium::{Access, DirectoryMedium};
use tine_store::{Branch, BranchName, CreateOptions, OpenOptions, Store, Target};

use crate::Result;
use crate::count::{CountingMedium, Counts};
use crate::data::{BLOCK, BLOCK_BYTES, Blocks, LARGE, Random};
use crate::scale::Scale;

/// A store in a directory, whose syncs and bytes are counted.
pub(super) struct Bed {
    pub(super) directory: PathBuf,
    pub(super) counts: Arc<Counts>,
    buffer_bytes: u64,
    store: Option<Store>,
}

impl Bed {
    pub(super) fn create(directory: PathBuf, scale: &Scale) -> Result<Self> {
        Self::create_with(directory, scale, CreateOptions::default().journal_files)
    }

    /// As [`Bed::create`], with a journal of so many files: a long one is not freed by saving the index so soon.
    pub(super) fn create_with(directory: PathBuf, scale: &Scale, journal_files: u32) -> Result<Self> {
        let made = DirectoryMedium::create(&directory)?.ok_or("the store's directory is not empty")?;
        let counts = Arc::new(Counts::default());
        let medium = CountingMedium {
            medium: made,
            counts: Arc::clone(&counts),
        };
        let options = CreateOptions {
            journal_file_bytes: scale.journal_file_bytes,
            journal_files,
        };
        let store = Store::create_on(Arc::new(medium), &options, open_options(scale.buffer_bytes))?;
        Ok(Self {
            directory,
            counts,
            buffer_bytes: scale.buffer_bytes,
            store: Some(store),
        })
    }

    /// Returns the store.
    ///
    /// # Errors
    ///
    /// When it is closed.
    pub(super) fn store(&self) -> Result<&Store> {
        self.store.as_ref().ok_or_else(|| "the store is closed".into())
    }

    /// Closes the store well, so that what is in memory goes to its place. No handle is held any more.
    pub(super) fn close(&mut self) -> Result {
        match self.store.take() {
            Some(store) => Ok(store.close()?),
            None => Ok(()),
        }
    }

    pub(super) fn open(&mut self) -> Result {
        let opened = DirectoryMedium::open(&self.directory, Access::Write)?;
        let medium = CountingMedium {
            medium: opened.map_err(|_| "the store is held by another process")?,
            counts: Arc::clone(&self.counts),
        };
        self.store = Some(Store::open_on(Arc::new(medium), open_options(self.buffer_bytes))?);
        Ok(())
    }

    /// Drains: closes the store and opens it again, which also gives back what was dropped.
    pub(super) fn reopen(&mut self) -> Result {
        self.close()?;
        self.open()
    }

    /// Drains and saves the index: all that what was written costs is on the disk then. No handle is held any more.
    ///
    /// A close saves the index if the next opening would have much to replay, so something is written and dropped.
    pub(super) fn save(&mut self) -> Result {
        let before = self.store()?.stats()?.manifest;
        let name: BranchName = "scratch".parse()?;
        let scratch = self.store()?.create_branch(&name, LARGE as u64)?;
        for block in 0..LARGE as u64 / BLOCK_BYTES {
            scratch.write_at(&[1; BLOCK], block * BLOCK_BYTES)?;
            scratch.flush()?;
        }
        drop(scratch);
        self.store()?.drop_branches(&[name])?;
        self.reopen()?;
        if self.store()?.stats()?.manifest == before {
            return Err("the store saved no index".into());
        }
        Ok(())
    }

    pub(super) fn branch(&self, name: &str) -> Result<Branch> {
        Ok(self.store()?.branch(&name.parse()?)?)
    }

    /// Forks a branch and opens the fork.
    pub(super) fn fork(&self, source: &str, name: &str) -> Result<Branch> {
        let name: BranchName = name.parse()?;
        self.store()?.fork(&source.parse::<Target>()?, &name)?;
        Ok(self.store()?.branch(&name)?)
    }

    pub(super) fn drop_branch(&self, name: &str) -> Result {
        Ok(self.store()?.drop_branches(&[name.parse()?])?)
    }

    /// Makes a branch that was written in order, every block of version 0.
    pub(super) fn golden_in_order(&self, name: &str, bytes: u64, blocks: &Blocks) -> Result<Branch> {
        let branch = self.store()?.create_branch(&name.parse()?, bytes)?;
        write_in_order(&branch, bytes, blocks, 0)?;
        branch.flush()?;
        Ok(branch)
    }

    /// Makes a branch that was written block by block in random order, every block of version 0.
    pub(super) fn golden_at_random(&self, name: &str, bytes: u64, blocks: &Blocks) -> Result<Branch> {
        let branch = self.store()?.create_branch(&name.parse()?, bytes)?;
        write_all_at_random(&branch, blocks)?;
        Ok(branch)
    }

    /// Makes a branch that was written in order and then rewritten wholly, block by block in random order, every block of
    /// version 0.
    pub(super) fn golden_rewritten(&self, name: &str, bytes: u64, blocks: &Blocks) -> Result<Branch> {
        let branch = self.golden_in_order(name, bytes, blocks)?;
        write_all_at_random(&branch, blocks)?;
        Ok(branch)
    }

    /// Returns the bytes that the store occupies, without the journal's ring and the room that is held back.
    pub(super) fn allocated_bytes(&self) -> Result<u64> {
        let of = |part: &str| crate::place::allocated_bytes(&self.directory.join(part));
        Ok(of("segments")? + of("manifest")?)
    }
}

pub(super) fn open_options(buffer_bytes: u64) -> OpenOptions {
    OpenOptions {
        buffer_bytes,
        ..OpenOptions::default()
    }
}

/// Opens a store as any program would.
pub(super) fn open_plainly(directory: &Path, buffer_bytes: u64) -> Result<Store> {
    Ok(Store::open(directory, open_options(buffer_bytes))?)
}

/// Writes every block of a branch once, in random order, and flushes.
fn write_all_at_random(branch: &Branch, blocks: &Blocks) -> Result {
    let mut buffer = vec![0; BLOCK];
    for block in Random::new(2).shuffled(branch.size() / BLOCK_BYTES) {
        blocks.fill(&mut buffer, block, 0);
        branch.write_at(&buffer, block * BLOCK_BYTES)?;
    }
    Ok(branch.flush()?)
}

/// Writes the first `bytes` of a branch in large pieces.
pub(super) fn write_in_order(branch: &Branch, bytes: u64, blocks: &Blocks, version: u64) -> Result {
    let mut buffer = vec![0; LARGE];
    let mut at = 0;
    while at < bytes {
        let part = (bytes - at).min(LARGE as u64) as usize;
        blocks.fill(&mut buffer[..part], at / BLOCK_BYTES, version);
        branch.write_at(&buffer[..part], at)?;
        at += part as u64;
    }
    Ok(())
}

/// Reads the first `bytes` of a disk in large pieces and has each looked at.
pub(super) fn read_in_order(
    bytes: u64,
    mut read: impl FnMut(&mut [u8], u64) -> Result,
    mut look: impl FnMut(&[u8], u64) -> Result,
) -> Result {
    let mut buffer = vec![0; LARGE];
    let mut at = 0;
    while at < bytes {
        let part = (bytes - at).min(LARGE as u64) as usize;
        read(&mut buffer[..part], at)?;
        look(&buffer[..part], at / BLOCK_BYTES)?;
        at += part as u64;
    }
    Ok(())
}

/// Random writes: which blocks, and of which version.
#[derive(Clone, Copy)]
pub(super) struct Scattered {
    pub(super) seed: u64,
    pub(super) writes: u64,
    pub(super) disk_blocks: u64,
    pub(super) version: u64,
}

impl Scattered {
    /// Calls `write` with each block.
    pub(super) fn each(&self, blocks: &Blocks, mut write: impl FnMut(&[u8], u64) -> Result) -> Result {
        let mut random = Random::new(self.seed);
        let mut buffer = vec![0; BLOCK];
        for _ in 0..self.writes {
            let block = random.below(self.disk_blocks);
            blocks.fill(&mut buffer, block, self.version);
            write(&buffer, block * BLOCK_BYTES)?;
        }
        Ok(())
    }

    /// Reads what was written back: all of it, or one in so many that it takes no time.
    pub(super) fn verify(
        &self,
        blocks: &Blocks,
        all: bool,
        mut read: impl FnMut(&mut [u8], u64) -> Result,
    ) -> Result {
        let step = if all { 1 } else { (self.writes / 2000).max(1) };
        let mut random = Random::new(self.seed);
        let mut buffer = vec![0; BLOCK];
        for write in 0..self.writes {
            let block = random.below(self.disk_blocks);
            if write.is_multiple_of(step) {
                read(&mut buffer, block * BLOCK_BYTES)?;
                blocks.check(&buffer, block, self.version)?;
            }
        }
        Ok(())
    }
}
