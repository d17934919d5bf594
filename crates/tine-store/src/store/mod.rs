//! The store: branches that fork in O(1), on a journal and immutable segments.

mod batch;
mod branch;
mod branch_streams;
pub(crate) mod catalog;
mod changed;
mod check;
mod checkpoint;
mod content;
mod defrag;
mod diff;
mod drain;
pub(crate) mod durable;
mod flush;
mod fork;
pub(crate) mod head;
mod index_writer;
mod instant;
mod layout;
mod lookup;
mod naming;
mod open;
mod own_blocks;
pub(crate) mod pace;
pub(crate) mod parameters;
mod read_ahead;
mod reader;
mod relief;
mod replay;
mod report;
mod segment_writer;
mod space;
mod state;
mod stream;
pub(crate) mod stretch;
mod throwaway;
mod transfer;
mod upkeep;
pub(crate) mod view;

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;

use parking_lot::Mutex;

pub use branch::Branch;
pub use check::{CheckReport, Damage};
pub use defrag::{DefragOptions, DefragReport, Fragmentation};
pub use diff::{Diff, DiffRange};
pub(crate) use open::random_bits;
pub use reader::Reader;
pub use report::{
    BranchInfo, BufferStats, DebtStats, DescriptorStats, IndexStats, JournalStats, Origin, PointInfo,
    SegmentStats, SnapshotInfo, StoreStats, StreamStats,
};
pub use state::{Extent, ExtentKind, State};
pub use transfer::{
    ExportReport, ExportTarget, Image, ImportReport, ImportSource, Piece, PieceSource, Progress, StreamSource,
};
#[cfg(feature = "simulation")]
pub use upkeep::UpkeepStep;

use crate::bounds::Bounds;
use crate::buffer::{Books, BufferMemory};
use crate::error::{Result, StoreError};
use crate::index::Index;
use crate::journal::commit::{Item, Journal, Priority, Refused, Ticket};
use crate::medium::Medium;
use crate::options::UpkeepMode;
use crate::segment::SegmentId;
use crate::segment::table::SegmentTable;
use crate::store::head::Head;
use crate::store::own_blocks::{OwnBlocks, OwnMemory};
use crate::store::stream::Streamed;
use crate::store::stretch::Stretch;
use crate::store::view::View;
use catalog::Catalog;
use relief::Drains;
use space::Space;
use upkeep::{Pacers, Signal, Upkeep};

/// A store of branches, opened by this process alone.
///
/// Cheap to clone; all methods may be called from several threads. [`Store::close`] ends it well; if it is only
/// dropped, what was not flushed is lost, as if the process had been killed.
#[derive(Clone)]
pub struct Store {
    running: Arc<Running>,
}

/// The engine while handles on it exist.
pub(crate) struct Running {
    pub(crate) engine: Arc<Engine>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.engine.stop_thread();
    }
}

