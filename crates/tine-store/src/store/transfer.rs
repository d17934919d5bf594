//! Import and export of raw images.

use std::fs::File;
use std::io::{self, Read, Write};
use std::ops::{ControlFlow, Range};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use rustix::fs::SeekFrom;
use serde::{Deserialize, Serialize};

use crate::block::DISK_BYTES_MAX;
use crate::error::{Result, StoreError};
use crate::names::BranchName;
use crate::store::catalog::Stay;
use crate::store::state::{Extent, ExtentKind};
use crate::store::{State, Store};

const PIECE_BYTES: usize = 1 << 20;
/// Zeroes that are written at once.
static ZEROES: [u8; 64 << 10] = [0; 64 << 10];
/// Extents are looked up for so many bytes at once.
const EXTENTS_BYTES: u64 = 1 << 30;

/// How far a long operation has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Bytes done.
    pub done: u64,
    /// All bytes, if that is known.
    pub total: Option<u64>,
}

/// Where an image comes from.
#[derive(Debug)]
pub enum ImportSource<'a> {
    /// A file or a block device, from its beginning. Holes are skipped.
    File(&'a File),
    /// A stream of unknown length.
    Stream(&'a mut dyn StreamSource),
    /// Pieces of a disk in any order; what none of them covers is a hole.
    Pieces {
        /// The disk's size in bytes; without one it ends where the last piece does.
        size: Option<u64>,
        /// The pieces.
        pieces: &'a mut dyn PieceSource,
    },
}

/// A stream that an image comes from: anything that can be read.
pub trait StreamSource: Read {}

impl<T: Read + ?Sized> StreamSource for T {}

impl std::fmt::Debug for dyn StreamSource + '_ {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("StreamSource")
    }
}

/// Pieces of a disk, one after the other.
pub trait PieceSource {
    /// Returns where the next piece begins, and its bytes; nothing when there are no more.
    ///
    /// # Errors
    /// If the source fails, or is cut off.
    fn next(&mut self) -> io::Result<Option<(u64, &[u8])>>;
}

impl std::fmt::Debug for dyn PieceSource + '_ {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("PieceSource")
    }
}

impl ImportSource<'_> {
    /// Returns the size of the disk that it is an image of, if that is known.
    ///
    /// # Errors
    /// [`StoreError::Caller`].
    pub fn size(&self) -> Result<Option<u64>> {
        match self {
            Self::File(file) => {
                let size = file_size(file).map_err(caller("find the size of the source"))?;
                Ok(Some(size))
            }
            Self::Stream(_) => Ok(None),
            Self::Pieces { size, .. } => Ok(*size),
        }
    }

    /// Reads it from beginning to end: gives `each` where data lie and what they are, at most 1 MiB at once of a file or a
    /// stream, and whole blocks. Of a file that has grown since no more than `size`, as [`ImportSource::size`] told it, is
    /// read.
    ///
    /// # Errors
    /// [`StoreError::Caller`], and those of `each`.
    pub fn visit(self, size: Option<u64>, each: &mut dyn FnMut(u64, &[u8]) -> Result<()>) -> Result<()> {
        let failed = caller("read the source");
        match self {
            Self::File(file) => {
                let now = file_size(file).map_err(caller("find the size of the source"))?;
                visit_file(file, size.unwrap_or(now).min(now), each)
            }
            Self::Stream(stream) => visit_stream(stream, each),
            Self::Pieces { pieces, .. } => {
                while let Some((offset, bytes)) = pieces.next().map_err(&failed)? {
                    each(offset, bytes)?;
                }
                Ok(())
            }
        }
    }
}

/// What was imported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportReport {
    /// The disk's size in bytes.
    pub size: u64,
    /// Bytes that were read.
    pub read: u64,
    /// Bytes of blocks that are not zero.
    pub data: u64,
}

/// Where an image goes.
pub enum ExportTarget<'a> {
    /// A file, which is made as long as the disk; only data are written, so a new file stays sparse.
    File(&'a File),
    /// A stream: everything is written in order.
    Stream(&'a mut dyn Write),
}

impl std::fmt::Debug for ExportTarget<'_> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(match self {
            Self::File(_) => "ExportTarget::File",
            Self::Stream(_) => "ExportTarget::Stream",
        })
    }
}

/// An image in the making.
#[derive(Debug)]
pub struct Image<'a> {
    target: ExportTarget<'a>,
    is_sparse: bool,
    report: ExportReport,
}

