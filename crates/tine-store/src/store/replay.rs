//! Replay: from a manifest and the frames behind its floor to the state of the store.
//!
//! Metadata is applied only behind the manifest's place, data only above the group that its stretch's root covers; of
//! two versions of a block the one of the higher group wins, whatever the order of the frames (rules 1, 2).

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use tine_values::RadixMap;

use crate::block::{BLOCK_BYTES, DISK_BYTES_MAX};
use crate::buffer::{
    Books, BufferMemory, BufferedBlock, Chunk, GROUP_BYTES, Group, Place, Slot, Source, StretchId, Tombstone,
};
use crate::error::{Result, StoreError};
use crate::index::layers::Layers;
use crate::index::tree::Tree;
use crate::journal::record::{BranchMade, Record, SegmentPublished};
use crate::journal::walk::{Path, Walked};
use crate::manifest::{Manifest, NUMBER_MAX, StretchRecord};
use crate::names::{BranchName, SnapshotName};
use crate::planted::{Bug, planted};
use crate::segment::SegmentId;
use crate::segment::format::SegmentKind;
use crate::segment::table::SegmentTable;
use crate::store::catalog::{BranchCell, BranchEntry, Catalog, Snapshot, Stay};
use crate::store::head::Head;
use crate::store::own_blocks::{OwnBlocks, OwnMemory};
use crate::store::stretch::{PublishedPart, Stretch, StretchState};

/// What replay found.
pub(crate) struct Replay {
    pub(crate) catalog: Catalog,
    /// Branches that were being made and are to be dropped.
    pub(crate) unfinished: Vec<BranchName>,
    /// A stretch whose content cannot be told any more, only with `read_damaged`.
    pub(crate) broken: Option<StoreError>,
}

/// A group as frames have it.
#[derive(Default)]
struct FoundGroup {
    slots: Vec<Slot>,
    tombstones: Vec<Tombstone>,
    size: Option<u64>,
    /// A block of it did not have its checksum, in a frame that was durable.
    damaged: bool,
}

struct FoundStretch {
    record: StretchRecord,
    groups: BTreeMap<u64, FoundGroup>,
    parts: Vec<PublishedPart>,
    published: u64,
    safe: u64,
    sizes: Vec<(u64, u64)>,
    broken: Option<StoreError>,
}

struct FoundBranch {
    name: BranchName,
    head: StretchId,
    origin: Option<(StretchId, String)>,
    created: u64,
    ephemeral: bool,
    protected: bool,
    snapshots: BTreeMap<SnapshotName, Snapshot>,
}

struct Replayer<'a> {
    segments: &'a Arc<SegmentTable>,
    memory: &'a Arc<BufferMemory>,
    own: &'a Arc<OwnMemory>,
    /// The manifest's trees.
    trees: Vec<Arc<Tree>>,
    stretches: HashMap<StretchId, FoundStretch>,
    branches: BTreeMap<u64, FoundBranch>,
    /// Segments that a frame from the floor on says were removed: roots may still name them.
    removed: HashSet<SegmentId>,
    next_stretch: StretchId,
    next_branch: u64,
    /// What is lost is taken note of and is no error.
    read_damaged: bool,
}

fn bad(what: &str) -> StoreError {
    StoreError::damaged(format!("the journal {what}"))
}

impl Replay {
    pub(crate) fn of(
        manifest: Manifest,
        path: Path,
        segments: &Arc<SegmentTable>,
        (memory, own): (&Arc<BufferMemory>, &Arc<OwnMemory>),
        read_damaged: bool,
    ) -> Result<Self> {
        let place = manifest.place;
        let mut replayer = Replayer::new(manifest, segments, memory, own)?;
        replayer.read_damaged = read_damaged;
        if !read_damaged && !path.frames.iter().any(|frame| frame.header.frame == place) {
            return Err(bad("ends before the place that its manifest is of"));
        }
        for record in path.frames.iter().flat_map(|frame| &frame.records) {
            if let Record::SegmentRemoved { segment } = record {
                replayer.removed.insert(*segment);
            }
        }
        let mut behind = false;
        for frame in path.frames {
            let at_place = frame.header.frame == place;
            if behind || !planted(Bug::ReplayFromPlace) {
                replayer.frame(frame, behind)?;
            }
            behind |= at_place;
        }
        replayer.finish()
    }
}

