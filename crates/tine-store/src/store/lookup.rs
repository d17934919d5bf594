//! Reading several blocks: where they are, and fetching them in the order in which they lie on the medium.
//!
//! Blocks that were written together lie together in a segment, whatever their order on the disk. So the extents of a
//! read are sorted by where they lie, what is adjacent there is one request, and its bytes go to their places at once.
//!
//! Invariant: no block of a segment is returned that was not verified, even if the read asks for a part of it.

use std::io::IoSliceMut;
use std::ops::Range;
use std::sync::Arc;

use crate::block::{BLOCK, BLOCK_BYTES};
use crate::buffer::{BufferedBlock, Located};
use crate::checksum::crc32c;
use crate::error::{Result, StoreError};
use crate::index::Index;
use crate::index::layers::Layers;
use crate::index::leaf::PieceContent;
use crate::medium::Reading;
use crate::overlay::Entry;
use crate::segment::table::Segment;
use crate::store::stretch::{ReadGuard, Stretch};
use crate::store::view::View;

/// Blocks of one request at the most: they are verified while the processor still has them, and a request has as many
/// buffers at the most, of which a system call takes some thousand. Fewer gain nothing while 1 MiB fits the second
/// level of the cache.
const REQUEST_BLOCKS_MAX: usize = 256;

/// Blocks of a read that were looked up and are still to be fetched.
enum Piece {
    Zero,
    Memory(BufferedBlock),
    Stored {
        segment: Arc<Segment>,
        first: u32,
    },
    /// What the overlay does not know: the layers are asked without the head's lock.
    Below,
}

/// Blocks, one behind the other, with where they are.
#[derive(Default)]
struct Pieces {
    list: Vec<(Range<u64>, Piece)>,
    /// Those of all stored blocks, in the disk's order.
    checksums: Vec<u32>,
}

impl Pieces {
    fn push_entry(&mut self, range: Range<u64>, entry: &Entry) {
        match entry {
            Entry::Zero(_) => self.list.push((range, Piece::Zero)),
            Entry::Data {
                source,
                slot,
                checksum,
            } => match source.locate(*slot) {
                Located::Memory(block) => self.list.push((range, Piece::Memory(block))),
                Located::Segment { segment, block } => self.push_stored(range, segment, block, &[*checksum]),
            },
        }
    }

    fn push_stored(&mut self, range: Range<u64>, segment: Arc<Segment>, block: u32, checksums: &[u32]) {
        self.checksums.extend_from_slice(checksums);
        // A branch's own writes come block by block: what lies behind the last one is one piece with it.
        if let Some((last, Piece::Stored { segment: same, first })) = self.list.last_mut()
            && last.end == range.start
            && same.id == segment.id
            && u64::from(*first) + (last.end - last.start) == u64::from(block)
        {
            last.end = range.end;
            return;
        }
        self.list.push((
            range,
            Piece::Stored {
                segment,
                first: block,
            },
        ));
    }

    /// Adds what the layers have of a range. May read index nodes.
    fn push_below(
        &mut self,
        layers: &Layers,
        index: &Index,
        range: Range<u64>,
        reading: Reading,
    ) -> Result<()> {
        layers.resolve(&index.nodes(reading), range, &mut |range, found| {
            match found.map(|found| found.content) {
                Some(PieceContent::Data {
                    home,
                    first,
                    checksums,
                }) => {
                    let segment = index.resolve(&home);
                    self.push_stored(range, segment, first, checksums);
                }
                _ => self.list.push((range, Piece::Zero)),
            }
            Ok(true)
        })?;
        Ok(())
    }
}

/// The blocks of a range, looked up; they stay readable without the overlay.
pub(crate) struct Lookup {
    pieces: Pieces,
    /// What to ask for what lies below, guarded while it is asked.
    below: Option<(Arc<Layers>, Option<ReadGuard>)>,
}

impl Lookup {
    /// Looks blocks up in the overlay: a few steps each, no I/O. What is below is read under a guard on `stretch`, if
    /// nothing else keeps that.
    pub(crate) fn new(view: &View, blocks: Range<u64>, stretch: Option<&Arc<Stretch>>) -> Self {
        let mut pieces = Pieces::default();
        let mut at = blocks.start;
        let mut is_below = false;
        let rest = if view.base.trees.is_empty() {
            || Piece::Zero
        } else {
            || Piece::Below
        };
        for (range, entry) in view.overlay.range(blocks.clone()) {
            if at < range.start {
                is_below = true;
                pieces.list.push((at..range.start, rest()));
            }
            at = range.end;
            pieces.push_entry(range, entry);
        }
        if at < blocks.end {
            is_below = true;
            pieces.list.push((at..blocks.end, rest()));
        }
        let below = (is_below && !view.base.trees.is_empty())
            .then(|| (Arc::clone(&view.base), stretch.map(ReadGuard::new)));
        Self { pieces, below }
    }

