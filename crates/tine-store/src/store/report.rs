//! Reports: what there is and what it costs, as plain data.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::block::BLOCK_BYTES;
use crate::buffer::StretchId;
use crate::error::{Result, StoreError};
use crate::index::layers::{LAYERS_MAX, LAYERS_SOFT};
use crate::names::{BranchName, SnapshotName, Target};
use crate::segment::format::SegmentKind;
use crate::store::catalog::BranchCell;
use crate::store::pace::Pacer;
use crate::store::{Engine, Store};

/// A branch.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BranchInfo {
    /// Its name.
    pub name: BranchName,
    /// The disk's size in bytes.
    pub size: u64,
    /// Bytes of data written since its last point, exact.
    pub written: u64,
    /// When it was made.
    pub created: SystemTime,
    /// What it was forked from.
    pub origin: Option<Origin>,
    /// Clients may not write to it; see [`Store::protect`].
    pub protected: bool,
    /// Its snapshots, by name.
    pub snapshots: Vec<SnapshotInfo>,
}

/// What a branch was forked from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// As it was called then.
    pub name: String,
    /// The point.
    pub point: u64,
}

/// A snapshot.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SnapshotInfo {
    /// Its name.
    pub name: SnapshotName,
    /// The disk's size in bytes.
    pub size: u64,
    /// When it was made.
    pub created: SystemTime,
    /// The point that it names.
    pub point: u64,
}

/// A stretch of the family tree: a point, or the head of a branch.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PointInfo {
    /// Its number.
    pub id: u64,
    /// The point that it follows.
    pub parent: Option<u64>,
    /// The disk's size in bytes.
    pub size: u64,
    /// Bytes of data written between the parent and this.
    pub written: u64,
    /// The branch whose head it is; `None` for a point, which never changes.
    pub branch: Option<BranchName>,
    /// The snapshots that name it.
    pub snapshots: Vec<Target>,
}

/// The write buffer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BufferStats {
    /// Bytes of memory for written blocks, and for what is known of them and of cleared ranges.
    pub bytes: u64,
    /// Above this the store's own thread drains, and writers are slowed down.
    pub soft: u64,
    /// Above this writers drain before they go on.
    pub hard: u64,
    /// Bytes of memory that wait for the next writes, beside those: half of `hard` at the most.
    pub spare_bytes: u64,
    /// Microseconds that writers were slowed down since the store was opened, all together.
    pub held_back: u64,
}

/// Segments that large writes fill, and that are no part of the store yet.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StreamStats {
    /// Bytes of blocks in them.
    pub bytes: u64,
    /// Above this the store's own thread makes them a part of it.
    pub soft: u64,
    /// Above this writers do so before they go on.
    pub hard: u64,
    /// How many there are. The store's own thread begins above half of `open_hard`.
    pub open: u64,
    /// So many at the most, about: with as many writers make them a part of the store before they go on.
    pub open_hard: u64,
}

/// What upkeep has still to do for what is in segments.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DebtStats {
    /// Bytes of blocks in segments that no saved index covers, as of when they were counted last.
    pub bytes: u64,
    /// Above this the store's own thread saves the index, and writers are slowed down.
    pub soft: u64,
    /// Above this writers save it before they go on.
    pub hard: u64,
    /// Microseconds that writers were slowed down since the store was opened, all together.
    pub held_back: u64,
}

/// The objects of segments that are open.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DescriptorStats {
    /// How many.
    pub open: u64,
    /// So many are kept open, those that were read lately.
    pub soft: u64,
    /// So many at the most: who needs another waits until one is closed.
    pub hard: u64,
}

/// The journal.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct JournalStats {
    /// Files of its ring.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Bytes of the files that the next opening could need.
    pub live_bytes: u64,
    /// Bytes of them that are in use: what `soft` and `hard` bound.
    pub used: u64,
    /// Above this the store's own thread saves what they hold, and half-way to `hard` those who flush are slowed down.
    pub soft: u64,
    /// Above this they wait for that.
    pub hard: u64,
    /// Microseconds that they were slowed down since the store was opened, all together.
    pub held_back: u64,
    /// Frames written since the store was opened.
    pub frames: u64,
    /// Syncs since the store was opened.
    pub syncs: u64,
    /// Bytes written since the store was opened.
    pub written: u64,
}

/// The nodes of the index that are in memory.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct IndexStats {
    /// Bytes of them.
    pub cached_bytes: u64,
    /// Above this those that were not used for longest go.
    pub hard: u64,
    /// The most layers that a disk's index has; a read may look into each.
    pub layers: u64,
    /// More than these are merged.
    pub layers_soft: u64,
    /// There are never more, also where a full disk has no room to merge.
    pub layers_hard: u64,
    /// The most levels of nodes that one of them has; a look into it passes so many nodes.
    pub levels: u64,
}

