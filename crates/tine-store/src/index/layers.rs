//! Layers: the trees that together are a disk's index, and when they are merged.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use super::Nodes;
use super::leaf::Piece;
use super::tree::Tree;
use crate::bounds::Bounds;
use crate::buffer::StretchId;
use crate::error::{Result, StoreError};
use crate::planted::{Bug, planted};
use crate::segment::SegmentId;

/// A full disk may add runs without merging them, up to here.
pub(crate) const LAYERS_MAX: usize = 64;

/// Runs beside the tree at the most: a read looks into each of them.
const RUNS_MAX: usize = 4;

/// With the tree.
pub(crate) const LAYERS_SOFT: usize = RUNS_MAX + 1;

/// So many look-ups in vain pay for a merge of runs, for each extent that it would have to move: one takes about as long
/// as the other.
const LOOKS_PER_EXTENT_OF_RUNS: u64 = 1;

/// So many pay for a merge into the tree: what others share of that takes space once more when it is written anew.
const LOOKS_PER_EXTENT_OF_ALL: u64 = 4;

/// After so many it is asked whether they do.
const LOOKS_BETWEEN: u64 = 4096;

/// Told what is known of some blocks; says whether to go on.
pub(crate) type OnPiece<'a> = dyn FnMut(Range<u64>, Option<Piece<'_>>) -> Result<bool> + 'a;

/// The index of a disk as of one group of one stretch; shared by all that descend from there.
pub(crate) struct Layers {
    /// The stretch whose root it is: merging is done once, there.
    pub(crate) owner: StretchId,
    /// Oldest first.
    pub(crate) trees: Vec<Arc<Tree>>,
    /// Descents from the root of a tree beyond the first of each look-up: what a merge would have spared.
    looks: AtomicU64,
    /// How many layers stay in the merge that upkeep was told of last: once of each, since a root that only an old view still
    /// reads is never merged, and what stands on a point may have to wait for one that keeps less.
    told: AtomicUsize,
}

/// Upkeep was told of no merge.
const UNTOLD: usize = usize::MAX;

impl Layers {
    pub(crate) fn new(owner: StretchId, trees: Vec<Arc<Tree>>) -> Arc<Self> {
        Arc::new(Self {
            owner,
            trees,
            looks: AtomicU64::new(0),
            told: AtomicUsize::new(UNTOLD),
        })
    }

    /// The next layers of the same disk. Look-ups in vain go on to pay for a merge, but for those that have paid for this
    /// one, of all but the lowest `paid`.
    pub(crate) fn next(&self, owner: StretchId, trees: Vec<Arc<Tree>>, paid: Option<usize>) -> Arc<Self> {
        let next = Self::new(owner, trees);
        if next.trees.len() > 1 {
            let looks = self.looks.load(Ordering::Relaxed);
            let spent = paid.map_or(0, |keep| price(keep, self.extents().skip(keep).sum()));
            next.looks.store(looks.saturating_sub(spent), Ordering::Relaxed);
            if paid.is_none() {
                next.told
                    .store(self.told.load(Ordering::Relaxed), Ordering::Relaxed);
            }
        }
        next
    }

    /// The index of a disk to which nothing was ever written.
    pub(crate) fn empty() -> Arc<Self> {
        Self::new(0, Vec::new())
    }

    /// Calls `each` with all of a range, in order: what the newest layer that knows a block says of it, or nothing
    /// where none does, until `each` says no. Returns whether it never did.
    pub(crate) fn resolve(
        &self,
        nodes: &dyn Nodes,
        blocks: Range<u64>,
        each: &mut OnPiece<'_>,
    ) -> Result<bool> {
        let mut descents = 0;
        let went_on = resolve(nodes, &self.trees, blocks, each, &mut descents)?;
        if descents > 1 {
            let looks = descents - 1;
            let before = self.looks.fetch_add(looks, Ordering::Relaxed);
            // Now and then, since adding up costs something too.
            if before / LOOKS_BETWEEN != (before + looks) / LOOKS_BETWEEN
                && let Some(keep) = self.paid_merge()
                && keep < self.told.fetch_min(keep, Ordering::Relaxed)
            {
                nodes.note_due();
            }
        }
        Ok(went_on)
    }

    /// Returns the segments of its nodes, some more than once.
    pub(crate) fn segments(&self) -> impl Iterator<Item = SegmentId> {
        self.trees
            .iter()
            .flat_map(|tree| tree.record.homes.iter().map(|(segment, _)| *segment))
    }

    /// Returns how many of the lower layers stay in the merge that look-ups in vain have paid for, if they have for one.
    pub(crate) fn paid_merge(&self) -> Option<usize> {
        let extents: Vec<u64> = self.extents().collect();
        paid_merge(&extents, self.looks.load(Ordering::Relaxed))
    }

    fn extents(&self) -> impl Iterator<Item = u64> {
        self.trees.iter().map(|tree| tree.record.extents)
    }
}

/// How many look-ups in vain pay for a merge of all but the lowest `keep` layers, which moves so many extents.
fn price(keep: usize, moved: u64) -> u64 {
    let each = if keep == 0 {
        LOOKS_PER_EXTENT_OF_ALL
    } else {
        LOOKS_PER_EXTENT_OF_RUNS
    };
    each * moved.max(1024)
}

/// Merging all spares every look-up in vain; merging the runs with each other spares all but one of each read's, and
/// moves only what they have: it is paid for long before.
fn paid_merge(extents: &[u64], looks: u64) -> Option<usize> {
    let (tree, runs) = extents.split_first().filter(|(_, runs)| !runs.is_empty())?;
    let moved: u64 = runs.iter().sum();
    let beside = runs.len() as u64;
    if looks > price(0, tree + moved) {
        Some(0)
    } else if looks / beside * (beside - 1) > price(1, moved) {
        Some(1)
    } else {
        None
    }
}

