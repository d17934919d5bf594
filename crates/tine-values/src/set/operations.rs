//! Union, intersection and differences: as iterators, like std's, and as sets, by operators.

use alloc::vec::Vec;
use core::fmt;
use core::hash::{BuildHasher, Hash};
use core::iter::FusedIterator;
use core::ops::{BitAnd, BitOr, BitXor, Sub};

use super::{Iter, Set};
use crate::few::is_few;
use crate::map::{Common, Diff};

/// Elements have no values that could differ.
type Same = fn(&(), &()) -> bool;

fn same((): &(), (): &()) -> bool {
    true
}

/// The elements of one set or the other: what [`Set::union`] returns.
pub struct Union<'a, T, S> {
    larger: Iter<'a, T>,
    rest: Difference<'a, T, S>,
}

/// The elements of both sets: what [`Set::intersection`] returns.
pub struct Intersection<'a, T, S> {
    common: Common<'a, T, (), S>,
    most: usize,
}

/// The elements of one set that are not in the other: what [`Set::difference`] returns.
pub struct Difference<'a, T, S> {
    changes: Diff<'a, T, (), S, Same>,
}

/// The elements that are in one of two sets only: what [`Set::symmetric_difference`] returns.
pub struct SymmetricDifference<'a, T, S> {
    changes: Diff<'a, T, (), S, Same>,
}

/// Returns the smaller set and the larger one; the first is the larger one if they are of a size.
fn by_size<'a, T, S>(a: &'a Set<T, S>, b: &'a Set<T, S>) -> (&'a Set<T, S>, &'a Set<T, S>) {
    if a.len() >= b.len() { (b, a) } else { (a, b) }
}

impl<T: Eq + Hash, S: BuildHasher> Set<T, S> {
    /// Returns the elements that are in this set or in `other`, each once, as the larger set has them. O(n + m).
    pub fn union<'a>(&'a self, other: &'a Self) -> Union<'a, T, S> {
        let (smaller, larger) = by_size(self, other);
        Union {
            larger: larger.iter(),
            rest: smaller.difference(larger),
        }
    }

    /// Returns the elements that are in this set and in `other`, as the smaller set has them. What both share is given
    /// without a look-up; the rest of the smaller set is looked up in the larger.
    pub fn intersection<'a>(&'a self, other: &'a Self) -> Intersection<'a, T, S> {
        let (smaller, larger) = by_size(self, other);
        Intersection {
            common: smaller.map.common(&larger.map),
            most: smaller.len(),
        }
    }

    /// Returns the elements of this set that are not in `other`. O(n), without what both share.
    pub fn difference<'a>(&'a self, other: &'a Self) -> Difference<'a, T, S> {
        Difference {
            changes: self.map.diff_by(&other.map, same as Same).without_added(),
        }
    }

    /// Returns the elements that are in this set or in `other` and not in both. O(n + m), without what both share.
    pub fn symmetric_difference<'a>(&'a self, other: &'a Self) -> SymmetricDifference<'a, T, S> {
        SymmetricDifference {
            changes: self.map.diff_by(&other.map, same as Same),
        }
    }

    /// Returns whether all elements are in `other` too. O(n) at most, without what both share.
    pub fn is_subset(&self, other: &Self) -> bool {
        self.len() <= other.len() && self.difference(other).next().is_none()
    }

    /// Returns whether all elements of `other` are in this set too. O(m) at most, without what both share.
    pub fn is_superset(&self, other: &Self) -> bool {
        other.is_subset(self)
    }

    /// Returns whether no element is in both. Goes through the smaller set, up to the first that is, or to the first node
    /// that both share.
    pub fn is_disjoint(&self, other: &Self) -> bool {
        self.intersection(other).next().is_none()
    }

    fn is_few(&self, count: usize) -> bool {
        is_few(count, self.len())
    }
}

impl<T: Eq + Hash + Clone, S: BuildHasher + Clone> Set<T, S> {
    /// Returns a set of its own, with this one's hasher.
    fn anew<'a>(&self, elements: impl Iterator<Item = &'a T>) -> Self
    where
        T: 'a,
    {
        let mut set = Self::with_hasher(self.hasher().clone());
        set.extend(elements.cloned());
        set
    }

    /// Returns a version of this set that lacks some elements.
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
}

