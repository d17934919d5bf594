//! How a table grows: by a page, into a group; by a group, split from another.
//!
//! Groups are split in turn (linear hashing), whichever of them is full, so that a hash tells its group by a mask; a group has as many
//! pages as its entries need, so that the halves of a split are as full as the others. Either builds at most one group anew, which has
//! at most 14 pages: that is the longest that an insertion takes.

use zerocopy::FromZeros;

use super::hash::Hasher;
use super::layout::{
    GROUP_PAGES, Group, IMPLIED_MAX, Shape, group, group_mut, header, header_mut, next_free, with_shape,
};
use super::{Plain, SparseTable, block};
use crate::{Error, Result};

/// An entry on its way.
#[derive(Clone, Copy)]
pub(super) struct Moved<K, V> {
    hash: u64,
    /// All zeros if the hash keeps it.
    key: K,
    value: V,
}

/// Returns the group of a hash.
#[inline]
pub(super) fn number(groups: u64, hash: u64) -> usize {
    let mask = u64::MAX >> groups.leading_zeros();
    let number = hash & mask;
    let number = if number < groups {
        number
    } else {
        number & mask >> 1
    };
    number as usize
}

/// Returns how many low bytes of a hash the number of its group tells.
pub(super) fn implied<K>(groups: u64, number: usize) -> u8 {
    if !Hasher::keeps::<K>() {
        return 0;
    }
    let level = groups.ilog2();
    let whole = 1 << level;
    let is_split = number as u64 + whole < groups || number as u64 >= whole;
    ((level + u32::from(is_split)) / u8::BITS).min(IMPLIED_MAX) as u8
}

impl<K: Plain, V: Plain> SparseTable<K, V> {
    /// How many pages a group may have, in whatever shape.
    pub(super) const PAGES_MAX: usize = if Hasher::keeps::<K>() {
        Shape::<K, V, { IMPLIED_MAX as usize }>::PAGES_MAX
    } else {
        Shape::<K, V, 0>::PAGES_MAX
    };

    /// How many pages groups have on average; a group is split when it has between that and twice as many.
    ///
    /// A group that has more is filled better before it grows, and takes longer to be built anew.
    pub(super) const PAGES_A_GROUP: u64 = (Self::PAGES_MAX as u64 * 6).div_ceil(GROUP_PAGES as u64);

    /// Returns the group of a hash, after it has got room for another entry.
    #[inline]
    pub(super) fn group_with_room(&mut self, hash: u64) -> Result<usize> {
        let number = self.number(hash);
        if has_room::<K, V>(group(self.memory(), number)) {
            return Ok(number);
        }
        self.make_room(hash)
    }

    #[cold]
    fn make_room(&mut self, hash: u64) -> Result<usize> {
        loop {
            let memory = self.memory();
            let is_largest = usize::from(group(memory, self.number(hash)).count) == Self::PAGES_MAX;
            if is_largest || header(memory).taken >= Self::PAGES_A_GROUP * self.groups {
                // A split that gets no pages can wait, unless the group can grow no other way.
                let split = self.split();
                if is_largest {
                    split?;
                }
            }
            let number = self.number(hash);
            let mut grown = *group(self.memory(), number);
            if has_room::<K, V>(&grown) {
                return Ok(number);
            }
            if usize::from(grown.count) < Self::PAGES_MAX {
                self.check_free(1)?;
                self.gather(number);
                self.take_pages(&mut grown, 1);
                self.build(number, grown, |_| true);
            }
        }
    }

