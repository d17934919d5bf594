//! How two lists differ, found by skipping the nodes that both share.
//!
//! A difference is narrowed down from the top: of two runs of nodes, those that are in both are left out, and what is
//! between them is taken apart, one height after the other, until it is leaves, whose elements are compared. Nodes of
//! the same shape are taken apart in pairs. So an insertion, which moves all that is behind it, is found as well.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::fmt;
use core::iter::FusedIterator;

use crate::change::Edit;

use super::List;
use super::node::Node;
use super::trunk::Trunk;

/// A node and how many elements it has.
type Sized<'a, T> = (&'a Node<T>, usize);

/// An iterator over the places in which two lists differ: see [`List::diff`].
pub struct Diff<'a, T> {
    /// What is still to be compared; the next one last.
    rest: Vec<Gap<'a, T>>,
    /// Found, but what follows may belong to it.
    edit: Option<Edit>,
}

/// What is in the one list between two places that both lists have, and in the other.
struct Gap<'a, T> {
    at: (usize, usize),
    runs: Runs<'a, T>,
}

enum Runs<'a, T> {
    /// Two inner nodes of the same shape, or two leaves.
    Pair(&'a Node<T>, &'a Node<T>),
    Nodes(Vec<Sized<'a, T>>, Vec<Sized<'a, T>>),
    /// Elements of which none is yet known to be equal, as many on each side.
    Elements(&'a [T], &'a [T]),
    Edit(usize, usize),
}

impl<'a, T> Runs<'a, T> {
    /// Two nodes with as many elements.
    fn of_two(ours: &'a Node<T>, theirs: &'a Node<T>, len: usize) -> Self {
        if same_shape(ours, theirs) {
            Self::Pair(ours, theirs)
        } else {
            Self::Nodes(Vec::from([(ours, len)]), Vec::from([(theirs, len)]))
        }
    }
}

impl<T: PartialEq> List<T> {
    /// Returns the places in which `other` differs, in order; between any two there is something equal.
    ///
    /// Putting what `other` has there in their place makes this list equal to `other`. The diff is empty exactly if the
    /// lists are equal, but it may be larger than need be. Nodes that both share are skipped unseen, so the cost follows
    /// the difference and not the length; a value that is not equal to itself is a difference only where the node is not
    /// shared.
    pub fn diff<'a>(&'a self, other: &'a Self) -> Diff<'a, T> {
        let mut rest = Vec::new();
        // Equal elements in other places could be taken for what has moved.
        if self != other {
            let at = (0, 0);
            let (ours, theirs) = (self.parts(), other.parts());
            let runs = Runs::Nodes(ours, theirs);
            rest.push(Gap { at, runs });
        }
        Diff { rest, edit: None }
    }
}

impl<T> List<T> {
    /// Returns the leaves and the tree that there are.
    fn parts(&self) -> Vec<Sized<'_, T>> {
        let root = self.root.iter().filter(|root| root.trunk().is_none());
        let trunk = self
            .root
            .as_ref()
            .and_then(Node::trunk)
            .into_iter()
            .flat_map(Trunk::all_parts);
        let parts = root.chain(trunk).map(|part| (part, part.len()));
        parts.filter(|(_, len)| *len > 0).collect()
    }
}

impl<T: PartialEq> PartialEq for List<T> {
    /// Returns whether the elements are equal. Nodes that both share are skipped unseen.
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && (self.ptr_eq(other) || same_runs(self.parts(), other.parts()))
    }
}

/// Returns whether two inner nodes have children of the same sizes.
fn same_shape<T>(a: &Node<T>, b: &Node<T>) -> bool {
    a.height() == b.height() && a.children().len() == b.children().len() && a.ends() == b.ends()
}

/// Returns whether two nodes with as many elements have equal ones.
fn same<T: PartialEq>(a: &Node<T>, b: &Node<T>) -> bool {
    if a.ptr_eq(b) {
        return true;
    }
    if a.is_leaf() && b.is_leaf() {
        return a.elements() == b.elements();
    }
    if same_shape(a, b) {
        return a.children().iter().zip(b.children()).all(|(a, b)| same(a, b));
    }
    same_runs(Vec::from([(a, a.len())]), Vec::from([(b, b.len())]))
}