impl<'a> Replayer<'a> {
    fn new(
        manifest: Manifest,
        segments: &'a Arc<SegmentTable>,
        memory: &'a Arc<BufferMemory>,
        own: &'a Arc<OwnMemory>,
    ) -> Result<Self> {
        for (id, kind, bytes) in manifest.segments {
            segments.add(segments.handle(id), kind, bytes);
        }
        let stretches = manifest
            .stretches
            .into_iter()
            .map(|record| (record.id, FoundStretch::new(record)))
            .collect();
        let mut branches = BTreeMap::new();
        for record in manifest.branches {
            let mut snapshots = BTreeMap::new();
            for snapshot in record.snapshots {
                let found = Snapshot {
                    point: snapshot.point,
                    created: snapshot.created,
                };
                snapshots.insert(snapshot.name.parse()?, found);
            }
            let branch = FoundBranch {
                name: BranchName::recorded(&record.name)?,
                head: record.head,
                origin: record.origin,
                created: record.created,
                ephemeral: record.ephemeral,
                protected: record.protected,
                snapshots,
            };
            branches.insert(record.id, branch);
        }
        let trees = manifest.trees.into_iter().map(|tree| Tree::new(tree, segments));
        Ok(Self {
            segments,
            memory,
            own,
            trees: trees.collect(),
            stretches,
            branches,
            removed: HashSet::new(),
            next_stretch: manifest.next_stretch,
            next_branch: manifest.next_branch,
            read_damaged: false,
        })
    }

    fn frame(&mut self, frame: Walked, behind: bool) -> Result<()> {
        let Walked {
            records,
            payload,
            payload_is_whole,
            ..
        } = frame;
        let chunk = Chunk::read(payload, self.memory);
        let mut next_block = 0;
        for record in records {
            match record {
                Record::Blocks {
                    stretch,
                    group,
                    blocks,
                } => {
                    let first = next_block;
                    next_block += blocks.len() as u32;
                    let Some(found) = self.data(stretch, group)? else {
                        continue;
                    };
                    for ((block, checksum), index) in blocks.into_iter().zip(first..) {
                        check_blocks(block, 1)?;
                        let data = Some(BufferedBlock::new(&chunk, index));
                        found.slots.push(Slot {
                            block,
                            checksum,
                            data,
                            dead: false,
                        });
                    }
                    found.damaged |= !payload_is_whole;
                }
                Record::Zeroes {
                    stretch,
                    group,
                    start,
                    count,
                    hole,
                } => {
                    check_blocks(start, count)?;
                    if let Some(found) = self.data(stretch, group)? {
                        found.tombstones.push(Tombstone { start, count, hole });
                    }
                }
                Record::Resized { stretch, group, size } => {
                    if size > DISK_BYTES_MAX {
                        return Err(bad("has a disk of impossible size"));
                    }
                    if let Some(found) = self.data(stretch, group)? {
                        found.size = Some(size);
                        if let Some(stretch) = self.stretches.get_mut(&stretch) {
                            stretch.sizes.push((group, size));
                        }
                    }
                }
                Record::Published(published) => self.published(&published, behind)?,
                Record::SegmentRemoved { segment } => self.segments.forget(segment),
                record if behind => self.metadata(record)?,
                _ => {}
            }
        }
        Ok(())
    }

    /// Returns the group to which data belong, unless a root covers it or its stretch was dropped.
    fn data(&mut self, stretch: StretchId, group: u64) -> Result<Option<&mut FoundGroup>> {
        if stretch >= self.next_stretch || group >= NUMBER_MAX {
            return Err(bad("has data of a stretch that was never made"));
        }
        let Some(found) = self.stretches.get_mut(&stretch) else {
            return Ok(None);
        };
        if group <= found.record.covered {
            return Ok(None);
        }
        found.safe = found.safe.max(group);
        let key = if planted(Bug::FrameOrder) {
            found.groups.keys().max().copied().unwrap_or(0) + 1
        } else {
            group
        };
        Ok(Some(found.groups.entry(key).or_default()))
    }

