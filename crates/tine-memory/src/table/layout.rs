//! Where things lie in a table's region.
//!
//! ```text
//! page 0   pages 1..first        pages first..
//! | header | groups, 64 B each | pages of groups, in any order |
//!
//! a group's first page:   | tags of all its blocks, 16 B each | values | rests of keys |
//! its other pages:        | values, block by block | rests of keys, block by block |
//! a block's tags:         | 15 tags | how many slots are taken, how many keys went past |
//! ```
//!
//! Tags lie together so that they stay in the processor's cache: who looks for a key waits for memory once, where the key's rest and
//! its value are.
//!
//! All of it is plain bytes, in the machine's order, and nothing in it is trusted to be right: what it leads to is checked to be inside
//! the region, and no bytes are wrong ones for a key or a value.

use std::marker::PhantomData;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::Plain;
use super::hash::Hasher;
use crate::PAGE_BYTES;
use crate::pages::Page;

pub(super) const MAGIC: u64 = u64::from_le_bytes(*b"tinetabl");
pub(super) const VERSION: u32 = 1;

/// How many pages a group's record names.
pub(super) const GROUP_PAGES: usize = 14;

/// The bytes of a group's record: a line of the processor's cache.
pub(super) const GROUP_BYTES: usize = 64;

/// Tags that are compared at once, and the byte that counts.
pub(super) const TAGS: usize = 16;

/// As many bytes are read at once where the rest of a key is: so many are left unused at a page's end.
pub(super) const WORD_BYTES: usize = size_of::<u64>();

/// The first page.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(super) struct Header {
    pub(super) magic: u64,
    pub(super) version: u32,
    pub(super) key_bytes: u32,
    pub(super) value_bytes: u32,
    /// The first of the pages that were a group's and are none's; each begins with the next one's number. Zero is none.
    pub(super) free: u32,
    pub(super) entries: u64,
    pub(super) groups: u64,
    /// The pages that were ever used; those behind are zeros.
    pub(super) pages: u64,
    /// The pages that are of groups.
    pub(super) taken: u64,
    pub(super) seeds: [u64; 3],
}

/// A group's record: its pages, which together are one table of open addressing.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(super) struct Group {
    pub(super) pages: [u32; GROUP_PAGES],
    pub(super) entries: u16,
    /// How many blocks there are.
    pub(super) blocks: u16,
    /// How many slots are in the first page.
    pub(super) first: u16,
    /// How many of `pages` there are.
    pub(super) count: u8,
    /// How many of the hash's low bytes the group's number tells, so that they are not stored.
    pub(super) implied: u8,
}

const _: () = assert!(size_of::<Group>() == GROUP_BYTES);
const _: () = assert!(size_of::<Header>() <= PAGE_BYTES);

/// How many low bytes of the hash may be left out: where groups are chosen by more, the fourth is stored again.
pub(super) const IMPLIED_MAX: u32 = 3;

/// How entries lie in groups of which so many bytes of the hash are implied.
pub(super) struct Shape<K, V, const IMPLIED: usize>(PhantomData<(K, V)>);

impl<K: Plain, V: Plain, const IMPLIED: usize> Shape<K, V, IMPLIED> {
    /// Slots of a block.
    pub(super) const SLOTS: usize = {
        assert!(align_of::<V>() <= TAGS, "a value's alignment is at most 16");
        let entry = size_of::<K>() + size_of::<V>();
        // Beside a group's tags there is to be room for a block in its first page, too.
        let room = PAGE_BYTES - WORD_BYTES - GROUP_PAGES * TAGS;
        assert!(
            entry <= room,
            "a key and its value have at most 3,864 bytes together"
        );
        match room.checked_div(entry) {
            Some(slots) if slots < TAGS - 1 => slots,
            _ => TAGS - 1,
        }
    };

    /// How much of a key is stored in its slot. A byte of the hash is the tag.
    pub(super) const REST: usize = if Hasher::keeps::<K>() {
        WORD_BYTES - 1 - IMPLIED
    } else {
        size_of::<K>()
    };

    const ENTRY_BYTES: usize = Self::REST + size_of::<V>();

