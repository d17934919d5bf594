//! Space: a write is acknowledged only when the medium has room for it.
//!
//! What is held back covers everything in memory that no segment holds yet, its footers and runs, and a constant that
//! lets manifests, drops and the journal go on when the disk is full.

use std::sync::Arc;

use parking_lot::Mutex;

use crate::block::BLOCK_BYTES;
use crate::error::{Result, StoreError};
use crate::medium::Medium;

/// Reservations grow in steps, so that most writes cost no system call.
const STEP_BYTES: u64 = 4 << 20;

/// Bytes that the run of a block takes at the most: an extent of its own.
const INDEX_BYTES: u64 = 40;

/// The space held back for what is in memory.
pub(crate) struct Space {
    medium: Arc<dyn Medium>,
    /// For manifests and what the estimates leave out; upkeep may use it.
    spare: u64,
    /// For one more file of the journal's ring: the medium takes it when the ring grows on a full disk, and the next
    /// opening finds it free. Nothing else may use it.
    ring: u64,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    /// Bytes held for data and its index, beside the constant parts.
    bytes: u64,
    /// What the runs of published blocks will take.
    index: u64,
}

impl Held {
    /// What `data` bytes in memory and the runs of what is published will take: with footers, runs and headers.
    fn needed(&self, data: u64) -> u64 {
        data + data / 32 + self.index
    }
}

impl Space {
    pub(crate) fn new(medium: Arc<dyn Medium>, spare: u64, ring: u64) -> Self {
        Self {
            medium,
            spare,
            ring,
            held: Mutex::new(Held::default()),
        }
    }

    /// Takes note of how many published blocks no run covers.
    pub(crate) fn set_uncovered(&self, blocks: u64) {
        self.held.lock().index = blocks * INDEX_BYTES;
    }

    fn constant(&self) -> u64 {
        self.spare + self.ring
    }

    /// Holds room for `data` bytes in memory; "no space" is the answer to the write, not a later surprise.
    pub(crate) fn hold(&self, data: u64) -> Result<()> {
        let mut held = self.held.lock();
        let needed = held.needed(data);
        if needed <= held.bytes {
            return Ok(());
        }
        let step = STEP_BYTES.min(self.spare.max(64 << 10));
        for target in [needed.next_multiple_of(step), needed] {
            match self.medium.reserve(target + self.constant()) {
                Ok(()) => {
                    held.bytes = target;
                    return Ok(());
                }
                Err(error) if error.kind() == std::io::ErrorKind::StorageFull => {}
                Err(error) => return Err(StoreError::io("space for the store", "reserve", error)),
            }
        }
        Err(StoreError::NoSpace {
            what: "the write".into(),
        })
    }

    /// Gives room back for an object that is about to be written.
    pub(crate) fn use_for_object(&self, bytes: u64) -> Result<()> {
        // Media allocate whole blocks.
        let bytes = bytes.next_multiple_of(BLOCK_BYTES);
        let mut held = self.held.lock();
        // On a full disk the spare room serves too; the next write has to find it again.
        let target = (held.bytes + self.spare).saturating_sub(bytes);
        held.bytes = held.bytes.saturating_sub(bytes);
        self.medium
            .reserve(target + self.ring)
            .map_err(|e| StoreError::io("space of the store", "release", e))
    }

    /// Holds exactly what `data` bytes in memory need. If there is not so much, what is held does not cover more data,
    /// so that the next write has to find room first.
    pub(crate) fn settle(&self, data: u64) {
        let mut held = self.held.lock();
        let needed = held.needed(data);
        let enough = self.medium.reserve(needed + self.constant()).is_ok();
        held.bytes = if enough { needed } else { held.bytes.min(needed) };
    }

    /// Gives everything back.
    pub(crate) fn release(&self) {
        self.held.lock().bytes = 0;
        // What stays held goes with the file when the store is opened again.
        let _ = self.medium.reserve(0);
    }
}
