//! Check: verifies manifest, journal, every segment and run, and with data every block that something needs.

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;
use std::sync::Arc;

use serde::Serialize;

use crate::block::{BLOCK, BLOCK_BYTES};
use crate::buffer::StretchId;
use crate::checksum::crc32c;
use crate::error::{Result, StoreError};
use crate::journal::walk::Walker;
use crate::manifest::Manifest;
use crate::medium::Reading;
use crate::overlay::{Entry, Overlay};
use crate::segment::SegmentId;
use crate::segment::format::{SEGMENT_HEADER_BYTES, SegmentKind, check_header};
use crate::segment::table::Segment;
use crate::store::content::Content;
use crate::store::stretch::Stretch;
use crate::store::{Engine, Progress, Store};

/// Something that is damaged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Damage {
    /// What, and how that was found.
    pub what: String,
    /// The branches and snapshots that it touches; empty if it touches the store as a whole.
    pub branches: Vec<String>,
}

/// What a check looked at and found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CheckReport {
    /// Frames of the journal.
    pub frames: u64,
    /// Segments.
    pub segments: u64,
    /// Runs.
    pub runs: u64,
    /// Blocks of data.
    pub blocks: u64,
    /// What is damaged.
    pub damage: Vec<Damage>,
}

/// Blocks read at once at the most.
const READ_BLOCKS: usize = 256;

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
        for stretch in &stretches {
            let mut damage = Vec::new();
            if let Err(error) = self.check_stretch(stretch, data, report, &mut damage) {
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

    fn check_stretch(
        &self,
        stretch: &Stretch,
        data: bool,
        report: &mut CheckReport,
        damage: &mut Vec<String>,
    ) -> Result<()> {
        // Looked at in one moment. Whoever has a handle keeps the segment, so nothing of this goes meanwhile.
        let (content, kept) = {
            let state = stretch.state.lock();
            let handle = |id| (id, self.segments.handle(id));
            (
                Content::of(&state)?,
                state.segments().map(handle).collect::<HashMap<_, _>>(),
            )
        };
        report.runs += content.runs.len() as u64;
        let mut overlay = Overlay::new();
        self.apply_content(stretch.id, &content, &mut overlay)?;
        check_blocks(&overlay, &kept, data, &mut report.blocks, damage);
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
        let (file_bytes, key, last) = self
            .journal
            .with_ring(|ring| (ring.file_bytes, ring.key(), ring.last()));
        let walk =
            || Walker::new(&*self.medium, file_bytes, key)?.walk(&manifest.floor, manifest.floor_place);
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
            if let Err(error) = result {
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

/// Looks at every block of one stretch that lies in a segment it needs.
fn check_blocks(
    overlay: &Overlay,
    kept: &HashMap<SegmentId, Arc<Segment>>,
    data: bool,
    blocks: &mut u64,
    damage: &mut Vec<String>,
) {
    let mut missing = HashSet::new();
    let mut batch: Vec<(Arc<Segment>, u32, u32, u64)> = Vec::new();
    for (range, entry) in overlay {
        let Entry::Data {
            source,
            slot,
            checksum,
        } = entry
        else {
            continue;
        };
        *blocks += 1;
        // What is in memory was never read from the medium, so it cannot be damaged there.
        if let Some((segment, block)) = source.stored(*slot) {
            // What was overwritten since, as a whole segment, may be gone.
            if !kept.contains_key(&segment.id) {
                continue;
            }
            if data {
                batch.push((segment, block, *checksum, range.start));
            } else if missing.insert(segment.id)
                && let Err(error) = segment.read(&mut [], 0, Reading::Cached)
            {
                damage.push(describe(&error));
            }
        }
    }
    batch.sort_by_key(|(segment, block, ..)| (segment.id, *block));
    let mut at = 0;
    while at < batch.len() {
        let (first, start, ..) = &batch[at];
        let together = batch[at..]
            .iter()
            .take(READ_BLOCKS)
            .zip(*start..)
            .take_while(|((segment, block, ..), expected)| segment.id == first.id && block == expected)
            .count();
        verify(&batch[at..at + together], damage);
        at += together;
    }
}

/// Reads blocks that lie one behind the other, past the cache, and compares their checksums.
fn verify(batch: &[(Arc<Segment>, u32, u32, u64)], damage: &mut Vec<String>) {
    let (segment, first, ..) = &batch[0];
    let mut bytes = vec![0; batch.len() * BLOCK];
    let offset = SEGMENT_HEADER_BYTES + u64::from(*first) * BLOCK_BYTES;
    if let Err(error) = segment.read(&mut bytes, offset, Reading::PastCache) {
        return damage.push(describe(&error));
    }
    for ((_, number, expected, block), content) in batch.iter().zip(bytes.chunks(BLOCK)) {
        let found = crc32c(content);
        if found != *expected {
            damage.push(format!(
                "segments/{}: block {number} (bytes {} to {} of the disk) has checksum {found:08x}, not {expected:08x}",
                segment.id,
                block * BLOCK_BYTES,
                (block + 1) * BLOCK_BYTES
            ));
        }
    }
}
