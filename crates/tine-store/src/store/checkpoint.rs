//! Checkpoints: runs for what was published, and a manifest that frees the journal behind it.
//!
//! Order: drain, runs synced, a mark in the journal whose frame is P, manifest synced, its announcement durable. Only
//! then are ring files used again, and what the older manifest alone named given back (rules 2, 3).

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};

use crate::buffer::Place as SourcePlace;
use crate::buffer::StretchId;
use crate::checksum::crc32c;
use crate::codec::Encoder;
use crate::error::{Result, StoreError};
use crate::journal::commit::Item;
use crate::journal::record::{FrameRef, Record};
use crate::journal::ring::Place;
use crate::manifest::{BranchRecord, Manifest, SnapshotRecord, StretchRecord};
use crate::medium::{Area, ObjectName};
use crate::overlay::{Entry, Overlay};
use crate::planted::{Bug, planted};
use crate::run::{self, EXTENT_BLOCKS_MAX, RunExtent, RunRef};
use crate::segment::SegmentId;
use crate::segment::format::{SEGMENT_HEADER_BYTES, SegmentKind, Trailer, encode_header, encode_trailer};
use crate::store::Engine;
use crate::store::catalog::Catalog;
use crate::store::content::Applier;
use crate::store::durable::{Effect, NewRoot};
use crate::store::stretch::Stretch;
use crate::store::upkeep::Upkeep;

/// A stretch with more runs than this gets one in place of all.
pub(crate) const RUNS_MAX: usize = 4;

/// Runs that are written but that no manifest names yet.
struct Pending {
    roots: HashMap<StretchId, NewRoot>,
    segment: Option<(SegmentId, u64)>,
}

impl Engine {
    /// Saves everything and frees the journal up to here.
    pub(crate) fn checkpoint(&self, upkeep: &mut Upkeep) -> Result<()> {
        let result = self.with_dead_space(upkeep, |upkeep| {
            self.drain_all(upkeep)?;
            self.save()
        });
        self.settle_space();
        result?;
        self.reclaim(upkeep)
    }

    fn save(&self) -> Result<()> {
        self.check_writable()?;
        let pending = self.put_runs()?;
        if let Some((segment, bytes)) = pending.segment {
            self.segments
                .add(self.segments.handle(segment), SegmentKind::Index, bytes);
        }
        self.put_manifest(pending)
    }

    /// Writes a run for each stretch with published parts, all into one segment.
    fn put_runs(&self) -> Result<Pending> {
        let mut stretches: Vec<Arc<Stretch>> = self.catalog.lock().stretches.values().cloned().collect();
        // In one order in every run, so that a history repeats to the last byte.
        stretches.sort_unstable_by_key(|stretch| stretch.id);
        let mut pending = Pending {
            roots: HashMap::new(),
            segment: None,
        };
        let mut runs = Encoder::default();
        let segment = self.new_segment_id();
        for stretch in stretches {
            let (parts, old_runs) = {
                let state = stretch.state.lock();
                if state.dropped || state.parts.is_empty() {
                    continue;
                }
                (state.parts.clone(), state.runs.clone())
            };
            let mut overlay = Overlay::new();
            let merge = old_runs.len() >= RUNS_MAX;
            {
                let mut applier = Applier::new(self, stretch.id, &mut overlay);
                for run in old_runs.iter().filter(|_| merge) {
                    applier.run(&self.read_run(run)?);
                }
                for part in &parts {
                    applier.part(part.segment, &part.part);
                }
            }
            let extents = extents(&overlay);
            let offset = SEGMENT_HEADER_BYTES + runs.bytes.len() as u64;
            let start = runs.bytes.len();
            run::encode(&extents, &mut runs);
            let new = RunRef {
                segment,
                offset,
                bytes: (runs.bytes.len() - start) as u64,
                checksum: crc32c(&runs.bytes[start..]),
                extents: extents.len() as u32,
            };
            let mut all = if merge { Vec::new() } else { old_runs };
            all.push(new);
            let covered = parts.iter().map(|part| part.part.upto).max().unwrap_or(0);
            pending.roots.insert(
                stretch.id,
                NewRoot {
                    stretch,
                    covered,
                    runs: all,
                },
            );
        }
        if !pending.roots.is_empty() {
            let bytes = self.put_index_segment(segment, &runs.bytes)?;
            pending.segment = Some((segment, bytes));
        }
        Ok(pending)
    }

