//! Blocks: how an entry is found, put and taken inside a group.
//!
//! A key's hash says where in the group its home is, as a fraction of all blocks. An entry is in the first block from there, around the
//! group, that had room when it came. Each block that it went past counts it, so a search ends at the first block that nobody went past,
//! and what is taken away leaves no mark: the counts go down again.

use super::Plain;
use super::hash::Hasher;
use super::layout::{Group, Shape, TAGS, WORD_BYTES};
use crate::PAGE_BYTES;
use crate::pages::Page;

/// A block's count of those that went past, once it is so high, is of so many or more, and stays until the group is built anew.
const PAST_MAX: u8 = 15;

/// The last byte of a block's tags: taken slots, which are its first ones, in the low half, and those that went past in the high half.
#[derive(Clone, Copy)]
struct Counts(u8);

impl Counts {
    /// Returns how many slots are taken, of so many.
    fn taken(self, slots: usize) -> usize {
        // What is no table of ours may count more than there are.
        usize::from(self.0 & 15).min(slots)
    }

    fn past(self) -> u8 {
        self.0 >> 4
    }
}

/// Where an entry lies: its page, and where in it.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub(super) page: usize,
    pub(super) value: usize,
    rest: usize,
}

/// A slot that is taken.
#[derive(Clone, Copy)]
pub(super) struct Slot {
    block: usize,
    slot: usize,
    pub(super) place: Place,
}

/// Returns a bit for each tag that is `tag`.
#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)]
#[inline]
fn matches(tags: u128, tag: u8) -> u32 {
    use std::arch::x86_64::{_mm_cmpeq_epi8, _mm_movemask_epi8, _mm_set_epi64x, _mm_set1_epi8};
    // SAFETY: every x86_64 has SSE2, which is all that these need.
    unsafe {
        let all = _mm_set_epi64x((tags >> 64) as i64, tags as i64);
        let wanted = _mm_set1_epi8(tag.cast_signed());
        _mm_movemask_epi8(_mm_cmpeq_epi8(all, wanted)).cast_unsigned()
    }
}

/// Returns a bit for each tag that is `tag`.
#[cfg(not(target_arch = "x86_64"))]
#[inline]
fn matches(tags: u128, tag: u8) -> u32 {
    let tags = tags.to_le_bytes();
    (0..TAGS).fold(0, |bits, slot| bits | u32::from(tags[slot] == tag) << slot)
}

fn tag(hash: u64) -> u8 {
    (hash >> 56) as u8
}

/// Returns a block's tags.
#[inline]
fn tags(page: &Page, block: usize) -> &[u8; TAGS] {
    let (blocks, _) = page.as_chunks();
    &blocks[block]
}

#[inline]
fn tags_mut(page: &mut Page, block: usize) -> &mut [u8; TAGS] {
    let (blocks, _) = page.as_chunks_mut();
    &mut blocks[block]
}

/// Returns the block after this one, around the group.
fn next(group: &Group, block: usize) -> usize {
    if block + 1 < usize::from(group.blocks) {
        block + 1
    } else {
        0
    }
}

/// Returns the home of a hash: neither its lowest bits, which chose the group, nor its highest, which are the tag, say where.
#[inline]
fn home(group: &Group, hash: u64) -> usize {
    ((u64::from((hash >> 24) as u32) * u64::from(group.blocks)) >> 32) as usize
}

impl<K: Plain, V: Plain, const IMPLIED: usize> Shape<K, V, IMPLIED> {
    /// Returns where a slot's entry lies.
    #[inline]
    fn place(group: &Group, block: usize, slot: usize) -> Place {
        let slot = block * Self::SLOTS + slot;
        let first = usize::from(group.first);
        let (page, begin, slots, slot) = if slot < first {
            (0, usize::from(group.blocks) * TAGS, first, slot)
        } else {
            let slot = slot - first;
            (
                1 + slot / Self::PAGE_SLOTS,
                0,
                Self::PAGE_SLOTS,
                slot % Self::PAGE_SLOTS,
            )
        };
        Place {
            page: group.pages[page] as usize,
            value: begin + slot * size_of::<V>(),
            rest: begin + slots * size_of::<V>() + slot * Self::REST,
        }
    }

    /// Returns what of a hash is stored beside its tag.
    #[inline]
    fn rest_of_hash(hash: u64) -> u64 {
        hash << 8 >> (8 + 8 * IMPLIED)
    }

    #[inline]
    fn stored_rest_of_hash(page: &Page, at: usize) -> u64 {
        let word = page[at..at + WORD_BYTES].try_into();
        let word = u64::from_le_bytes(word.expect("so many were taken"));
        word << (8 + 8 * IMPLIED) >> (8 + 8 * IMPLIED)
    }

    /// Returns the slot of a key.
    #[inline(always)]
    pub(super) fn find(memory: &[Page], group: &Group, key: &K, hash: u64) -> Option<Slot> {
        let mut block = home(group, hash);
        let tag_page = &memory[group.pages[0] as usize];
        for _ in 0..group.blocks {
            let tags = u128::from_le_bytes(*tags(tag_page, block));
            let counts = Counts((tags >> 120) as u8);
            let mut found = matches(tags, tag(hash)) & ((1 << counts.taken(Self::SLOTS)) - 1);
            while found != 0 {
                let slot = found.trailing_zeros() as usize;
                let place = Self::place(group, block, slot);
                let page = &memory[place.page];
                let is_it = if Hasher::keeps::<K>() {
                    Self::stored_rest_of_hash(page, place.rest) == Self::rest_of_hash(hash)
                } else {
                    page[place.rest..place.rest + Self::REST] == *key.as_bytes()
                };
                if is_it {
                    return Some(Slot { block, slot, place });
                }
                found &= found - 1;
            }
            if counts.past() == 0 {
                return None;
            }
            block = next(group, block);
        }
        None
    }

