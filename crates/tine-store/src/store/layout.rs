//! Layout: in how many pieces a disk's data lie on the medium, and which parts of it are worth writing anew.
//!
//! A **piece** is blocks that follow one another both on the disk and in a segment. Who reads the disk in order from a
//! warm cache pays for each piece; from the medium what was written together is one request, whatever its pieces.
//!
//! Invariant: what was written anew as a whole is not due again: it lies in as few pieces as its gaps allow.

use std::ops::Range;

use crate::block::block_count;
use crate::error::Result;
use crate::index::leaf::PieceContent;
use crate::overlay::Entry;
use crate::segment::SegmentId;
use crate::store::State;
use crate::store::view::Found;

/// The disk is looked at and written anew in windows of 4 MiB: one group each, which always goes into one segment.
const WINDOW_BLOCKS: u64 = 1024;

/// A window is written anew if that saves a piece for each so many blocks. Reading pieces of 64 KiB costs no more than
/// what is one piece: the copying is dearer than the call then.
const BLOCKS_PER_PIECE: u64 = 16;

/// Where a block lies.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Drained in order, it will be one piece with its neighbours in memory.
    Memory,
    Stored {
        segment: SegmentId,
        at: u64,
    },
}

impl Place {
    /// Returns where the block behind so many lies, if they are one piece.
    fn behind(self, blocks: u64) -> Self {
        match self {
            Self::Memory => Self::Memory,
            Self::Stored { segment, at } => Self::Stored {
                segment,
                at: at + blocks,
            },
        }
    }
}

/// Counts pieces.
#[derive(Default)]
struct Pieces {
    count: u64,
    /// The block behind the last one, and where it would be of the same piece.
    next: Option<(u64, Place)>,
}

impl Pieces {
    fn add(&mut self, blocks: &Range<u64>, place: Place) {
        if self.next != Some((blocks.start, place)) {
            self.count += 1;
        }
        self.next = Some((blocks.end, place.behind(blocks.end - blocks.start)));
    }
}

/// A part of a disk that has data.
pub(super) struct Window {
    /// The block behind it.
    pub(super) end: u64,
    /// Its blocks of data.
    pub(super) data: u64,
    /// Those of them that may be written anew: in a segment, and of the right birth.
    pub(super) movable: Vec<Range<u64>>,
    /// How many these are.
    pub(super) blocks: u64,
    /// How many of these something older shares.
    pub(super) shared: u64,
    /// The pieces in which the movable ones lie.
    pieces: u64,
}

impl Window {
    fn with(block: u64) -> Self {
        Self {
            end: (block / WINDOW_BLOCKS + 1) * WINDOW_BLOCKS,
            data: 0,
            movable: Vec::new(),
            blocks: 0,
            shared: 0,
            pieces: 0,
        }
    }

    /// Tells whether writing the movable blocks anew saves enough pieces.
    pub(super) fn is_due(&self) -> bool {
        let saved = self.pieces - self.movable.len() as u64;
        self.blocks < BLOCKS_PER_PIECE * saved
    }
}

/// Walks over a disk.
pub(super) struct Walk {
    /// What is shared may be written anew too.
    shared: bool,
    pieces: Pieces,
}

impl Walk {
    pub(super) fn new(shared: bool) -> Self {
        Self {
            shared,
            pieces: Pieces::default(),
        }
    }

    /// Returns the pieces of all data so far.
    pub(super) fn pieces(&self) -> u64 {
        self.pieces.count
    }

    /// Returns the next window with data at or behind a block. Reads index nodes only; O(extents in it).
    pub(super) fn next(&mut self, state: &State, from: u64) -> Result<Option<Window>> {
        let blocks = from..block_count(state.size());
        if blocks.is_empty() {
            return Ok(None);
        }
        let mut found: Option<Window> = None;
        let mut movable = Pieces::default();
        state.view.resolve(state.index(), blocks, &mut |range, what| {
            if found.as_ref().is_some_and(|window| window.end <= range.start) {
                return Ok(false);
            }
            let Some((place, birth)) = place(&what) else {
                return Ok(true);
            };
            let window = found.get_or_insert_with(|| Window::with(range.start));
            let range = range.start..range.end.min(window.end);
            let count = range.end - range.start;
            window.data += count;
            self.pieces.add(&range, place);
            let is_shared = birth != state.stretch;
            if place != Place::Memory && (self.shared || !is_shared) {
                movable.add(&range, place);
                window.blocks += count;
                window.shared += if is_shared { count } else { 0 };
                match window.movable.last_mut() {
                    Some(last) if last.end == range.start => last.end = range.end,
                    _ => window.movable.push(range.clone()),
                }
            }
            Ok(range.end < window.end)
        })?;
        Ok(found.map(|window| Window {
            pieces: movable.count,
            ..window
        }))
    }
}

/// Returns where data lie, and the stretch that wrote them; nothing for what has none.
fn place(what: &Found<'_>) -> Option<(Place, u64)> {
    match what {
        Found::Absent | Found::Entry(Entry::Zero(_)) => None,
        Found::Entry(entry @ Entry::Data { source, slot, .. }) => {
            let place = match source.stored(*slot) {
                Some((segment, at)) => Place::Stored {
                    segment: segment.id,
                    at: u64::from(at),
                },
                None => Place::Memory,
            };
            Some((place, entry.birth()))
        }
        Found::Piece(piece) => match piece.content {
            PieceContent::Data { home, first, .. } => {
                let place = Place::Stored {
                    segment: home.id(),
                    at: u64::from(first),
                };
                Some((place, piece.birth()))
            }
            PieceContent::Zero | PieceContent::Hole => None,
        },
    }
}
