//! Checkpoints: roots for what was published, and a manifest that frees the journal behind it.
//!
//! Order: drain, index nodes synced, a mark in the journal whose frame is P, manifest synced, its announcement durable.
//! Only then are ring files used again, and what the older manifest alone named given back (rules 2, 3).

mod root;
mod shared;

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use smallvec::smallvec;

use crate::block::BLOCK_BYTES;
use crate::buffer::StretchId;
use crate::codec::Encoder;
use crate::error::{Result, StoreError};
use crate::index::layers::Layers;
use crate::index::tree::Tree;
use crate::journal::commit::Item;
use crate::journal::record::{FrameRef, Record};
use crate::journal::ring::Place;
use crate::manifest::{BranchRecord, Manifest, SnapshotRecord, StretchRecord};
use crate::medium::ObjectName;
use crate::planted::{Bug, planted};
use crate::store::Engine;
use crate::store::catalog::{BranchCell, Catalog};
use crate::store::durable::{Effect, NewRoot};
use crate::store::index_writer::IndexWriter;
use crate::store::stretch::{PublishedPart, ReadGuard, Stretch};
use crate::store::upkeep::Upkeep;
use crate::store::view::View;
use shared::{Merged, PaidMerges, is_settled, moved_root};

/// Heads keep at most about so many blocks of what layers know too in their overlays, 24 bytes each; above that they
/// are trimmed.
const OVERLAID_MAX: u64 = 1 << 20;

/// How much a checkpoint merges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Merging {
    /// None: what is new becomes a run.
    Least,
    /// What is worth its cost.
    Paced,
    /// All runs, so that every block that died is known: for a full disk.
    Deep,
    /// All layers of one stretch into one tree, and what is worth its cost of the others.
    Whole(StretchId),
}

/// The root of a stretch while it is made.
struct Changed {
    parts: Vec<PublishedPart>,
    root: Option<Arc<Layers>>,
    is_final: bool,
    /// How many of the lower layers stay in the merge that look-ups in vain have paid for.
    paid: Option<usize>,
    /// It may be dropped meanwhile, and its ancestors with it.
    _guard: ReadGuard,
}

impl Engine {
    /// Saves everything and frees the journal up to here.
    pub(crate) fn checkpoint(&self, upkeep: &mut Upkeep, merging: Merging) -> Result<()> {
        let begun = Instant::now();
        let written = || self.journal.with_ring(|ring| ring.counts.bytes);
        let (journal, before) = (self.journal.level().now, written());
        let covered_before = self.covered_blocks.load(Ordering::Relaxed);
        let mut result = self.try_checkpoint(upkeep, merging);
        if matches!(result, Err(StoreError::NoSpace { .. })) && merging != Merging::Least {
            // What is held on a full disk covers runs, not what merging copies.
            self.settle_space();
            result = self.try_checkpoint(upkeep, Merging::Least);
        }
        self.settle_space();
        result?;
        let freed = (journal + written() - before).saturating_sub(self.journal.level().now);
        self.pacers.journal.note(freed, begun.elapsed());
        let covered = self.covered_blocks.load(Ordering::Relaxed) - covered_before;
        self.pacers.debt.note(covered * BLOCK_BYTES, begun.elapsed());
        self.reclaim(upkeep)
    }

    fn try_checkpoint(&self, upkeep: &mut Upkeep, merging: Merging) -> Result<()> {
        self.with_dead_space(upkeep, |upkeep| {
            self.drain_all(upkeep)?;
            self.save(upkeep, merging)
        })
    }

    fn save(&self, upkeep: &mut Upkeep, merging: Merging) -> Result<()> {
        self.check_writable()?;
        let writer = IndexWriter::new(self, upkeep);
        let roots = self.make_roots(&writer, merging)?;
        writer.finish()?;
        self.put_manifest(&roots)?;
        self.rebase(&roots);
        Ok(())
    }

