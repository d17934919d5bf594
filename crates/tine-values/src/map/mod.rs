//! [`Map`]: a hash map that forks.
//!
//! ```text
//! up to 104 entries     | leaf |                        a hash table of groups, in one block
//!
//! more                  inner                           sixteen ways, by the upper bits of the hash
//!                      /  |  \
//!                  leaf  leaf  inner                    leaves of 1 to 2 KB, which split when they are full
//!                              /   \
//!                           leaf   leaf
//! ```
//!
//! (104 for entries of 16 bytes: a leaf is limited in bytes.) The layers: `tags` (sixteen bytes compared at once), `leaf`
//! (the hash table), `room` (how large one is), `fill` (leaves made of leaves), `node` (what is counted), `tree` (ways to a
//! key), `shape` (leaves that split and join), `walk` (all entries in turn). Above those nothing is `unsafe` but what an
//! iterator lends out.
//!
//! **Invariant:** an entry is in the leaf, and the group, that its key's hash leads to, as far as the caller's `Hash` and
//! `Eq` tell the truth. Memory is safe whatever they tell.

mod diff;
mod entry;
mod fill;
mod iter;
mod leaf;
mod merge;
mod node;
mod owned;
#[cfg(feature = "proptest")]
mod proptest;
#[cfg(feature = "rayon")]
mod rayon;
mod room;
#[cfg(feature = "serde")]
mod serde;
mod shape;
mod tags;
#[cfg(all(test, not(loom)))]
mod tests;
mod traits;
mod tree;
mod walk;

use alloc::vec::Vec;
use core::hash::{BuildHasher, Hash};
use core::mem;

use equivalent::Equivalent;

pub(crate) use self::diff::Common;
pub use self::diff::Diff;
pub use self::entry::{Entry, OccupiedEntry, VacantEntry};
pub use self::iter::{ExtractIf, Iter, IterMut, Keys, Values, ValuesMut};
pub use self::owned::{Drain, IntoIter, IntoKeys, IntoValues};
#[cfg(feature = "rayon")]
pub use self::rayon::ParIter;

use self::tree::Tree;

/// The hasher that a [`Map`] uses unless told otherwise: fast, and seeded at random for each map, so that nobody
/// can prepare keys that collide. It is no cryptographic hash.
pub type DefaultHashBuilder = foldhash::fast::RandomState;

/// A hash map that forks: a clone costs one count, and a write then copies the few kilobytes on the way to its key,
/// the first time only.
///
/// The names are those of std's `HashMap`. What differs:
///
/// - Methods that write ask for `K: Clone` and `V: Clone`, since they may have to copy what is shared. So does
///   [`get_mut`](Self::get_mut); reading never copies. [`is_unique`](Self::is_unique) tells whether a write would.
/// - Look-ups take any key type that is [`Equivalent`] to `K`, which is every borrowed form and more.
/// - There is no capacity to reserve: a tree has no spare room that a number could ask for. Builds from iterators
///   use their size hints.
/// - [`diff`](Self::diff), [`merge`](Self::merge), [`union_with`](Self::union_with) and `==` skip what two versions share.
///
/// ```
/// use tine_values::{Change, Map};
///
/// let monday = Map::from([("apples", 3), ("pears", 5)]);
/// let mut tuesday = monday.clone();
/// *tuesday.entry("apples").or_default() += 1;
/// assert_eq!(monday["apples"], 3);
/// assert_eq!(tuesday["apples"], 4);
/// let changes: Vec<_> = monday.diff(&tuesday).collect();
/// assert_eq!(changes, [Change::Changed { key: &"apples", old: &3, new: &4 }]);
/// ```
///
/// # Hashers
///
/// A clone hashes as its origin does, so versions of one map have the same shape, wherever they do not differ. Maps that
/// were made apart have seeds of their own: comparing those looks every key up in the other. Keys whose hashes
/// are all alike make a slow map, as anywhere, but a sound one.
///
/// # Panics in the caller's code
///
/// A panic in a closure or in `Hash`, `Eq`, `Clone` or `Drop` of what the map holds leaves a map that can be used: each
/// other key has its value, and a clone of the map is never affected. Lies of `Hash` and `Eq` lead to keys that are
/// not found, or found twice, and to nothing worse.
///
/// # Costs
///
/// Look-ups, insertions and removals are O(log n) with a base so large that four steps reach a million entries. Dropping
/// goes down as deep as the tree is high: eight inner nodes at most.
pub struct Map<K, V, S = DefaultHashBuilder> {
    tree: Tree<K, V>,
    hasher: S,
}

