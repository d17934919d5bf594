//! Where two views can differ, found by skipping what they share: nodes of overlays, layers, nodes of trees.
//!
//! Invariant: a block outside the ranges is the same in both, though one in them need not differ.

use std::iter::Peekable;
use std::ops::Range;
use std::sync::Arc;

use crate::error::Result;
use crate::index::Nodes;
use crate::index::tree::Tree;
use crate::index::unshared::{ranges, unshared};
use crate::overlay::Entry;
use crate::store::view::View;

type Ranges<'a> = Box<dyn Iterator<Item = Result<Range<u64>>> + 'a>;

/// Ranges, in order, none touching the next.
pub(crate) struct Changed<'a> {
    sources: Vec<Peekable<Ranges<'a>>>,
}

/// Compares some blocks of two views; ranges may reach over the ends. O(inner nodes that differ there) before the first
/// range.
pub(crate) fn changed<'a>(
    nodes: &'a dyn Nodes,
    left: &'a View,
    right: &'a View,
    blocks: &Range<u64>,
) -> Result<Changed<'a>> {
    let mut sources: Vec<Ranges<'a>> = Vec::new();
    let mut overlays = left.overlay.diff_by(&right.overlay, Entry::same);
    overlays.skip_before(blocks.start);
    sources.push(Box::new(overlays.map(|(range, ..)| Ok(range))));
    let (x, y) = (&left.base.trees, &right.base.trees);
    let shared = x.iter().zip(y).take_while(|(a, b)| same(a, b)).count();
    // The first that differ may be versions of one tree; what lies above them is compared as a whole.
    let versions = unshared(
        nodes,
        x.get(shared).map(Arc::as_ref),
        y.get(shared).map(Arc::as_ref),
        blocks,
    )?;
    sources.push(Box::new(ranges(nodes, versions.left)));
    sources.push(Box::new(ranges(nodes, versions.right)));
    for tree in x.iter().skip(shared + 1).chain(y.iter().skip(shared + 1)) {
        let leaves = unshared(nodes, Some(tree), None, blocks)?.left;
        sources.push(Box::new(ranges(nodes, leaves)));
    }
    Ok(Changed {
        sources: sources.into_iter().map(Iterator::peekable).collect(),
    })
}

fn same(a: &Arc<Tree>, b: &Arc<Tree>) -> bool {
    a.record.root == b.record.root
}

impl Iterator for Changed<'_> {
    type Item = Result<Range<u64>>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut whole: Option<Range<u64>> = None;
        loop {
            let mut first: Option<(u64, usize)> = None;
            for (at, source) in self.sources.iter_mut().enumerate() {
                match source.peek() {
                    Some(Ok(range)) if first.is_none_or(|(start, _)| range.start < start) => {
                        first = Some((range.start, at));
                    }
                    Some(Err(error)) => {
                        let error = error.clone();
                        self.sources.clear();
                        return Some(Err(error));
                    }
                    _ => {}
                }
            }
            let next = first.and_then(|(_, at)| {
                self.sources[at].next_if(|range| {
                    let touches =
                        |range: &Range<u64>| whole.as_ref().is_none_or(|whole| range.start <= whole.end);
                    range.as_ref().is_ok_and(touches)
                })
            });
            match next {
                Some(Ok(range)) => {
                    let end = whole.as_ref().map_or(range.end, |whole| whole.end.max(range.end));
                    whole = Some(whole.map_or(range.start, |whole| whole.start)..end);
                }
                _ => return whole.map(Ok),
            }
        }
    }
}
