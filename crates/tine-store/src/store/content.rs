//! Loading: making a disk's overlay from the runs, parts and groups of its stretches.

use std::collections::HashMap;
use std::sync::Arc;

use crate::buffer::{Group, Source, StretchId, Tombstone};
use crate::checksum::crc32c;
use crate::error::{Result, StoreError};
use crate::medium::Reading;
use crate::overlay::{Entry, Overlay, Zero};
use crate::run::{self, RunExtent, RunRef};
use crate::segment::SegmentId;
use crate::segment::format::Part;
use crate::store::Engine;
use crate::store::stretch::{PublishedPart, Stretch, StretchState};

/// What a stretch wrote, as it stands at one moment.
pub(crate) struct Content {
    pub(crate) runs: Vec<RunRef>,
    parts: Vec<PublishedPart>,
    groups: Vec<Arc<Group>>,
}

impl Content {
    /// Looks at a stretch that the caller has locked.
    pub(crate) fn of(state: &StretchState) -> Result<Self> {
        if let Some(broken) = &state.broken {
            return Err(broken.clone());
        }
        Ok(Self {
            runs: state.runs.clone(),
            parts: state.parts.clone(),
            groups: state.groups.clone(),
        })
    }
}

/// Applies the content of one stretch to an overlay, oldest first.
pub(crate) struct Applier<'a> {
    engine: &'a Engine,
    stretch: StretchId,
    overlay: &'a mut Overlay,
    sources: HashMap<SegmentId, Arc<Source>>,
    /// Blocks of the stretch that are alive in each segment; `None` for those in memory.
    alive: HashMap<Option<SegmentId>, u64>,
}

impl<'a> Applier<'a> {
    pub(crate) fn new(engine: &'a Engine, stretch: StretchId, overlay: &'a mut Overlay) -> Self {
        Self {
            engine,
            stretch,
            overlay,
            sources: HashMap::new(),
            alive: HashMap::new(),
        }
    }

    fn set(&mut self, block: u64, entry: Entry, home: Option<SegmentId>) {
        *self.alive.entry(home).or_default() += 1;
        if let Some(old) = self.overlay.insert(block, entry) {
            Self::account(self.stretch, &mut self.alive, &old);
        }
    }

    fn clear(&mut self, tombstone: &Tombstone) {
        let (stretch, alive) = (self.stretch, &mut self.alive);
        let zero = Entry::Zero(Zero::new(stretch, tombstone.hole));
        let range = tombstone.start..tombstone.start + tombstone.count;
        self.overlay
            .fill(range, zero, |_, old| Self::account(stretch, alive, old));
    }

    fn account(stretch: StretchId, alive: &mut HashMap<Option<SegmentId>, u64>, old: &Entry) {
        if let Entry::Data { source, .. } = old
            && source.stretch == stretch
        {
            let home = match &*source.place.read() {
                crate::buffer::Place::Stored { segment, .. } => Some(segment.id),
                crate::buffer::Place::Buffered(_) => None,
            };
            *alive.entry(home).or_default() -= 1;
        }
    }

    fn source(&mut self, segment: SegmentId) -> Arc<Source> {
        let (engine, stretch) = (self.engine, self.stretch);
        let source = || Source::in_segment(stretch, engine.segments.handle(segment));
        Arc::clone(self.sources.entry(segment).or_insert_with(source))
    }

    /// Applies a run.
    pub(crate) fn run(&mut self, extents: &[RunExtent]) {
        for extent in extents {
            match extent {
                RunExtent::Zero { start, count, hole } => {
                    self.clear(&Tombstone {
                        start: *start,
                        count: *count,
                        hole: *hole,
                    });
                }
                RunExtent::Data {
                    start,
                    segment,
                    first,
                    checksums,
                } => {
                    let source = self.source(*segment);
                    for (at, &checksum) in checksums.iter().enumerate() {
                        let entry = Entry::Data {
                            source: Arc::clone(&source),
                            slot: first + at as u32,
                            checksum,
                        };
                        self.set(start + at as u64, entry, Some(*segment));
                    }
                }
            }
        }
    }

    /// Applies a part of a segment: group by group, in each the zeroes first, as only what they did not cover any
    /// more was stored.
    pub(crate) fn part(&mut self, segment: SegmentId, part: &Part) {
        let source = self.source(segment);
        let mut order: Vec<usize> = (0..part.blocks.len()).collect();
        order.sort_by_key(|&at| part.blocks[at].group);
        let mut tombstones = part.tombstones.iter().peekable();
        for at in order {
            let stored = part.blocks[at];
            while let Some((_, tombstone)) = tombstones.next_if(|(group, _)| *group <= stored.group) {
                self.clear(tombstone);
            }
            let slot = part.first + at as u32;
            let entry = Entry::Data {
                source: Arc::clone(&source),
                slot,
                checksum: stored.checksum,
            };
            self.set(stored.block, entry, Some(segment));
        }
        for (_, tombstone) in tombstones {
            self.clear(tombstone);
        }
    }

