//! [`SortedMap`]: a map in key order that shares what its clones have in common.

mod diff;
mod entry;
mod extract;
mod into_iter;
pub(super) mod iter;
mod merge;
#[cfg(feature = "proptest")]
mod proptest;
#[cfg(feature = "rayon")]
mod rayon;
#[cfg(feature = "serde")]
mod serde;
mod traits;

use core::borrow::Borrow;
use core::cmp::Ordering;
use core::mem;
use core::ops::{Bound, RangeBounds};

use equivalent::Comparable;

pub use self::diff::Diff;
pub use self::entry::{Entry, OccupiedEntry, VacantEntry};
pub use self::extract::ExtractIf;
pub(super) use self::extract::Extraction;
pub use self::into_iter::{IntoIter, IntoKeys, IntoValues};
pub use self::iter::{Iter, IterMut, Keys, Range, RangeMut, Values, ValuesMut};
use super::insert::insert_at;
use super::join::{self, Tree};
use super::node::Node;
use super::path::{self, Path, Place, find};
use super::remove::remove_at;
use super::walk::{WalkMut, WalkRef};
use super::way::Way;
use crate::radix_map::NodeBytes;

/// A map in key order that forks: what std's [`BTreeMap`](alloc::collections::BTreeMap) is, and a clone costs one
/// count, whatever it holds.
///
/// A write copies the nodes on the way to its key that are shared, once: about two kilobytes in a map of a hundred
/// thousand small entries. While a map is the only owner of its nodes, writes are in place and copy nothing.
///
/// ```
/// use tine_values::SortedMap;
///
/// let monday = SortedMap::from([("apples", 3), ("pears", 5)]);
/// let mut tuesday = monday.clone();
/// tuesday.insert("plums", 7);
/// *tuesday.get_mut("pears").unwrap() -= 1;
///
/// assert_eq!(monday.get("pears"), Some(&5));
/// assert_eq!(tuesday.iter().map(|(_, count)| count).sum::<i32>(), 14);
/// ```
///
/// # Look-ups
///
/// A key is looked up by anything that compares with it: what it borrows as, as in std, or what implements
/// [`Comparable`]. The bounds of a range are of what it borrows as, as in std, so that `range(..)` and `range(&a..&b)` need
/// no word on their type.
///
/// # Keys that change, and panics in the caller's code
///
/// A key whose order changes while it is in a map, or an `Ord` that contradicts itself, makes results meaningless and may
/// panic, but is never unsound. A panic in `Ord` leaves the map as it was; one in `Clone` or `Drop`, in a single write,
/// too, or with that write done. So does one in `Clone` that meets [`split_off`](Self::split_off); none that meets
/// [`append`](Self::append) loses an entry. Nothing leaks, and clones are never affected.
pub struct SortedMap<K, V> {
    pub(super) root: Tree<K, V>,
}

impl<K, V> SortedMap<K, V> {
    /// Returns an empty map. Allocates nothing.
    pub const fn new() -> Self {
        Self { root: None }
    }

    /// Returns how many entries there are. O(1).
    #[inline]
    pub fn len(&self) -> usize {
        self.root.as_ref().map_or(0, Node::entries)
    }

    /// Returns whether there are no entries.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Removes all entries.
    pub fn clear(&mut self) {
        self.root = None;
    }

    /// Returns whether both are the same version: one a clone of the other, and neither written since. Maps with equal
    /// content may be different versions. O(1).
    pub fn ptr_eq(&self, other: &Self) -> bool {
        match (&self.root, &other.root) {
            (None, None) => true,
            (Some(one), Some(other)) => one.ptr_eq(other),
            _ => false,
        }
    }

    /// Returns whether no other map shares any of this one's nodes, so that no write has anything to copy. O(n / 60);
    /// a map whose root is shared is found at once.
    pub fn is_unique(&self) -> bool {
        self.root.as_ref().is_none_or(Node::is_unique_below)
    }

    /// Returns how many bytes the nodes take that only this map refers to: what dropping it gives back. Visits all nodes.
    /// What keys and values point to is not counted.
    pub fn own_bytes(&self) -> usize {
        self.node_bytes().own
    }

    /// Returns how many bytes the nodes take that other maps refer to too. Visits all nodes.
    pub fn shared_bytes(&self) -> usize {
        self.node_bytes().shared
    }

    fn node_bytes(&self) -> NodeBytes {
        let mut bytes = NodeBytes::default();
        if let Some(root) = &self.root {
            root.count_bytes(true, &mut bytes);
        }
        bytes
    }