/// The segments.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SegmentStats {
    /// How many there are.
    pub count: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Bytes of blocks in them that something still needs.
    pub live: u64,
    /// Bytes of those that hold runs.
    pub index_bytes: u64,
    /// Bytes of those that nothing needs but processes that still read them; given back when these have ended.
    pub leased_bytes: u64,
}

/// A store.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StoreStats {
    /// Branches.
    pub branches: u64,
    /// Snapshots.
    pub snapshots: u64,
    /// Points and heads of the family tree.
    pub points: u64,
    /// The write buffer.
    pub buffer: BufferStats,
    /// What large writes wrote past it.
    pub streams: StreamStats,
    /// The journal.
    pub journal: JournalStats,
    /// What is in segments and in no saved index.
    pub debt: DebtStats,
    /// The index in memory.
    pub index: IndexStats,
    /// The segments.
    pub segments: SegmentStats,
    /// The segments that are open.
    pub descriptors: DescriptorStats,
    /// The number of the newest manifest.
    pub manifest: u64,
    /// Bytes that the medium can still take.
    pub free: u64,
    /// Bytes written by users since the store was opened.
    pub user_written: u64,
    /// Bytes written to segments since the store was opened.
    pub medium_written: u64,
}

fn held_back(pacer: &Pacer) -> u64 {
    u64::try_from(pacer.held_back().as_micros()).unwrap_or(u64::MAX)
}

fn time(nanoseconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_nanos(nanoseconds)
}

impl Engine {
    fn info(&self, name: &BranchName) -> Result<BranchInfo> {
        loop {
            let (cell, stretch, mut info) = {
                let catalog = self.catalog.lock();
                let entry = catalog.entry(name)?;
                let head = entry.cell.head.read();
                let mut snapshots = Vec::with_capacity(entry.snapshots.len());
                for (name, snapshot) in &entry.snapshots {
                    snapshots.push(SnapshotInfo {
                        name: name.clone(),
                        size: catalog.stretch(snapshot.point)?.state.lock().size(),
                        created: time(snapshot.created),
                        point: snapshot.point,
                    });
                }
                let info = BranchInfo {
                    name: name.clone(),
                    size: head.size,
                    written: 0,
                    created: time(entry.created),
                    origin: entry.origin.clone().map(|(point, name)| Origin { name, point }),
                    protected: entry.protected,
                    snapshots,
                };
                (Arc::clone(&entry.cell), Arc::clone(&head.stretch), info)
            };
            let written = self.written_blocks(&stretch, Some(&cell));
            // Dropped or rolled back meanwhile, and what was counted with it.
            if !stretch.is_dropped() {
                info.written = written? * BLOCK_BYTES;
                return Ok(info);
            }
        }
    }
}

impl Store {
    /// Returns all branches, sorted by name.
    ///
    /// # Errors
    /// Those of reading: after a crash the written bytes are counted anew.
    pub fn branches(&self) -> Result<Vec<BranchInfo>> {
        let engine = &self.running.engine;
        let names: Vec<BranchName> = {
            let catalog = engine.catalog.lock();
            catalog
                .branches
                .iter()
                .filter(|(_, entry)| entry.is_kept())
                .map(|(name, _)| name.clone())
                .collect()
        };
        names
            .iter()
            .map(|name| engine.info(name))
            // One that is dropped meanwhile is left out.
            .filter(|info| !matches!(info, Err(StoreError::UnknownBranch { .. })))
            .collect()
    }

    /// Returns one branch.
    ///
    /// # Errors
    /// [`StoreError::UnknownBranch`], and those of reading.
    pub fn branch_info(&self, name: &BranchName) -> Result<BranchInfo> {
        self.running.engine.info(name)
    }

    /// Returns the family tree, parents before children.
    ///
    /// # Errors
    /// Those of reading: after a crash the written bytes are counted anew.
    pub fn points(&self) -> Result<Vec<PointInfo>> {
        let engine = &self.running.engine;
        let (mut stretches, mut points, cells) = {
            let catalog = engine.catalog.lock();
            let cells = catalog.branches.values().map(|entry| {
                let head = entry.cell.head.read().stretch.id;
                (head, Arc::clone(&entry.cell))
            });
            let cells: HashMap<StretchId, Arc<BranchCell>> = cells.collect();
            let stretches = catalog.stretches.values().filter(|stretch| !stretch.is_dropped());
            let stretches: Vec<_> = stretches.cloned().collect();
            let points: HashMap<StretchId, PointInfo> = stretches
                .iter()
                .map(|stretch| {
                    let size = stretch.state.lock().size();
                    let (id, parent) = (stretch.id, stretch.parent);
                    (
                        id,
                        PointInfo {
                            id,
                            parent,
                            size,
                            written: 0,
                            branch: None,
                            snapshots: Vec::new(),
                        },
                    )
                })
                .collect();
            let mut points = points;
            for (name, entry) in catalog.branches.iter().filter(|(_, entry)| entry.is_kept()) {
                let head = entry.cell.head.read().stretch.id;
                if let Some(point) = points.get_mut(&head) {
                    point.branch = Some(name.clone());
                }
                for (snapshot, found) in &entry.snapshots {
                    if let Some(point) = points.get_mut(&found.point) {
                        point
                            .snapshots
                            .push(Target::Snapshot(name.clone(), snapshot.clone()));
                    }
                }
            }
            (stretches, points, cells)
        };
        // Numbers increase along every line.
        stretches.sort_by_key(|stretch| stretch.id);
        stretches
            .iter()
            .filter_map(|stretch| {
                let mut point = points.remove(&stretch.id)?;
                let cell = cells.get(&stretch.id).map(Arc::as_ref);
                let written = engine.written_blocks(stretch, cell);
                // Dropped meanwhile, and what it had with it.
                (!stretch.is_dropped()).then(|| {
                    point.written = written? * BLOCK_BYTES;
                    Ok(point)
                })
            })
            .collect()
    }

