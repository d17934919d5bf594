//! The traits of std that a [`List`] has as a `Vec` does.

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::collections::{BinaryHeap, VecDeque};
use alloc::rc::Rc;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cmp::Ordering;
use core::fmt;
use core::hash::{Hash, Hasher};

use super::List;
use super::iter::{IntoIter, Iter, IterMut};
use super::node::Node;
use super::trunk::Trunk;

impl<T> Clone for List<T> {
    /// Returns a list that shares everything: one atomic increment, whatever the length.
    #[inline]
    fn clone(&self) -> Self {
        Self {
            root: self.root.clone(),
        }
    }
}

impl<T> Drop for List<T> {
    /// Frees what only this list reaches. Recurs no deeper than the tree is high.
    #[inline]
    fn drop(&mut self) {
        if let Some(root) = self.root.take() {
            root.give_up();
        }
    }
}

impl<T> Default for List<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: fmt::Debug> fmt::Debug for List<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self).finish()
    }
}

impl<T: Hash> Hash for List<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_usize(self.len());
        self.iter().for_each(|element| element.hash(state));
    }
}

impl<T: PartialOrd> PartialOrd for List<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        self.iter().partial_cmp(other)
    }
}

impl<T: Ord> Ord for List<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.iter().cmp(other)
    }
}

impl<T: Eq> Eq for List<T> {}

/// Compares a list with what is a slice.
macro_rules! eq_slice {
    ($([$($n:ident)?] $slice:ty),+ $(,)?) => {$(
        impl<T: PartialEq<U>, U $(, const $n: usize)?> PartialEq<$slice> for List<T> {
            fn eq(&self, other: &$slice) -> bool {
                eq_slice(self, &other[..])
            }
        }
    )+};
}

eq_slice!([] [U], [] &[U], [] &mut [U], [] Vec<U>, [N] [U; N], [N] &[U; N], [N] &mut [U; N]);

impl<T: PartialEq<U>, U> PartialEq<VecDeque<U>> for List<T> {
    fn eq(&self, other: &VecDeque<U>) -> bool {
        self.len() == other.len() && self.iter().zip(other).all(|(a, b)| a == b)
    }
}

/// The same the other way around.
macro_rules! slice_eq {
    ($([$($n:ident)?] $slice:ty),+ $(,)?) => {$(
        impl<T: PartialEq<U>, U $(, const $n: usize)?> PartialEq<List<U>> for $slice {
            fn eq(&self, other: &List<U>) -> bool {
                self.len() == other.len() && self.iter().zip(other).all(|(a, b)| a == b)
            }
        }
    )+};
}

slice_eq!([] [T], [] &[T], [] &mut [T], [] Vec<T>, [N] [T; N], [N] &[T; N], [N] &mut [T; N], [] VecDeque<T>);

fn eq_slice<T: PartialEq<U>, U>(list: &List<T>, mut slice: &[U]) -> bool {
    list.len() == slice.len()
        && list.chunks().all(|chunk| {
            let (here, behind) = slice.split_at(chunk.len());
            slice = behind;
            chunk == here
        })
}

impl<T: Clone> FromIterator<T> for List<T> {
    fn from_iter<I: IntoIterator<Item = T>>(values: I) -> Self {
        let values = values.into_iter();
        let mut list = match values.size_hint().0 {
            len if len <= Node::<T>::FLAT => Self::with_capacity(len),
            // It will be a tree: its leaves are filled one after the other.
            _ => Self::from_root(Node::new_trunk(Trunk::new(None, None, None))),
        };
        list.extend(values);
        list
    }
}

impl<T: Clone> Extend<T> for List<T> {
    fn extend<I: IntoIterator<Item = T>>(&mut self, values: I) {
        let mut values = values.into_iter();
        while let Some(value) = values.next() {
            self.push(value);
            if let Some(mut leaf) = self.last_leaf_mut() {
                leaf.fill(values.by_ref());
            }
        }
    }
}

impl<'a, T: Copy + 'a> Extend<&'a T> for List<T> {
    fn extend<I: IntoIterator<Item = &'a T>>(&mut self, values: I) {
        self.extend(values.into_iter().copied());
    }
}

impl<T: Clone> From<Vec<T>> for List<T> {
    fn from(values: Vec<T>) -> Self {
        values.into_iter().collect()
    }
}

impl<T: Clone> From<&[T]> for List<T> {
    fn from(values: &[T]) -> Self {
        if values.len() <= Node::<T>::FLAT {
            return Self::of_slice(values);
        }
        values.iter().cloned().collect()
    }
}

impl<T: Clone, const N: usize> From<[T; N]> for List<T> {
    fn from(values: [T; N]) -> Self {
        values.into_iter().collect()
    }
}

impl<T: Clone, const N: usize> From<&[T; N]> for List<T> {
    fn from(values: &[T; N]) -> Self {
        Self::from(&values[..])
    }
}

impl<T: Clone> From<Box<[T]>> for List<T> {
    fn from(values: Box<[T]>) -> Self {
        Vec::from(values).into()
    }
}

impl<T: Clone> From<VecDeque<T>> for List<T> {
    fn from(values: VecDeque<T>) -> Self {
        values.into_iter().collect()
    }
}

impl<T: Clone> From<BinaryHeap<T>> for List<T> {
    fn from(values: BinaryHeap<T>) -> Self {
        values.into_vec().into()
    }
}

impl<T: Clone> From<&mut [T]> for List<T> {
    fn from(values: &mut [T]) -> Self {
        Self::from(&*values)
    }
}

impl<T: Clone> From<Cow<'_, [T]>> for List<T> {
    fn from(values: Cow<'_, [T]>) -> Self {
        match values {
            Cow::Borrowed(values) => values.into(),
            Cow::Owned(values) => values.into(),
        }
    }
}

impl<T: Clone> From<List<T>> for Box<[T]> {
    fn from(list: List<T>) -> Self {
        Vec::from(list).into()
    }
}

impl<T: Clone> From<List<T>> for Rc<[T]> {
    fn from(list: List<T>) -> Self {
        list.into_iter().collect()
    }
}

impl<T: Clone> From<List<T>> for Arc<[T]> {
    fn from(list: List<T>) -> Self {
        list.into_iter().collect()
    }
}

impl<T: Clone + Ord> From<List<T>> for BinaryHeap<T> {
    fn from(list: List<T>) -> Self {
        Vec::from(list).into()
    }
}

impl<T: Clone> From<List<T>> for VecDeque<T> {
    fn from(list: List<T>) -> Self {
        list.into_iter().collect()
    }
}

impl<T: Clone> From<List<T>> for Vec<T> {
    fn from(list: List<T>) -> Self {
        list.into_iter().collect()
    }
}

impl<'a, T> IntoIterator for &'a List<T> {
    type Item = &'a T;
    type IntoIter = Iter<'a, T>;

    #[inline]
    fn into_iter(self) -> Iter<'a, T> {
        self.iter()
    }
}

impl<'a, T: Clone> IntoIterator for &'a mut List<T> {
    type Item = &'a mut T;
    type IntoIter = IterMut<'a, T>;

    fn into_iter(self) -> IterMut<'a, T> {
        self.iter_mut()
    }
}

impl<T: Clone> IntoIterator for List<T> {
    type Item = T;
    type IntoIter = IntoIter<T>;

    fn into_iter(self) -> IntoIter<T> {
        IntoIter::new(self)
    }
}