    /// Makes new roots: parents before children, whose roots stand on them.
    fn make_roots(&self, writer: &IndexWriter<'_>, merging: Merging) -> Result<HashMap<StretchId, NewRoot>> {
        let mut stretches: Vec<Arc<Stretch>> = self.catalog.lock().stretches.values().cloned().collect();
        stretches.sort_by_key(|stretch| stretch.id);
        let mut roots: HashMap<StretchId, NewRoot> = HashMap::new();
        let paid_merges = match merging {
            Merging::Paced | Merging::Whole(_) => PaidMerges::of(&stretches, true),
            Merging::Deep => PaidMerges::of(&stretches, false),
            Merging::Least => PaidMerges::default(),
        };
        let mut merged = Merged::default();
        for stretch in stretches {
            let (mut changed, rebased, is_settled) = {
                let state = stretch.state.lock();
                if state.dropped || state.broken.is_some() {
                    continue;
                }
                let root = &state.root;
                let paid = paid_merges.keep(stretch.id);
                let is_due = match merging {
                    Merging::Least => false,
                    // Only who asks for it is told again why it cannot be.
                    _ if state.unmergeable && merging != Merging::Whole(stretch.id) => false,
                    Merging::Whole(whole) if whole == stretch.id => {
                        root.as_ref().is_some_and(|root| root.trees.len() > 1)
                    }
                    Merging::Paced | Merging::Whole(_) => paid.is_some(),
                    Merging::Deep => root.as_ref().is_some_and(|root| root.trees.len() > 2),
                };
                let rebased = root.as_ref().and_then(|root| merged.rebased(stretch.id, root));
                if state.parts.is_empty() && !is_due {
                    if let Some(layers) = rebased {
                        roots.insert(stretch.id, moved_root(&stretch, &state, layers));
                    }
                    continue;
                }
                let changed = Changed {
                    parts: state.parts.clone(),
                    root: root.clone(),
                    is_final: state.is_point && state.is_published(),
                    paid,
                    _guard: ReadGuard::new(&stretch),
                };
                (changed, rebased, is_settled(&state))
            };
            if rebased.is_some() {
                // Of what it paid for, this is the most.
                changed.paid = None;
            }
            let base = match rebased.as_ref().or(changed.root.as_ref()) {
                Some(root) => Arc::clone(root),
                None => match self.base_of(&stretch, &roots)? {
                    Some(base) => base,
                    // Its turn comes when all of its ancestors are in segments.
                    None => continue,
                },
            };
            let former = changed.root.clone().filter(|_| is_settled);
            let root = self.make_root(writer, &stretch, changed, &base, merging)?;
            if let Some(former) = former {
                merged.note(&former, &root);
            }
            roots.insert(stretch.id, root);
        }
        Ok(roots)
    }

    /// Returns the layers of the disk on which a stretch without a root of its own began; `None` while some of that is
    /// in memory.
    fn base_of(&self, stretch: &Stretch, roots: &HashMap<StretchId, NewRoot>) -> Result<Option<Arc<Layers>>> {
        let mut next = stretch.parent;
        while let Some(id) = next {
            if let Some(root) = roots.get(&id) {
                return Ok(root.is_final.then(|| Arc::clone(&root.layers)));
            }
            let parent = self.catalog.lock().stretch(id)?;
            let state = parent.state.lock();
            if !state.parts.is_empty() || !state.is_published() {
                return Ok(None);
            }
            if let Some(root) = &state.root {
                return Ok(Some(Arc::clone(root)));
            }
            next = parent.parent;
        }
        Ok(Some(Layers::empty()))
    }

