#![allow(unsafe_code)]
//! The iterators of a [`List`]: over its leaves, and from them over its elements.
//!
//! From one leaf to the next is a step in the node above them; at its end the way is found anew from the top. The mutable
//! ones copy what is shared when they come to it.
//!
//! **Invariant:** a [`ChunksMut`] gives each leaf out at most once: its range and its neighbours move over a leaf together,
//! when the leaf is copied and nothing can panic any more, and no element is before the range's start once it has been.
//! What is given out is never looked at again, only the nodes above are.

use core::fmt;
use core::iter::FusedIterator;
use core::marker::PhantomData;
use core::ops::Range;
use core::ptr::{self, NonNull};
use core::slice;

use super::List;
use super::node::Node;
use super::trunk::Place;

/// A leaf, among the neighbours that have the same parent.
struct Spot<S> {
    siblings: S,
    at: usize,
    /// Which of the leaf's elements was looked for.
    offset: usize,
}

impl<T> List<T> {
    /// Returns the leaf that has the element at `index`, which there has to be.
    fn spot(&self, index: usize) -> Option<Spot<&[Node<T>]>> {
        let alone = |leaf, offset| Spot {
            siblings: slice::from_ref(leaf),
            at: 0,
            offset,
        };
        let root = self.root.as_ref()?;
        let Some(trunk) = root.trunk() else {
            return Some(alone(root, index));
        };
        let (mut node, mut offset) = match trunk.place(index) {
            Place::Head(offset) => return Some(alone(trunk.head.as_ref()?, offset)),
            Place::Tail(offset) => return Some(alone(trunk.tail.as_ref()?, offset)),
            Place::Tree(offset) => (trunk.tree.as_ref()?, offset),
        };
        while !node.is_leaf() {
            let (at, before) = node.locate(offset);
            offset -= before;
            if node.height() == 1 {
                let siblings = node.children();
                return Some(Spot { siblings, at, offset });
            }
            node = &node.children()[at];
        }
        Some(alone(node, offset))
    }
}

impl<T: Clone> List<T> {
    /// Returns the leaf that has the element at `index`, for writing: no node above it is shared then. No reference to
    /// a leaf's elements is made.
    fn spot_mut(&mut self, index: usize) -> Option<Spot<*mut [Node<T>]>> {
        let alone = |leaf: &mut Node<T>, offset| Spot {
            siblings: ptr::slice_from_raw_parts_mut(leaf, 1),
            at: 0,
            offset,
        };
        let root = self.root.as_mut()?;
        if root.is_leaf() {
            return Some(alone(root, index));
        }
        let trunk = Self::make_trunk_mut(root)?;
        let (mut node, mut offset) = match trunk.place(index) {
            Place::Head(offset) => return Some(alone(trunk.head.as_mut()?, offset)),
            Place::Tail(offset) => return Some(alone(trunk.tail.as_mut()?, offset)),
            Place::Tree(offset) => (trunk.tree.as_mut()?, offset),
        };
        while !node.is_leaf() {
            let (at, before) = node.locate(offset);
            offset -= before;
            let is_last = node.height() == 1;
            let siblings = node.make_inner_mut().into_raw_children();
            if is_last {
                return Some(Spot { siblings, at, offset });
            }
            // SAFETY: `locate` finds a child that there is, and `node`, which was borrowed mutably, is forgotten for it.
            node = unsafe { &mut *siblings.cast::<Node<T>>().add(at) };
        }
        Some(alone(node, offset))
    }
}

/// An iterator over the leaves of a [`List`], as slices: see [`List::chunks`].
pub struct Chunks<'a, T> {
    list: &'a List<T>,
    /// The indices that are still to come.
    range: Range<usize>,
    /// Leaves behind the one last given out, below the same parent.
    front: &'a [Node<T>],
    /// Leaves before the one last given out from the back, below the same parent.
    back: &'a [Node<T>],
}

impl<'a, T> Chunks<'a, T> {
    pub(super) fn new(list: &'a List<T>, range: Range<usize>) -> Self {
        Self {
            list,
            range,
            front: &[],
            back: &[],
        }
    }