    /// Asks the layers for what the overlay did not know.
    fn settle(self, index: &Index, reading: Reading) -> Result<Pieces> {
        let Some((layers, _guard)) = self.below else {
            return Ok(self.pieces);
        };
        let blocks = self.pieces.list.first().map_or(0, |(first, _)| first.start)
            ..self.pieces.list.last().map_or(0, |(last, _)| last.end);
        let mut settled = Pieces {
            list: Vec::with_capacity(self.pieces.list.len()),
            // Most reads are no larger; a range that is only to be fetched may be as large as a disk.
            checksums: Vec::with_capacity(((blocks.end - blocks.start) as usize).min(REQUEST_BLOCKS_MAX)),
        };
        let mut known = self.pieces.checksums.as_slice();
        for (range, piece) in self.pieces.list {
            match piece {
                Piece::Below => settled.push_below(&layers, index, range, reading)?,
                Piece::Stored { segment, first } => {
                    let (own, others) = known.split_at((range.end - range.start) as usize);
                    known = others;
                    settled.push_stored(range, segment, first, own);
                }
                other => settled.list.push((range, other)),
            }
        }
        Ok(settled)
    }

    /// Fills `bytes` with the disk's content from `offset` on; every block from a segment is verified.
    pub(crate) fn read(self, index: &Index, bytes: &mut [u8], offset: u64) -> Result<()> {
        self.read_and(index, bytes, offset, Reading::Cached, |_| ())
    }

    /// As [`Lookup::read`]; calls `meanwhile` with whether the medium has to be waited for, before it is. If only what is
    /// at hand was asked for and not all is, that is an [error](StoreError::is_not_at_hand), and the rest is being fetched.
    pub(crate) fn read_and(
        self,
        index: &Index,
        bytes: &mut [u8],
        offset: u64,
        reading: Reading,
        meanwhile: impl FnOnce(bool),
    ) -> Result<()> {
        let Pieces { list, checksums } = self.settle(index, reading)?;
        // Blocks are fetched whole, those at the ends that are asked for in part beside the others.
        let skip = (offset % BLOCK_BYTES) as usize;
        let head_bytes = if skip == 0 {
            0
        } else {
            bytes.len().min(BLOCK - skip)
        };
        let (head, rest) = bytes.split_at_mut(head_bytes);
        let (whole, tail) = rest.split_at_mut(rest.len() - rest.len() % BLOCK);
        let mut edges = vec![0; (usize::from(!head.is_empty()) + usize::from(!tail.is_empty())) * BLOCK];
        let (first, last) = edges.split_at_mut(if head.is_empty() { 0 } else { BLOCK });
        let mut place = Place([first, whole, last]);
        let mut checksums = checksums.as_slice();
        let mut stored: Vec<Fetch<'_>> = Vec::with_capacity(list.len() + 2);
        for (blocks, piece) in &list {
            let mut left = (blocks.end - blocks.start) as usize * BLOCK;
            let mut at = 0;
            while let Some(target) = place.take(left) {
                left -= target.len();
                match piece {
                    Piece::Zero | Piece::Below => target.fill(0),
                    Piece::Memory(block) => target.copy_from_slice(block.bytes()),
                    Piece::Stored { segment, first } => {
                        let (own, others) = checksums.split_at(target.len() / BLOCK);
                        checksums = others;
                        stored.push(Fetch {
                            segment,
                            first: first + at,
                            checksums: own,
                            target,
                        });
                        at += own.len() as u32;
                    }
                }
            }
        }
        stored.sort_unstable_by_key(|fetch| (fetch.segment.id, fetch.first));
        fetch(stored, reading, meanwhile)?;
        let (first, last) = edges.split_at(if head.is_empty() { 0 } else { BLOCK });
        if !head.is_empty() {
            head.copy_from_slice(&first[skip..skip + head.len()]);
        }
        if !tail.is_empty() {
            tail.copy_from_slice(&last[..tail.len()]);
        }
        Ok(())
    }

    /// Lets the medium begin to fetch the blocks. May read index nodes.
    pub(crate) fn will_read(self, index: &Index) -> Result<()> {
        let mut stored: Vec<(&Segment, Range<u32>)> = Vec::new();
        let Pieces { list, .. } = self.settle(index, Reading::Cached)?;
        let mut runs: Vec<(&Arc<Segment>, Range<u32>)> = list
            .iter()
            .filter_map(|(blocks, piece)| match piece {
                Piece::Stored { segment, first } => {
                    Some((segment, *first..first + (blocks.end - blocks.start) as u32))
                }
                _ => None,
            })
            .collect();
        runs.sort_unstable_by_key(|(segment, blocks)| (segment.id, blocks.start));
        for (segment, blocks) in runs {
            match stored.last_mut() {
                Some((last, run)) if last.id == segment.id && run.end == blocks.start => run.end = blocks.end,
                _ => stored.push((segment, blocks)),
            }
        }
        for (segment, blocks) in stored {
            segment.will_read_blocks(blocks)?;
        }
        Ok(())
    }
}