/// Above this, a map that is built is written part by part. With less, sorting entries by parts costs what it saves.
const CACHES_BYTES: usize = 4 << 20;

/// How many parts of a tree are written one after the other, as a power of two.
const PARTS_BITS: u32 = 10;

/// Returns the hash by which the tree knows a key.
#[inline]
fn hash_of<Q: Hash + ?Sized, S: BuildHasher>(hasher: &S, key: &Q) -> u64 {
    // Hashers that leave the upper bits alone, as those do that return small integers as they are, still spread the
    // keys over the tree.
    const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
    hasher.hash_one(key).wrapping_mul(SPREAD)
}

impl<K, V> Map<K, V> {
    /// Returns an empty map. Allocates nothing.
    pub fn new() -> Self {
        Self::with_hasher(DefaultHashBuilder::default())
    }
}

impl<K, V, S> Map<K, V, S> {
    /// Returns an empty map that uses a hasher of the caller's. Allocates nothing.
    pub const fn with_hasher(hasher: S) -> Self {
        Self {
            tree: Tree::new(),
            hasher,
        }
    }

    /// Returns the hasher.
    pub fn hasher(&self) -> &S {
        &self.hasher
    }

    /// Returns how many entries there are. O(1).
    #[inline]
    pub fn len(&self) -> usize {
        self.tree.len
    }

    /// Returns whether there is no entry. O(1).
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Removes everything.
    pub fn clear(&mut self) {
        self.tree.clear();
    }

    /// Returns whether both are the same version: one a clone of the other, and neither written since. O(1).
    /// Maps with equal content may be different versions.
    pub fn ptr_eq(&self, other: &Self) -> bool {
        self.tree.ptr_eq(&other.tree)
    }

    /// Returns whether there is no clone of this version. O(1).
    ///
    /// A clone that has been written since may still share parts: [`shared_bytes`](Self::shared_bytes) tells.
    pub fn is_unique(&self) -> bool {
        self.tree.is_unique()
    }

    /// Returns how many bytes the nodes take that only this map reaches: what dropping it would give back, beside what
    /// keys and values own. Visits all nodes.
    pub fn own_bytes(&self) -> usize {
        self.tree.bytes().0
    }

    /// Returns how many bytes the nodes take that other maps reach too. Visits all nodes.
    pub fn shared_bytes(&self) -> usize {
        self.tree.bytes().1
    }

    /// Returns the entries, in no particular order, but the same for the same version.
    pub fn iter(&self) -> Iter<'_, K, V> {
        Iter::new(&self.tree)
    }

    /// Returns the keys, in the order of [`iter`](Self::iter).
    pub fn keys(&self) -> Keys<'_, K, V> {
        Keys::new(self.iter())
    }

    /// Returns the values, in the order of [`iter`](Self::iter).
    pub fn values(&self) -> Values<'_, K, V> {
        Values::new(self.iter())
    }

    /// Takes all entries out. The map is empty at once, whatever happens to the iterator. What others share is cloned.
    pub fn drain(&mut self) -> Drain<'_, K, V> {
        Drain::new(self.tree.take())
    }
}

impl<K, V, S> Map<K, V, S> {
    /// Returns an iterator that takes out entries, or keys, as the closure tells.
    pub(crate) fn extraction<F>(&mut self, is_taken: F) -> ExtractIf<'_, K, V, S, F> {
        ExtractIf::new(&mut self.tree, &self.hasher, is_taken)
    }
}

