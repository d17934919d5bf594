//! Files that are made: through the cache or past it.

use std::fs::File;
use std::io::{self, IoSlice};
use std::sync::Arc;

use super::super::ObjectWriter;
use super::file::ALIGNMENT;
use super::reserve::{Reserve, is_full};

/// A file that is being made.
pub(super) struct FileWriter {
    file: File,
    /// The same for writing past the cache.
    direct: Option<Direct>,
    length: u64,
    /// The file may have so many bytes: it was another one's.
    has: u64,
    /// A write failed, and what of it was written may lie behind the end.
    torn: bool,
    reserve: Arc<Reserve>,
}

impl FileWriter {
    /// `direct` is the same file, opened for going past the cache; `reserve` may have room to spare. The file has `has`
    /// bytes, which are nobody's.
    pub(super) fn new(file: File, direct: Option<File>, reserve: Arc<Reserve>, has: u64) -> Self {
        Self {
            file,
            direct: direct.map(Direct::new),
            length: 0,
            has,
            torn: false,
            reserve,
        }
    }

    /// As [`ObjectWriter::append_pieces`].
    fn try_append(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<()> {
        self.check()?;
        match self.write(pieces) {
            Ok(bytes) => {
                self.length += bytes;
                Ok(())
            }
            Err(error) => {
                self.torn = !is_full(&error) || self.file.set_len(self.length).is_err();
                Err(error)
            }
        }
    }

    fn write(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<u64> {
        let is_aligned = |piece: &IoSlice<'_>| piece.len().is_multiple_of(ALIGNMENT);
        match &mut self.direct {
            Some(direct) if self.length.is_multiple_of(ALIGNMENT as u64) && pieces.iter().all(is_aligned) => {
                direct.write(pieces, self.length)
            }
            _ => write_pieces(&self.file, pieces, self.length),
        }
    }

    fn check(&self) -> io::Result<()> {
        if self.torn {
            return Err(io::Error::other("an earlier write to it failed"));
        }
        Ok(())
    }
}

/// The kernel takes no more pieces at once.
const PIECES_AT_ONCE: usize = 1024;

/// Writes pieces one behind the other, and returns their bytes.
fn write_pieces(file: &File, pieces: &[IoSlice<'_>], offset: u64) -> io::Result<u64> {
    let mut at = offset;
    for pieces in pieces.chunks(PIECES_AT_ONCE) {
        let mut pieces = pieces.to_vec();
        let mut left = pieces.as_mut_slice();
        IoSlice::advance_slices(&mut left, 0);
        while !left.is_empty() {
            match rustix::io::pwritev(file, left, at) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => {
                    at += count as u64;
                    IoSlice::advance_slices(&mut left, count);
                }
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(at - offset)
}

/// A file that is written past the cache, of which the kernel demands aligned memory.
struct Direct {
    file: File,
    aligned: Vec<u8>,
}

impl Direct {
    /// Bytes of aligned memory at the most.
    const BYTES: usize = 1 << 20;

    fn new(file: File) -> Self {
        Self {
            file,
            aligned: Vec::new(),
        }
    }

    /// Writes pieces of aligned length at an aligned offset; returns their bytes.
    fn write(&mut self, pieces: &[IoSlice<'_>], offset: u64) -> io::Result<u64> {
        if pieces
            .iter()
            .all(|piece| piece.as_ptr().addr().is_multiple_of(ALIGNMENT))
        {
            return write_pieces(&self.file, pieces, offset);
        }
        // Mostly this is a header, and what follows is aligned: for that a page is enough.
        let room = pieces
            .iter()
            .map(|piece| piece.len())
            .sum::<usize>()
            .min(Self::BYTES);
        if self.aligned.len() < room + ALIGNMENT {
            self.aligned = vec![0; room + ALIGNMENT];
        }
        let skew = self.aligned.as_ptr().align_offset(ALIGNMENT);
        let memory = &mut self.aligned[skew..skew + room];
        let (mut at, mut filled) = (offset, 0);
        for piece in pieces {
            let mut rest = &piece[..];
            while !rest.is_empty() {
                let (now, later) = rest.split_at(rest.len().min(room - filled));
                memory[filled..filled + now.len()].copy_from_slice(now);
                filled += now.len();
                rest = later;
                if filled == room {
                    at += write_pieces(&self.file, &[IoSlice::new(&memory[..filled])], at)?;
                    filled = 0;
                }
            }
        }
        at += write_pieces(&self.file, &[IoSlice::new(&memory[..filled])], at)?;
        Ok(at - offset)
    }
}

impl ObjectWriter for FileWriter {
    fn append_pieces(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<()> {
        let reserve = Arc::clone(&self.reserve);
        reserve.making_room(|| self.try_append(pieces))
    }

    fn sync(&mut self) -> io::Result<()> {
        self.check()?;
        if self.has > self.length {
            self.file.set_len(self.length)?;
        }
        self.has = 0;
        self.file.sync_all()
    }
}