    #[inline]
    fn front(&mut self) -> Option<&'a [T]> {
        if let Some((leaf, others)) = self.front.split_first() {
            self.front = others;
            return Some(leaf.elements());
        }
        self.front_of_next()
    }

    fn front_of_next(&mut self) -> Option<&'a [T]> {
        let spot = self.list.spot(self.range.start)?;
        self.front = &spot.siblings[spot.at + 1..];
        Some(&spot.siblings[spot.at].elements()[spot.offset..])
    }

    fn back(&mut self) -> Option<&'a [T]> {
        if let Some((leaf, others)) = self.back.split_last() {
            self.back = others;
            return Some(leaf.elements());
        }
        let spot = self.list.spot(self.range.end - 1)?;
        self.back = &spot.siblings[..spot.at];
        Some(&spot.siblings[spot.at].elements()[..=spot.offset])
    }
}

impl<'a, T> Iterator for Chunks<'a, T> {
    type Item = &'a [T];

    #[inline]
    fn next(&mut self) -> Option<&'a [T]> {
        if self.range.is_empty() {
            return None;
        }
        let chunk = self.front()?;
        let chunk = &chunk[..chunk.len().min(self.range.len())];
        self.range.start += chunk.len();
        Some(chunk)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (usize::from(!self.range.is_empty()), Some(self.range.len()))
    }
}

impl<'a, T> DoubleEndedIterator for Chunks<'a, T> {
    #[inline]
    fn next_back(&mut self) -> Option<&'a [T]> {
        if self.range.is_empty() {
            return None;
        }
        let chunk = self.back()?;
        let chunk = &chunk[chunk.len() - chunk.len().min(self.range.len())..];
        self.range.end -= chunk.len();
        Some(chunk)
    }
}

/// An iterator over the leaves of a [`List`], as slices to be written: see [`List::chunks_mut`].
pub struct ChunksMut<'a, T> {
    list: NonNull<List<T>>,
    range: Range<usize>,
    front: *mut [Node<T>],
    back: *mut [Node<T>],
    borrows: PhantomData<&'a mut List<T>>,
}

// SAFETY: it is a mutable borrow of a list.
unsafe impl<T: Send + Sync> Send for ChunksMut<'_, T> {}
// SAFETY: as for `Send`; a shared borrow of the iterator only tells its range.
unsafe impl<T: Send + Sync> Sync for ChunksMut<'_, T> {}

/// Returns a list of no siblings.
fn none<T>() -> *mut [Node<T>] {
    ptr::slice_from_raw_parts_mut(ptr::dangling_mut(), 0)
}

impl<'a, T: Clone> ChunksMut<'a, T> {
    pub(super) fn new(list: &'a mut List<T>, range: Range<usize>) -> Self {
        Self {
            list: NonNull::from(list),
            range,
            front: none(),
            back: none(),
            borrows: PhantomData,
        }
    }

    /// Returns where the elements from the start of the range to the end of their leaf are.
    fn front(&mut self) -> Option<*mut [T]> {
        // SAFETY: the nodes above the leaves are reached only by this borrow of the list, one at a time.
        unsafe {
            if self.front.len() > 0 {
                let leaf = self.front.cast::<Node<T>>();
                let elements = (*leaf).make_leaf_mut(0).into_raw();
                self.front = ptr::slice_from_raw_parts_mut(leaf.add(1), self.front.len() - 1);
                return Some(elements);
            }
            let spot = self.list.as_mut().spot_mut(self.range.start)?;
            let leaf = spot.siblings.cast::<Node<T>>().add(spot.at);
            let elements = (*leaf).make_leaf_mut(0).into_raw();
            self.front = ptr::slice_from_raw_parts_mut(leaf.add(1), spot.siblings.len() - spot.at - 1);
            Some(part(elements, spot.offset..elements.len()))
        }
    }

