//! Content: from what a stretch has in memory and in segments to the view of its disk.
//!
//! A view stands on the nearest root: that of the stretch itself, or of its nearest ancestor that has one. Over it lie
//! the parts of segments that no root covers, and the groups in memory. A root needs no reading to be stood on.

use std::collections::HashMap;
use std::sync::Arc;

use crate::block::block_count;
use crate::buffer::{Group, Place, Source, StretchId, Tombstone};
use crate::error::{Result, StoreError};
use crate::index::layers::Layers;
use crate::index::leaf::PieceContent;
use crate::index::node::NodeRef;
use crate::index::written::WrittenBlocks;
use crate::medium::Reading;
use crate::overlay::{Entry, Overlay, Zero};
use crate::segment::SegmentId;
use crate::segment::format::Part;
use crate::store::Engine;
use crate::store::catalog::BranchCell;
use crate::store::stretch::{Deaths, PublishedPart, Stretch, StretchState};
use crate::store::view::View;

/// Lays parts and groups of one stretch over an overlay, oldest first.
pub(crate) struct Applier<'a> {
    engine: &'a Engine,
    stretch: StretchId,
    overlay: &'a mut Overlay,
    sources: HashMap<SegmentId, Arc<Source>>,
    /// Blocks of parts that later ones hid.
    pub(crate) deaths: Deaths,
    /// Blocks and cleared ranges laid over the overlay.
    pub(crate) blocks: u64,
}

impl<'a> Applier<'a> {
    pub(crate) fn new(engine: &'a Engine, stretch: StretchId, overlay: &'a mut Overlay) -> Self {
        Self {
            engine,
            stretch,
            overlay,
            sources: HashMap::new(),
            deaths: Deaths::new(),
            blocks: 0,
        }
    }

    fn set(&mut self, block: u64, entry: Entry) {
        self.blocks += 1;
        if let Some(old) = self.overlay.insert(block, entry) {
            note_death(self.stretch, &mut self.deaths, &old);
        }
    }

    fn clear(&mut self, tombstone: &Tombstone) {
        self.blocks += 1;
        let (stretch, deaths) = (self.stretch, &mut self.deaths);
        let zero = Entry::Zero(Zero::new(stretch, tombstone.hole));
        let range = tombstone.start..tombstone.start + tombstone.count;
        self.overlay
            .fill(range, zero, |_, old| note_death(stretch, deaths, old));
    }

    /// Applies a part of a segment.
    pub(crate) fn part(&mut self, segment: SegmentId, part: &Part) {
        let (engine, stretch) = (self.engine, self.stretch);
        let source = self
            .sources
            .entry(segment)
            .or_insert_with(|| Source::in_segment(stretch, engine.segments.handle(segment)));
        let source = Arc::clone(source);
        for_each_change(part, |change| match change {
            Change::Clear(tombstone) => self.clear(tombstone),
            Change::Block(at) => {
                let entry = Entry::Data {
                    source: Arc::clone(&source),
                    slot: part.blocks[at].at,
                    checksum: part.blocks[at].checksum,
                };
                self.set(part.blocks[at].block, entry);
            }
        });
    }

    /// Applies a group that is in memory. Its stretch is locked, so that it stays there.
    fn group(&mut self, group: &Group) {
        for tombstone in &group.tombstones {
            self.clear(tombstone);
        }
        let mut alive = Vec::new();
        group.for_each_alive(|slot, found| alive.push((slot, found.block, found.checksum)));
        for (slot, block, checksum) in alive {
            let entry = Entry::Data {
                source: Arc::clone(&group.source),
                slot,
                checksum,
            };
            self.set(block, entry);
        }
    }
}

fn note_death(stretch: StretchId, deaths: &mut Deaths, old: &Entry) {
    if let Entry::Data { source, .. } = old
        && source.stretch == stretch
        && let Place::Stored { segment, .. } = &*source.place.read()
    {
        *deaths.entry(segment.id).or_default() += 1;
    }
}