/// Where the blocks of a read go, in order: slices of whole blocks.
struct Place<'a>([&'a mut [u8]; 3]);

impl<'a> Place<'a> {
    /// Returns the next `bytes`, or as many of them as lie together; nothing for none.
    fn take(&mut self, bytes: usize) -> Option<&'a mut [u8]> {
        let next = self.0.iter_mut().find(|slice| !slice.is_empty())?;
        let bytes = bytes.min(next.len());
        let (taken, rest) = std::mem::take(next).split_at_mut(bytes);
        *next = rest;
        (!taken.is_empty()).then_some(taken)
    }
}

/// Blocks that lie one behind the other in a segment, and where their bytes go.
struct Fetch<'a> {
    segment: &'a Segment,
    first: u32,
    checksums: &'a [u32],
    target: &'a mut [u8],
}

/// Fetches and verifies blocks that are sorted by where they lie. What is not at hand the medium begins to fetch while
/// the rest is read, so all of it is waited for together; `meanwhile` is told before whether there is such.
fn fetch(stored: Vec<Fetch<'_>>, reading: Reading, meanwhile: impl FnOnce(bool)) -> Result<()> {
    let mut late = Vec::new();
    let mut request = Request::default();
    for mut next in stored {
        while !next.checksums.is_empty() {
            if !request.is_followed_by(&next) && !request.perform(Reading::AtHand)? {
                late.push(std::mem::take(&mut request));
            }
            request.take(&mut next);
        }
    }
    if !request.perform(Reading::AtHand)? {
        late.push(request);
    }
    if !late.is_empty() && reading == Reading::AtHand {
        return Err(StoreError::not_at_hand());
    }
    meanwhile(!late.is_empty());
    for request in &mut late {
        request.perform(reading)?;
    }
    Ok(())
}

/// Blocks that lie one behind the other in a segment and go to several places.
#[derive(Default)]
struct Request<'a> {
    from: Option<(&'a Segment, u32)>,
    targets: Vec<&'a mut [u8]>,
    checksums: Vec<&'a [u32]>,
    blocks: usize,
}

impl<'a> Request<'a> {
    fn is_followed_by(&self, next: &Fetch<'_>) -> bool {
        self.from.is_none_or(|(segment, first)| {
            segment.id == next.segment.id
                && u64::from(first) + self.blocks as u64 == u64::from(next.first)
                && self.blocks < REQUEST_BLOCKS_MAX
        })
    }

    /// Takes as many blocks as there is room for.
    fn take(&mut self, next: &mut Fetch<'a>) {
        let blocks = next.checksums.len().min(REQUEST_BLOCKS_MAX - self.blocks);
        self.from.get_or_insert((next.segment, next.first));
        self.blocks += blocks;
        let (checksums, rest) = next.checksums.split_at(blocks);
        let (target, behind) = std::mem::take(&mut next.target).split_at_mut(blocks * BLOCK);
        self.checksums.push(checksums);
        self.targets.push(target);
        next.first += blocks as u32;
        (next.checksums, next.target) = (rest, behind);
    }

    /// Reads, verifies and is empty again; false if the blocks are not at hand, and only that was asked for.
    fn perform(&mut self, reading: Reading) -> Result<bool> {
        let Some((segment, first)) = self.from else {
            return Ok(true);
        };
        let there = match self.targets.as_mut_slice() {
            [target] => segment.read_scattered(&mut [IoSliceMut::new(target)], first, reading)?,
            targets => {
                let mut slices: Vec<_> = targets.iter_mut().map(|target| IoSliceMut::new(target)).collect();
                segment.read_scattered(&mut slices, first, reading)?
            }
        };
        if !there {
            return Ok(false);
        }
        let blocks = self.targets.iter().flat_map(|target| target.chunks(BLOCK));
        let expected = self.checksums.iter().copied().flatten();
        for ((block, &expected), number) in blocks.zip(expected).zip(first..) {
            verify(segment, number, block, expected)?;
        }
        self.from = None;
        self.targets.clear();
        self.checksums.clear();
        self.blocks = 0;
        Ok(true)
    }
}

/// Fails unless a block that was read from a segment has its checksum.
pub(crate) fn verify(segment: &Segment, number: u32, block: &[u8], expected: u32) -> Result<()> {
    let found = crc32c(block);
    if found == expected {
        return Ok(());
    }
    Err(StoreError::BlockDamaged {
        object: format!("segments/{}", segment.id),
        block: u64::from(number),
        what: format!("its checksum is {found:08x}, not {expected:08x}"),
    })
}
