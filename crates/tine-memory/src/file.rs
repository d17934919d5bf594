//! Regions of files.

use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::fs::{self, SeekFrom};
use rustix::io::Errno;

use crate::base::Base;
use crate::region::whole_pages;
use crate::sys::Image;
use crate::{Error, Region, Result};

impl Region {
    /// Makes a region of a part of a file, privately: what is written to the region does not reach the file, nor the other way round.
    ///
    /// A file in memory that is sealed against writing and shrinking (`memfd_create(2)`) is mapped as it is, from its beginning: O(1), two system calls.
    /// Any other file could be changed or shortened by others at any time, which would change the bytes under a slice, or end the process with
    /// SIGBUS. So what it holds is copied once, now, its holes left out: O(data in the range), inside the kernel; what happens to the file later is
    /// not seen. Either way forks are one mapping from the start, and rollback goes back to this content.
    ///
    /// # Errors
    ///
    /// When the file ends before the range does, or cannot be read.
    pub fn map_file(file: impl AsFd, range: Range<u64>) -> Result<Self> {
        let file = file.as_fd();
        let length = range.end.saturating_sub(range.start);
        let bytes = whole_pages(length)?;
        let image = match sealed(file, &range, bytes)? {
            Some(image) => image,
            None => copy(file, &range, bytes)?,
        };
        // It fits: its whole pages do.
        let length = usize::try_from(length).map_err(|_| Error::Length { length })?;
        Self::over(Arc::new(Base::new(image)), length)
    }

    /// Makes a region of a fork that another process handed over: the descriptor of [`Region::fork_fd`], and the length of that region. O(1), a
    /// mapping; it rolls back to what the other region held when it was forked.
    ///
    /// # Errors
    ///
    /// When the descriptor is not of a sealed file in memory with so many bytes.
    pub fn from_fd(file: impl AsFd, length: usize) -> Result<Self> {
        let image = Image::sealed(file.as_fd(), whole_pages(length as u64)?)?;
        let image = image.ok_or(Error::NotSealed { length })?;
        Self::over(Arc::new(Base::new(image)), length)
    }

    /// Forks the region for another process, which makes a region of the descriptor ([`Region::from_fd`]); it may be sent over a unix socket,
    /// or inherited. Neither sees what is written to the other. Now is what this one rolls back to.
    ///
    /// What [`Region::freeze`] costs, and O(pages in memory) to have the kernel refuse all writes to them; nothing is copied for the other process. Since
    /// the base can never be written again, the next freeze or many forks of what is written here take a new one.
    ///
    /// The memory comes back when all descriptors of it are closed and all regions on it are dropped, in all processes.
    ///
    /// # Errors
    ///
    /// As for [`Region::fork`]; and when the kernel has the memory in use for input or output, so that it cannot be sealed.
    pub fn fork_fd(&mut self) -> Result<OwnedFd> {
        self.freeze()?;
        self.base.seal()
    }
}

fn length_of(file: BorrowedFd<'_>) -> Result<u64> {
    let stat = fs::fstat(file).map_err(Error::system("asking for a file's length"))?;
    Ok(u64::try_from(stat.st_size).unwrap_or(0))
}

/// Returns the file itself as an image, if it will stay as it is and nothing of it lies in the region's last page behind the range.
fn sealed(file: BorrowedFd<'_>, range: &Range<u64>, bytes: usize) -> Result<Option<Image>> {
    let ends_with_it = range.end == bytes as u64 || range.end == length_of(file)?;
    if range.start != 0 || !ends_with_it {
        return Ok(None);
    }
    Image::sealed(file, bytes)
}

/// Copies a part of a file into an image.
fn copy(file: BorrowedFd<'_>, range: &Range<u64>, bytes: usize) -> Result<Image> {
    let mut image = Image::zeroed(bytes)?;
    if length_of(file)? < range.end {
        return Err(ended());
    }
    // Where its owner reads on is moved by looking for data; a file without a place has no holes to look for either.
    let place = fs::tell(file);
    let copied = copy_data(&mut image, file, range);
    if let Ok(place) = place {
        fs::seek(file, SeekFrom::Start(place)).map_err(Error::system("going back to a file's place"))?;
    }
    copied.map(|()| image)
}

fn copy_data(image: &mut Image, file: BorrowedFd<'_>, range: &Range<u64>) -> Result {
    let mut at = range.start;
    while at < range.end {
        let start = match fs::seek(file, SeekFrom::Data(at)) {
            // All that is left is a hole.
            Err(Errno::NXIO) => break,
            found => found.ok(),
        };
        let end = start.and_then(|start| fs::seek(file, SeekFrom::Hole(start)).ok());
        let data = data(at..range.end, start, end);
        image.fill(data.start - range.start, file, data.clone())?;
        at = data.end;
    }
    Ok(())
}

/// Returns the next data in `left`, if a file system says that some lies between `start` and `end`. All of it may be data if it does not
/// say, or what cannot be.
fn data(left: Range<u64>, start: Option<u64>, end: Option<u64>) -> Range<u64> {
    match start.zip(end) {
        Some((start, end)) if left.start <= start && start < end => start.min(left.end)..end.min(left.end),
        _ => left,
    }
}

fn ended() -> Error {
    Error::Stream {
        action: "reading the file",
        source: io::ErrorKind::UnexpectedEof.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_system_that_says_what_cannot_be_is_not_believed() {
        assert_eq!(data(10..90, Some(20), Some(30)), 20..30);
        assert_eq!(data(10..90, Some(20), Some(300)), 20..90);
        assert_eq!(data(10..90, Some(200), Some(300)), 90..90);
        for (start, end) in [
            (None, None),
            (Some(20), None),
            (Some(5), Some(30)),
            (Some(20), Some(20)),
            (Some(20), Some(15)),
        ] {
            assert_eq!(data(10..90, start, end), 10..90);
        }
    }
}
