#![allow(unsafe_code)]
//! The hash table of an interner: which symbols a hash may belong to.
//!
//! A slot is 0, or has a symbol's place in its lower bits, of as many as places need, and above them as many bits of the
//! hash as are left: with 10,000 values 18, so that a value is seldom looked at in vain.
//!
//! **Invariants:**
//! 1. At least a fifth of the slots is 0, so that every search ends. A slot that is not 0 is never written again.
//! 2. `current`, and each pointer in `old`, is a table that `Box` made; `old` is touched under the interner's lock, or by who has
//!    it for himself.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::mem;

use super::Symbol;
use super::sync::{AtomicPtr, AtomicU32, Lock, Ordering};

/// The table that is searched, and those before it, which somebody may still search.
pub(super) struct Tables {
    current: AtomicPtr<Table>,
    // Not boxes: who moves one claims that nobody else has it.
    old: Lock<Vec<AtomicPtr<Table>>>,
}

pub(super) struct Table {
    slots: Box<[AtomicU32]>,
    place_bits: u32,
}

/// So many slots a table has at least.
const SLOTS_MIN: usize = 8;

impl Tables {
    pub(super) fn new() -> Self {
        Self {
            current: AtomicPtr::new(Box::into_raw(Box::new(Table::new(0, 0)))),
            old: Lock::new(Vec::new()),
        }
    }

    #[inline]
    pub(super) fn current(&self) -> &Table {
        // SAFETY: a table is freed by `&mut self` only, after another has become the current one.
        unsafe { &*self.current.load(Ordering::Acquire) }
    }

    /// Puts another table in the place of the current one, which is kept.
    pub(super) fn replace(&self, table: Table) {
        let mut old = self.old.lock();
        old.reserve(1);
        let was = self
            .current
            .swap(Box::into_raw(Box::new(table)), Ordering::AcqRel);
        old.push(AtomicPtr::new(was));
    }

    /// Frees the tables that nobody can be searching.
    pub(super) fn forget_old(&mut self) {
        for table in mem::take(&mut *self.old.lock()) {
            // SAFETY: `Box` made it, it is in one place alone, and nobody searches it.
            drop(unsafe { Box::from_raw(table.load(Ordering::Relaxed)) });
        }
    }

    pub(super) fn bytes(&self) -> usize {
        let old = self.old.lock();
        // SAFETY: one that is in `old` is freed by `&mut self` only.
        let bytes_of = |table: &AtomicPtr<Table>| unsafe { &*table.load(Ordering::Relaxed) }.bytes();
        let old: usize = old.iter().map(bytes_of).sum();
        self.current().bytes() + old
    }
}

impl Drop for Tables {
    fn drop(&mut self) {
        self.forget_old();
        // SAFETY: `Box` made it, and nobody searches it.
        drop(unsafe { Box::from_raw(self.current.load(Ordering::Relaxed)) });
    }
}

impl Table {
    /// Returns a table with room for `living` values whose places are `len` at most.
    fn new(living: usize, len: u32) -> Self {
        let slots = (living + living / 4 + 1).next_power_of_two().max(SLOTS_MIN);
        let place_bits = slots.trailing_zeros().max(u32::BITS - len.leading_zeros());
        Self {
            slots: (0..slots).map(|_| AtomicU32::new(0)).collect(),
            place_bits,
        }
    }

    /// Returns a table with these hashes and symbols, and with room for `living`, whose places are `len` at most.
    pub(super) fn of(living: usize, len: u32, hashed: impl Iterator<Item = (u64, Symbol)>) -> Self {
        let table = Self::new(living, len);
        hashed.for_each(|(hash, symbol)| table.insert(hash, symbol));
        table
    }

    /// Returns whether one more fits, beside `living` with places of `len` at most.
    pub(super) fn has_room(&self, living: usize, len: u32) -> bool {
        let slots = self.slots.len();
        let places = 1_u64 << self.place_bits;
        living < slots - slots / 5 - 1 && u64::from(len) + 1 < places
    }

    fn bytes(&self) -> usize {
        size_of::<Self>() + size_of_val(&*self.slots)
    }

    #[inline]
    fn home(&self, hash: u64) -> usize {
        (hash >> 32) as usize & (self.slots.len() - 1)
    }

    /// Returns the first symbol at this hash of which `is_it` returns true.
    #[inline]
    pub(super) fn find(&self, hash: u64, mut is_it: impl FnMut(Symbol) -> bool) -> Option<Symbol> {
        let wanted = u64::from(self.tagged(hash));
        let mut at = self.home(hash);
        loop {
            // Acquire: what was written before the slot, the value, is seen.
            let slot = u64::from(self.slots[at].load(Ordering::Acquire));
            if slot == 0 {
                return None;
            }
            if (slot ^ wanted) >> self.place_bits == 0 {
                let found = Symbol::at_place((slot & ((1 << self.place_bits) - 1)) as u32);
                if found.is_some_and(&mut is_it) {
                    return found;
                }
            }
            at = (at + 1) & (self.slots.len() - 1);
        }
    }

    /// Adds a symbol, for who is the only one to do so, and has made sure that there is room.
    pub(super) fn insert(&self, hash: u64, symbol: Symbol) {
        let mut at = self.home(hash);
        while self.slots[at].load(Ordering::Relaxed) != 0 {
            at = (at + 1) & (self.slots.len() - 1);
        }
        self.slots[at].store(self.tagged(hash) | symbol.place(), Ordering::Release);
    }

    #[inline]
    fn tagged(&self, hash: u64) -> u32 {
        (hash << self.place_bits) as u32
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn symbols_are_found_whatever_bits_the_hash_has() {
        for len in [3, 300, u32::MAX - 1] {
            let symbols = [0, 1, len / 2, len - 1].map(|number| Symbol::from_number(number).unwrap());
            for hashes in [[0; 4], [u64::MAX; 4], [1 << 32, 1, 3 << 40, u64::MAX]] {
                let table = Table::of(4, len, hashes.into_iter().zip(symbols));
                for (hash, symbol) in hashes.into_iter().zip(symbols) {
                    assert_eq!(table.find(hash, |found| found == symbol), Some(symbol));
                }
                assert_eq!(table.find(hashes[0], |_| false), None);
            }
        }
    }

    #[test]
    fn a_table_has_room_for_what_it_was_made_for() {
        for living in 0..3000 {
            let table = Table::new(living + 1, living as u32 + 1);
            assert!(table.has_room(living, living as u32), "{living}");
        }
    }
}