/// What a part does to a disk.
enum Change<'a> {
    Clear(&'a Tombstone),
    /// Writes its block of this number.
    Block(usize),
}

/// Tells a part group by group, in each the zeroes first, as only what they did not cover any more was stored.
fn for_each_change<'a>(part: &'a Part, mut each: impl FnMut(Change<'a>)) {
    let mut order: Vec<usize> = (0..part.blocks.len()).collect();
    order.sort_by_key(|&at| part.blocks[at].group);
    let mut tombstones = part.tombstones.iter().peekable();
    for at in order {
        while let Some((_, tombstone)) = tombstones.next_if(|(group, _)| *group <= part.blocks[at].group) {
            each(Change::Clear(tombstone));
        }
        each(Change::Block(at));
    }
    for (_, tombstone) in tombstones {
        each(Change::Clear(tombstone));
    }
}

/// Adds what parts wrote to a set of written blocks, and takes out what they cleared.
pub(crate) fn add_parts(written: &mut WrittenBlocks, parts: &[PublishedPart]) {
    for part in parts {
        for_each_change(&part.part, |change| match change {
            Change::Clear(tombstone) => {
                written.remove(tombstone.start..tombstone.start + tombstone.count);
            }
            Change::Block(at) => {
                let block = part.part.blocks[at].block;
                written.insert(block..block + 1);
            }
        });
    }
}

/// What a stretch wrote since its set of written blocks was saved.
struct Newer {
    parts: Vec<PublishedPart>,
    /// What groups in memory cleared, and then wrote.
    groups: Vec<(Vec<Tombstone>, Vec<u64>)>,
}

impl Newer {
    /// Takes it out of the stretch, for what takes long to be done without a lock.
    fn of(state: &StretchState) -> Self {
        let groups = state.groups.iter().map(|group| {
            let mut blocks = Vec::new();
            group.for_each_alive(|_, slot| blocks.push(slot.block));
            (group.tombstones.clone(), blocks)
        });
        Self {
            parts: state.parts.clone(),
            groups: groups.collect(),
        }
    }

    fn add_to(&self, written: &mut WrittenBlocks) {
        add_parts(written, &self.parts);
        for (tombstones, blocks) in &self.groups {
            for tombstone in tombstones {
                written.remove(tombstone.start..tombstone.start + tombstone.count);
            }
            for &block in blocks {
                written.insert(block..block + 1);
            }
        }
    }
}

impl Engine {
    /// Returns the view of a stretch's end. O(what no root covers). Reads nothing.
    ///
    /// Whoever asks keeps the stretch from being dropped, or finds out afterwards that it was.
    pub(crate) fn view(&self, stretch: &Arc<Stretch>) -> Result<View> {
        let mut chain = vec![Arc::clone(stretch)];
        let mut view = loop {
            let last = &chain[chain.len() - 1];
            let state = last.state.lock();
            if let Some(broken) = &state.broken {
                return Err(broken.clone());
            }
            if let Some(view) = &state.view {
                let view = view.clone();
                drop(state);
                chain.pop();
                break view;
            }
            if let Some(root) = &state.root {
                break View::on(Arc::clone(root));
            }
            drop(state);
            let Some(parent) = last.parent else {
                break View::empty();
            };
            let parent = self.catalog.lock().stretch(parent)?;
            chain.push(parent);
        };
        while let Some(next) = chain.pop() {
            let mut state = next.state.lock();
            // One that gained a root since it was passed by is as it was then: parts and root change together.
            if let Some(root) = &state.root {
                view = View::on(Arc::clone(root));
            }
            self.lay_over(&next, &state, &mut view);
            if state.is_point && !state.dropped && !(state.parts.is_empty() && state.groups.is_empty()) {
                state.view = Some(view.clone());
            }
        }
        Ok(view)
    }

