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

#[cfg(test)]
mod tests {
    //! Goal: of what two disks share in memory a diff looks at nothing but the nodes on the way to what differs.
    //! Method: how often two entries are compared is counted, with a small buffer and with one four times as large.

    use std::cell::Cell;

    use super::*;
    use crate::medium::simulated::{Chooser, SimulatedMedium, SimulatedOptions};
    use crate::{BranchName, CreateOptions, OpenOptions, Store, Target, UpkeepMode};

    const BLOCK: u64 = 4096;
    const CHANGED: u64 = 10;

    /// Returns how many entries are compared of a disk of so many blocks, all in memory, and a fork with ten others.
    fn compared(blocks: u64) -> u64 {
        let medium = SimulatedMedium::new(SimulatedOptions::default(), Chooser::seeded(1));
        let create = CreateOptions {
            // Nothing is saved for want of room in the journal.
            journal_file_bytes: 16 << 20,
            ..CreateOptions::default()
        };
        let options = OpenOptions {
            upkeep: UpkeepMode::Inline,
            ..OpenOptions::default()
        };
        let store = Store::create_on(medium.start(), &create, options).expect("a store");
        let [golden, web] = ["golden", "web"].map(|name| name.parse::<BranchName>().expect("a name"));
        let branch = store.create_branch(&golden, blocks * BLOCK).expect("a branch");
        for block in 0..blocks {
            let bytes = [block as u8 | 1; BLOCK as usize];
            branch.write_at(&bytes, block * BLOCK).expect("written");
            // More at once would go to a segment.
            if block % 100 == 0 {
                branch.flush().expect("flushed");
            }
        }
        store.fork(&Target::Branch(golden.clone()), &web).expect("a fork");
        let fork = store.branch(&web).expect("the fork");
        let changed_blocks: Vec<u64> = (0..CHANGED)
            .map(|at| (2 * at + 1) * blocks / (2 * CHANGED))
            .collect();
        for block in &changed_blocks {
            fork.write_at(&[0; 1], block * BLOCK).expect("written");
        }
        let stats = store.stats().expect("statistics");
        assert!(stats.buffer.bytes >= blocks * BLOCK, "{:?}", stats.buffer);
        let [a, b] = [golden, web].map(|name| store.state(&Target::Branch(name)).expect("a state"));
        let found = changed(a.index(), &a.view, &b.view, &(0..blocks)).expect("a comparison");
        let found: Vec<u64> = found.flat_map(|range| range.expect("a range")).collect();
        assert_eq!(found, changed_blocks);
        let looks = Cell::new(0);
        let same = |x: &Entry, y: &Entry| {
            looks.set(looks.get() + 1);
            x.same(y)
        };
        assert_eq!(
            a.view.overlay.diff_by(&b.view.overlay, same).count() as u64,
            CHANGED
        );
        looks.get()
    }

    #[test]
    fn entries_that_both_share_are_not_compared() {
        let (small, large) = (compared(1000), compared(4000));
        println!("{small} and {large} entries were compared");
        assert!(small >= CHANGED, "{small}: what differs has to be looked at");
        // No more than the leaves of what differs have, however many others there are.
        assert!(
            large <= small + 64 * CHANGED && large < 1000,
            "{large} after {small}"
        );
    }
}
