//! Writing index segments: nodes of many trees, one behind the other.
//!
//! Order: nodes are synced, then their directory, before a manifest names them. What is written can be read at once:
//! from memory until its segment is whole, then from the medium. What is not finished is abandoned.
//!
//! Who writes many nodes lets others go on in between (`relief.rs`).

use std::cell::{Cell, RefCell};
use std::io::IoSlice;
use std::sync::Arc;
use std::time::Instant;

use crate::bounds::Bounds;
use crate::checksum::crc32c;
use crate::error::{Result, StoreError};
use crate::index::Nodes;
use crate::index::build::NodeStore;
use crate::index::node::{Child, Node, NodeRef};
use crate::medium::{Area, ObjectName, ObjectWriter, Writing};
use crate::planted::{Bug, planted};
use crate::segment::SegmentId;
use crate::segment::format::{SEGMENT_HEADER_BYTES, SegmentKind, Trailer, encode_header, encode_trailer};
use crate::store::Engine;
use crate::store::upkeep::Upkeep;

/// An index segment gets no further node when it has this many bytes; so much lies in memory while it is written.
const INDEX_SEGMENT_BYTES: usize = 16 << 20;

const APPEND_BYTES: usize = 1 << 20;

/// Of the nodes that one writes, the first that take no more than this part of the cache go to it at once: what was just
/// written is often read next, and a merge of more than the cache can have leaves it as it is.
const CACHE_PER_KEPT: u64 = 2;

/// A segment that is being written.
struct Open {
    id: SegmentId,
    object: Box<dyn ObjectWriter>,
    /// All nodes so far.
    nodes: Vec<u8>,
    /// So many bytes of them are with the medium.
    appended: usize,
}

/// See the module.
pub(crate) struct IndexWriter<'a> {
    engine: &'a Engine,
    open: RefCell<Option<Open>>,
    /// All segments that were begun.
    begun: RefCell<Vec<SegmentId>>,
    /// For what others wait for; absent when they could not be helped.
    upkeep: RefCell<Option<&'a mut Upkeep>>,
    /// Until when they wait all the same: the merge gets half of the time.
    works_until: Cell<Instant>,
    /// Something could not be written.
    failed: Cell<bool>,
    /// The cache may get so many bytes more of what is written.
    keeps: Cell<u64>,
}

impl<'a> IndexWriter<'a> {
    pub(crate) fn new(engine: &'a Engine, upkeep: &'a mut Upkeep) -> Self {
        Self {
            engine,
            open: RefCell::default(),
            begun: RefCell::default(),
            upkeep: RefCell::new(Some(upkeep)),
            works_until: Cell::new(Instant::now()),
            failed: Cell::new(false),
            keeps: Cell::new(engine.index.cache_bytes() / CACHE_PER_KEPT),
        }
    }

    /// Tells whether something could not be written: then no more can be, and nothing of it finished.
    pub(crate) fn has_failed(&self) -> bool {
        self.failed.get()
    }

    fn write(&self, node: &[u8]) -> Result<NodeRef> {
        let mut open = match self.open.take() {
            Some(open) => open,
            None => self.begin()?,
        };
        let at = NodeRef {
            segment: open.id,
            offset: SEGMENT_HEADER_BYTES + open.nodes.len() as u64,
            bytes: node.len() as u32,
            checksum: crc32c(node),
        };
        open.nodes.extend_from_slice(node);
        if open.nodes.len() - open.appended >= APPEND_BYTES {
            self.append(&mut open)?;
        }
        if open.nodes.len() >= INDEX_SEGMENT_BYTES {
            self.seal(open)?;
        } else {
            *self.open.borrow_mut() = Some(open);
        }
        Ok(at)
    }

    /// Lets those go on who wait for a drain.
    fn give_way(&self) {
        let mut upkeep = self.upkeep.borrow_mut();
        let Some(right) = &mut *upkeep else {
            return;
        };
        if !self.engine.is_drain_due() {
            return;
        }
        let begun = Instant::now();
        if begun < self.works_until.get() {
            return;
        }
        let drained = self.engine.give_way(right);
        self.works_until.set(Instant::now() + begun.elapsed());
        if drained.is_err() {
            // They meet it again, and report it, when this is over.
            *upkeep = None;
        }
    }