    /// Lets heads stand on the new roots, and trims what these know too from the overlays of the largest heads.
    fn rebase(&self, roots: &HashMap<StretchId, NewRoot>) {
        let cells: Vec<_> = {
            let catalog = self.catalog.lock();
            catalog
                .branches
                .values()
                .map(|entry| Arc::clone(&entry.cell))
                .collect()
        };
        let mut overlaid: Vec<(u64, usize)> = Vec::new();
        for (at, cell) in cells.iter().enumerate() {
            let stands_on = {
                let head = cell.head.read();
                overlaid.push((head.view.as_ref().map_or(0, |view| view.overlaid), at));
                let owner = head.view.as_ref().map(|view| view.base.owner);
                // What the overlay of a stretch's own head hides, its root may know too.
                [Some(head.stretch.id), owner]
                    .into_iter()
                    .flatten()
                    .find_map(|id| roots.get(&id))
            };
            if let Some(root) = stands_on {
                let mut head = cell.head.write();
                let id = head.stretch.id;
                if let Some(view) = &mut head.view
                    && (root.stretch.id == id || root.stretch.id == view.base.owner)
                {
                    view.base = Arc::clone(&root.layers);
                }
            }
        }
        let stretches: Vec<_> = self.catalog.lock().stretches.values().cloned().collect();
        for stretch in stretches {
            let mut state = stretch.state.lock();
            if state.root.is_some() && state.parts.is_empty() && state.is_published() {
                // Its root shows all of it, without any memory.
                state.view = None;
            }
        }
        let mut all: u64 = overlaid.iter().map(|(blocks, _)| blocks).sum();
        overlaid.sort_unstable_by_key(|(blocks, _)| std::cmp::Reverse(*blocks));
        for (blocks, at) in overlaid {
            if all <= OVERLAID_MAX || blocks == 0 {
                break;
            }
            // Of a head that is written to it may be more than was summed up.
            all = all.saturating_sub(self.trim(&cells[at], roots));
        }
    }

    /// Lets a head's overlay keep only what no root knows. Returns by how much it is less.
    fn trim(&self, cell: &BranchCell, roots: &HashMap<StretchId, NewRoot>) -> u64 {
        let stretch = Arc::clone(&cell.head.read().stretch);
        // Of one that wrote nothing that a root would know. Nothing is locked: what points are does not change.
        let base = self.base_of(&stretch, roots).ok().flatten();
        let mut head = cell.head.write();
        let Some(before) = head.view.as_ref().map(|view| view.overlaid) else {
            return 0;
        };
        if head.dropped || !Arc::ptr_eq(&head.stretch, &stretch) {
            return 0;
        }
        head.close_group();
        let state = stretch.state.lock();
        let Some(base) = state.root.clone().or(base) else {
            return 0;
        };
        let mut view = View::on(base);
        self.lay_over(&stretch, &state, &mut view);
        drop(state);
        let after = view.overlaid;
        head.view = Some(view);
        before.saturating_sub(after)
    }

    fn put_manifest(&self, roots: &HashMap<StretchId, NewRoot>) -> Result<()> {
        let older = self.newest_manifest.load(Ordering::Relaxed);
        // Everything queued before the mark is in the manifest, nothing queued after it.
        let mark = Arc::new(OnceLock::new());
        let (mut manifest, ticket) = {
            let catalog = self.catalog.lock();
            let item = Item {
                mark: Some(Arc::clone(&mark)),
                ..Item::default()
            };
            let manifest = self.describe(&catalog, roots);
            (manifest, self.enqueue_upkeep(item)?)
        };
        self.wait(ticket)?;
        let place = *mark
            .get()
            .ok_or_else(|| StoreError::damaged("a durable mark has no frame"))?;
        manifest.place = place;
        manifest.ring_files = self.journal.with_ring(|ring| ring.durable_files());
        let covered: HashMap<StretchId, u64> = manifest
            .stretches
            .iter()
            .map(|record| (record.id, record.covered))
            .collect();
        (manifest.floor, manifest.floor_place) = self.floor(&place, &covered)?;
        if planted(Bug::ReuseEarly) {
            self.journal.with_ring(|ring| ring.trim(&manifest.floor));
        }
        let room = self.space.use_for_manifest(manifest.object_bytes())?;
        if let Err(error) = manifest.put(&*self.medium) {
            // It was never announced, and no other gets its number: what there is of it only takes room.
            self.abandon(ObjectName::Manifest(manifest.number));
            return Err(error);
        }
        room.written();
        let mut records = Encoder::default();
        Record::Announced {
            manifest: manifest.number,
        }
        .encode(&mut records);
        let effect = Effect::Announced {
            number: manifest.number,
            floor: manifest.floor,
            roots: roots.values().cloned().collect(),
        };
        let item = Item {
            records: records.bytes,
            effects: smallvec![effect],
            announces: Some(manifest.number),
            ..Item::default()
        };
        self.wait(self.enqueue_upkeep(item)?)?;
        self.abandon(ObjectName::Manifest(older));
        Ok(())
    }