impl<K: Clone, V: Clone, S> Map<K, V, S> {
    /// Returns the entries, whose values can be written. Copies what is shared, leaf by leaf as it gets there.
    pub fn iter_mut(&mut self) -> IterMut<'_, K, V> {
        IterMut::new(&mut self.tree)
    }

    /// Returns the values for writing. Copies what is shared, leaf by leaf as it gets there.
    pub fn values_mut(&mut self) -> ValuesMut<'_, K, V> {
        ValuesMut::new(self.iter_mut())
    }

    /// Returns all keys by value. Those that others share are cloned.
    pub fn into_keys(self) -> IntoKeys<K, V> {
        IntoKeys::new(self.into_iter())
    }

    /// Returns all values. Those that others share are cloned.
    pub fn into_values(self) -> IntoValues<K, V> {
        IntoValues::new(self.into_iter())
    }
}

impl<K: Eq + Hash, V, S: BuildHasher> Map<K, V, S> {
    #[inline]
    fn find<Q: Hash + Equivalent<K> + ?Sized>(&self, key: &Q) -> Option<&leaf::Entry<K, V>> {
        let hash = || hash_of(&self.hasher, key);
        self.tree.find(hash, |found| key.equivalent(found))
    }

    /// Returns the value of a key.
    #[inline]
    pub fn get<Q: Hash + Equivalent<K> + ?Sized>(&self, key: &Q) -> Option<&V> {
        self.find(key).map(|entry| &entry.value)
    }

    /// Returns the key as the map has it, and its value.
    #[inline]
    pub fn get_key_value<Q: Hash + Equivalent<K> + ?Sized>(&self, key: &Q) -> Option<(&K, &V)> {
        self.find(key).map(|entry| (&entry.key, &entry.value))
    }

    /// Returns whether there is a value for a key.
    #[inline]
    pub fn contains_key<Q: Hash + Equivalent<K> + ?Sized>(&self, key: &Q) -> bool {
        self.find(key).is_some()
    }
}

impl<K: Eq + Hash + Clone, V: Clone, S: BuildHasher> Map<K, V, S> {
    /// Returns an empty map with the leaves that so many entries will need.
    fn with_room_for(len: usize, hasher: S) -> Self {
        let tree = Tree::with_room_for(len);
        Self { tree, hasher }
    }

    /// Returns whether so many entries are more than what is near the processor holds.
    fn is_larger_than_caches(len: usize) -> bool {
        len.saturating_mul(size_of::<leaf::Entry<K, V>>()) >= CACHES_BYTES
    }

    /// Inserts so many entries, or about: those first that go to one part of the tree, then those that go to the next, so
    /// that each part is in the cache while it is written. Meanwhile they are in memory once more.
    fn insert_in_parts(&mut self, len: usize, entries: impl Iterator<Item = (K, V)>) {
        let mut parts = Vec::new();
        // Shares of chance differ: an eighth more is room enough for most.
        parts.resize_with(1 << PARTS_BITS, || {
            Vec::with_capacity((len + len / 8) >> PARTS_BITS)
        });
        for (key, value) in entries {
            let hash = hash_of(&self.hasher, &key);
            parts[(hash >> (u64::BITS - PARTS_BITS)) as usize].push((hash, key, value));
        }
        for (hash, key, value) in parts.into_iter().flatten() {
            self.insert_hashed(hash, key, value);
        }
    }

    /// Joins the leaves that were prepared for entries that did not come.
    fn give_room_back(&mut self) {
        self.tree.settle_all(&|key| hash_of(&self.hasher, key));
    }

