//! Records: what a frame says happened.
//!
//! Each names stretches, groups and branches by number, never by position, so that replay needs no context but the
//! manifest. The byte layout is in docs/format.md.

use crate::buffer::StretchId;
use crate::codec::{Decoder, Encoder};
use crate::error::Result;
use crate::segment::SegmentId;

/// A frame, named so that nothing else can be taken for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct FrameRef {
    pub(crate) epoch: u64,
    pub(crate) nonce: [u8; 16],
    pub(crate) sequence: u64,
    pub(crate) chain: u64,
}

impl FrameRef {
    pub(crate) fn encode(&self, out: &mut Encoder) {
        out.u64(self.epoch);
        out.raw(&self.nonce);
        out.u64(self.sequence);
        out.u64(self.chain);
    }

    pub(crate) fn decode(from: &mut Decoder<'_>) -> Result<Self> {
        Ok(Self {
            epoch: from.u64()?,
            nonce: from.nonce()?,
            sequence: from.u64()?,
            chain: from.u64()?,
        })
    }
}

/// A segment that became part of the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SegmentPublished {
    pub(crate) segment: SegmentId,
    /// Bytes of the object.
    pub(crate) length: u64,
    /// Checksum of its footer.
    pub(crate) footer: u32,
    /// For each stretch in it, the group up to which everything of the stretch is stored now.
    pub(crate) parts: Vec<(StretchId, u64)>,
}

/// A new branch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BranchMade {
    pub(crate) branch: u64,
    pub(crate) name: String,
    pub(crate) stretch: StretchId,
    pub(crate) parent: Option<StretchId>,
    pub(crate) size: u64,
    /// Nanoseconds since 1970.
    pub(crate) created: u64,
    /// What it was forked from, as that was called then.
    pub(crate) origin: Option<String>,
    /// Dropped when the store is opened, unless kept.
    pub(crate) ephemeral: bool,
}

impl BranchMade {
    /// Appends it as a record.
    pub(crate) fn encode(&self, out: &mut Encoder) {
        out.u8(BRANCH_MADE);
        out.u64(self.branch);
        out.text(&self.name);
        out.u64(self.stretch);
        out.option(self.parent);
        out.u64(self.size);
        out.u64(self.created);
        out.text(self.origin.as_deref().unwrap_or(""));
        out.u8(u8::from(self.ephemeral));
    }
}

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Record {
    /// The first of an epoch: the frame that it continues from, none in a new store.
    Epoch { cut: Option<FrameRef> },
    /// Blocks of a group; their bytes are the frame's payload, in order. (block, checksum)
    Blocks {
        stretch: StretchId,
        group: u64,
        blocks: Vec<(u64, u32)>,
    },
    /// Blocks of a group that read as zeroes.
    Zeroes {
        stretch: StretchId,
        group: u64,
        start: u64,
        count: u64,
        hole: bool,
    },
    /// The disk's size, in bytes, from this group on.
    Resized {
        stretch: StretchId,
        group: u64,
        size: u64,
    },
    /// A data segment became part of the store.
    Published(SegmentPublished),
    /// A branch was made.
    BranchMade(BranchMade),
    /// A branch goes on in a new stretch, after `parent`: its former one, that became a point, or one that it was
    /// rolled back to.
    HeadMoved {
        branch: u64,
        stretch: StretchId,
        parent: Option<StretchId>,
        size: u64,
    },
    /// A point got a name.
    SnapshotMade {
        branch: u64,
        name: String,
        point: StretchId,
        created: u64,
    },
    /// A branch and its snapshots were forgotten.
    BranchDropped { branch: u64 },
    /// A snapshot was forgotten.
    SnapshotDropped { branch: u64, name: String },
    /// A branch has another name; an ephemeral one is kept by this.
    Renamed { branch: u64, name: String },
    /// A branch may, or may not any more, be written to by clients.
    Protected { branch: u64, protected: bool },
    /// Nothing refers to a segment any more; its object is removed when this is durable.
    SegmentRemoved { segment: SegmentId },
    /// A manifest is durable; older ones are not needed.
    Announced { manifest: u64 },
    /// The store was closed; nothing follows in this epoch.
    Closed,
}

const EPOCH: u8 = 1;
const BLOCKS: u8 = 2;
const ZEROES: u8 = 3;
const RESIZED: u8 = 4;
const PUBLISHED: u8 = 5;
const BRANCH_MADE: u8 = 6;
const HEAD_MOVED: u8 = 7;
const SNAPSHOT_MADE: u8 = 8;
const BRANCH_DROPPED: u8 = 9;
const SNAPSHOT_DROPPED: u8 = 10;
const RENAMED: u8 = 11;
const SEGMENT_REMOVED: u8 = 12;
const ANNOUNCED: u8 = 13;
const CLOSED: u8 = 14;
const PROTECTED: u8 = 15;

