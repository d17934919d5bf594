#![allow(unsafe_code)]
//! [`Leaf`]: a small hash table in one counted block, of groups that are searched sixteen tags at a time.
//!
//! ```text
//! | count | head | tags | entry | entry | ... | tags | entry | entry | ...
//!                  group 0, up to 15 entries  group 1
//! ```
//!
//! There are 1, 2, 4, 8 ... groups; which one a key belongs to is chosen by bits of its hash. The entries in use are the
//! first of their group. Tags that lie together in front of all entries were tried: no faster in large maps, and slower in
//! small ones, since where an entry is depends on the number of groups then.
//!
//! A leaf of one group has room for as many entries as were asked for, so small maps are small. A key whose group is
//! full goes to the next that is not, and each group it passes counts it in the last byte of its tags: a search
//! goes on while that byte is not 0. Removing a key moves the last of its group into its place and takes it from those
//! counts, so nothing is left of what was removed. A count that reaches 255 stays there until the leaf is rebuilt.
//!
//! **Invariants** of a live leaf:
//! 1. In each group the tags in use come first, none of them 0, and the entries of exactly those are initialised.
//! 2. `head.len` is the number of those, and at most [`Shape::limit`], which leaves room in some group.
//!
//! Wrong answers of a caller's `Hash` or `Eq` lead to keys that are not found, and break neither.

use core::mem;
use core::ptr;

use super::room::Shape;
use super::tags::{SLOTS, TAG_BYTES, Tags, tag_of};
use crate::block::Block;
use crate::count::Count;

/// A key and its value.
#[derive(Clone)]
pub(super) struct Entry<K, V> {
    pub(super) key: K,
    pub(super) value: V,
}

/// What a leaf begins with.
pub(super) struct Head {
    pub(super) len: u32,
    shape: Shape,
}

/// Bytes, aligned as entries are: what the room of a leaf is counted in.
pub(super) struct Unit<K, V> {
    _align: [Entry<K, V>; 0],
    _byte: u8,
}

/// A pointer to a leaf, tagged with how many groups it has: one more than the number's logarithm; 7 says that the head
/// tells. So a search needs not wait for the head to know which group to look at. A copy is not an owner; who calls its
/// methods vouches that the leaf is live, and that nobody else reads or writes it while it is written.
pub(super) struct Leaf<K, V>(pub(super) Block<Head, Unit<K, V>>);

pub(super) const TAG_LARGE: usize = Block::<Head, u8>::TAGS - 1;

impl<K, V> Clone for Leaf<K, V> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K, V> Copy for Leaf<K, V> {}

impl<K, V> PartialEq for Leaf<K, V> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

/// Where an entry is in a leaf, counted so that it is the same in a copy of the leaf.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Place {
    /// The group's number.
    pub(super) group: usize,
    pub(super) slot: usize,
}

/// Where a key is.
pub(super) struct Found<K, V> {
    pub(super) place: Place,
    pub(super) entry: *mut Entry<K, V>,
}

impl<K, V> Leaf<K, V> {
    pub(super) const ALIGN: usize = align_of::<Entry<K, V>>();
    /// Where in a group its entries begin, behind the tags.
    pub(super) const ENTRIES_AT: usize = TAG_BYTES.next_multiple_of(Self::ALIGN);
    /// How many bytes a group takes.
    pub(super) const GROUP_BYTES: usize = Self::ENTRIES_AT + SLOTS * size_of::<Entry<K, V>>();

    /// Returns a leaf without entries. One allocation.
    pub(super) fn with_shape(shape: Shape) -> Self {
        let block = Block::new(Head { len: 0, shape }, Self::units(shape));
        let leaf = Self(block.tagged(shape.tag()));
        for group in 0..shape.groups() {
            // SAFETY: the group is one of the new block's.
            unsafe { leaf.tags_at(group).write_bytes(0, TAG_BYTES) };
        }
        leaf
    }

    /// Returns where a group's tags are.
    #[inline]
    pub(super) fn tags_at(self, group: usize) -> *mut u8 {
        self.0
            .untagged()
            .slots()
            .cast::<u8>()
            .wrapping_add(group * Self::GROUP_BYTES)
    }