    #[inline]
    fn search<Q: Hash + Equivalent<K> + ?Sized>(&mut self, key: &Q) -> Option<tree::Occupied<'_, K, V>> {
        let hash = hash_of(&self.hasher, key);
        self.tree.search(hash, |found| key.equivalent(found)).ok()
    }

    /// Sets the value of a key and returns the old one. The key that is there stays. Copies what is shared on the way.
    #[inline]
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        let hash = hash_of(&self.hasher, &key);
        self.insert_hashed(hash, key, value)
    }

    /// Does what [`insert`](Self::insert) does, for a key with this hash.
    #[inline]
    fn insert_hashed(&mut self, hash: u64, key: K, value: V) -> Option<V> {
        match self.tree.search(hash, |found| *found == key) {
            Ok(mut occupied) => {
                let old = mem::replace(&mut occupied.get_mut().value, value);
                // Here: a `Drop` that panics while a function returns leaks what is returned.
                drop(key);
                Some(old)
            }
            Err(vacant) => {
                vacant.insert(leaf::Entry { key, value }, &|key| hash_of(&self.hasher, key));
                None
            }
        }
    }

    /// Returns the place of a key, to read it and to write it there. Copies nothing until it is written.
    #[inline]
    pub fn entry(&mut self, key: K) -> Entry<'_, K, V, S> {
        let hash = hash_of(&self.hasher, &key);
        match self.tree.search(hash, |found| *found == key) {
            Ok(occupied) => Entry::Occupied(OccupiedEntry::new(occupied, &self.hasher)),
            Err(vacant) => Entry::Vacant(VacantEntry::new(vacant, key, &self.hasher)),
        }
    }

    /// Returns the value of a key for writing. **Copies what is shared** on the way to it; nothing if the key is absent.
    #[inline]
    pub fn get_mut<Q: Hash + Equivalent<K> + ?Sized>(&mut self, key: &Q) -> Option<&mut V> {
        Some(&mut self.search(key)?.into_mut().value)
    }

    /// Returns the values of several keys for writing. Copies what is shared on the ways to them.
    ///
    /// # Panics
    ///
    /// If two of the keys are the same.
    pub fn get_disjoint_mut<Q, const N: usize>(&mut self, keys: [&Q; N]) -> [Option<&mut V>; N]
    where
        Q: Hash + Equivalent<K> + ?Sized,
    {
        let hasher = &self.hasher;
        self.tree.disjoint(keys.map(|key| {
            let is_key = move |found: &K| key.equivalent(found);
            (hash_of(hasher, key), is_key)
        }))
    }

    /// Removes a key and returns its value. Copies what is shared on the way; nothing if the key is absent.
    #[inline]
    pub fn remove<Q: Hash + Equivalent<K> + ?Sized>(&mut self, key: &Q) -> Option<V> {
        let (key, value) = self.remove_entry(key)?;
        drop(key);
        Some(value)
    }

    /// Removes a key and returns it, as the map had it, and its value. Copies what is shared on the way; nothing if
    /// the key is absent.
    #[inline]
    pub fn remove_entry<Q: Hash + Equivalent<K> + ?Sized>(&mut self, key: &Q) -> Option<(K, V)> {
        let hash = hash_of(&self.hasher, key);
        let occupied = self.tree.search(hash, |found| key.equivalent(found)).ok()?;
        let entry = occupied.remove(&|key| hash_of(&self.hasher, key));
        Some((entry.key, entry.value))
    }

    /// Removes the entries for which `keep` is false. Copies everything that is shared, since `keep` may write any value.
    ///
    /// If `keep` panics, the entries it has not seen stay.
    pub fn retain(&mut self, mut keep: impl FnMut(&K, &mut V) -> bool) {
        self.extract_if(|key, value| !keep(key, value)).for_each(drop);
    }

    /// Takes out the entries for which `is_taken` is true, one by one as the iterator gets there; the rest stays.
    /// Copies what is shared, leaf by leaf as it gets there, since `is_taken` may write any value.
    pub fn extract_if<F>(&mut self, is_taken: F) -> ExtractIf<'_, K, V, S, F>
    where
        F: FnMut(&K, &mut V) -> bool,
    {
        self.extraction(is_taken)
    }
}

impl<K: Eq + Hash + Clone, S: BuildHasher> Map<K, (), S> {
    /// Puts a key in, unless an equal one is there, and returns whether it did: what a set's `insert` is.
    #[inline]
    pub(crate) fn insert_key(&mut self, key: K) -> bool {
        let hash = hash_of(&self.hasher, &key);
        let Err(vacant) = self.tree.search(hash, |found| *found == key) else {
            return false;
        };
        vacant.insert(leaf::Entry { key, value: () }, &|key| hash_of(&self.hasher, key));
        true
    }

    /// Puts a key in, also in place of an equal one, which is returned: what a set's `replace` is.
    pub(crate) fn replace_key(&mut self, key: K) -> Option<K> {
        let hash = hash_of(&self.hasher, &key);
        match self.tree.search(hash, |found| *found == key) {
            Ok(mut occupied) => Some(mem::replace(&mut occupied.get_mut().key, key)),
            Err(vacant) => {
                vacant.insert(leaf::Entry { key, value: () }, &|key| hash_of(&self.hasher, key));
                None
            }
        }
    }
}
