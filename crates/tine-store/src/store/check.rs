//! Check: verifies manifest, journal, every segment and node of the index, and with data every block that something needs.

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::block::{BLOCK, BLOCK_BYTES};
use crate::buffer::StretchId;
use crate::checksum::crc32c;
use crate::error::{Result, StoreError};
use crate::index::Index;
use crate::index::leaf::PieceContent;
use crate::index::node::{NodeKind, NodeRef};
use crate::journal::walk::Walker;
use crate::manifest::Manifest;
use crate::medium::Reading;
use crate::overlay::Entry;
use crate::segment::SegmentId;
use crate::segment::format::{SEGMENT_HEADER_BYTES, SegmentKind, check_header};
use crate::segment::table::Segment;
use crate::store::changed::changed;
use crate::store::stretch::{ReadGuard, Stretch};
use crate::store::view::{Found, View};
use crate::store::{Engine, Progress, Store};

/// Something that is damaged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Damage {
    /// What, and how that was found.
    pub what: String,
    /// The branches and snapshots that it touches; empty if it touches the store as a whole.
    pub branches: Vec<String>,
}

/// What a check looked at and found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckReport {
    /// Frames of the journal.
    pub frames: u64,
    /// Segments.
    pub segments: u64,
    /// Trees of the index, runs included.
    pub runs: u64,
    /// Blocks of data.
    pub blocks: u64,
    /// What is damaged.
    pub damage: Vec<Damage>,
}

/// Blocks read at once at the most.
const READ_BLOCKS: usize = 256;
/// Blocks gathered before they are read, in the order in which they lie.
const BATCH_BLOCKS: usize = 1 << 16;