fn resolve(
    nodes: &dyn Nodes,
    trees: &[Arc<Tree>],
    blocks: Range<u64>,
    each: &mut OnPiece<'_>,
    descents: &mut u64,
) -> Result<bool> {
    let split = if planted(Bug::RunsInWrongOrder) {
        trees.split_first()
    } else {
        trees.split_last()
    };
    let Some((newest, older)) = split else {
        return each(blocks, None);
    };
    *descents += u64::from(newest.reaches(&blocks));
    let mut at = blocks.start;
    let go_on = newest.scan(nodes, blocks.clone(), &mut |piece| {
        if piece.start < at {
            return Err(StoreError::damaged(format!(
                "segments/{}: a leaf of the tree at {} reaches into another",
                newest.record.root.segment, newest.record.root.offset
            )));
        }
        if at < piece.start && !resolve(nodes, older, at..piece.start, each, descents)? {
            return Ok(false);
        }
        at = piece.end;
        each(piece.start..piece.end, Some(piece))
    })?;
    if go_on && at < blocks.end {
        return resolve(nodes, older, at..blocks.end, each, descents);
    }
    Ok(go_on)
}

/// Decides how many of the lower layers stay as they are when a run of about `run_bytes` is added; it and those above
/// merge into one.
///
/// Runs that are alike in size merge, so that their number is bounded and each extent moves seldom; the tree takes
/// them when what its leaves would cost anew is not much more than they are themselves.
pub(crate) fn layers_kept(trees: &[Arc<Tree>], run_bytes: u64) -> usize {
    let sizes: Vec<u64> = trees.iter().map(|tree| tree.record.bytes).collect();
    let extents: Vec<u64> = trees.iter().map(|tree| tree.record.extents).collect();
    kept(&sizes, &extents, run_bytes)
}

fn kept(sizes: &[u64], extents: &[u64], run_bytes: u64) -> usize {
    if sizes.is_empty() {
        return 0;
    }
    let mut keep = sizes.len();
    let mut above = run_bytes;
    while keep > 1 && sizes[keep - 1] <= 2 * above {
        keep -= 1;
        above += sizes[keep];
    }
    if keep > RUNS_MAX {
        // One too many: the merge that moves the least for what it saves.
        let mut best = (u64::MAX, keep - 1);
        let mut sum = above;
        for at in (1..keep).rev() {
            let cost = sizes[at] * 16 / sum.max(1);
            if cost < best.0 {
                best = (cost, at);
            }
            sum += sizes[at];
        }
        above += sizes[best.1..keep].iter().sum::<u64>();
        keep = best.1;
    }
    let all: u64 = sizes[1..].iter().sum::<u64>() + run_bytes;
    let moved: u64 = extents[keep..].iter().sum::<u64>() + run_bytes / 40;
    let leaves = sizes[0].min(moved * Bounds::USUAL.leaf_bytes as u64);
    if (keep == 1 && leaves <= 4 * above) || sizes[0] <= 4 * all {
        return 0;
    }
    keep
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Adds runs one by one as checkpoints do; returns the most layers there were and the bytes moved.
    fn add(mut sizes: Vec<u64>, runs: impl Iterator<Item = u64>) -> (usize, u64) {
        let (mut most, mut moved) = (0, 0);
        for run in runs {
            let extents: Vec<u64> = sizes.iter().map(|bytes| bytes / 40).collect();
            let keep = kept(&sizes, &extents, run);
            let merged = sizes.drain(keep..).sum::<u64>() + run;
            moved += merged;
            sizes.push(merged);
            most = most.max(sizes.len());
        }
        (most, moved)
    }

    #[test]
    fn a_long_line_of_small_runs_has_few_layers_and_moves_each_extent_seldom() {
        let (most, moved) = add(vec![4 << 20], std::iter::repeat_n(45, 10_000));
        assert!(most <= 1 + RUNS_MAX, "{most} layers");
        // About 45 bytes a run are written anyway.
        assert!(moved / 10_000 < 45 * 50, "{} bytes a run", moved / 10_000);
    }

    #[test]
    fn look_ups_pay_for_the_runs_first_and_for_the_tree_last() {
        let disk = [1_000_000, 10_000, 1000];
        assert_eq!(paid_merge(&disk, 0), None);
        let runs = (0..).find(|looks| paid_merge(&disk, *looks).is_some()).unwrap();
        assert_eq!(paid_merge(&disk, runs), Some(1));
        // Half of what is looked for in vain would be left.
        assert!(runs / 2 >= LOOKS_PER_EXTENT_OF_RUNS * 11_000, "after {runs}");
        let all = LOOKS_PER_EXTENT_OF_ALL * 1_011_000;
        assert_eq!(paid_merge(&disk, all), Some(1));
        assert_eq!(paid_merge(&disk, all + 1), Some(0));
    }

    #[test]
    fn no_look_ups_pay_for_a_merge_that_spares_none() {
        assert_eq!(paid_merge(&[], u64::MAX), None);
        assert_eq!(paid_merge(&[1_000_000], u64::MAX), None);
        // One run beside the tree: there is nothing to merge it with but that.
        assert_eq!(paid_merge(&[1_000_000, 10], 1_000_000), None);
        assert_eq!(paid_merge(&[1_000_000, 10], u64::MAX), Some(0));
    }

    #[test]
    fn a_small_run_on_a_large_tree_stays_beside_it() {
        assert_eq!(kept(&[4 << 20], &[4096], 400_000), 1);
        assert_eq!(kept(&[4 << 20], &[4096], 3 << 20), 0);
    }
}
