//! Reading: from an immutable view of a disk, without any lock across I/O.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use serde::Serialize;

use crate::block::{BLOCK, BLOCK_BYTES, blocks_touched};
use crate::buffer::{BufferedBlock, Located, StretchId};
use crate::checksum::crc32c;
use crate::error::{Result, StoreError};
use crate::overlay::{Entry, Overlay};
use crate::segment::table::Segment;
use crate::store::Running;
use crate::store::stretch::Stretch;

/// A disk as it was at one moment. Reads are of that moment, whatever happens to the branch.
///
/// Holds on to the space of what it shows until it is dropped.
pub struct State {
    pub(crate) overlay: Overlay,
    pub(crate) size: u64,
    /// The stretch that the branch was in: what is older is shared with its points.
    pub(crate) stretch: StretchId,
    pub(crate) pin: Option<Pin>,
    pub(crate) _running: Arc<Running>,
}

/// Keeps what a head's stretch overwrites readable.
pub(crate) struct Pin(Arc<Stretch>);

impl Pin {
    /// Pins a head's stretch. The head is locked, so that no write is under way.
    pub(crate) fn new(stretch: &Arc<Stretch>) -> Self {
        stretch.pins.fetch_add(1, Ordering::AcqRel);
        Self(Arc::clone(stretch))
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        self.0.pins.fetch_sub(1, Ordering::AcqRel);
    }
}

/// What a range of a disk holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ExtentKind {
    /// Data.
    Data,
    /// Zeroes that were written.
    Zero,
    /// Never written, or discarded; reads as zeroes.
    Hole,
}

/// A range of a disk that is of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Extent {
    /// Where it begins, in bytes.
    pub offset: u64,
    /// Its bytes.
    pub length: u64,
    /// What it holds.
    pub kind: ExtentKind,
    /// Written before the branch's last point, so that other names may share it.
    pub shared: bool,
}

/// Blocks of a read that were looked up and are still to be fetched.
enum Piece {
    Zero,
    Memory(BufferedBlock),
    Stored {
        segment: Arc<Segment>,
        first: u32,
        checksums: Vec<u32>,
    },
}

/// The blocks of a range, looked up; they stay readable without the overlay.
pub(crate) struct Lookup {
    /// The first block and how many, with where they are.
    pieces: Vec<(Range<u64>, Piece)>,
}

impl Lookup {
    /// Looks blocks up: a few steps each, no I/O.
    pub(crate) fn new(overlay: &Overlay, blocks: Range<u64>) -> Self {
        let mut pieces: Vec<(Range<u64>, Piece)> = Vec::new();
        for (range, entry) in overlay.range(blocks.clone()) {
            let end = pieces.last().map_or(blocks.start, |(last, _)| last.end);
            if end < range.start {
                pieces.push((end..range.start, Piece::Zero));
            }
            match entry {
                Entry::Zero(_) => pieces.push((range, Piece::Zero)),
                Entry::Data {
                    source,
                    slot,
                    checksum,
                } => match source.locate(*slot) {
                    Located::Memory(block) => pieces.push((range, Piece::Memory(block))),
                    Located::Segment { segment, block } => match pieces.last_mut() {
                        Some((
                            last,
                            Piece::Stored {
                                segment: same,
                                first,
                                checksums,
                            },
                        )) if last.end == range.start
                            && same.id == segment.id
                            && u64::from(*first) + checksums.len() as u64 == u64::from(block) =>
                        {
                            last.end = range.end;
                            checksums.push(*checksum);
                        }
                        _ => {
                            let piece = Piece::Stored {
                                segment,
                                first: block,
                                checksums: vec![*checksum],
                            };
                            pieces.push((range, piece));
                        }
                    },
                },
            }
        }
        let end = pieces.last().map_or(blocks.start, |(last, _)| last.end);
        if end < blocks.end {
            pieces.push((end..blocks.end, Piece::Zero));
        }
        Self { pieces }
    }

