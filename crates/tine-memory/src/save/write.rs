//! Saving.

use std::io::{BufWriter, Write};
use std::ops::Range;

use super::format::{Chain, Header, Kind, NOTHING, RECORD_PAGES_MAX, Record, StateId};
use crate::pages::{PAGE_BYTES, Runs, is_zero};
use crate::{Error, Region, Result};

/// Small records are collected; what is longer goes to the stream from the region's own memory.
const BUFFER_BYTES: usize = 256 << 10;

/// A state of a region, kept: a fork that nobody writes.
///
/// It takes the memory that the region writes after it, until it is dropped.
pub struct Mark {
    region: Region,
    id: StateId,
}

/// How much of a region is saved.
#[derive(Clone, Copy)]
pub enum Save<'a> {
    /// All that is not zero.
    Full,
    /// What differs from a mark. It can be applied to what was saved when the mark was made.
    Since(&'a Mark),
}

impl Region {
    /// Keeps the present state to save what is written after it. A fork: what both cost is one, and now is what the region rolls back to.
    ///
    /// # Errors
    ///
    /// As for [`Region::fork`].
    #[must_use = "a mark is there to save what is written after it"]
    pub fn mark(&mut self) -> Result<Mark> {
        let mut id = NOTHING;
        // 16 bytes come whole or not at all.
        rustix::rand::getrandom(&mut id, rustix::rand::GetRandomFlags::empty())
            .map_err(Error::system("drawing a state's number"))?;
        let region = self.fork()?;
        Ok(Mark { region, id })
    }

    /// Saves the region, and returns the mark of what was saved.
    ///
    /// Reads a fork, so the region's own page tables and its rollback are as after a fork. [`Save::Full`] is O(pages that are not zero), [`Save::Since`]
    /// O(pages written since the mark); each page goes to `output` once, from where it lies. `output` is flushed, not synced.
    ///
    /// # Errors
    ///
    /// As for [`Region::fork`], when the mark is of a region of another length, and when `output` fails; what it holds then is refused when it is
    /// loaded.
    pub fn save(&mut self, output: &mut impl Write, save: Save<'_>) -> Result<Mark> {
        let mark = self.mark()?;
        mark.write(output, save)?;
        Ok(mark)
    }
}

impl Mark {
    /// Saves what was marked, as [`Region::save`] does at the moment it is called; the region may be written meanwhile.
    ///
    /// # Errors
    ///
    /// As for [`Region::save`].
    pub fn write(&self, output: &mut impl Write, save: Save<'_>) -> Result {
        let (pages, from) = match save {
            Save::Full => (self.region.data()?, NOTHING),
            Save::Since(mark) => {
                self.region.same_length(&mark.region)?;
                (self.region.differing(&mark.region)?, mark.id)
            }
        };
        let mut saver = Saver {
            output: BufWriter::with_capacity(BUFFER_BYTES, output),
            chain: Chain::new(),
            records: 0,
        };
        let header = Header {
            length: self.region.len() as u64,
            from,
            to: self.id,
        };
        let header = header.encode(&mut saver.chain);
        saver.put(&[&header])?;
        let memory = self.region.map.as_slice();
        for piece in pieces(&pages, memory) {
            if !piece.zero {
                saver.record(Kind::Data, &piece.pages, &memory[piece.bytes()])?;
            } else if from != NOTHING {
                saver.record(Kind::Zero, &piece.pages, &[])?;
            }
        }
        saver.end(self.region.pages())
    }
}

/// Pages that make a record.
struct Piece {
    pages: Range<usize>,
    zero: bool,
}

impl Piece {
    fn bytes(&self) -> Range<usize> {
        self.pages.start * PAGE_BYTES..self.pages.end * PAGE_BYTES
    }
}

/// Returns the pages in pieces that are zero or not, and no longer than a record may be.
fn pieces<'a>(pages: &'a Runs, memory: &'a [u8]) -> impl Iterator<Item = Piece> + 'a {
    let mut pages = pages.pages().peekable();
    let is_zero_page = |page: usize| is_zero(&memory[page * PAGE_BYTES..][..PAGE_BYTES]);
    let mut next_zero = None;
    std::iter::from_fn(move || {
        let first = pages.next()?;
        let zero = next_zero.take().unwrap_or_else(|| is_zero_page(first));
        let mut end = first + 1;
        while end - first < RECORD_PAGES_MAX && pages.peek() == Some(&end) {
            let next = is_zero_page(end);
            if next != zero {
                next_zero = Some(next);
                break;
            }
            pages.next();
            end += 1;
        }
        Some(Piece {
            pages: first..end,
            zero,
        })
    })
}

/// A stream that is written.
struct Saver<W: Write> {
    output: BufWriter<W>,
    chain: Chain,
    records: u64,
}

impl<W: Write> Saver<W> {
    fn put(&mut self, parts: &[&[u8]]) -> Result {
        parts
            .iter()
            .try_for_each(|part| self.output.write_all(part))
            .map_err(Error::stream("writing what is saved"))
    }

    fn record(&mut self, kind: Kind, pages: &Range<usize>, content: &[u8]) -> Result {
        let record = Record {
            kind,
            first: pages.start as u64,
            count: pages.len() as u64,
        };
        self.records += 1;
        let record = record.encode(content, &mut self.chain);
        self.put(&[&record, content])
    }

    fn end(mut self, pages: usize) -> Result {
        let end = Record {
            kind: Kind::End,
            first: pages as u64,
            count: self.records,
        };
        let end = end.encode(&[], &mut self.chain);
        self.put(&[&end])?;
        self.output
            .flush()
            .map_err(Error::stream("writing what is saved"))
    }
}