impl<'a> ExportTarget<'a> {
    /// Begins an image of `size` bytes. What was in a file is gone first: only data are written.
    ///
    /// # Errors
    /// [`StoreError::Caller`].
    pub fn begin(self, size: u64) -> Result<Image<'a>> {
        let mut is_sparse = false;
        if let Self::File(file) = &self {
            is_sparse = file.metadata().map_err(caller("examine the target"))?.is_file();
            if is_sparse {
                file.set_len(0)
                    .and_then(|()| file.set_len(size))
                    .map_err(caller("set the size of the target"))?;
            }
        }
        Ok(Image {
            target: self,
            is_sparse,
            report: ExportReport { size, data: 0 },
        })
    }
}

impl Image<'_> {
    /// Adds the next piece; `follow` is told after each 64 KiB of zeroes, and behind data, where it is.
    ///
    /// # Errors
    /// [`StoreError::Caller`], and those of `follow`.
    pub fn put(&mut self, piece: Piece<'_>, follow: &mut dyn FnMut(u64) -> Result<()>) -> Result<()> {
        match piece {
            Piece::Data { offset, bytes } => {
                self.report.data += bytes.len() as u64;
                self.write(bytes, offset)?;
                follow(offset + bytes.len() as u64)
            }
            Piece::Hole { offset, length } if self.is_sparse => follow(offset + length),
            Piece::Hole { offset, length } => {
                let (mut at, end) = (offset, offset + length);
                while at < end {
                    let step = (end - at).min(ZEROES.len() as u64);
                    self.write(&ZEROES[..step as usize], at)?;
                    at += step;
                    follow(at)?;
                }
                Ok(())
            }
        }
    }

    fn write(&mut self, bytes: &[u8], offset: u64) -> Result<()> {
        match &mut self.target {
            ExportTarget::File(file) => file.write_all_at(bytes, offset),
            ExportTarget::Stream(stream) => stream.write_all(bytes),
        }
        .map_err(caller("write to the target"))
    }

    /// Ends the image. A file is not synced.
    ///
    /// # Errors
    /// [`StoreError::Caller`].
    pub fn finish(self) -> Result<ExportReport> {
        if let ExportTarget::Stream(stream) = self.target {
            stream.flush().map_err(caller("write to the target"))?;
        }
        Ok(self.report)
    }
}

/// A piece of a disk that is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// Data.
    Data {
        /// Where they begin, in bytes.
        offset: u64,
        /// What they are.
        bytes: &'a [u8],
    },
    /// A range that reads as zeroes.
    Hole {
        /// Where it begins, in bytes.
        offset: u64,
        /// Its bytes.
        length: u64,
    },
}

/// What was exported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExportReport {
    /// The disk's size in bytes.
    pub size: u64,
    /// Bytes of data in it.
    pub data: u64,
}

/// Told how far it has come; [`ControlFlow::Break`] stops the operation.
pub(super) type OnProgress<'a> = &'a mut dyn FnMut(Progress) -> ControlFlow<()>;

fn caller(action: &'static str) -> impl Fn(io::Error) -> StoreError {
    move |source| StoreError::Caller {
        action,
        source: Arc::new(source),
    }
}

pub(super) fn tell(progress: OnProgress<'_>, done: u64, total: Option<u64>) -> Result<()> {
    match progress(Progress { done, total }) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(StoreError::Cancelled),
    }
}