    fn published(&mut self, published: &SegmentPublished, behind: bool) -> Result<()> {
        let id = published.segment;
        if published.parts.iter().any(|(_, upto)| *upto >= NUMBER_MAX) {
            return Err(bad("publishes a group that cannot be"));
        }
        if self.removed.contains(&id) {
            for (stretch, upto) in &published.parts {
                if let Some(found) = self.stretches.get_mut(stretch) {
                    found.published = found.published.max(*upto);
                    found.safe = found.safe.max(*upto);
                }
            }
            return Ok(());
        }
        let segment = self.segments.handle(id);
        if behind {
            self.segments
                .add(Arc::clone(&segment), SegmentKind::Data, published.length);
        }
        let wanted = published.parts.iter().any(|(stretch, upto)| {
            self.stretches
                .get(stretch)
                .is_some_and(|found| *upto > found.record.covered)
        });
        if !wanted {
            return Ok(());
        }
        let parts = match segment.read_parts(Some((published.length, published.footer))) {
            Err(error @ StoreError::Damaged { .. }) if self.read_damaged => {
                for (stretch, upto) in &published.parts {
                    if let Some(found) = self.stretches.get_mut(stretch)
                        && *upto > found.record.covered
                    {
                        found.broken.get_or_insert_with(|| error.clone());
                    }
                }
                return Ok(());
            }
            result => result?,
        };
        for part in parts {
            for stored in &part.blocks {
                check_blocks(stored.block, 1)?;
            }
            for (_, tombstone) in &part.tombstones {
                check_blocks(tombstone.start, tombstone.count)?;
            }
            let Some(found) = self.stretches.get_mut(&part.stretch) else {
                continue;
            };
            // Of two publications of the same groups the first wins.
            if part.upto <= found.record.covered.max(found.published) {
                continue;
            }
            found.published = part.upto;
            found.safe = found.safe.max(part.upto);
            found.parts.push(PublishedPart {
                segment: id,
                part: Arc::new(part),
            });
        }
        Ok(())
    }

    fn metadata(&mut self, record: Record) -> Result<()> {
        match record {
            Record::BranchMade(made) => self.branch_made(made),
            Record::HeadMoved {
                branch,
                stretch,
                parent,
                size,
            } => {
                self.new_stretch(stretch, parent, size)?;
                self.branch(branch)?.head = stretch;
                Ok(())
            }
            Record::SnapshotMade {
                branch,
                name,
                point,
                created,
            } => {
                let name = name.parse()?;
                self.branch(branch)?
                    .snapshots
                    .insert(name, Snapshot { point, created });
                Ok(())
            }
            Record::BranchDropped { branch } => {
                self.branch(branch)?;
                self.branches.remove(&branch);
                Ok(())
            }
            Record::SnapshotDropped { branch, name } => {
                let name: SnapshotName = name.parse()?;
                self.branch(branch)?.snapshots.remove(&name);
                Ok(())
            }
            Record::Renamed { branch, name } => {
                let name = BranchName::recorded(&name)?;
                let branch = self.branch(branch)?;
                branch.name = name;
                branch.ephemeral = false;
                Ok(())
            }
            Record::Protected { branch, protected } => {
                self.branch(branch)?.protected = protected;
                Ok(())
            }
            // Handled where they stand, or of no consequence for the state.
            Record::Epoch { .. }
            | Record::Announced { .. }
            | Record::Closed
            | Record::Blocks { .. }
            | Record::Zeroes { .. }
            | Record::Resized { .. }
            | Record::Published(_)
            | Record::SegmentRemoved { .. } => Ok(()),
        }
    }

    fn branch(&mut self, id: u64) -> Result<&mut FoundBranch> {
        self.branches
            .get_mut(&id)
            .ok_or_else(|| bad("speaks of a branch that is not there"))
    }

