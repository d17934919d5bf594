//! Union, intersection and differences: as iterators, like std's, and as sets, by operators.

use alloc::vec::Vec;
use core::cmp::Ordering;
use core::fmt;
use core::iter::FusedIterator;
use core::ops::{BitAnd, BitOr, BitXor, Sub};

use super::SortedSet;
use crate::few::is_few;
use crate::sorted::compare::{Found, Side, step, step_all};

/// The elements of one set or the other: what [`SortedSet::union`] returns.
pub struct Union<'a, T> {
    sides: Sides<'a, T>,
}

/// The elements of both sets: what [`SortedSet::intersection`] returns.
pub struct Intersection<'a, T> {
    sides: Sides<'a, T>,
}

/// The elements of one set that are not in the other: what [`SortedSet::difference`] returns.
pub struct Difference<'a, T> {
    sides: Sides<'a, T>,
}

/// The elements that are in one of two sets only: what [`SortedSet::symmetric_difference`] returns.
pub struct SymmetricDifference<'a, T> {
    sides: Sides<'a, T>,
}

/// Two sets that are gone through at once.
struct Sides<'a, T> {
    left: Side<'a, T, ()>,
    right: Side<'a, T, ()>,
}

impl<T> Clone for Sides<'_, T> {
    fn clone(&self) -> Self {
        Self {
            left: self.left.clone(),
            right: self.right.clone(),
        }
    }
}

impl<'a, T: Ord> Sides<'a, T> {
    fn new(left: &'a SortedSet<T>, right: &'a SortedSet<T>) -> Self {
        Self {
            left: Side::new(left.map.root.as_ref()),
            right: Side::new(right.map.root.as_ref()),
        }
    }

    /// Returns the next element of either.
    fn next(&mut self) -> Option<Found<'a, T, ()>> {
        step_all(&mut self.left, &mut self.right)
    }

    /// Returns the next element that is not in a node which both share.
    fn next_unshared(&mut self) -> Option<Found<'a, T, ()>> {
        step(&mut self.left, &mut self.right)
    }
}

impl<T: Ord> SortedSet<T> {
    /// Returns an iterator over the elements that are in this set or in `other`, in order. O(n + m).
    pub fn union<'a>(&'a self, other: &'a Self) -> Union<'a, T> {
        Union {
            sides: Sides::new(self, other),
        }
    }

    /// Returns an iterator over the elements that are in this set and in `other`, in order. O(n + m).
    pub fn intersection<'a>(&'a self, other: &'a Self) -> Intersection<'a, T> {
        Intersection {
            sides: Sides::new(self, other),
        }
    }

    /// Returns an iterator over the elements of this set that are not in `other`, in order. O(n + m), without what both
    /// share.
    pub fn difference<'a>(&'a self, other: &'a Self) -> Difference<'a, T> {
        Difference {
            sides: Sides::new(self, other),
        }
    }

    /// Returns an iterator over the elements that are in this set or in `other` and not in both, in order. O(n + m),
    /// without what both share.
    pub fn symmetric_difference<'a>(&'a self, other: &'a Self) -> SymmetricDifference<'a, T> {
        SymmetricDifference {
            sides: Sides::new(self, other),
        }
    }

    /// Returns whether all elements are in `other` too. O(n + m) at most, without what both share.
    pub fn is_subset(&self, other: &Self) -> bool {
        self.len() <= other.len() && self.difference(other).next().is_none()
    }

    /// Returns whether all elements of `other` are in this set too. O(n + m) at most, without what both share.
    pub fn is_superset(&self, other: &Self) -> bool {
        other.is_subset(self)
    }

    /// Returns whether no element is in both. O(n + m) at most.
    pub fn is_disjoint(&self, other: &Self) -> bool {
        self.intersection(other).next().is_none()
    }

    /// Returns how the ranges of elements lie, if neither set begins before the other has ended.
    fn apart(&self, other: &Self) -> Option<Ordering> {
        let (Some(first), Some(last)) = (self.first(), self.last()) else {
            return Some(Ordering::Less);
        };
        let (Some(other_first), Some(other_last)) = (other.first(), other.last()) else {
            return Some(Ordering::Less);
        };
        if last < other_first {
            Some(Ordering::Less)
        } else if other_last < first {
            Some(Ordering::Greater)
        } else {
            None
        }
    }
}

/// What is in one set only, on each side.
struct Unshared<'a, T> {
    left: Vec<&'a T>,
    right: Vec<&'a T>,
}

impl<'a, T: Ord> Unshared<'a, T> {
    fn of(left: &'a SortedSet<T>, right: &'a SortedSet<T>) -> Self {
        let mut sides = Sides::new(left, right);
        let mut unshared = Self {
            left: Vec::new(),
            right: Vec::new(),
        };
        while let Some(found) = sides.next_unshared() {
            match found {
                Found::Left(element, ()) => unshared.left.push(element),
                Found::Right(element, ()) => unshared.right.push(element),
                Found::Both(..) => {}
            }
        }
        unshared
    }
}