    /// Slots in a page that is not the first: as many as fit, so that blocks may lie on two pages.
    pub(super) const PAGE_SLOTS: usize = match (PAGE_BYTES - WORD_BYTES).checked_div(Self::ENTRY_BYTES) {
        Some(slots) => slots,
        // Entries without bytes: there is at most one.
        None => 1,
    };

    /// How many pages a group may have: as many as its record names, and its first page has tags for.
    pub(super) const PAGES_MAX: usize = {
        let mut pages = 1;
        while pages < GROUP_PAGES && Self::tags(pages) + TAGS < PAGE_BYTES - WORD_BYTES {
            pages += 1;
        }
        pages
    };

    /// Returns the bytes of the tags of all slots but the first page's, at most.
    const fn tags(pages: usize) -> usize {
        TAGS * (pages * Self::PAGE_SLOTS).div_ceil(Self::SLOTS)
    }

    /// Returns how many slots the first of so many pages has.
    pub(super) const fn first_slots(pages: usize) -> usize {
        if pages == 0 {
            return 0;
        }
        let room = PAGE_BYTES - WORD_BYTES - Self::tags(pages - 1);
        room * Self::SLOTS / (Self::SLOTS * Self::ENTRY_BYTES + TAGS)
    }

    /// Returns how many blocks so many pages have. The slots of another, if they are not enough, are not used.
    pub(super) const fn blocks(pages: usize) -> usize {
        (Self::first_slots(pages) + pages.saturating_sub(1) * Self::PAGE_SLOTS) / Self::SLOTS
    }

    /// Returns how many entries a group of so many blocks may have: beyond, keys would be looked for in too many of them.
    pub(super) const fn entries_max(blocks: usize) -> usize {
        let slots = blocks * Self::SLOTS;
        slots - slots / 128
    }
}

/// Evaluates an expression with `$shape` the shape of a group of which so many bytes are implied.
macro_rules! with_shape {
    ($implied:expr, $key:ty, $value:ty, $shape:ident => $result:expr) => {
        match $implied {
            1 if $crate::table::Hasher::keeps::<$key>() => {
                type $shape<K, V> = $crate::table::Shape<K, V, 1>;
                $result
            }
            2 if $crate::table::Hasher::keeps::<$key>() => {
                type $shape<K, V> = $crate::table::Shape<K, V, 2>;
                $result
            }
            3 if $crate::table::Hasher::keeps::<$key>() => {
                type $shape<K, V> = $crate::table::Shape<K, V, 3>;
                $result
            }
            _ => {
                type $shape<K, V> = $crate::table::Shape<K, V, 0>;
                $result
            }
        }
    };
}
pub(super) use with_shape;

#[inline]
pub(super) fn header(memory: &[Page]) -> &Header {
    Header::ref_from_bytes(&memory[0][..size_of::<Header>()]).expect("a region begins at a page")
}

#[inline]
pub(super) fn header_mut(memory: &mut [Page]) -> &mut Header {
    Header::mut_from_bytes(&mut memory[0][..size_of::<Header>()]).expect("a region begins at a page")
}

const PAGE_GROUPS: usize = PAGE_BYTES / GROUP_BYTES;

#[inline]
pub(super) fn group(memory: &[Page], number: usize) -> &Group {
    let at = number % PAGE_GROUPS * GROUP_BYTES;
    let bytes = &memory[1 + number / PAGE_GROUPS][at..at + GROUP_BYTES];
    Group::ref_from_bytes(bytes).expect("groups begin at a page")
}

#[inline]
pub(super) fn group_mut(memory: &mut [Page], number: usize) -> &mut Group {
    let at = number % PAGE_GROUPS * GROUP_BYTES;
    let bytes = &mut memory[1 + number / PAGE_GROUPS][at..at + GROUP_BYTES];
    Group::mut_from_bytes(bytes).expect("groups begin at a page")
}

/// Returns four bytes of a free page, which are the next one's number.
pub(super) fn next_free(memory: &[Page], page: u32) -> u32 {
    let bytes = memory[page as usize].first_chunk();
    u32::from_ne_bytes(*bytes.expect("a page has four bytes"))
}