impl Store {
    /// Verifies the store, past the cache; with `data` also every block. Repairs nothing.
    ///
    /// Writers go on: upkeep waits only while what is in memory is drained and the journal is read. What comes
    /// meanwhile is not looked at; what is dropped is given back once it was looked at.
    ///
    /// # Errors
    /// [`StoreError::Cancelled`], and those of writing: everything is made durable first. Damage is no error but in
    /// the report.
    pub fn check(
        &self,
        data: bool,
        progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<CheckReport> {
        let engine = &self.running.engine;
        let mut report = CheckReport::default();
        {
            let mut upkeep = engine.upkeep.lock();
            if !engine.read_only {
                engine.drain_all(&mut upkeep)?;
            }
            engine.check_journal(&mut report);
        }
        engine.check_content(data, &mut report, progress)?;
        Ok(report)
    }

    /// Verifies the store as [`Store::check`] does and ends. Other processes wait only while the journal is read; then
    /// they can have the store, as beside [`Store::into_reader`], and what they do is not looked at.
    ///
    /// # Errors
    /// As [`Store::check`] and [`Store::close`].
    pub fn into_check(
        self,
        data: bool,
        progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<CheckReport> {
        let alone = self.is_alone();
        self.finish()?;
        let engine = &self.running.engine;
        let mut report = CheckReport::default();
        engine.check_journal(&mut report);
        if alone && report.damage.is_empty() {
            let all: Vec<_> = engine.segments.list().into_iter().map(|(id, ..)| id).collect();
            engine.let_go(&all);
        }
        engine.check_content(data, &mut report, progress)?;
        Ok(report)
    }
}

impl Engine {
    /// Verifies the segments, and what each stretch has in them.
    fn check_content(
        &self,
        data: bool,
        report: &mut CheckReport,
        progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<()> {
        self.check_segments(report);
        let stretches: Vec<Arc<Stretch>> = {
            let catalog = self.catalog.lock();
            let mut stretches: Vec<_> = catalog.stretches.values().cloned().collect();
            stretches.sort_by_key(|stretch| stretch.id);
            stretches
        };
        let total = stretches
            .iter()
            .map(|stretch| stretch.alive().unwrap_or(0))
            .sum::<u64>()
            * BLOCK_BYTES;
        let mut names = None;
        let mut nodes = VerifiedNodes {
            index: &self.index,
            seen: HashSet::new(),
        };
        for stretch in &stretches {
            let mut damage = Vec::new();
            report.runs += nodes.verify(stretch, &mut damage);
            if damage.is_empty()
                && let Err(error) = self.check_stretch(stretch, data, &mut report.blocks, &mut damage)
            {
                damage.push(describe(&error));
            }
            if !damage.is_empty() {
                let names = names.get_or_insert_with(|| self.names_by_stretch());
                let branches = names.get(&stretch.id).cloned().unwrap_or_default();
                report.damage.extend(damage.into_iter().map(|what| Damage {
                    what,
                    branches: branches.clone(),
                }));
            }
            let done = report.blocks * BLOCK_BYTES;
            if progress(Progress {
                done,
                total: data.then_some(total.max(done)),
            })
            .is_break()
            {
                return Err(StoreError::Cancelled);
            }
        }
        merge(&mut report.damage);
        Ok(())
    }
}

/// Names each damage once: a segment that is missing is met as itself, and again by every stretch with blocks in it.
fn merge(damage: &mut Vec<Damage>) {
    let mut merged: Vec<Damage> = Vec::new();
    let mut places = HashMap::new();
    for Damage { what, branches } in damage.drain(..) {
        let place = *places.entry(what).or_insert_with_key(|what| {
            merged.push(whole_store(what.clone()));
            merged.len() - 1
        });
        merged[place].branches.extend(branches);
    }
    for damage in &mut merged {
        damage.branches.sort();
        damage.branches.dedup();
    }
    *damage = merged;
}

/// The nodes that were verified, past the cache: each once, whoever shares it.
struct VerifiedNodes<'a> {
    index: &'a Index,
    seen: HashSet<(SegmentId, u64)>,
}

impl VerifiedNodes<'_> {
    /// Verifies the nodes of a stretch's root, and returns how many trees were new.
    fn verify(&mut self, stretch: &Stretch, damage: &mut Vec<String>) -> u64 {
        // Held, so that nothing of it is removed before it was read.
        let (root, written, _held) = {
            let state = stretch.state.lock();
            let held = state.written_at.map(|at| self.index.segment(at.segment));
            (state.root.clone(), state.written_at, held)
        };
        if let Some(written) = written
            && let Err(error) = self.index.read(&written, Reading::PastCache)
        {
            damage.push(describe(&error));
        }
        let mut new = 0;
        for tree in root.iter().flat_map(|root| &root.trees) {
            new += u64::from(self.node(&tree.root.at, tree.record.level, damage));
        }
        new
    }

    /// Verifies a node and all below it, unless it was met before.
    fn node(&mut self, at: &NodeRef, level: u8, damage: &mut Vec<String>) -> bool {
        if !self.seen.insert((at.segment, at.offset)) {
            return false;
        }
        let children = match self.index.read_node(at, level) {
            Ok(node) => match node.kind() {
                NodeKind::Leaf(_) => Vec::new(),
                NodeKind::Inner { children, .. } => children.iter().map(|child| child.at).collect(),
            },
            Err(error) => {
                damage.push(describe(&error));
                Vec::new()
            }
        };
        for child in children {
            self.node(&child, level - 1, damage);
        }
        true
    }
}

fn describe(error: &StoreError) -> String {
    let mut text = match error {
        StoreError::Damaged { what } => what.clone(),
        _ => error.to_string(),
    };
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

fn whole_store(what: String) -> Damage {
    Damage {
        what,
        branches: Vec::new(),
    }
}

impl Engine {
    fn check_journal(&self, report: &mut CheckReport) {
        // What opening met: it looks where the check does not (at manifests that were announced and are gone, say).
        if let Some(damage @ StoreError::Damaged { .. }) = &self.damage {
            report.damage.push(whole_store(describe(damage)));
        }
        let number = self.newest_manifest.load(std::sync::atomic::Ordering::Relaxed);
        let manifest = match Manifest::read(&*self.medium, number) {
            Ok(Some(manifest)) => manifest,
            Ok(None) => {
                return report
                    .damage
                    .push(whole_store(format!("manifest/{number}: both copies are bad")));
            }
            Err(error) => return report.damage.push(whole_store(describe(&error))),
        };
        match Manifest::whole_copies(&*self.medium, number) {
            Ok(1) => report.damage.push(whole_store(format!(
                "manifest/{number}: one of its two copies is bad; the next checkpoint replaces it"
            ))),
            Ok(_) => {}
            Err(error) => report.damage.push(whole_store(describe(&error))),
        }
        let (shape, last) = self.journal.with_ring(|ring| (ring.shape, ring.last()));
        let walk = || Walker::new(&*self.medium, shape)?.walk(&manifest.floor, manifest.floor_place);
        // Upkeep rests, so no frame from the floor on is overwritten. Those that are written meanwhile may be found
        // half written; if they are, the journal is read again while none is.
        let walked = match walk() {
            Ok(path)
                if path.damage.is_none() && path.frames.iter().any(|frame| frame.header.frame == last) =>
            {
                Ok(path)
            }
            _ => self.journal.with_ring(|_| walk()),
        };
        match walked {
            Ok(path) => {
                report.frames = path.frames.len() as u64;
                report
                    .damage
                    .extend(path.damage.map(|damage| whole_store(describe(&damage))));
            }
            Err(error) => report.damage.push(whole_store(describe(&error))),
        }
    }

    fn check_segments(&self, report: &mut CheckReport) {
        for (id, kind, _) in self.segments.list() {
            // It may have been given back since.
            let Some(segment) = self.segments.get(id) else {
                continue;
            };
            report.segments += 1;
            let result = match kind {
                SegmentKind::Data => segment.read_parts(None).map(drop),
                SegmentKind::Index => {
                    let mut header = vec![0; SEGMENT_HEADER_BYTES as usize];
                    segment
                        .read(&mut header, 0, Reading::PastCache)
                        .and_then(|()| check_header(&header, id, SegmentKind::Index))
                }
            };
            // An index that is not finished is taken back, and its segments with it.
            if let Err(error) = result
                && self.segments.contains(id)
            {
                report.damage.push(whole_store(describe(&error)));
            }
        }
    }

    /// Returns which names each stretch serves.
    fn names_by_stretch(&self) -> HashMap<StretchId, Vec<String>> {
        let catalog = self.catalog.lock();
        let mut names: HashMap<StretchId, Vec<String>> = HashMap::new();
        for (name, entry) in &catalog.branches {
            let head = entry.cell.head.read().stretch.id;
            let snapshots = entry
                .snapshots
                .iter()
                .map(|(snapshot, found)| (format!("{name}@{snapshot}"), found.point));
            for (text, end) in snapshots.chain([(name.to_string(), head)]) {
                let mut next = Some(end);
                while let Some(stretch) = next.and_then(|id| catalog.stretches.get(&id)) {
                    names.entry(stretch.id).or_default().push(text.clone());
                    next = stretch.parent;
                }
            }
        }
        names
    }
}

/// A stored block that is to be verified.
struct Stored {
    segment: Arc<Segment>,
    at: u32,
    checksum: u32,
    block: u64,
}

impl Engine {
    /// Looks at every block that was born in a stretch and is still there at its end: what any disk needs was born in
    /// some stretch, and is looked at there.
    fn check_stretch(
        &self,
        stretch: &Arc<Stretch>,
        data: bool,
        blocks: &mut u64,
        damage: &mut Vec<String>,
    ) -> Result<()> {
        let _guard = {
            let catalog = self.catalog.lock();
            if !catalog.stretches.contains_key(&stretch.id) {
                // Dropped meanwhile.
                return Ok(());
            }
            ReadGuard::new(stretch)
        };
        let accounts = || {
            let state = stretch.state.lock();
            (state.covered, state.published, state.open_group, state.dropped)
        };
        let at_first = accounts();
        let view = self.view(stretch)?;
        let before = match stretch.parent {
            None => View::empty(),
            Some(parent) => {
                let parent = self.catalog.lock().stretch(parent)?;
                self.view(&parent)?
            }
        };
        let mut needed: HashMap<SegmentId, u64> = HashMap::new();
        let mut missing = HashSet::new();
        let mut batch: Vec<Stored> = Vec::new();
        for range in changed(&self.index, &before, &view, &(0..u64::MAX))? {
            view.resolve(&self.index, range?, &mut |range, found| {
                let stored: Option<(Arc<Segment>, u32, &[u32])> = match found {
                    Found::Entry(Entry::Data {
                        source,
                        slot,
                        checksum,
                    }) if source.stretch == stretch.id => {
                        *blocks += 1;
                        // What is in memory was never read from the medium, so it cannot be damaged there.
                        let stored = source.stored(*slot);
                        stored.map(|(segment, at)| (segment, at, std::slice::from_ref(checksum)))
                    }
                    Found::Piece(piece) if piece.birth() == stretch.id => match piece.content {
                        PieceContent::Data {
                            home,
                            first,
                            checksums,
                        } => {
                            *blocks += range.end - range.start;
                            Some((self.segments.handle(home.id()), first, checksums))
                        }
                        PieceContent::Zero | PieceContent::Hole => None,
                    },
                    _ => None,
                };
                let Some((segment, first, checksums)) = stored else {
                    return Ok(true);
                };
                *needed.entry(segment.id).or_default() += checksums.len() as u64;
                if data {
                    let blocks = checksums.iter().zip(first..).zip(range);
                    batch.extend(blocks.map(|((&checksum, at), block)| Stored {
                        segment: Arc::clone(&segment),
                        at,
                        checksum,
                        block,
                    }));
                    if batch.len() >= BATCH_BLOCKS {
                        verify_all(&mut batch, damage);
                    }
                } else if missing.insert(segment.id)
                    && let Err(error) = segment.read(&mut [], 0, Reading::Cached)
                {
                    damage.push(describe(&error));
                }
                Ok(true)
            })?;
        }
        verify_all(&mut batch, damage);
        // A count that is too low gives a segment back that is needed. It is told of a stretch that did not change meanwhile.
        if accounts() != at_first || at_first.3 {
            return Ok(());
        }
        let state = stretch.state.lock();
        for (segment, needed) in needed {
            let counted = state.live.get(&segment).copied().unwrap_or(0);
            if counted < needed {
                damage.push(format!(
                    "segments/{segment}: {needed} of its blocks are needed, but {counted} are counted"
                ));
            }
        }
        Ok(())
    }
}

/// Verifies blocks, those together that lie together.
fn verify_all(batch: &mut Vec<Stored>, damage: &mut Vec<String>) {
    batch.sort_by_key(|stored| (stored.segment.id, stored.at));
    let mut at = 0;
    while at < batch.len() {
        let first = &batch[at];
        let together = batch[at..]
            .iter()
            .take(READ_BLOCKS)
            .zip(first.at..)
            .take_while(|(stored, expected)| stored.segment.id == first.segment.id && stored.at == *expected)
            .count();
        verify(&batch[at..at + together], damage);
        at += together;
    }
    batch.clear();
}

/// Reads blocks that lie one behind the other, past the cache, and compares their checksums.
fn verify(batch: &[Stored], damage: &mut Vec<String>) {
    let Stored {
        segment, at: first, ..
    } = &batch[0];
    let mut bytes = vec![0; batch.len() * BLOCK];
    let offset = SEGMENT_HEADER_BYTES + u64::from(*first) * BLOCK_BYTES;
    if let Err(error) = segment.read(&mut bytes, offset, Reading::PastCache) {
        return damage.push(describe(&error));
    }
    for (stored, content) in batch.iter().zip(bytes.chunks(BLOCK)) {
        let (number, expected, block) = (stored.at, stored.checksum, stored.block);
        let found = crc32c(content);
        if found != expected {
            damage.push(format!(
                "segments/{}: block {number} (bytes {} to {} of the disk) has checksum {found:08x}, not {expected:08x}",
                segment.id,
                block * BLOCK_BYTES,
                (block + 1) * BLOCK_BYTES
            ));
        }
    }
}
