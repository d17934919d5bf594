//! Diff: the ranges in which two disks differ, found by skipping what they share.

use std::collections::VecDeque;
use std::ops::{ControlFlow, Range};

use serde::{Deserialize, Serialize};

use crate::block::{BLOCK, BLOCK_BYTES, block_count};
use crate::buffer::{BufferedBlock, Located};
use crate::error::{Result, StoreError};
use crate::index::leaf::PieceContent;
use crate::overlay::Entry;
use crate::segment::SegmentId;
use crate::store::changed::{Changed, changed};
use crate::store::view::Found;
use crate::store::{Progress, State, Store};

/// Pieces looked at together.
const PIECES_MAX: usize = 1024;
/// Blocks read together when checksums are equal and places are not.
const READ_BLOCKS_MAX: u64 = 256;

/// A range in which two disks differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiffRange {
    /// Where it begins, in bytes.
    pub offset: u64,
    /// Its bytes.
    pub length: u64,
}

/// The differing ranges, in order, none touching the next.
///
/// What the two share is skipped: buffers, layers and nodes of the index. Blocks that were written separately are
/// compared by their checksums, and read only if those are equal. So the cost follows the difference, but for two things: of a
/// state that was taken before its index was merged and one of after that all that was merged is looked at, and what
/// [`Store::defrag`] has moved of what the two shared is read in both places.
pub struct Diff<'a> {
    left: &'a State,
    right: &'a State,
    /// What is compared, of what both have.
    blocks: Range<u64>,
    candidates: Changed<'a>,
    /// What is left of a candidate.
    open: Range<u64>,
    found: VecDeque<DiffRange>,
    /// What one disk has behind the other's end.
    rest: Option<DiffRange>,
    /// Found, but perhaps continued by what comes next.
    pending: Option<DiffRange>,
    failed: bool,
    watch: Option<Watch<'a>>,
}

/// Told how far a comparison has come; a break ends it with [`StoreError::Cancelled`].
type Watch<'a> = &'a mut dyn FnMut(Progress) -> ControlFlow<()>;

impl std::fmt::Debug for Diff<'_> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Diff")
            .field("pending", &self.pending)
            .finish_non_exhaustive()
    }
}

impl Iterator for Diff<'_> {
    type Item = Result<DiffRange>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        loop {
            let piece = match self.next_piece() {
                Ok(Some(piece)) => piece,
                Ok(None) => return self.pending.take().map(Ok),
                Err(error) => {
                    self.failed = true;
                    return Some(Err(error));
                }
            };
            match &mut self.pending {
                Some(pending) if pending.offset + pending.length == piece.offset => {
                    pending.length += piece.length;
                }
                pending => {
                    if let Some(whole) = pending.replace(piece) {
                        return Some(Ok(whole));
                    }
                }
            }
        }
    }
}

impl<'a> Diff<'a> {
    /// Tells `watch` how far the comparison has come, also between ranges that are far apart.
    pub fn watched(self, watch: &'a mut dyn FnMut(Progress) -> ControlFlow<()>) -> Self {
        Self {
            watch: Some(watch),
            ..self
        }
    }
}

impl Diff<'_> {
    fn tell(&mut self) -> Result<()> {
        let (done, total) = (self.open.start * BLOCK_BYTES, self.left.size.max(self.right.size));
        let told = self.watch.as_mut().map(|watch| {
            watch(Progress {
                done: done.min(total),
                total: Some(total),
            })
        });
        match told {
            Some(ControlFlow::Break(())) => Err(StoreError::Cancelled),
            _ => Ok(()),
        }
    }

    fn next_piece(&mut self) -> Result<Option<DiffRange>> {
        loop {
            if let Some(piece) = self.found.pop_front() {
                return Ok(Some(piece));
            }
            if self.open.is_empty() {
                match self.candidates.next().transpose()? {
                    Some(range) if range.start < self.blocks.end => {
                        self.open = range.start.max(self.blocks.start)..range.end.min(self.blocks.end);
                    }
                    _ => return Ok(self.rest.take()),
                }
            }
            self.compare()?;
            self.tell()?;
        }
    }

    /// Compares the beginning of the open range.
    fn compare(&mut self) -> Result<()> {
        let left = pieces(self.left, self.open.clone())?;
        let right = pieces(self.right, self.open.clone())?;
        let end = |pieces: &[Piece]| pieces.last().map_or(self.open.start, |last| last.blocks.end);
        let end = end(&left).min(end(&right));
        let (mut x, mut y) = (left.iter().peekable(), right.iter().peekable());
        // Equal checksums at different places: only the bytes tell.
        let mut doubtful: Option<Range<u64>> = None;
        while self.open.start < end {
            let at = self.open.start;
            while x.next_if(|piece| piece.blocks.end <= at).is_some() {}
            while y.next_if(|piece| piece.blocks.end <= at).is_some() {}
            let (Some(a), Some(b)) = (x.peek(), y.peek()) else {
                break;
            };
            let both = a.blocks.end.min(b.blocks.end).min(end);
            // Where either is data, what is told is told block by block.
            let next = if a.is_data() && b.is_data() { at + 1 } else { both };
            let verdict = a.compare(b, at);
            if verdict == Verdict::Doubtful {
                match &mut doubtful {
                    Some(range) if range.end == at && at - range.start < READ_BLOCKS_MAX => range.end = next,
                    _ => {
                        if let Some(range) = doubtful.replace(at..next) {
                            self.compare_bytes(range)?;
                        }
                    }
                }
            } else {
                if let Some(range) = doubtful.take() {
                    self.compare_bytes(range)?;
                }
                if verdict == Verdict::Differs {
                    self.add(at..next);
                }
            }
            self.open.start = next;
        }
        if let Some(range) = doubtful {
            self.compare_bytes(range)?;
        }
        Ok(())
    }

    fn compare_bytes(&mut self, blocks: Range<u64>) -> Result<()> {
        let offset = blocks.start * BLOCK_BYTES;
        let short = self.left.size.min(self.right.size);
        let length = ((blocks.end * BLOCK_BYTES).min(short) - offset) as usize;
        let mut contents = [vec![0; length], vec![0; length]];
        self.left.read_at(&mut contents[0], offset)?;
        self.right.read_at(&mut contents[1], offset)?;
        for (block, (a, b)) in blocks.zip(contents[0].chunks(BLOCK).zip(contents[1].chunks(BLOCK))) {
            if a != b {
                self.add(block..block + 1);
            }
        }
        Ok(())
    }

    fn add(&mut self, blocks: Range<u64>) {
        let short = self.left.size.min(self.right.size);
        let (offset, end) = (blocks.start * BLOCK_BYTES, (blocks.end * BLOCK_BYTES).min(short));
        match self.found.back_mut() {
            Some(last) if last.offset + last.length == offset => last.length += end - offset,
            _ => self.found.push_back(DiffRange {
                offset,
                length: end - offset,
            }),
        }
    }
}

