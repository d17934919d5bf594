//! What a slice gives out in parts, a [`List`] gives as lists that share its elements.

use core::ops::RangeBounds;

use super::List;
use crate::Text;

impl<T: Clone> List<T> {
    /// Returns the first element, and a list of the others. O(log n).
    pub fn split_first(&self) -> Option<(&T, Self)> {
        Some((self.first()?, self.slice(1..)))
    }

    /// Returns the last element, and a list of the others. O(log n).
    pub fn split_last(&self) -> Option<(&T, Self)> {
        Some((self.last()?, self.slice(..self.len() - 1)))
    }

    /// Returns a list of the first `mid` elements, and one of the others. O(log n).
    ///
    /// # Panics
    ///
    /// If `mid` is greater than the length.
    #[must_use]
    pub fn split_at(&self, mid: usize) -> (Self, Self) {
        self.split_at_checked(mid).expect("mid > len")
    }

    /// Returns what [`split_at`](Self::split_at) does, or nothing if `mid` is greater than the length.
    pub fn split_at_checked(&self, mid: usize) -> Option<(Self, Self)> {
        (mid <= self.len()).then(|| (self.slice(..mid), self.slice(mid..)))
    }

    /// Returns a list of what is behind `prefix`, if the list begins with it. O(log n), and the time to compare.
    pub fn strip_prefix(&self, prefix: &[T]) -> Option<Self>
    where
        T: PartialEq,
    {
        self.starts_with(prefix).then(|| self.slice(prefix.len()..))
    }

    /// Returns a list of what is before `suffix`, if the list ends with it. O(log n), and the time to compare.
    pub fn strip_suffix(&self, suffix: &[T]) -> Option<Self>
    where
        T: PartialEq,
    {
        let len = self.len().checked_sub(suffix.len())?;
        self.ends_with(suffix).then(|| self.slice(..len))
    }

    /// Returns the lists between which `is_together` returns false, called with an element and the next. O(log n) for each
    /// list, and a call for each element.
    pub fn chunk_by(&self, mut is_together: impl FnMut(&T, &T) -> bool) -> impl Iterator<Item = Self> {
        let mut start = 0;
        core::iter::from_fn(move || {
            let mut rest = self.range(start..);
            let mut last = rest.next()?;
            let mut end = start + 1;
            for next in rest {
                if !is_together(last, next) {
                    break;
                }
                (last, end) = (next, end + 1);
            }
            let part = self.slice(start..end);
            start = end;
            Some(part)
        })
    }

    /// Returns a list that has the elements `n` times, sharing them. O(log n), whatever the length.
    ///
    /// # Panics
    ///
    /// If there would be more than `isize::MAX` elements.
    #[must_use]
    pub fn repeat(&self, n: usize) -> Self {
        let len = self.len().checked_mul(n);
        assert!(
            len.is_some_and(|len| isize::try_from(len).is_ok()),
            "capacity overflow"
        );
        let (mut all, mut power, mut left) = (Self::new(), self.clone(), n);
        while left > 0 {
            if left % 2 == 1 {
                all.append(&mut power.clone());
            }
            left /= 2;
            if left > 0 {
                power.append(&mut power.clone());
            }
        }
        all
    }

    /// Sets the elements to clones of those of `values`. If one panics, nothing has changed.
    ///
    /// # Panics
    ///
    /// If there are more or fewer.
    pub fn clone_from_slice(&mut self, values: &[T]) {
        assert!(
            self.len() == values.len(),
            "destination and source slices have different lengths"
        );
        *self = values.into();
    }

    /// Puts the elements of `from` in the place of as many from `to` on, too. Of a large range they are shared, not cloned:
    /// O(log n). If a clone panics, nothing has changed.
    ///
    /// # Panics
    ///
    /// If the range starts behind its end, or ends behind the last element; or if there are fewer from `to` on.
    pub fn copy_within(&mut self, from: impl RangeBounds<usize>, to: usize) {
        let from = self.range_of(from);
        assert!(to <= self.len() - from.len(), "dest is out of bounds");
        let replaced = to..to + from.len();
        let part = self.slice(from);
        drop(self.replace_part(replaced, part));
    }

    /// Removes the element at `index` and returns it; the first takes its place. O(log n).
    pub fn swap_remove_front(&mut self, index: usize) -> Option<T> {
        self.get(index)?;
        self.swap(0, index);
        self.pop_front()
    }

    /// Removes the element at `index` and returns it; the last takes its place. O(log n).
    pub fn swap_remove_back(&mut self, index: usize) -> Option<T> {
        self.get(index)?;
        self.swap(index, self.len() - 1);
        self.pop()
    }
}

impl<T: AsRef<str>> List<T> {
    /// Returns the texts of all elements, with `separator` between each and the next.
    ///
    /// ```
    /// use tine_values::{List, Text};
    ///
    /// let lines = List::from([Text::from("one"), Text::from("two")]);
    /// assert_eq!(lines.join("\n"), "one\ntwo");
    /// ```
    pub fn join(&self, separator: &str) -> Text {
        let mut joined = Text::new();
        for (at, part) in self.iter().enumerate() {
            if at > 0 {
                joined.push_str(separator);
            }
            joined.push_str(part.as_ref());
        }
        joined
    }
}
