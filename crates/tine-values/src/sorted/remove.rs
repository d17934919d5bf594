//! Taking an entry out of a tree, and making good what has become too small.

use super::edit::NodeMut;
use super::node::{Node, View};
use super::path::Place;

/// Takes out the entry at `place`. If cloning what is shared panics, it is still there, or it is gone and some node is
/// smaller than it should be, which does no harm.
///
/// # Panics
///
/// If there is none.
pub(super) fn remove_at<K: Clone, V: Clone>(root: &mut Option<Node<K, V>>, place: &Place) -> (K, V) {
    let node = root.as_mut().expect("a place where an entry is");
    let mut leaf = place.path.leaf_mut(node);
    let entry = leaf.remove(place.index);
    let is_underfull = leaf.len() < Node::<K, V>::LEAF_MIN;
    place.path.for_each_inner(node, |inner| inner.add_entries(-1));
    if is_underfull {
        mend(node, place);
        settle(root);
    }
    entry
}

/// Makes good that the leaf of `place` has too little, and what that leaves to do further up.
#[cold]
fn mend<K: Clone, V: Clone>(root: &mut Node<K, V>, place: &Place) {
    for level in 1..=root.level() {
        let mut inner = place.path.inner_mut(root, level);
        inner.mend(place.path.slot(level));
        if inner.len() >= Node::<K, V>::INNER_MIN {
            return;
        }
    }
}

/// Takes away a root that tells nothing: one above a single node, or one without entries.
pub(super) fn settle<K: Clone, V: Clone>(root: &mut Option<Node<K, V>>) {
    while let Some(node) = root {
        match node.view() {
            View::Leaf(leaf) if leaf.keys.is_empty() => *root = None,
            View::Inner(inner) if inner.children.len() == 1 => {
                let NodeMut::Inner(mut inner) = node.make_unique() else {
                    unreachable!("just seen");
                };
                *node = inner.remove_first().0;
            }
            _ => return,
        }
    }
}