    /// Lays what no root covers over a view.
    pub(crate) fn lay_over(&self, stretch: &Stretch, state: &StretchState, view: &mut View) {
        let mut applier = Applier::new(self, stretch.id, &mut view.overlay);
        for part in &state.parts {
            applier.part(part.segment, &part.part);
        }
        for group in &state.groups {
            applier.group(group);
        }
        view.overlaid += applier.blocks;
    }

    /// Returns the set of blocks that a stretch wrote and that are its own still, and the number of the group that was open
    /// then, with nothing in it. `cell` is that of the branch whose head it may be. O(what it wrote / 64).
    pub(crate) fn written_set(
        &self,
        stretch: &Arc<Stretch>,
        cell: Option<&BranchCell>,
    ) -> Result<(WrittenBlocks, u64)> {
        loop {
            // Held, so that it is not removed when a newer set takes its place before it was read.
            let (at, covered, root, _held) = {
                let state = stretch.state.lock();
                let held = state.written_at.map(|at| self.index.segment(at.segment));
                (state.written_at, state.covered, state.root.clone(), held)
            };
            let mut written = self.saved_set(at.as_ref(), root.as_deref(), stretch.id)?;
            let (newer, open_group) = {
                // Locked until all is seen: what a writer replaces is dead at once, but the new is seen in closed groups alone.
                let mut head = cell.map(|cell| cell.head.write());
                if let Some(head) = head.as_mut().filter(|head| Arc::ptr_eq(&head.stretch, stretch)) {
                    head.close_group();
                }
                let state = stretch.state.lock();
                if (state.written_at, state.covered) != (at, covered) {
                    continue;
                }
                (Newer::of(&state), state.open_group)
            };
            newer.add_to(&mut written);
            return Ok((written, open_group));
        }
    }

    /// Returns the set of blocks that a stretch wrote up to `root`, as it was saved at `at`. If that cannot be read, it is
    /// found anew, at the cost of reading the whole index of the disk; the error is that of reading the set.
    pub(crate) fn saved_set(
        &self,
        at: Option<&NodeRef>,
        root: Option<&Layers>,
        stretch: StretchId,
    ) -> Result<WrittenBlocks> {
        let Some(at) = at else {
            return Ok(WrittenBlocks::default());
        };
        let read = self.index.read(at, Reading::Cached);
        let saved = read.and_then(|bytes| WrittenBlocks::decode(&bytes));
        saved.or_else(|error| self.born(root, stretch).map_err(|_| error))
    }

    /// Finds the blocks that a stretch wrote and that a root of it shows.
    fn born(&self, root: Option<&Layers>, stretch: StretchId) -> Result<WrittenBlocks> {
        let mut written = WrittenBlocks::default();
        let Some(root) = root else {
            return Err(StoreError::damaged("a set of written blocks has no root"));
        };
        root.resolve(&self.index, 0..block_count(u64::MAX), &mut |blocks, piece| {
            let data = piece.filter(|piece| matches!(piece.content, PieceContent::Data { .. }));
            if data.is_some_and(|piece| piece.birth() == stretch) {
                written.insert(blocks);
            }
            Ok(true)
        })?;
        Ok(written)
    }

    /// Counts the blocks that a stretch wrote and did not overwrite. `cell` is that of the branch whose head it may be.
    pub(crate) fn written_blocks(&self, stretch: &Arc<Stretch>, cell: Option<&BranchCell>) -> Result<u64> {
        if let Some(alive) = stretch.alive() {
            return Ok(alive);
        }
        let (written, open_group) = self.written_set(stretch, cell)?;
        let alive = written.count();
        // Who asks next is told the same, unless something was written meanwhile.
        let head = cell.map(|cell| cell.head.read());
        let head = head.filter(|head| Arc::ptr_eq(&head.stretch, stretch));
        let is_same = {
            let state = stretch.state.lock();
            let is_quiet = head
                .as_ref()
                .map_or(state.is_point, |head| !head.has_open_writes());
            is_quiet && state.open_group == open_group
        };
        if is_same {
            stretch.set_alive(alive);
        }
        Ok(alive)
    }
}

#[cfg(test)]
mod tests;
