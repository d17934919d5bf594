//! Saving.

use std::io::{BufWriter, Write};
use std::ops::Range;
use std::sync::mpsc;
use std::thread;

use super::format::{Chain, Header, Kind, NOTHING, RECORD_BYTES, RECORD_PAGES_MAX, Record, StateId};
use crate::pages::{PAGE_BYTES, Runs, is_zero};
use crate::{Error, Region, Result};

/// Small records are collected; what is longer goes to the stream from the region's own memory.
const BUFFER_BYTES: usize = 256 << 10;

/// From so many pages on, it pays for a thread that makes the records while others are being written.
const AHEAD_FROM_PAGES: usize = 2048;

/// How many records it may be ahead: few, so that their pages are in the processor's cache when they are written.
const AHEAD_RECORDS: usize = 2;

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
    /// O(pages written since the mark); each page goes to `output` once, from where it lies. From 8 MiB on a thread makes the checksums while
    /// this one writes. `output` is flushed, not synced.
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
        let mut chain = Chain::new();
        let header = Header {
            length: self.region.len() as u64,
            from,
            to: self.id,
        };
        let header = header.encode(&mut chain);
        let mut output = BufWriter::with_capacity(BUFFER_BYTES, output);
        let mut put = |bytes: &[u8]| {
            output
                .write_all(bytes)
                .map_err(Error::stream("writing what is saved"))
        };
        put(&header)?;
        let memory = self.region.map.as_slice();
        let records = Records {
            pieces: pieces(&pages, memory),
            memory,
            says_zero: from != NOTHING,
            chain,
            count: 0,
            ended: false,
        };
        let put = |(record, content): Encoded<'_>| {
            put(&record)?;
            put(content)
        };
        if pages.count() < AHEAD_FROM_PAGES {
            records.into_iter().try_for_each(put)?;
        } else {
            made_ahead(records, put)?;
        }
        output.flush().map_err(Error::stream("writing what is saved"))
    }
}

/// Gives each of `records` to `put`, while a thread makes the next ones, or without it where none can be started.
fn made_ahead<T: Send>(
    mut records: impl Iterator<Item = T> + Send,
    mut put: impl FnMut(T) -> Result,
) -> Result {
    thread::scope(|scope| {
        let (made, taken) = mpsc::sync_channel(AHEAD_RECORDS);
        let ahead = || {
            // Nobody takes any more once one could not be put.
            let _unless_refused = records.by_ref().try_for_each(|record| made.send(record));
            drop(made);
        };
        let _unless_refused = thread::Builder::new()
            .name("tine-save".to_owned())
            .spawn_scoped(scope, ahead);
        taken.into_iter().try_for_each(&mut put)
    })?;
    records.try_for_each(put)
}

/// A record and what stands behind it.
type Encoded<'a> = ([u8; RECORD_BYTES], &'a [u8]);

/// The records of a stream, the last of which says that they are all.
struct Records<'a, P> {
    pieces: P,
    memory: &'a [u8],
    /// Whether zero pages are told: who loads may have others there.
    says_zero: bool,
    chain: Chain,
    count: u64,
    ended: bool,
}

impl<'a, P: Iterator<Item = Piece>> Iterator for Records<'a, P> {
    type Item = Encoded<'a>;

    fn next(&mut self) -> Option<Encoded<'a>> {
        let told = self.pieces.find(|piece| self.says_zero || !piece.zero);
        let (kind, pages, content): (_, _, &[u8]) = match told {
            Some(piece) if piece.zero => (Kind::Zero, piece.pages, &[]),
            Some(piece) => (Kind::Data, piece.pages.clone(), &self.memory[piece.bytes()]),
            None if self.ended => return None,
            None => {
                self.ended = true;
                let record = Record {
                    kind: Kind::End,
                    first: (self.memory.len() / PAGE_BYTES) as u64,
                    count: self.count,
                };
                return Some((record.encode(&[], &mut self.chain), &[]));
            }
        };
        self.count += 1;
        let record = Record {
            kind,
            first: pages.start as u64,
            count: pages.len() as u64,
        };
        Some((record.encode(content, &mut self.chain), content))
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