    /// Applies a group that is in memory.
    fn group(&mut self, group: &Group) {
        for tombstone in &group.tombstones {
            self.clear(tombstone);
        }
        let mut alive = Vec::new();
        group.for_each_alive(|slot, found| alive.push((slot, found.block, found.checksum)));
        for (slot, block, checksum) in alive {
            self.set(
                block,
                Entry::Data {
                    source: Arc::clone(&group.source),
                    slot,
                    checksum,
                },
                None,
            );
        }
    }
}

impl Engine {
    /// Reads and verifies a run.
    pub(crate) fn read_run(&self, run: &RunRef) -> Result<Vec<RunExtent>> {
        let segment = self.segments.handle(run.segment);
        // Never more memory than there are bytes, whatever a manifest says.
        let length = segment.length()?;
        if run.offset.checked_add(run.bytes).is_none_or(|end| end > length) {
            return Err(StoreError::damaged(format!(
                "segments/{}: it does not have the run that it should",
                run.segment
            )));
        }
        let mut bytes = vec![0; run.bytes as usize];
        segment.read(&mut bytes, run.offset, Reading::Cached)?;
        if crc32c(&bytes) != run.checksum {
            return Err(StoreError::damaged(format!(
                "segments/{}: the run at {} does not have its checksum",
                run.segment, run.offset
            )));
        }
        run::decode(&bytes)
    }

    pub(crate) fn apply_stretch(&self, stretch: &Stretch, overlay: &mut Overlay) -> Result<()> {
        let content = Content::of(&stretch.state.lock())?;
        let alive = self.apply_content(stretch.id, &content, overlay)?;
        if stretch.alive().is_none() {
            self.set_exact(stretch, alive);
        }
        Ok(())
    }

    /// Applies what a stretch wrote, and returns how many of its blocks are alive in each segment.
    pub(crate) fn apply_content(
        &self,
        stretch: StretchId,
        content: &Content,
        overlay: &mut Overlay,
    ) -> Result<HashMap<Option<SegmentId>, u64>> {
        let mut applier = Applier::new(self, stretch, overlay);
        for run in &content.runs {
            applier.run(&self.read_run(run)?);
        }
        for part in &content.parts {
            applier.part(part.segment, &part.part);
        }
        for group in &content.groups {
            applier.group(group);
        }
        Ok(applier.alive)
    }

    /// Replaces the counts that recovery could only bound by exact ones.
    fn set_exact(&self, stretch: &Stretch, alive: HashMap<Option<SegmentId>, u64>) {
        let mut state = stretch.state.lock();
        if state.dropped {
            return;
        }
        stretch.set_alive(alive.values().sum());
        let exact: HashMap<SegmentId, u64> = alive
            .into_iter()
            .filter_map(|(home, count)| Some((home?, count)))
            .filter(|(_, count)| *count > 0)
            .collect();
        let before = std::mem::take(&mut state.live);
        for segment in before.keys().filter(|segment| !exact.contains_key(segment)) {
            self.segments.release(*segment);
        }
        for segment in exact.keys().filter(|segment| !before.contains_key(segment)) {
            self.segments.retain(*segment);
        }
        state.live = exact;
    }

    /// Returns the disk as of a point, from the nearest ancestor that is in memory. O(what was written since).
    ///
    /// Called with the upkeep lock held, so that nothing moves from memory to segments meanwhile.
    pub(crate) fn point_view(&self, point: StretchId) -> Result<Overlay> {
        let mut chain = Vec::new();
        let mut overlay = Overlay::new();
        {
            let catalog = self.catalog.lock();
            let mut next = Some(point);
            while let Some(id) = next {
                let stretch = catalog.stretch(id)?;
                let known = stretch.state.lock().view.clone();
                if let Some(known) = known {
                    overlay = known;
                    break;
                }
                next = stretch.parent;
                chain.push(stretch);
            }
        }
        for stretch in chain.iter().rev() {
            self.apply_stretch(stretch, &mut overlay)?;
        }
        if let Some(stretch) = chain.first() {
            let mut state = stretch.state.lock();
            if state.is_point && !state.dropped {
                state.view = Some(overlay.clone());
            }
        }
        Ok(overlay)
    }

    /// Returns the disk of a head that is not in memory.
    pub(crate) fn head_view(&self, head: &Stretch) -> Result<Overlay> {
        let mut overlay = match head.parent {
            Some(parent) => self.point_view(parent)?,
            None => Overlay::new(),
        };
        self.apply_stretch(head, &mut overlay)?;
        Ok(overlay)
    }

    /// Counts the blocks that a stretch wrote and did not overwrite.
    pub(crate) fn written_blocks(&self, stretch: &Stretch) -> Result<u64> {
        if let Some(alive) = stretch.alive() {
            return Ok(alive);
        }
        let _upkeep = self.upkeep.lock();
        self.apply_stretch(stretch, &mut Overlay::new())?;
        Ok(stretch.alive().unwrap_or(0))
    }
}