/// Returns whether two runs of nodes with as many elements have equal ones.
fn same_runs<'a, T: PartialEq>(mut a: Vec<Sized<'a, T>>, mut b: Vec<Sized<'a, T>>) -> bool {
    a.reverse();
    b.reverse();
    // What has been compared already of the leaf that comes next.
    let (mut a_done, mut b_done) = (0, 0);
    while let (Some((first, len)), Some((second, second_len))) = (a.pop(), b.pop()) {
        let fresh = a_done == 0 && b_done == 0;
        if fresh && len == second_len && (first.ptr_eq(second) || same_shape(first, second)) {
            if !same(first, second) {
                return false;
            }
        } else if first.is_inner() && (first.height() >= second.height() || !second.is_inner()) {
            b.push((second, second_len));
            push_children(&mut a, first);
        } else if second.is_inner() {
            a.push((first, len));
            push_children(&mut b, second);
        } else {
            let (ours, theirs) = (&first.elements()[a_done..], &second.elements()[b_done..]);
            let count = ours.len().min(theirs.len());
            if ours[..count] != theirs[..count] {
                return false;
            }
            a_done += count;
            b_done += count;
            if a_done < len {
                a.push((first, len));
            } else {
                a_done = 0;
            }
            if b_done < second_len {
                b.push((second, second_len));
            } else {
                b_done = 0;
            }
        }
    }
    true
}

/// Adds a node's children, the first one last.
fn push_children<'a, T>(run: &mut Vec<Sized<'a, T>>, node: &'a Node<T>) {
    run.extend(sized_children(node).rev());
}

fn sized_children<T>(node: &Node<T>) -> impl DoubleEndedIterator<Item = Sized<'_, T>> + ExactSizeIterator {
    let children = node.children().iter().enumerate();
    children.map(|(at, child)| (child, node.range_of(at).len()))
}

impl<T: PartialEq> Iterator for Diff<'_, T> {
    type Item = Edit;

    fn next(&mut self) -> Option<Edit> {
        while let Some(gap) = self.rest.pop() {
            let Some(found) = self.narrow(gap) else { continue };
            match &mut self.edit {
                Some(edit) if edit.ours.end == found.ours.start && edit.theirs.end == found.theirs.start => {
                    edit.ours.end = found.ours.end;
                    edit.theirs.end = found.theirs.end;
                }
                edit => {
                    if let Some(edit) = edit.replace(found) {
                        return Some(edit);
                    }
                }
            }
        }
        self.edit.take()
    }
}

impl<T: PartialEq> FusedIterator for Diff<'_, T> {}

impl<T> fmt::Debug for Diff<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Diff").finish_non_exhaustive()
    }
}

impl<'a, T: PartialEq> Diff<'a, T> {
    /// Returns the edit that a gap is, or puts what is left to be compared in its place.
    fn narrow(&mut self, gap: Gap<'a, T>) -> Option<Edit> {
        let at = gap.at;
        match gap.runs {
            Runs::Edit(ours, theirs) => {
                return Some(Edit {
                    ours: at.0..at.0 + ours,
                    theirs: at.1..at.1 + theirs,
                });
            }
            Runs::Elements(ours, theirs) => self.narrow_elements(at, ours, theirs),
            Runs::Pair(ours, theirs) if ours.is_leaf() => {
                let differ = ours
                    .elements()
                    .iter()
                    .zip(theirs.elements())
                    .filter(|(a, b)| a != b);
                if differ.count() > SCRIPT_EDITS_MAX / 2 {
                    self.narrow_leaves(at, &[(ours, ours.len())], &[(theirs, theirs.len())]);
                } else {
                    self.narrow_elements(at, ours.elements(), theirs.elements());
                }
            }
            Runs::Pair(ours, theirs) => {
                let pairs = sized_children(ours).zip(theirs.children());
                let mut end = (at.0 + ours.len(), at.1 + theirs.len());
                for ((ours, len), theirs) in pairs.rev() {
                    end = (end.0 - len, end.1 - len);
                    if !ours.ptr_eq(theirs) {
                        let runs = Runs::of_two(ours, theirs, len);
                        self.rest.push(Gap { at: end, runs });
                    }
                }
            }
            Runs::Nodes(ours, theirs) => self.narrow_nodes(at, ours, theirs),
        }
        None
    }

    /// Puts two runs on the stack.
    fn add_nodes(&mut self, at: (usize, usize), ours: Vec<Sized<'a, T>>, theirs: Vec<Sized<'a, T>>) {
        let runs = match (&ours[..], &theirs[..]) {
            ([], []) => return,
            ([], _) | (_, []) => Runs::Edit(length(&ours), length(&theirs)),
            (&[(a, len)], &[(b, other)]) if len == other => Runs::of_two(a, b, len),
            _ => Runs::Nodes(ours, theirs),
        };
        self.rest.push(Gap { at, runs });
    }

