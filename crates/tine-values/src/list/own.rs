#![allow(unsafe_code)]
//! What only this list reaches.

use super::List;
use super::node::Node;

impl<T> List<T> {
    /// Calls `change` with each element that only this list reaches, in no order. Copies nothing.
    pub(crate) fn for_each_own(&mut self, mut change: impl FnMut(&mut T)) {
        if let Some(root) = &mut self.root {
            change_own(root, &mut change);
        }
    }
}

/// As deep as the tree is high.
fn change_own<T>(node: &mut Node<T>, change: &mut impl FnMut(&mut T)) {
    if !node.is_unique() {
        return;
    }
    if let Some(leaf) = node.leaf_mut() {
        // SAFETY: the elements are initialised, and nobody else has the leaf, which is mutably borrowed.
        unsafe { &mut *leaf.into_raw() }.iter_mut().for_each(change);
    } else if let Some(trunk) = node.trunk_mut() {
        let parts = [&mut trunk.head, &mut trunk.tree, &mut trunk.tail];
        parts
            .into_iter()
            .flatten()
            .for_each(|part| change_own(part, change));
    } else {
        let children = node.make_inner_mut().into_children();
        children.iter_mut().for_each(|child| change_own(child, change));
    }
}
