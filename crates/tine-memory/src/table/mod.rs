//! Tables: maps of plain data that lie in a region, and fork with it.
//!
//! ```text
//! hash   | tag 8 | place in the group 32 | ... | group: the low bits |
//!
//! groups   [..][..][..][..][..]      as many as there need to be; one is split at a time, in turn
//!              |
//!           1..14 pages              as many as its entries need; one is added at a time
//! ```
//!
//! Invariant: all that a table knows is in its region, but for the addresses: what becomes of the region (fork, rollback, save, load)
//! becomes of the table.

mod block;
mod check;
mod grow;
mod hash;
mod layout;

use std::io::Write;
use std::marker::PhantomData;
use std::{fmt, mem};

use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout};

use crate::pages::Page;
use crate::region::whole_pages;
use crate::{Error, Mark, PAGE_BYTES, Region, Result, Save, Stats};
use block::Slot;
use grow::Moved;
use hash::Hasher;
use layout::{
    GROUP_BYTES, Group, Header, MAGIC, Shape, VERSION, group, group_mut, header, header_mut, with_shape,
};

/// What may lie in a table: bytes without pointers, without padding, and of which none are wrong.
///
/// A fork copies them and a load reads them from a file, so zerocopy's traits say what is needed, and check it when they are derived:
/// nothing is promised by hand, and no `unsafe` is needed to use a table. Numbers, arrays of them and structs of them (`repr(C)`) are plain.
pub trait Plain: FromBytes + IntoBytes + Immutable + KnownLayout + Copy + 'static {}

impl<T: FromBytes + IntoBytes + Immutable + KnownLayout + Copy + 'static> Plain for T {}

/// A map that takes memory for what it holds, grows without a pause, and forks as its region does.
///
/// ```
/// # fn main() -> tine_memory::Result {
/// let mut golden = tine_memory::SparseTable::<u64, [u32; 4]>::with_capacity(1 << 30)?; // addresses, no memory
/// golden.insert(7, [1, 2, 3, 4])?;
/// let mut job = golden.fork()?; // one mapping, whatever it holds
/// job.insert(8, [5; 4])?;
/// assert_eq!((golden.len(), job.len()), (1, 2));
/// job.rollback()?;
/// assert_eq!(job.get(&8), None);
/// # Ok(())
/// # }
/// ```
///
/// Keys are equal if their bytes are. A key and its value have at most 3,864 bytes together. See the [crate's documentation](crate) for what the operations cost.
pub struct SparseTable<K, V> {
    region: Region,
    hasher: Hasher,
    /// The pages before this one are the header's and the groups' records.
    first_page: u64,
    groups_max: u64,
    /// The entries of the group that is built anew; empty else, kept for its memory.
    moved: Vec<Moved<K, V>>,
    /// Invariant: as the header has it.
    groups: u64,
    types: PhantomData<(K, V)>,
}

impl<K: Plain, V: Plain> SparseTable<K, V> {
    /// Makes a table with room for so many entries: addresses are taken for them, no memory. [`Region::zeroed`]'s cost.
    ///
    /// # Errors
    ///
    /// As for [`Region::zeroed`], and when there are not so many addresses.
    pub fn with_capacity(entries: usize) -> Result<Self> {
        let length = Self::bytes_for(entries as u64);
        let region = Region::zeroed(whole_pages(length)?)?;
        let mut seeds = [0; 3];
        // 24 bytes come whole or not at all.
        rustix::rand::getrandom(seeds.as_mut_bytes(), rustix::rand::GetRandomFlags::empty())
            .map_err(Error::system("drawing a table's seeds"))?;
        let mut table = Self::over(region, Hasher { seeds })?;
        table.begin();
        Ok(table)
    }

    /// Makes a table of a region that has one: of [`SparseTable::into_region`], a fork, or what was loaded. O(pages of the table / 64).
    ///
    /// # Errors
    ///
    /// When it is no table, of another version, of keys or values of other sizes, or its records contradict each other. That keys and values are of the same
    /// types cannot be told; they would be other plain data. What is in the pages of entries is not looked at: if it is damaged, operations
    /// give wrong answers or panic.
    pub fn open(region: Region) -> Result<Self> {
        let mut table = Self::over(region, Hasher { seeds: [0; 3] })?;
        table.check()?;
        table.hasher.seeds = header(table.memory()).seeds;
        table.groups = header(table.memory()).groups;
        Ok(table)
    }

