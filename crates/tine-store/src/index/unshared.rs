//! What two trees do not share in a range of blocks, found by skipping the nodes that both have.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use super::Nodes;
use super::node::{Child, Node, NodeKind, NodeRef};
use super::tree::Tree;
use crate::error::Result;
use crate::planted::{Bug, planted};

/// A node that is still to be looked at.
struct Open {
    first: u64,
    at: NodeRef,
    level: u8,
}

impl Open {
    fn root(tree: &Tree) -> Self {
        Self {
            first: tree.root.first,
            at: tree.root.at,
            level: tree.record.level,
        }
    }

    fn child(&self) -> Child {
        Child::new(self.first, self.at)
    }
}

/// Leaves that one of two trees has and the other has not, in order.
#[derive(Default)]
pub(crate) struct Unshared {
    pub(crate) left: Vec<Child>,
    pub(crate) right: Vec<Child>,
}

/// Walks two trees at once. Reads only inner nodes that are not shared and may have something in the range: O(what
/// differs there).
pub(crate) fn unshared(
    nodes: &dyn Nodes,
    left: Option<&Tree>,
    right: Option<&Tree>,
    blocks: &Range<u64>,
) -> Result<Unshared> {
    let mut found = Unshared::default();
    let mut x: VecDeque<Open> = left.map(Open::root).into_iter().collect();
    let mut y: VecDeque<Open> = right.map(Open::root).into_iter().collect();
    loop {
        // Nodes that are the same begin at the same block, so the one that begins first has no equal ahead.
        let (take_x, take_y) = match (x.front(), y.front()) {
            (None, None) => return Ok(found),
            (Some(_), None) => (true, false),
            (None, Some(_)) => (false, true),
            (Some(a), Some(b)) if a.at == b.at => {
                x.pop_front();
                y.pop_front();
                continue;
            }
            (Some(a), Some(b)) if a.first != b.first => (a.first < b.first, b.first < a.first),
            (Some(a), Some(b)) => (a.level >= b.level, b.level >= a.level),
        };
        if take_x {
            open(nodes, &mut x, &mut found.left, blocks)?;
        }
        if take_y {
            open(nodes, &mut y, &mut found.right, blocks)?;
        }
    }
}

/// Replaces the first node by those of its children that may have something in the range, or takes note of it if it is a
/// leaf.
fn open(
    nodes: &dyn Nodes,
    queue: &mut VecDeque<Open>,
    leaves: &mut Vec<Child>,
    blocks: &Range<u64>,
) -> Result<()> {
    let Some(first) = queue.pop_front() else {
        return Ok(());
    };
    if first.level == 0 {
        if !(planted(Bug::DiffSkipsNode) && leaves.is_empty()) {
            leaves.push(first.child());
        }
        return Ok(());
    }
    let node = nodes.load(&first.child(), first.level)?;
    if let NodeKind::Inner { level, children } = node.kind() {
        // A child ends where the next one begins at the latest.
        let ends = children.iter().skip(1).map(|next| next.first).chain([u64::MAX]);
        let within = children
            .iter()
            .zip(ends)
            .filter(|(child, end)| child.first < blocks.end && *end > blocks.start);
        let within: Vec<_> = within.map(|(child, _)| child).collect();
        for child in within.into_iter().rev() {
            queue.push_front(Open {
                first: child.first,
                at: child.at,
                level: level - 1,
            });
        }
    }
    Ok(())
}

/// Returns the blocks of the extents of some leaves, in order.
pub(crate) fn ranges<'a>(
    nodes: &'a dyn Nodes,
    leaves: Vec<Child>,
) -> impl Iterator<Item = Result<Range<u64>>> + 'a {
    let mut leaves = leaves.into_iter();
    let mut open: Option<(Arc<Node>, usize)> = None;
    std::iter::from_fn(move || {
        loop {
            if let Some((node, at)) = &mut open
                && let NodeKind::Leaf(leaf) = node.kind()
                && *at < leaf.len()
            {
                *at += 1;
                let piece = leaf.piece(*at - 1);
                return Some(Ok(piece.start..piece.end));
            }
            match nodes.load(&leaves.next()?, 0) {
                Ok(node) => open = Some((node, 0)),
                Err(error) => return Some(Err(error)),
            }
        }
    })
}