    fn branch_made(&mut self, made: BranchMade) -> Result<()> {
        if made.branch >= NUMBER_MAX {
            return Err(bad("makes a branch that cannot be"));
        }
        self.new_stretch(made.stretch, made.parent, made.size)?;
        self.next_branch = self.next_branch.max(made.branch + 1);
        let branch = FoundBranch {
            name: BranchName::recorded(&made.name)?,
            head: made.stretch,
            origin: made.parent.zip(made.origin),
            created: made.created,
            ephemeral: made.ephemeral,
            protected: false,
            snapshots: BTreeMap::new(),
        };
        if self.branches.insert(made.branch, branch).is_some() {
            return Err(bad("makes a branch twice"));
        }
        Ok(())
    }

    fn new_stretch(&mut self, id: StretchId, parent: Option<StretchId>, size: u64) -> Result<()> {
        let known = |id| self.stretches.contains_key(&id);
        if id >= NUMBER_MAX
            || known(id)
            || parent.is_some_and(|parent| !known(parent) || parent >= id)
            || size > DISK_BYTES_MAX
        {
            return Err(bad("makes a stretch that cannot be"));
        }
        self.next_stretch = self.next_stretch.max(id + 1);
        let record = StretchRecord {
            id,
            parent,
            size,
            covered: 0,
            alive: Some(0),
            layers: None,
            written: None,
            live: Vec::new(),
        };
        self.stretches.insert(id, FoundStretch::new(record));
        Ok(())
    }

    fn finish(self) -> Result<Replay> {
        let mut reachable: HashSet<StretchId> = HashSet::new();
        let mut heads = HashSet::new();
        let mut references: HashMap<StretchId, u64> = HashMap::new();
        let mut names = HashSet::new();
        for branch in self.branches.values() {
            if !names.insert(&branch.name) || !heads.insert(branch.head) {
                return Err(bad("gives two branches one name or one head"));
            }
            let points = branch.snapshots.values().map(|snapshot| snapshot.point);
            let origin = branch.origin.as_ref().map(|(point, _)| *point);
            for named in points.chain(origin).chain([branch.head]) {
                *references.entry(named).or_default() += 1;
                let mut next = Some(named);
                while let Some(id) = next.filter(|id| reachable.insert(*id)) {
                    let found = self
                        .stretches
                        .get(&id)
                        .ok_or_else(|| bad("names a point that is not there"))?;
                    next = found.record.parent;
                    if let Some(parent) = next {
                        if parent >= id {
                            return Err(bad("has a point that is older than its parent"));
                        }
                        *references.entry(parent).or_default() += 1;
                    }
                }
            }
        }
        let mut catalog = Catalog {
            next_branch: self.next_branch,
            next_stretch: self.next_stretch,
            ..Catalog::default()
        };
        let mut broken = None;
        for (id, found) in self.stretches {
            if reachable.contains(&id) {
                let references = references.get(&id).copied().unwrap_or(0);
                let stretch = found.finish(
                    references,
                    !heads.contains(&id),
                    &self.trees,
                    self.segments,
                    self.memory,
                );
                if let Some(lost) = stretch.state.lock().broken.clone() {
                    if !self.read_damaged {
                        return Err(lost);
                    }
                    broken.get_or_insert(lost);
                }
                catalog.stretches.insert(id, stretch);
            }
        }
        for (id, branch) in self.branches {
            let stretch = catalog.stretch(branch.head)?;
            let size = stretch.state.lock().size();
            let entry = BranchEntry {
                cell: BranchCell::new(
                    id,
                    branch.name.clone(),
                    Head::new(
                        stretch,
                        size,
                        None,
                        Books::new(self.memory),
                        OwnBlocks::none(self.own),
                    ),
                ),
                origin: branch.origin,
                created: branch.created,
                // What was a throwaway fork goes as what was never finished does.
                stay: if branch.ephemeral {
                    Stay::Unfinished
                } else {
                    Stay::Kept
                },
                protected: branch.protected,
                snapshots: branch.snapshots,
            };
            catalog.branches.insert(branch.name, entry);
        }
        let unfinished = catalog.unfinished();
        Ok(Replay {
            catalog,
            unfinished,
            broken,
        })
    }
}