    /// Returns where the count of those who passed a group is.
    #[inline]
    fn passed_at(self, group: usize) -> *mut u8 {
        self.tags_at(group).wrapping_add(SLOTS)
    }

    /// Returns where a group's first entry is.
    #[inline]
    pub(super) fn entries_at(self, group: usize) -> *mut Entry<K, V> {
        self.tags_at(group).wrapping_add(Self::ENTRIES_AT).cast()
    }

    // From here on: see the type for what a caller vouches.

    /// Returns where an entry is.
    #[inline]
    pub(super) fn entry(self, place: Place) -> *mut Entry<K, V> {
        self.entries_at(place.group).wrapping_add(place.slot)
    }

    #[inline]
    pub(super) unsafe fn count<'a>(self) -> &'a Count {
        // SAFETY: the leaf is live.
        unsafe { self.0.untagged().count() }
    }

    #[inline]
    pub(super) unsafe fn shape(self) -> Shape {
        // SAFETY: the leaf is live.
        unsafe { self.0.untagged().header().shape }
    }

    #[inline]
    pub(super) unsafe fn len(self) -> usize {
        // SAFETY: the leaf is live.
        unsafe { self.0.untagged().header().len as usize }
    }

    #[inline]
    unsafe fn add_len(self, more: i32) {
        // SAFETY: the caller may write the leaf.
        unsafe {
            let len = &raw mut (*self.0.untagged().header_ptr()).len;
            *len = (*len).wrapping_add_signed(more);
        }
    }

    pub(super) unsafe fn bytes(self) -> usize {
        // SAFETY: the leaf is live.
        Block::<Head, Unit<K, V>>::bytes(Self::units(unsafe { self.shape() }))
    }

    #[inline]
    pub(super) unsafe fn has_room(self) -> bool {
        // SAFETY: the leaf is live.
        unsafe { self.len() < self.shape().limit() }
    }

    /// Returns what masks the number of a group, without a look at the leaf, if that can be.
    #[inline]
    unsafe fn mask(self) -> usize {
        let tag = self.0.tag();
        if tag == TAG_LARGE {
            // SAFETY: the leaf is live.
            return unsafe { self.shape().mask() };
        }
        // A shift by a number that is not known takes three steps of the processor, this one.
        const MASKS: [u8; TAG_LARGE] = [0, 0, 1, 3, 7, 15, 31];
        usize::from(MASKS[tag])
    }

    /// Returns the number of the group that a key belongs to.
    #[inline]
    pub(super) fn home(hash: u64, mask: usize) -> usize {
        // Other bits than the tag's, and than those that chose the way to this leaf.
        (hash >> 8) as usize & mask
    }

    /// Returns where a key is, and its entry.
    #[inline]
    pub(super) unsafe fn find(self, hash: u64, mut is_key: impl FnMut(&K) -> bool) -> Option<Found<K, V>> {
        // SAFETY: the leaf is live.
        let mask = unsafe { self.mask() };
        let tag = tag_of(hash);
        let home = Self::home(hash, mask);
        let mut group = home;
        loop {
            // SAFETY: the number is masked, so the group is one of the leaf's, and nobody writes meanwhile.
            let tags = unsafe { Tags::load(self.tags_at(group)) };
            let entries = self.entries_at(group);
            for slot in tags.matching(tag) {
                let entry = entries.wrapping_add(slot);
                // SAFETY: a tag that is not 0 has its entry.
                if is_key(unsafe { &(*entry).key }) {
                    let place = Place { group, slot };
                    return Some(Found { place, entry });
                }
            }
            if !tags.is_passed() {
                return None;
            }
            group = (group + 1) & mask;
            if group == home {
                return None;
            }
        }
    }