/// Everything that one open store is.
pub(crate) struct Engine {
    /// For the thread, which starts when there is something for it to do.
    me: Weak<Engine>,
    thread: Mutex<Option<JoinHandle<()>>>,
    pub(crate) medium: Arc<dyn Medium>,
    pub(crate) journal: Journal,
    pub(crate) segments: Arc<SegmentTable>,
    pub(crate) index: Index,
    pub(crate) catalog: Mutex<Catalog>,
    /// Held by whatever moves data from memory to segments, or needs that nothing does.
    pub(crate) upkeep: Mutex<Upkeep>,
    pub(crate) drains: Drains,
    pub(crate) signal: Signal,
    pub(crate) space: Space,
    /// Blocks in memory that no segment holds.
    pub(crate) buffered: Arc<BufferMemory>,
    /// What heads know of which blocks are their own.
    pub(crate) own: Arc<OwnMemory>,
    pub(crate) buffer_bytes: u64,
    /// Bytes in segments that no root covers, as of when that was counted last.
    pub(crate) uncovered: AtomicU64,
    /// Blocks that roots came to cover since the store was opened.
    pub(crate) covered_blocks: AtomicU64,
    pub(crate) pacers: Pacers,
    /// Bytes of blocks in streams.
    pub(crate) streamed: Arc<Streamed>,
    /// A write of so many bytes may pass the buffer by.
    pub(crate) large_write_bytes: u64,
    pub(crate) bounds: Bounds,
    pub(crate) mode: UpkeepMode,
    /// What is damaged, in a store that is open for reading in spite of it.
    pub(crate) damage: Option<StoreError>,
    pub(crate) read_only: bool,
    epoch: u32,
    next_segment: AtomicU32,
    /// The newest manifest announced.
    pub(crate) newest_manifest: AtomicU64,
    pub(crate) next_manifest: AtomicU64,
    removed_since_sync: AtomicBool,
    /// Segments that are durably no part of the store, whose objects are to be removed by upkeep.
    removals: Mutex<Vec<SegmentId>>,
    /// Some stretch has deaths that readers may hold up.
    pub(crate) has_deaths: AtomicBool,
    /// Checkpoints in a row that freed nothing of a full journal.
    pub(crate) stuck: AtomicU32,
    /// What had been stored when all dead blocks were looked for last.
    pub(crate) dead_found_at: AtomicU64,
    pub(crate) user_written: AtomicU64,
    pub(crate) medium_written: AtomicU64,
}

impl Engine {
    /// Makes the head of a stretch to which nothing was written in this process yet.
    pub(crate) fn head(&self, stretch: Arc<Stretch>, size: u64, view: Option<View>) -> Head {
        let (books, own) = (Books::new(&self.buffered), OwnBlocks::none(&self.own));
        Head::new(stretch, size, view, books, own)
    }

    /// Returns an id that was never used.
    pub(crate) fn new_segment_id(&self) -> SegmentId {
        SegmentId {
            epoch: self.epoch,
            counter: self.next_segment.fetch_add(1, Ordering::Relaxed),
        }
    }

    /// Returns the answer to writes in a store that is open for reading only.
    fn why_read_only(&self) -> StoreError {
        self.damage.clone().unwrap_or(StoreError::ReadOnly)
    }

    /// Fails if nothing can be written any more.
    pub(crate) fn check_writable(&self) -> Result<()> {
        if self.read_only {
            return Err(self.why_read_only());
        }
        match self.journal.failure() {
            Some(source) => Err(StoreError::Poisoned { source }),
            None => Ok(()),
        }
    }

    /// Queues a user's item whose effect in memory `apply` brings about, under the same locks that `prepare` takes.
    ///
    /// While the journal has no room, upkeep makes some and `prepare` is asked again: it changes nothing itself. What
    /// has the priority of upkeep, as drops have, leaves a free file for upkeep as long as that can make room.
    pub(crate) fn commit<G>(
        &self,
        priority: Priority,
        mut prepare: impl FnMut() -> Result<(G, Item)>,
        apply: impl FnOnce(G, Ticket),
    ) -> Result<Ticket> {
        self.check_writable()?;
        let mut presses = false;
        loop {
            let (guard, item) = prepare()?;
            let now = if presses { priority } else { Priority::User };
            match self.journal.enqueue(item, now) {
                Ok(ticket) => {
                    apply(guard, ticket);
                    return Ok(ticket);
                }
                Err(Refused::Failed(error)) => return Err(error),
                Err(Refused::NoRoom(item)) => {
                    drop(guard);
                    let bytes = item.bytes() as u64;
                    if presses {
                        self.grow_ring(bytes)?;
                        continue;
                    }
                    // Whatever keeps the journal from being freed: what is dropped may be just that.
                    match self.make_journal_room(bytes) {
                        Err(_) if priority == Priority::Upkeep => presses = true,
                        result => result?,
                    }
                }
            }
        }
    }
}

/// Returns nanoseconds since 1970.
pub(crate) fn now(medium: &dyn Medium) -> u64 {
    let since = medium
        .now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