    /// Leaves out the nodes that are in both runs, and takes apart what is between.
    fn narrow_nodes(&mut self, at: (usize, usize), ours: Vec<Sized<'a, T>>, theirs: Vec<Sized<'a, T>>) {
        let anchors = anchors(&ours, &theirs);
        if anchors.is_empty() {
            let height = |run: &[Sized<'_, T>]| run.iter().map(|(node, _)| node.height()).max();
            let top = height(&ours).max(height(&theirs)).unwrap_or(0);
            if top == 0 {
                return self.narrow_leaves(at, &ours, &theirs);
            }
            let (ours, theirs) = (taken_apart(&ours, top), taken_apart(&theirs, top));
            return self.add_nodes(at, ours, theirs);
        }
        // The last gap first, since the stack is popped from its end.
        let mut end = (ours.len(), theirs.len());
        let mut place = (at.0 + length(&ours), at.1 + length(&theirs));
        for &(our, their) in anchors.iter().rev() {
            let gap = (&ours[our + 1..end.0], &theirs[their + 1..end.1]);
            place = (place.0 - length(gap.0), place.1 - length(gap.1));
            self.add_nodes(place, gap.0.to_vec(), gap.1.to_vec());
            place = (place.0 - ours[our].1, place.1 - theirs[their].1);
            end = (our, their);
        }
        self.add_nodes(at, ours[..end.0].to_vec(), theirs[..end.1].to_vec());
    }

    /// Compares the elements of leaves that have none in common.
    fn narrow_leaves(&mut self, at: (usize, usize), ours: &[Sized<'a, T>], theirs: &[Sized<'a, T>]) {
        let elements = |run: &[Sized<'a, T>]| -> Vec<&'a T> {
            run.iter().flat_map(|(node, _)| node.elements()).collect()
        };
        let (ours, theirs) = (elements(ours), elements(theirs));
        let before = ours.iter().zip(&theirs).take_while(|(a, b)| a == b).count();
        let (ours, theirs) = (&ours[before..], &theirs[before..]);
        let behind = ours
            .iter()
            .rev()
            .zip(theirs.iter().rev())
            .take_while(|(a, b)| a == b)
            .count();
        let (ours, theirs) = (&ours[..ours.len() - behind], &theirs[..theirs.len() - behind]);
        let mut edits = script(ours, theirs);
        edits.reverse();
        for (place, counts) in edits {
            self.rest.push(Gap {
                at: (at.0 + before + place.0, at.1 + before + place.1),
                runs: Runs::Edit(counts.0, counts.1),
            });
        }
    }

    /// Finds the first elements that differ, in as many on each side.
    fn narrow_elements(&mut self, at: (usize, usize), ours: &'a [T], theirs: &'a [T]) {
        let pairs = || ours.iter().zip(theirs);
        // Equal runs are left behind by the block: without a branch for each element, and so many at once.
        let mut blocks = ours.chunks_exact(EQUAL_RUN).zip(theirs.chunks_exact(EQUAL_RUN));
        let same = blocks
            .position(|(a, b)| a != b)
            .map_or(0, |block| block * EQUAL_RUN);
        let Some(start) = pairs().skip(same).position(|(a, b)| a != b) else {
            return;
        };
        let start = same + start;
        let count = pairs().skip(start).take_while(|(a, b)| a != b).count();
        let end = start + count;
        self.rest.push(Gap {
            at: (at.0 + end, at.1 + end),
            runs: Runs::Elements(&ours[end..], &theirs[end..]),
        });
        self.rest.push(Gap {
            at: (at.0 + start, at.1 + start),
            runs: Runs::Edit(count, count),
        });
    }
}

fn length<T>(run: &[Sized<'_, T>]) -> usize {
    run.iter().map(|(_, len)| len).sum()
}

/// Returns the run with the children of its highest nodes in their place.
fn taken_apart<'a, T>(run: &[Sized<'a, T>], top: u8) -> Vec<Sized<'a, T>> {
    let mut children = Vec::with_capacity(run.len() + 16);
    for &(node, len) in run {
        if node.height() == top {
            children.extend(sized_children(node));
        } else {
            children.push((node, len));
        }
    }
    children
}

