//! Comparing two trees by going through both at once, past what they share.
//!
//! Each side has a *head*: the node or entry that comes next. Two heads that are one node are skipped unseen, wherever
//! that node is in either tree. Else the one that may begin earlier is looked into, or given, if it is an entry; where
//! both begin alike, the higher one. What comes before a node is never above the separator before it, so an entry can be
//! told to be on one side only without a look into the other side's next node.

use alloc::vec::Vec;
use core::cmp::Ordering;
use core::ptr;
use core::slice;

use super::node::{Node, View};

/// What comes next on one side.
pub(super) enum Head<'a, K, V> {
    /// A node, and what none of its keys is below, if there is anything before it.
    Node(&'a Node<K, V>, Option<&'a K>),
    Entry(&'a K, &'a V),
}

/// The way that one side has still to go.
pub(super) struct Side<'a, K, V> {
    /// What is left of the inner nodes that have been entered, the lowest last.
    above: Vec<Rest<'a, K, V>>,
    keys: &'a [K],
    values: &'a [V],
}

/// The children that have not been entered, and what is between them.
struct Rest<'a, K, V> {
    children: &'a [Node<K, V>],
    before: Option<&'a K>,
    separators: &'a [K],
}

/// What one step of both sides finds.
pub(super) enum Found<'a, K, V> {
    Left(&'a K, &'a V),
    Right(&'a K, &'a V),
    Both((&'a K, &'a V), (&'a K, &'a V)),
}

impl<K, V> Clone for Rest<'_, K, V> {
    fn clone(&self) -> Self {
        Self { ..*self }
    }
}

impl<K, V> Clone for Side<'_, K, V> {
    fn clone(&self) -> Self {
        Self {
            above: self.above.clone(),
            ..*self
        }
    }
}

impl<'a, K, V> Side<'a, K, V> {
    pub(super) fn new(root: Option<&'a Node<K, V>>) -> Self {
        let mut above = Vec::new();
        if let Some(root) = root {
            above.reserve(root.level() + 1);
            above.push(Rest {
                children: slice::from_ref(root),
                before: None,
                separators: &[],
            });
        }
        Self {
            above,
            keys: &[],
            values: &[],
        }
    }

    /// Returns what comes next.
    #[inline]
    pub(super) fn head(&mut self) -> Option<Head<'a, K, V>> {
        if let (Some(key), Some(value)) = (self.keys.first(), self.values.first()) {
            return Some(Head::Entry(key, value));
        }
        loop {
            let rest = self.above.last()?;
            if let Some(node) = rest.children.first() {
                return Some(Head::Node(node, rest.before));
            }
            self.above.pop();
        }
    }

    /// Goes past the head.
    #[inline]
    pub(super) fn skip(&mut self) {
        if let ([_, keys @ ..], [_, values @ ..]) = (self.keys, self.values) {
            (self.keys, self.values) = (keys, values);
        } else if let Some(rest) = self.above.last_mut()
            && let [_, children @ ..] = rest.children
        {
            rest.children = children;
            if let [separator, separators @ ..] = rest.separators {
                rest.before = Some(separator);
                rest.separators = separators;
            }
        }
    }

    /// Returns the nodes that come next and have one parent, if the head is a node.
    fn nodes(&self) -> &'a [Node<K, V>] {
        match self.above.last() {
            Some(rest) if self.keys.is_empty() => rest.children,
            _ => &[],
        }
    }

    /// Goes past `count` of the nodes that come next.
    fn skip_nodes(&mut self, count: usize) {
        if let Some(rest) = self.above.last_mut() {
            rest.children = &rest.children[count..];
            let passed = count.min(rest.separators.len());
            if let Some(separator) = passed.checked_sub(1).map(|at| &rest.separators[at]) {
                rest.before = Some(separator);
            }
            rest.separators = &rest.separators[passed..];
        }
    }

    /// Goes into the head, which is a node.
    #[inline]
    pub(super) fn enter(&mut self) {
        let Some(Head::Node(node, before)) = self.head() else {
            return;
        };
        self.skip();
        match node.view() {
            View::Leaf(leaf) => (self.keys, self.values) = (leaf.keys, leaf.values),
            View::Inner(inner) => self.above.push(Rest {
                children: inner.children,
                before,
                separators: inner.separators,
            }),
        }
    }
}

/// Goes past the nodes that come next on both sides, if they are the same.
fn skip_shared<K, V>(left: &mut Side<'_, K, V>, right: &mut Side<'_, K, V>) {
    let pairs = left.nodes().iter().zip(right.nodes());
    let count = pairs.take_while(|(node, other)| node.ptr_eq(other)).count();
    left.skip_nodes(count);
    right.skip_nodes(count);
}