    /// Returns the value that `key` has. O(log n).
    #[inline]
    pub fn get<Q: ?Sized + Comparable<K>>(&self, key: &Q) -> Option<&V> {
        self.get_key_value(key).map(|(_, value)| value)
    }

    /// Returns the entry that has `key`: the key as it is in the map, and the value. O(log n).
    #[inline]
    pub fn get_key_value<Q: ?Sized + Comparable<K>>(&self, key: &Q) -> Option<(&K, &V)> {
        path::get(self.root.as_ref()?, key)
    }

    /// Returns whether there is an entry that has `key`. O(log n).
    #[inline]
    pub fn contains_key<Q: ?Sized + Comparable<K>>(&self, key: &Q) -> bool {
        self.get_key_value(key).is_some()
    }

    /// Returns the entry with the least key. O(log n).
    pub fn first_key_value(&self) -> Option<(&K, &V)> {
        self.iter().next()
    }

    /// Returns the entry with the greatest key. O(log n).
    pub fn last_key_value(&self) -> Option<(&K, &V)> {
        self.iter().next_back()
    }

    /// Returns an iterator over the entries, in key order.
    pub fn iter(&self) -> Iter<'_, K, V> {
        Iter::new(self.walk(), self.len())
    }

    /// Returns an iterator over the keys, in order.
    pub fn keys(&self) -> Keys<'_, K, V> {
        Keys::new(self.iter())
    }

    /// Returns an iterator over the values, in the order of their keys.
    pub fn values(&self) -> Values<'_, K, V> {
        Values::new(self.iter())
    }

    /// Returns an iterator over the entries whose keys are in `range`, in key order. O(log n) and what is taken.
    ///
    /// # Panics
    ///
    /// If the range starts behind its end, or starts and ends at the same key and contains neither bound.
    pub fn range<T, R>(&self, range: R) -> Range<'_, K, V>
    where
        T: ?Sized + Ord,
        K: Borrow<T>,
        R: RangeBounds<T>,
    {
        check_order(&range);
        Range::new(self.root.as_ref().map(|root| {
            let (from, to) = places(root, &range);
            WalkRef::new(root, &from, to.as_ref())
        }))
    }

    fn walk(&self) -> Option<WalkRef<'_, K, V>> {
        let root = self.root.as_ref()?;
        Some(WalkRef::new(root, &Place::first(), None))
    }
}

impl<K: Clone, V: Clone> SortedMap<K, V> {
    /// Returns the value that `key` has, to write. O(log n). Copies the nodes on the way to it that are shared, and
    /// nothing if the key is absent.
    #[inline]
    pub fn get_mut<Q: ?Sized + Comparable<K>>(&mut self, key: &Q) -> Option<&mut V> {
        let mut path = Path::first();
        let way = Way::to(self.root.as_mut()?, key, &mut path);
        way.is_found.then(|| way.into_value())
    }

