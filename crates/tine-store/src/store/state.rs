//! Reading: from an immutable view of a disk, without any lock across I/O.

use std::ops::{ControlFlow, Range};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use serde::{Deserialize, Serialize};

use crate::block::{BLOCK, BLOCK_BYTES, blocks_touched};
use crate::buffer::{BufferedBlock, Located, StretchId};
use crate::error::{Result, StoreError};
use crate::index::Index;
use crate::index::layers::Layers;
use crate::index::leaf::PieceContent;
use crate::medium::Reading;
use crate::overlay::Entry;
use crate::segment::table::Segment;
use crate::store::Running;
use crate::store::lookup::{Lookup, verify};
use crate::store::read_ahead::ReadAhead;
use crate::store::stretch::{ReadGuard, Stretch};
use crate::store::view::{Found, View};

/// A disk as it was at one moment. Reads are of that moment, whatever happens to the branch.
///
/// Holds on to the space of what it shows until it is dropped.
pub struct State {
    pub(crate) view: View,
    pub(crate) size: u64,
    /// The stretch that the branch was in: what is older is shared with its points.
    pub(crate) stretch: StretchId,
    pub(crate) pin: Option<Pin>,
    pub(crate) _guard: ReadGuard,
    pub(crate) ahead: ReadAhead,
    pub(crate) running: Arc<Running>,
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
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

/// One block, looked up: what most reads are, without any list.
pub(crate) enum One {
    Zero,
    Memory(BufferedBlock),
    Stored {
        segment: Arc<Segment>,
        at: u32,
        checksum: u32,
    },
    Below(Arc<Layers>, Option<ReadGuard>),
}

impl One {
    /// Looks a block up in the overlay; see [`Lookup::new`].
    pub(crate) fn new(view: &View, block: u64, stretch: Option<&Arc<Stretch>>) -> Self {
        match view.overlay.get(block) {
            Some(Entry::Zero(_)) => Self::Zero,
            Some(Entry::Data {
                source,
                slot,
                checksum,
            }) => match source.locate(*slot) {
                Located::Memory(block) => Self::Memory(block),
                Located::Segment { segment, block } => Self::Stored {
                    segment,
                    at: block,
                    checksum: *checksum,
                },
            },
            None if view.base.trees.is_empty() => Self::Zero,
            None => Self::Below(Arc::clone(&view.base), stretch.map(ReadGuard::new)),
        }
    }