    /// Puts an entry whose key is not there into a group that has room, and returns where.
    #[inline]
    pub(super) fn put(memory: &mut [Page], group: &Group, key: &K, hash: u64, value: &V) -> Place {
        let mut block = home(group, hash);
        let tag_page = group.pages[0] as usize;
        for _ in 0..group.blocks {
            let tags = tags_mut(&mut memory[tag_page], block);
            let slot = Counts(tags[TAGS - 1]).taken(Self::SLOTS);
            if slot < Self::SLOTS {
                tags[TAGS - 1] += 1;
                tags[slot] = tag(hash);
                let place = Self::place(group, block, slot);
                let page = &mut memory[place.page];
                let rest = &mut page[place.rest..place.rest + Self::REST];
                if Hasher::keeps::<K>() {
                    rest.copy_from_slice(&Self::rest_of_hash(hash).to_le_bytes()[..Self::REST]);
                } else {
                    rest.copy_from_slice(key.as_bytes());
                }
                page[place.value..place.value + size_of::<V>()].copy_from_slice(value.as_bytes());
                return place;
            }
            if Counts(tags[TAGS - 1]).past() < PAST_MAX {
                tags[TAGS - 1] += 1 << 4;
            }
            block = next(group, block);
        }
        unreachable!("a group that has room has a block that has");
    }

    /// Takes the entry of a slot away, whose key has that hash. The last of its block comes to its slot.
    pub(super) fn take(memory: &mut [Page], group: &Group, hash: u64, taken: Slot) {
        let tag_page = group.pages[0] as usize;
        let mut block = home(group, hash);
        while block != taken.block {
            let tags = tags_mut(&mut memory[tag_page], block);
            if (1..PAST_MAX).contains(&Counts(tags[TAGS - 1]).past()) {
                tags[TAGS - 1] -= 1 << 4;
            }
            block = next(group, block);
        }
        let tags = tags_mut(&mut memory[tag_page], block);
        let last = Counts(tags[TAGS - 1]).taken(Self::SLOTS) - 1;
        tags[taken.slot] = tags[last];
        tags[TAGS - 1] -= 1;
        let (last, taken) = (Self::place(group, block, last), taken.place);
        let value = *value::<V>(memory, last);
        *value_mut(memory, taken) = value;
        let rest = last.rest..last.rest + Self::REST;
        if last.page == taken.page {
            memory[taken.page].copy_within(rest, taken.rest);
        } else {
            let pages = memory.get_disjoint_mut([last.page, taken.page]);
            let [source, target] = pages.expect("a group's pages are its own");
            target[taken.rest..taken.rest + Self::REST].copy_from_slice(&source[rest]);
        }
    }

    /// Gives a group its blocks, all slots of which are free.
    pub(super) fn clear(memory: &mut [Page], group: &mut Group) {
        let pages = usize::from(group.count);
        group.first = Self::first_slots(pages) as u16;
        group.blocks = Self::blocks(pages) as u16;
        group.entries = 0;
        group.implied = IMPLIED as u8;
        for block in 0..usize::from(group.blocks) {
            tags_mut(&mut memory[group.pages[0] as usize], block)[TAGS - 1] = 0;
        }
    }

    /// Calls `each` with the hash, the key and the place of each entry, in the order of the blocks. Of keys that their hash keeps, the
    /// key is not looked at: all zeros.
    #[inline]
    pub(super) fn each(
        memory: &[Page],
        number: usize,
        group: &Group,
        hasher: &Hasher,
        mut each: impl FnMut(u64, K, Place),
    ) {
        for block in 0..usize::from(group.blocks) {
            let tags = tags(&memory[group.pages[0] as usize], block);
            for (slot, &tag) in tags[..Counts(tags[TAGS - 1]).taken(Self::SLOTS)]
                .iter()
                .enumerate()
            {
                let place = Self::place(group, block, slot);
                let page = &memory[place.page];
                if Hasher::keeps::<K>() {
                    let low = number as u64 & ((1 << (8 * IMPLIED)) - 1);
                    let rest = Self::stored_rest_of_hash(page, place.rest);
                    each(
                        u64::from(tag) << 56 | rest << (8 * IMPLIED) | low,
                        K::new_zeroed(),
                        place,
                    );
                } else {
                    let key = K::read_from_bytes(&page[place.rest..place.rest + Self::REST]);
                    let key = key.expect("a key's bytes are stored");
                    each(hasher.hash(&key), key, place);
                }
            }
        }
    }
}

/// Returns the value at a place.
#[inline]
pub(super) fn value<V: Plain>(memory: &[Page], place: Place) -> &V {
    let bytes = &memory[place.page][place.value..place.value + size_of::<V>()];
    V::ref_from_bytes(bytes).expect("values begin where 16 divides, one behind the other")
}

#[inline]
pub(super) fn value_mut<V: Plain>(memory: &mut [Page], place: Place) -> &mut V {
    let bytes = &mut memory[place.page][place.value..place.value + size_of::<V>()];
    V::mut_from_bytes(bytes).expect("values begin where 16 divides, one behind the other")
}

const _: () = assert!(PAGE_BYTES.is_multiple_of(TAGS));