    /// Returns where the elements up to the end of the range are, from the start of their leaf.
    fn back(&mut self) -> Option<*mut [T]> {
        // SAFETY: as for `front`.
        unsafe {
            if let Some(last) = self.back.len().checked_sub(1) {
                let first = self.back.cast::<Node<T>>();
                let elements = (*first.add(last)).make_leaf_mut(0).into_raw();
                self.back = ptr::slice_from_raw_parts_mut(first, last);
                return Some(elements);
            }
            let spot = self.list.as_mut().spot_mut(self.range.end - 1)?;
            let first = spot.siblings.cast::<Node<T>>();
            let elements = (*first.add(spot.at)).make_leaf_mut(0).into_raw();
            self.back = ptr::slice_from_raw_parts_mut(first, spot.at);
            Some(part(elements, 0..spot.offset + 1))
        }
    }
}

/// Returns a part of what a pointer points to.
fn part<T>(elements: *mut [T], range: Range<usize>) -> *mut [T] {
    debug_assert!(range.start <= range.end && range.end <= elements.len());
    ptr::slice_from_raw_parts_mut(elements.cast::<T>().wrapping_add(range.start), range.len())
}

impl<'a, T: Clone> Iterator for ChunksMut<'a, T> {
    type Item = &'a mut [T];

    fn next(&mut self) -> Option<&'a mut [T]> {
        if self.range.is_empty() {
            return None;
        }
        let chunk = self.front()?;
        let chunk = part(chunk, 0..chunk.len().min(self.range.len()));
        self.range.start += chunk.len();
        // SAFETY: the elements are initialised, the leaf has no other owner, and they are given out this once.
        Some(unsafe { &mut *chunk })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (usize::from(!self.range.is_empty()), Some(self.range.len()))
    }
}

impl<'a, T: Clone> DoubleEndedIterator for ChunksMut<'a, T> {
    fn next_back(&mut self) -> Option<&'a mut [T]> {
        if self.range.is_empty() {
            return None;
        }
        let chunk = self.back()?;
        let chunk = part(
            chunk,
            chunk.len() - chunk.len().min(self.range.len())..chunk.len(),
        );
        self.range.end -= chunk.len();
        // SAFETY: as for `next`.
        Some(unsafe { &mut *chunk })
    }
}

/// An iterator over the elements of a [`List`]: see [`List::iter`].
pub struct Iter<'a, T> {
    front: slice::Iter<'a, T>,
    chunks: Chunks<'a, T>,
    back: slice::Iter<'a, T>,
}

/// An iterator over the elements of a [`List`], to be written: see [`List::iter_mut`].
pub struct IterMut<'a, T> {
    front: slice::IterMut<'a, T>,
    chunks: ChunksMut<'a, T>,
    back: slice::IterMut<'a, T>,
}

/// An iterator that takes the elements out of a [`List`]: see [`List::into_iter`](IntoIterator::into_iter).
///
/// What other lists share is cloned when the iterator comes to it, the rest is moved.
#[derive(Clone)]
pub struct IntoIter<T> {
    list: List<T>,
}

impl<'a, T> Iter<'a, T> {
    #[inline]
    pub(super) fn new(list: &'a List<T>, range: Range<usize>) -> Self {
        // A list of one block needs no way to the next.
        let flat = list.root.as_ref().map_or(&[][..], Node::elements);
        let (front, range) = match flat.get(range.clone()) {
            Some(front) => (front, range.end..range.end),
            None => (&[][..], range),
        };
        Self {
            front: front.iter(),
            chunks: Chunks::new(list, range),
            back: [].iter(),
        }
    }
}

impl<'a, T: Clone> IterMut<'a, T> {
    pub(super) fn new(chunks: ChunksMut<'a, T>) -> Self {
        Self {
            front: [].iter_mut(),
            chunks,
            back: [].iter_mut(),
        }
    }
}

impl<T> IntoIter<T> {
    pub(super) fn new(list: List<T>) -> Self {
        Self { list }
    }
}