    /// Fills `bytes` with the block's content from `skip` on, verified if it comes from a segment.
    pub(crate) fn read(
        self,
        index: &Index,
        block: u64,
        skip: usize,
        bytes: &mut [u8],
        reading: Reading,
    ) -> Result<()> {
        let (found, _guard) = match self {
            Self::Below(layers, guard) => (find_below(&layers, index, block, reading)?, guard),
            found => (found, None),
        };
        match found {
            Self::Zero | Self::Below(..) => bytes.fill(0),
            Self::Memory(found) => bytes.copy_from_slice(&found.bytes()[skip..skip + bytes.len()]),
            Self::Stored {
                segment,
                at,
                checksum,
            } if bytes.len() == BLOCK => fetch(&segment, at, checksum, bytes, reading)?,
            Self::Stored {
                segment,
                at,
                checksum,
            } => {
                let mut whole = [0; BLOCK];
                fetch(&segment, at, checksum, &mut whole, reading)?;
                bytes.copy_from_slice(&whole[skip..skip + bytes.len()]);
            }
        }
        Ok(())
    }
}

fn find_below(layers: &Layers, index: &Index, block: u64, reading: Reading) -> Result<One> {
    let mut found = One::Zero;
    layers.resolve(&index.nodes(reading), block..block + 1, &mut |_, piece| {
        if let Some(PieceContent::Data {
            home,
            first,
            checksums,
        }) = piece.map(|piece| piece.content)
        {
            found = One::Stored {
                segment: index.resolve(&home),
                at: first,
                checksum: checksums[0],
            };
        }
        Ok(true)
    })?;
    Ok(found)
}

/// Returns the only block that a read touches, and where in it the read begins.
pub(crate) fn only_block(offset: u64, length: usize) -> Option<(u64, usize)> {
    let skip = (offset % BLOCK_BYTES) as usize;
    (length > 0 && skip + length <= BLOCK).then_some((offset / BLOCK_BYTES, skip))
}

/// Reads a block of a segment and verifies it.
fn fetch(segment: &Segment, at: u32, checksum: u32, block: &mut [u8], reading: Reading) -> Result<()> {
    segment.read_blocks(block, at, reading)?;
    verify(segment, at, block, checksum)
}

/// Tells whether what was asked for at hand alone was there.
pub(crate) fn was_at_hand(read: Result<()>) -> Result<bool> {
    match read {
        Ok(()) => Ok(true),
        Err(error) if error.is_not_at_hand() => Ok(false),
        Err(error) => Err(error),
    }
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

/// Tells `each` what a range of a disk holds, coalesced, until it has heard enough.
pub(crate) fn visit_extents(
    view: &View,
    index: &Index,
    range: Range<u64>,
    stretch: StretchId,
    each: &mut dyn FnMut(Extent) -> ControlFlow<()>,
) -> Result<()> {
    // Perhaps continued by what comes next.
    let mut pending: Option<Extent> = None;
    let blocks = blocks_touched(range.start, range.end - range.start);
    view.resolve(index, blocks, &mut |found, what| {
        let (kind, birth) = match what {
            Found::Absent => (ExtentKind::Hole, stretch),
            Found::Entry(entry) => {
                let kind = match entry {
                    Entry::Data { .. } => ExtentKind::Data,
                    Entry::Zero(zero) if zero.is_hole() => ExtentKind::Hole,
                    Entry::Zero(_) => ExtentKind::Zero,
                };
                (kind, entry.birth())
            }
            Found::Piece(piece) => {
                let kind = match piece.content {
                    PieceContent::Data { .. } => ExtentKind::Data,
                    PieceContent::Zero => ExtentKind::Zero,
                    PieceContent::Hole => ExtentKind::Hole,
                };
                (kind, piece.birth())
            }
        };
        let shared = kind == ExtentKind::Data && birth != stretch;
        let from = (found.start * BLOCK_BYTES).max(range.start);
        let to = (found.end * BLOCK_BYTES).min(range.end);
        if from >= to {
            return Ok(true);
        }
        match &mut pending {
            Some(last) if last.kind == kind && last.shared == shared => last.length += to - from,
            pending => {
                let whole = pending.replace(Extent {
                    offset: from,
                    length: to - from,
                    kind,
                    shared,
                });
                if whole.is_some_and(|whole| each(whole).is_break()) {
                    *pending = None;
                    return Ok(false);
                }
            }
        }
        Ok(true)
    })?;
    if let Some(last) = pending {
        // It was the last one anyway.
        let _ = each(last);
    }
    Ok(())
}

/// Describes a range of a disk, coalesced.
pub(crate) fn extents(
    view: &View,
    index: &Index,
    range: Range<u64>,
    stretch: StretchId,
) -> Result<Vec<Extent>> {
    let mut extents = Vec::new();
    visit_extents(view, index, range, stretch, &mut |extent| {
        extents.push(extent);
        ControlFlow::Continue(())
    })?;
    Ok(extents)
}

impl State {
    /// Returns the disk's size in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Returns the number of the point that it is, or of the head's stretch.
    pub fn point(&self) -> u64 {
        self.stretch
    }

    pub(crate) fn index(&self) -> &Index {
        &self.running.engine.index
    }

    /// Fills `bytes` from `offset`. Every block read from the medium is verified.
    ///
    /// # Errors
    /// [`StoreError::OutOfBounds`], [`StoreError::BlockDamaged`], and those of the medium.
    pub fn read_at(&self, bytes: &mut [u8], offset: u64) -> Result<()> {
        self.read_from(bytes, offset, Reading::Cached)
    }

    /// As [`State::read_at`], but never waits for the medium; see [`Branch::read_at_once`](crate::Branch::read_at_once).
    ///
    /// # Errors
    /// As [`State::read_at`].
    pub fn read_at_once(&self, bytes: &mut [u8], offset: u64) -> Result<bool> {
        was_at_hand(self.read_from(bytes, offset, Reading::AtHand))
    }

    fn read_from(&self, bytes: &mut [u8], offset: u64, reading: Reading) -> Result<()> {
        check_bounds(offset, bytes.len() as u64, self.size)?;
        if let Some((block, skip)) = only_block(offset, bytes.len()) {
            let found = One::new(&self.view, block, None);
            return found.read(self.index(), block, skip, bytes, reading);
        }
        let read = offset..offset + bytes.len() as u64;
        let blocks = blocks_touched(offset, bytes.len() as u64);
        Lookup::new(&self.view, blocks, None).read_and(self.index(), bytes, offset, reading, |waits| {
            if let Some(range) = self.ahead.note(read, waits) {
                // Whoever reads there is told what is wrong.
                let _ = self.will_read(range);
            }
        })
    }

    /// Returns what the bytes of a range are, without reading them. O(extents in the range).
    ///
    /// # Errors
    /// [`StoreError::OutOfBounds`], and those of reading the index.
    pub fn extents(&self, range: Range<u64>) -> Result<Vec<Extent>> {
        check_range(&range, self.size)?;
        extents(&self.view, self.index(), range, self.stretch)
    }

    /// Tells `each` what the bytes of a range are, in order, until it has heard enough. O(pieces up to there), which may be
    /// many more than the extents told.
    ///
    /// # Errors
    /// As [`State::extents`].
    pub fn visit_extents(
        &self,
        range: Range<u64>,
        each: &mut dyn FnMut(Extent) -> ControlFlow<()>,
    ) -> Result<()> {
        check_range(&range, self.size)?;
        visit_extents(&self.view, self.index(), range, self.stretch, each)
    }

    /// Lets the medium begin to fetch a range, so that reading it waits less. What lies beyond the end does not count.
    ///
    /// # Errors
    /// Those of reading the index.
    pub fn will_read(&self, range: Range<u64>) -> Result<()> {
        let blocks = blocks_touched(range.start, range.end.min(self.size).saturating_sub(range.start));
        Lookup::new(&self.view, blocks, None).will_read(self.index())
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