    fn put_index_segment(&self, id: SegmentId, runs: &[u8]) -> Result<u64> {
        let name = ObjectName::Segment(id);
        self.space
            .use_for_object(SEGMENT_HEADER_BYTES + runs.len() as u64)?;
        let mut writer = self
            .medium
            .create_object(name)
            .map_err(|e| StoreError::io(name, "make", e))?;
        let trailer = Trailer {
            footer_offset: SEGMENT_HEADER_BYTES + runs.len() as u64,
            footer_bytes: 0,
            footer_checksum: crc32c(&[]),
        };
        let trailer = encode_trailer(&trailer);
        let result = (|| {
            for bytes in [&encode_header(id, SegmentKind::Index)[..], runs, &trailer] {
                self.append(&mut *writer, name, bytes)?;
            }
            writer.sync().map_err(|e| StoreError::io(name, "sync", e))?;
            if planted(Bug::NoDirectorySync) {
                return Ok(());
            }
            self.medium
                .sync_area(Area::Segment)
                .map_err(|e| StoreError::io("segments/", "sync", e))
        })();
        if result.is_err() {
            self.abandon(name);
        }
        result.map(|()| SEGMENT_HEADER_BYTES + runs.len() as u64 + trailer.len() as u64)
    }

    fn put_manifest(&self, pending: Pending) -> Result<()> {
        let older = self.newest_manifest.load(Ordering::Relaxed);
        // Everything queued before the mark is in the manifest, nothing queued after it.
        let mark = Arc::new(OnceLock::new());
        let (mut manifest, ticket) = {
            let catalog = self.catalog.lock();
            let item = Item {
                mark: Some(Arc::clone(&mark)),
                ..Item::default()
            };
            let manifest = self.describe(&catalog, &pending);
            (manifest, self.enqueue_upkeep(item)?)
        };
        self.wait(ticket)?;
        let place = *mark
            .get()
            .ok_or_else(|| StoreError::damaged("a durable mark has no frame"))?;
        manifest.place = place;
        let covered: HashMap<StretchId, u64> = manifest
            .stretches
            .iter()
            .map(|record| (record.id, record.covered))
            .collect();
        (manifest.floor, manifest.floor_place) = self.floor(&place, &covered)?;
        if planted(Bug::ReuseEarly) {
            self.journal.with_ring(|ring| ring.trim(&manifest.floor));
        }
        self.space.use_for_manifest(manifest.object_bytes())?;
        manifest.put(&*self.medium)?;
        let mut records = Encoder::default();
        Record::Announced {
            manifest: manifest.number,
        }
        .encode(&mut records);
        let effect = Effect::Announced {
            number: manifest.number,
            floor: manifest.floor,
            roots: pending.roots.into_values().collect(),
        };
        let item = Item {
            records: records.bytes,
            effects: vec![effect],
            announces: Some(manifest.number),
            ..Item::default()
        };
        self.wait(self.enqueue_upkeep(item)?)?;
        self.abandon(ObjectName::Manifest(older));
        Ok(())
    }

