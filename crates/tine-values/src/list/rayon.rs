//! A [`List`] in parallel: `par_iter`, `par_iter_mut`, `into_par_iter`, all of them indexed, and collecting into one.

use alloc::vec;
use alloc::vec::Vec;
use core::mem;
use core::ops::Range;
use core::slice;

use rayon::iter::plumbing::{Consumer, Producer, ProducerCallback, UnindexedConsumer, bridge};
use rayon::iter::{
    FromParallelIterator, IndexedParallelIterator, IntoParallelIterator, ParallelExtend, ParallelIterator,
};

use super::List;
use super::iter::{IntoIter, Iter};

/// A parallel iterator over the elements of a [`List`]. A part begins where its first element is found, O(log n).
#[derive(Debug)]
pub struct ParIter<'a, T> {
    list: &'a List<T>,
    range: Range<usize>,
}

/// A parallel iterator over the elements of a [`List`], to be written.
#[derive(Debug)]
pub struct ParIterMut<'a, T> {
    chunks: Vec<&'a mut [T]>,
    len: usize,
}

/// A parallel iterator that takes the elements out of a [`List`], which it splits.
#[derive(Debug)]
pub struct IntoParIter<T> {
    list: List<T>,
}

impl<'a, T: Send + Sync> IntoParallelIterator for &'a List<T> {
    type Item = &'a T;
    type Iter = ParIter<'a, T>;

    fn into_par_iter(self) -> ParIter<'a, T> {
        ParIter {
            list: self,
            range: 0..self.len(),
        }
    }
}

impl<'a, T: Send + Sync + Clone> IntoParallelIterator for &'a mut List<T> {
    type Item = &'a mut T;
    type Iter = ParIterMut<'a, T>;

    /// Copies all that is shared, in this thread.
    fn into_par_iter(self) -> ParIterMut<'a, T> {
        ParIterMut {
            len: self.len(),
            chunks: self.chunks_mut().collect(),
        }
    }
}

impl<T: Send + Sync + Clone> IntoParallelIterator for List<T> {
    type Item = T;
    type Iter = IntoParIter<T>;

    fn into_par_iter(self) -> IntoParIter<T> {
        IntoParIter { list: self }
    }
}

impl<T: Send + Sync + Clone> ParallelExtend<T> for List<T> {
    /// Collects lists in parallel and joins them.
    fn par_extend<I: IntoParallelIterator<Item = T>>(&mut self, values: I) {
        let collected = values.into_par_iter().fold(List::new, |mut list, value| {
            list.push(value);
            list
        });
        let mut joined = collected.reduce(List::new, |mut list, mut behind| {
            list.append(&mut behind);
            list
        });
        self.append(&mut joined);
    }
}

impl<T: Send + Sync + Clone> FromParallelIterator<T> for List<T> {
    fn from_par_iter<I: IntoParallelIterator<Item = T>>(values: I) -> Self {
        let mut list = Self::new();
        list.par_extend(values);
        list
    }
}

/// Implements the parallel iterator that is its own producer.
macro_rules! parallel_iterator {
    ([$($lifetime:lifetime)?] $name:ty, $item:ty, |$this:ident| $len:expr $(, $bound:ident)?) => {
        impl<$($lifetime,)? T: Send + Sync $(+ $bound)?> ParallelIterator for $name {
            type Item = $item;

            fn drive_unindexed<C: UnindexedConsumer<Self::Item>>(self, consumer: C) -> C::Result {
                bridge(self, consumer)
            }

            fn opt_len(&self) -> Option<usize> {
                Some(self.len())
            }
        }

        impl<$($lifetime,)? T: Send + Sync $(+ $bound)?> IndexedParallelIterator for $name {
            fn len(&self) -> usize {
                let $this = self;
                $len
            }

            fn drive<C: Consumer<Self::Item>>(self, consumer: C) -> C::Result {
                bridge(self, consumer)
            }

            fn with_producer<C: ProducerCallback<Self::Item>>(self, callback: C) -> C::Output {
                callback.callback(self)
            }
        }
    };
}

parallel_iterator!(['a] ParIter<'a, T>, &'a T, |this| this.range.len());
parallel_iterator!(['a] ParIterMut<'a, T>, &'a mut T, |this| this.len, Clone);
parallel_iterator!([] IntoParIter<T>, T, |this| this.list.len(), Clone);

impl<'a, T: Send + Sync> Producer for ParIter<'a, T> {
    type Item = &'a T;
    type IntoIter = Iter<'a, T>;

    fn into_iter(self) -> Iter<'a, T> {
        self.list.range(self.range)
    }

    fn split_at(self, index: usize) -> (Self, Self) {
        let (list, middle) = (self.list, self.range.start + index);
        let part = |range| Self { list, range };
        (part(self.range.start..middle), part(middle..self.range.end))
    }
}

impl<T: Send + Sync + Clone> Producer for IntoParIter<T> {
    type Item = T;
    type IntoIter = IntoIter<T>;

    fn into_iter(self) -> IntoIter<T> {
        self.list.into_iter()
    }

    fn split_at(mut self, index: usize) -> (Self, Self) {
        let list = self.list.split_off(index);
        (self, Self { list })
    }
}

impl<'a, T: Send + Sync + Clone> Producer for ParIterMut<'a, T> {
    type Item = &'a mut T;
    type IntoIter = IterChunksMut<'a, T>;

    fn into_iter(self) -> IterChunksMut<'a, T> {
        IterChunksMut {
            front: [].iter_mut(),
            chunks: self.chunks.into_iter(),
            back: [].iter_mut(),
            len: self.len,
        }
    }

    fn split_at(mut self, index: usize) -> (Self, Self) {
        let mut before = 0;
        let at = self.chunks.iter().take_while(|chunk| {
            let is_before = before + chunk.len() <= index;
            before += if is_before { chunk.len() } else { 0 };
            is_before
        });
        let mut behind = self.chunks.split_off(at.count());
        if let Some(first) = behind.first_mut() {
            let (left, right) = mem::take(first).split_at_mut(index - before);
            *first = right;
            self.chunks.push(left);
        }
        let behind = Self {
            chunks: behind,
            len: self.len - index,
        };
        self.len = index;
        (self, behind)
    }
}

/// An iterator over the elements of some slices.
#[derive(Debug)]
pub struct IterChunksMut<'a, T> {
    front: slice::IterMut<'a, T>,
    chunks: vec::IntoIter<&'a mut [T]>,
    back: slice::IterMut<'a, T>,
    len: usize,
}

impl<'a, T> Iterator for IterChunksMut<'a, T> {
    type Item = &'a mut T;

    fn next(&mut self) -> Option<&'a mut T> {
        self.len = self.len.saturating_sub(1);
        loop {
            if let Some(element) = self.front.next() {
                return Some(element);
            }
            match self.chunks.next() {
                Some(chunk) => self.front = chunk.iter_mut(),
                None => return self.back.next(),
            }
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.len, Some(self.len))
    }
}

impl<'a, T> DoubleEndedIterator for IterChunksMut<'a, T> {
    fn next_back(&mut self) -> Option<&'a mut T> {
        self.len = self.len.saturating_sub(1);
        loop {
            if let Some(element) = self.back.next_back() {
                return Some(element);
            }
            match self.chunks.next_back() {
                Some(chunk) => self.back = chunk.iter_mut(),
                None => return self.front.next_back(),
            }
        }
    }
}

impl<T> ExactSizeIterator for IterChunksMut<'_, T> {}