    /// Splits the group whose turn it is.
    fn split(&mut self) -> Result {
        if self.groups == self.groups_max {
            return Err(self.full());
        }
        let level = self.groups.ilog2();
        let (stays, goes) = ((self.groups - (1 << level)) as usize, self.groups as usize);
        // Each half may need a page more than its entries had.
        self.check_free(2)?;
        self.gather(stays);
        self.groups += 1;
        header_mut(self.memory_mut()).groups = self.groups;
        let went = self
            .moved
            .iter()
            .filter(|moved| moved.hash >> level & 1 == 1)
            .count();
        let mut pages = *group(self.memory(), stays);
        let implied = implied::<K>(self.groups, stays);
        let halves = [self.moved.len() - went, went].map(|entries| {
            let wanted = pages_for::<K, V>(implied, entries);
            let mut half = Group {
                implied,
                ..Group::new_zeroed()
            };
            while usize::from(half.count) < wanted && pages.count > 0 {
                pages.count -= 1;
                half.pages[usize::from(half.count)] = pages.pages[usize::from(pages.count)];
                half.count += 1;
            }
            (half, wanted - usize::from(half.count))
        });
        self.give_back(&pages);
        for (bit, number, (mut half, more)) in [(0, stays, halves[0]), (1, goes, halves[1])] {
            self.take_pages(&mut half, more);
            self.build(number, half, |hash| hash >> level & 1 == bit);
        }
        Ok(())
    }

    /// Collects a group's entries in `moved`.
    fn gather(&mut self, number: usize) {
        let mut moved = std::mem::take(&mut self.moved);
        moved.clear();
        let memory = self.memory();
        let group = group(memory, number);
        moved.reserve(usize::from(group.entries));
        with_shape!(group.implied, K, V, Shaped => {
            Shaped::<K, V>::each(memory, number, group, &self.hasher, |hash, key, place| {
                let value = *block::value(memory, place);
                moved.push(Moved { hash, key, value });
            });
        });
        self.moved = moved;
    }

    /// Makes `built` the group `number`, and puts those of `moved` in which are of it.
    fn build(&mut self, number: usize, mut built: Group, is_of_it: impl Fn(u64) -> bool) {
        let (memory, _) = self.region.as_mut_slice().as_chunks_mut();
        with_shape!(built.implied, K, V, Shaped => {
            Shaped::<K, V>::clear(memory, &mut built);
            for moved in self.moved.iter().filter(|moved| is_of_it(moved.hash)) {
                Shaped::<K, V>::put(memory, &built, &moved.key, moved.hash, &moved.value);
                built.entries += 1;
            }
        });
        *group_mut(memory, number) = built;
    }

    /// Answers an error if there are not so many pages for groups.
    fn check_free(&self, pages: u64) -> Result {
        let all = self.memory().len() as u64 - self.first_page;
        if header(self.memory()).taken + pages <= all {
            Ok(())
        } else {
            Err(self.full())
        }
    }

    fn full(&self) -> Error {
        Error::TableFull {
            entries: self.len(),
            bytes: self.region.len(),
        }
    }

    /// Adds pages to a group, which are known to be free.
    fn take_pages(&mut self, group: &mut Group, count: usize) {
        let memory = self.memory_mut();
        for _ in 0..count {
            let mut page = header(memory).free;
            if page == 0 {
                let header = header_mut(memory);
                page = header.pages as u32;
                header.pages += 1;
            } else {
                header_mut(memory).free = next_free(memory, page);
            }
            header_mut(memory).taken += 1;
            group.pages[usize::from(group.count)] = page;
            group.count += 1;
        }
    }

    /// Gives a group's pages back.
    fn give_back(&mut self, group: &Group) {
        let memory = self.memory_mut();
        for &page in &group.pages[..usize::from(group.count)] {
            let next = header(memory).free.to_ne_bytes();
            memory[page as usize][..next.len()].copy_from_slice(&next);
            header_mut(memory).free = page;
            header_mut(memory).taken -= 1;
        }
    }

    #[inline]
    pub(super) fn number(&self, hash: u64) -> usize {
        number(self.groups, hash)
    }
}

#[inline]
fn has_room<K: Plain, V: Plain>(group: &Group) -> bool {
    usize::from(group.entries) < Shape::<K, V, 0>::entries_max(group.blocks.into())
}

/// Returns how many pages a group needs for so many entries.
fn pages_for<K: Plain, V: Plain>(implied: u8, entries: usize) -> usize {
    with_shape!(implied, K, V, Shaped => {
        let mut pages = 0;
        while Shaped::<K, V>::entries_max(Shaped::<K, V>::blocks(pages)) < entries {
            pages += 1;
        }
        pages
    })
}