impl Store {
    /// Makes a branch from an image. It appears when it is whole and durable; a failure or a crash leaves nothing.
    ///
    /// # Errors
    /// [`StoreError::BranchExists`], [`StoreError::Caller`] if the source fails, [`StoreError::Cancelled`],
    /// [`StoreError::NoSpace`], and those of writing.
    pub fn import(
        &self,
        name: &BranchName,
        source: ImportSource<'_>,
        progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<ImportReport> {
        let engine = &self.running.engine;
        engine.catalog.lock().check_free(name)?;
        let size = source.size()?;
        let unfinished = engine.make_branch(name, size.unwrap_or(DISK_BYTES_MAX), Stay::Unfinished)?;
        let import = || {
            let cell = {
                let catalog = engine.catalog.lock();
                let entry = catalog.branches.get(&unfinished);
                Arc::clone(
                    &entry
                        .ok_or_else(|| StoreError::UnknownBranch { name: name.clone() })?
                        .cell,
                )
            };
            let branch = self.handle(cell)?;
            let (mut read, mut end) = (0, 0);
            source.visit(size, &mut |offset, bytes| {
                branch.write_at(bytes, offset)?;
                read += bytes.len() as u64;
                end = end.max(offset + bytes.len() as u64);
                tell(progress, end, size)
            })?;
            match size {
                Some(size) => tell(progress, size, Some(size))?,
                None => branch.resize(end)?,
            }
            branch.flush()?;
            let stretch = Arc::clone(&branch.cell.head.read().stretch);
            let data = engine.written_blocks(&stretch, Some(&branch.cell))? * crate::block::BLOCK_BYTES;
            engine.rename(&unfinished, name, Stay::Unfinished)?;
            Ok(ImportReport {
                size: size.unwrap_or(end),
                read,
                data,
            })
        };
        let result = import();
        if result.is_err() {
            // If that fails too, the next opening drops what is unfinished.
            let _ = engine.forget_branches(&[unfinished], true);
        }
        result
    }

    /// Writes a disk out, every block verified.
    ///
    /// # Errors
    /// [`StoreError::Caller`] if the target fails, [`StoreError::Cancelled`], and those of reading.
    pub fn export(
        &self,
        state: &State,
        to: ExportTarget<'_>,
        progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<ExportReport> {
        let size = state.size();
        let mut image = to.begin(size)?;
        state.visit(0..size, &mut |piece| {
            image.put(piece, &mut |at| tell(progress, at, Some(size)))
        })?;
        image.finish()
    }
}

impl State {
    /// Reads a range in order, every block verified: gives `each` data, at most 1 MiB at once, and holes, which are not
    /// read, at most 1 GiB.
    ///
    /// # Errors
    /// Those of reading, and those of `each`.
    pub fn visit(&self, range: Range<u64>, each: &mut dyn FnMut(Piece<'_>) -> Result<()>) -> Result<()> {
        let length = range.end.saturating_sub(range.start);
        let mut buffer = vec![0; length.min(PIECE_BYTES as u64) as usize];
        let mut at = range.start;
        while at < range.end {
            let end = range.end.min(at.saturating_add(EXTENTS_BYTES));
            for Extent {
                offset, length, kind, ..
            } in self.extents(at..end)?
            {
                if kind != ExtentKind::Data {
                    each(Piece::Hole { offset, length })?;
                    continue;
                }
                let (mut offset, end) = (offset, offset + length);
                while offset < end {
                    let bytes = &mut buffer[..(end - offset).min(PIECE_BYTES as u64) as usize];
                    self.read_at(bytes, offset)?;
                    each(Piece::Data { offset, bytes })?;
                    offset += bytes.len() as u64;
                }
            }
            at = end;
        }
        Ok(())
    }
}

/// Returns the bytes of a file or a block device.
fn file_size(file: &File) -> io::Result<u64> {
    let metadata = file.metadata()?;
    if metadata.is_file() {
        return Ok(metadata.len());
    }
    let size = rustix::fs::seek(file, SeekFrom::End(0))?;
    rustix::fs::seek(file, SeekFrom::Start(0))?;
    Ok(size)
}

/// Returns the next range of data at or behind `at`; all of the rest where holes cannot be told.
fn next_data(file: &File, at: u64, size: u64) -> io::Result<Option<(u64, u64)>> {
    let start = match rustix::fs::seek(file, SeekFrom::Data(at)) {
        Ok(start) => start,
        Err(rustix::io::Errno::NXIO) => return Ok(None),
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::OPNOTSUPP) => {
            return Ok((at < size).then_some((at, size)));
        }
        Err(error) => return Err(error.into()),
    };
    let end = rustix::fs::seek(file, SeekFrom::Hole(start))?;
    Ok((start < size).then_some((start, end.min(size))))
}

fn visit_file(file: &File, size: u64, each: &mut dyn FnMut(u64, &[u8]) -> Result<()>) -> Result<()> {
    let mut buffer = vec![0; PIECE_BYTES];
    let mut at = 0;
    while let Some((start, end)) = next_data(file, at, size).map_err(caller("look for data in the source"))? {
        at = start;
        while at < end {
            // Pieces end on multiples of their size, so that blocks stay whole.
            let length = (PIECE_BYTES as u64 - at % PIECE_BYTES as u64).min(end - at) as usize;
            file.read_exact_at(&mut buffer[..length], at)
                .map_err(caller("read the source"))?;
            each(at, &buffer[..length])?;
            at += length as u64;
        }
    }
    Ok(())
}

fn visit_stream(stream: &mut dyn StreamSource, each: &mut dyn FnMut(u64, &[u8]) -> Result<()>) -> Result<()> {
    let mut buffer = vec![0; PIECE_BYTES];
    let mut at = 0;
    loop {
        let mut filled = 0;
        while filled < buffer.len() {
            match stream.read(&mut buffer[filled..]) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(caller("read the source")(error)),
            }
        }
        if filled == 0 {
            return Ok(());
        }
        each(at, &buffer[..filled])?;
        at += filled as u64;
    }
}
