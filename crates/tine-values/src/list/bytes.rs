//! How many bytes the nodes of a [`List`] take, and whose they are.
//!
//! A list that is joined with itself has the same nodes several times. Each is counted once, and is the list's own if all
//! its owners are. So a look at all nodes takes as long as there are nodes, however many elements they stand for.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use super::List;
use super::node::Node;

impl<T> List<T> {
    /// Returns how many bytes the nodes take that only this list reaches: what dropping it gives back. What elements
    /// point to is not counted. Visits the list's own nodes.
    ///
    /// While other threads drop lists that share nodes with this one it may be some number in between.
    pub fn own_bytes(&self) -> usize {
        let mut bytes = 0;
        self.visit_own(|node| bytes += node.bytes());
        bytes
    }

    /// Returns how many bytes the nodes take that other lists reach too. What elements point to is not counted. Visits
    /// all nodes.
    pub fn shared_bytes(&self) -> usize {
        let (mut bytes, mut known) = (0, BTreeSet::new());
        let mut rest = self.visit_own(|_| ());
        while let Some(node) = rest.pop() {
            // A node that has one owner is come to once.
            if node.owners() == 1 || known.insert(node.address()) {
                bytes += node.bytes();
                rest.extend(node.below());
            }
        }
        bytes
    }

    /// Calls `seen` with each node that only this list reaches. Returns the others that such a node, or the list itself,
    /// owns, too.
    fn visit_own<'a>(&'a self, mut seen: impl FnMut(&'a Node<T>)) -> Vec<&'a Node<T>> {
        // How often a node was come to that has several owners: from above, and only from nodes that are the list's own.
        let mut shared = BTreeMap::new();
        let mut rest: Vec<_> = self.root.iter().collect();
        while let Some(node) = rest.pop() {
            let owners = node.owners();
            if owners > 1 {
                let (_, found) = shared.entry(node.address()).or_insert((node, 0));
                *found += 1;
                if *found < owners {
                    continue;
                }
                shared.remove(&node.address());
            }
            seen(node);
            rest.extend(node.below());
        }
        shared.into_values().map(|(node, _)| node).collect()
    }
}
