//! What many stand on is merged once, for all of them: also for those whose own root was saved before.
//!
//! The layers of a disk begin with those of the point that it stands on, tree by tree. Look-ups in vain that a disk paid for
//! its merge with thus pay for that of the point; and once that is merged, every disk whose layers began with the former
//! ones begins with what became of them, without a block being read or moved.
//!
//! Invariant: layers are exchanged for others that show the same: of a point alone, of which all was in its root before.

use std::collections::HashMap;
use std::sync::Arc;

use crate::buffer::StretchId;
use crate::index::layers::Layers;
use crate::index::tree::Tree;
use crate::store::durable::NewRoot;
use crate::store::stretch::{Deaths, Stretch, StretchState};

/// Layers by the newest of their trees.
struct ByTop<T> {
    known: HashMap<*const Tree, (Arc<Layers>, T)>,
}

impl<T> ByTop<T> {
    /// Adds layers. Of those that are alike the first stay: their stretch is the oldest, and merged before all that stand on it.
    fn insert(&mut self, layers: &Arc<Layers>, what: T) {
        if let Some(top) = layers.trees.last() {
            let known = self.known.entry(Arc::as_ptr(top));
            known.or_insert_with(|| (Arc::clone(layers), what));
        }
    }

    /// Finds the most layers that `of` begins with, other than itself, and how many they are.
    fn longest(&self, of: &Arc<Layers>) -> Option<(usize, &T)> {
        let begins_with = |layers: &Layers| {
            let both = layers.trees.iter().zip(&of.trees);
            layers.trees.len() <= of.trees.len()
                && both.into_iter().all(|(one, other)| Arc::ptr_eq(one, other))
        };
        (0..of.trees.len()).rev().find_map(|at| {
            let (layers, what) = self.known.get(&Arc::as_ptr(&of.trees[at]))?;
            (layers.trees.len() == at + 1 && !Arc::ptr_eq(layers, of) && begins_with(layers))
                .then_some((at + 1, what))
        })
    }
}

impl<T> Default for ByTop<T> {
    fn default() -> Self {
        Self {
            known: HashMap::new(),
        }
    }
}

/// Tells whether a root shows all of a point, so that it stays what it shows.
pub(super) fn is_settled(state: &StretchState) -> bool {
    state.is_point && state.is_published() && state.parts.is_empty()
}

/// Returns a root of other layers that show what the stretch's root shows.
pub(super) fn moved_root(stretch: &Arc<Stretch>, state: &StretchState, layers: Arc<Layers>) -> NewRoot {
    NewRoot {
        stretch: Arc::clone(stretch),
        covered: state.covered,
        layers,
        is_final: state.is_point && state.is_published(),
        written: state.written_at,
        alive: None,
        deaths: Deaths::default(),
    }
}

/// How many of the lower layers of stretches stay in the merges that look-ups in vain have paid for.
///
/// What a stretch paid for is done to the point that it stands on, if that has more than one of the layers in question.
/// Otherwise only the stretch's own runs are merged with each other, unless its look-ups have paid for all: who takes a run of
/// the point's into one of its own parts with the point for good, and would have the tree to merge alone.
#[derive(Default)]
pub(super) struct PaidMerges {
    keep: HashMap<StretchId, usize>,
}

impl PaidMerges {
    /// Finds them among all stretches; each by itself, if they are not to be shared.
    pub(super) fn of(stretches: &[Arc<Stretch>], are_shared: bool) -> Self {
        let mut due: Vec<(StretchId, Arc<Layers>, usize)> = Vec::new();
        let mut points = ByTop::default();
        for stretch in stretches {
            let state = stretch.state.lock();
            let Some(root) = state
                .root
                .as_ref()
                .filter(|root| !state.dropped && root.trees.len() > 1)
            else {
                continue;
            };
            if let Some(keep) = root.paid_merge() {
                due.push((stretch.id, Arc::clone(root), keep));
            }
            if are_shared && is_settled(&state) && !state.unmergeable {
                points.insert(root, stretch.id);
            }
        }
        let mut found = Self::default();
        for (payer, root, keep) in due {
            let below = points.longest(&root).filter(|(_, point)| **point != payer);
            let (merged, layers, keep) = match below {
                Some((shared, &point)) if shared > keep + 1 => (point, shared, keep),
                Some((shared, _)) if keep > 0 => (payer, root.trees.len(), keep.max(shared)),
                _ => (payer, root.trees.len(), keep),
            };
            if layers > keep + 1 {
                let least = found.keep.entry(merged).or_insert(keep);
                *least = keep.min(*least);
            }
        }
        found
    }

    /// Returns how many layers of a stretch stay in the merge that is paid for.
    pub(super) fn keep(&self, stretch: StretchId) -> Option<usize> {
        self.keep.get(&stretch).copied()
    }
}

/// Points that were merged, by the layers that they had.
#[derive(Default)]
pub(super) struct Merged {
    points: ByTop<Arc<Layers>>,
}

impl Merged {
    /// Takes note of what became of a point whose root showed all of it before.
    pub(super) fn note(&mut self, former: &Arc<Layers>, root: &NewRoot) {
        self.points.insert(former, Arc::clone(&root.layers));
    }

    /// Returns the layers of a stretch on what became of those that they began with.
    pub(super) fn rebased(&self, stretch: StretchId, layers: &Arc<Layers>) -> Option<Arc<Layers>> {
        let (shared, now) = self.points.longest(layers)?;
        let mut trees = now.trees.clone();
        trees.extend_from_slice(&layers.trees[shared..]);
        Some(Layers::new(stretch, trees))
    }
}

#[cfg(test)]
mod tests;