    /// Adds an entry whose key is not there. There must be room.
    #[inline]
    pub(super) unsafe fn push(self, hash: u64, entry: Entry<K, V>) -> Found<K, V> {
        // SAFETY: the leaf is live.
        let mask = unsafe {
            debug_assert!(self.has_room());
            self.mask()
        };
        let mut group = Self::home(hash, mask);
        loop {
            // SAFETY: the group is one of the leaf's.
            let slot = unsafe { Tags::load(self.tags_at(group)) }.len();
            // A leaf of one group may have fewer slots, but has room.
            if slot < SLOTS {
                let at = self.entries_at(group).wrapping_add(slot);
                // SAFETY: the slot is the first that is free, and the caller may write.
                unsafe {
                    at.write(entry);
                    self.tags_at(group).add(slot).write(tag_of(hash));
                    self.add_len(1);
                }
                return Found {
                    place: Place { group, slot },
                    entry: at,
                };
            }
            // SAFETY: as above.
            unsafe { self.count_passing(group) };
            group = (group + 1) & mask;
        }
    }

    /// Counts an entry that goes on behind a group.
    #[inline]
    pub(super) unsafe fn count_passing(self, group: usize) {
        // SAFETY: the group is one of the leaf's, which the caller may write.
        unsafe {
            let passed = self.passed_at(group);
            *passed = (*passed).saturating_add(1);
        }
    }

    /// Takes an entry out; `hash` gives its key's, and is asked only if the answer matters. If it panics, nothing
    /// has changed.
    #[inline]
    pub(super) unsafe fn remove(self, place: Place, hash: impl FnOnce(&K) -> u64) -> Entry<K, V> {
        let Place { group, slot } = place;
        // SAFETY: the caller may write the leaf, and the place has an entry; so has the last slot in use.
        unsafe {
            let mask = self.mask();
            if mask != 0 {
                self.forget_passing(hash(&(*self.entry(place)).key), group, mask);
            }
            let tags = self.tags_at(group);
            let last = Tags::load(tags).len() - 1;
            let entry = self.entry(place).read();
            if slot != last {
                let moved = self.entry(Place { group, slot: last });
                ptr::copy_nonoverlapping(moved, self.entry(place), 1);
                tags.add(slot).write(*tags.add(last));
            }
            tags.add(last).write(0);
            self.add_len(-1);
            entry
        }
    }

    /// Takes out the last entry of the group at `group`, or of the first behind it that has one. Searches go wrong from
    /// then on: it is for taking a leaf apart.
    #[inline]
    pub(super) unsafe fn pop(self, group: &mut usize) -> Option<Entry<K, V>> {
        // SAFETY: the caller may write the leaf; the last slot in use has an entry.
        unsafe {
            while *group <= self.mask() {
                let tags = self.tags_at(*group);
                if let Some(slot) = Tags::load(tags).len().checked_sub(1) {
                    tags.add(slot).write(0);
                    self.add_len(-1);
                    return Some(self.entries_at(*group).add(slot).read());
                }
                *group += 1;
            }
        }
        None
    }

    /// Returns the entry that `other`, a leaf of another version, has at the same place, if it may have the same key.
    #[inline]
    pub(super) unsafe fn opposite(self, other: Self, place: Place) -> Option<*const Entry<K, V>> {
        // SAFETY: both leaves are live and not written; with the same shape, they have the same places.
        unsafe {
            if self.shape() != other.shape() {
                return None;
            }
            let tag = *self.tags_at(place.group).add(place.slot);
            let is_alike = *other.tags_at(place.group).add(place.slot) == tag;
            is_alike.then(|| other.entry(place).cast_const())
        }
    }

    /// Takes a key that is in the group `until` from the counts of the groups that it passed.
    #[inline]
    unsafe fn forget_passing(self, hash: u64, until: usize, mask: usize) {
        let mut group = Self::home(hash, mask);
        while group != until {
            // SAFETY: the group is one of the leaf's, which the caller may write.
            unsafe {
                let passed = self.passed_at(group);
                // A full count does not know how many it missed; an empty one was lied to.
                if *passed != 0 && *passed != u8::MAX {
                    *passed -= 1;
                }
            }
            group = (group + 1) & mask;
        }
    }

    /// Returns the groups that have entries. The caller vouches for the leaf while they come.
    #[inline]
    pub(super) unsafe fn used_groups(self) -> Groups<K, V> {
        // SAFETY: the leaf is live and not written.
        let shape = unsafe { self.shape() };
        Groups {
            leaf: self,
            next: 0,
            end: shape.groups(),
        }
    }

