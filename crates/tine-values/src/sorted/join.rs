//! Cutting a tree in two, and joining two.
//!
//! ```text
//!           [ a  b  c ]                      the way to the cut goes through b and b2
//!               |
//!          [ b1 b2 b3 ]            left:  join(a, join(b1, left part of b2))
//!               |                  right: join(join(right part of b2, b3), c)
//! ```
//!
//! A join goes down the edge of the higher tree to where the lower one belongs: a step for each level between. The trees
//! that a cut joins rise from level to level, so all joins of a cut together take no more than the height.
//!
//! Trees are handed over, so a panic in the middle drops them. It can come only from cloning: what is shared, or a key that
//! is to separate two leaves. So whole maps are cut and joined as clones, but where nothing is cloned.

use core::mem;

use super::edit::{InnerMut, NodeMut};
use super::insert::{cut_for, grow_root};
use super::node::Node;
use super::path::Place;
use super::remove::settle;

/// A tree, or none.
pub(super) type Tree<K, V> = Option<Node<K, V>>;

/// Returns a tree with the entries of both, `left`'s first. `separator` is above `left`'s keys and not above `right`'s.
pub(super) fn join<K: Clone, V: Clone>(left: Tree<K, V>, separator: K, right: Tree<K, V>) -> Tree<K, V> {
    let (mut left, mut right) = match (left, right) {
        (Some(left), Some(right)) => (left, right),
        (one, other) => {
            let tree = one.or(other);
            // Dropped on the way out, a key that panics would have the tree lost (rust#47949).
            drop(separator);
            return tree;
        }
    };
    let mut tree;
    if left.level() > right.level() {
        let rest = push_last(inner(&mut left), separator, right);
        tree = left;
        if let Some((separator, rest)) = rest {
            grow_root(&mut tree, separator, rest);
        }
    } else if left.level() < right.level() {
        let rest = push_first(inner(&mut right), left, separator);
        tree = right;
        if let Some((separator, rest)) = rest {
            grow_root(&mut tree, separator, rest);
        }
    } else {
        tree = left;
        grow_root(&mut tree, separator, right);
        let mut root = inner(&mut tree);
        root.mend(0);
        root.mend(root.len() - 1);
    }
    let mut tree = Some(tree);
    settle(&mut tree);
    tree
}

/// Moves all entries of `right` to the end of `left`, as [`join`] does. If a clone panics, both are what they were.
pub(super) fn join_all<K: Clone, V: Clone>(left: &mut Tree<K, V>, separator: K, right: &mut Tree<K, V>) {
    if let (Some(one), Some(other)) = (&mut *left, &mut *right)
        && let (NodeMut::Leaf(mut one), NodeMut::Leaf(mut other)) = (one.make_unique(), other.make_unique())
        && one.len() + other.len() <= Node::<K, V>::LEAF_MAX
    {
        one.append(&mut other);
        *right = None;
        // Everything is in its place before its `Drop` may panic.
        return drop(separator);
    }
    let joined = join(left.clone(), separator, right.clone());
    drop((mem::replace(left, joined), right.take()));
}

/// Returns a node that is above another for writing.
fn inner<K: Clone, V: Clone>(node: &mut Node<K, V>) -> InnerMut<'_, K, V> {
    match node.make_unique() {
        NodeMut::Inner(inner) => inner,
        NodeMut::Leaf(_) => unreachable!("it is above another node"),
    }
}

/// What a node has been too full for: it belongs behind the node, the separator between them.
type Rest<K, V> = Option<(K, Node<K, V>)>;

/// Puts `other`, which is lower, behind all that is below `node`.
fn push_last<K: Clone, V: Clone>(
    mut node: InnerMut<'_, K, V>,
    separator: K,
    other: Node<K, V>,
) -> Rest<K, V> {
    let len = node.len();
    if node.level() == other.level() + 1 {
        return insert_or_cut(&mut node, len, separator, other);
    }
    let (separator, rest) = push_below(&mut node, len - 1, |child| push_last(child, separator, other))?;
    insert_or_cut(&mut node, len, separator, rest)
}

/// Puts `other`, which is lower, before all that is below `node`.
fn push_first<K: Clone, V: Clone>(
    mut node: InnerMut<'_, K, V>,
    other: Node<K, V>,
    separator: K,
) -> Rest<K, V> {
    if node.level() > other.level() + 1 {
        let (separator, rest) = push_below(&mut node, 0, |child| push_first(child, other, separator))?;
        return insert_or_cut(&mut node, 1, separator, rest);
    }
    let cut = node.len() / 4;
    let rest = node.is_full().then(|| node.split_off(cut));
    node.insert_first(other, separator);
    node.mend(0);
    rest
}

/// Pushes to a child, and counts what it gets.
fn push_below<K: Clone, V: Clone>(
    node: &mut InnerMut<'_, K, V>,
    at: usize,
    push: impl FnOnce(InnerMut<'_, K, V>) -> Rest<K, V>,
) -> Rest<K, V> {
    let child = &mut node.children_mut()[at];
    let before = child.entries();
    let rest = push(inner(child));
    let more = child.entries() as isize - before as isize;
    node.add_entries(more);
    rest
}

/// Puts a child at `at`, after cutting the node if it is full, and makes good that the child may be small.
fn insert_or_cut<K: Clone, V: Clone>(
    node: &mut InnerMut<'_, K, V>,
    at: usize,
    separator: K,
    child: Node<K, V>,
) -> Rest<K, V> {
    let cut = cut_for(at, node.len());
    let mut rest = node.is_full().then(|| node.split_off(cut));
    match &mut rest {
        Some((_, right)) if at > cut => {
            let mut right = inner(right);
            right.insert(at - cut, separator, child);
            right.mend(at - cut);
        }
        _ => {
            node.insert(at, separator, child);
            node.mend(at);
        }
    }
    rest
}

/// Cuts a tree at `place`: returns what is before it, and what is behind.
///
/// [`Path::leaf_mut`](super::path::Path::leaf_mut) on the same path comes first, if a panic is to find the tree whole.
pub(super) fn split<K: Clone, V: Clone>(mut node: Node<K, V>, place: &Place) -> (Tree<K, V>, Tree<K, V>) {
    let mut inner = match node.make_unique() {
        NodeMut::Leaf(mut leaf) => {
            let right = Some(leaf.split_off(place.index));
            return (without_nothing(Some(node)), without_nothing(right));
        }
        NodeMut::Inner(inner) => inner,
    };
    let slot = place.path.slot(inner.level());
    let behind = (slot + 1 < inner.len()).then(|| inner.split_off(slot + 1));
    let (separator, child) = if slot > 0 {
        let (separator, child) = inner.remove(slot);
        (Some(separator), child)
    } else {
        (None, inner.remove_first().0)
    };
    let (mut left, mut right) = split(child, place);
    if let Some(separator) = separator {
        left = join(without_nothing(Some(node)), separator, left);
    }
    if let Some((separator, behind)) = behind {
        right = join(right, separator, without_nothing(Some(behind)));
    }
    (left, right)
}

fn without_nothing<K: Clone, V: Clone>(mut tree: Tree<K, V>) -> Tree<K, V> {
    settle(&mut tree);
    tree
}
