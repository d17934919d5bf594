//! Building a tree from entries that are in order: leaf by leaf, and then level by level, all nodes full.

use alloc::vec::Vec;

use super::edit::NodeMut;
use super::join::Tree;
use super::node::Node;

/// Returns a tree of `entries`, whose keys must rise. O(n).
pub(super) fn build<K: Clone, V>(mut entries: impl ExactSizeIterator<Item = (K, V)>) -> Tree<K, V> {
    let max = Node::<K, V>::LEAF_MAX;
    let mut row = Row::with_room(entries.len().div_ceil(max));
    loop {
        let left = entries.len();
        let count = match left {
            0 => return row.into_tree(),
            // The last two share what is left, lest the last is small.
            _ if left > max && left < max + max / 2 => left / 2,
            _ => left.min(max),
        };
        let mut leaf = Node::leaf_with_room(count);
        let Some(NodeMut::Leaf(mut writer)) = leaf.unique() else {
            unreachable!("it is new");
        };
        writer.fill(count, &mut entries);
        if writer.len() < count {
            // The iterator has promised more than it gives.
            row.push_leaf(leaf);
            return row.into_tree();
        }
        row.push_leaf(leaf);
    }
}

/// The nodes of one level, and what separates them.
struct Row<K, V> {
    nodes: Vec<Node<K, V>>,
    /// One less than nodes: `separators[i]` is between `nodes[i]` and the next.
    separators: Vec<K>,
}

impl<K: Clone, V> Row<K, V> {
    fn with_room(count: usize) -> Self {
        Self {
            nodes: Vec::with_capacity(count),
            separators: Vec::with_capacity(count),
        }
    }

    fn push_leaf(&mut self, mut leaf: Node<K, V>) {
        let Some(NodeMut::Leaf(entries)) = leaf.unique() else {
            unreachable!("it is new");
        };
        if entries.len() == 0 {
            return;
        }
        if !self.nodes.is_empty() {
            self.separators.push(entries.key(0).clone());
        }
        self.nodes.push(leaf);
    }

    fn into_tree(mut self) -> Tree<K, V> {
        while self.nodes.len() > 1 {
            self = self.row_above();
        }
        self.nodes.pop()
    }

    /// Returns the inner nodes that are above these, all of about one size.
    fn row_above(self) -> Self {
        let count = self.nodes.len();
        let groups = count.div_ceil(Node::<K, V>::INNER_MAX);
        let mut above = Self::with_room(groups);
        let (mut nodes, mut separators) = (self.nodes.into_iter(), self.separators.into_iter());
        for group in 0..groups {
            let size = (group + 1) * count / groups - group * count / groups;
            let mut children = nodes.by_ref().take(size);
            let Some(first) = children.next() else { break };
            let mut node = Node::inner(first.level() + 1);
            let Some(NodeMut::Inner(mut inner)) = node.unique() else {
                unreachable!("it is new");
            };
            inner.insert_only(first);
            for (at, child) in (1..).zip(children) {
                let separator = separators.next().expect("one between two nodes");
                inner.insert(at, separator, child);
            }
            above.nodes.push(node);
            above.separators.extend(separators.next());
        }
        above
    }
}
