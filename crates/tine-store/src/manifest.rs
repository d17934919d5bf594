//! Manifests: names, points and segments as of a place in the journal.
//!
//! A manifest is one object with two copies of the same bytes, each with its checksum (rule 6), never changed. It
//! names its place P, of which its metadata is, and a floor L ≤ P, the first frame with data that no root in it
//! covers (rule 2). Here it is written whole each time; the delta of rule 13 is not there yet.

use crate::block::DISK_BYTES_MAX;
use crate::buffer::StretchId;
use crate::checksum::crc32c;
use crate::codec::{Decoder, Encoder};
use crate::error::{Result, StoreError};
use crate::index::node::NodeRef;
use crate::index::tree::TreeRecord;
use crate::journal::record::FrameRef;
use crate::journal::ring::Place;
use crate::medium::{Area, Medium, ObjectName, Reading, Writing};
use crate::planted::{Bug, planted};
use crate::segment::SegmentId;
use crate::segment::format::SegmentKind;

const MAGIC: [u8; 8] = *b"tineMAN1";
const HEADER_BYTES: usize = 32;
/// Copies in one object; either suffices.
const COPIES: u64 = 2;
/// Stretches, branches and groups are counted up to here.
pub(crate) const NUMBER_MAX: u64 = 1 << 60;
/// No manifest is longer: some ten million names.
const MANIFEST_BYTES_MAX: u64 = 4 << 30;
/// The least bytes of a tree, and of a stretch.
const TREE_BYTES_MIN: usize = 61;
const STRETCH_BYTES_MIN: usize = 52;

/// A stretch as its root has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StretchRecord {
    pub(crate) id: StretchId,
    pub(crate) parent: Option<StretchId>,
    /// The disk's size as of the covered group.
    pub(crate) size: u64,
    /// The last group that its root covers.
    pub(crate) covered: u64,
    /// Blocks of data that are the newest of the stretch, if that is exact.
    pub(crate) alive: Option<u64>,
    /// The layers of its root, oldest first, as numbers of trees; absent if no group was ever covered: then the disk is
    /// its parent's.
    pub(crate) layers: Option<Vec<u32>>,
    /// Where the set of blocks lies that were written up to the covered group; absent if there are none, or if the
    /// count of alive blocks is final.
    pub(crate) written: Option<NodeRef>,
    /// For each segment with blocks that were born in the stretch, those that are alive; never too few.
    pub(crate) live: Vec<(SegmentId, u64)>,
}

/// A snapshot's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SnapshotRecord {
    pub(crate) name: String,
    pub(crate) point: StretchId,
    pub(crate) created: u64,
}

/// A branch's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BranchRecord {
    pub(crate) id: u64,
    pub(crate) name: String,
    pub(crate) head: StretchId,
    pub(crate) origin: Option<(StretchId, String)>,
    pub(crate) created: u64,
    pub(crate) ephemeral: bool,
    pub(crate) protected: bool,
    pub(crate) snapshots: Vec<SnapshotRecord>,
}

/// The state of a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Manifest {
    pub(crate) number: u64,
    /// L, and where it lies.
    pub(crate) floor: FrameRef,
    pub(crate) floor_place: Place,
    /// P.
    pub(crate) place: FrameRef,
    /// How many whole files the journal had: it has no fewer since.
    pub(crate) ring_files: u32,
    pub(crate) next_branch: u64,
    pub(crate) next_stretch: StretchId,
    pub(crate) segments: Vec<(SegmentId, SegmentKind, u64)>,
    /// The trees that stretches share.
    pub(crate) trees: Vec<TreeRecord>,
    pub(crate) stretches: Vec<StretchRecord>,
    pub(crate) branches: Vec<BranchRecord>,
}

impl Manifest {
    fn encode(&self) -> Vec<u8> {
        let mut out = Encoder::default();
        self.floor.encode(&mut out);
        out.u32(self.floor_place.file);
        out.u64(self.floor_place.offset);
        self.place.encode(&mut out);
        out.u32(self.ring_files);
        out.u64(self.next_branch);
        out.u64(self.next_stretch);
        out.count(self.segments.len());
        for (id, kind, bytes) in &self.segments {
            out.u64(id.to_u64());
            out.u8(*kind as u8);
            out.u64(*bytes);
        }
        out.count(self.trees.len());
        for tree in &self.trees {
            tree.encode(&mut out);
        }
        out.count(self.stretches.len());
        for stretch in &self.stretches {
            out.u64(stretch.id);
            out.option(stretch.parent);
            out.u64(stretch.size);
            out.u64(stretch.covered);
            out.option(stretch.alive);
            out.u8(u8::from(stretch.layers.is_some()));
            let layers = stretch.layers.as_deref().unwrap_or_default();
            out.count(layers.len());
            for tree in layers {
                out.u32(*tree);
            }
            out.u8(u8::from(stretch.written.is_some()));
            if let Some(written) = &stretch.written {
                written.encode(&mut out);
            }
            out.count(stretch.live.len());
            for (segment, blocks) in &stretch.live {
                out.u64(segment.to_u64());
                out.u64(*blocks);
            }
        }
        out.count(self.branches.len());
        for branch in &self.branches {
            out.u64(branch.id);
            out.text(&branch.name);
            out.u64(branch.head);
            out.option(branch.origin.as_ref().map(|(point, _)| *point));
            out.text(branch.origin.as_ref().map_or("", |(_, name)| name));
            out.u64(branch.created);
            out.u8(u8::from(branch.ephemeral));
            out.u8(u8::from(branch.protected));
            out.count(branch.snapshots.len());
            for snapshot in &branch.snapshots {
                out.text(&snapshot.name);
                out.u64(snapshot.point);
                out.u64(snapshot.created);
            }
        }
        out.bytes
    }