    /// The state of the store; floor, place and the ring are filled in once they are known.
    fn describe(&self, catalog: &Catalog, roots: &HashMap<StretchId, NewRoot>) -> Manifest {
        let unknown = FrameRef {
            epoch: 0,
            nonce: [0; 16],
            sequence: 0,
            chain: 0,
        };
        // A head's count is exact only while no writes are open in it, which is seen under its lock. Who keeps none has it
        // from the root, if that shows all.
        let counted = |stretch: &Stretch| {
            let of_root = roots.get(&stretch.id).and_then(|root| root.alive);
            stretch.alive().or(of_root)
        };
        let heads: HashMap<StretchId, Option<u64>> = catalog
            .branches
            .values()
            .map(|entry| {
                let head = entry.cell.head.read();
                let alive = (!head.has_open_writes()).then(|| counted(&head.stretch));
                (head.stretch.id, alive.flatten())
            })
            .collect();
        let mut trees = Vec::new();
        let mut numbers: HashMap<*const Tree, u32> = HashMap::new();
        let mut number = |tree: &Arc<Tree>| {
            *numbers.entry(Arc::as_ptr(tree)).or_insert_with(|| {
                trees.push(tree.record.clone());
                trees.len() as u32 - 1
            })
        };
        // In one order in every run, so that a history repeats to the last byte.
        let mut known: Vec<&Arc<Stretch>> = catalog.stretches.values().collect();
        known.sort_unstable_by_key(|stretch| stretch.id);
        let stretches: Vec<StretchRecord> = known
            .into_iter()
            .filter_map(|stretch| {
                let state = stretch.state.lock();
                if state.dropped {
                    // It is only read still: nothing of it has to be found again.
                    return None;
                }
                let root = roots.get(&stretch.id);
                let layers = root.map(|root| &root.layers).or(state.root.as_ref());
                let covered = root.map_or(state.covered, |root| root.covered);
                let alive = heads
                    .get(&stretch.id)
                    .copied()
                    .unwrap_or_else(|| counted(stretch));
                // What is not settled is counted anew after the store was opened.
                let settled = state.groups.is_empty() && covered + 1 >= state.open_group;
                // Nobody reads a former root any more once the store is opened from this.
                let live = state.live_at(covered, root.map(|root| &root.deaths));
                let mut live: Vec<_> = live.into_iter().collect();
                live.sort_unstable();
                Some(StretchRecord {
                    id: stretch.id,
                    parent: stretch.parent,
                    size: state.size_at(covered),
                    covered,
                    alive: alive.filter(|_| settled),
                    layers: layers.map(|layers| layers.trees.iter().map(&mut number).collect()),
                    written: root.map_or(state.written_at, |root| root.written),
                    live,
                })
            })
            .collect();
        let branches = catalog
            .branches
            .iter()
            .map(|(name, entry)| BranchRecord {
                id: entry.cell.id,
                name: name.to_string(),
                head: entry.cell.head.read().stretch.id,
                origin: entry.origin.clone(),
                created: entry.created,
                ephemeral: !entry.is_kept(),
                protected: entry.protected,
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
            ring_files: 0,
            next_branch: catalog.next_branch,
            next_stretch: catalog.next_stretch,
            segments: self.segments.list(),
            trees,
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

#[cfg(test)]
mod tests;