impl Record {
    pub(crate) fn encode(&self, out: &mut Encoder) {
        match self {
            Self::Epoch { cut } => {
                out.u8(EPOCH);
                out.u8(u8::from(cut.is_some()));
                if let Some(cut) = cut {
                    cut.encode(out);
                }
            }
            Self::Blocks {
                stretch,
                group,
                blocks,
            } => {
                out.u8(BLOCKS);
                out.u64(*stretch);
                out.u64(*group);
                out.count(blocks.len());
                for (block, checksum) in blocks {
                    out.u64(*block);
                    out.u32(*checksum);
                }
            }
            Self::Zeroes {
                stretch,
                group,
                start,
                count,
                hole,
            } => {
                out.u8(ZEROES);
                out.u64(*stretch);
                out.u64(*group);
                out.u64(*start);
                out.u64(*count);
                out.u8(u8::from(*hole));
            }
            Self::Resized { stretch, group, size } => {
                out.u8(RESIZED);
                out.u64(*stretch);
                out.u64(*group);
                out.u64(*size);
            }
            Self::Published(published) => {
                out.u8(PUBLISHED);
                out.u64(published.segment.to_u64());
                out.u64(published.length);
                out.u32(published.footer);
                out.count(published.parts.len());
                for (stretch, upto) in &published.parts {
                    out.u64(*stretch);
                    out.u64(*upto);
                }
            }
            Self::BranchMade(made) => made.encode(out),
            Self::HeadMoved {
                branch,
                stretch,
                parent,
                size,
            } => {
                out.u8(HEAD_MOVED);
                out.u64(*branch);
                out.u64(*stretch);
                out.option(*parent);
                out.u64(*size);
            }
            Self::SnapshotMade {
                branch,
                name,
                point,
                created,
            } => {
                out.u8(SNAPSHOT_MADE);
                out.u64(*branch);
                out.text(name);
                out.u64(*point);
                out.u64(*created);
            }
            Self::BranchDropped { branch } => {
                out.u8(BRANCH_DROPPED);
                out.u64(*branch);
            }
            Self::SnapshotDropped { branch, name } => {
                out.u8(SNAPSHOT_DROPPED);
                out.u64(*branch);
                out.text(name);
            }
            Self::Renamed { branch, name } => {
                out.u8(RENAMED);
                out.u64(*branch);
                out.text(name);
            }
            Self::Protected { branch, protected } => {
                out.u8(PROTECTED);
                out.u64(*branch);
                out.u8(u8::from(*protected));
            }
            Self::SegmentRemoved { segment } => {
                out.u8(SEGMENT_REMOVED);
                out.u64(segment.to_u64());
            }
            Self::Announced { manifest } => {
                out.u8(ANNOUNCED);
                out.u64(*manifest);
            }
            Self::Closed => out.u8(CLOSED),
        }
    }

    pub(crate) fn decode(from: &mut Decoder<'_>) -> Result<Self> {
        Ok(match from.u8()? {
            EPOCH => {
                let cut = if from.flag()? {
                    Some(FrameRef::decode(from)?)
                } else {
                    None
                };
                Self::Epoch { cut }
            }
            BLOCKS => {
                let (stretch, group) = (from.u64()?, from.u64()?);
                let count = from.count(12)?;
                let blocks = (0..count)
                    .map(|_| Ok((from.u64()?, from.u32()?)))
                    .collect::<Result<_>>()?;
                Self::Blocks {
                    stretch,
                    group,
                    blocks,
                }
            }
            ZEROES => Self::Zeroes {
                stretch: from.u64()?,
                group: from.u64()?,
                start: from.u64()?,
                count: from.u64()?,
                hole: from.flag()?,
            },
            RESIZED => Self::Resized {
                stretch: from.u64()?,
                group: from.u64()?,
                size: from.u64()?,
            },
            PUBLISHED => {
                let segment = SegmentId::from_u64(from.u64()?);
                let (length, footer) = (from.u64()?, from.u32()?);
                let count = from.count(16)?;
                let parts = (0..count)
                    .map(|_| Ok((from.u64()?, from.u64()?)))
                    .collect::<Result<_>>()?;
                Self::Published(SegmentPublished {
                    segment,
                    length,
                    footer,
                    parts,
                })
            }
            BRANCH_MADE => Self::BranchMade(BranchMade {
                branch: from.u64()?,
                name: from.text()?.to_owned(),
                stretch: from.u64()?,
                parent: from.option()?,
                size: from.u64()?,
                created: from.u64()?,
                origin: Some(from.text()?)
                    .filter(|origin| !origin.is_empty())
                    .map(str::to_owned),
                ephemeral: from.flag()?,
            }),
            HEAD_MOVED => Self::HeadMoved {
                branch: from.u64()?,
                stretch: from.u64()?,
                parent: from.option()?,
                size: from.u64()?,
            },
            SNAPSHOT_MADE => Self::SnapshotMade {
                branch: from.u64()?,
                name: from.text()?.to_owned(),
                point: from.u64()?,
                created: from.u64()?,
            },
            BRANCH_DROPPED => Self::BranchDropped { branch: from.u64()? },
            SNAPSHOT_DROPPED => Self::SnapshotDropped {
                branch: from.u64()?,
                name: from.text()?.to_owned(),
            },
            RENAMED => Self::Renamed {
                branch: from.u64()?,
                name: from.text()?.to_owned(),
            },
            SEGMENT_REMOVED => Self::SegmentRemoved {
                segment: SegmentId::from_u64(from.u64()?),
            },
            ANNOUNCED => Self::Announced {
                manifest: from.u64()?,
            },
            CLOSED => Self::Closed,
            PROTECTED => Self::Protected {
                branch: from.u64()?,
                protected: from.flag()?,
            },
            unknown => return Err(from.invalid(&format!("record of unknown kind {unknown}"))),
        })
    }
}