    /// The state of the store; floor and place are filled in once they are known.
    fn describe(&self, catalog: &Catalog, pending: &Pending) -> Manifest {
        let unknown = FrameRef {
            epoch: 0,
            nonce: [0; 16],
            sequence: 0,
            chain: 0,
        };
        // A head's count is exact only while no writes are open in it, which is seen under its lock.
        let heads: HashMap<StretchId, Option<u64>> = catalog
            .branches
            .values()
            .map(|entry| {
                let head = entry.cell.head.read();
                (
                    head.stretch.id,
                    head.stretch.alive().filter(|_| !head.has_open_writes()),
                )
            })
            .collect();
        let mut stretches: Vec<StretchRecord> = catalog
            .stretches
            .values()
            .map(|stretch| {
                let state = stretch.state.lock();
                let root = pending.roots.get(&stretch.id);
                let mut live: Vec<_> = state
                    .live
                    .iter()
                    .map(|(segment, blocks)| (*segment, *blocks))
                    .collect();
                live.sort_unstable();
                let covered = root.map_or(state.covered, |root| root.covered);
                let alive = heads.get(&stretch.id).copied().unwrap_or_else(|| stretch.alive());
                // What is not settled is counted anew after the store was opened.
                let settled =
                    state.groups.is_empty() && state.kills.is_empty() && covered + 1 >= state.open_group;
                StretchRecord {
                    id: stretch.id,
                    parent: stretch.parent,
                    size: state.size_at(covered),
                    covered,
                    alive: alive.filter(|_| settled),
                    runs: root.map_or(&state.runs, |root| &root.runs).clone(),
                    live,
                }
            })
            .collect();
        stretches.sort_by_key(|stretch| stretch.id);
        let branches = catalog
            .branches
            .iter()
            .map(|(name, entry)| BranchRecord {
                id: entry.cell.id,
                name: name.to_string(),
                head: entry.cell.head.read().stretch.id,
                origin: entry.origin.clone(),
                created: entry.created,
                ephemeral: entry.ephemeral,
                snapshots: entry
                    .snapshots
                    .iter()
                    .map(|(name, snapshot)| SnapshotRecord {
                        name: name.to_string(),
                        point: snapshot.point,
                        created: snapshot.created,
                    })
                    .collect(),
            })
            .collect();
        Manifest {
            // A number whose manifest could not be put is not tried again: it may be there after all.
            number: self.next_manifest.fetch_add(1, Ordering::Relaxed),
            floor: unknown,
            floor_place: Place { file: 0, offset: 0 },
            place: unknown,
            next_branch: catalog.next_branch,
            next_stretch: catalog.next_stretch,
            segments: self.segments.list(),
            stretches,
            branches,
        }
    }

    /// Finds the first frame with data above what the roots cover, up to `place` (rule 2).
    fn floor(&self, place: &FrameRef, covered: &HashMap<StretchId, u64>) -> Result<(FrameRef, Place)> {
        self.journal.with_ring(|ring| {
            let needed = |(stretch, group): &(StretchId, u64)| {
                covered.get(stretch).is_some_and(|covered| group > covered)
            };
            ring.log()
                .iter()
                .find(|logged| logged.frame == *place || logged.groups.iter().any(needed))
                .map(|logged| (logged.frame, logged.place))
                .ok_or_else(|| StoreError::damaged("the journal's log does not reach its own mark"))
        })
    }
}

/// Turns an overlay of one stretch into a run's extents: consecutive blocks of one segment become one.
fn extents(overlay: &Overlay) -> Vec<RunExtent> {
    let mut extents: Vec<RunExtent> = Vec::new();
    for (range, entry) in overlay {
        match entry {
            Entry::Zero(zero) => match extents.last_mut() {
                Some(RunExtent::Zero { start, count, hole })
                    if *start + *count == range.start && *hole == zero.is_hole() =>
                {
                    *count += range.end - range.start;
                }
                _ => extents.push(RunExtent::Zero {
                    start: range.start,
                    count: range.end - range.start,
                    hole: zero.is_hole(),
                }),
            },
            Entry::Data {
                source,
                slot,
                checksum,
            } => {
                let SourcePlace::Stored { segment, .. } = &*source.place.read() else {
                    unreachable!("an applier makes stored sources of runs and parts");
                };
                match extents.last_mut() {
                    Some(RunExtent::Data {
                        start,
                        segment: last,
                        first,
                        checksums,
                    }) if *last == segment.id
                        && *start + checksums.len() as u64 == range.start
                        && u64::from(*first) + checksums.len() as u64 == u64::from(*slot)
                        && checksums.len() < EXTENT_BLOCKS_MAX =>
                    {
                        checksums.push(*checksum);
                    }
                    _ => extents.push(RunExtent::Data {
                        start: range.start,
                        segment: segment.id,
                        first: *slot,
                        checksums: vec![*checksum],
                    }),
                }
            }
        }
    }
    extents
}
