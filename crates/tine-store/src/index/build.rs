//! Building trees from below: extents become leaves, leaves become inner nodes, and whole subtrees of an older tree
//! are taken over as they are.

use super::Nodes;
use super::extent::{Content, Extent};
use super::node::{NODE_HEADER_BYTES, NodeRef, encode_inner, encode_leaf, extent_bytes};
use super::tree::{Homes, TreeRecord};
use crate::bounds::Bounds;
use crate::codec::Encoder;
use crate::error::Result;

/// The largest extent is 1 KiB and a little: a half is not missed by more than half of it.
const MIDDLE_BYTES: usize = 600;

/// Where new nodes go; they can be read from it at once.
pub(crate) trait NodeStore: Nodes {
    /// Stores a node and returns where.
    fn put(&self, node: &[u8]) -> Result<NodeRef>;

    /// Returns how large nodes may get.
    fn bounds(&self) -> Bounds {
        Bounds::USUAL
    }
}

/// A tree that is being built, in the order of its blocks.
pub(crate) struct TreeBuilder<'a> {
    pub(super) store: &'a dyn NodeStore,
    leaf_bytes_max: usize,
    children_max: usize,
    /// Nothing lies below it, so that holes need no entry.
    bottom: bool,
    leaf: Vec<Extent>,
    leaf_bytes: usize,
    /// Nodes of each level that have no parent yet; leaves first.
    levels: Vec<Vec<(u64, NodeRef)>>,
    pub(super) homes: Homes,
    pub(super) extents: u64,
    pub(super) bytes: u64,
    start: Option<u64>,
    end: u64,
}

impl<'a> TreeBuilder<'a> {
    pub(crate) fn new(store: &'a dyn NodeStore, bottom: bool) -> Self {
        let Bounds {
            leaf_bytes, children, ..
        } = store.bounds();
        Self {
            store,
            leaf_bytes_max: leaf_bytes,
            children_max: children,
            bottom,
            leaf: Vec::new(),
            leaf_bytes: 0,
            levels: Vec::new(),
            homes: Homes::default(),
            extents: 0,
            bytes: 0,
            start: None,
            end: 0,
        }
    }

    /// Adds an extent behind all others.
    pub(crate) fn push(&mut self, extent: Extent) -> Result<()> {
        if self.bottom && extent.content == Content::Hole {
            return Ok(());
        }
        debug_assert!(extent.start >= self.end);
        self.start.get_or_insert(extent.start);
        self.end = extent.end();
        let extent = match self.leaf.last_mut() {
            Some(last) => {
                let before = extent_bytes(last);
                match last.append(extent) {
                    Ok(()) => {
                        self.leaf_bytes += extent_bytes(last) - before;
                        return Ok(());
                    }
                    Err(extent) => extent,
                }
            }
            None => extent,
        };
        self.leaf_bytes += extent_bytes(&extent);
        self.leaf.push(extent);
        self.extents += 1;
        if self.leaf_bytes > 2 * self.leaf_bytes_max {
            self.put_leaf(self.leaf_bytes_max)?;
        }
        Ok(())
    }

    /// Tells whether a node of an older tree can be taken over without leaving a nearly empty one before it.
    pub(super) fn can_adopt(&self, level: u8) -> bool {
        (self.leaf.is_empty() || self.leaf_bytes >= self.leaf_bytes_max / 4)
            && self
                .levels
                .iter()
                .take(usize::from(level))
                .all(|nodes| nodes.is_empty() || nodes.len() >= self.children_max / 4)
    }

    /// Takes over a node with everything under it, counted already. `end` is not before its last extent's end.
    pub(super) fn adopt(&mut self, level: u8, first: u64, at: NodeRef) -> Result<()> {
        self.flush_leaf()?;
        for level in 0..usize::from(level) {
            self.flush_level(level)?;
        }
        self.start.get_or_insert(first);
        self.add(usize::from(level), first, at)
    }

    fn put(&mut self, node: &[u8]) -> Result<NodeRef> {
        let at = self.store.put(node)?;
        self.homes.add(&at);
        self.bytes += u64::from(at.bytes);
        Ok(at)
    }

    /// Makes a leaf of the first extents, as many as fit into so many bytes.
    fn put_leaf(&mut self, bytes_max: usize) -> Result<()> {
        let mut bytes = 0;
        let fits = self.leaf.iter().take_while(|extent| {
            bytes += extent_bytes(extent);
            NODE_HEADER_BYTES + bytes <= bytes_max
        });
        let rest = self.leaf.split_off(fits.count().max(1).min(self.leaf.len()));
        let leaf = std::mem::replace(&mut self.leaf, rest);
        self.leaf_bytes = self.leaf.iter().map(extent_bytes).sum();
        let mut out = Encoder::default();
        encode_leaf(&leaf, &mut out);
        let at = self.put(&out.bytes)?;
        self.add(0, leaf[0].start, at)
    }

    /// Makes leaves of all that is left: two alike where one does not hold it, so that no crumb is left over that the
    /// next leaf would have to take in, and so on to the end of the tree.
    fn flush_leaf(&mut self) -> Result<()> {
        if NODE_HEADER_BYTES + self.leaf_bytes > self.leaf_bytes_max {
            self.put_leaf(self.leaf_bytes_max.min(self.leaf_bytes / 2 + MIDDLE_BYTES))?;
        }
        while !self.leaf.is_empty() {
            self.put_leaf(self.leaf_bytes_max)?;
        }
        Ok(())
    }

    fn add(&mut self, level: usize, first: u64, at: NodeRef) -> Result<()> {
        while self.levels.len() <= level {
            self.levels.push(Vec::new());
        }
        self.levels[level].push((first, at));
        if self.levels[level].len() > 2 * self.children_max {
            self.put_inner(level, self.children_max)?;
        }
        Ok(())
    }

    /// Makes an inner node of the first nodes of a level.
    fn put_inner(&mut self, level: usize, count: usize) -> Result<()> {
        let rest = self.levels[level].split_off(count);
        let nodes = std::mem::replace(&mut self.levels[level], rest);
        let mut out = Encoder::default();
        encode_inner(level as u8 + 1, &nodes, &mut out);
        let at = self.put(&out.bytes)?;
        self.add(level + 1, nodes[0].0, at)
    }

    /// Makes inner nodes of all that is left of a level; of two, alike ones.
    fn flush_level(&mut self, level: usize) -> Result<()> {
        let left = self.levels.get(level).map_or(0, Vec::len);
        if left > self.children_max {
            self.put_inner(level, left / 2)?;
        }
        match self.levels.get(level).map_or(0, Vec::len) {
            0 => Ok(()),
            left => self.put_inner(level, left),
        }
    }

    /// Finishes the tree; `None` if it has nothing. `end` bounds what was taken over from an older tree.
    pub(crate) fn finish(mut self, end: u64) -> Result<Option<TreeRecord>> {
        self.flush_leaf()?;
        let mut level = 0;
        while level < self.levels.len() {
            let is_top = self.levels[level + 1..].iter().all(Vec::is_empty);
            if let (true, [(_, root)]) = (is_top, self.levels[level].as_slice()) {
                return Ok(Some(TreeRecord {
                    root: *root,
                    level: level as u8,
                    span: self.start.unwrap_or(0)..self.end.max(end),
                    extents: self.extents,
                    bytes: self.bytes,
                    homes: self.homes.into_list(),
                }));
            }
            self.flush_level(level)?;
            level += 1;
        }
        Ok(None)
    }
}