    fn over(region: Region, hasher: Hasher) -> Result<Self> {
        let pages = (region.len() / PAGE_BYTES) as u64;
        let (first_page, groups_max) = Self::head(pages);
        if pages < first_page || pages > u64::from(u32::MAX) {
            return Err(Error::Length {
                length: region.len() as u64,
            });
        }
        Ok(Self {
            region,
            hasher,
            first_page,
            groups_max,
            groups: 1,
            moved: Vec::new(),
            types: PhantomData,
        })
    }

    /// Returns the length of a region in which so many entries have room however they fall.
    fn bytes_for(entries: u64) -> u64 {
        let slots = Shape::<K, V, 0>::PAGE_SLOTS as u64;
        // Groups are at least half full, but for the smallest, and some have more entries than others.
        let pages = (entries / slots).saturating_mul(5) / 2 + 4 * Self::PAGES_A_GROUP;
        let (first_page, _) = Self::head(pages + pages / 8);
        (pages + first_page).saturating_mul(PAGE_BYTES as u64)
    }

    /// Returns the number of the first page behind the records of groups, and how many groups have one, in a region of so many pages.
    fn head(pages: u64) -> (u64, u64) {
        let records = (PAGE_BYTES / GROUP_BYTES) as u64;
        let record_pages = pages / (Self::PAGES_A_GROUP * records) + 1;
        (1 + record_pages, record_pages * records)
    }

    /// Writes the header of an empty table.
    fn begin(&mut self) {
        self.groups = 1;
        let header = Header {
            magic: MAGIC,
            version: VERSION,
            key_bytes: size_of::<K>() as u32,
            value_bytes: size_of::<V>() as u32,
            free: 0,
            entries: 0,
            groups: 1,
            pages: self.first_page,
            taken: 0,
            seeds: self.hasher.seeds,
        };
        let memory = self.memory_mut();
        *header_mut(memory) = header;
        *group_mut(memory, 0) = Group::new_zeroed();
    }

    /// Returns the number of entries.
    #[must_use]
    pub fn len(&self) -> usize {
        header(self.memory()).entries as usize
    }

    /// Returns whether there are no entries.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the bytes of the pages that the table uses, own or shared. O(1).
    #[must_use]
    pub fn bytes(&self) -> usize {
        let header = header(self.memory());
        let records = (header.groups as usize * GROUP_BYTES).div_ceil(PAGE_BYTES);
        (1 + records) * PAGE_BYTES + (header.pages - self.first_page) as usize * PAGE_BYTES
    }

    /// Returns what the memory is made of, see [`Region::stats`].
    ///
    /// # Errors
    ///
    /// As for [`Region::stats`].
    pub fn stats(&self) -> Result<Stats> {
        self.region.stats()
    }

    /// Returns the value of a key.
    #[must_use]
    #[inline]
    pub fn get(&self, key: &K) -> Option<&V> {
        let (_, slot) = self.find(key, self.hasher.hash(key))?;
        Some(block::value(self.memory(), slot.place))
    }