/// Returns nodes that are in both runs, by their places there, in the same order in both: as many as a common start and
/// end have, and between them those of a longest ascending sequence.
fn anchors<T>(ours: &[Sized<'_, T>], theirs: &[Sized<'_, T>]) -> Vec<(usize, usize)> {
    let equal = |(a, b): &(&Sized<'_, T>, &Sized<'_, T>)| a.0.ptr_eq(b.0);
    let before = ours.iter().zip(theirs).take_while(equal).count();
    let (our_rest, their_rest) = (&ours[before..], &theirs[before..]);
    let behind = our_rest
        .iter()
        .rev()
        .zip(their_rest.iter().rev())
        .take_while(equal)
        .count();
    let our_rest = &our_rest[..our_rest.len() - behind];
    let their_rest = &their_rest[..their_rest.len() - behind];

    let mut anchors: Vec<_> = (0..before).map(|at| (at, at)).collect();
    if !our_rest.is_empty() && !their_rest.is_empty() {
        let places: BTreeMap<_, _> = their_rest
            .iter()
            .enumerate()
            .map(|(at, (node, _))| (node.address(), at))
            .collect();
        let pairs = our_rest.iter().enumerate().filter_map(|(at, (node, _))| {
            let place = places.get(&node.address())?;
            Some((before + at, before + place))
        });
        anchors.extend(ascending(pairs));
    }
    anchors.extend(
        (0..behind)
            .rev()
            .map(|back| (ours.len() - 1 - back, theirs.len() - 1 - back)),
    );
    anchors
}

/// Returns a longest part of the pairs whose second places ascend; the first ones do.
fn ascending(pairs: impl Iterator<Item = (usize, usize)>) -> Vec<(usize, usize)> {
    // For each length the chain that ends lowest, and for each pair the one before it in its chain.
    let mut ends: Vec<usize> = Vec::new();
    let mut chain: Vec<((usize, usize), Option<usize>)> = Vec::new();
    for pair in pairs {
        let length = ends.partition_point(|&end| chain[end].0.1 < pair.1);
        let previous = length.checked_sub(1).map(|shorter| ends[shorter]);
        if length == ends.len() {
            ends.push(chain.len());
        } else {
            ends[length] = chain.len();
        }
        chain.push((pair, previous));
    }
    let mut longest = Vec::with_capacity(ends.len());
    let mut next = ends.last().copied();
    while let Some(at) = next {
        longest.push(chain[at].0);
        next = chain[at].1;
    }
    longest.reverse();
    longest
}

/// More edits than that between neighbouring leaves are not told apart: their number's square is the time it takes.
const SCRIPT_EDITS_MAX: usize = 32;

/// Equal elements are compared so many at once.
const EQUAL_RUN: usize = 16;

type Place = (usize, usize);

/// Returns a shortest way from the one row of elements to the other, as places with how many elements differ on either
/// side; or one edit for all of it, if there would be many.
///
/// Myers' greedy algorithm: for each number of edits, how far each diagonal can be followed.
fn script<T: PartialEq>(ours: &[&T], theirs: &[&T]) -> Vec<(Place, (usize, usize))> {
    let (our_len, their_len) = (ours.len(), theirs.len());
    if our_len == 0 && their_len == 0 {
        return Vec::new();
    }
    if our_len > 0 && their_len > 0 {
        let steps = SCRIPT_EDITS_MAX.min(our_len + their_len);
        let origin = steps + 1;
        let mut furthest = alloc::vec![0_usize; 2 * origin + 1];
        let mut history = Vec::new();
        for count in 0..=steps {
            history.push(furthest.clone());
            for diagonal in (origin - count..=origin + count).step_by(2) {
                let down = diagonal == origin - count
                    || (diagonal < origin + count && furthest[diagonal - 1] < furthest[diagonal + 1]);
                let mut x = if down {
                    furthest[diagonal + 1]
                } else {
                    furthest[diagonal - 1] + 1
                };
                let Some(mut y) = (x + origin).checked_sub(diagonal) else {
                    continue;
                };
                while x < our_len && y < their_len && ours[x] == theirs[y] {
                    (x, y) = (x + 1, y + 1);
                }
                furthest[diagonal] = x;
                if x >= our_len && y >= their_len {
                    return traced(&history, origin, (our_len, their_len));
                }
            }
        }
    }
    Vec::from([((0, 0), (our_len, their_len))])
}

/// Returns the edits on the way that [`script`] has found.
fn traced(history: &[Vec<usize>], origin: usize, end: Place) -> Vec<(Place, (usize, usize))> {
    let (mut x, mut y) = end;
    let mut edits: Vec<(Place, (usize, usize))> = Vec::new();
    for (count, furthest) in history.iter().enumerate().skip(1).rev() {
        let diagonal = origin + x - y;
        let down = diagonal == origin - count
            || (diagonal < origin + count && furthest[diagonal - 1] < furthest[diagonal + 1]);
        let (from, counts) = if down {
            let x = furthest[diagonal + 1];
            ((x, x + origin - diagonal - 1), (0, 1))
        } else {
            let x = furthest[diagonal - 1];
            ((x, x + origin + 1 - diagonal), (1, 0))
        };
        edits.push((from, counts));
        (x, y) = from;
    }
    edits.reverse();
    edits
}