    /// Fills `bytes` with the disk's content from `offset` on; every block from a segment is verified.
    pub(crate) fn read(&self, bytes: &mut [u8], offset: u64) -> Result<()> {
        let end = offset + bytes.len() as u64;
        for (blocks, piece) in &self.pieces {
            let from = offset.max(blocks.start * BLOCK_BYTES);
            let to = end.min(blocks.end * BLOCK_BYTES);
            let target = &mut bytes[(from - offset) as usize..(to - offset) as usize];
            let skip = (from - blocks.start * BLOCK_BYTES) as usize;
            match piece {
                Piece::Zero => target.fill(0),
                Piece::Memory(block) => target.copy_from_slice(&block.bytes()[skip..skip + target.len()]),
                Piece::Stored {
                    segment,
                    first,
                    checksums,
                } => {
                    if target.len() == checksums.len() * BLOCK {
                        fetch(segment, *first, checksums, target)?;
                    } else {
                        let mut whole = vec![0; checksums.len() * BLOCK];
                        fetch(segment, *first, checksums, &mut whole)?;
                        target.copy_from_slice(&whole[skip..skip + target.len()]);
                    }
                }
            }
        }
        Ok(())
    }
}

fn fetch(segment: &Segment, first: u32, checksums: &[u32], target: &mut [u8]) -> Result<()> {
    segment.read_blocks(target, first)?;
    for ((block, &expected), number) in target.chunks(BLOCK).zip(checksums).zip(first..) {
        let found = crc32c(block);
        if found != expected {
            return Err(StoreError::BlockDamaged {
                object: format!("segments/{}", segment.id),
                block: u64::from(number),
                what: format!("its checksum is {found:08x}, not {expected:08x}"),
            });
        }
    }
    Ok(())
}

/// Fails unless the range lies within the disk.
pub(crate) fn check_bounds(offset: u64, length: u64, size: u64) -> Result<()> {
    if offset.checked_add(length).is_none_or(|end| end > size) {
        return Err(StoreError::OutOfBounds { offset, length, size });
    }
    Ok(())
}

/// Fails unless the range is one, and lies within the disk.
pub(crate) fn check_range(range: &Range<u64>, size: u64) -> Result<()> {
    if range.start > range.end {
        return Err(StoreError::OutOfBounds {
            offset: range.start,
            length: 0,
            size,
        });
    }
    check_bounds(range.start, range.end - range.start, size)
}

/// Describes a range of an overlay, coalesced; absent blocks are holes.
pub(crate) fn extents(overlay: &Overlay, range: Range<u64>, stretch: StretchId) -> Vec<Extent> {
    let mut extents: Vec<Extent> = Vec::new();
    let mut add = |from: u64, to: u64, kind: ExtentKind, shared: bool| {
        let (from, to) = (from.max(range.start), to.min(range.end));
        if from >= to {
            return;
        }
        match extents.last_mut() {
            Some(last) if last.kind == kind && last.shared == shared => last.length += to - from,
            _ => extents.push(Extent {
                offset: from,
                length: to - from,
                kind,
                shared,
            }),
        }
    };
    let blocks = blocks_touched(range.start, range.end - range.start);
    let mut at = blocks.start;
    for (found, entry) in overlay.range(blocks.clone()) {
        add(
            at * BLOCK_BYTES,
            found.start * BLOCK_BYTES,
            ExtentKind::Hole,
            false,
        );
        let kind = match entry {
            Entry::Data { .. } => ExtentKind::Data,
            Entry::Zero(zero) if zero.is_hole() => ExtentKind::Hole,
            Entry::Zero(_) => ExtentKind::Zero,
        };
        let shared = kind == ExtentKind::Data && entry.birth() != stretch;
        add(found.start * BLOCK_BYTES, found.end * BLOCK_BYTES, kind, shared);
        at = found.end;
    }
    add(at * BLOCK_BYTES, range.end, ExtentKind::Hole, false);
    extents
}

impl State {
    /// Returns the disk's size in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Fills `bytes` from `offset`. Every block read from the medium is verified.
    ///
    /// # Errors
    /// [`StoreError::OutOfBounds`], [`StoreError::BlockDamaged`], and those of the medium.
    pub fn read_at(&self, bytes: &mut [u8], offset: u64) -> Result<()> {
        check_bounds(offset, bytes.len() as u64, self.size)?;
        let blocks = blocks_touched(offset, bytes.len() as u64);
        Lookup::new(&self.overlay, blocks).read(bytes, offset)
    }

    /// Returns what the bytes of a range are, without reading them. O(entries in the range).
    ///
    /// # Errors
    /// [`StoreError::OutOfBounds`].
    pub fn extents(&self, range: Range<u64>) -> Result<Vec<Extent>> {
        check_range(&range, self.size)?;
        Ok(extents(&self.overlay, range, self.stretch))
    }
}

impl std::fmt::Debug for State {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("State")
            .field("size", &self.size)
            .field("stretch", &self.stretch)
            .field("pinned", &self.pin.is_some())
            .finish_non_exhaustive()
    }
}
