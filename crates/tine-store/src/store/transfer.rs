//! Import and export of raw images.

use std::fs::File;
use std::io::{self, Read, Write};
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use rustix::fs::SeekFrom;
use serde::Serialize;

use crate::block::DISK_BYTES_MAX;
use crate::error::{Result, StoreError};
use crate::names::BranchName;
use crate::store::catalog::Stay;
use crate::store::state::ExtentKind;
use crate::store::{Branch, State, Store};

const PIECE_BYTES: usize = 1 << 20;

/// How far a long operation has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
}

/// A stream that an image comes from: anything that can be read.
pub trait StreamSource: Read {}

impl<T: Read + ?Sized> StreamSource for T {}

impl std::fmt::Debug for dyn StreamSource + '_ {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("StreamSource")
    }
}

/// What was imported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
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

/// What was exported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
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
        let size = match &source {
            ImportSource::File(file) => Some(file_size(file).map_err(caller("find the size of the source"))?),
            ImportSource::Stream(_) => None,
        };
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
            let (size, read) = match source {
                ImportSource::File(file) => copy_file(&branch, file, progress)?,
                ImportSource::Stream(stream) => {
                    let read = copy_stream(&branch, stream, progress)?;
                    branch.resize(read)?;
                    (read, read)
                }
            };
            branch.flush()?;
            let data = {
                let head = branch.cell.head.read();
                head.stretch.alive().unwrap_or(0) * crate::block::BLOCK_BYTES
            };
            engine.rename(&unfinished, name, Stay::Unfinished)?;
            Ok(ImportReport { size, read, data })
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
        let mut data = 0;
        let mut buffer = vec![0; PIECE_BYTES];
        let (mut stream, file) = match to {
            ExportTarget::Stream(stream) => (Some(stream), None),
            ExportTarget::File(file) => {
                let sparse = file.metadata().map_err(caller("examine the target"))?.is_file();
                if sparse {
                    // What was in the file is gone first: only data are written.
                    file.set_len(0)
                        .and_then(|()| file.set_len(size))
                        .map_err(caller("set the size of the target"))?;
                }
                (None, Some((file, sparse)))
            }
        };
        let mut at = 0;
        while at < size {
            let end = size.min(at.saturating_add(1 << 30));
            for extent in state.extents(at..end)? {
                let is_data = extent.kind == ExtentKind::Data;
                if is_data {
                    data += extent.length;
                }
                if !is_data && file.is_some_and(|(_, sparse)| sparse) {
                    continue;
                }
                let mut done = 0;
                while done < extent.length {
                    let piece = &mut buffer[..(extent.length - done).min(PIECE_BYTES as u64) as usize];
                    let offset = extent.offset + done;
                    state.read_at(piece, offset)?;
                    match (&mut stream, file) {
                        (Some(stream), _) => stream.write_all(piece),
                        (None, Some((file, _))) => file.write_all_at(piece, offset),
                        (None, None) => Ok(()),
                    }
                    .map_err(caller("write to the target"))?;
                    done += piece.len() as u64;
                    tell(progress, offset + piece.len() as u64, Some(size))?;
                }
            }
            at = end;
            tell(progress, at, Some(size))?;
        }
        if let Some(stream) = stream {
            stream.flush().map_err(caller("write to the target"))?;
        }
        Ok(ExportReport { size, data })
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

fn copy_file(branch: &Branch, file: &File, progress: OnProgress<'_>) -> Result<(u64, u64)> {
    let size = branch.size();
    let mut buffer = vec![0; PIECE_BYTES];
    let (mut at, mut read) = (0, 0);
    while let Some((start, end)) = next_data(file, at, size).map_err(caller("look for data in the source"))? {
        at = start;
        while at < end {
            // Pieces end on multiples of their size, so that blocks stay whole.
            let length = (PIECE_BYTES as u64 - at % PIECE_BYTES as u64).min(end - at) as usize;
            file.read_exact_at(&mut buffer[..length], at)
                .map_err(caller("read the source"))?;
            branch.write_at(&buffer[..length], at)?;
            at += length as u64;
            read += length as u64;
            tell(progress, at, Some(size))?;
        }
    }
    tell(progress, size, Some(size))?;
    Ok((size, read))
}

fn copy_stream(branch: &Branch, stream: &mut dyn StreamSource, progress: OnProgress<'_>) -> Result<u64> {
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
            return Ok(at);
        }
        branch.write_at(&buffer[..filled], at)?;
        at += filled as u64;
        tell(progress, at, None)?;
    }
}