    fn decode(number: u64, bytes: &[u8]) -> Result<Self> {
        let mut from = Decoder::new("manifest", bytes);
        let floor = FrameRef::decode(&mut from)?;
        let floor_place = Place {
            file: from.u32()?,
            offset: from.u64()?,
        };
        let place = FrameRef::decode(&mut from)?;
        let ring_files = from.u32()?;
        let (next_branch, next_stretch) = (from.u64()?, from.u64()?);
        let count = from.count(17)?;
        let segments = (0..count)
            .map(|_| {
                let id = SegmentId::from_u64(from.u64()?);
                let kind = match from.u8()? {
                    1 => SegmentKind::Data,
                    2 => SegmentKind::Index,
                    _ => return Err(from.invalid("a segment of unknown kind")),
                };
                Ok((id, kind, from.u64()?))
            })
            .collect::<Result<Vec<_>>>()?;
        let count = from.count(TREE_BYTES_MIN)?;
        let trees = (0..count)
            .map(|_| TreeRecord::decode(&mut from))
            .collect::<Result<Vec<_>>>()?;
        let count = from.count(STRETCH_BYTES_MIN)?;
        let stretches = (0..count)
            .map(|_| decode_stretch(&mut from))
            .collect::<Result<Vec<_>>>()?;
        let count = from.count(46)?;
        let branches = (0..count)
            .map(|_| decode_branch(&mut from))
            .collect::<Result<Vec<_>>>()?;
        from.end()?;
        let manifest = Self {
            number,
            floor,
            floor_place,
            place,
            ring_files,
            next_branch,
            next_stretch,
            segments,
            trees,
            stretches,
            branches,
        };
        if manifest.is_sane() {
            Ok(manifest)
        } else {
            Err(from.invalid("it has numbers that cannot be"))
        }
    }

    /// Tells whether numbers stay clear of the ends of their types, so that counting on from them is safe, and whether
    /// what is named is there.
    fn is_sane(&self) -> bool {
        let sane = |number: u64| number < NUMBER_MAX;
        let blocks_max: u64 = self
            .segments
            .iter()
            .map(|(.., bytes)| bytes / 4096)
            .fold(0, u64::saturating_add);
        let ascending = self.stretches.windows(2).all(|pair| pair[0].id < pair[1].id);
        let stretches_are_sane = self.stretches.iter().all(|stretch| {
            stretch.id < self.next_stretch
                && stretch.parent.is_none_or(|parent| parent < stretch.id)
                && stretch.size <= DISK_BYTES_MAX
                && sane(stretch.covered)
                && stretch.alive.is_none_or(sane)
                && stretch
                    .layers
                    .iter()
                    .flatten()
                    .all(|tree| (*tree as usize) < self.trees.len())
                && stretch
                    .live
                    .iter()
                    .all(|(_, blocks)| *blocks <= blocks_max && sane(*blocks))
        });
        let branches_are_sane = self.branches.iter().all(|branch| branch.id < self.next_branch);
        ascending
            && sane(self.next_stretch)
            && sane(self.next_branch)
            && stretches_are_sane
            && branches_are_sane
    }

    /// Returns the bytes of its object.
    pub(crate) fn object_bytes(&self) -> u64 {
        COPIES * (HEADER_BYTES + self.encode().len()).next_multiple_of(4096) as u64
    }

    /// Puts the manifest and returns when it and its name are durable.
    pub(crate) fn put(&self, medium: &dyn Medium) -> Result<()> {
        let name = ObjectName::Manifest(self.number);
        let body = self.encode();
        let mut copy = Encoder::default();
        copy.raw(&MAGIC);
        copy.u64(self.number);
        copy.u64(body.len() as u64);
        copy.u32(crc32c(&body));
        let checksum = crc32c(&copy.bytes);
        copy.u32(checksum);
        copy.raw(&body);
        let padded = copy.bytes.len().next_multiple_of(4096);
        copy.bytes.resize(padded, 0);
        let mut writer = medium
            .create_object(name, Writing::Cached)
            .map_err(|e| StoreError::io(name, "make", e))?;
        for _ in 0..COPIES {
            writer
                .append(&copy.bytes)
                .map_err(|e| StoreError::io(name, "write", e))?;
        }
        writer.sync().map_err(|e| StoreError::io(name, "sync", e))?;
        if planted(Bug::NoDirectorySync) {
            return Ok(());
        }
        medium
            .sync_area(Area::Manifest)
            .map_err(|e| StoreError::io("manifest/", "sync", e))
    }

