//! What is done to the trees of a [`List`](super::List): trees are joined and cut, leaves come and go at the ends,
//! elements in the middle.
//!
//! No two neighbours below one node stay apart if they fit into one, where an operation comes by and can see it: so
//! nodes are half full on average, but for the first and last of each height. That is all that keeps the tree low;
//! nothing relies on it but the cost.
//!
//! **Invariant:** whatever these functions leave in a tree, whether they return or a clone panics, its nodes say truly
//! how many elements are below them.

use alloc::vec::Vec;

use super::inner::Part;
use super::node::{FANOUT, Node};

/// Adds a leaf behind the last. The leaf is not empty. O(log n), mostly O(1).
pub(super) fn append<T>(tree: &mut Option<Node<T>>, leaf: Node<T>) {
    let Some(mut root) = tree.take() else {
        *tree = Some(leaf);
        return;
    };
    let more = if root.is_leaf() {
        Some(leaf)
    } else {
        append_below(&mut root, leaf)
    };
    *tree = Some(with_sibling(root, more));
}

/// Adds a leaf before the first. The leaf is not empty. O(log n), mostly O(1).
pub(super) fn prepend<T>(tree: &mut Option<Node<T>>, leaf: Node<T>) {
    let Some(mut root) = tree.take() else {
        *tree = Some(leaf);
        return;
    };
    let more = if root.is_leaf() {
        Some(leaf)
    } else {
        prepend_below(&mut root, leaf)
    };
    *tree = Some(match more {
        Some(sibling) => with_sibling(sibling, Some(root)),
        None => root,
    });
}

/// Returns the tree that has both nodes, of the same height.
pub(super) fn with_sibling<T>(left: Node<T>, right: Option<Node<T>>) -> Node<T> {
    match right {
        None => left,
        Some(right) => from_parts(
            left.height() + 1,
            part(left).into_iter().chain(part(right)).collect(),
        ),
    }
}

fn part<T>(node: Node<T>) -> Option<Part<T>> {
    let size = node.len();
    Some((node, size))
}

fn from_parts<T>(height: u8, parts: Vec<Part<T>>) -> Node<T> {
    Node::inner(height, parts.into_iter())
}

/// Adds a leaf below an inner node. Returns what has no room: a node of the same height, to go behind it.
fn append_below<T>(node: &mut Node<T>, leaf: Node<T>) -> Option<Node<T>> {
    let mut inner = node.make_inner_mut();
    let last = inner.len() - 1;
    let child = if inner.height() == 1 {
        leaf
    } else {
        let size = leaf.elements().len();
        let child = &mut inner.children_mut()[last];
        match append_below(child, leaf) {
            Some(sibling) => sibling,
            None => {
                inner.resized(last, size);
                return None;
            }
        }
    };
    if inner.len() < FANOUT {
        inner.push(child);
        return None;
    }
    Some(Node::inner(inner.height(), part(child).into_iter()))
}

/// Adds a leaf below an inner node. Returns what has no room: a node of the same height, to go before it.
fn prepend_below<T>(node: &mut Node<T>, leaf: Node<T>) -> Option<Node<T>> {
    let mut inner = node.make_inner_mut();
    let child = if inner.height() == 1 {
        leaf
    } else {
        let size = leaf.elements().len();
        match prepend_below(&mut inner.children_mut()[0], leaf) {
            Some(sibling) => sibling,
            None => {
                inner.resized(0, size);
                return None;
            }
        }
    };
    if inner.len() < FANOUT {
        inner.insert(0, child);
        return None;
    }
    Some(Node::inner(inner.height(), part(child).into_iter()))
}

/// Which end of a tree a leaf is taken from.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    First,
    Last,
}

/// Removes the leaf at one end and returns it. O(log n), mostly O(1).
pub(super) fn pop<T>(tree: &mut Option<Node<T>>, end: End) -> Option<Node<T>> {
    let mut root = tree.take()?;
    if root.is_leaf() {
        return Some(root);
    }
    let leaf = pop_below(&mut root, end);
    *tree = lowered(root);
    Some(leaf)
}