    /// Returns an iterator over the entries, in key order, with the values to write. Copies each leaf that is shared
    /// when it comes to it.
    pub fn iter_mut(&mut self) -> IterMut<'_, K, V> {
        let len = self.len();
        let root = self.root.as_mut();
        let walk = root.map(|root| WalkMut::new_mut(root, &Place::first(), None));
        IterMut::new(walk, len)
    }

    /// Returns an iterator over the values, to write, in the order of their keys. Copies as
    /// [`iter_mut`](Self::iter_mut) does.
    pub fn values_mut(&mut self) -> ValuesMut<'_, K, V> {
        ValuesMut::new(self.iter_mut())
    }

    /// Returns an iterator over the entries whose keys are in `range`, in key order, with the values to write. Copies
    /// as [`iter_mut`](Self::iter_mut) does.
    ///
    /// # Panics
    ///
    /// As [`range`](Self::range).
    pub fn range_mut<T, R>(&mut self, range: R) -> RangeMut<'_, K, V>
    where
        T: ?Sized + Ord,
        K: Borrow<T>,
        R: RangeBounds<T>,
    {
        check_order(&range);
        RangeMut::new(self.root.as_mut().map(|root| {
            let (from, to) = places(root, &range);
            WalkMut::new_mut(root, &from, to.as_ref())
        }))
    }

    /// Returns an iterator over the keys, by value, in order.
    pub fn into_keys(self) -> IntoKeys<K, V> {
        IntoKeys::new(self.into_iter())
    }

    /// Returns an iterator over the values, by value, in the order of their keys.
    pub fn into_values(self) -> IntoValues<K, V> {
        IntoValues::new(self.into_iter())
    }

    /// Removes the entry that has `key` and returns its value. O(log n). Copies nothing if the key is absent.
    pub fn remove<Q: ?Sized + Comparable<K>>(&mut self, key: &Q) -> Option<V> {
        // The key goes first: what is on its way to the caller is lost if it panics.
        self.remove_entry(key).map(|(key, value)| {
            drop(key);
            value
        })
    }

    /// Removes the entry that has `key` and returns it. O(log n). Copies nothing if the key is absent.
    pub fn remove_entry<Q: ?Sized + Comparable<K>>(&mut self, key: &Q) -> Option<(K, V)> {
        let mut path = Path::first();
        let mut way = Way::to(self.root.as_mut()?, key, &mut path);
        if !way.is_found {
            return None;
        }
        let index = way.index;
        if let Some(mut leaf) = way.leaf_mut()
            && leaf.len() > Node::<K, V>::LEAF_MIN
        {
            let entry = leaf.remove(index);
            way.add_entries(-1);
            return Some(entry);
        }
        let place = way.place();
        Some(remove_at(&mut self.root, &place))
    }

    /// Removes the entry with the least key and returns it. O(log n).
    pub fn pop_first(&mut self) -> Option<(K, V)> {
        self.first_entry().map(OccupiedEntry::remove_entry)
    }

    /// Removes the entry with the greatest key and returns it. O(log n).
    pub fn pop_last(&mut self) -> Option<(K, V)> {
        self.last_entry().map(OccupiedEntry::remove_entry)
    }

    /// Returns the entry with the least key, for writing and removing. O(log n).
    pub fn first_entry(&mut self) -> Option<OccupiedEntry<'_, K, V>> {
        let place = Place::of_first(self.root.as_ref()?)?;
        Some(OccupiedEntry::new(self, place))
    }

    /// Returns the entry with the greatest key, for writing and removing. O(log n).
    pub fn last_entry(&mut self) -> Option<OccupiedEntry<'_, K, V>> {
        let place = Place::of_last(self.root.as_ref()?)?;
        Some(OccupiedEntry::new(self, place))
    }

    /// Keeps the entries for which `keep` returns true. O(n). The closure gets the values to write, so leaves that are
    /// shared are all copied.
    pub fn retain(&mut self, mut keep: impl FnMut(&K, &mut V) -> bool)
    where
        K: Ord,
    {
        self.extract_if(.., |key, value| !keep(key, value)).for_each(drop);
    }

    /// Removes the entries whose keys are in `range` and for which `is_taken` returns true, and returns an iterator that
    /// does so, in key order, as it is advanced. Entries that it has not come to when it is dropped stay. Leaves that it
    /// comes to are copied if they are shared.
    ///
    /// If the iterator is forgotten instead of dropped, the map is left empty.
    ///
    /// # Panics
    ///
    /// As [`range`](Self::range).
    pub fn extract_if<R, F>(&mut self, range: R, is_taken: F) -> ExtractIf<'_, K, V, F>
    where
        K: Ord,
        R: RangeBounds<K>,
        F: FnMut(&K, &mut V) -> bool,
    {
        let taken = ExtractIf::new(self, &range, is_taken);
        // Dropped on the way out, a bound that panics would have the map lost with what is returned (rust#47949).
        drop(range);
        taken
    }

    /// Removes the entries from `key` on and returns them. O(log n), whatever their number.
    pub fn split_off<Q: ?Sized + Comparable<K>>(&mut self, key: &Q) -> Self {
        let Some(root) = &mut self.root else {
            return Self::new();
        };
        let (Ok(place) | Err(place)) = find(root, key);
        let (left, right) = if root.level() == 0 {
            // Nothing panics once it is the map's own.
            place.path.leaf_mut(root);
            let root = self.root.take().expect("just seen");
            join::split(root, &place)
        } else {
            // As a clone's, whose nodes on the way are copied: so the map is whole where a key's or value's clone panics.
            join::split(root.clone(), &place)
        };
        self.root = left;
        Self { root: right }
    }
}

