//! Walking a map in key order, from both ends, to take its values out.

use alloc::collections::VecDeque;
use alloc::vec;
use core::fmt;
use core::iter::FusedIterator;
use core::ops::Range;

use super::iter::piece;
use super::node::{Content, Node};
use super::{RadixMap, bits_at, last_key};

/// The pieces of a map that is given up: what [`RadixMap::into_iter`](IntoIterator::into_iter) returns.
pub struct IntoIter<T> {
    /// What has not been come to, in key order; only what is outermost has been taken apart.
    queue: VecDeque<Rest<T>>,
}

/// A subtree, or what is left of a leaf.
enum Rest<T> {
    Node {
        node: Node<T>,
        level: u32,
        base: u64,
    },
    Leaf {
        base: u64,
        /// Which slots the values are in.
        bits: u64,
        values: vec::IntoIter<T>,
    },
}

/// Returns what the children of a node are, in order.
fn children<T>(
    level: u32,
    base: u64,
    mut bits: u64,
    nodes: vec::IntoIter<Node<T>>,
) -> impl DoubleEndedIterator<Item = Rest<T>> {
    let level = level - 1;
    let bases = core::iter::from_fn(move || {
        let slot = (bits != 0).then(|| bits.trailing_zeros())?;
        bits &= bits - 1;
        Some(base + (u64::from(slot) << bits_at(level)))
    });
    let bases: vec::Vec<u64> = bases.collect();
    bases
        .into_iter()
        .zip(nodes)
        .map(move |(base, node)| Rest::Node { node, level, base })
}

impl<T: Clone> Iterator for IntoIter<T> {
    type Item = (Range<u64>, T);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(Rest::Leaf { base, bits, values }) = self.queue.front_mut()
                && let Some(value) = values.next()
            {
                let key = *base + u64::from(bits.trailing_zeros());
                *bits &= *bits - 1;
                return Some((piece(key, key), value));
            }
            let Rest::Node { node, level, base } = self.queue.pop_front()? else {
                continue;
            };
            match node.into_content() {
                Content::Fill(value) => return Some((piece(base, base + last_key(level)), value)),
                Content::Leaf(bits, values) => self.queue.push_front(Rest::Leaf { base, bits, values }),
                Content::Inner(bits, nodes) => {
                    for child in children(level, base, bits, nodes).rev() {
                        self.queue.push_front(child);
                    }
                }
            }
        }
    }

    fn last(mut self) -> Option<Self::Item> {
        self.next_back()
    }
}

impl<T: Clone> DoubleEndedIterator for IntoIter<T> {
    fn next_back(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(Rest::Leaf { base, bits, values }) = self.queue.back_mut()
                && let Some(value) = values.next_back()
            {
                let slot = bits.ilog2();
                *bits ^= 1 << slot;
                let key = *base + u64::from(slot);
                return Some((piece(key, key), value));
            }
            let Rest::Node { node, level, base } = self.queue.pop_back()? else {
                continue;
            };
            match node.into_content() {
                Content::Fill(value) => return Some((piece(base, base + last_key(level)), value)),
                Content::Leaf(bits, values) => self.queue.push_back(Rest::Leaf { base, bits, values }),
                Content::Inner(bits, nodes) => self.queue.extend(children(level, base, bits, nodes)),
            }
        }
    }
}

impl<T: Clone> FusedIterator for IntoIter<T> {}

impl<T: Clone> IntoIterator for RadixMap<T> {
    type Item = (Range<u64>, T);
    type IntoIter = IntoIter<T>;

    /// Returns the pieces in key order, as [`iter`](Self::iter) does, by value. Values that other maps have are cloned, and so
    /// is one that several pieces have.
    fn into_iter(self) -> IntoIter<T> {
        let level = self.height;
        let root = self.root.map(|node| Rest::Node { node, level, base: 0 });
        IntoIter {
            queue: root.into_iter().collect(),
        }
    }
}

impl<T> Default for IntoIter<T> {
    /// Returns an iterator over nothing.
    fn default() -> Self {
        Self {
            queue: VecDeque::new(),
        }
    }
}

impl<T> fmt::Debug for IntoIter<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IntoIter").finish_non_exhaustive()
    }
}