    fn begin(&self) -> Result<Open> {
        let id = self.engine.new_segment_id();
        let name = ObjectName::Segment(id);
        let room = self.engine.space.use_for_index(SEGMENT_HEADER_BYTES)?;
        let object = self
            .engine
            .medium
            .create_object(name, Writing::Cached)
            .map_err(|e| StoreError::io(name, "make", e))?;
        self.begun.borrow_mut().push(id);
        let mut open = Open {
            id,
            object,
            nodes: Vec::new(),
            appended: 0,
        };
        self.engine.append(
            &mut *open.object,
            name,
            &[IoSlice::new(&encode_header(id, SegmentKind::Index))],
        )?;
        room.written();
        // In the table from now on, so that trees with nodes in it can say so; upkeep alone takes segments out. Who checks
        // the store finds its header there.
        let segments = &self.engine.segments;
        segments.add(segments.handle(id), SegmentKind::Index, 0);
        Ok(open)
    }

    /// Gives the medium what it has not got yet.
    fn append(&self, open: &mut Open) -> Result<()> {
        let rest = &open.nodes[open.appended..];
        let room = self.engine.space.use_for_index(rest.len() as u64)?;
        self.engine.append(
            &mut *open.object,
            ObjectName::Segment(open.id),
            &[IoSlice::new(rest)],
        )?;
        room.written();
        open.appended = open.nodes.len();
        Ok(())
    }

    fn seal(&self, mut open: Open) -> Result<()> {
        self.append(&mut open)?;
        let name = ObjectName::Segment(open.id);
        let trailer = Trailer {
            footer_offset: SEGMENT_HEADER_BYTES + open.nodes.len() as u64,
            footer_bytes: 0,
            footer_checksum: crc32c(&[]),
        };
        let trailer = encode_trailer(&trailer);
        self.engine
            .append(&mut *open.object, name, &[IoSlice::new(&trailer)])?;
        if !planted(Bug::RootUnsynced) {
            open.object.sync().map_err(|e| StoreError::io(name, "sync", e))?;
        }
        let bytes = SEGMENT_HEADER_BYTES + (open.nodes.len() + trailer.len()) as u64;
        self.engine.segments.set_bytes(open.id, bytes);
        Ok(())
    }

    /// Stores a set of written blocks, which lies where nodes do, and returns where.
    pub(crate) fn put_set(&self, set: &[u8]) -> Result<NodeRef> {
        let at = self.write(set);
        self.failed.set(self.failed.get() || at.is_err());
        self.give_way();
        at
    }

    /// Makes everything that was put durable.
    pub(crate) fn finish(self) -> Result<()> {
        if let Some(open) = self.open.take() {
            self.seal(open)?;
        }
        if !self.begun.borrow().is_empty() && !planted(Bug::NoDirectorySync) {
            self.engine
                .medium
                .sync_area(Area::Segment)
                .map_err(|e| StoreError::io("segments/", "sync", e))?;
        }
        // They are the store's now.
        self.begun.borrow_mut().clear();
        Ok(())
    }
}

impl Drop for IndexWriter<'_> {
    fn drop(&mut self) {
        self.open.take();
        self.engine.space.end_index(self.begun.borrow().is_empty());
        for id in self.begun.take() {
            self.engine.segments.forget(id);
            self.engine.abandon(ObjectName::Segment(id));
        }
    }
}

impl Nodes for IndexWriter<'_> {
    fn load(&self, child: &Child, level: u8) -> Result<Arc<Node>> {
        if let Some(open) = &*self.open.borrow()
            && open.id == child.at.segment
        {
            let start = (child.at.offset - SEGMENT_HEADER_BYTES) as usize;
            let bytes = &open.nodes[start..start + child.at.bytes as usize];
            return Ok(Arc::new(Node::decode(bytes, &self.engine.segments)?));
        }
        self.engine.index.load(child, level)
    }
}

impl NodeStore for IndexWriter<'_> {
    fn bounds(&self) -> Bounds {
        self.engine.bounds
    }

    fn put(&self, node: &[u8]) -> Result<NodeRef> {
        let at = self.put_set(node)?;
        if self.keeps.get() > 0 {
            let kept = self.engine.index.keep(&at, node)?;
            self.keeps.set(self.keeps.get().saturating_sub(kept));
        }
        Ok(at)
    }
}
