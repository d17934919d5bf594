//! Reading a disk, which is a branch or a snapshot.

use std::ops::{ControlFlow, Range};

use tine_nbd::Fault;
use tine_store::{Branch, Extent, ExtentKind, State, StoreError};

use super::context::{self, Visit};
use super::fault::{Request, fault};

/// So much of what a client wants cached is fetched at a time, and at the most: a cache has other uses, too.
const CACHED_STEP_BYTES: u64 = 4 << 20;
const CACHED_BYTES_MAX: u64 = 64 << 20;

/// A shorter hole is read with what surrounds it: a read of its own for each side costs more than its zeroes.
const SHORTEST_HOLE_BYTES: usize = 64 << 10;

/// What can be read. See [`Branch`] and [`State`].
pub(super) trait Readable {
    fn read_at_once(&self, bytes: &mut [u8], offset: u64) -> Result<bool, StoreError>;
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> Result<(), StoreError>;
    fn will_read(&self, range: Range<u64>) -> Result<(), StoreError>;
    fn visit_extents(
        &self,
        range: Range<u64>,
        each: &mut dyn FnMut(Extent) -> ControlFlow<()>,
    ) -> Result<(), StoreError>;
}

macro_rules! readable {
    ($($disk:ty),+) => {$(
        impl Readable for $disk {
            fn read_at_once(&self, bytes: &mut [u8], offset: u64) -> Result<bool, StoreError> {
                self.read_at_once(bytes, offset)
            }

            fn read_at(&self, bytes: &mut [u8], offset: u64) -> Result<(), StoreError> {
                self.read_at(bytes, offset)
            }

            fn will_read(&self, range: Range<u64>) -> Result<(), StoreError> {
                self.will_read(range)
            }

            fn visit_extents(
                &self,
                range: Range<u64>,
                each: &mut dyn FnMut(Extent) -> ControlFlow<()>,
            ) -> Result<(), StoreError> {
                self.visit_extents(range, each)
            }
        }
    )+};
}

readable!(Branch, State);

pub(super) fn read_at_once(disk: &impl Readable, into: &mut [u8], offset: u64) -> Result<bool, Fault> {
    disk.read_at_once(into, offset).map_err(failed)
}

pub(super) fn read(disk: &impl Readable, into: &mut [u8], offset: u64) -> Result<(), Fault> {
    disk.read_at(into, offset).map_err(failed)
}

/// Reads what lies between holes, and tells of these: they are neither filled with zeroes nor looked through for them.
pub(super) fn read_sparse(
    disk: &impl Readable,
    into: &mut [u8],
    offset: u64,
    hole: &mut dyn FnMut(Range<usize>),
) -> Result<(), Fault> {
    let mut holes: Vec<Range<usize>> = Vec::new();
    let range = offset..offset + into.len() as u64;
    let visited = disk.visit_extents(range, &mut |extent| {
        if extent.kind != ExtentKind::Data {
            let begin = (extent.offset - offset) as usize;
            let end = begin + extent.length as usize;
            match holes.last_mut() {
                Some(last) if last.end == begin => last.end = end,
                _ => holes.push(begin..end),
            }
        }
        ControlFlow::Continue(())
    });
    visited.map_err(failed)?;
    holes.retain(|hole| hole.len() >= SHORTEST_HOLE_BYTES);
    let mut at = 0;
    for next in holes {
        if at < next.start {
            read(disk, &mut into[at..next.start], offset + at as u64)?;
        }
        at = next.end;
        hole(next);
    }
    if at < into.len() {
        read(disk, &mut into[at..], offset + at as u64)?;
    }
    Ok(())
}

/// Has the begin of a range fetched.
pub(super) fn cache(disk: &impl Readable, range: Range<u64>) -> Result<(), Fault> {
    let end = range.end.min(range.start.saturating_add(CACHED_BYTES_MAX));
    for start in (range.start..end).step_by(CACHED_STEP_BYTES as usize) {
        let step = start..end.min(start.saturating_add(CACHED_STEP_BYTES));
        disk.will_read(step).map_err(failed)?;
    }
    Ok(())
}

/// Tells what is stored.
pub(super) fn allocation(disk: &impl Readable, range: Range<u64>, visit: Visit<'_>) -> Result<(), Fault> {
    disk.visit_extents(range, &mut |extent| visit(context::allocation(extent)))
        .map_err(failed)
}

fn failed(error: StoreError) -> Fault {
    fault(error, Request::Other)
}
