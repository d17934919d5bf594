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
    fn insert(&mut self, layers: &Arc<Layers>, what: T) {
        if let Some(top) = layers.trees.last() {
            self.known.insert(Arc::as_ptr(top), (Arc::clone(layers), what));
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
        deaths: Deaths::default(),
    }
}

/// How many of the lower layers of some points stay in a merge that those who stand on them paid for.
#[derive(Default)]
pub(super) struct PaidByOthers {
    keep: HashMap<StretchId, usize>,
    /// Whose merge is done there.
    payers: HashMap<StretchId, StretchId>,
}

impl PaidByOthers {
    /// Finds them among all stretches.
    pub(super) fn of(stretches: &[Arc<Stretch>]) -> Self {
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
            if is_settled(&state) && !state.unmergeable {
                points.insert(root, stretch.id);
            }
        }
        let mut found = Self::default();
        for (payer, layers, keep) in due {
            // Of what would be merged, so much is the point's: it has to be more than one tree.
            if let Some((layers, &point)) = points.longest(&layers)
                && layers > keep + 1
                && point != payer
            {
                let kept = found.keep.entry(point).or_insert(keep);
                *kept = keep.min(*kept);
                found.payers.insert(payer, point);
            }
        }
        found
    }

    /// Returns how many layers of a stretch stay if others paid for its merge.
    pub(super) fn keep(&self, stretch: StretchId) -> Option<usize> {
        self.keep.get(&stretch).copied()
    }

    /// Tells whether what a stretch paid for is done to the point that it stands on.
    pub(super) fn is_payer(&self, stretch: StretchId) -> bool {
        self.payers.contains_key(&stretch)
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
