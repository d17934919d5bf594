//! Options of making and opening a store.

use std::fmt;
use std::time::Duration;

use crate::bounds::Bounds;
use crate::error::LockHolder;

/// Parameters of a new store; they are kept in it.
#[derive(Clone, Debug)]
pub struct CreateOptions {
    /// Bytes of one file of the journal's ring: a multiple of 4096, at least 32 KiB. A frame never straddles
    /// files, so this bounds a frame too.
    pub journal_file_bytes: u64,
    /// Files that the ring begins with, at least 3. It grows when upkeep needs it.
    pub journal_files: u32,
}

impl Default for CreateOptions {
    fn default() -> Self {
        Self {
            journal_file_bytes: 8 << 20,
            journal_files: 4,
        }
    }
}

/// Who does the work that keeps buffers and journal within their bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpkeepMode {
    /// A thread of the store's own, early; writers help when it falls behind.
    Background,
    /// The thread that meets a bound. Deterministic, for tests and short commands.
    Inline,
}

/// Called once when the lock has been waited for a second, with its holder if known.
pub type OnWait = Box<dyn FnMut(Option<&LockHolder>) + Send>;

/// How to open a store.
pub struct OpenOptions {
    /// How long to wait for another process that holds the store.
    pub wait: Duration,
    /// Told once after a second of waiting.
    pub on_wait: Option<OnWait>,
    /// Bytes of memory for what is written and not in segments yet, at the most, for the whole store. Each writer that
    /// looked for room at the same moment may pass it by one piece of 1 MiB, a batch by 16 MiB; half as much again stays
    /// allocated for the next writes.
    pub buffer_bytes: u64,
    /// The whole blocks of a write that has at least so many bytes of them pass the buffer by: while the buffer is above its
    /// soft bound (with [`UpkeepMode::Inline`] always), if the branch has more unflushed than eight such writes or one frame.
    /// Those of throwaway forks never do.
    pub large_write_bytes: u64,
    /// Bytes of index nodes that are kept in memory at about the most, for the whole store.
    pub index_cache_bytes: u64,
    /// Who does the upkeep.
    pub upkeep: UpkeepMode,
    /// Open for reading only, and a damaged store too, as it was before the damage; else damage is an error.
    pub read_damaged: bool,
    /// Bounds of the engine that are not for users to choose.
    #[cfg(feature = "simulation")]
    pub bounds: Bounds,
}

impl OpenOptions {
    #[cfg(feature = "simulation")]
    pub(crate) fn bounds(&self) -> Bounds {
        self.bounds
    }

    #[cfg(not(feature = "simulation"))]
    pub(crate) fn bounds(&self) -> Bounds {
        Bounds::USUAL
    }
}

impl Default for OpenOptions {
    fn default() -> Self {
        Self {
            wait: Duration::from_secs(30),
            on_wait: None,
            buffer_bytes: 64 << 20,
            large_write_bytes: 128 << 10,
            index_cache_bytes: 64 << 20,
            upkeep: UpkeepMode::Background,
            read_damaged: false,
            #[cfg(feature = "simulation")]
            bounds: Bounds::USUAL,
        }
    }
}

impl fmt::Debug for OpenOptions {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("OpenOptions")
            .field("wait", &self.wait)
            .field("buffer_bytes", &self.buffer_bytes)
            .field("large_write_bytes", &self.large_write_bytes)
            .field("index_cache_bytes", &self.index_cache_bytes)
            .field("upkeep", &self.upkeep)
            .finish_non_exhaustive()
    }
}
