//! Putting an entry into a tree, and cutting what is full.
//!
//! What may panic comes first: the path is made the tree's own, and a separator is cloned if the leaf will be cut. From
//! there on nothing calls the caller's code.

use core::mem;

use super::edit::NodeMut;
use super::join::Tree;
use super::node::Node;
use super::path::Place;

/// Puts an entry at `place`, which is where [`find`](super::path::find) has not found its key, and anywhere in an empty
/// tree. Returns where it is then. If it panics, nothing has changed.
#[inline]
pub(super) fn insert_at<K: Clone, V: Clone>(tree: &mut Tree<K, V>, place: Place, key: K, value: V) -> Place {
    let root = tree.get_or_insert_with(|| Node::leaf_with_room(1));
    let mut leaf = place.path.leaf_mut(root);
    if leaf.is_full() {
        return insert_into_full(root, place, key, value);
    }
    leaf.insert(place.index, key, value);
    place.path.for_each_inner(root, |inner| inner.add_entries(1));
    place
}

#[cold]
#[inline(never)]
fn insert_into_full<K: Clone, V: Clone>(root: &mut Node<K, V>, mut place: Place, key: K, value: V) -> Place {
    let mut leaf = place.path.leaf_mut(root);
    let cut = cut_for(place.index, leaf.len());
    let separator = leaf.key(cut).clone();
    let mut right = leaf.split_off(cut);
    let mut is_right = place.index > cut;
    match right.unique() {
        Some(NodeMut::Leaf(mut right)) if is_right => {
            place.index -= cut;
            right.insert(place.index, key, value);
        }
        _ => leaf.insert(place.index, key, value),
    }
    let path = place.path;
    let mut carried = Some((separator, right));
    for level in 1..=root.level() {
        let mut inner = path.inner_mut(root, level);
        let Some((separator, child)) = carried.take() else {
            inner.add_entries(1);
            continue;
        };
        // `insert` counts the child's entries, of which one is new.
        inner.add_entries(1 - child.entries() as isize);
        let at = path.slot(level) + 1;
        let here = path.slot(level) + usize::from(is_right);
        if !inner.is_full() {
            inner.insert(at, separator, child);
            place.path.set_slot(level, here);
            continue;
        }
        let cut = cut_for(at, inner.len());
        let (upper, mut right) = inner.split_off(cut);
        match right.unique() {
            Some(NodeMut::Inner(mut right)) if at > cut => right.insert(at - cut, separator, child),
            _ => inner.insert(at, separator, child),
        }
        let left_len = inner.len();
        is_right = here >= left_len;
        place
            .path
            .set_slot(level, if is_right { here - left_len } else { here });
        carried = Some((upper, right));
    }
    if let Some((separator, right)) = carried {
        grow_root(root, separator, right);
        place.path.set_slot(root.level(), usize::from(is_right));
    }
    place
}

/// Puts a root above `root` and its right neighbour.
pub(super) fn grow_root<K, V>(root: &mut Node<K, V>, separator: K, right: Node<K, V>) {
    let mut upper = Node::inner(root.level() + 1);
    mem::swap(root, &mut upper);
    let Some(NodeMut::Inner(mut inner)) = root.unique() else {
        unreachable!("it is new");
    };
    inner.insert_only(upper);
    inner.insert(1, separator, right);
}

/// Returns how much of a full node stays where it is when something is put at `at`: half, but three quarters where
/// it is filled in order, since nothing more will come there.
pub(super) fn cut_for(at: usize, len: usize) -> usize {
    if at == len { len - len / 4 } else { len / 2 }
}