/// Removes the leaf at one end from below an inner node, which may have no children then.
fn pop_below<T>(node: &mut Node<T>, end: End) -> Node<T> {
    let mut inner = node.make_inner_mut();
    let at = match end {
        End::First => 0,
        End::Last => inner.len() - 1,
    };
    if inner.height() == 1 {
        return inner.remove(at);
    }
    let child = &mut inner.children_mut()[at];
    let leaf = pop_below(child, end);
    let is_empty = child.children().is_empty();
    inner.resized(at, leaf.elements().len().wrapping_neg());
    if is_empty {
        drop(inner.remove(at));
    }
    leaf
}

/// Returns the tree without inner nodes at its top that have only one child; nothing if the root has none.
pub(super) fn lowered<T>(mut root: Node<T>) -> Option<Node<T>> {
    loop {
        match root.children() {
            [] if !root.is_leaf() => return None,
            [only] => root = only.clone(),
            _ => return Some(root),
        }
    }
}

/// Returns the tree that has the elements of both, in two nodes of the height of the higher if one does not hold them.
/// O(log n); moves or clones elements only where two leaves become one.
pub(super) fn join<T: Clone>(left: Node<T>, right: Node<T>) -> (Node<T>, Option<Node<T>>) {
    let (left_height, right_height) = (left.height(), right.height());
    let height = left_height.max(right_height);
    if height == 0 {
        return if fit_one(&left, &right) {
            (Node::merge_leaves(left, right), None)
        } else {
            (left, Some(right))
        };
    }
    let mut parts = Vec::with_capacity(2 * FANOUT + 2);
    let mut behind = Vec::new();
    let (mut inner_left, mut inner_right) = (left, right);
    if left_height == height {
        parts = inner_left.into_parts();
        inner_left = parts.pop().expect("no inner node is empty").0;
    }
    if right_height == height {
        behind = inner_right.into_parts();
        inner_right = behind.remove(0).0;
    }
    let (first, second) = join(inner_left, inner_right);
    parts.extend(part(first));
    parts.extend(second.and_then(part));
    parts.append(&mut behind);
    if parts.len() <= FANOUT {
        return (from_parts(height, parts), None);
    }
    // The node that leaves were added to stays full, so that adding on and on fills nodes.
    let cut = if left_height < right_height {
        parts.len() - FANOUT
    } else {
        FANOUT
    };
    let rest = parts.split_off(cut);
    (from_parts(height, parts), Some(from_parts(height, rest)))
}

/// Returns how many quarters of one node two of the same height would fill.
fn quarters<T>(left: &Node<T>, right: &Node<T>) -> usize {
    let (both, most) = if left.is_leaf() {
        (left.elements().len() + right.elements().len(), Node::<T>::LEAF)
    } else {
        (left.children().len() + right.children().len(), FANOUT)
    };
    (4 * both).div_ceil(most)
}

/// Returns whether two nodes of the same height can be one.
fn fit_one<T>(left: &Node<T>, right: &Node<T>) -> bool {
    quarters(left, right) <= 4
}

/// Returns both nodes as one, of the same height: see [`fit_one`].
fn merge<T: Clone>(left: Node<T>, right: Node<T>) -> Node<T> {
    if left.is_leaf() {
        return Node::merge_leaves(left, right);
    }
    let height = left.height();
    let mut parts = left.into_parts();
    parts.extend(right.into_parts());
    from_parts(height, parts)
}

/// Returns the first `at` of the tree's `len` elements, and the others. O(log n); moves or clones the elements of one
/// leaf, or of one more on each side if they fit together.
pub(super) fn split<T: Clone>(node: Node<T>, at: usize, len: usize) -> (Option<Node<T>>, Option<Node<T>>) {
    if at == 0 {
        return (None, Some(node));
    }
    if at >= len {
        return (Some(node), None);
    }
    if node.is_leaf() {
        let (left, right) = node.split_leaf(at);
        return (Some(left), Some(right));
    }
    let height = node.height();
    let (child, before) = node.locate(at);
    let mut parts = node.into_parts();
    let behind = parts.split_off(child + 1);
    let (child, size) = parts.pop().expect("the child was located");
    let (left, right) = split(child, at - before, size);
    if let Some(left) = left {
        let left = match parts.pop_if(|(last, _)| fit_one(last, &left)) {
            Some((last, _)) => merge(last, left),
            None => left,
        };
        parts.extend(part(left));
    }
    let mut others = Vec::with_capacity(behind.len() + 1);
    let mut behind = behind.into_iter().peekable();
    if let Some(right) = right {
        let right = match behind.next_if(|(first, _)| fit_one(&right, first)) {
            Some((first, _)) => merge(right, first),
            None => right,
        };
        others.extend(part(right));
    }
    others.extend(behind);
    let some = |parts: Vec<Part<T>>| (!parts.is_empty()).then(|| from_parts(height, parts));
    (some(parts), some(others))
}

