//! Images: files in memory that regions are mapped from.
//!
//! The rule that this module keeps: an image's file has its length for good (sealed against shrinking and growing), so no
//! access to a mapping of it is a SIGBUS, and its content is written by its sole owner alone. What has more users is sealed
//! against writing as soon as its descriptor leaves the process.

use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::fs::{self, FallocateFlags, MemfdFlags, SealFlags, SeekFrom};
use rustix::io::{self, Errno};

use super::bounds;
use crate::pages::{PAGE_BYTES, PageRange, Runs};
use crate::{Error, Result};

/// `statfs(2)`'s word for files in memory.
const TMPFS_MAGIC: i64 = 0x0102_1994;

/// A file in memory, of a fixed length in whole pages.
pub(crate) struct Image {
    file: OwnedFd,
    bytes: usize,
    /// How many pages took memory when that was last asked: they become more by themselves (where a hole is read), and fewer only by
    /// `clear`.
    pages_at_least: AtomicUsize,
}

impl Image {
    /// Makes an image of zeros that takes no memory yet. Four system calls.
    pub(crate) fn zeroed(bytes: usize) -> Result<Self> {
        debug_assert!(bytes.is_multiple_of(PAGE_BYTES));
        bounds::pages_are_known()?;
        bounds::file_may_have(bytes)?;
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        // Older kernels know no MFD_NOEXEC_SEAL, newer ones may be told to insist on it.
        let file = fs::memfd_create("tine", flags | MemfdFlags::NOEXEC_SEAL)
            .or_else(|errno| match errno {
                Errno::INVAL => fs::memfd_create("tine", flags),
                other => Err(other),
            })
            .map_err(Error::system("making a file in memory"))?;
        fs::ftruncate(&file, bytes as u64).map_err(Error::system("sizing a file in memory"))?;
        fs::fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW)
            .map_err(Error::system("sealing a file in memory"))?;
        Ok(Self::new(file, bytes))
    }

    fn new(file: OwnedFd, bytes: usize) -> Self {
        Self {
            file,
            bytes,
            pages_at_least: AtomicUsize::new(0),
        }
    }

    /// Takes a file as an image if the kernel promises that it stays as it is: a file in memory, sealed, with no writer.
    pub(crate) fn sealed(file: BorrowedFd<'_>, bytes: usize) -> Result<Option<Self>> {
        let seals = fs::fcntl_get_seals(file).unwrap_or(SealFlags::empty());
        let asked = "asking what a file is";
        // A file of huge pages can be sealed, too, but only be mapped by those.
        let is_of_known_pages = || fs::fstatfs(file).is_ok_and(|system| system.f_type == TMPFS_MAGIC);
        if !seals.contains(SealFlags::SHRINK | SealFlags::WRITE) || !is_of_known_pages() {
            return Ok(None);
        }
        let length = fs::fstat(file).map_err(Error::system(asked))?.st_size;
        // What lies behind its end in its last page may change when it grows.
        let spare = if seals.contains(SealFlags::GROW) {
            PAGE_BYTES as u64 - 1
        } else {
            0
        };
        if !u64::try_from(length).is_ok_and(|length| length > 0 && length + spare >= bytes as u64) {
            return Ok(None);
        }
        bounds::pages_are_known()?;
        let file = io::fcntl_dupfd_cloexec(file, 0).map_err(Error::system("taking a file"))?;
        Ok(Some(Self::new(file, bytes)))
    }

    pub(crate) fn file(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Returns whether the kernel refuses all writes to it.
    pub(crate) fn is_sealed(&self) -> bool {
        fs::fcntl_get_seals(&self.file).is_ok_and(|seals| seals.contains(SealFlags::WRITE))
    }

    /// Has the kernel refuse all writes from now on, and returns another descriptor of it.
    pub(crate) fn seal(&self) -> Result<OwnedFd> {
        if !self.is_sealed() {
            fs::fcntl_add_seals(&self.file, SealFlags::WRITE | SealFlags::SEAL)
                .map_err(Error::system("sealing a file in memory"))?;
        }
        io::fcntl_dupfd_cloexec(&self.file, 0).map_err(Error::system("handing a file in memory out"))
    }

    /// Returns how many pages take memory. One system call, whatever the length.
    pub(crate) fn pages_in_memory(&self) -> Result<usize> {
        let blocks = fs::fstat(&self.file)
            .map_err(Error::system("asking for an image's memory"))?
            .st_blocks;
        let pages = usize::try_from(blocks).unwrap_or(0) * 512 / PAGE_BYTES;
        self.pages_at_least.store(pages, Ordering::Relaxed);
        Ok(pages)
    }

    /// Returns whether at most so many pages take memory. No system call where there were more before.
    pub(crate) fn has_at_most(&self, pages: usize) -> Result<bool> {
        if self.pages_at_least.load(Ordering::Relaxed) > pages {
            return Ok(false);
        }
        Ok(self.pages_in_memory()? <= pages)
    }

    /// Returns which pages take memory. O(those); two system calls for each run.
    pub(crate) fn data(&self) -> Result<Runs> {
        let mut runs = Runs::default();
        let mut at = 0;
        while at < self.bytes as u64 {
            let start = match fs::seek(&self.file, SeekFrom::Data(at)) {
                Ok(start) => start,
                Err(Errno::NXIO) => break,
                Err(errno) => return Err(Error::system("looking for data in an image")(errno)),
            };
            let end = fs::seek(&self.file, SeekFrom::Hole(start))
                .map_err(Error::system("looking for holes in an image"))?;
            let end = end.min(self.bytes as u64);
            runs.push(page_of(start)..page_of(end + PAGE_BYTES as u64 - 1));
            at = end;
        }
        Ok(runs)
    }

    /// Takes the memory that writing to these pages needs, so that writing them cannot fail for want of it.
    pub(crate) fn reserve(&mut self, runs: &Runs) -> Result {
        for run in runs.iter() {
            for bytes in pieces(run.bytes()) {
                self.reserve_piece(bytes)?;
            }
        }
        Ok(())
    }

    fn reserve_piece(&mut self, bytes: Range<usize>) -> Result {
        let (start, length) = (bytes.start as u64, bytes.len() as u64);
        loop {
            match fs::fallocate(&self.file, FallocateFlags::KEEP_SIZE, start, length) {
                Err(Errno::INTR) => {}
                done => return done.map_err(Error::system("taking memory for an image")),
            }
        }
    }

    /// Writes whole pages.
    pub(crate) fn write(&mut self, run: PageRange, content: &[u8]) -> Result {
        debug_assert_eq!(run.bytes().len(), content.len());
        let mut written = 0;
        while written < content.len() {
            let at = (run.bytes().start + written) as u64;
            match io::pwrite(&self.file, &content[written..], at) {
                Ok(count) => written += count,
                Err(Errno::INTR) => {}
                Err(errno) => return Err(Error::system("writing to an image")(errno)),
            }
        }
        Ok(())
    }

    /// Copies a part of a file to `offset`, inside the kernel where it can.
    pub(crate) fn fill(&mut self, offset: u64, file: BorrowedFd<'_>, range: Range<u64>) -> Result {
        let read = "reading the file";
        fs::seek(&self.file, SeekFrom::Start(offset)).map_err(Error::system(read))?;
        let mut at = range.start;
        while at < range.end {
            let left = usize::try_from(range.end - at).unwrap_or(usize::MAX);
            match fs::sendfile(&self.file, file, Some(&mut at), left) {
                Ok(0) => {
                    let source = std::io::ErrorKind::UnexpectedEof.into();
                    return Err(Error::Stream { action: read, source });
                }
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => return Err(Error::system(read)(errno)),
            }
        }
        Ok(())
    }

    /// Makes everything zero again and gives the memory back.
    pub(crate) fn clear(&mut self) -> Result {
        *self.pages_at_least.get_mut() = 0;
        fs::fallocate(
            &self.file,
            FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE,
            0,
            self.bytes as u64,
        )
        .map_err(Error::system("giving an image's memory back"))
    }
}

/// Returns a range in pieces for each of which memory is taken before the next signal comes: the kernel gives back what it took
/// for one that a signal interrupts.
fn pieces(bytes: Range<usize>) -> impl Iterator<Item = Range<usize>> {
    const PIECE_BYTES: usize = 64 * PAGE_BYTES;
    let end = bytes.end;
    bytes
        .step_by(PIECE_BYTES)
        .map(move |start| start..end.min(start + PIECE_BYTES))
}

fn page_of(bytes: u64) -> usize {
    // A mapped file's offsets are addresses' differences, so they fit.
    usize::try_from(bytes / PAGE_BYTES as u64).unwrap_or(usize::MAX)
}
