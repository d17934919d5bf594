//! The removals from a [`List`] of what a closure or a range chooses.

use alloc::vec::Vec;
use core::fmt;
use core::iter::FusedIterator;
use core::mem;
use core::ops::{Range, RangeBounds};

use super::List;
use super::iter::IntoIter;
use super::node::Node;

impl<T: Clone> List<T> {
    /// Removes the last element and returns it, if `predicate` returns true for it, which may write to it. Copies the
    /// last leaf if it is shared.
    pub fn pop_if(&mut self, predicate: impl FnOnce(&mut T) -> bool) -> Option<T> {
        predicate(self.last_mut()?).then(|| self.pop())?
    }

    /// Removes the first element and returns it, if `predicate` returns true for it, which may write to it. Copies the
    /// first leaf if it is shared.
    pub fn pop_front_if(&mut self, predicate: impl FnOnce(&mut T) -> bool) -> Option<T> {
        predicate(self.first_mut()?).then(|| self.pop_front())?
    }

    /// Removes the elements of `range` and returns them. They are gone at once, whether the iterator is used or not.
    /// O(log n).
    ///
    /// # Panics
    ///
    /// If the range starts behind its end, or ends behind the last element.
    pub fn drain(&mut self, range: impl RangeBounds<usize>) -> IntoIter<T> {
        let range = self.range_of(range);
        if range.is_empty() {
            return Self::new().into_iter();
        }
        self.replace_part(range, Self::new()).into_iter()
    }

    /// Returns an iterator that removes the elements of `range` for which `removes` returns true, which may write to them,
    /// and gives them. It does so as it is asked: what it has not come to when it is dropped stays. O(log n) for each
    /// element it looks at, and it copies the leaves it looks into if they are shared.
    ///
    /// # Panics
    ///
    /// If the range starts behind its end, or ends behind the last element.
    pub fn extract_if<F: FnMut(&mut T) -> bool>(
        &mut self,
        range: impl RangeBounds<usize>,
        removes: F,
    ) -> ExtractIf<'_, T, F> {
        let rest = self.range_of(range);
        ExtractIf {
            list: self,
            rest,
            removes,
        }
    }

    /// Removes the elements for which `keep` returns false. If none is removed, nothing is copied. If `keep` panics,
    /// nothing has changed.
    pub fn retain(&mut self, mut keep: impl FnMut(&T) -> bool) {
        let mut removed = Runs::default();
        for (index, element) in self.iter().enumerate() {
            if !keep(element) {
                removed.add(index);
            }
        }
        self.remove_runs(removed);
    }

    /// Removes the elements for which `keep` returns false, which may write to them. Copies all that is shared. If
    /// `keep` panics, no element has been removed.
    pub fn retain_mut(&mut self, mut keep: impl FnMut(&mut T) -> bool) {
        let mut removed = Runs::default();
        for (index, element) in self.iter_mut().enumerate() {
            if !keep(element) {
                removed.add(index);
            }
        }
        self.remove_runs(removed);
    }

    /// Removes each element that is equal to the one before it. If there is none, nothing is copied.
    pub fn dedup(&mut self)
    where
        T: PartialEq,
    {
        let mut removed = Runs::default();
        let mut elements = self.iter().enumerate();
        if let Some((_, mut kept)) = elements.next() {
            for (index, element) in elements {
                if *element == *kept {
                    removed.add(index);
                } else {
                    kept = element;
                }
            }
        }
        self.remove_runs(removed);
    }

    /// Removes each element that has the same key as the one before it. Copies all that is shared.
    pub fn dedup_by_key<K: PartialEq>(&mut self, mut key: impl FnMut(&mut T) -> K) {
        self.dedup_by(|element, kept| key(element) == key(kept));
    }

    /// Removes each element for which `same` returns true, called with it and with the one before it that is kept.
    /// Copies all that is shared.
    pub fn dedup_by(&mut self, mut same: impl FnMut(&mut T, &mut T) -> bool) {
        let mut removed = Runs::default();
        let mut elements = self.iter_mut().enumerate();
        if let Some((_, mut kept)) = elements.next() {
            for (index, element) in elements {
                if same(element, kept) {
                    removed.add(index);
                } else {
                    kept = element;
                }
            }
        }
        self.remove_runs(removed);
    }

    /// Removes the elements of these ranges. If a clone panics, nothing has changed.
    fn remove_runs(&mut self, removed: Runs) {
        if removed.runs.is_empty() {
            return;
        }
        if self.is_all_unique() {
            return self.take_out(removed.runs);
        }
        let mut rest = self.clone();
        rest.take_out(removed.runs);
        *self = rest;
    }

    /// Removes the elements of these ranges: a few are cut out, else the others are moved together.
    fn take_out(&mut self, runs: Vec<Range<usize>>) {
        if runs.len() * Node::<T>::LEAF <= self.len() {
            for run in runs.into_iter().rev() {
                drop(self.drain(run));
            }
            return;
        }
        let mut rest = mem::take(self).into_iter();
        let mut index = 0;
        for run in runs {
            self.extend(rest.by_ref().take(run.start - index));
            rest.by_ref().take(run.len()).for_each(drop);
            index = run.end;
        }
        self.extend(rest);
    }
}

/// Removes elements as it gives them: see [`List::extract_if`].
#[must_use = "nothing is removed until it is asked: see `retain_mut`"]
pub struct ExtractIf<'a, T, F> {
    list: &'a mut List<T>,
    /// Where the elements are that it has not come to.
    rest: Range<usize>,
    removes: F,
}

impl<T: Clone, F: FnMut(&mut T) -> bool> Iterator for ExtractIf<'_, T, F> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        while !self.rest.is_empty() {
            let at = self.rest.start;
            if (self.removes)(&mut self.list[at]) {
                let removed = self.list.remove(at);
                self.rest.end -= 1;
                return Some(removed);
            }
            self.rest.start += 1;
        }
        None
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, Some(self.rest.len()))
    }
}

impl<T: Clone, F: FnMut(&mut T) -> bool> FusedIterator for ExtractIf<'_, T, F> {}

impl<T, F> fmt::Debug for ExtractIf<'_, T, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExtractIf").finish_non_exhaustive()
    }
}

/// The indices of elements to be removed, in ascending order.
#[derive(Default)]
struct Runs {
    runs: Vec<Range<usize>>,
}

impl Runs {
    fn add(&mut self, index: usize) {
        match self.runs.last_mut() {
            Some(last) if last.end == index => last.end += 1,
            _ => self.runs.push(index..index + 1),
        }
    }
}