impl<T: Eq + Hash + Clone, S: BuildHasher + Clone> BitOr for &Set<T, S> {
    type Output = Set<T, S>;

    /// Returns the elements of both. What both share is not looked at, and the result shares its nodes with the larger
    /// set, but for what the other brings in.
    fn bitor(self, other: Self) -> Set<T, S> {
        let (smaller, larger) = by_size(self, other);
        let mut union = larger.clone();
        union.extend(smaller.difference(larger).cloned());
        union
    }
}

impl<T: Eq + Hash + Clone, S: BuildHasher + Clone> BitAnd for &Set<T, S> {
    type Output = Set<T, S>;

    /// Returns the elements that are in both. What both share is not looked at; where little is removed from the
    /// smaller set, the result shares its nodes.
    fn bitand(self, other: Self) -> Set<T, S> {
        let (smaller, larger) = by_size(self, other);
        if larger.is_few(smaller.len()) {
            return smaller.anew(smaller.intersection(larger));
        }
        let removed: Vec<_> = smaller.difference(larger).collect();
        if removed.is_empty() || smaller.is_few(removed.len()) {
            smaller.without(removed)
        } else {
            smaller.anew(smaller.intersection(larger))
        }
    }
}

impl<T: Eq + Hash + Clone, S: BuildHasher + Clone> Sub for &Set<T, S> {
    type Output = Set<T, S>;

    /// Returns the elements that are not in `other`. What both share is not looked at; where little can be removed, the
    /// result shares its nodes with this set.
    fn sub(self, other: Self) -> Set<T, S> {
        if other.is_empty() || self.is_few(other.len()) {
            return self.without(other);
        }
        self.anew(self.difference(other))
    }
}

impl<T: Eq + Hash + Clone, S: BuildHasher + Clone> BitXor for &Set<T, S> {
    type Output = Set<T, S>;

    /// Returns the elements that are in one set only. What both share is not looked at; where one set is much
    /// smaller, the result shares its nodes with the other.
    fn bitxor(self, other: Self) -> Set<T, S> {
        let (smaller, larger) = by_size(self, other);
        if !smaller.is_empty() && !larger.is_few(smaller.len()) {
            return self.anew(self.symmetric_difference(other));
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

impl<'a, T: Eq + Hash, S: BuildHasher> Iterator for Union<'a, T, S> {
    type Item = &'a T;

    fn next(&mut self) -> Option<&'a T> {
        self.larger.next().or_else(|| self.rest.next())
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.larger.len(), None)
    }

    fn fold<B, F: FnMut(B, &'a T) -> B>(self, init: B, mut fold: F) -> B {
        let folded = self.larger.fold(init, &mut fold);
        self.rest.fold(folded, fold)
    }
}

impl<'a, T: Eq + Hash, S: BuildHasher> Iterator for Intersection<'a, T, S> {
    type Item = &'a T;

    fn next(&mut self) -> Option<&'a T> {
        self.common.next().map(|(element, ())| element)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, Some(self.most))
    }
}

impl<'a, T: Eq + Hash, S: BuildHasher> Iterator for Difference<'a, T, S> {
    type Item = &'a T;

    fn next(&mut self) -> Option<&'a T> {
        self.changes.next().map(|change| change.key())
    }
}

impl<'a, T: Eq + Hash, S: BuildHasher> Iterator for SymmetricDifference<'a, T, S> {
    type Item = &'a T;

    fn next(&mut self) -> Option<&'a T> {
        self.changes.next().map(|change| change.key())
    }
}

/// What all four have in common.
macro_rules! operations {
    ($($name:ident { $($field:ident),* })*) => {$(
        impl<T: Eq + Hash, S: BuildHasher> FusedIterator for $name<'_, T, S> {}

        impl<T, S> Clone for $name<'_, T, S> {
            fn clone(&self) -> Self {
                Self { $($field: Clone::clone(&self.$field)),* }
            }
        }

        impl<T: fmt::Debug + Eq + Hash, S: BuildHasher> fmt::Debug for $name<'_, T, S> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_list().entries(self.clone()).finish()
            }
        }
    )*};
}

operations! {
    Union { larger, rest }
    Intersection { common, most }
    Difference { changes }
    SymmetricDifference { changes }
}