/// Returns the next entry that is not in a node which both sides share, and goes past it.
#[inline]
pub(super) fn step<'a, K: Ord, V>(
    left: &mut Side<'a, K, V>,
    right: &mut Side<'a, K, V>,
) -> Option<Found<'a, K, V>> {
    step_by::<K, V, true>(left, right)
}

/// Returns the next entry, and goes past it. Does not compare the keys of nodes that both sides share.
#[inline]
pub(super) fn step_all<'a, K: Ord, V>(
    left: &mut Side<'a, K, V>,
    right: &mut Side<'a, K, V>,
) -> Option<Found<'a, K, V>> {
    step_by::<K, V, false>(left, right)
}

fn step_by<'a, K: Ord, V, const SKIPS_SHARED: bool>(
    left: &mut Side<'a, K, V>,
    right: &mut Side<'a, K, V>,
) -> Option<Found<'a, K, V>> {
    loop {
        match (left.head(), right.head()) {
            (None, None) => return None,
            (Some(Head::Entry(key, value)), None) => {
                left.skip();
                return Some(Found::Left(key, value));
            }
            (None, Some(Head::Entry(key, value))) => {
                right.skip();
                return Some(Found::Right(key, value));
            }
            (Some(Head::Entry(key, value)), Some(Head::Entry(other_key, other_value))) => {
                // One entry, in a node that both share, is equal to itself.
                let order = if ptr::eq(key, other_key) {
                    Ordering::Equal
                } else {
                    key.cmp(other_key)
                };
                if order.is_le() {
                    left.skip();
                }
                if order.is_ge() {
                    right.skip();
                }
                return Some(match order {
                    Ordering::Less => Found::Left(key, value),
                    Ordering::Greater => Found::Right(other_key, other_value),
                    Ordering::Equal => Found::Both((key, value), (other_key, other_value)),
                });
            }
            (Some(Head::Entry(key, value)), Some(Head::Node(_, Some(before)))) if key < before => {
                left.skip();
                return Some(Found::Left(key, value));
            }
            (Some(Head::Node(_, Some(before))), Some(Head::Entry(key, value))) if key < before => {
                right.skip();
                return Some(Found::Right(key, value));
            }
            (Some(Head::Node(node, before)), Some(Head::Node(other, other_before))) => {
                if node.ptr_eq(other) {
                    if SKIPS_SHARED {
                        skip_shared(left, right);
                    } else {
                        left.enter();
                        right.enter();
                    }
                    continue;
                }
                // Nothing (`None`) is before the first nodes, and comes first.
                let order = before.cmp(&other_before).then(other.level().cmp(&node.level()));
                if order.is_le() {
                    left.enter();
                }
                if order.is_ge() {
                    right.enter();
                }
            }
            (Some(Head::Node(..)), _) => left.enter(),
            (_, Some(Head::Node(..))) => right.enter(),
        }
    }
}

/// Returns whether both trees have the same entries in the same order, as `same` judges; an entry in a node that both
/// share is the same.
///
/// Both heads have as many entries before them, so a node that both have at one place is seen as such, and keys need no
/// order.
pub(super) fn is_equal<K, V>(
    left: Option<&Node<K, V>>,
    right: Option<&Node<K, V>>,
    mut same: impl FnMut((&K, &V), (&K, &V)) -> bool,
) -> bool {
    if left.map_or(0, Node::entries) != right.map_or(0, Node::entries) {
        return false;
    }
    let (mut left, mut right) = (Side::new(left), Side::new(right));
    loop {
        match (left.head(), right.head()) {
            (Some(Head::Entry(key, value)), Some(Head::Entry(other_key, other_value))) => {
                if !same((key, value), (other_key, other_value)) {
                    return false;
                }
                left.skip();
                right.skip();
            }
            (Some(Head::Node(node, _)), Some(Head::Node(other, _))) if node.ptr_eq(other) => {
                skip_shared(&mut left, &mut right);
            }
            (Some(Head::Node(node, _)), Some(Head::Node(other, _))) => {
                let order = node.level().cmp(&other.level());
                if order.is_ge() {
                    left.enter();
                }
                if order.is_le() {
                    right.enter();
                }
            }
            (Some(Head::Node(..)), _) => left.enter(),
            (_, Some(Head::Node(..))) => right.enter(),
            (left, right) => return left.is_none() && right.is_none(),
        }
    }
}