    /// Returns the value of a key, to be changed.
    #[must_use]
    pub fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        let (_, slot) = self.find(key, self.hasher.hash(key))?;
        Some(block::value_mut(self.memory_mut(), slot.place))
    }

    /// Returns whether there is an entry of that key.
    #[must_use]
    pub fn contains_key(&self, key: &K) -> bool {
        self.get(key).is_some()
    }

    /// Puts a value at a key, and returns the one that was there. At most one group of entries is moved.
    ///
    /// # Errors
    ///
    /// When the addresses that were reserved are used up; the table is as it was.
    pub fn insert(&mut self, key: K, value: V) -> Result<Option<V>> {
        let hash = self.hasher.hash(&key);
        if let Some((_, slot)) = self.find(&key, hash) {
            let there = block::value_mut(self.memory_mut(), slot.place);
            return Ok(Some(mem::replace(there, value)));
        }
        self.add(&key, hash, &value)?;
        Ok(None)
    }

    /// Returns the value of a key, to be changed, after it was made if there was none.
    ///
    /// # Errors
    ///
    /// As for [`SparseTable::insert`].
    pub fn get_or_insert_with(&mut self, key: K, make: impl FnOnce() -> V) -> Result<&mut V> {
        let hash = self.hasher.hash(&key);
        let place = match self.find(&key, hash) {
            Some((_, slot)) => slot.place,
            None => self.add(&key, hash, &make())?,
        };
        Ok(block::value_mut(self.memory_mut(), place))
    }

    /// Takes a key's value away, and returns it. Its memory is used for later entries.
    pub fn remove(&mut self, key: &K) -> Option<V> {
        let hash = self.hasher.hash(key);
        let (number, slot) = self.find(key, hash)?;
        let memory = self.memory_mut();
        let removed = *block::value::<V>(memory, slot.place);
        let of_key = *group(memory, number);
        with_shape!(of_key.implied, K, V, Shaped => Shaped::<K, V>::take(memory, &of_key, hash, slot));
        group_mut(memory, number).entries -= 1;
        header_mut(memory).entries -= 1;
        Some(removed)
    }

    /// Takes all entries away. O(1); their memory is used for later ones.
    pub fn clear(&mut self) {
        self.begin();
    }

    /// Returns all entries, in no order that means anything.
    pub fn iter(&self) -> impl Iterator<Item = (K, &V)> {
        let memory = self.memory();
        (0..self.groups as usize).flat_map(move |number| {
            let group = group(memory, number);
            let mut entries = Vec::with_capacity(group.entries.into());
            with_shape!(group.implied, K, V, Shaped => {
                Shaped::<K, V>::each(memory, number, group, &self.hasher, |hash, key, place| {
                    let kept = || self.hasher.key(hash);
                    let key = if Hasher::keeps::<K>() { kept() } else { key };
                    entries.push((key, block::value(memory, place)));
                });
            });
            entries
        })
    }

    /// Makes an independent table with the same entries; neither sees what becomes of the other. [`Region::fork`]'s cost.
    ///
    /// # Errors
    ///
    /// As for [`Region::fork`].
    pub fn fork(&mut self) -> Result<Self> {
        Ok(Self {
            region: self.region.fork()?,
            moved: Vec::new(),
            ..*self
        })
    }

    /// Makes later forks one mapping each, until the table is changed; see [`Region::freeze`].
    ///
    /// # Errors
    ///
    /// As for [`Region::freeze`].
    pub fn freeze(&mut self) -> Result {
        self.region.freeze()
    }

    /// Goes back to the entries at the last fork or freeze, or when it was loaded or made; see [`Region::rollback`].
    ///
    /// # Errors
    ///
    /// As for [`Region::rollback`].
    pub fn rollback(&mut self) -> Result {
        self.region.rollback()?;
        if header(self.memory()).magic == 0 {
            // It goes back to the region that it was made in.
            self.begin();
        }
        self.groups = header(self.memory()).groups;
        Ok(())
    }

    /// Saves the table, to be opened with [`Region::load`] and [`SparseTable::open`]; see [`Region::save`].
    ///
    /// # Errors
    ///
    /// As for [`Region::save`].
    pub fn save(&mut self, output: &mut impl Write, save: Save<'_>) -> Result<Mark> {
        self.region.save(output, save)
    }

    /// Returns the region.
    #[must_use]
    pub fn into_region(self) -> Region {
        self.region
    }

    #[inline]
    fn memory(&self) -> &[Page] {
        self.region.as_slice().as_chunks().0
    }

    #[inline]
    fn memory_mut(&mut self) -> &mut [Page] {
        self.region.as_mut_slice().as_chunks_mut().0
    }

    /// Returns the group and the slot of a key.
    #[inline(always)]
    fn find(&self, key: &K, hash: u64) -> Option<(usize, Slot)> {
        let memory = self.memory();
        let number = self.number(hash);
        let group = group(memory, number);
        let slot = with_shape!(group.implied, K, V, Shaped => Shaped::<K, V>::find(memory, group, key, hash));
        Some((number, slot?))
    }

    /// Adds an entry whose key is not there.
    #[inline]
    fn add(&mut self, key: &K, hash: u64, value: &V) -> Result<block::Place> {
        let number = self.group_with_room(hash)?;
        let memory = self.memory_mut();
        let of_key = *group(memory, number);
        let place = with_shape!(of_key.implied, K, V, Shaped => {
            Shaped::<K, V>::put(memory, &of_key, key, hash, value)
        });
        group_mut(memory, number).entries += 1;
        header_mut(memory).entries += 1;
        Ok(place)
    }
}

impl<K: Plain + fmt::Debug, V: Plain + fmt::Debug> fmt::Debug for SparseTable<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}
