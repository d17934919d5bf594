#![allow(unsafe_code)]
//! Leaves that are made of the entries of others: copied, larger, smaller, halved, joined.
//!
//! But for a copy's, entries move as bits. **Invariant:** until a new leaf is finished, they are the old one's, and the new
//! one is freed without them; no code of the caller's runs between that and the end of the old one.

use alloc::vec::Vec;
use core::mem;
use core::ptr;

use super::leaf::{Entry, Leaf};
use super::room::Shape;
use super::tags::{SLOTS, TAG_BYTES, Tags, tag_of};

impl<K, V> Leaf<K, V> {
    /// Returns a copy, with every entry at the same place. If a clone panics, the clones made are dropped.
    pub(super) unsafe fn copied(self) -> Self
    where
        K: Clone,
        V: Clone,
    {
        /// The copy, whose groups have their tags when they are whole, and the entries of the group at work.
        struct Unfinished<K, V> {
            copy: Leaf<K, V>,
            group: usize,
            done: usize,
        }
        impl<K, V> Drop for Unfinished<K, V> {
            fn drop(&mut self) {
                // SAFETY: the entries are initialised and have no tags; the others have; nobody else has the copy.
                unsafe {
                    let begun = self.copy.entries_at(self.group);
                    ptr::slice_from_raw_parts_mut(begun, self.done).drop_in_place();
                    self.copy.free_with_entries();
                }
            }
        }
        // SAFETY: the leaf is live and not written; the copy has the same shape, so the same places.
        unsafe {
            let shape = self.shape();
            let mut unfinished = Unfinished {
                copy: Self::with_shape(shape),
                group: 0,
                done: 0,
            };
            let copy = unfinished.copy;
            for group in 0..shape.groups() {
                unfinished.group = group;
                let (from, to) = (self.entries_at(group), copy.entries_at(group));
                let len = Tags::load(self.tags_at(group)).len();
                for slot in 0..len {
                    to.add(slot).write((*from.add(slot)).clone());
                    unfinished.done = slot + 1;
                }
                ptr::copy_nonoverlapping(self.tags_at(group), copy.tags_at(group), TAG_BYTES);
                unfinished.done = 0;
            }
            mem::forget(unfinished);
            (*copy.0.untagged().header_ptr()).len = self.len() as u32;
            copy
        }
    }

    /// Returns a leaf of another shape with the entries of this one, which is freed. If `hash` panics, nothing
    /// has happened.
    pub(super) unsafe fn reshaped(self, shape: Shape, hash: &impl Fn(&K) -> u64) -> Self {
        let mut filling = Filling::new(shape);
        // SAFETY: the caller may write both; the new one has room for all, and those that it has are
        // not dropped in both: either it is freed without them, or the old one is.
        unsafe {
            debug_assert!(self.len() <= shape.limit());
            filling.move_in(self, hash);
            self.free();
        }
        filling.finish()
    }

    /// Returns a leaf with the entries of both, which are freed. If `hash` panics, nothing has happened.
    pub(super) unsafe fn merged(self, other: Self, shape: Shape, hash: &impl Fn(&K) -> u64) -> Self {
        let mut filling = Filling::new(shape);
        // SAFETY: as for `reshaped`.
        unsafe {
            debug_assert!(self.len() + other.len() <= shape.limit());
            filling.move_in(self, hash);
            filling.move_in(other, hash);
            self.free();
            other.free();
        }
        filling.finish()
    }

    /// Returns the hashes of all keys, in the order of [`places`](Self::places).
    pub(super) unsafe fn hashes(self, hash: &impl Fn(&K) -> u64) -> Vec<u64> {
        // SAFETY: the leaf is live and not written.
        unsafe {
            let mut hashes = Vec::with_capacity(self.len());
            hashes.extend(self.places().map(|place| hash(&(*self.entry(place)).key)));
            hashes
        }
    }

    /// Returns two leaves: the entries whose hash has `bit` unset, and set. This one is freed.
    /// `hashes` are what [`hashes`](Self::hashes) returned.
    pub(super) unsafe fn split(self, hashes: &[u64], bit: u32) -> [Self; 2] {
        let set = hashes.iter().filter(|&&hash| hash >> bit & 1 == 1).count();
        // Half as much again: a leaf that was just made is not at once too small.
        let mut halves = [hashes.len() - set, set].map(|len| {
            let shape = Self::shape_for(len + len / 2 + 1);
            let is_over = shape.limit() > Self::SHAPE_MAX.limit() && len <= Self::SHAPE_MAX.limit();
            Filling::new(if is_over { Self::SHAPE_MAX } else { shape })
        });
        // SAFETY: the caller may write the leaf; each half has room for those that were counted. Nothing panics
        // until the leaf is freed without its entries.
        unsafe {
            for (place, &hash) in self.places().zip(hashes) {
                halves[(hash >> bit & 1) as usize].push(hash, self.entry(place));
            }
            self.free();
        }
        halves.map(Filling::finish)
    }
}

/// A leaf that is being filled with entries that another still owns: freed without them, unless finished.
struct Filling<K, V> {
    leaf: Leaf<K, V>,
    mask: usize,
    len: u32,
    /// How many entries the first groups have. Their tags tell, too, but a search in what has just been written waits
    /// for the writes.
    lens: [u8; COUNTED],
}

/// More groups than leaves have, unless hashes are bad.
const COUNTED: usize = 32;

impl<K, V> Filling<K, V> {
    fn new(shape: Shape) -> Self {
        Self {
            leaf: Leaf::with_shape(shape),
            mask: shape.mask(),
            len: 0,
            lens: [0; COUNTED],
        }
    }

    fn len_of(&self, group: usize) -> usize {
        match self.lens.get(group) {
            Some(&len) => usize::from(len),
            // SAFETY: the group is one of the leaf's, which nobody else has.
            None => unsafe { Tags::load(self.leaf.tags_at(group)) }.len(),
        }
    }

    /// Copies the bits of an entry. There must be room.
    #[inline]
    unsafe fn push(&mut self, hash: u64, entry: *const Entry<K, V>) {
        let mut group = Leaf::<K, V>::home(hash, self.mask);
        let mut slot = self.len_of(group);
        // SAFETY: the groups are the leaf's, which nobody else has, and the slot is the first that is free.
        unsafe {
            while slot == SLOTS {
                self.leaf.count_passing(group);
                group = (group + 1) & self.mask;
                slot = self.len_of(group);
            }
            ptr::copy_nonoverlapping(entry, self.leaf.entries_at(group).add(slot), 1);
            self.leaf.tags_at(group).add(slot).write(tag_of(hash));
        }
        if let Some(len) = self.lens.get_mut(group) {
            *len += 1;
        }
        self.len += 1;
    }

    /// Copies the bits of all entries of `from`. There must be room.
    unsafe fn move_in(&mut self, from: Leaf<K, V>, hash: &impl Fn(&K) -> u64) {
        // SAFETY: as the caller vouches.
        unsafe {
            for place in from.places() {
                let entry = from.entry(place);
                self.push(hash(&(*entry).key), entry);
            }
        }
    }

    fn finish(self) -> Leaf<K, V> {
        let leaf = self.leaf;
        // SAFETY: nobody else has the leaf; it has so many entries.
        unsafe { (*leaf.0.untagged().header_ptr()).len = self.len };
        mem::forget(self);
        leaf
    }
}

impl<K, V> Drop for Filling<K, V> {
    fn drop(&mut self) {
        // SAFETY: nobody else has it; who still owns the entries drops them.
        unsafe { self.leaf.free() };
    }
}
