//! Files that are read: through the cache, only if it has the bytes, or past it.

use std::fs::{File, OpenOptions};
use std::io::{self, IoSliceMut};
use std::ops::Range;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{Advice, OFlags, fadvise};
use rustix::io::ReadWriteFlags;

use super::super::{Object, Reading};
use super::folder::Inside;

/// Memory, offsets and lengths of what goes past the cache are multiples of it.
pub(super) const ALIGNMENT: usize = 4096;

/// Opens a file for reading so that reads do not look at, or write, the time of the last one: nobody asks for it, and
/// it takes some per cent of a read from the cache.
fn open_without_atime(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    options.read(true);
    let file = options
        .clone()
        .custom_flags(OFlags::NOATIME.bits() as i32)
        .open(path);
    match file {
        // Only its owner may ask for that.
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::PERM.raw_os_error()) => {
            options.open(path)
        }
        opened => opened,
    }
}

pub(super) struct FileObject {
    file: File,
    path: Inside,
    /// False where the file system cannot tell whether a read would wait.
    can_tell: AtomicBool,
}

impl FileObject {
    pub(super) fn open(path: Inside) -> io::Result<Self> {
        Ok(Self {
            file: open_without_atime(path.as_ref())?,
            path,
            can_tell: AtomicBool::new(true),
        })
    }
}

impl Object for FileObject {
    fn length(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64, reading: Reading) -> io::Result<()> {
        match reading {
            Reading::Cached => self.file.read_exact_at(bytes, offset),
            Reading::AtHand => self.read_scattered(&mut [IoSliceMut::new(bytes)], offset, reading),
            Reading::PastCache => read_past_cache(
                &self.file,
                open_direct(self.path.as_ref(), File::options().read(true))?.as_ref(),
                bytes,
                offset,
            ),
        }
    }

    fn read_scattered(
        &self,
        mut buffers: &mut [IoSliceMut<'_>],
        mut offset: u64,
        reading: Reading,
    ) -> io::Result<()> {
        let flags = match reading {
            Reading::Cached => ReadWriteFlags::empty(),
            Reading::AtHand if self.can_tell.load(Ordering::Relaxed) => ReadWriteFlags::NOWAIT,
            Reading::AtHand => ReadWriteFlags::empty(),
            Reading::PastCache => {
                for buffer in buffers {
                    self.read_at(buffer, offset, reading)?;
                    offset += buffer.len() as u64;
                }
                return Ok(());
            }
        };
        while !buffers.is_empty() {
            let read = match rustix::io::preadv2(&self.file, buffers, offset, flags) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(read) => read,
                Err(rustix::io::Errno::INTR) => continue,
                Err(rustix::io::Errno::OPNOTSUPP) if !flags.is_empty() => {
                    self.can_tell.store(false, Ordering::Relaxed);
                    return self.read_scattered(buffers, offset, Reading::Cached);
                }
                Err(error) => return Err(error.into()),
            };
            offset += read as u64;
            IoSliceMut::advance_slices(&mut buffers, read);
        }
        Ok(())
    }

    fn will_read(&self, range: Range<u64>) {
        // A hint: who reads in earnest is told what is wrong.
        let length = std::num::NonZeroU64::new(range.end - range.start);
        let _ = fadvise(&self.file, range.start, length, Advice::WillNeed);
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync_all()
    }
}

/// Opens a file for going past the cache; `None` where the file system has no O_DIRECT.
pub(super) fn open_direct(path: &Path, options: &mut OpenOptions) -> io::Result<Option<File>> {
    match options.custom_flags(OFlags::DIRECT.bits() as i32).open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(None),
        Err(error) => Err(error),
    }
}

/// Reads any range past the cache: through an aligned buffer where O_DIRECT is there.
pub(super) fn read_past_cache(
    file: &File,
    direct: Option<&File>,
    bytes: &mut [u8],
    offset: u64,
) -> io::Result<()> {
    let Some(direct) = direct else {
        file.sync_data()?;
        fadvise(
            file,
            offset,
            std::num::NonZeroU64::new(bytes.len() as u64),
            Advice::DontNeed,
        )?;
        return file.read_exact_at(bytes, offset);
    };
    let first = offset - offset % ALIGNMENT as u64;
    let whole = ((offset + bytes.len() as u64).next_multiple_of(ALIGNMENT as u64) - first) as usize;
    // Large reads go in pieces, so that the bounce buffer stays small.
    let mut memory = vec![0u8; whole.min(1 << 20) + ALIGNMENT];
    let skew = memory.as_ptr().align_offset(ALIGNMENT);
    let capacity = memory.len() - ALIGNMENT;
    let aligned = &mut memory[skew..skew + capacity];
    let mut at = first;
    while at < offset + bytes.len() as u64 {
        let want = (whole - (at - first) as usize).min(aligned.len());
        let mut got = 0;
        while got < want {
            match direct.read_at(&mut aligned[got..want], at + got as u64)? {
                0 => break,
                // A read that ends off the alignment has met the end of the file.
                count if !count.is_multiple_of(ALIGNMENT) => {
                    got += count;
                    break;
                }
                count => got += count,
            }
        }
        let from = offset.max(at);
        let to = (offset + bytes.len() as u64).min(at + want as u64);
        if at + (got as u64) < to {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        bytes[(from - offset) as usize..(to - offset) as usize]
            .copy_from_slice(&aligned[(from - at) as usize..(to - at) as usize]);
        at += want as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::folder::Folder;
    use super::*;

    #[test]
    fn scattered_buffers_are_filled_in_order_whatever_the_cache_has() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("object");
        let content: Vec<u8> = (0..64 << 10).map(|at: u32| (at / 7) as u8).collect();
        std::fs::write(&path, &content).unwrap();
        let object = FileObject::open(Folder::hold(folder.path()).unwrap().inside("object")).unwrap();
        object.sync().unwrap();
        fadvise(&object.file, 0, None, Advice::DontNeed).unwrap();
        let read = |reading| {
            let (mut first, mut second) = ([0; 5000], [0; 12_345]);
            let mut buffers = [IoSliceMut::new(&mut first), IoSliceMut::new(&mut second)];
            object.read_scattered(&mut buffers, 100, reading)?;
            assert_eq!(
                [&first[..], &second[..]].concat(),
                content[100..100 + 5000 + 12_345]
            );
            io::Result::Ok(())
        };
        // Whether a cache has it is the kernel's affair; whether it comes soon is not.
        let mut tries = 0;
        while let Err(error) = read(Reading::AtHand) {
            assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
            tries += 1;
            assert!(tries < 10_000, "it was asked for, and never came");
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        read(Reading::Cached).unwrap();
        read(Reading::PastCache).unwrap();
        for reading in [Reading::Cached, Reading::AtHand, Reading::PastCache] {
            let (mut first, mut second) = ([0; 4096], [0; 4096]);
            let mut buffers = [IoSliceMut::new(&mut first), IoSliceMut::new(&mut second)];
            object.will_read(0..1 << 20);
            let end = object.read_scattered(&mut buffers, (64 << 10) - 5000, reading);
            assert_eq!(
                end.map_err(|error| error.kind()),
                Err(io::ErrorKind::UnexpectedEof)
            );
        }
    }
}