impl<K: Ord + Clone, V: Clone> SortedMap<K, V> {
    /// Gives `key` the value and returns the one it had; the key is not replaced then. O(log n). Copies the nodes on the
    /// way that are shared.
    #[inline]
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        self.insert_or(key, value, |way, key, value| {
            // Before there is a result: what is on its way to the caller is lost if it panics.
            drop(key);
            mem::replace(way.into_value(), value)
        })
    }

    /// Inserts the entry if there is none with the key; otherwise calls `found` with the way to that, and the entry.
    #[inline]
    pub(in crate::sorted) fn insert_or<R>(
        &mut self,
        key: K,
        value: V,
        found: impl FnOnce(Way<'_, '_, K, V>, K, V) -> R,
    ) -> Option<R> {
        let Some(root) = &mut self.root else {
            insert_at(&mut self.root, Place::first(), key, value);
            return None;
        };
        let mut path = Path::first();
        let mut way = Way::to(root, &key, &mut path);
        if way.is_found {
            return Some(found(way, key, value));
        }
        let index = way.index;
        match way.leaf_mut() {
            Some(mut leaf) if !leaf.is_full() => {
                leaf.insert(index, key, value);
                way.add_entries(1);
            }
            _ => {
                let place = way.place();
                insert_at(&mut self.root, place, key, value);
            }
        }
        None
    }

    /// Returns the place of `key`, for looking, writing and removing in one. O(log n).
    pub fn entry(&mut self, key: K) -> Entry<'_, K, V> {
        let place = match &self.root {
            Some(root) => find(root, &key),
            None => Err(Place::first()),
        };
        match place {
            Ok(place) => Entry::Occupied(OccupiedEntry::new(self, place)),
            Err(place) => Entry::Vacant(VacantEntry::new(self, place, key)),
        }
    }

    /// Moves all entries of `other` into this map; where both have a key, `other`'s value wins. O(log n) if the keys of
    /// one are all above the other's, else an insertion for each entry of the shorter map. Which of two equal keys stays is
    /// not said.
    ///
    /// If a key's or value's code panics, both maps are as they were if the keys of one are all above the other's. Else
    /// none is lost: the longer map may have some of the shorter one's entries already, which still has them, too, and to
    /// append once more is as if it had not panicked.
    pub fn append(&mut self, other: &mut Self) {
        let (Some((first, _)), Some((last, _))) = (self.first_key_value(), self.last_key_value()) else {
            return mem::swap(self, other);
        };
        let (Some((other_first, _)), Some((other_last, _))) =
            (other.first_key_value(), other.last_key_value())
        else {
            return;
        };
        if last < other_first {
            let separator = other_first.clone();
            join::join_all(&mut self.root, separator, &mut other.root);
        } else if other_last < first {
            let separator = first.clone();
            join::join_all(&mut other.root, separator, &mut self.root);
            mem::swap(self, other);
        } else if self.len() < other.len() {
            for (key, value) in self.iter() {
                other.insert_or(key.clone(), value.clone(), |_, _, _| ());
            }
            mem::swap(self, other);
        } else {
            self.extend(other.iter().map(|(key, value)| (key.clone(), value.clone())));
        }
        other.clear();
    }
}

#[cfg(feature = "rayon")]
pub use self::rayon::ParIter;

/// Returns the places where `range` begins and, if that is not with the map, ends.
fn places<K, V, Q: ?Sized + Comparable<K>>(
    root: &Node<K, V>,
    range: &impl RangeBounds<Q>,
) -> (Place, Option<Place>) {
    let behind = |key: &Q| find(root, key).map_or_else(|place| place, Place::next);
    let before = |key: &Q| find(root, key).unwrap_or_else(|place| place);
    let from = match range.start_bound() {
        Bound::Included(key) => before(key),
        Bound::Excluded(key) => behind(key),
        Bound::Unbounded => Place::first(),
    };
    let to = match range.end_bound() {
        Bound::Included(key) => Some(behind(key)),
        Bound::Excluded(key) => Some(before(key)),
        Bound::Unbounded => None,
    };
    (from, to)
}

/// # Panics
///
/// If the range starts behind its end, or contains neither of two bounds that are the same.
fn check_order<Q: ?Sized + Ord>(range: &impl RangeBounds<Q>) {
    let (start, end) = (range.start_bound(), range.end_bound());
    let (Bound::Included(from) | Bound::Excluded(from), Bound::Included(to) | Bound::Excluded(to)) =
        (start, end)
    else {
        return;
    };
    match from.cmp(to) {
        Ordering::Greater => panic!("a range of a sorted map starts behind its end"),
        Ordering::Equal if matches!((start, end), (Bound::Excluded(_), Bound::Excluded(_))) => {
            panic!("a range of a sorted map contains neither of two bounds that are the same")
        }
        _ => {}
    }
}
