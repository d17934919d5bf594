//! Diff: the ranges in which two disks differ, found by skipping what they share.

use serde::Serialize;

use crate::block::{BLOCK, BLOCK_BYTES, block_count};
use crate::buffer::Located;
use crate::error::Result;
use crate::overlay::{Entry, Overlay};
use crate::store::state::Lookup;
use crate::store::{State, Store};

/// A range in which two disks differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct DiffRange {
    /// Where it begins, in bytes.
    pub offset: u64,
    /// Its bytes.
    pub length: u64,
}

/// The differing ranges, in order, none touching the next.
///
/// Parts of the overlays that the two share are skipped. Blocks that were written separately are compared by their
/// checksums, and read only if those are equal.
pub struct Diff<'a> {
    pieces: Box<dyn Iterator<Item = Result<DiffRange>> + 'a>,
    /// Found, but perhaps continued by what comes next.
    pending: Option<DiffRange>,
    failed: bool,
}

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
            match self.pieces.next() {
                None => return self.pending.take().map(Ok),
                Some(Err(error)) => {
                    self.failed = true;
                    return Some(Err(error));
                }
                Some(Ok(piece)) => match &mut self.pending {
                    Some(pending) if pending.offset + pending.length == piece.offset => {
                        pending.length += piece.length;
                    }
                    pending => {
                        if let Some(whole) = pending.replace(piece) {
                            return Some(Ok(whole));
                        }
                    }
                },
            }
        }
    }
}

impl Store {
    /// Compares two disks. Where one is longer, the rest of it differs.
    ///
    /// # Errors
    /// Those of reading, from the iterator: a damaged block is no difference but an error.
    pub fn diff<'a>(&self, a: &'a State, b: &'a State) -> Result<Diff<'a>> {
        let (short, long) = (a.size.min(b.size), a.size.max(b.size));
        let blocks = block_count(short);
        let (left, right) = (&a.overlay, &b.overlay);
        let pieces = left
            .diff_by(right, Entry::same)
            .take_while(move |(range, ..)| range.start < blocks)
            .flat_map(move |(range, x, y)| {
                // Data entries are of one block, so a range of several is decided without reading.
                let differs = differ(left, right, range.start, x, y);
                let range = range.start..range.end.min(blocks);
                match differs {
                    Ok(false) => None,
                    Ok(true) => {
                        let (offset, end) = (range.start * BLOCK_BYTES, (range.end * BLOCK_BYTES).min(short));
                        Some(Ok(DiffRange {
                            offset,
                            length: end - offset,
                        }))
                    }
                    Err(error) => Some(Err(error)),
                }
            });
        let rest = (long > short).then_some(Ok(DiffRange {
            offset: short,
            length: long - short,
        }));
        Ok(Diff {
            pieces: Box::new(pieces.chain(rest)),
            pending: None,
            failed: false,
        })
    }
}

/// Tells whether the content of two entries for a block differs.
fn differ(left: &Overlay, right: &Overlay, block: u64, x: Option<&Entry>, y: Option<&Entry>) -> Result<bool> {
    let data = |entry: Option<&Entry>| match entry {
        Some(Entry::Data {
            source,
            slot,
            checksum,
        }) => Some((source.locate(*slot), *checksum)),
        Some(Entry::Zero(_)) | None => None,
    };
    match (data(x), data(y)) {
        (None, None) => Ok(false),
        // A block of zeroes is never stored as data.
        (Some(_), None) | (None, Some(_)) => Ok(true),
        (Some((a, checksum_a)), Some((b, checksum_b))) => {
            if checksum_a != checksum_b {
                return Ok(true);
            }
            if let (
                Located::Segment {
                    segment: a,
                    block: at_a,
                },
                Located::Segment {
                    segment: b,
                    block: at_b,
                },
            ) = (&a, &b)
                && a.id == b.id
                && at_a == at_b
            {
                return Ok(false);
            }
            let mut contents = [[0u8; BLOCK]; 2];
            for (overlay, content) in [left, right].into_iter().zip(&mut contents) {
                Lookup::new(overlay, block..block + 1).read(content, block * BLOCK_BYTES)?;
            }
            Ok(contents[0] != contents[1])
        }
    }
}