    /// Returns what the store holds and has done.
    ///
    /// # Errors
    /// Those of asking the medium for its free space and who reads.
    pub fn stats(&self) -> Result<StoreStats> {
        let engine = &self.running.engine;
        let (branches, snapshots, points, live) = {
            let catalog = engine.catalog.lock();
            let named = || catalog.branches.values().filter(|entry| entry.is_kept());
            let live: u64 = catalog
                .stretches
                .values()
                .map(|stretch| stretch.state.lock().live.values().sum::<u64>())
                .sum();
            let snapshots: usize = named().map(|entry| entry.snapshots.len()).sum();
            (
                named().count() as u64,
                snapshots as u64,
                catalog.stretches.len() as u64,
                live * BLOCK_BYTES,
            )
        };
        let segments = engine.segments.list();
        let (cached_bytes, hard) = engine.index.cached();
        let (mut layers, mut levels) = (0, 0);
        for stretch in engine.catalog.lock().stretches.values() {
            if let Some(root) = &stretch.state.lock().root {
                layers = layers.max(root.trees.len() as u64);
                let tallest = root
                    .trees
                    .iter()
                    .map(|tree| u64::from(tree.record.level) + 1)
                    .max();
                levels = levels.max(tallest.unwrap_or(0));
            }
        }
        let bytes_of = |wanted: Option<SegmentKind>| {
            segments
                .iter()
                .filter(|(_, kind, _)| wanted.is_none_or(|w| w == *kind))
                .map(|(.., bytes)| bytes)
                .sum()
        };
        let (buffer, debt) = (engine.buffer_level(), engine.debt_level());
        let (streams, open_streams) = (engine.streams_level(), engine.open_streams_level());
        let (full, descriptors) = (engine.journal.level(), engine.segments.descriptors());
        let journal = engine.journal.with_ring(|ring| JournalStats {
            files: u64::from(ring.files()),
            bytes: u64::from(ring.files()) * ring.shape.file_bytes,
            live_bytes: ring.live_bytes(),
            used: full.now,
            soft: full.soft,
            hard: full.hard,
            held_back: held_back(&engine.pacers.journal),
            frames: ring.counts.frames,
            syncs: ring.counts.syncs,
            written: ring.counts.bytes,
        });
        Ok(StoreStats {
            branches,
            snapshots,
            points,
            buffer: BufferStats {
                bytes: buffer.now,
                soft: buffer.soft,
                hard: buffer.hard,
                spare_bytes: engine.buffered.spare(),
                held_back: held_back(&engine.pacers.buffer),
            },
            streams: StreamStats {
                bytes: streams.now,
                soft: streams.soft,
                hard: streams.hard,
                open: open_streams.now,
                open_hard: open_streams.hard,
            },
            journal,
            debt: DebtStats {
                bytes: debt.now,
                soft: debt.soft,
                hard: debt.hard,
                held_back: held_back(&engine.pacers.debt),
            },
            descriptors: DescriptorStats {
                open: descriptors.now,
                soft: descriptors.soft,
                hard: descriptors.hard,
            },
            index: IndexStats {
                cached_bytes,
                hard,
                layers,
                layers_soft: LAYERS_SOFT as u64,
                layers_hard: LAYERS_MAX as u64,
                levels,
            },
            segments: SegmentStats {
                count: segments.len() as u64,
                bytes: bytes_of(None),
                live,
                index_bytes: bytes_of(Some(SegmentKind::Index)),
                leased_bytes: self.leased_bytes()?,
            },
            manifest: engine.newest_manifest.load(Ordering::Relaxed),
            free: engine
                .medium
                .free_bytes()
                .map_err(|e| StoreError::io("the store's free space", "determine", e))?,
            user_written: engine.user_written.load(Ordering::Relaxed),
            medium_written: engine.medium_written.load(Ordering::Relaxed),
        })
    }
}
