//! [`Set`]: a hash set that forks. It is a [`Map`] to nothing, at no cost: an entry is its element.

mod iter;
mod operations;
#[cfg(feature = "proptest")]
mod proptest;
#[cfg(feature = "rayon")]
mod rayon;
#[cfg(feature = "serde")]
mod serde;
mod traits;

use core::hash::{BuildHasher, Hash};

use equivalent::Equivalent;

pub use self::iter::{Drain, ExtractIf, IntoIter, Iter};
pub use self::operations::{Difference, Intersection, SymmetricDifference, Union};
#[cfg(feature = "rayon")]
pub use self::rayon::ParIter;

use crate::map::{DefaultHashBuilder, Diff, Map};

/// A hash set that forks: a clone costs one count, and a write then copies the few kilobytes on the way to its element,
/// the first time only.
///
/// It is a [`Map`] to nothing, with the names of std's `HashSet`; what is said there of hashers, costs, look-ups, copies and
/// panics holds here. `|`, `&`, `-` and `^` make sets that share nodes with what they are made of, and do not look at what
/// both sides share.
///
/// ```
/// use tine_values::Set;
///
/// let base: Set<u32> = (0..1000).collect();
/// let mut other = base.clone();
/// other.remove(&7);
/// other.insert(5000);
/// assert_eq!(&base - &other, Set::from([7]));
/// assert_eq!((&base | &other).len(), 1001);
/// assert!((&base & &other).is_subset(&base));
/// ```
pub struct Set<T, S = DefaultHashBuilder> {
    map: Map<T, (), S>,
}

impl<T> Set<T> {
    /// Returns an empty set. Allocates nothing.
    pub fn new() -> Self {
        Self { map: Map::new() }
    }
}

impl<T, S> Set<T, S> {
    /// Returns an empty set that uses a hasher of the caller's. Allocates nothing.
    pub const fn with_hasher(hasher: S) -> Self {
        let map = Map::with_hasher(hasher);
        Self { map }
    }

    /// Returns the hasher.
    pub fn hasher(&self) -> &S {
        self.map.hasher()
    }

    /// Returns how many elements there are. O(1).
    #[inline]
    pub fn len(&self) -> usize {
        self.map.len()
    }

    /// Returns whether there is no element. O(1).
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.map.is_empty()
    }

    /// Removes everything.
    pub fn clear(&mut self) {
        self.map.clear();
    }

    /// Returns whether both are the same version: one a clone of the other, and neither written since. O(1).
    pub fn ptr_eq(&self, other: &Self) -> bool {
        self.map.ptr_eq(&other.map)
    }

    /// Returns whether there is no clone of this version. O(1).
    pub fn is_unique(&self) -> bool {
        self.map.is_unique()
    }

    /// Returns how many bytes the nodes take that only this set reaches: what dropping it would give back, beside what
    /// elements own. Visits all nodes.
    pub fn own_bytes(&self) -> usize {
        self.map.own_bytes()
    }

    /// Returns how many bytes the nodes take that other sets reach too. Visits all nodes.
    pub fn shared_bytes(&self) -> usize {
        self.map.shared_bytes()
    }

    /// Returns the elements, in no particular order, but the same for the same version.
    pub fn iter(&self) -> Iter<'_, T> {
        Iter::new(self.map.keys())
    }

    /// Takes all elements out. The set is empty at once, whatever happens to the iterator. What others share is cloned.
    pub fn drain(&mut self) -> Drain<'_, T> {
        Drain::new(self.map.drain())
    }

    /// Returns the elements that only one of the two sets has: those that this one has as
    /// [`Removed`](crate::Change::Removed), the others as [`Added`](crate::Change::Added).
    ///
    /// Nodes that both share are skipped unseen, so the cost follows the difference and not the size.
    pub fn diff<'a>(&'a self, other: &'a Self) -> Diff<'a, T, (), S, impl Fn(&(), &()) -> bool + use<T, S>> {
        self.map.diff_by(&other.map, |(), ()| true)
    }
}

impl<T: Eq + Hash, S: BuildHasher> Set<T, S> {
    /// Returns whether an element is there.
    #[inline]
    pub fn contains<Q: Hash + Equivalent<T> + ?Sized>(&self, value: &Q) -> bool {
        self.map.contains_key(value)
    }

    /// Returns an element as the set has it.
    #[inline]
    pub fn get<Q: Hash + Equivalent<T> + ?Sized>(&self, value: &Q) -> Option<&T> {
        self.map.get_key_value(value).map(|(value, ())| value)
    }
}

impl<T: Eq + Hash + Clone, S: BuildHasher> Set<T, S> {
    /// Adds an element. Returns whether it was not there; the one that was there stays, and nothing is copied then. Else
    /// copies what is shared on the way.
    #[inline]
    pub fn insert(&mut self, value: T) -> bool {
        self.map.insert_key(value)
    }

    /// Adds an element, and returns the one that was there in its place. Copies what is shared on the way.
    pub fn replace(&mut self, value: T) -> Option<T> {
        self.map.replace_key(value)
    }

    /// Removes an element. Returns whether it was there. Copies what is shared on the way; nothing if it is absent.
    #[inline]
    pub fn remove<Q: Hash + Equivalent<T> + ?Sized>(&mut self, value: &Q) -> bool {
        self.map.remove_entry(value).is_some()
    }

    /// Removes an element and returns it. Copies what is shared on the way; nothing if it is absent.
    #[inline]
    pub fn take<Q: Hash + Equivalent<T> + ?Sized>(&mut self, value: &Q) -> Option<T> {
        self.map.remove_entry(value).map(|(value, ())| value)
    }

    /// Removes the elements for which `keep` is false. Leaves in which nothing goes stay shared.
    ///
    /// If `keep` panics, the elements it has not seen stay.
    pub fn retain(&mut self, mut keep: impl FnMut(&T) -> bool) {
        self.extract_if(|value| !keep(value)).for_each(drop);
    }

    /// Takes out the elements for which `is_taken` is true, one by one as the iterator gets there; the rest stays.
    /// Leaves in which nothing is taken stay shared.
    pub fn extract_if<F: FnMut(&T) -> bool>(&mut self, is_taken: F) -> ExtractIf<'_, T, S, F> {
        ExtractIf::new(self.map.extraction(is_taken))
    }

    /// Returns a set with the changes that both sides have made since this version, which is what both come from.
    ///
    /// Two sides cannot contradict each other: what one has added or removed, the other has left as it was, or has done
    /// too. The result shares its nodes with `ours`, but for what `theirs` brings in.
    #[must_use]
    pub fn merge(&self, ours: &Self, theirs: &Self) -> Self
    where
        S: Clone,
    {
        let map = self.map.merge(&ours.map, &theirs.map, |_| {
            unreachable!("an element is there or not")
        });
        Self { map }
    }
}
