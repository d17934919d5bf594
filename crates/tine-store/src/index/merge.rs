//! Merging: newer extents over older trees.
//!
//! Merging into a tree copies on write: a node under which nothing changed is taken over as it is, with all below it,
//! so the cost is that of the leaves that changed and their parents. What a merge hides for good is told to the
//! caller: its death.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::build::{NodeStore, TreeBuilder};
use super::extent::Extent;
use super::node::{Child, NodeKind};
use super::tree::{Homes, Tree, TreeRecord};
use crate::error::Result;
use crate::planted::{Bug, planted};
use crate::segment::SegmentId;

/// A tree's nodes lie in no more segments than this; what lies in the emptiest of them is copied otherwise.
const HOMES_MAX: usize = 64;

/// Told of every extent that is hidden by a newer one and that the result does not have any more.
pub(crate) type OnHidden<'a> = &'a dyn Fn(&Extent);

/// Extents in order, of which the next can be looked at and cut.
pub(crate) struct Stream<'a> {
    rest: Box<dyn Iterator<Item = Result<Extent>> + 'a>,
    next: Option<Extent>,
}

impl<'a> Stream<'a> {
    pub(crate) fn new(rest: impl Iterator<Item = Result<Extent>> + 'a) -> Self {
        Self {
            rest: Box::new(rest),
            next: None,
        }
    }

    fn peek(&mut self) -> Result<Option<&mut Extent>> {
        if self.next.is_none() {
            self.next = self.rest.next().transpose()?;
        }
        Ok(self.next.as_mut())
    }

    fn take(&mut self) -> Result<Option<Extent>> {
        match self.next.take() {
            Some(next) => Ok(Some(next)),
            None => self.rest.next().transpose(),
        }
    }

    /// Takes the next extent, or the part of it before `bound`.
    fn take_before(&mut self, bound: u64) -> Result<Option<Extent>> {
        match self.peek()? {
            Some(next) if next.start >= bound => Ok(None),
            Some(next) if next.end() > bound => Ok(Some(next.cut_front(bound))),
            _ => self.take(),
        }
    }
}

/// Returns the next extent of two streams laid over each other, before `bound`.
fn overlaid(
    newer: &mut Stream<'_>,
    older: &mut Stream<'_>,
    bound: u64,
    on_hidden: OnHidden<'_>,
) -> Result<Option<Extent>> {
    loop {
        let Some(new) = newer.peek()?.filter(|new| new.start < bound) else {
            return older.take();
        };
        let (new_start, new_end) = (new.start, new.end());
        let Some(old) = older.peek()? else {
            return newer.take_before(bound);
        };
        if old.start >= new_end {
            return newer.take_before(bound);
        }
        if old.end() <= new_start {
            return older.take();
        }
        if old.start < new_start {
            return Ok(Some(old.cut_front(new_start)));
        }
        // It begins inside the newer one: so much of it is hidden.
        let hidden = if old.end() > new_end {
            Some(old.cut_front(new_end))
        } else {
            older.take()?
        };
        if let Some(hidden) = hidden {
            on_hidden(&hidden);
        }
    }
}

/// Lays newer extents over older ones.
pub(crate) fn overlay<'a>(
    mut newer: Stream<'a>,
    mut older: Stream<'a>,
    on_hidden: OnHidden<'a>,
) -> Stream<'a> {
    Stream::new(std::iter::from_fn(move || {
        overlaid(&mut newer, &mut older, u64::MAX, on_hidden).transpose()
    }))
}

/// Builds a tree of newer extents over an older tree. `None` if nothing is left.
///
/// `bottom` says that nothing lies below the result, so that holes vanish.
pub(crate) fn merge(
    store: &dyn NodeStore,
    older: Option<&Tree>,
    mut newer: Stream<'_>,
    bottom: bool,
    on_hidden: OnHidden<'_>,
) -> Result<Option<TreeRecord>> {
    let mut builder = TreeBuilder::new(store, bottom);
    let mut end = 0;
    if let Some(older) = older {
        builder.homes = Homes::of(&older.record);
        builder.extents = older.record.extents;
        builder.bytes = older.record.bytes;
        end = older.record.span.end;
        let mut merger = Merger {
            builder,
            left_homes: left_homes(&older.record),
            on_hidden,
        };
        merger.node(&older.root, older.record.level, u64::MAX, &mut newer)?;
        builder = merger.builder;
    }
    while let Some(extent) = newer.take()? {
        builder.push(extent)?;
    }
    builder.finish(end)
}

/// Returns the segments that the next version of a tree shall have no nodes in.
fn left_homes(record: &TreeRecord) -> BTreeSet<SegmentId> {
    if record.homes.len() < HOMES_MAX {
        return BTreeSet::new();
    }
    let mut homes = record.homes.clone();
    homes.sort_by_key(|(_, bytes)| *bytes);
    homes.iter().take(HOMES_MAX / 2).map(|(id, _)| *id).collect()
}

struct Merger<'a> {
    builder: TreeBuilder<'a>,
    left_homes: BTreeSet<SegmentId>,
    on_hidden: OnHidden<'a>,
}

impl Merger<'_> {
    /// Merges what is before `bound` with a subtree whose extents all are.
    fn node(&mut self, child: &Child, level: u8, bound: u64, newer: &mut Stream<'_>) -> Result<()> {
        let unchanged = newer.peek()?.is_none_or(|next| next.start >= bound);
        // What an inner node has below it is not known without looking, so all of them are where nodes have to move.
        let stays = if self.left_homes.is_empty() {
            true
        } else {
            level == 0 && !self.left_homes.contains(&child.at.segment)
        };
        if unchanged && stays && self.builder.can_adopt(level) {
            return self.builder.adopt(level, child.first, child.at);
        }
        let node = self.builder.store.load(child, level)?;
        self.builder.homes.remove(&child.at);
        self.builder.bytes = self.builder.bytes.saturating_sub(u64::from(child.at.bytes));
        match node.kind() {
            NodeKind::Inner { level, children } => {
                for (at, child) in children.iter().enumerate() {
                    let bound = children.get(at + 1).map_or(bound, |next| next.first);
                    self.node(child, level - 1, bound, newer)?;
                }
            }
            NodeKind::Leaf(leaf) => {
                self.builder.extents = self.builder.extents.saturating_sub(leaf.len() as u64);
                let leaf_node = Arc::clone(&node);
                let lost = planted(Bug::MergeLosesExtent) && leaf.len() > 1;
                let extents = (usize::from(lost)..leaf.len()).map(move |at| match leaf_node.kind() {
                    NodeKind::Leaf(leaf) => Ok(leaf.piece(at).to_extent()),
                    NodeKind::Inner { .. } => unreachable!("it was a leaf"),
                });
                let mut older = Stream::new(extents);
                while let Some(extent) = overlaid(newer, &mut older, bound, self.on_hidden)? {
                    self.builder.push(extent)?;
                }
            }
        }
        Ok(())
    }
}
