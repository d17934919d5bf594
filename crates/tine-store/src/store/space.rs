//! Space: a write is acknowledged only when the medium has room for it.
//!
//! What is held back covers everything in memory that no segment holds yet, its footers and runs, and a constant that
//! lets manifests, drops and the journal go on when the disk is full.

use std::sync::Arc;

use parking_lot::Mutex;

use crate::error::{Result, StoreError};
use crate::medium::Medium;

/// Reservations grow in steps, so that most writes cost no system call.
const STEP_BYTES: u64 = 4 << 20;

/// The space held back for what is in memory.
pub(crate) struct Space {
    medium: Arc<dyn Medium>,
    /// Always held, besides what the writers need.
    spare: u64,
    held: Mutex<u64>,
}

impl Space {
    pub(crate) fn new(medium: Arc<dyn Medium>, spare: u64) -> Self {
        Self {
            medium,
            spare,
            held: Mutex::new(0),
        }
    }

    /// What `data` bytes in memory will take on the medium: with footers, runs and headers.
    fn needed(&self, data: u64) -> u64 {
        data + data / 32
    }

    /// Holds room for `data` bytes in memory; "no space" is the answer to the write, not a later surprise.
    pub(crate) fn hold(&self, data: u64) -> Result<()> {
        let needed = self.needed(data);
        let mut held = self.held.lock();
        if needed <= *held {
            return Ok(());
        }
        let step = STEP_BYTES.min(self.spare.max(64 << 10));
        for target in [needed.next_multiple_of(step), needed] {
            match self.medium.reserve(target + self.spare) {
                Ok(()) => {
                    *held = target;
                    return Ok(());
                }
                Err(error) if error.kind() == std::io::ErrorKind::StorageFull => {}
                Err(error) => return Err(StoreError::io("the store", "reserving space", error)),
            }
        }
        Err(StoreError::NoSpace { what: "the write" })
    }

    /// Gives room back for a segment that is about to be written.
    pub(crate) fn use_for_segment(&self, bytes: u64) -> Result<()> {
        let mut held = self.held.lock();
        let left = held.saturating_sub(bytes);
        // On a full disk the spare room serves too; the next write has to find it again.
        let target = if bytes > *held {
            (self.spare + *held).saturating_sub(bytes)
        } else {
            self.spare + left
        };
        *held = left;
        self.medium
            .reserve(target)
            .map_err(|e| StoreError::io("the store", "releasing space", e))
    }

    /// Holds exactly what `data` bytes in memory need, or as much of it as there is.
    pub(crate) fn settle(&self, data: u64) {
        let mut held = self.held.lock();
        let needed = self.needed(data).min(*held);
        if self.medium.reserve(needed + self.spare).is_ok() {
            *held = needed;
        }
    }

    /// Gives everything back.
    pub(crate) fn release(&self) {
        *self.held.lock() = 0;
        // What stays held goes with the file when the store is opened again.
        let _ = self.medium.reserve(0);
    }

    /// Gives the spare room back for upkeep on a full disk.
    pub(crate) fn release_spare(&self) {
        let held = self.held.lock();
        let _ = self.medium.reserve(*held);
    }
}