impl Store {
    /// Compares two disks. Where one is longer, the rest of it differs.
    ///
    /// # Errors
    /// Those of reading the index; those of reading data from the iterator: a damaged block is no difference but an
    /// error.
    pub fn diff<'a>(&self, a: &'a State, b: &'a State) -> Result<Diff<'a>> {
        self.diff_in(a, b, 0..u64::MAX)
    }

    /// Compares a range of two disks, at a cost that follows the difference there. A range that is no multiple of blocks
    /// is compared as if it were, and what differs in its first and last block is told as a whole.
    ///
    /// # Errors
    /// As [`Store::diff`].
    pub fn diff_in<'a>(&self, a: &'a State, b: &'a State, range: Range<u64>) -> Result<Diff<'a>> {
        let (short, long) = (a.size.min(b.size), a.size.max(b.size));
        let end = range.end.div_ceil(BLOCK_BYTES).min(block_count(short));
        let blocks = (range.start / BLOCK_BYTES).min(end)..end;
        let rest = range.start.max(short)..range.end.min(long);
        Ok(Diff {
            left: a,
            right: b,
            candidates: changed(a.index(), &a.view, &b.view, &blocks)?,
            blocks,
            open: 0..0,
            found: VecDeque::new(),
            rest: (!rest.is_empty()).then(|| DiffRange {
                offset: rest.start,
                length: rest.end - rest.start,
            }),
            pending: None,
            failed: false,
            watch: None,
        })
    }
}

/// What one side has in some blocks.
struct Piece {
    blocks: Range<u64>,
    what: What,
}

enum What {
    Zeroes,
    Memory(BufferedBlock, u32),
    Stored {
        segment: SegmentId,
        first: u32,
        checksums: Vec<u32>,
    },
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Same,
    Differs,
    Doubtful,
}

impl Piece {
    fn is_data(&self) -> bool {
        !matches!(self.what, What::Zeroes)
    }

    fn checksum(&self, block: u64) -> u32 {
        match &self.what {
            What::Zeroes => 0,
            What::Memory(_, checksum) => *checksum,
            What::Stored { checksums, .. } => checksums[(block - self.blocks.start) as usize],
        }
    }

    fn compare(&self, other: &Self, block: u64) -> Verdict {
        match (&self.what, &other.what) {
            (What::Zeroes, What::Zeroes) => return Verdict::Same,
            // A block of zeroes is never stored as data.
            (What::Zeroes, _) | (_, What::Zeroes) => return Verdict::Differs,
            _ if self.checksum(block) != other.checksum(block) => return Verdict::Differs,
            (
                What::Stored {
                    segment: a, first: x, ..
                },
                What::Stored {
                    segment: b, first: y, ..
                },
            ) if a == b
                && u64::from(*x) + (block - self.blocks.start)
                    == u64::from(*y) + (block - other.blocks.start) =>
            {
                return Verdict::Same;
            }
            (What::Memory(a, _), What::Memory(b, _)) => {
                return if a.bytes() == b.bytes() {
                    Verdict::Same
                } else {
                    Verdict::Differs
                };
            }
            _ => {}
        }
        Verdict::Doubtful
    }
}

/// Looks at the beginning of a range, at most some pieces of it.
fn pieces(state: &State, blocks: Range<u64>) -> Result<Vec<Piece>> {
    let mut pieces = Vec::new();
    state.view.resolve(state.index(), blocks, &mut |blocks, found| {
        let what = match found {
            Found::Entry(Entry::Data {
                source,
                slot,
                checksum,
            }) => match source.locate(*slot) {
                Located::Memory(block) => What::Memory(block, *checksum),
                Located::Segment { segment, block } => What::Stored {
                    segment: segment.id,
                    first: block,
                    checksums: vec![*checksum],
                },
            },
            Found::Piece(piece) => match piece.content {
                PieceContent::Data {
                    home,
                    first,
                    checksums,
                } => What::Stored {
                    segment: home.id(),
                    first,
                    checksums: checksums.to_vec(),
                },
                PieceContent::Zero | PieceContent::Hole => What::Zeroes,
            },
            Found::Absent | Found::Entry(Entry::Zero(_)) => What::Zeroes,
        };
        pieces.push(Piece { blocks, what });
        Ok(pieces.len() < PIECES_MAX)
    })?;
    Ok(pieces)
}