/// Implements the iterators that have a slice at each end and chunks between them.
macro_rules! element_iterator {
    ($name:ident, $item:ty, $into_iter:ident, $none:expr $(, $bound:ident)?) => {
        impl<'a, T $(: $bound)?> Iterator for $name<'a, T> {
            type Item = $item;

            #[inline]
            fn next(&mut self) -> Option<$item> {
                loop {
                    if let Some(element) = self.front.next() {
                        return Some(element);
                    }
                    match self.chunks.next() {
                        Some(chunk) => self.front = chunk.$into_iter(),
                        None => return self.back.next(),
                    }
                }
            }

            fn size_hint(&self) -> (usize, Option<usize>) {
                let len = self.front.len() + self.chunks.range.len() + self.back.len();
                (len, Some(len))
            }

            /// O(log n).
            fn nth(&mut self, n: usize) -> Option<$item> {
                let here = self.front.len();
                if n < here {
                    return self.front.nth(n);
                }
                let (n, between) = (n - here, self.chunks.range.len());
                self.front = Default::default();
                if n >= between {
                    self.chunks.range.start = self.chunks.range.end;
                    return self.back.nth(n - between);
                }
                self.chunks.range.start += n;
                self.chunks.front = $none;
                self.front = self.chunks.next()?.$into_iter();
                self.front.next()
            }

            fn fold<A, F: FnMut(A, $item) -> A>(self, initial: A, mut f: F) -> A {
                let so_far = self.front.fold(initial, &mut f);
                let so_far = self
                    .chunks
                    .fold(so_far, |so_far, chunk| chunk.$into_iter().fold(so_far, &mut f));
                self.back.fold(so_far, f)
            }

            fn count(self) -> usize {
                self.len()
            }

            fn last(mut self) -> Option<$item> {
                self.next_back()
            }
        }

        impl<'a, T $(: $bound)?> DoubleEndedIterator for $name<'a, T> {
            #[inline]
            fn next_back(&mut self) -> Option<$item> {
                loop {
                    if let Some(element) = self.back.next_back() {
                        return Some(element);
                    }
                    match self.chunks.next_back() {
                        Some(chunk) => self.back = chunk.$into_iter(),
                        None => return self.front.next_back(),
                    }
                }
            }

            fn rfold<A, F: FnMut(A, $item) -> A>(self, initial: A, mut f: F) -> A {
                let so_far = self.back.rfold(initial, &mut f);
                let so_far = self
                    .chunks
                    .rfold(so_far, |so_far, chunk| chunk.$into_iter().rfold(so_far, &mut f));
                self.front.rfold(so_far, f)
            }
        }

        impl<T $(: $bound)?> ExactSizeIterator for $name<'_, T> {}
        impl<T $(: $bound)?> FusedIterator for $name<'_, T> {}
    };
}

element_iterator!(Iter, &'a T, iter, &[]);
element_iterator!(IterMut, &'a mut T, iter_mut, none(), Clone);

impl<T: Clone> Iterator for IntoIter<T> {
    type Item = T;

    #[inline]
    fn next(&mut self) -> Option<T> {
        self.list.pop_front()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let len = self.list.len();
        (len, Some(len))
    }

    fn count(self) -> usize {
        self.list.len()
    }
}

impl<T: Clone> DoubleEndedIterator for IntoIter<T> {
    #[inline]
    fn next_back(&mut self) -> Option<T> {
        self.list.pop()
    }
}

impl<T: Clone> ExactSizeIterator for IntoIter<T> {}
impl<T: Clone> FusedIterator for IntoIter<T> {}
impl<T> FusedIterator for Chunks<'_, T> {}
impl<T: Clone> FusedIterator for ChunksMut<'_, T> {}

impl<T> Clone for Chunks<'_, T> {
    fn clone(&self) -> Self {
        Self {
            range: self.range.clone(),
            ..*self
        }
    }
}

impl<T> Clone for Iter<'_, T> {
    fn clone(&self) -> Self {
        Self {
            front: self.front.clone(),
            chunks: self.chunks.clone(),
            back: self.back.clone(),
        }
    }
}

impl<T: fmt::Debug> fmt::Debug for Chunks<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.clone()).finish()
    }
}

impl<T: fmt::Debug> fmt::Debug for Iter<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.clone()).finish()
    }
}

impl<T: fmt::Debug> fmt::Debug for IntoIter<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.list.fmt(f)
    }
}