/// Puts `value` before the element at `index`, at most the number of elements. Returns what has no room: a node of the
/// same height, to go behind. O(log n).
pub(super) fn insert<T: Clone>(node: &mut Node<T>, index: usize, value: T) -> Option<Node<T>> {
    if node.is_leaf() {
        return insert_in_leaf(node, index, value);
    }
    let mut inner = node.make_inner_mut();
    // Between two children it goes behind the first: `locate` finds only elements that are there.
    let (at, before) = inner.node().locate(index.saturating_sub(1));
    let child = &mut inner.children_mut()[at];
    let sibling = insert(child, index - before, value);
    let Some(sibling) = sibling else {
        inner.resized(at, 1);
        return None;
    };
    inner.resized(at, 1_usize.wrapping_sub(sibling.len()));
    if inner.len() < FANOUT {
        inner.insert(at + 1, sibling);
        return None;
    }
    let height = inner.height();
    let half = inner.len() / 2;
    let mut parts = take_parts(node);
    parts.insert(at + 1, part(sibling).expect("a node is a part"));
    let right = parts.split_off(half);
    *node = from_parts(height, parts);
    Some(from_parts(height, right))
}

/// Takes the node apart and leaves an empty leaf, for the caller to replace.
fn take_parts<T>(node: &mut Node<T>) -> Vec<Part<T>> {
    core::mem::replace(node, Node::new_leaf(0)).into_parts()
}

fn insert_in_leaf<T: Clone>(node: &mut Node<T>, index: usize, value: T) -> Option<Node<T>> {
    let full = Node::<T>::LEAF;
    let len = node.elements().len();
    let mut leaf = node.make_leaf_mut(full);
    if len < full {
        leaf.reserve_back(1, full);
        leaf.insert(index, value);
        return None;
    }
    let half = len / 2;
    let mut right = leaf.split_off(half, full);
    let mut target = if index <= half {
        leaf
    } else {
        right.leaf_mut().expect("it is new")
    };
    target.reserve_back(1, full);
    target.insert(if index <= half { index } else { index - half }, value);
    Some(right)
}

/// Removes the element at `index`. The node may have no elements then, and has to go. O(log n).
pub(super) fn remove<T: Clone>(node: &mut Node<T>, index: usize) -> T {
    if node.is_leaf() {
        return node.make_leaf_mut(0).remove(index);
    }
    let mut inner = node.make_inner_mut();
    let (at, before) = inner.node().locate(index);
    let child = &mut inner.children_mut()[at];
    let value = remove(child, index - before);
    let is_empty = child.len() == 0;
    inner.resized(at, 1_usize.wrapping_neg());
    if is_empty {
        drop(inner.remove(at));
        return value;
    }
    for left in [at.saturating_sub(1), at] {
        if merge_in_place(&mut inner, left) {
            break;
        }
    }
    value
}

/// Makes one child of child `left` and the next if they fit together with room for more, so that the next insertion does
/// not split them again; and if no element has to be cloned for it: a clone that panics would leave the nodes above with
/// a wrong size.
fn merge_in_place<T: Clone>(inner: &mut super::inner::InnerMut<'_, T>, left: usize) -> bool {
    let [first, second, ..] = &inner.node().children()[left..] else {
        return false;
    };
    let clones = first.is_leaf() && !(first.is_unique() && second.is_unique());
    if clones || quarters(first, second) > 3 {
        return false;
    }
    let second = inner.remove(left + 1);
    let first = inner.remove(left);
    inner.insert(left, merge(first, second));
    true
}