    /// Reads a manifest from either copy, past the cache; `None` if neither is whole.
    ///
    /// # Errors
    /// An I/O error is not taken for a bad copy (rule 9).
    pub(crate) fn read(medium: &dyn Medium, number: u64) -> Result<Option<Self>> {
        for copy in copies(medium, number)? {
            if let Some(body) = whole_body(number, &copy?) {
                return Self::decode(number, body).map(Some);
            }
        }
        Ok(None)
    }

    /// Counts the copies that are whole, past the cache.
    pub(crate) fn whole_copies(medium: &dyn Medium, number: u64) -> Result<usize> {
        let mut whole = 0;
        for copy in copies(medium, number)? {
            whole += usize::from(whole_body(number, &copy?).is_some());
        }
        Ok(whole)
    }
}

/// Reads a manifest's copies, one when it is asked for.
fn copies(medium: &dyn Medium, number: u64) -> Result<impl Iterator<Item = Result<Vec<u8>>> + use<>> {
    let name = ObjectName::Manifest(number);
    let object = medium
        .open_object(name)
        .map_err(|e| StoreError::io(name, "open", e))?;
    let length = object
        .length()
        .map_err(|e| StoreError::io(name, "find the length of", e))?;
    // None are read from an object that is too long to be a manifest.
    let half = if length > MANIFEST_BYTES_MAX {
        0
    } else {
        length / 2
    };
    Ok((0..COPIES).map(move |copy| {
        let mut bytes = vec![0; half as usize];
        object
            .read_at(&mut bytes, copy * half, Reading::PastCache)
            .map_err(|e| StoreError::io(name, "read", e))?;
        Ok(bytes)
    }))
}

/// Returns the body of a copy that has its checksums.
fn whole_body(number: u64, copy: &[u8]) -> Option<&[u8]> {
    if copy.len() < HEADER_BYTES || copy[..8] != MAGIC {
        return None;
    }
    let mut from = Decoder::new("manifest header", &copy[8..HEADER_BYTES]);
    let (found, bytes) = (from.u64().ok()?, from.u64().ok()?);
    let (body_checksum, checksum) = (from.u32().ok()?, from.u32().ok()?);
    if found != number || checksum != crc32c(&copy[..HEADER_BYTES - 4]) {
        return None;
    }
    let body = copy[HEADER_BYTES..].get(..usize::try_from(bytes).ok()?)?;
    (crc32c(body) == body_checksum).then_some(body)
}

fn decode_stretch(from: &mut Decoder<'_>) -> Result<StretchRecord> {
    let (id, parent) = (from.u64()?, from.option()?);
    let (size, covered, alive) = (from.u64()?, from.u64()?, from.option()?);
    let has_root = from.flag()?;
    let count = from.count(4)?;
    let layers: Vec<u32> = (0..count).map(|_| from.u32()).collect::<Result<_>>()?;
    if !has_root && !layers.is_empty() {
        return Err(from.invalid("a stretch without a root has layers"));
    }
    let written = match from.flag()? {
        true => Some(NodeRef::decode(from)?),
        false => None,
    };
    let count = from.count(16)?;
    let live = (0..count)
        .map(|_| Ok((SegmentId::from_u64(from.u64()?), from.u64()?)))
        .collect::<Result<_>>()?;
    Ok(StretchRecord {
        id,
        parent,
        size,
        covered,
        alive,
        layers: has_root.then_some(layers),
        written,
        live,
    })
}

fn decode_branch(from: &mut Decoder<'_>) -> Result<BranchRecord> {
    let (id, name, head) = (from.u64()?, from.text()?.to_owned(), from.u64()?);
    let (point, origin_name) = (from.option()?, from.text()?.to_owned());
    let created = from.u64()?;
    let (ephemeral, protected) = (from.flag()?, from.flag()?);
    let count = from.count(20)?;
    let snapshots = (0..count)
        .map(|_| {
            Ok(SnapshotRecord {
                name: from.text()?.to_owned(),
                point: from.u64()?,
                created: from.u64()?,
            })
        })
        .collect::<Result<_>>()?;
    Ok(BranchRecord {
        id,
        name,
        head,
        origin: point.map(|point| (point, origin_name)),
        created,
        ephemeral,
        protected,
        snapshots,
    })
}