impl<T: Ord + Clone> SortedSet<T> {
    fn with<'a>(&self, elements: impl IntoIterator<Item = &'a T>) -> Self
    where
        T: 'a,
    {
        let mut set = self.clone();
        set.extend(elements.into_iter().cloned());
        set
    }

    fn without<'a>(&self, elements: impl IntoIterator<Item = &'a T>) -> Self
    where
        T: 'a,
    {
        let mut set = self.clone();
        for element in elements {
            set.remove(element);
        }
        set
    }

    fn is_few(&self, count: usize) -> bool {
        is_few(count, self.len())
    }
}

impl<T: Ord + Clone> BitOr for &SortedSet<T> {
    type Output = SortedSet<T>;

    /// Returns the elements of both. What both share is not looked at, and the result shares its nodes with the set that
    /// less has to be added to.
    fn bitor(self, other: &SortedSet<T>) -> SortedSet<T> {
        if let Some(order) = self.apart(other) {
            let (mut first, mut second) = (self.clone(), other.clone());
            if order.is_gt() {
                core::mem::swap(&mut first, &mut second);
            }
            first.append(&mut second);
            return first;
        }
        if self.is_few(other.len()) {
            return self.with(other);
        }
        if other.is_few(self.len()) {
            return other.with(self);
        }
        let Unshared { left, right } = Unshared::of(self, other);
        if self.is_few(right.len()) && right.len() <= left.len() || right.is_empty() {
            self.with(right)
        } else if other.is_few(left.len()) || left.is_empty() {
            other.with(left)
        } else {
            self.union(other).cloned().collect()
        }
    }
}

impl<T: Ord + Clone> BitAnd for &SortedSet<T> {
    type Output = SortedSet<T>;

    /// Returns the elements that are in both. What both share is not looked at, and the result shares its nodes with the
    /// set that less has to be removed from.
    fn bitand(self, other: &SortedSet<T>) -> SortedSet<T> {
        if self.apart(other).is_some() {
            return SortedSet::new();
        }
        if self.is_few(other.len()) {
            return other
                .iter()
                .filter(|element| self.contains(*element))
                .cloned()
                .collect();
        }
        if other.is_few(self.len()) {
            return self
                .iter()
                .filter(|element| other.contains(*element))
                .cloned()
                .collect();
        }
        let Unshared { left, right } = Unshared::of(self, other);
        if self.is_few(left.len()) && left.len() <= right.len() || left.is_empty() {
            self.without(left)
        } else if other.is_few(right.len()) || right.is_empty() {
            other.without(right)
        } else {
            self.intersection(other).cloned().collect()
        }
    }
}

impl<T: Ord + Clone> Sub for &SortedSet<T> {
    type Output = SortedSet<T>;

    /// Returns the elements that are not in `other`. What both share is not looked at; where little is removed, the
    /// result shares its nodes with this set.
    fn sub(self, other: &SortedSet<T>) -> SortedSet<T> {
        if self.apart(other).is_some() {
            return self.clone();
        }
        if self.is_few(other.len()) {
            return self.without(other);
        }
        self.difference(other).cloned().collect()
    }
}

impl<T: Ord + Clone> BitXor for &SortedSet<T> {
    type Output = SortedSet<T>;

    /// Returns the elements that are in one set only. What both share is not looked at.
    fn bitxor(self, other: &SortedSet<T>) -> SortedSet<T> {
        if self.apart(other).is_some() {
            return self | other;
        }
        let (larger, smaller) = if self.len() < other.len() {
            (other, self)
        } else {
            (self, other)
        };
        if !larger.is_few(smaller.len()) {
            return self.symmetric_difference(other).cloned().collect();
        }
        let mut set = larger.clone();
        for element in smaller {
            if !set.remove(element) {
                set.insert(element.clone());
            }
        }
        set
    }
}

/// Implements an iterator that gives what is found on some sides.
macro_rules! finding {
    ($name:ident, $next:ident, $($side:pat => $element:expr),*) => {
        impl<'a, T: Ord> Iterator for $name<'a, T> {
            type Item = &'a T;

            fn next(&mut self) -> Option<&'a T> {
                loop {
                    match self.sides.$next()? {
                        $($side => return Some($element),)*
                        #[allow(unreachable_patterns, reason = "some give what is found on any side")]
                        _ => {}
                    }
                }
            }
        }

        impl<T: Ord> FusedIterator for $name<'_, T> {}

        impl<T> Clone for $name<'_, T> {
            fn clone(&self) -> Self {
                Self {
                    sides: self.sides.clone(),
                }
            }
        }

        impl<T: fmt::Debug + Ord> fmt::Debug for $name<'_, T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_list().entries(self.clone()).finish()
            }
        }
    };
}

finding!(Union, next, Found::Left(element, ()) | Found::Right(element, ()) | Found::Both((element, ()), _) => element);
finding!(Intersection, next, Found::Both((element, ()), _) => element);
finding!(Difference, next_unshared, Found::Left(element, ()) => element);
finding!(SymmetricDifference, next_unshared, Found::Left(element, ()) | Found::Right(element, ()) => element);