impl FoundStretch {
    fn new(record: StretchRecord) -> Self {
        let covered = record.covered;
        Self {
            record,
            groups: BTreeMap::new(),
            parts: Vec::new(),
            published: covered,
            safe: covered,
            sizes: Vec::new(),
            broken: None,
        }
    }

    fn finish(
        self,
        references: u64,
        is_point: bool,
        trees: &[Arc<Tree>],
        segments: &SegmentTable,
        memory: &Arc<BufferMemory>,
    ) -> Arc<Stretch> {
        let Self {
            record,
            mut groups,
            parts,
            published,
            safe,
            mut sizes,
            mut broken,
        } = self;
        // What is published is in segments, whichever frame came first.
        groups.retain(|&number, _| number > published || planted(Bug::FrameOrder));
        if groups.values().any(|group| group.damaged) {
            let lost = bad("has lost blocks that were flushed and are nowhere else");
            broken.get_or_insert(lost);
        }
        let unchanged = groups.is_empty() && parts.is_empty();
        kill_overwritten(&mut groups);
        sizes.sort_unstable();
        let groups = groups
            .into_iter()
            .map(|(number, found)| {
                let mut books = Books::new(memory);
                books.add(GROUP_BYTES + found.slots.len() * size_of::<Slot>());
                for tombstone in &found.tombstones {
                    books.add_cleared(size_of_val(tombstone));
                }
                let source = Source::buffered(record.id);
                *source.place.write() = Place::Buffered(found.slots);
                Arc::new(Group {
                    number,
                    source,
                    tombstones: found.tombstones,
                    size: found.size,
                    _books: books,
                })
            })
            .filter(|group| !group.is_spent())
            .collect();
        let mut live: HashMap<SegmentId, u64> = record.live.iter().copied().collect();
        for part in &parts {
            segments.retain(part.segment);
            let blocks = part.part.blocks.len() as u64;
            if blocks > 0 {
                *live.entry(part.segment).or_default() += blocks;
            }
        }
        // What was removed had nothing alive, although the root did not know it yet.
        live.retain(|segment, _| segments.contains(*segment));
        for segment in live.keys() {
            segments.retain(*segment);
        }
        if let Some(written) = &record.written {
            segments.retain(written.segment);
        }
        let root = record.layers.map(|layers| {
            let layers = layers.iter().map(|&tree| Arc::clone(&trees[tree as usize]));
            Layers::new(record.id, layers.collect())
        });
        let state = StretchState {
            references,
            is_point,
            base_size: record.size,
            sizes,
            open_group: safe + 1,
            written: safe,
            safe,
            published,
            covered: record.covered,
            groups,
            parts,
            root,
            written_at: record.written,
            live,
            broken,
            ..StretchState::default()
        };
        let alive = record.alive.filter(|_| unchanged);
        Stretch::recovered(record.id, record.parent, alive, state)
    }
}

/// Marks the versions of blocks that a later group overwrites or clears: they are not needed any more.
fn kill_overwritten(groups: &mut BTreeMap<u64, FoundGroup>) {
    let mut newest: HashMap<u64, u64> = HashMap::new();
    for (number, group) in groups.iter() {
        for slot in &group.slots {
            newest.insert(slot.block, *number);
        }
    }
    let mut cleared: RadixMap<()> = RadixMap::new();
    for (number, group) in groups.iter_mut().rev() {
        for slot in &mut group.slots {
            if newest.get(&slot.block) != Some(number) || cleared.get(slot.block).is_some() {
                slot.dead = true;
                slot.data = None;
            }
        }
        for tombstone in &group.tombstones {
            cleared.fill(tombstone.start..tombstone.start + tombstone.count, (), |_, ()| {});
        }
    }
}

fn check_blocks(start: u64, count: u64) -> Result<()> {
    let end = start
        .checked_add(count)
        .filter(|end| *end <= DISK_BYTES_MAX / BLOCK_BYTES);
    end.map(drop).ok_or_else(|| bad("has a block that no disk has"))
}