    /// Returns the places of all entries, group by group. The caller vouches for the leaf while they come.
    #[inline]
    pub(super) unsafe fn places(self) -> impl Iterator<Item = Place> {
        // SAFETY: as the caller vouches.
        let groups = unsafe { self.used_groups() };
        groups.flat_map(|(group, len)| (0..len).map(move |slot| Place { group, slot }))
    }

    /// Frees the leaf but not what its entries own.
    pub(super) unsafe fn free(self) {
        // SAFETY: the caller gives the leaf up, and its shape tells how it was made.
        unsafe { self.0.untagged().free(Self::units(self.shape())) };
    }

    /// Drops the entries and frees the leaf, also if a `Drop` panics.
    pub(super) unsafe fn free_with_entries(self) {
        struct Rest<K, V> {
            leaf: Leaf<K, V>,
            group: usize,
        }
        impl<K, V> Rest<K, V> {
            fn drop_entries(&mut self) {
                // SAFETY: the leaf is given up; each group's entries are dropped once, since the number goes up first.
                unsafe {
                    while self.group < self.leaf.shape().groups() {
                        let group = self.group;
                        self.group += 1;
                        let len = Tags::load(self.leaf.tags_at(group)).len();
                        ptr::slice_from_raw_parts_mut(self.leaf.entries_at(group), len).drop_in_place();
                    }
                }
            }
        }
        impl<K, V> Drop for Rest<K, V> {
            fn drop(&mut self) {
                // After a panic: what is left.
                self.drop_entries();
                // SAFETY: the leaf is given up, and its entries are gone.
                unsafe { self.leaf.free() };
            }
        }
        let mut rest = Rest { leaf: self, group: 0 };
        if mem::needs_drop::<Entry<K, V>>() {
            rest.drop_entries();
        } else {
            rest.group = usize::MAX;
        }
    }
}

/// The groups of a leaf that are still to come: where each is, and how many entries it has, when it is reached.
pub(super) struct Groups<K, V> {
    leaf: Leaf<K, V>,
    next: usize,
    end: usize,
}

impl<K, V> Groups<K, V> {
    #[inline]
    pub(super) fn leaf(&self) -> Leaf<K, V> {
        self.leaf
    }

    /// Returns the same groups of `copy`, which was made of the leaf.
    pub(super) fn in_copy(self, copy: Leaf<K, V>) -> Self {
        Self { leaf: copy, ..self }
    }
}

impl<K, V> Clone for Groups<K, V> {
    fn clone(&self) -> Self {
        Self { ..*self }
    }
}

impl<K, V> Iterator for Groups<K, V> {
    type Item = (usize, usize);

    #[inline]
    fn next(&mut self) -> Option<(usize, usize)> {
        while self.next != self.end {
            let group = self.next;
            self.next += 1;
            // SAFETY: the group is one of the leaf's, for which the caller of `used_groups` vouched.
            let len = unsafe { Tags::load(self.leaf.tags_at(group)) }.len();
            if len > 0 {
                return Some((group, len));
            }
        }
        None
    }
}

#[cfg(all(test, not(loom)))]
impl<K, V> Leaf<K, V> {
    /// Checks the tags of all groups and the counts of those who passed; `hashes` is what `hashes` returns.
    pub(super) unsafe fn check_groups(self, hashes: &[u64]) {
        // SAFETY: the leaf is live.
        unsafe {
            let shape = self.shape();
            let mut passed = alloc::vec![0_usize; shape.groups()];
            for (place, &hash) in self.places().zip(hashes) {
                assert_eq!(*self.tags_at(place.group).add(place.slot), tag_of(hash));
                let mut group = Self::home(hash, shape.mask());
                while group != place.group {
                    passed[group] += 1;
                    group = (group + 1) & shape.mask();
                }
            }
            for (group, passed) in passed.into_iter().enumerate() {
                let counted = usize::from(*self.passed_at(group));
                assert!(counted == passed || counted == 255, "{counted} for {passed}");
            }
        }
    }
}
