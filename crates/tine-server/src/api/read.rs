//! `read`: bytes of a disk, as they are at one instant. An export is a read of all of it.

use std::ops::Range;

use serde::{Deserialize, Serialize};
use tine_store::{Piece, State, Store, StoreError, Target};

use super::{Failure, Kind, near};
use crate::Daemon;
use crate::words::{count, human};

/// Reads bytes of a branch or snapshot.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Read {
    /// The branch or snapshot.
    pub target: Target,
    /// Where to begin, in bytes.
    #[serde(default)]
    pub offset: u64,
    /// How many bytes; without it all up to the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub length: Option<u64>,
}

/// Takes what is read.
pub trait Pieces {
    /// Told the range that is going to be read, once and first.
    ///
    /// # Errors
    /// Ends the reading.
    fn begin(&mut self, range: Range<u64>) -> Result<(), Failure>;

    /// Takes the next piece of the range, in order.
    ///
    /// # Errors
    /// Ends the reading.
    fn piece(&mut self, piece: Piece<'_>) -> Result<(), Failure>;
}

impl Read {
    /// What it is called in the path.
    pub const VERB: &'static str = "read";

    /// Reads of a daemon's store, which goes on meanwhile.
    ///
    /// # Errors
    /// Those of finding and reading the disk, and of `pieces`.
    pub fn work(self, daemon: &Daemon, pieces: &mut dyn Pieces) -> Result<(), Failure> {
        let store = daemon.store();
        let state = store.state(&self.target);
        let state = state.map_err(|error| near::with_near_names(store, error.into()))?;
        self.visit(&state, pieces)
    }

    /// Reads of a store that this process opened, and lets it go meanwhile.
    ///
    /// # Errors
    /// As [`Read::work`].
    pub fn work_alone(self, store: Store, pieces: &mut dyn Pieces) -> Result<(), Failure> {
        let reader = super::into_reader(store, std::slice::from_ref(&self.target))?;
        self.visit(&reader.states()[0], pieces)
    }

    fn visit(&self, state: &State, pieces: &mut dyn Pieces) -> Result<(), Failure> {
        let range = within(&self.target, state.size(), self.offset, self.length)?;
        pieces.begin(range.clone())?;
        let mut stopped = None;
        let read = state.visit(range, &mut |piece| {
            pieces.piece(piece).map_err(|failure| {
                stopped = Some(failure);
                StoreError::Cancelled
            })
        });
        match stopped {
            Some(failure) => Err(failure),
            None => Ok(read?),
        }
    }
}

/// Returns the range that an offset and a length name, or fails when it goes past the end of the disk.
///
/// # Errors
/// [`Kind::Invalid`].
pub fn within(target: &Target, size: u64, offset: u64, length: Option<u64>) -> Result<Range<u64>, Failure> {
    let end = match length {
        Some(length) => offset.checked_add(length),
        None => Some(size),
    };
    match end {
        Some(end) if offset <= size && end <= size => Ok(offset..end),
        _ => {
            let range = match length {
                Some(length) => format!("{} at {offset} would go", count(length, "byte")),
                None => format!("offset {offset} is"),
            };
            let words = format!("{range} past the end of `{target}`");
            let hint = format!("it has {} ({})", count(size, "byte"), human(size));
            Err(Failure::new(Kind::Invalid, words).hint(hint))
        }
    }
}
